#include <string.h>

#include "bytes.h"
#include "lane.h"
#include "stream.h"
#include "table_state.h"

bool starts_followed(const struct table_settings *settings, const uint8_t *data, uint32_t size) {
    for (uint32_t i = 0; i < settings->prefixes; i++)
        if (settings->prefix_size[i] <= size && memcmp(settings->prefix[i], data, settings->prefix_size[i]) == 0)
            return true;
    return false;
}

/* Whether a datagram is STUN's with its cookie (RFC 8489 section 5): calls begin so, and are followed until their
   media comes. */
static bool starts_call(const uint8_t *data, uint32_t size, uint32_t wire_length) {
    return size >= 20 && data[0] < 4 && be32(data + 4) == STUN_COOKIE && be16(data + 2) + 20u == wire_length;
}

bool wants_payload(const struct table *t, uint32_t slot, int direction) {
    const struct flow *flow = &t->flows[slot];
    uint32_t budget = flow->key.protocol == PROTOCOL_TCP ? t->settings.budget_tcp : t->settings.budget_udp;
    return !(flow->status & STATUS_RELEASED) && (flow->status & STATUS_FOLLOWING || flow->payloads[direction] < budget);
}

void count_payload(struct table *t, uint32_t slot, int direction, const struct packet *packet) {
    const struct table_settings *settings = &t->settings;
    struct flow *flow = &t->flows[slot];
    const uint8_t *data = packet->payload;
    uint32_t size = packet->payload_captured, budget = settings->budget_udp;
    int64_t offset = 0;
    if (packet->protocol == PROTOCOL_TCP) {
        uint32_t sequence = packet->sequence + (packet->flags & TCP_SYN ? 1 : 0);
        if (!stream_segment(flow, direction, sequence, packet->payload_wire, &offset,
                            &t->counters[COUNT_tcp_lost_place])) return;
        if (offset < 0) { /* from before the first byte seen */
            uint32_t skipped = -offset < (int64_t)size ? (uint32_t)-offset : size;
            if (skipped) data += skipped;
            size -= skipped;
            offset = 0;
        }
        budget = settings->budget_tcp;
    }
    uint32_t index = flow->payloads[direction];
    if (index < UINT32_MAX) flow->payloads[direction]++;
    if (index == 0 && !(flow->status & STATUS_RELEASED) &&
        (packet->protocol == PROTOCOL_TCP ? starts_followed(settings, data, size)
                                          : packet->protocol == PROTOCOL_UDP &&
                                                starts_call(data, size, packet->payload_wire)))
        flow->status |= STATUS_FOLLOWING;
    bool is_short = flow->status & STATUS_FOLLOWING &&
                    (packet->protocol == PROTOCOL_UDP || packet->payload_wire <= settings->followed_bytes);
    if (flow->status & STATUS_RELEASED || size == 0 || !(is_short || index < budget)) return;
    if (size > settings->payload_bytes) {
        size = settings->payload_bytes;
        t->counters[COUNT_payloads_cut]++;
    }
    bool acknowledges = packet->protocol == PROTOCOL_TCP && packet->flags & TCP_ACK;
    struct seen seen = {data, (uint64_t)offset, size, packet->payload_wire, index, acknowledges ? packet->ack : 0, direction};
    if (t->lanes)
        lane_payload(t, slot, &seen);
    else
        report_payload(t, slot, &seen);
    uint32_t most = packet->protocol == PROTOCOL_UDP ? settings->followed_datagrams : settings->followed_packets;
    if (flow->status & STATUS_FOLLOWING && ++flow->followed >= most) {
        flow->status = (uint16_t)((flow->status & ~STATUS_FOLLOWING) | STATUS_RELEASED);
        t->counters[COUNT_follows_ended]++;
    }
}
