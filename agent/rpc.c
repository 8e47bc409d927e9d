/*
 * Frames between agents (rpc.h).
 *
 * Two kinds of connection. An outbound one belongs to a peer's slot, carries our calls and may
 * receive only answers; an inbound one carries the peer's calls and may receive only those. So
 * an answer nobody asked for, or a call on the wrong side, is a protocol error.
 *
 * A broken connection ends all its calls at once as "unknown outcome": the caller is the
 * store, where everything is compare-and-swap and may be tried again.
 */
#include "rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/buf.h>

#include "log.h"

#define CALLS_MAX 256  /* of ours, over all peers */
#define INBOUND_MAX 64 /* a peer's calls not yet answered, over all peers */
#define CONNECT_MS 2000
#define RETRY_NS (250 * UINT64_C(1000000))

struct rx {
    uint8_t *data;
    size_t len, cap;
};

struct peer {
    struct rpc *r;
    struct tls_conn *conn; /* made by us; NULL: none */
    struct rx rx;
    mrd_boot_ns tried_ns;
    struct log_repeat lost;
    bool was_open;
};

struct call {
    uint64_t id; /* 0: free */
    mrd_region peer;
    mrd_boot_ns deadline_ns;
    rpc_done_fn done;
    void *ctx;
};

struct rpc_inbound {
    struct rpc *r;
    struct rpc_inbound *next, **link;
    struct tls_conn *conn;
    mrd_region peer;
    struct rx rx;
};

struct pending {
    uint64_t token;           /* 0: free */
    uint64_t id;              /* the peer's */
    struct rpc_inbound *from; /* NULL: its connection is gone */
};

struct rpc {
    uv_loop_t *loop;
    struct tls *tls;
    const struct mrd_config *config;
    mrd_region self;
    struct rpc_handlers handlers;
    uint64_t last_id, last_token;
    struct peer peers[MRD_REGIONS_MAX];
    struct call calls[CALLS_MAX];
    struct rpc_inbound *inbound;
    struct pending pending[INBOUND_MAX];
    bool ended;
};

/* ---- frames ---- */

static void send_frame(struct tls_conn *c, enum rpc_type type, uint64_t id, const void *payload,
                       size_t len)
{
    uint8_t header[RPC_HEADER];
    struct mrd_buf b = mrd_buf_writer(header, sizeof(header));
    mrd_buf_put_u32(&b, (uint32_t)(len + RPC_HEADER - 4));
    mrd_buf_put_u8(&b, (uint8_t)type);
    mrd_buf_put_u64(&b, id);
    tls_write(c, header, sizeof(header));
    if (len > 0) {
        tls_write(c, payload, len);
    }
}

static int rx_append(struct rx *rx, const uint8_t *data, size_t len)
{
    if (rx->len + len > rx->cap) {
        /* The longest frame and one read: rx_take stops anything that would need more. */
        size_t cap = rx->cap == 0 ? 4096 : rx->cap;
        while (cap < rx->len + len) {
            cap *= 2;
        }
        uint8_t *grown = realloc(rx->data, cap);
        if (grown == NULL) {
            return MRD_ENOMEM;
        }
        rx->data = grown;
        rx->cap = cap;
    }
    memcpy(rx->data + rx->len, data, len);
    rx->len += len;
    return 0;
}

static void rx_fini(struct rx *rx)
{
    free(rx->data);
    memset(rx, 0, sizeof(*rx));
}

typedef int (*frame_fn)(void *who, const struct rpc_frame *f);

/* Every whole frame of the buffer goes to @fn, until one is refused. */
static int rx_take(struct rx *rx, struct tls_conn *c, frame_fn fn, void *who)
{
    size_t at = 0;
    int rv;
    struct rpc_frame f;
    while ((rv = rpc_frame_read(rx->data + at, rx->len - at, &f)) == 1) {
        at += f.size;
        rv = fn(who, &f);
        if (rv != 0 || !tls_is_open(c)) {
            break;
        }
    }
    memmove(rx->data, rx->data + at, rx->len - at);
    rx->len -= at;
    if (rx->len == 0 && rx->cap > 65536) {
        rx_fini(rx); /* a rare big frame does not keep its memory */
    }
    return rv;
}

/* ---- our calls ---- */

static void end_call(struct call *call, int code, const uint8_t *payload, size_t len)
{
    struct call done = *call;
    call->id = 0; /* first: the callback may call again */
    done.done(done.ctx, code, payload, len);
}

static void end_calls(struct rpc *r, mrd_region peer, int code)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (r->calls[i].id != 0 && r->calls[i].peer == peer) {
            end_call(&r->calls[i], code, NULL, 0);
        }
    }
}

