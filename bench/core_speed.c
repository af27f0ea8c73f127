/* The C core without Python: walk a classic little-endian pcap and feed a flow table, block by block as a reader would
   hand them over. Prints one line a round: packets, flows, events, nanoseconds for the walk and for the table.

       core_speed FILE.pcap ROUNDS  */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "framing.h"
#include "table.h"

enum { BLOCK = 1 << 20, FILE_HEADER = 24 };

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int round_of(FILE *file, const struct table_settings *settings, uint8_t *block) {
    const struct pcap_format format = {.fraction_ns = 1000, .linktype = 1};
    struct table *table = table_new(settings);
    struct frames frames = {0};
    size_t have = 0, packets = 0, events = 0, got;
    double walk_ns = 0, table_ns = 0;
    if (!table || fseek(file, FILE_HEADER, SEEK_SET)) return 1;
    while ((got = fread(block + have, 1, BLOCK - have, file)) > 0) {
        enum problem problem;
        have += got;
        frames.count = 0;
        double start = now_ns();
        size_t done = 0, consumed = index_pcap(block, have, &format, &frames, &problem);
        double between = now_ns();
        while (done < frames.count) {
            size_t count;
            done = table_feed(table, block, have, frames.entries, frames.count, done);
            table_take(table, &count);
            events += count;
        }
        table_ns += now_ns() - between;
        walk_ns += between - start;
        packets += frames.count;
        if (problem || (consumed == 0 && have == BLOCK)) return 1;
        memmove(block, block + consumed, have - consumed);
        have -= consumed;
    }
    printf("%zu %u %zu %.0f %.0f\n", packets, (unsigned)table_counter(table, COUNT_flows), events, walk_ns, table_ns);
    free(frames.entries);
    table_free(table);
    return 0;
}

int main(int argc, char **argv) {
    const struct table_settings settings = {
        .capacity = 1 << 18,
        .idle_ns = UINT64_C(120000000000),
        .active_ns = UINT64_C(1800000000000),
        .half_open_ns = UINT64_C(30000000000),
        .budget_tcp = 3,
        .budget_udp = 5,
        .payload_bytes = 2048,
        .followed_packets = 4096,
        .followed_bytes = 512,
    };
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    uint8_t *block = malloc(BLOCK);
    if (!file || !block) return 2;
    for (int left = atoi(argv[2]); left > 0; left--)
        if (round_of(file, &settings, block)) return 1;
    return 0;
}
