/*
 * Blob resources: memory that a worker made and the guest maps.
 *
 * RESOURCE_CREATE_BLOB asks the context's worker for a memfd (or, of Venus, a part of
 * one) and is answered at once, as the guest does not wait for it. The memfd comes later
 * (BLOB_CREATED, in the order of asking), and until then MAP_BLOB suspends the
 * queue.
 *
 * The whole BAR is one RAM region over one reservation of address space.
 * Mapping a blob puts its memfd over a part of that, unmapping puts fresh
 * anonymous memory there: neither changes anything in the VM's memory map. The
 * reservation must stay writable everywhere, as a guest may touch what it has
 * not mapped; what it writes there is memory of the host until the place is
 * mapped or the device is reset, `hostmem` bytes at most.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "hw/display/vgpu-remote.h"

#include "exec/memory.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "trace/trace-hw_display_vgpu_remote.h"

static VgpuBlob *lookup(VgpuRemote *vr, uint32_t resource)
{
    return g_hash_table_lookup(vr->blobs, GUINT_TO_POINTER(resource));
}

/* --- the window ---------------------------------------------------------- */

static void *reserve(void *at, uint64_t size)
{
    return mmap(at, size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                (at ? MAP_FIXED : 0), -1, 0);
}

bool vgpu_window_init(VgpuRemote *vr, Error **errp)
{
    VirtIOGPUBase *b = VIRTIO_GPU_BASE(vr);
    uint64_t size = b->conf.hostmem;
    void *mem = reserve(NULL, size);
    DeviceState *dev = DEVICE(vr);

    if (mem == MAP_FAILED) {
        error_setg_errno(errp, errno, "hostmem=%" PRIu64 ": cannot reserve so "
                         "much address space; try a smaller one", size);
        return false;
    }
    vr->window_mem = mem;
    vr->window_size = size;
    /*
     * A device's memory: it is neither dumped nor migrated. Its owner is the PCI
     * device, in whose storage we are: who still looks at the region keeps that.
     */
    memory_region_init_ram_device_ptr(&vr->window,
                                      OBJECT(qdev_get_parent_bus(dev)->parent),
                                      "vgpu-remote-window", size, mem);
    memory_region_add_subregion(&b->hostmem, 0, &vr->window);
    return true;
}

void vgpu_window_remove(VgpuRemote *vr)
{
    if (vr->window_mem) {
        memory_region_del_subregion(&VIRTIO_GPU_BASE(vr)->hostmem, &vr->window);
    }
}

void vgpu_window_free(VgpuRemote *vr)
{
    if (vr->window_mem) {
        munmap(vr->window_mem, vr->window_size);
        vr->window_mem = NULL;
    }
}

static void window_clear(VgpuRemote *vr, uint64_t offset, uint64_t size)
{
    if (reserve((char *)vr->window_mem + offset, size) == MAP_FAILED) {
        /* Out of mappings: the blob stays readable to the guest that had it. */
        vgpu_report(vr, "cannot unmap %" PRIu64 " bytes: %s", size,
                    strerror(errno));
    }
}

static bool window_map(VgpuRemote *vr, VgpuBlob *blob, uint64_t offset)
{
    void *at = (char *)vr->window_mem + offset;

    if (mmap(at, blob->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             blob->fd, blob->offset) == MAP_FAILED) {
        vgpu_report(vr, "cannot map %" PRIu64 " bytes: %s", blob->size,
                    strerror(errno));
        window_clear(vr, offset, blob->size);
        return false;
    }
    blob->span.start = offset;
    blob->span.last = offset + blob->size - 1;
    interval_tree_insert(&blob->span, &vr->mapped);
    blob->mapped = true;
    return true;
}

static void window_unmap(VgpuRemote *vr, VgpuBlob *blob)
{
    if (blob->mapped) {
        interval_tree_remove(&blob->span, &vr->mapped);
        window_clear(vr, blob->span.start, blob->size);
        blob->mapped = false;
    }
}

/* --- a blob's life ------------------------------------------------------- */

static void blob_free(VgpuRemote *vr, VgpuBlob *blob)
{
    if (blob->fd >= 0) {
        close(blob->fd);
    }
    vgpu_uncharge(vr, 1);
    vgpu_release(vr);
    g_free(blob);
}

