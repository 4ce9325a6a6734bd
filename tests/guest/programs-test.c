/*
 * Programs in an intermediate language, specialization constants, suggested sizes of
 * work-groups, sub-groups, and a device's timer. Where the host's OpenCL has none of these, a layer of its ICD
 * loader stands in (program-layer.c), whose language this is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <CL/cl_ext.h>
#include <pthread.h>
#include <unistd.h>

#define CONSTANT 7
#define SUB_GROUP 8
#define SECOND_NS 1000000000ull
#define RELEASE  8 /* of builds that define HELD; see program-layer.c */

/* As long as it takes to travel by shared memory, too. */
static char il[20000] =
    "\x03\x02\x23\x07"
    "#ifndef CONSTANT\n#define CONSTANT 3\n#endif\n"
    "kernel void f(global int *a) { *a = CONSTANT; }\n";

static cl_program program_of(size_t length)
{
    cl_int err;
    cl_program p = clCreateProgramWithIL(rig.context, il, length, &err);

    ok(err);
    assert_non_null(p);
    return p;
}

static void expect_constant(cl_program p, int expected)
{
    cl_mem m = buffer_of(0, sizeof(expected), NULL);
    const size_t one = 1;
    cl_kernel k;

    ok(clBuildProgram(p, 0, NULL, NULL, NULL, NULL));
    k = clCreateKernel(p, "f", NULL);
    assert_non_null(k);
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
    expect_bytes(m, 0, sizeof(expected), &expected);
    ok(clReleaseKernel(k));
    ok(clReleaseMemObject(m));
}

static void programs_are_made_of_an_intermediate_language(void **state)
{
    const size_t lengths[] = { strlen(il), sizeof(il) };
    char version[64] = "", got[sizeof(il)];
    size_t size = 0;

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_IL_VERSION, sizeof(version),
                       version, NULL));
    assert_memory_equal(version, "SPIR-V_", 7);
    memset(il + lengths[0], ' ', sizeof(il) - lengths[0]);
    for (int i = 0; i < 2; i++) {
        cl_program p = program_of(lengths[i]);

        if (is_remote()) { /* the layer keeps none */
            ok(clGetProgramInfo(p, CL_PROGRAM_IL, sizeof(got), got, &size));
            assert_int_equal(size, lengths[i]);
            assert_memory_equal(got, il, size);
        }
        expect_constant(p, 3);
        ok(clReleaseProgram(p));
    }
}

static void constants_are_those_of_the_next_build(void **state)
{
    cl_program p = program_of(sizeof(il)), q = program_of(sizeof(il));
    const cl_int values[] = { 41, -5 };

    ok(clSetProgramSpecializationConstant(p, CONSTANT, sizeof(cl_int),
                                          &values[0]));
    expect_constant(p, 41);
    ok(clSetProgramSpecializationConstant(p, CONSTANT, sizeof(cl_int),
                                          &values[1]));
    expect_constant(p, -5);
    expect_constant(q, 3); /* it was given none */
    ok(clReleaseProgram(p));
    ok(clReleaseProgram(q));
}

static void wrong_ones_are_refused(void **state)
{
    const cl_int value[2] = { 1 }; /* as many bytes as are said to be there */
    cl_program p = program_of(sizeof(il)), source;
    const char *text = "kernel void f(global int *a) { *a = 1; }";
    cl_int err = CL_SUCCESS;

    assert_int_equal(clSetProgramSpecializationConstant(p, 99, sizeof(value[0]),
                                                        value),
                     CL_INVALID_SPEC_ID);
    assert_int_equal(clSetProgramSpecializationConstant(p, CONSTANT, sizeof(value),
                                                        value),
                     CL_INVALID_VALUE);
    assert_int_equal(clSetProgramSpecializationConstant(p, CONSTANT,
                                                        sizeof(value[0]), NULL),
                     CL_INVALID_VALUE);
    if (is_remote()) { /* the layer does not tell them apart */
        source = clCreateProgramWithSource(rig.context, 1, &text, NULL, NULL);
        assert_int_equal(clSetProgramSpecializationConstant(
            source, CONSTANT, sizeof(value[0]), value), CL_INVALID_PROGRAM);
        ok(clReleaseProgram(source));
    }
    assert_null(clCreateProgramWithIL(rig.context, text, strlen(text), &err));
    assert_int_equal(err, CL_INVALID_VALUE);
    assert_null(clCreateProgramWithIL(rig.context, NULL, 0, &err));
    assert_int_equal(err, CL_INVALID_VALUE);
    ok(clReleaseProgram(p));
}

