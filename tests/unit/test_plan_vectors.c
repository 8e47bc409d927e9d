/*
 * The formulas against the vectors in tests/plan/test-vectors.json: inputs, expected results
 * and tolerances that were worked out apart from this code. Every vector of the file has a row
 * here, and a test says so. They go through the calculators of `meridian model` where there is
 * one, so that keys and results are tested with the numbers.
 */
#include "unit.h"

#include <jansson.h>
#include <math.h>

#include <data.h>
#include <models.h>

#include <mrd/availability.h>
#include <mrd/latency.h>
#include <mrd/outage.h>

static struct plan_data *data;
static json_t *file;

static const json_t *vector(const char *id)
{
    size_t i;
    const json_t *v, *all = json_object_get(file, "vectors");
    json_array_foreach(all, i, v)
    {
        if (strcmp(json_string_value(json_object_get(v, "id")), id) == 0) {
            return v;
        }
    }
    fail_msg("no vector %s", id);
    return NULL;
}

/** A number of the file: PATH is keys and indices with dots. */
static double at(const char *id, const char *path)
{
    const json_t *v = vector(id);
    char part[64];
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        snprintf(part, sizeof(part), "%.*s", (int)n, path);
        v = json_is_array(v) ? json_array_get(v, (size_t)atoi(part)) : json_object_get(v, part);
        path += n + (path[n] == '/');
    }
    assert_true(json_is_number(v));
    return json_number_value(v);
}

/** Run a model; the number at @key of its result. */
static double model(const char *key, const char *name, const char *fmt, ...)
{
    char text[512], *save = NULL;
    const char *words[16];
    size_t count = 0;
    struct mrd_err err = {0};
    json_t *answer = NULL;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        words[count++] = w;
    }
    const struct plan_model *m = plan_model_find(name);
    assert_non_null(m);
    if (plan_model_run(m, data, words, count, &answer, &err) != 0) {
        fail_msg("%s: %s", name, err.text);
    }
    char first[64];
    size_t n = strcspn(key, "/");
    snprintf(first, sizeof(first), "%.*s", (int)n, key);
    const json_t *v = json_object_get(json_object_get(answer, "result"), first);
    if (key[n] == '/') {
        v = json_array_get(v, (size_t)atoi(key + n + 1));
    }
    if (!json_is_number(v)) {
        fail_msg("%s has no number %s", name, key);
    }
    double d = json_number_value(v);
    json_decref(answer);
    return d;
}

static void near_abs(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("got %.17g, want %.17g within %g", got, want, tolerance);
    }
}

static void near_rel(double got, double want, double tolerance)
{
    near_abs(got, want, fabs(want) * tolerance);
}

/* ---- cost ---- */

static void costs(void **state)
{
    (void)state;
    static const char *const c1[] = {"compute", "database", "transfer", "lb", "dns"};
    static const char *const c3[] = {"compute", "database", "transfer", "routing"};
    static const char *const result[] = {"compute", "database", "transfer", "load_balancing",
                                         "dns"};
    char path[64];

    for (int n = 1; n <= 5; n++) {
        snprintf(path, sizeof(path), "expected/%d", n);
        near_abs(model("usd_month", "reference-cost", "n=%d", n), at("C2", path), 0);
    }
    for (int n = 1; n <= 3; n++) {
        double sum = 0;
        for (unsigned i = 0; i < 5; i++) {
            snprintf(path, sizeof(path), "input/%s/%d", c1[i], n - 1);
            near_abs(model(result[i], "reference-cost", "n=%d", n), at("C1", path), 0);
        }
        snprintf(path, sizeof(path), "expected/total/%d", n - 1);
        near_abs(model("usd_month", "reference-cost", "n=%d", n), at("C1", path), 0);
        near_abs(
            model("usd_month", "reference-cost", "n=%d", n) /
                model("usd_month", "reference-cost", "n=1"),
            at("C1", (snprintf(path, sizeof(path), "expected/multiplier/%d", n - 1), path)),
            1e-6);
        for (unsigned i = 0; i < 4; i++) {
            snprintf(path, sizeof(path), "input/%s/%d", c3[i], n - 1);
            sum += at("C3", path);
        }
        snprintf(path, sizeof(path), "expected/total/%d", n - 1);
        near_abs(sum, at("C3", path), 0);
        near_abs(
            sum / at("C3", "expected/total/0"),
            at("C3", (snprintf(path, sizeof(path), "expected/multiplier/%d", n - 1), path)),
            1e-6);
    }
    for (int i = 1; i < 4; i++) { /* the premium that break-even is asked with */
        snprintf(path, sizeof(path), "input/total/%d", i);
        double premium = at("C4", path) - at("C4", "input/total/0");
        snprintf(path, sizeof(path), "expected/annual_premium/%d", i);
        near_abs(premium * 12, at("C4", path), 0);
        near_abs(model("usd_per_hour", "break-even",
                       "premium_usd_month=%.17g U_before=1 U_after=0", premium) *
                     MRD_YEAR_H,
                 at("C4", path), 1e-6);
    }
}

