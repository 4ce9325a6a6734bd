/*
 * Mapping buffers and images into the program.
 *
 * What a program gets a pointer to, and what happens:
 *
 *   memory in a region     its own bytes; the host is told, nothing is copied
 *   USE_HOST_PTR           the program's memory: read at map, written at unmap
 *   anything else          a piece of the pool: read straight into it at map,
 *                          written straight out of it at unmap
 *
 * Nothing is read for CL_MAP_WRITE_INVALIDATE_REGION, nothing written for
 * CL_MAP_READ.
 *
 * A piece that is read for CL_MAP_READ is marked done by that read, and given back at
 * unmap. One that will be written must be marked by the write alone, so the read
 * before it gets the piece without its header.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"

#define MAP_WRITES (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION)

static cl_int check_flags(cl_mem mem, cl_map_flags flags)
{
    const cl_map_flags known =
        CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;

    if ((flags & ~known) || ((flags & CL_MAP_WRITE_INVALIDATE_REGION) &&
                             (flags & (CL_MAP_READ | CL_MAP_WRITE)))) {
        return CL_INVALID_VALUE;
    }
    if (((flags & CL_MAP_READ) && !mem_allows(mem, false)) ||
        ((flags & MAP_WRITES) && !mem_allows(mem, true))) {
        return CL_INVALID_OPERATION;
    }
    return CL_SUCCESS;
}

/* The transfer between the object and what @m points to. */
static struct transfer transfer_of(struct command *c, cl_mem mem,
                                   const struct mapping *m, bool write)
{
    struct transfer t = { .command = c, .mem = mem, .offset = m->offset };

    if (!mem->image) {
        t.send = write ? send_write_buffer : send_read_buffer;
        t.box = (struct box){ m->size, 1, 1, m->size, m->size };
        return t;
    }
    t.send = write ? send_write_image : send_read_image;
    memcpy(t.origin, m->origin, sizeof(t.origin));
    memcpy(t.region, m->region, sizeof(t.region));
    image_box(mem, m->region, m->row_pitch, m->slice_pitch, &t.box);
    return t;
}

/* Fill the piece that the program is going to see. */
static cl_int fill_staging(struct command *c, cl_mem mem, struct mapping *m,
                           bool blocking)
{
    struct transfer t = transfer_of(c, mem, m, false);
    struct wire_span span;

    if (bulk_alloc(c->session, box_bytes(&t.box), &m->staging) < 0) {
        m->staging.data = NULL;
        return CL_MAP_FAILURE;
    }
    m->pointer = m->staging.data;
    if (m->flags & CL_MAP_WRITE_INVALIDATE_REGION) {
        return command_order(c, blocking);
    }
    span = m->staging.span;
    if (m->flags & CL_MAP_WRITE) {
        span.blob &= ~WIRE_SPAN_TRACKED;
    }
    return t.send(&t, blocking, m->pointer, &span);
}

static cl_int begin_map(struct command *c, cl_mem mem, struct mapping *m,
                        bool blocking)
{
    char *home = mem->image ? NULL : mem_home(mem, m->offset);

    if (home) {
        m->pointer = home;
        return call_checked(c->session, true, call_vclEnqueueMapBuffer(
            c->session, c->queue_id, mem->obj.id, blocking, m->flags,
            m->offset, m->size, c->waits, c->ids, c->event_id));
    }
    if (mem->host_ptr) {
        struct transfer t = transfer_of(c, mem, m, false);

        m->pointer = (char *)mem->host_ptr + m->offset;
        if (m->flags & CL_MAP_WRITE_INVALIDATE_REGION) {
            return command_order(c, blocking);
        }
        return transfer_read(&t, blocking, m->pointer);
    }
    return fill_staging(c, mem, m, blocking);
}

static cl_int end_map(struct command *c, cl_mem mem, struct mapping *m)
{
    struct transfer t = transfer_of(c, mem, m, true);
    cl_int err;

    if (!mem->image && !m->staging.data && !mem->host_ptr) {
        return call_vclEnqueueUnmapBuffer(c->session, c->queue_id, mem->obj.id,
                                          m->offset, m->size, c->waits, c->ids,
                                          c->event_id);
    }
    if (!(m->flags & MAP_WRITES)) {
        return command_order(c, false);
    }
    if (!m->staging.data) {
        return transfer_write(&t, false, m->pointer);
    }
    bulk_lend(&m->staging);
    err = t.send(&t, false, m->staging.data, NULL);
    bulk_lend(NULL);
    return err;
}

/* Give the piece back, now or when the commands that use it are done. */
static void free_mapping(struct session *s, struct mapping *m)
{
    bool writes = m->flags & MAP_WRITES;
    bool used_later = writes ? m->staging.span.size > BULK_INLINE_MAX : true;

    if (m->staging.data && used_later) {
        bulk_free_later(s, &m->staging);
    } else if (m->staging.data) {
        bulk_free(s, &m->staging);
    }
    free(m);
}

void map_abandon(struct session *s, struct mapping *m)
{
    bool invalidated = m->flags & CL_MAP_WRITE_INVALIDATE_REGION;

    if (m->staging.data && (m->blocking || invalidated)) {
        bulk_free(s, &m->staging);
    } else if (m->staging.data && !(m->flags & CL_MAP_WRITE)) {
        bulk_free_later(s, &m->staging);
    } /* else the read may be under way, and nothing will say when it is not */
    free(m);
}

