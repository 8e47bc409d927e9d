/*
 * The figures of a result (figures.h), in the order in which one builds on the other:
 * recovery, availability, replication, cost, latency, return.
 *
 * What was worked out is taken from the result; only what it does not keep (the parts of an
 * availability) is worked out again, with the functions that gave it. tests/plan/run puts the
 * inputs of each figure back into its calculator and compares.
 */
#include <figures.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <mrd/availability.h>
#include <mrd/cost.h>
#include <mrd/latency.h>

#define MONTH_S (30.0 * 86400)
#define GIVEN "the workload, or its default (failures:)"
#define PRICED "prices: of the workload, or its default"
#define LIST_PRICES "prices: of the workload, else the list prices among the facts"
#define DISTANCE "F22: " /* of the sources of all latencies */

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

    *f = (struct plan_figure){.name = name,
                              .value = value,
                              .unit = unit,
                              .formula = formula,
                              .source = source};
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
    mrd_assert(f->count < PLAN_INPUTS_MAX && count <= PLAN_REPLICAS_MAX);
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

/* ---- recovery ---- */

static void add_rto(struct book *b, const char *name, double value, const char *key)
{
    const struct plan_workload *w = b->w;
    struct plan_figure *f;

    if (b->r->posture == PLAN_SINGLE) {
        f = begin(b, name, value, "s", "the time to restore a backup elsewhere", GIVEN);
        input(f, "restore_s", w->restore_s, "s");
        return;
    }
    f = begin_model(b, name, value, "s", "rto", key);
    input(f, "interval_s", w->interval_s, "s");
    input(f, "checks", w->checks, "1");
    input(f, "timeout_s", w->timeout_s, "s");
    input(f, "ttl_s", w->ttl_s, "s");
    input(f, "steps_s", plan_takeover_s(w, b->r->posture), "s");
}

static void add_rpo(struct book *b)
{
    const struct plan_result *r = b->r;
    struct plan_figure *f;

    if (r->posture == PLAN_SINGLE) {
        f = begin(b, "rpo_s", r->rpo_s, "s", "the age of the last backup, at worst", GIVEN);
        input(f, "backup_interval_s", b->w->backup_s, "s");
    } else if (r->quorum) {
        begin(b, "rpo_s", r->rpo_s, "s",
              "none: a write is acknowledged when a majority of the regions has it", "F15");
    } else {
        f = begin_model(b, "rpo_s", r->rpo_s, "s", "lag", "mean_lag_s");
        input(f, "W", b->c->writes_per_s, "1/s");
        input(f, "S", b->c->write_bytes, "B");
        input(f, "B", b->w->link_mbit * 1e6 / 8, "B/s");
        input(f, "one_way_ms", r->delay_s * 1000, "ms");
    }
}

/* ---- availability ---- */

static void add_availability(struct book *b)
{
    const struct plan_result *r = b->r;
    double u = (100 - b->w->region_pct) / 100, majority = 0, over = 0;
    struct mrd_failover_model m = plan_failover_model(b->w, r);
    struct plan_figure *f;

    if (r->posture == PLAN_SINGLE) {
        f = begin(b, "U", r->u, "1", "U = 1 - region_availability / 100", GIVEN);
        input(f, "region_availability", b->w->region_pct, "percent");
        return;
    }
    over = mrd_avail_failover(&m, NULL);
    f = begin_model(b, "U_failover", over, "1", "failover", "U");
    input(f, "A", 1 - m.u, "1");
    input(f, "m_h", m.mean_h, "h");
    input(f, "T_h", m.failover_h, "h");
    input(f, "beta", m.beta, "1");
    input(f, "p_ff", m.p_ff, "1");
    input(f, "A_standby", 1 - m.u_standby, "1");
    if (r->quorum && plan_majority_u(b->w, r, &majority)) {
        f = begin_model(b, "U_majority", majority, "1", "common-cause", "U");
        input(f, "n", r->n, "1");
        input(f, "q", u, "1");
        input(f, "beta", 0, "1");
        input(f, "k", r->n / 2 + 1, "1");
    }
    f = begin(b, "U", r->u, "1",
              "U = 1 - (1 - covered U_failover - (1 - covered) U_region)(1 - U_majority)",
              "F6 for the users whose data another region may take over, F1 with F5");
    input(f, "covered", r->covered, "1");
    input(f, "U_failover", over, "1");
    input(f, "U_region", u, "1");
    input(f, "U_majority", majority, "1");
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
    struct plan_figure *f =
        begin_model(b, "min_per_year", mrd_avail_min_per_year(b->r->u), "min", "downtime",
                    "min_per_year");
    input(f, "U", b->r->u, "1");
}

/* ---- cost ---- */

