/* DNS messages, as far as the flow path needs them. protocols/dns.py is the specification. */
#ifndef FLOWSONAR_DNS_H
#define FLOWSONAR_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the question of a sane message ends, or 0 where it is none. */
size_t dns_question_end(const uint8_t *data, size_t size);

/* Whether a response answers a query, whose question ends at `end` <= query_size. */
bool dns_agrees(const uint8_t *query, const uint8_t *response, size_t size, size_t end);

#endif
