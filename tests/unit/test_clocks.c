/*
 * Whose wall clock is wrong (agent/clocks.h).
 */
#include <clocks.h>
#include <mrd/control.h>

#include "unit.h"

#define NONE INT64_MIN

static const struct row {
    const char *name;
    int64_t ahead[4]; /* NONE: not heard */
    int64_t doubt;
    unsigned off, differ;
    int64_t off_ms; /* of the last that is off or differs */
    unsigned was;   /* off before */
} rows[] = {
    {"all agree", {0, 120, -80, 300}, 50, 0, 0, 0, 0},
    {"one ahead", {0, 300000, 10, -10}, 50, 2, 0, 300000, 0},
    {"one behind", {0, 0, -240000, NONE}, 50, 4, 0, -240000, 0},
    {"ours", {0, 300000, 300000, NONE}, 50, 1, 0, -300000, 0},
    {"two, who can tell", {0, 5000, NONE, NONE}, 50, 0, 2, 5000, 0},
    {"three that all differ", {0, 300000, -240000, NONE}, 50, 0, 6, -240000, 0},
    {"two against two", {0, 0, 9000, 9000}, 50, 0, 12, 9000, 0},
    {"nobody heard", {0, NONE, NONE, NONE}, 50, 0, 0, 0, 0},
    {"as much as clocks may differ", {0, 600, 0, NONE}, 50, 0, 0, 0, 0},
    {"a millisecond more", {0, 601, 0, NONE}, 50, 2, 0, 601, 0},
    {"not near enough after it was off", {0, 310, 0, NONE}, 50, 2, 0, 310, 2},
    {"near enough after it was off", {0, 290, 0, NONE}, 50, 0, 0, 0, 2},
    {"a longer way does not hide it again", {0, 520, 0, NONE}, 200, 2, 0, 520, 2},
    {"the long way of one that is right again", {0, 390, 0, NONE}, 400, 0, 0, 0, 2},
    {"off before, and nobody can tell now", {0, 300, NONE, NONE}, 50, 0, 0, 0, 3},
    {"within the round trip", {0, 2400, 0, NONE}, 1000, 0, 0, 0, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct clock_reading readings[4] = {{0}};
        struct clocks_verdict v;
        int64_t last = 0;
        ROW(rows[i].name);
        for (unsigned k = 0; k < 4; k++) {
            if (rows[i].ahead[k] != NONE) {
                readings[k] = (struct clock_reading){true, rows[i].ahead[k], rows[i].doubt};
            }
        }
        clocks_judge(readings, 4, (mrd_regions)rows[i].was, &v);
        assert_int_equal(v.off, rows[i].off);
        assert_int_equal(v.differ, rows[i].differ);
        for (unsigned k = 0; k < 4; k++) {
            last = ((v.off | v.differ) & 1u << k) != 0 ? v.ahead_ms[k] : last;
        }
        assert_in_range(last - rows[i].off_ms + 20, 0, 40); /* the mean of those that agree */
    }
}

/* The peer reads its clock anywhere in the round trip: what is said holds either way. */
static void test_reading(void **state)
{
    (void)state;
    for (uint64_t at_ms = 0; at_ms <= 200; at_ms += 50) { /* asked at 1000, answered at 1200 */
        struct clock_reading r = clocks_read(1000 + at_ms + 7000, 1200, 200);
        assert_true(r.known && r.ahead_ms - r.doubt_ms <= 7000 &&
                    r.ahead_ms + r.doubt_ms >= 7000);
    }
    struct clock_reading mad = clocks_read(UINT64_MAX, 1200, UINT64_MAX), none = {true, 0, 0};
    struct clock_reading readings[3] = {none, none, mad};
    struct clocks_verdict v;
    clocks_judge(readings, 3, 0, &v);
    readings[2] = clocks_read(UINT64_MAX, 1200, 10);
    clocks_judge(readings, 3, 0, &v);
    assert_int_equal(v.off, 4);
}

/* What an earlier leader wrote counts, in whichever agent: the last word about each clock. */
static void test_noted(void **state)
{
    static const struct {
        const char *line;
        unsigned off;
    } told[] = {
        {"event=clock.off region=b ahead_ms=601", 2},  {"event=failover.started region=b", 2},
        {"event=clock.off region=c ahead_ms=-700", 6}, {"event=clock.agrees region=b", 4},
        {"event=clock.off region=gone ahead_ms=9", 4}, {"event=clock.off", 4},
        {"event=clock.off region=c ahead_ms=-800", 4}, {"event=clock.agrees region=c", 0},
    };
    static struct mrd_config config = {.region_count = 3};
    static struct mrd_proposal p;
    struct mrd_store *store = mrd_store_new();

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        config.regions[i].name[0] = (char)('a' + i);
    }
    assert_int_equal(clocks_noted(store, &config), 0);
    for (size_t i = 0; i < ROWS(told); i++) {
        ROW(told[i].line);
        mrd_audit_request(store, told[i].line, 1000 + i, &p);
        assert_int_equal(mrd_store_apply(store, &p.txn, NULL), 0);
        assert_int_equal(clocks_noted(store, &config), told[i].off);
    }
    mrd_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_reading),
                                       cmocka_unit_test(test_noted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
