/* What the first datagrams of a QUIC flow show, as facts. passive/quic.py is the specification, and makes evidence of
   the same facts. */
#ifndef FLOWSONAR_QUIC_READING_H
#define FLOWSONAR_QUIC_READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gquic.h"
#include "quic.h"
#include "tls.h"

enum {
    READING_FACTS_MAX = 160, /* bytes of one datagram's; more are for Python */
    READING_TEXT_MAX = 2048, /* of a hello */
};

struct quic_ids {
    bool set;
    uint8_t destination_size, source_size;
    uint8_t destination[UINT8_MAX], source[UINT8_MAX];
};

enum reading_hello { HELLO_NONE, HELLO_TLS, HELLO_GOOGLE };

struct quic_reading {
    struct quic_initials initials;
    struct quic_ids ids[2];
    int8_t client; /* its direction, -1 while it is not known */
    uint8_t hello; /* enum reading_hello */
    bool answered, opened, read;
    uint32_t version;
};

/* What one datagram told. */
struct quic_facts {
    uint8_t facts[READING_FACTS_MAX];
    size_t size;        /* 0: nothing */
    bool full;          /* there were more */
    const uint8_t *name; /* the host name asked for; in the reading or the datagram */
    size_t name_size;
    size_t text_size;   /* of what a hello tells beside its version; 0: there is none */
    uint8_t text[READING_TEXT_MAX];
};

/* Before a flow's first datagram. */
void quic_reading_begin(struct quic_reading *reading);

/* Whether a datagram may begin such a flow. */
bool quic_reading_starts(const uint8_t *data, size_t size);

/* Take one datagram; `hello` is room to read one in. */
void quic_reading_feed(struct quic_reading *reading, int direction, const uint8_t *data, size_t size,
                       struct tls_hello *hello, struct quic_facts *facts);

#endif
