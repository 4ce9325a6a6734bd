/*
 * virglrenderer's render server, which has Venus and the host's Vulkan: a program of
 * Debian's that virglrenderer starts in the worker, and that is isolated as the worker
 * is, since it was born there.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VENUS_SERVER_H
#define VENUS_SERVER_H

#include "session.h"

/* Environment of the server: "FD BYTES", where to ask for memory, and all there is. */
#define VENUS_BUDGET "VGPU_VENUS_BUDGET"

/**
 * venus_server_start: have virglrenderer started, for Venus alone, with its server, and make
 * context 1. Once.
 *
 * @retire: called, from any thread, when timeline @timeline has come to @seq.
 *
 * Returns NULL, or a sentence: there is none. If the server ends later, @s is failed.
 */
typedef void venus_retire_fn(void *s, uint32_t context, uint32_t timeline,
                             uint64_t seq);
const char *venus_server_start(struct session *s, venus_retire_fn *retire);

#endif
