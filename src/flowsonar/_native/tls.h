/* TLS on the wire, as far as it is in clear. protocols/tls.py is the specification. */
#ifndef FLOWSONAR_TLS_H
#define FLOWSONAR_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ja4.h"

enum {
    TLS_ALPN_MAX = 16,       /* names that are kept; clients offer two or three */
    TLS_HELLO_MAX = 16384,   /* a longer hello is malformed */
    TLS_RECORD_MAX = 16384 + 2048,
    TLS_ALERT_RECORD = 0x15,
    TLS_HANDSHAKE_RECORD = 0x16,
};

enum tls_first {
    TLS_MORE, /* more bytes are needed */
    TLS_MALFORMED,
    TLS_CLIENT_HELLO,
    TLS_SERVER_HELLO,
    TLS_ALERT,
};

struct tls_span {
    const uint8_t *data;
    uint8_t size;
};

/* Places point into what was read or into `joined`, so they last as long as both. */
struct tls_hello {
    const uint8_t *name;   /* the host name asked for */
    uint16_t name_size;    /* 0: none, or one that no host has */
    uint16_t version;      /* a client's highest, a server's choice */
    uint16_t cipher;       /* a server's choice */
    uint8_t alert_level;
    uint8_t alert;         /* its description */
    bool complete;         /* false: the tail of a ClientHello was not captured, lists may be short */
    bool retry;            /* a HelloRetryRequest */
    bool ech;              /* an encrypted ClientHello is inside (or GREASE that looks like it) */
    bool use_srtp;         /* keys for media are offered (RFC 5764) */
    bool alpn_more;        /* there were more names than are kept */
    uint8_t alpn_count;
    struct tls_span alpn[TLS_ALPN_MAX]; /* a client's offer in its order, a server's choice */
    char ja4[JA4_SIZE];    /* of a complete ClientHello, else empty */
    uint8_t joined[4 + TLS_HELLO_MAX]; /* a hello that came in several records */
};

/* Whether `data` begins with the header of a record. */
bool tls_is_record(const uint8_t *data, size_t size);

/* Whether `data` is whole records one after the other, the last one perhaps cut; at least one is whole. */
bool tls_is_record_chain(const uint8_t *data, size_t size);

/* Whether `data` is a ClientHello in SSL 2 framing that offers SSL 3 or TLS. */
bool tls_is_sslv2_hello(const uint8_t *data, size_t size);

/* Read the first message of one direction. With `final` there will be no more bytes: a ClientHello that is cut is read
   as far as it goes. `hello` is set for hellos and alerts only. */
enum tls_first tls_read_first_flight(const uint8_t *data, size_t size, bool final, struct tls_hello *hello);

/* The same for a hello without records around it, as QUIC carries it; `transport` is JA4's letter. */
enum tls_first tls_read_message(const uint8_t *data, size_t size, bool final, char transport, struct tls_hello *hello);

/* The same for a hello as DTLS carries it, that no more comes of, without DTLS's own fields (dtls.h). `legacy` is the
   version in its body, which a client's offer may better: DTLS counts downwards. */
enum tls_first tls_read_datagram_message(const uint8_t *data, size_t size, uint16_t legacy, struct tls_hello *hello);

#endif
