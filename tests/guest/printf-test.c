/*
 * What kernels print: on the program's standard output, in order, and as soon as
 * it has waited for them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int real_stdout = -1, file = -1;

/* Standard output goes to a file. */
static void divert(void)
{
    char name[] = "/tmp/printf-test-XXXXXX";

    fflush(stdout);
    file = mkstemp(name);
    assert_true(file >= 0);
    unlink(name);
    real_stdout = dup(STDOUT_FILENO);
    assert_true(real_stdout >= 0 && dup2(file, STDOUT_FILENO) >= 0);
}

/* What was printed since, to be freed; standard output is as it was. */
static char *restore(void)
{
    off_t size = lseek(file, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);

    dup2(real_stdout, STDOUT_FILENO);
    close(real_stdout);
    assert_non_null(text);
    assert_int_equal(pread(file, text, (size_t)size, 0), size);
    close(file);
    return text;
}

static void expect_output(const char *expected)
{
    char *text = restore();

    assert_string_equal(text, expected);
    free(text);
}

static const char counting[] =
    "kernel void f(int n) { printf(\"kernel %d\\n\", n); }";

static void launch(cl_kernel k, cl_int n)
{
    const size_t one = 1;

    ok(clSetKernelArg(k, 0, sizeof(n), &n));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
}

static void it_is_there_after_finish(void **state)
{
    cl_kernel k = kernel_of(counting, "f");

    divert();
    for (int i = 0; i < 3; i++) {
        launch(k, i);
    }
    ok(clFinish(rig.queue));
    expect_output("kernel 0\nkernel 1\nkernel 2\n");
    ok(clReleaseKernel(k));
}

static void it_is_there_after_other_ways_to_wait(void **state)
{
    cl_kernel k = kernel_of(counting, "f");
    cl_mem m = buffer_of(0, 64, NULL);
    cl_int data, err, status = CL_QUEUED;
    cl_event event;
    const size_t one = 1;

    divert();
    launch(k, 1);
    ok(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, 4, &data, 0, NULL, NULL));
    expect_output("kernel 1\n");

    divert();
    launch(k, 2);
    assert_non_null(clEnqueueMapBuffer(rig.queue, m, CL_TRUE, CL_MAP_READ, 0, 4,
                                       0, NULL, NULL, &err));
    expect_output("kernel 2\n");

    divert();
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              &event));
    ok(clWaitForEvents(1, &event));
    expect_output("kernel 2\n");
    ok(clReleaseEvent(event));

    divert();
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              &event));
    ok(clFlush(rig.queue));
    while (status != CL_COMPLETE) {
        ok(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS,
                          sizeof(status), &status, NULL));
    }
    expect_output("kernel 2\n");
    ok(clReleaseEvent(event));
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
}

static void much_of_it_is_all_there(void **state)
{
    enum { ITEMS = 20000, LINE = 21 };
    const char *source = "kernel void f() {"
                         " printf(\"line number %07d\\n\", (int)get_global_id(0)); }";
    cl_kernel k = kernel_of(source, "f");
    const size_t n = ITEMS;
    static char seen[ITEMS];
    char *text;
    size_t lines = 0;

    divert();
    for (int i = 0; i < 3; i++) {
        ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &n, NULL, 0, NULL,
                                  NULL));
        ok(clFinish(rig.queue));
    }
    text = restore();
    for (char *at = text; *at; at += LINE - 1, lines++) {
        int number = -1;

        assert_int_equal(sscanf(at, "line number %d", &number), 1);
        assert_in_range(number, 0, ITEMS - 1);
        seen[number]++;
    }
    assert_int_equal(lines, 3 * ITEMS);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(seen[i], 3);
    }
    free(text);
    ok(clReleaseKernel(k));
}

static void macros_and_binaries_print_too(void **state)
{
    const char *source = "kernel void f(int n) { P(\"kernel %d\\n\", n); }";
    cl_program p = build(source, "-DP=printf"), q;
    unsigned char *binary;
    size_t size;
    cl_kernel k;
    cl_int err, status;

    ok(clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL));
    binary = malloc(size);
    assert_non_null(binary);
    ok(clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof(binary), &binary, NULL));
    q = clCreateProgramWithBinary(rig.context, 1, &rig.device, &size,
                                  (const unsigned char **)&binary, &status,
                                  &err);
    ok(err);
    ok(clBuildProgram(q, 0, NULL, NULL, NULL, NULL));
    for (int i = 0; i < 2; i++) {
        k = clCreateKernel(i ? q : p, "f", &err);
        ok(err);
        divert();
        launch(k, i);
        ok(clFinish(rig.queue));
        expect_output(i ? "kernel 1\n" : "kernel 0\n");
        ok(clReleaseKernel(k));
    }
    ok(clReleaseProgram(p));
    ok(clReleaseProgram(q));
    free(binary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_there_after_finish),
        cmocka_unit_test(it_is_there_after_other_ways_to_wait),
        cmocka_unit_test(much_of_it_is_all_there),
        cmocka_unit_test(macros_and_binaries_print_too),
    };

    return cmocka_run_group_tests(tests, rig_up, rig_down);
}
