/*
 * The region's own part (mrd/control.h): hold a lease, obey fences, carry out moves, write down
 * what happened.
 *
 * The lease. A renewal is a committed write of our session record. Its deadline counts from our
 * clock before we sent it, never from when we learnt of it; it is believed only when our own
 * replica of the store has applied it; and it is sent only when a canary that was sent after
 * the previous renewal has reached our WAL. No number is ever sent twice within a session, so
 * a renewal whose fate was unknown cannot be taken for a later one.
 *
 * Opening a session grants nothing. It compares our failover record as well, so that nobody
 * opens a session in ignorance that his partitions are being taken away.
 */
#include "mutant.h"
#include "view.h"

#include <stdio.h>
#include <string.h>

#define CLOCKS_APART_MS 10000 /* more than a grant takes to be seen */

struct step {
    struct mrd_region_state *r;
    struct mrdi_view v;
    const struct mrd_local *local;
    const char *name; /* our own */
    mrd_boot_ns now_ns;
    mrd_wall_ms wall_ms;
    struct mrd_proposal *p;
};

/* ---- observing ---- */

static void end_session(struct mrd_region_state *r)
{
    r->session = 0;
    r->seq = r->pending_seq = 0;
    r->pending_ns = r->deadline_ns = r->last_sent_ns = 0;
}

static void extend(struct mrd_region_state *r, const struct mrd_config *config)
{
    mrd_boot_ns deadline_ns = r->pending_ns + (mrd_boot_ns)config->lease_ms * MRDI_MS;

    if (deadline_ns > r->deadline_ns) {
        r->deadline_ns = deadline_ns;
    }
    r->pending_seq = 0;
}

static bool is_own_session(const struct mrd_region_state *r, const struct mrd_config *config,
                           const struct mrd_entry *e)
{
    static const char prefix[] = "session/";

    return strncmp(e->key, prefix, sizeof(prefix) - 1) == 0 &&
           mrdi_same(e->key + sizeof(prefix) - 1, config->regions[r->self].name);
}

void mrd_region_observe(struct mrd_region_state *r, const struct mrd_config *config,
                        const struct mrd_entry *e, mrd_boot_ns now_ns)
{
    struct mrd_session_record rec = {0};
    struct mrd_buf b;

    /* Nothing may count from when we learnt of it. */
    if (MRDI_MUTANT(COUNT_FROM_REPLY)) {
        r->pending_ns = now_ns;
    }
    if (!is_own_session(r, config, e)) {
        return;
    }
    b = mrd_buf_reader(e->value, e->len);
    if (e->value == NULL || mrd_session_record_decode(&b, &rec) != 0 || rec.expired) {
        end_session(r);
        r->opening = 0;
        return;
    }
    if (r->opening != 0 && rec.session == r->opening && rec.seq == 0) {
        end_session(r);
        r->session = r->opening;
        r->opening = 0;
        return;
    }
    if (rec.session != r->session) {
        end_session(r);
    } else if (r->pending_seq != 0 && rec.seq == r->pending_seq) {
        extend(r, config);
    }
}

void mrd_region_abandon(struct mrd_region_state *r, uint64_t seq, mrd_session opening)
{
    if (seq != 0 && r->pending_seq == seq) {
        r->pending_seq = 0;
        r->pending_ns = 0;
    }
    if (opening != 0 && r->opening == opening) {
        r->opening = 0;
    }
}

/* ---- the lease ---- */

static bool canary_fresh(const struct step *s)
{
    mrd_boot_ns half_ns = (mrd_boot_ns)s->v.config->lease_ms * MRDI_MS / 2;

    if (s->v.config->regions[s->r->self].witness) {
        return true;
    }
    return s->local->canary_ok && s->local->canary_ns > s->r->last_sent_ns &&
           s->local->canary_ns <= s->now_ns && s->now_ns - s->local->canary_ns <= half_ns;
}

static struct mrd_peer_report *peer_in(struct mrd_session_record *rec, const char *name)
{
    for (unsigned i = 0; i < rec->peer_count && i < MRD_REGIONS_MAX; i++) {
        if (mrdi_same(rec->peers[i].region, name)) {
            return &rec->peers[i];
        }
    }
    return NULL;
}

