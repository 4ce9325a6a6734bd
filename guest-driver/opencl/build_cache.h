/*
 * What builds came to, kept in files for the user's next program; see build_cache.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BUILD_CACHE_H
#define BUILD_CACHE_H

#include "program.h"

/* A file's contents. */
struct build {
    char *file;                  /* all of it; what follows points into it */
    const char *log;             /* a string */
    const unsigned char *binary;
    size_t binary_size;
};

/**
 * build_cache_find: what building @p's source with @options (may be NULL) came to
 * before, on such a device. To be given to build_cache_free() if it is true.
 */
bool build_cache_find(cl_program p, const char *options, struct build *build);
void build_cache_free(struct build *build);

/**
 * build_cache_keep: keep what building @p with @options came to. Best effort: a
 * file that cannot be written is not missed.
 */
void build_cache_keep(cl_program p, const char *options, const char *log,
                      const unsigned char *binary, size_t binary_size);

/** build_cache_takes: whether such builds are kept at all. */
bool build_cache_takes(cl_program p, const char *options);

#endif
