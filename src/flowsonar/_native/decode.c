#include "decode.h"

#include <string.h>

#include "bytes.h"
#include "cursor.h"

/* BSD loopback: address family in the byte order of the machine that captured, or big-endian. */
static enum layer decode_loopback(struct cursor *c) {
    if (!has(c, 4)) return LAYER_DROP;
    uint32_t family = be32(here(c));
    if (family > 0xffff) family = le32(here(c));
    c->at += 4;
    switch (family) {
    case 2: return LAYER_IPV4;
    case 10: /* Linux */
    case 24: /* OpenBSD, NetBSD */
    case 28: /* FreeBSD */
    case 30: /* macOS */ return LAYER_IPV6;
    default: return drop(c, DROP_NOT_IP);
    }
}

/* A header of fixed size with an EtherType in it. */
static inline enum layer decode_typed(struct cursor *c, uint32_t size, uint32_t type_at) {
    if (!has(c, size)) return LAYER_DROP;
    uint32_t type = be16(here(c) + type_at);
    c->at += size;
    return next(c, LAYER_ETHERTYPE, type);
}

/* PPI: a little-endian header that names the link type of what follows. */
static enum layer decode_ppi(struct cursor *c) {
    if (!has(c, 8)) return LAYER_DROP;
    uint32_t length = le16(here(c) + 2), inner = le32(here(c) + 4);
    if (length < 8) return drop(c, DROP_MALFORMED);
    if (!has(c, length)) return LAYER_DROP;
    c->at += length;
    return next(c, LAYER_LINK, inner);
}

/* LINKTYPE_ numbers of tcpdump.org. */
static inline enum layer decode_link(struct cursor *c) {
    switch (c->number) {
    case 1: return decode_typed(c, 14, 12);   /* Ethernet */
    case 104: return decode_typed(c, 4, 2);   /* Cisco HDLC */
    case 113: return decode_typed(c, 16, 14); /* Linux SLL */
    case 276: return decode_typed(c, 20, 0);  /* Linux SLL2 */
    case 0:
    case 108: return decode_loopback(c);
    case 9: return LAYER_PPP;
    case 50: /* PPP in HDLC-like framing, or Cisco HDLC */
        if (!has(c, 1)) return LAYER_DROP;
        return here(c)[0] == 0x0f || here(c)[0] == 0x8f ? next(c, LAYER_LINK, 104) : LAYER_PPP;
    case 51: return LAYER_PPPOE;
    case 204: /* PPP with direction */
        if (!has(c, 1)) return LAYER_DROP;
        c->at += 1;
        return LAYER_PPP;
    case 12:
    case 14:
    case 101: return LAYER_IP;
    case 228: return LAYER_IPV4;
    case 229: return LAYER_IPV6;
    case 192: return decode_ppi(c);
    default: return drop(c, DROP_UNKNOWN_LINK);
    }
}

static inline enum layer decode_ethertype(struct cursor *c, struct packet *packet) {
    switch (c->number) {
    case 0x0800: return LAYER_IPV4;
    case 0x86dd: return LAYER_IPV6;
    case 0x8100: /* IEEE 802.1Q */
    case 0x88a8: /* 802.1ad */
    case 0x9100: /* its forerunner */
        if (!has(c, 4)) return LAYER_DROP;
        if (!packet->has_vlan) {
            packet->vlan = be16(here(c)) & 0x0fff;
            packet->has_vlan = true;
        }
        c->number = be16(here(c) + 2);
        c->at += 4;
        return LAYER_ETHERTYPE;
    case 0x8847:
    case 0x8848: return LAYER_MPLS;
    case 0x8864: return LAYER_PPPOE;
    default: break;
    }
    if (c->number > 1500) return drop(c, DROP_NOT_IP);
    /* A length (IEEE 802.3): LLC, of which SNAP with OUI 0 carries an EtherType (RFC 1042). */
    if (!has(c, 8)) return LAYER_DROP;
    if (be32(here(c)) != 0xaaaa0300 || be16(here(c) + 4) != 0) return drop(c, DROP_NOT_IP);
    c->number = be16(here(c) + 6);
    c->at += 8;
    return LAYER_ETHERTYPE;
}

/* RFC 2516 section 4: version and type 1, code 0 is session data. */
static enum layer decode_pppoe(struct cursor *c) {
    if (!has(c, 6)) return LAYER_DROP;
    if (here(c)[0] != 0x11) return drop(c, DROP_MALFORMED);
    if (here(c)[1] != 0) return drop(c, DROP_NOT_IP);
    uint32_t length = be16(here(c) + 4);
    c->at += 6;
    bound(c, length);
    return LAYER_PPP;
}

