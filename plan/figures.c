/*
 * The figures of a result (figures.h), in the order in which one builds on the other:
 * recovery, availability, replication, cost, latency, return.
 *
 * What was worked out is taken from the result; only what it does not keep (the parts of an
 * availability) is worked out again, with the functions that gave it. tests/plan/run puts the
 * inputs of each figure back into its calculator and compares.
 */
#include <figures.h>
#include <place.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <mrd/availability.h>
#include <mrd/cost.h>
#include <mrd/latency.h>

#define LIST_PRICES "prices: of the workload, else the list prices among the facts"
/* Of the sources of all latencies. */
#define DISTANCE "F22 from each city, where model user-rtt has the centre of the population: "

struct book {
    struct plan_data *data;
    const struct plan_workload *w;
    const struct plan_class *c;
    const struct plan_result *r;
    struct plan_figure *figures;
    unsigned count;
};

static struct plan_figure *begin(struct book *b, const char *name, double value,
                                 const char *unit, const char *formula, const char *source)
{
    mrd_assert(b->count < PLAN_FIGURES_MAX);
    struct plan_figure *f = &b->figures[b->count++];

    *f = (struct plan_figure){
        .name = name, .value = value, .unit = unit, .formula = formula, .source = source};
    return f;
}

/** A figure that is @key of what @model gives. */
static struct plan_figure *begin_model(struct book *b, const char *name, double value,
                                       const char *unit, const char *model, const char *key)
{
    const struct plan_model *m = plan_model_find(model);

    mrd_assert(m != NULL);
    struct plan_figure *f = begin(b, name, value, unit, m->formula, m->source);
    f->model = model;
    f->key = key;
    return f;
}

static void list(struct plan_figure *f, const char *name, const char *unit, const double *v,
                 unsigned count)
{
    mrd_assert(f->count < PLAN_INPUTS_MAX && count <= PLAN_COPIES_MAX);
    struct plan_input *in = &f->inputs[f->count++];

    in->name = name;
    in->unit = unit;
    in->count = count;
    memcpy(in->v, v, count * sizeof(*v));
}

static void input(struct plan_figure *f, const char *name, double value, const char *unit)
{
    list(f, name, unit, &value, 1);
}

/** An input that has a default. */
static void input_of(struct book *b, struct plan_figure *f, const char *name, double value,
                     const char *unit, enum plan_given key)
{
    input(f, name, value, unit);
    f->inputs[f->count - 1].assumed = !plan_given(b->w, key);
}

static void input_bytes(struct plan_figure *f, const char *name, double value, bool given)
{
    input(f, name, value, "B");
    f->inputs[f->count - 1].assumed = !given;
}

/** Where a figure of one input comes from. */
static const char *given(const struct book *b, enum plan_given key)
{
    return plan_given(b->w, key) ? "failures: of the workload"
                                 : "a default; failures: does not say";
}

static const char *priced(const struct book *b, enum plan_given key)
{
    return plan_given(b->w, key) ? "prices: of the workload"
                                 : "a default; prices: does not say";
}

/* ---- recovery ---- */

/** What the steps between detection and service elsewhere are made of. */
static void add_steps(struct book *b)
{
    const struct plan_workload *w = b->w;
    enum plan_posture p = b->r->posture;
    bool pilot = p == PLAN_PILOT_LIGHT;
    bool warms = pilot || p == PLAN_ACTIVE_PASSIVE || p == PLAN_EDGE_HIERARCHY;

    if (p == PLAN_SINGLE) {
        return;
    }
    struct plan_figure *f =
        begin(b, "steps_s", plan_takeover_s(w, p), "s",
              p == PLAN_ACTIVE_ACTIVE ? "0: every region accepts writes already"
              : pilot                 ? "takeover + pilot_warm_up"
              : warms                 ? "takeover + standby_warm_up"
                                      : "takeover",
              "failures: of the workload, but defaults where marked; takeover: decide, fence, "
              "promote");
    if (p != PLAN_ACTIVE_ACTIVE) {
        input_of(b, f, "takeover", w->steps_s, "s", PLAN_GIVEN_TAKEOVER);
    }
    if (warms) {
        input_of(b, f, pilot ? "pilot_warm_up" : "standby_warm_up",
                 pilot ? w->pilot_warm_s : w->warm_s, "s",
                 pilot ? PLAN_GIVEN_PILOT_WARM_UP : PLAN_GIVEN_WARM_UP);
    }
}

