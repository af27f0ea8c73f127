#include "live.h"

#include <string.h>

#include "lane_state.h"
#include "table_state.h"

#define SECOND_NS UINT64_C(1000000000)

enum { WELL_KNOWN_PORTS = 1024, TOLD_SHIFT = 18, TOLD_MOST = 63, SAID_MAX = 256 };

static bool has_ports(const struct key *key) {
    return key->protocol == PROTOCOL_TCP || key->protocol == PROTOCOL_UDP;
}

static uint32_t second_of(uint64_t time_ns) { return (uint32_t)(time_ns / SECOND_NS); }

uint64_t live_now(const struct table *t) { return t->lanes->clock_ns ? t->lanes->clock_ns : t->now_ns; }

/* -- what is known ------------------------------------------------------------------------------------------------- */

static struct known_endpoint endpoint_of(const struct flow *flow, bool initiator) {
    const struct key *key = &flow->key;
    bool high = initiator == (bool)(flow->status & STATUS_INITIATOR_HIGH);
    struct known_endpoint endpoint = {.port = high ? key->high_port : key->low_port, .protocol = key->protocol,
                                      .version = key_is_ipv4(key) ? 4 : 6};
    memcpy(endpoint.address, high ? key->high : key->low, sizeof endpoint.address);
    return endpoint;
}

static bool is_served(const struct lanes *l, const struct known_endpoint *endpoint) {
    const uint8_t *served = l->served[endpoint->protocol == PROTOCOL_TCP ? 0 : 1];
    return endpoint->port < WELL_KNOWN_PORTS || served[endpoint->port >> 3] >> (endpoint->port & 7) & 1;
}

/* Whose label a flow inherits, best first: `sides` in verdicts/inquiry.py. */
static int sides(const struct lanes *l, const struct flow *flow, bool midstream, bool initiators[2]) {
    struct known_endpoint initiator = endpoint_of(flow, true), responder = endpoint_of(flow, false);
    bool served = is_served(l, &responder), other = is_served(l, &initiator);
    initiators[0] = false;
    initiators[1] = true;
    if (flow->key.protocol == PROTOCOL_TCP) {
        if (!midstream) return 1;
        initiators[0] = !served && (other || initiator.port < responder.port);
        initiators[1] = !initiators[0];
        return 2;
    }
    return served || initiator.port == 0 ? 1 : 2;
}

uint32_t live_opens(struct table *t, uint32_t slot, bool midstream) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    bool initiators[2];
    if (!has_ports(&flow->key)) return KNOWN_NONE;
    int count = sides(l, flow, midstream, initiators);
    for (int i = 0; i < count; i++) {
        struct known_endpoint endpoint = endpoint_of(flow, initiators[i]);
        uint32_t number = known_find(l->known, &endpoint, second_of(live_now(t)));
        if (!number) continue;
        lane->known = (uint16_t)number;
        lane->view = (uint8_t)(!initiators[i] ? VIEW_RESPONDER : midstream ? VIEW_INITIATOR_MIDSTREAM : VIEW_INITIATOR) & 3;
        return number;
    }
    return KNOWN_NONE;
}

/* -- who is asked -------------------------------------------------------------------------------------------------- */

bool live_asks(struct table *t, uint32_t slot, bool midstream) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    bool initiators[2], asked = false;
    if (!l->askable || !has_ports(&flow->key)) return false;
    int count = sides(l, flow, midstream, initiators);
    for (int i = 0; i < count; i++) {
        struct known_endpoint endpoint = endpoint_of(flow, initiators[i]);
        asked = asked || (askable_has(l->askable, endpoint.address, endpoint.version) &&
                          !known_is_left(l->known, &endpoint, second_of(live_now(t))));
    }
    if (!asked) return false;
    lane->flags |= LANE_ASKED;
    const struct known_kind *kind = known_kind(l->known, lane->known);
    if (!kind || !known_settles(l->known, kind->verdicts[lane->view])) return true;
    for (int i = 0; i < 2; i++) { /* a socket of our own */
        struct known_endpoint endpoint = endpoint_of(flow, i);
        if (known_find(l->known, &endpoint, second_of(live_now(t))) == KNOWN_UNSURE) return true;
    }
    return false;
}