/* RFC 1662 address and control may be left out; RFC 1661 section 6.5 allows a protocol of one byte. */
static enum layer decode_ppp(struct cursor *c) {
    uint32_t protocol;
    if (!has(c, 1)) return LAYER_DROP;
    if (here(c)[0] == 0xff) {
        if (!has(c, 2)) return LAYER_DROP;
        if (here(c)[1] == 0x03) c->at += 2;
    }
    if (!has(c, 1)) return LAYER_DROP;
    if (here(c)[0] & 1) {
        protocol = here(c)[0];
        c->at += 1;
    } else {
        if (!has(c, 2)) return LAYER_DROP;
        protocol = be16(here(c));
        c->at += 2;
    }
    switch (protocol) {
    case 0x21: return LAYER_IPV4;
    case 0x57: return LAYER_IPV6;
    case 0x281:
    case 0x283: return LAYER_MPLS;
    default: return drop(c, DROP_NOT_IP);
    }
}

/* RFC 3032: one label; what is below the last one shows by its first four bits (RFC 4928), 0 is a pseudowire. */
static enum layer decode_mpls(struct cursor *c) {
    if (!has(c, 4)) return LAYER_DROP;
    uint8_t bottom = here(c)[2] & 1;
    c->at += 4;
    if (!bottom) return LAYER_MPLS;
    if (!has(c, 1)) return LAYER_DROP;
    switch (here(c)[0] >> 4) {
    case 4: return LAYER_IPV4;
    case 6: return LAYER_IPV6;
    case 0: /* RFC 4448 control word, then Ethernet */
        if (!has(c, 4)) return LAYER_DROP;
        c->at += 4;
        return next(c, LAYER_LINK, 1);
    default: return drop(c, DROP_NOT_IP);
    }
}

static enum layer decode_ip(struct cursor *c) {
    if (!has(c, 1)) return LAYER_DROP;
    switch (here(c)[0] >> 4) {
    case 4: return LAYER_IPV4;
    case 6: return LAYER_IPV6;
    default: return drop(c, DROP_MALFORMED);
    }
}

/* Whether an IP packet of this length (0: it says none) is what a tunnel brought. */
__attribute__((noinline)) static bool fits(struct cursor *c, uint32_t length) {
    bool exact = c->exact;
    c->exact = false;
    return exact ? length == c->limit - c->at : length <= c->limit - c->at;
}

/* Requires at + header <= limit. */
static inline void take_payload(const struct cursor *c, struct packet *packet, uint32_t header) {
    uint32_t start = c->at + header;
    packet->payload_at = start;
    packet->payload_wire = c->limit - start;
    packet->payload_captured = c->end > start ? c->end - start : 0;
    packet->payload = packet->payload_captured ? c->frame + start : NULL;
}

/* What is at hand is `offset` bytes into its datagram; offset 0 and no more to come: a whole one. */
__attribute__((noinline)) static enum layer decode_fragment(struct cursor *c, struct packet *packet, uint32_t offset,
                                                            bool last, uint32_t version) {
    packet->fragment_at = c->at;
    packet->fragment_offset = (uint16_t)offset;
    packet->fragment_last = last;
    if (offset) {
        packet->fragment = FRAGMENT_LATER;
        take_payload(c, packet, 0);
        return LAYER_DONE;
    }
    if (!last) packet->fragment = FRAGMENT_FIRST;
    return next(c, LAYER_TRANSPORT, version);
}

/* RFC 791. A total length of 0 comes from segmentation offload: then the frame's length counts. */
static inline enum layer decode_ipv4(struct cursor *c, struct packet *packet) {
    if (!has(c, 20)) return LAYER_DROP;
    const uint8_t *ip = here(c);
    uint32_t header = (ip[0] & 15u) * 4, total = be16(ip + 2), field = be16(ip + 6);
    if (ip[0] >> 4 != 4 || header < 20) return drop(c, DROP_MALFORMED);
    if (packet->hop_count && !fits(c, total)) return drop(c, DROP_MALFORMED);
    if (total) {
        if (total < header) return drop(c, DROP_MALFORMED);
        bound(c, total);
    }
    if (!has(c, header)) return LAYER_DROP;
    packet->version = 4;
    packet->ip_bytes = c->limit - c->at;
    memcpy(packet->source, ip + 12, 4);
    memcpy(packet->destination, ip + 16, 4);
    packet->protocol = packet->fragment_protocol = ip[9];
    packet->fragment_id = be16(ip + 4);
    c->at += header;
    if (field & 0x3fff) return decode_fragment(c, packet, (field & 0x1fff) * 8, !(field & 0x2000), 4);
    return next(c, LAYER_TRANSPORT, 4);
}

