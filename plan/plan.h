/*
 * From a workload to an answer: for each class every posture at its best placement, and one of
 * them recommended, with the rule that decided.
 *
 * Placement is by exhaustive search: every set of up to replicas_max candidates, every home in
 * it. Of the sets that keep the latency targets, or for most users if none keeps them, the one
 * nearest to the users is taken that has as many regions as the cheapest and costs little more.
 */
#pragma once

#include <workload.h>

#include <mrd/availability.h>
#include <mrd/outage.h>

enum plan_posture {
    PLAN_SINGLE,
    PLAN_PILOT_LIGHT,
    PLAN_ACTIVE_PASSIVE,
    PLAN_EDGE_HIERARCHY, /* a home and its standby; the others are edges without data */
    PLAN_READ_LOCAL,
    PLAN_FOLLOW_THE_SUN,
    PLAN_PARTITIONED,
    PLAN_HUB, /* partitioned; changes travel through one region instead of a mesh */
    PLAN_CELLS,
    PLAN_ACTIVE_ACTIVE,
    PLAN_POSTURES,
};

enum plan_cost_part {
    PLAN_COMPUTE,  /* what the load needs */
    PLAN_HEADROOM, /* what runs idle so that a region may be lost, or stands by */
    PLAN_DATABASE,
    PLAN_STORAGE,
    PLAN_REPLICATION, /* egress between regions */
    PLAN_FORWARDING,  /* requests on their way to another region's home */
    PLAN_EGRESS,      /* to users */
    PLAN_CDN,
    PLAN_EDGE, /* load balancing and DNS, per region */
    PLAN_COST_PARTS,
};

/* Targets that a result misses, as bits; also the reasons of a decision. */
enum plan_miss {
    PLAN_MISS_RESIDENCY = 1,
    PLAN_MISS_AVAILABILITY = 2,
    PLAN_MISS_READ = 4,
    PLAN_MISS_WRITE = 8,
    PLAN_MISS_RTO = 16,
    PLAN_MISS_RPO = 32,
};

/* Users, as a share, whose data has the same home and the same copies. */
struct plan_part {
    double share;
    unsigned home, copies; /* a member; a bit per member, the home's among them */
};
#define PLAN_PARTS_MAX MRD_OUTAGE_PARTS_MAX /* homes, and sets of members with each */

#define PLAN_YEAR_STEPS 41
#define PLAN_NOT_SERVED 1e9 /* ms */

struct plan_result {
    enum plan_posture posture;
    bool cdn;
    const char *refused; /* why the posture is out of the question; NULL: it is not */
    unsigned missed;     /* plan_miss */
    unsigned n;
    unsigned held;                 /* so many of them, the first, hold the data */
    int region[PLAN_COPIES_MAX];   /* of the facts; the home or the hub first */
    int hub;                       /* the member through which changes travel, 0 in the end */
    double copies;                 /* beside the first, as the average write has them */
    double share[PLAN_COPIES_MAX]; /* of the users, by nearness */
    bool confined; /* a lost region's load may go only to some: where its copies are */
    double spill[PLAN_COPIES_MAX]; /* then: the most that a lost region leaves each */
    bool quorum;                   /* commits wait for a majority */
    double running;                /* capacity of all of them, times the load's */
    double copies_usd_gb;          /* what a GB written costs on its way to the copies */
    /* Share of the users whose data outlives the loss of a region: another one may take over,
     * and a quorum keeps its majority. */
    double covered;
    double cost[PLAN_COST_PARTS], total;
    double failover_s;                   /* until another region serves, where one may */
    double u, rto_s, rto_worst_s, rpo_s; /* of the users who are worst off */
    double read_ok,
        write_ok;   /* share of the users (of the requests, with a CDN) within target */
    double mean_ms; /* of the requests that reach a region */
    double read_p50, read_p95, write_p50, write_p95;
    /* The worst loss of one region; PLAN_NOT_SERVED: for more than 5% nothing serves. */
    double lost_read_p95, lost_write_p95;
    double stale_p95_ms; /* how old what a region answers may be (plan_country_latency) */
    double replication_mbit, lag_s;
    double delay_s;             /* of the lag: the way, and gathering */
    double usd_hour_break_even; /* against plan_one_region(); 0: no premium or no gain */
    double usd_year_return;     /* the same, at the given cost of downtime; NAN: none given */
    bool simulated;             /* years is filled */
    struct mrd_outage_years years;
    double worse[PLAN_YEAR_STEPS]; /* share of the years down for longer than the step */
    unsigned part_count;           /* of what was placed in the end */
    struct plan_part parts[PLAN_PARTS_MAX];
};

/** Hours of downtime of step @i: 0.01 to 1000, eight steps to a decade. */
double plan_year_step_h(unsigned i);

struct plan_answer {
    const struct plan_class *class;
    unsigned count;
    struct plan_result results[2 * PLAN_POSTURES]; /* each without and with a CDN */
    int best, runner_up;                           /* index, or -1 */
    char rule[200], driver[200], tips[240];
};

