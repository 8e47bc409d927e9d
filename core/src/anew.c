/*
 * A region that lost all it had, and begins another life under its name.
 *
 * Its disk is gone: database, store and all. A new machine takes its name. What others remember
 * of it belongs to the life before: positions in its WAL, cuts, sessions. Three things keep the
 * lives apart.
 *
 * The record anew/REGION says how many sessions the life before had, and where the WAL of the
 * new one begins: beyond every position of the old one that anybody can remember, with a margin
 * for what nobody saw. So every comparison of positions stays true: what the old life wrote
 * lies before every cut and every position of the new one, without anything being rewritten.
 *
 * The first session of the new life waits until nothing names the region as home, because it
 * would serve an empty database; and until whatever it was ever home of has a home that is
 * open, since others may still be handing on what the old life wrote. Meanwhile nothing holds
 * up a failover: the region is as absent as it was.
 *
 * From its first session on, others whose position is of the old life begin its stream again,
 * and receipts that waited for its lost tail become final: what of the tail had not left that
 * disk is gone, and how much it was nobody can know.
 */
#include "view.h"

#include <stdio.h>
#include <string.h>

#define AGAIN_MS 10000 /* between two lives of a region that mad or broken software draws */
#define MARGIN_BITS 40 /* the new WAL begins one to two TiB beyond what is known of the old */

/* ---- the furthest that the life before is known to have come ---- */

struct furthest {
    const char *region;
    mrd_lsn lsn;
};

static void reach(struct furthest *f, mrd_lsn lsn)
{
    if (lsn != UINT64_MAX && lsn > f->lsn) {
        f->lsn = lsn;
    }
}

static int scan_session(void *ctx, const struct mrd_entry *e)
{
    struct furthest *f = ctx;
    struct mrd_session_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_session_record_decode(&b, &r) != 0) {
        return 0;
    }
    if (mrdi_same(e->key + strlen("session/"), f->region)) {
        reach(f, r.wal_lsn);
        reach(f, r.opened_lsn);
    }
    const struct mrd_peer_report *p = mrdi_peer(&r, f->region);
    if (p != NULL) {
        reach(f, p->applied_lsn);
        reach(f, p->catch_up_lsn);
    }
    return 0;
}

static int scan_authority(void *ctx, const struct mrd_entry *e)
{
    struct furthest *f = ctx;
    struct mrd_authority_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_authority_record_decode(&b, &r) != 0) {
        return 0;
    }
    for (unsigned i = 0; i < r.history_count; i++) {
        if (mrdi_same(r.history[i].region, f->region)) {
            reach(f, r.history[i].cut);
        }
    }
    return 0;
}

static int scan_fence(void *ctx, const struct mrd_entry *e)
{
    struct furthest *f = ctx;
    struct mrd_fence_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_fence_record_decode(&b, &r) == 0) {
        reach(f, r.applied_lsn);
    }
    return 0;
}

static int scan_move(void *ctx, const struct mrd_entry *e)
{
    struct furthest *f = ctx;
    struct mrd_move_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_move_record_decode(&b, &r) == 0 && mrdi_same(r.from, f->region)) {
        reach(f, r.final_lsn);
    }
    return 0;
}

static mrd_lsn furthest_known(const struct mrd_store *store, const char *region)
{
    struct furthest f = {region, 0};
    char prefix[MRD_KEY_MAX];

    snprintf(prefix, sizeof(prefix), "fence/%s/", region);
    mrd_store_scan(store, "session/", scan_session, &f);
    mrd_store_scan(store, "authority/", scan_authority, &f);
    mrd_store_scan(store, prefix, scan_fence, &f);
    mrd_store_scan(store, "move/", scan_move, &f);
    return f.lsn;
}

/* ---- its record ---- */

void mrd_anew_request(const struct mrd_config *config, const struct mrd_store *store,
                      mrd_region region, uint64_t life, mrd_wall_ms wall_ms,
                      struct mrd_proposal *ret)
{
    struct mrdi_view v;
    struct mrd_anew_record r;
    bool ok;

    mrdi_begin(ret);
    mrdi_view_load(&v, config, store);
    const char *name = mrdi_name(&v, region);
    const struct mrdi_region_view *own = &v.regions[region];
    uint64_t revision = mrdi_anew(&v, region, &r, &ok);
    if (mrd_anew_life(config, store, region, life, wall_ms) != MRD_LIFE_NEW) {
        return;
    }
    mrd_lsn known = furthest_known(store, name);
    if (ok && r.begins > known) {
        known = r.begins;
    }
    r = (struct mrd_anew_record){.life = life,
                                 .session = own->has_session ? own->session->session : 0,
                                 .begins = ((known >> MARGIN_BITS) + 2) << MARGIN_BITS,
                                 .at_ms = wall_ms};
    mrdi_compare(ret, revision, "anew/%s", name);
    mrdi_compare(ret, own->session_revision, "session/%s", name);
    mrdi_put_anew(ret, name, &r);
    mrd_proposal_event(
        ret, store, wall_ms, "event=region.anew region=%s session=%llu begins=%X/%X", name,
        (unsigned long long)r.session, (unsigned)(r.begins >> 32), (unsigned)r.begins);
    mrdi_end(ret);
}

