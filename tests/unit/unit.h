/*
 * What the unit tests share: cmocka with what it wants included before it, a
 * small generator of random numbers that gives the same ones in every run, and
 * memory that ends where it ends.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

/** random_next: the next number of the row that *@state stands in. */
static inline uint32_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 32);
}

/** now_ms: milliseconds of a clock that only goes forward. */
static inline uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/*
 * Pages with one behind them that may not be touched, so that reading one byte
 * too many is a crash with any compiler.
 */
#define FENCED_BYTES (64u << 10)

/** fenced_create: FENCED_BYTES bytes of zeros; fenced_end() is their end. */
static inline uint8_t *fenced_create(void)
{
    uint8_t *p = mmap(NULL, FENCED_BYTES + 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(mprotect(p + FENCED_BYTES, 4096, PROT_NONE), 0);
    return p;
}

static inline void fenced_destroy(uint8_t *p)
{
    munmap(p, FENCED_BYTES + 4096);
}

#endif
