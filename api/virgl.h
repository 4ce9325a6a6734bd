/*
 * What the device and a VM's virgl worker say to each other over their ring:
 * messages of VGPU_API_VIRGL, and the queue of completions that come back.
 *
 * Theory of operation. The device is the ring's producer on behalf of the whole
 * guest: it turns every virtio-gpu 3D command into one message, in the guest's
 * order, and the worker's one thread makes the calls of virglrenderer. Every
 * message begins with a token. Nobody waits for a message whose token is 0;
 * any other token comes back, once, in a struct virgl_done: when the call has
 * been made or, for SUBMIT, when the GPU has done all that its context was told.
 *
 * Completions lie in the reply area of slot VIRGL_DONE_SLOT, entry n at
 * place n modulo VIRGL_DONE_ENTRIES, and the slot's `done` is how many there
 * have been. So the device sleeps for them as for any slot (ring_slot_arm).
 * There is no other bound than the device's own: it must never have more than
 * VIRGL_DONE_ENTRIES tokens outstanding.
 *
 * Guest memory does not appear here. What is uploaded is copied by the device into
 * a blob that the worker made (VIRGL_STAGING, or one of its own for a large
 * transfer), and what is read back is copied out of there. A PUT or COPY may also be
 * out of pages of the guest that the device has handed over (PROTO_BLOB_IMPORT), which
 * are a blob like others, but for reading only.
 *
 * The normative text is docs/specs/wire.rst, "The virgl API".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VIRGL_H
#define VIRGL_H

#include "ring.h"
#include "wire.h"

#define VIRGL_CAPSET_ID     2 /* virtio-gpu's "virgl2" */
#define VIRGL_CAPS_MAX      RING_REPLY_SIZE
#define VIRGL_CAPS_SLOT     2 /* START puts the caps into its reply area */
#define VIRGL_TEXT_SLOT     3 /* ... and why it failed, or VULKAN, a text */
#define VIRGL_TEXT_MAX      256
#define VIRGL_GPU_MAX       128 /* of START: the name of a GPU, with its NUL */
#define VIRGL_DONE_SLOT     1
#define VIRGL_DONE_ENTRIES  (RING_REPLY_SIZE / 16)

/* Blob ids: the ring is VGPU_BLOB_RING. */
#define VIRGL_STAGING       2
#define VIRGL_BLOB_FIRST    3

/* A submission must fit into a message of the largest ring, with its header. */
#define VIRGL_RING_SIZE     (RING_CMD_OFFSET + RING_CMD_MAX)
#define VIRGL_SUBMIT_MAX    (RING_CMD_MAX / 4 - 4096)

enum virgl_call {
    VIRGL_START = 1,
    VIRGL_CONTEXT_CREATE = 2,
    VIRGL_CONTEXT_DESTROY = 3,
    VIRGL_ATTACH = 4,
    VIRGL_DETACH = 5,
    VIRGL_RESOURCE_CREATE = 6,
    VIRGL_RESOURCE_UNREF = 7,
    VIRGL_SUBMIT = 8,
    VIRGL_PUT = 9,
    VIRGL_GET = 10,
    VIRGL_COPY = 11,
    VIRGL_VULKAN = 12,
    VIRGL_PICTURE = 13,
    VIRGL_SETTLE = 14,
    VIRGL_CALLS,
};

struct virgl_done {
    uint32_t token;
    uint32_t status; /* 0 or an errno value */
    uint32_t a, b; /* START: version and size of the caps */
};
static_assert(sizeof(struct virgl_done) == 16, "part of the wire");

/** virgl_done_at: the place of the @n'th completion, counted from 0. */
static inline struct virgl_done *virgl_done_at(void *ring, uint32_t n)
{
    return (struct virgl_done *)ring_reply(ring, VIRGL_DONE_SLOT) +
           n % VIRGL_DONE_ENTRIES;
}

/* Of the caps, the executor's name in 64 bytes; fewer caps have none. */
#define VIRGL_CAPS_RENDERER  696

