/*
 * vgpu-remote, the device itself: its life, and the way of a command.
 *
 * A virtio-gpu pops commands off its control queue and gives them, in order,
 * to process_cmd. Ours looks them up in a table; what is not in it, or says
 * so, goes to virtio-gpu's own 2D. A command ends in one of three ways: it is
 * answered at once; it carries a fence and is held until its ring has moved on
 * (vgpu-remote-fence.c); or it needs a worker's word first (mapping a blob
 * that is still being made), and then the queue is suspended, with a limit,
 * and the command is processed again.
 *
 * The guest sees virgl's feature bit because without it no stock driver makes
 * contexts, but the parent's own flags for virgl and blobs are never set: they
 * would ask for a display with OpenGL, for udmabuf, and block migration for
 * ever.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-bus.h"
#include "hw/virtio/virtio-gpu-bswap.h"
#include "migration/qemu-file-types.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "trace/trace-hw_display_vgpu_remote.h"

#define QUEUE_MIN       VGPU_REMOTE_HELD_DEVICE

/* --- suspending the queue ------------------------------------------------ */

/* Venus makes blobs between a guest's calls, which may compile, say. */
static int64_t stall_ms(const VgpuRemote *vr, const VgpuContext *ctx)
{
    return !ctx->started ? VGPU_REMOTE_START_MS
                         : ctx->venus ? vr->virgl.hang_ms : VGPU_REMOTE_STALL_MS;
}

uint32_t vgpu_stall(VgpuRemote *vr, VgpuContext *ctx)
{
    if (vr->stalled != ctx) {
        trace_vgpu_remote_stall(ctx->id);
        vr->stalled = ctx;
        timer_mod(vr->stall_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  stall_ms(vr, ctx));
    }
    return VGPU_STALL;
}

/* By a bottom half: whoever calls this may still hold a pointer to a context. */
void vgpu_moved_on(VgpuContext *ctx)
{
    VgpuRemote *vr = ctx->vr;

    if (vr->stalled == ctx) {
        trace_vgpu_remote_resume(ctx->id);
        vr->stalled = NULL;
        timer_del(vr->stall_timer);
        qemu_bh_schedule(vr->resume_bh);
    }
}

uint32_t vgpu_defer(VgpuRemote *vr)
{
    qemu_bh_schedule(vr->resume_bh);
    return VGPU_STALL;
}

static void resume(void *opaque)
{
    vgpu_screens_unblocked(VGPU_REMOTE_DEVICE(opaque));
    virtio_gpu_process_cmdq(opaque);
}

static void stall_is_over(void *opaque)
{
    VgpuRemote *vr = opaque;

    if (vr->stalled) {
        vgpu_context_lose(vr->stalled, RING_FATAL_WORKER,
                          "its worker does not answer");
    }
}

/* --- capsets ------------------------------------------------------------- */

/*
 * All from copies: a stock driver that waits 5 s for them does without 3D. Ours
 * is constant, virgl's and Venus' came from a worker when the device was made.
 */
