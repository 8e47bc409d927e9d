/*
 * Health: what the observers' reports add up to.
 *
 * Every region probes every other one and writes what it sees into its own renewals. Two
 * different questions are asked of these reports. Health, for routing and for people, is a
 * function of the store alone. The verdict that starts a failover is harder to get: the region
 * must also have stopped renewing, by the coordinator's own clock.
 *
 * A dead process is not a dead region: while its agent or its PostgreSQL still answers, the
 * quick verdict does not fall, and the supervisor has as long as the lease to bring the other
 * one back. After that the region could not write anyway.
 */
#include "decide.h"
#include "mutant.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SEES_ALL (MRD_SEES_AGENT | MRD_SEES_SQL | MRD_SEES_EDGE)

static unsigned count_live(const struct mrdi_view *v, unsigned except)
{
    unsigned n = 0;

    for (unsigned i = 0; i < v->config->region_count; i++) {
        n += i != except && mrdi_live(v, i);
    }
    return n;
}

/* Observers whose report is recent, newer than @t's last renewal, and finds nobody there. */
static mrd_regions who_misses(struct mrdi_step *s, unsigned t)
{
    const struct mrd_config *c = s->config;
    mrd_boot_ns fresh_ns =
        (2ull * c->renew_ms + (mrd_boot_ns)c->probe_interval_ms * c->probe_threshold) * MRDI_MS;
    mrd_boot_ns silent_ns =
        mrdi_age_ns(&s->c->seen[t], s->v.regions[t].session_revision, s->now_ns);
    mrd_regions who = 0;

    for (unsigned o = 0; o < c->region_count; o++) {
        const struct mrd_peer_report *r = mrdi_report(&s->v, o, t);
        mrd_boot_ns age_ns;
        if (o == t || !mrdi_live(&s->v, o) || r == NULL) {
            continue;
        }
        age_ns = mrdi_age_ns(&s->c->seen[o], s->v.regions[o].session_revision, s->now_ns);
        if (age_ns <= fresh_ns && age_ns < silent_ns &&
            (r->reachable & (MRD_SEES_AGENT | MRD_SEES_SQL)) == 0) {
            who |= (mrd_regions)(1u << o);
        }
    }
    return who;
}

static mrd_regions who_lives(const struct mrdi_view *v, unsigned except)
{
    mrd_regions who = 0;

    for (unsigned i = 0; i < v->config->region_count; i++) {
        if (i != except && mrdi_live(v, i)) {
            who |= (mrd_regions)(1u << i);
        }
    }
    return who;
}

bool mrdi_verdict(struct mrdi_step *s, unsigned t, mrd_regions *ret_observers,
                  const char **ret_reason)
{
    const struct mrd_config *c = s->config;
    unsigned live = count_live(&s->v, t), n;

    if (!s->v.regions[t].has_session) {
        return false; /* it never joined: nothing of its data is anywhere */
    }
    if (s->v.regions[t].session->expired) {
        *ret_observers = who_lives(&s->v, t);
        *ret_reason = "lease_expired";
        return 2 * live > c->region_count;
    }
    if (mrdi_age_ns(&s->c->seen[t], s->v.regions[t].session_revision, s->now_ns) <=
        (mrd_boot_ns)c->probe_interval_ms * (MRDI_MUTANT(HASTY) ? 1 : c->probe_threshold) *
            MRDI_MS) {
        return false;
    }
    *ret_observers = who_misses(s, t);
    *ret_reason = "unreachable";
    n = (unsigned)__builtin_popcount(*ret_observers);
    return n > 0 && ((2 * n > live && 2 * n >= c->region_count) || MRDI_MUTANT(ONE_OBSERVER));
}

/* ---- health for routing and people ---- */

struct misses {
    unsigned live, some, edge; /* observers: all, missing something, missing the edge */
};

static struct misses count_misses(const struct mrdi_view *v, unsigned t)
{
    uint8_t wanted = v->config->regions[t].witness ? MRD_SEES_AGENT : SEES_ALL;
    struct misses m = {0};

    for (unsigned o = 0; o < v->config->region_count; o++) {
        const struct mrd_peer_report *r = mrdi_report(v, o, t);
        if (o == t || !mrdi_live(v, o) || r == NULL) {
            continue;
        }
        m.live++;
        m.some += (r->reachable & wanted) != wanted;
        m.edge += (wanted & MRD_SEES_EDGE) != 0 && (r->reachable & MRD_SEES_EDGE) == 0;
    }
    return m;
}

/* A copy of what @h writes has not caught up with where @h was when @t's session began. */
static bool behind(const struct mrdi_view *v, unsigned t, unsigned h)
{
    const struct mrd_peer_report *r = mrdi_report(v, t, h);

    return r == NULL || r->applied_lsn == 0 || r->applied_lsn < r->catch_up_lsn;
}

