/*
 * What the guest programs share; see guest.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

struct rig rig;

int rig_up(void **state)
{
    ok(clGetPlatformIDs(1, &rig.platform, NULL));
    ok(clGetDeviceIDs(rig.platform, CL_DEVICE_TYPE_ALL, 1, &rig.device, NULL));
    rig.context = clCreateContext(NULL, 1, &rig.device, NULL, NULL, NULL);
    assert_non_null(rig.context);
    rig.queue = clCreateCommandQueue(rig.context, rig.device,
                                     CL_QUEUE_PROFILING_ENABLE, NULL);
    assert_non_null(rig.queue);
    return 0;
}

int rig_down(void **state)
{
    ok(clReleaseCommandQueue(rig.queue));
    ok(clReleaseContext(rig.context));
    return 0;
}

cl_program build(const char *source, const char *options)
{
    cl_program p = clCreateProgramWithSource(rig.context, 1, &source, NULL,
                                             NULL);
    cl_int err;

    assert_non_null(p);
    err = clBuildProgram(p, 1, &rig.device, options, NULL, NULL);
    if (err != CL_SUCCESS) {
        char log[8192] = "";

        clGetProgramBuildInfo(p, rig.device, CL_PROGRAM_BUILD_LOG,
                              sizeof(log), log, NULL);
        print_error("build: %d\n%s\n", err, log);
    }
    ok(err);
    return p;
}

cl_kernel kernel_of(const char *source, const char *name)
{
    cl_program p = build(source, NULL);
    cl_kernel k = clCreateKernel(p, name, NULL);

    assert_non_null(k);
    ok(clReleaseProgram(p));
    return k;
}

cl_mem buffer_of(cl_mem_flags flags, size_t size, const void *data)
{
    cl_int err;
    cl_mem m = clCreateBuffer(rig.context,
                              flags | (data ? CL_MEM_COPY_HOST_PTR : 0), size,
                              (void *)data, &err);

    ok(err);
    return m;
}

void fill_random(void *data, size_t size, uint32_t seed)
{
    uint8_t *p = data;

    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint8_t)(seed >> 24);
    }
}

void expect_bytes(cl_mem buffer, size_t offset, size_t size, const void *data)
{
    void *got = malloc(size);

    assert_non_null(got);
    ok(clEnqueueReadBuffer(rig.queue, buffer, CL_TRUE, offset, size, got, 0,
                           NULL, NULL));
    assert_memory_equal(got, data, size);
    free(got);
}

int is_remote(void)
{
    char name[256] = "";

    clGetDeviceInfo(rig.device, CL_DEVICE_NAME, sizeof(name), name, NULL);
    return strstr(name, "via vgpu-remote") != NULL;
}
