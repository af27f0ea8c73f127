/* Endpoints that are known from before, for live flows: what the verdict store believes (verdicts/store.py), by number.
   app/known.py fills it. */
#ifndef FLOWSONAR_KNOWN_H
#define FLOWSONAR_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KNOWN_NONE = 0,
    KNOWN_MAX = 0xfffe,    /* kinds of knowledge, numbered from 1 */
    KNOWN_UNSURE = 0xffff, /* only Python can say what is known */
    KNOWN_MARK = 16,
    KNOWN_VIEWS = 3,
};

/* On which side of a flow the endpoint is that is known; verdicts/inherited.py lowers what the last one says. */
enum known_view { VIEW_RESPONDER, VIEW_INITIATOR_MIDSTREAM, VIEW_INITIATOR };

struct known_endpoint {
    uint8_t address[16]; /* IPv4: the first four bytes, then zeros */
    uint16_t port;
    uint8_t protocol;
    uint8_t version; /* 4 or 6 */
};

/* One kind of knowledge: what flows inherit. */
struct known_kind {
    uint8_t mark[KNOWN_MARK];       /* stands for it in paths, whatever its number is in another run */
    uint32_t verdicts[KNOWN_VIEWS]; /* of `lines`: what is told of a flow that begins with it, 0 for nothing */
};

struct known;

/* NULL where there is no memory. `life_s`: how long is believed what a responder has said by itself. */
struct known *known_new(const uint64_t seed[2], uint32_t life_s);
void known_free(struct known *known);

/* The number of a kind from now on; KNOWN_UNSURE where there are too many, KNOWN_NONE where there is no memory. */
uint32_t known_add(struct known *known, const struct known_kind *kind);
/* NULL for a number that is none. */
const struct known_kind *known_kind(const struct known *known, uint32_t number);

/* An endpoint is of this kind from now on, KNOWN_NONE for no kind, until a time. Before `renew_s` nothing new is
   learned of it where it says the same again. Times in seconds since the epoch. */
void known_put(struct known *known, const struct known_endpoint *endpoint, uint32_t number, uint32_t until_s,
               uint32_t renew_s);
uint32_t known_find(const struct known *known, const struct known_endpoint *endpoint, uint32_t now_s);

/* An endpoint is not asked until a time, whatever it is. Forgotten by known_put, and where there is no room. */
void known_leave(struct known *known, const struct known_endpoint *endpoint, uint32_t until_s);
bool known_is_left(const struct known *known, const struct known_endpoint *endpoint, uint32_t now_s);

/* Flows that come to a verdict (its number in `lines`) prove their responder to be of a kind. False where there is no
   memory. */
bool known_teach(struct known *known, uint32_t verdict, uint32_t number);
/* Nobody is asked about a flow that this verdict was told of: it says for sure what there is to say. False where there is
   no memory. */
bool known_settle(struct known *known, uint32_t verdict);
bool known_settles(const struct known *known, uint32_t verdict);
/* A responder has proven what it is by a verdict; whether that is news for Python. */
bool known_hear(struct known *known, const struct known_endpoint *responder, uint32_t verdict, uint32_t now_s);

#endif
