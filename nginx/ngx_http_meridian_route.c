
/*
 * Where one request goes.
 *
 * The request is put into core's terms (class, partition, write or read,
 * tokens), core answers with regions in order of preference, and the answer is
 * turned into at most NGX_HTTP_MERIDIAN_TRIES targets: the local application,
 * or the edge of another region.  Addresses are copied, because the snapshot
 * may change its order of regions while the request is on its way.
 *
 * A request that another edge has forwarded is never forwarded again: it is
 * served here, or refused with 421 and the name of the home.  That bounds
 * every request to one hop, whatever the snapshots of two edges say.
 *
 * Whatever is unknown (no snapshot, class or key) is served by the local
 * application: the guard in its database is the judge of writes, and reads
 * are then no worse than without us.
 */


#include "ngx_http_meridian.h"


static ngx_uint_t ngx_http_meridian_is_write(ngx_http_request_t *r,
    ngx_http_meridian_loc_conf_t *mlcf);
static int ngx_http_meridian_partition(ngx_http_request_t *r,
    ngx_http_meridian_loc_conf_t *mlcf, struct mrd_snapshot *s, int class,
    ngx_uint_t *unknown);
static void ngx_http_meridian_begin(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, ngx_http_meridian_loc_conf_t *mlcf);
static void ngx_http_meridian_route(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, struct mrd_snapshot *s,
    struct mrd_request *req);
static void ngx_http_meridian_weigh_tokens(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, struct mrd_request *req, struct mrd_route *route,
    mrd_boot_ns now);
static int ngx_http_meridian_token_partition(struct mrd_snapshot *s,
    struct mrd_request *req, ngx_http_meridian_token_t *token);
static ngx_uint_t ngx_http_meridian_was_home(struct mrd_authority *auth,
    mrd_region region);
static void ngx_http_meridian_set_home(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, int partition);
static void ngx_http_meridian_set_targets(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, struct mrd_route *route);
static ngx_int_t ngx_http_meridian_add_target(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, mrd_region region);
static void ngx_http_meridian_local_only(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, char *why);
static void ngx_http_meridian_set_why(ngx_http_meridian_ctx_t *ctx,
    const char *why);
static ngx_uint_t ngx_http_meridian_is_avoided(mrd_region region);
static uint64_t ngx_http_meridian_client_hash(ngx_http_request_t *r);


static ngx_msec_t  ngx_http_meridian_avoided[MRD_REGIONS_MAX];


ngx_http_meridian_ctx_t *
ngx_http_meridian_get_ctx(ngx_http_request_t *r)
{
    ngx_http_meridian_ctx_t       *ctx;
    ngx_http_meridian_loc_conf_t  *mlcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_meridian_module);
    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_meridian_module);

    if (ctx) {
        if (ctx->conf != mlcf && ctx->peer == NULL) {
            /* a variable was asked for before the location was found */
            ctx->tokens_read = 0;
            ctx->ntokens = 0;
            ngx_http_meridian_decide(r, ctx);
        }

        return ctx;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_meridian_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_meridian_module);

    ngx_http_meridian_decide(r, ctx);

    return ctx;
}


void
ngx_http_meridian_decide(ngx_http_request_t *r, ngx_http_meridian_ctx_t *ctx)
{
    int                            class;
    ngx_uint_t                     unknown;
    struct mrd_request             req;
    struct mrd_snapshot           *s;
    ngx_http_meridian_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_meridian_module);
    s = ngx_http_meridian_snapshot();

    ngx_http_meridian_begin(r, ctx, mlcf);

    if (s == NULL) {
        ngx_http_meridian_local_only(ctx, NULL, "no_snapshot");
        return;
    }

    ctx->generation = s->generation;
    ctx->forwarded = ngx_http_meridian_forwarded(r, s);

    if (mlcf->peer && !ngx_http_meridian_has_key(s)) {
        /* without a key, the client certificate alone has to do */
        ctx->forwarded = 1;
    }

    if (mlcf->peer && !ctx->forwarded) {
        ctx->outcome = NGX_HTTP_MERIDIAN_STRANGER;
        ngx_http_meridian_local_only(ctx, s, "no_hop");
        return;
    }

    class = -1;

    if (mlcf->class.len) {
        class = mrd_snapshot_class(s, (char *) mlcf->class.data);

        if (class < 0) {
            ngx_http_meridian_local_only(ctx, s, "unknown_class");
            return;
        }
    }

    ngx_memzero(&req, sizeof(struct mrd_request));

    req.class_index = class;
    req.partition = ngx_http_meridian_partition(r, mlcf, s, class, &unknown);
    req.write = ctx->write;
    req.strong = mlcf->strong;
    req.near = MRD_REGION_NONE;
    req.client_hash = ngx_http_meridian_client_hash(r);

    if (class >= 0 && req.partition < 0 && (req.write || req.strong)) {
        ngx_http_meridian_local_only(ctx, s, "unknown_key");
        return;
    }

    ngx_http_meridian_set_home(ctx, s, req.partition);
    ngx_http_meridian_route(r, ctx, s, &req);

    if (unknown) {
        /* answered as if no key had been given, but the reason is shown */
        ngx_http_meridian_set_why(ctx, "unknown_key");
    }
}


