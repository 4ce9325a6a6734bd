/*
 * A worker's session: one guest context. Its ring, the thread that reads it, and
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
 * SPDX-License-Identifier: MIT
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bulk.h"
#include "wire.h"
#include "ring.h"
#include "handles.h"

struct session;

/* One call being made, on the stack of the thread that makes it. */
struct request {
    struct session *session;
    struct wire_header header; /* checked copy */
    struct wire_in in;         /* the payload, private to this thread, aligned to 16 */
    struct wire_out out;       /* the answer's payload, in the slot's reply area */
    bool blocked;              /* between session_block_begin and the answer */
};

/* What serves an API: `serve` decodes, makes the call, and answers. */
struct session_api {
    const char *name;
    /*
     * Returns WIRE_OK, or why the message was refused: WIRE_MALFORMED ends the
     * context, WIRE_UNKNOWN is only answered. The caller answers
     * the slot: with what `out` holds, and this status.
     */
    enum wire_status (*serve)(struct request *r);
    /* Release every object that is left; at the session's end. */
    void (*finish)(struct session *s);
};

/** session_handles: the table of the context's objects. */
struct handles *session_handles(struct session *s);

/**
 * session_span: the memory of @span, which the guest may change at any moment.
 *
 * Returns NULL if the span is not within one blob of this context. The mapping
 * stays until session_unref_blob(): calls that keep the pointer beyond their own end
 * take session_ref_blob() on span->blob.
 */
void *session_span(struct session *s, const struct wire_span *span);
void session_ref_blob(struct session *s, uint64_t blob);
void session_unref_blob(struct session *s, uint64_t blob);

/**
 * session_block_begin: give up the lead: what follows may block. All that must
 * happen in the guest's order is done. Nothing else of the session but its
 * handles (which lock themselves) may be touched until the answer.
 * Calling it twice, or not at all, is fine.
 */
void session_block_begin(struct request *r);

/** session_fail: report a broken promise of the guest, and end the context. */
void session_fail(struct session *s, enum ring_fatal why, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