/* Where the others stood when this session opened is remembered in each of its renewals. */
static void fill_catch_up(const struct step *s, struct mrd_session_record *rec, bool opening)
{
    const struct mrdi_region_view *own = &s->v.regions[s->r->self];

    for (unsigned i = 0; i < s->v.config->region_count; i++) {
        struct mrd_peer_report *p = peer_in(rec, mrdi_name(&s->v, i));
        const struct mrd_peer_report *before = mrdi_peer(own->session, mrdi_name(&s->v, i));
        if (p == NULL) {
            continue;
        }
        p->catch_up_lsn = 0;
        if (opening) {
            p->catch_up_lsn =
                s->v.regions[i].has_session ? s->v.regions[i].session->wal_lsn : 0;
        } else if (before != NULL) {
            p->catch_up_lsn = before->catch_up_lsn;
        }
    }
}

/* Our failover is over, and the session that we have does not say that we know. */
static bool lived_through_failover(const struct step *s)
{
    return s->r->session != 0 && !mrdi_fencing(&s->v, s->r->self) &&
           mrdi_live(&s->v, s->r->self) && !mrdi_returned(&s->v, s->r->self);
}

/*
 * Our partitions were taken, and the session to be opened is the first that says that we know.
 * A commit may have passed its last check before that and be held up still: it would come
 * after opened_lsn, be in no count of the lost tail, and remain when we are home again. So the
 * canary is one that was sent when we knew, and found none.
 */
static bool old_commits_ended(const struct step *s)
{
    const struct mrdi_region_view *own = &s->v.regions[s->r->self];
    uint64_t failover = mrdi_failover_in_force(&s->v, s->r->self);

    if (mrdi_fencing(&s->v, s->r->self) || failover == 0 ||
        (own->has_session && own->session->after_failover == failover) ||
        s->v.config->regions[s->r->self].witness) {
        return true;
    }
    if (s->r->replaced_by != failover) {
        s->r->replaced_by = failover;
        s->r->replaced_ns = s->now_ns;
    }
    return (s->local->canary_settled && s->local->canary_ns > s->r->replaced_ns) ||
           MRDI_MUTANT(HELD_UP);
}

/*
 * Open a session: when we have none, or when our partitions were taken while this one lived, so
 * that opened_lsn says from where on nothing more of the old epochs can come.
 */
static bool open_session(struct step *s)
{
    const struct mrdi_region_view *own = &s->v.regions[s->r->self];
    struct mrd_session_record rec;

    if ((s->r->session != 0 && !lived_through_failover(s)) || !old_commits_ended(s) ||
        !canary_fresh(s)) {
        return false;
    }
    if (mrdi_unborn_why(&s->v, s->r->self, s->local->report.wal_lsn) != NULL) {
        return false;
    }
    if (own->session_revision != 0 && !own->has_session) {
        return false; /* not ours to overwrite what we cannot read */
    }
    /* Somebody may rely on the old session running out: wait until it did. */
    if (mrdi_fencing(&s->v, s->r->self) && own->has_session && !own->session->expired) {
        return false;
    }
    rec = s->local->report;
    rec.session = own->has_session ? own->session->session + 1 : 1;
    rec.seq = 0;
    rec.expired = false;
    rec.expired_ms = 0;
    rec.opened_lsn = rec.wal_lsn;
    /* How a failover ends that is still under way, nobody knows. */
    rec.after_failover = mrdi_fencing(&s->v, s->r->self)
                             ? own->session->after_failover
                             : mrdi_failover_in_force(&s->v, s->r->self);
    fill_catch_up(s, &rec, true);
    mrdi_compare(s->p, own->session_revision, "session/%s", s->name);
    mrdi_compare(s->p, own->failover_revision, "failover/%s", s->name);
    mrdi_put_session(s->p, s->name, &rec);
    s->r->opening = rec.session;
    return true;
}

/* A digest of what the report says about who is there; its change should not wait. */
static uint64_t reach(const struct mrd_session_record *rec)
{
    uint64_t h = 1469598103934665603ull + rec->ready;

    for (unsigned i = 0; i < rec->peer_count && i < MRD_REGIONS_MAX; i++) {
        h = (h ^ rec->peers[i].reachable) * 1099511628211ull;
    }
    return h;
}

