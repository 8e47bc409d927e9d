/*
 * The cursor: every width and its bounds, strings, and that failure sticks.
 */
#include "unit.h"

#include <mrd/buf.h>

static void test_round_trip(void **state)
{
    uint8_t bytes[64];
    char s[8];
    struct mrd_buf w = mrd_buf_writer(bytes, sizeof(bytes)), r;

    (void)state;
    mrd_buf_put_u8(&w, 0xfe);
    mrd_buf_put_u16(&w, 0x0102);
    mrd_buf_put_u32(&w, 0x01020304);
    mrd_buf_put_u64(&w, 0x0102030405060708);
    mrd_buf_put_str(&w, "abc");
    mrd_buf_put_str(&w, "");
    mrd_buf_put_bytes(&w, "xy", 2);
    mrd_buf_put_bytes(&w, NULL, 0);
    assert_true(mrd_buf_done(&w));
    assert_int_equal(w.pos, 1 + 2 + 4 + 8 + 5 + 2 + 2);
    assert_memory_equal(bytes, "\xfe\x02\x01\x04\x03\x02\x01\x08\x07", 9);

    r = mrd_buf_reader(bytes, w.pos);
    assert_int_equal(mrd_buf_get_u8(&r), 0xfe);
    assert_int_equal(mrd_buf_get_u16(&r), 0x0102);
    assert_int_equal(mrd_buf_get_u32(&r), 0x01020304);
    assert_int_equal(mrd_buf_get_u64(&r), 0x0102030405060708);
    mrd_buf_get_str(&r, s, 4);
    assert_string_equal(s, "abc");
    mrd_buf_get_str(&r, s, 1);
    assert_string_equal(s, "");
    assert_false(mrd_buf_done(&r));
    assert_int_equal(mrd_buf_left(&r), 2);
    assert_memory_equal(mrd_buf_get_bytes(&r, 2), "xy", 2);
    assert_true(mrd_buf_done(&r));
}

static uint64_t get(struct mrd_buf *b, unsigned width)
{
    switch (width) {
    case 1:
        return mrd_buf_get_u8(b);
    case 2:
        return mrd_buf_get_u16(b);
    case 4:
        return mrd_buf_get_u32(b);
    default:
        return mrd_buf_get_u64(b);
    }
}

static void put(struct mrd_buf *b, unsigned width, uint64_t v)
{
    switch (width) {
    case 1:
        mrd_buf_put_u8(b, (uint8_t)v);
        break;
    case 2:
        mrd_buf_put_u16(b, (uint16_t)v);
        break;
    case 4:
        mrd_buf_put_u32(b, (uint32_t)v);
        break;
    default:
        mrd_buf_put_u64(b, v);
    }
}

/* For every width and every shortage: nothing moves, nothing is touched, failure sticks. */
static void test_bounds(void **state)
{
    static const unsigned widths[] = {1, 2, 4, 8};

    (void)state;
    for (size_t i = 0; i < ROWS(widths); i++) {
        for (size_t room = 0; room < widths[i]; room++) {
            uint8_t bytes[9];
            struct mrd_buf b = mrd_buf_writer(bytes, room);

            memset(bytes, 0xaa, sizeof(bytes));
            put(&b, widths[i], 0);
            assert_true(b.failed && b.pos == 0);
            mrd_buf_put_bytes(&b, "z", 0);
            assert_false(mrd_buf_done(&b));
            for (size_t k = 0; k < sizeof(bytes); k++) {
                assert_int_equal(bytes[k], 0xaa);
            }
            b = mrd_buf_reader(bytes, room);
            assert_int_equal(get(&b, widths[i]), 0);
            assert_true(b.failed);
            assert_int_equal(mrd_buf_left(&b), 0);
            assert_int_equal(mrd_buf_get_u8(&b), 0);
        }
    }
}

static void test_sizes_that_wrap(void **state)
{
    uint8_t bytes[4] = {1, 2, 3, 4};
    struct mrd_buf b = mrd_buf_reader(bytes, sizeof(bytes));

    (void)state;
    assert_int_equal(mrd_buf_get_u8(&b), 1);
    assert_null(mrd_buf_get_bytes(&b, SIZE_MAX));
    assert_true(b.failed);
    b = mrd_buf_reader(NULL, 0);
    assert_non_null(mrd_buf_get_bytes(&b, 0));
    assert_true(mrd_buf_done(&b));
}

static void test_strings(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t len, cap;
        const char *want; /* NULL: failed */
    } rows[] = {
        {"empty", "\0\0", 2, 1, ""},
        {"fits exactly", "\3\0abc", 5, 4, "abc"},
        {"one too long for the caller", "\3\0abc", 5, 3, NULL},
        {"longer than the input", "\4\0abc", 5, 8, NULL},
        {"length cut", "\3", 1, 8, NULL},
        {"a NUL inside", "\3\0a\0c", 5, 8, NULL},
        {"longest length, no bytes", "\xff\xff", 2, 8, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char out[8] = "unset";
        struct mrd_buf b = mrd_buf_reader(rows[i].bytes, rows[i].len);

        ROW(rows[i].name);
        mrd_buf_get_str(&b, out, rows[i].cap);
        assert_string_equal(out, rows[i].want != NULL ? rows[i].want : "");
        assert_int_equal(b.failed, rows[i].want == NULL);
    }
}

static void test_string_too_long_to_write(void **state)
{
    static char big[65537];
    static uint8_t bytes[65600];
    struct mrd_buf b = mrd_buf_writer(bytes, sizeof(bytes));

    (void)state;
    memset(big, 'a', sizeof(big) - 1);
    mrd_buf_put_str(&b, big);
    assert_true(b.failed && b.pos == 0);
    big[65535] = '\0';
    b = mrd_buf_writer(bytes, sizeof(bytes));
    mrd_buf_put_str(&b, big);
    assert_true(!b.failed && b.pos == 65537);
    b = mrd_buf_writer(bytes, 65536);
    mrd_buf_put_str(&b, big);
    assert_true(b.failed && b.pos == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_sizes_that_wrap),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_string_too_long_to_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
