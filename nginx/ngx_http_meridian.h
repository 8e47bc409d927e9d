
/*
 * What the files of the edge module share.
 *
 * One request passes through them like this: _route.c looks at the request and
 * the snapshot (_snapshot.c) and asks core where it goes; the phase handler in
 * _module.c waits, refuses or lets it pass; _upstream.c connects to the local
 * application or to another region's edge, and may move on to the next target;
 * _token.c reads and signs what travels between edges and in cookies.
 *
 * Everything here runs in a worker's single thread.  The snapshot that
 * ngx_http_meridian_snapshot() gives is borrowed until the next call of it:
 * nothing of it is kept across events but by copying.
 */


#ifndef _NGX_HTTP_MERIDIAN_H_INCLUDED_
#define _NGX_HTTP_MERIDIAN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <mrd/route.h>
#include <mrd/snapshot.h>
#include <mrd/token.h>


/* regions that one request may be tried at */
#define NGX_HTTP_MERIDIAN_TRIES       3

/* tokens that one request may carry, and texts that are looked at at all */
#define NGX_HTTP_MERIDIAN_TOKENS      4
#define NGX_HTTP_MERIDIAN_CANDIDATES  8

/* a region that could not be reached is avoided by reads for so long, in ms */
#define NGX_HTTP_MERIDIAN_AVOID       2000

/*
 * Sent bytes that another edge has not acknowledged for so long, in ms, mean
 * that the link is cut: some retransmissions over the longest round trip.
 * A connection that broke after this long silence tells more than one that
 * broke at once, which may just have been idle for too long.
 */
#define NGX_HTTP_MERIDIAN_UNACKED     3000
#define NGX_HTTP_MERIDIAN_SILENCE     1000

/* meridian_write off */
#define NGX_HTTP_MERIDIAN_NO_WRITES   0x40000000

/* the longest text of a hop header: "1.", a region's name, ".", 32 digits */
#define NGX_HTTP_MERIDIAN_HOP         (2 + MRD_NAME_MAX + 1 + 32)


typedef struct {
    ngx_str_t                   snapshot;
    ngx_str_t                   region;
} ngx_http_meridian_main_conf_t;


typedef struct {
    ngx_str_t                   class;
    ngx_http_complex_value_t   *key;
    ngx_uint_t                  write;      /* NGX_HTTP_... method bits */
    ngx_uint_t                  strong;     /* reads go home */
    ngx_flag_t                  token;
    time_t                      token_max_age;
    ngx_flag_t                  peer;
    ngx_msec_t                  hold;
} ngx_http_meridian_loc_conf_t;


typedef struct {
    struct mrd_token            value;
    ngx_str_t                   text;
    ngx_str_t                   partition;  /* as a cookie names it, or empty */
} ngx_http_meridian_token_t;


typedef enum {
    NGX_HTTP_MERIDIAN_PASS = 0,  /* to the targets */
    NGX_HTTP_MERIDIAN_WAIT,      /* the data is changing its home */
    NGX_HTTP_MERIDIAN_ELSEWHERE, /* another edge sent it to the wrong region */
    NGX_HTTP_MERIDIAN_NOBODY,    /* no region may take this write */
    NGX_HTTP_MERIDIAN_STRANGER   /* not from another region's edge */
} ngx_http_meridian_outcome_e;


typedef struct {
    ngx_uint_t                  local;      /* unsigned  local:1; */
    mrd_region                  region;     /* MRD_REGION_NONE: no snapshot */
    struct sockaddr_in          sin;
    ngx_str_t                   name;       /* of the region */
    ngx_str_t                   addr;       /* for the log; made when used */
    u_char                      text[MRD_NAME_MAX];
    u_char                      addr_text[NGX_INET_ADDRSTRLEN + 6];
} ngx_http_meridian_target_t;


typedef struct {
    ngx_http_meridian_outcome_e  outcome;
    uint64_t                     generation;  /* that was decided on */
    ngx_msec_t                   decided;
    ngx_str_t                    why;
    ngx_str_t                    home;
    u_char                       home_text[MRD_NAME_MAX];

    ngx_http_meridian_target_t   targets[NGX_HTTP_MERIDIAN_TRIES];
    ngx_uint_t                   ntargets;
    ngx_uint_t                   current;

    /* what a token for this write has to say, and its partition */
    struct mrd_token             issue;
    u_char                       partition[MRD_NAME_MAX];

    ngx_msec_t                   hold_until;  /* 0: not held yet */

    ngx_http_meridian_loc_conf_t  *conf;      /* that was decided with */
    void                          *peer;      /* balancer data, once there */

    ngx_http_meridian_token_t   *tokens;
    ngx_uint_t                   ntokens;

    unsigned                     tokens_read:1;
    unsigned                     by_token:1;   /* sent home by a token */
    unsigned                     write:1;
    unsigned                     forwarded:1;  /* by another region's edge */
    unsigned                     home_here:1;
    unsigned                     lost:1;
} ngx_http_meridian_ctx_t;


/* _snapshot.c */

ngx_int_t ngx_http_meridian_snapshot_init(ngx_cycle_t *cycle);
struct mrd_snapshot *ngx_http_meridian_snapshot(void);
struct mrd_snapshot *ngx_http_meridian_last_snapshot(void);
mrd_boot_ns ngx_http_meridian_boot_ns(void);

/* _route.c */

ngx_http_meridian_ctx_t *ngx_http_meridian_get_ctx(ngx_http_request_t *r);
void ngx_http_meridian_decide(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx);
ngx_int_t ngx_http_meridian_retarget(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, ngx_str_t *hint);
void ngx_http_meridian_avoid(mrd_region region);

/* _token.c */

ngx_uint_t ngx_http_meridian_has_key(struct mrd_snapshot *s);
ngx_str_t *ngx_http_meridian_hop(struct mrd_snapshot *s, mrd_region region);
ngx_table_elt_t *ngx_http_meridian_find_header(ngx_list_t *headers,
    ngx_str_t *name);
ngx_uint_t ngx_http_meridian_forwarded(ngx_http_request_t *r,
    struct mrd_snapshot *s);
void ngx_http_meridian_read_tokens(ngx_http_request_t *r,
    ngx_http_meridian_ctx_t *ctx, struct mrd_snapshot *s);
ngx_uint_t ngx_http_meridian_is_partition(ngx_str_t *cookie, char *partition);
ngx_int_t ngx_http_meridian_filter_init(ngx_conf_t *cf);
ngx_int_t ngx_http_meridian_add_header(ngx_http_request_t *r, char *name,
    ngx_str_t *value);

/* _upstream.c */

char *ngx_http_meridian_upstream(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* _health.c */

ngx_int_t ngx_http_meridian_health_handler(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_meridian_module;


#endif /* _NGX_HTTP_MERIDIAN_H_INCLUDED_ */
