/*
 * What layers of the ICD loader have in common: how an info function answers.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef LAYER_H
#define LAYER_H

#include <CL/cl_layer.h>

#include <string.h>

/** layer_answer: the @n bytes at @data, as the specification has it for all clGet...Info(). */
static inline cl_int layer_answer(const void *data, size_t n, size_t size,
                                  void *value, size_t *size_ret)
{
    if (value && size < n) {
        return CL_INVALID_VALUE;
    }
    if (value) {
        memcpy(value, data, n);
    }
    if (size_ret) {
        *size_ret = n;
    }
    return CL_SUCCESS;
}

/** layer_info: what clGetLayerInfo() answers. */
static inline cl_int layer_info(cl_layer_info name, size_t size, void *value,
                                size_t *size_ret)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;

    return name == CL_LAYER_API_VERSION
               ? layer_answer(&version, sizeof(version), size, value, size_ret)
               : CL_INVALID_VALUE;
}

#endif
