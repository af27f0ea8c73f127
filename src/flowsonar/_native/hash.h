/* A keyed hash of addresses and ports. */
#ifndef FLOWSONAR_HASH_H
#define FLOWSONAR_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* SipHash-1-3 over whole words: nobody who does not know the seed can choose keys that collide. */
struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static inline void sip_round(struct sip *s) {
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline uint64_t sip_hash(const uint64_t seed[2], const uint64_t *words, uint64_t count) {
    struct sip s = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
                    seed[0] ^ UINT64_C(0x6c7967656e657261), seed[1] ^ UINT64_C(0x7465646279746573)};
    for (uint64_t i = 0; i < count; i++) {
        s.v3 ^= words[i];
        sip_round(&s);
        s.v0 ^= words[i];
    }
    s.v3 ^= count << 59;
    sip_round(&s);
    s.v0 ^= count << 59;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The same for bytes. */
static inline uint64_t sip_bytes(const uint64_t seed[2], const uint8_t *data, size_t size) {
    uint64_t state[2] = {seed[0], seed[1]}, words[8];
    for (; size >= sizeof words; data += sizeof words, size -= sizeof words) {
        memcpy(words, data, sizeof words);
        state[0] = sip_hash(state, words, 8);
    }
    memset(words, 0, sizeof words);
    memcpy(words, data, size);
    words[7] |= (uint64_t)size << 56; /* the last byte of a rest is free */
    return sip_hash(state, words, 8);
}

/* Both kinds of key have two addresses of 16 bytes and then one word. The count of words tells IPv4 from IPv6. */
static inline uint64_t hash_key(const uint64_t seed[2], const void *key, bool ipv4) {
    uint64_t words[5];
    memcpy(words, key, sizeof words);
    if (!ipv4) return sip_hash(seed, words, 5);
    uint32_t first, second;
    memcpy(&first, &words[0], sizeof first);
    memcpy(&second, &words[2], sizeof second);
    uint64_t compact[2] = {(uint64_t)first << 32 | second, words[4]};
    return sip_hash(seed, compact, 2);
}

#endif
