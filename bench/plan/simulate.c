/*
 * CPU seconds of simulated years: simulate REGIONS YEARS. Each region has the public history's
 * outages and a fifth of the load, and the others may take it over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <mrd/outage.h>

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? (size_t)atoi(argv[1]) : 5,
           years = argc > 2 ? (size_t)atol(argv[2]) : 100000;
    struct mrd_outage_world w = {
        .n = n, .part_count = n, .beta = 0.1, .failover_h = 0.01, .p_ff = 0.05};
    struct mrd_outage_years y;
    double *annual_h = n > 0 && n <= MRD_REGIONS_MAX ? calloc(years, sizeof(*annual_h)) : NULL;

    for (size_t i = 0; annual_h != NULL && i < n; i++) {
        w.regions[i] = (struct mrd_outage_region){2.95e-4, 8.61, 1};
        w.parts[i] =
            (struct mrd_outage_part){.share = 1.0 / (double)n,
                                     .home = (unsigned)i,
                                     .takeover = (mrd_regions)(((1u << n) - 1) & ~(1u << i))};
    }
    if (annual_h == NULL || mrd_outage_simulate(&w, 1, years, annual_h, &y) != 0) {
        fprintf(stderr, "usage: simulate REGIONS YEARS\n");
        free(annual_h);
        return 2;
    }
    printf("%.3f\n", (double)clock() / CLOCKS_PER_SEC);
    free(annual_h);
    return 0;
}