static void add_load_cost(struct book *b, const char *name, enum plan_cost_part part,
                          double usd_month, double usd_per_request, const char *formula)
{
    const struct plan_class *c = b->c;
    double all = 0;

    for (unsigned i = 0; i < b->w->class_count; i++) {
        all += b->w->classes[i].reads_per_s + b->w->classes[i].writes_per_s;
    }
    struct plan_figure *f =
        begin(b, name, b->r->cost[part], "USD/month", formula,
              usd_month >= 0 ? "prices: of the workload, shared out by requests"
                             : "assumed: no price is given");
    input(f, "reads_per_s", c->reads_per_s, "1/s");
    input(f, "writes_per_s", c->writes_per_s, "1/s");
    input(f, "cached", b->r->cdn ? c->cacheable : 0, "1");
    input(f, "usd_per_request_s", usd_month >= 0 ? usd_month / all : usd_per_request,
          "USD s/month");
    if (part == PLAN_DATABASE) {
        input(f, "copies", plan_copies(b->r), "1");
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
        if (mrd_headroom_shares(r->share, r->n, 1, each) == 0) {
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
                  pilot ? "1 + pilot" : "1 + standby (n - 1)", GIVEN);
        input(f, pilot ? "pilot" : "standby", pilot ? b->w->pilot_standby : b->w->standby, "1");
        input(f, "n", r->n, "1");
    }
    f = begin(b, "headroom", r->cost[PLAN_HEADROOM], "USD/month", "compute (running - 1)",
              "F19: any one region may be lost");
    input(f, "compute", compute, "USD/month");
    input(f, "running", running, "1");
}

static void add_replication(struct book *b)
{
    const struct plan_class *c = b->c;
    const struct plan_result *r = b->r;
    double gb = c->writes_per_s * c->write_bytes * (1 + PLAN_OVERHEAD) * MONTH_S / 1e9;
    double copies = plan_copies(r), sent = gb * copies;
    static const char *const names[] = {"replication", "replication_mbit_s"};

    for (unsigned i = 0; i < 2; i++) {
        struct plan_figure *f = begin_model(
            b, names[i], i == 0 ? r->cost[PLAN_REPLICATION] : r->replication_mbit,
            i == 0 ? "USD/month" : "Mbit/s", "transfer", i == 0 ? "usd_month" : "mbit_s");
        f->source = LIST_PRICES "; usd_per_gb: the mean over where users and copies are";
        input(f, "events_per_day", c->writes_per_s * 86400, "1/day");
        input(f, "bytes", c->write_bytes, "B");
        input(f, "copies", copies, "1");
        input(f, "usd_per_gb", sent > 0 ? r->cost[PLAN_REPLICATION] / sent : 0, "USD/GB");
        input(f, "days", 30, "day");
        input(f, "overhead", PLAN_OVERHEAD, "1");
    }
    if (r->posture == PLAN_READ_LOCAL) {
        struct plan_figure *f =
            begin(b, "forwarding", r->cost[PLAN_FORWARDING], "USD/month",
                  "writes_per_s x bytes x (1 + overhead) x 30 d / GB x usd_per_gb, of users not "
                  "at the home",
                  LIST_PRICES);
        input(f, "written_gb", gb, "GB/month");
        input(f, "usd_per_gb", gb > 0 ? r->cost[PLAN_FORWARDING] / gb : 0, "USD/GB");
    }
}

static void add_traffic(struct book *b)
{
    const struct plan_class *c = b->c;
    const struct plan_result *r = b->r;
    double gb = c->reads_per_s * c->read_bytes * MONTH_S / 1e9;
    double cached = r->cdn ? c->cacheable : 0, sent = gb * (1 - cached);
    struct plan_figure *f =
        begin(b, "egress", r->cost[PLAN_EGRESS], "USD/month",
              "read_gb (1 - cached) usd_per_gb; read_gb = reads_per_s x bytes x 30 d / GB",
              LIST_PRICES "; usd_per_gb: the mean over where users are");
    input(f, "read_gb", gb, "GB/month");
    input(f, "cached", cached, "1");
    input(f, "usd_per_gb", sent > 0 ? r->cost[PLAN_EGRESS] / sent : 0, "USD/GB");
    if (r->cdn) {
        f = begin(b, "cdn", r->cost[PLAN_CDN], "USD/month", "read_gb cached usd_per_gb", PRICED);
        input(f, "read_gb", gb, "GB/month");
        input(f, "cached", cached, "1");
        input(f, "usd_per_gb", b->w->cdn_usd_gb, "USD/GB");
    }
    f = begin(b, "storage", r->cost[PLAN_STORAGE], "USD/month",
              "storage_gb (1 + copies) usd_per_gb", PRICED);
    input(f, "storage_gb", c->storage_gb, "GB");
    input(f, "copies", plan_copies(r), "1");
    input(f, "usd_per_gb", b->w->storage_usd_gb, "USD/GB");
    f = begin(b, "edge", r->cost[PLAN_EDGE], "USD/month", "n region_usd_month", PRICED);
    input(f, "n", r->n, "1");
    input(f, "region_usd_month", b->w->region_usd_month, "USD/month");
}

