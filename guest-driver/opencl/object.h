/*
 * Shadow objects: what an OpenCL handle in the guest points to. The host's object
 * is named by `id`; reference counts and everything that never changes are kept here,
 * so that most questions need no answer from the host.
 *
 * All of them live in one arena of cells of equal size, which is never given back.
 * So whether a handle is live can be told without touching what it points to: it must
 * point to the start of a cell, of the right type, of this process's
 * session. A foreign or dead one is an error code, not a crash. (A handle that the
 * ICD loader passes on was dereferenced by the loader already.)
 *
 * A cell has two counts: the program's references (clRetain..., clRelease...),
 * and the holds of other shadow objects (a buffer holds its context). When both
 * are gone, the object's id is dropped on the host and the cell is free.
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
    _Atomic uint64_t counts;         /* references, and holds << 32 */
    uint64_t id;                     /* in calls; 0: not known to the host */
    struct session *session;
    _Atomic uint32_t type;           /* enum opencl_type; 0: the cell is free */
    uint32_t next_free;              /* of a free cell: the next one's number */
};

#define CL_OBJECT_SIZE 256u

/**
 * cl_object_create: a new object of @type in @s, zeroed after its head, with one
 * reference and no id; NULL if there is no room.
 */
void *cl_object_create(struct session *s, enum opencl_type type);

/** cl_object_undo: @object's creation failed: the host has nothing of it. */
void cl_object_undo(void *object);

/** cl_live: whether @handle is a live object of @type. */
bool cl_live(const void *handle, enum opencl_type type);

/**
 * cl_object_retain, cl_object_release: the program's references. Release
 * returns false if the program has none left.
 */
void cl_object_retain(void *object);
bool cl_object_release(void *object);

/** cl_object_hold, cl_object_unhold: those of other objects; NULL is fine. */
void cl_object_hold(void *object);
void cl_object_unhold(void *object);

/** cl_object_refs: what CL_..._REFERENCE_COUNT answers. */
cl_uint cl_object_refs(const void *object);

/**
 * cl_object_rebind: a device that survives fork() belongs to @s from now on,
 * under @id.
 */
void cl_object_rebind(void *object, struct session *s, uint64_t id);

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
