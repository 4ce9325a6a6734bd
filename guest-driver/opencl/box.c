/*
 * Boxes: rows of bytes in a program's memory, with or without gaps.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <string.h>

size_t box_bytes(const struct box *b)
{
    return b->row * b->rows * b->slices;
}

bool box_is_dense(const struct box *b)
{
    return (b->rows == 1 || b->row_pitch == b->row) &&
           (b->slices == 1 || b->slice_pitch == b->row * b->rows);
}

void box_pack(const struct box *b, const void *at, void *dense)
{
    char *to = dense;

    if (box_is_dense(b)) {
        memcpy(to, at, box_bytes(b));
        return;
    }
    for (size_t z = 0; z < b->slices; z++) {
        const char *from = (const char *)at + z * b->slice_pitch;

        for (size_t y = 0; y < b->rows; y++) {
            memcpy(to, from, b->row);
            to += b->row;
            from += b->row_pitch;
        }
    }
}

void box_unpack(const struct box *b, void *at, const void *dense)
{
    const char *from = dense;

    if (box_is_dense(b)) {
        memcpy(at, from, box_bytes(b));
        return;
    }
    for (size_t z = 0; z < b->slices; z++) {
        char *to = (char *)at + z * b->slice_pitch;

        for (size_t y = 0; y < b->rows; y++) {
            memcpy(to, from, b->row);
            from += b->row;
            to += b->row_pitch;
        }
    }
}
