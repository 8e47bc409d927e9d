/*
 * Who takes over from a lost home, when it opens, and what is said when nobody can.
 */
#include "desk.h"

/* eu, the second home, dies too. What each of the others has of us and of eu decides. */
static void a_second_failover_prefers_who_can_open(void **state)
{
    static const struct {
        const char *name;
        mrd_lsn us[5], eu[5]; /* applied at ap, r3, r4 (from index 2) */
        const char *granted;  /* the end of the story */
    } rows[] = {
        {"all have all: who is furthest in eu's",
         {0, 0, 0x200, 0x200, 0x200},
         {0, 0, 0x300, 0x310, 0x300},
         "authority.granted class=events partition=all region=r3 epoch=3 prev=eu "
         "reason=failover cut=0/310 unfenced=us held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=r3 epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"who is furthest lacks the end of us's",
         {0, 0, 0x200, 0x1f0, 0x200},
         {0, 0, 0x300, 0x310, 0x305},
         "authority.granted class=events partition=all region=r4 epoch=3 prev=eu "
         "reason=failover cut=0/310 unfenced=us held=yes\n"
         "session.expired region=eu session=1 seq=2\n"
         "authority.released class=events partition=all region=r4 epoch=3 prev=eu "
         "reason=lease_expired\nfailover.done region=eu\n"},
        {"nobody has the end of us's",
         {0, 0, 0x1f0, 0x1f0, 0x1f0},
         {0, 0, 0x300, 0x310, 0x305},
         "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" "
         "wrote last is only in regions that are down\"\nfailover.done region=eu\n"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(5);
        const char *end;
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        desk_after_failover(d, "events", true);
        for (unsigned b = AP; b < 5; b++) {
            desk_report(d, b, US)->applied_lsn = rows[i].us[b];
        }
        desk_lose(d, EU, 0x1c);
        desk_pass(d, 1800, 0x1c);
        if (strstr(d->said, "vacated") == NULL) {
            desk_expect(d,
                        "failover.started region=eu observers=ap,r3,r4 reason=unreachable\n");
            for (unsigned b = AP; b < 5; b++) {
                desk_refuse(d, b, EU, rows[i].eu[b]);
            }
            desk_pass(d, 6000, 0x1c);
        }
        end = strstr(d->said, "authority.");
        if (end == NULL || strcmp(end, rows[i].granted) != 0) {
            fail_msg("said:\n%s", d->said);
        }
        /* us returns, and can hand over what is missing. */
        d->said_len = 0;
        d->said[0] = '\0';
        d->sessions[US].expired = false;
        d->sessions[US].session++;
        d->sessions[US].after_failover = 0x300;
        desk_pass(d, 500, 0x1d);
        desk_expect(d,
                    strstr(rows[i].granted, "vacated") == NULL
                        ? ""
                        : "failover.started region=eu observers=ap,r3,r4 reason=successor\n");
        desk_free(d);
    }
}

/* eu was given the partition and has not opened it. What does it do? */
static void a_new_home_opens_when_nothing_is_missing(void **state)
{
    static const struct {
        const char *name;
        mrd_lsn applied; /* of us, which wrote up to 0/200 */
        bool lacks;
        enum mrd_duty_kind duty;
        const char *why;
    } rows[] = {
        {"all is there", 0x200, false, MRD_DUTY_PROMOTE, ""},
        {"the last writes are not", 0x1f0, false, MRD_DUTY_NONE,
         "the new home is fetching what \"us\" wrote last"},
        {"its position was lost", 0, false, MRD_DUTY_NONE,
         "the new home is fetching what \"us\" wrote last"},
        {"its position began again, without the rows before it", 0x300, true, MRD_DUTY_NONE,
         "the new home lacks rows, and does not open without them"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        struct mrd_region_state eu = {.self = EU, .session = 1};
        struct mrd_local *local = calloc(1, sizeof(*local));
        struct mrd_duty duties[MRD_PARTITIONS_MAX];
        char why[128];
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        desk_after_failover(d, "events", false);
        desk_report(d, EU, US)->applied_lsn = rows[i].applied;
        mrd_set_lacks(&d->sessions[EU], 0, rows[i].lacks);
        desk_renew(d, EU);
        local->report = d->sessions[EU];
        mrd_region_duties(&eu, &d->config, d->store, local, duties);
        assert_int_equal(duties[0].kind, rows[i].duty);
        mrd_partition_why(&d->config, d->store, 0, why);
        assert_string_equal(why, rows[i].why);
        free(local);
        desk_free(d);
    }
}

/* ap joined after us was lost, and has its copy from eu: that is whole without us's stream. */
static void a_copy_from_the_present_home_needs_no_earlier_stream(void **state)
{
    struct desk *d = desk_new(3);
    struct mrd_region_state ap = {.self = AP, .session = 1};
    struct mrd_local *local = calloc(1, sizeof(*local));
    struct mrd_authority_record a;
    struct mrd_move_record m = {
        .id = 0x900, .from = "eu", .to = "ap", .epoch = 2, .state = MRD_MOVE_FROZEN};

    (void)state;
    ONLY_EVENTS(d);
    desk_after_failover(d, "events", true);
    desk_get_authority(d, "events", &a);
    a.state = MRD_AUTH_FROZEN;
    desk_put_authority(d, "events", &a);
    m.final_lsn = 0x300;
    m.final_boot_ms = UINT64_MAX;
    PUT(d, "move/events/all", mrd_move_record_encode, &m);
    desk_report(d, AP, US)->applied_lsn = 0;
    desk_report(d, AP, EU)->applied_lsn = 0x300;
    desk_renew(d, AP);
    local->report = d->sessions[AP];
    ap.deadline_ns = UINT64_MAX; /* its lease is fresh */
    mrd_region_step(&ap, &d->config, d->store, local, d->now_ms * 1000000, 9, &d->proposal);
    assert_true(d->proposal.wanted);
    assert_int_equal(mrd_store_apply(d->store, &d->proposal.txn, NULL), 0);
    desk_get_authority(d, "events", &a);
    assert_string_equal(a.region, "ap");
    free(local);
    desk_free(d);
}

/* Who was to hand over the last writes dies before the new home has them. */
static void a_home_that_cannot_open_is_vacant_and_resumes(void **state)
{
    struct desk *d = desk_new(5);
    struct mrd_authority_record a;
    char why[128];

    (void)state;
    ONLY_EVENTS(d);
    desk_after_failover(d, "events", false);
    desk_report(d, EU, US)->applied_lsn = 0x1f0;
    desk_report(d, 3, US)->applied_lsn = desk_report(d, 4, US)->applied_lsn = 0x1f0;
    desk_pass(d, 1000, 0x1e);
    desk_expect(d, ""); /* ap has it, and will hand it over */
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "the new home is fetching what \"us\" wrote last");
    desk_pass(d, 6000, 0x1a);
    desk_expect(
        d, "session.expired region=ap session=1 seq=4\n"
           "authority.vacated class=events partition=all prev=eu epoch=2 why=\"what \"us\" "
           "wrote last is only in regions that are down\"\n");
    desk_pass(d, 3000, 0x1a);
    desk_expect(d, "");
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "what \"us\" wrote last is only in regions that are down");
    /* It returns: eu may go on fetching. */
    d->sessions[AP].session++;
    desk_pass(d, 500, 0x1e);
    desk_expect(d, "authority.resumed class=events partition=all region=eu epoch=2\n");
    desk_get_authority(d, "events", &a);
    assert_string_equal(a.region, "eu");
    assert_int_equal(a.epoch, 2);
    desk_pass(d, 3000, 0x1e);
    desk_expect(d, "");
    desk_free(d);
}