static void add_rto(struct book *b, const char *name, double value, const char *key)
{
    const struct plan_workload *w = b->w;
    struct plan_figure *f;

    if (!plan_all_covered(b->r)) {
        f = begin(b, name, value, "s",
                  b->r->posture == PLAN_SINGLE ? "the time to restore a backup elsewhere"
                                               : "the time to restore a backup elsewhere: some "
                                                 "data no other region takes over",
                  given(b, PLAN_GIVEN_RESTORE));
        input_of(b, f, "restore_s", w->restore_s, "s", PLAN_GIVEN_RESTORE);
        return;
    }
    f = begin_model(b, name, value, "s", "rto", key);
    f->source = "F10, uniform phase of fault and cache; inputs: failures:, but defaults where "
                "marked; steps_s: a figure of its own";
    input_of(b, f, "interval_s", w->interval_s, "s", PLAN_GIVEN_INTERVAL);
    input_of(b, f, "checks", w->checks, "1", PLAN_GIVEN_CHECKS);
    input_of(b, f, "timeout_s", w->timeout_s, "s", PLAN_GIVEN_TIMEOUT);
    input_of(b, f, "ttl_s", w->ttl_s, "s", PLAN_GIVEN_TTL);
    input(f, "steps_s", plan_takeover_s(w, b->r->posture), "s");
}

static void add_rpo(struct book *b)
{
    const struct plan_result *r = b->r;
    struct plan_figure *f;

    if (plan_some_alone(r)) {
        f = begin(b, "rpo_s", r->rpo_s, "s",
                  r->posture == PLAN_SINGLE
                      ? "the age of the last backup, at worst"
                      : "the age of the last backup, at worst: some data has one copy",
                  given(b, PLAN_GIVEN_BACKUP));
        input_of(b, f, "backup_interval_s", b->w->backup_s, "s", PLAN_GIVEN_BACKUP);
    } else if (r->quorum) {
        begin(b, "rpo_s", r->rpo_s, "s",
              "none: a write is acknowledged when a majority of its copies has it", "F15");
    } else {
        f = begin_model(b, "rpo_s", r->rpo_s, "s", "lag", "mean_lag_s");
        input(f, "W", b->c->writes_per_s, "1/s");
        input_bytes(f, "S", b->c->write_bytes, b->c->write_bytes_given);
        input_of(b, f, "B", b->w->link_mbit * 1e6 / 8, "B/s", PLAN_GIVEN_LINK);
        input(f, "one_way_ms", r->delay_s * 1000, "ms");
    }
}

/* ---- availability ---- */

static void add_majority(struct book *b, unsigned copies)
{
    static const char *const names[PLAN_COPIES_MAX + 1] = {
        [2] = "U_majority_2",   [3] = "U_majority_3",   [4] = "U_majority_4",
        [5] = "U_majority_5",   [6] = "U_majority_6",   [7] = "U_majority_7",
        [8] = "U_majority_8",   [9] = "U_majority_9",   [10] = "U_majority_10",
        [11] = "U_majority_11", [12] = "U_majority_12", [13] = "U_majority_13",
        [14] = "U_majority_14", [15] = "U_majority_15", [16] = "U_majority_16"};
    struct plan_figure *f =
        begin_model(b, names[copies], plan_majority_u(b->w, copies), "1", "common-cause", "U");

    input(f, "n", copies, "1");
    input(f, "q", (100 - b->w->region_pct) / 100, "1");
    input(f, "beta", plan_majority_beta(b->w, copies), "1");
    unsigned majority = copies / 2 + 1;
    input(f, "k", majority, "1");
}

