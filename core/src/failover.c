/*
 * Failover: authority moves away from a lost region (mrd/control.h, mrd_coordinator_step).
 *
 *   verdict --> FENCE: survivors close the lost region's stream for good and say how far they
 *               got; nobody is granted anything yet
 *           --> per partition: grant to a successor, or leave vacant with the reason
 *           --> DONE: once the region returns with a session that knows this, its stream runs
 *               again, and its tail is collected
 *
 * Why a grant is safe. Quorum class: an acknowledged commit is held by remote_acks replicas;
 * with (others - remote_acks + 1) refusals at least one refusing replica holds it, so it lies
 * at or before the cut, the highest position among the refusals; and too few replicas are left
 * that could still acknowledge anything. No clock is involved. Async class: every other replica
 * refused or lost its lease (without which it applies nothing), and the old home lost its own
 * or knows that it is being replaced.
 *
 * Every fact a grant rests on is compared in its transaction: the failover, the refusals, the
 * expired sessions, the authority. Facts that change all the time by nature (renewals of the
 * successor) are not: a successor that dies in that moment is the next failover's business.
 */
#include "decide.h"
#include "mutant.h"

#include <stdio.h>
#include <string.h>

#define GRACE_NS (1000 * MRDI_MS) /* patience with live replicas beyond those we must have */
#define DEAD_PATIENCE_NS                                                                       \
    (10000 * MRDI_MS) /* with replicas that were lost together with the home */

/* ---- judging one partition ---- */

enum outcome { WAIT, GRANT, VACATE };

struct judgement {
    enum outcome outcome;
    mrd_regions fenced, dead;    /* other replicas: refused; neither refused nor live */
    mrd_regions pending;         /* live, but have not refused */
    bool home_expired;           /* the grant rests on the old home's expiry */
    unsigned to;                 /* GRANT: the successor */
    struct mrd_fence_record cut; /* GRANT: the refusal that reached furthest */
    mrd_wall_ms fenced_ms;       /* GRANT: the last refusal */
    char why[128];               /* VACATE: the sentence an operator reads */
};

static bool has(mrd_regions set, unsigned region)
{
    return (set >> region & 1u) != 0;
}

static mrd_regions bit(unsigned region)
{
    return (mrd_regions)(1u << region);
}

static bool fence_of(const struct mrdi_view *v, unsigned t, unsigned by,
                     struct mrd_fence_record *ret, uint64_t *ret_revision)
{
    bool ok;

    *ret_revision = mrdi_fence(v->store, mrdi_name(v, t), mrdi_name(v, by), ret, &ok);
    return ok && v->regions[t].has_failover && ret->failover_id == v->regions[t].failover.id;
}

/* Has @b a copy of partition @i, which @t wrote? By its refusal if there is one, else by its
 * last report; and only if it says that no rows are missing. */
static bool has_copy(const struct mrdi_view *v, unsigned i, unsigned t, unsigned b)
{
    const struct mrd_peer_report *r = mrdi_report(v, b, t);
    struct mrd_fence_record f;
    uint64_t revision;

    if (mrd_lacks(&v->regions[b].session, i)) {
        return false;
    }
    if (mrdi_fencing(v, t) && fence_of(v, t, b, &f, &revision)) {
        return f.applied_lsn > 0;
    }
    return r != NULL && r->applied_lsn > 0;
}

static void say_stuck(const char *origin, char why[128])
{
    snprintf(why, 128, "what \"%s\" wrote last is only in regions that are down", origin);
}

static unsigned refusals_needed(const struct mrd_conf_class *class)
{
    unsigned others = (unsigned)__builtin_popcount(class->replicas) - 1;

    return MRDI_MUTANT(ONE_REFUSAL) ? 1 : others - mrd_config_remote_acks(class) + 1;
}

/*
 * Could anybody take the partition over from @t, as things stand? Otherwise @why says why not.
 * @fenced: replicas that refused already, for whom it does not matter if they died since.
 */
