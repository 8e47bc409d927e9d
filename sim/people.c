/*
 * Operators who answer, in the worlds where failovers wait for them: two of them, now and then,
 * at any region, yes or no, sometimes both at once and sometimes much too late.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

struct pending {
    const struct sim *w;
    struct mrd_approval_record found[SIM_REGIONS_MAX];
    unsigned count;
};

static int note(void *ctx, const struct mrd_entry *e)
{
    struct pending *p = ctx;
    struct mrd_approval_record r;
    struct mrd_buf b = mrd_buf_reader(e->value, e->len);

    if (p->count < SIM_REGIONS_MAX && mrd_approval_record_decode(&b, &r) == 0 &&
        (r.state == MRD_APPROVAL_PENDING || r.state == MRD_APPROVAL_REJECTED)) {
        p->found[p->count++] = r;
    }
    return 0;
}

static void answer(struct sim *w, unsigned at, const struct mrd_approval_record *r,
                   unsigned who)
{
    static const char *const operators[] = {"anna", "bert"};
    struct mrd_proposal *p = calloc(1, sizeof(*p));
    bool yes = sim_chance(&w->people, 850);
    int region = mrd_config_region(w->config, r->region);

    mrd_assert(p != NULL && region >= 0);
    if (mrd_approval_request(w->config, w->regions[at].store, r->id, yes, operators[who],
                             sim_wall_ms(w, at), p, NULL) == 0 &&
        sim_propose(w, at, &p->txn, 15) == 0) {
        w->said_yes[region] |= (uint8_t)(yes ? 1u << who : 0);
        sim_tell(w, "operator %s at %s says %s to replacing %s", operators[who],
                 sim_name(w, at), yes ? "yes" : "no", r->region);
    }
    free(p);
}

void sim_people(struct sim *w, const struct sim_event *e)
{
    struct sim_event next = *e;
    struct pending p = {.w = w};
    unsigned at = sim_below(&w->people, w->config->region_count);

    if (w->regions[at].agent_up && !w->regions[at].paused) {
        (void)mrd_store_scan(w->regions[at].store, "approval/", note, &p);
        for (unsigned k = 0; k < p.count; k++) {
            if (sim_chance(&w->people, 700)) {
                answer(w, at, &p.found[k], sim_below(&w->people, 2));
            }
        }
    }
    next.at = w->now + sim_between(&w->people, 500, 4000) * SIM_MS;
    sim_push(w, &next);
}
