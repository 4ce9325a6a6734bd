/*
 * Devices: how much memory they have for this client, and parts of them. Unlike the
 * devices that the host has, parts are the guest's: it
 * chooses their ids and gives them up. The host's own devices are kept until the worker ends:
 * pocl 3.1 may still use one in a thread of its own when its last reference is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "cl.h"
#include "opencl_serve.h"

#define PROPERTIES_MAX 256 /* vclCreateSubDevices takes as many */
#define PARTS_MAX      256
#define MADE_MAX       4096u /* by one worker, since none is given back */

/* --- memory ------------------------------------------------------------------------ */

/*
 * A program that takes all that a device has, or a single buffer as large as
 * there can be, should get it. The client's ring and its pool are to fit in beside that.
 */
static cl_ulong at_most(struct session *s, cl_device_info name)
{
    switch (name) {
    case CL_DEVICE_GLOBAL_MEM_SIZE:
        return session_memory_max(s);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
        return session_memory_max(s) / 2;
    default:
        return 0; /* it is no size of memory */
    }
}

void serve_clGetDeviceInfo(struct request *r, struct clGetDeviceInfo_args *a)
{
    cl_ulong most = at_most(r->session, a->param_name), size;

    a->ret = clGetDeviceInfo(a->device, a->param_name, a->param_value_size,
                             a->param_value, a->param_value_size_ret);
    if (most && a->ret == CL_SUCCESS && a->param_value) {
        memcpy(&size, a->param_value, sizeof(size));
        size = size < most ? size : most;
        memcpy(a->param_value, &size, sizeof(size));
    }
}

/* --- parts ------------------------------------------------------------------------- */

/* Enter @n new devices under the guest's @ids. */
static void enter_parts(struct session *s, const cl_ulong *ids,
                        const cl_device_id *parts, cl_uint n)
{
    for (cl_uint i = 0; i < n; i++) {
        if (handles_put(session_handles(s), ids[i], OPENCL_cl_device_id,
                        parts[i]) < 0) {
            session_fail(s, RING_FATAL_PROTOCOL,
                         "object id %llu cannot be given to a sub-device",
                         (unsigned long long)ids[i]);
        }
    }
}

void serve_vclCreateSubDevices(struct request *r,
                               struct vclCreateSubDevices_args *a)
{
    /* However many zeros the host looks for at their end. */
    cl_device_partition_property properties[PROPERTIES_MAX + 3] = { 0 };
    static cl_uint made;
    cl_device_id parts[PARTS_MAX];
    cl_uint n = 0;

    memcpy(properties, a->properties,
           a->num_properties * sizeof(properties[0]));
    a->ret = clCreateSubDevices(a->in_device, properties, 0, NULL, &n);
    if (a->ret != CL_SUCCESS) {
        return;
    }
    *a->num_devices = n;
    if (!a->ids) {
        return;
    }
    if (!n || n > PARTS_MAX || n != a->num_ids) {
        a->ret = CL_INVALID_VALUE;
        return;
    }
    if (n > MADE_MAX - made) {
        a->ret = CL_OUT_OF_RESOURCES;
        return;
    }
    a->ret = clCreateSubDevices(a->in_device, properties, n, parts, NULL);
    if (a->ret == CL_SUCCESS) {
        made += n;
        enter_parts(r->session, a->ids, parts, n);
    }
}

/* Its id is free; see above. */
void serve_clReleaseDevice(struct request *r, struct clReleaseDevice_args *a)
{
}
