/*
 * The coordination store over embedded Raft: the one place that knows libraft (0.22.1).
 *
 * Every region is a voter (but see raft_node_reseat) with id = its index in the configuration +
 * 1 and its name as address. An entry is one encoded store transaction; a snapshot is the
 * store's dump. libraft's bytes travel over tls.h: it gets one end of a socketpair and the
 * other is pumped.
 *
 * A node that libraft reports as unusable (its disk failed in a way that cannot be retried)
 * calls `broken` once: the owner gives up its lease and stops.
 */
#pragma once

#include <stdbool.h>

#include <uv.h>

#include <mrd/config.h>
#include <mrd/store.h>

#include "tls.h"

struct raft_node;

struct raft_node_events {
    void (*restored)(void *ctx); /* the store was replaced as a whole */
    void (*leadership)(void *ctx, bool leads);
    void (*broken)(void *ctx, const char *reason);
    void *ctx;
};

/**
 * @dir     for log and snapshots; made when it is not there
 * @store   borrowed; changed only from here
 */
int raft_node_new(uv_loop_t *loop, struct tls *tls, const struct mrd_config *config,
                  mrd_region self, const char *dir, struct mrd_store *store,
                  const struct raft_node_events *events, struct raft_node **ret,
                  struct mrd_err *err);

/**
 * Load what is on disk and take part.
 *
 * @anew  the region lost its disk: it takes no part, and accepts nobody's messages, before
 *        raft_node_admit(). A voter that forgot what it acknowledged must not vote again, nor
 *        be counted, before the others hold all that without it
 */
int raft_node_start(struct raft_node *n, bool anew, struct mrd_err *err);

/** The others no longer count on what we forgot: listen to them. */
void raft_node_admit(struct raft_node *n);

/* ---- the seat of a region that lost its disk, at the leader ---- */

enum raft_seat {
    RAFT_SEAT_NONE,
    RAFT_SEAT_LEARNS, /* gets what is committed, and is not counted */
    RAFT_SEAT_VOTES,
};

/** False while a change of seats is not committed, or we do not lead. */
bool raft_node_seat(const struct raft_node *n, mrd_region region, enum raft_seat *ret);

/** Begin to move @region from its seat to the next one: from VOTES or LEARNS, with @out, to
 *  NONE; otherwise from NONE to LEARNS, from LEARNS to VOTES (once it has caught up). Call
 * again until raft_node_seat() says that it is there. */
void raft_node_reseat(struct raft_node *n, mrd_region region, bool out);

/** Hand over an accepted connection of use TLS_RAFT. */
void raft_node_accept(struct raft_node *n, struct tls_conn *c, mrd_region peer);

/**
 * How a proposal ended: a code of mrd_store_apply and the revision; MRD_EUNAVAILABLE: not
 * accepted; MRD_ETIMEDOUT: outcome unknown (leadership was lost).
 */
typedef void (*raft_node_done_fn)(void *ctx, int code, uint64_t revision);

/** Propose encoded transaction @data (copied). 0, or MRD_EUNAVAILABLE when not the leader;
 *  MRD_EFORMAT, MRD_EVERSION when it is no transaction; then @done is not called. */
int raft_node_propose(struct raft_node *n, const uint8_t *data, size_t len,
                      raft_node_done_fn done, void *ctx);

bool raft_node_leads(const struct raft_node *n);
mrd_region raft_node_leader(const struct raft_node *n); /* MRD_REGION_NONE: unknown */
uint64_t raft_node_term(const struct raft_node *n);

/** Hand leadership to @to; does nothing unless we lead and no hand-over is under way. */
void raft_node_transfer(struct raft_node *n, mrd_region to);

/** Call from a regular tick: notices changes of leadership and state. */
void raft_node_tick(struct raft_node *n);

/** Stop taking part; @done when files are closed. Free after the loop is done. */
void raft_node_stop(struct raft_node *n, void (*done)(void *ctx), void *ctx);
void raft_node_free(struct raft_node *n);
