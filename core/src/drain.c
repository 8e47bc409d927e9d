/*
 * What operators want of a region's traffic: its dial, and whether it is drained.
 *
 *   drain    --> drained: no traffic, no new homes; the coordinator begins a planned move for
 *                each partition that has its home there, the nearest fit region first
 *   undrain  --> as the dial says; nothing moves back by itself
 *
 * The coordinator looks at where homes are, not at what was asked when: a home that comes to a
 * drained region later (a failover left no choice) moves on as well. A move that was aborted is
 * tried again when it has been over for a while.
 */
#include "decide.h"
#include "mutant.h"

#include <stdio.h>
#include <string.h>

#define AGAIN_MS 60000 /* after an aborted move */

/* ---- the coordinator's part ---- */

/* Fit to become the home of @p at once, as far as the store knows. */
static bool fit(struct mrdi_step *s, const struct mrdi_partition *p,
                const struct mrd_authority_record *a, unsigned i)
{
    mrd_regions observers;
    const char *reason, *origin;

    return (p->class->replicas >> i & 1u) != 0 && (p->class->allowed >> i & 1u) != 0 &&
           !mrdi_drained(&s->v, i) && mrdi_live(&s->v, i) && !mrdi_fencing(&s->v, i) &&
           !mrd_lacks(s->v.regions[i].session, p->index) &&
           mrdi_copy_of(&s->v, i, a, MRD_REGION_NONE, &origin) == MRDI_COPY_WHOLE &&
           mrdi_tail_taken(&s->v, i, a, UINT64_MAX) && !mrdi_verdict(s, i, &observers, &reason);
}

/* The configured home if it is fit, else the nearest to @from that is; or -1. */
static int target(struct mrdi_step *s, const struct mrdi_partition *p,
                  const struct mrd_authority_record *a, unsigned from)
{
    mrd_region configured = mrdi_configured_home(p);
    int best = -1;

    if (configured < s->config->region_count && fit(s, p, a, configured)) {
        return configured;
    }
    for (unsigned i = 0; i < s->config->region_count; i++) {
        if (fit(s, p, a, i) && (best < 0 || mrdi_rtt_us(&s->v, from, i) <
                                                mrdi_rtt_us(&s->v, from, (unsigned)best))) {
            best = (int)i;
        }
    }
    return best;
}

/* A move of it is under way, or was aborted a moment ago. */
static bool rests(struct mrdi_step *s, const struct mrdi_partition *p)
{
    struct mrd_move_record m;
    bool ok;
    uint64_t revision = mrdi_move(&s->v, p, &m, &ok);

    return ok && (mrdi_move_active(&m) ||
                  (m.state == MRD_MOVE_ABORTED &&
                   (MRDI_MUTANT(DRAIN_ONCE) || mrdi_age_ns(&s->c->moves[p->index], revision,
                                                           s->now_ns) < AGAIN_MS * MRDI_MS)));
}

static bool move_away(struct mrdi_step *s, const struct mrdi_partition *p)
{
    struct mrd_authority_record a;
    char who[MRD_NAME_MAX + 16];
    bool ok;
    int from, to;

    (void)mrdi_authority(&s->v, p, &a, &ok);
    from = ok && a.state == MRD_AUTH_OPEN ? mrd_config_region(s->config, a.region) : -1;
    if (from < 0 || !mrdi_drained(&s->v, (unsigned)from) || rests(s, p)) {
        return false;
    }
    to = target(s, p, &a, (unsigned)from);
    if (to < 0) {
        return false;
    }
    snprintf(who, sizeof(who), "drain by %s", s->v.regions[from].dial.by);
    return mrd_move_request(s->config, s->store, p->class->name, p->name,
                            mrdi_name(&s->v, (unsigned)to), who, s->wall_ms, s->p, NULL) == 0;
}

bool mrdi_drain_step(struct mrdi_step *s)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        if (move_away(s, &p)) {
            return true;
        }
    }
    return false;
}

/* ---- the requests ---- */

