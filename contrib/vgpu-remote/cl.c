/*
 * The OpenCL half of a worker.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cl.h"

static enum wire_status serve(struct request *r)
{
    return WIRE_UNKNOWN;
}

const struct session_api cl_api = {
    .name = "OpenCL",
    .serve = serve,
};
