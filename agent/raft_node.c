/*
 * libraft behind raft_node.h.
 *
 * What this file guards against, each found in libraft 0.22.1's source or measured:
 *
 * - its pseudo-random numbers start from the id and the millisecond, so voters started together
 *   split their votes for half a minute: seeded from the kernel here;
 * - a broken pipe kills the process: main ignores SIGPIPE;
 * - entries are laid end to end but read back in steps of 8 bytes: every entry and snapshot is
 *   {u32 length, bytes, zeroes} up to a multiple of 8;
 * - its own TCP transport believes who a peer says it is, and its decoder what a peer counts:
 *   replaced by tls.h and raft_wire.h;
 * - what it answers to messages of an older term says anything, or keeps everybody from being
 *   elected: mended (raft_mend.h);
 * - "automatic recovery" renames damaged log segments and goes on without them: off. A voter
 *   that forgot entries it acknowledged would break everybody's promise.
 *
 * libraft's connections carry messages one way, from who connects to who accepted.
 */
#include "raft_node.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <raft.h>
#include <raft/uv.h>

#include "log.h"
#include "raft_mend.h"
#include "raft_wire.h"

#define SEGMENT_BYTES ((size_t)1024 * 1024)
#define CAPACITY_KIB 512
#define SNAPSHOT_THRESHOLD 1024
#define SNAPSHOT_TRAILING 2048
#define INFLIGHT_ENTRIES 256
#define CONNECT_MS 2000
#define CONNECT_RETRY_MS 200
#define DISK_RETRY_MS 500
#define PUMP_HIGH ((size_t)256 * 1024)

_Static_assert(sizeof(void *) == 8, "a result is a code and a revision in one pointer");

struct raft_node {
    uv_loop_t *loop;
    struct tls *tls;
    const struct mrd_config *config;
    mrd_region self;
    struct mrd_store *store;
    struct raft_node_events events;
    struct raft_uv_transport transport;
    struct raft_io io, uv; /* libraft's own, and as raft_uv_init made it */
    raft_io_recv_cb receive;
    bool late; /* what libraft handles now is of an older term */
    struct raft_fsm fsm;
    struct raft raft;
    raft_uv_accept_cb accept;
    bool has_io, has_raft, started, stopping, led, broken;
    bool shut; /* made anew, and not admitted yet */
    struct raft_change change;
    bool changing;
    unsigned pumps; /* alive */
    struct raft_transfer transfer;
    bool transferring;
    struct pump *inbound[MRD_REGIONS_MAX]; /* newest accepted from each */
    struct pump *list;
    raft_uv_transport_close_cb closed;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    struct log_repeat refused;
    uint8_t scratch[65536];
};

/* One libraft connection: its socketpair end (owned by libraft), ours, and TLS. */
struct pump {
    struct raft_node *n;
    struct pump *next, **link;
    struct raft_uv_connect *connect; /* of ours, not answered yet */
    struct tls_conn *conn;
    uv_pipe_t pipe;
    bool has_pipe, pipe_closing, reading, paused, accepted;
    mrd_region peer;
    struct raft_wire gate;
};

struct pump_out {
    uv_write_t req;
    struct pump *p;
    uint8_t data[];
};

struct proposal {
    struct raft_apply req;
    raft_node_done_fn done;
    void *ctx;
};

/* ---- pump ---- */

static void transport_maybe_closed(struct raft_node *n)
{
    if (n->closed != NULL && n->list == NULL) {
        raft_uv_transport_close_cb cb = n->closed;
        n->closed = NULL;
        cb(&n->transport);
    }
}

static void pump_maybe_free(struct pump *p)
{
    struct raft_node *n = p->n;
    if (p->conn != NULL || p->has_pipe) {
        return;
    }
    if (n->inbound[p->peer] == p) {
        n->inbound[p->peer] = NULL;
    }
    *p->link = p->next;
    if (p->next != NULL) {
        p->next->link = p->link;
    }
    raft_wire_fini(&p->gate);
    free(p);
    transport_maybe_closed(n);
}

static void on_pipe_closed(uv_handle_t *h)
{
    struct pump *p = h->data;
    p->has_pipe = false;
    pump_maybe_free(p);
}

