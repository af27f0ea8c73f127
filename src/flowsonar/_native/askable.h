/* The networks that may be asked (probes/scope.py), as far as the flow table has to know them. What else forbids to ask
   an endpoint is Python's to say: here is rather said yes. */
#ifndef FLOWSONAR_ASKABLE_H
#define FLOWSONAR_ASKABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ASKABLE_MAX = 256,  /* networks; every flow's endpoints are compared with all of them */
    ASKABLE_ENTRY = 18, /* address (16 bytes; of IPv4 the first four), bits of the prefix, 4 or 6 */
};

struct askable;

/* `count` entries. NULL where they are not well-formed or too many, or where there is no memory. */
struct askable *askable_new(const uint8_t *entries, size_t count);
void askable_free(struct askable *askable);

bool askable_has(const struct askable *askable, const uint8_t address[16], uint8_t version);

#endif
