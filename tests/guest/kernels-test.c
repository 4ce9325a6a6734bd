/*
 * Programs and kernels: built, linked, launched, and their results.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <unistd.h>

static void sums_are_right(void **state)
{
    const char *source =
        "kernel void add(global const float *a, global const float *b,"
        " global float *c, float k) { size_t i = get_global_id(0);"
        " c[i] = a[i] + b[i] * k; }";
    enum { N = 10000 };
    static float a[N], b[N], c[N];
    cl_kernel kernel = kernel_of(source, "add");
    const size_t n = N;
    float k = 3;
    cl_mem m[3];

    for (int i = 0; i < N; i++) {
        a[i] = (float)i;
        b[i] = (float)(i % 17);
    }
    m[0] = buffer_of(CL_MEM_READ_ONLY, sizeof(a), a);
    m[1] = buffer_of(CL_MEM_READ_ONLY, sizeof(b), b);
    m[2] = buffer_of(CL_MEM_WRITE_ONLY, sizeof(c), NULL);
    for (cl_uint i = 0; i < 3; i++) {
        ok(clSetKernelArg(kernel, i, sizeof(cl_mem), &m[i]));
    }
    /* Set again and again: each launch takes what was set before it. */
    for (int round = 0; round < 20; round++) {
        k = (float)round;
        ok(clSetKernelArg(kernel, 3, sizeof(k), &k));
        ok(clEnqueueNDRangeKernel(rig.queue, kernel, 1, NULL, &n, NULL, 0,
                                  NULL, NULL));
    }
    ok(clEnqueueReadBuffer(rig.queue, m[2], CL_TRUE, 0, sizeof(c), c, 0, NULL,
                           NULL));
    for (int i = 0; i < N; i++) {
        assert_true(c[i] == a[i] + b[i] * 19);
    }
    for (int i = 0; i < 3; i++) {
        ok(clReleaseMemObject(m[i]));
    }
    ok(clReleaseKernel(kernel));
}

static void local_memory_and_groups(void **state)
{
    const char *source =
        "kernel void f(global uint *out, local uint *t) {"
        " uint l = get_local_id(0); t[l] = get_global_id(0);"
        " barrier(CLK_LOCAL_MEM_FENCE);"
        " uint s = 0; for (uint i = 0; i < get_local_size(0); i++) s += t[i];"
        " out[get_global_id(0)] = s; }";
    cl_kernel k = kernel_of(source, "f");
    const size_t n = 256, group = 16;
    cl_mem m = buffer_of(0, n * 4, NULL);
    cl_uint out[256];

    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clSetKernelArg(k, 1, group * 4, NULL));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &n, &group, 0, NULL,
                              NULL));
    ok(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, sizeof(out), out, 0, NULL,
                           NULL));
    for (cl_uint i = 0; i < n; i++) {
        cl_uint first = i / 16 * 16;

        assert_int_equal(out[i], 16 * first + 120);
    }
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
}

static void offsets_and_three_dimensions(void **state)
{
    const char *source =
        "kernel void f(global int *out) {"
        " out[get_global_id(0) + 8 * get_global_id(1) + 64 *"
        " get_global_id(2)] = 1 + get_global_id(0); }";
    const size_t offset[3] = { 2, 1, 3 }, size[3] = { 4, 3, 2 };
    cl_kernel k = kernel_of(source, "f");
    int out[512], zero = 0;
    cl_mem m = buffer_of(0, sizeof(out), NULL);

    ok(clEnqueueFillBuffer(rig.queue, m, &zero, 4, 0, sizeof(out), 0, NULL,
                           NULL));
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 3, offset, size, NULL, 0, NULL,
                              NULL));
    ok(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, sizeof(out), out, 0, NULL,
                           NULL));
    for (size_t i = 0; i < 512; i++) {
        size_t x = i % 8, y = i / 8 % 8, z = i / 64;
        int in = x >= 2 && x < 6 && y >= 1 && y < 4 && z >= 3 && z < 5;

        assert_int_equal(out[i], in ? 1 + (int)x : 0);
    }
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
}

