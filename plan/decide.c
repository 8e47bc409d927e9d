/*
 * Each posture judged, and one recommended.
 *
 * The rule, in order: a posture that the data or the law refuses is out; of those that keep
 * every target the simplest is taken that costs at most a quarter more than the cheapest. When
 * one region keeps every target, it is one region, and the answer says that several are not
 * needed. Otherwise the first target that one region misses is the driver: residency,
 * latency, availability, recovery.
 */
#include <place.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/availability.h>
#include <mrd/cost.h>
#include <mrd/lag.h>
#include <mrd/latency.h>

const char *plan_posture_name(enum plan_posture p)
{
    static const char *const names[PLAN_POSTURES] = {
        "single-region",  "pilot-light", "active-passive", "edge-hierarchy", "read-local",
        "follow-the-sun", "partitioned", "hub-and-spoke",  "cell-based",     "active-active",
    };
    return names[p];
}

char *plan_result_name(const struct plan_result *r, char out[40])
{
    snprintf(out, 40, "%s%s", plan_posture_name(r->posture), r->cdn ? " + CDN" : "");
    return out;
}

const char *plan_cost_name(enum plan_cost_part part)
{
    static const char *const names[PLAN_COST_PARTS] = {
        "compute",    "headroom", "database", "storage", "replication",
        "forwarding", "egress",   "cdn",      "edge",
    };
    return names[part];
}

/** Why the data itself rules a posture out, or NULL. */
static const char *refusal(const struct plan_class *c, enum plan_posture p)
{
    if (place_homes_are_local(p) && !(c->locality > 0)) {
        return "its records have no home of their own (locality is 0)";
    }
    if (p == PLAN_EDGE_HIERARCHY && !(c->cacheable > 0 && c->reads_per_s > 0)) {
        return "an edge without data could answer nothing (cacheable is 0)";
    }
    if (p == PLAN_FOLLOW_THE_SUN && !(c->daytime > 0)) {
        return "its writes do not follow the sun (daytime is 0)";
    }
    if (p == PLAN_ACTIVE_ACTIVE && c->kind == PLAN_MONEY) {
        return "money: two regions would accept writes of one record at once";
    }
    if (p == PLAN_ACTIVE_ACTIVE && c->kind == PLAN_RECORDS) {
        return "records: of two concurrent writes one would be lost";
    }
    if (p == PLAN_ACTIVE_ACTIVE && c->rpo_ms == 0 && c->writes_per_s > 0) {
        return "it acknowledges before another region has the write, and none may be lost";
    }
    return NULL;
}

/* ---- what does not depend on where ---- */

double plan_takeover_s(const struct plan_workload *w, enum plan_posture p)
{
    return p == PLAN_ACTIVE_ACTIVE                                ? 0
           : p == PLAN_PILOT_LIGHT                                ? w->steps_s + w->pilot_warm_s
           : p == PLAN_ACTIVE_PASSIVE || p == PLAN_EDGE_HIERARCHY ? w->steps_s + w->warm_s
                                                                  : w->steps_s;
}

bool plan_all_covered(const struct plan_result *r)
{
    return r->covered > 0.999;
}

bool plan_some_alone(const struct plan_result *r)
{
    double share[PLAN_COPIES_MAX + 1];

    plan_by_copies(r, share);
    return share[1] > 0.001;
}

static void recovery(const struct plan_workload *w, const struct plan_class *c,
                     struct plan_result *r)
{
    struct mrd_rto rto = {
        .interval_s = w->interval_s,
        .checks = w->checks,
        .timeout_s = w->timeout_s,
        .ttl_s = w->ttl_s,
        .promote_s = plan_takeover_s(w, r->posture),
    };
    mrd_rto_estimate(&rto);
    r->rto_s = r->failover_s = rto.mean_s;
    r->rto_worst_s = rto.worst_s;
    r->delay_s = r->lag_s;
    struct mrd_lag lag;
    double bytes = w->link_mbit * 1e6 / 8;
    if (r->lag_s > 0) {
        bool keeps_up =
            mrd_lag_steady(c->writes_per_s, c->write_bytes, bytes, r->delay_s, &lag) == 0;
        r->lag_s = !keeps_up ? (double)INFINITY : r->quorum ? r->lag_s : lag.mean_s;
    }
    r->rpo_s = r->quorum ? 0 : r->lag_s;
    /* A promise to a class is one to all of its users. */
    if (!plan_all_covered(r)) {
        r->rto_s = r->rto_worst_s = w->restore_s;
    }
    if (plan_some_alone(r)) {
        r->rpo_s = w->backup_s;
    }
}

