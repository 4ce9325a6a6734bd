/*
 * A worker's session: one guest context. Its ring, the threads that read it, and
 * what a call needs while it is being made. Generated decoders (opencl_serve.c)
 * and hand-written halves (cl_*.c) build on this.
 *
 * Theory of operation: leader and followers. One thread at a time, the leader,
 * takes messages from the ring and makes the calls, in the order in which the guest
 * wrote them. Most calls do not block, and so one thread does everything. A call that may
 * block in the host's API (clFinish, a build, a blocking read) does the part that has to
 * be in order, and gives up the lead with session_block_begin(); if more messages
 * arrive meanwhile, another thread takes the lead. The blocked thread answers
 * its call by itself when it is done. So a program with one thread never pays for a
 * change of threads, and one guest thread's wait is never another's.
 *
 * Only the leader looks objects up and drops them. A thread that blocks must
 * hold references (clRetain...) to the host's objects that it goes on to use: the
 * guest may drop them meanwhile.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "budget.h"
#include "bulk.h"
#include "handles.h"
#include "memory.h"
#include "ring.h"
#include "wire.h"

#define REQUEST_PINS 8 /* the most spans that one call may look at */

struct session;

/* One call being made, on the stack of the thread that makes it. */
struct request {
    struct session *session;
    struct wire_header header; /* checked copy */
    struct wire_in in;         /* the payload, private to this thread, aligned to 16 */
    struct wire_out out;       /* the answer's payload, in the slot's reply area */
    bool blocked;              /* between session_block_begin and the answer */
    unsigned pins;             /* blobs that stay mapped until the answer */
    struct blob *pinned[REQUEST_PINS];
};

/* What serves an API. */
struct session_api {
    const char *name;
    /*
     * Decodes, makes the call, and puts the answer into `out`.
     *
     * Returns WIRE_OK, or why the message was refused: WIRE_MALFORMED ends the
     * context, WIRE_UNKNOWN is only answered. The caller answers
     * the slot: with what `out` holds, and this status.
     */
    enum wire_status (*serve)(struct request *r);
    /*
     * Called before any call that wants an answer is answered, by the thread that
     * served it: what has ended by now should be seen to have. May be NULL.
     */
    void (*settle)(struct session *s);
    /* Prints the call whose payload is @in as one line. */
    void (*print)(FILE *f, uint16_t call, struct wire_in in);
    /*
     * Called by the leader when the ring is empty: see to what is still going on.
     * Returns whether something is: then it is called again, and must have waited
     * a little, else the leader goes to sleep. May be NULL.
     */
    bool (*idle)(struct session *s);
    /*
     * For how long at most the leader looks for the next message before it goes to
     * sleep, in ns; 0: as long as usual. In a longer spin it yields.
     */
    uint32_t spin_ns;
};

/* --- for those who serve calls -------------------------------------------- */

/** session_handles: the table of the context's objects. */
struct handles *session_handles(struct session *s);

/**
 * session_span: the memory of @span, which the guest may change at any moment.
 * It stays mapped until the call is answered.
 *
 * Returns NULL if the span is not within one blob of this context.
 */
void *session_span(struct request *r, const struct wire_span *span);

/**
 * session_span_blob: a reference to the blob of @span, for commands that use
 * its memory beyond the answer; blob_unref() it then. NULL like session_span().
 */
struct blob *session_span_blob(struct request *r, const struct wire_span *span);

/**
 * session_block_begin: give up the lead: what follows may block. All that must
 * happen in the guest's order is done. Nothing else of the session but its
 * handles and blobs (which lock themselves) may be touched until the answer.
 * Calling it twice, or not at all, is fine.
 */
void session_block_begin(struct request *r);

/**
 * session_fail: report a broken promise of the guest, and end the context: does
 * not return.
 */
_Noreturn void session_fail(struct session *s, enum ring_fatal why,
                            const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** session_blob: like session_span_blob(), where there is no request at hand. */
struct blob *session_blob(struct session *s, const struct wire_span *span);

/**
 * session_reply_area: slot @n's reply area, for what is posted there without a
 * call that asked. session_post: slot @n has come to @seq, and whoever sleeps
 * for that is woken. The leader only.
 */
void *session_reply_area(struct session *s, uint32_t n);
void session_post(struct session *s, uint32_t n, uint32_t seq);

/** session_send: @packet to the client, with @fd, which stays the caller's, or -1. */
void session_send(struct session *s, const void *packet, int fd);

/** session_charge, session_release: bytes of the client's budget. */
bool session_charge(struct session *s, uint64_t bytes);
void session_release(struct session *s, uint64_t bytes);
/** session_memory_max: all that the client has. */
uint64_t session_memory_max(struct session *s);

/* --- for the worker's control thread (worker.c) --------------------------- */

/* What a session is made of; all of it outlives the session. */
struct session_params {
    int sock;             /* the context's socket, for PROTO_LOST */
    int doorbell;         /* eventfd */
    int epoll;            /* the control thread's: the session adds the doorbell */
    struct memory *memory;
    struct budget *budget;
    FILE *trace;          /* every call is printed here; NULL: none is */
    const struct session_api *const *apis; /* VGPU_API_COUNT, NULL: not served */
};

/** session_create: a session without a ring. NULL if memory is short. */
struct session *session_create(const struct session_params *params);

/**
 * session_start: format the ring in blob @ring and begin to read it.
 *
 * Returns 0 or -errno (-EINVAL: the blob is too small).
 */
int session_start(struct session *s, struct blob *ring);

/** session_set_event: signal @fd for ring @n; takes @fd over. */
void session_set_event(struct session *s, uint32_t n, int fd);

/** session_doorbell: the doorbell, armed by a blocking call, was rung. */
void session_doorbell(struct session *s);

#endif
