/*
 * A configuration read with the planner's formulas (deployment.h).
 *
 * Its regions are those of the facts with the same name, or join them with the place that the
 * configuration gives. Each class becomes a result as the planner has it for a posture, at the
 * regions where its copies are; detection, DNS and the lease are the configuration's own.
 *
 * A failover is four decisions of the store: the failover, the refusals, the grant, the
 * opening. Each is proposed to the leader and heard of from it (a round trip), committed
 * (another one), noticed with the next heartbeats, two at most, and acted on in an agent's next
 * round. An asynchronous class is granted meanwhile and opens when the old lease has ended;
 * what is left then is one decision.
 */
#include <deployment.h>
#include <place.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/latency.h>

_Static_assert(MRD_REGIONS_MAX <= PLAN_COPIES_MAX, "every region may have a copy");

#define DECISIONS 4 /* of the store, in a failover */
#define ROUND_MS 50 /* between an agent's rounds (docs/internals/control.md) */

static unsigned size(mrd_regions set)
{
    return (unsigned)__builtin_popcount(set);
}

static bool has(mrd_regions set, unsigned i)
{
    return (set >> i & 1) != 0;
}

/* ---- places ---- */

static int place_region(struct plan_data *data, const struct mrd_conf_region *r)
{
    int at = plan_region_find(data, r->name);

    if (at >= 0 || !isfinite(r->latitude) || !isfinite(r->longitude)) {
        return at;
    }
    return plan_region_add(data, r->name, r->country, r->latitude, r->longitude);
}

/** Round trip between two regions of the deployment; NAN when a place is not known. */
static double rtt_ms(const struct plan_deployment *d, unsigned a, unsigned b)
{
    if (a == b) {
        return 0;
    }
    return d->region[a] < 0 || d->region[b] < 0
               ? (double)NAN
               : plan_rtt_ms(d->data, d->region[a], d->region[b], NULL);
}

/** A commit at @home that waits for @acks of the other regions in @set; NAN: not known, or
 * there are not so many. */
static double quorum_ms(const struct plan_deployment *d, unsigned home, mrd_regions set,
                        unsigned acks)
{
    double rtt[MRD_REGIONS_MAX], ms = 0;
    size_t n = 0;

    for (unsigned i = 0; i < d->config.region_count; i++) {
        if (has(set, i) && i != home) {
            rtt[n] = rtt_ms(d, home, i);
            if (isnan(rtt[n++])) {
                return (double)NAN;
            }
        }
    }
    return mrd_quorum_leader_ms(rtt, n, acks + 1, &ms) == 0 ? ms : (double)NAN;
}

static double best_store_ms(const struct plan_deployment *d)
{
    unsigned n = d->config.region_count;
    double best = (double)NAN;

    for (unsigned i = 0; i < n; i++) {
        double ms = quorum_ms(d, i, (mrd_regions)((1u << n) - 1), n / 2);
        best = isnan(best) || ms < best ? ms : best;
    }
    return best;
}

/* ---- a class ---- */

static enum plan_posture posture_of(const struct mrd_conf_class *c)
{
    return c->posture == MRD_SINGLE_REGION    ? PLAN_SINGLE
           : c->posture == MRD_ACTIVE_PASSIVE ? PLAN_ACTIVE_PASSIVE
           : c->posture == MRD_READ_LOCAL     ? PLAN_READ_LOCAL
                                              : PLAN_PARTITIONED;
}

static bool is_home(const struct mrd_conf_class *c, unsigned region)
{
    for (unsigned i = 0; i < c->partition_count; i++) {
        if (c->partition_home[i] == region) {
            return true;
        }
    }
    return c->home == region;
}

/** A decision of the store, from being proposed to being acted on elsewhere. */
static double decision_ms(const struct plan_deployment *d)
{
    double store_ms = isnan(d->store_ms) ? 0 : d->store_ms;

    return 2 * store_ms + 2.0 * d->config.heartbeat_ms + ROUND_MS;
}

