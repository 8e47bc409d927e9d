/*
 * The search against trying everything: over random workloads small enough for it, every set of
 * candidates and every home in it is worked out whole, and none of them may be better than what
 * place_search() found with its bounds. The seed of a failing workload is printed.
 */
#include <place.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKLOADS 250

static struct plan_data *facts;
static uint64_t state;

static unsigned below(unsigned n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % n);
}

static const char *one_of(const char *const *words, unsigned n)
{
    return words[below(n)];
}

/** A workload as text: anything that steers the search is drawn. */
static void draw(char *out, size_t cap)
{
    static const char *const users[] = {"{US: 40, DE: 30, JP: 30}", "{BR: 20, IN: 50, GB: 30}",
                                        "{FR: 100}", "{US: 50, DE: 20, FR: 10, AU: 20}"};
    static const char *const kinds[] = {"records", "money", "mergeable"};
    static const char *const laws[] = {"", "", "residency: [{users: EU, stored: EU}], ",
                                       ("residency: [{users: EU, stored: EU}, "
                                        "{users: US, stored: US}], ")};
    static const char *const prices[] = {"", "prices: {region_usd_month: 0, storage_usd_gb: 0}",
                                         "prices: {region_usd_month: 1, database_usd_month: 0}",
                                         "prices: {compute_usd_month: 9000}"};
    static const char *const regions[] = {"us-east-1", "us-west-2",      "eu-west-1",
                                          "eu-west-3", "ap-northeast-1", "ap-south-1",
                                          "sa-east-1", "ap-southeast-2"};
    char read[40] = "", write[40] = "";
    unsigned mask = 1 + below(255);
    size_t used;

    if (below(4) > 0) {
        snprintf(read, sizeof(read), "read_p95: %ums, ", 30 + below(250));
    }
    if (below(4) > 0) {
        snprintf(write, sizeof(write), "write_p95: %ums, ", 30 + below(350));
    }
    used = (size_t)snprintf(
        out, cap,
        "workload:\n  users: %s\n  replicas_max: %u\n  %s\n  classes:\n"
        "    - {name: a, kind: %s, reads_per_s: %u, writes_per_s: %u, write_bytes: %u, "
        "storage_gb: %u, cacheable: 0.%u, locality: 0.%u, daytime: 0.%u, %s"
        "targets: {%s%srpo: %s, rto: 1h}}\n  regions: [",
        one_of(users, 4), 1 + below(5), one_of(prices, 4), one_of(kinds, 3), below(3000) + 1,
        below(500), 100 + below(90000), below(4000), below(10), below(10), below(10),
        one_of(laws, 4), read, write, below(3) > 0 ? "1h" : "0s");
    for (unsigned i = 0; i < 8; i++) {
        if ((mask >> i & 1) != 0) {
            used += (size_t)snprintf(out + used, cap - used, "%s, ", regions[i]);
        }
    }
    snprintf(out + used, cap - used, "]\n");
}

struct found {
    bool any;
    unsigned n;
    double missing, total, mean_ms;
};

static void try_set(const struct place *p, struct place_set *s, const struct plan_result *of,
                    const struct found *cheapest, struct found *best)
{
    unsigned least = 0, most = place_sizes(p, of, &least);

    if (s->n < least || s->n > most || !place_lawful(p, s, of->posture)) {
        return;
    }
    for (s->home = 0; s->home < (int)s->n; s->home++) {
        struct plan_result r = *of;
        place_evaluate(p, s, &r);
        double missing = place_missing(p->class, &r);
        if (cheapest != NULL) {
            if (s->n == cheapest->n && missing <= cheapest->missing &&
                r.total <= cheapest->total * PLAN_NEARER_MAY_COST &&
                (!best->any || r.mean_ms < best->mean_ms)) {
                *best = (struct found){true, s->n, missing, r.total, r.mean_ms};
            }
        } else if (!best->any || missing < best->missing - 1e-9 ||
                   (missing < best->missing + 1e-9 && r.total < best->total)) {
            *best = (struct found){true, s->n, missing, r.total, r.mean_ms};
        }
    }
}

