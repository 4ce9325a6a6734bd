/*
 * Programs and kernels. Builds, and whatever else may start a compiler, run beside
 * other calls: they hold the host's objects, and give up the lead.
 *
 * What the host's compiler or loader parses is copied out of shared memory first.
 * The guest could otherwise change it between its checks and its use.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl_ext.h>

#include "cl.h"
#include "opencl_kinds.h"
#include "opencl_serve.h"

#define ARGS_MAX 256u /* vclCreateKernel's */

/* A private copy, with a NUL behind it; NULL without memory. */
static char *copy_bytes(const void *src, size_t size)
{
    char *copy = size < SIZE_MAX ? malloc(size + 1) : NULL;

    if (copy) {
        memcpy(copy, src, size);
        copy[size] = '\0';
    }
    return copy;
}

/* --- making programs --------------------------------------------------------------- */

void serve_vclCreateProgramWithSource(struct request *r,
                                      struct vclCreateProgramWithSource_args *a)
{
    char *source = copy_bytes(a->source, a->length);
    const char *text = source;

    if (!source) {
        a->err = CL_OUT_OF_HOST_MEMORY;
        return;
    }
    a->ret = clCreateProgramWithSource(a->context, 1, &text, &a->length,
                                       &a->err);
    free(source);
}

void serve_clCreateProgramWithIL(struct request *r,
                                 struct clCreateProgramWithIL_args *a)
{
    char *il = copy_bytes(a->il, a->length);

    if (!il) {
        a->err = CL_OUT_OF_HOST_MEMORY;
        return;
    }
    a->ret = clCreateProgramWithIL(a->context, il, a->length, &a->err);
    free(il);
}

/* Where each binary begins. Returns false if they are not @total bytes in all. */
static bool split(const unsigned char *all, size_t total, cl_uint n,
                  const size_t *lengths, const unsigned char **each)
{
    size_t at = 0;

    for (cl_uint i = 0; i < n; i++) {
        if (lengths[i] > total - at) {
            return false;
        }
        each[i] = all + at;
        at += lengths[i];
    }
    return at == total;
}

void serve_vclCreateProgramWithBinary(struct request *r,
                                      struct vclCreateProgramWithBinary_args *a)
{
    const unsigned char *each[64]; /* as many as the call takes */
    char *copy = copy_bytes(a->binaries, a->total);

    if (!copy) {
        a->err = CL_OUT_OF_HOST_MEMORY;
        return;
    }
    if (split((unsigned char *)copy, a->total, a->num_devices, a->lengths,
              each)) {
        a->ret = clCreateProgramWithBinary(a->context, a->num_devices,
                                           a->device_list, a->lengths, each,
                                           a->binary_status, a->result);
    } else {
        *a->result = CL_INVALID_VALUE;
    }
    if (a->ret && *a->result != CL_SUCCESS) {
        clReleaseProgram(a->ret); /* the guest takes it for none */
        a->ret = NULL;
    }
    free(copy);
}

/*
 * A program that is built again gets other binaries. Builds run beside each
 * other, but not between the question how long a binary is and its copy.
 */
static pthread_rwlock_t binaries_change = PTHREAD_RWLOCK_INITIALIZER;

/* --- building -------------------------------------------------------------------------- */

void serve_vclBuildProgram(struct request *r, struct vclBuildProgram_args *a)
{
    char *options = options_make(a->options, CL_INVALID_BUILD_OPTIONS, &a->ret);

    if (!options) {
        return;
    }
    clRetainProgram(a->program);
    session_block_begin(r);
    pthread_rwlock_rdlock(&binaries_change);
    a->ret = clBuildProgram(a->program, a->num_devices, a->device_list, options,
                            NULL, NULL);
    pthread_rwlock_unlock(&binaries_change);
    clReleaseProgram(a->program);
    free(options);
}

/* Pointers to the @n names at @names, or NULL if there are not as many. */
static const char **split_names(const char *names, size_t size, cl_uint n)
{
    const char **each = calloc(n ? n : 1, sizeof(*each));
    const char *end = names + size;

    for (cl_uint i = 0; each && i < n; i++) {
        size_t length = names < end ? strnlen(names, (size_t)(end - names)) : 0;

        if (names >= end || names + length == end) {
            free(each);
            return NULL;
        }
        each[i] = names;
        names += length + 1;
    }
    return each;
}

static void retain_programs(const cl_program *programs, cl_uint n)
{
    for (cl_uint i = 0; i < n; i++) {
        clRetainProgram(programs[i]);
    }
}

static void release_programs(const cl_program *programs, cl_uint n)
{
    for (cl_uint i = 0; i < n; i++) {
        clReleaseProgram(programs[i]);
    }
}