static void add_costs(struct book *b)
{
    const struct plan_result *r = b->r;

    add_load_cost(b, "compute", PLAN_COMPUTE, b->w->compute_usd_month, PLAN_COMPUTE_USD,
                  "(reads_per_s (1 - cached) + writes_per_s) usd_per_request_s");
    add_headroom(b);
    add_load_cost(b, "database", PLAN_DATABASE, b->w->database_usd_month, PLAN_DATABASE_USD,
                  "(reads_per_s (1 - cached) + writes_per_s) usd_per_request_s (1 + copies "
                  "size_of_copy)");
    add_traffic(b);
    if (r->posture != PLAN_SINGLE) {
        add_replication(b);
    }
    struct plan_figure *f = begin(b, "usd_month", r->total, "USD/month", "the sum of all parts",
                                  "the parts above");
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
    struct plan_figure *f =
        begin(b, name, value, "ms", formula, DISTANCE "10 ms of last mile, cities, round trips "
                                                      "between regions (the facts)");
    input(f, "processing_ms", b->w->processing_ms, "ms");
    input(f, "countries", b->w->user_count, "1");
    input(f, "regions", b->r->n, "1");
    if (reads && b->r->cdn) {
        input(f, "cached", b->c->cacheable, "1");
        input(f, "cdn_ms", MRD_LAST_MILE_MS + PLAN_CDN_MS, "ms");
    }
}

static void add_commit(struct book *b)
{
    const struct plan_result *r = b->r;
    double rtt[PLAN_REPLICAS_MAX], ms = 0;
    size_t w = r->posture == PLAN_CELLS ? 2 : r->n / 2 + 1;

    for (unsigned k = 1; k < r->n; k++) {
        rtt[k - 1] = plan_rtt_ms(b->data, r->region[0], r->region[k], NULL);
    }
    if (!r->quorum || mrd_quorum_leader_ms(rtt, r->n - 1, w, &ms) != 0) {
        return;
    }
    struct plan_figure *f = begin_model(b, "commit_ms", ms + PLAN_FSYNC_MS, "ms",
                                        "quorum-latency", "latency_ms");
    list(f, "rtt_ms", "ms", rtt, r->n - 1);
    input(f, "w", (double)w, "1");
    input(f, "fsync_ms", PLAN_FSYNC_MS, "ms");
}

static void add_latencies(struct book *b)
{
    const struct plan_result *r = b->r;
    bool local = r->posture >= PLAN_READ_LOCAL;
    const char *read = local ? "weighted percentile over users of: the nearest region that has "
                               "their data + processing; cdn_ms for what a CDN answers"
                             : "weighted percentile over users of: the home + processing; "
                               "cdn_ms for what a CDN answers";
    const char *write =
        r->posture == PLAN_READ_LOCAL
            ? "weighted percentile over users of: the home, straight or by way of the nearest "
              "region, + processing + commit_ms (0 unless quorum)"
        : local ? "weighted percentile over users of: the nearest region that has their data + "
                  "processing + commit_ms (0 unless quorum)"
                : "weighted percentile over users of: the home + processing + commit_ms (0 "
                  "unless quorum)";

    add_commit(b);
    add_latency(b, "read_p50", r->read_p50, read, true);
    add_latency(b, "read_p95", r->read_p95, read, true);
    add_latency(b, "write_p50", r->write_p50, write, false);
    add_latency(b, "write_p95", r->write_p95, write, false);
    if (r->n > 1) {
        add_latency(b, "lost_read_p95", r->lost_read_p95,
                    "as read_p95 without one region, the worst one to lose", true);
        add_latency(b, "lost_write_p95", r->lost_write_p95,
                    "as write_p95 without one region, the worst one to lose", false);
    }
}

unsigned plan_figures(struct plan_data *data, const struct plan_workload *load,
                      const struct plan_class *class, const struct plan_result *single,
                      const struct plan_result *r, struct plan_figure ret[PLAN_FIGURES_MAX])
{
    struct book b = {data, load, class, r, ret, 0};

    add_rto(&b, "rto_s", r->rto_s, "mean_s");
    add_rto(&b, "rto_worst_s", r->rto_worst_s, "worst_s");
    add_rpo(&b);
    add_availability(&b);
    add_years(&b);
    add_costs(&b);
    add_latencies(&b);
    if (r->usd_hour_break_even > 0) {
        struct plan_figure *f =
            begin_model(&b, "break_even_usd_hour", r->usd_hour_break_even, "USD/h",
                        "break-even", "usd_per_hour");
        input(f, "premium_usd_month", r->total - single->total, "USD/month");
        input(f, "U_before", single->u, "1");
        input(f, "U_after", r->u, "1");
    }
    return b.count;
}

char *plan_figure_inputs(const struct plan_figure *f, char *out, size_t cap)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < f->count && used < cap; i++) {
        const struct plan_input *in = &f->inputs[i];
        used += (size_t)snprintf(out + used, cap - used, "%s%s = ", i > 0 ? "; " : "", in->name);
        for (unsigned k = 0; k < in->count && used < cap; k++) {
            used += (size_t)snprintf(out + used, cap - used, "%s%.9g", k > 0 ? "," : "",
                                     in->v[k]);
        }
        if (strcmp(in->unit, "1") != 0 && used < cap) {
            used += (size_t)snprintf(out + used, cap - used, " %s", in->unit);
        }
    }
    return out;
}