static bool feasible(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                     const struct mrd_authority_record *a, mrd_regions fenced, char why[128])
{
    const struct mrd_conf_class *class = p->class;
    mrd_regions others = class->replicas & (mrd_regions)~bit(t);
    unsigned votes = 0, live = 0, copies = 0, able = 0;
    const char *origin = "";

    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (!has(others, b)) {
            continue;
        }
        votes += mrdi_live(v, b) || has(fenced, b);
        if (has(class->allowed, b) && mrdi_live(v, b)) {
            bool copy = has_copy(v, p->index, t, b);
            live++;
            copies += copy;
            able += copy && mrdi_copy_of(v, b, a, true, &origin) != MRDI_COPY_STUCK;
        }
    }
    why[0] = '\0';
    if ((class->allowed & others) == 0) {
        snprintf(why, 128, "no other region than \"%s\" may hold it", mrdi_name(v, t));
    } else if (live == 0) {
        snprintf(why, 128, "no other region that may hold it is live");
    } else if (copies == 0) {
        snprintf(why, 128, "no live region that may hold it has a copy");
    } else if (able == 0) {
        say_stuck(origin, why);
    } else if (class->durability == MRD_QUORUM && votes < refusals_needed(class)) {
        snprintf(why, 128, "acknowledged writes may be only in regions that are down");
    }
    return why[0] == '\0';
}

/* Who refused, how far the furthest got, and who has not. @live: those that are gone count as
 * if they had not refused. */
static void collect(const struct mrdi_view *v, const struct mrd_conf_class *class, unsigned t,
                    bool live, struct judgement *j)
{
    bool first = true;

    *j = (struct judgement){.outcome = WAIT};
    for (unsigned b = 0; b < v->config->region_count; b++) {
        struct mrd_fence_record f;
        uint64_t revision;
        if (b == t || !has(class->replicas, b)) {
            continue;
        }
        if (!fence_of(v, t, b, &f, &revision) || (live && !mrdi_live(v, b))) {
            *(mrdi_live(v, b) ? &j->pending : &j->dead) |= bit(b);
            continue;
        }
        j->fenced |= bit(b);
        if (first || (f.applied_lsn > j->cut.applied_lsn) != MRDI_MUTANT(LOWEST_CUT)) {
            j->cut = f;
        }
        j->fenced_ms = f.at_ms > j->fenced_ms ? f.at_ms : j->fenced_ms;
        first = false;
    }
}

/*
 * A replica that was still thought live when the home was last heard may have applied more than
 * anybody who refused. It gets time to come back and refuse; after that the class's other
 * copies go on without it, and the closed epoch names it as unfenced. (The wall clocks only
 * choose who is waited for; no safety hangs on them.)
 */
static bool lost_together(const struct mrdi_view *v, unsigned t, mrd_regions dead)
{
    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (has(dead, b) && v->regions[b].has_session &&
            v->regions[b].session.expired_ms >= v->regions[t].failover.fault_ms) {
            return true;
        }
    }
    return false;
}

/* The fences that this class needs are up. */
static bool fenced_enough(struct mrdi_step *s, const struct mrd_conf_class *class, unsigned t,
                          struct judgement *j)
{
    struct mrdi_region_view *r = &s->v.regions[t];
    mrd_boot_ns age_ns = mrdi_age_ns(&s->c->failovers[t], r->failover_revision, s->now_ns);

    if (class->durability == MRD_QUORUM) {
        return (unsigned)__builtin_popcount(j->fenced) >= refusals_needed(class) &&
               (j->pending == 0 || age_ns >= GRACE_NS);
    }
    if (j->pending != 0 || (age_ns < DEAD_PATIENCE_NS && lost_together(&s->v, t, j->dead))) {
        return false;
    }
    j->home_expired = r->has_session && r->session.expired;
    return j->home_expired || age_ns >= mrdi_lease_over_ns(s->config) ||
           MRDI_MUTANT(NO_LEASE_FENCE);
}

/*
 * Allowed, live and holding a copy: first who has every earlier epoch whole, since he can open
 * at once, then who is furthest; ties by the order of the configuration.
 */
