/*
 * Buffers. Most are the host's own memory, and data is copied in and out. One
 * that the guest wants to map lies in a blob: the host gets the blob's memory
 * as CL_MEM_USE_HOST_PTR, so that mapping moves no data where the device
 * works in the host's memory, and the host's OpenCL keeps it coherent where not.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "cl.h"
#include "colour.h"
#include "opencl_serve.h"

#define HOST_PTR_FLAGS \
    (CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)

char *buffer_memory(cl_mem buffer)
{
    void *ptr = NULL;

    clGetMemObjectInfo(buffer, CL_MEM_HOST_PTR, sizeof(ptr), &ptr, NULL);
    return ptr;
}

/* --- making ----------------------------------------------------------------------- */

/*
 * A buffer in memory that we know. A device that works in the host's memory
 * uses it as it is, and so transfers need not trouble the queue (cl_transfer.c).
 */
static cl_mem create_known(struct session *s,
                           const struct clCreateBuffer_args *a,
                           cl_mem_flags flags, cl_int *err)
{
    static _Atomic uint32_t made;
    size_t colour = colour_next(&made, a->size);
    size_t size = (colour + a->size + 4095) & ~(size_t)4095;
    struct charge *c = size >= a->size ? charge_create(s, size) : NULL;
    char *memory;

    *err = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    if (!c) {
        return NULL;
    }
    c->memory = aligned_alloc(4096, size);
    if (!c->memory) {
        charge_destroy(c);
        return NULL;
    }
    memory = (char *)c->memory + colour;
    if (a->host_ptr) {
        memcpy(memory, a->host_ptr, a->size);
    }
    return charge_bind(c, clCreateBuffer(a->context,
                                         flags | CL_MEM_USE_HOST_PTR, a->size,
                                         memory, err), err);
}

void serve_clCreateBuffer(struct request *r, struct clCreateBuffer_args *a)
{
    cl_mem_flags flags = a->flags & ~(cl_mem_flags)HOST_PTR_FLAGS;
    struct charge *c;

    if (a->size && context_is_direct(a->context)) {
        a->ret = create_known(r->session, a, flags, &a->err);
        return;
    }
    c = charge_create(r->session, a->size);
    if (!c) {
        a->err = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return;
    }
    if (a->host_ptr) {
        flags |= CL_MEM_COPY_HOST_PTR;
    }
    a->ret = charge_bind(c, clCreateBuffer(a->context, flags, a->size,
                                           (void *)a->host_ptr, &a->err),
                         &a->err);
}

static void CL_CALLBACK unref_blob(cl_mem mem, void *blob)
{
    blob_unref(blob);
}

void serve_vclCreateBufferInBlob(struct request *r,
                                 struct vclCreateBufferInBlob_args *a)
{
    struct wire_span span = { a->blob, a->blob_offset, a->size };
    struct blob *blob = session_span_blob(r, &span);
    cl_mem_flags flags = a->flags & ~(cl_mem_flags)HOST_PTR_FLAGS;

    if (!blob || a->size == 0) {
        blob_unref(blob);
        a->err = CL_INVALID_HOST_PTR;
        return;
    }
    a->ret = clCreateBuffer(a->context, flags | CL_MEM_USE_HOST_PTR, a->size,
                            blob_at(blob, a->blob_offset, a->size), &a->err);
    if (a->ret) {
        a->err = clSetMemObjectDestructorCallback(a->ret, unref_blob, blob);
        if (a->err != CL_SUCCESS) {
            clReleaseMemObject(a->ret);
            a->ret = NULL;
        }
    }
    if (!a->ret) {
        blob_unref(blob);
    }
}

void serve_vclCreateSubBuffer(struct request *r,
                              struct vclCreateSubBuffer_args *a)
{
    cl_buffer_region region = { a->origin, a->size };
    cl_mem_flags flags = a->flags & ~(cl_mem_flags)HOST_PTR_FLAGS;

    a->ret = clCreateSubBuffer(a->buffer, flags, CL_BUFFER_CREATE_TYPE_REGION,
                               &region, &a->err);
}

/* The host takes what it needs besides: the packets must fit before it is asked. */
void serve_clCreatePipe(struct request *r, struct clCreatePipe_args *a)
{
    cl_mem_flags flags = a->flags & ~(cl_mem_flags)HOST_PTR_FLAGS;
    size_t bytes = (size_t)a->pipe_packet_size * a->pipe_max_packets;
    struct charge *packets = charge_create(r->session, bytes);

    if (!packets) {
        a->err = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return;
    }
    a->ret = clCreatePipe(a->context, flags, a->pipe_packet_size,
                          a->pipe_max_packets, NULL, &a->err);
    charge_destroy(packets);
    a->ret = charge_made(r->session, a->ret, &a->err);
}

