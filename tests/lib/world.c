/*
 * The small world (world.h): building it, its clocks and links, the loop, and faults.
 *
 * A tick is ten virtual milliseconds: links and the store first, then each region's PostgreSQL,
 * then its agent, then the laws. Regions are always visited in the order of the configuration,
 * and the only chance is the store's, which is seeded: a seed is a run.
 */
#include "world_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORY_FROM 1000 /* virtual clocks begin here: zero means "never" in many places */

mrd_boot_ns world_clock_ns(const struct world *w, unsigned i)
{
    const struct world_region *r = &w->regions[i];
    uint64_t ms = w->now_ms - r->stopped_ms;

    return (mrd_boot_ns)((int64_t)(ms * MS) + (int64_t)ms * r->rate_ppm +
                         (int64_t)i * 1000000000000ll);
}

uint64_t world_wall_ms(const struct world *w, unsigned i)
{
    return w->now_ms + w->regions[i].wall_ahead_ms;
}

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

const struct mrd_conf_class *world_class(const struct world *w, int partition)
{
    const char *name;

    return mrd_partition_at(w->config, (unsigned)partition, &name);
}

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
    mrd_boot_ns now_ns = world_clock_ns(w, at->region);

    world_note_event(w, e);
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

bool world_passes(const struct world *w, unsigned from, unsigned to)
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
            world_postgres(w, i);
        }
        for (unsigned i = 0; i < w->config->region_count; i++) {
            world_agent(w, i);
        }
        world_check_writers(w);
        world_check_epochs(w);
        if (w->now_ms % 500 == 0) {
            world_check_cuts(w);
        }
    }
}

static bool all_settled(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned p = 0; p < count; p++) {
        bool open = false;
        for (unsigned i = 0; i < w->config->region_count; i++) {
            open =
                open || mrd_guard(w->regions[i].snapshot, (int)p, world_clock_ns(w, i)).allow;
        }
        if (!open) {
            return false;
        }
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        if (w->regions[i].region.deadline_ns <= world_clock_ns(w, i)) {
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
        world_broken(w, "the world does not settle");
    }
    world_run(w, 1000);
}

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
    world_note(w, "%s is killed", region);
}

void world_start(struct world *w, const char *region)
{
    unsigned i = world_region(w, region);

    forget(&w->regions[i], i);
    set_up(w, i, true);
    world_note(w, "%s is started", region);
}

void world_pause(struct world *w, const char *region, bool stop_clock, bool slip)
{
    unsigned i = world_region(w, region);

    w->regions[i].stop_clock = stop_clock;
    w->clocks_stop = w->clocks_stop || stop_clock;
    w->regions[i].slip = slip;
    set_up(w, i, false);
    world_note(w, "%s is paused", region);
}

/* Writes that passed their check before the pause are committed after it. */
static void let_slip(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    for (unsigned p = 0; r->slip && p < r->snapshot->partition_count; p++) {
        const struct mrd_authority *a = &r->snapshot->partitions[p].authority;
        if (a->region == i && a->state == MRD_AUTH_OPEN) {
            struct world_commit *c = world_append(w, i, (int)p, a->epoch);
            c->acked = world_class(w, (int)p)->durability == MRD_ASYNC;
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
    world_note(w, "%s is resumed", region);
    let_slip(w, i);
}

void world_lead(struct world *w, const char *region)
{
    mrd_memory_transfer(w->memory, world_region(w, region), w->now_ms * MS);
}

struct world *world_begin(struct world *w, const char *leader)
{
    world_configure(w);
    world_settle(w);
    world_lead(w, leader);
    w->write_every_ms = 50;
    world_run(w, 2000);
    world_tell(w);
    return w;
}
