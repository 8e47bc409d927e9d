/*
 * Failover: authority moves away from a lost region (mrd/control.h, mrd_coordinator_step).
 *
 *   verdict --> FENCE: survivors close the lost region's stream for good and say how far they
 *               got; nobody is granted anything yet
 *           --> per partition: grant to a successor, or leave vacant with the reason
 *           --> per held partition: release, once the lost region's lease has certainly ended
 *           --> DONE: once the region returns with a session that knows this, its stream runs
 *               again, and its tail is collected
 *
 * Why a grant is safe. Quorum class: an acknowledged commit is held by remote_acks replicas;
 * with (others - remote_acks + 1) refusals at least one refusing replica holds it, so it lies
 * at or before the cut, the highest position among the refusals; and too few replicas are left
 * that could still acknowledge anything. No clock is involved. Async class: every other replica
 * refused or lost its lease (without which it applies nothing).
 *
 * Why an async class is held. Refusals do not keep the old home from acknowledging: it may go
 * on until its lease ends. So the new home is granted the partition as soon as the cut is
 * known, because survivors take nothing more of the old home's stream before that (see
 * mrd_authority_settled), and quorum commits of the new home may wait behind it there. But it
 * opens only when the coordinator has released it. While a partition is held its home is not
 * replaced in turn, and the failover that holds it is not over: so no more than one lease ever
 * stands behind it, and it is the one of the region that the last closed epoch names.
 *
 * Every fact a grant rests on is compared in its transaction: the failover, the refusals, the
 * expired sessions, the authority. Facts that change all the time by nature (renewals of the
 * successor) are not: a successor that dies in that moment is the next failover's business.
 */
#include "decide.h"
#include "mutant.h"

#include <stdio.h>
#include <string.h>

/* ---- receipts ---- */

static void receipt_new(const struct mrdi_view *v, const struct mrd_failover_record *f,
                        const struct mrdi_partition *p, struct mrd_receipt_record *ret)
{
    *ret = (struct mrd_receipt_record){
        .id = f->id + p->index,
        .kind = "failover",
        .fault_ms = f->fault_ms,
        .detected_ms = f->detected_ms,
    };
    snprintf(ret->class_name, sizeof(ret->class_name), "%s", p->class->name);
    snprintf(ret->partition, sizeof(ret->partition), "%s", p->name);
    snprintf(ret->from, sizeof(ret->from), "%s", f->region);
    mrdi_names(v, f->observers, ret->observers, sizeof(ret->observers));
}

/* The receipt made at the verdict; made now when there were too many for one transaction. */
static void receipt_get(const struct mrdi_view *v, const struct mrd_failover_record *f,
                        const struct mrdi_partition *p, struct mrd_receipt_record *ret)
{
    bool ok;

    (void)mrdi_receipt(v, f->id + p->index, ret, &ok);
    if (!ok || !mrdi_same(ret->class_name, p->class->name) ||
        !mrdi_same(ret->partition, p->name)) {
        receipt_new(v, f, p, ret);
    }
}

/* ---- which partitions a failover of @t is about ---- */

/* Its home is @t, or it is vacant and @t was the last. */
static bool concerns(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                     struct mrd_authority_record *a, uint64_t *revision)
{
    const struct mrd_authority_record *r = v->authorities[p->index].record;
    bool ok;

    if (r == NULL ||
        !mrdi_same(r->state == MRD_AUTH_VACANT ? r->last_region : r->region, mrdi_name(v, t))) {
        return false;
    }
    *revision = mrdi_authority(v, p, a, &ok);
    return ok;
}

/* ---- starting ---- */

/*
 * How far those that are live and have copies have come in what @t wrote: a cut would not be
 * drawn beyond that. Who has no copy is not asked for a cut, and may be far ahead of it; were
 * it counted, the answer here would be yes, and that of the failover which then begins no, and
 * so on without end.
 */
static mrd_lsn furthest(const struct mrdi_view *v, const struct mrd_conf_class *class,
                        unsigned t)
{
    mrd_regions asked = MRDI_MUTANT(STRANGERS_CUT) ? UINT16_MAX : class->replicas;
    mrd_lsn lsn = 0;

    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (b != t && mrdi_in(asked, b) && mrdi_live(v, b) && mrdi_applied(v, b, t) > lsn) {
            lsn = mrdi_applied(v, b, t);
        }
    }
    return lsn;
}

