/*
 * Sub-devices: partitions of the first device, which compute like it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#define PARTS_MAX 64

static const cl_device_partition_property ones[] = {
    CL_DEVICE_PARTITION_EQUALLY, 1, 0,
};

static cl_uint uint_of(cl_device_id device, cl_device_info name)
{
    cl_uint value = 0;

    ok(clGetDeviceInfo(device, name, sizeof(value), &value, NULL));
    return value;
}

/* The device in parts of one compute unit each; their number. */
static cl_uint split(cl_device_id *parts)
{
    cl_uint n = 0, again = 0;

    ok(clCreateSubDevices(rig.device, ones, 0, NULL, &n));
    assert_in_range(n, 1, PARTS_MAX);
    ok(clCreateSubDevices(rig.device, ones, n, parts, &again));
    assert_int_equal(n, again);
    return n;
}

static void join(cl_device_id *parts, cl_uint n)
{
    for (cl_uint i = 0; i < n; i++) {
        ok(clReleaseDevice(parts[i]));
    }
}

/* Some devices cannot be divided: then all else here has nothing to say. */
static bool is_divisible(void)
{
    return uint_of(rig.device, CL_DEVICE_PARTITION_MAX_SUB_DEVICES) > 1;
}

static void parts_know_what_they_are(void **state)
{
    cl_device_id parts[PARTS_MAX], parent = NULL;
    cl_device_partition_property type[8];
    cl_uint n;
    size_t size;

    if (!is_divisible()) {
        return;
    }
    n = split(parts);
    assert_int_equal(n, uint_of(rig.device, CL_DEVICE_MAX_COMPUTE_UNITS));
    for (cl_uint i = 0; i < n; i++) {
        assert_int_equal(uint_of(parts[i], CL_DEVICE_MAX_COMPUTE_UNITS), 1);
        ok(clGetDeviceInfo(parts[i], CL_DEVICE_PARENT_DEVICE, sizeof(parent),
                           &parent, NULL));
        assert_ptr_equal(parent, rig.device);
        ok(clGetDeviceInfo(parts[i], CL_DEVICE_PARTITION_TYPE, sizeof(type),
                           type, &size));
        assert_int_equal(size, sizeof(ones));
        assert_memory_equal(type, ones, sizeof(ones));
    }
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_PARENT_DEVICE, sizeof(parent),
                       &parent, NULL));
    assert_null(parent);
    join(parts, n);
}

static void parts_are_counted_and_roots_are_not(void **state)
{
    cl_device_id parts[PARTS_MAX];
    cl_uint n;

    if (!is_divisible()) {
        return;
    }
    n = split(parts);
    assert_int_equal(uint_of(parts[0], CL_DEVICE_REFERENCE_COUNT), 1);
    ok(clRetainDevice(parts[0]));
    assert_int_equal(uint_of(parts[0], CL_DEVICE_REFERENCE_COUNT), 2);
    ok(clReleaseDevice(parts[0]));
    assert_int_equal(uint_of(parts[0], CL_DEVICE_REFERENCE_COUNT), 1);
    for (int i = 0; i < 3; i++) {
        ok(clReleaseDevice(rig.device));
        assert_int_equal(uint_of(rig.device, CL_DEVICE_REFERENCE_COUNT), 1);
    }
    join(parts, n);
    if (is_remote()) {
        assert_int_equal(clRetainDevice(parts[0]), CL_INVALID_DEVICE);
    }
}

