/*
 * A gate before libraft's own decoder.
 *
 * libraft 0.22.1 trusts what it receives: it allocates what a header asks for and reads past a
 * header that is too short for its counts. Its peers are authenticated, but one broken region
 * must not bring down the others, so every message passes this check first. The gate holds a
 * message's header until all of its counts and lengths agree, then lets it and its payload
 * through. The format is that of src/uv_encoding.c of that release: all integers are
 * little-endian 64-bit words unless said otherwise.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RAFT_WIRE_HEADER_MAX ((size_t)256 * 1024)
#define RAFT_WIRE_PAYLOAD_MAX ((size_t)64 * 1024 * 1024)
#define RAFT_WIRE_ENTRY_MAX ((size_t)1024 * 1024)

struct raft_wire {
    uint8_t *head; /* preamble and header gathered so far */
    size_t len, cap;
    uint64_t payload_left;
};

/** Called with bytes that passed; borrowed until the call returns. */
typedef void (*raft_wire_fn)(void *ctx, const uint8_t *data, size_t len);

/** Take bytes from a peer. 0, or MRD_EFORMAT, MRD_ETOOBIG or MRD_ENOMEM: close the connection.
 */
int raft_wire_feed(struct raft_wire *w, const uint8_t *data, size_t len, raft_wire_fn pass,
                   void *ctx);

void raft_wire_fini(struct raft_wire *w);