static void transfers(void **state)
{
    (void)state;
    const char *x1 = "events_per_day=%.17g bytes=%.17g usd_per_gb=%.17g copies=%d days=%.17g "
                     "gb_bytes=%.17g";
    double events = at("X1", "input/events_per_day"), bytes = at("X1", "input/bytes");
    double usd = at("X1", "input/usd_per_gb"), days = at("X1", "input/days"), gb = 1e9;

    near_abs(model("usd_month", "transfer", x1, events, bytes, usd, 1, days, gb),
             at("X1", "expected/usd_month"), 1e-9);
    near_abs(model("bytes_per_day", "transfer", x1, events, bytes, usd, 1, days, gb),
             at("X1", "expected/bytes_per_day"), 0);
    events *= at("X2", "input/traffic");
    near_abs(model("usd_month", "transfer", x1, events, bytes, usd, 1, days, gb),
             at("X2", "expected/usd_month"), 1e-7);
    near_abs(model("usd_year", "transfer", x1, events, bytes, usd, 1, days, gb),
             at("X2", "expected/usd_year"), 1e-6);
    events /= at("X2", "input/traffic");
    near_abs(model("usd_month", "transfer", x1, events, bytes, usd, 2, days, gb),
             at("X3", "expected/usd_month"), 1e-9);
    near_abs(model("bytes_per_day", "transfer", x1, events, bytes, usd, 2, days, gb),
             at("X3", "expected/bytes_per_day"), 0);
    near_abs(
        model("usd_month", "transfer", x1, at("X4", "input/gb_per_day"), 1e9, usd, 1, days, gb),
        at("X4", "expected/usd_month"), 1e-9);
    near_abs(model("usd_month", "transfer", x1, events, bytes, usd, 1, 730.0 / 24, gb),
             at("X5", "expected/730h month"), 1e-6);
    near_abs(model("usd_month", "transfer", x1, events, 2048.0, usd, 1, days, 1073741824.0),
             at("X5", "expected/2048 B and GiB"), 1e-6);
    near_abs(model("mbit_s", "transfer", x1, events, bytes, usd, 1, days, gb),
             at("X5", "expected/avg_Mbit_s"), 1e-6);
}

static void break_even(void **state)
{
    (void)state;
    static const struct {
        const char *what, *before, *after, *cost;
        int from, to;
    } rows[] = {
        {"AP vs single", "1e-3", "5e-4", "0", 0, 1},
        {"AA2 vs single", "1e-3", "1e-4", "0", 0, 2},
        {"AA3 vs single", "1e-3", "1e-5", "0", 0, 3},
        {"AA3 vs AA2", "1e-4", "1e-5", "0", 2, 3},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char path[64], from[32], to[32];
        ROW(rows[i].what);
        snprintf(from, sizeof(from), "input/total/%d", rows[i].from);
        snprintf(to, sizeof(to), "input/total/%d", rows[i].to);
        snprintf(path, sizeof(path), "expected/%s", rows[i].what);
        near_abs(model("usd_per_hour", "break-even",
                       "premium_usd_month=%.17g U_before=%s U_after=%s",
                       at("C4", to) - at("C4", from), rows[i].before, rows[i].after),
                 at("B1", path), 1e-4);
    }
}

