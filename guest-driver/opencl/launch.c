/*
 * Launching kernels. What is known to be right is sent without waiting; anything
 * that might be wrong is waited for, so that the host's own error code comes
 * back. So the checks here need not know every rule, only when they are met.
 *
 * SPDX-License-Identifier: MIT
 */
#include "command.h"

#include <stdlib.h>

#include "opencl_call.h"

/* What the host says about @kernel on @device: asked once. NULL: an error. */
static const struct launch_limits *limits_of(cl_kernel kernel,
                                             cl_device_id device)
{
    struct launch_limits *l = kernel->limits;

    while (l && l->device != device) {
        l = l->next;
    }
    if (l) {
        return l;
    }
    l = calloc(1, sizeof(*l));
    if (!l ||
        clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_WORK_GROUP_SIZE,
                                 sizeof(l->group), &l->group,
                                 NULL) != CL_SUCCESS ||
        clGetKernelWorkGroupInfo(kernel, device,
                                 CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
                                 sizeof(l->required), l->required,
                                 NULL) != CL_SUCCESS) {
        free(l);
        return NULL;
    }
    l->device = device;
    l->next = kernel->limits;
    /* Two threads may ask at once: two equal entries do no harm. */
    while (!atomic_compare_exchange_weak(&kernel->limits, &l->next, l)) {
    }
    return l;
}

static bool group_is_right(const struct launch_limits *l, cl_uint dims,
                           const size_t *global, const size_t *local)
{
    size_t items = 1;

    for (cl_uint i = 0; i < 3; i++) {
        size_t size = i < dims ? local[i] : 1;

        if (!size || size > l->device->max_items[i] ||
            (l->required[0] && l->required[i] != size) ||
            (i < dims && global[i] % size) ||
            __builtin_mul_overflow(items, size, &items)) {
            return false;
        }
    }
    return items <= l->group;
}

/* Whether this launch surely succeeds. */
static bool is_right(cl_kernel kernel, cl_device_id device, cl_uint dims,
                     const size_t *offset, const size_t *global,
                     const size_t *local)
{
    const struct launch_limits *limits;
    size_t end;

    if (kernel->args_missing || !global ||
        !(limits = limits_of(kernel, device))) {
        return false;
    }
    for (cl_uint i = 0; i < dims; i++) {
        if (!global[i] ||
            __builtin_add_overflow(global[i], offset ? offset[i] : 0, &end)) {
            return false;
        }
    }
    return local ? group_is_right(limits, dims, global, local)
                 : !limits->required[0];
}

static bool has_zero(cl_uint dims, const size_t *size)
{
    for (cl_uint i = 0; i < dims; i++) {
        if (!size[i]) {
            return true;
        }
    }
    return false;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueNDRangeKernel(
    cl_command_queue queue, cl_kernel kernel, cl_uint work_dim,
    const size_t *offset, const size_t *global, const size_t *local,
    cl_uint num_events, const cl_event *events, cl_event *event)
{
    struct command c;
    bool right;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_NDRANGE_KERNEL, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        err = CL_INVALID_KERNEL;
    } else if (kernel->program->context != queue->context) {
        err = CL_INVALID_CONTEXT;
    } else if (work_dim < 1 || work_dim > 3) {
        err = CL_INVALID_WORK_DIMENSION;
    } else if (local && has_zero(work_dim, local)) {
        err = CL_INVALID_WORK_GROUP_SIZE; /* some hosts divide by it */
    } else if (!kernel_fits(kernel, queue->device)) {
        err = CL_OUT_OF_RESOURCES;
    }
    if (err != CL_SUCCESS) {
        return command_end(&c, err);
    }
    right = is_right(kernel, queue->device, work_dim, offset, global, local);
    err = call_checked(c.session, right, call_clEnqueueNDRangeKernel(
        c.session, c.queue_id, kernel->obj.id, work_dim, offset, global, local,
        c.waits, c.ids, c.event_id));
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueTask(cl_command_queue queue,
                                              cl_kernel kernel,
                                              cl_uint num_events,
                                              const cl_event *events,
                                              cl_event *event)
{
    size_t one = 1;
    cl_int err = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, &one,
                                        num_events, events, event);

    if (err == CL_SUCCESS && event) {
        (*event)->command = CL_COMMAND_TASK;
    }
    return err;
}
