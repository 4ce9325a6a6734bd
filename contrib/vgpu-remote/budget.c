/*
 * Budgets: a request is a number of bytes on a SOCK_SEQPACKET socket, positive to
 * take, negative to give back. Only the former is answered, by a number: 1 or 0.
 *
 * SPDX-License-Identifier: MIT
 */
#include "budget.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#define SPARE_MAX   (1u << 20)
#define SPARE_SHARE 1024u /* at most this part of all is idle in one worker */
#define BUSY_SHARE  16u   /* and in one that has work to do */

/* --- the server's side ------------------------------------------------------ */

bool budget_serve(int sock, struct budget_account *account, uint64_t *held)
{
    int64_t bytes, answer;
    ssize_t got = recv(sock, &bytes, sizeof(bytes), MSG_DONTWAIT);

    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (got != sizeof(bytes) || bytes == INT64_MIN) {
        return false;
    }
    if (bytes < 0) {
        if ((uint64_t)-bytes > *held) {
            return false;
        }
        *held -= (uint64_t)-bytes;
        account->used -= (uint64_t)-bytes;
        return true;
    }
    answer = (uint64_t)bytes <= account->max - account->used;
    if (answer) {
        *held += (uint64_t)bytes;
        account->used += (uint64_t)bytes;
    }
    return send(sock, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) ==
           sizeof(answer);
}

void budget_release_all(struct budget_account *account, uint64_t *held)
{
    account->used -= *held;
    *held = 0;
}

/* --- the worker's side ---------------------------------------------------------- */

void budget_init(struct budget *b, int server, uint64_t max)
{
    *b = (struct budget){ .server = server, .max = max, .spare_max = max,
                          .busy_max = max };
    if (server < 0) {
        b->spare = max;
    } else {
        b->busy_max = max / BUSY_SHARE;
        b->spare_max = max / SPARE_SHARE < SPARE_MAX ? max / SPARE_SHARE :
                                                       SPARE_MAX;
    }
    pthread_mutex_init(&b->lock, NULL);
}

/* Called with the lock. Never for long: the server waits for nobody. */
static bool ask(struct budget *b, uint64_t bytes)
{
    int64_t request = (int64_t)bytes, answer;
    ssize_t n;

    if (b->server < 0 || bytes > INT64_MAX ||
        send(b->server, &request, sizeof(request), MSG_NOSIGNAL) < 0) {
        return false;
    }
    do {
        n = recv(b->server, &answer, sizeof(answer), 0);
    } while (n < 0 && errno == EINTR);
    return n == sizeof(answer) && answer;
}

/* Called with the lock: if more than @most is spare, all but half of that. */
static void give_back(struct budget *b, uint64_t most)
{
    int64_t request;

    if (b->spare <= most) {
        return;
    }
    request = -(int64_t)(b->spare - most / 2);
    if (send(b->server, &request, sizeof(request), MSG_NOSIGNAL) > 0) {
        b->spare = most / 2;
    }
}

bool budget_charge(struct budget *b, uint64_t bytes)
{
    bool ok;

    pthread_mutex_lock(&b->lock);
    /* With some to spare if there is, else what is needed. */
    ok = bytes <= b->spare;
    if (!ok && bytes < b->spare_max / 2 && ask(b, b->spare_max / 2)) {
        b->spare += b->spare_max / 2;
        ok = true;
    }
    if (!ok && ask(b, bytes - b->spare)) {
        b->spare = bytes;
        ok = true;
    }
    if (ok) {
        b->spare -= bytes;
        b->used += bytes;
    }
    pthread_mutex_unlock(&b->lock);
    return ok;
}

void budget_release(struct budget *b, uint64_t bytes)
{
    pthread_mutex_lock(&b->lock);
    assert(bytes <= b->used);
    b->used -= bytes;
    b->spare += bytes;
    give_back(b, b->busy_max);
    pthread_mutex_unlock(&b->lock);
}

uint64_t budget_used(struct budget *b)
{
    uint64_t used;

    pthread_mutex_lock(&b->lock);
    used = b->used;
    pthread_mutex_unlock(&b->lock);
    return used;
}

void budget_trim(struct budget *b)
{
    pthread_mutex_lock(&b->lock);
    give_back(b, b->spare_max);
    pthread_mutex_unlock(&b->lock);
}
