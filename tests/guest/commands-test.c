/*
 * Command buffers: recorded once, run as often as one likes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <CL/cl_ext.h>

#define FUNCTIONS(X) \
    X(clCreateCommandBufferKHR) \
    X(clFinalizeCommandBufferKHR) \
    X(clRetainCommandBufferKHR) \
    X(clReleaseCommandBufferKHR) \
    X(clEnqueueCommandBufferKHR) \
    X(clCommandBarrierWithWaitListKHR) \
    X(clCommandCopyBufferKHR) \
    X(clCommandFillBufferKHR) \
    X(clCommandNDRangeKernelKHR) \
    X(clGetCommandBufferInfoKHR)

static struct {
#define FUNCTION(name) __typeof__(name) * name;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
} f;

/* Whether the device has them; only then are there the functions. */
static bool has_them(void)
{
    char extensions[8192] = "";

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_EXTENSIONS, sizeof(extensions),
                       extensions, NULL));
    if (!strstr(extensions, "cl_khr_command_buffer")) {
        return false;
    }
#define FUNCTION(name) \
    f.name = (__typeof__(name) *)clGetExtensionFunctionAddressForPlatform( \
        rig.platform, #name); \
    assert_non_null(f.name);
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    return true;
}

static cl_command_buffer_khr begin(const cl_command_buffer_properties_khr *p)
{
    cl_int err;
    cl_command_buffer_khr b = f.clCreateCommandBufferKHR(1, &rig.queue, p,
                                                         &err);

    ok(err);
    assert_non_null(b);
    return b;
}

static cl_uint uint_of(cl_command_buffer_khr b, cl_command_buffer_info_khr name)
{
    cl_uint value = 99;

    ok(f.clGetCommandBufferInfoKHR(b, name, sizeof(value), &value, NULL));
    return value;
}

static void what_is_recorded_runs_again_and_again(void **state)
{
    const char *source =
        "kernel void f(global int *a) { a[get_global_id(0)] += 5; }";
    enum { N = 1000 };
    const size_t n = N;
    int data[N] = { 0 }, one = 1;
    cl_sync_point_khr filled, copied;
    cl_command_buffer_khr b;
    cl_mem from, to;
    cl_kernel k;

    if (!has_them()) {
        return;
    }
    k = kernel_of(source, "f");
    from = buffer_of(0, sizeof(data), NULL);
    to = buffer_of(0, sizeof(data), data);
    b = begin(NULL);
    assert_int_equal(uint_of(b, CL_COMMAND_BUFFER_STATE_KHR),
                     CL_COMMAND_BUFFER_STATE_RECORDING_KHR);
    ok(f.clCommandFillBufferKHR(b, NULL, from, &one, 4, 0, sizeof(data), 0,
                                NULL, &filled, NULL));
    ok(f.clCommandCopyBufferKHR(b, NULL, from, to, 0, 0, 400, 1, &filled,
                                &copied, NULL));
    ok(clSetKernelArg(k, 0, sizeof(to), &to));
    ok(f.clCommandNDRangeKernelKHR(b, NULL, NULL, k, 1, NULL, &n, NULL, 1,
                                   &copied, NULL, NULL));
    ok(f.clFinalizeCommandBufferKHR(b));
    assert_int_equal(uint_of(b, CL_COMMAND_BUFFER_STATE_KHR),
                     CL_COMMAND_BUFFER_STATE_EXECUTABLE_KHR);
    for (int i = 0; i < 3; i++) {
        cl_command_type type;
        cl_event event;

        ok(f.clEnqueueCommandBufferKHR(0, NULL, b, 0, NULL, &event));
        ok(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof(type), &type,
                          NULL));
        assert_int_equal(type, CL_COMMAND_COMMAND_BUFFER_KHR);
        ok(clWaitForEvents(1, &event));
        ok(clReleaseEvent(event));
    }
    ok(clEnqueueReadBuffer(rig.queue, to, CL_TRUE, 0, sizeof(data), data, 0,
                           NULL, NULL));
    for (int i = 0; i < N; i++) {
        assert_int_equal(data[i], i < 100 ? 6 : 15);
    }
    ok(f.clReleaseCommandBufferKHR(b));
    ok(clReleaseKernel(k));
    ok(clReleaseMemObject(from));
    ok(clReleaseMemObject(to));
}

