/*
 * Shared virtual memory, coarse-grain: the same address means the same bytes to
 * the program (while they are mapped) and to kernels.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <sys/mman.h>

struct link {
    struct link *next;
    cl_int value;
};

static void *region_of(size_t size)
{
    void *p = clSVMAlloc(rig.context, CL_MEM_READ_WRITE, size, 0);

    assert_non_null(p);
    return p;
}

static void map(void *p, size_t size, cl_map_flags flags)
{
    ok(clEnqueueSVMMap(rig.queue, CL_TRUE, flags, p, size, 0, NULL, NULL));
}

static void unmap(void *p)
{
    ok(clEnqueueSVMUnmap(rig.queue, p, 0, NULL, NULL));
}

static void devices_have_coarse_grain_buffers(void **state)
{
    cl_device_svm_capabilities svm = 0;

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_SVM_CAPABILITIES, sizeof(svm),
                       &svm, NULL));
    assert_true(svm & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER);
    if (is_remote()) {
        assert_int_equal(svm, CL_DEVICE_SVM_COARSE_GRAIN_BUFFER);
    }
}

static void pointers_in_regions_mean_the_same_to_kernels(void **state)
{
    /* A list over three regions: the device follows and changes it. */
    const char *source =
        "struct link { global struct link *next; int value; };"
        "kernel void walk(global struct link *l, global int *sum) {"
        " int s = 0; for (; l; l = l->next) { s += l->value; l->value *= 10; }"
        " *sum = s; }";
    cl_kernel k = kernel_of(source, "walk");
    struct link *l[3];
    cl_int *sum = region_of(sizeof(*sum));
    const size_t one = 1;

    for (int i = 0; i < 3; i++) {
        l[i] = region_of(sizeof(*l[i]));
    }
    for (int i = 0; i < 3; i++) {
        map(l[i], sizeof(*l[i]), CL_MAP_WRITE);
        l[i]->next = i < 2 ? l[i + 1] : NULL;
        l[i]->value = i + 1;
        unmap(l[i]);
    }
    ok(clSetKernelArgSVMPointer(k, 0, l[0]));
    ok(clSetKernelArgSVMPointer(k, 1, sum));
    ok(clSetKernelExecInfo(k, CL_KERNEL_EXEC_INFO_SVM_PTRS, sizeof(l), l));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
    map(sum, sizeof(*sum), CL_MAP_READ);
    assert_int_equal(*sum, 6);
    unmap(sum);
    for (int i = 0; i < 3; i++) {
        map(l[i], sizeof(*l[i]), CL_MAP_READ);
        assert_int_equal(l[i]->value, 10 * (i + 1));
        assert_ptr_equal(l[i]->next, i < 2 ? l[i + 1] : NULL);
        unmap(l[i]);
    }
    ok(clFinish(rig.queue));
    for (int i = 0; i < 3; i++) {
        clSVMFree(rig.context, l[i]);
    }
    clSVMFree(rig.context, sum);
    ok(clReleaseKernel(k));
}

static void an_argument_may_point_into_a_region(void **state)
{
    const char *source = "kernel void f(global int *a) { a[0] += a[1]; }";
    cl_kernel k = kernel_of(source, "f");
    const size_t one = 1;
    cl_int *a = region_of(4096);

    map(a, 4096, CL_MAP_WRITE);
    a[100] = 40;
    a[101] = 2;
    unmap(a);
    /* Twice, as the second is known to be right beforehand. */
    ok(clSetKernelArgSVMPointer(k, 0, a));
    ok(clSetKernelArgSVMPointer(k, 0, a + 100));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                              NULL));
    map(a + 100, 8, CL_MAP_READ);
    assert_int_equal(a[100], 42);
    unmap(a + 100);
    ok(clFinish(rig.queue));
    clSVMFree(rig.context, a);
    ok(clReleaseKernel(k));
}

