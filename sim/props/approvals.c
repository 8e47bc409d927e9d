/*
 * Where people decide, nothing is promoted without them: a failover begins only after one
 * operator, or two distinct ones, said yes since the last one of that region.
 */
#include "props.h"

void sim_look_approvals(struct sim *w, const struct sim_fact *f)
{
    unsigned needed = w->config->failover == MRD_FAILOVER_TWO_PERSON ? 2
                      : w->config->failover == MRD_FAILOVER_MANUAL   ? 1
                                                                     : 0;

    if (f->kind != SIM_SAYS_FAILOVER || f->failover->state != MRD_FAILOVER_FENCE) {
        return;
    }
    if ((unsigned)__builtin_popcount(w->said_yes[f->region]) < needed) {
        sim_broken(w, "approvals", "%s is replaced with %d of %u approvals",
                   sim_name(w, f->region), __builtin_popcount(w->said_yes[f->region]), needed);
    }
    w->said_yes[f->region] = 0;
}
