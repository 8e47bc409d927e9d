/*
 * The small world (world.h).
 *
 * A tick is ten virtual milliseconds: links and the store first, then each region's PostgreSQL,
 * then its agent, then the laws. Regions are always visited in the order of the configuration,
 * and the only chance is the store's, which is seeded: a seed is a run.
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define GIVE_UP_MS 1000 /* the agent forgets a proposal whose outcome has not come */
#define STORY_FROM 1000 /* virtual clocks begin here: zero means "never" in many places */

/* The clock of one region: its own rate, and it may have stood still. */
static mrd_boot_ns clock_of(const struct world *w, unsigned i)
{
    const struct world_region *r = &w->regions[i];
    uint64_t ms = w->now_ms - r->stopped_ms;

    return (mrd_boot_ns)((int64_t)(ms * MS) + (int64_t)ms * r->rate_ppm +
                         (int64_t)i * 1000000000000ll);
}

static void broken(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void broken(struct world *w, const char *fmt, ...)
{
    va_list ap;

    w->violations++;
    if (w->keep_going) {
        return;
    }
    fprintf(stderr, "law broken (seed %llu, %llu ms): ", (unsigned long long)w->seed,
            (unsigned long long)w->now_ms);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n%s", w->story);
    abort();
}

/* ---- building ---- */

static void add_class(struct mrd_config *c, const char *name, enum mrd_durability d)
{
    struct mrd_conf_class *k = &c->classes[c->class_count++];

    snprintf(k->name, sizeof(k->name), "%s", name);
    k->posture = MRD_ACTIVE_PASSIVE;
    k->durability = d;
    k->home = 0;
    k->replicas = k->allowed = (mrd_regions)((1u << c->region_count) - 1);
}

static struct mrd_config *config_new(unsigned n, const char *const *names)
{
    struct mrd_config *c = calloc(1, sizeof(*c));

    c->region_count = (uint8_t)n;
    for (unsigned i = 0; i < n; i++) {
        snprintf(c->regions[i].name, MRD_NAME_MAX, "%s", names[i]);
        c->regions[i].latitude = c->regions[i].longitude = __builtin_nan("");
    }
    add_class(c, "orders", MRD_QUORUM);
    add_class(c, "events", MRD_ASYNC);
    c->version = 1;
    c->lease_ms = 4000;
    c->lease_margin_ms = 500;
    c->commit_margin_ms = 300;
    c->renew_ms = 500;
    c->election_ms = 1200;
    c->probe_interval_ms = 500;
    c->probe_timeout_ms = 1000;
    c->probe_threshold = 3;
    c->stale_after_ms = 5000;
    return c;
}

static void mark_changed(void *ctx, const struct mrd_entry *e);

static struct world *world_build(unsigned n, const char *const *names, uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));

    w->seed = seed;
    w->now_ms = STORY_FROM;
    w->config = config_new(n, names);
    w->memory = mrd_memory_new(n, w->config->election_ms, seed);
    for (unsigned i = 0; i < n; i++) {
        struct world_region *r = &w->regions[i];
        r->up = true;
        r->region.self = (mrd_region)i;
        r->snapshot = calloc(1, sizeof(*r->snapshot));
        r->region_proposal = calloc(1, sizeof(*r->region_proposal));
        r->coordinator_proposal = calloc(1, sizeof(*r->coordinator_proposal));
        r->wal = calloc(WORLD_COMMITS_MAX, sizeof(*r->wal));
        memset(r->coordinator.seed, 7, sizeof(r->coordinator.seed));
        /* Staggered, as separate machines are. */
        r->next_canary_ms = w->now_ms + 10 * i;
        r->next_probe_ms = w->now_ms + 30 * i;
        for (unsigned j = 0; j < n; j++) {
            w->delay_ms[i][j] = i == j ? 0 : 40;
            mrd_memory_link(w->memory, i, j, w->delay_ms[i][j] * MS, true, w->now_ms * MS);
        }
    }
    return w;
}

struct world *world_new(uint64_t seed)
{
    static const char *const names[] = {"us", "eu", "ap"};

    return world_build(3, names, seed);
}

struct world *world_new_n(unsigned regions, uint64_t seed)
{
    static const char *const names[] = {"r0", "r1", "r2", "r3", "r4", "r5", "r6"};

    return world_build(regions, names, seed);
}

