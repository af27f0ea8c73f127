/* QUIC on the wire, as far as anyone can read it: long headers, version negotiation, the Initials of both sides.
   protocols/quic.py is the specification. */
#ifndef FLOWSONAR_QUIC_H
#define FLOWSONAR_QUIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic_keys.h"

enum {
    QUIC_ID_MAX = 20,
    QUIC_CRYPTO_MAX = 8192,  /* bytes of one side's handshake that are gathered */
    QUIC_PIECES_MAX = 64,    /* separate runs of bytes kept while some between them are missing */
    QUIC_PACKETS_MAX = 8,    /* packets read of one datagram */
    QUIC_FRAMES_MAX = 512,   /* frames read of one packet, runs of padding counted as one */
    QUIC_INITIAL_MAX = 4096, /* a longer Initial is not opened */
};

/* By the number that version 1 has for it. */
enum quic_kind { QUIC_INITIAL, QUIC_ZERO_RTT, QUIC_HANDSHAKE, QUIC_RETRY, QUIC_NEGOTIATION, QUIC_UNKNOWN };

/* A packet with a long header, and where it stands in its datagram. */
struct quic_packet {
    const uint8_t *destination;
    const uint8_t *source;
    const uint8_t *token;
    size_t start;
    size_t at; /* where the packet number stands, or what follows the connection ids where there is none */
    size_t end;
    size_t token_size;
    uint32_t version;
    uint8_t destination_size;
    uint8_t source_size;
    uint8_t kind; /* enum quic_kind */
};

/* Bytes that come in any order, put in their places; of bytes that come twice the later ones count. */
struct quic_pieces {
    uint8_t data[QUIC_CRYPTO_MAX];
    struct {
        uint16_t begin, end;
    } runs[QUIC_PIECES_MAX]; /* what is there: in order, and never touching each other */
    uint8_t count;
};

/* One connection's Initials, as long as its flow needs them: all zero before the first. */
struct quic_initials {
    struct quic_scheme scheme;
    struct quic_keys keys[2];           /* of the client and the server */
    uint8_t destination[QUIC_ID_MAX];   /* what the keys were made of */
    uint8_t destination_size;
    bool ready;                         /* there are keys */
    struct quic_pieces crypto[2];       /* handshake bytes of the client and the server */
    uint8_t plain[QUIC_INITIAL_MAX];
};

/* Whether `data` begins like a packet of a known version, or like version negotiation. */
bool quic_is_long_header(const uint8_t *data, size_t size);

/* The count of versions in a Version Negotiation packet, 0 where it is none; they stand at its end, four bytes each. */
size_t quic_negotiation(const uint8_t *data, size_t size);

/* The long headers of a datagram; their count, 0 where the first one is malformed. */
size_t quic_read_packets(const uint8_t *data, size_t size, struct quic_packet packets[QUIC_PACKETS_MAX]);

/* Open an Initial and gather its handshake bytes; 0: the client's, 1: the server's, -1: it cannot be opened. */
int quic_open(struct quic_initials *initials, const uint8_t *datagram, const struct quic_packet *packet,
              int likely_side);

/* What is there of a side's handshake without a gap from the beginning. */
size_t quic_head(const struct quic_initials *initials, int side, const uint8_t **head);

/* For tests: false where it would be more than is kept. */
bool quic_pieces_add(struct quic_pieces *pieces, uint64_t offset, const uint8_t *data, size_t size);

#endif
