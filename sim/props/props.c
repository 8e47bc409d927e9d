/*
 * All properties, and what several of them ask.
 */
#include "props.h"

#include <string.h>

const struct sim_property sim_properties[] = {
    {"one writer", sim_look_one_writer,
     "no two regions may write a partition at the same time while clocks keep their bound"},
    {"epochs grow", sim_look_epochs_grow,
     "an epoch belongs to one region, and nobody sees or applies an older one after it"},
    {"quorum kept", sim_look_quorum_kept,
     "what a quorum acknowledged is there after any failure that the class survives"},
    {"moves lose nothing", sim_look_moves_lose_nothing,
     "no write lies behind the final position of a planned move"},
    {"reads go forward", sim_look_reads_go_forward,
     "a read with a token sees the write that the token is for"},
    {"placement", sim_look_placement, "only a region that is allowed to is home"},
    {"observers", sim_look_observers,
     "no region is replaced without a quorum that misses it, or without a cause"},
    {"approvals", sim_look_approvals,
     "where people decide, none is replaced before as many as needed said yes"},
    {"word kept", sim_look_word_kept,
     "who refused a stream takes nothing more of it until the cut is drawn"},
    {"tail first", sim_look_tail_first,
     "a new home has all that counts, and nothing that was lost, before its first write"},
    {"no flapping", sim_look_no_flapping,
     "neither homes nor the store's leader change sooner than they may"},
    /* Before accounted: what is stuck explains what is missing. */
    {"settles", sim_look_settles, "healed, the world comes to rest"},
    {"drained", sim_look_drained, "a drained region is nobody's home in the end"},
    {"accounted", sim_look_accounted,
     "every write is applied everywhere, or filed as lost everywhere, once"},
    {NULL, NULL, NULL},
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
    static const char *const names[] = {[SIM_ABSENT] = "absent",
                                        [SIM_APPLIED] = "applied",
                                        [SIM_PAST] = "applied, not compared",
                                        [SIM_TAIL] = "filed as tail"};

    return names[fate];
}

const char *sim_property_text(const char *name)
{
    const struct sim_property *p = sim_properties;

    while (p->name != NULL && strcmp(p->name, name) != 0) {
        p++;
    }
    return p->name != NULL ? p->text : "all servers of the store have the same log";
}
