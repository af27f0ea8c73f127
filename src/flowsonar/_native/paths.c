#include "paths.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "memory.h"

static_assert(PATH_NODES < UINT16_MAX, "a node and one fits a link");
static_assert(PATH_FIRST + PATHS <= 1 << 15, "a path fits a key");

bool paths_new(struct paths *p, const uint64_t seed[2]) {
    memset(p, 0, sizeof *p);
    memcpy(p->seed, seed, sizeof p->seed);
    p->paths = memory_sparse(PATHS * sizeof *p->paths);
    p->heads = memory_sparse(PATH_HEADS * sizeof *p->heads);
    return p->paths && p->heads;
}

void paths_free(struct paths *p) {
    if (p->paths) memory_free(p->paths, PATHS * sizeof *p->paths);
    if (p->heads) memory_free(p->heads, PATH_HEADS * sizeof *p->heads);
}

size_t paths_memory(void) { return PATHS * sizeof(struct path) + PATH_HEADS * sizeof(uint16_t); }

/* Whether each direction has its own identifier, chosen by the receiver. */
static bool is_directional(uint8_t kind) { return kind == TUNNEL_GTP || kind == TUNNEL_L2TP || kind == TUNNEL_PPTP; }

/* -- hash chains: a direction is found by its identifier, or, while that is not known, by what is inside -------------- */

static uint32_t head_of(const struct paths *p, const struct path *path, int direction) {
    uint64_t words[6];
    memcpy(words, path->side, sizeof path->side);
    words[4] = (uint64_t)path->parent << 32 | (uint64_t)path->kind << 16 | (uint64_t)path->version << 8 |
               (uint64_t)(path->known[direction] << 1 | direction);
    words[5] = path->known[direction] ? path->id[direction] : path->inside;
    return (uint32_t)sip_hash(p->seed, words, 6) & (PATH_HEADS - 1);
}

static void link_node(struct paths *p, uint32_t number, int direction) {
    struct path *path = &p->paths[number];
    uint16_t *head = &p->heads[head_of(p, path, direction)];
    path->next[direction] = *head;
    *head = (uint16_t)(2 * number + (uint32_t)direction + 1);
}

static void unlink_node(struct paths *p, uint32_t number, int direction) {
    struct path *path = &p->paths[number];
    uint16_t node = (uint16_t)(2 * number + (uint32_t)direction + 1), *link = &p->heads[head_of(p, path, direction)];
    while (*link != node) link = &p->paths[(*link - 1) / 2].next[(*link - 1) % 2];
    *link = path->next[direction];
}

/* The path whose `direction` is as in `wanted`; NULL where there is none. */
static struct path *find(struct paths *p, const struct path *wanted, int direction) {
    for (uint16_t node = p->heads[head_of(p, wanted, direction)]; node;) {
        struct path *path = &p->paths[(node - 1) / 2];
        if ((node - 1) % 2 == direction && path->parent == wanted->parent && path->kind == wanted->kind &&
            path->version == wanted->version && path->known[direction] == wanted->known[direction] &&
            memcmp(path->side, wanted->side, sizeof path->side) == 0 &&
            (wanted->known[direction] ? path->id[direction] == wanted->id[direction]
                                      : path->inside == wanted->inside))
            return path;
        node = path->next[(node - 1) % 2];
    }
    return NULL;
}

/* -- paths -------------------------------------------------------------------------------------------------------- */

static uint16_t number_of(const struct paths *p, const struct path *path) {
    return (uint16_t)(PATH_FIRST + (path - p->paths));
}

/* A hash of the two addresses inside, the same for both directions. */
static uint64_t hash_inside(const struct paths *p, const struct packet *packet) {
    uint64_t words[5] = {0};
    bool swapped = memcmp(packet->source, packet->destination, 16) > 0;
    memcpy(words, swapped ? packet->destination : packet->source, 16);
    memcpy(words + 2, swapped ? packet->source : packet->destination, 16);
    words[4] = packet->version;
    return sip_hash(p->seed, words, 5);
}

static struct path *take_free(struct paths *p) {
    if (p->free) {
        struct path *path = &p->paths[p->free - 1];
        p->free = path->next[0];
        return path;
    }
    return p->fresh < PATHS ? &p->paths[p->fresh++] : NULL;
}

