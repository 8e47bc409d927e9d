/*
 * The gate before libraft: the first byte says how the rest is cut into reads. Whatever passes
 * must be the same however it is cut.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <raft_wire.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash;
    size_t len;
};

static void take(void *ctx, const uint8_t *data, size_t len)
{
    struct sum *s = ctx;
    for (size_t i = 0; i < len; i++) {
        s->hash = (s->hash ^ data[i]) * 1099511628211u;
    }
    s->len += len;
}

static int feed(const uint8_t *data, size_t size, size_t step, struct sum *s)
{
    struct raft_wire w = {0};
    int rv = 0;
    for (size_t at = 0; at < size && rv == 0; at += step) {
        rv = raft_wire_feed(&w, data + at, at + step < size ? step : size - at, take, s);
    }
    raft_wire_fini(&w);
    return rv;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sum whole = {0}, cut = {0};
    if (size < 1) {
        return 0;
    }
    int a = feed(data + 1, size - 1, size, &whole);
    int b = feed(data + 1, size - 1, 1 + data[0] % 64, &cut);
    assert(a == b);
    assert(whole.hash == cut.hash && whole.len == cut.len);
    return 0;
}
