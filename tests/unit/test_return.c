/*
 * A region that was replaced comes back: when it may take part, and that it is no home again
 * before its lost tail is repaired.
 */
#include "desk.h"

static int stream_at(struct desk *d, unsigned self, unsigned origin)
{
    static struct mrd_snapshot s;
    static struct mrd_local local;
    struct mrd_region_state r = {.self = (mrd_region)self};

    mrd_region_snapshot(&r, &d->config, d->store, &local, d->now_ms * 1000000, d->now_ms, &s);
    return s.regions[origin].stream;
}

/*
 * us was replaced and has not come back with that knowledge. A second failover begins, because
 * something can be taken now that could not before, and is cancelled: us lives. The first one
 * still stands, and so does what the others refuse.
 */
static void a_cancelled_failover_leaves_the_one_before_in_force(void **state)
{
    struct desk *d = desk_new(3);
    struct mrd_failover_record first = {0x500,         0, "us", 1, 1, MRD_FAILOVER_DONE, 6,
                                        "unreachable", 1, 2};
    struct mrd_region_state us = {.self = US, .session = 1};
    struct mrd_local local = {.canary_ok = true};

    (void)state;
    desk_put_authority(
        d, "orders",
        &(struct mrd_authority_record){
            .last_region = "us", .epoch = 1, .state = MRD_AUTH_VACANT, .why = "x"});
    desk_put_authority(
        d, "events",
        &(struct mrd_authority_record){.region = "eu", .epoch = 2, .state = MRD_AUTH_OPEN});
    PUT(d, "failover/us", mrd_failover_record_encode, &first);
    assert_int_equal(stream_at(d, EU, US), MRD_STREAM_REFUSE);
    desk_lose(d, US, 6);
    desk_pass(d, 1800, 6);
    desk_expect(d, "failover.started region=us observers=eu,ap reason=successor\n");
    desk_renew(d, US);
    desk_step(d);
    desk_expect(d, "failover.cancelled region=us\n");
    assert_int_equal(stream_at(d, EU, US), MRD_STREAM_REFUSE);

    /* It opens a session that knows of the first one, and its stream runs again. */
    local.report = d->sessions[US];
    assert_true(desk_opens(d, &us, &local, 1, true));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_int_equal(stream_at(d, EU, US), MRD_STREAM_RUN);
    desk_free(d);
}

