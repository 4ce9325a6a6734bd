/*
 * Platforms and devices: the host's, fetched when a session is new.
 *
 * They are never released and survive fork(): the ICD loader and many programs
 * remember them from before. A child's new session finds the same ones again, in
 * the same order, and the handles are bound to their new ids.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "opencl_call.h"

#define PLATFORMS_MAX 16
#define DEVICES_MAX   64
#define NAME_BYTES    64u
#define ICD_SUFFIX    "VGPU"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cl_platform_id platforms[PLATFORMS_MAX]; /* under lock */
static cl_uint platform_count;                  /* of the session below */
static _Atomic(struct session *) loaded;

static void renew_lock(void)
{
    pthread_mutex_init(&lock, NULL);
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, renew_lock);
}

/* --- loading, under lock ------------------------------------------------------ */

static cl_int ask_device(void *opaque, cl_uint name, size_t size, void *value,
                         size_t *size_ret)
{
    cl_device_id device = opaque;

    return call_clGetDeviceInfo(device->obj.session, device->obj.id, name, size,
                                value, size_ret);
}

/* A scalar that calls are checked against; 0 if the host does not say. */
static cl_ulong device_number(cl_device_id device, cl_device_info name)
{
    const void *value;
    cl_ulong number = 0;
    size_t size;

    if (info_cached(device->obj.session, &device->cache, name, 0, ask_device,
                    device, &value, &size) == CL_SUCCESS && size <= 8) {
        memcpy(&number, value, size);
    }
    return number;
}

/* Whether the host's command buffers have the prototypes that we know. */
static bool knows_command_buffers(cl_device_id d)
{
    const void *value;
    const cl_name_version *all;
    size_t size;

    if (info_cached(d->obj.session, &d->cache, CL_DEVICE_EXTENSIONS_WITH_VERSION,
                    0, ask_device, d, &value, &size) != CL_SUCCESS) {
        return false;
    }
    all = value;
    for (size_t i = 0; i < size / sizeof(*all); i++) {
        if (strncmp(all[i].name, "cl_khr_command_buffer",
                    sizeof(all[i].name)) == 0) {
            return all[i].version < CL_MAKE_VERSION(0, 9, 5);
        }
    }
    return false;
}

/* Only OpenCL 3.0 has a name for that: devices of 2.x must have them. */
static bool has_pipes(cl_device_id d)
{
    const void *value;
    size_t size;

    if (info_cached(d->obj.session, &d->cache, CL_DEVICE_PIPE_SUPPORT, 0,
                    ask_device, d, &value, &size) == CL_SUCCESS) {
        return device_number(d, CL_DEVICE_PIPE_SUPPORT);
    }
    return device_number(d, CL_DEVICE_MAX_PIPE_ARGS) > 0;
}

