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

/* Written out, so that compilers see the one load or store that they are where the host's byte
 * order is this one. */
static void store32(uint8_t at[4], uint32_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
    at[2] = (uint8_t)(v >> 16);
    at[3] = (uint8_t)(v >> 24);
}

static uint32_t load32(const uint8_t at[4])
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
           (uint32_t)at[3] << 24;
}

void mrd_buf_put_u8(struct mrd_buf *b, uint8_t v)
{
    uint8_t *at = claim(b, 1);

    if (at != NULL) {
        at[0] = v;
    }
}

void mrd_buf_put_u16(struct mrd_buf *b, uint16_t v)
{
    uint8_t *at = claim(b, 2);

    if (at != NULL) {
        at[0] = (uint8_t)v;
        at[1] = (uint8_t)(v >> 8);
    }
}

void mrd_buf_put_u32(struct mrd_buf *b, uint32_t v)
{
    uint8_t *at = claim(b, 4);

    if (at != NULL) {
        store32(at, v);
    }
}

void mrd_buf_put_u64(struct mrd_buf *b, uint64_t v)
{
    uint8_t *at = claim(b, 8);

    if (at != NULL) {
        store32(at, (uint32_t)v);
        store32(at + 4, (uint32_t)(v >> 32));
    }
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
    const uint8_t *at = claim(b, 1);

    return at != NULL ? at[0] : 0;
}

uint16_t mrd_buf_get_u16(struct mrd_buf *b)
{
    const uint8_t *at = claim(b, 2);

    return (uint16_t)(at != NULL ? at[0] | at[1] << 8 : 0);
}

uint32_t mrd_buf_get_u32(struct mrd_buf *b)
{
    const uint8_t *at = claim(b, 4);

    return at != NULL ? load32(at) : 0;
}

uint64_t mrd_buf_get_u64(struct mrd_buf *b)
{
    const uint8_t *at = claim(b, 8);

    return at != NULL ? load32(at) | (uint64_t)load32(at + 4) << 32 : 0;
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
