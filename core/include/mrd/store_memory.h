/*
 * The in-memory backend of the coordination store: several replicas, one log, virtual time and
 * injected faults. For tests and simulations.
 *
 * It keeps what decisions may rely on (one order of transactions, commits only with a majority,
 * each replica applying the same ones a little later, a leader that may not know it was
 * replaced) and lets everything else go wrong: requests and answers are lost, replicas stop,
 * links are cut one way, a dying leader leaves behind proposals that may or may not have been
 * committed. How a leader is chosen is not modelled: an election is an event of the backend,
 * which knows the true log. Raft itself is tested elsewhere.
 *
 * Deterministic: same calls, same seed, same results. Times are the caller's, in nanoseconds,
 * and never go back.
 */
#pragma once

#include <mrd/store.h>
#include <mrd/topology.h>

struct mrd_memory; /* opaque; allocates with malloc */

/** @election_ms as in the configuration. NULL when out of memory. */
struct mrd_memory *mrd_memory_new(unsigned replicas, uint32_t election_ms, uint64_t seed);
void mrd_memory_free(struct mrd_memory *m);

/** The view of one replica: borrowed, changes in mrd_memory_run. The caller may watch it. */
struct mrd_store *mrd_memory_store(struct mrd_memory *m, unsigned replica);

/* ---- faults; all take effect at once ---- */

/** Directed link: delay, and whether anything passes. */
void mrd_memory_link(struct mrd_memory *m, unsigned from, unsigned to, uint64_t delay_ns,
                     bool up, uint64_t now_ns);
/** A replica that is not up sends, receives, applies and leads nothing. */
void mrd_memory_up(struct mrd_memory *m, unsigned replica, bool up, uint64_t now_ns);
/** Of a thousand requests and answers each, how many are lost. */
void mrd_memory_lose(struct mrd_memory *m, unsigned permille);

/* ---- use ---- */

/**
 * Send a transaction (copied) to the leader as @replica knows it. Returns a ticket, or 0 when
 * it knows none or the backend's tables are full. The outcome may never come.
 */
uint64_t mrd_memory_propose(struct mrd_memory *m, unsigned replica, const struct mrd_txn *txn,
                            uint64_t now_ns);

/** Has the outcome of @ticket arrived? Then *ret_rc is as from mrd_store_apply. Asked once. */
bool mrd_memory_outcome(struct mrd_memory *m, uint64_t ticket, int *ret_rc);

/** Let everything happen that is due by @now_ns. */
void mrd_memory_run(struct mrd_memory *m, uint64_t now_ns);

/** The leader as @replica knows it, or -1. */
int mrd_memory_leader(const struct mrd_memory *m, unsigned replica);
/** Does @replica believe that it leads? At most one is right. */
bool mrd_memory_leads(const struct mrd_memory *m, unsigned replica);
/** Hand leadership to @replica if it is up and connected to a majority. */
void mrd_memory_transfer(struct mrd_memory *m, unsigned replica, uint64_t now_ns);