static void an_argument_that_takes_no_pointer_refuses_one(void **state)
{
    const char *source = "kernel void f(global int *a, int b, local int *c,"
                         " sampler_t d, read_only image2d_t e) { a[0] = b; }";
    cl_kernel k = kernel_of(source, "f");
    void *p = region_of(64);

    ok(clSetKernelArgSVMPointer(k, 0, p));
    ok(clSetKernelArgSVMPointer(k, 0, NULL));
    for (cl_uint i = 1; i < 5; i++) {
        assert_int_equal(clSetKernelArgSVMPointer(k, i, p),
                         CL_INVALID_ARG_VALUE);
    }
    assert_int_equal(clSetKernelArgSVMPointer(k, 5, p), CL_INVALID_ARG_INDEX);
    assert_int_equal(clSetKernelArgSVMPointer(NULL, 0, p), CL_INVALID_KERNEL);
    clSVMFree(rig.context, p);
    ok(clReleaseKernel(k));
}

static void large_regions_are_mapped_whole_and_in_part(void **state)
{
    const char *source = "kernel void f(global uint *a) {"
                         " a[get_global_id(0)] = get_global_id(0) * 3; }";
    const size_t n = 10 << 20;
    cl_kernel k = kernel_of(source, "f");
    cl_uint *a = region_of(n * 4);

    ok(clSetKernelArgSVMPointer(k, 0, a));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &n, NULL, 0, NULL, NULL));
    map(a, n * 4, CL_MAP_READ | CL_MAP_WRITE);
    for (size_t i = 0; i < n; i += 1023) {
        assert_int_equal(a[i], i * 3);
    }
    a[n - 1] = 7;
    unmap(a);
    /* Not waited for, and looked at when its event says so. */
    for (size_t at = 0; at < n; at += n / 2) {
        cl_event mapped;

        ok(clEnqueueSVMMap(rig.queue, CL_FALSE, CL_MAP_READ, a + at, n * 2, 0,
                           NULL, &mapped));
        ok(clWaitForEvents(1, &mapped));
        assert_int_equal(a[at + 5], (at + 5) * 3);
        assert_int_equal(a[at + n / 2 - 1], at ? 7 : (n / 2 - 1) * 3);
        ok(clReleaseEvent(mapped));
        unmap(a + at);
    }
    ok(clFinish(rig.queue));
    clSVMFree(rig.context, a);
    ok(clReleaseKernel(k));
}

static void what_is_written_is_there_for_the_next_command(void **state)
{
    char *a = region_of(100000), *b = region_of(100000);
    char text[] = "nobody waited";

    ok(clEnqueueSVMMap(rig.queue, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, a,
                       100000, 0, NULL, NULL));
    memset(a, 'x', 100000);
    memcpy(a + 99000, text, sizeof(text));
    unmap(a);
    ok(clEnqueueSVMMemcpy(rig.queue, CL_FALSE, b, a + 50000, 50000, 0, NULL,
                          NULL));
    map(b, 100000, CL_MAP_READ);
    assert_string_equal(b + 49000, text);
    assert_int_equal(b[0], 'x');
    unmap(b);
    ok(clFinish(rig.queue));
    clSVMFree(rig.context, a);
    clSVMFree(rig.context, b);
}

static void copies_between_regions_and_other_memory(void **state)
{
    enum { SIZE = 300000 };
    static char from[SIZE], to[SIZE];
    char *region = region_of(SIZE);
    cl_event event;
    cl_command_type type;

    fill_random(from, SIZE, 1);
    for (int blocking = 0; blocking < 2; blocking++) {
        memset(to, 0, SIZE);
        from[0] = (char)blocking;
        ok(clEnqueueSVMMemcpy(rig.queue, blocking, region, from, SIZE, 0, NULL,
                              NULL));
        ok(clEnqueueSVMMemcpy(rig.queue, blocking, to, region, SIZE, 0, NULL,
                              &event));
        ok(clWaitForEvents(1, &event));
        assert_memory_equal(from, to, SIZE);
        ok(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof(type), &type,
                          NULL));
        assert_int_equal(type, CL_COMMAND_SVM_MEMCPY);
        ok(clReleaseEvent(event));
    }
    memset(to, 0, SIZE);
    ok(clEnqueueSVMMemcpy(rig.queue, CL_TRUE, to, from, SIZE, 0, NULL, NULL));
    assert_memory_equal(from, to, SIZE);
    clSVMFree(rig.context, region);
}

