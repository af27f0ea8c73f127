#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "hash.h"
#include "lane.h"
#include "memory.h"
#include "table_state.h"

#define SECOND_NS UINT64_C(1000000000)

static const uint64_t LINGER_NS = 5 * SECOND_NS;            /* late packets of a closed flow open no ghost */
static const uint64_t REOPEN_NS = SECOND_NS;                /* silence before a SYN that is not the first one's copy */
static const uint64_t UNANSWERED_NS = SECOND_NS;            /* a SYN older than this is hardly answered any more */
static const int64_t CLOCK_STEP_NS = 3600 * (int64_t)SECOND_NS; /* further back is a clock that was set */
static const uint64_t TIME_MAX = UINT64_C(1) << 62;

/* Of one frame: rows, and flows that are opened or leave the fast lane. */
enum { OUTER_PER_FRAME = (ROWS_PER_FRAME + 6) * HOPS_MAX * HOP_BYTES };
enum { AHEAD = 2 * BATCH }; /* frames whose headers are asked for ahead of decoding */

static_assert(sizeof(struct flow) + BUCKETS_PER_FLOW_MAX * sizeof(struct bucket) <= FLOW_BYTES_MAX,
              "a flow and its part of the index keep to the bound");

static inline bool events_fit(const struct table *t) {
    return t->event_count + EVENTS_PER_FRAME < EVENTS && t->outer_used + OUTER_PER_FRAME <= OUTER_BYTES &&
           datagrams_fit(&t->fragments.datagrams) && (!t->lanes || lane_rows_fit(t->lanes));
}

static void report(struct table *t, uint32_t slot, enum close_reason reason) {
    if (t->lanes)
        lane_closes(t, slot, (int)reason);
    else
        report_closed(t, slot, reason);
}

static void close_flow(struct table *t, uint32_t slot, enum close_reason reason) {
    struct flow *flow = &t->flows[slot];
    if (flow->status & STATUS_LINGERS) reason = flow->status & STATUS_CLOSED_FIN ? CLOSE_FIN : CLOSE_RST;
    report(t, slot, reason);
    index_remove(&t->index, hash_key(t->seed, &flow->key, key_is_ipv4(&flow->key)), slot);
    list_leave(t, slot);
    flow->older = t->free_slot;
    t->free_slot = slot;
    t->size--;
    paths_drop(&t->paths, key_path(&flow->key));
}

/* -- fragments ---------------------------------------------------------------------------------------------------- */

static struct flow *flow_of(struct table *t, uint64_t flow);

/* Take datagrams that are whole, or are not waited for any more. */
__attribute__((noinline)) static void give_up(struct table *t) {
    struct datagrams *datagrams = &t->fragments.datagrams;
    while (datagrams->joined_told < datagrams->joined_count) {
        const struct joined *joined = &datagrams->joined[datagrams->joined_told++];
        struct packet packet = {.payload = joined->data + joined->header, .payload_captured = joined->size,
                                .payload_wire = joined->payload_wire, .sequence = joined->sequence,
                                .protocol = joined->protocol, .flags = joined->flags};
        if (flow_of(t, joined->flow)) count_payload(t, (uint32_t)joined->flow, joined->direction, &packet);
    }
}

/* Give up what has waited for too long; false when the events do not fit. */
static inline bool give_up_due(struct table *t) {
    while (t->fragments.datagrams.count) {
        if (!events_fit(t) || t->barrier) return false;
        if (!fragments_due(&t->fragments, t->clock)) break;
        give_up(t);
    }
    return true;
}

/* Whether a first fragment's payload waits for the others; else it is read by itself. */
static bool waits(struct table *t, uint32_t slot, int direction, const struct packet *packet, uint32_t entry) {
    bool udp_or_tcp = packet->protocol == PROTOCOL_TCP || packet->protocol == PROTOCOL_UDP;
    if (udp_or_tcp && datagrams_begins_with(packet) && wants_payload(t, slot, direction)) {
        fragments_first(&t->fragments, entry, t->clock, packet, identifier(t, slot), direction);
        give_up(t);
        return true;
    }
    fragments_pass_by(&t->fragments, entry);
    return false;
}

/* -- clock -------------------------------------------------------------------------------------------------------- */