/* Its index, or an error with hint. */
static int find(const struct mrd_config *c, const char *region, struct mrd_err *err)
{
    int i = mrd_config_region(c, region);

    if (i < 0) {
        mrd_err_set(err, MRD_ENOTFOUND, "there is no region \"%s\"", region);
        mrd_err_hint(err, "List the regions with: meridian regions.");
        return MRD_ENOTFOUND;
    }
    if (c->regions[i].witness) {
        mrd_err_set(err, MRD_EINVAL, "region \"%s\" is a witness: it serves nobody", region);
        mrd_err_hint(err, "Choose a region that holds data.");
        return MRD_EINVAL;
    }
    return i;
}

/* Another region could serve while @i does not. */
static bool others(const struct mrdi_view *v, unsigned i)
{
    for (unsigned k = 0; k < v->config->region_count; k++) {
        if (k != i && !v->config->regions[k].witness && mrdi_live(v, k) &&
            !mrdi_drained(v, k)) {
            return true;
        }
    }
    return false;
}

static int check_drain(const struct mrdi_view *v, unsigned i, bool drained, struct mrd_err *err)
{
    if (mrdi_drained(v, i) == drained) {
        mrd_err_set(err, MRD_ECONFLICT, "region \"%s\" is %s", mrdi_name(v, i),
                    drained ? "drained already" : "not drained");
        mrd_err_hint(err,
                     drained ? "Follow it with: meridian moves." : "There is nothing to do.");
        return MRD_ECONFLICT;
    }
    if (drained && !others(v, i)) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "no other region could serve instead of \"%s\"",
                    mrdi_name(v, i));
        mrd_err_hint(err, "Every other one is down or drained; see: meridian regions.");
        return MRD_EUNAVAILABLE;
    }
    return 0;
}

static void put(const struct mrdi_view *v, unsigned i, const struct mrd_dial_record *r,
                struct mrd_proposal *ret)
{
    mrdi_compare(ret, v->regions[i].dial_revision, "dial/%s", mrdi_name(v, i));
    mrdi_put_dial(ret, mrdi_name(v, i), r);
}

int mrd_dial_request(const struct mrd_config *config, const struct mrd_store *store,
                     const char *region, unsigned percent, const char *who, mrd_wall_ms wall_ms,
                     struct mrd_proposal *ret, struct mrd_err *err)
{
    struct mrd_dial_record r = {.percent = (uint8_t)percent, .at_ms = wall_ms};
    int i = find(config, region, err);
    struct mrdi_view v;

    mrdi_begin(ret);
    if (i < 0) {
        return i;
    }
    mrdi_view_load(&v, config, store);
    if (percent > 100) {
        mrd_err_set(err, MRD_EINVAL, "a dial goes from 0 to 100 percent");
        return MRD_EINVAL;
    }
    if (mrdi_drained(&v, (unsigned)i)) {
        mrd_err_set(err, MRD_ECONFLICT, "region \"%s\" is drained", region);
        mrd_err_hint(err, "First: meridian undrain %s.", region);
        return MRD_ECONFLICT;
    }
    snprintf(r.by, sizeof(r.by), "%s", who);
    put(&v, (unsigned)i, &r, ret);
    mrd_proposal_event(ret, store, wall_ms,
                       "event=region.dialled region=%s percent=%u who=\"%s\"", region, percent,
                       who);
    mrdi_end(ret);
    return 0;
}

int mrd_drain_request(const struct mrd_config *config, const struct mrd_store *store,
                      const char *region, bool drained, const char *who, mrd_wall_ms wall_ms,
                      struct mrd_proposal *ret, struct mrd_err *err)
{
    int i = find(config, region, err), rc;
    struct mrd_dial_record r;
    struct mrdi_view v;

    mrdi_begin(ret);
    if (i < 0) {
        return i;
    }
    mrdi_view_load(&v, config, store);
    rc = check_drain(&v, (unsigned)i, drained, err);
    if (rc != 0) {
        return rc;
    }
    r = v.regions[i].dial;
    r.drained = drained;
    r.at_ms = wall_ms;
    snprintf(r.by, sizeof(r.by), "%s", who);
    put(&v, (unsigned)i, &r, ret);
    mrd_proposal_event(ret, store, wall_ms, "event=region.%s region=%s who=\"%s\"",
                       drained ? "drained" : "undrained", region, who);
    mrdi_end(ret);
    return 0;
}
