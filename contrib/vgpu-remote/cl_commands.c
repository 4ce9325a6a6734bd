/*
 * Command buffers (cl_khr_command_buffer). The functions of an extension belong to a
 * platform and are found by name; the loader's library has none of them. So these
 * are ours, under the names that the generated decoders call: a command buffer is
 * the host's with the functions of its platform, and each call goes on to those.
 *
 * The prototypes are those of version 0.9.0 to 0.9.4. A host with another version
 * has no command buffers here.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include <CL/cl_ext.h>

#include "cl.h"
#include "opencl_serve.h"

#define FUNCTIONS(X) \
    X(clCreateCommandBufferKHR) \
    X(clFinalizeCommandBufferKHR) \
    X(clReleaseCommandBufferKHR) \
    X(clEnqueueCommandBufferKHR) \
    X(clCommandBarrierWithWaitListKHR) \
    X(clCommandCopyBufferKHR) \
    X(clCommandCopyBufferRectKHR) \
    X(clCommandCopyBufferToImageKHR) \
    X(clCommandCopyImageKHR) \
    X(clCommandCopyImageToBufferKHR) \
    X(clCommandFillBufferKHR) \
    X(clCommandFillImageKHR) \
    X(clCommandNDRangeKernelKHR) \
    X(clGetCommandBufferInfoKHR)

struct _cl_command_buffer_khr {
    /* leader only */
    cl_command_buffer_khr next, *link;
    /* constant after create */
    cl_command_buffer_khr host;
#define FUNCTION(name) __typeof__(name) *name;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    unsigned refs; /* leader only: no call that blocks has any */
};

static cl_command_buffer_khr all; /* leader only */

/* --- making ----------------------------------------------------------------------- */

/* Whether @queue's device has the version that we speak. */
static bool is_known(cl_command_queue queue)
{
    cl_device_id device = NULL;
    cl_name_version *all;
    bool found = false;
    size_t size = 0;

    clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(device), &device,
                          NULL);
    clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS_WITH_VERSION, 0, NULL, &size);
    all = calloc(1, size + sizeof(*all));
    if (all && clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS_WITH_VERSION, size,
                               all, NULL) == CL_SUCCESS) {
        for (size_t i = 0; i < size / sizeof(*all) && !found; i++) {
            found = strncmp(all[i].name, "cl_khr_command_buffer",
                            sizeof(all[i].name)) == 0 &&
                    all[i].version < CL_MAKE_VERSION(0, 9, 5);
        }
    }
    free(all);
    return found;
}

