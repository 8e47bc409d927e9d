/*
 * Stories of the small world (tests/lib/world.h): modes in which a verdict asks.
 *
 * What operators read, to the millisecond. Three regions, 40 ms apart, home us, unless a story
 * says otherwise; clients write every 50 ms wherever the guard lets them. The laws of the world
 * are checked on every tick, and most stories end by checking that everything acknowledged is
 * accounted for.
 */
#include "unit.h"

#include "world.h"

/* Nobody says anything: the verdict asks, and nothing moves. */
static void manual_mode_asks(void **state)
{
    struct world *w = world_new(13);
    enum mrd_health health[MRD_REGIONS_MAX];

    (void)state;
    w->config->failover = MRD_FAILOVER_MANUAL;
    world_begin(w, "ap");
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
    world_begin(w, "ap");
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
    world_begin(w, "ap");
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
    world_begin(w, "ap");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manual_mode_asks),
        cmocka_unit_test(an_operator_approves),
        cmocka_unit_test(an_operator_rejects),
        cmocka_unit_test(two_operators_must_approve),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
