/*
 * Pipes. Where the host's OpenCL has none, a layer of its ICD loader stands in
 * (pipe-layer.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#define PACKETS 16

static const char source[] =
    "kernel void put(write_only pipe int to, global int *from) {"
    " int i = get_global_id(0), value = from[i];"
    " from[i] = write_pipe(to, &value); }\n"
    "kernel void get(read_only pipe int from, global int *to) {"
    " int value = 0, left = read_pipe(from, &value);"
    " to[get_global_id(0)] = left ? -1 : value; }\n";

/* What an argument takes is known to the layer by its type's name. */
#define OPTIONS "-cl-std=CL3.0 -cl-kernel-arg-info"

static cl_mem pipe_of(cl_mem_flags flags, cl_uint packet_size, cl_uint packets)
{
    cl_int err;
    cl_mem pipe = clCreatePipe(rig.context, flags, packet_size, packets, NULL,
                               &err);

    ok(err);
    assert_non_null(pipe);
    return pipe;
}

static cl_kernel kernel(const char *name)
{
    cl_program p = build(source, OPTIONS);
    cl_kernel k = clCreateKernel(p, name, NULL);

    assert_non_null(k);
    ok(clReleaseProgram(p));
    return k;
}

static void set_args(cl_kernel k, cl_mem pipe, cl_mem buffer)
{
    ok(clSetKernelArg(k, 0, sizeof(pipe), &pipe));
    ok(clSetKernelArg(k, 1, sizeof(buffer), &buffer));
}

static void run(cl_kernel k, size_t items)
{
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &items, NULL, 0, NULL,
                              NULL));
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* --- what they are ------------------------------------------------------------- */

static void devices_say_what_pipes_they_have(void **state)
{
    cl_uint args = 0, reservations = 0, packet = 0;
    cl_bool support = CL_FALSE;
    size_t size = 0;
    cl_int err;

    /* Before OpenCL 3.0 there was no need to ask. */
    err = clGetDeviceInfo(rig.device, CL_DEVICE_PIPE_SUPPORT, sizeof(support),
                          &support, &size);
    if (err != CL_INVALID_VALUE) {
        ok(err);
        assert_int_equal(size, sizeof(support));
        assert_int_equal(support, CL_TRUE);
    }
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_MAX_PIPE_ARGS, sizeof(args), &args,
                       NULL));
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS,
                       sizeof(reservations), &reservations, NULL));
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_PIPE_MAX_PACKET_SIZE,
                       sizeof(packet), &packet, NULL));
    assert_true(args >= 16);
    assert_true(reservations >= 1);
    assert_true(packet >= 1024);
}

static void they_know_what_they_were_made_with(void **state)
{
    cl_mem pipe = pipe_of(0, 24, 100), parent = pipe;
    cl_mem_object_type type = 0;
    cl_context context = NULL;
    cl_uint number = 0;
    void *ptr = pipe;
    size_t size = 0;

    ok(clGetPipeInfo(pipe, CL_PIPE_PACKET_SIZE, sizeof(number), &number,
                     &size));
    assert_int_equal(number, 24);
    assert_int_equal(size, sizeof(number));
    ok(clGetPipeInfo(pipe, CL_PIPE_MAX_PACKETS, sizeof(number), &number, NULL));
    assert_int_equal(number, 100);
    ok(clGetPipeInfo(pipe, CL_PIPE_PROPERTIES, 0, NULL, &size));
    assert_int_equal(size, 0);
    assert_int_equal(clGetPipeInfo(pipe, CL_PIPE_PACKET_SIZE, 3, &number, NULL),
                     CL_INVALID_VALUE);
    assert_int_equal(clGetPipeInfo(pipe, CL_MEM_SIZE, sizeof(number), &number,
                                   NULL), CL_INVALID_VALUE);

    ok(clGetMemObjectInfo(pipe, CL_MEM_TYPE, sizeof(type), &type, NULL));
    assert_int_equal(type, CL_MEM_OBJECT_PIPE);
    ok(clGetMemObjectInfo(pipe, CL_MEM_SIZE, sizeof(size), &size, NULL));
    assert_true(size >= 24 * 100);
    ok(clGetMemObjectInfo(pipe, CL_MEM_CONTEXT, sizeof(context), &context,
                          NULL));
    assert_ptr_equal(context, rig.context);
    ok(clGetMemObjectInfo(pipe, CL_MEM_HOST_PTR, sizeof(ptr), &ptr, NULL));
    assert_null(ptr);
    ok(clGetMemObjectInfo(pipe, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(parent),
                          &parent, NULL));
    assert_null(parent);
    ok(clGetMemObjectInfo(pipe, CL_MEM_MAP_COUNT, sizeof(number), &number,
                          NULL));
    assert_int_equal(number, 0);
    ok(clReleaseMemObject(pipe));
}

