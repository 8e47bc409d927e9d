/*
 * The decision loop (mrd/node.h).
 *
 * A round's stages are tried in order, each as often as it has something to do. What a stage
 * decides on is the store as it is then; nothing changes the store within a round, because
 * answers and applied entries reach the node between rounds.
 */
#include <mrd/node.h>

#include "mutant.h"
#include "view.h"

#include <stdio.h>
#include <string.h>

#define AGAIN_NS (100 * MRDI_MS)
#define HANDOVER_NS (30000 * MRDI_MS)
#define HANDOVER_FIRST_NS (5000 * MRDI_MS)

/* ---- proposals on their way ---- */

/* A lost race is tried again at once, from the store as it is then; everything else waits a
 * little, because what refused may refuse as fast as we ask. */
static void flight_end(struct mrd_node *n, struct mrd_flight *f, int code, mrd_boot_ns now_ns)
{
    f->id = 0;
    /* Of the region's two flights each knows only of its own: the other goes on. */
    if (code != 0) {
        mrd_region_abandon(&n->region, f->seq, f->opening);
    }
    if (f == &n->flights[MRD_FLIGHT_BARRIER] && code == 0) {
        n->caught_up = true;
    }
    if (code == 0 || code == MRD_ECONFLICT) {
        n->dirty = true;
        return;
    }
    f->again_ns = now_ns + AGAIN_NS;
    f->failed = code;
}

void mrd_node_answer(struct mrd_node *n, enum mrd_flight_role role, uint64_t flight, int code,
                     uint64_t revision, mrd_boot_ns now_ns)
{
    struct mrd_flight *f = &n->flights[role];

    if (f->id == 0 || f->id != flight) {
        return;
    }
    if (code == 0 && mrd_store_revision(n->store) < revision) {
        f->accepted = true;
        f->revision = revision;
    } else {
        flight_end(n, f, code, now_ns);
    }
}

/* Answers may be lost; the leader may change under way. */
static void flight_check(struct mrd_node *n, struct mrd_flight *f)
{
    if (f->id == 0) {
        return;
    }
    if (f->accepted) {
        /* Late: committed, only not seen here yet. The barrier is about seeing it. */
        bool late = n->now.boot_ns >= f->deadline_ns && f != &n->flights[MRD_FLIGHT_BARRIER];
        if (late || mrd_store_revision(n->store) >= f->revision) {
            flight_end(n, f, 0, n->now.boot_ns);
        }
    } else if ((n->now.boot_ns >= f->deadline_ns && !MRDI_MUTANT(NO_RETRY)) ||
               (n->now.leader != f->to && n->now.leader != MRD_REGION_NONE)) {
        flight_end(n, f, MRD_ETIMEDOUT, n->now.boot_ns);
    }
}

static bool fly(struct mrd_node *n, enum mrd_flight_role role, struct mrd_node_act *ret)
{
    struct mrd_flight *f = &n->flights[role];

    f->id = ++n->last_flight;
    f->accepted = false;
    f->to = n->now.leader;
    f->deadline_ns = n->now.boot_ns + MRD_NODE_FLIGHT_MS * MRDI_MS;
    *ret = (struct mrd_node_act){
        .kind = MRD_DO_PROPOSE, .role = role, .flight = f->id, .to = f->to};
    return true;
}

static bool may_fly(const struct mrd_node *n, enum mrd_flight_role role)
{
    return n->flights[role].id == 0 && n->now.boot_ns >= n->flights[role].again_ns &&
           n->now.leader != MRD_REGION_NONE;
}

static bool complain(struct mrd_node *n, struct mrd_node_act *ret)
{
    for (unsigned i = 0; i < MRD_FLIGHTS; i++) {
        struct mrd_flight *f = &n->flights[i];
        if (f->failed != 0) {
            *ret = (struct mrd_node_act){
                .kind = MRD_DO_COMPLAIN, .role = (enum mrd_flight_role)i, .code = f->failed};
            f->failed = 0;
            return true;
        }
    }
    return false;
}

/* ---- the snapshot ---- */

/*
 * After a quick restart the last snapshot stands until we hold a lease again, so that nobody is
 * refused for nothing: but only while our homes are still as it says. A quorum class may have
 * been granted away in the meantime, without waiting for our lease. Others take our stream
 * again once we opened a session that knows of that; this stage comes first in every round, so
 * that our PostgreSQL never learns it later than they do.
 */
