/*
 * One world: clocks, links, machines, and the loop (sim.h, world.h).
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- telling ---- */

/* The digest takes in @x. */
static void mix(struct sim *w, uint64_t x)
{
    w->trace = (w->trace ^ x) * 0x9e3779b97f4a7c15ull;
    w->trace ^= w->trace >> 29;
}

void sim_say(struct sim *w, const struct sim_fact *fact)
{
    mix(w, w->now << 8 | fact->kind);
    mix(w, (uint64_t)fact->region << 48 ^ (uint64_t)fact->peer << 40 ^
               (uint64_t)fact->partition << 32 ^ fact->record ^ fact->number << 20);
    for (const struct sim_property *p = sim_properties; p->name != NULL; p++) {
        p->look(w, fact);
    }
}

void sim_tell(struct sim *w, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (!w->options->tell) {
        return;
    }
    if (w->story_room - w->story_len < 1024) {
        w->story_room = w->story_room == 0 ? 65536 : 2 * w->story_room;
        w->story = realloc(w->story, w->story_room);
        mrd_assert(w->story != NULL);
    }
    w->story_len += (size_t)snprintf(w->story + w->story_len, 32, "[%llu.%03llu] ",
                                     (unsigned long long)(w->now / 1000000),
                                     (unsigned long long)(w->now / 1000 % 1000));
    va_start(ap, fmt);
    n = vsnprintf(w->story + w->story_len, 900, fmt, ap);
    va_end(ap);
    w->story_len += n < 900 ? (size_t)n : 899;
    w->story[w->story_len++] = '\n';
    w->story[w->story_len] = '\0';
}

void sim_broken(struct sim *w, const char *name, const char *fmt, ...)
{
    va_list ap;

    if (w->report->broken != NULL) {
        return;
    }
    w->report->broken = name;
    w->report->at_ms = w->now / SIM_MS;
    va_start(ap, fmt);
    vsnprintf(w->report->how, sizeof(w->report->how), fmt, ap);
    va_end(ap);
    sim_tell(w, "BROKEN %s: %s", name, w->report->how);
}

/* ---- names and clocks ---- */

const char *sim_name(const struct sim *w, unsigned region)
{
    return w->config->regions[region].name;
}

const struct mrd_conf_class *sim_class(const struct sim *w, unsigned partition)
{
    const char *name;

    return mrd_partition_at(w->config, partition, &name);
}

uint64_t sim_boot_ns(const struct sim *w, unsigned region)
{
    const struct sim_region *r = &w->regions[region];
    uint64_t us = w->now - r->clock_at;

    if (r->paused && r->clock_stops) {
        return r->clock_ns;
    }
    return r->clock_ns + us * SIM_NS_PER_US +
           (uint64_t)((int64_t)us * r->rate_ppm / 1000); /* ppm of us, in ns */
}

uint64_t sim_wall_ms(const struct sim *w, unsigned region)
{
    return (uint64_t)(1700000000000ll + (int64_t)(w->now / SIM_MS) +
                      w->regions[region].wall_offset_ms);
}

static void clock_sync(struct sim *w, unsigned region)
{
    w->regions[region].clock_ns = sim_boot_ns(w, region);
    w->regions[region].clock_at = w->now;
}

void sim_clock_rate(struct sim *w, unsigned region, int64_t rate_ppm)
{
    clock_sync(w, region);
    w->regions[region].rate_ppm = rate_ppm;
}

const struct mrd_snapshot *sim_snapshot(const struct sim *w, unsigned region)
{
    const struct sim_region *r = &w->regions[region];

    return r->has_snapshot ? &r->node->snapshot : NULL;
}

/* ---- links ---- */

bool sim_linked(const struct sim *w, unsigned a, unsigned b)
{
    return w->regions[a].machine_up && w->regions[b].machine_up && !w->regions[a].paused &&
           !w->regions[b].paused && !w->links[a][b].cut && !w->links[b][a].cut;
}

bool sim_send(struct sim *w, unsigned from, unsigned to, sim_us *ret_at)
{
    struct sim_link *l = &w->links[from][to];
    sim_us at = w->now + l->delay_us + l->extra_us;

    if (from == to) {
        *ret_at = w->now;
        return true;
    }
    if (l->cut || !w->regions[to].machine_up ||
        (l->loss != 0 && sim_chance(&w->net, l->loss))) {
        return false;
    }
    if (l->jitter_us != 0) {
        at += sim_random(&w->net) % l->jitter_us;
    }
    if (at < l->last_at && (l->reorder == 0 || !sim_chance(&w->net, l->reorder))) {
        at = l->last_at;
    }
    l->last_at = at > l->last_at ? at : l->last_at;
    *ret_at = at;
    return true;
}

/* ---- processes ---- */

