/*
 * Guest contexts. One of our capset is a socket to a worker process and an
 * eventfd, its doorbell; both are made here and given to the server, and are
 * used at once: what cannot be served ends by end of file on that socket.
 *
 *   live    sock >= 0         the worker is there, as far as we know
 *   lost    sock < 0          its ring says why; commands naming it are errors
 *   gone    CTX_DESTROY or reset; closing the socket is what ends the worker
 *
 * The guest's 2D makes contexts too, without a capset. They are only ids. Those of the
 * guest's own Vulkan driver have a worker each, as ours have: see vgpu-remote-venus.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "hw/display/vgpu-remote.h"

#include "qapi/error.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "trace/trace-hw_display_vgpu_remote.h"

#define CONTEXT_FDS  2  /* socket, doorbell */

/* Header and slots; the rest of the ring is between guest and worker. */
#define RING_MAPPED RING_REPLY_OFFSET

static VgpuContext *lookup(VgpuRemote *vr, uint32_t id)
{
    return g_hash_table_lookup(vr->contexts, GUINT_TO_POINTER(id));
}

VgpuContext *vgpu_context_find(VgpuRemote *vr, uint32_t id)
{
    VgpuContext *ctx = lookup(vr, id);

    return ctx && !ctx->plain ? ctx : NULL;
}

VgpuContext *vgpu_context_find_plain(VgpuRemote *vr, uint32_t id)
{
    VgpuContext *ctx = lookup(vr, id);

    return ctx && ctx->plain ? ctx : NULL;
}

/* --- losing one ---------------------------------------------------------- */

void vgpu_context_lose(VgpuContext *ctx, enum ring_fatal why, const char *text)
{
    VgpuRemote *vr = ctx->vr;

    if (ctx->sock < 0) {
        return;
    }
    trace_vgpu_remote_context_lost(ctx->id, why, text ? text : "");
    if (text) {
        vr->lost++;
        vgpu_report(vr, "context %u ('%s') is lost: %s", ctx->id, ctx->name,
                    text);
    }
    if (ctx->ring) {
        ring_set_fatal(ctx->ring, why);
    }
    qemu_set_fd_handler(ctx->sock, NULL, NULL, NULL);
    close(ctx->sock);
    ctx->sock = -1;
    vgpu_blobs_fail(ctx);
    vgpu_rings_finish(ctx, false);
    vgpu_moved_on(ctx);
}

void vgpu_contexts_lose_all(VgpuRemote *vr, const char *text)
{
    GHashTableIter iter;
    gpointer ctx;

    g_hash_table_iter_init(&iter, vr->contexts);
    while (g_hash_table_iter_next(&iter, NULL, &ctx)) {
        vgpu_context_lose(ctx, RING_FATAL_WORKER, text);
    }
}

/* --- the worker's side --------------------------------------------------- */

bool vgpu_context_send(VgpuContext *ctx, const void *m, int fd)
{
    int err = ctx->sock < 0 ? -EPIPE
                            : proto_send(ctx->sock, m, &fd, fd >= 0 ? 1 : 0);

    if (err) {
        vgpu_context_lose(ctx, RING_FATAL_WORKER,
                          err == -EPIPE ? "its worker has ended"
                                        : "its worker does not listen");
    }
    return err == 0;
}

/* The ring has come: map what the device needs of it to see slots move. */
static const char *take_ring(VgpuContext *ctx, const VgpuBlob *blob)
{
    void *ring;

    if (ctx->ring || blob->state != VGPU_BLOB_READY) {
        return NULL;
    }
    if (blob->size < ring_bytes(RING_CMD_MIN)) {
        return "its ring is too small";
    }
    ring = mmap(NULL, RING_MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, blob->fd,
                0);
    if (ring == MAP_FAILED) {
        return "its ring cannot be mapped";
    }
    ctx->ring = ring;
    return NULL;
}

static const char *created(void *opaque, const union proto_any *m, int fd)
{
    VgpuContext *ctx = opaque;
    VgpuBlob *blob = QTAILQ_FIRST(&ctx->asked);
    bool is_ring = blob && !blob->dropped && blob->id == VGPU_BLOB_RING;
    const char *why;

    if (m->type != PROTO_BLOB_CREATED) {
        close(fd);
        return "its worker sends what was not asked for";
    }
    ctx->started = true;
    if (ctx->venus) {
        return ctx->ring ? vgpu_blob_created(ctx, &m->blob_created, fd)
                         : vgpu_venus_take_ring(ctx, &m->blob_created, fd);
    }
    why = vgpu_blob_created(ctx, &m->blob_created, fd);
    if (!why && is_ring) {
        why = take_ring(ctx, blob);
    }
    return why;
}

static void readable(void *opaque)
{
    VgpuContext *ctx = opaque;
    union proto_any m;
    const char *why = vgpu_worker_read(&ctx->sock, &m, created, NULL, ctx);

    if (why) {
        vgpu_context_lose(ctx, m.type == PROTO_LOST && m.lost.why != RING_OK
                                   ? m.lost.why : RING_FATAL_WORKER, why);
    } else {
        vgpu_moved_on(ctx);
    }
}

