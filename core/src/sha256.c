/*
 * SHA-256 (FIPS 180-4) and HMAC (RFC 2104) on it.
 *
 * Core depends on libc only, and a guest that has no library for it (a PostgreSQL built without
 * OpenSSL, say) must still verify what another region signed. Plain code, no tables of secrets
 * and no branches on data, so timing tells nothing about the key.
 */
#include "sha256.h"

#include <mrd/token.h>

#include <string.h>

/* The first 32 bits of the fractions of the cube roots of the first 64 primes (4.2.2). */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
};

static uint32_t rotr(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load_be(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store_be(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}

/* The message schedule (6.2.2, step 1). */
static void schedule(uint32_t w[64], const uint8_t block[64])
{
    for (size_t t = 0; t < 16; t++) {
        w[t] = load_be(block + 4 * t);
    }
    for (size_t t = 16; t < 64; t++) {
        uint32_t a = w[t - 15], b = w[t - 2];
        uint32_t s0 = rotr(a, 7) ^ rotr(a, 18) ^ a >> 3;
        uint32_t s1 = rotr(b, 17) ^ rotr(b, 19) ^ b >> 10;

        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
}

/* One block into the state (6.2.2, steps 2 to 4); v[0..7] are the standard's a to h. */
static void compress(uint32_t h[8], const uint8_t block[64])
{
    uint32_t w[64], v[8];

    schedule(w, block);
    memcpy(v, h, sizeof(v));
    for (unsigned t = 0; t < 64; t++) {
        uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
        uint32_t ch = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
        uint32_t maj = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t t1 = v[7] + s1 + ch + round_constants[t] + w[t];

        memmove(&v[1], &v[0], 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + s0 + maj;
    }
    for (unsigned i = 0; i < 8; i++) {
        h[i] += v[i];
    }
}

void mrdi_sha256_init(struct mrdi_sha256 *x)
{
    /* Likewise of the square roots of the first eight (5.3.3). */
    static const uint32_t start[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(x->h, start, sizeof(start));
    x->bytes = 0;
}

void mrdi_sha256_add(struct mrdi_sha256 *x, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        size_t have = x->bytes % 64;
        size_t step = len < 64 - have ? len : 64 - have;

        memcpy(x->block + have, at, step);
        x->bytes += step;
        at += step;
        len -= step;
        if (x->bytes % 64 == 0) {
            compress(x->h, x->block);
        }
    }
}

void mrdi_sha256_end(struct mrdi_sha256 *x, uint8_t ret[32])
{
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = x->bytes * 8;
    uint8_t length[8];

    store_be(length, (uint32_t)(bits >> 32));
    store_be(length + 4, (uint32_t)bits);
    mrdi_sha256_add(x, padding, 1 + (119 - x->bytes % 64) % 64);
    mrdi_sha256_add(x, length, sizeof(length));
    for (size_t i = 0; i < 8; i++) {
        store_be(ret + 4 * i, x->h[i]);
    }
}

void mrd_hmac_sha256(const uint8_t *key, size_t key_len, const void *data, size_t len,
                     uint8_t ret[32])
{
    uint8_t inner[64] = {0}, outer[64], digest[32];
    struct mrdi_sha256 x;

    if (key_len > 64) {
        mrdi_sha256_init(&x);
        mrdi_sha256_add(&x, key, key_len);
        mrdi_sha256_end(&x, inner);
    } else if (key_len > 0) {
        memcpy(inner, key, key_len);
    }
    for (unsigned i = 0; i < 64; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    mrdi_sha256_init(&x);
    mrdi_sha256_add(&x, inner, sizeof(inner));
    mrdi_sha256_add(&x, data, len);
    mrdi_sha256_end(&x, digest);
    mrdi_sha256_init(&x);
    mrdi_sha256_add(&x, outer, sizeof(outer));
    mrdi_sha256_add(&x, digest, sizeof(digest));
    mrdi_sha256_end(&x, ret);
}

bool mrd_equal_ct(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint8_t differ = 0;

    for (size_t i = 0; i < len; i++) {
        differ |= a[i] ^ b[i];
    }
    return differ == 0;
}
