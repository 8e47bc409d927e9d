/*
 * What a seed means: the world's shape, and a schedule of faults.
 *
 * Swarm testing (Groce et al., 2012): each world first draws which kinds of faults exist in it
 * and how hard they strike, and only then draws faults among those. A world where everything
 * happens at once rarely shows what one thing repeated does.
 *
 * All protocol times are multiplied by a scale from 1 to 8: the protocol does not know seconds,
 * and ten minutes of slower leases hold as many kinds of trouble in fewer events.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND (1000 * SIM_MS)

static const char *const names[SIM_REGIONS_MAX] = {"us", "eu", "ap", "sa", "af"};

static const char *const fault_names[SIM_FAULT_KINDS] = {
    [SIM_KILL_MACHINE] = "machine killed",
    [SIM_KILL_AGENT] = "agent killed",
    [SIM_KILL_POSTGRES] = "PostgreSQL killed",
    [SIM_PAUSE] = "paused",
    [SIM_SUSPEND] = "suspended with its clock",
    [SIM_ISOLATE] = "isolated",
    [SIM_CUT] = "link cut",
    [SIM_CUT_ONE_WAY] = "link cut one way",
    [SIM_SPLIT] = "network split",
    [SIM_SLOW_LINK] = "link slow",
    [SIM_LOSSY_LINK] = "link loses messages",
    [SIM_SLOW_DISK] = "disk slow",
    [SIM_DISK_FULL] = "disk full",
    [SIM_SLOW_POSTGRES] = "PostgreSQL slow",
    [SIM_SLOW_APPLY] = "applies slowly",
    [SIM_SLOW_COMMITS] = "commits held up after their check",
    [SIM_WALL_STEP] = "wall clock stepped",
    [SIM_CLOCK_RATE] = "clock off its rate",
    [SIM_LEAD] = "operator hands the store over",
    [SIM_MOVE] = "operator moves a home",
    [SIM_DIAL] = "operator dials its traffic",
    [SIM_EMPTY] = "operator drains it",
};

const char *sim_fault_name(enum sim_fault_kind kind)
{
    return fault_names[kind];
}

enum sim_fault_kind sim_fault_kind(const char *name)
{
    unsigned k = 0;

    while (k < SIM_FAULT_KINDS && strcmp(fault_names[k], name) != 0) {
        k++;
    }
    return (enum sim_fault_kind)k;
}

/* ---- configuration ---- */

static struct mrd_conf_class *add_class(struct mrd_config *c, const char *name,
                                        enum mrd_durability d, mrd_regions replicas)
{
    struct mrd_conf_class *k = &c->classes[c->class_count++];

    snprintf(k->name, sizeof(k->name), "%s", name);
    k->posture = MRD_ACTIVE_PASSIVE;
    k->durability = d;
    k->home = (mrd_region)__builtin_ctz(replicas);
    k->replicas = k->allowed = replicas;
    return k;
}

static void partition(struct mrd_config *c, struct mrd_conf_class *k)
{
    k->posture = MRD_PARTITIONED;
    k->home = MRD_REGION_NONE;
    for (unsigned i = 0; i < c->region_count; i++) {
        if ((k->replicas >> i & 1u) != 0) {
            snprintf(k->partitions[k->partition_count], MRD_NAME_MAX, "%s", c->regions[i].name);
            k->partition_home[k->partition_count++] = (mrd_region)i;
        }
    }
}

void sim_add_region(struct sim *w, const char *name)
{
    struct mrd_conf_region *r = &w->config->regions[w->config->region_count++];

    snprintf(r->name, MRD_NAME_MAX, "%s", name);
    r->latitude = r->longitude = __builtin_nan("");
    r->weight = 100;
}

void sim_add_class(struct sim *w, const char *name, enum mrd_durability durability, int home,
                   mrd_regions replicas, mrd_regions allowed)
{
    struct mrd_conf_class *k = add_class(w->config, name, durability, replicas);

    k->allowed = allowed;
    if (home < 0) {
        partition(w->config, k);
    } else {
        k->home = (mrd_region)home;
    }
}

