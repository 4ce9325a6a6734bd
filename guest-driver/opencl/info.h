/*
 * Answering the clGet...Info functions.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef INFO_H
#define INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <CL/cl.h>

#include "session.h"

/*
 * The last three parameters of every clGet...Info function: where the program
 * wants its answer.
 */
struct info_out {
    size_t size;
    void *value;
    size_t *size_ret;
};

/** info_bytes: answer with the @n bytes at @data. */
cl_int info_bytes(const struct info_out *out, const void *data, size_t n);
/** info_string: answer with the string @text, its NUL included. */
cl_int info_string(const struct info_out *out, const char *text);

/* info_value: answer with @v as @type. */
#define info_value(out, type, v) \
    info_bytes((out), &(type){ (type)(v) }, sizeof(type))

/*
 * Answers that never change, by name and (for kernels) device. A list: objects are asked a
 * handful of different questions, devices about a hundred, once each.
 */
struct info_entry;

struct info_cache {
    struct info_entry *entries; /* under a lock of info.c */
};

/*
 * Asks the host: like the clGet...Info function itself, with whatever else it
 * needs behind @opaque.
 */
typedef cl_int (*info_ask)(void *opaque, cl_uint name, size_t size, void *value,
                           size_t *size_ret);

/**
 * info_cached: the answer to @name from @cache, or by @ask the first time.
 *
 * @key tells answers under the same name apart. @value is the cache's, or, if the
 * cache is off, in memory that is replaced by this thread's next question.
 */
cl_int info_cached(struct session *s, struct info_cache *cache, cl_uint name,
                   uint64_t key, info_ask ask, void *opaque,
                   const void **value, size_t *size);

void info_cache_clear(struct info_cache *cache);

#endif
