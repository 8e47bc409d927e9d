/*
 * Any bytes as a dump of the store. What restores must dump to the same bytes.
 */
#include <mrd/store.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mrd_store *s = mrd_store_new();
    struct mrd_buf in = mrd_buf_reader(data, size), out;
    uint8_t *again;

    if (s != NULL && mrd_store_restore(s, &in) == 0 && (again = malloc(size)) != NULL) {
        out = mrd_buf_writer(again, size);
        mrd_assert(mrd_store_dump(s, &out) == 0);
        mrd_assert(out.pos == size && memcmp(again, data, size) == 0);
        free(again);
    }
    mrd_store_free(s);
    return 0;
}
