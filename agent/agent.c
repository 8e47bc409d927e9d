/*
 * The region's daemon: core's decisions joined to the world.
 *
 * Everything runs on one loop. A tick every 50 ms, and every change of the store or of what
 * PostgreSQL said, leads to one round: measure, then do what the node (mrd/node.h) says, in
 * that order: publish the snapshot, start what is due in PostgreSQL, propose. What is decided,
 * and when, is core's; this file carries it out.
 *
 * The lease. A renewal's time is taken before the round that sends it; the deadline moves only
 * when our own store applies that renewal (mrd_region_observe). Three things end it early: a
 * broken store, a full disk under the store (no more renewals), and a broken invariant, after
 * which a last snapshot without a lease is published and the process stops.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <load.h>

#include "agent_config.h"
#include "anew.h"
#include "api.h"
#include "documents.h"
#include "log.h"
#include "problems.h"

#define MS UINT64_C(1000000)
#define TICK_MS 50
#define DISK_NS (500 * MS)
#define DISK_FULL_BYTES (3 * UINT64_C(1048576)) /* three of libraft's segments */
#define DISK_FREE_BYTES (5 * UINT64_C(1048576))
#define STOP_MS 3000
#define EVENT_FRESH_MS 30000

static struct agent *running; /* for mrd_panic only */

/* ---- proposals ---- */

struct sent {
    agent_done_fn done;
    void *ctx;
};

static void on_remote_result(void *ctx, int code, const uint8_t *payload, size_t len)
{
    struct sent *s = ctx;
    uint64_t revision = 0;
    if (code == 0) {
        struct mrd_buf b = mrd_buf_reader(payload, len);
        code = (int)mrd_buf_get_u32(&b);
        revision = mrd_buf_get_u64(&b);
        if (!mrd_buf_done(&b) || code > 0) {
            code = MRD_ETIMEDOUT; /* no answer that we understand: anything may have happened */
        }
    }
    s->done(s->ctx, code, revision);
    free(s);
}

static void on_local_result(void *ctx, int code, uint64_t revision)
{
    struct sent *s = ctx;
    s->done(s->ctx, code, revision);
    free(s);
}

int agent_propose(struct agent *a, const struct mrd_proposal *p, agent_done_fn done, void *ctx)
{
    struct mrd_buf out = mrd_buf_writer(a->encoded, MRD_TXN_MAX);
    mrd_region leader = raft_node_leader(a->raft);
    int rv = mrd_txn_encode(&p->txn, &out);
    if (rv != 0) {
        return rv;
    }
    if (leader == MRD_REGION_NONE) {
        return MRD_EUNAVAILABLE;
    }
    struct sent *s = malloc(sizeof(*s));
    if (s == NULL) {
        return MRD_ENOMEM;
    }
    *s = (struct sent){done, ctx};
    rv = leader == a->self ? raft_node_propose(a->raft, a->encoded, out.pos, on_local_result, s)
                           : rpc_call(a->rpc, leader, RPC_PROPOSE, a->encoded, out.pos,
                                      MRD_NODE_FLIGHT_MS, on_remote_result, s);
    if (rv != 0) {
        free(s);
    }
    return rv;
}

/* A proposal of the node, on its way. */
struct flight {
    struct agent *a;
    enum mrd_flight_role role;
    uint64_t id;
};

static void on_flight_result(void *ctx, int code, uint64_t revision)
{
    struct flight *f = ctx;
    mrd_node_answer(&f->a->node, f->role, f->id, code, revision, clock_boot_ns());
    free(f);
}

static void fly(struct agent *a, const struct mrd_node_act *act)
{
    struct flight *f = malloc(sizeof(*f));
    int rv = MRD_ENOMEM;

    if (f != NULL) {
        *f = (struct flight){a, act->role, act->flight};
        rv = agent_propose(a, &a->node.proposal, on_flight_result, f);
    }
    if (rv != 0) {
        free(f);
        mrd_node_answer(&a->node, act->role, act->flight, rv, 0, clock_boot_ns());
    }
}

static void complain_proposal(struct agent *a, const struct mrd_node_act *act)
{
    static const char *const roles[] = {"barrier", "region", "duty", "coordinator"};
    unsigned held;

    _Static_assert(sizeof(roles) / sizeof(*roles) == MRD_FLIGHTS, "every role has a name");
    if (log_repeat_pass(&a->failed[act->role], clock_boot_ns(), &held)) {
        log_event("event=store.proposal_failed role=%s reason=\"%s\" repeated=%u",
                  roles[act->role], mrd_strerror(act->code), held);
    }
}

