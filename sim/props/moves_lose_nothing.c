/*
 * A planned move loses nothing: no commit of the epoch that it closed lies past its cut, not
 * even an unacknowledged one, and none is made afterwards.
 */
#include "props.h"

#include <string.h>

static void broken(struct sim *w, unsigned origin, const struct sim_record *rec, mrd_lsn cut)
{
    sim_broken(w, "moves lose nothing",
               "commit %llu of %s (%s, epoch %llu) lies past the move's "
               "final position %llu",
               (unsigned long long)rec->lsn, sim_name(w, origin),
               sim_class(w, rec->partition)->name, (unsigned long long)rec->epoch,
               (unsigned long long)cut);
}

static void check_closed(struct sim *w, unsigned p, const struct mrd_closed_record *c)
{
    int o = mrd_config_region(w->config, c->region);
    const struct sim_postgres *pg = &w->regions[o].postgres;

    for (size_t k = pg->count; k > 0 && pg->wal[k - 1].lsn > c->cut; k--) {
        const struct sim_record *rec = &pg->wal[k - 1];
        if (rec->kind == SIM_REC_COMMIT && rec->partition == p && rec->epoch == c->epoch) {
            broken(w, (unsigned)o, rec, c->cut);
        }
    }
}

void sim_look_moves_lose_nothing(struct sim *w, const struct sim_fact *f)
{
    if (f->kind == SIM_SAYS_AUTHORITY && f->authority->epoch > f->before->epoch &&
        f->authority->history_count > 0) {
        const struct mrd_closed_record *c =
            &f->authority->history[f->authority->history_count - 1];
        if (strcmp(c->reason, "move") == 0) {
            check_closed(w, f->partition, c);
        }
    } else if (f->kind == SIM_SAYS_COMMITTED) {
        const struct sim_record *rec = &w->regions[f->region].postgres.wal[f->record];
        const struct mrd_closed_record *c = sim_closed(w, f->region, rec);
        if (c != NULL && strcmp(c->reason, "move") == 0) {
            broken(w, f->region, rec, c->cut);
        }
    }
}
