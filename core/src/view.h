/*
 * What coordinator and region both need: the store read as records, and proposals written as
 * records. Private to core's control half.
 *
 * A view is loaded once per step, and is the same until the store changes: what was read and
 * worked out is kept with the store, and what has nothing to do with sessions for longer than
 * until the next renewal. It borrows the configuration and the store and holds what
 * every decision asks for: each region's session and failover, where the store keeps them
 * decoded. Everything else is read when it is needed. A record that does not decode counts as
 * absent for reading, but its revision is kept, so that nobody overwrites by accident what he
 * could not read.
 */
#pragma once

#include <mrd/control.h>

#include "same.h"

#define MRDI_MS 1000000ull /* nanoseconds */

struct mrdi_region_view {
    uint64_t session_revision, failover_revision; /* 0: no such key */
    bool has_session, has_failover;               /* there, and readable */
    const struct mrd_session_record *session;     /* an empty one where there is none */
    const struct mrd_failover_record *failover;   /* likewise */
    uint64_t dial_revision;
    struct mrd_dial_record dial; /* all of its traffic where there is no record */
};

struct mrdi_partition {
    unsigned index;
    const struct mrd_conf_class *class;
    const char *name;
};

struct mrdi_authority_view {
    const struct mrd_authority_record *record; /* NULL: not there, or not readable */
    uint64_t revision;
};

/* A record that was looked for. */
struct mrdi_found {
    bool looked;
    uint64_t id;        /* of a receipt */
    const void *record; /* as in struct mrdi_authority_view */
    uint64_t revision;
};

#define MRDI_RECEIPTS 64 /* are remembered */

/* The configuration under which something was read. One that changes has another version. */
struct mrdi_under {
    const struct mrd_config *config; /* NULL: nothing was read yet */
    uint64_t version;
    uint8_t region_count, class_count;
};

/*
 * What was read of records that seldom change: all but sessions. Those below the authorities
 * are looked for when they are asked for.
 */
struct mrdi_settled {
    struct mrdi_under under;
    struct mrdi_partition partitions[MRD_PARTITIONS_MAX]; /* of the configuration */
    struct mrdi_region_view regions[MRD_REGIONS_MAX];     /* without their sessions */
    struct mrdi_authority_view authorities[MRD_PARTITIONS_MAX];
    struct mrdi_found moves[MRD_PARTITIONS_MAX];
    struct mrdi_found approvals[MRD_REGIONS_MAX], anews[MRD_REGIONS_MAX];
    struct mrdi_found fences[MRD_REGIONS_MAX][MRD_REGIONS_MAX]; /* of whom, by whom */
    struct mrdi_found receipts[MRDI_RECEIPTS]; /* by their id, of several the last */
};

/* All else that was read and worked out from the present state of the store. */
struct mrdi_known {
    struct mrdi_under under;
    struct mrdi_region_view regions[MRD_REGIONS_MAX];
    mrd_regions has_applied[MRD_REGIONS_MAX]; /* by whom, of whom */
    mrd_lsn applied[MRD_REGIONS_MAX][MRD_REGIONS_MAX];
    mrd_regions has_rank; /* as a snapshot has it */
    uint8_t rank[MRD_REGIONS_MAX][MRD_REGIONS_MAX];
    bool has_health, edge_lost[MRD_REGIONS_MAX];
    enum mrd_health health[MRD_REGIONS_MAX];
};

struct mrdi_view {
    const struct mrd_config *config;
    const struct mrd_store *store;
    const struct mrdi_region_view *regions;        /* order as in the configuration */
    const struct mrdi_authority_view *authorities; /* by mrd_partition_index */
    struct mrdi_settled *settled;                  /* what is kept of it, for long */
    struct mrdi_known *known;                      /* and until the store changes */
};

void mrdi_view_load(struct mrdi_view *v, const struct mrd_config *config,
                    const struct mrd_store *store);

/* ---- regions ---- */

