/*
 * Stories of the small world (tests/lib/world.h): planned moves and drains.
 *
 * What operators read, to the millisecond. Three regions, 40 ms apart, home us, unless a story
 * says otherwise; clients write every 50 ms wherever the guard lets them. The laws of the world
 * are checked on every tick, and most stories end by checking that everything acknowledged is
 * accounted for.
 */
#include "unit.h"

#include "world.h"

static void planned_move(void **state)
{
    struct world *w = world_begin(world_new(10), "ap");
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
    struct world *w = world_begin(world_new(18), "ap");
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
    struct world *w = world_begin(world_new(19), "ap");
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
    struct world *w = world_begin(world_new(11), "ap");

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
    struct world *w = world_begin(world_new(12), "ap");

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
    world_begin(w, "eu");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_move),
        cmocka_unit_test(a_drained_region_is_left),
        cmocka_unit_test(a_drained_region_gets_no_homes),
        cmocka_unit_test(target_dies_during_a_move),
        cmocka_unit_test(home_dies_during_a_move),
        cmocka_unit_test(move_requests_are_refused_with_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
