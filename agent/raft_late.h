/*
 * What libraft 0.22.1 answers to a message of an older term, made true.
 *
 * Who refuses entries or an image of a term that is over leaves the last index of its answer
 * unset: what was in memory goes out. The leader of that term, should it come to lead again,
 * takes the answer for one to its present term. Then, of refused entries, it goes on from that
 * index, at worst from the first one, which a follower with an image in place of its log's
 * beginning appends at its end. And with nothing named as refused (an image, or entries from
 * the very first), it takes the two logs to be equal that far, and counts the follower for
 * entries that it does not have.
 *
 * So the answer says where the log ends, or where it may agree at most, and 0 where it would
 * be taken for consent; later releases say 0 as well. The simulator's servers do the same.
 */
#pragma once

#include <stdbool.h>

#include <raft.h>

/** Is @m, which @r has just received, of a term that is over? */
static inline bool raft_late(struct raft *r, const struct raft_message *m)
{
    raft_term term = raft_current_term(r);

    return (m->type == RAFT_APPEND_ENTRIES && m->append_entries.term < term) ||
           (m->type == RAFT_INSTALL_SNAPSHOT && m->install_snapshot.term < term);
}

/** The answer to a late message: a last index that may be relied on. */
static inline void raft_late_mend(struct raft *r, struct raft_append_entries_result *answer)
{
    raft_index last = raft_last_index(r), rejected = answer->rejected;

    if (rejected == 0) {
        answer->last_log_index = 0;
    } else {
        answer->last_log_index = last < rejected ? last : rejected - 1;
    }
}
