/*
 * TLS 1.3 between agents (tls.h).
 *
 * OpenSSL sees only two memory buffers; libuv does the reading and writing. After every input
 * and every write the output buffer is drained into the socket, so OpenSSL never waits. One
 * thread, the loop's.
 *
 * Links break silently: a packet that nobody acknowledges for TCP_USER_TIMEOUT ends the
 * connection, because after a partition TCP's own retransmission could be backed off for longer
 * than an election takes.
 *
 * What strangers can cost us: one handshake's memory each, at most HANDSHAKES_MAX at a time and
 * HANDSHAKE_MS long. What a peer with a certificate can cost us is bounded by QUEUE_MAX.
 */
#include "tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "log.h"

#define HANDSHAKES_MAX 64
#define HANDSHAKE_MS 3000
#define QUEUE_MAX ((size_t)4 * 1024 * 1024)
#define USER_TIMEOUT_MS 3000
#define READ_CHUNK ((size_t)32 * 1024)

struct tls {
    uv_loop_t *loop;
    const struct mrd_config *config;
    mrd_region self;
    SSL_CTX *server, *client, *http;
    uv_tcp_t listener;
    bool listening, stopped;
    tls_accept_fn accept;
    void *accept_ctx;
    unsigned handshakes;    /* accepted connections that are not open yet */
    struct tls_conn *conns; /* every connection that is not yet gone */
    struct log_repeat refused;
    uint8_t chunk[READ_CHUNK]; /* one read at a time: the loop has one thread */
};

struct tls_conn {
    struct tls *t;
    struct tls_conn *next, **link;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_getaddrinfo_t dns;
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    struct tls_events events;
    void *ctx;
    enum tls_use use;
    mrd_region peer; /* accepted: none until the handshake is done */
    bool accepted, open, reading, closing, resolving;
    unsigned handles; /* still to be closed by libuv */
    char reason[160];
};

struct tls_out {
    uv_write_t req;
    struct tls_conn *c;
    size_t len;
    uint8_t data[];
};

static const struct {
    const char *name;
    uint8_t wire[12]; /* with its length byte, as ALPN wants it */
    unsigned len;
} alpn[] = {
    [TLS_RAFT] = {"mrd-raft", "\x08mrd-raft", 9},
    [TLS_RPC] = {"mrd-rpc", "\x07mrd-rpc", 8},
    [TLS_HTTP] = {"http/1.1", "\x08http/1.1", 9},
};

static void conn_close(struct tls_conn *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- identity ---- */

static int ssl_problem(struct mrd_err *err, const char *what, const char *path)
{
    char text[200] = "unknown reason";
    unsigned long e = ERR_get_error();
    if (e != 0) {
        ERR_error_string_n(e, text, sizeof(text));
    }
    ERR_clear_error();
    mrd_err_set(err, MRD_EIO, "could not %s \"%s\": %s", what, path, text);
    mrd_err_hint(err, "Make certificates with: meridian certs DIR REGION...");
    return MRD_EIO;
}

static int load_identity(SSL_CTX *ctx, const char *dir, struct mrd_err *err)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/ca.crt", dir);
    if (SSL_CTX_load_verify_file(ctx, path) != 1) {
        return ssl_problem(err, "load the CA from", path);
    }
    snprintf(path, sizeof(path), "%s/node.crt", dir);
    if (SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM) != 1) {
        return ssl_problem(err, "load the certificate from", path);
    }
    snprintf(path, sizeof(path), "%s/node.key", dir);
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        return ssl_problem(err, "load the key from", path);
    }
    return 0;
}

