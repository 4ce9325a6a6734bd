/*
 * Directories that vanish: one for the server, and in it one for each worker.
 *
 * The server's holds a locked file, so that a later server can tell a directory
 * in use from one whose server was killed, and remove the latter.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEMPDIR_H
#define TEMPDIR_H

#include <stdbool.h>

/**
 * tempdir_init: make the server's directory in $TMPDIR or /tmp,
 * and begin to remove those of killed servers. Returns its path, or NULL with errno.
 */
const char *tempdir_init(void);

/** tempdir_finish: remove the server's directory with all that is in it. */
void tempdir_finish(void);

/** tempdir_make: a new empty directory in it, to be freed; NULL with errno. */
char *tempdir_make(void);

/**
 * tempdir_remove: @path, which tempdir_make() made, is gone at once, and freed.
 * What was in it is removed by a child of this process.
 */
void tempdir_remove(char *path);

/** tempdir_reaped: whether the child @pid that has ended was such a one. */
bool tempdir_reaped(int pid);

#endif
