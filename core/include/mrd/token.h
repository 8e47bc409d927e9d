/*
 * Read-your-writes tokens and the hop header, both signed with HMAC-SHA256.
 *
 * On the response to a write, the edge in front of the home sets a token: which home, under
 * which lease session, and that host's CLOCK_BOOTTIME when the response passed. Heartbeats in
 * the home's WAL carry the same clock, so a replica that has applied a heartbeat with a later
 * time has applied every write acknowledged before the token was made. No wall clock is
 * involved: stepping one changes nothing. Sessions order times across reboots of the home.
 *
 * Text form: v1.HOME.EPOCH.SESSION.TIME.MAC with HOME a region name, the numbers in hexadecimal
 * and MAC the first 16 bytes of the HMAC over everything before the last dot, in hexadecimal. A
 * later read never renews it. Anything else that is signed with the same key must not begin
 * with "v" and a digit, so that neither can be passed off as the other.
 */
#pragma once

#include <stddef.h>

#include <mrd/topology.h>

#define MRD_TOKEN_MAX 192

struct mrd_token {
    char home[MRD_NAME_MAX];
    mrd_epoch epoch;
    mrd_session session;
    uint64_t boot_ms;
};

/** Write @t as text into @out, NUL-terminated. Returns its length, MRD_ETOOBIG, or
 *  MRD_EINVAL when the home's name is empty or has other bytes than letters, digits, - and _.
 */
int mrd_token_format(const struct mrd_token *t, const uint8_t key[32], char *out, size_t cap);

/** Parse and verify. Returns 0, MRD_EFORMAT, MRD_EVERSION or MRD_EAUTH. */
int mrd_token_parse(const char *text, size_t len, const uint8_t key[32], struct mrd_token *ret);

/** HMAC-SHA256 (RFC 2104, FIPS 180-4). */
void mrd_hmac_sha256(const uint8_t *key, size_t key_len, const void *data, size_t len,
                     uint8_t ret[32]);

/** Compare without leaking where the difference is. */
bool mrd_equal_ct(const uint8_t *a, const uint8_t *b, size_t len);
