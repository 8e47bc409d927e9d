/*
 * A home that is granted, and held until the old lease has certainly ended.
 */
#include "desk.h"

/* us is lost, and everybody else has refused its stream: eu, who is furthest, is granted. */
static struct desk *held_by_us(unsigned regions)
{
    struct desk *d = desk_new(regions);
    unsigned others = ((1u << regions) - 1) & ~(1u << US);
    struct mrd_authority_record a;

    ONLY_EVENTS(d);
    desk_lose(d, US, others);
    desk_pass(d, 1800, others);
    for (unsigned i = 1; i < regions; i++) {
        desk_refuse(d, i, US, i == EU ? 0x210 : 0x200);
    }
    desk_pass(d, 100, others);
    desk_get_authority(d, "events", &a);
    assert_string_equal(a.region, "eu");
    assert_true(a.held);
    d->said_len = 0;
    d->said[0] = '\0';
    return d;
}

/* eu dies before it may open. Nobody is granted anything while us's lease may run: only eu's
 * would be waited for then. */
static void a_held_home_is_replaced_after_its_release(void **state)
{
    struct desk *d = held_by_us(4);
    unsigned left = 1u << AP | 1u << 3;
    struct mrd_authority_record a;

    (void)state;
    desk_lose(d, EU, left);
    desk_until(d, "failover.started region=eu", 3000, left);
    for (unsigned i = AP; i <= 3; i++) {
        desk_refuse(d, i, EU, 0x100);
        desk_report(d, i, US)->applied_lsn = 0x210;
    }
    desk_pass(d, 14000, left); /* us was lost with eu, and is waited for */
    desk_expect(d, "failover.started region=eu observers=ap,r3 reason=unreachable\n"
                   "session.expired region=us session=1 seq=1\n"
                   "authority.released class=events partition=all region=eu epoch=2 prev=us "
                   "reason=lease_expired\n"
                   "failover.done region=us\n"
                   "session.expired region=eu session=1 seq=6\n"
                   "authority.granted class=events partition=all region=ap epoch=3 prev=eu "
                   "reason=failover cut=0/100 unfenced=us\n"
                   "failover.done region=eu\n");
    desk_get_authority(d, "events", &a);
    assert_false(a.held);
    desk_free(d);
}

/* What each region makes of it: eu does nothing, nobody may write, and a move is refused. */
static void what_is_held_is_open_nowhere(void **state)
{
    struct desk *d = held_by_us(3);
    struct mrd_region_state eu = {.self = EU, .session = 1};
    struct mrd_local local = {.report = d->sessions[EU]};
    static struct mrd_snapshot s;
    struct mrd_authority_record a;
    static struct mrd_duty duties[MRD_PARTITIONS_MAX];
    struct mrd_err err = {0};
    char why[128];

    (void)state;
    local.opened_epoch[0] = 2; /* whatever PostgreSQL says */
    for (unsigned i = 0; i < 3; i++) {
        struct mrd_region_state r = {.self = (mrd_region)i, .session = 1};
        mrd_region_snapshot(&r, &d->config, d->store, &local, 1, 1, &s);
        assert_int_equal(s.partitions[0].authority.region, EU);
        assert_int_equal(s.partitions[0].authority.state, MRD_AUTH_FENCING);
    }
    local.opened_epoch[0] = 1;
    desk_report(d, EU, US)->applied_lsn = 0x210;
    local.report = d->sessions[EU];
    mrd_region_duties(&eu, &d->config, d->store, &local, duties);
    assert_int_equal(duties[0].kind, MRD_DUTY_NONE);
    assert_int_equal(mrd_move_request(&d->config, d->store, "events", NULL, "ap", "anna",
                                      d->now_ms, &d->proposal, &err),
                     MRD_EUNAVAILABLE);
    assert_string_equal(err.text, "the new home \"eu\" of events/all is not open yet");
    mrd_partition_why(&d->config, d->store, 0, why);
    assert_string_equal(why, "the lease of \"us\" has not certainly ended yet");

    desk_get_authority(d, "events", &a);
    a.held = false;
    desk_put_authority(d, "events", &a);
    mrd_region_duties(&eu, &d->config, d->store, &local, duties);
    assert_int_equal(duties[0].kind, MRD_DUTY_PROMOTE);
    desk_free(d);
}