/** The cheapest of all sets; or, given that, the nearest that costs little more. */
static struct found try_all(const struct place *p, const struct plan_result *of,
                            const struct found *cheapest)
{
    struct found best = {false, 0, 0, 0, 0};

    for (unsigned mask = 1; mask < 1u << p->candidates; mask++) {
        struct place_set s = {0};
        unsigned n = 0;
        for (unsigned c = 0; c < p->candidates; c++) {
            n += mask >> c & 1;
            if ((mask >> c & 1) != 0 && s.n < PLAN_REPLICAS_MAX) {
                s.at[s.n++] = (int)c;
            }
        }
        if (n <= PLAN_REPLICAS_MAX) {
            try_set(p, &s, of, cheapest, &best);
        }
    }
    return best;
}

/** Every posture of the class, without and with a CDN, as decide.c asks for them. */
static unsigned check(const struct place *p)
{
    struct plan_result asked[2 * PLAN_POSTURES], got[2 * PLAN_POSTURES];
    struct plan_result *list[2 * PLAN_POSTURES];
    unsigned won = 0;

    for (unsigned i = 0; i < 2 * PLAN_POSTURES; i++) {
        asked[i] = (struct plan_result){.posture = (enum plan_posture)(i / 2),
                                        .cdn = i % 2 == 1,
                                        .quorum = i / 2 > 0 && p->class->rpo_ms == 0};
        got[i] = asked[i];
        list[i] = &got[i];
    }
    place_search(p, list, 2 * PLAN_POSTURES);
    for (unsigned i = 0; i < 2 * PLAN_POSTURES; i++) {
        struct found cheapest = try_all(p, &asked[i], NULL);
        assert_int_equal(cheapest.any, got[i].refused == NULL);
        if (cheapest.any) {
            struct found best = try_all(p, &asked[i], &cheapest);
            double missing = place_missing(p->class, &got[i]);
            if (missing > best.missing || got[i].mean_ms > best.mean_ms + 1e-6 ||
                got[i].total > cheapest.total * PLAN_NEARER_MAY_COST + 1e-9) {
                fail_msg("%s: late for %.9f, %.6f ms and %.6f USD, where %.9f, %.6f and %.6f "
                         "can be had",
                         plan_posture_name(got[i].posture), missing, got[i].mean_ms,
                         got[i].total, best.missing, best.mean_ms, best.total);
            }
            won++;
        }
    }
    return won;
}

static unsigned search(const char *text)
{
    static struct plan_workload load;
    static struct mrd_conf_errors errors;
    struct mrd_err err = {0};
    struct place *p = NULL;

    if (plan_workload_parse(facts, text, strlen(text), &load, &errors) != 0) {
        fail_msg("%s\n%s", errors.errors[0].text, text);
    }
    assert_int_equal(place_new(facts, &load, &load.classes[0], &p, &err), 0);
    unsigned won = check(p);
    free(p);
    return won;
}

static void finds_what_trying_everything_finds(void **unused)
{
    char text[1200];
    unsigned won = 0;

    (void)unused;
    for (unsigned seed = 1; seed <= WORKLOADS; seed++) {
        state = seed;
        draw(text, sizeof(text));
        print_message("# workload %u\n", seed);
        won += search(text);
    }
    assert_true(won > WORKLOADS);
}