static bool renewal_due(const struct step *s)
{
    mrd_boot_ns since_ns = s->now_ns - s->r->last_sent_ns;

    return s->r->last_sent_ns == 0 ||
           since_ns >= (mrd_boot_ns)s->v.config->renew_ms * MRDI_MS ||
           reach(&s->local->report) != s->r->sent_reach;
}

/* A renewal that nobody told us about: its number is spent, so giving it up is always safe. */
static void forget_lost_renewal(const struct step *s)
{
    mrd_boot_ns half_ns = (mrd_boot_ns)s->v.config->lease_ms * MRDI_MS / 2;

    if (s->r->pending_seq != 0 && s->now_ns - s->r->pending_ns > half_ns) {
        s->r->pending_seq = 0;
    }
}

static bool renew(struct step *s)
{
    const struct mrdi_region_view *own = &s->v.regions[s->r->self];
    struct mrd_session_record rec;
    uint64_t seq;

    forget_lost_renewal(s);
    if (s->r->session == 0 || s->r->pending_seq != 0 || !own->has_session ||
        own->session->session != s->r->session || own->session->expired || !renewal_due(s) ||
        !canary_fresh(s)) {
        return false;
    }
    seq = (own->session->seq > s->r->seq ? own->session->seq : s->r->seq) + 1;
    rec = s->local->report;
    rec.session = s->r->session;
    rec.seq = seq;
    rec.expired = false;
    rec.expired_ms = 0;
    rec.opened_lsn = own->session->opened_lsn;
    rec.after_failover = own->session->after_failover;
    fill_catch_up(s, &rec, false);
    mrdi_compare(s->p, own->session_revision, "session/%s", s->name);
    mrdi_put_session(s->p, s->name, &rec);
    s->r->seq = s->r->pending_seq = seq;
    s->r->pending_ns = s->r->last_sent_ns = s->now_ns;
    s->r->sent_reach = reach(&rec);
    return true;
}

/* ---- fences ---- */

static bool confirm_fence(struct step *s)
{
    for (unsigned t = 0; t < s->v.config->region_count; t++) {
        const struct mrdi_region_view *home = &s->v.regions[t];
        const struct mrd_peer_report *mine = mrdi_peer(&s->local->report, mrdi_name(&s->v, t));
        struct mrd_fence_record f;
        uint64_t revision;
        bool ok;
        if (t == s->r->self || !mrdi_fencing(&s->v, t) || mine == NULL ||
            (!mine->refused && !MRDI_MUTANT(UNREFUSED))) {
            continue;
        }
        revision = mrdi_fence(&s->v, t, s->r->self, &f, &ok);
        if (ok && f.failover_id == home->failover->id) {
            continue;
        }
        f = (struct mrd_fence_record){home->failover->id, mine->applied_lsn,
                                      mine->applied_session, mine->applied_boot_ms, s->wall_ms};
        mrdi_compare(s->p, home->failover_revision, "failover/%s", mrdi_name(&s->v, t));
        mrdi_compare(s->p, revision, "fence/%s/%s", mrdi_name(&s->v, t), s->name);
        mrdi_put_fence(s->p, mrdi_name(&s->v, t), s->name, &f);
        mrd_proposal_event(s->p, s->v.store, s->wall_ms,
                           "event=stream.refused origin=%s by=%s applied=%X/%X",
                           mrdi_name(&s->v, t), s->name, (unsigned)(f.applied_lsn >> 32),
                           (unsigned)f.applied_lsn);
        return true;
    }
    return false;
}

/* ---- catching up, and what the agent should do ---- */

bool mrdi_caught_up(const struct mrdi_view *v, const struct mrd_local *local, unsigned self,
                    const struct mrd_authority_record *a)
{
    for (unsigned i = 0; i < a->history_count; i++) {
        const struct mrd_closed_record *c = &a->history[i];
        const struct mrd_peer_report *mine = mrdi_peer(&local->report, c->region);
        mrd_lsn applied = mine != NULL ? mine->applied_lsn : 0;
        if (!mrdi_epoch_here(v, self, a, i, applied) && !MRDI_MUTANT(NO_TAIL)) {
            return false;
        }
    }
    return true;
}

