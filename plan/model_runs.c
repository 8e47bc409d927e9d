/*
 * The formulas of core as calculators (model_runs.h), in the order of the table in models.c:
 * availability, recovery, replication, quorums, money, distance.
 */
#include <model_runs.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <mrd/availability.h>
#include <mrd/cost.h>
#include <mrd/lag.h>
#include <mrd/latency.h>

/* ---- results ---- */

static void put(json_t *result, const char *key, double v)
{
    /* -0 is an answer to nobody's question. */
    json_object_set_new(result, key, isfinite(v) ? json_real(v == 0 ? 0 : v) : json_null());
}

static int put_avail(json_t *result, double u)
{
    put(result, "A", 1 - u);
    put(result, "U", u);
    put(result, "min_per_year", mrd_avail_min_per_year(u));
    return 0;
}

int plan_model_refuse(struct mrd_err *err, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return mrd_err_set(err, MRD_EINVAL, "%s", text);
}

/* Not every formula needs the facts, or refuses anything. */
#define RUN(name)                                                                              \
    int name(struct plan_data *data __attribute__((unused)), const struct plan_value *in,      \
             json_t *result, struct mrd_err *err __attribute__((unused)))

/* ---- availability ---- */

RUN(plan_run_series)
{
    return put_avail(result, mrd_avail_series(in[0].v, in[0].count));
}

RUN(plan_run_parallel)
{
    return put_avail(result, mrd_avail_parallel(in[0].v, in[0].count));
}

RUN(plan_run_kofn)
{
    double u = 0;
    if (mrd_avail_k_of_n((size_t)in[0].v[0], in[1].v, in[1].count, &u) != 0) {
        return plan_model_refuse(err,
                                 "k=%g of %zu parts; the domain is 1 <= k <= the number of A",
                                 in[0].v[0], in[1].count);
    }
    return put_avail(result, u);
}

RUN(plan_run_common_cause)
{
    double u = 0;
    if (mrd_avail_common_cause((size_t)in[3].v[0], (size_t)in[0].v[0], in[1].v[0], in[2].v[0],
                               &u) != 0) {
        return plan_model_refuse(err, "k=%g of n=%g; the domain is 1 <= k <= n", in[3].v[0],
                                 in[0].v[0]);
    }
    return put_avail(result, u);
}

RUN(plan_run_failover)
{
    struct mrd_failover_model m = {in[0].v[0], in[1].v[0], in[2].v[0],
                                   in[3].v[0], in[4].v[0], in[5].v[0]};
    double c = 0;
    put_avail(result, mrd_avail_failover(&m, &c));
    put(result, "c", c);
    return 0;
}

RUN(plan_run_user_weighted)
{
    if (in[0].count != in[1].count) {
        return plan_model_refuse(err, "%zu shares and %zu A; the domain is one A per share",
                                 in[0].count, in[1].count);
    }
    double sum = 0;
    for (size_t i = 0; i < in[0].count; i++) {
        sum += in[0].v[i];
    }
    if (!(sum > 0)) {
        return plan_model_refuse(err, "the shares sum to 0; the domain is a sum above 0");
    }
    put_avail(result, mrd_avail_user_weighted(in[0].v, in[1].v, in[0].count));
    put(result, "U_everything", mrd_avail_parallel(in[1].v, in[1].count));
    return 0;
}

RUN(plan_run_sync_writes)
{
    double u = 0;
    if (mrd_avail_sync_writes(in[0].v[0], (size_t)in[2].v[0], in[1].v, in[1].count, &u) != 0) {
        return plan_model_refuse(
            err, "k=%g of %zu standbys; the domain is 1 <= k <= the number of standbys",
            in[2].v[0], in[1].count);
    }
    return put_avail(result, u);
}

RUN(plan_run_downtime)
{
    put_avail(result, in[0].v[0]);
    put(result, "hours_per_year", in[0].v[0] * MRD_YEAR_H);
    put(result, "s_per_year", in[0].v[0] * MRD_YEAR_H * 3600);
    return 0;
}

