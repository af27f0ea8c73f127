/* What Python has told of shapes, and the states of automata, as bytes: what one capture taught, the next one knows. */
#ifndef FLOWSONAR_KEPT_H
#define FLOWSONAR_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lines.h"
#include "patterns.h"
#include "shapes.h"

/* Write all that Python has told, but what was of one capture only; where it is much, what this table had use for. The
   bytes that it takes, whether `out` is NULL or not. */
size_t kept_write(struct shapes *shapes, const struct lines *lines, struct patterns *const patterns[2], uint8_t *out);

/* Take what was written, into shapes and lines that know nothing yet. False where it is not well-formed, or there is no
   memory: then some of it may have been taken, which is as good as it is. */
bool kept_read(struct shapes *shapes, struct lines *lines, struct patterns *const patterns[2], const uint8_t *data,
               size_t size);

#endif
