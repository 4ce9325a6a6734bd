/*
 * Blobs of guest memory: RESOURCE_CREATE_BLOB of kind GUEST, by a context of the
 * guest's own driver or by none. Such a blob is the guest's pages under an id. No
 * worker has it (generation 0), and nothing is transferred to or from it. It can be
 * attached, be what a submission copies from, like a resource that is bound for
 * staging alone, and be shown (SET_SCANOUT_BLOB): then what is flushed is copied out
 * of the pages, as a guest may change them at any time.
 *
 * Blobs of OpenGL's own memory (HOST3D) are refused: what a driver maps is memory of
 * the worker's address space, or, where it can be exported at all, a buffer of the GPU,
 * and neither is sealed memory that the device could map for a guest without trusting
 * the worker. So the caps do not promise buffers that stay mapped (mask_caps() in the
 * worker's virgl.c), which is what a stock driver would make such blobs for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qemu/iov.h"
#include "trace/trace-hw_display_vgpu_remote.h"

bool vgpu_virgl_is_blob(const VgpuVirglResource *r)
{
    return r && r->generation == 0;
}

/* Returns 0 or the error to answer with. */
static uint32_t check_create(VgpuRemote *vr,
                             const struct virtio_gpu_resource_create_blob *c)
{
    if (vgpu_virgl_is_taken(vr, c->resource_id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!vr->virgl.offers || c->blob_id || c->size == 0 ||
        c->size > VGPU_BLOB_SIZE_MAX || vgpu_context_find(vr, c->hdr.ctx_id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (c->hdr.ctx_id && !vgpu_context_find_plain(vr, c->hdr.ctx_id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (g_hash_table_size(vr->virgl.resources) >= VGPU_VIRGL_RESOURCES_MAX) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    return 0;
}

uint32_t vgpu_virgl_blob_create(VgpuRemote *vr,
                                struct virtio_gpu_ctrl_command *cmd,
                                const struct virtio_gpu_resource_create_blob *c)
{
    struct virgl_resource args = {
        .id = c->resource_id, .bind = VIRGL_BIND_STAGING,
    };
    VgpuBacking *backing = NULL;
    uint32_t error = check_create(vr, c);

    if (!error) {
        error = vgpu_backing_take(vr, cmd, c->nr_entries, sizeof(*c), &backing);
    }
    if (error) {
        return error;
    }
    if (backing->size < c->size) {
        error = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        goto unref;
    }
    backing->size = c->size; /* what is behind that is nobody's business */
    error = vgpu_virgl_add(vr, &args, 0, backing);
    if (error) {
        goto unref;
    }
    trace_vgpu_remote_virgl_blob(c->hdr.ctx_id, c->resource_id, c->size,
                                 backing->n);
    return VIRTIO_GPU_RESP_OK_NODATA;

unref:
    vgpu_backing_unref(backing);
    return error;
}

void vgpu_virgl_blob_read(VgpuRemote *vr, VgpuVirglScreen *s)
{
    const VgpuBacking *b = vgpu_virgl_find(vr, s->resource)->backing;
    uint32_t bpp = PIXMAN_FORMAT_BPP(s->format) / 8;
    size_t row = (size_t)(s->right - s->left) * bpp;
    size_t stride = (size_t)s->memory_w * bpp;
    VgpuCursor at = { b->iov, b->n, 0 };
    char *to = (char *)s->memory->map + (s->top - s->y) * stride +
               (size_t)(s->left - s->x) * bpp;

    /* All of the picture is in the blob: see SET_SCANOUT_BLOB. */
    vgpu_cursor_skip(&at, s->offset + (uint64_t)s->top * s->stride +
                     (uint64_t)s->left * bpp);
    for (uint32_t y = s->top; y < s->bottom; y++, to += stride) {
        iov_to_buf(at.iov, at.n, at.at, to, row);
        vgpu_cursor_skip(&at, s->stride);
    }
}
