#include "quic.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"

static bool is_reserved(uint32_t version) { return (version & 0x0f0f0f0f) == 0x0a0a0a0a; }

bool quic_is_long_header(const uint8_t *data, size_t size) {
    if (size < 7 || !(data[0] & 0x80)) return false;
    uint32_t version = be32(data + 1);
    if (!version) return quic_negotiation(data, size) > 0;
    if (!(data[0] & 0x40) || data[5] > QUIC_ID_MAX) return false;
    if (!quic_scheme_of(version).salt && !is_reserved(version)) return false;
    size_t at = 6u + data[5];
    return at < size && data[at] <= QUIC_ID_MAX && at + 1 + data[at] <= size;
}

/* RFC 8999 section 6. */
size_t quic_negotiation(const uint8_t *data, size_t size) {
    if (size < 11 || !(data[0] & 0x80) || be32(data + 1)) return 0;
    size_t at = 6u + data[5];
    if (at >= size || at + 1 + data[at] > size) return 0;
    at += 1u + data[at];
    size_t rest = size - at;
    if (!rest || rest % 4 || rest > 4 * 64) return 0;
    for (; at < size; at += 4)
        if (!be32(data + at)) return 0;
    return rest / 4;
}

/* -- headers ------------------------------------------------------------------------------------------------------ */

/* What is left to read of a datagram or a packet's payload. */
struct reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool cut; /* something was longer than what is there; then nothing more counts */
};

static const uint8_t *take(struct reader *r, size_t size) {
    const uint8_t *taken = r->data + r->at;
    if (size > r->size - r->at) {
        r->cut = true;
        return taken;
    }
    r->at += size;
    return taken;
}

/* RFC 9000 section 16. */
static uint64_t take_number(struct reader *r) {
    if (r->cut || r->at == r->size) {
        r->cut = true;
        return 0;
    }
    size_t size = (size_t)1 << (r->data[r->at] >> 6);
    const uint8_t *bytes = take(r, size);
    if (r->cut) return 0;
    uint64_t value = bytes[0] & 0x3f;
    for (size_t i = 1; i < size; i++) value = value << 8 | bytes[i];
    return value;
}

static const uint8_t *take_id(struct reader *r, uint8_t *size) {
    *size = 0;
    if (r->cut || r->at == r->size) {
        r->cut = true;
        return r->data;
    }
    *size = r->data[r->at++];
    return take(r, *size);
}

/* RFC 9000 section 17.2. */
static bool read_packet(const uint8_t *data, size_t size, size_t start, struct quic_packet *packet) {
    if (size - start < 7 || !(data[start] & 0x80)) return false;
    struct reader r = {.data = data, .size = size, .at = start + 5};
    memset(packet, 0, sizeof *packet);
    packet->start = start;
    packet->version = be32(data + start + 1);
    packet->destination = take_id(&r, &packet->destination_size);
    packet->source = take_id(&r, &packet->source_size);
    if (r.cut) return false;
    struct quic_scheme scheme = quic_scheme_of(packet->version);
    packet->at = r.at;
    packet->end = size;
    if (!scheme.salt) {
        packet->kind = packet->version ? QUIC_UNKNOWN : QUIC_NEGOTIATION;
        return true;
    }
    if (!(data[start] & 0x40) || packet->destination_size > QUIC_ID_MAX || packet->source_size > QUIC_ID_MAX)
        return false;
    packet->kind = (uint8_t)(((data[start] >> 4 & 3) + 4 - scheme.initial) % 4);
    if (packet->kind == QUIC_RETRY) {
        packet->token = data + r.at;
        packet->token_size = size - r.at - (size - r.at < GCM_TAG ? 0 : GCM_TAG);
        return size - r.at >= GCM_TAG;
    }
    if (packet->kind == QUIC_INITIAL) {
        uint64_t token = take_number(&r);
        if (r.cut || token > size) return false;
        packet->token = take(&r, (size_t)token);
        packet->token_size = (size_t)token;
    }
    uint64_t length = take_number(&r);
    if (r.cut || length < 4 + GCM_TAG || length > size - r.at) return false;
    packet->at = r.at;
    packet->end = r.at + (size_t)length;
    return true;
}

size_t quic_read_packets(const uint8_t *data, size_t size, struct quic_packet packets[QUIC_PACKETS_MAX]) {
    size_t count = 0, at = 0;
    while (count < QUIC_PACKETS_MAX && (!count || size - at >= 7)) {
        if (!read_packet(data, size, at, &packets[count])) break;
        if (count && packets[count].version != packets[0].version) break;
        at = packets[count++].end;
    }
    return count;
}