RUN(plan_run_history)
{
    double per_year = 0, mean_h = 0;
    double u = mrd_avail_history(in[0].v, in[0].count, in[1].v[0], &per_year, &mean_h);
    if (u > 1) {
        return plan_model_refuse(
            err, "more hours down than there are; the domain is sum <= years x 8760");
    }
    put_avail(result, u);
    put(result, "lambda_per_year", per_year);
    put(result, "mean_h", mean_h);
    put(result, "h_per_year", u * MRD_YEAR_H);
    return 0;
}

RUN(plan_run_seed_availability)
{
    put_avail(result, mrd_avail_seed(in[0].v[0], in[1].v[0], in[2].v[0]));
    json_object_set_new(result, "label", json_string("seed model"));
    json_object_set_new(
        result, "note",
        json_string("the source documents' own model: it counts a failed failover as a whole "
                    "year of downtime; use failover (F6)"));
    return 0;
}

/* ---- recovery and replication ---- */

RUN(plan_run_rto)
{
    struct mrd_rto r = {
        .interval_s = in[0].v[0],
        .checks = in[1].v[0],
        .timeout_s = in[2].v[0],
        .ttl_s = in[3].v[0],
        .violators = in[4].v[0],
        .violators_s = in[5].v[0],
        .decide_s = in[6].v[0], /* all the steps between, as one number */
    };
    if (r.violators > 0 && !(in[5].given && r.violators_s > 0)) {
        return plan_model_refuse(
            err,
            "violators=%g without tail_s=, how long they keep an address; the domain "
            "is tail_s above 0 where violators are",
            r.violators);
    }
    mrd_rto_estimate(&r);
    put(result, "mean_s", r.mean_s);
    put(result, "worst_s", r.worst_s);
    put(result, "detect_best_s", r.detect_best_s);
    put(result, "detect_mean_s", r.detect_mean_s);
    put(result, "detect_worst_s", r.detect_worst_s);
    put(result, "stale_mean_s", r.stale_mean_s);
    put(result, "stale_worst_s", r.stale_worst_s);
    return 0;
}

RUN(plan_run_lag)
{
    struct mrd_lag lag;
    if (mrd_lag_steady(in[0].v[0], in[1].v[0], in[2].v[0], in[3].v[0] / 1000, &lag) != 0) {
        int rc = plan_model_refuse(
            err,
            "W S = %g bytes/s is not below B = %g: the replica never catches up; the "
            "domain is W S < B",
            in[0].v[0] * in[1].v[0], in[2].v[0]);
        mrd_err_hint(err, "The model overload says how far behind after how long.");
        return rc;
    }
    put(result, "mean_lag_s", lag.mean_s);
    put(result, "md1_lag_s", lag.md1_s);
    put(result, "seed_L", lag.seed_l);
    put(result, "utilisation", lag.utilisation);
    return 0;
}

RUN(plan_run_overload)
{
    struct mrd_overload o;
    bool drains = in[3].given;
    if (mrd_lag_overload(in[0].v[0], in[1].v[0], in[2].v[0], drains ? in[3].v[0] : 0, &o) !=
        0) {
        return plan_model_refuse(
            err,
            "drain_a = %g is not below b = %g: it never drains; the domain is "
            "drain_a < b",
            in[3].v[0], in[1].v[0]);
    }
    put(result, "backlog_bytes", o.backlog_bytes);
    put(result, "rpo_s", o.rpo_s);
    put(result, "queue_delay_s", o.queue_delay_s);
    put(result, "growth_s_per_s", o.growth);
    if (drains) {
        put(result, "drain_s", o.drain_s);
    }
    return 0;
}

RUN(plan_run_tcp)
{
    static const char *const names[] = {"window", "loss", "link"};
    double limit[3] = {INFINITY, INFINITY, INFINITY};
    unsigned least = 0;

    if (in[3].given) {
        limit[0] = mrd_tcp_window_mbit(in[3].v[0], in[0].v[0]);
        put(result, "window_mbit_s", limit[0]);
    }
    if (in[2].v[0] > 0) {
        limit[1] = mrd_tcp_loss_mbit(in[1].v[0], in[0].v[0], in[2].v[0]);
        put(result, "loss_mbit_s", limit[1]);
    }
    if (in[4].given) {
        limit[2] = in[4].v[0];
    }
    for (unsigned i = 1; i < 3; i++) {
        least = limit[i] < limit[least] ? i : least;
    }
    if (isinf(limit[least])) {
        return plan_model_refuse(
            err, "nothing limits this connection; the domain needs a window, a loss "
                 "above 0 or link_mbit");
    }
    put(result, "mbit_s", limit[least]);
    json_object_set_new(result, "limited_by", json_string(names[least]));
    return 0;
}

