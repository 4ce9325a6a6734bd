/*
 * A program's mistakes: each gets the code of the specification, also where the
 * shim alone stands between a bad handle and a crash.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <CL/cl_gl.h>

#define expect(call, code) assert_int_equal((call), (code))

/* Calls that return an object: its error comes by a pointer. */
#define expect_null(call, code)                                             \
    do {                                                                    \
        cl_int err = 12345;                                                 \
        assert_null(call);                                                  \
        assert_int_equal(err, (code));                                      \
    } while (0)

/*
 * A handle that looks live to the ICD loader, which follows its first word, and is
 * none of ours. Natively nobody survives that.
 */
static void *foreign(void *real)
{
    static void *copy[64];

    memcpy(copy, real, 64);
    return copy;
}

static void bad_handles(void **state)
{
    cl_mem m = buffer_of(0, 16, NULL);
    cl_event e;
    char data[16] = "";

    if (!is_remote()) {
        return; /* nothing of that is OpenCL in general */
    }
    expect(clFinish(foreign(rig.queue)), CL_INVALID_COMMAND_QUEUE);
    expect(clFinish((cl_command_queue)m), CL_INVALID_COMMAND_QUEUE);
    expect(clReleaseMemObject(foreign(m)), CL_INVALID_MEM_OBJECT);
    expect(clRetainMemObject((cl_mem)rig.queue), CL_INVALID_MEM_OBJECT);
    expect(clRetainContext((cl_context)m), CL_INVALID_CONTEXT);
    expect(clGetDeviceInfo((cl_device_id)m, CL_DEVICE_NAME, 0, NULL, NULL),
           CL_INVALID_DEVICE);
    expect(clBuildProgram((cl_program)m, 0, NULL, NULL, NULL, NULL),
           CL_INVALID_PROGRAM);
    expect(clSetKernelArg((cl_kernel)m, 0, 4, data), CL_INVALID_KERNEL);
    e = (cl_event)m;
    expect(clWaitForEvents(1, &e), CL_INVALID_EVENT);
    expect(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, 16, data, 1, &e, NULL),
           CL_INVALID_EVENT_WAIT_LIST);
    expect(clEnqueueReadBuffer(rig.queue, (cl_mem)rig.queue, CL_TRUE, 0, 16,
                               data, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    ok(clReleaseMemObject(m));
    /* Dead now. */
    expect(clReleaseMemObject(m), CL_INVALID_MEM_OBJECT);
    expect(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, 16, data, 0, NULL,
                               NULL), CL_INVALID_MEM_OBJECT);
}

static void platforms_and_devices(void **state)
{
    cl_device_id d;
    cl_uint n;
    char name[4];

    expect(clGetPlatformIDs(0, NULL, NULL), CL_INVALID_VALUE);
    if (is_remote()) { /* pocl finds no device of that type */
        expect(clGetDeviceIDs(rig.platform, 0x40000, 1, &d, NULL),
               CL_INVALID_DEVICE_TYPE);
    }
    expect(clGetDeviceIDs(rig.platform, CL_DEVICE_TYPE_ACCELERATOR, 1, &d, &n),
           CL_DEVICE_NOT_FOUND);
    expect(clGetDeviceIDs(rig.platform, CL_DEVICE_TYPE_ALL, 0, &d, NULL),
           CL_INVALID_VALUE);
    expect(clGetPlatformInfo(rig.platform, 0x1234, 0, NULL, NULL),
           CL_INVALID_VALUE);
    expect(clGetDeviceInfo(rig.device, 0x1, 0, NULL, NULL), CL_INVALID_VALUE);
    expect(clGetDeviceInfo(rig.device, CL_DEVICE_NAME, sizeof(name), name,
                           NULL), CL_INVALID_VALUE);
}

static void contexts_and_queues(void **state)
{
    cl_context_properties twice[] = { CL_CONTEXT_PLATFORM,
                                      (cl_context_properties)rig.platform,
                                      CL_CONTEXT_PLATFORM,
                                      (cl_context_properties)rig.platform, 0 };
    cl_context_properties unknown[] = { 0x7777, 1, 0 };
    cl_queue_properties odd[] = { 0x7777, 1, 0 };

    expect_null(clCreateContext(NULL, 0, NULL, NULL, NULL, &err),
                CL_INVALID_VALUE);
    expect_null(clCreateContext(unknown, 1, &rig.device, NULL, NULL, &err),
                CL_INVALID_PROPERTY);
    if (is_remote()) { /* pocl lets these two pass */
        expect_null(clCreateContext(twice, 1, &rig.device, NULL, NULL, &err),
                    CL_INVALID_PROPERTY);
        expect_null(clCreateCommandQueueWithProperties(rig.context, rig.device,
                                                       odd, &err),
                    CL_INVALID_VALUE);
    }
    expect_null(clCreateCommandQueue(rig.context, rig.device, 0x100, &err),
                CL_INVALID_VALUE);
}

