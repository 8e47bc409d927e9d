/*
 * Records: what is written is read back, and nothing else is.
 *
 * One table of records; each row's example goes through its writer and reader, and then through
 * every prefix and every flipped bit, which must be refused or give a record that the writer
 * takes again.
 */
#include "unit.h"

#include <mrd/err.h>
#include <mrd/record.h>

union any {
    struct mrd_session_record session;
    struct mrd_authority_record authority;
    struct mrd_failover_record failover;
    struct mrd_fence_record fence;
    struct mrd_move_record move;
    struct mrd_receipt_record receipt;
    struct mrd_anew_record anew;
    struct mrd_approval_record approval;
    struct mrd_dial_record dial;
};

typedef int (*encode_fn)(const union any *r, struct mrd_buf *out);
typedef int (*decode_fn)(struct mrd_buf *in, union any *ret);

static void example_session(union any *r)
{
    r->session = (struct mrd_session_record){
        .session = 3,
        .seq = 44,
        .expired = true,
        .expired_ms = 5,
        .opened_lsn = 6,
        .after_failover = 0x700,
        .ready = MRD_SEES_SQL,
        .wal_lsn = 0x100000000ull,
        .boot_ms = 9,
        .wall_ms = 10,
        .agent_pid = 11,
        .lacks = {0, 0x81},
        .peer_count = 2,
        .peers = {{"eu-west-1", MRD_SEES_AGENT, 78000, 1, 2, 3, 4, 5, 1}, {.region = "us"}},
    };
}

static void example_authority(union any *r)
{
    r->authority = (struct mrd_authority_record){
        .last_region = "eu",
        .epoch = 9,
        .state = MRD_AUTH_VACANT,
        .why = "nobody is left",
        .history_count = 2,
        .history = {{7, "us", 100, 1, 2, "move", 3, 1, 4},
                    {8, "eu", 200, 5, 6, "failover", 7, 4, 8}},
    };
}

static void example_failover(union any *r)
{
    r->failover = (struct mrd_failover_record){
        0x1200, 0x700, "us", 3, 17, MRD_FAILOVER_DONE, 6, "unreachable", 1000, 2000};
}

static void example_approval(union any *r)
{
    r->approval = (struct mrd_approval_record){
        0x1300,        "us", 3,    17,  MRD_APPROVAL_GIVEN, 2, 2, {"anna", "ben"}, "",
        "unreachable", 6,    1000, 2000};
}

static void example_dial(union any *r)
{
    r->dial = (struct mrd_dial_record){25, true, "anna", 1000};
}

static void example_fence(union any *r)
{
    r->fence = (struct mrd_fence_record){0x1200, 0xabcdef, 3, 4, 5};
}

static void example_move(union any *r)
{
    r->move = (struct mrd_move_record){0x1301, "us", "eu",       4, MRD_MOVE_FROZEN,
                                       5,      6,    UINT64_MAX, 8, "because"};
}

static void example_receipt(union any *r)
{
    r->receipt = (struct mrd_receipt_record){
        0x1301, "failover", "orders", "all", "us", "eu", 5,    "eu,ap", "granted",
        1,      2,          3,        4,     5,    6,    7,    8,       9,
        10,     11,         12,       13,    14,   15,   true,
    };
}

static void example_anew(union any *r)
{
    r->anew = (struct mrd_anew_record){0xabcdef, 3, UINT64_C(2) << 40, 1000};
}

#define WRAP(noun)                                                                             \
    static int encode_##noun(const union any *r, struct mrd_buf *out)                          \
    {                                                                                          \
        return mrd_##noun##_record_encode(&r->noun, out);                                      \
    }                                                                                          \
    static int decode_##noun(struct mrd_buf *in, union any *ret)                               \
    {                                                                                          \
        return mrd_##noun##_record_decode(in, &ret->noun);                                     \
    }
WRAP(session)
WRAP(authority)
WRAP(failover)
WRAP(fence)
WRAP(move)
WRAP(receipt)
WRAP(approval)
WRAP(anew)
WRAP(dial)

static const struct {
    const char *name;
    encode_fn encode;
    decode_fn decode;
    void (*example)(union any *r);
} records[] = {
    {"session", encode_session, decode_session, example_session},
    {"authority", encode_authority, decode_authority, example_authority},
    {"failover", encode_failover, decode_failover, example_failover},
    {"fence", encode_fence, decode_fence, example_fence},
    {"move", encode_move, decode_move, example_move},
    {"receipt", encode_receipt, decode_receipt, example_receipt},
    {"approval", encode_approval, decode_approval, example_approval},
    {"anew", encode_anew, decode_anew, example_anew},
    {"dial", encode_dial, decode_dial, example_dial},
};

static size_t encode(size_t i, const union any *r, uint8_t bytes[8192])
{
    struct mrd_buf out = mrd_buf_writer(bytes, 8192);

    assert_int_equal(records[i].encode(r, &out), 0);
    return out.pos;
}

