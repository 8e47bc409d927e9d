/*
 * What the planner is asked: who the users are, what each data class does and must keep, what
 * things cost. Read from strict YAML with the machinery of config/, every mistake with its line
 * and column.
 */
#pragma once

#include <stdio.h>

#include <data.h>
#include <load.h>

#define PLAN_CLASSES_MAX 8
#define PLAN_USERS_MAX 64
#define PLAN_CANDIDATES_MAX 64
#define PLAN_RULES_PER_CLASS 8
#define PLAN_REPLICAS_MAX 5 /* that a placement is searched for */
#define PLAN_COPIES_MAX 16  /* that a configuration may have */
#define PLAN_NO_TARGET UINT64_MAX
#define PLAN_READ_BYTES 10000.0 /* of a class that does not say */
#define PLAN_WRITE_BYTES 1000.0

enum plan_kind {
    PLAN_RECORDS,   /* one writer at a time, else updates are lost */
    PLAN_MONEY,     /* the same, and it must be accounted for */
    PLAN_MERGEABLE, /* counters, sets, likes: concurrent writes merge */
};

/** The data of users in @users must be stored in @stored: ISO codes or blocs. */
struct plan_residency {
    char users[24], stored[24];
};

struct plan_class {
    char name[40];
    double reads_per_s, writes_per_s;
    double read_bytes, write_bytes;
    bool read_bytes_given, write_bytes_given;
    double storage_gb;
    double cacheable; /* share of the reads that a CDN may answer */
    double locality;  /* share of the writes to records homed where the writer is */
    double daytime;   /* share of a user's writes made while their own region is home */
    enum plan_kind kind;
    /* targets; PLAN_NO_TARGET or a negative number: none */
    double availability_pct;
    uint64_t read_p95_ms, write_p95_ms, rpo_ms, rto_ms;
    unsigned residency_count;
    struct plan_residency residency[PLAN_RULES_PER_CLASS];
};

/* Keys that have a default; which of them the workload gives is told, as bits. */
enum plan_given {
    PLAN_GIVEN_REGION_USD,
    PLAN_GIVEN_STORAGE_USD,
    PLAN_GIVEN_CDN_USD,
    PLAN_GIVEN_AVAILABILITY,
    PLAN_GIVEN_INTERVAL,
    PLAN_GIVEN_CHECKS,
    PLAN_GIVEN_TIMEOUT,
    PLAN_GIVEN_TTL,
    PLAN_GIVEN_TAKEOVER,
    PLAN_GIVEN_STANDBY,
    PLAN_GIVEN_WARM_UP,
    PLAN_GIVEN_PILOT,
    PLAN_GIVEN_PILOT_WARM_UP,
    PLAN_GIVEN_RESTORE,
    PLAN_GIVEN_BACKUP,
    PLAN_GIVEN_LINK,
    PLAN_GIVENS,
};

struct plan_user {
    int country;
    double share; /* all of them sum to 1 */
};

struct plan_workload {
    char name[64];
    unsigned user_count, class_count, candidate_count;
    struct plan_user users[PLAN_USERS_MAX];
    struct plan_class classes[PLAN_CLASSES_MAX];
    int candidates[PLAN_CANDIDATES_MAX];
    unsigned chosen; /* so many of them, the first, because none was named; 0: they were */
    uint64_t replicas_max;
    double downtime_usd_hour, budget_usd_month; /* negative: not given */
    /* prices; negative: derived from the load or the price tables */
    double compute_usd_month, database_usd_month; /* the whole load in one region */
    double region_usd_month, storage_usd_gb, transfer_usd_gb, internet_usd_gb, cdn_usd_gb;
    uint32_t given; /* a bit per plan_given; other prices say so by not being negative */
    /* what fails, and how recovery goes */
    double region_pct, outage_h, beta;
    double interval_s, checks, timeout_s, ttl_s, steps_s;
    double warm_s, pilot_warm_s, standby, pilot_standby;
    double restore_s, backup_s;
    double processing_ms, link_mbit;
};

static inline bool plan_given(const struct plan_workload *w, enum plan_given key)
{
    return (w->given >> key & 1) != 0;
}

/** What a workload has that says nothing: no users, no classes. */
void plan_workload_defaults(const struct plan_data *data, struct plan_workload *ret);

/** Does residency let @region store the data of users in @user? Both of the facts. */
bool plan_may_store(const struct plan_data *data, const struct plan_class *c, int user,
                    int region);
/** The candidates of a workload that names none (candidates.c). */
void plan_candidates_choose(const struct plan_data *data, struct plan_workload *w);
/** Is there no candidate for the data of some users? Then @out says so, and names a region. */
bool plan_candidates_lack(const struct plan_data *data, const struct plan_workload *w,
                          const struct plan_class *c, char *out, size_t cap);

/** Returns 0, or MRD_ECONFIG with every mistake in @errors. */
int plan_workload_parse(const struct plan_data *data, const char *text, size_t len,
                        struct plan_workload *ret, struct mrd_conf_errors *errors);
/** As above from a file; MRD_EIO when it cannot be read (then one error says why). */
int plan_workload_load(const struct plan_data *data, const char *path,
                       struct plan_workload *ret, struct mrd_conf_errors *errors);
