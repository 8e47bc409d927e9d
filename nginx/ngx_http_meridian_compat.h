
/*
 * Where versions of nginx differ, once and for all.
 *
 * From 1.23.0 on, equal request headers are chained by "next" and Cookie is
 * such a chain; before, Cookie was an array of pointers.
 */


#ifndef _NGX_HTTP_MERIDIAN_COMPAT_H_INCLUDED_
#define _NGX_HTTP_MERIDIAN_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#if (nginx_version >= 1023000)

#define ngx_http_meridian_end_header(h)  (h)->next = NULL


static ngx_inline ngx_table_elt_t *
ngx_http_meridian_cookie_line(ngx_http_request_t *r, ngx_uint_t n)
{
    ngx_table_elt_t  *h;

    for (h = r->headers_in.cookie; h && n; h = h->next) {
        n--;
    }

    return h;
}

#else

#define ngx_http_meridian_end_header(h)


static ngx_inline ngx_table_elt_t *
ngx_http_meridian_cookie_line(ngx_http_request_t *r, ngx_uint_t n)
{
    ngx_table_elt_t  **h;

    if (n >= r->headers_in.cookies.nelts) {
        return NULL;
    }

    h = r->headers_in.cookies.elts;

    return h[n];
}

#endif


#endif /* _NGX_HTTP_MERIDIAN_COMPAT_H_INCLUDED_ */
