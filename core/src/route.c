/*
 * Where a request goes (mrd/route.h).
 *
 * A decision has three steps, each a function here: the order of all regions as seen from the
 * one nearest to the client; who of them may serve this request, with the reason of everybody
 * who may not; and whether the home has to answer instead. Nothing is remembered between
 * calls: what makes a client stick to its choice is that its hash decides.
 *
 * Health comes from the snapshot as it is, also when the snapshot is old: a stale verdict is
 * frozen, not doubted, so the death of an agent moves no traffic by itself. Positions for
 * tokens are lower bounds and therefore safe at any age.
 */
#include <mrd/route.h>

#include "mutant.h"

#include <string.h>

static bool has_region(mrd_regions set, mrd_region r)
{
    return (set >> r & 1u) != 0;
}

const char *mrd_route_why_name(enum mrd_route_why why)
{
    switch (why) {
    case MRD_ROUTE_NEAREST:
        return "nearest";
    case MRD_ROUTE_HOME:
        return "home";
    case MRD_ROUTE_TOKEN_LOCAL:
        return "token_local";
    case MRD_ROUTE_TOKEN_HOME:
        return "token_home";
    case MRD_ROUTE_TOKEN_LOST:
        return "token_lost";
    case MRD_ROUTE_FAIL_OPEN:
        return "fail_open";
    case MRD_ROUTE_NO_HOME:
        return "no_home";
    }
    return "unknown";
}

/* ---- what the request is about ---- */

struct subject {
    const struct mrd_snap_class *class;    /* NULL: no data */
    const struct mrd_authority *authority; /* NULL: the partition is not known */
    mrd_region home;                       /* or MRD_REGION_NONE */
};

static struct subject subject_of(const struct mrd_snapshot *s, const struct mrd_request *r)
{
    struct subject of = {.home = MRD_REGION_NONE};
    int partition = r->partition;

    if (r->class_index < 0 || r->class_index >= s->class_count) {
        return of;
    }
    of.class = &s->classes[r->class_index];
    if (partition < 0) {
        partition = mrd_snapshot_partition(s, r->class_index, NULL);
    }
    if (partition < of.class->first || partition >= of.class->first + of.class->count) {
        return of;
    }
    of.authority = &s->partitions[partition].authority;
    if (of.authority->state != MRD_AUTH_VACANT && of.authority->region < s->region_count) {
        of.home = of.authority->region;
    }
    return of;
}

/* ---- who comes in which order ---- */

/* All regions, each once, and how many: the nearest, then its ranking, then whoever a broken
 * ranking left. */
static unsigned order_from(const struct mrd_snapshot *s, mrd_region near,
                           mrd_region ret[MRD_REGIONS_MAX])
{
    mrd_regions seen = 0;
    unsigned n = 0;

    if (near >= s->region_count) {
        near = s->self;
    }
    for (unsigned i = 0; i < 1u + 2u * s->region_count; i++) {
        unsigned next = i == 0                 ? near
                        : i <= s->region_count ? s->regions[near].rank[i - 1]
                                               : i - 1u - s->region_count;

        if (next < s->region_count && !has_region(seen, (mrd_region)next)) {
            seen |= (mrd_regions)(1u << next);
            ret[n++] = (mrd_region)next;
        }
    }
    return n;
}

/* ---- who may serve ---- */

/* A number from 0 to 99 for this client and region: other clients leave each region. */
static unsigned ticket(uint64_t client_hash, mrd_region r)
{
    uint64_t x = client_hash + (uint64_t)(r + 1u) * 0x9e3779b97f4a7c15u;

    /* The finisher of splitmix64 (Steele, Lea, Flood 2014), so that poor hashes spread too. */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((x ^ x >> 31) % 100);
}

static bool dialled_out(const struct mrd_snap_region *r, uint64_t client_hash, mrd_region i)
{
    return r->dial_percent < 100 && ticket(client_hash, i) >= r->dial_percent;
}

/* Never candidates, not even when failing open; NULL when it may be one. */
static const char *cannot(const struct mrd_snapshot *s, const struct subject *of, mrd_region i)
{
    if (s->regions[i].witness) {
        return "witness";
    }
    if (of->class != NULL && !has_region(of->class->replicas, i)) {
        return "holds no copy";
    }
    return NULL;
}

