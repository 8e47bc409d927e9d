/*
 * Calls to the extension, on a timetable (pgwork.h).
 *
 * Fitting out is a chain of statements that starts whenever the status link connects and ends
 * with meridian.configure; it is idempotent and is tried again a second after it failed. The
 * canary runs from the moment that it succeeded once, so that a region whose extension is not
 * in place holds no lease.
 */
#include "pgwork.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pgwork_config.h"
#include "problems.h"
#include "text.h"

#define STATUS_NS (100 * UINT64_C(1000000))
#define STATUS_MS 3000
#define CONNECT_MS 2000
#define FIT_MS 60000
#define FIT_RETRY_NS (1000 * UINT64_C(1000000))
#define DRAIN_WAIT_MS 1000u
#define GONE                                                                                   \
    "the extension is gone from the database of a region that was in service; what was "       \
    "written since is in no other region; begin again with: meridian anew"

/* One call to drain or promote. */
struct duty_call {
    struct pgwork *w;
    unsigned partition;
    struct mrd_duty duty;
    bool busy;
};

struct pgwork {
    uv_loop_t *loop;
    const struct mrd_config *config;
    mrd_region self;
    uint64_t lost_slots[MRD_REGIONS_MAX]; /* as agent_status last counted them */
    struct pgwork_options opt;
    struct mrd_node *node;
    struct mrd_local *local; /* the node's */

    struct pglink *maker; /* to the database "postgres", while ours is not known to be there */
    struct pglink *canary, *status, *work, *people;
    bool made, fit, fitting;
    bool gone; /* the extension, from a database that was written with it */
    uint64_t fit_try_ns, made_try_ns;

    bool answers;
    bool canary_busy, status_busy, receipts_busy, audit_busy; /* asked, not yet answered */
    mrd_boot_ns canary_next_ns, canary_sent_ns;
    uint64_t canary_boot_ms;
    char canary_error[TEXT_REASON]; /* why it failed, empty after it succeeded */
    bool canary_full;               /* it failed for want of space, and says so */
    char fit_error[TEXT_REASON];    /* why the database could not be made fit */
    mrd_boot_ns status_next_ns, status_sent_ns;
    struct duty_call calls[MRD_PARTITIONS_MAX];
    struct again_call {
        struct pgwork *w;
        mrd_region origin;
        bool busy;
        mrd_boot_ns next_ns;
    } again[MRD_REGIONS_MAX]; /* streams that begin again */
    json_t *last;
    json_t *(*make_receipts)(void *ctx); /* NULL: PostgreSQL has them all */
    void *receipts_ctx;
    mrd_boot_ns receipts_next_ns;
    struct log_repeat canary_log, late_log, fit_log, status_log, duty_log;
};

/* "0/16B3748" as a number; false when it is none. */
static bool take_lsn(const char *text, mrd_lsn *ret)
{
    uint32_t hi, lo;
    char more;
    if (text == NULL || sscanf(text, "%8" SCNx32 "/%8" SCNx32 "%c", &hi, &lo, &more) != 2) {
        return false;
    }
    *ret = (mrd_lsn)hi << 32 | lo;
    return true;
}

static void log_failure(struct log_repeat *r, const char *what, const char *error)
{
    unsigned held;
    if (log_repeat_pass(r, clock_boot_ns(), &held)) {
        log_event("event=postgres.failed call=%s reason=\"%s\" repeated=%u", what, error, held);
    }
}

/* @error, and what PostgreSQL advises against it. */
static void keep_reason(char out[TEXT_REASON], const PGresult *res, const char *error)
{
    const char *hint = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_HINT) : NULL;
    char text[2 * TEXT_REASON];

    snprintf(text, sizeof(text), "%s%s%s", error, hint != NULL ? ". " : "",
             hint != NULL ? hint : "");
    text_keep(out, TEXT_REASON, text);
}

/* A step on the way to a database that is fit. */
static void unfit(struct pgwork *w, const char *what, const PGresult *res, const char *error)
{
    log_failure(&w->fit_log, what, error);
    keep_reason(w->fit_error, res, error);
}

