/*
 * The process's session: found or opened here, with its ids, its switches and
 * its statistics.
 *
 * session_get() looks at one pointer. The first caller opens the session: with
 * VGPU_SERVER over its socket, else through a render node with our capset. A
 * child of fork() forgets the parent's session, closes its copies of the fds, and opens
 * one of its own when it first needs it. A session is never closed before the
 * process ends: threads may be using it until the very end, and all that it has
 * on the host goes away with its fds.
 *
 * SPDX-License-Identifier: MIT
 */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_BYTES ring_bytes(RING_CMD_DEFAULT)
#define SPIN_NS_START 50000

static _Atomic(struct session *) current;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static bool open_failed; /* under open_lock */

static const char *const perf_names[] = {
    [PERF_SPIN] = "no_spin",
    [PERF_ASYNC_CREATE] = "no_async_create",
    [PERF_CACHE] = "no_cache",
    [PERF_BULK] = "no_bulk",
    [PERF_LAZY] = "no_lazy",
    [PERF_DIRECT] = "no_direct",
    [PERF_IN_PLACE] = "no_in_place",
};
#define PERF_COUNT (sizeof(perf_names) / sizeof(perf_names[0]))

static bool debugging(void)
{
    const char *v = getenv("VGPU_DEBUG");

    return v && *v && strcmp(v, "0") != 0;
}

static unsigned perf_from_environment(void)
{
    const char *p = getenv("VGPU_PERF");
    unsigned off = 0;

    while (p && *p) {
        size_t n = strcspn(p, ","), i;

        for (i = 0; i < PERF_COUNT; i++) {
            if (strlen(perf_names[i]) == n && !strncmp(p, perf_names[i], n)) {
                off |= 1u << i;
                break;
            }
        }
        if (i == PERF_COUNT && n) {
            fprintf(stderr, "vgpu-remote: VGPU_PERF: '%.*s' is unknown; it may "
                    "hold no_spin, no_async_create, no_cache, no_bulk, no_lazy, "
                    "no_direct, no_in_place\n",
                    (int)n, p);
        }
        p += n + (p[n] == ',');
    }
    return off;
}

bool session_perf(struct session *s, enum session_perf what)
{
    return !(s->off & (1u << what));
}

/* Open a transport: the one that the environment names, or a render node. */
static bool open_transport(struct session *s)
{
    const char *server = getenv("VGPU_SERVER");
    char why[512] = "";

    s->ops = server && *server ? &transport_unix : &transport_virtgpu;
    s->transport = s->ops->open(server && *server ? server : NULL, why,
                                sizeof(why));
    if (s->transport) {
        return true;
    }
    if (why[0]) {
        fprintf(stderr, "vgpu-remote: %s\n", why);
    } else if (debugging()) {
        fprintf(stderr, "vgpu-remote: no render node here belongs to a "
                "vgpu-remote device, and VGPU_SERVER is not set\n");
    }
    return false;
}

static bool open_ring(struct session *s)
{
    const char *why;
    int err;

    s->ring.id = VGPU_BLOB_RING;
    s->ring.size = RING_BYTES;
    err = s->ops->blob_create(s->transport, &s->ring);
    if (err) {
        fprintf(stderr, "vgpu-remote: no ring can be had over %s: %s\n",
                s->ops->name, strerror(-err));
        return false;
    }
    why = ring_producer_init(&s->producer, s->ring.map, s->ring.size);
    if (why) {
        fprintf(stderr, "vgpu-remote: no ring can be had over %s: %s (its "
                "protocol version is %u, ours %u)\n", s->ops->name, why,
                ((struct ring_header *)s->ring.map)->version,
                VGPU_PROTOCOL_VERSION);
        return false;
    }
    ring_populate(s->ring.map, s->ring.size);
    return true;
}

