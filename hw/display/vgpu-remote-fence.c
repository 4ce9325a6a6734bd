/*
 * Fences: commands that are answered when a slot of a context's ring has
 * reached a sequence number.
 *
 * The device sees the ring's memory, and asks for a signal as any sleeper does
 * (ring_slot_arm): the worker then writes the eventfd of that ring, once, and
 * the main loop looks how far the slot has come. Nothing polls, and an idle
 * device has no timer.
 *
 * Within a ring answers keep the guest's order, because a stock driver takes
 * one for all earlier fences of that ring; so an answer that could be given at
 * once queues too if something is held before it. Rings know nothing of each
 * other.
 *
 * A held command sits in the parent's fenceq, which is what reset clears.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "trace/trace-hw_display_vgpu_remote.h"

struct VgpuFence {
    struct virtio_gpu_ctrl_command *cmd;
    uint32_t answer; /* the response's type */
    bool waits;      /* for: */
    uint32_t seq;
    QSIMPLEQ_ENTRY(VgpuFence) next;
};

/* --- holding and answering ----------------------------------------------- */

static bool may_hold(const VgpuContext *ctx)
{
    return ctx->sock >= 0 && ctx->held < VGPU_REMOTE_HELD_CONTEXT &&
           ctx->vr->held < VGPU_REMOTE_HELD_DEVICE;
}

static void hold(VgpuRing *ring, const VgpuFence *what)
{
    VgpuFence *fence = g_memdup2(what, sizeof(*what));

    trace_vgpu_remote_fence_held(ring->ctx->id, ring->index, fence->seq,
                                 fence->cmd->cmd_hdr.fence_id);
    QSIMPLEQ_INSERT_TAIL(&ring->fences, fence, next);
    ring->ctx->held++;
    ring->ctx->vr->held++;
}

/* Take the first one off; its command is the caller's. */
static VgpuFence *take_first(VgpuRing *ring)
{
    VgpuFence *fence = QSIMPLEQ_FIRST(&ring->fences);

    QSIMPLEQ_REMOVE_HEAD(&ring->fences, next);
    ring->ctx->held--;
    ring->ctx->vr->held--;
    return fence;
}

/* Like virtio_gpu_ctrl_response_nodata(), without a notification each. */
static void push_answer(VirtIOGPU *g, struct virtio_gpu_ctrl_command *cmd,
                        uint32_t type)
{
    struct virtio_gpu_ctrl_hdr hdr = {
        .type = type,
        .flags = cmd->cmd_hdr.flags & VIRTIO_GPU_FLAG_FENCE,
        .fence_id = cmd->cmd_hdr.fence_id,
        .ctx_id = cmd->cmd_hdr.ctx_id,
    };
    size_t n = iov_from_buf(cmd->elem.in_sg, cmd->elem.in_num, 0, &hdr,
                            sizeof(hdr));

    virtqueue_push(cmd->vq, &cmd->elem, n);
}

static void answer_first(VgpuRing *ring)
{
    VirtIOGPU *g = VIRTIO_GPU(ring->ctx->vr);
    VgpuFence *fence = take_first(ring);

    trace_vgpu_remote_fence_done(ring->ctx->id, ring->index,
                                 fence->cmd->cmd_hdr.fence_id);
    QTAILQ_REMOVE(&g->fenceq, fence->cmd, next);
    g->inflight--;
    push_answer(g, fence->cmd, fence->answer);
    g_free(fence->cmd);
    g_free(fence);
}

/* --- a ring moves -------------------------------------------------------- */

static bool is_done(VgpuRing *ring, const VgpuFence *fence)
{
    struct ring_slot *slot = ring_slot(ring->ctx->ring, ring->index);

    return !fence->waits || ring_slot_is_done(slot, fence->seq) ||
           ring_slot_arm(slot, fence->seq);
}

static void signalled(EventNotifier *e)
{
    VgpuRing *ring = container_of(e, VgpuRing, event);
    VirtIOGPU *g = VIRTIO_GPU(ring->ctx->vr);
    bool any = false;

    event_notifier_test_and_clear(e);
    while (!QSIMPLEQ_EMPTY(&ring->fences) &&
           is_done(ring, QSIMPLEQ_FIRST(&ring->fences))) {
        answer_first(ring);
        any = true;
    }
    if (any) {
        virtio_notify(VIRTIO_DEVICE(g), g->ctrl_vq);
    }
    if (ring->ctx->venus && ring->index == 0) {
        vgpu_moved_on(ring->ctx); /* there is space in its ring */
    }
}

