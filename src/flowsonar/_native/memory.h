/* Large memory that is taken once, at the start. */
#ifndef FLOWSONAR_MEMORY_H
#define FLOWSONAR_MEMORY_H

#include <stddef.h>

/* Zeroed, and taking no memory until it is touched; NULL where there is none. */
void *memory_new(size_t size);

/* `size` as it was given to memory_new. */
void memory_free(void *memory, size_t size);

#endif