/* A kernel in a queue of each part, all in one context. */
static void parts_compute(void **state)
{
    const char *source = "kernel void f(global int *a) {"
                         " a[get_global_id(0)] = get_global_id(0) * 7; }";
    const size_t items = 4096;
    static int out[4096];
    cl_device_id parts[PARTS_MAX];
    cl_context context;
    cl_program p;
    cl_uint n;
    cl_int err;

    if (!is_divisible()) {
        return;
    }
    n = split(parts);
    context = clCreateContext(NULL, n, parts, NULL, NULL, &err);
    ok(err);
    p = clCreateProgramWithSource(context, 1, &source, NULL, &err);
    ok(err);
    ok(clBuildProgram(p, 0, NULL, NULL, NULL, NULL));
    for (cl_uint i = 0; i < n; i++) {
        cl_command_queue q = clCreateCommandQueue(context, parts[i], 0, &err);
        cl_kernel k = clCreateKernel(p, "f", NULL);
        cl_mem m = clCreateBuffer(context, 0, sizeof(out), NULL, NULL);
        cl_device_id device = NULL;

        ok(err);
        ok(clGetCommandQueueInfo(q, CL_QUEUE_DEVICE, sizeof(device), &device,
                                 NULL));
        assert_ptr_equal(device, parts[i]);
        memset(out, 0, sizeof(out));
        ok(clSetKernelArg(k, 0, sizeof(m), &m));
        ok(clEnqueueNDRangeKernel(q, k, 1, NULL, &items, NULL, 0, NULL, NULL));
        ok(clEnqueueReadBuffer(q, m, CL_TRUE, 0, sizeof(out), out, 0, NULL,
                               NULL));
        for (int j = 0; j < 4096; j++) {
            assert_int_equal(out[j], j * 7);
        }
        ok(clReleaseMemObject(m));
        ok(clReleaseKernel(k));
        ok(clReleaseCommandQueue(q));
    }
    ok(clReleaseProgram(p));
    /*
     * The context keeps them while it lives. Not natively: a thread of pocl 3.1 may
     * use one behind its last command, and crash on what is freed by then.
     */
    if (is_remote()) {
        join(parts, n);
    }
    ok(clReleaseContext(context));
}

static void by_counts(void **state)
{
    cl_uint units = uint_of(rig.device, CL_DEVICE_MAX_COMPUTE_UNITS), n = 0;
    const cl_device_partition_property counts[] = {
        CL_DEVICE_PARTITION_BY_COUNTS, 1, units - 1,
        CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0,
    };
    cl_device_partition_property type[8] = { 0 };
    cl_device_id parts[2];

    if (!is_divisible()) {
        return;
    }
    ok(clCreateSubDevices(rig.device, counts, 2, parts, &n));
    assert_int_equal(n, 2);
    assert_int_equal(uint_of(parts[1], CL_DEVICE_MAX_COMPUTE_UNITS),
                     units - 1);
    ok(clGetDeviceInfo(parts[0], CL_DEVICE_PARTITION_TYPE, sizeof(type), type,
                       NULL));
    assert_memory_equal(type, counts, 3 * sizeof(counts[0]));
    join(parts, n);
}

static void impossible_partitions_are_refused(void **state)
{
    cl_uint units = uint_of(rig.device, CL_DEVICE_MAX_COMPUTE_UNITS), n = 0;
    const cl_device_partition_property
        none[] = { 0 }, unknown[] = { 0x1234, 1, 0 },
        many[] = { CL_DEVICE_PARTITION_BY_COUNTS, 1, units + 3, 0, 0 },
        large[] = { CL_DEVICE_PARTITION_EQUALLY, units + 3, 0 };
    cl_device_id parts[PARTS_MAX];

    if (!is_divisible()) {
        return;
    }
    assert_int_equal(clCreateSubDevices(NULL, ones, 8, parts, &n),
                     CL_INVALID_DEVICE);
    assert_int_equal(clCreateSubDevices(rig.device, NULL, 8, parts, &n),
                     CL_INVALID_VALUE);
    assert_int_equal(clCreateSubDevices(rig.device, none, 8, parts, &n),
                     CL_INVALID_VALUE);
    assert_int_equal(clCreateSubDevices(rig.device, unknown, 8, parts, &n),
                     CL_INVALID_VALUE);
    assert_int_equal(clCreateSubDevices(rig.device, ones, 1, parts, &n),
                     CL_INVALID_VALUE);
    assert_int_equal(clCreateSubDevices(rig.device, large, 8, parts, &n),
                     CL_INVALID_VALUE);
    assert_int_equal(clCreateSubDevices(rig.device, many, 8, parts, &n),
                     CL_INVALID_DEVICE_PARTITION_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_know_what_they_are),
        cmocka_unit_test(parts_are_counted_and_roots_are_not),
        cmocka_unit_test(parts_compute),
        cmocka_unit_test(by_counts),
        cmocka_unit_test(impossible_partitions_are_refused),
    };

    return cmocka_run_group_tests(tests, rig_up, rig_down);
}