/* nothing is decided yet, or anew */

static void
ngx_http_meridian_begin(ngx_http_request_t *r, ngx_http_meridian_ctx_t *ctx,
    ngx_http_meridian_loc_conf_t *mlcf)
{
    ctx->conf = mlcf;
    ctx->decided = ngx_current_msec;
    ctx->generation = 0;
    ctx->outcome = NGX_HTTP_MERIDIAN_PASS;
    ctx->write = ngx_http_meridian_is_write(r, mlcf);
    ctx->home_here = 0;
    ctx->lost = 0;
    ctx->by_token = 0;
    ctx->home.len = 0;
    ctx->current = 0;
    ctx->ntargets = 0;
}


static void
ngx_http_meridian_route(ngx_http_request_t *r, ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, struct mrd_request *req)
{
    mrd_boot_ns                    now;
    struct mrd_route               route;
    struct mrd_authority          *auth;
    ngx_http_meridian_loc_conf_t  *mlcf;

    if (req->write && req->partition >= 0) {
        auth = &s->partitions[req->partition].authority;

        if (auth->state == MRD_AUTH_FROZEN || auth->state == MRD_AUTH_FENCING)
        {
            ctx->outcome = NGX_HTTP_MERIDIAN_WAIT;
        }
    }

    now = ngx_http_meridian_boot_ns();
    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_meridian_module);

    mrd_route(s, req, now, &route);

    if (!req->write && req->class_index >= 0 && mlcf->token) {
        ngx_http_meridian_read_tokens(r, ctx, s);

        if (ctx->ntokens) {
            ngx_http_meridian_weigh_tokens(ctx, s, req, &route, now);
        }
    }

    ngx_http_meridian_set_why(ctx, mrd_route_why_name(route.why));
    ctx->by_token = (route.why == MRD_ROUTE_TOKEN_HOME);

    if (route.count == 0) {

        /* while we wait for a new home, the old one is as good as any */

        if (ctx->outcome != NGX_HTTP_MERIDIAN_WAIT) {
            ctx->outcome = NGX_HTTP_MERIDIAN_NOBODY;
        }

        (void) ngx_http_meridian_add_target(ctx, s, s->self);
        return;
    }

    if (ctx->forwarded) {

        if ((route.why == MRD_ROUTE_HOME || route.why == MRD_ROUTE_TOKEN_HOME)
            && route.regions[0] != s->self
            && ctx->outcome != NGX_HTTP_MERIDIAN_WAIT)
        {
            ctx->outcome = NGX_HTTP_MERIDIAN_ELSEWHERE;
        }

        (void) ngx_http_meridian_add_target(ctx, s, s->self);
        return;
    }

    ngx_http_meridian_set_targets(ctx, s, &route);
}


/*
 * A token says "this client has seen a write at that home up to that time".
 * Several may matter to one read, when the client wrote in several partitions
 * of a class: one that is not applied here yet sends the read to its home, one
 * whose write may be lost is reported, and one that is applied changes nothing.
 */

static void
ngx_http_meridian_weigh_tokens(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, struct mrd_request *req, struct mrd_route *route,
    mrd_boot_ns now)
{
    int                 partition;
    ngx_uint_t          i;
    ngx_uint_t          may_read_here;
    struct mrd_route    answer;
    struct mrd_request  asked;

    asked = *req;
    may_read_here = (route->count && route->regions[0] == s->self);

    for (i = 0; i < ctx->ntokens; i++) {
        partition = ngx_http_meridian_token_partition(s, req, &ctx->tokens[i]);

        if (partition < 0) {
            continue;
        }

        asked.partition = partition;
        asked.token = &ctx->tokens[i].value;

        mrd_route(s, &asked, now, &answer);

        if (answer.why == MRD_ROUTE_TOKEN_LOST) {
            ctx->lost = 1;
        }

        if (answer.count == 0 || route->why == MRD_ROUTE_TOKEN_HOME) {
            continue;
        }

        if (answer.why == MRD_ROUTE_TOKEN_HOME
            || answer.why == MRD_ROUTE_TOKEN_LOST
            || (answer.why == MRD_ROUTE_TOKEN_LOCAL
                && route->why != MRD_ROUTE_TOKEN_LOST))
        {
            *route = answer;
        }
    }

    /*
     * The home may be dying: an answer from here that says that it may be
     * stale is of more use than none.
     */

    if (route->why == MRD_ROUTE_TOKEN_HOME && route->count == 1
        && route->regions[0] != s->self && may_read_here)
    {
        route->regions[route->count++] = s->self;
    }
}


