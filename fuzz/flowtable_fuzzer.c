/* libFuzzer harness of the C core: any bytes are walked as pcap, pcapng and ring block, and fed as frames of any link
   type to a small flow table, whose invariants are checked after each call. fuzz/run.sh builds and runs it. */
#include "bytes.h"
#include "framing.h"
#include "fuzzer.h"
#include "table.h"

enum { FRAMES_MAX = 512, INTERFACES = 2, CAPACITY_MAX = 8 };

/* What was said of the flow in a slot. */
struct told {
    uint64_t flow;
    bool open;
    bool tcp;
    bool established;
};

struct watch {
    struct table *table;
    uint32_t capacity;
    uint64_t opened;
    uint64_t closed;
    uint64_t last_flow;
    struct told told[CAPACITY_MAX];
};

/* A flow is opened once, established at most once where it is TCP, and silent after its close. */
static void follow_life(struct watch *watch, const struct event *event) {
    uint32_t slot = (uint32_t)event->flow;
    REQUIRE(slot < watch->capacity);
    struct told *told = &watch->told[slot];
    if (event->kind == EVENT_OPENED) {
        REQUIRE(!told->open && event->flow != told->flow);
        *told = (struct told){.flow = event->flow, .open = true, .tcp = event->opened.protocol == 6};
    }
    REQUIRE(told->open && event->flow == told->flow);
    if (event->kind == EVENT_ESTABLISHED) {
        REQUIRE(told->tcp && !told->established);
        told->established = true;
    }
    if (event->kind == EVENT_CLOSED && event->closed.reason != CLOSE_ACTIVE) told->open = false;
}

static void take(struct watch *watch) {
    size_t count;
    const struct event *events = table_take(watch->table, &count);
    REQUIRE(count <= EVENTS);
    for (size_t i = 0; i < count; i++) {
        const struct event *event = &events[i];
        follow_life(watch, event);
        switch (event->kind) {
        case EVENT_OPENED:
            watch->opened++;
            watch->last_flow = event->flow;
            REQUIRE(event->opened.address_size == 4 || event->opened.address_size == 16);
            break;
        case EVENT_ESTABLISHED:
            break;
        case EVENT_PAYLOAD:
            REQUIRE(event->payload.size >= 1 && event->payload.size <= 2048);
            REQUIRE(event->payload.size <= event->payload.wire_length);
            REQUIRE(event->payload.direction <= 1);
            touch(event->payload.data, event->payload.size); /* in the block, or put together from fragments */
            break;
        case EVENT_CLOSED:
            if (event->closed.reason != CLOSE_ACTIVE) watch->closed++;
            REQUIRE(event->closed.first_ns <= event->closed.last_ns);
            REQUIRE(event->closed.packets[0] + event->closed.packets[1] > 0);
            break;
        }
    }
}

static void check(const struct watch *watch) {
    uint64_t drops = 0;
    for (int i = COUNT_frames_bad_entry; i <= COUNT_frames_other_interface; i++)
        drops += table_counter(watch->table, (enum counter)i);
    REQUIRE(table_counter(watch->table, COUNT_frames) == table_counter(watch->table, COUNT_packets) + drops);
    REQUIRE(table_size(watch->table) <= watch->capacity);
    REQUIRE(watch->opened - watch->closed == table_size(watch->table));
}

static void feed(struct watch *watch, const uint8_t *data, size_t size, const uint8_t *frames, size_t count) {
    for (size_t done = 0; done < count;) {
        size_t next = table_feed(watch->table, data, size, frames, count, done);
        REQUIRE(next <= count);
        take(watch);
        done = next;
    }
    check(watch);
}

