#include "kept.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"

/* u32 mark, u32 verdicts, u32 nodes, 16 bytes seed of texts; verdicts: u32 size, text; nodes, parents first: u32 parent
   (roots from 1, then the nodes here), u32 verdict (from 1, 0 for none), u16 flags, u16 size of the key, key; u32 size, automata over TCP;
   automata over UDP. */
enum {
    MARK = 0x324b5346, /* FSK2 */
    HEAD = 28,
    NODE = 12,
    MANY = 1 << 14, /* nodes; beyond that only those that were of use are kept: a quarter of the room */
};

/* -- writing ------------------------------------------------------------------------------------------------------- */

struct writer {
    uint8_t *out; /* NULL: only count */
    size_t size;
};

static void write(struct writer *w, const void *data, size_t size) {
    if (w->out && size) memcpy(w->out + w->size, data, size);
    w->size += size;
}

static void write32(struct writer *w, uint32_t value) {
    uint8_t bytes[4];
    put_le32(bytes, value);
    write(w, bytes, sizeof bytes);
}

/* The new numbers of nodes and verdicts, 0 for those that stay behind. */
struct numbers {
    uint32_t *nodes, *verdicts;
    uint32_t node_count, verdict_count;
};

static void choose(struct shapes *shapes, struct numbers *numbers, bool used_only) {
    uint32_t roots = shapes_roots(shapes);
    for (uint32_t at = 1; at <= roots; at++) numbers->nodes[at] = at;
    for (uint32_t at = roots + 1; at <= shapes_count(shapes); at++) {
        const struct shape *shape = shapes_at(shapes, at);
        bool told = shape->flags && !(shape->flags & SHAPE_PASSING);
        if (!told || !numbers->nodes[shape->parent] || (used_only && !shape->used)) continue;
        numbers->nodes[at] = roots + ++numbers->node_count;
        if (shape->verdict && !numbers->verdicts[shape->verdict]) numbers->verdicts[shape->verdict] = ++numbers->verdict_count;
    }
}

static void write_all(struct writer *w, struct shapes *shapes, const struct lines *lines, const struct numbers *numbers,
                      uint32_t *order) {
    uint8_t seed[16];
    for (int i = 0; i < 2; i++) put_le64(seed + 8 * i, shapes_text_seed(shapes)[i]);
    write32(w, MARK);
    write32(w, numbers->verdict_count);
    write32(w, numbers->node_count);
    write(w, seed, sizeof seed);
    for (uint32_t at = 1; at <= lines_verdicts(lines); at++)
        if (numbers->verdicts[at]) order[numbers->verdicts[at] - 1] = at;
    for (uint32_t i = 0; i < numbers->verdict_count; i++) {
        size_t size;
        const char *text = lines_verdict_text(lines, order[i], &size);
        write32(w, (uint32_t)size);
        write(w, text, size);
    }
    for (uint32_t at = shapes_roots(shapes) + 1; at <= shapes_count(shapes); at++) {
        const struct shape *shape = shapes_at(shapes, at);
        if (!numbers->nodes[at]) continue;
        write32(w, numbers->nodes[shape->parent]);
        write32(w, numbers->verdicts[shape->verdict]);
        write32(w, shape->flags | shape->key_size << 16);
        write(w, shapes_key(shapes, shape), shape->key_size);
    }
}

static void write_patterns(struct writer *w, struct patterns *const patterns[2]) {
    for (int i = 0; i < 2; i++) {
        size_t size = patterns_keep(patterns[i], w->out ? w->out + w->size + 4 : NULL);
        write32(w, (uint32_t)size);
        w->size += size;
    }
}

size_t kept_write(struct shapes *shapes, const struct lines *lines, struct patterns *const patterns[2], uint8_t *out) {
    uint32_t nodes = shapes_count(shapes) + 1, verdicts = lines_verdicts(lines) + 1;
    uint32_t *room = calloc((size_t)nodes + 2 * (size_t)verdicts, sizeof *room);
    struct writer w = {.out = out};
    if (!room) return 0;
    struct numbers numbers = {.nodes = room, .verdicts = room + nodes};
    choose(shapes, &numbers, nodes > MANY);
    write_all(&w, shapes, lines, &numbers, room + nodes + verdicts);
    write_patterns(&w, patterns);
    free(room);
    return w.size;
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *data;
    size_t left;
};

static const uint8_t *take(struct reader *r, size_t size) {
    if (size > r->left) return NULL;
    const uint8_t *taken = r->data;
    r->data += size;
    r->left -= size;
    return taken;
}

static bool read_verdicts(struct reader *r, struct lines *lines, uint32_t count, uint32_t *numbers) {
    for (uint32_t i = 1; i <= count; i++) {
        const uint8_t *size = take(r, 4), *text = size ? take(r, le32(size)) : NULL;
        if (!text) return false;
        numbers[i] = lines_verdict(lines, text, le32(size));
        if (!numbers[i]) return false;
    }
    return true;
}

static bool read_nodes(struct reader *r, struct shapes *shapes, uint32_t count, const uint32_t *verdicts,
                       uint32_t verdict_count) {
    uint32_t roots = shapes_roots(shapes);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *head = take(r, NODE);
        if (!head) return false;
        uint32_t parent = le32(head), verdict = le32(head + 4), size = le16(head + 10);
        const uint8_t *key = take(r, size);
        if (!key || !parent || parent > roots + i || size > SHAPES_KEY_MAX || verdict > verdict_count) return false;
        uint32_t node = shapes_next(shapes, parent, key, size);
        if (node != roots + 1 + i) return false; /* no room, or it came twice */
        struct shape *shape = shapes_at(shapes, node);
        shape->flags = le16(head + 8);
        shape->verdict = verdicts[verdict];
        shape->used = false;
    }
    return true;
}

static bool read_patterns(struct reader *r, struct patterns *const patterns[2]) {
    for (int i = 0; i < 2; i++) {
        const uint8_t *size = take(r, 4), *kept = size ? take(r, le32(size)) : NULL;
        if (!kept || !patterns_recall(patterns[i], kept, le32(size))) return false;
    }
    return true;
}

bool kept_read(struct shapes *shapes, struct lines *lines, struct patterns *const patterns[2], const uint8_t *data,
               size_t size) {
    struct reader r = {data, size};
    const uint8_t *head = take(&r, HEAD);
    if (!head || le32(head) != MARK || shapes_count(shapes) != shapes_roots(shapes)) return false;
    uint32_t verdict_count = le32(head + 4);
    if (verdict_count > r.left / 4) return false;
    uint32_t *verdicts = calloc((size_t)verdict_count + 1, sizeof *verdicts);
    if (!verdicts) return false;
    for (int i = 0; i < 2; i++) shapes_text_seed(shapes)[i] = le64(head + 12 + 8 * i);
    bool good = read_verdicts(&r, lines, verdict_count, verdicts) &&
                read_nodes(&r, shapes, le32(head + 8), verdicts, verdict_count) && read_patterns(&r, patterns);
    free(verdicts);
    return good;
}
