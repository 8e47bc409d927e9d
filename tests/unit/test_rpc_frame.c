/*
 * Frames between agents: whole, half, too long, unknown.
 */
#include "unit.h"

#include <mrd/err.h>

#include <rpc_frame.h>

static const struct {
    const char *name;
    const char *bytes;
    size_t len;
    int expect;
    uint8_t type;
    uint64_t id;
    size_t payload;
} rows[] = {
    {"nothing yet", "", 0, 0, 0, 0, 0},
    {"half a length", "\x09\0", 2, 0, 0, 0, 0},
    {"ping without its flags", "\x09\0\0\0\x03\x07\0\0\0\0\0\0\0", 13, 1, RPC_PING, 7, 0},
    {"ping", "\x0a\0\0\0\x03\x07\0\0\0\0\0\0\0\x01", 14, 1, RPC_PING, 7, 1},
    {"ping and a byte more", "\x0a\0\0\0\x03\x07\0\0\0\0\0\0\0\x01\x0a", 15, 1, RPC_PING, 7, 1},
    {"half a ping", "\x0a\0\0\0\x03\x07\0\0", 8, 0, 0, 0, 0},
    {"shorter than its own head", "\x08\0\0\0\x03\x07\0\0\0\0\0\0", 12, MRD_EFORMAT, 0, 0, 0},
    {"no length at all", "\0\0\0\0", 4, MRD_EFORMAT, 0, 0, 0},
    {"one byte too long", "\x01\0\x08\0", 4, MRD_ETOOBIG, 0, 0, 0},
    {"longest: wait for it", "\0\0\x08\0\x01", 5, 0, 0, 0, 0},
    {"4 GiB", "\xff\xff\xff\xff", 4, MRD_ETOOBIG, 0, 0, 0},
    {"type 0, refused before its payload", "\x0a\0\0\0\0", 5, MRD_EFORMAT, 0, 0, 0},
    {"made anew", "\x11\0\0\0\x05\x07\0\0\0\0\0\0\0abcdefgh", 21, 1, RPC_ANEW, 7, 8},
    {"type 6", "\x0a\0\0\0\x06", 5, MRD_EFORMAT, 0, 0, 0},
    {"HTTP", "GET / HTTP/1.1\r\n", 16, MRD_ETOOBIG, 0, 0, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct rpc_frame f = {0};
        ROW(rows[i].name);
        assert_int_equal(rpc_frame_read((const uint8_t *)rows[i].bytes, rows[i].len, &f),
                         rows[i].expect);
        if (rows[i].expect == 1) {
            assert_int_equal(f.type, rows[i].type);
            assert_int_equal(f.id, rows[i].id);
            assert_int_equal(f.len, rows[i].payload);
            assert_int_equal(f.size, RPC_HEADER + rows[i].payload);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