/* Must the lost tail of this closed epoch still be counted, or (@counted) repaired? */
static bool tail_open(const struct mrdi_view *v, const struct mrd_authority_record *a,
                      const struct mrd_closed_record *h, bool counted)
{
    int t = mrd_config_region(v->config, h->region);
    const struct mrd_receipt_record *r;

    if (t < 0 || !mrdi_same(h->reason, "failover") || !mrdi_returned(v, (unsigned)t) ||
        mrdi_fencing(v, (unsigned)t)) {
        return false;
    }
    r = mrdi_receipt_at(v, h->receipt);
    if (r == NULL || !counted) {
        return r != NULL && r->returned_ms == 0;
    }
    return !mrdi_same(a->region, h->region) && !mrdi_epoch_taken(v, a, h, UINT64_MAX);
}

/*
 * The closed epoch whose lost tail is due next: the home may have moved again before the one
 * that it left behind was back. One that was counted is due again when the home that repaired
 * it was replaced and its repairs do not count; but none that is to be counted waits for that.
 * Index into the history, or -1.
 */
static int tail_due(const struct mrdi_view *v, const struct mrd_authority_record *a)
{
    for (unsigned counted = 0; counted < 2; counted++) {
        for (unsigned i = 0; i < a->history_count; i++) {
            if (tail_open(v, a, &a->history[i], counted != 0)) {
                return (int)i;
            }
        }
    }
    return -1;
}

static void duty_of(const struct mrdi_view *v, const struct mrd_local *local, unsigned self,
                    const struct mrdi_partition *p, struct mrd_duty *ret)
{
    const struct mrd_authority_record *a = v->authorities[p->index].record;
    struct mrd_move_record m;
    bool moving;
    int tail;

    if (a == NULL) {
        return;
    }
    tail = tail_due(v, a);
    if (tail >= 0) {
        ret->tail_origin = (mrd_region)mrd_config_region(v->config, a->history[tail].region);
        ret->tail_epoch = a->history[tail].epoch;
    }
    if (!mrdi_same(a->region, mrdi_name(v, self)) || mrdi_fencing(v, self)) {
        return;
    }
    mrdi_move(v, p, &m, &moving);
    if (a->state == MRD_AUTH_FROZEN && moving && m.state == MRD_MOVE_FREEZE &&
        local->drained_move[p->index] != m.id) {
        ret->kind = MRD_DUTY_DRAIN;
        ret->move = m.id;
    } else if (a->state == MRD_AUTH_OPEN && !mrdi_held(a) &&
               local->opened_epoch[p->index] < a->epoch && mrdi_caught_up(v, local, self, a) &&
               (a->history_count == 0 || !mrd_lacks(&local->report, p->index))) {
        /* The first home lacks nothing that counts: nobody had anything before it. */
        ret->kind = MRD_DUTY_PROMOTE;
    }
    ret->epoch = a->epoch;
}

void mrd_region_duties(const struct mrd_region_state *r, const struct mrd_config *config,
                       const struct mrd_store *store, const struct mrd_local *local,
                       struct mrd_duty ret[MRD_PARTITIONS_MAX])
{
    struct mrdi_view v;
    unsigned count = mrd_partition_count(config);

    mrdi_view_load(&v, config, store);
    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(&v, i);
        ret[i] = (struct mrd_duty){.kind = MRD_DUTY_NONE, .tail_origin = MRD_REGION_NONE};
        duty_of(&v, local, r->self, &p, &ret[i]);
    }
}

/* ---- moves ---- */

static void report_frozen(struct step *s, const struct mrdi_partition *p,
                          struct mrd_move_record *m, uint64_t revision)
{
    struct mrd_receipt_record r;
    bool ok;
    uint64_t receipt = mrdi_receipt(&s->v, m->id, &r, &ok);

