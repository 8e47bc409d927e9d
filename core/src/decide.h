/*
 * The coordinator's parts (mrd/control.h), one file each: coordinator.c keeps the order of
 * priorities, health.c gives verdicts, failover.c moves authority away from a lost region,
 * judge.c says for each of its partitions to whom, approval.c asks operators first where they
 * want that, move.c looks after planned moves, drain.c begins those of drained regions.
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

/**
 * Has every lease certainly ended that @t could hold without knowing that it is being replaced?
 * Once true it stays so: an expired session never revives, and @t opens another, or extends
 * what it has, only with the failover's record before its eyes.
 *
 * @ret_expired  by the expiry of its session, and not by our clock alone
 */
bool mrdi_lease_over(struct mrdi_step *s, unsigned t, bool *ret_expired);

/** Is region @t down by the rules of mrd_coordinator_step? Then also who vouches, and why. */
bool mrdi_verdict(struct mrdi_step *s, unsigned t, mrd_regions *ret_observers,
                  const char **ret_reason);

bool mrdi_failover_step(struct mrdi_step *s);

/* ---- judging one partition of a region that is being replaced (judge.c) ---- */

enum mrdi_outcome { MRDI_WAIT, MRDI_GRANT, MRDI_VACATE };

struct mrdi_judgement {
    enum mrdi_outcome outcome;
    mrd_regions fenced, dead;    /* other replicas: refused; neither refused nor live */
    mrd_regions pending;         /* live, but have not refused */
    bool held;                   /* GRANT: a lease of the old home may still run */
    bool home_expired;           /* GRANT, not held: by the expiry of its session */
    unsigned to;                 /* GRANT: the successor */
    struct mrd_fence_record cut; /* GRANT: the refusal that reached furthest */
    mrd_wall_ms fenced_ms;       /* GRANT: the last refusal */
    char why[128];               /* VACATE: the sentence an operator reads */
};

static inline bool mrdi_in(mrd_regions set, unsigned region)
{
    return (set >> region & 1u) != 0;
}

static inline mrd_regions mrdi_bit(unsigned region)
{
    return (mrd_regions)(1u << region);
}

void mrdi_judge(struct mrdi_step *s, const struct mrdi_partition *p, unsigned t,
                const struct mrd_authority_record *a, struct mrdi_judgement *ret);

/**
 * Could anybody take the partition over from @t, as things stand? Otherwise @why says why not.
 *
 * @fenced  replicas that refused already, for whom it does not matter if they died since
 * @cut     as in mrdi_tail_taken: as far as is known by now
 */
bool mrdi_feasible(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                   const struct mrd_authority_record *a, mrd_regions fenced, mrd_lsn cut,
                   char why[128]);

/**
 * Who refused and died since counts, but not if he alone holds the furthest position: whoever
 * took over could never get there. The cut is then drawn among the others, if they are enough,
 * and the closed epoch names him as unfenced.
 */
void mrdi_collect_usable(const struct mrdi_view *v, const struct mrd_conf_class *class,
                         unsigned t, struct mrdi_judgement *ret);

/**
 * Which of @dead were still thought live when @t was last heard: they may have applied more of
 * what it wrote than anybody who refused.
 */
mrd_regions mrdi_lost_together(const struct mrdi_view *v, unsigned t, mrd_regions dead);

/** What @by refused in the present failover of @t; false: it has not. */
bool mrdi_fence_of(const struct mrdi_view *v, unsigned t, unsigned by,
                   struct mrd_fence_record *ret, uint64_t *ret_revision);

/** The sentence for writes of @origin that nobody live can hand over. */
void mrdi_say_stuck(const char *origin, char why[128]);

/* ---- operators ---- */

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
void mrdi_move_abort(struct mrdi_step *s, const struct mrdi_partition *at,
                     const struct mrd_move_record *m, uint64_t revision, const char *why);