/* ---- availability ---- */

static void availability(void **state)
{
    (void)state;
    near_rel(model("U", "parallel", "A=0.9999,0.9999"), at("A1", "expected/U"), 1e-9);
    near_rel(model("A", "parallel", "A=0.9999,0.9999"), at("A1", "expected/A_multi"), 1e-9);
    near_rel(
        model("s_per_year", "downtime", "U=%.17g", model("U", "parallel", "A=0.9999,0.9999")),
        at("A1", "expected/seconds_per_year_8760h"), 1e-9);
    static const char *const u[] = {"1e-3", "5e-4", "1e-4", "1e-5", "1e-6"};
    for (int i = 0; i < 5; i++) {
        char path[64];
        snprintf(path, sizeof(path), "expected/hours/%d", i);
        near_abs(model("hours_per_year", "downtime", "U=%s", u[i]), at("A2", path), 1e-9);
        snprintf(path, sizeof(path), "expected/minutes/%d", i);
        near_abs(model("min_per_year", "downtime", "U=%s", u[i]), at("A2", path), 1e-9);
    }
    near_abs(model("A", "kofn", "k=2 A=.999,.999,.999"), at("A3", "expected/2of3 .999"), 1e-12);
    near_abs(model("A", "kofn", "k=3 A=.999,.999,.999,.999,.999"),
             at("A3", "expected/3of5 .999"), 1e-12);
    near_abs(model("A", "kofn", "k=2 A=.9999,.9999,.9999"), at("A3", "expected/2of3 .9999"),
             1e-12);
    near_abs(model("A", "kofn", "k=2 A=.999,.9995,.9999"), at("A3", "expected/mixed"), 1e-12);
    near_rel(model("U", "kofn", "k=3 A=.999,.999,.999,.999,.999"), 9.985006e-9, 1e-9);
    near_rel(model("U", "common-cause", "n=2 q=1e-4 beta=.1"), at("A4", "expected/U"), 1e-9);
    near_rel(model("min_per_year", "common-cause", "n=2 q=1e-4 beta=.1"),
             at("A4", "expected/min_per_year"), 1e-9);
    near_rel(model("U", "common-cause", "n=2 q=1e-3 beta=.1"), at("A5", "expected/U/0"), 1e-9);
    near_rel(model("U", "common-cause", "n=3 q=1e-3 beta=.1"), at("A5", "expected/U/1"), 1e-9);
    for (int i = 0; i < 3; i++) {
        char pc[64], pf[64], path[64];
        snprintf(pc, sizeof(pc), "input/cases/%d/0", i);
        snprintf(pf, sizeof(pf), "input/cases/%d/1", i);
        snprintf(path, sizeof(path), "expected/A/%d", i);
        near_abs(model("A", "seed-availability", "A=.99999999 Pc=%.17g Pf=%.17g", at("A6", pc),
                       at("A6", pf)),
                 at("A6", path), 1e-10);
    }
}

static double failover_input(const char *which, const char *key)
{
    char path[64];
    snprintf(path, sizeof(path), "input/%s/%s", which, key);
    return at("A7", path);
}

static void failover(void **state)
{
    (void)state;
    static const char *const cases[] = {"AP", "AA", "pilot", "AP4", "AP4_undrilled"};
    for (size_t i = 0; i < ROWS(cases); i++) {
        char path[64];
        const char *c = cases[i], *keys = "A=%.17g m_h=%.17g T_h=%.17g beta=%.17g p_ff=%.17g "
                                          "A_standby=%.17g";
        ROW(c);
        for (int k = 0; k < 2; k++) {
            const char *key = k == 0 ? "U" : "min_per_year";
            snprintf(path, sizeof(path), "expected/%s/%s", c, key);
            near_rel(model(key, "failover", keys, failover_input(c, "A"),
                           failover_input(c, "m_h"), failover_input(c, "T_h"),
                           failover_input(c, "beta"), failover_input(c, "p_ff"),
                           failover_input(c, "A_standby")),
                     at("A7", path), 1e-9);
        }
    }
    near_rel(model("U", "failover", "A=.999 m_h=4 T_h=1e9 beta=.1 p_ff=.1 A_standby=.9"), 1e-3,
             1e-9);
    near_abs(model("U", "failover", "A=.999 m_h=4 T_h=0 beta=0 p_ff=0 A_standby=1"), 0, 0);
}