/* RFC 8200. A payload length of 0 is a jumbogram or comes from offload: then the frame's length counts. */
static inline enum layer decode_ipv6(struct cursor *c, struct packet *packet) {
    if (!has(c, 40)) return LAYER_DROP;
    const uint8_t *ip = here(c);
    uint32_t length = be16(ip + 4);
    if (ip[0] >> 4 != 6) return drop(c, DROP_MALFORMED);
    if (packet->hop_count && !fits(c, length ? 40 + length : 0)) return drop(c, DROP_MALFORMED);
    if (length) bound(c, 40 + length);
    packet->version = 6;
    packet->ip_bytes = c->limit - c->at;
    memcpy(packet->source, ip + 8, 16);
    memcpy(packet->destination, ip + 24, 16);
    packet->protocol = ip[6];
    c->at += 40;
    return next(c, LAYER_TRANSPORT, 6);
}

/* RFC 8200 section 4.5; offset 0 without more to come is a whole packet (RFC 6946). */
static enum layer decode_ipv6_fragment(struct cursor *c, struct packet *packet) {
    if (!has(c, 8)) return LAYER_DROP;
    if (packet->fragment != FRAGMENT_WHOLE) return drop(c, DROP_MALFORMED);
    const uint8_t *header = here(c);
    uint32_t field = be16(header + 2);
    packet->protocol = header[0];
    packet->fragment_id = be32(header + 4);
    packet->fragment_protocol = 0; /* section 4.5: identification and addresses alone */
    c->at += 8;
    return decode_fragment(c, packet, field & 0xfff8, !(field & 1), 6);
}

/* An IPv6 extension header, or AH (RFC 4302 section 2.2: its length is in units of four bytes, minus two). */
static enum layer decode_extension(struct cursor *c, struct packet *packet, bool authentication) {
    if (!has(c, 8)) return LAYER_DROP;
    uint32_t length = authentication ? (here(c)[1] + 2u) * 4 : (here(c)[1] + 1u) * 8;
    if (!has(c, length)) return LAYER_DROP;
    packet->protocol = here(c)[0];
    c->at += length;
    return LAYER_TRANSPORT;
}

static inline void take_ports(const struct cursor *c, struct packet *packet) {
    packet->source_port = be16(here(c));
    packet->destination_port = be16(here(c) + 2);
}

/* RFC 9293 section 3.1. A packet cut after the flags still tells all that the flow table needs. */
static inline enum layer decode_tcp(struct cursor *c, struct packet *packet) {
    if (c->limit - c->at < 20) return drop(c, DROP_MALFORMED);
    if (!has(c, 14)) return LAYER_DROP;
    const uint8_t *tcp = here(c);
    uint32_t header = (tcp[12] >> 4) * 4u;
    if (header < 20 || header > c->limit - c->at) return drop(c, DROP_MALFORMED);
    take_ports(c, packet);
    packet->sequence = be32(tcp + 4);
    packet->ack = be32(tcp + 8);
    packet->flags = tcp[13];
    take_payload(c, packet, header);
    return LAYER_DONE;
}

/* RFC 768; a length of 0 is a jumbogram's (RFC 2675) or comes from offload. */
static inline enum layer decode_udp(struct cursor *c, struct packet *packet) {
    if (!has(c, 8)) return LAYER_DROP;
    uint32_t length = be16(here(c) + 4);
    if (length && length < 8) return drop(c, DROP_MALFORMED);
    take_ports(c, packet);
    packet->udp_length = (uint16_t)length;
    if (length) bound(c, length);
    take_payload(c, packet, 8);
    c->at += 8;
    return LAYER_DONE;
}

/* The type that answers this one, as Community ID pairs them (echo stands apart); else the code. */
static uint16_t icmp_counterpart(uint8_t version, uint8_t type, uint8_t code) {
    if (version == 4) {
        switch (type) {
        case 9:
        case 13:
        case 15:
        case 17: return (uint16_t)(type + 1);
        case 10:
        case 14:
        case 16:
        case 18: return (uint16_t)(type - 1);
        default: return code;
        }
    }
    switch (type) {
    case 133:
    case 135:
    case 139: return (uint16_t)(type + 1);
    case 134:
    case 136:
    case 140: return (uint16_t)(type - 1);
    case 130:
    case 144: return (uint16_t)(type + 1);
    case 131:
    case 145: return (uint16_t)(type - 1);
    default: return code;
    }
}