    m->state = MRD_MOVE_FROZEN;
    m->final_lsn =
        MRDI_MUTANT(UNDRAINED) ? s->local->report.wal_lsn : s->local->drained_lsn[p->index];
    m->final_session = s->r->session;
    /* Everything this session acknowledged lies before the final position. */
    m->final_boot_ms = UINT64_MAX;
    mrdi_compare(s->p, revision, "move/%s/%s", p->class->name, p->name);
    mrdi_put_move(s->p, p, m);
    if (ok) {
        r.fenced_ms = s->wall_ms;
        mrdi_compare(s->p, receipt, "receipt/%016llx", (unsigned long long)m->id);
        mrdi_put_receipt(s->p, &r);
    }
    mrd_proposal_event(s->p, s->v.store, s->wall_ms,
                       "event=move.frozen class=%s partition=%s from=%s final=%X/%X",
                       p->class->name, p->name, m->from, (unsigned)(m->final_lsn >> 32),
                       (unsigned)m->final_lsn);
}

static void take_over(struct step *s, const struct mrdi_partition *p, struct mrd_move_record *m,
                      uint64_t revision, struct mrd_authority_record *a,
                      uint64_t authority_revision)
{
    struct mrd_closed_record closed = {
        .cut = m->final_lsn,
        .cut_session = m->final_session,
        .cut_boot_ms = m->final_boot_ms,
        .reason = "move",
        .receipt = m->id,
        .at_ms = s->wall_ms,
    };
    struct mrd_receipt_record r;
    bool ok;
    uint64_t receipt = mrdi_receipt(&s->v, m->id, &r, &ok);

    m->state = MRD_MOVE_DONE;
    mrd_authority_grant(a, &closed, s->name);
    mrdi_compare(s->p, revision, "move/%s/%s", p->class->name, p->name);
    mrdi_compare(s->p, authority_revision, "authority/%s/%s", p->class->name, p->name);
    mrdi_put_move(s->p, p, m);
    mrdi_put_authority(s->p, p, a);
    if (ok) {
        snprintf(r.note, sizeof(r.note), "granted");
        r.epoch = a->epoch;
        r.cut = closed.cut;
        r.granted_ms = s->wall_ms;
        mrdi_compare(s->p, receipt, "receipt/%016llx", (unsigned long long)m->id);
        mrdi_put_receipt(s->p, &r);
    }
    mrd_proposal_event(s->p, s->v.store, s->wall_ms,
                       "event=authority.granted class=%s partition=%s region=%s epoch=%llu "
                       "prev=%s reason=move cut=%X/%X",
                       p->class->name, p->name, s->name, (unsigned long long)a->epoch, m->from,
                       (unsigned)(closed.cut >> 32), (unsigned)closed.cut);
}

/* Our copy holds the home's final position, and every cut before it. */
static bool target_ready(const struct step *s, unsigned index, const struct mrd_move_record *m,
                         const struct mrd_authority_record *a)
{
    const struct mrd_peer_report *mine = mrdi_peer(&s->local->report, m->from);

    return mine != NULL && mine->applied_lsn >= m->final_lsn && m->final_lsn > 0 &&
           !mrd_lacks(&s->local->report, index) && s->now_ns < s->r->deadline_ns &&
           mrdi_caught_up(&s->v, s->local, s->r->self, a);
}

static bool advance_move(struct step *s, const struct mrdi_partition *p)
{
    struct mrd_move_record m;
    struct mrd_authority_record a;
    bool moving, ok;
    uint64_t revision = mrdi_move(&s->v, p, &m, &moving), authority_revision;

    if (!moving || !mrdi_move_active(&m)) {
        return false;
    }
    authority_revision = mrdi_authority(&s->v, p, &a, &ok);
    if (!ok || a.state != MRD_AUTH_FROZEN || a.epoch != m.epoch) {
        return false;
    }
    if (m.state == MRD_MOVE_FREEZE && mrdi_same(m.from, s->name) && s->r->session != 0 &&
        ((s->local->drained_move[p->index] == m.id && s->local->drained_lsn[p->index] > 0) ||
         MRDI_MUTANT(UNDRAINED))) {
        report_frozen(s, p, &m, revision);
        return true;
    }
    if (m.state == MRD_MOVE_FROZEN && mrdi_same(m.to, s->name) &&
        target_ready(s, p->index, &m, &a)) {
        take_over(s, p, &m, revision, &a, authority_revision);
        return true;
    }
    return false;
}

