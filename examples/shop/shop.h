/*
 * The example shop: an ordinary web application on PostgreSQL.
 *
 * It knows one database and the name that it shows on its page; it knows nothing of Meridian.
 * What it does owe a database that may move under it is what any careful application does:
 * reconnect, send ids with writes so that a retry is harmless, and turn "try again later"
 * (SQLSTATE 25006, a broken connection) into 503 with Retry-After.
 *
 * Every HTTP connection has a thread, and every thread at most one database connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <libpq-fe.h>

#define SHOP_SEGMENTS_MAX 4

struct shop {
    const char *conninfo; /* of libpq */
    const char *region;   /* shown on the page and in /whoami */
    unsigned patience_ms; /* how long a statement may take */
};

/** One request being answered. */
struct shop_call {
    const struct shop *shop;
    const char *method;
    const char *segments[SHOP_SEGMENTS_MAX]; /* of the path, decoded, without slashes */
    unsigned segment_count;
    const char *(*argument)(void *http, const char *name); /* of the query, or NULL */
    void *http;
    json_t *body; /* an object, or NULL when there was none; borrowed */
};

struct shop_reply {
    unsigned status;
    const char *type;       /* static text */
    char *body;             /* owned by the reply; free() it */
    unsigned retry_after_s; /* 0: no such header */
    char allow[40];         /* with 405: the methods that there are; empty: no such header */
};

/** Answer one request; always fills @ret. */
void shop_answer(const struct shop_call *call, struct shop_reply *ret);

/** An error as {"error": @text}. */
void shop_fail(struct shop_reply *ret, unsigned status, const char *text);

/** The human page. */
char *shop_page(const struct shop *shop);

/* ---- db.c ---- */

/** Prepare for threads with connections. Call once. Returns 0 or -1. */
int shop_db_init(void);

/**
 * Run one statement on this thread's connection, connecting when needed.
 *
 * @params  text parameters, NULL for SQL NULL; borrowed
 * @ret     the result, to be cleared by the caller, or NULL on failure
 *
 * Returns true, or false with @reply filled: 503 when the database cannot be reached or cannot
 * take writes now, 400 when it found the values wrong, 500 otherwise.
 */
bool shop_db_run(const struct shop *shop, const char *sql, int count,
                 const char *const params[], PGresult **ret, struct shop_reply *reply);

/** Leave a transaction that failed in the middle, so that the connection can be used again. */
void shop_db_abandon(const struct shop *shop);
