/*
 * Commands of the emulated GPU: contexts and resources.
 *
 * A stock driver makes contexts for its 2D, too: they are only ids here until
 * one is used for 3D ("begun"), so that a guest that never does has no worker
 * and can be saved. What was attached to it before is told to the worker then.
 *
 * The worker's contexts and resources are those of one generation: when it is
 * lost they are, and what names them is refused, until the guest makes new ones.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qapi/error.h"
#include "qemu/iov.h"
#include "trace/trace-hw_display_vgpu_remote.h"

/* --- contexts ------------------------------------------------------------ */

static uint32_t send_pair(VgpuRemote *vr, enum virgl_call call,
                          uint32_t context, uint32_t resource)
{
    VgpuMessage m;
    uint32_t error = vgpu_virgl_begin(vr, &m, 16, NULL);

    if (!error) {
        wire_put(&m.out, context);
        wire_put(&m.out, resource);
        vgpu_virgl_end(vr, &m, call);
    }
    return error;
}

/* What the worker cannot have is not told. */
static uint32_t send_attach(VgpuRemote *vr, VgpuContext *ctx, uint32_t id)
{
    VgpuVirglResource *r = vgpu_virgl_find(vr, id);
    uint32_t error;

    if (r && r->generation != vr->virgl.generation) {
        return 0;
    }
    error = r ? 0 : vgpu_twin_have(vr, id);
    return error ? error : send_pair(vr, VIRGL_ATTACH, ctx->id, id);
}

/* As far as it goes: called again, it begins at the front, which does no harm. */
static uint32_t send_attached(VgpuRemote *vr, VgpuContext *ctx)
{
    GHashTableIter iter;
    gpointer id;

    if (!ctx->attached) {
        return 0;
    }
    g_hash_table_iter_init(&iter, ctx->attached);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        uint32_t error = send_attach(vr, ctx, GPOINTER_TO_UINT(id));

        if (error) {
            return error;
        }
    }
    vr->virgl.n_attached -= g_hash_table_size(ctx->attached);
    g_clear_pointer(&ctx->attached, g_hash_table_destroy);
    return 0;
}

static uint32_t send_create(VgpuRemote *vr, VgpuContext *ctx)
{
    VgpuMessage m;
    uint32_t error;
    Error *err = NULL;

    if (vr->backend == VGPU_BACKEND_REMOTE || !vr->virgl.offers) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    error = vgpu_virgl_begin(vr, &m, 8 + VGPU_NAME_MAX, NULL);
    if (error) {
        return error;
    }
    wire_put(&m.out, ctx->id);
    wire_put_bytes(&m.out, ctx->name, VGPU_NAME_MAX);
    if (!vgpu_hold(vr, ctx->name, &err)) {
        vgpu_report(vr, "no OpenGL for '%s': %s", ctx->name,
                    error_get_pretty(err));
        error_free(err);
        return VIRTIO_GPU_RESP_ERR_UNSPEC; /* what was reserved is written over */
    }
    vgpu_virgl_end(vr, &m, VIRGL_CONTEXT_CREATE);
    trace_vgpu_remote_virgl_context(ctx->id, ctx->name, vr->virgl.generation);
    ctx->generation = vr->virgl.generation;
    vr->virgl.contexts++;
    return 0;
}

uint32_t vgpu_virgl_context_begin(VgpuRemote *vr, uint32_t id)
{
    VgpuContext *ctx = vgpu_context_find_plain(vr, id);
    uint32_t error = 0;

    if (!ctx) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    }
    if (ctx->generation == 0) {
        error = send_create(vr, ctx);
    } else if (vr->virgl.state != VGPU_VIRGL_READY ||
               ctx->generation != vr->virgl.generation) {
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID; /* it is lost */
    }
    return error ? error : send_attached(vr, ctx);
}

static bool is_live(VgpuRemote *vr, const VgpuContext *ctx)
{
    return ctx->generation && vr->virgl.state == VGPU_VIRGL_READY &&
           ctx->generation == vr->virgl.generation;
}

uint32_t vgpu_virgl_context_end(VgpuContext *ctx, bool tell)
{
    VgpuRemote *vr = ctx->vr;
    VgpuMessage m;
    uint32_t error = 0;

    if (tell && is_live(vr, ctx)) {
        error = vgpu_virgl_begin(vr, &m, 8, NULL);
        if (error == VGPU_STALL) {
            return error;
        }
        if (!error) {
            wire_put(&m.out, ctx->id);
            vgpu_virgl_end(vr, &m, VIRGL_CONTEXT_DESTROY);
            vr->virgl.contexts--;
        }
    }
    if (ctx->generation) {
        vgpu_release(vr);
        ctx->generation = 0;
    }
    if (ctx->attached) {
        vr->virgl.n_attached -= g_hash_table_size(ctx->attached);
        g_clear_pointer(&ctx->attached, g_hash_table_destroy);
    }
    return 0;
}

