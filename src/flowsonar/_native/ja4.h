/* JA4, FoxIO's fingerprint of a TLS client (BSD-3-Clause). protocols/ja4.py is the specification. */
#ifndef FLOWSONAR_JA4_H
#define FLOWSONAR_JA4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JA4_SIZE = 37 }; /* the text and its end */

/* What a ClientHello offers. The lists are numbers of two bytes as they came; a last odd byte does not count. */
struct ja4_offer {
    const uint8_t *ciphers;
    size_t ciphers_size;
    const uint8_t *algorithms; /* of signatures */
    size_t algorithms_size;
    const uint16_t *extensions; /* types in the order they came */
    size_t extensions_count;
    const uint8_t *alpn; /* the first name offered; size 0: none */
    size_t alpn_size;
    uint16_t version; /* the highest offered */
    char transport;   /* t, q or d */
};

/* RFC 8701: values that mean nothing and keep servers tolerant. */
static inline bool is_grease(uint16_t value) { return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff); }

/* Lists may have JA4_LIST values at most: as many as the longest hello that is read can hold. */
enum { JA4_LIST = 8192 };

void ja4_text(const struct ja4_offer *offer, char text[JA4_SIZE]);

#endif
