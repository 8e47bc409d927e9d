/*
 * The decisions: pure functions from what the store holds to what should be done next.
 *
 * Two roles, both stepped by the agent (and by the simulator) with the time as an argument:
 *
 * The coordinator (only at the Raft leader) watches sessions and decides expiry, verdicts,
 * fencing, grants and the end of failovers. It remembers, on its own clock, when it applied
 * each region's renewal; nothing else about time enters a decision.
 *
 * The region (at every agent) renews its lease, obeys fences, drains and opens partitions, and
 * works out the snapshot.
 *
 * Each step returns at most one store transaction (compare-and-swap on everything it was based
 * on) and a set of local effects. Steps are idempotent: interrupted ones are simply run again.
 * Transactions that lost their race (MRD_ECONFLICT) or whose outcome is unknown are dropped;
 * the next step sees the store as it is.
 */
#pragma once

#include <mrd/config.h>
#include <mrd/record.h>
#include <mrd/snapshot.h>
#include <mrd/store.h>

/** A store transaction with the storage of its values. Owned by the caller, reused. */
struct mrd_proposal {
    bool wanted;        /* false: nothing to propose */
    struct mrd_txn txn; /* values point into @bytes */
    char what[160];     /* its first audit event, already part of the txn; may be empty */
    uint8_t bytes[64 * 1024];
    size_t used;
    bool overflow; /* something did not fit; such a proposal is never wanted */
    uint8_t event_count;
};

/*
 * The host proposes one transaction at a time for each role, and steps that role again when the
 * outcome is known or was given up. Two outstanding proposals of one role are safe (they race,
 * and compare-and-swap lets one win) but useless. It gives one up at once when the store's
 * leader changed, else after a second: a renewal that hangs on a dead leader must not cost the
 * lease.
 */

/* ---- coordinator ---- */

/** Zero it at start and whenever the configuration's regions or partitions change. */
struct mrd_coordinator {
    struct mrd_seen {
        uint64_t revision;      /* of the record last seen */
        mrd_boot_ns applied_ns; /* our clock when we applied it */
    } seen[MRD_REGIONS_MAX],    /* sessions */
        failovers[MRD_REGIONS_MAX],
        moves[MRD_PARTITIONS_MAX]; /* order as in the configuration */
    mrd_boot_ns since_ns;          /* we became coordinator, 0: we are not */
    uint8_t seed[32]; /* random bytes from the host, fresh for each process; becomes
                         the token key of a new deployment */
};

/**
 * Note that the store changed; call after every apply or restored key, leader or not (it may be
 * the store's watcher), also during replay at start: what is learnt by replay counts as applied
 * now.
 */
void mrd_coordinator_observe(struct mrd_coordinator *c, const struct mrd_config *config,
                             const struct mrd_entry *e, mrd_boot_ns now_ns);

/** Leadership gained or lost. */
void mrd_coordinator_lead(struct mrd_coordinator *c, bool leads, mrd_boot_ns now_ns);

/**
 * Decide the next change. Priority: bootstrap missing authorities; expire a session whose
 * lease + margin passed; start a failover on a verdict, or ask operators where the mode is not
 * automatic; grant partitions whose fence is complete, and release those that are held; finish
 * failovers; advance moves; vacate
 * what nobody may take, saying why.
 *
 * Verdict "down" for region r: its last renewal was applied more than
 * probe_interval * threshold ago, and at least a majority of the other live data or witness
 * regions (and at least one half of all voters, ourselves included) report it unreachable.
 *
 * An expired session is a verdict by itself, as long as a majority of all regions is live.
 *
 * Grant of a quorum-class partition needs refusals from so many replicas that every possible
 * acknowledgement set holds one of them: (replicas - 1) - remote_acks + 1; the others get one
 * more second to refuse or to expire, because a replica that applied more than the cut must be
 * repaired. Grant of an async-class partition needs a refusal from, or the expiry of, every
 * replica. It is held, and its new home may not open it, until the old home certainly cannot
 * write: its session is expired, or lease + margin passed since we applied the failover record.
 * (Any lease that the old home extends afterwards comes with the knowledge that its partitions
 * are being taken away, and it publishes both at once.) The failover ends after that, and what
 * is held is granted to nobody else.
 * The successor is an allowed live replica among those that refused, and is not being replaced
 * itself: first who holds every
 * earlier epoch up to its cut, then who has the highest applied position, ties by configuration
 * order. The cut is the highest applied position among the refusals; a refuser that died since,
 * and alone holds that position, does not count as one.
 *
 * A partition without a live legal successor, or whose successors lack what only regions that
 * are down have, becomes vacant, also when that turns out after the grant; its epoch is not
 * closed, and its last home resumes it when it can, or a successor that appears is granted the
 * next one.
 */
