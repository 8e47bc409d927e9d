
/*
 * What is signed: the hop header between edges, and read-your-writes tokens.
 *
 * Meridian-Hop: 1.REGION.MAC, with MAC the first 16 bytes, in hexadecimal, of
 * HMAC-SHA256(token key, "hop.1.REGION").  It says that the request has taken
 * its one hop, from REGION's edge.  The text depends on nothing but key and
 * region, so it is made once and compared, not computed, per request.  What it
 * grants is only to be served without being forwarded again.  The "hop." keeps
 * a token, which is signed by the same key and known to clients, from being
 * taken for one.
 *
 * A token goes out on the answer to a write, as a cookie and as a header, when
 * this edge is in front of the home.  The cookie is named after class and
 * partition, Meridian-Token-CLASS or Meridian-Token-CLASS.PARTITION, so that a
 * session may write in several homes, and so that a read looks at nothing but
 * what it is about.  The name is not signed: who changes it deceives himself.
 *
 * A request may bring any number of cookies.  At most
 * NGX_HTTP_MERIDIAN_CANDIDATES of them are verified and the first
 * NGX_HTTP_MERIDIAN_TOKENS good ones count; what does not verify is ignored.
 */


#include "ngx_http_meridian.h"
#include "ngx_http_meridian_compat.h"


typedef struct {
    struct mrd_snapshot           *snapshot;
    ngx_http_meridian_loc_conf_t  *mlcf;
    ngx_http_meridian_ctx_t       *ctx;
    ngx_uint_t                     candidates;
} ngx_http_meridian_reader_t;


/* a token that was verified here before: a session's reads bring it each time */

typedef struct {
    size_t                         len;    /* 0: empty */
    struct mrd_token               value;
    u_char                         text[MRD_TOKEN_MAX];
} ngx_http_meridian_known_t;


static ngx_uint_t ngx_http_meridian_key_changed(struct mrd_snapshot *s);
static ngx_int_t ngx_http_meridian_verify(struct mrd_snapshot *s, u_char *text,
    size_t len, struct mrd_token *value);
static void ngx_http_meridian_make_hop(struct mrd_snapshot *s,
    mrd_region region, ngx_str_t *hop);
static void ngx_http_meridian_read_header(ngx_http_meridian_reader_t *rd,
    ngx_str_t *line);
static void ngx_http_meridian_read_cookies(ngx_http_meridian_reader_t *rd,
    ngx_str_t *line);
static void ngx_http_meridian_read_token(ngx_http_meridian_reader_t *rd,
    u_char *start, u_char *last, ngx_str_t *partition);
static ngx_int_t ngx_http_meridian_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_meridian_issue(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, ngx_http_meridian_loc_conf_t *mlcf);
static ngx_int_t ngx_http_meridian_set_cookie(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, ngx_http_meridian_loc_conf_t *mlcf,
    ngx_str_t *token);
static u_char ngx_http_meridian_cookie_char(u_char ch);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;

static ngx_http_meridian_known_t  ngx_http_meridian_known[256];


static ngx_str_t  ngx_http_meridian_hop_name = ngx_string("Meridian-Hop");
static ngx_str_t  ngx_http_meridian_token_name = ngx_string("Meridian-Token");
static ngx_str_t  ngx_http_meridian_cookie_name =
    ngx_string("Meridian-Token-");
static ngx_str_t  ngx_http_meridian_possible = ngx_string("possible");


/* what was made or verified with another key is worth nothing */

static ngx_uint_t
ngx_http_meridian_key_changed(struct mrd_snapshot *s)
{
    static uint8_t  key[sizeof(s->token_key)];

    if (ngx_memcmp(key, s->token_key, sizeof(key)) == 0) {
        return 0;
    }

    ngx_memcpy(key, s->token_key, sizeof(key));

    return 1;
}


/* before the first secret has been published, nothing is signed or believed */

ngx_uint_t
ngx_http_meridian_has_key(struct mrd_snapshot *s)
{
    static const uint8_t  none[sizeof(s->token_key)];

    return ngx_memcmp(s->token_key, none, sizeof(none)) != 0;
}


