#define _GNU_SOURCE /* memmem */

#include "http.h"

#include <string.h>

enum { HEAD_MAX = 8192, HOST_MAX = 1024 };

bool http_is_request(const uint8_t *data, size_t size) {
    static const char *const methods[] = {
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PROPFIND", "PROPPATCH",
        "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE",
        "M-SEARCH", "PURGE", "BITS_POST", "CCM_POST", "RPC_IN_DATA", "RPC_OUT_DATA", "RPC_CONNECT", "ICY"};
    const uint8_t *space = memchr(data, ' ', size < 18 ? size : 18);
    if (!space || space == data) return false;
    size_t length = (size_t)(space - data);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strlen(methods[i]) == length && memcmp(methods[i], data, length) == 0) return true;
    return false;
}

static uint8_t lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte; }

static bool is_lower_text(const uint8_t *data, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (lower(data[i]) != (uint8_t)text[i]) return false;
    return true;
}

/* What a name may consist of; then without the port after it. */
static size_t plain_host(const uint8_t *host, size_t size) {
    if (!size || size > HOST_MAX) return 0;
    for (size_t i = 0; i < size; i++)
        if (host[i] < 0x20 || (host[i] >= 0x7f && host[i] <= 0xa0) || host[i] == 0xad) return 0; /* not printable */
    size_t colon = size, first = size;
    for (size_t i = size; i-- > 0;)
        if (host[i] == ':') {
            if (colon == size) colon = i;
            first = i;
        }
    if (colon == size || colon + 1 == size) return size;
    for (size_t i = colon + 1; i < size; i++)
        if ((host[i] < '0' || host[i] > '9') && host[i] != 0xb2 && host[i] != 0xb3 && host[i] != 0xb9) return size;
    bool single = first == colon;
    if (!colon) return HTTP_ASK;
    return single || host[colon - 1] == ']' ? colon : size;
}

static const uint8_t *line_end(const uint8_t *from, const uint8_t *end) {
    return from < end ? memmem(from, (size_t)(end - from), "\r\n", 2) : NULL;
}

size_t http_host(const uint8_t *data, size_t size, const uint8_t **host) {
    if (size > HEAD_MAX) size = HEAD_MAX;
    const uint8_t *blank = memmem(data, size, "\r\n\r\n", 4), *end = blank ? blank + 2 : data + size;
    const uint8_t *line = line_end(data, end), *version = NULL;
    if (!line) return 0;
    for (const uint8_t *at = data; at + 8 <= line; at++)
        if (memcmp(at, " HTTP/1.", 8) == 0) version = at;
    if (!version) return 0;
    const uint8_t *found = memmem(line, (size_t)(end - line), "\r\nHost:", 7);
    for (const uint8_t *at = line; !found && at && at + 7 <= end; at = line_end(at + 2, end))
        if (is_lower_text(at + 2, "host:", 5)) found = at;
    const uint8_t *start, *stop;
    if (found) {
        start = found + 7;
        stop = line_end(start, end);
        if (!stop) return 0;
        while (start < stop && (*start == ' ' || *start == '\t')) start++;
        while (stop > start && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
    } else {
        const uint8_t *target = memchr(data, ' ', (size_t)(end - data));
        if (!target || end - target < 8 || !is_lower_text(target + 1, "http://", 7)) return 0;
        start = target + 8;
        stop = memchr(start, ' ', (size_t)(end - start));
        if (!stop) return 0;
        const uint8_t *slash = memchr(start, '/', (size_t)(stop - start));
        if (slash) stop = slash;
    }
    *host = start;
    return plain_host(start, (size_t)(stop - start));
}
