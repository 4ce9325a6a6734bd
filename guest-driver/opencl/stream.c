/*
 * Large blocking transfers between a buffer and the program's memory: in chunks
 * through one piece of the pool, and within each chunk the program's half of the
 * copying runs at the same time as the host's. While the call is being
 * made, the guest fills the piece ahead of the worker (bulk_header.filled), or
 * empties it behind the worker (bulk_header.drained).
 *
 * A chunk is small enough that the piece stays in the processor's cache, and large
 * enough that what a call costs does not matter.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <string.h>

#include "bulk.h"
#include "spin.h"

#define CHUNK ((size_t)4 << 20)
#define STEP  ((size_t)64 << 10)
/* How long `drained` may stand still before it is left to the answer. */
#define STILL_NS 100000u

struct stream {
    struct bulk_header *header;
    char *piece;
    char *program; /* the chunk in the program's memory */
    size_t bytes;
    size_t done;   /* copied so far */
};

static void copy_to_program(struct stream *s, size_t until)
{
    memcpy(s->program + s->done, s->piece + s->done, until - s->done);
    s->done = until;
}

/*
 * Follow the worker for as long as it gets on, copying behind it if @copy. An
 * answer that is about to come is not worth a sleep.
 */
static void follow(struct call *c, struct stream *s, bool copy)
{
    struct spin spin = spin_begin(STILL_NS);
    uint64_t last = 0;

    while (last < s->bytes && !call_is_over(c)) {
        uint64_t there = atomic_load_explicit(&s->header->drained,
                                              memory_order_acquire);

        if (there > s->bytes || there < last) {
            return; /* no worker of ours says that */
        }
        if (there > last && copy) {
            copy_to_program(s, (size_t)there);
        }
        if (there > last) {
            last = there;
            spin_renew(&spin);
        } else if (!spin_again(&spin)) {
            return;
        }
    }
}

/* call_meanwhile() of a write. */
static void fill(struct call *c, void *opaque)
{
    struct stream *s = opaque;

    while (s->done < s->bytes && !call_is_over(c)) {
        size_t n = s->bytes - s->done < STEP ? s->bytes - s->done : STEP;

        memcpy(s->piece + s->done, s->program + s->done, n);
        s->done += n;
        atomic_store_explicit(&s->header->filled, s->done,
                              memory_order_release);
    }
    if (session_perf(c->session, PERF_SPIN)) {
        follow(c, s, false);
    }
}

/* call_meanwhile() of a read. */
static void drain(struct call *c, void *opaque)
{
    if (session_perf(c->session, PERF_SPIN)) {
        follow(c, opaque, true);
    }
}

/* Make one chunk of the transfer. */
static cl_int run_chunk(struct transfer *t, struct stream *s,
                        const struct bulk *piece, bool write)
{
    struct bulk lent = *piece;
    cl_int err;

    if (write && s->bytes <= BULK_INLINE_MAX) {
        /* The rest goes in the message, which is made before it is sent. */
        return t->send(t, true, s->program, NULL);
    }
    lent.span.size = s->bytes;
    atomic_store(&s->header->filled, 0);
    atomic_store(&s->header->drained, 0);
    call_meanwhile(write ? fill : drain, s);
    if (write) {
        lent.span.blob |= WIRE_SPAN_STREAMED;
        bulk_lend(&lent);
    }
    err = t->send(t, true, s->piece, write ? NULL : &lent.span);
    bulk_lend(NULL);
    call_meanwhile(NULL, NULL);
    if (err == CL_SUCCESS && !write && s->done < s->bytes) {
        copy_to_program(s, s->bytes);
    }
    return err;
}

static bool is_plain(const struct transfer *t)
{
    return !(t->mem && t->mem->image) && t->box.rows * t->box.slices == 1;
}

bool stream_is_worth_it(const struct transfer *t)
{
    return is_plain(t) && t->box.row >= STREAM_MIN &&
           session_perf(t->command->session, PERF_BULK);
}

cl_int stream_chunks(struct transfer *t, size_t chunk, chunk_fn fn,
                     void *opaque)
{
    struct command *c = t->command;
    size_t total = t->box.row, at = 0;
    uint64_t event_id = c->event_id;
    cl_int err = CL_SUCCESS;

    while (at < total && err == CL_SUCCESS) {
        t->box.row = total - at < chunk ? total - at : chunk;
        /* The wait list is the first chunk's, the event the last one's. */
        c->event_id = at + t->box.row == total ? event_id : 0;
        err = fn(t, at, opaque);
        c->waits = 0;
        c->ids = NULL;
        t->offset += t->box.row;
        at += t->box.row;
    }
    c->event_id = event_id;
    return err;
}

struct blocking_stream {
    struct bulk piece;
    char *program;
    bool write;
};

static cl_int blocking_chunk(struct transfer *t, size_t at, void *opaque)
{
    struct blocking_stream *b = opaque;
    struct stream s = {
        .header = bulk_header(&b->piece),
        .piece = b->piece.data,
        .program = b->program + at,
        .bytes = t->box.row,
    };

    return run_chunk(t, &s, &b->piece, b->write);
}

cl_int stream_run(struct transfer *t, void *ptr, bool write)
{
    struct session *session = t->command->session;
    struct blocking_stream b = { .program = ptr, .write = write };
    size_t most = t->box.row < CHUNK ? t->box.row : CHUNK;
    cl_int err;

    if (bulk_alloc(session, most, &b.piece) < 0) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    err = stream_chunks(t, CHUNK, blocking_chunk, &b);
    bulk_free(session, &b.piece);
    return err;
}

bool stream_is_too_large(const struct transfer *t)
{
    return is_plain(t) && t->box.row > LATE_CHUNK &&
           !(t->command->queue->flags &
             CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
}
