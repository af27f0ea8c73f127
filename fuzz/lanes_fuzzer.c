/* libFuzzer harness of the fast lane, of captures and live: the input is what a few flows say, put into sound packets,
   some in a tunnel, and what Python would tell of the shapes and endpoints that come up. The signatures' tables are read from the file that FLOWSONAR_LANES_FILE names;
   fuzz/run.sh makes it, builds and runs this. */
#include "askable.h"
#include "bytes.h"
#include "fuzzer.h"
#include "known.h"
#include "lane.h"
#include "table.h"

enum {
    FLOWS = 8,
    MESSAGES = 64,
    MESSAGE_MAX = 1400,
    HEADERS = 60,
    PORT_BYTES = 8192,
    PARTS = PATTERNS_GROUPS + 3,
};

static struct lane_settings lanes;

/* One transport's tables, as signatures/lanetables.py writes them; gives where they end. */
static const uint8_t *read_tables(const uint8_t *at, const uint8_t *end, struct patterns_tables *tables) {
    const uint8_t *head = at;
    at += 4 * (PARTS + PATTERNS_GROUPS);
    const uint8_t *parts[PARTS];
    for (int i = 0; i < PARTS; i++) {
        parts[i] = at;
        REQUIRE(le32(head + 4 * i) <= (size_t)(end - at));
        at += le32(head + 4 * i);
    }
    for (int i = 0; i < PATTERNS_GROUPS; i++) {
        tables->program[i] = parts[i];
        tables->program_size[i] = le32(head + 4 * i);
        tables->instructions[i] = le32(head + 4 * (PARTS + i));
    }
    tables->rules = parts[PATTERNS_GROUPS];
    tables->rules_size = le32(head + 4 * PATTERNS_GROUPS);
    tables->fields = parts[PATTERNS_GROUPS + 1];
    tables->fields_size = le32(head + 4 * (PATTERNS_GROUPS + 1));
    tables->bytes = parts[PATTERNS_GROUPS + 2];
    tables->bytes_size = le32(head + 4 * (PATTERNS_GROUPS + 2));
    return at;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    const char *name = getenv("FLOWSONAR_LANES_FILE");
    FILE *file = name ? fopen(name, "rb") : NULL;
    REQUIRE(file);
    static uint8_t data[16 << 20];
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    REQUIRE(size > 2 * PORT_BYTES);
    lanes.served[0] = data;
    lanes.served[1] = data + PORT_BYTES;
    const uint8_t *at = data + 2 * PORT_BYTES;
    for (int i = 0; i < 2; i++) at = read_tables(at, data + size, &lanes.tables[i]);
    REQUIRE(at == data + size);
    return 0;
}

struct talk {
    struct table *table;
    bool live;
    const uint8_t *choices; /* of what is told of shapes; used again and again */
    size_t choices_size, choices_at;
};

static uint8_t choice(struct talk *talk) {
    return talk->choices_size ? talk->choices[talk->choices_at++ % talk->choices_size] : 0;
}

/* Tell of a shape what Python might. */
static void teach(struct talk *talk, uint32_t node) {
    if (node == SHAPES_NONE) return;
    static const uint16_t told[] = {
        SHAPE_KNOWN,
        SHAPE_PYTHON,
        SHAPE_KNOWN | SHAPE_LABELS,
        SHAPE_KNOWN | SHAPE_LABELS | SHAPE_TOLD | SHAPE_DONE,
        SHAPE_KNOWN | SHAPE_DONE,
        SHAPE_KNOWN | SHAPE_NAMED,
        SHAPE_KNOWN | SHAPE_TLS,
        SHAPE_KNOWN | SHAPE_TLS | SHAPE_READ_INITIATOR,
        SHAPE_KNOWN | SHAPE_TLS | SHAPE_READ_RESPONDER | SHAPE_NAMED | SHAPE_TOLD,
        SHAPE_KNOWN | SHAPE_IN_QUIC | SHAPE_LABELS,
        SHAPE_KNOWN | SHAPE_SURE | SHAPE_TOLD,
        SHAPE_KNOWN | SHAPE_MEDIA,
        SHAPE_KNOWN | SHAPE_MEDIA | SHAPE_MESSAGE | SHAPE_TOLD,
        SHAPE_KNOWN | SHAPE_QUIET | SHAPE_QUIET << 1,
        0,
    };
    uint8_t which = choice(talk);
    REQUIRE(lane_learn(table_lanes(talk->table), node, told[which % (sizeof told / sizeof *told)], which));
}

