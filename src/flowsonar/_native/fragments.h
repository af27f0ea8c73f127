/* Fragments of IP packets: the ports of a datagram's first one for those that follow it, and the datagram put together.
   flows/_reference_fragments.py is the specification. */
#ifndef FLOWSONAR_FRAGMENTS_H
#define FLOWSONAR_FRAGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datagrams.h"
#include "decode.h"

enum {
    FRAGMENTS = 4096,      /* datagrams whose ports are remembered; a new one displaces the oldest */
    FRAGMENT_HEADS = 8192, /* hash chains; a power of two */
};

struct fragmented;

struct fragments {
    struct fragmented *entries;
    uint16_t *heads; /* number of the first entry in each chain, plus one */
    uint32_t first;  /* the oldest entry; the others follow in the order of insertion */
    uint32_t count;
    uint64_t displaced; /* entries that went while they could still have been asked for */
    uint64_t seed[2];
    struct datagrams datagrams;
};

bool fragments_new(struct fragments *fragments, const uint64_t seed[2]);
void fragments_free(struct fragments *fragments);
size_t fragments_memory(void);

/* Remember a first fragment's ports, give them to a later one; false when they are not known. Not for whole packets.
   `*entry` is its datagram, for the functions below, until the next call of this one. */
bool fragments_assign(struct fragments *fragments, uint64_t clock, struct packet *packet, uint32_t *entry);

/* What comes to its end in these is put to `datagrams.joined`. A first fragment whose payload waits for the others,
   or is read by itself; a later one. */
void fragments_first(struct fragments *fragments, uint32_t entry, uint64_t clock, const struct packet *packet,
                     uint64_t flow, int direction);
void fragments_pass_by(struct fragments *fragments, uint32_t entry);
void fragments_later(struct fragments *fragments, uint32_t entry, uint64_t clock, const struct packet *packet);

/* Give up the oldest datagram: where it has waited for too long, or in any case; false where there is none. */
bool fragments_due(struct fragments *fragments, uint64_t clock);
bool fragments_oldest(struct fragments *fragments);

#endif
