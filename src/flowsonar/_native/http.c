#include "http.h"

#include <string.h>

/* RFC 9110, WebDAV (RFC 4918), and those met in the field. */
static const char *const METHODS[] = {
    "GET",       "POST",        "HEAD",         "PUT",         "DELETE",      "OPTIONS", "PATCH",  "CONNECT",
    "TRACE",     "PROPFIND",    "PROPPATCH",    "MKCOL",       "COPY",        "MOVE",    "LOCK",   "UNLOCK",
    "REPORT",    "SEARCH",      "NOTIFY",       "SUBSCRIBE",   "UNSUBSCRIBE", "PURGE",   "M-SEARCH", "BITS_POST",
    "CCM_POST",  "RPC_IN_DATA", "RPC_OUT_DATA", "RPC_CONNECT", "ICY",
};
enum { METHOD_MAX = 17 };

/* -- text --------------------------------------------------------------------------------------------------------- */

/* Where `text` begins in `data` from `at` on; `size` where it does not. */
static size_t find(const uint8_t *data, size_t size, size_t at, const char *text, size_t length) {
    while (at < size && size - at >= length) {
        const uint8_t *first = memchr(data + at, text[0], size - at - length + 1);
        if (!first) return size;
        if (memcmp(first, text, length) == 0) return (size_t)(first - data);
        at = (size_t)(first - data) + 1;
    }
    return size;
}

static size_t find_line_end(const uint8_t *data, size_t size, size_t at) { return find(data, size, at, "\r\n", 2); }

/* Whether `size` bytes are this text in lower case, in any case. */
static bool is_text(const uint8_t *data, size_t size, const char *lower) {
    if (strlen(lower) != size) return false;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = data[i];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        if (c != (uint8_t)lower[i]) return false;
    }
    return true;
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* Nothing where it is too long or not printable in Latin-1. */
static struct http_text text_of(const uint8_t *data, size_t size) {
    const struct http_text none = {NULL, 0};
    if (size > HTTP_TEXT_MAX) return none;
    for (size_t i = 0; i < size; i++)
        if (data[i] < 0x20 || (data[i] > 0x7e && data[i] < 0xa1) || data[i] == 0xad) return none;
    return (struct http_text){data, size};
}

/* A field's value: without blanks at both ends. */
static struct http_text value_of(const uint8_t *data, size_t size) {
    while (size && (data[0] == ' ' || data[0] == '\t')) data++, size--;
    while (size && (data[size - 1] == ' ' || data[size - 1] == '\t')) size--;
    return text_of(data, size);
}

/* The host of an absolute target, `http://host/...` (RFC 9112 section 3.2.2): the caller has seen the scheme. */
static struct http_text host_of_target(const uint8_t *target, size_t size) {
    const uint8_t *slash = memchr(target + 7, '/', size - 7);
    return text_of(target + 7, slash ? (size_t)(slash - target) - 7 : size - 7);
}

static bool is_absolute(const uint8_t *target, size_t size) { return size >= 7 && is_text(target, 7, "http://"); }

/* -- first lines -------------------------------------------------------------------------------------------------- */

static bool is_method(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < sizeof METHODS / sizeof *METHODS; i++)
        if ((uint8_t)METHODS[i][0] == data[0] && strlen(METHODS[i]) == size && memcmp(METHODS[i], data, size) == 0)
            return true;
    return false;
}

bool http_is_request(const uint8_t *data, size_t size) {
    if (!size || data[0] < 'A' || data[0] > 'Z') return false;
    const uint8_t *space = memchr(data, ' ', size < METHOD_MAX + 1 ? size : METHOD_MAX + 1);
    return space && is_method(data, (size_t)(space - data));
}

bool http_is_response(const uint8_t *data, size_t size) {
    if (size < 10 || memcmp(data, "HTTP/1.", 7) != 0 || data[8] != ' ' || data[9] < '1' || data[9] > '5') return false;
    return (size < 11 || is_digit(data[10])) && (size < 12 || is_digit(data[11]));
}

/* -- heads -------------------------------------------------------------------------------------------------------- */

/* The lines of a head that are whole; the first is a request's or status line. */
struct head {
    const uint8_t *data;
    size_t size;  /* up to where the last line ends, without its end */
    size_t first; /* where the first line ends */
};

static bool take_head(const uint8_t *data, size_t size, struct head *head) {
    if (size > HTTP_HEAD_BYTES) size = HTTP_HEAD_BYTES;
    head->data = data;
    head->first = find_line_end(data, size, 0);
    if (head->first == size) return false;
    head->size = find(data, size, 0, "\r\n\r\n", 4);
    if (head->size < size) return true;
    size_t last = head->first;
    for (size_t next = last; next < size; next = find_line_end(data, size, next + 2)) last = next;
    head->size = last;
    return true;
}

