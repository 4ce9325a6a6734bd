/*
 * Reading and writing buffers and images: how a command's data travel.
 *
 * Of a buffer that lies in memory which we see, where devices work in that memory,
 * nothing has to travel: it is mapped, copied here, and unmapped.
 *
 * Little data goes inline, in the message or in the answer. More goes through a
 * piece of the pool, unless the program's memory is shared memory already (a
 * mapped buffer) and has no gaps. A read that is not waited for is copied to where the
 * program wants it when the worker has marked its piece, at the next answer that
 * anybody waits for; see late_add().
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"
#include "ring.h"

/* What surely fits into a reply beside the fixed part. */
#define READ_INLINE_MAX (RING_REPLY_SIZE - 64)

/* --- in place --------------------------------------------------------------------- */

/*
 * Where the stretch that @t is about lies, if it is just to be copied; NULL if not. A
 * command with an event is made by the host, which takes its times.
 */
static char *in_place(const struct transfer *t)
{
    return t->mem && !t->mem->image && t->mem->context->direct &&
           t->box.rows * t->box.slices == 1 && !t->command->event_id
               ? mem_home(t->mem, t->offset) : NULL;
}

/*
 * What came before is waited for, as the copy would have. Nothing is copied if the queue
 * is another thread's as well.
 */
static cl_int copy_in_place(struct transfer *t, char *home, void *ptr, bool write)
{
    struct command *c = t->command;
    cl_map_flags flags = write ? CL_MAP_WRITE_INVALIDATE_REGION : CL_MAP_READ;
    cl_int err = call_vclEnqueueMapBuffer(c->session, c->queue_id,
                                          t->mem->obj.id, true, flags,
                                          t->offset, t->box.row, c->waits,
                                          c->ids, 0);

    if (err != CL_SUCCESS) {
        return err;
    }
    if (command_takes_queue(c) && write) {
        memmove(home, ptr, t->box.row);
    } else if (c->takes) {
        memmove(ptr, home, t->box.row);
    }
    return call_vclEnqueueUnmapBuffer(c->session, c->queue_id, t->mem->obj.id,
                                      t->offset, t->box.row, 0, NULL, 0);
}

/*
 * A blocking transfer may consist of parts here, or the worker copies, for which no
 * command of the host's stands. In a queue that keeps the order, another
 * thread's commands come before all of it or after it nevertheless: then it
 * has the queue for itself, or it is made *@whole, by the host.
 */
