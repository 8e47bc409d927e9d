/*
 * The arithmetic of a link (link.h), and the units people write it in.
 */
#include "link.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/err.h>

static uint64_t queue_limit(const struct lab_link_conf *c)
{
    uint64_t bytes;

    if (c->queue_bytes != 0) {
        return c->queue_bytes;
    }
    bytes = c->rate_bps / 8 / 5; /* 200 ms */
    return bytes < 65536 ? 65536 : bytes;
}

/* Uniform in [-jitter, +jitter], but never more than the delay earlier. */
static uint64_t travel_ns(const struct lab_link_conf *c, uint64_t random)
{
    uint64_t span = 2 * c->jitter_ns + 1;
    uint64_t at = c->delay_ns + random % span;

    return at > c->jitter_ns ? at - c->jitter_ns : 0;
}

/* Time on the wire, rounded up: a rate may be missed by a nanosecond, never exceeded. */
static uint64_t send_ns(const struct lab_link_conf *c, uint32_t len)
{
    return ((uint64_t)len * 8 * LAB_NS_PER_S + c->rate_bps - 1) / c->rate_bps;
}

enum lab_fate lab_link_offer(struct lab_link *l, const struct lab_link_conf *c, uint32_t len,
                             uint64_t now_ns, uint64_t random, uint64_t *ret_ns)
{
    uint64_t leaves = now_ns;
    uint64_t due;

    if (c->cut) {
        return LAB_CUT;
    }
    /* The high half decides loss, the low half the jitter: independent bits. */
    if ((random >> 32) % LAB_MILLION < c->loss_ppm) {
        return LAB_LOST;
    }
    if (l->inflight_bytes + len > LAB_INFLIGHT_MAX) {
        return LAB_FULL;
    }
    if (c->rate_bps != 0) {
        uint64_t start = l->busy_ns > now_ns ? l->busy_ns : now_ns;
        double waiting = (double)(start - now_ns) * (double)c->rate_bps / 8e9;

        if (waiting + len > (double)queue_limit(c)) {
            return LAB_FULL;
        }
        leaves = start + send_ns(c, len);
        l->busy_ns = leaves;
    }
    due = leaves + travel_ns(c, random & 0xffffffffu);
    if (due < l->last_due_ns) {
        due = l->last_due_ns;
    }
    l->last_due_ns = due;
    l->inflight_bytes += len;
    *ret_ns = due;
    return LAB_CARRIED;
}

bool lab_link_twice(const struct lab_link_conf *c, uint64_t random)
{
    return (random >> 20) % LAB_MILLION < c->dup_ppm;
}

void lab_hist_add(struct lab_hist *h, uint64_t late_ns)
{
    unsigned i = 0;

    while (i + 1 < LAB_HIST_BUCKETS && late_ns >= (16000ull << i)) {
        i++;
    }
    atomic_fetch_add_explicit(&h->count[i], 1, memory_order_relaxed);
    if (late_ns > atomic_load_explicit(&h->max_ns, memory_order_relaxed)) {
        atomic_store_explicit(&h->max_ns, late_ns, memory_order_relaxed);
    }
}

uint64_t lab_hist_percentile(const struct lab_hist *h, double percent)
{
    uint64_t copy[LAB_HIST_BUCKETS];
    uint64_t total = 0;
    uint64_t seen = 0;

    for (unsigned i = 0; i < LAB_HIST_BUCKETS; i++) {
        copy[i] = atomic_load_explicit(&h->count[i], memory_order_relaxed);
        total += copy[i];
    }
    for (unsigned i = 0; i < LAB_HIST_BUCKETS && total != 0; i++) {
        seen += copy[i];
        if ((double)seen >= (double)total * percent / 100.0) {
            return i + 1 < LAB_HIST_BUCKETS
                       ? 16000ull << i
                       : atomic_load_explicit(&h->max_ns, memory_order_relaxed);
        }
    }
    return 0;
}

struct unit {
    const char *name;
    double factor;
};

/* A number, which must not be negative or odd, and one of @units (the last has no name). */
static int parse_unit(const char *text, const struct unit *units, double max, double *ret)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || !isfinite(v) || v < 0) {
        return MRD_EINVAL;
    }
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (strcmp(end, u->name) == 0) {
            v *= u->factor;
            if (v > max) {
                return MRD_EINVAL;
            }
            *ret = v;
            return 0;
        }
    }
    return MRD_EINVAL;
}

int lab_parse_duration(const char *text, uint64_t *ret_ns)
{
    static const struct unit units[] = {
        {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {NULL, 0},
    };
    double v;

    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    if (parse_unit(text, units, 7 * 86400e9, &v) != 0) {
        return MRD_EINVAL;
    }
    *ret_ns = (uint64_t)(v + 0.5);
    return 0;
}

int lab_parse_share(const char *text, uint32_t *ret_ppm)
{
    static const struct unit units[] = {{"%", 1e4}, {"", 1e6}, {NULL, 0}};
    double v;

    if (parse_unit(text, units, 1e6, &v) != 0) {
        return MRD_EINVAL;
    }
    *ret_ppm = (uint32_t)(v + 0.5);
    return 0;
}

int lab_parse_rate(const char *text, uint64_t *ret_bps)
{
    static const struct unit units[] = {
        {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}, {NULL, 0}};
    double v;

    if (strcmp(text, "0") == 0 || strcmp(text, "none") == 0) {
        *ret_bps = 0;
        return 0;
    }
    if (parse_unit(text, units, (double)LAB_RATE_MAX_BPS, &v) != 0 ||
        v < (double)LAB_RATE_MIN_BPS) {
        return MRD_EINVAL;
    }
    *ret_bps = (uint64_t)v;
    return 0;
}
