#include "lane.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "classify.h"
#include "hash.h"
#include "lane_state.h"
#include "live.h"
#include "memory.h"
#include "table_state.h"

#define SECOND_NS UINT64_C(1000000000)
#define ANNOUNCED_EARLY_NS (2 * SECOND_NS) /* limits.ANNOUNCED_EARLY_S */

enum { HOST_PLACES = 2 * LANE_HOSTS, GUESS_INITIATOR = 1 << 16, GUESS_RESPONDER = 2 << 16 };

/* -- hosts --------------------------------------------------------------------------------------------------------- */

static uint32_t host_place(const struct lanes *l, const uint8_t address[16]) {
    uint64_t words[2];
    memcpy(words, address, sizeof words);
    uint32_t at = (uint32_t)sip_hash(l->seed, words, 2) % HOST_PLACES;
    while (l->host_used[at] && memcmp(l->hosts[at], address, 16) != 0) at = (at + 1) % HOST_PLACES;
    return at;
}

static bool is_watched(const struct lanes *l, const struct key *key) {
    if (!l->host_count) return false;
    return l->host_count > LANE_HOSTS || l->host_used[host_place(l, key->low)] || l->host_used[host_place(l, key->high)];
}

/* -- what the table tells ------------------------------------------------------------------------------------------- */

static bool is_ours(const struct lanes *l, const struct key *key) {
    if (l->shares <= 1) return true;
    uint64_t hash = hash_key(l->seed, key, key_is_ipv4(key));
    return (uint32_t)(hash >> 40) % l->shares == l->share;
}

static uint32_t root_of(const struct key *key, bool midstream) {
    if (key->protocol == PROTOCOL_TCP) return midstream ? ROOT_TCP_MIDSTREAM : ROOT_TCP;
    if (key->protocol != PROTOCOL_UDP) return ROOT_OTHER;
    return classify_names_port(key->low_port) || classify_names_port(key->high_port) ? ROOT_UDP_NAMES : ROOT_UDP;
}

void lane_opens(struct table *t, uint32_t slot, uint16_t interface, bool midstream, bool swapped) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    memset(lane, 0, sizeof *lane);
    lane->first = lane->last = lane->name = lane->hello = STORE_NONE;
    uint16_t told = (uint16_t)((midstream ? LANE_MIDSTREAM : 0) | (swapped ? LANE_SWAPPED : 0));
    if (!is_ours(l, &flow->key)) {
        lane->flags = (uint16_t)(LANE_FOREIGN | told);
        return;
    }
    lane->flags = told;
    bool inside = key_path(&flow->key) >= PATH_FIRST, slow = l->slow || is_watched(l, &flow->key) || (l->known && inside);
    lane->node = root_of(&flow->key, midstream) + (inside ? ROOT_INSIDE : 0u);
    if (l->known && !inside) {
        uint32_t number = live_opens(t, slot, midstream);
        slow = slow || live_asks(t, slot, midstream);
        if (number && !slow) slow = !live_begins(t, slot, interface);
    }
    if (slow) {
        report_opened(t, slot, interface, midstream);
        lane->flags = 0;
        if (!inside) t->events[t->event_count - 1].node = live_began(t, lane);
        return;
    }
    lane->flags |= LANE_FAST;
}

static bool is_served(const struct lanes *l, bool tcp, uint16_t port) {
    return l->served[tcp ? 0 : 1][port >> 3] >> (port & 7) & 1;
}

/* Which port number would be guessed by, if any: what the reader's `port_guess` looks at. */
static uint32_t guess_of(const struct lanes *l, const struct flow *flow, bool midstream) {
    const struct key *key = &flow->key;
    bool tcp = key->protocol == PROTOCOL_TCP, high = flow->status & STATUS_INITIATOR_HIGH;
    if (!tcp && key->protocol != PROTOCOL_UDP) return key->protocol | (key_is_ipv4(key) ? 0u : 1u << 8);
    uint16_t initiator = high ? key->high_port : key->low_port, responder = high ? key->low_port : key->high_port;
    if (is_served(l, tcp, responder)) return GUESS_RESPONDER | responder;
    if ((!tcp || midstream) && is_served(l, tcp, initiator)) return GUESS_INITIATOR | initiator;
    return 0;
}