/* ---- making the database ---- */

static void quote_ident(char *out, size_t cap, const char *name)
{
    size_t n = 0;
    out[n++] = '"';
    for (const char *p = name; *p != '\0' && n + 3 < cap; p++) {
        if (*p == '"') {
            out[n++] = '"';
        }
        out[n++] = *p;
    }
    out[n++] = '"';
    out[n] = '\0';
}

static void on_made(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    /* 42P04: the database is there already. */
    if (error != NULL && (state == NULL || strcmp(state, "42P04") != 0)) {
        unfit(w, "create_database", res, error);
        return;
    }
    w->made = true;
}

static void on_role(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    if (error != NULL) {
        unfit(w, "create_role", res, error);
    }
}

static void on_found(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    char name[2 * MRD_NAME_MAX + 3], sql[256];
    if (error != NULL) {
        unfit(w, "find_database", res, error);
    } else if (PQntuples(res) > 0) {
        w->made = true;
    } else {
        quote_ident(name, sizeof(name), w->config->regions[w->self].db_name);
        snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
        pglink_query(w->maker, sql, 0, NULL, FIT_MS, on_made, w);
    }
}

static void make_database(struct pgwork *w, uint64_t now_ns)
{
    static const char role[] =
        "DO $$BEGIN"
        " IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'meridian') THEN"
        "  CREATE ROLE meridian LOGIN REPLICATION IN ROLE pg_read_all_data;"
        " END IF; END$$";
    const char *name = w->config->regions[w->self].db_name;
    pglink_tick(w->maker, now_ns);
    if (!pglink_ready(w->maker) || now_ns < w->made_try_ns || pglink_queued(w->maker) > 0) {
        return;
    }
    w->made_try_ns = now_ns + FIT_RETRY_NS;
    pglink_query(w->maker, role, 0, NULL, FIT_MS, on_role, w);
    pglink_query(w->maker, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", 1, &name,
                 FIT_MS, on_found, w);
}

/* ---- meridian.configure ---- */

static void on_configured(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    w->fitting = false;
    if (error != NULL) {
        unfit(w, "configure", res, error);
        return;
    }
    /* agent_status() goes on reporting them; here is their beginning. */
    for (int i = 0; i < PQntuples(res) && PQnfields(res) >= 2; i++) {
        log_event("event=table.unattached table=%s reason=\"%s\"", PQgetvalue(res, i, 0),
                  PQgetvalue(res, i, 1));
    }
    if (!w->fit) {
        log_event("event=postgres.configured version=%" PRIu64, w->config->version);
    }
    w->fit = true;
    w->fit_error[0] = '\0';
}

static void configure(struct pgwork *w)
{
    char *text = pgwork_configuration(w->config, w->self, w->opt.certs_dir);
    const char *param = text;
    w->fitting =
        text != NULL && pglink_query(w->status, "SELECT * FROM meridian.configure($1::jsonb)",
                                     1, &param, FIT_MS, on_configured, w) == 0;
    free(text);
}

static void on_created(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    w->fitting = false;
    if (error != NULL) {
        unfit(w, "create_extension", res, error);
        return;
    }
    configure(w);
}

/*
 * Where there is none, one is made only if the store knows that this region has not written
 * yet, or was made anew. Otherwise it was taken away, or the database with it: what was written
 * since then is in no stream, and an empty one must not take back the epochs that its
 * predecessor had.
 */
static void on_extension(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    mrd_lsn begins;
    w->fitting = false;
    if (error != NULL) {
        unfit(w, "find_extension", res, error);
        return;
    }
    w->gone = false;
    if (PQntuples(res) > 0) {
        configure(w);
    } else if (!w->node->caught_up) {
        unfit(w, "create_extension", NULL,
              "whether this region had one before is not known yet");
    } else if (mrd_anew_data(w->config, w->node->store, w->self, &begins) == MRD_DATA_LOST) {
        w->gone = true;
        unfit(w, "create_extension", NULL, GONE);
    } else {
        w->fitting = pglink_query(w->status, "CREATE EXTENSION IF NOT EXISTS meridian", 0, NULL,
                                  FIT_MS, on_created, w) == 0;
    }
}

