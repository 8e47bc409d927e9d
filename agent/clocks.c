/*
 * Comparing clocks (clocks.h): arithmetic only, so that it can be tested alone.
 */
#include "clocks.h"

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

static bool agree(const struct clock_reading *a, const struct clock_reading *b)
{
    return distance(a->ahead_ms, b->ahead_ms) <= CLOCK_OFF_MS + a->doubt_ms + b->doubt_ms;
}

/* How many of the known agree with @i, itself included. */
static unsigned followers(const struct clock_reading *readings, unsigned count, unsigned i)
{
    unsigned n = 0;

    for (unsigned k = 0; k < count; k++) {
        n += readings[k].known && agree(&readings[i], &readings[k]);
    }
    return n;
}

/* The clocks with more than half on their side; their mean comes back, too. */
static mrd_regions majority(const struct clock_reading *readings, unsigned count,
                            int64_t *ret_mean)
{
    mrd_regions right = 0;
    unsigned known = 0, members = 0;
    int64_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        known += readings[i].known;
    }
    for (unsigned i = 0; i < count; i++) {
        if (readings[i].known && 2 * followers(readings, count, i) > known) {
            right = (mrd_regions)(right | 1u << i);
            sum += readings[i].ahead_ms;
            members++;
        }
    }
    *ret_mean = members > 0 ? sum / members : 0;
    return right;
}

void clocks_judge(const struct clock_reading *readings, unsigned count,
                  struct clocks_verdict *ret)
{
    static const struct clock_reading own = {true, 0, 0};
    int64_t mean;
    mrd_regions right = majority(readings, count, &mean);

    memset(ret, 0, sizeof(*ret));
    for (unsigned i = 0; i < count; i++) {
        mrd_regions bit = (mrd_regions)(1u << i);
        if (!readings[i].known || (right & bit) != 0) {
            continue;
        }
        ret->ahead_ms[i] = readings[i].ahead_ms - mean;
        if (right != 0) {
            ret->off = (mrd_regions)(ret->off | bit);
        } else if (!agree(&readings[i], &own)) {
            ret->differ = (mrd_regions)(ret->differ | bit);
        }
    }
}
