/*
 * A worker: the process that serves one guest context and dies with it.
 *
 * The server forks it; it isolates itself, and then answers requests on the
 * context's socket in its first thread while ring threads make calls.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef WORKER_H
#define WORKER_H

#include <stdint.h>

#include "vgpu.h"

struct isolation;

struct worker_params {
    int sock;              /* the context's socket, the worker's end */
    int doorbell;          /* eventfd */
    const char *client;    /* names for the log */
    const char *name;
    enum vgpu_api api;     /* the one that it serves, beside the session's own */
    uint32_t context;
    int account;           /* socket: the server's account of the client */
    uint64_t memory_max;   /* what the client may have in all */
    int trace;             /* where calls are printed, or -1 */
    const char *directory; /* its own, and the only one it may write to */
    const struct isolation *isolation;
};

/**
 * worker_main: be a worker. In the child of a fork() of a process with a single
 * thread; closes every fd but stderr and those in @p. Ends the process.
 */
_Noreturn void worker_main(const struct worker_params *p);

#endif
