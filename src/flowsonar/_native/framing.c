#include "framing.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define SECOND_NS UINT64_C(1000000000)

static bool frames_add(struct frames *frames, uint64_t time_ns, size_t start, uint32_t captured, uint32_t wire,
                       uint16_t linktype, uint16_t interface) {
    if (frames->count == frames->room) {
        size_t room = frames->room ? frames->room * 2 : 1024;
        uint8_t *entries = realloc(frames->entries, room * FRAME_ENTRY_SIZE);
        if (!entries) return false;
        frames->entries = entries;
        frames->room = room;
    }
    uint8_t *entry = frames->entries + frames->count++ * FRAME_ENTRY_SIZE;
    put_le64(entry, time_ns);
    put_le32(entry + 8, (uint32_t)start);
    put_le32(entry + 12, captured);
    put_le32(entry + 16, wire > captured ? wire : captured);
    put_le16(entry + 20, linktype);
    put_le16(entry + 22, interface);
    return true;
}

static inline uint32_t read32(const uint8_t *p, bool big_endian) { return big_endian ? be32(p) : le32(p); }

static inline uint16_t read16(const uint8_t *p, bool big_endian) { return big_endian ? be16(p) : le16(p); }

/* Each record's place is known only when the one before it was read: ask for the memory ahead, record or not. */
static inline void fetch(const uint8_t *data, size_t size, size_t at, size_t *fetched) {
    enum { LINE = 64, AHEAD = 2048 };
    size_t to = size - at > AHEAD ? at + AHEAD : size;
    for (; *fetched < to; *fetched += LINE) __builtin_prefetch(data + *fetched);
}

size_t index_pcap(const uint8_t *data, size_t size, const struct pcap_format *format, struct frames *frames,
                  enum problem *problem) {
    size_t at = 0, fetched = 0, header = 16 + (size_t)format->extra_header;
    *problem = PROBLEM_NONE;
    while (size - at >= header) {
        fetch(data, size, at, &fetched);
        const uint8_t *record = data + at;
        bool big = format->big_endian;
        uint64_t time_ns = read32(record, big) * SECOND_NS + (uint64_t)read32(record + 4, big) * format->fraction_ns;
        uint32_t captured = read32(record + 8, big), wire = read32(record + 12, big);
        if (captured > MAX_CAPTURED) {
            *problem = PROBLEM_CAPTURED;
            break;
        }
        if (captured > size - at - header) break;
        if (!frames_add(frames, time_ns, at + header, captured, wire, format->linktype, format->interface)) {
            *problem = PROBLEM_MEMORY;
            break;
        }
        at += header + captured;
    }
    return at;
}

/* pcapng block types, draft-ietf-opsawg-pcapng section 4. */
enum { SIMPLE_PACKET = 3, PACKET = 2, ENHANCED_PACKET = 6 };

/* Nanoseconds since the epoch, kept to 0 .. 2^63 - 1. */
static uint64_t pcapng_time(uint64_t ticks, uint64_t rate, int64_t offset_s) {
    if (rate == 0) rate = 1000000;
    uint64_t seconds = ticks / rate, rest = ticks % rate;
    uint64_t fraction_ns = rate == 1000000 ? rest * 1000 : (uint64_t)((unsigned __int128)rest * SECOND_NS / rate);
    __int128 time_ns = ((__int128)seconds + offset_s) * (__int128)SECOND_NS + fraction_ns;
    if (time_ns < 0) return 0;
    return time_ns > INT64_MAX ? INT64_MAX : (uint64_t)time_ns;
}