/** A8: simulated years against the closed form and against the reference simulation. */
static void simulated(void **state)
{
    (void)state;
    const size_t years = 200000;
    double *annual = calloc(years, sizeof(*annual));
    assert_non_null(annual);
    for (int i = 0; i < 2; i++) {
        const char *c = i == 0 ? "AP" : "AA";
        double u = 1 - failover_input(c, "A");
        struct mrd_outage_region r = {u, failover_input(c, "m_h"), 1};
        struct mrd_outage_world w = {
            .n = 2,
            .regions = {r, {1 - failover_input(c, "A_standby"), r.mean_h, 1}},
            .part_count = 1,
            .parts = {{.share = 1, .home = 0, .takeover = 2}},
            .beta = failover_input(c, "beta"),
            .failover_h = failover_input(c, "T_h"),
            .p_ff = failover_input(c, "p_ff"),
        };
        struct mrd_outage_years y, again;
        char path[64], se[64];
        ROW(c);
        assert_int_equal(mrd_outage_simulate(&w, 7, years, annual, &y), 0);
        assert_true(y.outages > MRD_OUTAGE_EVENTS_MIN);
        snprintf(path, sizeof(path), "expected/%s/U", c);
        near_abs(y.u, at("A7", path), 3 * y.u_se);
        snprintf(path, sizeof(path), "expected/reference_mean/%d", i);
        snprintf(se, sizeof(se), "expected/reference_se/%d", i);
        near_abs(y.u, at("A8", path), 3 * hypot(y.u_se, at("A8", se)));
        near_rel(y.u_se, at("A8", se), 0.2); /* itself an estimate, of a long tail */
        assert_true(y.p50_h <= y.p95_h && y.p95_h <= y.p99_h && y.p99_h <= y.worst_year_h);
        assert_int_equal(mrd_outage_simulate(&w, 7, years, annual, &again), 0);
        assert_memory_equal(&y, &again, sizeof(y));
    }
    free(annual);
}

static void history(void **state)
{
    (void)state;
    const char *keys = "outages_h=4.3,7,14.53 years=10";
    near_abs(model("lambda_per_year", "history", keys), at("A9", "expected/lambda_per_year"),
             1e-6);
    near_abs(model("mean_h", "history", keys), at("A9", "expected/mean_h"), 1e-6);
    near_abs(model("A", "history", keys), at("A9", "expected/A"), 1e-6);
    near_abs(model("h_per_year", "history", keys), at("A9", "expected/h_per_year"), 1e-6);
    near_abs(model("min_per_year", "failover",
                   "A=%.17g m_h=8.61 T_h=.25 beta=.1 p_ff=.1 A_standby=.9997",
                   model("A", "history", keys)) /
                 60,
             at("A9", "expected/AP_T15min_b.1_p.1_As.9997"), 1e-6);
}

/* ---- headroom, recovery, lag ---- */

static void headroom(void **state)
{
    (void)state;
    char path[64];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "expected/max_util/%d", i);
        near_abs(model("utilisation", "headroom", "n=%d f=1", i + 2), at("H1", path), 1e-12);
        snprintf(path, sizeof(path), "expected/overprovision/%d", i);
        near_abs(model("overprovision", "headroom", "n=%d f=1", i + 2), at("H1", path), 1e-12);
    }
    for (int i = 0; i < 3; i++) {
        char key[32];
        snprintf(path, sizeof(path), "expected/capacity/%d", i);
        snprintf(key, sizeof(key), "capacity/%d", i);
        near_abs(model(key, "headroom-shares", "shares=.5,.3,.2 lost=1"), at("H2", path),
                 1e-12);
    }
    near_abs(model("total", "headroom-shares", "shares=50,30,20 lost=1"),
             at("H2", "expected/total"), 1e-12);
}

