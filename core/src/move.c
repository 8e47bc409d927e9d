/*
 * Planned moves: the request, and the coordinator's care that none hangs.
 *
 *   request --> WAIT:   only if the target lost writes in a failover that are not repaired
 * there yet (mrdi_tail_taken); a frozen home could not repair them. A target that is being
 * compared is refused: its copy may take hours (mrdi_uncompared)
 *           --> FREEZE: the authority is frozen; the home drains what is in flight
 *   home    --> FROZEN: nothing is in flight, the final position is known
 *   target  --> DONE: it has applied the final position, and grants itself the next epoch
 *
 * The target grants, because it is the first to know that it has everything: that saves the
 * clients who wait a round trip. All three steps compare the move and the authority, so the
 * coordinator can end a move at any point in between, which simply thaws the home.
 */
#include "decide.h"

#include <stdio.h>
#include <string.h>

#define MOVE_BOUND_MS 30000

/* Note in the receipt how the move ended. */
static void close_receipt(struct mrdi_step *s, uint64_t id, const char *note)
{
    struct mrd_receipt_record r;
    bool ok;
    uint64_t revision = mrdi_receipt(&s->v, id, &r, &ok);

    if (ok) {
        snprintf(r.note, sizeof(r.note), "aborted: %.110s", note);
        mrdi_compare(s->p, revision, "receipt/%016llx", (unsigned long long)id);
        mrdi_put_receipt(s->p, &r);
    }
}

void mrdi_move_abort(struct mrdi_step *s, const struct mrdi_partition *at,
                     const struct mrd_move_record *m, uint64_t revision, const char *why)
{
    struct mrd_move_record ended = *m;

    ended.state = MRD_MOVE_ABORTED;
    snprintf(ended.why, sizeof(ended.why), "%s", why);
    mrdi_compare(s->p, revision, "move/%s/%s", at->class->name, at->name);
    mrdi_put_move(s->p, at, &ended);
    close_receipt(s, m->id, why);
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=move.aborted class=%s partition=%s from=%s to=%s why=\"%s\"",
                       at->class->name, at->name, m->from, m->to, why);
}

/* ---- the coordinator's part ---- */

/* Live, and no verdict stands against it: clients of a frozen partition wait meanwhile. */
static bool well(struct mrdi_step *s, const char *name)
{
    int i = mrd_config_region(s->config, name);
    mrd_regions observers;
    const char *reason;

    return i >= 0 && mrdi_live(&s->v, (unsigned)i) && !mrdi_fencing(&s->v, (unsigned)i) &&
           !mrdi_verdict(s, (unsigned)i, &observers, &reason);
}

/* Why this move cannot go on, or NULL. */
static const char *stuck(struct mrdi_step *s, const struct mrd_move_record *m, unsigned index,
                         uint64_t revision)
{
    if (!well(s, m->to)) {
        return "the target is down";
    }
    if (!well(s, m->from)) {
        return "the home is down";
    }
    /* Counted from the move's last change: each of its steps gets the whole bound. */
    if (mrdi_age_ns(&s->c->moves[index], revision, s->now_ns) > MOVE_BOUND_MS * MRDI_MS) {
        return m->state == MRD_MOVE_WAIT
                   ? "what only the target has was not repaired there in time"
               : m->state == MRD_MOVE_FREEZE ? "writers did not finish in time"
                                             : "the target did not catch up in time";
    }
    return NULL;
}

/* A failover of the home ends the move itself, in the transaction that grants. */
static bool failover_has_it(const struct mrdi_view *v, const struct mrd_move_record *m)
{
    int from = mrd_config_region(v->config, m->from);

    return from >= 0 && mrdi_fencing(v, (unsigned)from);
}

