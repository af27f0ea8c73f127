/* Datagrams that count, as media and tunnels do: what passive/rtp.py and passive/counted.py make of them, as a key.

   What those tell depends only on how each datagram follows the ones before it. That is worked out anew for each from
   the flow's payloads in the store, which are ten at most. */
#include <string.h>

#include "bytes.h"
#include "classify.h"
#include "lane_state.h"
#include "table_state.h"

enum {
    LOST_MAX = 8,        /* passive/rtp.py */
    TIME_MAX = 1 << 20,
    COUNTED_LOST = 64,   /* passive/counted.py */
    REPORTS_MAX = 31,
    NAT_TRAVERSAL = 4500,
    ESP_LEAST = 256,
    SENDER = 200,      /* protocols/rtp.py: types of control packets */
    DESCRIPTION = 202,
    DAY_S = 86400,
};

#define SINCE_1900_S INT64_C(2208988800)

/* How a datagram follows. */
enum outcome {
    OUT_FIRST = 1, OUT_STEP, OUT_AGAIN, OUT_BROKEN, OUT_MALFORMED, OUT_CONTROL, OUT_CONTROL_OTHER,
    COUNT_OTHER, COUNT_FIRST, COUNT_STEP, COUNT_BROKEN,
};

enum counting { COUNTS_NOT, COUNTS_MEDIA, COUNTS_WIREGUARD, COUNTS_ESP };

struct media {
    bool marker;
    uint8_t kind;
    uint16_t sequence;
    uint32_t timestamp, source;
};

/* What one side sent. */
struct side {
    struct media last;
    bool has_last, has_control, has_index;
    bool named; /* its last control packet brought its source's name, the time of day, or SRTCP's trailer */
    uint8_t report_count;
    uint32_t control; /* source of its control packets */
    uint32_t reports[REPORTS_MAX];
    uint32_t index; /* of a tunnel */
    uint64_t number;
};

struct sequence {
    enum counting kind;
    struct side sides[2];
};

struct datagram {
    uint64_t time_ns;
    const uint8_t *data;
    uint32_t size, wire_length;
    int direction;
};

/* -- media: RFC 3550 ----------------------------------------------------------------------------------------------- */

static bool is_control_type(uint8_t type) { return type >= 192 && type < 214; }

static bool read_media(const struct datagram *d, struct media *media) {
    const uint8_t *data = d->data;
    if (d->size < 12 || (data[0] & 0xc0) != 0x80) return false;
    media->kind = data[1] & 0x7f;
    media->marker = data[1] >= 0x80;
    if (media->kind >= 35 && media->kind < 96) return false;
    size_t end = 12 + 4 * (size_t)(data[0] & 15);
    if (data[0] & 0x10) {
        if (d->size < end + 4) return false;
        end += 4 + 4 * (size_t)be16(data + end + 2);
    }
    if (d->size < end) return false;
    media->sequence = be16(data + 2);
    media->timestamp = be32(data + 4);
    media->source = be32(data + 8);
    return true;
}

static size_t control_size(const uint8_t *data) { return 4 * ((size_t)be16(data + 2) + 1); }

/* Whether a sender's report has the time of day (RFC 3550 section 6.4.1). */
static bool is_now(uint32_t clock_s, uint64_t time_ns) {
    int64_t now_s = (int64_t)(time_ns / UINT64_C(1000000000)) + SINCE_1900_S;
    int64_t apart_s = (int64_t)clock_s - now_s;
    return apart_s > -DAY_S && apart_s < DAY_S;
}

/* Whether a report's own length is right, and SRTCP's trailer says that the rest is enciphered (RFC 3711 section 3.4). */
static bool is_sealed(const struct datagram *d, size_t first) {
    static const size_t trailers[] = {14, 4}; /* a tag of 80 bits stands behind it, or before it (RFC 7714) */
    const uint8_t *data = d->data;
    size_t words = data[1] == SENDER ? 6 : 1;
    if (data[1] != SENDER && data[1] != SENDER + 1) return false;
    if (d->size != d->wire_length || first != 4 * (1 + words + 6 * (size_t)(data[0] & 0x1f))) return false;
    for (size_t i = 0; i < sizeof trailers / sizeof *trailers; i++) {
        if (d->size < first + trailers[i]) continue;
        const uint8_t *trailer = data + d->size - trailers[i];
        if (trailer[0] == 0x80 && !trailer[1]) return true;
    }
    return false;
}

/* Sets the side's source and reports; false where it is no control packet. */
static bool read_control(const struct datagram *d, struct side *side, enum outcome *outcome) {
    const uint8_t *data = d->data;
    size_t size = d->size, whole = d->wire_length;
    if (size < 8 || (data[0] & 0xc0) != 0x80 || !is_control_type(data[1])) return false;
    size_t first = control_size(data), at = first;
    bool named = false;
    if (first < 8 || first > whole) return false;
    for (int i = 0; i < 32; i++) {
        if (at + 4 > size || (data[at] & 0xc0) != 0x80 || !is_control_type(data[at + 1])) break;
        bool describes = data[at + 1] == DESCRIPTION && size >= at + 9 && memcmp(data + at + 4, data + 4, 4) == 0;
        named = named || (describes && data[at + 8] == 1);
        at += control_size(data + at);
        if (at > whole) return false;
    }
    size_t start = data[1] == 200 ? 28 : data[1] == 201 ? 8 : size, end = first < size ? first : size;
    size_t reports = end > start ? (end - start) / 24 : 0;
    if (reports > (data[0] & 0x1fu)) reports = data[0] & 0x1f;
    uint32_t source = be32(data + 4);
    *outcome = side->has_control && side->control != source ? OUT_CONTROL_OTHER : OUT_CONTROL;
    side->has_control = true;
    side->control = source;
    side->report_count = (uint8_t)reports;
    side->named = (named && at == whole && (data[1] == SENDER || data[1] == SENDER + 1)) ||
                  (data[1] == SENDER && at == whole && size >= 28 && is_now(be32(data + 8), d->time_ns)) ||
                  is_sealed(d, first);
    for (size_t i = 0; i < reports; i++) side->reports[i] = be32(data + start + 24 * i);
    return true;
}