static inline uint64_t age_of(const struct table *t, uint32_t slot) { return t->clock - t->flows[slot].since; }

/* For how long a list's oldest flow has been due, plus one; 0 for not yet. */
static inline uint64_t due_for(const struct table *t, const struct list *list, uint64_t timeout_ns) {
    if (list->oldest == NONE) return 0;
    uint64_t age = age_of(t, list->oldest);
    return age >= timeout_ns ? age - timeout_ns + 1 : 0;
}

/* Close what is due, in the order in which it became due; false when the events do not fit. */
static bool close_due(struct table *t) {
    for (;;) {
        uint64_t longest = due_for(t, &t->lingering, LINGER_NS);
        uint64_t half_open_for = due_for(t, &t->half_open, t->settings.half_open_ns);
        uint64_t idle_for = due_for(t, &t->active, t->settings.idle_ns);
        uint32_t slot = t->lingering.oldest;
        if (half_open_for > longest) {
            longest = half_open_for;
            slot = t->half_open.oldest;
        }
        if (idle_for > longest) {
            longest = idle_for;
            slot = t->active.oldest;
        }
        if (!longest) return true;
        if (!events_fit(t) || t->barrier) return false;
        close_flow(t, slot, CLOSE_IDLE);
    }
}

/* May be called again with the same time, for that changes nothing. A time of 0 is none. */
static inline bool advance(struct table *t, uint64_t time_ns) {
    if (time_ns) {
        if (time_ns > TIME_MAX) time_ns = TIME_MAX;
        t->now_ns = time_ns;
        int64_t step = (int64_t)(time_ns + t->shift - t->clock);
        if (step >= 0) {
            t->clock += (uint64_t)step;
        } else if (step < -CLOCK_STEP_NS) {
            t->shift = t->clock - time_ns;
            t->counters[COUNT_clock_steps]++;
        }
    }
    return give_up_due(t) && close_due(t);
}

/* -- flows -------------------------------------------------------------------------------------------------------- */

/* Make room. First goes what ended already. Then what nobody answered, where it waited long or fills half of the
   table: a flood of SYNs must not push out connections, and a SYN-ACK opens its flow anew. Then what is oldest. */
static void evict(struct table *t) {
    uint32_t slot = t->lingering.oldest, half_open = t->half_open.oldest, active = t->active.oldest;
    if (slot == NONE) {
        bool unanswered = half_open != NONE && (active == NONE || age_of(t, half_open) > UNANSWERED_NS ||
                                                t->half_opens > t->settings.capacity / 2 ||
                                                age_of(t, half_open) > age_of(t, active));
        slot = unanswered ? half_open : active;
        t->counters[unanswered ? COUNT_flows_evicted_halfopen : COUNT_flows_evicted]++;
    }
    close_flow(t, slot, CLOSE_EVICTED);
}

/* Both sides are one endpoint (a LAND packet): there is but one direction. */
static inline bool to_itself(const struct key *key) {
    return key->low_port == key->high_port && memcmp(key->low, key->high, sizeof key->low) == 0;
}

static uint32_t open_flow(struct table *t, const struct staged *s) {
    const struct packet *packet = &s->packet;
    if (t->size == t->settings.capacity) evict(t);
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
    if (packet->protocol == PROTOCOL_TCP) {
        flow->status |= STATUS_HALF_OPEN;
        t->half_opens++;
    }
    flow->since = flow->active_since = t->clock;
    flow->first_ns = flow->last_ns = t->now_ns;
    list_add(t->flows, list_of(t, flow), slot);
    index_add(&t->index, s->hash, slot);
    t->size++;
    t->counters[COUNT_flows]++;
    paths_use(&t->paths, key_path(&flow->key));

    bool midstream = packet->protocol == PROTOCOL_TCP && !(packet->flags & TCP_SYN);
    if (t->lanes)
        lane_opens(t, slot, s->interface, midstream, swapped);
    else
        report_opened(t, slot, s->interface, midstream);
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
        struct list *list = list_of(t, flow);
        if (list->newest != slot) {
            list_remove(t->flows, list, slot);
            list_add(t->flows, list, slot);
        }
    }
    t->counters[COUNT_packets]++;
    flow->interface[direction] = s->interface;
    flow->packets[direction]++;
    flow->bytes[direction] += s->packet.ip_bytes;
    flow->tcp_flags[direction] |= s->packet.flags;
    if (flow->last_ns < t->now_ns) flow->last_ns = t->now_ns;
}

