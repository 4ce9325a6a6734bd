/*
 * Reading and writing. The guest's data lie in shared memory, or, when they are few,
 * in the message or the answer. Four ways:
 *
 * late       Not waited for: the command gets the shared memory (or a copy of the
 *            message's bytes) and pending.c says when it is done with it.
 * waited     The command is made in the guest's order and does not block; then
 *            the lead is given up, and this thread waits for it.
 * streamed   Waited for, large, and plain: in parts, so that the guest's copying
 *            and the device's run at the same time. All parts of a read are
 *            queued at once, and each that arrives moves `drained`; a write queues
 *            a part as soon as the guest's `filled` covers it.
 * direct     For devices whose memory is the host's own (a CPU): this thread copies
 *            by itself. It saves the wake-up for every command.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cl.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#define STREAM_MIN  (256u << 10)
#define PARTS_MAX   16u
#define PART_MIN    (256u << 10)
#define COPY_PART   (64u << 10) /* what one step of a direct transfer copies */
#define AT_ONCE_MAX (64u << 10) /* that much does not hold up other threads */
#define SPINS       2000u       /* looks at `filled` before the first nap */
#define NAP_NS      20000u
#define NAPS        64u         /* before each longer one, up to */
#define NAP_LONGEST 10u         /* times twice as long: 20 ms */

/* The header in front of the data, if the guest wants to be told there. */
static struct bulk_header *bulk_of(const struct transfer *t)
{
    return bulk_tracked(&t->span, t->ptr);
}

/* --- late --------------------------------------------------------------------- */

static cl_int run_late(struct transfer *t)
{
    struct session *s = t->r->session;
    struct pending p = { 0 };
    void *ptr = t->ptr;
    cl_int err;

    if (t->span.blob) {
        p.blob = session_span_blob(t->r, &t->span);
        p.bulk = bulk_of(t);
    } else if (t->read) {
        return CL_INVALID_VALUE; /* nowhere to put what comes late */
    } else {
        p.bytes = t->bytes;
        ptr = p.copy = pending_lend(s, t->ptr, t->bytes);
        if (!ptr) {
            return CL_OUT_OF_HOST_MEMORY;
        }
    }
    err = t->enqueue(t, ptr, &p.event);
    if (err != CL_SUCCESS) {
        blob_unref(p.blob); /* the decoder says that it is done with */
        pending_unlend(s, p.copy, p.bytes);
        return err;
    }
    if (t->event) {
        clRetainEvent(p.event);
        *t->event = p.event;
    }
    p.svm = t->svm;
    svm_ref(p.svm);
    pending_add(s, &p);
    return CL_SUCCESS;
}

/* --- progress of a stream ------------------------------------------------------- */

static void set_drained(struct bulk_header *bulk, size_t bytes)
{
    atomic_store_explicit(&bulk->drained, bytes, memory_order_release);
}

static void nap(unsigned n)
{
    unsigned times = n / NAPS < NAP_LONGEST ? n / NAPS : NAP_LONGEST;

    nanosleep(&(struct timespec){ .tv_nsec = NAP_NS << times }, NULL);
}

/*
 * Wait until the guest has filled @bytes. It may never do: its program was stopped,
 * or it lies. That is its own loss, but no processor's: after a while we nap, and
 * the longer it takes the longer.
 */
static void wait_filled(const struct transfer *t, struct bulk_header *bulk,
                        size_t bytes)
{
    if (!bulk || !(t->span.blob & WIRE_SPAN_STREAMED)) {
        return;
    }
    for (unsigned i = 0; atomic_load_explicit(&bulk->filled,
                                              memory_order_acquire) < bytes;
         i++) {
        if (i >= SPINS) {
            nap(i - SPINS);
        } else if (i % 64 == 63) {
            sched_yield();
        }
    }
}

/* --- waited ------------------------------------------------------------------- */

/* Gives @event to the guest, or up. */
static void pass_event(struct transfer *t, cl_event event, cl_int err)
{
    if (t->event && err == CL_SUCCESS) {
        *t->event = event;
    } else {
        clReleaseEvent(event);
    }
}

