/*
 * Command buffers. What is recorded lies on the host; the commands themselves are
 * generated calls. One queue belongs to a buffer, and the host says whether it may
 * run in another.
 *
 * SPDX-License-Identifier: MIT
 */
#include "command.h"

#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"

#define KNOWN_FLAGS CL_COMMAND_BUFFER_SIMULTANEOUS_USE_KHR

/* The items of @properties, zero included, and the flags among them. */
static cl_int check_properties(
    const cl_command_buffer_properties_khr *properties, cl_uint *count,
    cl_command_buffer_flags_khr *flags)
{
    cl_uint n = 0;

    *count = 0;
    *flags = 0;
    if (!properties) {
        return CL_SUCCESS;
    }
    for (; properties[n]; n += 2) {
        if (n || properties[n] != CL_COMMAND_BUFFER_FLAGS_KHR) {
            return CL_INVALID_VALUE;
        }
        *flags = properties[n + 1];
    }
    *count = n + 1;
    return *flags & ~(cl_command_buffer_flags_khr)KNOWN_FLAGS
               ? CL_INVALID_VALUE : CL_SUCCESS;
}

static cl_command_buffer_khr create_shadow(cl_command_queue queue)
{
    struct session *s = queue->obj.session;
    cl_command_buffer_khr b = cl_object_create(s,
                                               OPENCL_cl_command_buffer_khr);

    if (!b) {
        return NULL;
    }
    b->queue = queue;
    cl_object_hold(queue);
    b->obj.id = session_new_id(s);
    if (!b->obj.id) {
        cl_object_undo(b);
        return NULL;
    }
    return b;
}

CL_API_ENTRY cl_command_buffer_khr CL_API_CALL clCreateCommandBufferKHR(
    cl_uint num_queues, const cl_command_queue *queues,
    const cl_command_buffer_properties_khr *properties, cl_int *errcode_ret)
{
    cl_command_buffer_flags_khr flags;
    cl_command_buffer_khr b;
    cl_uint count;
    cl_int err;

    if (num_queues != 1 || !queues) {
        return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
    }
    if (!cl_live(queues[0], OPENCL_cl_command_queue)) {
        return cl_return(NULL, CL_INVALID_COMMAND_QUEUE, errcode_ret);
    }
    err = check_properties(properties, &count, &flags);
    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    b = create_shadow(queues[0]);
    if (!b) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    if (count) {
        memcpy(b->properties, properties, count * sizeof(properties[0]));
    }
    b->property_count = count;
    err = call_vclCreateCommandBuffer(b->obj.session, queues[0]->obj.id, flags,
                                      b->obj.id);
    if (err != CL_SUCCESS) {
        cl_object_undo(b);
    }
    return cl_return(b, err, errcode_ret);
}

CL_API_ENTRY cl_int CL_API_CALL
clRetainCommandBufferKHR(cl_command_buffer_khr command_buffer)
{
    if (!cl_live(command_buffer, OPENCL_cl_command_buffer_khr)) {
        return CL_INVALID_COMMAND_BUFFER_KHR;
    }
    cl_object_retain(command_buffer);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL
clReleaseCommandBufferKHR(cl_command_buffer_khr command_buffer)
{
    if (!cl_live(command_buffer, OPENCL_cl_command_buffer_khr) ||
        !cl_object_release(command_buffer)) {
        return CL_INVALID_COMMAND_BUFFER_KHR;
    }
    return CL_SUCCESS;
}

void command_buffer_finish(void *object)
{
    cl_command_buffer_khr b = object;

    cl_object_unhold(b->queue);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueCommandBufferKHR(
    cl_uint num_queues, cl_command_queue *queues,
    cl_command_buffer_khr command_buffer, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    struct command c;
    cl_int err;

    if (!cl_live(command_buffer, OPENCL_cl_command_buffer_khr)) {
        return CL_INVALID_COMMAND_BUFFER_KHR;
    }
    if (num_queues > 1 || !num_queues != !queues) {
        return CL_INVALID_VALUE;
    }
    err = command_begin(&c, queues ? queues[0] : command_buffer->queue,
                        num_events, events, CL_COMMAND_COMMAND_BUFFER_KHR,
                        event);
    if (err != CL_SUCCESS) {
        return err;
    }
    err = call_vclEnqueueCommandBuffer(c.session, command_buffer->obj.id,
                                       queues ? c.queue_id : 0, c.waits, c.ids,
                                       c.event_id);
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clGetCommandBufferInfoKHR(
    cl_command_buffer_khr command_buffer, cl_command_buffer_info_khr param_name,
    size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };

    if (!cl_live(command_buffer, OPENCL_cl_command_buffer_khr)) {
        return CL_INVALID_COMMAND_BUFFER_KHR;
    }
    switch (param_name) {
    case CL_COMMAND_BUFFER_NUM_QUEUES_KHR:
        return info_value(&out, cl_uint, 1);
    case CL_COMMAND_BUFFER_QUEUES_KHR:
        return info_value(&out, cl_command_queue, command_buffer->queue);
    case CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR:
        return info_value(&out, cl_uint, cl_object_refs(command_buffer));
    case CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR:
        return info_bytes(&out, command_buffer->properties,
                          command_buffer->property_count *
                              sizeof(command_buffer->properties[0]));
    default:
        return call_clGetCommandBufferInfoKHR(
            command_buffer->obj.session, command_buffer->obj.id, param_name,
            param_value_size, param_value, param_value_size_ret);
    }
}

cl_int check_clCommandNDRangeKernelKHR(
    cl_command_buffer_khr command_buffer, cl_command_queue queue,
    const cl_ndrange_kernel_command_properties_khr *properties,
    cl_kernel kernel, cl_uint work_dim, const size_t *offset,
    const size_t *global, const size_t *local, cl_uint num_sync_points,
    const cl_sync_point_khr *sync_points, cl_sync_point_khr *sync_point,
    cl_mutable_command_khr *mutable_handle)
{
    return kernel_fits(kernel, command_buffer->queue->device)
               ? CL_SUCCESS : CL_OUT_OF_RESOURCES;
}