static bool speaks_of(const struct side *side, const struct side *other) {
    for (uint8_t i = 0; other->has_control && i < side->report_count; i++)
        if (side->reports[i] == other->control) return true;
    return false;
}

static enum outcome feed_media(struct side *side, const struct datagram *d) {
    enum outcome outcome;
    struct media media, before = side->last;
    side->named = false;
    if (read_control(d, side, &outcome)) return outcome;
    bool had = side->has_last;
    side->has_last = read_media(d, &media);
    if (!side->has_last) return OUT_MALFORMED;
    side->last = media;
    if (!had) return OUT_FIRST;
    uint16_t step = (uint16_t)(media.sequence - before.sequence);
    bool stands = media.timestamp == before.timestamp, marks = media.marker && before.marker;
    if (media.source == before.source && step && step <= LOST_MAX &&
        media.timestamp - before.timestamp <= TIME_MAX && !(stands && marks))
        return OUT_STEP;
    bool same = media.source == before.source && !step && stands && media.marker == before.marker;
    return same && media.kind == before.kind ? OUT_AGAIN : OUT_BROKEN;
}

/* -- tunnels ------------------------------------------------------------------------------------------------------- */

static enum outcome feed_counted(enum counting kind, struct side *side, const struct datagram *d) {
    const uint8_t *data = d->data;
    bool wireguard = kind == COUNTS_WIREGUARD;
    if (d->size < 16 || (wireguard && be32(data) != 0x04000000)) return COUNT_OTHER;
    uint32_t index = be32(data + (wireguard ? 4 : 0));
    uint64_t number = wireguard ? le64(data + 8) : be32(data + 4), before = side->number;
    bool had = side->has_index, same = had && side->index == index;
    side->has_index = true;
    side->index = index;
    side->number = number;
    if (same && number > before && number - before <= COUNTED_LOST) return COUNT_STEP;
    return had ? COUNT_BROKEN : COUNT_FIRST;
}

/* -- both ---------------------------------------------------------------------------------------------------------- */

static bool is_media_port(uint16_t port) {
    return port >= 1024 && port != NAT_TRAVERSAL && port != 4569 && port != 5353 && port != 5355 && port != 9600 && port != 30303;
}

static enum counting counting_of(const struct key *key, const uint8_t *data, size_t size) {
    if (size >= 8 && (data[0] & 0xc0) == 0x80 && is_media_port(key->low_port) && is_media_port(key->high_port))
        return COUNTS_MEDIA;
    if (size >= 4 && be32(data) == 0x04000000) return size >= 32 && !be32(data + 12) ? COUNTS_WIREGUARD : COUNTS_NOT;
    bool nat = key->low_port == NAT_TRAVERSAL || key->high_port == NAT_TRAVERSAL;
    return nat && size >= 24 && be32(data) >= ESP_LEAST ? COUNTS_ESP : COUNTS_NOT;
}

static enum outcome feed(struct sequence *s, const struct key *key, const struct datagram *d) {
    if (s->kind == COUNTS_NOT) s->kind = counting_of(key, d->data, d->size);
    switch (s->kind) {
    case COUNTS_NOT: return 0;
    case COUNTS_MEDIA: return feed_media(&s->sides[d->direction], d);
    default: return feed_counted(s->kind, &s->sides[d->direction], d);
    }
}

bool classify_sequence(const struct table *t, uint32_t slot, const struct seen *seen, struct classified *what) {
    const struct lanes *l = t->lanes;
    const struct key *key = &t->flows[slot].key;
    struct sequence s;
    s.kind = COUNTS_NOT;
    memset(&s.sides, 0, sizeof s.sides);
    for (uint32_t piece = l->flows[slot].first; piece != STORE_NONE;) {
        const struct stored *stored = store_at(l->store, piece);
        feed(&s, key, &(struct datagram){stored->time_ns, stored->data, stored->size, stored->wire_length,
                                         stored->direction});
        piece = stored->next;
    }
    what->in_sequence = s.kind != COUNTS_NOT;
    const struct side *side = &s.sides[seen->direction];
    enum outcome outcome = feed(&s, key, &(struct datagram){t->now_ns, seen->data, seen->size, seen->wire_length,
                                                            seen->direction});
    if (s.kind == COUNTS_NOT) return true;
    what->key[0] |= CLASSIFY_KEY_SEQUENCE;
    bool agree = speaks_of(&s.sides[0], &s.sides[1]) || speaks_of(&s.sides[1], &s.sides[0]);
    uint8_t facts[2] = {(uint8_t)((unsigned)outcome | (unsigned)side->named << 6 | (unsigned)agree << 7),
                        s.kind == COUNTS_MEDIA ? side->last.kind : (uint8_t)s.kind};
    return classify_add(what, facts, sizeof facts);
}
