/*
 * The shim's session: one context on a device, its ring, its reply slots and
 * the shared memory that bulk data travels through. The APIs (opencl/, later egl/
 * and gles/) build on this and know nothing of transports.
 *
 * A session is made by the first call that needs it and belongs to the process;
 * a child of fork() does not inherit it (see session_get()). No thread is made here.
 *
 * Making a call:
 *
 *     struct call c;
 *     if (call_begin(&c, s, VGPU_API_OPENCL, number, payload, true) < 0) {
 *         return CL_OUT_OF_RESOURCES;       // the session is lost
 *     }
 *     wire_put(&c.out, ...);                // exactly `payload` bytes
 *     call_send(&c);
 *     if (call_wait(&c) == 0) {
 *         ... wire_get(&c.reply) ...
 *     }
 *     call_end(&c);
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct session;

/**
 * session_get: this process's session, opened at the first call.
 *
 * Returns NULL when there is no device or server; the reason has then been
 * reported, once, on stderr if VGPU_DEBUG is set. After fork() the child gets a new
 * session of its own and all handles of its parent are dead in it.
 */
struct session *session_get(void);

/*
 * Optimisations that VGPU_PERF=no_spin,no_async_create,... switches off. Results
 * are the same with and without each.
 */
enum session_perf {
    PERF_SPIN,         /* spin for a moment before sleeping */
    PERF_ASYNC_CREATE, /* do not wait for what can be checked here */
    PERF_CACHE,        /* ask for constant information once */
    PERF_BULK,         /* stream large transfers, and none from shared memory */
    PERF_LAZY,         /* publish a call that has time with the next one */
    PERF_DIRECT,       /* the worker's: transfers that do without the host's queue */
    PERF_IN_PLACE,     /* the device's: guest pages that a worker reads */
};

/** session_perf: whether optimisation @what is on. */
bool session_perf(struct session *s, enum session_perf what);

/** session_is_current: whether @s is this process's (not its parent's). */
bool session_is_current(struct session *s);

/** session_lost: whether the session can make no more calls. */
bool session_lost(struct session *s);

/**
 * session_new_id: an object id that no live object of this session has.
 * session_free_id: give it back, after the call that drops the object was sent.
 *
 * Ids are dense, from 1, and below VGPU_OBJECTS_MAX; 0 is returned when all
 * are taken.
 */
uint64_t session_new_id(struct session *s);
void session_free_id(struct session *s, uint64_t id);

/* --- calls ---------------------------------------------------------------- */

struct call {
    struct session *session;
    struct wire_out out;  /* between begin and send: the payload, to be filled */
    struct wire_in reply; /* between wait and end: the answer's payload */
    uint8_t *start;       /* of the message */
    uint32_t size;        /* of the message */
    uint32_t slot;        /* 0: no answer wanted */
    uint32_t seq;
    bool insisted;        /* by call_answer_begin() */
    uint32_t tail;        /* of the ring, behind the message */
};

/**
 * call_begin: start a message with @payload bytes (a multiple of 8), at most
 * call_payload_max().
 *
 * @reply: whether an answer is wanted. Waits for a reply slot and for space in
 * the ring. Returns 0, holding the ring's lock until call_send(), or -1 if the session
 * is lost and nothing is to be undone.
 */
int call_begin(struct call *c, struct session *s, enum vgpu_api api,
               uint16_t number, size_t payload, bool reply);
size_t call_payload_max(struct session *s);

/** call_send: publish the message; wakes the worker if it sleeps. */
void call_send(struct call *c);

/**
 * call_send_lazily: like call_send() for a call that wants no answer and has no
 * effect but on later calls: it is published together with the next one, which
 * spares both sides the cache line that they share for each message.
 */
void call_send_lazily(struct call *c);

/**
 * call_meanwhile: have this thread's next call_wait() call @fn before it waits,
 * to fill or to empty the memory that the worker is working on. @fn asks
 * call_is_over() whether there is still any use in that.
 */
void call_meanwhile(void (*fn)(struct call *c, void *opaque), void *opaque);
bool call_is_over(struct call *c);

/**
 * long_wait_begin: whether this thread may now make a call that waits for what other
 * threads do, and holds a reply slot meanwhile. Not if so many do that hardly
 * a slot is left for those others: then wait without one.
 * long_wait_end: after true, when the call is over.
 */
bool long_wait_begin(struct session *s);
void long_wait_end(struct session *s);