double plan_failover_fails(enum plan_posture p)
{
    /* Drilled every quarter; a region that already serves fails less often. */
    return p == PLAN_PILOT_LIGHT ? 0.10 : p == PLAN_ACTIVE_ACTIVE ? 0.01 : 0.05;
}

struct mrd_failover_model plan_failover_model(const struct plan_workload *w,
                                              const struct plan_result *r)
{
    double u = (100 - w->region_pct) / 100;
    /* While a majority is up without the home, somebody is up who may take over. */
    double u_standby = r->quorum ? 0 : u;
    return (struct mrd_failover_model){
        u,        w->outage_h, r->failover_s / 3600, w->beta, plan_failover_fails(r->posture),
        u_standby};
}

double plan_majority_beta(const struct plan_workload *w, unsigned copies)
{
    return copies == 2 ? w->beta : 0;
}

double plan_majority_u(const struct plan_workload *w, unsigned copies)
{
    double u = 0;
    int rc = mrd_avail_common_cause(copies / 2 + 1, copies, (100 - w->region_pct) / 100,
                                    plan_majority_beta(w, copies), &u);
    mrd_assert(rc == 0);
    return u;
}

double plan_copies_u(const struct plan_workload *w, const struct plan_result *r,
                     unsigned copies)
{
    double u = (100 - w->region_pct) / 100;
    struct mrd_failover_model m = plan_failover_model(w, r);

    if (copies < 2) {
        return u;
    }
    if (r->quorum && copies == 2) { /* neither goes on without the other */
        return plan_majority_u(w, copies);
    }
    double over = r->covered > 0 ? mrd_avail_failover(&m, NULL) : u;
    return r->quorum ? mrd_avail_series((double[]){over, plan_majority_u(w, copies)}, 2) : over;
}

void plan_by_copies(const struct plan_result *r, double ret[PLAN_COPIES_MAX + 1])
{
    memset(ret, 0, (PLAN_COPIES_MAX + 1) * sizeof(*ret));
    for (unsigned i = 0; i < r->part_count; i++) {
        ret[__builtin_popcount(r->parts[i].copies)] += r->parts[i].share;
    }
}

/** F7, over the numbers of copies that there are. */
static void availability(const struct plan_workload *w, struct plan_result *r)
{
    double share[PLAN_COPIES_MAX + 1];

    plan_by_copies(r, share);
    r->u = 0;
    for (unsigned c = 1; c <= PLAN_COPIES_MAX; c++) {
        r->u += share[c] > 0 ? share[c] * plan_copies_u(w, r, c) : 0;
    }
}

double plan_year_step_h(unsigned i)
{
    return 0.01 * pow(10, i / 8.0);
}

static int simulate(const struct plan_workload *w, struct plan_result *r, size_t years,
                    uint64_t seed, double *annual_h)
{
    struct mrd_outage_world world = {
        .n = r->held,
        .part_count = r->part_count,
        .beta = w->beta,
        .failover_h = r->failover_s / 3600,
        .p_ff = plan_failover_fails(r->posture),
    };
    for (unsigned i = 0; i < r->held; i++) {
        world.regions[i] = (struct mrd_outage_region){
            .u = (100 - w->region_pct) / 100, .mean_h = w->outage_h, .capacity = 1};
    }
    for (unsigned i = 0; i < r->part_count; i++) {
        const struct plan_part *part = &r->parts[i];
        unsigned copies = (unsigned)__builtin_popcount(part->copies);
        unsigned others = part->copies & ~(1u << part->home);
        world.parts[i] = (struct mrd_outage_part){
            .share = part->share,
            .home = part->home,
            .takeover = (mrd_regions)(r->covered > 0 ? others : 0),
            .copies = (mrd_regions)part->copies,
            .needed = r->quorum ? copies / 2 + 1 : 0,
        };
    }
    int rc = mrd_outage_simulate(&world, seed, years, annual_h, &r->years);
    r->simulated = rc == 0 && r->years.outages >= MRD_OUTAGE_EVENTS_MIN;
    for (size_t i = 0, y = 0; rc == 0 && i < PLAN_YEAR_STEPS; i++) { /* both rise */
        while (y < years && annual_h[y] <= plan_year_step_h((unsigned)i)) {
            y++;
        }
        r->worse[i] = (double)(years - y) / (double)years;
    }
    return rc;
}