static void pump_close(struct pump *p, const char *reason)
{
    if (p->has_pipe && !p->pipe_closing) {
        p->pipe_closing = true;
        uv_close((uv_handle_t *)&p->pipe, on_pipe_closed);
    }
    if (p->conn != NULL) {
        tls_close(p->conn, reason);
    }
}

static void answer_connect(struct pump *p, struct uv_stream_s *stream, int status)
{
    struct raft_uv_connect *req = p->connect;
    p->connect = NULL;
    req->cb(req, stream, status);
}

static void on_pipe_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct pump *p = h->data;
    (void)suggested;
    *buf = uv_buf_init((char *)p->n->scratch, sizeof(p->n->scratch));
}

static void on_pipe_read(uv_stream_t *s, ssize_t nread, const uv_buf_t *buf)
{
    struct pump *p = s->data;
    if (nread < 0) {
        pump_close(p, "closed by libraft");
    } else if (nread > 0 && p->conn != NULL) {
        tls_write(p->conn, buf->base, (size_t)nread);
        /* A slow link must not turn into memory: let the socketpair fill instead. */
        if (p->conn != NULL && tls_queued(p->conn) > PUMP_HIGH && p->reading) {
            uv_read_stop(s);
            p->reading = false;
        }
    }
}

static void on_pipe_written(uv_write_t *req, int status)
{
    struct pump_out *o = (struct pump_out *)req;
    struct pump *p = o->p;
    free(o);
    if (status != 0) {
        pump_close(p, "libraft went away");
    } else if (p->paused && p->conn != NULL && p->pipe.write_queue_size < PUMP_HIGH) {
        p->paused = false;
        tls_resume(p->conn);
    }
}

/* A checked part of a message goes into the socketpair. */
static void pass_on(void *ctx, const uint8_t *data, size_t len)
{
    struct pump *p = ctx;
    struct pump_out *o = p->pipe_closing ? NULL : malloc(sizeof(*o) + len);
    if (o == NULL) {
        return;
    }
    o->p = p;
    memcpy(o->data, data, len);
    uv_buf_t buf = uv_buf_init((char *)o->data, (unsigned)len);
    if (uv_write(&o->req, (uv_stream_t *)&p->pipe, &buf, 1, on_pipe_written) != 0) {
        free(o);
        pump_close(p, "libraft went away");
    } else if (p->pipe.write_queue_size > PUMP_HIGH && !p->paused && p->conn != NULL) {
        p->paused = true;
        tls_pause(p->conn);
    }
}

/* Make the socketpair: our end becomes p->pipe, the other is returned for libraft to own. */
static struct uv_stream_s *pump_split(struct pump *p)
{
    int fds[2];
    uv_pipe_t *theirs = raft_malloc(sizeof(*theirs));
    if (theirs == NULL ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
        raft_free(theirs);
        return NULL;
    }
    uv_pipe_init(p->n->loop, theirs, 0);
    uv_pipe_init(p->n->loop, &p->pipe, 0);
    p->pipe.data = p;
    p->has_pipe = true;
    /* Both cannot fail: the descriptors are fresh sockets of the right kind. */
    mrd_assert(uv_pipe_open(theirs, fds[0]) == 0 && uv_pipe_open(&p->pipe, fds[1]) == 0);
    uv_read_start((uv_stream_t *)&p->pipe, on_pipe_alloc, on_pipe_read);
    p->reading = true;
    return (struct uv_stream_s *)theirs;
}

static void on_conn_data(void *ctx, struct tls_conn *c, const uint8_t *data, size_t len)
{
    struct pump *p = ctx;
    /* Messages go one way; what comes back on a connection that we made is not Raft. */
    int rv = p->accepted ? raft_wire_feed(&p->gate, data, len, pass_on, p) : MRD_EFORMAT;
    if (rv != 0) {
        log_event("event=peer.protocol region=%s reason=\"%s\"",
                  p->n->config->regions[p->peer].name, mrd_strerror(rv));
        tls_close(c, mrd_strerror(rv));
    }
}