static void flags_are_those_given_or_the_default(void **state)
{
    const cl_mem_flags both = CL_MEM_READ_WRITE | CL_MEM_HOST_NO_ACCESS;
    const cl_mem_flags given[] = { 0, CL_MEM_READ_WRITE, both };
    const cl_mem_flags expected[] = { both, CL_MEM_READ_WRITE, both };

    for (int i = 0; i < 3; i++) {
        cl_mem pipe = pipe_of(given[i], 4, 4);
        cl_mem_flags flags = 0;

        ok(clGetMemObjectInfo(pipe, CL_MEM_FLAGS, sizeof(flags), &flags, NULL));
        assert_int_equal(flags, expected[i]);
        ok(clReleaseMemObject(pipe));
    }
    ok(clReleaseMemObject(pipe_of(CL_MEM_HOST_NO_ACCESS, 4, 4)));
}

static void called_at_the_end(cl_mem m, void *user_data)
{
    ++*(int *)user_data;
}

static void they_are_counted(void **state)
{
    cl_mem pipe = pipe_of(0, 4, 4);
    cl_uint refs = 0;
    int calls = 0;

    ok(clSetMemObjectDestructorCallback(pipe, called_at_the_end, &calls));
    ok(clRetainMemObject(pipe));
    ok(clGetMemObjectInfo(pipe, CL_MEM_REFERENCE_COUNT, sizeof(refs), &refs,
                          NULL));
    assert_int_equal(refs, 2);
    ok(clReleaseMemObject(pipe));
    assert_int_equal(calls, 0);
    ok(clReleaseMemObject(pipe));
    ok(clFinish(rig.queue));
    assert_int_equal(calls, 1);
    if (is_remote()) {
        assert_int_equal(clGetPipeInfo(pipe, CL_PIPE_MAX_PACKETS, 0, NULL,
                                       NULL), CL_INVALID_MEM_OBJECT);
    }
}

/* --- what they do ---------------------------------------------------------------- */

static void what_is_put_in_comes_out(void **state)
{
    enum { ITEMS = 1000 };
    cl_kernel put = kernel("put"), get = kernel("get");
    cl_mem pipe = pipe_of(0, sizeof(int), ITEMS), from, to;
    static int data[ITEMS], got[ITEMS];

    for (int i = 0; i < ITEMS; i++) {
        data[i] = i * 3;
    }
    from = buffer_of(0, sizeof(data), data);
    to = buffer_of(0, sizeof(got), NULL);
    set_args(put, pipe, from);
    set_args(get, pipe, to);
    /* Twice around, and the second pipe behind the same arguments. */
    for (int round = 0; round < 3; round++) {
        ok(clEnqueueWriteBuffer(rig.queue, from, CL_TRUE, 0, sizeof(data), data,
                                0, NULL, NULL));
        run(put, ITEMS);
        run(get, ITEMS);
        ok(clEnqueueReadBuffer(rig.queue, to, CL_TRUE, 0, sizeof(got), got, 0,
                               NULL, NULL));
        qsort(got, ITEMS, sizeof(got[0]), compare);
        assert_memory_equal(got, data, sizeof(data));
        if (round == 1) {
            ok(clReleaseMemObject(pipe));
            pipe = pipe_of(0, sizeof(int), ITEMS);
            set_args(put, pipe, from);
            set_args(get, pipe, to);
        }
    }
    ok(clReleaseMemObject(pipe));
    ok(clReleaseMemObject(from));
    ok(clReleaseMemObject(to));
    ok(clReleaseKernel(put));
    ok(clReleaseKernel(get));
}

