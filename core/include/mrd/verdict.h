/*
 * Refusals are answers, not errors: "no, because" is a value. Each reason has one sentence and
 * one hint, which the log, SQL, the CLI and the docs all show.
 */
#pragma once

#include <stdbool.h>

#include <mrd/snapshot.h>

/* X(name, sentence, hint) */
#define MRD_REASON_MAP(X)                                                                      \
    X(ALLOWED, "allowed", "")                                                                  \
    X(NO_SNAPSHOT, "this region's agent has published nothing yet",                            \
      "Start the agent, or wait until it has joined.")                                         \
    X(UNKNOWN_PARTITION, "no such partition", "List the partitions with: meridian classes.")   \
    X(NOT_HOME, "this region is not the home of the data", "Send writes to the home region.")  \
    X(VACANT, "no region may write this data now", "See why with: meridian events.")           \
    X(FENCING, "the home is being replaced", "Retry in a few seconds.")                        \
    X(FROZEN, "the data is moving to another home", "Retry in a moment.")                      \
    X(NO_LEASE, "this region holds no lease",                                                  \
      "Check this region's agent and its links with: meridian leases.")                        \
    X(LEASE_ENDED, "this region's lease has ended",                                            \
      "Check this region's agent and its links with: meridian leases.")                        \
    X(EPOCH_CHANGED, "the write authority changed during the transaction",                     \
      "Retry the transaction at the home region.")

enum mrd_reason {
#define MRD_REASON_ENUM(name, sentence, hint) MRD_WHY_##name,
    MRD_REASON_MAP(MRD_REASON_ENUM)
#undef MRD_REASON_ENUM
};

struct mrd_verdict {
    bool allow;
    enum mrd_reason why;
    mrd_region home; /* the present home, or MRD_REGION_NONE */
    mrd_epoch epoch;
};

const char *mrd_reason_sentence(enum mrd_reason why);
const char *mrd_reason_hint(enum mrd_reason why);

/**
 * May this region write the partition now?
 *
 * @s          the snapshot, or NULL when there is none
 * @partition  index into @s->partitions, or negative when unknown
 * @now_ns     CLOCK_BOOTTIME of this host
 *
 * Allowed iff the authority is ours and open and the lease has more than the commit margin
 * left. Reasons are tried in the order: no snapshot, unknown, vacant, not home, fencing,
 * frozen, no lease, lease ended.
 */
struct mrd_verdict mrd_guard(const struct mrd_snapshot *s, int partition, mrd_boot_ns now_ns);

/**
 * May a transaction that was allowed at @epoch still commit?
 *
 * Like mrd_guard, with two differences. Another epoch than @epoch is EPOCH_CHANGED, whoever
 * is home now. And a partition that froze meanwhile lets the transactions finish that its
 * move waits for: allowed, with FROZEN as the reason.
 */
struct mrd_verdict mrd_guard_commit(const struct mrd_snapshot *s, int partition,
                                    mrd_epoch epoch, mrd_boot_ns now_ns);

/** May this region apply changes of others now? True while its own lease is live. */
bool mrd_may_apply(const struct mrd_snapshot *s, mrd_boot_ns now_ns);
