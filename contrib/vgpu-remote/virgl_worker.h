/*
 * The virgl half of a worker: what its files share. Such a worker serves a whole
 * VM, whose contexts share resources; virglrenderer has one state per process,
 * and so what is remembered here is static.
 *
 *   virgl.c           decodes messages (api/virgl.h) and makes the calls
 *   virgl_gpu.c       which GPU
 *   virgl_vulkan.c    whether guests have Vulkan
 *   virgl_fence.c     completions, and fences that wait for the GPU
 *   virgl_resource.c  resources, and their bytes
 *   virgl_export.c    pictures that a display takes as they are
 *
 * All of it runs in the session's one ring thread, to which the GL contexts
 * belong: no call here gives up the lead.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VIRGL_WORKER_H
#define VIRGL_WORKER_H

#include "proto.h"
#include "session.h"
#include "virgl.h"

/* Serves VGPU_API_VIRGL; answers all with WIRE_UNKNOWN if built without. */
extern const struct session_api virgl_api;

/* --- virgl_gpu.c ---------------------------------------------------------- */

/**
 * virgl_gpu_choose: have EGL use @gpu, before anything else is asked of it.
 *
 * @gpu: "": whatever EGL finds first; "software": none; else the render node or the
 * device of a GPU, or a link to it.
 * @fd: gets the render node, open, or -1. It is the caller's.
 * @why: gets a sentence, of VIRGL_TEXT_MAX bytes at most, if there is no such GPU.
 *
 * Returns whether there is one.
 */
bool virgl_gpu_choose(const char *gpu, int *fd, char *why);

/* --- virgl_vulkan.c ------------------------------------------------------- */

/**
 * virgl_vulkan_look: whether a guest has Vulkan. Loads the host's drivers for that, and
 * virglrenderer is of no use for anything else in this process then.
 *
 * @caps: gets those of Venus, VENUS_CAPS_MAX bytes at most; @version theirs.
 * @why: gets a sentence, of VIRGL_TEXT_MAX bytes at most: by what, or why not.
 *
 * Returns the size of the caps, 0 if there is no Vulkan.
 */
uint32_t virgl_vulkan_look(struct session *s, uint8_t *caps, uint32_t *version,
                           char *why);

/* --- virgl_fence.c ------------------------------------------------------- */

/** virgl_complete: tell the device, unless the token is 0. */
void virgl_complete(struct session *s, struct virgl_done done);

/**
 * virgl_fence_add: complete @token when the GPU has done what @context has
 * been told so far; 0: what all have. Returns 0 or an errno value, and nothing is
 * then completed.
 */
int virgl_fence_add(uint32_t context, uint32_t token);

/** virgl_fences_drop: @context is going: what waits for it is completed. */
void virgl_fences_drop(struct session *s, uint32_t context);

/** virgl_fence_retire: virglrenderer's callback. */
void virgl_fence_retire(void *session, uint32_t context, uint32_t ring,
                        uint64_t token);

/** virgl_fences_wait: look at fences; struct session_api's idle. */
bool virgl_fences_wait(struct session *s);

/* --- virgl_resource.c ---------------------------------------------------- */

/** virgl_resource_add: make it, and charge its bytes. 0 or an errno value. */
int virgl_resource_add(struct session *s, const struct virgl_resource *r);

/** virgl_resource_remove: give it up; one that is not there is no error. */
void virgl_resource_remove(struct session *s, uint32_t id);

/* --- virgl_export.c ------------------------------------------------------ */

struct virgl_renderer_resource_create_args;

/**
 * virgl_export_init: find out what there is. GL has been started.
 * @device: the device that draws, or -1. It is taken.
 */
void virgl_export_init(int device);

/**
 * virgl_export_make: make a resource so that it can be exported. ENOTSUP: it is to be
 * made as any other. Returns 0 or an errno value.
 */
int virgl_export_make(struct virgl_renderer_resource_create_args *args);

/** virgl_export: send the device @resource as a dmabuf. 0 or an errno value. */
int virgl_export(struct session *s, uint32_t resource, uint32_t serial);

#endif
