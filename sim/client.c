/*
 * Clients, each at the edge of its region: they write and read through mrd_route, and keep the
 * tokens that the edges in front of the homes give them (docs on tokens: mrd/token.h).
 *
 * A transaction's slot is freed when its answer has arrived or never can.
 */
#include "world.h"

#include <string.h>

static unsigned near_hash(struct sim *w, unsigned i)
{
    return sim_below(&w->regions[i].random, 1u << 30);
}

static mrd_region route(struct sim *w, unsigned i, unsigned partition, bool write,
                        const struct mrd_token *token, enum mrd_route_why *ret_why)
{
    const struct mrd_snapshot *s = sim_snapshot(w, i);
    struct mrd_request q = {.partition = (int)partition,
                            .write = write,
                            .near = MRD_REGION_NONE,
                            .client_hash = near_hash(w, i),
                            .token = token};
    struct mrd_route ret;

    if (s == NULL || s->region_count == 0) {
        return MRD_REGION_NONE;
    }
    q.class_index = s->partitions[partition].class_index;
    mrd_route(s, &q, sim_boot_ns(w, i), &ret);
    *ret_why = ret.why;
    return ret.count > 0 ? ret.regions[0] : MRD_REGION_NONE;
}

/* ---- writing ---- */

static void write_one(struct sim *w, unsigned i, unsigned partition)
{
    enum mrd_route_why why;
    mrd_region home = route(w, i, partition, true, NULL, &why);
    struct sim_event e = {.kind = SIM_BEGIN, .region = home};
    unsigned k = 0;

    while (k < SIM_TXNS_MAX && w->txns[k].state != SIM_TXN_FREE) {
        k++;
    }
    if (home == MRD_REGION_NONE || !w->regions[home].postgres_up || k == SIM_TXNS_MAX ||
        !sim_send(w, i, home, &e.at)) {
        return;
    }
    w->txn_end = k < w->txn_end ? w->txn_end : k + 1;
    w->txns[k] = (struct sim_txn){.state = SIM_TXN_COMING,
                                  .home = home,
                                  .edge = (uint8_t)i,
                                  .partition = (uint8_t)partition};
    e.a = k;
    e.life = w->regions[home].postgres_life;
    sim_push(w, &e);
}

/* The home's edge adds a token to the answer. */
void sim_client_answered(struct sim *w, struct sim_txn *t)
{
    const struct mrd_snapshot *s = sim_snapshot(w, t->home);
    struct sim_region *r = &w->regions[t->edge];
    struct sim_token *keep = &r->tokens[r->next_token];
    sim_us at;

    t->state = SIM_TXN_FREE;
    if (s == NULL || s->session == 0 ||
        s->partitions[t->partition].authority.region != t->home ||
        !w->regions[t->home].edge_up || !sim_send(w, t->home, t->edge, &at)) {
        return;
    }
    *keep =
        (struct sim_token){.used = true,
                           .partition = t->partition,
                           .origin = t->home,
                           .record = t->record,
                           .token = {.epoch = s->partitions[t->partition].authority.epoch,
                                     .session = s->session,
                                     .boot_ms = sim_boot_ns(w, t->home) / SIM_NS_PER_MS + 1}};
    memcpy(keep->token.home, sim_name(w, t->home), sizeof(keep->token.home));
    r->next_token = (r->next_token + 1) % SIM_TOKENS_MAX;
}

/* ---- reading ---- */

static void read_one(struct sim *w, unsigned i)
{
    struct sim_region *r = &w->regions[i];
    unsigned k = sim_below(&r->random, SIM_TOKENS_MAX);
    struct sim_token *t = &r->tokens[k];
    enum mrd_route_why why;
    mrd_region at;

    if (!t->used) {
        return;
    }
    at = route(w, i, t->partition, false, &t->token, &why);
    if (at == MRD_REGION_NONE || !w->regions[at].postgres_up) {
        return;
    }
    /* Forwarded: that region's edge decides again, and serves it itself or not at all. */
    if (at != i &&
        (!sim_linked(w, i, at) || route(w, at, t->partition, false, &t->token, &why) != at)) {
        at = MRD_REGION_NONE;
    }
    if (at != MRD_REGION_NONE) {
        w->report->reads++;
        sim_say(w, &(struct sim_fact){.kind = SIM_SAYS_READ,
                                      .region = at,
                                      .partition = t->partition,
                                      .number = why,
                                      .token = t});
    }
    t->used = sim_chance(&r->random, 700);
}

void sim_client_event(struct sim *w, const struct sim_event *e)
{
    unsigned i = e->region, count = mrd_partition_count(w->config);
    struct sim_region *r = &w->regions[i];
    struct sim_event next = *e;

    if (!w->quiet && r->edge_up) {
        if (sim_chance(&r->random, 700)) {
            write_one(w, i, sim_below(&r->random, count));
        } else {
            read_one(w, i);
        }
    }
    next.at = w->now + 1 + sim_random(&r->random) % (2 * w->client_us);
    sim_push(w, &next);
}