/* The one CN of @cert's subject as a configured region, or none. */
static mrd_region region_of(const struct mrd_config *config, X509 *cert)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return MRD_REGION_NONE;
    }
    unsigned char *utf8 = NULL;
    int len =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    mrd_region ret = MRD_REGION_NONE;
    /* A NUL inside the name would make two different names look the same. */
    if (len > 0 && len < MRD_NAME_MAX && strlen((char *)utf8) == (size_t)len) {
        int i = mrd_config_region(config, (char *)utf8);
        ret = i >= 0 ? (mrd_region)i : MRD_REGION_NONE;
    }
    OPENSSL_free(utf8);
    return ret;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                       const unsigned char *in, unsigned inlen, void *arg)
{
    (void)ssl;
    (void)arg;
    for (unsigned at = 0; at < inlen; at += 1u + in[at]) {
        for (unsigned use = TLS_RAFT; use <= TLS_RPC; use++) {
            if (in[at] < inlen - at && in[at] + 1u == alpn[use].len &&
                memcmp(in + at, alpn[use].wire, alpn[use].len) == 0) {
                *out = in + at + 1;
                *outlen = in[at];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int context_new(const SSL_METHOD *method, const char *dir, int min_version,
                       SSL_CTX **ret, struct mrd_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL) {
        return ssl_problem(err, "start TLS for", dir);
    }
    SSL_CTX_set_min_proto_version(ctx, min_version);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    /* No resumption: every connection proves who it is. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    int rv = load_identity(ctx, dir, err);
    if (rv != 0) {
        SSL_CTX_free(ctx);
        return rv;
    }
    *ret = ctx;
    return 0;
}

int tls_new(uv_loop_t *loop, const char *dir, const struct mrd_config *config, mrd_region self,
            struct tls **ret, struct mrd_err *err)
{
    struct tls *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "could not start TLS: out of memory");
    }
    t->loop = loop;
    t->config = config;
    t->self = self;
    int rv = context_new(TLS_server_method(), dir, TLS1_3_VERSION, &t->server, err);
    if (rv == 0) {
        rv = context_new(TLS_client_method(), dir, TLS1_3_VERSION, &t->client, err);
    }
    if (rv == 0) {
        /* An edge is nginx, whose version decides what it speaks. */
        rv = context_new(TLS_client_method(), dir, TLS1_2_VERSION, &t->http, err);
    }
    if (rv == 0 && region_of(config, SSL_CTX_get0_certificate(t->server)) != self) {
        rv = mrd_err_set(err, MRD_ECONFIG, "the certificate in \"%s\" is not of region \"%s\"",
                         dir, config->regions[self].name);
        mrd_err_hint(err, "Its CN must be the region's name; see: meridian certs.");
    }
    if (rv != 0) {
        tls_free(t);
        return rv;
    }
    SSL_CTX_set_alpn_select_cb(t->server, choose_alpn, NULL);
    *ret = t;
    return 0;
}

void tls_free(struct tls *t)
{
    if (t != NULL) {
        SSL_CTX_free(t->server);
        SSL_CTX_free(t->client);
        SSL_CTX_free(t->http);
        free(t);
    }
}

/* ---- a connection's life ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct tls_conn *c = h->data;
    if (--c->handles > 0) {
        return;
    }
    if (c->events.close != NULL) {
        c->events.close(c->ctx, c, c->reason);
    }
    *c->link = c->next;
    if (c->next != NULL) {
        c->next->link = c->link;
    }
    SSL_free(c->ssl);
    free(c);
}

static void close_handles(struct tls_conn *c)
{
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

static void conn_close(struct tls_conn *c, const char *fmt, ...)
{
    if (c->closing) {
        return;
    }
    c->closing = true;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->reason, sizeof(c->reason), fmt, ap);
    va_end(ap);
    if (c->accepted && !c->open) {
        unsigned held;
        c->t->handshakes--;
        if (log_repeat_pass(&c->t->refused, clock_boot_ns(), &held)) {
            log_event("event=tls.refused reason=\"%s\" repeated=%u", c->reason, held);
        }
    }
    if (c->resolving) {
        uv_cancel((uv_req_t *)&c->dns); /* on_resolved closes the handles */
    } else {
        close_handles(c);
    }
}

void tls_close(struct tls_conn *c, const char *reason)
{
    conn_close(c, "%s", reason != NULL ? reason : "closed here");
}

