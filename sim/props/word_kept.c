/*
 * What a survivor said it has of a lost home, when it refused its stream, is what it has until
 * the cut is drawn: it applies nothing more of a partition that is still undecided.
 */
#include "props.h"

void sim_look_word_kept(struct sim *w, const struct sim_fact *f)
{
    const struct mrd_authority_record *a = &w->authority[f->partition];
    const struct sim_record *rec;

    if (f->kind == SIM_SAYS_REFUSED) {
        w->refused[f->region][f->peer] = true;
    } else if (f->kind == SIM_SAYS_FAILOVER) {
        /* It begins, or it is over: nobody is bound by what was said before. */
        for (unsigned i = 0; i < w->config->region_count; i++) {
            w->refused[i][f->region] = false;
        }
    } else if (f->kind == SIM_SAYS_TAKEN && f->number == SIM_APPLIED &&
               w->refused[f->region][f->peer]) {
        rec = &w->regions[f->peer].postgres.wal[f->record];
        if (rec->epoch == a->epoch && a->state != MRD_AUTH_VACANT) {
            sim_broken(w, "word kept",
                       "%s applies commit %llu of %s (%s) after it refused, undecided",
                       sim_name(w, f->region), (unsigned long long)rec->lsn,
                       sim_name(w, f->peer), sim_class(w, f->partition)->name);
        }
    }
}
