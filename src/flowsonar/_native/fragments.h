/* Ports of first fragments, for the fragments that follow them. */
#ifndef FLOWSONAR_FRAGMENTS_H
#define FLOWSONAR_FRAGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode.h"

enum {
    FRAGMENTS = 4096,      /* first fragments remembered; a new one displaces the oldest */
    FRAGMENT_HEADS = 8192, /* hash chains; a power of two */
};

struct first_fragment;

struct fragments {
    struct first_fragment *entries;
    uint16_t *heads; /* number of the first entry in each chain, plus one */
    uint32_t first;  /* the oldest entry; the others follow in the order of insertion */
    uint32_t count;
    uint64_t displaced; /* entries that went while they could still have been asked for */
    uint64_t seed[2];
};

bool fragments_new(struct fragments *fragments, const uint64_t seed[2]);
void fragments_free(struct fragments *fragments);
size_t fragments_memory(void);

/* Remember a first fragment's ports, give them to a later one; false when they are not known. Not for whole packets. */
bool fragments_assign(struct fragments *fragments, uint64_t clock, struct packet *packet);

#endif