static bool may_hold(struct mrd_node *n)
{
    mrd_region self = n->region.self;

    if (n->now.boot_ns >= n->hold_until_ns) {
        return false;
    }
    if (!n->caught_up) {
        return true;
    }
    if (!n->inherited) {
        return false; /* of another map: its homes cannot be compared with ours */
    }
    mrd_region_snapshot(&n->region, n->config, n->store, &n->local, n->now.boot_ns,
                        n->now.wall_ms, &n->fresh);
    for (unsigned i = 0; i < n->fresh.partition_count; i++) {
        const struct mrd_authority *was = &n->snapshot.partitions[i].authority;
        const struct mrd_authority *is = &n->fresh.partitions[i].authority;
        if (was->region == self && (is->region != was->region || is->epoch != was->epoch)) {
            return false;
        }
    }
    return true;
}

/* What the process before us knew, without the lease: once, and with its own age. */
static bool take_lease_out(struct mrd_node *n)
{
    bool had = n->snapshot.session != 0 || n->snapshot.lease_deadline_ns != 0;

    n->snapshot.session = 0;
    n->snapshot.lease_deadline_ns = 0;
    return had;
}

static bool publish(struct mrd_node *n, struct mrd_node_act *ret)
{
    n->lease_held = n->region.deadline_ns > n->now.boot_ns;
    if (!n->changed && n->now.boot_ns - n->published_ns < MRD_NODE_PUBLISH_MS * MRDI_MS) {
        return false;
    }
    if (n->hold_until_ns != 0) {
        if (!n->lease_held && may_hold(n)) {
            return false;
        }
        n->hold_until_ns = 0;
    }
    *ret = (struct mrd_node_act){.kind = MRD_DO_PUBLISH};
    if (n->inherited && !n->caught_up) {
        return take_lease_out(n);
    }
    n->inherited = false;
    mrd_region_snapshot(&n->region, n->config, n->store, &n->local, n->now.boot_ns,
                        n->now.wall_ms, &n->snapshot);
    return true;
}

static struct mrd_peer_report *report_about(struct mrd_node *n, unsigned region)
{
    struct mrd_session_record *r = &n->local.report;

    for (unsigned i = 0; i < r->peer_count && i < MRD_REGIONS_MAX; i++) {
        if (mrdi_same(r->peers[i].region, n->config->regions[region].name)) {
            return &r->peers[i];
        }
    }
    return NULL;
}

void mrd_node_published(struct mrd_node *n, mrd_boot_ns now_ns)
{
    n->published_ns = now_ns;
    for (unsigned i = 0; i < n->config->region_count; i++) {
        struct mrd_peer_report *p = report_about(n, i);
        if (n->snapshot.regions[i].stream != MRD_STREAM_REFUSE) {
            n->refuse_since_ns[i] = 0;
            if (p != NULL) {
                p->refused = false;
            }
        } else if (n->refuse_since_ns[i] == 0) {
            n->refuse_since_ns[i] = now_ns;
        }
    }
}

void mrd_node_refused(struct mrd_node *n, mrd_region origin, bool closed, mrd_boot_ns asked_ns)
{
    struct mrd_peer_report *p =
        origin < n->config->region_count ? report_about(n, origin) : NULL;

    if (p != NULL) {
        p->refused =
            closed && n->refuse_since_ns[origin] != 0 && asked_ns > n->refuse_since_ns[origin];
    }
}

bool mrd_node_refusal_waits(const struct mrd_node *n)
{
    for (unsigned i = 0; i < n->config->region_count; i++) {
        const struct mrd_peer_report *p =
            mrdi_peer(&n->local.report, n->config->regions[i].name);
        if (n->refuse_since_ns[i] != 0 && p != NULL && !p->refused) {
            return true;
        }
    }
    return false;
}

/* ---- the steps ---- */

static bool catch_up(struct mrd_node *n, struct mrd_node_act *ret)
{
    if (!may_fly(n, MRD_FLIGHT_BARRIER)) {
        return false;
    }
    n->proposal.txn.compare_count = n->proposal.txn.put_count = 0;
    return fly(n, MRD_FLIGHT_BARRIER, ret);
}

static bool work(struct mrd_node *n, struct mrd_node_act *ret)
{
    if (n->config->regions[n->region.self].witness) {
        return false;
    }
    mrd_region_duties(&n->region, n->config, n->store, &n->local, n->duties);
    *ret = (struct mrd_node_act){.kind = MRD_DO_DUTIES};
    return true;
}

/* The first leader's file becomes the deployment's configuration; later one with a higher
 * version replaces it. */
static bool wants_config(struct mrd_node *n)
{
    struct mrd_txn *txn = &n->proposal.txn;

    if (n->config_text == NULL || n->config_len > MRD_VALUE_MAX ||
        (n->config_known && n->config->version <= n->config_stored_version)) {
        return false;
    }
    txn->compare_count = txn->put_count = 1;
    snprintf(txn->compares[0].key, MRD_KEY_MAX, "config");
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "config");
    txn->compares[0].revision = n->config_revision;
    txn->puts[0].value = n->config_text;
    txn->puts[0].len = n->config_len;
    return true;
}