static void on_conn_drain(void *ctx, struct tls_conn *c)
{
    struct pump *p = ctx;
    if (p->has_pipe && !p->pipe_closing && !p->reading && tls_queued(c) < PUMP_HIGH / 2) {
        uv_read_start((uv_stream_t *)&p->pipe, on_pipe_alloc, on_pipe_read);
        p->reading = true;
    }
}

static void on_conn_close(void *ctx, struct tls_conn *c, const char *reason)
{
    struct pump *p = ctx;
    (void)c;
    p->conn = NULL;
    if (p->connect != NULL) {
        answer_connect(p, NULL, p->n->closed != NULL ? RAFT_CANCELED : RAFT_NOCONNECTION);
    }
    pump_close(p, reason);
    pump_maybe_free(p);
}

static void on_conn_open(void *ctx, struct tls_conn *c)
{
    struct pump *p = ctx;
    struct uv_stream_s *stream = p->n->closed != NULL ? NULL : pump_split(p);
    if (stream == NULL) {
        tls_close(c, "no socketpair"); /* answered when it is closed */
        return;
    }
    answer_connect(p, stream, 0);
}

static const struct tls_events pump_events = {on_conn_open, on_conn_data, on_conn_drain,
                                              on_conn_close};

static struct pump *pump_new(struct raft_node *n, mrd_region peer)
{
    struct pump *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->n = n;
    p->peer = peer;
    p->next = n->list;
    p->link = &n->list;
    if (p->next != NULL) {
        p->next->link = &p->next;
    }
    n->list = p;
    return p;
}

/* ---- transport, called by libraft ---- */

static int transport_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
    (void)t;
    (void)id;
    (void)address;
    return 0;
}

static int transport_listen(struct raft_uv_transport *t, raft_uv_accept_cb cb)
{
    struct raft_node *n = t->impl;
    n->accept = cb;
    return 0;
}

static int transport_connect(struct raft_uv_transport *t, struct raft_uv_connect *req,
                             raft_id id, const char *address, raft_uv_connect_cb cb)
{
    struct raft_node *n = t->impl;
    (void)address;
    if (id == 0 || id > n->config->region_count) {
        return RAFT_NOCONNECTION;
    }
    struct pump *p = pump_new(n, (mrd_region)(id - 1));
    if (p == NULL) {
        return RAFT_NOMEM;
    }
    const struct mrd_conf_region *to = &n->config->regions[p->peer];
    req->cb = cb;
    p->connect = req;
    p->conn = tls_connect(n->tls, p->peer, TLS_RAFT, to->agent_host, to->agent_port, CONNECT_MS,
                          &pump_events, p);
    if (p->conn == NULL) {
        pump_maybe_free(p);
        return RAFT_NOMEM;
    }
    return 0;
}

static void transport_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
    struct raft_node *n = t->impl;
    n->accept = NULL;
    n->closed = cb;
    for (struct pump *p = n->list, *next; p != NULL; p = next) {
        next = p->next; /* closing only schedules */
        pump_close(p, "stopping");
    }
    transport_maybe_closed(n);
}

void raft_node_accept(struct raft_node *n, struct tls_conn *c, mrd_region peer)
{
    if (n->accept == NULL || n->shut) {
        tls_close(c, n->shut ? "made anew, not admitted yet" : "not started");
        return;
    }
    /* The peer makes one connection: a new one means that it gave up the old one, even if
     * nothing told us so. */
    if (n->inbound[peer] != NULL) {
        pump_close(n->inbound[peer], "replaced by a newer connection");
    }
    struct pump *p = pump_new(n, peer);
    if (p == NULL) {
        tls_close(c, "out of memory");
        return;
    }
    p->accepted = true;
    struct uv_stream_s *stream = pump_split(p);
    if (stream == NULL) {
        tls_close(c, "no socketpair");
        pump_maybe_free(p);
        return;
    }
    p->conn = c;
    n->inbound[peer] = p;
    tls_attach(c, &pump_events, p);
    n->accept(&n->transport, (raft_id)peer + 1, n->config->regions[peer].name, stream);
}

/* ---- entries: {u32 length, bytes, zeroes} in multiples of 8 ---- */