static void a_failed_build_has_a_log(void **state)
{
    const char *source = "kernel void f(global int *a) { no_such_thing(a); }";
    cl_program p = clCreateProgramWithSource(rig.context, 1, &source, NULL,
                                             NULL);
    cl_build_status status;
    char log[16384] = "";
    cl_int err;

    assert_int_equal(clBuildProgram(p, 0, NULL, "", NULL, NULL),
                     CL_BUILD_PROGRAM_FAILURE);
    ok(clGetProgramBuildInfo(p, rig.device, CL_PROGRAM_BUILD_STATUS,
                             sizeof(status), &status, NULL));
    assert_int_equal(status, CL_BUILD_ERROR);
    ok(clGetProgramBuildInfo(p, rig.device, CL_PROGRAM_BUILD_LOG, sizeof(log),
                             log, NULL));
    assert_non_null(strstr(log, "no_such_thing"));
    assert_null(clCreateKernel(p, "f", &err));
    assert_int_equal(err, CL_INVALID_PROGRAM_EXECUTABLE);
    ok(clReleaseProgram(p));
}

static void options_and_info(void **state)
{
    const char *source = "kernel void f(global int *a, int b) { *a = VALUE; }"
                         "kernel void g(global int *a) { *a = 1; }";
    cl_program p = build(source, "-DVALUE=42 -cl-kernel-arg-info");
    cl_kernel k = clCreateKernel(p, "f", NULL), both[2];
    const size_t one = 1;
    char text[256];
    size_t size, n;
    cl_uint count;
    int value = 0;
    cl_mem m = buffer_of(0, 4, NULL);

    ok(clGetProgramBuildInfo(p, rig.device, CL_PROGRAM_BUILD_OPTIONS,
                             sizeof(text), text, NULL));
    assert_string_equal(text, "-DVALUE=42 -cl-kernel-arg-info");
    ok(clGetProgramInfo(p, CL_PROGRAM_SOURCE, 0, NULL, &size));
    assert_int_equal(size, strlen(source) + 1);
    ok(clGetProgramInfo(p, CL_PROGRAM_NUM_KERNELS, sizeof(n), &n, NULL));
    assert_int_equal(n, 2);
    ok(clGetKernelInfo(k, CL_KERNEL_FUNCTION_NAME, sizeof(text), text, NULL));
    assert_string_equal(text, "f");
    ok(clGetKernelInfo(k, CL_KERNEL_NUM_ARGS, sizeof(count), &count, NULL));
    assert_int_equal(count, 2);
    ok(clGetKernelArgInfo(k, 1, CL_KERNEL_ARG_NAME, sizeof(text), text, NULL));
    assert_string_equal(text, "b");
    assert_int_equal(clGetKernelInfo(k, CL_KERNEL_FUNCTION_NAME, 1, text,
                                     NULL), CL_INVALID_VALUE);
    ok(clCreateKernelsInProgram(p, 2, both, &count));
    assert_int_equal(count, 2);
    ok(clReleaseKernel(both[0]));
    ok(clReleaseKernel(both[1]));
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clSetKernelArg(k, 1, sizeof(value), &value));
    ok(clEnqueueTask(rig.queue, k, 0, NULL, NULL));
    value = 42;
    expect_bytes(m, 0, 4, &value);
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, &one, 0, NULL,
                              NULL));
    ok(clFinish(rig.queue));
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
    ok(clReleaseProgram(p));
}

