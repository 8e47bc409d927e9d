/*
 * No acknowledged commit of a quorum class lies past the cut of its epoch, whatever the clocks
 * did: neither when the epoch is closed nor by an acknowledgement afterwards.
 */
#include "props.h"

#include <string.h>

static void broken(struct sim *w, unsigned origin, const struct sim_record *rec, mrd_lsn cut,
                   const char *when)
{
    sim_broken(w, "quorum kept", "commit %llu of %s (%s, epoch %llu) %s lies past the cut %llu",
               (unsigned long long)rec->lsn, sim_name(w, origin),
               sim_class(w, rec->partition)->name, (unsigned long long)rec->epoch, when,
               (unsigned long long)cut);
}

static void check_closed(struct sim *w, unsigned p, const struct mrd_closed_record *c)
{
    int o = mrd_config_region(w->config, c->region);
    const struct sim_postgres *pg = &w->regions[o].postgres;

    for (size_t k = pg->count; k > 0 && pg->wal[k - 1].lsn > c->cut; k--) {
        const struct sim_record *rec = &pg->wal[k - 1];
        if (rec->kind == SIM_REC_COMMIT && rec->partition == p && rec->epoch == c->epoch &&
            rec->acked) {
            broken(w, (unsigned)o, rec, c->cut, "was acknowledged and");
        }
    }
}

void sim_look_quorum_kept(struct sim *w, const struct sim_fact *f)
{
    const struct mrd_closed_record *c;

    if ((f->kind != SIM_SAYS_AUTHORITY && f->kind != SIM_SAYS_ACKED) ||
        sim_class(w, f->partition)->durability != MRD_QUORUM) {
        return;
    }
    if (f->kind == SIM_SAYS_AUTHORITY) {
        if (f->authority->epoch > f->before->epoch && f->authority->history_count > 0) {
            check_closed(w, f->partition,
                         &f->authority->history[f->authority->history_count - 1]);
        }
        return;
    }
    c = sim_closed(w, f->region, &w->regions[f->region].postgres.wal[f->record]);
    if (c != NULL && w->regions[f->region].postgres.wal[f->record].lsn > c->cut) {
        broken(w, f->region, &w->regions[f->region].postgres.wal[f->record], c->cut,
               "is acknowledged late and");
    }
}
