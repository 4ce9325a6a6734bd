/*
 * Resources: virglrenderer has them; here is what it does not tell or count. Their
 * bytes are charged to the client's budget, and their layout says which bytes of a
 * transfer's memory a read has written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "virgl_worker.h"

#include <errno.h>
#include <stdlib.h>
#include <virglrenderer.h>

#define BUCKETS 1024u
#define RESOURCES_MAX (1u << 18)

struct resource {
    struct resource *next;
    uint32_t id, format;
    uint32_t block_bytes;
    bool buffer;
    uint64_t charged;
};

static struct resource *buckets[BUCKETS];
static uint32_t count;

static struct resource **find(uint32_t id)
{
    struct resource **at = &buckets[id % BUCKETS];

    while (*at && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

/* --- layout -------------------------------------------------------------- */

struct block {
    uint32_t w, h;
};

/* Formats whose unit is not a pixel, by their numbers in virgl. */
static struct block block_of(uint32_t format)
{
    static const struct block astc[] = {
        { 4, 4 }, { 5, 4 }, { 5, 5 }, { 6, 5 }, { 6, 6 }, { 8, 5 }, { 8, 6 },
        { 8, 8 }, { 10, 5 }, { 10, 6 }, { 10, 8 }, { 10, 10 }, { 12, 10 },
        { 12, 12 },
    };
    static const struct {
        uint32_t first, last;
        struct block block;
    } ranges[] = {
        { 14, 15, { 2, 1 } },   /* UYVY, YUYV */
        { 105, 116, { 4, 4 } }, /* DXT, RGTC */
        { 117, 118, { 2, 1 } }, /* R8G8_B8G8, G8R8_G8B8 */
        { 143, 146, { 4, 4 } }, /* LATC */
        { 226, 226, { 4, 4 } }, /* ETC1 */
        { 227, 228, { 2, 1 } },
        { 255, 258, { 4, 4 } }, /* BPTC */
        { 269, 278, { 4, 4 } }, /* ETC2 */
    };

    if (format >= 279 && format <= 306) {
        return astc[(format - 279) % 14];
    }
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (format >= ranges[i].first && format <= ranges[i].last) {
            return ranges[i].block;
        }
    }
    return (struct block) { 1, 1 };
}

static uint32_t blocks(uint32_t pixels, uint32_t block)
{
    return pixels / block + (pixels % block != 0);
}

bool virgl_resource_layout(const struct virgl_transfer *t, uint32_t *row,
                           uint32_t *rows)
{
    const struct resource *r = *find(t->resource);
    struct block block;
    uint64_t bytes;

    if (!r) {
        return false;
    }
    block = block_of(r->format);
    bytes = r->buffer ? t->w : (uint64_t)blocks(t->w, block.w) * r->block_bytes;
    *row = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
    *rows = r->buffer ? 1 : blocks(t->h, block.h);
    return true;
}

/* --- life ---------------------------------------------------------------- */

/* Bytes of a block, which is not told, from those of the first level's row. */
static uint32_t block_bytes(const struct virgl_resource *r)
{
    struct virgl_renderer_resource_info info = { 0 };
    uint32_t n = blocks(r->width, block_of(r->format).w);

    if (virgl_renderer_resource_get_info((int)r->id, &info) || n == 0) {
        return 0;
    }
    return info.stride / n;
}

/* About what a driver needs for it; false if that is no number of bytes. */
static bool size_of(const struct virgl_resource *r, uint32_t unit,
                    uint64_t *bytes)
{
    struct block block = block_of(r->format);
    uint64_t n = (uint64_t)blocks(r->width, block.w) *
                 blocks(r->height ? r->height : 1, block.h);

    return !__builtin_mul_overflow(n, r->depth ? r->depth : 1, &n) &&
           !__builtin_mul_overflow(n, r->array_size ? r->array_size : 1, &n) &&
           !__builtin_mul_overflow(n, r->nr_samples ? r->nr_samples : 1, &n) &&
           !__builtin_mul_overflow(n, unit, &n) &&
           !__builtin_add_overflow(n, r->last_level ? n / 3 + 4096 : 4096,
                                   bytes);
}

static int make(struct session *s, const struct virgl_resource *v,
                struct resource *r)
{
    struct virgl_renderer_resource_create_args args = {
        .handle = v->id,
        .target = v->target,
        .format = v->format,
        .bind = v->bind,
        .width = v->width,
        .height = v->height,
        .depth = v->depth,
        .array_size = v->array_size,
        .last_level = v->last_level,
        .nr_samples = v->nr_samples,
        .flags = v->flags,
    };
    uint64_t bytes;
    int err;

    /* At a byte each before a driver tries; what it really is, behind. */
    if (!size_of(v, 1, &bytes) || !session_charge(s, bytes)) {
        return EDQUOT;
    }
    r->charged = bytes;
    err = virgl_renderer_resource_create(&args, NULL, 0);
    if (err) {
        return err < 0 ? -err : err;
    }
    r->block_bytes = block_bytes(v);
    if (!size_of(v, r->block_bytes, &bytes) ||
        (bytes > r->charged && !session_charge(s, bytes - r->charged))) {
        virgl_renderer_resource_unref(v->id);
        return EDQUOT;
    }
    r->charged = bytes > r->charged ? bytes : r->charged;
    return 0;
}

int virgl_resource_add(struct session *s, const struct virgl_resource *v)
{
    struct resource **at = find(v->id);
    struct resource *r;
    int err;

    if (v->id == 0 || *at) {
        return v->id ? EEXIST : EINVAL;
    }
    r = count < RESOURCES_MAX ? calloc(1, sizeof(*r)) : NULL;
    if (!r) {
        return ENOMEM;
    }
    r->id = v->id;
    r->format = v->format;
    r->buffer = v->target == 0; /* PIPE_BUFFER */
    err = make(s, v, r);
    if (err) {
        session_release(s, r->charged);
        free(r);
        return err;
    }
    *at = r;
    count++;
    return 0;
}

void virgl_resource_remove(struct session *s, uint32_t id)
{
    struct resource **at = find(id);
    struct resource *r = *at;

    if (!r) {
        return;
    }
    *at = r->next;
    count--;
    virgl_renderer_resource_unref(id);
    session_release(s, r->charged);
    free(r);
}
