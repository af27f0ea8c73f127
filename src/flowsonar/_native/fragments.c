#include "fragments.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

static const uint64_t TIMEOUT_NS = UINT64_C(30000000000); /* as Linux reassembly */

struct fragment_key {
    uint8_t source[16];
    uint8_t destination[16];
    uint32_t identification;
    uint16_t path_version;
    uint8_t protocol;
    uint8_t zero;
};
static_assert(sizeof(struct fragment_key) == 40, "a key has no padding");

/* A first fragment and the ports in it. */
struct first_fragment {
    struct fragment_key key;
    uint64_t clock; /* when it was seen */
    uint16_t source_port;
    uint16_t destination_port;
    uint16_t next; /* in the hash chain, plus one; 0 ends it */
    uint8_t protocol;
};

bool fragments_new(struct fragments *f, const uint64_t seed[2]) {
    memset(f, 0, sizeof *f);
    memcpy(f->seed, seed, sizeof f->seed);
    f->entries = calloc(FRAGMENTS, sizeof *f->entries);
    f->heads = calloc(FRAGMENT_HEADS, sizeof *f->heads);
    return f->entries && f->heads;
}

void fragments_free(struct fragments *f) {
    free(f->entries);
    free(f->heads);
}

size_t fragments_memory(void) {
    return FRAGMENTS * sizeof(struct first_fragment) + FRAGMENT_HEADS * sizeof(uint16_t);
}

static struct first_fragment *find(struct fragments *f, const struct fragment_key *key, uint32_t head) {
    for (uint16_t at = f->heads[head]; at; at = f->entries[at - 1].next)
        if (memcmp(&f->entries[at - 1].key, key, sizeof *key) == 0) return &f->entries[at - 1];
    return NULL;
}

static uint32_t head_of(const struct fragments *f, const struct fragment_key *key) {
    return (uint32_t)hash_key(f->seed, key, !(key->path_version & 0x8000)) & (FRAGMENT_HEADS - 1);
}

static void displace(struct fragments *f, uint64_t clock) {
    struct first_fragment *oldest = &f->entries[f->first];
    uint16_t *link = &f->heads[head_of(f, &oldest->key)];
    while (*link != f->first + 1) link = &f->entries[*link - 1].next;
    *link = oldest->next;
    if (clock - oldest->clock <= TIMEOUT_NS) f->displaced++;
    f->first = (f->first + 1) % FRAGMENTS;
    f->count--;
}

bool fragments_assign(struct fragments *f, uint64_t clock, struct packet *packet) {
    struct fragment_key key = {.identification = packet->fragment_id,
                               .path_version = (uint16_t)(packet->path | (packet->version == 6 ? 0x8000 : 0)),
                               .protocol = packet->fragment_protocol};
    memcpy(key.source, packet->source, 16);
    memcpy(key.destination, packet->destination, 16);
    uint32_t head = head_of(f, &key);
    struct first_fragment *known = find(f, &key, head);
    if (packet->fragment == FRAGMENT_LATER) {
        if (!known || clock - known->clock > TIMEOUT_NS) return false;
        packet->protocol = known->protocol;
        packet->source_port = known->source_port;
        packet->destination_port = known->destination_port;
        return true;
    }
    if (!known) {
        if (f->count == FRAGMENTS) displace(f, clock);
        uint32_t at = (f->first + f->count++) % FRAGMENTS;
        known = &f->entries[at];
        known->key = key;
        known->next = f->heads[head];
        f->heads[head] = (uint16_t)(at + 1);
    }
    known->clock = clock;
    known->protocol = packet->protocol;
    known->source_port = packet->source_port;
    known->destination_port = packet->destination_port;
    return true;
}
