/*
 * Mutual TLS over TCP on the agent's loop: who is on the other end, and bytes both ways.
 *
 * A struct tls holds the region's identity; a struct tls_conn is one connection, made by us or
 * accepted. Both ends show certificates of the deployment's CA whose one CN is the name of a
 * configured region. ALPN says what the bytes are. A connection that does not get that far
 * within its time is closed; there is no unauthenticated state that anybody else sees.
 *
 * Callbacks run on the loop. `close` is the last one and is always called, also for a
 * connection that never opened; the object is gone when it returns. tls_close may be called
 * from any callback.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include <mrd/config.h>
#include <mrd/err.h>

enum tls_use {
    TLS_RAFT, /* ALPN mrd-raft: libraft's bytes */
    TLS_RPC,  /* ALPN mrd-rpc: frames, see rpc.h */
    TLS_HTTP, /* ALPN http/1.1: a probe of a region's edge; only made, never accepted */
};

struct tls;
struct tls_conn;

struct tls_events {
    void (*open)(void *ctx, struct tls_conn *c);
    void (*data)(void *ctx, struct tls_conn *c, const uint8_t *data, size_t len);
    void (*drain)(void *ctx, struct tls_conn *c); /* something queued was sent; may be NULL */
    void (*close)(void *ctx, struct tls_conn *c, const char *reason);
};

/** An accepted connection is open: call tls_attach, or tls_close. */
typedef void (*tls_accept_fn)(void *ctx, struct tls_conn *c, enum tls_use use, mrd_region peer);

/**
 * Load DIR/{ca.crt,node.crt,node.key}. The certificate must be of region @self.
 * @config  borrowed for the life of the object
 */
int tls_new(uv_loop_t *loop, const char *dir, const struct mrd_config *config, mrd_region self,
            struct tls **ret, struct mrd_err *err);

/** Accept connections on @host:@port, a numeric address. */
int tls_listen(struct tls *t, const char *host, uint16_t port, tls_accept_fn fn, void *ctx,
               struct mrd_err *err);

/** Stop accepting and close what is open. Callbacks still come; free after the loop is done. */
void tls_stop(struct tls *t);
void tls_free(struct tls *t);

/**
 * Connect to @peer at @host:@port (name or address). Never calls back before it returns.
 * NULL only when out of memory.
 */
struct tls_conn *tls_connect(struct tls *t, mrd_region peer, enum tls_use use, const char *host,
                             uint16_t port, unsigned timeout_ms,
                             const struct tls_events *events, void *ctx);

void tls_attach(struct tls_conn *c, const struct tls_events *events, void *ctx);

/** Send a copy of @data. A peer that lets more than 4 MiB pile up is cut off. */
void tls_write(struct tls_conn *c, const void *data, size_t len);
size_t tls_queued(const struct tls_conn *c); /* bytes not yet taken by the kernel */
void tls_pause(struct tls_conn *c);          /* stop reading: somebody downstream is slow */
void tls_resume(struct tls_conn *c);
void tls_close(struct tls_conn *c, const char *reason); /* @reason: static text; or NULL */

mrd_region tls_peer(const struct tls_conn *c);
bool tls_is_open(const struct tls_conn *c);
