/*
 * The server: admits clients, starts a worker per context, counts what each client
 * uses, and clears up behind those that are gone. It reads no call and loads no
 * driver.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SERVER_H
#define SERVER_H

#include <stdint.h>

#include "isolate.h"

struct server_params {
    const char *socket;    /* path to listen at, or NULL */
    int fd;                /* the only client's socket, or -1 */
    uint64_t memory_max;   /* bytes of blobs per client */
    unsigned contexts_max; /* per client */
    int trace;             /* where workers print calls, or -1 */
    const struct isolation *isolation;
};

/**
 * server_run: serve until the only client (`fd`) is gone, or SIGTERM or SIGINT.
 *
 * Returns the status to exit with.
 */
int server_run(const struct server_params *params);

#endif
