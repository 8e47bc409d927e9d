/*
 * Comparing clocks, and what the store's events say of them (clocks.h): nothing of the agent,
 * so that it can be tested alone.
 */
#include "clocks.h"

#include <stdio.h>
#include <string.h>

#define FAR_MS (INT64_C(1) << 53) /* beyond any calendar: room for sums */

struct clock_reading clocks_read(uint64_t peer_ms, uint64_t own_ms, uint64_t rtt_ms)
{
    int64_t peer = peer_ms < (uint64_t)FAR_MS ? (int64_t)peer_ms : FAR_MS;
    int64_t own = own_ms < (uint64_t)FAR_MS ? (int64_t)own_ms : FAR_MS;
    int64_t half = rtt_ms < (uint64_t)FAR_MS ? (int64_t)(rtt_ms + 1) / 2 : FAR_MS;

    return (struct clock_reading){true, peer - (own - half), half};
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* @parts: 1, or 2 to ask for twice as near. */
static bool agree(const struct clock_reading *a, const struct clock_reading *b, int parts)
{
    return distance(a->ahead_ms, b->ahead_ms) <=
           (CLOCK_OFF_MS + a->doubt_ms + b->doubt_ms) / parts;
}

/* How many of the known agree with @i, itself included. */
static unsigned followers(const struct clock_reading *readings, unsigned count, unsigned i,
                          int parts)
{
    unsigned n = 0;

    for (unsigned k = 0; k < count; k++) {
        n += readings[k].known && agree(&readings[i], &readings[k], parts);
    }
    return n;
}

/* The clocks with more than half on their side; their mean comes back, too. */
static mrd_regions majority(const struct clock_reading *readings, unsigned count,
                            mrd_regions was_off, int64_t *ret_mean)
{
    mrd_regions right = 0;
    unsigned known = 0, members = 0;
    int64_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        known += readings[i].known;
    }
    for (unsigned i = 0; i < count; i++) {
        int parts = (was_off & 1u << i) != 0 ? 2 : 1;
        if (readings[i].known && 2 * followers(readings, count, i, parts) > known) {
            right = (mrd_regions)(right | 1u << i);
            sum += readings[i].ahead_ms;
            members++;
        }
    }
    *ret_mean = members > 0 ? sum / members : 0;
    return right;
}

void clocks_judge(const struct clock_reading *readings, unsigned count, mrd_regions was_off,
                  struct clocks_verdict *ret)
{
    static const struct clock_reading own = {true, 0, 0};
    int64_t mean;
    mrd_regions right = majority(readings, count, was_off, &mean);

    memset(ret, 0, sizeof(*ret));
    for (unsigned i = 0; i < count; i++) {
        mrd_regions bit = (mrd_regions)(1u << i);
        if (!readings[i].known || (right & bit) != 0) {
            continue;
        }
        ret->ahead_ms[i] = readings[i].ahead_ms - mean;
        if (right != 0) {
            ret->off = (mrd_regions)(ret->off | bit);
        } else if (!agree(&readings[i], &own, 1)) {
            ret->differ = (mrd_regions)(ret->differ | bit);
        }
    }
}

/* ---- the store ---- */

struct noted {
    const struct mrd_config *config;
    mrd_regions off;
};

/* Oldest first: the last word about each stands. */
static int note_event(void *ctx, const struct mrd_entry *e)
{
    struct noted *n = ctx;
    char text[128], what[8], region[MRD_NAME_MAX];

    snprintf(text, sizeof(text), "%.*s", (int)(e->len < sizeof(text) ? e->len : 127),
             (const char *)e->value);
    if (sscanf(text, "at_ms=%*u event=clock.%7s region=%63s", what, region) == 2) {
        int i = mrd_config_region(n->config, region);
        mrd_regions bit = i < 0 ? 0 : (mrd_regions)(1u << i);
        n->off = (mrd_regions)(strcmp(what, "off") == 0 ? n->off | bit : n->off & ~bit);
    }
    return 0;
}

mrd_regions clocks_noted(const struct mrd_store *store, const struct mrd_config *config)
{
    struct noted n = {config, 0};

    mrd_store_scan(store, "event/", note_event, &n);
    return n.off;
}
