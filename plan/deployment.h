/*
 * What a configuration promises: of each class how often it is down, what a lost region costs
 * it in time and writes, how long a commit takes, and what it costs to run; and what losing
 * each region means for it, in words.
 *
 * The configuration says where copies are and how failover goes. Who the users are, how much is
 * written and what things cost comes from a workload whose classes have the same names; without
 * one, or where it gives no price, the answer is that it is not known.
 */
#pragma once

#include <figures.h>
#include <load.h>
#include <plan.h>

#define PLAN_SAID 600

struct plan_promise {
    const struct mrd_conf_class *class;
    bool sized;                /* the workload has a class of that name */
    bool placed;               /* all regions with a copy have a place: distances are known */
    bool unattended;           /* nobody must approve a failover */
    struct plan_workload load; /* as the formulas are asked */
    struct plan_class size;    /* of the workload, or empty */
    struct plan_result r;      /* the home first */
    double u_low, u_high; /* 95% of the simulation; unapproved failovers: from none to all */
    double steps_wait_s;  /* of the steps, for a lease to end */
    bool known[PLAN_COST_PARTS];
    double commit_ms[MRD_REGIONS_MAX]; /* with that home; NAN: no home, or not known */
};

struct plan_deployment {
    struct mrd_config config;
    struct plan_data *data;
    struct plan_workload load;
    bool sized;                  /* there is a workload */
    int region[MRD_REGIONS_MAX]; /* of the facts, or -1: its place is not known */
    double store_ms; /* a committed decision, from the best leader; NAN: not known */
    unsigned count;
    struct plan_promise classes[MRD_CLASSES_MAX];
};

/**
 * Work out @config. @load is copied, or NULL. The facts are borrowed as long as @ret is used
 * and get the regions that they did not know. Large: allocate @ret.
 */
int plan_deployment_init(struct plan_deployment *ret, const struct mrd_config *config,
                         const struct plan_workload *load, struct plan_data *data, size_t years,
                         uint64_t seed, struct mrd_err *err);

/** The figures of a class that are known, as plan_figures. */
unsigned plan_promise_figures(const struct plan_deployment *d, const struct plan_promise *p,
                              struct plan_figure ret[PLAN_FIGURES_MAX]);

/** Seconds until it takes writes again after the loss of its home, or lost writes in seconds;
 * negative: not known, or bounded by nothing. */
double plan_promise_rto(const struct plan_promise *p);
double plan_promise_rpo(const struct plan_promise *p);

/** Sum of the parts of its cost that are known, and in @ret_all whether that is all of them. */
double plan_promise_cost(const struct plan_promise *p, bool *ret_all);

/** The same of all classes; what a region costs by itself is counted once. */
double plan_deployment_cost(const struct plan_deployment *d, bool *ret_all);

enum plan_effect {
    PLAN_UNTOUCHED,
    PLAN_FARTHER, /* it goes on, some users or commits go a longer way */
    PLAN_MOVES,   /* another region takes over */
    PLAN_STOPS,   /* no writes until the region is back or somebody acts */
};
const char *plan_effect_name(enum plan_effect e);

/** What losing region @lost does to a class, as a sentence in @out. */
enum plan_effect plan_loss_class(const struct plan_deployment *d, const struct plan_promise *p,
                                 unsigned lost, char out[PLAN_SAID]);
/** And to the deciding itself; false: nothing can be decided without it. */
bool plan_loss_votes(const struct plan_deployment *d, char out[PLAN_SAID]);