static void take(struct talk *talk) {
    size_t count, rows;
    const struct row *row = lane_rows(table_lanes(talk->table), &rows);
    for (size_t i = 0; i < rows; i++) {
        touch(row[i].name, row[i].name_size);
        touch(row[i].hello, row[i].hello_size);
        REQUIRE(row[i].first_ns <= row[i].last_ns);
        REQUIRE(row[i].early || row[i].packets[0] + row[i].packets[1] > 0);
        REQUIRE(talk->live || !(row[i].early || row[i].learned));
        touch(row[i].said, row[i].said_size);
    }
    const struct event *events = table_take(talk->table, &count);
    for (size_t i = 0; i < count; i++) {
        if (events[i].kind == EVENT_PAYLOAD) touch(events[i].payload.data, events[i].payload.size);
        if (events[i].kind == EVENT_PAYLOAD || events[i].kind == EVENT_CLOSED) teach(talk, events[i].node);
        if (events[i].kind == EVENT_PAYLOAD && choice(talk) == 1)
            (choice(talk) & 1 ? table_follow : table_release)(talk->table, events[i].flow);
    }
}

/* Make a table live: some of the flows' servers are known, of some nobody is asked. */
static void make_live(struct table *table) {
    static const uint8_t asked[ASKABLE_ENTRY] = {10, 0, 1, 0, [16] = 30, 4}; /* half of them */
    struct lanes *of = table_lanes(table);
    REQUIRE(lane_live(of, 0, 3600));
    lane_ask(of, askable_new(asked, 1));
    for (uint8_t number = 1; number <= 4; number++) {
        struct known_kind kind = {.mark = {number}, .verdicts = {number, number, 0}};
        REQUIRE(known_add(lane_known(of), &kind) == number);
        REQUIRE(known_teach(lane_known(of), number + 4u, number) && (number & 1 || known_settle(lane_known(of), number)));
    }
}

/* Tell what became of an endpoint: learned, forgotten, at rest, a socket of ours. */
static void tell(struct talk *talk) {
    static const uint16_t ports[] = {443, 53, 80, 5004, 5353, 21, 5060, 33033};
    struct known *known = lane_known(table_lanes(talk->table));
    uint8_t flow = choice(talk) & 7, what = choice(talk);
    struct known_endpoint endpoint = {.address = {10, 0, 1, flow}, .port = ports[flow], .protocol = what & 8 ? 6 : 17,
                                      .version = 4};
    if (what & 16)
        known_leave(known, &endpoint, what & 32 ? UINT32_MAX : 1700000000);
    else
        known_put(known, &endpoint, (what & 7) > 4 ? KNOWN_UNSURE : what & 7, UINT32_MAX, 0);
}

/* An IPv4 packet of one message; gives its size. */
static size_t plain(uint8_t *out, unsigned flow, bool tcp, bool back, uint8_t flags, uint32_t sequence,
                     const uint8_t *data, size_t size) {
    static const uint16_t ports[FLOWS] = {443, 53, 80, 5004, 5353, 21, 5060, 33033};
    size_t header = tcp ? 40 : 28;
    memset(out, 0, header);
    out[0] = 0x45;
    out[2] = (uint8_t)((header + size) >> 8);
    out[3] = (uint8_t)(header + size);
    out[8] = 64;
    out[9] = tcp ? 6 : 17;
    put_be32(out + (back ? 16 : 12), 0x0a000001);
    put_be32(out + (back ? 12 : 16), 0x0a000100 + flow);
    uint8_t *ends = out + 20;
    uint16_t mine = (uint16_t)(40000 + flow), server = ports[flow];
    ends[back ? 2 : 0] = (uint8_t)(mine >> 8);
    ends[back ? 3 : 1] = (uint8_t)mine;
    ends[back ? 0 : 2] = (uint8_t)(server >> 8);
    ends[back ? 1 : 3] = (uint8_t)server;
    if (tcp) {
        put_be32(ends + 4, sequence);
        ends[12] = 0x50;
        ends[13] = flags;
    } else {
        ends[4] = (uint8_t)((size + 8) >> 8);
        ends[5] = (uint8_t)(size + 8);
    }
    memcpy(out + header, data, size);
    return header + size;
}

