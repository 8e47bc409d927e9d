/*
 * The region's snapshot (mrd/control.h, mrd_region_snapshot): everything the data path needs to
 * know, worked out from the store, the configuration and what was measured.
 *
 * Two things are published together on purpose: the lease deadline, and what the store said
 * when the lease was extended. A region that still lives while it is being replaced therefore
 * never shows a longer lease without also showing that its partitions are closed.
 */
#include "view.h"

#include <stdlib.h>
#include <string.h>

/* ---- regions: static parts ---- */

/* "10.77.1.1" as four bytes; anything else leaves zeroes. */
static void parse_v4(const char *text, uint8_t ret[4])
{
    uint8_t out[4] = {0};

    for (unsigned i = 0; i < 4; i++) {
        unsigned n = 0, digits = 0;
        while (*text >= '0' && *text <= '9' && digits < 3) {
            n = n * 10 + (unsigned)(*text++ - '0');
            digits++;
        }
        if (digits == 0 || n > 255 || (i < 3 && *text++ != '.')) {
            return;
        }
        out[i] = (uint8_t)n;
    }
    if (*text == '\0') {
        memcpy(ret, out, 4);
    }
}

static void copy_configured(const struct mrd_conf_region *c, struct mrd_snap_region *ret)
{
    memcpy(ret->name, c->name, sizeof(ret->name));
    memcpy(ret->country, c->country, sizeof(ret->country));
    memcpy(ret->continent, c->continent, sizeof(ret->continent));
    ret->witness = c->witness;
    ret->has_v4 = c->v4_count;
    ret->has_v6 = c->v6_count;
    memcpy(ret->v4, c->v4, sizeof(ret->v4));
    memcpy(ret->v6, c->v6, sizeof(ret->v6));
    parse_v4(c->edge_host, ret->edge_v4);
    ret->edge_port = c->edge_port;
    ret->weight = c->weight;
    ret->network_count = c->network_count;
    memcpy(ret->networks, c->networks, c->network_count * sizeof(c->networks[0]));
}

/* ---- ranks ---- */

/* Cosine for |x| <= pi/2 to four digits: enough to order regions, and no libm. */
static double cosine(double x)
{
    double q = x * x;

    return 1 - q / 2 + q * q / 24 - q * q * q / 720;
}

static double absolute(double x)
{
    return x < 0 ? -x : x;
}

/* Distance on a flat map around the mean latitude, in degrees; negative when not known. */
static double distance(const struct mrd_conf_region *a, const struct mrd_conf_region *b)
{
    double dx, dy, mean;

    /* NAN is not equal to itself. */
    if (a->latitude != a->latitude || a->longitude != a->longitude ||
        b->latitude != b->latitude || b->longitude != b->longitude) {
        return -1;
    }
    dx = absolute(a->longitude - b->longitude);
    dx = dx > 180 ? 360 - dx : dx;
    dy = absolute(a->latitude - b->latitude);
    mean = (a->latitude + b->latitude) / 2 * (3.14159265358979 / 180);
    dx *= cosine(mean);
    return dx * dx + dy * dy;
}

/* Is @a nearer to @from than @b? Measured beats known on the map beats configured order. */
static bool nearer(const struct mrdi_view *v, const uint32_t rtt_us[MRD_REGIONS_MAX],
                   unsigned from, unsigned a, unsigned b)
{
    const struct mrd_conf_region *r = v->config->regions;
    uint32_t rtt_a = rtt_us[a], rtt_b = rtt_us[b];
    double far_a, far_b;

    if (rtt_a != UINT32_MAX && rtt_b != UINT32_MAX) {
        return rtt_a != rtt_b ? rtt_a < rtt_b : a < b;
    }
    far_a = distance(&r[from], &r[a]);
    far_b = distance(&r[from], &r[b]);
    if (far_a >= 0 && far_b >= 0 && (far_a < far_b || far_b < far_a)) {
        return far_a < far_b;
    }
    return a < b;
}