/* ---- what the store tells ---- */

static json_t *receipts_now(void *ctx)
{
    json_t *all = document_receipts(ctx);
    json_t *rows = json_incref(json_object_get(all, "receipts"));
    json_decref(all);
    return rows;
}

/* The store holds the deployment's configuration as text. A region whose own file says
 * something else goes on, because what it holds it holds rightly, but it says so. */
static void observe_config(struct agent *a, const struct mrd_entry *e)
{
    struct mrd_config *stored = malloc(sizeof(*stored));
    struct mrd_conf_errors *errors = calloc(1, sizeof(*errors));
    bool differs = e->len != a->config_len || memcmp(e->value, a->config_text, e->len) != 0;

    if (stored != NULL && errors != NULL &&
        mrd_config_parse((const char *)e->value, e->len, stored, errors) == 0) {
        mrd_node_config(&a->node, e->revision, &stored->version);
    } else {
        mrd_node_config(&a->node, e->revision, NULL);
        log_event("event=config.unreadable revision=%" PRIu64 " reason=\"%s\"", e->revision,
                  errors != NULL && errors->count > 0 ? errors->errors[0].text : "no memory");
    }
    free(stored);
    free(errors);
    if (differs != a->config_differs) {
        a->config_differs = differs;
        log_event("event=config.%s own_version=%" PRIu64 " stored_version=%" PRId64,
                  differs ? "differs" : "agrees", a->config->version,
                  (int64_t)a->node.config_stored_version);
    }
}

static void observe_entry(struct agent *a, const struct mrd_entry *e, mrd_boot_ns now_ns)
{
    mrd_node_observe(&a->node, e, now_ns);
    if (strcmp(e->key, "config") == 0 && e->value != NULL) {
        observe_config(a, e);
    } else if (strncmp(e->key, "receipt/", 8) == 0 && a->pg != NULL) {
        pgwork_receipts(a->pg, receipts_now, a);
    }
}

/* Audit events are logged by every region, but not again when an old log is replayed. */
static void log_audit(const struct mrd_entry *e)
{
    char text[512];
    unsigned long long at_ms;
    int head = 0;
    if (strncmp(e->key, "event/", 6) != 0 || e->value == NULL) {
        return;
    }
    snprintf(text, sizeof(text), "%.*s", (int)(e->len < sizeof(text) ? e->len : 500),
             (const char *)e->value);
    if (sscanf(text, "at_ms=%llu %n", &at_ms, &head) == 1 && head > 0 &&
        clock_wall_ms() < at_ms + EVENT_FRESH_MS) {
        log_event("%s", text + head);
    }
}

static void on_store_change(void *ctx, const struct mrd_entry *e)
{
    struct agent *a = ctx;
    observe_entry(a, e, clock_boot_ns());
    log_audit(e);
}

static int observe_scanned(void *ctx, const struct mrd_entry *e)
{
    struct agent *a = ctx;
    observe_entry(a, e, clock_boot_ns());
    return 0;
}

static void on_restored(void *ctx)
{
    struct agent *a = ctx;
    mrd_store_scan(a->store, "", observe_scanned, a);
}

static void on_leadership(void *ctx, bool leads)
{
    struct agent *a = ctx;
    mrd_node_lead(&a->node, leads, clock_boot_ns());
    log_event("event=store.%s term=%" PRIu64, leads ? "leading" : "following",
              raft_node_term(a->raft));
}

/* ---- giving up ---- */

/* The last word of an agent that cannot go on: writes stop now, not at the lease's end. */
static void give_up_lease(struct agent *a)
{
    if (a->file.map != NULL && a->node.published_ns != 0) {
        a->node.snapshot.lease_deadline_ns = 0;
        publish_write(&a->file, &a->node.snapshot);
    }
}

static void on_panic(const char *expr, const char *file, int line)
{
    log_event("event=agent.broken_invariant expr=\"%s\" file=%s line=%d", expr, file, line);
    if (running != NULL) {
        struct agent *a = running;
        running = NULL; /* publishing may itself find something broken */
        give_up_lease(a);
    }
    abort();
}

static void stop(struct agent *a, int status);

static void on_broken(void *ctx, const char *reason)
{
    struct agent *a = ctx;
    log_event("event=store.broken reason=\"%s\"", reason);
    give_up_lease(a);
    stop(a, 1);
}

/* ---- measuring ---- */

