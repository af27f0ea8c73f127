/* From a flow's key to its slot: open addressing with linear probing, never more than half full. */
#ifndef FLOWSONAR_INDEX_H
#define FLOWSONAR_INDEX_H

#include <stdbool.h>
#include <string.h>

#include "flow.h"

/* One place. */
struct bucket {
    uint32_t tag;  /* low half of the hash; its low bits are the home position */
    uint32_t slot; /* of the flow, plus one; 0 is an empty place */
};

enum { BUCKETS_PER_FLOW_MAX = 4 }; /* 2 * capacity places, rounded up to a power of two */

struct index {
    struct bucket *buckets;
    uint32_t mask; /* number of places, a power of two, minus one */
};

bool index_new(struct index *index, uint32_t capacity);
void index_free(struct index *index);
uint32_t index_buckets(uint32_t capacity);

/* Requires that the slot is not in it. */
void index_add(struct index *index, uint64_t hash, uint32_t slot);

/* Requires that the slot is in it under this hash. */
void index_remove(struct index *index, uint64_t hash, uint32_t slot);

static inline const struct bucket *index_home(const struct index *index, uint64_t hash) {
    return &index->buckets[(uint32_t)hash & index->mask];
}

/* The slot, or NONE. */
static inline uint32_t index_find(const struct index *index, const struct flow *flows, const struct key *key,
                                  uint64_t hash) {
    uint32_t tag = (uint32_t)hash;
    for (uint32_t at = tag & index->mask;; at = (at + 1) & index->mask) {
        struct bucket bucket = index->buckets[at];
        if (!bucket.slot) return NONE;
        if (bucket.tag == tag && memcmp(&flows[bucket.slot - 1].key, key, sizeof *key) == 0) return bucket.slot - 1;
    }
}

#endif
