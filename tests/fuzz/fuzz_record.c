/*
 * Any bytes as a record. The first byte chooses the kind; what decodes must encode again.
 */
#include <mrd/err.h>
#include <mrd/record.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRY(noun)                                                                              \
    static void try_##noun(struct mrd_buf *in, struct mrd_buf *out)                            \
    {                                                                                          \
        struct mrd_##noun##_record r;                                                          \
        if (mrd_##noun##_record_decode(in, &r) == 0) {                                         \
            mrd_assert(mrd_##noun##_record_encode(&r, out) == 0);                              \
            mrd_assert(out->pos == in->pos);                                                   \
        }                                                                                      \
    }
TRY(session)
TRY(authority)
TRY(failover)
TRY(fence)
TRY(move)
TRY(receipt)
TRY(approval)
TRY(anew)
TRY(dial)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct mrd_buf *, struct mrd_buf *) = {
        try_session, try_authority, try_failover, try_fence, try_move,
        try_receipt, try_approval,  try_anew,     try_dial};
    static uint8_t again[16384];
    struct mrd_buf in, out = mrd_buf_writer(again, sizeof(again));

    if (size > 0) {
        in = mrd_buf_reader(data + 1, size - 1);
        tries[data[0] % (sizeof(tries) / sizeof(tries[0]))](&in, &out);
    }
    return 0;
}
