/*
 * The virgl API: one message for each of virtio-gpu's 3D commands, made into
 * a call of virglrenderer.
 *
 * virglrenderer checks what comes from the guest (ids, boxes, command streams)
 * and keeps errors of one context from others; what it does not check is
 * checked here: that a span lies in shared memory, that context 0, its own, is
 * used for pictures only, that bytes are charged. It is a large program that
 * talks to a larger one; should a guest crash it, this process ends, and the
 * device says so to the guest and starts another.
 *
 * START makes EGL and GL: on the GPU that the device names, or the first that EGL
 * finds, or Mesa's software rasterizer. No window system is asked for.
 *
 * SPDX-License-Identifier: MIT
 */
#define VIRGL_RENDERER_UNSTABLE_APIS /* fences per context are among those */
#include "virgl_worker.h"

#include <epoxy/egl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include <virglrenderer.h>

#include "log.h"

/*
 * A guest that reads back asks again when it has the answer: after 50 us under an
 * emulated processor, 150 if it had to sleep. A worker that sleeps by then adds half as
 * much again.
 */
#define MESSAGE_SPIN_NS 250000u

/* The resource that a COPY copies from: no guest's. */
#define COPY_SOURCE 0x7fffffff

struct box { /* as virglrenderer has it, which does not install its own */
    uint32_t x, y, z, w, h, d;
};

static bool started;
static int node = -1; /* of the GPU that was asked for, until virglrenderer has it */

/* --- the start ----------------------------------------------------------- */

static int take_node(void *session)
{
    int fd = node;

    node = -1;
    return fd;
}

static struct virgl_renderer_callbacks callbacks = {
    .version = 3,
    .get_drm_fd = take_node,
    .write_context_fence = virgl_fence_retire,
};

/*
 * What this transport cannot do must not be offered: memory that GL maps is not memory
 * that a guest could map, and the device takes only those copies apart that go to the
 * host. A guest that reads back has a transfer for that, which is one command, too.
 */
static void mask_caps(uint8_t *caps, uint32_t size)
{
    static const struct {
        uint32_t offset, bits;
    } masks[] = {
        { 392, 1u << 31 }, /* buffer storage */
        { 688, 1u << 7 },  /* copy transfers, both ways */
    };

    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        uint32_t word;

        if (masks[i].offset + sizeof(word) <= size) {
            memcpy(&word, caps + masks[i].offset, sizeof(word));
            word &= ~masks[i].bits;
            memcpy(caps + masks[i].offset, &word, sizeof(word));
        }
    }
}

/* What virglrenderer says, much of it for whatever a guest does wrong. */
static void log_renderer(const char *fmt, va_list ap)
{
    char line[256];

    vsnprintf(line, sizeof(line), fmt, ap);
    line[strcspn(line, "\n")] = '\0';
    log_debug("virglrenderer: %s", line);
}

static int make_copy_source(void)
{
    struct virgl_renderer_resource_create_args args = {
        .handle = COPY_SOURCE,
        .target = 0, /* a buffer */
        .format = 64, /* of bytes */
        .bind = VIRGL_BIND_STAGING,
        .width = 1, .height = 1, .depth = 1, .array_size = 1,
    };

    return abs(virgl_renderer_resource_create(&args, NULL, 0));
}

static int fill_caps(struct session *s, struct virgl_done *done)
{
    uint8_t caps[VIRGL_CAPS_MAX] = { 0 };
    uint32_t version = 0, size = 0;

    virgl_renderer_get_cap_set(VIRGL_CAPSET_ID, &version, &size);
    if (size == 0 || size > sizeof(caps)) {
        return ENOTSUP;
    }
    virgl_renderer_fill_caps(VIRGL_CAPSET_ID, version, caps);
    mask_caps(caps, size);
    memcpy(session_reply_area(s, VIRGL_CAPS_SLOT), caps, sizeof(caps));
    done->a = version;
    done->b = size;
    return 0;
}

