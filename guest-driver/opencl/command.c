/*
 * Commands: their wait lists and events. cl_wait_list() and cl_event_begin()
 * serve the generated entry points, command_begin() those written by hand.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <stdlib.h>
#include <time.h>

#include "opencl_call.h"
#include "output.h"

#define ENTERED (((uint64_t)1 << 16) + 1) /* one more command, being made */
#define BEING_MADE(use) ((use) & 0xffff)
#define SO_FAR(use) ((use) >> 16)
#define TAKEN_LOOK_NS 20000 /* between looks whether the queue is still taken */

/* The event that cl_event_begin() made and cl_event_end() gives out. */
static __thread cl_event pending;

static cl_event create_event(cl_command_queue queue, cl_command_type type)
{
    struct session *s = queue->obj.session;
    cl_event event = cl_object_create(s, OPENCL_cl_event);

    if (!event) {
        return NULL;
    }
    event->context = queue->context;
    event->queue = queue;
    event->command = type;
    event->status = CL_QUEUED;
    cl_object_hold(queue);
    event->obj.id = session_new_id(s);
    if (!event->obj.id) {
        cl_object_undo(event);
        return NULL;
    }
    return event;
}

/* --- a queue, and who makes commands of it -------------------------------------- */

/* Either who takes the queue sees that we are here, or we see that it is taken. */
static uint64_t enter(cl_command_queue queue)
{
    uint64_t use = atomic_fetch_add(&queue->use, ENTERED) + ENTERED;

    while (atomic_load(&queue->taken)) {
        nanosleep(&(struct timespec){ .tv_nsec = TAKEN_LOOK_NS }, NULL);
    }
    return use;
}

static void leave(cl_command_queue queue)
{
    atomic_fetch_sub(&queue->use, 1);
}

static bool is_alone(const struct command *c)
{
    return BEING_MADE(c->use) == 1 && atomic_load(&c->queue->use) == c->use;
}

bool command_takes_queue(struct command *c)
{
    if (!is_alone(c)) {
        return false;
    }
    atomic_store(&c->queue->taken, true);
    c->takes = is_alone(c);
    if (!c->takes) {
        atomic_store(&c->queue->taken, false);
    }
    return c->takes;
}

static void set_idle(cl_command_queue queue, uint64_t use)
{
    atomic_store_explicit(&queue->idle_at, SO_FAR(use), memory_order_relaxed);
}

void queue_finished(cl_command_queue queue, uint64_t use)
{
    if (!BEING_MADE(use)) { /* else one is counted that was not sent yet */
        set_idle(queue, use);
    }
}

/*
 * A marker behind all that the next command of @c would wait for; the wait list is
 * the marker's from then on. @turn is the caller's to release.
 */
static cl_int mark_turn(struct command *c, cl_event *turn)
{
    cl_int err;

    *turn = create_event(c->queue, CL_COMMAND_MARKER);
    if (!*turn) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    err = call_clEnqueueMarkerWithWaitList(c->session, c->queue_id, c->waits,
                                           c->ids, (*turn)->obj.id);
    if (err != CL_SUCCESS) {
        cl_object_undo(*turn);
        return err;
    }
    c->waits = 0;
    c->ids = NULL;
    return CL_SUCCESS;
}

cl_int command_waits_turn(struct command *c)
{
    uint64_t before = SO_FAR(c->use) - 1;
    cl_event turn;
    cl_int err;

    if (!is_alone(c) ||
        (!c->waits && atomic_load_explicit(&c->queue->idle_at,
                                           memory_order_relaxed) == before)) {
        return CL_SUCCESS;
    }
    if (!c->waits) {
        return call_clFinish(c->session, c->queue_id);
    }
    err = mark_turn(c, &turn);
    if (err == CL_SUCCESS) {
        err = call_clWaitForEvents(c->session, 1, &turn->obj.id);
        cl_object_release(turn);
    }
    return err;
}

cl_int command_is_whole(struct command *c)
{
    if (!c->event) {
        c->event = create_event(c->queue, 0);
        c->event_id = c->event ? c->event->obj.id : 0;
    }
    return c->event ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
}

/* --- wait lists and events ------------------------------------------------------- */

cl_int cl_wait_list(cl_command_queue queue, cl_uint n, const cl_event *list,
                    uint64_t *ids)
{
    if (!n != !list) {
        return CL_INVALID_EVENT_WAIT_LIST;
    }
    for (cl_uint i = 0; i < n; i++) {
        if (!cl_live(list[i], OPENCL_cl_event)) {
            return CL_INVALID_EVENT_WAIT_LIST;
        }
        if (list[i]->context != queue->context) {
            return CL_INVALID_CONTEXT;
        }
        ids[i] = list[i]->obj.id;
    }
    return CL_SUCCESS;
}