static void round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(records); i++) {
        union any r, back, again;
        uint8_t bytes[8192], twice[8192];
        struct mrd_buf in, small;
        size_t len;
        ROW(records[i].name);
        memset(&r, 0, sizeof(r));
        records[i].example(&r);
        len = encode(i, &r, bytes);
        in = mrd_buf_reader(bytes, len);
        assert_int_equal(records[i].decode(&in, &back), 0);
        assert_int_equal(encode(i, &back, twice), len);
        assert_memory_equal(bytes, twice, len);
        in = mrd_buf_reader(twice, len);
        assert_int_equal(records[i].decode(&in, &again), 0);
        small = mrd_buf_writer(twice, len - 1);
        assert_int_equal(records[i].encode(&r, &small), MRD_ETOOBIG);
    }
}

/* Fields that decide something, read back one by one. */
static void fields_survive(void **state)
{
    union any r, back;
    uint8_t bytes[8192];
    struct mrd_buf in;

    (void)state;
    memset(&r, 0, sizeof(r));
    example_session(&r);
    in = mrd_buf_reader(bytes, encode(0, &r, bytes));
    assert_int_equal(records[0].decode(&in, &back), 0);
    assert_int_equal(back.session.seq, 44);
    assert_true(back.session.expired);
    assert_int_equal(back.session.after_failover, 0x700);
    assert_string_equal(back.session.peers[0].region, "eu-west-1");
    assert_int_equal(back.session.peers[0].catch_up_lsn, 5);
    assert_int_equal(back.session.peers[0].refused, 1);

    memset(&r, 0, sizeof(r));
    example_authority(&r);
    in = mrd_buf_reader(bytes, encode(1, &r, bytes));
    assert_int_equal(records[1].decode(&in, &back), 0);
    assert_int_equal(back.authority.history[1].cut, 200);
    assert_string_equal(back.authority.history[1].reason, "failover");
    assert_string_equal(back.authority.last_region, "eu");
}

static void hostile_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(records); i++) {
        union any r, before, back;
        uint8_t bytes[8192], scratch[8192];
        struct mrd_buf in;
        size_t len;
        ROW(records[i].name);
        memset(&r, 0, sizeof(r));
        records[i].example(&r);
        len = encode(i, &r, bytes);
        memset(&back, 0x5a, sizeof(back));
        before = back;
        for (size_t n = 0; n < len; n++) {
            in = mrd_buf_reader(bytes, n);
            assert_int_equal(records[i].decode(&in, &back), MRD_EFORMAT);
        }
        in = mrd_buf_reader(bytes, len + 1); /* a byte too many */
        bytes[len] = 0;
        assert_int_equal(records[i].decode(&in, &back), MRD_EFORMAT);
        bytes[0] += 2;
        in = mrd_buf_reader(bytes, len);
        assert_int_equal(records[i].decode(&in, &back), MRD_EVERSION);
        bytes[0] -= 2;
        assert_memory_equal(&back, &before, sizeof(back)); /* untouched on failure */
        for (size_t bit = 8; bit < len * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            in = mrd_buf_reader(bytes, len);
            if (records[i].decode(&in, &back) == 0) {
                encode(i, &back, scratch);
            }
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void rules_of_the_authority(void **state)
{
    static const struct {
        const char *name;
        mrd_epoch present, first, second;
        const char *why;
        int rc;
    } rows[] = {
        {"growing", 9, 7, 8, "", 0},
        {"gap", 9, 3, 8, "", 0},
        {"history reaches the present", 8, 7, 8, "", MRD_EFORMAT},
        {"epochs repeat", 9, 8, 8, "", MRD_EFORMAT},
        {"epochs fall", 9, 8, 7, "", MRD_EFORMAT},
        {"a line feed in the reason", 9, 7, 8, "a\nb", MRD_EFORMAT},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        union any r, back;
        uint8_t bytes[8192];
        struct mrd_buf in;
        ROW(rows[i].name);
        memset(&r, 0, sizeof(r));
        example_authority(&r);
        r.authority.epoch = rows[i].present;
        r.authority.history[0].epoch = rows[i].first;
        r.authority.history[1].epoch = rows[i].second;
        snprintf(r.authority.why, sizeof(r.authority.why), "%s", rows[i].why);
        in = mrd_buf_reader(bytes, encode(1, &r, bytes));
        assert_int_equal(records[1].decode(&in, &back), rows[i].rc);
    }
}

/* Held is a version of its own, which those who do not know it refuse; what is not held is
 * written as they know it. */
static void what_is_held_has_another_version(void **state)
{
    union any r, back;
    uint8_t bytes[8192];
    struct mrd_buf in;

    (void)state;
    memset(&r, 0, sizeof(r));
    example_authority(&r);
    in = mrd_buf_reader(bytes, encode(1, &r, bytes));
    assert_int_equal(bytes[0], 1);
    assert_int_equal(records[1].decode(&in, &back), 0);
    assert_false(back.authority.held);
    r.authority.held = true;
    in = mrd_buf_reader(bytes, encode(1, &r, bytes));
    assert_int_equal(bytes[0], 2);
    assert_int_equal(records[1].decode(&in, &back), 0);
    assert_true(back.authority.held);
    assert_int_equal(back.authority.history[1].cut, 200);
    r.authority.history_count = 0; /* by whose lease? */
    in = mrd_buf_reader(bytes, encode(1, &r, bytes));
    assert_int_equal(records[1].decode(&in, &back), MRD_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(fields_survive),
        cmocka_unit_test(hostile_bytes),
        cmocka_unit_test(rules_of_the_authority),
        cmocka_unit_test(what_is_held_has_another_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