const char *mrdi_name(const struct mrdi_view *v, unsigned region);
/** The names of a set, with commas between, as events have them. */
void mrdi_names(const struct mrdi_view *v, mrd_regions set, char *out, size_t cap);
/** Its session is open: the region may hold a lease and apply. */
bool mrdi_live(const struct mrdi_view *v, unsigned region);
/** Survivors are refusing its stream now. */
bool mrdi_fencing(const struct mrdi_view *v, unsigned region);
/** It renewed, or opened a session, after the verdict of its latest failover. */
bool mrdi_lives_since_verdict(const struct mrdi_view *v, unsigned region);
/** Id of the region's latest failover that was not cancelled; 0: there was none. */
uint64_t mrdi_failover_in_force(const struct mrdi_view *v, unsigned region);
/**
 * It is live, and knows how its latest failover ended: its session was opened after that. Only
 * then may others take its stream again. A commit of the closed epoch may still wait there for
 * acknowledgements, and what others flush, even as lost tail, ends that wait; the region must
 * be able to tell its client that the commit did not count.
 */
bool mrdi_returned(const struct mrdi_view *v, unsigned region);
/** A failover of it took place, and it has not returned since. */
bool mrdi_shut_out(const struct mrdi_view *v, unsigned region);
/** Operators want it to be nobody's home. */
bool mrdi_drained(const struct mrdi_view *v, unsigned region);
/** Measured from either end; UINT32_MAX when nobody measured. */
uint32_t mrdi_rtt_us(const struct mrdi_view *v, unsigned a, unsigned b);
/** What @by last reported about @about, or NULL. */
const struct mrd_peer_report *mrdi_report(const struct mrdi_view *v, unsigned by,
                                          unsigned about);
const struct mrd_peer_report *mrdi_peer(const struct mrd_session_record *s, const char *region);

/** Health of all regions, and whether a majority of observers misses the edge. */
void mrdi_health(const struct mrdi_view *v, enum mrd_health ret[MRD_REGIONS_MAX],
                 bool ret_edge_lost[MRD_REGIONS_MAX]);

/* ---- partitions and their records; each returns the key's revision, 0 when absent ---- */

static inline struct mrdi_partition mrdi_partition(const struct mrdi_view *v, unsigned index)
{
    return v->settled->partitions[index];
}

/** Home of the partition as configured. */
mrd_region mrdi_configured_home(const struct mrdi_partition *p);

uint64_t mrdi_authority(const struct mrdi_view *v, const struct mrdi_partition *p,
                        struct mrd_authority_record *ret, bool *ok);
uint64_t mrdi_move(const struct mrdi_view *v, const struct mrdi_partition *p,
                   struct mrd_move_record *ret, bool *ok);
/** How far @by had applied what @lost wrote, when it refused its stream. */
uint64_t mrdi_fence(const struct mrdi_view *v, unsigned lost, unsigned by,
                    struct mrd_fence_record *ret, bool *ok);
uint64_t mrdi_approval(const struct mrdi_view *v, unsigned region,
                       struct mrd_approval_record *ret, bool *ok);
uint64_t mrdi_anew(const struct mrdi_view *v, unsigned region, struct mrd_anew_record *ret,
                   bool *ok);
uint64_t mrdi_receipt(const struct mrdi_view *v, uint64_t id, struct mrd_receipt_record *ret,
                      bool *ok);
/** To look at: borrowed until the next apply; NULL when absent or unreadable. */
const struct mrd_receipt_record *mrdi_receipt_at(const struct mrdi_view *v, uint64_t id);

/** Its present home, or last home while it is vacant, has not been reported as open yet. */
bool mrdi_unopened(const struct mrdi_view *v, const struct mrd_authority_record *a);

/** The present home may not open it yet, because a lease of the one before may still run. */
bool mrdi_held(const struct mrd_authority_record *a);

/** A move is draining or waiting for its target. */
bool mrdi_move_active(const struct mrd_move_record *m);

/* ---- regions made anew (anew.c) ---- */

/** Why a region that was made anew may not open its first session yet; NULL: it may. */
const char *mrdi_unborn_why(const struct mrdi_view *v, unsigned region, mrd_lsn wal_lsn);
/** Was the position @lsn of its WAL written by a life of the region that ended with its disk?
 */
bool mrdi_life_ended(const struct mrdi_view *v, const char *region, mrd_lsn lsn);

/* ---- copies (copies.c) ---- */

/** How far @by has applied @origin's WAL: by its last report, or its refusal if that is newer.
 */
mrd_lsn mrdi_applied(const struct mrdi_view *v, unsigned by, unsigned origin);
/** @by is live and has applied @origin's WAL up to @lsn. */
bool mrdi_holds(const struct mrdi_view *v, unsigned by, unsigned origin, mrd_lsn lsn);
/**
 * May @by hand on to @to what @origin wrote? Only if it carries every class that the two share:
 * the receiver's position in @origin's WAL is one for all classes, and would pass over the
 * changes of a class that @by does not have, so that nobody asked for them again.
 */