static cl_int run_waited(struct transfer *t)
{
    struct bulk_header *bulk = bulk_of(t);
    cl_event event;
    cl_int err;

    if (!t->read) {
        wait_filled(t, bulk, t->bytes);
    }
    err = t->enqueue(t, t->ptr, &event);
    if (err != CL_SUCCESS) {
        return err;
    }
    svm_ref(t->svm);
    session_block_begin(t->r);
    err = clWaitForEvents(1, &event);
    svm_unref(t->svm);
    if (bulk && err == CL_SUCCESS) {
        set_drained(bulk, t->bytes);
    }
    pass_event(t, event, err);
    return err;
}

/* --- what a thread uses after it has given up the lead ---------------------------- */

static void hold(const struct transfer *t)
{
    clRetainCommandQueue(t->queue);
    if (t->buffer) {
        clRetainMemObject(t->buffer);
    }
    svm_ref(t->svm);
    for (cl_uint i = 0; i < t->n_waits; i++) {
        clRetainEvent(t->waits[i]);
    }
}

static void unhold(const struct transfer *t)
{
    clReleaseCommandQueue(t->queue);
    if (t->buffer) {
        clReleaseMemObject(t->buffer);
    }
    svm_unref(t->svm);
    for (cl_uint i = 0; i < t->n_waits; i++) {
        clReleaseEvent(t->waits[i]);
    }
}

/* --- streamed ------------------------------------------------------------------- */

static size_t part_size(size_t bytes)
{
    size_t part = (bytes + PARTS_MAX - 1) / PARTS_MAX;

    part = (part + 4095) & ~(size_t)4095;
    return part < PART_MIN ? PART_MIN : part;
}

/*
 * One event that stands for all @n parts. In a queue that keeps the order
 * that is the last one's.
 */
static cl_int join_parts(struct transfer *t, cl_event *parts, unsigned n,
                         cl_event *all)
{
    if (queue_keeps_order(t->queue)) {
        *all = parts[n - 1];
        clRetainEvent(*all);
        return CL_SUCCESS;
    }
    return clEnqueueMarkerWithWaitList(t->queue, n, parts, all);
}

static cl_int run_streamed(struct transfer *t, struct bulk_header *bulk)
{
    size_t part = part_size(t->bytes), at = 0;
    cl_event parts[PARTS_MAX], all = NULL;
    cl_int err = CL_SUCCESS, wait_err;
    unsigned n = 0;

    hold(t);
    if (!t->read) {
        session_block_begin(t->r);
    }
    while (at < t->bytes && err == CL_SUCCESS) {
        size_t size = t->bytes - at < part ? t->bytes - at : part;

        if (!t->read) {
            wait_filled(t, bulk, at + size);
        }
        err = t->enqueue_part(t, (char *)t->ptr + at, at, size, &parts[n]);
        if (err == CL_SUCCESS) {
            n++;
            at += size;
            clFlush(t->queue);
        }
    }
    if (err == CL_SUCCESS) {
        err = join_parts(t, parts, n, &all);
    }
    session_block_begin(t->r);
    /* Whatever was queued uses the guest's memory: wait for all of it. */
    for (unsigned i = 0; i < n; i++) {
        wait_err = clWaitForEvents(1, &parts[i]);
        err = err == CL_SUCCESS ? wait_err : err;
        if (wait_err == CL_SUCCESS) {
            set_drained(bulk, (i + 1) * part < t->bytes ? (i + 1) * part
                                                        : t->bytes);
        }
        clReleaseEvent(parts[i]);
    }
    if (all) {
        pass_event(t, all, err);
    }
    unhold(t);
    return err;
}

/* --- direct ---------------------------------------------------------------------- */

/*
 * Where the device works in the host's memory, buffers are made of memory that we
 * know (see cl_buffer.c). Then a transfer is a memcpy() at the right time: when
 * the queue has done what came before. If it is known to be idle, that is now.
 *
 * A command that came into the queue meanwhile would run at the same time. It is for the
 * shim that none does (keep_order() in guest-driver/opencl/transfer.c).
 */

