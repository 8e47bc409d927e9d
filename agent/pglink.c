/*
 * Asynchronous libpq under libuv (pglink.h).
 *
 * States: idle -> resolving -> connecting -> ready, and back to idle after any failure. libpq
 * owns the socket and may replace it while connecting, so the poll handle is made anew whenever
 * PQsocket changes, and it is always closed before libpq closes the descriptor under it.
 */
#include "pglink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "text.h"

#define QUEUE_MAX 64
#define RETRY_NS (300 * UINT64_C(1000000))

enum state { IDLE, RESOLVING, CONNECTING, READY };

struct query {
    struct query *next;
    char *sql;
    int count;
    char **params;
    uint64_t deadline_ns;
    pglink_done_fn done;
    void *ctx;
};

struct pglink {
    uv_loop_t *loop;
    char *name, *host, *dbname, *user, *certs;
    uint16_t port;
    unsigned connect_ms, statement_ms;
    void (*connected)(void *ctx);
    void *connected_ctx;

    enum state state;
    uint64_t tried_ns, deadline_ns;
    PGconn *conn;
    uv_poll_t *poll; /* freed by its close callback */
    int fd;
    struct resolve *resolve;
    struct query *head, **tail;
    unsigned queued;
    bool sent; /* head was sent */
    PGresult *answer;
    struct log_repeat down;
    char error[TEXT_REASON];
};

/* A name being looked up; outlives the link if need be. */
struct resolve {
    uv_getaddrinfo_t req;
    struct pglink *l; /* NULL: nobody waits any more */
};

static void drop(struct pglink *l, const char *reason);
static void send_next(struct pglink *l);

static void query_free(struct query *q)
{
    for (int i = 0; i < q->count; i++) {
        free(q->params[i]);
    }
    free(q->params);
    free(q->sql);
    free(q);
}

/* ---- the socket's poll handle ---- */

static void on_poll_closed(uv_handle_t *h)
{
    free(h);
}

static void poll_stop(struct pglink *l)
{
    if (l->poll != NULL) {
        l->poll->data = NULL;
        uv_close((uv_handle_t *)l->poll, on_poll_closed);
        l->poll = NULL;
    }
    l->fd = -1;
}

static void on_poll(uv_poll_t *p, int status, int events);

static void poll_for(struct pglink *l, int events)
{
    int fd = PQsocket(l->conn);
    if (l->poll == NULL || fd != l->fd) {
        poll_stop(l);
        l->poll = malloc(sizeof(*l->poll));
        if (l->poll == NULL) {
            drop(l, "out of memory");
            return;
        }
        if (uv_poll_init(l->loop, l->poll, fd) != 0) {
            free(l->poll);
            l->poll = NULL;
            drop(l, "no socket");
            return;
        }
        l->poll->data = l;
        l->fd = fd;
    }
    uv_poll_start(l->poll, events, on_poll);
}

/* ---- failure ---- */

static void fail_all(struct pglink *l, const char *reason)
{
    struct query *q = l->head;
    l->head = NULL;
    l->tail = &l->head;
    l->queued = 0;
    l->sent = false;
    while (q != NULL) {
        struct query *next = q->next;
        q->done(q->ctx, NULL, reason);
        query_free(q);
        q = next;
    }
}

static void copy_line(char *out, size_t cap, const char *text)
{
    text_keep(out, cap, text);
    out[strcspn(out, "\n")] = '\0';
}

static void drop(struct pglink *l, const char *reason)
{
    char text[sizeof(l->error)];
    unsigned held;

    copy_line(text, sizeof(text), reason);
    memcpy(l->error, text, sizeof(text));
    poll_stop(l);
    if (l->resolve != NULL) {
        l->resolve->l = NULL;
        l->resolve = NULL;
    }
    PQclear(l->answer);
    l->answer = NULL;
    PQfinish(l->conn);
    l->conn = NULL;
    bool was_ready = l->state == READY;
    l->state = IDLE;
    if (l->name != NULL && (was_ready || log_repeat_pass(&l->down, clock_boot_ns(), &held))) {
        log_event("event=postgres.%s link=%s reason=\"%s\"", was_ready ? "lost" : "unreachable",
                  l->name, text);
    }
    fail_all(l, text);
}

void pglink_reset(struct pglink *l, const char *reason)
{
    if (l->state != IDLE) {
        drop(l, reason);
    }
    l->tried_ns = 0;
}

/* ---- statements ---- */

