/* Large memory that is taken once, at the start. */
#ifndef FLOWSONAR_MEMORY_H
#define FLOWSONAR_MEMORY_H

#include <stddef.h>

/* Zeroed, and taking no memory until it is touched, two MiB at a time; NULL where there is none. */
void *memory_new(size_t size);

/* The same for what is touched here and there: zeroing whole huge pages would cost more than they spare. */
void *memory_sparse(size_t size);

/* `size` as it was given to memory_new or memory_sparse. */
void memory_free(void *memory, size_t size);

#endif