static void end_stuck(struct mrdi_step *s, const struct mrdi_partition *p,
                      const struct mrd_move_record *m, uint64_t revision, const char *why)
{
    struct mrd_authority_record a;
    bool known;
    uint64_t authority_revision = mrdi_authority(&s->v, p, &a, &known);

    mrdi_move_abort(s, p, m, revision, why);
    if (known && a.state == MRD_AUTH_FROZEN && a.epoch == m->epoch) {
        a.state = MRD_AUTH_OPEN;
        mrdi_compare(s->p, authority_revision, "authority/%s/%s", p->class->name, p->name);
        mrdi_put_authority(s->p, p, &a);
    }
}

/* The target is whole by now: the move begins in earnest. */
static bool freeze(struct mrdi_step *s, const struct mrdi_partition *p,
                   struct mrd_move_record *m, uint64_t revision)
{
    struct mrd_authority_record a;
    bool ok;
    uint64_t authority_revision = mrdi_authority(&s->v, p, &a, &ok);
    int to = mrd_config_region(s->config, m->to);

    if (!ok || a.state != MRD_AUTH_OPEN || a.epoch != m->epoch) {
        end_stuck(s, p, m, revision, "the home changed");
        return true;
    }
    if (to < 0 || !mrdi_tail_taken(&s->v, (unsigned)to, &a, UINT64_MAX)) {
        return false;
    }
    m->state = MRD_MOVE_FREEZE;
    a.state = MRD_AUTH_FROZEN;
    mrdi_compare(s->p, authority_revision, "authority/%s/%s", p->class->name, p->name);
    mrdi_compare(s->p, revision, "move/%s/%s", p->class->name, p->name);
    mrdi_put_authority(s->p, p, &a);
    mrdi_put_move(s->p, p, m);
    return true;
}

static bool advance(struct mrdi_step *s, const struct mrdi_partition *p)
{
    struct mrd_move_record m;
    bool ok;
    uint64_t revision = mrdi_move(&s->v, p, &m, &ok);
    const char *why;

    if (!ok || !mrdi_move_active(&m) || failover_has_it(&s->v, &m)) {
        return false;
    }
    why = stuck(s, &m, p->index, revision);
    if (why != NULL) {
        end_stuck(s, p, &m, revision, why);
        return true;
    }
    return m.state == MRD_MOVE_WAIT && freeze(s, p, &m, revision);
}

bool mrdi_move_step(struct mrdi_step *s)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        if (advance(s, &p)) {
            return true;
        }
    }
    return false;
}

/* ---- the request ---- */

struct request {
    struct mrdi_view v;
    struct mrdi_partition p;
    unsigned to;
    uint64_t authority_revision, move_revision;
    struct mrd_authority_record authority;
};

static int find_partition(struct request *q, const char *class_name, const char *partition,
                          struct mrd_err *err)
{
    const struct mrd_config *c = q->v.config;
    int k = mrd_config_class(c, class_name), i;

    if (k < 0) {
        mrd_err_set(err, MRD_ENOTFOUND, "there is no class \"%s\"", class_name);
        mrd_err_hint(err, "List the classes with: meridian classes.");
        return MRD_ENOTFOUND;
    }
    if (partition == NULL && c->classes[k].posture == MRD_PARTITIONED) {
        mrd_err_set(err, MRD_EINVAL, "class \"%s\" is partitioned", class_name);
        mrd_err_hint(err, "Name one partition: %s/PARTITION.", class_name);
        return MRD_EINVAL;
    }
    i = mrd_partition_index(c, class_name, partition != NULL ? partition : MRD_PARTITION_ALL);
    if (i < 0) {
        mrd_err_set(err, MRD_ENOTFOUND, "class \"%s\" has no partition \"%s\"", class_name,
                    partition != NULL ? partition : MRD_PARTITION_ALL);
        mrd_err_hint(err, "List the partitions with: meridian classes.");
        return MRD_ENOTFOUND;
    }
    q->p = mrdi_partition(&q->v, (unsigned)i);
    return 0;
}