static int on_answer(void *who, const struct rpc_frame *f)
{
    struct peer *p = who;
    struct rpc *r = p->r;
    if (f->type != RPC_RESULT && f->type != RPC_PONG) {
        return MRD_EFORMAT;
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (r->calls[i].id == f->id && f->id != 0 && &r->peers[r->calls[i].peer] == p) {
            end_call(&r->calls[i], 0, f->payload, f->len);
            return 0;
        }
    }
    /* An answer that came after its time; an id never given out is a lie. */
    return f->id != 0 && f->id <= r->last_id ? 0 : MRD_EFORMAT;
}

static void peer_open(void *ctx, struct tls_conn *c)
{
    struct peer *p = ctx;
    mrd_region peer = tls_peer(c);
    p->was_open = true;
    memset(&p->lost, 0, sizeof(p->lost));
    log_event("event=peer.connected region=%s", p->r->config->regions[peer].name);
}

static void peer_data(void *ctx, struct tls_conn *c, const uint8_t *data, size_t len)
{
    struct peer *p = ctx;
    int rv = rx_append(&p->rx, data, len);
    if (rv == 0) {
        rv = rx_take(&p->rx, c, on_answer, p);
    }
    if (rv < 0) {
        tls_close(c, mrd_strerror(rv));
    }
}

static void peer_close(void *ctx, struct tls_conn *c, const char *reason)
{
    struct peer *p = ctx;
    mrd_region peer = tls_peer(c);
    unsigned held;

    p->conn = NULL;
    rx_fini(&p->rx);
    if (p->r->ended) {
        return;
    }
    if (log_repeat_pass(&p->lost, clock_boot_ns(), &held)) {
        log_event("event=peer.%s region=%s reason=\"%s\" repeated=%u",
                  p->was_open ? "lost" : "unreachable", p->r->config->regions[peer].name,
                  reason, held);
    }
    p->was_open = false;
    end_calls(p->r, peer, MRD_EUNAVAILABLE);
}

static const struct tls_events peer_events = {peer_open, peer_data, NULL, peer_close};

static void peer_connect(struct rpc *r, mrd_region peer, mrd_boot_ns now_ns)
{
    struct peer *p = &r->peers[peer];
    const struct mrd_conf_region *to = &r->config->regions[peer];
    if (p->conn == NULL && now_ns - p->tried_ns >= RETRY_NS) {
        p->tried_ns = now_ns;
        p->conn = tls_connect(r->tls, peer, TLS_RPC, to->agent_host, to->agent_port, CONNECT_MS,
                              &peer_events, p);
    }
}

int rpc_call(struct rpc *r, mrd_region peer, enum rpc_type type, const void *payload,
             size_t len, unsigned timeout_ms, rpc_done_fn done, void *ctx)
{
    struct peer *p = &r->peers[peer];
    if (p->conn == NULL || !tls_is_open(p->conn)) {
        return MRD_EUNAVAILABLE;
    }
    if (len > RPC_FRAME_MAX - (RPC_HEADER - 4)) {
        return MRD_ETOOBIG;
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        struct call *call = &r->calls[i];
        if (call->id == 0) {
            *call = (struct call){++r->last_id, peer,
                                  clock_boot_ns() + timeout_ms * UINT64_C(1000000), done, ctx};
            send_frame(p->conn, type, call->id, payload, len);
            return 0;
        }
    }
    return MRD_EUNAVAILABLE;
}

void rpc_tick(struct rpc *r, mrd_boot_ns now_ns)
{
    for (mrd_region i = 0; i < r->config->region_count; i++) {
        if (i != r->self) {
            peer_connect(r, i, now_ns);
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (r->calls[i].id != 0 && now_ns >= r->calls[i].deadline_ns) {
            end_call(&r->calls[i], MRD_ETIMEDOUT, NULL, 0);
        }
    }
}

/* ---- their calls ---- */

static void hand_over(struct rpc_inbound *in, const struct rpc_frame *f, uint64_t token)
{
    const struct rpc_handlers *h = &in->r->handlers;

    if (f->type == RPC_ANEW) {
        struct mrd_buf b = mrd_buf_reader(f->payload, f->len);
        h->anew(h->ctx, in->peer, mrd_buf_get_u64(&b), token);
    } else {
        h->propose(h->ctx, in->peer, f->payload, f->len, token);
    }
}

/* What is answered by a RESULT, now or later */
static int take_call(struct rpc_inbound *in, const struct rpc_frame *f)
{
    struct rpc *r = in->r;
    for (size_t i = 0; i < INBOUND_MAX; i++) {
        struct pending *p = &r->pending[i];
        if (p->token == 0) {
            *p = (struct pending){++r->last_token, f->id, in};
            hand_over(in, f, p->token);
            return 0;
        }
    }
    uint8_t bytes[12];
    struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));
    mrd_buf_put_u32(&b, (uint32_t)MRD_EUNAVAILABLE);
    mrd_buf_put_u64(&b, 0);
    send_frame(in->conn, RPC_RESULT, f->id, bytes, b.pos);
    return 0;
}

