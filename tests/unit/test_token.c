/*
 * Tokens: the digests they stand on against published vectors, round trips, and that no byte
 * of one can be changed.
 */
#include "unit.h"

#include "../../core/src/sha256.h"

#include <mrd/err.h>
#include <mrd/token.h>

static const uint8_t key[32] = "0123456789abcdef0123456789abcde";

static void to_hex(const uint8_t *bytes, size_t len, char *ret)
{
    for (size_t i = 0; i < len; i++) {
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    }
}

/* FIPS 180-4 examples and their companions on the same page of vectors. */
static void test_sha256(void **state)
{
    static const struct {
        const char *name, *text;
        unsigned times;
        const char *digest;
    } rows[] = {
        {"nothing", "", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"a million times a", "aaaaaaaaaa", 100000,
         "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct mrdi_sha256 x;
        uint8_t digest[32];
        char text[65];

        ROW(rows[i].name);
        mrdi_sha256_init(&x);
        for (unsigned k = 0; k < rows[i].times; k++) {
            mrdi_sha256_add(&x, rows[i].text, strlen(rows[i].text));
        }
        mrdi_sha256_end(&x, digest);
        to_hex(digest, 32, text);
        assert_string_equal(text, rows[i].digest);
    }
}

/* RFC 4231, section 4. A repeat builds the long keys and texts from one byte. */
static void test_hmac(void **state)
{
    static const struct {
        const char *name;
        const char *key;
        size_t key_len;
        uint8_t key_byte; /* when key is NULL */
        const char *data;
        size_t data_len;
        uint8_t data_byte; /* when data is NULL */
        const char *mac;   /* as much as the RFC gives */
    } rows[] = {
        {"case 1", NULL, 20, 0x0b, "Hi There", 8, 0,
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"case 2", "Jefe", 4, 0, "what do ya want for nothing?", 28, 0,
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"case 3", NULL, 20, 0xaa, NULL, 50, 0xdd,
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {"case 4",
         "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15"
         "\x16\x17\x18\x19",
         25, 0, NULL, 50, 0xcd,
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        {"case 5, truncated", NULL, 20, 0x0c, "Test With Truncation", 20, 0,
         "a3b6167473100ee06e0c796c2955552b"},
        {"case 6, key longer than a block", NULL, 131, 0xaa,
         "Test Using Larger Than Block-Size Key - Hash Key First", 54, 0,
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"case 7, both longer", NULL, 131, 0xaa,
         "This is a test using a larger than block-size key and a larger than block-size data. "
         "The key needs to be hashed before being used by the HMAC algorithm.",
         152, 0, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        uint8_t long_key[160], long_data[160], mac[32];
        char text[65];

        ROW(rows[i].name);
        memset(long_key, rows[i].key_byte, sizeof(long_key));
        memset(long_data, rows[i].data_byte, sizeof(long_data));
        mrd_hmac_sha256(
            rows[i].key != NULL ? (const uint8_t *)rows[i].key : long_key, rows[i].key_len,
            rows[i].data != NULL ? rows[i].data : (void *)long_data, rows[i].data_len, mac);
        to_hex(mac, strlen(rows[i].mac) / 2, text);
        assert_string_equal(text, rows[i].mac);
    }
}

static const struct {
    const char *name;
    struct mrd_token token;
} tokens[] = {
    {"ordinary", {"us-east-1", 8, 3, 123456789}},
    {"all zero numbers", {"a", 0, 0, 0}},
    {"largest",
     {"a23456789-123456789_123456789-123456789-123456789-123456789-123", UINT64_MAX, UINT64_MAX,
      UINT64_MAX}},
};

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(tokens); i++) {
        char text[MRD_TOKEN_MAX];
        struct mrd_token back;
        int len = 0;

        ROW(tokens[i].name);
        memset(&back, 0xee, sizeof(back));
        len = mrd_token_format(&tokens[i].token, key, text, sizeof(text));
        assert_true(len > 0 && (size_t)len == strlen(text));
        assert_int_equal(mrd_token_parse(text, (size_t)len, key, &back), 0);
        assert_string_equal(back.home, tokens[i].token.home);
        assert_int_equal(back.epoch, tokens[i].token.epoch);
        assert_int_equal(back.session, tokens[i].token.session);
        assert_int_equal(back.boot_ms, tokens[i].token.boot_ms);
        assert_int_equal(mrd_token_format(&tokens[i].token, key, text, (size_t)len),
                         MRD_ETOOBIG);
    }
}

/* Every byte replaced by every other, every prefix, one byte more: never accepted. */
static void test_tamper(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(tokens); i++) {
        char text[MRD_TOKEN_MAX + 1] = "";
        struct mrd_token back;
        int len = mrd_token_format(&tokens[i].token, key, text, sizeof(text));

        ROW(tokens[i].name);
        for (int at = 0; at < len; at++) {
            char right = text[at];

            for (int c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_true((char)c == right ||
                            mrd_token_parse(text, (size_t)len, key, &back) < 0);
            }
            text[at] = right;
            assert_true(mrd_token_parse(text, (size_t)at, key, &back) < 0);
        }
        text[len] = '0';
        assert_true(mrd_token_parse(text, (size_t)len + 1, key, &back) < 0);
    }
}

/* Wrong texts; those with a right signature show what the parser itself refuses. */
static void test_refused(void **state)
{
    static const struct {
        const char *name, *text;
        bool sign;
        int want;
    } rows[] = {
        {"empty", "", false, MRD_EFORMAT},
        {"one byte", "v", false, MRD_EFORMAT},
        {"another version", "v2.eu.1.2.3.00112233445566778899aabbccddeeff", false,
         MRD_EVERSION},
        {"version of two digits", "v10.", false, MRD_EVERSION},
        {"no version", "vx.eu.1.2.3.00112233445566778899aabbccddeeff", false, MRD_EFORMAT},
        {"a cookie of somebody else", "session=abcdef", false, MRD_EFORMAT},
        {"unsigned", "v1.eu.1.2.3.00112233445566778899aabbccddeeff", false, MRD_EAUTH},
        {"no signature", "v1.eu.1.2.3", false, MRD_EFORMAT},
        {"signed, no name", "v1..1.2.3", true, MRD_EFORMAT},
        {"signed, a space in the name", "v1.e u.1.2.3", true, MRD_EFORMAT},
        {"signed, too few fields", "v1.eu.1.2", true, MRD_EFORMAT},
        {"signed, too many fields", "v1.eu.1.2.3.4", true, MRD_EFORMAT},
        {"signed, trailing dot", "v1.eu.1.2.3.", true, MRD_EFORMAT},
        {"signed, leading zero", "v1.eu.01.2.3", true, MRD_EFORMAT},
        {"signed, upper case", "v1.eu.A.2.3", true, MRD_EFORMAT},
        {"signed, seventeen digits", "v1.eu.11112222333344445.2.3", true, MRD_EFORMAT},
        {"signed, minus", "v1.eu.-1.2.3", true, MRD_EFORMAT},
        {"signed, name of 64 bytes",
         "v1.0123456789012345678901234567890123456789012345678901234567890123.1.2.3", true,
         MRD_EFORMAT},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char text[256];
        struct mrd_token back = {.epoch = 77};
        int len = snprintf(text, sizeof(text), "%s", rows[i].text);

        ROW(rows[i].name);
        if (rows[i].sign) {
            uint8_t mac[32];

            mrd_hmac_sha256(key, 32, text, (size_t)len, mac);
            text[len++] = '.';
            to_hex(mac, 16, text + len);
            len += 32;
        }
        assert_int_equal(mrd_token_parse(text, (size_t)len, key, &back), rows[i].want);
        assert_int_equal(back.epoch, 77);
    }
}

static void test_names_that_cannot_be_written(void **state)
{
    static const struct {
        const char *name;
        struct mrd_token token;
    } rows[] = {
        {"empty", {"", 1, 1, 1}},
        {"a dot", {"eu.west", 1, 1, 1}},
        {"a semicolon", {"eu;", 1, 1, 1}},
        {"a line break", {"eu\r\n", 1, 1, 1}},
    };
    char text[MRD_TOKEN_MAX];
    struct mrd_token endless;

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        ROW(rows[i].name);
        assert_int_equal(mrd_token_format(&rows[i].token, key, text, sizeof(text)), MRD_EINVAL);
    }
    memset(&endless, 'a', sizeof(endless));
    assert_int_equal(mrd_token_format(&endless, key, text, sizeof(text)), MRD_EINVAL);
}

static void test_other_key(void **state)
{
    static const uint8_t other[32] = "another key of thirty-two bytes";
    char text[MRD_TOKEN_MAX];
    struct mrd_token back;
    int len = mrd_token_format(&tokens[0].token, other, text, sizeof(text));

    (void)state;
    assert_int_equal(mrd_token_parse(text, (size_t)len, key, &back), MRD_EAUTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),     cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_tamper),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_names_that_cannot_be_written),
        cmocka_unit_test(test_other_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
