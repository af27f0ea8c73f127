/* Google's QUIC before it took IETF's packets: versions Q024 to Q046, and the tags of its hellos. protocols/gquic.py is
   the specification. */
#ifndef FLOWSONAR_GQUIC_H
#define FLOWSONAR_GQUIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gquic_header {
    const uint8_t *version;    /* four characters; NULL where the packet names none */
    const uint8_t *connection; /* eight bytes */
    size_t at;                 /* where the packet number stands */
    bool is_long;              /* Q046's long header */
    uint8_t versions;          /* how many a server lists that does not speak what was asked, from `version` on */
};

enum gquic_kind { GQUIC_CHLO, GQUIC_REJ, GQUIC_SHLO, GQUIC_SREJ };

struct gquic_hello {
    const uint8_t *name; /* SNI; size 0: none, or one that no host has */
    const uint8_t *agent;
    uint16_t name_size;
    uint16_t agent_size;
    uint8_t kind; /* enum gquic_kind */
};

/* Whether `data` begins like a packet that names its version. */
bool gquic_is_header(const uint8_t *data, size_t size);

/* Read a header with a connection id of 8 bytes; false where it is none. */
bool gquic_read_header(const uint8_t *data, size_t size, struct gquic_header *header);

/* Find a hello in clear after a header that ends at `at`; false where there is none. */
bool gquic_find_hello(const uint8_t *data, size_t size, size_t at, struct gquic_hello *hello);

/* Read a table of tags as far as it is there. */
bool gquic_read_hello(const uint8_t *data, size_t size, struct gquic_hello *hello);

#endif