/* What ends it. Every agent began anew meanwhile: nobody remembers since when us is silent. */
static void a_home_is_held_until_the_lease_is_certainly_over(void **state)
{
    static const struct {
        const char *name;
        unsigned alive;
        bool again;          /* us opened another session, knowing of its failover */
        uint64_t not_before; /* the release, after the new coordinator's first step */
        const char *reason;
    } rows[] = {
        {"us says nothing: expired", 6, false, 4500, "lease_expired"},
        {"us renews what it has: over by the clock", 7, false, 4500, "lease_over"},
        {"us began anew", 6, true, 0, "lease_over"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = held_by_us(3);
        struct mrd_authority_record a;
        char released[160];
        ROW(rows[i].name);
        memset(&d->coordinator, 0, sizeof(d->coordinator));
        mrd_coordinator_lead(&d->coordinator, true, 1);
        if (rows[i].again) {
            d->sessions[US].session++;
            desk_renew(d, US);
        }
        desk_step(d);
        if (rows[i].not_before > 0) {
            desk_pass(d, rows[i].not_before - 100, rows[i].alive);
            desk_get_authority(d, "events", &a);
            assert_true(a.held);
        }
        desk_pass(d, 300, rows[i].alive);
        desk_get_authority(d, "events", &a);
        assert_false(a.held);
        snprintf(released, sizeof(released),
                 "authority.released class=events partition=all region=eu epoch=2 prev=us "
                 "reason=%s\n",
                 rows[i].reason);
        assert_non_null(strstr(d->said, released));
        desk_free(d);
    }
}

/* eu cannot get what us wrote last, and then can: it is held all the while. */
static void a_held_home_that_is_stranded_stays_held(void **state)
{
    struct desk *d = held_by_us(3);
    struct mrd_authority_record a;

    (void)state;
    desk_get_authority(d, "events", &a);
    a.history[0].cut = 0x220; /* which only ap has, and ap is gone */
    desk_put_authority(d, "events", &a);
    desk_report(d, AP, US)->applied_lsn = 0x220;
    d->sessions[AP].expired = true;
    desk_renew(d, AP);
    desk_until(d, "authority.vacated", 500, 1u << EU);
    desk_get_authority(d, "events", &a);
    assert_true(a.held && a.state == MRD_AUTH_VACANT);
    d->sessions[AP].expired = false;
    d->sessions[AP].session++;
    desk_until(d, "authority.resumed", 1000, 1u << EU | 1u << AP);
    desk_get_authority(d, "events", &a);
    assert_true(a.held && a.state == MRD_AUTH_OPEN);
    desk_until(d, "authority.released", 5000, 1u << EU | 1u << AP);
    desk_free(d);
}

/* An agent that does not know what held means may have ended the failover that holds it. */
static void held_without_a_failover_is_released(void **state)
{
    struct desk *d = held_by_us(3);
    struct mrd_failover_record f;
    struct mrd_entry e;
    struct mrd_buf b;

    (void)state;
    assert_int_equal(mrd_store_get(d->store, "failover/us", &e), 0);
    b = mrd_buf_reader(e.value, e.len);
    assert_int_equal(mrd_failover_record_decode(&b, &f), 0);
    f.state = MRD_FAILOVER_DONE;
    PUT(d, "failover/us", mrd_failover_record_encode, &f);
    desk_pass(d, 1000, 7);
    desk_expect(d, "");
    desk_until(d, "authority.released", 5000, 7);
    desk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_home_is_replaced_after_its_release),
        cmocka_unit_test(what_is_held_is_open_nowhere),
        cmocka_unit_test(a_home_is_held_until_the_lease_is_certainly_over),
        cmocka_unit_test(a_held_home_that_is_stranded_stays_held),
        cmocka_unit_test(held_without_a_failover_is_released),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
