/*
 * Does each property catch something? Every bug of core/src/mutant.h is switched on in turn and
 * worlds are run until one breaks; a bug that survives its bound fails the test. Without a bug
 * the same worlds must hold.
 *
 *   mutants [--but NAMES] [NAME [SEED [COUNT]]]
 *
 * Default: every one, from seed 1, at most BOUND worlds each. NAMES, with spaces between, are
 * left out: those that a story shows (stories.c), of which some are too rare for a hunt.
 */
#include "mutant.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUND 1000

enum mrd_mutant mrd_mutant;

static const struct {
    const char *name, *text;
} mutants[] = {{"NONE", "nothing is wrong"},
#define ROW(name, text) {#name, text},
               MRD_MUTANT_MAP(ROW)
#undef ROW
};

/* The first world in which the bug shows, or 0. */
static uint64_t hunt(enum mrd_mutant m, uint64_t first, uint64_t count, struct sim_report *ret)
{
    mrd_mutant = m;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct sim_options o = {.seed = seed};
        if (!sim_run(&o, ret)) {
            return seed;
        }
    }
    return 0;
}

static bool among(const char *names, const char *name)
{
    const char *at = strstr(names, name);
    size_t n = strlen(name);

    while (at != NULL && ((at > names && at[-1] != ' ') || (at[n] != ' ' && at[n] != '\0'))) {
        at = strstr(at + 1, name);
    }
    return at != NULL;
}

static int hunt_all(int argc, char **argv, const char *but)
{
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t count = argc > 3 ? strtoull(argv[3], NULL, 10) : BOUND;
    unsigned survived = 0;

    printf("1..%d\n", MRD_MUTANTS - 1);
    for (unsigned m = MRD_MUTANT_NONE + 1; m < MRD_MUTANTS; m++) {
        struct sim_report r;
        uint64_t seed;
        if (argc > 1 && strcmp(argv[1], mutants[m].name) != 0) {
            continue;
        }
        if (among(but, mutants[m].name)) {
            printf("ok %u - %s # SKIP a story shows it\n", m, mutants[m].name);
            continue;
        }
        seed = hunt((enum mrd_mutant)m, first, count, &r);
        if (seed == 0) {
            survived++;
            printf("not ok %u - %s: %s: nothing noticed in %llu worlds\n", m, mutants[m].name,
                   mutants[m].text, (unsigned long long)count);
        } else {
            printf("ok %u - %s: %s: \"%s\" breaks in world %llu: %s\n", m, mutants[m].name,
                   mutants[m].text, r.broken, (unsigned long long)seed, r.how);
        }
        fflush(stdout);
    }
    return survived == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *but = "";

    if (argc > 2 && strcmp(argv[1], "--but") == 0) {
        but = argv[2];
        argc -= 2;
        argv += 2;
    }
    return hunt_all(argc, argv, but);
}