static void fills_repeat_their_pattern(void **state)
{
    cl_uint pattern = 0xdeadbeef, *a = region_of(4096);

    ok(clEnqueueSVMMemFill(rig.queue, a, &pattern, 4, 4096, 0, NULL, NULL));
    pattern = 5;
    ok(clEnqueueSVMMemFill(rig.queue, a + 16, &pattern, 4, 64, 0, NULL, NULL));
    map(a, 4096, CL_MAP_READ);
    for (int i = 0; i < 1024; i++) {
        assert_int_equal(a[i], i >= 16 && i < 32 ? 5 : 0xdeadbeef);
    }
    unmap(a);
    ok(clFinish(rig.queue));
    clSVMFree(rig.context, a);
}

static void a_buffer_may_be_a_region(void **state)
{
    const char *source = "kernel void f(global int *a) { a[get_global_id(0)]++; }";
    cl_kernel k = kernel_of(source, "f");
    const size_t n = 1024;
    cl_int *a = region_of(n * 4), zero = 0;
    cl_bool uses = CL_FALSE;
    cl_mem m, plain = buffer_of(0, 64, NULL);
    cl_int err;

    ok(clEnqueueSVMMemFill(rig.queue, a, &zero, 4, n * 4, 0, NULL, NULL));
    ok(clFinish(rig.queue));
    m = clCreateBuffer(rig.context, CL_MEM_USE_HOST_PTR, n * 4, a, &err);
    ok(err);
    ok(clGetMemObjectInfo(m, CL_MEM_USES_SVM_POINTER, sizeof(uses), &uses,
                          NULL));
    assert_int_equal(uses, CL_TRUE);
    ok(clGetMemObjectInfo(plain, CL_MEM_USES_SVM_POINTER, sizeof(uses), &uses,
                          NULL));
    assert_int_equal(uses, CL_FALSE);
    /* As a buffer, as a pointer, as a buffer. */
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &n, NULL, 0, NULL, NULL));
    ok(clSetKernelArgSVMPointer(k, 0, a));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &n, NULL, 0, NULL, NULL));
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &n, NULL, 0, NULL, NULL));
    assert_ptr_equal(clEnqueueMapBuffer(rig.queue, m, CL_TRUE, CL_MAP_READ, 0,
                                        n * 4, 0, NULL, NULL, &err), a);
    ok(err);
    assert_int_equal(a[0], 3);
    assert_int_equal(a[n - 1], 3);
    ok(clEnqueueUnmapMemObject(rig.queue, m, a, 0, NULL, NULL));
    ok(clFinish(rig.queue));
    ok(clReleaseMemObject(m));
    ok(clReleaseMemObject(plain));
    clSVMFree(rig.context, a);
    ok(clReleaseKernel(k));
}

static void CL_CALLBACK free_them(cl_command_queue queue, cl_uint n,
                                  void *pointers[], void *user_data)
{
    for (cl_uint i = 0; i < n; i++) {
        clSVMFree(rig.context, pointers[i]);
    }
    *(volatile int *)user_data += (int)n;
}

static void frees_come_when_it_is_their_turn(void **state)
{
    volatile int freed = 0;
    void *p[2];
    cl_event go, done;
    cl_command_type type;
    cl_int err;

    go = clCreateUserEvent(rig.context, &err);
    ok(err);
    p[0] = region_of(5000);
    p[1] = region_of(50);
    ok(clEnqueueSVMFree(rig.queue, 2, p, free_them, (void *)&freed, 1, &go,
                        &done));
    ok(clFlush(rig.queue));
    assert_int_equal(freed, 0);
    ok(clSetUserEventStatus(go, CL_COMPLETE));
    ok(clWaitForEvents(1, &done));
    assert_int_equal(freed, 2);
    ok(clGetEventInfo(done, CL_EVENT_COMMAND_TYPE, sizeof(type), &type, NULL));
    assert_int_equal(type, CL_COMMAND_SVM_FREE);
    ok(clReleaseEvent(done));
    ok(clReleaseEvent(go));
    /* Without a function the memory is freed for us, behind what uses it. */
    p[0] = region_of(1 << 20);
    ok(clEnqueueSVMMemFill(rig.queue, p[0], &(char){ 1 }, 1, 1 << 20, 0, NULL,
                           NULL));
    ok(clEnqueueSVMFree(rig.queue, 1, p, NULL, NULL, 0, NULL, NULL));
    ok(clFinish(rig.queue));
}

