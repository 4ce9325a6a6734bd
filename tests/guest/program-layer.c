/*
 * An OpenCL layer (OPENCL_LAYERS=) that gives a host what has to do with programs and
 * pocl has not: an intermediate language, specialization constants, suggested
 * sizes of work-groups, sub-groups, and timers. A stand-in, so that what carries these to
 * a guest can be tested.
 *
 * The language is OpenCL C behind SPIR-V's magic number. There is one constant, number
 * 7, an int, which the text sees as a macro. A suggestion is always the same; a sub-group
 * has eight work-items. The device's clock is a second ahead of the host's.
 *
 * A build that defines HELD does not end before a program was given constant 8.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <CL/cl_ext.h>

#include "../layer.h"

#define MAGIC      0x07230203u
#define CONSTANT   7
#define RELEASE    8
#define VALUES_MAX 16
#define SUB_GROUP  8
#define SECOND_NS  1000000000ull
#define LANGUAGE   "SPIR-V_1.2 "

/* The values that programs were given; none is taken back. */
static struct value {
    cl_program program;
    cl_int value;
} values[VALUES_MAX]; /* under lock */
static unsigned count; /* under lock */
static bool released;  /* under lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t release = PTHREAD_COND_INITIALIZER;

static CL_API_ENTRY cl_int CL_API_CALL
get_device_info(cl_device_id device, cl_device_info name, size_t size,
                void *value, size_t *size_ret)
{
    static const size_t sizes[] = { SUB_GROUP, 2 * SUB_GROUP };

    switch (name) {
    case CL_DEVICE_IL_VERSION:
        return layer_answer(LANGUAGE, sizeof(LANGUAGE), size, value, size_ret);
    case CL_DEVICE_SUB_GROUP_SIZES_INTEL:
        return layer_answer(sizes, sizeof(sizes), size, value, size_ret);
    default:
        return below->clGetDeviceInfo(device, name, size, value, size_ret);
    }
}

static CL_API_ENTRY cl_program CL_API_CALL
create_program_with_il(cl_context context, const void *il, size_t length,
                       cl_int *errcode_ret)
{
    const char *text = (const char *)il + sizeof(cl_uint);
    cl_uint magic = 0;

    if (il && length > sizeof(magic)) {
        memcpy(&magic, il, sizeof(magic));
    }
    if (magic != MAGIC) {
        if (errcode_ret) {
            *errcode_ret = CL_INVALID_VALUE;
        }
        return NULL;
    }
    length -= sizeof(magic);
    return below->clCreateProgramWithSource(context, 1, &text, &length,
                                            errcode_ret);
}

static CL_API_ENTRY cl_int CL_API_CALL
set_constant(cl_program program, cl_uint id, size_t size, const void *value)
{
    cl_int err = CL_SUCCESS;

    if (id == RELEASE) {
        pthread_mutex_lock(&lock);
        released = true;
        pthread_cond_broadcast(&release);
        pthread_mutex_unlock(&lock);
        return CL_SUCCESS;
    }
    if (id != CONSTANT) {
        return CL_INVALID_SPEC_ID;
    }
    if (size != sizeof(cl_int) || !value) {
        return CL_INVALID_VALUE;
    }
    pthread_mutex_lock(&lock);
    if (count < VALUES_MAX) {
        values[count].program = program;
        memcpy(&values[count++].value, value, size);
    } else {
        err = CL_OUT_OF_RESOURCES;
    }
    pthread_mutex_unlock(&lock);
    return err;
}

static CL_API_ENTRY cl_int CL_API_CALL
build_program(cl_program program, cl_uint n, const cl_device_id *devices,
              const char *options,
              void(CL_CALLBACK *notify)(cl_program program, void *user_data),
              void *user_data)
{
    char all[1024];
    int length = snprintf(all, sizeof(all), "%s", options ? options : "");

    pthread_mutex_lock(&lock);
    while (strstr(all, "HELD") && !released) {
        pthread_cond_wait(&release, &lock);
    }
    for (unsigned i = count; i-- > 0;) { /* the last one counts */
        if (values[i].program == program) {
            snprintf(all + length, sizeof(all) - (size_t)length,
                     " -DCONSTANT=%d", values[i].value);
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return below->clBuildProgram(program, n, devices, all, notify, user_data);
}

static CL_API_ENTRY cl_int CL_API_CALL
suggest(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
        const size_t *offset, const size_t *size, size_t *suggested)
{
    for (cl_uint i = 0; i < dimensions; i++) {
        suggested[i] = size[i] < 4 ? size[i] : 4 - i;
    }
    return CL_SUCCESS;
}

static CL_API_ENTRY cl_int CL_API_CALL
get_sub_group_info(cl_kernel kernel, cl_device_id device,
                   cl_kernel_sub_group_info name, size_t input_size,
                   const void *input, size_t size, void *value, size_t *size_ret)
{
    size_t items = 1, given[3] = { 1, 1, 1 }, answer = 0;

    if (input && input_size <= sizeof(given)) {
        memcpy(given, input, input_size);
    }
    for (int i = 0; i < 3; i++) {
        items *= given[i];
    }
    switch (name) {
    case CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE:
        answer = items < SUB_GROUP ? items : SUB_GROUP;
        break;
    case CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE:
        answer = (items + SUB_GROUP - 1) / SUB_GROUP;
        break;
    case CL_KERNEL_MAX_NUM_SUB_GROUPS:
        answer = 32;
        break;
    case CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT: /* as many sizes as there is room */
        given[0] *= SUB_GROUP;
        given[1] = given[2] = 1;
        return size > sizeof(given) ? CL_INVALID_VALUE
                                    : layer_answer(given, size, size, value, size_ret);
    default:
        return CL_INVALID_VALUE;
    }
    return layer_answer(&answer, sizeof(answer), size, value, size_ret);
}

static cl_ulong host_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (cl_ulong)t.tv_sec * SECOND_NS + (cl_ulong)t.tv_nsec;
}

static CL_API_ENTRY cl_int CL_API_CALL get_host_timer(cl_device_id device,
                                                      cl_ulong *host)
{
    *host = host_ns();
    return CL_SUCCESS;
}

static CL_API_ENTRY cl_int CL_API_CALL
get_device_and_host_timer(cl_device_id device, cl_ulong *timer, cl_ulong *host)
{
    *host = host_ns();
    *timer = *host + SECOND_NS;
    return CL_SUCCESS;
}

static CL_API_ENTRY void *CL_API_CALL find_function(cl_platform_id platform,
                                                    const char *name)
{
    return name && !strcmp(name, "clGetKernelSuggestedLocalWorkSizeKHR")
               ? (void *)suggest
               : below->clGetExtensionFunctionAddressForPlatform(platform,
                                                                 name);
}

static void layer_set(struct _cl_icd_dispatch *ours)
{
    ours->clGetDeviceInfo = get_device_info;
    ours->clCreateProgramWithIL = create_program_with_il;
    ours->clSetProgramSpecializationConstant = set_constant;
    ours->clBuildProgram = build_program;
    ours->clGetKernelSubGroupInfo = get_sub_group_info;
    ours->clGetHostTimer = get_host_timer;
    ours->clGetDeviceAndHostTimer = get_device_and_host_timer;
    ours->clGetExtensionFunctionAddressForPlatform = find_function;
}