/* The worker learns of a ring's eventfd when somebody first waits on it. */
bool vgpu_ring_watch(VgpuRing *ring)
{
    struct proto_ring_event m = {
        .type = PROTO_RING_EVENT, .ring = ring->index,
    };

    if (ring->event.initialized) {
        return true;
    }
    if (!vgpu_charge(ring->ctx->vr, 1)) {
        return false;
    }
    if (event_notifier_init(&ring->event, 0) < 0) {
        vgpu_uncharge(ring->ctx->vr, 1);
        return false;
    }
    event_notifier_set_handler(&ring->event, signalled);
    return vgpu_context_send(ring->ctx, &m, event_notifier_get_fd(&ring->event));
}

/* --- for the rest of the device ------------------------------------------ */

uint32_t vgpu_fence_wait(VgpuContext *ctx, struct virtio_gpu_ctrl_command *cmd,
                         uint32_t ring, uint32_t seq)
{
    VgpuRing *r = &ctx->rings[ring];
    VgpuFence fence = {
        .cmd = cmd,
        .answer = VIRTIO_GPU_RESP_OK_NODATA,
        .waits = true,
        .seq = seq,
    };

    if (ctx->sock < 0) {
        return VIRTIO_GPU_RESP_OK_NODATA; /* the ring says what happened */
    }
    if (!ctx->ring) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (QSIMPLEQ_EMPTY(&r->fences) &&
        ring_slot_is_done(ring_slot(ctx->ring, ring), seq)) {
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    if (!may_hold(ctx) || !vgpu_ring_watch(r)) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    /* Behind others it is armed when they are answered. */
    if (QSIMPLEQ_EMPTY(&r->fences) && is_done(r, &fence)) {
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    hold(r, &fence);
    return VGPU_HELD;
}

void vgpu_fence_answer(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                       uint32_t type)
{
    const struct virtio_gpu_ctrl_hdr *hdr = &cmd->cmd_hdr;
    uint32_t on_ring = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX;
    VgpuContext *ctx = vgpu_context_find(vr, hdr->ctx_id);
    uint32_t slot = hdr->ring_idx + (ctx && ctx->venus);
    VgpuFence fence = { .cmd = cmd, .answer = type };

    if ((hdr->flags & on_ring) == on_ring && ctx &&
        slot < VGPU_RINGS_MAX && may_hold(ctx) &&
        !QSIMPLEQ_EMPTY(&ctx->rings[slot].fences)) {
        hold(&ctx->rings[slot], &fence);
        return;
    }
    if (vgpu_held_is_behind(vr, hdr)) {
        vgpu_held_done(vr, vgpu_held_add(vr, cmd), type);
        return;
    }
    virtio_gpu_ctrl_response_nodata(VIRTIO_GPU(vr), cmd, type);
}

void vgpu_rings_init(VgpuContext *ctx)
{
    for (uint32_t i = 0; i < VGPU_RINGS_MAX; i++) {
        ctx->rings[i].ctx = ctx;
        ctx->rings[i].index = i;
        QSIMPLEQ_INIT(&ctx->rings[i].fences);
    }
}

static void ring_finish(VgpuRing *ring, bool drop)
{
    while (!QSIMPLEQ_EMPTY(&ring->fences)) {
        if (drop) {
            g_free(take_first(ring));
        } else {
            answer_first(ring);
        }
    }
    if (ring->event.initialized) {
        event_notifier_set_handler(&ring->event, NULL);
        event_notifier_cleanup(&ring->event);
        vgpu_uncharge(ring->ctx->vr, 1);
    }
}

void vgpu_rings_finish(VgpuContext *ctx, bool drop)
{
    VirtIOGPU *g = VIRTIO_GPU(ctx->vr);
    bool any = ctx->held > 0;

    for (uint32_t i = 0; i < VGPU_RINGS_MAX; i++) {
        ring_finish(&ctx->rings[i], drop);
    }
    if (any && !drop) {
        virtio_notify(VIRTIO_DEVICE(g), g->ctrl_vq);
    }
}