int plan_work_out(const struct plan_workload *load, const struct plan_class *c,
                  struct plan_result *r, size_t years, uint64_t seed, struct mrd_err *err)
{
    double *annual_h = years > 0 ? calloc(years, sizeof(*annual_h)) : NULL;

    if (years > 0 && annual_h == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    recovery(load, c, r);
    availability(load, r);
    if (years > 0) {
        simulate(load, r, years, seed, annual_h);
    }
    free(annual_h);
    return 0;
}

static void judge(const struct plan_class *c, struct plan_result *r)
{
    double rto_ms = r->rto_s * 1000, rpo_ms = r->rpo_s * 1000;

    r->missed |= c->availability_pct >= 0 && r->u > (100 - c->availability_pct) / 100 + 1e-12
                     ? PLAN_MISS_AVAILABILITY
                     : 0;
    r->missed |=
        c->read_p95_ms != PLAN_NO_TARGET && r->read_ok < 0.95 - 1e-9 ? PLAN_MISS_READ : 0;
    r->missed |=
        c->write_p95_ms != PLAN_NO_TARGET && c->writes_per_s > 0 && r->write_ok < 0.95 - 1e-9
            ? PLAN_MISS_WRITE
            : 0;
    r->missed |= c->rto_ms != PLAN_NO_TARGET && rto_ms > (double)c->rto_ms ? PLAN_MISS_RTO : 0;
    r->missed |=
        c->rto_ms != PLAN_NO_TARGET && r->posture != PLAN_SINGLE && !plan_all_covered(r)
            ? PLAN_MISS_RTO
            : 0;
    r->missed |=
        c->rpo_ms != PLAN_NO_TARGET && c->writes_per_s > 0 && rpo_ms > (double)c->rpo_ms
            ? PLAN_MISS_RPO
            : 0;
}

static const struct {
    unsigned miss;
    const char *word;
} misses[] = {
    {PLAN_MISS_RESIDENCY, "residency"},
    {PLAN_MISS_AVAILABILITY, "availability"},
    {PLAN_MISS_READ, "read_p95"},
    {PLAN_MISS_WRITE, "write_p95"},
    {PLAN_MISS_RTO, "rto"},
    {PLAN_MISS_RPO, "rpo"},
};

char *plan_missed(unsigned missed, char out[PLAN_MISSES_TEXT])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof(misses) / sizeof(misses[0]); i++) {
        if ((missed & misses[i].miss) != 0) {
            used += (size_t)snprintf(out + used, PLAN_MISSES_TEXT - used, "%s%s",
                                     used > 0 ? ", " : "", misses[i].word);
        }
    }
    return out;
}

/* ---- the decision ---- */

static bool keeps_all(const struct plan_result *r)
{
    return r->refused == NULL && r->missed == 0;
}

static const struct {
    unsigned miss;
    const char *driver;
} drivers[] = {
    /* the order in which the driver is named */
    {PLAN_MISS_RESIDENCY, "residency: no one region may hold the data of all users"},
    {PLAN_MISS_READ, "read latency: no one region is near enough to 95% of the users"},
    {PLAN_MISS_WRITE, "write latency: no one region is near enough to 95% of the users"},
    {PLAN_MISS_AVAILABILITY, "availability: one region is down more than the target allows"},
    {PLAN_MISS_RTO, "recovery time: a restore elsewhere takes longer than the target"},
    {PLAN_MISS_RPO, "data loss: the last backup is older than the target allows"},
};

