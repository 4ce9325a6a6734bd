/*
 * Resources: virglrenderer has them; here they are counted. Their bytes are charged to
 * the client's budget.
 *
 * Those that are nothing but guest memory it does not have: whatever names one is
 * not for it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "virgl_worker.h"

#include <errno.h>
#include <stdlib.h>
#include <virglrenderer.h>

#include "virgl_format.h"

#define BUCKETS 1024u
#define RESOURCES_MAX (1u << 18)

struct resource {
    struct resource *next;
    uint32_t id;
    bool made; /* virglrenderer has it */
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

/*
 * Bytes of a block. Where the table does not have the format: from those of a row,
 * which virglrenderer fills in also when it finds nothing else to say.
 */
static uint32_t block_bytes(const struct virgl_resource *r)
{
    struct virgl_renderer_resource_info info = { 0 };
    struct virgl_block block = virgl_format_block(r->format);
    uint32_t n = virgl_blocks(r->width, block.w);

    if (block.bytes == 0 && n) {
        virgl_renderer_resource_get_info((int)r->id, &info);
        block.bytes = info.stride / n;
    }
    return block.bytes;
}

/* About what a driver needs for it; false if that is no number of bytes. */
static bool size_of(const struct virgl_resource *r, uint32_t unit,
                    uint64_t *bytes)
{
    struct virgl_block block = virgl_format_block(r->format);
    uint64_t n = (uint64_t)virgl_blocks(r->width, block.w) *
                 virgl_blocks(r->height ? r->height : 1, block.h);

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
    uint32_t unit;
    int err;

    if (v->bind & VIRGL_BIND_STAGING) {
        return 0;
    }
    /* At a byte each before a driver tries; what it really is, behind. */
    if (!size_of(v, 1, &bytes) || !session_charge(s, bytes)) {
        return EDQUOT;
    }
    r->charged = bytes;
    err = virgl_export_make(&args);
    if (err == ENOTSUP) {
        err = virgl_renderer_resource_create(&args, NULL, 0);
    }
    if (err) {
        return err < 0 ? -err : err;
    }
    unit = block_bytes(v);
    if (!size_of(v, unit, &bytes) ||
        (bytes > r->charged && !session_charge(s, bytes - r->charged))) {
        virgl_renderer_resource_unref(v->id);
        return EDQUOT;
    }
    r->charged = bytes > r->charged ? bytes : r->charged;
    r->made = true;
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
    if (r->made) {
        virgl_renderer_resource_unref(id);
    }
    session_release(s, r->charged);
    free(r);
}