/** Where all prices are the same, distance alone decides between many sets. */
static void finds_the_nearest_where_the_law_divides(void **unused)
{
    static const char *const regions[] = {
        "ap-southeast-2, ap-south-1, ca-central-1, sa-east-1, eu-west-3",
        "eu-west-3, sa-east-1, ca-central-1, ap-south-1, ap-southeast-2",
        "us-east-1, ap-south-1, ca-central-1, eu-central-1, eu-west-3, ap-northeast-1",
    };
    char text[1200];

    (void)unused;
    for (unsigned i = 0; i < 2 * sizeof(regions) / sizeof(regions[0]); i++) {
        snprintf(
            text, sizeof(text),
            "workload:\n  users: {ES: 42, PT: 58, CA: 10}\n  replicas_max: 4\n"
            "  prices: {transfer_usd_gb: 0.02, internet_usd_gb: 0.09}\n  regions: [%s]\n"
            "  classes:\n    - {name: a, kind: mergeable, reads_per_s: 2193, writes_per_s: 71, "
            "write_bytes: 100, storage_gb: 4, locality: 0.9, daytime: 0.5, residency: [{users: "
            "EU, stored: EU}], targets: {rpo: %s, rto: 1h}}\n",
            regions[i / 2], i % 2 == 0 ? "1h" : "0s");
        assert_true(search(text) > 0);
    }
}

/** The second nearest of the other members of a set of five. */
static double second_ms(const struct place *p, int home)
{
    double first = INFINITY, second = INFINITY;

    for (int k = 0; k < 5; k++) {
        double ms = k != home ? p->rtt[home][k] : (double)INFINITY;
        second = fmin(second, fmax(first, ms));
        first = fmin(first, ms);
    }
    return second;
}

/** Two regions may hold what Germans write, all five what Nigerians do, at the same home. */
static void commits_wait_for_a_majority_of_the_copies_of_each_record(void **unused)
{
    static const char text[] =
        "workload:\n  users: {DE: 50, NG: 50}\n  replicas_max: 5\n"
        "  regions: [eu-central-1, eu-west-1, us-east-1, us-west-2, ap-south-1]\n"
        "  classes:\n    - {name: a, kind: records, reads_per_s: 10, writes_per_s: 10, "
        "residency: [{users: EU, stored: EU}], targets: {rpo: 0s, write_p95: 100ms}}\n";
    static struct plan_workload load;
    static struct mrd_conf_errors errors;
    struct plan_result r = {.posture = PLAN_PARTITIONED, .quorum = true};
    struct place_set s = {.n = 5, .at = {0, 1, 2, 3, 4}};
    struct place_sums sums;
    struct place *p = NULL;

    (void)unused;
    assert_int_equal(plan_workload_parse(facts, text, strlen(text), &load, &errors), 0);
    assert_int_equal(place_new(facts, &load, &load.classes[0], &p, NULL), 0);
    assert_int_equal(place_may(p, &s, &r, p->law[0]), 3);
    double sum = 0, weight = 0;
    for (unsigned i = 0; i < p->points; i++) {
        int home = place_nearest(p, &s, i, -1);
        struct place_times t;
        assert_in_range(home, 0, 1); /* also of Nigerians */
        double others_ms = p->country[i] == 0 ? p->rtt[home][1 - home] : second_ms(p, home);
        place_latency(p, &s, &r, i, -1, &t);
        assert_true(fabs(t.write - t.read - others_ms - PLAN_FSYNC_MS) < 1e-9);
        sum += p->weight[i] * t.write;
        weight += t.write <= 100 ? p->weight[i] : 0;
    }
    /* What the search sums up is the same. */
    place_sum_times(p, &s, &r, &sums);
    assert_true(fabs(sums.write_ms - sum) < 1e-6 && fabs(sums.write - weight) < 1e-9);
    free(p);
}

static int set_up(void **unused)
{
    struct mrd_err err = {0};

    (void)unused;
    return plan_data_new(NULL, &facts, &err);
}

static int tear_down(void **unused)
{
    (void)unused;
    plan_data_free(facts);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_wait_for_a_majority_of_the_copies_of_each_record),
        cmocka_unit_test(finds_the_nearest_where_the_law_divides),
        cmocka_unit_test(finds_what_trying_everything_finds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