/** What the formulas are asked: the workload's, with what the configuration says instead. */
static void ask(const struct plan_deployment *d, struct plan_promise *p)
{
    const struct mrd_config *c = &d->config;
    struct plan_workload *w = &p->load;

    *w = d->load;
    w->interval_s = c->probe_interval_ms / 1000.0;
    w->checks = c->probe_threshold;
    w->timeout_s = c->probe_timeout_ms / 1000.0;
    w->ttl_s = c->dns_zone[0] != '\0' ? c->dns_ttl_s : 0;
    w->given |= 1U << PLAN_GIVEN_INTERVAL | 1U << PLAN_GIVEN_CHECKS | 1U << PLAN_GIVEN_TIMEOUT |
                1U << PLAN_GIVEN_TTL | 1U << PLAN_GIVEN_STANDBY;
    w->warm_s = 0;
    w->standby = 1;
    double decision_s = decision_ms(d) / 1000;
    w->steps_s = DECISIONS * decision_s;
    if (p->class->durability != MRD_QUORUM) {
        double lease_s = (c->lease_ms + c->lease_margin_ms) / 1000.0;
        double detect_s = (w->checks - 0.5) * w->interval_s + w->timeout_s;
        p->steps_wait_s = fmax(0, lease_s - detect_s);
        w->steps_s = fmax(w->steps_s, p->steps_wait_s + decision_s);
    }
}

/** The copies as candidates of the workload, the home first. */
static void list_copies(const struct plan_deployment *d, struct plan_promise *p)
{
    const struct mrd_conf_class *c = p->class;
    unsigned home = c->home != MRD_REGION_NONE ? c->home : (unsigned)__builtin_ctz(c->replicas);

    p->placed = true;
    p->load.candidate_count = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < d->config.region_count; i++) {
            if (has(c->replicas, i) && (i == home) == (pass == 0)) {
                p->placed &= d->region[i] >= 0;
                p->load.candidates[p->load.candidate_count++] = d->region[i];
            }
        }
    }
}

static int evaluate(const struct plan_deployment *d, struct plan_promise *p,
                    struct mrd_err *err)
{
    struct place *place = NULL;
    struct place_set s = {.n = p->load.candidate_count};
    struct plan_result *r = &p->r;
    double farthest = 0;

    for (unsigned k = 0; k < s.n; k++) {
        s.at[k] = (int)k;
    }
    if (p->sized && p->placed) {
        int rc = place_new(d->data, &p->load, &p->size, &place, err);
        if (rc == 0) {
            place_evaluate(place, &s, r);
        }
        free(place);
        return rc;
    }
    r->n = r->held = r->part_count = s.n;
    r->copies = s.n - 1;
    for (unsigned k = 0; k < s.n; k++) {
        r->region[k] = p->load.candidates[k];
        r->share[k] = r->posture == PLAN_PARTITIONED ? 1.0 / s.n : k == 0;
        r->parts[k] = (struct plan_part){r->share[k], k, (1u << s.n) - 1};
        farthest = p->placed && k > 0
                       ? fmax(farthest, plan_rtt_ms(d->data, r->region[0], r->region[k], NULL))
                       : farthest;
    }
    r->lag_s = s.n > 1 ? farthest / 2000 + PLAN_SHIP_S : 0;
    return 0;
}

static void bound(struct plan_promise *p)
{
    const struct mrd_outage_years *y = &p->r.years;
    double region = (100 - p->load.region_pct) / 100;

    p->u_low = p->u_high = p->r.u;
    if (!p->unattended && p->r.n > 1) {
        p->u_high = fmax(region, p->r.u); /* as if nobody ever approved */
    } else if (p->r.simulated) {
        p->u_low = fmax(0, y->u - 1.96 * y->u_se);
        p->u_high = y->u + 1.96 * y->u_se;
    }
}

/** Which parts of the cost rest on a price that somebody gave, or a list price. */
static void find_known(const struct plan_deployment *d, struct plan_promise *p)
{
    const struct plan_workload *w = &p->load;
    bool sized = p->sized && p->placed, listed = sized;
    enum plan_source_id source;

    for (unsigned i = 0; i < w->candidate_count && sized; i++) {
        source = PLAN_SOURCES;
        plan_usd_per_gb(d->data, w->candidates[i], -1, &source);
        listed = listed && source != PLAN_SOURCES;
    }
    bool between = w->transfer_usd_gb >= 0 || listed || p->r.n == 1;
    p->known[PLAN_COMPUTE] = p->known[PLAN_HEADROOM] = sized && w->compute_usd_month >= 0;
    p->known[PLAN_DATABASE] = sized && w->database_usd_month >= 0;
    p->known[PLAN_STORAGE] =
        sized && (plan_given(w, PLAN_GIVEN_STORAGE_USD) || p->size.storage_gb <= 0);
    p->known[PLAN_REPLICATION] = p->known[PLAN_FORWARDING] = sized && between;
    p->known[PLAN_EGRESS] = sized && (w->internet_usd_gb >= 0 || listed);
    p->known[PLAN_CDN] = sized;
    p->known[PLAN_EDGE] = sized && plan_given(w, PLAN_GIVEN_REGION_USD);
}