static uint32_t get_capset_info(VgpuRemote *vr,
                                struct virtio_gpu_ctrl_command *cmd,
                                const VgpuCommand *in)
{
    struct virtio_gpu_resp_capset_info info = {
        .hdr.type = VIRTIO_GPU_RESP_OK_CAPSET_INFO,
    };
    const VgpuVirgl *v = &vr->virgl;
    uint32_t index = in->capset_info.capset_index;

    if (vr->offers && index == 0) {
        info.capset_id = VGPU_CAPSET_ID;
        info.capset_max_version = VGPU_CAPSET_VERSION;
        info.capset_max_size = sizeof(struct vgpu_capset);
    } else if (v->offers && index == vr->offers) {
        info.capset_id = VIRGL_CAPSET_ID;
        info.capset_max_version = v->caps_version;
        info.capset_max_size = v->caps_size;
    } else if (v->venus_size && index == vr->offers + 1) {
        info.capset_id = VENUS_CAPSET_ID;
        info.capset_max_version = v->venus_version;
        info.capset_max_size = v->venus_size;
    } else {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    virtio_gpu_ctrl_response(VIRTIO_GPU(vr), cmd, &info.hdr, sizeof(info));
    return VGPU_ANSWERED;
}

static uint32_t get_capset(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                           const VgpuCommand *in)
{
    const VgpuVirgl *v = &vr->virgl;
    struct {
        struct virtio_gpu_ctrl_hdr hdr;
        union {
            struct vgpu_capset ours;
            uint8_t virgl[VIRGL_CAPS_MAX];
            uint8_t venus[VENUS_CAPS_MAX];
        };
    } answer = {
        .hdr.type = VIRTIO_GPU_RESP_OK_CAPSET,
    };
    uint32_t id = in->capset.capset_id, version = in->capset.capset_version;
    size_t size;

    if (vr->offers && id == VGPU_CAPSET_ID && version == VGPU_CAPSET_VERSION) {
        answer.ours.magic = VGPU_CAPSET_MAGIC;
        answer.ours.protocol_version = VGPU_PROTOCOL_VERSION;
        answer.ours.memory_max = VIRTIO_GPU_BASE(vr)->conf.hostmem;
        size = sizeof(answer.ours);
    } else if (v->offers && id == VIRGL_CAPSET_ID &&
               version <= v->caps_version) { /* stock drivers say 0 */
        memcpy(answer.virgl, v->caps, v->caps_size);
        size = v->caps_size;
    } else if (v->venus_size && id == VENUS_CAPSET_ID &&
               version <= v->venus_version) {
        memcpy(answer.venus, v->venus_caps, v->venus_size);
        size = v->venus_size;
    } else {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    virtio_gpu_ctrl_response(VIRTIO_GPU(vr), cmd, &answer.hdr,
                             sizeof(answer.hdr) + size);
    return VGPU_ANSWERED;
}

/* --- the way of a command ------------------------------------------------ */

#define COMMAND(_type, _member, _handler, ...)                 \
    {                                                          \
        .type = VIRTIO_GPU_CMD_##_type,                        \
        .size = sizeof_field(VgpuCommand, _member),            \
        .handle = _handler, __VA_ARGS__                        \
    }
#define QUICK .quick = true

static const struct command {
    uint32_t type;
    uint32_t size; /* of the fixed part; less is refused */
    VgpuHandler *handle;
    bool quick; /* may be handled in the thread that rang */
} commands[] = {
    COMMAND(GET_CAPSET_INFO, capset_info, get_capset_info),
    COMMAND(GET_CAPSET, capset, get_capset),
    COMMAND(CTX_CREATE, ctx_create, vgpu_context_create),
    COMMAND(CTX_DESTROY, ctx_destroy, vgpu_context_destroy),
    COMMAND(CTX_ATTACH_RESOURCE, ctx_resource, vgpu_context_resource, QUICK),
    COMMAND(CTX_DETACH_RESOURCE, ctx_resource, vgpu_context_resource, QUICK),
    COMMAND(SUBMIT_3D, submit, vgpu_context_submit, QUICK),
    COMMAND(RESOURCE_CREATE_2D, create_2d, vgpu_blob_or_2d),
    COMMAND(RESOURCE_UNREF, unref, vgpu_virgl_resource_unref),
    COMMAND(RESOURCE_CREATE_BLOB, create_blob, vgpu_blob_create),
    COMMAND(RESOURCE_MAP_BLOB, map_blob, vgpu_blob_map),
    COMMAND(RESOURCE_UNMAP_BLOB, unmap_blob, vgpu_blob_unmap),
    COMMAND(RESOURCE_CREATE_3D, create_3d, vgpu_virgl_resource_create, QUICK),
    COMMAND(RESOURCE_ATTACH_BACKING, attach_backing, vgpu_virgl_attach_backing,
            QUICK),
    COMMAND(RESOURCE_DETACH_BACKING, detach_backing, vgpu_virgl_detach_backing),
    COMMAND(TRANSFER_TO_HOST_3D, transfer_3d, vgpu_virgl_put, QUICK),
    COMMAND(TRANSFER_FROM_HOST_3D, transfer_3d, vgpu_virgl_get, QUICK),
    COMMAND(SET_SCANOUT, set_scanout, vgpu_virgl_set_scanout),
    COMMAND(SET_SCANOUT_BLOB, set_scanout_blob, vgpu_virgl_set_scanout_blob),
    COMMAND(RESOURCE_FLUSH, flush, vgpu_virgl_flush),
};

static const struct command *find_command(VgpuRemote *vr, uint32_t type)
{
    if (!vr->offers && !vr->virgl.offers) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].type == type) {
            return &commands[i];
        }
    }
    return NULL;
}

static void process_2d(VirtIOGPU *g, struct virtio_gpu_ctrl_command *cmd)
{
    virtio_gpu_simple_process_cmd(g, cmd);
    /* Left open while a display blocks rendering: ours would never come back. */
    if (!cmd->finished) {
        virtio_gpu_ctrl_response_nodata(
            g, cmd, cmd->error ? cmd->error : VIRTIO_GPU_RESP_OK_NODATA);
    }
    if (cmd->cmd_hdr.type == VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D &&
        !cmd->error) {
        struct virtio_gpu_transfer_to_host_2d c;

        if (iov_to_buf(cmd->elem.out_sg, cmd->elem.out_num, 0, &c, sizeof(c)) ==
            sizeof(c)) {
            vgpu_twin_transferred(VGPU_REMOTE_DEVICE(g), c.resource_id, c.r.y,
                                  c.r.height);
        }
    }
}

