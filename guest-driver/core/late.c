/*
 * Answers that arrive late, see session.h: a list which every waiting call
 * looks through. Copying is done under the lock, so that a thread which has
 * waited for a command finds its bytes in place even if another thread found
 * them first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "impl.h"

void late_add(struct session *s, struct late *late)
{
    pthread_mutex_lock(&s->late_lock);
    late->next = s->late;
    s->late = late;
    atomic_fetch_add(&s->late_count, 1);
    pthread_mutex_unlock(&s->late_lock);
}

void late_sweep(struct session *s)
{
    struct late **at;

    pthread_mutex_lock(&s->late_lock);
    at = &s->late;
    while (*at) {
        struct late *late = *at;

        if (!bulk_is_done(&late->bulk)) {
            at = &late->next;
            continue;
        }
        *at = late->next;
        late->arrive(late);
        /* Only now: who finds none does not wait for the lock. */
        atomic_fetch_sub(&s->late_count, 1);
    }
    pthread_mutex_unlock(&s->late_lock);
}

void late_each(struct session *s, void (*fn)(struct late *late, void *opaque),
               void *opaque)
{
    pthread_mutex_lock(&s->late_lock);
    for (struct late *late = s->late; late; late = late->next) {
        fn(late, opaque);
    }
    pthread_mutex_unlock(&s->late_lock);
}
