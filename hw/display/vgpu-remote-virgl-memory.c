/*
 * Memory of the emulated GPU: guest pages of resources, and what the device shares
 * with the worker.
 *
 * What is transferred goes through staging memory, so that a VM with ordinary memory will
 * do; where it is shared, the worker may read pages of a backing itself, and sees no others
 * (vgpu-remote-virgl-pages.c). Staging memory is used round and round, and freed in
 * order, as transfers are completed in order. One that is too large for it gets memory
 * of its own, and the queue waits while that is made.
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
        vgpu_pages_drop(b->vr, b);
        b->vr->virgl.n_pages -= b->n;
        virtio_gpu_cleanup_mapping_iov(VIRTIO_GPU(b->vr), b->iov, b->n);
        g_free(b);
    }
}

bool vgpu_backing_is_read(const VgpuBacking *b)
{
    return b && b->readers;
}

uint32_t vgpu_backing_take(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                           uint32_t entries, size_t at, VgpuBacking **backing)
{
    VgpuBacking *b;

    if (entries > VGPU_VIRGL_PAGES_MAX - vr->virgl.n_pages) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    if (vr->quick && entries > VGPU_VIRGL_QUICK_PAGES) {
        return vgpu_defer(vr);
    }
    b = g_new0(VgpuBacking, 1);
    if (virtio_gpu_create_mapping_iov(VIRTIO_GPU(vr), entries, at, cmd, NULL,
                                      &b->iov, &b->n) != 0) {
        g_free(b);
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    b->refs = 1;
    b->vr = vr;
    b->size = iov_size(b->iov, b->n);
    vr->virgl.n_pages += b->n;
    *backing = b;
    return 0;
}

uint32_t vgpu_virgl_attach_backing(VgpuRemote *vr,
                                   struct virtio_gpu_ctrl_command *cmd,
                                   const VgpuCommand *in)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, in->attach_backing.resource_id);
    uint32_t error;

    if (!r) {
        return VGPU_2D;
    }
    if (r->backing) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    error = vgpu_backing_take(vr, cmd, in->attach_backing.nr_entries,
                              sizeof(in->attach_backing), &r->backing);
    return error ? error : VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t vgpu_virgl_detach_backing(VgpuRemote *vr,
                                   struct virtio_gpu_ctrl_command *cmd,
                                   const VgpuCommand *in)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, in->detach_backing.resource_id);

    if (!r) {
        return VGPU_2D;
    }
    if (vgpu_virgl_is_blob(r)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER; /* it is nothing else */
    }
    if (vgpu_backing_is_read(r->backing)) {
        return vgpu_virgl_stall(vr);
    }
    g_clear_pointer(&r->backing, vgpu_backing_unref);
    return VIRTIO_GPU_RESP_OK_NODATA;
}
