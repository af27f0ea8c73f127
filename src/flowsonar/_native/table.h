/* The flow table: frames in, events out, no allocation but at the start. flows/_reference.py is the specification. */
#ifndef FLOWSONAR_TABLE_H
#define FLOWSONAR_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_SIZE = 24,          /* bytes per entry of Block.frames */
    EVENTS = 1024,            /* events kept before feed returns to have them taken */
    EVENTS_PER_FRAME = 192,   /* of one frame: a flow closed, opened, its interim record, established, two payloads; and
                                 four flows that leave the fast lane, with the payloads kept of them */
    FOLLOW_PREFIXES = 32,     /* compared one after the other with each flow's first payload */
    FOLLOW_PREFIX_BYTES = 64,
    HOP_BYTES = 40,           /* a tunnel around an opened flow: two addresses of 16 bytes, u32 id, kind, IP version, 0 */
    OUTER_BYTES = 512 * HOP_BYTES, /* room for those of one batch of events */
    FLOW_BYTES_MAX = 256,     /* what a flow may take in the table, its part of the index included */
};

/* frames == packets + all frames_*. */
#define FLOWSONAR_COUNTERS(X) \
    X(frames)                 \
    X(bytes)                  \
    X(packets)                \
    X(flows)                  \
    X(frames_bad_entry)       \
    X(frames_unknown_link)    \
    X(frames_not_ip)          \
    X(frames_truncated)       \
    X(frames_malformed)       \
    X(frames_layers)          \
    X(frames_orphan_fragment) \
    X(frames_other_interface) \
    X(fragments_displaced)    \
    X(fragments_joined)       \
    X(fragments_overlapping)  \
    X(fragments_incomplete)   \
    X(fragments_no_room)      \
    X(tunnels_full)           \
    X(flows_evicted)          \
    X(flows_evicted_halfopen) \
    X(follows_ended)          \
    X(payloads_cut)           \
    X(tcp_lost_place)         \
    X(clock_steps)

enum counter {
#define FLOWSONAR_COUNTER(name) COUNT_##name,
    FLOWSONAR_COUNTERS(FLOWSONAR_COUNTER)
#undef FLOWSONAR_COUNTER
    COUNTERS
};

enum close_reason { CLOSE_IDLE, CLOSE_FIN, CLOSE_RST, CLOSE_ACTIVE, CLOSE_EVICTED, CLOSE_END };

enum event_kind { EVENT_OPENED, EVENT_ESTABLISHED, EVENT_PAYLOAD, EVENT_CLOSED };

/* See flows/events.py for the meaning of the fields. */
struct event {
    uint64_t flow;
    uint64_t time_ns;
    enum event_kind kind;
    uint32_t node; /* of a payload or a close: what Python is to tell the meaning of, see lane.h; 0 for nothing */
    uint32_t rows; /* of the fast lane that came before it since the last call */
    uint64_t ordinal; /* of a close, with lanes: its place among the records of all shares */
    bool lent;        /* of a close: the flow is another share's */
    union {
        struct {
            uint8_t initiator[16];
            uint8_t responder[16];
            uint16_t initiator_port;
            uint16_t responder_port;
            uint16_t vlan;
            uint16_t interface;
            uint8_t address_size; /* 4 or 16 */
            uint8_t hops;         /* tunnels around it */
            const uint8_t *outer; /* HOP_BYTES each, outermost first, in the table until the next call */
            uint8_t protocol;
            bool midstream;
        } opened;
        struct {
            uint64_t handshake_ns;
        } established;
        struct {
            const uint8_t *data; /* in the block that is being fed; of fragments, in the table until the next call */
            uint64_t offset;
            uint64_t handshake_ns;
            uint32_t size;
            uint32_t wire_length;
            uint32_t index;
            uint32_t acknowledges;
            uint32_t direction;
        } payload;
        struct {
            uint64_t first_ns;
            uint64_t last_ns;
            uint64_t packets[2];
            uint64_t bytes[2];
            uint64_t handshake_ns;
            uint8_t tcp_flags[2];
            uint8_t reason; /* enum close_reason */
        } closed;
    };
};

struct lane_settings;

struct table_settings {
    uint32_t capacity; /* 1 to 2^24 */
    uint64_t idle_ns;  /* at most 2^57, so that ages never overflow */
    uint64_t active_ns;
    uint64_t half_open_ns; /* the idle time of half-open flows, at most 2^57 */
    uint8_t seed[16];
    uint32_t budget_tcp;
    uint32_t budget_udp;
    uint32_t payload_bytes;
    uint32_t followed_packets; /* less than 65536 */
    uint32_t followed_bytes;
    uint32_t followed_datagrams; /* over UDP; less than 65536 */
    uint32_t prefixes;
    uint8_t prefix_size[FOLLOW_PREFIXES]; /* 1 to FOLLOW_PREFIX_BYTES */
    uint8_t prefix[FOLLOW_PREFIXES][FOLLOW_PREFIX_BYTES];
    const struct lane_settings *lanes; /* NULL: every flow's events are reported. Only for table_new */
};

struct table;
struct lanes;

/* NULL where there is no memory, or the lanes' tables are not well-formed. */
struct table *table_new(const struct table_settings *settings);
void table_free(struct table *table);

/* Feed frames `from` to `count`; the number of the first one not done, `count` when all are. It stops when the event
   buffer may not take what the next frame brings, or after an event that Python has to look at before the next frame:
   take the events, which point into `data`, and call again. */
size_t table_feed(struct table *table, const uint8_t *data, size_t size, const uint8_t *frames, size_t count,
                  size_t from);

/* False while there is more to do after the events were taken. */
bool table_expire(struct table *table, uint64_t now_ns);
bool table_finish(struct table *table);

void table_follow(struct table *table, uint64_t flow);
void table_release(struct table *table, uint64_t flow);

/* Bytes of both directions of a flow so far, 0 for one that ended. */
uint64_t table_bytes_of(struct table *table, uint64_t flow);

/* The events since the last call, which the next call of any function above overwrites. */
const struct event *table_take(struct table *table, size_t *count);

/* Whether the last call stopped for Python to look at the events. */
bool table_stopped(const struct table *table);

/* The fast lane, NULL where there is none. */
struct lanes *table_lanes(struct table *table);

uint32_t table_size(const struct table *table);
uint64_t table_counter(const struct table *table, enum counter counter);

/* Bytes of memory that a table of this capacity takes, all told. */
size_t table_memory(uint32_t capacity);

#endif