/* Where in @t's buffer it begins; NULL if that is no memory that we know. */
static char *memory_of(const struct transfer *t)
{
    char *memory = buffer_memory(t->buffer);
    size_t size = 0;

    clGetMemObjectInfo(t->buffer, CL_MEM_SIZE, sizeof(size), &size, NULL);
    if (!memory || t->offset > size || t->bytes > size - t->offset) {
        return NULL; /* the host says what is wrong */
    }
    return memory + t->offset;
}

/* The memory that @t's device works in; NULL if it is out of our reach. */
static char *device_memory(const struct transfer *t)
{
    cl_context context = NULL;
    char *memory;

    if (!t->enqueue_part || t->event || !t->bytes) {
        return NULL; /* an event would have the wrong times */
    }
    if (t->svm) {
        memory = t->memory;
        clGetCommandQueueInfo(t->queue, CL_QUEUE_CONTEXT, sizeof(context),
                              &context, NULL);
    } else {
        memory = memory_of(t);
        clGetMemObjectInfo(t->buffer, CL_MEM_CONTEXT, sizeof(context),
                           &context, NULL);
    }
    return memory && context_is_direct(context) && queue_keeps_order(t->queue)
               ? memory : NULL;
}

static void copy_direct(const struct transfer *t, char *memory)
{
    struct bulk_header *bulk = bulk_of(t);
    char *ptr = t->ptr;

    for (size_t at = 0; at < t->bytes; at += COPY_PART) {
        size_t size = t->bytes - at < COPY_PART ? t->bytes - at : COPY_PART;

        if (t->read) {
            memcpy(ptr + at, memory + at, size);
        } else {
            wait_filled(t, bulk, at + size);
            memcpy(memory + at, ptr + at, size);
        }
        if (bulk) {
            set_drained(bulk, at + size);
        }
    }
}

/* Not waited for by the guest, but over before it could have. */
static cl_int run_at_once(struct transfer *t, char *memory)
{
    struct bulk_header *bulk = bulk_of(t);

    copy_direct(t, memory);
    if (bulk) {
        atomic_store_explicit(&bulk->done, 1, memory_order_release);
    }
    return CL_SUCCESS;
}

static cl_int run_direct(struct transfer *t, char *memory)
{
    uint64_t since = queue_busy();
    bool idle = queue_was_idle(t->queue_id, since - 1) && !t->n_waits;
    cl_event before;
    cl_int err = CL_SUCCESS;

    if (!idle) {
        err = clEnqueueMarkerWithWaitList(t->queue, t->n_waits, t->waits,
                                          &before);
    }
    if (err != CL_SUCCESS) {
        return err;
    }
    if (!idle || t->bytes > AT_ONCE_MAX) {
        hold(t);
        session_block_begin(t->r);
    }
    if (!idle) {
        err = clWaitForEvents(1, &before);
        clReleaseEvent(before);
    }
    if (err == CL_SUCCESS) {
        copy_direct(t, memory);
        queue_set_idle(t->queue_id, since);
    }
    if (!idle || t->bytes > AT_ONCE_MAX) {
        unhold(t);
    }
    return err;
}

/* --- choosing -------------------------------------------------------------------- */

cl_int transfer_run(struct transfer *t)
{
    char *memory;

    if (t->n_waits && !t->waits) {
        return CL_INVALID_EVENT_WAIT_LIST; /* hold() reads it before the host */
    }
    memory = device_memory(t);
    if (t->blocking && memory) {
        return run_direct(t, memory);
    }
    if (memory && !t->n_waits && t->bytes <= AT_ONCE_MAX &&
        (t->span.blob || !t->read) && queue_is_idle(t->queue_id)) {
        return run_at_once(t, memory);
    }
    queue_busy();
    if (!t->blocking) {
        return run_late(t);
    }
    return t->enqueue_part && bulk_of(t) && t->bytes >= STREAM_MIN
               ? run_streamed(t, bulk_of(t))
               : run_waited(t);
}