static void name_driver(struct plan_answer *a)
{
    const struct plan_result *single = &a->results[0];
    unsigned always = ~0u; /* missed without and with a CDN */
    char others[PLAN_MISSES_TEXT];

    for (unsigned i = 0; i < a->count; i++) {
        always &= a->results[i].posture == PLAN_SINGLE ? a->results[i].missed : ~0u;
    }
    for (unsigned i = 1; i < a->count; i++) { /* the better of single-region and with a CDN */
        if (a->results[i].posture == PLAN_SINGLE && a->results[i].missed < single->missed) {
            single = &a->results[i];
        }
    }
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        if ((single->missed & drivers[i].miss) != 0) {
            plan_missed(always & ~drivers[i].miss, others);
            snprintf(a->driver, sizeof(a->driver), "%s%s%s%s", drivers[i].driver,
                     others[0] == '\0'             ? ""
                     : strchr(others, ',') != NULL ? "; each of "
                                                   : "; ",
                     others, others[0] != '\0' ? " alone asks for several regions, too" : "");
            return;
        }
    }
}

static void choose(struct plan_answer *a)
{
    double cheapest = INFINITY;
    a->best = a->runner_up = -1;
    for (unsigned i = 0; i < a->count; i++) {
        cheapest = keeps_all(&a->results[i]) ? fmin(cheapest, a->results[i].total) : cheapest;
    }
    for (unsigned i = 0; i < a->count && a->best < 0; i++) {
        const struct plan_result *r = &a->results[i];
        if (keeps_all(r) && r->total <= cheapest * PLAN_SIMPLER_MAY_COST) {
            a->best = (int)i;
        }
    }
    for (unsigned i = 0; i < a->count;
         i++) { /* the cheapest of the others, with another posture */
        const struct plan_result *r = &a->results[i];
        if ((int)i != a->best && keeps_all(r) &&
            (a->runner_up < 0 || r->total < a->results[a->runner_up].total)) {
            a->runner_up = (int)i;
        }
    }
}

/** Nothing is recommended: why, and what comes nearest. */
static void explain_none(struct plan_answer *a)
{
    unsigned least = ~0u, fewest = ~0u, placed = 0;
    const struct plan_result *nearest = NULL;
    char name[40], text[PLAN_MISSES_TEXT];

    for (unsigned i = 0; i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        unsigned missed = (unsigned)__builtin_popcount(r->missed);
        if (r->refused != NULL) {
            continue;
        }
        placed++;
        least &= r->missed;
        if (nearest == NULL || missed < fewest ||
            (missed == fewest && r->total < nearest->total)) {
            fewest = missed;
            nearest = r;
        }
    }
    if (nearest == NULL) {
        snprintf(
            a->rule, sizeof(a->rule),
            "every posture is refused, for the reasons below: other regions, or other rules");
        return;
    }
    snprintf(a->rule, sizeof(a->rule), "no posture keeps every target%s",
             (least & PLAN_MISS_AVAILABILITY) == 0 ? ""
             : placed == 1
                 ? "; one region cannot be up more than it is"
                 : "; availability is bounded by what takes all regions at once (beta)");
    snprintf(a->tips, sizeof(a->tips), "%s at %.0f USD/month comes nearest: it misses %s",
             plan_result_name(nearest, name), nearest->total,
             plan_missed(nearest->missed, text));
}

/** What would make the runner-up the answer. */
static void explain_tip(struct plan_answer *a, const struct plan_result *r,
                        const struct plan_result *o)
{
    char other[40];
    size_t cap = sizeof(a->tips);

    plan_result_name(o, other);
    int n = snprintf(a->tips, cap, "%s at %.0f USD/month ", other, o->total);
    char *rest = a->tips + n;
    cap -= (size_t)n;
    if (o->total < r->total) {
        snprintf(rest, cap,
                 "saves %.0f, less than the %.0f%% for which the simpler one is taken",
                 r->total - o->total, 100 * (PLAN_SIMPLER_MAY_COST - 1));
    } else if (o->rto_s < r->rto_s) {
        bool long_ago = r->rto_s >= 600; /* as the tables have it */
        snprintf(rest, cap, "would be it if service had to be back within less than %.0f %s",
                 long_ago ? floor(r->rto_s / 60) : r->rto_s, long_ago ? "min" : "s");
    } else if (o->write_p95 < r->write_p95 - 1) {
        snprintf(rest, cap, "would be it if writes had to be under %.0f ms", r->write_p95);
    } else if (o->read_p95 < r->read_p95 - 1) {
        snprintf(rest, cap, "would be it if reads had to be under %.0f ms", r->read_p95);
    } else {
        snprintf(rest, cap, "is better in nothing that was asked for");
    }
}

