/*
 * Fewer faults, same trouble (sim.h): chunks first, then one by one, until nothing more can be
 * left out (Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static bool still(struct sim_options *o, const char *broken)
{
    struct sim_report r;
    bool held = sim_run(o, &r);

    free(r.story);
    return !held && strcmp(r.broken, broken) == 0;
}

/* Try without faults [@from, @from + @n); keep it so if the trouble stays. */
static bool without(struct sim_options *o, unsigned from, unsigned n, const char *broken)
{
    bool before[SIM_FAULTS_MAX], changes = false;

    memcpy(before, o->skip, sizeof(before));
    for (unsigned i = from; i < from + n && i < SIM_FAULTS_MAX; i++) {
        changes = changes || !o->skip[i];
        o->skip[i] = true;
    }
    if (changes && still(o, broken)) {
        return true;
    }
    memcpy(o->skip, before, sizeof(before));
    return false;
}

unsigned sim_minimize(struct sim_options *o, struct sim_report *ret)
{
    bool tell = o->tell;
    unsigned left = 0, faults;

    o->tell = false;
    (void)sim_run(o, ret);
    faults = ret->faults;
    for (unsigned chunk = (faults + 1) / 2; ret->broken != NULL && chunk > 0; chunk /= 2) {
        bool shrank = true;
        while (shrank) {
            shrank = false;
            for (unsigned from = 0; from < faults; from += chunk) {
                shrank = without(o, from, chunk, ret->broken) || shrank;
            }
            shrank = shrank && chunk == 1;
        }
    }
    o->tell = tell;
    (void)sim_run(o, ret);
    for (unsigned i = 0; i < faults; i++) {
        left += !o->skip[i];
    }
    return left;
}
