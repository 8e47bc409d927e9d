/*
 * Any bytes as a transaction. What decodes is applied, and must encode to the same bytes.
 */
#include <mrd/store.h>

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mrd_txn txn;
    static uint8_t again[MRD_TXN_MAX];
    struct mrd_buf in = mrd_buf_reader(data, size), out = mrd_buf_writer(again, sizeof(again));
    struct mrd_store *s;

    if (size > MRD_TXN_MAX || mrd_txn_decode(&in, &txn) != 0) {
        return 0;
    }
    mrd_assert(mrd_txn_encode(&txn, &out) == 0);
    mrd_assert(out.pos == size && memcmp(again, data, size) == 0);
    s = mrd_store_new();
    if (s != NULL) {
        (void)mrd_store_apply(s, &txn, NULL);
    }
    mrd_store_free(s);
    return 0;
}