static void a_full_pipe_takes_no_more_and_an_empty_one_gives_none(void **state)
{
    cl_kernel put = kernel("put"), get = kernel("get");
    cl_mem pipe = pipe_of(0, sizeof(int), PACKETS);
    int data[PACKETS + 4] = { 0 }, refused = 0, none = 0;
    cl_mem buffer = buffer_of(0, sizeof(data), data);

    set_args(put, pipe, buffer);
    set_args(get, pipe, buffer);
    run(put, PACKETS + 4);
    ok(clEnqueueReadBuffer(rig.queue, buffer, CL_TRUE, 0, sizeof(data), data, 0,
                           NULL, NULL));
    for (int i = 0; i < PACKETS + 4; i++) {
        refused += data[i] != 0;
    }
    run(get, PACKETS + 4);
    /* Commands that are queued keep what they use. */
    ok(clReleaseMemObject(pipe));
    ok(clReleaseKernel(put));
    ok(clReleaseKernel(get));
    ok(clEnqueueReadBuffer(rig.queue, buffer, CL_TRUE, 0, sizeof(data), data, 0,
                           NULL, NULL));
    for (int i = 0; i < PACKETS + 4; i++) {
        none += data[i] != 0;
    }
    assert_int_equal(refused, 4);
    assert_int_equal(none, 4);
    ok(clReleaseMemObject(buffer));
}

/* Also of a program whose source nobody sees. */
static void arguments_are_known_for_pipes(void **state)
{
    cl_program p = build(source, OPTIONS), q;
    cl_kernel k = clCreateKernel(p, "get", NULL);
    cl_mem pipe = pipe_of(0, sizeof(int), PACKETS);
    cl_mem buffer = buffer_of(0, sizeof(int), NULL);
    cl_kernel_arg_access_qualifier access = 0;
    cl_kernel_arg_type_qualifier type = 0;
    unsigned char *binary;
    const int none = -1;
    size_t size = 0;
    cl_int err;

    assert_non_null(k);
    ok(clGetKernelArgInfo(k, 0, CL_KERNEL_ARG_TYPE_QUALIFIER, sizeof(type),
                          &type, NULL));
    assert_true(type & CL_KERNEL_ARG_TYPE_PIPE);
    ok(clGetKernelArgInfo(k, 0, CL_KERNEL_ARG_ACCESS_QUALIFIER, sizeof(access),
                          &access, NULL));
    assert_int_equal(access, CL_KERNEL_ARG_ACCESS_READ_ONLY);
    ok(clReleaseKernel(k));
    ok(clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL));
    binary = malloc(size);
    assert_non_null(binary);
    ok(clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof(binary), &binary, NULL));
    ok(clReleaseProgram(p));
    q = clCreateProgramWithBinary(rig.context, 1, &rig.device, &size,
                                  (const unsigned char **)&binary, NULL, &err);
    ok(err);
    ok(clBuildProgram(q, 0, NULL, NULL, NULL, NULL));
    k = clCreateKernel(q, "get", NULL);
    assert_non_null(k);
    set_args(k, pipe, buffer);
    run(k, 1);
    expect_bytes(buffer, 0, sizeof(none), &none);
    ok(clReleaseKernel(k));
    ok(clReleaseProgram(q));
    ok(clReleaseMemObject(pipe));
    ok(clReleaseMemObject(buffer));
    free(binary);
}

/* --- mistakes ------------------------------------------------------------------- */

static void impossible(cl_context context, cl_mem_flags flags,
                       cl_uint packet_size, cl_uint packets,
                       const cl_pipe_properties *properties, cl_int expected)
{
    cl_int err = CL_SUCCESS;

    assert_null(clCreatePipe(context, flags, packet_size, packets, properties,
                             &err));
    assert_int_equal(err, expected);
    assert_null(clCreatePipe(context, flags, packet_size, packets, properties,
                             NULL));
}

