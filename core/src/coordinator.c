/*
 * The coordinator (mrd/control.h): memory of when records were applied, and the order in which
 * things are decided.
 *
 * The memory is the only thing about time that enters a decision. A renewal is noted when this
 * agent applied it, which is later than when its holder sent it, so waiting lease + margin from
 * there outlasts the holder's own deadline whoever of the two started counting first. A record
 * that nobody noted (after a restart, or a watcher missed) counts as applied now, which only
 * ever makes us wait longer.
 *
 * The order of priorities: make missing authorities, because nothing else means anything
 * without; end leases, because everything waits for that; then failovers; then moves; then
 * tidying.
 */
#include "decide.h"
#include "mutant.h"

#include <stdio.h>
#include <string.h>

#define RECEIPTS_MAX 512
#define PRUNE 32 /* at a time, so that tidying is rare */

mrd_boot_ns mrdi_age_ns(struct mrd_seen *seen, uint64_t revision, mrd_boot_ns now_ns)
{
    if (seen->revision != revision) {
        seen->revision = revision;
        seen->applied_ns = now_ns;
    }
    return now_ns > seen->applied_ns ? now_ns - seen->applied_ns : 0;
}

mrd_boot_ns mrdi_lease_over_ns(const struct mrd_config *config)
{
    mrd_boot_ns margin_ms = MRDI_MUTANT(SKIP_MARGIN) ? 0 : config->lease_margin_ms;

    return (config->lease_ms + margin_ms) * MRDI_MS;
}

static const char *after(const char *key, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(key, prefix, n) == 0 ? key + n : NULL;
}

/* Index of the partition that "CLASS/PARTITION" names, or -1. */
static int partition_of(const struct mrd_config *config, const char *path)
{
    char class_name[MRD_KEY_MAX];
    const char *slash = strchr(path, '/');

    if (slash == NULL || (size_t)(slash - path) >= sizeof(class_name)) {
        return -1;
    }
    memcpy(class_name, path, (size_t)(slash - path));
    class_name[slash - path] = '\0';
    return mrd_partition_index(config, class_name, slash + 1);
}

void mrd_coordinator_observe(struct mrd_coordinator *c, const struct mrd_config *config,
                             const struct mrd_entry *e, mrd_boot_ns now_ns)
{
    const char *name;
    int i;

    if ((name = after(e->key, "session/")) != NULL) {
        i = mrd_config_region(config, name);
        if (i >= 0) {
            (void)mrdi_age_ns(&c->seen[i], e->revision, now_ns);
        }
    } else if ((name = after(e->key, "failover/")) != NULL) {
        i = mrd_config_region(config, name);
        if (i >= 0) {
            (void)mrdi_age_ns(&c->failovers[i], e->revision, now_ns);
        }
    } else if ((name = after(e->key, "move/")) != NULL) {
        i = partition_of(config, name);
        if (i >= 0) {
            (void)mrdi_age_ns(&c->moves[i], e->revision, now_ns);
        }
    }
}

void mrd_coordinator_lead(struct mrd_coordinator *c, bool leads, mrd_boot_ns now_ns)
{
    if (!leads) {
        c->since_ns = 0;
    } else if (c->since_ns == 0) {
        c->since_ns = now_ns > 0 ? now_ns : 1;
    }
}

/* ---- bootstrap ---- */

static bool seeded(const struct mrd_coordinator *c)
{
    uint8_t any = 0;

    for (size_t i = 0; i < sizeof(c->seed); i++) {
        any |= c->seed[i];
    }
    return any != 0;
}

static void first_authority(struct mrdi_step *s, const struct mrdi_partition *p)
{
    struct mrd_authority_record a = {.epoch = 1, .state = MRD_AUTH_OPEN};
    mrd_region home = mrdi_configured_home(p);

    if (home >= s->config->region_count) {
        return;
    }
    snprintf(a.region, sizeof(a.region), "%s", s->config->regions[home].name);
    mrdi_compare(s->p, 0, "authority/%s/%s", p->class->name, p->name);
    mrdi_put_authority(s->p, p, &a);
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=authority.granted class=%s partition=%s region=%s epoch=1 prev= "
                       "reason=bootstrap",
                       p->class->name, p->name, a.region);
}

