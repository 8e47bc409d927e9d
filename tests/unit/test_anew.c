/*
 * A region whose disk is gone begins another life under its name.
 */
#include "desk.h"

static void anew(struct desk *d, uint64_t life)
{
    mrd_anew_request(&d->config, d->store, US, life, d->now_ms, &d->proposal);
    if (d->proposal.wanted) {
        assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    }
}

/* us, with a database whose WAL ends at @wal_lsn, tries to open a session. */
static bool us_opens(struct desk *d, mrd_lsn wal_lsn)
{
    struct mrd_region_state us = {.self = US};
    struct mrd_local local = {.canary_ok = true};

    local.report = d->sessions[US];
    local.report.wal_lsn = wal_lsn;
    return desk_opens(d, &us, &local, 1, true);
}

static const char *why(struct desk *d, mrd_lsn wal_lsn)
{
    return mrd_anew_why(&d->config, d->store, US, wal_lsn);
}

/* Its WAL begins beyond all that anybody remembers of it, whoever that is. */
static void a_new_life_begins_beyond_the_old_one(void **state)
{
    static const struct {
        const char *name;
        mrd_lsn wal, applied, cut, begins;
    } rows[] = {
        {"its own word", 0x123456789abc, 0x200, 0x200, 0x140000000000},
        {"a survivor's position", 0x100, 0x323456789abc, 0x200, 0x340000000000},
        {"a cut", 0x100, 0x200, 0x523456789abc, 0x540000000000},
    };
    mrd_lsn begins;

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_authority_record a = {.region = "eu", .epoch = 2, .state = MRD_AUTH_OPEN};
        ROW(rows[i].name);
        assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_LOST);
        d->sessions[US].wal_lsn = rows[i].wal;
        desk_renew(d, US);
        anew(d, 7);
        assert_false(d->proposal.wanted); /* it lives: it is not lost */
        d->sessions[US].expired = true;
        desk_renew(d, US);
        desk_report(d, AP, US)->applied_lsn = rows[i].applied;
        desk_renew(d, AP);
        a.history_count = 1;
        a.history[0] =
            (struct mrd_closed_record){1, "us", rows[i].cut, 1, 1, "failover", 0x300, 0, 1};
        desk_put_authority(d, "orders", &a);
        anew(d, 7);
        assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_ANEW);
        assert_int_equal(begins, rows[i].begins);
        anew(d, 7);
        assert_false(d->proposal.wanted); /* once for each life */
        anew(d, 9);
        assert_false(d->proposal.wanted); /* at most one in ten seconds */
        d->now_ms += 10000;
        anew(d, 9); /* lost again before it opened a session */
        assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_ANEW);
        assert_true(begins > rows[i].begins);
        desk_free(d);
    }
}

/* An empty database must not open as anybody's home, nor cut off who still hands on the old. */
static void a_new_life_waits_until_nothing_names_it(void **state)
{
    struct desk *d = desk_new(3);
    mrd_lsn begins;
    const mrd_lsn beyond = (mrd_lsn)2 << 40 | 0x1000;

    (void)state;
    ONLY_EVENTS(d);
    d->sessions[US].expired = true;
    desk_renew(d, US);
    anew(d, 7);
    desk_expect(d, "region.anew region=us session=1 begins=200/0\n");
    assert_false(us_opens(d, beyond));
    assert_string_equal(why(d, beyond),
                        "it is still named as home, and has nothing of what it was home of");
    desk_put_authority(
        d, "events",
        &(struct mrd_authority_record){
            .last_region = "us", .epoch = 1, .state = MRD_AUTH_VACANT, .why = "x"});
    assert_false(us_opens(d, beyond));

    desk_after_failover(d, "events", false);
    assert_false(us_opens(d, beyond));
    assert_string_equal(why(d, beyond), "a home that took over from it is not open yet");

    desk_after_failover(d, "events", true);
    assert_false(us_opens(d, 0x300)); /* made by hand, and not told where to begin */
    assert_non_null(why(d, 0x300));
    assert_null(why(d, beyond));
    assert_true(us_opens(d, beyond));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_int_equal(mrd_anew_data(&d->config, d->store, US, &begins), MRD_DATA_LOST);
    desk_free(d);
}

/* us was lost, then eu before it had opened, and ap is the third home: it may still fetch what
 * us wrote from r3, which would begin us's stream again as soon as us takes part. */
