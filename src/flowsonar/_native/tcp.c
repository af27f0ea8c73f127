#include "live.h"
#include "stream.h"
#include "table_state.h"

static void linger(struct table *t, uint32_t slot, uint16_t reason) {
    struct flow *flow = &t->flows[slot];
    list_leave(t, slot);
    flow->status |= reason;
    flow->since = t->clock;
    list_add(t->flows, &t->lingering, slot);
}

bool tcp_same_start(const struct flow *flow, bool from_high, const struct packet *packet) {
    int direction = from_high != (bool)(flow->status & STATUS_INITIATOR_HIGH);
    const struct stream *stream = &flow->stream[direction];
    return status_of(flow, STATUS_SYN_SEEN, direction) &&
           stream->end_sequence - (uint32_t)stream->end == packet->sequence + 1;
}

void tcp_open(struct table *t, struct flow *flow, int direction, const struct packet *packet) {
    if (!status_of(flow, STATUS_STARTED, direction)) {
        stream_start(flow, direction, packet->sequence + 1);
        set_status(flow, STATUS_SYN_SEEN, direction);
    }
    if (direction == 0 && !(packet->flags & TCP_ACK) && handshake_ns(flow) == 0) {
        flow->handshake = t->now_ns;
        flow->status |= STATUS_SYN_TIMED;
    } else if (direction == 1 && packet->flags & TCP_ACK && flow->status & STATUS_SYN_TIMED) {
        flow->handshake = t->now_ns > flow->handshake ? t->now_ns - flow->handshake : 0;
        flow->status = (uint16_t)(flow->status & ~STATUS_SYN_TIMED);
    }
}

/* A sign that the responder accepted: its SYN-ACK; or that the connection stands: a segment of one that is
   synchronized, which has an ACK (RFC 9293 section 3.10.7.4) and no SYN. */
void tcp_establish(struct table *t, uint32_t slot, int direction, const struct packet *packet) {
    if ((packet->flags & (TCP_ACK | TCP_RST)) != TCP_ACK) return;
    if (packet->flags & TCP_SYN && direction == 0) return;
    list_leave(t, slot);
    list_add(t->flows, &t->active, slot);
    if (!t->lanes || live_is_followed(t, slot)) report_established(t, slot); /* only who asks wants to know */
}

void tcp_close(struct table *t, uint32_t slot, int direction, const struct packet *packet) {
    struct flow *flow = &t->flows[slot];
    int back = 1 - direction;
    if (packet->flags & TCP_FIN && !status_of(flow, STATUS_FIN_SEEN, direction)) {
        flow->stream[direction].fin_end =
            packet->sequence + packet->payload_wire + 1 + (packet->flags & TCP_SYN ? 1 : 0);
        set_status(flow, STATUS_FIN_SEEN, direction);
    }
    if (packet->flags & TCP_ACK && status_of(flow, STATUS_FIN_SEEN, back) &&
        packet->ack - flow->stream[back].fin_end < UINT32_C(0x80000000))
        set_status(flow, STATUS_FIN_ACKED, back);
    if (flow->status & STATUS_LINGERS) return;
    if (packet->flags & TCP_RST)
        linger(t, slot, STATUS_CLOSED_RST);
    else if (status_of(flow, STATUS_FIN_ACKED, 0) && status_of(flow, STATUS_FIN_ACKED, 1))
        linger(t, slot, STATUS_CLOSED_FIN);
}
