#include "dfa.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "dfa_state.h"
#include "memory.h"

static inline bool is_word(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || byte == '_' || (byte >= 'a' && byte <= 'z');
}

static inline uint16_t *step_at(struct dfa *d, uint16_t state, uint8_t byte) {
    return &d->steps[(size_t)(state & ~MATCHES) * d->classes + d->class_of[byte]];
}

static inline bool in_set(const struct dfa *d, uint32_t set, uint8_t byte) {
    return d->sets[set][byte >> 3] >> (byte & 7) & 1;
}

/* -- sets of instructions ------------------------------------------------------------------------------------------ */

static void set_clear(struct dfa *d) {
    if (++d->round == 0) { /* once in four milliards */
        memset(d->marks, 0, d->instruction_count * sizeof *d->marks);
        d->round = 1;
    }
    d->set_count = d->found_count = 0;
}

/* What holds at a place: its beginning, its end, an edge; `edges_known` false where the next byte is not known yet. */
struct place {
    bool begin, end, edge, edges_known;
};

/* Add an instruction and all that is reached from it without a byte. */
static void set_add(struct dfa *d, uint32_t first, struct place place) {
    uint32_t depth = 0;
    d->stack[depth++] = first;
    while (depth) {
        uint32_t at = d->stack[--depth];
        if (d->marks[at] == d->round) continue;
        d->marks[at] = d->round;
        const struct instruction *i = &d->instructions[at];
        if (d->work) d->work--;
        bool wait = false, pass = false;
        switch (i->operation) {
        case DFA_SET: wait = true; break;
        case DFA_SPLIT: d->stack[depth++] = i->other; pass = true; break;
        case DFA_BEGIN: pass = place.begin; break;
        case DFA_END: wait = !place.edges_known; pass = place.edges_known && place.end; break;
        case DFA_EDGE: wait = !place.edges_known; pass = place.edges_known && place.edge; break;
        case DFA_INSIDE: wait = !place.edges_known; pass = place.edges_known && !place.edge; break;
        default: d->found[d->found_count++] = i->argument; break;
        }
        if (wait) d->set[d->set_count++] = at;
        if (pass) d->stack[depth++] = i->next;
    }
}

/* -- states -------------------------------------------------------------------------------------------------------- */

void dfa_forget(struct dfa *d) {
    memset(d->heads, 0, sizeof d->heads);
    d->state_count = FIRST_STATE;
    d->member_count = 0;
    d->start = UNKNOWN_STATE;
}

/* Shell's method: no memory, and the lists are short. */
static void sort(uint32_t *list, uint32_t count) {
    static const uint32_t gaps[] = {701, 132, 23, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        for (uint32_t gap = gaps[g], i = gap; i < count; i++) {
            uint32_t value = list[i], at = i;
            for (; at >= gap && list[at - gap] > value; at -= gap) list[at] = list[at - gap];
            list[at] = value;
        }
    }
}

static uint32_t hash_of(const uint32_t *set, uint32_t set_count, const uint32_t *found, uint32_t found_count, bool word) {
    uint32_t hash = 2166136261u ^ word;
    for (uint32_t i = 0; i < set_count; i++) hash = (hash ^ set[i]) * 16777619u;
    for (uint32_t i = 0; i < found_count; i++) hash = (hash ^ ~found[i]) * 16777619u;
    return hash ^ hash >> 15;
}

void dfa_enter(struct dfa *d, uint32_t number) {
    struct state *state = &d->states[number];
    const uint32_t *members = d->members + state->at;
    state->hash = hash_of(members, state->count, members + state->count, state->matches, state->word);
    uint32_t *head = &d->heads[state->hash % HEADS];
    state->chain = *head;
    *head = number;
}

static bool same(const struct dfa *d, const struct state *state, uint32_t hash, bool word) {
    const uint32_t *members = d->members + state->at;
    return state->hash == hash && state->word == word && state->count == d->set_count &&
           state->matches == d->found_count && memcmp(members, d->set, d->set_count * sizeof *members) == 0 &&
           memcmp(members + d->set_count, d->found, d->found_count * sizeof *members) == 0;
}

