/*
 * In the place of venus*.c where virglrenderer or Vulkan's headers were not there at
 * build time. No guest is offered it: see virgl_vulkan.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "venus_worker.h"

#include <stdio.h>

#include "virgl_worker.h"

static enum wire_status serve(struct request *r)
{
    session_fail(r->session, RING_FATAL_WORKER,
                 "this vgpu-remoted was built without Vulkan: install "
                 "libvirglrenderer-dev and libvulkan-dev, and build it again");
}

static void print(FILE *f, uint16_t call, struct wire_in in)
{
    fprintf(f, "venus %u\n", call);
}

uint32_t virgl_vulkan_look(struct session *s, uint8_t *caps, uint32_t *version,
                           char *why)
{
    snprintf(why, VIRGL_TEXT_MAX, "no Vulkan (Venus) for guests: this vgpu-remoted "
             "was built without libvulkan-dev");
    return 0;
}

const struct session_api venus_api = {
    .name = "venus",
    .serve = serve,
    .print = print,
};
