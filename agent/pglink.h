/*
 * One PostgreSQL connection on the agent's loop, never waiting.
 *
 * Statements queue up and run one after the other; each has a time by which it must be done. A
 * statement that is late costs the connection, because libpq cannot give up one statement
 * without waiting: whatever is behind it fails too, and the link connects again. Work that must
 * not wait behind other work therefore has a link of its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <uv.h>

#include <mrd/config.h>

struct pglink;

struct pglink_target {
    const char *name; /* for the log: "heartbeat"; NULL: log nothing */
    const char *host; /* a socket directory, a name or an address */
    uint16_t port;
    const char *dbname;
    const char *user;
    const char *certs;     /* directory of ca.crt, node.crt, node.key; NULL: no TLS */
    unsigned connect_ms;   /* time to connect */
    unsigned statement_ms; /* statement_timeout of the session; 0: none */
};

/**
 * @res    the answer, borrowed until the call returns; may be NULL on failure
 * @error  NULL on success, otherwise the reason as text
 */
typedef void (*pglink_done_fn)(void *ctx, PGresult *res, const char *error);

/** Strings of @target are copied. NULL: out of memory. Connects at the next tick. */
struct pglink *pglink_new(uv_loop_t *loop, const struct pglink_target *target,
                          void (*connected)(void *ctx), void *ctx);

/** Break off and go away; callers whose statements are under way hear of it. */
void pglink_free(struct pglink *l);

/**
 * Run @sql with @count text parameters (copied), in at most @timeout_ms including its wait in
 * the queue. 0, or MRD_EUNAVAILABLE (not connected) or MRD_EFULL; then @done is not called.
 */
int pglink_query(struct pglink *l, const char *sql, int count, const char *const *params,
                 unsigned timeout_ms, pglink_done_fn done, void *ctx);

bool pglink_ready(const struct pglink *l);
unsigned pglink_queued(const struct pglink *l);
const char *pglink_error(const struct pglink *l); /* why it is not connected, or "" */

/** Give up the connection and make a new one. */
void pglink_reset(struct pglink *l, const char *reason);

/** Call from a regular tick: connects, and ends what is late. */
void pglink_tick(struct pglink *l, uint64_t now_ns);
