/* AES-128 (FIPS 197) and GCM (NIST SP 800-38D), as QUIC's Initials need them. Their keys are no secret, so the portable
   code looks tables up. */
#ifndef FLOWSONAR_AES_H
#define FLOWSONAR_AES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AES_BLOCK = 16, AES_ROUNDS = 10, GCM_IV = 12, GCM_TAG = 16 };

struct aes {
    uint8_t keys[AES_ROUNDS + 1][AES_BLOCK];
};

void aes_begin(struct aes *aes, const uint8_t key[AES_BLOCK]);
void aes_block(const struct aes *aes, const uint8_t in[AES_BLOCK], uint8_t out[AES_BLOCK]);

/* Open `sealed`, whose last 16 bytes are the tag, into `plain`, which takes the rest; false where the tag is wrong. */
bool gcm_open(const struct aes *aes, const uint8_t iv[GCM_IV], const uint8_t *header, size_t header_size,
              const uint8_t *sealed, size_t size, uint8_t *plain);

#endif