uint64_t cl_event_begin(cl_command_queue queue, cl_command_type type,
                        cl_event *event)
{
    pending = event ? create_event(queue, type) : NULL;
    if (pending || !event) {
        enter(queue);
    }
    return pending ? pending->obj.id : 0;
}

void cl_event_end(cl_command_queue queue, uint64_t id, cl_event *event,
                  cl_int err)
{
    leave(queue);
    if (!pending) {
        return;
    }
    if (err == CL_SUCCESS) {
        *event = pending;
    } else {
        cl_object_undo(pending);
    }
    pending = NULL;
}

cl_int command_begin(struct command *c, cl_command_queue queue, cl_uint n,
                     const cl_event *list, cl_command_type type,
                     cl_event *event)
{
    uint64_t *ids = c->few;
    cl_int err;

    if (!cl_live(queue, OPENCL_cl_command_queue)) {
        return CL_INVALID_COMMAND_QUEUE;
    }
    c->session = queue->obj.session;
    c->queue = queue;
    c->queue_id = queue->obj.id;
    c->waits = n;
    c->many = NULL;
    c->blocks = c->takes = false;
    c->event = NULL;
    c->event_id = 0;
    c->event_out = event;
    if (list && n > sizeof(c->few) / sizeof(c->few[0])) {
        ids = c->many = malloc(n * sizeof(ids[0]));
        if (!ids) {
            return CL_OUT_OF_HOST_MEMORY;
        }
    }
    err = cl_wait_list(queue, n, list, ids);
    c->ids = n ? ids : NULL;
    if (err == CL_SUCCESS && event) {
        c->event = create_event(queue, type);
        c->event_id = c->event ? c->event->obj.id : 0;
        err = c->event ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    }
    if (err != CL_SUCCESS) {
        free(c->many);
        return err;
    }
    c->use = enter(queue);
    return CL_SUCCESS;
}

void command_waited(struct session *s)
{
    output_show(s);
    transfer_settle();
}

/* Waits for what the next command of @c would wait for, without a reply slot. */
static cl_int wait_for_turn(struct command *c)
{
    bool in_order = !(c->queue->flags & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    bool listed = c->waits;
    cl_event turn;
    cl_int err;

    if (!in_order && !listed) {
        return CL_SUCCESS;
    }
    err = mark_turn(c, &turn);
    if (err != CL_SUCCESS) {
        return err;
    }
    err = event_ask_until_over(1, &turn);
    cl_object_release(turn);
    /* That of an earlier command is not this one's. */
    return err == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST && !listed
               ? CL_SUCCESS : err;
}

cl_int command_blocks(struct command *c)
{
    if (c->blocks) {
        return CL_SUCCESS;
    }
    c->blocks = long_wait_begin(c->session);
    return c->blocks ? CL_SUCCESS : wait_for_turn(c);
}

cl_int command_end(struct command *c, cl_int err)
{
    if (c->takes) {
        set_idle(c->queue, c->use);
        atomic_store(&c->queue->taken, false);
    }
    leave(c->queue);
    if (c->blocks) {
        long_wait_end(c->session);
    }
    free(c->many);
    command_waited(c->session);
    if (c->event && err != CL_SUCCESS) {
        cl_object_undo(c->event);
    } else if (c->event && c->event_out) {
        *c->event_out = c->event;
    } else if (c->event) {
        cl_object_release(c->event); /* command_is_whole()'s */
    }
    return err;
}

cl_int command_order(struct command *c, bool blocking)
{
    cl_int err = blocking ? command_blocks(c) : CL_SUCCESS;

    if (err != CL_SUCCESS) {
        return err;
    }
    if (blocking || c->waits || c->event_id) {
        err = call_clEnqueueMarkerWithWaitList(c->session, c->queue_id,
                                               c->waits, c->ids, c->event_id);
    }
    if (err == CL_SUCCESS && blocking) {
        err = call_clFinish(c->session, c->queue_id);
    }
    return err;
}

cl_int command_mem(const struct command *c, cl_mem mem,
                   cl_mem_object_type kind)
{
    if (!cl_live(mem, OPENCL_cl_mem) || (kind && mem->kind != kind)) {
        return CL_INVALID_MEM_OBJECT;
    }
    return mem->context == c->queue->context ? CL_SUCCESS : CL_INVALID_CONTEXT;
}