static void recovery(void **state)
{
    (void)state;
    const char *keys = "interval_s=10 checks=3 timeout_s=0 ttl_s=60";
    near_abs(model("detect_best_s", "rto", keys), at("R1", "expected/detect/0"), 0);
    near_abs(model("detect_mean_s", "rto", keys), at("R1", "expected/detect/1"), 0);
    near_abs(model("detect_worst_s", "rto", keys), at("R1", "expected/detect/2"), 0);
    near_abs(model("stale_mean_s", "rto", keys), at("R1", "expected/ttl_residual_mean"), 0);
    near_abs(model("mean_s", "rto", keys), at("R1", "expected/total_mean"), 0);
    near_abs(model("worst_s", "rto", keys), at("R1", "expected/total_max"), 0);
    near_abs(model("stale_mean_s", "rto", "%s violators=.05 tail_s=7200", keys),
             at("R2", "expected/user_weighted_stale_s"), 1e-9);
    near_abs(model("stale_worst_s", "rto", "interval_s=10 checks=3 ttl_s=300"),
             at("R3", "expected/max_stale_s"), 0);
}

static void lag(void **state)
{
    (void)state;
    const char *l1 = "W=1000 S=2048 B=12.5e6", *l2 = "W=6000 S=2048 B=12.5e6";
    near_rel(model("utilisation", "lag", l1), at("L1", "expected/rho"), 1e-9);
    near_rel(model("seed_L", "lag", l1), at("L1", "expected/seed_L"), 1e-9);
    near_rel(model("mean_lag_s", "lag", l1), at("L1", "expected/true_mean_s"), 1e-9);
    near_rel(model("mean_lag_s", "lag", "%s one_way_ms=40", l1),
             at("L1", "expected/with_40ms_one_way_s"), 1e-9);
    near_rel(model("utilisation", "lag", l2), at("L2", "expected/rho"), 1e-9);
    near_rel(model("seed_L", "lag", l2), at("L2", "expected/seed_L"), 1e-9);
    near_rel(model("mean_lag_s", "lag", l2), at("L2", "expected/mm1_s"), 1e-9);
    near_rel(model("md1_lag_s", "lag", l2), at("L2", "expected/md1_s"), 1e-9);

    const char *l3 = "a=12697600 b=12.5e6 t_s=3600";
    near_abs(model("growth_s_per_s", "overload", l3), at("L3", "expected/growth_s_per_s"),
             1e-9);
    near_abs(model("backlog_bytes", "overload", l3), at("L3", "expected/backlog_bytes"), 1e-9);
    near_abs(model("queue_delay_s", "overload", l3), at("L3", "expected/drain_lag_s"), 1e-9);
    const char *l4 = "a=14e6 b=10e6 t_s=7200 drain_a=6e6";
    near_abs(model("backlog_bytes", "overload", l4), at("L4", "expected/backlog_bytes"), 1e-6);
    near_abs(model("rpo_s", "overload", l4), at("L4", "expected/rpo_age_s"), 1e-6);
    near_abs(model("queue_delay_s", "overload", l4), at("L4", "expected/queue_delay_s"), 1e-6);
    near_abs(model("drain_s", "overload", l4), at("L4", "expected/drain_s"), 1e-6);
    const char *l5 = "a=4155000 b=2413333 t_s=20 drain_a=0";
    near_rel(model("backlog_bytes", "overload", l5) / 1e6,
             at("L5", "expected/predicted_backlog_MB"), 0.1);
    near_rel(model("backlog_bytes", "overload", l5) / 1e6, at("L5", "expected/measured_MB"),
             0.1);
    near_rel(model("rpo_s", "overload", l5), at("L5", "expected/measured_flush_lag_s"), 0.1);
    near_rel(model("drain_s", "overload", l5), at("L5", "expected/predicted_drain_s"), 0.1);
}

