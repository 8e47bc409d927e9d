/*
 * The guard: every reason, and that refusing wins whenever two could apply.
 */
#include "unit.h"

#include <ctype.h>

#include <mrd/verdict.h>

#define MS 1000000u

enum { US, EU };

/* A region us that holds a lease until 10 s, margin 300 ms, one partition that it may write. */
static struct mrd_snapshot *us(void)
{
    static struct mrd_snapshot s;

    memset(&s, 0, sizeof(s));
    s.generation = 1;
    s.self = US;
    s.session = 4;
    s.lease_deadline_ns = 10000ull * MS;
    s.commit_margin_ms = 300;
    s.region_count = 2;
    s.class_count = 1;
    s.partition_count = 1;
    s.partitions[0].authority.region = US;
    s.partitions[0].authority.epoch = 7;
    return &s;
}

struct row {
    const char *name;
    int partition;
    uint8_t home;
    enum mrd_authority_state state;
    mrd_session session;
    uint64_t deadline_ms, now_ms;
    enum mrd_reason want;
};

static const struct row rows[] = {
    {"home, open, lease live", 0, US, MRD_AUTH_OPEN, 4, 10000, 5000, MRD_WHY_ALLOWED},
    {"last moment before the margin", 0, US, MRD_AUTH_OPEN, 4, 10000, 9699, MRD_WHY_ALLOWED},
    {"exactly the margin left", 0, US, MRD_AUTH_OPEN, 4, 10000, 9700, MRD_WHY_LEASE_ENDED},
    {"within the margin", 0, US, MRD_AUTH_OPEN, 4, 10000, 9999, MRD_WHY_LEASE_ENDED},
    {"past the deadline", 0, US, MRD_AUTH_OPEN, 4, 10000, 10001, MRD_WHY_LEASE_ENDED},
    {"long past", 0, US, MRD_AUTH_OPEN, 4, 10000, 18000000000000, MRD_WHY_LEASE_ENDED},
    {"deadline shorter than the margin", 0, US, MRD_AUTH_OPEN, 4, 200, 0, MRD_WHY_LEASE_ENDED},
    {"no session", 0, US, MRD_AUTH_OPEN, 0, 10000, 5000, MRD_WHY_NO_LEASE},
    {"no deadline", 0, US, MRD_AUTH_OPEN, 4, 0, 0, MRD_WHY_NO_LEASE},
    {"unknown partition", -1, US, MRD_AUTH_OPEN, 4, 10000, 0, MRD_WHY_UNKNOWN_PARTITION},
    {"partition beyond the table", 1, US, MRD_AUTH_OPEN, 4, 10000, 0,
     MRD_WHY_UNKNOWN_PARTITION},
    {"vacant", 0, MRD_REGION_NONE, MRD_AUTH_VACANT, 4, 10000, 0, MRD_WHY_VACANT},
    {"vacant though a region is named", 0, US, MRD_AUTH_VACANT, 4, 10000, 0, MRD_WHY_VACANT},
    {"open but of nobody", 0, MRD_REGION_NONE, MRD_AUTH_OPEN, 4, 10000, 0, MRD_WHY_VACANT},
    {"another home", 0, EU, MRD_AUTH_OPEN, 4, 10000, 0, MRD_WHY_NOT_HOME},
    {"another home, fenced: not ours first", 0, EU, MRD_AUTH_FENCING, 4, 10000, 0,
     MRD_WHY_NOT_HOME},
    {"fenced", 0, US, MRD_AUTH_FENCING, 4, 10000, 0, MRD_WHY_FENCING},
    {"fenced without a lease: fencing first", 0, US, MRD_AUTH_FENCING, 0, 0, 0,
     MRD_WHY_FENCING},
    {"frozen", 0, US, MRD_AUTH_FROZEN, 4, 10000, 0, MRD_WHY_FROZEN},
    {"frozen and the lease ended: frozen first", 0, US, MRD_AUTH_FROZEN, 4, 10000, 20000,
     MRD_WHY_FROZEN},
};

static void test_guard(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrd_snapshot *s = us();
        struct mrd_verdict v;

        ROW(rows[i].name);
        s->session = rows[i].session;
        s->lease_deadline_ns = rows[i].deadline_ms * MS;
        s->partitions[0].authority.region = rows[i].home;
        s->partitions[0].authority.state = rows[i].state;
        v = mrd_guard(s, rows[i].partition, rows[i].now_ms * MS);
        assert_int_equal(v.why, rows[i].want);
        assert_int_equal(v.allow, rows[i].want == MRD_WHY_ALLOWED);
        if (rows[i].partition == 0) {
            assert_int_equal(v.home, rows[i].home);
            assert_int_equal(v.epoch, 7);
        } else {
            assert_int_equal(v.home, MRD_REGION_NONE);
        }
    }
}