void mrd_coordinator_step(struct mrd_coordinator *c, const struct mrd_config *config,
                          const struct mrd_store *store, mrd_boot_ns now_ns,
                          mrd_wall_ms wall_ms, struct mrd_proposal *ret);

/**
 * Why the partition with that index is closed to everybody: while it is vacant, while its home
 * is being replaced, or while the new home is held or lacks something. Otherwise the empty
 * string.
 */
void mrd_partition_why(const struct mrd_config *config, const struct mrd_store *store,
                       unsigned index, char ret[128]);

/**
 * Region that should lead the store instead of @present: live, and home of fewer partitions, or
 * of as many and clearly nearer to the others. @present itself when none is better; -1 when
 * nobody is live. While a planned move is under way, @present: a change would delay it.
 */
int mrd_coordinator_preferred_leader(const struct mrd_config *config,
                                     const struct mrd_store *store, mrd_region present);

/** Health of every region, for the snapshot and `meridian regions`. */
void mrd_health_of(const struct mrd_config *config, const struct mrd_store *store,
                   enum mrd_health ret[MRD_REGIONS_MAX]);

/** Why region @t is not healthy, as a sentence; "" when nothing is known against it. */
#define MRD_WHY_MAX 512
void mrd_health_why(const struct mrd_config *config, const struct mrd_store *store, unsigned t,
                    char ret[MRD_WHY_MAX]);

/* ---- region ---- */

/*
 * A process steps neither role before its copy of the store holds everything that was committed
 * before it began: an entry of its own from an earlier life, replayed after the first step,
 * could be taken for the answer to a proposal of this life.
 */

/** What this region measured about itself and the others, filled by the agent. */
struct mrd_local {
    bool canary_ok;        /* a canary reached the local WAL since the last renewal */
    mrd_boot_ns canary_ns; /* our clock before that canary was sent */
    bool canary_settled;   /* before it wrote, no commit of a partition whose home is elsewhere
                              was past its last check and unended: its position says so */
    struct mrd_session_record report; /* everything but session, seq, expired */
    /* Per partition, in the order of the configuration (mrd_partition_index). */
    uint64_t drained_move[MRD_PARTITIONS_MAX]; /* id of the move (mrd_region_duties) for which
                                                  meridian.drain found nothing in flight */
    mrd_lsn drained_lsn[MRD_PARTITIONS_MAX];   /* the position that drain returned */
    mrd_wall_ms first_write_ms[MRD_PARTITIONS_MAX]; /* first commit under the present epoch */
    mrd_epoch opened_epoch[MRD_PARTITIONS_MAX];     /* promoted and open at this epoch */
    mrd_epoch compared_epoch[MRD_PARTITIONS_MAX];   /* of each closed epoch before this one what
                                                       we have past its cut was looked for, by
                                                       the call that said what we lack */
    struct mrd_tail_count { /* tail of mrd_duty.tail_epoch, as counted in meridian.reconcile by
                               the same status call that gave the applied positions */
        mrd_epoch epoch;    /* which one that was */
        uint64_t transactions, rows, rpo_ms;
        uint64_t unrepaired; /* rows for which the old home was not yet sent what to hold */
    } tail[MRD_PARTITIONS_MAX];
    mrd_lsn through_lsn; /* end of our WAL, read by that call after the applied positions */
};

/*
 * Three contracts that the protocol's safety rests on, kept by the agent:
 *
 *  - It publishes the snapshot of a store state before it proposes anything based on it: a
 *    session that says "I know that my partitions were taken" comes after the snapshot that
 *    says so to our own PostgreSQL.
 *
 *  - report.peers[].refused is set only from a meridian.agent_status() call that was sent after
 *    a snapshot with MRD_STREAM_REFUSE for that origin was published, and cleared as soon as
 *    one without it is published. The applied position beside it comes from the same call.
 *  - canary_ns is read before the canary is sent, and canary_ok is cleared when a canary fails.
 *    canary_settled comes from the canary's own call, which looks before it writes.
 *
 * A witness needs no canary.
 */

