/*
 * Kernels: making them, and setting their arguments.
 *
 * An argument is a value, an amount of local memory, a memory object or a sampler; the
 * host says which when the kernel is made, and where it does not know, what the
 * program gives tells: a live handle of ours is one. Setting an argument is waited
 * for until the host has accepted one of that form; from then on it cannot fail.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

#include <CL/cl_ext.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"
#include "opencl_kinds.h"

#define ARGS_MAX 256
/*
 * Beside enum opencl_arg_kind, of what was accepted: a pointer to shared virtual
 * memory; a memory object that is no buffer, or none.
 */
#define ARG_SVM   100u
#define ARG_OTHER 101u

/* --- creation ------------------------------------------------------------------- */

static cl_kernel create_shadow(cl_program program)
{
    struct session *s = program->obj.session;
    cl_kernel k = cl_object_create(s, OPENCL_cl_kernel);

    if (!k) {
        return NULL;
    }
    k->program = program;
    cl_object_hold(program);
    program->kernels++;
    k->obj.id = session_new_id(s);
    if (!k->obj.id) {
        cl_object_undo(k);
        return NULL;
    }
    return k;
}

static cl_int set_up_args(cl_kernel k, const cl_uint *kinds, cl_uint n)
{
    k->args = calloc(n + 1, sizeof(k->args[0]));
    if (!k->args) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    for (cl_uint i = 0; i < n; i++) {
        k->args[i].kind = kinds[i];
    }
    k->arg_count = k->args_missing = n;
    return CL_SUCCESS;
}

static cl_int create(cl_program program, const char *name, cl_kernel *kernel)
{
    cl_kernel k = create_shadow(program);
    cl_uint kinds[ARGS_MAX] = { 0 }, n = 0;
    cl_int err;

    *kernel = NULL;
    if (!k) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    err = call_vclCreateKernel(k->obj.session, program->obj.id, name, kinds, &n,
                               k->obj.id);
    if (err != CL_SUCCESS) {
        cl_object_undo(k);
        return err;
    }
    err = set_up_args(k, kinds, n < ARGS_MAX ? n : ARGS_MAX);
    if (err != CL_SUCCESS) {
        cl_object_release(k);
        return err;
    }
    *kernel = k;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_kernel CL_API_CALL clCreateKernel(cl_program program,
                                                  const char *kernel_name,
                                                  cl_int *errcode_ret)
{
    cl_kernel k = NULL;
    cl_int err;

    if (!cl_live(program, OPENCL_cl_program)) {
        err = CL_INVALID_PROGRAM;
    } else if (!kernel_name) {
        err = CL_INVALID_VALUE;
    } else {
        err = create(program, kernel_name, &k);
    }
    return cl_return(k, err, errcode_ret);
}

/* The names of the program's kernels, separated by semicolons; to be freed. */
static char *kernel_names(cl_program program, cl_int *err)
{
    char *names = NULL;
    size_t size = 0;

    *err = clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, 0, NULL, &size);
    if (*err == CL_SUCCESS) {
        names = malloc(size + 1);
        *err = names ? clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, size,
                                        names, NULL)
                     : CL_OUT_OF_HOST_MEMORY;
    }
    if (*err != CL_SUCCESS) {
        free(names);
        return NULL;
    }
    names[size] = '\0';
    return names;
}

CL_API_ENTRY cl_int CL_API_CALL clCreateKernelsInProgram(
    cl_program program, cl_uint num_kernels, cl_kernel *kernels,
    cl_uint *num_kernels_ret)
{
    char *names, *name, *rest;
    cl_uint n = 0;
    cl_int err;

    if (!cl_live(program, OPENCL_cl_program)) {
        return CL_INVALID_PROGRAM;
    }
    names = kernel_names(program, &err);
    if (!names) {
        return err;
    }
    for (const char *p = names; *p; n++) {
        p += strcspn(p, ";");
        p += *p == ';';
    }
    if (num_kernels_ret) {
        *num_kernels_ret = n;
    }
    if (kernels && num_kernels < n) {
        err = CL_INVALID_VALUE;
    }
    n = 0;
    for (name = kernels && err == CL_SUCCESS ? strtok_r(names, ";", &rest)
                                             : NULL;
         name && err == CL_SUCCESS; name = strtok_r(NULL, ";", &rest)) {
        err = create(program, name, &kernels[n]);
        n += err == CL_SUCCESS;
    }
    while (err != CL_SUCCESS && n) {
        clReleaseKernel(kernels[--n]);
    }
    free(names);
    return err;
}

