/* Rows as JSON lines, with the very text that outputs/eve.py writes for the same record. */
#ifndef FLOWSONAR_LINES_H
#define FLOWSONAR_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lane.h"

/* Where a verdict's text has its holes: bytes that no JSON text has. */
enum { HOLE_LABELLED = 1, HOLE_NAME, HOLE_HELLO, HOLE_FLOW, HOLE_REST };

struct lines;

struct lines *lines_new(void);
void lines_free(struct lines *lines);

/* Keep a text with holes (once, however often it comes), from `"proto"` to before the brace that ends `flowsonar`; its number, or 0 where there
   is no memory. */
uint32_t lines_verdict(struct lines *lines, const uint8_t *text, size_t size);
uint32_t lines_verdicts(const struct lines *lines);
const char *lines_verdict_text(const struct lines *lines, uint32_t verdict, size_t *size);

/* Keep the interfaces' members (`"in_iface":"eth0",` or nothing), in place of those before. */
bool lines_interfaces(struct lines *lines, const uint8_t *const *texts, const size_t *sizes, size_t count);

/* From now on times have nanoseconds and every protocol its ports: lines that outputs/decode.py makes records of. */
void lines_whole(struct lines *lines);

/* Add lines to what is written; false where there is no memory. */
bool lines_write(struct lines *lines, const struct row *rows, size_t count);

size_t lines_size(const struct lines *lines);

/* What was written since the last call, valid until the next call of any function. */
const char *lines_take(struct lines *lines, size_t *size);

#endif
