/* What the table is made of, for the files that make it up: table.c, tcp.c, payload.c, report.c, lane.c. */
#ifndef FLOWSONAR_TABLE_STATE_H
#define FLOWSONAR_TABLE_STATE_H

#include "decode.h"
#include "flow.h"
#include "fragments.h"
#include "index.h"
#include "lane.h"
#include "list.h"
#include "paths.h"
#include "table.h"

enum { BATCH = 16 }; /* frames decoded ahead, so that the memory they need is on its way */

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

    /* Time of the packet or call at hand, as it was given: what events carry. It may go back a little, where several
       interfaces are read or table_expire ran ahead of packets still on their way. */
    uint64_t now_ns;

    struct flow *flows;  /* settings.capacity slots */
    uint32_t size;       /* flows in the table; each is in the index and in one of the three lists */
    uint32_t half_opens; /* flows in `half_open` */
    uint32_t fresh;      /* slots below were used at least once */
    uint32_t free_slot;  /* stack of used slots that are free again; NONE when empty */
    struct list active;
    struct list half_open; /* those with STATUS_HALF_OPEN */
    struct list lingering; /* those with STATUS_LINGERS */

    struct index index;
    struct fragments fragments;
    struct paths paths;

    struct lanes *lanes; /* NULL where every flow's events are reported */

    uint64_t counters[COUNTERS];
    struct event events[EVENTS];
    size_t event_count;
    uint8_t outer[OUTER_BYTES]; /* the tunnels of opened flows that the events tell of */
    size_t outer_used;
    struct staged batch[BATCH];
    bool barrier; /* the caller has to look at the events before the next frame */
};

static inline struct list *list_of(struct table *t, const struct flow *flow) {
    if (flow->status & STATUS_HALF_OPEN) return &t->half_open;
    return flow->status & STATUS_LINGERS ? &t->lingering : &t->active;
}

/* Take a flow out of its list, with the status that put it there. */
static inline void list_leave(struct table *t, uint32_t slot) {
    struct flow *flow = &t->flows[slot];
    list_remove(t->flows, list_of(t, flow), slot);
    if (flow->status & STATUS_HALF_OPEN) t->half_opens--;
    flow->status = (uint16_t)(flow->status & ~STATUS_HALF_OPEN);
}

static inline uint64_t identifier(const struct table *t, uint32_t slot) {
    return (uint64_t)t->flows[slot].generation << 32 | slot;
}

/* -- report.c ----------------------------------------------------------------------------------------------------- */

void report_opened(struct table *t, uint32_t slot, uint16_t interface, bool midstream);
/* The tunnels of a path as events tell them, HOP_BYTES each, in the table until the next call. */
const uint8_t *report_tunnels(struct table *t, uint16_t path, uint8_t *count);
void report_established(struct table *t, uint32_t slot);
void report_closed(struct table *t, uint32_t slot, enum close_reason reason);
struct event *report_payload(struct table *t, uint32_t slot, const struct seen *seen);

/* -- tcp.c -------------------------------------------------------------------------------------------------------- */

/* Whether a SYN is the one that its direction of the flow began with. */
bool tcp_same_start(const struct flow *flow, bool from_high, const struct packet *packet);
void tcp_open(struct table *t, struct flow *flow, int direction, const struct packet *packet);
void tcp_establish(struct table *t, uint32_t slot, int direction, const struct packet *packet);
void tcp_close(struct table *t, uint32_t slot, int direction, const struct packet *packet);

/* -- payload.c ---------------------------------------------------------------------------------------------------- */

bool starts_followed(const struct table_settings *settings, const uint8_t *data, uint32_t size);
/* Whether the flow's budget lets a payload of this direction through. */
bool wants_payload(const struct table *t, uint32_t slot, int direction);
void count_payload(struct table *t, uint32_t slot, int direction, const struct packet *packet);

#endif
