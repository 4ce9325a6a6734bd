/*
 * The stages of isolate.c that have files of their own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ISOLATE_STAGES_H
#define ISOLATE_STAGES_H

#include "isolate.h"

/** landlock_abi: the kernel's version of Landlock, 0 if it has none. */
int landlock_abi(void);

/**
 * landlock_apply: only the system's files can be read, only devices and
 * @directory be written. After no_new_privs. Returns NULL or a sentence.
 */
const char *landlock_apply(const struct isolation *iso, const char *directory);

/** mounts_possible: whether mounts_apply() will work; tried in a child. */
bool mounts_possible(void);

/**
 * mounts_apply: a mount namespace where everything is read-only but
 * @directory, and where homes cannot be seen. Before capabilities are given up.
 */
const char *mounts_apply(const char *directory);

/** calls_apply: only the listed system calls from here on. The last stage. */
const char *calls_apply(void);

/** calls_count: how many are listed. */
unsigned calls_count(void);

#endif
