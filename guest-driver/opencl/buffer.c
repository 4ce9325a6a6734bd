/*
 * Buffers: making them, and commands between them. Transfers to and from the
 * program are in transfer.c, mapping in map.c.
 *
 * Where a buffer's contents live:
 *   ALLOC_HOST_PTR   in a region that the worker's buffer lies in, too: mapping
 *                    it costs no copy. Small ones, and those for which there is no
 *                    region, are like the rest.
 *   none of the      where the devices work in the host's memory: large ones in a
 *   three, COPY_...  region as well, as long as there is plenty of memory for those.
 *   USE_HOST_PTR     on the device; host_ptr is brought up to date by mapping.
 *                    In shared virtual memory: in that, on the device.
 *   else             on the device.
 *
 * A creation is sent without waiting when nothing is left that could fail but
 * memory, and of that it takes little.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

#include "colour.h"
#include "opencl_call.h"

/* Smaller host-allocated buffers are copied rather than given a blob each. */
#define REGION_MIN 65536u
/* So are those whose program has not asked for it, if a copy takes less than a blob. */
#define SPARE_MIN STREAM_MIN
/* The host is waited for when a buffer is so large that it might not fit. */
#define CERTAIN_MAX ((size_t)64 << 20)

/* Larger initial contents are written after the buffer was made. */
#define INITIAL_MAX ((size_t)16 << 20)

static cl_ulong max_alloc(cl_context context)
{
    cl_ulong most = 0;

    for (cl_uint i = 0; i < context->device_count; i++) {
        if (context->devices[i]->max_alloc > most) {
            most = context->devices[i]->max_alloc;
        }
    }
    return most;
}

static bool find_region(cl_mem mem)
{
    static _Atomic uint32_t made;
    struct session *s = mem->obj.session;
    size_t colour = mem->context->direct ? colour_next(&made, mem->size) : 0;
    bool found = false;

    if (mem->flags & CL_MEM_ALLOC_HOST_PTR) {
        found = mem->size >= REGION_MIN &&
                region_create(s, colour + mem->size, &mem->region) == 0;
    } else if (mem->context->direct && mem->size >= SPARE_MIN &&
               !(mem->flags & CL_MEM_USE_HOST_PTR)) {
        found = region_create_spare(s, colour + mem->size, &mem->region) == 0;
    }
    if (found) {
        mem->region.data = (char *)mem->region.data + colour;
        mem->region.span.offset += colour;
    }
    return found;
}

/* Try to have the contents of @mem in memory that both sides see. */
static bool create_in_region(cl_mem mem, const void *host_ptr, cl_int *err)
{
    cl_mem_flags flags = mem->flags & ~(cl_mem_flags)MEM_HOST_PTR_FLAGS;
    struct session *s = mem->obj.session;

    if (!find_region(mem)) {
        return false;
    }
    if (host_ptr) {
        memcpy(mem->region.data, host_ptr, mem->size);
    }
    *err = call_checked(s, true, call_vclCreateBufferInBlob(
        s, mem->context->obj.id, flags, mem->size, mem->region.span.blob,
        mem->region.span.offset, mem->obj.id));
    return true;
}