/* Home of something; or last home of something vacant that somebody could take by now. */
static bool worth_starting(const struct mrdi_view *v, unsigned t, bool *ret_homes)
{
    unsigned count = mrd_partition_count(v->config);
    bool worth = false;

    *ret_homes = false;
    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(v, i);
        struct mrd_authority_record a;
        uint64_t revision;
        char why[128];
        if (!concerns(v, &p, t, &a, &revision)) {
            continue;
        }
        if (a.state != MRD_AUTH_VACANT) {
            *ret_homes = true;
            return true;
        }
        worth = worth || mrdi_feasible(v, &p, t, &a, 0, furthest(v, p.class, t), why);
    }
    return worth;
}

static void first_receipts(struct mrdi_step *s, const struct mrd_failover_record *f, unsigned t)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        struct mrd_authority_record a;
        struct mrd_receipt_record r;
        uint64_t revision;
        if (concerns(&s->v, &p, t, &a, &revision)) {
            receipt_new(&s->v, f, &p, &r);
            mrdi_put_receipt(s->p, &r);
        }
    }
}

/* When the region fell silent: its own word for when it last renewed, if its clock can be right
 * about that; else when we heard of it. */
static mrd_wall_ms fault_time(const struct mrdi_step *s, unsigned t)
{
    const struct mrdi_region_view *r = &s->v.regions[t];
    uint64_t age_ms = mrdi_age_ns(&s->c->seen[t], r->session_revision, s->now_ns) / MRDI_MS;
    mrd_wall_ms heard_ms = s->wall_ms - age_ms;

    if (r->session->wall_ms <= heard_ms &&
        heard_ms - r->session->wall_ms < mrdi_lease_over_ns(s->config) / MRDI_MS) {
        return r->session->wall_ms;
    }
    return heard_ms;
}

/* The verdict stands and something would move: @ret is what would begin. */
static bool due(struct mrdi_step *s, unsigned t, struct mrd_failover_record *ret)
{
    const struct mrdi_region_view *r = &s->v.regions[t];
    const char *reason;
    bool homes;

    *ret = (struct mrd_failover_record){.state = MRD_FAILOVER_FENCE};
    if (mrdi_fencing(&s->v, t) || !mrdi_verdict(s, t, &ret->observers, &reason) ||
        !worth_starting(&s->v, t, &homes)) {
        return false;
    }
    ret->id = mrdi_next_id(s->store);
    ret->before = mrdi_failover_in_force(&s->v, t);
    snprintf(ret->region, sizeof(ret->region), "%s", mrdi_name(&s->v, t));
    snprintf(ret->reason, sizeof(ret->reason), "%s", homes ? reason : "successor");
    ret->session = r->session->session;
    ret->seq = r->session->seq;
    ret->fault_ms = fault_time(s, t);
    ret->detected_ms = s->wall_ms;
    return true;
}

static bool start(struct mrdi_step *s, unsigned t)
{
    const struct mrdi_region_view *r = &s->v.regions[t];
    struct mrd_failover_record f;
    char observers[256];

    if (!due(s, t, &f)) {
        return false;
    }
    if (s->config->failover != MRD_FAILOVER_AUTOMATIC && !mrdi_approved(s, &f)) {
        return mrdi_approval_ask(s, &f);
    }
    mrdi_approval_use(s, &f);
    /* It has not renewed since we judged it, and nobody else started one. */
    mrdi_compare(s->p, r->session_revision, "session/%s", f.region);
    mrdi_compare(s->p, r->failover_revision, "failover/%s", f.region);
    mrdi_put_failover(s->p, &f);
    mrdi_names(&s->v, f.observers, observers, sizeof(observers));
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=failover.started region=%s observers=%s reason=%s", f.region,
                       observers, f.reason);
    first_receipts(s, &f, t);
    return true;
}

/* ---- cancelling ---- */

