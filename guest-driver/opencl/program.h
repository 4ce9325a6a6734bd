/*
 * Programs: what program.c, kernel.c and includes.c share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "command.h"

/** program_create: a shadow with an id, not known to the host; or NULL. */
cl_program program_create(cl_context context, cl_uint n,
                          const cl_device_id *devices);

/**
 * program_source_id: the host's program with @p's source, built: for questions
 * that one made of a binary cannot answer. 0 if it cannot be built.
 */
uint64_t program_source_id(cl_program p);

/**
 * includes_send: give the worker the files that building @source (may be NULL)
 * with @options (may be NULL) reads.
 *
 * *@sent becomes the options to send, with the worker's names of directories in
 * place of ours; to be freed. Returns CL_SUCCESS or CL_OUT_OF_HOST_MEMORY; files
 * that cannot be found or sent are left for the compiler to miss.
 */
cl_int includes_send(struct session *s, const char *source,
                     const char *options, char **sent);

#endif
