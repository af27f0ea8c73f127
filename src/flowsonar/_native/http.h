/* HTTP/1.x heads: request line, status line, and the few fields that name things. protocols/http.py is the
   specification. */
#ifndef FLOWSONAR_HTTP_H
#define FLOWSONAR_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_BYTES = 8192, HTTP_TEXT_MAX = 1024 };

/* A place in what was read; size 0: it is not there, or not printable, or too long. */
struct http_text {
    const uint8_t *data;
    size_t size;
};

struct http_request {
    struct http_text method;
    struct http_text target;
    struct http_text version;
    struct http_text host; /* the Host field, or of an absolute target */
    struct http_text user_agent;
};

struct http_response {
    struct http_text version;
    struct http_text server;
    uint16_t status;
};

/* Whether `data` begins with a known method and a space. */
bool http_is_request(const uint8_t *data, size_t size);

/* Whether `data` begins with a status line. */
bool http_is_response(const uint8_t *data, size_t size);

/* The host of what `http_is_request`, without its port: its size, 0 for none. */
size_t http_host_of(const uint8_t *data, size_t size, const uint8_t **host);

/* Read a head as far as it is there; false when the first line is not a request's or a response's. */
bool http_read_request(const uint8_t *data, size_t size, struct http_request *request);
bool http_read_response(const uint8_t *data, size_t size, struct http_response *response);

#endif
