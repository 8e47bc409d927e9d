/*
 * The one cursor through which bytes from outside are read and written.
 *
 * A buffer borrows its storage from the caller. Reading past the end, or writing past the
 * capacity, sets the failed flag, after which every read gives zero and every write does
 * nothing: a decoder may read a whole record and ask once, at the end, whether it was there.
 * Integers are little-endian. Strings are a 16-bit length and that many bytes, no NUL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mrd_buf {
    uint8_t *data; /* borrowed for the life of the buffer */
    size_t cap;    /* bytes of storage (writing) or of input (reading) */
    size_t pos;    /* next byte to read or write */
    bool failed;   /* a read or write went out of bounds, or a string was malformed */
    bool reading;  /* made by mrd_buf_reader: done means that nothing is left over */
};

/** Write into @cap bytes at @data. */
struct mrd_buf mrd_buf_writer(void *data, size_t cap);

/** Read @len bytes at @data; they are not changed. */
struct mrd_buf mrd_buf_reader(const void *data, size_t len);

void mrd_buf_put_u8(struct mrd_buf *b, uint8_t v);
void mrd_buf_put_u16(struct mrd_buf *b, uint16_t v);
void mrd_buf_put_u32(struct mrd_buf *b, uint32_t v);
void mrd_buf_put_u64(struct mrd_buf *b, uint64_t v);
void mrd_buf_put_bytes(struct mrd_buf *b, const void *data, size_t len);
/** A NUL-terminated string of at most 65535 bytes. */
void mrd_buf_put_str(struct mrd_buf *b, const char *s);

uint8_t mrd_buf_get_u8(struct mrd_buf *b);
uint16_t mrd_buf_get_u16(struct mrd_buf *b);
uint32_t mrd_buf_get_u32(struct mrd_buf *b);
uint64_t mrd_buf_get_u64(struct mrd_buf *b);
/** @len bytes of the input, borrowed as long as the input lives; NULL on failure. */
const uint8_t *mrd_buf_get_bytes(struct mrd_buf *b, size_t len);
/** A string into @out of @cap bytes, NUL-terminated. Too long, or with a NUL inside: failed. */
void mrd_buf_get_str(struct mrd_buf *b, char *out, size_t cap);

/** Bytes not yet read. */
size_t mrd_buf_left(const struct mrd_buf *b);
/** True when nothing failed and, for a reader, every byte was used. */
bool mrd_buf_done(const struct mrd_buf *b);
