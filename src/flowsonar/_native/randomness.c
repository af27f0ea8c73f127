#include "randomness.h"

#include <math.h>

enum { LENGTH_MIN = 12, SAMPLE = 4096, SHORT = 24, SHORT_RUN = 8, VALUES = 256, PRINTABLES = 98 };

/* Five deviations below the expected count of different values. */
static double least_distinct(double size) {
    double share = pow(255.0 / VALUES, size), expected = VALUES * (1 - share);
    double variance = VALUES * share * (1 - share) + 256.0 * 255 * (pow(254.0 / VALUES, size) - share * share);
    return expected - 5 * sqrt(variance > 0.25 ? variance : 0.25);
}

static double longest_run(double size) {
    return size <= SHORT ? SHORT_RUN : SHORT_RUN + 1 + rint(log(size / SHORT) / log((double)VALUES / PRINTABLES));
}

static bool is_printable(uint8_t byte) {
    return (byte >= 0x20 && byte <= 0x7e) || byte == '\t' || byte == '\n' || byte == '\r';
}

static uint32_t longest_printable(const uint8_t *data, size_t size) {
    uint32_t longest = 0, run = 0;
    for (size_t i = 0; i < size; i++) {
        run = is_printable(data[i]) ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    return longest;
}

bool looks_random(const uint8_t *data, size_t size) {
    uint32_t counts[VALUES] = {0}, columns[8] = {0}, nibbles[16] = {0}, distinct = 0, ones = 0;
    if (size > SAMPLE) size = SAMPLE;
    if (size < LENGTH_MIN) return false;
    for (size_t i = 0; i < size; i++) counts[data[i]]++;
    for (uint32_t value = 0; value < VALUES; value++) {
        distinct += counts[value] > 0;
        nibbles[value & 15] += counts[value];
        nibbles[value >> 4] += counts[value];
        for (int bit = 0; bit < 8; bit++) columns[bit] += value >> bit & 1 ? counts[value] : 0;
    }
    double bytes = (double)size, allowed = 4.8 * sqrt(bytes / 4), expected = bytes / 8, uneven = 0;
    for (int bit = 0; bit < 8; bit++) {
        ones += columns[bit];
        if (!columns[bit] || columns[bit] == size || fabs(columns[bit] - bytes / 2) > allowed) return false;
    }
    for (int i = 0; i < 16; i++) uneven += (nibbles[i] - expected) * (nibbles[i] - expected);
    return distinct >= least_distinct(bytes) && fabs(ones - 4 * bytes) <= 4.5 * sqrt(2 * bytes) &&
           uneven / expected <= 54 && longest_printable(data, size) < longest_run(bytes);
}
