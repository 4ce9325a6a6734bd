/*
 * Contexts. The host is asked when one is made, and never again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kinds.h"

#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"

/* Whether @properties hold only what we know; the number of items, zero included. */
static cl_int check_properties(const cl_context_properties *properties,
                               cl_uint *count, cl_platform_id *platform)
{
    cl_uint n = 0;

    *count = 0;
    *platform = NULL;
    if (!properties) {
        return CL_SUCCESS;
    }
    for (; properties[n]; n += 2) {
        for (cl_uint i = 0; i < n; i += 2) {
            if (properties[i] == properties[n]) {
                return CL_INVALID_PROPERTY;
            }
        }
        switch (properties[n]) {
        case CL_CONTEXT_PLATFORM:
            *platform = (cl_platform_id)properties[n + 1];
            if (!cl_live(*platform, OPENCL_cl_platform_id)) {
                return CL_INVALID_PLATFORM;
            }
            break;
        case CL_CONTEXT_INTEROP_USER_SYNC:
            if (properties[n + 1] != CL_FALSE && properties[n + 1] != CL_TRUE) {
                return CL_INVALID_PROPERTY;
            }
            break;
        default:
            return CL_INVALID_PROPERTY;
        }
    }
    *count = n + 1;
    return CL_SUCCESS;
}

/* Whether all are processors, whose memory the worker can share with us. */
static bool are_cpus(const cl_device_id *devices, cl_uint count)
{
    cl_device_type all = CL_DEVICE_TYPE_CPU;

    for (cl_uint i = 0; i < count; i++) {
        all &= devices[i]->type;
    }
    return all;
}

/* Copies of what the context was made with. */
static bool remember(cl_context c, const cl_context_properties *properties,
                     cl_uint property_count, const cl_device_id *devices,
                     cl_uint device_count)
{
    c->devices = malloc(device_count * sizeof(devices[0]));
    c->properties = malloc((property_count + 1) * sizeof(properties[0]));
    if (!c->devices || !c->properties) {
        return false;
    }
    memcpy(c->devices, devices, device_count * sizeof(devices[0]));
    if (property_count) {
        memcpy(c->properties, properties,
               property_count * sizeof(properties[0]));
    }
    c->device_count = device_count;
    c->cpu = are_cpus(devices, device_count);
    c->direct = c->cpu && session_perf(c->obj.session, PERF_DIRECT);
    for (cl_uint i = 0; i < device_count; i++) {
        cl_object_hold(devices[i]);
    }
    c->property_count = property_count;
    return true;
}

static cl_int create_on_host(cl_context c)
{
    struct session *s = c->obj.session;
    uint64_t *ids = malloc(c->device_count * sizeof(ids[0]));
    cl_int err;

    c->obj.id = session_new_id(s);
    if (!ids || !c->obj.id) {
        free(ids);
        return CL_OUT_OF_HOST_MEMORY;
    }
    for (cl_uint i = 0; i < c->device_count; i++) {
        ids[i] = c->devices[i]->obj.id;
    }
    /* The devices say which platform it is. */
    err = call_clCreateContext(s, c->device_count, ids, c->obj.id);
    free(ids);
    return err;
}

CL_API_ENTRY cl_context CL_API_CALL clCreateContext(
    const cl_context_properties *properties, cl_uint num_devices,
    const cl_device_id *devices,
    void(CL_CALLBACK *pfn_notify)(const char *errinfo, const void *private_info,
                                  size_t cb, void *user_data),
    void *user_data, cl_int *errcode_ret)
{
    struct session *s = cl_session();
    cl_platform_id platform;
    cl_context c = NULL;
    cl_uint count;
    cl_int err;

    if (!devices || !num_devices || (!pfn_notify && user_data)) {
        return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
    }
    err = check_properties(properties, &count, &platform);
    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    for (cl_uint i = 0; i < num_devices; i++) {
        if (!s || !cl_live(devices[i], OPENCL_cl_device_id) ||
            (platform && devices[i]->platform != platform)) {
            return cl_return(NULL, CL_INVALID_DEVICE, errcode_ret);
        }
    }
    c = cl_object_create(s, OPENCL_cl_context);
    if (!c || !remember(c, properties, count, devices, num_devices)) {
        err = CL_OUT_OF_HOST_MEMORY;
    } else {
        err = create_on_host(c);
    }
    if (err != CL_SUCCESS && c) {
        cl_object_undo(c);
    }
    return cl_return(c, err, errcode_ret);
}

CL_API_ENTRY cl_context CL_API_CALL clCreateContextFromType(
    const cl_context_properties *properties, cl_device_type device_type,
    void(CL_CALLBACK *pfn_notify)(const char *errinfo, const void *private_info,
                                  size_t cb, void *user_data),
    void *user_data, cl_int *errcode_ret)
{
    cl_platform_id platform;
    cl_device_id devices[64];
    cl_uint n = 0;
    cl_int err = cl_session() ? CL_SUCCESS : CL_INVALID_PLATFORM;

    if (err == CL_SUCCESS) {
        err = check_properties(properties, &n, &platform);
    }
    if (err == CL_SUCCESS) {
        err = clGetDeviceIDs(platform, device_type, 64, devices, &n);
    }
    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    return clCreateContext(properties, n < 64 ? n : 64, devices, pfn_notify,
                           user_data, errcode_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clRetainContext(cl_context context)
{
    if (!cl_live(context, OPENCL_cl_context)) {
        return CL_INVALID_CONTEXT;
    }
    cl_object_retain(context);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseContext(cl_context context)
{
    if (!cl_live(context, OPENCL_cl_context) || !cl_object_release(context)) {
        return CL_INVALID_CONTEXT;
    }
    return CL_SUCCESS;
}

void context_finish(void *object)
{
    cl_context c = object;

    callback_run(&c->destructors, c);
    for (cl_uint i = 0; i < c->device_count; i++) {
        cl_object_unhold(c->devices[i]);
    }
    free(c->devices);
    free(c->properties);
}

CL_API_ENTRY cl_int CL_API_CALL clGetContextInfo(cl_context context,
                                                 cl_context_info param_name,
                                                 size_t param_value_size,
                                                 void *param_value,
                                                 size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };

    if (!cl_live(context, OPENCL_cl_context)) {
        return CL_INVALID_CONTEXT;
    }
    switch (param_name) {
    case CL_CONTEXT_REFERENCE_COUNT:
        return info_value(&out, cl_uint, cl_object_refs(context));
    case CL_CONTEXT_NUM_DEVICES:
        return info_value(&out, cl_uint, context->device_count);
    case CL_CONTEXT_DEVICES:
        return info_bytes(&out, context->devices,
                          context->device_count * sizeof(cl_device_id));
    case CL_CONTEXT_PROPERTIES:
        return info_bytes(&out, context->properties,
                          context->property_count *
                              sizeof(cl_context_properties));
    default:
        return CL_INVALID_VALUE;
    }
}

CL_API_ENTRY cl_int CL_API_CALL clSetContextDestructorCallback(
    cl_context context,
    void(CL_CALLBACK *pfn_notify)(cl_context context, void *user_data),
    void *user_data)
{
    if (!cl_live(context, OPENCL_cl_context)) {
        return CL_INVALID_CONTEXT;
    }
    if (!pfn_notify) {
        return CL_INVALID_VALUE;
    }
    return callback_add(&context->destructors,
                        (void (*)(void *, void *))pfn_notify, user_data);
}