static void explain(struct plan_answer *a)
{
    char name[40];

    if (a->best < 0) {
        explain_none(a);
        return;
    }
    const struct plan_result *r = &a->results[a->best];
    plan_result_name(r, name);
    if (r->posture == PLAN_SINGLE) {
        snprintf(a->rule, sizeof(a->rule),
                 "%s keeps every target: you do not need multi-region for this class", name);
        a->driver[0] = '\0';
    } else {
        snprintf(
            a->rule, sizeof(a->rule),
            "%s is the simplest posture that keeps every target within 25%% of the cheapest",
            name);
    }
    if (a->runner_up >= 0) {
        explain_tip(a, r, &a->results[a->runner_up]);
    }
}

const struct plan_result *plan_one_region(const struct plan_answer *a,
                                          const struct plan_result *r)
{
    for (unsigned i = 0; i < a->count && r->posture != PLAN_SINGLE; i++) {
        if (a->results[i].posture == PLAN_SINGLE && a->results[i].cdn == r->cdn) {
            return &a->results[i];
        }
    }
    return &a->results[0];
}

static void returns(const struct plan_workload *w, struct plan_answer *a)
{
    for (unsigned i = 0; i < a->count; i++) {
        struct plan_result *r = &a->results[i];
        const struct plan_result *single = plan_one_region(a, r);
        bool both = r->refused == NULL && single->refused == NULL;
        double premium = r->total - single->total, usd = w->downtime_usd_hour;

        r->usd_year_return = both && usd >= 0
                                 ? (single->u - r->u) * MRD_YEAR_H * usd - 12 * premium
                                 : (double)NAN;
        if (i > 0 && both && premium > 0 && r->u < single->u) {
            r->usd_hour_break_even = mrd_break_even_usd_hour(premium, single->u, r->u);
        }
    }
}

/** Every posture without and, where there is something to cache, with a CDN. */
static void place_postures(const struct place *p, struct plan_answer *a)
{
    const struct plan_class *c = p->class;
    struct plan_result *results[2 * PLAN_POSTURES];
    bool caches = c->cacheable > 0 && c->reads_per_s > 0;

    for (unsigned i = 0; i < PLAN_POSTURES; i++) {
        /* The edges of a hierarchy are a CDN of one's own. */
        int cdns = caches && i != PLAN_EDGE_HIERARCHY ? 1 : 0;
        for (int cdn = 0; cdn <= cdns; cdn++) {
            struct plan_result *r = results[a->count] = &a->results[a->count];
            r->posture = (enum plan_posture)i;
            r->cdn = cdn == 1;
            r->refused = refusal(c, r->posture);
            r->quorum = r->posture != PLAN_SINGLE && c->rpo_ms == 0 && c->writes_per_s > 0;
            a->count++;
        }
    }
    place_search(p, results, a->count);
    for (unsigned i = 0; i < a->count; i++) {
        if (a->results[i].refused == NULL) {
            recovery(p->load, c, &a->results[i]);
            if (a->results[i].quorum && isinf(a->results[i].lag_s)) {
                a->results[i].refused = "its commits wait for another region, and no link of "
                                        "link_mbit carries its writes there";
                continue;
            }
            availability(p->load, &a->results[i]);
            judge(c, &a->results[i]);
        }
    }
}

int plan_class_answer(struct plan_data *data, const struct plan_workload *load,
                      const struct plan_class *class, size_t years, uint64_t seed,
                      struct plan_answer *ret, struct mrd_err *err)
{
    struct place *p = NULL;
    double *annual_h = years > 0 ? calloc(years, sizeof(*annual_h)) : NULL;
    int rc = years > 0 && annual_h == NULL ? mrd_err_set(err, MRD_ENOMEM, "out of memory")
                                           : place_new(data, load, class, &p, err);
    if (rc != 0) {
        free(annual_h);
        return rc;
    }
    mrd_assert(p != NULL);
    memset(ret, 0, sizeof(*ret));
    ret->class = class;
    place_postures(p, ret);
    for (unsigned i = 0; i < ret->count && years > 0; i++) {
        if (ret->results[i].refused == NULL) {
            simulate(load, &ret->results[i], years, seed, annual_h);
        }
    }
    choose(ret);
    name_driver(ret);
    explain(ret);
    if (ret->best < 0) {
        plan_candidates_lack(data, load, class, ret->tips, sizeof(ret->tips));
    }
    returns(load, ret);
    free(p);
    free(annual_h);
    return 0;
}

