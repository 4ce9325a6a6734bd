/*
 * See output.h. The worker sets a word in memory that both see when there is something;
 * so nothing is asked for in vain, and programs that print nothing pay for one
 * look at that word, or at none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "output.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "opencl_call.h"

#define WORD_SIZE  4096u /* a blob is whole pages */
#define TAKEN_MAX  65536u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct session *asked; /* under lock: for this one it has been tried */
static _Atomic(struct session *) watched;
static _Atomic uint32_t *word; /* of `watched` */

static void renew_lock(void)
{
    pthread_mutex_init(&lock, NULL);
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, renew_lock);
}

/* --- showing, under lock ------------------------------------------------------------ */

static void print(const char *text, size_t n)
{
    while (n) {
        ssize_t done = write(STDOUT_FILENO, text, n);

        if (done < 0 && errno != EINTR) {
            return; /* the program has closed it: it wants none */
        }
        if (done > 0) {
            text += done;
            n -= (size_t)done;
        }
    }
}

static void show(struct session *s)
{
    char *text = malloc(TAKEN_MAX);
    size_t n, lost;

    do {
        n = lost = 0;
        if (!text || call_vclTakeOutput(s, TAKEN_MAX, text, &n, &lost)) {
            break;
        }
        print(text, n);
        if (lost) {
            fprintf(stderr, "vgpu-remote: %zu bytes that kernels have printed "
                    "are lost: too much without waiting for them\n", lost);
        }
    } while (n || lost);
    free(text);
}

void output_show(struct session *s)
{
    if (atomic_load_explicit(&watched, memory_order_acquire) != s ||
        !atomic_load_explicit(word, memory_order_acquire)) {
        return;
    }
    pthread_mutex_lock(&lock);
    show(s);
    pthread_mutex_unlock(&lock);
}

static void show_at_exit(void)
{
    struct session *s = atomic_load(&watched);

    if (s && session_is_current(s) && !session_lost(s)) {
        pthread_mutex_lock(&lock);
        show(s);
        pthread_mutex_unlock(&lock);
    }
}

/* --- expecting ---------------------------------------------------------------------- */

/* Under lock. */
static void watch(struct session *s)
{
    static bool at_exit;
    struct bulk region;

    if (region_create(s, WORD_SIZE, &region) < 0) {
        goto fail;
    }
    if (call_vclCaptureOutput(s, region.span.blob, region.span.offset)) {
        region_destroy(s, &region);
        goto fail;
    }
    word = region.data;
    atomic_store_explicit(&watched, s, memory_order_release);
    if (!at_exit) {
        at_exit = atexit(show_at_exit) == 0;
    }
    return;

fail:
    fprintf(stderr, "vgpu-remote: what kernels print cannot be shown: the host "
            "has no memory for it\n");
}

void output_expect(struct session *s)
{
    pthread_mutex_lock(&lock);
    if (asked != s) {
        asked = s;
        watch(s);
    }
    pthread_mutex_unlock(&lock);
}

void output_expect_in(struct session *s, const char *source)
{
    if (source && strstr(source, "printf")) {
        output_expect(s);
    }
}
