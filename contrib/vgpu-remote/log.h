/*
 * The server's and the workers' log: one line per event, on stderr.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>

/** log_init: whether log_debug() says anything. */
void log_init(bool verbose);

/** log_name: what every later line of this process starts with. */
void log_name(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** log_line: something the host's user should know. */
void log_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** log_debug: something only a curious user wants (--verbose). */
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * log_forward: @n bytes that a process which is not trusted has said: as they are,
 * but for control characters other than the ends of lines.
 */
void log_forward(const char *text, size_t n);

/** die: a failed start: say why, and end with status 1. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
