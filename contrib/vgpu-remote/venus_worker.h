/*
 * The Venus half of a worker: what its files share. Such a worker serves one context
 * of a guest's own Vulkan driver, with a render server of virglrenderer's, which has Venus
 * and the host's Vulkan drivers: so each context is isolated, counted and lost by
 * itself, as all are.
 *
 *   venus.c           decodes messages (api/venus.h) and makes the calls
 *   venus_server.c    starts the render server, and answers what it asks for
 *   venus_preload.c   in that server: what is asked before memory is made
 *   venus_memory.c    where memory lies in its file
 *   virgl_vulkan.c    whether all that works here, asked by the virgl worker
 *
 * Messages are served in the session's one ring thread; what the guest writes into memory
 * that it shares with the render server, that decodes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VENUS_WORKER_H
#define VENUS_WORKER_H

#include "session.h"
#include "venus.h"

/* Serves VGPU_API_VENUS; ends the worker if built without. */
extern const struct session_api venus_api;

/* --- venus_memory.c ------------------------------------------------------- */

/**
 * venus_memory_place: where in the file @fd lies what is mapped at @at.
 *
 * Returns 0 and a multiple of the page size in *@offset; or -ENOTSUP: it lies
 * elsewhere, or between pages.
 */
int venus_memory_place(const void *at, int fd, uint64_t *offset);

/**
 * venus_memory_seal: see that nobody can shrink @fd. Whether that holds is for
 * proto_check_blob() to say.
 */
void venus_memory_seal(int fd);

#endif
