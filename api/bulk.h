/*
 * The 64 bytes in front of every piece of pooled shared memory: how far its
 * two users have come. Either side writes only its own words.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BULK_H
#define BULK_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "wire.h"

struct bulk_header {
    /*
     * Guest -> worker: bytes of the data that are valid, for a transfer that
     * starts before all of it is there.
     */
    alignas(32) _Atomic uint64_t filled;
    uint64_t reserved[3];
    /* Worker -> guest: bytes of the data that have arrived, or were used up. */
    alignas(32) _Atomic uint64_t drained;
    /* Worker -> guest: 1 as soon as no command uses this memory any more. */
    _Atomic uint32_t done;
    uint32_t reserved2[5];
};
static_assert(sizeof(struct bulk_header) == 64, "part of the wire");

/**
 * bulk_tracked: the header in front of the data of @span, which lie at @data here;
 * NULL if the guest does not want to be told.
 */
static inline struct bulk_header *bulk_tracked(const struct wire_span *span,
                                               const void *data)
{
    if (!(span->blob & WIRE_SPAN_TRACKED) ||
        span->offset < sizeof(struct bulk_header) || span->offset % 64) {
        return NULL;
    }
    return (struct bulk_header *)data - 1;
}

#endif
