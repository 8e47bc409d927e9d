/*
 * All properties, and what several of them ask.
 */
#include "props.h"

#include <string.h>

const struct sim_property sim_properties[] = {
    {"one writer", sim_look_one_writer},
    {"epochs grow", sim_look_epochs_grow},
    {"quorum kept", sim_look_quorum_kept},
    {"moves lose nothing", sim_look_moves_lose_nothing},
    {"reads go forward", sim_look_reads_go_forward},
    {"placement", sim_look_placement},
    {"observers", sim_look_observers},
    {"approvals", sim_look_approvals},
    {"word kept", sim_look_word_kept},
    {"tail first", sim_look_tail_first},
    {"no flapping", sim_look_no_flapping},
    {"settles",
     sim_look_settles}, /* before accounted: what is stuck explains what is missing */
    {"drained", sim_look_drained},
    {"accounted", sim_look_accounted},
    {NULL, NULL},
};

const struct mrd_closed_record *sim_closed(const struct sim *w, unsigned origin,
                                           const struct sim_record *rec)
{
    const struct mrd_authority_record *a = &w->authority[rec->partition];

    for (unsigned k = 0; k < a->history_count; k++) {
        if (a->history[k].epoch == rec->epoch &&
            strcmp(a->history[k].region, sim_name(w, origin)) == 0) {
            return &a->history[k];
        }
    }
    return NULL;
}

const char *sim_fate_name(uint8_t fate)
{
    return fate == SIM_APPLIED ? "applied" : fate == SIM_TAIL ? "filed as tail" : "absent";
}
