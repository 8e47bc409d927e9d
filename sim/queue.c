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

/* ---- the queue ---- */

/*
 * The heap holds what it orders by and where the event lies, so that little is moved; four
 * children to a parent make it half as deep.
 */
static bool before(const struct sim_due *a, const struct sim_due *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static uint32_t slot_for(struct sim *w)
{
    struct sim_queue *q = &w->queue;

    if (q->free_count > 0) {
        return q->free[--q->free_count];
    }
    if (q->slot_count == q->room) {
        q->room = q->room == 0 ? 1024 : 2 * q->room;
        q->events = realloc(q->events, q->room * sizeof(*q->events));
        q->heap = realloc(q->heap, q->room * sizeof(*q->heap));
        q->free = realloc(q->free, q->room * sizeof(*q->free));
        mrd_assert(q->events != NULL && q->heap != NULL && q->free != NULL);
    }
    return q->slot_count++;
}

void sim_push(struct sim *w, const struct sim_event *e)
{
    struct sim_queue *q = &w->queue;
    struct sim_due due = {e->at, ++w->seq, slot_for(w)};
    size_t i = q->count++;

    q->events[due.slot] = *e;
    while (i > 0 && before(&due, &q->heap[(i - 1) / 4])) {
        q->heap[i] = q->heap[(i - 1) / 4];
        i = (i - 1) / 4;
    }
    q->heap[i] = due;
}

bool sim_pop(struct sim *w, struct sim_event *ret)
{
    struct sim_queue *q = &w->queue;
    struct sim_due last;
    size_t i = 0;

    if (q->count == 0) {
        return false;
    }
    *ret = q->events[q->heap[0].slot];
    q->free[q->free_count++] = q->heap[0].slot;
    last = q->heap[--q->count];
    for (;;) {
        size_t least = 4 * i + 1, end = least + 4 < q->count ? least + 4 : q->count;
        for (size_t k = least + 1; k < end; k++) {
            least = before(&q->heap[k], &q->heap[least]) ? k : least;
        }
        if (least >= q->count || before(&last, &q->heap[least])) {
            break;
        }
        q->heap[i] = q->heap[least];
        i = least;
    }
    q->heap[i] = last;
    return true;
}