/* ---- receipts ---- */

static bool failover_receipt(const struct mrd_receipt_record *r)
{
    return mrdi_same(r->kind, "failover");
}

/*
 * Our times in a receipt stand beside those of the coordinator that granted the partition.
 * Where the two wall clocks disagree by more than any grant takes to reach us, ours are shifted
 * by as much as they disagree.
 */
static mrd_wall_ms on_their_clock(const struct step *s, const struct mrdi_partition *p,
                                  const struct mrd_receipt_record *r, mrd_wall_ms ours_ms)
{
    mrd_wall_ms saw_ms = s->r->granted[p->index].wall_ms;
    bool ahead = saw_ms > r->granted_ms;
    uint64_t apart_ms = ahead ? saw_ms - r->granted_ms : r->granted_ms - saw_ms;

    if (apart_ms < CLOCKS_APART_MS) {
        return ours_ms;
    }
    return ahead ? ours_ms - apart_ms : ours_ms + apart_ms;
}

/*
 * Would a write be taken now? Of an open partition that is so at once, unless others have to
 * acknowledge: then it is when enough of them have applied something newer than its opening.
 */
static bool would_accept(const struct step *s, const struct mrdi_partition *p)
{
    mrd_lsn opened = s->r->granted[p->index].opened_lsn;
    unsigned have = 0;

    if (p->class->durability != MRD_QUORUM) {
        return true;
    }
    for (unsigned i = 0; i < s->v.config->region_count && opened != 0; i++) {
        const struct mrd_peer_report *r = mrdi_report(&s->v, i, s->r->self);
        have += i != s->r->self && (p->class->replicas >> i & 1u) != 0 && mrdi_live(&s->v, i) &&
                r != NULL && !r->refused && r->applied_lsn > opened;
    }
    return have > 0 && have >= mrd_config_remote_acks(p->class);
}

#define SOON_MS 1000 /* a first write so soon after may have waited, and been tried again */

/*
 * The time without service ends with the first write, or, where nobody wrote, when a write
 * would have been taken: what comes by much later was not waiting.
 */
static bool note_recovered(const struct step *s, const struct mrdi_partition *p,
                           mrd_wall_ms first_ms, struct mrd_receipt_record *r)
{
    mrd_wall_ms end_ms = 0;

    if (first_ms != 0 &&
        (r->rto_ms == 0 || first_ms <= r->fault_ms + r->rto_ms + (mrd_wall_ms)SOON_MS)) {
        end_ms = first_ms;
    } else if (first_ms == 0 && r->rto_ms == 0 && would_accept(s, p)) {
        end_ms = p->class->durability == MRD_QUORUM ? on_their_clock(s, p, r, s->wall_ms)
                                                    : r->opened_ms;
    }
    if (end_ms <= r->fault_ms) {
        return false;
    }
    r->rto_ms = (uint32_t)(end_ms - r->fault_ms);
    return true;
}

static bool note_opened(const struct step *s, const struct mrdi_partition *p,
                        const struct mrd_authority_record *a, struct mrd_receipt_record *r)
{
    mrd_wall_ms first_ms = s->local->first_write_ms[p->index];
    bool changed = false;

    if (r->epoch != a->epoch || s->local->opened_epoch[p->index] < a->epoch) {
        return false;
    }
    if (r->opened_ms == 0) {
        r->opened_ms = first_ms != 0 && first_ms < s->wall_ms ? first_ms : s->wall_ms;
        r->opened_ms = on_their_clock(s, p, r, r->opened_ms);
        if (!failover_receipt(r) && r->opened_ms > r->detected_ms) {
            r->rto_ms = (uint32_t)(r->opened_ms - r->detected_ms);
        }
        s->r->granted[p->index].opened_lsn = s->local->report.wal_lsn;
        changed = true;
    }
    if (r->first_write_ms == 0) {
        r->first_write_ms = first_ms != 0 ? on_their_clock(s, p, r, first_ms) : 0;
        changed = changed || first_ms != 0;
        if (failover_receipt(r) && note_recovered(s, p, r->first_write_ms, r)) {
            changed = true;
        }
    }
    return changed;
}

