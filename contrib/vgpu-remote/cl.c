/*
 * The OpenCL half of a worker: its entry, and the hand-written calls that
 * belong to no object of their own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cl.h"

#include <pthread.h>
#include <stdlib.h>

#include "log.h"
#include "opencl_print.h"
#include "opencl_serve.h"

#define NOT_FOUND (-1001) /* CL_PLATFORM_NOT_FOUND_KHR */
#define STICKY_MAX 256u

/* Whether @call may put a command into a queue; plain transfers say so themselves. */
static bool is_command(uint16_t call)
{
    return call >= OPENCL_clEnqueueNDRangeKernel &&
           call != OPENCL_clEnqueueReadBuffer &&
           call != OPENCL_clEnqueueWriteBuffer &&
           call != OPENCL_vclEnqueueReadSVM &&
           call != OPENCL_vclEnqueueWriteSVM;
}

static enum wire_status serve(struct request *r)
{
    if (is_command(r->header.call)) {
        queue_busy();
    }
    return opencl_serve(r);
}

static void settle(struct session *s)
{
    pending_sweep(s);
    output_drain();
}

const struct session_api cl_api = {
    .name = "OpenCL",
    .serve = serve,
    .settle = settle,
    .print = opencl_print,
};

/* --- platforms ------------------------------------------------------------------ */

void serve_clGetPlatformIDs(struct request *r, struct clGetPlatformIDs_args *a)
{
    static bool said;
    cl_uint count = 0;

    a->ret = clGetPlatformIDs(a->num_entries, a->platforms, &count);
    if (a->num_platforms) {
        *a->num_platforms = count;
    }
    if ((a->ret == NOT_FOUND || count == 0) && !said) {
        said = true;
        log_line("this host has no OpenCL: the ICD loader finds no platform; "
                 "install the GPU's OpenCL driver, or pocl-opencl-icd for the "
                 "processor");
    }
}

/* --- errors that nobody waited for ------------------------------------------------ */

/* The first one of each queue, until an answered call on the queue reports it. */
static struct sticky {
    cl_command_queue queue; /* NULL: free */
    cl_int error;
} sticky[STICKY_MAX];
static pthread_mutex_t sticky_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned sticky_count; /* most calls need look no further */

/* Called with the lock: the entry of @queue, or a free one, or NULL. */
static struct sticky *find_sticky(cl_command_queue queue)
{
    struct sticky *free_one = NULL;

    for (unsigned i = 0; i < STICKY_MAX; i++) {
        if (sticky[i].queue == queue) {
            return &sticky[i];
        }
        if (!sticky[i].queue && !free_one) {
            free_one = &sticky[i];
        }
    }
    return free_one;
}

void opencl_async_error(struct request *r, cl_command_queue queue, cl_int err)
{
    struct sticky *s;

    log_debug("call %u that nobody waits for failed with %d", r->header.call,
              err);
    if (!queue) {
        return;
    }
    pthread_mutex_lock(&sticky_lock);
    s = find_sticky(queue);
    if (s && !s->queue) {
        *s = (struct sticky){ queue, err };
        atomic_fetch_add(&sticky_count, 1);
    }
    pthread_mutex_unlock(&sticky_lock);
}

cl_int opencl_sticky_error(struct request *r, cl_command_queue queue)
{
    struct sticky *s;
    cl_int err = CL_SUCCESS;

    if (!atomic_load(&sticky_count)) {
        return CL_SUCCESS;
    }
    pthread_mutex_lock(&sticky_lock);
    s = find_sticky(queue);
    if (s && s->queue) {
        err = s->error;
        *s = (struct sticky){ 0 };
        atomic_fetch_sub(&sticky_count, 1);
    }
    pthread_mutex_unlock(&sticky_lock);
    return err;
}

/* --- queues ------------------------------------------------------------------------- */

/* The next queue may get the same address: not the same error. */
void serve_clReleaseCommandQueue(struct request *r,
                                 struct clReleaseCommandQueue_args *a)
{
    opencl_sticky_error(r, a->command_queue);
    a->ret = clReleaseCommandQueue(a->command_queue);
}

void serve_clFinish(struct request *r, struct clFinish_args *a)
{
    uint64_t at = queue_count();

    if (queue_is_idle(a->id_of_command_queue)) {
        return;
    }
    clRetainCommandQueue(a->command_queue);
    session_block_begin(r);
    a->ret = clFinish(a->command_queue);
    clReleaseCommandQueue(a->command_queue);
    if (a->ret == CL_SUCCESS) {
        queue_set_idle(a->id_of_command_queue, at);
    }
}