enum mrd_life mrd_anew_life(const struct mrd_config *config, const struct mrd_store *store,
                            mrd_region region, uint64_t life, mrd_wall_ms wall_ms)
{
    struct mrdi_view v;
    struct mrd_anew_record r;
    bool ok;

    mrdi_view_load(&v, config, store);
    const struct mrdi_region_view *own = &v.regions[region];
    uint64_t revision = mrdi_anew(&v, region, &r, &ok);
    if (ok && r.life == life) {
        return MRD_LIFE_KNOWN;
    }
    /* Nothing is written over that we cannot read. */
    if (life == 0 || (revision != 0 && !ok) || mrdi_live(&v, region) ||
        (own->session_revision != 0 && !own->has_session)) {
        return MRD_LIFE_EARLY;
    }
    return ok && wall_ms >= r.at_ms && wall_ms - r.at_ms < AGAIN_MS ? MRD_LIFE_EARLY
                                                                    : MRD_LIFE_NEW;
}

/* Made anew, and no session of that life was opened yet. */
static bool unborn(const struct mrdi_view *v, unsigned region)
{
    const struct mrdi_region_view *own = &v->regions[region];
    struct mrd_anew_record r;
    bool ok;

    (void)mrdi_anew(v, region, &r, &ok);
    return ok && (!own->has_session || own->session->session <= r.session);
}

enum mrd_data mrd_anew_data(const struct mrd_config *config, const struct mrd_store *store,
                            mrd_region region, mrd_lsn *ret_begins)
{
    struct mrdi_view v;
    struct mrd_anew_record r;
    bool ok;

    mrdi_view_load(&v, config, store);
    (void)mrdi_anew(&v, region, &r, &ok);
    if (unborn(&v, region)) {
        *ret_begins = r.begins;
        return MRD_DATA_ANEW;
    }
    return v.regions[region].session_revision == 0 ? MRD_DATA_FIRST : MRD_DATA_LOST;
}

/* ---- the first session ---- */

/* No other region was ever to have the partition, or all that were lost their disks as well. */
static bool nobody_has(const struct mrdi_view *v, const struct mrdi_partition *p,
                       unsigned region)
{
    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (b != region && (p->class->replicas >> b & 1u) != 0 && !unborn(v, b)) {
            return false;
        }
    }
    return true;
}

static bool was_home(const struct mrd_authority_record *a, const char *region)
{
    for (unsigned i = 0; i < a->history_count; i++) {
        if (mrdi_same(a->history[i].region, region)) {
            return true;
        }
    }
    return false;
}

/*
 * Why the partition forbids the region a first session, or NULL. However many homes followed
 * it: until the last of them is open, what the region wrote may still be on its way there from
 * others, and those would begin its stream again and forget how much they have of it.
 */
static const char *held_up_by(const struct mrdi_view *v, const struct mrdi_partition *p,
                              unsigned region)
{
    const char *name = mrdi_name(v, region);
    struct mrd_authority_record a;
    bool ok;

    mrdi_authority(v, p, &a, &ok);
    /* What nobody has is gone: there is nothing to wait for. */
    if (!ok || nobody_has(v, p, region)) {
        return NULL;
    }
    if (mrdi_same(a.state == MRD_AUTH_VACANT ? a.last_region : a.region, name)) {
        return "it is still named as home, and has nothing of what it was home of";
    }
    if (!was_home(&a, name)) {
        return NULL;
    }
    if (a.state == MRD_AUTH_VACANT) {
        return "what it was home of has no home now, and may need what it wrote";
    }
    return mrdi_unopened(v, &a) ? "a home that took over from it is not open yet" : NULL;
}

const char *mrdi_unborn_why(const struct mrdi_view *v, unsigned region, mrd_lsn wal_lsn)
{
    struct mrd_anew_record own;
    bool ok;

    if (!unborn(v, region)) {
        return NULL;
    }
    (void)mrdi_anew(v, region, &own, &ok);
    if (!v->config->regions[region].witness && wal_lsn == 0) {
        return "its PostgreSQL does not run yet";
    }
    if (!v->config->regions[region].witness && wal_lsn < own.begins) {
        return "its WAL must begin beyond that of its life before; see `meridian anew --help`";
    }
    for (unsigned i = 0; i < mrd_partition_count(v->config); i++) {
        struct mrdi_partition p = mrdi_partition(v, i);
        const char *why = held_up_by(v, &p, region);
        if (why != NULL) {
            return why;
        }
    }
    return NULL;
}

const char *mrd_anew_why(const struct mrd_config *config, const struct mrd_store *store,
                         mrd_region region, mrd_lsn wal_lsn)
{
    struct mrdi_view v;

    mrdi_view_load(&v, config, store);
    return mrdi_unborn_why(&v, region, wal_lsn);
}

/* ---- what the others make of it ---- */

bool mrd_anew_stream(const struct mrd_config *config, const struct mrd_store *store,
                     const struct mrd_local *local, mrd_region origin, mrd_lsn *ret_begins)
{
    struct mrdi_view v;
    struct mrd_anew_record r;
    bool ok;

    mrdi_view_load(&v, config, store);
    (void)mrdi_anew(&v, origin, &r, &ok);
    const struct mrd_peer_report *mine = mrdi_peer(&local->report, mrdi_name(&v, origin));
    if (!ok || mine == NULL || mine->applied_lsn == 0 || mine->applied_lsn >= r.begins ||
        !mrdi_returned(&v, origin) || mrdi_fencing(&v, origin) || unborn(&v, origin)) {
        return false;
    }
    *ret_begins = r.begins;
    return true;
}

bool mrdi_life_ended(const struct mrdi_view *v, const char *region, mrd_lsn lsn)
{
    int i = mrd_config_region(v->config, region);
    struct mrd_anew_record r = {0};
    bool ok = false;

    if (i >= 0) {
        (void)mrdi_anew(v, (unsigned)i, &r, &ok);
    }
    return ok && lsn < r.begins;
}