static cl_int create_on_host(cl_mem mem, void *host_ptr)
{
    struct session *s = mem->obj.session;
    cl_mem_flags flags = mem->flags;
    cl_int err;

    if (create_in_region(mem, host_ptr, &err)) {
        return err;
    }
    if (mem->in_svm) {
        return call_checked(s, true, call_vclCreateBufferInSVM(
            s, mem->context->obj.id, flags, mem->size, (uintptr_t)host_ptr,
            mem->obj.id));
    }
    if (flags & CL_MEM_USE_HOST_PTR) {
        flags &= ~(cl_mem_flags)CL_MEM_USE_HOST_PTR;
        flags |= CL_MEM_COPY_HOST_PTR;
    }
    if (host_ptr && mem->size > INITIAL_MAX) {
        /* Too much to send at once. The flags bind the program, not us. */
        flags &= ~(cl_mem_flags)(CL_MEM_COPY_HOST_PTR | MEM_HOST_ACCESS_FLAGS);
        err = call_checked(s, false, call_clCreateBuffer(
            s, mem->context->obj.id, flags, mem->size, NULL, mem->obj.id));
        if (err != CL_SUCCESS) {
            return err;
        }
        err = transfer_initial(mem, host_ptr);
        if (err != CL_SUCCESS) {
            call_clReleaseMemObject(s, mem->obj.id);
        }
        return err;
    }
    return call_checked(s, mem->size <= CERTAIN_MAX, call_clCreateBuffer(
        s, mem->context->obj.id, flags, mem->size, host_ptr, mem->obj.id));
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateBuffer(cl_context context,
                                               cl_mem_flags flags, size_t size,
                                               void *host_ptr,
                                               cl_int *errcode_ret)
{
    cl_int err = CL_SUCCESS;
    cl_mem mem = NULL;

    if (!cl_live(context, OPENCL_cl_context)) {
        err = CL_INVALID_CONTEXT;
    } else if (!size || size > max_alloc(context)) {
        err = CL_INVALID_BUFFER_SIZE;
    } else {
        err = mem_check_flags(flags);
    }
    if (err == CL_SUCCESS) {
        err = mem_check_host_ptr(flags, host_ptr);
    }
    if (err == CL_SUCCESS) {
        mem = mem_create(context, CL_MEM_OBJECT_BUFFER, flags, size);
        err = mem ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    }
    if (err == CL_SUCCESS) {
        mem->in_svm = (flags & CL_MEM_USE_HOST_PTR) &&
                      svm_has(context, host_ptr, size);
        err = create_on_host(mem, host_ptr);
    }
    if (err != CL_SUCCESS && mem) {
        cl_object_undo(mem);
    } else if (mem && (flags & CL_MEM_USE_HOST_PTR)) {
        mem->host_ptr = host_ptr;
    }
    return cl_return(mem, err, errcode_ret);
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateBufferWithProperties(
    cl_context context, const cl_mem_properties *properties,
    cl_mem_flags flags, size_t size, void *host_ptr, cl_int *errcode_ret)
{
    cl_mem mem;

    if (mem_check_properties(properties) != CL_SUCCESS) {
        return cl_return(NULL, CL_INVALID_PROPERTY, errcode_ret);
    }
    mem = clCreateBuffer(context, flags, size, host_ptr, errcode_ret);
    if (mem && properties) {
        mem->property_count = 1;
    }
    return mem;
}

/* --- sub-buffers ---------------------------------------------------------------- */

/* The flags of a part: its own, and where it says nothing its parent's. */
static cl_int inherit_flags(cl_mem parent, cl_mem_flags *flags)
{
    cl_mem_flags own = *flags, of = parent->flags;

    if (mem_check_flags(own) != CL_SUCCESS || (own & MEM_HOST_PTR_FLAGS) ||
        ((of & CL_MEM_WRITE_ONLY) &&
         (own & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY))) ||
        ((of & CL_MEM_READ_ONLY) &&
         (own & (CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY))) ||
        ((of & CL_MEM_HOST_WRITE_ONLY) && (own & CL_MEM_HOST_READ_ONLY)) ||
        ((of & CL_MEM_HOST_READ_ONLY) && (own & CL_MEM_HOST_WRITE_ONLY)) ||
        ((of & CL_MEM_HOST_NO_ACCESS) &&
         (own & (CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY)))) {
        return CL_INVALID_VALUE;
    }
    if (!(own & MEM_ACCESS_FLAGS)) {
        own |= of & MEM_ACCESS_FLAGS;
    }
    if (!(own & MEM_HOST_ACCESS_FLAGS)) {
        own |= of & MEM_HOST_ACCESS_FLAGS;
    }
    *flags = own;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateSubBuffer(cl_mem buffer,
                                                  cl_mem_flags flags,
                                                  cl_buffer_create_type type,
                                                  const void *info,
                                                  cl_int *errcode_ret)
{
    const cl_buffer_region *part = info;
    cl_int err;
    cl_mem mem;

    if (!cl_live(buffer, OPENCL_cl_mem) || buffer->parent ||
        buffer->kind != CL_MEM_OBJECT_BUFFER) {
        return cl_return(NULL, CL_INVALID_MEM_OBJECT, errcode_ret);
    }
    if (type != CL_BUFFER_CREATE_TYPE_REGION || !part ||
        inherit_flags(buffer, &flags) != CL_SUCCESS ||
        part->origin > buffer->size ||
        part->size > buffer->size - part->origin) {
        return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
    }
    if (!part->size) {
        return cl_return(NULL, CL_INVALID_BUFFER_SIZE, errcode_ret);
    }
    mem = mem_create(buffer->context, CL_MEM_OBJECT_BUFFER, flags, part->size);
    if (!mem) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    mem->parent = buffer;
    mem->origin = part->origin;
    cl_object_hold(buffer);
    /* Only the host knows how its devices want it aligned. */
    err = call_checked(mem->obj.session, false, call_vclCreateSubBuffer(
        mem->obj.session, buffer->obj.id, flags, part->origin, part->size,
        mem->obj.id));
    if (err != CL_SUCCESS) {
        cl_object_undo(mem);
    } else {
        mem->flags |= buffer->flags & MEM_HOST_PTR_FLAGS;
        if (buffer->host_ptr) {
            mem->host_ptr = (char *)buffer->host_ptr + part->origin;
            mem->in_svm = buffer->in_svm;
        }
    }
    return cl_return(mem, err, errcode_ret);
}

/* --- commands between buffers --------------------------------------------------- */

/* The buffer that @mem is, or is a part of, and where in it. */
static cl_mem whole(cl_mem mem, size_t *offset)
{
    if (mem->parent) {
        *offset += mem->origin;
        return mem->parent;
    }
    return mem;
}

static bool overlaps(cl_mem a, size_t at_a, cl_mem b, size_t at_b, size_t size)
{
    return whole(a, &at_a) == whole(b, &at_b) && at_a < at_b + size &&
           at_b < at_a + size;
}

static bool is_within(cl_mem mem, size_t offset, size_t size)
{
    return offset <= mem->size && size <= mem->size - offset;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueCopyBuffer(
    cl_command_queue queue, cl_mem src, cl_mem dst, size_t src_offset,
    size_t dst_offset, size_t size, cl_uint num_events, const cl_event *events,
    cl_event *event)
{
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_COPY_BUFFER, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = command_mem(&c, src, CL_MEM_OBJECT_BUFFER);
    if (err == CL_SUCCESS) {
        err = command_mem(&c, dst, CL_MEM_OBJECT_BUFFER);
    }
    if (err == CL_SUCCESS && (!is_within(src, src_offset, size) ||
                              !is_within(dst, dst_offset, size))) {
        err = CL_INVALID_VALUE;
    }
    if (err == CL_SUCCESS && size &&
        overlaps(src, src_offset, dst, dst_offset, size)) {
        err = CL_MEM_COPY_OVERLAP;
    }
    if (err == CL_SUCCESS) {
        bool certain = size && !src->parent && !dst->parent;

        err = call_checked(c.session, certain, call_clEnqueueCopyBuffer(
            c.session, c.queue_id, src->obj.id, dst->obj.id, src_offset,
            dst_offset, size, c.waits, c.ids, c.event_id));
    }
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueFillBuffer(
    cl_command_queue queue, cl_mem buffer, const void *pattern,
    size_t pattern_size, size_t offset, size_t size, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_FILL_BUFFER, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = command_mem(&c, buffer, CL_MEM_OBJECT_BUFFER);
    if (err == CL_SUCCESS &&
        (!pattern || !pattern_size || pattern_size > 128 ||
         (pattern_size & (pattern_size - 1)) || offset % pattern_size ||
         size % pattern_size || !is_within(buffer, offset, size))) {
        err = CL_INVALID_VALUE;
    }
    if (err == CL_SUCCESS) {
        err = call_checked(c.session, size && !buffer->parent,
                           call_clEnqueueFillBuffer(
            c.session, c.queue_id, buffer->obj.id, pattern, pattern_size,
            offset, size, c.waits, c.ids, c.event_id));
    }
    return command_end(&c, err);
}
