/* From a frame to addresses, ports and payload. flows/_reference_decode.py is the specification. */
#ifndef FLOWSONAR_DECODE_H
#define FLOWSONAR_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAX_LAYERS = 24, /* headers looked at in one frame: VLAN tags, MPLS labels and extension headers each count */
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_SCTP = 132,
    TCP_FIN = 0x01, /* RFC 9293 section 3.1 */
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_ACK = 0x10,
    HOPS_MAX = 8, /* tunnels inside each other; more are not looked into */
};

enum decode_result { DECODE_OK, DROP_UNKNOWN_LINK, DROP_NOT_IP, DROP_TRUNCATED, DROP_MALFORMED, DROP_LAYERS };

enum fragment { FRAGMENT_WHOLE, FRAGMENT_FIRST, FRAGMENT_LATER };

enum tunnel {
    TUNNEL_NONE,
    TUNNEL_IPV4, /* directly in IP of any version */
    TUNNEL_IPV6,
    TUNNEL_GRE,
    TUNNEL_PPTP,
    TUNNEL_VXLAN,
    TUNNEL_GENEVE,
    TUNNEL_GTP,
    TUNNEL_TEREDO,
    TUNNEL_L2TP,
    TUNNEL_ETHERIP,
    TUNNEL_MPLS,
};

/* A packet around the packet. */
struct hop {
    uint8_t source[16]; /* as in struct packet */
    uint8_t destination[16];
    uint32_t id;     /* which of the tunnels between the two: VNI, key, TEID ...; 0 where there is none */
    uint8_t kind;    /* enum tunnel */
    uint8_t version; /* 4 or 6 */
    uint16_t zero;
};

/* What one frame says. Ports are 0 where there are none. */
struct packet {
    /* IPv4 addresses take the first four bytes, the others are 0. */
    uint8_t source[16];
    uint8_t destination[16];
    /* What was captured of the transport payload (of a later fragment: of all of it), a place in the frame; its length
       on the wire; and where in the frame it begins, also where it is empty. */
    const uint8_t *payload;
    uint32_t payload_captured;
    uint32_t payload_wire;
    uint32_t payload_at;
    /* Bytes of the IP packet on the wire, its header included. */
    uint32_t ip_bytes;
    uint32_t sequence;
    uint32_t ack;
    uint32_t fragment_id;
    uint32_t fragment_at; /* where in the frame the fragment begins */
    uint16_t fragment_offset; /* where in the datagram */
    uint16_t udp_length; /* as its header says, 0 for none */
    uint16_t source_port;
    uint16_t destination_port;
    uint16_t vlan; /* outermost, 12 bits; 0 where there is none */
    uint16_t path; /* the VLAN, or a number that stands for the tunnels and the VLAN: see paths.h */
    uint8_t protocol;
    uint8_t version; /* 4 or 6 */
    uint8_t flags;   /* of TCP */
    uint8_t fragment;
    uint8_t fragment_protocol; /* with the identification: which IPv4 packet a fragment belongs to */
    bool fragment_last;
    bool has_vlan;
    uint8_t hop_count;
    struct hop hops[HOPS_MAX]; /* outermost first; those beyond hop_count mean nothing */
};

/* `frame` has `captured` bytes, and had `wire` on the wire, wire >= captured. `packet` is whole only for DECODE_OK. */
enum decode_result decode_frame(const uint8_t *frame, uint32_t captured, uint32_t wire, uint32_t linktype,
                                struct packet *packet);

#endif
