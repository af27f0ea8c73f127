#include "community.h"

#include <string.h>

#include "sha1.h"

enum { ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58, SCTP = 132, PAIRS = 10, PAIRS6 = 12, NO_PAIR = -1 };

/* ICMP types that answer each other, both ways round. */
static const uint8_t pairs[PAIRS][2] = {{0, 8}, {8, 0}, {9, 10}, {10, 9}, {13, 14}, {14, 13}, {15, 16}, {16, 15},
                                        {17, 18}, {18, 17}};
static const uint8_t pairs6[PAIRS6][2] = {{128, 129}, {129, 128}, {130, 131}, {131, 130}, {133, 134}, {134, 133},
                                          {135, 136}, {136, 135}, {139, 140}, {140, 139}, {144, 145}, {145, 144}};

static int pair_of(bool six, uint16_t type) {
    for (int i = 0; i < (six ? PAIRS6 : PAIRS); i++)
        if ((six ? pairs6 : pairs)[i][0] == type) return (six ? pairs6 : pairs)[i][1];
    return NO_PAIR;
}

/* model.TRANSPORTS */
static bool is_kept(uint8_t protocol) {
    static const uint8_t kept[] = {1, 2, 6, 17, 46, 47, 50, 51, 58, 88, 89, 103, 112, 113, 115, 132};
    return memchr(kept, protocol, sizeof kept);
}

/* Type and counterpart as ports; whether the type has no answer. */
static bool icmp_ports(bool six, uint16_t ports[2]) {
    uint16_t echo = six ? 128 : 8, answer = six ? 129 : 0;
    if (ports[1] == echo) {
        ports[0] = echo;
        ports[1] = answer;
        return false;
    }
    if (ports[0] == echo) {
        ports[0] = answer;
        ports[1] = echo;
        return false;
    }
    return pair_of(six, ports[0]) != ports[1];
}

static void put_base64(const uint8_t digest[SHA1_SIZE], char text[28]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 7; i++) {
        const uint8_t *at = digest + 3 * i;
        uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | (i < 6 ? at[2] : 0u);
        for (int j = 0; j < 4; j++) text[4 * i + j] = letters[bits >> (18 - 6 * j) & 63];
    }
    text[27] = '=';
}

bool community_id(const struct community_flow *flow, char text[COMMUNITY_SIZE]) {
    uint16_t ports[2] = {flow->source_port, flow->destination_port};
    const uint8_t *first = flow->source, *second = flow->destination;
    uint8_t size = flow->address_size, protocol = flow->protocol, message[SHA1_ONE_BLOCK] = {0}, digest[SHA1_SIZE];
    bool six = size == 16, icmp = protocol == ICMP || protocol == ICMPV6, one_way = false;
    bool with_ports = protocol == TCP || protocol == UDP || protocol == SCTP;
    if (!is_kept(protocol)) return false;
    if (icmp) {
        protocol = six ? ICMPV6 : ICMP; /* as records have it, by the addresses */
        one_way = icmp_ports(six, ports);
    } else if (!with_ports) {
        ports[0] = ports[1] = 0;
    }
    int order = memcmp(first, second, size);
    bool swapped = !one_way && (order > 0 || (order == 0 && ports[0] > ports[1]));
    uint8_t *at = message + 2; /* after the seed */
    memcpy(at, swapped ? second : first, size);
    memcpy(at + size, swapped ? first : second, size);
    at += 2 * size;
    *at++ = protocol;
    *at++ = 0;
    for (int i = 0; (icmp || with_ports) && i < 2; i++) {
        uint16_t port = ports[swapped ? 1 - i : i];
        *at++ = (uint8_t)(port >> 8);
        *at++ = (uint8_t)port;
    }
    sha1_short(message, (size_t)(at - message), digest);
    memcpy(text, "1:", 2);
    put_base64(digest, text + 2);
    return true;
}