static int work_out(const struct plan_deployment *d, struct plan_promise *p, size_t years,
                    uint64_t seed, struct mrd_err *err)
{
    const struct mrd_conf_class *c = p->class;

    for (unsigned i = 0; i < d->load.class_count && d->sized; i++) {
        if (strcmp(d->load.classes[i].name, c->name) == 0) {
            p->size = d->load.classes[i];
            p->size.residency_count = 0; /* the copies are where the configuration has them */
            p->sized = true;
        }
    }
    snprintf(p->size.name, sizeof(p->size.name), "%.39s", c->name);
    p->unattended = d->config.failover == MRD_FAILOVER_AUTOMATIC;
    p->r.posture = posture_of(c);
    p->r.quorum = c->durability == MRD_QUORUM && size(c->replicas) > 1;
    ask(d, p);
    list_copies(d, p);
    int rc = evaluate(d, p, err);
    if (rc != 0) {
        return rc;
    }
    p->r.covered = p->r.n > 1 && size(c->allowed) > 1 ? 1 : 0;
    rc = plan_work_out(&p->load, &p->size, &p->r, years, seed, err);
    bound(p);
    find_known(d, p);
    for (unsigned i = 0; i < MRD_REGIONS_MAX; i++) {
        p->commit_ms[i] =
            i < d->config.region_count && is_home(c, i) && p->r.quorum
                ? quorum_ms(d, i, c->replicas, mrd_config_remote_acks(c)) + PLAN_FSYNC_MS
                : (double)NAN;
    }
    return rc;
}

int plan_deployment_init(struct plan_deployment *d, const struct mrd_config *config,
                         const struct plan_workload *load, struct plan_data *data, size_t years,
                         uint64_t seed, struct mrd_err *err)
{
    int rc = 0;

    memset(d, 0, sizeof(*d));
    d->config = *config;
    d->data = data;
    d->sized = load != NULL;
    if (load != NULL) {
        d->load = *load;
    } else {
        plan_workload_defaults(data, &d->load);
    }
    for (unsigned i = 0; i < config->region_count; i++) {
        d->region[i] = place_region(data, &config->regions[i]);
    }
    d->store_ms = best_store_ms(d);
    for (unsigned i = 0; i < config->class_count && rc == 0; i++) {
        struct plan_promise *p = &d->classes[d->count++];
        p->class = &d->config.classes[i];
        rc = work_out(d, p, years, seed, err);
    }
    return rc;
}

/* ---- figures ---- */

static bool figure_known(const struct plan_promise *p, const char *name)
{
    static const char *const of_users[] = {"read_p50",       "read_p95",    "cold_read_p95",
                                           "write_p50",      "write_p95",   "lost_read_p95",
                                           "lost_write_p95", "stale_p95_ms"};
    bool all = false;

    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        if (strcmp(name, plan_cost_name((enum plan_cost_part)i)) == 0) {
            return p->known[i];
        }
    }
    for (unsigned i = 0; i < sizeof(of_users) / sizeof(of_users[0]); i++) {
        if (strcmp(name, of_users[i]) == 0) {
            return p->sized && p->placed;
        }
    }
    plan_promise_cost(p, &all);
    return strcmp(name, "usd_month") == 0            ? all
           : strcmp(name, "replication_mbit_s") == 0 ? p->sized && p->placed
           : strcmp(name, "return_usd_year") == 0    ? false /* against what? */
           : strcmp(name, "steps_s") == 0            ? false /* the configuration's is below */
           : strcmp(name, "running") == 0            ? p->known[PLAN_HEADROOM]
           : strcmp(name, "commit_ms") == 0          ? p->placed
           : strcmp(name, "rpo_s") == 0              ? plan_promise_rpo(p) >= 0
           : strncmp(name, "rto_", 4) == 0           ? plan_promise_rto(p) >= 0
                                                     : true;
}

unsigned plan_promise_figures(const struct plan_deployment *d, const struct plan_promise *p,
                              struct plan_figure ret[PLAN_FIGURES_MAX])
{
    unsigned n = 0, kept = 0;

