/*
 * No automatic decision without a quorum of observers, and none without a cause: a failover
 * names at least half of all regions as witnesses, none of them the accused, and never begins
 * in a world where nothing has happened yet.
 */
#include "props.h"

#include <string.h>

void sim_look_observers(struct sim *w, const struct sim_fact *f)
{
    unsigned n;

    if (f->kind != SIM_SAYS_FAILOVER || f->failover->state != MRD_FAILOVER_FENCE) {
        return;
    }
    n = (unsigned)__builtin_popcount(f->failover->observers);
    w->report->failovers++;
    if (2 * n < w->config->region_count || n == 0 ||
        (f->failover->observers >> f->region & 1u) != 0) {
        sim_broken(w, "observers", "%u observers (set %x) decide on %s", n,
                   f->failover->observers, sim_name(w, f->region));
    }
    if (w->struck == 0) {
        sim_broken(w, "observers", "%s is replaced though nothing has happened",
                   sim_name(w, f->region));
    }
}
