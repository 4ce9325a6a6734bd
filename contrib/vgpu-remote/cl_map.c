/*
 * Mapping buffers that lie in blobs: the guest has their bytes before its eyes
 * all the time, and asks when it may touch them.
 *
 * Where the devices work in the host's memory, mapping is a matter of order
 * alone: the host's OpenCL is not asked to map. A map waits for what came before it in
 * the queue, and an unmap for nothing: the guest has written before it sent it.
 * Elsewhere the host's map and unmap move what has to be moved.
 *
 * A guest may name a buffer that lies in no blob. It sees nothing of it then.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cl.h"
#include "opencl_serve.h"

static bool is_direct(cl_mem buffer)
{
    cl_context context = NULL;

    clGetMemObjectInfo(buffer, CL_MEM_CONTEXT, sizeof(context), &context, NULL);
    return context_is_direct(context);
}

/* Whether the bytes named are the buffer's. */
static bool is_within(cl_mem buffer, size_t offset, size_t size)
{
    size_t all = 0;

    clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof(all), &all, NULL);
    return size && offset <= all && size <= all - offset;
}

/* Waits if it is to, and gives the event to the guest, or up. */
static void settle(struct request *r, struct vclEnqueueMapBuffer_args *a,
                   cl_event event)
{
    if (a->blocking_map) {
        session_block_begin(r);
        a->ret = clWaitForEvents(1, &event);
    }
    if (a->event && a->ret == CL_SUCCESS) {
        *a->event = event;
    } else {
        clReleaseEvent(event);
    }
}

/* --- by order alone ------------------------------------------------------------------ */

/*
 * An event behind all that a map has to wait for. In a queue that keeps no
 * order that is not a marker, which would wait for everything, but a map that is
 * undone at once.
 */
static cl_int order_event(struct vclEnqueueMapBuffer_args *a, cl_event *event)
{
    void *mapped;
    cl_int err;

    if (queue_keeps_order(a->command_queue)) {
        return clEnqueueMarkerWithWaitList(a->command_queue,
                                           a->num_events_in_wait_list,
                                           a->event_wait_list, event);
    }
    mapped = clEnqueueMapBuffer(a->command_queue, a->buffer, CL_FALSE,
                                a->map_flags, a->offset, a->size,
                                a->num_events_in_wait_list, a->event_wait_list,
                                event, &err);
    if (err == CL_SUCCESS) {
        clEnqueueUnmapMemObject(a->command_queue, a->buffer, mapped, 1, event,
                                NULL);
    }
    return err;
}

static void map_direct(struct request *r, struct vclEnqueueMapBuffer_args *a)
{
    uint64_t at = queue_count();
    bool ordered = queue_keeps_order(a->command_queue);
    cl_event event;

    if (!is_within(a->buffer, a->offset, a->size)) {
        a->ret = CL_INVALID_VALUE;
        return;
    }
    if (!a->event && !a->num_events_in_wait_list && ordered &&
        (!a->blocking_map || queue_was_idle(a->id_of_command_queue, at - 1))) {
        if (a->blocking_map) {
            queue_set_idle(a->id_of_command_queue, at);
        }
        return;
    }
    a->ret = order_event(a, &event);
    if (a->ret != CL_SUCCESS) {
        return;
    }
    settle(r, a, event);
    if (a->blocking_map && ordered && a->ret == CL_SUCCESS) {
        queue_set_idle(a->id_of_command_queue, at);
    }
}

static void unmap_direct(struct vclEnqueueUnmapBuffer_args *a)
{
    uint64_t at = queue_count();

    if (a->event || a->num_events_in_wait_list) {
        a->ret = clEnqueueMarkerWithWaitList(a->command_queue,
                                             a->num_events_in_wait_list,
                                             a->event_wait_list, a->event);
    } else if (queue_was_idle(a->id_of_command_queue, at - 1)) {
        queue_set_idle(a->id_of_command_queue, at);
    }
}

/* --- by the host's OpenCL -------------------------------------------------------------- */

static void map_on_host(struct request *r, struct vclEnqueueMapBuffer_args *a)
{
    cl_event event;
    void *mapped = clEnqueueMapBuffer(a->command_queue, a->buffer, CL_FALSE,
                                      a->map_flags, a->offset, a->size,
                                      a->num_events_in_wait_list,
                                      a->event_wait_list, &event, &a->ret);

    if (a->ret != CL_SUCCESS) {
        return;
    }
    if (mapped != buffer_memory(a->buffer) + a->offset) {
        /* Then the guest would look at the wrong bytes. */
        clEnqueueUnmapMemObject(a->command_queue, a->buffer, mapped, 0, NULL,
                                NULL);
        clReleaseEvent(event);
        a->ret = CL_MAP_FAILURE;
        return;
    }
    settle(r, a, event);
}

/* --- the calls ---------------------------------------------------------------------------- */

void serve_vclEnqueueMapBuffer(struct request *r,
                               struct vclEnqueueMapBuffer_args *a)
{
    if (!buffer_memory(a->buffer)) {
        a->ret = CL_INVALID_OPERATION;
    } else if (a->num_events_in_wait_list && !a->event_wait_list) {
        a->ret = CL_INVALID_EVENT_WAIT_LIST;
    } else if (is_direct(a->buffer)) {
        map_direct(r, a);
    } else {
        map_on_host(r, a);
    }
}

void serve_vclEnqueueUnmapBuffer(struct request *r,
                                 struct vclEnqueueUnmapBuffer_args *a)
{
    char *memory = buffer_memory(a->buffer);

    if (!memory) {
        a->ret = CL_INVALID_OPERATION;
    } else if (!is_within(a->buffer, a->offset, a->size)) {
        a->ret = CL_INVALID_VALUE;
    } else if (is_direct(a->buffer)) {
        unmap_direct(a);
    } else {
        a->ret = clEnqueueUnmapMemObject(a->command_queue, a->buffer,
                                         memory + a->offset,
                                         a->num_events_in_wait_list,
                                         a->event_wait_list, a->event);
    }
}
