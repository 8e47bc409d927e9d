/*
 * Which commits count, and what a grant leaves behind.
 */
#include "unit.h"

#include <mrd/record.h>

enum { US, EU, AP };

/* us wrote epochs 1 and 3, eu wrote 2, ap writes 4 now. */
static const struct mrd_authority moved = {
    .region = AP,
    .epoch = 4,
    .history_count = 3,
    .history = {{.epoch = 1, .region = US, .cut = 100},
                {.epoch = 2, .region = EU, .cut = 50},
                {.epoch = 3, .region = US, .cut = 200}},
};

static const struct mrd_authority fresh = {.region = US, .epoch = 1};
static const struct mrd_authority vacant = {
    .region = MRD_REGION_NONE,
    .epoch = 2,
    .state = MRD_AUTH_VACANT,
    .history_count = 1,
    .history = {{.epoch = 1, .region = US, .cut = 100}},
};
static const struct mrd_authority forgetful = {
    .region = AP,
    .epoch = 40,
    .history_count = 1,
    .history = {{.epoch = 39, .region = US, .cut = 100}},
};

static void test_accepts(void **state)
{
    static const struct {
        const char *name;
        const struct mrd_authority *a;
        mrd_region origin;
        mrd_epoch epoch;
        mrd_lsn lsn;
        enum mrd_accept want;
    } rows[] = {
        {"the home at its epoch", &fresh, US, 1, 1, MRD_ACCEPT},
        {"the home at any position", &fresh, US, 1, UINT64_MAX, MRD_ACCEPT},
        {"another region at the home's epoch", &fresh, EU, 1, 1, MRD_ACCEPT_TAIL},
        {"no stamp", &fresh, US, 0, 1, MRD_ACCEPT_TAIL},
        {"no stamp, from anybody", &moved, EU, 0, 0, MRD_ACCEPT_TAIL},
        {"an epoch that is not known yet", &fresh, EU, 2, 1, MRD_ACCEPT},
        {"far above", &fresh, AP, UINT64_MAX, 1, MRD_ACCEPT},
        {"closed, before the cut", &moved, US, 3, 199, MRD_ACCEPT},
        {"closed, at the cut", &moved, US, 3, 200, MRD_ACCEPT},
        {"closed, past the cut", &moved, US, 3, 201, MRD_ACCEPT_TAIL},
        {"the cut is of its own epoch", &moved, US, 1, 150, MRD_ACCEPT_TAIL},
        {"closed epoch of another region", &moved, US, 2, 10, MRD_ACCEPT_TAIL},
        {"the present home under an old epoch", &moved, AP, 3, 10, MRD_ACCEPT_TAIL},
        {"oldest that is remembered", &moved, US, 1, 100, MRD_ACCEPT},
        {"older than the history", &forgetful, US, 38, 1, MRD_ACCEPT_GONE},
        {"vacant: nobody has the epoch", &vacant, US, 2, 1, MRD_ACCEPT_TAIL},
        {"vacant: the past still counts", &vacant, US, 1, 100, MRD_ACCEPT},
        {"vacant, origin without a region", &vacant, EU, 2, 1, MRD_ACCEPT_TAIL},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        ROW(rows[i].name);
        assert_int_equal(
            mrd_authority_accepts(rows[i].a, rows[i].origin, rows[i].epoch, rows[i].lsn),
            rows[i].want);
    }
}

/* While us is being replaced nobody knows yet where its epoch will end. */
static void test_settled(void **state)
{
    struct mrd_authority fencing = {.region = US, .epoch = 3, .state = MRD_AUTH_FENCING};
    struct mrd_authority open = {.region = US, .epoch = 3, .state = MRD_AUTH_OPEN};

    (void)state;
    assert_false(mrd_authority_settled(&fencing, US, 3));
    assert_true(mrd_authority_settled(&fencing, US, 2));
    assert_true(mrd_authority_settled(&fencing, EU, 3)); /* tail, whatever becomes of us */
    assert_true(mrd_authority_settled(&open, US, 3));
}

static void test_complete(void **state)
{
    static const struct {
        const char *name;
        const struct mrd_authority *a;
        mrd_region self, origin;
        mrd_epoch epoch;
        mrd_lsn us, eu;
        bool want;
    } rows[] = {
        {"the first epoch follows nothing", &fresh, EU, US, 1, 1, 0, true},
        {"an epoch that is not known yet", &fresh, AP, EU, 2, 500, 0, false},
        {"all cuts reached", &moved, 3, AP, 4, 200, 50, true},
        {"the last home is not here up to its cut", &moved, 3, AP, 4, 199, 50, false},
        {"an earlier home is not", &moved, 3, AP, 4, 200, 49, false},
        {"its own earlier epochs come before it", &moved, 3, US, 3, 1, 50, true},
        {"but not those of others between them", &moved, 3, US, 3, 1, 49, false},
        {"later epochs do not matter to it", &moved, 3, EU, 2, 100, 1, true},
        {"what we wrote ourselves is here", &moved, US, AP, 4, 0, 50, true},
        {"a home whose stream we never had", &moved, 3, AP, 4, 0, 50, true},
        {"we are home, but have no stream of the home before us", &moved, AP, MRD_REGION_NONE,
         4, 0, 50, false},
        {"we are home, and have no stream of one long before", &moved, AP, MRD_REGION_NONE, 4,
         200, 0, true},
        {"nobody's epoch", &vacant, AP, EU, 2, 100, 0, true},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        mrd_lsn applied[MRD_REGIONS_MAX] = {[US] = rows[i].us, [EU] = rows[i].eu};
        ROW(rows[i].name);
        assert_int_equal(mrd_authority_complete(rows[i].a, rows[i].self, rows[i].origin,
                                                rows[i].epoch, applied),
                         rows[i].want);
    }
}