static void fit_out(struct pgwork *w, uint64_t now_ns)
{
    if (w->fitting || !pglink_ready(w->status) || now_ns < w->fit_try_ns) {
        return;
    }
    w->fit_try_ns = now_ns + FIT_RETRY_NS;
    w->fitting = pglink_query(w->status, "SELECT FROM pg_extension WHERE extname = 'meridian'",
                              0, NULL, FIT_MS, on_extension, w) == 0;
}

/* ---- canary ---- */

static void canary_failed(struct pgwork *w, const PGresult *res, const char *error)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    bool news = w->answers || w->local->canary_ok;
    log_failure(&w->canary_log, "heartbeat", error);
    keep_reason(w->canary_error, res, error);
    w->canary_full = state != NULL && strcmp(state, "53100") == 0;
    w->answers = false;
    w->local->canary_ok = false;
    w->local->report.ready = (uint8_t)(w->local->report.ready & ~MRD_SEES_SQL);
    if (news) {
        w->node->dirty = true;
    }
}

/* @late: a commit that is still under way though its home is elsewhere by now; or NULL. */
static void take_late(struct pgwork *w, const char *late)
{
    w->local->canary_settled = late == NULL;
    if (late != NULL) {
        log_failure(&w->late_log, "late_commit", late);
    } else {
        memset(&w->late_log, 0, sizeof(w->late_log));
    }
}

static void on_canary(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    mrd_lsn lsn;
    w->canary_busy = false;
    if (error == NULL && (PQntuples(res) != 1 || !take_lsn(PQgetvalue(res, 0, 0), &lsn))) {
        error = "its answer is no position";
    }
    if (error != NULL) {
        canary_failed(w, res, error);
        return;
    }
    memset(&w->canary_log, 0, sizeof(w->canary_log));
    w->canary_error[0] = '\0';
    w->answers = true;
    w->local->canary_ok = true;
    w->local->canary_ns = w->canary_sent_ns;
    take_late(w, PQgetisnull(res, 0, 1) ? NULL : PQgetvalue(res, 0, 1));
    w->local->report.wal_lsn = lsn;
    w->local->report.boot_ms = w->canary_boot_ms;
    w->local->report.ready |= MRD_SEES_SQL;
    w->node->dirty = true;
}

static void send_canary(struct pgwork *w, mrd_boot_ns now_ns)
{
    char session_text[24], boot_text[24];
    const char *params[] = {session_text, boot_text};
    w->canary_next_ns = now_ns + w->config->renew_ms * UINT64_C(1000000);
    w->canary_sent_ns = clock_boot_ns(); /* before it is sent, whatever the tick says */
    w->canary_boot_ms = w->canary_sent_ns / 1000000;
    snprintf(session_text, sizeof(session_text), "%" PRIu64,
             mrd_node_heartbeat_session(w->node));
    snprintf(boot_text, sizeof(boot_text), "%" PRIu64, w->canary_boot_ms);
    unsigned limit_ms = w->config->lease_ms / 2;
    if (pglink_query(w->canary, "SELECT b.lsn, b.late FROM meridian.canary($1, $2) AS b", 2,
                     params, limit_ms, on_canary, w) == 0) {
        w->canary_busy = true;
    } else {
        canary_failed(w, NULL,
                      pglink_error(w->canary)[0] != '\0' ? pglink_error(w->canary)
                                                         : "not connected");
    }
}

/* ---- status ---- */

static uint64_t json_u64(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v)
                                                           : 0;
}

static mrd_lsn json_lsn(const json_t *o, const char *key)
{
    mrd_lsn lsn = 0;
    take_lsn(json_string_value(json_object_get(o, key)), &lsn);
    return lsn;
}

static int json_region(const struct pgwork *w, const json_t *o)
{
    const char *name = json_string_value(json_object_get(o, "origin"));
    return name != NULL ? mrd_config_region(w->config, name) : -1;
}

