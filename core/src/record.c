/*
 * Records of the coordination store as bytes (mrd/record.h).
 *
 * Each record's reader and writer stand together, in the same order of fields, so that one can
 * be checked against the other at a glance. The first byte is the record's version. Records
 * come from other agents: a reader checks every enumeration, count and name, and hands out
 * either a whole record or nothing.
 */
#include <mrd/record.h>

#include <mrd/err.h>

#include <string.h>

#define RECORD_VERSION 1u
#define AUTHORITY_HELD 2u /* an authority that is held; every other one is still version 1 */

static int finish_write(const struct mrd_buf *out)
{
    return out->failed ? MRD_ETOOBIG : 0;
}

/* 0, or why this cannot be a record that we know. */
static int begin_version(struct mrd_buf *in, uint8_t newest, uint8_t *ret_version)
{
    *ret_version = mrd_buf_get_u8(in);
    if (in->failed) {
        return MRD_EFORMAT;
    }
    return *ret_version >= RECORD_VERSION && *ret_version <= newest ? 0 : MRD_EVERSION;
}

static int begin_read(struct mrd_buf *in)
{
    uint8_t version;

    return begin_version(in, RECORD_VERSION, &version);
}

static int finish_read(const struct mrd_buf *in)
{
    return mrd_buf_done(in) ? 0 : MRD_EFORMAT;
}

/* Texts end up in logs and terminals: no control characters. */
static void get_text(struct mrd_buf *in, char *out, size_t cap)
{
    mrd_buf_get_str(in, out, cap);
    for (const char *p = out; !in->failed && *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            in->failed = true;
        }
    }
}

static void get_name(struct mrd_buf *in, char out[MRD_NAME_MAX])
{
    get_text(in, out, MRD_NAME_MAX);
}

static uint8_t get_enum(struct mrd_buf *in, uint8_t max)
{
    uint8_t v = mrd_buf_get_u8(in);

    if (v > max) {
        in->failed = true;
        v = 0;
    }
    return v;
}

static bool get_bool(struct mrd_buf *in)
{
    return get_enum(in, 1) == 1;
}

/* ---- session ---- */

static void put_peer(struct mrd_buf *out, const struct mrd_peer_report *p)
{
    mrd_buf_put_str(out, p->region);
    mrd_buf_put_u8(out, p->reachable);
    mrd_buf_put_u32(out, p->rtt_us);
    mrd_buf_put_u64(out, p->applied_lsn);
    mrd_buf_put_u64(out, p->applied_session);
    mrd_buf_put_u64(out, p->applied_boot_ms);
    mrd_buf_put_u64(out, p->lag_bytes);
    mrd_buf_put_u64(out, p->catch_up_lsn);
    mrd_buf_put_u8(out, p->refused != 0);
}

static void get_peer(struct mrd_buf *in, struct mrd_peer_report *ret)
{
    get_name(in, ret->region);
    ret->reachable = mrd_buf_get_u8(in);
    ret->rtt_us = mrd_buf_get_u32(in);
    ret->applied_lsn = mrd_buf_get_u64(in);
    ret->applied_session = mrd_buf_get_u64(in);
    ret->applied_boot_ms = mrd_buf_get_u64(in);
    ret->lag_bytes = mrd_buf_get_u64(in);
    ret->catch_up_lsn = mrd_buf_get_u64(in);
    ret->refused = get_bool(in);
}

int mrd_session_record_encode(const struct mrd_session_record *r, struct mrd_buf *out)
{
    if (r->peer_count > MRD_REGIONS_MAX) {
        return MRD_ETOOBIG;
    }
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u64(out, r->session);
    mrd_buf_put_u64(out, r->seq);
    mrd_buf_put_u8(out, r->expired);
    mrd_buf_put_u64(out, r->expired_ms);
    mrd_buf_put_u64(out, r->opened_lsn);
    mrd_buf_put_u64(out, r->after_failover);
    mrd_buf_put_u8(out, r->ready);
    mrd_buf_put_u64(out, r->wal_lsn);
    mrd_buf_put_u64(out, r->boot_ms);
    mrd_buf_put_u64(out, r->wall_ms);
    mrd_buf_put_u64(out, r->agent_pid);
    mrd_buf_put_bytes(out, r->lacks, sizeof(r->lacks));
    mrd_buf_put_u8(out, r->peer_count);
    for (uint8_t i = 0; i < r->peer_count; i++) {
        put_peer(out, &r->peers[i]);
    }
    return finish_write(out);
}

