/*
 * How virgl's formats lie in memory: what a box of a resource comes to in bytes.
 *
 * The device copies boxes out of guest pages, and into them, and so has to know where
 * their rows are: a stock driver leaves that to the renderer. The worker counts bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VIRGL_FORMAT_H
#define VIRGL_FORMAT_H

#include <stdint.h>

/* The unit of a format: so many pixels take so many bytes. */
struct virgl_block {
    uint32_t w, h;
    uint32_t bytes; /* 0: not known, or different planes */
};

/** virgl_format_block: of the format with virgl's number @format; any number. */
struct virgl_block virgl_format_block(uint32_t format);

/** virgl_blocks: how many blocks of @block pixels @pixels begin. */
static inline uint32_t virgl_blocks(uint32_t pixels, uint32_t block)
{
    return pixels / block + (pixels % block != 0);
}

#endif
