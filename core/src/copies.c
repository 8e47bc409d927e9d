/*
 * Copies: how much of a partition a region holds, and whether it can still get the rest.
 *
 * A partition's closed epochs each end at a cut, a position in the WAL of the home that they
 * had. A region may write the next epoch only when it has applied each of these up to its cut.
 * What it lacks comes from the old home, once that has returned, or else from another live
 * region that has it. When neither is there the copy is stuck: granting the partition to that
 * region would leave it closed for as long as they are away, and nobody would say why.
 *
 * A region may also hold too much: what it wrote past a cut of its own, its lost tail, until a
 * later home has sent it that home's rows instead. These lie in the WAL of that home, and count
 * only if its epoch was not in turn cut before them; then the next home sends its own. Or it
 * was away when a failover drew a cut, and had applied more than that of the home that was
 * lost.
 */
#include "mutant.h"
#include "view.h"

#include <string.h>

static mrd_lsn read_applied(const struct mrdi_view *v, unsigned by, unsigned origin)
{
    const struct mrd_peer_report *r = mrdi_report(v, by, origin);
    mrd_lsn reported = r != NULL ? r->applied_lsn : 0;
    struct mrd_fence_record f;
    bool ok;

    (void)mrdi_fence(v, origin, by, &f, &ok);
    return ok && f.applied_lsn > reported ? f.applied_lsn : reported;
}

mrd_lsn mrdi_applied(const struct mrdi_view *v, unsigned by, unsigned origin)
{
    struct mrdi_known *k = v->known;

    if ((k->has_applied[by] >> origin & 1u) == 0) {
        k->applied[by][origin] = read_applied(v, by, origin);
        k->has_applied[by] |= (mrd_regions)(1u << origin);
    }
    return k->applied[by][origin];
}

bool mrdi_holds(const struct mrdi_view *v, unsigned by, unsigned origin, mrd_lsn lsn)
{
    return mrdi_live(v, by) && mrdi_applied(v, by, origin) >= lsn;
}

bool mrdi_hands_on(const struct mrdi_view *v, unsigned by, unsigned to, unsigned origin)
{
    if (by == to || by == origin || v->config->regions[by].witness) {
        return false;
    }
    for (unsigned i = 0; i < v->config->class_count; i++) {
        mrd_regions replicas = v->config->classes[i].replicas;
        if ((replicas >> to & replicas >> origin & 1u) != 0 && (replicas >> by & 1u) == 0 &&
            !MRDI_MUTANT(GAPS)) {
            return false;
        }
    }
    return true;
}

/* Somebody else than @without can hand over to @to what @origin wrote up to @lsn: itself, or
 * who holds it. */
static bool obtainable(const struct mrdi_view *v, unsigned to, unsigned origin, mrd_lsn lsn,
                       unsigned without)
{
    /* Who was made anew has nothing of what it wrote before, however live it is. */
    if (origin != without && mrdi_returned(v, origin) && !mrdi_fencing(v, origin) &&
        !mrdi_life_ended(v, mrdi_name(v, origin), lsn)) {
        return true;
    }
    for (unsigned i = 0; i < v->config->region_count; i++) {
        if (i != without && mrdi_hands_on(v, i, to, origin) && mrdi_holds(v, i, origin, lsn)) {
            return true;
        }
    }
    return false;
}

bool mrdi_epoch_here(const struct mrdi_view *v, unsigned self,
                     const struct mrd_authority_record *a, unsigned i, mrd_lsn applied)
{
    const char *home = a->region[0] != '\0' ? a->region : a->last_region;
    bool later = i + 1 < a->history_count || !mrdi_same(home, mrdi_name(v, self));

    return mrdi_same(a->history[i].region, mrdi_name(v, self)) ||
           mrd_epoch_here(applied, a->history[i].cut, later);
}

enum mrdi_copy mrdi_copy_of(const struct mrdi_view *v, unsigned self,
                            const struct mrd_authority_record *a, unsigned without,
                            const char **ret_origin)
{
    enum mrdi_copy copy = MRDI_COPY_WHOLE;

    for (unsigned i = 0; i < a->history_count; i++) {
        const struct mrd_closed_record *c = &a->history[i];
        int origin = mrd_config_region(v->config, c->region);
        mrd_lsn applied = origin >= 0 ? mrdi_applied(v, self, (unsigned)origin) : 0;
        if (mrdi_epoch_here(v, self, a, i, applied)) {
            continue;
        }
        *ret_origin = c->region;
        if (origin < 0 || !obtainable(v, self, (unsigned)origin, c->cut, without)) {
            return MRDI_COPY_STUCK;
        }
        copy = MRDI_COPY_LATE;
    }
    return copy;
}

/* Was the position @lsn of the WAL of epoch @epoch's home before the end of that epoch? */
static bool counts(const struct mrd_authority_record *a, mrd_epoch epoch, mrd_lsn lsn,
                   mrd_lsn cut)
{
    if (epoch == a->epoch) {
        return lsn <= cut;
    }
    for (unsigned i = 0; i < a->history_count; i++) {
        if (a->history[i].epoch == epoch) {
            return lsn <= a->history[i].cut;
        }
    }
    return false;
}

bool mrdi_epoch_taken(const struct mrdi_view *v, const struct mrd_authority_record *a,
                      const struct mrd_closed_record *c, mrd_lsn cut)
{
    const struct mrd_receipt_record *r;

    if (!mrdi_same(c->reason, "failover") || mrdi_life_ended(v, c->region, c->cut)) {
        return true;
    }
    r = mrdi_receipt_at(v, c->receipt);
    /* Of what is too old to have a receipt nobody could ever say more. */
    return r == NULL || (r->taken_epoch != 0 && counts(a, r->taken_epoch, r->taken_lsn, cut));
}

bool mrdi_uncompared(const struct mrdi_view *v, unsigned region,
                     const struct mrd_authority_record *a)
{
    for (unsigned i = 0; i < a->history_count; i++) {
        /* Of what it wrote itself it has a lost tail, which is looked at below. */
        if ((a->history[i].unfenced >> region & 1u) != 0 && !MRDI_MUTANT(HOME_UNCOMPARED) &&
            strcmp(a->history[i].region, mrdi_name(v, region)) != 0) {
            return true;
        }
    }
    return false;
}

bool mrdi_tail_taken(const struct mrdi_view *v, unsigned region,
                     const struct mrd_authority_record *a, mrd_lsn cut)
{
    if (mrdi_uncompared(v, region, a)) {
        return false;
    }
    for (unsigned i = 0; i < a->history_count; i++) {
        if (mrdi_same(a->history[i].region, mrdi_name(v, region)) &&
            !mrdi_epoch_taken(v, a, &a->history[i], cut) && !MRDI_MUTANT(OWN_TAIL)) {
            return false;
        }
    }
    return true;
}