static int json_partition(const struct pgwork *w, const json_t *o)
{
    const char *class_name = json_string_value(json_object_get(o, "class"));
    const char *partition = json_string_value(json_object_get(o, "partition"));
    return class_name != NULL && partition != NULL
               ? mrd_partition_index(w->config, class_name, partition)
               : -1;
}

static struct mrd_peer_report *peer_of(struct pgwork *w, int region)
{
    struct mrd_session_record *r = &w->local->report;
    for (unsigned i = 0; region >= 0 && i < r->peer_count; i++) {
        if (strcmp(r->peers[i].region, w->config->regions[region].name) == 0) {
            return &r->peers[i];
        }
    }
    return NULL;
}

static void take_stream(struct pgwork *w, const json_t *s)
{
    int region = json_region(w, s);
    struct mrd_peer_report *p = peer_of(w, region);
    if (p == NULL) {
        return;
    }
    p->applied_lsn = json_lsn(s, "applied_lsn");
    p->applied_session = json_u64(s, "through_session");
    p->applied_boot_ms = json_u64(s, "through_boot_ms");
    p->lag_bytes = json_u64(s, "lag_bytes");
    if (json_u64(s, "lost_slots") > w->lost_slots[region]) {
        log_event("event=stream.copied_anew origin=%s reason=\"its slot was lost\"", p->region);
    }
    w->lost_slots[region] = json_u64(s, "lost_slots");
    mrd_node_refused(w->node, (mrd_region)region, json_is_true(json_object_get(s, "refused")),
                     w->status_sent_ns);
}

static void take_tail(struct pgwork *w, const json_t *t)
{
    int i = json_partition(w, t);
    const struct mrd_duty *d = i >= 0 ? &w->calls[i].duty : NULL;
    if (d == NULL || d->tail_epoch == 0 || d->tail_epoch != json_u64(t, "epoch") ||
        json_region(w, t) != d->tail_origin) {
        return;
    }
    w->local->tail[i] =
        (struct mrd_tail_count){d->tail_epoch, json_u64(t, "transactions"), json_u64(t, "rows"),
                                json_u64(t, "rpo_ms"), json_u64(t, "unrepaired")};
}

static void take_status(struct pgwork *w, const json_t *all)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(all, "streams"), i, row)
    {
        take_stream(w, row);
    }
    json_array_foreach(json_object_get(all, "partitions"), i, row)
    {
        int p = json_partition(w, row);
        if (p >= 0) {
            /* An answer may be older than a promotion of ours. */
            uint64_t opened = json_u64(row, "opened_epoch");
            if (opened > w->local->opened_epoch[p]) {
                w->local->opened_epoch[p] = opened;
            }
            w->local->first_write_ms[p] = json_u64(row, "first_write_ms");
            w->local->compared_epoch[p] = json_u64(row, "compared_epoch");
            mrd_set_lacks(&w->local->report, (unsigned)p,
                          json_is_false(json_object_get(row, "covered")));
        }
    }
    for (i = 0; i < MRD_PARTITIONS_MAX; i++) {
        w->local->tail[i] = (struct mrd_tail_count){.epoch = w->calls[i].duty.tail_epoch};
    }
    json_array_foreach(json_object_get(all, "tail"), i, row)
    {
        take_tail(w, row);
    }
    w->local->through_lsn = json_lsn(all, "through_lsn");
}

static void on_status(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    json_error_t bad;
    w->status_busy = false;
    if (error == NULL && PQntuples(res) == 1) {
        json_t *all = json_loads(PQgetvalue(res, 0, 0), 0, &bad);
        if (json_is_object(all)) {
            take_status(w, all);
            json_decref(w->last);
            w->last = all;
            memset(&w->status_log, 0, sizeof(w->status_log));
            w->node->dirty = true;
            return;
        }
        json_decref(all);
        error = "its answer is no JSON object";
    }
    log_failure(&w->status_log, "agent_status", error != NULL ? error : "no row");
}

static void ask_status(struct pgwork *w, mrd_boot_ns now_ns)
{
    w->status_next_ns = now_ns + (mrd_node_refusal_waits(w->node) ? 0 : STATUS_NS);
    w->status_sent_ns = clock_boot_ns();
    w->status_busy = pglink_query(w->status, "SELECT meridian.agent_status()", 0, NULL,
                                  STATUS_MS, on_status, w) == 0;
}