static void called_at_the_end(cl_context context, void *user_data)
{
    ++*(int *)user_data;
}

static void contexts_of_a_type_and_their_end(void **state)
{
    const cl_context_properties list[] = {
        CL_CONTEXT_PLATFORM, (cl_context_properties)rig.platform, 0,
    };
    cl_context_properties got[8] = { 0 };
    cl_uint n = 0, all = 0;
    int calls = 0;
    cl_context c;
    size_t size;
    cl_int err;

    c = clCreateContextFromType(list, CL_DEVICE_TYPE_ALL, NULL, NULL, &err);
    ok(err);
    ok(clGetDeviceIDs(rig.platform, CL_DEVICE_TYPE_ALL, 0, NULL, &all));
    ok(clGetContextInfo(c, CL_CONTEXT_NUM_DEVICES, sizeof(n), &n, NULL));
    assert_int_equal(n, all);
    ok(clGetContextInfo(c, CL_CONTEXT_PROPERTIES, sizeof(got), got, &size));
    assert_int_equal(size, sizeof(list));
    assert_memory_equal(got, list, sizeof(list));
    ok(clSetContextDestructorCallback(c, called_at_the_end, &calls));
    ok(clRetainContext(c));
    ok(clReleaseContext(c));
    assert_int_equal(calls, 0);
    ok(clReleaseContext(c));
    assert_int_equal(calls, 1);
    if (is_remote()) { /* pocl makes a context without devices */
        expect_null(clCreateContextFromType(list, CL_DEVICE_TYPE_ACCELERATOR,
                                            NULL, NULL, &err),
                    CL_DEVICE_NOT_FOUND);
    }
}

static void buffers(void **state)
{
    cl_mem m = buffer_of(CL_MEM_HOST_READ_ONLY, 100, NULL);
    cl_buffer_region outside = { 64, 64 };
    char data[100] = "";

    expect_null(clCreateBuffer(rig.context, 0, 0, NULL, &err),
                CL_INVALID_BUFFER_SIZE);
    expect_null(clCreateBuffer(rig.context, 0, (size_t)1 << 50, NULL, &err),
                CL_INVALID_BUFFER_SIZE);
    expect_null(clCreateBuffer(rig.context, CL_MEM_COPY_HOST_PTR, 4, NULL,
                               &err), CL_INVALID_HOST_PTR);
    expect_null(clCreateBuffer(rig.context, 0, 4, data, &err),
                CL_INVALID_HOST_PTR);
    expect_null(clCreateBuffer(rig.context,
                               CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY, 4, NULL,
                               &err), CL_INVALID_VALUE);
    expect_null(clCreateBuffer(rig.context, (cl_mem_flags)1 << 40, 4, NULL,
                               &err), CL_INVALID_VALUE);
    expect_null(clCreateSubBuffer(m, 0, CL_BUFFER_CREATE_TYPE_REGION, &outside,
                                  &err), CL_INVALID_VALUE);
    expect(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 90, 11, data, 0, NULL,
                               NULL), CL_INVALID_VALUE);
    expect(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, (size_t)-1, 2, data, 0,
                               NULL, NULL), CL_INVALID_VALUE);
    expect(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, 1, NULL, 0, NULL,
                               NULL), CL_INVALID_VALUE);
    expect(clEnqueueWriteBuffer(rig.queue, m, CL_TRUE, 0, 1, data, 0, NULL,
                                NULL), CL_INVALID_OPERATION);
    expect(clEnqueueFillBuffer(rig.queue, m, data, 3, 0, 3, 0, NULL, NULL),
           CL_INVALID_VALUE);
    expect(clEnqueueFillBuffer(rig.queue, m, data, 4, 2, 4, 0, NULL, NULL),
           CL_INVALID_VALUE);
    expect(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, 1, data, 1, NULL,
                               NULL), CL_INVALID_EVENT_WAIT_LIST);
    expect_null(clEnqueueMapBuffer(rig.queue, m, CL_TRUE, CL_MAP_WRITE, 0, 10,
                                   0, NULL, NULL, &err),
                CL_INVALID_OPERATION);
    expect_null(clEnqueueMapBuffer(rig.queue, m, CL_TRUE, CL_MAP_READ, 95, 10,
                                   0, NULL, NULL, &err), CL_INVALID_VALUE);
    ok(clReleaseMemObject(m));
}

