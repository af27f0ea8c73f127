#include "merge.h"

#include <assert.h>
#include <string.h>

static uint64_t key_at(const struct merge_part *part, size_t line) {
    uint64_t key;
    memcpy(&key, part->keys + line * sizeof key, sizeof key);
    return key;
}

/* Bytes of the line that begins at a place; 0 where it has no end. */
static size_t line_size(const struct merge_part *part, size_t at) {
    if (at >= part->size) return 0;
    const uint8_t *end = memchr(part->text + at, '\n', part->size - at);
    return end ? (size_t)(end - part->text) + 1 - at : 0;
}

size_t merge_measure(struct merge_part *parts, size_t count, uint64_t bound) {
    size_t all = 0;
    for (size_t i = 0; i < count; i++) {
        struct merge_part *part = &parts[i];
        part->lines = part->bytes = 0;
        while (part->lines < part->count && key_at(part, part->lines) <= bound) {
            size_t size = line_size(part, part->bytes);
            if (!size) break;
            part->bytes += size;
            part->lines++;
        }
        all += part->bytes;
    }
    return all;
}

void merge_write(const struct merge_part *parts, size_t count, uint8_t *out) {
    size_t line[MERGE_PARTS] = {0}, at[MERGE_PARTS] = {0};
    assert(count <= MERGE_PARTS);
    for (;;) {
        size_t next = count;
        uint64_t least = UINT64_MAX;
        for (size_t i = 0; i < count; i++) {
            if (line[i] == parts[i].lines) continue;
            uint64_t key = key_at(&parts[i], line[i]);
            if (next < count && key >= least) continue;
            least = key;
            next = i;
        }
        if (next == count) return;
        size_t size = line_size(&parts[next], at[next]);
        memcpy(out, parts[next].text + at[next], size);
        out += size;
        at[next] += size;
        line[next]++;
    }
}