/* Standbys that may be ahead of all others, but never home. */
static void forbid(struct mrd_conf_class *k, struct sim_random *r, unsigned permille)
{
    for (unsigned i = 0; i < SIM_REGIONS_MAX && sim_chance(r, permille); i++) {
        mrd_regions less = k->allowed & (mrd_regions) ~(1u << sim_below(r, SIM_REGIONS_MAX));
        if (__builtin_popcount(less) >= 2 && (less >> k->home & 1u) != 0) {
            k->allowed = less;
        }
    }
}

static void add_classes(struct mrd_config *c, struct sim_random *r, mrd_regions data)
{
    struct mrd_conf_class *orders = add_class(c, "orders", MRD_QUORUM, data);
    mrd_regions some = data;

    if (sim_chance(r, 400)) {
        partition(c, orders);
    } else {
        forbid(orders, r, 500);
    }
    add_class(c, "events", MRD_ASYNC, data);
    if (sim_chance(r, 600)) {
        for (unsigned i = 0; i < c->region_count; i++) {
            mrd_regions less = some & (mrd_regions) ~(1u << i);
            if (__builtin_popcount(less) >= 2 && sim_chance(r, 550)) {
                some = less;
            }
        }
        forbid(add_class(c, "accounts", MRD_ASYNC, some), r, 400);
    }
}

static void set_times(struct mrd_config *c, unsigned scale)
{
    c->lease_ms = 4000 * scale;
    c->lease_margin_ms = 500 * scale;
    c->commit_margin_ms = 300 * scale;
    c->renew_ms = 500 * scale;
    c->election_ms = 1200 * scale;
    c->heartbeat_ms = 150 * scale;
    c->probe_interval_ms = 500 * scale;
    c->probe_timeout_ms = 1000 * scale;
    c->probe_threshold = 3;
    c->lag_threshold_ms = 5000;
    c->stale_after_ms = 5000 * scale;
    c->dns_ttl_s = 30;
    c->version = 1;
}

static void configure(struct sim *w, struct sim_random *r)
{
    struct mrd_config *c = w->config;
    mrd_regions data;
    unsigned n = (unsigned)sim_between(r, 3, SIM_REGIONS_MAX);

    n = w->options->regions != 0 ? w->options->regions : n;
    data = (mrd_regions)((1u << n) - 1);
    for (unsigned i = 0; i < n; i++) {
        sim_add_region(w, names[i]);
    }
    if (n > 3 && sim_chance(r, 200)) {
        c->regions[n - 1].witness = true;
        data &= (mrd_regions) ~(1u << (n - 1));
    }
    add_classes(c, r, data);
    if (sim_chance(r, 150)) {
        c->failover = sim_chance(r, 500) ? MRD_FAILOVER_MANUAL : MRD_FAILOVER_TWO_PERSON;
    }
}

/* ---- links, clocks, habits ---- */

static void set_links(struct sim *w, struct sim_random *r)
{
    for (unsigned i = 0; i < SIM_REGIONS_MAX; i++) {
        for (unsigned j = 0; j < i; j++) {
            sim_us delay_us = sim_between(r, 1, 120) * SIM_MS;
            struct sim_link l = {.delay_us = delay_us, .jitter_us = 1 + delay_us / 20};
            l.duplicate = w->reorders ? sim_below(r, 50) : 0;
            l.reorder = w->reorders ? sim_below(r, 200) : 0;
            w->links[i][j] = w->links[j][i] = l;
        }
    }
}

/*
 * The bound of what a lease allows: one clock this much slow and another this much fast still
 * agree that it ended within its margin (4000 * 1.055 < 4500 / 1.055). Machines are far better.
 */
static int64_t drift_ppm(struct sim_random *r, bool hard)
{
    unsigned bound = hard ? 55000 : 200;

    if (hard) {
        return sim_chance(r, 500) ? 55000 : -55000;
    }
    return (int64_t)sim_below(r, 2 * bound + 1) - (int64_t)bound;
}

/*
 * What only shows when a few kinds come together often: some worlds have such a set, whatever
 * else they have.
 */