static int pad_new(size_t len, struct raft_buffer *ret, struct mrd_buf *writer)
{
    ret->len = (4 + len + 7) / 8 * 8;
    ret->base = raft_calloc(1, ret->len);
    if (ret->base == NULL) {
        return MRD_ENOMEM;
    }
    *writer = mrd_buf_writer(ret->base, ret->len);
    mrd_buf_put_u32(writer, (uint32_t)len);
    return 0;
}

static int pad_open(const struct raft_buffer *buf, struct mrd_buf *reader)
{
    struct mrd_buf b = mrd_buf_reader(buf->base, buf->len);
    uint32_t len = mrd_buf_get_u32(&b);
    if (b.failed || len > mrd_buf_left(&b)) {
        return MRD_EFORMAT;
    }
    *reader = mrd_buf_reader((const uint8_t *)buf->base + 4, len);
    return 0;
}

/* ---- state machine, called by libraft ---- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct raft_node *n = fsm->data;
    struct mrd_txn *txn = malloc(sizeof(*txn));
    struct mrd_buf in;
    uint64_t revision = 0;

    if (txn == NULL) {
        return RAFT_NOMEM;
    }
    /* What does not decode changes nothing, here as on every other replica. */
    int rv = pad_open(buf, &in);
    if (rv == 0) {
        rv = mrd_txn_decode(&in, txn);
    }
    if (rv == 0) {
        rv = mrd_store_apply(n->store, txn, &revision);
    }
    free(txn);
    *result = (void *)(uintptr_t)(revision << 8 | (uint64_t)(-rv & 0xff));
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct raft_node *n = fsm->data;
    struct raft_buffer *buf = raft_malloc(sizeof(*buf));
    struct mrd_buf out;
    if (buf == NULL) {
        return RAFT_NOMEM;
    }
    if (pad_new(mrd_store_dump_size(n->store), buf, &out) != 0) {
        raft_free(buf);
        return RAFT_NOMEM;
    }
    mrd_assert(mrd_store_dump(n->store, &out) == 0);
    *bufs = buf;
    *n_bufs = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct raft_node *n = fsm->data;
    struct mrd_buf in;
    int rv = pad_open(buf, &in);
    if (rv == 0) {
        rv = mrd_store_restore(n->store, &in);
    }
    if (rv != 0) {
        log_event("event=store.damaged reason=\"%s\"", mrd_strerror(rv));
        return RAFT_MALFORMED;
    }
    raft_free(buf->base);
    n->events.restored(n->events.ctx);
    return 0;
}

/* ---- life ---- */

static int raft_problem(struct mrd_err *err, const char *doing, int rv, const char *text)
{
    mrd_err_set(err, MRD_EIO, "could not %s: %s (%s)", doing, raft_strerror(rv),
                text != NULL && *text != '\0' ? text : "no more is known");
    mrd_err_hint(err, rv == RAFT_NOSPACE
                          ? "Free some space under the raft directory, at least 8 MiB."
                          : "What is there may be damaged. A voter must not forget what it "
                            "acknowledged: do not just empty the directory.");
    return MRD_EIO;
}

static void set_timing(struct raft_node *n)
{
    raft_set_election_timeout(&n->raft, n->config->election_ms);
    raft_set_heartbeat_timeout(&n->raft, n->config->heartbeat_ms);
    raft_set_pre_vote(&n->raft, true);
    raft_set_max_inflight_entries(&n->raft, INFLIGHT_ENTRIES);
    raft_set_snapshot_threshold(&n->raft, SNAPSHOT_THRESHOLD);
    raft_set_snapshot_trailing(&n->raft, SNAPSHOT_TRAILING);
    raft_set_install_snapshot_timeout(&n->raft, 30000);
    /* A leader refuses entries while a majority has less than this allocated ahead. The default
     * is measured in segments of 8 MiB, which ours never reach. */
    raft_set_capacity_threshold(&n->raft, CAPACITY_KIB);
}

/* ---- between libraft and its connections ---- */

static struct raft_node *node_of(struct raft_io *io)
{
    return (struct raft_node *)((char *)io - offsetof(struct raft_node, io));
}

