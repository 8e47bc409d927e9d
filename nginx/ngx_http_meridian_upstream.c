
/*
 * The balancer: upstream { meridian; server 127.0.0.1:9000; keepalive 16; }
 *
 * The servers listed are the local application, balanced as round robin does;
 * the edges of other regions come from the snapshot.  proxy_pass names the
 * upstream with "https": that is how other edges are spoken to, and the
 * balancer turns TLS off for the local application.
 *
 * nginx asks the balancer before each attempt (get) and tells it how the
 * attempt ended (free); whether there is another attempt depends on
 * proxy_next_upstream and on pc->tries.  The rules of what may be repeated are
 * kept here, in pc->tries, so that no setting can loosen them:
 *
 *   a read goes on to its next region;
 *
 *   a write goes on only when the connection could not be made, so that not a
 *   byte of it can have been seen, and only to a home that has just changed.
 *
 * An edge that is not the home refuses with 421 and the home's name.  Such a
 * request was not executed, so it is sent once more, whatever its method.  The
 * answer is recognised by wrapping u->process_header.
 */


#include "ngx_http_meridian.h"


typedef struct {
    /* must be first: round robin's functions get it as their own */
    ngx_http_upstream_rr_peer_data_t   rrp;

    ngx_http_request_t                *request;
    ngx_http_meridian_ctx_t           *ctx;

    ngx_uint_t                         local_tries;
    ngx_uint_t                         redirects;

    ngx_int_t                        (*process_header)(ngx_http_request_t *r);
    ngx_int_t                        (*reinit_request)(ngx_http_request_t *r);

    unsigned                           resend:1;
    unsigned                           local:1;   /* the current attempt */
} ngx_http_meridian_peer_data_t;


