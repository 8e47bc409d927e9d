/*
 * Checking libraft's messages before libraft sees them (raft_wire.h).
 */
#include "raft_wire.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <mrd/buf.h>
#include <mrd/err.h>
#include <mrd/topology.h>

#define PREAMBLE 16

enum message {
    APPEND_ENTRIES = 1,
    APPEND_ENTRIES_RESULT = 2,
    REQUEST_VOTE = 3,
    REQUEST_VOTE_RESULT = 4,
    INSTALL_SNAPSHOT = 5,
    TIMEOUT_NOW = 6,
};

/* Bytes of each header that are read whatever they say. */
static const size_t fixed[] = {
    [APPEND_ENTRIES] = 48,      [APPEND_ENTRIES_RESULT] = 32, [REQUEST_VOTE] = 40,
    [REQUEST_VOTE_RESULT] = 24, [INSTALL_SNAPSHOT] = 56,      [TIMEOUT_NOW] = 24,
};

/*
 * Every header begins with a term and goes on with terms, indexes, ids or flags. A term of
 * chance near 2^64 would be taken by everybody and leave no room for another election, so what
 * no deployment reaches in its life is refused: 2^40 is an election every millisecond for 34
 * years.
 */
static int check_numbers(uint8_t type, struct mrd_buf b)
{
    /* The third word of a vote's answer holds flags, and beside them whatever was in memory.
     * That of an append's answer is the last index, and whatever was in memory when an older
     * term was rejected; who reads it first makes it no more than it can be. */
    unsigned count = type == REQUEST_VOTE_RESULT || type == APPEND_ENTRIES_RESULT ? 2 : 3;

    for (unsigned i = 0; i < count; i++) {
        if (mrd_buf_get_u64(&b) >> 40 != 0) {
            return MRD_EFORMAT;
        }
    }
    return 0;
}

static int check_entries(struct mrd_buf *b, uint64_t *payload)
{
    mrd_buf_get_bytes(b, 32); /* term, previous index and term, commit index */
    uint64_t n = mrd_buf_get_u64(b);
    if (b->failed || n > mrd_buf_left(b) / 16) {
        return MRD_EFORMAT;
    }
    for (uint64_t i = 0; i < n; i++) {
        mrd_buf_get_u64(b); /* term */
        uint8_t type = mrd_buf_get_u8(b);
        mrd_buf_get_bytes(b, 3);
        uint32_t len = mrd_buf_get_u32(b);
        /* Entries follow each other without gaps only when each is a multiple of 8 bytes. */
        if (type < 1 || type > 3 || len == 0 || len % 8 != 0) {
            return MRD_EFORMAT;
        }
        if (len > RAFT_WIRE_ENTRY_MAX) {
            return MRD_ETOOBIG;
        }
        *payload += len;
    }
    mrd_buf_get_u64(b); /* unused */
    return 0;
}

/* The voters that a snapshot names: a version byte, a count, and for each an id, a string that
 * ends with NUL and a role byte. */
static int check_servers(const uint8_t *conf, size_t len)
{
    struct mrd_buf b = mrd_buf_reader(conf, len);
    uint8_t version = mrd_buf_get_u8(&b);
    uint64_t n = mrd_buf_get_u64(&b);
    if (version != 1 || n == 0 || n > MRD_REGIONS_MAX) {
        return MRD_EFORMAT;
    }
    for (uint64_t i = 0; i < n; i++) {
        mrd_buf_get_u64(&b);
        const uint8_t *name = conf + b.pos;
        const uint8_t *end = b.failed ? NULL : memchr(name, 0, len - b.pos);
        if (end == NULL || mrd_buf_get_bytes(&b, (size_t)(end - name) + 1) == NULL ||
            mrd_buf_get_u8(&b) > 2) {
            return MRD_EFORMAT;
        }
    }
    return b.failed ? MRD_EFORMAT : 0;
}