/* ---- quorums ---- */

RUN(plan_run_quorum)
{
    size_t n = (size_t)in[0].v[0];
    struct mrd_quorum q;
    size_t r = in[1].given ? (size_t)in[1].v[0] : n / 2 + 1;
    size_t w = in[2].given ? (size_t)in[2].v[0] : n / 2 + 1;

    if (mrd_quorum_rule(n, r, w, &q) != 0) {
        return plan_model_refuse(err, "r=%zu w=%zu of n=%zu; the domain is 1 <= r, w <= n", r,
                                 w, n);
    }
    json_object_set_new(result, "r", json_integer((json_int_t)q.r));
    json_object_set_new(result, "w", json_integer((json_int_t)q.w));
    json_object_set_new(result, "survives", json_integer((json_int_t)q.survives));
    json_object_set_new(result, "reads_meet_writes", json_boolean(q.reads_meet_writes));
    json_object_set_new(result, "writes_meet_writes", json_boolean(q.writes_meet_writes));
    json_object_set_new(result, "strict",
                        json_boolean(q.reads_meet_writes && q.writes_meet_writes));
    return 0;
}

RUN(plan_run_quorum_latency)
{
    size_t w = (size_t)in[1].v[0], n = in[0].count;
    bool leader = strcmp(in[4].text, "leader") == 0;
    double ms = 0;

    if (!leader && strcmp(in[4].text, "leaderless") != 0) {
        return plan_model_refuse(err, "mode=%s; the domain is leader or leaderless",
                                 in[4].text);
    }
    if ((leader ? mrd_quorum_leader_ms(in[0].v, n, w, &ms)
                : mrd_quorum_leaderless_ms(in[0].v, n, w, &ms)) != 0) {
        return plan_model_refuse(
            err, "w=%zu with %zu round trips; the domain is 1 <= w <= %zu%s", w, n,
            leader ? n + 1 : n, leader ? " (the leader is one of them)" : "");
    }
    put(result, "quorum_ms", ms);
    put(result, "latency_ms", ms + in[2].v[0] + in[3].v[0]);
    return 0;
}

RUN(plan_run_quorum_tail)
{
    double p = 0;
    if (mrd_quorum_tail((size_t)in[0].v[0], in[1].v, in[1].count, &p) != 0) {
        return plan_model_refuse(err, "k=%g of %zu; the domain is 1 <= k <= the number of F",
                                 in[0].v[0], in[1].count);
    }
    put(result, "P", p);
    return 0;
}

/* ---- money and room ---- */

RUN(plan_run_transfer)
{
    struct mrd_transfer t = {
        .events_per_day = in[0].v[0],
        .bytes = in[1].v[0],
        .usd_per_gb = in[2].v[0],
        .copies = in[3].v[0],
        .days = in[4].v[0],
        .overhead = in[5].v[0],
        .gb_bytes = in[6].v[0],
    };
    mrd_transfer_cost(&t);
    put(result, "usd_month", t.usd_month);
    put(result, "usd_year", t.usd_month * 12);
    put(result, "bytes_per_day", t.bytes_per_day);
    put(result, "mbit_s", t.mbit_s);
    return 0;
}

RUN(plan_run_headroom)
{
    if (in[1].v[0] >= in[0].v[0]) {
        return plan_model_refuse(err, "f=%g of n=%g; the domain is 0 <= f < n", in[1].v[0],
                                 in[0].v[0]);
    }
    double u = mrd_headroom((size_t)in[0].v[0], (size_t)in[1].v[0]);
    put(result, "utilisation", u);
    put(result, "overprovision", 1 / u);
    return 0;
}

