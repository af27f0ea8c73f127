#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "table_state.h"

static struct event *event_new(struct table *t, enum event_kind kind, uint32_t slot) {
    assert(t->event_count < EVENTS);
    struct event *event = &t->events[t->event_count++];
    event->kind = kind;
    event->flow = identifier(t, slot);
    event->time_ns = t->now_ns;
    event->node = 0;
    event->rows = 0;
    event->ordinal = 0;
    event->lent = false;
    if (t->lanes) {
        size_t rows;
        lane_rows(t->lanes, &rows);
        event->rows = (uint32_t)rows;
    }
    return event;
}

void report_closed(struct table *t, uint32_t slot, enum close_reason reason) {
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

const uint8_t *report_tunnels(struct table *t, uint16_t path, uint8_t *count) {
    struct hop hops[HOPS_MAX];
    const uint8_t *outer = t->outer + t->outer_used;
    *count = paths_hops(&t->paths, path, hops);
    for (uint8_t i = 0; i < *count; i++) {
        uint8_t *told = t->outer + t->outer_used;
        memcpy(told, hops[i].source, 16);
        memcpy(told + 16, hops[i].destination, 16);
        put_le32(told + 32, hops[i].id);
        told[36] = hops[i].kind;
        told[37] = hops[i].version;
        told[38] = told[39] = 0;
        t->outer_used += HOP_BYTES;
        assert(t->outer_used <= OUTER_BYTES);
    }
    return outer;
}

void report_opened(struct table *t, uint32_t slot, uint16_t interface, bool midstream) {
    const struct flow *flow = &t->flows[slot];
    const struct key *key = &flow->key;
    bool high = flow->status & STATUS_INITIATOR_HIGH;
    struct event *event = event_new(t, EVENT_OPENED, slot);
    event->time_ns = flow->first_ns;
    memcpy(event->opened.initiator, high ? key->high : key->low, 16);
    memcpy(event->opened.responder, high ? key->low : key->high, 16);
    event->opened.initiator_port = high ? key->high_port : key->low_port;
    event->opened.responder_port = high ? key->low_port : key->high_port;
    event->opened.vlan = paths_vlan(&t->paths, key_path(key));
    event->opened.outer = report_tunnels(t, key_path(key), &event->opened.hops);
    event->opened.interface = interface;
    event->opened.address_size = key_is_ipv4(key) ? 4 : 16;
    event->opened.protocol = key->protocol;
    event->opened.midstream = midstream;
}

void report_established(struct table *t, uint32_t slot) {
    event_new(t, EVENT_ESTABLISHED, slot)->established.handshake_ns = handshake_ns(&t->flows[slot]);
}

struct event *report_payload(struct table *t, uint32_t slot, const struct seen *seen) {
    struct event *event = event_new(t, EVENT_PAYLOAD, slot);
    event->payload.data = seen->data;
    event->payload.size = seen->size;
    event->payload.offset = seen->offset;
    event->payload.wire_length = seen->wire_length;
    event->payload.index = seen->index;
    event->payload.acknowledges = seen->acknowledges;
    event->payload.direction = (uint32_t)seen->direction;
    event->payload.handshake_ns = handshake_ns(&t->flows[slot]);
    return event;
}
