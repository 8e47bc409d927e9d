/*
 * Stories of the small world (tests/lib/world.h): a home, or more than it, is lost and returns.
 *
 * What operators read, to the millisecond. Three regions, 40 ms apart, home us, unless a story
 * says otherwise; clients write every 50 ms wherever the guard lets them. The laws of the world
 * are checked on every tick, and most stories end by checking that everything acknowledged is
 * accounted for.
 */
#include "unit.h"

#include "world.h"

static void home_is_killed_and_returns(void **state)
{
    struct world *w = world_begin(world_new(1), "ap");
    struct mrd_receipt_record r;

    (void)state;
    world_kill(w, "us");
    world_run(w, 9000);
    assert_string_equal(world_home(w, "ap", "orders"), "eu");
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_expect(w, "[0] us is killed\n"
                    "[1640] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[1830] stream.refused origin=us by=ap applied=0/3C0\n"
                    "[2040] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[2130] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0\n"
                    "[2130] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0 held=yes\n"
                    "[2170] eu: opens orders epoch 2\n"
                    "[4640] session.expired region=us session=1 seq=7\n"
                    "[4780] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_expired\n"
                    "[4820] eu: opens events epoch 2\n"
                    "[4920] failover.done region=us\n"
                    "[9000] us is started\n"
                    "[9890] receipt.final id=0000000000002000 class=orders partition=all "
                    "from=us to=eu tail_transactions=1 tail_rows=1\n"
                    "[10050] receipt.final id=0000000000002001 class=events partition=all "
                    "from=us to=eu tail_transactions=1 tail_rows=1\n");
    /* Nothing fails back by itself. */
    assert_string_equal(world_home(w, "us", "orders"), "eu");
    assert_true(world_receipt(w, "ap", "events", &r));
    assert_string_equal(r.note, "granted");
    assert_string_equal(r.observers, "eu,ap");
    assert_true(r.fault_ms <= r.detected_ms && r.detected_ms < r.granted_ms &&
                r.granted_ms < r.expired_ms && r.expired_ms <= r.opened_ms &&
                r.opened_ms <= r.first_write_ms && r.first_write_ms < r.returned_ms);
    assert_int_equal(r.tail_transactions, 1);
    world_free(w);
}