/* Candidates that should not serve now; NULL when it may. */
static const char *should_not(const struct mrd_snapshot *s, const struct subject *of,
                              uint64_t client_hash, mrd_region i)
{
    const struct mrd_snap_region *r = &s->regions[i];

    switch (r->health) {
    case MRD_DOWN:
        return "down";
    case MRD_DEGRADED:
        if (of->class == NULL) {
            return "degraded";
        }
        break;
    case MRD_RECOVERING:
        if (of->class != NULL && i != of->home) {
            return "recovering";
        }
        break;
    default:
        break;
    }
    return dialled_out(r, client_hash, i) ? "dialled out" : NULL;
}

static bool may_serve(const struct mrd_snapshot *s, const struct subject *of, uint64_t hash,
                      mrd_region i)
{
    return cannot(s, of, i) == NULL && should_not(s, of, hash, i) == NULL;
}

static void drop(struct mrd_route *ret, mrd_region r, const char *reason)
{
    ret->dropped[ret->dropped_count].region = r;
    ret->dropped[ret->dropped_count].reason = reason;
    ret->dropped_count++;
}

/* Degraded regions go last, everybody else keeps the order. */
static void degraded_last(const struct mrd_snapshot *s, struct mrd_route *ret)
{
    mrd_region sorted[MRD_REGIONS_MAX] = {0};
    uint8_t n = 0;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < ret->count; i++) {
            bool degraded = s->regions[ret->regions[i]].health == MRD_DEGRADED;

            if (degraded == (pass == 1)) {
                sorted[n++] = ret->regions[i];
            }
        }
    }
    memcpy(ret->regions, sorted, n * sizeof(sorted[0]));
}

/* The nearest regions that may serve; when none may, all that could. */
static void nearest(const struct mrd_snapshot *s, const struct mrd_request *r,
                    const struct subject *of, struct mrd_route *ret)
{
    mrd_region order[MRD_REGIONS_MAX];
    unsigned count = order_from(s, r->near, order);

    ret->why = MRD_ROUTE_NEAREST;
    for (unsigned k = 0; k < count; k++) {
        const char *no = cannot(s, of, order[k]);

        if (no == NULL) {
            no = should_not(s, of, r->client_hash, order[k]);
        }
        if (no != NULL) {
            drop(ret, order[k], no);
        } else {
            ret->regions[ret->count++] = order[k];
        }
    }
    if (ret->count > 0) {
        degraded_last(s, ret);
        return;
    }
    ret->why = MRD_ROUTE_FAIL_OPEN;
    for (unsigned k = 0; k < count; k++) {
        if (cannot(s, of, order[k]) == NULL) {
            ret->regions[ret->count++] = order[k];
        }
    }
}

/* ---- who must answer ---- */

static void only(struct mrd_route *ret, enum mrd_route_why why, mrd_region home)
{
    ret->why = home == MRD_REGION_NONE ? MRD_ROUTE_NO_HOME : why;
    if (home != MRD_REGION_NONE) {
        ret->regions[ret->count++] = home;
    }
}

/* Has the mark (@session, @boot_ms) reached the token? */
static bool reached(mrd_session session, uint64_t boot_ms, const struct mrd_token *t)
{
    return session > t->session ||
           ((session == t->session || MRDI_MUTANT(TOKEN_CLOCK)) && boot_ms >= t->boot_ms);
}

/* Its epoch was closed and the region's mark at the cut had not reached it. */
static bool is_lost(const struct mrd_authority *a, mrd_region origin, const struct mrd_token *t)
{
    for (unsigned i = 0; a != NULL && i < a->history_count; i++) {
        const struct mrd_closed_epoch *c = &a->history[i];

        if (c->epoch == t->epoch && c->region == origin) {
            return !MRDI_MUTANT(TOKEN_LOST) && !reached(c->cut_session, c->cut_boot_ms, t);
        }
    }
    return false;
}

/* Is everything that the token stands for applied in this region? */
static bool is_here(const struct mrd_snapshot *s, int origin, const struct mrd_token *t)
{
    const struct mrd_snap_region *o = NULL;

    if (origin < 0 || origin == s->self) {
        return origin == s->self;
    }
    o = &s->regions[origin];
    return reached(o->applied_session, o->applied_boot_ms, t);
}

/*
 * The home as reads may rely on it. A home that has not opened yet lacks what the one before it
 * wrote last, and one that is being replaced lacks what the next one writes: neither may answer
 * for the latest. Only the home itself knows; another region's answer is decided again there.
 */
static mrd_region latest(const struct mrd_snapshot *s, const struct subject *of)
{
    bool closed = of->authority != NULL && of->authority->state == MRD_AUTH_FENCING;

    return closed && of->home == s->self ? MRD_REGION_NONE : of->home;
}