void device_load(cl_device_id d)
{
    const void *value;
    size_t size;

    d->type = device_number(d, CL_DEVICE_TYPE);
    d->max_alloc = device_number(d, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    d->local_mem = device_number(d, CL_DEVICE_LOCAL_MEM_SIZE);
    d->max_group = device_number(d, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    d->svm = device_number(d, CL_DEVICE_SVM_CAPABILITIES) &
             CL_DEVICE_SVM_COARSE_GRAIN_BUFFER;
    d->command_buffers = knows_command_buffers(d);
    d->max_packet = has_pipes(d) ? (cl_uint)device_number(
                                       d, CL_DEVICE_PIPE_MAX_PACKET_SIZE) : 0;
    d->il = info_cached(d->obj.session, &d->cache, CL_DEVICE_IL_VERSION, 0,
                        ask_device, d, &value, &size) == CL_SUCCESS &&
            size > 1;
    d->images = (cl_bool)device_number(d, CL_DEVICE_IMAGE_SUPPORT);
    if (info_cached(d->obj.session, &d->cache, CL_DEVICE_MAX_WORK_ITEM_SIZES, 0,
                    ask_device, d, &value, &size) == CL_SUCCESS &&
        size >= sizeof(d->max_items)) {
        memcpy(d->max_items, value, sizeof(d->max_items));
    }
}

static void load_devices(struct session *s, cl_platform_id p)
{
    uint64_t ids[DEVICES_MAX];
    cl_uint n = 0;

    if (!p->devices) {
        p->devices = calloc(DEVICES_MAX, sizeof(p->devices[0]));
    }
    if (!p->devices ||
        call_clGetDeviceIDs(s, p->obj.id, CL_DEVICE_TYPE_ALL, DEVICES_MAX, ids,
                            &n) != CL_SUCCESS) {
        n = 0;
    }
    n = n < DEVICES_MAX ? n : DEVICES_MAX;
    p->device_count = 0;
    for (cl_uint i = 0; i < n; i++) {
        cl_device_id d = p->devices[i];

        if (!d) {
            d = cl_object_create(s, OPENCL_cl_device_id);
            if (!d) {
                break;
            }
            d->platform = p;
            p->devices[i] = d;
        }
        cl_object_rebind(d, s, ids[i]);
        device_load(d);
        p->device_count++;
    }
}

static void load(struct session *s)
{
    uint64_t ids[PLATFORMS_MAX];
    cl_uint n = 0;

    platform_count = 0;
    if (call_clGetPlatformIDs(s, PLATFORMS_MAX, ids, &n) != CL_SUCCESS) {
        return;
    }
    n = n < PLATFORMS_MAX ? n : PLATFORMS_MAX;
    for (cl_uint i = 0; i < n; i++) {
        if (!platforms[i]) {
            platforms[i] = cl_object_create(s, OPENCL_cl_platform_id);
        }
        if (!platforms[i]) {
            break;
        }
        cl_object_rebind(platforms[i], s, ids[i]);
        load_devices(s, platforms[i]);
        platform_count++;
    }
}

struct session *cl_session(void)
{
    struct session *s = session_get();

    if (s && atomic_load_explicit(&loaded, memory_order_acquire) != s) {
        pthread_mutex_lock(&lock);
        if (loaded != s) {
            load(s);
            loaded = s;
        }
        pthread_mutex_unlock(&lock);
    }
    return s;
}

/* --- platforms ---------------------------------------------------------------- */

CL_API_ENTRY cl_int CL_API_CALL clGetPlatformIDs(cl_uint num_entries,
                                                 cl_platform_id *list,
                                                 cl_uint *num_platforms)
{
    struct session *s = cl_session();

    if ((!list && !num_platforms) || (list && !num_entries)) {
        return CL_INVALID_VALUE;
    }
    if (!s || !platform_count) {
        if (num_platforms) {
            *num_platforms = 0;
        }
        return CL_PLATFORM_NOT_FOUND_KHR;
    }
    for (cl_uint i = 0; list && i < num_entries && i < platform_count; i++) {
        list[i] = platforms[i];
    }
    if (num_platforms) {
        *num_platforms = platform_count;
    }
    return CL_SUCCESS;
}


static cl_int ask_platform(void *opaque, cl_uint name, size_t size, void *value,
                           size_t *size_ret)
{
    cl_platform_id p = opaque;

    return call_clGetPlatformInfo(p->obj.session, p->obj.id, name, size, value,
                                  size_ret);
}

/*
 * The host's name with ours behind it. Programs (x264) have 64 bytes for a name: one
 * that fits without ours is cut until it does with it.
 */
static cl_int answer_name(const struct info_out *out, const char *name,
                          size_t size)
{
    size_t length = strnlen(name, size), most = NAME_BYTES - sizeof(VIA_SUFFIX);
    char full[1024];

    if (length > most && length < NAME_BYTES) {
        length = most;
    }
    snprintf(full, sizeof(full), "%.*s" VIA_SUFFIX, (int)length, name);
    return info_string(out, full);
}

CL_API_ENTRY cl_int CL_API_CALL clGetPlatformInfo(
    cl_platform_id platform, cl_platform_info param_name,
    size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    struct session *s = cl_session();
    const void *value;
    size_t size;
    cl_int err;

    if (!platform && s && platform_count) {
        platform = platforms[0]; /* NULL is implementation-defined: the first */
    }
    if (!s || !cl_live(platform, OPENCL_cl_platform_id)) {
        return CL_INVALID_PLATFORM;
    }
    if (param_name == CL_PLATFORM_ICD_SUFFIX_KHR) {
        return info_string(&out, ICD_SUFFIX);
    }
    err = info_cached(s, &platform->cache, param_name, 0, ask_platform,
                      platform, &value, &size);
    if (err != CL_SUCCESS) {
        return err;
    }
    switch (param_name) {
    case CL_PLATFORM_NAME:
        return answer_name(&out, value, size);
    case CL_PLATFORM_EXTENSIONS:
        return filter_extensions(&out, value, size, NULL);
    case CL_PLATFORM_EXTENSIONS_WITH_VERSION:
        return filter_versions(&out, value, size, NULL);
    default:
        return info_bytes(&out, value, size);
    }
}

/* --- devices ------------------------------------------------------------------ */

/* Whether @d, the @index-th of its platform, is among those asked for. */
static bool matches(cl_device_id d, cl_uint index, cl_device_type type)
{
    cl_device_type own = d->type & ~(cl_device_type)CL_DEVICE_TYPE_DEFAULT;

    if (type == CL_DEVICE_TYPE_ALL) {
        return !(own & CL_DEVICE_TYPE_CUSTOM);
    }
    if ((type & CL_DEVICE_TYPE_DEFAULT) && index == 0) {
        return true;
    }
    return own & type;
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceIDs(cl_platform_id platform,
                                               cl_device_type device_type,
                                               cl_uint num_entries,
                                               cl_device_id *devices,
                                               cl_uint *num_devices)
{
    const cl_device_type known =
        CL_DEVICE_TYPE_DEFAULT | CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU |
        CL_DEVICE_TYPE_ACCELERATOR | CL_DEVICE_TYPE_CUSTOM;
    struct session *s = cl_session();
    cl_uint n = 0;

    if (!platform && s && platform_count) {
        platform = platforms[0];
    }
    if (!s || !cl_live(platform, OPENCL_cl_platform_id)) {
        return CL_INVALID_PLATFORM;
    }
    if (device_type != CL_DEVICE_TYPE_ALL &&
        (!device_type || (device_type & ~known))) {
        return CL_INVALID_DEVICE_TYPE;
    }
    if ((!devices && !num_devices) || (devices && !num_entries)) {
        return CL_INVALID_VALUE;
    }
    for (cl_uint i = 0; i < platform->device_count; i++) {
        if (!matches(platform->devices[i], i, device_type)) {
            continue;
        }
        if (devices && n < num_entries) {
            devices[n] = platform->devices[i];
        }
        n++;
    }
    if (num_devices) {
        *num_devices = n;
    }
    return n ? CL_SUCCESS : session_lost(s) ? CL_OUT_OF_RESOURCES
                                            : CL_DEVICE_NOT_FOUND;
}

/*
 * What the host says is changed where the shim cannot do what the host can:
 * queues on the device, native kernels.
 */
static bool answer_locally(cl_device_id device, cl_device_info name,
                           const struct info_out *out, cl_int *err)
{
    switch (name) {
    case CL_DEVICE_PLATFORM:
        *err = info_value(out, cl_platform_id, device->platform);
        return true;
    case CL_DEVICE_PARENT_DEVICE:
        *err = info_value(out, cl_device_id, device->parent);
        return true;
    case CL_DEVICE_REFERENCE_COUNT:
        *err = info_value(out, cl_uint,
                          device->parent ? cl_object_refs(device) : 1);
        return true;
    case CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES:
    case CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES:
        *err = info_value(out, cl_bitfield, 0);
        return true;
    case CL_DEVICE_MAX_ON_DEVICE_QUEUES:
    case CL_DEVICE_MAX_ON_DEVICE_EVENTS:
    case CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE:
    case CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE:
        *err = info_value(out, cl_uint, 0);
        return true;
    case CL_DEVICE_PARTITION_TYPE:
        *err = device->parent
                   ? info_bytes(out, device->partition,
                                device->partition_count *
                                    sizeof(device->partition[0]))
                   : info_value(out, cl_device_partition_property, 0);
        return true;
    case CL_DEVICE_EXECUTION_CAPABILITIES:
        *err = info_value(out, cl_device_exec_capabilities, CL_EXEC_KERNEL);
        return true;
    default:
        return false;
    }
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceInfo(cl_device_id device,
                                                cl_device_info param_name,
                                                size_t param_value_size,
                                                void *param_value,
                                                size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    struct session *s = cl_session();
    const void *value;
    size_t size;
    cl_int err;

    if (!s || !cl_live(device, OPENCL_cl_device_id)) {
        return CL_INVALID_DEVICE;
    }
    if (answer_locally(device, param_name, &out, &err)) {
        return err;
    }
    err = info_cached(s, &device->cache, param_name, 0, ask_device, device,
                      &value, &size);
    if (err != CL_SUCCESS) {
        return err;
    }
    switch (param_name) {
    case CL_DEVICE_NAME:
        return answer_name(&out, value, size);
    case CL_DEVICE_EXTENSIONS:
        return filter_extensions(&out, value, size, device);
    case CL_DEVICE_SVM_CAPABILITIES:
        return info_value(&out, cl_device_svm_capabilities, device->svm);
    case CL_DEVICE_EXTENSIONS_WITH_VERSION:
    case CL_DEVICE_OPENCL_C_FEATURES:
        return filter_versions(&out, value, size, device);
    default:
        return info_bytes(&out, value, size);
    }
}
