/*
 * The gate before libraft's decoder: what passes whole, what is refused, whatever the pieces.
 */
#include "unit.h"

#include <mrd/buf.h>
#include <mrd/err.h>

#include <raft_wire.h>

struct sink {
    uint8_t data[4096];
    size_t len;
};

static void take(void *ctx, const uint8_t *data, size_t len)
{
    struct sink *s = ctx;
    assert_true(s->len + len <= sizeof(s->data));
    memcpy(s->data + s->len, data, len);
    s->len += len;
}

/* A message of @type with @words in its header; -1 ends the words. */
static size_t message(uint8_t *out, size_t cap, uint8_t type, const int64_t *words,
                      size_t payload)
{
    size_t n = 0;
    while (words[n] != -1) {
        n++;
    }
    struct mrd_buf b = mrd_buf_writer(out, cap);
    mrd_buf_put_u64(&b, type);
    mrd_buf_put_u64(&b, n * 8);
    for (size_t i = 0; i < n; i++) {
        mrd_buf_put_u64(&b, (uint64_t)words[i]);
    }
    for (size_t i = 0; i < payload; i++) {
        mrd_buf_put_u8(&b, (uint8_t)i);
    }
    assert_false(b.failed);
    return b.pos;
}

#define ENTRY(type, len) ((int64_t)(type) | (int64_t)(len) << 32)

static const struct row {
    const char *name;
    uint8_t type;
    int64_t words[16];
    size_t payload;
    int expect;
} rows[] = {
    {"request vote", 3, {1, 2, 3, 4, 0, -1}, 0, 0},
    {"request vote, too short for its flags", 3, {1, 2, 3, 4, -1}, 0, MRD_EFORMAT},
    {"a term that nobody could follow", 3, {INT64_MAX, 2, 3, 4, 0, -1}, 0, MRD_EFORMAT},
    {"an index beyond any log", 1, {1, INT64_C(1) << 40, 0, 0, 0, 0, -1}, 0, MRD_EFORMAT},
    {"request vote result", 4, {1, 1, 0, -1}, 0, 0},
    {"request vote result, its flags beside bytes of chance",
     4,
     {1, 1, 0x80000010001, -1},
     0,
     0},
    {"request vote result of a term beyond reach", 4, {1ll << 40, 1, 0, -1}, 0, MRD_EFORMAT},
    {"timeout now", 6, {1, 2, 3, -1}, 0, 0},
    {"append result", 2, {1, 0, 7, 0, -1}, 0, 0},
    {"append result that rejects an older term, its index left to chance",
     2,
     {2, 7, INT64_MIN + 5, 0, -1},
     0,
     0},
    {"append result of a term beyond reach", 2, {1ll << 40, 0, 7, 0, -1}, 0, MRD_EFORMAT},
    {"append result, empty", 2, {-1}, 0, MRD_EFORMAT},
    {"heartbeat: no entries", 1, {1, 0, 0, 0, 0, 0, -1}, 0, 0},
    {"one entry", 1, {1, 0, 0, 0, 1, 1, ENTRY(1, 8), 0, -1}, 8, 0},
    {"two entries", 1, {1, 0, 0, 0, 2, 1, ENTRY(1, 16), 1, ENTRY(2, 8), 0, -1}, 24, 0},
    {"more entries than the header holds",
     1,
     {1, 0, 0, 0, 2, 1, ENTRY(1, 8), 0, -1},
     0,
     MRD_EFORMAT},
    {"a count near 2^64", 1, {1, 0, 0, 0, -2, 1, ENTRY(1, 8), 0, -1}, 0, MRD_EFORMAT},
    {"an entry of no bytes", 1, {1, 0, 0, 0, 1, 1, ENTRY(1, 0), 0, -1}, 0, MRD_EFORMAT},
    {"an entry that is no multiple of 8",
     1,
     {1, 0, 0, 0, 1, 1, ENTRY(1, 9), 0, -1},
     0,
     MRD_EFORMAT},
    {"an entry of unknown type", 1, {1, 0, 0, 0, 1, 1, ENTRY(9, 8), 0, -1}, 0, MRD_EFORMAT},
    {"an entry longer than any transaction",
     1,
     {1, 0, 0, 0, 1, 1, ENTRY(1, 0x7ffffff8), 0, -1},
     0,
     MRD_ETOOBIG},
    {"type 0", 0, {1, 2, 3, 4, 5, 6, -1}, 0, MRD_EFORMAT},
    {"type 7", 7, {1, 2, 3, 4, 5, 6, -1}, 0, MRD_EFORMAT},
    {"snapshot with a list longer than the header",
     5,
     {1, 9, 1, 1, 4096, 1, 0, 8, 0, -1},
     0,
     MRD_EFORMAT},
    {"snapshot with a list length near 2^64",
     5,
     {1, 9, 1, 1, -8, 1, 0, 8, 0, -1},
     0,
     MRD_EFORMAT},
    {"snapshot of nothing", 5, {1, 9, 1, 1, 0, 0, 0, -1}, 0, MRD_EFORMAT},
};

