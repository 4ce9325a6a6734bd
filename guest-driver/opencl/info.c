/*
 * Answers to the clGet...Info functions: the rules for sizes, and the cache.
 *
 * Entries of a cache never change and are never freed before their object, so
 * what was found may be used without a lock. The exception is a program, whose cache is
 * emptied by a build; asking about a program while it is being built in another
 * thread is the program's own race.
 *
 * SPDX-License-Identifier: MIT
 */
#include "info.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Most answers fit: one question instead of asking for the size first. */
#define FIRST_TRY 2048u

struct info_entry {
    struct info_entry *next;
    cl_uint name;
    uint64_t key;
    size_t size;
    char value[] __attribute__((aligned(8)));
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread struct info_entry *uncached;

cl_int info_bytes(const struct info_out *out, const void *data, size_t n)
{
    if (out->value) {
        if (out->size < n) {
            return CL_INVALID_VALUE;
        }
        if (n) {
            memcpy(out->value, data, n);
        }
    }
    if (out->size_ret) {
        *out->size_ret = n;
    }
    return CL_SUCCESS;
}

cl_int info_string(const struct info_out *out, const char *text)
{
    return info_bytes(out, text, strlen(text) + 1);
}

static struct info_entry *find(struct info_cache *cache, cl_uint name,
                               uint64_t key)
{
    struct info_entry *e;

    pthread_mutex_lock(&lock);
    for (e = cache->entries; e; e = e->next) {
        if (e->name == name && e->key == key) {
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return e;
}

/* Ask the host for an answer of up to @room bytes. */
static cl_int try_ask(info_ask ask, void *opaque, cl_uint name, size_t room,
                      struct info_entry **entry)
{
    struct info_entry *e = malloc(sizeof(*e) + room);
    cl_int err;

    *entry = NULL;
    if (!e) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    e->size = 0;
    err = ask(opaque, name, room, e->value, &e->size);
    if (err != CL_SUCCESS || e->size > room) {
        free(e);
        return err != CL_SUCCESS ? err : CL_OUT_OF_RESOURCES;
    }
    *entry = e;
    return CL_SUCCESS;
}

static cl_int ask_host(info_ask ask, void *opaque, cl_uint name,
                       struct info_entry **entry)
{
    cl_int err = try_ask(ask, opaque, name, FIRST_TRY, entry);
    size_t size = 0;

    if (err != CL_INVALID_VALUE) {
        return err;
    }
    /* An unknown name, or a large answer. */
    err = ask(opaque, name, 0, NULL, &size);
    return err != CL_SUCCESS ? err : try_ask(ask, opaque, name, size, entry);
}

cl_int info_cached(struct session *s, struct info_cache *cache, cl_uint name,
                   uint64_t key, info_ask ask, void *opaque,
                   const void **value, size_t *size)
{
    bool on = session_perf(s, PERF_CACHE);
    struct info_entry *e = on ? find(cache, name, key) : NULL;

    if (!e) {
        cl_int err = ask_host(ask, opaque, name, &e);

        if (err != CL_SUCCESS) {
            return err;
        }
        e->name = name;
        e->key = key;
        if (on) {
            pthread_mutex_lock(&lock);
            e->next = cache->entries;
            cache->entries = e;
            pthread_mutex_unlock(&lock);
        } else {
            free(uncached);
            uncached = e;
        }
    }
    *value = e->value;
    *size = e->size;
    return CL_SUCCESS;
}

void info_cache_clear(struct info_cache *cache)
{
    struct info_entry *e;

    pthread_mutex_lock(&lock);
    e = cache->entries;
    cache->entries = NULL;
    pthread_mutex_unlock(&lock);
    while (e) {
        struct info_entry *next = e->next;

        free(e);
        e = next;
    }
}
