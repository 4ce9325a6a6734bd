/*
 * Screens of the emulated GPU: a resource that the guest scans out is a dmabuf that the
 * display shows, or else is read back by the worker into memory that QEMU's console
 * shows.
 *
 * A dmabuf (vgpu-remote-virgl-dmabuf.c): each RESOURCE_FLUSH makes a rectangle dirty; the
 * worker is asked to tell when the GPU has done what it has to do (SETTLE), and then the
 * display is told. A flush with a fence is answered behind that. Everything else, and
 * whatever goes wrong with it, is read back.
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

#include "qapi/qapi-commands-ui.h"
#include "qapi/qapi-visit-ui.h"

#define CURSOR_SIZE 64

/* A RESOURCE_FLUSH whose answer waits for screens to have shown it. */
typedef struct Waiting {
    VgpuHeld *held;
    unsigned screens;
} Waiting;

struct VgpuFlush {
    Waiting *waiting;
    uint32_t settle; /* the screen's that shows it */
    QSIMPLEQ_ENTRY(VgpuFlush) next;
};

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
            vr->virgl.n_read++;
            trace_vgpu_remote_virgl_read(job->scanout, job->transfer.x,
                                         job->transfer.y, job->transfer.w,
                                         job->transfer.h);
            update(vr, job->scanout, job->transfer.x, job->transfer.y,
                   job->transfer.w, job->transfer.h);
        }
    }
    vgpu_memory_unref(job->memory);
}

/* --- flushes that wait --------------------------------------------------- */

/* Those for which what the screen's display has seen by now will do; or all. */
static void flushes_done(VgpuRemote *vr, VgpuVirglScreen *s, bool all,
                         uint32_t answer)
{
    while (!QSIMPLEQ_EMPTY(&s->flushes)) {
        VgpuFlush *f = QSIMPLEQ_FIRST(&s->flushes);

        if (!all && (int32_t)(s->shown - f->settle) < 0) {
            break;
        }
        QSIMPLEQ_REMOVE_HEAD(&s->flushes, next);
        if (--f->waiting->screens == 0) {
            if (f->waiting->held) {
                vgpu_held_done(vr, f->waiting->held, answer);
            }
            g_free(f->waiting);
        }
        g_free(f);
    }
}

void vgpu_screens_drop_held(VgpuRemote *vr)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
        VgpuVirglScreen *s = &vr->virgl.screens[i];
        VgpuFlush *f;

        QSIMPLEQ_FOREACH(f, &s->flushes, next) {
            f->waiting->held = NULL;
        }
        flushes_done(vr, s, true, 0);
    }
}

/* What is dirty is shown by the next SETTLE, if it is shown that way at all. */
static bool flush_waits(const VgpuVirglScreen *s)
{
    return s->is_asked || (s->is_direct && (s->is_dirty || s->reading));
}

static void add_flush(VgpuVirglScreen *s, Waiting *waiting)
{
    VgpuFlush *f = g_new0(VgpuFlush, 1);

    f->waiting = waiting;
    f->settle = s->is_asked || s->is_dirty ? s->settles + 1 : s->settles;
    waiting->screens++;
    QSIMPLEQ_INSERT_TAIL(&s->flushes, f, next);
}

/* --- showing a dmabuf ---------------------------------------------------- */

static void settled(VgpuRemote *vr, VgpuJob *job, const struct virgl_done *done)
{
    const struct virgl_transfer *t = &job->transfer;
    VgpuVirglScreen *s = &vr->virgl.screens[job->scanout];

    assert(!vr->quick); /* displays belong to the main loop */
    if (s->memory == job->memory) {
        s->reading = false;
        if (done->status == 0 && s->resource && s->is_direct) {
            vr->virgl.n_shown++;
            trace_vgpu_remote_virgl_show(job->scanout, t->x, t->y, t->w, t->h);
            dpy_gl_update(base_of(vr, job->scanout)->con, t->x, t->y, t->w, t->h);
        }
    }
    s->shown = job->offset;
    vgpu_memory_unref(job->memory);
    if (!VIRTIO_GPU_BASE(vr)->renderer_blocked) {
        flushes_done(vr, s, false, done->status ? VIRTIO_GPU_RESP_ERR_UNSPEC
                                                : VIRTIO_GPU_RESP_OK_NODATA);
    }
}

