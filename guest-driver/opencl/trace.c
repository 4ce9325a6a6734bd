/*
 * VGPU_TRACE=FILE: OpenCL's calls as text, one line each, as the worker prints
 * them under --trace.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_print.h"
#include "session.h"

static FILE *file;

/* Under the ring's lock: lines are in the order in which the worker gets them. */
static void trace(enum vgpu_api api, uint16_t number, const void *payload,
                  size_t size)
{
    struct wire_in in;

    if (api == VGPU_API_OPENCL) {
        wire_in_init(&in, payload, size);
        opencl_print(file, number, in);
    }
}

__attribute__((constructor)) static void open_trace(void)
{
    const char *name = getenv("VGPU_TRACE");

    if (!name || !*name) {
        return;
    }
    file = fopen(name, "ae");
    if (!file) {
        fprintf(stderr, "vgpu-remote: VGPU_TRACE: '%s' cannot be opened: %s\n",
                name, strerror(errno));
        return;
    }
    /* Whole lines, whoever else writes to the file and however we end. */
    setlinebuf(file);
    call_trace(trace);
}