static bool anybody_refused(const struct mrdi_view *v, unsigned t)
{
    for (unsigned b = 0; b < v->config->region_count; b++) {
        struct mrd_fence_record f;
        uint64_t revision;
        if (b != t && mrdi_fence_of(v, t, b, &f, &revision)) {
            return true;
        }
    }
    return false;
}

static void cancel_receipts(struct mrdi_step *s, const struct mrd_failover_record *f)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        struct mrd_receipt_record r;
        uint64_t revision;
        bool ok;
        revision = mrdi_receipt(&s->v, f->id + i, &r, &ok);
        if (ok && r.note[0] == '\0' && mrdi_same(r.class_name, p.class->name)) {
            snprintf(r.note, sizeof(r.note), "cancelled: \"%s\" lives", f->region);
            mrdi_compare(s->p, revision, "receipt/%016llx", (unsigned long long)r.id);
            mrdi_put_receipt(s->p, &r);
        }
    }
}

/*
 * The region was not dead and no stream has been cut: nothing happened. Once somebody refused,
 * going through with it is simpler and safer than taking it back.
 */
static bool cancel(struct mrdi_step *s, unsigned t)
{
    const struct mrdi_region_view *r = &s->v.regions[t];
    struct mrd_failover_record f = *r->failover;

    if (!mrdi_lives_since_verdict(&s->v, t) || anybody_refused(&s->v, t)) {
        return false;
    }
    for (unsigned b = 0; b < s->config->region_count; b++) {
        struct mrd_fence_record fence;
        uint64_t revision;
        if (b != t) {
            (void)mrdi_fence_of(&s->v, t, b, &fence, &revision);
            mrdi_compare(s->p, revision, "fence/%s/%s", f.region, mrdi_name(&s->v, b));
        }
    }
    f.state = MRD_FAILOVER_DONE;
    snprintf(f.reason, sizeof(f.reason), "cancelled");
    mrdi_compare(s->p, r->failover_revision, "failover/%s", f.region);
    mrdi_put_failover(s->p, &f);
    mrd_proposal_event(s->p, s->store, s->wall_ms, "event=failover.cancelled region=%s",
                       f.region);
    cancel_receipts(s, &f);
    return true;
}

/* ---- granting and vacating ---- */

static void compare_evidence(struct mrdi_step *s, const struct mrd_conf_class *class,
                             unsigned t, const struct mrdi_judgement *j)
{
    const struct mrdi_region_view *r = &s->v.regions[t];

    mrdi_compare(s->p, r->failover_revision, "failover/%s", mrdi_name(&s->v, t));
    if (j->home_expired) {
        mrdi_compare(s->p, r->session_revision, "session/%s", mrdi_name(&s->v, t));
    }
    for (unsigned b = 0; b < s->config->region_count; b++) {
        struct mrd_fence_record f;
        uint64_t revision;
        if (mrdi_in(j->fenced, b) && mrdi_fence_of(&s->v, t, b, &f, &revision)) {
            mrdi_compare(s->p, revision, "fence/%s/%s", mrdi_name(&s->v, t),
                         mrdi_name(&s->v, b));
        }
        /* A replica that is dead for an async grant must not have come back meanwhile. */
        if (class->durability != MRD_QUORUM && mrdi_in(j->dead, b)) {
            mrdi_compare(s->p, s->v.regions[b].session_revision, "session/%s",
                         mrdi_name(&s->v, b));
        }
    }
}

/* A planned move of the same partition has lost its point. */
static void end_move(struct mrdi_step *s, const struct mrdi_partition *p)
{
    struct mrd_move_record m;
    bool ok;
    uint64_t revision = mrdi_move(&s->v, p, &m, &ok);

    if (ok && mrdi_move_active(&m)) {
        mrdi_move_abort(s, p, &m, revision, "the home failed");
    }
}

