/*
 * The frame of a layer of the ICD loader, which is one file that includes this, and
 * defines layer_set(); and how its info functions answer.
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

/* What the layer is upon. */
static const struct _cl_icd_dispatch *below;

/** layer_set: put the layer's own functions into @ours, which is as `below`. */
static void layer_set(struct _cl_icd_dispatch *ours);

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t size,
                                               void *value, size_t *size_ret)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;

    return name == CL_LAYER_API_VERSION
               ? layer_answer(&version, sizeof(version), size, value, size_ret)
               : CL_INVALID_VALUE;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(
    cl_uint entries, const struct _cl_icd_dispatch *target, cl_uint *entries_out,
    const struct _cl_icd_dispatch **layer)
{
    static struct _cl_icd_dispatch ours;

    if (entries < sizeof(ours) / sizeof(void *)) {
        return CL_INVALID_VALUE;
    }
    below = target;
    ours = *target;
    layer_set(&ours);
    *entries_out = sizeof(ours) / sizeof(void *);
    *layer = &ours;
    return CL_SUCCESS;
}

#endif
