/*
 * Simulated years (mrd/outage.h).
 *
 * From event to event: a region toggles, the common cause toggles, or a failover is done.
 * Between two events nothing changes, so the downtime is a sum of rectangles, cut at the turn
 * of the year. Own and common outages of one region may overlap; at the rates of regions that
 * is a second-order effect.
 */
#include <mrd/availability.h>
#include <mrd/err.h>
#include <mrd/outage.h>

#include <math.h>
#include <stdlib.h>

struct sim {
    const struct mrd_outage_world *world;
    uint64_t random;
    double now_h;
    double toggle_h[MRD_REGIONS_MAX + 1]; /* the last is the common cause */
    bool down[MRD_REGIONS_MAX + 1];
    double restored_h[MRD_REGIONS_MAX]; /* when the failover is done; infinite: not at all */
    double lost;                        /* load not served now */
    double since_h;                     /* when lost became more than nothing */
};

/** Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): (0, 1]. */
static double draw(struct sim *s)
{
    uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return ((double)(z >> 11) + 1) * 0x1p-53;
}

static double exponential(struct sim *s, double mean)
{
    return -log(draw(s)) * mean;
}

/** Until the next toggle of process @i, which has just become @down. */
static double until_toggle(struct sim *s, size_t i, bool down)
{
    const struct mrd_outage_world *w = s->world;
    const struct mrd_outage_region *r = &w->regions[i < w->n ? i : 0];
    double part = i < w->n ? 1 - w->beta : w->beta;

    if (down) {
        return exponential(s, r->mean_h);
    }
    if (!(r->u * part > 0)) {
        return INFINITY;
    }
    return exponential(s, r->mean_h * (1 - r->u) / (r->u * part));
}

static bool region_down(const struct sim *s, size_t i)
{
    return s->down[i] || s->down[s->world->n];
}

/** Is @part served while the regions of @up are? */
static bool served(const struct sim *s, const struct mrd_outage_part *part, unsigned up)
{
    bool elsewhere = s->now_h >= s->restored_h[part->home] && (part->takeover & up) != 0;

    return ((up >> part->home & 1) != 0 || elsewhere) &&
           (unsigned)__builtin_popcount(part->copies & up) >= part->needed;
}

static double load_lost(const struct sim *s)
{
    const struct mrd_outage_world *w = s->world;
    double lost = 0, capacity = 0;
    size_t count = 0;
    unsigned up = 0;

    for (size_t i = 0; i < w->n; i++) {
        if (!region_down(s, i)) {
            up |= 1u << i;
            count++;
            capacity += w->regions[i].capacity;
        }
    }
    for (size_t i = 0; i < w->part_count && count < w->n; i++) {
        lost += served(s, &w->parts[i], up) ? 0 : w->parts[i].share;
    }
    return fmax(lost, 1 - capacity);
}

/** A region was up and is down now, or the reverse: plan or forget its failover. */
static void region_changed(struct sim *s, size_t i, bool was_down)
{
    bool is_down = region_down(s, i);
    if (is_down && !was_down) {
        bool works = draw(s) > s->world->p_ff;
        s->restored_h[i] = works ? s->now_h + s->world->failover_h : INFINITY;
    } else if (!is_down) {
        s->restored_h[i] = INFINITY;
    }
}

static void toggle(struct sim *s, size_t process)
{
    size_t n = s->world->n;
    size_t first = process < n ? process : 0, end = process < n ? process + 1 : n;
    bool was[MRD_REGIONS_MAX];

    for (size_t i = first; i < end; i++) {
        was[i] = region_down(s, i);
    }
    s->down[process] = !s->down[process];
    s->toggle_h[process] = s->now_h + until_toggle(s, process, s->down[process]);
    for (size_t i = first; i < end; i++) {
        region_changed(s, i, was[i]);
    }
}

