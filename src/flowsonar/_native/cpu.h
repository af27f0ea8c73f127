/* What this processor can do beyond what every one of its kind can; asked once. */
#ifndef FLOWSONAR_CPU_H
#define FLOWSONAR_CPU_H

#include <stdbool.h>

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define FLOWSONAR_X86 1
#endif

enum cpu_feature {
    CPU_AES = 1 << 0, /* AES rounds and carry-less products */
    CPU_SHA = 1 << 1, /* SHA-1 and SHA-256 rounds */
};

bool cpu_has(enum cpu_feature feature);

/* For tests: do as if these features were missing. */
void cpu_forbid(unsigned features);

#endif