/* Its position says that nothing more of the old epochs can come, so nothing more can. */
static void a_replaced_region_returns_when_its_commits_have_ended(void **state)
{
    static const struct {
        const char *name;
        unsigned after_ms;
        bool settled, returns;
    } rows[] = {
        {"all have ended", 1, true, true},
        {"one is past its last check", 1, false, false},
        {"all had, before the region knew that it was replaced", 0, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk *d = desk_new(3);
        struct mrd_failover_record f = {0x500,         0, "us", 1, 1, MRD_FAILOVER_DONE, 6,
                                        "unreachable", 1, 2};
        struct mrd_region_state us = {.self = US, .session = 1};
        struct mrd_local local = {.canary_ok = true};
        PUT(d, "failover/us", mrd_failover_record_encode, &f);
        desk_renew(d, US);
        local.report = d->sessions[US];
        if (desk_opens(d, &us, &local, rows[i].after_ms, rows[i].settled) != rows[i].returns) {
            fail_msg("%s", rows[i].name);
        }
        desk_free(d);
    }
}

/*
 * us came back with a lost tail, and eu, its successor, dies: ap lives or not. us holds rows
 * that nobody else has, unless eu's repair of them lies before the cut.
 */
static void a_home_that_lost_writes_is_not_home_again_before_they_are_repaired(void **state)
{
    static const struct {
        const char *name;
        mrd_epoch epoch;
        mrd_lsn lsn;     /* where eu repaired it */
        unsigned others; /* who lives besides us */
        const char *end;
        bool stranger; /* r3 has no copy, and is further than all who have */
    } rows[] = {
        {"not repaired: the other one is preferred, though us is as far", 0, 0, 1u << AP,
         "authority.granted class=events partition=all region=ap epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=ap epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n",
         false},
        {"repaired before the cut: us is first in the configuration", 2, 0x310, 1u << AP,
         "authority.granted class=events partition=all region=us epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=us epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n",
         false},
        {"repaired past the cut, which counts nowhere", 2, 0x311, 1u << AP,
         "authority.granted class=events partition=all region=ap epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=ap epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n",
         false},
        {"not repaired, and nobody else", 0, 0, 0,
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" lost "
         "is not repaired there, and nobody else can take it\"\nfailover.done region=eu\n"
         "session.expired region=eu session=1 seq=2\n",
         false},
        {"repaired past the cut, and nobody else", 2, 0x311, 0,
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" lost "
         "is not repaired there, and nobody else can take it\"\nfailover.done region=eu\n"
         "session.expired region=eu session=1 seq=2\n",
         false},
        {"repaired past the cut; who has no copy came further, and is not asked", 2, 0x311, 0,
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" lost "
         "is not repaired there, and nobody else can take it\"\nfailover.done region=eu\n"
         "session.expired region=eu session=1 seq=2\n",
         true},
        {"repaired before the cut, and nobody else", 2, 0x310, 0,
         "authority.granted class=events partition=all region=us epoch=3 prev=eu "
         "reason=failover cut=0/310 held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=us epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n",
         false},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(4); /* r3 votes, and may not be home */
        unsigned alive = 1u << US | 1u << 3 | rows[i].others;
        const char *end;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        d->config.classes[0].allowed = (mrd_regions)(1u << US | 1u << EU | rows[i].others);
        alive |= 1u << AP;
        if (rows[i].stranger) {
            d->config.classes[0].replicas = 1u << US | 1u << EU | 1u << AP;
        }
        desk_after_failover(d, "events", true);
        desk_put_taken(d, "events", rows[i].epoch, rows[i].lsn);
        desk_us_is_back(d);
        desk_lose(d, EU, alive);
        desk_pass(d, 1800, alive);
        if (strstr(d->said, "vacated") == NULL) {
            desk_refuse(d, US, EU, 0x310);
            desk_refuse(d, AP, EU, 0x310);
            desk_refuse(d, 3, EU, rows[i].stranger ? 0x320 : 0x300);
        }
        desk_pass(d, 6000, alive);
        end = strstr(d->said, "authority.");
        if (end == NULL || strcmp(end, rows[i].end) != 0) {
            fail_msg("said:\n%s", d->said);
        }
        /* What is vacant is not asked about again and again. */
        d->said_len = 0;
        d->said[0] = '\0';
        desk_pass(d, 3000, alive);
        desk_expect(d, "");
        desk_free(d);
    }
}

/* A planned move to us waits, with the home open, and ends when that takes too long. */
static void a_move_waits_until_the_target_is_repaired(void **state)
{
    static const bool repaired[] = {true, false};

    (void)state;
    for (size_t i = 0; i < ROWS(repaired); i++) {
        struct desk *d = desk_new(3);
        struct mrd_authority_record a;

        ONLY_EVENTS(d);
        desk_after_failover(d, "events", true);
        desk_put_taken(d, "events", 0, 0);
        desk_us_is_back(d);
        assert_int_equal(mrd_move_request(&d->config, d->store, "events", NULL, "us", "anna",
                                          d->now_ms, &d->proposal, NULL),
                         0);
        assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
        desk_pass(d, 20000, 7);
        desk_expect(d,
                    "move.requested class=events partition=all from=eu to=us who=\"anna\"\n");
        desk_get_authority(d, "events", &a);
        assert_int_equal(a.state, MRD_AUTH_OPEN);
        if (repaired[i]) {
            desk_put_taken(d, "events", 2, 0x310);
            desk_pass(d, 100, 7);
            desk_get_authority(d, "events", &a);
            assert_int_equal(a.state, MRD_AUTH_FROZEN);
            desk_pass(d, 25000, 7); /* each step gets the whole bound */
            desk_expect(d, "");
        } else {
            desk_pass(d, 15000, 7);
            desk_expect(d, "move.aborted class=events partition=all from=eu to=us "
                           "why=\"what only the target has was not repaired there in time\"\n");
            desk_get_authority(d, "events", &a);
            assert_int_equal(a.state, MRD_AUTH_OPEN);
        }
        desk_free(d);
    }
}

/*
 * eu counts us's tail at once, and says that it is repaired when it is. When eu was replaced
 * before that counted, its successor says so again, and the receipt stays as it was else.
 */
static void the_home_says_when_a_tail_is_repaired(void **state)
{
    static const struct {
        const char *name;
        unsigned unrepaired;
        mrd_epoch was_epoch; /* taken before */
        mrd_lsn was_lsn;
        bool wanted;
        mrd_epoch epoch;
        mrd_lsn lsn;
    } rows[] = {
        {"some rows are not yet sent", 1, 0, 0, false, 0, 0},
        {"all are", 0, 0, 0, true, 3, 0x700},
        {"the home before did it, and it counts", 0, 2, 0x400, false, 2, 0x400},
        {"the home before did it in vain", 0, 2, 0x401, true, 3, 0x700},
        {"in vain, and not yet again", 2, 2, 0x401, false, 2, 0x401},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_region_state ap = {.self = AP, .session = 1};
        struct mrd_local *local = calloc(1, sizeof(*local));
        struct mrd_receipt_record r;
        struct mrd_duty duties[MRD_PARTITIONS_MAX];
        struct mrd_authority_record a;
        struct mrd_entry e;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        desk_after_failover(d, "events", true);
        desk_get_authority(d, "events", &a);
        snprintf(a.region, MRD_NAME_MAX, "ap");
        a.epoch = 3;
        a.history_count = 2;
        a.history[1] =
            (struct mrd_closed_record){2, "eu", 0x400, 1, 1, "failover", 0x500, 0, 1};
        desk_put_authority(d, "events", &a);
        desk_put_taken(d, "events", rows[i].was_epoch, rows[i].was_lsn);
        desk_us_is_back(d);
        local->report = d->sessions[AP];
        local->report.peers[US].applied_lsn = 0x280;
        local->opened_epoch[0] = 3;
        local->through_lsn = 0x700;
        local->tail[0] = (struct mrd_tail_count){1, 9, 9, 9, rows[i].unrepaired};
        mrd_region_duties(&ap, &d->config, d->store, local, duties);
        assert_int_equal(duties[0].tail_epoch, rows[i].was_lsn == 0x400 ? 0 : 1);
        mrd_region_step(&ap, &d->config, d->store, local, d->now_ms * 1000000, 9, &d->proposal);
        assert_int_equal(d->proposal.wanted, rows[i].wanted);
        if (d->proposal.wanted) {
            assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
        }
        desk_expect(d, "");
        assert_int_equal(mrd_store_get(d->store, "receipt/0000000000000300", &e), 0);
        struct mrd_buf b = mrd_buf_reader(e.value, e.len);
        assert_int_equal(mrd_receipt_record_decode(&b, &r), 0);
        assert_int_equal(r.taken_epoch, rows[i].epoch);
        assert_int_equal(r.taken_lsn, rows[i].lsn);
        assert_int_equal(r.returned_ms, 7);
        assert_int_equal(r.tail_rows, 0);
        free(local);
        desk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_failover_leaves_the_one_before_in_force),
        cmocka_unit_test(a_replaced_region_returns_when_its_commits_have_ended),
        cmocka_unit_test(a_home_that_lost_writes_is_not_home_again_before_they_are_repaired),
        cmocka_unit_test(a_move_waits_until_the_target_is_repaired),
        cmocka_unit_test(the_home_says_when_a_tail_is_repaired),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