static uint32_t process_ours(VgpuRemote *vr, const struct command *c,
                             struct virtio_gpu_ctrl_command *cmd)
{
    VgpuCommand in;

    if (iov_to_buf(cmd->elem.out_sg, cmd->elem.out_num, 0, &in, c->size) !=
        c->size) {
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    /* The guest may have changed it since: what was looked at counts. */
    in.hdr = cmd->cmd_hdr;
    return c->handle(vr, cmd, &in);
}

static void process_cmd(VirtIOGPU *g, struct virtio_gpu_ctrl_command *cmd)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(g);
    const struct command *c;
    uint32_t answer = VGPU_2D;

    VIRTIO_GPU_FILL_CMD(cmd->cmd_hdr);
    c = find_command(vr, cmd->cmd_hdr.type);
    if (vr->quick && !(c && c->quick)) {
        answer = vgpu_defer(vr);
    } else if (vr->virgl.n_held >= VGPU_VIRGL_HELD_MAX) {
        answer = vgpu_virgl_stall(vr);
    } else if (c) {
        answer = process_ours(vr, c, cmd);
    }
    if (answer == VGPU_2D && vr->quick) {
        answer = vgpu_defer(vr);
    }
    /* 2D answers at once, and that would be for all that is held before it. */
    if (answer == VGPU_2D && vgpu_held_is_behind(vr, &cmd->cmd_hdr)) {
        answer = vgpu_virgl_stall(vr);
    }
    switch (answer) {
    case VGPU_2D:
        process_2d(g, cmd);
        break;
    case VGPU_ANSWERED:
    case VGPU_HELD:
        break;
    case VGPU_STALL:
        /* Left open with a fence it would be held instead; it is read again. */
        cmd->cmd_hdr.flags &= ~VIRTIO_GPU_FLAG_FENCE;
        break;
    default:
        if (answer >= VIRTIO_GPU_RESP_ERR_UNSPEC) {
            vr->refused++;
            trace_vgpu_remote_refused(cmd->cmd_hdr.type, cmd->cmd_hdr.ctx_id,
                                      answer);
        }
        vgpu_fence_answer(vr, cmd, answer);
    }
}

/*
 * A display has drawn what it was shown. The parent's would answer every fence. By a
 * bottom half: this is called also in the middle of showing it something.
 */
static void gl_flushed(VirtIOGPUBase *b)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(b);

    if (vr->resume_bh) {
        qemu_bh_schedule(vr->resume_bh);
    }
}

/* --- saving a VM --------------------------------------------------------- */

/*
 * A context of our capset cannot be saved and blocks that (vgpu_hold). What
 * the guest's desktop makes for its 2D has an id and nothing else: those are
 * saved.
 */

static int put_plain_contexts(QEMUFile *f, void *opaque, size_t size,
                              const VMStateField *field, JSONWriter *vmdesc)
{
    VgpuRemote *vr = opaque;
    GHashTableIter iter;
    gpointer id;

    qemu_put_be32(f, g_hash_table_size(vr->contexts));
    g_hash_table_iter_init(&iter, vr->contexts);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        qemu_put_be32(f, GPOINTER_TO_UINT(id));
    }
    return 0;
}

static int get_plain_contexts(QEMUFile *f, void *opaque, size_t size,
                              const VMStateField *field)
{
    VgpuRemote *vr = opaque;
    uint32_t n = qemu_get_be32(f);

    if (n > VGPU_REMOTE_CONTEXTS_MAX) {
        return -EINVAL;
    }
    vgpu_contexts_destroy_all(vr);
    while (n-- > 0) {
        if (!vgpu_context_add_plain(vr, qemu_get_be32(f))) {
            return -EINVAL;
        }
    }
    return 0;
}

static const VMStateDescription vmstate_vgpu_remote = {
    .name = "vgpu-remote",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        {
            .name = "contexts",
            .info = &(const VMStateInfo) {
                .name = "contexts",
                .get = get_plain_contexts,
                .put = put_plain_contexts,
            },
            .flags = VMS_SINGLE,
        },
        VMSTATE_END_OF_LIST()
    },
};

/* --- life ---------------------------------------------------------------- */

