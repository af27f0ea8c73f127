/* TCP segments that come before the beginning of their direction: passive/late.py. They are kept aside, and judged in the
   order of the stream once the beginning is there; where it does not come they are for Python. */
#include <assert.h>

#include "classify.h"
#include "lane_state.h"
#include "table_state.h"

enum { HELD_MOST = 3 }; /* passive/late.py */

bool lane_holds(const struct lanes *l, const struct lane *lane, int direction) {
    if (!(lane->flags & LANE_LATE)) return false;
    for (uint32_t piece = lane->first; piece != STORE_NONE; piece = store_at(l->store, piece)->next)
        if (store_at(l->store, piece)->direction == (direction | STORE_HELD)) return true;
    return false;
}

/* Take what is held of a direction out of the flow's list, in the order of the stream; how many there are, 0 where some
   overlap. */
static size_t take_held(struct lanes *l, struct lane *lane, int direction, uint32_t held[HELD_MOST + 1]) {
    size_t count = 0;
    uint32_t *link = &lane->first, last = STORE_NONE;
    for (uint32_t piece = lane->first; piece != STORE_NONE; piece = *link) {
        struct stored *stored = store_at(l->store, piece);
        if (stored->direction != (direction | STORE_HELD)) {
            last = piece;
            link = &stored->next;
            continue;
        }
        *link = stored->next;
        size_t at = count++;
        assert(at <= HELD_MOST);
        for (; at && store_at(l->store, held[at - 1])->offset > stored->offset; at--) held[at] = held[at - 1];
        held[at] = piece;
    }
    lane->last = last;
    bool apart = true;
    for (size_t i = 0; i < count; i++) {
        struct stored *stored = store_at(l->store, held[i]);
        if (i) {
            const struct stored *before = store_at(l->store, held[i - 1]);
            apart = apart && stored->offset >= before->offset + before->size;
        }
        stored->next = STORE_NONE;
        if (lane->last == STORE_NONE)
            lane->first = held[i];
        else
            store_at(l->store, lane->last)->next = held[i];
        lane->last = held[i];
    }
    return apart ? count : 0;
}

/* Judge one segment that is in the list already; false where Python has to. */
static bool judge(struct table *t, uint32_t slot, struct stored *stored, uint32_t index, int direction) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    struct seen seen = {stored->data, stored->offset, stored->size, stored->wire_length, index, stored->acknowledges,
                        direction};
    struct classified what;
    if (classify(t, slot, &seen, &what) != CLASSIFIED) return false;
    uint32_t node = shapes_next(l->shapes, lane->node, what.key, what.key_size);
    uint16_t flags = node == SHAPES_NONE ? SHAPE_PYTHON : shapes_at(l->shapes, node)->flags;
    if ((flags & (SHAPE_KNOWN | SHAPE_PYTHON)) != SHAPE_KNOWN || !lane_keep_texts(l, lane, flags, &what)) return false;
    if (lane->counts[direction] < UINT8_MAX) lane->counts[direction]++;
    stored->direction = (uint8_t)direction;
    lane_advance(t, slot, node);
    return true;
}

static void judge_held(struct table *t, uint32_t slot, int direction) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    uint32_t held[HELD_MOST + 1];
    size_t count = take_held(l, lane, direction, held);
    bool good = count > 0;
    for (uint32_t i = 0; good && i < count && !(lane->flags & LANE_DONE); i++)
        good = judge(t, slot, store_at(l->store, held[i]), i, direction);
    if (!good) lane_leave(t, slot, false);
}

bool lane_late(struct table *t, uint32_t slot, const struct seen *seen) {
    struct lanes *l = t->lanes;
    struct lane *lane = &l->flows[slot];
    int direction = seen->direction;
    bool begun = lane->counts[direction] || !seen->offset, late = seen->offset && !seen->index;
    if (t->flows[slot].key.protocol != PROTOCOL_TCP || !(late || lane->flags & LANE_LATE)) return false;
    if (begun && !lane_holds(l, lane, direction)) return false;
    if (classify_entangles(t, slot, seen)) return false;
    lane->flags |= LANE_LATE;
    bool kept = !l->known && lane_keep(t, slot, seen, SHAPES_NONE, false); /* live, Python tells once of several */
    if (!kept) {
        lane_leave(t, slot, false);
        lane_emit(t, slot, seen, t->now_ns, handshake_ns(&t->flows[slot]), SHAPES_NONE);
        return true;
    }
    store_at(l->store, lane->last)->direction = (uint8_t)(direction | STORE_HELD);
    size_t count = 0;
    for (uint32_t piece = lane->first; piece != STORE_NONE; piece = store_at(l->store, piece)->next)
        count += store_at(l->store, piece)->direction == (direction | STORE_HELD);
    if (!seen->offset || count > HELD_MOST) judge_held(t, slot, direction);
    return true;
}
