/*
 * What is said of a region's health, and why.
 */
#include "desk.h"

/* us reads as recovering for as long as it holds rows of its lost tail, and no longer. */
static void a_region_recovers_until_its_tail_is_repaired(void **state)
{
    static const char unsettled[] = "\"eu\" has not settled yet what it lost of events/all";
    static const struct {
        const char *name;
        mrd_epoch epoch;
        mrd_lsn lsn;     /* where eu, home of epoch 2, repaired it */
        mrd_lsn applied; /* of eu, by us */
        enum mrd_health health;
        const char *why;
    } rows[] = {
        {"filed, not repaired", 0, 0, 0x310, MRD_RECOVERING, unsettled},
        {"repaired, and not yet there", 2, 0x311, 0x310, MRD_RECOVERING, unsettled},
        {"repaired there", 2, 0x310, 0x310, MRD_HEALTHY, ""},
        {"by a home that nobody remembers", 7, 0x310, 0x310, MRD_RECOVERING, unsettled},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        enum mrd_health health[MRD_REGIONS_MAX];
        char why[MRD_WHY_MAX];
        ROW(rows[i].name);
        ONLY_EVENTS(d);
        desk_after_failover(d, "events", true);
        desk_put_taken(d, "events", rows[i].epoch, rows[i].lsn);
        d->sessions[EU].peers[US].applied_lsn = 0x280; /* all that us wrote before it is back */
        desk_renew(d, EU);
        d->sessions[US].peers[EU].applied_lsn = rows[i].applied;
        desk_us_is_back(d);
        mrd_health_of(&d->config, d->store, health);
        assert_int_equal(health[US], rows[i].health);
        mrd_health_why(&d->config, d->store, US, why);
        assert_string_equal(why, rows[i].why);
        assert_int_equal(health[AP], MRD_HEALTHY);
        desk_free(d);
    }
}

/* What is said of a region's health is what the health was made of. */
static void health_says_why(void **state)
{
    static const struct {
        const char *name;
        uint8_t ready, eu_sees, ap_sees; /* of us */
        bool expired;
        enum mrd_health health;
        const char *why;
    } rows[] = {
        {"all is well", 7, 7, 7, false, MRD_HEALTHY, ""},
        {"one misses its edge", 7, 3, 7, false, MRD_SUSPECT, "its edge is not reached by eu"},
        {"both miss something", 7, 3, 1, false, MRD_DEGRADED,
         "its PostgreSQL is not reached by ap; its edge is not reached by eu,ap"},
        {"it admits it", 5, 7, 7, false, MRD_DEGRADED,
         "it says itself that its PostgreSQL does not serve"},
        {"its edge", 3, 7, 7, false, MRD_DEGRADED,
         "it says itself that its edge does not serve"},
        {"its lease is over", 7, 7, 7, true, MRD_DOWN,
         "its lease expired: it renewed it no more"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct desk *d = desk_new(3);
        enum mrd_health health[MRD_REGIONS_MAX];
        char why[MRD_WHY_MAX];
        ROW(rows[i].name);
        d->sessions[US].ready = rows[i].ready;
        d->sessions[US].expired = rows[i].expired;
        d->sessions[EU].peers[US].reachable = rows[i].eu_sees;
        d->sessions[AP].peers[US].reachable = rows[i].ap_sees;
        desk_renew(d, US);
        desk_renew(d, EU);
        desk_renew(d, AP);
        mrd_health_of(&d->config, d->store, health);
        assert_int_equal(health[US], rows[i].health);
        mrd_health_why(&d->config, d->store, US, why);
        assert_string_equal(why, rows[i].why);
        desk_free(d);
    }
}

/* However long the names are, the sentence ends where it should. */
static void a_reason_is_never_cut(void **state)
{
    static const char *const names[] = {"us-east-1", "europe-of-the-far-west-1",
                                        "asia-and-the-pacific-northeast-1"};
    struct desk *d = desk_new(3);
    char why[MRD_WHY_MAX];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(d->config.regions[i].name, sizeof(d->config.regions[i].name), "%s", names[i]);
        snprintf(d->sessions[EU].peers[i].region, sizeof(d->sessions[EU].peers[i].region), "%s",
                 names[i]);
        snprintf(d->sessions[AP].peers[i].region, sizeof(d->sessions[AP].peers[i].region), "%s",
                 names[i]);
    }
    d->sessions[EU].peers[US].reachable = d->sessions[AP].peers[US].reachable = 0;
    for (unsigned i = 0; i < 3; i++) {
        char key[MRD_KEY_MAX];
        snprintf(key, sizeof(key), "session/%s", names[i]);
        PUT(d, key, mrd_session_record_encode, &d->sessions[i]);
    }
    mrd_health_why(&d->config, d->store, US, why);
    assert_string_equal(
        why, "its agent is not reached by europe-of-the-far-west-1,asia-and-the-pacific-"
             "northeast-1; its PostgreSQL is not reached by europe-of-the-far-west-1,asia-and-"
             "the-pacific-northeast-1; its edge is not reached by europe-of-the-far-west-1,"
             "asia-and-the-pacific-northeast-1");
    desk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_recovers_until_its_tail_is_repaired),
        cmocka_unit_test(health_says_why),
        cmocka_unit_test(a_reason_is_never_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
