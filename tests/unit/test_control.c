/*
 * The protocol's stories: what operators read, to the millisecond, when things go wrong.
 *
 * Each story runs the shipped decisions in the small world (tests/lib/world.h): three regions,
 * 40 ms apart, home us, unless it says otherwise. Clients write every 50 ms wherever the guard
 * lets them. The laws of the world are checked on every tick, and most stories end by checking
 * that everything acknowledged is accounted for.
 */
#include "unit.h"

#include "world.h"

/* A world that has settled, with its store led from @leader, and clients at work. */
static struct world *begin(struct world *w, const char *leader)
{
    world_configure(w);
    world_settle(w);
    world_lead(w, leader);
    w->write_every_ms = 50;
    world_run(w, 2000);
    world_tell(w);
    return w;
}

static void home_is_killed_and_returns(void **state)
{
    struct world *w = begin(world_new(1), "ap");
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
    struct world *w = begin(world_new(2), "us");

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
    struct world *w = begin(world_new(3), "ap");

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
    struct world *w = begin(world_new(4), "ap");

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
    struct world *w = begin(world_new(5), "ap");

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
    struct world *w = begin(world_new(6), "ap");

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
    struct world *w = begin(world_new(7), "ap");

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
        struct world *w = begin(world_new(seed), "ap");

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

/* Three wall clocks, minutes apart: nothing decides by them, and the receipt's figures are
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
        begin(w, "ap");
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
    struct world *w = begin(world_new(16), "ap");
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
    struct world *w = begin(world_new(8), "ap");

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
    struct world *w = begin(world_new(9), "ap");

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

static void planned_move(void **state)
{
    struct world *w = begin(world_new(10), "ap");
    struct mrd_receipt_record r;

    (void)state;
    assert_int_equal(world_move(w, "orders", "eu", NULL), 0);
    world_run(w, 5000);
    world_expect_converged(w);
    assert_int_equal(w->reconciled, 0);
    world_expect(w, "[120] move.requested class=orders partition=all from=us to=eu "
                    "who=\"anna\"\n"
                    "[160] us: closes orders epoch 1\n"
                    "[330] move.frozen class=orders partition=all from=us final=0/41A\n"
                    "[490] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=move cut=0/41A\n"
                    "[530] eu: opens orders epoch 2\n");
    assert_true(world_receipt(w, "us", "orders", &r));
    assert_string_equal(r.kind, "move");
    assert_string_equal(r.observers, "anna");
    assert_in_range(r.rto_ms, 1, 1000);
    world_free(w);
}

static unsigned dial(struct world *w, const char *seen_by, const char *region)
{
    struct mrd_snapshot *s = w->regions[world_region(w, seen_by)].snapshot;

    return s->regions[mrd_snapshot_region(s, region)].dial_percent;
}

/* Every home leaves for the nearest region, nothing comes back by itself, and failback brings
 * one home when the region may have homes again. */
static void a_drained_region_is_left(void **state)
{
    struct world *w = begin(world_new(18), "ap");
    struct mrd_receipt_record r;
    struct mrd_err err;

    (void)state;
    assert_int_equal(world_drain(w, "mars", true, NULL), MRD_ENOTFOUND);
    assert_int_equal(world_drain(w, "us", false, NULL), MRD_ECONFLICT);
    assert_int_equal(world_drain(w, "us", true, NULL), 0);
    world_run(w, 6000);
    assert_string_equal(world_home(w, "ap", "orders"), "eu");
    assert_string_equal(world_home(w, "ap", "events"), "eu");
    assert_int_equal(w->reconciled, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dial(w, w->config->regions[i].name, "us"), 0);
        assert_int_equal(dial(w, w->config->regions[i].name, "eu"), 100);
    }
    assert_true(world_receipt(w, "us", "orders", &r));
    assert_string_equal(r.observers, "drain by anna");
    assert_int_equal(world_move(w, "orders", "us", &err), MRD_EUNAVAILABLE);
    assert_string_equal(err.text, "region \"us\" is drained");
    assert_int_equal(world_drain(w, "us", false, NULL), 0);
    world_run(w, 5000);
    assert_int_equal(dial(w, "ap", "us"), 100);
    assert_string_equal(world_home(w, "ap", "orders"), "eu");
    assert_int_equal(world_move(w, "orders", NULL, NULL), 0);
    world_run(w, 5000);
    assert_string_equal(world_home(w, "ap", "orders"), "us");
    world_expect_converged(w);
    world_free(w);
}

