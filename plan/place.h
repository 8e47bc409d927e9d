/*
 * The search's view of a workload and one class: users as points, candidates as rows. Private
 * to plan/.
 */
#pragma once

#include <plan.h>

#define PLACE_POINTS_MAX (PLAN_USERS_MAX * PLAN_METROS_MAX)
#define PLACE_NEVER 1e9

struct place {
    const struct plan_workload *load;
    const struct plan_class *class;
    unsigned points, candidates;
    double weight[PLACE_POINTS_MAX];                   /* sums to 1 */
    short country[PLACE_POINTS_MAX];                   /* index into load->users */
    double ms[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX];  /* user to candidate */
    bool allowed[PLAN_CANDIDATES_MAX][PLAN_USERS_MAX]; /* may it store that country's data? */
    float legal_ms[PLAN_CANDIDATES_MAX][PLACE_POINTS_MAX]; /* PLACE_NEVER where it may not */
    double rtt[PLAN_CANDIDATES_MAX][PLAN_CANDIDATES_MAX];
    double usd_gb[PLAN_CANDIDATES_MAX][PLAN_CANDIDATES_MAX];
    double internet_gb[PLAN_CANDIDATES_MAX];
};

struct place_set {
    unsigned n;
    int at[PLAN_REPLICAS_MAX]; /* candidates */
    int home;                  /* index into at[] */
    const int *near; /* the member nearest to each point, or -1, when known; else NULL */
};

int place_new(struct plan_data *data, const struct plan_workload *load,
              const struct plan_class *class, struct place **ret, struct mrd_err *err);

/** Everything of @r that depends on where; @r has posture, cdn and quorum. The home is put
 * first. */
void place_evaluate(const struct place *p, const struct place_set *s, struct plan_result *r);

/**
 * The best placement for each of @count results that have posture, cdn and quorum; those with
 * ->refused are skipped, and it is set where there is none. One walk over the sets serves all.
 */
void place_search(const struct place *p, struct plan_result *const *results, unsigned count);

/** Latencies of point @i, the region at @lost (-1: none) gone; PLACE_NEVER: not served. */
void place_latency(const struct place *p, const struct place_set *s,
                   const struct plan_result *r, unsigned i, int lost, double *ret_read,
                   double *ret_write);
