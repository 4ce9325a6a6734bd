/*
 * Shadow objects: what an OpenCL handle in the guest points to. The host's object
 * is named by `id`; reference counts and everything that never changes are kept here,
 * so that most questions need no answer from the host.
 *
 * Handles given by a program are looked up in the set of live objects before they
 * are touched: a foreign or dead one is an error code, not a crash. (A handle
 * that the ICD loader passes on was dereferenced by the loader already.)
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OBJECT_H
#define OBJECT_H

#include <stdatomic.h>
#include <stdint.h>

#include <CL/cl_icd.h>

#include "opencl_wire.h"
#include "session.h"

/* The first members of every shadow object; the kinds add their own after it. */
struct cl_object {
    const cl_icd_dispatch *dispatch; /* must be first: the ICD loader's */
    enum opencl_type type;
    _Atomic uint32_t refs;
    uint64_t id;
    struct session *session;
};

/**
 * cl_id_of: the id of @handle, which should be a live object of @type.
 *
 * Returns 0 if it is not (NULL, foreign, dead, of another type).
 */
uint64_t cl_id_of(const void *handle, enum opencl_type type);

/** cl_invalid: the error for a bad handle of @type, CL_INVALID_MEM_OBJECT, say. */
cl_int cl_invalid(enum opencl_type type);

/**
 * cl_wait_list: the ids of the @n events at @list into @ids, which has room for @n.
 *
 * Returns CL_SUCCESS, or CL_INVALID_EVENT_WAIT_LIST / CL_INVALID_CONTEXT.
 */
cl_int cl_wait_list(cl_command_queue queue, cl_uint n, const cl_event *list,
                    uint64_t *ids);

/**
 * cl_event_begin: a new event of the command @type in @queue, not yet visible
 * to the program. cl_event_end: give it to the program in *@event if @err is
 * CL_SUCCESS, else undo it. With @event NULL, begin returns 0 and end does nothing.
 */
uint64_t cl_event_begin(cl_command_queue queue, cl_command_type type,
                        cl_event *event);
void cl_event_end(cl_command_queue queue, uint64_t id, cl_event *event,
                  cl_int err);

#endif
