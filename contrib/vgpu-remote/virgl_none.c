/*
 * In the place of virgl.c where virglrenderer was not there at build time: every
 * START says so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "virgl_worker.h"

static enum wire_status serve(struct request *r)
{
    session_fail(r->session, RING_FATAL_WORKER,
                 "this vgpu-remoted was built without virglrenderer: install "
                 "libvirglrenderer-dev and libepoxy-dev, and build it again");
}

static void print(FILE *f, uint16_t call, struct wire_in in)
{
    fprintf(f, "virgl %u\n", call);
}

const struct session_api virgl_api = {
    .name = "virgl",
    .serve = serve,
    .print = print,
};