static void impossible_pipes_are_refused(void **state)
{
    const cl_pipe_properties none[] = { 0 }, some[] = { 0x1234, 1, 0 };
    const cl_mem_flags wrong[] = {
        CL_MEM_READ_ONLY, CL_MEM_WRITE_ONLY, CL_MEM_USE_HOST_PTR,
        CL_MEM_ALLOC_HOST_PTR, CL_MEM_COPY_HOST_PTR, CL_MEM_HOST_READ_ONLY,
        CL_MEM_HOST_WRITE_ONLY, 1ull << 40,
    };
    cl_uint most = 0;

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_PIPE_MAX_PACKET_SIZE, sizeof(most),
                       &most, NULL));
    impossible(NULL, 0, 4, 4, NULL, CL_INVALID_CONTEXT);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        impossible(rig.context, wrong[i], 4, 4, NULL, CL_INVALID_VALUE);
    }
    /* There are none yet, and so not even an empty list of them. */
    impossible(rig.context, 0, 4, 4, none, CL_INVALID_VALUE);
    impossible(rig.context, 0, 4, 4, some, CL_INVALID_VALUE);
    impossible(rig.context, 0, 0, 4, NULL, CL_INVALID_PIPE_SIZE);
    impossible(rig.context, 0, 4, 0, NULL, CL_INVALID_PIPE_SIZE);
    impossible(rig.context, 0, most + 1, 4, NULL, CL_INVALID_PIPE_SIZE);
    impossible(rig.context, 0, UINT32_MAX, 1, NULL, CL_INVALID_PIPE_SIZE);
    impossible(rig.context, 0, most, UINT32_MAX, NULL,
               CL_MEM_OBJECT_ALLOCATION_FAILURE);
    ok(clReleaseMemObject(pipe_of(0, most, 1)));
}

static void arguments_take_pipes_where_they_are_wanted_and_nowhere_else(
    void **state)
{
    cl_kernel k = kernel("get");
    cl_mem pipe = pipe_of(0, sizeof(int), PACKETS), none = NULL;
    cl_mem buffer = buffer_of(0, sizeof(int), NULL);
    const int empty = -1;

    for (int i = 0; i < 2; i++) {
        /* Before an argument was accepted, and after. */
        assert_int_not_equal(clSetKernelArg(k, 0, sizeof(buffer), &buffer),
                             CL_SUCCESS);
        assert_int_not_equal(clSetKernelArg(k, 0, sizeof(none), &none),
                             CL_SUCCESS);
        assert_int_not_equal(clSetKernelArg(k, 0, sizeof(none), NULL),
                             CL_SUCCESS);
        assert_int_equal(clSetKernelArg(k, 0, 4, &pipe), CL_INVALID_ARG_SIZE);
        assert_int_not_equal(clSetKernelArg(k, 1, sizeof(pipe), &pipe),
                             CL_SUCCESS);
        if (i == 0) {
            set_args(k, pipe, buffer);
        }
    }
    run(k, 1);
    expect_bytes(buffer, 0, sizeof(empty), &empty);
    ok(clReleaseMemObject(pipe));
    ok(clReleaseMemObject(buffer));
    ok(clReleaseKernel(k));
}

