/*
 * Where in its first page a large buffer begins.
 *
 * Arrays that all begin at a page fall on the same lines of a processor's first cache
 * as soon as a kernel walks through several of them, or through one at strides of a power
 * of two: more lines than the cache has ways, and each access misses. An allocator that
 * puts a header in front of things spreads them by accident; what we share between
 * processes begins at pages, so it is spread on purpose.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef COLOUR_H
#define COLOUR_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define COLOUR_ALIGN    128u /* what devices that are processors ask of a buffer */
#define COLOUR_SIZE_MIN ((size_t)64 << 10) /* smaller ones fit beside each other */

/**
 * colour_next: bytes of the first page to leave free, a multiple of COLOUR_ALIGN
 * below 4096, for a buffer of @size bytes.
 *
 * @made counts such buffers. Each is as far from those before it as there is room:
 * 0, 2048, 1024, 3072, 512, ...
 */
static inline size_t colour_next(_Atomic uint32_t *made, size_t size)
{
    uint32_t n, colour = 0;

    if (size < COLOUR_SIZE_MIN) {
        return 0;
    }
    n = atomic_fetch_add_explicit(made, 1, memory_order_relaxed);
    for (uint32_t at = 2048; at >= COLOUR_ALIGN; at /= 2, n /= 2) {
        colour += n % 2 * at;
    }
    return colour;
}

#endif
