/* What the signatures' payload patterns say of some bytes: the rules that hold, as signatures/matcher.py finds them.

   The tables are made in Python (signatures/programs.py), which says how they are laid out. */
#ifndef FLOWSONAR_PATTERNS_H
#define FLOWSONAR_PATTERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PATTERNS_HOLDING = 24, /* rules that hold at a time; more are for Python */
    PATTERNS_RULE_SIZE = 24,
    PATTERNS_FIELD_SIZE = 48,
    PATTERNS_NONE = UINT16_MAX,
};

/* The groups of expressions: each is one automaton. */
enum patterns_group {
    PATTERNS_ANCHORED, /* ends early on most bytes */
    PATTERNS_COUNTING, /* anchored, and counts far through bytes of many kinds: with others it would make no end of states */
    PATTERNS_ON_PORT,  /* anchored, and only for flows of a service's port */
    PATTERNS_ANYWHERE, /* payload patterns that are not anchored */
    PATTERNS_LATER,    /* looked for only where a rule that holds asks: products' names, exceptions */
    PATTERNS_LINES,    /* those of them that begin with the end of a line: the others' bytes are passed over */
    PATTERNS_GROUPS,
};

enum patterns_flags {
    RULE_NAMES = 1 << 0,   /* a product's pattern: counts where a pattern of its service holds */
    RULE_OPEN = 1 << 1,    /* what it says depends on what it captures */
    RULE_LINE = 1 << 2,    /* and that stands in one line, which begins before the match */
    RULE_PYTHON = 1 << 3,  /* the tests here are necessary, not enough: Python decides */
    RULE_RANDOM = 1 << 5,  /* the payload looks random */
    RULE_HEAD = 1 << 4,    /* OPEN and anchored: what it captures stands in the first line */
};

struct patterns;

/* For one transport. `rules` are ordered by expression. NULL where the tables are not well-formed, or no memory. */
struct patterns_tables {
    const uint8_t *program[PATTERNS_GROUPS];
    size_t program_size[PATTERNS_GROUPS];
    uint32_t instructions[PATTERNS_GROUPS]; /* 0: the group is empty */
    const uint8_t *rules;
    size_t rules_size;
    const uint8_t *fields;
    size_t fields_size;
    const uint8_t *bytes; /* what `fields` compares with */
    size_t bytes_size;
};

struct patterns *patterns_new(const struct patterns_tables *tables);
void patterns_free(struct patterns *patterns);

struct holding {
    uint32_t count;
    uint16_t rules[PATTERNS_HOLDING]; /* ascending */
    bool unsure[PATTERNS_HOLDING];    /* of each: the tests here are necessary, not enough */
    bool sure;                        /* none of them is unsure */
    bool open;                        /* one of them is RULE_OPEN */
    bool in_line;                     /* all open ones are RULE_LINE or RULE_HEAD */
    const uint8_t *line[2];           /* the lines that these captured from, ends excluded; NULL where there is none */
    uint32_t line_size[2];
};

/* False where only Python can tell which rules hold. `ports`: the flow's. `names`: whether products are looked for. */
bool patterns_hold(struct patterns *patterns, const uint8_t *data, size_t size, const uint16_t ports[2], bool names,
                   struct holding *holding);

/* The automata's states as bytes, and back; see dfa_keep. What is not well-formed is left out. */
size_t patterns_keep(const struct patterns *patterns, uint8_t *out);
bool patterns_recall(struct patterns *patterns, const uint8_t *kept, size_t size);

/* See dfa_made; of all automata. */
uint64_t patterns_made(const struct patterns *patterns);

#endif
