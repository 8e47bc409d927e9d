/*
 * One region's decision loop: what an agent does next, given what it knows now.
 *
 * The node owns both roles of mrd/control.h, what was measured, and the snapshot. Its host (the
 * agent, or the simulator) tells it what happened and runs it in rounds; a round is a row of
 * actions, each of which the host carries out before it asks for the next:
 *
 *   mrd_node_begin(n, &now);
 *   while (mrd_node_next(n, &act)) { ... do it ... }
 *
 * That order is part of the protocol: the snapshot of a store state is published before
 * anything is proposed, or started in PostgreSQL, that is based on it.
 *
 * Each role has at most one proposal on its way. It is done when the store answered and our own
 * copy has reached that revision, so that the next step does not propose the same again; or
 * when it failed, timed out, or the leader it went to leads no more.
 *
 * A new process decides nothing before its copy of the store has caught up. Raft replays the
 * log only as far as it hears that it was committed, and among the entries still to come are
 * our own from the life before. A renewal sent now and an old one replayed later could be taken
 * for each other, which would count the lease from a moment that nobody else counts from. So
 * the first thing proposed is a transaction that changes nothing; whatever was committed before
 * stands before it in the log.
 *
 * A new process may also find the snapshot of the one before. Until it has a session of its own
 * it leaves that one in force as long as the lease in it runs: the promise in it is still good,
 * and every decision that would change it waits for this region's answer or the lease's end.
 * After that, for as long as our copy of the store has not caught up, it is left there without
 * the lease: what was last known routes better than nothing, and its age shows that it is old.
 */
#pragma once

#include <mrd/control.h>

#define MRD_NODE_FLIGHT_MS 2000u /* an answer that takes longer is given up */
#define MRD_NODE_PUBLISH_MS 100u /* at least this often is the snapshot written */

enum mrd_flight_role {
    MRD_FLIGHT_BARRIER, /* changes nothing; see "caught up" above */
    MRD_FLIGHT_REGION,
    MRD_FLIGHT_DUTY, /* the region's, while a renewal is on its way in the one before */
    MRD_FLIGHT_COORDINATOR,
};
#define MRD_FLIGHTS 4

/** One proposal on its way through the store. */
struct mrd_flight {
    uint64_t id;   /* 0: none; an answer with another id is too late */
    bool accepted; /* committed at @revision; waiting until our own store has it */
    uint64_t revision;
    uint64_t seq;        /* the renewal in it, */
    mrd_session opening; /* or the session that it is to open; 0: neither */
    mrd_region to;       /* the leader it went to */
    mrd_boot_ns deadline_ns;
    mrd_boot_ns again_ns; /* after a failure: not before this */
    int failed;           /* code of a failure not told yet */
};

/** What the host sees at the beginning of a round. */
struct mrd_node_now {
    mrd_boot_ns boot_ns; /* read before the round: a renewal counts from here */
    mrd_wall_ms wall_ms;
    mrd_region leader; /* of the store, as far as we know; or MRD_REGION_NONE */
    bool leads;        /* we do, and are not handing over */
    bool store_full;   /* no room left under the store: renew nothing, lead nothing */
};

enum mrd_node_action {
    MRD_DO_NOTHING,   /* the round is over */
    MRD_DO_COMPLAIN,  /* the proposal of @role failed with @code; it will be tried again */
    MRD_DO_PUBLISH,   /* write n->snapshot, then call mrd_node_published */
    MRD_DO_DUTIES,    /* start in PostgreSQL what n->duties says and is not under way */
    MRD_DO_PROPOSE,   /* send n->proposal.txn to @to; answer with mrd_node_answer */
    MRD_DO_HAND_OVER, /* let @to lead the store */
};

struct mrd_node_act {
    enum mrd_node_action kind;
    enum mrd_flight_role role; /* COMPLAIN, PROPOSE */
    int code;                  /* COMPLAIN */
    uint64_t flight;           /* PROPOSE: for the answer */
    mrd_region to;             /* PROPOSE, HAND_OVER */
};

/**
 * The host reads everything and writes only what is said to be its own. Large; never on a
 * stack.
 */
struct mrd_node {
    const struct mrd_config *config; /* borrowed */
    const struct mrd_store *store;   /* borrowed */
    struct mrd_region_state region;
    struct mrd_coordinator coordinator; /* its seed is the host's to fill, at start */
    struct mrd_local local;             /* the host's: what it measured (but see @refused) */
    struct mrd_snapshot snapshot;       /* last worked out; the file's, once published */
    struct mrd_duty duties[MRD_PARTITIONS_MAX];
    struct mrd_proposal proposal; /* of the act at hand; between rounds the host's scratch */