/* The home counts the lost tail in its reconcile queue. The region that lost it has only what
 * it was told: of a home that is the lost one come back, the first other live replica tells. */
static bool counts_tail(const struct step *s, const struct mrdi_partition *p,
                        const struct mrd_authority_record *a, const char *from)
{
    if (!mrdi_same(a->region, from)) {
        return mrdi_same(a->region, s->name);
    }
    for (unsigned i = 0; i < s->v.config->region_count; i++) {
        if ((p->class->replicas >> i & 1u) != 0 && mrdi_live(&s->v, i) &&
            !mrdi_same(mrdi_name(&s->v, i), from)) {
            return i == s->r->self;
        }
    }
    return false;
}

/* The old home is back, and we have applied everything it wrote before it came back. */
static bool tail_here(const struct step *s, const struct mrdi_partition *p,
                      const struct mrd_authority_record *a, unsigned i,
                      const struct mrd_receipt_record *r)
{
    int t = mrd_config_region(s->v.config, r->from);
    const struct mrd_peer_report *mine = mrdi_peer(&s->local->report, r->from);

    return t >= 0 && mine != NULL && s->local->tail[p->index].epoch == a->history[i].epoch &&
           counts_tail(s, p, a, r->from) &&
           mine->applied_lsn >= s->v.regions[t].session->opened_lsn;
}

static bool note_returned(const struct step *s, const struct mrdi_partition *p,
                          const struct mrd_authority_record *a, unsigned i,
                          struct mrd_receipt_record *r)
{
    const struct mrd_tail_count *tail = &s->local->tail[p->index];

    if (r->returned_ms != 0) {
        return false;
    }
    r->returned_ms = s->wall_ms;
    r->tail_transactions = tail->transactions;
    r->tail_rows = tail->rows;
    r->rpo_ms = tail->rpo_ms;
    r->tail_gone = mrdi_life_ended(&s->v, r->from, a->history[i].cut);
    return true;
}

/* We are home, and have sent the old home what to hold instead of each row of its tail. */
static bool note_taken(const struct step *s, const struct mrdi_partition *p,
                       const struct mrd_authority_record *a, unsigned i,
                       struct mrd_receipt_record *r)
{
    if (!mrdi_same(a->region, s->name) || mrdi_same(r->from, s->name) ||
        s->local->opened_epoch[p->index] < a->epoch || s->local->through_lsn == 0 ||
        s->local->tail[p->index].unrepaired > 0 ||
        mrdi_epoch_taken(&s->v, a, &a->history[i], UINT64_MAX)) {
        return false;
    }
    r->taken_epoch = a->epoch;
    r->taken_lsn = s->local->through_lsn;
    return true;
}

/* The receipt of the closed epoch @i: opened when it is the last one, its tail when @i is due.
 */
static bool update_receipt(struct step *s, const struct mrdi_partition *p,
                           const struct mrd_authority_record *a, unsigned i, bool due)
{
    struct mrd_receipt_record r;
    bool ok, returned = false;
    bool changed = false;
    uint64_t revision = mrdi_receipt(&s->v, a->history[i].receipt, &r, &ok);

    if (!ok) {
        return false;
    }
    if (i + 1 == a->history_count && mrdi_same(a->region, s->name)) {
        changed = note_opened(s, p, a, &r);
    }
    if (due && tail_here(s, p, a, i, &r)) {
        returned = note_returned(s, p, a, i, &r);
        changed = note_taken(s, p, a, i, &r) || changed;
    }
    if (!changed && !returned) {
        return false;
    }
    mrdi_compare(s->p, revision, "receipt/%016llx", (unsigned long long)r.id);
    mrdi_put_receipt(s->p, &r);
    if (returned) {
        mrd_proposal_event(s->p, s->v.store, s->wall_ms,
                           "event=receipt.final id=%016llx class=%s partition=%s from=%s to=%s "
                           "tail_transactions=%llu tail_rows=%llu%s",
                           (unsigned long long)r.id, r.class_name, r.partition, r.from, r.to,
                           (unsigned long long)r.tail_transactions,
                           (unsigned long long)r.tail_rows, r.tail_gone ? " tail=gone" : "");
    }
    return true;
}