static struct mrd_authority_record record(void)
{
    return (struct mrd_authority_record){
        .region = "us", .epoch = 1, .state = MRD_AUTH_FENCING, .why = "x"};
}

static void test_grant_closes_the_present_epoch(void **state)
{
    struct mrd_authority_record a = record();

    (void)state;
    mrd_authority_grant(&a,
                        &(struct mrd_closed_record){.epoch = 77,
                                                    .region = "ap",
                                                    .cut = 500,
                                                    .cut_session = 3,
                                                    .cut_boot_ms = 42,
                                                    .reason = "move"},
                        "eu");
    assert_int_equal(a.epoch, 2);
    assert_string_equal(a.region, "eu");
    assert_string_equal(a.why, "");
    assert_int_equal(a.state, MRD_AUTH_OPEN);
    assert_int_equal(a.history_count, 1);
    assert_int_equal(a.history[0].epoch, 1);
    assert_string_equal(a.history[0].region, "us");
    assert_int_equal(a.history[0].cut, 500);
    assert_int_equal(a.history[0].cut_session, 3);
    assert_int_equal(a.history[0].cut_boot_ms, 42);
    assert_string_equal(a.history[0].reason, "move");
}

/* Two failovers went on without ap: us's epoch 1, cut at 200, and eu's epoch 2, cut at 300. */
static void test_past_a_cut_that_was_not_heard_of(void **state)
{
    static const struct {
        const char *name;
        mrd_region home, self;
        unsigned epoch_at; /* which of the two, by its place in the history */
        mrd_lsn applied;
        bool past;
    } rows[] = {
        {"up to the cut", US, AP, 0, 200, false},
        {"past it", US, AP, 0, 201, true},
        {"past the other's position, not its own", US, AP, 1, 300, false},
        {"past the second", US, AP, 1, 301, true},
        {"it refused", US, EU, 0, 500, false},
        {"its own epoch", EU, US, 0, 500, false},
        {"home by now: its rows count", AP, AP, 0, 500, false},
        {"nothing of it here", US, AP, 0, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_authority a = {.region = rows[i].home, .epoch = 3, .history_count = 2};
        ROW(rows[i].name);
        a.history[0] = (struct mrd_closed_epoch){
            .epoch = 1, .region = US, .cut = 200, .unfenced = 1u << AP | 1u << US};
        a.history[1] = (struct mrd_closed_epoch){
            .epoch = 2, .region = EU, .cut = 300, .unfenced = 1u << AP};
        assert_int_equal(
            mrd_authority_past_cut(&a, rows[i].epoch_at, rows[i].self, rows[i].applied),
            rows[i].past);
    }
}

static void test_a_vacant_epoch_is_closed_as_its_last_home_s(void **state)
{
    struct mrd_authority_record a = record();

    (void)state;
    a.state = MRD_AUTH_VACANT;
    memcpy(a.last_region, "us", 3);
    a.region[0] = '\0';
    mrd_authority_grant(&a, &(struct mrd_closed_record){.cut = 5}, "ap");
    assert_string_equal(a.history[0].region, "us");
    assert_string_equal(a.region, "ap");
    assert_string_equal(a.last_region, "");
}

static void test_history_overflows_at_the_old_end(void **state)
{
    struct mrd_authority_record a = record();

    (void)state;
    for (unsigned i = 0; i < MRD_HISTORY_MAX + 5; i++) {
        mrd_authority_grant(&a,
                            &(struct mrd_closed_record){.cut = 1000 + a.epoch,
                                                        .unfenced = i == 2 ? 1u << AP : 0},
                            i % 2 == 0 ? "eu" : "us");
    }
    assert_int_equal(a.epoch, MRD_HISTORY_MAX + 6);
    assert_int_equal(a.history_count, MRD_HISTORY_MAX);
    for (unsigned i = 0; i < MRD_HISTORY_MAX; i++) {
        assert_int_equal(a.history[i].epoch, 6 + i);
        assert_int_equal(a.history[i].cut, 1006 + i);
        /* Who was away at a forgotten one is still to compare. */
        assert_int_equal(a.history[i].unfenced, i == 0 ? 1u << AP : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_settled),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_grant_closes_the_present_epoch),
        cmocka_unit_test(test_past_a_cut_that_was_not_heard_of),
        cmocka_unit_test(test_a_vacant_epoch_is_closed_as_its_last_home_s),
        cmocka_unit_test(test_history_overflows_at_the_old_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
