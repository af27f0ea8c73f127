/* What an automaton is made of, for the files that make it up: dfa.c, dfa_kept.c. */
#ifndef FLOWSONAR_DFA_STATE_H
#define FLOWSONAR_DFA_STATE_H

#include "dfa.h"

enum {
    UNKNOWN_STATE = 0, /* not made yet; a state's steps are so at first */
    DEAD_STATE = 1,    /* nothing can match any more */
    FIRST_STATE = 2,
    HEADS = 1 << 14,            /* of the look-up of states */
    MEMBERS_PER_STATE = 48,     /* room, on average */
    MATCHES = 1 << 15,          /* beside a state's number in `steps`: expressions match there */
    WORK_MAX = 1 << 21,         /* instructions looked at while one payload's states are made: some milliseconds */
};

struct instruction {
    uint32_t next, other;
    uint32_t argument;
    uint8_t operation;
};

/* What may come next: instructions that take a byte or wait for an edge, then what matches here. */
struct state {
    uint32_t at, count, matches; /* in members: `count` instructions, then `matches` expressions */
    uint32_t chain;              /* next state with this hash, 0 for none */
    uint32_t hash;
    uint32_t end_at, end_count;  /* in members: what matches where the bytes end here, once `ended` */
    bool word;  /* the last byte was a word's */
    bool asks;  /* some of them wait for an edge or the end */
    bool ended;
};

struct dfa {
    uint32_t instruction_count, state_room, member_room;
    struct instruction *instructions;
    uint8_t (*sets)[DFA_SET_SIZE];
    uint16_t *steps; /* by state and class of the byte */
    uint8_t class_of[256]; /* bytes that no set tells apart are one class */
    uint32_t classes;
    struct state *states;
    uint32_t *members;
    uint32_t heads[HEADS];
    uint32_t state_count, member_count;
    uint32_t work; /* left of WORK_MAX for the payload at hand */
    uint16_t start; /* the state before the first byte, UNKNOWN_STATE where it is not made */
    int only;       /* the one byte that leads away from `start`, which is also where nothing has begun; -1 for others */

    /* The set that is being made, as a list and as marks; and the one it is made from. */
    uint32_t *set, *from, *stack, *found;
    uint32_t set_count, found_count;
    uint32_t *marks; /* the round in which an instruction was added last */
    uint32_t round;
    uint64_t made; /* steps, since the beginning */
    size_t memory;
};

/* Forget all states. */
void dfa_forget(struct dfa *dfa);

/* Give a state its place in the look-up, by the members it has. */
void dfa_enter(struct dfa *dfa, uint32_t number);

#endif
