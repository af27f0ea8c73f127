/* What the table keeps of a flow. */
#ifndef FLOWSONAR_FLOW_H
#define FLOWSONAR_FLOW_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define NONE UINT32_MAX /* no slot */

/* Bits of flow.status. Those with a direction are shifted left by it. */
enum {
    STATUS_INITIATOR_HIGH = 1 << 0,  /* the initiator is the key's high side */
    STATUS_CLOSED_FIN = 1 << 1,      /* lingers; at most one of these two */
    STATUS_CLOSED_RST = 1 << 2,
    STATUS_LINGERS = STATUS_CLOSED_FIN | STATUS_CLOSED_RST,
    STATUS_FOLLOWING = 1 << 3,       /* all short payloads are reported */
    STATUS_RELEASED = 1 << 4,        /* no payload is; excludes FOLLOWING */
    STATUS_SYN_TIMED = 1 << 5,       /* handshake holds the time of the initiator's last SYN */
    STATUS_STARTED = 1 << 6,         /* two bits: the stream's end and end_sequence mean something */
    STATUS_SYN_SEEN = 1 << 8,        /* two bits: the stream starts after a SYN */
    STATUS_FIN_SEEN = 1 << 10,       /* two bits: fin_end means something */
    STATUS_FIN_ACKED = 1 << 12,      /* two bits */
    STATUS_HALF_OPEN = 1 << 14,      /* TCP without a sign that the responder accepted; excludes LINGERS */
};

/* Sides in the order of (address, port), so that both directions have one key. No padding: compared as bytes. */
struct key {
    uint8_t low[16];
    uint8_t high[16];
    uint16_t low_port;
    uint16_t high_port;
    uint16_t path_version; /* VLAN or number of the tunnels, and bit 15 for IPv6 */
    uint8_t protocol;
    uint8_t zero;
};
static_assert(sizeof(struct key) == 40, "a key has no padding");

static inline bool key_is_ipv4(const struct key *key) { return !(key->path_version & 0x8000); }

/* See paths.h. */
static inline uint16_t key_path(const struct key *key) { return key->path_version & 0x7fff; }

/* One direction of a TCP stream, but for the status bits; see flows/_reference_stream.py. */
struct stream {
    uint64_t end;          /* offset after the last byte seen */
    uint32_t end_sequence; /* the sequence number that belongs to it */
    uint32_t hole;         /* length of the one gap that is remembered, 0 for none */
    uint32_t hole_back;    /* how far before `end` it ends, <= WINDOW */
    uint32_t fin_end;      /* sequence number after the FIN */
};

/* Lists of two are indexed by direction. Three cache lines; the first two are all that UDP needs. */
struct flow {
    struct key key;
    uint32_t older; /* neighbours in the list; NONE at its ends. A free slot: the next free one */
    uint32_t newer;
    uint32_t generation;   /* upper half of the identifier: how often the slot was used */
    uint16_t interface[2]; /* where the direction was seen first; means nothing while packets is 0 */
    uint16_t status;
    uint16_t followed; /* payloads reported because of FOLLOWING, < followed_packets */
    uint8_t tcp_flags[2];
    uint16_t unused;

    uint64_t since;        /* clock at the last packet, or at the close of one that lingers: the order of its list */
    uint64_t active_since; /* clock at the opening or the last interim record */
    uint64_t first_ns;     /* event times; first_ns <= last_ns */
    uint64_t last_ns;
    uint64_t packets[2];
    uint64_t bytes[2];
    uint32_t payloads[2]; /* payload packets, retransmissions left out; stays at its maximum */

    uint64_t handshake; /* SYN to SYN-ACK; with SYN_TIMED the time of the SYN */
    struct stream stream[2];
};

static inline bool status_of(const struct flow *flow, int bit, int direction) {
    return flow->status & (bit << direction);
}

static inline void set_status(struct flow *flow, int bit, int direction) {
    flow->status = (uint16_t)(flow->status | bit << direction);
}

static inline uint64_t handshake_ns(const struct flow *flow) {
    return flow->status & STATUS_SYN_TIMED ? 0 : flow->handshake;
}

#endif
