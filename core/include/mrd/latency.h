/*
 * How long a request, a commit and a failover take, from round-trip times.
 *
 * All times in milliseconds unless the name says otherwise; arguments are finite and not
 * negative.
 */
#pragma once

#include <stddef.h>

#define MRD_LATENCY_REPLICAS_MAX 64

/* F22, "geo-v1": fitted to the AWS matrix of 2020 and the GCP matrix of 2019; leave-one-out
 * median error 7% and 5%, p90 35% and 25%. */
#define MRD_LAST_MILE_MS 10.0
#define MRD_MS_PER_KM 0.0165
#define MRD_NEAREST_REGIONS 3

/** Great circle in kilometres between two places in degrees (haversine, radius 6371 km). */
double mrd_distance_km(double lat_a, double lon_a, double lat_b, double lon_b);

/** F21: the least round trip over @km of fibre, in which light does 200 km per ms. */
static inline double mrd_fibre_rtt_ms(double km)
{
    return 2 * km / 200;
}

/**
 * F16 with a leader: the commit waits for w - 1 of the others. @rtt_ms are their round trips
 * from the leader, in any order. PostgreSQL's ANY k is w = k + 1.
 * Returns 0, or MRD_EINVAL unless 1 <= w <= n + 1 and n <= MRD_LATENCY_REPLICAS_MAX.
 */
int mrd_quorum_leader_ms(const double *rtt_ms, size_t n, size_t w, double *ret_ms);

/** F16 without one: the client waits for w of the n it asks; 1 <= w <= n, else MRD_EINVAL. */
int mrd_quorum_leaderless_ms(const double *rtt_ms, size_t n, size_t w, double *ret_ms);

/** F15: do @r readers always meet @w writers, and two writers each other? */
struct mrd_quorum {
    size_t n, r, w;
    int reads_meet_writes;  /* r + w > n */
    int writes_meet_writes; /* w > n / 2 */
    size_t survives;        /* n - max(r, w) regions may be lost */
};
/** Returns 0, or MRD_EINVAL unless 1 <= r, w <= n. */
int mrd_quorum_rule(size_t n, size_t r, size_t w, struct mrd_quorum *ret);

/** F17: the probability that @k of @n answers are there by t, each by then with @f[i]. */
int mrd_quorum_tail(size_t k, const double *f, size_t n, double *ret_p);

/**
 * The weighted percentile by nearest rank: the least value so that at least @p (0 to 1) of the
 * weight is not above it. @value and @weight are sorted together. 0 without any weight.
 */
double mrd_percentile(double *value, double *weight, size_t n, double p);

struct mrd_rto {
    /* in */
    double interval_s;                           /* between probes, > 0 */
    double checks;                               /* missed in a row, >= 1 */
    double timeout_s;                            /* after which a probe has failed */
    double ttl_s;                                /* of DNS answers */
    double decide_s, fence_s, promote_s, warm_s; /* the steps between, 0 when there is none */
    double violators, violators_s; /* share of clients that keep an answer, how long */
    /* out */
    double detect_best_s, detect_mean_s, detect_worst_s;
    double stale_mean_s, stale_worst_s; /* DNS alone */
    double mean_s, worst_s;             /* all steps; violators are in the mean */
};
/**
 * F10. A fault falls anywhere between two probes: the k-th miss comes after (k - 1) to k
 * intervals. A DNS answer has half its TTL left on average; a share of the clients keeps it
 * much longer.
 */
void mrd_rto_estimate(struct mrd_rto *rto);