static bool bootstrap(struct mrdi_step *s)
{
    unsigned count = mrd_partition_count(s->config);
    struct mrd_entry e;

    if (seeded(s->c) && mrd_store_get(s->store, "secret/token", &e) == MRD_ENOTFOUND) {
        mrdi_compare(s->p, 0, "secret/token");
        mrdi_put_bytes(s->p, "secret/token", s->c->seed, sizeof(s->c->seed));
    }
    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        if (s->v.authorities[i].revision == 0) {
            first_authority(s, &p);
        }
    }
    return s->p->txn.put_count > 0;
}

/* ---- expiry ---- */

/* Since we applied the region's last renewal, by our own clock. */
static mrd_boot_ns silence_ns(struct mrdi_step *s, unsigned i)
{
    const struct mrdi_region_view *r = &s->v.regions[i];

    if (MRDI_MUTANT(WALL_CLOCK)) {
        return (s->wall_ms - r->session->wall_ms) * MRDI_MS;
    }
    return mrdi_age_ns(&s->c->seen[i], r->session_revision, s->now_ns);
}

static bool expire(struct mrdi_step *s)
{
    for (unsigned i = 0; i < s->config->region_count; i++) {
        const struct mrdi_region_view *r = &s->v.regions[i];
        struct mrd_session_record rec;
        if (!mrdi_live(&s->v, i) || silence_ns(s, i) < mrdi_lease_over_ns(s->config)) {
            continue;
        }
        rec = *r->session;
        rec.expired = true;
        rec.expired_ms = s->wall_ms;
        /* The revision stands for the sequence: a renewal in between makes this fail. */
        mrdi_compare(s->p, r->session_revision, "session/%s", mrdi_name(&s->v, i));
        mrdi_put_session(s->p, mrdi_name(&s->v, i), &rec);
        mrd_proposal_event(
            s->p, s->store, s->wall_ms, "event=session.expired region=%s session=%llu seq=%llu",
            mrdi_name(&s->v, i), (unsigned long long)rec.session, (unsigned long long)rec.seq);
        return true;
    }
    return false;
}

/* ---- tidying ---- */

struct oldest {
    size_t count, kept;
    const char *keys[PRUNE]; /* the store's */
};

static int note_oldest(void *ctx, const struct mrd_entry *e)
{
    struct oldest *o = ctx;

    if (o->kept < PRUNE) {
        o->keys[o->kept++] = e->key;
    }
    o->count++;
    return 0;
}

static bool prune(struct mrdi_step *s, const char *prefix, size_t max)
{
    struct oldest o = {0};

    (void)mrd_store_scan(s->store, prefix, note_oldest, &o);
    for (size_t i = 0; o.count >= max + PRUNE && i < o.kept; i++) {
        mrdi_delete(s->p, o.keys[i]);
    }
    return s->p->txn.put_count > 0;
}

void mrd_coordinator_step(struct mrd_coordinator *c, const struct mrd_config *config,
                          const struct mrd_store *store, mrd_boot_ns now_ns,
                          mrd_wall_ms wall_ms, struct mrd_proposal *ret)
{
    struct mrdi_step s = {c, config, store, {0}, now_ns, wall_ms, ret};

    mrdi_begin(ret);
    if (c->since_ns == 0) {
        return;
    }
    mrdi_view_load(&s.v, config, store);
    if (bootstrap(&s) || expire(&s) || mrdi_failover_step(&s) || mrdi_approval_step(&s) ||
        mrdi_move_step(&s) || mrdi_drain_step(&s) || prune(&s, "event/", MRD_EVENTS_MAX) ||
        prune(&s, "receipt/", RECEIPTS_MAX)) {
        mrdi_end(ret);
    }
}
