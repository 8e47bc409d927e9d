/*
 * A home's first write under a new epoch comes after everything that counts of the epochs
 * before it: no commit that lies before a cut is missing there, and none that lies past one is
 * still held, whether it was its own or taken before the cut was heard of, instead of the rows
 * of the home that it was lost to.
 */
#include "props.h"

static void check_epoch(struct sim *w, unsigned i, unsigned p,
                        const struct mrd_closed_record *c)
{
    int o = mrd_config_region(w->config, c->region);
    const struct sim_postgres *pg = &w->regions[o].postgres;

    for (size_t k = 0; k < pg->count; k++) {
        const struct sim_record *rec = &pg->wal[k];
        bool counts = rec->lsn <= c->cut;
        bool held = rec->fate[i] == SIM_APPLIED || rec->fate[i] == SIM_PAST;
        if (rec->kind == SIM_REC_COMMIT && rec->partition == p && rec->epoch == c->epoch &&
            held != counts) {
            sim_broken(w, "tail first", "%s opens %s %s commit %llu of %s (epoch %llu)",
                       sim_name(w, i), sim_class(w, p)->name,
                       counts ? "without" : "with the lost", (unsigned long long)rec->lsn,
                       sim_name(w, (unsigned)o), (unsigned long long)rec->epoch);
            return;
        }
    }
}

static void check_own(struct sim *w, unsigned i, unsigned p, const struct mrd_closed_record *c)
{
    const struct sim_postgres *pg = &w->regions[i].postgres;

    for (size_t k = 0; k < pg->count; k++) {
        const struct sim_record *rec = &pg->wal[k];
        if (rec->kind == SIM_REC_COMMIT && rec->partition == p && rec->epoch == c->epoch &&
            rec->lsn > c->cut && !rec->repaired) {
            sim_broken(w, "tail first",
                       "%s opens %s with commit %llu, which it lost in epoch %llu",
                       sim_name(w, i), sim_class(w, p)->name, (unsigned long long)rec->lsn,
                       (unsigned long long)rec->epoch);
            return;
        }
    }
}

void sim_look_tail_first(struct sim *w, const struct sim_fact *f)
{
    const struct mrd_authority_record *a = &w->authority[f->partition];

    /* Once for each epoch; a commit under another than the newest has lost already. */
    if (f->kind != SIM_SAYS_COMMITTED || f->number != a->epoch ||
        w->begun_epoch[f->partition] == a->epoch) {
        return;
    }
    w->begun_epoch[f->partition] = a->epoch;
    for (unsigned k = 0; k < a->history_count; k++) {
        if (mrd_config_region(w->config, a->history[k].region) == f->region) {
            check_own(w, f->region, f->partition, &a->history[k]);
        } else {
            check_epoch(w, f->region, f->partition, &a->history[k]);
        }
    }
}