/* The furthest refuser dies before the grant: the others are enough, and it is named. */
static void a_refuser_that_died_draws_no_cut_alone(void **state)
{
    struct desk *d = desk_new(5);
    struct mrd_authority_record a;
    char why[128];

    (void)state;
    d->config.class_count = 1; /* orders: two of four acknowledge, three must refuse */
    desk_lose(d, US, 0x1e);
    desk_pass(d, 1800, 0x1e);
    desk_expect(d, "failover.started region=us observers=eu,ap,r3,r4 reason=unreachable\n");
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "\"eu\" has not yet refused the stream of \"us\"");
    desk_refuse(d, EU, US, 0x180);
    desk_refuse(d, AP, US, 0x100);
    desk_pass(d, 6000, 0x1a); /* ap refused, and is not heard of again */
    desk_refuse(d, 3, US, 0x110);
    desk_refuse(d, 4, US, 0x120);
    d->sessions[EU].expired = true; /* the furthest of them dies, too */
    desk_renew(d, EU);
    d->said_len = 0;
    d->said[0] = '\0';
    d->sessions[AP].session++;
    desk_renew(d, AP);
    desk_step(d);
    desk_expect(d, "authority.granted class=orders partition=all region=r4 epoch=2 prev=us "
                   "reason=failover cut=0/120 unfenced=eu\n");
    desk_get_authority(d, "orders", &a);
    assert_int_equal(a.history[0].unfenced, 1u << EU);
    desk_free(d);
}