/* The same, perhaps in another one of protocol 4. */
static size_t packet(uint8_t *out, unsigned flow, bool inside, bool tcp, bool back, uint8_t flags, uint32_t sequence,
                     const uint8_t *data, size_t size) {
    if (!inside) return plain(out, flow, tcp, back, flags, sequence, data, size);
    size_t made = 20 + plain(out + 20, flow, tcp, back, flags, sequence, data, size);
    memset(out, 0, 20);
    out[0] = 0x45;
    out[2] = (uint8_t)(made >> 8);
    out[3] = (uint8_t)made;
    out[8] = 64;
    out[9] = 4;
    put_be32(out + (back ? 16 : 12), 0xc0000201);
    put_be32(out + (back ? 12 : 16), 0xc0000202);
    return made;
}

/* The messages: a byte for flow, transport, direction and tunnel, one for flags, gap and time, one for the length. */
static size_t compose(const uint8_t *data, size_t size, uint8_t *out, uint8_t *entries, size_t *used) {
    uint32_t next[FLOWS][2] = {{0}};
    uint64_t time_ns = UINT64_C(1700000000000000000);
    size_t at = 0, count = 0;
    *used = 0;
    while (count < MESSAGES && size - at >= 3) {
        uint8_t who = data[at], how = data[at + 1];
        size_t wanted = data[at + 2] == 255 ? MESSAGE_MAX : data[at + 2], left = size - at - 3;
        size_t length = wanted < left ? wanted : left;
        unsigned flow = who & (FLOWS - 1);
        bool tcp = who & 8, back = who & 16;
        uint8_t flags = how & 1 ? 0x02 : how & 2 ? 0x11 : how & 4 ? 0x04 : 0x18;
        uint32_t sequence = next[flow][back] + (how & 8 ? 10 : 0);
        time_ns += UINT64_C(1) << (how >> 4) * 2;
        uint8_t *entry = entries + count++ * FRAME_SIZE;
        size_t made = packet(out + *used, flow, who & 32, tcp, back, flags, sequence, data + at + 3, length);
        put_le64(entry, time_ns);
        put_le32(entry + 8, (uint32_t)*used);
        put_le32(entry + 12, (uint32_t)made);
        put_le32(entry + 16, (uint32_t)made);
        put_le16(entry + 20, 228);
        put_le16(entry + 22, 0);
        next[flow][back] = sequence + (uint32_t)length + (flags & 0x03 ? 1 : 0);
        *used += made;
        at += 3 + length;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t bytes[MESSAGES * (HEADERS + MESSAGE_MAX)], entries[MESSAGES * FRAME_SIZE];
    if (size < 4) return 0;
    size_t choices = data[0] % 16 < size - 1 ? data[0] % 16 : size - 1, used;
    struct table_settings settings = {
        .capacity = 4,
        .idle_ns = UINT64_C(60000000000),
        .active_ns = UINT64_C(300000000000),
        .half_open_ns = UINT64_C(30000000000),
        .budget_tcp = 3,
        .budget_udp = 5,
        .payload_bytes = 2048,
        .followed_packets = 16,
        .followed_bytes = 64,
        .followed_datagrams = 8,
        .prefixes = 1,
        .prefix_size = {3},
        .prefix = {{'2', '2', '0'}},
        .lanes = &lanes,
    };
    /* Making the automata takes longer than a hundred inputs: a table serves some of them. Its flows end with each; what
       it learned of shapes stays, so a crash may need the inputs before it: run the corpus again with -runs=0. */
    static struct table *tables[2]; /* one is live */
    static unsigned inputs[2];
    bool live = data[0] & 64;
    if (inputs[live]++ % 256 == 0) {
        table_free(tables[live]);
        tables[live] = table_new(&settings);
        REQUIRE(tables[live]);
        if (live) make_live(tables[live]);
    }
    struct talk talk = {.table = tables[live], .live = live, .choices = data + 1, .choices_size = choices};
    size_t count = compose(data + 1 + choices, size - 1 - choices, bytes, entries, &used);
    for (int round = 0; round < 2; round++) { /* the second time shapes are known */
        for (size_t done = 0; done < count;) {
            done = table_feed(talk.table, bytes, used, entries, count, done);
            REQUIRE(done <= count);
            take(&talk);
            if (live) tell(&talk);
        }
        if (data[0] & 16) lane_doubt(table_lanes(talk.table));
        if (data[0] & 32) {
            uint8_t address[16] = {10, 0, 1, (uint8_t)(data[0] & 7)};
            while (!lane_watch(talk.table, address)) take(&talk);
            take(&talk);
        }
        for (bool all = false; !all;) {
            all = table_finish(talk.table);
            take(&talk);
        }
        REQUIRE(table_size(talk.table) == 0);
        for (size_t i = 0; i < count; i++) put_le64(entries + i * FRAME_SIZE, le64(entries + i * FRAME_SIZE) + 1);
    }
    return 0;
}
