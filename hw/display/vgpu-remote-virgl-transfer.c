/*
 * Transfers of the emulated GPU: boxes of a resource, between guest pages and staging
 * memory.
 *
 * An upload is copied when its command comes; since that is a snapshot, the guest may
 * have its pages back at once, and its fence need not wait. What is read back is
 * copied when the worker has completed it. A large upload whose pages the worker has
 * mapped (vgpu-remote-virgl-pages.c) is not copied: it names them, and its fence waits
 * until they have been read. Without a fence nobody could tell the guest: then it is copied.
 *
 * Only the box is copied, row by row, and lies in staging memory without gaps. A stock
 * driver does not say where its rows are: they are where the format and the
 * resource's size put them. Where the format is not known, or rows are so many that
 * going through them would take long, the bytes between them travel along: an upload
 * is then all that may be in the box, and a readback begins with what the guest has
 * there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "api/virgl_format.h"
#include "qemu/iov.h"
#include "trace/trace-hw_display_vgpu_remote.h"

#define ROWS_MAX 65536

/* --- where a box is ------------------------------------------------------ */

static bool is_buffer(const VgpuVirglResource *r)
{
    return r->args.target == 0;
}

/*
 * Fills in @l: bytes and rows of the box as the guest has them. False: nobody knows.
 * A box that is not within the resource is for the worker to refuse.
 */
static bool layout_of(const VgpuVirglResource *r,
                      const struct virtio_gpu_transfer_host_3d *c,
                      VgpuLayout *l)
{
    struct virgl_block block = virgl_format_block(r->args.format);
    uint32_t level = MIN(c->level, 31);
    uint32_t width = MAX(r->args.width >> level, 1);
    uint32_t height = MAX(r->args.height >> level, 1);

    if (is_buffer(r)) {
        *l = (VgpuLayout) { .row = c->box.w, .rows = 1, .layers = 1 };
        return true;
    }
    l->row = (uint64_t)virgl_blocks(MAX(c->box.w, 1), block.w) * block.bytes;
    l->rows = virgl_blocks(MAX(c->box.h, 1), block.h);
    l->layers = MAX(c->box.d, 1);
    l->stride = c->stride ? c->stride
                          : (uint64_t)virgl_blocks(width, block.w) * block.bytes;
    l->layer_stride = c->layer_stride
                          ? c->layer_stride
                          : l->stride * virgl_blocks(height, block.h);
    return block.bytes != 0;
}

/* From its first byte to its last. 0: that is no number, or rows overlap. */
static uint64_t span_of(const VgpuLayout *l)
{
    uint64_t layer, layers;

    if ((l->rows > 1 && l->stride < l->row) ||
        __builtin_mul_overflow(l->stride, l->rows - 1, &layer) ||
        __builtin_add_overflow(layer, l->row, &layer) ||
        (l->layers > 1 && l->layer_stride < layer) ||
        __builtin_mul_overflow(l->layer_stride, l->layers - 1, &layers) ||
        __builtin_add_overflow(layers, layer, &layers)) {
        return 0;
    }
    return layers;
}

/* As few rows as there can be: what is without gaps is one. */
static void join_rows(VgpuLayout *l)
{
    if (l->rows == 1 || l->stride == l->row) {
        l->row *= l->rows;
        l->rows = 1;
        if (l->layers == 1 || l->layer_stride == l->row) {
            l->row *= l->layers;
            l->layers = 1;
        }
    }
}

/* Fills in the job's layout, and @bytes from its first to its last. 0 or an error. */
static uint32_t lay_out(VgpuJob *job, const VgpuVirglResource *r,
                        const struct virtio_gpu_transfer_host_3d *c,
                        uint64_t left, uint64_t *bytes)
{
    VgpuLayout *l = &job->layout;
    uint64_t span = left;

    if (layout_of(r, c, l)) {
        span = span_of(l);
        if (span == 0 || span > left) {
            return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        }
        job->whole = l->rows > ROWS_MAX || l->layers > ROWS_MAX / l->rows;
    } else {
        job->whole = true;
    }
    *bytes = span;
    return 0;
}

/* In staging memory, without gaps. Fills in the strides that the worker is told. */
static void pack(VgpuJob *job, const VgpuVirglResource *r,
                 const struct virtio_gpu_transfer_host_3d *c, uint64_t span)
{
    VgpuLayout *l = &job->layout;

    if (job->whole) {
        job->transfer.stride = c->stride;
        job->transfer.layer_stride = c->layer_stride;
        *l = (VgpuLayout) { .row = span, .rows = 1, .layers = 1 };
    } else if (!is_buffer(r)) {
        job->transfer.stride = l->row;
        job->transfer.layer_stride = l->row * l->rows;
    }
    join_rows(l);
}

/* What is worth more than a copy, and than an answer at once. */
static bool is_large(const VgpuJob *job)
{
    const VgpuLayout *l = &job->layout;

    return l->row * l->rows * l->layers > VGPU_VIRGL_QUICK_MAX;
}

/*
 * In the guest's pages, if the worker has them. It is told strides that are as
 * virglrenderer wants them: no layer begins before the rows of the last one end.
 */
