#include "ja4.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "sha256.h"

enum { SERVER_NAME = 0x0000, ALPN = 0x0010, HASH_DIGITS = 12 };

static const char DIGITS[] = "0123456789abcdef";

static const char *version_marks(uint16_t version) {
    switch (version) {
    case 0x0002: return "s2";
    case 0x0300: return "s3";
    case 0x0301: return "10";
    case 0x0302: return "11";
    case 0x0303: return "12";
    case 0x0304: return "13";
    case 0xfeff: return "d1";
    case 0xfefd: return "d2";
    case 0xfefc: return "d3";
    default: return "00";
    }
}

/* Shell's sort with Ciura's gaps: lists are short, but a hostile one has thousands. */
static void sort(uint16_t *values, size_t count) {
    static const size_t gaps[] = {3548, 1577, 701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        size_t gap = gaps[g];
        for (size_t i = gap; i < count; i++) {
            uint16_t value = values[i];
            size_t at = i;
            for (; at >= gap && values[at - gap] > value; at -= gap) values[at] = values[at - gap];
            values[at] = value;
        }
    }
}

/* Those of a list of two-byte numbers that are not GREASE. */
static size_t take(const uint8_t *data, size_t size, uint16_t *values) {
    size_t count = 0;
    assert(size / 2 <= JA4_LIST);
    for (size_t i = 0; i + 2 <= size; i += 2) {
        uint16_t value = be16(data + i);
        if (!is_grease(value)) values[count++] = value;
    }
    return count;
}

/* "1301,1302,c02b" into the hash; `lead` stands before the first one. */
static void add_list(struct sha256 *hash, char lead, const uint16_t *values, size_t count) {
    char text[SHA256_BLOCK * 5];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (used + 5 > sizeof text) {
            sha256_add(hash, text, used);
            used = 0;
        }
        if (i || lead) text[used++] = i ? ',' : lead;
        for (int shift = 12; shift >= 0; shift -= 4) text[used++] = DIGITS[values[i] >> shift & 15];
    }
    sha256_add(hash, text, used);
}

static void end_hash(struct sha256 *hash, char *text) {
    uint8_t digest[SHA256_SIZE];
    sha256_end(hash, digest);
    for (int i = 0; i < HASH_DIGITS / 2; i++) {
        text[2 * i] = DIGITS[digest[i] >> 4];
        text[2 * i + 1] = DIGITS[digest[i] & 15];
    }
}

static bool is_alphanumeric(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void alpn_marks(const uint8_t *alpn, size_t size, char marks[2]) {
    marks[0] = marks[1] = '0';
    if (!size || (size >= 2 && is_grease(be16(alpn)))) return;
    uint8_t first = alpn[0], last = alpn[size - 1];
    bool plain = is_alphanumeric(first) && is_alphanumeric(last);
    marks[0] = plain ? (char)first : DIGITS[first >> 4];
    marks[1] = plain ? (char)last : DIGITS[last & 15];
}

static void two_digits(size_t count, char *text) {
    if (count > 99) count = 99;
    text[0] = (char)('0' + count / 10);
    text[1] = (char)('0' + count % 10);
}

void ja4_text(const struct ja4_offer *offer, char text[JA4_SIZE]) {
    uint16_t values[JA4_LIST];
    struct sha256 hash;
    assert(offer->extensions_count <= JA4_LIST);
    memcpy(text, "t00i000000_000000000000_000000000000", JA4_SIZE);
    text[0] = offer->transport;
    memcpy(text + 1, version_marks(offer->version), 2);
    alpn_marks(offer->alpn, offer->alpn_size, text + 8);

    size_t count = take(offer->ciphers, offer->ciphers_size, values);
    two_digits(count, text + 4);
    if (count) {
        sort(values, count);
        sha256_begin(&hash);
        add_list(&hash, 0, values, count);
        end_hash(&hash, text + 11);
    }

    size_t counted = 0;
    count = 0;
    for (size_t i = 0; i < offer->extensions_count; i++) {
        uint16_t type = offer->extensions[i];
        if (is_grease(type)) continue;
        counted++;
        if (type == SERVER_NAME) text[3] = 'd';
        if (type != SERVER_NAME && type != ALPN) values[count++] = type;
    }
    two_digits(counted, text + 6);
    if (!count) return;
    sort(values, count);
    sha256_begin(&hash);
    add_list(&hash, 0, values, count);
    count = take(offer->algorithms, offer->algorithms_size, values);
    add_list(&hash, '_', values, count);
    end_hash(&hash, text + 24);
}
