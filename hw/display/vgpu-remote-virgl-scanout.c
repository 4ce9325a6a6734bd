/*
 * Screens of the emulated GPU: a resource that the guest scans out is read back
 * by the worker into memory that QEMU's console shows.
 *
 * SET_SCANOUT asks for that memory, unless there is some of that size. From then
 * on each RESOURCE_FLUSH makes a rectangle dirty; if no read of that screen is
 * under way one is sent, for all that is dirty. What is shown then is the
 * resource that is set, so a guest that flips between two never sees half a
 * picture, and a guest that is faster than the worker skips some.
 *
 * The memory is kept when the worker is lost: the last picture stays.
 *
 * A blob of guest memory (vgpu-remote-virgl-blob.c) needs no worker for that: what is
 * flushed is copied at once, into memory of the device's own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "hw/virtio/virtio-gpu-pixman.h"
#include "trace/trace-hw_display_vgpu_remote.h"
#include "ui/console.h"

#define CURSOR_SIZE 64

static struct virtio_gpu_scanout *base_of(VgpuRemote *vr, uint32_t n)
{
    return &VIRTIO_GPU_BASE(vr)->scanout[n];
}

/* --- reading ------------------------------------------------------------- */

static void clean(VgpuVirglScreen *s)
{
    s->is_dirty = false;
}

/* @x to @bottom are of the resource. */
static void make_dirty(VgpuVirglScreen *s, uint32_t left, uint32_t top,
                       uint32_t right, uint32_t bottom)
{
    left = MAX(left, s->x);
    top = MAX(top, s->y);
    right = MIN(right, s->x + s->w);
    bottom = MIN(bottom, s->y + s->h);
    if (left >= right || top >= bottom) {
        return;
    }
    if (s->is_dirty) {
        left = MIN(left, s->left);
        top = MIN(top, s->top);
        right = MAX(right, s->right);
        bottom = MAX(bottom, s->bottom);
    }
    s->is_dirty = true;
    s->left = left;
    s->top = top;
    s->right = right;
    s->bottom = bottom;
}

static void all_dirty(VgpuVirglScreen *s)
{
    make_dirty(s, s->x, s->y, s->x + s->w, s->y + s->h);
}

static void update(VgpuRemote *vr, uint32_t n, uint32_t x, uint32_t y, uint32_t w,
                   uint32_t h)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];

    assert(!vr->quick); /* displays belong to the main loop */
    dpy_gfx_update(base_of(vr, n)->con, x - s->x, y - s->y, w, h);
}

static void read_done(VgpuRemote *vr, VgpuJob *job,
                      const struct virgl_done *done)
{
    VgpuVirglScreen *s = &vr->virgl.screens[job->scanout];

    if (s->memory == job->memory) {
        s->reading = false;
        if (done->status == 0 && s->resource) {
            update(vr, job->scanout, job->transfer.x, job->transfer.y,
                   job->transfer.w, job->transfer.h);
        }
    }
    vgpu_memory_unref(job->memory);
}

/* Room for a read must not be waited for: it is tried again when some is made. */
static bool can_send(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    return v->state == VGPU_VIRGL_READY && v->n_jobs < ARRAY_SIZE(v->jobs);
}

/* From commands, which the main loop handles. */
static void read_blob(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];

    if (s->is_dirty) {
        vgpu_virgl_blob_read(vr, s);
        update(vr, n, s->left, s->top, s->right - s->left, s->bottom - s->top);
        clean(s);
    }
}

static void kick(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    uint32_t bpp, stride;
    uint64_t at;
    VgpuJob job = { .done = read_done, .wanted = true, .scanout = n };
    VgpuMessage m;

    if (!s->resource || s->is_blob || !s->is_dirty || s->reading || !s->memory ||
        !s->memory->map || !can_send(vr)) {
        return;
    }
    bpp = PIXMAN_FORMAT_BPP(s->format) / 8;
    stride = s->memory_w * bpp;
    at = (uint64_t)(s->top - s->y) * stride + (s->left - s->x) * bpp;
    job.memory = s->memory;
    job.transfer = (struct virgl_transfer) {
        .resource = s->resource,
        .stride = stride,
        .x = s->left, .y = s->top,
        .w = s->right - s->left, .h = s->bottom - s->top, .d = 1,
        .data = { s->memory->id, at, s->memory->size - at },
    };
    if (!vgpu_virgl_try(vr, &m, VIRGL_TRANSFER_BYTES, &job)) {
        return;
    }
    vgpu_memory_ref(s->memory);
    virgl_put_transfer(&m.out, &job.transfer);
    vgpu_virgl_end(vr, &m, VIRGL_GET);
    s->reading = true;
    clean(s);
}