void world_free(struct world *w)
{
    for (unsigned i = 0; i < w->config->region_count; i++) {
        free(w->regions[i].snapshot);
        free(w->regions[i].region_proposal);
        free(w->regions[i].coordinator_proposal);
        free(w->regions[i].wal);
    }
    mrd_memory_free(w->memory);
    free(w->config);
    free(w);
}

unsigned world_region(const struct world *w, const char *name)
{
    int i = mrd_config_region(w->config, name);

    mrd_assert(i >= 0);
    return (unsigned)i;
}

/* ---- the story ---- */

static void tell(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct world *w, const char *fmt, ...)
{
    va_list ap;

    if (!w->telling || w->story_len + 256 > sizeof(w->story)) {
        return;
    }
    w->story_len +=
        (size_t)snprintf(w->story + w->story_len, sizeof(w->story) - w->story_len, "[%llu] ",
                         (unsigned long long)(w->now_ms - w->events_told));
    va_start(ap, fmt);
    w->story_len +=
        (size_t)vsnprintf(w->story + w->story_len, sizeof(w->story) - w->story_len, fmt, ap);
    va_end(ap);
    w->story_len +=
        (size_t)snprintf(w->story + w->story_len, sizeof(w->story) - w->story_len, "\n");
}

void world_tell(struct world *w)
{
    w->telling = true;
    w->events_told = w->now_ms; /* the story's zero */
    w->story_len = 0;
    w->story[0] = '\0';
}

void world_expect(struct world *w, const char *expected)
{
    if (strcmp(w->story, expected) != 0) {
        fprintf(stderr, "--- the story told:\n%s--- expected:\n%s", w->story, expected);
        abort();
    }
}

bool world_told(const struct world *w, const char *text)
{
    return strstr(w->story, text) != NULL;
}

/* Audit events are told when the first replica applies them: that is when they are facts. */
static void tell_event(struct world *w, const struct mrd_entry *e)
{
    char text[512];
    const char *words;

    if (strncmp(e->key, "event/", 6) != 0 || e->value == NULL ||
        strcmp(e->key, w->last_event) <= 0) {
        return;
    }
    snprintf(w->last_event, sizeof(w->last_event), "%s", e->key);
    snprintf(text, sizeof(text), "%.*s", (int)e->len, (const char *)e->value);
    words = strstr(text, "event=");
    tell(w, "%s", words != NULL ? words + 6 : text);
}

/* ---- stores ---- */

struct watcher {
    struct world *w;
    unsigned region;
};
static struct watcher watchers[MRD_REGIONS_MAX]; /* one world at a time */

static void mark_changed(void *ctx, const struct mrd_entry *e)
{
    struct watcher *at = ctx;
    struct world *w = at->w;
    struct world_region *r = &w->regions[at->region];
    mrd_boot_ns now_ns = clock_of(w, at->region);

    tell_event(w, e);
    mrd_coordinator_observe(&r->coordinator, w->config, e, now_ns);
    mrd_region_observe(&r->region, w->config, e, now_ns);
    r->changed = true;
}

void world_configure(struct world *w)
{
    for (unsigned i = 0; i < w->config->region_count; i++) {
        watchers[i] = (struct watcher){w, i};
        mrd_store_watch(mrd_memory_store(w->memory, i), mark_changed, &watchers[i]);
    }
}

/* ---- links ---- */

static bool passes(const struct world *w, unsigned from, unsigned to)
{
    return w->regions[from].up && w->regions[to].up && !w->cut[from][to];
}

static void set_link(struct world *w, unsigned from, unsigned to, bool cut)
{
    w->cut[from][to] = cut;
    mrd_memory_link(w->memory, from, to, w->delay_ms[from][to] * MS, !cut, w->now_ms * MS);
}

void world_cut(struct world *w, const char *from, const char *to)
{
    set_link(w, world_region(w, from), world_region(w, to), true);
}

void world_isolate(struct world *w, const char *region)
{
    unsigned i = world_region(w, region);

    for (unsigned j = 0; j < w->config->region_count; j++) {
        if (j != i) {
            set_link(w, i, j, true);
            set_link(w, j, i, true);
        }
    }
}

void world_heal(struct world *w)
{
    for (unsigned i = 0; i < w->config->region_count; i++) {
        for (unsigned j = 0; j < w->config->region_count; j++) {
            set_link(w, i, j, false);
        }
    }
}

/* ---- PostgreSQL, modelled ---- */

static mrd_lsn wal_end(const struct world_region *r)
{
    return r->wal_count > 0 ? r->wal[r->wal_count - 1].lsn : 100;
}

