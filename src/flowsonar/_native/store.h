/* Copies of payloads and texts of flows in the fast lane, in pieces of a few sizes. No allocation but at the start. */
#ifndef FLOWSONAR_STORE_H
#define FLOWSONAR_STORE_H

#include <stddef.h>
#include <stdint.h>

enum {
    STORE_DATA_MAX = 2048,
    STORE_NONE = UINT32_MAX,
    STORE_HELD = 2,
};

/* One payload as its event tells it, or a text. `data` follows. */
struct stored {
    uint64_t time_ns;
    uint64_t offset; /* in the stream; of a datagram the node of `shapes` that it led to */
    uint64_t handshake_ns;
    uint32_t next; /* of the same flow, or free */
    uint32_t wire_length;
    uint32_t index;
    uint32_t acknowledges;
    uint16_t size;
    uint8_t direction; /* with STORE_HELD while it waits for the beginning of its direction */
    uint8_t pool;
    uint8_t number; /* of those kept of its flow, as they came */
    uint8_t data[];
};

struct store;

/* Room in proportion to the flows of the table; NULL where there is no memory. */
struct store *store_new(uint32_t flows);
void store_free(struct store *store);
size_t store_memory(uint32_t flows);

/* A piece with room for `size` bytes, size <= STORE_DATA_MAX; STORE_NONE where none is left. Only `size` and `next`
   are set. */
uint32_t store_take(struct store *store, size_t size);
struct stored *store_at(struct store *store, uint32_t piece);

/* Give back a piece and those after it; their bytes stay as they are until `store_settle`. */
void store_give(struct store *store, uint32_t piece);

/* What was given back may be used again. */
void store_settle(struct store *store);

#endif
