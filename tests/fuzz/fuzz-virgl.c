/*
 * The virgl worker's half of the ring: messages of any content, over a
 * virglrenderer that checks what it is given (memory that can be touched, ids that
 * it has) and draws nothing. At the end of each input nothing may be left:
 * resources, their share of the budget, fences that nobody completed.
 *
 * SPDX-License-Identifier: MIT
 */
#define VIRGL_RENDERER_UNSTABLE_APIS
#include "fuzz-session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/uio.h>
#include <virglrenderer.h>

#include "virgl_worker.h"

#define STAGING   65536u
#define TOKENS    VIRGL_DONE_ENTRIES
#define RESOURCES 512u

static uint8_t staging[STAGING];
static uint8_t ring[RING_CMD_OFFSET];
static uint32_t outstanding, posted, token;
static jmp_buf the_end;
static struct virgl_renderer_callbacks *callbacks;
static void *cookie;

/* --- the session --------------------------------------------------------- */

void *session_reply_area(struct session *s, uint32_t n)
{
    return ring_reply(ring, n);
}

void session_post(struct session *s, uint32_t n, uint32_t seq)
{
    fuzz_require(n == VIRGL_DONE_SLOT && seq == ++posted && outstanding);
    outstanding--;
}

struct blob *session_blob(struct session *s, const struct wire_span *span)
{
    bool inside = span->blob == VIRGL_STAGING && span->offset <= STAGING &&
                  span->size <= STAGING - span->offset;

    return inside ? (struct blob *)staging : NULL;
}

void *blob_at(struct blob *b, uint64_t offset, uint64_t size)
{
    return staging + offset;
}

bool blob_is_ours(const struct blob *b)
{
    return true;
}

void blob_unref(struct blob *b)
{
}

/* --- virglrenderer, and as much of GL as is called ----------------------- */

static uint32_t resources[RESOURCES];
static uint32_t source;          /* of copies */
static struct iovec *source_iov; /* its memory, for as long as one takes */
static bool source_attached;
static unsigned n_resources;
static struct {
    uint32_t context;
    uint64_t token;
} fences[TOKENS];
static unsigned n_fences;
static unsigned step; /* for answers that differ */

virgl_debug_callback_type virgl_set_debug_callback(virgl_debug_callback_type cb)
{
    return NULL;
}

int virgl_renderer_init(void *c, int flags, struct virgl_renderer_callbacks *cb)
{
    cookie = c;
    callbacks = cb;
    return 0;
}

void virgl_renderer_get_cap_set(uint32_t set, uint32_t *version, uint32_t *size)
{
    *version = 2;
    *size = 1376;
}

void virgl_renderer_fill_caps(uint32_t set, uint32_t version, void *caps)
{
    memset(caps, 0xff, 1376);
}

int virgl_renderer_context_create_with_flags(uint32_t id, uint32_t flags,
                                             uint32_t n, const char *name)
{
    fuzz_require(id && n < VGPU_NAME_MAX && strnlen(name, n) == n);
    return step++ % 5 ? 0 : -1;
}

void virgl_renderer_context_destroy(uint32_t id)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < n_fences; i++) {
        if (fences[i].context != id) {
            fences[kept++] = fences[i];
        }
    }
    n_fences = kept;
}

void virgl_renderer_ctx_attach_resource(int context, int resource)
{
    if ((uint32_t)resource == source) {
        fuzz_require(source_iov);
        source_attached = true;
    }
}

void virgl_renderer_ctx_detach_resource(int context, int resource)
{
    if ((uint32_t)resource == source) {
        source_attached = false;
    }
}

int virgl_renderer_resource_attach_iov(int resource, struct iovec *iov, int n)
{
    fuzz_require((uint32_t)resource == source && n == 1 && !source_iov);
    if (step++ % 9 == 0) {
        return EINVAL;
    }
    source_iov = iov;
    return 0;
}

void virgl_renderer_resource_detach_iov(int resource, struct iovec **iov, int *n)
{
    fuzz_require((uint32_t)resource == source && source_iov && !source_attached);
    *iov = source_iov;
    *n = 1;
    source_iov = NULL;
}