static int check_snapshot(struct mrd_buf *b, uint64_t *payload)
{
    mrd_buf_get_bytes(b, 32); /* term, last index and term, index of the servers */
    uint64_t len = mrd_buf_get_u64(b);
    if (b->failed || len > mrd_buf_left(b)) {
        return MRD_EFORMAT;
    }
    const uint8_t *conf = mrd_buf_get_bytes(b, (size_t)len);
    uint64_t size = mrd_buf_get_u64(b);
    mrd_buf_get_u64(b); /* unused */
    if (b->failed || conf == NULL || size == 0) {
        return MRD_EFORMAT;
    }
    *payload = size;
    return check_servers(conf, (size_t)len);
}

/* The preamble: type and version bytes, then the header's length. Returns 0 when it is not all
 * there yet. */
static int check_preamble(const struct raft_wire *w, size_t *ret_header)
{
    struct mrd_buf b = mrd_buf_reader(w->head, w->len);
    uint8_t type = mrd_buf_get_u8(&b);
    mrd_buf_get_bytes(&b, 7);
    uint64_t len = mrd_buf_get_u64(&b);
    if (type < APPEND_ENTRIES || type > TIMEOUT_NOW || len < fixed[type]) {
        return MRD_EFORMAT;
    }
    if (len > RAFT_WIRE_HEADER_MAX) {
        return MRD_ETOOBIG;
    }
    *ret_header = (size_t)len;
    return 0;
}

static int check_header(struct raft_wire *w)
{
    struct mrd_buf b = mrd_buf_reader(w->head + PREAMBLE, w->len - PREAMBLE);
    uint64_t payload = 0;
    int rv = check_numbers(w->head[0], b);
    if (rv == 0 && w->head[0] == APPEND_ENTRIES) {
        rv = check_entries(&b, &payload);
    } else if (rv == 0 && w->head[0] == INSTALL_SNAPSHOT) {
        rv = check_snapshot(&b, &payload);
    }
    if (rv == 0 && b.failed) {
        rv = MRD_EFORMAT;
    }
    if (rv == 0 && payload > RAFT_WIRE_PAYLOAD_MAX) {
        rv = MRD_ETOOBIG;
    }
    w->payload_left = payload;
    return rv;
}

/* Take up to @want bytes of the message's head; returns how many, or an error. */
static int gather(struct raft_wire *w, const uint8_t *data, size_t len, size_t want,
                  size_t *ret_took)
{
    size_t take = want - w->len < len ? want - w->len : len;
    if (want > w->cap) {
        uint8_t *grown = realloc(w->head, want);
        if (grown == NULL) {
            return MRD_ENOMEM;
        }
        w->head = grown;
        w->cap = want;
    }
    memcpy(w->head + w->len, data, take);
    w->len += take;
    *ret_took = take;
    return 0;
}

int raft_wire_feed(struct raft_wire *w, const uint8_t *data, size_t len, raft_wire_fn pass,
                   void *ctx)
{
    while (len > 0) {
        size_t took, header = 0;
        if (w->payload_left > 0) {
            took = w->payload_left < len ? (size_t)w->payload_left : len;
            pass(ctx, data, took);
            w->payload_left -= took;
        } else {
            int rv = 0;
            bool known = w->len >= PREAMBLE;
            if (known) {
                rv = check_preamble(w, &header);
            }
            if (rv == 0) {
                rv = gather(w, data, len, PREAMBLE + header, &took);
            }
            if (rv == 0 && !known && w->len == PREAMBLE) {
                rv = check_preamble(w, &header); /* refuse at once what is no message */
            }
            if (rv == 0 && known && w->len == PREAMBLE + header) {
                rv = check_header(w);
                if (rv == 0) {
                    pass(ctx, w->head, w->len);
                    w->len = 0;
                }
            }
            if (rv != 0) {
                return rv;
            }
        }
        data += took;
        len -= took;
    }
    return 0;
}

void raft_wire_fini(struct raft_wire *w)
{
    free(w->head);
    memset(w, 0, sizeof(*w));
}