int mrd_session_record_decode(struct mrd_buf *in, struct mrd_session_record *ret)
{
    struct mrd_session_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.session = mrd_buf_get_u64(in);
    r.seq = mrd_buf_get_u64(in);
    r.expired = get_bool(in);
    r.expired_ms = mrd_buf_get_u64(in);
    r.opened_lsn = mrd_buf_get_u64(in);
    r.after_failover = mrd_buf_get_u64(in);
    r.ready = mrd_buf_get_u8(in);
    r.wal_lsn = mrd_buf_get_u64(in);
    r.boot_ms = mrd_buf_get_u64(in);
    r.wall_ms = mrd_buf_get_u64(in);
    r.agent_pid = mrd_buf_get_u64(in);
    for (size_t i = 0; i < sizeof(r.lacks); i++) {
        r.lacks[i] = mrd_buf_get_u8(in);
    }
    r.peer_count = get_enum(in, MRD_REGIONS_MAX);
    for (uint8_t i = 0; i < r.peer_count; i++) {
        get_peer(in, &r.peers[i]);
    }
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- authority ---- */

static void put_closed(struct mrd_buf *out, const struct mrd_closed_record *c)
{
    mrd_buf_put_u64(out, c->epoch);
    mrd_buf_put_str(out, c->region);
    mrd_buf_put_u64(out, c->cut);
    mrd_buf_put_u64(out, c->cut_session);
    mrd_buf_put_u64(out, c->cut_boot_ms);
    mrd_buf_put_str(out, c->reason);
    mrd_buf_put_u64(out, c->receipt);
    mrd_buf_put_u16(out, c->unfenced);
    mrd_buf_put_u64(out, c->at_ms);
}

static void get_closed(struct mrd_buf *in, struct mrd_closed_record *ret)
{
    ret->epoch = mrd_buf_get_u64(in);
    get_name(in, ret->region);
    ret->cut = mrd_buf_get_u64(in);
    ret->cut_session = mrd_buf_get_u64(in);
    ret->cut_boot_ms = mrd_buf_get_u64(in);
    get_text(in, ret->reason, sizeof(ret->reason));
    ret->receipt = mrd_buf_get_u64(in);
    ret->unfenced = mrd_buf_get_u16(in);
    ret->at_ms = mrd_buf_get_u64(in);
}

/*
 * What is held has a version of its own, and no other field: an agent of before that could not
 * read "held" must not read such a record at all, and so takes it for nobody's to write, while
 * it goes on reading all others.
 */
int mrd_authority_record_encode(const struct mrd_authority_record *r, struct mrd_buf *out)
{
    if (r->history_count > MRD_HISTORY_MAX) {
        return MRD_ETOOBIG;
    }
    mrd_buf_put_u8(out, r->held ? AUTHORITY_HELD : RECORD_VERSION);
    mrd_buf_put_str(out, r->region);
    mrd_buf_put_str(out, r->last_region);
    mrd_buf_put_u64(out, r->epoch);
    mrd_buf_put_u8(out, r->state);
    mrd_buf_put_str(out, r->why);
    mrd_buf_put_u8(out, r->history_count);
    for (uint8_t i = 0; i < r->history_count; i++) {
        put_closed(out, &r->history[i]);
    }
    return finish_write(out);
}

int mrd_authority_record_decode(struct mrd_buf *in, struct mrd_authority_record *ret)
{
    struct mrd_authority_record r = {0};
    uint8_t version;
    int rc = begin_version(in, AUTHORITY_HELD, &version);

    if (rc != 0) {
        return rc;
    }
    r.held = version == AUTHORITY_HELD;
    get_name(in, r.region);
    get_name(in, r.last_region);
    r.epoch = mrd_buf_get_u64(in);
    r.state = get_enum(in, MRD_AUTH_VACANT);
    get_text(in, r.why, sizeof(r.why));
    r.history_count = get_enum(in, MRD_HISTORY_MAX);
    for (uint8_t i = 0; i < r.history_count; i++) {
        get_closed(in, &r.history[i]);
        /* Epochs grow through the history and end below the present one. */
        if (r.history[i].epoch >= r.epoch ||
            (i > 0 && r.history[i].epoch <= r.history[i - 1].epoch)) {
            in->failed = true;
        }
    }
    /* It is held by the lease of somebody. */
    in->failed |= r.held && r.history_count == 0;
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- failover ---- */

int mrd_failover_record_encode(const struct mrd_failover_record *r, struct mrd_buf *out)
{
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u64(out, r->id);
    mrd_buf_put_u64(out, r->before);
    mrd_buf_put_str(out, r->region);
    mrd_buf_put_u64(out, r->session);
    mrd_buf_put_u64(out, r->seq);
    mrd_buf_put_u8(out, r->state);
    mrd_buf_put_u16(out, r->observers);
    mrd_buf_put_str(out, r->reason);
    mrd_buf_put_u64(out, r->fault_ms);
    mrd_buf_put_u64(out, r->detected_ms);
    return finish_write(out);
}

int mrd_failover_record_decode(struct mrd_buf *in, struct mrd_failover_record *ret)
{
    struct mrd_failover_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.id = mrd_buf_get_u64(in);
    r.before = mrd_buf_get_u64(in);
    get_name(in, r.region);
    r.session = mrd_buf_get_u64(in);
    r.seq = mrd_buf_get_u64(in);
    r.state = get_enum(in, MRD_FAILOVER_DONE);
    r.observers = mrd_buf_get_u16(in);
    get_text(in, r.reason, sizeof(r.reason));
    r.fault_ms = mrd_buf_get_u64(in);
    r.detected_ms = mrd_buf_get_u64(in);
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- fence ---- */

int mrd_fence_record_encode(const struct mrd_fence_record *r, struct mrd_buf *out)
{
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u64(out, r->failover_id);
    mrd_buf_put_u64(out, r->applied_lsn);
    mrd_buf_put_u64(out, r->applied_session);
    mrd_buf_put_u64(out, r->applied_boot_ms);
    mrd_buf_put_u64(out, r->at_ms);
    return finish_write(out);
}

int mrd_fence_record_decode(struct mrd_buf *in, struct mrd_fence_record *ret)
{
    struct mrd_fence_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.failover_id = mrd_buf_get_u64(in);
    r.applied_lsn = mrd_buf_get_u64(in);
    r.applied_session = mrd_buf_get_u64(in);
    r.applied_boot_ms = mrd_buf_get_u64(in);
    r.at_ms = mrd_buf_get_u64(in);
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- approval ---- */

int mrd_approval_record_encode(const struct mrd_approval_record *r, struct mrd_buf *out)
{
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u64(out, r->id);
    mrd_buf_put_str(out, r->region);
    mrd_buf_put_u64(out, r->session);
    mrd_buf_put_u64(out, r->seq);
    mrd_buf_put_u8(out, r->state);
    mrd_buf_put_u8(out, r->needed);
    mrd_buf_put_u8(out, r->given);
    for (unsigned i = 0; i < MRD_APPROVERS_MAX; i++) {
        mrd_buf_put_str(out, r->by[i]);
    }
    mrd_buf_put_str(out, r->rejected_by);
    mrd_buf_put_str(out, r->reason);
    mrd_buf_put_u16(out, r->observers);
    mrd_buf_put_u64(out, r->asked_ms);
    mrd_buf_put_u64(out, r->decided_ms);
    return finish_write(out);
}

int mrd_approval_record_decode(struct mrd_buf *in, struct mrd_approval_record *ret)
{
    struct mrd_approval_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.id = mrd_buf_get_u64(in);
    get_name(in, r.region);
    r.session = mrd_buf_get_u64(in);
    r.seq = mrd_buf_get_u64(in);
    r.state = get_enum(in, MRD_APPROVAL_OVER);
    r.needed = get_enum(in, MRD_APPROVERS_MAX);
    r.given = get_enum(in, MRD_APPROVERS_MAX);
    for (unsigned i = 0; i < MRD_APPROVERS_MAX; i++) {
        get_name(in, r.by[i]);
    }
    get_name(in, r.rejected_by);
    get_text(in, r.reason, sizeof(r.reason));
    r.observers = mrd_buf_get_u16(in);
    r.asked_ms = mrd_buf_get_u64(in);
    r.decided_ms = mrd_buf_get_u64(in);
    /* Nobody may be counted who is not named, and nothing is given by nobody. */
    if (r.needed == 0 || (r.state == MRD_APPROVAL_GIVEN && r.given < r.needed)) {
        in->failed = true;
    }
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- dial ---- */

int mrd_dial_record_encode(const struct mrd_dial_record *r, struct mrd_buf *out)
{
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u8(out, r->percent);
    mrd_buf_put_u8(out, r->drained);
    mrd_buf_put_str(out, r->by);
    mrd_buf_put_u64(out, r->at_ms);
    return finish_write(out);
}

int mrd_dial_record_decode(struct mrd_buf *in, struct mrd_dial_record *ret)
{
    struct mrd_dial_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.percent = get_enum(in, 100);
    r.drained = get_bool(in);
    get_name(in, r.by);
    r.at_ms = mrd_buf_get_u64(in);
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- move ---- */

int mrd_move_record_encode(const struct mrd_move_record *r, struct mrd_buf *out)
{
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u64(out, r->id);
    mrd_buf_put_str(out, r->from);
    mrd_buf_put_str(out, r->to);
    mrd_buf_put_u64(out, r->epoch);
    mrd_buf_put_u8(out, r->state);
    mrd_buf_put_u64(out, r->final_lsn);
    mrd_buf_put_u64(out, r->final_session);
    mrd_buf_put_u64(out, r->final_boot_ms);
    mrd_buf_put_u64(out, r->started_ms);
    mrd_buf_put_str(out, r->why);
    return finish_write(out);
}

int mrd_move_record_decode(struct mrd_buf *in, struct mrd_move_record *ret)
{
    struct mrd_move_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.id = mrd_buf_get_u64(in);
    get_name(in, r.from);
    get_name(in, r.to);
    r.epoch = mrd_buf_get_u64(in);
    r.state = get_enum(in, MRD_MOVE_WAIT);
    r.final_lsn = mrd_buf_get_u64(in);
    r.final_session = mrd_buf_get_u64(in);
    r.final_boot_ms = mrd_buf_get_u64(in);
    r.started_ms = mrd_buf_get_u64(in);
    get_text(in, r.why, sizeof(r.why));
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- receipt ---- */

int mrd_receipt_record_encode(const struct mrd_receipt_record *r, struct mrd_buf *out)
{
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u64(out, r->id);
    mrd_buf_put_str(out, r->kind);
    mrd_buf_put_str(out, r->class_name);
    mrd_buf_put_str(out, r->partition);
    mrd_buf_put_str(out, r->from);
    mrd_buf_put_str(out, r->to);
    mrd_buf_put_u64(out, r->epoch);
    mrd_buf_put_str(out, r->observers);
    mrd_buf_put_str(out, r->note);
    mrd_buf_put_u64(out, r->cut);
    mrd_buf_put_u64(out, r->fault_ms);
    mrd_buf_put_u64(out, r->detected_ms);
    mrd_buf_put_u64(out, r->expired_ms);
    mrd_buf_put_u64(out, r->fenced_ms);
    mrd_buf_put_u64(out, r->granted_ms);
    mrd_buf_put_u64(out, r->opened_ms);
    mrd_buf_put_u64(out, r->first_write_ms);
    mrd_buf_put_u64(out, r->returned_ms);
    mrd_buf_put_u64(out, r->tail_transactions);
    mrd_buf_put_u64(out, r->tail_rows);
    mrd_buf_put_u64(out, r->rpo_ms);
    mrd_buf_put_u32(out, r->rto_ms);
    mrd_buf_put_u64(out, r->taken_epoch);
    mrd_buf_put_u64(out, r->taken_lsn);
    mrd_buf_put_u8(out, r->tail_gone);
    return finish_write(out);
}

int mrd_receipt_record_decode(struct mrd_buf *in, struct mrd_receipt_record *ret)
{
    struct mrd_receipt_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.id = mrd_buf_get_u64(in);
    get_text(in, r.kind, sizeof(r.kind));
    get_name(in, r.class_name);
    get_name(in, r.partition);
    get_name(in, r.from);
    get_name(in, r.to);
    r.epoch = mrd_buf_get_u64(in);
    get_text(in, r.observers, sizeof(r.observers));
    get_text(in, r.note, sizeof(r.note));
    r.cut = mrd_buf_get_u64(in);
    r.fault_ms = mrd_buf_get_u64(in);
    r.detected_ms = mrd_buf_get_u64(in);
    r.expired_ms = mrd_buf_get_u64(in);
    r.fenced_ms = mrd_buf_get_u64(in);
    r.granted_ms = mrd_buf_get_u64(in);
    r.opened_ms = mrd_buf_get_u64(in);
    r.first_write_ms = mrd_buf_get_u64(in);
    r.returned_ms = mrd_buf_get_u64(in);
    r.tail_transactions = mrd_buf_get_u64(in);
    r.tail_rows = mrd_buf_get_u64(in);
    r.rpo_ms = mrd_buf_get_u64(in);
    r.rto_ms = mrd_buf_get_u32(in);
    r.taken_epoch = mrd_buf_get_u64(in);
    r.taken_lsn = mrd_buf_get_u64(in);
    r.tail_gone = get_enum(in, 1) == 1;
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}

/* ---- anew ---- */

int mrd_anew_record_encode(const struct mrd_anew_record *r, struct mrd_buf *out)
{
    mrd_buf_put_u8(out, RECORD_VERSION);
    mrd_buf_put_u64(out, r->life);
    mrd_buf_put_u64(out, r->session);
    mrd_buf_put_u64(out, r->begins);
    mrd_buf_put_u64(out, r->at_ms);
    return finish_write(out);
}

int mrd_anew_record_decode(struct mrd_buf *in, struct mrd_anew_record *ret)
{
    struct mrd_anew_record r = {0};
    int rc = begin_read(in);

    if (rc != 0) {
        return rc;
    }
    r.life = mrd_buf_get_u64(in);
    r.session = mrd_buf_get_u64(in);
    r.begins = mrd_buf_get_u64(in);
    r.at_ms = mrd_buf_get_u64(in);
    in->failed |= r.life == 0;
    rc = finish_read(in);
    if (rc == 0) {
        *ret = r;
    }
    return rc;
}
