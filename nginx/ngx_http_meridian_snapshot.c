
/*
 * The worker's view of the snapshot file.
 *
 * The file is mapped once and copied when its generation has changed; requests
 * use the private copy, so a half-written, vanished or damaged file costs
 * nothing but freshness: the last good copy stays in use.  At most once a
 * second the path is looked at again, because the file may appear late or be
 * made anew after the machine's tmpfs was emptied.
 *
 * Nobody may truncate the file while it is mapped.  If somebody does, reading
 * it raises SIGBUS, which would kill the worker with all its connections; the
 * read is therefore made under a handler that jumps out of it.  There are two
 * copies, so that a read broken off in the middle damages the spare one only.
 */


#include "ngx_http_meridian.h"
#include <setjmp.h>


typedef struct {
    void                 *map;
    size_t                size;
    dev_t                 dev;
    ino_t                 ino;
    time_t                checked;
    struct mrd_snapshot   copies[2];
    ngx_uint_t            current;
    ngx_msec_t            retry;         /* after a read that failed */
    unsigned              valid:1;
    unsigned              reopened:1;
    unsigned              foreign:1;     /* of another region, reported */
    unsigned              complained:1;
} ngx_http_meridian_view_t;


static void ngx_http_meridian_sigbus(int signo, siginfo_t *info, void *uctx);
static void ngx_http_meridian_reopen(ngx_http_meridian_main_conf_t *mcf);
static ngx_int_t ngx_http_meridian_map(ngx_str_t *path, ngx_file_info_t *fi);
static ngx_int_t ngx_http_meridian_check(void *map, size_t size);
static void ngx_http_meridian_copy(ngx_http_meridian_main_conf_t *mcf);
static ngx_uint_t ngx_http_meridian_is_foreign(
    ngx_http_meridian_main_conf_t *mcf, struct mrd_snapshot *s);


static ngx_http_meridian_view_t  ngx_http_meridian_view;

static sigjmp_buf             ngx_http_meridian_jump;
static volatile sig_atomic_t  ngx_http_meridian_reading;


ngx_int_t
ngx_http_meridian_snapshot_init(ngx_cycle_t *cycle)
{
    struct sigaction  sa;

    ngx_memzero(&sa, sizeof(struct sigaction));
    sigemptyset(&sa.sa_mask);
    sa.sa_sigaction = ngx_http_meridian_sigbus;

    /* no mask to restore: leaving by siglongjmp() then needs no system call */
    sa.sa_flags = SA_SIGINFO|SA_NODEFER;

    if (sigaction(SIGBUS, &sa, NULL) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "sigaction(SIGBUS) failed");
        return NGX_ERROR;
    }

    (void) ngx_http_meridian_snapshot();

    return NGX_OK;
}


static void
ngx_http_meridian_sigbus(int signo, siginfo_t *info, void *uctx)
{
    u_char  *addr, *map;

    addr = info->si_addr;
    map = ngx_http_meridian_view.map;

    if (ngx_http_meridian_reading
        && (map == NULL
            || (addr >= map && addr < map + ngx_http_meridian_view.size)))
    {
        ngx_http_meridian_reading = 0;
        siglongjmp(ngx_http_meridian_jump, 1);
    }

    /* not ours: die as without us when the instruction is run again */

    signal(signo, SIG_DFL);
}


/*
 * The newest good copy, or NULL when there never was one.  Valid until the
 * next call.
 */

struct mrd_snapshot *
ngx_http_meridian_snapshot(void)
{
    ngx_http_meridian_view_t       *view;
    ngx_http_meridian_main_conf_t  *mcf;

    view = &ngx_http_meridian_view;
    mcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_meridian_module);

    if (mcf == NULL || mcf->snapshot.len == 0) {
        return NULL;
    }

    if (view->checked != ngx_time()) {
        view->checked = ngx_time();
        ngx_http_meridian_reopen(mcf);
    }

    if (view->map) {
        ngx_http_meridian_copy(mcf);
    }

    return view->valid ? &view->copies[view->current] : NULL;
}


/* the same without a look at the file: for what belongs to a decision made */

struct mrd_snapshot *
ngx_http_meridian_last_snapshot(void)
{
    ngx_http_meridian_view_t  *view;

    view = &ngx_http_meridian_view;

    return view->valid ? &view->copies[view->current] : NULL;
}


static void
ngx_http_meridian_reopen(ngx_http_meridian_main_conf_t *mcf)
{
    ngx_file_info_t            fi;
    ngx_http_meridian_view_t  *view;

    view = &ngx_http_meridian_view;

    if (ngx_file_info(mcf->snapshot.data, &fi) == NGX_FILE_ERROR) {
        if (view->map == NULL && !view->complained) {
            view->complained = 1;
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, ngx_errno,
                          "meridian snapshot \"%V\" cannot be opened yet, "
                          "serving locally", &mcf->snapshot);
        }

        return;
    }

    if (view->map && fi.st_dev == view->dev && fi.st_ino == view->ino
        && (size_t) fi.st_size == view->size)
    {
        return;
    }

    if (ngx_http_meridian_map(&mcf->snapshot, &fi) == NGX_OK) {
        view->complained = 0;
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "meridian snapshot \"%V\" opened", &mcf->snapshot);
        return;
    }

    if (!view->complained) {
        view->complained = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "meridian snapshot \"%V\" is not usable, %s",
                      &mcf->snapshot, view->valid ? "keeping the last state"
                                                  : "serving locally");
    }
}


