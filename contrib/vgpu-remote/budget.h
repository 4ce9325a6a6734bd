/*
 * What one client may use: bytes, over all its contexts.
 *
 * A budget lies in memory that the server shares with the workers of that
 * client, and is charged by them: no message to the server for a blob. A worker
 * that its guest has taken over could cheat here, but only on the budget of its own
 * client, and the worker's rlimits still hold.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BUDGET_H
#define BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_CONTEXTS 256u /* the most contexts that a client may have */

struct budget {
    /* Constant after create. */
    uint64_t max; /* bytes */
    /* All contexts together. */
    _Atomic uint64_t used;
    /* Of them, by context: what the server takes back when a worker ends. */
    _Atomic uint64_t by_context[BUDGET_CONTEXTS];
};

/** budget_create: a budget of @max bytes in shared memory, or NULL. */
struct budget *budget_create(uint64_t max);
void budget_destroy(struct budget *b);

/** budget_charge: take @bytes for context @index; false if there are not as many. */
bool budget_charge(struct budget *b, unsigned index, uint64_t bytes);

/** budget_release: give @bytes back that were charged. */
void budget_release(struct budget *b, unsigned index, uint64_t bytes);

/** budget_release_all: the server, when the worker of context @index is gone. */
void budget_release_all(struct budget *b, unsigned index);

#endif