bool live_unsure(const struct table *t, uint32_t slot, uint32_t node) {
    const struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    if (!l->askable) return false;
    const struct shape *shape = shapes_at(l->shapes, node);
    bool sure = shape->flags & SHAPE_LABELS ? known_settles(l->known, shape->verdict) : lane->flags & LANE_SURE;
    if (lane->flags & LANE_ASKED) return !sure;
    return !(shape->flags & SHAPE_TOLD) && lane->counts[0] && lane->counts[1];
}

bool live_is_followed(const struct table *t, uint32_t slot) {
    return t->lanes->askable && !(t->lanes->flows[slot].flags & LANE_FAST);
}

uint32_t live_began(const struct table *t, const struct lane *lane) {
    if (!t->lanes->known || lane->known == KNOWN_UNSURE) return 0;
    return LIVE_REOPENED | (uint32_t)lane->told << TOLD_SHIFT | (uint32_t)lane->view << 16 | lane->known;
}

/* -- telling ------------------------------------------------------------------------------------------------------- */

static struct row *tell(struct table *t, uint32_t slot, uint32_t verdict, uint16_t interface) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    struct row *row = lane_row(t, slot, verdict, interface);
    row->early = true;
    row->last_ns = live_now(t);
    row->labelled_ns = lane->labelled_ns;
    if (lane->told < TOLD_MOST) lane->told++;
    return row;
}

static void label(struct table *t, uint32_t slot, uint32_t verdict) {
    struct lane *lane = &t->lanes->flows[slot];
    uint64_t now_ns = live_now(t), first_ns = t->flows[slot].first_ns;
    lane->labelled_ns = now_ns > first_ns ? now_ns - first_ns : 0;
    lane->flags |= LANE_LABELLED;
    bool settles = t->lanes->askable && known_settles(t->lanes->known, verdict);
    lane->flags = (uint16_t)(settles ? lane->flags | LANE_SURE : lane->flags & ~LANE_SURE);
}

bool live_begins(struct table *t, uint32_t slot, uint16_t interface) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    const struct known_kind *kind = known_kind(l->known, lane->known);
    if (!kind) return false;
    uint8_t key[KNOWN_MARK + 2] = {(uint8_t)lane->node, (uint8_t)lane->view};
    memcpy(key + 2, kind->mark, KNOWN_MARK);
    uint32_t node = shapes_next(l->shapes, ROOT_KNOWN, key, sizeof key);
    if (node == SHAPES_NONE) return false;
    struct shape *shape = shapes_at(l->shapes, node);
    shape->flags = SHAPE_KNOWN | SHAPE_LABELS;
    shape->verdict = kind->verdicts[lane->view];
    lane->node = node;
    label(t, slot, shape->verdict);
    if (shape->verdict) tell(t, slot, shape->verdict, interface);
    return true;
}

void live_labelled(struct table *t, uint32_t slot) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    uint32_t verdict = shapes_at(l->shapes, lane->node)->verdict;
    label(t, slot, verdict);
    if (!verdict || !l->known) return;
    struct row *row = tell(t, slot, verdict, flow->interface[lane->flags & LANE_SWAPPED ? 1 : 0]);
    if (lane->flags & LANE_MIDSTREAM || !has_ports(&flow->key)) return;
    struct known_endpoint responder = endpoint_of(flow, false);
    row->learned = known_hear(l->known, &responder, verdict, second_of(live_now(t)));
    const struct stored *last = store_at(l->store, lane->last);
    if (!row->learned || last->direction != 1) return;
    row->said = last->data;
    row->said_size = (uint16_t)(last->size < SAID_MAX ? last->size : SAID_MAX);
}
