/*
 * Pipes, where the host's devices have them: memory objects that only kernels use.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include "opencl_call.h"

/* All that a pipe may have, and what it has by default. */
#define PIPE_FLAGS (CL_MEM_READ_WRITE | CL_MEM_HOST_NO_ACCESS)

/* The largest packet that any of its devices takes; 0: none has pipes. */
static cl_uint largest_packet(cl_context context)
{
    cl_uint largest = 0;

    for (cl_uint i = 0; i < context->device_count; i++) {
        cl_uint own = context->devices[i]->max_packet;

        largest = own > largest ? own : largest;
    }
    return largest;
}

static cl_int check(cl_context context, cl_mem_flags flags, cl_uint packet_size,
                    cl_uint packets, const cl_pipe_properties *properties)
{
    cl_uint largest = largest_packet(context);

    if (!largest) {
        return CL_INVALID_OPERATION;
    }
    /* There are no properties: not even an empty list is allowed. */
    if ((flags & ~(cl_mem_flags)PIPE_FLAGS) || properties) {
        return CL_INVALID_VALUE;
    }
    return packet_size && packet_size <= largest && packets
               ? CL_SUCCESS : CL_INVALID_PIPE_SIZE;
}

CL_API_ENTRY cl_mem CL_API_CALL clCreatePipe(
    cl_context context, cl_mem_flags flags, cl_uint pipe_packet_size,
    cl_uint pipe_max_packets, const cl_pipe_properties *properties,
    cl_int *errcode_ret)
{
    cl_int err;
    cl_mem mem;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    err = check(context, flags, pipe_packet_size, pipe_max_packets, properties);
    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    mem = mem_create(context, CL_MEM_OBJECT_PIPE, flags ? flags : PIPE_FLAGS,
                     0);
    if (!mem) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    mem->packet_size = pipe_packet_size;
    mem->packets = pipe_max_packets;
    err = call_clCreatePipe(mem->obj.session, context->obj.id, flags,
                            pipe_packet_size, pipe_max_packets, mem->obj.id);
    if (err != CL_SUCCESS) {
        cl_object_undo(mem);
    }
    return cl_return(mem, err, errcode_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clGetPipeInfo(cl_mem pipe,
                                              cl_pipe_info param_name,
                                              size_t param_value_size,
                                              void *param_value,
                                              size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };

    if (!cl_live(pipe, OPENCL_cl_mem) || pipe->kind != CL_MEM_OBJECT_PIPE) {
        return CL_INVALID_MEM_OBJECT;
    }
    switch (param_name) {
    case CL_PIPE_PACKET_SIZE:
        return info_value(&out, cl_uint, pipe->packet_size);
    case CL_PIPE_MAX_PACKETS:
        return info_value(&out, cl_uint, pipe->packets);
    case CL_PIPE_PROPERTIES:
        return info_bytes(&out, NULL, 0);
    default:
        return CL_INVALID_VALUE;
    }
}