void vgpu_screens_kick(VgpuRemote *vr)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_BASE(vr)->conf.max_outputs; i++) {
        kick(vr, i);
    }
}

/* --- showing ------------------------------------------------------------- */

static void unref_memory(pixman_image_t *image, void *memory)
{
    vgpu_memory_unref(memory);
}

static void show(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    struct virtio_gpu_scanout *base = base_of(vr, n);
    uint32_t stride = s->memory_w * (PIXMAN_FORMAT_BPP(s->format) / 8);
    pixman_image_t *image = pixman_image_create_bits(
        s->format, s->memory_w, s->memory_h, s->memory->map, stride);

    if (!image) {
        return;
    }
    pixman_image_set_destroy_function(image, unref_memory,
                                      vgpu_memory_ref(s->memory));
    base->ds = qemu_create_displaysurface_pixman(image);
    pixman_image_unref(image);
    dpy_gfx_replace_surface(base->con, base->ds);
}

static bool is_shown(VgpuRemote *vr, const VgpuVirglScreen *s, uint32_t n)
{
    struct virtio_gpu_scanout *base = base_of(vr, n);

    return base->ds && s->memory && s->memory->map &&
           surface_data(base->ds) == s->memory->map;
}

/* Of a picture of a blob. What is shown keeps it by itself, for as long as it is. */
static void drop_local_memory(VgpuRemote *vr, VgpuVirglScreen *s)
{
    if (s->memory && s->memory->id == 0) {
        VIRTIO_GPU(vr)->hostmem -= s->memory->size;
        g_clear_pointer(&s->memory, vgpu_memory_unref);
    }
}

static void drop_memory(VgpuRemote *vr, VgpuVirglScreen *s)
{
    drop_local_memory(vr, s);
    vgpu_memory_give_back(vr, g_steal_pointer(&s->memory));
    s->reading = false;
}

static void memory_is_there(VgpuRemote *vr, void *opaque)
{
    uint32_t n = GPOINTER_TO_UINT(opaque);
    VgpuVirglScreen *s = &vr->virgl.screens[n];

    if (!s->memory || s->memory->failed) {
        vgpu_report(vr, "no memory for screen %u", n);
        g_clear_pointer(&s->memory, vgpu_memory_unref);
        return;
    }
    if (s->memory->map && s->resource) {
        show(vr, n);
        all_dirty(s);
        kick(vr, n);
    }
}

/* Have memory of the right size and kind; it may come later. */
static bool have_memory(VgpuRemote *vr, VgpuVirglScreen *s, uint32_t n)
{
    uint64_t size = (uint64_t)s->w * s->h * (PIXMAN_FORMAT_BPP(s->format) / 8);

    if (s->memory && s->memory_w == s->w && s->memory_h == s->h &&
        s->memory_format == s->format && (s->memory->id == 0) == s->is_blob) {
        return true;
    }
    drop_memory(vr, s);
    s->memory_w = s->w;
    s->memory_h = s->h;
    s->memory_format = s->format;
    s->memory = s->is_blob ? vgpu_memory_local(vr, size)
                           : vgpu_memory_ask(vr, size, memory_is_there,
                                             GUINT_TO_POINTER(n));
    return s->memory != NULL;
}

/* --- commands ------------------------------------------------------------ */

static void forget(VgpuRemote *vr, VgpuVirglScreen *s)
{
    s->resource = 0;
    s->is_blob = false;
    drop_local_memory(vr, s);
    clean(s);
}

static void set_base(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    struct virtio_gpu_scanout *base = base_of(vr, n);
    struct virtio_gpu_simple_resource *old =
        virtio_gpu_find_resource(VIRTIO_GPU(vr), base->resource_id);

    if (old) {
        old->scanout_bitmask &= ~(1 << n);
    }
    base->resource_id = s->resource;
    base->x = s->x;
    base->y = s->y;
    base->width = s->w;
    base->height = s->h;
    VIRTIO_GPU_BASE(vr)->enable = 1;
}