static uint64_t get_features(VirtIODevice *vdev, uint64_t features, Error **errp)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(vdev);
    VgpuRemoteClass *vrc = VGPU_REMOTE_DEVICE_GET_CLASS(vr);

    features = vrc->parent_get_features(vdev, features, errp);
    if (vr->offers || vr->virgl.offers) {
        virtio_add_feature(&features, VIRTIO_GPU_F_VIRGL);
        virtio_add_feature(&features, VIRTIO_GPU_F_CONTEXT_INIT);
        virtio_add_feature(&features, VIRTIO_GPU_F_RESOURCE_BLOB);
    }
    return features;
}

/*
 * The guest rings: in the thread of one of its processors. A bottom half for each
 * command would wake the main loop, which takes longer than most commands do, so
 * what is short, and touches no display, is done here and now.
 */
static void ctrl_cb(VirtIODevice *vdev, VirtQueue *vq)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(vdev);
    VirtIOGPU *g = VIRTIO_GPU(vdev);

    if (!QTAILQ_EMPTY(&g->cmdq) || g->parent_obj.renderer_blocked) {
        qemu_bh_schedule(g->ctrl_bh);
        return;
    }
    vr->quick = true;
    aio_bh_call(g->ctrl_bh);
    vgpu_virgl_rung(vr);
    vr->quick = false;
}

static void cursor_cb(VirtIODevice *vdev, VirtQueue *vq)
{
    qemu_bh_schedule(VIRTIO_GPU(vdev)->cursor_bh);
}

/*
 * The parent's queues, with ctrl_cb() and more places: a 2D virtio-gpu asks for 64, of
 * which held commands may take more than all.
 */
static void replace_queues(VirtIOGPU *g)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(g);

    virtio_del_queue(vdev, 1);
    virtio_del_queue(vdev, 0);
    g->ctrl_vq = virtio_add_queue(vdev, 4 * QUEUE_MIN, ctrl_cb);
    g->cursor_vq = virtio_add_queue(vdev, 16, cursor_cb);
}

/* What a server is needed for, and what the user said about that. */
static bool start_server(VgpuRemote *vr, Error **errp)
{
    Error *err = NULL;

    if (vgpu_server_start(vr, &err)) {
        return true;
    }
    if (vr->backend == VGPU_BACKEND_REMOTE || (vr->server && vr->server[0])) {
        error_propagate(errp, err);
        return false;
    }
    warn_reportf_err(err, "vgpu-remote: no program in the guest can use the "
                     "host's device, and there is 2D only: ");
    return true;
}

/*
 * Whether there is an emulated GPU. Returns false only where the user named one, and
 * that cannot be had.
 */
static bool probe_virgl(VgpuRemote *vr, Error **errp)
{
    Error *err = NULL;

    if (vr->backend == VGPU_BACKEND_REMOTE) {
        return true;
    }
    vr->virgl.offers = vr->server_sock >= 0 && vgpu_virgl_probe(vr, &err);
    if (!vr->virgl.offers && vr->virgl.gpu && vr->virgl.gpu[0]) {
        error_setg(errp, "rendernode=%s: %s", vr->virgl.gpu,
                   err ? error_get_pretty(err) : "there is no server to ask for it");
        error_free(err);
        return false;
    }
    if (err) {
        warn_reportf_err(err, "vgpu-remote: the guest's own driver has 2D only, "
                         "there is no emulated GPU: ");
    }
    return true;
}

static void finish_parts(VgpuRemote *vr)
{
    vgpu_blobs_finish(vr);
    vgpu_contexts_finish(vr);
    vgpu_virgl_finish(vr);
}

static void unrealize(DeviceState *dev);

static void realize(DeviceState *dev, Error **errp)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(dev);
    VirtIOGPU *g = VIRTIO_GPU(dev);
    ERRP_GUARD();

    vr->offers = vr->backend != VGPU_BACKEND_EMULATION;
    vr->fds_max = vgpu_fds_allowed();
    if (!start_server(vr, errp)) {
        return;
    }
    vgpu_virgl_init(vr);
    vgpu_contexts_init(vr);
    vgpu_blobs_init(vr);
    if (probe_virgl(vr, errp)) {
        g->parent_obj.virtio_config.num_capsets =
            vr->offers + vr->virgl.offers + !!vr->virgl.venus_size;
        virtio_gpu_device_realize(dev, errp);
    }
    if (*errp) {
        vgpu_server_close(vr);
        finish_parts(vr);
        return;
    }
    replace_queues(g);
    vr->stall_timer = timer_new_ms(QEMU_CLOCK_REALTIME, stall_is_over, vr);
    vr->resume_bh = virtio_bh_io_new_guarded(dev, resume, g);
    vmstate_register(VMSTATE_IF(dev), VMSTATE_INSTANCE_ID_ANY,
                     &vmstate_vgpu_remote, vr);
    if ((vr->offers || vr->virgl.offers) && !vgpu_window_init(vr, errp)) {
        unrealize(dev);
    }
}

