#include <string.h>

#include "bytes.h"
#include "cursor.h"

/* What is found of a tunnel's header. */
struct found {
    enum tunnel kind;
    uint32_t id;
    uint32_t size; /* of the header */
    enum layer layer;
    uint32_t number;
};

static const struct found NONE_FOUND = {TUNNEL_NONE, 0, 0, LAYER_DONE, 0};

/* An EtherType that IP, Ethernet or MPLS has. */
static bool inside_of(uint32_t type, struct found *found) {
    switch (type) {
    case 0x0800: found->layer = LAYER_IPV4; return true;
    case 0x86dd: found->layer = LAYER_IPV6; return true;
    case 0x6558: /* transparent Ethernet bridging */
        found->layer = LAYER_LINK;
        found->number = 1;
        return true;
    case 0x8847:
    case 0x8848: found->layer = LAYER_MPLS; return true;
    default: return false;
    }
}

/* RFC 2784 and 2890; of RFC 1701 what has no routing. Version 1 is PPTP's (RFC 2637). */
static struct found read_gre(struct cursor *c) {
    if (!has(c, 4)) return NONE_FOUND;
    uint32_t flags = be16(here(c)), type = be16(here(c) + 2), size = 4;
    struct found found = {TUNNEL_GRE, 0, 0, LAYER_DONE, 0};
    if ((flags & 7) == 1) {
        if ((flags & 0xef78) != 0x2000 || type != 0x880b) return NONE_FOUND; /* key, no more than numbers and an ack */
        size = 8u + (flags & 0x1000 ? 4u : 0u) + (flags & 0x0080 ? 4u : 0u);
        if (!has(c, size)) return NONE_FOUND;
        uint32_t length = be16(here(c) + 4);
        if (!length || length > c->limit - c->at - size) return NONE_FOUND; /* an acknowledgement alone */
        bound(c, size + length);
        return (struct found){TUNNEL_PPTP, be16(here(c) + 6), size, LAYER_PPP, 0};
    }
    if (flags & 0x4fff || !inside_of(type, &found)) return NONE_FOUND;
    if (flags & 0x8000) size += 4;
    if (flags & 0x2000) {
        if (!has(c, size + 4)) return NONE_FOUND;
        found.id = be32(here(c) + size);
        size += 4;
    }
    if (flags & 0x1000) size += 4;
    found.size = size;
    return found;
}

/* RFC 7348; a group policy may stand in the reserved bits. */
static struct found read_vxlan(struct cursor *c) {
    if (!has(c, 8)) return NONE_FOUND;
    const uint8_t *h = here(c);
    if (h[7] || !(h[0] == 0x08 ? h[1] == 0 && be16(h + 2) == 0 : h[0] == 0x88)) return NONE_FOUND;
    return (struct found){TUNNEL_VXLAN, be32(h + 4) >> 8, 8, LAYER_LINK, 1};
}

/* RFC 8926. */
static struct found read_geneve(struct cursor *c) {
    if (!has(c, 8)) return NONE_FOUND;
    const uint8_t *h = here(c);
    struct found found = {TUNNEL_GENEVE, be32(h + 4) >> 8, 8 + (h[0] & 0x3fu) * 4, LAYER_DONE, 0};
    if (h[0] & 0xc0 || h[1] & 0x80 || h[7] || !inside_of(be16(h + 2), &found)) return NONE_FOUND;
    return found;
}

/* 3GPP TS 29.281 section 5: a G-PDU with its extension headers. */
static struct found read_gtp(struct cursor *c) {
    if (!has(c, 8)) return NONE_FOUND;
    const uint8_t *h = here(c);
    uint32_t size = 8;
    if ((h[0] & 0xf8) != 0x30 || h[1] != 0xff || be16(h + 2) != c->limit - c->at - 8) return NONE_FOUND;
    if (h[0] & 7) {
        size = 12;
        if (!has(c, size)) return NONE_FOUND;
        uint8_t extension = h[0] & 4 ? h[11] : 0;
        for (int i = 0; extension && i < 8; i++) {
            if (!has(c, size + 4)) return NONE_FOUND;
            uint32_t length = h[size] * 4u;
            if (!length || !has(c, size + length)) return NONE_FOUND;
            size += length;
            extension = h[size - 1];
        }
        if (extension) return NONE_FOUND;
    }
    c->exact = true;
    return (struct found){TUNNEL_GTP, be32(h + 4), size, LAYER_IP, 0};
}