/*
 * The partition, among those that are read, that a token was made for, or -1.
 * A cookie's name says it.  A token in a header only names its home: it
 * matters where that region is or was the home, and where its epoch is newer
 * than ours, for then we have not heard of its home yet.
 */

static int
ngx_http_meridian_token_partition(struct mrd_snapshot *s,
    struct mrd_request *req, ngx_http_meridian_token_t *token)
{
    int                    home, p, last;
    struct mrd_authority  *auth;

    if (req->partition >= 0) {
        p = req->partition;
        last = p + 1;

    } else {
        p = s->classes[req->class_index].first;
        last = p + s->classes[req->class_index].count;
    }

    home = mrd_snapshot_region(s, token->value.home);

    for ( /* void */ ; p < last; p++) {
        auth = &s->partitions[p].authority;

        if (token->partition.len) {
            if (ngx_http_meridian_is_partition(&token->partition,
                                               s->partitions[p].name))
            {
                return p;
            }

            continue;
        }

        if (home >= 0
            && (ngx_http_meridian_was_home(auth, (mrd_region) home)
                || (req->partition >= 0 && token->value.epoch > auth->epoch)))
        {
            return p;
        }
    }

    return -1;
}


static ngx_uint_t
ngx_http_meridian_was_home(struct mrd_authority *auth, mrd_region region)
{
    ngx_uint_t  i;

    if (auth->region == region) {
        return 1;
    }

    for (i = 0; i < auth->history_count; i++) {
        if (auth->history[i].region == region) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_meridian_is_write(ngx_http_request_t *r,
    ngx_http_meridian_loc_conf_t *mlcf)
{
    /* a method that nginx does not know may do anything */

    return (mlcf->write & NGX_HTTP_MERIDIAN_NO_WRITES) == 0
           && (r->method & (mlcf->write|NGX_HTTP_UNKNOWN)) != 0;
}


/* "unknown" is set when there is a key and it names no partition */

static int
ngx_http_meridian_partition(ngx_http_request_t *r,
    ngx_http_meridian_loc_conf_t *mlcf, struct mrd_snapshot *s, int class,
    ngx_uint_t *unknown)
{
    int        partition;
    char       name[MRD_NAME_MAX];
    ngx_str_t  key;

    *unknown = 0;

    if (class < 0) {
        return -1;
    }

    if (s->classes[class].posture != MRD_PARTITIONED) {
        return mrd_snapshot_partition(s, class, NULL);
    }

    if (mlcf->key == NULL
        || ngx_http_complex_value(r, mlcf->key, &key) != NGX_OK
        || key.len == 0)
    {
        return -1;
    }

    *unknown = 1;

    if (key.len >= sizeof(name)) {
        return -1;
    }

    (void) ngx_cpystrn((u_char *) name, key.data, key.len + 1);

    /* a NUL in the middle would shorten the name to another one */

    if (ngx_strlen(name) != key.len) {
        return -1;
    }

    partition = mrd_snapshot_partition(s, class, name);
    *unknown = (partition < 0);

    return partition;
}


static void
ngx_http_meridian_set_home(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, int partition)
{
    u_char                *p;
    struct mrd_authority  *auth;

    if (partition < 0) {
        return;
    }

    auth = &s->partitions[partition].authority;

    if (auth->region >= s->region_count) {
        return;
    }

    p = ngx_cpystrn(ctx->home_text, (u_char *) s->regions[auth->region].name,
                    MRD_NAME_MAX);

    ctx->home.data = ctx->home_text;
    ctx->home.len = p - ctx->home_text;

    if (auth->region != s->self) {
        return;
    }

    ctx->home_here = 1;

    ngx_memcpy(ctx->issue.home, ctx->home_text, ctx->home.len + 1);
    (void) ngx_cpystrn(ctx->partition,
                       (u_char *) s->partitions[partition].name, MRD_NAME_MAX);
    ctx->issue.epoch = auth->epoch;
    ctx->issue.session = s->session;
}


static void
ngx_http_meridian_set_targets(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, struct mrd_route *route)
{
    ngx_uint_t  i, pass;
    mrd_region  region;

    /*
     * A region that could not be reached a moment ago is tried last by
     * reads; the verdict of all observers takes a little longer.
     */

    for (pass = 0; pass < 2; pass++) {
        for (i = 0; i < route->count; i++) {
            region = route->regions[i];

            if (ngx_http_meridian_is_avoided(region) == pass) {
                (void) ngx_http_meridian_add_target(ctx, s, region);
            }
        }
    }

    if (ctx->ntargets == 0) {
        /* regions without an edge, as far as we know */
        (void) ngx_http_meridian_add_target(ctx, s, s->self);
    }
}


static ngx_int_t
ngx_http_meridian_add_target(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, mrd_region region)
{
    u_char                      *p;
    struct mrd_snap_region      *reg;
    ngx_http_meridian_target_t  *t;

    if (ctx->ntargets == NGX_HTTP_MERIDIAN_TRIES) {
        return NGX_DECLINED;
    }

    reg = &s->regions[region];

    if (region != s->self && reg->edge_port == 0) {
        return NGX_DECLINED;
    }

    t = &ctx->targets[ctx->ntargets++];

    t->region = region;
    t->local = (region == s->self);

    p = ngx_cpystrn(t->text, (u_char *) reg->name, MRD_NAME_MAX);

    t->name.data = t->text;
    t->name.len = p - t->text;

    if (!t->local) {
        t->sin.sin_family = AF_INET;
        t->sin.sin_port = htons(reg->edge_port);
        ngx_memcpy(&t->sin.sin_addr, reg->edge_v4, 4);
    }

    return NGX_OK;
}


/*
 * The target refused the request as not its own, or a write could not reach
 * it: where else, by the newest snapshot and by the refusing edge's own word?
 * NGX_DECLINED when there is nowhere else.
 */

ngx_int_t
ngx_http_meridian_retarget(ngx_http_request_t *r, ngx_http_meridian_ctx_t *ctx,
    ngx_str_t *hint)
{
    int                       region;
    u_char                    name[MRD_NAME_MAX];
    struct mrd_snapshot      *s;
    ngx_http_meridian_ctx_t   before;

    before = *ctx;

    ngx_http_meridian_decide(r, ctx);

    if (ctx->ntargets
        && (ctx->outcome == NGX_HTTP_MERIDIAN_PASS
            || ctx->outcome == NGX_HTTP_MERIDIAN_WAIT)
        && ngx_strcmp(ctx->targets[0].text, before.targets[before.current].text)
           != 0)
    {
        ctx->ntargets = 1;
        return NGX_OK;
    }

    /* our snapshot may be a moment behind that of the edge that refused */

    s = ngx_http_meridian_snapshot();

    if (s && hint && hint->len && hint->len < MRD_NAME_MAX) {
        (void) ngx_cpystrn(name, hint->data, hint->len + 1);

        region = mrd_snapshot_region(s, (char *) name);

        if (region >= 0
            && ngx_strcmp(name, before.targets[before.current].text) != 0)
        {
            ctx->ntargets = 0;
            ctx->current = 0;

            if (ngx_http_meridian_add_target(ctx, s, (mrd_region) region)
                == NGX_OK)
            {
                return NGX_OK;
            }
        }
    }

    *ctx = before;

    return NGX_DECLINED;
}


void
ngx_http_meridian_avoid(mrd_region region)
{
    if (region < MRD_REGIONS_MAX) {
        ngx_http_meridian_avoided[region] = ngx_current_msec
                                            + NGX_HTTP_MERIDIAN_AVOID;
    }
}


static ngx_uint_t
ngx_http_meridian_is_avoided(mrd_region region)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (ngx_http_meridian_avoided[region]
                             - ngx_current_msec);

    return left > 0 && left <= NGX_HTTP_MERIDIAN_AVOID;
}


static void
ngx_http_meridian_local_only(ngx_http_meridian_ctx_t *ctx,
    struct mrd_snapshot *s, char *why)
{
    ngx_http_meridian_target_t  *t;

    ngx_http_meridian_set_why(ctx, why);

    ctx->ntargets = 0;

    if (s) {
        (void) ngx_http_meridian_add_target(ctx, s, s->self);
        return;
    }

    t = &ctx->targets[ctx->ntargets++];

    t->local = 1;
    t->region = MRD_REGION_NONE;
    t->name.len = 0;
    t->name.data = t->text;
    t->text[0] = '\0';
}


static void
ngx_http_meridian_set_why(ngx_http_meridian_ctx_t *ctx, const char *why)
{
    ctx->why.data = (u_char *) why;
    ctx->why.len = ngx_strlen(why);
}


/* the dial must move a client, not its connections: the port is left out */

static uint64_t
ngx_http_meridian_client_hash(ngx_http_request_t *r)
{
    u_char               *p;
    size_t                len;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (r->connection->sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) r->connection->sockaddr;
        p = (u_char *) &sin6->sin6_addr;
        len = 8;    /* a client's network, whose hosts change their names */
        break;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) r->connection->sockaddr;
        p = (u_char *) &sin->sin_addr;
        len = 4;
        break;

    default:
        return 0;
    }

    return ((uint64_t) ngx_murmur_hash2(p, len) << 32) | ngx_crc32_short(p, len);
}
