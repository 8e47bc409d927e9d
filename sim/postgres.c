/*
 * PostgreSQL at the level of commits (docs/internals/postgres.md).
 *
 * A region's WAL is a list of commits, heartbeats and repairs. A transaction asks the guard
 * when it begins (mrd_guard), again just before it commits (mrd_guard_commit), and is committed
 * some time after that check, however long its process is held up in between. A commit of a
 * quorum class then waits until enough replicas have it on disk, and looks once more whether
 * its epoch still stands.
 *
 * A stream takes an origin's records in order, as the region's own snapshot orders: from the
 * origin, or what lies before a cut from a survivor, or not at all. What a record is worth here
 * is core's to say (mrd_authority_accepts, mrd_authority_complete, mrd_may_apply). Tail is
 * filed; the partition's home also sends the origin what it holds instead.
 *
 * What was applied before its cut was heard of (postgres/unfenced.c) is written down when it is
 * heard of, filed some time later, and replaced by its home's rows later still. Before that it
 * is there, and may be read and handed on.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#define OBEY_US (20 * SIM_MS) /* a worker that finishes the transaction at hand */

/* ---- WAL ---- */

mrd_lsn sim_wal_end(const struct sim *w, unsigned i)
{
    const struct sim_postgres *pg = &w->regions[i].postgres;

    return pg->count > 0 ? pg->wal[pg->count - 1].lsn : 100;
}

/* From the origin's WAL into this region's. */
static sim_us travel_us(const struct sim *w, unsigned i, unsigned origin)
{
    const struct sim_link *l = &w->links[origin][i];

    return l->delay_us + l->extra_us + w->apply_us[i];
}

/* A region hears of what is new in an origin's WAL. */
static void announce(struct sim *w, unsigned i, unsigned origin)
{
    struct sim_stream *s = &w->regions[i].postgres.streams[origin];
    struct sim_event e = {.kind = SIM_STREAM, .region = (uint8_t)i, .peer = (uint8_t)origin};

    if (w->config->regions[i].witness || s->next_at > w->now || !sim_linked(w, i, origin)) {
        return;
    }
    e.at = w->now + travel_us(w, i, origin);
    e.life = w->regions[i].postgres_life;
    s->next_at = e.at;
    sim_push(w, &e);
}

struct sim_record *sim_wal_append(struct sim *w, unsigned i, enum sim_record_kind kind)
{
    struct sim_postgres *pg = &w->regions[i].postgres;
    mrd_lsn lsn = sim_wal_end(w, i) + 8 + (kind == SIM_REC_COMMIT ? 48 : 0);

    if (pg->count == pg->room) {
        pg->room = pg->room == 0 ? 512 : 2 * pg->room;
        pg->wal = realloc(pg->wal, pg->room * sizeof(*pg->wal));
        mrd_assert(pg->wal != NULL);
    }
    pg->wal[pg->count] = (struct sim_record){.at = w->now, .lsn = lsn, .kind = kind};
    pg->wal[pg->count].fate[i] = SIM_APPLIED;
    pg->count++;
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (o != i) {
            announce(w, o, i);
        }
    }
    return &pg->wal[pg->count - 1];
}

mrd_lsn sim_applied(const struct sim *w, unsigned i, unsigned origin)
{
    size_t n = w->regions[i].postgres.streams[origin].taken;

    return n > 0 ? w->regions[origin].postgres.wal[n - 1].lsn : 0;
}

/* ---- taking ---- */

/* May @i write under this authority? */
static bool writes(const struct sim *w, unsigned i, unsigned p, const struct mrd_authority *a)
{
    return a->region == i && a->state == MRD_AUTH_OPEN &&
           w->regions[i].postgres.opened[p] == a->epoch;
}

static void repair(struct sim *w, unsigned i, unsigned origin, size_t k,
                   const struct mrd_authority *a)
{
    struct sim_record *lost = &w->regions[origin].postgres.wal[k];
    struct sim_record *rec = sim_wal_append(w, i, SIM_REC_REPAIR);

    rec->target = (uint8_t)origin;
    rec->partition = lost->partition;
    rec->epoch = a->epoch;
    rec->boot_ms = k;
    lost->repairs |= (uint16_t)(1u << i);
}