struct mrd_region_state {
    mrd_region self;
    mrd_session session;  /* 0: we have none */
    mrd_session opening;  /* proposed, not yet seen committed; grants no lease by itself */
    uint64_t seq;         /* of the last renewal sent; never sent twice, so that a renewal whose
                             outcome was unknown cannot pass for a later one */
    uint64_t pending_seq; /* sent, not yet seen committed */
    mrd_boot_ns pending_ns;  /* our clock before it was sent */
    mrd_boot_ns deadline_ns; /* lease deadline; 0: none */
    mrd_boot_ns last_sent_ns;
    uint64_t replaced_by;    /* id of the newest failover of ours that we know is over, and */
    mrd_boot_ns replaced_ns; /* our clock when we knew */
    uint64_t sent_reach;     /* what it said about the others: a change is worth a renewal */
    struct { /* when our wall clock first saw each partition ours, and at which epoch:
                receipts are told by the clock that granted it */
        mrd_epoch epoch;
        mrd_wall_ms wall_ms;
        mrd_lsn opened_lsn; /* our canary's position when we found it open; 0: we did not */
    } granted[MRD_PARTITIONS_MAX];
};

/**
 * Our session record changed in the store. Extends the deadline to (time before sending) +
 * lease when it is our own pending renewal; ends the lease when it was expired or replaced.
 */
void mrd_region_observe(struct mrd_region_state *r, const struct mrd_config *config,
                        const struct mrd_entry *e, mrd_boot_ns now_ns);

/**
 * Decide the region's next change: open a session, renew (only with a fresh canary), confirm a
 * fence, report a drain, report an opened partition or a first write, close a receipt.
 */
void mrd_region_step(struct mrd_region_state *r, const struct mrd_config *config,
                     const struct mrd_store *store, const struct mrd_local *local,
                     mrd_boot_ns now_ns, mrd_wall_ms wall_ms, struct mrd_proposal *ret);

/**
 * What a proposal carried lost its race, could not be sent, or its outcome is unknown: forget
 * that it was pending, and nothing else.
 *
 * @seq      number of the renewal in it; 0: there was none
 * @opening  the session that it was to open; 0: none
 */
void mrd_region_abandon(struct mrd_region_state *r, uint64_t seq, mrd_session opening);

/** What the agent should do in its PostgreSQL for one partition. */
struct mrd_duty {
    enum mrd_duty_kind {
        MRD_DUTY_NONE,
        MRD_DUTY_DRAIN,   /* meridian.drain, then report drained_move = @move, drained_lsn */
        MRD_DUTY_PROMOTE, /* meridian.promote(..., @epoch), then report opened_epoch = @epoch */
    } kind;
    uint64_t move;
    mrd_epoch epoch;
    mrd_region
        tail_origin;      /* the oldest epoch that a failover closed, whose old home is back */
    mrd_epoch tail_epoch; /* and whose receipt still lacks the lost tail, or that the old home
                             was sent what to hold instead; 0: none */
};

/** Work out the duties, one for each partition in the order of the configuration. */
void mrd_region_duties(const struct mrd_region_state *r, const struct mrd_config *config,
                       const struct mrd_store *store, const struct mrd_local *local,
                       struct mrd_duty ret[MRD_PARTITIONS_MAX]);

/**
 * Partitions in the order of the configuration: classes in order, then their partitions. This
 * is also the order in the snapshot.
 */
unsigned mrd_partition_count(const struct mrd_config *config);
/** Index of a partition, or -1. */
int mrd_partition_index(const struct mrd_config *config, const char *class_name,
                        const char *partition);
/** Class and name of partition @i (< mrd_partition_count). */
const struct mrd_conf_class *mrd_partition_at(const struct mrd_config *config, unsigned i,
                                              const char **ret_name);

/**
 * Work out the snapshot from the store, the configuration and what was measured: health,
 * partition map, stream orders (refuse the fenced, forward what lies before a cut, run the
 * rest), deadline. Partitions granted to us open only when our applied position of the old home
 * has reached the cut and local->opened_epoch has reached the epoch; until then, and everywhere
 * as long as they are held, they are published as fencing.
 */
void mrd_region_snapshot(const struct mrd_region_state *r, const struct mrd_config *config,
                         const struct mrd_store *store, const struct mrd_local *local,
                         mrd_boot_ns now_ns, mrd_wall_ms wall_ms, struct mrd_snapshot *ret);

/**
 * An operator's word on a promotion that waits (failover modes manual and two-person).
 *
 * @id       of the approval record
 * @approve  else reject. What was rejected may still be approved while its verdict stands
 * @who      the operator's name as the host knows it; two approvals count as two only when they
 *           come from two names
 *
 * Returns 0 and a proposal, or a refusal as error with hint.
 */