/* libraft sends its answers before this returns. */
static void on_message(struct raft_io *io, struct raft_message *message)
{
    struct raft_node *n = node_of(io);

    n->late = raft_late(&n->raft, message);
    n->receive(io, message);
    n->late = false;
}

static int io_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick,
                    raft_io_recv_cb receive)
{
    struct raft_node *n = node_of(io);

    n->receive = receive;
    return n->uv.start(io, ms, tick, on_message);
}

static int io_send(struct raft_io *io, struct raft_io_send *req,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct raft_node *n = node_of(io);
    struct raft_message mended = *message;

    raft_mend(&n->raft, n->late, &mended);
    return n->uv.send(io, req, &mended, cb);
}

static int init_io(struct raft_node *n, const char *dir, struct mrd_err *err)
{
    int rv = raft_uv_init(&n->io, n->loop, dir, &n->transport);
    if (rv != 0) {
        return raft_problem(err, "open the raft directory", rv, dir);
    }
    n->has_io = true;
    raft_uv_set_segment_size(&n->io, SEGMENT_BYTES);
    raft_uv_set_connect_retry_delay(&n->io, CONNECT_RETRY_MS);
    raft_uv_set_disk_retry(&n->io, DISK_RETRY_MS);
    raft_uv_set_auto_recovery(&n->io, false);
    n->uv = n->io;
    n->io.start = io_start;
    n->io.send = io_send;
    return 0;
}

int raft_node_new(uv_loop_t *loop, struct tls *tls, const struct mrd_config *config,
                  mrd_region self, const char *dir, struct mrd_store *store,
                  const struct raft_node_events *events, struct raft_node **ret,
                  struct mrd_err *err)
{
    struct raft_node *n = calloc(1, sizeof(*n));
    if (n == NULL) {
        return mrd_err_set(err, MRD_ENOMEM, "could not start the store: out of memory");
    }
    n->loop = loop;
    n->tls = tls;
    n->config = config;
    n->self = self;
    n->store = store;
    n->events = *events;
    n->transport = (struct raft_uv_transport){.version = 1,
                                              .impl = n,
                                              .init = transport_init,
                                              .listen = transport_listen,
                                              .connect = transport_connect,
                                              .close = transport_close};
    n->fsm = (struct raft_fsm){.version = 1,
                               .data = n,
                               .apply = fsm_apply,
                               .snapshot = fsm_snapshot,
                               .restore = fsm_restore};
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        mrd_err_set(err, MRD_EIO, "could not create directory \"%s\": %s", dir,
                    strerror(errno));
        free(n);
        return MRD_EIO;
    }
    int rv = init_io(n, dir, err);
    if (rv == 0) {
        rv =
            raft_init(&n->raft, &n->io, &n->fsm, (raft_id)self + 1, config->regions[self].name);
        if (rv != 0) {
            rv = raft_problem(err, "start the store", rv, raft_errmsg(&n->raft));
        } else {
            n->has_raft = true;
            set_timing(n);
        }
    }
    if (rv != 0) {
        raft_node_free(n);
        return rv;
    }
    *ret = n;
    return 0;
}

/* The first start of a region writes who votes; later it is on disk already. */
static int bootstrap(struct raft_node *n, struct mrd_err *err)
{
    struct raft_configuration voters;
    raft_configuration_init(&voters);
    int rv = 0;
    for (mrd_region i = 0; i < n->config->region_count && rv == 0; i++) {
        rv = raft_configuration_add(&voters, (raft_id)i + 1, n->config->regions[i].name,
                                    RAFT_VOTER);
    }
    if (rv == 0) {
        rv = raft_bootstrap(&n->raft, &voters);
    }
    raft_configuration_close(&voters);
    if (rv == 0) {
        log_event("event=store.created voters=%u", n->config->region_count);
    } else if (rv == RAFT_CANTBOOTSTRAP) {
        rv = 0;
    }
    return rv == 0 ? 0
                   : raft_problem(err, "prepare the raft directory", rv, raft_errmsg(&n->raft));
}