static int check_target(struct request *q, const char *to, struct mrd_err *err)
{
    int i = mrd_config_region(q->v.config, to);
    const char *class_name = q->p.class->name;

    if (i < 0) {
        mrd_err_set(err, MRD_ENOTFOUND, "there is no region \"%s\"", to);
        mrd_err_hint(err, "List the regions with: meridian regions.");
        return MRD_ENOTFOUND;
    }
    if ((q->p.class->replicas >> i & 1u) == 0) {
        mrd_err_set(err, MRD_EINVAL, "region \"%s\" holds no copy of class \"%s\"", to,
                    class_name);
        mrd_err_hint(err, "Choose one of the replicas that meridian classes shows.");
        return MRD_EINVAL;
    }
    if ((q->p.class->allowed >> i & 1u) == 0) {
        mrd_err_set(err, MRD_EINVAL, "class \"%s\" may not have its home in region \"%s\"",
                    class_name, to);
        mrd_err_hint(err, "The class's placement in the configuration forbids it.");
        return MRD_EINVAL;
    }
    if (mrdi_drained(&q->v, (unsigned)i)) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "region \"%s\" is drained", to);
        mrd_err_hint(err, "Let it take homes again with: meridian undrain %s.", to);
        return MRD_EUNAVAILABLE;
    }
    if (!mrdi_live(&q->v, (unsigned)i) || mrdi_fencing(&q->v, (unsigned)i)) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "region \"%s\" is not live", to);
        mrd_err_hint(err, "See its state with: meridian regions.");
        return MRD_EUNAVAILABLE;
    }
    q->to = (unsigned)i;
    return 0;
}

static int check_home(struct request *q, const char *to, struct mrd_err *err)
{
    const struct mrd_authority_record *a = &q->authority;
    const char *class_name = q->p.class->name, *name = q->p.name;
    int home = mrd_config_region(q->v.config, a->region);

    if (a->state == MRD_AUTH_VACANT) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "%s/%s has no home now: %s", class_name, name,
                    a->why);
        mrd_err_hint(err, "It is granted by itself as soon as that is safe.");
        return MRD_EUNAVAILABLE;
    }
    if (strcmp(a->region, to) == 0) {
        mrd_err_set(err, MRD_ECONFLICT, "%s/%s already has its home in \"%s\"", class_name,
                    name, to);
        mrd_err_hint(err, "There is nothing to do.");
        return MRD_ECONFLICT;
    }
    if (a->held) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "the new home \"%s\" of %s/%s is not open yet",
                    a->region, class_name, name);
        mrd_err_hint(err, "It opens when the lease of \"%s\" has certainly ended: retry then.",
                     a->history[a->history_count - 1].region);
        return MRD_EUNAVAILABLE;
    }
    if (home < 0 || !mrdi_live(&q->v, (unsigned)home) || mrdi_fencing(&q->v, (unsigned)home)) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "the home \"%s\" is down or being replaced",
                    a->region);
        mrd_err_hint(err, "A planned move needs a live home; see: meridian events.");
        return MRD_EUNAVAILABLE;
    }
    if (mrdi_uncompared(&q->v, q->to, a)) {
        mrd_err_set(err, MRD_EUNAVAILABLE,
                    "region \"%s\" may hold more of %s/%s than counts, and is still copying it",
                    to, class_name, name);
        mrd_err_hint(err, "What it lacks yet is in the view meridian.gaps there: retry then.");
        return MRD_EUNAVAILABLE;
    }
    return 0;
}

