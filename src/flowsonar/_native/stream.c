#include "stream.h"

enum { WINDOW = 1 << 24 }; /* a segment further than this from the stream's place is a new start */

void stream_start(struct flow *flow, int direction, uint32_t sequence) {
    flow->stream[direction].end = 0;
    flow->stream[direction].end_sequence = sequence;
    set_status(flow, STATUS_STARTED, direction);
}

/* Whether a segment overlaps the hole, which then shrinks. */
static bool stream_fill(struct stream *stream, int64_t offset, int64_t end) {
    int64_t hole_end = (int64_t)stream->end - stream->hole_back;
    int64_t hole_start = hole_end - stream->hole;
    if (!stream->hole || offset >= hole_end || end <= hole_start) return false;
    if (offset <= hole_start)
        hole_start = end < hole_end ? end : hole_end;
    else
        hole_end = offset;
    stream->hole = (uint32_t)(hole_end - hole_start);
    stream->hole_back = stream->hole ? (uint32_t)((int64_t)stream->end - hole_end) : 0;
    return true;
}

bool stream_segment(struct flow *flow, int direction, uint32_t sequence, uint32_t length, int64_t *offset,
                    uint64_t *lost) {
    struct stream *stream = &flow->stream[direction];
    if (!status_of(flow, STATUS_STARTED, direction)) stream_start(flow, direction, sequence);
    int32_t distance = (int32_t)(sequence - stream->end_sequence);
    if (distance > WINDOW || distance < -WINDOW) {
        distance = 0;
        stream->end_sequence = sequence;
        stream->hole = 0;
        (*lost)++;
    }
    *offset = (int64_t)stream->end + distance;
    int64_t end = *offset + length;
    bool fresh = stream_fill(stream, *offset, end);
    if (end > (int64_t)stream->end) {
        fresh = true;
        if (stream->hole) {
            stream->hole_back += (uint32_t)(end - (int64_t)stream->end);
        } else if (distance > 0) {
            stream->hole = (uint32_t)distance;
            stream->hole_back = length;
        }
        if (stream->hole_back > WINDOW) stream->hole = stream->hole_back = 0;
        stream->end = (uint64_t)end;
        stream->end_sequence = sequence + length;
    }
    return fresh;
}