void pgwork_published(struct pgwork *w)
{
    if (mrd_node_refusal_waits(w->node)) {
        w->status_next_ns = 0;
    }
}

/* ---- duties ---- */

static void on_duty(void *ctx, PGresult *res, const char *error)
{
    struct duty_call *c = ctx;
    struct pgwork *w = c->w;
    mrd_lsn lsn;
    const char *partition;
    const struct mrd_conf_class *k = mrd_partition_at(w->config, c->partition, &partition);

    c->busy = false;
    if (error != NULL) {
        log_failure(&w->duty_log, c->duty.kind == MRD_DUTY_DRAIN ? "drain" : "promote", error);
        return;
    }
    if (c->duty.kind == MRD_DUTY_PROMOTE) {
        w->local->opened_epoch[c->partition] = c->duty.epoch;
        log_event("event=partition.promoted class=%s partition=%s epoch=%" PRIu64, k->name,
                  partition, c->duty.epoch);
    } else if (PQntuples(res) == 1 && !PQgetisnull(res, 0, 0) &&
               take_lsn(PQgetvalue(res, 0, 0), &lsn)) {
        w->local->drained_lsn[c->partition] = lsn;
        w->local->drained_move[c->partition] = c->duty.move;
        log_event("event=partition.drained class=%s partition=%s lsn=%" PRIX64 "/%" PRIX64,
                  k->name, partition, lsn >> 32, lsn & 0xffffffff);
    } else {
        return; /* still writers inside: asked again while it is due */
    }
    w->node->dirty = true;
}

static void start_duty(struct pgwork *w, struct duty_call *c)
{
    char number[24];
    const char *partition;
    const struct mrd_conf_class *k = mrd_partition_at(w->config, c->partition, &partition);
    const char *params[] = {k->name, partition, number};
    const char *sql = "SELECT meridian.promote($1, $2, $3)";

    snprintf(number, sizeof(number), "%" PRIu64, c->duty.epoch);
    if (c->duty.kind == MRD_DUTY_DRAIN) {
        sql = "SELECT meridian.drain($1, $2, $3)";
        snprintf(number, sizeof(number), "%u", DRAIN_WAIT_MS);
    }
    c->busy = pglink_query(w->work, sql, 3, params, FIT_MS, on_duty, c) == 0;
}

/* ---- regions made anew ---- */

/*
 * Once and no more: the next position comes with the copy, which may take long, and until then
 * the old one is shown. Whether a call whose answer was lost was committed only PostgreSQL
 * knows, so the statement itself asks whether the position still is of the life that ended.
 */
static const char copy_again[] =
    "SELECT meridian.copy_again($1) FROM pg_catalog.pg_replication_origin_status"
    " WHERE external_id = 'meridian_' || pg_catalog.replace($1, '-', '_')"
    " AND remote_lsn > '0/0' AND remote_lsn < $2::pg_catalog.pg_lsn";

static void on_again(void *ctx, PGresult *res, const char *error)
{
    struct again_call *c = ctx;
    c->busy = false;
    if (error != NULL) {
        log_failure(&c->w->duty_log, "copy_again", error);
    } else if (PQntuples(res) > 0) {
        log_event("event=stream.copied_anew origin=%s reason=\"it was made anew\"",
                  c->w->config->regions[c->origin].name);
    }
}

static void follow_lives(struct pgwork *w)
{
    mrd_boot_ns now_ns = clock_boot_ns();
    for (mrd_region i = 0; i < w->config->region_count; i++) {
        struct again_call *c = &w->again[i];
        char begins_text[24];
        const char *params[] = {w->config->regions[i].name, begins_text};
        mrd_lsn begins;
        if (c->busy || now_ns < c->next_ns || !w->fit || !pglink_ready(w->people) ||
            !mrd_anew_stream(w->config, w->node->store, w->local, i, &begins)) {
            continue;
        }
        snprintf(begins_text, sizeof(begins_text), "%" PRIX64 "/%" PRIX64, begins >> 32,
                 begins & 0xffffffff);
        *c = (struct again_call){.w = w, .origin = i, .next_ns = now_ns + FIT_RETRY_NS};
        c->busy = pglink_query(w->people, copy_again, 2, params, FIT_MS, on_again, c) == 0;
    }
}

