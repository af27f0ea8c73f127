#include "datagrams.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 65535 };

struct run {
    uint16_t begin;
    uint16_t end;
};

/* Places count from the end of the IP header, or of IPv6's fragment header. */
struct whole {
    uint64_t since;
    uint64_t flow;
    uint32_t entry;
    uint32_t sequence;
    uint16_t older; /* in the list; of a free one: the next free one */
    uint16_t newer;
    uint16_t total;  /* 0 while the last fragment was not seen */
    uint16_t header; /* bytes before the payload */
    uint16_t told;   /* bytes of payload that a UDP header tells of; 0 where none does */
    uint8_t direction;
    uint8_t protocol;
    uint8_t flags;
    uint8_t runs_count;
    bool named;                          /* the first fragment was seen */
    struct run runs[DATAGRAM_PIECES + 1]; /* sorted, with gaps between them */
    uint8_t data[DATAGRAM_KEPT];
};

bool datagrams_new(struct datagrams *d) {
    memset(d, 0, sizeof *d);
    d->wholes = calloc(DATAGRAMS, sizeof *d->wholes);
    d->joined = calloc(JOINED, sizeof *d->joined);
    d->oldest = d->newest = DATAGRAM_NONE;
    if (!d->wholes || !d->joined) return false;
    for (uint16_t i = 0; i < DATAGRAMS; i++) d->wholes[i].older = i + 1 < DATAGRAMS ? (uint16_t)(i + 1) : DATAGRAM_NONE;
    return true;
}

void datagrams_free(struct datagrams *d) {
    free(d->wholes);
    free(d->joined);
}

size_t datagrams_memory(void) { return DATAGRAMS * sizeof(struct whole) + JOINED * sizeof(struct joined); }

void datagrams_settle(struct datagrams *d) { d->joined_count = d->joined_told = 0; }

bool datagrams_fit(const struct datagrams *d) { return d->joined_count + JOINED_PER_FRAME <= JOINED; }

uint16_t datagrams_begin(struct datagrams *d, uint32_t entry, uint64_t clock) {
    uint16_t at = d->free;
    assert(at != DATAGRAM_NONE && d->count < DATAGRAMS);
    struct whole *whole = &d->wholes[at];
    d->free = whole->older;
    memset(whole, 0, sizeof *whole);
    whole->entry = entry;
    whole->since = clock;
    whole->older = d->newest;
    whole->newer = DATAGRAM_NONE;
    if (d->newest != DATAGRAM_NONE)
        d->wholes[d->newest].newer = at;
    else
        d->oldest = at;
    d->newest = at;
    d->count++;
    return at;
}

bool datagrams_begins_with(const struct packet *packet) {
    if (packet->payload_captured < packet->payload_wire) return false;
    if (packet->payload_at - packet->fragment_at > DATAGRAM_HEADERS) return false;
    return packet->protocol == PROTOCOL_TCP || !packet->udp_length || packet->udp_length - 8u > packet->payload_wire;
}

void datagrams_name(struct datagrams *d, uint16_t at, const struct packet *packet, uint64_t flow, int direction) {
    struct whole *whole = &d->wholes[at];
    if (whole->named) return;
    whole->named = true;
    whole->flow = flow;
    whole->direction = (uint8_t)direction;
    whole->header = (uint16_t)(packet->payload_at - packet->fragment_at);
    whole->protocol = packet->protocol;
    whole->sequence = packet->sequence;
    whole->flags = packet->flags;
    whole->told = packet->udp_length > 8 ? (uint16_t)(packet->udp_length - 8) : 0;
}

/* What a fragment has for `data`: `header` zeros, then the payload. */
static bool equals(const struct whole *whole, uint32_t start, uint32_t header, const struct packet *packet,
                   uint32_t kept) {
    for (uint32_t i = 0; i < header; i++)
        if (whole->data[start + i]) return false;
    return kept <= header || memcmp(whole->data + start + header, packet->payload, kept - header) == 0;
}