/* The input as a list of frames: one byte for link type and step of time, one for the length, then the frame. */
static size_t cut(const uint8_t *data, size_t size, uint8_t *frames) {
    static const uint16_t links[] = {1, 1, 1, 1, 101, 0, 9, 12, 50, 51, 104, 108, 113, 192, 204, 276};
    uint64_t time_ns = UINT64_C(1700000000000000000);
    size_t at = 0, count = 0;
    while (count < FRAMES_MAX && size - at >= 2) {
        uint8_t kind = data[at], length = data[at + 1];
        size_t captured = length < size - at - 2 ? length : size - at - 2;
        uint64_t step = UINT64_C(1) << (kind >> 4) * 3;
        time_ns = kind & 0x10 && kind & 0x80 ? time_ns - step : time_ns + step;
        uint8_t *entry = frames + count++ * FRAME_SIZE;
        put_le64(entry, time_ns);
        put_le32(entry + 8, (uint32_t)(at + 2));
        put_le32(entry + 12, (uint32_t)captured);
        put_le32(entry + 16, (uint32_t)captured + (length == 255 ? 1000 : 0));
        put_le16(entry + 20, links[kind & 15]);
        put_le16(entry + 22, length == 77);
        at += 2 + captured;
    }
    return count;
}

static void walk(struct watch *watch, const uint8_t *data, size_t size, bool big_endian) {
    struct pcap_format format = {big_endian, 1000, big_endian ? 8 : 0, 1, 0};
    uint8_t interfaces[INTERFACES * INTERFACE_SIZE] = {1, 0, 0, 0, 96, 0, 0, 0, 0x40, 0x42, 0x0f, 0};
    interfaces[INTERFACE_SIZE] = 101;
    enum problem problem;
    struct frames frames = {0};
    size_t consumed = index_pcap(data, size, &format, &frames, &problem);
    REQUIRE(consumed <= size);
    feed(watch, data, size, frames.entries, frames.count);

    frames.count = 0;
    consumed = index_pcapng(data, size, big_endian, interfaces, INTERFACES, &frames, &problem);
    REQUIRE(consumed <= size);
    feed(watch, data, size, frames.entries, frames.count);

    uint8_t *ring = malloc(size ? size : 1);
    REQUIRE(ring);
    memcpy(ring, data, size);
    frames.count = 0;
    REQUIRE(index_ring(ring, size, 1, 0, big_endian, &frames));
    feed(watch, ring, size, frames.entries, frames.count);
    free(ring);

    size_t rendered = render_pcapng(data, size, frames.entries, frames.count, NULL);
    uint8_t *out = malloc(rendered ? rendered : 1);
    REQUIRE(out);
    REQUIRE(render_pcapng(data, size, frames.entries, frames.count, out) == rendered);
    free(out);
    free(frames.entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t frames[FRAMES_MAX * FRAME_SIZE];
    if (size < 2) return 0;
    uint8_t choice = data[0];
    struct table_settings settings = {
        .capacity = 1 + (choice & (CAPACITY_MAX - 1)),
        .idle_ns = UINT64_C(1000000000) << (choice >> 6) * 3,
        .active_ns = UINT64_C(3000000000),
        .half_open_ns = UINT64_C(1000000000) << (choice >> 5 & 3),
        .budget_tcp = 3,
        .budget_udp = 5,
        .payload_bytes = 2048,
        .followed_packets = 16,
        .followed_bytes = 64,
        .followed_datagrams = 8,
        .prefixes = 1,
        .prefix_size = {1},
        .prefix = {{'2'}},
    };
    struct watch watch = {.table = table_new(&settings), .capacity = settings.capacity};
    REQUIRE(watch.table);
    size_t count = cut(data + 1, size - 1, frames);
    feed(&watch, data + 1, size - 1, frames, count / 2);
    (choice & 8 ? table_follow : table_release)(watch.table, watch.last_flow);
    feed(&watch, data + 1, size - 1, frames + count / 2 * FRAME_SIZE, count - count / 2);
    walk(&watch, data + 1, size - 1, choice & 16);
    while (!table_expire(watch.table, le64((const uint8_t[8]){data[1], 0, 0, 0, 0, 0, 0, choice & 0x7f})))
        take(&watch);
    take(&watch);
    check(&watch);
    while (!table_finish(watch.table)) take(&watch);
    take(&watch);
    check(&watch);
    REQUIRE(table_size(watch.table) == 0);
    table_free(watch.table);
    return 0;
}
