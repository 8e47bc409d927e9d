/*
 * Liveness: with everything healed the world converges within the time that is left, and then
 * stays as it is. Otherwise this names what is stuck.
 */
#include "props.h"

static void stuck_region(struct sim *w, unsigned i)
{
    const struct mrd_node *n = w->regions[i].node;

    if (n->region.deadline_ns <= sim_boot_ns(w, i)) {
        sim_broken(w, "settles", "%s holds no lease (session %llu, %s)", sim_name(w, i),
                   (unsigned long long)n->region.session,
                   n->caught_up ? "its store has caught up" : "its store has not caught up");
    }
}

static void stuck_partition(struct sim *w, unsigned p)
{
    const struct mrd_authority_record *a = &w->authority[p];
    int home = mrd_config_region(w->config, a->region);
    struct mrd_verdict v;

    if (a->state != MRD_AUTH_OPEN || home < 0) {
        sim_broken(w, "settles", "%s (partition %u) has no open home: state %u, last %s, %s",
                   sim_class(w, p)->name, p, a->state, a->last_region, a->why);
        return;
    }
    v = mrd_guard(sim_snapshot(w, (unsigned)home), (int)p, sim_boot_ns(w, (unsigned)home));
    if (!v.allow) {
        sim_broken(w, "settles",
                   "%s, home of %s (partition %u, epoch %llu), refuses writes: %s", a->region,
                   sim_class(w, p)->name, p, (unsigned long long)a->epoch,
                   mrd_reason_sentence(v.why));
    }
}

static void stuck_stream(struct sim *w, unsigned i, unsigned o)
{
    const struct sim_stream *s = &w->regions[i].postgres.streams[o];
    const struct sim_postgres *pg = &w->regions[o].postgres;
    const struct mrd_snap_region *order = &sim_snapshot(w, i)->regions[o];
    sim_us patience = 10000 * SIM_MS * w->scale;

    if (!s->gone && s->taken < pg->count && pg->wal[s->taken].at + patience < w->now) {
        sim_broken(w, "settles",
                   "the stream from %s into %s stands at %llu of %llu (order %u, via %u)",
                   sim_name(w, o), sim_name(w, i), (unsigned long long)sim_applied(w, i, o),
                   (unsigned long long)sim_wal_end(w, o), order->stream, order->via);
    }
}

void sim_look_settles(struct sim *w, const struct sim_fact *f)
{
    unsigned count = mrd_partition_count(w->config);

    /* A replica may still say that it has compared what it holds. */
    if (f->kind == SIM_SAYS_AUTHORITY && w->quiet &&
        (f->authority->epoch != f->before->epoch || f->authority->state != f->before->state)) {
        sim_broken(w, "settles", "the home of %s still changes",
                   sim_class(w, f->partition)->name);
    }
    if (f->kind != SIM_SAYS_END) {
        return;
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        stuck_region(w, i);
    }
    for (unsigned p = 0; p < count; p++) {
        stuck_partition(w, p);
    }
    for (unsigned i = 0; i < w->config->region_count; i++) {
        for (unsigned o = 0; o < w->config->region_count && !w->config->regions[i].witness;
             o++) {
            if (o != i && sim_snapshot(w, i) != NULL) {
                stuck_stream(w, i, o);
            }
        }
    }
}
