/*
 * An agent without its sockets: what agent/agent.c does around mrd/node.h, under the world's
 * time. It measures (canary, status, probes), runs rounds, and carries out what they say.
 *
 * A round takes place when something changed, when one that waits for time to pass is due, and
 * otherwise at a coarse tick: the decisions are made of the same object code as the real
 * agent's 50 ms, and none of them may depend on when exactly it looks.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGENT, SQL, EDGE, KINDS };

static struct sim_event event_for(struct sim *w, unsigned i, enum sim_event_kind kind,
                                  sim_us after_us)
{
    return (struct sim_event){.at = w->now + after_us,
                              .kind = (uint8_t)kind,
                              .region = (uint8_t)i,
                              .life = w->regions[i].agent_life};
}

void sim_agent_wake(struct sim *w, unsigned i, sim_us at)
{
    struct sim_region *r = &w->regions[i];
    struct sim_event e = event_for(w, i, SIM_AGENT, 0);

    if (!r->agent_up || (r->wake_at != 0 && r->wake_at <= at)) {
        return;
    }
    r->wake_at = at > 0 ? at : 1;
    e.at = at;
    e.a = r->wake_at;
    sim_push(w, &e);
}

/* ---- proposals ---- */

static void on_propose(struct sim *w, const struct sim_event *e)
{
    int rc = sim_server_propose(w, e->region, e->a, e->peer, e->b);
    struct sim_event back = {.kind = SIM_RESULT,
                             .region = e->peer,
                             .life = w->regions[e->peer].agent_life,
                             .a = e->b,
                             .b = (uint64_t)(-rc & 0xff)};

    if (rc != 0 && sim_send(w, e->region, e->peer, &back.at)) {
        sim_push(w, &back);
    }
}

int sim_propose(struct sim *w, unsigned i, const struct mrd_txn *txn, uint64_t flight)
{
    mrd_region leader = sim_server_leader(w, i);
    struct sim_event e = {.kind = SIM_PROPOSE, .region = leader, .peer = (uint8_t)i};
    struct mrd_buf out = mrd_buf_writer(w->scratch, MRD_TXN_MAX);

    if (leader == MRD_REGION_NONE) {
        return MRD_EUNAVAILABLE;
    }
    if (mrd_txn_encode(txn, &out) != 0) {
        return MRD_ETOOBIG;
    }
    e.life = w->regions[leader].agent_life;
    e.a = sim_payload(w, w->scratch, out.pos);
    e.b = flight;
    if (leader == i) {
        return sim_server_propose(w, i, e.a, i, flight);
    }
    if (sim_send(w, i, leader, &e.at)) {
        sim_push(w, &e);
    }
    return 0;
}

static void on_result(struct sim *w, const struct sim_event *e)
{
    if ((e->a & 15) >= MRD_FLIGHTS) {
        return; /* an operator's */
    }
    mrd_node_answer(w->regions[e->region].node, (enum mrd_flight_role)(e->a & 15), e->a >> 4,
                    -(int)(e->b & 0xff), e->b >> 8, sim_boot_ns(w, e->region));
    sim_agent_wake(w, e->region, w->now);
}

/* ---- measuring ---- */

static void send_canary(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    struct sim_event e = event_for(w, i, SIM_CANARY, w->postgres_us[i]);

    r->canary_at = w->now + w->config->renew_ms * SIM_MS;
    r->canary_busy = true;
    e.a = sim_boot_ns(w, i);
    e.b = mrd_node_heartbeat_session(r->node);
    sim_push(w, &e);
}

/* No commit of a partition whose home is elsewhere is past its last check. */
static bool settled(const struct sim *w, unsigned i)
{
    const struct mrd_snapshot *s = sim_snapshot(w, i);

    for (unsigned p = 0; s != NULL && p < s->partition_count; p++) {
        const struct mrd_authority *a = &s->partitions[p].authority;
        unsigned checked;
        (void)sim_in_flight(w, i, p, &checked);
        if (checked > 0 && a->region != i && a->state != MRD_AUTH_VACANT) {
            return false;
        }
    }
    return s != NULL;
}