/* Bytes of the two structs below as items. */
#define VIRGL_RESOURCE_BYTES (11 * 8)
#define VIRGL_TRANSFER_BYTES (14 * 8)

/* In the order of virglrenderer's and virtio-gpu's fields. */
struct virgl_resource {
    uint32_t id, target, format, bind, width, height, depth, array_size,
        last_level, nr_samples, flags;
};

struct virgl_transfer {
    uint32_t context; /* 0: none, as for pictures on a screen */
    uint32_t resource, level, stride, layer_stride;
    uint32_t x, y, z, w, h, d;
    struct wire_span data; /* the box's first byte is its first */
};

static inline void virgl_put_resource(struct wire_out *o,
                                      const struct virgl_resource *v)
{
    const uint32_t items[] = {
        v->id, v->target, v->format, v->bind, v->width, v->height, v->depth,
        v->array_size, v->last_level, v->nr_samples, v->flags,
    };

    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        wire_put(o, items[i]);
    }
}

static inline struct virgl_resource virgl_get_resource(struct wire_in *in)
{
    struct virgl_resource v;

    v.id = wire_get_u32(in);
    v.target = wire_get_u32(in);
    v.format = wire_get_u32(in);
    v.bind = wire_get_u32(in);
    v.width = wire_get_u32(in);
    v.height = wire_get_u32(in);
    v.depth = wire_get_u32(in);
    v.array_size = wire_get_u32(in);
    v.last_level = wire_get_u32(in);
    v.nr_samples = wire_get_u32(in);
    v.flags = wire_get_u32(in);
    return v;
}

static inline void virgl_put_transfer(struct wire_out *o,
                                      const struct virgl_transfer *v)
{
    const uint32_t items[] = {
        v->context, v->resource, v->level, v->stride, v->layer_stride,
        v->x, v->y, v->z, v->w, v->h, v->d,
    };

    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        wire_put(o, items[i]);
    }
    wire_put_span(o, &v->data);
}

static inline struct virgl_transfer virgl_get_transfer(struct wire_in *in)
{
    struct virgl_transfer v;

    v.context = wire_get_u32(in);
    v.resource = wire_get_u32(in);
    v.level = wire_get_u32(in);
    v.stride = wire_get_u32(in);
    v.layer_stride = wire_get_u32(in);
    v.x = wire_get_u32(in);
    v.y = wire_get_u32(in);
    v.z = wire_get_u32(in);
    v.w = wire_get_u32(in);
    v.h = wire_get_u32(in);
    v.d = wire_get_u32(in);
    v.data = wire_get_span(in);
    return v;
}

/* A resource that is nothing but guest memory; the worker makes none of it. */
#define VIRGL_BIND_STAGING  (1u << 19)
/* A buffer of a driver's own; of just so many bytes it is for the answer to a query. */
#define VIRGL_BIND_CUSTOM   (1u << 17)

struct virgl_query {
    uint32_t state; /* VIRGL_QUERY_DONE: there is an answer */
    uint32_t size;
    uint64_t answer;
};

#define VIRGL_QUERY_DONE 1u

/*
 * Of virgl's own commands, those that name guest memory. A word in front says
 * what it is and how many words follow. A stock driver puts its uploads first in a
 * submission, and an END_TRANSFERS behind them: the device makes PUTs of those, and
 * COPYs of copies, which may be anywhere.
 */
#define VIRGL_STREAM_TRANSFER       43u
#define VIRGL_STREAM_END_TRANSFERS  44u
#define VIRGL_STREAM_COPY           45u
#define VIRGL_STREAM_TRANSFER_WORDS 13u
#define VIRGL_STREAM_TO_HOST        1u
#define VIRGL_STREAM_COPY_WORDS     14u
#define VIRGL_STREAM_COPY_IN_ORDER  (1u << 0) /* after what was drawn before */
#define VIRGL_STREAM_COPY_FROM_HOST (1u << 1)

static inline uint32_t virgl_stream_command(uint32_t word)
{
    return word & 0xff;
}

static inline uint32_t virgl_stream_words(uint32_t word)
{
    return word >> 16;
}

#endif