int mrd_approval_request(const struct mrd_config *config, const struct mrd_store *store,
                         uint64_t id, bool approve, const char *who, mrd_wall_ms wall_ms,
                         struct mrd_proposal *ret, struct mrd_err *err);

/* ---- a region made anew (anew.c) ---- */

/**
 * Write down that @region lost all it had and begins another life under its name. The caller
 * made sure that the store commits this without anything that the life before acknowledged.
 *
 * @life  drawn when the new state directory was made, not 0
 *
 * Not wanted unless the life is MRD_LIFE_NEW.
 */
void mrd_anew_request(const struct mrd_config *config, const struct mrd_store *store,
                      mrd_region region, uint64_t life, mrd_wall_ms wall_ms,
                      struct mrd_proposal *ret);

enum mrd_life {
    MRD_LIFE_KNOWN, /* written down */
    MRD_LIFE_NEW,   /* to be written down */
    MRD_LIFE_EARLY, /* not yet: the region has a live session, so it is not lost; or another
                       life was written down only just now */
};

/** What is known of this life of @region. */
enum mrd_life mrd_anew_life(const struct mrd_config *config, const struct mrd_store *store,
                            mrd_region region, uint64_t life, mrd_wall_ms wall_ms);

enum mrd_data {
    MRD_DATA_FIRST, /* the region never had a database: one is made */
    MRD_DATA_ANEW,  /* it was made anew: one is made whose WAL begins at @ret_begins */
    MRD_DATA_LOST,  /* it had one: who makes another in its place must say so first */
};

/** What it means that @region has no database. */
enum mrd_data mrd_anew_data(const struct mrd_config *config, const struct mrd_store *store,
                            mrd_region region, mrd_lsn *ret_begins);

/**
 * Does our position in @origin's WAL belong to a life of it that ended, while the next one
 * takes part already? Then the stream begins again: what we lack will never come.
 *
 * @ret_begins  out: where the WAL of the next life begins; untouched when the answer is no
 */
bool mrd_anew_stream(const struct mrd_config *config, const struct mrd_store *store,
                     const struct mrd_local *local, mrd_region origin, mrd_lsn *ret_begins);

/** Why a region that was made anew holds no lease yet, as a sentence; NULL: that is not why. */
const char *mrd_anew_why(const struct mrd_config *config, const struct mrd_store *store,
                         mrd_region region, mrd_lsn wal_lsn);

/* ---- requests of operators ---- */

/**
 * Turn a region's share of traffic: to @percent of what it would get by distance and health.
 * Writes and reads that need its data's home still go there. Refused, with hint: no such
 * region, a witness, a drained region.
 */
int mrd_dial_request(const struct mrd_config *config, const struct mrd_store *store,
                     const char *region, unsigned percent, const char *who, mrd_wall_ms wall_ms,
                     struct mrd_proposal *ret, struct mrd_err *err);

/**
 * Drain a region: it gets no traffic, is no target of planned moves, and the coordinator moves
 * every home away from it, one planned move at a time and again after a minute when one was
 * aborted; what a failover brings there moves on, too. With @drained false it takes what its
 * dial says again; nothing moves back by itself. Refused, with hint: no such region, a witness,
 * already so, no other live data region that is not drained.
 */
int mrd_drain_request(const struct mrd_config *config, const struct mrd_store *store,
                      const char *region, bool drained, const char *who, mrd_wall_ms wall_ms,
                      struct mrd_proposal *ret, struct mrd_err *err);

/** Ask for a planned move; @to NULL: to the configured home. 0 or a refusal as error with hint:
 *  not a replica, not allowed, target drained or not live, already there, another move or
 *  failover under way. */
int mrd_move_request(const struct mrd_config *config, const struct mrd_store *store,
                     const char *class_name, const char *partition, const char *to,
                     const char *who, mrd_wall_ms wall_ms, struct mrd_proposal *ret,
                     struct mrd_err *err);

/** Propose nothing but an event: @line is "event=NAME key=value ...", without its time. */
void mrd_audit_request(const struct mrd_store *store, const char *line, mrd_wall_ms wall_ms,
                       struct mrd_proposal *ret);

/**
 * Append an audit event to a proposal: "event=NAME key=value ...", preceded by "at_ms=WALL ".
 * The names are listed in docs/internals/events.md. The coordinator drops the oldest beyond
 * MRD_EVENTS_MAX.
 */
void mrd_proposal_event(struct mrd_proposal *p, const struct mrd_store *store,
                        mrd_wall_ms wall_ms, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
