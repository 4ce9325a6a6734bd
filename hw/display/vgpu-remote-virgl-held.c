/*
 * Commands whose answer waits for the virgl worker.
 *
 * An answer to a fence completes, in the guest, all earlier fences of the same
 * timeline. A stock virgl driver asks for fences without a ring: those of all
 * contexts, and of commands that have no context, are one timeline. So whatever
 * is answered on it has to wait behind what is held, even if it is done; fences
 * with a ring are timelines of their own, one for each ring of a context.
 *
 * A held command sits in the parent's fenceq, which is what reset clears.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qemu/iov.h"
#include "trace/trace-hw_display_vgpu_remote.h"

struct VgpuHeld {
    struct virtio_gpu_ctrl_command *cmd;
    bool done;
    uint32_t answer;
    QTAILQ_ENTRY(VgpuHeld) next;
};

static bool is_on_ring(const struct virtio_gpu_ctrl_hdr *hdr)
{
    return hdr->flags & VIRTIO_GPU_FLAG_INFO_RING_IDX;
}

static bool is_same_timeline(const struct virtio_gpu_ctrl_hdr *a,
                             const struct virtio_gpu_ctrl_hdr *b)
{
    if (!is_on_ring(a) || !is_on_ring(b)) {
        return is_on_ring(a) == is_on_ring(b);
    }
    return a->ctx_id == b->ctx_id && a->ring_idx == b->ring_idx;
}

VgpuHeld *vgpu_held_add(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd)
{
    VgpuHeld *held = g_new0(VgpuHeld, 1);

    trace_vgpu_remote_virgl_held(cmd->cmd_hdr.ctx_id, cmd->cmd_hdr.fence_id);
    held->cmd = cmd;
    QTAILQ_INSERT_TAIL(&vr->virgl.held, held, next);
    vr->virgl.n_held++;
    return held;
}

void vgpu_held_done(VgpuRemote *vr, VgpuHeld *held, uint32_t answer)
{
    held->done = true;
    held->answer = answer;
}

bool vgpu_held_is_behind(VgpuRemote *vr, const struct virtio_gpu_ctrl_hdr *hdr)
{
    VgpuHeld *held;

    if (!(hdr->flags & VIRTIO_GPU_FLAG_FENCE)) {
        return false;
    }
    QTAILQ_FOREACH(held, &vr->virgl.held, next) {
        if (is_same_timeline(&held->cmd->cmd_hdr, hdr)) {
            return true;
        }
    }
    return false;
}

/* Whether something before @held has yet to be answered on its timeline. */
static bool is_first(VgpuRemote *vr, const VgpuHeld *held)
{
    VgpuHeld *other;

    QTAILQ_FOREACH(other, &vr->virgl.held, next) {
        if (other == held) {
            return true;
        }
        if (is_same_timeline(&other->cmd->cmd_hdr, &held->cmd->cmd_hdr)) {
            return false;
        }
    }
    g_assert_not_reached();
}

/* Like virtio_gpu_ctrl_response_nodata(), without a notification each. */
static void answer(VgpuRemote *vr, VgpuHeld *held)
{
    VirtIOGPU *g = VIRTIO_GPU(vr);
    struct virtio_gpu_ctrl_command *cmd = held->cmd;
    struct virtio_gpu_ctrl_hdr hdr = {
        .type = held->answer,
        .flags = cmd->cmd_hdr.flags & VIRTIO_GPU_FLAG_FENCE,
        .fence_id = cmd->cmd_hdr.fence_id,
        .ctx_id = cmd->cmd_hdr.ctx_id,
    };
    size_t n = iov_from_buf(cmd->elem.in_sg, cmd->elem.in_num, 0, &hdr,
                            sizeof(hdr));

    trace_vgpu_remote_virgl_answered(cmd->cmd_hdr.ctx_id,
                                     cmd->cmd_hdr.fence_id, held->answer);
    QTAILQ_REMOVE(&vr->virgl.held, held, next);
    vr->virgl.n_held--;
    if (vr->virgl.awaited == held) {
        vr->virgl.awaited = NULL;
    }
    QTAILQ_REMOVE(&g->fenceq, cmd, next);
    g->inflight--;
    virtqueue_push(cmd->vq, &cmd->elem, n);
    g_free(cmd);
    g_free(held);
}

void vgpu_held_flush(VgpuRemote *vr)
{
    VirtIOGPU *g = VIRTIO_GPU(vr);
    VgpuHeld *held, *next;
    bool any = false;

    QTAILQ_FOREACH_SAFE(held, &vr->virgl.held, next, next) {
        if (held->done && is_first(vr, held)) {
            answer(vr, held);
            any = true;
        }
    }
    if (any) {
        virtio_notify(VIRTIO_DEVICE(g), g->ctrl_vq);
    }
}

void vgpu_held_drop_all(VgpuRemote *vr)
{
    VgpuHeld *held, *next;

    for (size_t i = 0; i < ARRAY_SIZE(vr->virgl.jobs); i++) {
        vr->virgl.jobs[i].held = NULL;
    }
    vgpu_screens_drop_held(vr);
    QTAILQ_FOREACH_SAFE(held, &vr->virgl.held, next, next) {
        QTAILQ_REMOVE(&vr->virgl.held, held, next);
        g_free(held);
    }
    vr->virgl.n_held = 0;
    vr->virgl.awaited = NULL;
}