static struct world_commit *wal_append(struct world *w, unsigned i, int partition,
                                       mrd_epoch epoch)
{
    struct world_region *r = &w->regions[i];
    struct world_commit *c;

    mrd_assert(r->wal_count < WORLD_COMMITS_MAX);
    c = &r->wal[r->wal_count];
    *c = (struct world_commit){
        .at_ms = w->now_ms, .lsn = wal_end(r) + 10, .partition = partition, .epoch = epoch};
    c->fate[i] = 1 + MRD_ACCEPT;
    r->wal_count++;
    return c;
}

static const struct mrd_conf_class *class_of(const struct world *w, int partition)
{
    const char *name;

    return mrd_partition_at(w->config, (unsigned)partition, &name);
}

static void write_one(struct world *w, unsigned i, int p)
{
    struct world_region *r = &w->regions[i];
    struct mrd_verdict v = mrd_guard(r->snapshot, p, clock_of(w, i));
    struct world_commit *c;

    if (!v.allow || r->wal_count + 64 > WORLD_COMMITS_MAX) {
        return;
    }
    c = wal_append(w, i, p, v.epoch);
    if (class_of(w, p)->durability == MRD_ASYNC) {
        c->acked = true;
        w->acked++;
    }
    if (r->first_write_ms[p] == 0) {
        r->first_write_ms[p] = w->now_ms;
    }
}

static void client_writes(struct world *w, unsigned i)
{
    if (w->write_every_ms == 0 || w->now_ms % w->write_every_ms != 0) {
        return;
    }
    for (int p = 0; p < (int)mrd_partition_count(w->config); p++) {
        write_one(w, i, p);
    }
}

/* The position up to which the origin's WAL was taken here. */
static mrd_lsn applied_of(const struct world *w, unsigned i, unsigned origin)
{
    unsigned n = w->regions[i].taken[origin];

    return n > 0 ? w->regions[origin].wal[n - 1].lsn : 0;
}

/*
 * A quorum commit is acknowledged once enough replicas hold it, its home still waits, and the
 * home's look after the wait finds the epoch unchanged.
 */
static void acknowledge(struct world *w, unsigned origin, struct world_commit *c)
{
    const struct mrd_conf_class *k;
    unsigned held = 0;

    if (c->partition < 0 || c->acked) {
        return;
    }
    k = class_of(w, c->partition);
    for (unsigned j = 0; j < w->config->region_count; j++) {
        held += j != origin && (k->replicas >> j & 1u) != 0 && c->fate[j] != 0;
    }
    if (k->durability == MRD_QUORUM && held >= mrd_config_remote_acks(k) &&
        w->regions[origin].up &&
        w->regions[origin].snapshot->partitions[c->partition].authority.epoch == c->epoch) {
        c->acked = true;
        w->acked++;
    }
}

/* @direct: from the origin itself, which hears how far we got. */
static void take(struct world *w, unsigned i, unsigned origin, bool direct,
                 struct world_commit *c)
{
    struct world_region *r = &w->regions[i];
    enum mrd_accept verdict = MRD_ACCEPT;

    if (c->partition >= 0) {
        const struct mrd_authority *a = &r->snapshot->partitions[c->partition].authority;
        verdict = mrd_authority_accepts(a, (mrd_region)origin, c->epoch, c->lsn);
    }
    c->fate[i] = (uint8_t)(1 + verdict);
    r->taken[origin]++;
    if (direct && passes(w, i, origin)) {
        acknowledge(w, origin, c);
    }
}

static void stream(struct world *w, unsigned i, unsigned origin)
{
    struct world_region *r = &w->regions[i];
    const struct mrd_snap_region *order = &r->snapshot->regions[origin];
    unsigned from = origin, limit = w->regions[origin].wal_count;

    if (order->stream == MRD_STREAM_FORWARD) {
        from = order->via;
        limit = w->regions[from].taken[origin];
    } else if (order->stream != MRD_STREAM_RUN) {
        return;
    }
    if (!passes(w, from, i) || !passes(w, i, from) ||
        !mrd_may_apply(r->snapshot, clock_of(w, i))) {
        return;
    }
    while (r->taken[origin] < limit) {
        struct world_commit *c = &w->regions[origin].wal[r->taken[origin]];
        if (c->at_ms + w->delay_ms[from][i] > w->now_ms) {
            break;
        }
        take(w, i, origin, from == origin, c);
    }
}

static void postgres(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (!r->up || w->config->regions[i].witness || r->snapshot->region_count == 0) {
        return;
    }
    client_writes(w, i);
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (o != i) {
            stream(w, i, o);
        }
    }
}

