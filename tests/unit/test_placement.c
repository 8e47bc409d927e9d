/*
 * Stories of the small world (tests/lib/world.h): who may take over, who votes, and who helps.
 *
 * What operators read, to the millisecond. Three regions, 40 ms apart, home us, unless a story
 * says otherwise; clients write every 50 ms wherever the guard lets them. The laws of the world
 * are checked on every tick, and most stories end by checking that everything acknowledged is
 * accounted for.
 */
#include "unit.h"

#include "world.h"

/* orders may only live in us: it stays unavailable for writes, says so, and comes back. */
static void residency_leaves_it_vacant(void **state)
{
    struct world *w = world_new(14);

    (void)state;
    w->config->classes[0].replicas = w->config->classes[0].allowed = 1;
    world_begin(w, "ap");
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
    world_begin(w, "ap");
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
    world_begin(w, "r4");
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
    world_begin(w, "ap");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(residency_leaves_it_vacant),
        cmocka_unit_test(witness_votes),
        cmocka_unit_test(successor_is_rescued_by_who_has_more),
        cmocka_unit_test(who_lacks_rows_is_no_home),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
