/*
 * Submissions of the emulated GPU: virgl's commands, as the guest's driver made them.
 *
 * They go to the worker as they are, but for those that name guest memory, whose
 * addresses are the guest's: uploads, which a stock driver puts in front, become PUTs, and
 * copies out of a buffer of guest pages, anywhere among the others, COPYs. What is
 * between those are submissions of their own. The guest's pages are read when the
 * submission comes, or by the worker: the guest leaves them alone until its fence. Without
 * a fence they are read at once.
 *
 * If there is no room for all of it, the queue waits, and goes on where it was.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qemu/iov.h"
#include "trace/trace-hw_display_vgpu_remote.h"

/* What is left of a submission, in guest memory, which may change at any time. */
typedef struct Stream {
    VgpuCursor at;
    uint32_t left;
} Stream;

static bool peek(const Stream *s, uint32_t *words, uint32_t n)
{
    return s->left >= n * 4 &&
           iov_to_buf(s->at.iov, s->at.n, s->at.at, words, n * 4) == n * 4;
}

static void skip(Stream *s, uint32_t bytes)
{
    bytes = MIN(bytes, s->left);
    vgpu_cursor_skip(&s->at, bytes);
    s->left -= bytes;
}

/* Bytes of the command that @word begins. */
static uint32_t command_bytes(uint32_t word)
{
    return 4 * (1 + virgl_stream_words(word));
}

static bool peek_command(const Stream *s, uint32_t command, uint32_t *words,
                         uint32_t n)
{
    return peek(s, words, n) && virgl_stream_command(words[0]) == command &&
           command_bytes(words[0]) == 4 * n;
}

/* --- what names guest memory --------------------------------------------- */

#define UPLOAD (1 + VIRGL_STREAM_TRANSFER_WORDS)
#define COPY   (1 + VIRGL_STREAM_COPY_WORDS)

static bool peek_upload(const Stream *s, uint32_t *w)
{
    return peek_command(s, VIRGL_STREAM_TRANSFER, w, UPLOAD) &&
           w[13] == VIRGL_STREAM_TO_HOST;
}

static bool peek_copy(const Stream *s, uint32_t *w)
{
    return peek_command(s, VIRGL_STREAM_COPY, w, COPY);
}

/* Both begin alike. */
static struct virtio_gpu_transfer_host_3d transfer_of(uint32_t context,
                                                      const uint32_t *w,
                                                      uint64_t offset)
{
    return (struct virtio_gpu_transfer_host_3d) {
        .hdr.ctx_id = context,
        .resource_id = w[1],
        .level = w[2],
        .stride = w[4],
        .layer_stride = w[5],
        .box = { w[6], w[7], w[8], w[9], w[10], w[11] },
        .offset = offset,
    };
}

/*
 * Upload @w, with which @s begins. One that is repeated is left to the last: all copy
 * what is there now. A stock driver queues one each time that a program replaces a
 * texture's contents.
 */
static uint32_t upload(VgpuRemote *vr, uint32_t context, Stream s,
                       const uint32_t *w, bool fenced)
{
    struct virtio_gpu_transfer_host_3d c = transfer_of(context, w, w[12]);
    uint32_t next[UPLOAD];

    skip(&s, sizeof(next));
    return peek_upload(&s, next) && memcmp(w, next, sizeof(next)) == 0
               ? 0 : vgpu_virgl_upload(vr, &c, fenced);
}

static uint32_t copy(VgpuRemote *vr, uint32_t context, const uint32_t *w,
                     bool fenced)
{
    struct virtio_gpu_transfer_host_3d c = transfer_of(context, w, w[13]);

    return w[14] & VIRGL_STREAM_COPY_FROM_HOST
               ? VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER /* it is not offered */
               : vgpu_virgl_copy(vr, w[12], &c, fenced);
}

/*
 * Bytes of the commands up to the next that names guest memory. Without anything to
 * copy from, there are none behind the uploads in front.
 */
static uint32_t bytes_for_worker(VgpuRemote *vr, Stream s)
{
    uint32_t left = s.left, w[COPY];

    if (vr->virgl.n_sources == 0) {
        return left;
    }
    do {
        skip(&s, peek(&s, w, 1) ? command_bytes(w[0]) : s.left);
    } while (s.left && !peek_upload(&s, w) && !peek_copy(&s, w));
    return left - s.left;
}