void serve_vclCompileProgram(struct request *r,
                             struct vclCompileProgram_args *a)
{
    cl_uint n = a->input_headers ? a->num_input_headers : 0;
    const char **names = split_names(a->header_include_names,
                                     a->header_include_names ? a->names_size
                                                             : 0, n);
    char *options = options_make(a->options, CL_INVALID_COMPILER_OPTIONS,
                                 &a->ret);

    if (!names || !options) {
        a->ret = names ? a->ret : CL_INVALID_VALUE;
        goto out;
    }
    clRetainProgram(a->program);
    retain_programs(a->input_headers, n);
    session_block_begin(r);
    pthread_rwlock_rdlock(&binaries_change);
    a->ret = clCompileProgram(a->program, a->num_devices, a->device_list,
                              options, n, n ? a->input_headers : NULL,
                              n ? names : NULL, NULL, NULL);
    pthread_rwlock_unlock(&binaries_change);
    release_programs(a->input_headers, n);
    clReleaseProgram(a->program);
out:
    free(options);
    free(names);
}

void serve_vclLinkProgram(struct request *r, struct vclLinkProgram_args *a)
{
    char *options = options_make(a->options, CL_INVALID_LINKER_OPTIONS,
                                 &a->err);

    if (!options) {
        return;
    }
    clRetainContext(a->context);
    retain_programs(a->input_programs, a->num_input_programs);
    session_block_begin(r);
    a->ret = clLinkProgram(a->context, a->num_devices, a->device_list, options,
                           a->num_input_programs, a->input_programs, NULL, NULL,
                           a->result);
    if (!a->ret) {
        a->err = *a->result != CL_SUCCESS ? *a->result : CL_OUT_OF_RESOURCES;
    }
    release_programs(a->input_programs, a->num_input_programs);
    clReleaseContext(a->context);
    free(options);
}

/* --- binaries ------------------------------------------------------------------------------ */

/* The binary of device @index of @n into @binary, of @size bytes. */
static cl_int get_binary(cl_program program, cl_uint n, cl_uint index,
                         unsigned char *binary, size_t size)
{
    unsigned char **each = calloc(n, sizeof(*each));
    unsigned char *copy = malloc(size ? size : 1);
    cl_int err = CL_OUT_OF_HOST_MEMORY;

    if (each && copy) {
        each[index] = copy;
        err = clGetProgramInfo(program, CL_PROGRAM_BINARIES, n * sizeof(*each),
                               each, NULL);
    }
    if (err == CL_SUCCESS) {
        memcpy(binary, copy, size);
    }
    free(copy);
    free(each);
    return err;
}

static cl_int serve_binary(struct vclGetProgramBinary_args *a)
{
    size_t bytes, *sizes, size = 0;
    cl_uint n;
    cl_int err = clGetProgramInfo(a->program, CL_PROGRAM_BINARY_SIZES, 0, NULL,
                                  &bytes);

    if (err != CL_SUCCESS) {
        return err;
    }
    n = (cl_uint)(bytes / sizeof(*sizes));
    sizes = malloc(bytes ? bytes : 1);
    if (!sizes) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    err = clGetProgramInfo(a->program, CL_PROGRAM_BINARY_SIZES, bytes, sizes,
                           NULL);
    if (err == CL_SUCCESS && a->index < n) {
        size = sizes[a->index];
    } else if (err == CL_SUCCESS) {
        err = CL_INVALID_VALUE;
    }
    free(sizes);
    if (err == CL_SUCCESS) {
        *a->size_ret = size;
        if (a->binary && a->size < size) {
            err = CL_INVALID_VALUE;
        } else if (a->binary) {
            err = get_binary(a->program, n, a->index, a->binary, size);
        }
    }
    return err;
}

void serve_vclGetProgramBinary(struct request *r,
                               struct vclGetProgramBinary_args *a)
{
    clRetainProgram(a->program);
    session_block_begin(r);
    pthread_rwlock_wrlock(&binaries_change);
    a->ret = serve_binary(a);
    pthread_rwlock_unlock(&binaries_change);
    clReleaseProgram(a->program);
}

/* --- kernels --------------------------------------------------------------------------------- */

static bool is_sampler(cl_kernel kernel, cl_uint index)
{
    char name[16];

    return clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_NAME,
                              sizeof(name), name, NULL) == CL_SUCCESS &&
           strcmp(name, "sampler_t") == 0;
}

static bool is_pipe(cl_kernel kernel, cl_uint index)
{
    cl_kernel_arg_type_qualifier qualifier = 0;

    clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_QUALIFIER,
                       sizeof(qualifier), &qualifier, NULL);
    return qualifier & CL_KERNEL_ARG_TYPE_PIPE;
}

/* What argument @index of @kernel takes. */
static enum opencl_arg_kind arg_kind(cl_kernel kernel, cl_uint index)
{
    cl_kernel_arg_address_qualifier space;

