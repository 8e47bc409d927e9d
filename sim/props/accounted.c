/*
 * At the end, with everything healed, every commit that was ever made is either applied at
 * every replica or filed as lost tail at every replica but its origin, once; and the origin was
 * sent what to hold instead. Nothing acknowledged has vanished.
 */
#include "props.h"

static void check_replica(struct sim *w, unsigned origin, const struct sim_record *rec,
                          const struct mrd_closed_record *c, unsigned i)
{
    bool counts = c == NULL || rec->lsn <= c->cut;
    enum sim_fate due = counts ? SIM_APPLIED : SIM_TAIL;

    if (rec->fate[i] != due) {
        sim_broken(w, "accounted", "%scommit %llu of %s (%s, epoch %llu) is %s at %s, not %s",
                   rec->acked ? "acknowledged " : "", (unsigned long long)rec->lsn,
                   sim_name(w, origin), sim_class(w, rec->partition)->name,
                   (unsigned long long)rec->epoch, sim_fate_name(rec->fate[i]), sim_name(w, i),
                   sim_fate_name((uint8_t)due));
    }
    if (rec->filed[i] > 1) {
        sim_broken(w, "accounted", "commit %llu of %s is filed %u times at %s",
                   (unsigned long long)rec->lsn, sim_name(w, origin), rec->filed[i],
                   sim_name(w, i));
    }
}

static void check_commit(struct sim *w, unsigned origin, const struct sim_record *rec)
{
    const struct mrd_authority_record *a = &w->authority[rec->partition];
    const struct mrd_closed_record *c = sim_closed(w, origin, rec);
    mrd_epoch oldest = a->history_count > 0 ? a->history[0].epoch : a->epoch;

    if (rec->epoch < oldest) {
        return; /* older than the history: what counted then cannot be asked any more */
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        if (i != origin && (sim_class(w, rec->partition)->replicas >> i & 1u) != 0 &&
            !w->regions[i].postgres.streams[origin].gone) {
            check_replica(w, origin, rec, c, i);
        }
    }
    w->report->reconciled += c != NULL && rec->lsn > c->cut;
}

void sim_look_accounted(struct sim *w, const struct sim_fact *f)
{
    if (f->kind != SIM_SAYS_END) {
        return;
    }
    for (unsigned o = 0; o < w->config->region_count; o++) {
        const struct sim_postgres *pg = &w->regions[o].postgres;
        for (size_t k = 0; k < pg->count; k++) {
            if (pg->wal[k].kind == SIM_REC_COMMIT) {
                check_commit(w, o, &pg->wal[k]);
            }
        }
    }
}
