/* What the fast lane keeps of a flow: for the payloads that come after, and for Python, should it be needed. */
#include <assert.h>
#include <string.h>

#include "classify.h"
#include "lane_state.h"
#include "live.h"
#include "table_state.h"

enum { QUIET_BYTES = 16 };

bool lane_keep(struct table *t, uint32_t slot, const struct seen *seen, uint32_t node, bool quiet) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    size_t size = quiet && seen->size > QUIET_BYTES ? QUIET_BYTES : seen->size;
    if (lane->stored == LANE_STORED_MAX) return false;
    uint32_t piece = store_take(l->store, size);
    if (piece == STORE_NONE) {
        l->counts.no_room++;
        return false;
    }
    struct stored *stored = store_at(l->store, piece);
    stored->time_ns = t->now_ns;
    stored->offset = t->flows[slot].key.protocol == PROTOCOL_UDP ? node : seen->offset;
    stored->handshake_ns = handshake_ns(&t->flows[slot]);
    stored->wire_length = seen->wire_length;
    stored->index = seen->index;
    stored->acknowledges = seen->acknowledges;
    stored->direction = (uint8_t)seen->direction;
    memcpy(stored->data, seen->data, size);
    if (lane->last == STORE_NONE)
        lane->first = piece;
    else
        store_at(l->store, lane->last)->next = piece;
    lane->last = piece;
    stored->number = (uint8_t)lane->stored++;
    return true;
}

static bool keep_text(struct lanes *l, uint32_t *place, const uint8_t *text, size_t size) {
    store_give(l->store, *place);
    *place = size <= STORE_DATA_MAX ? store_take(l->store, size) : STORE_NONE;
    if (*place == STORE_NONE) return false;
    memcpy(store_at(l->store, *place)->data, text, size);
    return true;
}

bool lane_keep_texts(struct lanes *l, struct lane *lane, uint16_t flags, const struct classified *what) {
    if (flags & SHAPE_NAMED && !what->name_size) return false;
    if (flags & SHAPE_NAMED && !keep_text(l, &lane->name, what->name, what->name_size)) return false;
    return !what->hello || keep_text(l, &lane->hello, what->hello, what->hello_size);
}

void lane_forget_payloads(struct lanes *l, struct lane *lane) {
    store_give(l->store, lane->first);
    lane->first = lane->last = STORE_NONE;
}

void lane_forget_texts(struct lanes *l, struct lane *lane) {
    store_give(l->store, lane->name);
    store_give(l->store, lane->hello);
    lane->name = lane->hello = STORE_NONE;
}

void lane_emit(struct table *t, uint32_t slot, const struct seen *seen, uint64_t time_ns, uint64_t handshake,
               uint32_t node) {
    struct event *event = report_payload(t, slot, seen);
    event->node = node;
    event->time_ns = time_ns;
    event->payload.handshake_ns = handshake;
    const struct flow *flow = &t->flows[slot];
    bool control = flow->status & STATUS_FOLLOWING && flow->key.protocol == PROTOCOL_TCP; /* calls only say what they are */
    if (control || t->lanes->flows[slot].flags & LANE_ENTANGLED) t->barrier = true;
}

static void emit_stored(struct table *t, uint32_t slot, const struct stored *stored) {
    uint64_t offset = t->flows[slot].key.protocol == PROTOCOL_UDP ? 0 : stored->offset;
    struct seen seen = {stored->data, offset, stored->size, stored->wire_length, stored->index, stored->acknowledges,
                        stored->direction & 1};
    lane_emit(t, slot, &seen, stored->time_ns, stored->handshake_ns, SHAPES_NONE);
}

void lane_leave(struct table *t, uint32_t slot, bool tracked) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    bool late = lane->flags & LANE_LATE; /* then they are kept in the order of the stream */
    l->counts.left++;
    report_opened(t, slot, flow->interface[lane->flags & LANE_SWAPPED ? 1 : 0], lane->flags & LANE_MIDSTREAM);
    t->events[t->event_count - 1].node = live_began(t, lane);
    if (l->askable && flow->key.protocol == PROTOCOL_TCP && !(flow->status & STATUS_HALF_OPEN)) {
        report_established(t, slot);
        t->events[t->event_count - 1].time_ns = flow->first_ns + handshake_ns(flow);
    }
    for (uint32_t number = 0; number < (late ? lane->stored : 1u); number++) {
        for (uint32_t piece = lane->first; piece != STORE_NONE; piece = store_at(l->store, piece)->next)
            if (!late || store_at(l->store, piece)->number == number) emit_stored(t, slot, store_at(l->store, piece));
    }
    lane->flags = (uint16_t)(lane->flags & ~(LANE_FAST | LANE_TRACKED));
    lane_forget_texts(l, lane);
    if (tracked)
        lane->flags |= LANE_TRACKED;
    else
        lane_forget_payloads(l, lane);
}