/* --- the whole ----------------------------------------------------------- */

static void submit_done(VgpuRemote *vr, VgpuJob *job,
                        const struct virgl_done *done)
{
    if (job->held) {
        vgpu_held_done(vr, job->held, done->status
                                          ? VIRTIO_GPU_RESP_ERR_UNSPEC
                                          : VIRTIO_GPU_RESP_OK_NODATA);
    }
}

/* The next @size bytes. @cmd: hold that until they are done with; or NULL. */
static uint32_t send_part(VgpuRemote *vr, uint32_t context, const Stream *s,
                     uint32_t size, struct virtio_gpu_ctrl_command *cmd)
{
    VgpuJob job = { .done = submit_done, .wanted = true, .quick = true };
    VgpuMessage m;
    uint32_t error = vgpu_virgl_begin(vr, &m, 16 + ROUND_UP(size, 8),
                                      cmd ? &job : NULL);

    if (error) {
        return error;
    }
    wire_put(&m.out, context);
    wire_put(&m.out, size);
    iov_to_buf(s->at.iov, s->at.n, s->at.at, m.out.p, size);
    m.out.p += size;
    if (cmd) {
        m.job->held = vgpu_held_add(vr, cmd);
    }
    trace_vgpu_remote_virgl_submit(context, size, cmd != NULL);
    vgpu_virgl_end(vr, &m, VIRGL_SUBMIT);
    return 0;
}

/* All that is left. Counts what has gone, for the case that the rest has to wait. */
static uint32_t send_all(VgpuRemote *vr, uint32_t context, Stream *s,
                         struct virtio_gpu_ctrl_command *fenced)
{
    for (;;) {
        uint32_t w[COPY], size, error = 0;

        if (peek_upload(s, w)) {
            size = 4 * UPLOAD;
            error = upload(vr, context, *s, w, fenced);
        } else if (peek_copy(s, w)) {
            size = 4 * COPY;
            error = copy(vr, context, w, fenced);
        } else if (peek(s, w, 1) &&
                   virgl_stream_command(w[0]) == VIRGL_STREAM_END_TRANSFERS) {
            size = command_bytes(w[0]); /* which is nothing but padding */
        } else {
            size = bytes_for_worker(vr, *s);
            if (size == s->left) {
                return send_part(vr, context, s, size, fenced);
            }
            error = send_part(vr, context, s, size, NULL);
        }
        if (error) {
            return error;
        }
        skip(s, size);
        vr->virgl.submitted += size;
    }
}

static uint32_t submit(VgpuRemote *vr, uint32_t context, Stream *s,
                       struct virtio_gpu_ctrl_command *fenced)
{
    VgpuVirgl *v = &vr->virgl;
    uint32_t error = vgpu_virgl_context_begin(vr, context);

    if (!error && v->submitted > s->left) {
        error = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER; /* it has shrunk */
    }
    if (!error && v->submitted == 0) {
        error = vgpu_twins_update(vr);
    }
    if (error) {
        return error;
    }
    skip(s, v->submitted);
    return send_all(vr, context, s, fenced);
}

uint32_t vgpu_virgl_submit(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                           const VgpuCommand *in)
{
    uint32_t size = in->submit.size, error;
    bool fenced = cmd->cmd_hdr.flags & VIRTIO_GPU_FLAG_FENCE;
    Stream s = { { cmd->elem.out_sg, cmd->elem.out_num, 0 }, size };

    if (size > VIRGL_SUBMIT_MAX || size % 4 ||
        iov_size(s.at.iov, s.at.n) < sizeof(in->submit) + size) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (vr->quick && size > VGPU_VIRGL_QUICK_MAX) {
        return vgpu_defer(vr);
    }
    vgpu_cursor_skip(&s.at, sizeof(in->submit));
    error = submit(vr, in->hdr.ctx_id, &s, fenced ? cmd : NULL);
    if (error == VGPU_STALL) {
        return error;
    }
    vr->virgl.submitted = 0;
    return error ? error : fenced ? VGPU_HELD : VIRTIO_GPU_RESP_OK_NODATA;
}