/* Whether there is any: where not, virglrenderer 0.10 looks for GL all the same. */
static bool have_egl(void)
{
    static const char surfaceless[] = "EGL_MESA_platform_surfaceless";
    EGLDisplay display;
    bool ok;

    if (!epoxy_has_egl_extension(EGL_NO_DISPLAY, surfaceless)) {
        return false;
    }
    display = eglGetPlatformDisplayEXT(EGL_PLATFORM_SURFACELESS_MESA,
                                       EGL_DEFAULT_DISPLAY, NULL);
    ok = display && eglInitialize(display, NULL, NULL);
    if (ok) {
        eglTerminate(display);
    }
    return ok;
}

/* For people on both ends. */
static void tell(struct session *s, const char *text)
{
    char *at = session_reply_area(s, VIRGL_TEXT_SLOT);

    snprintf(at, VIRGL_TEXT_MAX, "%s", text);
    log_line("%s", text);
}

/* With a render node by GBM, which is what virglrenderer does with one. */
static int init_renderer(struct session *s)
{
    if (node >= 0) {
        return virgl_renderer_init(s, VIRGL_RENDERER_USE_EGL, &callbacks);
    }
    return have_egl() ? virgl_renderer_init(s, VIRGL_RENDERER_USE_EGL |
                                            VIRGL_RENDERER_USE_SURFACELESS,
                                            &callbacks) : ENODEV;
}

static int start(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    const char *gpu = wire_get_bytes(in, VIRGL_GPU_MAX);
    char why[VIRGL_TEXT_MAX];
    int err, device;

    if (!wire_done(in) || !memchr(gpu, '\0', VIRGL_GPU_MAX)) {
        return -1;
    }
    if (started) {
        return EEXIST;
    }
    if (!virgl_gpu_choose(gpu, &node, why)) {
        tell(s, why);
        return ENODEV;
    }
    device = node >= 0 ? fcntl(node, F_DUPFD_CLOEXEC, 0) : -1;
    virgl_set_debug_callback(log_renderer);
    err = init_renderer(s);
    if (node >= 0) {
        close(take_node(s)); /* it has not been taken */
    }
    if (err) {
        tell(s, gpu[0] ? "there is no EGL or GL that virglrenderer can use on the "
                         "GPU that was asked for"
                       : "there is no EGL or GL that virglrenderer can use: "
                         "install a driver, libegl1 and libgl1-mesa-dri say");
        if (device >= 0) {
            close(device);
        }
        return ENODEV;
    }
    started = true;
    virgl_export_init(device);
    err = make_copy_source();
    return err ? err : fill_caps(s, done);
}

static int vulkan(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    uint8_t caps[VIRGL_CAPS_MAX] = { 0 };
    char why[VIRGL_TEXT_MAX];

    if (!wire_done(in)) {
        return -1;
    }
    started = false; /* it draws no more */
    done->b = virgl_vulkan_look(s, caps, &done->a, why);
    if (done->b) {
        memcpy(session_reply_area(s, VIRGL_CAPS_SLOT), caps, sizeof(caps));
    }
    tell(s, why);
    return 0;
}

/* --- contexts ------------------------------------------------------------ */

static int context_create(struct session *s, struct wire_in *in,
                          struct virgl_done *done)
{
    uint32_t id = wire_get_u32(in);
    const char *name = wire_get_bytes(in, VGPU_NAME_MAX);

    if (!wire_done(in)) {
        return -1;
    }
    if (id == 0) {
        return EINVAL;
    }
    return abs(virgl_renderer_context_create_with_flags(
        id, VIRGL_CAPSET_ID, (uint32_t)strnlen(name, VGPU_NAME_MAX - 1), name));
}

static int context_destroy(struct session *s, struct wire_in *in,
                           struct virgl_done *done)
{
    uint32_t id = wire_get_u32(in);

    if (!wire_done(in)) {
        return -1;
    }
    if (id == 0) {
        return EINVAL;
    }
    virgl_renderer_context_destroy(id);
    virgl_fences_drop(s, id);
    return 0;
}

static bool is_guests(uint32_t resource)
{
    return resource != COPY_SOURCE;
}

static int attach(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    uint32_t context = wire_get_u32(in), resource = wire_get_u32(in);

    if (!wire_done(in)) {
        return -1;
    }
    if (!is_guests(resource)) {
        return EINVAL;
    }
    virgl_renderer_ctx_attach_resource((int)context, (int)resource);
    return 0;
}

