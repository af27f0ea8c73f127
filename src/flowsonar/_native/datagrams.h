/* Datagrams put together from their fragments. flows/_reference_fragments.py is the specification. */
#ifndef FLOWSONAR_DATAGRAMS_H
#define FLOWSONAR_DATAGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode.h"

enum {
    DATAGRAMS = 256,         /* put together at a time; for a new one the oldest is given up */
    DATAGRAM_PIECES = 16,    /* runs of one with gaps between them */
    DATAGRAM_HEADERS = 128,  /* bytes before the payload */
    DATAGRAM_KEPT = DATAGRAM_HEADERS + 2048, /* the rest is only counted */
    DATAGRAM_NONE = 0xffff,
    JOINED = 32,             /* that came to their end since the table was called */
    JOINED_PER_FRAME = 3,    /* one that waited too long, the oldest one for want of room, and the one at hand */
};

/* A datagram that is not waited for any more: its first fragment's flow, and the payload up to the first gap. */
struct joined {
    uint64_t flow;
    uint32_t sequence;
    uint32_t payload_wire;
    uint32_t size; /* of the payload; not 0 */
    uint16_t header; /* the payload is behind it */
    uint8_t direction;
    uint8_t protocol;
    uint8_t flags;
    uint8_t data[DATAGRAM_KEPT];
};

/* Whole; what does not fit together, or is not waited for: nothing is read of it; the others up to the first gap. */
enum datagram_end {
    DATAGRAM_JOINED,
    DATAGRAM_OVERLAPPING,
    DATAGRAM_DISPLACED,
    DATAGRAM_INCOMPLETE,
    DATAGRAM_NO_ROOM,
    DATAGRAM_ENDS,
};

struct whole;

struct datagrams {
    struct whole *wholes; /* DATAGRAMS */
    struct joined *joined;
    uint16_t oldest; /* list of those on their way, in the order of their beginning */
    uint16_t newest;
    uint16_t count;
    uint16_t free; /* stack */
    uint16_t joined_count;
    uint16_t joined_told; /* taken by the table */
    uint64_t ends[DATAGRAM_ENDS];
};

bool datagrams_new(struct datagrams *datagrams);
void datagrams_free(struct datagrams *datagrams);
size_t datagrams_memory(void);

/* What was joined may be overwritten. */
void datagrams_settle(struct datagrams *datagrams);
bool datagrams_fit(const struct datagrams *datagrams);

/* A new one for this entry of the fragments. There must be room. */
uint16_t datagrams_begin(struct datagrams *datagrams, uint32_t entry, uint64_t clock);

/* Whether a first fragment's payload is to wait for the others: there is more, and nothing of it is missing. */
bool datagrams_begins_with(const struct packet *packet);

/* Whose it is, and what its transport header says; the first time counts. */
void datagrams_name(struct datagrams *datagrams, uint16_t at, const struct packet *packet, uint64_t flow, int direction);

/* Take a fragment. `*end` is set where it ends the datagram, which still has to be ended then. */
bool datagrams_add(struct datagrams *datagrams, uint16_t at, const struct packet *packet, enum datagram_end *end);

/* Take it out; what can be read of it is put to `joined`. Gives the entry that it was for. */
uint32_t datagrams_end(struct datagrams *datagrams, uint16_t at, enum datagram_end end);

/* The oldest one, DATAGRAM_NONE where there is none; and when it began. */
uint16_t datagrams_oldest(const struct datagrams *datagrams, uint64_t *since);

#endif
