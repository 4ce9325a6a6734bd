/*
 * Transfers of the emulated GPU: between guest pages and the worker's memory.
 *
 * The worker sees no guest memory, so that a VM with ordinary memory will do, and
 * so that there is nothing of the guest to be seen but what it sends. An upload
 * is copied, when its command comes, into staging memory that the device and the
 * worker share; since that is a snapshot, the guest may have its pages back at once,
 * and its fence need not wait. What is read back is copied when the worker has
 * completed it: only the bytes of the box, as the guest may be writing between
 * them.
 *
 * Staging memory is used round and round, and freed in order, as transfers are
 * completed in order. One that is too large for it gets memory of its own, and
 * the queue waits while that is made.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qemu/iov.h"
#include "trace/trace-hw_display_vgpu_remote.h"

#define ALIGN 64u

/* --- staging ------------------------------------------------------------- */

static void large_is_there(VgpuRemote *vr, void *opaque)
{
    if (vr->virgl.stalled) {
        vr->virgl.stalled = false;
        qemu_bh_schedule(vr->resume_bh);
    }
}

/* Memory for one transfer. Asked for, waited for, used, and given back. */
static uint32_t alloc_large(VgpuRemote *vr, VgpuJob *job, uint64_t size)
{
    VgpuVirgl *v = &vr->virgl;

    if (v->large_used) {
        return vgpu_virgl_stall(vr);
    }
    if (v->large && v->large->failed) {
        g_clear_pointer(&v->large, vgpu_memory_unref);
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    if (v->large && v->large->map && v->large->size < size) {
        vgpu_memory_give_back(vr, g_steal_pointer(&v->large));
    }
    if (!v->large) {
        v->large = vgpu_memory_ask(vr, size, large_is_there, NULL);
        return v->large ? vgpu_virgl_stall(vr)
                        : VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    if (!v->large->map) {
        return vgpu_virgl_stall(vr);
    }
    job->memory = v->large;
    job->data = v->large->map;
    job->transfer.data = (struct wire_span) { v->large->id, 0, size };
    v->large_used = true;
    return 0;
}

bool vgpu_staging_try(VgpuRemote *vr, VgpuJob *job, uint64_t size)
{
    VgpuVirgl *v = &vr->virgl;
    uint64_t n = ROUND_UP(size, ALIGN), at, skip;

    if (v->staging_head == v->staging_tail) {
        /* Where it was last: in some cache, with luck, and not paged in anew. */
        v->staging_tail = ROUND_UP(v->staging_tail, VGPU_VIRGL_STAGING);
        v->staging_head = v->staging_tail;
    }
    at = v->staging_tail % VGPU_VIRGL_STAGING;
    skip = n <= VGPU_VIRGL_STAGING - at ? 0 : VGPU_VIRGL_STAGING - at;
    if (v->staging_tail + skip + n - v->staging_head > VGPU_VIRGL_STAGING) {
        return false;
    }
    at = (at + skip) % VGPU_VIRGL_STAGING;
    job->staging_begin = v->staging_tail;
    v->staging_tail += skip + n;
    job->in_staging = true;
    job->staging_end = v->staging_tail;
    job->data = (char *)v->staging->map + at;
    job->transfer.data = (struct wire_span) { VIRGL_STAGING, at, size };
    return true;
}

uint32_t vgpu_staging_alloc(VgpuRemote *vr, VgpuJob *job, uint64_t size)
{
    uint32_t error = vgpu_virgl_ready(vr);

    if (error) {
        return error;
    }
    if (size > VGPU_VIRGL_TRANSFER_MAX) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    if (vr->quick && size > VGPU_VIRGL_QUICK_MAX) {
        return vgpu_defer(vr);
    }
    if (size > VGPU_VIRGL_STAGING / 2) {
        return alloc_large(vr, job, size);
    }
    return vgpu_staging_try(vr, job, size) ? 0 : vgpu_virgl_stall(vr);
}

void vgpu_staging_free(VgpuRemote *vr, VgpuJob *job)
{
    VgpuVirgl *v = &vr->virgl;

    if (job->in_staging) {
        v->staging_head = job->staging_end;
    } else if (job->memory && job->memory == v->large) {
        v->large_used = false;
        vgpu_memory_give_back(vr, g_steal_pointer(&v->large));
    }
}

void vgpu_staging_undo(VgpuRemote *vr, VgpuJob *job)
{
    if (job->in_staging) {
        vr->virgl.staging_tail = job->staging_begin;
    } else {
        vr->virgl.large_used = false; /* the next try takes it */
    }
}

/* --- guest pages --------------------------------------------------------- */

void vgpu_backing_unref(VgpuBacking *b)
{
    if (b && --b->refs == 0) {
        b->vr->virgl.n_pages -= b->n;
        virtio_gpu_cleanup_mapping_iov(VIRTIO_GPU(b->vr), b->iov, b->n);
        g_free(b);
    }
}

uint32_t vgpu_virgl_attach_backing(VgpuRemote *vr,
                                   struct virtio_gpu_ctrl_command *cmd,
                                   const VgpuCommand *in)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, in->attach_backing.resource_id);
    uint32_t entries = in->attach_backing.nr_entries;
    VgpuBacking *b;

    if (!r) {
        return VGPU_2D;
    }
    if (r->backing) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    if (entries > VGPU_VIRGL_PAGES_MAX - vr->virgl.n_pages) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    if (vr->quick && entries > VGPU_VIRGL_QUICK_PAGES) {
        return vgpu_defer(vr);
    }
    b = g_new0(VgpuBacking, 1);
    if (virtio_gpu_create_mapping_iov(VIRTIO_GPU(vr), entries,
                                      sizeof(in->attach_backing), cmd, NULL,
                                      &b->iov, &b->n) != 0) {
        g_free(b);
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    b->refs = 1;
    b->vr = vr;
    b->size = iov_size(b->iov, b->n);
    vr->virgl.n_pages += b->n;
    r->backing = b;
    return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vgpu_virgl_detach_backing(VgpuRemote *vr,
                                   struct virtio_gpu_ctrl_command *cmd,
                                   const VgpuCommand *in)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, in->detach_backing.resource_id);

    if (!r) {
        return VGPU_2D;
    }
    g_clear_pointer(&r->backing, vgpu_backing_unref);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* --- transfers ----------------------------------------------------------- */

static bool is_buffer(const VgpuVirglResource *r)
{
    return r->args.target == 0;
}

/*
 * How many bytes of the backing, from the transfer's offset on, the box is in. A
 * stock driver says how far apart rows and layers are; if not, all that is left.
 */
static uint64_t span_of(const VgpuVirglResource *r,
                        const struct virtio_gpu_transfer_host_3d *c)
{
    uint64_t left = r->backing->size - c->offset, n;

    if (is_buffer(r)) {
        return MIN(left, c->box.w);
    }
    if (c->stride == 0 || (c->box.d > 1 && c->layer_stride == 0)) {
        return left;
    }
    n = (uint64_t)c->stride * c->box.h;
    if (c->box.d > 1 &&
        __builtin_add_overflow(n, (uint64_t)c->layer_stride * (c->box.d - 1),
                               &n)) {
        return left;
    }
    return MIN(left, n);
}

/* Fills in @job. Returns 0 or an error. */
static uint32_t prepare(VgpuRemote *vr, VgpuJob *job,
                        const struct virtio_gpu_transfer_host_3d *c,
                        VgpuVirglResource **resource)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, c->resource_id);
    uint32_t error;

    if (!vr->virgl.offers) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    if (!r) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (!r->backing || c->offset >= r->backing->size) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    error = vgpu_virgl_context_begin(vr, c->hdr.ctx_id);
    if (error) {
        return error;
    }
    if (r->generation != vr->virgl.generation) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    *resource = r;
    job->offset = c->offset;
    job->transfer = (struct virgl_transfer) {
        .context = c->hdr.ctx_id,
        .resource = c->resource_id,
        .level = c->level,
        .stride = c->stride,
        .layer_stride = c->layer_stride,
        .x = c->box.x, .y = c->box.y, .z = c->box.z,
        .w = c->box.w, .h = c->box.h, .d = c->box.d,
    };
    return vgpu_staging_alloc(vr, job, span_of(r, c));
}