/* A store on tmpfs, and the clock of this boot. */
static void forget_boot(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];

    r->has_snapshot = false;
    r->clock_ns = 1000000000ull + sim_below(&w->net, 1000) * 1000000ull;
    r->clock_at = w->now;
}

void sim_agent(struct sim *w, unsigned i, bool up)
{
    struct sim_region *r = &w->regions[i];

    if (r->agent_up == up) {
        return;
    }
    r->agent_up = up;
    r->agent_life++;
    if (up) {
        sim_agent_start(w, i);
    } else {
        sim_agent_stop(w, i);
    }
}

void sim_postgres(struct sim *w, unsigned i, bool up)
{
    struct sim_region *r = &w->regions[i];

    if (r->postgres_up == up || w->config->regions[i].witness) {
        return;
    }
    r->postgres_up = up;
    r->postgres_life++;
    if (!up) {
        sim_postgres_stop(w, i);
    }
}

void sim_machine(struct sim *w, unsigned i, bool up)
{
    struct sim_region *r = &w->regions[i];

    if (r->machine_up == up) {
        return;
    }
    if (!up) {
        sim_agent(w, i, false);
        sim_postgres(w, i, false);
        r->edge_up = false;
        r->machine_life++;
        r->machine_up = false;
        return;
    }
    r->machine_up = true;
    forget_boot(w, i);
    r->edge_up = !w->config->regions[i].witness;
    sim_postgres(w, i, true);
    sim_agent(w, i, true);
}

static void unpark(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    size_t n = r->parked_count;

    r->parked_count = 0;
    for (size_t k = 0; k < n; k++) {
        r->parked[k].at = w->now;
        sim_push(w, &r->parked[k]);
    }
}

void sim_pause(struct sim *w, unsigned i, bool paused, bool clock_stops)
{
    struct sim_region *r = &w->regions[i];

    if (r->paused == paused) {
        return;
    }
    clock_sync(w, i);
    r->paused = paused;
    r->clock_stops = clock_stops;
    if (!paused) {
        unpark(w, i);
    }
}

/* ---- the loop ---- */

static void park(struct sim *w, const struct sim_event *e)
{
    struct sim_region *r = &w->regions[e->region];

    if (r->parked_count == r->parked_room) {
        r->parked_room = r->parked_room == 0 ? 64 : 2 * r->parked_room;
        r->parked = realloc(r->parked, r->parked_room * sizeof(*r->parked));
        mrd_assert(r->parked != NULL);
    }
    r->parked[r->parked_count++] = *e;
}

static void check(struct sim *w, const struct sim_event *e)
{
    struct sim_event again = *e;

    for (unsigned i = 0; i < w->config->region_count; i++) {
        for (unsigned o = 0; o < w->config->region_count && w->regions[i].postgres_up; o++) {
            mix(w, w->regions[i].postgres.streams[o].taken);
        }
    }
    sim_healed_look(w, false);
    again.at = w->now + 500 * SIM_MS * w->scale;
    sim_push(w, &again);
}

static void raft_timer(struct sim *w, const struct sim_event *e)
{
    sim_server_timer(w, e->region);
}

static void raft_message(struct sim *w, const struct sim_event *e)
{
    sim_server_receive(w, e->region, e->p);
}

static void raft_disk(struct sim *w, const struct sim_event *e)
{
    sim_server_written(w, e->region);
}

static void raft_image(struct sim *w, const struct sim_event *e)
{
    sim_server_installed(w, e->region);
}

static void fault(struct sim *w, const struct sim_event *e)
{
    sim_fault(w, (unsigned)e->a, e->b == 0);
}

static void quiet(struct sim *w, const struct sim_event *e)
{
    (void)e;
    w->quiet = true;
    sim_tell(w, "clients stop writing");
}

/*
 * To whom an event happens, and what is done then. What is for a process that has died since is
 * dropped; what is for a region that is paused waits; fate is the world's own.
 */
enum whose { FATE, REGION, AGENT, POSTGRES };

static const struct {
    enum whose whose;
    void (*happen)(struct sim *w, const struct sim_event *e);
} kinds[] = {
    [SIM_RAFT_TIMER] = {AGENT, raft_timer},
    [SIM_RAFT_MESSAGE] = {AGENT, raft_message},
    [SIM_RAFT_DISK] = {AGENT, raft_disk},
    [SIM_RAFT_IMAGE] = {AGENT, raft_image},
    [SIM_PROPOSE] = {AGENT, sim_agent_event},
    [SIM_RESULT] = {AGENT, sim_agent_event},
    [SIM_AGENT] = {AGENT, sim_agent_event},
    [SIM_CANARY] = {AGENT, sim_agent_event},
    [SIM_STATUS] = {AGENT, sim_agent_event},
    [SIM_PROMOTE] = {AGENT, sim_agent_event},
    [SIM_DRAIN] = {AGENT, sim_agent_event},
    [SIM_STREAM] = {POSTGRES, sim_postgres_event},
    [SIM_ACK] = {POSTGRES, sim_postgres_event},
    [SIM_COMPARE] = {POSTGRES, sim_postgres_event},
    [SIM_BEGIN] = {POSTGRES, sim_postgres_event},
    [SIM_PRECOMMIT] = {POSTGRES, sim_postgres_event},
    [SIM_COMMIT] = {POSTGRES, sim_postgres_event},
    [SIM_CLIENT] = {REGION, sim_client_event},
    [SIM_FAULT] = {FATE, fault},
    [SIM_QUIET] = {FATE, quiet},
    [SIM_PEOPLE] = {FATE, sim_people},
    [SIM_CHECK] = {FATE, check},
};

