/*
 * The probes (observe.h).
 *
 * Each kind has its own way to the peer: PING shares the connection that carries proposals,
 * because that is what matters about an agent; SQL and HTTP keep one connection each, which is
 * made anew after any failure and every REFRESH probes, so that "accepts connections" stays
 * part of what is tested. Addresses come from the configuration; identity is the certificate.
 */
#include "observe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/buf.h>
#include <mrd/patience.h>

#include "log.h"
#include "pglink.h"

#define REFRESH 60
#define CONNECT_TRIPS                                                                          \
    UINT64_C(7)            /* TCP, SSLRequest, TLS 1.3, start-up, authentication, and room */
#define CONNECT_TIMEOUTS 4 /* probe timeouts until an attempt to connect is given up */
#define HTTP_HEAD_MAX 4096
#define PONG_WITH_CLOCK 17
#define CLOCK_NS UINT64_C(10000000000) /* a reading older than this says nothing */

enum kind { AGENT, SQL, EDGE, KINDS };

static const char *const kind_names[KINDS] = {"agent", "sql", "edge"};

struct probe {
    struct mrd_patience seen;
    bool wanted;
    unsigned count;
    uint64_t next_ns;
};

struct target {
    struct observe *o;
    mrd_region region;
    struct probe probes[KINDS];
    uint32_t rtt_us;
    struct clock_reading clock;
    uint64_t clock_ns; /* when it was read */
    struct pglink *sql;
    uint64_t sql_patience_ns; /* our own reconnecting is no miss until then */
    struct tls_conn *http;
    bool http_sent;
    char head[HTTP_HEAD_MAX + 1]; /* of the answer being read */
    size_t head_len;
    long body_left; /* -1: still in the head */
};

struct observe {
    uv_loop_t *loop;
    struct tls *tls;
    struct rpc *rpc;
    const struct mrd_config *config;
    mrd_region self;
    bool stopped;
    uint64_t ticked_ns;
    struct target targets[MRD_REGIONS_MAX];
};

/* ---- hysteresis ---- */

static struct mrd_patience_limits limits_of(const struct target *t)
{
    const struct mrd_config *c = t->o->config;
    return (struct mrd_patience_limits){.interval_ns = c->probe_interval_ms * UINT64_C(1000000),
                                        .trip_ns = t->rtt_us * UINT64_C(1000),
                                        .timeout_ns = c->probe_timeout_ms * UINT64_C(1000000),
                                        .threshold = c->probe_threshold};
}

static void log_turn(const struct target *t, enum kind k)
{
    const struct mrd_patience *seen = &t->probes[k].seen;
    const char *name = t->o->config->regions[t->region].name;

    if (seen->up) {
        log_event("event=probe.found region=%s kind=%s", name, kind_names[k]);
    } else {
        log_event("event=probe.lost region=%s kind=%s misses=%u", name, kind_names[k],
                  seen->misses);
    }
}

static void conclude(struct target *t, enum kind k, bool success)
{
    struct mrd_patience_limits limits = limits_of(t);

    if (mrd_patience_answer(&t->probes[k].seen, success, clock_boot_ns(), &limits)) {
        log_turn(t, k);
    }
}

/* ---- agent ---- */

static void on_pong(void *ctx, int code, const uint8_t *payload, size_t len)
{
    struct target *t = ctx;
    struct probe *p = &t->probes[AGENT];
    struct mrd_buf b = mrd_buf_reader(payload, len);

    mrd_buf_get_u64(&b);
    mrd_buf_get_u8(&b);
    bool clock = len == PONG_WITH_CLOCK;
    uint64_t wall_ms = clock ? mrd_buf_get_u64(&b) : 0;
    bool good = code == 0 && mrd_buf_done(&b);
    if (good) {
        uint64_t now_ns = clock_boot_ns(), us = (now_ns - p->seen.asked_ns) / 1000;
        uint32_t rtt = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
        /* Smoothed as TCP does (RFC 6298, 2.3), so that one late answer moves nobody. */
        t->rtt_us = t->rtt_us == 0 ? rtt : (uint32_t)(((uint64_t)t->rtt_us * 7 + rtt) / 8);
        if (clock) {
            t->clock = clocks_read(wall_ms, clock_wall_ms(), us / 1000 + 1);
            t->clock_ns = now_ns;
        }
    }
    conclude(t, AGENT, good);
}

static void probe_agent(struct target *t)
{
    uint8_t flags = RPC_ASK_CLOCK;
    mrd_patience_ask(&t->probes[AGENT].seen, clock_boot_ns());
    if (rpc_call(t->o->rpc, t->region, RPC_PING, &flags, sizeof(flags),
                 t->o->config->probe_timeout_ms, on_pong, t) != 0) {
        conclude(t, AGENT, false);
    }
}

/* ---- SQL ---- */

static void on_select(void *ctx, PGresult *res, const char *error)
{
    struct target *t = ctx;
    (void)res;
    conclude(t, SQL, error == NULL);
}