/* Ids are places in the configuration: a file that names others at them would mix up votes. */
static int check_voters(const struct raft_node *n, struct mrd_err *err)
{
    const struct raft_configuration *have = &n->raft.configuration;
    for (unsigned i = 0; i < have->n; i++) {
        raft_id id = have->servers[i].id;
        if (id == 0 || id > n->config->region_count ||
            strcmp(n->config->regions[id - 1].name, have->servers[i].address) != 0) {
            mrd_err_set(err, MRD_ECONFIG,
                        "region \"%s\" votes as number %llu but the configuration has another "
                        "there",
                        have->servers[i].address, id);
            mrd_err_hint(err, "Keep the order of regions; add new ones at the end.");
            return MRD_ECONFIG;
        }
    }
    if (have->n != n->config->region_count) {
        log_event("event=store.voters_differ stored=%u configured=%u", have->n,
                  n->config->region_count);
    }
    return 0;
}

int raft_node_start(struct raft_node *n, bool anew, struct mrd_err *err)
{
    unsigned seed;
    n->shut = anew;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        return mrd_err_set(err, MRD_EIO, "could not get random bytes: %s", strerror(errno));
    }
    int rv = anew ? 0 : bootstrap(n, err);
    if (rv != 0) {
        return rv;
    }
    raft_seed(&n->raft, seed);
    rv = raft_start(&n->raft);
    if (rv != 0) {
        return raft_problem(err, "load the raft directory", rv, raft_errmsg(&n->raft));
    }
    n->started = true;
    return anew ? 0 : check_voters(n, err);
}

void raft_node_admit(struct raft_node *n)
{
    n->shut = false;
}

/* ---- seats ---- */

/*
 * Why a region that lost its disk is taken out and let in again, when it could just be sent
 * everything: what the majority that it was part of committed may be held by one voter fewer
 * than a majority now, and with its empty log it would help to elect somebody who never had it.
 * Taking it out is an entry that a majority of the others commits, and with it everything
 * before. After that it may be asked again.
 */

static const struct raft_server *server_of(const struct raft_node *n, mrd_region region)
{
    for (unsigned i = 0; i < n->raft.configuration.n; i++) {
        if (n->raft.configuration.servers[i].id == (raft_id)region + 1) {
            return &n->raft.configuration.servers[i];
        }
    }
    return NULL;
}

bool raft_node_seat(const struct raft_node *n, mrd_region region, enum raft_seat *ret)
{
    const struct raft_server *s;

    if (!raft_node_leads(n) || n->changing || n->raft.configuration_uncommitted_index != 0) {
        return false;
    }
    s = server_of(n, region);
    *ret = s == NULL               ? RAFT_SEAT_NONE
           : s->role == RAFT_VOTER ? RAFT_SEAT_VOTES
                                   : RAFT_SEAT_LEARNS;
    return true;
}

static void on_changed(struct raft_change *req, int status)
{
    struct raft_node *n = req->data;
    n->changing = false;
    if (status != 0 && !n->stopping) {
        log_event("event=store.seat_unchanged reason=\"%s\"", raft_strerror(status));
    }
}

void raft_node_reseat(struct raft_node *n, mrd_region region, bool out)
{
    enum raft_seat seat;
    raft_id id = (raft_id)region + 1;
    int rv;

    if (!raft_node_seat(n, region, &seat) || region == n->self) {
        return;
    }
    n->change.data = n;
    if (out) {
        rv = seat == RAFT_SEAT_NONE ? RAFT_BADID
                                    : raft_remove(&n->raft, &n->change, id, on_changed);
    } else if (seat == RAFT_SEAT_NONE) {
        rv = raft_add(&n->raft, &n->change, id, n->config->regions[region].name, on_changed);
    } else {
        rv = raft_assign(&n->raft, &n->change, id, RAFT_VOTER, on_changed);
    }
    n->changing = rv == 0;
}

/* ---- use ---- */

static void on_applied(struct raft_apply *req, int status, void *result)
{
    struct proposal *p = (struct proposal *)req;
    int code = 0;
    uint64_t revision = 0;
    if (status == 0) {
        uintptr_t packed = (uintptr_t)result;
        code = -(int)(packed & 0xff);
        revision = packed >> 8;
    } else {
        /* It was in our log: others may have it and may commit it yet. */
        code = MRD_ETIMEDOUT;
    }
    p->done(p->ctx, code, revision);
    free(p);
}

