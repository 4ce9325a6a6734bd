/*
 * Samplers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kinds.h"

#include <string.h>

#include "opencl_call.h"

/* What an entry of the list sets. Mip-map filters are not in any version we offer. */
static cl_int set_property(cl_sampler sampler, cl_sampler_properties name,
                           cl_sampler_properties value)
{
    switch (name) {
    case CL_SAMPLER_NORMALIZED_COORDS:
        sampler->normalized = (cl_bool)value;
        return CL_SUCCESS;
    case CL_SAMPLER_ADDRESSING_MODE:
        sampler->addressing = (cl_addressing_mode)value;
        return CL_SUCCESS;
    case CL_SAMPLER_FILTER_MODE:
        sampler->filter = (cl_filter_mode)value;
        return CL_SUCCESS;
    default:
        return CL_INVALID_VALUE;
    }
}

/* Whether the pair at @n has the name of one before it. */
static bool is_again(const cl_sampler_properties *properties, cl_uint n)
{
    for (cl_uint i = 0; i < n; i += 2) {
        if (properties[i] == properties[n]) {
            return true;
        }
    }
    return false;
}

static cl_int set_properties(cl_sampler sampler,
                             const cl_sampler_properties *properties)
{
    cl_uint n = 0;

    sampler->normalized = CL_TRUE;
    sampler->addressing = CL_ADDRESS_CLAMP;
    sampler->filter = CL_FILTER_NEAREST;
    if (!properties) {
        return CL_SUCCESS;
    }
    for (; properties[n]; n += 2) {
        if (n + 2 >= sizeof(sampler->properties) / sizeof(properties[0]) ||
            is_again(properties, n) ||
            set_property(sampler, properties[n], properties[n + 1]) !=
                CL_SUCCESS) {
            return CL_INVALID_VALUE;
        }
    }
    sampler->property_count = n + 1;
    memcpy(sampler->properties, properties, (n + 1) * sizeof(properties[0]));
    return CL_SUCCESS;
}

CL_API_ENTRY cl_sampler CL_API_CALL clCreateSamplerWithProperties(
    cl_context context, const cl_sampler_properties *properties,
    cl_int *errcode_ret)
{
    struct session *s = session_get();
    cl_sampler sampler;
    cl_int err;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    sampler = cl_object_create(s, OPENCL_cl_sampler);
    if (!sampler) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    sampler->context = context;
    cl_object_hold(context);
    err = set_properties(sampler, properties);
    if (err == CL_SUCCESS) {
        sampler->obj.id = session_new_id(s);
        /* The older function: every host has it. */
        err = !sampler->obj.id
                  ? CL_OUT_OF_HOST_MEMORY
                  : call_clCreateSampler(s, context->obj.id,
                                         sampler->normalized,
                                         sampler->addressing, sampler->filter,
                                         sampler->obj.id);
    }
    if (err != CL_SUCCESS) {
        cl_object_undo(sampler);
    }
    return cl_return(sampler, err, errcode_ret);
}

CL_API_ENTRY cl_sampler CL_API_CALL
clCreateSampler(cl_context context, cl_bool normalized_coords,
                cl_addressing_mode addressing_mode, cl_filter_mode filter_mode,
                cl_int *errcode_ret)
{
    cl_sampler_properties list[] = {
        CL_SAMPLER_NORMALIZED_COORDS, normalized_coords,
        CL_SAMPLER_ADDRESSING_MODE, addressing_mode,
        CL_SAMPLER_FILTER_MODE, filter_mode, 0,
    };
    cl_sampler sampler =
        clCreateSamplerWithProperties(context, list, errcode_ret);

    if (sampler) {
        sampler->property_count = 0;
    }
    return sampler;
}

CL_API_ENTRY cl_int CL_API_CALL clRetainSampler(cl_sampler sampler)
{
    if (!cl_live(sampler, OPENCL_cl_sampler)) {
        return CL_INVALID_SAMPLER;
    }
    cl_object_retain(sampler);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseSampler(cl_sampler sampler)
{
    if (!cl_live(sampler, OPENCL_cl_sampler) || !cl_object_release(sampler)) {
        return CL_INVALID_SAMPLER;
    }
    return CL_SUCCESS;
}

void sampler_finish(void *object)
{
    cl_object_unhold(((cl_sampler)object)->context);
}

CL_API_ENTRY cl_int CL_API_CALL clGetSamplerInfo(cl_sampler sampler,
                                                 cl_sampler_info param_name,
                                                 size_t param_value_size,
                                                 void *param_value,
                                                 size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };

    if (!cl_live(sampler, OPENCL_cl_sampler)) {
        return CL_INVALID_SAMPLER;
    }
    switch (param_name) {
    case CL_SAMPLER_REFERENCE_COUNT:
        return info_value(&out, cl_uint, cl_object_refs(sampler));
    case CL_SAMPLER_CONTEXT:
        return info_value(&out, cl_context, sampler->context);
    case CL_SAMPLER_NORMALIZED_COORDS:
        return info_value(&out, cl_bool, sampler->normalized);
    case CL_SAMPLER_ADDRESSING_MODE:
        return info_value(&out, cl_addressing_mode, sampler->addressing);
    case CL_SAMPLER_FILTER_MODE:
        return info_value(&out, cl_filter_mode, sampler->filter);
    case CL_SAMPLER_PROPERTIES:
        return info_bytes(&out, sampler->properties,
                          sampler->property_count *
                              sizeof(cl_sampler_properties));
    default:
        return CL_INVALID_VALUE;
    }
}