/* The guest has no name for it any more. */
static void blob_drop(VgpuRemote *vr, VgpuBlob *blob)
{
    VgpuContext *ctx = blob->ctx;
    bool asked = blob->state == VGPU_BLOB_ASKED;
    struct proto_blob_destroy m = {
        .type = PROTO_BLOB_DESTROY, .blob = blob->id,
    };

    trace_vgpu_remote_blob_unref(blob->resource);
    g_hash_table_remove(vr->blobs, GUINT_TO_POINTER(blob->resource));
    if (ctx) {
        g_hash_table_remove(ctx->blobs, &blob->id);
    }
    window_unmap(vr, blob);
    blob->dropped = asked; /* then it is freed when the answer comes */
    if (!asked) {
        bool ready = blob->state == VGPU_BLOB_READY;

        blob_free(vr, blob);
        if (!ready) {
            return;
        }
    }
    if (ctx && !ctx->venus && ctx->sock >= 0) {
        vgpu_context_send(ctx, &m, -1);
    }
}

/* A worker's file has it where it says, by whole pages. */
static bool is_there(const VgpuBlob *blob, uint64_t offset, int fd)
{
    return QEMU_IS_ALIGNED(offset, qemu_real_host_page_size()) &&
           offset <= INT64_MAX - blob->size &&
           proto_check_blob(fd, offset + blob->size) == 0;
}

static VgpuBlob *take_asked(VgpuContext *ctx)
{
    VgpuBlob *blob = QTAILQ_FIRST(&ctx->asked);

    QTAILQ_REMOVE(&ctx->asked, blob, next);
    return blob;
}

const char *vgpu_blob_created(VgpuContext *ctx,
                              const struct proto_blob_created *m, int fd)
{
    VgpuBlob *blob = QTAILQ_FIRST(&ctx->asked);
    const char *why = NULL;

    if (!blob || blob->id != m->blob) {
        why = "its worker answers what was not asked";
        goto drop_fd;
    }
    take_asked(ctx);
    trace_vgpu_remote_blob_ready(blob->resource, m->status);
    blob->state = VGPU_BLOB_FAILED;
    if (fd >= 0 && !is_there(blob, m->offset, fd)) {
        why = "its worker's memory is too small or not sealed";
        goto drop_blob;
    }
    if (blob->dropped) {
        goto drop_blob;
    }
    if (fd >= 0) {
        blob->fd = fd;
        blob->offset = m->offset;
        blob->state = VGPU_BLOB_READY;
    }
    return NULL;

drop_blob:
    if (blob->dropped) {
        blob_free(ctx->vr, blob);
    }
drop_fd:
    if (fd >= 0) {
        close(fd);
    }
    return why;
}

void vgpu_blobs_fail(VgpuContext *ctx)
{
    while (!QTAILQ_EMPTY(&ctx->asked)) {
        VgpuBlob *blob = take_asked(ctx);

        blob->state = VGPU_BLOB_FAILED;
        if (blob->dropped) {
            blob_free(ctx->vr, blob);
        }
    }
}

void vgpu_blobs_orphan(VgpuContext *ctx)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, ctx->blobs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        VgpuBlob *blob = value;

        blob->ctx = NULL;
    }
}

void vgpu_blobs_destroy_all(VgpuRemote *vr)
{
    GHashTableIter iter;
    gpointer blob;

    for (;;) {
        g_hash_table_iter_init(&iter, vr->blobs);
        if (!g_hash_table_iter_next(&iter, NULL, &blob)) {
            break;
        }
        blob_drop(vr, blob);
    }
}

/* --- commands ------------------------------------------------------------ */

/* What it is called between us and the worker. Of Venus many have the same blob id. */
static uint64_t id_of(const VgpuContext *ctx,
                      const struct virtio_gpu_resource_create_blob *in)
{
    return ctx->venus ? in->resource_id : in->blob_id;
}

