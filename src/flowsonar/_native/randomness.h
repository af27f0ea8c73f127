/* Do bytes look random? signatures/randomness.py is the specification. */
#ifndef FLOWSONAR_RANDOMNESS_H
#define FLOWSONAR_RANDOMNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool looks_random(const uint8_t *data, size_t size);

#endif
