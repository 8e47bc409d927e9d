/*
 * The agent in the small world: canary, probes and reports are modelled; what decides is
 * shipped.
 */
#include "world_parts.h"

#include <stdio.h>
#include <string.h>

#define GIVE_UP_MS 1000 /* the agent forgets a proposal whose outcome has not come */

static void canary(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (w->now_ms < r->next_canary_ms) {
        return;
    }
    r->next_canary_ms = w->now_ms + w->config->renew_ms;
    r->local.canary_ok = true;
    r->local.canary_ns = world_clock_ns(w, i);
    r->local.canary_settled = true; /* what slips is in the WAL before anything else is */
    world_append(w, i, -1, 0);
    r->local.report.wal_lsn = world_wal_end(r);
    r->local.report.boot_ms = world_clock_ns(w, i) / MS;
}

static struct mrd_peer_report *peer_of(struct world_region *r, unsigned j)
{
    return &r->local.report.peers[j];
}

static void count_tail(struct world *w, unsigned i, unsigned p, const struct mrd_duty *d,
                       struct mrd_tail_count *ret)
{
    *ret = (struct mrd_tail_count){.epoch = d->tail_epoch};
    if (d->tail_epoch == 0) {
        return;
    }
    for (unsigned k = 0; k < w->regions[i].taken[d->tail_origin]; k++) {
        const struct world_commit *c = &w->regions[d->tail_origin].wal[k];
        if (c->partition == (int)p && c->epoch == d->tail_epoch &&
            c->fate[i] == 1 + MRD_ACCEPT_TAIL) {
            ret->transactions++;
            ret->rows++;
        }
    }
}

static void status(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    struct mrd_duty duties[MRD_PARTITIONS_MAX];
    unsigned count = mrd_partition_count(w->config);

    if (w->now_ms < r->next_status_ms) {
        return;
    }
    r->next_status_ms = w->now_ms + 100;
    for (unsigned o = 0; o < w->config->region_count; o++) {
        struct mrd_peer_report *p = peer_of(r, o);
        p->applied_lsn = world_applied(w, i, o);
        p->refused = r->refuse_published_ms[o] != 0 && w->now_ms > r->refuse_published_ms[o];
    }
    mrd_region_duties(&r->region, w->config, mrd_memory_store(w->memory, i), &r->local, duties);
    for (unsigned p = 0; p < count; p++) {
        r->local.opened_epoch[p] = r->opened[p];
        r->local.compared_epoch[p] = r->compared[p];
        r->local.first_write_ms[p] =
            r->first_write_ms[p] != 0 ? r->first_write_ms[p] + r->wall_ahead_ms : 0;
        count_tail(w, i, p, &duties[p], &r->local.tail[p]);
    }
    r->local.through_lsn = world_wal_end(r);
}

static void probe(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (w->now_ms < r->next_probe_ms) {
        return;
    }
    r->next_probe_ms = w->now_ms + w->config->probe_interval_ms;
    r->local.report.peer_count = w->config->region_count;
    r->local.report.ready = MRD_SEES_AGENT | MRD_SEES_SQL | MRD_SEES_EDGE;
    r->local.report.wall_ms = world_wall_ms(w, i);
    for (unsigned j = 0; j < w->config->region_count; j++) {
        struct mrd_peer_report *p = peer_of(r, j);
        snprintf(p->region, sizeof(p->region), "%s", w->config->regions[j].name);
        if (i == j || (world_passes(w, i, j) && world_passes(w, j, i))) {
            r->misses[j] = 0;
            p->rtt_us = (uint32_t)(w->delay_ms[i][j] + w->delay_ms[j][i]) * 1000;
            p->reachable = MRD_SEES_AGENT | MRD_SEES_SQL | MRD_SEES_EDGE;
        } else if (++r->misses[j] >= w->config->probe_threshold) {
            p->reachable = 0;
        }
    }
}

