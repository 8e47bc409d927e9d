/*
 * Epochs only grow, by one, and each belongs to one region; nobody who holds a lease is shown
 * an older one than before; and every replica applies them in their order.
 */
#include "props.h"

#include <string.h>

static void check_record(struct sim *w, const struct sim_fact *f)
{
    const struct mrd_authority_record *was = f->before, *is = f->authority;
    const char *whose = was->region[0] != '\0' ? was->region : was->last_region;
    const char *now = is->region[0] != '\0' ? is->region : is->last_region;

    if (was->epoch == 0) {
        return;
    }
    if (is->epoch < was->epoch) {
        sim_broken(w, "epochs grow", "epoch of %s went from %llu back to %llu",
                   sim_class(w, f->partition)->name, (unsigned long long)was->epoch,
                   (unsigned long long)is->epoch);
    } else if (is->epoch == was->epoch && strcmp(whose, now) != 0) {
        sim_broken(w, "epochs grow", "epoch %llu of %s belongs to %s and to %s",
                   (unsigned long long)is->epoch, sim_class(w, f->partition)->name, whose, now);
    }
}

static void check_snapshot(struct sim *w, unsigned i)
{
    const struct mrd_snapshot *s = sim_snapshot(w, i);

    for (unsigned p = 0; s->session != 0 && p < s->partition_count; p++) {
        mrd_epoch epoch = s->partitions[p].authority.epoch;
        if (epoch < w->seen_epoch[i][p]) {
            sim_broken(w, "epochs grow", "%s saw the epoch of %s go back to %llu",
                       sim_name(w, i), sim_class(w, p)->name, (unsigned long long)epoch);
        }
        w->seen_epoch[i][p] = epoch;
    }
}

/* A later epoch's values must not be overwritten by an earlier one's. */
static void check_order(struct sim *w, const struct sim_fact *f)
{
    mrd_epoch epoch = w->regions[f->peer].postgres.wal[f->record].epoch;
    mrd_epoch *seen = &w->applied_epoch[f->region][f->partition];

    if (epoch < *seen) {
        sim_broken(w, "epochs grow", "%s applies epoch %llu of %s after epoch %llu",
                   sim_name(w, f->region), (unsigned long long)epoch,
                   sim_class(w, f->partition)->name, (unsigned long long)*seen);
    }
    *seen = epoch > *seen ? epoch : *seen;
}

void sim_look_epochs_grow(struct sim *w, const struct sim_fact *f)
{
    if (f->kind == SIM_SAYS_AUTHORITY) {
        check_record(w, f);
    } else if (f->kind == SIM_SAYS_PUBLISHED) {
        check_snapshot(w, f->region);
    } else if (f->kind == SIM_SAYS_TAKEN && f->number == SIM_APPLIED) {
        check_order(w, f);
    }
}