static void regions_come_and_go(void **state)
{
    enum { MANY = 200 };
    char *p[MANY];

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            p[i] = region_of((size_t)i * 37 + 1);
            assert_int_equal((uintptr_t)p[i] % 128, 0);
        }
        for (int i = 0; i < MANY; i++) {
            ok(clEnqueueSVMMemFill(rig.queue, p[i], &(char){ (char)i }, 1,
                                   (size_t)i * 37 + 1, 0, NULL, NULL));
        }
        for (int i = 0; i < MANY; i++) {
            map(p[i], (size_t)i * 37 + 1, CL_MAP_READ);
            assert_int_equal(p[i][0], (char)i);
            assert_int_equal(p[i][i * 37], (char)i);
            unmap(p[i]);
        }
        ok(clFinish(rig.queue));
        for (int i = 0; i < MANY; i++) {
            clSVMFree(rig.context, p[i]);
        }
    }
}

/* The host's allocator would offer places near this one again and again. */
static void a_region_whose_place_is_taken_lies_elsewhere(void **state)
{
    enum { NEAR = 128, STEP = 1 << 20 };
    static void *taken[2 * NEAR];
    char *p = region_of(5000), *q;
    uintptr_t near = ((uintptr_t)p & ~(uintptr_t)(STEP - 1)) -
                     (uintptr_t)NEAR * STEP;

    clSVMFree(rig.context, p);
    for (int i = 0; i < 2 * NEAR; i++) {
        taken[i] = mmap((void *)(near + (uintptr_t)i * STEP), STEP, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                        MAP_FIXED_NOREPLACE, -1, 0);
    }
    q = region_of(5000);
    map(q, 5000, CL_MAP_WRITE);
    q[4999] = 1;
    unmap(q);
    ok(clFinish(rig.queue));
    clSVMFree(rig.context, q);
    for (int i = 0; i < 2 * NEAR; i++) {
        if (taken[i] != MAP_FAILED) {
            munmap(taken[i], STEP);
        }
    }
}

static void commands_on_nothing_are_refused(void **state)
{
    char *a = region_of(4096), other[64] = { 0 };
    const void *list[] = { a };
    const size_t sizes[] = { 0 };

    assert_int_equal(clEnqueueSVMMap(rig.queue, CL_TRUE, CL_MAP_READ, a, 0, 0,
                                     NULL, NULL), CL_INVALID_VALUE);
    assert_int_equal(clEnqueueSVMMap(rig.queue, CL_TRUE, CL_MAP_READ, NULL, 1,
                                     0, NULL, NULL), CL_INVALID_VALUE);
    assert_int_equal(clEnqueueSVMUnmap(rig.queue, NULL, 0, NULL, NULL),
                     CL_INVALID_VALUE);
    assert_int_equal(clEnqueueSVMMemcpy(rig.queue, CL_TRUE, a, a + 10, 100, 0,
                                        NULL, NULL), CL_MEM_COPY_OVERLAP);
    assert_int_equal(clEnqueueSVMMemcpy(rig.queue, CL_TRUE, a, NULL, 100, 0,
                                        NULL, NULL), CL_INVALID_VALUE);
    assert_int_equal(clEnqueueSVMMemFill(rig.queue, a + 1, other, 4, 8, 0,
                                         NULL, NULL), CL_INVALID_VALUE);
    assert_int_equal(clEnqueueSVMMemFill(rig.queue, a, other, 4, 7, 0, NULL,
                                         NULL), CL_INVALID_VALUE);
    assert_int_equal(clEnqueueSVMMemFill(rig.queue, a, other, 3, 9, 0, NULL,
                                         NULL), CL_INVALID_VALUE);
    assert_int_equal(clEnqueueSVMMigrateMem(rig.queue, 0, list, sizes, 0, 0,
                                            NULL, NULL), CL_INVALID_VALUE);
    ok(clEnqueueSVMMigrateMem(rig.queue, 1, list, sizes, 0, 0, NULL, NULL));
    ok(clEnqueueSVMMigrateMem(rig.queue, 1, list, NULL, 0, 0, NULL, NULL));
    ok(clFinish(rig.queue));
    if (is_remote()) {
        /* The specification's; the host's pocl does not look. */
        assert_int_equal(clEnqueueSVMMap(rig.queue, CL_TRUE, CL_MAP_READ, a,
                                         4097, 0, NULL, NULL),
                         CL_INVALID_VALUE);
        assert_int_equal(clEnqueueSVMMap(rig.queue, CL_TRUE, CL_MAP_READ,
                                         other, 1, 0, NULL, NULL),
                         CL_INVALID_VALUE);
        assert_int_equal(clEnqueueSVMUnmap(rig.queue, a, 0, NULL, NULL),
                         CL_INVALID_VALUE);
    }
    clSVMFree(rig.context, a);
    clSVMFree(rig.context, NULL);
}