/* ---- the agent ---- */

static void canary(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (w->now_ms < r->next_canary_ms) {
        return;
    }
    r->next_canary_ms = w->now_ms + w->config->renew_ms;
    r->local.canary_ok = true;
    r->local.canary_ns = clock_of(w, i);
    r->local.canary_settled = true; /* what slips is in the WAL before anything else is */
    wal_append(w, i, -1, 0);
    r->local.report.wal_lsn = wal_end(r);
    r->local.report.boot_ms = clock_of(w, i) / MS;
}

static uint64_t wall_of(const struct world *w, unsigned i)
{
    return w->now_ms + w->regions[i].wall_ahead_ms;
}

static struct mrd_peer_report *peer_of(struct world_region *r, unsigned j)
{
    return &r->local.report.peers[j];
}

static void count_tail(struct world *w, unsigned i, unsigned p, const struct mrd_duty *d,
                       struct mrd_tail_count *ret)
{
    *ret = (struct mrd_tail_count){.epoch = d->tail_epoch};
    if (d->tail_epoch == 0) {
        return;
    }
    for (unsigned k = 0; k < w->regions[i].taken[d->tail_origin]; k++) {
        const struct world_commit *c = &w->regions[d->tail_origin].wal[k];
        if (c->partition == (int)p && c->epoch == d->tail_epoch &&
            c->fate[i] == 1 + MRD_ACCEPT_TAIL) {
            ret->transactions++;
            ret->rows++;
        }
    }
}

static void status(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    struct mrd_duty duties[MRD_PARTITIONS_MAX];
    unsigned count = mrd_partition_count(w->config);

    if (w->now_ms < r->next_status_ms) {
        return;
    }
    r->next_status_ms = w->now_ms + 100;
    for (unsigned o = 0; o < w->config->region_count; o++) {
        struct mrd_peer_report *p = peer_of(r, o);
        p->applied_lsn = applied_of(w, i, o);
        p->refused = r->refuse_published_ms[o] != 0 && w->now_ms > r->refuse_published_ms[o];
    }
    mrd_region_duties(&r->region, w->config, mrd_memory_store(w->memory, i), &r->local, duties);
    for (unsigned p = 0; p < count; p++) {
        r->local.opened_epoch[p] = r->opened[p];
        r->local.first_write_ms[p] =
            r->first_write_ms[p] != 0 ? r->first_write_ms[p] + r->wall_ahead_ms : 0;
        count_tail(w, i, p, &duties[p], &r->local.tail[p]);
    }
    r->local.through_lsn = wal_end(r);
}

static void probe(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (w->now_ms < r->next_probe_ms) {
        return;
    }
    r->next_probe_ms = w->now_ms + w->config->probe_interval_ms;
    r->local.report.peer_count = w->config->region_count;
    r->local.report.ready = MRD_SEES_AGENT | MRD_SEES_SQL | MRD_SEES_EDGE;
    r->local.report.wall_ms = wall_of(w, i);
    for (unsigned j = 0; j < w->config->region_count; j++) {
        struct mrd_peer_report *p = peer_of(r, j);
        snprintf(p->region, sizeof(p->region), "%s", w->config->regions[j].name);
        if (i == j || (passes(w, i, j) && passes(w, j, i))) {
            r->misses[j] = 0;
            p->rtt_us = (uint32_t)(w->delay_ms[i][j] + w->delay_ms[j][i]) * 1000;
            p->reachable = MRD_SEES_AGENT | MRD_SEES_SQL | MRD_SEES_EDGE;
        } else if (++r->misses[j] >= w->config->probe_threshold) {
            p->reachable = 0;
        }
    }
}

static void do_duties(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    struct mrd_duty duties[MRD_PARTITIONS_MAX];
    unsigned count = mrd_partition_count(w->config);

    mrd_region_duties(&r->region, w->config, mrd_memory_store(w->memory, i), &r->local, duties);
    for (unsigned p = 0; p < count; p++) {
        if (duties[p].kind == MRD_DUTY_PROMOTE && r->opened[p] != duties[p].epoch) {
            r->opened[p] = r->local.opened_epoch[p] = duties[p].epoch;
            r->first_write_ms[p] = r->local.first_write_ms[p] = 0;
        } else if (duties[p].kind == MRD_DUTY_DRAIN &&
                   r->snapshot->partitions[p].authority.state == MRD_AUTH_FROZEN) {
            /* Writes are single instants here, so nothing is in flight once this is out. */
            r->local.drained_move[p] = duties[p].move;
            r->local.drained_lsn[p] = wal_end(r);
        }
    }
}