/* All regions as seen from @from, itself first. An insertion sort of at most sixteen. */
static void rank(const struct mrdi_view *v, unsigned from, uint8_t ret[MRD_REGIONS_MAX])
{
    uint32_t rtt_us[MRD_REGIONS_MAX];
    unsigned n = 1;

    ret[0] = (uint8_t)from;
    for (unsigned i = 0; i < v->config->region_count; i++) {
        unsigned at = n;
        if (i == from) {
            continue;
        }
        rtt_us[i] = mrdi_rtt_us(v, from, i);
        while (at > 1 && nearer(v, rtt_us, from, i, ret[at - 1])) {
            ret[at] = ret[at - 1];
            at--;
        }
        ret[at] = (uint8_t)i;
        n++;
    }
}

/* ---- streams ---- */

static bool share_class(const struct mrd_config *c, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < c->class_count; i++) {
        if ((c->classes[i].replicas >> a & 1u) != 0 &&
            (c->classes[i].replicas >> b & 1u) != 0) {
            return true;
        }
    }
    return false;
}

/* The furthest cut of @origin that concerns us, and the present home of that partition. */
static mrd_lsn furthest_cut(const struct mrdi_view *v, unsigned self, unsigned origin,
                            int *ret_home)
{
    unsigned count = mrd_partition_count(v->config);
    mrd_lsn cut = 0;

    *ret_home = -1;
    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(v, i);
        const struct mrd_authority_record *a = v->authorities[i].record;
        if ((p.class->replicas >> self & 1u) == 0) {
            continue;
        }
        for (unsigned k = 0; a != NULL && k < a->history_count; k++) {
            if (a->history[k].cut > cut &&
                mrdi_same(a->history[k].region, mrdi_name(v, origin))) {
                cut = a->history[k].cut;
                *ret_home = mrd_config_region(v->config, a->region);
            }
        }
    }
    return cut;
}

/*
 * Who can hand over what we lack of @origin: the new home if it has all of it, else anybody who
 * has, else whoever has most; or -1.
 */
static int rescuer(const struct mrdi_view *v, unsigned self, unsigned origin, mrd_lsn have,
                   mrd_lsn cut, int home)
{
    mrd_lsn most = have;
    int best = -1;

    if (home >= 0 && mrdi_hands_on(v, (unsigned)home, self, origin) &&
        mrdi_holds(v, (unsigned)home, origin, cut)) {
        return home;
    }
    for (unsigned i = 0; i < v->config->region_count; i++) {
        if (!mrdi_hands_on(v, i, self, origin)) {
            continue;
        }
        if (mrdi_holds(v, i, origin, cut)) {
            return (int)i;
        }
        if (mrdi_holds(v, i, origin, most + 1)) {
            most = mrdi_applied(v, i, origin);
            best = (int)i;
        }
    }
    return best;
}

/* Our own refusal is written down for the present failover of @origin. */
static bool refusal_recorded(const struct mrdi_view *v, unsigned self, unsigned origin)
{
    struct mrd_fence_record f;
    bool ok;

    (void)mrdi_fence(v, origin, self, &f, &ok);
    return ok && f.failover_id == v->regions[origin].failover->id;
}

/*
 * Fenced, or gone and not yet back with the knowledge of how that ended: closed. What we lack
 * before a cut comes from others then, but not before our own refusal is on record. Otherwise
 * the stream runs, from a dead origin as well: it costs nothing to try.
 */
static void order_stream(const struct mrdi_view *v, unsigned self, unsigned origin,
                         struct mrd_snap_region *ret)
{
    bool fencing = mrdi_fencing(v, origin), closed = fencing || !mrdi_returned(v, origin);
    mrd_lsn cut;
    int home, via;

