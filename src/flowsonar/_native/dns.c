#include "dns.h"

#include <string.h>

#include "bytes.h"

enum {
    HEADER = 12,
    RECORDS_MAX = 512, /* walked of one message; 2048 bytes have no more than 180 */
    TYPE_A = 1,
    TYPE_AAAA = 28,
};

/* IN, CH, HS, NONE, ANY; the highest bit is multicast DNS's. */
static bool is_class(uint16_t klass) {
    switch (klass & 0x7fff) {
    case 1:
    case 3:
    case 4:
    case 254:
    case 255: return true;
    default: return false;
    }
}

/* Query, inverse query, status, notify, update. */
static bool is_opcode(unsigned opcode) { return opcode < 6 && opcode != 3; }

size_t dns_question_end(const uint8_t *data, size_t size) {
    if (size < 17 || data[4] || data[5] != 1) return 0;
    unsigned flags = data[2], opcode = flags >> 3 & 15, rcode = data[3] & 15;
    if (!is_opcode(opcode) || data[3] & 0x40) return 0;
    if (flags & 0x80) {
        if (rcode > 11) return 0;
    } else if (rcode || (opcode == 0 && be16(data + 6))) {
        return 0; /* a query has no error code, and a plain one no answers */
    }
    size_t at = HEADER;
    while (at < size && data[at]) {
        if (data[at] > 63) return 0;
        at += 1u + data[at];
    }
    at += 5;
    if (at > size || at - HEADER - 4 > DNS_NAME_MAX || !is_class(be16(data + at - 2)) || !be16(data + at - 4)) return 0;
    size_t records = (size_t)be16(data + 6) + be16(data + 8) + be16(data + 10);
    if (records * 11 > size - at && size < 2048) return flags & 0x02 ? at : 0; /* TC: records are left out */
    return at;
}

static bool same_letters(const uint8_t *one, const uint8_t *other, size_t size) {
    for (size_t i = 0; i < size; i++) {
        uint8_t a = one[i], b = other[i];
        if (a == b) continue;
        uint8_t lower = a | 0x20;
        if ((a ^ b) != 0x20 || lower < 'a' || lower > 'z') return false;
    }
    return true;
}

bool dns_agrees(const uint8_t *query, size_t query_size, const uint8_t *response, size_t response_size, size_t end) {
    if (query_size < HEADER || response_size < HEADER || be16(query) != be16(response)) return false;
    if (!(response[2] & 0x80) || query[2] & 0x80) return false;
    if (be16(response + 4) == 0 && response_size == HEADER && response[3] & 15) return true;
    size_t asked = query_size < end ? query_size : end, repeated = response_size < end ? response_size : end;
    if (response[5] != 1 || asked != repeated) return false;
    return asked <= HEADER || same_letters(query + HEADER, response + HEADER, asked - HEADER);
}

/* RFC 1035 section 4.2.2. */
size_t dns_tcp_message(const uint8_t *data, size_t size, const uint8_t **message) {
    if (size < 2 + HEADER) return 0;
    size_t length = be16(data);
    if (length < HEADER || (size > 2 + length && size < 2 + length + 2)) return 0;
    *message = data + 2;
    return size - 2 < length ? size - 2 : length;
}

/* Every pointer must point further back: no loops. */
bool dns_name(const uint8_t *data, size_t size, size_t at, char name[DNS_NAME_MAX], uint8_t *name_size, size_t *end) {
    size_t lowest = at, total = 0, used = 0;
    *end = 0;
    for (;;) {
        if (at >= size) return false;
        uint8_t length = data[at];
        if (length >= 0xc0) {
            if (size - at < 2) return false;
            size_t target = be16(data + at) & 0x3fff;
            if (!*end) *end = at + 2;
            if (target >= lowest) return false;
            lowest = at = target;
            continue;
        }
        if (length > 63) return false;
        at++;
        if (!length) break;
        total += 1u + length;
        if (total > DNS_NAME_MAX || length > size - at) return false;
        if (used) name[used++] = '.';
        memcpy(name + used, data + at, length);
        used += length;
        at += length;
    }
    if (!*end) *end = at;
    *name_size = (uint8_t)used;
    return true;
}

static bool read_record(const uint8_t *data, size_t size, size_t *at, struct dns_message *message) {
    char name[DNS_NAME_MAX];
    uint8_t name_size;
    size_t name_at = *at, end;
    if (!dns_name(data, size, name_at, name, &name_size, &end) || end + 10 > size) return false;
    uint16_t type = be16(data + end), length = be16(data + end + 8);
    end += 10;
    if (length > size - end) return false;
    *at = end + length;
    if (!(type == TYPE_A && length == 4) && !(type == TYPE_AAAA && length == 16)) return true;
    if (message->addresses_count == DNS_ADDRESSES_MAX) {
        message->addresses_more = true;
        return true;
    }
    message->addresses[message->addresses_count++] =
        (struct dns_address){.address = data + end, .size = (uint8_t)length, .name_at = (uint16_t)name_at};
    return true;
}

bool dns_read_message(const uint8_t *data, size_t size, struct dns_message *message) {
    if (size < HEADER) return false;
    if (size > UINT16_MAX) size = UINT16_MAX; /* a message has no more */
    size_t questions = be16(data + 4), records = (size_t)be16(data + 6) + be16(data + 8) + be16(data + 10), at = HEADER;
    if (questions > 1 || questions + records > RECORDS_MAX) return false;
    memset(message, 0, offsetof(struct dns_message, name));
    message->id = be16(data);
    message->response = data[2] & 0x80;
    message->opcode = data[2] >> 3 & 15;
    message->rcode = data[3] & 15;
    if (questions) {
        if (!dns_name(data, size, at, message->name, &message->name_size, &at) || at + 4 > size) return false;
        message->asks = true;
        message->type = be16(data + at);
        message->klass = be16(data + at + 2);
        at += 4;
    }
    for (; records; records--)
        if (!read_record(data, size, &at, message)) return false;
    message->complete = at == size;
    return true;
}
