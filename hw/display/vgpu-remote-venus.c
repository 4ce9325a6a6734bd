/*
 * Vulkan of the guest's own driver: contexts of capset 4, whose workers have Venus.
 *
 * Such a context is like one of our own driver (a worker process, blobs in the BAR,
 * fences that are slots of a ring), but here the device is the ring's producer: the
 * guest's driver knows nothing of it. Each command becomes a message (api/venus.h), in
 * the guest's order. What is said by Vulkan is in memory that guest and worker share,
 * and never passes here.
 *
 * The ring is asked for when the context is made; what comes before it is there
 * waits with the queue, and so does what finds the ring full, with a limit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "hw/display/vgpu-remote.h"

#include "qemu/iov.h"
#include "trace/trace-hw_display_vgpu_remote.h"

/* --- the ring ------------------------------------------------------------ */

void vgpu_venus_begin(VgpuContext *ctx)
{
    struct proto_blob_create m = {
        .type = PROTO_BLOB_CREATE,
        .blob = VGPU_BLOB_RING,
        .size = VENUS_RING_SIZE,
    };

    vgpu_context_send(ctx, &m, -1);
}

const char *vgpu_venus_take_ring(VgpuContext *ctx,
                                 const struct proto_blob_created *m, int fd)
{
    const char *why = "its worker has no memory";
    void *ring = MAP_FAILED;

    if (m->blob != VGPU_BLOB_RING) {
        why = "its worker answers what was not asked";
    } else if (fd >= 0 && proto_check_blob(fd, VENUS_RING_SIZE) < 0) {
        why = "its worker's memory is too small or not sealed";
    } else if (fd >= 0) {
        ring = mmap(NULL, VENUS_RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                    fd, 0);
    }
    if (ring != MAP_FAILED) {
        why = ring_producer_init(&ctx->producer, ring, VENUS_RING_SIZE);
        ctx->ring = ring;
    }
    if (fd >= 0) {
        close(fd);
    }
    return why;
}

/* --- messages ------------------------------------------------------------ */

/* A message being written. */
typedef struct Message {
    struct wire_header *header;
    struct wire_out out;
    uint32_t size;
} Message;

/* With @payload bytes. Returns 0, or what a handler is to return. */
static uint32_t begin(VgpuContext *ctx, Message *m, uint32_t payload)
{
    if (ctx->sock < 0) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (!ctx->ring) {
        return vgpu_stall(ctx->vr, ctx);
    }
    m->size = ROUND_UP(sizeof(*m->header) + payload, RING_ALIGN);
    while (!(m->header = ring_reserve(&ctx->producer, m->size))) {
        uint32_t space = ring_space_position(&ctx->producer, m->size);

        if (!vgpu_ring_watch(&ctx->rings[0])) {
            return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        }
        if (!ring_slot_arm(ring_slot(ctx->ring, 0), space)) {
            return vgpu_stall(ctx->vr, ctx);
        }
    }
    memset(m->header, 0, sizeof(*m->header));
    m->header->size = m->size;
    m->header->payload = payload;
    m->header->api = VGPU_API_VENUS;
    wire_out_init(&m->out, m->header + 1, payload);
    return 0;
}

static void end(VgpuContext *ctx, Message *m, enum venus_call call)
{
    assert(!m->out.bad);
    m->header->call = call;
    memset(m->out.p, 0, (uint8_t *)m->header + m->size - m->out.p);
    if (ring_commit(&ctx->producer, m->size)) {
        event_notifier_set(&ctx->doorbell);
    }
}

/* --- commands ------------------------------------------------------------ */

uint32_t vgpu_venus_blob_create(VgpuContext *ctx, const VgpuBlob *blob,
                                const struct virtio_gpu_resource_create_blob *c)
{
    struct venus_blob v = {
        .resource = blob->resource,
        .flags = c->blob_flags,
        .id = c->blob_id,
        .size = blob->size,
    };
    Message m;
    uint32_t error = begin(ctx, &m, VENUS_BLOB_BYTES);

    if (!error) {
        venus_put_blob(&m.out, &v);
        end(ctx, &m, VENUS_BLOB_CREATE);
    }
    return error;
}

uint32_t vgpu_venus_blob_destroy(VgpuContext *ctx, uint32_t resource)
{
    Message m;
    uint32_t error = begin(ctx, &m, 8);

    if (!error) {
        wire_put(&m.out, resource);
        end(ctx, &m, VENUS_BLOB_DESTROY);
    }
    return error;
}

/* Those without a ring are answered with their command. */
static bool is_on_timeline(const struct virtio_gpu_ctrl_hdr *hdr)
{
    uint32_t flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX;

    return (hdr->flags & flags) == flags;
}

uint32_t vgpu_venus_submit(VgpuContext *ctx, struct virtio_gpu_ctrl_command *cmd,
                           const VgpuCommand *in)
{
    bool fenced = is_on_timeline(&in->hdr);
    struct venus_submit v = { .size = in->submit.size };
    struct iovec *iov = cmd->elem.out_sg;
    unsigned n = cmd->elem.out_num;
    uint32_t error;
    Message m;

    if (v.size % 4 || v.size > VENUS_SUBMIT_MAX ||
        iov_size(iov, n) < sizeof(in->submit) + v.size ||
        (fenced && in->hdr.ring_idx >= VENUS_TIMELINES)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    error = begin(ctx, &m, VENUS_SUBMIT_BYTES + ROUND_UP(v.size, 8));
    if (error) {
        return error;
    }
    if (fenced) {
        v.slot = venus_slot(in->hdr.ring_idx);
        v.seq = ++ctx->rings[v.slot].seq;
    }
    venus_put_submit(&m.out, &v);
    iov_to_buf(iov, n, sizeof(in->submit), m.out.p, v.size);
    m.out.p += v.size;
    end(ctx, &m, VENUS_SUBMIT);
    trace_vgpu_remote_venus_submit(ctx->id, v.size, v.slot, v.seq);
    return fenced ? vgpu_fence_wait(ctx, cmd, v.slot, v.seq)
                  : VIRTIO_GPU_RESP_OK_NODATA;
}