static void be_patient(struct target *t, uint64_t now_ns)
{
    t->sql_patience_ns = now_ns + t->o->config->probe_timeout_ms * UINT64_C(1000000) +
                         CONNECT_TRIPS * t->rtt_us * UINT64_C(1000);
}

static void probe_sql(struct target *t, uint64_t now_ns)
{
    struct probe *p = &t->probes[SQL];
    if (p->count++ % REFRESH == REFRESH - 1 && pglink_ready(t->sql)) {
        pglink_reset(t->sql, "refreshed");
        be_patient(t, now_ns);
        return; /* this round only reconnects */
    }
    if (!pglink_ready(t->sql) && now_ns < t->sql_patience_ns) {
        return;
    }
    t->sql_patience_ns = 0;
    mrd_patience_ask(&p->seen, now_ns);
    if (pglink_query(t->sql, "SELECT 1", 0, NULL, t->o->config->probe_timeout_ms, on_select,
                     t) != 0) {
        conclude(t, SQL, false);
    }
}

/* ---- edge ---- */

static void http_send(struct target *t)
{
    char request[400];
    const char *host = t->o->config->regions[t->region].endpoint;
    int n =
        snprintf(request, sizeof(request),
                 "GET /meridian/health HTTP/1.1\r\nHost: %s\r\nUser-Agent: meridian-agent\r\n"
                 "\r\n",
                 host[0] != '\0' ? host : "meridian");
    t->http_sent = true;
    t->head_len = 0;
    t->body_left = -1;
    tls_write(t->http, request, (size_t)n);
}

static void http_open(void *ctx, struct tls_conn *c)
{
    struct target *t = ctx;
    (void)c;
    http_send(t);
}

/* The length of the body that follows, or -1 when the head does not say. */
static long body_length(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    if (at == NULL) {
        return -1;
    }
    char *end;
    long n = strtol(at + 17, &end, 10);
    return *end == '\r' && n >= 0 && n < 1048576 ? n : -1;
}

static void http_data(void *ctx, struct tls_conn *c, const uint8_t *data, size_t len)
{
    struct target *t = ctx;
    if (!t->http_sent) {
        tls_close(c, "it speaks without being asked");
        return;
    }
    if (t->body_left < 0) {
        size_t take = HTTP_HEAD_MAX - t->head_len < len ? HTTP_HEAD_MAX - t->head_len : len;
        memcpy(t->head + t->head_len, data, take);
        t->head_len += take;
        t->head[t->head_len] = '\0';
        char *end = strstr(t->head, "\r\n\r\n");
        if (end == NULL) {
            if (t->head_len == HTTP_HEAD_MAX) {
                tls_close(c, "its answer's head is too long");
            }
            return;
        }
        bool good = strncmp(t->head, "HTTP/1.1 200", 12) == 0 ||
                    strncmp(t->head, "HTTP/1.1 204", 12) == 0;
        size_t rest = t->head_len - (size_t)(end + 4 - t->head) + (len - take);
        t->body_left = strncmp(t->head, "HTTP/1.1 204", 12) == 0 ? 0 : body_length(t->head);
        conclude(t, EDGE, good);
        if (!good || t->body_left < 0 || rest > (size_t)t->body_left) {
            t->http_sent = false;
            tls_close(c, "not to be reused");
            return;
        }
        t->body_left -= (long)rest;
    } else if (len > (size_t)t->body_left) {
        tls_close(c, "its answer is too long");
        return;
    } else {
        t->body_left -= (long)len;
    }
    if (t->body_left == 0) {
        t->http_sent = false; /* answered whole: free for the next one */
    }
}

static void http_close(void *ctx, struct tls_conn *c, const char *reason)
{
    struct target *t = ctx;
    (void)c;
    (void)reason;
    t->http = NULL;
    t->http_sent = false;
    if (t->probes[EDGE].seen.pending && !t->o->stopped) {
        conclude(t, EDGE, false);
    }
}

static const struct tls_events http_events = {http_open, http_data, NULL, http_close};

static void probe_edge(struct target *t, uint64_t now_ns)
{
    const struct mrd_conf_region *r = &t->o->config->regions[t->region];
    struct probe *p = &t->probes[EDGE];

    if (t->http != NULL && p->count++ % REFRESH == REFRESH - 1) {
        tls_close(t->http, "refreshed");
        return; /* this round only ends the connection */
    }
    mrd_patience_ask(&p->seen, now_ns);
    if (t->http == NULL) {
        t->http = tls_connect(t->o->tls, t->region, TLS_HTTP, r->edge_host, r->edge_port,
                              t->o->config->probe_timeout_ms, &http_events, t);
        if (t->http == NULL) {
            conclude(t, EDGE, false);
        }
    } else if (tls_is_open(t->http) && !t->http_sent) {
        http_send(t);
    } else {
        conclude(t, EDGE, false);
        tls_close(t->http, "still busy with the last question");
    }
}

/* ---- all of them ---- */