static void fill_report(struct agent *a)
{
    struct mrd_session_record *r = &a->node.local.report;
    for (unsigned i = 0; i < r->peer_count; i++) {
        observe_fill(a->observe, (mrd_region)mrd_config_region(a->config, r->peers[i].region),
                     &r->peers[i]);
    }
    r->wall_ms = clock_wall_ms();
    r->ready |= MRD_SEES_AGENT;
    if (a->pg == NULL) {
        r->boot_ms = clock_boot_ns() / MS;
    } else if (observe_own_edge(a->observe)) {
        r->ready |= MRD_SEES_EDGE;
    } else {
        r->ready = (uint8_t)(r->ready & ~MRD_SEES_EDGE);
    }
}

/* libraft waits for space without an end. A region that cannot keep its log must not go on
 * renewing a lease on the others' word. */
static void check_disk(struct agent *a, mrd_boot_ns now_ns)
{
    char path[1200];
    struct statvfs st;
    if (now_ns < a->disk_next_ns) {
        return;
    }
    a->disk_next_ns = now_ns + DISK_NS;
    snprintf(path, sizeof(path), "%s/raft", a->opt->state_dir);
    if (statvfs(path, &st) != 0) {
        return;
    }
    uint64_t left = (uint64_t)st.f_bavail * st.f_frsize;
    bool full = left < (a->store_full ? DISK_FREE_BYTES : DISK_FULL_BYTES);
    if (full != a->store_full) {
        a->store_full = full;
        log_event("event=store.%s free_bytes=%" PRIu64, full ? "disk_full" : "disk_free", left);
    }
}

/* ---- the round ---- */

static void note_lease(struct agent *a)
{
    if (a->node.lease_held != a->lease_held) {
        a->lease_held = a->node.lease_held;
        log_event("event=lease.%s session=%" PRIu64, a->lease_held ? "held" : "ended",
                  a->node.region.session);
    }
}

static void publish(struct agent *a)
{
    publish_write(&a->file, &a->node.snapshot);
    mrd_node_published(&a->node, clock_boot_ns());
    if (a->pg != NULL) {
        pgwork_published(a->pg);
    }
}

static void carry_out(struct agent *a, const struct mrd_node_act *act)
{
    switch (act->kind) {
    case MRD_DO_NOTHING:
        break;
    case MRD_DO_COMPLAIN:
        complain_proposal(a, act);
        break;
    case MRD_DO_PUBLISH:
        publish(a);
        break;
    case MRD_DO_DUTIES:
        pgwork_duties(a->pg);
        break;
    case MRD_DO_PROPOSE:
        fly(a, act);
        break;
    case MRD_DO_HAND_OVER:
        raft_node_transfer(a->raft, act->to);
        break;
    }
}

static void decide(struct agent *a)
{
    struct mrd_node_act act;
    struct mrd_node_now now = {.leader = raft_node_leader(a->raft),
                               .leads = raft_node_leads(a->raft),
                               .store_full = a->store_full};
    fill_report(a);
    now.boot_ns = clock_boot_ns();
    now.wall_ms = clock_wall_ms();
    mrd_node_begin(&a->node, &now);
    while (mrd_node_next(&a->node, &act)) {
        carry_out(a, &act);
    }
    note_lease(a);
    if (a->api != NULL) {
        api_settle(a->api);
    }
}

static void on_tick(uv_timer_t *t)
{
    struct agent *a = t->data;
    mrd_boot_ns now_ns = clock_boot_ns();
    if (a->stopping) {
        return;
    }
    raft_node_tick(a->raft); /* first: it says who leads */
    if (a->stopping) {
        return;
    }
    rpc_tick(a->rpc, now_ns);
    anew_tick(a, now_ns);
    observe_tick(a->observe, now_ns);
    supervise_tick(a->guests, now_ns);
    if (a->pg != NULL) {
        pgwork_tick(a->pg, now_ns);
    }
    lag_tick(a, now_ns);
    clocks_tick(a, now_ns);
    told_tick(a, now_ns);
    check_disk(a, now_ns);
    decide(a);
}

/* Runs after each turn's input: what changed is acted upon at once. */
static void on_check(uv_check_t *c)
{
    struct agent *a = c->data;
    if (a->node.dirty && !a->stopping) {
        decide(a);
    }
}

/* ---- peers ---- */