int raft_node_propose(struct raft_node *n, const uint8_t *data, size_t len,
                      raft_node_done_fn done, void *ctx)
{
    struct raft_buffer buf;
    struct mrd_buf out, in = mrd_buf_reader(data, len);

    if (!raft_node_leads(n)) {
        return MRD_EUNAVAILABLE;
    }
    struct mrd_txn *txn = malloc(sizeof(*txn));
    if (txn == NULL) {
        return MRD_ENOMEM;
    }
    int rv = len > MRD_TXN_MAX ? MRD_ETOOBIG : mrd_txn_decode(&in, txn);
    free(txn);
    if (rv != 0) {
        return rv;
    }
    struct proposal *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return MRD_ENOMEM;
    }
    p->done = done;
    p->ctx = ctx;
    if (pad_new(len, &buf, &out) != 0) {
        free(p);
        return MRD_ENOMEM;
    }
    mrd_buf_put_bytes(&out, data, len);
    rv = raft_apply(&n->raft, &p->req, &buf, 1, on_applied);
    if (rv != 0) {
        unsigned held;
        if (log_repeat_pass(&n->refused, clock_boot_ns(), &held)) {
            log_event("event=store.refused reason=\"%s\" detail=\"%s\" repeated=%u",
                      raft_strerror(rv), raft_errmsg(&n->raft), held);
        }
        raft_free(buf.base);
        free(p);
        return MRD_EUNAVAILABLE;
    }
    return 0;
}

bool raft_node_leads(const struct raft_node *n)
{
    struct raft *r = (struct raft *)&n->raft; /* libraft's getters take it non-const */
    return n->started && !n->stopping && raft_state(r) == RAFT_LEADER &&
           raft_transferee(r) == 0;
}

mrd_region raft_node_leader(const struct raft_node *n)
{
    raft_id id = 0;
    const char *address = NULL;
    if (!n->started || n->stopping) {
        return MRD_REGION_NONE;
    }
    raft_leader((struct raft *)&n->raft, &id, &address);
    return id > 0 && id <= n->config->region_count ? (mrd_region)(id - 1) : MRD_REGION_NONE;
}

uint64_t raft_node_term(const struct raft_node *n)
{
    return n->started ? raft_current_term(&n->raft) : 0;
}

static void on_transferred(struct raft_transfer *req)
{
    struct raft_node *n = req->data;
    n->transferring = false;
}

void raft_node_transfer(struct raft_node *n, mrd_region to)
{
    if (!raft_node_leads(n) || n->transferring || to == n->self) {
        return;
    }
    n->transfer.data = n;
    if (raft_transfer(&n->raft, &n->transfer, (raft_id)to + 1, on_transferred) == 0) {
        n->transferring = true;
        log_event("event=store.handover to=%s", n->config->regions[to].name);
    }
}

void raft_node_tick(struct raft_node *n)
{
    if (!n->started || n->stopping) {
        return;
    }
    if (!n->broken && raft_state(&n->raft) == RAFT_UNAVAILABLE) {
        n->broken = true;
        n->events.broken(n->events.ctx, raft_errmsg(&n->raft));
        return;
    }
    bool leads = raft_node_leads(n);
    if (leads != n->led) {
        n->led = leads;
        n->events.leadership(n->events.ctx, leads);
    }
}

static void on_raft_closed(struct raft *r)
{
    struct raft_node *n = r->data;
    n->has_raft = false;
    n->stopped(n->stopped_ctx);
}

void raft_node_stop(struct raft_node *n, void (*done)(void *ctx), void *ctx)
{
    n->stopping = true;
    n->stopped = done;
    n->stopped_ctx = ctx;
    n->raft.data = n;
    raft_close(&n->raft, on_raft_closed);
}

void raft_node_free(struct raft_node *n)
{
    if (n == NULL) {
        return;
    }
    if (n->has_io && !n->has_raft) {
        raft_uv_close(&n->io);
    }
    free(n);
}