static void on_timeout(uv_timer_t *timer)
{
    struct tls_conn *c = timer->data;
    conn_close(c, "no handshake in time");
}

static struct tls_conn *conn_new(struct tls *t, SSL_CTX *ctx, unsigned timeout_ms)
{
    struct tls_conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    c->ssl = SSL_new(ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    if (c->ssl == NULL || c->in == NULL || c->out == NULL) {
        SSL_free(c->ssl);
        BIO_free(c->in);
        BIO_free(c->out);
        free(c);
        return NULL;
    }
    SSL_set_bio(c->ssl, c->in, c->out);
    c->t = t;
    c->peer = MRD_REGION_NONE;
    uv_tcp_init(t->loop, &c->tcp);
    uv_timer_init(t->loop, &c->timer);
    c->tcp.data = c;
    c->timer.data = c;
    c->handles = 2;
    uv_timer_start(&c->timer, on_timeout, timeout_ms, 0);
    c->next = t->conns;
    c->link = &t->conns;
    if (c->next != NULL) {
        c->next->link = &c->next;
    }
    t->conns = c;
    return c;
}

static void set_socket_options(struct tls_conn *c)
{
    uv_os_fd_t fd;
    unsigned ms = USER_TIMEOUT_MS;
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, 2);
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0) {
        int idle = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
    }
}

/* ---- bytes ---- */

static void on_written(uv_write_t *req, int status)
{
    struct tls_out *o = (struct tls_out *)req;
    struct tls_conn *c = o->c;
    free(o);
    if (c->closing) {
        return;
    }
    if (status != 0) {
        conn_close(c, "could not send: %s", uv_strerror(status));
    } else if (c->open && c->events.drain != NULL) {
        c->events.drain(c->ctx, c);
    }
}

/* Move what OpenSSL wants sent into the socket. */
static void flush_out(struct tls_conn *c)
{
    size_t pending = BIO_ctrl_pending(c->out);
    if (c->closing || pending == 0) {
        return;
    }
    if (tls_queued(c) + pending > QUEUE_MAX) {
        conn_close(c, "the peer takes nothing");
        return;
    }
    struct tls_out *o = malloc(sizeof(*o) + pending);
    if (o == NULL) {
        conn_close(c, "out of memory");
        return;
    }
    o->c = c;
    o->len = (size_t)BIO_read(c->out, o->data, (int)pending);
    uv_buf_t buf = uv_buf_init((char *)o->data, (unsigned)o->len);
    int rv = uv_write(&o->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
    if (rv != 0) {
        free(o);
        conn_close(c, "could not send: %s", uv_strerror(rv));
    }
}

static void ssl_failed(struct tls_conn *c, const char *doing)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e != 0 ? ERR_reason_error_string(e) : NULL;
    long verify = SSL_get_verify_result(c->ssl);
    flush_out(c); /* the alert tells the peer why */
    if (verify != X509_V_OK) {
        text = X509_verify_cert_error_string(verify);
    }
    conn_close(c, "%s failed: %s", doing, text != NULL ? text : "protocol error");
    ERR_clear_error();
}

/* Who is there, and what does it speak? Called once, after the handshake. */
static void conn_opened(struct tls_conn *c)
{
    X509 *cert = SSL_get0_peer_certificate(c->ssl);
    mrd_region peer = cert != NULL ? region_of(c->t->config, cert) : MRD_REGION_NONE;
    const unsigned char *proto;
    unsigned len;

    if (peer == MRD_REGION_NONE) {
        conn_close(c, "its certificate names no configured region");
        return;
    }
    SSL_get0_alpn_selected(c->ssl, &proto, &len);
    if (c->accepted) {
        for (c->use = TLS_RAFT; c->use <= TLS_RPC; c->use++) {
            if (len + 1 == alpn[c->use].len && memcmp(proto, alpn[c->use].name, len) == 0) {
                break;
            }
        }
        if (c->use > TLS_RPC) {
            conn_close(c, "it named no protocol");
            return;
        }
        c->t->handshakes--;
        c->peer = peer;
    } else if (peer != c->peer) {
        conn_close(c, "its certificate is of region \"%s\"", c->t->config->regions[peer].name);
        return;
    } else if (c->use != TLS_HTTP && len == 0) {
        conn_close(c, "it does not speak %s", alpn[c->use].name);
        return;
    }
    c->open = true;
    uv_timer_stop(&c->timer);
    if (c->accepted) {
        c->t->accept(c->t->accept_ctx, c, c->use, peer);
    } else {
        c->events.open(c->ctx, c);
    }
}