/* Only if it was asked for, by the options of the build that made the kernel. */
static void argument_info_is_asked_for(void **state)
{
    static const struct {
        const char *options;
        cl_int code;
    } cases[] = {
        { "", CL_KERNEL_ARG_INFO_NOT_AVAILABLE },
        { "-w -DX", CL_KERNEL_ARG_INFO_NOT_AVAILABLE },
        { "-w -cl-kernel-arg-info -DX", CL_SUCCESS },
        { "-cl-kernel-arg-info", CL_SUCCESS },
    };
    char text[64];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cl_program p = build("kernel void f(global int *a) { *a = 1; }",
                             cases[i].options);
        cl_kernel k = clCreateKernel(p, "f", NULL);

        assert_int_equal(clGetKernelArgInfo(k, 0, CL_KERNEL_ARG_NAME,
                                            sizeof(text), text, NULL),
                         cases[i].code);
        assert_int_equal(clGetKernelArgInfo(k, 1, CL_KERNEL_ARG_NAME,
                                            sizeof(text), text, NULL),
                         CL_INVALID_ARG_INDEX);
        ok(clReleaseKernel(k));
        ok(clReleaseProgram(p));
    }
}

static void run_int(cl_program p, const char *name, int expected)
{
    cl_kernel k = clCreateKernel(p, name, NULL);
    cl_mem m = buffer_of(0, 4, NULL);

    assert_non_null(k);
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clEnqueueTask(rig.queue, k, 0, NULL, NULL));
    expect_bytes(m, 0, 4, &expected);
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
}