static cl_int keep_order(struct transfer *t, bool *whole)
{
    struct command *c = t->command;
    bool copied = c->queue->context->cpu && !c->event_id;
    bool ordered = !(c->queue->flags & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    bool plain = !(t->mem && t->mem->image) && t->box.rows * t->box.slices == 1;
    cl_int err;

    *whole = false;
    if (!ordered || !plain || !(copied || t->box.row >= STREAM_MIN)) {
        return CL_SUCCESS;
    }
    err = command_waits_turn(c);
    if (err != CL_SUCCESS || command_takes_queue(c)) {
        return err;
    }
    *whole = box_bytes(&t->box) <= LATE_CHUNK;
    return *whole ? command_is_whole(c) : CL_SUCCESS;
}

/* --- through the pool --------------------------------------------------------------- */

struct late_read {
    struct late late;
    struct session *session;
    struct box box;
    char *ptr;  /* NULL: it is no more */
    cl_mem mem; /* held, as its destructor may take @ptr away; or NULL */
    struct late_read *next; /* in `landed` */
};

/* Those that still hold something. */
static _Atomic(struct late_read *) landed;

static void read_arrived(struct late *late)
{
    struct late_read *r = (struct late_read *)late;

    if (r->ptr) {
        box_unpack(&r->box, r->ptr, late->bulk.data);
    }
    bulk_free(r->session, &late->bulk);
    if (!r->mem) {
        free(r);
        return;
    }
    r->next = atomic_load(&landed);
    while (!atomic_compare_exchange_weak(&landed, &r->next, r)) {
    }
}

void transfer_settle(void)
{
    struct late_read *r, *next;

    if (!atomic_load_explicit(&landed, memory_order_relaxed)) {
        return;
    }
    for (r = atomic_exchange(&landed, NULL); r; r = next) {
        next = r->next;
        if (session_is_current(r->session)) { /* not our parent's */
            cl_object_unhold(r->mem);
        }
        free(r);
    }
}

struct stretch {
    const char *memory;
    size_t size;
};

static void forget(struct late *late, void *opaque)
{
    struct late_read *r = (struct late_read *)late;
    const struct stretch *gone = opaque;
    const struct box *b = &r->box;
    size_t last = (b->slices - 1) * b->slice_pitch + (b->rows - 1) * b->row_pitch;

    if (r->ptr && r->ptr < gone->memory + gone->size &&
        gone->memory < r->ptr + last + b->row) {
        r->ptr = NULL;
    }
}

void transfer_forget(struct session *s, const char *memory, size_t size)
{
    late_each(s, forget, &(struct stretch){ memory, size });
}

/* Through the pool, copied when it has arrived. */
static cl_int read_later(struct transfer *t, void *ptr)
{
    struct session *s = t->command->session;
    struct late_read *r = malloc(sizeof(*r));
    struct wire_span span;
    cl_int err;

    if (!r) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    if (bulk_alloc(s, box_bytes(&t->box), &r->late.bulk) < 0) {
        free(r);
        return CL_OUT_OF_HOST_MEMORY;
    }
    r->late.arrive = read_arrived;
    r->session = s;
    r->box = t->box;
    r->ptr = ptr;
    r->mem = t->mem && t->mem->host_ptr ? t->mem : NULL;
    span = r->late.bulk.span;
    err = t->send(t, false, r->late.bulk.data, &span);
    if (err != CL_SUCCESS) {
        bulk_free_later(s, &r->late.bulk);
        free(r);
        return err;
    }
    cl_object_hold(r->mem);
    late_add(s, &r->late);
    return CL_SUCCESS;
}

static cl_int read_chunk_later(struct transfer *t, size_t at, void *ptr)
{
    return read_later(t, (char *)ptr + at);
}

static cl_int write_chunk_later(struct transfer *t, size_t at, void *ptr)
{
    return t->send(t, false, (char *)ptr + at, NULL);
}

/* Through the pool, waited for. */
static cl_int read_now(struct transfer *t, void *ptr)
{
    struct session *s = t->command->session;
    struct wire_span span;
    struct bulk piece;
    cl_int err;

    if (bulk_alloc(s, box_bytes(&t->box), &piece) < 0) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    span = piece.span;
    span.blob &= ~WIRE_SPAN_TRACKED; /* and so not in parts */
    err = t->send(t, true, piece.data, &span);
    if (err == CL_SUCCESS) {
        box_unpack(&t->box, ptr, piece.data);
    }
    bulk_free(s, &piece);
    return err;
}

static cl_int read_inline(struct transfer *t, void *ptr)
{
    char bytes[READ_INLINE_MAX];
    cl_int err;

    if (box_is_dense(&t->box)) {
        return t->send(t, true, ptr, NULL);
    }
    err = t->send(t, true, bytes, NULL);
    if (err == CL_SUCCESS) {
        box_unpack(&t->box, ptr, bytes);
    }
    return err;
}

cl_int transfer_read(struct transfer *t, bool blocking, void *ptr)
{
    size_t bytes = box_bytes(&t->box);
    cl_int err = blocking ? command_blocks(t->command) : CL_SUCCESS;
    struct wire_span span;
    bool whole = false;
    char *home;

    home = blocking && bytes > READ_INLINE_MAX ? in_place(t) : NULL;
    if (err == CL_SUCCESS && home) {
        err = copy_in_place(t, home, ptr, false);
    }
    if (err != CL_SUCCESS || t->command->takes) {
        return err;
    }
    if (blocking) {
        err = keep_order(t, &whole);
    }
    if (err != CL_SUCCESS) {
        return err;
    }
    if (blocking && bytes <= READ_INLINE_MAX) {
        return read_inline(t, ptr);
    }
    if (box_is_dense(&t->box) &&
        bulk_find(t->command->session, ptr, bytes, &span)) {
        return t->send(t, blocking, ptr, &span);
    }
    if (blocking && !whole && stream_is_worth_it(t)) {
        return stream_run(t, ptr, false);
    }
    if (!blocking && stream_is_too_large(t)) {
        return stream_chunks(t, LATE_CHUNK, read_chunk_later, ptr);
    }
    return blocking ? read_now(t, ptr) : read_later(t, ptr);
}

/* From a piece of ours, which the data are copied to first. */
static cl_int write_piece(struct transfer *t, bool blocking, const void *ptr)
{
    struct session *s = t->command->session;
    struct bulk piece, lent;
    cl_int err;

    if (bulk_alloc(s, box_bytes(&t->box), &piece) < 0) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    box_pack(&t->box, ptr, piece.data);
    lent = piece;
    if (blocking) {
        lent.span.blob &= ~WIRE_SPAN_TRACKED; /* and so not in parts */
    }
    bulk_lend(&lent);
    err = t->send(t, blocking, piece.data, NULL);
    bulk_lend(NULL);
    if (blocking || box_bytes(&t->box) <= BULK_INLINE_MAX) {
        bulk_free(s, &piece); /* or it went inline after all */
    } else {
        bulk_free_later(s, &piece);
    }
    return err;
}

cl_int transfer_write(struct transfer *t, bool blocking, const void *ptr)
{
    struct session *s = t->command->session;
    struct wire_span span;
    bool whole = false;
    char *home;
    cl_int err = blocking ? command_blocks(t->command) : CL_SUCCESS;

    home = blocking && box_bytes(&t->box) > BULK_INLINE_MAX ? in_place(t) : NULL;
    if (err == CL_SUCCESS && home) {
        err = copy_in_place(t, home, (void *)ptr, true);
    }
    if (err != CL_SUCCESS || t->command->takes) {
        return err;
    }
    if (blocking) {
        err = keep_order(t, &whole);
    }
    if (err != CL_SUCCESS) {
        return err;
    }
    if (stream_is_worth_it(t) && bulk_find(s, ptr, t->box.row, &span)) {
        return t->send(t, blocking, (void *)ptr, NULL);
    }
    if (blocking && !whole && stream_is_worth_it(t)) {
        return stream_run(t, (void *)ptr, true);
    }
    if (!blocking && stream_is_too_large(t)) {
        return stream_chunks(t, LATE_CHUNK, write_chunk_later, (void *)ptr);
    }
    if (whole && box_bytes(&t->box) >= STREAM_MIN) {
        return write_piece(t, blocking, ptr);
    }
    if (box_is_dense(&t->box)) {
        /* The caller finds the best way by itself. */
        return t->send(t, blocking, (void *)ptr, NULL);
    }
    return write_piece(t, blocking, ptr);
}

/* --- buffers -------------------------------------------------------------------- */

static bool is_box(const struct box *b)
{
    return b->rows * b->slices > 1;
}

cl_int send_read_buffer(struct transfer *t, bool blocking, void *dense,
                        const struct wire_span *span)
{
    struct command *c = t->command;

    if (is_box(&t->box)) {
        return call_vclEnqueueReadBufferRect(
            c->session, c->queue_id, t->mem->obj.id, blocking, t->origin,
            (size_t[3]){ 0 }, t->region, t->row_pitch, t->slice_pitch,
            t->region[0], t->region[0] * t->region[1], box_bytes(&t->box),
            dense, span, c->waits, c->ids, c->event_id);
    }
    return call_clEnqueueReadBuffer(c->session, c->queue_id, t->mem->obj.id,
                                    blocking, t->offset, t->box.row, dense,
                                    span, c->waits, c->ids, c->event_id);
}

cl_int send_write_buffer(struct transfer *t, bool blocking, void *dense,
                         const struct wire_span *span)
{
    struct command *c = t->command;

    if (is_box(&t->box)) {
        return call_vclEnqueueWriteBufferRect(
            c->session, c->queue_id, t->mem->obj.id, blocking, t->origin,
            (size_t[3]){ 0 }, t->region, t->row_pitch, t->slice_pitch,
            t->region[0], t->region[0] * t->region[1], box_bytes(&t->box),
            dense, c->waits, c->ids, c->event_id);
    }
    return call_clEnqueueWriteBuffer(c->session, c->queue_id, t->mem->obj.id,
                                     blocking, t->offset, t->box.row, dense,
                                     c->waits, c->ids, c->event_id);
}

static cl_int check_linear(const struct command *c, cl_mem buffer, bool write,
                           size_t offset, size_t size, const void *ptr)
{
    cl_int err = command_mem(c, buffer, CL_MEM_OBJECT_BUFFER);

    if (err != CL_SUCCESS) {
        return err;
    }
    if (!ptr || offset > buffer->size || size > buffer->size - offset) {
        return CL_INVALID_VALUE;
    }
    return mem_allows(buffer, write) ? CL_SUCCESS : CL_INVALID_OPERATION;
}

static struct transfer linear(struct command *c, cl_mem buffer, size_t offset,
                              size_t size)
{
    return (struct transfer){
        .command = c,
        .mem = buffer,
        .offset = offset,
        .box = { size, 1, 1, size, size },
    };
}

cl_int transfer_initial(cl_mem mem, const void *data)
{
    cl_command_queue queue;
    struct transfer t;
    struct command c;
    cl_int err;

    queue = clCreateCommandQueue(mem->context, mem->context->devices[0], 0,
                                 &err);
    if (!queue) {
        return err;
    }
    err = command_begin(&c, queue, 0, NULL, CL_COMMAND_WRITE_BUFFER, NULL);
    if (err == CL_SUCCESS) {
        t = linear(&c, mem, 0, mem->size);
        t.send = send_write_buffer;
        err = command_end(&c, transfer_write(&t, true, data));
    }
    clReleaseCommandQueue(queue);
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadBuffer(
    cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset,
    size_t size, void *ptr, cl_uint num_events, const cl_event *events,
    cl_event *event)
{
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_READ_BUFFER, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = check_linear(&c, buffer, false, offset, size, ptr);
    if (err == CL_SUCCESS) {
        struct transfer t = linear(&c, buffer, offset, size);

        t.send = send_read_buffer;
        err = transfer_read(&t, blocking, ptr);
    }
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueWriteBuffer(
    cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset,
    size_t size, const void *ptr, cl_uint num_events, const cl_event *events,
    cl_event *event)
{
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_WRITE_BUFFER, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = check_linear(&c, buffer, true, offset, size, ptr);
    if (err == CL_SUCCESS) {
        struct transfer t = linear(&c, buffer, offset, size);

        t.send = send_write_buffer;
        err = transfer_write(&t, blocking, ptr);
    }
    return command_end(&c, err);
}

/* --- rectangles ------------------------------------------------------------------ */

/* The pitches to use where 0 was given; false if they are impossible. */
static bool default_pitches(const size_t *region, size_t *row, size_t *slice)
{
    size_t least;

    if (!*row) {
        *row = region[0];
    }
    if (__builtin_mul_overflow(region[1], *row, &least)) {
        return false;
    }
    if (!*slice) {
        *slice = least;
    }
    /* A slice is whole rows, as the specification wants it. */
    return *row >= region[0] && *slice >= least && *slice % *row == 0;
}

/* One past the last byte of the box at @origin; false if that overflows. */
static bool box_end(const size_t *origin, const size_t *region, size_t row,
                    size_t slice, size_t *end)
{
    size_t x, y, z;

    return !__builtin_add_overflow(origin[0], region[0], &x) &&
           !__builtin_add_overflow(origin[1], region[1] - 1, &y) &&
           !__builtin_add_overflow(origin[2], region[2] - 1, &z) &&
           !__builtin_mul_overflow(y, row, &y) &&
           !__builtin_mul_overflow(z, slice, &z) &&
           !__builtin_add_overflow(x, y, end) &&
           !__builtin_add_overflow(*end, z, end);
}

/* Checks everything, fills @t, and finds where the host's box begins. */
static cl_int prepare_rect(struct command *c, struct transfer *t, cl_mem buffer,
                           bool write, const size_t *buffer_origin,
                           const size_t *host_origin, const size_t *region,
                           size_t buffer_row, size_t buffer_slice,
                           size_t host_row, size_t host_slice, const void *ptr,
                           size_t *host_start)
{
    cl_int err = command_mem(c, buffer, CL_MEM_OBJECT_BUFFER);
    size_t end;

    if (err != CL_SUCCESS) {
        return err;
    }
    if (!ptr || !buffer_origin || !host_origin || !region || !region[0] ||
        !region[1] || !region[2] ||
        !default_pitches(region, &buffer_row, &buffer_slice) ||
        !default_pitches(region, &host_row, &host_slice) ||
        !box_end(buffer_origin, region, buffer_row, buffer_slice, &end) ||
        end > buffer->size ||
        !box_end(host_origin, region, host_row, host_slice, &end)) {
        return CL_INVALID_VALUE;
    }
    if (!mem_allows(buffer, write)) {
        return CL_INVALID_OPERATION;
    }
    *t = (struct transfer){
        .command = c,
        .mem = buffer,
        .box = { region[0], region[1], region[2], host_row, host_slice },
        .offset = buffer_origin[0] + buffer_origin[1] * buffer_row +
                  buffer_origin[2] * buffer_slice,
        .row_pitch = buffer_row,
        .slice_pitch = buffer_slice,
    };
    memcpy(t->origin, buffer_origin, sizeof(t->origin));
    memcpy(t->region, region, sizeof(t->region));
    *host_start = host_origin[0] + host_origin[1] * host_row +
                  host_origin[2] * host_slice;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadBufferRect(
    cl_command_queue queue, cl_mem buffer, cl_bool blocking,
    const size_t *buffer_origin, const size_t *host_origin,
    const size_t *region, size_t buffer_row_pitch, size_t buffer_slice_pitch,
    size_t host_row_pitch, size_t host_slice_pitch, void *ptr,
    cl_uint num_events, const cl_event *events, cl_event *event)
{
    struct transfer t;
    struct command c;
    size_t start;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_READ_BUFFER_RECT, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = prepare_rect(&c, &t, buffer, false, buffer_origin, host_origin,
                       region, buffer_row_pitch, buffer_slice_pitch,
                       host_row_pitch, host_slice_pitch, ptr, &start);
    if (err == CL_SUCCESS) {
        t.send = send_read_buffer;
        err = transfer_read(&t, blocking, (char *)ptr + start);
    }
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueWriteBufferRect(
    cl_command_queue queue, cl_mem buffer, cl_bool blocking,
    const size_t *buffer_origin, const size_t *host_origin,
    const size_t *region, size_t buffer_row_pitch, size_t buffer_slice_pitch,
    size_t host_row_pitch, size_t host_slice_pitch, const void *ptr,
    cl_uint num_events, const cl_event *events, cl_event *event)
{
    struct transfer t;
    struct command c;
    size_t start;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_WRITE_BUFFER_RECT, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = prepare_rect(&c, &t, buffer, true, buffer_origin, host_origin,
                       region, buffer_row_pitch, buffer_slice_pitch,
                       host_row_pitch, host_slice_pitch, ptr, &start);
    if (err == CL_SUCCESS) {
        t.send = send_write_buffer;
        err = transfer_write(&t, blocking, (const char *)ptr + start);
    }
    return command_end(&c, err);
}