static bool is_for_the_dead(const struct sim *w, const struct sim_event *e)
{
    const struct sim_region *r = &w->regions[e->region];

    switch (kinds[e->kind].whose) {
    case AGENT:
        return !r->agent_up || e->life != r->agent_life;
    case POSTGRES:
        return !r->postgres_up || e->life != r->postgres_life;
    default:
        return false;
    }
}

static void discard(const struct sim_event *e)
{
    if (e->kind == SIM_RAFT_MESSAGE) {
        sim_message_free(e->p);
    }
}

static void run_until(struct sim *w, sim_us until)
{
    struct sim_event e;

    while (w->report->broken == NULL && w->queue.count > 0 && w->queue.heap[0].at <= until) {
        (void)sim_pop(w, &e);
        w->now = e.at;
        if (is_for_the_dead(w, &e)) {
            discard(&e);
        } else if (kinds[e.kind].whose != FATE && w->regions[e.region].paused) {
            park(w, &e);
        } else {
            kinds[e.kind].happen(w, &e);
        }
    }
    w->now = until > w->now && w->report->broken == NULL ? until : w->now;
}

/* ---- a world from its seed to its end ---- */

struct sim *sim_draw(const struct sim_options *options)
{
    static struct sim_report nobody_reads;
    struct sim *w = calloc(1, sizeof(*w));

    mrd_assert(w != NULL);
    w->options = options;
    w->report = &nobody_reads;
    w->clocks_valid = true;
    w->config = calloc(1, sizeof(*w->config));
    w->scratch = malloc(MRD_TXN_MAX);
    w->txn = calloc(1, sizeof(*w->txn));
    mrd_assert(w->config != NULL && w->scratch != NULL && w->txn != NULL);
    w->payload_count = 1;
    sim_swarm(w);
    return w;
}

static void boot(struct sim *w)
{
    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct sim_region *r = &w->regions[i];
        r->node = calloc(1, sizeof(*r->node));
        mrd_assert(r->node != NULL);
        sim_machine(w, i, true);
    }
}

/* Every region joined before the story begins: each has had a first record of each other's. */
static void join(struct sim *w)
{
    for (unsigned o = 0; o < w->config->region_count; o++) {
        (void)sim_wal_append(w, o, SIM_REC_HEARTBEAT);
        for (unsigned i = 0; i < w->config->region_count; i++) {
            w->regions[i].postgres.streams[o].taken = 1;
        }
    }
}

void sim_drop(struct sim *w)
{
    struct sim_event e;

    while (sim_pop(w, &e)) {
        discard(&e);
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct sim_region *r = &w->regions[i];
        for (size_t k = 0; k < r->parked_count; k++) {
            discard(&r->parked[k]);
        }
        if (r->agent_up) {
            sim_agent_stop(w, i);
        }
        sim_server_free(&r->server);
        free(r->parked);
        free(r->node);
        free(r->postgres.wal);
    }
    for (size_t k = 1; k < w->payload_count; k++) {
        free(w->payloads[k].bytes);
    }
    free(w->payloads);
    free(w->committed);
    free(w->queue.heap);
    free(w->queue.events);
    free(w->queue.free);
    free(w->config);
    free(w->scratch);
    free(w->txn);
    free(w);
}

bool sim_run(const struct sim_options *options, struct sim_report *ret)
{
    struct sim *w = sim_draw(options);
    struct sim_event check_first = {.at = SIM_MS, .kind = SIM_CHECK};
    bool held;

    sim_arena_begin();
    *ret = (struct sim_report){0};
    w->report = ret;
    boot(w);
    join(w);
    sim_push(w, &check_first);
    run_until(w, w->heal_at);
    if (ret->broken == NULL) {
        sim_heal(w);
        run_until(w, w->end_at);
    }
    if (ret->broken == NULL) {
        sim_healed_look(w, true);
        sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_END});
    }
    mix(w, w->now);
    ret->trace = w->trace;
    ret->faults = w->fault_count;
    ret->story = w->story;
    held = ret->broken == NULL;
    sim_drop(w);
    sim_arena_end();
    return held;
}