/** Plan one class. @years simulated per posture; 0: closed forms only. */
int plan_class_answer(struct plan_data *data, const struct plan_workload *load,
                      const struct plan_class *class, size_t years, uint64_t seed,
                      struct plan_answer *ret, struct mrd_err *err);

/**
 * Recovery, availability and the simulated years (0: none) of @r, whose place is settled: the
 * members, ->parts, ->covered (0: no other may be home), and in ->lag_s the way to the
 * farthest.
 */
int plan_work_out(const struct plan_workload *load, const struct plan_class *class,
                  struct plan_result *r, size_t years, uint64_t seed, struct mrd_err *err);

/**
 * Plan every class of @load into @answers, then let classes share regions: one is moved to the
 * regions that the others have when that makes the whole no dearer.
 */
int plan_answer(struct plan_data *data, const struct plan_workload *load, size_t years,
                uint64_t seed, struct plan_answer answers[PLAN_CLASSES_MAX],
                struct mrd_err *err);

/**
 * The regions of all recommendations together into @ret_regions (facts), their number, and
 * what it all costs: what a region costs by itself is counted once.
 */
unsigned plan_union(const struct plan_workload *load, const struct plan_answer *answers,
                    int ret_regions[PLAN_CANDIDATES_MAX], double *ret_usd_month);

/* What is assumed of servers; prices are of one request/s for a month, without any given. */
#define PLAN_COMPUTE_USD 0.35
#define PLAN_DATABASE_USD 0.15
#define PLAN_REPLICA_DATABASE 0.75 /* least size of a database that applies every write */
#define PLAN_PILOT_DATABASE 0.5
#define PLAN_OVERHEAD 0.1     /* framing and retransmission of replication */
#define PLAN_FSYNC_MS 2.0     /* flush at the replica */
#define PLAN_SHIP_S 0.05      /* the sender gathers changes */
#define PLAN_CDN_MS 5.0       /* beyond the way to a CDN's edge, or to one of one's own */
#define PLAN_EDGE_REQUEST 0.2 /* what a request answered from a cache costs of a whole one */

/* The placement nearest to the users is taken that costs at most so much times the cheapest. */
#define PLAN_NEARER_MAY_COST 1.10
/* The simplest posture is taken that costs at most so much times the cheapest. */
#define PLAN_SIMPLER_MAY_COST 1.25
/** The steps between detection and service elsewhere, DNS left out. */
double plan_takeover_s(const struct plan_workload *load, enum plan_posture p);
/** What F6 is asked about a result with several regions. */
struct mrd_failover_model plan_failover_model(const struct plan_workload *load,
                                              const struct plan_result *r);
/** Unavailability of data of @r that has @copies copies. */
double plan_copies_u(const struct plan_workload *load, const struct plan_result *r,
                     unsigned copies);
/** Less than a majority of @copies, whoever is home. Of two both are needed: then the common
 * cause is in it (plan_majority_beta), else the failover's U has it. */
double plan_majority_u(const struct plan_workload *load, unsigned copies);
double plan_majority_beta(const struct plan_workload *load, unsigned copies);
/** May another region take over the data of all users? Is there data with one copy? */
bool plan_all_covered(const struct plan_result *r);
bool plan_some_alone(const struct plan_result *r);
/** The shares of the users by the number of copies. */
void plan_by_copies(const struct plan_result *r, double ret[PLAN_COPIES_MAX + 1]);
/** Probability that a failover of a posture fails. */
double plan_failover_fails(enum plan_posture p);

#define PLAN_MISSES_TEXT 120
/** "residency, rto": the targets that a result misses. Returns @out. */
char *plan_missed(unsigned missed, char out[PLAN_MISSES_TEXT]);

/** The single-region that @r of @a is compared with: with a CDN if it has one, so that what a
 * CDN saves is not said of regions. Single-region with a CDN is compared with it without. */
const struct plan_result *plan_one_region(const struct plan_answer *a,
                                          const struct plan_result *r);

const char *plan_posture_name(enum plan_posture p);
/** "single-region + CDN". Returns @out. */
char *plan_result_name(const struct plan_result *r, char out[40]);
const char *plan_cost_name(enum plan_cost_part part);

/**
 * In milliseconds. Stale is how old the others' writes that a region answers with may be: the
 * lag from the farthest region that writes the records to the one that serves. One's own writes
 * are never missed (a token leads to the home), nor are records read at their home; what a
 * cache answers is as old as its time to live lets it be, which is not counted.
 */
struct plan_country_latency {
    int country, region; /* of the facts; the region serves most of them, -1: none */
    double read_p50, read_p95, write_p50, write_p95, lost_read_p95, lost_write_p95;
    double stale_p95_ms;
    double floor_p95_ms; /* what light in fibre takes to the region that serves, F21 */
};
/** Of each result of @a that is not refused, by the workload's countries: ret[result][user]. */
int plan_countries(struct plan_data *data, const struct plan_workload *load,
                   const struct plan_answer *a,
                   struct plan_country_latency (*ret)[PLAN_USERS_MAX], struct mrd_err *err);
