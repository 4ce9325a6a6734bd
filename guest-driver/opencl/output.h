/*
 * What kernels print: it is the host's driver that prints it, and the program's
 * standard output that it is for.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "session.h"

/**
 * output_expect: something is about to be compiled or loaded that may print; the
 * worker is told to keep what it does.
 */
void output_expect(struct session *s);

/** output_expect_in: the same if @source (NULL is fine) calls anything like printf. */
void output_expect_in(struct session *s, const char *source);

/**
 * output_show: print what there is. Wherever the program has waited for commands: what
 * these have printed is on its standard output before it goes on.
 */
void output_show(struct session *s);

#endif
