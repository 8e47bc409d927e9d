/*
 * Who may write a partition, under which epoch, and how far each closed epoch counts.
 *
 * An authority is (region, epoch). When epoch e of region a ends it is closed with a cut: the
 * position in a's own WAL up to which everybody applies a's commits for the partition, and no
 * further. What a committed past the cut is the lost tail. A planned move closes an epoch with
 * its final position, so its tail is empty.
 *
 * Every guarded transaction carries a stamp with the partitions it touches and the epoch it
 * was checked under, so a writer that was paused between check and commit is recognised by
 * epoch wherever its commit arrives, without any clock.
 */
#pragma once

#include <mrd/topology.h>

enum mrd_authority_state {
    MRD_AUTH_OPEN,    /* the home accepts writes, lease permitting */
    MRD_AUTH_FROZEN,  /* a planned move drains the home; new writes wait */
    MRD_AUTH_FENCING, /* the home is being replaced: survivors refuse its stream; or the new one
                         may not open yet */
    MRD_AUTH_VACANT,  /* nobody may write (no legal or safe successor); see the reason */
};

struct mrd_closed_epoch {
    mrd_epoch epoch;
    mrd_region region;
    mrd_lsn cut;             /* in @region's WAL: commits with an LSN <= cut count */
    mrd_session cut_session; /* @region's applied-through mark at the cut: writes that it */
    uint64_t cut_boot_ms;    /* acknowledged up to this mark are not lost */
    mrd_regions unfenced;    /* replicas that the failover went on without, and that have not
                                said since that they hold just what counts; in the oldest
                                entry those of epochs that are forgotten, too */
};

struct mrd_authority {
    mrd_region region; /* while vacant: whose epoch is still open and may be resumed, so that
                          its commits go on to count; MRD_REGION_NONE if nobody's */
    mrd_epoch epoch;
    enum mrd_authority_state state;
    uint8_t history_count; /* newest last */
    struct mrd_closed_epoch history[MRD_HISTORY_MAX];
};

enum mrd_accept {
    MRD_ACCEPT,      /* apply it */
    MRD_ACCEPT_TAIL, /* past the cut of a closed epoch: lost tail, goes to reconcile */
    MRD_ACCEPT_GONE, /* its epoch is older than the history: lost tail to who has all that
                        counts of it, otherwise unknown: the sender must be copied anew */
};

/**
 * May a commit of @origin for this partition, stamped with @epoch, with its commit record at
 * @lsn in @origin's WAL, be applied?
 *
 * An epoch above the known one is accepted: only a granted authority can stamp it, and a
 * region applies only while its own lease is live, so it cannot have missed that epoch's end.
 * Epoch 0 marks a change that no guard stamped: always tail.
 */
enum mrd_accept mrd_authority_accepts(const struct mrd_authority *a, mrd_region origin,
                                      mrd_epoch epoch, mrd_lsn lsn);

/**
 * Is what counts of one closed epoch of another region here?
 *
 * @applied  our position in that region's WAL; 0: we do not have its stream
 * @cut      where the epoch ended
 * @later    after that region another than we was home, or is: then who never had its stream
 *           made his copy from a later home, which held it
 */
bool mrd_epoch_here(mrd_lsn applied, mrd_lsn cut, bool later);

/**
 * Is all that counts of the epochs before @epoch applied here, so that a change of @epoch may
 * be? A new home's first changes can be faster than the last ones of the home before it, which
 * come another way; applied in that order they would leave the older values behind.
 *
 * @self     the applying region: what it wrote itself is here
 * @origin   of the change: its own earlier epochs come before it in its own stream
 * @applied  by region index, our position in that region's WAL; see mrd_epoch_here
 *
 * Not before @a knows the epoch: only then is it known how those before it ended.
 */
bool mrd_authority_complete(const struct mrd_authority *a, mrd_region self, mrd_region origin,
                            mrd_epoch epoch, const mrd_lsn applied[MRD_REGIONS_MAX]);

/**
 * The failover that closed epoch @i of the history went on without @self. Did @self apply more
 * of it than counts? Such commits are lost tail like any other, and its rows are to be replaced
 * by the present home's.
 *
 * @applied  its position in the WAL of that epoch's region when it first hears of the cut: what
 *           it takes after that is judged by the cut, and moves the position past it rightly
 */
bool mrd_authority_past_cut(const struct mrd_authority *a, unsigned i, mrd_region self,
                            mrd_lsn applied);

/**
 * Is it settled how far the commits of @origin under @epoch count? Not while that region is
 * being replaced: the cut is drawn from what the survivors had when each refused its stream.
 * What one of them takes after its own refusal, from another that may be gone when the cut is
 * drawn, could lie past it; so such a commit waits until the partition is granted or left
 * vacant.
 */
bool mrd_authority_settled(const struct mrd_authority *a, mrd_region origin, mrd_epoch epoch);
