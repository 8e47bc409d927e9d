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
    bool wanted;          /* false: nothing to propose */
    struct mrd_txn txn;   /* values point into @bytes */
    char what[160];       /* the sentence for the audit event, already part of the txn */
    uint8_t bytes[64 * 1024];
    size_t used;
};

/* ---- coordinator ---- */

struct mrd_coordinator {
    struct {
        uint64_t revision;       /* of the session record last seen */
        mrd_boot_ns applied_ns;  /* our clock when we applied it */
    } seen[MRD_REGIONS_MAX];
    mrd_boot_ns since_ns;        /* we became coordinator, 0: we are not */
};

/** Note that the store changed; call after every apply, leader or not. @key as in record.h. */
void mrd_coordinator_observe(struct mrd_coordinator *c, const struct mrd_config *config,
                             const struct mrd_entry *e, mrd_boot_ns now_ns);

/** Leadership gained or lost. */
void mrd_coordinator_lead(struct mrd_coordinator *c, bool leads, mrd_boot_ns now_ns);

/**
 * Decide the next change. Priority: bootstrap missing authorities; expire a session whose
 * lease + margin passed; start a failover on a verdict; grant partitions whose fence is
 * complete; finish failovers; advance moves; vacate what nobody may take, saying why.
 *
 * Verdict "down" for region r: its last renewal was applied more than
 * probe_interval * threshold ago, and at least a majority of the other live data or witness
 * regions (and at least one half of all voters, ourselves included) report it unreachable.
 *
 * Grant of a quorum-class partition needs refusals from so many replicas that every possible
 * acknowledgement set holds one of them: (replicas - 1) - remote_acks + 1. Grant of an
 * async-class partition needs a refusal from, or the expiry of, every replica, and expiry of
 * the old home. The successor is the allowed live replica with the highest applied position,
 * ties by configuration order; the cut is the highest applied position among the refusals.
 */
void mrd_coordinator_step(struct mrd_coordinator *c, const struct mrd_config *config,
                          const struct mrd_store *store, mrd_boot_ns now_ns, mrd_wall_ms wall_ms,
                          struct mrd_proposal *ret);

/** Region that should lead the store: live, and home of the fewest partitions; or -1. */
int mrd_coordinator_preferred_leader(const struct mrd_config *config,
                                     const struct mrd_store *store);

/** Health of every region, for the snapshot and `meridian regions`. */
void mrd_health_of(const struct mrd_config *config, const struct mrd_store *store,
                   enum mrd_health ret[MRD_REGIONS_MAX]);

/* ---- region ---- */

/** What this region measured about itself and the others, filled by the agent. */
struct mrd_local {
    bool canary_ok;       /* a canary reached the local WAL since the last renewal */
    mrd_boot_ns canary_ns; /* our clock before that canary was sent */
    struct mrd_session_record report; /* everything but session, seq, expired */
    bool drained[MRD_PARTITIONS_MAX]; /* frozen and nothing in flight; order as in config */
    mrd_lsn drained_lsn[MRD_PARTITIONS_MAX];
    mrd_wall_ms first_write_ms[MRD_PARTITIONS_MAX]; /* first commit under the present epoch */
    mrd_epoch opened_epoch[MRD_PARTITIONS_MAX];     /* promoted and open at this epoch */
    struct { /* tail taken from each returned region, as counted in meridian.reconcile */
        uint64_t transactions, rows, rpo_ms;
        mrd_lsn through; /* our applied position of that region */
    } tail[MRD_REGIONS_MAX];
};

struct mrd_region_state {
    mrd_region self;
    mrd_session session;   /* 0: we have none */
    uint64_t seq;          /* of the last renewal sent */
    uint64_t pending_seq;  /* sent, not yet seen committed */
    mrd_boot_ns pending_ns; /* our clock before it was sent */
    mrd_boot_ns deadline_ns; /* lease deadline; 0: none */
    mrd_boot_ns last_sent_ns;
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

/** The proposal could not be sent or its outcome is unknown: forget what was pending. */
void mrd_region_abandon(struct mrd_region_state *r);

/**
 * Work out the snapshot from the store, the configuration and what was measured: health,
 * partition map, stream orders (refuse the fenced, forward what lies before a cut, run the
 * rest), deadline. Partitions granted to us open only when our applied position of the old home
 * has reached the cut and local->opened_epoch has reached the epoch; until then they are
 * published as fencing.
 */
void mrd_region_snapshot(const struct mrd_region_state *r, const struct mrd_config *config,
                         const struct mrd_store *store, const struct mrd_local *local,
                         mrd_boot_ns now_ns, mrd_wall_ms wall_ms, struct mrd_snapshot *ret);

/** Ask for a planned move. 0 or a refusal as error with hint: not a replica, not allowed,
 *  target not live, already there, another move or failover under way. */
int mrd_move_request(const struct mrd_config *config, const struct mrd_store *store,
                     const char *class_name, const char *partition, const char *to,
                     const char *who, mrd_wall_ms wall_ms, struct mrd_proposal *ret,
                     struct mrd_err *err);

/** Append an audit event "event=NAME key=value ..." to a proposal; drops the oldest. */
void mrd_proposal_event(struct mrd_proposal *p, const struct mrd_store *store,
                        mrd_wall_ms wall_ms, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