/* Show @resource, as the screen's other fields say. Returns what a handler is to. */
static uint32_t set(VgpuRemote *vr, uint32_t n, uint32_t resource,
                    const struct virtio_gpu_rect *r, uint32_t format)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];

    s->resource = resource;
    s->x = r->x;
    s->y = r->y;
    s->w = r->width;
    s->h = r->height;
    s->format = format;
    clean(s);
    if (!have_memory(vr, s, n)) {
        forget(vr, s);
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    set_base(vr, n);
    if (s->memory->map && !is_shown(vr, s, n)) {
        show(vr, n);
        all_dirty(s);
    }
    return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vgpu_virgl_set_scanout(VgpuRemote *vr,
                                struct virtio_gpu_ctrl_command *cmd,
                                const VgpuCommand *in)
{
    const struct virtio_gpu_set_scanout *c = &in->set_scanout;
    VgpuVirglResource *r = vgpu_virgl_find(vr, c->resource_id);
    VgpuVirglScreen *s;
    uint32_t format, error = 0;

    if (c->scanout_id >= VIRTIO_GPU_BASE(vr)->conf.max_outputs) {
        return VGPU_2D; /* which refuses it */
    }
    s = &vr->virgl.screens[c->scanout_id];
    if (!r) {
        forget(vr, s);
        return VGPU_2D;
    }
    format = virtio_gpu_get_pixman_format(r->args.format);
    if (!format) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (!virtio_gpu_check_scanout_bounds(c->scanout_id, c->resource_id,
                                         r->args.width, r->args.height, &c->r,
                                         &error)) {
        return error;
    }
    if (vr->virgl.state != VGPU_VIRGL_READY ||
        r->generation != vr->virgl.generation) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    trace_vgpu_remote_virgl_scanout(c->scanout_id, c->resource_id, c->r.width,
                                    c->r.height);
    s->is_blob = false;
    return set(vr, c->scanout_id, c->resource_id, &c->r, format);
}

/* Whether all of the picture is in a blob of @size bytes. */
static bool is_within(const struct virtio_gpu_set_scanout_blob *c, uint32_t bpp,
                      uint64_t size)
{
    uint64_t row = (uint64_t)c->width * bpp, stride = c->strides[0];

    /* These are of 32 bits, and a row is no longer than a stride: the sum is of 64. */
    return row <= stride &&
           stride * (c->height - 1) + row + c->offsets[0] <= size;
}

uint32_t vgpu_virgl_set_scanout_blob(VgpuRemote *vr,
                                     struct virtio_gpu_ctrl_command *cmd,
                                     const VgpuCommand *in)
{
    const struct virtio_gpu_set_scanout_blob *c = &in->set_scanout_blob;
    VgpuVirglResource *r = vgpu_virgl_find(vr, c->resource_id);
    uint32_t format = virtio_gpu_get_pixman_format(c->format), error = 0;
    VgpuVirglScreen *s;

    if (c->scanout_id >= VIRTIO_GPU_BASE(vr)->conf.max_outputs) {
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    }
    s = &vr->virgl.screens[c->scanout_id];
    if (c->resource_id == 0) {
        forget(vr, s);
        virtio_gpu_disable_scanout(VIRTIO_GPU(vr), c->scanout_id);
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    if (!r) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!vgpu_virgl_is_blob(r) || !format ||
        !is_within(c, PIXMAN_FORMAT_BPP(format) / 8, r->backing->size)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (!virtio_gpu_check_scanout_bounds(c->scanout_id, c->resource_id, c->width,
                                         c->height, &c->r, &error)) {
        return error;
    }
    trace_vgpu_remote_virgl_scanout(c->scanout_id, c->resource_id, c->r.width,
                                    c->r.height);
    s->is_blob = true;
    s->stride = c->strides[0];
    s->offset = c->offsets[0];
    error = set(vr, c->scanout_id, c->resource_id, &c->r, format);
    if (error == VIRTIO_GPU_RESP_OK_NODATA) {
        all_dirty(s);
        read_blob(vr, c->scanout_id);
    }
    return error;
}

/* What a guest calls its edges may be no number. */
static uint32_t edge(uint32_t from, uint32_t length)
{
    return MIN((uint64_t)from + length, UINT32_MAX);
}

uint32_t vgpu_virgl_flush(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                          const VgpuCommand *in)
{
    const struct virtio_gpu_rect *r = &in->flush.r;
    VgpuVirglResource *res = vgpu_virgl_find(vr, in->flush.resource_id);

    if (!res) {
        return VGPU_2D;
    }
    /* A blob has no size but that of what is shown. */
    if (!vgpu_virgl_is_blob(res) &&
        ((uint64_t)r->x + r->width > res->args.width ||
         (uint64_t)r->y + r->height > res->args.height)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    for (uint32_t i = 0; i < VIRTIO_GPU_BASE(vr)->conf.max_outputs; i++) {
        VgpuVirglScreen *s = &vr->virgl.screens[i];

        if (s->resource == in->flush.resource_id) {
            make_dirty(s, r->x, r->y, edge(r->x, r->width),
                       edge(r->y, r->height));
            if (s->is_blob) {
                read_blob(vr, i);
            } else {
                kick(vr, i);
            }
        }
    }
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* --- the end ------------------------------------------------------------- */

void vgpu_screens_unref(VgpuRemote *vr, uint32_t id)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_BASE(vr)->conf.max_outputs; i++) {
        VgpuVirglScreen *s = &vr->virgl.screens[i];

        if (s->resource == id) {
            forget(vr, s);
            virtio_gpu_disable_scanout(VIRTIO_GPU(vr), i);
        }
    }
}

/* What is shown keeps its memory by itself. */
static void lose(VgpuRemote *vr, VgpuVirglScreen *s)
{
    forget(vr, s);
    g_clear_pointer(&s->memory, vgpu_memory_unref);
    s->reading = false;
}

void vgpu_screens_lost(VgpuRemote *vr)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
        if (!vr->virgl.screens[i].is_blob) {
            lose(vr, &vr->virgl.screens[i]);
        }
    }
}

