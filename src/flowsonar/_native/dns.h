/* DNS messages: sanity, the question, the addresses answered. protocols/dns.py is the specification. */
#ifndef FLOWSONAR_DNS_H
#define FLOWSONAR_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DNS_NAME_MAX = 255,     /* bytes of a name as text; one on the wire has no more */
    DNS_ADDRESSES_MAX = 32, /* addresses that are kept of one message; answers with more are rare */
};

struct dns_address {
    const uint8_t *address; /* 4 or 16 bytes of the message */
    uint8_t size;
    uint16_t name_at; /* where the name stands to which it belongs: see dns_name */
};

struct dns_message {
    uint16_t id;
    uint16_t type; /* of the question */
    uint16_t klass;
    uint8_t opcode;
    uint8_t rcode;
    bool response;
    bool asks;     /* there is a question */
    bool complete; /* the last counted record ends where the message ends */
    bool addresses_more;
    uint8_t addresses_count;
    uint8_t name_size;
    char name[DNS_NAME_MAX]; /* asked for; labels with dots between, and no end */
    struct dns_address addresses[DNS_ADDRESSES_MAX];
};

/* Where the question of a sane message ends, or 0 when `data` is not one: the fast test for the flow path. */
size_t dns_question_end(const uint8_t *data, size_t size);

/* Whether `response` answers `query`, whose question ends at `end`: identifier and question, in any letter case. */
bool dns_agrees(const uint8_t *query, size_t query_size, const uint8_t *response, size_t response_size, size_t end);

/* The message behind TCP's two-byte length, as far as it is there; its size, 0 where the length does not fit. */
size_t dns_tcp_message(const uint8_t *data, size_t size, const uint8_t **message);

/* Read a whole message with its answers; false for anything that does not hold together. */
bool dns_read_message(const uint8_t *data, size_t size, struct dns_message *message);

/* Read the name at `at` (< size); false where it is not one. `*name_size` of its text, `*end` behind it. */
bool dns_name(const uint8_t *data, size_t size, size_t at, char name[DNS_NAME_MAX], uint8_t *name_size, size_t *end);

#endif