/* The node of a flow that ends after a node. */
static uint32_t end_of(struct lanes *l, const struct lane *lane, const struct flow *flow, uint32_t after) {
    bool told = shapes_at(l->shapes, after)->flags & SHAPE_TOLD;
    uint32_t guess = told ? 0 : guess_of(l, flow, lane->flags & LANE_MIDSTREAM);
    uint8_t key[4] = {0xff, (uint8_t)guess, (uint8_t)(guess >> 8), (uint8_t)(guess >> 16)};
    return shapes_next(l->shapes, after, key, sizeof key);
}

/* Whether Python has told what a flow is that ends after a node. */
static bool ends_after(struct lanes *l, const struct lane *lane, const struct flow *flow, uint32_t after) {
    uint32_t node = end_of(l, lane, flow, after);
    return node != SHAPES_NONE && (shapes_at(l->shapes, node)->flags & (SHAPE_KNOWN | SHAPE_PYTHON)) == SHAPE_KNOWN;
}

/* Whether a call's signalling may still name a flow that has begun: media's ports are none of the well-known ones. */
static bool may_be_announced(const struct key *key) {
    return key->protocol == PROTOCOL_UDP && key->low_port >= 1024 && key->high_port >= 1024;
}

/* Whether nobody will ask for a flow's payloads any more once it is at a node. */
static bool settles(struct lanes *l, const struct lane *lane, const struct flow *flow, uint32_t node) {
    uint16_t flags = shapes_at(l->shapes, node)->flags;
    return flags & SHAPE_DONE && flags & SHAPE_TOLD && !may_be_announced(&flow->key) && ends_after(l, lane, flow, node);
}

static void advance(struct table *t, uint32_t slot, uint32_t node, bool settled) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    struct flow *flow = &t->flows[slot];
    uint16_t flags = shapes_at(l->shapes, node)->flags;
    lane->node = node;
    if (flags & SHAPE_LABELS) live_labelled(t, slot);
    if (settled) {
        lane_forget_payloads(l, lane);
        lane->flags |= LANE_SETTLED;
    }
    if (flags & SHAPE_DONE) {
        lane->flags |= LANE_DONE;
        flow->status = (uint16_t)((flow->status & ~STATUS_FOLLOWING) | STATUS_RELEASED);
    }
}

void lane_advance(struct table *t, uint32_t slot, uint32_t node) {
    advance(t, slot, node, settles(t->lanes, &t->lanes->flows[slot], &t->flows[slot], node));
}

/* The same with a payload that is to be kept, where anybody may still ask for it; false where there is no room. Live, the
   one that proves what an endpoint is goes with the row that says so. */
static bool advance_with(struct table *t, uint32_t slot, uint32_t node, const struct seen *seen,
                         const struct classified *what) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    if (!lane_keep_texts(l, lane, shapes_at(l->shapes, node)->flags, what)) return false;
    bool settled = settles(l, lane, &t->flows[slot], node);
    if ((!settled || l->known) && !lane_keep(t, slot, seen, node, what->quiet)) return false;
    advance(t, slot, node, settled);
    return true;
}

/* Zeros that fill a frame around a TCP segment without payload; UDP's own length tells its payload. */
static bool is_padding(const struct flow *flow, const struct seen *seen) {
    if (flow->key.protocol != PROTOCOL_TCP || seen->size > 6) return false;
    for (uint32_t i = 0; i < seen->size; i++)
        if (seen->data[i]) return false;
    return true;
}

/* Of another share's flow: reported from here on where what it says may change what is made of others. */
static void lend(struct table *t, uint32_t slot, const struct seen *seen) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    bool first = !lane->counts[0] && !lane->counts[1];
    if (is_padding(&t->flows[slot], seen)) return;
    if (lane->counts[seen->direction] < UINT8_MAX) lane->counts[seen->direction]++;
    if (!classify_influences(t, slot, seen, first)) return;
    report_opened(t, slot, t->flows[slot].interface[lane->flags & LANE_SWAPPED ? 1 : 0], lane->flags & LANE_MIDSTREAM);
    lane->flags = LANE_LENT | LANE_ENTANGLED;
    l->counts.lent++;
    lane_emit(t, slot, seen, t->now_ns, handshake_ns(&t->flows[slot]), SHAPES_NONE);
}

/* Whether Python says now that the table is to follow a flow, for a call begins that was not known by its first bytes. */
static bool asks_to_be_followed(const struct table *t, uint32_t slot, const struct classified *what) {
    const struct lanes *l = t->lanes;
    bool call = shapes_at(l->shapes, l->flows[slot].node)->flags & SHAPE_MEDIA;
    return !call && !what->offers_media && !(t->flows[slot].status & STATUS_FOLLOWING);
}