static void touch(const struct iovec *iov)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < iov->iov_len; i += 512) {
        sum ^= ((uint8_t *)iov->iov_base)[i];
    }
    step += sum & 1; /* so that it is really read */
}

int virgl_renderer_resource_create(
    struct virgl_renderer_resource_create_args *args, struct iovec *iov,
    uint32_t n)
{
    if (args->bind & VIRGL_BIND_STAGING) {
        fuzz_require(!source); /* made once, by START; no guest's are */
        source = args->handle;
        return 0;
    }
    fuzz_require(args->handle != source);
    if (n_resources == RESOURCES || step++ % 7 == 0) {
        return ENOMEM;
    }
    resources[n_resources++] = args->handle;
    return 0;
}

int virgl_renderer_resource_get_info(int id,
                                     struct virgl_renderer_resource_info *info)
{
    info->stride = step++ * 97;
    return step % 11 == 0;
}

void virgl_renderer_resource_unref(uint32_t id)
{
    for (unsigned i = 0; i < n_resources; i++) {
        if (resources[i] == id) {
            resources[i] = resources[--n_resources];
            return;
        }
    }
    fuzz_require(!"a resource that is there");
}

int virgl_renderer_transfer_write_iov(uint32_t resource, uint32_t context,
                                      int level, uint32_t stride,
                                      uint32_t layer_stride,
                                      struct virgl_box *box, uint64_t offset,
                                      struct iovec *iov, unsigned int n)
{
    touch(iov);
    return step++ % 3 ? 0 : EINVAL;
}

int virgl_renderer_transfer_read_iov(uint32_t resource, uint32_t context,
                                     uint32_t level, uint32_t stride,
                                     uint32_t layer_stride,
                                     struct virgl_box *box, uint64_t offset,
                                     struct iovec *iov, int n)
{
    if (iov->iov_len) {
        memset(iov->iov_base, 1, iov->iov_len);
    }
    return step++ % 3 ? 0 : EINVAL;
}

int virgl_renderer_submit_cmd(void *stream, int context, int words)
{
    uint32_t *w = stream;

    if (source_iov) {
        fuzz_require(source_attached && words == 15 && w[12] == source);
        touch(source_iov);
    }
    for (int i = 0; i < words; i++) {
        w[i]++; /* virglrenderer may write there */
    }
    return step++ % 3 ? 0 : EINVAL;
}

int virgl_renderer_context_create_fence(uint32_t context, uint32_t flags,
                                        uint32_t on, uint64_t token)
{
    fuzz_require(on == 0 && n_fences < TOKENS);
    if (step++ % 5 == 0) {
        return -1;
    }
    fences[n_fences].context = context;
    fences[n_fences++].token = token;
    return 0;
}

/* Some of them, in order; or the last alone, which is for all before it. */
void virgl_renderer_poll(void)
{
    unsigned n = n_fences ? 1 + step++ % n_fences : 0;
    bool merge = step % 2;
    uint32_t context[TOKENS];
    uint64_t token[TOKENS];

    for (unsigned i = 0; i < n; i++) {
        context[i] = fences[i].context;
        token[i] = fences[i].token;
    }
    memmove(fences, fences + n, (n_fences - n) * sizeof(fences[0]));
    n_fences -= n;
    for (unsigned i = merge && n ? n - 1 : 0; i < n; i++) {
        callbacks->write_context_fence(cookie, context[i], 0, token[i]);
    }
}

static int syncs;

static struct __GLsync *fence_sync(unsigned condition, unsigned flags)
{
    syncs++;
    return (struct __GLsync *)&syncs;
}

static void delete_sync(struct __GLsync *sync)
{
    syncs--;
    fuzz_require(syncs >= 0);
}

static unsigned wait_sync(struct __GLsync *sync, unsigned flags,
                          unsigned long ns)
{
    /* It is asked once or twice in a turn: by twos it might never be over. */
    return step++ % 3 ? 0x911b /* not yet */ : 0x911a /* over */;
}

static void flush(void)
{
}

