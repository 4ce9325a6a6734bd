/*
 * Command queues.
 *
 * SPDX-License-Identifier: MIT
 */
#include "command.h"

#include <CL/cl_ext.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"

#define HOST_QUEUE_FLAGS                                                   \
    (CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE)
#define PROPERTIES_MAX 16

/* The items of @properties, zero included, and the flags among them. */
static cl_int check_properties(const cl_queue_properties *properties,
                               cl_uint *count,
                               cl_command_queue_properties *flags)
{
    cl_uint n = 0;

    *count = 0;
    *flags = 0;
    if (!properties) {
        return CL_SUCCESS;
    }
    for (; properties[n]; n += 2) {
        if (n + 2 >= PROPERTIES_MAX) {
            return CL_INVALID_VALUE;
        }
        switch (properties[n]) {
        case CL_QUEUE_PROPERTIES:
            if (n) {
                return CL_INVALID_VALUE; /* it is all that a list may hold */
            }
            *flags = properties[n + 1];
            if (*flags & ~(cl_command_queue_properties)(
                              HOST_QUEUE_FLAGS | CL_QUEUE_ON_DEVICE |
                              CL_QUEUE_ON_DEVICE_DEFAULT)) {
                return CL_INVALID_VALUE;
            }
            if (*flags & ~(cl_command_queue_properties)HOST_QUEUE_FLAGS) {
                return CL_INVALID_QUEUE_PROPERTIES;
            }
            break;
        case CL_QUEUE_SIZE: /* of queues on the device alone */
        default:
            return CL_INVALID_VALUE;
        }
    }
    *count = n + 1;
    return CL_SUCCESS;
}

/* Whether @device is one of @context's, or a part of one. */
static bool has_device(cl_context context, cl_device_id device)
{
    for (; device; device = device->parent) {
        for (cl_uint i = 0; i < context->device_count; i++) {
            if (context->devices[i] == device) {
                return true;
            }
        }
    }
    return false;
}

static cl_int create(cl_context context, cl_device_id device,
                     const cl_queue_properties *properties,
                     cl_command_queue *queue)
{
    cl_command_queue_properties flags;
    struct session *s = cl_session();
    cl_command_queue q;
    cl_uint count;
    cl_int err;

    *queue = NULL;
    if (!s || !cl_live(context, OPENCL_cl_context)) {
        return CL_INVALID_CONTEXT;
    }
    if (!cl_live(device, OPENCL_cl_device_id) || !has_device(context, device)) {
        return CL_INVALID_DEVICE;
    }
    err = check_properties(properties, &count, &flags);
    if (err != CL_SUCCESS) {
        return err;
    }
    q = cl_object_create(s, OPENCL_cl_command_queue);
    if (!q) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    q->context = context;
    q->device = device;
    q->flags = flags;
    cl_object_hold(context);
    cl_object_hold(device);
    q->obj.id = session_new_id(s);
    if (count) {
        q->properties = malloc(count * sizeof(properties[0]));
    }
    if (!q->obj.id || (count && !q->properties)) {
        err = CL_OUT_OF_HOST_MEMORY;
    } else {
        if (count) {
            memcpy(q->properties, properties, count * sizeof(properties[0]));
        }
        q->property_count = count;
        /* The flags are all that a list may hold: the older function does. */
        err = call_clCreateCommandQueue(s, context->obj.id, device->obj.id,
                                        flags, q->obj.id);
    }
    if (err != CL_SUCCESS) {
        cl_object_undo(q);
        return err;
    }
    *queue = q;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_command_queue CL_API_CALL clCreateCommandQueueWithProperties(
    cl_context context, cl_device_id device,
    const cl_queue_properties *properties, cl_int *errcode_ret)
{
    cl_command_queue q;
    cl_int err = create(context, device, properties, &q);

    return cl_return(q, err, errcode_ret);
}

CL_API_ENTRY cl_command_queue CL_API_CALL clCreateCommandQueueWithPropertiesKHR(
    cl_context context, cl_device_id device,
    const cl_queue_properties_khr *properties, cl_int *errcode_ret)
{
    return clCreateCommandQueueWithProperties(context, device, properties,
                                              errcode_ret);
}

CL_API_ENTRY cl_command_queue CL_API_CALL
clCreateCommandQueue(cl_context context, cl_device_id device,
                     cl_command_queue_properties properties,
                     cl_int *errcode_ret)
{
    cl_queue_properties list[] = { CL_QUEUE_PROPERTIES, properties, 0 };
    cl_command_queue q;
    cl_int err = create(context, device, list, &q);

    if (q) {
        /* Made without a list: none is answered. */
        q->property_count = 0;
    }
    return cl_return(q, err, errcode_ret);
}

/* Without a reply slot. */
static cl_int finish_by_event(cl_command_queue queue)
{
    cl_event last;
    cl_int err = clEnqueueMarkerWithWaitList(queue, 0, NULL, &last);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = clWaitForEvents(1, &last);
    clReleaseEvent(last);
    /* That a command has failed is for who asks its event. */
    return err == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST ? CL_SUCCESS
                                                               : err;
}

CL_API_ENTRY cl_int CL_API_CALL clFinish(cl_command_queue queue)
{
    struct session *s;
    uint64_t use;
    cl_int err;

    if (!cl_live(queue, OPENCL_cl_command_queue)) {
        return CL_INVALID_COMMAND_QUEUE;
    }
    s = queue->obj.session;
    use = atomic_load(&queue->use);
    if (long_wait_begin(s)) {
        err = call_clFinish(s, queue->obj.id);
        long_wait_end(s);
    } else {
        err = finish_by_event(queue);
    }
    if (err == CL_SUCCESS) {
        queue_finished(queue, use);
    }
    command_waited(s);
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clRetainCommandQueue(cl_command_queue queue)
{
    if (!cl_live(queue, OPENCL_cl_command_queue)) {
        return CL_INVALID_COMMAND_QUEUE;
    }
    cl_object_retain(queue);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseCommandQueue(cl_command_queue queue)
{
    if (!cl_live(queue, OPENCL_cl_command_queue) ||
        !cl_object_release(queue)) {
        return CL_INVALID_COMMAND_QUEUE;
    }
    return CL_SUCCESS;
}

void queue_finish(void *object)
{
    cl_command_queue q = object;

    free(q->properties);
    cl_object_unhold(q->device);
    cl_object_unhold(q->context);
}

CL_API_ENTRY cl_int CL_API_CALL clGetCommandQueueInfo(
    cl_command_queue queue, cl_command_queue_info param_name,
    size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };

    if (!cl_live(queue, OPENCL_cl_command_queue)) {
        return CL_INVALID_COMMAND_QUEUE;
    }
    switch (param_name) {
    case CL_QUEUE_CONTEXT:
        return info_value(&out, cl_context, queue->context);
    case CL_QUEUE_DEVICE:
        return info_value(&out, cl_device_id, queue->device);
    case CL_QUEUE_REFERENCE_COUNT:
        return info_value(&out, cl_uint, cl_object_refs(queue));
    case CL_QUEUE_PROPERTIES:
        return info_value(&out, cl_command_queue_properties, queue->flags);
    case CL_QUEUE_PROPERTIES_ARRAY:
        return info_bytes(&out, queue->properties,
                          queue->property_count * sizeof(cl_queue_properties));
    case CL_QUEUE_SIZE: /* not a queue on the device */
        return CL_INVALID_COMMAND_QUEUE;
    case CL_QUEUE_DEVICE_DEFAULT:
        return info_value(&out, cl_command_queue, NULL);
    default:
        return CL_INVALID_VALUE;
    }
}

