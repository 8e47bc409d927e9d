/*
 * What the coordination store holds, as typed records.
 *
 *   key                              record
 *   config                           the YAML text, as it is
 *   secret/token                     32 random bytes
 *   session/REGION                   mrd_session_record    renewed by its agent
 *   authority/CLASS/PARTITION        mrd_authority_record
 *   failover/REGION                  mrd_failover_record   while REGION's partitions move away
 *   fence/REGION/BY                  mrd_fence_record      BY refuses REGION's stream
 *   approval/REGION                  mrd_approval_record   a promotion that operators decide
 *   anew/REGION                      mrd_anew_record       the region's disk was lost for good
 *   dial/REGION                      mrd_dial_record       its share of traffic; drained or not
 *   move/CLASS/PARTITION             mrd_move_record       a planned move under way
 *   receipt/ID                       mrd_receipt_record    ID: 16 hex digits, growing
 *   event/ID                         text, oldest removed beyond MRD_EVENTS_MAX
 *
 * Regions inside records are names, so that a configuration may reorder its regions. Every
 * record begins with a version byte. Reader, writer and limits of a record stand together in
 * record.c. Records are written by compare-and-swap on their key's revision.
 */
#pragma once

#include <mrd/authority.h>
#include <mrd/buf.h>
#include <mrd/topology.h>

#define MRD_EVENTS_MAX 512

/** One region's position in the stream of another, or a probe of it. */
struct mrd_peer_report {
    char region[MRD_NAME_MAX];
    uint8_t reachable; /* bits: MRD_SEES_* as of the last probes, hysteresis applied */
    uint32_t rtt_us;
    mrd_lsn applied_lsn; /* of @region's WAL, applied and flushed here */
    mrd_session applied_session;
    uint64_t applied_boot_ms;
    uint64_t lag_bytes;
    mrd_lsn catch_up_lsn; /* its WAL position when the reporting region's session was opened;
                             until it is applied the reporter counts as recovering. Filled by
                             core, not by the agent */
    uint8_t refused;      /* its stream is closed and will stay closed (fence obeyed) */
};

#define MRD_SEES_AGENT 1u /* its agent answers */
#define MRD_SEES_SQL 2u   /* its PostgreSQL answers a query */
#define MRD_SEES_EDGE 4u  /* its edge answers HTTP */

struct mrd_session_record {
    mrd_session session;    /* grows by one for each new session of the region */
    uint64_t seq;           /* of the renewal */
    bool expired;           /* committed by the coordinator; an expired session never revives */
    mrd_wall_ms expired_ms; /* when that was decided; 0: not */
    mrd_lsn opened_lsn;     /* wal_lsn when this session was opened: everything that earlier
                               sessions committed lies before it */
    uint64_t after_failover; /* id of the region's latest failover that was over, and known
                                here, when this session was opened; 0: there was none */
    uint8_t ready;           /* bits: MRD_SEES_* of itself */
    mrd_lsn wal_lsn;         /* own flushed WAL position at the canary */
    uint64_t boot_ms;        /* own CLOCK_BOOTTIME at the canary */
    mrd_wall_ms wall_ms;
    uint64_t agent_pid;
    uint8_t lacks[MRD_PARTITIONS_MAX / 8]; /* bits by index in the configuration: partitions of
                                              which it does not hold every row yet, whatever
                                              positions it has applied; see mrd_lacks */
    uint8_t peer_count;
    struct mrd_peer_report peers[MRD_REGIONS_MAX];
};

/** Does the region lack rows of partition @i? It must not become its home then. */
static inline bool mrd_lacks(const struct mrd_session_record *r, unsigned i)
{
    return i < MRD_PARTITIONS_MAX && (r->lacks[i / 8] >> (i % 8) & 1) != 0;
}

static inline void mrd_set_lacks(struct mrd_session_record *r, unsigned i, bool lacks)
{
    uint8_t bit = (uint8_t)(1u << (i % 8));

    r->lacks[i / 8] = (uint8_t)(lacks ? r->lacks[i / 8] | bit : r->lacks[i / 8] & ~bit);
}

struct mrd_closed_record {
    mrd_epoch epoch;
    char region[MRD_NAME_MAX];
    mrd_lsn cut;
    mrd_session cut_session;
    uint64_t cut_boot_ms;
    char reason[24];      /* "failover" or "move" */
    uint64_t receipt;     /* of the failover or move that closed it */
    mrd_regions unfenced; /* replicas, by index in the configuration, that had not refused and
                             were not live either: they may have applied more than the cut.
                             Each takes itself out once it holds just what counts; the oldest
                             entry has those of forgotten epochs, too */
    mrd_wall_ms at_ms;
};

