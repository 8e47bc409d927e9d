/*
 * A failover went on without a replica that was down: until that has compared what it holds
 * with the cut, it is home of nothing (core/src/copies.c, mrdi_uncompared).
 */
#include "desk.h"

/* us was lost, eu went on from its epoch 1, and ap, which was down then, has not compared. */
static void ap_was_away(struct desk *d, const char *class_name, bool compared)
{
    struct mrd_authority_record a;

    desk_after_failover(d, class_name, true);
    desk_put_taken(d, class_name, 2, 0x310);
    desk_get_authority(d, class_name, &a);
    a.history[0].unfenced = compared ? 0 : 1u << AP;
    desk_put_authority(d, class_name, &a);
}

/* Then eu dies, too. ap is furthest, and holds rows that perhaps nobody else has. */
static void a_replica_that_was_away_is_not_home_before_it_has_compared(void **state)
{
    static const struct {
        const char *name;
        bool compared;
        bool others; /* r3 may be home as well */
        const char *end;
    } rows[] = {
        {"not compared: another one is preferred", false, true,
         "authority.granted class=events partition=all region=r3 epoch=3 prev=eu "
         "reason=failover cut=0/320 unfenced=us held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=r3 epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"not compared, and nobody else", false, false,
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"\"ap\" may hold "
         "more than counts, and nobody else can take it\"\nfailover.done region=eu\n"
         "session.expired region=eu session=1 seq=2\n"},
        {"compared", true, true,
         "authority.granted class=events partition=all region=ap epoch=3 prev=eu "
         "reason=failover cut=0/320 unfenced=us held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=ap epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(4);
        const unsigned alive = 1u << AP | 1u << 3;
        const char *end;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        d->config.classes[0].allowed =
            (mrd_regions)(1u << US | 1u << EU | 1u << AP | (rows[i].others ? 1u << 3 : 0));
        ap_was_away(d, "events", rows[i].compared);
        desk_lose(d, EU, alive);
        desk_pass(d, 1800, alive);
        if (strstr(d->said, "vacated") == NULL) {
            desk_refuse(d, AP, EU, 0x320);
            desk_refuse(d, 3, EU, 0x310);
        }
        desk_pass(d, 6000, alive);
        end = strstr(d->said, "authority.");
        if (end == NULL || strcmp(end, rows[i].end) != 0) {
            fail_msg("said:\n%s", d->said);
        }
        desk_free(d);
    }
}

/* A planned move there is refused, and ap is not read as if it had what the others have. */
static void a_move_is_refused_until_the_target_has_compared(void **state)
{
    struct desk *d = desk_new(3);
    enum mrd_health health[MRD_REGIONS_MAX];
    struct mrd_authority_record a;
    char why[MRD_WHY_MAX];
    struct mrd_err err = {0};

    (void)state;
    ONLY_EVENTS(d);
    ap_was_away(d, "events", false);
    mrd_health_of(&d->config, d->store, health);
    assert_int_equal(health[AP], MRD_RECOVERING);
    mrd_health_why(&d->config, d->store, AP, why);
    assert_string_equal(why, "it may hold more of events/all than counts");
    assert_int_equal(mrd_move_request(&d->config, d->store, "events", NULL, "ap", "anna",
                                      d->now_ms, &d->proposal, &err),
                     MRD_EUNAVAILABLE);
    assert_string_equal(
        err.text,
        "region \"ap\" may hold more of events/all than counts, and is still copying it");
    desk_get_authority(d, "events", &a);
    assert_int_equal(a.state, MRD_AUTH_OPEN);
    a.history[0].unfenced = 0;
    desk_put_authority(d, "events", &a);
    assert_int_equal(mrd_move_request(&d->config, d->store, "events", NULL, "ap", "anna",
                                      d->now_ms, &d->proposal, &err),
                     0);
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    desk_get_authority(d, "events", &a);
    assert_int_equal(a.state, MRD_AUTH_FROZEN);
    desk_free(d);
}

/* ap takes itself out when its database has looked at every cut and holds what the others do.
 */
static void a_replica_says_when_it_has_compared(void **state)
{
    static const struct {
        const char *name;
        mrd_epoch compared; /* epochs before this one */
        bool lacks;
        mrd_session session;
        bool says;
    } rows[] = {
        {"its database has not looked", 0, false, 1, false},
        {"it looked before it knew of the cut", 1, false, 1, false},
        {"it looked, and the copy is not made", 2, true, 1, false},
        {"without a session", 2, false, 0, false},
        {"it holds what counts", 2, false, 1, true},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_region_state ap = {.self = AP, .session = rows[i].session};
        struct mrd_local *local = calloc(1, sizeof(*local));
        struct mrd_authority_record a;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        ap_was_away(d, "events", false);
        local->report = d->sessions[AP];
        local->compared_epoch[0] = rows[i].compared;
        mrd_set_lacks(&local->report, 0, rows[i].lacks);
        mrd_region_step(&ap, &d->config, d->store, local, d->now_ms * 1000000, 9, &d->proposal);
        if (d->proposal.wanted) {
            assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
        }
        desk_expect(d, rows[i].says
                           ? "replica.compared class=events partition=all region=ap epoch=1\n"
                           : "");
        desk_get_authority(d, "events", &a);
        assert_int_equal(a.history[0].unfenced, rows[i].says ? 0 : 1u << AP);
        assert_int_equal(a.epoch, 2);
        free(local);
        desk_free(d);
    }
}

/*
 * What a replica that nobody asked had acknowledged in a quorum class lies before the cut,
 * because another one has it that was asked; and without enough of those there is no cut.
 */
static void acknowledgements_of_who_was_away_are_not_lost(void **state)
{
    struct desk *d = desk_new(5);
    const unsigned alive = 1u << EU | 1u << 3 | 1u << 4;

    (void)state;
    d->config.class_count = 1; /* orders: two of four acknowledge, three must refuse */
    d->sessions[AP].expired = true;
    d->sessions[AP].expired_ms = 1;
    desk_renew(d, AP);
    desk_lose(d, US, alive);
    desk_pass(d, 1800, alive);
    desk_refuse(d, EU, US, 0x100);
    desk_refuse(d, 3, US, 0x180); /* with ap it acknowledged this */
    d->said_len = 0;
    d->said[0] = '\0';
    desk_pass(d, 1500, alive);
    desk_expect(d, "");
    desk_refuse(d, 4, US, 0x100);
    desk_pass(d, 300, alive);
    desk_expect(d, "authority.granted class=orders partition=all region=r3 epoch=2 prev=us "
                   "reason=failover cut=0/180 unfenced=ap\nfailover.done region=us\n");
    desk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_that_was_away_is_not_home_before_it_has_compared),
        cmocka_unit_test(a_move_is_refused_until_the_target_has_compared),
        cmocka_unit_test(a_replica_says_when_it_has_compared),
        cmocka_unit_test(acknowledgements_of_who_was_away_are_not_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
