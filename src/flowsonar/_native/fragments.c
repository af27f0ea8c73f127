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

/* A datagram in fragments and its ports. */
struct fragmented {
    struct fragment_key key;
    uint64_t clock; /* when its first fragment was seen, or where that is missing, another one */
    uint16_t source_port;
    uint16_t destination_port;
    uint16_t next;  /* in the hash chain, plus one; 0 ends it */
    uint16_t whole; /* on its way to be put together, DATAGRAM_NONE */
    uint8_t protocol;
    bool known; /* the first fragment was seen */
    bool over;  /* nothing is put together until another first fragment comes */
};

bool fragments_new(struct fragments *f, const uint64_t seed[2]) {
    memset(f, 0, sizeof *f);
    memcpy(f->seed, seed, sizeof f->seed);
    f->entries = calloc(FRAGMENTS, sizeof *f->entries);
    f->heads = calloc(FRAGMENT_HEADS, sizeof *f->heads);
    return datagrams_new(&f->datagrams) && f->entries && f->heads;
}

void fragments_free(struct fragments *f) {
    free(f->entries);
    free(f->heads);
    datagrams_free(&f->datagrams);
}

size_t fragments_memory(void) {
    return FRAGMENTS * sizeof(struct fragmented) + FRAGMENT_HEADS * sizeof(uint16_t) + datagrams_memory();
}

static struct fragmented *find(struct fragments *f, const struct fragment_key *key, uint32_t head) {
    for (uint16_t at = f->heads[head]; at; at = f->entries[at - 1].next)
        if (memcmp(&f->entries[at - 1].key, key, sizeof *key) == 0) return &f->entries[at - 1];
    return NULL;
}

static uint32_t head_of(const struct fragments *f, const struct fragment_key *key) {
    return (uint32_t)hash_key(f->seed, key, !(key->path_version & 0x8000)) & (FRAGMENT_HEADS - 1);
}

static void end(struct fragments *f, uint16_t whole, enum datagram_end how) {
    struct fragmented *entry = &f->entries[datagrams_end(&f->datagrams, whole, how)];
    entry->whole = DATAGRAM_NONE;
    entry->over = true;
}

static void displace(struct fragments *f, uint64_t clock) {
    struct fragmented *oldest = &f->entries[f->first];
    uint16_t *link = &f->heads[head_of(f, &oldest->key)];
    while (*link != f->first + 1) link = &f->entries[*link - 1].next;
    *link = oldest->next;
    if (clock - oldest->clock <= TIMEOUT_NS) f->displaced++;
    if (oldest->whole != DATAGRAM_NONE) end(f, oldest->whole, DATAGRAM_DISPLACED);
    f->first = (f->first + 1) % FRAGMENTS;
    f->count--;
}

bool fragments_assign(struct fragments *f, uint64_t clock, struct packet *packet, uint32_t *entry) {
    struct fragment_key key = {.identification = packet->fragment_id,
                               .path_version = (uint16_t)(packet->path | (packet->version == 6 ? 0x8000 : 0)),
                               .protocol = packet->fragment_protocol};
    memcpy(key.source, packet->source, 16);
    memcpy(key.destination, packet->destination, 16);
    uint32_t head = head_of(f, &key);
    struct fragmented *known = find(f, &key, head);
    if (!known) {
        if (f->count == FRAGMENTS) displace(f, clock);
        uint32_t at = (f->first + f->count++) % FRAGMENTS;
        known = &f->entries[at];
        *known = (struct fragmented){.key = key, .clock = clock, .next = f->heads[head], .whole = DATAGRAM_NONE};
        f->heads[head] = (uint16_t)(at + 1);
    } else if (known->whole == DATAGRAM_NONE && clock - known->clock > TIMEOUT_NS) {
        known->clock = clock;
        known->known = known->over = false;
    }
    *entry = (uint32_t)(known - f->entries);
    if (packet->fragment == FRAGMENT_FIRST) {
        known->clock = clock;
        known->known = true;
        known->protocol = packet->protocol;
        known->source_port = packet->source_port;
        known->destination_port = packet->destination_port;
        return true;
    }
    if (!known->known) return false;
    packet->protocol = known->protocol;
    packet->source_port = known->source_port;
    packet->destination_port = known->destination_port;
    return true;
}

static uint16_t whole_of(struct fragments *f, uint32_t entry, uint64_t clock) {
    struct fragmented *fragmented = &f->entries[entry];
    if (fragmented->whole == DATAGRAM_NONE) {
        if (f->datagrams.count == DATAGRAMS) end(f, f->datagrams.oldest, DATAGRAM_NO_ROOM);
        fragmented->whole = datagrams_begin(&f->datagrams, entry, clock);
    }
    return fragmented->whole;
}

static void add(struct fragments *f, uint16_t whole, const struct packet *packet) {
    enum datagram_end how;
    if (datagrams_add(&f->datagrams, whole, packet, &how)) end(f, whole, how);
}

void fragments_first(struct fragments *f, uint32_t entry, uint64_t clock, const struct packet *packet, uint64_t flow,
                     int direction) {
    f->entries[entry].over = false;
    uint16_t whole = whole_of(f, entry, clock);
    datagrams_name(&f->datagrams, whole, packet, flow, direction);
    add(f, whole, packet);
}

void fragments_pass_by(struct fragments *f, uint32_t entry) {
    if (f->entries[entry].whole != DATAGRAM_NONE) end(f, f->entries[entry].whole, DATAGRAM_DISPLACED);
    f->entries[entry].over = true;
}

void fragments_later(struct fragments *f, uint32_t entry, uint64_t clock, const struct packet *packet) {
    if (f->entries[entry].over || !packet->payload_wire) return;
    uint16_t whole = whole_of(f, entry, clock);
    if (packet->payload_captured < packet->payload_wire) /* there will be a gap */
        end(f, whole, DATAGRAM_INCOMPLETE);
    else
        add(f, whole, packet);
}

bool fragments_oldest(struct fragments *f) {
    if (!f->datagrams.count) return false;
    end(f, f->datagrams.oldest, DATAGRAM_INCOMPLETE);
    return true;
}

bool fragments_due(struct fragments *f, uint64_t clock) {
    uint64_t since = 0;
    if (datagrams_oldest(&f->datagrams, &since) == DATAGRAM_NONE || clock - since <= TIMEOUT_NS) return false;
    return fragments_oldest(f);
}
