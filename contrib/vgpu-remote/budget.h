/*
 * What one client may use: bytes, over all its contexts.
 *
 * The account is the server's alone: a worker asks it over a socket for what it
 * wants to charge, and says what it gives back. So a worker that its guest has
 * taken over can neither raise the limit, nor touch what others are charged; at
 * most it does not ask (isolate.c says what stops it then).
 *
 * A worker keeps some of what was given back, so that things charged in quick
 * succession cost no message each: more while it has work to do, little when it waits.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BUDGET_H
#define BUDGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_CONTEXTS 256u /* the most contexts that a client may have */

/* --- the server's side ------------------------------------------------------ */

struct budget_account {
    uint64_t max;  /* bytes; constant */
    uint64_t used; /* of them: the sum of what its contexts hold */
};

/**
 * budget_serve: read one request from @sock, a worker whose context holds *@held
 * of @account, and answer it.
 *
 * Returns whether to go on: false when the worker is gone or speaks nonsense.
 */
bool budget_serve(int sock, struct budget_account *account, uint64_t *held);

/** budget_release_all: a context that held *@held is gone. */
void budget_release_all(struct budget_account *account, uint64_t *held);

/* --- the worker's side, any thread -------------------------------------------- */

struct budget {
    /* Constant after init. */
    int server;         /* the socket to ask at; -1: there is only max */
    uint64_t max;       /* the client's bytes */
    uint64_t spare_max; /* what may lie idle */
    uint64_t busy_max;  /* the same, until budget_trim() */

    /* Under lock. */
    pthread_mutex_t lock;
    uint64_t spare; /* bytes that are ours and not in use */
    uint64_t used;
};

/**
 * budget_init: a budget that asks at @server, which it does not own, where the
 * client may have @max; without a server, of @max bytes that are its own.
 */
void budget_init(struct budget *b, int server, uint64_t max);

/** budget_charge: take @bytes; false if there are not as many. */
bool budget_charge(struct budget *b, uint64_t bytes);

/** budget_release: give @bytes back that were charged. */
void budget_release(struct budget *b, uint64_t bytes);

/** budget_used: bytes that are charged now. */
uint64_t budget_used(struct budget *b);

/** budget_trim: nothing may be charged for a while: keep no more than a little. */
void budget_trim(struct budget *b);

#endif
