/*
 * Functions that are found by name. The ICD loader asks for clIcdGetPlatformIDsKHR
 * before anything else, programs for functions of extensions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kinds.h"

#include <CL/cl_ext.h>
#include <string.h>

CL_API_ENTRY cl_int CL_API_CALL clIcdGetPlatformIDsKHR(
    cl_uint num_entries, cl_platform_id *list, cl_uint *num_platforms)
    __attribute__((visibility("default")));

static const struct {
    const char *name;
    void *function;
} functions[] = {
    { "clIcdGetPlatformIDsKHR", clIcdGetPlatformIDsKHR },
    { "clGetPlatformInfo", clGetPlatformInfo },
    { "clGetKernelSubGroupInfoKHR", clGetKernelSubGroupInfoKHR },
#define FUNCTION(name) { #name, name },
    OPENCL_BY_NAME(FUNCTION)
#undef FUNCTION
};

CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddress(const char *name)
{
    for (size_t i = 0; name && i < sizeof(functions) / sizeof(functions[0]);
         i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return functions[i].function;
        }
    }
    return NULL;
}

CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddressForPlatform(
    cl_platform_id platform, const char *name)
{
    return cl_live(platform, OPENCL_cl_platform_id)
               ? clGetExtensionFunctionAddress(name) : NULL;
}

CL_API_ENTRY cl_int CL_API_CALL clIcdGetPlatformIDsKHR(
    cl_uint num_entries, cl_platform_id *list, cl_uint *num_platforms)
{
    return clGetPlatformIDs(num_entries, list, num_platforms);
}