    n = plan_figures(d->data, &p->load, &p->size, &p->r, &p->r, ret);
    for (unsigned i = 0; i < n; i++) {
        if (figure_known(p, ret[i].name)) {
            ret[kept++] = ret[i];
        }
    }
    if (p->r.n > 1 && kept < PLAN_FIGURES_MAX) {
        ret[kept++] = (struct plan_figure){
            .name = "steps_s",
            .unit = "s",
            .formula =
                "decisions x decision_ms / 1000, an asynchronous class at least "
                "lease_wait_s and one decision; decision_ms = 2 store_ms + 2 heartbeat_ms "
                "+ round_ms; lease_wait_s = max(0, lease + margin - detect)",
            .source = "the configuration; store_ms is F16 over all voters, the best leader",
            .value = p->load.steps_s,
            .count = 5,
            .inputs = {{"decisions", "1", 1, false, {DECISIONS}},
                       {"store_ms", "ms", 1, false, {isnan(d->store_ms) ? 0 : d->store_ms}},
                       {"heartbeat_ms", "ms", 1, false, {d->config.heartbeat_ms}},
                       {"round_ms", "ms", 1, false, {ROUND_MS}},
                       {"lease_wait_s", "s", 1, false, {p->steps_wait_s}}},
        };
    }
    return kept;
}

double plan_promise_cost(const struct plan_promise *p, bool *ret_all)
{
    double sum = 0;

    *ret_all = true;
    for (unsigned i = 0; i < PLAN_COST_PARTS; i++) {
        sum += p->known[i] ? p->r.cost[i] : 0;
        *ret_all &= p->known[i];
    }
    return sum;
}

double plan_deployment_cost(const struct plan_deployment *d, bool *ret_all)
{
    mrd_regions used = 0;
    double sum = 0, edge = 0;

    *ret_all = true;
    for (unsigned i = 0; i < d->count; i++) {
        const struct plan_promise *p = &d->classes[i];
        bool all = false;
        sum += plan_promise_cost(p, &all);
        /* The class of the definitions is all but free: no workload has it. */
        *ret_all &= all || strcmp(p->class->name, MRD_CLASS_SCHEMA) == 0;
        edge += p->known[PLAN_EDGE] ? p->r.cost[PLAN_EDGE] : 0;
        used |= p->known[PLAN_EDGE] ? p->class->replicas : 0;
    }
    return sum - edge + size(used) * d->load.region_usd_month;
}

double plan_promise_rto(const struct plan_promise *p)
{
    bool alone = p->r.n == 1 || p->r.covered <= 0;
    return alone ? (p->sized ? p->load.restore_s : -1) : p->unattended ? p->r.rto_s : -1;
}

double plan_promise_rpo(const struct plan_promise *p)
{
    bool alone = p->r.n == 1 || p->r.covered <= 0;
    return alone         ? (p->sized ? p->load.backup_s : -1)
           : p->r.quorum ? 0
           : p->placed   ? p->r.rpo_s
                         : -1;
}

/* ---- what a loss means ---- */

const char *plan_effect_name(enum plan_effect e)
{
    static const char *const names[] = {"untouched", "farther", "moves", "stops"};
    return names[e];
}