static bool step_coordinator(struct mrd_node *n, struct mrd_node_act *ret)
{
    if (!n->now.leads || !may_fly(n, MRD_FLIGHT_COORDINATOR)) {
        return false;
    }
    mrd_coordinator_step(&n->coordinator, n->config, n->store, n->now.boot_ns, n->now.wall_ms,
                         &n->proposal);
    if (n->proposal.wanted) {
        n->decided_ns = n->now.boot_ns;
    } else if (!wants_config(n)) {
        return false;
    }
    return fly(n, MRD_FLIGHT_COORDINATOR, ret);
}

/*
 * While a renewal is on its way, which takes a round trip or two, what a failover or a move
 * waits for must not queue behind it. Nothing else overlaps: sessions open one step at a time.
 */
static enum mrd_flight_role region_role(const struct mrd_node *n)
{
    return n->flights[MRD_FLIGHT_REGION].id != 0 && n->region.pending_seq != 0
               ? MRD_FLIGHT_DUTY
               : MRD_FLIGHT_REGION;
}

/* What the region proposes next, and which renewal or opening is in it. */
static bool region_wants(struct mrd_node *n, uint64_t *ret_seq, mrd_session *ret_opening)
{
    struct mrd_region_state *r = &n->region;
    uint64_t seq = r->seq;
    mrd_session opening = r->opening; /* in the other flight, or late */

    r->opening = 0;
    mrd_region_step(r, n->config, n->store, &n->local, n->now.boot_ns, n->now.wall_ms,
                    &n->proposal);
    *ret_seq = r->seq != seq ? r->seq : 0;
    *ret_opening = r->opening;
    if (r->opening == 0) {
        r->opening = opening;
    }
    return n->proposal.wanted;
}

static bool step_region(struct mrd_node *n, struct mrd_node_act *ret)
{
    enum mrd_flight_role role = region_role(n);
    mrd_session opening;
    uint64_t seq;

    if (n->now.store_full || !may_fly(n, role) || !region_wants(n, &seq, &opening)) {
        return false;
    }
    if (seq != 0) {
        n->local.canary_ok = false; /* the next renewal needs another */
    }
    n->flights[role].seq = seq;
    n->flights[role].opening = opening;
    return fly(n, role, ret);
}

/* ---- who leads the store ---- */

static bool sees_agent(const struct mrd_node *n, int region)
{
    const struct mrd_peer_report *p =
        mrdi_peer(&n->local.report, n->config->regions[region].name);

    return p != NULL && (p->reachable & MRD_SEES_AGENT) != 0;
}

/* A leader that is known, and is not the one before. The first that a process hears of is no
 * change: a world that boots need not wait. */
static void note_leader(struct mrd_node *n)
{
    if (n->now.leader == MRD_REGION_NONE || n->now.leader == n->last_leader) {
        return;
    }
    n->leader_until_ns =
        n->now.boot_ns + (n->last_leader == MRD_REGION_NONE ? HANDOVER_FIRST_NS : HANDOVER_NS);
    n->last_leader = n->now.leader;
}

/* Every change of the leader makes all wait a moment, so it stays a while, unless its disk is
 * full. */
static bool may_hand_over(const struct mrd_node *n)
{
    if (MRDI_MUTANT(LEAD_TOSSED)) {
        return n->now.leads;
    }
    return n->now.leads && n->now.boot_ns >= n->handover_next_ns &&
           (n->now.store_full || n->now.boot_ns >= n->leader_until_ns);
}

/* Lead from where the fewest writes are, and never from a full disk. */
static bool hand_over(struct mrd_node *n, struct mrd_node_act *ret)
{
    int self = n->region.self, to;

    if (!may_hand_over(n)) {
        return false;
    }
    to = mrd_coordinator_preferred_leader(n->config, n->store, n->region.self);
    for (int i = 0; n->now.store_full && (to < 0 || to == self) && i < n->config->region_count;
         i++) {
        to = i != self && sees_agent(n, i) ? i : to;
    }
    /* Not in the middle of a decision. */
    if (to < 0 || to == self || !sees_agent(n, to) ||
        n->now.boot_ns - n->decided_ns <= HANDOVER_FIRST_NS) {
        return false;
    }
    n->handover_next_ns = n->now.boot_ns + HANDOVER_NS;
    *ret = (struct mrd_node_act){.kind = MRD_DO_HAND_OVER, .to = (mrd_region)to};
    return true;
}

/* ---- the round ---- */