/** What takes over, unless nothing does: one region, or two that need each other. */
static void add_failover(struct book *b, unsigned most)
{
    struct mrd_failover_model m = plan_failover_model(b->w, b->r);

    if (most < 2 || !(b->r->covered > 0)) {
        return;
    }
    struct plan_figure *f =
        begin_model(b, "U_failover", mrd_avail_failover(&m, NULL), "1", "failover", "U");
    input(f, "A", 1 - m.u, "1");
    input(f, "m_h", m.mean_h, "h");
    input(f, "T_h", m.failover_h, "h");
    input(f, "beta", m.beta, "1");
    input(f, "p_ff", m.p_ff, "1");
    input(f, "A_standby", 1 - m.u_standby, "1");
}

static void add_availability(struct book *b)
{
    const struct plan_result *r = b->r;
    double by[PLAN_COPIES_MAX + 1], copies[PLAN_COPIES_MAX], share[PLAN_COPIES_MAX];
    double u[PLAN_COPIES_MAX];
    unsigned count = 0, most = 0;
    struct plan_figure *f;

    if (r->posture == PLAN_SINGLE) {
        f = begin(b, "U", r->u, "1", "U = 1 - region_availability / 100",
                  given(b, PLAN_GIVEN_AVAILABILITY));
        input_of(b, f, "region_availability", b->w->region_pct, "percent",
                 PLAN_GIVEN_AVAILABILITY);
        return;
    }
    plan_by_copies(r, by);
    for (unsigned c = 1; c <= PLAN_COPIES_MAX; c++) {
        if (by[c] > 0) {
            copies[count] = most = c;
            share[count] = by[c];
            u[count++] = plan_copies_u(b->w, r, c);
        }
    }
    add_failover(b, most);
    for (unsigned c = 2; c <= most && r->quorum; c++) {
        if (by[c] > 0) {
            add_majority(b, c);
        }
    }
    f = begin(b, "U", r->u, "1",
              r->quorum
                  ? "sum of share U_copies; of one copy U_copies = 1 - A, of two U_majority "
                    "(both are needed), of more 1 - (1 - U_failover)(1 - U_majority)"
                  : "sum of share U_copies; of one copy U_copies = 1 - A, of more U_failover",
              "F7 over the users by the number of copies of their data; F6, F1 with F5");
    list(f, "copies", "1", copies, count);
    list(f, "share", "1", share, count);
    list(f, "U_copies", "1", u, count);
}

static void add_years(struct book *b)
{
    const struct mrd_outage_years *y = &b->r->years;

    if (b->r->simulated) {
        struct plan_figure *f =
            begin(b, "simulated_U", y->u, "1",
                  "mean over simulated years of alternating outages, a common cause, failovers "
                  "that take time and may fail; 95% interval U +- 1.96 U_se",
                  "Monte Carlo of F6 (mrd_outage_simulate)");
        input(f, "U_se", y->u_se, "1");
        input(f, "outages", (double)y->outages, "1");
        input(f, "beta", b->w->beta, "1");
        input(f, "p_ff", plan_failover_fails(b->r->posture), "1");
    }
    struct plan_figure *f = begin_model(b, "min_per_year", mrd_avail_min_per_year(b->r->u),
                                        "min", "downtime", "min_per_year");
    input(f, "U", b->r->u, "1");
}

/* ---- cost ---- */

static void add_load_cost(struct book *b, const char *name, enum plan_cost_part part,
                          double usd_month, const char *formula)
{
    const struct plan_class *c = b->c;
    bool edges = b->r->posture == PLAN_EDGE_HIERARCHY;
    struct place_requests q;

    place_requests(b->w, c, b->r, &q);
    struct plan_figure *f =
        begin(b, name, b->r->cost[part], "USD/month", formula,
              usd_month >= 0 ? "prices: of the workload, shared out by requests"
                             : "assumed: no price is given");
    input(f, "reads_per_s", c->reads_per_s, "1/s");
    input(f, "writes_per_s", c->writes_per_s, "1/s");
    input(f, "cached", b->r->cdn || edges ? c->cacheable : 0, "1");
    input(f, "usd_per_request_s", part == PLAN_DATABASE ? q.database_usd : q.compute_usd,
          "USD s/month");
    if (part == PLAN_COMPUTE) {
        input(f, "of_a_cached_one", edges ? PLAN_EDGE_REQUEST : 0, "1");
    } else {
        input(f, "copies", b->r->copies, "1");
        input(f, "size_of_copy",
              b->r->posture == PLAN_PILOT_LIGHT ? PLAN_PILOT_DATABASE : PLAN_REPLICA_DATABASE,
              "1");
    }
}

