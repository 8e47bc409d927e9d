/*
 * Tokens from clients. The input is the text; it is also tried with a right signature put
 * behind it, so that the fields are reached. What parses must be written back unchanged.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <mrd/token.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[32] = "a key that is only for this test";

static void parse(const char *text, size_t len)
{
    struct mrd_token token;
    char back[MRD_TOKEN_MAX];

    if (mrd_token_parse(text, len, key, &token) == 0) {
        int written = mrd_token_format(&token, key, back, sizeof(back));

        assert(written > 0 && (size_t)written == len && memcmp(back, text, len) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256];
    uint8_t mac[32];
    size_t len = size;

    parse((const char *)data, size);
    if (size + 1 + 32 + 1 > sizeof(text)) {
        return 0;
    }
    memcpy(text, data, size);
    mrd_hmac_sha256(key, sizeof(key), text, size, mac);
    text[len++] = '.';
    for (unsigned i = 0; i < 16; i++, len += 2) {
        snprintf(text + len, 3, "%02x", mac[i]);
    }
    parse(text, len);
    return 0;
}