static void on_accept(void *ctx, struct tls_conn *c, enum tls_use use, mrd_region peer)
{
    struct agent *a = ctx;
    if (a->stopping || peer == a->self) {
        tls_close(c, a->stopping ? "stopping" : "it is ourselves");
    } else if (use == TLS_RAFT) {
        raft_node_accept(a->raft, c, peer);
    } else {
        rpc_accept(a->rpc, c, peer);
    }
}

struct forwarded {
    struct agent *a;
    uint64_t token;
};

static void on_forwarded_result(void *ctx, int code, uint64_t revision)
{
    struct forwarded *f = ctx;
    rpc_result(f->a->rpc, f->token, code, revision);
    free(f);
}

static void on_peer_proposal(void *ctx, mrd_region peer, const uint8_t *data, size_t len,
                             uint64_t token)
{
    struct agent *a = ctx;
    struct forwarded *f = malloc(sizeof(*f));
    int rv = MRD_ENOMEM;
    (void)peer;
    if (f != NULL) {
        *f = (struct forwarded){a, token};
        rv = raft_node_propose(a->raft, data, len, on_forwarded_result, f);
    }
    if (rv != 0) {
        free(f);
        rpc_result(a->rpc, token, rv, 0);
    }
}

static void on_peer_anew(void *ctx, mrd_region peer, uint64_t life, uint64_t token)
{
    anew_asked(ctx, peer, life, token);
}

static uint8_t ping_flags(void *ctx)
{
    const struct agent *a = ctx;
    unsigned flags = (raft_node_leads(a->raft) ? RPC_FLAG_LEADER : 0) |
                     (a->pg != NULL && pgwork_answers(a->pg) ? RPC_FLAG_READY : 0);
    return (uint8_t)flags;
}

/* ---- for the API ---- */

uint64_t agent_lease_left_ms(const struct agent *a, mrd_boot_ns now_ns)
{
    mrd_boot_ns deadline_ns = a->node.region.deadline_ns;
    return deadline_ns > now_ns ? (deadline_ns - now_ns) / MS : 0;
}

static void say_waiting(const struct agent *a, json_t *problems)
{
    for (unsigned i = 0; i < a->config->region_count; i++) {
        char key[MRD_KEY_MAX];
        struct mrd_approval_record r;
        struct mrd_entry e;
        struct mrd_buf b;
        snprintf(key, sizeof(key), "approval/%s", a->config->regions[i].name);
        if (mrd_store_get(a->store, key, &e) != 0) {
            continue;
        }
        b = mrd_buf_reader(e.value, e.len);
        if (mrd_approval_record_decode(&b, &r) == 0 && r.state == MRD_APPROVAL_PENDING) {
            problem(problems,
                    "a promotion away from \"%s\" waits for approval, %u of %u given: meridian "
                    "approve %" PRIx64,
                    r.region, r.given, r.needed, r.id);
        }
    }
}

unsigned agent_voters_reached(const struct agent *a)
{
    unsigned n = 0;
    for (unsigned i = 0; i < a->config->region_count; i++) {
        struct mrd_peer_report probe = {0};
        if (i != a->self) {
            observe_fill(a->observe, (mrd_region)i, &probe);
        }
        n += i == a->self || (probe.reachable & MRD_SEES_AGENT) != 0;
    }
    return n;
}

static void say_leaderless(const struct agent *a, json_t *problems)
{
    unsigned reached = agent_voters_reached(a), voters = a->config->region_count;

    if (2 * reached > voters) {
        problem(problems,
                "this region knows of no leader of the store (%u of %u voters reached: an "
                "election is under way, or it is cut off one way)",
                reached, voters);
    } else {
        problem(problems,
                "this region reaches %u of %u voters, itself included, and no leader of the "
                "store: nothing can be decided here",
                reached, voters);
    }
}

json_t *agent_problems(const struct agent *a)
{
    json_t *problems = json_array();
    bool silent = a->pg != NULL && !pgwork_answers(a->pg);
    struct guest_disk disk;

    supervise_disk(a->guests, &disk);
    /* One sentence for one disk: PostgreSQL's, when there is something to say of it. */
    if (a->store_full && !(disk.under_store && (silent || !disk.runs))) {
        problem(problems, "the disk under the store is full: no lease is renewed");
    }
    if (a->config_rejected) {
        problem(problems,
                "this region's configuration file is refused; version %" PRIu64
                ", the last good one, stands: meridian config check %s",
                a->config->version, a->opt->config_path);
    }
    if (a->config_differs) {
        problem(problems, "%s",
                a->node.config_stored_version == UINT64_MAX
                    ? "the deployment's configuration cannot be read by this version"
                    : "this region's configuration file is not the deployment's");
    }
    if (raft_node_leader(a->raft) == MRD_REGION_NONE) {
        say_leaderless(a, problems);
    } else if (!a->node.caught_up) {
        problem(problems, "this agent is still reading what was decided before it began");
    }
    say_waiting(a, problems);
    lag_problems(a, problems);
    clocks_problems(a, problems);
    anew_problems(a, problems);
    supervise_problems(a->guests, problems);
    if (a->pg != NULL) {
        pgwork_problems(a->pg, disk.runs ? disk.text : "", problems);
    }
    return problems;
}