static const uint32_t together[] = {
#define K(kind) (1u << SIM_##kind)
    /* A lease must be waited for to its end: its home runs on, and nobody hears it. */
    K(ISOLATE) | K(SPLIT) | K(CUT),
    /* Homes fall one after another, and return, while others have taken over. */
    K(KILL_MACHINE) | K(KILL_POSTGRES) | K(KILL_AGENT),
    /* A new home is far behind the old one. */
    K(SLOW_APPLY) | K(SLOW_LINK) | K(KILL_POSTGRES) | K(CUT),
    /* Commits of an epoch that is over are still under way. */
    K(SLOW_COMMITS) | K(ISOLATE) | K(KILL_AGENT),
#undef K
};
#define TOGETHER (sizeof(together) / sizeof(together[0]))
#define LEASE_OUT 0 /* of them, where what is left of a margin must not be spent on waiting */

static void set_habits(struct sim *w, struct sim_random *r, bool brisk)
{
    bool hard = sim_chance(r, 550) || brisk;

    w->client_us = sim_between(r, 300, 1500) * SIM_MS * w->scale;
    w->status_us =
        (brisk ? sim_between(r, 60, 250) : sim_between(r, 200, 700)) * SIM_MS * w->scale;
    w->tick_us =
        (brisk ? sim_between(r, 100, 250) : sim_between(r, 200, 600)) * SIM_MS * w->scale;
    for (unsigned i = 0; i < SIM_REGIONS_MAX; i++) {
        struct sim_region *p = &w->regions[i];
        w->postgres_us[i] = sim_between(r, 1, 10) * SIM_MS;
        w->disk_us[i] = sim_between(r, 200, 5000);
        p->random.state = sim_random(r);
        p->rate_ppm = drift_ppm(r, hard);
    }
}

/* ---- the schedule ---- */

static void draw_amount(struct sim *w, struct sim_random *r, struct sim_fault *f)
{
    switch (f->kind) {
    case SIM_SLOW_LINK:
        f->amount = sim_between(r, 50, 2000) * SIM_MS;
        break;
    case SIM_LOSSY_LINK:
        f->amount = sim_between(r, 20, 600);
        break;
    case SIM_SLOW_DISK:
        f->amount = sim_between(r, 10, 1500) * SIM_MS * w->scale;
        break;
    case SIM_SLOW_POSTGRES:
        f->amount = sim_between(r, 50, 3000) * SIM_MS * w->scale;
        break;
    case SIM_SLOW_APPLY:
        f->amount = sim_between(r, 50, 3000) * SIM_MS * w->scale;
        break;
    case SIM_SLOW_COMMITS:
        f->amount = sim_between(r, 100, 12000) * SIM_MS * w->scale;
        break;
    case SIM_DIAL:
        f->amount = sim_below(r, 101);
        break;
    case SIM_SPLIT:
        f->amount = 1 + sim_below(r, (1u << w->config->region_count) - 2);
        break;
    case SIM_WALL_STEP:
    case SIM_CLOCK_RATE:
        f->amount = sim_random(r);
        break;
    default:
        break;
    }
}

static unsigned draw_weights(struct sim_random *r, uint32_t often,
                             unsigned weights[SIM_FAULT_KINDS])
{
    bool bad_clocks = sim_chance(r, 250) && often != together[LEASE_OUT];
    unsigned total = 0;

    for (unsigned k = 0; k < SIM_FAULT_KINDS; k++) {
        bool exists = sim_chance(r, k >= SIM_LEAD ? 700 : 350);
        if ((k == SIM_SUSPEND || k == SIM_CLOCK_RATE) && !bad_clocks) {
            exists = false;
        }
        weights[k] = exists ? 1 + sim_below(r, 8) : 0;
        weights[k] += (often >> k & 1u) != 0 ? 8 : 0;
        total += weights[k];
    }
    return total;
}

/* Two regions that hold the same: what one loses the other one finds. */
static void draw_focus(const struct sim *w, struct sim_random *r, unsigned ret[2])
{
    const struct mrd_config *c = w->config;
    mrd_regions left = c->classes[c->class_count - 1].replicas;

    for (unsigned k = 0; k < 2; k++) {
        do {
            ret[k] = sim_below(r, c->region_count);
        } while ((left >> ret[k] & 1u) == 0);
        left &= (mrd_regions) ~(1u << ret[k]);
    }
}