/* --- reading and writing ------------------------------------------------------------ */

static cl_int read_part(struct transfer *t, void *ptr, size_t at, size_t size,
                        cl_event *event)
{
    return clEnqueueReadBuffer(t->queue, t->buffer, CL_FALSE, t->offset + at,
                               size, ptr, t->n_waits, t->waits, event);
}

static cl_int read_all(struct transfer *t, void *ptr, cl_event *event)
{
    return read_part(t, ptr, 0, t->bytes, event);
}

void serve_clEnqueueReadBuffer(struct request *r,
                               struct clEnqueueReadBuffer_args *a)
{
    struct transfer t = {
        TRANSFER_READ(r, a),
        .bytes = a->size,
        .enqueue = read_all,
        .enqueue_part = read_part,
        .buffer = a->buffer,
        .offset = a->offset,
    };

    a->ret = transfer_run(&t);
}

static cl_int write_part(struct transfer *t, void *ptr, size_t at, size_t size,
                         cl_event *event)
{
    return clEnqueueWriteBuffer(t->queue, t->buffer, CL_FALSE, t->offset + at,
                                size, ptr, t->n_waits, t->waits, event);
}

static cl_int write_all(struct transfer *t, void *ptr, cl_event *event)
{
    return write_part(t, ptr, 0, t->bytes, event);
}

void serve_clEnqueueWriteBuffer(struct request *r,
                                struct clEnqueueWriteBuffer_args *a)
{
    struct transfer t = {
        TRANSFER_WRITE(r, a),
        .bytes = a->size,
        .enqueue = write_all,
        .enqueue_part = write_part,
        .buffer = a->buffer,
        .offset = a->offset,
    };

    a->ret = transfer_run(&t);
}

/* --- boxes ----------------------------------------------------------------------------- */

/*
 * Whether the box of @region at @origin in memory with these pitches lies within
 * @bytes: the host's OpenCL takes a guest's word for it.
 */
static bool box_fits(const size_t *origin, const size_t *region, size_t row,
                     size_t slice, size_t bytes)
{
    size_t rows, slices, end;

    if (!region[0] || !region[1] || !region[2]) {
        return false;
    }
    row = row ? row : region[0];
    if (!slice && __builtin_mul_overflow(row, region[1], &slice)) {
        return false;
    }
    return !__builtin_add_overflow(origin[1], region[1] - 1, &rows) &&
           !__builtin_add_overflow(origin[2], region[2] - 1, &slices) &&
           !__builtin_mul_overflow(rows, row, &rows) &&
           !__builtin_mul_overflow(slices, slice, &slices) &&
           !__builtin_add_overflow(rows, slices, &end) &&
           !__builtin_add_overflow(end, origin[0], &end) &&
           !__builtin_add_overflow(end, region[0], &end) && end <= bytes;
}

static cl_int read_box(struct transfer *t, void *ptr, cl_event *event)
{
    const struct vclEnqueueReadBufferRect_args *a = t->args;

    return clEnqueueReadBufferRect(
        t->queue, a->buffer, CL_FALSE, a->buffer_origin, a->host_origin,
        a->region, a->buffer_row_pitch, a->buffer_slice_pitch,
        a->host_row_pitch, a->host_slice_pitch, ptr, t->n_waits, t->waits,
        event);
}

void serve_vclEnqueueReadBufferRect(struct request *r,
                                    struct vclEnqueueReadBufferRect_args *a)
{
    struct transfer t = {
        TRANSFER_READ(r, a),
        .bytes = a->bytes,
        .enqueue = read_box,
        .args = a,
    };

    a->ret = CL_INVALID_VALUE;
    if (box_fits(a->host_origin, a->region, a->host_row_pitch,
                 a->host_slice_pitch, a->bytes)) {
        a->ret = transfer_run(&t);
    }
}

static cl_int write_box(struct transfer *t, void *ptr, cl_event *event)
{
    const struct vclEnqueueWriteBufferRect_args *a = t->args;

    return clEnqueueWriteBufferRect(
        t->queue, a->buffer, CL_FALSE, a->buffer_origin, a->host_origin,
        a->region, a->buffer_row_pitch, a->buffer_slice_pitch,
        a->host_row_pitch, a->host_slice_pitch, ptr, t->n_waits, t->waits,
        event);
}

void serve_vclEnqueueWriteBufferRect(struct request *r,
                                     struct vclEnqueueWriteBufferRect_args *a)
{
    struct transfer t = {
        TRANSFER_WRITE(r, a),
        .bytes = a->bytes,
        .enqueue = write_box,
        .args = a,
    };

    a->ret = CL_INVALID_VALUE;
    if (box_fits(a->host_origin, a->region, a->host_row_pitch,
                 a->host_slice_pitch, a->bytes)) {
        a->ret = transfer_run(&t);
    }
}