/* What @i repaired itself, past the cut of an epoch of its own, is not repaired. */
static void forget_repairs(struct sim *w, unsigned i, unsigned p, const struct mrd_authority *a)
{
    const struct sim_postgres *pg = &w->regions[i].postgres;

    for (size_t n = 0; n < pg->count; n++) {
        const struct sim_record *rec = &pg->wal[n];
        if (rec->kind == SIM_REC_REPAIR && rec->partition == p &&
            mrd_authority_accepts(a, (mrd_region)i, rec->epoch, rec->lsn) != MRD_ACCEPT) {
            w->regions[rec->target].postgres.wal[rec->boot_ms].repairs &= (uint16_t) ~(1u << i);
        }
    }
}

void sim_repair(struct sim *w, unsigned i, unsigned p)
{
    const struct mrd_authority *a = &sim_snapshot(w, i)->partitions[p].authority;
    struct sim_postgres *pg = &w->regions[i].postgres;

    if (pg->repaired[p] == a->epoch || !writes(w, i, p, a)) {
        return;
    }
    forget_repairs(w, i, p, a);
    for (unsigned o = 0; o < w->config->region_count; o++) {
        for (size_t k = 0; o != i && k < pg->streams[o].taken; k++) {
            const struct sim_record *rec = &w->regions[o].postgres.wal[k];
            if (rec->kind == SIM_REC_COMMIT && rec->partition == p &&
                rec->fate[i] == SIM_TAIL && (rec->repairs >> i & 1u) == 0) {
                repair(w, i, o, k, a);
            }
        }
    }
    pg->repaired[p] = a->epoch;
}

/* Repaired at the next look, if we are its home then. */
static void file_commit(struct sim *w, unsigned i, unsigned origin, size_t k)
{
    struct sim_record *rec = &w->regions[origin].postgres.wal[k];

    rec->fate[i] = SIM_TAIL;
    rec->filed[i]++;
    w->regions[i].postgres.repaired[rec->partition] = 0;
}

static void take_repair(struct sim *w, unsigned i, const struct sim_record *rec)
{
    struct sim_record *lost = &w->regions[rec->target].postgres.wal[rec->boot_ms];

    lost->repairs |= (uint16_t)(1u << i);
    lost->repaired |= rec->target == i;
}

/* Whether what @i knows lets it decide on this commit; then also what it decides. */
static bool judge(struct sim *w, unsigned i, unsigned origin, const struct sim_record *rec,
                  enum mrd_accept *ret)
{
    const struct mrd_authority *a = &sim_snapshot(w, i)->partitions[rec->partition].authority;
    mrd_lsn applied[MRD_REGIONS_MAX] = {0};

    for (unsigned o = 0; o < w->config->region_count; o++) {
        applied[o] = sim_applied(w, i, o);
    }
    if (!mrd_authority_settled(a, (mrd_region)origin, rec->epoch) ||
        !mrd_authority_complete(a, (mrd_region)i, (mrd_region)origin, rec->epoch, applied)) {
        return false;
    }
    *ret = mrd_authority_accepts(a, (mrd_region)origin, rec->epoch, rec->lsn);
    return true;
}

/* What of the closed epoch @k is past its cut, and was applied, is written down. */
static void note_past(struct sim *w, unsigned i, unsigned p, const struct mrd_authority *a,
                      unsigned k)
{
    const struct mrd_closed_epoch *c = &a->history[k];
    struct sim_postgres *o;

    if (c->region >= w->config->region_count ||
        !mrd_authority_past_cut(a, k, (mrd_region)i, sim_applied(w, i, c->region))) {
        return;
    }
    o = &w->regions[c->region].postgres;
    for (size_t n = 0; n < w->regions[i].postgres.streams[c->region].taken; n++) {
        struct sim_record *rec = &o->wal[n];
        if (rec->kind == SIM_REC_COMMIT && rec->partition == p && rec->epoch == c->epoch &&
            rec->lsn > c->cut && rec->fate[i] == SIM_APPLIED) {
            rec->fate[i] = SIM_PAST;
            w->regions[i].postgres.past[p] = true;
        }
    }
}