static void *map(struct command *c, cl_mem mem, struct mapping *m,
                 bool blocking, cl_int *errcode_ret)
{
    void *pointer;
    cl_int err;

    m->blocking = blocking;
    err = blocking ? command_blocks(c) : CL_SUCCESS;
    if (err == CL_SUCCESS) {
        err = begin_map(c, mem, m, blocking);
    }
    err = command_end(c, err);
    if (err != CL_SUCCESS) {
        if (m->staging.data) {
            bulk_free(c->session, &m->staging);
        }
        free(m);
        return cl_return(NULL, err, errcode_ret);
    }
    pointer = m->pointer;
    pthread_mutex_lock(&cl_object_lock);
    m->next = mem->maps;
    mem->maps = m;
    mem->map_count++;
    pthread_mutex_unlock(&cl_object_lock);
    return cl_return(pointer, CL_SUCCESS, errcode_ret);
}

/* A mapping of @mem, of which nothing is said but the flags, if they are allowed. */
static cl_int new_mapping(cl_mem mem, cl_map_flags flags, struct mapping **m)
{
    cl_int err = check_flags(mem, flags);

    if (err != CL_SUCCESS) {
        return err;
    }
    *m = calloc(1, sizeof(**m));
    if (!*m) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    (*m)->flags = flags;
    return CL_SUCCESS;
}

CL_API_ENTRY void *CL_API_CALL clEnqueueMapBuffer(
    cl_command_queue queue, cl_mem buffer, cl_bool blocking, cl_map_flags flags,
    size_t offset, size_t size, cl_uint num_events, const cl_event *events,
    cl_event *event, cl_int *errcode_ret)
{
    struct mapping *m = NULL;
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_MAP_BUFFER, event);

    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    err = command_mem(&c, buffer, CL_MEM_OBJECT_BUFFER);
    if (err == CL_SUCCESS && (!size || offset > buffer->size ||
                              size > buffer->size - offset)) {
        err = CL_INVALID_VALUE;
    }
    if (err == CL_SUCCESS) {
        err = new_mapping(buffer, flags, &m);
    }
    if (err != CL_SUCCESS) {
        return cl_return(NULL, command_end(&c, err), errcode_ret);
    }
    m->offset = offset;
    m->size = size;
    return map(&c, buffer, m, blocking, errcode_ret);
}

/* Where in host_ptr the box begins, and how far apart its rows are. */
static void place_in_host_ptr(cl_mem image, struct mapping *m)
{
    const struct image *i = image->image;
    bool layers = i->desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY;

    m->row_pitch = i->row_pitch;
    m->slice_pitch = i->slice_pitch;
    m->offset = m->origin[0] * i->element +
                m->origin[1] * (layers ? i->slice_pitch : i->row_pitch) +
                m->origin[2] * i->slice_pitch;
}

CL_API_ENTRY void *CL_API_CALL clEnqueueMapImage(
    cl_command_queue queue, cl_mem image, cl_bool blocking, cl_map_flags flags,
    const size_t *origin, const size_t *region, size_t *row_pitch,
    size_t *slice_pitch, cl_uint num_events, const cl_event *events,
    cl_event *event, cl_int *errcode_ret)
{
    struct mapping *m = NULL;
    struct command c;
    struct box box;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_MAP_IMAGE, event);

    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    err = command_mem(&c, image, 0);
    if (err == CL_SUCCESS) {
        err = image_check_box(image, origin, region);
    }
    if (err == CL_SUCCESS && !row_pitch) {
        err = CL_INVALID_VALUE;
    }
    if (err == CL_SUCCESS) {
        err = new_mapping(image, flags, &m);
    }
    if (err != CL_SUCCESS) {
        return cl_return(NULL, command_end(&c, err), errcode_ret);
    }
    memcpy(m->origin, origin, sizeof(m->origin));
    memcpy(m->region, region, sizeof(m->region));
    if (image->host_ptr) {
        place_in_host_ptr(image, m);
    }
    image_box(image, region, m->row_pitch, m->slice_pitch, &box);
    *row_pitch = box.row_pitch;
    if (slice_pitch) {
        *slice_pitch = image_has_slices(image) ? box.slice_pitch : 0;
    }
    return map(&c, image, m, blocking, errcode_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueUnmapMemObject(
    cl_command_queue queue, cl_mem mem, void *mapped_ptr, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    struct mapping **at, *m = NULL;
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_UNMAP_MEM_OBJECT, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = command_mem(&c, mem, 0);
    if (err != CL_SUCCESS) {
        return command_end(&c, err);
    }
    pthread_mutex_lock(&cl_object_lock);
    for (at = &mem->maps; *at; at = &(*at)->next) {
        if ((*at)->pointer == mapped_ptr) {
            m = *at;
            *at = m->next;
            mem->map_count--;
            break;
        }
    }
    pthread_mutex_unlock(&cl_object_lock);
    if (!m) {
        return command_end(&c, CL_INVALID_VALUE);
    }
    err = end_map(&c, mem, m);
    free_mapping(c.session, m);
    return command_end(&c, err);
}