static void add_headroom(struct book *b)
{
    const struct plan_result *r = b->r;
    double compute = r->cost[PLAN_COMPUTE];
    double running = compute > 0 ? 1 + r->cost[PLAN_HEADROOM] / compute : 1;
    struct plan_figure *f;

    if (r->posture >= PLAN_READ_LOCAL) {
        double each[MRD_HEADROOM_MAX];
        if (r->confined) {
            f = begin(
                b, "running", running, "1 = the load",
                "sum of shares and spill; spill: the most that a lost region leaves each, its "
                "load goes where its copies are, in proportion to the shares there (evenly "
                "where they are 0), and nowhere if there are no others",
                "F19, of each group of users whose data the same regions have");
            list(f, "shares", "1", r->share, r->n);
            list(f, "spill", "1", r->spill, r->n);
        } else if (mrd_headroom_shares(r->share, r->n, 1, each) == 0) {
            f = begin_model(b, "running", running, "1 = the load", "headroom-shares", "total");
            list(f, "shares", "1", r->share, r->n);
        } else {
            begin(b, "running", running, "1 = the load",
                  "2: one region has all of the users, and another must be able to take them",
                  "F19");
        }
    } else if (r->posture != PLAN_SINGLE) {
        bool pilot = r->posture == PLAN_PILOT_LIGHT;
        f = begin(b, "running", running, "1 = the load",
                  pilot ? "1 + pilot" : "1 + standby (held - 1)",
                  given(b, pilot ? PLAN_GIVEN_PILOT : PLAN_GIVEN_STANDBY));
        input_of(b, f, pilot ? "pilot" : "standby", pilot ? b->w->pilot_standby : b->w->standby,
                 "1", pilot ? PLAN_GIVEN_PILOT : PLAN_GIVEN_STANDBY);
        input(f, "held", r->held, "1");
    }
    f = begin(b, "headroom", r->cost[PLAN_HEADROOM], "USD/month", "compute (running - 1)",
              r->posture >= PLAN_READ_LOCAL ? "F19: any one region may be lost"
              : r->posture == PLAN_SINGLE
                  ? "one region: nothing stands by"
                  : "what stands by runs, and is scaled up after a loss");
    input(f, "compute", compute, "USD/month");
    input(f, "running", running, "1");
}

#define READ_GB "read_gb = reads_per_s x read_bytes x 30 d / GB"
#define WRITTEN_GB "written_gb = writes_per_s x write_bytes x (1 + overhead) x 30 d / GB"

static void input_read(struct book *b, struct plan_figure *f)
{
    input(f, "reads_per_s", b->c->reads_per_s, "1/s");
    input_bytes(f, "read_bytes", b->c->read_bytes, b->c->read_bytes_given);
    input(f, "read_gb", place_origin_gb(b->c, false), "GB/month");
}

static void input_written(struct book *b, struct plan_figure *f)
{
    input(f, "writes_per_s", b->c->writes_per_s, "1/s");
    input_bytes(f, "write_bytes", b->c->write_bytes, b->c->write_bytes_given);
    input(f, "overhead", PLAN_OVERHEAD, "1");
    input(f, "written_gb", place_written_gb(b->c), "GB/month");
}