/* Echo: identifier and request type as ports; else type and counterpart. */
static enum layer decode_icmp(struct cursor *c, struct packet *packet) {
    if (!has(c, 4)) return LAYER_DROP;
    uint8_t type = here(c)[0], code = here(c)[1];
    uint8_t request = packet->version == 4 ? 8 : 128, reply = packet->version == 4 ? 0 : 129;
    if (type != request && type != reply) {
        packet->source_port = type;
        packet->destination_port = icmp_counterpart(packet->version, type, code);
        return LAYER_DONE;
    }
    if (!has(c, 8)) return LAYER_DROP;
    uint16_t identifier = be16(here(c) + 4);
    packet->source_port = type == request ? identifier : request;
    packet->destination_port = type == request ? request : identifier;
    return LAYER_DONE;
}

/* One header after IP; number is the IP version. */
static inline enum layer decode_transport(struct cursor *c, struct packet *packet) {
    switch (packet->protocol) {
    case PROTOCOL_TCP: return decode_tcp(c, packet);
    case PROTOCOL_UDP: return decode_udp(c, packet);
    case PROTOCOL_SCTP:
        if (!has(c, 12)) return LAYER_DROP;
        take_ports(c, packet);
        return LAYER_DONE;
    case PROTOCOL_ICMP: return c->number == 4 ? decode_icmp(c, packet) : LAYER_DONE;
    case PROTOCOL_ICMPV6: return c->number == 6 ? decode_icmp(c, packet) : LAYER_DONE;
    case 51: /* AH */ return decode_extension(c, packet, true);
    case 0:  /* hop-by-hop options */
    case 43: /* routing */
    case 60: /* destination options */ return c->number == 6 ? decode_extension(c, packet, false) : LAYER_DONE;
    case 44: return c->number == 6 ? decode_ipv6_fragment(c, packet) : LAYER_DONE;
    default: return LAYER_DONE;
    }
}

/* Twice in the program: most frames have no tunnel, and go through the one in decode_frame. */
static inline __attribute__((always_inline)) enum layer decode_layers(struct cursor *c, struct packet *packet,
                                                                      enum layer layer, int *left) {
    for (; *left > 0; --*left) {
        switch (layer) {
        case LAYER_LINK: layer = decode_link(c); break;
        case LAYER_ETHERTYPE: layer = decode_ethertype(c, packet); break;
        case LAYER_PPPOE: layer = decode_pppoe(c); break;
        case LAYER_PPP: layer = decode_ppp(c); break;
        case LAYER_MPLS: layer = decode_mpls(c); break;
        case LAYER_IP: layer = decode_ip(c); break;
        case LAYER_IPV4: layer = decode_ipv4(c, packet); break;
        case LAYER_IPV6: layer = decode_ipv6(c, packet); break;
        case LAYER_TRANSPORT: layer = decode_transport(c, packet); break;
        case LAYER_DONE:
        case LAYER_DROP: break;
        }
        if (layer == LAYER_DONE || layer == LAYER_DROP) return layer;
    }
    return drop(c, DROP_LAYERS);
}

/* Look into tunnels as long as there are any. Where what is inside is no packet, the packet around it stays: the guess
   was wrong, or its inside was not captured. */
__attribute__((noinline)) static enum decode_result decode_inside(struct cursor *c, struct packet *packet, int *left) {
    for (;;) {
        struct packet outer;
        memcpy(&outer, packet, offsetof(struct packet, hops));
        enum layer layer = decode_tunnel(c, packet);
        if (layer == LAYER_DONE) return DECODE_OK;
        if (layer != LAYER_DROP) layer = decode_layers(c, packet, layer, left);
        if (layer == LAYER_DROP) {
            if (c->drop == DROP_LAYERS) return c->drop;
            memcpy(packet, &outer, offsetof(struct packet, hops));
            return DECODE_OK;
        }
        if (packet->fragment != FRAGMENT_WHOLE || !may_be_tunnel(packet)) return DECODE_OK;
    }
}

enum decode_result decode_frame(const uint8_t *frame, uint32_t captured, uint32_t wire, uint32_t linktype,
                                struct packet *packet) {
    struct cursor cursor = {.frame = frame, .end = captured, .limit = wire, .number = linktype};
    struct cursor *c = &cursor;
    int left = MAX_LAYERS;
    memset(packet, 0, offsetof(struct packet, hops));
    if (decode_layers(c, packet, LAYER_LINK, &left) == LAYER_DROP) return c->drop;
    packet->path = packet->vlan;
    if (packet->fragment != FRAGMENT_WHOLE || !may_be_tunnel(packet)) return DECODE_OK;
    return decode_inside(c, packet, &left);
}
