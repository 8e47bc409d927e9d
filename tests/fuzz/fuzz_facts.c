/*
 * The planner's tables as hostile text: the first byte picks the file, the rest is what the
 * operator's directory has under its name. It may be refused, with the file named; what is
 * accepted keeps what the planner relies on: finite places, distances and prices.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <data.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {
    "rtt.csv",
    "rtt_aws_ping_2020-06-05.csv",
    "rtt_azure_p95_2026-07-30.csv",
    "regions.csv",
    "countries.csv",
    "metros.csv",
    "blocs.csv",
    "transfer_aws_usd_per_gb_2022.csv",
    "transfer_rules_gcp_azure_2023.csv",
};

static char dir[] = "/tmp/fuzz-facts-XXXXXX";

static void forget_dir(void)
{
    rmdir(dir);
}

static void check(struct plan_data *d)
{
    enum plan_source_id source;
    struct plan_place dublin = {53.35, -6.26, 1};

    for (int a = 0; a < d->region_count; a += 37) {
        for (int b = 0; b < d->region_count; b += 41) {
            double ms = plan_rtt_ms(d, a, b, NULL), usd = plan_usd_per_gb(d, a, b, &source);
            assert(isfinite(ms) && ms >= 0 && isfinite(usd) && usd >= 0);
        }
        assert(isfinite(plan_user_rtt_ms(d, &dublin, a)));
    }
    for (int i = 0; i < d->country_count; i++) {
        double sum = 0;
        assert(d->countries[i].metro_count >= 1);
        for (int k = 0; k < d->countries[i].metro_count; k++) {
            sum += d->countries[i].metros[k].weight;
        }
        assert(fabs(sum - 1) < 1e-9);
        assert(plan_bloc_known(d, d->countries[i].iso2));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    struct plan_data *d = NULL;
    struct mrd_err err = {0};
    char path[200];

    if (!made) {
        made = mkdtemp(dir) != NULL;
        assert(made);
        atexit(forget_dir);
    }
    if (size == 0) {
        return 0;
    }
    const char *name = files[data[0] % (sizeof(files) / sizeof(files[0]))];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert(f != NULL && fwrite(data + 1, 1, size - 1, f) == size - 1 && fclose(f) == 0);
    if (plan_data_new(dir, &d, &err) == 0) {
        check(d);
    } else {
        assert(strstr(err.text, ".csv") != NULL);
    }
    plan_data_free(d);
    assert(unlink(path) == 0);
    return 0;
}
