/*
 * Commands: their wait lists and events. cl_wait_list() and cl_event_begin()
 * serve the generated entry points, command_begin() those written by hand.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <stdlib.h>

#include "opencl_call.h"
#include "output.h"

/* The event that cl_event_begin() made and cl_event_end() gives out. */
static __thread cl_event pending;

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

uint64_t cl_event_begin(cl_command_queue queue, cl_command_type type,
                        cl_event *event)
{
    pending = event ? create_event(queue, type) : NULL;
    return pending ? pending->obj.id : 0;
}

void cl_event_end(cl_command_queue queue, uint64_t id, cl_event *event,
                  cl_int err)
{
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
    c->blocks = false;
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
    }
    return err;
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
    cl_event turn;
    cl_int err;

    if (!in_order && !c->waits) {
        return CL_SUCCESS;
    }
    turn = create_event(c->queue, CL_COMMAND_MARKER);
    if (!turn) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    err = call_clEnqueueMarkerWithWaitList(c->session, c->queue_id, c->waits,
                                           c->ids, turn->obj.id);
    if (err != CL_SUCCESS) {
        cl_object_undo(turn);
        return err;
    }
    err = event_ask_until_over(1, &turn);
    cl_object_release(turn);
    if (err == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST && !c->waits) {
        err = CL_SUCCESS; /* that of an earlier command is not this one's */
    }
    c->waits = 0;
    c->ids = NULL;
    return err;
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
    if (c->blocks) {
        long_wait_end(c->session);
    }
    free(c->many);
    command_waited(c->session);
    if (c->event && err == CL_SUCCESS) {
        *c->event_out = c->event;
    } else if (c->event) {
        cl_object_undo(c->event);
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