void lane_payload(struct table *t, uint32_t slot, const struct seen *seen) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    uint64_t handshake = handshake_ns(&t->flows[slot]);
    if (lane->flags & LANE_FOREIGN) {
        lend(t, slot, seen);
        return;
    }
    if (!(lane->flags & (LANE_FAST | LANE_TRACKED))) {
        lane_emit(t, slot, seen, t->now_ns, handshake, SHAPES_NONE);
        return;
    }
    if (lane->flags & LANE_DONE || is_padding(&t->flows[slot], seen)) {
        if (lane->flags & LANE_TRACKED) lane_emit(t, slot, seen, t->now_ns, handshake, SHAPES_NONE);
        return;
    }
    struct classified what;
    bool fast = lane->flags & LANE_FAST;
    if (fast && lane_late(t, slot, seen)) return;
    enum classify_result result = classify(t, slot, seen, &what);
    if (result == CLASSIFY_NOTHING) {
        if (lane->counts[seen->direction] < UINT8_MAX) lane->counts[seen->direction]++;
        bool leaves = fast && live_unsure(t, slot, lane->node);
        if (leaves) lane_leave(t, slot, false);
        if (leaves || !fast) lane_emit(t, slot, seen, t->now_ns, handshake, SHAPES_NONE);
        return;
    }
    uint32_t node = result == CLASSIFIED ? shapes_next(l->shapes, lane->node, what.key, what.key_size) : SHAPES_NONE;
    uint16_t flags = node == SHAPES_NONE ? SHAPE_PYTHON : shapes_at(l->shapes, node)->flags;
    if (flags & SHAPE_MEDIA && asks_to_be_followed(t, slot, &what)) flags = SHAPE_PYTHON;
    if (lane->counts[seen->direction] < UINT8_MAX) lane->counts[seen->direction]++;
    if (fast && flags & SHAPE_KNOWN && live_unsure(t, slot, node)) flags = SHAPE_PYTHON;
    if (flags & SHAPE_PYTHON) {
        if (fast) lane_leave(t, slot, false);
        lane_forget_payloads(l, lane);
        lane->flags = (uint16_t)(lane->flags & ~LANE_TRACKED);
        if (result == CLASSIFY_ENTANGLED) lane->flags |= LANE_ENTANGLED;
        lane_emit(t, slot, seen, t->now_ns, handshake, SHAPES_NONE);
        return;
    }
    if (fast && flags & SHAPE_KNOWN && advance_with(t, slot, node, seen, &what)) return;
    bool late = lane->flags & LANE_LATE; /* Python judges several segments of such a flow at a time: nothing is learned */
    if (fast) lane_leave(t, slot, !late);
    if (late) {
        lane_emit(t, slot, seen, t->now_ns, handshake, SHAPES_NONE);
        return;
    }
    lane->node = node;
    if (flags & SHAPE_DONE) lane->flags |= LANE_DONE;
    if (!lane_keep(t, slot, seen, node, what.quiet)) {
        lane->flags = (uint16_t)(lane->flags & ~LANE_TRACKED);
        lane_forget_payloads(l, lane);
        node = SHAPES_NONE;
    }
    lane_emit(t, slot, seen, t->now_ns, handshake, node);
    if (node != SHAPES_NONE && !(flags & SHAPE_KNOWN)) t->barrier = true; /* what it means is told before it is met again */
}

/* -- the end -------------------------------------------------------------------------------------------------------- */

struct row *lane_row(struct table *t, uint32_t slot, uint32_t verdict, uint16_t interface) {
    struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    const struct key *key = &flow->key;
    bool high = flow->status & STATUS_INITIATOR_HIGH;
    assert(l->row_count < ROWS);
    struct row *row = &l->rows[l->row_count++];
    *row = (struct row){
        .flow = identifier(t, slot), .first_ns = flow->first_ns, .labelled_ns = LANE_NO_LABEL, .verdict = verdict,
        .initiator_port = high ? key->high_port : key->low_port,
        .responder_port = high ? key->low_port : key->high_port,
        .vlan = paths_vlan(&t->paths, key_path(key)), .interface = interface,
        .address_size = key_is_ipv4(key) ? 4 : 16, .protocol = key->protocol, .midstream = lane->flags & LANE_MIDSTREAM,
    };
    row->outer = report_tunnels(t, key_path(key), &row->hops);
    memcpy(row->initiator, high ? key->high : key->low, 16);
    memcpy(row->responder, high ? key->low : key->high, 16);
    if (lane->name != STORE_NONE) {
        row->name = store_at(l->store, lane->name)->data;
        row->name_size = store_at(l->store, lane->name)->size;
    }
    if (lane->hello != STORE_NONE) {
        row->hello = store_at(l->store, lane->hello)->data;
        row->hello_size = store_at(l->store, lane->hello)->size;
    }
    return row;
}

