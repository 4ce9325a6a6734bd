/*
 * 2D resources that a virgl context uses: a dumb buffer that a program imports into
 * OpenGL. They are virtio-gpu's own, with pixels in QEMU; the worker gets a texture
 * under the same id, a *twin*, when one is attached to a context that draws,
 * and what the guest transfers to the one is sent to the other: at the latest before
 * the next submission.
 *
 * It goes one way: what OpenGL draws into a twin is not shown by the 2D resource. No
 * stock driver does that: what it draws for a screen is a 3D resource.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "trace/trace-hw_display_vgpu_remote.h"

#define TEXTURE_2D   2
#define BIND         (1u << 1 | 1u << 3) /* to be drawn to, to be sampled */
#define FLAG_Y0_TOP  1u

/* Rows of the resource that the worker has not got. */
struct VgpuTwin {
    uint32_t id;
    uint32_t top, bottom;
};

static VgpuTwin *find(VgpuRemote *vr, uint32_t id)
{
    return g_hash_table_lookup(vr->virgl.twins, GUINT_TO_POINTER(id));
}

static void sent(VgpuRemote *vr, VgpuJob *job, const struct virgl_done *done)
{
}

/* Send what is missing. Returns 0 or what a handler is to return. */
static uint32_t update(VgpuRemote *vr, VgpuTwin *twin)
{
    struct virtio_gpu_simple_resource *res =
        virtio_gpu_find_resource(VIRTIO_GPU(vr), twin->id);
    VgpuJob job = { .done = sent, .quick = true };
    uint32_t stride, error;

    if (!res || !res->image || twin->top >= twin->bottom) {
        return 0;
    }
    stride = pixman_image_get_stride(res->image);
    job.transfer = (struct virgl_transfer) {
        .resource = twin->id, .stride = stride,
        .y = twin->top, .w = res->width, .h = twin->bottom - twin->top, .d = 1,
    };
    error = vgpu_virgl_send_copy(
        vr, &job, (uint8_t *)pixman_image_get_data(res->image) +
                      (size_t)twin->top * stride,
        (uint64_t)stride * job.transfer.h);
    if (!error) {
        twin->top = twin->bottom = 0;
    }
    return error;
}

uint32_t vgpu_twins_update(VgpuRemote *vr)
{
    GHashTableIter iter;
    gpointer twin;
    uint32_t error = 0;

    g_hash_table_iter_init(&iter, vr->virgl.twins);
    while (!error && g_hash_table_iter_next(&iter, NULL, &twin)) {
        error = update(vr, twin);
    }
    return error;
}

uint32_t vgpu_twin_have(VgpuRemote *vr, uint32_t id)
{
    struct virtio_gpu_simple_resource *res =
        virtio_gpu_find_resource(VIRTIO_GPU(vr), id);
    struct virgl_resource args = {
        .id = id, .target = TEXTURE_2D, .bind = BIND, .depth = 1,
        .array_size = 1, .flags = FLAG_Y0_TOP,
    };
    VgpuTwin *twin = find(vr, id);
    VgpuMessage m;
    uint32_t error;

    if (twin || !res || !res->image) {
        return 0;
    }
    args.format = res->format;
    args.width = res->width;
    args.height = res->height;
    error = vgpu_virgl_begin(vr, &m, VIRGL_RESOURCE_BYTES, NULL);
    if (error) {
        return error;
    }
    virgl_put_resource(&m.out, &args);
    vgpu_virgl_end(vr, &m, VIRGL_RESOURCE_CREATE);
    trace_vgpu_remote_virgl_twin(id, args.width, args.height);
    twin = g_new0(VgpuTwin, 1);
    twin->id = id;
    twin->bottom = res->height;
    g_hash_table_insert(vr->virgl.twins, GUINT_TO_POINTER(id), twin);
    return 0;
}

void vgpu_twin_transferred(VgpuRemote *vr, uint32_t id, uint32_t y, uint32_t h)
{
    VgpuTwin *twin = find(vr, id);
    struct virtio_gpu_simple_resource *res =
        virtio_gpu_find_resource(VIRTIO_GPU(vr), id);
    uint32_t bottom;

    if (!twin || !res || y >= res->height) {
        return;
    }
    bottom = MIN(h, res->height - y) + y;
    if (twin->top >= twin->bottom) {
        twin->top = y;
        twin->bottom = bottom;
    } else {
        twin->top = MIN(twin->top, y);
        twin->bottom = MAX(twin->bottom, bottom);
    }
}

uint32_t vgpu_twin_unref(VgpuRemote *vr, uint32_t id)
{
    VgpuMessage m;
    uint32_t error;

    if (!find(vr, id)) {
        return 0;
    }
    error = vgpu_virgl_begin(vr, &m, 8, NULL);
    if (error == VGPU_STALL) {
        return error;
    }
    if (!error) {
        wire_put(&m.out, id);
        vgpu_virgl_end(vr, &m, VIRGL_RESOURCE_UNREF);
    }
    g_hash_table_remove(vr->virgl.twins, GUINT_TO_POINTER(id));
    return 0;
}
