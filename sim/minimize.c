/*
 * Fewer faults, same trouble (sim.h): chunks first, then one by one, until nothing more can be
 * left out (Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct hunt {
    struct sim_options *o;
    const char *broken;
    unsigned faults, worlds;
    sim_progress *told;
};

static unsigned left_of(const struct sim_options *o, unsigned faults)
{
    unsigned left = 0;

    for (unsigned i = 0; i < faults; i++) {
        left += !o->skip[i];
    }
    return left;
}

static bool still(struct hunt *h)
{
    struct sim_report r;
    bool held = sim_run(h->o, &r);

    free(r.story);
    h->worlds++;
    return !held && strcmp(r.broken, h->broken) == 0;
}

/* Try without faults [@from, @from + @n); keep it so if the trouble stays. */
static bool without(struct hunt *h, unsigned from, unsigned n)
{
    struct sim_options *o = h->o;
    bool before[SIM_FAULTS_MAX], changes = false, stays;

    memcpy(before, o->skip, sizeof(before));
    for (unsigned i = from; i < from + n && i < SIM_FAULTS_MAX; i++) {
        changes = changes || !o->skip[i];
        o->skip[i] = true;
    }
    stays = changes && still(h);
    if (!stays) {
        memcpy(o->skip, before, sizeof(before));
    }
    if (changes) {
        h->told(h->worlds, left_of(o, h->faults), h->faults);
    }
    return stays;
}

unsigned sim_minimize(struct sim_options *o, sim_progress *told, struct sim_report *ret)
{
    bool tell = o->tell;
    struct hunt h = {.o = o, .told = told};
    unsigned faults;

    o->tell = false;
    (void)sim_run(o, ret);
    faults = h.faults = ret->faults;
    h.broken = ret->broken;
    for (unsigned chunk = (faults + 1) / 2; ret->broken != NULL && chunk > 0; chunk /= 2) {
        bool shrank = true;
        while (shrank) {
            shrank = false;
            for (unsigned from = 0; from < faults; from += chunk) {
                shrank = without(&h, from, chunk) || shrank;
            }
            shrank = shrank && chunk == 1;
        }
    }
    o->tell = tell;
    (void)sim_run(o, ret);
    return left_of(o, faults);
}