static ngx_int_t ngx_http_meridian_init(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_meridian_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static void ngx_http_meridian_refresh(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx);
static ngx_uint_t ngx_http_meridian_tries(ngx_http_meridian_peer_data_t *mp);
static ngx_int_t ngx_http_meridian_get_peer(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_meridian_get_local(ngx_peer_connection_t *pc,
    ngx_http_meridian_peer_data_t *mp);
static void ngx_http_meridian_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ngx_http_meridian_write_failed(ngx_peer_connection_t *pc,
    ngx_http_meridian_peer_data_t *mp);
static void ngx_http_meridian_read_failed(ngx_peer_connection_t *pc,
    ngx_http_meridian_peer_data_t *mp);
static ngx_http_meridian_peer_data_t *ngx_http_meridian_peer_of(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_meridian_process_header(ngx_http_request_t *r);
static void ngx_http_meridian_refused(ngx_http_request_t *r,
    ngx_http_meridian_peer_data_t *mp, ngx_str_t *home);
static ngx_int_t ngx_http_meridian_reinit_request(ngx_http_request_t *r);
#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_meridian_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_meridian_save_session(ngx_peer_connection_t *pc,
    void *data);


static ngx_ssl_session_t  *ngx_http_meridian_sessions[MRD_REGIONS_MAX];
#endif


static ngx_str_t  ngx_http_meridian_home_name = ngx_string("Meridian-Home");


char *
ngx_http_meridian_upstream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_upstream_srv_conf_t  *uscf;

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (uscf->peer.init_upstream) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "load balancing method redefined");
    }

    uscf->peer.init_upstream = ngx_http_meridian_init;

    uscf->flags = NGX_HTTP_UPSTREAM_CREATE
                  |NGX_HTTP_UPSTREAM_WEIGHT
                  |NGX_HTTP_UPSTREAM_MAX_CONNS
                  |NGX_HTTP_UPSTREAM_MAX_FAILS
                  |NGX_HTTP_UPSTREAM_FAIL_TIMEOUT
                  |NGX_HTTP_UPSTREAM_DOWN
                  |NGX_HTTP_UPSTREAM_BACKUP;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_meridian_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    if (ngx_http_upstream_init_round_robin(cf, us) != NGX_OK) {
        return NGX_ERROR;
    }

    us->peer.init = ngx_http_meridian_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_http_meridian_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t            *u;
    ngx_http_meridian_ctx_t        *ctx;
    ngx_http_meridian_peer_data_t  *mp;

    ctx = ngx_http_meridian_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    mp = ngx_pcalloc(r->pool, sizeof(ngx_http_meridian_peer_data_t));
    if (mp == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;
    u->peer.data = &mp->rrp;

    if (ngx_http_upstream_init_round_robin_peer(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    mp->request = r;
    mp->ctx = ctx;
    ctx->peer = mp;
    mp->local_tries = u->peer.tries;

    ngx_http_meridian_refresh(r, ctx);

    mp->process_header = u->process_header;
    mp->reinit_request = u->reinit_request;
    u->process_header = ngx_http_meridian_process_header;
    u->reinit_request = ngx_http_meridian_reinit_request;

    u->peer.get = ngx_http_meridian_get_peer;
    u->peer.free = ngx_http_meridian_free_peer;
    u->peer.tries = ngx_http_meridian_tries(mp);
#if (NGX_HTTP_SSL)
    u->peer.set_session = ngx_http_meridian_set_session;
    u->peer.save_session = ngx_http_meridian_save_session;
#endif

    return NGX_OK;
}


/*
 * A body may take long to arrive: what was decided before it is looked at
 * again.  A state that would have made the request wait or fail then no
 * longer does; the chosen region is the judge.
 */

static void
ngx_http_meridian_refresh(ngx_http_request_t *r, ngx_http_meridian_ctx_t *ctx)
{
    struct mrd_snapshot      *s;
    ngx_http_meridian_ctx_t   before;

    if (ctx->decided == ngx_current_msec) {
        return;
    }

    s = ngx_http_meridian_snapshot();

    if (s == NULL || s->generation == ctx->generation) {
        return;
    }

    before = *ctx;

    ngx_http_meridian_decide(r, ctx);

    if (ctx->outcome != NGX_HTTP_MERIDIAN_PASS) {
        *ctx = before;
    }
}


static ngx_uint_t
ngx_http_meridian_tries(ngx_http_meridian_peer_data_t *mp)
{
    ngx_uint_t                i, tries;
    ngx_http_meridian_ctx_t  *ctx;

    ctx = mp->ctx;

    if (ctx->write) {
        return 1;
    }

    tries = 0;

    for (i = ctx->current; i < ctx->ntargets; i++) {
        tries += ctx->targets[i].local ? mp->local_tries : 1;
    }

    return tries;
}


static ngx_int_t
ngx_http_meridian_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_meridian_peer_data_t  *mp = data;

    ngx_http_upstream_t         *u;
    ngx_http_meridian_ctx_t     *ctx;
    ngx_http_meridian_target_t  *t;

    ctx = mp->ctx;
    u = mp->request->upstream;

    if (mp->resend) {
        /* the buffers of the refused request have to be rewound */
        mp->resend = 0;
        u->request_sent = 1;
    }

    t = &ctx->targets[ctx->current];

    if (t->local) {
        if (ngx_http_meridian_get_local(pc, mp) == NGX_OK) {
            return NGX_OK;
        }

        if (ctx->write || ctx->current + 1 >= ctx->ntargets) {
            return NGX_BUSY;
        }

        t = &ctx->targets[++ctx->current];
    }

    mp->local = 0;
#if (NGX_HTTP_SSL)
    /* proxy_pass with "http": the way to other edges is secured by others */
    u->ssl = (u->conf->ssl != NULL);
#endif

    t->addr.data = t->addr_text;
    t->addr.len = ngx_sock_ntop((struct sockaddr *) &t->sin,
                                sizeof(struct sockaddr_in), t->addr_text,
                                sizeof(t->addr_text), 1);

    pc->cached = 0;
    pc->connection = NULL;
    pc->sockaddr = (struct sockaddr *) &t->sin;
    pc->socklen = sizeof(struct sockaddr_in);
    pc->name = &t->addr;

    return NGX_OK;
}


static ngx_int_t
ngx_http_meridian_get_local(ngx_peer_connection_t *pc,
    ngx_http_meridian_peer_data_t *mp)
{
    if (mp->local_tries == 0) {
        return NGX_BUSY;
    }

    if (ngx_http_upstream_get_round_robin_peer(pc, &mp->rrp) != NGX_OK) {
        return NGX_BUSY;
    }

    mp->local = 1;
    mp->local_tries--;
#if (NGX_HTTP_SSL)
    mp->request->upstream->ssl = 0;
#endif

    return NGX_OK;
}


static void
ngx_http_meridian_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_meridian_peer_data_t  *mp = data;

    ngx_uint_t  tries;

    if (mp->local) {
        tries = pc->tries;
        ngx_http_upstream_free_round_robin_peer(pc, &mp->rrp, state);
        pc->tries = tries;
    }

    if (mp->resend) {
        /* refused as not the home, and the next target is known */
        pc->tries = 1;
        return;
    }

    if (pc->tries) {
        pc->tries--;
    }

    if (!(state & NGX_PEER_FAILED)) {
        return;
    }

    if (mp->ctx->write) {
        ngx_http_meridian_write_failed(pc, mp);

    } else {
        ngx_http_meridian_read_failed(pc, mp);
    }
}


static void
ngx_http_meridian_write_failed(ngx_peer_connection_t *pc,
    ngx_http_meridian_peer_data_t *mp)
{
    pc->tries = 0;

    /* a connection kept alive would be given another try by nginx itself */

    if (pc->cached || mp->request->upstream->request_sent) {
        pc->cached = 0;
        return;
    }

    if (mp->local && mp->local_tries) {
        pc->tries = 1;
        return;
    }

    if (mp->ctx->forwarded || mp->redirects++
        || ngx_http_meridian_retarget(mp->request, mp->ctx, NULL) != NGX_OK)
    {
        return;
    }

    pc->tries = 1;
}