static size_t say(char out[PLAN_SAID], size_t used, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static size_t say(char out[PLAN_SAID], size_t used, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(out + used, PLAN_SAID - used, fmt, args);
    va_end(args);
    return used + (size_t)n < PLAN_SAID ? used + (size_t)n : PLAN_SAID - 1;
}

static size_t say_regions(const struct plan_deployment *d, mrd_regions set, const char *joint,
                          char out[PLAN_SAID], size_t used)
{
    unsigned left = size(set);

    for (unsigned i = 0; i < d->config.region_count; i++) {
        if (has(set, i)) {
            left--;
            used = say(out, used, "%s%s", d->config.regions[i].name, left > 0 ? joint : "");
        }
    }
    return used;
}

bool plan_loss_votes(const struct plan_deployment *d, char out[PLAN_SAID])
{
    unsigned n = d->config.region_count, majority = n / 2 + 1, left = n - 1;

    if (left < majority) {
        say(out, 0,
            "%u of %u votes are left and %u are needed: nothing can be decided, leases end "
            "after "
            "%.1f s, and no class takes writes until it is back",
            left, n, majority, (d->config.lease_ms + d->config.lease_margin_ms) / 1000.0);
        return false;
    }
    if (left - 1 < majority) {
        say(out, 0,
            "%u of %u votes are left, enough to decide; the loss of one more would stop all "
            "writes",
            left, n);
    } else {
        say(out, 0, "%u of %u votes are left, enough to decide and to lose %u more", left, n,
            left - majority);
    }
    return true;
}

/** How long commits take at the regions that may take over. */
static void say_commits(const struct plan_deployment *d, const struct plan_promise *p,
                        unsigned lost, mrd_regions others, char out[PLAN_SAID], size_t used)
{
    mrd_regions left = (mrd_regions)(p->class->replicas & ~(1u << lost));
    unsigned acks = mrd_config_remote_acks(p->class);
    double low = INFINITY, high = 0;

    if (size(left) < acks + 1) {
        say(out, used, ", but none is acknowledged there with so few copies left");
        return;
    }
    for (unsigned i = 0; i < d->config.region_count; i++) {
        double ms = has(others, i) ? quorum_ms(d, i, left, acks) : (double)NAN;
        low = isnan(ms) ? low : fmin(low, ms + PLAN_FSYNC_MS);
        high = isnan(ms) ? high : fmax(high, ms + PLAN_FSYNC_MS);
    }
    if (isinf(low)) {
        return;
    }
    used = say(out, used, ", commits take %.0f", low);
    used = high - low >= 1 ? say(out, used, " to %.0f", high) : used;
    say(out, used, " ms");
}

/** The home is lost. */
static enum plan_effect say_moves(const struct plan_deployment *d, const struct plan_promise *p,
                                  unsigned lost, char out[PLAN_SAID])
{
    const struct mrd_conf_class *c = p->class;
    mrd_regions others = (mrd_regions)(c->allowed & ~(1u << lost));
    size_t used = 0;

    if (c->partition_count > 0) {
        used = say(out, used, "the partition homed there ");
    }
    if (others == 0) {
        say(out, used,
            "takes no writes until the region is back, or a copy is restored by hand: no other "
            "region may be its home");
        return PLAN_STOPS;
    }
    used = say(out, used, "moves to ");
    used = say_regions(d, others, " or ", out, used);
    used = say(out, used, "%s", size(others) > 1 ? ", the one that received most, " : " ");
    if (p->unattended) {
        used = say(out, used, "after about %.0f s (at worst %.0f s)", p->r.rto_s,
                   p->r.rto_worst_s);
    } else {
        used = say(out, used, "when %s approves",
                   d->config.failover == MRD_FAILOVER_TWO_PERSON ? "a second operator"
                                                                 : "an operator");
    }
    if (p->r.quorum) {
        used = say(out, used, "; every acknowledged write is there");
        say_commits(d, p, lost, others, out, used);
    } else if (p->placed) {
        say(out, used,
            "; about the last %.0f ms of writes are missing there, and wait for a decision "
            "when "
            "the region returns",
            p->r.rpo_s * 1000);
    } else {
        say(out, used,
            "; the last writes are missing there, and wait for a decision when the region "
            "returns");
    }
    return PLAN_MOVES;
}

/** Homes that go on without @lost. */
static enum plan_effect say_stays(const struct plan_deployment *d, const struct plan_promise *p,
                                  unsigned lost, char out[PLAN_SAID], size_t used)
{
    const struct mrd_conf_class *c = p->class;
    mrd_regions left = (mrd_regions)(c->replicas & ~(1u << lost));
    unsigned acks = mrd_config_remote_acks(c);

    if (p->r.quorum && size(left) < acks + 1) {
        say(out, used,
            "writes wait for %u more region%s that %s not there: none is acknowledged "
            "until it is back",
            acks + 1 - size(left), acks + 1 - size(left) == 1 ? "" : "s",
            acks + 1 - size(left) == 1 ? "is" : "are");
        return PLAN_STOPS;
    }
    for (unsigned i = 0; i < d->config.region_count && p->r.quorum; i++) {
        double now = is_home(c, i) && i != lost ? quorum_ms(d, i, left, acks) : (double)NAN;
        if (!isnan(now) && fabs(now + PLAN_FSYNC_MS - p->commit_ms[i]) >= 0.5) {
            used = say(out, used, "commits at %s take %.0f ms instead of %.0f; ",
                       d->config.regions[i].name, now + PLAN_FSYNC_MS, p->commit_ms[i]);
        }
    }
    if (c->posture == MRD_ACTIVE_PASSIVE) {
        say(out, used, "goes on with one copy fewer");
    } else {
        say(out, used, "reads there go to the next region that has a copy");
    }
    return PLAN_FARTHER;
}

enum plan_effect plan_loss_class(const struct plan_deployment *d, const struct plan_promise *p,
                                 unsigned lost, char out[PLAN_SAID])
{
    enum plan_effect moved;

    out[0] = '\0';
    if (!has(p->class->replicas, lost)) {
        say(out, 0, "has no copy there");
        return PLAN_UNTOUCHED;
    }
    if (!is_home(p->class, lost)) {
        return say_stays(d, p, lost, out, 0);
    }
    moved = say_moves(d, p, lost, out);
    if (p->class->partition_count < 2) {
        return moved;
    }
    char others[PLAN_SAID];
    enum plan_effect stays = say_stays(d, p, lost, others, 0);
    say(out, strlen(out), "; of the other partitions: %s", others);
    return stays == PLAN_STOPS ? stays : moved;
}