/*
 * What @t had written before it came back has not been taken by the present home @h, or @t has
 * not applied what @h, or a home before it, sent it to hold instead.
 */
static bool tail_waits(const struct mrdi_view *v, unsigned t, unsigned h,
                       const struct mrd_authority_record *a)
{
    const struct mrd_peer_report *r = mrdi_report(v, h, t);

    return (v->regions[t].has_failover && r != NULL &&
            r->applied_lsn < v->regions[t].session->opened_lsn) ||
           !mrdi_tail_taken(v, t, a, mrdi_applied(v, t, h));
}

/* Text of @ret may be wanted or not: NULL is no place to put it. */
static void say(char *ret, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void say(char *ret, size_t cap, const char *fmt, ...)
{
    va_list ap;

    if (ret != NULL) {
        va_start(ap, fmt);
        vsnprintf(ret, cap, fmt, ap);
        va_end(ap);
    }
}

static bool recovering(const struct mrdi_view *v, unsigned t, char *why)
{
    unsigned count = mrd_partition_count(v->config);

    for (unsigned i = 0; i < count; i++) {
        const struct mrd_authority_record *a = v->authorities[i].record;
        struct mrdi_partition p = mrdi_partition(v, i);
        int h;
        if ((p.class->replicas >> t & 1u) == 0) {
            continue;
        }
        h = a != NULL ? mrd_config_region(v->config, a->region) : -1;
        if (h < 0 || (unsigned)h == t || !mrdi_live(v, (unsigned)h)) {
            continue;
        }
        if (behind(v, t, (unsigned)h)) {
            say(why, MRD_WHY_MAX, "it has not applied yet what \"%s\" had when it came back",
                a->region);
            return true;
        }
        if (mrdi_uncompared(v, t, a)) {
            say(why, MRD_WHY_MAX, "it may hold more of %.40s/%.40s than counts", p.class->name,
                p.name);
            return true;
        }
        if (tail_waits(v, t, (unsigned)h, a)) {
            say(why, MRD_WHY_MAX, "\"%s\" has not settled yet what it lost of %.40s/%.40s",
                a->region, p.class->name, p.name);
            return true;
        }
    }
    return false;
}

/* What a live region says of itself; one that says nothing is taken as well. */
static bool admits_trouble(const struct mrdi_view *v, unsigned t)
{
    uint8_t ready = v->regions[t].session->ready;

    return !v->config->regions[t].witness && ready != 0 &&
           (ready & (MRD_SEES_SQL | MRD_SEES_EDGE)) != (MRD_SEES_SQL | MRD_SEES_EDGE);
}

static enum mrd_health health_of(const struct mrdi_view *v, unsigned t, struct misses m)
{
    if (!mrdi_live(v, t) || mrdi_fencing(v, t)) {
        return MRD_DOWN;
    }
    if (2 * m.some > m.live || admits_trouble(v, t)) {
        return MRD_DEGRADED;
    }
    if (!v->config->regions[t].witness && recovering(v, t, NULL)) {
        return MRD_RECOVERING;
    }
    return m.some > 0 ? MRD_SUSPECT : MRD_HEALTHY;
}

void mrdi_health(const struct mrdi_view *v, enum mrd_health ret[MRD_REGIONS_MAX],
                 bool ret_edge_lost[MRD_REGIONS_MAX])
{
    struct mrdi_known *k = v->known;

    for (unsigned t = 0; t < v->config->region_count && !k->has_health; t++) {
        struct misses m = count_misses(v, t);
        k->health[t] = health_of(v, t, m);
        k->edge_lost[t] = 2 * m.edge > m.live;
    }
    k->has_health = true;
    memcpy(ret, k->health, v->config->region_count * sizeof(ret[0]));
    memcpy(ret_edge_lost, k->edge_lost, v->config->region_count * sizeof(ret_edge_lost[0]));
}

void mrd_health_of(const struct mrd_config *config, const struct mrd_store *store,
                   enum mrd_health ret[MRD_REGIONS_MAX])
{
    struct mrdi_view v;
    bool edge_lost[MRD_REGIONS_MAX];

    mrdi_view_load(&v, config, store);
    mrdi_health(&v, ret, edge_lost);
}

/* Who misses what of @t. */
static void say_misses(const struct mrdi_view *v, unsigned t, char *ret)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } parts[] = {
        {MRD_SEES_AGENT, "agent"}, {MRD_SEES_SQL, "PostgreSQL"}, {MRD_SEES_EDGE, "edge"}};
    uint8_t wanted = v->config->regions[t].witness ? MRD_SEES_AGENT : SEES_ALL;
    size_t used = 0;

    for (unsigned k = 0; k < 3 && used < MRD_WHY_MAX; k++) {
        mrd_regions who = 0;
        char names[MRD_WHY_MAX / 4];
        for (unsigned o = 0; o < v->config->region_count; o++) {
            const struct mrd_peer_report *r = mrdi_report(v, o, t);
            if (o != t && mrdi_live(v, o) && r != NULL &&
                (wanted & parts[k].bit & ~r->reachable) != 0) {
                who |= (mrd_regions)(1u << o);
            }
        }
        if (who != 0) {
            mrdi_names(v, who, names, sizeof(names));
            int n = snprintf(ret + used, MRD_WHY_MAX - used, "%sits %s is not reached by %s",
                             used > 0 ? "; " : "", parts[k].name, names);
            used += n > 0 ? (size_t)n : 0;
        }
    }
}