/* Natively they are buffers in disguise, and taken for such. */
static void a_pipe_is_no_other_object(void **state)
{
    const size_t origin[3] = { 0 }, region[3] = { 1, 1, 1 };
    const cl_image_format format = { CL_RGBA, CL_UNSIGNED_INT8 };
    const cl_buffer_region part = { 0, 4 };
    cl_mem pipe, buffer = buffer_of(0, 64, NULL);
    cl_image_desc desc = { .image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER,
                           .image_width = 1 };
    cl_int err = CL_SUCCESS, data = 0;
    size_t size;

    assert_int_equal(clGetPipeInfo(buffer, CL_PIPE_MAX_PACKETS, 0, NULL, &size),
                     CL_INVALID_MEM_OBJECT);
    assert_int_equal(clGetPipeInfo(NULL, CL_PIPE_MAX_PACKETS, 0, NULL, &size),
                     CL_INVALID_MEM_OBJECT);
    if (!is_remote()) {
        ok(clReleaseMemObject(buffer));
        return;
    }
    pipe = desc.mem_object = pipe_of(CL_MEM_READ_WRITE, 16, 16);
    assert_int_equal(clEnqueueReadBuffer(rig.queue, pipe, CL_TRUE, 0, 4, &data,
                                         0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    assert_int_equal(clEnqueueWriteBuffer(rig.queue, pipe, CL_TRUE, 0, 4, &data,
                                          0, NULL, NULL),
                     CL_INVALID_MEM_OBJECT);
    assert_int_equal(clEnqueueFillBuffer(rig.queue, pipe, &data, 4, 0, 4, 0,
                                         NULL, NULL), CL_INVALID_MEM_OBJECT);
    assert_int_equal(clEnqueueCopyBuffer(rig.queue, pipe, buffer, 0, 0, 4, 0,
                                         NULL, NULL), CL_INVALID_MEM_OBJECT);
    assert_int_equal(clEnqueueCopyBuffer(rig.queue, buffer, pipe, 0, 0, 4, 0,
                                         NULL, NULL), CL_INVALID_MEM_OBJECT);
    assert_int_equal(clEnqueueReadImage(rig.queue, pipe, CL_TRUE, origin,
                                        region, 0, 0, &data, 0, NULL, NULL),
                     CL_INVALID_MEM_OBJECT);
    assert_null(clEnqueueMapBuffer(rig.queue, pipe, CL_TRUE, CL_MAP_READ, 0, 4,
                                   0, NULL, NULL, &err));
    assert_int_equal(err, CL_INVALID_MEM_OBJECT);
    assert_null(clCreateSubBuffer(pipe, 0, CL_BUFFER_CREATE_TYPE_REGION, &part,
                                  &err));
    assert_int_equal(err, CL_INVALID_MEM_OBJECT);
    assert_int_equal(clGetImageInfo(pipe, CL_IMAGE_WIDTH, 0, NULL, &size),
                     CL_INVALID_MEM_OBJECT);
    assert_null(clCreateImage(rig.context, 0, &format, &desc, NULL, &err));
    assert_int_equal(err, CL_INVALID_IMAGE_DESCRIPTOR);
    ok(clEnqueueMigrateMemObjects(rig.queue, 1, &pipe,
                                  CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED, 0,
                                  NULL, NULL));
    ok(clFinish(rig.queue));
    ok(clReleaseMemObject(pipe));
    ok(clReleaseMemObject(buffer));
}

static void no_address_becomes_a_pipe(void **state)
{
    cl_kernel k = kernel("get");
    void *p = clSVMAlloc(rig.context, CL_MEM_READ_WRITE, 4096, 0);

    assert_non_null(p);
    if (is_remote()) { /* pocl itself does not look */
        assert_int_equal(clSetKernelArgSVMPointer(k, 0, p),
                         CL_INVALID_ARG_VALUE);
    }
    ok(clSetKernelArgSVMPointer(k, 1, p));
    clSVMFree(rig.context, p);
    ok(clReleaseKernel(k));
}

/* As many as fit a server that was started with --memory 160M, again and again. */
static void they_are_part_of_what_the_client_may_have(void **state)
{
    enum { MOST = 16 };
    cl_mem pipes[MOST];
    cl_int err = CL_SUCCESS;

    for (int round = 0; is_remote() && round < 3; round++) {
        int n = 0;

        for (; n < MOST; n++) {
            pipes[n] = clCreatePipe(rig.context, 0, 1024, 15 << 10, NULL, &err);
            if (!pipes[n]) {
                break;
            }
        }
        assert_in_range(n, 4, MOST - 1);
        assert_int_equal(err, CL_MEM_OBJECT_ALLOCATION_FAILURE);
        while (n) {
            ok(clReleaseMemObject(pipes[--n]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_say_what_pipes_they_have),
        cmocka_unit_test(they_know_what_they_were_made_with),
        cmocka_unit_test(flags_are_those_given_or_the_default),
        cmocka_unit_test(they_are_counted),
        cmocka_unit_test(what_is_put_in_comes_out),
        cmocka_unit_test(a_full_pipe_takes_no_more_and_an_empty_one_gives_none),
        cmocka_unit_test(arguments_are_known_for_pipes),
        cmocka_unit_test(impossible_pipes_are_refused),
        cmocka_unit_test(
            arguments_take_pipes_where_they_are_wanted_and_nowhere_else),
        cmocka_unit_test(a_pipe_is_no_other_object),
        cmocka_unit_test(no_address_becomes_a_pipe),
        cmocka_unit_test(they_are_part_of_what_the_client_may_have),
    };

    return cmocka_run_group_tests(tests, rig_up, rig_down);
}