static int detach(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    uint32_t context = wire_get_u32(in), resource = wire_get_u32(in);

    if (!wire_done(in)) {
        return -1;
    }
    virgl_renderer_ctx_detach_resource((int)context, (int)resource);
    return 0;
}

/* --- resources ----------------------------------------------------------- */

static int resource_create(struct session *s, struct wire_in *in,
                           struct virgl_done *done)
{
    struct virgl_resource r = virgl_get_resource(in);

    if (!wire_done(in)) {
        return -1;
    }
    return is_guests(r.id) ? virgl_resource_add(s, &r) : EINVAL;
}

static int resource_unref(struct session *s, struct wire_in *in,
                          struct virgl_done *done)
{
    uint32_t id = wire_get_u32(in);

    if (!wire_done(in)) {
        return -1;
    }
    virgl_resource_remove(s, id);
    return 0;
}

/* --- transfers ----------------------------------------------------------- */

/* One of the calls below: between the box of @t and @iov, which is @t's span. */
typedef int transfer_fn(const struct virgl_transfer *t, struct virgl_box *box,
                        struct iovec *iov);

/*
 * Decode a transfer, find its memory, and make it. @writes: into that memory, which then
 * must be ours.
 */
static int make_transfer(struct session *s, struct wire_in *in,
                         transfer_fn *make, bool writes)
{
    struct virgl_transfer t = virgl_get_transfer(in);
    struct box box = { t.x, t.y, t.z, t.w, t.h, t.d };
    struct iovec iov = { .iov_len = t.data.size };
    struct blob *blob;
    int err = EINVAL;

    if (!wire_done(in)) {
        return -1;
    }
    blob = session_blob(s, &t.data);
    if (blob && (blob_is_ours(blob) || !writes)) {
        iov.iov_base = blob_at(blob, t.data.offset, t.data.size);
        err = abs(make(&t, (struct virgl_box *)&box, &iov));
    }
    blob_unref(blob);
    return err;
}

static int write_box(const struct virgl_transfer *t, struct virgl_box *box,
                     struct iovec *iov)
{
    return virgl_renderer_transfer_write_iov(t->resource, t->context,
                                             (int)t->level, t->stride,
                                             t->layer_stride, box, 0, iov, 1);
}

static int read_box(const struct virgl_transfer *t, struct virgl_box *box,
                    struct iovec *iov)
{
    return virgl_renderer_transfer_read_iov(t->resource, t->context, t->level,
                                            t->stride, t->layer_stride, box, 0,
                                            iov, 1);
}

/*
 * What is transferred otherwise may overtake what was drawn before. In order is only a
 * command of the context's, which copies out of another resource: one of ours, that
 * has the span for its memory, and is the context's for as long as the command takes.
 */
static int copy_box(const struct virgl_transfer *t, struct virgl_box *unused,
                    struct iovec *iov)
{
    uint32_t stream[] = {
        VIRGL_STREAM_COPY_WORDS << 16 | VIRGL_STREAM_COPY,
        t->resource, t->level, 0, t->stride, t->layer_stride,
        t->x, t->y, t->z, t->w, t->h, t->d,
        COPY_SOURCE, 0, VIRGL_STREAM_COPY_IN_ORDER,
    };
    struct iovec *detached;
    int n, err = virgl_renderer_resource_attach_iov(COPY_SOURCE, iov, 1);

    if (err) {
        return err;
    }
    virgl_renderer_ctx_attach_resource((int)t->context, COPY_SOURCE);
    err = virgl_renderer_submit_cmd(stream, (int)t->context,
                                    sizeof(stream) / sizeof(stream[0]));
    virgl_renderer_ctx_detach_resource((int)t->context, COPY_SOURCE);
    virgl_renderer_resource_detach_iov(COPY_SOURCE, &detached, &n);
    return err;
}

static int put(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    return make_transfer(s, in, write_box, false);
}

static int get(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    return make_transfer(s, in, read_box, true);
}

static int copy(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    return make_transfer(s, in, copy_box, false);
}

/* --- work ---------------------------------------------------------------- */