static void publish(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    mrd_region_snapshot(&r->region, w->config, mrd_memory_store(w->memory, i), &r->local,
                        clock_of(w, i), w->now_ms, r->snapshot);
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (r->snapshot->regions[o].stream != MRD_STREAM_REFUSE) {
            r->refuse_published_ms[o] = 0;
            peer_of(r, o)->refused = 0;
        } else if (r->refuse_published_ms[o] == 0) {
            r->refuse_published_ms[o] = w->now_ms;
        }
    }
}

/* One proposal at a time: what is pending was in it. */
static void abandon(struct mrd_region_state *r)
{
    mrd_region_abandon(r, r->pending_seq, r->opening);
}

static void collect_outcomes(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    bool changed = mrd_memory_leader(w->memory, i) != r->sent_to;
    int rc;

    r->sent_to = mrd_memory_leader(w->memory, i);
    if (r->region_ticket != 0) {
        if (mrd_memory_outcome(w->memory, r->region_ticket, &rc)) {
            r->region_ticket = 0;
            if (rc != 0) {
                abandon(&r->region);
            }
        } else if (changed || w->now_ms - r->region_sent_ms > GIVE_UP_MS) {
            r->region_ticket = 0;
            abandon(&r->region);
        }
    }
    if (r->coordinator_ticket != 0 &&
        (mrd_memory_outcome(w->memory, r->coordinator_ticket, &rc) || changed ||
         w->now_ms - r->coordinator_sent_ms > GIVE_UP_MS)) {
        r->coordinator_ticket = 0;
    }
}

static void decide(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    const struct mrd_store *s = mrd_memory_store(w->memory, i);
    mrd_boot_ns now_ns = clock_of(w, i);

    mrd_coordinator_lead(&r->coordinator, mrd_memory_leads(w->memory, i), now_ns);
    if (r->coordinator_ticket == 0) {
        mrd_coordinator_step(&r->coordinator, w->config, s, now_ns, wall_of(w, i),
                             r->coordinator_proposal);
        if (r->coordinator_proposal->wanted) {
            r->coordinator_sent_ms = w->now_ms;
            r->coordinator_ticket =
                mrd_memory_propose(w->memory, i, &r->coordinator_proposal->txn, w->now_ms * MS);
        }
    }
    if (r->region_ticket == 0) {
        mrd_region_step(&r->region, w->config, s, &r->local, now_ns, wall_of(w, i),
                        r->region_proposal);
        if (r->region_proposal->wanted) {
            r->region_sent_ms = w->now_ms;
            r->region_ticket =
                mrd_memory_propose(w->memory, i, &r->region_proposal->txn, w->now_ms * MS);
            if (r->region_ticket == 0) {
                abandon(&r->region);
            }
        }
    }
}

static void agent(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (!r->up) {
        return;
    }
    collect_outcomes(w, i);
    probe(w, i);
    if (!w->config->regions[i].witness) {
        canary(w, i);
        status(w, i);
    }
    if (r->changed || w->now_ms >= r->next_step_ms) {
        r->changed = false;
        r->next_step_ms = w->now_ms + 50;
        do_duties(w, i);
        publish(w, i);
        decide(w, i);
    }
}

/* ---- the laws ---- */

static void check_writers(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned p = 0; p < count; p++) {
        int writer = -1;
        for (unsigned i = 0; i < w->config->region_count; i++) {
            struct world_region *r = &w->regions[i];
            bool may = r->up && mrd_guard(r->snapshot, (int)p, clock_of(w, i)).allow;
            bool lease_rules = class_of(w, (int)p)->durability == MRD_ASYNC && !w->clocks_stop;
            if (may && writer >= 0 && lease_rules) {
                broken(w, "both %s and %s may write %s", w->config->regions[writer].name,
                       w->config->regions[i].name, class_of(w, (int)p)->name);
            }
            writer = may ? (int)i : writer;
            if (r->up && may != r->may_write[p]) {
                tell(w, "%s: %s %s epoch %llu", w->config->regions[i].name,
                     may ? "opens" : "closes", class_of(w, (int)p)->name,
                     (unsigned long long)r->snapshot->partitions[p].authority.epoch);
                r->may_write[p] = may;
            }
        }
    }
}

