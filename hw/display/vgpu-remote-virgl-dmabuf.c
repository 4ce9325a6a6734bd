/*
 * Pictures that a display takes as they are: a resource of the worker's as a dmabuf.
 *
 * Asked for once for each resource, when a screen shows it and the display could take it
 * (vgpu_picture_ask). The worker sends the file by the socket, and only then completes the
 * message: so when that is seen the file is there, or will never be.
 *
 * The worker may be in the guest's hands. What it sends must be a dmabuf, of a format that
 * the kernel and QEMU know, whose rows are as long as the resource's and not much longer, and
 * large enough for all of them; so no display is made to look beyond it. What is in it is
 * the guest's affair anyway.
 *
 * No display says beforehand whether it takes dmabufs: those that do make a texture of one
 * when they get it, so that is what is looked at.
 *
 * A texture belongs to the thread of the display, which is the main loop's. A reset may come
 * from another: what is no longer used is given up by a bottom half.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include "hw/display/vgpu-remote.h"

#include "standard-headers/drm/drm_fourcc.h"
#include "trace/trace-hw_display_vgpu_remote.h"
#include "ui/console.h"

#define TARGET_2D   2
#define PIXEL       4     /* bytes, in all of the formats below */
#define STRIDE_GAP  65536 /* how much longer than its pixels a row may be */

struct VgpuPicture {
    unsigned refs;
    int fd;
    uint32_t width, height, stride, fourcc;
    uint64_t modifier;
    /* For each screen that has shown it: what its display has made of it. */
    QemuDmaBuf *bufs[VIRTIO_GPU_MAX_SCANOUTS];
    QSIMPLEQ_ENTRY(VgpuPicture) next; /* while nobody uses it any more */
};

static QemuConsole *console_of(VgpuRemote *vr, uint32_t n)
{
    return VIRTIO_GPU_BASE(vr)->scanout[n].con;
}

/* --- its end ------------------------------------------------------------- */

static void destroy(VgpuRemote *vr, VgpuPicture *p)
{
    for (uint32_t i = 0; i < VIRTIO_GPU_MAX_SCANOUTS; i++) {
        if (p->bufs[i]) {
            dpy_gl_release_dmabuf(console_of(vr, i), p->bufs[i]);
            qemu_dmabuf_free(p->bufs[i]);
        }
    }
    close(p->fd);
    vgpu_uncharge(vr, 1);
    g_free(p);
}

/* In the main loop: first no display shows it, then it goes. */
static void bury(void *opaque)
{
    VgpuRemote *vr = opaque;
    VgpuVirgl *v = &vr->virgl;

    for (uint32_t i = 0; i < VIRTIO_GPU_BASE(vr)->conf.max_outputs; i++) {
        if (v->screens[i].is_hidden && !v->screens[i].picture) {
            dpy_gl_scanout_disable(console_of(vr, i));
        }
        v->screens[i].is_hidden = false;
    }
    while (!QSIMPLEQ_EMPTY(&v->dead)) {
        VgpuPicture *p = QSIMPLEQ_FIRST(&v->dead);

        QSIMPLEQ_REMOVE_HEAD(&v->dead, next);
        destroy(vr, p);
    }
}

VgpuPicture *vgpu_picture_ref(VgpuPicture *p)
{
    p->refs++;
    return p;
}

void vgpu_picture_unref(VgpuRemote *vr, VgpuPicture *p)
{
    if (p && --p->refs == 0) {
        QSIMPLEQ_INSERT_TAIL(&vr->virgl.dead, p, next);
        qemu_bh_schedule(vr->virgl.bury_bh);
    }
}

void vgpu_picture_hide(VgpuRemote *vr, uint32_t n)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];

    if (s->picture) {
        vgpu_picture_unref(vr, g_steal_pointer(&s->picture));
        s->is_hidden = true;
        qemu_bh_schedule(vr->virgl.bury_bh);
    }
}

void vgpu_pictures_init(VgpuRemote *vr)
{
    QSIMPLEQ_INIT(&vr->virgl.dead);
    vr->virgl.bury_bh = qemu_bh_new(bury, vr);
}

void vgpu_pictures_finish(VgpuRemote *vr)
{
    if (vr->virgl.bury_bh) {
        bury(vr);
        g_clear_pointer(&vr->virgl.bury_bh, qemu_bh_delete);
    }
}

/* --- what the worker sends ----------------------------------------------- */

static bool is_known(uint32_t fourcc)
{
    return fourcc == DRM_FORMAT_XRGB8888 || fourcc == DRM_FORMAT_ARGB8888 ||
           fourcc == DRM_FORMAT_XBGR8888 || fourcc == DRM_FORMAT_ABGR8888;
}

static bool is_dmabuf(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == DMA_BUF_MAGIC;
}

/* NULL, or what is wrong with @fd as a picture of @r. */
static const char *check(const VgpuVirglResource *r,
                         const struct proto_exported *m, int fd)
{
    uint64_t row = (uint64_t)r->args.width * PIXEL;
    off_t size;

    if (!is_known(m->fourcc)) {
        return "its format is unknown";
    }
    if (m->stride < row || m->stride > row + STRIDE_GAP || m->stride % PIXEL) {
        return "its rows are not those of the resource";
    }
    if (!is_dmabuf(fd)) {
        return "it is no dmabuf";
    }
    size = lseek(fd, 0, SEEK_END);
    if (size < 0 || (uint64_t)size < (uint64_t)m->stride * r->args.height) {
        return "it is too small";
    }
    return NULL;
}

