/*
 * Connections to the database, one per thread, and what its errors mean over HTTP.
 *
 * A connection that the server closed while it was idle is noticed before it is used again, so
 * a restart of PostgreSQL costs no request more than the time it takes. One that breaks in the
 * middle of a statement is reported, not repeated: the statement may have been committed, and
 * only the client, with its id, can ask again safely. The same goes for a statement that is not
 * answered in time: the connection is given up, so that a database that hangs does not take the
 * shop's threads with it.
 */
#include "shop.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The server gives up a statement first; a commit that waits for other regions it cannot. */
#define GRACE_MS 2000

static pthread_key_t connection_key;

static void finish(void *conn)
{
    PQfinish(conn);
}

int shop_db_init(void)
{
    return pthread_key_create(&connection_key, finish) == 0 ? 0 : -1;
}

static void drop(PGconn *conn)
{
    pthread_setspecific(connection_key, NULL);
    PQfinish(conn);
}

/* Has the server said goodbye while nobody was asking? */
static bool is_alive(PGconn *conn)
{
    for (int i = 0; i < 4; i++) {
        struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};

        if (PQstatus(conn) != CONNECTION_OK || p.fd < 0) {
            return false;
        }
        if (poll(&p, 1, 0) <= 0) {
            return true;
        }
        if (PQconsumeInput(conn) == 0) {
            return false;
        }
    }
    return false;
}

static PGconn *connection(const struct shop *shop)
{
    char timeout[64];
    static const char *const names[] = {"dbname", "connect_timeout", "application_name",
                                        "options", NULL};
    const char *values[] = {shop->conninfo, "3", "shop", timeout, NULL};
    PGconn *conn = pthread_getspecific(connection_key);

    snprintf(timeout, sizeof(timeout), "-c statement_timeout=%u", shop->patience_ms);
    if (conn != NULL && !is_alive(conn)) {
        drop(conn);
        conn = NULL;
    }
    if (conn == NULL) {
        conn = PQconnectdbParams(names, values, 1);
        pthread_setspecific(connection_key, conn);
    }
    return conn;
}

/* ---- errors ---- */

/* First match wins; a class is the first two characters (PostgreSQL manual, appendix A). */
static const struct {
    const char *sqlstate;
    unsigned status, retry_after_s;
} meanings[] = {
    {"25006", 503, 1}, /* read_only_sql_transaction: another region is the home */
    {"57014", 503, 2}, /* query_canceled: it took too long */
    {"57P", 503, 2},   /* the server is stopping or starting */
    {"53", 503, 2},    /* insufficient resources */
    {"08", 503, 2},    /* connection exceptions */
    {"40", 503, 1},    /* transaction rollback: serialization, deadlock */
    {"23503", 409, 0}, /* foreign_key_violation */
    {"23", 400, 0},    /* other integrity constraints: a check failed */
    {"22", 400, 0},    /* data exceptions: not a UUID, out of range */
};

static void put(json_t *o, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        json_object_set_new(o, key, json_string(value));
    }
}

static void explain(struct shop_reply *reply, const PGresult *result, PGconn *conn)
{
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    json_t *o = json_object();

    reply->status = PQstatus(conn) == CONNECTION_OK ? 500 : 503;
    reply->retry_after_s = reply->status == 503 ? 2 : 0;
    for (size_t i = 0; state != NULL && i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (strncmp(state, meanings[i].sqlstate, strlen(meanings[i].sqlstate)) == 0) {
            reply->status = meanings[i].status;
            reply->retry_after_s = meanings[i].retry_after_s;
            break;
        }
    }
    if (state != NULL) {
        put(o, "error", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
        put(o, "detail", PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
        put(o, "hint", PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
        put(o, "sqlstate", state);
    } else {
        put(o, "error", "could not reach the database");
        put(o, "detail", PQerrorMessage(conn));
    }
    reply->type = "application/json";
    reply->body = json_dumps(o, JSON_COMPACT);
    json_decref(o);
}

/* ---- statements ---- */

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait until a whole result has arrived. False when time is up or the connection broke. */
static bool await(const struct shop *shop, PGconn *conn)
{
    int64_t until_ms = now_ms() + shop->patience_ms + GRACE_MS;

    while (PQisBusy(conn)) {
        struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};
        int64_t left_ms = until_ms - now_ms();

        if (left_ms <= 0) {
            return false;
        }
        if (poll(&p, 1, (int)left_ms) > 0 && PQconsumeInput(conn) == 0) {
            return false;
        }
    }
    return true;
}

/* The result of one statement, or NULL when none came; the connection is then of no use. */
static PGresult *execute(const struct shop *shop, PGconn *conn, const char *sql, int count,
                         const char *const params[])
{
    PGresult *last = NULL;

    if (PQsendQueryParams(conn, sql, count, NULL, params, NULL, NULL, 0) == 0) {
        return NULL;
    }
    for (;;) {
        PGresult *next;

        if (!await(shop, conn)) {
            PQclear(last);
            return NULL;
        }
        next = PQgetResult(conn);
        if (next == NULL) {
            return last;
        }
        PQclear(last);
        last = next;
    }
}

static void no_answer(struct shop_reply *reply)
{
    shop_fail(reply, 503, "the database did not answer; whether it did the work is not known");
    reply->retry_after_s = 2;
}

bool shop_db_run(const struct shop *shop, const char *sql, int count,
                 const char *const params[], PGresult **ret, struct shop_reply *reply)
{
    PGconn *conn = connection(shop);
    PGresult *result = NULL;
    ExecStatusType status;

    *ret = NULL;
    if (conn == NULL || PQstatus(conn) != CONNECTION_OK) {
        explain(reply, NULL, conn);
        return false;
    }
    result = execute(shop, conn, sql, count, params);
    if (result == NULL) {
        no_answer(reply);
        drop(conn);
        return false;
    }
    status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        *ret = result;
        return true;
    }
    explain(reply, result, conn);
    PQclear(result);
    return false;
}

void shop_db_abandon(const struct shop *shop)
{
    PGconn *conn = pthread_getspecific(connection_key);

    if (conn != NULL && PQtransactionStatus(conn) != PQTRANS_IDLE) {
        PQclear(execute(shop, conn, "ROLLBACK", 0, NULL));
        if (PQtransactionStatus(conn) != PQTRANS_IDLE) {
            drop(conn);
        }
    }
}
