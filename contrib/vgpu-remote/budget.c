/*
 * Budgets in shared memory; see budget.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "budget.h"

#include <stddef.h>
#include <sys/mman.h>

struct budget *budget_create(uint64_t max)
{
    struct budget *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (b == MAP_FAILED) {
        return NULL;
    }
    b->max = max;
    return b;
}

void budget_destroy(struct budget *b)
{
    if (b) {
        munmap(b, sizeof(*b));
    }
}

bool budget_charge(struct budget *b, unsigned index, uint64_t bytes)
{
    uint64_t used = atomic_load(&b->used);

    do {
        if (used > b->max || bytes > b->max - used) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&b->used, &used, used + bytes));
    atomic_fetch_add(&b->by_context[index], bytes);
    return true;
}

void budget_release(struct budget *b, unsigned index, uint64_t bytes)
{
    atomic_fetch_sub(&b->by_context[index], bytes);
    atomic_fetch_sub(&b->used, bytes);
}

void budget_release_all(struct budget *b, unsigned index)
{
    atomic_fetch_sub(&b->used, atomic_exchange(&b->by_context[index], 0));
}
