/*
 * An OpenCL layer (OPENCL_LAYERS=) that calls every device a GPU. Programs that
 * take nothing else then compute on a host without one too, natively and through the
 * shim alike: what is compared is the way, not the device.
 *
 * SPDX-License-Identifier: MIT
 */
#include <CL/cl_layer.h>

#include <string.h>

static const struct _cl_icd_dispatch *below;
static struct _cl_icd_dispatch ours;

static CL_API_ENTRY cl_int CL_API_CALL
get_device_ids(cl_platform_id platform, cl_device_type type, cl_uint entries,
               cl_device_id *devices, cl_uint *count)
{
    if (type & CL_DEVICE_TYPE_GPU) {
        type = CL_DEVICE_TYPE_ALL;
    }
    return below->clGetDeviceIDs(platform, type, entries, devices, count);
}

static CL_API_ENTRY cl_int CL_API_CALL
get_device_info(cl_device_id device, cl_device_info name, size_t size,
                void *value, size_t *size_ret)
{
    cl_int err = below->clGetDeviceInfo(device, name, size, value, size_ret);

    if (err == CL_SUCCESS && name == CL_DEVICE_TYPE && value) {
        *(cl_device_type *)value = CL_DEVICE_TYPE_GPU;
    }
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t size,
                                               void *value, size_t *size_ret)
{
    cl_layer_api_version version = CL_LAYER_API_VERSION_100;

    if (name != CL_LAYER_API_VERSION || (value && size < sizeof(version))) {
        return CL_INVALID_VALUE;
    }
    if (value) {
        memcpy(value, &version, sizeof(version));
    }
    if (size_ret) {
        *size_ret = sizeof(version);
    }
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(
    cl_uint entries, const struct _cl_icd_dispatch *target, cl_uint *entries_out,
    const struct _cl_icd_dispatch **layer)
{
    if (entries < sizeof(ours) / sizeof(void *)) {
        return CL_INVALID_VALUE;
    }
    below = target;
    ours = *target;
    ours.clGetDeviceIDs = get_device_ids;
    ours.clGetDeviceInfo = get_device_info;
    *entries_out = sizeof(ours) / sizeof(void *);
    *layer = &ours;
    return CL_SUCCESS;
}
