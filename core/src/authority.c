/*
 * Who may write, and which commits of earlier writers count (mrd/authority.h).
 *
 * Epochs grow by one per grant, so the history is a run of consecutive epochs ending just
 * below the present one; an epoch that is older than its first entry was forgotten, not
 * unknown. Each epoch belongs to exactly one region: the same number from any other origin was
 * never granted, and its change can only be tail.
 */
#include <mrd/authority.h>

#include <mrd/err.h>
#include <mrd/record.h>

#include "mutant.h"

#include <stdio.h>
#include <string.h>

static const struct mrd_closed_epoch *closed(const struct mrd_authority *a, mrd_epoch epoch)
{
    for (unsigned i = 0; i < a->history_count && i < MRD_HISTORY_MAX; i++) {
        if (a->history[i].epoch == epoch) {
            return &a->history[i];
        }
    }
    return NULL;
}

enum mrd_accept mrd_authority_accepts(const struct mrd_authority *a, mrd_region origin,
                                      mrd_epoch epoch, mrd_lsn lsn)
{
    const struct mrd_closed_epoch *past = NULL;

    if (epoch == 0) {
        return MRD_ACCEPT_TAIL;
    }
    if (epoch > a->epoch) {
        return MRD_ACCEPT;
    }
    if (epoch == a->epoch) {
        return origin == a->region ? MRD_ACCEPT : MRD_ACCEPT_TAIL;
    }
    past = closed(a, epoch);
    if (past == NULL) {
        return MRD_ACCEPT_GONE;
    }
    return past->region == origin && (lsn <= past->cut || MRDI_MUTANT(FORGET_CUT))
               ? MRD_ACCEPT
               : MRD_ACCEPT_TAIL;
}

bool mrd_epoch_here(mrd_lsn applied, mrd_lsn cut, bool later)
{
    return applied >= cut || (applied == 0 && later);
}

bool mrd_authority_complete(const struct mrd_authority *a, mrd_region self, mrd_region origin,
                            mrd_epoch epoch, const mrd_lsn applied[MRD_REGIONS_MAX])
{
    if (epoch > a->epoch) {
        return false;
    }
    for (unsigned i = 0; i < a->history_count && i < MRD_HISTORY_MAX; i++) {
        const struct mrd_closed_epoch *c = &a->history[i];
        /* Two homes that follow each other are never the same. */
        bool later = i + 1 < a->history_count || a->region != self;

        if (!MRDI_MUTANT(OUT_OF_ORDER) && c->epoch < epoch && c->region < MRD_REGIONS_MAX &&
            c->region != self && c->region != origin &&
            !mrd_epoch_here(applied[c->region], c->cut, later)) {
            return false;
        }
    }
    return true;
}

bool mrd_authority_past_cut(const struct mrd_authority *a, unsigned i, mrd_region self,
                            mrd_lsn applied)
{
    const struct mrd_closed_epoch *c = &a->history[i];

    mrd_assert(i < a->history_count && i < MRD_HISTORY_MAX && self < MRD_REGIONS_MAX);
    /* Once it is home, its rows are those that count. */
    return (c->unfenced >> self & 1u) != 0 && c->region != self && a->region != self &&
           applied > c->cut && !MRDI_MUTANT(UNCOMPARED);
}

bool mrd_authority_settled(const struct mrd_authority *a, mrd_region origin, mrd_epoch epoch)
{
    return epoch != a->epoch || origin != a->region || a->state != MRD_AUTH_FENCING ||
           MRDI_MUTANT(UNSETTLED);
}

void mrd_authority_grant(struct mrd_authority_record *a, const struct mrd_closed_record *closed,
                         const char *to)
{
    struct mrd_closed_record *last;

    mrd_assert(a->history_count <= MRD_HISTORY_MAX);
    if (a->history_count == MRD_HISTORY_MAX) {
        /* Who was away then has not said yet that it holds what counts. */
        a->history[1].unfenced |= a->history[0].unfenced;
        memmove(&a->history[0], &a->history[1], (MRD_HISTORY_MAX - 1) * sizeof(a->history[0]));
        a->history_count--;
    }
    last = &a->history[a->history_count++];
    *last = *closed;
    last->epoch = a->epoch;
    snprintf(last->region, sizeof(last->region), "%s",
             a->region[0] != '\0' ? a->region : a->last_region);
    a->epoch += MRDI_MUTANT(SAME_EPOCH) ? 0 : 1;
    a->state = MRD_AUTH_OPEN;
    a->held = false;
    snprintf(a->region, sizeof(a->region), "%s", to);
    a->last_region[0] = '\0';
    a->why[0] = '\0';
}