/* The state that is the set at hand. `*forgot` is set where all others are gone. */
static uint16_t state_of_set(struct dfa *d, bool word, bool *forgot) {
    if (!d->set_count && !d->found_count) return DEAD_STATE;
    bool asks = false;
    for (uint32_t i = 0; i < d->set_count; i++) asks |= d->instructions[d->set[i]].operation != DFA_SET;
    if (!asks) word = false; /* nobody wants to know */
    sort(d->set, d->set_count);
    sort(d->found, d->found_count);
    uint32_t hash = hash_of(d->set, d->set_count, d->found, d->found_count, word);
    for (uint32_t at = d->heads[hash % HEADS]; at; at = d->states[at].chain) {
        if (d->work) d->work--;
        if (same(d, &d->states[at], hash, word)) return (uint16_t)(at | (d->found_count ? MATCHES : 0));
    }
    uint32_t size = d->set_count + d->found_count;
    if (d->state_count == d->state_room || size > d->member_room - d->member_count) {
        dfa_forget(d);
        *forgot = true;
    }
    uint32_t number = d->state_count++;
    struct state *state = &d->states[number];
    *state = (struct state){.at = d->member_count, .count = d->set_count, .matches = d->found_count, .word = word,
                            .asks = asks};
    memcpy(d->members + state->at, d->set, d->set_count * sizeof *d->set);
    memcpy(d->members + state->at + d->set_count, d->found, d->found_count * sizeof *d->found);
    d->member_count += size;
    memset(d->steps + (size_t)number * d->classes, 0, d->classes * sizeof *d->steps);
    dfa_enter(d, number);
    return (uint16_t)(number | (d->found_count ? MATCHES : 0));
}

static uint16_t start_state(struct dfa *d) {
    bool forgot = false;
    set_clear(d);
    set_add(d, 0, (struct place){.begin = true});
    d->start = state_of_set(d, false, &forgot);
    return d->start;
}

/* Resolve what waits for an edge or the end: the set is then what takes a byte, and what matches at this place. */
static void resolve(struct dfa *d, const struct state *state, struct place place) {
    uint32_t count = state->count;
    memcpy(d->from, d->members + state->at, count * sizeof *d->from);
    set_clear(d);
    for (uint32_t i = 0; i < count; i++) {
        const struct instruction *instruction = &d->instructions[d->from[i]];
        if (instruction->operation != DFA_END || place.end) set_add(d, d->from[i], place);
    }
}

/* The state after a byte, made now. What matched at an edge before the byte counts as matching after it. */
static uint16_t step(struct dfa *d, uint16_t before, uint8_t byte, bool *forgot) {
    const struct state *state = &d->states[before & ~MATCHES];
    uint32_t found = 0;
    if (state->asks) {
        resolve(d, state, (struct place){.edge = state->word != is_word(byte), .edges_known = true});
        memcpy(d->from, d->set, d->set_count * sizeof *d->from);
        found = d->found_count;
    } else {
        d->set_count = state->count;
        memcpy(d->from, d->members + state->at, state->count * sizeof *d->from);
    }
    uint32_t count = d->set_count;
    set_clear(d);
    d->made++;
    d->found_count = found; /* they stand at the beginning of `found` still */
    for (uint32_t i = 0; i < count; i++) {
        const struct instruction *instruction = &d->instructions[d->from[i]];
        if (d->work) d->work--;
        if (instruction->operation == DFA_SET && in_set(d, instruction->argument, byte))
            set_add(d, instruction->next, (struct place){0});
    }
    uint16_t after = state_of_set(d, is_word(byte), forgot);
    if (!*forgot) *step_at(d, before, byte) = after;
    return after;
}

/* -- scanning ------------------------------------------------------------------------------------------------------ */