static bool place(VgpuJob *job, const VgpuVirglResource *r,
                  const VgpuBacking *b, uint64_t span)
{
    const VgpuLayout *l = &job->layout;
    uint64_t stride = l->rows > 1 ? l->stride : l->row;
    uint64_t layer = l->layers > 1 ? l->layer_stride : stride * l->rows;

    if (b->pages != VGPU_PAGES_THERE || job->whole || !is_large(job) ||
        span > VGPU_VIRGL_TRANSFER_MAX || layer < stride * l->rows) {
        return false;
    }
    if (!is_buffer(r)) {
        job->transfer.stride = stride;
        job->transfer.layer_stride = layer;
    }
    job->transfer.data = (struct wire_span) { b->id, job->offset, span };
    job->in_place = true;
    return true;
}

/* --- copying ------------------------------------------------------------- */

void vgpu_cursor_skip(VgpuCursor *c, uint64_t bytes)
{
    c->at += bytes;
    while (c->n && c->at >= c->iov->iov_len) {
        c->at -= c->iov->iov_len;
        c->iov++;
        c->n--;
    }
}

/* All rows of the job's box, out of guest pages or into them. */
static void copy(const VgpuBacking *b, const VgpuJob *job, bool to_guest)
{
    const VgpuLayout *l = &job->layout;
    VgpuCursor layer = { b->iov, b->n, 0 };
    char *data = job->data;

    vgpu_cursor_skip(&layer, job->offset);
    for (uint64_t z = 0; z < l->layers; z++) {
        VgpuCursor row = layer;

        for (uint64_t y = 0; y < l->rows; y++, data += l->row) {
            if (to_guest) {
                iov_from_buf(row.iov, row.n, row.at, data, l->row);
            } else {
                iov_to_buf(row.iov, row.n, row.at, data, l->row);
            }
            vgpu_cursor_skip(&row, l->stride);
        }
        vgpu_cursor_skip(&layer, l->layer_stride);
    }
}

/* --- transfers ----------------------------------------------------------- */

/*
 * A box of @c's resource, whose bytes are in @b from @c's offset on. Fills in @job.
 * @in_place: or there they stay. Returns 0 or an error.
 */
static uint32_t prepare(VgpuRemote *vr, VgpuJob *job,
                        const struct virtio_gpu_transfer_host_3d *c,
                        const VgpuBacking *b, bool in_place)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, c->resource_id);
    uint64_t span;
    uint32_t error;

    /* A blob is the guest's memory on either side. */
    if (!b || c->offset >= b->size || vgpu_virgl_is_blob(r)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    error = vgpu_virgl_context_begin(vr, c->hdr.ctx_id);
    if (error) {
        return error;
    }
    if (r->generation != vr->virgl.generation) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    job->offset = c->offset;
    job->transfer = (struct virgl_transfer) {
        .context = c->hdr.ctx_id,
        .resource = c->resource_id,
        .level = c->level,
        .x = c->box.x, .y = c->box.y, .z = c->box.z,
        .w = c->box.w, .h = c->box.h, .d = c->box.d,
    };
    error = lay_out(job, r, c, b->size - c->offset, &span);
    if (error || (in_place && place(job, r, b, span))) {
        return error;
    }
    pack(job, r, c, span);
    return vgpu_staging_alloc(vr, job, job->layout.row * job->layout.rows *
                              job->layout.layers);
}

/* Begin its message; the caller has the bytes, and ends it. */
static uint32_t send_transfer(VgpuRemote *vr, VgpuJob *job, VgpuMessage *m)
{
    uint32_t error = vgpu_virgl_begin(vr, m, VIRGL_TRANSFER_BYTES, job);

    if (error) {
        if (!job->in_place) {
            vgpu_staging_undo(vr, job);
        }
        return error;
    }
    virgl_put_transfer(&m->out, &job->transfer);
    return 0;
}

static void answer_held(VgpuRemote *vr, VgpuJob *job,
                        const struct virgl_done *done)
{
    if (job->held) {
        vgpu_held_done(vr, job->held, done->status
                                          ? VIRTIO_GPU_RESP_ERR_UNSPEC
                                          : VIRTIO_GPU_RESP_OK_NODATA);
    }
}

