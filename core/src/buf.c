/*
 * The bounds-checked cursor (mrd/buf.h).
 *
 * One function, claim(), decides whether the next bytes exist; everything else is written in
 * terms of it. A failed buffer stays failed: that is what lets a decoder check once, at the
 * end. Integers are assembled byte by byte, so neither alignment nor the host's byte order
 * matters.
 */
#include <mrd/buf.h>

#include <mrd/err.h>

#include <string.h>

struct mrd_buf mrd_buf_writer(void *data, size_t cap)
{
    return (struct mrd_buf){.data = data, .cap = cap};
}

struct mrd_buf mrd_buf_reader(const void *data, size_t len)
{
    /* The getters never write; one struct serves both directions. */
    return (struct mrd_buf){.data = (uint8_t *)(uintptr_t)data, .cap = len, .reading = true};
}

/* The next @len bytes, or NULL and the failed flag when they are not all there. */
static uint8_t *claim(struct mrd_buf *b, size_t len)
{
    static uint8_t nothing[1];
    uint8_t *at;

    if (b->failed || len > b->cap - b->pos) {
        b->failed = true;
        return NULL;
    }
    at = b->data != NULL ? b->data + b->pos : nothing;
    b->pos += len;
    return at;
}

static void put_le(struct mrd_buf *b, uint64_t v, size_t len)
{
    uint8_t *at = claim(b, len);

    for (size_t i = 0; at != NULL && i < len; i++) {
        at[i] = (uint8_t)(v >> (8 * i));
    }
}

static uint64_t get_le(struct mrd_buf *b, size_t len)
{
    const uint8_t *at = claim(b, len);
    uint64_t v = 0;

    for (size_t i = 0; at != NULL && i < len; i++) {
        v |= (uint64_t)at[i] << (8 * i);
    }
    return v;
}

void mrd_buf_put_u8(struct mrd_buf *b, uint8_t v)
{
    put_le(b, v, 1);
}

void mrd_buf_put_u16(struct mrd_buf *b, uint16_t v)
{
    put_le(b, v, 2);
}

void mrd_buf_put_u32(struct mrd_buf *b, uint32_t v)
{
    put_le(b, v, 4);
}

void mrd_buf_put_u64(struct mrd_buf *b, uint64_t v)
{
    put_le(b, v, 8);
}

void mrd_buf_put_bytes(struct mrd_buf *b, const void *data, size_t len)
{
    uint8_t *at = claim(b, len);

    if (at != NULL && len > 0) {
        memcpy(at, data, len);
    }
}

void mrd_buf_put_str(struct mrd_buf *b, const char *s)
{
    size_t len = strlen(s);

    /* Both or neither: a length without its string must not be left behind. */
    if (b->failed || len > UINT16_MAX || 2 + len > b->cap - b->pos) {
        b->failed = true;
        return;
    }
    mrd_buf_put_u16(b, (uint16_t)len);
    mrd_buf_put_bytes(b, s, len);
}

uint8_t mrd_buf_get_u8(struct mrd_buf *b)
{
    return (uint8_t)get_le(b, 1);
}

uint16_t mrd_buf_get_u16(struct mrd_buf *b)
{
    return (uint16_t)get_le(b, 2);
}

uint32_t mrd_buf_get_u32(struct mrd_buf *b)
{
    return (uint32_t)get_le(b, 4);
}

uint64_t mrd_buf_get_u64(struct mrd_buf *b)
{
    return get_le(b, 8);
}

const uint8_t *mrd_buf_get_bytes(struct mrd_buf *b, size_t len)
{
    return claim(b, len);
}

void mrd_buf_get_str(struct mrd_buf *b, char *out, size_t cap)
{
    size_t len = mrd_buf_get_u16(b);
    const uint8_t *at = NULL;

    mrd_assert(cap > 0);
    out[0] = '\0';
    if (b->failed || len >= cap) {
        b->failed = true;
        return;
    }
    at = claim(b, len);
    if (at == NULL || memchr(at, '\0', len) != NULL) {
        b->failed = true;
        return;
    }
    memcpy(out, at, len);
    out[len] = '\0';
}

size_t mrd_buf_left(const struct mrd_buf *b)
{
    return b->failed ? 0 : b->cap - b->pos;
}

bool mrd_buf_done(const struct mrd_buf *b)
{
    return !b->failed && (!b->reading || b->pos == b->cap);
}