static void check_epochs(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct world_region *r = &w->regions[i];
        for (unsigned p = 0; p < count && p < r->snapshot->partition_count; p++) {
            mrd_epoch e = r->snapshot->partitions[p].authority.epoch;
            if (e < r->seen_epoch[p]) {
                broken(w, "%s saw an epoch go back", w->config->regions[i].name);
            }
            r->seen_epoch[p] = e;
        }
    }
}

/* The authority as the furthest replica's store has it. */
static bool furthest(struct world *w, unsigned p, struct mrd_authority_record *ret)
{
    const char *name;
    const struct mrd_conf_class *k = mrd_partition_at(w->config, p, &name);
    char key[MRD_KEY_MAX];
    bool found = false;

    snprintf(key, sizeof(key), "authority/%s/%s", k->name, name);
    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct mrd_authority_record a;
        struct mrd_entry e;
        struct mrd_buf b;
        if (mrd_store_get(mrd_memory_store(w->memory, i), key, &e) != 0) {
            continue;
        }
        b = mrd_buf_reader(e.value, e.len);
        if (mrd_authority_record_decode(&b, &a) == 0 && (!found || a.epoch > ret->epoch)) {
            *ret = a;
            found = true;
        }
    }
    return found;
}

/* The closed epoch that a commit of @origin belongs to, or NULL. */
static const struct mrd_closed_record *epoch_of(const struct world *w,
                                                const struct mrd_authority_record *a,
                                                unsigned origin, const struct world_commit *c)
{
    for (unsigned k = 0; k < a->history_count; k++) {
        if (a->history[k].epoch == c->epoch &&
            strcmp(a->history[k].region, w->config->regions[origin].name) == 0) {
            return &a->history[k];
        }
    }
    return NULL;
}

static void check_commit(struct world *w, const struct mrd_closed_record *h, unsigned origin,
                         const struct world_commit *c)
{
    if (h == NULL || c->lsn <= h->cut) {
        return;
    }
    if (c->acked && class_of(w, c->partition)->durability == MRD_QUORUM) {
        broken(w, "acknowledged commit %llu of %s lies past the cut %llu of epoch %llu",
               (unsigned long long)c->lsn, w->config->regions[origin].name,
               (unsigned long long)h->cut, (unsigned long long)c->epoch);
    }
    for (unsigned j = 0; j < w->config->region_count; j++) {
        if (j != origin && c->fate[j] == 1 + MRD_ACCEPT && (h->unfenced >> j & 1u) == 0) {
            broken(w, "%s applied commit %llu of %s past the cut %llu of epoch %llu",
                   w->config->regions[j].name, (unsigned long long)c->lsn,
                   w->config->regions[origin].name, (unsigned long long)h->cut,
                   (unsigned long long)c->epoch);
        }
    }
}

static void check_cuts(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned p = 0; p < count; p++) {
        struct mrd_authority_record a;
        if (!furthest(w, p, &a)) {
            continue;
        }
        for (unsigned o = 0; o < w->config->region_count; o++) {
            for (unsigned k = 0; k < w->regions[o].wal_count; k++) {
                const struct world_commit *c = &w->regions[o].wal[k];
                if (c->partition == (int)p) {
                    check_commit(w, epoch_of(w, &a, o, c), o, c);
                }
            }
        }
    }
}

void world_run(struct world *w, uint64_t ms)
{
    uint64_t end_ms = w->now_ms + ms;

    while (w->now_ms < end_ms) {
        w->now_ms += WORLD_TICK_MS;
        for (unsigned i = 0; i < w->config->region_count; i++) {
            w->regions[i].stopped_ms +=
                !w->regions[i].up && w->regions[i].stop_clock ? WORLD_TICK_MS : 0;
        }
        mrd_memory_run(w->memory, w->now_ms * MS);
        for (unsigned i = 0; i < w->config->region_count; i++) {
            postgres(w, i);
        }
        for (unsigned i = 0; i < w->config->region_count; i++) {
            agent(w, i);
        }
        check_writers(w);
        check_epochs(w);
        if (w->now_ms % 500 == 0) {
            check_cuts(w);
        }
    }
}

static bool all_settled(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned p = 0; p < count; p++) {
        bool open = false;
        for (unsigned i = 0; i < w->config->region_count; i++) {
            open = open || mrd_guard(w->regions[i].snapshot, (int)p, clock_of(w, i)).allow;
        }
        if (!open) {
            return false;
        }
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        if (w->regions[i].region.deadline_ns <= clock_of(w, i)) {
            return false;
        }
    }
    return true;
}