static void add_replication(struct book *b)
{
    const struct plan_class *c = b->c;
    const struct plan_result *r = b->r;
    double gb = place_written_gb(c);
    double copies = r->copies, sent = gb * copies;
    static const char *const names[] = {"replication", "replication_mbit_s"};

    for (unsigned i = 0; i < 2; i++) {
        struct plan_figure *f = begin_model(
            b, names[i], i == 0 ? r->cost[PLAN_REPLICATION] : r->replication_mbit,
            i == 0 ? "USD/month" : "Mbit/s", "transfer", i == 0 ? "usd_month" : "mbit_s");
        f->source = LIST_PRICES "; usd_per_gb: the mean over where users and copies are";
        input(f, "events_per_day", c->writes_per_s * 86400, "1/day");
        input_bytes(f, "bytes", c->write_bytes, c->write_bytes_given);
        input(f, "copies", copies, "1");
        input(f, "usd_per_gb", sent > 0 ? r->cost[PLAN_REPLICATION] / sent : 0, "USD/GB");
        input(f, "days", 30, "day");
        input(f, "overhead", PLAN_OVERHEAD, "1");
    }
    if (r->posture == PLAN_EDGE_HIERARCHY) {
        struct plan_figure *f = begin(
            b, "forwarding", r->cost[PLAN_FORWARDING], "USD/month",
            "(written_gb + read_gb (1 - cached)) usd_per_gb, of users at an edge; " WRITTEN_GB
            "; " READ_GB,
            LIST_PRICES "; usd_per_gb: the mean over all users");
        double passed = gb + place_origin_gb(c, true);
        input_written(b, f);
        input_read(b, f);
        input(f, "cached", c->cacheable, "1");
        input(f, "usd_per_gb", passed > 0 ? r->cost[PLAN_FORWARDING] / passed : 0, "USD/GB");
    } else if (r->posture == PLAN_READ_LOCAL) {
        struct plan_figure *f =
            begin(b, "forwarding", r->cost[PLAN_FORWARDING], "USD/month",
                  "written_gb usd_per_gb, of users not at the home; " WRITTEN_GB,
                  LIST_PRICES "; usd_per_gb: the mean over all users");
        input_written(b, f);
        input(f, "usd_per_gb", gb > 0 ? r->cost[PLAN_FORWARDING] / gb : 0, "USD/GB");
    }
}

static void add_traffic(struct book *b)
{
    const struct plan_class *c = b->c;
    const struct plan_result *r = b->r;
    double gb = place_origin_gb(c, false);
    double cached = r->cdn ? c->cacheable : 0, sent = gb * (1 - cached);
    struct plan_figure *f = begin(b, "egress", r->cost[PLAN_EGRESS], "USD/month",
                                  "read_gb (1 - cached) usd_per_gb; " READ_GB,
                                  LIST_PRICES "; usd_per_gb: the mean over where users are");
    input_read(b, f);
    input(f, "cached", cached, "1");
    input(f, "usd_per_gb", sent > 0 ? r->cost[PLAN_EGRESS] / sent : 0, "USD/GB");
    if (r->cdn) {
        f = begin(b, "cdn", r->cost[PLAN_CDN], "USD/month",
                  "read_gb cached usd_per_gb; " READ_GB, priced(b, PLAN_GIVEN_CDN_USD));
        input_read(b, f);
        input(f, "cached", cached, "1");
        input_of(b, f, "usd_per_gb", b->w->cdn_usd_gb, "USD/GB", PLAN_GIVEN_CDN_USD);
    }
    f = begin(b, "storage", r->cost[PLAN_STORAGE], "USD/month",
              "storage_gb (1 + copies) usd_per_gb", priced(b, PLAN_GIVEN_STORAGE_USD));
    input(f, "storage_gb", c->storage_gb, "GB");
    input(f, "copies", r->copies, "1");
    input_of(b, f, "usd_per_gb", b->w->storage_usd_gb, "USD/GB", PLAN_GIVEN_STORAGE_USD);
    f = begin(b, "edge", r->cost[PLAN_EDGE], "USD/month", "n region_usd_month",
              priced(b, PLAN_GIVEN_REGION_USD));
    input(f, "n", r->n, "1");
    input_of(b, f, "region_usd_month", b->w->region_usd_month, "USD/month",
             PLAN_GIVEN_REGION_USD);
}

static void add_costs(struct book *b)
{
    const struct plan_result *r = b->r;

    add_load_cost(b, "compute", PLAN_COMPUTE, b->w->compute_usd_month,
                  "(reads_per_s (1 - cached + cached of_a_cached_one) + writes_per_s) "
                  "usd_per_request_s");
    add_headroom(b);
    add_load_cost(b, "database", PLAN_DATABASE, b->w->database_usd_month,
                  "(reads_per_s (1 - cached) + writes_per_s) usd_per_request_s (1 + copies "
                  "size_of_copy)");
    add_traffic(b);
    if (r->posture != PLAN_SINGLE) {
        add_replication(b);
    }
    struct plan_figure *f =
        begin(b, "usd_month", r->total, "USD/month", "the sum of all parts", "the parts above");
    double parts[2] = {0, 0};
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        parts[i >= PLAN_REPLICATION && i <= PLAN_CDN] += r->cost[i];
    }
    input(f, "servers_and_storage", parts[0], "USD/month");
    input(f, "traffic", parts[1], "USD/month");
}

