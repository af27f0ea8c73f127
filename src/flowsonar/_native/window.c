#define _GNU_SOURCE /* MAP_ANONYMOUS, MAP_POPULATE */

#include "window.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_POPULATE
#define MAP_POPULATE 0 /* only faster */
#endif

/* Where the windows are. `to` is 0 for none: it is set last and cleared first. */
static struct {
    atomic_uintptr_t from, to;
    atomic_bool lost;
} guards[WINDOWS];

static struct sigaction before;
static uintptr_t page;

/* The kernel's word for a page of a mapping that has no file behind it any more. Zeros take its place and that of all
   after it, so that whoever reads goes on. */
static void on_bus(int number, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr;
    int kept = errno;
    (void)context;
    for (int i = 0; i < WINDOWS; i++) {
        uintptr_t to = atomic_load(&guards[i].to), start = at / page * page;
        if (!to || at >= to || at < atomic_load(&guards[i].from)) continue;
        void *zeros = mmap((void *)start, to - start, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (zeros == MAP_FAILED) break;
        atomic_store(&guards[i].lost, true);
        errno = kept;
        return;
    }
    (void)sigaction(SIGBUS, &before, NULL); /* another's: as if this handler were not there */
    (void)raise(number);
}

static bool listen(void) {
    if (page) return true;
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    action.sa_sigaction = on_bus;
    long size = sysconf(_SC_PAGESIZE);
    if (size < 1 || sigemptyset(&action.sa_mask) || sigaction(SIGBUS, &action, &before)) return false;
    page = (uintptr_t)size;
    return true;
}

bool window_open(struct window *window, int descriptor, uint64_t offset, size_t size) {
    if (!size || !listen()) return false;
    int guard = 0;
    while (guard < WINDOWS && atomic_load(&guards[guard].to)) guard++;
    if (guard == WINDOWS) return false;
    size_t skipped = (size_t)(offset % page);
    void *memory = mmap(NULL, skipped + size, PROT_READ, MAP_SHARED | MAP_POPULATE, descriptor, (off_t)(offset - skipped));
    if (memory == MAP_FAILED) return false;
    atomic_store(&guards[guard].lost, false);
    atomic_store(&guards[guard].from, (uintptr_t)memory);
    atomic_store(&guards[guard].to, ((uintptr_t)memory + skipped + size + page - 1) / page * page);
    *window = (struct window){.data = (const uint8_t *)memory + skipped, .size = size, .skipped = skipped, .guard = guard};
    return true;
}

bool window_lost(const struct window *window) { return atomic_load(&guards[window->guard].lost); }

void window_close(struct window *window) {
    if (!window->data) return;
    (void)munmap((void *)(uintptr_t)(window->data - window->skipped), window->skipped + window->size);
    atomic_store(&guards[window->guard].to, 0);
    window->data = NULL;
}