void world_settle(struct world *w)
{
    for (unsigned n = 0; n < 2000 && !all_settled(w); n++) {
        world_run(w, WORLD_TICK_MS);
    }
    if (!all_settled(w)) {
        broken(w, "the world does not settle");
    }
    world_run(w, 1000);
}

/* ---- faults ---- */

static void set_up(struct world *w, unsigned i, bool up)
{
    w->regions[i].up = up;
    mrd_memory_up(w->memory, i, up, w->now_ms * MS);
}

/* Everything in memory is gone; WAL, taken positions and the published snapshot stay. */
static void forget(struct world_region *r, unsigned self)
{
    r->region = (struct mrd_region_state){.self = (mrd_region)self};
    memset(&r->coordinator, 0, sizeof(r->coordinator));
    memset(r->coordinator.seed, 7, sizeof(r->coordinator.seed));
    memset(&r->local, 0, sizeof(r->local));
    memset(r->misses, 0, sizeof(r->misses));
    memset(r->refuse_published_ms, 0, sizeof(r->refuse_published_ms));
    r->region_ticket = r->coordinator_ticket = 0;
    r->changed = true;
}

void world_kill(struct world *w, const char *region)
{
    unsigned i = world_region(w, region);

    set_up(w, i, false);
    memset(w->regions[i].may_write, 0, sizeof(w->regions[i].may_write));
    tell(w, "%s is killed", region);
}

void world_start(struct world *w, const char *region)
{
    unsigned i = world_region(w, region);

    forget(&w->regions[i], i);
    set_up(w, i, true);
    tell(w, "%s is started", region);
}

void world_pause(struct world *w, const char *region, bool stop_clock, bool slip)
{
    unsigned i = world_region(w, region);

    w->regions[i].stop_clock = stop_clock;
    w->clocks_stop = w->clocks_stop || stop_clock;
    w->regions[i].slip = slip;
    set_up(w, i, false);
    tell(w, "%s is paused", region);
}

/* Writes that passed their check before the pause are committed after it. */
static void let_slip(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    for (unsigned p = 0; r->slip && p < r->snapshot->partition_count; p++) {
        const struct mrd_authority *a = &r->snapshot->partitions[p].authority;
        if (a->region == i && a->state == MRD_AUTH_OPEN) {
            struct world_commit *c = wal_append(w, i, (int)p, a->epoch);
            c->acked = class_of(w, (int)p)->durability == MRD_ASYNC;
            w->acked += c->acked;
        }
    }
    r->slip = false;
}

void world_resume(struct world *w, const char *region)
{
    unsigned i = world_region(w, region);

    w->regions[i].stop_clock = false;
    set_up(w, i, true);
    tell(w, "%s is resumed", region);
    let_slip(w, i);
}

void world_lead(struct world *w, const char *region)
{
    mrd_memory_transfer(w->memory, world_region(w, region), w->now_ms * MS);
}

static unsigned first_up(const struct world *w)
{
    unsigned i = 0;

    while (!w->regions[i].up) {
        i++;
    }
    return i;
}

int world_drain(struct world *w, const char *region, bool drained, struct mrd_err *err)
{
    struct mrd_proposal *p = calloc(1, sizeof(*p));
    unsigned asked = first_up(w);
    int rc = mrd_drain_request(w->config, mrd_memory_store(w->memory, asked), region, drained,
                               "anna", w->now_ms, p, err);

    if (rc == 0) {
        (void)mrd_memory_propose(w->memory, asked, &p->txn, w->now_ms * MS);
    }
    free(p);
    return rc;
}

int world_move(struct world *w, const char *class_name, const char *to, struct mrd_err *err)
{
    struct mrd_proposal *p = calloc(1, sizeof(*p));
    unsigned asked = first_up(w);
    int rc;

    rc = mrd_move_request(w->config, mrd_memory_store(w->memory, asked), class_name, NULL, to,
                          "anna", w->now_ms, p, err);
    if (rc == 0) {
        (void)mrd_memory_propose(w->memory, asked, &p->txn, w->now_ms * MS);
    }
    free(p);
    return rc;
}

static int first_open(void *ctx, const struct mrd_entry *e)
{
    struct mrd_approval_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_approval_record_decode(&b, &r) == 0 && r.state != MRD_APPROVAL_OVER) {
        *(uint64_t *)ctx = r.id;
        return 1;
    }
    return 0;
}

