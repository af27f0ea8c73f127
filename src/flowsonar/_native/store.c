#include "store.h"

#include <assert.h>
#include <stdbool.h>

#include "memory.h"

enum { POOLS = 8, POOL_BITS = 28 };

/* Bytes of a piece with its head, and for how many flows there is one. */
static const uint32_t PIECE[POOLS] = {96, 160, 256, 384, 576, 1024, 1536, STORE_DATA_MAX + 64};
static const uint32_t FLOWS_PER_PIECE[POOLS] = {3, 3, 6, 8, 8, 12, 12, 24};
static const uint32_t PIECES_MIN = 64;

struct pool {
    uint8_t *memory;
    uint32_t room, fresh; /* pieces below `fresh` were used at least once */
    uint32_t free;        /* stack of those that are free again */
};

struct store {
    struct pool pools[POOLS];
    uint32_t given; /* pieces given back and not settled */
    uint32_t flows;
};

static uint32_t pieces(int pool, uint32_t flows) {
    uint32_t count = flows / FLOWS_PER_PIECE[pool];
    return count > PIECES_MIN ? count : PIECES_MIN;
}

size_t store_memory(uint32_t flows) {
    size_t total = sizeof(struct store);
    for (int i = 0; i < POOLS; i++) total += (size_t)pieces(i, flows) * PIECE[i];
    return total;
}

struct store *store_new(uint32_t flows) {
    struct store *store = memory_sparse(sizeof *store);
    if (!store) return NULL;
    store->given = STORE_NONE;
    store->flows = flows;
    bool good = true;
    for (int i = 0; i < POOLS; i++) {
        struct pool *pool = &store->pools[i];
        pool->room = pieces(i, flows);
        pool->free = STORE_NONE;
        pool->memory = memory_sparse((size_t)pool->room * PIECE[i]);
        good = good && pool->memory;
    }
    if (good) return store;
    store_free(store);
    return NULL;
}

void store_free(struct store *store) {
    if (!store) return;
    for (int i = 0; i < POOLS; i++) memory_free(store->pools[i].memory, (size_t)store->pools[i].room * PIECE[i]);
    memory_free(store, sizeof *store);
}

struct stored *store_at(struct store *store, uint32_t piece) {
    uint32_t pool = piece >> POOL_BITS, number = piece & ((1u << POOL_BITS) - 1);
    assert(pool < POOLS && number < store->pools[pool].fresh);
    return (struct stored *)(void *)(store->pools[pool].memory + (size_t)number * PIECE[pool]);
}

uint32_t store_take(struct store *store, size_t size) {
    assert(size <= STORE_DATA_MAX);
    for (uint32_t i = 0; i < POOLS; i++) {
        struct pool *pool = &store->pools[i];
        if (sizeof(struct stored) + size > PIECE[i]) continue;
        uint32_t piece = pool->free;
        if (piece != STORE_NONE)
            pool->free = store_at(store, piece)->next;
        else if (pool->fresh < pool->room)
            piece = i << POOL_BITS | pool->fresh++;
        else
            continue; /* a larger one will do */
        struct stored *stored = store_at(store, piece);
        stored->pool = (uint8_t)i;
        stored->size = (uint16_t)size;
        stored->next = STORE_NONE;
        return piece;
    }
    return STORE_NONE;
}

void store_give(struct store *store, uint32_t piece) {
    while (piece != STORE_NONE) {
        struct stored *stored = store_at(store, piece);
        uint32_t next = stored->next;
        stored->next = store->given;
        store->given = piece;
        piece = next;
    }
}

void store_settle(struct store *store) {
    while (store->given != STORE_NONE) {
        uint32_t piece = store->given;
        struct stored *stored = store_at(store, piece);
        struct pool *pool = &store->pools[stored->pool];
        store->given = stored->next;
        stored->next = pool->free;
        pool->free = piece;
    }
}
