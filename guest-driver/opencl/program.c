/*
 * Programs: making and building them.
 *
 * Building is waited for, in the call, also when the program asked for a
 * notification: that comes before the call returns, which the specification
 * leaves open. Other threads' calls go on meanwhile.
 *
 * Sources include files of the guest: see includes.c. A source that was built before is
 * made from the binary that it came to: see build_cache.c. The host's program with
 * the source stays: it is the one that is built or compiled again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

#include <CL/cl_ext.h>
#include <stdlib.h>
#include <string.h>

#include "build_cache.h"
#include "opencl_call.h"
#include "output.h"

#define DEVICES_MAX 64

/* --- creation ------------------------------------------------------------------- */

cl_program program_create(cl_context context, cl_uint n,
                          const cl_device_id *devices)
{
    struct session *s = context->obj.session;
    cl_program p = cl_object_create(s, OPENCL_cl_program);

    if (!p) {
        return NULL;
    }
    p->context = context;
    cl_object_hold(context);
    p->devices = malloc(n * sizeof(devices[0]));
    p->obj.id = session_new_id(s);
    if (!p->devices || !p->obj.id) {
        cl_object_undo(p);
        return NULL;
    }
    memcpy(p->devices, devices, n * sizeof(devices[0]));
    p->device_count = n;
    return p;
}

/* All strings in one, with a NUL behind it. */
static char *join(cl_uint count, const char **strings, const size_t *lengths,
                  size_t *total)
{
    char *all, *to;

    *total = 0;
    for (cl_uint i = 0; i < count; i++) {
        *total += lengths && lengths[i] ? lengths[i] : strlen(strings[i]);
    }
    all = to = malloc(*total + 1);
    if (!all) {
        return NULL;
    }
    for (cl_uint i = 0; i < count; i++) {
        size_t n = lengths && lengths[i] ? lengths[i] : strlen(strings[i]);

        memcpy(to, strings[i], n);
        to += n;
    }
    *to = '\0';
    return all;
}

CL_API_ENTRY cl_program CL_API_CALL
clCreateProgramWithSource(cl_context context, cl_uint count,
                          const char **strings, const size_t *lengths,
                          cl_int *errcode_ret)
{
    size_t total;
    cl_program p;
    cl_int err;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    if (!count || !strings) {
        return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
    }
    for (cl_uint i = 0; i < count; i++) {
        if (!strings[i]) {
            return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
        }
    }
    p = program_create(context, context->device_count, context->devices);
    if (!p) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    p->source = join(count, strings, lengths, &total);
    output_expect_in(p->obj.session, p->source);
    if (!p->source) {
        err = CL_OUT_OF_HOST_MEMORY;
    } else {
        err = call_checked(p->obj.session, true,
                           call_vclCreateProgramWithSource(
            p->obj.session, context->obj.id, total, p->source, p->obj.id));
    }
    if (err != CL_SUCCESS) {
        cl_object_undo(p);
    }
    return cl_return(p, err, errcode_ret);
}

/* Whether the @n @devices are some of @context's; their ids. */
static cl_int device_ids(cl_context context, cl_uint n,
                         const cl_device_id *devices, uint64_t *ids)
{
    if (n > DEVICES_MAX) {
        return CL_INVALID_VALUE;
    }
    for (cl_uint i = 0; i < n; i++) {
        cl_uint k = 0;

        while (k < context->device_count && context->devices[k] != devices[i]) {
            k++;
        }
        if (k == context->device_count) {
            return CL_INVALID_DEVICE;
        }
        ids[i] = devices[i]->obj.id;
    }
    return CL_SUCCESS;
}

static cl_int check_binaries(cl_uint n, const cl_device_id *devices,
                             const size_t *lengths,
                             const unsigned char **binaries, size_t *total)
{
    if (!n || n > DEVICES_MAX || !devices || !lengths || !binaries) {
        return CL_INVALID_VALUE;
    }
    *total = 0;
    for (cl_uint i = 0; i < n; i++) {
        if (!lengths[i] || !binaries[i]) {
            return CL_INVALID_VALUE;
        }
        *total += lengths[i];
    }
    return CL_SUCCESS;
}

