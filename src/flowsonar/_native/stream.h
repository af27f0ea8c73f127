/* One direction of a TCP stream. flows/_reference_stream.py is the specification. */
#ifndef FLOWSONAR_STREAM_H
#define FLOWSONAR_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"

/* The byte with this sequence number is number 0. */
void stream_start(struct flow *flow, int direction, uint32_t sequence);

/* Whether a segment brings new bytes; `*offset` is then where they stand in the stream. `*lost` is counted up when the
   stream lost its place. */
bool stream_segment(struct flow *flow, int direction, uint32_t sequence, uint32_t length, int64_t *offset,
                    uint64_t *lost);

#endif
