#include "cpu.h"

#ifdef FLOWSONAR_X86
#include <cpuid.h>
#endif

enum { KNOWN = 1 << 30 };

/* Two threads may both ask the processor, and write the same. */
static volatile unsigned features;
static volatile unsigned forbidden;

static unsigned ask(void) {
    unsigned found = KNOWN;
#ifdef FLOWSONAR_X86
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        bool shuffles = c & (1u << 9) && c & (1u << 19); /* SSSE3, SSE4.1 */
        if (shuffles && c & (1u << 25) && c & (1u << 1)) found |= CPU_AES;
        if (shuffles && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & (1u << 29)) found |= CPU_SHA;
    }
#endif
    return found;
}

bool cpu_has(enum cpu_feature feature) {
    unsigned known = features;
    if (!known) features = known = ask();
    return (known & ~forbidden & (unsigned)feature) != 0;
}

void cpu_forbid(unsigned these) { forbidden = these; }