static void start_probe(struct target *t, enum kind k, mrd_boot_ns now_ns)
{
    struct probe *p = &t->probes[k];
    p->next_ns = now_ns + t->o->config->probe_interval_ms * UINT64_C(1000000);
    switch (k) {
    case AGENT:
        probe_agent(t);
        break;
    case SQL:
        probe_sql(t, now_ns);
        break;
    default:
        probe_edge(t, now_ns);
        break;
    }
}

static void tick_probe(struct target *t, enum kind k, mrd_boot_ns now_ns, bool listened)
{
    struct probe *p = &t->probes[k];
    struct mrd_patience_limits limits = limits_of(t);

    /* PING and SELECT end by their own timeouts; HTTP is watched here. */
    if (k == EDGE && p->seen.pending && now_ns - p->seen.asked_ns > limits.timeout_ns) {
        conclude(t, EDGE, false);
        if (t->http != NULL) {
            tls_close(t->http, "no answer in time");
        }
    }
    if (listened && mrd_patience_wait(&p->seen, now_ns, &limits)) {
        log_turn(t, k);
    }
    if (!p->seen.pending && now_ns >= p->next_ns) {
        start_probe(t, k, now_ns);
    }
}

void observe_tick(struct observe *o, mrd_boot_ns now_ns)
{
    /* When this process itself did not run for a while, answers may lie unread. */
    uint64_t interval_ns = o->config->probe_interval_ms * UINT64_C(1000000);
    bool listened = now_ns - o->ticked_ns < interval_ns / 2;

    o->ticked_ns = now_ns;
    for (mrd_region i = 0; i < o->config->region_count; i++) {
        struct target *t = &o->targets[i];
        if (t->sql != NULL) {
            pglink_tick(t->sql, now_ns);
        }
        for (enum kind k = AGENT; k < KINDS; k++) {
            if (t->probes[k].wanted) {
                tick_probe(t, k, now_ns, listened);
            }
        }
    }
}

void observe_fill(const struct observe *o, mrd_region peer, struct mrd_peer_report *ret)
{
    static const uint8_t bits[KINDS] = {MRD_SEES_AGENT, MRD_SEES_SQL, MRD_SEES_EDGE};
    const struct target *t = &o->targets[peer];
    ret->reachable = 0;
    for (enum kind k = AGENT; k < KINDS; k++) {
        if (t->probes[k].wanted && t->probes[k].seen.up) {
            ret->reachable = (uint8_t)(ret->reachable | bits[k]);
        }
    }
    ret->rtt_us = t->rtt_us;
}

struct clock_reading observe_clock(const struct observe *o, mrd_region peer, mrd_boot_ns now_ns)
{
    const struct target *t = &o->targets[peer];

    return t->clock.known && now_ns < t->clock_ns + CLOCK_NS ? t->clock
                                                             : (struct clock_reading){0};
}

bool observe_own_edge(const struct observe *o)
{
    const struct probe *p = &o->targets[o->self].probes[EDGE];
    return p->wanted && p->seen.up;
}

static int target_init(struct target *t, struct observe *o, mrd_region region,
                       const char *certs_dir)
{
    const struct mrd_conf_region *r = &o->config->regions[region];
    const struct pglink_target sql = {.host = r->db_host,
                                      .port = r->db_port,
                                      .dbname = r->db_name,
                                      .user = "meridian",
                                      .certs = certs_dir,
                                      .connect_ms =
                                          CONNECT_TIMEOUTS * o->config->probe_timeout_ms,
                                      .statement_ms = o->config->probe_timeout_ms};

    t->o = o;
    t->region = region;
    t->probes[AGENT].wanted = region != o->self;
    t->probes[SQL].wanted = region != o->self && !r->witness && r->db_host[0] != '\0';
    t->probes[EDGE].wanted = !r->witness && r->edge_host[0] != '\0';
    for (enum kind k = AGENT; k < KINDS; k++) {
        t->probes[k].seen.up = region != o->self;
    }
    if (t->probes[SQL].wanted) {
        t->sql = pglink_new(o->loop, &sql, NULL, NULL);
        return t->sql != NULL ? 0 : MRD_ENOMEM;
    }
    return 0;
}

struct observe *observe_new(uv_loop_t *loop, struct tls *tls, struct rpc *rpc,
                            const struct mrd_config *config, mrd_region self,
                            const char *certs_dir)
{
    struct observe *o = calloc(1, sizeof(*o));
    if (o == NULL) {
        return NULL;
    }
    o->loop = loop;
    o->tls = tls;
    o->rpc = rpc;
    o->config = config;
    o->self = self;
    for (mrd_region i = 0; i < config->region_count; i++) {
        if (target_init(&o->targets[i], o, i, certs_dir) != 0) {
            observe_stop(o);
            free(o);
            return NULL;
        }
    }
    return o;
}

void observe_stop(struct observe *o)
{
    o->stopped = true;
    for (size_t i = 0; i < MRD_REGIONS_MAX; i++) {
        pglink_free(o->targets[i].sql);
        o->targets[i].sql = NULL;
    }
}

void observe_free(struct observe *o)
{
    free(o);
}