/* Ours: nothing that the guest made is left, and nothing is answered. */
static void forget_guest(VgpuRemote *vr)
{
    vr->stalled = NULL;
    timer_del(vr->stall_timer);
    qemu_bh_cancel(vr->resume_bh);
    vgpu_virgl_reset(vr);
    vgpu_contexts_destroy_all(vr);
    vgpu_blobs_destroy_all(vr);
}

/*
 * From a vCPU thread the parent's reset lets the main loop run, and with it
 * perhaps a command that is still in the queue: so before it and after it.
 */
static void reset(VirtIODevice *vdev)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(vdev);

    trace_vgpu_remote_reset();
    forget_guest(vr);
    virtio_gpu_reset(vdev);
    forget_guest(vr);
}

static void unrealize(DeviceState *dev)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(dev);
    VirtIOGPUBase *b = VIRTIO_GPU_BASE(dev);

    vmstate_unregister(VMSTATE_IF(dev), &vmstate_vgpu_remote, vr);
    reset(VIRTIO_DEVICE(dev));
    vgpu_server_close(vr);
    vgpu_window_remove(vr);
    finish_parts(vr);
    g_clear_pointer(&vr->stall_timer, timer_free);
    g_clear_pointer(&vr->resume_bh, qemu_bh_delete);
    for (uint32_t i = 0; i < b->conf.max_outputs; i++) {
        graphic_console_close(b->scanout[i].con);
    }
    VGPU_REMOTE_DEVICE_GET_CLASS(vr)->parent_unrealize(dev);
}

static const Property properties[] = {
    DEFINE_PROP_UNSIGNED("backend", VgpuRemote, backend, VGPU_BACKEND_AUTO,
                         vgpu_prop_backend, VgpuBackend),
    DEFINE_PROP_STRING("server", VgpuRemote, server),
    DEFINE_PROP_UINT32("processors", VgpuRemote, processors, 0),
    DEFINE_PROP_UINT32("watchdog", VgpuRemote, virgl.hang_ms,
                       VGPU_VIRGL_HANG_MS),
    DEFINE_PROP_STRING("rendernode", VgpuRemote, virgl.gpu),
    DEFINE_PROP_BOOL("dmabuf", VgpuRemote, virgl.dmabuf, true),
};

static char *get_status(Object *obj, Error **errp)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(obj);

    if (!DEVICE(obj)->realized) {
        error_setg(errp, "status: the device is not there yet");
        return NULL;
    }
    return vgpu_virgl_status(vr);
}

static void instance_init(Object *obj)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(obj);

    VIRTIO_GPU_BASE(obj)->conf.hostmem = VGPU_REMOTE_HOSTMEM;
    vr->server_sock = -1;
    vr->server_tried_ms = INT64_MIN / 2;
    vr->reported_ms = INT64_MIN / 2;
    object_property_add_str(obj, "status", get_status, NULL);
}

static void class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);
    VirtIOGPUBaseClass *vbc = VIRTIO_GPU_BASE_CLASS(klass);
    VirtIOGPUClass *vgc = VIRTIO_GPU_CLASS(klass);
    VgpuRemoteClass *vrc = VGPU_REMOTE_DEVICE_CLASS(klass);

    vrc->parent_unrealize = vdc->unrealize;
    vrc->parent_get_features = vdc->get_features;
    vdc->realize = realize;
    vdc->unrealize = unrealize;
    vdc->reset = reset;
    vdc->get_features = get_features;
    vbc->gl_flushed = gl_flushed;
    vgc->process_cmd = process_cmd;
    vgc->update_cursor_data = vgpu_virgl_cursor;
    dc->desc = "virtio-gpu that computes on the host's device";
    dc->hotpluggable = true;
    device_class_set_props(dc, properties);
}

static const TypeInfo vgpu_remote_types[] = {
    {
        .name = TYPE_VGPU_REMOTE_DEVICE,
        .parent = TYPE_VIRTIO_GPU,
        .instance_size = sizeof(VgpuRemote),
        .instance_init = instance_init,
        .class_size = sizeof(VgpuRemoteClass),
        .class_init = class_init,
    },
};

DEFINE_TYPES(vgpu_remote_types)