static void on_canary(struct sim *w, const struct sim_event *e)
{
    struct sim_region *r = &w->regions[e->region];
    struct mrd_local *l = &r->node->local;
    uint64_t took_ns = sim_boot_ns(w, e->region) - e->a;

    r->canary_busy = false;
    if (!r->postgres_up || took_ns > w->config->lease_ms * SIM_NS_PER_MS / 2) {
        l->canary_ok = false;
        l->report.ready = (uint8_t)(l->report.ready & ~MRD_SEES_SQL);
    } else {
        struct sim_record *rec = sim_wal_append(w, e->region, SIM_REC_HEARTBEAT);
        rec->session = e->b;
        rec->boot_ms = e->a / SIM_NS_PER_MS;
        l->canary_ok = true;
        l->canary_ns = e->a;
        l->canary_settled = settled(w, e->region);
        l->report.wal_lsn = rec->lsn;
        l->report.boot_ms = rec->boot_ms;
        l->report.ready |= MRD_SEES_SQL;
    }
    r->node->dirty = true;
    sim_agent_wake(w, e->region, w->now);
}

static void ask_status(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    struct sim_event e = event_for(w, i, SIM_STATUS, w->postgres_us[i]);

    r->status_busy = true;
    r->status_at = w->now + w->status_us;
    e.a = sim_boot_ns(w, i);
    sim_push(w, &e);
}

static void count_tail(const struct sim *w, unsigned i, unsigned p, struct mrd_tail_count *ret)
{
    const struct mrd_duty *d = &w->regions[i].node->duties[p];

    *ret = (struct mrd_tail_count){0};
    if (d->tail_epoch == 0 || d->tail_origin >= w->config->region_count) {
        return;
    }
    ret->epoch = d->tail_epoch;
    const struct sim_postgres *o = &w->regions[d->tail_origin].postgres;
    for (size_t k = 0; k < w->regions[i].postgres.streams[d->tail_origin].taken; k++) {
        const struct sim_record *rec = &o->wal[k];
        if (rec->kind == SIM_REC_COMMIT && rec->partition == p && rec->epoch == d->tail_epoch &&
            rec->fate[i] == SIM_TAIL) {
            ret->transactions++;
            ret->rows++;
            ret->unrepaired += (rec->repairs >> i & 1u) == 0;
        }
    }
}

static void on_status(struct sim *w, const struct sim_event *e)
{
    unsigned i = e->region, count = mrd_partition_count(w->config);
    struct sim_region *r = &w->regions[i];
    struct mrd_local *l = &r->node->local;

    r->status_busy = false;
    if (!r->postgres_up) {
        return;
    }
    for (unsigned k = 0; k < l->report.peer_count; k++) {
        struct mrd_peer_report *p = &l->report.peers[k];
        int o = mrd_config_region(w->config, p->region);
        const struct sim_stream *s = &r->postgres.streams[o];
        p->applied_lsn = sim_applied(w, i, (unsigned)o);
        p->applied_session = s->through_session;
        p->applied_boot_ms = s->through_boot_ms;
        mrd_node_refused(r->node, (mrd_region)o, s->refuse_at != 0 && w->now >= s->refuse_at,
                         e->a);
    }
    for (unsigned p = 0; p < count; p++) {
        if (r->postgres.opened[p] > l->opened_epoch[p]) {
            l->opened_epoch[p] = r->postgres.opened[p];
        }
        l->first_write_ms[p] = r->postgres.first_write_ms[p];
        l->compared_epoch[p] = r->postgres.compared[p];
        mrd_set_lacks(&l->report, p, r->postgres.lacks[p]);
        sim_repair(w, i, p);
        count_tail(w, i, p, &l->tail[p]);
    }
    l->through_lsn = r->postgres.count > 0 ? r->postgres.wal[r->postgres.count - 1].lsn : 0;
    r->node->dirty = true;
    sim_agent_wake(w, i, w->now);
}

