/*
 * The stages of isolate.c that have files of their own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ISOLATE_STAGES_H
#define ISOLATE_STAGES_H

#include <stddef.h>
#include <sys/types.h>

#include "isolate.h"

/**
 * processors_limit: run on @n processors, and have all later children do so; on as
 * many as there are, if those are fewer. Once, by the server. Returns how many
 * it is now, or 0 if it cannot be.
 */
unsigned processors_limit(unsigned n);

/** processors_text: which these are, as in "0-3,8". Returns @buf. */
char *processors_text(char *buf, size_t n);

/** landlock_abi: the kernel's version of Landlock, 0 if it has none. */
int landlock_abi(void);

/**
 * landlock_apply: only the system's files can be read, only devices and
 * @directory be written. After no_new_privs. Returns NULL or a sentence.
 */
const char *landlock_apply(const struct isolation *iso, const char *directory);

/** spaces_possible: whether the next two will work; tried in a child. */
bool spaces_possible(void);

/**
 * spaces_enter: have every later child in a namespace of processes of its own.
 * Once, by the server. Returns the namespace's first process, or -1. When that
 * ends all of them are killed, and it ends with the caller.
 */
pid_t spaces_enter(void);

/**
 * spaces_apply: a mount namespace in which /proc shows nobody else, and
 * @directory is empty, limited, and gone with the worker. After spaces_enter(),
 * before capabilities are given up. Returns NULL or a sentence.
 */
const char *spaces_apply(const char *directory);

/** mounts_possible: whether this kernel has what mounts_apply() needs. */
bool mounts_possible(void);

/**
 * mounts_apply: make everything read-only but @directory, and cover homes.
 * After spaces_apply(); weaker than Landlock, as what else the user may read
 * stays readable. Returns NULL or a sentence.
 */
const char *mounts_apply(const char *directory);

/** calls_apply: only the listed system calls from here on. The last stage. */
const char *calls_apply(void);

/** calls_count: how many are listed. */
unsigned calls_count(void);

#endif
