#include "shapes.h"

#include <assert.h>
#include <string.h>

#include "hash.h"
#include "memory.h"

enum {
    NODES = 1 << 16,
    HEADS = 1 << 17,
    KEY_BYTES = 1 << 22,
    KEY_WORDS = (SHAPES_KEY_MAX + 7) / 8 + 1,
};

struct shapes {
    uint32_t count; /* nodes are numbered from 1: this is the last one */
    uint32_t used;  /* of keys */
    uint32_t roots;
    uint64_t seed[2], text_seed[2];
    uint32_t heads[HEADS];
    struct shape nodes[NODES];
    uint8_t keys[KEY_BYTES];
};

struct shapes *shapes_new(uint32_t roots, const uint64_t seed[2]) {
    assert(roots < NODES);
    struct shapes *shapes = memory_sparse(sizeof *shapes);
    if (!shapes) return NULL;
    shapes->count = shapes->roots = roots;
    for (int i = 0; i < 2; i++) {
        shapes->seed[i] = seed[i];
        shapes->text_seed[i] = sip_hash(seed, (const uint64_t[]){(uint64_t)i}, 1);
    }
    return shapes;
}

void shapes_free(struct shapes *shapes) { memory_free(shapes, sizeof *shapes); }

struct shape *shapes_at(struct shapes *shapes, uint32_t node) {
    assert(node && node <= shapes->count);
    return &shapes->nodes[node];
}

uint32_t shapes_count(const struct shapes *shapes) { return shapes->count; }

uint32_t shapes_roots(const struct shapes *shapes) { return shapes->roots; }

const uint8_t *shapes_key(const struct shapes *shapes, const struct shape *shape) { return shapes->keys + shape->key; }

uint64_t *shapes_text_seed(struct shapes *shapes) { return shapes->text_seed; }

void shapes_text(const struct shapes *shapes, const uint8_t *text, size_t size, uint8_t mark[16]) {
    uint64_t seed[2] = {shapes->text_seed[0], shapes->text_seed[1]};
    for (int i = 0; i < 2; i++, seed[1] = ~seed[1]) {
        uint64_t half = sip_bytes(seed, text, size);
        memcpy(mark + 8 * i, &half, sizeof half);
    }
}

uint32_t shapes_next(struct shapes *shapes, uint32_t from, const uint8_t *key, size_t size) {
    uint64_t words[KEY_WORDS];
    assert(size <= SHAPES_KEY_MAX);
    size_t count = (size + 7) / 8 + 1;
    words[count - 1] = 0;
    if (count > 1) words[count - 2] = 0;
    memcpy(words, key, size);
    words[count - 1] = (uint64_t)from << 32 | size;
    uint32_t *head = &shapes->heads[sip_hash(shapes->seed, words, count) % HEADS];
    for (uint32_t at = *head; at; at = shapes->nodes[at].chain) {
        struct shape *node = &shapes->nodes[at];
        if (node->parent != from || node->key_size != size || memcmp(shapes->keys + node->key, key, size) != 0) continue;
        node->used = true;
        return at;
    }
    if (shapes->count == NODES - 1 || size > KEY_BYTES - shapes->used) return SHAPES_NONE;
    uint32_t number = ++shapes->count;
    shapes->nodes[number] = (struct shape){.parent = from, .key = shapes->used, .key_size = (uint32_t)size, .chain = *head,
                                            .used = true};
    memcpy(shapes->keys + shapes->used, key, size);
    shapes->used += (uint32_t)size;
    *head = number;
    return number;
}