static void pump(struct tls_conn *c)
{
    if (!SSL_is_init_finished(c->ssl)) {
        int rv = SSL_do_handshake(c->ssl);
        if (rv != 1 && SSL_get_error(c->ssl, rv) != SSL_ERROR_WANT_READ) {
            ssl_failed(c, "handshake");
            return;
        }
        flush_out(c);
    }
    if (SSL_is_init_finished(c->ssl) && !c->open && !c->closing) {
        conn_opened(c);
    }
    while (c->open && !c->closing) {
        int n = SSL_read(c->ssl, c->t->chunk, sizeof(c->t->chunk));
        if (n <= 0) {
            int why = SSL_get_error(c->ssl, n);
            if (why == SSL_ERROR_ZERO_RETURN) {
                conn_close(c, "closed by the peer");
            } else if (why != SSL_ERROR_WANT_READ) {
                ssl_failed(c, "reading");
            }
            break;
        }
        c->events.data(c->ctx, c, c->t->chunk, (size_t)n);
    }
    flush_out(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct tls_conn *c = h->data;
    (void)suggested;
    *buf = uv_buf_init((char *)c->t->chunk, sizeof(c->t->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct tls_conn *c = stream->data;
    if (nread == 0 || c->closing) {
        return;
    }
    if (nread < 0) {
        conn_close(c, "%s", nread == UV_EOF ? "closed by the peer" : uv_strerror((int)nread));
        return;
    }
    if (BIO_write(c->in, buf->base, (int)nread) != (int)nread) {
        conn_close(c, "out of memory");
        return;
    }
    ERR_clear_error();
    pump(c);
}

static void start_reading(struct tls_conn *c)
{
    if (!c->reading && !c->closing) {
        int rv = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
        if (rv != 0) {
            conn_close(c, "could not read: %s", uv_strerror(rv));
            return;
        }
        c->reading = true;
    }
}

void tls_pause(struct tls_conn *c)
{
    if (c->reading && !c->closing) {
        uv_read_stop((uv_stream_t *)&c->tcp);
        c->reading = false;
    }
}

void tls_resume(struct tls_conn *c)
{
    start_reading(c);
}

void tls_write(struct tls_conn *c, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0 && c->open && !c->closing) {
        int part = (int)(len > READ_CHUNK ? READ_CHUNK : len);
        /* A memory BIO grows as needed, so SSL_write takes everything or fails for good. */
        if (SSL_write(c->ssl, p, part) != part) {
            ssl_failed(c, "writing");
            return;
        }
        p += part;
        len -= (size_t)part;
    }
    flush_out(c);
}

size_t tls_queued(const struct tls_conn *c)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

mrd_region tls_peer(const struct tls_conn *c)
{
    return c->peer;
}

bool tls_is_open(const struct tls_conn *c)
{
    return c->open && !c->closing;
}

/* ---- accepting ---- */

static void on_connection(uv_stream_t *server, int status)
{
    struct tls *t = server->data;
    if (status != 0 || t->stopped) {
        return;
    }
    struct tls_conn *c = conn_new(t, t->server, HANDSHAKE_MS);
    if (c == NULL) {
        return;
    }
    c->accepted = true;
    t->handshakes++;
    int rv = uv_accept(server, (uv_stream_t *)&c->tcp);
    if (rv != 0) {
        conn_close(c, "could not accept: %s", uv_strerror(rv));
    } else if (t->handshakes > HANDSHAKES_MAX) {
        conn_close(c, "too many handshakes at once");
    } else {
        set_socket_options(c);
        SSL_set_accept_state(c->ssl);
        start_reading(c);
    }
}

int tls_listen(struct tls *t, const char *host, uint16_t port, tls_accept_fn fn, void *ctx,
               struct mrd_err *err)
{
    struct sockaddr_storage sa;
    int rv = uv_ip4_addr(host, port, (struct sockaddr_in *)&sa);
    if (rv != 0) {
        rv = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&sa);
    }
    if (rv != 0) {
        mrd_err_set(err, MRD_EINVAL, "\"%s\" is not an address to listen on", host);
        mrd_err_hint(err, "Give a numeric address with --bind.");
        return MRD_EINVAL;
    }
    t->accept = fn;
    t->accept_ctx = ctx;
    uv_tcp_init(t->loop, &t->listener);
    t->listener.data = t;
    t->listening = true;
    rv = uv_tcp_bind(&t->listener, (struct sockaddr *)&sa, 0);
    if (rv == 0) {
        rv = uv_listen((uv_stream_t *)&t->listener, 64, on_connection);
    }
    if (rv != 0) {
        return mrd_err_set(err, MRD_EIO, "could not listen on %s port %u: %s", host, port,
                           uv_strerror(rv));
    }
    return 0;
}

void tls_attach(struct tls_conn *c, const struct tls_events *events, void *ctx)
{
    c->events = *events;
    c->ctx = ctx;
}

void tls_stop(struct tls *t)
{
    t->stopped = true;
    if (t->listening && !uv_is_closing((uv_handle_t *)&t->listener)) {
        uv_close((uv_handle_t *)&t->listener, NULL);
    }
    for (struct tls_conn *c = t->conns, *next; c != NULL; c = next) {
        next = c->next; /* closing only schedules: the list does not change under us */
        conn_close(c, "stopping");
    }
}

/* ---- connecting ---- */

static void on_connected(uv_connect_t *req, int status)
{
    struct tls_conn *c = req->data;
    if (c->closing) {
        return;
    }
    if (status != 0) {
        conn_close(c, "could not connect: %s", uv_strerror(status));
        return;
    }
    set_socket_options(c);
    SSL_set_connect_state(c->ssl);
    SSL_set_alpn_protos(c->ssl, alpn[c->use].wire, alpn[c->use].len);
    start_reading(c);
    ERR_clear_error();
    pump(c);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct tls_conn *c = req->data;
    c->resolving = false;
    if (c->closing) {
        close_handles(c);
    } else if (status != 0 || res == NULL) {
        conn_close(c, "could not resolve its name: %s", uv_strerror(status));
    } else {
        c->connect.data = c;
        int rv = uv_tcp_connect(&c->connect, &c->tcp, res->ai_addr, on_connected);
        if (rv != 0) {
            conn_close(c, "could not connect: %s", uv_strerror(rv));
        }
    }
    uv_freeaddrinfo(res);
}

struct tls_conn *tls_connect(struct tls *t, mrd_region peer, enum tls_use use, const char *host,
                             uint16_t port, unsigned timeout_ms,
                             const struct tls_events *events, void *ctx)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct tls_conn *c = conn_new(t, use == TLS_HTTP ? t->http : t->client, timeout_ms);
    char service[8];

    if (c == NULL) {
        return NULL;
    }
    c->use = use;
    c->peer = peer;
    tls_attach(c, events, ctx);
    SSL_set_tlsext_host_name(c->ssl, t->config->regions[peer].name);
    snprintf(service, sizeof(service), "%u", port);
    c->dns.data = c;
    int rv = t->stopped ? UV_ECANCELED
                        : uv_getaddrinfo(t->loop, &c->dns, on_resolved, host, service, &hints);
    if (rv != 0) {
        conn_close(c, "could not resolve its name: %s", uv_strerror(rv));
    } else {
        c->resolving = true;
    }
    return c;
}
