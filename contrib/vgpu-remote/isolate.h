/*
 * What a worker gives up before it reads the first byte of its guest.
 *
 * A guest's kernels run, where the host's OpenCL is pocl, as native code inside
 * the worker. So a worker must be assumed to do whatever its guest likes, and
 * what it can reach is decided here and nowhere else. isolate.c has the stages.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ISOLATE_H
#define ISOLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a worker is kept from the host's files. */
enum isolate_files {
    ISOLATE_FILES_NONE,     /* not at all: only if the user asked for it */
    ISOLATE_FILES_LANDLOCK,
    ISOLATE_FILES_MOUNTS,   /* all read-only in its mount namespace */
};

#define ISOLATE_READABLE_MAX 16

/* Constant once isolate_init() has filled it. */
struct isolation {
    enum isolate_files files;
    int landlock_abi;    /* 0: this kernel has none */
    bool namespaces;     /* of processes and mounts, see isolate_spaces.c */
    bool no_network;     /* a network namespace without interfaces */
    int server;          /* pid */
    int first;           /* pid: without it no worker can live; 0: none */
    uint64_t memory_max; /* bytes of private memory of one worker */
    unsigned processors; /* for all workers together; 0: no limit */
    const char *readable[ISOLATE_READABLE_MAX]; /* the user's, NULL-terminated */
};

/**
 * isolate_init: find out what this kernel and user can do.
 *
 * Returns NULL, or a sentence saying what is missing and what to do.
 */
const char *isolate_init(struct isolation *iso, bool files_optional);

/**
 * isolate_server: give up what the server itself can do without, and prepare
 * for workers. Once, before there are fds that a child of it must not have.
 *
 * Returns NULL, or a sentence.
 */
const char *isolate_server(struct isolation *iso);

/** isolate_print: the stages, one line each, on stdout. */
void isolate_print(const struct isolation *iso);

/** isolate_text: the stages in one line, for the log. */
const char *isolate_text(const struct isolation *iso, char *buf, size_t n);

/**
 * isolate_worker: give everything up. @directory is what stays writable.
 *
 * Returns NULL, or a sentence: the worker must then not go on.
 */
const char *isolate_worker(const struct isolation *iso, const char *directory);

#endif