/* ---- life ---- */

static void on_walk(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h)) {
        uv_unref(h);
    }
}

static void on_raft_stopped(void *ctx)
{
    struct agent *a = ctx;
    tls_stop(a->tls);
    uv_close((uv_handle_t *)&a->tick, NULL);
    uv_close((uv_handle_t *)&a->check, NULL);
    uv_close((uv_handle_t *)&a->sigterm, NULL);
    uv_close((uv_handle_t *)&a->sigint, NULL);
}

static void on_stop_late(uv_timer_t *t)
{
    struct agent *a = t->data;
    log_event("event=agent.stopped status=%d late=yes", a->exit_status);
    _exit(a->exit_status);
}

static void stop(struct agent *a, int status)
{
    if (a->stopping) {
        return;
    }
    a->stopping = true;
    a->exit_status = status;
    log_event("event=agent.stopping");
    /* A disk that answers no more must not keep us here. */
    uv_timer_start(&a->tick, on_stop_late, STOP_MS, 0);
    api_stop(a->api);
    rpc_stop(a->rpc);
    observe_stop(a->observe);
    supervise_stop(a->guests);
    pgwork_free(a->pg);
    a->pg = NULL;
    raft_node_stop(a->raft, on_raft_stopped, a);
}

static void on_signal(uv_signal_t *s, int signum)
{
    (void)signum;
    stop(s->data, 0);
}

static int complain(const struct mrd_err *err)
{
    fprintf(stderr, "meridian agent: %s\n", err->text);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "hint: %s\n", err->hint);
    }
    return 1;
}

/* With the directories above it. */
static int make_dir(const char *path, mode_t mode)
{
    char part[1200];
    for (const char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
        mkdir(part, 0755); /* the last one says what is wrong */
    }
    if (mkdir(path, mode) != 0 && errno != EEXIST) {
        fprintf(stderr, "meridian agent: could not create directory \"%s\": %s\n", path,
                strerror(errno));
        return -1;
    }
    return 0;
}

/* One agent per state directory. The descriptor stays open, and is not inherited. */
static int lock_state(const char *state_dir)
{
    char path[1200];
    snprintf(path, sizeof(path), "%s/agent.lock", state_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        fprintf(stderr, "meridian agent: could not lock \"%s\": %s\n", path,
                fd >= 0 && errno == EWOULDBLOCK ? "another agent runs here" : strerror(errno));
        return -1;
    }
    return 0;
}

static void init_state(struct agent *a)
{
    struct mrd_session_record *r = &a->node.local.report;
    a->started_ns = clock_boot_ns();
    mrd_node_init(&a->node, a->config, a->store, a->self);
    a->node.config_text = (const uint8_t *)a->config_text;
    a->node.config_len = a->config_len;
    r->agent_pid = (uint64_t)getpid();
    for (mrd_region i = 0; i < a->config->region_count; i++) {
        if (i != a->self) {
            snprintf(r->peers[r->peer_count++].region, MRD_NAME_MAX, "%s",
                     a->config->regions[i].name);
        }
    }
    mrd_store_watch(a->store, on_store_change, a);
    /* From the future is from before a reboot: its clock began anew. */
    if (publish_last(&a->file, &a->node.snapshot) &&
        a->node.snapshot.published_ns <= a->started_ns) {
        mrd_node_inherit(&a->node);
    }
}

static void on_line(void *ctx, const char *line)
{
    told_take(ctx, line);
}

static bool has_room(void *ctx)
{
    return told_has_room(ctx);
}