static uint16_t begin(struct paths *p, const struct path *wanted, int direction) {
    struct path *path = take_free(p);
    if (!path) {
        p->full++;
        return wanted->parent;
    }
    *path = *wanted;
    path->begun_by = direction;
    uint32_t number = (uint32_t)(path - p->paths);
    if (is_directional(path->kind)) {
        link_node(p, number, 0);
        link_node(p, number, 1);
    } else {
        link_node(p, number, 0);
    }
    paths_use(p, path->parent);
    return number_of(p, path);
}

static uint16_t enter(struct paths *p, uint16_t parent, const struct hop *hop, uint64_t inside) {
    struct path wanted = {.parent = parent, .kind = hop->kind, .version = hop->version, .inside = inside};
    bool swapped = memcmp(hop->source, hop->destination, 16) > 0;
    memcpy(wanted.side[swapped], hop->source, 16);
    memcpy(wanted.side[!swapped], hop->destination, 16);
    if (!is_directional(hop->kind)) {
        wanted.id[0] = wanted.id[1] = hop->id;
        wanted.known[0] = wanted.known[1] = true;
        const struct path *path = find(p, &wanted, 0);
        return path ? number_of(p, path) : begin(p, &wanted, swapped);
    }
    wanted.id[swapped] = hop->id;
    wanted.known[swapped] = true;
    struct path *path = find(p, &wanted, swapped);
    if (path) return number_of(p, path);
    wanted.known[swapped] = false;
    path = find(p, &wanted, swapped);
    wanted.known[swapped] = true;
    if (!path) return begin(p, &wanted, swapped);
    uint32_t number = (uint32_t)(path - p->paths);
    unlink_node(p, number, swapped);
    path->id[swapped] = hop->id;
    path->known[swapped] = true;
    link_node(p, number, swapped);
    return number_of(p, path);
}

uint16_t paths_enter(struct paths *p, const struct packet *packet) {
    uint16_t path = packet->vlan;
    uint64_t inside = hash_inside(p, packet);
    for (uint8_t i = 0; i < packet->hop_count; i++) path = enter(p, path, &packet->hops[i], inside);
    return path;
}

void paths_use(struct paths *p, uint16_t path) {
    if (path >= PATH_FIRST) p->paths[path - PATH_FIRST].users++;
}

void paths_drop(struct paths *p, uint16_t path) {
    if (path < PATH_FIRST) return;
    assert(p->paths[path - PATH_FIRST].users);
    p->paths[path - PATH_FIRST].users--;
    paths_settle(p, path);
}

void paths_settle(struct paths *p, uint16_t path) {
    while (path >= PATH_FIRST && !p->paths[path - PATH_FIRST].users) {
        uint32_t number = path - PATH_FIRST;
        struct path *gone = &p->paths[number];
        unlink_node(p, number, 0);
        if (is_directional(gone->kind)) unlink_node(p, number, 1);
        path = gone->parent;
        gone->next[0] = p->free;
        p->free = (uint16_t)(number + 1);
        if (path >= PATH_FIRST) p->paths[path - PATH_FIRST].users--;
    }
}

uint16_t paths_vlan(const struct paths *p, uint16_t path) {
    while (path >= PATH_FIRST) path = p->paths[path - PATH_FIRST].parent;
    return path;
}

uint8_t paths_hops(const struct paths *p, uint16_t path, struct hop hops[HOPS_MAX]) {
    uint8_t count = 0;
    for (uint16_t at = path; at >= PATH_FIRST; at = p->paths[at - PATH_FIRST].parent) count++;
    assert(count <= HOPS_MAX);
    uint8_t left = count;
    for (uint16_t at = path; at >= PATH_FIRST; at = p->paths[at - PATH_FIRST].parent) {
        const struct path *one = &p->paths[at - PATH_FIRST];
        struct hop *hop = &hops[--left];
        *hop = (struct hop){.kind = one->kind, .version = one->version, .id = one->id[one->begun_by]};
        memcpy(hop->source, one->side[one->begun_by], 16);
        memcpy(hop->destination, one->side[!one->begun_by], 16);
    }
    return count;
}
