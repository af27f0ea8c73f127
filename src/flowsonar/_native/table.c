#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */

#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bytes.h"
#include "decode.h"

#define SECOND_NS UINT64_C(1000000000)

static const uint64_t LINGER_NS = 5 * SECOND_NS;            /* late packets of a closed flow open no ghost */
static const uint64_t REOPEN_NS = SECOND_NS;                /* silence before a SYN that is not the first one's copy */
static const int64_t CLOCK_STEP_NS = 3600 * (int64_t)SECOND_NS; /* further back is a clock that was set */
static const uint64_t TIME_MAX = UINT64_C(1) << 62;
static const uint64_t FRAGMENT_TIMEOUT_NS = 30 * SECOND_NS; /* as Linux reassembly */

enum {
    FRAGMENTS = 4096,       /* first fragments remembered; a new one displaces the oldest */
    FRAGMENT_HEADS = 8192,  /* hash chains; a power of two */
    WINDOW = 1 << 24,       /* further than this from a TCP stream's place is a new start */
    BATCH = 16,             /* frames decoded ahead, so that the memory they need is on its way */
    AHEAD = 2 * BATCH,      /* frames whose headers are asked for ahead of decoding */
    MEMORY_PAGE = 2 << 20,  /* huge pages spare the TLB: a look-up goes anywhere in the table */
};

#define NONE UINT32_MAX

/* Bits of flow.status. Those with a direction are shifted left by it. */
enum {
    STATUS_INITIATOR_HIGH = 1 << 0,  /* the initiator is the key's high side */
    STATUS_CLOSED_FIN = 1 << 1,      /* lingers; at most one of these two */
    STATUS_CLOSED_RST = 1 << 2,
    STATUS_LINGERS = STATUS_CLOSED_FIN | STATUS_CLOSED_RST,
    STATUS_FOLLOWING = 1 << 3,       /* all short payloads are reported */
    STATUS_RELEASED = 1 << 4,        /* no payload is; excludes FOLLOWING */
    STATUS_SYN_TIMED = 1 << 5,       /* handshake holds the clock at the initiator's last SYN */
    STATUS_STARTED = 1 << 6,         /* two bits: the stream's end and end_sequence mean something */
    STATUS_SYN_SEEN = 1 << 8,        /* two bits: the stream starts after a SYN */
    STATUS_FIN_SEEN = 1 << 10,       /* two bits: fin_end means something */
    STATUS_FIN_ACKED = 1 << 12,      /* two bits */
};

/* Sides in the order of (address, port), so that both directions have one key. No padding: compared as bytes. */
struct key {
    uint8_t low[16];
    uint8_t high[16];
    uint16_t low_port;
    uint16_t high_port;
    uint16_t vlan_version; /* VLAN, and bit 15 for IPv6 */
    uint8_t protocol;
    uint8_t zero;
};
static_assert(sizeof(struct key) == 40, "a key has no padding");

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

    uint64_t handshake; /* SYN to SYN-ACK; with SYN_TIMED the clock at the SYN */
    struct stream stream[2];
};

/* One place of the index. */
struct bucket {
    uint32_t tag;  /* low half of the hash; its low bits are the home position */
    uint32_t slot; /* of the flow, plus one; 0 is an empty place */
};

enum { BUCKETS_PER_FLOW_MAX = 4 }; /* the index has 2 * capacity places, rounded up to a power of two */
static_assert(sizeof(struct flow) + BUCKETS_PER_FLOW_MAX * sizeof(struct bucket) <= FLOW_BYTES_MAX,
              "a flow and its part of the index keep to the bound");

/* Flows in the order of `since`. */
struct list {
    uint32_t oldest;
    uint32_t newest;
};

struct fragment_key {
    uint8_t source[16];
    uint8_t destination[16];
    uint32_t identification;
    uint16_t vlan_version;
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

/* A frame on its way through a batch. */
struct staged {
    struct packet packet;
    struct key key;
    uint64_t time_ns;
    uint64_t hash;
    uint32_t wire;
    uint16_t interface;
    uint8_t result; /* enum decode_result, or BAD_ENTRY */
    bool from_high; /* the sender is the key's high side */
};

enum { BAD_ENTRY = 255 };

struct table {
    struct table_settings settings;
    uint64_t seed[2];

    /* Never goes back but by wrapping at 2^64: only differences are used. Packet time + shift, where that goes on. */
    uint64_t clock;
    uint64_t shift;

    struct flow *flows;  /* settings.capacity slots */
    uint32_t size;       /* flows in the table; each is in the index and in one of the two lists */
    uint32_t fresh;      /* slots below were used at least once */
    uint32_t free_slot;  /* stack of used slots that are free again; NONE when empty */
    struct list active;
    struct list lingering;

