/*
 * Pictures that a display of QEMU's may have as they are: a texture as a dmabuf, of one
 * plane, by EGL. A GPU's driver has that for any texture of its own.
 *
 * Mesa's rasterizer has textures in ordinary memory, of which EGL makes no dmabuf, though it
 * says so only by a file that is none. But on a device of the kernel's that has pictures and
 * draws nothing (a "dumb" one: vgem, or a simple graphics card) it draws into the
 * device's memory as well. So a resource that may be scanned out is made there, and
 * given to virglrenderer as an image. Which of the two it is START finds out, by trying.
 *
 * SPDX-License-Identifier: MIT
 */
#include "virgl_worker.h"

#include <drm.h>
#include <drm_fourcc.h>
#include <drm_mode.h>
#include <epoxy/egl.h>
#include <epoxy/gl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <virglrenderer.h>

#include "log.h"

#define TRIED 64 /* pixels in a row, and rows, of what is tried */

#define TARGET_2D    2
#define BIND_SCANOUT (1u << 18)

static enum {
    NONE,
    TEXTURES, /* any of them */
    BUFFERS,  /* those that were made from memory of `card` */
} way;
static int card = -1;

static uint32_t fourcc_of(uint32_t format)
{
    switch (format) { /* virglrenderer's numbers */
    case 1:
        return DRM_FORMAT_ARGB8888;
    case 2:
        return DRM_FORMAT_XRGB8888;
    case 67:
        return DRM_FORMAT_ABGR8888;
    case 134:
        return DRM_FORMAT_XBGR8888;
    default:
        return 0;
    }
}

/* --- out ----------------------------------------------------------------- */

static bool export_image(EGLDisplay display, EGLImageKHR image, int *fd,
                         struct proto_exported *e)
{
    int fourcc = 0, planes = 0;
    EGLuint64KHR modifier = DRM_FORMAT_MOD_INVALID;
    EGLint stride = 0, offset = 0;

    *fd = -1;
    if (!eglExportDMABUFImageQueryMESA(display, image, &fourcc, &planes,
                                       &modifier) ||
        planes != 1 ||
        !eglExportDMABUFImageMESA(display, image, fd, &stride, &offset) ||
        *fd < 0) {
        return false;
    }
    if (stride <= 0 || offset != 0) {
        close(*fd);
        return false;
    }
    e->fourcc = (uint32_t)fourcc;
    e->stride = (uint32_t)stride;
    e->modifier = modifier;
    return true;
}

/* The context that has @texture is current. */
static bool export_texture(GLuint texture, int *fd, struct proto_exported *e)
{
    EGLDisplay display = eglGetCurrentDisplay();
    EGLImageKHR image = eglCreateImageKHR(
        display, eglGetCurrentContext(), EGL_GL_TEXTURE_2D_KHR,
        (EGLClientBuffer)(uintptr_t)texture, NULL);
    bool ok;

    if (image == EGL_NO_IMAGE_KHR) {
        return false;
    }
    ok = export_image(display, image, fd, e);
    eglDestroyImageKHR(display, image);
    return ok;
}

int virgl_export(struct session *s, uint32_t resource, uint32_t serial)
{
    struct virgl_renderer_resource_info info = { 0 };
    struct proto_exported e = {
        .type = PROTO_EXPORTED, .resource = resource, .serial = serial,
    };
    int fd;

    if (way == NONE) {
        return ENOTSUP;
    }
    if (virgl_renderer_resource_get_info((int)resource, &info) || !info.tex_id) {
        return EINVAL;
    }
    virgl_renderer_force_ctx_0();
    if (!export_texture(info.tex_id, &fd, &e)) {
        return ENOTSUP;
    }
    session_send(s, &e, fd);
    close(fd);
    return 0;
}

/* --- in ------------------------------------------------------------------ */

/* A dmabuf of @card's memory, with rows of @stride bytes; or -1. */
static int make_buffer(uint32_t w, uint32_t h, uint32_t *stride)
{
    struct drm_mode_create_dumb make = { .width = w, .height = h, .bpp = 32 };
    struct drm_mode_destroy_dumb drop = { 0 };
    struct drm_prime_handle out = { .flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1 };

    if (card < 0 || ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &make) < 0) {
        return -1;
    }
    out.handle = drop.handle = make.handle;
    *stride = make.pitch;
    if (ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &out) < 0) {
        out.fd = -1;
    }
    ioctl(card, DRM_IOCTL_MODE_DESTROY_DUMB, &drop);
    return out.fd;
}

