/*
 * Misses of a region that is asked every half second: how long silence takes to be a verdict,
 * told as scripts of what happens when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <mrd/patience.h>

#define MS UINT64_C(1000000)

/* In milliseconds: ask, good, bad. Between steps the host looks every 50 ms. */
enum what { END, ASK, GOOD, BAD };

static const struct {
    const char *name;
    uint64_t trip_ms;
    struct {
        enum what what;
        uint64_t at_ms;
    } script[12];
    uint64_t until_ms, down_ms; /* 0: it stays up */
} rows[] = {
    {"answers in time", 200, {{ASK, 0}, {GOOD, 200}, {ASK, 500}, {GOOD, 700}}, 900, 0},
    {"refused at once, every time",
     200,
     {{ASK, 0}, {BAD, 0}, {ASK, 500}, {BAD, 500}, {ASK, 1000}, {BAD, 1000}},
     1400,
     1000},
    {"silence is three intervals, not three timeouts",
     200,
     {{ASK, 0}, {BAD, 1000}, {ASK, 1000}, {BAD, 2000}},
     2500,
     1500},
    {"one question that hangs for ever", 200, {{ASK, 0}}, 4000, 1500},
    {"a late answer ends the silence",
     200,
     {{ASK, 0}, {GOOD, 980}, {ASK, 1000}, {GOOD, 1980}, {ASK, 2000}, {GOOD, 2980}},
     3200,
     0},
    {"a long way takes two trips before it is missed", 450, {{ASK, 0}}, 4000, 1900},
    {"an unknown way is given the timeout", 0, {{ASK, 0}, {GOOD, 950}}, 1200, 0},
    {"the end of a question that was counted is no second miss",
     200,
     {{ASK, 0}, {BAD, 510}, {ASK, 520}, {BAD, 1030}},
     1490,
     0},
    {"nothing asked, nothing missed", 200, {{END, 0}}, 5000, 0},
};

static uint64_t went_down(size_t i)
{
    const struct mrd_patience_limits limits = {500 * MS, rows[i].trip_ms * MS, 1000 * MS, 3};
    struct mrd_patience p = {.up = true};
    uint64_t base = 7000, down_ms = 0;
    size_t step = 0;

    for (uint64_t t = 0; t <= rows[i].until_ms; t += 10) {
        while (rows[i].script[step].what != END && rows[i].script[step].at_ms == t) {
            enum what what = rows[i].script[step++].what;
            if (what == ASK) {
                mrd_patience_ask(&p, (base + t) * MS);
            } else {
                mrd_patience_answer(&p, what == GOOD, (base + t) * MS, &limits);
            }
        }
        if (t % 50 == 0) {
            mrd_patience_wait(&p, (base + t) * MS, &limits);
        }
        if (!p.up && down_ms == 0) {
            down_ms = t;
        }
    }
    return down_ms;
}

static void test_scripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t got = went_down(i);
        if (got != rows[i].down_ms) {
            fail_msg("%s: down after %llu ms, not %llu", rows[i].name, (unsigned long long)got,
                     (unsigned long long)rows[i].down_ms);
        }
    }
}

static void test_one_answer_sets_it_again(void **state)
{
    const struct mrd_patience_limits limits = {500 * MS, 200 * MS, 1000 * MS, 3};
    struct mrd_patience p = {.up = true};

    (void)state;
    for (uint64_t t = 1000; t < 5000; t += 500) {
        mrd_patience_ask(&p, t * MS);
        mrd_patience_answer(&p, false, t * MS, &limits);
    }
    assert_false(p.up);
    assert_int_equal(p.misses, 3);
    mrd_patience_ask(&p, 5000 * MS);
    assert_true(mrd_patience_answer(&p, true, 5200 * MS, &limits));
    assert_true(p.up);
    assert_int_equal(p.misses, 0);
    assert_false(mrd_patience_answer(&p, true, 5200 * MS, &limits));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_one_answer_sets_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