/* Returns 0 or the error to answer with. */
static uint32_t check_create(VgpuRemote *vr, const VgpuContext *ctx,
                             const struct virtio_gpu_resource_create_blob *in)
{
    uint64_t id = ctx ? id_of(ctx, in) : 0;

    if (vgpu_virgl_is_taken(vr, in->resource_id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (in->blob_mem != VIRTIO_GPU_BLOB_MEM_HOST3D || in->nr_entries != 0 ||
        (ctx && id == 0) || in->size == 0 || in->size > VGPU_BLOB_SIZE_MAX) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    /* Nor is it one of the guest's own driver: see vgpu-remote-virgl-blob.c. */
    if (!ctx || ctx->sock < 0) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (g_hash_table_lookup(ctx->blobs, &id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (g_hash_table_size(ctx->blobs) >= VGPU_BLOBS_MAX) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    return 0;
}

static VgpuBlob *blob_new(VgpuContext *ctx,
                          const struct virtio_gpu_resource_create_blob *in)
{
    VgpuBlob *blob = g_new0(VgpuBlob, 1);

    blob->resource = in->resource_id;
    blob->id = id_of(ctx, in);
    blob->size = ROUND_UP(in->size, qemu_real_host_page_size());
    blob->ctx = ctx;
    blob->state = VGPU_BLOB_ASKED;
    blob->fd = -1;
    return blob;
}

/* Returns 0, or what a handler is to return. */
static uint32_t ask(VgpuContext *ctx, const VgpuBlob *blob,
                    const struct virtio_gpu_resource_create_blob *c)
{
    struct proto_blob_create m = {
        .type = PROTO_BLOB_CREATE, .blob = blob->id, .size = blob->size,
    };

    if (ctx->venus) {
        return vgpu_venus_blob_create(ctx, blob, c);
    }
    return vgpu_context_send(ctx, &m, -1)
               ? 0 : VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
}

uint32_t vgpu_blob_create(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                          const VgpuCommand *in)
{
    const struct virtio_gpu_resource_create_blob *c = &in->create_blob;
    VgpuContext *ctx = vgpu_context_find(vr, in->hdr.ctx_id);
    uint32_t error;
    VgpuBlob *blob;

    if (c->blob_mem == VIRTIO_GPU_BLOB_MEM_GUEST) {
        return vgpu_virgl_blob_create(vr, cmd, c);
    }
    error = check_create(vr, ctx, c);
    if (error) {
        return error;
    }
    if (!vgpu_charge(vr, 1)) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    blob = blob_new(ctx, c);
    error = ask(ctx, blob, c);
    if (error) {
        g_free(blob);
        vgpu_uncharge(vr, 1);
        return error;
    }
    trace_vgpu_remote_blob_create(ctx->id, blob->resource, blob->id, blob->size);
    vgpu_hold(vr, ctx->name, &error_abort); /* as its context does */
    g_hash_table_insert(vr->blobs, GUINT_TO_POINTER(blob->resource), blob);
    g_hash_table_insert(ctx->blobs, &blob->id, blob);
    QTAILQ_INSERT_TAIL(&ctx->asked, blob, next);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Whether @size bytes at @offset are free pages of the window. */
static bool is_free(VgpuRemote *vr, uint64_t offset, uint64_t size)
{
    uint64_t hostmem = VIRTIO_GPU_BASE(vr)->conf.hostmem;

    return QEMU_IS_ALIGNED(offset, qemu_real_host_page_size()) &&
           offset < hostmem && size <= hostmem - offset &&
           !interval_tree_iter_first(&vr->mapped, offset, offset + size - 1);
}

uint32_t vgpu_blob_map(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                       const VgpuCommand *in)
{
    VgpuBlob *blob = lookup(vr, in->map_blob.resource_id);
    uint64_t offset = in->map_blob.offset;
    struct virtio_gpu_resp_map_info info = {
        .hdr.type = VIRTIO_GPU_RESP_OK_MAP_INFO,
        .map_info = VIRTIO_GPU_MAP_CACHE_CACHED,
    };

    if (!blob) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (blob->mapped || !is_free(vr, offset, blob->size)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    switch (blob->state) {
    case VGPU_BLOB_ASKED:
        return vgpu_stall(vr, blob->ctx);
    case VGPU_BLOB_FAILED:
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    case VGPU_BLOB_READY:
        break;
    }
    if (!window_map(vr, blob, offset)) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    trace_vgpu_remote_blob_map(blob->resource, offset, blob->size);
    virtio_gpu_ctrl_response(VIRTIO_GPU(vr), cmd, &info.hdr, sizeof(info));
    return VGPU_ANSWERED;
}

uint32_t vgpu_blob_unmap(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                         const VgpuCommand *in)
{
    VgpuBlob *blob = lookup(vr, in->unmap_blob.resource_id);

    if (!blob) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!blob->mapped) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    trace_vgpu_remote_blob_unmap(blob->resource);
    window_unmap(vr, blob);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vgpu_blob_unref(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                         const VgpuCommand *in)
{
    VgpuBlob *blob = lookup(vr, in->unref.resource_id);

    if (!blob) {
        return VGPU_2D;
    }
    if (blob->ctx && blob->ctx->venus && blob->ctx->sock >= 0 &&
        vgpu_venus_blob_destroy(blob->ctx, blob->resource) == VGPU_STALL) {
        return VGPU_STALL;
    }
    blob_drop(vr, blob);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* 2D resources and blobs share the guest's ids. */
uint32_t vgpu_blob_or_2d(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                         const VgpuCommand *in)
{
    return lookup(vr, in->create_2d.resource_id) ||
           vgpu_virgl_find(vr, in->create_2d.resource_id)
               ? VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID : VGPU_2D;
}

/* --- storage ------------------------------------------------------------- */

void vgpu_blobs_init(VgpuRemote *vr)
{
    vr->blobs = g_hash_table_new(NULL, NULL);
}

void vgpu_blobs_finish(VgpuRemote *vr)
{
    g_clear_pointer(&vr->blobs, g_hash_table_destroy);
}
