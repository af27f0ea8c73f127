/* Heads of HTTP/1.x requests. protocols/http.py is the specification. */
#ifndef FLOWSONAR_HTTP_H
#define FLOWSONAR_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether it begins with a known method and a space. */
bool http_is_request(const uint8_t *data, size_t size);

#define HTTP_ASK SIZE_MAX /* a host that only Python can name: nothing but a port */

/* The host of a request, without its port: how many bytes at `*host`, 0 where none is told, or HTTP_ASK. */
size_t http_host(const uint8_t *data, size_t size, const uint8_t **host);

#endif
