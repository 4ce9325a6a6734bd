/*
 * What the device and a Venus worker say to each other over the context's ring:
 * messages of VGPU_API_VENUS.
 *
 * Theory of operation. A guest's own Vulkan driver, Mesa's, encodes its calls as
 * Venus, into memory that it shares with virglrenderer; submissions are few, and
 * small. A context is a worker, as for our own driver, but here the device is the
 * producer of the ring: it turns each command of the context into one message,
 * in the guest's order, so that a submission finds the blob that came before it.
 *
 * A blob's memory is made by the host's Vulkan driver, and comes back as any
 * blob's, in a packet BLOB_CREATED, in the order of asking; its `blob` is the
 * resource's id.
 *
 * A fence is a slot of the ring that reaches a sequence number, as an answer does: of
 * timeline n, slot n + 1, since slot 0 is the ring's own.
 *
 * The normative text is docs/specs/wire.rst, "The Venus API".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VENUS_H
#define VENUS_H

#include "ring.h"
#include "wire.h"

#define VENUS_CAPSET_ID   4
#define VENUS_CAPS_MAX    1024u /* bytes */
#define VENUS_RING_SIZE   (RING_CMD_OFFSET + RING_CMD_DEFAULT)
#define VENUS_SUBMIT_MAX  (RING_CMD_DEFAULT / 4 - 4096)
#define VENUS_TIMELINES   (VGPU_RINGS_MAX - 1)

enum venus_call {
    VENUS_SUBMIT = 1,
    VENUS_BLOB_CREATE = 2,
    VENUS_BLOB_DESTROY = 3,
    VENUS_CALLS,
};

/** venus_slot: where fences of @timeline, less than VENUS_TIMELINES, come. */
static inline uint32_t venus_slot(uint32_t timeline)
{
    return timeline + 1;
}

/* Bytes of the items below. */
#define VENUS_SUBMIT_BYTES (3 * 8)
#define VENUS_BLOB_BYTES   (4 * 8)

struct venus_submit {
    uint32_t slot; /* 0: nobody waits */
    uint32_t seq;
    uint32_t size; /* of the stream behind, a multiple of 4 */
};

struct venus_blob {
    uint32_t resource; /* the guest's id for it */
    uint32_t flags;    /* virtio-gpu's */
    uint64_t id;       /* 0: plain memory; else of memory that Vulkan has */
    uint64_t size;     /* whole pages */
};

static inline void venus_put_submit(struct wire_out *o,
                                    const struct venus_submit *v)
{
    wire_put(o, v->slot);
    wire_put(o, v->seq);
    wire_put(o, v->size);
}

static inline struct venus_submit venus_get_submit(struct wire_in *in)
{
    struct venus_submit v;

    v.slot = wire_get_u32(in);
    v.seq = wire_get_u32(in);
    v.size = wire_get_u32(in);
    return v;
}

static inline void venus_put_blob(struct wire_out *o, const struct venus_blob *v)
{
    wire_put(o, v->resource);
    wire_put(o, v->flags);
    wire_put(o, v->id);
    wire_put(o, v->size);
}

static inline struct venus_blob venus_get_blob(struct wire_in *in)
{
    struct venus_blob v;

    v.resource = wire_get_u32(in);
    v.flags = wire_get_u32(in);
    v.id = wire_get(in);
    v.size = wire_get(in);
    return v;
}

#endif