size_t index_pcapng(const uint8_t *data, size_t size, bool big, const uint8_t *interfaces, size_t interface_count,
                    struct frames *frames, enum problem *problem) {
    size_t at = 0, fetched = 0;
    uint64_t time_ns = 0;
    *problem = PROBLEM_NONE;
    while (size - at >= 12) {
        fetch(data, size, at, &fetched);
        const uint8_t *block = data + at;
        uint32_t type = read32(block, big), total = read32(block + 4, big);
        uint32_t header = type == SIMPLE_PACKET ? 12 : 28, number = 0, captured, wire;
        if (type != SIMPLE_PACKET && type != PACKET && type != ENHANCED_PACKET) break;
        *problem = PROBLEM_BLOCK;
        if (total % 4 || total < header + 4 || total > MAX_BLOCK) break;
        if (total > size - at) {
            *problem = PROBLEM_NONE;
            break;
        }
        if (read32(block + total - 4, big) != total) break;
        if (type == SIMPLE_PACKET)
            wire = read32(block + 8, big);
        else {
            number = type == ENHANCED_PACKET ? read32(block + 8, big) : read16(block + 8, big);
            wire = read32(block + 24, big);
        }
        if (number >= interface_count) {
            *problem = PROBLEM_INTERFACE;
            break;
        }
        const uint8_t *interface = interfaces + (size_t)number * INTERFACE_SIZE;
        if (type == SIMPLE_PACKET) {
            uint32_t snaplen = le32(interface + 4);
            captured = wire < total - header - 4 ? wire : total - header - 4;
            if (snaplen && captured > snaplen) captured = snaplen;
        } else {
            uint64_t ticks = (uint64_t)read32(block + 12, big) << 32 | read32(block + 16, big);
            captured = read32(block + 20, big);
            time_ns = pcapng_time(ticks, le64(interface + 8), (int64_t)le64(interface + 16));
        }
        if (captured > MAX_CAPTURED) {
            *problem = PROBLEM_CAPTURED;
            break;
        }
        if (captured > total - header - 4) break;
        if (!frames_add(frames, time_ns, at + header, captured, wire, le16(interface), le16(interface + 2))) {
            *problem = PROBLEM_MEMORY;
            break;
        }
        *problem = PROBLEM_NONE;
        at += total;
    }
    return at;
}

/* linux/if_packet.h, written out so that the file compiles everywhere. */
enum {
    VLAN_VALID = 0x10,
    VLAN_TPID_VALID = 0x40,
    OUTGOING = 4,
    RING_HEADER = 48, /* TPACKET_ALIGN(sizeof(struct tpacket3_hdr)); struct sockaddr_ll follows */
    RING_ADDRESS_END = RING_HEADER + 20,
    PACKET_TYPE_AT = RING_HEADER + 10,
};

bool index_ring(uint8_t *block, size_t size, uint16_t linktype, uint16_t interface, bool skip_outgoing,
                struct frames *frames) {
    if (size < 24) return true;
    uint32_t count = native32(block + 12);
    size_t at = native32(block + 16);
    for (uint32_t i = 0; i < count; i++) {
        if (at > size || size - at < RING_ADDRESS_END) break;
        const uint8_t *header = block + at;
        uint32_t step = native32(header), captured = native32(header + 12), wire = native32(header + 16);
        uint32_t status = native32(header + 20);
        uint64_t time_ns = native32(header + 4) * SECOND_NS + native32(header + 8);
        uint16_t mac = native16(header + 24), tci = (uint16_t)native32(header + 32), tpid = native16(header + 36);
        bool outgoing = header[PACKET_TYPE_AT] == OUTGOING;
        size_t start = at + mac;
        if (start > size || captured > size - start) break;
        if (!(outgoing && skip_outgoing)) {
            if (linktype == 1 && status & VLAN_VALID && captured >= 12 && mac >= RING_HEADER + 4) {
                uint16_t tag = status & VLAN_TPID_VALID ? tpid : 0x8100;
                uint8_t *frame = block + start - 4;
                memmove(frame, frame + 4, 12);
                frame[12] = (uint8_t)(tag >> 8);
                frame[13] = (uint8_t)tag;
                frame[14] = (uint8_t)(tci >> 8);
                frame[15] = (uint8_t)tci;
                start -= 4;
                captured += 4;
                wire = wire > UINT32_MAX - 4 ? UINT32_MAX : wire + 4;
            }
            if (!frames_add(frames, time_ns, start, captured, wire, linktype, interface)) return false;
        }
        if (step == 0) break;
        at += step;
    }
    return true;
}

size_t render_pcapng(const uint8_t *data, size_t size, const uint8_t *frames, size_t count, uint8_t *out) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = frames + i * FRAME_ENTRY_SIZE;
        uint32_t start = le32(entry + 8), captured = le32(entry + 12);
        if (start > size || captured > size - start) continue;
        uint32_t pad = (4 - captured % 4) % 4;
        /* Written as size_t, so that it does not wrap for a captured length near 2^32; the field itself may. */
        size_t total = PCAPNG_PACKET_BYTES + (size_t)captured + pad;
        if (out) {
            uint8_t *block = out + at;
            put_le32(block, ENHANCED_PACKET);
            put_le32(block + 4, (uint32_t)total);
            put_le32(block + 8, le16(entry + 22));
            put_le32(block + 12, le32(entry + 4));
            put_le32(block + 16, le32(entry));
            put_le32(block + 20, captured);
            put_le32(block + 24, le32(entry + 16));
            memcpy(block + 28, data + start, captured);
            memset(block + 28 + captured, 0, pad);
            put_le32(block + total - 4, (uint32_t)total);
        }
        at += total;
    }
    return at;
}