static inline int direction_of(const struct flow *flow, bool from_high) {
    return from_high != (bool)(flow->status & STATUS_INITIATOR_HIGH);
}

static void process(struct table *t, const struct staged *s, uint32_t entry) {
    const struct packet *packet = &s->packet;
    uint32_t slot = index_find(&t->index, t->flows, &s->key, s->hash);
    if (slot != NONE && t->flows[slot].status & STATUS_LINGERS && packet->flags & TCP_SYN &&
        !tcp_same_start(&t->flows[slot], s->from_high, packet)) {
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
            t->clock - flow->since >= REOPEN_NS && !tcp_same_start(flow, s->from_high, packet)) {
            close_flow(t, slot, CLOSE_IDLE);
            slot = NONE;
        }
    }
    if (slot == NONE) slot = open_flow(t, s);
    int direction = direction_of(&t->flows[slot], s->from_high);
    count_packet(t, slot, direction, s);
    if (packet->fragment == FRAGMENT_LATER) {
        fragments_later(&t->fragments, entry, t->clock, packet);
        give_up(t);
        return;
    }
    bool tcp = packet->protocol == PROTOCOL_TCP;
    if (tcp && packet->flags & TCP_SYN) tcp_open(t, &t->flows[slot], direction, packet);
    if (t->flows[slot].status & STATUS_HALF_OPEN) tcp_establish(t, slot, direction, packet);
    bool waiting = packet->fragment == FRAGMENT_FIRST && waits(t, slot, direction, packet, entry);
    if (packet->payload_wire && !waiting) count_payload(t, slot, direction, packet);
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
    s->key.path_version = (uint16_t)(packet->path | (packet->version == 6 ? 0x8000 : 0));
    s->key.protocol = packet->protocol;
    s->key.zero = 0;
    s->hash = hash_key(t->seed, &s->key, packet->version == 4);
}

/* Whether a packet's key is made ahead: fragments get their ports, and tunnels their number, when it is their turn. */
static inline bool is_plain(const struct staged *s) {
    return s->result == DECODE_OK && s->packet.fragment == FRAGMENT_WHOLE && !s->packet.hop_count;
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
    if (!is_plain(s)) return;
    stage_key(t, s);
    __builtin_prefetch(index_home(&t->index, s->hash));
}

/* Ask for the flow that the index names first, most often the right one. */
static inline void stage_flow(const struct table *t, const struct staged *s) {
    if (!is_plain(s)) return;
    uint32_t slot = index_home(&t->index, s->hash)->slot;
    if (!slot) return;
    const char *flow = (const char *)&t->flows[slot - 1];
    __builtin_prefetch(flow, 1);
    __builtin_prefetch(flow + 64, 1);
    __builtin_prefetch(flow + 128, 1);
}

static void process_late(struct table *t, struct staged *s) {
    struct packet *packet = &s->packet;
    if (packet->hop_count) packet->path = paths_enter(&t->paths, packet);
    paths_use(&t->paths, packet->path);
    uint32_t entry = 0;
    if (packet->fragment == FRAGMENT_WHOLE || fragments_assign(&t->fragments, t->clock, packet, &entry)) {
        stage_key(t, s);
        process(t, s, entry);
    } else {
        t->counters[COUNT_frames_orphan_fragment]++;
        fragments_later(&t->fragments, entry, t->clock, packet);
        give_up(t);
    }
    paths_drop(&t->paths, packet->path);
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
    if (is_plain(s))
        process(t, s, 0);
    else
        process_late(t, s);
    return true;
}

/* Events and rows are made anew. */
static void settle(struct table *t) {
    t->event_count = t->outer_used = 0;
    datagrams_settle(&t->fragments.datagrams);
    t->barrier = false;
    if (t->lanes) lane_settle(t->lanes);
}