static void draw_faults(struct sim *w, struct sim_random *r, uint32_t often)
{
    unsigned n = w->config->region_count, weights[SIM_FAULT_KINDS];
    unsigned total = draw_weights(r, often, weights);
    bool bursts = sim_chance(r, 500), focused = sim_chance(r, 300);
    unsigned count = (unsigned)sim_between(r, 0, 60), focus[2];

    draw_focus(w, r, focus);
    for (unsigned i = 0; i < count && total > 0; i++) {
        struct sim_fault *f = &w->faults[w->fault_count++];
        unsigned pick = sim_below(r, total), k = 0;
        sim_us longest = (sim_chance(r, 600) ? 6 : 40) * SECOND * w->scale;
        while (pick >= weights[k]) {
            pick -= weights[k++];
        }
        f->kind = (enum sim_fault_kind)k;
        f->region =
            (uint8_t)(focused && sim_chance(r, 800) ? focus[sim_below(r, 2)] : sim_below(r, n));
        f->peer = (uint8_t)((f->region + 1 + sim_below(r, n - 1)) % n);
        f->partition = (uint8_t)sim_below(r, mrd_partition_count(w->config));
        f->at = sim_between(r, 10 * SECOND, w->heal_at - SECOND);
        if (bursts && i > 0 && sim_chance(r, 600)) { /* while the one before is dealt with */
            f->at = f[-1].at + sim_between(r, 0, 8 * SECOND * w->scale);
            f->at = f->at < w->heal_at - SECOND ? f->at : w->heal_at - SECOND;
        }
        f->until = f->at + sim_between(r, 100 * SIM_MS, longest);
        draw_amount(w, r, f);
    }
}

static void plan(struct sim *w)
{
    for (unsigned k = 0; k < w->fault_count; k++) {
        struct sim_event e = {.at = w->faults[k].at, .kind = SIM_FAULT, .a = k};
        if (w->options->skip[k]) {
            continue;
        }
        sim_push(w, &e);
        e.at = w->faults[k].until;
        e.b = 1;
        if (e.at < w->heal_at) {
            sim_push(w, &e);
        }
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct sim_event e = {.at = 5 * SECOND, .kind = SIM_CLIENT, .region = (uint8_t)i};
        if (!w->config->regions[i].witness) {
            sim_push(w, &e);
        }
    }
    if (w->config->failover != MRD_FAILOVER_AUTOMATIC) {
        sim_push(w, &(struct sim_event){.at = 5 * SECOND, .kind = SIM_PEOPLE});
    }
    sim_push(w, &(struct sim_event){.at = w->quiet_at, .kind = SIM_QUIET});
}

/*
 * Healed, a world has three tenths of its time to converge, but never less than the patience of
 * a few moves (core counts that in seconds) and leases.
 */
static void set_halves(struct sim *w)
{
    const sim_us all = w->minutes * (60 * (sim_us)SECOND), least = 180 * (sim_us)SECOND;
    sim_us rest = all * 3 / 10;

    w->heal_at = all - rest;
    rest = rest > least ? rest : least;
    w->quiet_at = w->heal_at + rest * 2 / 3;
    w->end_at = w->heal_at + rest;
}

static void draw(struct sim *w, struct sim_random *random)
{
    static const uint8_t scales[] = {1, 2, 2, 4, 4, 4, 8, 8, 8, 8};
    struct sim_random r = *random;
    unsigned pick = sim_below(&r, 2 * TOGETHER);

    w->minutes = w->options->minutes != 0 ? w->options->minutes : 10;
    w->scale = scales[sim_below(&r, sizeof(scales) / sizeof(scales[0]))];
    set_halves(w);
    w->compact = sim_chance(&r, 500) ? (unsigned)sim_between(&r, 8, 200) : 0;
    w->trailing = (unsigned)sim_between(&r, 1, 60);
    w->reorders = sim_chance(&r, 200);
    w->net.state = sim_random(&r);
    w->people.state = sim_random(&r);
    configure(w, &r);
    set_links(w, &r);
    set_habits(w, &r, pick == LEASE_OUT);
    draw_faults(w, &r, pick < TOGETHER ? together[pick] : 0);
}