    if (clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER,
                           sizeof(space), &space, NULL) != CL_SUCCESS) {
        return OPENCL_ARG_UNKNOWN;
    }
    /* Drivers differ in what address space they give a sampler, or a pipe. */
    if (is_sampler(kernel, index)) {
        return OPENCL_ARG_SAMPLER;
    }
    if (is_pipe(kernel, index)) {
        return OPENCL_ARG_MEM;
    }
    switch (space) {
    case CL_KERNEL_ARG_ADDRESS_GLOBAL:
    case CL_KERNEL_ARG_ADDRESS_CONSTANT:
        return OPENCL_ARG_MEM;
    case CL_KERNEL_ARG_ADDRESS_LOCAL:
        return OPENCL_ARG_LOCAL;
    default:
        return OPENCL_ARG_VALUE;
    }
}

void serve_vclCreateKernel(struct request *r, struct vclCreateKernel_args *a)
{
    cl_uint n = 0;

    a->ret = clCreateKernel(a->program, a->kernel_name, &a->err);
    if (!a->ret) {
        return;
    }
    a->err = clGetKernelInfo(a->ret, CL_KERNEL_NUM_ARGS, sizeof(n), &n, NULL);
    if (a->err == CL_SUCCESS && n > ARGS_MAX) {
        a->err = CL_OUT_OF_RESOURCES;
    }
    if (a->err != CL_SUCCESS) {
        clReleaseKernel(a->ret);
        a->ret = NULL;
        return;
    }
    *a->num_args = n;
    for (cl_uint i = 0; i < n; i++) {
        a->arg_kinds[i] = arg_kind(a->ret, i);
    }
}

void serve_vclGetKernelSuggestedLocalWorkSize(
    struct request *r, struct vclGetKernelSuggestedLocalWorkSize_args *a)
{
    clGetKernelSuggestedLocalWorkSizeKHR_fn suggest = queue_function(
        a->command_queue, "clGetKernelSuggestedLocalWorkSizeKHR");

    a->ret = suggest ? suggest(a->command_queue, a->kernel, a->work_dim,
                               a->global_work_offset, a->global_work_size,
                               a->local_work_size)
                     : CL_INVALID_OPERATION;
}

/* Types of eight bytes that no program can give another meaning. */
static bool is_number(const char *type)
{
    static const char *const numbers[] = {
        "ulong", "long", "size_t", "ptrdiff_t", "intptr_t", "uintptr_t",
        "double", "float2", "int2", "uint2", "short4", "ushort4", "half4",
        "char8", "uchar8",
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(type, numbers[i]) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * A value that is as long as a handle is one if the argument takes one: the guest's
 * bytes must never become a pointer here. The type's name says so only if it is
 * a number's: any other may be a typedef of sampler_t or queue_t. Then the host is asked
 * what it does with no object: a plain value takes a NULL, and is never without
 * a value.
 */
static cl_int check_bytes(cl_kernel kernel, cl_uint index)
{
    enum opencl_arg_kind kind = arg_kind(kernel, index);
    void *none = NULL;
    char type[16];
    cl_int err;

    if (kind == OPENCL_ARG_MEM || kind == OPENCL_ARG_SAMPLER) {
        return CL_INVALID_ARG_VALUE;
    }
    if (clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_NAME,
                           sizeof(type), type, NULL) == CL_SUCCESS &&
        is_number(type)) {
        return CL_SUCCESS;
    }
    err = clSetKernelArg(kernel, index, sizeof(none), &none);
    if (err != CL_SUCCESS) {
        return err;
    }
    return clSetKernelArg(kernel, index, sizeof(none), NULL) == CL_SUCCESS
               ? CL_INVALID_ARG_VALUE : CL_SUCCESS;
}

void serve_vclSetKernelArg(struct request *r, struct vclSetKernelArg_args *a)
{
    if (a->arg_value && a->arg_size == sizeof(void *)) {
        a->ret = check_bytes(a->kernel, a->arg_index);
        if (a->ret != CL_SUCCESS) {
            return;
        }
    }
    a->ret = clSetKernelArg(a->kernel, a->arg_index, a->arg_size,
                            a->arg_value);
}

void serve_vclSetKernelArgMem(struct request *r,
                              struct vclSetKernelArgMem_args *a)
{
    a->ret = clSetKernelArg(a->kernel, a->arg_index, sizeof(cl_mem),
                            a->mem ? &a->mem : NULL);
}

void serve_vclSetKernelArgSampler(struct request *r,
                                  struct vclSetKernelArgSampler_args *a)
{
    a->ret = clSetKernelArg(a->kernel, a->arg_index, sizeof(cl_sampler),
                            &a->sampler);
}
