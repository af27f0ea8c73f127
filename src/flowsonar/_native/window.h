/* A part of a file as memory, which stays readable whatever becomes of the file meanwhile. */
#ifndef FLOWSONAR_WINDOW_H
#define FLOWSONAR_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WINDOWS = 16 }; /* open at a time */

struct window {
    const uint8_t *data;
    size_t size;
    size_t skipped; /* bytes before `data`: a mapping begins with a page */
    int guard;
};

/* False where the system gives none. What is behind the file's end when its pages are first touched reads as zeros, and
   then `window_lost`: the file became shorter, or its disk failed. */
bool window_open(struct window *window, int descriptor, uint64_t offset, size_t size);
bool window_lost(const struct window *window);
void window_close(struct window *window);

#endif