/* What a failover brings to a drained region moves on, and the last region stays. */
static void a_drained_region_gets_no_homes(void **state)
{
    struct world *w = begin(world_new(19), "ap");
    struct mrd_err err;

    (void)state;
    assert_int_equal(world_drain(w, "eu", true, NULL), 0);
    world_run(w, 1000);
    assert_int_equal(world_drain(w, "ap", true, NULL), 0);
    world_run(w, 1000);
    assert_int_equal(world_drain(w, "us", true, &err), MRD_EUNAVAILABLE);
    assert_string_equal(err.text, "no other region could serve instead of \"us\"");
    world_kill(w, "us");
    world_run(w, 15000);
    assert_true(world_writable(w, world_home(w, "ap", "orders"), "orders"));
    world_start(w, "us");
    world_run(w, 15000);
    assert_string_equal(world_home(w, "ap", "orders"), "us");
    assert_string_equal(world_home(w, "ap", "events"), "us");
    world_expect_converged(w);
    world_free(w);
}

static void target_dies_during_a_move(void **state)
{
    struct world *w = begin(world_new(11), "ap");

    (void)state;
    assert_int_equal(world_move(w, "orders", "eu", NULL), 0);
    world_run(w, 200);
    world_kill(w, "eu");
    world_run(w, 6000);
    world_expect(w, "[120] move.requested class=orders partition=all from=us to=eu "
                    "who=\"anna\"\n"
                    "[160] us: closes orders epoch 1\n"
                    "[200] eu is killed\n"
                    "[330] move.frozen class=orders partition=all from=us final=0/41A\n"
                    "[1630] move.aborted class=orders partition=all from=us to=eu "
                    "why=\"the target is down\"\n"
                    "[1670] us: opens orders epoch 1\n"
                    "[4620] session.expired region=eu session=1 seq=7\n");
    assert_true(world_writable(w, "us", "orders"));
    world_start(w, "eu");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

static void home_dies_during_a_move(void **state)
{
    struct world *w = begin(world_new(12), "ap");

    (void)state;
    assert_int_equal(world_move(w, "orders", "eu", NULL), 0);
    world_run(w, 150);
    world_kill(w, "us");
    world_run(w, 9000);
    world_expect(w, "[120] move.requested class=orders partition=all from=us to=eu "
                    "who=\"anna\"\n"
                    "[150] us is killed\n"
                    "[1640] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[1830] stream.refused origin=us by=ap applied=0/3FC\n"
                    "[2040] stream.refused origin=us by=eu applied=0/3FC\n"
                    "[2130] move.aborted class=orders partition=all from=us to=eu "
                    "why=\"the home failed\"\n"
                    "[2130] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3FC\n"
                    "[2130] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3FC held=yes\n"
                    "[2170] eu: opens orders epoch 2\n"
                    "[4640] session.expired region=us session=1 seq=7\n"
                    "[4780] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_expired\n"
                    "[4820] eu: opens events epoch 2\n"
                    "[4920] failover.done region=us\n");
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

/* Nobody says anything: the verdict asks, and nothing moves. */
static void manual_mode_asks(void **state)
{
    struct world *w = world_new(13);
    enum mrd_health health[MRD_REGIONS_MAX];

    (void)state;
    w->config->failover = MRD_FAILOVER_MANUAL;
    begin(w, "ap");
    world_kill(w, "us");
    world_run(w, 20000);
    world_expect(w, "[0] us is killed\n"
                    "[1640] failover.pending region=us id=0000000000002000 observers=eu,ap "
                    "reason=unreachable needed=1\n"
                    "[4620] session.expired region=us session=1 seq=7\n");
    mrd_health_of(w->config, mrd_memory_store(w->memory, world_region(w, "eu")), health);
    assert_int_equal(health[0], MRD_DOWN);
    assert_int_equal(health[1], MRD_HEALTHY);
    world_start(w, "us");
    world_run(w, 5000);
    assert_true(world_told(w, "failover.withdrawn region=us id=0000000000002000"));
    assert_true(world_writable(w, "us", "orders"));
    assert_int_equal(world_approve(w, "eu", true, "anna", NULL), MRD_ENOTFOUND);
    world_expect_converged(w);
    assert_int_equal(w->reconciled, 0);
    world_free(w);
}

static void an_operator_approves(void **state)
{
    struct world *w = world_new(18);

    (void)state;
    w->config->failover = MRD_FAILOVER_MANUAL;
    begin(w, "ap");
    world_kill(w, "us");
    world_run(w, 10000);
    assert_int_equal(world_approve(w, "eu", true, "anna", NULL), 0);
    world_run(w, 3000);
    assert_true(world_writable(w, "eu", "orders"));
    assert_true(world_writable(w, "eu", "events"));
    world_expect(w, "[0] us is killed\n"
                    "[1640] failover.pending region=us id=0000000000002000 "
                    "observers=eu,ap reason=unreachable needed=1\n"
                    "[4630] session.expired region=us session=1 seq=7\n"
                    "[10120] failover.approved region=us id=0000000000002000 "
                    "who=\"anna\" given=1 needed=1\n"
                    "[10210] failover.started region=us observers=eu,ap "
                    "reason=lease_expired\n"
                    "[10350] stream.refused origin=us by=ap applied=0/3C0\n"
                    "[10660] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[10750] authority.granted class=orders partition=all region=eu "
                    "epoch=2 prev=us reason=failover cut=0/3C0\n"
                    "[10750] authority.granted class=events partition=all region=eu "
                    "epoch=2 prev=us reason=failover cut=0/3C0\n"
                    "[10790] eu: opens orders epoch 2\n"
                    "[10790] eu: opens events epoch 2\n"
                    "[10890] failover.done region=us\n");
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

/* Rejected, it is not asked again while us stays silent; the next verdict asks anew. */
static void an_operator_rejects(void **state)
{
    struct world *w = world_new(19);
    struct mrd_err err = {0};

    (void)state;
    w->config->failover = MRD_FAILOVER_MANUAL;
    begin(w, "ap");
    world_kill(w, "us");
    world_run(w, 3000);
    assert_int_equal(world_approve(w, "eu", false, "anna", NULL), 0);
    world_run(w, 500);
    assert_int_equal(world_approve(w, "eu", false, "ben", &err), MRD_ECONFLICT);
    assert_string_equal(err.text, "\"anna\" has rejected it already");
    world_run(w, 20000);
    assert_false(world_writable(w, "eu", "orders"));
    world_start(w, "us");
    world_run(w, 3000);
    assert_true(world_writable(w, "us", "orders"));
    world_tell(w);
    world_kill(w, "us");
    world_run(w, 3000);
    assert_true(world_told(w, "failover.pending region=us"));
    /* And what was rejected may be approved after all. */
    assert_int_equal(world_approve(w, "eu", false, "anna", NULL), 0);
    world_run(w, 5000);
    assert_int_equal(world_approve(w, "eu", true, "ben", NULL), 0);
    world_run(w, 8000);
    assert_true(world_writable(w, "eu", "events"));
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

static void two_operators_must_approve(void **state)
{
    struct world *w = world_new(20);
    struct mrd_err err = {0};

    (void)state;
    w->config->failover = MRD_FAILOVER_TWO_PERSON;
    begin(w, "ap");
    world_kill(w, "us");
    world_run(w, 6000);
    assert_int_equal(world_approve(w, "eu", true, "anna", NULL), 0);
    world_run(w, 500);
    assert_int_equal(world_approve(w, "ap", true, "anna", &err), MRD_ECONFLICT);
    assert_string_equal(err.text, "\"anna\" has approved it already");
    world_run(w, 5000);
    assert_false(world_told(w, "failover.started"));
    assert_int_equal(world_approve(w, "ap", true, "ben", NULL), 0);
    world_run(w, 3000);
    assert_true(world_told(w, "failover.approved region=us id=0000000000002000 who=\"ben\" "
                              "given=2 needed=2"));
    assert_true(world_writable(w, "eu", "orders"));
    world_free(w);
}

/* orders may only live in us: it stays unavailable for writes, says so, and comes back. */
static void residency_leaves_it_vacant(void **state)
{
    struct world *w = world_new(14);

    (void)state;
    w->config->classes[0].replicas = w->config->classes[0].allowed = 1;
    begin(w, "ap");
    world_kill(w, "us");
    world_run(w, 9000);
    assert_string_equal(world_home(w, "eu", "orders"), "");
    world_start(w, "us");
    world_run(w, 3000);
    assert_true(world_writable(w, "us", "orders"));
    world_expect_converged(w);
    world_expect(w, "[0] us is killed\n"
                    "[1640] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[1780] authority.vacated class=orders partition=all prev=us epoch=1 "
                    "why=\"no other region than \"us\" may hold it\"\n"
                    "[1970] stream.refused origin=us by=ap applied=0/3C0\n"
                    "[2230] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[2320] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0 held=yes\n"
                    "[4630] session.expired region=us session=1 seq=7\n"
                    "[4770] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_expired\n"
                    "[4810] eu: opens events epoch 2\n"
                    "[4910] failover.done region=us\n"
                    "[9000] us is started\n"
                    "[9730] authority.resumed class=orders partition=all region=us epoch=1\n"
                    "[9840] us: opens orders epoch 1\n"
                    "[10010] receipt.final id=0000000000002001 class=events partition=all "
                    "from=us to=eu tail_transactions=1 tail_rows=1\n");
    world_free(w);
}

/* Two data regions and a witness: the witness votes and never takes anything. */
static void witness_votes(void **state)
{
    struct world *w = world_new(15);

    (void)state;
    w->config->regions[2].witness = true;
    for (unsigned i = 0; i < 2; i++) {
        w->config->classes[i].replicas = w->config->classes[i].allowed = 3;
    }
    begin(w, "ap");
    world_kill(w, "us");
    world_run(w, 9000);
    assert_true(world_writable(w, "eu", "orders"));
    world_expect(w, "[0] us is killed\n"
                    "[1640] failover.started region=us observers=eu,ap reason=unreachable\n"
                    "[1850] stream.refused origin=us by=eu applied=0/3C0\n"
                    "[1940] authority.granted class=orders partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0\n"
                    "[1940] authority.granted class=events partition=all region=eu epoch=2 "
                    "prev=us reason=failover cut=0/3C0 held=yes\n"
                    "[1980] eu: opens orders epoch 2\n"
                    "[4670] session.expired region=us session=1 seq=7\n"
                    "[4780] authority.released class=events partition=all region=eu "
                    "epoch=2 prev=us reason=lease_expired\n"
                    "[4820] eu: opens events epoch 2\n"
                    "[4920] failover.done region=us\n");
    world_start(w, "us");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

/* r1 may not be home and is ahead: r2 takes over and fetches from r1 what it lacks. */
static void successor_is_rescued_by_who_has_more(void **state)
{
    struct world *w = world_new_n(5, 16);

    (void)state;
    w->config->classes[0].allowed = (mrd_regions)~2u & 31u;
    begin(w, "r4");
    /* r2, r3 and r4 hear nothing more of r0 while r1 still does. */
    world_cut(w, "r0", "r2");
    world_cut(w, "r0", "r3");
    world_cut(w, "r0", "r4");
    world_run(w, 300);
    world_kill(w, "r0");
    world_run(w, 9000);
    assert_true(world_writable(w, "r2", "orders"));
    world_expect(w, "[300] r0 is killed\n"
                    "[1660] failover.started region=r0 observers=r1,r2,r3 "
                    "reason=unreachable\n"
                    "[1850] stream.refused origin=r0 by=r4 applied=0/3C0\n"
                    "[2060] stream.refused origin=r0 by=r1 applied=0/438\n"
                    "[2220] stream.refused origin=r0 by=r2 applied=0/3C0\n"
                    "[2380] stream.refused origin=r0 by=r3 applied=0/3C0\n"
                    "[2470] authority.granted class=orders partition=all region=r2 epoch=2 "
                    "prev=r0 reason=failover cut=0/438\n"
                    "[2470] authority.granted class=events partition=all region=r1 epoch=2 "
                    "prev=r0 reason=failover cut=0/438 held=yes\n"
                    "[2560] r2: opens orders epoch 2\n"
                    "[4590] session.expired region=r0 session=1 seq=7\n"
                    "[4700] authority.released class=events partition=all region=r1 "
                    "epoch=2 prev=r0 reason=lease_expired\n"
                    "[4740] r1: opens events epoch 2\n"
                    "[4840] failover.done region=r0\n");
    world_heal(w);
    world_start(w, "r0");
    world_run(w, 5000);
    world_expect_converged(w);
    world_free(w);
}

/* eu has every position and not every row (a copy is still to be made): it is passed over, and
 * a move to it waits until it has them. */
static void who_lacks_rows_is_no_home(void **state)
{
    struct world *w = world_new(17);
    unsigned eu = world_region(w, "eu");
    unsigned orders;

    (void)state;
    begin(w, "ap");
    orders = (unsigned)mrd_partition_index(w->config, "orders", "all");
    mrd_set_lacks(&w->regions[eu].local.report, orders, true);
    world_run(w, 1000);
    assert_int_equal(world_move(w, "orders", "eu", NULL), 0);
    world_run(w, 1000);
    assert_string_equal(world_home(w, "ap", "orders"), "us");
    mrd_set_lacks(&w->regions[eu].local.report, orders, false);
    world_run(w, 3000);
    assert_string_equal(world_home(w, "ap", "orders"), "eu");

    mrd_set_lacks(&w->regions[world_region(w, "us")].local.report, orders, true);
    world_run(w, 1000);
    world_kill(w, "eu");
    world_run(w, 9000);
    assert_string_equal(world_home(w, "ap", "orders"), "ap");
    assert_string_equal(world_home(w, "ap", "events"), "us");
    world_free(w);
}

/* ---- requests that are refused ---- */

static void move_requests_are_refused_with_reasons(void **state)
{
    static const struct {
        const char *name, *class_name, *to;
        int rc;
        const char *text;
    } rows[] = {
        {"no such class", "ordres", "eu", MRD_ENOTFOUND, "there is no class \"ordres\""},
        {"no such region", "orders", "mars", MRD_ENOTFOUND, "there is no region \"mars\""},
        {"already there", "orders", "us", MRD_ECONFLICT,
         "orders/all already has its home in \"us\""},
        {"not live", "orders", "ap", MRD_EUNAVAILABLE, "region \"ap\" is not live"},
        {"no copy", "events", "ap", MRD_EINVAL,
         "region \"ap\" holds no copy of class \"events\""},
        {"not allowed", "events", "eu", MRD_EINVAL,
         "class \"events\" may not have its home in region \"eu\""},
    };
    struct world *w = world_new(17);

    (void)state;
    w->config->classes[1].replicas = 3;
    w->config->classes[1].allowed = 1;
    begin(w, "eu");
    world_kill(w, "ap");
    world_run(w, 6000);
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_err err = {0};
        ROW(rows[i].name);
        assert_int_equal(world_move(w, rows[i].class_name, rows[i].to, &err), rows[i].rc);
        assert_string_equal(err.text, rows[i].text);
        assert_true(err.hint[0] != '\0');
    }
    assert_int_equal(world_move(w, "orders", "eu", NULL), 0);
    world_run(w, 200);
    assert_int_equal(world_move(w, "orders", "eu", NULL), MRD_ECONFLICT);
    world_free(w);
}

/* ---- the lease, step by step ---- */

static struct mrd_config *lone_config(void)
{
    static struct mrd_config c;

    memset(&c, 0, sizeof(c));
    c.region_count = 1;
    snprintf(c.regions[0].name, MRD_NAME_MAX, "us");
    c.lease_ms = 4000;
    c.lease_margin_ms = 500;
    c.renew_ms = 500;
    return &c;
}

struct lone {
    struct mrd_config *config;
    struct mrd_store *store;
    struct mrd_region_state region;
    struct mrd_local local;
    struct mrd_proposal p;
};

#define T(ms) ((mrd_boot_ns)(ms)*1000000u)

static void lone_canary(struct lone *l, mrd_boot_ns now_ns)
{
    l->local.canary_ok = true;
    l->local.canary_ns = now_ns;
    l->local.report.wal_lsn = now_ns;
}

static bool lone_step(struct lone *l, mrd_boot_ns now_ns)
{
    mrd_region_step(&l->region, l->config, l->store, &l->local, now_ns, 0, &l->p);
    return l->p.wanted;
}

/* Commit what was proposed, seen by the region at @now_ns. */
static int lone_commit(struct lone *l, const struct mrd_proposal *p, mrd_boot_ns now_ns)
{
    struct mrd_entry e;
    int rc = mrd_store_apply(l->store, &p->txn, NULL);

    if (rc == 0 && mrd_store_get(l->store, "session/us", &e) == 0) {
        mrd_region_observe(&l->region, l->config, &e, now_ns);
    }
    return rc;
}

static struct lone *lone_new(void)
{
    struct lone *l = calloc(1, sizeof(*l));

    l->config = lone_config();
    l->store = mrd_store_new();
    return l;
}

static void lone_free(struct lone *l)
{
    mrd_store_free(l->store);
    free(l);
}

static void lease_counts_from_before_the_renewal_was_sent(void **state)
{
    struct lone *l = lone_new();

    (void)state;
    assert_false(lone_step(l, T(1000))); /* no canary, no session */
    lone_canary(l, T(1010));
    assert_true(lone_step(l, T(1020)));
    assert_int_equal(lone_commit(l, &l->p, T(1100)), 0);
    assert_int_equal(l->region.session, 1);
    assert_int_equal(l->region.deadline_ns, 0); /* opening grants nothing */
    assert_true(lone_step(l, T(1110)));
    assert_int_equal(lone_commit(l, &l->p, T(3000)), 0);
    assert_int_equal(l->region.deadline_ns, T(1110 + 4000));
    lone_free(l);
}

static void no_renewal_without_a_fresh_canary(void **state)
{
    struct lone *l = lone_new();

    (void)state;
    lone_canary(l, T(1000));
    assert_true(lone_step(l, T(1010)));
    lone_commit(l, &l->p, T(1020));
    assert_true(lone_step(l, T(1030)));
    lone_commit(l, &l->p, T(1040));
    assert_false(lone_step(l, T(2000))); /* the canary is older than the last renewal */
    lone_canary(l, T(2010));
    l->local.canary_ok = false;
    assert_false(lone_step(l, T(2020)));
    l->local.canary_ok = true;
    assert_true(lone_step(l, T(2030)));
    lone_commit(l, &l->p, T(2040));
    lone_canary(l, T(2050));
    assert_false(lone_step(l, T(5000))); /* half a lease old: says nothing about now */
    lone_free(l);
}

static void an_abandoned_renewal_cannot_pass_for_a_later_one(void **state)
{
    struct lone *l = lone_new();
    struct mrd_proposal *lost = calloc(1, sizeof(*lost));

    (void)state;
    lone_canary(l, T(1000));
    assert_true(lone_step(l, T(1010)));
    lone_commit(l, &l->p, T(1020));
    mrd_region_step(&l->region, l->config, l->store, &l->local, T(1030), 0, lost);
    assert_true(lost->wanted);
    mrd_region_abandon(&l->region, l->region.pending_seq, 0);
    lone_canary(l, T(1500));
    assert_true(lone_step(l, T(2000))); /* the second attempt, based on the same state */
    assert_int_equal(lone_commit(l, lost, T(2100)), 0); /* the first one arrives after all */
    assert_true(l->region.deadline_ns < T(2000 + 4000));
    assert_int_equal(lone_commit(l, &l->p, T(2200)), MRD_ECONFLICT);
    free(lost);
    lone_free(l);
}

static void expiry_loses_against_a_renewal(void **state)
{
    struct lone *l = lone_new();
    struct mrd_coordinator c = {0};
    struct mrd_proposal *expire = calloc(1, sizeof(*expire));
    struct mrd_entry e;

    (void)state;
    mrd_coordinator_lead(&c, true, T(1));
    lone_canary(l, T(1000));
    lone_step(l, T(1010));
    lone_commit(l, &l->p, T(1020));
    assert_int_equal(mrd_store_get(l->store, "session/us", &e), 0);
    mrd_coordinator_observe(&c, l->config, &e, T(1030));
    mrd_coordinator_step(&c, l->config, l->store, T(1030 + 4499), 0, expire);
    assert_false(expire->wanted);
    mrd_coordinator_step(&c, l->config, l->store, T(1030 + 4500), 0, expire);
    assert_true(expire->wanted);
    assert_string_equal(expire->what, "event=session.expired region=us session=1 seq=0");
    lone_canary(l, T(5500));
    assert_true(lone_step(l, T(5510)));
    assert_int_equal(lone_commit(l, &l->p, T(5520)), 0);
    assert_int_equal(mrd_store_apply(l->store, &expire->txn, NULL), MRD_ECONFLICT);
    free(expire);
    lone_free(l);
}

static void an_expired_session_never_revives(void **state)
{
    struct lone *l = lone_new();
    struct mrd_coordinator c = {0};

    (void)state;
    mrd_coordinator_lead(&c, true, T(1));
    lone_canary(l, T(1000));
    lone_step(l, T(1010));
    lone_commit(l, &l->p, T(1020));
    lone_step(l, T(1030));
    lone_commit(l, &l->p, T(1040));
    mrd_coordinator_step(&c, l->config, l->store, T(2000), 0, &l->p); /* sees it only now */
    assert_false(l->p.wanted);
    mrd_coordinator_step(&c, l->config, l->store, T(6500), 0, &l->p);
    assert_true(l->p.wanted);
    assert_int_equal(lone_commit(l, &l->p, T(6510)), 0);
    assert_int_equal(l->region.session, 0);
    assert_int_equal(l->region.deadline_ns, 0);
    lone_canary(l, T(7000));
    assert_true(lone_step(l, T(7010)));
    lone_commit(l, &l->p, T(7020));
    assert_int_equal(l->region.session, 2);
    assert_int_equal(l->region.deadline_ns, 0);
    lone_free(l);
}

static void a_record_that_cannot_be_read_is_left_alone(void **state)
{
    struct lone *l = lone_new();
    struct mrd_txn *txn = calloc(1, sizeof(*txn));

    (void)state;
    txn->put_count = 1;
    snprintf(txn->puts[0].key, MRD_KEY_MAX, "session/us");
    txn->puts[0].value = (const uint8_t *)"\x09garbage";
    txn->puts[0].len = 8;
    assert_int_equal(mrd_store_apply(l->store, txn, NULL), 0);
    lone_canary(l, T(1000));
    assert_false(lone_step(l, T(1010)));
    free(txn);
    lone_free(l);
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
        cmocka_unit_test(planned_move),
        cmocka_unit_test(a_drained_region_is_left),
        cmocka_unit_test(a_drained_region_gets_no_homes),
        cmocka_unit_test(target_dies_during_a_move),
        cmocka_unit_test(home_dies_during_a_move),
        cmocka_unit_test(manual_mode_asks),
        cmocka_unit_test(an_operator_approves),
        cmocka_unit_test(an_operator_rejects),
        cmocka_unit_test(two_operators_must_approve),
        cmocka_unit_test(residency_leaves_it_vacant),
        cmocka_unit_test(witness_votes),
        cmocka_unit_test(successor_is_rescued_by_who_has_more),
        cmocka_unit_test(who_lacks_rows_is_no_home),
        cmocka_unit_test(move_requests_are_refused_with_reasons),
        cmocka_unit_test(lease_counts_from_before_the_renewal_was_sent),
        cmocka_unit_test(no_renewal_without_a_fresh_canary),
        cmocka_unit_test(an_abandoned_renewal_cannot_pass_for_a_later_one),
        cmocka_unit_test(expiry_loses_against_a_renewal),
        cmocka_unit_test(an_expired_session_never_revives),
        cmocka_unit_test(a_record_that_cannot_be_read_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