/* -- handshake bytes ---------------------------------------------------------------------------------------------- */

bool quic_pieces_add(struct quic_pieces *p, uint64_t offset, const uint8_t *data, size_t size) {
    if (!size) return true;
    if (offset > QUIC_CRYPTO_MAX || size > QUIC_CRYPTO_MAX - offset) return false;
    uint16_t begin = (uint16_t)offset, end = (uint16_t)(offset + size);
    unsigned before = 0, after;
    while (before < p->count && p->runs[before].end < begin) before++;
    for (after = before; after < p->count && p->runs[after].begin <= end;) after++;
    /* runs[before .. after) touch what comes */
    if (before + 1 + p->count - after > QUIC_PIECES_MAX) return false;
    memcpy(p->data + offset, data, size);
    if (before < after) {
        if (p->runs[before].begin < begin) begin = p->runs[before].begin;
        if (p->runs[after - 1].end > end) end = p->runs[after - 1].end;
    }
    memmove(&p->runs[before + 1], &p->runs[after], (p->count - after) * sizeof p->runs[0]);
    p->count = (uint8_t)(before + 1 + p->count - after);
    p->runs[before].begin = begin;
    p->runs[before].end = end;
    return true;
}

size_t quic_head(const struct quic_initials *initials, int side, const uint8_t **head) {
    const struct quic_pieces *p = &initials->crypto[side];
    *head = p->data;
    return p->count && !p->runs[0].begin ? p->runs[0].end : 0;
}

/* RFC 9000 section 19.3. */
static void skip_ack(struct reader *r, bool counts) {
    take_number(r);
    take_number(r);
    uint64_t ranges = take_number(r);
    take_number(r);
    for (uint64_t i = 0; !r->cut && i < 2 * ranges; i++) take_number(r);
    for (int i = 0; counts && i < 3; i++) take_number(r);
}

/* Gather the CRYPTO frames; stops at what is not a frame that an Initial may have (RFC 9000 section 17.2.2). */
static void take_frames(struct quic_initials *initials, const uint8_t *payload, size_t size, int side) {
    struct reader r = {.data = payload, .size = size};
    uint8_t crypto = initials->scheme.crypto;
    bool ietf = crypto == 0x06;
    for (int i = 0; i < QUIC_FRAMES_MAX && !r.cut; i++) {
        while (r.at < size && !payload[r.at]) r.at++;
        if (r.at == size) return;
        uint8_t kind = payload[r.at++];
        if (kind == crypto) {
            uint64_t offset = take_number(&r), length = take_number(&r);
            if (r.cut || length > size - r.at) return;
            if (!quic_pieces_add(&initials->crypto[side], offset, take(&r, (size_t)length), (size_t)length)) return;
        } else if (ietf && (kind == 2 || kind == 3)) {
            skip_ack(&r, kind == 3);
        } else if (kind != (ietf ? 1 : 7)) { /* PING */
            return;
        }
    }
}

static bool open_with(struct quic_initials *initials, const struct quic_keys *keys, const uint8_t *packet, size_t size,
                      size_t at, int side) {
    size_t payload, payload_size;
    if (!quic_open_packet(keys, packet, size, at, initials->plain, &payload, &payload_size)) return false;
    take_frames(initials, initials->plain + payload, payload_size, side);
    return true;
}

int quic_open(struct quic_initials *initials, const uint8_t *datagram, const struct quic_packet *packet,
              int likely_side) {
    size_t size = packet->end - packet->start, at = packet->at - packet->start;
    const uint8_t *whole = datagram + packet->start;
    assert(packet->kind == QUIC_INITIAL);
    if (size > QUIC_INITIAL_MAX) return -1;
    for (int i = 0; initials->ready && i < 2; i++) {
        int side = i ? 1 - likely_side : likely_side;
        if (open_with(initials, &initials->keys[side], whole, size, at, side)) return side;
    }
    /* It may be a client's first: that is how keys are made. */
    if (initials->ready && packet->destination_size == initials->destination_size &&
        memcmp(packet->destination, initials->destination, packet->destination_size) == 0)
        return -1;
    struct quic_keys keys[2];
    struct quic_scheme scheme = quic_scheme_of(packet->version), before = initials->scheme;
    quic_make_keys(&scheme, packet->destination, packet->destination_size, keys);
    initials->scheme = scheme;
    if (!open_with(initials, &keys[0], whole, size, at, 0)) {
        initials->scheme = before;
        return -1;
    }
    initials->ready = true;
    memcpy(initials->keys, keys, sizeof keys);
    memcpy(initials->destination, packet->destination, packet->destination_size);
    initials->destination_size = packet->destination_size;
    return 0;
}
