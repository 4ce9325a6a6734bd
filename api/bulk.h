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

#endif