unsigned plan_union(const struct plan_workload *load, const struct plan_answer *answers,
                    int ret_regions[PLAN_CANDIDATES_MAX], double *ret_usd_month)
{
    unsigned n = 0;
    double usd = 0;

    for (unsigned c = 0; c < load->class_count; c++) {
        const struct plan_answer *a = &answers[c];
        const struct plan_result *r = a->best >= 0 ? &a->results[a->best] : NULL;
        usd += r != NULL ? r->total - r->cost[PLAN_EDGE] : 0;
        for (unsigned k = 0; r != NULL && k < r->n; k++) {
            bool there = false;
            for (unsigned i = 0; i < n; i++) {
                there |= ret_regions[i] == r->region[k];
            }
            if (!there && n < PLAN_CANDIDATES_MAX) {
                ret_regions[n++] = r->region[k];
            }
        }
    }
    *ret_usd_month = usd + n * load->region_usd_month;
    return n;
}

/** Plan class @c again within the union of all; keep it when the whole is no dearer. */
static int share_regions(struct plan_data *data, const struct plan_workload *load, unsigned c,
                         size_t years, uint64_t seed,
                         struct plan_answer answers[PLAN_CLASSES_MAX], struct mrd_err *err)
{
    struct plan_workload *within = malloc(sizeof(*within));
    struct plan_answer before = answers[c];
    int regions[PLAN_CANDIDATES_MAX];
    double usd = 0, usd_within = 0;

    if (within == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "out of memory");
    }
    *within = *load;
    within->candidate_count = 0;
    answers[c].best = -1; /* the others' regions */
    unsigned n = plan_union(load, answers, within->candidates, &usd);
    within->candidate_count = n;
    answers[c] = before;
    unsigned n_before = plan_union(load, answers, regions, &usd);
    int rc = n == 0 ? 0
                    : plan_class_answer(data, within, &load->classes[c], years, seed,
                                        &answers[c], err);
    unsigned n_after = plan_union(load, answers, regions, &usd_within);
    if (rc != 0 || answers[c].best < 0 || n_after >= n_before || usd_within > usd) {
        answers[c] = before;
    }
    free(within);
    return rc;
}

int plan_answer(struct plan_data *data, const struct plan_workload *load, size_t years,
                uint64_t seed, struct plan_answer answers[PLAN_CLASSES_MAX],
                struct mrd_err *err)
{
    int rc = 0;
    for (unsigned c = 0; rc == 0 && c < load->class_count; c++) {
        rc = plan_class_answer(data, load, &load->classes[c], years, seed, &answers[c], err);
    }
    for (unsigned c = 0; rc == 0 && load->class_count > 1 && c < load->class_count; c++) {
        rc = answers[c].best >= 0 ? share_regions(data, load, c, years, seed, answers, err) : 0;
    }
    return rc;
}

int plan_countries(struct plan_data *data, const struct plan_workload *load,
                   const struct plan_answer *a,
                   struct plan_country_latency (*ret)[PLAN_USERS_MAX], struct mrd_err *err)
{
    struct place *p = NULL;
    int rc = place_new(data, load, a->class, &p, err);

    for (unsigned i = 0; rc == 0 && i < a->count; i++) {
        const struct plan_result *r = &a->results[i];
        struct place_set s = {.n = r->n};
        for (unsigned k = 0; k < r->n; k++) {
            for (unsigned c = 0; c < load->candidate_count; c++) {
                s.at[k] = load->candidates[c] == r->region[k] ? (int)c : s.at[k];
            }
        }
        for (unsigned u = 0; u < load->user_count && r->refused == NULL; u++) {
            place_country(p, &s, r, (int)u, &ret[i][u]);
            ret[i][u].country = load->users[u].country;
        }
    }
    free(p);
    return rc;
}