static void tcp(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        char path[64], rtt[64], p[64];
        snprintf(path, sizeof(path), "expected/Mbit_s/%d", i);
        snprintf(rtt, sizeof(rtt), "input/rtt_ms/%d", i);
        snprintf(p, sizeof(p), "input/p/%d", i);
        near_abs(model("mbit_s", "tcp", "rtt_ms=%.17g mss=1460 loss=%.17g", at("L6", rtt),
                       at("L6", p)),
                 at("L6", path), 1e-6);
        snprintf(p, sizeof(p), "input/window/%d", i);
        near_abs(model("mbit_s", "tcp", "rtt_ms=80 window=%.17g", at("L7", p)), at("L7", path),
                 1e-9);
    }
}

/* ---- quorums, distance, users ---- */

static double rtt(const char *a, const char *b)
{
    return model("rtt_ms", "rtt", "from=%s to=%s", a, b);
}

static void quorums(void **state)
{
    (void)state;
    const char *us = "us-east-1", *eu = "eu-west-1", *ap = "ap-northeast-1";
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof(path), "expected/survives/%d", i);
        near_abs(model("survives", "quorum", "n=%d", 3 + 2 * i), at("Q1", path), 0);
        snprintf(path, sizeof(path), "expected/w/%d", i);
        near_abs(model("w", "quorum", "n=%d", 3 + 2 * i), at("Q1", path), 0);
    }
    const char *two = "rtt_ms=%.17g,%.17g w=%d", *four = "rtt_ms=%.17g,%.17g,%.17g,%.17g w=3";
    near_abs(model("latency_ms", "quorum-latency", two, rtt(us, eu), rtt(us, ap), 2),
             at("Q2", "expected/{eu-west-1,ap-northeast-1} w2"), 1e-9);
    near_abs(model("latency_ms", "quorum-latency", two, rtt(us, "us-east-2"),
                   rtt(us, "us-west-2"), 2),
             at("Q2", "expected/{us-east-2,us-west-2} w2"), 1e-9);
    near_abs(model("latency_ms", "quorum-latency", four, rtt(us, "us-east-2"),
                   rtt(us, "us-west-2"), rtt(us, eu), rtt(us, ap)),
             at("Q2", "expected/{us-east-2,us-west-2,eu-west-1,ap-northeast-1} w3"), 1e-9);
    near_abs(model("latency_ms", "quorum-latency", two, rtt(us, eu), rtt(us, ap), 3),
             at("Q2", "expected/{eu-west-1,ap-northeast-1} w3"), 1e-9);
    near_abs(model("latency_ms", "quorum-latency", two, rtt(eu, us), rtt(eu, ap), 2),
             at("Q3", "expected/eu-west-1|us-east-1,ap-northeast-1 w2"), 1e-9);
    near_abs(model("latency_ms", "quorum-latency", two, rtt(ap, us), rtt(ap, eu), 2),
             at("Q3", "expected/ap-northeast-1|us-east-1,eu-west-1 w2"), 1e-9);
    near_abs(model("latency_ms", "quorum-latency", "rtt_ms=%.17g,%.17g w=2 client_rtt_ms=%.17g",
                   rtt(us, eu), rtt(us, ap), rtt(ap, us)),
             at("Q3", "expected/client ap-northeast-1 -> leader us-east-1 (N3 w2)"), 1e-9);
    double any1 = model("latency_ms", "quorum-latency", "rtt_ms=80 w=2 fsync_ms=2");
    assert_true(any1 >= 80 && any1 <= 85);
    near_abs(any1, at("Q4", "expected/pgbench_commit_ms"), 1);
}