static int open_parts(struct agent *a, struct mrd_err *err)
{
    const struct agent_options *o = a->opt;
    const struct mrd_conf_region *self = &a->config->regions[a->self];
    const struct raft_node_events raft_events = {on_restored, on_leadership, on_broken, a};
    const struct rpc_handlers handlers = {on_peer_proposal, on_peer_anew, ping_flags, a};
    const struct pgwork_options pg = {.socket_dir = o->socket_dir,
                                      .certs_dir = o->certs_dir,
                                      .user = o->user,
                                      .create = (o->guests.manage & GUEST_PG) != 0,
                                      .told = on_line,
                                      .tellable = has_room,
                                      .told_ctx = a};
    struct supervise_options guests = o->guests;
    char path[1200];
    int rv;

    guests.cluster = anew_cluster;
    guests.cluster_ctx = a;
    if (getrandom(a->node.coordinator.seed, sizeof(a->node.coordinator.seed), 0) !=
        (ssize_t)sizeof(a->node.coordinator.seed)) {
        return mrd_err_set(err, MRD_EIO, "could not get random bytes: %s", strerror(errno));
    }
    snprintf(path, sizeof(path), "%s/snapshot", o->run_dir);
    if ((rv = publish_open(&a->file, path, err)) != 0 ||
        (rv = tls_new(&a->loop, o->certs_dir, a->config, a->self, &a->tls, err)) != 0) {
        return rv;
    }
    init_state(a);
    snprintf(path, sizeof(path), "%s/raft", o->state_dir);
    if ((rv = raft_node_new(&a->loop, a->tls, a->config, a->self, path, a->store, &raft_events,
                            &a->raft, err)) != 0 ||
        (rv = supervise_new(&a->loop, a->config, a->self, &guests, &a->guests, err)) != 0) {
        return rv;
    }
    a->rpc = rpc_new(&a->loop, a->tls, a->config, a->self, &handlers);
    if (a->rpc != NULL) {
        a->observe = observe_new(&a->loop, a->tls, a->rpc, a->config, a->self, o->certs_dir);
    }
    if (a->observe == NULL ||
        (!self->witness && pgwork_new(&a->loop, &a->node, &pg, &a->pg) != 0)) {
        return mrd_err_set(err, MRD_ENOMEM, "could not start: out of memory");
    }
    if ((rv = api_new(a, &a->api, err)) != 0 ||
        (rv = tls_listen(a->tls, o->bind != NULL ? o->bind : self->agent_host, self->agent_port,
                         on_accept, a, err)) != 0) {
        return rv;
    }
    return raft_node_start(a->raft, a->life != 0, err);
}

static void start_loop(struct agent *a)
{
    uv_timer_init(&a->loop, &a->tick);
    uv_check_init(&a->loop, &a->check);
    uv_signal_init(&a->loop, &a->sigterm);
    uv_signal_init(&a->loop, &a->sigint);
    a->tick.data = a->check.data = a->sigterm.data = a->sigint.data = a;
    uv_timer_start(&a->tick, on_tick, 0, TICK_MS);
    uv_check_start(&a->check, on_check);
    uv_signal_start(&a->sigterm, on_signal, SIGTERM);
    uv_signal_start(&a->sigint, on_signal, SIGINT);
}

static void agent_free(struct agent *a)
{
    mrd_store_free(a->store);
    free(a->config);
    free(a->config_text);
    free(a->encoded);
    running = NULL;
    free(a);
}

int agent_run(const struct agent_options *options)
{
    struct agent *a = calloc(1, sizeof(*a));
    struct mrd_err err = {0};

    signal(SIGPIPE, SIG_IGN);
    if (a == NULL) {
        return 1;
    }
    a->opt = options;
    a->store = mrd_store_new();
    a->encoded = malloc(MRD_TXN_MAX);
    if (a->store == NULL || a->encoded == NULL || agent_config_load(a) != 0 ||
        make_dir(options->state_dir, 0700) != 0 || make_dir(options->run_dir, 0755) != 0 ||
        lock_state(options->state_dir) != 0 || anew_load(a) != 0) {
        agent_free(a);
        return 1;
    }
    agent_config_keep(a);
    uv_loop_init(&a->loop);
    if (open_parts(a, &err) != 0) {
        return complain(&err);
    }
    running = a;
    mrd_panic_set(on_panic);
    log_event("event=agent.started region=%s pid=%ld config_version=%" PRIu64, options->region,
              (long)getpid(), a->config->version);
    start_loop(a);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    uv_walk(&a->loop, on_walk, NULL);

    int status = a->exit_status;
    api_free(a->api);
    observe_free(a->observe);
    rpc_free(a->rpc);
    raft_node_free(a->raft);
    supervise_free(a->guests);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    tls_free(a->tls);
    publish_close(&a->file);
    agent_free(a);
    log_event("event=agent.stopped status=%d", status);
    return status;
}
