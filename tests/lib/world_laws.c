/*
 * The laws of the small world (world.h): checked after every tick, and once more at the end.
 */
#include "world_parts.h"

#include <stdio.h>
#include <string.h>

void world_check_writers(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned p = 0; p < count; p++) {
        int writer = -1;
        for (unsigned i = 0; i < w->config->region_count; i++) {
            struct world_region *r = &w->regions[i];
            bool may = r->up && mrd_guard(r->snapshot, (int)p, world_clock_ns(w, i)).allow;
            bool lease_rules =
                world_class(w, (int)p)->durability == MRD_ASYNC && !w->clocks_stop;
            if (may && writer >= 0 && lease_rules) {
                world_broken(w, "both %s and %s may write %s", w->config->regions[writer].name,
                             w->config->regions[i].name, world_class(w, (int)p)->name);
            }
            writer = may ? (int)i : writer;
            if (r->up && may != r->may_write[p]) {
                world_note(w, "%s: %s %s epoch %llu", w->config->regions[i].name,
                           may ? "opens" : "closes", world_class(w, (int)p)->name,
                           (unsigned long long)r->snapshot->partitions[p].authority.epoch);
                r->may_write[p] = may;
            }
        }
    }
}

void world_check_epochs(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct world_region *r = &w->regions[i];
        for (unsigned p = 0; p < count && p < r->snapshot->partition_count; p++) {
            mrd_epoch e = r->snapshot->partitions[p].authority.epoch;
            if (e < r->seen_epoch[p]) {
                world_broken(w, "%s saw an epoch go back", w->config->regions[i].name);
            }
            r->seen_epoch[p] = e;
        }
    }
}

/* The authority as the furthest replica's store has it. */
static bool world_furthest(struct world *w, unsigned p, struct mrd_authority_record *ret)
{
    const char *name;
    const struct mrd_conf_class *k = mrd_partition_at(w->config, p, &name);
    char key[MRD_KEY_MAX];
    bool found = false;

    snprintf(key, sizeof(key), "authority/%s/%s", k->name, name);
    for (unsigned i = 0; i < w->config->region_count; i++) {
        struct mrd_authority_record a;
        struct mrd_entry e;
        struct mrd_buf b;
        if (mrd_store_get(mrd_memory_store(w->memory, i), key, &e) != 0) {
            continue;
        }
        b = mrd_buf_reader(e.value, e.len);
        if (mrd_authority_record_decode(&b, &a) == 0 && (!found || a.epoch > ret->epoch)) {
            *ret = a;
            found = true;
        }
    }
    return found;
}

/* The closed epoch that a commit of @origin belongs to, or NULL. */
static const struct mrd_closed_record *epoch_of(const struct world *w,
                                                const struct mrd_authority_record *a,
                                                unsigned origin, const struct world_commit *c)
{
    for (unsigned k = 0; k < a->history_count; k++) {
        if (a->history[k].epoch == c->epoch &&
            strcmp(a->history[k].region, w->config->regions[origin].name) == 0) {
            return &a->history[k];
        }
    }
    return NULL;
}

static void check_commit(struct world *w, const struct mrd_closed_record *h, unsigned origin,
                         const struct world_commit *c)
{
    if (h == NULL || c->lsn <= h->cut) {
        return;
    }
    if (c->acked && world_class(w, c->partition)->durability == MRD_QUORUM) {
        world_broken(w, "acknowledged commit %llu of %s lies past the cut %llu of epoch %llu",
                     (unsigned long long)c->lsn, w->config->regions[origin].name,
                     (unsigned long long)h->cut, (unsigned long long)c->epoch);
    }
    for (unsigned j = 0; j < w->config->region_count; j++) {
        if (j != origin && c->fate[j] == 1 + MRD_ACCEPT && (h->unfenced >> j & 1u) == 0) {
            world_broken(w, "%s applied commit %llu of %s past the cut %llu of epoch %llu",
                         w->config->regions[j].name, (unsigned long long)c->lsn,
                         w->config->regions[origin].name, (unsigned long long)h->cut,
                         (unsigned long long)c->epoch);
        }
    }
}

void world_check_cuts(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    for (unsigned p = 0; p < count; p++) {
        struct mrd_authority_record a;
        if (!world_furthest(w, p, &a)) {
            continue;
        }
        for (unsigned o = 0; o < w->config->region_count; o++) {
            for (unsigned k = 0; k < w->regions[o].wal_count; k++) {
                const struct world_commit *c = &w->regions[o].wal[k];
                if (c->partition == (int)p) {
                    check_commit(w, epoch_of(w, &a, o, c), o, c);
                }
            }
        }
    }
}

/* Everybody else applied it, or everybody else has it in the tail: nobody lacks it. */
static void expect_commit(struct world *w, unsigned o, const struct world_commit *c,
                          const struct mrd_authority_record *a)
{
    const struct mrd_conf_class *k = world_class(w, c->partition);
    const struct mrd_closed_record *h = epoch_of(w, a, o, c);
    bool counts = h != NULL ? c->lsn <= h->cut : a->epoch == c->epoch;
    uint8_t expected = counts ? 1 + MRD_ACCEPT : 1 + MRD_ACCEPT_TAIL;

    w->reconciled += !counts;
    for (unsigned j = 0; j < w->config->region_count; j++) {
        if (j != o && (k->replicas >> j & 1u) != 0 && c->fate[j] != expected) {
            world_broken(w, "%s: commit %llu of %s (%s, epoch %llu) has fate %u instead of %u",
                         w->config->regions[j].name, (unsigned long long)c->lsn,
                         w->config->regions[o].name, k->name, (unsigned long long)c->epoch,
                         c->fate[j], expected);
        }
    }
}

void world_expect_converged(struct world *w)
{
    unsigned count = mrd_partition_count(w->config);

    w->write_every_ms = 0;
    world_run(w, 3000);
    world_check_cuts(w);
    w->reconciled = 0;
    for (unsigned p = 0; p < count; p++) {
        struct mrd_authority_record a;
        if (!world_furthest(w, p, &a) || a.state != MRD_AUTH_OPEN) {
            world_broken(w, "%s has no home", world_class(w, (int)p)->name);
        }
        for (unsigned o = 0; o < w->config->region_count; o++) {
            for (unsigned k = 0; k < w->regions[o].wal_count; k++) {
                const struct world_commit *c = &w->regions[o].wal[k];
                if (c->partition == (int)p) {
                    expect_commit(w, o, c, &a);
                }
            }
        }
    }
}