static void grant(struct mrdi_step *s, const struct mrdi_partition *p, unsigned t,
                  struct mrd_authority_record *a, uint64_t revision,
                  const struct mrdi_judgement *j)
{
    const struct mrdi_region_view *home = &s->v.regions[t];
    const char *to = mrdi_name(&s->v, j->to);
    char unfenced[256];
    struct mrd_receipt_record r;
    struct mrd_closed_record closed = {
        .cut = j->cut.applied_lsn,
        .cut_session = j->cut.applied_session,
        .cut_boot_ms = j->cut.applied_boot_ms,
        .reason = "failover",
        .receipt = home->failover->id + p->index,
        .unfenced = j->dead | j->pending,
        .at_ms = s->wall_ms,
    };

    compare_evidence(s, p->class, t, j);
    mrdi_compare(s->p, revision, "authority/%s/%s", p->class->name, p->name);
    mrd_authority_grant(a, &closed, to);
    a->held = j->held;
    mrdi_put_authority(s->p, p, a);

    receipt_get(&s->v, home->failover, p, &r);
    snprintf(r.to, sizeof(r.to), "%s", to);
    snprintf(r.note, sizeof(r.note), "granted");
    r.epoch = a->epoch;
    r.cut = closed.cut;
    r.expired_ms = j->home_expired ? home->session->expired_ms : 0;
    r.fenced_ms = j->fenced_ms;
    r.granted_ms = s->wall_ms;
    mrdi_put_receipt(s->p, &r);
    end_move(s, p);
    mrdi_names(&s->v, closed.unfenced, unfenced, sizeof(unfenced));
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=authority.granted class=%s partition=%s region=%s epoch=%llu "
                       "prev=%s reason=failover cut=%X/%X%s%s%s",
                       p->class->name, p->name, to, (unsigned long long)a->epoch,
                       mrdi_name(&s->v, t), (unsigned)(closed.cut >> 32), (unsigned)closed.cut,
                       unfenced[0] != '\0' ? " unfenced=" : "", unfenced,
                       a->held ? " held=yes" : "");
}

/* Leave it to nobody; its epoch stays open, and its last home may resume it. */
static void vacate(struct mrdi_step *s, const struct mrdi_partition *p,
                   struct mrd_authority_record *a, uint64_t revision, const char *why)
{
    mrdi_compare(s->p, revision, "authority/%s/%s", p->class->name, p->name);
    a->state = MRD_AUTH_VACANT;
    snprintf(a->last_region, sizeof(a->last_region), "%s", a->region);
    a->region[0] = '\0';
    snprintf(a->why, sizeof(a->why), "%s", why);
    mrdi_put_authority(s->p, p, a);
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=authority.vacated class=%s partition=%s prev=%s epoch=%llu "
                       "why=\"%s\"",
                       p->class->name, p->name, a->last_region, (unsigned long long)a->epoch,
                       why);
}

static void vacate_lost(struct mrdi_step *s, const struct mrdi_partition *p, unsigned t,
                        struct mrd_authority_record *a, uint64_t revision, const char *why)
{
    struct mrd_receipt_record r;

    mrdi_compare(s->p, s->v.regions[t].failover_revision, "failover/%s", mrdi_name(&s->v, t));
    receipt_get(&s->v, s->v.regions[t].failover, p, &r);
    snprintf(r.note, sizeof(r.note), "vacant: %.110s", why);
    mrdi_put_receipt(s->p, &r);
    end_move(s, p);
    vacate(s, p, a, revision, why);
}

/* A lease of @t holds it. Not the record: that is copied only where it is needed. */
static bool holds(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t)
{
    const struct mrd_authority_record *r = v->authorities[p->index].record;

    return r != NULL && r->held &&
           mrdi_same(r->history[r->history_count - 1].region, mrdi_name(v, t));
}

static void release(struct mrdi_step *s, const struct mrdi_partition *p, unsigned t,
                    bool expired)
{
    struct mrd_authority_record a;
    struct mrd_receipt_record r;
    bool ok;
    uint64_t revision = mrdi_authority(&s->v, p, &a, &ok);

    a.held = false;
    mrdi_compare(s->p, revision, "authority/%s/%s", p->class->name, p->name);
    mrdi_put_authority(s->p, p, &a);
    revision = mrdi_receipt(&s->v, a.history[a.history_count - 1].receipt, &r, &ok);
    if (ok && expired) {
        r.expired_ms = s->v.regions[t].session->expired_ms;
        mrdi_compare(s->p, revision, "receipt/%016llx", (unsigned long long)r.id);
        mrdi_put_receipt(s->p, &r);
    }
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=authority.released class=%s partition=%s region=%s epoch=%llu "
                       "prev=%s reason=%s",
                       p->class->name, p->name,
                       a.state == MRD_AUTH_VACANT ? a.last_region : a.region,
                       (unsigned long long)a.epoch, mrdi_name(&s->v, t),
                       expired ? "lease_expired" : "lease_over");
}