/* ---- latency ---- */

static void add_latency(struct book *b, const char *name, double value, const char *formula,
                        bool reads)
{
    struct plan_figure *f = begin(b, name, value, "ms", formula,
                                  DISTANCE "10 ms of last mile, cities, round trips "
                                           "between regions (the facts)");
    input(f, "processing_ms", b->w->processing_ms, "ms");
    input(f, "countries", b->w->user_count, "1");
    input(f, "regions", b->r->n, "1");
    if (reads && b->r->posture == PLAN_EDGE_HIERARCHY) {
        input(f, "cached", b->c->cacheable, "1");
        input(f, "edge_ms", PLAN_CDN_MS, "ms");
    } else if (reads && b->r->cdn) {
        input(f, "cached", b->c->cacheable, "1");
        input(f, "cdn_ms", MRD_LAST_MILE_MS + PLAN_CDN_MS, "ms");
    }
}

static void add_commit(struct book *b)
{
    const struct plan_result *r = b->r;
    double rtt[PLAN_COPIES_MAX], ms = 0;
    size_t w = r->posture == PLAN_CELLS ? 2 : r->held / 2 + 1;

    if (!r->quorum || r->region[0] < 0 ||
        (b->c->residency_count > 0 && place_homes_are_local(r->posture))) {
        return; /* each jurisdiction's commits wait for its own regions */
    }
    for (unsigned k = 1; k < r->held; k++) {
        if (r->region[k] < 0) {
            return; /* a place that nobody knows */
        }
        rtt[k - 1] = plan_rtt_ms(b->data, r->region[0], r->region[k], NULL);
    }
    if (mrd_quorum_leader_ms(rtt, r->held - 1, w, &ms) != 0) {
        return;
    }
    struct plan_figure *f =
        begin_model(b, "commit_ms", ms + PLAN_FSYNC_MS, "ms", "quorum-latency", "latency_ms");
    list(f, "rtt_ms", "ms", rtt, r->held - 1);
    input(f, "w", (double)w, "1");
    input(f, "fsync_ms", PLAN_FSYNC_MS, "ms");
}

/** A request on a new connection: the budget of the one on a warm one, and what comes before.
 */
static void add_budget(struct book *b)
{
    double proc = b->w->processing_ms, net = fmax(0, b->r->read_p95 - proc);
    struct plan_figure *f =
        begin_model(b, "cold_read_p95", MRD_LAST_MILE_MS + 2 * net + net + proc, "ms",
                    "latency-budget", "latency_ms");

    f->source =
        "F23; dns: a resolver a last mile away; tls: TCP and TLS 1.3, a round trip each; "
        "net: read_p95 less processing";
    input(f, "dns_ms", MRD_LAST_MILE_MS, "ms");
    input(f, "tls_ms", 2 * net, "ms");
    input(f, "net_ms", net, "ms");
    input(f, "proc_ms", proc, "ms");
    input(f, "data_ms", 0, "ms");
}