/* --- create and destroy -------------------------------------------------- */

static void destroy(VgpuContext *ctx, bool drop)
{
    VgpuRemote *vr = ctx->vr;

    trace_vgpu_remote_context_destroy(ctx->id);
    g_hash_table_remove(vr->contexts, GUINT_TO_POINTER(ctx->id));
    if (!ctx->plain) {
        vgpu_rings_finish(ctx, drop);
        vgpu_context_lose(ctx, RING_FATAL_WORKER, NULL);
        vgpu_blobs_orphan(ctx);
        g_hash_table_destroy(ctx->blobs);
        event_notifier_cleanup(&ctx->doorbell);
        vgpu_uncharge(vr, CONTEXT_FDS);
        if (ctx->ring) {
            munmap(ctx->ring, ctx->venus ? VENUS_RING_SIZE : RING_MAPPED);
        }
        vgpu_release(vr);
    } else {
        vgpu_virgl_context_end(ctx, false);
    }
    g_free(ctx);
}

void vgpu_contexts_destroy_all(VgpuRemote *vr)
{
    GHashTableIter iter;
    gpointer ctx;

    for (;;) {
        g_hash_table_iter_init(&iter, vr->contexts);
        if (!g_hash_table_iter_next(&iter, NULL, &ctx)) {
            break;
        }
        destroy(ctx, true);
    }
}

static VgpuContext *context_new(VgpuRemote *vr, uint32_t id, bool plain)
{
    VgpuContext *ctx = g_new0(VgpuContext, 1);

    ctx->vr = vr;
    ctx->id = id;
    ctx->serial = ++vr->last_serial;
    ctx->plain = plain;
    ctx->sock = -1;
    QTAILQ_INIT(&ctx->asked);
    return ctx;
}

static void insert(VgpuContext *ctx)
{
    trace_vgpu_remote_context_create(ctx->id, ctx->name, ctx->plain);
    g_hash_table_insert(ctx->vr->contexts, GUINT_TO_POINTER(ctx->id), ctx);
}

/* The guest's text ends up in logs: printable ASCII, and NUL-terminated. */
static void take_name(VgpuContext *ctx, const struct virtio_gpu_ctx_create *in)
{
    size_t n = MIN(in->nlen, MIN(sizeof(in->debug_name), VGPU_NAME_MAX - 1));

    for (size_t i = 0; i < n && in->debug_name[i]; i++) {
        char c = in->debug_name[i];

        ctx->name[i] = c >= ' ' && c <= '~' ? c : '?';
    }
}

/* Returns false, and nothing is left, if no worker can be had. */
static bool connect_worker(VgpuContext *ctx, Error **errp)
{
    VgpuRemote *vr = ctx->vr;
    int pair[2];
    bool ok;

    if (event_notifier_init(&ctx->doorbell, 0) < 0) {
        error_setg_errno(errp, errno, "no eventfd");
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   pair) < 0) {
        error_setg_errno(errp, errno, "no socket");
        event_notifier_cleanup(&ctx->doorbell);
        return false;
    }
    ok = vgpu_server_context(vr, ctx, pair[1],
                             event_notifier_get_fd(&ctx->doorbell), errp);
    close(pair[1]);
    if (!ok) {
        close(pair[0]);
        event_notifier_cleanup(&ctx->doorbell);
        return false;
    }
    ctx->sock = pair[0];
    qemu_set_fd_handler(ctx->sock, readable, NULL, ctx);
    return true;
}

/* Whether the guest was offered such contexts, and may have new ones. */
static bool may_create(const VgpuRemote *vr, bool venus)
{
    return venus ? vr->virgl.venus_size && vr->backend != VGPU_BACKEND_REMOTE
                 : vr->offers && vr->backend != VGPU_BACKEND_EMULATION;
}