static void a_new_life_waits_for_every_home_after_it(void **state)
{
    static const struct {
        const char *name;
        enum mrd_authority_state state;
        bool opened;
        const char *why;
    } rows[] = {
        {"the last home is open", MRD_AUTH_OPEN, true, NULL},
        {"it is not", MRD_AUTH_OPEN, false, "a home that took over from it is not open yet"},
        {"nor while a move wants it elsewhere", MRD_AUTH_FROZEN, false,
         "a home that took over from it is not open yet"},
        {"it was stranded", MRD_AUTH_VACANT, false,
         "what it was home of has no home now, and may need what it wrote"},
        {"it was open, and nobody can follow it", MRD_AUTH_VACANT, true,
         "what it was home of has no home now, and may need what it wrote"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(4);
        struct mrd_authority_record a = {.epoch = 3, .state = (uint8_t)rows[i].state};
        struct mrd_receipt_record r = {.id = 0x400, .kind = "failover", .epoch = 3};
        const char *said;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        desk_after_failover(d, "events", false);
        anew(d, 7);
        snprintf(a.state == MRD_AUTH_VACANT ? a.last_region : a.region, MRD_NAME_MAX, "ap");
        a.history_count = 2;
        a.history[0] =
            (struct mrd_closed_record){1, "us", 0x200, 1, 1, "failover", 0x300, 0, 1};
        a.history[1] =
            (struct mrd_closed_record){2, "eu", 0x150, 1, 1, "failover", 0x400, 0, 1};
        desk_put_authority(d, "events", &a);
        r.opened_ms = rows[i].opened ? 5 : 0;
        PUT(d, "receipt/0000000000000400", mrd_receipt_record_encode, &r);
        said = why(d, (mrd_lsn)2 << 40 | 0x1000);
        assert_int_equal(us_opens(d, (mrd_lsn)2 << 40 | 0x1000), rows[i].why == NULL);
        assert_string_equal(said != NULL ? said : "", rows[i].why != NULL ? rows[i].why : "");
        desk_free(d);
    }
}

/* us takes part again, but has nothing of its old life. Only eu, the home, has the end of that,
 * and is lost: ap must not take over from it. */
static void a_new_life_has_nothing_of_the_old_one(void **state)
{
    struct desk *d = desk_new(3);

    (void)state;
    ONLY_EVENTS(d);
    desk_after_failover(d, "events", true);
    desk_report(d, AP, US)->applied_lsn = 0x1f0;
    desk_renew(d, AP);
    anew(d, 7);
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    d->sessions[US].expired = false;
    d->sessions[US].session = 2;
    d->sessions[US].after_failover = 0x300;
    mrd_set_lacks(&d->sessions[US], 0, true);
    desk_lose(d, EU, 1u << US | 1u << AP);
    d->said_len = 0;
    desk_pass(d, 8000, 1u << US | 1u << AP);
    desk_expect(
        d, "failover.started region=eu observers=us,ap reason=unreachable\n"
           "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" "
           "wrote last is only in regions that are down\"\n"
           "failover.done region=eu\n"
           "session.expired region=eu session=1 seq=2\n");
    desk_free(d);
}

/* What nobody has is gone: the region does not wait for a successor. */
static void a_new_life_does_not_wait_for_what_nobody_has(void **state)
{
    struct desk *d = desk_new(3);

    (void)state;
    ONLY_EVENTS(d);
    d->config.classes[0].replicas = 1u << US;
    d->sessions[US].expired = true;
    desk_renew(d, US);
    anew(d, 7);
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));

    d->config.classes[0].replicas = 1u << US | 1u << EU;
    assert_false(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    d->sessions[EU].expired = true;
    desk_renew(d, EU);
    assert_false(us_opens(d, (mrd_lsn)2 << 40 | 0x1000)); /* eu may return with it */
    mrd_anew_request(&d->config, d->store, EU, 8, d->now_ms, &d->proposal);
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    desk_free(d);
}

/* The others begin its stream again once it takes part, and its receipts wait for nothing. */
static void the_others_follow_a_new_life(void **state)
{
    struct desk *d = desk_new(3);
    struct mrd_local local = {.canary_ok = false};
    struct mrd_region_state eu = {.self = EU, .session = 1};
    struct mrd_entry e;
    mrd_lsn begins;
    struct mrd_receipt_record r;

    (void)state;
    ONLY_EVENTS(d);
    desk_after_failover(d, "events", true);
    PUT(d, "receipt/0000000000000300", mrd_receipt_record_encode,
        (&(struct mrd_receipt_record){.id = 0x300,
                                      .kind = "failover",
                                      .class_name = "events",
                                      .partition = "all",
                                      .from = "us",
                                      .to = "eu",
                                      .epoch = 2,
                                      .opened_ms = 5,
                                      .first_write_ms = 6}));
    local.report = d->sessions[EU];
    anew(d, 7);
    assert_false(mrd_anew_stream(&d->config, d->store, &local, US, &begins));
    assert_true(us_opens(d, (mrd_lsn)2 << 40 | 0x1000));
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    assert_true(mrd_anew_stream(&d->config, d->store, &local, US, &begins));
    assert_int_equal(begins, (mrd_lsn)2 << 40);
    assert_false(mrd_anew_stream(&d->config, d->store, &local, AP, &begins));

    local.opened_epoch[0] = 2;
    local.tail[0].epoch = 1;
    mrd_region_step(&eu, &d->config, d->store, &local, d->now_ms * 1000000, 9, &d->proposal);
    assert_false(d->proposal.wanted); /* its position is still of the old life */
    local.report.peers[US].applied_lsn = (mrd_lsn)2 << 40 | 0x2000;
    assert_false(mrd_anew_stream(&d->config, d->store, &local, US, &begins));
    mrd_region_step(&eu, &d->config, d->store, &local, d->now_ms * 1000000, 9, &d->proposal);
    assert_true(d->proposal.wanted);
    d->said_len = 0;
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    desk_expect(d, "receipt.final id=0000000000000300 class=events partition=all from=us to=eu "
                   "tail_transactions=0 tail_rows=0 tail=gone\n");
    assert_int_equal(mrd_store_get(d->store, "receipt/0000000000000300", &e), 0);
    struct mrd_buf b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_receipt_record_decode(&b, &r), 0);
    assert_true(r.tail_gone);
    desk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_life_begins_beyond_the_old_one),
        cmocka_unit_test(a_new_life_waits_until_nothing_names_it),
        cmocka_unit_test(a_new_life_waits_for_every_home_after_it),
        cmocka_unit_test(a_new_life_has_nothing_of_the_old_one),
        cmocka_unit_test(a_new_life_does_not_wait_for_what_nobody_has),
        cmocka_unit_test(the_others_follow_a_new_life),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
