/*
 * What a user may say to the device: the properties of both types, what they mean
 * in -device TYPE,help, and which values are refused with what would be right.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/host-utils.h"
#include "qobject/qnum.h"

#define HOSTMEM_MIN     (2 * MiB)  /* a ring and little else */
#define HOSTMEM_MAX     (1 * TiB)

static const char *const backends[] = {
    [VGPU_BACKEND_AUTO] = "auto",
    [VGPU_BACKEND_EMULATION] = "emulation",
    [VGPU_BACKEND_REMOTE] = "remote",
};

const char *vgpu_backend_name(VgpuBackend backend)
{
    return backends[backend];
}

static void get_backend(Object *obj, Visitor *v, const char *name, void *opaque,
                        Error **errp)
{
    const Property *prop = opaque;
    VgpuBackend *backend = object_field_prop_ptr(obj, prop);
    char *text = (char *)backends[*backend];

    visit_type_str(v, name, &text, errp);
}

/* A guest's driver knows what it was offered at the start: no more than that. */
static bool may_become(Object *obj, VgpuBackend backend, Error **errp)
{
    VgpuRemote *vr = VGPU_REMOTE_DEVICE(obj);

    if (!DEVICE(obj)->realized) {
        return true;
    }
    if ((backend == VGPU_BACKEND_EMULATION && !vr->virgl.offers) ||
        (backend == VGPU_BACKEND_REMOTE && !vr->offers)) {
        error_setg(errp, "backend=%s: the guest was not offered that when the "
                   "device was made; start it with backend=auto",
                   backends[backend]);
        return false;
    }
    return true;
}

static void set_backend(Object *obj, Visitor *v, const char *name, void *opaque,
                        Error **errp)
{
    const Property *prop = opaque;
    VgpuBackend *backend = object_field_prop_ptr(obj, prop);
    g_autofree char *text = NULL;

    if (!visit_type_str(v, name, &text, errp)) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        if (strcmp(text, backends[i]) == 0) {
            if (may_become(obj, i, errp)) {
                *backend = i;
            }
            return;
        }
    }
    error_setg(errp, "%s=%s: must be auto, emulation or remote", name, text);
}

static void set_backend_default(ObjectProperty *op, const Property *prop)
{
    object_property_set_default_str(op, backends[prop->defval.u]);
}

const PropertyInfo vgpu_prop_backend = {
    .type = "str",
    .description = "auto|emulation|remote",
    .realized_set_allowed = true,
    .get = get_backend,
    .set = set_backend,
    .set_default_value = set_backend_default,
};

void vgpu_remote_describe(Object *obj, VgpuRemote *vr)
{
    static const struct {
        const char *name, *text;
    } texts[] = {
        { "backend", "auto|emulation|remote: who computes for the guest. remote: "
          "the host's device, through our driver in the guest, or the VM does "
          "not start; emulation: OpenGL, and Vulkan, through the guest's own "
          "drivers; auto: "
          "both, with a warning where one is missing. May be set while the VM "
          "runs, and is for new contexts then" },
        { "watchdog", "milliseconds that the emulated GPU may take for one step "
          "before it is given up" },
        { "rendernode", "the GPU of the emulated one: its file, /dev/dri/renderD128 "
          "say, or software for none; empty: the first that EGL finds" },
        { "server", "unix:PATH of a running vgpu-remoted; empty: a private one, "
          "found by $VGPU_REMOTED, beside this program, or in $PATH" },
        { "processors", "of the host, how many the guest's work there may keep "
          "busy, all of it together; 0: any; not with server=" },
        { "hostmem", "bytes of memory that guest programs and the host can share "
          "at a time, a power of two from 2M to 1T" },
        { "blob", "not for this device, which always has blobs" },
        { "max_outputs", "screens, 1 to 16" },
        { "max_hostmem", "bytes of host memory for 2D pictures" },
        { "edid", "tell the guest about the screens" },
        { "xres", "width of the first screen in pixels" },
        { "yres", "height of the first screen in pixels" },
    };
    ObjectProperty *hostmem;

    object_property_add_alias(obj, "status", OBJECT(vr), "status");
    object_property_set_description(obj, "status", "what the guest uses, as "
                                    "JSON; read-only");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        object_property_set_description(obj, texts[i].name, texts[i].text);
    }
    /* The parent's property says 0. */
    hostmem = object_property_find(obj, "hostmem");
    qobject_unref(hostmem->defval);
    hostmem->defval = QOBJECT(qnum_from_uint(VGPU_REMOTE_HOSTMEM));
}

static bool check_gpu(const VgpuRemote *vr, Error **errp)
{
    const char *gpu = vr->virgl.gpu ? vr->virgl.gpu : "";

    if (gpu[0] && ((gpu[0] != '/' && strcmp(gpu, "software") != 0) ||
                   strlen(gpu) >= VIRGL_GPU_MAX)) {
        error_setg(errp, "rendernode=%s: must be the file of a GPU, such as "
                   "/dev/dri/renderD128 (at most %d bytes), or software", gpu,
                   VIRGL_GPU_MAX - 1);
        return false;
    }
    if (gpu[0] && vr->backend == VGPU_BACKEND_REMOTE) {
        error_setg(errp, "rendernode=%s: not with backend=remote, which has no "
                   "emulated GPU; leave one of them out", gpu);
        return false;
    }
    return true;
}

static bool check_processors(const VgpuRemote *vr, Error **errp)
{
    if (vr->processors && vr->server && vr->server[0]) {
        error_setg(errp, "processors=%u: not with server=, whose clients share "
                   "its own: start that vgpu-remoted with --processors %u",
                   vr->processors, vr->processors);
        return false;
    }
    return true;
}

bool vgpu_remote_check(VgpuRemote *vr, Error **errp)
{
    VirtIOGPUBase *b = VIRTIO_GPU_BASE(vr);
    uint64_t hostmem = b->conf.hostmem;

    if (virtio_gpu_blob_enabled(b->conf)) {
        error_setg(errp, "blob=on: leave it out; vgpu-remote has blob resources "
                   "without it, in hostmem=SIZE");
        return false;
    }
    if (b->conf.max_outputs < 1 ||
        b->conf.max_outputs > VIRTIO_GPU_MAX_SCANOUTS) {
        error_setg(errp, "max_outputs=%u: must be 1 to %d: the guest's driver "
                   "needs a screen", b->conf.max_outputs,
                   VIRTIO_GPU_MAX_SCANOUTS);
        return false;
    }
    if (!is_power_of_2(hostmem) || hostmem < HOSTMEM_MIN ||
        hostmem > HOSTMEM_MAX) {
        error_setg(errp, "hostmem=%" PRIu64 ": must be a power of two from 2M "
                   "to 1T, such as 1G", hostmem);
        return false;
    }
    if (!check_gpu(vr, errp) || !check_processors(vr, errp)) {
        return false;
    }
    return true;
}
