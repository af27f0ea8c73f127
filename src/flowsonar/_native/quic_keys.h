/* Keys of QUIC's Initial packets. protocols/quic_keys.py is the specification. */
#ifndef FLOWSONAR_QUIC_KEYS_H
#define FLOWSONAR_QUIC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aes.h"

/* How a version protects its Initials. */
struct quic_scheme {
    const uint8_t *salt; /* 20 bytes; NULL: the version is not known */
    bool second;         /* version 2's labels */
    uint8_t initial;     /* the Initial's number in the packet type */
    uint8_t crypto;      /* the CRYPTO frame's type */
    bool tls;            /* the handshake is TLS; else Google's own */
};

struct quic_keys {
    struct aes packet;
    struct aes header;
    uint8_t iv[GCM_IV];
};

struct quic_scheme quic_scheme_of(uint32_t version);

/* The keys of the client (0) and the server (1), from the destination of the client's first Initial. */
void quic_make_keys(const struct quic_scheme *scheme, const uint8_t *destination, size_t size,
                    struct quic_keys keys[2]);

/* Open a whole packet whose number stands at `at`. `plain` has room for `size` bytes, and takes the header first; true:
   the payload stands at `*payload` in it. */
bool quic_open_packet(const struct quic_keys *keys, const uint8_t *packet, size_t size, size_t at, uint8_t *plain,
                      size_t *payload, size_t *payload_size);

#endif
