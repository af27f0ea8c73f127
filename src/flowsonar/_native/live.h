/* The fast lane live: flows begin with what is known of their endpoints, and are told of when their label changes, not
   only when they end. */
#ifndef FLOWSONAR_LIVE_H
#define FLOWSONAR_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "known.h"

struct table;
struct lane;

enum { LIVE_REOPENED = 1u << 31 }; /* in an event's node: how a flow began is told there, see live_began */

/* What is known of the endpoints of a flow that opens, put into its lane; KNOWN_UNSURE where Python must look. */
uint32_t live_opens(struct table *table, uint32_t slot, bool midstream);

/* Go on from what is known: to the node where the flow's path begins. False where there is no room. */
bool live_begins(struct table *table, uint32_t slot, uint16_t interface);

/* Whether Python has to follow a flow that opens, because it may be asked about. */
bool live_asks(struct table *table, uint32_t slot, bool midstream);
/* Whether a flow in the fast lane is Python's from this node of its path on, known or not yet: somebody may be asked, or
   it is to be said that nobody can tell. */
bool live_unsure(const struct table *table, uint32_t slot, uint32_t node);
/* Whether Python, which asks, follows a flow. */
bool live_is_followed(const struct table *table, uint32_t slot);

/* For the event of a flow that is opened for Python late, or by a table that knows its endpoints: bit 31, told (6 bits
   from 18), view (2 from 16) and number of what was known. 0 where Python is to look itself. */
uint32_t live_began(const struct table *table, const struct lane *lane);

/* The clock of what is told: the caller's, where there is none the packets'. */
uint64_t live_now(const struct table *table);

/* The label changes: told of where its node has a verdict for that, and what the responder proved is learned. */
void live_labelled(struct table *table, uint32_t slot);

#endif
