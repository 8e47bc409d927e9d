/*
 * A gate before libraft's own decoder.
 *
 * libraft 0.22.1 trusts what it receives: it allocates what a header asks for and reads past a
 * header that is too short for its counts. Its peers are authenticated, but one broken region
 * must not bring down the others, so every message passes this check first. The gate holds a
 * message's header until all of its counts and lengths agree, then lets it and its payload
 * through. The format is that of src/uv_encoding.c of that release: all integers are
 * little-endian 64-bit words unless said otherwise.
 *
 * The same gate stands where our own messages leave, for one number that libraft leaves unset:
 * who rejects what a leader of an older term sent says nothing of its own last index, and what
 * was in memory goes out as it. Should that leader lead again, it goes on from there. A
 * follower that has an image in place of its log's beginning and is sent its first entry again
 * appends it at the end: its log is broken. So an answer that leaves here says what is so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAFT_WIRE_HEADER_MAX ((size_t)256 * 1024)
#define RAFT_WIRE_PAYLOAD_MAX ((size_t)64 * 1024 * 1024)
#define RAFT_WIRE_ENTRY_MAX ((size_t)1024 * 1024)

struct raft_wire {
    uint8_t *head; /* preamble and header gathered so far */
    size_t len, cap;
    uint64_t payload_left;
    bool own;            /* messages of our own libraft, on their way out */
    uint64_t last_index; /* then: of its log, now */
};

/** Called with bytes that passed; borrowed until the call returns. */
typedef void (*raft_wire_fn)(void *ctx, const uint8_t *data, size_t len);

/** Take bytes from a peer. 0, or MRD_EFORMAT, MRD_ETOOBIG or MRD_ENOMEM: close the connection.
 */
int raft_wire_feed(struct raft_wire *w, const uint8_t *data, size_t len, raft_wire_fn pass,
                   void *ctx);

void raft_wire_fini(struct raft_wire *w);
