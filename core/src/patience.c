/*
 * Misses of a region that is asked at an interval (mrd/patience.h).
 */
#include <mrd/patience.h>

void mrd_patience_ask(struct mrd_patience *p, uint64_t now_ns)
{
    p->pending = true;
    p->asked_ns = now_ns;
}

/* A silence that was counted just now is not counted again because its question ended too. */
static bool miss(struct mrd_patience *p, uint64_t now_ns,
                 const struct mrd_patience_limits *limits)
{
    if ((p->missed_ns != 0 && now_ns - p->missed_ns < limits->interval_ns / 2) ||
        p->misses >= limits->threshold) {
        return false;
    }
    p->missed_ns = now_ns;
    p->misses++;
    if (p->misses < limits->threshold || !p->up) {
        return false;
    }
    p->up = false;
    return true;
}

bool mrd_patience_answer(struct mrd_patience *p, bool good, uint64_t now_ns,
                         const struct mrd_patience_limits *limits)
{
    bool was_up = p->up;

    p->pending = false;
    if (!good) {
        return miss(p, now_ns, limits);
    }
    p->misses = 0;
    p->missed_ns = 0;
    p->up = true;
    return !was_up;
}

bool mrd_patience_wait(struct mrd_patience *p, uint64_t now_ns,
                       const struct mrd_patience_limits *limits)
{
    uint64_t wait_ns = limits->trip_ns == 0 ? limits->timeout_ns : 2 * limits->trip_ns;
    uint64_t since_ns = p->missed_ns > p->asked_ns ? p->missed_ns : p->asked_ns;

    if (wait_ns < limits->interval_ns) {
        wait_ns = limits->interval_ns;
    }
    if (!p->pending || now_ns - p->asked_ns < wait_ns ||
        now_ns - since_ns < limits->interval_ns) {
        return false;
    }
    return miss(p, now_ns, limits);
}