static int check_request(struct request *q, const char *class_name, const char *partition,
                         const char *to, struct mrd_err *err)
{
    struct mrd_move_record m;
    bool ok;
    int rc = find_partition(q, class_name, partition, err);

    if (rc == 0 && to == NULL) {
        mrd_region home = mrdi_configured_home(&q->p);
        if (home >= q->v.config->region_count) {
            mrd_err_set(err, MRD_EINVAL, "%s/%s has no configured home", class_name, q->p.name);
            mrd_err_hint(err, "Name the region: meridian move %s/%s --to REGION.", class_name,
                         q->p.name);
            return MRD_EINVAL;
        }
        to = mrdi_name(&q->v, home);
    }
    rc = rc != 0 ? rc : check_target(q, to, err);
    if (rc != 0) {
        return rc;
    }
    q->authority_revision = mrdi_authority(&q->v, &q->p, &q->authority, &ok);
    if (!ok) {
        mrd_err_set(err, MRD_EUNAVAILABLE, "the coordinator has not made an authority yet");
        mrd_err_hint(err, "Retry in a few seconds.");
        return MRD_EUNAVAILABLE;
    }
    rc = check_home(q, to, err);
    if (rc != 0) {
        return rc;
    }
    q->move_revision = mrdi_move(&q->v, &q->p, &m, &ok);
    if ((ok && mrdi_move_active(&m)) || q->authority.state != MRD_AUTH_OPEN) {
        mrd_err_set(err, MRD_ECONFLICT, "another move of %s/%s is under way", q->p.class->name,
                    q->p.name);
        mrd_err_hint(err, "Follow it with: meridian moves.");
        return MRD_ECONFLICT;
    }
    return 0;
}

static void begin_move(struct request *q, const char *who, mrd_wall_ms wall_ms,
                       struct mrd_proposal *ret)
{
    const struct mrd_store *store = q->v.store;
    struct mrd_move_record m = {
        .id = mrdi_next_id(store) + q->p.index,
        .epoch = q->authority.epoch,
        .state = mrdi_tail_taken(&q->v, q->to, &q->authority, UINT64_MAX) ? MRD_MOVE_FREEZE
                                                                          : MRD_MOVE_WAIT,
        .started_ms = wall_ms,
    };
    struct mrd_receipt_record r = {.id = m.id, .kind = "move", .detected_ms = wall_ms};

    snprintf(m.from, sizeof(m.from), "%s", q->authority.region);
    snprintf(m.to, sizeof(m.to), "%s", mrdi_name(&q->v, q->to));
    snprintf(r.class_name, sizeof(r.class_name), "%s", q->p.class->name);
    snprintf(r.partition, sizeof(r.partition), "%s", q->p.name);
    memcpy(r.from, m.from, sizeof(r.from));
    memcpy(r.to, m.to, sizeof(r.to));
    snprintf(r.observers, sizeof(r.observers), "%s", who);
    if (m.state == MRD_MOVE_FREEZE) {
        q->authority.state = MRD_AUTH_FROZEN;
    }

    mrdi_compare(ret, q->authority_revision, "authority/%s/%s", q->p.class->name, q->p.name);
    mrdi_compare(ret, q->move_revision, "move/%s/%s", q->p.class->name, q->p.name);
    mrdi_compare(ret, 0, "receipt/%016llx", (unsigned long long)m.id);
    mrdi_put_authority(ret, &q->p, &q->authority);
    mrdi_put_move(ret, &q->p, &m);
    mrdi_put_receipt(ret, &r);
    mrd_proposal_event(ret, store, wall_ms,
                       "event=move.requested class=%s partition=%s from=%s to=%s who=\"%s\"",
                       q->p.class->name, q->p.name, m.from, m.to, who);
}

int mrd_move_request(const struct mrd_config *config, const struct mrd_store *store,
                     const char *class_name, const char *partition, const char *to,
                     const char *who, mrd_wall_ms wall_ms, struct mrd_proposal *ret,
                     struct mrd_err *err)
{
    struct request q = {0};
    int rc;

    mrdi_begin(ret);
    mrdi_view_load(&q.v, config, store);
    rc = check_request(&q, class_name, partition, to, err);
    if (rc == 0) {
        begin_move(&q, who, wall_ms, ret);
        mrdi_end(ret);
    }
    return rc;
}