int world_approve(struct world *w, const char *region, bool yes, const char *who,
                  struct mrd_err *err)
{
    struct mrd_proposal *p = calloc(1, sizeof(*p));
    unsigned asked = world_region(w, region);
    struct mrd_store *store = mrd_memory_store(w->memory, asked);
    uint64_t id = 0;
    int rc;

    (void)mrd_store_scan(store, "approval/", first_open, &id);
    rc = mrd_approval_request(w->config, store, id, yes, who, w->now_ms, p, err);
    if (rc == 0) {
        (void)mrd_memory_propose(w->memory, asked, &p->txn, w->now_ms * MS);
    }
    free(p);
    return rc;
}

/* ---- questions ---- */

const char *world_home(struct world *w, const char *region, const char *class_name)
{
    struct mrd_snapshot *s = w->regions[world_region(w, region)].snapshot;
    int p = mrd_snapshot_find(s, class_name, NULL);
    const struct mrd_authority *a = &s->partitions[p].authority;

    return a->state == MRD_AUTH_VACANT ? "" : s->regions[a->region].name;
}

bool world_writable(struct world *w, const char *region, const char *class_name)
{
    unsigned i = world_region(w, region);
    struct mrd_snapshot *s = w->regions[i].snapshot;

    return w->regions[i].up &&
           mrd_guard(s, mrd_snapshot_find(s, class_name, NULL), clock_of(w, i)).allow;
}

struct newest {
    const char *class_name;
    bool found;
    struct mrd_receipt_record *ret;
};

static int newest_receipt(void *ctx, const struct mrd_entry *e)
{
    struct newest *n = ctx;
    struct mrd_receipt_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_receipt_record_decode(&b, &r) == 0 && strcmp(r.class_name, n->class_name) == 0) {
        *n->ret = r;
        n->found = true;
    }
    return 0;
}

bool world_receipt(struct world *w, const char *region, const char *class_name,
                   struct mrd_receipt_record *ret)
{
    struct newest n = {class_name, false, ret};

    (void)mrd_store_scan(mrd_memory_store(w->memory, world_region(w, region)), "receipt/",
                         newest_receipt, &n);
    return n.found;
}

static int open_receipt(void *ctx, const struct mrd_entry *e)
{
    struct mrd_receipt_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    *(unsigned *)ctx += mrd_receipt_record_decode(&b, &r) == 0 &&
                        strcmp(r.kind, "failover") == 0 && r.returned_ms == 0;
    return 0;
}

unsigned world_open_receipts(struct world *w, const char *region)
{
    unsigned open = 0;

    (void)mrd_store_scan(mrd_memory_store(w->memory, world_region(w, region)), "receipt/",
                         open_receipt, &open);
    return open;
}

/* Everybody else applied it, or everybody else has it in the tail: nobody lacks it. */
static void expect_commit(struct world *w, unsigned o, const struct world_commit *c,
                          const struct mrd_authority_record *a)
{
    const struct mrd_conf_class *k = class_of(w, c->partition);
    const struct mrd_closed_record *h = epoch_of(w, a, o, c);
    bool counts = h != NULL ? c->lsn <= h->cut : a->epoch == c->epoch;
    uint8_t expected = counts ? 1 + MRD_ACCEPT : 1 + MRD_ACCEPT_TAIL;

    w->reconciled += !counts;
    for (unsigned j = 0; j < w->config->region_count; j++) {
        bool unfenced = !counts && h != NULL && (h->unfenced >> j & 1u) != 0;
        if (j != o && (k->replicas >> j & 1u) != 0 && c->fate[j] != expected && !unfenced) {
            broken(w, "%s: commit %llu of %s (%s, epoch %llu) has fate %u instead of %u",
                   w->config->regions[j].name, (unsigned long long)c->lsn,
                   w->config->regions[o].name, k->name, (unsigned long long)c->epoch,
                   c->fate[j], expected);
        }
    }
}

void world_expect_converged(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    w->write_every_ms = 0;
    world_run(w, 3000);
    check_cuts(w);
    w->reconciled = 0;
    for (unsigned p = 0; p < count; p++) {
        struct mrd_authority_record a;
        if (!furthest(w, p, &a) || a.state != MRD_AUTH_OPEN) {
            broken(w, "%s has no home", class_of(w, (int)p)->name);
        }
        for (unsigned o = 0; o < w->config->region_count; o++) {
            for (unsigned k = 0; k < w->regions[o].wal_count; k++) {
                const struct world_commit *c = &w->regions[o].wal[k];
                if (c->partition == (int)p) {
                    expect_commit(w, o, c, &a);
                }
            }
        }
    }
}
