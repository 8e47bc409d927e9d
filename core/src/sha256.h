/*
 * SHA-256, for core's own signatures; hosts use mrd_hmac_sha256 of mrd/token.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct mrdi_sha256 {
    uint32_t h[8];
    uint64_t bytes; /* hashed so far, block included */
    uint8_t block[64];
};

void mrdi_sha256_init(struct mrdi_sha256 *x);
void mrdi_sha256_add(struct mrdi_sha256 *x, const void *data, size_t len);
void mrdi_sha256_end(struct mrdi_sha256 *x, uint8_t ret[32]);
