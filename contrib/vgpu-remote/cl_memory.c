/*
 * What memory objects cost: the bytes that the host makes for one are the client's
 * from before it is made until the host has destroyed it. Those that lie in blobs
 * or in regions of shared virtual memory are charged as such, and parts of others
 * not at all.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "cl.h"

struct charge *charge_create(struct session *s, size_t bytes)
{
    struct charge *c;

    if (!session_charge(s, bytes)) {
        return NULL;
    }
    c = malloc(sizeof(*c));
    if (!c) {
        session_release(s, bytes);
        return NULL;
    }
    *c = (struct charge){ .session = s, .bytes = bytes };
    return c;
}

void charge_destroy(struct charge *c)
{
    free(c->memory);
    session_release(c->session, c->bytes);
    free(c);
}

static void CL_CALLBACK destroyed(cl_mem mem, void *charge)
{
    charge_destroy(charge);
}

cl_mem charge_bind(struct charge *c, cl_mem mem, cl_int *err)
{
    if (mem) {
        *err = clSetMemObjectDestructorCallback(mem, destroyed, c);
        if (*err == CL_SUCCESS) {
            return mem;
        }
        clReleaseMemObject(mem);
    }
    charge_destroy(c);
    return NULL;
}

cl_mem charge_made(struct session *s, cl_mem mem, cl_int *err)
{
    struct charge *c;
    size_t size = 0;

    if (!mem) {
        return NULL;
    }
    clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof(size), &size, NULL);
    c = charge_create(s, size);
    if (!c) {
        clReleaseMemObject(mem);
        *err = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return NULL;
    }
    return charge_bind(c, mem, err);
}
