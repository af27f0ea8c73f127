#include "sha1.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "cpu.h"

static const uint32_t START[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

static inline uint32_t turn(uint32_t x, int bits) { return x << bits | x >> (32 - bits); }

/* FIPS 180-4 section 6.1.2, for a message of one block. */
static void digest_portable(const uint8_t block[64], uint32_t sums[5]) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) w[i] = be32(block + 4 * i);
    for (int i = 16; i < 80; i++) w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = START[0], b = START[1], c = START[2], d = START[3], e = START[4];
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
    const uint32_t after[5] = {a, b, c, d, e};
    for (int i = 0; i < 5; i++) sums[i] = START[i] + after[i];
}

#ifdef FLOWSONAR_X86
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1")))

/* Words 4 * i to 4 * i + 3 of the message as it is spread out; `w` has the sixteen before them. */
TARGET static inline __m128i words(const uint8_t block[64], const __m128i w[4], int i) {
    const __m128i swap = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    if (i < 4) return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)), swap);
    __m128i sum = _mm_xor_si128(_mm_sha1msg1_epu32(w[i & 3], w[(i + 1) & 3]), w[(i + 2) & 3]);
    return _mm_sha1msg2_epu32(sum, w[(i + 3) & 3]);
}

/* The processor's own instructions keep a to d in one register, highest first, and do four rounds at a time; e is made
   of a as it was four rounds ago. */
TARGET static void digest_x86(const uint8_t block[64], uint32_t sums[5]) {
    const __m128i start = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)START), 0x1b);
    const __m128i start_e = _mm_set_epi32((int)START[4], 0, 0, 0);
    __m128i abcd = start, before = start, w[4];
#define FOUR_ROUNDS(i, kind)                                                                                  \
    do {                                                                                                      \
        w[(i) & 3] = words(block, w, i);                                                                      \
        __m128i sum = (i) ? _mm_sha1nexte_epu32(before, w[(i) & 3]) : _mm_add_epi32(start_e, w[0]);           \
        before = abcd;                                                                                        \
        abcd = _mm_sha1rnds4_epu32(abcd, sum, kind);                                                          \
    } while (0)
    for (int i = 0; i < 5; i++) FOUR_ROUNDS(i, 0);
    for (int i = 5; i < 10; i++) FOUR_ROUNDS(i, 1);
    for (int i = 10; i < 15; i++) FOUR_ROUNDS(i, 2);
    for (int i = 15; i < 20; i++) FOUR_ROUNDS(i, 3);
#undef FOUR_ROUNDS
    __m128i last = _mm_sha1nexte_epu32(before, start_e);
    _mm_storeu_si128((__m128i *)(void *)sums, _mm_shuffle_epi32(_mm_add_epi32(abcd, start), 0x1b));
    sums[4] = (uint32_t)_mm_extract_epi32(last, 3);
}
#endif

void sha1_short(const uint8_t *data, size_t size, uint8_t digest[SHA1_SIZE]) {
    uint8_t block[64] = {0};
    uint32_t sums[5];
    assert(size <= SHA1_ONE_BLOCK);
    memcpy(block, data, size);
    block[size] = 0x80;
    put_be32(block + 60, (uint32_t)size * 8);
#ifdef FLOWSONAR_X86
    if (cpu_has(CPU_SHA))
        digest_x86(block, sums);
    else
#endif
        digest_portable(block, sums);
    for (int i = 0; i < 5; i++) put_be32(digest + 4 * i, sums[i]);
}
