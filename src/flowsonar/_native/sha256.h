/* SHA-256 (FIPS 180-4), for fingerprints and for the keys of QUIC's Initials. Neither is a secret: time may show what
   is hashed. */
#ifndef FLOWSONAR_SHA256_H
#define FLOWSONAR_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, SHA256_BLOCK = 64 };

struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes taken so far */
    uint8_t block[SHA256_BLOCK]; /* length % 64 bytes that wait for a whole block */
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t size);
/* `hash` means nothing afterwards. */
void sha256_end(struct sha256 *hash, uint8_t digest[SHA256_SIZE]);

#endif