/**
 * compile_begin: before a call that waits for the host's compiler, and holds a reply slot
 * meanwhile: waits while many do, so that slots are left for the calls of others.
 * Nothing that ends a long wait may come after it. compile_end: when the call is over.
 */
void compile_begin(struct session *s);
void compile_end(struct session *s);

/**
 * call_wait: wait for the answer; only for a call that wanted one.
 *
 * Spins for a bounded, adaptive time and then blocks. Returns 0 with `reply` at
 * the answer, or -1 if the call was not made (the session is lost or the worker
 * refused the message); call call_end() in both cases.
 */
int call_wait(struct call *c);

/** call_end: give the reply slot back. Not for calls without an answer. */
void call_end(struct call *c);

/*
 * Between these two, a call of this thread that wants no answer waits for one all
 * the same. call_answer_end() returns the number that the answer begins with, the
 * API's error; @lost if no answer came; or @error, with which the call was given up
 * before it was sent. For calls whose success cannot be told in advance, and for
 * VGPU_PERF=no_async_create.
 */
void call_answer_begin(void);
int32_t call_answer_end(int32_t error, int32_t lost);

/**
 * call_trace: have @fn see every message, in the order in which the worker gets
 * them. Before the first call.
 */
void call_trace(void (*fn)(enum vgpu_api api, uint16_t number,
                           const void *payload, size_t size));

/* --- shared memory -------------------------------------------------------- */

/*
 * Payloads up to this many bytes go inline; above it through shared memory.
 */
#define BULK_INLINE_MAX 4096u

/*
 * A piece of memory that the worker sees too. The first 64 bytes of what is allocated are
 * a header (struct bulk_header, bulk.h) that says when the worker is done with it.
 */
struct bulk {
    struct wire_span span; /* what to tell the worker: the data, no header */
    void *data;            /* the same bytes here */
    void *owner;           /* the pool's own */
};

/**
 * bulk_alloc: @size bytes of shared memory from the pool, aligned to 64.
 *
 * Returns 0, or -1 if the budget is used up (the worker decides) or the session
 * is lost. Waits while the pool is full of data the worker still reads.
 */
int bulk_alloc(struct session *s, size_t size, struct bulk *b);

/** bulk_free: @b is used by nobody any more. */
void bulk_free(struct session *s, struct bulk *b);

/**
 * bulk_free_later: @b was handed to a command that may still be running; it
 * goes back to the pool when the worker has marked it done.
 */
void bulk_free_later(struct session *s, struct bulk *b);

/** bulk_is_done: whether the worker has marked @b done (acquire). */
bool bulk_is_done(const struct bulk *b);

/** bulk_header: the header of @b, which came from bulk_alloc(). */
struct bulk_header *bulk_header(const struct bulk *b);

/**
 * bulk_find: whether the @size bytes at @ptr are shared memory already (a mapped
 * buffer, say). If so @span is set and true returned.
 */
bool bulk_find(struct session *s, const void *ptr, size_t size,
               struct wire_span *span);

/**
 * bulk_lend: until the next bulk_lend(), @b's own memory, which this thread
 * gives to a call as its input, is found by bulk_find() with its header. The
 * caller frees @b, later if the call is not waited for. NULL: nothing is lent.
 */
void bulk_lend(const struct bulk *b);

/**
 * region_create: a blob of its own, @size bytes, page-aligned, for memory that
 * an API object lives in. region_destroy: unmap it and give it up; the call that
 * drops the object must have been sent before.
 */
int region_create(struct session *s, size_t size, struct bulk *b);

/**
 * region_create_spare: the same for an object that is just as well without, only
 * slower: such regions leave most of the memory, and of the blobs, to those that are not.
 */
int region_create_spare(struct session *s, size_t size, struct bulk *b);
void region_destroy(struct session *s, struct bulk *b);

/* --- answers that arrive late ---------------------------------------------- */

/*
 * A command that was sent without waiting and fills shared memory which then has to
 * be copied to where the program wants it. Whenever an answer has been waited
 * for, everything that the worker has marked done by then is copied, before the
 * waiting call returns.
 */
struct late {
    struct late *next;
    struct bulk bulk;
    /* Copy from bulk.data and free this; not called if the session is lost. */
    void (*arrive)(struct late *late);
};

/** late_add: watch @late, whose command was sent or is about to be. */
void late_add(struct session *s, struct late *late);

/** late_sweep: copy all that is done. Called by call_wait(). */
void late_sweep(struct session *s);

/** late_each: call @fn for all that have not arrived; none does meanwhile. */
void late_each(struct session *s, void (*fn)(struct late *late, void *opaque),
               void *opaque);

#endif