static void do_duties(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    struct mrd_duty duties[MRD_PARTITIONS_MAX];
    unsigned count = mrd_partition_count(w->config);

    mrd_region_duties(&r->region, w->config, mrd_memory_store(w->memory, i), &r->local, duties);
    for (unsigned p = 0; p < count; p++) {
        if (duties[p].kind == MRD_DUTY_PROMOTE && r->opened[p] != duties[p].epoch) {
            r->opened[p] = r->local.opened_epoch[p] = duties[p].epoch;
            r->first_write_ms[p] = r->local.first_write_ms[p] = 0;
        } else if (duties[p].kind == MRD_DUTY_DRAIN &&
                   r->snapshot->partitions[p].authority.state == MRD_AUTH_FROZEN) {
            /* Writes are single instants here, so nothing is in flight once this is out. */
            r->local.drained_move[p] = duties[p].move;
            r->local.drained_lsn[p] = world_wal_end(r);
        }
    }
}

static void publish(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    mrd_region_snapshot(&r->region, w->config, mrd_memory_store(w->memory, i), &r->local,
                        world_clock_ns(w, i), w->now_ms, r->snapshot);
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (r->snapshot->regions[o].stream != MRD_STREAM_REFUSE) {
            r->refuse_published_ms[o] = 0;
            peer_of(r, o)->refused = 0;
        } else if (r->refuse_published_ms[o] == 0) {
            r->refuse_published_ms[o] = w->now_ms;
        }
    }
}

/* One proposal at a time: what is pending was in it. */
static void abandon(struct mrd_region_state *r)
{
    mrd_region_abandon(r, r->pending_seq, r->opening);
}

static void collect_outcomes(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    bool changed = mrd_memory_leader(w->memory, i) != r->sent_to;
    int rc;

    r->sent_to = mrd_memory_leader(w->memory, i);
    if (r->region_ticket != 0) {
        if (mrd_memory_outcome(w->memory, r->region_ticket, &rc)) {
            r->region_ticket = 0;
            if (rc != 0) {
                abandon(&r->region);
            }
        } else if (changed || w->now_ms - r->region_sent_ms > GIVE_UP_MS) {
            r->region_ticket = 0;
            abandon(&r->region);
        }
    }
    if (r->coordinator_ticket != 0 &&
        (mrd_memory_outcome(w->memory, r->coordinator_ticket, &rc) || changed ||
         w->now_ms - r->coordinator_sent_ms > GIVE_UP_MS)) {
        r->coordinator_ticket = 0;
    }
}

static void decide(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];
    const struct mrd_store *s = mrd_memory_store(w->memory, i);
    mrd_boot_ns now_ns = world_clock_ns(w, i);

    mrd_coordinator_lead(&r->coordinator, mrd_memory_leads(w->memory, i), now_ns);
    if (r->coordinator_ticket == 0) {
        mrd_coordinator_step(&r->coordinator, w->config, s, now_ns, world_wall_ms(w, i),
                             r->coordinator_proposal);
        if (r->coordinator_proposal->wanted) {
            r->coordinator_sent_ms = w->now_ms;
            r->coordinator_ticket =
                mrd_memory_propose(w->memory, i, &r->coordinator_proposal->txn, w->now_ms * MS);
        }
    }
    if (r->region_ticket == 0) {
        mrd_region_step(&r->region, w->config, s, &r->local, now_ns, world_wall_ms(w, i),
                        r->region_proposal);
        if (r->region_proposal->wanted) {
            r->region_sent_ms = w->now_ms;
            r->region_ticket =
                mrd_memory_propose(w->memory, i, &r->region_proposal->txn, w->now_ms * MS);
            if (r->region_ticket == 0) {
                abandon(&r->region);
            }
        }
    }
}

void world_agent(struct world *w, unsigned i)
{
    struct world_region *r = &w->regions[i];

    if (!r->up) {
        return;
    }
    collect_outcomes(w, i);
    probe(w, i);
    if (!w->config->regions[i].witness) {
        canary(w, i);
        status(w, i);
    }
    if (r->changed || w->now_ms >= r->next_step_ms) {
        r->changed = false;
        r->next_step_ms = w->now_ms + 50;
        do_duties(w, i);
        publish(w, i);
        decide(w, i);
    }
}
