/*
 * Years of outages, simulated: what the closed forms of mrd/availability.h cannot say, namely
 * how the downtime is spread over years and what the worst outage is like.
 *
 * Each region fails and returns by itself (exponential, alternating), and one common cause
 * takes all of them together. The load comes in parts, each with a home and its own copies.
 * When the home is down its parts are served elsewhere from failover_h on, if the failover
 * works and a region that may take them is up; and a part that needs some of its copies is
 * served only while so many are up. The same seed gives the same years, everywhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrd/topology.h>

struct mrd_outage_region {
    double u;        /* unavailability, below 1 */
    double mean_h;   /* mean length of an outage, above 0 */
    double capacity; /* what it can serve, in units of the whole load */
};

struct mrd_outage_part {
    double share;         /* of the load; all of them sum to 1 */
    unsigned home;        /* the region that serves it */
    mrd_regions takeover; /* regions that may serve it when that is down */
    mrd_regions copies;   /* regions that have its data */
    unsigned
        needed; /* so many of the copies must be up for it to be served: a majority; or 0 */
};

#define MRD_OUTAGE_PARTS_MAX 80

struct mrd_outage_world {
    size_t n, part_count;
    struct mrd_outage_region regions[MRD_REGIONS_MAX];
    struct mrd_outage_part parts[MRD_OUTAGE_PARTS_MAX];
    double beta;       /* share of the outages that take every region */
    double failover_h; /* from the outage to service elsewhere */
    double p_ff; /* probability that a failover fails: then down until its region returns */
};

#define MRD_OUTAGE_EVENTS_MIN 100 /* fewer outages than that say nothing about a mean */

struct mrd_outage_years {
    uint64_t outages; /* times that some of the load was not served */
    double u;         /* mean unavailability, weighted by load */
    double u_se;      /* its standard error; 95% are within 1.96 of them */
    double p50_h, p95_h, p99_h, worst_year_h; /* hours of downtime in a year */
    double worst_outage_h;                    /* the longest time with something down */
};

/**
 * @annual_h  caller's storage for @years numbers; sorted hours of downtime of each year
 *
 * Returns 0, or MRD_EINVAL when the world is out of its domain.
 */
int mrd_outage_simulate(const struct mrd_outage_world *world, uint64_t seed, size_t years,
                        double *annual_h, struct mrd_outage_years *ret);
