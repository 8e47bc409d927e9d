/*
 * Connections to the database, one per thread, and what its errors mean over HTTP.
 *
 * A connection that the server closed while it was idle is noticed before it is used again, so
 * a restart of PostgreSQL costs no request more than the time it takes. One that breaks in the
 * middle of a statement is reported, not repeated: the statement may have been committed, and
 * only the client, with its id, can ask again safely.
 */
#include "shop.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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
    static const char *const names[] = {"dbname", "connect_timeout", "application_name",
                                        "options", NULL};
    const char *values[] = {shop->conninfo, "3", "shop", "-c statement_timeout=15s", NULL};
    PGconn *conn = pthread_getspecific(connection_key);

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

void shop_db_abandon(void)
{
    PGconn *conn = pthread_getspecific(connection_key);

    if (conn != NULL && PQtransactionStatus(conn) != PQTRANS_IDLE) {
        PQclear(PQexec(conn, "ROLLBACK"));
        if (PQtransactionStatus(conn) != PQTRANS_IDLE) {
            drop(conn);
        }
    }
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
    result = PQexecParams(conn, sql, count, NULL, params, NULL, NULL, 0);
    status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        *ret = result;
        return true;
    }
    explain(reply, result, conn);
    PQclear(result);
    return false;
}
