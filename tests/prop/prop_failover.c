/*
 * Failover under random faults: whatever is killed, paused, cut, moved or slowed, in whatever
 * order, the laws of the small world hold at every tick (tests/lib/world.h), and after healing
 * everything acknowledged is accounted for and every partition has a home again.
 *
 *   prop_failover SEED [COUNT]    runs COUNT (default 1) seeds from SEED on
 *
 * With one seed the story is printed.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state;

static unsigned chance(unsigned n)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)((random_state * 2685821657736338717ull) >> 33) % n;
}

static const char *name_of(const struct world *w, unsigned i)
{
    return w->config->regions[i].name;
}

static void change_state(struct world *w, unsigned i, bool suspend)
{
    struct world_region *r = &w->regions[i];

    if (!r->up) {
        if (r->paused) {
            world_resume(w, name_of(w, i));
        } else {
            world_start(w, name_of(w, i));
        }
        return;
    }
    r->paused = chance(2) == 0;
    if (r->paused) {
        world_pause(w, name_of(w, i), suspend && chance(2) == 0, chance(2) == 0);
    } else {
        world_kill(w, name_of(w, i));
    }
}

static void one_fault(struct world *w, bool suspend)
{
    unsigned n = w->config->region_count, i = chance(n), j = chance(n);

    switch (chance(10)) {
    case 0:
    case 1:
    case 2:
        change_state(w, i, suspend);
        break;
    case 3:
        world_isolate(w, name_of(w, i));
        break;
    case 4:
    case 5:
        if (i != j) {
            world_cut(w, name_of(w, i), name_of(w, j));
        }
        break;
    case 6:
        world_heal(w);
        break;
    case 7:
        (void)world_move(w, chance(2) == 0 ? "orders" : "events", name_of(w, i), NULL);
        break;
    case 8:
        world_lead(w, name_of(w, i));
        break;
    case 9:
        mrd_memory_lose(w->memory, chance(2) * chance(200));
        break;
    }
}

static bool any_up(const struct world *w)
{
    for (unsigned i = 0; i < w->config->region_count; i++) {
        if (w->regions[i].up) {
            return true;
        }
    }
    return false;
}

static void heal_all(struct world *w)
{
    mrd_memory_lose(w->memory, 0);
    world_heal(w);
    for (unsigned i = 0; i < w->config->region_count; i++) {
        if (!w->regions[i].up) {
            if (w->regions[i].paused) {
                world_resume(w, name_of(w, i));
            } else {
                world_start(w, name_of(w, i));
            }
        }
    }
    world_run(w, 12000);
    world_settle(w);
}

static void one_run(uint64_t seed, bool print)
{
    struct world *w = seed % 3 == 0 ? world_new_n(5, seed) : world_new(seed);
    bool suspend = seed % 4 == 0;

    random_state = seed * 2654435769u + 1181783497276652981ull;
    for (unsigned i = 0; i < w->config->region_count; i++) {
        w->regions[i].rate_ppm = (int64_t)chance(1000) - 500;
    }
    if (seed % 5 == 0) { /* its first standby may not be home, but may be ahead */
        w->config->classes[0].allowed &= (mrd_regions)~2u;
    }
    world_configure(w);
    world_settle(w);
    w->write_every_ms = 100;
    world_tell(w);
    for (unsigned k = 0; k < 14; k++) {
        one_fault(w, suspend);
        if (!any_up(w)) {
            change_state(w, chance(w->config->region_count), false);
        }
        world_run(w, 200 + 10 * chance(500));
    }
    heal_all(w);
    world_expect_converged(w);
    if (print) {
        printf("%sseed %llu: acknowledged %u, reconciled %u\n", w->story,
               (unsigned long long)seed, w->acked, w->reconciled);
    }
    world_free(w);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    for (uint64_t seed = first; seed < first + count; seed++) {
        one_run(seed, count == 1);
    }
    printf("%llu seeds from %llu: the laws hold\n", (unsigned long long)count,
           (unsigned long long)first);
    return 0;
}