static void programs_and_kernels(void **state)
{
    const char *source = "kernel void f(global int *a) { *a = 1; }";
    cl_program p = build(source, NULL);
    cl_kernel k = clCreateKernel(p, "f", NULL);

    expect_null(clCreateProgramWithSource(rig.context, 0, NULL, NULL, &err),
                CL_INVALID_VALUE);
    expect_null(clCreateKernel(p, "no_such_kernel", &err),
                CL_INVALID_KERNEL_NAME);
    expect_null(clCreateKernel(p, NULL, &err), CL_INVALID_VALUE);
    expect(clBuildProgram(p, 0, NULL, NULL, NULL, NULL),
           CL_INVALID_OPERATION); /* it has a kernel */
    expect(clBuildProgram(p, 1, NULL, NULL, NULL, NULL), CL_INVALID_VALUE);
    expect(clGetProgramBuildInfo(p, rig.device, 0x1, 0, NULL, NULL),
           CL_INVALID_VALUE);
    ok(clReleaseKernel(k));
    ok(clReleaseProgram(p));
}

/* Objects of one context are not those of another. */
static void contexts_do_not_mix(void **state)
{
    cl_context other = clCreateContext(NULL, 1, &rig.device, NULL, NULL, NULL);
    cl_mem m = clCreateBuffer(other, 0, 16, NULL, NULL);
    cl_event e = clCreateUserEvent(other, NULL);
    cl_mem own = buffer_of(0, 16, NULL);
    char data[16] = "";

    expect(clEnqueueWriteBuffer(rig.queue, m, CL_TRUE, 0, 16, data, 0, NULL,
                                NULL), CL_INVALID_CONTEXT);
    expect(clEnqueueCopyBuffer(rig.queue, own, m, 0, 0, 16, 0, NULL, NULL),
           CL_INVALID_CONTEXT);
    expect(clEnqueueWriteBuffer(rig.queue, own, CL_TRUE, 0, 16, data, 1, &e,
                                NULL), CL_INVALID_CONTEXT);
    ok(clReleaseEvent(e));
    ok(clReleaseMemObject(m));
    ok(clReleaseMemObject(own));
    ok(clReleaseContext(other));
}

/* x264 does without OpenCL where a name has 64 characters or more. */
static void names_fit_where_the_hosts_did(void **state)
{
    char name[64] = "";

    ok(clGetPlatformInfo(rig.platform, CL_PLATFORM_NAME, sizeof(name), name,
                         NULL));
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_NAME, sizeof(name), name, NULL));
}

/*
 * What the host's OpenCL must have for: there, that it works; elsewhere, that it says
 * so. The errors are the specification's.
 */
static void what_the_host_lacks_is_an_error(void **state)
{
    const cl_uint spirv[] = { 0x07230203, 0x10000, 0, 1, 0 };
    const char *source = "kernel void f(global int *a) { *a = 1; }";
    cl_program p = build(source, NULL);
    cl_bool pipes = CL_FALSE;
    char il[256] = "";
    size_t size = 1;

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_PIPE_SUPPORT, sizeof(pipes),
                       &pipes, NULL));
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_IL_VERSION, sizeof(il), il, NULL));
    if (!pipes) {
        expect_null(clCreatePipe(rig.context, 0, 4, 4, NULL, &err),
                    CL_INVALID_OPERATION);
    }
    if (is_remote() && !il[0]) {
        expect_null(clCreateProgramWithIL(rig.context, spirv, sizeof(spirv),
                                          &err), CL_INVALID_OPERATION);
    }
    expect(clGetPipeInfo(NULL, CL_PIPE_PACKET_SIZE, sizeof(size), &size, NULL),
           CL_INVALID_MEM_OBJECT);
    expect(clSetProgramSpecializationConstant(p, 0, 4, &(cl_uint){ 1 }),
           CL_INVALID_PROGRAM);
    ok(clGetProgramInfo(p, CL_PROGRAM_IL, 0, NULL, &size));
    assert_int_equal(size, 0);
    ok(clReleaseProgram(p));
}