/*
 * The bytes of a map that nobody waited for come when there is nothing left to put
 * them into.
 */
static void a_region_may_go_before_its_bytes_have_come(void **state)
{
    enum { SIZE = 20 << 20 }; /* comes in several pieces */
    cl_event go = clCreateUserEvent(rig.context, NULL);
    char *a = region_of(SIZE), *b = region_of(SIZE), *c = region_of(SIZE);

    ok(clEnqueueSVMMemFill(rig.queue, b, &(char){ 5 }, 1, SIZE, 0, NULL, NULL));
    ok(clEnqueueSVMMap(rig.queue, CL_FALSE, CL_MAP_READ, a, SIZE, 1, &go,
                       NULL));
    ok(clEnqueueSVMMap(rig.queue, CL_FALSE, CL_MAP_READ, b, SIZE, 0, NULL,
                       NULL));
    ok(clEnqueueSVMMap(rig.queue, CL_FALSE, CL_MAP_READ, c + 1, SIZE - 1, 0,
                       NULL, NULL));
    clSVMFree(rig.context, a);
    clSVMFree(rig.context, c);
    ok(clSetUserEventStatus(go, CL_COMPLETE));
    ok(clFinish(rig.queue));
    assert_int_equal(b[0], 5);
    assert_int_equal(b[SIZE - 1], 5);
    unmap(b);
    ok(clFinish(rig.queue));
    clSVMFree(rig.context, b);
    ok(clReleaseEvent(go));
}

static void impossible_regions_are_none(void **state)
{
    cl_ulong most = 0;

    ok(clGetDeviceInfo(rig.device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(most),
                       &most, NULL));
    assert_null(clSVMAlloc(NULL, CL_MEM_READ_WRITE, 64, 0));
    assert_null(clSVMAlloc(rig.context, CL_MEM_READ_WRITE, 0, 0));
    assert_null(clSVMAlloc(rig.context, CL_MEM_READ_WRITE, most + 1, 0));
    assert_null(clSVMAlloc(rig.context, CL_MEM_READ_WRITE, 64, 3));
    assert_null(clSVMAlloc(rig.context, CL_MEM_READ_WRITE | CL_MEM_READ_ONLY,
                           64, 0));
    assert_null(clSVMAlloc(rig.context, CL_MEM_SVM_ATOMICS, 64, 0));
    if (is_remote()) {
        assert_null(clSVMAlloc(rig.context, CL_MEM_COPY_HOST_PTR, 64, 0));
        assert_null(clSVMAlloc(rig.context, CL_MEM_READ_WRITE |
                               CL_MEM_SVM_FINE_GRAIN_BUFFER, 64, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_have_coarse_grain_buffers),
        cmocka_unit_test(pointers_in_regions_mean_the_same_to_kernels),
        cmocka_unit_test(an_argument_may_point_into_a_region),
        cmocka_unit_test(an_argument_that_takes_no_pointer_refuses_one),
        cmocka_unit_test(large_regions_are_mapped_whole_and_in_part),
        cmocka_unit_test(what_is_written_is_there_for_the_next_command),
        cmocka_unit_test(copies_between_regions_and_other_memory),
        cmocka_unit_test(fills_repeat_their_pattern),
        cmocka_unit_test(a_buffer_may_be_a_region),
        cmocka_unit_test(frees_come_when_it_is_their_turn),
        cmocka_unit_test(regions_come_and_go),
        cmocka_unit_test(a_region_whose_place_is_taken_lies_elsewhere),
        cmocka_unit_test(a_region_may_go_before_its_bytes_have_come),
        cmocka_unit_test(commands_on_nothing_are_refused),
        cmocka_unit_test(impossible_regions_are_none),
    };

    return cmocka_run_group_tests(tests, rig_up, rig_down);
}
