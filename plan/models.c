/*
 * The table of formulas (models.h): F1 to F23, each with its domain and its source.
 *
 * The rows come first as a reader would look them up: availability, recovery, replication,
 * quorums, money, distance. What several keys must keep together is refused by the function.
 */
#include <models.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/availability.h>
#include <mrd/cost.h>
#include <mrd/lag.h>
#include <mrd/latency.h>

/* ---- results ---- */

static void put(json_t *result, const char *key, double v)
{
    json_object_set_new(result, key, isfinite(v) ? json_real(v) : json_null());
}

static int put_avail(json_t *result, double u)
{
    put(result, "A", 1 - u);
    put(result, "U", u);
    put(result, "min_per_year", mrd_avail_min_per_year(u));
    return 0;
}

static int refuse(struct mrd_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(struct mrd_err *err, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return mrd_err_set(err, MRD_EINVAL, "%s", text);
}

#define RUN(name)                                                                              \
    static int name(struct plan_data *data __attribute__((unused)),                            \
                    const struct plan_value *in, json_t *result,                               \
                    struct mrd_err *err __attribute__((unused)))

/* ---- availability ---- */

RUN(run_series)
{
    return put_avail(result, mrd_avail_series(in[0].v, in[0].count));
}

RUN(run_parallel)
{
    return put_avail(result, mrd_avail_parallel(in[0].v, in[0].count));
}

RUN(run_kofn)
{
    double u = 0;
    if (mrd_avail_k_of_n((size_t)in[0].v[0], in[1].v, in[1].count, &u) != 0) {
        return refuse(err, "k=%g of %zu parts; the domain is 1 <= k <= the number of A",
                      in[0].v[0], in[1].count);
    }
    return put_avail(result, u);
}

RUN(run_common_cause)
{
    double u = 0;
    if (mrd_avail_common_cause((size_t)in[3].v[0], (size_t)in[0].v[0], in[1].v[0], in[2].v[0],
                               &u) != 0) {
        return refuse(err, "k=%g of n=%g; the domain is 1 <= k <= n", in[3].v[0], in[0].v[0]);
    }
    return put_avail(result, u);
}

RUN(run_failover)
{
    struct mrd_failover_model m = {in[0].v[0], in[1].v[0], in[2].v[0],
                                   in[3].v[0], in[4].v[0], in[5].v[0]};
    double c = 0;
    put_avail(result, mrd_avail_failover(&m, &c));
    put(result, "c", c);
    return 0;
}

RUN(run_user_weighted)
{
    if (in[0].count != in[1].count) {
        return refuse(err, "%zu shares and %zu A; the domain is one A per share", in[0].count,
                      in[1].count);
    }
    double sum = 0;
    for (size_t i = 0; i < in[0].count; i++) {
        sum += in[0].v[i];
    }
    if (!(sum > 0)) {
        return refuse(err, "the shares sum to 0; the domain is a sum above 0");
    }
    put_avail(result, mrd_avail_user_weighted(in[0].v, in[1].v, in[0].count));
    put(result, "U_everything", mrd_avail_parallel(in[1].v, in[1].count));
    return 0;
}

RUN(run_sync_writes)
{
    double u = 0;
    if (mrd_avail_sync_writes(in[0].v[0], (size_t)in[2].v[0], in[1].v, in[1].count, &u) != 0) {
        return refuse(err,
                      "k=%g of %zu standbys; the domain is 1 <= k <= the number of standbys",
                      in[2].v[0], in[1].count);
    }
    return put_avail(result, u);
}

RUN(run_downtime)
{
    put_avail(result, in[0].v[0]);
    put(result, "hours_per_year", in[0].v[0] * MRD_YEAR_H);
    put(result, "s_per_year", in[0].v[0] * MRD_YEAR_H * 3600);
    return 0;
}

RUN(run_history)
{
    double per_year = 0, mean_h = 0;
    double u = mrd_avail_history(in[0].v, in[0].count, in[1].v[0], &per_year, &mean_h);
    if (u > 1) {
        return refuse(err, "more hours down than there are; the domain is sum <= years x 8760");
    }
    put_avail(result, u);
    put(result, "lambda_per_year", per_year);
    put(result, "mean_h", mean_h);
    put(result, "h_per_year", u * MRD_YEAR_H);
    return 0;
}

RUN(run_seed_availability)
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

RUN(run_rto)
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

RUN(run_lag)
{
    struct mrd_lag lag;
    if (mrd_lag_steady(in[0].v[0], in[1].v[0], in[2].v[0], in[3].v[0] / 1000, &lag) != 0) {
        mrd_err_hint(err, "Use the model overload: how far behind after how long.");
        int rc =
            refuse(err,
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

RUN(run_overload)
{
    struct mrd_overload o;
    bool drains = in[3].given;
    if (mrd_lag_overload(in[0].v[0], in[1].v[0], in[2].v[0], drains ? in[3].v[0] : 0, &o) !=
        0) {
        return refuse(err,
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

RUN(run_tcp)
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
        return refuse(err, "nothing limits this connection; the domain needs a window, a loss "
                           "above 0 or link_mbit");
    }
    put(result, "mbit_s", limit[least]);
    json_object_set_new(result, "limited_by", json_string(names[least]));
    return 0;
}

/* ---- quorums ---- */

RUN(run_quorum)
{
    size_t n = (size_t)in[0].v[0];
    struct mrd_quorum q;
    size_t r = in[1].given ? (size_t)in[1].v[0] : n / 2 + 1;
    size_t w = in[2].given ? (size_t)in[2].v[0] : n / 2 + 1;

    if (mrd_quorum_rule(n, r, w, &q) != 0) {
        return refuse(err, "r=%zu w=%zu of n=%zu; the domain is 1 <= r, w <= n", r, w, n);
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

RUN(run_quorum_latency)
{
    size_t w = (size_t)in[1].v[0], n = in[0].count;
    bool leader = strcmp(in[4].text, "leader") == 0;
    double ms = 0;

    if (!leader && strcmp(in[4].text, "leaderless") != 0) {
        return refuse(err, "mode=%s; the domain is leader or leaderless", in[4].text);
    }
    if ((leader ? mrd_quorum_leader_ms(in[0].v, n, w, &ms)
                : mrd_quorum_leaderless_ms(in[0].v, n, w, &ms)) != 0) {
        return refuse(err, "w=%zu with %zu round trips; the domain is 1 <= w <= %zu%s", w, n,
                      leader ? n + 1 : n, leader ? " (the leader is one of them)" : "");
    }
    put(result, "quorum_ms", ms);
    put(result, "latency_ms", ms + in[2].v[0] + in[3].v[0]);
    return 0;
}

RUN(run_quorum_tail)
{
    double p = 0;
    if (mrd_quorum_tail((size_t)in[0].v[0], in[1].v, in[1].count, &p) != 0) {
        return refuse(err, "k=%g of %zu; the domain is 1 <= k <= the number of F", in[0].v[0],
                      in[1].count);
    }
    put(result, "P", p);
    return 0;
}

/* ---- money and room ---- */

RUN(run_transfer)
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

RUN(run_headroom)
{
    if (in[1].v[0] >= in[0].v[0]) {
        return refuse(err, "f=%g of n=%g; the domain is 0 <= f < n", in[1].v[0], in[0].v[0]);
    }
    double u = mrd_headroom((size_t)in[0].v[0], (size_t)in[1].v[0]);
    put(result, "utilisation", u);
    put(result, "overprovision", 1 / u);
    return 0;
}

RUN(run_headroom_shares)
{
    double capacity[MRD_HEADROOM_MAX], total = 0;
    size_t n = in[0].count;

    if (mrd_headroom_shares(in[0].v, n, (size_t)in[1].v[0], capacity) != 0) {
        return refuse(err,
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

RUN(run_break_even)
{
    double before = in[1].v[0], after = in[2].v[0];
    if (!(before > after)) {
        return refuse(err, "U_before=%g U_after=%g; the domain is U_before > U_after", before,
                      after);
    }
    put(result, "usd_per_hour", mrd_break_even_usd_hour(in[0].v[0], before, after));
    put(result, "hours_avoided_per_year", (before - after) * MRD_YEAR_H);
    return 0;
}

RUN(run_reference_cost)
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

RUN(run_fibre)
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
    return refuse(
        err, "no region \"%.40s\"; the domain is the names in regions.csv, such as eu-west-1",
        name);
}

static const char *rtt_source(struct plan_data *data, int source)
{
    return source >= 0 ? data->sources[source].file
                       : "estimated by way of the nearest measured regions (F22)";
}

RUN(run_rtt)
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
    json_object_set_new(result, "data", json_string(rtt_source(data, source)));
    const struct plan_source *s = &data->sources[source >= 0 ? source : PLAN_RTT_AWS];
    json_object_set_new(result, "data_date", json_string(s->own ? s->own_date : s->date));
    return 0;
}

RUN(run_user_rtt)
{
    int r, c = plan_country_find(data, in[0].text);
    int rc = find_region(data, in[1].text, &r, err);
    if (rc != 0) {
        return rc;
    }
    if (c < 0) {
        return refuse(err, "no country \"%.40s\"; the domain is ISO 3166 codes of two capitals",
                      in[0].text);
    }
    put(result, "rtt_ms", plan_user_rtt_ms(data, &data->countries[c].centre, r));
    put(result, "last_mile_ms", MRD_LAST_MILE_MS);
    return 0;
}

RUN(run_budget)
{
    double sum = 0;
    for (unsigned i = 0; i < 5; i++) {
        sum += in[i].v[0];
    }
    put(result, "latency_ms", sum);
    return 0;
}

/* ---- the table ---- */

#define INF INFINITY
#define SEED "source documents"
#define AWS_AVAILABILITY "AWS, Availability and Beyond"
#define PROBABILITY(n)                                                                         \
    {                                                                                          \
        n, "1", PLAN_NUMBER, 0, 1, false, NULL                                                 \
    }
#define AVAILABLE(n)                                                                           \
    {                                                                                          \
        n, "1", PLAN_AVAIL, 0, 1, false, NULL                                                  \
    }
#define AVAILABLES(n)                                                                          \
    {                                                                                          \
        n, "1", PLAN_AVAILS, 0, 1, false, NULL                                                 \
    }
#define AT_LEAST_0(n, unit, def)                                                               \
    {                                                                                          \
        n, unit, PLAN_NUMBER, 0, INF, false, def                                               \
    }
#define ABOVE_0(n, unit, def)                                                                  \
    {                                                                                          \
        n, unit, PLAN_NUMBER, 0, INF, true, def                                                \
    }
#define WHOLE(n, least, most, def)                                                             \
    {                                                                                          \
        n, "1", PLAN_WHOLE, least, most, false, def                                            \
    }
#define UNIT_A "A, U: 1; min_per_year: min"

const struct plan_model plan_models[] = {
    {"series",
     "F1",
     "all parts are needed",
     "A = prod A_i; U = -expm1(sum log1p(-U_i))",
     AWS_AVAILABILITY,
     UNIT_A,
     {AVAILABLES("A")},
     run_series},
    {"parallel",
     "F2",
     "any part is enough, failing independently",
     "U = prod (1 - A_i)",
     AWS_AVAILABILITY ", eq. 5; " SEED,
     UNIT_A,
     {AVAILABLES("A")},
     run_parallel},
    {"seed-availability",
     "F3",
     "the source documents' own model, for comparison",
     "A_eff = A (1 - Pc)(1 - Pf)",
     SEED ", as printed; not recommended",
     UNIT_A,
     {AVAILABLE("A"), PROBABILITY("Pc"), PROBABILITY("Pf")},
     run_seed_availability},
    {"kofn",
     "F4",
     "at least k of the parts, failing independently",
     "U = P(more than n - k down), Poisson-binomial",
     AWS_AVAILABILITY ", eq. 6",
     UNIT_A,
     {WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, NULL), AVAILABLES("A")},
     run_kofn},
    {"common-cause",
     "F5",
     "k of n equal parts, a share of whose outages takes all",
     "U = kofn((1 - beta) q) + beta q; for k = 1: ((1 - beta) q)^n + beta q",
     "beta-factor model, IEC 61508-6; 0.1 identical, 0.05, 0.01 diverse parts",
     UNIT_A,
     {WHOLE("n", 1, MRD_AVAIL_PARTS_MAX, NULL), PROBABILITY("q"), PROBABILITY("beta"),
      WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, "1")},
     run_common_cause},
    {"failover",
     "F6",
     "one region serves, a standby takes over",
     "U = (1 - A)/m [c m (1 - exp(-T/m)) + (1 - c) m]; c = (1 - beta)(1 - p_ff) A_standby",
     "coverage model of renewal theory (Trivedi); exponential outages",
     UNIT_A "; c: 1",
     {AVAILABLE("A"), ABOVE_0("m_h", "h", NULL), AT_LEAST_0("T_h", "h", NULL),
      PROBABILITY("beta"), PROBABILITY("p_ff"), AVAILABLE("A_standby")},
     run_failover},
    {"user-weighted",
     "F7",
     "what the average user sees",
     "U = sum share_i U_i / sum share_i",
     "Meaningful Availability, NSDI 2020",
     UNIT_A "; U_everything: 1, all down, independently",
     {{"shares", "1", PLAN_LIST, 0, INF, false, NULL}, AVAILABLES("A")},
     run_user_weighted},
    {"sync-writes",
     "F8",
     "writes that need the primary and k standbys",
     "A = A_primary x kofn(A_standby)",
     "F1 of F4",
     UNIT_A,
     {AVAILABLE("A"), AVAILABLES("A_standby"), WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, "1")},
     run_sync_writes},
    {"downtime",
     "F9",
     "what an unavailability is in a year",
     "downtime = U x 8760 h",
     "definition; a year has 8760 h",
     UNIT_A "; hours_per_year: h; s_per_year: s",
     {PROBABILITY("U")},
     run_downtime},
    {"history",
     "-",
     "availability from past outages",
     "U = sum outage_h / (years x 8760 h)",
     "maximum likelihood; a bound from above on A where outages were missed",
     UNIT_A "; lambda_per_year: 1/year; mean_h, h_per_year: h",
     {{"outages_h", "h", PLAN_LIST, 0, INF, false, NULL}, ABOVE_0("years", "year", NULL)},
     run_history},
    {"rto",
     "F10",
     "how long until service is back",
     "T = detect + steps + stale; detect = (k - 1/2) I + timeout, at worst k I + timeout; "
     "stale = (1 - v) TTL/2 + v tail, at worst max(TTL, tail if v > 0)",
     SEED "; uniform phase of fault and cache",
     "s",
     {ABOVE_0("interval_s", "s", NULL),
      WHOLE("checks", 1, 1000, NULL),
      AT_LEAST_0("timeout_s", "s", "0"),
      AT_LEAST_0("ttl_s", "s", "0"),
      {"violators", "1", PLAN_NUMBER, 0, 1, false, "0"},
      AT_LEAST_0("tail_s", "s", "0"),
      AT_LEAST_0("steps_s", "s", "0")},
     run_rto},
    {"lag",
     "F11, F12",
     "replication lag while the link keeps up",
     "mean = S/(B - W S) + one way (M/M/1); md1 = S/B (1 + rho/(2 (1 - rho))) + one way; "
     "rho = W S/B; seed_L = W S/(B - W S)",
     "Little's law; seed_L as the " SEED " print it, dimensionless",
     "s; seed_L, utilisation: 1",
     {AT_LEAST_0("W", "1/s", NULL), ABOVE_0("S", "B", NULL), ABOVE_0("B", "B/s", NULL),
      AT_LEAST_0("one_way_ms", "ms", "0")},
     run_lag},
    {"overload",
     "F13",
     "how far behind when the link does not keep up",
     "backlog = t (a - b); rpo = t (1 - b/a); delay = backlog/b; drain = backlog/(b - drain_a)",
     "fluid model",
     "backlog_bytes: B; else s",
     {AT_LEAST_0("a", "B/s", NULL), ABOVE_0("b", "B/s", NULL), AT_LEAST_0("t_s", "s", NULL),
      AT_LEAST_0("drain_a", "B/s", "")},
     run_overload},
    {"tcp",
     "F14",
     "what one connection carries",
     "min(link, window x 8/RTT, 1.22 MSS x 8/(RTT sqrt(loss))); no loss term for BBR",
     "Mathis et al. 1997; RFC 9438",
     "Mbit/s",
     {ABOVE_0("rtt_ms", "ms", NULL),
      ABOVE_0("mss", "B", "1460"),
      {"loss", "1", PLAN_NUMBER, 0, 1, false, "0"},
      ABOVE_0("window", "B", ""),
      ABOVE_0("link_mbit", "Mbit/s", "")},
     run_tcp},
    {"quorum",
     "F15",
     "do readers meet writers, and how many may be lost",
     "strict: r + w > n and w > n/2; survives = n - max(r, w); default r = w = n/2 + 1",
     SEED "; Gifford 1979",
     "regions",
     {WHOLE("n", 1, 1000, NULL), WHOLE("r", 1, 1000, ""), WHOLE("w", 1, 1000, "")},
     run_quorum},
    {"quorum-latency",
     "F16",
     "how long a quorum commit takes",
     "leader: (w - 1)-th smallest RTT to the others; leaderless: w-th; + client_rtt + fsync",
     "order of answers; PostgreSQL ANY k is w = k + 1",
     "ms",
     {{"rtt_ms", "ms", PLAN_LIST, 0, INF, false, NULL},
      WHOLE("w", 1, MRD_LATENCY_REPLICAS_MAX + 1, NULL),
      AT_LEAST_0("client_rtt_ms", "ms", "0"),
      AT_LEAST_0("fsync_ms", "ms", "0"),
      {"mode", "", PLAN_WORD, 0, 0, false, "leader"}},
     run_quorum_latency},
    {"quorum-tail",
     "F17",
     "the chance that a quorum has answered by t",
     "P(at least k of n by t), each by then with F_i(t)",
     "order statistics; F4 with F for A",
     "1",
     {WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, NULL), {"F", "1", PLAN_LIST, 0, 1, false, NULL}},
     run_quorum_tail},
    {"transfer",
     "F18",
     "what replication traffic costs",
     "usd_month = events x bytes x (1 + overhead) x copies x days / GB x usd_per_gb; copies = "
     "n - 1 in a mesh",
     SEED ", corrected by the copies",
     "usd: USD; bytes_per_day: B; mbit_s: Mbit/s",
     {AT_LEAST_0("events_per_day", "1/day", NULL), AT_LEAST_0("bytes", "B", NULL),
      AT_LEAST_0("usd_per_gb", "USD/GB", NULL), AT_LEAST_0("copies", "1", "1"),
      AT_LEAST_0("days", "day", "30"), AT_LEAST_0("overhead", "1", "0"),
      ABOVE_0("gb_bytes", "B", "1000000000")},
     run_transfer},
    {"headroom",
     "F19",
     "how full each region may be so that f can be lost",
     "utilisation = (n - f)/n; overprovision = n/(n - f)",
     "AWS, static stability",
     "1",
     {WHOLE("n", 1, 1000, NULL), WHOLE("f", 0, 999, NULL)},
     run_headroom},
    {"headroom-shares",
     "F19",
     "the same for uneven shares that spill in proportion",
     "capacity_j = max over the lost sets L without j of share_j / (1 - share(L))",
     "AWS, static stability; proportional spill",
     "1 = the whole load",
     {{"shares", "1", PLAN_LIST, 0, INF, false, NULL},
      WHOLE("lost", 0, MRD_HEADROOM_MAX - 1, "1")},
     run_headroom_shares},
    {"break-even",
     "F20",
     "the cost of an hour down from which a premium pays",
     "usd_per_hour = 12 premium / ((U_before - U_after) x 8760 h)",
     SEED,
     "USD/h",
     {AT_LEAST_0("premium_usd_month", "USD/month", NULL), PROBABILITY("U_before"),
      PROBABILITY("U_after")},
     run_break_even},
    {"reference-cost",
     "-",
     "the source documents' cost of n regions, for comparison",
     "compute 10000 (1 + .8 (n-1)); database 5000 (1 + .8 (n-1)); transfer 500 + 1000 (n-1) + "
     "750 n (n-1); load balancing 200 + 400 (n-1); dns 50 + 100 (n-1)",
     SEED " for n = 1 to 3; continued beyond",
     "USD/month",
     {WHOLE("n", 1, 1000, NULL)},
     run_reference_cost},
    {"fibre",
     "F21",
     "the least round trip over a length of fibre",
     "RTT = 2 km / 200 km per ms",
     SEED "; light in fibre does 2e8 m/s",
     "ms",
     {AT_LEAST_0("km", "km", NULL)},
     run_fibre},
    {"rtt",
     "F21",
     "the measured round trip between two regions",
     "looked up; without a measurement: 0.0165 ms/km to and from the nearest measured regions",
     "data/: the matrix named in the result",
     "ms",
     {{"from", "", PLAN_WORD, 0, 0, false, NULL}, {"to", "", PLAN_WORD, 0, 0, false, NULL}},
     run_rtt},
    {"user-rtt",
     "F22",
     "the round trip from a country's users to a region",
     "10 ms + min over the 3 nearest measured regions N of (0.0165 ms/km x km + RTT(N, "
     "region))",
     "fitted to the matrices; median error 5 to 7%, p90 25 to 35%",
     "ms",
     {{"country", "", PLAN_WORD, 0, 0, false, NULL},
      {"region", "", PLAN_WORD, 0, 0, false, NULL}},
     run_user_rtt},
    {"latency-budget",
     "F23",
     "what a request waits for, summed",
     "T = T_dns + T_tls + T_net + T_proc + T_data",
     SEED,
     "ms",
     {AT_LEAST_0("dns_ms", "ms", NULL), AT_LEAST_0("tls_ms", "ms", NULL),
      AT_LEAST_0("net_ms", "ms", NULL), AT_LEAST_0("proc_ms", "ms", NULL),
      AT_LEAST_0("data_ms", "ms", NULL)},
     run_budget},
    {NULL, NULL, NULL, NULL, NULL, NULL, {{NULL, NULL, PLAN_NUMBER, 0, 0, false, NULL}}, NULL},
};

const struct plan_model *plan_model_find(const char *name)
{
    for (const struct plan_model *m = plan_models; m->name != NULL; m++) {
        if (strcmp(m->name, name) == 0) {
            return m;
        }
    }
    return NULL;
}

bool plan_model_needs_data(const struct plan_model *model)
{
    return model->run == run_rtt || model->run == run_user_rtt;
}

/* ---- reading the inputs ---- */

char *plan_key_domain(const struct plan_key *k, char out[80])
{
    const char *what = k->kind == PLAN_WHOLE ? "a whole number" : "a number";
    bool list = k->kind == PLAN_LIST || k->kind == PLAN_AVAILS;

    if (k->kind == PLAN_WORD) {
        snprintf(out, 80, "a name");
    } else if (isinf(k->max)) {
        snprintf(out, 80, "%s %s %g%s", what, k->above ? "above" : "of at least", k->min,
                 list ? ", or several with commas" : "");
    } else {
        snprintf(out, 80, "%s in %c%g, %g]%s", what, k->above ? '(' : '[', k->min, k->max,
                 list ? ", or several with commas" : "");
    }
    return out;
}

/**
 * One number at @text, ended by @stop or the end. An availability becomes 1 - A in long double,
 * so that the digits of 0.99999999 are all there.
 */
static bool read_number(const struct plan_key *k, const char *text, size_t len, double *ret)
{
    char copy[64], *end = NULL;
    bool avail = k->kind == PLAN_AVAIL || k->kind == PLAN_AVAILS;

    if (len == 0 || len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strspn(copy, "0123456789+-.eE") != len) {
        return false;
    }
    errno = 0;
    long double v = strtold(copy, &end);
    if (*end != '\0' || !isfinite((double)v) || (double)v < k->min || (double)v > k->max ||
        (k->above && (double)v <= k->min) || (k->kind == PLAN_WHOLE && floorl(v) != v)) {
        return false;
    }
    *ret = (double)(avail ? 1.0L - v : v);
    return true;
}

static int read_value(const struct plan_key *k, const char *text, struct plan_value *ret,
                      struct mrd_err *err)
{
    bool list = k->kind == PLAN_LIST || k->kind == PLAN_AVAILS;
    char domain[80];

    ret->given = true;
    ret->text = text;
    ret->count = 0;
    for (const char *p = text; k->kind != PLAN_WORD; p++) {
        size_t len = list ? strcspn(p, ",") : strlen(p);
        if (ret->count == PLAN_LIST_MAX || !read_number(k, p, len, &ret->v[ret->count])) {
            return refuse(err, "%s=%.60s is out of the domain of %s: %s%s%s", k->name, text,
                          k->name, plan_key_domain(k, domain), k->unit[0] > '1' ? ", in " : "",
                          k->unit[0] > '1' ? k->unit : "");
        }
        ret->count++;
        p += len;
        if (*p == '\0') {
            break;
        }
    }
    if (k->kind == PLAN_WORD && (text[0] == '\0' || strlen(text) > 60)) {
        return refuse(err, "%s=%.60s is out of the domain of %s: a name", k->name, text,
                      k->name);
    }
    return 0;
}

static int read_word(const struct plan_model *m, const char *word, struct plan_value *values,
                     struct mrd_err *err)
{
    const char *equals = strchr(word, '=');
    char all[160] = "";
    size_t used = 0;

    for (unsigned i = 0; m->keys[i].name != NULL; i++) {
        const char *name = m->keys[i].name;
        size_t len = strlen(name);
        if (equals != NULL && (size_t)(equals - word) == len && strncmp(name, word, len) == 0) {
            return values[i].given ? refuse(err, "%s is given twice", name)
                                   : read_value(&m->keys[i], equals + 1, &values[i], err);
        }
        used += (size_t)snprintf(all + used, sizeof(all) - used, " %s=", name);
    }
    return refuse(err, "\"%.60s\" is no input of %s; it takes:%s", word, m->name, all);
}

/** What was given and what was assumed, as it was understood. */
static json_t *inputs_json(const struct plan_model *m, const struct plan_value *values)
{
    json_t *inputs = json_object();
    for (unsigned i = 0; m->keys[i].name != NULL; i++) {
        const struct plan_key *k = &m->keys[i];
        const struct plan_value *v = &values[i];
        bool avail = k->kind == PLAN_AVAIL || k->kind == PLAN_AVAILS;
        json_t *j = NULL;
        if (k->kind == PLAN_WORD) {
            j = json_string(v->text);
        } else if (k->kind == PLAN_LIST || k->kind == PLAN_AVAILS) {
            j = json_array();
            for (size_t n = 0; n < v->count; n++) {
                json_array_append_new(j, json_real(avail ? 1 - v->v[n] : v->v[n]));
            }
        } else if (v->count > 0) {
            j = k->kind == PLAN_WHOLE ? json_integer((json_int_t)v->v[0])
                                      : json_real(avail ? 1 - v->v[0] : v->v[0]);
        }
        if (j != NULL) {
            json_object_set_new(inputs, k->name, j);
        }
    }
    return inputs;
}

static int fill_fallbacks(const struct plan_model *m, struct plan_value *values,
                          struct mrd_err *err)
{
    for (unsigned i = 0; m->keys[i].name != NULL; i++) {
        const struct plan_key *k = &m->keys[i];
        char domain[80];
        if (values[i].given) {
            continue;
        }
        if (k->fallback == NULL) {
            return refuse(err, "%s= is missing: %s", k->name, plan_key_domain(k, domain));
        }
        if (k->fallback[0] != '\0') {
            int rc = read_value(k, k->fallback, &values[i], err);
            mrd_assert(rc == 0); /* a default out of its own domain */
            values[i].given = false;
        }
    }
    return 0;
}

int plan_model_run(const struct plan_model *m, struct plan_data *data, const char *const *words,
                   size_t count, json_t **ret, struct mrd_err *err)
{
    struct plan_value values[PLAN_KEYS_MAX];
    json_t *result = NULL;
    int rc = 0;

    memset(values, 0, sizeof(values));
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = read_word(m, words[i], values, err);
    }
    rc = rc != 0 ? rc : fill_fallbacks(m, values, err);
    if (rc != 0) {
        return rc;
    }
    result = json_object();
    rc = m->run(data, values, result, err);
    if (rc != 0) {
        json_decref(result);
        return rc;
    }
    *ret = json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:s}", "model", m->name, "id", m->id,
                     "inputs", inputs_json(m, values), "result", result, "unit", m->unit,
                     "formula", m->formula, "source", m->source);
    return *ret != NULL ? 0 : mrd_err_set(err, MRD_ENOMEM, "out of memory");
}