/* RFC 4380 section 5.1.1: authentication and origin may stand before IPv6. What a client and its server say to each
   other about the tunnel itself comes from link-local addresses or carries nothing: that stays a UDP flow. */
static struct found read_teredo(struct cursor *c) {
    uint32_t size = 0;
    if (!has(c, 8)) return NONE_FOUND;
    if (be16(here(c)) == 1) {
        size = 13u + here(c)[2] + here(c)[3];
        if (!has(c, size + 2)) return NONE_FOUND;
    }
    if (be16(here(c) + size) == 0) size += 8;
    if (!has(c, size + 40)) return NONE_FOUND;
    const uint8_t *ip = here(c) + size;
    if (ip[0] >> 4 != 6 || ip[6] == 59 || (be16(ip + 8) & 0xffc0) == 0xfe80) return NONE_FOUND;
    c->exact = true;
    return (struct found){TUNNEL_TEREDO, 0, size, LAYER_IPV6, 0};
}

/* RFC 2661 section 3.1, data messages. */
static struct found read_l2tp(struct cursor *c) {
    if (!has(c, 6)) return NONE_FOUND;
    const uint8_t *h = here(c);
    uint32_t flags = be16(h), size = 2;
    if ((flags & 0xb4ff) != 0x0002) return NONE_FOUND; /* data, version 2, reserved bits 0 */
    if (flags & 0x4000) {
        if (be16(h + 2) > c->limit - c->at || be16(h + 2) < 8) return NONE_FOUND;
        size = 4;
    }
    if (!has(c, size + 4)) return NONE_FOUND;
    uint32_t id = be32(h + size);
    size += 4u + (flags & 0x0800 ? 4u : 0u);
    if (flags & 0x0200) {
        if (!has(c, size + 2)) return NONE_FOUND;
        size += 2u + be16(h + size);
    }
    if (flags & 0x4000) bound(c, be16(h + 2));
    c->exact = true;
    return (struct found){TUNNEL_L2TP, id, size, LAYER_PPP, 0};
}

static struct found read_udp(struct cursor *c, const struct packet *packet) {
    switch (packet->destination_port) {
    case 4789:
    case 8472: return read_vxlan(c);
    case 6081: return read_geneve(c);
    case 2152: return read_gtp(c);
    case 1701: return read_l2tp(c);
    case 3544: return read_teredo(c);
    default: return packet->source_port == 3544 ? read_teredo(c) : read_l2tp(c);
    }
}

static struct found read_header(struct cursor *c, const struct packet *packet) {
    switch (packet->protocol) {
    case PROTOCOL_UDP: return read_udp(c, packet);
    case 4: return (struct found){TUNNEL_IPV4, 0, 0, LAYER_IPV4, 0};
    case 41: return (struct found){TUNNEL_IPV6, 0, 0, LAYER_IPV6, 0};
    case 47: return read_gre(c);
    case 97: /* EtherIP, RFC 3378: version 3, the rest is 0 */
        if (!has(c, 2) || be16(here(c)) != 0x3000) return NONE_FOUND;
        return (struct found){TUNNEL_ETHERIP, 0, 2, LAYER_LINK, 1};
    case 137: return (struct found){TUNNEL_MPLS, 0, 0, LAYER_MPLS, 0}; /* RFC 4023 */
    default: return NONE_FOUND;
    }
}

enum layer decode_tunnel(struct cursor *c, struct packet *packet) {
    struct found found = read_header(c, packet);
    if (found.layer == LAYER_DONE || !has(c, found.size)) return LAYER_DONE;
    if (packet->hop_count == HOPS_MAX) return drop(c, DROP_LAYERS);
    struct hop *hop = &packet->hops[packet->hop_count];
    hop->kind = (uint8_t)found.kind;
    hop->version = packet->version;
    hop->id = found.id;
    memcpy(hop->source, packet->source, 16);
    memcpy(hop->destination, packet->destination, 16);
    uint8_t count = (uint8_t)(packet->hop_count + 1);
    uint16_t vlan = packet->vlan;
    bool has_vlan = packet->has_vlan;
    memset(packet, 0, offsetof(struct packet, hops));
    packet->hop_count = count;
    packet->vlan = packet->path = vlan;
    packet->has_vlan = has_vlan;
    c->at += found.size;
    return next(c, found.layer, found.number);
}