/* Shape and faults as written, chance from the seed. */
static void tell_again(struct sim *w, struct sim_random *r)
{
    struct sim_story_error error;
    bool read = sim_story_read(w, w->options->story, &error);

    mrd_assert(read); /* sim_story_check comes first */
    w->net.state = sim_random(r);
    w->people.state = sim_random(r);
    for (unsigned i = 0; i < SIM_REGIONS_MAX; i++) {
        w->regions[i].random.state = sim_random(r);
    }
}

void sim_swarm(struct sim *w)
{
    struct sim_random r = {w->options->seed * 0x2545f4914f6cdd1dull + 0x9e3779b97f4a7c15ull};

    if (w->options->story != NULL) {
        tell_again(w, &r);
    } else {
        draw(w, &r);
    }
    set_times(w->config, w->scale);
    set_halves(w);
    plan(w);
    sim_words_world(w);
}

/* ---- striking ---- */

static void cut(struct sim *w, unsigned a, unsigned b, bool both, bool is)
{
    w->links[a][b].cut = is;
    w->links[b][a].cut = both ? is : w->links[b][a].cut;
}

static void split(struct sim *w, uint64_t side, bool is)
{
    for (unsigned i = 0; i < w->config->region_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if ((side >> i & 1u) != (side >> j & 1u)) {
                cut(w, i, j, true, is);
            }
        }
    }
}

static void slow_link(struct sim *w, const struct sim_fault *f, bool is)
{
    w->links[f->region][f->peer].extra_us = is ? f->amount : 0;
    w->links[f->peer][f->region].extra_us = is ? f->amount : 0;
}

static void lossy_link(struct sim *w, const struct sim_fault *f, bool is)
{
    w->links[f->region][f->peer].loss = is ? (unsigned)f->amount : 0;
    w->links[f->peer][f->region].loss = is ? (unsigned)f->amount : 0;
}

/* Up to an hour to either side. Nothing but what people read may change. */
static void step_wall(struct sim *w, const struct sim_fault *f)
{
    w->regions[f->region].wall_offset_ms = (int64_t)(f->amount % 7200000) - 3600000;
}

/* A quarter faster or slower. */
static void bend_clock(struct sim *w, const struct sim_fault *f, bool is)
{
    w->clocks_valid = false;
    sim_clock_rate(w, f->region, is ? (int64_t)(f->amount % 500000) - 250000 : 0);
}

/* What an operator asks of an agent, through what its API calls: refused at once, or proposed.
 */
static int request(struct sim *w, const struct sim_fault *f, bool is, struct mrd_proposal *p,
                   char said[160], struct mrd_err *err)
{
    const struct mrd_store *store = w->regions[f->peer].store;
    const char *name, *region = sim_name(w, f->region);
    const struct mrd_conf_class *k = mrd_partition_at(w->config, f->partition, &name);
    unsigned percent = is ? (unsigned)f->amount : 100;
    uint64_t wall_ms = sim_wall_ms(w, f->peer);

    switch (f->kind) {
    case SIM_MOVE:
        snprintf(said, 160, "move %s/%s to %s", k->name, name, region);
        return mrd_move_request(w->config, store, k->name, name, region, "anna", wall_ms, p,
                                err);
    case SIM_DIAL:
        snprintf(said, 160, "dial %s to %u%%", region, percent);
        return mrd_dial_request(w->config, store, region, percent, "anna", wall_ms, p, err);
    default:
        snprintf(said, 160, "%s %s", is ? "drain" : "undrain", region);
        return mrd_drain_request(w->config, store, region, is, "anna", wall_ms, p, err);
    }
}

static void ask(struct sim *w, unsigned index, bool is)
{
    const struct sim_fault *f = &w->faults[index];
    struct sim_region *r = &w->regions[f->peer];
    struct mrd_err err = {0};
    struct mrd_proposal *p;
    char said[160];
    int rc;

    if (!r->agent_up || r->paused) {
        return; /* idle() says so */
    }
    p = calloc(1, sizeof(*p));
    mrd_assert(p != NULL);
    rc = request(w, f, is, p, said, &err);
    if (rc != 0) {
        sim_words_operator(w, index, "%s: %s: refused, %s", sim_name(w, f->peer), said,
                           err.text);
    } else if (sim_propose(w, f->peer, &p->txn, 15) != 0) {
        rc = MRD_EUNAVAILABLE;
        sim_words_operator(w, index, "%s: %s: refused, no leader of the store is known there",
                           sim_name(w, f->peer), said);
    } else {
        sim_words_operator(w, index, "%s: %s", sim_name(w, f->peer), said);
    }
    w->report->took += is && rc == 0;
    w->report->idle += is && rc != 0;
    free(p);
}

