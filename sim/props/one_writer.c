/*
 * At no instant would two regions' guards let a partition of an async class be written, as long
 * as clocks keep their bound. (A quorum class is promoted before the lease ends, on refusals
 * alone; for it see quorum_kept.c.)
 *
 * A region begins to allow writes only by publishing, so that is when to look.
 */
#include "props.h"

static bool allows(const struct sim *w, unsigned i, unsigned p)
{
    const struct mrd_snapshot *s = sim_snapshot(w, i);

    return w->regions[i].machine_up && s != NULL &&
           mrd_guard(s, (int)p, sim_boot_ns(w, i)).allow;
}

void sim_look_one_writer(struct sim *w, const struct sim_fact *f)
{
    unsigned count = mrd_partition_count(w->config);

    if (f->kind != SIM_SAYS_PUBLISHED || !w->clocks_valid) {
        return;
    }
    for (unsigned p = 0; p < count; p++) {
        if (sim_class(w, p)->durability == MRD_QUORUM || !allows(w, f->region, p)) {
            continue;
        }
        for (unsigned j = 0; j < w->config->region_count; j++) {
            if (j != f->region && allows(w, j, p)) {
                sim_broken(w, "one writer", "%s and %s may both write %s",
                           sim_name(w, f->region), sim_name(w, j), sim_class(w, p)->name);
            }
        }
    }
}