    ret->via = MRD_REGION_NONE;
    ret->stream = MRD_STREAM_NONE;
    if (origin == self || !share_class(v->config, self, origin)) {
        return;
    }
    ret->stream = fencing || mrdi_shut_out(v, origin) ? MRD_STREAM_REFUSE : MRD_STREAM_RUN;
    if (!closed || (fencing && !refusal_recorded(v, self, origin))) {
        return;
    }
    cut = furthest_cut(v, self, origin, &home);
    /* Who never had its stream copies what it wrote from a later home. */
    via = ret->applied_lsn > 0 && ret->applied_lsn < cut
              ? rescuer(v, self, origin, ret->applied_lsn, cut, home)
              : -1;
    if (via >= 0) {
        ret->stream = MRD_STREAM_FORWARD;
        ret->via = (mrd_region)via;
    }
}

/* ---- putting it together ---- */

static void fill_region(const struct mrdi_view *v, const struct mrd_local *local, unsigned self,
                        unsigned i, struct mrd_snap_region *ret)
{
    const struct mrd_peer_report *mine = mrdi_peer(&local->report, mrdi_name(v, i));

    copy_configured(&v->config->regions[i], ret);
    ret->alive = mrdi_live(v, i);
    ret->session = v->regions[i].has_session ? v->regions[i].session->session : 0;
    if ((v->known->has_rank >> i & 1u) == 0) {
        rank(v, i, v->known->rank[i]);
        v->known->has_rank |= (mrd_regions)(1u << i);
    }
    memcpy(ret->rank, v->known->rank[i], sizeof(ret->rank));
    if (i == self) {
        ret->applied_lsn = local->report.wal_lsn;
        ret->applied_session = ret->session;
        ret->applied_boot_ms = local->report.boot_ms;
    } else if (mine != NULL) {
        ret->rtt_us = mine->rtt_us;
        ret->applied_lsn = mine->applied_lsn;
        ret->applied_session = mine->applied_session;
        ret->applied_boot_ms = mine->applied_boot_ms;
        ret->lag_bytes = mine->lag_bytes;
    }
    order_stream(v, self, i, ret);
}

static void fill_regions(const struct mrdi_view *v, const struct mrd_local *local,
                         unsigned self, struct mrd_snapshot *ret)
{
    enum mrd_health health[MRD_REGIONS_MAX];
    bool edge_lost[MRD_REGIONS_MAX];

    mrdi_health(v, health, edge_lost);
    ret->region_count = v->config->region_count;
    for (unsigned i = 0; i < ret->region_count; i++) {
        fill_region(v, local, self, i, &ret->regions[i]);
        ret->regions[i].health = (uint8_t)health[i];
        ret->regions[i].dial_percent =
            v->config->regions[i].witness || edge_lost[i] || mrdi_drained(v, i)
                ? 0
                : v->regions[i].dial.percent;
    }
}

static void fill_classes(const struct mrd_config *c, struct mrd_snapshot *ret)
{
    uint16_t first = 0;

    ret->class_count = c->class_count;
    for (unsigned i = 0; i < c->class_count; i++) {
        const struct mrd_conf_class *from = &c->classes[i];
        struct mrd_snap_class *to = &ret->classes[i];
        memcpy(to->name, from->name, sizeof(to->name));
        to->posture = (uint8_t)from->posture;
        to->durability = (uint8_t)from->durability;
        to->remote_acks = (uint8_t)mrd_config_remote_acks(from);
        to->replicas = from->replicas;
        to->allowed = from->allowed;
        to->first = first;
        to->count = from->posture == MRD_PARTITIONED ? from->partition_count : 1;
        first = (uint16_t)(first + to->count);
    }
}

static mrd_region region_index(const struct mrdi_view *v, const char *name)
{
    int i = mrd_config_region(v->config, name);

    return i >= 0 ? (mrd_region)i : MRD_REGION_NONE;
}

static void copy_authority(const struct mrdi_view *v, const struct mrd_authority_record *a,
                           struct mrd_authority *ret)
{
    bool vacant = a->state == MRD_AUTH_VACANT;

