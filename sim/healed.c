/*
 * The second half of a world in words: when, after everything is healed, it has converged, and
 * how it stands at its end. The property "settles" judges (props/settles.c); this only tells,
 * and changes nothing.
 */
#include "world.h"

#include <stdio.h>
#include <string.h>

struct standing {
    unsigned leases, regions, homes, partitions;
    unsigned behind, streams; /* that have commits to take; all of them */
    unsigned anew;            /* cannot go on, and must be copied anew */
};

static bool open_home(const struct sim *w, unsigned p)
{
    const struct mrd_authority_record *a = &w->authority[p];
    int home = mrd_config_region(w->config, a->region);

    return a->state == MRD_AUTH_OPEN && home >= 0 && sim_snapshot(w, (unsigned)home) != NULL &&
           mrd_guard(sim_snapshot(w, (unsigned)home), (int)p, sim_boot_ns(w, (unsigned)home))
               .allow;
}

/* Heartbeats go on for ever, and are not waited for. */
static bool behind(const struct sim *w, unsigned i, unsigned o)
{
    const struct sim_postgres *pg = &w->regions[o].postgres;

    for (size_t k = w->regions[i].postgres.streams[o].taken; k < pg->count; k++) {
        if (pg->wal[k].kind != SIM_REC_HEARTBEAT) {
            return true;
        }
    }
    return false;
}

static void count_streams(const struct sim *w, unsigned i, struct standing *ret)
{
    for (unsigned o = 0; o < w->config->region_count; o++) {
        if (o != i && !w->config->regions[i].witness && !w->config->regions[o].witness) {
            ret->streams++;
            ret->anew += w->regions[i].postgres.streams[o].gone;
            ret->behind += !w->regions[i].postgres.streams[o].gone && behind(w, i, o);
        }
    }
}

static struct standing standing(const struct sim *w)
{
    struct standing s = {.regions = w->config->region_count,
                         .partitions = mrd_partition_count(w->config)};

    for (unsigned i = 0; i < s.regions; i++) {
        s.leases += w->regions[i].agent_up &&
                    w->regions[i].node->region.deadline_ns > sim_boot_ns(w, i);
        count_streams(w, i, &s);
    }
    for (unsigned p = 0; p < s.partitions; p++) {
        s.homes += open_home(w, p);
    }
    return s;
}

static void tell_replicas(struct sim *w, const struct standing *s, const char *when)
{
    char anew[80] = "";

    if (s->anew > 0) {
        snprintf(anew, sizeof(anew), "; %u of %u streams cannot go on: a copy anew is needed",
                 s->anew, s->streams);
    }
    if (s->behind == 0) {
        sim_tell(w, "%severy replica has taken every commit there is%s", when, anew);
    } else {
        sim_tell(w, "%s%u of %u streams between replicas have commits to take%s", when,
                 s->behind, s->streams, anew);
    }
}

void sim_healed_look(struct sim *w, bool ends)
{
    struct standing s;
    bool converged;

    if (!w->options->tell || w->now < w->heal_at) {
        return;
    }
    s = standing(w);
    converged = s.leases == s.regions && s.homes == s.partitions;
    if (converged != w->converged || ends) {
        sim_tell(
            w,
            "%s: %u of %u partitions have a home that takes writes, %u of %u regions hold a "
            "lease",
            ends        ? "the end"
            : converged ? "converged"
                        : "not converged any more",
            s.homes, s.partitions, s.leases, s.regions);
    }
    if (ends) {
        tell_replicas(w, &s, "the end: ");
    } else if (converged && !w->equal && s.behind == 0) {
        w->equal = true;
        tell_replicas(w, &s, "converged: ");
    }
    w->converged = converged;
    w->equal = w->equal && converged;
}