static bool write_receipts(struct step *s, const struct mrdi_partition *p)
{
    const struct mrd_authority_record *a = s->v.authorities[p->index].record;
    int last, due;

    if (a == NULL || a->history_count == 0) {
        return false;
    }
    if (mrdi_same(a->region, s->name) && s->r->granted[p->index].epoch != a->epoch) {
        s->r->granted[p->index].epoch = a->epoch;
        s->r->granted[p->index].wall_ms = s->wall_ms;
        s->r->granted[p->index].opened_lsn = 0;
    }
    last = (int)a->history_count - 1;
    due = tail_due(&s->v, a);
    return update_receipt(s, p, a, (unsigned)last, due == last) ||
           (due >= 0 && due != last && update_receipt(s, p, a, (unsigned)due, true));
}

/* ---- what we hold past a cut ---- */

/*
 * A failover went on without us, and what we had applied by then may be more than counts. Our
 * database has looked, and what it found was copied again: we hold just what the others do.
 */
static bool say_compared(struct step *s, const struct mrdi_partition *p)
{
    const struct mrd_authority_record *now = s->v.authorities[p->index].record;
    struct mrd_authority_record a;
    mrd_regions own = (mrd_regions)(1u << s->r->self);
    mrd_epoch newest = 0;
    uint64_t revision;
    bool ok;

    if (s->r->session == 0 || now == NULL || !mrdi_uncompared(&s->v, s->r->self, now) ||
        mrd_lacks(&s->local->report, p->index)) {
        return false;
    }
    revision = mrdi_authority(&s->v, p, &a, &ok);
    for (unsigned i = 0; ok && i < a.history_count; i++) {
        struct mrd_closed_record *c = &a.history[i];
        if ((c->unfenced & own) != 0 && c->epoch < s->local->compared_epoch[p->index]) {
            c->unfenced &= (mrd_regions)~own;
            newest = c->epoch;
        }
    }
    if (newest == 0) {
        return false;
    }
    mrdi_compare(s->p, revision, "authority/%s/%s", p->class->name, p->name);
    mrdi_put_authority(s->p, p, &a);
    mrd_proposal_event(s->p, s->v.store, s->wall_ms,
                       "event=replica.compared class=%s partition=%s region=%s epoch=%llu",
                       p->class->name, p->name, s->name, (unsigned long long)newest);
    return true;
}

/* ---- the step ---- */

/* Everything but the lease itself, in the order in which clients wait for it. */
static bool step_duties(struct step *s)
{
    unsigned count = mrd_partition_count(s->v.config);

    if (confirm_fence(s)) {
        return true;
    }
    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        if (advance_move(s, &p)) {
            return true;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        struct mrdi_partition p = mrdi_partition(&s->v, i);
        if (write_receipts(s, &p) || say_compared(s, &p)) {
            return true;
        }
    }
    return false;
}

/* Less than three quarters of the lease are left: nothing goes before its renewal. */
static bool lease_presses(const struct step *s)
{
    mrd_boot_ns lease_ns = (mrd_boot_ns)s->v.config->lease_ms * MRDI_MS;

    return s->r->deadline_ns < s->now_ns + lease_ns / 4 * 3;
}

void mrd_region_step(struct mrd_region_state *r, const struct mrd_config *config,
                     const struct mrd_store *store, const struct mrd_local *local,
                     mrd_boot_ns now_ns, mrd_wall_ms wall_ms, struct mrd_proposal *ret)
{
    struct step s = {.r = r,
                     .local = local,
                     .name = config->regions[r->self].name,
                     .now_ns = now_ns,
                     .wall_ms = wall_ms,
                     .p = ret};
    bool filled;

    mrdi_begin(ret);
    mrdi_view_load(&s.v, config, store);
    filled =
        open_session(&s) || (lease_presses(&s) && renew(&s)) || step_duties(&s) || renew(&s);
    if (filled) {
        mrdi_end(ret);
    }
}