static void distances(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        char km[64], ms[64];
        snprintf(km, sizeof(km), "input/km/%d", i);
        snprintf(ms, sizeof(ms), "expected/ms/%d", i);
        near_abs(model("rtt_ms", "fibre", "km=%.17g", at("P1", km)), at("P1", ms), 0);
    }
    const char *keys = "dns_ms=%d tls_ms=%d net_ms=%d proc_ms=%d data_ms=%d";
    near_abs(model("latency_ms", "latency-budget", keys, 1, 5, 1, 10, 5),
             at("P2", "expected/local/0"), 0);
    near_abs(model("latency_ms", "latency-budget", keys, 5, 20, 5, 50, 20),
             at("P2", "expected/local/1"), 0);
    near_abs(model("latency_ms", "latency-budget", keys, 1, 50, 50, 10, 60),
             at("P2", "expected/cross/0"), 0);
    near_abs(model("latency_ms", "latency-budget", keys, 5, 100, 200, 50, 250),
             at("P2", "expected/cross/1"), 0);
}

static void users(void **state)
{
    (void)state;
    const json_t *sets = json_object_get(vector("U1"), "expected"), *want;
    const char *set;
    json_object_foreach((json_t *)(uintptr_t)sets, set, want)
    {
        const json_t *shares = json_object_get(json_object_get(vector("U1"), "input"), "users");
        const json_t *share;
        const char *country;
        double ms[16], weight[16], mean = 0;
        size_t n = 0;
        ROW(set);
        json_object_foreach((json_t *)(uintptr_t)shares, country, share)
        {
            char list[256], *save = NULL;
            ms[n] = INFINITY;
            snprintf(list, sizeof(list), "%s", set);
            for (char *r = strtok_r(list, "+", &save); r; r = strtok_r(NULL, "+", &save)) {
                ms[n] = fmin(ms[n],
                             model("rtt_ms", "user-rtt", "country=%s region=%s", country, r));
            }
            weight[n] = json_number_value(share);
            mean += ms[n] * weight[n] / 100;
            n++;
        }
        near_abs(mean, json_number_value(json_object_get(want, "mean")), 0.01);
        near_abs(mrd_percentile(ms, weight, n, 0.5),
                 json_number_value(json_object_get(want, "p50")), 0.01);
        near_abs(mrd_percentile(ms, weight, n, 0.95),
                 json_number_value(json_object_get(want, "p95")), 0.01);
    }
}

/** No vector of the file may be without a row above. */
static void all_of_them(void **state)
{
    (void)state;
    static const char *const known =
        " C1 C2 C3 C4 X1 X2 X3 X4 X5 A1 A2 A3 A4 A5 A6 A7 A8 A9 H1 "
        "H2 R1 R2 R3 L1 L2 L3 L4 L5 L6 L7 Q1 Q2 Q3 Q4 P1 P2 U1 B1 "
        "D1 "; /* D1: tests/plan/run */
    size_t i;
    const json_t *v, *all = json_object_get(file, "vectors");
    json_array_foreach(all, i, v)
    {
        char word[16];
        snprintf(word, sizeof(word), " %s ", json_string_value(json_object_get(v, "id")));
        if (strstr(known, word) == NULL) {
            fail_msg("no test for vector%s", word);
        }
    }
    assert_int_equal(i, 39);
}

/* ---- beyond the vectors ---- */

static int refused(const char *name, const char *words, char *text, size_t cap)
{
    char copy[256], *save = NULL;
    const char *list[16];
    size_t n = 0;
    struct mrd_err err = {0};
    json_t *answer = NULL;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        list[n++] = w;
    }
    int rc = plan_model_run(plan_model_find(name), data, list, n, &answer, &err);
    json_decref(answer);
    snprintf(text, cap, "%s", err.text);
    return rc;
}