void vgpu_screens_unblocked(VgpuRemote *vr)
{
    if (VIRTIO_GPU_BASE(vr)->renderer_blocked) {
        return; /* by a display, until it has drawn */
    }
    for (uint32_t i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
        flushes_done(vr, &vr->virgl.screens[i], false, VIRTIO_GPU_RESP_OK_NODATA);
    }
    vgpu_held_flush(vr);
    vgpu_screens_kick(vr);
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

static void kick_direct(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    VgpuJob job = {
        .done = settled,
        .wanted = true,
        .scanout = n,
        .memory = s->memory,
        .offset = s->settles + 1,
        .transfer = {
            .x = s->left, .y = s->top,
            .w = s->right - s->left, .h = s->bottom - s->top,
        },
    };
    VgpuMessage m;

    if (VIRTIO_GPU_BASE(vr)->renderer_blocked ||
        !vgpu_virgl_try(vr, &m, 0, &job)) {
        return;
    }
    vgpu_memory_ref(s->memory);
    vgpu_virgl_end(vr, &m, VIRGL_SETTLE);
    s->settles++;
    s->reading = true;
    clean(s);
}

static void kick(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    uint32_t bpp, stride;
    uint64_t at;
    VgpuJob job = { .done = read_done, .wanted = true, .scanout = n };
    VgpuMessage m;

    if (!s->resource || s->is_blob || s->is_asked || !s->is_dirty ||
        s->reading || !s->memory || !s->memory->map || !can_send(vr)) {
        return;
    }
    if (s->is_direct) {
        kick_direct(vr, n);
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
    uint32_t stride = s->memory_w * (PIXMAN_FORMAT_BPP(s->memory_format) / 8);
    pixman_image_t *image = pixman_image_create_bits(
        s->memory_format, s->memory_w, s->memory_h, s->memory->map, stride);

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
    uint32_t format = s->is_direct ? PIXMAN_x8r8g8b8 : s->format;
    uint64_t size = (uint64_t)s->w * s->h * (PIXMAN_FORMAT_BPP(format) / 8);
    bool is_local = s->is_blob || s->is_direct;

    if (s->memory && s->memory_w == s->w && s->memory_h == s->h &&
        s->memory_format == format && (s->memory->id == 0) == is_local) {
        return true;
    }
    drop_memory(vr, s);
    s->memory_w = s->w;
    s->memory_h = s->h;
    s->memory_format = format;
    s->memory = is_local ? vgpu_memory_local(vr, size)
                           : vgpu_memory_ask(vr, size, memory_is_there,
                                             GUINT_TO_POINTER(n));
    return s->memory != NULL;
}

/*
 * A console that shows a dmabuf has memory, too: a surface of its size, without which
 * no display works, and into which egl-headless reads what is to be seen by others.
 */

/* Whether it does: then a screendump finds everything there, if that is what is set. */
static bool is_headless(void)
{
#ifdef CONFIG_OPENGL
    static int known = -1;

    if (known < 0) {
        g_autoptr(DisplayOptions) options = qmp_query_display_options(NULL);

        known = options && options->type == DISPLAY_TYPE_EGL_HEADLESS;
    }
    return known;
#else
    return false;
#endif
}

static bool show_direct(VgpuRemote *vr, uint32_t n, VgpuPicture *p)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    bool headless = is_headless();

    s->is_direct = true;
    if (!have_memory(vr, s, n)) {
        s->is_direct = false;
        return false;
    }
    if (!headless && !(s->picture && is_shown(vr, s, n))) {
        show(vr, n);
    }
    if (!vgpu_picture_show(vr, n, p)) {
        show(vr, n); /* until something has been read */
        s->is_direct = false;
        return false;
    }
    if (headless) {
        show(vr, n);
    }
    return true;
}

/* --- commands ------------------------------------------------------------ */

static void forget(VgpuRemote *vr, VgpuVirglScreen *s)
{
    s->resource = 0;
    s->is_blob = false;
    s->is_direct = false;
    s->is_asked = false;
    drop_local_memory(vr, s);
    clean(s);
    flushes_done(vr, s, true, vr->virgl.state == VGPU_VIRGL_READY
                                  ? VIRTIO_GPU_RESP_OK_NODATA
                                  : VIRTIO_GPU_RESP_ERR_UNSPEC);
}

/* The guest shows something else there, or nothing. */
static void leave(VgpuRemote *vr, uint32_t n)
{
    forget(vr, &vr->virgl.screens[n]);
    vgpu_picture_hide(vr, n);
    vgpu_held_flush(vr);
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

/* The picture that the screen is to have, if it is there by now. */
static VgpuPicture *picture_of(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    VgpuVirglResource *r = vgpu_virgl_find(vr, s->resource);

    return !s->is_blob && vgpu_picture_is_wanted(vr, n, r) ? r->picture : NULL;
}

/* Show what is set, one way or the other. False: there is no memory. */
static bool show_set(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    VgpuPicture *p = picture_of(vr, n);
    VgpuMemory *before = s->is_direct && is_shown(vr, s, n) ? s->memory : NULL;

    s->is_asked = false;
    if (p && show_direct(vr, n, p)) {
        if (s->memory != before) {
            all_dirty(s); /* else a flush comes, as for any resource */
        }
        kick(vr, n);
        return true;
    }
    s->is_direct = false;
    flushes_done(vr, s, true, VIRTIO_GPU_RESP_OK_NODATA);
    vgpu_held_flush(vr);
    if (!have_memory(vr, s, n)) {
        return false;
    }
    if (s->picture) {
        vgpu_picture_hide(vr, n);
        base_of(vr, n)->ds = NULL; /* what is shown is no memory's */
    }
    if (s->memory->map && !is_shown(vr, s, n)) {
        show(vr, n);
        all_dirty(s);
    }
    return true;
}

/* Show @resource, as the screen's other fields say. Returns what a handler is to. */
static uint32_t set(VgpuRemote *vr, uint32_t n, uint32_t resource,
                    const struct virtio_gpu_rect *r, uint32_t format)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    VgpuVirglResource *res = vgpu_virgl_find(vr, resource);

    s->resource = resource;
    s->x = r->x;
    s->y = r->y;
    s->w = r->width;
    s->h = r->height;
    s->format = format;
    clean(s);
    s->is_asked = false;
    if (!s->is_blob && vgpu_picture_is_wanted(vr, n, res)) {
        uint32_t error = vgpu_picture_ask(vr, res);

        if (error) {
            forget(vr, s); /* or again, soon */
            return error;
        }
        s->is_asked = res->pictured == VGPU_PICTURE_ASKED;
    }
    if (s->is_asked) {
        set_base(vr, n);
        return VIRTIO_GPU_RESP_OK_NODATA; /* see vgpu_screens_answered() */
    }
    if (!show_set(vr, n)) {
        leave(vr, n);
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    set_base(vr, n);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

void vgpu_screens_answered(VgpuRemote *vr, uint32_t id)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_BASE(vr)->conf.max_outputs; i++) {
        VgpuVirglScreen *s = &vr->virgl.screens[i];

        if (s->resource != id || s->is_blob) {
            continue;
        }
        if (vr->virgl.state != VGPU_VIRGL_READY) {
            forget(vr, s); /* the picture stays: see vgpu_screens_lost() */
        } else if (!show_set(vr, i)) {
            vgpu_report(vr, "no memory for screen %u", i);
            leave(vr, i);
        } else {
            kick(vr, i);
        }
    }
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
        leave(vr, c->scanout_id);
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
        leave(vr, c->scanout_id);
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
    bool fenced = cmd->cmd_hdr.flags & VIRTIO_GPU_FLAG_FENCE;
    Waiting *waiting = NULL;

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
            if (fenced && flush_waits(s)) {
                waiting = waiting ? waiting : g_new0(Waiting, 1);
                add_flush(s, waiting);
            }
            if (s->is_blob) {
                read_blob(vr, i);
            } else {
                kick(vr, i);
            }
        }
    }
    if (waiting) {
        waiting->held = vgpu_held_add(vr, cmd);
        return VGPU_HELD;
    }
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* --- the end ------------------------------------------------------------- */

void vgpu_screens_unref(VgpuRemote *vr, uint32_t id)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_BASE(vr)->conf.max_outputs; i++) {
        VgpuVirglScreen *s = &vr->virgl.screens[i];

        if (s->resource == id) {
            leave(vr, i);
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
        vr->virgl.screens[i].takes_none = false;
        vgpu_picture_hide(vr, i);
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