/* Begin its message; the caller has the bytes, and ends it. */
static uint32_t send_transfer(VgpuRemote *vr, VgpuJob *job, VgpuMessage *m)
{
    uint32_t error = vgpu_virgl_begin(vr, m, VIRGL_TRANSFER_BYTES, job);

    if (error) {
        vgpu_staging_undo(vr, job);
        return error;
    }
    virgl_put_transfer(&m->out, &job->transfer);
    return 0;
}

static void put_done(VgpuRemote *vr, VgpuJob *job,
                     const struct virgl_done *done)
{
}

uint32_t vgpu_virgl_send_copy(VgpuRemote *vr, VgpuJob *job, const void *data,
                              uint64_t size)
{
    VgpuMessage m;
    uint32_t error = vgpu_staging_alloc(vr, job, size);

    if (!error) {
        error = send_transfer(vr, job, &m);
    }
    if (!error) {
        memcpy(job->data, data, size);
        vgpu_virgl_end(vr, &m, VIRGL_PUT);
    }
    return error;
}

uint32_t vgpu_virgl_upload(VgpuRemote *vr,
                           const struct virtio_gpu_transfer_host_3d *c)
{
    VgpuJob job = { .done = put_done, .quick = true };
    VgpuVirglResource *r;
    VgpuMessage m;
    uint32_t error = prepare(vr, &job, c, &r);

    if (!error) {
        error = send_transfer(vr, &job, &m);
    }
    if (error) {
        return error;
    }
    iov_to_buf(r->backing->iov, r->backing->n, job.offset, job.data,
               job.transfer.data.size);
    trace_vgpu_remote_virgl_upload(c->hdr.ctx_id, c->resource_id,
                                   job.transfer.data.size);
    vgpu_virgl_end(vr, &m, VIRGL_PUT);
    return 0;
}

