/*
 * A read with a token is served where the token's write is, or is told that the write may be
 * lost.
 */
#include "props.h"

void sim_look_reads_go_forward(struct sim *w, const struct sim_fact *f)
{
    const struct sim_record *rec;

    if (f->kind != SIM_SAYS_READ || f->number == MRD_ROUTE_TOKEN_LOST) {
        return;
    }
    rec = &w->regions[f->token->origin].postgres.wal[f->token->record];
    if (rec->fate[f->region] != SIM_APPLIED && rec->fate[f->region] != SIM_PAST) {
        sim_broken(
            w, "reads go forward",
            "%s serves a read of %s (%s) without commit %llu of %s (%s there), which its "
            "token stands for",
            sim_name(w, f->region), sim_class(w, f->partition)->name,
            mrd_route_why_name((enum mrd_route_why)f->number), (unsigned long long)rec->lsn,
            sim_name(w, f->token->origin), sim_fate_name(rec->fate[f->region]));
    }
}