/* The first field of this name, in any letter case; nothing where there is none. */
static struct http_text field(const struct head *head, const char *lower) {
    size_t at = head->first;
    while (at < head->size) {
        at += 2;
        size_t end = find_line_end(head->data, head->size, at);
        const uint8_t *line = head->data + at, *colon = memchr(line, ':', end - at);
        if (colon && is_text(line, (size_t)(colon - line), lower))
            return value_of(colon + 1, (size_t)(head->data + end - colon) - 1);
        at = end;
    }
    return (struct http_text){NULL, 0};
}

bool http_read_request(const uint8_t *data, size_t size, struct http_request *request) {
    struct head head;
    memset(request, 0, sizeof *request);
    if (!take_head(data, size, &head)) return false;
    const uint8_t *space = memchr(data, ' ', head.first);
    if (!space) return false;
    size_t method = (size_t)(space - data), at = method + 1;
    const uint8_t *second = memchr(data + at, ' ', head.first - at);
    if (!second) return false;
    size_t target = (size_t)(second - data) - at, version = at + target + 1;
    if (!method || !is_method(data, method) || !target || head.first - version < 7 ||
        memcmp(data + version, "HTTP/1.", 7) != 0 || memchr(data + version, ' ', head.first - version))
        return false;
    request->method = (struct http_text){data, method};
    request->target = (struct http_text){data + at, target};
    request->version = (struct http_text){data + version + 5, head.first - version - 5};
    request->host = field(&head, "host");
    if (!request->host.size && is_absolute(data + at, target)) request->host = host_of_target(data + at, target);
    request->user_agent = field(&head, "user-agent");
    return true;
}

bool http_read_response(const uint8_t *data, size_t size, struct http_response *response) {
    struct head head;
    memset(response, 0, sizeof *response);
    if (!take_head(data, size, &head) || !http_is_response(data, head.first)) return false;
    response->version = (struct http_text){data + 5, 3};
    for (size_t i = 9; i < head.first && i < 12; i++)
        response->status = (uint16_t)(response->status * 10 + data[i] - '0');
    response->server = field(&head, "server");
    return true;
}

/* -- the host alone ----------------------------------------------------------------------------------------------- */

/* Python's str.isdigit() of Latin-1, superscripts included. */
static bool is_digit_of_any_kind(uint8_t c) { return is_digit(c) || c == 0xb2 || c == 0xb3 || c == 0xb9; }

static size_t without_port(const uint8_t *host, size_t size) {
    size_t colon = size;
    while (colon && host[colon - 1] != ':') colon--;
    if (!colon || colon == size) return size;
    for (size_t i = colon; i < size; i++)
        if (!is_digit_of_any_kind(host[i])) return size;
    size_t name = colon - 1;
    return !memchr(host, ':', name) || host[name - 1] == ']' ? name : size;
}

/* Where the Host field begins in a head; as people write it, else in any letter case. */
static size_t find_host(const uint8_t *head, size_t size, size_t line) {
    size_t at = find(head, size, line, "\r\nHost:", 7);
    if (at < size) return at;
    for (at = line; at < size; at = find_line_end(head, size, at + 2))
        if (size - at >= 7 && is_text(head + at + 2, 5, "host:")) return at;
    return size;
}

/* Whether " HTTP/1." stands in a line. */
static bool has_version(const uint8_t *line, size_t size) { return find(line, size, 0, " HTTP/1.", 8) < size; }

size_t http_host_of(const uint8_t *data, size_t size, const uint8_t **host) {
    size_t head = size < HTTP_HEAD_BYTES ? size : HTTP_HEAD_BYTES, end = find(data, size, 0, "\r\n\r\n", 4);
    if (end < size && end < HTTP_HEAD_BYTES) head = end + 2;
    size_t line = find_line_end(data, head, 0);
    if (line == head || !has_version(data, line)) return 0;
    size_t at = find_host(data, head, line);
    struct http_text found = {NULL, 0};
    if (at < head) {
        end = find_line_end(data, head, at + 7);
        if (end == head) return 0;
        found = value_of(data + at + 7, end - at - 7);
    } else {
        const uint8_t *target = memchr(data, ' ', line);
        target++;
        const uint8_t *after = memchr(target, ' ', head - (size_t)(target - data));
        if (after && is_absolute(target, (size_t)(after - target)))
            found = host_of_target(target, (size_t)(after - target));
    }
    if (!found.size) return 0;
    *host = found.data;
    return without_port(found.data, found.size);
}
