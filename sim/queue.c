/*
 * What happens next: a heap of events ordered by time, and by birth among those of one time, so
 * that nothing depends on where memory lies. Also chance, in streams of its own.
 */
#include "world.h"

#include <stdlib.h>

/* Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (2014). */
uint64_t sim_random(struct sim_random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

unsigned sim_below(struct sim_random *r, unsigned n)
{
    return (unsigned)((sim_random(r) >> 32) * n >> 32);
}

uint64_t sim_between(struct sim_random *r, uint64_t low, uint64_t high)
{
    return low + sim_random(r) % (high - low + 1);
}

bool sim_chance(struct sim_random *r, unsigned permille)
{
    return sim_below(r, 1000) < permille;
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_push(struct sim *w, const struct sim_event *e)
{
    size_t i = w->heap_count++;

    if (w->heap_count > w->heap_room) {
        w->heap_room = w->heap_room == 0 ? 1024 : 2 * w->heap_room;
        w->heap = realloc(w->heap, w->heap_room * sizeof(*w->heap));
        mrd_assert(w->heap != NULL);
    }
    w->heap[i] = *e;
    w->heap[i].seq = ++w->seq;
    for (struct sim_event moving = w->heap[i]; i > 0; i = (i - 1) / 2) {
        if (!before(&moving, &w->heap[(i - 1) / 2])) {
            w->heap[i] = moving;
            return;
        }
        w->heap[i] = w->heap[(i - 1) / 2];
        w->heap[(i - 1) / 2] = moving;
    }
}

bool sim_pop(struct sim *w, struct sim_event *ret)
{
    struct sim_event last;
    size_t i = 0, n;

    if (w->heap_count == 0) {
        return false;
    }
    *ret = w->heap[0];
    n = --w->heap_count;
    last = w->heap[n];
    while (2 * i + 1 < n) {
        size_t child = 2 * i + 1;
        if (child + 1 < n && before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (!before(&w->heap[child], &last)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    if (n > 0) {
        w->heap[i] = last;
    }
    return true;
}