/* Filing reads a part of the region's own WAL, and copying may take long; but not longer than a
 * healed world has time. */
static sim_us compare_us(struct sim *w, unsigned i)
{
    struct sim_random *r = &w->regions[i].random;
    const sim_us most = 100000 * SIM_MS;
    sim_us us = sim_chance(r, 400) ? sim_between(r, 10, 1000) : sim_between(r, 1000, 40000);

    us *= SIM_MS * w->scale;
    return us < most ? us : most;
}

static void go_on_comparing(struct sim *w, unsigned i)
{
    struct sim_postgres *pg = &w->regions[i].postgres;
    struct sim_event e = {
        .kind = SIM_COMPARE, .region = (uint8_t)i, .life = w->regions[i].postgres_life};
    bool busy = false;

    for (unsigned p = 0; p < SIM_PARTITIONS_MAX; p++) {
        busy = busy || pg->past[p] || pg->lacks[p];
    }
    if (busy && !pg->compares) {
        pg->compares = true;
        e.at = w->now + compare_us(w, i);
        sim_push(w, &e);
    }
}

/* Cuts that it hears of: how far it was then is written down at once, the rest takes time. */
static void hear_of_cuts(struct sim *w, unsigned i)
{
    const struct mrd_snapshot *s = sim_snapshot(w, i);
    struct sim_postgres *pg = &w->regions[i].postgres;

    for (unsigned p = 0; s != NULL && p < s->partition_count; p++) {
        const struct mrd_authority *a = &s->partitions[p].authority;
        for (unsigned k = 0; pg->noted[p] != a->epoch && k < a->history_count; k++) {
            if (a->history[k].epoch >= pg->noted[p]) {
                note_past(w, i, p, a, k);
            }
        }
        pg->noted[p] = a->epoch;
        pg->compared[p] = pg->past[p] ? pg->compared[p] : a->epoch;
    }
    go_on_comparing(w, i);
}

/* All of it in one transaction. */
static void file_past(struct sim *w, unsigned i, unsigned p)
{
    for (unsigned o = 0; o < w->config->region_count; o++) {
        for (size_t k = 0; k < w->regions[i].postgres.streams[o].taken; k++) {
            const struct sim_record *rec = &w->regions[o].postgres.wal[k];
            if (rec->partition == p && rec->fate[i] == SIM_PAST) {
                file_commit(w, i, o, k);
            }
        }
    }
}

static bool can_copy(const struct sim *w, unsigned i, unsigned p)
{
    const struct mrd_authority *a = &sim_snapshot(w, i)->partitions[p].authority;

    return a->state == MRD_AUTH_OPEN && a->region != i && a->region < w->config->region_count &&
           sim_linked(w, i, a->region) && w->regions[a->region].postgres_up;
}

/* What was past a cut has been filed; next time, the home's rows have come instead. */
static void compare(struct sim *w, unsigned i)
{
    struct sim_postgres *pg = &w->regions[i].postgres;

    pg->compares = false;
    for (unsigned p = 0; sim_snapshot(w, i) != NULL && p < mrd_partition_count(w->config);
         p++) {
        if (pg->past[p]) {
            file_past(w, i, p);
            pg->past[p] = false;
            pg->lacks[p] = true;
            pg->compared[p] = pg->noted[p];
        } else if (pg->lacks[p] && can_copy(w, i, p)) {
            pg->lacks[p] = false;
        }
    }
    go_on_comparing(w, i);
}

static bool holds_copy(const struct sim *w, unsigned i, unsigned partition)
{
    return (sim_class(w, partition)->replicas >> i & 1u) != 0;
}