CL_API_ENTRY cl_kernel CL_API_CALL clCloneKernel(cl_kernel source,
                                                 cl_int *errcode_ret)
{
    cl_kernel k;
    cl_int err;

    if (!cl_live(source, OPENCL_cl_kernel)) {
        return cl_return(NULL, CL_INVALID_KERNEL, errcode_ret);
    }
    k = create_shadow(source->program);
    if (!k) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    k->args = calloc(source->arg_count + 1, sizeof(k->args[0]));
    err = k->args ? call_clCloneKernel(k->obj.session, source->obj.id,
                                       k->obj.id)
                  : CL_OUT_OF_HOST_MEMORY;
    if (err != CL_SUCCESS) {
        cl_object_undo(k);
        return cl_return(NULL, err, errcode_ret);
    }
    memcpy(k->args, source->args, source->arg_count * sizeof(k->args[0]));
    k->arg_count = source->arg_count;
    k->args_missing = source->args_missing;
    k->local_bytes = source->local_bytes;
    return cl_return(k, CL_SUCCESS, errcode_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clRetainKernel(cl_kernel kernel)
{
    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    cl_object_retain(kernel);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseKernel(cl_kernel kernel)
{
    if (!cl_live(kernel, OPENCL_cl_kernel) || !cl_object_release(kernel)) {
        return CL_INVALID_KERNEL;
    }
    return CL_SUCCESS;
}

void kernel_finish(void *object)
{
    cl_kernel k = object;

    while (k->limits) {
        struct launch_limits *l = k->limits;

        k->limits = l->next;
        free(l);
    }
    info_cache_clear(&k->cache);
    free(k->args);
    k->program->kernels--;
    cl_object_unhold(k->program);
}

/* --- arguments ------------------------------------------------------------------- */

/* What the program gives for an argument of which the host says nothing. */
static uint32_t guess_kind(size_t size, const void *value)
{
    void *handle;

    if (!value) {
        return OPENCL_ARG_LOCAL;
    }
    if (size == sizeof(handle)) {
        memcpy(&handle, value, sizeof(handle));
        if (cl_live(handle, OPENCL_cl_mem)) {
            return OPENCL_ARG_MEM;
        }
        if (cl_live(handle, OPENCL_cl_sampler)) {
            return OPENCL_ARG_SAMPLER;
        }
    }
    return OPENCL_ARG_VALUE;
}

/*
 * Buffers, images and pipes do not go for each other: only where a buffer was
 * accepted, another one surely is. @form: what it is then.
 */
static cl_int set_mem(cl_kernel k, cl_uint index, size_t size,
                      const void *value, bool certain, uint32_t *form)
{
    struct session *s = k->obj.session;
    cl_mem mem = NULL;

    if (size != sizeof(mem)) {
        return CL_INVALID_ARG_SIZE;
    }
    if (value) {
        memcpy(&mem, value, sizeof(mem));
    }
    if (mem && !cl_live(mem, OPENCL_cl_mem)) {
        return CL_INVALID_MEM_OBJECT;
    }
    *form = mem && mem->kind == CL_MEM_OBJECT_BUFFER ? OPENCL_ARG_MEM
                                                     : ARG_OTHER;
    return call_checked(s, certain && *form == OPENCL_ARG_MEM,
                        call_vclSetKernelArgMem(s, k->obj.id, index,
                                                mem ? mem->obj.id : 0));
}

static cl_int set_sampler(cl_kernel k, cl_uint index, size_t size,
                          const void *value, bool certain)
{
    struct session *s = k->obj.session;
    cl_sampler sampler;

    if (!value) {
        return CL_INVALID_ARG_VALUE;
    }
    if (size != sizeof(sampler)) {
        return CL_INVALID_ARG_SIZE;
    }
    memcpy(&sampler, value, sizeof(sampler));
    if (!cl_live(sampler, OPENCL_cl_sampler)) {
        return CL_INVALID_SAMPLER;
    }
    return call_checked(s, certain, call_vclSetKernelArgSampler(
        s, k->obj.id, index, sampler->obj.id));
}

static cl_int set_bytes(cl_kernel k, cl_uint index, uint32_t kind, size_t size,
                        const void *value, bool certain)
{
    struct session *s = k->obj.session;

    if (kind == OPENCL_ARG_LOCAL ? value != NULL : value == NULL) {
        return CL_INVALID_ARG_VALUE;
    }
    if (!size) {
        return CL_INVALID_ARG_SIZE;
    }
    return call_checked(s, certain, call_vclSetKernelArg(s, k->obj.id, index,
                                                         size, value));
}

bool kernel_fits(cl_kernel kernel, cl_device_id device)
{
    return kernel->local_bytes <= device->local_mem;
}

static void add_up_local(cl_kernel k)
{
    k->local_bytes = 0;
    for (cl_uint i = 0; i < k->arg_count; i++) {
        if (k->args[i].accepted == OPENCL_ARG_LOCAL &&
            __builtin_add_overflow(k->local_bytes, k->args[i].size,
                                   &k->local_bytes)) {
            k->local_bytes = SIZE_MAX;
            return;
        }
    }
}

/* Something was accepted for argument @index, in this form. */
static void accept(cl_kernel k, cl_uint index, uint32_t kind, size_t size)
{
    struct kernel_arg *arg = &k->args[index];
    bool local;

    k->args_missing -= !arg->accepted;
    if (arg->accepted == kind && arg->size == size) {
        return;
    }
    local = kind == OPENCL_ARG_LOCAL || arg->accepted == OPENCL_ARG_LOCAL;
    arg->accepted = kind;
    arg->size = size;
    if (local) {
        add_up_local(k);
    }
}

CL_API_ENTRY cl_int CL_API_CALL clSetKernelArg(cl_kernel kernel, cl_uint index,
                                               size_t size, const void *value)
{
    struct kernel_arg *arg;
    uint32_t kind;
    bool certain;
    cl_int err;

    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    if (index >= kernel->arg_count) {
        return CL_INVALID_ARG_INDEX;
    }
    arg = &kernel->args[index];
    kind = arg->kind != OPENCL_ARG_UNKNOWN ? arg->kind
                                           : guess_kind(size, value);
    certain = arg->accepted == kind &&
              (arg->size == size || kind == OPENCL_ARG_LOCAL);
    switch (kind) {
    case OPENCL_ARG_MEM:
        err = set_mem(kernel, index, size, value, certain, &kind);
        break;
    case OPENCL_ARG_SAMPLER:
        err = set_sampler(kernel, index, size, value, certain);
        break;
    default:
        err = set_bytes(kernel, index, kind, size, value, certain);
    }
    if (err == CL_SUCCESS) {
        accept(kernel, index, kind, size);
    }
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clSetKernelArgSVMPointer(cl_kernel kernel,
                                                         cl_uint index,
                                                         const void *value)
{
    cl_int err;

    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    if (index >= kernel->arg_count) {
        return CL_INVALID_ARG_INDEX;
    }
    if (value && !svm_has(kernel->program->context, value, 1)) {
        return CL_INVALID_ARG_VALUE;
    }
    err = call_checked(kernel->obj.session,
                       kernel->args[index].accepted == ARG_SVM,
                       call_vclSetKernelArgSVM(kernel->obj.session,
                                               kernel->obj.id, index,
                                               (uintptr_t)value));
    if (err == CL_SUCCESS) {
        accept(kernel, index, ARG_SVM, sizeof(value));
    }
    return err;
}

/* What a kernel reaches by pointers in memory: the host has to know. */
static cl_int set_pointers(cl_kernel kernel, size_t size,
                           const void *const *pointers)
{
    size_t n = size / sizeof(pointers[0]);

    if (!size || size % sizeof(pointers[0]) || !pointers || n > UINT32_MAX) {
        return CL_INVALID_VALUE;
    }
    for (size_t i = 0; i < n; i++) {
        if (!svm_has(kernel->program->context, pointers[i], 1)) {
            return CL_INVALID_VALUE;
        }
    }
    return call_vclSetKernelExecSVM(kernel->obj.session, kernel->obj.id,
                                    (cl_uint)n, (const cl_ulong *)pointers);
}

CL_API_ENTRY cl_int CL_API_CALL clSetKernelExecInfo(
    cl_kernel kernel, cl_kernel_exec_info param_name, size_t param_value_size,
    const void *param_value)
{
    cl_bool all;

    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    switch (param_name) {
    case CL_KERNEL_EXEC_INFO_SVM_PTRS:
        return set_pointers(kernel, param_value_size, param_value);
    case CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM:
        if (param_value_size != sizeof(all) || !param_value) {
            return CL_INVALID_VALUE;
        }
        memcpy(&all, param_value, sizeof(all));
        return all ? CL_INVALID_OPERATION : CL_SUCCESS; /* no device has it */
    default:
        return CL_INVALID_VALUE;
    }
}

/* --- information ------------------------------------------------------------------- */

struct question {
    cl_kernel kernel;
    cl_device_id device; /* of a work-group question; NULL: the only one */
    cl_uint index;       /* of an argument */
};

/*
 * The attributes in the source: a program that was made of a kept binary has
 * none. So they are asked of a kernel that is made of the source for that.
 */
static cl_int ask_attributes(cl_kernel k, size_t size, void *value,
                             size_t *size_ret)
{
    struct session *s = k->obj.session;
    uint64_t source = program_source_id(k->program), id = session_new_id(s);
    cl_uint kinds[ARGS_MAX], n = 0;
    char function[1024];
    cl_int err = CL_OUT_OF_RESOURCES;

    if (source && id) {
        err = call_clGetKernelInfo(s, k->obj.id, CL_KERNEL_FUNCTION_NAME,
                                   sizeof(function), function, NULL);
    }
    if (err == CL_SUCCESS) {
        err = call_vclCreateKernel(s, source, function, kinds, &n, id);
    }
    if (err == CL_SUCCESS) {
        err = call_clGetKernelInfo(s, id, CL_KERNEL_ATTRIBUTES, size, value,
                                   size_ret);
        call_clReleaseKernel(s, id);
    }
    session_free_id(s, id);
    return err;
}

static cl_int ask_kernel(void *opaque, cl_uint name, size_t size, void *value,
                         size_t *size_ret)
{
    struct question *q = opaque;

    if (name == CL_KERNEL_ATTRIBUTES && q->kernel->program->source_id) {
        return ask_attributes(q->kernel, size, value, size_ret);
    }

    return call_clGetKernelInfo(q->kernel->obj.session, q->kernel->obj.id,
                                name, size, value, size_ret);
}

static cl_int ask_arg(void *opaque, cl_uint name, size_t size, void *value,
                      size_t *size_ret)
{
    struct question *q = opaque;

    return call_clGetKernelArgInfo(q->kernel->obj.session, q->kernel->obj.id,
                                   q->index, name, size, value, size_ret);
}

static cl_int ask_work_group(void *opaque, cl_uint name, size_t size,
                             void *value, size_t *size_ret)
{
    struct question *q = opaque;

    return call_clGetKernelWorkGroupInfo(
        q->kernel->obj.session, q->kernel->obj.id,
        q->device ? q->device->obj.id : 0, name, size, value, size_ret);
}

static cl_int answer(struct question *q, uint64_t key, info_ask ask,
                     cl_uint name, const struct info_out *out)
{
    const void *value;
    size_t size;
    cl_int err = info_cached(q->kernel->obj.session, &q->kernel->cache, name,
                             key, ask, q, &value, &size);

    return err != CL_SUCCESS ? err : info_bytes(out, value, size);
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelInfo(cl_kernel kernel,
                                                cl_kernel_info param_name,
                                                size_t param_value_size,
                                                void *param_value,
                                                size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    struct question q = { .kernel = kernel };

    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    switch (param_name) {
    case CL_KERNEL_NUM_ARGS:
        return info_value(&out, cl_uint, kernel->arg_count);
    case CL_KERNEL_REFERENCE_COUNT:
        return info_value(&out, cl_uint, cl_object_refs(kernel));
    case CL_KERNEL_CONTEXT:
        return info_value(&out, cl_context, kernel->program->context);
    case CL_KERNEL_PROGRAM:
        return info_value(&out, cl_program, kernel->program);
    default:
        return answer(&q, 0, ask_kernel, param_name, &out);
    }
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelArgInfo(
    cl_kernel kernel, cl_uint index, cl_kernel_arg_info param_name,
    size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    struct question q = { .kernel = kernel, .index = index };

    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    if (index >= kernel->arg_count) {
        return CL_INVALID_ARG_INDEX;
    }
    if (kernel->program->no_arg_info) {
        return CL_KERNEL_ARG_INFO_NOT_AVAILABLE;
    }
    return answer(&q, index, ask_arg, param_name, &out);
}

/* Whether @device (NULL: if there is only one) is one that @kernel was built for. */
static bool is_for(cl_kernel kernel, cl_device_id device)
{
    cl_program p = kernel->program;

    if (!device) {
        return p->device_count == 1;
    }
    for (cl_uint i = 0; i < p->device_count; i++) {
        if (p->devices[i] == device) {
            return true;
        }
    }
    return false;
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelWorkGroupInfo(
    cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info param_name,
    size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    struct question q = { .kernel = kernel, .device = device };

    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    if (!is_for(kernel, device)) {
        return CL_INVALID_DEVICE;
    }
    return answer(&q, (uintptr_t)device, ask_work_group, param_name, &out);
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelSubGroupInfo(
    cl_kernel kernel, cl_device_id device, cl_kernel_sub_group_info param_name,
    size_t input_value_size, const void *input_value, size_t param_value_size,
    void *param_value, size_t *param_value_size_ret)
{
    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    if (!is_for(kernel, device)) {
        return CL_INVALID_DEVICE;
    }
    return call_clGetKernelSubGroupInfo(
        kernel->obj.session, kernel->obj.id, device ? device->obj.id : 0,
        param_name, input_value ? input_value_size : 0, input_value,
        param_value_size, param_value, param_value_size_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelSubGroupInfoKHR(
    cl_kernel kernel, cl_device_id device, cl_kernel_sub_group_info param_name,
    size_t input_value_size, const void *input_value, size_t param_value_size,
    void *param_value, size_t *param_value_size_ret)
{
    return clGetKernelSubGroupInfo(kernel, device, param_name, input_value_size,
                                   input_value, param_value_size, param_value,
                                   param_value_size_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelSuggestedLocalWorkSizeKHR(
    cl_command_queue queue, cl_kernel kernel, cl_uint work_dim,
    const size_t *global_work_offset, const size_t *global_work_size,
    size_t *suggested_local_work_size)
{
    size_t sizes[3] = { 0 };
    cl_int err;

    if (!cl_live(queue, OPENCL_cl_command_queue)) {
        return CL_INVALID_COMMAND_QUEUE;
    }
    if (!cl_live(kernel, OPENCL_cl_kernel)) {
        return CL_INVALID_KERNEL;
    }
    if (kernel->program->context != queue->context) {
        return CL_INVALID_CONTEXT;
    }
    if (work_dim < 1 || work_dim > 3) {
        return CL_INVALID_WORK_DIMENSION;
    }
    if (!global_work_size) {
        return CL_INVALID_GLOBAL_WORK_SIZE;
    }
    if (!suggested_local_work_size) {
        return CL_INVALID_VALUE;
    }
    err = call_vclGetKernelSuggestedLocalWorkSize(
        queue->obj.session, queue->obj.id, kernel->obj.id, work_dim,
        global_work_offset, global_work_size, sizes);
    if (err == CL_SUCCESS) {
        memcpy(suggested_local_work_size, sizes, work_dim * sizeof(sizes[0]));
    }
    return err;
}