static void take_row(struct table *t, uint32_t slot, int reason, uint32_t node) {
    struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    const struct shape *shape = shapes_at(l->shapes, node);
    struct row *row = lane_row(t, slot, shape->verdict, flow->interface[lane->flags & LANE_SWAPPED ? 1 : 0]);
    row->last_ns = flow->last_ns;
    row->ordinal = l->closes;
    row->reason = (uint8_t)reason;
    for (int i = 0; i < 2; i++) {
        row->packets[i] = flow->packets[i];
        row->bytes[i] = flow->bytes[i];
    }
    if (lane->flags & LANE_LABELLED) row->labelled_ns = lane->labelled_ns;
    if (shape->flags & SHAPE_LABELS) row->labelled_ns = t->now_ns > flow->first_ns ? t->now_ns - flow->first_ns : 0;
}

/* Whether only Python can say what the end of a flow means. */
static bool needs_python(const struct table *t, uint32_t slot) {
    const struct lane *lane = &t->lanes->flows[slot];
    if (lane->flags & LANE_DONE) return false;
    if (lane_holds(t->lanes, lane, 0) || lane_holds(t->lanes, lane, 1)) return true;
    return classify_doubtful(t, slot) || classify_tls_waits(t, slot, shapes_at(t->lanes->shapes, lane->node)->flags);
}

void lane_closes(struct table *t, uint32_t slot, int reason) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    uint32_t node = SHAPES_NONE;
    l->closes++;
    if (lane->flags & LANE_FOREIGN) return;
    if (reason == CLOSE_ACTIVE && lane->flags & LANE_SETTLED) { /* its end would tell no more, and it goes on */
        take_row(t, slot, reason, end_of(l, lane, flow, lane->node));
        return;
    }
    if (reason == CLOSE_ACTIVE || (lane->flags & (LANE_FAST | LANE_TRACKED) && needs_python(t, slot))) {
        if (lane->flags & LANE_FAST) lane_leave(t, slot, false);
        lane->flags = (uint16_t)(lane->flags & ~LANE_TRACKED);
    }
    if (lane->flags & (LANE_FAST | LANE_TRACKED)) node = end_of(l, lane, flow, lane->node);
    if (lane->flags & LANE_FAST) {
        uint16_t flags = node == SHAPES_NONE ? SHAPE_PYTHON : shapes_at(l->shapes, node)->flags;
        if (flags & SHAPE_KNOWN && !(flags & SHAPE_PYTHON)) {
            take_row(t, slot, reason, node);
            l->counts.flows++;
            lane_forget_payloads(l, lane);
            lane_forget_texts(l, lane);
            lane->flags = 0;
            return;
        }
        if (flags & SHAPE_PYTHON || lane->flags & LANE_LATE) node = SHAPES_NONE;
        lane_leave(t, slot, false);
    }
    if (reason != CLOSE_ACTIVE) {
        lane_forget_payloads(l, lane);
        lane_forget_texts(l, lane);
    }
    report_closed(t, slot, (enum close_reason)reason);
    struct event *event = &t->events[t->event_count - 1];
    event->node = node;
    event->ordinal = l->closes;
    event->lent = lane->flags & LANE_LENT;
    bool new = node != SHAPES_NONE && !(shapes_at(l->shapes, node)->flags & SHAPE_KNOWN);
    if (lane->flags & LANE_ENTANGLED || new) t->barrier = true;
}

/* -- hosts that are watched ------------------------------------------------------------------------------------------ */

/* False while the events do not fit. */
static bool leave_recent(struct table *t, const struct list *list, const uint8_t address[16]) {
    for (uint32_t slot = list->newest; slot != NONE; slot = t->flows[slot].older) {
        const struct flow *flow = &t->flows[slot];
        if (t->clock - flow->since > ANNOUNCED_EARLY_NS) return true;
        if ((t->lanes->flows[slot].flags & (LANE_FAST | LANE_SETTLED)) != LANE_FAST) continue;
        if (memcmp(flow->key.low, address, 16) != 0 && memcmp(flow->key.high, address, 16) != 0) continue;
        if (t->event_count + LANE_STORED_MAX + 1 >= EVENTS) return false;
        if (t->outer_used + HOPS_MAX * HOP_BYTES > OUTER_BYTES) return false;
        lane_leave(t, slot, false);
    }
    return true;
}