/* Feed in pieces of @step bytes: refused or passed unchanged. */
static void feed(const struct row *r, size_t step)
{
    uint8_t bytes[1024];
    size_t len = message(bytes, sizeof(bytes), r->type, r->words, r->payload);
    struct raft_wire w = {0};
    struct sink s = {.len = 0};
    int rv = 0;

    for (size_t at = 0; at < len && rv == 0; at += step) {
        rv = raft_wire_feed(&w, bytes + at, at + step < len ? step : len - at, take, &s);
    }
    assert_int_equal(rv, r->expect);
    if (rv == 0) {
        assert_int_equal(s.len, len);
        assert_memory_equal(s.data, bytes, len);
    } else {
        assert_int_equal(s.len, 0);
    }
    raft_wire_fini(&w);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        ROW(rows[i].name);
        feed(&rows[i], 1);
        feed(&rows[i], 7);
        feed(&rows[i], 1024);
    }
}

/* The header of a snapshot as libraft writes it, byte by byte. */
static size_t snapshot(uint8_t *out, size_t cap, const char *address, uint8_t role)
{
    uint8_t conf[64] = {0};
    struct mrd_buf c = mrd_buf_writer(conf, sizeof(conf));
    mrd_buf_put_u8(&c, 1);
    mrd_buf_put_u64(&c, 1);
    mrd_buf_put_u64(&c, 1);
    mrd_buf_put_bytes(&c, address, strlen(address) + 1);
    mrd_buf_put_u8(&c, role);
    size_t conf_len = (c.pos + 7) / 8 * 8;
    struct mrd_buf b = mrd_buf_writer(out, cap);
    mrd_buf_put_u64(&b, 5);
    mrd_buf_put_u64(&b, 40 + conf_len + 16);
    for (int i = 0; i < 4; i++) {
        mrd_buf_put_u64(&b, 3);
    }
    mrd_buf_put_u64(&b, conf_len);
    mrd_buf_put_bytes(&b, conf, conf_len);
    mrd_buf_put_u64(&b, 8);
    mrd_buf_put_u64(&b, 0);
    mrd_buf_put_u64(&b, 0x1122334455667788); /* the data */
    return b.pos;
}

static void test_snapshot_servers(void **state)
{
    uint8_t bytes[256];
    struct raft_wire w = {0};
    struct sink s = {.len = 0};
    (void)state;

    size_t len = snapshot(bytes, sizeof(bytes), "us-east-1", 2);
    assert_int_equal(raft_wire_feed(&w, bytes, len, take, &s), 0);
    assert_int_equal(s.len, len);

    len = snapshot(bytes, sizeof(bytes), "us-east-1", 3); /* no such role */
    assert_int_equal(raft_wire_feed(&w, bytes, len, take, &s), MRD_EFORMAT);
    raft_wire_fini(&w);

    len = snapshot(bytes, sizeof(bytes), "us-east-1", 2);
    memset(bytes + 16 + 40 + 17, 'x', 15); /* the address does not end inside the list */
    assert_int_equal(raft_wire_feed(&w, bytes, len, take, &s), MRD_EFORMAT);
    raft_wire_fini(&w);
}

static void test_header_too_long(void **state)
{
    uint8_t preamble[16] = {1};
    struct raft_wire w = {0};
    struct sink s = {.len = 0};
    struct mrd_buf b = mrd_buf_writer(preamble + 8, 8);
    (void)state;
    mrd_buf_put_u64(&b, UINT64_MAX - 7);
    /* Refused at the preamble, before anything is allocated for it. */
    assert_int_equal(raft_wire_feed(&w, preamble, sizeof(preamble), take, &s), MRD_ETOOBIG);
    assert_true(w.cap <= sizeof(preamble));
    raft_wire_fini(&w);
}

static void test_many_in_one_read(void **state)
{
    static const int64_t vote[] = {1, 2, 3, 4, 0, -1};
    static const int64_t entry[] = {1, 0, 0, 0, 1, 1, ENTRY(1, 8), 0, -1};
    uint8_t bytes[1024];
    struct raft_wire w = {0};
    struct sink s = {.len = 0};
    size_t len = 0;
    (void)state;
    for (int i = 0; i < 5; i++) {
        len += message(bytes + len, sizeof(bytes) - len, 3, vote, 0);
        len += message(bytes + len, sizeof(bytes) - len, 1, entry, 8);
    }
    assert_int_equal(raft_wire_feed(&w, bytes, len, take, &s), 0);
    assert_int_equal(s.len, len);
    assert_memory_equal(s.data, bytes, len);
    raft_wire_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_snapshot_servers),
        cmocka_unit_test(test_header_too_long),
        cmocka_unit_test(test_many_in_one_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
