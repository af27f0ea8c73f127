#include "askable.h"

#include <stdlib.h>
#include <string.h>

struct network {
    uint8_t address[16], mask[16];
    uint8_t version;
};

struct askable {
    size_t count;
    struct network networks[ASKABLE_MAX];
};

static bool take(struct network *network, const uint8_t *entry) {
    uint8_t bits = entry[16];
    network->version = entry[17];
    if ((network->version != 4 && network->version != 6) || bits > (network->version == 4 ? 32 : 128)) return false;
    for (uint8_t i = 0; i < 16; i++) {
        uint8_t left = bits > 8 * i ? (uint8_t)(bits - 8 * i) : 0;
        uint8_t mask = (uint8_t)(left >= 8 ? 0xff : 0xff00 >> left);
        network->mask[i] = mask;
        network->address[i] = (uint8_t)(entry[i] & mask);
    }
    return true;
}

struct askable *askable_new(const uint8_t *entries, size_t count) {
    struct askable *a = count <= ASKABLE_MAX ? calloc(1, sizeof *a) : NULL;
    if (!a) return NULL;
    for (; a->count < count; a->count++) {
        if (take(&a->networks[a->count], entries + a->count * ASKABLE_ENTRY)) continue;
        free(a);
        return NULL;
    }
    return a;
}

void askable_free(struct askable *a) { free(a); }

static bool covers(const struct network *network, const uint8_t address[16]) {
    for (int i = 0; i < 16; i++)
        if ((address[i] & network->mask[i]) != network->address[i]) return false;
    return true;
}

bool askable_has(const struct askable *a, const uint8_t address[16], uint8_t version) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (version == 6 && memcmp(address, mapped, sizeof mapped) == 0) return true; /* another one's address is asked */
    for (size_t i = 0; i < a->count; i++)
        if (a->networks[i].version == version && covers(&a->networks[i], address)) return true;
    return false;
}