    struct bucket *index; /* open addressing with linear probing; never more than half full */
    uint32_t index_mask;

    /* The oldest is at fragment_first, and they are in the order of insertion from there. */
    struct first_fragment *fragments;
    uint16_t *fragment_heads; /* number of the first in the chain, plus one */
    uint32_t fragment_first;
    uint32_t fragment_count;

    uint64_t counters[COUNTERS];
    struct event events[EVENTS];
    size_t event_count;
    struct staged batch[BATCH];
};

/* -- memory and hash ---------------------------------------------------------------------------------------------- */

#ifdef FLOWSONAR_SANITIZE /* the allocator that knows where memory ends */
static void *memory_new(size_t size) { return calloc(1, size); }

static void memory_free(void *memory, size_t size) {
    (void)size;
    free(memory);
}
#else
static size_t pages(size_t size) { return (size + MEMORY_PAGE - 1) / MEMORY_PAGE * MEMORY_PAGE; }

/* Zeroed pages that take no memory until they are touched. */
static void *memory_new(size_t size) {
    void *memory = mmap(NULL, pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, pages(size), MADV_HUGEPAGE); /* only faster */
#endif
    return memory;
}

static void memory_free(void *memory, size_t size) {
    if (memory) (void)munmap(memory, pages(size));
}
#endif

static uint32_t index_size(uint32_t capacity) {
    uint32_t size = 16;
    while (size < 2 * capacity) size *= 2;
    return size;
}

/* SipHash-1-3 over whole words: nobody who does not know the seed can choose keys that collide. */
struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static inline void sip_round(struct sip *s) {
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline uint64_t sip_hash(const uint64_t seed[2], const uint64_t *words, uint64_t count) {
    struct sip s = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
                    seed[0] ^ UINT64_C(0x6c7967656e657261), seed[1] ^ UINT64_C(0x7465646279746573)};
    for (uint64_t i = 0; i < count; i++) {
        s.v3 ^= words[i];
        sip_round(&s);
        s.v0 ^= words[i];
    }
    s.v3 ^= count << 59;
    sip_round(&s);
    s.v0 ^= count << 59;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* Both kinds of key have two addresses of 16 bytes and then one word. The count of words tells IPv4 from IPv6. */
static inline uint64_t hash_key(const uint64_t seed[2], const void *key, bool ipv4) {
    uint64_t words[5];
    memcpy(words, key, sizeof words);
    if (!ipv4) return sip_hash(seed, words, 5);
    uint32_t first, second;
    memcpy(&first, &words[0], sizeof first);
    memcpy(&second, &words[2], sizeof second);
    uint64_t compact[2] = {(uint64_t)first << 32 | second, words[4]};
    return sip_hash(seed, compact, 2);
}

static inline bool key_is_ipv4(const struct key *key) { return !(key->vlan_version & 0x8000); }

/* -- index -------------------------------------------------------------------------------------------------------- */

static inline uint32_t index_find(const struct table *t, const struct key *key, uint64_t hash) {
    uint32_t tag = (uint32_t)hash;
    for (uint32_t at = tag & t->index_mask;; at = (at + 1) & t->index_mask) {
        struct bucket bucket = t->index[at];
        if (!bucket.slot) return NONE;
        if (bucket.tag == tag && memcmp(&t->flows[bucket.slot - 1].key, key, sizeof *key) == 0) return bucket.slot - 1;
    }
}

static void index_add(struct table *t, uint64_t hash, uint32_t slot) {
    uint32_t at = (uint32_t)hash & t->index_mask;
    while (t->index[at].slot) at = (at + 1) & t->index_mask;
    t->index[at] = (struct bucket){.tag = (uint32_t)hash, .slot = slot + 1};
}

/* Closes the gap, so that no marks of removed flows are left for a look-up to step over. */
static void index_remove(struct table *t, uint64_t hash, uint32_t slot) {
    uint32_t gap = (uint32_t)hash & t->index_mask;
    while (t->index[gap].slot != slot + 1) gap = (gap + 1) & t->index_mask;
    for (uint32_t at = (gap + 1) & t->index_mask; t->index[at].slot; at = (at + 1) & t->index_mask) {
        /* What stands at `at` may move back to the gap if its home is not in between. */
        if (((at - t->index[at].tag) & t->index_mask) >= ((at - gap) & t->index_mask)) {
            t->index[gap] = t->index[at];
            gap = at;
        }
    }
    t->index[gap] = (struct bucket){0};
}

/* -- lists -------------------------------------------------------------------------------------------------------- */

static inline void list_add(struct table *t, struct list *list, uint32_t slot) {
    struct flow *flow = &t->flows[slot];
    flow->older = list->newest;
    flow->newer = NONE;
    if (list->newest == NONE)
        list->oldest = slot;
    else
        t->flows[list->newest].newer = slot;
    list->newest = slot;
}

static inline void list_remove(struct table *t, struct list *list, uint32_t slot) {
    struct flow *flow = &t->flows[slot];
    if (flow->older == NONE)
        list->oldest = flow->newer;
    else
        t->flows[flow->older].newer = flow->newer;
    if (flow->newer == NONE)
        list->newest = flow->older;
    else
        t->flows[flow->newer].older = flow->older;
}

/* -- events ------------------------------------------------------------------------------------------------------- */

/* Packet time that does not go back, but for a clock that was set. */
static inline uint64_t now_ns(const struct table *t) { return t->clock - t->shift; }

static inline uint64_t identifier(const struct table *t, uint32_t slot) {
    return (uint64_t)t->flows[slot].generation << 32 | slot;
}

static inline uint64_t handshake_ns(const struct flow *flow) {
    return flow->status & STATUS_SYN_TIMED ? 0 : flow->handshake;
}

static struct event *event_new(struct table *t, enum event_kind kind, uint32_t slot) {
    assert(t->event_count < EVENTS);
    struct event *event = &t->events[t->event_count++];
    event->kind = kind;
    event->flow = identifier(t, slot);
    event->time_ns = now_ns(t);
    return event;
}

static void report(struct table *t, uint32_t slot, enum close_reason reason) {
    const struct flow *flow = &t->flows[slot];
    struct event *event = event_new(t, EVENT_CLOSED, slot);
    event->closed.reason = (uint8_t)reason;
    event->closed.first_ns = flow->first_ns;
    event->closed.last_ns = flow->last_ns;
    event->closed.handshake_ns = handshake_ns(flow);
    for (int i = 0; i < 2; i++) {
        event->closed.packets[i] = flow->packets[i];
        event->closed.bytes[i] = flow->bytes[i];
        event->closed.tcp_flags[i] = flow->tcp_flags[i];
    }
}

static void close_flow(struct table *t, uint32_t slot, enum close_reason reason) {
    struct flow *flow = &t->flows[slot];
    if (flow->status & STATUS_LINGERS) reason = flow->status & STATUS_CLOSED_FIN ? CLOSE_FIN : CLOSE_RST;
    report(t, slot, reason);
    index_remove(t, hash_key(t->seed, &flow->key, key_is_ipv4(&flow->key)), slot);
    list_remove(t, flow->status & STATUS_LINGERS ? &t->lingering : &t->active, slot);
    flow->older = t->free_slot;
    t->free_slot = slot;
    t->size--;
}

static void linger(struct table *t, uint32_t slot, uint16_t reason) {
    struct flow *flow = &t->flows[slot];
    list_remove(t, &t->active, slot);
    flow->status |= reason;
    flow->since = t->clock;
    list_add(t, &t->lingering, slot);
}

/* -- clock -------------------------------------------------------------------------------------------------------- */

static inline bool events_fit(const struct table *t) { return t->event_count + EVENTS_PER_FRAME < EVENTS; }

/* Close what is due, in the order in which it became due; false when the events do not fit. */
static bool close_due(struct table *t) {
    for (;;) {
        uint32_t slot;
        uint64_t closed_for = 0, idle_for = 0; /* how long ago it was due, plus one; 0 for not yet */
        if (t->lingering.oldest != NONE) {
            uint64_t age = t->clock - t->flows[t->lingering.oldest].since;
            if (age >= LINGER_NS) closed_for = age - LINGER_NS + 1;
        }
        if (t->active.oldest != NONE) {
            uint64_t age = t->clock - t->flows[t->active.oldest].since;
            if (age >= t->settings.idle_ns) idle_for = age - t->settings.idle_ns + 1;
        }
        if (closed_for == 0 && idle_for == 0) return true;
        if (!events_fit(t)) return false;
        slot = idle_for > closed_for ? t->active.oldest : t->lingering.oldest;
        close_flow(t, slot, CLOSE_IDLE);
    }
}

/* May be called again with the same time, for that changes nothing. A time of 0 is none. */
static inline bool advance(struct table *t, uint64_t time_ns) {
    if (time_ns) {
        if (time_ns > TIME_MAX) time_ns = TIME_MAX;
        int64_t step = (int64_t)(time_ns + t->shift - t->clock);
        if (step >= 0) {
            t->clock += (uint64_t)step;
        } else if (step < -CLOCK_STEP_NS) {
            t->shift = t->clock - time_ns;
            t->counters[COUNT_clock_steps]++;
        }
    }
    return close_due(t);
}

/* -- fragments ---------------------------------------------------------------------------------------------------- */

static struct first_fragment *fragment_find(struct table *t, const struct fragment_key *key, uint32_t head) {
    for (uint16_t at = t->fragment_heads[head]; at; at = t->fragments[at - 1].next)
        if (memcmp(&t->fragments[at - 1].key, key, sizeof *key) == 0) return &t->fragments[at - 1];
    return NULL;
}

static uint32_t fragment_head(const struct table *t, const struct fragment_key *key) {
    return (uint32_t)hash_key(t->seed, key, !(key->vlan_version & 0x8000)) & (FRAGMENT_HEADS - 1);
}

static void fragment_displace(struct table *t) {
    struct first_fragment *oldest = &t->fragments[t->fragment_first];
    uint16_t *link = &t->fragment_heads[fragment_head(t, &oldest->key)];
    while (*link != t->fragment_first + 1) link = &t->fragments[*link - 1].next;
    *link = oldest->next;
    if (t->clock - oldest->clock <= FRAGMENT_TIMEOUT_NS) t->counters[COUNT_fragments_displaced]++;
    t->fragment_first = (t->fragment_first + 1) % FRAGMENTS;
    t->fragment_count--;
}

/* Remember a first fragment's ports, give them to a later one; false when they are not known. */
static bool assign_fragment(struct table *t, struct packet *packet) {
    struct fragment_key key = {.identification = packet->fragment_id,
                               .vlan_version = (uint16_t)(packet->vlan | (packet->version == 6 ? 0x8000 : 0)),
                               .protocol = packet->fragment_protocol};
    memcpy(key.source, packet->source, 16);
    memcpy(key.destination, packet->destination, 16);
    uint32_t head = fragment_head(t, &key);
    struct first_fragment *known = fragment_find(t, &key, head);
    if (packet->fragment == FRAGMENT_LATER) {
        if (!known || t->clock - known->clock > FRAGMENT_TIMEOUT_NS) return false;
        packet->protocol = known->protocol;
        packet->source_port = known->source_port;
        packet->destination_port = known->destination_port;
        return true;
    }
    if (!known) {
        if (t->fragment_count == FRAGMENTS) fragment_displace(t);
        uint32_t at = (t->fragment_first + t->fragment_count++) % FRAGMENTS;
        known = &t->fragments[at];
        known->key = key;
        known->next = t->fragment_heads[head];
        t->fragment_heads[head] = (uint16_t)(at + 1);
    }
    known->clock = t->clock;
    known->protocol = packet->protocol;
    known->source_port = packet->source_port;
    known->destination_port = packet->destination_port;
    return true;
}

/* -- TCP ---------------------------------------------------------------------------------------------------------- */

static inline bool status_of(const struct flow *flow, int bit, int direction) {
    return flow->status & (bit << direction);
}

static inline void set_status(struct flow *flow, int bit, int direction) {
    flow->status = (uint16_t)(flow->status | bit << direction);
}

static void stream_start(struct flow *flow, int direction, uint32_t sequence) {
    flow->stream[direction].end = 0;
    flow->stream[direction].end_sequence = sequence;
    set_status(flow, STATUS_STARTED, direction);
}

/* Whether a segment overlaps the hole, which then shrinks. */
static bool stream_fill(struct stream *stream, int64_t offset, int64_t end) {
    int64_t hole_end = (int64_t)stream->end - stream->hole_back;
    int64_t hole_start = hole_end - stream->hole;
    if (!stream->hole || offset >= hole_end || end <= hole_start) return false;
    if (offset <= hole_start)
        hole_start = end < hole_end ? end : hole_end;
    else
        hole_end = offset;
    stream->hole = (uint32_t)(hole_end - hole_start);
    stream->hole_back = stream->hole ? (uint32_t)((int64_t)stream->end - hole_end) : 0;
    return true;
}

/* Whether a segment brings new bytes; `*offset` is then where they stand in the stream. */
static bool stream_segment(struct table *t, struct flow *flow, int direction, uint32_t sequence, uint32_t length,
                           int64_t *offset) {
    struct stream *stream = &flow->stream[direction];
    if (!status_of(flow, STATUS_STARTED, direction)) stream_start(flow, direction, sequence);
    int32_t distance = (int32_t)(sequence - stream->end_sequence);
    if (distance > WINDOW || distance < -WINDOW) {
        distance = 0;
        stream->end_sequence = sequence;
        stream->hole = 0;
        t->counters[COUNT_tcp_lost_place]++;
    }
    *offset = (int64_t)stream->end + distance;
    int64_t end = *offset + length;
    bool fresh = stream_fill(stream, *offset, end);
    if (end > (int64_t)stream->end) {
        fresh = true;
        if (stream->hole) {
            stream->hole_back += (uint32_t)(end - (int64_t)stream->end);
        } else if (distance > 0) {
            stream->hole = (uint32_t)distance;
            stream->hole_back = length;
        }
        if (stream->hole_back > WINDOW) stream->hole = stream->hole_back = 0;
        stream->end = (uint64_t)end;
        stream->end_sequence = sequence + length;
    }
    return fresh;
}

/* Whether a SYN is the one that its direction of the flow began with. */
static bool same_start(const struct flow *flow, bool from_high, const struct packet *packet) {
    int direction = from_high != (bool)(flow->status & STATUS_INITIATOR_HIGH);
    const struct stream *stream = &flow->stream[direction];
    return status_of(flow, STATUS_SYN_SEEN, direction) &&
           stream->end_sequence - (uint32_t)stream->end == packet->sequence + 1;
}

static void tcp_open(struct table *t, struct flow *flow, int direction, const struct packet *packet) {
    if (!status_of(flow, STATUS_STARTED, direction)) {
        stream_start(flow, direction, packet->sequence + 1);
        set_status(flow, STATUS_SYN_SEEN, direction);
    }
    if (direction == 0 && !(packet->flags & TCP_ACK) && handshake_ns(flow) == 0) {
        flow->handshake = t->clock;
        flow->status |= STATUS_SYN_TIMED;
    } else if (direction == 1 && packet->flags & TCP_ACK && flow->status & STATUS_SYN_TIMED) {
        flow->handshake = t->clock - flow->handshake;
        flow->status = (uint16_t)(flow->status & ~STATUS_SYN_TIMED);
    }
}

static void tcp_close(struct table *t, uint32_t slot, int direction, const struct packet *packet) {
    struct flow *flow = &t->flows[slot];
    int back = 1 - direction;
    if (packet->flags & TCP_FIN && !status_of(flow, STATUS_FIN_SEEN, direction)) {
        flow->stream[direction].fin_end =
            packet->sequence + packet->payload_wire + 1 + (packet->flags & TCP_SYN ? 1 : 0);
        set_status(flow, STATUS_FIN_SEEN, direction);
    }
    if (packet->flags & TCP_ACK && status_of(flow, STATUS_FIN_SEEN, back) &&
        packet->ack - flow->stream[back].fin_end < UINT32_C(0x80000000))
        set_status(flow, STATUS_FIN_ACKED, back);
    if (flow->status & STATUS_LINGERS) return;
    if (packet->flags & TCP_RST)
        linger(t, slot, STATUS_CLOSED_RST);
    else if (status_of(flow, STATUS_FIN_ACKED, 0) && status_of(flow, STATUS_FIN_ACKED, 1))
        linger(t, slot, STATUS_CLOSED_FIN);
}

/* -- payload ------------------------------------------------------------------------------------------------------ */

static bool starts_followed(const struct table_settings *settings, const uint8_t *data, uint32_t size) {
    for (uint32_t i = 0; i < settings->prefixes; i++)
        if (settings->prefix_size[i] <= size && memcmp(settings->prefix[i], data, settings->prefix_size[i]) == 0)
            return true;
    return false;
}

static void count_payload(struct table *t, uint32_t slot, int direction, const struct packet *packet) {
    const struct table_settings *settings = &t->settings;
    struct flow *flow = &t->flows[slot];
    const uint8_t *data = packet->payload;
    uint32_t size = packet->payload_captured, budget = settings->budget_udp;
    int64_t offset = 0;
    if (packet->protocol == PROTOCOL_TCP) {
        uint32_t sequence = packet->sequence + (packet->flags & TCP_SYN ? 1 : 0);
        if (!stream_segment(t, flow, direction, sequence, packet->payload_wire, &offset)) return;
        if (offset < 0) { /* from before the first byte seen */
            uint32_t skipped = -offset < (int64_t)size ? (uint32_t)-offset : size;
            if (skipped) data += skipped;
            size -= skipped;
            offset = 0;
        }
        budget = settings->budget_tcp;
    }
    uint32_t index = flow->payloads[direction];
    if (index < UINT32_MAX) flow->payloads[direction]++;
    if (index == 0 && packet->protocol == PROTOCOL_TCP && !(flow->status & STATUS_RELEASED) &&
        starts_followed(settings, data, size))
        flow->status |= STATUS_FOLLOWING;
    bool is_short = flow->status & STATUS_FOLLOWING && packet->payload_wire <= settings->followed_bytes;
    if (flow->status & STATUS_RELEASED || size == 0 || !(is_short || index < budget)) return;
    if (size > settings->payload_bytes) {
        size = settings->payload_bytes;
        t->counters[COUNT_payloads_cut]++;
    }
    struct event *event = event_new(t, EVENT_PAYLOAD, slot);
    event->payload.data = data;
    event->payload.size = size;
    event->payload.offset = (uint64_t)offset;
    event->payload.wire_length = packet->payload_wire;
    event->payload.index = index;
    event->payload.direction = (uint32_t)direction;
    event->payload.handshake_ns = handshake_ns(flow);
    if (flow->status & STATUS_FOLLOWING && ++flow->followed == settings->followed_packets) {
        flow->status = (uint16_t)((flow->status & ~STATUS_FOLLOWING) | STATUS_RELEASED);
        t->counters[COUNT_follows_ended]++;
    }
}

/* -- flows -------------------------------------------------------------------------------------------------------- */

/* Both sides are one endpoint (a LAND packet): there is but one direction. */
static inline bool to_itself(const struct key *key) {
    return key->low_port == key->high_port && memcmp(key->low, key->high, sizeof key->low) == 0;
}

static uint32_t open_flow(struct table *t, const struct staged *s) {
    const struct packet *packet = &s->packet;
    if (t->size == t->settings.capacity) {
        bool lingers = t->lingering.oldest != NONE;
        if (!lingers) t->counters[COUNT_flows_evicted]++;
        close_flow(t, lingers ? t->lingering.oldest : t->active.oldest, CLOSE_EVICTED);
    }
    uint32_t slot = t->free_slot;
    struct flow *flow;
    uint32_t generation = 0;
    if (slot != NONE) {
        flow = &t->flows[slot];
        t->free_slot = flow->older;
        generation = flow->generation;
    } else {
        slot = t->fresh++;
        flow = &t->flows[slot];
    }
    memset(flow, 0, sizeof *flow);
    /* Who answers a SYN that was missed is the responder. */
    bool swapped = (packet->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) && !to_itself(&s->key);
    flow->key = s->key;
    flow->generation = generation + 1;
    flow->status = s->from_high != swapped ? STATUS_INITIATOR_HIGH : 0;
    flow->since = flow->active_since = t->clock;
    flow->first_ns = flow->last_ns = now_ns(t);
    list_add(t, &t->active, slot);
    index_add(t, s->hash, slot);
    t->size++;
    t->counters[COUNT_flows]++;

    struct event *event = event_new(t, EVENT_OPENED, slot);
    memcpy(event->opened.initiator, swapped ? packet->destination : packet->source, 16);
    memcpy(event->opened.responder, swapped ? packet->source : packet->destination, 16);
    event->opened.initiator_port = swapped ? packet->destination_port : packet->source_port;
    event->opened.responder_port = swapped ? packet->source_port : packet->destination_port;
    event->opened.vlan = packet->vlan;
    event->opened.interface = s->interface;
    event->opened.address_size = packet->version == 4 ? 4 : 16;
    event->opened.protocol = packet->protocol;
    event->opened.midstream = packet->protocol == PROTOCOL_TCP && !(packet->flags & TCP_SYN);
    return slot;
}

static inline void count_packet(struct table *t, uint32_t slot, int direction, const struct staged *s) {
    struct flow *flow = &t->flows[slot];
    if (!(flow->status & STATUS_LINGERS)) {
        if (t->clock - flow->active_since >= t->settings.active_ns) {
            report(t, slot, CLOSE_ACTIVE);
            flow->active_since = t->clock;
        }
        flow->since = t->clock;
        if (t->active.newest != slot) {
            list_remove(t, &t->active, slot);
            list_add(t, &t->active, slot);
        }
    }
    t->counters[COUNT_packets]++;
    flow->interface[direction] = s->interface;
    flow->packets[direction]++;
    flow->bytes[direction] += s->packet.ip_bytes;
    flow->tcp_flags[direction] |= s->packet.flags;
    uint64_t now = now_ns(t);
    flow->last_ns = now > flow->first_ns ? now : flow->first_ns;
}

static inline int direction_of(const struct flow *flow, bool from_high) {
    return from_high != (bool)(flow->status & STATUS_INITIATOR_HIGH);
}

static void process(struct table *t, const struct staged *s) {
    const struct packet *packet = &s->packet;
    uint32_t slot = index_find(t, &s->key, s->hash);
    if (slot != NONE && t->flows[slot].status & STATUS_LINGERS && packet->flags & TCP_SYN &&
        !same_start(&t->flows[slot], s->from_high, packet)) {
        close_flow(t, slot, CLOSE_END);
        slot = NONE;
    }
    if (slot != NONE) {
        const struct flow *flow = &t->flows[slot];
        int direction = direction_of(flow, s->from_high);
        if (flow->packets[direction] && flow->interface[direction] != s->interface) {
            t->counters[COUNT_frames_other_interface]++;
            return;
        }
        if (!(flow->status & STATUS_LINGERS) && (packet->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
            t->clock - flow->since >= REOPEN_NS && !same_start(flow, s->from_high, packet)) {
            close_flow(t, slot, CLOSE_IDLE);
            slot = NONE;
        }
    }
    if (slot == NONE) slot = open_flow(t, s);
    int direction = direction_of(&t->flows[slot], s->from_high);
    count_packet(t, slot, direction, s);
    if (packet->fragment == FRAGMENT_LATER) return;
    bool tcp = packet->protocol == PROTOCOL_TCP;
    if (tcp && packet->flags & TCP_SYN) tcp_open(t, &t->flows[slot], direction, packet);
    if (packet->payload_wire) count_payload(t, slot, direction, packet);
    if (tcp) tcp_close(t, slot, direction, packet);
}

/* -- feeding ------------------------------------------------------------------------------------------------------ */

static inline void stage_key(const struct table *t, struct staged *s) {
    const struct packet *packet = &s->packet;
    int order = memcmp(packet->source, packet->destination, 16);
    s->from_high = order > 0 || (order == 0 && packet->source_port > packet->destination_port);
    memcpy(s->key.low, s->from_high ? packet->destination : packet->source, 16);
    memcpy(s->key.high, s->from_high ? packet->source : packet->destination, 16);
    s->key.low_port = s->from_high ? packet->destination_port : packet->source_port;
    s->key.high_port = s->from_high ? packet->source_port : packet->destination_port;
    s->key.vlan_version = (uint16_t)(packet->vlan | (packet->version == 6 ? 0x8000 : 0));
    s->key.protocol = packet->protocol;
    s->key.zero = 0;
    s->hash = hash_key(t->seed, &s->key, packet->version == 4);
}

/* Decode a frame and ask for the index line it will need. Changes nothing in the table. */
static inline void stage(const struct table *t, struct staged *s, const uint8_t *data, size_t size,
                         const uint8_t *entry) {
    uint32_t start = le32(entry + 8), captured = le32(entry + 12), wire = le32(entry + 16);
    s->time_ns = le64(entry);
    s->interface = le16(entry + 22);
    s->wire = wire > captured ? wire : captured;
    if (start > size || captured > size - start) {
        s->result = BAD_ENTRY;
        return;
    }
    s->result = (uint8_t)decode_frame(data + start, captured, s->wire, le16(entry + 20), &s->packet);
    if (s->result != DECODE_OK || s->packet.fragment != FRAGMENT_WHOLE) return;
    stage_key(t, s);
    __builtin_prefetch(&t->index[(uint32_t)s->hash & t->index_mask]);
}

/* Ask for the flow that the index names first, most often the right one. */
static inline void stage_flow(const struct table *t, const struct staged *s) {
    if (s->result != DECODE_OK || s->packet.fragment != FRAGMENT_WHOLE) return;
    uint32_t slot = t->index[(uint32_t)s->hash & t->index_mask].slot;
    if (!slot) return;
    const char *flow = (const char *)&t->flows[slot - 1];
    __builtin_prefetch(flow, 1);
    __builtin_prefetch(flow + 64, 1);
    __builtin_prefetch(flow + 128, 1);
}

/* False when the events do not fit; nothing is counted then. */
static inline bool unstage(struct table *t, struct staged *s) {
    static const uint8_t dropped[] = {
        [DROP_UNKNOWN_LINK] = COUNT_frames_unknown_link, [DROP_NOT_IP] = COUNT_frames_not_ip,
        [DROP_TRUNCATED] = COUNT_frames_truncated,       [DROP_MALFORMED] = COUNT_frames_malformed,
        [DROP_LAYERS] = COUNT_frames_layers,
    };
    if (!events_fit(t)) return false;
    if (s->result == BAD_ENTRY) {
        t->counters[COUNT_frames]++;
        t->counters[COUNT_frames_bad_entry]++;
        return true;
    }
    if (!advance(t, s->time_ns)) return false;
    t->counters[COUNT_frames]++;
    t->counters[COUNT_bytes] += s->wire;
    if (s->result != DECODE_OK) {
        t->counters[dropped[s->result]]++;
        return true;
    }
    if (s->packet.fragment != FRAGMENT_WHOLE) {
        if (!assign_fragment(t, &s->packet)) {
            t->counters[COUNT_frames_orphan_fragment]++;
            return true;
        }
        stage_key(t, s);
    }
    process(t, s);
    return true;
}

size_t table_feed(struct table *t, const uint8_t *data, size_t size, const uint8_t *frames, size_t count,
                  size_t from) {
    t->event_count = 0;
    while (from < count) {
        size_t batch = count - from < BATCH ? count - from : BATCH;
        for (size_t i = from + AHEAD; i < from + AHEAD + BATCH && i < count; i++) {
            uint32_t start = le32(frames + i * FRAME_SIZE + 8);
            if (start < size) __builtin_prefetch(data + start);
        }
        for (size_t i = 0; i < batch; i++) stage(t, &t->batch[i], data, size, frames + (from + i) * FRAME_SIZE);
        for (size_t i = 0; i < batch; i++) stage_flow(t, &t->batch[i]);
        for (size_t i = 0; i < batch; i++)
            if (!unstage(t, &t->batch[i])) return from + i;
        from += batch;
    }
    return count;
}

bool table_expire(struct table *t, uint64_t time_ns) {
    t->event_count = 0;
    return advance(t, time_ns);
}

bool table_finish(struct table *t) {
    t->event_count = 0;
    while (t->size) {
        if (!events_fit(t)) return false;
        close_flow(t, t->lingering.oldest != NONE ? t->lingering.oldest : t->active.oldest, CLOSE_END);
    }
    return true;
}

/* A slot below `fresh` with the right generation is in use, unless it is in the stack of free ones: then it is not in
   the index. */
static struct flow *flow_of(struct table *t, uint64_t flow) {
    uint32_t slot = (uint32_t)flow;
    if (slot >= t->fresh || identifier(t, slot) != flow) return NULL;
    struct flow *found = &t->flows[slot];
    return index_find(t, &found->key, hash_key(t->seed, &found->key, key_is_ipv4(&found->key))) == slot ? found : NULL;
}

void table_follow(struct table *t, uint64_t flow) {
    struct flow *found = flow_of(t, flow);
    if (!found) return;
    found->status = (uint16_t)((found->status & ~STATUS_RELEASED) | STATUS_FOLLOWING);
    found->followed = 0;
}

void table_release(struct table *t, uint64_t flow) {
    struct flow *found = flow_of(t, flow);
    if (!found) return;
    found->status = (uint16_t)((found->status & ~STATUS_FOLLOWING) | STATUS_RELEASED);
}

const struct event *table_take(struct table *t, size_t *count) {
    *count = t->event_count;
    t->event_count = 0;
    return t->events;
}

uint32_t table_size(const struct table *t) { return t->size; }

uint64_t table_counter(const struct table *t, enum counter counter) { return t->counters[counter]; }

/* -- life --------------------------------------------------------------------------------------------------------- */

size_t table_memory(uint32_t capacity) {
    return sizeof(struct table) + capacity * sizeof(struct flow) + index_size(capacity) * sizeof(struct bucket) +
           FRAGMENTS * sizeof(struct first_fragment) + FRAGMENT_HEADS * sizeof(uint16_t);
}

struct table *table_new(const struct table_settings *settings) {
    assert(settings->capacity > 0 && settings->capacity <= 1u << 24);
    assert(settings->prefixes <= FOLLOW_PREFIXES);
    struct table *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->settings = *settings;
    t->seed[0] = le64(settings->seed);
    t->seed[1] = le64(settings->seed + 8);
    t->free_slot = NONE;
    t->active = t->lingering = (struct list){NONE, NONE};
    t->index_mask = index_size(settings->capacity) - 1;
    t->flows = memory_new(settings->capacity * sizeof *t->flows);
    t->index = memory_new(index_size(settings->capacity) * sizeof *t->index);
    t->fragments = calloc(FRAGMENTS, sizeof *t->fragments);
    t->fragment_heads = calloc(FRAGMENT_HEADS, sizeof *t->fragment_heads);
    if (t->flows && t->index && t->fragments && t->fragment_heads) return t;
    table_free(t);
    return NULL;
}

void table_free(struct table *t) {
    if (!t) return;
    memory_free(t->flows, t->settings.capacity * sizeof *t->flows);
    memory_free(t->index, index_size(t->settings.capacity) * sizeof *t->index);
    free(t->fragments);
    free(t->fragment_heads);
    free(t);
}