/* What leases of @t hold is released when they have ended; *ret_left if they have not. */
static bool release_held(struct mrdi_step *s, unsigned t, bool *ret_left)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        bool expired;
        if (!holds(&s->v, &p, t)) {
            continue;
        }
        if (!mrdi_lease_over(s, t, &expired) || !mrdi_room(s->p, 3)) {
            *ret_left = true;
        } else {
            release(s, &p, t, expired);
        }
    }
    return s->p->txn.put_count > 0;
}

/*
 * Grant or vacate what is ready, as much as fits one transaction. *ret_left says whether
 * anything still waits.
 */
static bool settle(struct mrdi_step *s, unsigned t, bool *ret_left)
{
    unsigned count = mrd_partition_count(s->config);

    *ret_left = false;
    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        struct mrd_authority_record a;
        struct mrdi_judgement j;
        uint64_t revision;
        if (!concerns(&s->v, &p, t, &a, &revision)) {
            continue;
        }
        mrdi_judge(s, &p, t, &a, &j);
        /* Each grant puts at most six records; its evidence is at most all regions twice. */
        if (j.outcome == MRDI_WAIT || !mrdi_room(s->p, 6) ||
            s->p->txn.compare_count + (size_t)2 * s->config->region_count + 6 >
                MRD_TXN_OPS_MAX) {
            *ret_left = true;
        } else if (j.outcome == MRDI_GRANT) {
            grant(s, &p, t, &a, revision, &j);
        } else if (a.state != MRD_AUTH_VACANT) {
            vacate_lost(s, &p, t, &a, revision, j.why);
        }
    }
    return s->p->txn.put_count > 0;
}

static void finish(struct mrdi_step *s, unsigned t)
{
    const struct mrdi_region_view *r = &s->v.regions[t];
    struct mrd_failover_record f = *r->failover;

    f.state = MRD_FAILOVER_DONE;
    mrdi_compare(s->p, r->failover_revision, "failover/%s", f.region);
    mrdi_put_failover(s->p, &f);
    mrd_proposal_event(s->p, s->store, s->wall_ms, "event=failover.done region=%s", f.region);
}

/* ---- resuming what is vacant ---- */

/* Nobody had a later epoch, so the old home goes on with the one it had. */
static bool resume(struct mrdi_step *s, unsigned t)
{
    unsigned count = mrd_partition_count(s->config);

    if (!mrdi_returned(&s->v, t) || mrdi_fencing(&s->v, t)) {
        return false;
    }
    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        struct mrd_authority_record a;
        uint64_t revision;
        const char *origin;
        if (!concerns(&s->v, &p, t, &a, &revision) || a.state != MRD_AUTH_VACANT ||
            !mrdi_in(p.class->allowed, t) ||
            mrdi_copy_of(&s->v, t, &a, MRD_REGION_NONE, &origin) == MRDI_COPY_STUCK) {
            continue;
        }
        mrdi_compare(s->p, s->v.regions[t].failover_revision, "failover/%s", a.last_region);
        mrdi_compare(s->p, revision, "authority/%s/%s", p.class->name, p.name);
        memcpy(a.region, a.last_region, sizeof(a.region));
        a.last_region[0] = '\0';
        a.why[0] = '\0';
        a.state = MRD_AUTH_OPEN;
        mrdi_put_authority(s->p, &p, &a);
        mrd_proposal_event(s->p, s->store, s->wall_ms,
                           "event=authority.resumed class=%s partition=%s region=%s epoch=%llu",
                           p.class->name, p.name, a.region, (unsigned long long)a.epoch);
    }
    return s->p->txn.put_count > 0;
}

/* ---- a new home that cannot open ---- */