static void by_token(const struct mrd_snapshot *s, const struct mrd_request *r,
                     const struct subject *of, struct mrd_route *ret)
{
    int origin = mrd_snapshot_region(s, r->token->home);
    mrd_region home = latest(s, of);

    if (of->authority == NULL && origin >= 0) {
        home = (mrd_region)origin; /* across partitions: where the write went */
    }
    /* Under an epoch that we have not heard of: we are behind, and who wrote it is the later
     * home, whoever we take for it. A home that was replaced while it was away would answer
     * with what it had; so would a region that put the write aside, its end long heard of, and
     * whose snapshot is of before that, as after a restart. */
    if (of->authority != NULL && origin >= 0 && r->token->epoch > of->authority->epoch &&
        !MRDI_MUTANT(TOKEN_AHEAD)) {
        only(ret, MRD_ROUTE_TOKEN_HOME,
             origin == s->self ? MRD_REGION_NONE : (mrd_region)origin);
        return;
    }
    if (origin >= 0 && is_lost(of->authority, (mrd_region)origin, r->token)) {
        only(ret, MRD_ROUTE_TOKEN_LOST, home);
        return;
    }
    if (is_here(s, origin, r->token) && may_serve(s, of, r->client_hash, s->self)) {
        ret->why = MRD_ROUTE_TOKEN_LOCAL;
        ret->regions[ret->count++] = s->self;
        if (home != MRD_REGION_NONE && home != s->self) {
            ret->regions[ret->count++] = home;
        }
        return;
    }
    only(ret, MRD_ROUTE_TOKEN_HOME, home);
}

void mrd_route(const struct mrd_snapshot *s, const struct mrd_request *r, mrd_boot_ns now_ns,
               struct mrd_route *ret)
{
    struct subject of = subject_of(s, r);

    (void)now_ns; /* nothing in a decision ages; see above */
    ret->why = MRD_ROUTE_NO_HOME;
    ret->count = 0;
    ret->dropped_count = 0;
    if (s->region_count == 0) {
        return;
    }
    if (of.class != NULL && (r->write || r->strong)) {
        only(ret, MRD_ROUTE_HOME, r->write ? of.home : latest(s, &of));
    } else if (of.class != NULL && r->token != NULL) {
        by_token(s, r, &of, ret);
    } else {
        nearest(s, r, &of, ret);
    }
}

/* ---- which region is nearest ---- */

/* How many leading bits @a and @b share, at most @bits. */
static unsigned common_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned n = 0;

    while (n + 8 <= bits && a[n / 8] == b[n / 8]) {
        n += 8;
    }
    while (n < bits && ((a[n / 8] ^ b[n / 8]) >> (7 - n % 8) & 1) == 0) {
        n++;
    }
    return n;
}

mrd_region mrd_route_near(const struct mrd_snapshot *s, int family, const uint8_t *addr,
                          int *prefix_ret)
{
    mrd_region best = MRD_REGION_NONE;
    int longest = -1, scope = 0;

    for (unsigned i = 0; i < s->region_count; i++) {
        for (unsigned k = 0; k < s->regions[i].network_count; k++) {
            const struct mrd_network *n = &s->regions[i].networks[k];
            int shared = 0;

            if (n->family != family) {
                continue;
            }
            shared = (int)common_bits(addr, n->addr, n->prefix);
            if (shared == n->prefix && shared > longest) {
                longest = shared;
                best = (mrd_region)i;
            }
            /* Inside: these bits say so. Outside: one more bit than shared tells them apart. */
            shared += shared < n->prefix;
            scope = shared > scope ? shared : scope;
        }
    }
    if (prefix_ret != NULL) {
        *prefix_ret = scope;
    }
    return best;
}

mrd_region mrd_route_near_country(const struct mrd_snapshot *s, const char *country,
                                  const char *continent)
{
    for (unsigned i = 0; country[0] != '\0' && i < s->region_count; i++) {
        if (strcmp(s->regions[i].country, country) == 0) {
            return (mrd_region)i;
        }
    }
    for (unsigned i = 0; continent[0] != '\0' && i < s->region_count; i++) {
        if (strcmp(s->regions[i].continent, continent) == 0) {
            return (mrd_region)i;
        }
    }
    return MRD_REGION_NONE;
}

uint64_t mrd_client_hash(int family, const uint8_t *addr)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a; ticket() does the mixing */

    for (int i = 0; i < (family == 6 ? 8 : 4); i++) {
        h = (h ^ addr[i]) * 0x100000001b3u;
    }
    return h;
}