/* An answer needs both ways and the thing asked; it is counted at the next look. */
static void probe(struct sim *w, unsigned i, unsigned peer)
{
    struct sim_region *r = &w->regions[i], *o = &w->regions[peer];
    struct sim_probe *p = &r->probes[peer];
    uint64_t now_ns = sim_boot_ns(w, i);
    const sim_us trip_us = w->links[i][peer].delay_us + w->links[peer][i].delay_us;
    const struct mrd_patience_limits limits = {
        .interval_ns = w->config->probe_interval_ms * SIM_NS_PER_MS,
        .trip_ns = trip_us * SIM_NS_PER_US,
        .timeout_ns = w->config->probe_timeout_ms * SIM_NS_PER_MS,
        .threshold = w->config->probe_threshold};
    bool linked = sim_linked(w, i, peer);
    bool there[KINDS] = {linked && o->agent_up, linked && o->postgres_up, linked && o->edge_up};

    for (unsigned k = 0; k < KINDS; k++) {
        struct mrd_patience *seen = &p->seen[k];
        bool late = linked &&
                    (w->links[i][peer].extra_us + w->links[peer][i].extra_us) * SIM_NS_PER_US >
                        limits.timeout_ns;
        if (seen->pending) {
            if (there[k] && !late) {
                (void)mrd_patience_answer(seen, true, now_ns, &limits);
            } else {
                (void)mrd_patience_wait(seen, now_ns, &limits);
            }
        }
        if (!seen->pending || now_ns - seen->asked_ns >= limits.timeout_ns) {
            mrd_patience_ask(seen, now_ns);
        }
    }
}

static void probe_all(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];

    r->probe_at = w->now + w->config->probe_interval_ms * SIM_MS;
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (o != i) {
            probe(w, i, o);
        }
    }
}

static void fill_report(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    struct mrd_session_record *rep = &r->node->local.report;

    for (unsigned k = 0; k < rep->peer_count; k++) {
        struct mrd_peer_report *p = &rep->peers[k];
        unsigned o = k + (k >= i); /* as sim_agent_start listed them */
        const struct mrd_patience *seen = r->probes[o].seen;
        uint8_t reachable =
            (uint8_t)((seen[AGENT].up ? MRD_SEES_AGENT : 0) |
                      (seen[SQL].up ? MRD_SEES_SQL : 0) | (seen[EDGE].up ? MRD_SEES_EDGE : 0));
        r->node->dirty = r->node->dirty || reachable != p->reachable;
        p->reachable = reachable;
        p->rtt_us = (uint32_t)(w->links[i][o].delay_us + w->links[o][i].delay_us);
    }
    rep->wall_ms = sim_wall_ms(w, i);
    rep->ready |= MRD_SEES_AGENT;
    if (w->config->regions[i].witness) {
        rep->boot_ms = sim_boot_ns(w, i) / SIM_NS_PER_MS;
    } else {
        rep->ready =
            (uint8_t)((rep->ready & ~MRD_SEES_EDGE) | (r->edge_up ? MRD_SEES_EDGE : 0));
    }
}

/* ---- carrying out ---- */

static void publish(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];

    r->has_snapshot = true;
    mrd_node_published(r->node, sim_boot_ns(w, i));
    if (mrd_node_refusal_waits(r->node)) {
        r->status_at = w->now;
    }
    sim_streams(w, i);
    sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_PUBLISHED, .region = (uint8_t)i});
}

static void start_duties(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    unsigned count = mrd_partition_count(w->config);

    for (unsigned p = 0; p < count && r->postgres_up; p++) {
        const struct mrd_duty *d = &r->node->duties[p];
        struct sim_event e = event_for(
            w, i, d->kind == MRD_DUTY_DRAIN ? SIM_DRAIN : SIM_PROMOTE, w->postgres_us[i]);
        if (d->kind == MRD_DUTY_NONE || r->postgres.duty_busy[p]) {
            continue;
        }
        r->postgres.duty_busy[p] = true;
        e.a = p;
        e.b = d->kind == MRD_DUTY_DRAIN ? d->move : d->epoch;
        e.c = 0;
        sim_push(w, &e);
    }
}

static void on_promoted(struct sim *w, const struct sim_event *e)
{
    struct sim_region *r = &w->regions[e->region];

    r->postgres.duty_busy[e->a] = false;
    if (!r->postgres_up) {
        return;
    }
    if (r->postgres.opened[e->a] < e->b) {
        r->postgres.opened[e->a] = e->b;
        r->postgres.first_write_ms[e->a] = 0;
    }
    r->node->local.opened_epoch[e->a] = e->b;
    r->node->dirty = true;
    sim_agent_wake(w, e->region, w->now);
}