static bool take_hits(const uint32_t *found, uint32_t count, size_t end, struct dfa_hits *hits) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 0;
        while (at < hits->count && hits->expression[at] != found[i]) at++;
        if (at < hits->count) continue;
        if (hits->count == DFA_HITS_MAX) return false;
        hits->expression[hits->count] = (uint16_t)found[i];
        hits->end[hits->count++] = (uint32_t)end;
    }
    return true;
}

static inline bool take_state(const struct dfa *d, uint16_t number, size_t end, struct dfa_hits *hits) {
    if (!(number & MATCHES)) return true;
    const struct state *state = &d->states[number & ~MATCHES];
    return take_hits(d->members + state->at + state->count, state->matches, end, hits);
}

/* What matches because the bytes end here; worked out once for each state. */
static bool take_end(struct dfa *d, uint16_t number, size_t end, struct dfa_hits *hits) {
    struct state *state = &d->states[number & ~MATCHES];
    if (!state->asks) return true;
    if (!state->ended) {
        resolve(d, state, (struct place){.end = true, .edge = state->word, .edges_known = true});
        if (d->found_count > d->member_room - d->member_count) return take_hits(d->found, d->found_count, end, hits);
        memcpy(d->members + d->member_count, d->found, d->found_count * sizeof *d->found);
        state->end_at = d->member_count;
        state->end_count = d->found_count;
        state->ended = true;
        d->member_count += d->found_count;
    }
    return take_hits(d->members + state->end_at, state->end_count, end, hits);
}

/* An automaton on its way. `at` has no mark of matches. */
struct run {
    struct dfa *dfa;
    struct dfa_hits *hits;
    const uint16_t *steps;
    const uint8_t *class_of;
    size_t classes, at;
};

/* Go on from byte `i` while all states are made, alive and without a match; where that ends. Each step waits for the
   one before it, so several automata side by side take hardly longer than one. */
static inline size_t glide(struct run *runs, const size_t count, const uint8_t *data, size_t i, size_t size) {
    size_t at[DFA_TOGETHER], next[DFA_TOGETHER];
    for (size_t k = 0; k < count; k++) at[k] = runs[k].at;
    for (; i < size; i++) {
        bool look = false;
        for (size_t k = 0; k < count; k++) {
            next[k] = runs[k].steps[at[k] * runs[k].classes + runs[k].class_of[data[i]]];
            look |= next[k] - FIRST_STATE >= MATCHES - FIRST_STATE;
        }
        if (look) break;
        for (size_t k = 0; k < count; k++) at[k] = next[k];
    }
    for (size_t k = 0; k < count; k++) runs[k].at = at[k];
    return i;
}

/* The same for one automaton that only one byte wakes: what stands before it is passed over. */
static size_t glide_to(struct run *run, const uint8_t *data, size_t i, size_t size) {
    const size_t rest = run->dfa->start;
    for (; i < size; i++) {
        if (run->at == rest) {
            const uint8_t *found = memchr(data + i, run->dfa->only, size - i);
            if (!found) return size;
            i = (size_t)(found - data);
        }
        size_t next = run->steps[run->at * run->classes + run->class_of[data[i]]];
        if (next - FIRST_STATE >= MATCHES - FIRST_STATE) break;
        run->at = next;
    }
    return i;
}

static size_t glide_all(struct run *runs, size_t count, const uint8_t *data, size_t i, size_t size) {
    static_assert(DFA_TOGETHER == 3, "as many are written out here");
    if (count == 1) return runs->dfa->only < 0 ? glide(runs, 1, data, i, size) : glide_to(runs, data, i, size);
    return count == 2 ? glide(runs, 2, data, i, size) : glide(runs, 3, data, i, size);
}

enum outcome { GOES_ON, IS_DEAD, GIVES_UP };

