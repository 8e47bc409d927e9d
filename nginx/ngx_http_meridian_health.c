
/*
 * GET /meridian/health: what probes of other regions ask.
 *
 * The answer is always 200, because the question is whether this edge answers;
 * what it knows is in the body, on one line.  An edge without a snapshot, or
 * with an old one, still serves.
 */


#include "ngx_http_meridian.h"


static ngx_int_t ngx_http_meridian_health_body(ngx_http_request_t *r,
    ngx_buf_t *b);


ngx_int_t
ngx_http_meridian_health_handler(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, 512);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_meridian_health_body(r, b) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_meridian_health_body(ngx_http_request_t *r, ngx_buf_t *b)
{
    char                 *lease;
    uint64_t              age_ms, lease_ms;
    ngx_str_t             name, json;
    mrd_boot_ns           now;
    struct mrd_snapshot  *s;

    s = ngx_http_meridian_snapshot();

    if (s == NULL) {
        b->last = ngx_slprintf(b->last, b->end, "{\"region\":null,"
                               "\"generation\":0,\"lease\":\"unknown\"}\n");
        return NGX_OK;
    }

    now = ngx_http_meridian_boot_ns();

    age_ms = (now > s->published_ns) ? (now - s->published_ns) / 1000000 : 0;
    lease_ms = 0;

    if (s->lease_deadline_ns == 0) {
        lease = "none";

    } else if (s->lease_deadline_ns <= now) {
        lease = "ended";

    } else {
        lease = "live";
        lease_ms = (s->lease_deadline_ns - now) / 1000000;
    }

    name.data = (u_char *) s->regions[s->self].name;
    name.len = ngx_strlen(name.data);

    json.len = name.len + ngx_escape_json(NULL, name.data, name.len);
    json.data = ngx_pnalloc(r->pool, json.len);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_escape_json(json.data, name.data, name.len);

    b->last = ngx_slprintf(b->last, b->end,
                           "{\"region\":\"%V\",\"generation\":%uL,"
                           "\"age_ms\":%uL,\"stale\":%s,"
                           "\"lease\":\"%s\",\"lease_ms\":%uL}\n",
                           &json, s->generation, age_ms,
                           age_ms > s->stale_after_ms ? "true" : "false",
                           lease, lease_ms);

    return NGX_OK;
}