static void test_no_snapshot(void **state)
{
    struct mrd_verdict v = mrd_guard(NULL, 0, 0);

    (void)state;
    assert_false(v.allow);
    assert_int_equal(v.why, MRD_WHY_NO_SNAPSHOT);
    assert_int_equal(v.home, MRD_REGION_NONE);
}

/* What a transaction that was allowed at epoch 7 may still do at its commit. */
static void test_guard_commit(void **state)
{
    static const struct {
        const char *name;
        uint8_t home;
        enum mrd_authority_state state;
        mrd_epoch epoch;
        uint64_t now_ms;
        bool allow;
        enum mrd_reason want;
    } at[] = {
        {"as before", US, MRD_AUTH_OPEN, 7, 5000, true, MRD_WHY_ALLOWED},
        {"lease within the margin", US, MRD_AUTH_OPEN, 7, 9700, false, MRD_WHY_LEASE_ENDED},
        {"went elsewhere", EU, MRD_AUTH_OPEN, 8, 5000, false, MRD_WHY_EPOCH_CHANGED},
        {"went and came back", US, MRD_AUTH_OPEN, 9, 5000, false, MRD_WHY_EPOCH_CHANGED},
        {"frozen under another epoch", US, MRD_AUTH_FROZEN, 9, 5000, false,
         MRD_WHY_EPOCH_CHANGED},
        {"vacant", MRD_REGION_NONE, MRD_AUTH_VACANT, 7, 5000, false, MRD_WHY_VACANT},
        {"vacant after another epoch", MRD_REGION_NONE, MRD_AUTH_VACANT, 8, 5000, false,
         MRD_WHY_EPOCH_CHANGED},
        {"fenced", US, MRD_AUTH_FENCING, 7, 5000, false, MRD_WHY_FENCING},
        {"frozen: the move waits for it", US, MRD_AUTH_FROZEN, 7, 5000, true, MRD_WHY_FROZEN},
        {"frozen, last moment of the lease", US, MRD_AUTH_FROZEN, 7, 9699, true,
         MRD_WHY_FROZEN},
        {"frozen, lease ended", US, MRD_AUTH_FROZEN, 7, 9700, false, MRD_WHY_LEASE_ENDED},
    };
    (void)state;
    assert_int_equal(mrd_guard_commit(NULL, 0, 7, 0).why, MRD_WHY_NO_SNAPSHOT);
    assert_int_equal(mrd_guard_commit(us(), 1, 7, 0).why, MRD_WHY_UNKNOWN_PARTITION);
    for (size_t i = 0; i < ROWS(at); i++) {
        struct mrd_snapshot *s = us();
        struct mrd_verdict v;

        ROW(at[i].name);
        s->partitions[0].authority.region = at[i].home;
        s->partitions[0].authority.state = at[i].state;
        s->partitions[0].authority.epoch = at[i].epoch;
        v = mrd_guard_commit(s, 0, 7, at[i].now_ms * MS);
        assert_int_equal(v.why, at[i].want);
        assert_int_equal(v.allow, at[i].allow);
        assert_int_equal(v.home, at[i].home);
    }
}

static void test_may_apply(void **state)
{
    static const struct {
        const char *name;
        mrd_session session;
        uint64_t deadline_ms, now_ms;
        bool want;
    } apply[] = {
        {"lease live", 1, 10, 9, true},  {"at the deadline", 1, 10, 10, false},
        {"past it", 1, 10, 11, false},   {"none", 1, 0, 0, false},
        {"no session", 0, 10, 5, false},
    };
    (void)state;
    assert_false(mrd_may_apply(NULL, 0));
    for (size_t i = 0; i < ROWS(apply); i++) {
        struct mrd_snapshot *s = us();

        ROW(apply[i].name);
        s->session = apply[i].session;
        s->lease_deadline_ns = apply[i].deadline_ms * MS;
        assert_int_equal(mrd_may_apply(s, apply[i].now_ms * MS), apply[i].want);
    }
}

/* Sentences and hints follow the message style. */
static void test_reasons(void **state)
{
    static const char *const names[] = {
#define NAME(name, sentence, hint) #name,
        MRD_REASON_MAP(NAME)
#undef NAME
    };
    (void)state;
    for (size_t i = 0; i < ROWS(names); i++) {
        const char *sentence = mrd_reason_sentence((enum mrd_reason)i);
        const char *hint = mrd_reason_hint((enum mrd_reason)i);

        ROW(names[i]);
        assert_true(islower((unsigned char)sentence[0]));
        assert_true(sentence[strlen(sentence) - 1] != '.');
        assert_true(*hint == '\0' ||
                    (isupper((unsigned char)hint[0]) && hint[strlen(hint) - 1] == '.'));
    }
    assert_string_equal(mrd_reason_sentence((enum mrd_reason)ROWS(names)), "unknown reason");
    assert_string_equal(mrd_reason_hint((enum mrd_reason)ROWS(names)), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard),        cmocka_unit_test(test_no_snapshot),
        cmocka_unit_test(test_guard_commit), cmocka_unit_test(test_may_apply),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