static void say_down(const struct mrdi_view *v, unsigned t, char *ret)
{
    if (!v->regions[t].has_session) {
        say(ret, MRD_WHY_MAX, "it has never joined");
    } else if (mrdi_fencing(v, t)) {
        say(ret, MRD_WHY_MAX, "its stream is being refused, to replace it");
    } else {
        say(ret, MRD_WHY_MAX, "its lease expired: it renewed it no more");
    }
}

void mrd_health_why(const struct mrd_config *config, const struct mrd_store *store, unsigned t,
                    char ret[MRD_WHY_MAX])
{
    struct mrdi_view v;

    mrdi_view_load(&v, config, store);
    ret[0] = '\0';
    switch (health_of(&v, t, count_misses(&v, t))) {
    case MRD_DOWN:
        say_down(&v, t, ret);
        break;
    case MRD_RECOVERING:
        recovering(&v, t, ret);
        break;
    case MRD_DEGRADED:
        if (admits_trouble(&v, t)) {
            bool sql = (v.regions[t].session->ready & MRD_SEES_SQL) != 0;
            say(ret, MRD_WHY_MAX, "it says itself that its %s does not serve",
                sql ? "edge" : "PostgreSQL");
            break;
        }
        say_misses(&v, t, ret);
        break;
    default:
        say_misses(&v, t, ret);
    }
}

/* ---- where the store's leader should be ---- */

static uint64_t total_rtt_us(const struct mrdi_view *v, unsigned t)
{
    uint64_t sum = 0;

    for (unsigned o = 0; o < v->config->region_count; o++) {
        const struct mrd_peer_report *r = mrdi_report(v, t, o);
        sum += r != NULL ? r->rtt_us : 0;
    }
    return sum;
}

static bool moves_now(const struct mrdi_view *v)
{
    unsigned count = mrd_partition_count(v->config);

    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(v, i);
        struct mrd_move_record m;
        bool ok;
        mrdi_move(v, &p, &m, &ok);
        if (ok && mrdi_move_active(&m)) {
            return true;
        }
    }
    return false;
}

static void count_homes(const struct mrdi_view *v, unsigned ret[MRD_REGIONS_MAX])
{
    unsigned count = mrd_partition_count(v->config);

    for (unsigned i = 0; i < count; i++) {
        const struct mrd_authority_record *a = v->authorities[i].record;
        int h = a != NULL ? mrd_config_region(v->config, a->region) : -1;
        if (h >= 0) {
            ret[h]++;
        }
    }
}

int mrd_coordinator_preferred_leader(const struct mrd_config *config,
                                     const struct mrd_store *store, mrd_region present)
{
    struct mrdi_view v;
    unsigned homes[MRD_REGIONS_MAX] = {0};
    int best = -1;

    mrdi_view_load(&v, config, store);
    if (moves_now(&v)) {
        return present;
    }
    count_homes(&v, homes);
    for (unsigned i = 0; i < config->region_count; i++) {
        homes[i] += mrdi_drained(&v, i) ? MRD_PARTITIONS_MAX : 0; /* about to be switched off */
    }
    if (mrdi_live(&v, present) && !mrdi_fencing(&v, present)) {
        best = present;
    }
    for (unsigned i = 0; i < config->region_count; i++) {
        if (i == present || !mrdi_live(&v, i) || mrdi_fencing(&v, i)) {
            continue;
        }
        /* By a quarter, or measurements that swing would pass the lead to and fro. */
        if (best < 0 || homes[i] < homes[best] ||
            (homes[i] == homes[best] &&
             4 * total_rtt_us(&v, i) < 3 * total_rtt_us(&v, (unsigned)best))) {
            best = (int)i;
        }
    }
    return best;
}