/*
 * meridian.drain: waits until nothing is in flight. After its patience the transactions that
 * have not passed their last check lose the right to; those past it are waited for, by calling
 * again.
 */
static void on_drain(struct sim *w, const struct sim_event *e)
{
    struct sim_region *r = &w->regions[e->region];
    const struct mrd_snapshot *s = sim_snapshot(w, e->region);
    unsigned checked, n = sim_in_flight(w, e->region, (unsigned)e->a, &checked);
    struct sim_event again = *e;

    if (!r->postgres_up || s == NULL || s->partitions[e->a].authority.state == MRD_AUTH_OPEN ||
        (e->c == 10 && checked > 0)) {
        r->postgres.duty_busy[e->a] = false;
        return;
    }
    if (e->c == 10) {
        sim_cancel(w, e->region, (unsigned)e->a);
    } else if (n > 0) {
        again.at = w->now + 100 * SIM_MS;
        again.c++;
        sim_push(w, &again);
        return;
    }
    r->postgres.duty_busy[e->a] = false;
    r->node->local.drained_lsn[e->a] = sim_wal_append(w, e->region, SIM_REC_HEARTBEAT)->lsn;
    r->node->local.drained_move[e->a] = e->b;
    r->node->dirty = true;
    sim_agent_wake(w, e->region, w->now);
}

static void propose(struct sim *w, unsigned i, const struct mrd_node_act *act)
{
    struct mrd_node *n = w->regions[i].node;
    int rc = sim_propose(w, i, &n->proposal.txn, act->flight << 4 | (uint64_t)act->role);

    if (rc != 0) {
        mrd_node_answer(n, act->role, act->flight, rc, 0, sim_boot_ns(w, i));
    }
}

static void round_of(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    struct mrd_node_now now = {.boot_ns = sim_boot_ns(w, i),
                               .wall_ms = sim_wall_ms(w, i),
                               .leader = sim_server_leader(w, i),
                               .leads = sim_server_leads(w, i),
                               .store_full = r->disk_full};
    struct mrd_node_act act;

    r->round_at = w->now + w->tick_us;
    r->round_leader = now.leader;
    mrd_node_begin(r->node, &now);
    while (mrd_node_next(r->node, &act)) {
        switch (act.kind) {
        case MRD_DO_PUBLISH:
            publish(w, i);
            break;
        case MRD_DO_DUTIES:
            start_duties(w, i);
            break;
        case MRD_DO_PROPOSE:
            propose(w, i, &act);
            break;
        case MRD_DO_HAND_OVER:
            sim_tell(w, "%s hands the store over to %s", sim_name(w, i), sim_name(w, act.to));
            sim_say(w, &(struct sim_fact){
                           .kind = SIM_SAYS_HANDS_OVER, .region = (uint8_t)i, .peer = act.to});
            sim_server_transfer(w, i, act.to);
            break;
        case MRD_DO_NOTHING:
        case MRD_DO_COMPLAIN:
            break;
        }
    }
}

/* ---- waking ---- */

static void note_leadership(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    bool leads = sim_server_leads(w, i);
    raft_term term;

    if (leads != r->led) {
        r->led = leads;
        r->led_ns = sim_boot_ns(w, i);
        term = raft_current_term(&r->server.raft);
        mrd_node_lead(r->node, leads, sim_boot_ns(w, i));
        if (leads) {
            sim_tell(w,
                     r->led_term == term
                         ? "%s: the handover failed, nobody took the store over in time: it "
                           "still leads it, term %llu"
                         : "%s leads the store, term %llu",
                     sim_name(w, i), (unsigned long long)term);
            r->led_term = term;
        }
    }
}

static sim_us sooner(sim_us a, sim_us b)
{
    return a < b ? a : b;
}