/* @p, whose creation on the host ended with @err and @result. */
static cl_program settle(cl_program p, cl_int err, cl_int result,
                         cl_int *errcode_ret)
{
    err = err != CL_SUCCESS ? err : result;
    if (err != CL_SUCCESS) {
        cl_object_undo(p);
    }
    return cl_return(p, err, errcode_ret);
}

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithBinary(
    cl_context context, cl_uint num_devices, const cl_device_id *devices,
    const size_t *lengths, const unsigned char **binaries,
    cl_int *binary_status, cl_int *errcode_ret)
{
    cl_int status[DEVICES_MAX] = { 0 }, result = CL_SUCCESS, err;
    uint64_t ids[DEVICES_MAX];
    size_t total;
    cl_program p;
    char *all;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    err = check_binaries(num_devices, devices, lengths, binaries, &total);
    if (err == CL_SUCCESS) {
        err = device_ids(context, num_devices, devices, ids);
    }
    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    p = program_create(context, num_devices, devices);
    all = join(num_devices, (const char **)binaries, lengths, &total);
    if (!p || !all) {
        if (p) {
            cl_object_undo(p);
        }
        free(all);
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    output_expect(p->obj.session); /* who knows */
    err = call_vclCreateProgramWithBinary(
        p->obj.session, context->obj.id, num_devices, ids, lengths, total,
        (unsigned char *)all, status, &result, p->obj.id);
    free(all);
    if (binary_status && err == CL_SUCCESS) {
        memcpy(binary_status, status, num_devices * sizeof(status[0]));
    }
    return settle(p, err, result, errcode_ret);
}

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithBuiltInKernels(
    cl_context context, cl_uint num_devices, const cl_device_id *devices,
    const char *kernel_names, cl_int *errcode_ret)
{
    uint64_t ids[DEVICES_MAX];
    cl_program p;
    cl_int err;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    if (!num_devices || !devices || !kernel_names) {
        return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
    }
    err = device_ids(context, num_devices, devices, ids);
    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    p = program_create(context, num_devices, devices);
    if (!p) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    err = call_clCreateProgramWithBuiltInKernels(
        p->obj.session, context->obj.id, num_devices, ids, kernel_names,
        p->obj.id);
    return settle(p, err, CL_SUCCESS, errcode_ret);
}

/* --- intermediate languages ------------------------------------------------------- */

static bool takes_il(cl_context context)
{
    for (cl_uint i = 0; i < context->device_count; i++) {
        if (context->devices[i]->il) {
            return true;
        }
    }
    return false;
}

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithIL(cl_context context,
                                                          const void *il,
                                                          size_t length,
                                                          cl_int *errcode_ret)
{
    cl_program p;
    cl_int err;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    if (!takes_il(context)) {
        return cl_return(NULL, CL_INVALID_OPERATION, errcode_ret);
    }
    if (!il || !length) {
        return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
    }
    p = program_create(context, context->device_count, context->devices);
    if (!p) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    p->il = malloc(length);
    if (!p->il) {
        cl_object_undo(p);
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    output_expect(p->obj.session);
    memcpy(p->il, il, length);
    p->il_size = length;
    err = call_clCreateProgramWithIL(p->obj.session, context->obj.id, il,
                                     length, p->obj.id);
    return settle(p, err, CL_SUCCESS, errcode_ret);
}

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithILKHR(
    cl_context context, const void *il, size_t length, cl_int *errcode_ret)
{
    return clCreateProgramWithIL(context, il, length, errcode_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clSetProgramSpecializationConstant(
    cl_program program, cl_uint spec_id, size_t spec_size,
    const void *spec_value)
{
    if (!cl_live(program, OPENCL_cl_program) || !program->il) {
        return CL_INVALID_PROGRAM;
    }
    if (!spec_value || !spec_size || spec_size > 16) {
        return CL_INVALID_VALUE;
    }
    return call_clSetProgramSpecializationConstant(
        program->obj.session, program->obj.id, spec_id, spec_size, spec_value);
}

/* --- the host's compiler ---------------------------------------------------------- */

static cl_int build_on_host(struct session *s, uint64_t id, cl_uint num_devices,
                            const uint64_t *devices, const char *options)
{
    cl_int err;

    compile_begin(s);
    err = call_vclBuildProgram(s, id, num_devices, devices, options);
    compile_end(s);
    return err;
}

/* What clGetProgramInfo() is to ask the host. */
static cl_int ask_program(void *opaque, cl_uint name, size_t size, void *value,
                          size_t *size_ret)
{
    cl_program p = opaque;
    struct session *s = p->obj.session;
    bool compiles = name == CL_PROGRAM_BINARY_SIZES; /* pocl does, to know */
    cl_int err;

    if (compiles) {
        compile_begin(s);
    }
    err = call_clGetProgramInfo(s, p->obj.id, name, size, value, size_ret);
    if (compiles) {
        compile_end(s);
    }
    return err;
}

static cl_int get_binary(cl_program p, cl_uint device, size_t size,
                         unsigned char *binary)
{
    struct session *s = p->obj.session;
    size_t got;
    cl_int err;

    compile_begin(s);
    err = call_vclGetProgramBinary(s, p->obj.id, device, size, binary, &got);
    compile_end(s);
    return err;
}

/* --- kept binaries ---------------------------------------------------------------- */

static void drop_program(struct session *s, uint64_t id)
{
    call_clReleaseProgram(s, id);
    session_free_id(s, id);
}

/* Back to the host's program with the source. */
static void forget_binary(cl_program p)
{
    if (p->source_id) {
        drop_program(p->obj.session, p->obj.id);
        p->obj.id = p->source_id;
        p->source_id = 0;
    }
    free(p->log);
    p->log = NULL;
}

/* Makes host program @id of @build's binary, and builds it. */
static bool make_of_binary(cl_program p, uint64_t id, const struct build *build)
{
    struct session *s = p->obj.session;
    cl_int status = CL_SUCCESS, result = CL_SUCCESS;
    uint64_t device = p->devices[0]->obj.id;

    if (call_vclCreateProgramWithBinary(
            s, p->context->obj.id, 1, &device, &build->binary_size,
            build->binary_size, build->binary, &status, &result, id) !=
            CL_SUCCESS || result != CL_SUCCESS) {
        session_free_id(s, id); /* of another driver, say */
        return false;
    }
    if (build_on_host(s, id, 0, NULL, NULL) != CL_SUCCESS) {
        drop_program(s, id);
        return false;
    }
    return true;
}

/* Makes @p's program of what the same build came to before, if that is known. */
static bool use_binary(cl_program p, const char *options)
{
    struct build build;
    uint64_t id;
    char *log;
    bool good;

    if (!build_cache_find(p, options, &build)) {
        return false;
    }
    id = session_new_id(p->obj.session);
    log = strdup(build.log);
    good = id && log && make_of_binary(p, id, &build);
    build_cache_free(&build);
    if (!good) {
        free(log);
        return false;
    }
    p->source_id = p->obj.id;
    p->obj.id = id;
    p->log = log;
    return true;
}

/*
 * Not at once: what launches need, pocl compiles at the first one, and it is part of the
 * binary then. Besides, it makes the binary when it is asked for one, which takes longer
 * than the build.
 */
void program_keep(void *object)
{
    cl_program p = object;
    const char *options = p->options;
    size_t size = 0, log_size = 0;
    struct session *s = p->obj.session;
    uint64_t device = p->devices[0]->obj.id;
    unsigned char *binary = NULL;
    char *log = NULL;

    if (!p->unkept) {
        return;
    }
    p->unkept = false;
    if (!build_cache_takes(p, options) ||
        ask_program(p, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL) !=
            CL_SUCCESS ||
        call_clGetProgramBuildInfo(s, p->obj.id, device, CL_PROGRAM_BUILD_LOG,
                                   0, NULL, &log_size) != CL_SUCCESS ||
        !size) {
        return;
    }
    binary = malloc(size);
    log = calloc(1, log_size + 1);
    if (binary && log &&
        get_binary(p, 0, size, binary) == CL_SUCCESS &&
        call_clGetProgramBuildInfo(s, p->obj.id, device, CL_PROGRAM_BUILD_LOG,
                                   log_size, log, NULL) == CL_SUCCESS) {
        build_cache_keep(p, options, log, binary, size);
    }
    free(binary);
    free(log);
}

uint64_t program_source_id(cl_program p)
{
    if (!p->source_id) {
        return p->obj.id;
    }
    return build_on_host(p->obj.session, p->source_id, 0, NULL, p->options) ==
                   CL_SUCCESS ? p->source_id : 0;
}

/* --- counting --------------------------------------------------------------------- */

CL_API_ENTRY cl_int CL_API_CALL clRetainProgram(cl_program program)
{
    if (!cl_live(program, OPENCL_cl_program)) {
        return CL_INVALID_PROGRAM;
    }
    cl_object_retain(program);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseProgram(cl_program program)
{
    if (!cl_live(program, OPENCL_cl_program) || !cl_object_release(program)) {
        return CL_INVALID_PROGRAM;
    }
    return CL_SUCCESS;
}

void program_finish(void *object)
{
    cl_program p = object;

    callback_run(&p->destructors, p);
    info_cache_clear(&p->cache);
    free(p->devices);
    free(p->source);
    free(p->il);
    free(p->options);
    free(p->log);
    if (p->source_id) {
        drop_program(p->obj.session, p->source_id);
    }
    cl_object_unhold(p->context);
}

/* --- building ------------------------------------------------------------------- */

/* What clBuildProgram, clCompileProgram and clLinkProgram all check. */
static cl_int check_build(cl_program program, cl_uint n,
                          const cl_device_id *devices, bool notify,
                          const void *user_data, uint64_t *ids)
{
    if (!cl_live(program, OPENCL_cl_program)) {
        return CL_INVALID_PROGRAM;
    }
    if (!n != !devices || (!notify && user_data)) {
        return CL_INVALID_VALUE;
    }
    if (program->kernels) {
        return CL_INVALID_OPERATION;
    }
    return devices ? device_ids(program->context, n, devices, ids)
                   : CL_SUCCESS;
}

/* Whether @word is among @options. */
static bool has_option(const char *options, const char *word)
{
    size_t length = strlen(word);

    for (const char *p = options; (p = strstr(p, word)); p += length) {
        if ((p == options || p[-1] == ' ') && (!p[length] || p[length] == ' ')) {
            return true;
        }
    }
    return false;
}

/*
 * The options the program gave, for clGetProgramBuildInfo, and for what the worker
 * gets from the host's compiler in any case but the program only if it asked for it.
 */
static void remember_options(cl_program program, const char *options)
{
    char *copy = options ? strdup(options) : NULL, *old;

    pthread_mutex_lock(&cl_object_lock);
    old = program->options;
    program->options = copy;
    /* No options at all mean the host's own, and pocl's have it among them. */
    program->no_arg_info = options && !has_option(options, "-cl-kernel-arg-info");
    pthread_mutex_unlock(&cl_object_lock);
    free(old);
}

CL_API_ENTRY cl_int CL_API_CALL clBuildProgram(
    cl_program program, cl_uint num_devices, const cl_device_id *devices,
    const char *options,
    void(CL_CALLBACK *pfn_notify)(cl_program program, void *user_data),
    void *user_data)
{
    uint64_t ids[DEVICES_MAX];
    char *sent = NULL;
    cl_int err = check_build(program, num_devices, devices, pfn_notify,
                             user_data, ids);

    if (err != CL_SUCCESS) {
        return err;
    }
    program_keep(program);
    remember_options(program, options);
    forget_binary(program);
    if (!use_binary(program, options)) {
        err = includes_send(program->obj.session, program->source, options,
                            &sent);
        if (err == CL_SUCCESS) {
            err = build_on_host(program->obj.session, program->obj.id,
                                num_devices, devices ? ids : NULL, sent);
        }
        program->unkept = err == CL_SUCCESS;
        free(sent);
    }
    info_cache_clear(&program->cache);
    if (pfn_notify) {
        pfn_notify(program, user_data);
    }
    return err;
}

/* The names of the headers one after the other, each with its NUL. */
static char *join_names(cl_uint n, const char **names, size_t *size)
{
    char *all, *to;

    *size = 0;
    for (cl_uint i = 0; i < n; i++) {
        *size += strlen(names[i]) + 1;
    }
    all = to = malloc(*size + 1);
    for (cl_uint i = 0; all && i < n; i++) {
        to = stpcpy(to, names[i]) + 1;
    }
    return all;
}

static cl_int program_ids(cl_uint n, const cl_program *programs, uint64_t *ids)
{
    for (cl_uint i = 0; i < n; i++) {
        ids[i] = cl_id_of(programs[i], OPENCL_cl_program);
        if (!ids[i]) {
            return CL_INVALID_PROGRAM;
        }
    }
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clCompileProgram(
    cl_program program, cl_uint num_devices, const cl_device_id *devices,
    const char *options, cl_uint num_headers, const cl_program *headers,
    const char **names,
    void(CL_CALLBACK *pfn_notify)(cl_program program, void *user_data),
    void *user_data)
{
    uint64_t ids[DEVICES_MAX], *header_ids;
    char *all_names = NULL, *sent = NULL;
    size_t names_size = 0;
    cl_int err = check_build(program, num_devices, devices, pfn_notify,
                             user_data, ids);

    if (err != CL_SUCCESS) {
        return err;
    }
    if (!num_headers != !headers || !num_headers != !names) {
        return CL_INVALID_VALUE;
    }
    header_ids = calloc(num_headers + 1, sizeof(ids[0]));
    all_names = join_names(num_headers, names, &names_size);
    if (!header_ids || !all_names) {
        err = CL_OUT_OF_HOST_MEMORY;
    } else {
        err = program_ids(num_headers, headers, header_ids);
    }
    if (err == CL_SUCCESS) {
        program_keep(program);
        remember_options(program, options);
        forget_binary(program);
        err = includes_send(program->obj.session, program->source, options,
                            &sent);
    }
    if (err == CL_SUCCESS) {
        compile_begin(program->obj.session);
        err = call_vclCompileProgram(
            program->obj.session, program->obj.id, num_devices,
            devices ? ids : NULL, sent, num_headers,
            num_headers ? header_ids : NULL, names_size,
            num_headers ? all_names : NULL);
        compile_end(program->obj.session);
    }
    free(sent);
    free(all_names);
    free(header_ids);
    info_cache_clear(&program->cache);
    if (pfn_notify) {
        pfn_notify(program, user_data);
    }
    return err;
}

CL_API_ENTRY cl_program CL_API_CALL clLinkProgram(
    cl_context context, cl_uint num_devices, const cl_device_id *devices,
    const char *options, cl_uint num_programs, const cl_program *programs,
    void(CL_CALLBACK *pfn_notify)(cl_program program, void *user_data),
    void *user_data, cl_int *errcode_ret)
{
    uint64_t ids[DEVICES_MAX], *inputs;
    cl_int err = CL_SUCCESS, result = CL_SUCCESS;
    cl_program p;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    if (!num_programs || !programs || !num_devices != !devices ||
        (!pfn_notify && user_data)) {
        return cl_return(NULL, CL_INVALID_VALUE, errcode_ret);
    }
    if (devices) {
        err = device_ids(context, num_devices, devices, ids);
    }
    if (err != CL_SUCCESS) {
        return cl_return(NULL, err, errcode_ret);
    }
    inputs = calloc(num_programs, sizeof(inputs[0]));
    p = program_create(context, devices ? num_devices : context->device_count,
                       devices ? devices : context->devices);
    err = inputs && p ? program_ids(num_programs, programs, inputs)
                      : CL_OUT_OF_HOST_MEMORY;
    if (err == CL_SUCCESS) {
        remember_options(p, options);
        compile_begin(p->obj.session);
        err = call_vclLinkProgram(p->obj.session, context->obj.id, num_devices,
                                  devices ? ids : NULL, options, num_programs,
                                  inputs, &result, p->obj.id);
        compile_end(p->obj.session);
    }
    free(inputs);
    if (err != CL_SUCCESS) {
        if (p) {
            cl_object_undo(p);
        }
        return cl_return(NULL, err, errcode_ret);
    }
    if (pfn_notify) {
        pfn_notify(p, user_data);
    }
    /* A program that failed to link has a log to be read. */
    if (errcode_ret) {
        *errcode_ret = result;
    }
    return p;
}

/* Compilers are the host's. */
CL_API_ENTRY cl_int CL_API_CALL clUnloadCompiler(void)
{
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clUnloadPlatformCompiler(cl_platform_id p)
{
    return cl_session() && cl_live(p, OPENCL_cl_platform_id)
               ? CL_SUCCESS : CL_INVALID_PLATFORM;
}

/* --- information ------------------------------------------------------------------ */

/* CL_PROGRAM_BINARIES: into the memory that the program's list points to. */
static cl_int get_binaries(cl_program p, const struct info_out *out)
{
    unsigned char **list = out->value;
    size_t sizes[DEVICES_MAX], need = p->device_count * sizeof(*list);
    cl_int err = CL_SUCCESS;

    if (out->size_ret) {
        *out->size_ret = need;
    }
    if (!list) {
        return CL_SUCCESS;
    }
    if (out->size < need) {
        return CL_INVALID_VALUE;
    }
    err = ask_program(p, CL_PROGRAM_BINARY_SIZES,
                      p->device_count * sizeof(sizes[0]), sizes, NULL);
    for (cl_uint i = 0; i < p->device_count && err == CL_SUCCESS; i++) {
        if (list[i] && sizes[i]) {
            err = get_binary(p, i, sizes[i], list[i]);
        }
    }
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clGetProgramInfo(cl_program program,
                                                 cl_program_info param_name,
                                                 size_t param_value_size,
                                                 void *param_value,
                                                 size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    const void *value;
    size_t size;
    cl_int err;

    if (!cl_live(program, OPENCL_cl_program)) {
        return CL_INVALID_PROGRAM;
    }
    switch (param_name) {
    case CL_PROGRAM_REFERENCE_COUNT:
        return info_value(&out, cl_uint, cl_object_refs(program));
    case CL_PROGRAM_CONTEXT:
        return info_value(&out, cl_context, program->context);
    case CL_PROGRAM_NUM_DEVICES:
        return info_value(&out, cl_uint, program->device_count);
    case CL_PROGRAM_DEVICES:
        return info_bytes(&out, program->devices,
                          program->device_count * sizeof(cl_device_id));
    case CL_PROGRAM_SOURCE:
        return info_string(&out, program->source ? program->source : "");
    case CL_PROGRAM_BINARIES:
        return get_binaries(program, &out);
    case CL_PROGRAM_IL:
        return info_bytes(&out, program->il, program->il_size);
    }
    err = info_cached(program->obj.session, &program->cache, param_name, 0,
                      ask_program, program, &value, &size);
    return err != CL_SUCCESS ? err : info_bytes(&out, value, size);
}

CL_API_ENTRY cl_int CL_API_CALL clGetProgramBuildInfo(
    cl_program program, cl_device_id device, cl_program_build_info param_name,
    size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    cl_int err;

    if (!cl_live(program, OPENCL_cl_program)) {
        return CL_INVALID_PROGRAM;
    }
    if (!cl_live(device, OPENCL_cl_device_id)) {
        return CL_INVALID_DEVICE;
    }
    if (param_name == CL_PROGRAM_BUILD_LOG && program->log) {
        return info_string(&out, program->log);
    }
    if (param_name != CL_PROGRAM_BUILD_OPTIONS) {
        return call_clGetProgramBuildInfo(
            program->obj.session, program->obj.id, device->obj.id, param_name,
            param_value_size, param_value, param_value_size_ret);
    }
    pthread_mutex_lock(&cl_object_lock);
    err = info_string(&out, program->options ? program->options : "");
    pthread_mutex_unlock(&cl_object_lock);
    return err;
}
