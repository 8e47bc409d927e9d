/*
 * Nothing leaves its jurisdiction: a home is always one of the regions that may be, and only
 * replicas apply.
 */
#include "props.h"

void sim_look_placement(struct sim *w, const struct sim_fact *f)
{
    if (f->kind == SIM_SAYS_AUTHORITY && f->authority->region[0] != '\0') {
        int home = mrd_config_region(w->config, f->authority->region);
        if (home < 0 || (sim_class(w, f->partition)->allowed >> home & 1u) == 0) {
            sim_broken(w, "placement", "%s may not be home of %s", f->authority->region,
                       sim_class(w, f->partition)->name);
        }
    } else if (f->kind == SIM_SAYS_COMMITTED &&
               (sim_class(w, f->partition)->allowed >> f->region & 1u) == 0) {
        sim_broken(w, "placement", "%s wrote %s", sim_name(w, f->region),
                   sim_class(w, f->partition)->name);
    }
}
