/*
 * What libraft 0.22.1 answers, made right where it is not. The simulator's servers do the same.
 *
 * To a message of an older term: who refuses its entries or its image leaves the last index of
 * the answer unset, and what was in memory goes out. The leader of that term, should it come to
 * lead again, takes the answer for one to its present term. Then, of refused entries, it goes
 * on from that index, at worst from the first one, which a follower with an image in place of
 * its log's beginning appends at its end. And with nothing named as refused (an image, or
 * entries from the very first), it takes the two logs to be equal that far, and counts the
 * follower for entries that it does not have. So the answer says where the log ends, or where
 * it may agree at most, and 0 where it would be taken for consent; later releases say 0 too.
 *
 * To a pre-vote that is refused because its term is over: it repeats that term. The candidate
 * looks for a later one there, finds none, and asks with the same term for ever. Where who has
 * the newest log is behind in terms, and needs one of those that are ahead, nobody leads the
 * store again. So the answer has the term of who gives it, and the candidate goes on from that.
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

static inline void raft_mend_result(struct raft *r, struct raft_append_entries_result *answer)
{
    raft_index last = raft_last_index(r), rejected = answer->rejected;

    if (rejected == 0) {
        answer->last_log_index = 0;
    } else {
        answer->last_log_index = last < rejected ? last : rejected - 1;
    }
}

/** @m is about to leave @r; @late: it answers what was late. */
static inline void raft_mend(struct raft *r, bool late, struct raft_message *m)
{
    if (m->type == RAFT_APPEND_ENTRIES_RESULT && late) {
        raft_mend_result(r, &m->append_entries_result);
    }
    if (m->type == RAFT_REQUEST_VOTE_RESULT && m->request_vote_result.pre_vote &&
        !m->request_vote_result.vote_granted &&
        m->request_vote_result.term < raft_current_term(r)) {
        m->request_vote_result.term = raft_current_term(r);
    }
}
