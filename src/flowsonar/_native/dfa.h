/* Many regular expressions in one pass over bytes: an automaton whose states are made as they are met.

   The program is made in Python (signatures/programs.py): instructions of a nondeterministic automaton, with byte sets.
   No allocation but at the start: when the room for states is used up, all are forgotten and made anew. */
#ifndef FLOWSONAR_DFA_H
#define FLOWSONAR_DFA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DFA_INSTRUCTION_SIZE = 12, /* u32 operation | argument << 8, u32 next, u32 other */
    DFA_SET_SIZE = 32,         /* a bit for each byte value */
    DFA_INSTRUCTIONS_MAX = 1 << 18,
    DFA_TOGETHER = 3, /* automata that are run side by side */
    DFA_HITS_MAX = 64, /* expressions that match one payload; more make it one for the slow lane */
};

enum dfa_operation {
    DFA_SET,      /* a byte of set `argument`, then next */
    DFA_SPLIT,    /* next or other */
    DFA_BEGIN,    /* only at the beginning */
    DFA_END,      /* only at the end */
    DFA_EDGE,     /* between a word's character and another one, or its end */
    DFA_INSIDE,   /* not so */
    DFA_MATCH,    /* expression `argument` matches */
    DFA_OPERATIONS,
};

struct dfa;

/* Expressions that match, each once, in no order, and where the first match of each ends. */
struct dfa_hits {
    uint32_t count;
    uint16_t expression[DFA_HITS_MAX];
    uint32_t end[DFA_HITS_MAX];
};

/* `program`: instructions one after the other, then the sets. The first instruction is where all begin. NULL where it
   is not well-formed or there is no memory. `states`: room for so many, 3 to 32767. */
struct dfa *dfa_new(const uint8_t *program, size_t size, uint32_t instructions, uint32_t states);
void dfa_free(struct dfa *dfa);

/* The expressions of each automaton (at most DFA_TOGETHER) that match somewhere in `data`; false where they are too many,
   or where making states for them takes too much time. Hits that are there already stay. */
bool dfa_scan(struct dfa *const *dfas, size_t count, const uint8_t *data, size_t size, struct dfa_hits *const *hits);

/* The states made so far as bytes, which another automaton of the same program begins with: how many bytes they take,
   whether `out` is NULL or not. Where there is little room left, the last ones are left out; 0 where none is kept. */
size_t dfa_keep(const struct dfa *dfa, uint8_t *out);

/* Take what was kept, before the first scan. False where it is not well-formed: nothing is taken then. */
bool dfa_recall(struct dfa *dfa, const uint8_t *kept, size_t size);

/* Steps between states that scans made, since the beginning. */
uint64_t dfa_made(const struct dfa *dfa);

#endif