/* A process, or all of a machine, does not run. */
static void stop(struct sim *w, const struct sim_fault *f, bool is)
{
    bool machine_up = w->regions[f->region].machine_up;

    switch (f->kind) {
    case SIM_KILL_MACHINE:
        sim_machine(w, f->region, !is);
        break;
    case SIM_KILL_AGENT:
        sim_agent(w, f->region, !is && machine_up);
        break;
    case SIM_KILL_POSTGRES:
        sim_postgres(w, f->region, !is && machine_up);
        break;
    case SIM_SUSPEND:
        w->clocks_valid = false;
        sim_pause(w, f->region, is, true);
        break;
    default:
        sim_pause(w, f->region, is, false);
        break;
    }
}

/* What takes moments takes long. */
static void slow_down(struct sim *w, const struct sim_fault *f, bool is)
{
    switch (f->kind) {
    case SIM_SLOW_DISK:
        w->disk_us[f->region] = is ? f->amount : 1000;
        break;
    case SIM_SLOW_POSTGRES:
        w->postgres_us[f->region] = is ? f->amount : 5 * SIM_MS;
        break;
    case SIM_SLOW_APPLY:
        w->apply_us[f->region] = is ? f->amount : 0;
        break;
    default:
        w->slip_us[f->region] = is ? f->amount : 0;
        break;
    }
}

static void strike(struct sim *w, unsigned index, bool is)
{
    const struct sim_fault *f = &w->faults[index];
    struct sim_region *r = &w->regions[f->region];

    switch (f->kind) {
    case SIM_KILL_MACHINE:
    case SIM_KILL_AGENT:
    case SIM_KILL_POSTGRES:
    case SIM_PAUSE:
    case SIM_SUSPEND:
        stop(w, f, is);
        break;
    case SIM_ISOLATE:
        split(w, 1u << f->region, is);
        break;
    case SIM_CUT:
    case SIM_CUT_ONE_WAY:
        cut(w, f->region, f->peer, f->kind == SIM_CUT, is);
        break;
    case SIM_SPLIT:
        split(w, f->amount, is);
        break;
    case SIM_SLOW_LINK:
        slow_link(w, f, is);
        break;
    case SIM_LOSSY_LINK:
        lossy_link(w, f, is);
        break;
    case SIM_SLOW_DISK:
    case SIM_SLOW_POSTGRES:
    case SIM_SLOW_APPLY:
    case SIM_SLOW_COMMITS:
        slow_down(w, f, is);
        break;
    case SIM_DISK_FULL:
        r->disk_full = is;
        break;
    case SIM_WALL_STEP:
        step_wall(w, f);
        break;
    case SIM_CLOCK_RATE:
        bend_clock(w, f, is);
        break;
    case SIM_LEAD:
        if (is && r->agent_up && !r->paused) {
            sim_server_transfer(w, f->region, f->peer);
        }
        break;
    case SIM_MOVE:
        if (is) {
            ask(w, index, is);
        }
        break;
    case SIM_DIAL:
    case SIM_EMPTY:
        ask(w, index, is);
        break;
    case SIM_FAULT_KINDS:
        break;
    }
}

/* Requests that are answered count by their answer: ask(). */
static bool asks(const struct sim_fault *f)
{
    return f->kind == SIM_MOVE || f->kind == SIM_DIAL || f->kind == SIM_EMPTY;
}

/* Is a link of those that @f is about so, cut or whole? */
static bool any_link(const struct sim *w, const struct sim_fault *f, bool is_cut)
{
    uint64_t side = f->kind == SIM_SPLIT ? f->amount : 1ull << f->region;

    if (f->kind == SIM_CUT || f->kind == SIM_CUT_ONE_WAY) {
        return w->links[f->region][f->peer].cut == is_cut ||
               (f->kind == SIM_CUT && w->links[f->peer][f->region].cut == is_cut);
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        for (unsigned j = 0; j < w->config->region_count; j++) {
            if ((side >> i & 1u) != (side >> j & 1u) && w->links[i][j].cut == is_cut) {
                return true;
            }
        }
    }
    return false;
}

