/*
 * A region whose disk was lost, in the agent: asking the others to be let in again, and, at the
 * leader of the store, letting it in. What the lives of a region are is core's (anew.c there);
 * what keeps its vote safe is raft_node's.
 *
 * STATE/anew holds the number of the new life, drawn by `meridian anew`. While it is there the
 * agent takes no part in the store by itself: it asks every region, until the leader says that
 * it votes again; then the file is removed. Every step may be repeated by any leader.
 *
 *   leader: life not written down      take it out of the voters; then write it down
 *           written down, no seat      let it learn       (it listens from here on)
 *           it learns                  let it vote, once it has caught up
 *           it votes                   done
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent.h"

enum anew_stage {
    ANEW_WAIT,   /* ask again */
    ANEW_LISTEN, /* nothing counts on the life before: take what the leader sends; ask again */
    ANEW_DONE,   /* you vote */
};

/** Read STATE/anew into a->life; 0 when there is none, or a message was written. */
int anew_load(struct agent *a);

/** In the region that was lost: ask, now and then, while a->life is not 0. */
void anew_tick(struct agent *a, mrd_boot_ns now_ns);

/** At every region: a peer asks. */
void anew_asked(struct agent *a, mrd_region peer, uint64_t life, uint64_t token);

/** What is to be done about a database that is not there (supervise.h). @ctx: struct agent. */
enum guest_cluster anew_cluster(void *ctx, mrd_lsn *ret_begins);

/** Why this region, made anew, is not in service yet. */
void anew_problems(const struct agent *a, json_t *problems);