uint32_t vgpu_virgl_attach(VgpuContext *ctx, uint32_t resource, bool attach)
{
    VgpuRemote *vr = ctx->vr;
    VgpuVirgl *v = &vr->virgl;
    VgpuVirglResource *r = vgpu_virgl_find(vr, resource);
    gpointer key = GUINT_TO_POINTER(resource);

    if (r && attach) {
        r->attached = ctx->serial;
    } else if (r && r->attached == ctx->serial) {
        r->attached = 0;
    }
    if (ctx->generation) {
        uint32_t error = 0;

        if (is_live(vr, ctx)) {
            error = attach ? send_attach(vr, ctx, resource)
                           : send_pair(vr, VIRGL_DETACH, ctx->id, resource);
        }
        return error ? error : VIRTIO_GPU_RESP_OK_NODATA;
    }
    if (!attach) {
        if (ctx->attached && g_hash_table_remove(ctx->attached, key)) {
            v->n_attached--;
        }
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    if (v->n_attached >= VGPU_VIRGL_ATTACHED_MAX) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    if (!ctx->attached) {
        ctx->attached = g_hash_table_new(NULL, NULL);
    }
    v->n_attached += g_hash_table_add(ctx->attached, key);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* --- resources ----------------------------------------------------------- */

VgpuVirglResource *vgpu_virgl_find(VgpuRemote *vr, uint32_t id)
{
    return g_hash_table_lookup(vr->virgl.resources, GUINT_TO_POINTER(id));
}

/* Whether a stock driver copies from it within a submission. */
static bool is_source(const VgpuVirglResource *r)
{
    return r->args.bind & VIRGL_BIND_STAGING;
}

bool vgpu_virgl_is_taken(VgpuRemote *vr, uint32_t id)
{
    return id == 0 || vgpu_virgl_find(vr, id) ||
           g_hash_table_lookup(vr->blobs, GUINT_TO_POINTER(id)) ||
           virtio_gpu_find_resource(VIRTIO_GPU(vr), id);
}

uint32_t vgpu_virgl_add(VgpuRemote *vr, const struct virgl_resource *args,
                        uint32_t generation, VgpuBacking *backing)
{
    VgpuVirgl *v = &vr->virgl;
    VgpuVirglResource *r;

    if (!vgpu_hold(vr, "OpenGL", NULL)) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    r = g_new0(VgpuVirglResource, 1);
    r->args = *args;
    r->generation = generation;
    r->backing = backing;
    v->n_sources += is_source(r);
    g_hash_table_insert(v->resources, GUINT_TO_POINTER(args->id), r);
    return 0;
}

static struct virgl_resource take_args(
    const struct virtio_gpu_resource_create_3d *c)
{
    return (struct virgl_resource) {
        .id = c->resource_id,
        .target = c->target,
        .format = c->format,
        .bind = c->bind,
        .width = c->width,
        .height = c->height,
        .depth = c->depth,
        .array_size = c->array_size,
        .last_level = c->last_level,
        .nr_samples = c->nr_samples,
        .flags = c->flags,
    };
}

uint32_t vgpu_virgl_resource_create(VgpuRemote *vr,
                                    struct virtio_gpu_ctrl_command *cmd,
                                    const VgpuCommand *in)
{
    VgpuVirgl *v = &vr->virgl;
    struct virgl_resource args = take_args(&in->create_3d);
    VgpuMessage m;
    uint32_t error;

    if (!v->offers) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    if (vgpu_virgl_is_taken(vr, args.id)) {
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (g_hash_table_size(v->resources) >= VGPU_VIRGL_RESOURCES_MAX) {
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    if (vr->backend == VGPU_BACKEND_REMOTE && v->contexts == 0) {
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    error = vgpu_virgl_begin(vr, &m, VIRGL_RESOURCE_BYTES, NULL);
    if (error) {
        return error;
    }
    error = vgpu_virgl_add(vr, &args, v->generation, NULL);
    if (error) {
        return error; /* what was reserved is written over */
    }
    virgl_put_resource(&m.out, &args);
    vgpu_virgl_end(vr, &m, VIRGL_RESOURCE_CREATE);
    trace_vgpu_remote_virgl_resource(args.id, args.target, args.format,
                                     args.width, args.height, args.bind);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static void resource_free(VgpuRemote *vr, VgpuVirglResource *r)
{
    g_hash_table_remove(vr->virgl.resources, GUINT_TO_POINTER(r->args.id));
    vr->virgl.n_sources -= is_source(r);
    vgpu_backing_unref(r->backing);
    vgpu_picture_unref(vr, r->picture);
    vgpu_release(vr);
    g_free(r);
}

uint32_t vgpu_virgl_resource_unref(VgpuRemote *vr,
                                   struct virtio_gpu_ctrl_command *cmd,
                                   const VgpuCommand *in)
{
    VgpuVirgl *v = &vr->virgl;
    VgpuVirglResource *r = vgpu_virgl_find(vr, in->unref.resource_id);
    VgpuMessage m;

    if (!r) {
        return vgpu_twin_unref(vr, in->unref.resource_id) == VGPU_STALL
                   ? VGPU_STALL : vgpu_blob_unref(vr, cmd, in);
    }
    if (vgpu_backing_is_read(r->backing)) {
        return vgpu_virgl_stall(vr);
    }
    if (v->state == VGPU_VIRGL_READY && r->generation == v->generation) {
        uint32_t error = vgpu_virgl_begin(vr, &m, 8, NULL);

        if (error == VGPU_STALL) {
            return error;
        }
        if (!error) {
            wire_put(&m.out, r->args.id);
            vgpu_virgl_end(vr, &m, VIRGL_RESOURCE_UNREF);
        }
    }
    vgpu_screens_unref(vr, r->args.id);
    resource_free(vr, r);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* --- the whole ----------------------------------------------------------- */

void vgpu_virgl_reset(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;
    GHashTableIter iter;
    gpointer r;

    vgpu_held_drop_all(vr); /* before it: nothing is to be answered */
    vgpu_virgl_lose(vr, NULL);
    for (;;) {
        g_hash_table_iter_init(&iter, v->resources);
        if (!g_hash_table_iter_next(&iter, NULL, &r)) {
            break;
        }
        resource_free(vr, r);
    }
    vgpu_screens_reset(vr);
    v->stalled = false;
    v->submitted = 0;
    v->given_up = false;
    v->n_crashes = 0;
}

static unsigned count_contexts(VgpuRemote *vr)
{
    GHashTableIter iter;
    gpointer ctx;
    unsigned n = 0;

    g_hash_table_iter_init(&iter, vr->contexts);
    while (g_hash_table_iter_next(&iter, NULL, &ctx)) {
        n += !((VgpuContext *)ctx)->plain;
    }
    return n;
}

char *vgpu_virgl_status(VgpuRemote *vr)
{
    static const char *const states[] = {
        [VGPU_VIRGL_OFF] = "off",
        [VGPU_VIRGL_STARTING] = "starting",
        [VGPU_VIRGL_READY] = "ready",
    };
    VgpuVirgl *v = &vr->virgl;
    bool named = v->caps_size >= VIRGL_CAPS_RENDERER + 64;
    g_autofree char *renderer = named ? vgpu_virgl_text(
        v->caps + VIRGL_CAPS_RENDERER, 64) : g_strdup("");
    g_autofree char *memory = vgpu_pages_status(v);

    return g_strdup_printf(
        "{\"remote\": {\"offered\": %s, \"contexts\": %u, \"blobs\": %u, "
        "\"lost\": %" PRIu64 "}, "
        "\"emulation\": {\"offered\": %s, \"worker\": \"%s\", \"executor\": "
        "\"%s\", \"contexts\": %u, \"resources\": %u, \"commands\": %" PRIu64
        ", \"held\": %u, \"read\": %" PRIu64 ", \"shown\": %" PRIu64
        ", \"resets\": %" PRIu64 ", \"vulkan\": \"%s\", "
        "\"memory\": %s}, \"refused\": %" PRIu64 "}",
        vr->offers ? "true" : "false", count_contexts(vr),
        g_hash_table_size(vr->blobs), vr->lost, v->offers ? "true" : "false",
        v->given_up ? "given up" : states[v->state], renderer, v->contexts,
        g_hash_table_size(v->resources), v->commands, v->n_held, v->n_read,
        v->n_shown, v->resets, v->vulkan ? v->vulkan : "", memory, vr->refused);
}