/* the hop header that a region's edge sends; NULL if there is none */

ngx_str_t *
ngx_http_meridian_hop(struct mrd_snapshot *s, mrd_region region)
{
    static u_char     texts[MRD_REGIONS_MAX][NGX_HTTP_MERIDIAN_HOP];
    static char       names[MRD_REGIONS_MAX][MRD_NAME_MAX];
    static ngx_str_t  hops[MRD_REGIONS_MAX];

    if (region >= s->region_count || !ngx_http_meridian_has_key(s)) {
        return NULL;
    }

    if (ngx_http_meridian_key_changed(s)) {
        ngx_memzero(hops, sizeof(hops));
        ngx_memzero(ngx_http_meridian_known, sizeof(ngx_http_meridian_known));
    }

    if (hops[region].len == 0
        || ngx_strcmp(names[region], s->regions[region].name) != 0)
    {
        (void) ngx_cpystrn((u_char *) names[region],
                           (u_char *) s->regions[region].name, MRD_NAME_MAX);
        hops[region].data = texts[region];
        ngx_http_meridian_make_hop(s, region, &hops[region]);
    }

    return &hops[region];
}


static void
ngx_http_meridian_make_hop(struct mrd_snapshot *s, mrd_region region,
    ngx_str_t *hop)
{
    u_char   signed_text[sizeof("hop.1.") + MRD_NAME_MAX], *p;
    uint8_t  mac[32];

    p = ngx_sprintf(signed_text, "hop.1.%s", s->regions[region].name);

    mrd_hmac_sha256(s->token_key, sizeof(s->token_key), signed_text,
                    p - signed_text, mac);

    p = ngx_sprintf(hop->data, "1.%s.", s->regions[region].name);
    p = ngx_hex_dump(p, mac, 16);

    hop->len = p - hop->data;
}


/* does the request carry the hop header of any region's edge? */

ngx_uint_t
ngx_http_meridian_forwarded(ngx_http_request_t *r, struct mrd_snapshot *s)
{
    ngx_str_t        *hop;
    mrd_region        i;
    ngx_table_elt_t  *h;

    h = ngx_http_meridian_find_header(&r->headers_in.headers,
                                      &ngx_http_meridian_hop_name);

    if (h == NULL) {
        return 0;
    }

    for (i = 0; i < s->region_count; i++) {
        hop = ngx_http_meridian_hop(s, i);

        if (hop && hop->len == h->value.len
            && mrd_equal_ct(hop->data, h->value.data, hop->len))
        {
            return 1;
        }
    }

    return 0;
}


ngx_table_elt_t *
ngx_http_meridian_find_header(ngx_list_t *headers, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &headers->part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash && h[i].key.len == name->len
            && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
        {
            return &h[i];
        }
    }
}


void
ngx_http_meridian_read_tokens(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, struct mrd_snapshot *s)
{
    ngx_uint_t                   n;
    ngx_table_elt_t             *h;
    ngx_http_meridian_reader_t   rd;

    if (ctx->tokens_read || !ngx_http_meridian_has_key(s)) {
        return;
    }

    ctx->tokens_read = 1;

    rd.snapshot = s;
    rd.mlcf = ngx_http_get_module_loc_conf(r, ngx_http_meridian_module);
    rd.ctx = ctx;
    rd.candidates = 0;

    h = ngx_http_meridian_find_header(&r->headers_in.headers,
                                      &ngx_http_meridian_token_name);
    n = 0;

    if (h == NULL && ngx_http_meridian_cookie_line(r, n) == NULL) {
        return;
    }

    ctx->tokens = ngx_palloc(r->pool, NGX_HTTP_MERIDIAN_TOKENS
                                      * sizeof(ngx_http_meridian_token_t));
    if (ctx->tokens == NULL) {
        return;
    }

    if (h) {
        ngx_http_meridian_read_header(&rd, &h->value);
    }

    while ((h = ngx_http_meridian_cookie_line(r, n++)) != NULL) {
        ngx_http_meridian_read_cookies(&rd, &h->value);
    }
}