static int successor(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                     const struct mrd_authority_record *a, mrd_regions fenced)
{
    enum mrdi_copy best_copy = MRDI_COPY_STUCK;
    mrd_lsn best_lsn = 0;
    int best = -1;

    for (unsigned b = 0; b < v->config->region_count; b++) {
        struct mrd_fence_record f;
        enum mrdi_copy copy;
        const char *origin;
        uint64_t revision;
        mrd_regions allowed = MRDI_MUTANT(ANY_PLACE) ? p->class->replicas : p->class->allowed;
        if (!has(fenced & allowed, b) || !mrdi_live(v, b) || mrdi_fencing(v, b) ||
            !fence_of(v, t, b, &f, &revision) || !has_copy(v, p->index, t, b)) {
            continue;
        }
        copy = mrdi_copy_of(v, b, a, true, &origin);
        if (copy < best_copy || (copy == best_copy && f.applied_lsn > best_lsn)) {
            best_copy = copy;
            best_lsn = f.applied_lsn;
            best = (int)b;
        }
    }
    return best_copy != MRDI_COPY_STUCK ? best : -1;
}

/*
 * Who refused and died since counts, but not if he alone holds the furthest position: whoever
 * took over could never get there. The cut is then drawn among the others, if they are enough,
 * and the closed epoch names him as unfenced.
 */
static void collect_usable(const struct mrdi_view *v, const struct mrd_conf_class *class,
                           unsigned t, struct judgement *j)
{
    collect(v, class, t, false, j);
    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (b != t && mrdi_holds(v, b, t, j->cut.applied_lsn)) {
            return;
        }
    }
    collect(v, class, t, true, j);
}

static void judge(struct mrdi_step *s, const struct mrdi_partition *p, unsigned t,
                  const struct mrd_authority_record *a, struct judgement *j)
{
    const struct mrd_conf_class *class = p->class;
    int to;

    collect_usable(&s->v, class, t, j);
    if (!feasible(&s->v, p, t, a, j->fenced, j->why)) {
        j->outcome = VACATE;
        return;
    }
    if (!fenced_enough(s, class, t, j)) {
        return;
    }
    to = successor(&s->v, p, t, a, j->fenced);
    if (to >= 0) {
        j->outcome = GRANT;
        j->to = (unsigned)to;
    }
}

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

    (void)mrdi_receipt(v->store, f->id + p->index, ret, &ok);
    if (!ok || strcmp(ret->class_name, p->class->name) != 0 ||
        strcmp(ret->partition, p->name) != 0) {
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

    if (r == NULL || strcmp(r->state == MRD_AUTH_VACANT ? r->last_region : r->region,
                            mrdi_name(v, t)) != 0) {
        return false;
    }
    *revision = mrdi_authority(v, p, a, &ok);
    return ok;
}

/* ---- starting ---- */

/* Home of something; or last home of something vacant that somebody could take by now. */
static bool worth_starting(const struct mrdi_view *v, unsigned t, bool *ret_homes)
{
    unsigned count = mrd_partition_count(v->config);
    bool worth = false;

    *ret_homes = false;
    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(v->config, i);
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
        worth = worth || feasible(v, &p, t, &a, 0, why);
    }
    return worth;
}

static void first_receipts(struct mrdi_step *s, const struct mrd_failover_record *f, unsigned t)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(s->config, i);
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

    if (r->session.wall_ms <= heard_ms &&
        heard_ms - r->session.wall_ms < mrdi_lease_over_ns(s->config) / MRDI_MS) {
        return r->session.wall_ms;
    }
    return heard_ms;
}

/* The verdict stands and something would move: @ret is what would begin. */
static bool due(struct mrdi_step *s, unsigned t, struct mrd_failover_record *ret)
{
    struct mrdi_region_view *r = &s->v.regions[t];
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
    ret->session = r->session.session;
    ret->seq = r->session.seq;
    ret->fault_ms = fault_time(s, t);
    ret->detected_ms = s->wall_ms;
    return true;
}

static bool start(struct mrdi_step *s, unsigned t)
{
    struct mrdi_region_view *r = &s->v.regions[t];
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
        if (b != t && fence_of(v, t, b, &f, &revision)) {
            return true;
        }
    }
    return false;
}