void pgwork_duties(struct pgwork *w)
{
    follow_lives(w);
    unsigned count = mrd_partition_count(w->config);
    for (unsigned i = 0; i < count; i++) {
        struct duty_call *c = &w->calls[i];
        if (c->busy) {
            continue; /* its answer is for the duty as it was when it was sent */
        }
        c->duty = w->node->duties[i];
        if (c->duty.kind != MRD_DUTY_NONE && w->fit && pglink_ready(w->work)) {
            start_duty(w, c);
        }
    }
}

/* ---- receipts, for the view meridian.receipts ---- */

/* Only people read them, so they wait with what people ask, and no promotion behind them. */

static void on_receipts(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    (void)res;
    w->receipts_busy = false;
    if (error != NULL) {
        log_failure(&w->duty_log, "record_receipts", error);
        w->receipts_next_ns = clock_boot_ns() + FIT_RETRY_NS;
    } else if (w->receipts_next_ns == 0) {
        w->make_receipts = NULL;
    }
}

static void send_receipts(struct pgwork *w)
{
    json_t *all = w->make_receipts(w->receipts_ctx);
    char *text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
    const char *param = text;
    w->receipts_next_ns = 0; /* a change from here on sets it again */
    w->receipts_busy =
        text != NULL && pglink_query(w->people, "SELECT meridian.record_receipts($1::jsonb)", 1,
                                     &param, FIT_MS, on_receipts, w) == 0;
    free(text);
    json_decref(all);
}

void pgwork_receipts(struct pgwork *w, json_t *(*make)(void *ctx), void *ctx)
{
    w->make_receipts = make;
    w->receipts_ctx = ctx;
    w->receipts_next_ns = 1; /* at the next round */
}

/* ---- what is to be told to everybody ---- */

static void on_audit(void *ctx, PGresult *res, const char *error)
{
    struct pgwork *w = ctx;
    json_t *lines, *line;
    size_t i;

    w->audit_busy = false;
    if (error != NULL || PQntuples(res) != 1) {
        log_failure(&w->duty_log, "take_audit", error != NULL ? error : "no row");
        return;
    }
    lines = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
    json_array_foreach(lines, i, line)
    {
        if (json_is_string(line)) {
            w->opt.told(w->opt.told_ctx, json_string_value(line));
        }
    }
    json_decref(lines);
    json_object_set_new(w->last, "audit",
                        json_integer(0)); /* until the next status says else */
}

static void take_audit(struct pgwork *w)
{
    w->audit_busy = pglink_query(w->people, "SELECT pg_catalog.to_jsonb(meridian.take_audit())",
                                 0, NULL, FIT_MS, on_audit, w) == 0;
}

/* ---- the round ---- */

void pgwork_tick(struct pgwork *w, mrd_boot_ns now_ns)
{
    if (w->opt.create && !w->made) {
        make_database(w, now_ns);
        return;
    }
    if (w->maker != NULL) {
        pglink_free(w->maker);
        w->maker = NULL;
    }
    pglink_tick(w->canary, now_ns);
    pglink_tick(w->status, now_ns);
    pglink_tick(w->work, now_ns);
    pglink_tick(w->people, now_ns);
    if (!w->fit) {
        fit_out(w, now_ns);
        return;
    }
    if (!w->canary_busy && now_ns >= w->canary_next_ns) {
        send_canary(w, now_ns);
    }
    if (!w->status_busy && now_ns >= w->status_next_ns && pglink_ready(w->status)) {
        ask_status(w, now_ns);
    }
    if (w->make_receipts != NULL && !w->receipts_busy && now_ns >= w->receipts_next_ns &&
        pglink_ready(w->people)) {
        send_receipts(w);
    }
    if (!w->audit_busy && json_u64(w->last, "audit") > 0 && pglink_ready(w->people) &&
        w->opt.tellable(w->opt.told_ctx)) {
        take_audit(w);
    }
}

