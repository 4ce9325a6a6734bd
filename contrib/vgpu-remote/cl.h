/*
 * The OpenCL half of a worker, as the worker sees it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VGPU_CL_H
#define VGPU_CL_H

#include "session.h"

extern const struct session_api cl_api;

#endif
