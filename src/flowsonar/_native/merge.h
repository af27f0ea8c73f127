/* Lines of several sources, each in the order of its keys, put into one order. */
#ifndef FLOWSONAR_MERGE_H
#define FLOWSONAR_MERGE_H

#include <stddef.h>
#include <stdint.h>

enum { MERGE_PARTS = 256 };

struct merge_part {
    const uint8_t *text; /* lines with their ends */
    size_t size;
    const uint8_t *keys; /* of each line, 64 bits in the machine's order, rising */
    size_t count;
    size_t lines, bytes; /* out: what of it is up to the bound */
};

/* Say how much of each part is up to the bound; the bytes of all. */
size_t merge_measure(struct merge_part *parts, size_t count, uint64_t bound);

/* Write what was measured. */
void merge_write(const struct merge_part *parts, size_t count, uint8_t *out);

#endif
