/*
 * Text to value: durations, numbers, addresses, names. Strict, independent of locale, and
 * silent: whoever calls knows the key and writes the message.
 */
#include <conf.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/** Digits at the start of @text into *@ret; their count, 0 when none or too large. */
static size_t digits(const char *text, uint64_t *ret)
{
    size_t n = strspn(text, DIGITS);
    uint64_t v = 0;

    if (n == 0 || n > 19) { /* 19 digits always fit 64 bits */
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *ret = v;
    return n;
}

bool conf_parse_uint(const char *text, uint64_t *ret)
{
    uint64_t v = 0;
    size_t n = digits(text, &v);
    if (n == 0 || text[n] != '\0' || (text[0] == '0' && n > 1)) {
        return false; /* a leading zero is octal in YAML 1.1 and decimal elsewhere */
    }
    *ret = v;
    return true;
}

bool conf_parse_duration(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    uint64_t v = 0;
    size_t n = digits(text, &v);

    for (size_t i = 0; n > 0 && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text + n, units[i].unit) == 0) {
            if (v > UINT64_MAX / units[i].ms) {
                return false;
            }
            *ret_ms = v * units[i].ms;
            return true;
        }
    }
    return false;
}

char *conf_duration(uint64_t ms, char out[24])
{
    if (ms != 0 && ms % 3600000 == 0) {
        snprintf(out, 24, "%" PRIu64 "h", ms / 3600000);
    } else if (ms != 0 && ms % 60000 == 0) {
        snprintf(out, 24, "%" PRIu64 "m", ms / 60000);
    } else if (ms % 1000 == 0) {
        snprintf(out, 24, "%" PRIu64 "s", ms / 1000);
    } else {
        snprintf(out, 24, "%" PRIu64 "ms", ms);
    }
    return out;
}

bool conf_parse_number(const char *text, double min, double max, double *ret)
{
    char *end = NULL;
    /* strtod also takes hex, "nan" and "inf"; none of them belongs in a file. */
    if (text[0] == '\0' || strlen(text) > 32 || strspn(text, DIGITS "+-.") != strlen(text)) {
        return false;
    }
    double v = strtod(text, &end);
    if (*end != '\0' || v < min || v > max) {
        return false;
    }
    *ret = v;
    return true;
}

bool conf_parse_ip(const char *text, uint8_t *ret_family, uint8_t ret_addr[16])
{
    uint8_t addr[16] = {0};
    uint8_t family = strchr(text, ':') != NULL ? 6 : 4;

    if (inet_pton(family == 6 ? AF_INET6 : AF_INET, text, addr) != 1) {
        return false;
    }
    *ret_family = family;
    memcpy(ret_addr, addr, 16);
    return true;
}

static bool beyond_prefix(const struct mrd_network *n, unsigned bits)
{
    for (unsigned i = n->prefix; i < bits; i++) {
        if ((n->addr[i / 8] & (0x80u >> (i % 8))) != 0) {
            return true;
        }
    }
    return false;
}

enum conf_cidr conf_parse_network(const char *text, struct mrd_network *ret)
{
    char host[INET6_ADDRSTRLEN];
    struct mrd_network n = {0};
    const char *slash = strchr(text, '/');
    uint64_t prefix = 0;

    if (slash == NULL || (size_t)(slash - text) >= sizeof(host) ||
        !conf_parse_uint(slash + 1, &prefix)) {
        return CONF_CIDR_BAD;
    }
    memcpy(host, text, (size_t)(slash - text));
    host[slash - text] = '\0';
    if (!conf_parse_ip(host, &n.family, n.addr)) {
        return CONF_CIDR_BAD;
    }
    unsigned bits = n.family == 6 ? 128 : 32;
    if (prefix > bits) {
        return CONF_CIDR_LONG;
    }
    n.prefix = (uint8_t)prefix;
    if (beyond_prefix(&n, bits)) {
        return CONF_CIDR_HOST;
    }
    *ret = n;
    return CONF_CIDR_OK;
}

bool conf_valid_label(const char *text, bool underscore)
{
    size_t n = strlen(text);
    return n >= 1 && n <= CONF_LABEL_MAX &&
           strspn(text, underscore ? LOWER DIGITS "-_" : LOWER DIGITS "-") == n &&
           text[0] != '-' && text[n - 1] != '-';
}

bool conf_valid_domain(const char *text)
{
    size_t n = strlen(text), label = 0;

    if (n == 0 || n > 253) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '.') {
            if (label == 0 || text[i - 1] == '-') {
                return false;
            }
            label = 0;
            continue;
        }
        if (strchr(LOWER UPPER DIGITS "-_", text[i]) == NULL || ++label > 63 ||
            (label == 1 && text[i] == '-')) {
            return false;
        }
    }
    return text[n - 1] != '-' && (label > 0 || n > 1);
}

bool conf_valid_host(const char *text)
{
    static const uint8_t none[16];
    uint8_t family, addr[16];

    if (conf_parse_ip(text, &family, addr)) {
        return memcmp(addr, none, 16) != 0; /* 0.0.0.0 and :: are no place to connect to */
    }
    /* What looks like an IPv4 address but is none is a slip, not a host name. */
    return strspn(text, DIGITS ".") != strlen(text) && conf_valid_domain(text);
}

bool conf_parse_host_port(const char *text, char *ret_host, size_t cap, uint16_t *ret_port)
{
    char host[MRD_CONF_STR];
    const char *start = text, *end, *colon;
    uint64_t port = *ret_port;

    if (text[0] == '[') {
        start = text + 1;
        end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
            return false;
        }
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        colon = strchr(text, ':');
        if (colon != NULL && strchr(colon + 1, ':') != NULL) {
            colon = NULL; /* a bare IPv6 address */
        }
        end = colon != NULL ? colon : text + strlen(text);
    }
    size_t n = (size_t)(end - start);
    if (n == 0 || n >= sizeof(host) || n >= cap) {
        return false;
    }
    memcpy(host, start, n);
    host[n] = '\0';
    if (colon != NULL && (!conf_parse_uint(colon + 1, &port) || port == 0 || port > 65535)) {
        return false;
    }
    if (!conf_valid_host(host)) {
        return false;
    }
    memcpy(ret_host, host, n + 1);
    *ret_port = (uint16_t)port;
    return true;
}

bool conf_valid_ident(const char *text)
{
    size_t n = strlen(text);
    return n >= 1 && n < MRD_NAME_MAX && strspn(text, LOWER DIGITS "_$") == n &&
           strchr(DIGITS "$", text[0]) == NULL;
}

bool conf_valid_table(const char *text)
{
    char schema[MRD_NAME_MAX];
    const char *dot = strchr(text, '.');

    if (dot == NULL || (size_t)(dot - text) >= sizeof(schema)) {
        return false;
    }
    memcpy(schema, text, (size_t)(dot - text));
    schema[dot - text] = '\0';
    return conf_valid_ident(schema) && conf_valid_ident(dot + 1);
}