static int on_request(void *who, const struct rpc_frame *f)
{
    struct rpc_inbound *in = who;
    if (f->type == RPC_PROPOSE || (f->type == RPC_ANEW && f->len == 8)) {
        return take_call(in, f);
    }
    if (f->type != RPC_PING || f->len != 1) {
        return MRD_EFORMAT;
    }
    uint8_t bytes[17];
    struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));
    mrd_buf_put_u64(&b, clock_boot_ns() / 1000000);
    mrd_buf_put_u8(&b, in->r->handlers.flags(in->r->handlers.ctx));
    if ((f->payload[0] & RPC_ASK_CLOCK) != 0) {
        mrd_buf_put_u64(&b, clock_wall_ms());
    }
    send_frame(in->conn, RPC_PONG, f->id, bytes, b.pos);
    return 0;
}

static void inbound_data(void *ctx, struct tls_conn *c, const uint8_t *data, size_t len)
{
    struct rpc_inbound *in = ctx;
    int rv = rx_append(&in->rx, data, len);
    if (rv == 0) {
        rv = rx_take(&in->rx, c, on_request, in);
    }
    if (rv < 0) {
        log_event("event=peer.protocol region=%s reason=\"%s\"",
                  in->r->config->regions[in->peer].name, mrd_strerror(rv));
        tls_close(c, mrd_strerror(rv));
    }
}

static void inbound_free(struct rpc_inbound *in)
{
    *in->link = in->next;
    if (in->next != NULL) {
        in->next->link = in->link;
    }
    rx_fini(&in->rx);
    free(in);
}

static void inbound_close(void *ctx, struct tls_conn *c, const char *reason)
{
    struct rpc_inbound *in = ctx;
    (void)c;
    (void)reason;
    for (size_t i = 0; i < INBOUND_MAX; i++) {
        if (in->r->pending[i].from == in) {
            in->r->pending[i].from = NULL;
        }
    }
    inbound_free(in);
}

static const struct tls_events inbound_events = {NULL, inbound_data, NULL, inbound_close};

void rpc_accept(struct rpc *r, struct tls_conn *c, mrd_region peer)
{
    /* A peer has one connection to us: a new one means that it gave the old one up. */
    for (struct rpc_inbound *old = r->inbound; old != NULL; old = old->next) {
        if (old->peer == peer) {
            tls_close(old->conn, "replaced by a newer connection");
        }
    }
    struct rpc_inbound *in = calloc(1, sizeof(*in));
    if (in == NULL) {
        tls_close(c, "out of memory");
        return;
    }
    in->r = r;
    in->conn = c;
    in->peer = peer;
    in->next = r->inbound;
    in->link = &r->inbound;
    if (in->next != NULL) {
        in->next->link = &in->next;
    }
    r->inbound = in;
    tls_attach(c, &inbound_events, in);
}

void rpc_result(struct rpc *r, uint64_t token, int code, uint64_t revision)
{
    for (size_t i = 0; i < INBOUND_MAX; i++) {
        struct pending *p = &r->pending[i];
        if (p->token != token || token == 0) {
            continue;
        }
        if (p->from != NULL && tls_is_open(p->from->conn)) {
            uint8_t bytes[12];
            struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));
            mrd_buf_put_u32(&b, (uint32_t)code);
            mrd_buf_put_u64(&b, revision);
            send_frame(p->from->conn, RPC_RESULT, p->id, bytes, b.pos);
        }
        p->token = 0;
        p->from = NULL;
        return;
    }
}

/* ---- life ---- */

struct rpc *rpc_new(uv_loop_t *loop, struct tls *tls, const struct mrd_config *config,
                    mrd_region self, const struct rpc_handlers *handlers)
{
    struct rpc *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->loop = loop;
    r->tls = tls;
    r->config = config;
    r->self = self;
    r->handlers = *handlers;
    for (size_t i = 0; i < MRD_REGIONS_MAX; i++) {
        r->peers[i].r = r;
    }
    return r;
}

void rpc_stop(struct rpc *r)
{
    r->ended = true;
    for (mrd_region i = 0; i < r->config->region_count; i++) {
        end_calls(r, i, MRD_EUNAVAILABLE);
    }
}

void rpc_free(struct rpc *r)
{
    free(r);
}
