/* Where the packets are in captured bytes. _framing_reference.py is the specification. */
#ifndef FLOWSONAR_FRAMING_H
#define FLOWSONAR_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAX_CAPTURED = 262144,  /* longest captured packet believed; libpcap has the same bound */
    MAX_BLOCK = 1 << 20,    /* longest pcapng packet block believed */
    FRAME_ENTRY_SIZE = 24,  /* of Block.frames */
    INTERFACE_SIZE = 24,    /* of the interface table of index_pcapng */
    PCAPNG_PACKET_BYTES = 32, /* what an enhanced packet block adds to a packet, but for the padding */
};

enum problem { PROBLEM_NONE, PROBLEM_CAPTURED, PROBLEM_BLOCK, PROBLEM_INTERFACE, PROBLEM_MEMORY };

/* Frame entries as they are found; starts as {0}, free(entries) when done. */
struct frames {
    uint8_t *entries;
    size_t count;
    size_t room;
};

struct pcap_format {
    bool big_endian;
    uint32_t fraction_ns;
    uint32_t extra_header;
    uint16_t linktype;
    uint16_t interface;
};

/* All return how many bytes were done, and set the problem of what stands there. size < 4 GiB. */
size_t index_pcap(const uint8_t *data, size_t size, const struct pcap_format *format, struct frames *frames,
                  enum problem *problem);
size_t index_pcapng(const uint8_t *data, size_t size, bool big_endian, const uint8_t *interfaces,
                    size_t interface_count, struct frames *frames, enum problem *problem);

/* One TPACKET_V3 block; puts VLAN tags back in place. False when there is no memory. */
bool index_ring(uint8_t *block, size_t size, uint16_t linktype, uint16_t interface, bool skip_outgoing,
                struct frames *frames);

/* Bytes of enhanced packet blocks for these frames; writes them where `out` is not NULL. */
size_t render_pcapng(const uint8_t *data, size_t size, const uint8_t *frames, size_t count, uint8_t *out);

#endif