/* One that has a worker. */
static uint32_t create_live(VgpuRemote *vr,
                            const struct virtio_gpu_ctx_create *in, bool venus)
{
    VgpuContext *ctx;
    Error *err = NULL;

    if (!may_create(vr, venus)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (!vgpu_charge(vr, CONTEXT_FDS)) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    ctx = context_new(vr, in->hdr.ctx_id, false);
    ctx->venus = venus;
    take_name(ctx, in);
    if (!vgpu_hold(vr, ctx->name, &err)) {
        goto refused;
    }
    if (!connect_worker(ctx, &err)) {
        vgpu_release(vr);
        goto refused;
    }
    vgpu_rings_init(ctx);
    ctx->blobs = g_hash_table_new(g_int64_hash, g_int64_equal);
    insert(ctx);
    if (venus) {
        vgpu_venus_begin(ctx);
    }
    return VIRTIO_GPU_RESP_OK_NODATA;

refused:
    vgpu_report(vr, "no context for '%s': %s", ctx->name,
                error_get_pretty(err));
    error_free(err);
    g_free(ctx);
    vgpu_uncharge(vr, CONTEXT_FDS);
    return VIRTIO_GPU_RESP_ERR_UNSPEC;
}

static uint32_t create_plain(VgpuRemote *vr,
                             const struct virtio_gpu_ctx_create *in)
{
    VgpuContext *ctx = context_new(vr, in->hdr.ctx_id, true);

    take_name(ctx, in);
    insert(ctx);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Begun when it is first used; but the worker may already start. */
static uint32_t create_virgl(VgpuRemote *vr,
                             const struct virtio_gpu_ctx_create *in)
{
    uint32_t error;

    if (!vr->virgl.offers || vr->backend == VGPU_BACKEND_REMOTE) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    error = vgpu_virgl_ready(vr);
    return error && error != VGPU_STALL ? error : create_plain(vr, in);
}

bool vgpu_context_add_plain(VgpuRemote *vr, uint32_t id)
{
    if (id == 0 || lookup(vr, id) ||
        g_hash_table_size(vr->contexts) >= VGPU_REMOTE_CONTEXTS_MAX) {
        return false;
    }
    insert(context_new(vr, id, true));
    return true;
}

uint32_t vgpu_context_create(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                             const VgpuCommand *in)
{
    uint32_t id = in->hdr.ctx_id;

    if (id == 0 || lookup(vr, id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (g_hash_table_size(vr->contexts) >= VGPU_REMOTE_CONTEXTS_MAX) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    /* Compared as a whole: a stock kernel lets ids pass that alias to others. */
    switch (in->ctx_create.context_init) {
    case 0:
        return create_plain(vr, &in->ctx_create);
    case VIRGL_CAPSET_ID:
        return create_virgl(vr, &in->ctx_create);
    case VGPU_CAPSET_ID:
        return create_live(vr, &in->ctx_create, false);
    case VENUS_CAPSET_ID:
        return create_live(vr, &in->ctx_create, true);
    default:
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
}

uint32_t vgpu_context_destroy(VgpuRemote *vr,
                              struct virtio_gpu_ctrl_command *cmd,
                              const VgpuCommand *in)
{
    VgpuContext *ctx = lookup(vr, in->hdr.ctx_id);

    if (!ctx) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (ctx->plain && vgpu_virgl_context_end(ctx, true) == VGPU_STALL) {
        return VGPU_STALL;
    }
    destroy(ctx, false);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* --- commands on one ----------------------------------------------------- */

/* Who may use what is the guest kernel's affair; there must be something. */
uint32_t vgpu_context_resource(VgpuRemote *vr,
                               struct virtio_gpu_ctrl_command *cmd,
                               const VgpuCommand *in)
{
    uint32_t id = in->ctx_resource.resource_id;
    VgpuContext *ctx = lookup(vr, in->hdr.ctx_id);

    if (!ctx) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (!g_hash_table_lookup(vr->blobs, GUINT_TO_POINTER(id)) &&
        !virtio_gpu_find_resource(VIRTIO_GPU(vr), id) &&
        !vgpu_virgl_find(vr, id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (ctx->plain && vr->virgl.offers) {
        return vgpu_virgl_attach(ctx, id, in->hdr.type ==
                                          VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE);
    }
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* A wait names the ring twice; the fence must be on that very one. */
static bool is_valid_wait(const struct vgpu_exec *exec,
                          const struct virtio_gpu_ctrl_hdr *hdr)
{
    uint32_t flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX;

    return exec->op == VGPU_EXEC_WAIT && exec->reserved == 0 &&
           exec->ring < VGPU_RINGS_MAX && exec->ring == hdr->ring_idx &&
           (hdr->flags & flags) == flags;
}

uint32_t vgpu_context_submit(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                             const VgpuCommand *in)
{
    VgpuContext *ctx = vgpu_context_find(vr, in->hdr.ctx_id);
    struct vgpu_exec exec;

    if (!ctx && vr->virgl.offers) {
        return vgpu_virgl_submit(vr, cmd, in);
    }
    if (!ctx) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (ctx->venus) {
        return vgpu_venus_submit(ctx, cmd, in);
    }
    if (in->submit.size == 0) {
        trace_vgpu_remote_doorbell(ctx->id);
        event_notifier_set(&ctx->doorbell);
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    if (in->submit.size != sizeof(exec) ||
        iov_to_buf(cmd->elem.out_sg, cmd->elem.out_num, sizeof(in->submit),
                   &exec, sizeof(exec)) != sizeof(exec) ||
        !is_valid_wait(&exec, &in->hdr)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    return vgpu_fence_wait(ctx, cmd, exec.ring, exec.seq);
}

/* --- storage ------------------------------------------------------------- */

void vgpu_contexts_init(VgpuRemote *vr)
{
    vr->contexts = g_hash_table_new(NULL, NULL);
}

void vgpu_contexts_finish(VgpuRemote *vr)
{
    g_clear_pointer(&vr->contexts, g_hash_table_destroy);
}