/** When the next thing happens, and to which process: n + 1 for a failover that is done. */
static double next_event(const struct sim *s, size_t *ret_process)
{
    size_t n = s->world->n;
    double next = INFINITY;

    *ret_process = n + 1;
    for (size_t i = 0; i <= n; i++) {
        if (s->toggle_h[i] < next) {
            next = s->toggle_h[i];
            *ret_process = i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (s->restored_h[i] > s->now_h && s->restored_h[i] < next) {
            next = s->restored_h[i];
            *ret_process = n + 1;
        }
    }
    return next;
}

/** Add what is lost until @until_h to the years it falls in. */
static void account(const struct sim *s, double until_h, double *annual_h, size_t years)
{
    double from = s->now_h;
    while (s->lost > 0 && from < until_h) {
        size_t year = (size_t)(from / MRD_YEAR_H);
        if (year >= years) {
            return;
        }
        double end = fmin(until_h, ((double)year + 1) * MRD_YEAR_H);
        annual_h[year] += s->lost * (end - from);
        from = end;
    }
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double rank(const double *sorted, size_t n, double p)
{
    size_t i = (size_t)ceil(p * (double)n);
    return sorted[i > 0 ? i - 1 : 0];
}

static void summarise(double *annual_h, size_t years, struct mrd_outage_years *ret)
{
    double sum = 0, squares = 0, n = (double)years;

    for (size_t i = 0; i < years; i++) {
        sum += annual_h[i];
        squares += annual_h[i] * annual_h[i];
    }
    double mean = sum / n, variance = years > 1 ? (squares - n * mean * mean) / (n - 1) : 0;
    qsort(annual_h, years, sizeof(*annual_h), by_value);
    ret->u = mean / MRD_YEAR_H;
    ret->u_se = sqrt(fmax(variance, 0) / n) / MRD_YEAR_H;
    ret->p50_h = rank(annual_h, years, 0.5);
    ret->p95_h = rank(annual_h, years, 0.95);
    ret->p99_h = rank(annual_h, years, 0.99);
    ret->worst_year_h = annual_h[years - 1];
}

static bool in_domain(const struct mrd_outage_world *w)
{
    bool ok = w->n >= 1 && w->n <= MRD_REGIONS_MAX && w->beta >= 0 && w->beta <= 1 &&
              w->failover_h >= 0 && w->p_ff >= 0 && w->p_ff <= 1 && w->part_count >= 1 &&
              w->part_count <= MRD_OUTAGE_PARTS_MAX;
    for (size_t i = 0; ok && i < w->n; i++) {
        const struct mrd_outage_region *r = &w->regions[i];
        ok = r->u >= 0 && r->u < 1 && r->mean_h > 0 && isfinite(r->mean_h) && r->capacity >= 0;
    }
    for (size_t i = 0; ok && i < w->part_count; i++) {
        const struct mrd_outage_part *part = &w->parts[i];
        ok = part->share >= 0 && part->home < w->n &&
             part->needed <= (unsigned)__builtin_popcount(part->copies) &&
             ((part->takeover | part->copies) >> w->n) == 0;
    }
    return ok;
}

static void start(struct sim *s)
{
    size_t n = s->world->n;
    for (size_t i = 0; i <= n; i++) {
        s->toggle_h[i] = until_toggle(s, i, false);
    }
    for (size_t i = 0; i < n; i++) {
        s->restored_h[i] = INFINITY;
    }
}

int mrd_outage_simulate(const struct mrd_outage_world *world, uint64_t seed, size_t years,
                        double *annual_h, struct mrd_outage_years *ret)
{
    struct sim s = {.world = world, .random = seed};
    double end_h = (double)years * MRD_YEAR_H;
    struct mrd_outage_years result = {0};

    if (!in_domain(world) || years == 0) {
        return MRD_EINVAL;
    }
    for (size_t i = 0; i < years; i++) {
        annual_h[i] = 0;
    }
    start(&s);
    s.lost = load_lost(&s);
    while (s.now_h < end_h) {
        size_t process;
        double next = next_event(&s, &process);
        account(&s, fmin(next, end_h), annual_h, years);
        bool was_lost = s.lost > 0;
        s.now_h = fmin(next, end_h);
        if (next <= end_h && process <= world->n) {
            toggle(&s, process);
        }
        s.lost = next <= end_h ? load_lost(&s) : 0;
        if (!was_lost && s.lost > 0) {
            result.outages++;
            s.since_h = s.now_h;
        } else if (was_lost && !(s.lost > 0)) {
            result.worst_outage_h = fmax(result.worst_outage_h, s.now_h - s.since_h);
        }
    }
    summarise(annual_h, years, &result);
    *ret = result;
    return 0;
}
