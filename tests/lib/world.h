/*
 * A small world for the protocol's stories: N regions with the real control code, the in-memory
 * store between them, virtual time, and a model of PostgreSQL that is just honest enough: a WAL
 * of stamped commits per region, streams that obey the snapshot, a guard that asks mrd_guard.
 *
 * Everything that decides is the shipped code. What is modelled (links, probes, WAL, streams)
 * is in world*.c, and world_laws.c checks the laws after every tick:
 *
 *   one writer    at no instant would two regions' guards let a partition of an async class be
 *                 written, unless a machine was suspended together with its clock; a quorum
 *                 class is promoted before the lease ends, and there the third law counts
 *   epochs        no replica ever sees an epoch go back
 *   acknowledged  no acknowledged commit of a quorum class lies past the cut of its epoch
 *   cut           nobody but its origin keeps a commit past the cut of its epoch, save replicas
 *                 that the closed epoch still names as unfenced
 *
 * A broken law makes the test fail with the seed and the time.
 */
#pragma once

#include <mrd/control.h>
#include <mrd/store_memory.h>
#include <mrd/verdict.h>

#define WORLD_TICK_MS 10
#define WORLD_COMMITS_MAX 8192

struct world_commit {
    uint64_t at_ms;
    mrd_lsn lsn;
    int partition; /* -1: a heartbeat */
    mrd_epoch epoch;
    bool acked;
    uint8_t fate[MRD_REGIONS_MAX]; /* 0: not there, else 1 + enum mrd_accept */
};

struct world_region {
    bool up; /* false: killed or paused */
    bool paused;
    int64_t rate_ppm;       /* its clock against true time */
    uint64_t stopped_ms;    /* how long its clock stood still (a suspended machine) */
    uint64_t wall_ahead_ms; /* its wall clock against true time; may wrap */
    bool stop_clock;        /* it stands still during the present pause */

    struct mrd_region_state region;
    struct mrd_coordinator coordinator;
    struct mrd_local local;
    struct mrd_snapshot *snapshot; /* as published; survives the agent */
    struct mrd_proposal *region_proposal, *coordinator_proposal;
    int sent_to; /* the store's leader when something was last sent */
    uint64_t region_ticket, coordinator_ticket, region_sent_ms, coordinator_sent_ms;
    uint64_t next_canary_ms, next_status_ms, next_probe_ms, next_step_ms;
    bool changed; /* its store changed since its last step */
    unsigned misses[MRD_REGIONS_MAX];
    uint64_t refuse_published_ms[MRD_REGIONS_MAX]; /* 0: no such order published */
    bool slip; /* one write is between check and commit when the pause begins */

    struct world_commit *wal;
    unsigned wal_count;
    unsigned taken[MRD_REGIONS_MAX]; /* commits of each origin that were taken, in order */
    mrd_epoch opened[MRD_PARTITIONS_MAX];
    mrd_epoch compared[MRD_PARTITIONS_MAX]; /* as sim/postgres.c has it */
    uint64_t first_write_ms[MRD_PARTITIONS_MAX];
    bool may_write[MRD_PARTITIONS_MAX]; /* as told in the story */
    mrd_epoch seen_epoch[MRD_PARTITIONS_MAX];
};

struct world {
    struct mrd_config *config;
    struct mrd_memory *memory;
    uint64_t now_ms, seed;
    bool cut[MRD_REGIONS_MAX][MRD_REGIONS_MAX];
    uint64_t delay_ms[MRD_REGIONS_MAX][MRD_REGIONS_MAX];
    struct world_region regions[MRD_REGIONS_MAX];
    uint64_t write_every_ms; /* at each region and partition; 0: nobody writes */
    bool clocks_stop;        /* some clock stood still: leases prove nothing any more */
    bool telling;            /* the story is being written */
    char story[16384];
    size_t story_len;
    size_t events_told;
    char last_event[MRD_KEY_MAX];
    unsigned acked, reconciled;
    bool keep_going; /* count violations instead of failing: for tests of the checkers */
    unsigned violations;
};

/** Three regions us, eu, ap with classes orders (quorum) and events (async), home us. */
struct world *world_new(uint64_t seed);
/** The same with @regions regions r0, r1, ... Home r0. */
struct world *world_new_n(unsigned regions, uint64_t seed);
void world_free(struct world *w);
/** Put a changed configuration to use; before the first run. */
void world_configure(struct world *w);

unsigned world_region(const struct world *w, const char *name);
void world_run(struct world *w, uint64_t ms);
/** A world that has settled, its store led from @leader, clients at work; the story begins. */
struct world *world_begin(struct world *w, const char *leader);
/** Run until every partition is open somewhere and all regions are live; fails after 20 s. */
void world_settle(struct world *w);

void world_kill(struct world *w, const char *region);
void world_start(struct world *w, const char *region);
void world_pause(struct world *w, const char *region, bool stop_clock, bool slip);
void world_resume(struct world *w, const char *region);
void world_cut(struct world *w, const char *from, const char *to); /* one way */
void world_isolate(struct world *w, const char *region);
void world_heal(struct world *w);
void world_lead(struct world *w, const char *region);
/** @who says yes or no to the promotion that waits, as @region's store shows it. */
int world_approve(struct world *w, const char *region, bool yes, const char *who,
                  struct mrd_err *err);
/** Drain @region, or take that back; asked of the first region that runs, as world_move is. */
int world_drain(struct world *w, const char *region, bool drained, struct mrd_err *err);
/** @to NULL: the configured home. */
int world_move(struct world *w, const char *class_name, const char *to, struct mrd_err *err);

/** Home of the class's first partition as @region sees it, or "". */
const char *world_home(struct world *w, const char *region, const char *class_name);
/** Does the guard at @region let the class be written now? */
bool world_writable(struct world *w, const char *region, const char *class_name);
/** How many receipts of failovers still lack their tail, as @region's store has them. */
unsigned world_open_receipts(struct world *w, const char *region);
/** The newest receipt of the class as @region's store has it. */
bool world_receipt(struct world *w, const char *region, const char *class_name,
                   struct mrd_receipt_record *ret);
/** An event line that contains @text was told since the story began (all regions). */
bool world_told(const struct world *w, const char *text);

/** Begin the story: times count from now. */
void world_tell(struct world *w);
/** The story so far must be exactly @expected. */
void world_expect(struct world *w, const char *expected);
/**
 * After healing: each commit that anybody ever made is applied at every replica if it counts,
 * and in the lost tail at every other replica if it does not.
 */
void world_expect_converged(struct world *w);