/* Put a run to the others, which it does not overlap; false where there are too many. */
static bool add_run(struct whole *whole, uint16_t begin, uint16_t end) {
    struct run *runs = whole->runs;
    uint32_t at = 0, count = whole->runs_count;
    while (at < count && runs[at].end < begin) at++;
    if (at < count && runs[at].end == begin) {
        runs[at].end = end;
        if (at + 1 < count && runs[at + 1].begin == end) {
            runs[at].end = runs[at + 1].end;
            memmove(runs + at + 1, runs + at + 2, (count - at - 2) * sizeof *runs);
            whole->runs_count--;
        }
    } else if (at < count && runs[at].begin == end) {
        runs[at].begin = begin;
    } else {
        memmove(runs + at + 1, runs + at, (count - at) * sizeof *runs);
        runs[at] = (struct run){begin, end};
        whole->runs_count++;
    }
    return whole->runs_count <= DATAGRAM_PIECES;
}

static bool add(struct whole *whole, const struct packet *packet) {
    bool first = packet->fragment == FRAGMENT_FIRST, last = !first && packet->fragment_last;
    uint32_t header = first ? packet->payload_at - packet->fragment_at : 0;
    uint32_t start = first ? 0 : packet->fragment_offset, end = start + header + packet->payload_wire;
    const struct run *newest = whole->runs_count ? &whole->runs[whole->runs_count - 1] : NULL;
    if (end > LARGEST || (!last && end % 8) || (last && newest && newest->end > end)) return false;
    if (whole->total && (end > whole->total || (last && end != whole->total))) return false;
    if (last) whole->total = (uint16_t)end;
    uint32_t kept = start < DATAGRAM_KEPT ? DATAGRAM_KEPT - start : 0;
    if (kept > end - start) kept = end - start;
    for (uint32_t i = 0; i < whole->runs_count; i++) {
        const struct run *run = &whole->runs[i];
        if (start >= run->end || run->begin >= end) continue;
        return run->begin <= start && end <= run->end && equals(whole, start, header, packet, kept);
    }
    if (kept > header) memcpy(whole->data + start + header, packet->payload, kept - header);
    return add_run(whole, (uint16_t)start, (uint16_t)end);
}

static bool is_complete(const struct whole *whole) {
    return whole->named && whole->runs_count == 1 && whole->runs[0].begin == 0 && whole->runs[0].end == whole->total;
}

bool datagrams_add(struct datagrams *d, uint16_t at, const struct packet *packet, enum datagram_end *end) {
    struct whole *whole = &d->wholes[at];
    if (!add(whole, packet)) {
        *end = DATAGRAM_OVERLAPPING;
        return true;
    }
    *end = DATAGRAM_JOINED;
    return is_complete(whole);
}

static void join(struct datagrams *d, const struct whole *whole) {
    uint32_t there = whole->runs[0].end - (uint32_t)whole->header, told = whole->told ? whole->told : there;
    uint32_t wire = is_complete(whole) && told > there ? there : told;
    uint32_t size = there < wire ? there : wire;
    if (size > (uint32_t)DATAGRAM_KEPT - whole->header) size = (uint32_t)DATAGRAM_KEPT - whole->header;
    if (!size) return;
    assert(d->joined_count < JOINED);
    struct joined *joined = &d->joined[d->joined_count++];
    joined->flow = whole->flow;
    joined->sequence = whole->sequence;
    joined->payload_wire = wire;
    joined->size = size;
    joined->header = whole->header;
    joined->direction = whole->direction;
    joined->protocol = whole->protocol;
    joined->flags = whole->flags;
    memcpy(joined->data, whole->data, whole->header + size);
}

uint32_t datagrams_end(struct datagrams *d, uint16_t at, enum datagram_end end) {
    struct whole *whole = &d->wholes[at];
    d->ends[end]++;
    if (end != DATAGRAM_OVERLAPPING && end != DATAGRAM_DISPLACED && whole->named) join(d, whole);
    if (whole->older != DATAGRAM_NONE)
        d->wholes[whole->older].newer = whole->newer;
    else
        d->oldest = whole->newer;
    if (whole->newer != DATAGRAM_NONE)
        d->wholes[whole->newer].older = whole->older;
    else
        d->newest = whole->older;
    d->count--;
    whole->older = d->free;
    d->free = at;
    return whole->entry;
}

uint16_t datagrams_oldest(const struct datagrams *d, uint64_t *since) {
    if (d->oldest != DATAGRAM_NONE) *since = d->wholes[d->oldest].since;
    return d->oldest;
}