static void leader_dies_with_the_home(void **state)
{
    struct world *w = world_begin(world_new(2), "us");

    (void)state;
    world_kill(w, "us");
    world_run(w, 9000);
    world_expect(w, "[0] us is killed\n"
                    "[2740] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[2930] stream.refused origin=us by=ap applied=0/3C0\n"
                    "[3140] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[3230] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0\n"
                    "[3230] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0 held=yes\n"
                    "[3270] eu: opens orders epoch 2\n"
                    "[4600] session.expired region=us session=1 seq=7\n"
                    "[4740] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_expired\n"
                    "[4780] eu: opens events epoch 2\n"
                    "[4880] failover.done region=us\n");
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

static void home_is_paused_past_its_lease(void **state)
{
    struct world *w = world_begin(world_new(3), "ap");

    (void)state;
    world_pause(w, "us", false, true);
    world_run(w, 40000);
    world_resume(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_expect(w, "[0] us is paused\n"
                    "[1640] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[1830] stream.refused origin=us by=ap applied=0/3C0\n"
                    "[2040] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[2130] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0\n"
                    "[2130] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0 held=yes\n"
                    "[2170] eu: opens orders epoch 2\n"
                    "[4640] session.expired region=us session=1 seq=7\n"
                    "[4780] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_expired\n"
                    "[4820] eu: opens events epoch 2\n"
                    "[4920] failover.done region=us\n"
                    "[40000] us is resumed\n"
                    "[40010] us: closes orders epoch 1\n"
                    "[40010] us: closes events epoch 1\n"
                    "[40890] receipt.final id=0000000000002000 class=orders partition=all "
                    "from=us to=eu tail_transactions=2 tail_rows=2\n"
                    "[41050] receipt.final id=0000000000002001 class=events partition=all "
                    "from=us to=eu tail_transactions=2 tail_rows=2\n");
    world_free(w);
}

/* Its clock stood still, so its lease looks good on return: only the refusals protect. */
static void home_is_suspended_with_its_clock(void **state)
{
    struct world *w = world_begin(world_new(4), "ap");

    (void)state;
    world_pause(w, "us", true, true);
    world_run(w, 40000);
    world_resume(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    assert_true(w->reconciled > 0);
    world_free(w);
}

static void home_is_cut_off(void **state)
{
    struct world *w = world_begin(world_new(5), "ap");

    (void)state;
    world_isolate(w, "us");
    world_run(w, 10000);
    assert_false(world_writable(w, "us", "orders"));
    assert_false(world_writable(w, "us", "events"));
    world_heal(w);
    world_run(w, 5000);
    world_expect_converged(w);
    world_expect(w, "[1590] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[1730] stream.refused origin=us by=ap applied=0/3C0\n"
                    "[2040] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[2130] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0\n"
                    "[2130] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0 held=yes\n"
                    "[2170] eu: opens orders epoch 2\n"
                    "[3060] us: closes orders epoch 1\n"
                    "[3060] us: closes events epoch 1\n"
                    "[4600] session.expired region=us session=1 seq=7\n"
                    "[4740] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_expired\n"
                    "[4780] eu: opens events epoch 2\n"
                    "[4880] failover.done region=us\n"
                    "[10670] receipt.final id=0000000000002000 class=orders partition=all "
                    "from=us to=eu tail_transactions=62 tail_rows=62\n"
                    "[10830] receipt.final id=0000000000002001 class=events partition=all "
                    "from=us to=eu tail_transactions=62 tail_rows=62\n");
    world_free(w);
}

static void pause_too_short_for_a_verdict(void **state)
{
    struct world *w = world_begin(world_new(6), "ap");

    (void)state;
    world_pause(w, "us", false, true);
    world_run(w, 1200);
    world_resume(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_expect(w, "[0] us is paused\n"
                    "[1200] us is resumed\n");
    assert_int_equal(w->reconciled, 0);
    world_free(w);
}

/* The verdict falls, survivors refuse, and then the home turns out to be alive. */
static void home_returns_while_it_is_replaced(void **state)
{
    struct world *w = world_begin(world_new(7), "ap");

    (void)state;
    world_pause(w, "us", false, true);
    world_run(w, 2400);
    world_resume(w, "us");
    world_run(w, 9000);
    world_expect_converged(w);
    world_expect(w, "[0] us is paused\n"
                    "[1640] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[1830] stream.refused origin=us by=ap applied=0/3C0\n"
                    "[2040] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[2130] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0\n"
                    "[2130] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0 held=yes\n"
                    "[2170] eu: opens orders epoch 2\n"
                    "[2400] us is resumed\n"
                    "[2440] us: closes orders epoch 2\n"
                    "[2440] us: closes events epoch 2\n"
                    "[6270] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_over\n"
                    "[6310] eu: opens events epoch 2\n"
                    "[6410] failover.done region=us\n"
                    "[7250] receipt.final id=0000000000002000 class=orders partition=all "
                    "from=us to=eu tail_transactions=3 tail_rows=3\n"
                    "[7410] receipt.final id=0000000000002001 class=events partition=all "
                    "from=us to=eu tail_transactions=3 tail_rows=3\n");
    world_free(w);
}

/* The successor dies in its turn, before it has the whole tail of the home that came back: both
 * tails find their receipts, also when the first home is the third one. */
static void successor_dies_when_the_home_returns(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 8; seed++) {
        struct world *w = world_begin(world_new(seed), "ap");

        world_pause(w, "us", false, true);
        world_run(w, 9000);
        assert_string_equal(world_home(w, "ap", "events"), "eu");
        world_resume(w, "us");
        world_run(w, 100 * seed);
        world_kill(w, "eu");
        world_run(w, 12000);
        assert_string_not_equal(world_home(w, "ap", "events"), "eu");
        world_start(w, "eu");
        world_run(w, 8000);
        world_expect_converged(w);
        assert_int_equal(world_open_receipts(w, "ap"), 0);
        world_free(w);
    }
}

/* Three wall clocks, minutes apart: no safety hangs on them, and the receipt's figures are
 * still durations. */
static void wall_clocks_disagree(void **state)
{
    static const int64_t ahead_ms[][3] = {
        {0, 0, 0},
        {300000, 0, 0},
        {-300000, 0, 0},
        {0, -240000, 0},
        {0, 0, 400000},
        {120000, -240000, 0},
        {-300000, 240000, 5000000},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(ahead_ms); i++) {
        struct world *w = world_new(2);
        struct mrd_receipt_record r;

        for (unsigned j = 0; j < 3; j++) {
            w->regions[j].wall_ahead_ms = (uint64_t)ahead_ms[i][j];
        }
        world_begin(w, "ap");
        world_kill(w, "us");
        world_run(w, 9000);
        assert_true(world_receipt(w, "ap", "events", &r));
        assert_in_range(r.rto_ms, 3000, 7000);
        /* Clocks are set against each other by the grant, which takes its time to be seen. */
        assert_in_range(r.opened_ms, r.expired_ms - 200, r.expired_ms + 1000);
        world_start(w, "us");
        world_run(w, 5000);
        world_expect_converged(w);
        world_free(w);
    }
}

/* A class that nobody writes was without service until its home was open, and no longer. */
static void nobody_writes(void **state)
{
    static const char *const classes[] = {"orders", "events"};
    struct world *w = world_begin(world_new(16), "ap");
    uint64_t every_ms = w->write_every_ms;
    uint32_t rto_ms[2];

    (void)state;
    w->write_every_ms = 0;
    world_kill(w, "us");
    world_run(w, 9000);
    for (unsigned i = 0; i < 2; i++) {
        struct mrd_receipt_record r;
        assert_true(world_receipt(w, "ap", classes[i], &r));
        assert_int_equal(r.first_write_ms, 0);
        assert_true(r.opened_ms > r.fault_ms);
        rto_ms[i] = r.rto_ms;
        assert_in_range(r.fault_ms + r.rto_ms, r.opened_ms, r.opened_ms + 3000);
    }
    w->write_every_ms = every_ms;
    world_run(w, 5000);
    for (unsigned i = 0; i < 2; i++) {
        struct mrd_receipt_record r;
        assert_true(world_receipt(w, "ap", classes[i], &r));
        assert_true(r.first_write_ms > r.opened_ms + 3000);
        assert_int_equal(r.rto_ms, rto_ms[i]);
    }
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

static void two_of_three_are_lost(void **state)
{
    struct world *w = world_begin(world_new(8), "ap");

    (void)state;
    world_kill(w, "us");
    world_kill(w, "ap");
    world_run(w, 20000);
    assert_false(world_writable(w, "eu", "orders"));
    world_expect(w, "[0] us is killed\n"
                    "[0] ap is killed\n");
    world_start(w, "ap");
    world_run(w, 12000);
    assert_true(world_writable(w, "eu", "orders") || world_writable(w, "ap", "orders"));
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

static void losing_another_region_disturbs_nobody(void **state)
{
    struct world *w = world_begin(world_new(9), "ap");

    (void)state;
    world_kill(w, "ap");
    world_run(w, 9000);
    world_expect(w, "[0] ap is killed\n"
                    "[4610] session.expired region=ap session=1 seq=7\n");
    world_start(w, "ap");
    world_run(w, 3000);
    world_expect_converged(w);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(home_is_killed_and_returns),
        cmocka_unit_test(leader_dies_with_the_home),
        cmocka_unit_test(home_is_paused_past_its_lease),
        cmocka_unit_test(home_is_suspended_with_its_clock),
        cmocka_unit_test(home_is_cut_off),
        cmocka_unit_test(pause_too_short_for_a_verdict),
        cmocka_unit_test(home_returns_while_it_is_replaced),
        cmocka_unit_test(successor_dies_when_the_home_returns),
        cmocka_unit_test(wall_clocks_disagree),
        cmocka_unit_test(nobody_writes),
        cmocka_unit_test(two_of_three_are_lost),
        cmocka_unit_test(losing_another_region_disturbs_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