size_t table_feed(struct table *t, const uint8_t *data, size_t size, const uint8_t *frames, size_t count,
                  size_t from) {
    settle(t);
    while (from < count) {
        size_t batch = count - from < BATCH ? count - from : BATCH;
        for (size_t i = from + AHEAD; i < from + AHEAD + BATCH && i < count; i++) {
            uint32_t start = le32(frames + i * FRAME_SIZE + 8);
            if (start < size) __builtin_prefetch(data + start);
        }
        for (size_t i = 0; i < batch; i++) stage(t, &t->batch[i], data, size, frames + (from + i) * FRAME_SIZE);
        for (size_t i = 0; i < batch; i++) stage_flow(t, &t->batch[i]);
        for (size_t i = 0; i < batch; i++) {
            if (!unstage(t, &t->batch[i])) return from + i;
            if (t->barrier) return from + i + 1;
        }
        from += batch;
    }
    return count;
}

bool table_expire(struct table *t, uint64_t time_ns) {
    settle(t);
    return advance(t, time_ns) && !t->barrier;
}

bool table_finish(struct table *t) {
    settle(t);
    while (t->fragments.datagrams.count) {
        if (!events_fit(t) || t->barrier) return false;
        fragments_oldest(&t->fragments);
        give_up(t);
    }
    while (t->size) {
        if (!events_fit(t) || t->barrier) return false;
        uint32_t slot = t->lingering.oldest;
        if (slot == NONE) slot = t->half_open.oldest;
        if (slot == NONE) slot = t->active.oldest;
        close_flow(t, slot, CLOSE_END);
    }
    return true;
}

/* A slot below `fresh` with the right generation is in use, unless it is in the stack of free ones: then it is not in
   the index. */
static struct flow *flow_of(struct table *t, uint64_t flow) {
    uint32_t slot = (uint32_t)flow;
    if (slot >= t->fresh || identifier(t, slot) != flow) return NULL;
    struct flow *found = &t->flows[slot];
    uint64_t hash = hash_key(t->seed, &found->key, key_is_ipv4(&found->key));
    return index_find(&t->index, t->flows, &found->key, hash) == slot ? found : NULL;
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

uint64_t table_bytes_of(struct table *t, uint64_t flow) {
    const struct flow *found = flow_of(t, flow);
    return found ? found->bytes[0] + found->bytes[1] : 0;
}

const struct event *table_take(struct table *t, size_t *count) {
    *count = t->event_count;
    t->event_count = 0;
    return t->events;
}

bool table_stopped(const struct table *t) { return t->barrier; }

struct lanes *table_lanes(struct table *t) { return t->lanes; }

uint32_t table_size(const struct table *t) { return t->size; }

uint64_t table_counter(const struct table *t, enum counter counter) {
    const uint64_t *ends = t->fragments.datagrams.ends;
    switch ((int)counter) {
    case COUNT_fragments_displaced: return t->fragments.displaced;
    case COUNT_fragments_joined: return ends[DATAGRAM_JOINED];
    case COUNT_fragments_overlapping: return ends[DATAGRAM_OVERLAPPING];
    case COUNT_fragments_incomplete: return ends[DATAGRAM_INCOMPLETE] + ends[DATAGRAM_DISPLACED];
    case COUNT_fragments_no_room: return ends[DATAGRAM_NO_ROOM];
    default: break;
    }
    return counter == COUNT_tunnels_full ? t->paths.full : t->counters[counter];
}

/* -- life --------------------------------------------------------------------------------------------------------- */

size_t table_memory(uint32_t capacity) {
    return sizeof(struct table) + capacity * sizeof(struct flow) + index_buckets(capacity) * sizeof(struct bucket) +
           fragments_memory() + paths_memory();
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
    t->active = t->half_open = t->lingering = list_empty();
    t->flows = memory_new(settings->capacity * sizeof *t->flows);
    bool index = index_new(&t->index, settings->capacity), fragments = fragments_new(&t->fragments, t->seed);
    bool paths = paths_new(&t->paths, t->seed);
    bool lanes = true;
    if (settings->lanes) {
        t->lanes = lanes_new(settings->lanes, settings->capacity, t->seed);
        lanes = t->lanes;
    }
    t->settings.lanes = NULL;
    if (t->flows && index && fragments && paths && lanes) return t;
    table_free(t);
    return NULL;
}

void table_free(struct table *t) {
    if (!t) return;
    memory_free(t->flows, t->settings.capacity * sizeof *t->flows);
    index_free(&t->index);
    fragments_free(&t->fragments);
    paths_free(&t->paths);
    lanes_free(t->lanes);
    free(t);
}
