/* The fast lane: flows that are followed from first packet to record without Python. verdicts/lanes.py is its other half.

   A flow in the fast lane has a node of `shapes` for what was seen of it. When something is seen whose meaning Python
   has not told yet, or that only Python can read, the flow goes to the slow lane: its events so far are reported as if
   it had always been there. */
#ifndef FLOWSONAR_LANE_H
#define FLOWSONAR_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "known.h"
#include "patterns.h"
#include "shapes.h"

struct table;

enum {
    ROWS = 512,            /* flows that ended, kept before feed returns to have them taken */
    ROWS_PER_FRAME = 9,      /* ends, and live what is told of a flow that opens and of its payloads */
    LANE_STORED_MAX = 40,  /* payloads of one flow that are kept: the budgets of both directions and a text or two */
    LANE_SHARES = 1024,    /* more workers than any machine here has cores */
    LANE_HOSTS = 4096,     /* watched hosts; beyond that every new flow takes the slow lane */
};

/* Where flows start. */
enum lane_root { ROOT_OTHER = 1, ROOT_TCP, ROOT_TCP_MIDSTREAM, ROOT_UDP, ROOT_UDP_NAMES, ROOTS_OUTSIDE = ROOT_UDP_NAMES };
enum { ROOT_INSIDE = ROOTS_OUTSIDE, /* added: in a tunnel */ ROOT_KNOWN = 2 * ROOTS_OUTSIDE + 1, ROOTS = ROOT_KNOWN };

/* A flow that ended in the fast lane, or live what is told of one before, as columns.
   Texts stay until the table is called again. */
struct row {
    uint64_t flow;
    uint64_t first_ns, last_ns;
    uint64_t packets[2], bytes[2];
    uint64_t labelled_ns; /* from the first packet to the label; LANE_NO_LABEL */
    uint64_t ordinal;     /* its place among the records of all shares */
    uint8_t initiator[16], responder[16];
    uint16_t initiator_port, responder_port;
    uint16_t vlan, interface;
    uint32_t verdict;
    uint8_t address_size, protocol, reason;
    bool midstream;
    bool early;           /* told before the flow's end: packets, bytes and reason mean nothing */
    bool learned;         /* what the responder said proves what it is, and Python does not know */
    uint16_t said_size;
    const uint8_t *said;  /* of what is learned: the responder's words, where they were the last; else NULL */
    const uint8_t *name, *hello;
    uint16_t name_size, hello_size;
    const uint8_t *outer; /* the tunnels around it, HOP_BYTES each, outermost first */
    uint8_t hops;
};

#define LANE_NO_LABEL UINT64_MAX

struct lane_settings {
    struct patterns_tables tables[2]; /* TCP, UDP */
    const uint8_t *served[2];         /* 8192 bytes each: a bit for each port that is a service's */
};

struct lanes;
struct askable;

/* NULL where there is no memory or a table is not well-formed. */
struct lanes *lanes_new(const struct lane_settings *settings, uint32_t capacity, const uint64_t seed[2]);
void lanes_free(struct lanes *lanes);

/* -- called by the table ------------------------------------------------------------------------------------------- */

/* One payload that the flow's budget lets through. */
struct seen {
    const uint8_t *data;
    uint64_t offset;
    uint32_t size, wire_length, index;
    uint32_t acknowledges; /* of TCP; 0 for none */
    int direction;
};

/* A flow opens: reported, or in the fast lane. `swapped`: its first packet came from the responder. */
void lane_opens(struct table *table, uint32_t slot, uint16_t interface, bool midstream, bool swapped);
/* A payload: reported, or dealt with. */
void lane_payload(struct table *table, uint32_t slot, const struct seen *seen);
/* A flow ends: reported, or a row. */
void lane_closes(struct table *table, uint32_t slot, int reason);
/* Before events and rows are made anew. */
void lane_settle(struct lanes *lanes);
bool lane_rows_fit(const struct lanes *lanes);

/* -- called for Python --------------------------------------------------------------------------------------------- */

const struct row *lane_rows(struct lanes *lanes, size_t *count);

/* What Python says of a node. False for a node that there is not. */
bool lane_learn(struct lanes *lanes, uint32_t node, uint16_t flags, uint32_t verdict);

/* Flows from and to a host take the slow lane from now on. Those of the last seconds that are in the fast lane leave
   it: false while there are more to be reported, see table_take. */
bool lane_watch(struct table *table, const uint8_t address[16]);

/* Only flows of one share of several are for this table, before the first packet; equal tables (seed, settings, packets)
   number their flows and records alike. Of other shares' flows those are reported that may change what is made of
   others. `slow`: no flow is for the fast lane. False where there is no such share. */
bool lane_share(struct lanes *lanes, uint32_t share, uint32_t shares, bool slow);
bool lane_shared(const struct lanes *lanes);

/* TCP flows whose bytes nobody knows need Python from now on: it knows hosts that run Skype. */
void lane_doubt(struct lanes *lanes);

/* From now on flows begin with what is known of their endpoints, and changes of labels are told of as they come; by this
   clock, in nanoseconds since the epoch. `life_s`: see known.h. False where there is no memory. */
bool lane_live(struct lanes *lanes, uint64_t clock_ns, uint32_t life_s);
/* Endpoints in these networks (see askable.h) are asked: flows that they may be asked about take the slow lane, unless
   what is known of them is sure, and connections are reported as established. Takes `askable` over. */
void lane_ask(struct lanes *lanes, struct askable *askable);
/* NULL before lane_live. */
struct known *lane_known(struct lanes *lanes);

/* See patterns_hold. */
bool lane_holding(struct lanes *lanes, bool udp, const uint8_t *data, size_t size, const uint16_t ports[2], bool names,
                  struct holding *holding);

struct lane_counts {
    uint64_t flows;     /* that ended in the fast lane */
    uint64_t left;      /* that left it */
    uint64_t no_room;   /* of these: for want of room to keep their payloads */
    uint64_t hosts_full;
    uint64_t learned;   /* shapes that Python told the meaning of, true beyond this capture */
    uint64_t lent;      /* flows of other shares that were reported */
    uint64_t closes;    /* records of all shares */
    uint64_t steps;     /* of the patterns' automata that were made */
};
struct lane_counts lane_counts(const struct lanes *lanes);

struct shapes *lane_shapes(struct lanes *lanes);
/* TCP's, UDP's. */
struct patterns *const *lane_patterns(struct lanes *lanes);

#endif