/* Meridian-Token: TOKEN, TOKEN */

static void
ngx_http_meridian_read_header(ngx_http_meridian_reader_t *rd, ngx_str_t *line)
{
    u_char     *p, *start, *last;
    ngx_str_t   none;

    ngx_str_null(&none);

    p = line->data;
    last = line->data + line->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == ',')) {
            p++;
        }

        start = p;

        while (p < last && *p != ' ' && *p != ',') {
            p++;
        }

        if (p > start) {
            ngx_http_meridian_read_token(rd, start, p, &none);
        }
    }
}


/* Cookie: NAME=VALUE; Meridian-Token-CLASS.PARTITION=TOKEN */

static void
ngx_http_meridian_read_cookies(ngx_http_meridian_reader_t *rd, ngx_str_t *line)
{
    size_t      plen, clen;
    u_char     *p, *eq, *end, *last;
    ngx_str_t   partition;

    plen = ngx_http_meridian_cookie_name.len;
    clen = rd->mlcf->class.len;

    p = line->data;
    last = line->data + line->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == ';')) {
            p++;
        }

        end = ngx_strlchr(p, last, ';');
        if (end == NULL) {
            end = last;
        }

        eq = ngx_strlchr(p, end, '=');

        if (eq == NULL || (size_t) (eq - p) < plen + clen
            || ngx_strncmp(p, ngx_http_meridian_cookie_name.data, plen) != 0
            || ngx_strncmp(p + plen, rd->mlcf->class.data, clen) != 0)
        {
            p = end;
            continue;
        }

        p += plen + clen;

        if (p == eq) {
            ngx_str_set(&partition, MRD_PARTITION_ALL);

        } else if (*p == '.') {
            partition.data = p + 1;
            partition.len = eq - p - 1;

        } else {
            /* another class, whose name begins as ours */
            p = end;
            continue;
        }

        ngx_http_meridian_read_token(rd, eq + 1, end, &partition);

        p = end;
    }
}


static void
ngx_http_meridian_read_token(ngx_http_meridian_reader_t *rd, u_char *start,
    u_char *last, ngx_str_t *partition)
{
    ngx_http_meridian_token_t  *token;

    if (rd->ctx->ntokens == NGX_HTTP_MERIDIAN_TOKENS
        || rd->candidates == NGX_HTTP_MERIDIAN_CANDIDATES
        || last - start >= MRD_TOKEN_MAX)
    {
        return;
    }

    rd->candidates++;

    token = &rd->ctx->tokens[rd->ctx->ntokens];

    if (ngx_http_meridian_verify(rd->snapshot, start, last - start,
                                 &token->value)
        != NGX_OK)
    {
        return;
    }

    token->text.data = start;
    token->text.len = last - start;
    token->partition = *partition;

    rd->ctx->ntokens++;
}


static ngx_int_t
ngx_http_meridian_verify(struct mrd_snapshot *s, u_char *text, size_t len,
    struct mrd_token *value)
{
    ngx_http_meridian_known_t  *known;

    /* forget tokens of an older key before believing in one of them */
    (void) ngx_http_meridian_hop(s, s->self);

    known = &ngx_http_meridian_known[ngx_murmur_hash2(text, len) & 255];

    if (known->len == len && len && mrd_equal_ct(known->text, text, len)) {
        *value = known->value;
        return NGX_OK;
    }

    if (mrd_token_parse((char *) text, len, s->token_key, value) != 0) {
        return NGX_ERROR;
    }

    known->len = len;
    known->value = *value;
    ngx_memcpy(known->text, text, len);

    return NGX_OK;
}


ngx_uint_t
ngx_http_meridian_is_partition(ngx_str_t *cookie, char *partition)
{
    size_t  i;

    if (cookie->len != ngx_strlen(partition)) {
        return 0;
    }

    for (i = 0; i < cookie->len; i++) {
        if (cookie->data[i]
            != ngx_http_meridian_cookie_char((u_char) partition[i]))
        {
            return 0;
        }
    }

    return 1;
}