static void put_done(VgpuRemote *vr, VgpuJob *job,
                     const struct virgl_done *done)
{
    if (job->in_place) {
        job->backing->readers--;
    }
    answer_held(vr, job, done);
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

static uint32_t find(VgpuRemote *vr, uint32_t id, VgpuVirglResource **r)
{
    *r = vgpu_virgl_find(vr, id);
    return !vr->virgl.offers ? VIRTIO_GPU_RESP_ERR_UNSPEC
           : !*r ? VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID : 0;
}

/* The worker reads the pages: they are kept, and @cmd is held, if there is one. */
static void send_in_place(VgpuRemote *vr, VgpuMessage *m, enum virgl_call call,
                          VgpuBacking *b, struct virtio_gpu_ctrl_command *cmd)
{
    const struct virgl_transfer *x = &m->job->transfer;

    m->job->backing = b;
    b->refs++;
    b->readers++;
    m->job->held = cmd ? vgpu_held_add(vr, cmd) : NULL;
    trace_vgpu_remote_virgl_in_place(x->context, x->resource, x->data.size);
    vr->virgl.in_place += x->data.size;
    vgpu_virgl_end(vr, m, call);
}

static void send_copied(VgpuRemote *vr, VgpuMessage *m, enum virgl_call call,
                        VgpuBacking *b)
{
    const struct virgl_transfer *x = &m->job->transfer;
    bool large = is_large(m->job);

    copy(b, m->job, false);
    trace_vgpu_remote_virgl_upload(x->context, x->resource, x->data.size);
    vr->virgl.copied += x->data.size;
    vgpu_virgl_end(vr, m, call);
    if (large) {
        vgpu_pages_want(vr, b);
    }
}

/*
 * @fenced: the guest leaves the pages alone until it is told. @cmd: what is answered
 * then, or NULL: somebody else sees to that. Returns 0, VGPU_HELD, or what a handler is to.
 */
static uint32_t upload(VgpuRemote *vr, enum virgl_call call,
                       const struct virtio_gpu_transfer_host_3d *c,
                       VgpuBacking *b, bool fenced,
                       struct virtio_gpu_ctrl_command *cmd)
{
    VgpuJob job = { .done = put_done, .quick = true };
    VgpuMessage m;
    uint32_t error = prepare(vr, &job, c, b, fenced);

    job.wanted = job.in_place && cmd;
    if (!error) {
        error = send_transfer(vr, &job, &m);
    }
    if (error) {
        return error;
    }
    if (job.in_place) {
        send_in_place(vr, &m, call, b, cmd);
    } else {
        send_copied(vr, &m, call, b);
    }
    return job.wanted ? VGPU_HELD : 0;
}

uint32_t vgpu_virgl_upload(VgpuRemote *vr,
                           const struct virtio_gpu_transfer_host_3d *c,
                           bool fenced)
{
    VgpuVirglResource *r;
    uint32_t error = find(vr, c->resource_id, &r);

    return error ? error : upload(vr, VIRGL_PUT, c, r->backing, fenced, NULL);
}

uint32_t vgpu_virgl_copy(VgpuRemote *vr, uint32_t source,
                         const struct virtio_gpu_transfer_host_3d *c,
                         bool fenced)
{
    VgpuContext *ctx = vgpu_context_find_plain(vr, c->hdr.ctx_id);
    VgpuVirglResource *from, *to;
    uint32_t error = find(vr, source, &from);

    if (!error) {
        error = find(vr, c->resource_id, &to);
    }
    if (error) {
        return error;
    }
    /* Another context's pages are not for this one; the worker could not tell. */
    if (!ctx || from->attached != ctx->serial) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    return upload(vr, VIRGL_COPY, c, from->backing, fenced, NULL);
}

uint32_t vgpu_virgl_put(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                        const VgpuCommand *in)
{
    bool fenced = cmd->cmd_hdr.flags & VIRTIO_GPU_FLAG_FENCE;
    VgpuVirglResource *r;
    uint32_t error = find(vr, in->transfer_3d.resource_id, &r);

    if (!error) {
        error = upload(vr, VIRGL_PUT, &in->transfer_3d, r->backing, fenced,
                       cmd);
    }
    return error ? error : VIRTIO_GPU_RESP_OK_NODATA;
}

static void get_done(VgpuRemote *vr, VgpuJob *job,
                     const struct virgl_done *done)
{
    if (done->status == 0) {
        copy(job->backing, job, true);
    }
    answer_held(vr, job, done);
}

/*
 * The answer to a query that was refused, as its context is lost. A stock driver
 * would ask on for ever: it is never told of a loss. Then nothing was seen.
 */
static void answer_lost_query(const VgpuVirglResource *r)
{
    const struct virgl_query none = { .state = VIRGL_QUERY_DONE };

    if (is_buffer(r) && r->args.bind & VIRGL_BIND_CUSTOM &&
        r->args.width == sizeof(none) && r->backing) {
        iov_from_buf(r->backing->iov, r->backing->n, 0, &none, sizeof(none));
    }
}

uint32_t vgpu_virgl_get(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                        const VgpuCommand *in)
{
    bool fenced = cmd->cmd_hdr.flags & VIRTIO_GPU_FLAG_FENCE;
    VgpuJob job = { .done = get_done, .wanted = true, .quick = true };
    VgpuVirglResource *r;
    VgpuMessage m;
    uint32_t error = find(vr, in->transfer_3d.resource_id, &r);

    if (error) {
        return error;
    }
    error = prepare(vr, &job, &in->transfer_3d, r->backing, false);
    if (error == VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID ||
        error == VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) {
        answer_lost_query(r);
    }
    if (!error) {
        error = send_transfer(vr, &job, &m);
    }
    if (error) {
        return error;
    }
    m.job->backing = r->backing;
    r->backing->refs++;
    if (job.whole) {
        copy(r->backing, &job, false);
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
