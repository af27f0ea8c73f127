/* What the fuzz harnesses share: a check that stays in every build, and a way to have bytes read. */
#ifndef FLOWSONAR_FUZZER_H
#define FLOWSONAR_FUZZER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) \
    do {                   \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();       \
        }                  \
    } while (0)

/* Read what is pointed to, so that the sanitizer sees it. */
static inline void touch(const uint8_t *data, size_t size) {
    static volatile uint8_t touched;
    for (size_t i = 0; data && i < size; i++) touched = (uint8_t)(touched + data[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