/*
 * The region that was to hand over the last writes died before the new home had them. Nothing
 * can be done before one returns that has them; until then the partition is vacant, which says
 * why, rather than opening for ever.
 */
static bool strand(struct mrdi_step *s, unsigned t)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        struct mrd_authority_record a;
        uint64_t revision;
        const char *origin;
        char why[128];
        if (mrdi_live(&s->v, t) && concerns(&s->v, &p, t, &a, &revision) &&
            a.state == MRD_AUTH_OPEN && mrdi_unopened(&s->v, &a) &&
            mrdi_copy_of(&s->v, t, &a, MRD_REGION_NONE, &origin) == MRDI_COPY_STUCK) {
            mrdi_say_stuck(origin, why);
            vacate(s, &p, &a, revision, why);
        }
    }
    return s->p->txn.put_count > 0;
}

bool mrdi_failover_step(struct mrdi_step *s)
{
    for (unsigned t = 0; t < s->config->region_count; t++) {
        bool left = false;
        if (!mrdi_fencing(&s->v, t)) {
            /* Held without a failover: an agent that cannot read such records ended it. */
            if (start(s, t) || resume(s, t) || strand(s, t) || release_held(s, t, &left)) {
                return true;
            }
            continue;
        }
        if (cancel(s, t) || settle(s, t, &left) || release_held(s, t, &left)) {
            return true;
        }
        if (!left) {
            finish(s, t);
            return true;
        }
    }
    return false;
}

/* ---- for people ---- */

static void say_held(const struct mrd_authority_record *a, char why[128])
{
    snprintf(why, 128, "the lease of \"%.63s\" has not certainly ended yet",
             a->history[a->history_count - 1].region);
}

static void say_fencing(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                        const struct mrd_authority_record *a, char why[128])
{
    struct mrdi_judgement j;
    mrd_regions together;

    mrdi_collect_usable(v, p->class, t, &j);
    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (mrdi_in(j.pending, b)) {
            snprintf(why, 128, "\"%.40s\" has not yet refused the stream of \"%.40s\"",
                     mrdi_name(v, b), mrdi_name(v, t));
            return;
        }
    }
    if (a->held) {
        say_held(a, why);
        return;
    }
    together = mrdi_lost_together(v, t, j.dead);
    for (unsigned b = 0; p->class->durability == MRD_ASYNC && b < v->config->region_count;
         b++) {
        if (mrdi_in(together, b)) {
            snprintf(why, 128, "\"%.40s\" was lost with \"%.40s\", and may have more of it",
                     mrdi_name(v, b), mrdi_name(v, t));
            return;
        }
    }
}

void mrd_partition_why(const struct mrd_config *config, const struct mrd_store *store,
                       unsigned index, char ret[128])
{
    struct mrdi_partition p;
    struct mrd_authority_record a;
    struct mrdi_view v;
    const char *origin;
    int home;
    bool ok;

    ret[0] = '\0';
    mrdi_view_load(&v, config, store);
    p = mrdi_partition(&v, index);
    mrdi_authority(&v, &p, &a, &ok);
    if (!ok || a.state == MRD_AUTH_VACANT) {
        snprintf(ret, 128, "%s", ok ? a.why : "no home was chosen yet");
        return;
    }
    home = mrd_config_region(config, a.region);
    if (home >= 0 && mrdi_fencing(&v, (unsigned)home)) {
        say_fencing(&v, &p, (unsigned)home, &a, ret);
    } else if (a.held) {
        say_held(&a, ret);
    } else if (home >= 0 && mrdi_unopened(&v, &a)) {
        switch (mrdi_copy_of(&v, (unsigned)home, &a, MRD_REGION_NONE, &origin)) {
        case MRDI_COPY_WHOLE:
            if (mrd_lacks(v.regions[home].session, index)) {
                snprintf(ret, 128, "the new home lacks rows, and does not open without them");
            }
            break;
        case MRDI_COPY_LATE:
            snprintf(ret, 128, "the new home is fetching what \"%s\" wrote last", origin);
            break;
        case MRDI_COPY_STUCK:
            mrdi_say_stuck(origin, ret);
            break;
        }
    }
}