/* When a leader's decisions may change though nothing happens: what it waits for then. */
static sim_us due_at_leader(struct sim *w, unsigned i, sim_us next)
{
    const struct mrd_coordinator *c = &w->regions[i].node->coordinator;
    const uint64_t lease_ms = w->config->lease_ms,
                   waits_ms[] = {(uint64_t)w->config->probe_interval_ms *
                                     w->config->probe_threshold,
                                 lease_ms, lease_ms + w->config->lease_margin_ms, 1000, 10000};
    uint64_t now_ns = sim_boot_ns(w, i);

    for (unsigned k = 0; c->since_ns != 0 && k < w->config->region_count; k++) {
        for (unsigned j = 0; j < sizeof(waits_ms) / sizeof(waits_ms[0]); j++) {
            uint64_t since_ns = j < 3 ? c->seen[k].applied_ns : c->failovers[k].applied_ns;
            uint64_t due_ns = since_ns + waits_ms[j] * SIM_NS_PER_MS;
            if (since_ns != 0 && due_ns >= now_ns) {
                next = sooner(next, w->now + (due_ns - now_ns) / SIM_NS_PER_US + SIM_MS);
            }
        }
    }
    return next;
}

static void look(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    bool witness = w->config->regions[i].witness;
    sim_us next;

    note_leadership(w, i);
    if (w->now >= r->probe_at) {
        probe_all(w, i);
    }
    if (!witness && !r->canary_busy && w->now >= r->canary_at) {
        send_canary(w, i);
    }
    if (!witness && !r->status_busy && w->now >= r->status_at) {
        ask_status(w, i);
    }
    fill_report(w, i);
    if (r->node->dirty || w->now >= r->round_at || sim_server_leader(w, i) != r->round_leader) {
        round_of(w, i);
        r->round_at = due_at_leader(w, i, r->round_at);
    }
    next = r->round_at;
    if (!witness && !r->canary_busy) {
        next = sooner(next, r->canary_at);
    }
    if (!witness && !r->status_busy) {
        next = sooner(next, r->status_at);
    }
    next = sooner(next, r->probe_at);
    if (r->node->dirty) {
        next = w->now + 1;
    }
    sim_agent_wake(w, i, next > w->now ? next : w->now + 1);
}

void sim_agent_event(struct sim *w, const struct sim_event *e)
{
    struct sim_region *r = &w->regions[e->region];

    switch ((enum sim_event_kind)e->kind) {
    case SIM_PROPOSE:
        on_propose(w, e);
        break;
    case SIM_RESULT:
        on_result(w, e);
        break;
    case SIM_CANARY:
        on_canary(w, e);
        break;
    case SIM_STATUS:
        on_status(w, e);
        break;
    case SIM_PROMOTE:
        on_promoted(w, e);
        break;
    case SIM_DRAIN:
        on_drain(w, e);
        break;
    default:
        if (e->a == r->wake_at) {
            r->wake_at = 0;
            look(w, e->region);
        }
        break;
    }
}

/* ---- life ---- */

struct watcher {
    struct sim *w;
    unsigned region;
};
static struct watcher watchers[SIM_REGIONS_MAX]; /* one world at a time in a process */

/* What the store says becomes a fact, and a line, when the first replica applies it. */
static void tell_event(struct sim *w, const struct mrd_entry *e)
{
    char text[512], words[600];
    const char *event;
    bool said;

    snprintf(text, sizeof(text), "%.*s", (int)e->len, (const char *)e->value);
    event = strstr(text, "event=");
    event = event != NULL ? event + 6 : text;
    w->report->moves += strncmp(event, "move.requested ", 15) == 0;
    w->report->drained +=
        strncmp(event, "move.requested ", 15) == 0 && strstr(event, " who=\"drain by ") != NULL;
    w->report->moved +=
        strncmp(event, "authority.granted ", 18) == 0 && strstr(event, " reason=move ") != NULL;
    said = sim_event_words(event, words, sizeof(words));
    sim_tell(w, "%s", said ? words : event);
    if (said && w->options->verbose) {
        sim_tell(w, "  event=%s", event);
    }
}

static void tell_authority(struct sim *w, const struct mrd_entry *e)
{
    static struct mrd_authority_record before, now;
    char path[MRD_KEY_MAX];
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);
    char *slash;
    int p;

    snprintf(path, sizeof(path), "%s", e->key + 10);
    slash = strchr(path, '/');
    if (slash == NULL || mrd_authority_record_decode(&b, &now) != 0) {
        return;
    }
    *slash = '\0';
    p = mrd_partition_index(w->config, path, slash + 1);
    if (p < 0 || e->revision <= w->authority_revision[p]) {
        return;
    }
    before = w->authority[p];
    w->authority[p] = now;
    w->authority_revision[p] = e->revision;
    sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_AUTHORITY,
                                  .partition = (uint8_t)p,
                                  .authority = &w->authority[p],
                                  .number = now.epoch,
                                  .before = &before});
}