static const char *idle_process(const struct sim *w, const struct sim_fault *f, bool is)
{
    const struct sim_region *r = &w->regions[f->region];

    switch (f->kind) {
    case SIM_KILL_MACHINE:
        return r->machine_up == is ? NULL
               : is                ? "its machine is down already"
                                   : "its machine runs already";
    case SIM_KILL_AGENT:
        return !is && !r->machine_up ? "its machine is down"
               : r->agent_up == is   ? NULL
               : is                  ? "no agent runs there"
                                     : "its agent runs already";
    case SIM_KILL_POSTGRES:
        return w->config->regions[f->region].witness
                   ? "a region that only votes has no PostgreSQL"
               : !is && !r->machine_up ? "its machine is down"
               : r->postgres_up == is  ? NULL
               : is                    ? "no PostgreSQL runs there"
                                       : "its PostgreSQL runs already";
    default: /* paused, suspended */
        return r->paused != is ? NULL : is ? "it stands still already" : "it goes on already";
    }
}

/* Why @f changes nothing as it begins (@is) or ends; NULL: it does, or ask() will say. */
static const char *idle(const struct sim *w, const struct sim_fault *f, bool is)
{
    const struct sim_region *r = &w->regions[asks(f) ? f->peer : f->region];

    switch (f->kind) {
    case SIM_KILL_MACHINE:
    case SIM_KILL_AGENT:
    case SIM_KILL_POSTGRES:
    case SIM_PAUSE:
    case SIM_SUSPEND:
        return idle_process(w, f, is);
    case SIM_ISOLATE:
    case SIM_CUT:
    case SIM_CUT_ONE_WAY:
    case SIM_SPLIT:
        return any_link(w, f, !is) ? NULL : is ? "cut already" : "whole already";
    case SIM_SLOW_POSTGRES:
    case SIM_SLOW_APPLY:
    case SIM_SLOW_COMMITS:
        return w->config->regions[f->region].witness
                   ? "a region that only votes has no PostgreSQL"
                   : NULL;
    case SIM_DISK_FULL:
        return r->disk_full != is ? NULL : is ? "full already" : "there is room already";
    case SIM_LEAD:
    case SIM_MOVE:
    case SIM_DIAL:
    case SIM_EMPTY:
        return !r->agent_up ? "no agent runs where the operator asks"
               : r->paused  ? "where the operator asks everything stands still"
               : f->kind == SIM_LEAD && is && !sim_server_leads(w, f->region)
                   ? "the agent that the operator asks does not lead the store"
                   : NULL;
    default:
        return NULL;
    }
}

void sim_fault(struct sim *w, unsigned index, bool begins)
{
    const struct sim_fault *f = &w->faults[index];
    const char *why = idle(w, f, begins);

    w->struck += begins;
    if (why != NULL) {
        sim_words_idle(w, index, begins, why);
        w->report->idle += begins;
    } else if (f->kind == SIM_LEAD && begins) {
        sim_words_operator(w, index, "%s: let %s lead the store", sim_name(w, f->region),
                           sim_name(w, f->peer));
    } else {
        sim_words_fault(w, index, begins);
    }
    w->report->took += begins && why == NULL && !asks(f);
    strike(w, index, begins);
}

void sim_heal(struct sim *w)
{
    sim_tell(w, "everything is healed: from here on the world must converge, and stay so");
    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct sim_region *r = &w->regions[i];
        for (unsigned j = 0; j < w->config->region_count; j++) {
            w->links[i][j].cut = false;
            w->links[i][j].extra_us = 0;
            w->links[i][j].loss = 0;
        }
        w->disk_us[i] = 1000;
        w->postgres_us[i] = 5 * SIM_MS;
        w->slip_us[i] = 0;
        w->apply_us[i] = 0;
        r->disk_full = false;
        sim_pause(w, i, false, false);
        sim_clock_rate(w, i, 0);
        sim_machine(w, i, true);
        sim_postgres(w, i, true);
        sim_agent(w, i, true);
    }
}
