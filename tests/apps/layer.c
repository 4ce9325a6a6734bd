/*
 * An OpenCL layer (OPENCL_LAYERS=) that makes devices and platforms look like what a
 * program takes, natively and through the shim alike: what is compared is the way,
 * not the device. VGPU_LAYER says how:
 *
 *   gpu    every device is a GPU, for programs that take nothing else
 *   name   a platform has the name it has on the host, for programs that do
 *          something else, or nothing at all, where they know a name
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../layer.h"

#define SUFFIX " via vgpu-remote"

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

static CL_API_ENTRY cl_int CL_API_CALL
get_platform_info(cl_platform_id platform, cl_platform_info name, size_t size,
                  void *value, size_t *size_ret)
{
    char text[256], *end;

    if (name != CL_PLATFORM_NAME
        || below->clGetPlatformInfo(platform, name, sizeof(text), text, NULL)) {
        return below->clGetPlatformInfo(platform, name, size, value, size_ret);
    }
    end = strstr(text, SUFFIX);
    if (end) {
        *end = '\0';
    }
    return layer_answer(text, strlen(text) + 1, size, value, size_ret);
}

static bool wanted(const char *what)
{
    const char *wish = getenv("VGPU_LAYER");

    return wish && !strcmp(wish, what);
}

static void layer_set(struct _cl_icd_dispatch *ours)
{
    if (wanted("gpu")) {
        ours->clGetDeviceIDs = get_device_ids;
        ours->clGetDeviceInfo = get_device_info;
    }
    if (wanted("name")) {
        ours->clGetPlatformInfo = get_platform_info;
    }
}
