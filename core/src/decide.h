/*
 * The coordinator's parts (mrd/control.h), one file each: coordinator.c keeps the order of
 * priorities, health.c gives verdicts, failover.c moves authority away from a lost region,
 * approval.c asks operators first where they want that, move.c looks after planned moves,
 * drain.c begins those of drained regions.
 * Private to core's control half.
 *
 * Each part fills the proposal and returns true, or leaves it unused and returns false.
 */
#pragma once

#include "view.h"

/** One step of the coordinator: what every part works on. */
struct mrdi_step {
    struct mrd_coordinator *c;
    const struct mrd_config *config;
    const struct mrd_store *store;
    struct mrdi_view v;
    mrd_boot_ns now_ns;
    mrd_wall_ms wall_ms;
    struct mrd_proposal *p;
};

/** How long ago we applied @revision of a record; one we had not noted counts as applied now.
 */
mrd_boot_ns mrdi_age_ns(struct mrd_seen *seen, uint64_t revision, mrd_boot_ns now_ns);

/** After this much silence on our own clock the holder of a lease has stopped by itself. */
mrd_boot_ns mrdi_lease_over_ns(const struct mrd_config *config);

/** Is region @t down by the rules of mrd_coordinator_step? Then also who vouches, and why. */
bool mrdi_verdict(struct mrdi_step *s, unsigned t, mrd_regions *ret_observers,
                  const char **ret_reason);

bool mrdi_failover_step(struct mrdi_step *s);

/* What operators decide (approval.c). @f is the failover that would begin. */
bool mrdi_approved(const struct mrdi_step *s, const struct mrd_failover_record *f);
/** Ask them, unless that was done for this verdict. */
bool mrdi_approval_ask(struct mrdi_step *s, const struct mrd_failover_record *f);
/** The failover begins in this proposal: the question is settled. */
void mrdi_approval_use(struct mrdi_step *s, const struct mrd_failover_record *f);
/** Take back questions about regions that live. */
bool mrdi_approval_step(struct mrdi_step *s);

bool mrdi_move_step(struct mrdi_step *s);

/** Begin to move one home away from a drained region (drain.c). */
bool mrdi_drain_step(struct mrdi_step *s);

/** Add "the move of this partition ended without a new home, because" to a proposal. */
void mrdi_move_abort(struct mrd_proposal *p, const struct mrd_store *store,
                     const struct mrdi_partition *at, const struct mrd_move_record *m,
                     uint64_t revision, const char *why, mrd_wall_ms wall_ms);