/* What does not exist anywhere but in one program, or nowhere any more. */
static void what_is_refused_says_why(void **state)
{
    cl_mem m = buffer_of(0, 64, NULL);

    if (!is_remote()) {
        return; /* a host may have some; pocl's table has NULLs */
    }
    expect_null(clCreateFromGLBuffer(rig.context, 0, 1, &err),
                CL_INVALID_OPERATION);
    expect_null(clCreateFromGLBuffer(NULL, 0, 1, &err), CL_INVALID_CONTEXT);
    expect(clGetGLObjectInfo(m, NULL, NULL), CL_INVALID_GL_OBJECT);
    expect(clGetGLObjectInfo(NULL, NULL, NULL), CL_INVALID_MEM_OBJECT);
    expect(clEnqueueAcquireGLObjects(rig.queue, 1, &m, 0, NULL, NULL),
           CL_INVALID_OPERATION);
    expect(clEnqueueNativeKernel(rig.queue, NULL, NULL, 0, 0, NULL, NULL, 0,
                                 NULL, NULL), CL_INVALID_OPERATION);
    expect(clEnqueueNativeKernel(NULL, NULL, NULL, 0, 0, NULL, NULL, 0, NULL,
                                 NULL), CL_INVALID_COMMAND_QUEUE);
    expect(clSetProgramReleaseCallback(NULL, NULL, NULL), CL_INVALID_PROGRAM);
    ok(clReleaseMemObject(m));
}

/* The shim offers none of these, says so, and returns what belongs to that. */
static void what_is_not_there_says_so(void **state)
{
    char extensions[4096] = "";
    const char *forbidden[] = { "cl_khr_gl_sharing", "cl_khr_egl_image",
                                "cl_khr_external_memory",
                                NULL };

    if (!is_remote()) {
        return; /* nothing of that is OpenCL in general */
    }
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_EXTENSIONS, sizeof(extensions),
                       extensions, NULL));
    for (int i = 0; forbidden[i]; i++) {
        assert_null(strstr(extensions, forbidden[i]));
    }
}

/* Native kernels, queues on the device, memory that is the same at any moment. */
static void devices_do_not_say_that_they_can(void **state)
{
    cl_command_queue_properties on_device = ~0ull;
    cl_device_svm_capabilities svm = ~0ull;
    cl_device_exec_capabilities exec = 0;
    cl_name_version features[64];
    cl_uint queues = 99;
    size_t size = 0;

    if (!is_remote()) {
        return; /* a host's may */
    }
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_EXECUTION_CAPABILITIES,
                       sizeof(exec), &exec, NULL));
    assert_int_equal(exec, CL_EXEC_KERNEL);
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES,
                       sizeof(on_device), &on_device, NULL));
    assert_int_equal(on_device, 0);
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_MAX_ON_DEVICE_QUEUES,
                       sizeof(queues), &queues, NULL));
    assert_int_equal(queues, 0);
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_SVM_CAPABILITIES, sizeof(svm),
                       &svm, NULL));
    assert_int_equal(svm & ~(cl_device_svm_capabilities)
                               CL_DEVICE_SVM_COARSE_GRAIN_BUFFER, 0);
    ok(clGetDeviceInfo(rig.device, CL_DEVICE_OPENCL_C_FEATURES,
                       sizeof(features), features, &size));
    for (size_t i = 0; i < size / sizeof(features[0]); i++) {
        assert_string_not_equal(features[i].name, "__opencl_c_device_enqueue");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_handles),
        cmocka_unit_test(platforms_and_devices),
        cmocka_unit_test(contexts_and_queues),
        cmocka_unit_test(buffers),
        cmocka_unit_test(programs_and_kernels),
        cmocka_unit_test(contexts_do_not_mix),
        cmocka_unit_test(names_fit_where_the_hosts_did),
        cmocka_unit_test(what_the_host_lacks_is_an_error),
        cmocka_unit_test(what_is_refused_says_why),
        cmocka_unit_test(what_is_not_there_says_so),
        cmocka_unit_test(devices_do_not_say_that_they_can),
        cmocka_unit_test(contexts_of_a_type_and_their_end),
    };

    return cmocka_run_group_tests_name("errors", tests, rig_up, rig_down);
}
