
/*
 * The edge module: sends each request to the region where it belongs.
 *
 *     meridian_snapshot  /run/meridian/snapshot;
 *
 *     upstream shop {
 *         meridian;
 *         server     127.0.0.1:9000;
 *         keepalive  16;
 *     }
 *
 *     location ~ ^/orders/(?<region>[^/]+) {
 *         meridian_class    orders;
 *         meridian_key      $region;
 *         proxy_set_header  Meridian-Hop  $meridian_hop;
 *         proxy_pass        https://shop;
 *     }
 *
 * This file is the module's surface: directives, variables, and the phase in
 * which a request waits for a planned move, is refused, or goes on to the
 * balancer.  README.md says what each directive means.
 */


#include "ngx_http_meridian.h"


static ngx_int_t ngx_http_meridian_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_meridian_wait(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx);
static void ngx_http_meridian_wake(ngx_http_request_t *r);
static ngx_int_t ngx_http_meridian_elsewhere(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx);
static ngx_int_t ngx_http_meridian_region_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_meridian_ctx_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_meridian_hop_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_meridian_token_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_http_meridian_set_value(ngx_http_variable_value_t *v,
    ngx_str_t *value);
static char *ngx_http_meridian_health(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_meridian_snapshot_path(ngx_conf_t *cf, void *post,
    void *data);
static ngx_int_t ngx_http_meridian_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_meridian_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_meridian_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_meridian_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_meridian_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


#define NGX_HTTP_MERIDIAN_WRITES                                              \
    (NGX_HTTP_POST|NGX_HTTP_PUT|NGX_HTTP_DELETE|NGX_HTTP_PATCH               \
     |NGX_HTTP_MKCOL|NGX_HTTP_COPY|NGX_HTTP_MOVE|NGX_HTTP_PROPPATCH          \
     |NGX_HTTP_LOCK|NGX_HTTP_UNLOCK)


static ngx_conf_bitmask_t  ngx_http_meridian_methods[] = {
    { ngx_string("off"), NGX_HTTP_MERIDIAN_NO_WRITES },
    { ngx_string("on"), NGX_HTTP_MERIDIAN_WRITES|NGX_HTTP_GET|NGX_HTTP_HEAD
                        |NGX_HTTP_OPTIONS|NGX_HTTP_PROPFIND|NGX_HTTP_TRACE },
    { ngx_string("GET"), NGX_HTTP_GET },
    { ngx_string("HEAD"), NGX_HTTP_HEAD },
    { ngx_string("POST"), NGX_HTTP_POST },
    { ngx_string("PUT"), NGX_HTTP_PUT },
    { ngx_string("DELETE"), NGX_HTTP_DELETE },
    { ngx_string("PATCH"), NGX_HTTP_PATCH },
    { ngx_string("OPTIONS"), NGX_HTTP_OPTIONS },
    { ngx_string("MKCOL"), NGX_HTTP_MKCOL },
    { ngx_string("COPY"), NGX_HTTP_COPY },
    { ngx_string("MOVE"), NGX_HTTP_MOVE },
    { ngx_string("PROPFIND"), NGX_HTTP_PROPFIND },
    { ngx_string("PROPPATCH"), NGX_HTTP_PROPPATCH },
    { ngx_string("LOCK"), NGX_HTTP_LOCK },
    { ngx_string("UNLOCK"), NGX_HTTP_UNLOCK },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_meridian_reads[] = {
    { ngx_string("near"), 0 },
    { ngx_string("home"), 1 },
    { ngx_null_string, 0 }
};


static ngx_conf_post_handler_pt  ngx_http_meridian_snapshot_post =
    ngx_http_meridian_snapshot_path;


static ngx_command_t  ngx_http_meridian_commands[] = {

    { ngx_string("meridian"),
      NGX_HTTP_UPS_CONF|NGX_CONF_NOARGS,
      ngx_http_meridian_upstream,
      0,
      0,
      NULL },

    { ngx_string("meridian_snapshot"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_meridian_main_conf_t, snapshot),
      &ngx_http_meridian_snapshot_post },

    { ngx_string("meridian_region"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_meridian_main_conf_t, region),
      NULL },

    { ngx_string("meridian_class"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, class),
      NULL },

    { ngx_string("meridian_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, key),
      NULL },

    { ngx_string("meridian_write"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_conf_set_bitmask_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, write),
      &ngx_http_meridian_methods },

    { ngx_string("meridian_read"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, strong),
      &ngx_http_meridian_reads },

    { ngx_string("meridian_token"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, token),
      NULL },

    { ngx_string("meridian_token_max_age"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, token_max_age),
      NULL },

    { ngx_string("meridian_peer"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, peer),
      NULL },

    { ngx_string("meridian_hold"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_meridian_loc_conf_t, hold),
      NULL },

    { ngx_string("meridian_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_meridian_health,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_meridian_module_ctx = {
    ngx_http_meridian_add_variables,       /* preconfiguration */
    ngx_http_meridian_postconfiguration,   /* postconfiguration */

    ngx_http_meridian_create_main_conf,    /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_meridian_create_loc_conf,     /* create location configuration */
    ngx_http_meridian_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_meridian_module = {
    NGX_MODULE_V1,
    &ngx_http_meridian_module_ctx,         /* module context */
    ngx_http_meridian_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_meridian_snapshot_init,       /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_meridian_vars[] = {

    { ngx_string("meridian_region"), NULL, ngx_http_meridian_region_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("meridian_why"), NULL, ngx_http_meridian_ctx_variable,
      offsetof(ngx_http_meridian_ctx_t, why), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("meridian_home"), NULL, ngx_http_meridian_ctx_variable,
      offsetof(ngx_http_meridian_ctx_t, home), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("meridian_hop"), NULL, ngx_http_meridian_hop_variable,
      0, 0, 0 },

    { ngx_string("meridian_token"), NULL, ngx_http_meridian_token_variable,
      0, 0, 0 },

      ngx_http_null_variable
};


static ngx_str_t  ngx_http_meridian_retry_after = ngx_string("2");


static ngx_int_t
ngx_http_meridian_handler(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_meridian_ctx_t       *ctx;
    ngx_http_meridian_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_meridian_module);

    if (mlcf->class.len == 0 || r != r->main) {
        return NGX_DECLINED;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->handler == ngx_http_meridian_health_handler) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_meridian_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->hold_until) {
        /* woken up: the move may be over */
        ngx_http_meridian_decide(r, ctx);
    }

    switch (ctx->outcome) {

    case NGX_HTTP_MERIDIAN_WAIT:
        return ngx_http_meridian_wait(r, ctx);

    case NGX_HTTP_MERIDIAN_ELSEWHERE:
        return ngx_http_meridian_elsewhere(r, ctx);

    case NGX_HTTP_MERIDIAN_NOBODY:
        if (ngx_http_meridian_add_header(r, "Retry-After",
                                         &ngx_http_meridian_retry_after)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_SERVICE_UNAVAILABLE;

    case NGX_HTTP_MERIDIAN_STRANGER:
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "request without a valid hop header "
                      "at an edge-to-edge listener");
        return NGX_HTTP_FORBIDDEN;

    default: /* NGX_HTTP_MERIDIAN_PASS */
        return NGX_DECLINED;
    }
}


/*
 * A planned move takes about a round trip and the lag; a write that comes just
 * then waits for it rather than fail.  When it takes too long, the home as it
 * is has the last word.
 */

static ngx_int_t
ngx_http_meridian_wait(ngx_http_request_t *r, ngx_http_meridian_ctx_t *ctx)
{
    ngx_http_meridian_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_meridian_module);

    if (ctx->hold_until == 0) {
        ctx->hold_until = ngx_current_msec + mlcf->hold;
    }

    if ((ngx_msec_int_t) (ctx->hold_until - ngx_current_msec) <= 0) {

        if (ctx->forwarded && !ctx->home_here) {
            return ngx_http_meridian_elsewhere(r, ctx);
        }

        return NGX_DECLINED;
    }

    if (r->connection->read->ready) {
        /* a client that has left already would not be heard of again */
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_meridian_wake;

    r->connection->write->delayed = 1;
    ngx_add_timer(r->connection->write, 25);

    return NGX_AGAIN;
}


static void
ngx_http_meridian_wake(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    wev = r->connection->write;

    if (wev->delayed) {

        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        }

        return;
    }

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


static ngx_int_t
ngx_http_meridian_elsewhere(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx)
{
    ngx_str_t  home;

    ctx->outcome = NGX_HTTP_MERIDIAN_ELSEWHERE;

    home.len = ctx->home.len;
    home.data = ngx_pstrdup(r->pool, &ctx->home);

    if (home.data == NULL
        || ngx_http_meridian_add_header(r, "Meridian-Home", &home) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_MISDIRECTED_REQUEST;
}


static ngx_int_t
ngx_http_meridian_region_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_meridian_ctx_t  *ctx;

    ctx = ngx_http_meridian_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_http_meridian_set_value(v, &ctx->targets[ctx->current].name);

    return NGX_OK;
}


static ngx_int_t
ngx_http_meridian_ctx_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_meridian_ctx_t  *ctx;

    ctx = ngx_http_meridian_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_http_meridian_set_value(v, (ngx_str_t *) ((u_char *) ctx + data));

    return NGX_OK;
}


/* empty for a request that has taken its hop: the application need not see it */

static ngx_int_t
ngx_http_meridian_hop_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                *hop, none;
    struct mrd_snapshot      *s;
    ngx_http_meridian_ctx_t  *ctx;

    ctx = ngx_http_meridian_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    s = ngx_http_meridian_last_snapshot();
    hop = (s && !ctx->forwarded) ? ngx_http_meridian_hop(s, s->self) : NULL;

    ngx_str_null(&none);
    ngx_http_meridian_set_value(v, hop ? hop : &none);

    return NGX_OK;
}


/* the tokens of the request that could be verified, and matter here */

static ngx_int_t
ngx_http_meridian_token_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    size_t                    len;
    u_char                   *p;
    ngx_str_t                 value;
    ngx_uint_t                i;
    ngx_http_meridian_ctx_t  *ctx;

    ctx = ngx_http_meridian_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_str_null(&value);

    if (ctx->ntokens) {
        len = 0;

        for (i = 0; i < ctx->ntokens; i++) {
            len += ctx->tokens[i].text.len + 2;
        }

        p = ngx_pnalloc(r->pool, len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;

        for (i = 0; i < ctx->ntokens; i++) {
            p = ngx_sprintf(p, "%s%V", i ? ", " : "", &ctx->tokens[i].text);
        }

        value.len = p - value.data;
    }

    ngx_http_meridian_set_value(v, &value);

    return NGX_OK;
}


static void
ngx_http_meridian_set_value(ngx_http_variable_value_t *v, ngx_str_t *value)
{
    v->len = value->len;
    v->data = value->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}


static char *
ngx_http_meridian_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_meridian_health_handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_meridian_snapshot_path(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t  *path = data;

    if (ngx_conf_full_name(cf->cycle, path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_meridian_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_meridian_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_meridian_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_meridian_handler;

    return ngx_http_meridian_filter_init(cf);
}


static void *
ngx_http_meridian_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_meridian_main_conf_t));
}


static void *
ngx_http_meridian_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_meridian_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_meridian_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->class = { 0, NULL };
     *     conf->write = 0;
     */

    conf->key = NGX_CONF_UNSET_PTR;
    conf->strong = NGX_CONF_UNSET_UINT;
    conf->token = NGX_CONF_UNSET;
    conf->token_max_age = NGX_CONF_UNSET;
    conf->peer = NGX_CONF_UNSET;
    conf->hold = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_http_meridian_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_meridian_loc_conf_t  *prev = parent;
    ngx_http_meridian_loc_conf_t  *conf = child;

    ngx_conf_merge_str_value(conf->class, prev->class, "");

    if (conf->class.len >= MRD_NAME_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the name of class \"%V\" is too long",
                           &conf->class);
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_ptr_value(conf->key, prev->key, NULL);

    ngx_conf_merge_bitmask_value(conf->write, prev->write,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_HTTP_MERIDIAN_WRITES));

    ngx_conf_merge_uint_value(conf->strong, prev->strong, 0);
    ngx_conf_merge_value(conf->token, prev->token, 1);
    ngx_conf_merge_sec_value(conf->token_max_age, prev->token_max_age, 60);
    ngx_conf_merge_value(conf->peer, prev->peer, 0);
    ngx_conf_merge_msec_value(conf->hold, prev->hold, 3000);

    return NGX_CONF_OK;
}