static void
ngx_http_meridian_read_failed(ngx_peer_connection_t *pc,
    ngx_http_meridian_peer_data_t *mp)
{
    ngx_uint_t                unreachable;
    ngx_http_upstream_t      *u;
    ngx_http_meridian_ctx_t  *ctx;

    ctx = mp->ctx;
    u = mp->request->upstream;

    /* no connection, or one over which nothing came back for long */

    unreachable = !mp->local && u->headers_in.status_n == 0
                  && (!u->request_sent
                      || ngx_current_msec - u->start_time
                         >= NGX_HTTP_MERIDIAN_SILENCE);

    if (unreachable) {
        pc->cached = 0;
        ngx_http_meridian_avoid(ctx->targets[ctx->current].region);
    }

    /*
     * An idle connection may just have been closed: nginx then tries once
     * more on its own, and that is to be here again.
     */

    if (pc->cached && u->headers_in.status_n == 0
        && pc->connection && !pc->connection->read->timedout
        && !pc->connection->write->timedout)
    {
        if (mp->local) {
            mp->local_tries++;
        }

        return;
    }

    if (mp->local && mp->local_tries) {
        return;
    }

    if (ctx->current + 1 < ctx->ntargets) {
        ctx->current++;

    } else {
        pc->tries = 0;
    }
}


/* keepalive puts its own data before ours, so ours is found by the request */

static ngx_http_meridian_peer_data_t *
ngx_http_meridian_peer_of(ngx_http_request_t *r)
{
    ngx_http_meridian_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_meridian_module);

    return ctx ? ctx->peer : NULL;
}


static ngx_int_t
ngx_http_meridian_process_header(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_table_elt_t                *h;
    ngx_http_upstream_t            *u;
    ngx_http_meridian_peer_data_t  *mp;

    u = r->upstream;
    mp = ngx_http_meridian_peer_of(r);

    if (mp == NULL) {
        return NGX_ERROR;
    }

    u->process_header = mp->process_header;

    rc = u->process_header(r);

    /* the status line is over, the headers go on */

    mp->process_header = u->process_header;
    u->process_header = ngx_http_meridian_process_header;

    if (rc != NGX_OK || mp->local
        || u->headers_in.status_n != NGX_HTTP_MISDIRECTED_REQUEST)
    {
        return rc;
    }

    h = ngx_http_meridian_find_header(&u->headers_in.headers,
                                      &ngx_http_meridian_home_name);
    if (h) {
        ngx_http_meridian_refused(r, mp, &h->value);
    }

    return rc;
}


/*
 * 421 is between edges: a client that gets it could do nothing with it, so it
 * sees 503.  nginx repeats a 503 as proxy_next_upstream says, but never a POST
 * that was sent; this one was sent and refused unread, hence request_sent is
 * taken back until the next attempt begins.
 */

static void
ngx_http_meridian_refused(ngx_http_request_t *r,
    ngx_http_meridian_peer_data_t *mp, ngx_str_t *home)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    u->headers_in.status_n = NGX_HTTP_SERVICE_UNAVAILABLE;
    u->headers_in.status_line.len = 0;

    if (mp->redirects++ || r->request_body_no_buffering
        || ngx_http_meridian_retarget(r, mp->ctx, home) != NGX_OK)
    {
        /* nowhere else: a read may still be answered by others */
        return;
    }

    u->request_sent = 0;
    u->peer.tries = 2;
    mp->resend = 1;
}


static ngx_int_t
ngx_http_meridian_reinit_request(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_meridian_peer_data_t  *mp;

    u = r->upstream;
    mp = ngx_http_meridian_peer_of(r);

    if (mp == NULL) {
        return NGX_ERROR;
    }

    rc = mp->reinit_request(r);

    mp->process_header = u->process_header;
    u->process_header = ngx_http_meridian_process_header;

    return rc;
}


#if (NGX_HTTP_SSL)

/*
 * One TLS session per region and worker.  nginx asks for it when a connection
 * to another edge has just been made, which is also the moment to say how long
 * that edge may leave our bytes without an acknowledgement: when a link is
 * cut, requests on connections kept alive must not wait for
 * proxy_read_timeout.
 */

static ngx_int_t
ngx_http_meridian_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_meridian_peer_data_t  *mp = data;

    int         timeout;
    mrd_region  region;

    timeout = NGX_HTTP_MERIDIAN_UNACKED;

    if (setsockopt(pc->connection->fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
                   (const void *) &timeout, sizeof(int))
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      "setsockopt(TCP_USER_TIMEOUT) failed, ignored");
    }

    region = mp->ctx->targets[mp->ctx->current].region;

    if (region >= MRD_REGIONS_MAX
        || ngx_http_meridian_sessions[region] == NULL)
    {
        return NGX_OK;
    }

    return ngx_ssl_set_session(pc->connection,
                               ngx_http_meridian_sessions[region]);
}


static void
ngx_http_meridian_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_meridian_peer_data_t  *mp = data;

    mrd_region          region;
    ngx_ssl_session_t  *session;

    region = mp->ctx->targets[mp->ctx->current].region;

    if (region >= MRD_REGIONS_MAX) {
        return;
    }

    session = ngx_ssl_get_session(pc->connection);
    if (session == NULL) {
        return;
    }

    if (ngx_http_meridian_sessions[region]) {
        ngx_ssl_free_session(ngx_http_meridian_sessions[region]);
    }

    ngx_http_meridian_sessions[region] = session;
}

#endif