static void a_clone_has_arguments_of_its_own(void **state)
{
    cl_kernel k = kernel_of("kernel void f(global int *a, int b) { *a += b; }",
                            "f"), clone;
    const int zero = 0, numbers[] = { 1, 20 };
    cl_mem m = buffer_of(0, 4, &zero);
    const size_t one = 1;
    const int sum = 1 + 20 + 1;
    cl_int err;

    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clSetKernelArg(k, 1, sizeof(int), &numbers[0]));
    clone = clCloneKernel(k, &err);
    ok(err);
    ok(clSetKernelArg(k, 1, sizeof(int), &numbers[1]));
    ok(clEnqueueNDRangeKernel(rig.queue, clone, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
    ok(clReleaseKernel(k));
    ok(clEnqueueNDRangeKernel(rig.queue, clone, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
    expect_bytes(m, 0, sizeof(sum), &sum);
    ok(clReleaseKernel(clone));
    ok(clReleaseMemObject(m));
}

/*
 * All in one context, where a buffer goes from one to the next. More than one there
 * are where meson.build has the host say so.
 */
static void every_device_of_a_platform_computes(void **state)
{
    const char *source = "kernel void f(global int *a) { *a = *a * 10 + 1; }";
    const size_t one = 1;
    cl_device_id devices[8];
    const int zero = 0;
    int got = 0, expected = 0;
    cl_context context;
    cl_program p;
    cl_uint n = 0;
    cl_int err;
    cl_mem m;

    ok(clGetDeviceIDs(rig.platform, CL_DEVICE_TYPE_ALL, 8, devices, &n));
    assert_in_range(n, getenv("POCL_DEVICES") ? 2 : 1, 8);
    context = clCreateContext(NULL, n, devices, NULL, NULL, &err);
    ok(err);
    p = clCreateProgramWithSource(context, 1, &source, NULL, &err);
    ok(err);
    ok(clBuildProgram(p, n, devices, NULL, NULL, NULL));
    m = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof(zero),
                       (void *)&zero, &err);
    ok(err);
    for (cl_uint i = 0; i < n; i++) {
        cl_command_queue q = clCreateCommandQueue(context, devices[i], 0, &err);
        cl_kernel k = clCreateKernel(p, "f", NULL);

        ok(err);
        ok(clSetKernelArg(k, 0, sizeof(m), &m));
        ok(clEnqueueNDRangeKernel(q, k, 1, NULL, &one, NULL, 0, NULL, NULL));
        ok(clEnqueueReadBuffer(q, m, CL_TRUE, 0, sizeof(got), &got, 0, NULL,
                               NULL));
        expected = expected * 10 + 1;
        assert_int_equal(got, expected);
        ok(clReleaseKernel(k));
        ok(clReleaseCommandQueue(q));
    }
    ok(clReleaseMemObject(m));
    ok(clReleaseProgram(p));
    ok(clReleaseContext(context));
}

/* By -I, by an absolute path in a macro, and one file including another. */
static void sources_include_files(void **state)
{
    char dir[] = "/tmp/vgpu-include.XXXXXX", path[64], options[256];
    const char *names[] = { "first.h", "second.h" };
    const char *texts[] = { "#include \"second.h\"\n",
                            "#define VALUE 4711\n" };
    const char *sources[] = {
        "#include \"first.h\"\nkernel void f(global int *a) { *a = VALUE; }",
        "#define STR(x) #x\n#define XSTR(x) STR(x)\n"
        "#include XSTR(DIR/first.h)\n"
        "kernel void f(global int *a) { *a = VALUE; }",
    };
    const char *forms[] = { "-I%s", "-I %s", "-DDIR=%s -I%s",
                            "-D DIR=%s -I %s" };

    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        f = fopen(path, "w");
        fputs(texts[i], f);
        fclose(f);
    }
    for (int i = 0; i < 4; i++) {
        cl_program p;

        snprintf(options, sizeof(options), forms[i], dir, dir);
        p = build(sources[i / 2], options);
        run_int(p, "f", 4711);
        ok(clReleaseProgram(p));
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void compiled_and_linked(void **state)
{
    const char *header = "int helper(void);\n";
    const char *parts[] = {
        "#include \"helper.h\"\nkernel void f(global int *a) { *a = helper(); }",
        "int helper(void) { return 99; }",
    };
    const char *header_name = "helper.h";
    cl_program h, p[2], linked;
    cl_int err;

    h = clCreateProgramWithSource(rig.context, 1, &header, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        p[i] = clCreateProgramWithSource(rig.context, 1, &parts[i], NULL, NULL);
        ok(clCompileProgram(p[i], 0, NULL, NULL, i == 0, i == 0 ? &h : NULL,
                            i == 0 ? &header_name : NULL, NULL, NULL));
    }
    linked = clLinkProgram(rig.context, 0, NULL, NULL, 2, p, NULL, NULL, &err);
    ok(err);
    run_int(linked, "f", 99);
    ok(clReleaseProgram(linked));
    ok(clReleaseProgram(p[0]));
    ok(clReleaseProgram(p[1]));
    ok(clReleaseProgram(h));
}

static void binaries_come_back(void **state)
{
    cl_program p = build("kernel void f(global int *a) { *a = 31; }", NULL), q;
    cl_int status, err;
    unsigned char *binary;
    size_t size;

    ok(clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL));
    assert_true(size > 0);
    binary = malloc(size);
    ok(clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof(binary), &binary, NULL));
    ok(clReleaseProgram(p));
    q = clCreateProgramWithBinary(rig.context, 1, &rig.device, &size,
                                  (const unsigned char **)&binary, &status,
                                  &err);
    ok(err);
    ok(status);
    ok(clBuildProgram(q, 0, NULL, NULL, NULL, NULL));
    run_int(q, "f", 31);
    ok(clReleaseProgram(q));
    free(binary);
}

static void told(cl_program p, void *user_data)
{
    ++*(int *)user_data;
}

static void builds_tell_when_they_end(void **state)
{
    const char *source = "kernel void f(global int *a) { *a = 5; }";
    cl_program p = clCreateProgramWithSource(rig.context, 1, &source, NULL,
                                             NULL);
    int calls = 0;

    ok(clBuildProgram(p, 0, NULL, NULL, told, &calls));
    for (int i = 0; i < 1000 && !calls; i++) {
        usleep(1000);
    }
    assert_int_equal(calls, 1);
    run_int(p, "f", 5);
    ok(clReleaseProgram(p));
}

static void wrong_arguments_are_refused(void **state)
{
    const char *source = "kernel void f(global int *a, int b, local int *c) {"
                         " *a = b; }";
    cl_kernel k = kernel_of(source, "f");
    cl_mem m = buffer_of(0, 4, NULL), none = NULL;
    const size_t one = 1, zero = 0, many[3] = { 1 << 20, 1, 1 };
    int b = 7;

    assert_int_equal(clSetKernelArg(k, 9, 4, &b), CL_INVALID_ARG_INDEX);
    assert_int_equal(clSetKernelArg(k, 0, 4, &m), CL_INVALID_ARG_SIZE);
    assert_int_equal(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL,
                                            0, NULL, NULL),
                     CL_INVALID_KERNEL_ARGS);
    ok(clSetKernelArg(k, 0, sizeof(none), &none));
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clSetKernelArg(k, 1, sizeof(b), &b));
    ok(clSetKernelArg(k, 2, 16, NULL));
    /* Once accepted, a wrong size is still refused. */
    assert_int_equal(clSetKernelArg(k, 0, 4, &m), CL_INVALID_ARG_SIZE);
    assert_int_equal(clEnqueueNDRangeKernel(rig.queue, k, 0, NULL, &one, NULL,
                                            0, NULL, NULL),
                     CL_INVALID_WORK_DIMENSION);
    assert_int_equal(clEnqueueNDRangeKernel(rig.queue, k, 4, NULL, &one, NULL,
                                            0, NULL, NULL),
                     CL_INVALID_WORK_DIMENSION);
    assert_int_not_equal(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, many,
                                                many, 0, NULL, NULL),
                         CL_SUCCESS);
    if (is_remote()) { /* pocl itself divides by it */
        assert_int_equal(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one,
                                                &zero, 0, NULL, NULL),
                         CL_INVALID_WORK_GROUP_SIZE);
    }
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, &one, 0, NULL,
                              NULL));
    expect_bytes(m, 0, 4, &b);
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
}