static bool find_functions(cl_command_buffer_khr b, cl_command_queue queue)
{
    bool all = true;

#define FUNCTION(name) \
    b->name = (__typeof__(name) *)queue_function(queue, #name); \
    all = all && b->name;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    return all;
}

void serve_vclCreateCommandBuffer(struct request *r,
                                  struct vclCreateCommandBuffer_args *a)
{
    const cl_command_buffer_properties_khr list[] = {
        CL_COMMAND_BUFFER_FLAGS_KHR, a->flags, 0,
    };
    cl_command_buffer_khr b = calloc(1, sizeof(*b));

    if (!b) {
        a->err = CL_OUT_OF_HOST_MEMORY;
        return;
    }
    if (!is_known(a->queue) || !find_functions(b, a->queue)) {
        a->err = CL_INVALID_OPERATION;
        free(b);
        return;
    }
    b->refs = 1;
    b->host = b->clCreateCommandBufferKHR(1, &a->queue, a->flags ? list : NULL,
                                          &a->err);
    if (!b->host) {
        free(b);
        return;
    }
    b->next = all;
    b->link = &all;
    if (all) {
        all->link = &b->next;
    }
    a->ret = all = b;
}

static void discard(cl_command_buffer_khr b)
{
    *b->link = b->next;
    if (b->next) {
        b->next->link = b->link;
    }
    free(b);
}

void commands_forget(void)
{
    while (all) {
        discard(all);
    }
}

cl_int clRetainCommandBufferKHR(cl_command_buffer_khr command_buffer)
{
    command_buffer->refs++;
    return CL_SUCCESS;
}

cl_int clReleaseCommandBufferKHR(cl_command_buffer_khr command_buffer)
{
    cl_int err = CL_SUCCESS;

    if (--command_buffer->refs == 0) {
        err = command_buffer->clReleaseCommandBufferKHR(command_buffer->host);
        discard(command_buffer);
    }
    return err;
}

void serve_vclEnqueueCommandBuffer(struct request *r,
                                   struct vclEnqueueCommandBuffer_args *a)
{
    a->ret = a->command_buffer->clEnqueueCommandBufferKHR(
        a->queue ? 1 : 0, a->queue ? &a->queue : NULL, a->command_buffer->host,
        a->num_events_in_wait_list, a->event_wait_list, a->event);
}

/* --- recording ----------------------------------------------------------- */

cl_int clFinalizeCommandBufferKHR(cl_command_buffer_khr command_buffer)
{
    return command_buffer->clFinalizeCommandBufferKHR(command_buffer->host);
}

cl_int clCommandBarrierWithWaitListKHR(
    cl_command_buffer_khr command_buffer, cl_command_queue command_queue,
    cl_uint num_sync_points_in_wait_list,
    const cl_sync_point_khr *sync_point_wait_list,
    cl_sync_point_khr *sync_point, cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandBarrierWithWaitListKHR(
        command_buffer->host, command_queue, num_sync_points_in_wait_list,
        sync_point_wait_list, sync_point, mutable_handle);
}

cl_int clCommandCopyBufferKHR(cl_command_buffer_khr command_buffer,
                              cl_command_queue command_queue, cl_mem src_buffer,
                              cl_mem dst_buffer, size_t src_offset,
                              size_t dst_offset, size_t size,
                              cl_uint num_sync_points_in_wait_list,
                              const cl_sync_point_khr *sync_point_wait_list,
                              cl_sync_point_khr *sync_point,
                              cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandCopyBufferKHR(
        command_buffer->host, command_queue, src_buffer, dst_buffer, src_offset,
        dst_offset, size, num_sync_points_in_wait_list, sync_point_wait_list,
        sync_point, mutable_handle);
}

cl_int clCommandCopyBufferRectKHR(
    cl_command_buffer_khr command_buffer, cl_command_queue command_queue,
    cl_mem src_buffer, cl_mem dst_buffer, const size_t *src_origin,
    const size_t *dst_origin, const size_t *region, size_t src_row_pitch,
    size_t src_slice_pitch, size_t dst_row_pitch, size_t dst_slice_pitch,
    cl_uint num_sync_points_in_wait_list,
    const cl_sync_point_khr *sync_point_wait_list,
    cl_sync_point_khr *sync_point, cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandCopyBufferRectKHR(
        command_buffer->host, command_queue, src_buffer, dst_buffer, src_origin,
        dst_origin, region, src_row_pitch, src_slice_pitch, dst_row_pitch,
        dst_slice_pitch, num_sync_points_in_wait_list, sync_point_wait_list,
        sync_point, mutable_handle);
}

cl_int clCommandCopyBufferToImageKHR(
    cl_command_buffer_khr command_buffer, cl_command_queue command_queue,
    cl_mem src_buffer, cl_mem dst_image, size_t src_offset,
    const size_t *dst_origin, const size_t *region,
    cl_uint num_sync_points_in_wait_list,
    const cl_sync_point_khr *sync_point_wait_list,
    cl_sync_point_khr *sync_point, cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandCopyBufferToImageKHR(
        command_buffer->host, command_queue, src_buffer, dst_image, src_offset,
        dst_origin, region, num_sync_points_in_wait_list, sync_point_wait_list,
        sync_point, mutable_handle);
}

cl_int clCommandCopyImageKHR(cl_command_buffer_khr command_buffer,
                             cl_command_queue command_queue, cl_mem src_image,
                             cl_mem dst_image, const size_t *src_origin,
                             const size_t *dst_origin, const size_t *region,
                             cl_uint num_sync_points_in_wait_list,
                             const cl_sync_point_khr *sync_point_wait_list,
                             cl_sync_point_khr *sync_point,
                             cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandCopyImageKHR(
        command_buffer->host, command_queue, src_image, dst_image, src_origin,
        dst_origin, region, num_sync_points_in_wait_list, sync_point_wait_list,
        sync_point, mutable_handle);
}

cl_int clCommandCopyImageToBufferKHR(
    cl_command_buffer_khr command_buffer, cl_command_queue command_queue,
    cl_mem src_image, cl_mem dst_buffer, const size_t *src_origin,
    const size_t *region, size_t dst_offset,
    cl_uint num_sync_points_in_wait_list,
    const cl_sync_point_khr *sync_point_wait_list,
    cl_sync_point_khr *sync_point, cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandCopyImageToBufferKHR(
        command_buffer->host, command_queue, src_image, dst_buffer, src_origin,
        region, dst_offset, num_sync_points_in_wait_list, sync_point_wait_list,
        sync_point, mutable_handle);
}

cl_int clCommandFillBufferKHR(cl_command_buffer_khr command_buffer,
                              cl_command_queue command_queue, cl_mem buffer,
                              const void *pattern, size_t pattern_size,
                              size_t offset, size_t size,
                              cl_uint num_sync_points_in_wait_list,
                              const cl_sync_point_khr *sync_point_wait_list,
                              cl_sync_point_khr *sync_point,
                              cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandFillBufferKHR(
        command_buffer->host, command_queue, buffer, pattern, pattern_size,
        offset, size, num_sync_points_in_wait_list, sync_point_wait_list,
        sync_point, mutable_handle);
}

cl_int clCommandFillImageKHR(cl_command_buffer_khr command_buffer,
                             cl_command_queue command_queue, cl_mem image,
                             const void *fill_color, const size_t *origin,
                             const size_t *region,
                             cl_uint num_sync_points_in_wait_list,
                             const cl_sync_point_khr *sync_point_wait_list,
                             cl_sync_point_khr *sync_point,
                             cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandFillImageKHR(
        command_buffer->host, command_queue, image, fill_color, origin, region,
        num_sync_points_in_wait_list, sync_point_wait_list, sync_point,
        mutable_handle);
}

cl_int clCommandNDRangeKernelKHR(
    cl_command_buffer_khr command_buffer, cl_command_queue command_queue,
    const cl_ndrange_kernel_command_properties_khr *properties,
    cl_kernel kernel, cl_uint work_dim, const size_t *global_work_offset,
    const size_t *global_work_size, const size_t *local_work_size,
    cl_uint num_sync_points_in_wait_list,
    const cl_sync_point_khr *sync_point_wait_list,
    cl_sync_point_khr *sync_point, cl_mutable_command_khr *mutable_handle)
{
    return command_buffer->clCommandNDRangeKernelKHR(
        command_buffer->host, command_queue, properties, kernel, work_dim,
        global_work_offset, global_work_size, local_work_size,
        num_sync_points_in_wait_list, sync_point_wait_list, sync_point,
        mutable_handle);
}

cl_int clGetCommandBufferInfoKHR(cl_command_buffer_khr command_buffer,
                                 cl_command_buffer_info_khr param_name,
                                 size_t param_value_size, void *param_value,
                                 size_t *param_value_size_ret)
{
    return command_buffer->clGetCommandBufferInfoKHR(
        command_buffer->host, param_name, param_value_size, param_value,
        param_value_size_ret);
}