/* ---- for the API ---- */

bool pgwork_answers(const struct pgwork *w)
{
    return w->answers;
}

const json_t *pgwork_status(const struct pgwork *w)
{
    return w->last;
}

struct pglink *pgwork_people(struct pgwork *w)
{
    return w->people;
}

void pgwork_problems(const struct pgwork *w, const char *disk, json_t *problems)
{
    size_t i;
    json_t *row;
    if (w->gone) {
        problem(problems, "%s", GONE);
    }
    const char *down = pglink_error(w->maker != NULL ? w->maker : w->canary);
    if (!w->answers && w->canary_error[0] != '\0' && pglink_ready(w->canary)) {
        problem(problems, "PostgreSQL cannot write, so no lease is renewed: %s%s",
                w->canary_error, w->canary_full ? "" : disk);
    } else if (!w->answers && down[0] == '\0' && w->fit_error[0] != '\0' && !w->gone) {
        problem(problems, "PostgreSQL is not ready, so no lease is held: %s%s", w->fit_error,
                disk);
    } else if (!w->answers) {
        problem(problems, "PostgreSQL does not answer: %s%s",
                down[0] != '\0' ? down
                : w->fit        ? "no answer yet"
                                : "this agent is still setting it up",
                disk);
    }
    json_array_foreach(json_object_get(w->last, "problems"), i, row)
    {
        if (json_is_string(row)) {
            problem(problems, "%s", json_string_value(row));
        }
    }
}

/* ---- life ---- */

static void on_status_connected(void *ctx)
{
    struct pgwork *w = ctx;
    /* A new server may have older tables than our configuration: configure again. The canary
     * goes on meanwhile if it was going. */
    w->fit_try_ns = 0;
    w->fitting = false;
    fit_out(w, clock_boot_ns());
}

static struct pglink *link_new(struct pgwork *w, const char *name, const char *dbname,
                               unsigned statement_ms, void (*connected)(void *ctx))
{
    const struct pglink_target t = {.name = name,
                                    .host = w->opt.socket_dir,
                                    .port = w->config->regions[w->self].db_port,
                                    .dbname = dbname,
                                    .user = w->opt.user,
                                    .connect_ms = CONNECT_MS,
                                    .statement_ms = statement_ms};
    return pglink_new(w->loop, &t, connected, w);
}

int pgwork_new(uv_loop_t *loop, struct mrd_node *node, const struct pgwork_options *options,
               struct pgwork **ret)
{
    struct pgwork *w = calloc(1, sizeof(*w));
    const char *db = node->config->regions[node->region.self].db_name;
    if (w == NULL) {
        return MRD_ENOMEM;
    }
    w->loop = loop;
    w->config = node->config;
    w->self = node->region.self;
    w->opt = *options;
    w->node = node;
    w->local = &node->local;
    w->canary = link_new(w, "canary", db, w->config->lease_ms, NULL);
    w->status = link_new(w, "status", db, 0, on_status_connected);
    w->work = link_new(w, "work", db, FIT_MS, NULL);
    w->people = link_new(w, NULL, db, FIT_MS, NULL);
    if (options->create) {
        w->maker = link_new(w, "setup", "postgres", FIT_MS, NULL);
    }
    for (unsigned i = 0; i < MRD_PARTITIONS_MAX; i++) {
        w->calls[i].w = w;
        w->calls[i].partition = i;
    }
    if (w->canary == NULL || w->status == NULL || w->work == NULL || w->people == NULL ||
        (options->create && w->maker == NULL)) {
        pgwork_free(w);
        return MRD_ENOMEM;
    }
    *ret = w;
    return 0;
}

void pgwork_free(struct pgwork *w)
{
    if (w == NULL) {
        return;
    }
    pglink_free(w->maker);
    pglink_free(w->canary);
    pglink_free(w->status);
    pglink_free(w->work);
    pglink_free(w->people);
    json_decref(w->last);
    free(w);
}
