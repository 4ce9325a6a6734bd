/*
 * The OpenCL half of a worker: what its files share. A worker serves one
 * context, so what they remember is static, one of each.
 *
 *   opencl_serve.c  (generated) decodes, looks ids up, makes plain calls, answers
 *   cl.c            the API's entry; platforms and queues; errors nobody waited for
 *   cl_device.c     parts of devices
 *   cl_queue.c      whether a queue is idle; where its devices work
 *   cl_pending.c    memory lent to commands that may still run
 *   cl_transfer.c   reading and writing: blocking, late, streamed
 *   cl_memory.c     what memory objects cost
 *   cl_buffer.c     buffers, also those that lie in blobs
 *   cl_map.c        mapping those
 *   cl_commands.c   command buffers
 *   cl_svm.c        shared virtual memory
 *   cl_image.c      images
 *   cl_program.c    programs and kernels
 *   cl_output.c     what kernels print
 *   cl_options.c    build options, and the guest's files that builds include
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VGPU_CL_H
#define VGPU_CL_H

#include <CL/cl.h>

#include "session.h"

extern const struct session_api cl_api;

struct svm;

/* --- cl_pending.c: memory lent to commands ---------------------------------- */

/*
 * What a command still uses: a copy of ours, a guest's blob, a region. Charged to the
 * budget as long as it is pending.
 */
struct pending {
    cl_event event;          /* a reference; the command's */
    struct blob *blob;       /* a reference, or NULL */
    struct svm *svm;         /* the same; see cl_svm.c */
    struct bulk_header *bulk;/* in the blob: to be marked done, or NULL */
    void *copy;              /* to be freed, or NULL */
    size_t bytes;            /* of the copy */
};

/**
 * pending_lend: memory for a copy of @size bytes at @src, to be lent; NULL if the
 * budget is used up. pending_unlend: the command was not made after all.
 */
void *pending_lend(struct session *s, const void *src, size_t size);
void pending_unlend(struct session *s, void *copy, size_t size);

/**
 * pending_add: take over what @p holds until its command has ended.
 *
 * If there is no memory to remember it by, waits for the command instead.
 */
void pending_add(struct session *s, const struct pending *p);

/** pending_sweep: give back what ended commands had. Before every answer. */
void pending_sweep(struct session *s);

/* --- cl_queue.c: whether a queue is idle ----------------------------------------- */

/*
 * The leader counts what may put commands into any queue. Who has waited for all
 * of a queue says at which count that was true; if it is still the count, the
 * queue is idle.
 */

/** queue_busy: a command is about to be queued. Returns the count after it. */
uint64_t queue_busy(void);
/** queue_set_idle: all that was in queue @id when the count was @at has ended. */
void queue_set_idle(uint64_t id, uint64_t at);
/** queue_was_idle: whether queue @id was idle at count @at. */
bool queue_was_idle(uint64_t id, uint64_t at);
/** queue_is_idle: whether queue @id is idle now. Leader only. */
bool queue_is_idle(uint64_t id);
/** queue_count: the count as it is. Leader only. */
uint64_t queue_count(void);

/**
 * queue_function: the function @name of an extension, of the platform that @queue's
 * device belongs to; NULL: it has none.
 */
void *queue_function(cl_command_queue queue, const char *name);

/** queue_keeps_order: whether it is an in-order queue. */
bool queue_keeps_order(cl_command_queue queue);

/**
 * context_is_direct: whether all its devices work in the host's memory, so that we
 * may touch a buffer's bytes ourselves; always the same for one context.
 */
bool context_is_direct(cl_context context);

/* --- cl_memory.c: what memory objects cost --------------------------------------- */

struct charge {
    struct session *session;
    size_t bytes;
    void *memory; /* what the object was made of, to be freed with it; or NULL */
};

/**
 * charge_create: @bytes of the client's budget, for an object that is to be made;
 * NULL if there are not as many. charge_destroy: it was not.
 */
