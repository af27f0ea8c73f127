#include "known.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "memory.h"

enum { SETS = 1 << 15, WAYS = 8, RENEWS = 10 }; /* a tenth of a verdict's life: verdicts/store.py */

struct entry {
    struct known_endpoint endpoint;
    uint32_t number;
    uint32_t until_s, renew_s; /* of the number */
    uint32_t left_s; /* not asked until then, 0 for nothing known; both it and the number 0: free */
};

/* Of a verdict. */
struct taught {
    uint16_t number; /* of the kind that it proves, or KNOWN_NONE */
    bool settles;
};

struct known {
    uint64_t seed[2];
    uint32_t life_s;
    bool displaced; /* something had to go: what is not here may be known nevertheless */
    uint32_t kind_count, kind_room;
    struct known_kind *kinds; /* from 1 */
    uint32_t taught_room;
    struct taught *taught; /* by verdict */
    struct entry entries[SETS][WAYS];
};

/* -- kinds --------------------------------------------------------------------------------------------------------- */

uint32_t known_add(struct known *k, const struct known_kind *kind) {
    if (k->kind_count == KNOWN_MAX) return KNOWN_UNSURE;
    if (k->kind_count + 1 >= k->kind_room) {
        uint32_t room = k->kind_room ? 2 * k->kind_room : 64;
        struct known_kind *kinds = realloc(k->kinds, room * sizeof *kinds);
        if (!kinds) return KNOWN_NONE;
        k->kinds = kinds;
        k->kind_room = room;
    }
    k->kinds[++k->kind_count] = *kind;
    return k->kind_count;
}

const struct known_kind *known_kind(const struct known *k, uint32_t number) {
    return number && number <= k->kind_count ? &k->kinds[number] : NULL;
}

/* -- endpoints ----------------------------------------------------------------------------------------------------- */

static struct entry *set_of(const struct known *k, const struct known_endpoint *endpoint) {
    uint64_t words[3] = {0};
    static_assert(sizeof *endpoint <= sizeof words, "an endpoint is hashed as words");
    memcpy(words, endpoint, sizeof *endpoint);
    return (struct entry *)k->entries[sip_hash(k->seed, words, 3) % SETS];
}

static struct entry *entry_of(const struct known *k, const struct known_endpoint *endpoint) {
    struct entry *set = set_of(k, endpoint);
    for (int i = 0; i < WAYS; i++)
        if ((set[i].number || set[i].left_s) && memcmp(&set[i].endpoint, endpoint, sizeof *endpoint) == 0) return &set[i];
    return NULL;
}

void known_put(struct known *k, const struct known_endpoint *endpoint, uint32_t number, uint32_t until_s,
               uint32_t renew_s) {
    struct entry *entry = entry_of(k, endpoint);
    if (!number) {
        if (entry) entry->number = KNOWN_NONE, entry->left_s = 0;
        return;
    }
    if (!entry) {
        entry = set_of(k, endpoint);
        for (struct entry *other = entry + 1, *end = entry + WAYS; other < end && entry->number; other++)
            if (!other->number || other->until_s < entry->until_s) entry = other;
        if (entry->number) k->displaced = true;
    }
    *entry = (struct entry){*endpoint, number, until_s, renew_s, 0};
}

uint32_t known_find(const struct known *k, const struct known_endpoint *endpoint, uint32_t now_s) {
    const struct entry *entry = entry_of(k, endpoint);
    if (entry) return now_s < entry->until_s ? entry->number : KNOWN_NONE;
    return k->displaced ? KNOWN_UNSURE : KNOWN_NONE;
}

void known_leave(struct known *k, const struct known_endpoint *endpoint, uint32_t until_s) {
    struct entry *entry = entry_of(k, endpoint);
    if (!entry) {
        struct entry *set = set_of(k, endpoint), *end = set + WAYS;
        for (entry = set; entry < end && entry->number;) entry++; /* what was left longest ago may go */
        if (entry == end) return;
        for (struct entry *other = entry + 1; other < end; other++)
            if (!other->number && other->left_s < entry->left_s) entry = other;
        *entry = (struct entry){.endpoint = *endpoint};
    }
    entry->left_s = until_s;
}

bool known_is_left(const struct known *k, const struct known_endpoint *endpoint, uint32_t now_s) {
    const struct entry *entry = entry_of(k, endpoint);
    return entry && now_s < entry->left_s;
}

/* -- learning ------------------------------------------------------------------------------------------------------ */

/* NULL where there is no memory. */
static struct taught *taught_of(struct known *k, uint32_t verdict) {
    if (verdict >= k->taught_room) {
        uint32_t room = 2 * verdict + 64;
        struct taught *taught = realloc(k->taught, room * sizeof *taught);
        if (!taught) return NULL;
        memset(taught + k->taught_room, 0, (room - k->taught_room) * sizeof *taught);
        k->taught = taught;
        k->taught_room = room;
    }
    return &k->taught[verdict];
}

bool known_teach(struct known *k, uint32_t verdict, uint32_t number) {
    struct taught *taught = taught_of(k, verdict);
    if (taught) taught->number = (uint16_t)number;
    return taught;
}

bool known_settle(struct known *k, uint32_t verdict) {
    struct taught *taught = taught_of(k, verdict);
    if (taught) taught->settles = true;
    return taught;
}

bool known_settles(const struct known *k, uint32_t verdict) {
    return verdict < k->taught_room && k->taught[verdict].settles;
}

bool known_hear(struct known *k, const struct known_endpoint *responder, uint32_t verdict, uint32_t now_s) {
    uint32_t number = verdict < k->taught_room ? k->taught[verdict].number : KNOWN_NONE;
    if (!number) return false;
    const struct entry *entry = entry_of(k, responder);
    if (entry && entry->number == number && now_s < entry->until_s && now_s < entry->renew_s) return false;
    known_put(k, responder, number, now_s + k->life_s, now_s + k->life_s / RENEWS);
    return true;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

struct known *known_new(const uint64_t seed[2], uint32_t life_s) {
    struct known *k = memory_sparse(sizeof *k);
    if (!k) return NULL;
    k->seed[0] = seed[0];
    k->seed[1] = seed[1];
    k->life_s = life_s;
    return k;
}

void known_free(struct known *k) {
    if (!k) return;
    free(k->kinds);
    free(k->taught);
    memory_free(k, sizeof *k);
}