/* A region is back from its failover: a session that knows of it. */
static void come_back(struct desk *d, unsigned i)
{
    d->sessions[i].session++;
    d->sessions[i].after_failover = desk_failover(d, i).id;
    desk_renew(d, i);
}

/* us and eu, each home of one class, fell silent one after the other, refused each other, and
 * live again. Each is the only one who could replace the other. */
static void two_that_are_replaced_do_not_wait_for_each_other(void **state)
{
    struct desk *d = desk_new(3);
    const struct mrd_failover_record f = {.session = 1, .reason = "unreachable", .fault_ms = 1};
    struct mrd_failover_record us = f, eu = f;
    struct mrd_authority_record a;

    (void)state;
    d->config.regions[AP].witness = true;
    for (unsigned k = 0; k < 2; k++) {
        d->config.classes[k].replicas = d->config.classes[k].allowed = 1u << US | 1u << EU;
    }
    desk_put_authority(
        d, "events",
        &(struct mrd_authority_record){.region = "eu", .epoch = 1, .state = MRD_AUTH_OPEN});
    memcpy(us.region, "us", 3);
    memcpy(eu.region, "eu", 3);
    us.id = 0x300;
    eu.id = 0x400;
    PUT(d, "failover/us", mrd_failover_record_encode, &us);
    PUT(d, "failover/eu", mrd_failover_record_encode, &eu);
    desk_refuse(d, EU, US, 0x100);
    desk_refuse(d, US, EU, 0x100);
    desk_pass(d, 10000, 7);
    desk_expect(
        d, "authority.vacated class=orders partition=all prev=us epoch=1 why=\"every other "
           "live region that may hold it is being replaced itself\"\n"
           "failover.done region=us\n"
           "authority.granted class=events partition=all region=us epoch=2 prev=eu "
           "reason=failover cut=0/100 held=yes\n"
           "authority.released class=events partition=all region=us epoch=2 prev=eu "
           "reason=lease_over\n"
           "failover.done region=eu\n");
    come_back(d, US);
    come_back(d, EU);
    desk_pass(d, 1000, 7);
    desk_expect(d, "authority.resumed class=orders partition=all region=us epoch=1\n");
    desk_get_authority(d, "orders", &a);
    assert_string_equal(a.region, "us");
    desk_free(d);
}

/*
 * ap lacks what us wrote up to the cut of orders. A position in us's WAL is one for all
 * classes: a survivor that does not carry events, which us and ap share, cannot bring ap
 * forward, or us's last events would be in nobody's reconcile queue when it returns.
 */
static void what_is_handed_on_has_no_gaps(void **state)
{
    static const struct {
        const char *name;
        mrd_regions events;
        uint8_t stream, via;
    } rows[] = {
        {"the new home carries both", 0x1f, MRD_STREAM_FORWARD, EU},
        {"another region carries both", 0x1d, MRD_STREAM_FORWARD, 3},
        {"nobody else carries events", 0x05, MRD_STREAM_REFUSE, MRD_REGION_NONE},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(5);
        struct mrd_region_state ap = {.self = AP, .session = 1};
        struct mrd_local *local = calloc(1, sizeof(*local));
        struct mrd_snapshot *s = calloc(1, sizeof(*s));
        ROW(rows[i].name);
        d->config.classes[1].replicas = d->config.classes[1].allowed = rows[i].events;
        desk_after_failover(d, "orders", true);
        desk_report(d, AP, US)->applied_lsn = 0x180;
        desk_renew(d, AP);
        local->report = d->sessions[AP];
        mrd_region_snapshot(&ap, &d->config, d->store, local, 1, 1, s);
        assert_int_equal(s->regions[US].stream, rows[i].stream);
        assert_int_equal(s->regions[US].via, rows[i].via);
        free(s);
        free(local);
        desk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_failover_prefers_who_can_open),
        cmocka_unit_test(a_new_home_opens_when_nothing_is_missing),
        cmocka_unit_test(a_copy_from_the_present_home_needs_no_earlier_stream),
        cmocka_unit_test(a_home_that_cannot_open_is_vacant_and_resumes),
        cmocka_unit_test(a_refuser_that_died_draws_no_cut_alone),
        cmocka_unit_test(two_that_are_replaced_do_not_wait_for_each_other),
        cmocka_unit_test(what_is_handed_on_has_no_gaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