static EGLImageKHR make_image(uint32_t w, uint32_t h, uint32_t fourcc)
{
    uint32_t stride;
    int fd = make_buffer(w, h, &stride);
    const EGLint attributes[] = {
        EGL_WIDTH, (EGLint)w, EGL_HEIGHT, (EGLint)h,
        EGL_LINUX_DRM_FOURCC_EXT, (EGLint)fourcc,
        EGL_DMA_BUF_PLANE0_FD_EXT, fd,
        EGL_DMA_BUF_PLANE0_OFFSET_EXT, 0,
        EGL_DMA_BUF_PLANE0_PITCH_EXT, fd >= 0 ? (EGLint)stride : 0,
        EGL_NONE,
    };
    EGLImageKHR image;

    if (fd < 0) {
        return EGL_NO_IMAGE_KHR;
    }
    image = eglCreateImageKHR(eglGetCurrentDisplay(), EGL_NO_CONTEXT,
                              EGL_LINUX_DMA_BUF_EXT, NULL, attributes);
    close(fd);
    return image;
}

int virgl_export_make(struct virgl_renderer_resource_create_args *args)
{
    uint32_t fourcc = fourcc_of(args->format);
    EGLImageKHR image;
    int err;

    if (way != BUFFERS || !fourcc || !(args->bind & BIND_SCANOUT) ||
        args->target != TARGET_2D || args->depth > 1 || args->array_size > 1 ||
        args->last_level || args->nr_samples > 1 || !args->width ||
        !args->height) {
        return ENOTSUP;
    }
    virgl_renderer_force_ctx_0();
    image = make_image(args->width, args->height, fourcc);
    if (image == EGL_NO_IMAGE_KHR) {
        return ENOTSUP;
    }
    err = virgl_renderer_resource_import_eglimage(args, image);
    eglDestroyImageKHR(eglGetCurrentDisplay(), image);
    return err < 0 ? -err : err;
}

/* --- which --------------------------------------------------------------- */

static bool has(const char *extension)
{
    return epoxy_has_egl_extension(eglGetCurrentDisplay(), extension);
}

static bool try_texture(void)
{
    struct proto_exported e;
    GLuint texture;
    int fd = -1;

    glGenTextures(1, &texture);
    glBindTexture(GL_TEXTURE_2D, texture);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, TRIED, TRIED, 0, GL_RGBA,
                 GL_UNSIGNED_BYTE, NULL);
    if (export_texture(texture, &fd, &e)) {
        close(fd);
    }
    glBindTexture(GL_TEXTURE_2D, 0);
    glDeleteTextures(1, &texture);
    return fd >= 0;
}

static bool try_buffer(void)
{
    EGLImageKHR image = make_image(TRIED, TRIED, DRM_FORMAT_XRGB8888);
    struct proto_exported e;
    int fd = -1;

    if (image == EGL_NO_IMAGE_KHR) {
        return false;
    }
    if (export_image(eglGetCurrentDisplay(), image, &fd, &e)) {
        close(fd);
    }
    eglDestroyImageKHR(eglGetCurrentDisplay(), image);
    return fd >= 0;
}

void virgl_export_init(int device)
{
    virgl_renderer_force_ctx_0();
    way = NONE;
    card = device;
    if (has("EGL_MESA_image_dma_buf_export") && has("EGL_KHR_image_base")) {
        if (has("EGL_KHR_gl_texture_2D_image") && try_texture()) {
            way = TEXTURES;
        } else if (has("EGL_EXT_image_dma_buf_import") && try_buffer()) {
            way = BUFFERS;
        }
    }
    if (way != BUFFERS && card >= 0) {
        close(card);
        card = -1;
    }
    log_debug("pictures for displays: %s",
              way == TEXTURES ? "textures" : way == BUFFERS ? "the card's memory"
                                                            : "none");
}