static void domains(void **state)
{
    (void)state;
    static const struct {
        const char *name, *words, *says;
    } rows[] = {
        {"series", "A=1.1", "[0, 1]"},
        {"series", "A=.9,,.9", "[0, 1]"},
        {"series", "A=", "[0, 1]"},
        {"series", "A=nan", "[0, 1]"},
        {"series", "A=0x1", "[0, 1]"},
        {"series", "", "A= is missing"},
        {"series", "A=.9 A=.9", "given twice"},
        {"series", "B=.9", "no input of series"},
        {"kofn", "k=3 A=.9,.9", "1 <= k"},
        {"kofn", "k=1.5 A=.9,.9", "whole number"},
        {"common-cause", "n=2 q=-1 beta=.1", "[0, 1]"},
        {"failover", "A=.9 m_h=0 T_h=1 beta=0 p_ff=0 A_standby=1", "above 0"},
        {"lag", "W=6200 S=2048 B=12500000", "W S < B"},
        {"overload", "a=2 b=1 t_s=1 drain_a=1", "drain_a < b"},
        {"tcp", "rtt_ms=80", "nothing limits"},
        {"tcp", "rtt_ms=0 window=1", "above 0"},
        {"quorum", "n=3 r=4 w=1", "1 <= r, w <= n"},
        {"quorum-latency", "rtt_ms=1,2 w=4", "1 <= w <= 3"},
        {"headroom", "n=2 f=2", "f < n"},
        {"headroom-shares", "shares=1,0 lost=1", "something left"},
        {"break-even", "premium_usd_month=1 U_before=.1 U_after=.1", "U_before > U_after"},
        {"rtt", "from=nowhere to=us-east-1", "no region"},
        {"user-rtt", "country=us region=us-east-1", "no country"},
        {"history", "outages_h=9000 years=1", "8760"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char text[512];
        ROW(rows[i].words);
        assert_int_equal(refused(rows[i].name, rows[i].words, text, sizeof(text)), MRD_EINVAL);
        if (strstr(text, rows[i].says) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", text, rows[i].says);
        }
    }
}

static uint64_t seed = 20261121;

static double uniform(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(seed >> 11) * 0x1p-53;
}

/** Laws that hold for any parts: against sums over every combination of up and down. */
static void laws(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        double u[6], exact[7] = {0}, got = 0, worse = 0;
        size_t n = 1 + (size_t)(uniform() * 6);
        for (size_t i = 0; i < n; i++) {
            u[i] = uniform() * (round % 2 == 0 ? 1 : 1e-4);
        }
        for (unsigned set = 0; set < 1u << n; set++) { /* bit i: part i is down */
            double p = 1;
            for (size_t i = 0; i < n; i++) {
                p *= (set >> i & 1) != 0 ? u[i] : 1 - u[i];
            }
            for (size_t k = 1; k <= n; k++) {
                exact[k] += n - (size_t)__builtin_popcount(set) < k ? p : 0;
            }
        }
        for (size_t k = 1; k <= n; k++) {
            assert_int_equal(mrd_avail_k_of_n(k, u, n, &got), 0);
            near_abs(got, exact[k], 1e-12 * exact[k] + 1e-300);
        }
        near_rel(mrd_avail_parallel(u, n), exact[1], 1e-9);
        near_rel(mrd_avail_series(u, n), exact[n], 1e-9);
        struct mrd_failover_model m = {
            u[0] * 0.99, 0.1 + uniform() * 10, uniform() * 10, uniform(), uniform(), uniform()};
        got = mrd_avail_failover(&m, NULL);
        assert_true(got >= 0 && got <= m.u * (1 + 1e-12));
        m.failover_h *= 2;
        worse = mrd_avail_failover(&m, NULL);
        assert_true(worse >= got);
    }
}

static int setup(void **state)
{
    struct mrd_err err;
    json_error_t why;
    (void)state;
    file = json_load_file(SOURCE_ROOT "/tests/plan/test-vectors.json", 0, &why);
    return file != NULL && plan_data_new(NULL, &data, &err) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(file);
    plan_data_free(data);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs),       cmocka_unit_test(transfers),
        cmocka_unit_test(break_even),  cmocka_unit_test(availability),
        cmocka_unit_test(failover),    cmocka_unit_test(simulated),
        cmocka_unit_test(history),     cmocka_unit_test(headroom),
        cmocka_unit_test(recovery),    cmocka_unit_test(lag),
        cmocka_unit_test(tcp),         cmocka_unit_test(quorums),
        cmocka_unit_test(distances),   cmocka_unit_test(users),
        cmocka_unit_test(all_of_them), cmocka_unit_test(domains),
        cmocka_unit_test(laws),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
