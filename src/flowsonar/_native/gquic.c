#include "gquic.h"

#include <string.h>

#include "bytes.h"

enum {
    VERSION_FLAG = 0x01,
    RESET_FLAG = 0x02,
    ID_FLAG = 0x08,
    TAGS_MAX = 128,    /* of one hello */
    HELLO_WITHIN = 64, /* a hello begins this soon after the header */
    TEXT_MAX = 255,
};

static const char KINDS[][5] = {
    [GQUIC_CHLO] = "CHLO", [GQUIC_REJ] = "REJ\0", [GQUIC_SHLO] = "SHLO", [GQUIC_SREJ] = "SREJ"};

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* `Q` and three digits, from 024 to 046. */
static bool is_version(const uint8_t *data, size_t size) {
    if (size < 4 || data[0] != 'Q' || data[1] != '0' || !is_digit(data[2]) || !is_digit(data[3])) return false;
    int number = (data[2] - '0') * 10 + data[3] - '0';
    return number >= 24 && number <= 46;
}

static bool is_long(const uint8_t *data, size_t size) {
    return size >= 18 && memcmp(data + 1, "Q046", 4) == 0 && (data[5] == 0x50 || data[5] == 0x05);
}

bool gquic_is_header(const uint8_t *data, size_t size) {
    if (size < 19) return false;
    if (data[0] & 0x80) return data[0] & 0x40 && is_long(data, size);
    return (data[0] & 0xcb) == (ID_FLAG | VERSION_FLAG) && is_version(data + 9, size - 9);
}

/* How many versions stand there, to the very end; 0 where something else does too. */
static uint8_t count_versions(const uint8_t *data, size_t size) {
    if (size % 4 || size > 128) return 0;
    for (size_t at = 0; at < size; at += 4) {
        if (data[at] != 'Q' && data[at] != 'T') return 0;
        for (size_t i = 1; i < 4; i++)
            if (!is_digit(data[at + i]) && data[at + i] != 0xb2 && data[at + i] != 0xb3 && data[at + i] != 0xb9) return 0;
    }
    return (uint8_t)(size / 4);
}

bool gquic_read_header(const uint8_t *data, size_t size, struct gquic_header *header) {
    memset(header, 0, sizeof *header);
    if (size < 10) return false;
    if (data[0] & 0x80) {
        if (!is_long(data, size)) return false;
        *header = (struct gquic_header){.version = data + 1, .connection = data + 6, .at = 14, .is_long = true};
        return true;
    }
    if (data[0] & 0xc0 || !(data[0] & ID_FLAG)) return false;
    header->connection = data + 1;
    header->at = 9;
    if (!(data[0] & VERSION_FLAG) || data[0] & RESET_FLAG) return true;
    if (!is_version(data + 9, size - 9)) return false;
    header->version = data + 9;
    header->at = 13;
    header->versions = count_versions(data + 9, size - 9);
    return true;
}

bool gquic_find_hello(const uint8_t *data, size_t size, size_t at, struct gquic_hello *hello) {
    size_t end = size < at + HELLO_WITHIN ? size : at + HELLO_WITHIN;
    for (size_t kind = 0; kind < sizeof KINDS / sizeof *KINDS; kind++)
        for (size_t place = at; place + 4 <= end; place++)
            if (memcmp(data + place, KINDS[kind], 4) == 0) return gquic_read_hello(data + place, size - place, hello);
    return false;
}

/* Printable in Latin-1. */
static uint16_t text_size(const uint8_t *text, size_t size, bool spaces) {
    if (size > TEXT_MAX) return 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = text[i];
        if (c < 0x20 || (c > 0x7e && c < 0xa1) || c == 0xad || (c == ' ' && !spaces)) return 0;
    }
    return (uint16_t)size;
}

bool gquic_read_hello(const uint8_t *data, size_t size, struct gquic_hello *hello) {
    size_t kind = 0, kinds = sizeof KINDS / sizeof *KINDS;
    memset(hello, 0, sizeof *hello);
    if (size < 8) return false;
    while (kind < kinds && memcmp(data, KINDS[kind], 4) != 0) kind++;
    size_t count = le16(data + 4), start = 8 + 8 * count;
    if (kind == kinds || !count || count > TAGS_MAX || start > size) return false;
    hello->kind = (uint8_t)kind;
    uint32_t before = 0;
    for (size_t at = 8; at < start; at += 8) {
        uint32_t end = le32(data + at + 4);
        if (end < before) return false;
        if (end <= size - start) {
            const uint8_t *value = data + start + before;
            if (memcmp(data + at, "SNI", 4) == 0) {
                hello->name = value;
                hello->name_size = text_size(value, end - before, false);
            } else if (memcmp(data + at, "UAID", 4) == 0) {
                hello->agent = value;
                hello->agent_size = text_size(value, end - before, true);
            }
        }
        before = end;
    }
    return true;
}
