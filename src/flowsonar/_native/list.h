/* Flows in the order of `since`: doubly linked through the flows themselves. */
#ifndef FLOWSONAR_LIST_H
#define FLOWSONAR_LIST_H

#include <stdint.h>

#include "flow.h"

struct list {
    uint32_t oldest; /* NONE where it is empty */
    uint32_t newest;
};

static inline struct list list_empty(void) { return (struct list){NONE, NONE}; }

static inline void list_add(struct flow *flows, struct list *list, uint32_t slot) {
    flows[slot].older = list->newest;
    flows[slot].newer = NONE;
    if (list->newest == NONE)
        list->oldest = slot;
    else
        flows[list->newest].newer = slot;
    list->newest = slot;
}

/* Requires that the flow is in this list. */
static inline void list_remove(struct flow *flows, struct list *list, uint32_t slot) {
    const struct flow *flow = &flows[slot];
    if (flow->older == NONE)
        list->oldest = flow->newer;
    else
        flows[flow->older].newer = flow->newer;
    if (flow->newer == NONE)
        list->newest = flow->older;
    else
        flows[flow->newer].older = flow->older;
}

#endif
