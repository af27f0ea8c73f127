/* SHA-1 of short messages, for names of flows: nothing here is secret or signed. */
#ifndef FLOWSONAR_SHA1_H
#define FLOWSONAR_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20, SHA1_ONE_BLOCK = 55 }; /* bytes that fit into one block with the padding */

/* The digest of a message of at most SHA1_ONE_BLOCK bytes. */
void sha1_short(const uint8_t *data, size_t size, uint8_t digest[SHA1_SIZE]);

#endif