/* Take the next record of @origin; false when it has to wait. */
static bool take(struct sim *w, unsigned i, unsigned origin)
{
    struct sim_stream *s = &w->regions[i].postgres.streams[origin];
    size_t k = s->taken;
    struct sim_record *rec = &w->regions[origin].postgres.wal[k];
    enum mrd_accept verdict = MRD_ACCEPT;

    if (rec->kind == SIM_REC_HEARTBEAT) {
        s->through_session = rec->session;
        s->through_boot_ms = rec->boot_ms;
    } else if (rec->kind == SIM_REC_REPAIR && holds_copy(w, i, rec->partition)) {
        if (!judge(w, i, origin, rec, &verdict)) {
            return false;
        }
        if (verdict == MRD_ACCEPT) {
            take_repair(w, i, rec);
        }
    } else if (rec->kind == SIM_REC_COMMIT && holds_copy(w, i, rec->partition)) {
        if (!judge(w, i, origin, rec, &verdict)) {
            return false;
        }
        if (verdict == MRD_ACCEPT_GONE) {
            s->gone = true;
            return false;
        }
        s->taken++;
        if (verdict == MRD_ACCEPT) {
            rec->fate[i] = SIM_APPLIED;
        } else {
            file_commit(w, i, origin, k);
        }
        sim_say(w,
                &(struct sim_fact){.kind = SIM_SAYS_TAKEN,
                                   .region = (uint8_t)i,
                                   .peer = (uint8_t)origin,
                                   .partition = w->regions[origin].postgres.wal[k].partition,
                                   .record = k,
                                   .number = verdict == MRD_ACCEPT ? SIM_APPLIED : SIM_TAIL});
        return true;
    }
    s->taken++;
    return true;
}

/* ---- streams ---- */

static void acknowledge(struct sim *w, unsigned i, unsigned origin)
{
    struct sim_event e = {.kind = SIM_ACK,
                          .region = (uint8_t)origin,
                          .peer = (uint8_t)i,
                          .life = w->regions[origin].postgres_life,
                          .a = sim_applied(w, i, origin)};

    if (sim_send(w, i, origin, &e.at)) {
        sim_push(w, &e);
    }
}

static bool run_direct(struct sim *w, unsigned i, unsigned origin)
{
    const struct sim_postgres *o = &w->regions[origin].postgres;
    struct sim_stream *s = &w->regions[i].postgres.streams[origin];
    sim_us trip_us = travel_us(w, i, origin);
    size_t before = s->taken;

    if (!w->regions[origin].postgres_up || !sim_linked(w, i, origin)) {
        return false;
    }
    while (s->taken < o->count) {
        if (o->wal[s->taken].at + trip_us > w->now) {
            announce(w, i, origin);
            break;
        }
        if (!take(w, i, origin)) {
            break;
        }
    }
    if (s->taken > before) {
        acknowledge(w, i, origin);
    }
    return s->taken > before;
}

/* Handed on are the records that counted at @via. What it filed as tail it does not have, and
 * of classes that it does not carry it has nothing: those are passed over. */
static bool run_forward(struct sim *w, unsigned i, unsigned origin, unsigned via)
{
    const struct sim_postgres *o = &w->regions[origin].postgres;
    struct sim_stream *s = &w->regions[i].postgres.streams[origin];
    size_t limit = w->regions[via].postgres.streams[origin].taken, before = s->taken;

    if (!w->regions[via].postgres_up || !sim_linked(w, i, via)) {
        return false;
    }
    while (s->taken < limit && !(o->wal[s->taken].kind == SIM_REC_COMMIT &&
                                 o->wal[s->taken].fate[via] == SIM_TAIL)) {
        const struct sim_record *rec = &o->wal[s->taken];
        if (rec->kind == SIM_REC_COMMIT && !holds_copy(w, via, rec->partition)) {
            s->taken++;
        } else if (!take(w, i, origin)) {
            break;
        }
    }
    return s->taken > before;
}

