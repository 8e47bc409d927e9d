/*
 * How often a system is down, from how often its parts are.
 *
 * Everything here carries unavailability U = 1 - A. Near one, A has no digits left for what
 * matters: two regions of 99.99% are down 1e-8 of the time, and 1 - 0.99999999 in doubles is
 * wrong in the ninth digit. A year has 8760 hours.
 *
 * Probabilities are in [0, 1] and times are hours, finite and not negative; callers check,
 * these functions do not repeat it. mrd_avail_k_of_n alone can refuse (its table is bounded).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MRD_YEAR_H 8760.0
#define MRD_AVAIL_PARTS_MAX 64

/** F1: all of them are needed. A = prod A_i. */
double mrd_avail_series(const double *u, size_t n);

/** F2: any of them is enough, failing independently. U = prod U_i. */
double mrd_avail_parallel(const double *u, size_t n);

/**
 * F4: at least @k of @n parts, each down with its own probability, independently.
 * Poisson-binomial by dynamic programming over the number that is down; only positive terms
 * are added. Returns 0, or MRD_EINVAL unless 1 <= k <= n <= MRD_AVAIL_PARTS_MAX.
 */
int mrd_avail_k_of_n(size_t k, const double *u, size_t n, double *ret_u);

/**
 * F5: @k of @n equal parts with unavailability @q, of which the share @beta is a common cause
 * that takes all of them. U = k-of-n at (1 - beta) q, plus beta q.
 * Source: beta-factor model, IEC 61508-6 annex D.
 */
int mrd_avail_common_cause(size_t k, size_t n, double q, double beta, double *ret_u);

struct mrd_failover_model {
    double u;          /* of the region that serves */
    double mean_h;     /* mean length of its outages, > 0 */
    double failover_h; /* from the outage to service elsewhere */
    double beta;       /* share of outages that take the standby too */
    double p_ff;       /* probability that a failover fails */
    double u_standby;
};

/**
 * F6: a standby takes over. U = u [c (1 - exp(-T/m)) + (1 - c)] with the coverage
 * c = (1 - beta)(1 - p_ff) A_standby; outages are exponential. Exact up to a second failure
 * during the first. Source: coverage models of renewal theory (Trivedi).
 */
double mrd_avail_failover(const struct mrd_failover_model *m, double *ret_coverage);

/** F7: what the average user sees. U = sum share_i U_i / sum share_i. */
double mrd_avail_user_weighted(const double *share, const double *u, size_t n);

/** F8: writes that need the primary and @k of @n standbys. Returns as mrd_avail_k_of_n. */
int mrd_avail_sync_writes(double u_primary, size_t k, const double *u_standby, size_t n,
                          double *ret_u);

/** F3: the model of the source documents, A (1 - P_c)(1 - P_f); printed as theirs only. */
double mrd_avail_seed(double u, double p_correlated, double p_failover_failure);

/** Past outages over @years as a model: U, and how many a year of which mean length. */
double mrd_avail_history(const double *outage_h, size_t n, double years, double *ret_per_year,
                         double *ret_mean_h);

/** F9: minutes of downtime in a year. */
static inline double mrd_avail_min_per_year(double u)
{
    return u * MRD_YEAR_H * 60;
}