struct charge *charge_create(struct session *s, size_t bytes);
void charge_destroy(struct charge *c);

/**
 * charge_bind: @c goes with @mem, just made, or if that is NULL now. Returns @mem,
 * or NULL and *@err (which is left alone if @mem is NULL).
 */
cl_mem charge_bind(struct charge *c, cl_mem mem, cl_int *err);

/** charge_made: the same for what the host says that @mem takes. */
cl_mem charge_made(struct session *s, cl_mem mem, cl_int *err);

/* --- cl_buffer.c ---------------------------------------------------------------- */

/** buffer_memory: the memory that @buffer was made of; NULL if not by us. */
char *buffer_memory(cl_mem buffer);

/* --- cl_svm.c ------------------------------------------------------------------ */

/**
 * svm_find: the region of shared virtual memory that all @size bytes at @address
 * lie in, or NULL. Leader only. svm_ref() it to use it beyond that.
 */
struct svm *svm_find(uint64_t address, size_t size);
/** svm_ref, svm_unref: any thread; NULL is fine. */
void svm_ref(struct svm *svm);
void svm_unref(struct svm *svm);
/** svm_forget: free all regions. For the fuzzer. */
void svm_forget(void);

/* --- cl_commands.c ------------------------------------------------------------- */

/** commands_forget: free what is ours of all command buffers. For the fuzzer. */
void commands_forget(void);

/* --- cl_transfer.c ------------------------------------------------------------ */

/* One read or write, of whatever shape. */
struct transfer {
    struct request *r;
    cl_command_queue queue;
    uint64_t queue_id;
    bool read;
    bool blocking;
    void *ptr; /* the data, here */
    struct wire_span span;
    size_t bytes;
    cl_uint n_waits;
    const cl_event *waits;
    cl_event *event; /* the guest's, or NULL */

    /* The command itself, never blocking, on the data at @ptr. */
    cl_int (*enqueue)(struct transfer *t, void *ptr, cl_event *event);
    const void *args; /* for enqueue */

    /*
     * Set for a plain stretch of a buffer, which can be transferred in parts:
     * like enqueue, for @size bytes at @at.
     */
    cl_int (*enqueue_part)(struct transfer *t, void *ptr, size_t at,
                           size_t size, cl_event *event);
    cl_mem buffer; /* NULL: shared virtual memory */
    size_t offset;
    struct svm *svm;
    char *memory;  /* in it */
};

/* What the arguments of all reads, and of all writes, say by the same names. */
#define TRANSFER_COMMON(request, a)                                        \
    .r = (request), .queue = (a)->command_queue,                           \
    .queue_id = (a)->id_of_command_queue, .ptr = (void *)(a)->ptr,         \
    .span = (a)->ptr_span, .n_waits = (a)->num_events_in_wait_list,        \
    .waits = (a)->event_wait_list, .event = (a)->event
#define TRANSFER_READ(request, a)                                          \
    TRANSFER_COMMON(request, a), .read = true,                             \
    .blocking = (a)->blocking_read
#define TRANSFER_WRITE(request, a)                                         \
    TRANSFER_COMMON(request, a), .blocking = (a)->blocking_write

/** transfer_run: make the transfer. Returns the API's error. */
cl_int transfer_run(struct transfer *t);

/* --- cl_output.c ---------------------------------------------------------------- */

/** output_drain: see what kernels have printed. Before every answer. */
void output_drain(void);
/** output_forget: keep it no longer. For the fuzzer. */
void output_forget(void);

/* --- cl_options.c --------------------------------------------------------------- */

/**
 * options_make: the build options that the host gets for a guest's @options
 * (NULL is fine), to be freed.
 *
 * Returns NULL and *@err as @refused if one of them would let the compiler do
 * more than compile, or CL_OUT_OF_HOST_MEMORY.
 */
char *options_make(const char *options, cl_int refused, cl_int *err);

#endif
