/*
 * PostgreSQL in the small world, modelled: a WAL of stamped commits for each region, clients
 * that write where the guard lets them, and streams that obey the snapshot.
 */
#include "world_parts.h"

mrd_lsn world_wal_end(const struct world_region *r)
{
    return r->wal_count > 0 ? r->wal[r->wal_count - 1].lsn : 100;
}

struct world_commit *world_append(struct world *w, unsigned i, int partition, mrd_epoch epoch)
{
    struct world_region *r = &w->regions[i];
    struct world_commit *c;

    mrd_assert(r->wal_count < WORLD_COMMITS_MAX);
    c = &r->wal[r->wal_count];
    *c = (struct world_commit){.at_ms = w->now_ms,
                               .lsn = world_wal_end(r) + 10,
                               .partition = partition,
                               .epoch = epoch};
    c->fate[i] = 1 + MRD_ACCEPT;
    r->wal_count++;
    return c;
}

static void write_one(struct world *w, unsigned i, int p)
{
    struct world_region *r = &w->regions[i];
    struct mrd_verdict v = mrd_guard(r->snapshot, p, world_clock_ns(w, i));
    struct world_commit *c;

    if (!v.allow || r->wal_count + 64 > WORLD_COMMITS_MAX) {
        return;
    }
    c = world_append(w, i, p, v.epoch);
    if (world_class(w, p)->durability == MRD_ASYNC) {
        c->acked = true;
        w->acked++;
    }
    if (r->first_write_ms[p] == 0) {
        r->first_write_ms[p] = w->now_ms;
    }
}

static void client_writes(struct world *w, unsigned i)
{
    if (w->write_every_ms == 0 || w->now_ms % w->write_every_ms != 0) {
        return;
    }
    for (int p = 0; p < (int)mrd_partition_count(w->config); p++) {
        write_one(w, i, p);
    }
}

mrd_lsn world_applied(const struct world *w, unsigned i, unsigned origin)
{
    unsigned n = w->regions[i].taken[origin];

    return n > 0 ? w->regions[origin].wal[n - 1].lsn : 0;
}

/*
 * A quorum commit is acknowledged once enough replicas hold it, its home still waits, and the
 * home's look after the wait finds the epoch unchanged.
 */
static void acknowledge(struct world *w, unsigned origin, struct world_commit *c)
{
    const struct mrd_conf_class *k;
    unsigned held = 0;

    if (c->partition < 0 || c->acked) {
        return;
    }
    k = world_class(w, c->partition);
    for (unsigned j = 0; j < w->config->region_count; j++) {
        held += j != origin && (k->replicas >> j & 1u) != 0 && c->fate[j] != 0;
    }
    if (k->durability == MRD_QUORUM && held >= mrd_config_remote_acks(k) &&
        w->regions[origin].up &&
        w->regions[origin].snapshot->partitions[c->partition].authority.epoch == c->epoch) {
        c->acked = true;
        w->acked++;
    }
}

/* @direct: from the origin itself, which hears how far we got. */
static void take(struct world *w, unsigned i, unsigned origin, bool direct,
                 struct world_commit *c)
{
    struct world_region *r = &w->regions[i];
    enum mrd_accept verdict = MRD_ACCEPT;

    if (c->partition >= 0) {
        const struct mrd_authority *a = &r->snapshot->partitions[c->partition].authority;
        verdict = mrd_authority_accepts(a, (mrd_region)origin, c->epoch, c->lsn);
    }
    c->fate[i] = (uint8_t)(1 + verdict);
    r->taken[origin]++;
    if (direct && world_passes(w, i, origin)) {
        acknowledge(w, origin, c);
    }
}

static void stream(struct world *w, unsigned i, unsigned origin)
{
    struct world_region *r = &w->regions[i];
    const struct mrd_snap_region *order = &r->snapshot->regions[origin];
    unsigned from = origin, limit = w->regions[origin].wal_count;

    if (order->stream == MRD_STREAM_FORWARD) {
        from = order->via;
        limit = w->regions[from].taken[origin];
    } else if (order->stream != MRD_STREAM_RUN) {
        return;
    }
    if (!world_passes(w, from, i) || !world_passes(w, i, from) ||
        !mrd_may_apply(r->snapshot, world_clock_ns(w, i))) {
        return;
    }
    while (r->taken[origin] < limit) {
        struct world_commit *c = &w->regions[origin].wal[r->taken[origin]];
        if (c->at_ms + w->delay_ms[from][i] > w->now_ms) {
            break;
        }
        take(w, i, origin, from == origin, c);
    }
}

/* What was applied past a cut before we heard of it gives way to the home's rows. */
static void put_aside(struct world *w, unsigned i, unsigned p, const struct mrd_authority *a,
                      unsigned k)
{
    const struct mrd_closed_epoch *h = &a->history[k];

    if (h->region >= w->config->region_count ||
        !mrd_authority_past_cut(a, k, (mrd_region)i, world_applied(w, i, h->region))) {
        return;
    }
    for (unsigned n = 0; n < w->regions[i].taken[h->region]; n++) {
        struct world_commit *c = &w->regions[h->region].wal[n];
        if (c->partition == (int)p && c->epoch == h->epoch && c->lsn > h->cut) {
            c->fate[i] = 1 + MRD_ACCEPT_TAIL;
        }
    }
}

static void compare(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    for (unsigned p = 0; p < r->snapshot->partition_count; p++) {
        const struct mrd_authority *a = &r->snapshot->partitions[p].authority;
        for (unsigned k = 0; r->compared[p] != a->epoch && k < a->history_count; k++) {
            if (a->history[k].epoch >= r->compared[p]) {
                put_aside(w, i, p, a, k);
            }
        }
        r->compared[p] = a->epoch;
    }
}

void world_postgres(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (!r->up || w->config->regions[i].witness || r->snapshot->region_count == 0) {
        return;
    }
    compare(w, i);
    client_writes(w, i);
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (o != i) {
            stream(w, i, o);
        }
    }
}
