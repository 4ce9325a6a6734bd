/*
 * What kernels print. Drivers write it to this process's standard output, which
 * becomes a pipe when the guest asks for it, and the guest fetches it.
 *
 * The pipe is emptied by a thread of its own, so that no kernel ever waits for a
 * guest that does not fetch, and before every answer, so that whoever has waited for
 * a kernel finds all that it has printed. A word in the guest's memory says that
 * there is something.
 *
 * What is kept is bounded, and charged. What is beyond that is counted, and the
 * guest told.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cl.h"
#include "opencl_serve.h"

#define KEPT_MAX ((size_t)16 << 20)
#define STEP     ((size_t)64 << 10)
#define PIPE     (1 << 20) /* the most that any user may have */

static int pipe_end = -1; /* constant once it is made */
static _Atomic bool captured;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* under lock */
static struct session *session;
static struct blob *blob;
static _Atomic uint32_t *word;
static char *kept;
static size_t size, room; /* of it: bytes, charged bytes */
static size_t lost;

/* --- under lock ------------------------------------------------------------------- */

/* Room for STEP more bytes; false if there is none. */
static bool grow(void)
{
    char *more;

    if (room - size >= STEP) {
        return true;
    }
    if (room >= KEPT_MAX || !session_charge(session, 2 * STEP)) {
        return false;
    }
    more = realloc(kept, room + 2 * STEP);
    if (!more) {
        session_release(session, 2 * STEP);
        return false;
    }
    kept = more;
    room += 2 * STEP;
    return true;
}

static void forget_kept(void)
{
    free(kept);
    if (room) {
        session_release(session, room);
    }
    kept = NULL;
    size = room = 0;
}

/* Take all that is in the pipe. */
static void drain(void)
{
    char nowhere[4096];
    ssize_t n;

    do {
        bool keep = !lost && grow(); /* no gap within what is kept */

        n = keep ? read(pipe_end, kept + size, STEP)
                 : read(pipe_end, nowhere, sizeof(nowhere));
        if (n > 0 && keep) {
            size += (size_t)n;
        } else if (n > 0) {
            lost += (size_t)n;
        }
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (size || lost) {
        atomic_store_explicit(word, 1, memory_order_release);
    } else {
        forget_kept();
    }
}

/* --- any thread ------------------------------------------------------------------- */

void output_drain(void)
{
    if (!atomic_load_explicit(&captured, memory_order_acquire)) {
        return;
    }
    fflush(stdout);
    pthread_mutex_lock(&lock);
    if (word) {
        drain();
    }
    pthread_mutex_unlock(&lock);
}

static void *empty_pipe(void *unused)
{
    struct pollfd pfd = { .fd = pipe_end, .events = POLLIN };

    for (;;) {
        if (poll(&pfd, 1, -1) < 0 && errno != EINTR) {
            return NULL;
        }
        output_drain();
    }
}

/* Has standard output go into a pipe. Once is enough. */
static bool capture(void)
{
    pthread_t thread;
    int ends[2];

    if (pipe_end >= 0) {
        return true;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return false;
    }
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ||
        dup2(ends[1], STDOUT_FILENO) < 0) {
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    /* Two threads' texts are mixed up only where the pipe is full. */
    fcntl(ends[0], F_SETPIPE_SZ, PIPE);
    close(ends[1]);
    pipe_end = ends[0];
    if (pthread_create(&thread, NULL, empty_pipe, NULL)) {
        return false;
    }
    pthread_detach(thread);
    return true;
}

void output_forget(void)
{
    pthread_mutex_lock(&lock);
    atomic_store(&captured, false);
    forget_kept();
    blob_unref(blob);
    blob = NULL;
    word = NULL;
    lost = 0;
    pthread_mutex_unlock(&lock);
}

/* --- the calls -------------------------------------------------------------------- */

void serve_vclCaptureOutput(struct request *r, struct vclCaptureOutput_args *a)
{
    struct wire_span span = { a->blob, a->blob_offset, sizeof(*word) };
    struct blob *b = session_span_blob(r, &span);

    if (!b || a->blob_offset % sizeof(*word)) {
        a->ret = CL_INVALID_VALUE;
    } else if (atomic_load(&captured)) {
        a->ret = CL_INVALID_OPERATION;
    } else if (!capture()) {
        a->ret = CL_OUT_OF_RESOURCES;
    }
    if (a->ret != CL_SUCCESS) {
        blob_unref(b);
        return;
    }
    pthread_mutex_lock(&lock);
    session = r->session;
    blob = b;
    word = blob_at(b, a->blob_offset, sizeof(*word));
    atomic_store_explicit(&captured, true, memory_order_release);
    pthread_mutex_unlock(&lock);
}

void serve_vclTakeOutput(struct request *r, struct vclTakeOutput_args *a)
{
    output_drain();
    pthread_mutex_lock(&lock);
    *a->size_ret = a->size < size ? a->size : size;
    memcpy(a->output, kept ? kept : "", *a->size_ret);
    size -= *a->size_ret;
    if (size) {
        memmove(kept, kept + *a->size_ret, size);
    } else {
        /* What was lost came behind all that was kept. */
        *a->lost = lost;
        lost = 0;
        forget_kept();
    }
    if (word && !size && !lost) {
        atomic_store_explicit(word, 0, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
}