struct mrd_authority_record {
    char region[MRD_NAME_MAX];      /* empty: vacant */
    char last_region[MRD_NAME_MAX]; /* while vacant: whose epoch this is; it is not closed, and
                                       that region may resume it */
    mrd_epoch epoch;
    uint8_t state; /* enum mrd_authority_state */
    bool held;     /* granted, but not to be opened yet: a lease of the region that the last
                      closed epoch names may still run */
    char why[128]; /* for vacant: the sentence an operator reads */
    uint8_t history_count;
    struct mrd_closed_record history[MRD_HISTORY_MAX]; /* newest last */
};

/**
 * Close the present epoch as @closed says and grant the next to the region @to. The closed
 * entry's epoch and region are those of @a, whatever @closed says. Drops the oldest entry when
 * the history is full. Nothing holds the new home back; a caller who must says so afterwards.
 */
void mrd_authority_grant(struct mrd_authority_record *a, const struct mrd_closed_record *closed,
                         const char *to);

enum mrd_failover_state {
    MRD_FAILOVER_FENCE, /* survivors are refusing the old home's stream */
    MRD_FAILOVER_DONE,  /* every partition was granted away or left vacant, and none is held */
};

struct mrd_failover_record {
    uint64_t id;     /* low 8 bits zero; receipt of the partition with index i: id + i */
    uint64_t before; /* id of the failover that was in force when this one began, and is again
                        when this one is cancelled; 0: none */
    char region[MRD_NAME_MAX];
    mrd_session session; /* of the lost region, and its last renewal, when the verdict fell: */
    uint64_t seq;        /* a later one shows that the region lives */
    uint8_t state;       /* enum mrd_failover_state */
    mrd_regions observers; /* who vouched, by index in the configuration */
    char reason[24];       /* "unreachable", "lease_expired", "successor"; "cancelled" once the
                              region showed that it lives before anybody refused it */
    mrd_wall_ms fault_ms;  /* last sign of life: when the last renewal was sent */
    mrd_wall_ms detected_ms;
};

struct mrd_fence_record {
    uint64_t failover_id;
    mrd_lsn applied_lsn; /* of the fenced region's WAL, applied and flushed at BY */
    mrd_session applied_session;
    uint64_t applied_boot_ms;
    mrd_wall_ms at_ms;
};

enum mrd_approval_state {
    MRD_APPROVAL_PENDING,  /* the verdict stands; operators are asked */
    MRD_APPROVAL_GIVEN,    /* enough of them approved: the failover begins */
    MRD_APPROVAL_REJECTED, /* not asked again for this verdict, but may still be approved */
    MRD_APPROVAL_OVER,     /* the failover began, or the region lives */
};

#define MRD_APPROVERS_MAX 2

struct mrd_approval_record {
    uint64_t id;
    char region[MRD_NAME_MAX]; /* whose partitions would move away */
    mrd_session session;       /* as in mrd_failover_record: which verdict this is about */
    uint64_t seq;
    uint8_t state;  /* enum mrd_approval_state */
    uint8_t needed; /* distinct operators; 1 or MRD_APPROVERS_MAX */
    uint8_t given;
    char by[MRD_APPROVERS_MAX][MRD_NAME_MAX]; /* who approved, in order */
    char rejected_by[MRD_NAME_MAX];
    char reason[24]; /* of the verdict, as in mrd_failover_record */
    mrd_regions observers;
    mrd_wall_ms asked_ms, decided_ms;
};

/** What operators want of a region; without a record it is 100 percent, not drained. */
struct mrd_dial_record {
    uint8_t percent; /* of the traffic that it would get, 0..100 */
    bool drained;    /* takes none, whatever @percent says, and is to be nobody's home */
    char by[MRD_NAME_MAX];
    mrd_wall_ms at_ms;
};

enum mrd_move_state {
    MRD_MOVE_FREEZE, /* the home drains writers */
    MRD_MOVE_FROZEN, /* nothing is in flight; the final position is known */
    MRD_MOVE_DONE,
    MRD_MOVE_ABORTED,
    MRD_MOVE_WAIT, /* before the others: the home goes on until what the target lost in an
                      earlier failover is repaired there; nothing is frozen yet */
};