bool mrdi_hands_on(const struct mrdi_view *v, unsigned by, unsigned to, unsigned origin);

enum mrdi_copy {
    MRDI_COPY_WHOLE, /* every closed epoch is there up to its cut */
    MRDI_COPY_LATE,  /* something is missing, and on its way */
    MRDI_COPY_STUCK, /* something is missing that nobody live can give */
};

/**
 * Is what counts of the closed epoch @i here, with @applied of the WAL of its region?
 * (mrd_epoch_here, by names.)
 */
bool mrdi_epoch_here(const struct mrdi_view *v, unsigned self,
                     const struct mrd_authority_record *a, unsigned i, mrd_lsn applied);

/**
 * @without     counts for nothing, however live it may still seem: it is being replaced.
 *              MRD_REGION_NONE: everybody counts
 * @ret_origin  whose writes are missing; untouched when none are. Borrowed from @a
 */
enum mrdi_copy mrdi_copy_of(const struct mrdi_view *v, unsigned self,
                            const struct mrd_authority_record *a, unsigned without,
                            const char **ret_origin);

/**
 * Did a failover of this partition go on without @region, which has not said since that it
 * holds no more than counts? Whatever it is that it holds, others may not.
 */
bool mrdi_uncompared(const struct mrdi_view *v, unsigned region,
                     const struct mrd_authority_record *a);

/**
 * Is what @region lost when failovers ended epochs of its own repaired there, once it has
 * applied every closed epoch up to its cut? And is it not mrdi_uncompared? Otherwise it holds
 * rows that nobody else has, and must not become home.
 *
 * @cut  where the present epoch is about to be closed; UINT64_MAX: after all that it wrote
 */
bool mrdi_tail_taken(const struct mrdi_view *v, unsigned region,
                     const struct mrd_authority_record *a, mrd_lsn cut);
/** The same of one closed epoch. */
bool mrdi_epoch_taken(const struct mrdi_view *v, const struct mrd_authority_record *a,
                      const struct mrd_closed_record *c, mrd_lsn cut);

/**
 * Has @self applied every closed epoch of this partition up to its cut? Only then may it open
 * or take over what the authority grants it.
 */
bool mrdi_caught_up(const struct mrdi_view *v, const struct mrd_local *local, unsigned self,
                    const struct mrd_authority_record *a);

/* ---- proposals ---- */

void mrdi_begin(struct mrd_proposal *p);
/** Are @puts more puts, as many compares, and their bytes likely to fit? */
bool mrdi_room(const struct mrd_proposal *p, size_t puts);
void mrdi_compare(struct mrd_proposal *p, uint64_t revision, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void mrdi_put_bytes(struct mrd_proposal *p, const char *key, const void *data, size_t len);
void mrdi_delete(struct mrd_proposal *p, const char *key);
void mrdi_put_session(struct mrd_proposal *p, const char *region,
                      const struct mrd_session_record *r);
void mrdi_put_failover(struct mrd_proposal *p, const struct mrd_failover_record *r);
void mrdi_put_fence(struct mrd_proposal *p, const char *region, const char *by,
                    const struct mrd_fence_record *r);
void mrdi_put_approval(struct mrd_proposal *p, const struct mrd_approval_record *r);
void mrdi_put_authority(struct mrd_proposal *p, const struct mrdi_partition *at,
                        const struct mrd_authority_record *r);
void mrdi_put_dial(struct mrd_proposal *p, const char *region, const struct mrd_dial_record *r);
void mrdi_put_move(struct mrd_proposal *p, const struct mrdi_partition *at,
                   const struct mrd_move_record *r);
void mrdi_put_anew(struct mrd_proposal *p, const char *region, const struct mrd_anew_record *r);
void mrdi_put_receipt(struct mrd_proposal *p, const struct mrd_receipt_record *r);
/** Nothing more to add: the proposal is wanted if it changes something and all of it fitted. */
void mrdi_end(struct mrd_proposal *p);

/** A fresh id whose low 8 bits are zero: greater than every id made from an older store. */
uint64_t mrdi_next_id(const struct mrd_store *s);