RUN(plan_run_headroom_shares)
{
    double capacity[MRD_HEADROOM_MAX], total = 0;
    size_t n = in[0].count;

    if (mrd_headroom_shares(in[0].v, n, (size_t)in[1].v[0], capacity) != 0) {
        return plan_model_refuse(
            err,
            "lost=%g of %zu shares; the domain is lost < shares <= %d with something "
            "left to serve",
            in[1].v[0], n, MRD_HEADROOM_MAX);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_real(capacity[i]));
        total += capacity[i];
    }
    json_object_set_new(result, "capacity", list);
    put(result, "total", total);
    return 0;
}

RUN(plan_run_break_even)
{
    double before = in[1].v[0], after = in[2].v[0];
    if (!(before > after)) {
        return plan_model_refuse(
            err, "U_before=%g U_after=%g; the domain is U_before > U_after", before, after);
    }
    put(result, "usd_per_hour", mrd_break_even_usd_hour(in[0].v[0], before, after));
    put(result, "hours_avoided_per_year", (before - after) * MRD_YEAR_H);
    return 0;
}

RUN(plan_run_reference_cost)
{
    static const char *const names[] = {"compute", "database", "transfer", "load_balancing",
                                        "dns"};
    double usd[5], sum = 0;
    mrd_cost_reference((size_t)in[0].v[0], usd);
    for (unsigned i = 0; i < 5; i++) {
        put(result, names[i], usd[i]);
        sum += usd[i];
    }
    put(result, "usd_month", sum);
    json_object_set_new(result, "label", json_string("seed model"));
    return 0;
}

/* ---- distance ---- */

RUN(plan_run_fibre)
{
    put(result, "rtt_ms", mrd_fibre_rtt_ms(in[0].v[0]));
    return 0;
}

static int find_region(const struct plan_data *data, const char *name, int *ret,
                       struct mrd_err *err)
{
    *ret = plan_region_find(data, name);
    if (*ret >= 0) {
        return 0;
    }
    return plan_model_refuse(
        err, "no region \"%.40s\"; the domain is the names in regions.csv, such as eu-west-1",
        name);
}

static const char *rtt_source(struct plan_data *data, int source)
{
    return source >= 0 ? data->sources[source].file
                       : "estimated by way of the nearest measured regions (F22)";
}

RUN(plan_run_rtt)
{
    int a, b, source = 0, rc;
    if ((rc = find_region(data, in[0].text, &a, err)) != 0 ||
        (rc = find_region(data, in[1].text, &b, err)) != 0) {
        return rc;
    }
    put(result, "rtt_ms", plan_rtt_ms(data, a, b, &source));
    const struct plan_region *ra = &data->regions[a], *rb = &data->regions[b];
    put(result, "fibre_ms",
        mrd_fibre_rtt_ms(
            mrd_distance_km(ra->latitude, ra->longitude, rb->latitude, rb->longitude)));
    if (a == b) {
        json_object_set_new(result, "data", json_string("the same region: 0 by definition"));
        return 0;
    }
    json_object_set_new(result, "data", json_string(rtt_source(data, source)));
    const struct plan_source *s = &data->sources[source >= 0 ? source : PLAN_RTT_AWS];
    json_object_set_new(result, "data_date", json_string(s->own ? s->own_date : s->date));
    return 0;
}

RUN(plan_run_user_rtt)
{
    int r, c = plan_country_find(data, in[0].text);
    int rc = find_region(data, in[1].text, &r, err);
    if (rc != 0) {
        return rc;
    }
    if (c < 0) {
        return plan_model_refuse(
            err, "no country \"%.40s\"; the domain is ISO 3166 codes of two capitals",
            in[0].text);
    }
    put(result, "rtt_ms", plan_user_rtt_ms(data, &data->countries[c].centre, r));
    put(result, "last_mile_ms", MRD_LAST_MILE_MS);
    return 0;
}

RUN(plan_run_budget)
{
    double sum = 0;
    for (unsigned i = 0; i < 5; i++) {
        sum += in[i].v[0];
    }
    put(result, "latency_ms", sum);
    return 0;
}