/* epoxy calls through these. */
struct __GLsync *(*epoxy_glFenceSync)(unsigned, unsigned) = fence_sync;
void (*epoxy_glDeleteSync)(struct __GLsync *) = delete_sync;
unsigned (*epoxy_glClientWaitSync)(struct __GLsync *, unsigned,
                                   unsigned long) = wait_sync;
void (*epoxy_glFlush)(void) = flush;

bool epoxy_has_egl_extension(void *display, const char *name)
{
    return true;
}

static void *get_display(unsigned platform, void *native, const int *attributes)
{
    return &syncs;
}

static unsigned initialize(void *display, int *major, int *minor)
{
    return 1;
}

static unsigned terminate(void *display)
{
    return 1;
}

void *(*epoxy_eglGetPlatformDisplayEXT)(unsigned, void *,
                                        const int *) = get_display;
unsigned (*epoxy_eglInitialize)(void *, int *, int *) = initialize;
unsigned (*epoxy_eglTerminate)(void *) = terminate;

bool virgl_gpu_choose(const char *gpu, int *fd, char *why)
{
    *fd = -1;
    memcpy(why, "none", 5);
    return !gpu[0];
}

uint32_t virgl_vulkan_look(struct session *s, uint8_t *caps, uint32_t *version,
                           char *why)
{
    memset(why, 'x', VIRGL_TEXT_MAX - 1);
    why[VIRGL_TEXT_MAX - 1] = '\0';
    source = 0; /* for that virglrenderer is begun anew */
    return 0;
}

void virgl_export_init(int device)
{
    fuzz_require(device == -1);
}

int virgl_export_make(struct virgl_renderer_resource_create_args *args)
{
    return ENOTSUP;
}

int virgl_export(struct session *s, uint32_t resource, uint32_t serial)
{
    return step++ % 3 ? 0 : ENOTSUP;
}

/* --- one input ----------------------------------------------------------- */

/* A call, its items by a byte each (so that ids meet), and bytes behind them. */
static void send(struct session *s, struct fuzz_input *in)
{
    static uint64_t items[600];
    struct request r = { .session = s };
    uint32_t n = fuzz_u8(in) % 24;
    bool wanted = fuzz_u8(in);

    r.header.call = fuzz_u8(in) % (VIRGL_CALLS + 1);
    /* As the device does: no token twice at a time. */
    items[0] = wanted && outstanding < TOKENS ? ++token : 0;
    for (uint32_t i = 1; i <= n; i++) {
        uint8_t kind = fuzz_u8(in);

        items[i] = kind == 255 ? (uint64_t)fuzz_u32(in) << (kind % 33) : kind;
    }
    if (r.header.call == VIRGL_START) {
        fuzz_bytes(in, items + n + 1, VIRGL_GPU_MAX);
        n += VIRGL_GPU_MAX / 8;
    }
    if (r.header.call == VIRGL_CONTEXT_CREATE || r.header.call == VIRGL_SUBMIT) {
        fuzz_bytes(in, items + n + 1, 64);
        n += 8;
    }
    wire_in_init(&r.in, items, 8 * (n + 1));
    outstanding += items[0] != 0;
    if (virgl_api.serve(&r) != WIRE_OK) {
        outstanding -= items[0] != 0;
        longjmp(the_end, 1); /* the worker ends */
    }
}

static void clear_up(struct session *s)
{
    while (n_resources) {
        virgl_resource_remove(s, resources[0]);
    }
    while (virgl_api.idle(s)) {
        /* some of them each time */
    }
    fuzz_require(charged == 0);
    fuzz_require(outstanding == 0);
    fuzz_require(syncs == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct session *s = (struct session *)ring;
    struct request begin = { .session = s, .header.call = VIRGL_START };
    uint64_t none[1 + VIRGL_GPU_MAX / 8] = { 0 };

    wire_in_init(&begin.in, none, sizeof(none));
    virgl_api.serve(&begin);
    if (setjmp(the_end) == 0) {
        while (in.left) {
            send(s, &in);
            if (fuzz_u8(&in) % 4 == 0) {
                virgl_api.idle(s);
            }
        }
    }
    clear_up(s);
    return 0;
}