    bool dirty;      /* something changed since the last round; the host may set it */
    bool caught_up;  /* our store holds everything committed before this process began */
    bool lease_held; /* as of the last round */
    mrd_boot_ns published_ns, hold_until_ns;
    bool inherited;         /* the snapshot is still that of the process before us */
    mrd_boot_ns current_ns; /* what we know was last known to be current; 0: never */
    mrd_boot_ns refuse_since_ns[MRD_REGIONS_MAX]; /* our order was there to read; 0: none */

    /* The deployment's configuration as text, the host's: proposed when the store has none, or
     * an older one. */
    const uint8_t *config_text; /* borrowed; NULL: nothing to propose */
    size_t config_len;
    bool config_known; /* the store has one, */
    uint64_t config_revision, config_stored_version;

    struct mrd_flight flights[MRD_FLIGHTS];
    uint64_t last_flight;
    mrd_boot_ns handover_next_ns, decided_ns;
    mrd_region last_leader; /* that we heard of; it stays for some time at least: */
    mrd_boot_ns leader_until_ns;
    struct mrd_node_now now; /* of the present round, */
    unsigned stage;          /* and how far it got */
    bool changed;
    struct mrd_snapshot fresh; /* scratch */
};

/**
 * Begin; @n is zeroed memory. The coordinator's seed may be filled before or after. The report
 * lacks every partition until the host has asked the database and says otherwise
 * (mrd_set_lacks): a session may open sooner.
 */
void mrd_node_init(struct mrd_node *n, const struct mrd_config *config,
                   const struct mrd_store *store, mrd_region self);

/** The process before us left the snapshot that now is in n->snapshot. */
void mrd_node_inherit(struct mrd_node *n);

/**
 * The session that a heartbeat sent now names: that of the snapshot that is out, which is what
 * edges put into tokens. Whoever has applied a heartbeat of a session has applied every write
 * whose token is of an earlier one; a session that is open already while an inherited snapshot
 * still stands would promise that too soon.
 */
static inline mrd_session mrd_node_heartbeat_session(const struct mrd_node *n)
{
    return n->snapshot.session;
}

/**
 * How old what we know is, the store and all that is made of it: 0 while a leader of the store
 * is known and our copy has caught up. UINT64_MAX: nobody can tell.
 */
mrd_boot_ns mrd_node_stale_ns(const struct mrd_node *n, mrd_boot_ns now_ns);

/** A key of our copy of the store changed, or was there at start. */
void mrd_node_observe(struct mrd_node *n, const struct mrd_entry *e, mrd_boot_ns now_ns);

/**
 * The store's configuration changed, or was there at start. The host reads it.
 *
 * @version  NULL: it cannot be read. It may be newer than this program, so it is never replaced
 */
void mrd_node_config(struct mrd_node *n, uint64_t revision, const uint64_t *version);

/** Leadership of the store gained or lost. */
void mrd_node_lead(struct mrd_node *n, bool leads, mrd_boot_ns now_ns);

/** Begin a round: whenever n->dirty, and every 50 ms. */
void mrd_node_begin(struct mrd_node *n, const struct mrd_node_now *now);
/** The next thing to do, or false at the round's end. */
bool mrd_node_next(struct mrd_node *n, struct mrd_node_act *ret);

/**
 * The snapshot can be read by others since @now_ns (taken after the write). Only what they
 * answer after that shows that they have obeyed.
 */
void mrd_node_published(struct mrd_node *n, mrd_boot_ns now_ns);

/**
 * How a proposal ended: 0 and the revision, or an error. MRD_ETIMEDOUT and MRD_EUNAVAILABLE:
 * it may yet be committed. Answers that come too late do nothing.
 */
void mrd_node_answer(struct mrd_node *n, enum mrd_flight_role role, uint64_t flight, int code,
                     uint64_t revision, mrd_boot_ns now_ns);

/**
 * Our PostgreSQL, asked at @asked_ns, says whether the stream from @origin is closed. It counts
 * as refused only if it was asked after our order to refuse was there to be read.
 */
void mrd_node_refused(struct mrd_node *n, mrd_region origin, bool closed, mrd_boot_ns asked_ns);
/** Somebody waits for such an answer: ask at once. */
bool mrd_node_refusal_waits(const struct mrd_node *n);
