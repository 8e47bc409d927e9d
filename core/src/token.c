/*
 * Read-your-writes tokens as text (mrd/token.h): writer, reader and limits of the format.
 *
 * A token comes from a client, so nothing in it is looked at before its signature was checked,
 * except where the signature is. What was signed by us is still parsed with every bound,
 * because keys leak. There is one spelling of each token (lower case, no leading zeros), so a
 * token can serve as a cache key.
 */
#include <mrd/token.h>

#include <mrd/err.h>

#include <string.h>

#define PREFIX "v1."
#define MAC_BYTES ((size_t)16)
#define MAC_TEXT (2 * MAC_BYTES)

static const char hex_digits[] = "0123456789abcdef";

static int hex_value(char c)
{
    const char *at = c != '\0' ? strchr(hex_digits, c) : NULL;

    return at != NULL ? (int)(at - hex_digits) : -1;
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
}

/* ---- writing ---- */

/* The text so far; full once something did not fit. */
struct text {
    char *out;
    size_t cap, len;
    bool full;
};

static void put(struct text *t, const char *s, size_t len)
{
    if (t->full || len >= t->cap - t->len) {
        t->full = true;
        return;
    }
    memcpy(t->out + t->len, s, len);
    t->len += len;
}

static void put_number(struct text *t, uint64_t v)
{
    char digits[16];
    size_t at = sizeof(digits);

    do {
        digits[--at] = hex_digits[v & 15];
        v >>= 4;
    } while (v != 0);
    put(t, digits + at, sizeof(digits) - at);
}

static void mac_text(const uint8_t key[32], const char *signed_text, size_t len,
                     char ret[MAC_TEXT])
{
    uint8_t mac[32];

    mrd_hmac_sha256(key, 32, signed_text, len, mac);
    for (size_t i = 0; i < MAC_BYTES; i++) {
        ret[2 * i] = hex_digits[mac[i] >> 4];
        ret[2 * i + 1] = hex_digits[mac[i] & 15];
    }
}

int mrd_token_format(const struct mrd_token *t, const uint8_t key[32], char *out, size_t cap)
{
    char line[MRD_TOKEN_MAX], mac[MAC_TEXT];
    struct text text = {.out = line, .cap = sizeof(line)};
    size_t name = strnlen(t->home, sizeof(t->home));

    if (name == 0 || name == sizeof(t->home)) {
        return MRD_EINVAL;
    }
    for (size_t i = 0; i < name; i++) {
        if (!is_name_byte(t->home[i])) {
            return MRD_EINVAL;
        }
    }
    put(&text, PREFIX, strlen(PREFIX));
    put(&text, t->home, name);
    put(&text, ".", 1);
    put_number(&text, t->epoch);
    put(&text, ".", 1);
    put_number(&text, t->session);
    put(&text, ".", 1);
    put_number(&text, t->boot_ms);
    mac_text(key, line, text.len, mac);
    put(&text, ".", 1);
    put(&text, mac, sizeof(mac));
    if (text.full || text.len >= cap) {
        return MRD_ETOOBIG;
    }
    memcpy(out, line, text.len);
    out[text.len] = '\0';
    return (int)text.len;
}

/* ---- reading ---- */

/* Not ours to check: "v", a number other than ours, a dot. */
static bool is_other_version(const char *text, size_t len)
{
    size_t i = 1;

    if (len < 3 || text[0] != 'v') {
        return false;
    }
    while (i < len && text[i] >= '0' && text[i] <= '9') {
        i++;
    }
    return i > 1 && i < len && text[i] == '.';
}

/* The field at *at, up to the next dot or @end; moves *at behind the dot. */
static size_t field(const char **at, const char *end, const char **ret)
{
    const char *dot = memchr(*at, '.', (size_t)(end - *at));
    const char *stop = dot != NULL ? dot : end;

    *ret = *at;
    *at = dot != NULL ? dot + 1 : end;
    return (size_t)(stop - *ret);
}

static bool get_number(const char **at, const char *end, uint64_t *ret)
{
    const char *s = NULL;
    size_t len = field(at, end, &s);
    uint64_t v = 0;

    if (len == 0 || len > 16 || (s[0] == '0' && len > 1)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int digit = hex_value(s[i]);

        if (digit < 0) {
            return false;
        }
        v = v << 4 | (unsigned)digit;
    }
    *ret = v;
    return true;
}

static bool get_name(const char **at, const char *end, char ret[MRD_NAME_MAX])
{
    const char *s = NULL;
    size_t len = field(at, end, &s);

    if (len == 0 || len >= MRD_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_name_byte(s[i])) {
            return false;
        }
    }
    memcpy(ret, s, len);
    ret[len] = '\0';
    return true;
}

int mrd_token_parse(const char *text, size_t len, const uint8_t key[32], struct mrd_token *ret)
{
    const size_t prefix = strlen(PREFIX);
    const char *at = NULL, *end = NULL;
    char mac[MAC_TEXT];
    struct mrd_token t = {0};

    if (len < prefix || memcmp(text, PREFIX, prefix) != 0) {
        return is_other_version(text, len) ? MRD_EVERSION : MRD_EFORMAT;
    }
    if (len >= MRD_TOKEN_MAX || len < prefix + 1 + MAC_TEXT ||
        text[len - MAC_TEXT - 1] != '.') {
        return MRD_EFORMAT;
    }
    at = text + prefix;
    end = text + (len - MAC_TEXT - 1);
    mac_text(key, text, (size_t)(end - text), mac);
    if (!mrd_equal_ct((const uint8_t *)mac, (const uint8_t *)end + 1, MAC_TEXT)) {
        return MRD_EAUTH;
    }
    if (!get_name(&at, end, t.home) || !get_number(&at, end, &t.epoch) ||
        !get_number(&at, end, &t.session) || !get_number(&at, end, &t.boot_ms) || at != end ||
        end[-1] == '.') {
        return MRD_EFORMAT;
    }
    *ret = t;
    return 0;
}
