/* What the fast lane keeps, for the files that make it up: lane.c, classify.c. */
#ifndef FLOWSONAR_LANE_STATE_H
#define FLOWSONAR_LANE_STATE_H

#include <assert.h>

#include "askable.h"
#include "lane.h"
#include "store.h"
#include "tls.h"

/* Bits of lane.flags. */
enum {
    LANE_FAST = 1 << 0,      /* nothing was reported of the flow; excludes TRACKED */
    LANE_TRACKED = 1 << 1,   /* it left, and Python tells what its node means */
    LANE_DONE = 1 << 2,      /* its payloads are not looked at any more */
    LANE_LABELLED = 1 << 3,  /* labelled_ns means something */
    LANE_MIDSTREAM = 1 << 4,
    LANE_SWAPPED = 1 << 5,   /* its first packet came from the responder */
    LANE_ENTANGLED = 1 << 6, /* what Python makes of it changes what it makes of others: it looks at once */
    LANE_FOREIGN = 1 << 7,   /* another share's, and nothing was reported of it; excludes all others but the next two */
    LANE_SETTLED = 1 << 9,   /* told by its own bytes, of which nothing is kept: it stays in the fast lane */
    LANE_LENT = 1 << 8,      /* another share's, reported because it may change what is made of others */
    LANE_ASKED = 1 << 11,    /* live: Python is to follow it as soon as its label is not sure, for it may be asked about */
    LANE_SURE = 1 << 12,     /* live: its label leaves nothing to ask */
    LANE_LATE = 1 << 10,     /* of TCP: the beginning of a direction came after what follows it */
};

/* Beside each flow of the table. */
struct lane {
    uint64_t labelled_ns; /* from the first packet */
    uint32_t node;
    uint32_t first, last; /* payloads in the store, where they are still of use; a list */
    uint32_t name, hello; /* texts in the store */
    uint16_t flags;
    uint8_t counts[2]; /* payloads per direction, padding left out */
    uint32_t known : 16; /* live: what was known of an endpoint as the flow opened */
    uint32_t view : 2;   /* enum known_view */
    uint32_t told : 6;   /* times that it was told of before its end, the last number for more */
    uint32_t stored : 8;
};
static_assert(sizeof(struct lane) == 40, "as docs/benchmarks.md tells");

/* A row of a flow, as it stands: what the flow is, its texts and times but the last. */
struct row *lane_row(struct table *table, uint32_t slot, uint32_t verdict, uint16_t interface);

enum { JOINED_MAX = 256 + STORE_DATA_MAX };

struct lanes {
    struct lane *flows; /* by slot of the table */
    struct store *store;
    struct shapes *shapes;
    struct known *known; /* live, else NULL */
    struct askable *askable; /* live, NULL where nobody is asked */
    uint64_t clock_ns;   /* live: the caller's, when this call began */
    struct patterns *patterns[2]; /* TCP, UDP */
    uint8_t served[2][8192];
    uint64_t seed[2];
    uint32_t capacity;
    bool doubt;
    bool slow;              /* all flows take the slow lane */
    uint32_t share, shares; /* flows are shared out by their keys' hash, see lane_share */
    uint64_t closes;        /* records of all shares */
    uint32_t host_count; /* more than LANE_HOSTS: all are watched */
    bool host_used[2 * LANE_HOSTS];
    uint8_t hosts[2 * LANE_HOSTS][16];
    uint8_t joined[JOINED_MAX]; /* the first payload and a later one */
    uint8_t text[STORE_DATA_MAX]; /* of a hello */
    uint8_t gathered[4 * STORE_DATA_MAX];
    struct tls_hello hello;
    struct quic_readings *readings;
    struct lane_counts counts;
    size_t row_count;
    struct row rows[ROWS];
};

struct classified;

/* -- lane.c -- */

/* Go on to a node that Python has told the meaning of. */
void lane_advance(struct table *table, uint32_t slot, uint32_t node);

/* -- lane_kept.c -- */

/* Keep a payload for those after it, and for the slow lane; of one that nobody looks at, enough to be counted. False
   where there is no room. */
bool lane_keep(struct table *table, uint32_t slot, const struct seen *seen, uint32_t node, bool quiet);
/* Keep the texts that go with the flow from a payload on which leads to a node with these flags. */
bool lane_keep_texts(struct lanes *lanes, struct lane *lane, uint16_t flags, const struct classified *what);
void lane_forget_payloads(struct lanes *lanes, struct lane *lane);
void lane_forget_texts(struct lanes *lanes, struct lane *lane);
void lane_emit(struct table *table, uint32_t slot, const struct seen *seen, uint64_t time_ns, uint64_t handshake,
               uint32_t node);
/* Report what was seen of a flow as if it had always been in the slow lane. What is kept of it stays until the end of
   the call; `tracked` flows keep it longer. */
void lane_leave(struct table *table, uint32_t slot, bool tracked);

/* -- lane_late.c -- */

/* Whether a payload of a flow in the fast lane was dealt with, because the beginning of its direction is missing. */
bool lane_late(struct table *table, uint32_t slot, const struct seen *seen);
/* Whether something of a direction waits for its beginning. */
bool lane_holds(const struct lanes *lanes, const struct lane *lane, int direction);

#endif