/* An order to refuse: what the worker has in hand it finishes or drops, then it lets go. */
static void refuse(struct sim *w, unsigned i, unsigned origin)
{
    struct sim_stream *s = &w->regions[i].postgres.streams[origin];

    if (s->refuse_at == 0) {
        s->refuse_at = w->now + sim_below(&w->regions[i].random, OBEY_US) + 1;
    }
}

static bool run_stream(struct sim *w, unsigned i, unsigned origin)
{
    struct sim_stream *s = &w->regions[i].postgres.streams[origin];
    const struct mrd_snapshot *snap = sim_snapshot(w, i);
    const struct mrd_snap_region *order = &snap->regions[origin];

    if (order->stream == MRD_STREAM_REFUSE) {
        refuse(w, i, origin);
        return false;
    }
    s->refuse_at = 0;
    if (s->gone || !mrd_may_apply(snap, sim_boot_ns(w, i))) {
        return false;
    }
    if (order->stream == MRD_STREAM_FORWARD) {
        return order->via < w->config->region_count && run_forward(w, i, origin, order->via);
    }
    return order->stream == MRD_STREAM_RUN && run_direct(w, i, origin);
}

void sim_streams(struct sim *w, unsigned i)
{
    bool moved = true;

    if (w->regions[i].postgres_up) {
        hear_of_cuts(w, i);
    }
    while (moved && w->regions[i].postgres_up && sim_snapshot(w, i) != NULL &&
           w->report->broken == NULL) {
        moved = false;
        for (unsigned o = 0; o < w->config->region_count; o++) {
            if (o != i && !w->config->regions[o].witness) {
                moved = run_stream(w, i, o) || moved;
            }
        }
    }
}

/* ---- transactions ---- */

unsigned sim_in_flight(const struct sim *w, unsigned i, unsigned partition,
                       unsigned *ret_checked)
{
    unsigned n = 0;

    *ret_checked = 0;
    for (unsigned k = 0; k < w->txn_end; k++) {
        const struct sim_txn *t = &w->txns[k];
        if (t->home == i && t->partition == partition &&
            t->life == w->regions[i].postgres_life && !t->cancelled &&
            (t->state == SIM_TXN_BEGUN || t->state == SIM_TXN_CHECKED)) {
            n++;
            *ret_checked += t->state == SIM_TXN_CHECKED;
        }
    }
    return n;
}

void sim_cancel(struct sim *w, unsigned i, unsigned partition)
{
    for (unsigned k = 0; k < w->txn_end; k++) {
        struct sim_txn *t = &w->txns[k];
        if (t->home == i && t->partition == partition && t->state == SIM_TXN_BEGUN) {
            t->cancelled = true;
        }
    }
}

static void again(struct sim *w, const struct sim_event *e, enum sim_event_kind kind,
                  sim_us after_us)
{
    struct sim_event next = *e;

    next.kind = (uint8_t)kind;
    next.at = w->now + after_us;
    sim_push(w, &next);
}

static void begin(struct sim *w, const struct sim_event *e, struct sim_txn *t)
{
    const struct mrd_snapshot *s = sim_snapshot(w, e->region);
    struct mrd_verdict v = mrd_guard(s, t->partition, sim_boot_ns(w, e->region));

    if (!v.allow) {
        t->state = SIM_TXN_FREE;
        return;
    }
    t->state = SIM_TXN_BEGUN;
    t->life = e->life;
    t->epoch = v.epoch;
    again(w, e, SIM_PRECOMMIT, 1 + sim_below(&w->regions[e->region].random, 20 * SIM_MS));
}

static void precommit(struct sim *w, const struct sim_event *e, struct sim_txn *t)
{
    const struct mrd_snapshot *s = sim_snapshot(w, e->region);

    if (t->cancelled ||
        !mrd_guard_commit(s, t->partition, t->epoch, sim_boot_ns(w, e->region)).allow) {
        t->state = SIM_TXN_FREE;
        return;
    }
    t->state = SIM_TXN_CHECKED;
    again(w, e, SIM_COMMIT,
          1 + sim_below(&w->regions[e->region].random, 2000) +
              (w->slip_us[e->region] != 0
                   ? sim_random(&w->regions[e->region].random) % w->slip_us[e->region]
                   : 0));
}

