/* Community ID, version 1, seed 0. protocols/community.py is the specification. */
#ifndef FLOWSONAR_COMMUNITY_H
#define FLOWSONAR_COMMUNITY_H

#include <stdbool.h>
#include <stdint.h>

enum { COMMUNITY_SIZE = 30 };

struct community_flow {
    const uint8_t *source, *destination; /* `address_size` bytes each */
    uint16_t source_port, destination_port;
    uint8_t address_size, protocol;
};

/* False for protocols whose number records do not keep; they have none. */
bool community_id(const struct community_flow *flow, char text[COMMUNITY_SIZE]);

#endif
