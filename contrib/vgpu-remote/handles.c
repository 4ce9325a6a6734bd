/*
 * The table of objects: an array of entries indexed by the guest's id (ids are
 * dense, so the array grows by doubling up to the bound), and a second,
 * short one for host objects.
 *
 * SPDX-License-Identifier: MIT
 */
#include "handles.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX   256u /* platforms and devices of one host */
#define FIRST_SIZE 256u

struct entry {
    void *object; /* NULL: free, or an error */
    uint32_t type; /* 0: free */
    int32_t error;
};

struct handles {
    /* Constant after create. */
    uint32_t max;

    /* Under lock. */
    pthread_mutex_t lock;
    struct entry *guest; /* indexed by id */
    uint32_t size;       /* entries in guest */
    uint32_t count;      /* of them in use */
    struct entry host[HOST_MAX]; /* indexed by id - HANDLE_HOST_FIRST */
    uint32_t host_count;
};

struct handles *handles_create(uint32_t max)
{
    struct handles *h = calloc(1, sizeof(*h));

    if (!h) {
        return NULL;
    }
    h->max = max;
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void handles_destroy(struct handles *h)
{
    if (!h) {
        return;
    }
    pthread_mutex_destroy(&h->lock);
    free(h->guest);
    free(h);
}

/* Make room for @id, which is at most max. */
static int grow(struct handles *h, uint64_t id)
{
    uint32_t size = h->size ? h->size : FIRST_SIZE;
    struct entry *larger;

    while (size <= id) {
        size *= 2;
    }
    if (size == h->size) {
        return 0;
    }
    larger = realloc(h->guest, size * sizeof(*larger));
    if (!larger) {
        return -ENOMEM;
    }
    memset(larger + h->size, 0, (size - h->size) * sizeof(*larger));
    h->guest = larger;
    h->size = size;
    return 0;
}

static int put(struct handles *h, uint64_t id, struct entry e)
{
    int err;

    if (id == 0 || id >= HANDLE_HOST_FIRST) {
        return -EINVAL;
    }
    if (id > h->max) {
        return -ENOSPC;
    }
    pthread_mutex_lock(&h->lock);
    err = grow(h, id);
    if (!err && h->guest[id].type) {
        err = -EEXIST;
    }
    if (!err) {
        h->guest[id] = e;
        h->count++;
    }
    pthread_mutex_unlock(&h->lock);
    return err;
}

int handles_put(struct handles *h, uint64_t id, unsigned type, void *object)
{
    return put(h, id, (struct entry){ .object = object, .type = type });
}

int handles_put_error(struct handles *h, uint64_t id, unsigned type,
                      int32_t error)
{
    return put(h, id, (struct entry){ .type = type, .error = error });
}

/* The entry @id of @type, or NULL. */
static struct entry *find(struct handles *h, uint64_t id, unsigned type)
{
    struct entry *e = NULL;

    if (id >= HANDLE_HOST_FIRST) {
        if (id - HANDLE_HOST_FIRST < h->host_count) {
            e = &h->host[id - HANDLE_HOST_FIRST];
        }
    } else if (id < h->size) {
        e = &h->guest[id];
    }
    return e && type && e->type == type ? e : NULL;
}

static void *look_up(struct handles *h, uint64_t id, unsigned type,
                     int32_t *error, bool take)
{
    struct entry *e;
    void *object = NULL;

    pthread_mutex_lock(&h->lock);
    e = find(h, id, type);
    if (e) {
        object = e->object;
        if (!object && error && e->error) {
            *error = e->error;
        }
        if (take && id < HANDLE_HOST_FIRST) {
            memset(e, 0, sizeof(*e));
            h->count--;
        }
    }
    pthread_mutex_unlock(&h->lock);
    return object;
}

void *handles_get(struct handles *h, uint64_t id, unsigned type, int32_t *error)
{
    return look_up(h, id, type, error, false);
}

void *handles_take(struct handles *h, uint64_t id, unsigned type,
                   int32_t *error)
{
    return look_up(h, id, type, error, true);
}

uint64_t handles_host_id(struct handles *h, unsigned type, void *object)
{
    uint64_t id = 0;
    uint32_t i;

    pthread_mutex_lock(&h->lock);
    for (i = 0; i < h->host_count; i++) {
        if (h->host[i].object == object && h->host[i].type == type) {
            break;
        }
    }
    if (i < HOST_MAX) {
        if (i == h->host_count) {
            h->host[h->host_count++] =
                (struct entry){ .object = object, .type = type };
        }
        id = HANDLE_HOST_FIRST + i;
    }
    pthread_mutex_unlock(&h->lock);
    return id;
}

uint32_t handles_count(struct handles *h)
{
    uint32_t count;

    pthread_mutex_lock(&h->lock);
    count = h->count;
    pthread_mutex_unlock(&h->lock);
    return count;
}