static void cancel_receipts(struct mrdi_step *s, const struct mrd_failover_record *f)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(s->config, i);
        struct mrd_receipt_record r;
        uint64_t revision;
        bool ok;
        revision = mrdi_receipt(s->store, f->id + i, &r, &ok);
        if (ok && r.note[0] == '\0' && strcmp(r.class_name, p.class->name) == 0) {
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
    struct mrdi_region_view *r = &s->v.regions[t];
    struct mrd_failover_record f = r->failover;

    if (!mrdi_lives_since_verdict(&s->v, t) || anybody_refused(&s->v, t)) {
        return false;
    }
    for (unsigned b = 0; b < s->config->region_count; b++) {
        struct mrd_fence_record fence;
        uint64_t revision;
        if (b != t) {
            (void)fence_of(&s->v, t, b, &fence, &revision);
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
                             unsigned t, const struct judgement *j)
{
    struct mrdi_region_view *r = &s->v.regions[t];

    mrdi_compare(s->p, r->failover_revision, "failover/%s", mrdi_name(&s->v, t));
    if (j->home_expired) {
        mrdi_compare(s->p, r->session_revision, "session/%s", mrdi_name(&s->v, t));
    }
    for (unsigned b = 0; b < s->config->region_count; b++) {
        struct mrd_fence_record f;
        uint64_t revision;
        if (has(j->fenced, b) && fence_of(&s->v, t, b, &f, &revision)) {
            mrdi_compare(s->p, revision, "fence/%s/%s", mrdi_name(&s->v, t),
                         mrdi_name(&s->v, b));
        }
        /* A replica that is dead for an async grant must not have come back meanwhile. */
        if (class->durability != MRD_QUORUM && has(j->dead, b)) {
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
    uint64_t revision = mrdi_move(s->store, p, &m, &ok);

    if (ok && mrdi_move_active(&m)) {
        mrdi_move_abort(s->p, s->store, p, &m, revision, "the home failed", s->wall_ms);
    }
}

static void grant(struct mrdi_step *s, const struct mrdi_partition *p, unsigned t,
                  struct mrd_authority_record *a, uint64_t revision, const struct judgement *j)
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
        .receipt = home->failover.id + p->index,
        .unfenced = j->dead | j->pending,
        .at_ms = s->wall_ms,
    };

    compare_evidence(s, p->class, t, j);
    mrdi_compare(s->p, revision, "authority/%s/%s", p->class->name, p->name);
    mrd_authority_grant(a, &closed, to);
    mrdi_put_authority(s->p, p, a);

    receipt_get(&s->v, &home->failover, p, &r);
    snprintf(r.to, sizeof(r.to), "%s", to);
    snprintf(r.note, sizeof(r.note), "granted");
    r.epoch = a->epoch;
    r.cut = closed.cut;
    r.expired_ms = j->home_expired ? home->session.expired_ms : 0;
    r.fenced_ms = j->fenced_ms;
    r.granted_ms = s->wall_ms;
    mrdi_put_receipt(s->p, &r);
    end_move(s, p);
    mrdi_names(&s->v, closed.unfenced, unfenced, sizeof(unfenced));
    mrd_proposal_event(s->p, s->store, s->wall_ms,
                       "event=authority.granted class=%s partition=%s region=%s epoch=%llu "
                       "prev=%s reason=failover cut=%X/%X%s%s",
                       p->class->name, p->name, to, (unsigned long long)a->epoch,
                       mrdi_name(&s->v, t), (unsigned)(closed.cut >> 32), (unsigned)closed.cut,
                       unfenced[0] != '\0' ? " unfenced=" : "", unfenced);
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
    receipt_get(&s->v, &s->v.regions[t].failover, p, &r);
    snprintf(r.note, sizeof(r.note), "vacant: %.110s", why);
    mrdi_put_receipt(s->p, &r);
    end_move(s, p);
    vacate(s, p, a, revision, why);
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
        struct mrdi_partition p = mrdi_partition(s->config, i);
        struct mrd_authority_record a;
        struct judgement j;
        uint64_t revision;
        if (!concerns(&s->v, &p, t, &a, &revision)) {
            continue;
        }
        judge(s, &p, t, &a, &j);
        /* Each grant puts at most six records; its evidence is at most all regions twice. */
        if (j.outcome == WAIT || !mrdi_room(s->p, 6) ||
            s->p->txn.compare_count + (size_t)2 * s->config->region_count + 6 >
                MRD_TXN_OPS_MAX) {
            *ret_left = true;
        } else if (j.outcome == GRANT) {
            grant(s, &p, t, &a, revision, &j);
        } else if (a.state != MRD_AUTH_VACANT) {
            vacate_lost(s, &p, t, &a, revision, j.why);
        }
    }
    return s->p->txn.put_count > 0;
}

static void finish(struct mrdi_step *s, unsigned t)
{
    struct mrdi_region_view *r = &s->v.regions[t];
    struct mrd_failover_record f = r->failover;

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
        struct mrdi_partition p = mrdi_partition(s->config, i);
        struct mrd_authority_record a;
        uint64_t revision;
        const char *origin;
        if (!concerns(&s->v, &p, t, &a, &revision) || a.state != MRD_AUTH_VACANT ||
            !has(p.class->allowed, t) ||
            mrdi_copy_of(&s->v, t, &a, false, &origin) == MRDI_COPY_STUCK) {
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

/* Granted, and not yet reported as opened. */
static bool unopened(const struct mrdi_view *v, const struct mrd_authority_record *a)
{
    struct mrd_receipt_record r;
    bool ok;

    if (a->state != MRD_AUTH_OPEN || a->history_count == 0) {
        return false;
    }
    (void)mrdi_receipt(v->store, a->history[a->history_count - 1].receipt, &r, &ok);
    return ok && r.epoch == a->epoch && r.opened_ms == 0;
}

/*
 * The region that was to hand over the last writes died before the new home had them. Nothing
 * can be done before one returns that has them; until then the partition is vacant, which says
 * why, rather than opening for ever.
 */
static bool strand(struct mrdi_step *s, unsigned t)
{
    unsigned count = mrd_partition_count(s->config);

    for (unsigned i = 0; i < count && mrdi_room(s->p, 2); i++) {
        struct mrdi_partition p = mrdi_partition(s->config, i);
        struct mrd_authority_record a;
        uint64_t revision;
        const char *origin;
        char why[128];
        if (mrdi_live(&s->v, t) && concerns(&s->v, &p, t, &a, &revision) &&
            unopened(&s->v, &a) &&
            mrdi_copy_of(&s->v, t, &a, false, &origin) == MRDI_COPY_STUCK) {
            say_stuck(origin, why);
            vacate(s, &p, &a, revision, why);
        }
    }
    return s->p->txn.put_count > 0;
}

bool mrdi_failover_step(struct mrdi_step *s)
{
    for (unsigned t = 0; t < s->config->region_count; t++) {
        bool left;
        if (!mrdi_fencing(&s->v, t)) {
            if (start(s, t) || resume(s, t) || strand(s, t)) {
                return true;
            }
            continue;
        }
        if (cancel(s, t) || settle(s, t, &left)) {
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

static void say_fencing(const struct mrdi_view *v, const struct mrdi_partition *p, unsigned t,
                        char why[128])
{
    struct judgement j;

    collect_usable(v, p->class, t, &j);
    for (unsigned b = 0; b < v->config->region_count; b++) {
        if (has(j.pending, b)) {
            snprintf(why, 128, "\"%.40s\" has not yet refused the stream of \"%.40s\"",
                     mrdi_name(v, b), mrdi_name(v, t));
            return;
        }
    }
    if (p->class->durability == MRD_ASYNC) {
        snprintf(why, 128, "the lease of \"%.63s\" has not certainly ended yet",
                 mrdi_name(v, t));
    }
}

void mrd_partition_why(const struct mrd_config *config, const struct mrd_store *store,
                       unsigned index, char ret[128])
{
    struct mrdi_partition p = mrdi_partition(config, index);
    struct mrd_authority_record a;
    struct mrdi_view v;
    const char *origin;
    int home;
    bool ok;

    ret[0] = '\0';
    mrdi_view_load(&v, config, store);
    mrdi_authority(&v, &p, &a, &ok);
    if (!ok || a.state == MRD_AUTH_VACANT) {
        snprintf(ret, 128, "%s", ok ? a.why : "no home was chosen yet");
        return;
    }
    home = mrd_config_region(config, a.region);
    if (home >= 0 && mrdi_fencing(&v, (unsigned)home)) {
        say_fencing(&v, &p, (unsigned)home, ret);
    } else if (home >= 0 && unopened(&v, &a)) {
        switch (mrdi_copy_of(&v, (unsigned)home, &a, false, &origin)) {
        case MRDI_COPY_WHOLE:
            break;
        case MRDI_COPY_LATE:
            snprintf(ret, 128, "the new home is fetching what \"%s\" wrote last", origin);
            break;
        case MRDI_COPY_STUCK:
            say_stuck(origin, ret);
            break;
        }
    }
}