uint32_t vgpu_virgl_put(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                        const VgpuCommand *in)
{
    uint32_t error = vgpu_virgl_upload(vr, &in->transfer_3d);

    return error ? error : VIRTIO_GPU_RESP_OK_NODATA;
}

/* The box's rows, and nothing between them. */
static void copy_rows(const VgpuJob *job, uint32_t row, uint32_t rows)
{
    const struct virgl_transfer *t = &job->transfer;
    uint64_t size = t->data.size;

    for (uint64_t z = 0; z < MAX(t->d, 1); z++) {
        uint64_t at = z * t->layer_stride;

        for (uint64_t y = 0; y < rows && at < size; y++, at += t->stride) {
            iov_from_buf(job->backing->iov, job->backing->n, job->offset + at,
                         (char *)job->data + at, MIN(row, size - at));
        }
        if (t->layer_stride == 0) {
            break;
        }
    }
}

static void get_done(VgpuRemote *vr, VgpuJob *job,
                     const struct virgl_done *done)
{
    if (done->status == 0 && job->transfer.stride == 0 && done->b > 1) {
        iov_from_buf(job->backing->iov, job->backing->n, job->offset, job->data,
                     job->transfer.data.size);
    } else if (done->status == 0) {
        copy_rows(job, done->a, done->b);
    }
    if (job->held) {
        vgpu_held_done(vr, job->held, done->status
                                          ? VIRTIO_GPU_RESP_ERR_UNSPEC
                                          : VIRTIO_GPU_RESP_OK_NODATA);
    }
}

uint32_t vgpu_virgl_get(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                        const VgpuCommand *in)
{
    bool fenced = cmd->cmd_hdr.flags & VIRTIO_GPU_FLAG_FENCE;
    VgpuJob job = { .done = get_done, .wanted = true, .quick = true };
    VgpuVirglResource *r;
    VgpuMessage m;
    uint32_t error = prepare(vr, &job, &in->transfer_3d, &r);

    if (!error) {
        error = send_transfer(vr, &job, &m);
    }
    if (error) {
        return error;
    }
    m.job->backing = r->backing;
    r->backing->refs++;
    /* How far apart rows are is not known: all of it is copied back then. */
    if (job.transfer.stride == 0 && !is_buffer(r)) {
        iov_to_buf(r->backing->iov, r->backing->n, job.offset, job.data,
                   job.transfer.data.size);
    }
    m.job->held = fenced ? vgpu_held_add(vr, cmd) : NULL;
    trace_vgpu_remote_virgl_download(in->hdr.ctx_id, r->args.id,
                                     job.transfer.data.size);
    if (vr->quick) {
        vr->virgl.awaited = m.job->held;
    }
    vgpu_virgl_end(vr, &m, VIRGL_GET);
    return fenced ? VGPU_HELD : VIRTIO_GPU_RESP_OK_NODATA;
}