struct mrd_move_record {
    uint64_t id; /* of its receipt */
    char from[MRD_NAME_MAX], to[MRD_NAME_MAX];
    mrd_epoch epoch; /* that is being closed */
    uint8_t state;   /* enum mrd_move_state */
    mrd_lsn final_lsn;
    mrd_session final_session;
    uint64_t final_boot_ms;
    mrd_wall_ms started_ms;
    char why[128]; /* for aborted */
};

/*
 * Every decoder reads one whole record: 0, MRD_EFORMAT or MRD_EVERSION, and @ret is touched
 * only on success. Names and texts inside are free of control characters. Encoders return 0 or
 * MRD_ETOOBIG.
 */

/** Times are wall clock of the agent that did the step; 0 is "not yet". */
struct mrd_receipt_record {
    uint64_t id;
    char kind[16]; /* "failover" or "move" */
    char class_name[MRD_NAME_MAX], partition[MRD_NAME_MAX];
    char from[MRD_NAME_MAX], to[MRD_NAME_MAX];
    mrd_epoch epoch;     /* the new one */
    char observers[256]; /* names, or the operator for a move */
    char note[128];      /* how it ended: empty while under way, "granted", or why not */
    mrd_lsn cut;
    mrd_wall_ms fault_ms;    /* last sign of life of the old home: its last renewal */
    mrd_wall_ms detected_ms; /* verdict committed (move: asked for) */
    mrd_wall_ms expired_ms;  /* lease expiry committed, before or after the grant; 0 when
                                nothing waited for it */
    mrd_wall_ms fenced_ms;   /* last survivor's refusal (move: frozen) */
    mrd_wall_ms granted_ms;  /* new authority committed */
    mrd_wall_ms opened_ms;   /* the new home opened its guard */
    mrd_wall_ms first_write_ms;
    mrd_wall_ms returned_ms; /* the old home's tail was taken whole; the receipt is final */
    uint64_t tail_transactions, tail_rows;
    uint64_t rpo_ms;       /* span of the tail's commit times */
    uint32_t rto_ms;       /* fault to first write, or where nobody wrote to when a write
                              would have been taken (move: pause); 0: not known yet */
    mrd_epoch taken_epoch; /* the home of this epoch has sent the old home what to hold instead
                              of its tail; 0: nobody has */
    mrd_lsn taken_lsn;     /* before this position of its WAL: who has applied that is whole */
    bool tail_gone; /* the old home was made anew: what of its tail is not counted above is gone
                       with its disk, and nobody knows how much that was */
};

/** The region lost all it had, and begins another life under its name (anew.c). */
struct mrd_anew_record {
    uint64_t life;       /* drawn when the new state directory was made; never 0 */
    mrd_session session; /* the last of the life before */
    mrd_lsn begins;      /* where the WAL of this life begins: beyond all that was ever known of
                            the life before */
    mrd_wall_ms at_ms;
};

int mrd_session_record_encode(const struct mrd_session_record *r, struct mrd_buf *out);
int mrd_session_record_decode(struct mrd_buf *in, struct mrd_session_record *ret);
int mrd_authority_record_encode(const struct mrd_authority_record *r, struct mrd_buf *out);
int mrd_authority_record_decode(struct mrd_buf *in, struct mrd_authority_record *ret);
int mrd_failover_record_encode(const struct mrd_failover_record *r, struct mrd_buf *out);
int mrd_failover_record_decode(struct mrd_buf *in, struct mrd_failover_record *ret);
int mrd_fence_record_encode(const struct mrd_fence_record *r, struct mrd_buf *out);
int mrd_fence_record_decode(struct mrd_buf *in, struct mrd_fence_record *ret);
int mrd_approval_record_encode(const struct mrd_approval_record *r, struct mrd_buf *out);
int mrd_approval_record_decode(struct mrd_buf *in, struct mrd_approval_record *ret);
int mrd_dial_record_encode(const struct mrd_dial_record *r, struct mrd_buf *out);
int mrd_dial_record_decode(struct mrd_buf *in, struct mrd_dial_record *ret);
int mrd_move_record_encode(const struct mrd_move_record *r, struct mrd_buf *out);
int mrd_move_record_decode(struct mrd_buf *in, struct mrd_move_record *ret);
int mrd_anew_record_encode(const struct mrd_anew_record *r, struct mrd_buf *out);
int mrd_anew_record_decode(struct mrd_buf *in, struct mrd_anew_record *ret);
int mrd_receipt_record_encode(const struct mrd_receipt_record *r, struct mrd_buf *out);
int mrd_receipt_record_decode(struct mrd_buf *in, struct mrd_receipt_record *ret);
