/* What the fast lane keeps, for the files that make it up: lane.c, classify.c. */
#ifndef FLOWSONAR_LANE_STATE_H
#define FLOWSONAR_LANE_STATE_H

#include <assert.h>

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
};

/* Beside each flow of the table. */
struct lane {
    uint64_t labelled_ns; /* from the first packet */
    uint32_t node;
    uint32_t first, last; /* payloads in the store, where they are still of use; a list */
    uint32_t name, hello; /* texts in the store */
    uint16_t flags;
    uint8_t counts[2]; /* payloads per direction, padding left out */
    uint32_t stored : 8;
    uint32_t unused : 24;
};
static_assert(sizeof(struct lane) == 40, "as docs/benchmarks.md tells");

enum { JOINED_MAX = 256 + STORE_DATA_MAX };

struct lanes {
    struct lane *flows; /* by slot of the table */
    struct store *store;
    struct shapes *shapes;
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

#endif