static VgpuPicture *make(const VgpuVirglResource *r,
                         const struct proto_exported *m, int fd)
{
    VgpuPicture *p = g_new0(VgpuPicture, 1);

    p->refs = 1;
    p->fd = fd;
    p->width = r->args.width;
    p->height = r->args.height;
    p->stride = m->stride;
    p->fourcc = m->fourcc;
    /* QEMU has 0 for "none said" as well as for rows one after the other. */
    p->modifier = m->modifier == DRM_FORMAT_MOD_INVALID ? 0 : m->modifier;
    return p;
}

void vgpu_picture_exported(VgpuRemote *vr, const struct proto_exported *m, int fd)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, m->resource);
    const char *wrong = "nobody waits for it";

    if (r && r->asked == m->serial && !r->picture &&
        r->pictured == VGPU_PICTURE_ASKED) {
        wrong = check(r, m, fd);
        if (!wrong && !vgpu_charge(vr, 1)) {
            wrong = "there are too many files";
        }
    }
    trace_vgpu_remote_virgl_picture(m->resource, m->fourcc, m->stride,
                                    m->modifier, wrong ? wrong : "");
    if (wrong) {
        close(fd);
    } else {
        r->picture = make(r, m, fd);
    }
}

static void answered(VgpuRemote *vr, VgpuJob *job, const struct virgl_done *done)
{
    uint32_t id = job->transfer.resource;
    VgpuVirglResource *r;

    if (done->status == 0) {
        vgpu_virgl_read(vr); /* it was sent before this */
    }
    r = vgpu_virgl_find(vr, id);
    if (r && r->asked == job->offset && r->pictured == VGPU_PICTURE_ASKED) {
        r->pictured = r->picture ? VGPU_PICTURE_THERE : VGPU_PICTURE_NONE;
        vgpu_screens_answered(vr, id);
    }
}

/* --- asking -------------------------------------------------------------- */

static bool is_flat(const struct virgl_resource *r)
{
    return r->target == TARGET_2D && r->depth <= 1 && r->array_size <= 1 &&
           r->nr_samples <= 1 && !(r->flags & VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP);
}

bool vgpu_picture_is_wanted(VgpuRemote *vr, uint32_t n, const VgpuVirglResource *r)
{
    const VgpuVirglScreen *s = &vr->virgl.screens[n];

    /* Not all displays know how to show a part. */
    return vr->virgl.dmabuf && !s->takes_none && s->x == 0 && s->y == 0 &&
           r->pictured != VGPU_PICTURE_NONE && is_flat(&r->args) &&
           console_has_gl(console_of(vr, n));
}

uint32_t vgpu_picture_ask(VgpuRemote *vr, VgpuVirglResource *r)
{
    VgpuVirgl *v = &vr->virgl;
    VgpuJob job = {
        .done = answered,
        .wanted = true,
        .transfer.resource = r->args.id,
        .offset = v->next_picture,
    };
    VgpuMessage m;
    uint32_t error;

    if (r->pictured != VGPU_PICTURE_UNKNOWN) {
        return 0;
    }
    error = vgpu_virgl_begin(vr, &m, 16, &job);
    if (error) {
        return error;
    }
    r->pictured = VGPU_PICTURE_ASKED;
    r->asked = v->next_picture++;
    wire_put(&m.out, r->args.id);
    wire_put(&m.out, r->asked);
    vgpu_virgl_end(vr, &m, VIRGL_PICTURE);
    return 0;
}

/* --- showing ------------------------------------------------------------- */

/* As the screen shows it: from the first pixel on. */
static QemuDmaBuf *buffer_for(VgpuRemote *vr, uint32_t n, VgpuPicture *p)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    QemuDmaBuf **buf = &p->bufs[n];

    if (*buf && (qemu_dmabuf_get_width(*buf) != s->w ||
                 qemu_dmabuf_get_height(*buf) != s->h)) {
        if (s->picture == p) {
            dpy_gl_scanout_disable(console_of(vr, n));
        }
        dpy_gl_release_dmabuf(console_of(vr, n), *buf);
        g_clear_pointer(buf, qemu_dmabuf_free);
    }
    if (!*buf) {
        *buf = qemu_dmabuf_new(s->w, s->h, p->stride, 0, 0, p->width, p->height,
                               p->fourcc, p->modifier, p->fd, true, false);
    }
    return *buf;
}

bool vgpu_picture_show(VgpuRemote *vr, uint32_t n, VgpuPicture *p)
{
    VgpuVirglScreen *s = &vr->virgl.screens[n];
    VgpuPicture *old = s->picture;
    QemuDmaBuf *buf = buffer_for(vr, n, p);

    assert(!vr->quick); /* displays belong to the main loop */
    dpy_gl_scanout_dmabuf(console_of(vr, n), buf);
    if (qemu_dmabuf_get_texture(buf) == 0) {
        s->takes_none = true;
        dpy_gl_scanout_disable(console_of(vr, n));
        vgpu_picture_unref(vr, g_steal_pointer(&s->picture));
        trace_vgpu_remote_virgl_picture_refused(n);
        return false;
    }
    s->picture = vgpu_picture_ref(p);
    vgpu_picture_unref(vr, old);
    return true;
}
