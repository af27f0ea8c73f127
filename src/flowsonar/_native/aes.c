#include "aes.h"

#include <string.h>

#include "bytes.h"
#include "cpu.h"

#ifdef FLOWSONAR_X86
#include <immintrin.h>
#define AES_X86 __attribute__((target("aes,pclmul,sse4.1")))
#endif

static const uint8_t SBOX[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

static uint8_t doubled(uint8_t x) { return (uint8_t)(x << 1 ^ (x >> 7) * 0x1b); }

/* FIPS 197 section 5.2. */
void aes_begin(struct aes *aes, const uint8_t key[AES_BLOCK]) {
    uint8_t *words = aes->keys[0], constant = 1;
    memcpy(words, key, AES_BLOCK);
    for (int i = AES_BLOCK; i < (AES_ROUNDS + 1) * AES_BLOCK; i += 4) {
        const uint8_t *last = words + i - 4;
        uint8_t word[4] = {last[0], last[1], last[2], last[3]};
        if (i % AES_BLOCK == 0) {
            word[0] = SBOX[last[1]] ^ constant;
            word[1] = SBOX[last[2]];
            word[2] = SBOX[last[3]];
            word[3] = SBOX[last[0]];
            constant = doubled(constant);
        }
        for (int j = 0; j < 4; j++) words[i + j] = words[i + j - AES_BLOCK] ^ word[j];
    }
}

/* FIPS 197 section 5.1; the state's columns are four bytes each. */
static void block_portable(const struct aes *aes, const uint8_t in[AES_BLOCK], uint8_t out[AES_BLOCK]) {
    uint8_t state[AES_BLOCK], shifted[AES_BLOCK];
    for (int i = 0; i < AES_BLOCK; i++) state[i] = in[i] ^ aes->keys[0][i];
    for (int round = 1; round <= AES_ROUNDS; round++) {
        for (int i = 0; i < AES_BLOCK; i++) shifted[i] = SBOX[state[(i + 4 * (i % 4)) % AES_BLOCK]];
        const uint8_t *key = aes->keys[round];
        for (int i = 0; i < AES_BLOCK; i += 4) {
            const uint8_t *c = shifted + i;
            uint8_t all = c[0] ^ c[1] ^ c[2] ^ c[3];
            for (int j = 0; j < 4; j++) {
                uint8_t mixed = round == AES_ROUNDS ? c[j] : c[j] ^ all ^ doubled(c[j] ^ c[(j + 1) % 4]);
                state[i + j] = mixed ^ key[i + j];
            }
        }
    }
    memcpy(out, state, AES_BLOCK);
}

/* -- GCM ---------------------------------------------------------------------------------------------------------- */

/* An element of the field of SP 800-38D section 6.3: the first bit is the highest of `high`. */
struct element {
    uint64_t high, low;
};

static struct element element_of(const uint8_t *data) {
    return (struct element){(uint64_t)be32(data) << 32 | be32(data + 4), (uint64_t)be32(data + 8) << 32 | be32(data + 12)};
}

/* The products of all values of four bits with the hash key, so that a product takes 32 steps (Shoup). */
static void multiples_of(struct element key, struct element table[16]) {
    table[0] = (struct element){0, 0};
    table[8] = key;
    for (int i = 4; i; i /= 2) {
        struct element *half = &table[i], twice = table[2 * i];
        half->low = twice.low >> 1 | twice.high << 63;
        half->high = twice.high >> 1 ^ (twice.low & 1) * UINT64_C(0xe100000000000000);
    }
    for (int i = 2; i < 16; i *= 2)
        for (int j = 1; j < i; j++)
            table[i + j] = (struct element){table[i].high ^ table[j].high, table[i].low ^ table[j].low};
}

static struct element product(struct element x, const struct element table[16]) {
    static const uint64_t overflow[16] = {0x0000, 0x1c20, 0x3840, 0x2460, 0x7080, 0x6ca0, 0x48c0, 0x54e0,
                                          0xe100, 0xfd20, 0xd940, 0xc560, 0x9180, 0x8da0, 0xa9c0, 0xb5e0};
    struct element z = {0, 0};
    for (int i = 0; i < 32; i++) {
        uint64_t digit = (i < 16 ? x.low >> 4 * i : x.high >> 4 * (i - 16)) & 15;
        uint64_t out = z.low & 15;
        z.low = z.low >> 4 | z.high << 60;
        z.high = z.high >> 4 ^ overflow[out] << 48;
        z.high ^= table[digit].high;
        z.low ^= table[digit].low;
    }
    return z;
}

static struct element hash_portable(struct element z, const struct element table[16], const uint8_t *data, size_t size) {
    for (; size; data += AES_BLOCK, size = size > AES_BLOCK ? size - AES_BLOCK : 0) {
        uint8_t block[AES_BLOCK] = {0};
        memcpy(block, data, size < AES_BLOCK ? size : AES_BLOCK);
        struct element x = element_of(block);
        z = product((struct element){z.high ^ x.high, z.low ^ x.low}, table);
        if (size < AES_BLOCK) break;
    }
    return z;
}

static bool open_portable(const struct aes *aes, const uint8_t iv[GCM_IV], const uint8_t *header, size_t header_size,
                          const uint8_t *sealed, size_t size, uint8_t *plain) {
    uint8_t counter[AES_BLOCK] = {0}, stream[AES_BLOCK];
    struct element table[16], z = {0, 0};
    block_portable(aes, counter, stream);
    multiples_of(element_of(stream), table);
    z = hash_portable(z, table, header, header_size);
    z = hash_portable(z, table, sealed, size);
    z = product((struct element){z.high ^ (uint64_t)header_size * 8, z.low ^ (uint64_t)size * 8}, table);
    memcpy(counter, iv, GCM_IV);
    put_be32(counter + GCM_IV, 1);
    block_portable(aes, counter, stream);
    struct element tag = element_of(sealed + size), mask = element_of(stream);
    if (tag.high != (z.high ^ mask.high) || tag.low != (z.low ^ mask.low)) return false;
    for (size_t at = 0; at < size; at++) {
        if (at % AES_BLOCK == 0) {
            put_be32(counter + GCM_IV, (uint32_t)(2 + at / AES_BLOCK));
            block_portable(aes, counter, stream);
        }
        plain[at] = sealed[at] ^ stream[at % AES_BLOCK];
    }
    return true;
}

/* -- with the processor's own instructions ------------------------------------------------------------------------ */

#ifdef FLOWSONAR_X86
AES_X86 static inline __m128i load(const uint8_t *data) { return _mm_loadu_si128((const __m128i *)(const void *)data); }

AES_X86 static inline void store(uint8_t *data, __m128i value) { _mm_storeu_si128((__m128i *)(void *)data, value); }

AES_X86 static inline __m128i block_x86(const struct aes *aes, __m128i state) {
    state = _mm_xor_si128(state, load(aes->keys[0]));
    for (int i = 1; i < AES_ROUNDS; i++) state = _mm_aesenc_si128(state, load(aes->keys[i]));
    return _mm_aesenclast_si128(state, load(aes->keys[AES_ROUNDS]));
}

AES_X86 static inline __m128i reversed(__m128i value) {
    return _mm_shuffle_epi8(value, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

/* Product in the field, of elements with their bytes reversed: the bits of the result of a carry-less product are one
   place too low, then the lower half is folded by x^128 = x^7 + x^2 + x + 1. */
AES_X86 static inline __m128i product_x86(__m128i a, __m128i b) {
    __m128i low = _mm_clmulepi64_si128(a, b, 0x00), high = _mm_clmulepi64_si128(a, b, 0x11);
    __m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
    low = _mm_xor_si128(low, _mm_slli_si128(middle, 8));
    high = _mm_xor_si128(high, _mm_srli_si128(middle, 8));

    __m128i low_carry = _mm_srli_epi32(low, 31), high_carry = _mm_srli_epi32(high, 31);
    low = _mm_or_si128(_mm_slli_epi32(low, 1), _mm_slli_si128(low_carry, 4));
    high = _mm_or_si128(_mm_slli_epi32(high, 1), _mm_slli_si128(high_carry, 4));
    high = _mm_or_si128(high, _mm_srli_si128(low_carry, 12));

    __m128i fold = _mm_xor_si128(_mm_slli_epi32(low, 31), _mm_xor_si128(_mm_slli_epi32(low, 30), _mm_slli_epi32(low, 25)));
    low = _mm_xor_si128(low, _mm_slli_si128(fold, 12));
    __m128i rest = _mm_xor_si128(_mm_srli_epi32(low, 1), _mm_xor_si128(_mm_srli_epi32(low, 2), _mm_srli_epi32(low, 7)));
    rest = _mm_xor_si128(rest, _mm_srli_si128(fold, 4));
    return _mm_xor_si128(high, _mm_xor_si128(low, rest));
}

AES_X86 static inline __m128i load_part(const uint8_t *data, size_t size) {
    uint8_t block[AES_BLOCK] = {0};
    memcpy(block, data, size);
    return load(block);
}

AES_X86 static __m128i hash_x86(__m128i z, __m128i key, const uint8_t *data, size_t size) {
    for (; size >= AES_BLOCK; data += AES_BLOCK, size -= AES_BLOCK)
        z = product_x86(_mm_xor_si128(z, reversed(load(data))), key);
    return size ? product_x86(_mm_xor_si128(z, reversed(load_part(data, size))), key) : z;
}

AES_X86 static bool open_x86(const struct aes *aes, const uint8_t iv[GCM_IV], const uint8_t *header, size_t header_size,
                             const uint8_t *sealed, size_t size, uint8_t *plain) {
    uint8_t first[AES_BLOCK] = {0};
    __m128i key = reversed(block_x86(aes, _mm_setzero_si128())), z = _mm_setzero_si128();
    z = hash_x86(z, key, header, header_size);
    z = hash_x86(z, key, sealed, size);
    __m128i lengths = _mm_set_epi64x((long long)header_size * 8, (long long)size * 8);
    z = reversed(product_x86(_mm_xor_si128(z, lengths), key));
    memcpy(first, iv, GCM_IV);
    __m128i counter = load(first), mask = block_x86(aes, _mm_insert_epi32(counter, 0x01000000, 3));
    __m128i wrong = _mm_xor_si128(load(sealed + size), _mm_xor_si128(z, mask));
    if (!_mm_test_all_zeros(wrong, wrong)) return false;
    for (size_t at = 0; at < size; at += AES_BLOCK) {
        uint32_t number = (uint32_t)(2 + at / AES_BLOCK);
        __m128i stream = block_x86(aes, _mm_insert_epi32(counter, (int)__builtin_bswap32(number), 3));
        if (size - at >= AES_BLOCK) {
            store(plain + at, _mm_xor_si128(stream, load(sealed + at)));
        } else {
            uint8_t last[AES_BLOCK];
            store(last, _mm_xor_si128(stream, load_part(sealed + at, size - at)));
            memcpy(plain + at, last, size - at);
        }
    }
    return true;
}

AES_X86 static void one_block_x86(const struct aes *aes, const uint8_t *in, uint8_t *out) {
    store(out, block_x86(aes, load(in)));
}
#endif

/* -- either ------------------------------------------------------------------------------------------------------- */

void aes_block(const struct aes *aes, const uint8_t in[AES_BLOCK], uint8_t out[AES_BLOCK]) {
#ifdef FLOWSONAR_X86
    if (cpu_has(CPU_AES)) {
        one_block_x86(aes, in, out);
        return;
    }
#endif
    block_portable(aes, in, out);
}

bool gcm_open(const struct aes *aes, const uint8_t iv[GCM_IV], const uint8_t *header, size_t header_size,
              const uint8_t *sealed, size_t size, uint8_t *plain) {
    if (size < GCM_TAG) return false;
#ifdef FLOWSONAR_X86
    if (cpu_has(CPU_AES)) return open_x86(aes, iv, header, header_size, sealed, size - GCM_TAG, plain);
#endif
    return open_portable(aes, iv, header, header_size, sealed, size - GCM_TAG, plain);
}