enum stage { COMPLAIN, PUBLISH, CATCH_UP, WORK, COORDINATE, HOLD, HAND_OVER, OVER };

void mrd_node_init(struct mrd_node *n, const struct mrd_config *config,
                   const struct mrd_store *store, mrd_region self)
{
    n->config = config;
    n->store = store;
    n->region.self = self;
    n->dirty = true;
    n->stage = OVER;
    n->now.leader = n->last_leader = MRD_REGION_NONE;
    /* Of which partitions our database lacks rows, it has not said yet: perhaps of all. */
    for (unsigned i = 0; i < mrd_partition_count(config); i++) {
        mrd_set_lacks(&n->local.report, i, true);
    }
}

/* It names what we would name, in the same order. */
static bool same_map(const struct mrd_node *n)
{
    const struct mrd_snapshot *s = &n->snapshot;
    const struct mrd_config *c = n->config;

    if (s->self != n->region.self || s->region_count != c->region_count ||
        s->class_count != c->class_count || s->partition_count != mrd_partition_count(c)) {
        return false;
    }
    for (unsigned i = 0; i < c->region_count; i++) {
        if (!mrdi_same(s->regions[i].name, c->regions[i].name)) {
            return false;
        }
    }
    for (unsigned i = 0; i < s->partition_count; i++) {
        const char *name;
        const struct mrd_conf_class *k = mrd_partition_at(c, i, &name);
        if (!mrdi_same(s->partitions[i].name, name) ||
            !mrdi_same(s->classes[s->partitions[i].class_index].name, k->name)) {
            return false;
        }
    }
    return true;
}

void mrd_node_inherit(struct mrd_node *n)
{
    n->hold_until_ns = n->snapshot.lease_deadline_ns;
    n->inherited = same_map(n);
    n->current_ns = n->inherited ? n->snapshot.published_ns : 0;
}

mrd_boot_ns mrd_node_stale_ns(const struct mrd_node *n, mrd_boot_ns now_ns)
{
    if (n->caught_up && n->now.leader != MRD_REGION_NONE) {
        return 0;
    }
    /* From the future: the machine has started anew since. */
    if (n->current_ns == 0 || n->current_ns > now_ns) {
        return UINT64_MAX;
    }
    return now_ns - n->current_ns > 0 ? now_ns - n->current_ns : 1;
}

void mrd_node_observe(struct mrd_node *n, const struct mrd_entry *e, mrd_boot_ns now_ns)
{
    mrd_coordinator_observe(&n->coordinator, n->config, e, now_ns);
    mrd_region_observe(&n->region, n->config, e, now_ns);
    n->dirty = true;
}

void mrd_node_config(struct mrd_node *n, uint64_t revision, const uint64_t *version)
{
    n->config_known = true;
    n->config_revision = revision;
    n->config_stored_version = version != NULL ? *version : UINT64_MAX;
}

void mrd_node_lead(struct mrd_node *n, bool leads, mrd_boot_ns now_ns)
{
    mrd_coordinator_lead(&n->coordinator, leads, now_ns);
    n->handover_next_ns = now_ns + HANDOVER_FIRST_NS;
    n->dirty = true;
}

void mrd_node_begin(struct mrd_node *n, const struct mrd_node_now *now)
{
    n->now = *now;
    n->changed = n->dirty;
    n->dirty = false;
    n->stage = COMPLAIN;
    note_leader(n);
    if (n->caught_up && now->leader != MRD_REGION_NONE) {
        n->current_ns = now->boot_ns;
    }
    for (unsigned i = 0; i < MRD_FLIGHTS; i++) {
        flight_check(n, &n->flights[i]);
    }
}

static bool run_stage(struct mrd_node *n, unsigned stage, struct mrd_node_act *ret)
{
    if (stage > CATCH_UP && !n->caught_up) {
        return false;
    }
    switch (stage) {
    case COMPLAIN:
        return complain(n, ret);
    case PUBLISH:
        return publish(n, ret);
    case CATCH_UP:
        return !n->caught_up && catch_up(n, ret);
    case WORK:
        return work(n, ret);
    case COORDINATE:
        return step_coordinator(n, ret);
    case HOLD:
        return step_region(n, ret);
    default:
        return hand_over(n, ret);
    }
}

bool mrd_node_next(struct mrd_node *n, struct mrd_node_act *ret)
{
    while (n->stage < OVER) {
        unsigned stage = n->stage;
        bool acts = run_stage(n, stage, ret);
        /* Only complaints come in any number. */
        n->stage += stage != COMPLAIN || !acts;
        if (acts) {
            return true;
        }
    }
    *ret = (struct mrd_node_act){.kind = MRD_DO_NOTHING};
    return false;
}
