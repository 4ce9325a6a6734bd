/*
 * An OpenCL layer (OPENCL_LAYERS=) whose host runs out of resources when it is told to:
 * as long as there is a buffer of FAULT bytes, no command can be queued. So what
 * carries that to a guest can be tested.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdatomic.h>

#include "../layer.h"

#define FAULT 0xfa17u
#define FAILS CL_OUT_OF_RESOURCES

static _Atomic(cl_mem) trigger;

static CL_API_ENTRY cl_mem CL_API_CALL create_buffer(cl_context context,
                                                     cl_mem_flags flags, size_t size,
                                                     void *host_ptr, cl_int *err)
{
    cl_mem mem = below->clCreateBuffer(context, flags, size, host_ptr, err);

    if (size == FAULT) {
        trigger = mem;
    }
    return mem;
}

static CL_API_ENTRY cl_int CL_API_CALL release_mem_object(cl_mem mem)
{
    if (mem && mem == trigger) {
        trigger = NULL;
    }
    return below->clReleaseMemObject(mem);
}

static CL_API_ENTRY cl_int CL_API_CALL
read_buffer(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset,
            size_t size, void *ptr, cl_uint n, const cl_event *waits,
            cl_event *event)
{
    return trigger ? FAILS
                   : below->clEnqueueReadBuffer(queue, mem, blocking, offset, size,
                                                ptr, n, waits, event);
}

static CL_API_ENTRY cl_int CL_API_CALL
write_buffer(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset,
             size_t size, const void *ptr, cl_uint n, const cl_event *waits,
             cl_event *event)
{
    return trigger ? FAILS
                   : below->clEnqueueWriteBuffer(queue, mem, blocking, offset, size,
                                                 ptr, n, waits, event);
}

static CL_API_ENTRY void *CL_API_CALL
map_buffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
           cl_map_flags flags, size_t offset, size_t size, cl_uint n,
           const cl_event *waits, cl_event *event, cl_int *err)
{
    if (trigger) {
        if (err) {
            *err = FAILS;
        }
        return NULL;
    }
    return below->clEnqueueMapBuffer(queue, mem, blocking, flags, offset, size, n,
                                     waits, event, err);
}

static CL_API_ENTRY cl_int CL_API_CALL
fill_buffer(cl_command_queue queue, cl_mem mem, const void *pattern,
            size_t pattern_size, size_t offset, size_t size, cl_uint n,
            const cl_event *waits, cl_event *event)
{
    return trigger ? FAILS
                   : below->clEnqueueFillBuffer(queue, mem, pattern, pattern_size,
                                                offset, size, n, waits, event);
}

static CL_API_ENTRY cl_int CL_API_CALL
run_kernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
           const size_t *offset, const size_t *size, const size_t *local, cl_uint n,
           const cl_event *waits, cl_event *event)
{
    return trigger ? FAILS
                   : below->clEnqueueNDRangeKernel(queue, kernel, dimensions, offset,
                                                   size, local, n, waits, event);
}

static void layer_set(struct _cl_icd_dispatch *ours)
{
    ours->clCreateBuffer = create_buffer;
    ours->clReleaseMemObject = release_mem_object;
    ours->clEnqueueReadBuffer = read_buffer;
    ours->clEnqueueWriteBuffer = write_buffer;
    ours->clEnqueueMapBuffer = map_buffer;
    ours->clEnqueueFillBuffer = fill_buffer;
    ours->clEnqueueNDRangeKernel = run_kernel;
}