/* One byte, whatever it brings. */
static enum outcome look(struct run *run, uint8_t byte, size_t after) {
    struct dfa *d = run->dfa;
    uint16_t next = *step_at(d, (uint16_t)run->at, byte);
    if (next == UNKNOWN_STATE) {
        bool forgot = false;
        if (!d->work) return GIVES_UP;
        next = step(d, (uint16_t)run->at, byte, &forgot);
    }
    if (next == DEAD_STATE) return IS_DEAD;
    run->at = (size_t)(next & ~MATCHES);
    return take_state(d, next, after, run->hits) ? GOES_ON : GIVES_UP;
}

bool dfa_scan(struct dfa *const *dfas, size_t count, const uint8_t *data, size_t size, struct dfa_hits *const *hits) {
    struct run runs[DFA_TOGETHER];
    size_t alive = 0;
    assert(count <= DFA_TOGETHER);
    for (size_t k = 0; k < count; k++) {
        struct dfa *d = dfas[k];
        d->work = WORK_MAX;
        uint16_t at = d->start != UNKNOWN_STATE ? d->start : start_state(d);
        if (at == DEAD_STATE) continue;
        if (!take_state(d, at, 0, hits[k])) return false;
        runs[alive++] = (struct run){d, hits[k], d->steps, d->class_of, d->classes, (size_t)(at & ~MATCHES)};
    }
    for (size_t i = 0; alive && (i = glide_all(runs, alive, data, i, size)) < size; i++) {
        for (size_t k = 0; k < alive;) {
            enum outcome outcome = look(&runs[k], data[i], i + 1);
            if (outcome == GIVES_UP) return false;
            if (outcome == IS_DEAD)
                runs[k] = runs[--alive];
            else
                k++;
        }
    }
    for (size_t k = 0; k < alive; k++)
        if (!take_end(runs[k].dfa, (uint16_t)runs[k].at, size, runs[k].hits)) return false;
    return true;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static bool well_formed(const uint8_t *program, size_t size, uint32_t count, uint32_t *sets) {
    if (!count || count > DFA_INSTRUCTIONS_MAX || size < (size_t)count * DFA_INSTRUCTION_SIZE) return false;
    size_t rest = size - (size_t)count * DFA_INSTRUCTION_SIZE;
    if (rest % DFA_SET_SIZE) return false;
    *sets = (uint32_t)(rest / DFA_SET_SIZE);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = program + (size_t)i * DFA_INSTRUCTION_SIZE;
        uint32_t operation = at[0], argument = le32(at) >> 8;
        if (operation >= DFA_OPERATIONS || le32(at + 4) >= count || le32(at + 8) >= count) return false;
        if (operation == DFA_SET && argument >= *sets) return false;
        if (operation == DFA_MATCH && argument >= UINT16_MAX) return false;
    }
    return true;
}

static bool has(const uint8_t *set, uint32_t byte) { return set[byte >> 3] >> (byte & 7) & 1; }

/* Tell bytes apart that some set, or a word's edge, tells apart; how many classes there are. */
static uint32_t classes_of(const uint8_t *sets, uint32_t count, uint8_t class_of[256]) {
    uint32_t classes = 1;
    memset(class_of, 0, 256);
    for (uint32_t set = 0; set <= count; set++) {
        uint16_t inside[256]; /* by class: its number for bytes in the set, plus one */
        bool outside[256] = {false};
        memset(inside, 0, sizeof inside);
        for (uint32_t byte = 0; byte < 256; byte++) {
            bool in = set < count ? has(sets + (size_t)set * DFA_SET_SIZE, byte) : is_word((uint8_t)byte);
            if (!in) outside[class_of[byte]] = true;
        }
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint8_t class = class_of[byte];
            bool in = set < count ? has(sets + (size_t)set * DFA_SET_SIZE, byte) : is_word((uint8_t)byte);
            if (!in || !outside[class]) continue;
            if (!inside[class]) inside[class] = (uint16_t)(++classes);
            class_of[byte] = (uint8_t)(inside[class] - 1);
        }
    }
    return classes;
}

/* The one byte that all expressions begin with, -1 for none: where they begin again after every byte, and nothing but
   bytes is asked for there. */
