/* Shapes of flows: what has been seen of a flow, as a path of keys from a root, and what Python said of it.

   A node is a path. Paths only grow; when there is no room for more, flows that need it go to the slow lane. */
#ifndef FLOWSONAR_SHAPES_H
#define FLOWSONAR_SHAPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHAPES_KEY_MAX = 240,
    SHAPES_NONE = 0, /* no node; roots and others are numbered from 1 */
};

/* What Python says of a node; see verdicts/lanes.py. */
enum shape_flags {
    SHAPE_KNOWN = 1 << 0,
    SHAPE_PYTHON = 1 << 1,  /* flows that get here need Python from here on */
    SHAPE_LABELS = 1 << 2,  /* the label changes here */
    SHAPE_DONE = 1 << 3,    /* nothing more is read */
    SHAPE_NAMED = 1 << 4,   /* the name that goes with the flow is what this payload gives */
    SHAPE_TOLD = 1 << 5,    /* some service is known: the port number does not matter any more */
    SHAPE_QUIET = 1 << 6,   /* two bits: what comes next in that direction is not looked at */
    SHAPE_TLS = 1 << 8,     /* what comes next is read as TLS */
    SHAPE_READ_INITIATOR = 1 << 9, /* this direction's first message is read, or given up */
    SHAPE_READ_RESPONDER = 1 << 10,
    SHAPE_IN_QUIC = 1 << 11, /* what comes next is read as QUIC */
    SHAPE_SURE = 1 << 12,    /* some service is confirmed, so that nothing begins to be QUIC */
    SHAPE_MEDIA = 1 << 13,   /* it began as calls do: media may come in it */
    SHAPE_MESSAGE = 1 << 14, /* of a call: more of this message's type adds nothing */
    SHAPE_PASSING = 1 << 15, /* true in this capture only: not kept for others */
};

struct shape {
    uint32_t parent;
    uint32_t key, key_size; /* in keys */
    uint32_t chain;         /* next with this hash */
    uint32_t verdict;       /* number of the verdict of flows that end here */
    uint16_t flags;
    bool used;              /* since the table was made */
};

struct shapes;

struct shapes *shapes_new(uint32_t roots, const uint64_t seed[2]);
void shapes_free(struct shapes *shapes);

/* 16 bytes that stand for a text in keys: nobody who does not know the seed can find another text with the same, and
   what is kept of a capture does not tell what peers said. */
void shapes_text(const struct shapes *shapes, const uint8_t *text, size_t size, uint8_t mark[16]);

/* The node that a key leads to, made where it is new; SHAPES_NONE where there is no room. */
uint32_t shapes_next(struct shapes *shapes, uint32_t from, const uint8_t *key, size_t size);

struct shape *shapes_at(struct shapes *shapes, uint32_t node);
uint32_t shapes_count(const struct shapes *shapes);
uint32_t shapes_roots(const struct shapes *shapes);
const uint8_t *shapes_key(const struct shapes *shapes, const struct shape *shape);

/* What texts are told apart by; to be changed only before there are any. */
uint64_t *shapes_text_seed(struct shapes *shapes);

#endif