static void they_know_what_they_were_made_with(void **state)
{
    const cl_command_buffer_properties_khr list[] = {
        CL_COMMAND_BUFFER_FLAGS_KHR, CL_COMMAND_BUFFER_SIMULTANEOUS_USE_KHR, 0,
    };
    cl_command_buffer_properties_khr got[8] = { 0 };
    cl_command_queue queue = NULL;
    cl_command_buffer_khr b;
    size_t size;

    if (!has_them()) {
        return;
    }
    b = begin(list);
    assert_int_equal(uint_of(b, CL_COMMAND_BUFFER_NUM_QUEUES_KHR), 1);
    ok(f.clGetCommandBufferInfoKHR(b, CL_COMMAND_BUFFER_QUEUES_KHR,
                                   sizeof(queue), &queue, NULL));
    ok(f.clGetCommandBufferInfoKHR(b, CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR,
                                   sizeof(got), got, &size));
    if (is_remote()) {
        /* pocl 3.1 answers something else. */
        assert_ptr_equal(queue, rig.queue);
        assert_int_equal(size, sizeof(list));
        assert_memory_equal(got, list, sizeof(list));
    }
    assert_int_equal(uint_of(b, CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR), 1);
    ok(f.clRetainCommandBufferKHR(b));
    assert_int_equal(uint_of(b, CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR), 2);
    ok(f.clReleaseCommandBufferKHR(b));
    ok(f.clReleaseCommandBufferKHR(b));
}

static void what_is_wrong_is_said(void **state)
{
    const size_t single = 1;
    cl_command_buffer_khr b;
    cl_mem m = buffer_of(0, 64, NULL);
    cl_int err, one = 1;
    cl_kernel k;

    if (!has_them()) {
        ok(clReleaseMemObject(m));
        return;
    }
    assert_null(f.clCreateCommandBufferKHR(0, NULL, NULL, &err));
    assert_int_equal(err, CL_INVALID_VALUE);
    b = begin(NULL);
    assert_int_equal(f.clCommandFillBufferKHR(b, NULL, NULL, &one, 4, 0, 64, 0,
                                              NULL, NULL, NULL),
                     CL_INVALID_MEM_OBJECT);
    k = kernel_of("kernel void f(local int *a) { *a = 1; }", "f");
    ok(clSetKernelArg(k, 0, 1ull << 40, NULL));
    if (is_remote()) {
        /* pocl 3.1 would end the program when that is run. */
        assert_int_equal(f.clCommandNDRangeKernelKHR(
            b, NULL, NULL, k, 1, NULL, &single, NULL, 0, NULL, NULL, NULL),
            CL_OUT_OF_RESOURCES);
    }
    ok(clReleaseKernel(k));
    ok(f.clFinalizeCommandBufferKHR(b));
    assert_int_equal(f.clCommandFillBufferKHR(b, NULL, m, &one, 4, 0, 64, 0,
                                              NULL, NULL, NULL),
                     CL_INVALID_OPERATION);
    assert_int_equal(f.clFinalizeCommandBufferKHR(NULL),
                     CL_INVALID_COMMAND_BUFFER_KHR);
    ok(f.clReleaseCommandBufferKHR(b));
    ok(clReleaseMemObject(m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_recorded_runs_again_and_again),
        cmocka_unit_test(they_know_what_they_were_made_with),
        cmocka_unit_test(what_is_wrong_is_said),
    };

    return cmocka_run_group_tests(tests, rig_up, rig_down);
}