static int only_byte(struct dfa *d) {
    int only = -1;
    bool again = false;
    set_clear(d);
    set_add(d, 0, (struct place){.begin = true});
    uint32_t at_first = d->set_count;
    set_clear(d);
    set_add(d, 0, (struct place){0});
    if (d->set_count != at_first || d->found_count) return -1;
    for (uint32_t i = 0; i < d->set_count; i++) {
        const struct instruction *instruction = &d->instructions[d->set[i]];
        uint32_t count = 0, byte = 0;
        if (instruction->operation != DFA_SET) return -1;
        for (uint32_t b = 0; b < 256; b++) {
            if (!has(d->sets[instruction->argument], b)) continue;
            count++;
            byte = b;
        }
        if (count == 256 && !instruction->next)
            again = true;
        else if (count != 1 || (only >= 0 && only != (int)byte))
            return -1;
        else
            only = (int)byte;
    }
    return again ? only : -1;
}

static size_t rounded(size_t size) { return (size + 63) & ~(size_t)63; }

struct dfa *dfa_new(const uint8_t *program, size_t size, uint32_t count, uint32_t states) {
    uint32_t sets;
    assert(states > FIRST_STATE && states < MATCHES);
    if (!well_formed(program, size, count, &sets)) return NULL;
    uint8_t class_of[256];
    uint32_t classes = classes_of(program + (size_t)count * DFA_INSTRUCTION_SIZE, sets, class_of);
    uint32_t members = states * MEMBERS_PER_STATE > 4 * count ? states * MEMBERS_PER_STATE : 4 * count;
    size_t sizes[] = {sizeof(struct dfa), count * sizeof(struct instruction), (size_t)sets * DFA_SET_SIZE,
                      (size_t)states * classes * sizeof(uint16_t), states * sizeof(struct state), members * sizeof(uint32_t),
                      count * sizeof(uint32_t), count * sizeof(uint32_t), (2 * (size_t)count + 2) * sizeof(uint32_t),
                      2 * (size_t)count * sizeof(uint32_t), count * sizeof(uint32_t)};
    enum { PARTS = sizeof sizes / sizeof *sizes };
    size_t total = 0;
    for (int i = 0; i < PARTS; i++) total += rounded(sizes[i]);
    uint8_t *memory = memory_sparse(total), *part[PARTS];
    if (!memory) return NULL;
    part[0] = memory;
    for (int i = 1; i < PARTS; i++) part[i] = part[i - 1] + rounded(sizes[i - 1]);
    struct dfa *d = (struct dfa *)(void *)part[0];
    d->memory = total;
    d->instruction_count = count;
    d->state_room = states;
    d->member_room = members;
    d->instructions = (struct instruction *)(void *)part[1];
    d->sets = (uint8_t(*)[DFA_SET_SIZE])(void *)part[2];
    d->steps = (uint16_t *)(void *)part[3];
    d->classes = classes;
    memcpy(d->class_of, class_of, sizeof class_of);
    d->states = (struct state *)(void *)part[4];
    d->members = (uint32_t *)(void *)part[5];
    d->set = (uint32_t *)(void *)part[6];
    d->from = (uint32_t *)(void *)part[7];
    d->stack = (uint32_t *)(void *)part[8];
    d->found = (uint32_t *)(void *)part[9];
    d->marks = (uint32_t *)(void *)part[10];
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = program + (size_t)i * DFA_INSTRUCTION_SIZE;
        d->instructions[i] = (struct instruction){le32(at + 4), le32(at + 8), le32(at) >> 8, at[0]};
    }
    memcpy(d->sets, program + (size_t)count * DFA_INSTRUCTION_SIZE, (size_t)sets * DFA_SET_SIZE);
    dfa_forget(d);
    d->only = only_byte(d);
    return d;
}

uint64_t dfa_made(const struct dfa *d) { return d->made; }

void dfa_free(struct dfa *d) {
    if (d) memory_free(d, d->memory);
}