static void more_local_memory_than_there_is_is_refused(void **state)
{
    const char *source = "kernel void f(global int *a, local int *b,"
                         " local int *c) { *b = 1; *c = 2; *a = *b + *c; }";
    cl_kernel k = kernel_of(source, "f");
    cl_mem m = buffer_of(0, 4, NULL);
    const size_t one = 1, wrong[] = { 1ull << 32, 1ull << 50, SIZE_MAX };
    cl_ulong all = 0;
    int three = 3;

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof(all), &all,
                       NULL));
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clSetKernelArg(k, 1, 16, NULL));
    for (int i = 0; is_remote() && i < 3; i++) {
        /* pocl itself takes them, and ends the program. */
        ok(clSetKernelArg(k, 2, wrong[i], NULL));
        assert_int_equal(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one,
                                                NULL, 0, NULL, NULL),
                         CL_OUT_OF_RESOURCES);
    }
    ok(clSetKernelArg(k, 2, all - 16, NULL));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
    expect_bytes(m, 0, sizeof(three), &three);
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right),
        cmocka_unit_test(local_memory_and_groups),
        cmocka_unit_test(offsets_and_three_dimensions),
        cmocka_unit_test(a_failed_build_has_a_log),
        cmocka_unit_test(options_and_info),
        cmocka_unit_test(argument_info_is_asked_for),
        cmocka_unit_test(a_clone_has_arguments_of_its_own),
        cmocka_unit_test(every_device_of_a_platform_computes),
        cmocka_unit_test(sources_include_files),
        cmocka_unit_test(compiled_and_linked),
        cmocka_unit_test(binaries_come_back),
        cmocka_unit_test(builds_tell_when_they_end),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(more_local_memory_than_there_is_is_refused),
    };

    return cmocka_run_group_tests_name("kernels", tests, rig_up, rig_down);
}
