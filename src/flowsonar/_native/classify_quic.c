/* QUIC in the fast lane: what passive/quic.py makes of a datagram, as a key.

   A reading is large, and most flows that need one need it for a few datagrams: a few are kept, and one that is gone is
   made again of the payloads in the store. */
#include "classify.h"
#include "lane_state.h"
#include "memory.h"
#include "quic_reading.h"
#include "table_state.h"

enum { READINGS = 64, KEY_QUIC = 1 /* a key's second byte */ };

struct kept_reading {
    uint64_t flow;
    uint32_t fed; /* payloads of the flow's */
    bool began;   /* one of them was of QUIC */
    struct quic_reading reading;
};

struct quic_readings {
    struct quic_facts facts;
    struct kept_reading kept[READINGS]; /* by the flow's slot */
};

struct quic_readings *classify_quic_new(void) { return memory_sparse(sizeof(struct quic_readings)); }

void classify_quic_free(struct quic_readings *readings) { memory_free(readings, sizeof *readings); }

/* Until something in it is of QUIC, each datagram that may be begins anew. */
static void feed(struct lanes *l, struct kept_reading *kept, int direction, const uint8_t *data, size_t size) {
    struct quic_facts *facts = &l->readings->facts;
    if (!kept->began) quic_reading_begin(&kept->reading);
    quic_reading_feed(&kept->reading, direction, data, size, &l->hello, facts);
    kept->began = kept->began || facts->size;
}

static void replay(struct lanes *l, const struct lane *lane, struct kept_reading *kept) {
    kept->began = false;
    kept->fed = 0;
    for (uint32_t piece = lane->first; piece != STORE_NONE; kept->fed++) {
        const struct stored *stored = store_at(l->store, piece);
        if (kept->began || quic_reading_starts(stored->data, stored->size))
            feed(l, kept, stored->direction, stored->data, stored->size);
        piece = stored->next;
    }
}

enum classify_result classify_quic(struct table *t, uint32_t slot, const struct seen *seen, struct classified *what,
                                   bool *is_quic) {
    struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    struct kept_reading *kept = &l->readings->kept[slot % READINGS];
    const struct quic_facts *facts = &l->readings->facts;
    uint16_t flags = shapes_at(l->shapes, lane->node)->flags;
    bool began = flags & SHAPE_IN_QUIC;
    *is_quic = false;
    if (!began && (flags & SHAPE_SURE || !quic_reading_starts(seen->data, seen->size))) return CLASSIFIED;
    if (what->in_sequence || (!lane->counts[seen->direction] && classify_is_echo(l, lane, seen))) return CLASSIFY_PYTHON;
    if (kept->flow != identifier(t, slot) || kept->fed != lane->stored) replay(l, lane, kept);
    if (kept->began != began || kept->fed != lane->stored) return CLASSIFY_PYTHON; /* what is stored does not tell */
    feed(l, kept, seen->direction, seen->data, seen->size);
    kept->flow = identifier(t, slot);
    kept->fed = lane->stored + 1u;
    if (facts->full) return CLASSIFY_PYTHON;
    if (!kept->began) return CLASSIFIED;
    *is_quic = true;
    what->key[1] = KEY_QUIC;
    if (facts->text_size) {
        what->hello = facts->text;
        what->hello_size = facts->text_size;
    }
    what->name = facts->name;
    what->name_size = facts->name_size;
    return classify_add(what, facts->facts, facts->size) ? CLASSIFIED : CLASSIFY_PYTHON;
}
