/*
 * Memory lent to commands: copies of what came inline, and pieces of the guest's
 * blobs. It is given back when the command has ended; that is looked for when
 * a call is answered (the guest may be waiting for just that) and when the
 * list has doubled, so that the cost of looking stays in proportion. No
 * callbacks: drivers run them in threads of their own, which costs a wake-up each.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MIN   64u
#define PENDING_MAX 65536u

struct node {
    struct node *next;
    struct pending p;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct node *nodes;             /* under lock */
static unsigned sweep_at = SWEEP_MIN;  /* under lock */
static _Atomic unsigned count;         /* changed under lock */

void *pending_lend(struct session *s, const void *src, size_t size)
{
    void *copy;

    if (!session_charge(s, size)) {
        return NULL;
    }
    copy = malloc(size ? size : 1);
    if (!copy) {
        session_release(s, size);
        return NULL;
    }
    memcpy(copy, src, size);
    return copy;
}

void pending_unlend(struct session *s, void *copy, size_t size)
{
    if (copy) {
        free(copy);
        session_release(s, size);
    }
}

static bool has_ended(cl_event event)
{
    cl_int status;

    return clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS,
                          sizeof(status), &status, NULL) != CL_SUCCESS ||
           status <= CL_COMPLETE; /* negative: it failed */
}

static void give_back(struct session *s, struct pending *p)
{
    pending_unlend(s, p->copy, p->bytes);
    if (p->bulk) {
        atomic_store_explicit(&p->bulk->done, 1, memory_order_release);
    }
    blob_unref(p->blob);
    svm_unref(p->svm);
    clReleaseEvent(p->event);
}

/* Called with the lock. */
static void sweep(struct session *s)
{
    struct node **at = &nodes;

    while (*at) {
        struct node *n = *at;

        if (!has_ended(n->p.event)) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        give_back(s, &n->p);
        free(n);
        atomic_fetch_sub(&count, 1);
    }
    sweep_at = 2 * atomic_load(&count);
    if (sweep_at < SWEEP_MIN) {
        sweep_at = SWEEP_MIN;
    }
}

void pending_sweep(struct session *s)
{
    if (atomic_load(&count)) {
        pthread_mutex_lock(&lock);
        sweep(s);
        pthread_mutex_unlock(&lock);
    }
}

void pending_add(struct session *s, const struct pending *p)
{
    struct node *n = malloc(sizeof(*n));

    pthread_mutex_lock(&lock);
    if (n && atomic_load(&count) < PENDING_MAX) {
        n->p = *p;
        n->next = nodes;
        nodes = n;
        if (atomic_fetch_add(&count, 1) + 1 >= sweep_at) {
            sweep(s);
        }
        pthread_mutex_unlock(&lock);
        return;
    }
    pthread_mutex_unlock(&lock);
    free(n);
    clWaitForEvents(1, &p->event);
    give_back(s, &(struct pending){ p->event, p->blob, p->svm, p->bulk, p->copy,
                                    p->bytes });
}
