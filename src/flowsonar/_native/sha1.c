#include "sha1.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"

static inline uint32_t turn(uint32_t x, int bits) { return x << bits | x >> (32 - bits); }

/* FIPS 180-4 section 6.1.2. */
void sha1_short(const uint8_t *data, size_t size, uint8_t digest[SHA1_SIZE]) {
    static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t block[64] = {0};
    uint32_t w[80];
    assert(size <= SHA1_ONE_BLOCK);
    memcpy(block, data, size);
    block[size] = 0x80;
    put_be32(block + 60, (uint32_t)size * 8);
    for (int i = 0; i < 16; i++) w[i] = be32(block + 4 * i);
    for (int i = 16; i < 80; i++) w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = start[0], b = start[1], c = start[2], d = start[3], e = start[4];
#define ROUND(f, k)                                        \
    do {                                                   \
        uint32_t next = turn(a, 5) + (f) + e + (k) + w[i]; \
        e = d;                                             \
        d = c;                                             \
        c = turn(b, 30);                                   \
        b = a;                                             \
        a = next;                                          \
    } while (0)
    for (int i = 0; i < 20; i++) ROUND((b & c) | (~b & d), 0x5a827999);
    for (int i = 20; i < 40; i++) ROUND(b ^ c ^ d, 0x6ed9eba1);
    for (int i = 40; i < 60; i++) ROUND((b & c) | (b & d) | (c & d), 0x8f1bbcdc);
    for (int i = 60; i < 80; i++) ROUND(b ^ c ^ d, 0xca62c1d6);
#undef ROUND
    const uint32_t sums[5] = {a, b, c, d, e};
    for (int i = 0; i < 5; i++) put_be32(digest + 4 * i, start[i] + sums[i]);
}
