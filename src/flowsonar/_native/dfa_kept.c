#include <string.h>

#include "bytes.h"
#include "dfa_state.h"

/* u32 states, u16 start; states: u32 instructions, u32 matches, u16 steps, u8 word; then those: u32 each instruction
   and expression; of a step u8 class, u16 state with its mark of matches, all as in memory. */
enum { HEAD = 6, STATE = 11, STEP = 3 };

/* So many that there is room for others: the first ones that were made are those met most. */
static uint32_t states_to_keep(const struct dfa *d) {
    uint32_t count = FIRST_STATE, members = 0;
    for (; count < d->state_count && count < d->state_room / 4 * 3; count++) {
        members += d->states[count].count + d->states[count].matches;
        if (members > d->member_room / 4 * 3) break;
    }
    return count;
}

size_t dfa_keep(const struct dfa *d, uint8_t *out) {
    size_t size = HEAD;
    uint32_t count = states_to_keep(d);
    if ((d->start & ~(uint32_t)MATCHES) >= count) return 0;
    if (out) {
        put_le32(out, count);
        put_le16(out + 4, d->start);
    }
    for (uint32_t number = FIRST_STATE; number < count; number++) {
        const struct state *state = &d->states[number];
        const uint16_t *steps = d->steps + (size_t)number * d->classes;
        uint8_t *head = out ? out + size : NULL;
        uint16_t made = 0;
        size += STATE;
        for (uint32_t i = 0; i < state->count + state->matches; i++, size += 4)
            if (out) put_le32(out + size, d->members[state->at + i]);
        for (uint32_t class = 0; class < d->classes; class ++) {
            if (steps[class] == UNKNOWN_STATE || (steps[class] & ~(uint32_t)MATCHES) >= count) continue;
            if (out) {
                out[size] = (uint8_t)class;
                put_le16(out + size + 1, steps[class]);
            }
            size += STEP;
            made++;
        }
        if (!head) continue;
        put_le32(head, state->count);
        put_le32(head + 4, state->matches);
        put_le16(head + 8, made);
        head[10] = state->word;
    }
    return size;
}

/* Whether `kept` is of this automaton, whole and within its room. */
static bool well_formed(const struct dfa *d, const uint8_t *kept, size_t size) {
    if (size < HEAD) return false;
    uint32_t count = le32(kept), start = le16(kept + 4) & ~(uint32_t)MATCHES, members = 0;
    if (count < FIRST_STATE || count > d->state_room || start >= count) return false;
    size_t at = HEAD;
    for (uint32_t number = FIRST_STATE; number < count; number++) {
        if (size - at < STATE) return false;
        uint32_t set = le32(kept + at), matches = le32(kept + at + 4), steps = le16(kept + at + 8);
        if (set > d->member_room || matches > d->member_room || set + matches > d->member_room - members) return false;
        members += set + matches;
        at += STATE;
        if (size - at < 4 * ((size_t)set + matches) + (size_t)STEP * steps) return false;
        for (uint32_t i = 0; i < set + matches; i++, at += 4)
            if (le32(kept + at) >= (i < set ? d->instruction_count : UINT16_MAX)) return false;
        for (uint32_t i = 0; i < steps; i++, at += STEP) {
            uint32_t next = le16(kept + at + 1) & ~(uint32_t)MATCHES;
            if (kept[at] >= d->classes || next == UNKNOWN_STATE || next >= count) return false;
        }
    }
    return at == size;
}

bool dfa_recall(struct dfa *d, const uint8_t *kept, size_t size) {
    if (!well_formed(d, kept, size)) return false;
    dfa_forget(d);
    d->state_count = le32(kept);
    const uint8_t *at = kept + HEAD;
    for (uint32_t number = FIRST_STATE; number < d->state_count; number++) {
        struct state *state = &d->states[number];
        *state = (struct state){.at = d->member_count, .count = le32(at), .matches = le32(at + 4), .word = at[10] & 1};
        uint16_t steps = le16(at + 8);
        at += STATE;
        for (uint32_t i = 0; i < state->count + state->matches; i++, at += 4) {
            uint32_t member = d->members[d->member_count++] = le32(at);
            state->asks |= i < state->count && d->instructions[member].operation != DFA_SET;
        }
        dfa_enter(d, number);
        for (; steps; steps--, at += STEP) d->steps[(size_t)number * d->classes + at[0]] = le16(at + 1);
    }
    d->start = le16(kept + 4);
    return true;
}