bool lane_watch(struct table *t, const uint8_t address[16]) {
    struct lanes *l = t->lanes;
    t->event_count = t->outer_used = 0;
    lane_settle(l);
    if (l->host_count <= LANE_HOSTS) {
        uint32_t at = host_place(l, address);
        if (!l->host_used[at]) {
            l->host_used[at] = true;
            memcpy(l->hosts[at], address, 16);
            if (++l->host_count > LANE_HOSTS) l->counts.hosts_full++;
        }
    }
    bool done = leave_recent(t, &t->active, address) && leave_recent(t, &t->half_open, address) &&
                leave_recent(t, &t->lingering, address);
    t->barrier = false;
    return done;
}

void lane_doubt(struct lanes *l) { l->doubt = true; }

bool lane_share(struct lanes *l, uint32_t share, uint32_t shares, bool slow) {
    if (share >= shares || shares > LANE_SHARES) return false;
    l->share = share;
    l->shares = shares;
    l->slow = slow;
    return true;
}

bool lane_shared(const struct lanes *l) { return l->shares > 1 || l->slow; }

bool lane_live(struct lanes *l, uint64_t clock_ns, uint32_t life_s) {
    if (!l->known) l->known = known_new(l->seed, life_s);
    l->clock_ns = clock_ns;
    return l->known;
}

void lane_ask(struct lanes *l, struct askable *askable) {
    askable_free(l->askable);
    l->askable = askable;
}

struct known *lane_known(struct lanes *l) { return l->known; }

bool lane_learn(struct lanes *l, uint32_t node, uint16_t flags, uint32_t verdict) {
    if (node == SHAPES_NONE || node > shapes_count(l->shapes)) return false;
    struct shape *shape = shapes_at(l->shapes, node);
    shape->flags = flags;
    shape->verdict = verdict;
    if (!(flags & SHAPE_PASSING)) l->counts.learned++; /* the others are not kept */
    return true;
}

/* -- life ------------------------------------------------------------------------------------------------------------ */

void lane_settle(struct lanes *l) {
    store_settle(l->store);
    l->row_count = 0;
}

bool lane_rows_fit(const struct lanes *l) { return l->row_count + ROWS_PER_FRAME < ROWS; }

const struct row *lane_rows(struct lanes *l, size_t *count) {
    *count = l->row_count;
    return l->rows;
}

bool lane_holding(struct lanes *l, bool udp, const uint8_t *data, size_t size, const uint16_t ports[2], bool names,
                  struct holding *holding) {
    return patterns_hold(l->patterns[udp], data, size, ports, names, holding);
}

struct lane_counts lane_counts(const struct lanes *l) {
    struct lane_counts counts = l->counts;
    counts.closes = l->closes;
    counts.steps = patterns_made(l->patterns[0]) + patterns_made(l->patterns[1]);
    return counts;
}

struct shapes *lane_shapes(struct lanes *l) { return l->shapes; }

struct patterns *const *lane_patterns(struct lanes *l) { return l->patterns; }

struct lanes *lanes_new(const struct lane_settings *settings, uint32_t capacity, const uint64_t seed[2]) {
    struct lanes *l = memory_sparse(sizeof *l);
    if (!l) return NULL;
    l->capacity = capacity;
    l->seed[0] = seed[0];
    l->seed[1] = seed[1];
    l->flows = memory_sparse(capacity * sizeof *l->flows);
    l->store = store_new(capacity);
    l->shapes = shapes_new(ROOTS, seed);
    l->readings = classify_quic_new();
    bool good = l->flows && l->store && l->shapes && l->readings;
    for (int i = 0; good && i < 2; i++) {
        memcpy(l->served[i], settings->served[i], sizeof l->served[i]);
        l->patterns[i] = patterns_new(&settings->tables[i]);
        good = l->patterns[i];
    }
    if (good) return l;
    lanes_free(l);
    return NULL;
}

void lanes_free(struct lanes *l) {
    if (!l) return;
    for (int i = 0; i < 2; i++) patterns_free(l->patterns[i]);
    classify_quic_free(l->readings);
    shapes_free(l->shapes);
    store_free(l->store);
    known_free(l->known);
    askable_free(l->askable);
    memory_free(l->flows, l->capacity * sizeof *l->flows);
    memory_free(l, sizeof *l);
}