static void work_groups_have_a_suggested_size(void **state)
{
    clGetKernelSuggestedLocalWorkSizeKHR_fn suggest =
        (clGetKernelSuggestedLocalWorkSizeKHR_fn)
            clGetExtensionFunctionAddressForPlatform(
                rig.platform, "clGetKernelSuggestedLocalWorkSizeKHR");
    cl_kernel k = kernel_of("kernel void f(global int *a) { *a = 1; }", "f");
    const size_t sizes[3] = { 64, 64, 2 };
    size_t got[3] = { 99, 99, 99 };

    assert_non_null(suggest);
    ok(suggest(rig.queue, k, 2, NULL, sizes, got));
    assert_int_equal(got[0], 4);
    assert_int_equal(got[1], 3);
    assert_int_equal(got[2], 99);
    ok(suggest(rig.queue, k, 3, sizes, sizes, got));
    assert_int_equal(got[2], 2);
    if (is_remote()) { /* the layer looks at nothing */
        assert_int_equal(suggest(rig.queue, k, 4, NULL, sizes, got),
                         CL_INVALID_WORK_DIMENSION);
        assert_int_equal(suggest(rig.queue, k, 1, NULL, NULL, got),
                         CL_INVALID_GLOBAL_WORK_SIZE);
        assert_int_equal(suggest(NULL, k, 1, NULL, sizes, got),
                         CL_INVALID_COMMAND_QUEUE);
    }
    ok(clReleaseKernel(k));
}

static size_t ask_sub_groups(cl_kernel k, cl_kernel_sub_group_info name,
                             size_t input_size, const void *input)
{
    size_t answer = 0, size = 0;

    ok(clGetKernelSubGroupInfo(k, rig.device, name, input_size, input,
                               sizeof(answer), &answer, &size));
    assert_int_equal(size, sizeof(answer));
    return answer;
}

static void sub_groups_are_the_hosts(void **state)
{
    cl_kernel k = kernel_of("kernel void f(global int *a) { *a = 1; }", "f");
    const size_t local[3] = { 10, 3, 1 }, few[1] = { 5 }, wanted = 4;
    size_t sizes[3] = { 99, 99, 99 }, size = 0;

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_SUB_GROUP_SIZES_INTEL, sizeof(sizes),
                       sizes, &size));
    assert_int_equal(size, 2 * sizeof(sizes[0]));
    assert_int_equal(sizes[0], SUB_GROUP);
    assert_int_equal(sizes[1], 2 * SUB_GROUP);
    assert_int_equal(ask_sub_groups(k, CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE,
                                    sizeof(local), local), SUB_GROUP);
    assert_int_equal(ask_sub_groups(k, CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE,
                                    sizeof(few), few), 5);
    assert_int_equal(ask_sub_groups(k, CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE,
                                    sizeof(local), local), 4);
    assert_int_equal(ask_sub_groups(k, CL_KERNEL_MAX_NUM_SUB_GROUPS, 0, NULL), 32);
    ok(clGetKernelSubGroupInfo(k, rig.device, CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT,
                               sizeof(wanted), &wanted, 2 * sizeof(sizes[0]), sizes,
                               NULL));
    assert_int_equal(sizes[0], 4 * SUB_GROUP);
    assert_int_equal(sizes[1], 1);
    assert_int_equal(sizes[2], 99);
    assert_int_equal(clGetKernelSubGroupInfo(k, rig.device, 0x7fff, 0, NULL,
                                             sizeof(sizes), sizes, NULL),
                     CL_INVALID_VALUE);
    ok(clReleaseKernel(k));
}

static void timers_are_those_of_one_moment(void **state)
{
    cl_ulong device = 0, host = 0, before = 0, after = 0;

    ok(clGetHostTimer(rig.device, &before));
    ok(clGetDeviceAndHostTimer(rig.device, &device, &host));
    ok(clGetHostTimer(rig.device, &after));
    assert_true(0 < before && before <= host && host <= after);
    assert_true(device == host + SECOND_NS);
}

static void *build_held(void *program)
{
    return (void *)(intptr_t)clBuildProgram(program, 0, NULL, "-DHELD", NULL,
                                            NULL);
}

/* More threads build than there are reply slots: only another's call ends that. */
static void builds_of_any_number_hold_up_nobody_else(void **state)
{
    enum { BUILDERS = 80 };
    pthread_t threads[BUILDERS];
    cl_program programs[BUILDERS];
    const cl_int value = 1;
    cl_program p = program_of(sizeof(il));

    for (int i = 0; i < BUILDERS; i++) {
        programs[i] = program_of(sizeof(il));
        assert_int_equal(pthread_create(&threads[i], NULL, build_held,
                                        programs[i]), 0);
    }
    usleep(50000);
    ok(clSetProgramSpecializationConstant(p, RELEASE, sizeof(value), &value));
    for (int i = 0; i < BUILDERS; i++) {
        void *result;

        pthread_join(threads[i], &result);
        ok((intptr_t)result);
        ok(clReleaseProgram(programs[i]));
    }
    ok(clReleaseProgram(p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_are_made_of_an_intermediate_language),
        cmocka_unit_test(constants_are_those_of_the_next_build),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(work_groups_have_a_suggested_size),
        cmocka_unit_test(sub_groups_are_the_hosts),
        cmocka_unit_test(timers_are_those_of_one_moment),
        cmocka_unit_test(builds_of_any_number_hold_up_nobody_else),
    };

    return cmocka_run_group_tests(tests, rig_up, rig_down);
}
