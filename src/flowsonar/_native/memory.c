#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */

#include "memory.h"

#ifdef FLOWSONAR_SANITIZE /* the allocator that knows where memory ends */
#include <stdlib.h>

void *memory_new(size_t size) { return calloc(1, size); }

void *memory_sparse(size_t size) { return calloc(1, size); }

void memory_free(void *memory, size_t size) {
    (void)size;
    free(memory);
}
#else
#include <sys/mman.h>

enum { PAGE = 2 << 20 }; /* huge pages spare the TLB: a look-up goes anywhere in the table */

static size_t pages(size_t size) { return (size + PAGE - 1) / PAGE * PAGE; }

void *memory_sparse(size_t size) {
    void *memory = mmap(NULL, pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void *memory_new(size_t size) {
    void *memory = memory_sparse(size);
#ifdef MADV_HUGEPAGE
    if (memory) (void)madvise(memory, pages(size), MADV_HUGEPAGE); /* only faster */
#endif
    return memory;
}

void memory_free(void *memory, size_t size) {
    if (memory) (void)munmap(memory, pages(size));
}
#endif