void vgpu_screens_reset(VgpuRemote *vr)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
        lose(vr, &vr->virgl.screens[i]);
    }
}

/* --- the cursor ---------------------------------------------------------- */

static void cursor_done(VgpuRemote *vr, VgpuJob *job,
                        const struct virgl_done *done)
{
    struct virtio_gpu_scanout *base = base_of(vr, job->scanout);

    if (done->status == 0 && base->current_cursor) {
        memcpy(base->current_cursor->data, job->data,
               CURSOR_SIZE * CURSOR_SIZE * 4);
        dpy_cursor_define(base->con, base->current_cursor);
    }
}

/* The picture comes when the worker has read it; until then the old one stays. */
void vgpu_virgl_cursor(VirtIOGPU *g, struct virtio_gpu_scanout *s,
                       uint32_t resource)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(g);
    VgpuVirglResource *r = vgpu_virgl_find(vr, resource);
    VgpuJob job = {
        .done = cursor_done,
        .wanted = true,
        .scanout = s - g->parent_obj.scanout,
        .transfer = {
            .resource = resource,
            .stride = CURSOR_SIZE * 4,
            .w = CURSOR_SIZE, .h = CURSOR_SIZE, .d = 1,
        },
    };
    VgpuMessage m;

    if (!r) {
        virtio_gpu_update_cursor_data(g, s, resource);
        return;
    }
    if (r->args.width != CURSOR_SIZE || r->args.height != CURSOR_SIZE ||
        s->current_cursor->width != CURSOR_SIZE ||
        s->current_cursor->height != CURSOR_SIZE || !can_send(vr) ||
        r->generation != vr->virgl.generation) {
        return;
    }
    if (vgpu_staging_try(vr, &job, CURSOR_SIZE * CURSOR_SIZE * 4)) {
        if (vgpu_virgl_try(vr, &m, VIRGL_TRANSFER_BYTES, &job)) {
            virgl_put_transfer(&m.out, &job.transfer);
            vgpu_virgl_end(vr, &m, VIRGL_GET);
        } else {
            vgpu_staging_undo(vr, &job);
        }
    }
}