static void tell_failover(struct sim *w, const struct mrd_entry *e)
{
    struct mrd_failover_record f;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (mrd_failover_record_decode(&b, &f) == 0) {
        sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_FAILOVER,
                                      .region = (uint8_t)mrd_config_region(w->config, f.region),
                                      .number = f.id,
                                      .failover = &f});
    }
}

/* "fence/LOST/BY" */
static void tell_refusal(struct sim *w, const struct mrd_entry *e)
{
    char lost[MRD_KEY_MAX];
    char *by;

    snprintf(lost, sizeof(lost), "%s", e->key + 6);
    by = strchr(lost, '/');
    if (by != NULL) {
        *by = '\0';
        sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_REFUSED,
                                      .region = (uint8_t)mrd_config_region(w->config, by + 1),
                                      .peer = (uint8_t)mrd_config_region(w->config, lost)});
    }
}

static void on_change(void *ctx, const struct mrd_entry *e)
{
    struct watcher *at = ctx;
    struct sim *w = at->w;

    mrd_node_observe(w->regions[at->region].node, e, sim_boot_ns(w, at->region));
    sim_agent_wake(w, at->region, w->now);
    if (e->value == NULL) {
        return;
    }
    if (strncmp(e->key, "authority/", 10) == 0) {
        tell_authority(w, e);
    }
    if (e->revision > w->told_revision) {
        if (strncmp(e->key, "event/", 6) == 0) {
            tell_event(w, e);
        } else if (strncmp(e->key, "failover/", 9) == 0) {
            tell_failover(w, e);
        } else if (strncmp(e->key, "fence/", 6) == 0) {
            tell_refusal(w, e);
        } else if (strncmp(e->key, "session/", 8) == 0) {
            sim_say(w, &(struct sim_fact){
                           .kind = SIM_SAYS_RENEWED,
                           .region = (uint8_t)mrd_config_region(w->config, e->key + 8)});
        }
    }
}

static void begin_probes(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];

    memset(r->probes, 0, sizeof(r->probes));
    for (unsigned o = 0; o < w->config->region_count; o++) {
        for (unsigned k = 0; k < KINDS; k++) {
            r->probes[o].seen[k].up = true;
        }
    }
}

void sim_agent_start(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    struct mrd_session_record *rep = &r->node->local.report;
    struct mrd_snapshot *last = NULL;

    if (r->has_snapshot) {
        last = malloc(sizeof(*last));
        mrd_assert(last != NULL);
        *last = r->node->snapshot;
    }
    memset(r->node, 0, sizeof(*r->node));
    r->store = mrd_store_new();
    mrd_assert(r->store != NULL);
    mrd_node_init(r->node, w->config, r->store, (mrd_region)i);
    memset(r->node->coordinator.seed, 7, sizeof(r->node->coordinator.seed));
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (o != i) {
            snprintf(rep->peers[rep->peer_count++].region, MRD_NAME_MAX, "%s", sim_name(w, o));
        }
    }
    if (last != NULL) {
        r->node->snapshot = *last;
        mrd_node_inherit(r->node);
        free(last);
    }
    watchers[i] = (struct watcher){w, i};
    mrd_store_watch(r->store, on_change, &watchers[i]);
    r->led = r->canary_busy = r->status_busy = false;
    r->wake_at = r->round_at = 0;
    r->probe_at = r->canary_at = r->status_at = w->now;
    memset(r->postgres.duty_busy, 0, sizeof(r->postgres.duty_busy));
    begin_probes(w, i);
    sim_server_start(w, i);
    sim_agent_wake(w, i, w->now + 1 + sim_below(&r->random, 50 * SIM_MS));
}

void sim_agent_stop(struct sim *w, unsigned i)
{
    sim_server_stop(w, i, true);
    mrd_store_free(w->regions[i].store);
    w->regions[i].store = NULL;
}
