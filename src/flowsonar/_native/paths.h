/* What flows run inside: each stack of tunnels that flows use has a number, which is part of their keys, so that equal
   addresses in two tunnels do not meet. flows/_reference_paths.py is the specification. */
#ifndef FLOWSONAR_PATHS_H
#define FLOWSONAR_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode.h"

enum {
    PATH_FIRST = 4096,  /* smaller numbers are VLANs without a tunnel */
    PATHS = 1 << 14,    /* tunnels with flows in them at a time; flows of further ones are told by what is around */
    PATH_NODES = 2 * PATHS,
    PATH_HEADS = 1 << 15, /* hash chains; a power of two */
};

/* A tunnel inside `parent`. Sides are in the order of their addresses. Where each direction has an identifier of its
   own (GTP-U, L2TP, PPTP), the two are put together when packets between the same two inner addresses are seen. */
struct path {
    uint8_t side[2][16];
    uint32_t id[2];   /* on packets from this side; equal where both directions have the same one */
    uint64_t inside;  /* hash of the inner addresses of the packet that it began with */
    uint32_t users;   /* flows in it, and paths; 0: it is not in use, or about to go */
    uint16_t parent;  /* number of the path around it, or VLAN */
    uint8_t kind;     /* enum tunnel */
    uint8_t version;  /* of IP around it */
    bool begun_by;    /* the side that sent the first packet seen */
    bool known[2];    /* whether id means anything */
    uint16_t next[2]; /* in the hash chain of each direction, plus one; [0] of a free one: the next free one, plus one */
};

struct paths {
    struct path *paths;
    uint16_t *heads; /* number of the first node in each chain, plus one; a node is 2 * path + direction */
    uint16_t free;   /* plus one */
    uint16_t fresh;  /* paths below were used at least once */
    uint64_t full;   /* packets whose tunnel found no room */
    uint64_t seed[2];
};

bool paths_new(struct paths *paths, const uint64_t seed[2]);
void paths_free(struct paths *paths);
size_t paths_memory(void);

/* The number of a packet's path. One without users goes with paths_settle. */
uint16_t paths_enter(struct paths *paths, const struct packet *packet);

/* A flow opens in it, a flow closes. Nothing happens to VLANs. */
void paths_use(struct paths *paths, uint16_t path);
void paths_drop(struct paths *paths, uint16_t path);

/* Let a path go that nobody uses. */
void paths_settle(struct paths *paths, uint16_t path);

/* The VLAN, and the tunnels as their first packets came, outermost first. */
uint16_t paths_vlan(const struct paths *paths, uint16_t path);
uint8_t paths_hops(const struct paths *paths, uint16_t path, struct hop hops[HOPS_MAX]);

#endif
