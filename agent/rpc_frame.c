/*
 * Finding whole frames in a run of bytes (rpc_frame.h).
 */
#include "rpc_frame.h"

#include <mrd/buf.h>
#include <mrd/err.h>

int rpc_frame_read(const uint8_t *data, size_t len, struct rpc_frame *ret)
{
    struct mrd_buf b = mrd_buf_reader(data, len);
    if (len < 4) {
        return 0;
    }
    uint32_t length = mrd_buf_get_u32(&b);
    if (length > RPC_FRAME_MAX) {
        return MRD_ETOOBIG;
    }
    if (length < RPC_HEADER - 4) {
        return MRD_EFORMAT;
    }
    /* Refuse an unknown type before waiting for its payload. */
    if (len > 4 && (data[4] < RPC_PROPOSE || data[4] > RPC_ANEW)) {
        return MRD_EFORMAT;
    }
    if (len - 4 < length) {
        return 0;
    }
    ret->type = mrd_buf_get_u8(&b);
    ret->id = mrd_buf_get_u64(&b);
    ret->len = length - (RPC_HEADER - 4);
    ret->payload = mrd_buf_get_bytes(&b, ret->len);
    ret->size = 4 + (size_t)length;
    return 1;
}
