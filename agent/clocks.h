/*
 * Whose wall clock is wrong.
 *
 * No safety hangs on a wall clock: leases, fences and tokens do not use it. A wrong one shows
 * where people read times (events, receipts, what `now()` put into rows), and in which replicas
 * a failover waits for. Here it is found out. The answer to a PING carries the peer's clock;
 * the peer read it at some moment of the round trip, so half of that is all that may be wrong
 * about the difference (as in RFC 5905, 8). A clock that agrees with more than half of those
 * that are heard is right; with two of them nobody can tell. One that was wrong has to come
 * twice as near before it is right, so that one near the bound does not fill the audit log.
 */
#pragma once

#include <jansson.h>

#include <mrd/config.h>
#include <mrd/store.h>
#include <mrd/topology.h>

#define CLOCK_OFF_MS 500 /* what two clocks may differ, beside what is not known about them */

struct clock_reading {
    bool known;
    int64_t ahead_ms; /* of ours */
    int64_t doubt_ms; /* either way */
};

struct clocks_verdict {
    mrd_regions off;                   /* wrong, as more than half of the others agree */
    mrd_regions differ;                /* from ours, and no majority says who is right */
    int64_t ahead_ms[MRD_REGIONS_MAX]; /* of those that agree; of ours for who differs */
};

/** Whose of @count clocks is wrong; ours is among @readings, 0 ms ahead. @was_off: before. */
void clocks_judge(const struct clock_reading *readings, unsigned count, mrd_regions was_off,
                  struct clocks_verdict *ret);

/** A clock as it was read @rtt_ms after we asked, when ours said @own_ms. */
struct clock_reading clocks_read(uint64_t peer_ms, uint64_t own_ms, uint64_t rtt_ms);

/** The clocks that are off, as the last event about each in @store says. */
mrd_regions clocks_noted(const struct mrd_store *store, const struct mrd_config *config);

/* ---- what the agent makes of it ---- */

struct agent;

struct clocks {
    struct clocks_verdict now; /* the last look */
    mrd_regions off, differ;   /* what is told: it lasted */
    mrd_boot_ns
        since_ns[MRD_REGIONS_MAX]; /* that the look says other than what is told; 0: no */
    mrd_boot_ns next_ns;
    mrd_boot_ns note_ns; /* before it the store may not show yet what was written */
    bool noting;         /* an event is on its way */
};

/** Call from a regular tick. The leader of the store makes events of what changes. */
void clocks_tick(struct agent *a, mrd_boot_ns now_ns);

/** Whose clock is wrong, by how much, what that does and what to do. */
void clocks_problems(const struct agent *a, json_t *problems);
