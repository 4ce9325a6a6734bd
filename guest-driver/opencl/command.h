/*
 * What all clEnqueue... functions have in common: queue, wait list and event.
 *
 *     struct command c;
 *     cl_int err = command_begin(&c, queue, n, list, CL_COMMAND_..., event);
 *
 *     if (err != CL_SUCCESS) {
 *         return err;                          // nothing is to be undone
 *     }
 *     err = call_clEnqueue...(c.session, c.queue_id, ..., c.waits, c.ids, c.event_id);
 *     return command_end(&c, err);
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef COMMAND_H
#define COMMAND_H

#include "kinds.h"

struct command {
    struct session *session;
    cl_command_queue queue;
    uint64_t queue_id;
    cl_uint waits;
    const uint64_t *ids; /* of the wait list; NULL if that is empty */
    uint64_t event_id;   /* 0: the program wants no event */

    /* command.c's own */
    bool blocks;         /* command_blocks() has begun a long wait */
    bool takes;          /* the queue, for itself */
    uint64_t use;        /* of the queue, with this command */
    uint64_t few[8];
    uint64_t *many;
    cl_event event;
    cl_event *event_out;
};

/** command_begin: check queue and wait list, prepare the event. */
cl_int command_begin(struct command *c, cl_command_queue queue, cl_uint n,
                     const cl_event *list, cl_command_type type,
                     cl_event *event);

/**
 * command_waited: the program has waited for commands, or may have: show what they
 * have printed, and let go of what they held.
 */
void command_waited(struct session *s);

/**
 * command_blocks: what is sent from now on is waited for. Where many threads wait
 * already, all that it would have waited for is over when this returns, which held no
 * reply slot. Returns an error if the command is not to be made.
 */
cl_int command_blocks(struct command *c);

/**
 * command_takes_queue: whether the command, which is waited for and has waited for
 * its turn, may be made of several, or copy by itself: not if another thread has made
 * a command of that queue since, or is about to, which would run in between. Those
 * that come later wait until command_end().
 *
 * command_waits_turn: what came before in the queue, and the wait list, are over when this
 * returns; nothing is done if the queue is known to be idle, or is not to be had.
 *
 * command_is_whole: the command is one of the host's, by its having an event.
 */
bool command_takes_queue(struct command *c);
cl_int command_waits_turn(struct command *c);
cl_int command_is_whole(struct command *c);

/** queue_finished: all commands are over that had been made when `use` was @use. */
void queue_finished(cl_command_queue queue, uint64_t use);

/** event_ask_until_over: clWaitForEvents(), without a reply slot: asks now and then. */
cl_int event_ask_until_over(cl_uint n, const cl_event *list);

/** command_end: give the event to the program, or undo it if @err. Returns @err. */
cl_int command_end(struct command *c, cl_int err);

/**
 * command_order: a command that does nothing, for its place in the order and its
 * event; waited for if @blocking.
 */
cl_int command_order(struct command *c, bool blocking);

/**
 * command_mem: whether @mem is a live memory object of @kind (0: any) in the
 * command's context.
 */
cl_int command_mem(const struct command *c, cl_mem mem,
                   cl_mem_object_type kind);

/*
 * Make an asynchronous call, and wait for its error nevertheless if @certain
 * is false: what was checked here is not enough to know that it succeeds.
 */
#define call_checked(s, certain, call)                                     \
    ({                                                                     \
        bool wait_ = !(certain) || !session_perf(s, PERF_ASYNC_CREATE);    \
        cl_int err_;                                                       \
                                                                           \
        if (wait_) {                                                       \
            call_answer_begin();                                           \
        }                                                                  \
        err_ = (call);                                                     \
        wait_ ? call_answer_end(err_, CL_OUT_OF_RESOURCES) : err_;         \
    })

#endif