/* a partition is named after any value of a column, a cookie is not */

static u_char
ngx_http_meridian_cookie_char(u_char ch)
{
    if ((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z')
        || (ch >= 'A' && ch <= 'Z') || ch == '-' || ch == '.')
    {
        return ch;
    }

    return '_';
}


ngx_int_t
ngx_http_meridian_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_meridian_header_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_meridian_header_filter(ngx_http_request_t *r)
{
    ngx_http_meridian_ctx_t       *ctx;
    ngx_http_meridian_loc_conf_t  *mlcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_meridian_module);

    if (ctx == NULL || r != r->main || ctx->ntargets == 0
        || ctx->outcome == NGX_HTTP_MERIDIAN_ELSEWHERE)
    {
        return ngx_http_next_header_filter(r);
    }

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_meridian_module);

    if (ctx->lost && !ctx->forwarded
        && ngx_http_meridian_add_header(r, "Meridian-Lost-Write",
                                        &ngx_http_meridian_possible)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->by_token && ctx->targets[ctx->current].local && !ctx->home_here
        && !ctx->forwarded
        && ngx_http_meridian_add_header(r, "Meridian-Stale-Read",
                                        &ngx_http_meridian_possible)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->write && ctx->home_here && mlcf->token && mlcf->class.len
        && ctx->targets[ctx->current].local && ctx->issue.session
        && r->headers_out.status >= 200 && r->headers_out.status < 400
        && ngx_http_meridian_issue(r, ctx, mlcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/*
 * The time is that of the answer, rounded up: a heartbeat of the same
 * millisecond may have been made before the write was committed.
 */

static ngx_int_t
ngx_http_meridian_issue(ngx_http_request_t *r, ngx_http_meridian_ctx_t *ctx,
    ngx_http_meridian_loc_conf_t *mlcf)
{
    int                   len;
    char                  text[MRD_TOKEN_MAX];
    ngx_str_t             token;
    struct mrd_snapshot  *s;

    s = ngx_http_meridian_snapshot();
    if (s == NULL || !ngx_http_meridian_has_key(s)) {
        return NGX_OK;
    }

    ctx->issue.boot_ms = (ngx_http_meridian_boot_ns() + 999999) / 1000000;

    len = mrd_token_format(&ctx->issue, s->token_key, text, sizeof(text));
    if (len < 0) {
        return NGX_OK;
    }

    token.len = len;
    token.data = ngx_pnalloc(r->pool, token.len);
    if (token.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(token.data, text, token.len);

    if (ngx_http_meridian_add_header(r, "Meridian-Token", &token) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_meridian_set_cookie(r, ctx, mlcf, &token);
}


static ngx_int_t
ngx_http_meridian_set_cookie(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, ngx_http_meridian_loc_conf_t *mlcf,
    ngx_str_t *token)
{
    u_char     *p, *name;
    ngx_str_t   cookie;

    p = ngx_pnalloc(r->pool, ngx_http_meridian_cookie_name.len
                             + mlcf->class.len + 1 + MRD_NAME_MAX + 1
                             + token->len + NGX_TIME_T_LEN
                             + sizeof("; Path=/; Max-Age=; HttpOnly; "
                                      "SameSite=Lax"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    cookie.data = p;

    p = ngx_sprintf(p, "%V%V", &ngx_http_meridian_cookie_name, &mlcf->class);

    if (ngx_strcmp(ctx->partition, MRD_PARTITION_ALL) != 0) {
        *p++ = '.';

        for (name = ctx->partition; *name; name++) {
            *p++ = ngx_http_meridian_cookie_char(*name);
        }
    }

    p = ngx_sprintf(p, "=%V; Path=/; Max-Age=%T; HttpOnly; SameSite=Lax",
                    token, mlcf->token_max_age);

    cookie.len = p - cookie.data;

    return ngx_http_meridian_add_header(r, "Set-Cookie", &cookie);
}


ngx_int_t
ngx_http_meridian_add_header(ngx_http_request_t *r, char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
    ngx_http_meridian_end_header(h);

    return NGX_OK;
}