static ngx_int_t
ngx_http_meridian_map(ngx_str_t *path, ngx_file_info_t *fi)
{
    void                      *map;
    ngx_fd_t                   fd;
    ngx_http_meridian_view_t  *view;

    view = &ngx_http_meridian_view;

    fd = open((char *) path->data, O_RDONLY|O_CLOEXEC|O_NONBLOCK);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    if (ngx_fd_info(fd, fi) == NGX_FILE_ERROR || !ngx_is_file(fi)
        || (size_t) fi->st_size < mrd_snapshot_file_size())
    {
        (void) ngx_close_file(fd);
        return NGX_ERROR;
    }

    map = mmap(NULL, (size_t) fi->st_size, PROT_READ, MAP_SHARED, fd, 0);

    (void) ngx_close_file(fd);

    if (map == MAP_FAILED) {
        return NGX_ERROR;
    }

    if (ngx_http_meridian_check(map, (size_t) fi->st_size) != NGX_OK) {
        (void) munmap(map, (size_t) fi->st_size);
        return NGX_ERROR;
    }

    if (view->map) {
        (void) munmap(view->map, view->size);
    }

    view->map = map;
    view->size = (size_t) fi->st_size;
    view->dev = fi->st_dev;
    view->ino = fi->st_ino;
    view->reopened = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_meridian_check(void *map, size_t size)
{
    int    rc;
    void  *saved;

    saved = ngx_http_meridian_view.map;

    if (sigsetjmp(ngx_http_meridian_jump, 0) != 0) {
        ngx_http_meridian_view.map = saved;
        return NGX_ERROR;
    }

    ngx_http_meridian_view.map = NULL;
    ngx_http_meridian_reading = 1;

    rc = mrd_snapshot_check(map, size);

    ngx_http_meridian_reading = 0;
    ngx_http_meridian_view.map = saved;

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_meridian_copy(ngx_http_meridian_main_conf_t *mcf)
{
    int                        rc;
    struct mrd_snapshot       *spare;
    ngx_http_meridian_view_t  *view;

    view = &ngx_http_meridian_view;
    spare = &view->copies[!view->current];

    if (view->retry) {
        if ((ngx_msec_int_t) (view->retry - ngx_current_msec) > 0) {
            return;
        }

        view->retry = 0;
    }

    /* the number alone says what we have: only a newer one will be copied */

    spare->generation = (view->valid && !view->reopened)
                        ? view->copies[view->current].generation : 0;

    if (sigsetjmp(ngx_http_meridian_jump, 0) != 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "meridian snapshot \"%V\" was truncated, "
                      "keeping the last state", &mcf->snapshot);

        (void) munmap(view->map, view->size);
        view->map = NULL;
        return;
    }

    ngx_http_meridian_reading = 1;
    rc = mrd_snapshot_read(view->map, spare);
    ngx_http_meridian_reading = 0;

    if (rc == 0) {
        return;
    }

    if (rc < 0 || spare->self >= spare->region_count) {
        /* checksums over a damaged slot are not for every request */
        view->retry = ngx_current_msec + 20;
        return;
    }

    if (ngx_http_meridian_is_foreign(mcf, spare)) {
        view->retry = ngx_current_msec + 1000;
        return;
    }

    view->current = !view->current;
    view->valid = 1;
    view->reopened = 0;
    view->foreign = 0;
}


/* is it of a region that is not the configured one?  said once */

static ngx_uint_t
ngx_http_meridian_is_foreign(ngx_http_meridian_main_conf_t *mcf,
    struct mrd_snapshot *s)
{
    char  *name;

    name = s->regions[s->self].name;

    if (mcf->region.len == 0
        || (ngx_strlen(name) == mcf->region.len
            && ngx_strncmp(name, mcf->region.data, mcf->region.len) == 0))
    {
        return 0;
    }

    if (!ngx_http_meridian_view.foreign) {
        ngx_http_meridian_view.foreign = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "meridian snapshot \"%V\" is of region \"%s\", "
                      "not of \"%V\"", &mcf->snapshot, name, &mcf->region);
    }

    return 1;
}


/* core's time: this host's CLOCK_BOOTTIME */

mrd_boot_ns
ngx_http_meridian_boot_ns(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_BOOTTIME, &ts);

    return (mrd_boot_ns) ts.tv_sec * 1000000000 + (mrd_boot_ns) ts.tv_nsec;
}
