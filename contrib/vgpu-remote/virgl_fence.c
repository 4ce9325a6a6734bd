/*
 * Completions: of calls, at once; of fences, when the GPU has come so far.
 *
 * virglrenderer keeps the fences and says which are done, but only when it is
 * asked. Its own ways not to ask in a loop are a timer (QEMU's virtio-gpu-gl) or
 * a thread per process that waits in turn and costs a change of threads for
 * each fence. Here the ring's thread waits itself, and only while it has
 * nothing else to do: it looks for a moment, since most work is over by then, and
 * then blocks in GL, for so short a time that a new message is never late by more.
 * For that each fence has a GL sync object of ours beside virglrenderer's.
 *
 * A fence of all contexts is such a sync object alone, in the GL context that was told
 * something last: what others were told was handed to the GPU when they gave way to it.
 *
 * All fences of all contexts are retired in order.
 *
 * SPDX-License-Identifier: MIT
 */
#define VIRGL_RENDERER_UNSTABLE_APIS
#include "virgl_worker.h"

#include <epoxy/gl.h>
#include <errno.h>
#include <time.h>
#include <virglrenderer.h>

#include "log.h"

#define SPIN_NS  40000u  /* then it is worth to sleep */
#define BLOCK_NS 200000u /* the most that a message may come too late */

struct fence {
    uint32_t token; /* 0: completed out of order, with its context */
    uint32_t context; /* 0: all; virglrenderer knows nothing of it */
    GLsync sync;
};

/* A queue: one entry for each token that a device may have. */
static struct fence fences[VIRGL_DONE_ENTRIES];
static uint32_t first, count;
static uint32_t completions;
static uint64_t spin_end; /* 0: the oldest has not been waited for */

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct fence *fence_at(uint32_t n)
{
    return &fences[(first + n) % VIRGL_DONE_ENTRIES];
}

void virgl_complete(struct session *s, struct virgl_done done)
{
    struct virgl_done *at;

    if (done.token == 0) {
        return;
    }
    at = session_reply_area(s, VIRGL_DONE_SLOT);
    at[completions % VIRGL_DONE_ENTRIES] = done;
    completions++;
    session_post(s, VIRGL_DONE_SLOT, completions);
}

int virgl_fence_add(uint32_t context, uint32_t token)
{
    struct fence *f = fence_at(count);
    int err;

    if (count == VIRGL_DONE_ENTRIES) {
        return ENOSPC; /* the device has more tokens than it may have */
    }
    err = context ? virgl_renderer_context_create_fence(context, 0, 0, token) : 0;
    if (err) {
        return err < 0 ? -err : err;
    }
    *f = (struct fence) {
        .token = token,
        .context = context,
        .sync = glFenceSync(GL_SYNC_GPU_COMMANDS_COMPLETE, 0),
    };
    count++;
    if (!context) {
        glFlush(); /* virglrenderer does for its own */
    }
    return 0;
}

/* The oldest is over. */
static void pop(struct session *s, uint32_t status)
{
    struct fence *f = fence_at(0);
    struct virgl_done done = { .token = f->token, .status = status };

    glDeleteSync(f->sync);
    first = (first + 1) % VIRGL_DONE_ENTRIES;
    count--;
    spin_end = 0;
    virgl_complete(s, done);
}

void virgl_fence_retire(void *session, uint32_t context, uint32_t ring,
                        uint64_t token)
{
    bool known = false;

    for (uint32_t i = 0; i < count && !known; i++) {
        known = fence_at(i)->token == token && fence_at(i)->context == context;
    }
    /* What was before it and was not told of is over too. */
    while (known && count) {
        known = !(fence_at(0)->token == token &&
                  fence_at(0)->context == context);
        pop(session, 0);
    }
}

/* virglrenderer forgets the fences of a context that goes. */
void virgl_fences_drop(struct session *s, uint32_t context)
{
    for (uint32_t i = 0; i < count; i++) {
        struct fence *f = fence_at(i);

        if (f->context == context && f->token) {
            virgl_complete(s, (struct virgl_done) { .token = f->token });
            f->token = 0;
        }
    }
    while (count && fence_at(0)->token == 0) {
        pop(s, 0);
    }
}

/* Whether the oldest is over that nobody else looks at. */
static bool is_over(void)
{
    const struct fence *f = fence_at(0);
    GLenum now;

    if (f->token == 0) {
        return true;
    }
    if (f->context) {
        return false;
    }
    now = glClientWaitSync(f->sync, GL_SYNC_FLUSH_COMMANDS_BIT, 0);
    return now != GL_TIMEOUT_EXPIRED;
}

bool virgl_fences_wait(struct session *s)
{
    uint64_t now;

    if (count == 0) {
        return false;
    }
    virgl_renderer_poll();
    while (count && is_over()) {
        pop(s, 0);
    }
    if (count == 0) {
        return false;
    }
    now = now_ns();
    if (spin_end == 0) {
        spin_end = now + SPIN_NS;
    }
    if (now >= spin_end) {
        glClientWaitSync(fence_at(0)->sync, GL_SYNC_FLUSH_COMMANDS_BIT,
                         BLOCK_NS);
    }
    return true;
}
