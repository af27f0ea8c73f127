#include "index.h"

#include "memory.h"

uint32_t index_buckets(uint32_t capacity) {
    uint32_t count = 16;
    while (count < 2 * capacity) count *= 2;
    return count;
}

bool index_new(struct index *index, uint32_t capacity) {
    index->mask = index_buckets(capacity) - 1;
    index->buckets = memory_sparse(((size_t)index->mask + 1) * sizeof *index->buckets);
    return index->buckets;
}

void index_free(struct index *index) {
    memory_free(index->buckets, ((size_t)index->mask + 1) * sizeof *index->buckets);
}

void index_add(struct index *index, uint64_t hash, uint32_t slot) {
    uint32_t at = (uint32_t)hash & index->mask;
    while (index->buckets[at].slot) at = (at + 1) & index->mask;
    index->buckets[at] = (struct bucket){.tag = (uint32_t)hash, .slot = slot + 1};
}

/* Closes the gap, so that no marks of removed flows are left for a look-up to step over. */
void index_remove(struct index *index, uint64_t hash, uint32_t slot) {
    struct bucket *buckets = index->buckets;
    uint32_t mask = index->mask, gap = (uint32_t)hash & mask;
    while (buckets[gap].slot != slot + 1) gap = (gap + 1) & mask;
    for (uint32_t at = (gap + 1) & mask; buckets[at].slot; at = (at + 1) & mask) {
        /* What stands at `at` may move back to the gap if its home is not in between. */
        if (((at - buckets[at].tag) & mask) >= ((at - gap) & mask)) {
            buckets[gap] = buckets[at];
            gap = at;
        }
    }
    buckets[gap] = (struct bucket){0};
}
