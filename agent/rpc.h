/*
 * Calls between agents: frames over TLS with ALPN mrd-rpc.
 *
 *   {u32 length, u8 type, u64 id, payload}     length counts type, id and payload
 *
 *   PROPOSE  an encoded store transaction   ->  RESULT {i32 code, u64 revision}
 *   PING     {u8 flags}                     ->  PONG   {u64 boot_ms, u8 flags [, u64 wall_ms]}
 *   ANEW     {u64 life}                     ->  RESULT {i32 code, u64 stage}
 *
 * Each agent makes one connection to each other and sends its calls over it; the answers come
 * back over the same one. What is not a known frame within FRAME_MAX closes the connection.
 */
#pragma once

#include <mrd/config.h>

#include "rpc_frame.h"
#include "tls.h"

#define RPC_ASK_CLOCK 1u   /* in PING: the PONG shall have wall_ms; older agents leave it out */
#define RPC_FLAG_LEADER 1u /* in PONG: I lead the store */
#define RPC_FLAG_READY 2u  /* in PONG: my local PostgreSQL answers */

struct rpc;

/**
 * How a call ended. @code: 0 and the answer's payload (borrowed until the call returns),
 * MRD_ETIMEDOUT (it may have been done), MRD_EUNAVAILABLE (it may have been done too: the
 * connection broke).
 */
typedef void (*rpc_done_fn)(void *ctx, int code, const uint8_t *payload, size_t len);

struct rpc_handlers {
    /** A peer proposes. Answer now or later, once, with rpc_result(@token, ...). */
    void (*propose)(void *ctx, mrd_region peer, const uint8_t *data, size_t len,
                    uint64_t token);
    /** A peer that lost its disk asks to be let in again. Answer with rpc_result(@token, 0, an
     *  anew_stage), once. */
    void (*anew)(void *ctx, mrd_region peer, uint64_t life, uint64_t token);
    /** The flags of our PONG. */
    uint8_t (*flags)(void *ctx);
    void *ctx;
};

/** @tls and @config are borrowed for the life of the object. NULL: out of memory. */
struct rpc *rpc_new(uv_loop_t *loop, struct tls *tls, const struct mrd_config *config,
                    mrd_region self, const struct rpc_handlers *handlers);
/** Stop: calls under way end as unavailable. Free after the loop is done. */
void rpc_stop(struct rpc *r);
void rpc_free(struct rpc *r);

/** Hand over an accepted connection of use TLS_RPC. */
void rpc_accept(struct rpc *r, struct tls_conn *c, mrd_region peer);

/** Answer a proposal; nothing happens when its connection is gone. */
void rpc_result(struct rpc *r, uint64_t token, int code, uint64_t revision);

/**
 * Call @peer. 0: @done will be called once, from the loop. MRD_EUNAVAILABLE: not connected and
 * nothing was sent (a connection is being tried); @done is not called.
 */
int rpc_call(struct rpc *r, mrd_region peer, enum rpc_type type, const void *payload,
             size_t len, unsigned timeout_ms, rpc_done_fn done, void *ctx);

/** Call from a regular tick: connects where there is no connection, ends calls whose time is
 * up. */
void rpc_tick(struct rpc *r, mrd_boot_ns now_ns);