static void add_latencies(struct book *b)
{
    const struct plan_result *r = b->r;
    bool local = r->posture >= PLAN_READ_LOCAL;
    bool edges = r->posture == PLAN_EDGE_HIERARCHY;
    const char *read =
        edges   ? "weighted percentile over users of: the home, straight or by way "
                  "of the nearest edge, + processing; the edge + edge_ms for what "
                  "its cache answers"
        : local ? "weighted percentile over users of: the nearest region that has "
                  "their data + processing; cdn_ms for what a CDN answers"
                : "weighted percentile over users of: the home + processing; "
                  "cdn_ms for what a CDN answers";
    const char *write =
        r->posture == PLAN_READ_LOCAL || edges
            ? "weighted percentile over users of: the home, straight or by way of the nearest "
              "region, + processing + commit_ms (0 unless quorum)"
        : local ? "weighted percentile over users of: the nearest region that has their data + "
                  "processing + commit_ms (0 unless quorum)"
                : "weighted percentile over users of: the home + processing + commit_ms (0 "
                  "unless quorum)";

    add_commit(b);
    add_latency(b, "read_p50", r->read_p50, read, true);
    add_latency(b, "read_p95", r->read_p95, read, true);
    add_budget(b);
    add_latency(b, "write_p50", r->write_p50, write, false);
    add_latency(b, "write_p95", r->write_p95, write, false);
    struct plan_figure *f = begin(
        b, "stale_p95_ms", r->stale_p95_ms, "ms",
        r->posture == PLAN_CELLS || !local
            ? "0: records are read at their home"
            : "weighted percentile over users of: the lag, F12, from the farthest region "
              "that writes the records to the one that serves; one's own writes are there",
        "F12; RTT/2, shipping and queueing; caches not counted");
    if (local && r->posture != PLAN_CELLS) {
        input(f, "ship_ms", PLAN_SHIP_S * 1000, "ms");
        input(f, "W", b->c->writes_per_s, "1/s");
        input_bytes(f, "S", b->c->write_bytes, b->c->write_bytes_given);
        input_of(b, f, "B", b->w->link_mbit * 1e6 / 8, "B/s", PLAN_GIVEN_LINK);
    }
    if (r->n > 1 && r->lost_read_p95 < PLAN_NOT_SERVED) {
        add_latency(b, "lost_read_p95", r->lost_read_p95,
                    "as read_p95 without one region, the worst one to lose", true);
    }
    if (r->n > 1 && r->lost_write_p95 < PLAN_NOT_SERVED) {
        add_latency(b, "lost_write_p95", r->lost_write_p95,
                    "as write_p95 without one region, the worst one to lose", false);
    }
}

unsigned plan_figures(struct plan_data *data, const struct plan_workload *load,
                      const struct plan_class *class, const struct plan_result *single,
                      const struct plan_result *r, struct plan_figure ret[PLAN_FIGURES_MAX])
{
    struct book b = {data, load, class, r, ret, 0};

    add_steps(&b);
    add_rto(&b, "rto_s", r->rto_s, "mean_s");
    add_rto(&b, "rto_worst_s", r->rto_worst_s, "worst_s");
    add_rpo(&b);
    add_availability(&b);
    add_years(&b);
    add_costs(&b);
    add_latencies(&b);
    if (r->usd_hour_break_even > 0) {
        struct plan_figure *f = begin_model(&b, "break_even_usd_hour", r->usd_hour_break_even,
                                            "USD/h", "break-even", "usd_per_hour");
        input(f, "premium_usd_month", r->total - single->total, "USD/month");
        input(f, "U_before", single->u, "1");
        input(f, "U_after", r->u, "1");
    }
    if (load->downtime_usd_hour >= 0 && isfinite(r->usd_year_return)) {
        struct plan_figure *f =
            begin(&b, "return_usd_year", r->usd_year_return, "USD/year",
                  "(U_before - U_after) x 8760 h x downtime_usd_hour - 12 premium",
                  "F9, against single-region, with a CDN if this has one; downtime_usd_hour of "
                  "the workload");
        input(f, "U_before", single->u, "1");
        input(f, "U_after", r->u, "1");
        input(f, "downtime_usd_hour", load->downtime_usd_hour, "USD/h");
        input(f, "premium_usd_month", r->total - single->total, "USD/month");
    }
    return b.count;
}

char *plan_figure_inputs(const struct plan_figure *f, char *out, size_t cap)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < f->count && used < cap; i++) {
        const struct plan_input *in = &f->inputs[i];
        used +=
            (size_t)snprintf(out + used, cap - used, "%s%s = ", i > 0 ? "; " : "", in->name);
        for (unsigned k = 0; k < in->count && used < cap; k++) {
            used +=
                (size_t)snprintf(out + used, cap - used, "%s%.9g", k > 0 ? "," : "", in->v[k]);
        }
        if (strcmp(in->unit, "1") != 0 && used < cap) {
            used += (size_t)snprintf(out + used, cap - used, " %s", in->unit);
        }
        if (in->assumed && used < cap) {
            used += (size_t)snprintf(out + used, cap - used, " (default)");
        }
    }
    return out;
}
