#include "dns.h"

#include "bytes.h"

enum { HEADER = 12, MAX_NAME = 255 };

size_t dns_question_end(const uint8_t *data, size_t size) {
    if (size < 17 || data[4] || data[5] != 1) return 0;
    uint8_t flags = data[2], opcode = data[2] >> 3 & 15;
    if (opcode == 3 || opcode > 5 || data[3] & 0x40) return 0;
    size_t records = (size_t)be16(data + 6) + be16(data + 8) + be16(data + 10);
    if (!(flags & 0x80)) {
        if (data[3] & 15 || (flags >> 3 == 0 && (data[6] || data[7]))) return 0;
    } else if ((data[3] & 15) > 11) {
        return 0;
    }
    size_t at = HEADER;
    while (at < size) {
        uint8_t length = data[at];
        if (!length) break;
        if (length > 63) return 0;
        at += 1u + length;
    }
    at += 5;
    if (at > size || at - HEADER - 4 > MAX_NAME) return 0;
    uint8_t class = data[at - 1];
    if ((class != 1 && class != 3 && class != 4 && class < 254) || data[at - 2] & 0x7f) return 0;
    if (!data[at - 3] && !data[at - 4]) return 0;
    if (records * 11 > size - at && size < 2048) return data[2] & 0x02 ? at : 0;
    return at;
}

static uint8_t lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte; }

bool dns_agrees(const uint8_t *query, const uint8_t *response, size_t size, size_t end) {
    if (size < HEADER || be16(response) != be16(query) || !(response[2] & 0x80) || query[2] & 0x80) return false;
    if (response[5] == 1) {
        if (size < end) return false;
        size_t at = HEADER;
        while (at < end && lower(response[at]) == lower(query[at])) at++;
        if (at == end) return true;
    }
    return !response[4] && !response[5] && size == HEADER && response[3] & 15;
}
