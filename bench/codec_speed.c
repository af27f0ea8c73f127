/* Nanoseconds a message of each codec in C, over recorded first payloads. bench/codec_speed.py builds and runs it. Standard
   input: for each message a letter for its codec (t, d, h, q), four little-endian bytes of length, the bytes. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "cpu.h"
#include "dns.h"
#include "http.h"
#include "quic.h"
#include "tls.h"

enum { INPUT_MAX = 64 << 20 };

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static bool read_quic(const uint8_t *data, size_t size) {
    static struct quic_initials initials;
    static struct tls_hello hello;
    struct quic_packet packets[QUIC_PACKETS_MAX];
    const uint8_t *head;
    initials.ready = false;
    initials.crypto[0].count = initials.crypto[1].count = 0;
    size_t count = quic_read_packets(data, size, packets);
    for (size_t i = 0; i < count; i++)
        if (packets[i].kind == QUIC_INITIAL) quic_open(&initials, data, &packets[i], 0);
    size = quic_head(&initials, 0, &head);
    return tls_read_message(head, size, false, 'q', &hello) == TLS_CLIENT_HELLO;
}

static bool read_one(char codec, const uint8_t *data, size_t size) {
    static struct tls_hello hello;
    static struct dns_message message;
    struct http_request request;
    switch (codec) {
    case 't': return tls_read_first_flight(data, size, false, &hello) == TLS_CLIENT_HELLO;
    case 'd': return dns_read_message(data, size, &message);
    case 'h': return http_read_request(data, size, &request);
    default: return read_quic(data, size);
    }
}

/* The best of several rounds over all messages of one codec. */
static void measure(char codec, const uint8_t *input, size_t size) {
    uint64_t best = UINT64_MAX, messages = 0, good = 0;
    for (int round = 0; round < 7; round++) {
        messages = good = 0;
        uint64_t start = now_ns();
        for (size_t at = 0; at + 5 <= size; at += 5 + le32(input + at + 1)) {
            if (input[at] != codec) continue;
            messages++;
            good += read_one(codec, input + at + 5, le32(input + at + 1));
        }
        uint64_t took = now_ns() - start;
        if (took < best) best = took;
    }
    if (messages)
        printf("%c %llu %llu %.1f\n", codec, (unsigned long long)messages, (unsigned long long)good,
               (double)best / (double)messages);
}

int main(void) {
    uint8_t *input = malloc(INPUT_MAX);
    size_t size = input ? fread(input, 1, INPUT_MAX, stdin) : 0;
    for (const char *codec = "tdhq"; *codec; codec++) measure(*codec, input, size);
    cpu_forbid(CPU_AES | CPU_SHA);
    puts("portable");
    for (const char *codec = "tq"; *codec; codec++) measure(*codec, input, size);
    free(input);
    return 0;
}