    ret->region = region_index(v, vacant ? a->last_region : a->region);
    ret->epoch = a->epoch;
    ret->state = (enum mrd_authority_state)a->state;
    ret->history_count = a->history_count;
    for (unsigned i = 0; i < a->history_count; i++) {
        ret->history[i] = (struct mrd_closed_epoch){
            .epoch = a->history[i].epoch,
            .region = region_index(v, a->history[i].region),
            .cut = a->history[i].cut,
            .cut_session = a->history[i].cut_session,
            .cut_boot_ms = a->history[i].cut_boot_ms,
            .unfenced = a->history[i].unfenced,
        };
    }
}

/* As the store has it, and closed while the home is being replaced, held back or not ready. */
static void fill_authority(const struct mrdi_view *v, const struct mrd_local *local,
                           unsigned self, const struct mrdi_partition *p,
                           struct mrd_authority *ret)
{
    const struct mrd_authority_record *a = v->authorities[p->index].record;

    if (a == NULL) {
        ret->region = MRD_REGION_NONE;
        ret->state = MRD_AUTH_VACANT;
        return;
    }
    copy_authority(v, a, ret);
    if (ret->region == MRD_REGION_NONE) {
        ret->state = MRD_AUTH_VACANT;
    } else if (mrdi_fencing(v, ret->region) || mrdi_held(a) ||
               (ret->region == self && ret->state == MRD_AUTH_OPEN &&
                (local->opened_epoch[p->index] < a->epoch ||
                 !mrdi_caught_up(v, local, self, a)))) {
        ret->state = MRD_AUTH_FENCING;
    }
}

static void fill_partitions(const struct mrdi_view *v, const struct mrd_local *local,
                            unsigned self, struct mrd_snapshot *ret)
{
    ret->partition_count = (uint16_t)mrd_partition_count(v->config);
    for (unsigned i = 0; i < ret->partition_count; i++) {
        struct mrdi_partition p = mrdi_partition(v, i);
        ret->partitions[i].class_index = (uint8_t)(p.class - v->config->classes);
        memcpy(ret->partitions[i].name, p.name, strlen(p.name) + 1);
        fill_authority(v, local, self, &p, &ret->partitions[i].authority);
    }
}

static void fill_token_key(const struct mrd_store *store, uint8_t ret[32])
{
    struct mrd_entry e;

    if (mrd_store_get(store, "secret/token", &e) == 0 && e.len == 32) {
        memcpy(ret, e.value, 32);
    }
}

/* What lies behind the used regions, classes and partitions is nobody's. */
static void wipe(const struct mrd_config *config, struct mrd_snapshot *ret)
{
    memset(ret, 0, offsetof(struct mrd_snapshot, regions));
    memset(ret->regions, 0, config->region_count * sizeof(ret->regions[0]));
    memset(ret->classes, 0, config->class_count * sizeof(ret->classes[0]));
    memset(ret->partitions, 0, mrd_partition_count(config) * sizeof(ret->partitions[0]));
}

void mrd_region_snapshot(const struct mrd_region_state *r, const struct mrd_config *config,
                         const struct mrd_store *store, const struct mrd_local *local,
                         mrd_boot_ns now_ns, mrd_wall_ms wall_ms, struct mrd_snapshot *ret)
{
    struct mrdi_view v;

    mrdi_view_load(&v, config, store);
    wipe(config, ret);
    ret->published_ns = now_ns;
    ret->published_ms = wall_ms;
    ret->config_version = config->version;
    ret->self = r->self;
    ret->session = r->session;
    ret->lease_deadline_ns = r->session != 0 ? r->deadline_ns : 0;
    ret->commit_margin_ms = config->commit_margin_ms;
    ret->stale_after_ms = config->stale_after_ms;
    ret->dns_ttl_s = config->dns_ttl_s;
    fill_token_key(store, ret->token_key);
    fill_regions(&v, local, r->self, ret);
    fill_classes(config, ret);
    fill_partitions(&v, local, r->self, ret);
}
