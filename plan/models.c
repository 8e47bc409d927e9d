/*
 * The table of formulas (models.h): F1 to F23, each with its domain and its source.
 *
 * The rows come as a reader would look them up: availability, recovery, replication, quorums,
 * money, distance. model_runs.c has their functions, model_read.c reads their inputs.
 */
#include <model_runs.h>

#include <math.h>
#include <string.h>

#include <mrd/availability.h>
#include <mrd/cost.h>
#include <mrd/latency.h>

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
     plan_run_series},
    {"parallel",
     "F2",
     "any part is enough, failing independently",
     "U = prod (1 - A_i)",
     AWS_AVAILABILITY ", eq. 5; " SEED,
     UNIT_A,
     {AVAILABLES("A")},
     plan_run_parallel},
    {"seed-availability",
     "F3",
     "the source documents' own model, for comparison",
     "A_eff = A (1 - Pc)(1 - Pf)",
     SEED ", as printed; not recommended",
     UNIT_A,
     {AVAILABLE("A"), PROBABILITY("Pc"), PROBABILITY("Pf")},
     plan_run_seed_availability},
    {"kofn",
     "F4",
     "at least k of the parts, failing independently",
     "U = P(more than n - k down), Poisson-binomial",
     AWS_AVAILABILITY ", eq. 6",
     UNIT_A,
     {WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, NULL), AVAILABLES("A")},
     plan_run_kofn},
    {"common-cause",
     "F5",
     "k of n equal parts, a share of whose outages takes all",
     "U = kofn((1 - beta) q) + beta q; for k = 1: ((1 - beta) q)^n + beta q",
     "beta-factor model, IEC 61508-6; 0.1 identical, 0.05, 0.01 diverse parts",
     UNIT_A,
     {WHOLE("n", 1, MRD_AVAIL_PARTS_MAX, NULL), PROBABILITY("q"), PROBABILITY("beta"),
      WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, "1")},
     plan_run_common_cause},
    {"failover",
     "F6",
     "one region serves, a standby takes over",
     "U = (1 - A)/m [c m (1 - exp(-T/m)) + (1 - c) m]; c = (1 - beta)(1 - p_ff) A_standby",
     "coverage model of renewal theory (Trivedi); exponential outages",
     UNIT_A "; c: 1",
     {AVAILABLE("A"), ABOVE_0("m_h", "h", NULL), AT_LEAST_0("T_h", "h", NULL),
      PROBABILITY("beta"), PROBABILITY("p_ff"), AVAILABLE("A_standby")},
     plan_run_failover},
    {"user-weighted",
     "F7",
     "what the average user sees",
     "U = sum share_i U_i / sum share_i",
     "Meaningful Availability, NSDI 2020",
     UNIT_A "; U_everything: 1, all down, independently",
     {{"shares", "1", PLAN_LIST, 0, INF, false, NULL}, AVAILABLES("A")},
     plan_run_user_weighted},
    {"sync-writes",
     "F8",
     "writes that need the primary and k standbys",
     "A = A_primary x kofn(A_standby)",
     "F1 of F4",
     UNIT_A,
     {AVAILABLE("A"), AVAILABLES("A_standby"), WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, "1")},
     plan_run_sync_writes},
    {"downtime",
     "F9",
     "what an unavailability is in a year",
     "downtime = U x 8760 h",
     "definition; a year has 8760 h",
     UNIT_A "; hours_per_year: h; s_per_year: s",
     {PROBABILITY("U")},
     plan_run_downtime},
    {"history",
     "-",
     "availability from past outages",
     "U = sum outage_h / (years x 8760 h)",
     "maximum likelihood; a bound from above on A where outages were missed",
     UNIT_A "; lambda_per_year: 1/year; mean_h, h_per_year: h",
     {{"outages_h", "h", PLAN_LIST, 0, INF, false, NULL}, ABOVE_0("years", "year", NULL)},
     plan_run_history},
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
     plan_run_rto},
    {"lag",
     "F11, F12",
     "replication lag while the link keeps up",
     "mean = S/(B - W S) + one way (M/M/1); md1 = S/B (1 + rho/(2 (1 - rho))) + one way; "
     "rho = W S/B; seed_L = W S/(B - W S)",
     "Little's law; seed_L as the " SEED " print it, dimensionless",
     "s; seed_L, utilisation: 1",
     {AT_LEAST_0("W", "1/s", NULL), ABOVE_0("S", "B", NULL), ABOVE_0("B", "B/s", NULL),
      AT_LEAST_0("one_way_ms", "ms", "0")},
     plan_run_lag},
    {"overload",
     "F13",
     "how far behind when the link does not keep up",
     "backlog = t (a - b); rpo = t (1 - b/a); delay = backlog/b; drain = backlog/(b - drain_a)",
     "fluid model",
     "backlog_bytes: B; else s",
     {AT_LEAST_0("a", "B/s", NULL), ABOVE_0("b", "B/s", NULL), AT_LEAST_0("t_s", "s", NULL),
      AT_LEAST_0("drain_a", "B/s", "")},
     plan_run_overload},
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
     plan_run_tcp},
    {"quorum",
     "F15",
     "do readers meet writers, and how many may be lost",
     "strict: r + w > n and w > n/2; survives = n - max(r, w); default r = w = n/2 + 1",
     SEED "; Gifford 1979",
     "regions",
     {WHOLE("n", 1, 1000, NULL), WHOLE("r", 1, 1000, ""), WHOLE("w", 1, 1000, "")},
     plan_run_quorum},
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
     plan_run_quorum_latency},
    {"quorum-tail",
     "F17",
     "the chance that a quorum has answered by t",
     "P(at least k of n by t), each by then with F_i(t)",
     "order statistics; F4 with F for A",
     "1",
     {WHOLE("k", 1, MRD_AVAIL_PARTS_MAX, NULL), {"F", "1", PLAN_LIST, 0, 1, false, NULL}},
     plan_run_quorum_tail},
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
     plan_run_transfer},
    {"headroom",
     "F19",
     "how full each region may be so that f can be lost",
     "utilisation = (n - f)/n; overprovision = n/(n - f)",
     "AWS, static stability",
     "1",
     {WHOLE("n", 1, 1000, NULL), WHOLE("f", 0, 999, NULL)},
     plan_run_headroom},
    {"headroom-shares",
     "F19",
     "the same for uneven shares that spill in proportion",
     "capacity_j = max over the lost sets L without j of share_j / (1 - share(L))",
     "AWS, static stability; proportional spill",
     "1 = the whole load",
     {{"shares", "1", PLAN_LIST, 0, INF, false, NULL},
      WHOLE("lost", 0, MRD_HEADROOM_MAX - 1, "1")},
     plan_run_headroom_shares},
    {"break-even",
     "F20",
     "the cost of an hour down from which a premium pays",
     "usd_per_hour = 12 premium / ((U_before - U_after) x 8760 h)",
     SEED,
     "USD/h",
     {AT_LEAST_0("premium_usd_month", "USD/month", NULL), PROBABILITY("U_before"),
      PROBABILITY("U_after")},
     plan_run_break_even},
    {"reference-cost",
     "-",
     "the source documents' cost of n regions, for comparison",
     "compute 10000 (1 + .8 (n-1)); database 5000 (1 + .8 (n-1)); transfer 500 + 1000 (n-1) + "
     "750 n (n-1); load balancing 200 + 400 (n-1); dns 50 + 100 (n-1)",
     SEED " for n = 1 to 3; continued beyond",
     "USD/month",
     {WHOLE("n", 1, 1000, NULL)},
     plan_run_reference_cost},
    {"fibre",
     "F21",
     "the least round trip over a length of fibre",
     "RTT = 2 km / 200 km per ms",
     SEED "; light in fibre does 2e8 m/s",
     "ms",
     {AT_LEAST_0("km", "km", NULL)},
     plan_run_fibre},
    {"rtt",
     "F21",
     "the measured round trip between two regions",
     "looked up; without a measurement: 0.0165 ms/km to and from the nearest measured regions",
     "data/: the matrix named in the result",
     "ms",
     {{"from", "", PLAN_WORD, 0, 0, false, NULL}, {"to", "", PLAN_WORD, 0, 0, false, NULL}},
     plan_run_rtt},
    {"user-rtt",
     "F22",
     "the round trip from the centre of a country's population to a region",
     "10 ms + min over the 3 measured regions N nearest to the centre of (0.0165 ms/km x km + "
     "RTT(N, region)); a plan takes the same of each of the country's cities, by their weight",
     "fitted to the matrices; median error 5 to 7%, p90 25 to 35%; centre: countries.csv; a "
     "plan's cities: metros.csv",
     "ms",
     {{"country", "", PLAN_WORD, 0, 0, false, NULL},
      {"region", "", PLAN_WORD, 0, 0, false, NULL}},
     plan_run_user_rtt},
    {"latency-budget",
     "F23",
     "what a request waits for, summed",
     "T = T_dns + T_tls + T_net + T_proc + T_data",
     SEED,
     "ms",
     {AT_LEAST_0("dns_ms", "ms", NULL), AT_LEAST_0("tls_ms", "ms", NULL),
      AT_LEAST_0("net_ms", "ms", NULL), AT_LEAST_0("proc_ms", "ms", NULL),
      AT_LEAST_0("data_ms", "ms", NULL)},
     plan_run_budget},
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
    return model->run == plan_run_rtt || model->run == plan_run_user_rtt;
}