static void finish_head(struct pglink *l)
{
    struct query *q = l->head;
    PGresult *res = l->answer;
    const char *error = NULL;
    char text[TEXT_REASON];

    l->answer = NULL;
    l->head = q->next;
    if (l->head == NULL) {
        l->tail = &l->head;
    }
    l->queued--;
    l->sent = false;
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
        copy_line(text, sizeof(text), primary != NULL ? primary : "no answer");
        error = text;
    }
    /* Callbacks queue more, never free the link: pglink_free is for shutdown. */
    q->done(q->ctx, res, error);
    PQclear(res);
    query_free(q);
    send_next(l);
}

static void send_next(struct pglink *l)
{
    struct query *q = l->head;
    if (l->state != READY || q == NULL || l->sent) {
        return;
    }
    l->sent = true;
    if (PQsendQueryParams(l->conn, q->sql, q->count, NULL, (const char *const *)q->params, NULL,
                          NULL, 0) != 1) {
        drop(l, PQerrorMessage(l->conn));
        return;
    }
    int rv = PQflush(l->conn);
    if (rv < 0) {
        drop(l, PQerrorMessage(l->conn));
        return;
    }
    poll_for(l, rv > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void take_answers(struct pglink *l)
{
    while (l->state == READY && !PQisBusy(l->conn)) {
        PGresult *res = PQgetResult(l->conn);
        if (res == NULL) {
            if (l->sent) {
                finish_head(l);
            }
            return;
        }
        PQclear(l->answer);
        l->answer = res;
    }
}

static void on_ready_io(struct pglink *l, int events)
{
    if ((events & UV_READABLE) && PQconsumeInput(l->conn) != 1) {
        drop(l, PQerrorMessage(l->conn));
        return;
    }
    if (events & UV_WRITABLE) {
        int rv = PQflush(l->conn);
        if (rv < 0) {
            drop(l, PQerrorMessage(l->conn));
            return;
        }
        poll_for(l, rv > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
    }
    take_answers(l);
}

int pglink_query(struct pglink *l, const char *sql, int count, const char *const *params,
                 unsigned timeout_ms, pglink_done_fn done, void *ctx)
{
    if (l->state != READY) {
        return MRD_EUNAVAILABLE;
    }
    if (l->queued >= QUEUE_MAX) {
        return MRD_EFULL;
    }
    struct query *q = calloc(1, sizeof(*q));
    if (q == NULL) {
        return MRD_ENOMEM;
    }
    q->sql = strdup(sql);
    q->params = calloc((size_t)count + 1, sizeof(*q->params));
    bool ok = q->sql != NULL && q->params != NULL;
    for (int i = 0; ok && i < count; i++) {
        q->params[i] = params[i] != NULL ? strdup(params[i]) : NULL;
        q->count = i + 1;
        ok = params[i] == NULL || q->params[i] != NULL;
    }
    if (!ok) {
        query_free(q);
        return MRD_ENOMEM;
    }
    q->deadline_ns = clock_boot_ns() + timeout_ms * UINT64_C(1000000);
    q->done = done;
    q->ctx = ctx;
    *l->tail = q;
    l->tail = &q->next;
    l->queued++;
    send_next(l);
    return 0;
}

/* ---- connecting ---- */

static void on_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

static void on_connect_io(struct pglink *l)
{
    switch (PQconnectPoll(l->conn)) {
    case PGRES_POLLING_READING:
        poll_for(l, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        poll_for(l, UV_WRITABLE);
        break;
    case PGRES_POLLING_OK:
        l->state = READY;
        l->error[0] = '\0';
        memset(&l->down, 0, sizeof(l->down));
        PQsetnonblocking(l->conn, 1);
        PQsetNoticeReceiver(l->conn, on_notice, NULL);
        poll_for(l, UV_READABLE);
        if (l->name != NULL) {
            log_event("event=postgres.connected link=%s", l->name);
        }
        if (l->state == READY && l->connected != NULL) {
            l->connected(l->connected_ctx);
        }
        break;
    default:
        drop(l, PQerrorMessage(l->conn));
        break;
    }
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct pglink *l = p->data;
    if (l == NULL) {
        return;
    }
    if (status != 0) {
        /* libpq finds out what is wrong with its socket. */
        events = UV_READABLE;
    }
    if (l->state == CONNECTING) {
        on_connect_io(l);
    } else if (l->state == READY) {
        on_ready_io(l, events);
    }
}

static void start(struct pglink *l, const char *hostaddr)
{
    char port[8], options[64], ca[1024], crt[1024], key[1024];
    const char *keys[20], *values[20];
    int n = 0;
#define PARAM(k, v) (keys[n] = (k), values[n] = (v), n++)
    snprintf(port, sizeof(port), "%u", l->port);
    snprintf(options, sizeof(options), "-c statement_timeout=%u", l->statement_ms);
    PARAM("host", l->host);
    if (hostaddr != NULL) {
        PARAM("hostaddr", hostaddr);
    }
    PARAM("port", port);
    PARAM("dbname", l->dbname);
    PARAM("user", l->user);
    PARAM("application_name", "meridian-agent");
    PARAM("options", options);
    /* Kerberos would look things up with blocking calls. */
    PARAM("gssencmode", "disable");
    if (l->certs != NULL) {
        snprintf(ca, sizeof(ca), "%s/ca.crt", l->certs);
        snprintf(crt, sizeof(crt), "%s/node.crt", l->certs);
        snprintf(key, sizeof(key), "%s/node.key", l->certs);
        PARAM("sslmode", "verify-ca");
        PARAM("sslrootcert", ca);
        PARAM("sslcert", crt);
        PARAM("sslkey", key);
    }
    PARAM(NULL, NULL);
#undef PARAM
    l->conn = PQconnectStartParams(keys, values, 0);
    if (l->conn == NULL || PQstatus(l->conn) == CONNECTION_BAD) {
        drop(l, l->conn != NULL ? PQerrorMessage(l->conn) : "out of memory");
        return;
    }
    l->state = CONNECTING;
    poll_for(l, UV_WRITABLE); /* as PQconnectPoll's first answer would say */
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct resolve *r = (struct resolve *)req;
    struct pglink *l = r->l;
    char addr[64];

    if (l != NULL) {
        l->resolve = NULL;
        if (status != 0 || res == NULL ||
            getnameinfo(res->ai_addr, res->ai_addrlen, addr, sizeof(addr), NULL, 0,
                        NI_NUMERICHOST) != 0) {
            drop(l, status != 0 ? uv_strerror(status) : "its name has no address");
        } else {
            start(l, addr);
        }
    }
    uv_freeaddrinfo(res);
    free(r);
}

static void begin(struct pglink *l, uint64_t now_ns)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    l->tried_ns = now_ns;
    l->deadline_ns = now_ns + l->connect_ms * UINT64_C(1000000);
    if (l->host[0] == '/') {
        start(l, NULL);
        return;
    }
    struct resolve *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return;
    }
    r->l = l;
    if (uv_getaddrinfo(l->loop, &r->req, on_resolved, l->host, NULL, &hints) != 0) {
        free(r);
        return;
    }
    l->resolve = r;
    l->state = RESOLVING;
}

void pglink_tick(struct pglink *l, uint64_t now_ns)
{
    if (l->state == IDLE) {
        if (now_ns - l->tried_ns >= RETRY_NS) {
            begin(l, now_ns);
        }
    } else if (l->state != READY) {
        if (now_ns >= l->deadline_ns) {
            drop(l, "no connection in time");
        }
    } else {
        for (struct query *q = l->head; q != NULL; q = q->next) {
            if (now_ns >= q->deadline_ns) {
                drop(l, "a statement took too long");
                return;
            }
        }
    }
}

/* ---- life ---- */

static char *copy(const char *s)
{
    return s != NULL ? strdup(s) : NULL;
}

struct pglink *pglink_new(uv_loop_t *loop, const struct pglink_target *target,
                          void (*connected)(void *ctx), void *ctx)
{
    struct pglink *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    l->loop = loop;
    l->name = copy(target->name);
    l->host = copy(target->host);
    l->dbname = copy(target->dbname);
    l->user = copy(target->user);
    l->certs = copy(target->certs);
    l->port = target->port;
    l->connect_ms = target->connect_ms;
    l->statement_ms = target->statement_ms;
    l->connected = connected;
    l->connected_ctx = ctx;
    l->tail = &l->head;
    l->fd = -1;
    if (l->host == NULL || l->dbname == NULL || l->user == NULL) {
        pglink_free(l);
        return NULL;
    }
    return l;
}

void pglink_free(struct pglink *l)
{
    if (l == NULL) {
        return;
    }
    free(l->name);
    l->name = NULL; /* going away is no news */
    drop(l, "stopping");
    free(l->host);
    free(l->dbname);
    free(l->user);
    free(l->certs);
    free(l);
}

bool pglink_ready(const struct pglink *l)
{
    return l->state == READY;
}

unsigned pglink_queued(const struct pglink *l)
{
    return l->queued;
}

const char *pglink_error(const struct pglink *l)
{
    return l->error;
}