static void acked(struct sim *w, struct sim_txn *t)
{
    w->regions[t->home].postgres.wal[t->record].acked = true;
    w->report->acked++;
    sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_ACKED,
                                  .region = t->home,
                                  .partition = t->partition,
                                  .record = t->record});
    sim_client_answered(w, t);
}

static void commit(struct sim *w, const struct sim_event *e, struct sim_txn *t)
{
    struct sim_region *r = &w->regions[e->region];
    struct sim_record *rec = sim_wal_append(w, e->region, SIM_REC_COMMIT);

    rec->partition = t->partition;
    rec->epoch = t->epoch;
    t->record = r->postgres.count - 1;
    if (r->postgres.first_write_ms[t->partition] == 0) {
        const char *name;
        const struct mrd_conf_class *k = mrd_partition_at(w->config, t->partition, &name);
        sim_tell(w, "%s: the first write of %s/%s there, under epoch %llu",
                 sim_name(w, e->region), k->name, name, (unsigned long long)t->epoch);
        r->postgres.first_write_ms[t->partition] = sim_wall_ms(w, e->region);
    }
    sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_COMMITTED,
                                  .region = e->region,
                                  .partition = t->partition,
                                  .number = t->epoch,
                                  .record = t->record});
    if (sim_class(w, t->partition)->durability == MRD_QUORUM) {
        t->state = SIM_TXN_WAITS;
    } else {
        acked(w, t);
    }
}

/* The wait is over: was it the right thing that ended it? */
static void end_wait(struct sim *w, struct sim_txn *t)
{
    const struct mrd_snapshot *s = sim_snapshot(w, t->home);

    if (s != NULL && s->partitions[t->partition].authority.epoch == t->epoch) {
        acked(w, t);
    } else {
        t->state = SIM_TXN_FREE; /* in doubt: the client's connection is cut */
    }
}

static void on_ack(struct sim *w, const struct sim_event *e)
{
    struct sim_postgres *pg = &w->regions[e->region].postgres;

    if (e->a > pg->acked[e->peer]) {
        pg->acked[e->peer] = e->a;
    }
    for (unsigned k = 0; k < w->txn_end; k++) {
        struct sim_txn *t = &w->txns[k];
        unsigned have = 0;
        if (t->state != SIM_TXN_WAITS || t->home != e->region) {
            continue;
        }
        for (unsigned o = 0; o < w->config->region_count; o++) {
            have += o != e->region && pg->acked[o] >= pg->wal[t->record].lsn;
        }
        if (have >= mrd_config_remote_acks(sim_class(w, t->partition))) {
            end_wait(w, t);
        }
    }
}

void sim_postgres_stop(struct sim *w, unsigned i)
{
    struct sim_postgres *pg = &w->regions[i].postgres;

    for (unsigned k = 0; k < w->txn_end; k++) {
        if (w->txns[k].home == i) {
            w->txns[k].state = SIM_TXN_FREE;
        }
    }
    memset(pg->acked, 0, sizeof(pg->acked));
    pg->compares = false;
    for (unsigned o = 0; o < SIM_REGIONS_MAX; o++) {
        pg->streams[o].next_at = 0;
        pg->streams[o].refuse_at = 0;
    }
}

void sim_postgres_event(struct sim *w, const struct sim_event *e)
{
    struct sim_txn *t = e->a < SIM_TXNS_MAX ? &w->txns[e->a] : NULL;

    switch ((enum sim_event_kind)e->kind) {
    case SIM_STREAM:
        w->regions[e->region].postgres.streams[e->peer].next_at = 0;
        sim_streams(w, e->region);
        break;
    case SIM_ACK:
        on_ack(w, e);
        break;
    case SIM_COMPARE:
        compare(w, e->region);
        break;
    case SIM_BEGIN:
        begin(w, e, t);
        break;
    case SIM_PRECOMMIT:
        precommit(w, e, t);
        break;
    default:
        commit(w, e, t);
        break;
    }
}
