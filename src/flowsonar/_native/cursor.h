/* A place in a frame while it is decoded, and the layers that name each other. Only decode.c and tunnels.c use it. */
#ifndef FLOWSONAR_CURSOR_H
#define FLOWSONAR_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "decode.h"

/* The decoder is a loop over layers: each case checks and steps over one header and names the next. A tunnel names an
   earlier layer again; MAX_LAYERS bounds the loop. */
enum layer {
    LAYER_LINK,
    LAYER_ETHERTYPE,
    LAYER_PPPOE,
    LAYER_PPP,
    LAYER_MPLS,
    LAYER_IP,
    LAYER_IPV4,
    LAYER_IPV6,
    LAYER_TRANSPORT,
    LAYER_DONE,
    LAYER_DROP,
};

/* at <= end (captured) <= limit (what is there on the wire); all count from `frame`. */
struct cursor {
    const uint8_t *frame;
    uint32_t at;
    uint32_t end;
    uint32_t limit;
    /* What the next layer needs to know: a link type, an EtherType, or the IP version. */
    uint32_t number;
    enum decode_result drop;
    /* The next IP packet fills what is there to its last byte. */
    bool exact;
};

static inline enum layer drop(struct cursor *c, enum decode_result reason) {
    c->drop = reason;
    return LAYER_DROP;
}

/* Whether `count` bytes can be read; else sets the reason. */
static inline bool has(struct cursor *c, uint32_t count) {
    if (count <= c->end - c->at) return true;
    c->drop = count <= c->limit - c->at ? DROP_TRUNCATED : DROP_MALFORMED;
    return false;
}

/* From here on at most `length` bytes belong to the packet. */
static inline void bound(struct cursor *c, uint32_t length) {
    if (length < c->limit - c->at) c->limit = c->at + length;
    if (c->end > c->limit) c->end = c->limit;
}

static inline const uint8_t *here(const struct cursor *c) { return c->frame + c->at; }

static inline enum layer next(struct cursor *c, enum layer layer, uint32_t number) {
    c->number = number;
    return layer;
}

/* Whether a packet's protocol or ports are a tunnel's. */
static inline bool may_be_tunnel(const struct packet *packet) {
    switch (packet->protocol) {
    case PROTOCOL_TCP: return false;
    case PROTOCOL_UDP:
        switch (packet->destination_port) {
        case 1701:
        case 2152:
        case 3544:
        case 4789:
        case 6081:
        case 8472: return true;
        default: return packet->source_port == 3544 || packet->source_port == 1701;
        }
    case 4:
    case 41:
    case 47:
    case 97:
    case 137: return true;
    default: return false;
    }
}

/* Step over a tunnel's header and name the layer inside; LAYER_DONE where it is none that can be looked into. The
   packet is whole but for what is inside: `c->at` is at the transport payload, or at what follows the IP header. */
enum layer decode_tunnel(struct cursor *c, struct packet *packet);

#endif