/*
 * A guest's stream may be wrong: that is its context's affair, and virglrenderer
 * lets that context do no more. A submission of no bytes is a fence alone.
 */
static int submit(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    uint32_t context = wire_get_u32(in), size = wire_get_u32(in);
    const void *stream = wire_get_bytes(in, size);
    int err;

    if (!wire_done(in) || size % 4) {
        return -1;
    }
    if (context == 0) {
        return EINVAL;
    }
    /* In place: the message is a copy of ours, aligned, and used up by this. */
    err = size ? abs(virgl_renderer_submit_cmd((void *)stream, (int)context,
                                               (int)(size / 4))) : 0;
    if (!err && done->token) {
        err = virgl_fence_add(context, done->token);
        done->token = err ? done->token : 0; /* the fence has it */
    }
    return err;
}

/* --- pictures ------------------------------------------------------------ */

static int picture(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    uint32_t resource = wire_get_u32(in), serial = wire_get_u32(in);

    if (!wire_done(in)) {
        return -1;
    }
    return is_guests(resource) ? virgl_export(s, resource, serial) : EINVAL;
}

static int settle(struct session *s, struct wire_in *in, struct virgl_done *done)
{
    int err;

    if (!wire_done(in)) {
        return -1;
    }
    err = done->token ? virgl_fence_add(0, done->token) : 0;
    done->token = err ? done->token : 0; /* the fence has it */
    return err;
}

/* --- the table ----------------------------------------------------------- */

/*
 * Makes the call. Returns 0 or an errno value, for @done; -1 if the message cannot
 * be decoded. A token that is 0 afterwards was taken care of.
 */
typedef int virgl_call_fn(struct session *s, struct wire_in *in,
                          struct virgl_done *done);

static const struct {
    const char *name;
    virgl_call_fn *call;
} calls[VIRGL_CALLS] = {
    [VIRGL_START] = { "START", start },
    [VIRGL_CONTEXT_CREATE] = { "CONTEXT_CREATE", context_create },
    [VIRGL_CONTEXT_DESTROY] = { "CONTEXT_DESTROY", context_destroy },
    [VIRGL_ATTACH] = { "ATTACH", attach },
    [VIRGL_DETACH] = { "DETACH", detach },
    [VIRGL_RESOURCE_CREATE] = { "RESOURCE_CREATE", resource_create },
    [VIRGL_RESOURCE_UNREF] = { "RESOURCE_UNREF", resource_unref },
    [VIRGL_SUBMIT] = { "SUBMIT", submit },
    [VIRGL_PUT] = { "PUT", put },
    [VIRGL_GET] = { "GET", get },
    [VIRGL_COPY] = { "COPY", copy },
    [VIRGL_VULKAN] = { "VULKAN", vulkan },
    [VIRGL_PICTURE] = { "PICTURE", picture },
    [VIRGL_SETTLE] = { "SETTLE", settle },
};

static enum wire_status serve(struct request *r)
{
    struct virgl_done done = { .token = wire_get_u32(&r->in) };
    uint16_t call = r->header.call;
    int err;

    if (call >= VIRGL_CALLS || !calls[call].name) {
        return WIRE_MALFORMED; /* nobody else would tell the device */
    }
    err = !started && call != VIRGL_START
              ? ENODEV : calls[call].call(r->session, &r->in, &done);
    if (err == -1) {
        return WIRE_MALFORMED;
    }
    if (err) {
        log_debug("%s: %s", calls[call].name, strerror(err));
    }
    done.status = (uint32_t)err;
    virgl_complete(r->session, done);
    return WIRE_OK;
}

static void print(FILE *f, uint16_t call, struct wire_in in)
{
    uint32_t token = wire_get_u32(&in);

    fprintf(f, "virgl %s(token %u",
            call < VIRGL_CALLS && calls[call].name ? calls[call].name : "?",
            token);
    for (int i = 0; i < 14 && in.p < in.end; i++) {
        fprintf(f, ", %llu", (unsigned long long)wire_get(&in));
    }
    fprintf(f, ")\n");
}

const struct session_api virgl_api = {
    .name = "virgl",
    .serve = serve,
    .print = print,
    .idle = virgl_fences_wait,
    .spin_ns = MESSAGE_SPIN_NS,
};
