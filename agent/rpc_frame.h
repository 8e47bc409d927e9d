/*
 * The frames of rpc.h, as bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RPC_FRAME_MAX (512u * 1024)
#define RPC_HEADER 13 /* length, type, id */

enum rpc_type {
    RPC_PROPOSE = 1,
    RPC_RESULT = 2,
    RPC_PING = 3,
    RPC_PONG = 4,
    RPC_ANEW = 5,
};

/** One whole frame inside a longer run of bytes. */
struct rpc_frame {
    uint8_t type;
    uint64_t id;
    const uint8_t *payload; /* borrowed from the input */
    size_t len;
    size_t size; /* bytes of the input it took */
};

/** Read the frame at the start of @data: 1 and *@ret, 0 when more bytes are needed, or
 *  MRD_EFORMAT or MRD_ETOOBIG. */
int rpc_frame_read(const uint8_t *data, size_t len, struct rpc_frame *ret);