static void init_locks(struct session *s)
{
    pthread_mutex_init(&s->ring_lock, NULL);
    pthread_cond_init(&s->slot_free, NULL);
    sem_init(&s->compiles, 0, COMPILES_MOST);
    pthread_mutex_init(&s->id_lock, NULL);
    pthread_mutex_init(&s->pool_lock, NULL);
    pthread_mutex_init(&s->late_lock, NULL);
}

static struct session *session_open(void)
{
    struct session *s = calloc(1, sizeof(*s));

    if (!s) {
        return NULL;
    }
    init_locks(s);
    s->off = perf_from_environment();
    s->next_id = 1;
    s->spin_ns = SPIN_NS_START;
    for (uint32_t slot = RING_SLOTS - 1; slot > 0; slot--) {
        s->free_slots[s->free_slot_count++] = (uint8_t)slot;
    }
    pool_init(s);
    if (!open_transport(s)) {
        free(s);
        return NULL;
    }
    if (!open_ring(s)) {
        s->ops->close(s->transport);
        free(s);
        return NULL;
    }
    return s;
}

struct session *session_get(void)
{
    struct session *s = atomic_load_explicit(&current, memory_order_acquire);

    if (s) {
        return s;
    }
    pthread_mutex_lock(&open_lock);
    s = atomic_load(&current);
    if (!s && !open_failed) {
        s = session_open();
        open_failed = !s;
        atomic_store(&current, s);
    }
    pthread_mutex_unlock(&open_lock);
    return s;
}

bool session_is_current(struct session *s)
{
    return s == atomic_load_explicit(&current, memory_order_relaxed);
}

void session_give_up(struct session *s)
{
    bool was = atomic_exchange(&s->lost, true);

    if (!was) {
        fprintf(stderr, "vgpu-remote: the context on the host is lost; every "
                "further call fails\n");
    }
}

bool session_lost(struct session *s)
{
    return atomic_load_explicit(&s->lost, memory_order_relaxed);
}

uint64_t session_new_id(struct session *s)
{
    uint64_t id = 0;

    pthread_mutex_lock(&s->id_lock);
    if (s->free_id_count) {
        id = s->free_ids[--s->free_id_count];
    } else if (s->next_id < VGPU_OBJECTS_MAX) {
        id = s->next_id++;
    }
    pthread_mutex_unlock(&s->id_lock);
    return id;
}

void session_free_id(struct session *s, uint64_t id)
{
    pthread_mutex_lock(&s->id_lock);
    if (s->free_id_count == s->free_id_room) {
        uint32_t room = s->free_id_room ? s->free_id_room * 2 : 256;
        uint32_t *more = realloc(s->free_ids, room * sizeof(*more));

        if (!more) {
            /* The id is never used again: that is all. */
            goto out;
        }
        s->free_ids = more;
        s->free_id_room = room;
    }
    s->free_ids[s->free_id_count++] = (uint32_t)id;
out:
    pthread_mutex_unlock(&s->id_lock);
}

/* --- fork and exit ----------------------------------------------------------- */

/*
 * The child's other threads are gone and may have held any lock, so the old
 * session's memory stays as it is and is never used again.
 */
static void forget_session(void)
{
    struct session *s = atomic_load(&current);

    pthread_mutex_init(&open_lock, NULL);
    open_failed = false;
    if (s) {
        atomic_store(&current, NULL);
        s->ops->abandon(s->transport);
    }
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, forget_session);
}

__attribute__((destructor)) static void print_stats(void)
{
    struct session *s = atomic_load(&current);
    const char *v = getenv("VGPU_STATS");

    if (s && v && *v && strcmp(v, "0") != 0) {
        fprintf(stderr, "vgpu-remote: calls=%llu doorbells=%llu sleeps=%llu "
                "worker_sleeps=%u\n",
                (unsigned long long)s->calls,
                (unsigned long long)s->doorbells,
                (unsigned long long)s->sleeps, ring_sleeps(s->ring.map));
    }
}
