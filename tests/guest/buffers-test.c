/*
 * Buffers: whatever is written, filled, copied and mapped is there afterwards.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <sys/mman.h>
#include <unistd.h>

/* Below and above each way that data travel: inline, pooled, streamed, in chunks. */
static const size_t sizes[] = { 1, 7, 64, 4000, 4096, 4097, 65536, 300001,
                                1 << 20, (9 << 20) + 5, (40 << 20) + 3 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void blocking_transfers_keep_every_byte(void **state)
{
    for (size_t i = 0; i < SIZES; i++) {
        char *data = malloc(sizes[i]);
        cl_mem m = buffer_of(0, sizes[i] + 3, NULL);

        fill_random(data, sizes[i], (uint32_t)i);
        ok(clEnqueueWriteBuffer(rig.queue, m, CL_TRUE, 3, sizes[i], data, 0,
                                NULL, NULL));
        expect_bytes(m, 3, sizes[i], data);
        ok(clReleaseMemObject(m));
        free(data);
    }
}

static void late_transfers_keep_every_byte(void **state)
{
    for (size_t i = 0; i < SIZES; i++) {
        char *data = malloc(sizes[i]), *got = calloc(1, sizes[i]);
        cl_mem m = buffer_of(0, sizes[i], NULL);

        fill_random(data, sizes[i], (uint32_t)i + 100);
        ok(clEnqueueWriteBuffer(rig.queue, m, CL_FALSE, 0, sizes[i], data, 0,
                                NULL, NULL));
        ok(clEnqueueReadBuffer(rig.queue, m, CL_FALSE, 0, sizes[i], got, 0,
                               NULL, NULL));
        ok(clFinish(rig.queue));
        assert_memory_equal(got, data, sizes[i]);
        ok(clReleaseMemObject(m));
        free(data);
        free(got);
    }
}

/* What is sent and not waited for is a copy of its moment, not of the end. */
static void many_late_writes_keep_their_order(void **state)
{
    enum { COUNT = 1000, SIZE = 6000 };
    static uint8_t data[COUNT][SIZE], got[SIZE];
    cl_mem m = buffer_of(0, SIZE, NULL);

    for (int i = 0; i < COUNT; i++) {
        memset(data[i], i, SIZE);
        ok(clEnqueueWriteBuffer(rig.queue, m, CL_FALSE, 0, SIZE, data[i], 0,
                                NULL, NULL));
        if (i % 100 == 99) {
            ok(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 0, SIZE, got, 0,
                                   NULL, NULL));
            assert_memory_equal(got, data[i], SIZE);
        }
    }
    ok(clReleaseMemObject(m));
}

static void initial_contents_are_there(void **state)
{
    for (size_t i = 0; i < SIZES; i++) {
        char *data = malloc(sizes[i]);
        cl_mem m;

        fill_random(data, sizes[i], (uint32_t)i + 200);
        m = buffer_of(CL_MEM_READ_ONLY, sizes[i], data);
        expect_bytes(m, 0, sizes[i], data);
        ok(clReleaseMemObject(m));
        m = buffer_of(CL_MEM_ALLOC_HOST_PTR, sizes[i], data);
        expect_bytes(m, 0, sizes[i], data);
        ok(clReleaseMemObject(m));
        free(data);
    }
}

static void boxes_move_alone(void **state)
{
    enum { W = 40, H = 30, D = 5, SIZE = W * H * D };
    static uint8_t data[SIZE], part[20 * 15 * 3], whole[SIZE], expected[SIZE];
    const size_t at[3] = { 7, 4, 1 }, from[3] = { 2, 3, 0 };
    const size_t region[3] = { 11, 9, 3 };
    cl_mem m;

    fill_random(data, SIZE, 1);
    fill_random(part, sizeof(part), 2);
    memcpy(expected, data, SIZE);
    m = buffer_of(0, SIZE, data);
    for (size_t z = 0; z < region[2]; z++) {
        for (size_t y = 0; y < region[1]; y++) {
            memcpy(&expected[at[0] + (at[1] + y) * W + (at[2] + z) * W * H],
                   &part[from[0] + (from[1] + y) * 20 +
                         (from[2] + z) * 20 * 15], region[0]);
        }
    }
    for (int blocking = 0; blocking < 2; blocking++) {
        ok(clEnqueueWriteBufferRect(rig.queue, m, blocking, at, from, region, W,
                                    W * H, 20, 20 * 15, part, 0, NULL, NULL));
        expect_bytes(m, 0, SIZE, expected);
        memcpy(whole, data, SIZE);
        ok(clEnqueueReadBufferRect(rig.queue, m, blocking, at, at, region, W,
                                   W * H, W, W * H, whole, 0, NULL, NULL));
        ok(clFinish(rig.queue));
        /* The gaps of the program's memory are its own. */
        assert_memory_equal(whole, expected, SIZE);
    }
    ok(clReleaseMemObject(m));
}

static void copies_and_fills(void **state)
{
    enum { SIZE = 10000 };
    static uint8_t data[SIZE], expected[SIZE];
    const uint32_t pattern = 0x12345678;
    const size_t a[3] = { 0, 0, 0 }, b[3] = { 100, 2, 0 };
    const size_t region[3] = { 50, 3, 1 };
    cl_mem m, n;

    fill_random(data, SIZE, 3);
    m = buffer_of(0, SIZE, data);
    n = buffer_of(0, SIZE, data);
    memcpy(expected, data, SIZE);
    memcpy(expected + 100, data + 3000, 500);
    ok(clEnqueueCopyBuffer(rig.queue, m, n, 3000, 100, 500, 0, NULL, NULL));
    for (size_t i = 4000; i < 4400; i += 4) {
        memcpy(expected + i, &pattern, 4);
    }
    ok(clEnqueueFillBuffer(rig.queue, n, &pattern, 4, 4000, 400, 0, NULL,
                           NULL));
    expect_bytes(n, 0, SIZE, expected);
    for (size_t y = 0; y < region[1]; y++) {
        memcpy(expected + 100 + (2 + y) * 1000, data + y * 1000, region[0]);
    }
    ok(clEnqueueCopyBufferRect(rig.queue, m, n, a, b, region, 1000, 0, 1000, 0,
                               0, NULL, NULL));
    expect_bytes(n, 0, SIZE, expected);
    assert_int_equal(clEnqueueCopyBuffer(rig.queue, m, m, 0, 100, 200, 0, NULL,
                                         NULL), CL_MEM_COPY_OVERLAP);
    ok(clReleaseMemObject(m));
    ok(clReleaseMemObject(n));
}

static void parts_are_the_whole(void **state)
{
    enum { SIZE = 65536, AT = 8192, PART = 4096 };
    static uint8_t data[SIZE], other[PART];
    cl_buffer_region region = { AT, PART };
    cl_mem m, part, parent;
    size_t offset;
    cl_int err;

    fill_random(data, SIZE, 4);
    fill_random(other, PART, 5);
    m = buffer_of(0, SIZE, data);
    part = clCreateSubBuffer(m, CL_MEM_READ_WRITE,
                             CL_BUFFER_CREATE_TYPE_REGION, &region, &err);
    ok(err);
    expect_bytes(part, 0, PART, data + AT);
    ok(clEnqueueWriteBuffer(rig.queue, part, CL_TRUE, 0, PART, other, 0, NULL,
                            NULL));
    memcpy(data + AT, other, PART);
    ok(clGetMemObjectInfo(part, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(parent),
                          &parent, NULL));
    ok(clGetMemObjectInfo(part, CL_MEM_OFFSET, sizeof(offset), &offset, NULL));
    assert_ptr_equal(parent, m);
    assert_int_equal(offset, AT);
    ok(clReleaseMemObject(m)); /* the part keeps it */
    expect_bytes(part, 100, 100, data + AT + 100);
    ok(clReleaseMemObject(part));
}

/* Read by a map, changed, and written by the unmap, whatever the memory is. */
static void check_mapping(cl_mem m, size_t size, uint8_t *expected)
{
    const size_t at = size / 3, n = size / 2;
    cl_event event;
    uint8_t *p;
    cl_int err;

    p = clEnqueueMapBuffer(rig.queue, m, CL_TRUE, CL_MAP_READ, at, n, 0, NULL,
                           NULL, &err);
    ok(err);
    assert_memory_equal(p, expected + at, n);
    ok(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, NULL));

    p = clEnqueueMapBuffer(rig.queue, m, CL_FALSE, CL_MAP_READ | CL_MAP_WRITE,
                           at, n, 0, NULL, &event, &err);
    ok(err);
    ok(clWaitForEvents(1, &event));
    ok(clReleaseEvent(event));
    assert_memory_equal(p, expected + at, n);
    fill_random(p, n, 77);
    fill_random(expected + at, n, 77);
    ok(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, &event));
    ok(clWaitForEvents(1, &event));
    ok(clReleaseEvent(event));
    expect_bytes(m, 0, size, expected);

    p = clEnqueueMapBuffer(rig.queue, m, CL_TRUE,
                           CL_MAP_WRITE_INVALIDATE_REGION, 0, size, 0, NULL,
                           NULL, &err);
    ok(err);
    fill_random(p, size, 78);
    fill_random(expected, size, 78);
    ok(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, NULL));
    expect_bytes(m, 0, size, expected);
    assert_int_equal(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, NULL),
                     CL_INVALID_VALUE);
}

static void maps_show_and_take(void **state)
{
    const cl_mem_flags flags[] = { CL_MEM_COPY_HOST_PTR,
                                   CL_MEM_COPY_HOST_PTR | CL_MEM_ALLOC_HOST_PTR,
                                   CL_MEM_USE_HOST_PTR };
    const size_t map_sizes[] = { 300, 8192, 1000000 };

    for (size_t f = 0; f < 3; f++) {
        for (size_t i = 0; i < 3; i++) {
            size_t size = map_sizes[i];
            uint8_t *data = aligned_alloc(4096, (size + 4095) & ~4095ul);
            uint8_t *expected = malloc(size);
            cl_mem m;
            cl_int err;

            fill_random(data, size, (uint32_t)(f + i));
            memcpy(expected, data, size);
            m = clCreateBuffer(rig.context, flags[f], size, data, &err);
            ok(err);
            check_mapping(m, size, expected);
            ok(clReleaseMemObject(m));
            free(data);
            free(expected);
        }
    }
}

static cl_uint map_count(cl_mem m)
{
    cl_uint n = 99;

    ok(clGetMemObjectInfo(m, CL_MEM_MAP_COUNT, sizeof(n), &n, NULL));
    return n;
}

/* To be read, the same bytes may be mapped as often as one likes. */
static void maps_to_read_may_overlap(void **state)
{
    enum { SIZE = 50000 };
    static uint8_t data[SIZE];

    fill_random(data, SIZE, 8);
    for (int alloc = 0; alloc < 2; alloc++) {
        cl_mem m = buffer_of(alloc ? CL_MEM_ALLOC_HOST_PTR : 0, SIZE, data);
        const size_t at[] = { 0, 10000, 10000, 49999 };
        uint8_t *p[4];
        cl_int err;

        for (int i = 0; i < 4; i++) {
            p[i] = clEnqueueMapBuffer(rig.queue, m, CL_TRUE, CL_MAP_READ, at[i],
                                      i < 3 ? 30000 : 1, 0, NULL, NULL, &err);
            ok(err);
            assert_int_equal(map_count(m), i + 1);
        }
        for (int i = 0; i < 4; i++) {
            assert_memory_equal(p[i], data + at[i], i < 3 ? 30000 : 1);
            ok(clEnqueueUnmapMemObject(rig.queue, m, p[i], 0, NULL, NULL));
        }
        ok(clFinish(rig.queue));
        assert_int_equal(map_count(m), 0);
        ok(clReleaseMemObject(m));
    }
}

static void migrated_buffers_keep_every_byte(void **state)
{
    enum { SIZE = 10000 };
    static uint8_t data[SIZE];
    cl_event done;
    cl_mem m[2];

    fill_random(data, SIZE, 9);
    m[0] = buffer_of(0, SIZE, data);
    m[1] = buffer_of(CL_MEM_ALLOC_HOST_PTR, SIZE, data);
    ok(clEnqueueMigrateMemObjects(rig.queue, 2, m, CL_MIGRATE_MEM_OBJECT_HOST,
                                  0, NULL, &done));
    ok(clEnqueueMigrateMemObjects(rig.queue, 2, m, 0, 1, &done, NULL));
    expect_bytes(m[0], 0, SIZE, data);
    expect_bytes(m[1], 0, SIZE, data);
    ok(clReleaseEvent(done));
    ok(clReleaseMemObject(m[0]));
    ok(clReleaseMemObject(m[1]));
}

/*
 * A blocking transfer takes its turn in the queue, however it is made: behind slow
 * kernels that read and write the same large buffers, and in front of later ones.
 */
static void transfers_take_their_turn(void **state)
{
    const char *source =
        "kernel void slow(global const int *from, global int *to, int n) {"
        "    int sum = 0;"
        "    for (int round = 0; round < 16; round++)"
        "        for (int i = 0; i < n; i++)"
        "            sum += from[i] * (round == 15);"
        "    for (int i = 0; i < n; i++) to[i] = from[i] + sum - sum;"
        "}";
    const cl_int n = 1 << 18;
    const size_t size = (size_t)n * sizeof(cl_int), one = 1;
    cl_kernel k = kernel_of(source, "slow");
    char *first = malloc(size), *second = malloc(size), *got = malloc(size);
    cl_mem from = buffer_of(0, size, NULL), to = buffer_of(0, size, NULL);

    fill_random(first, size, 1);
    fill_random(second, size, 2);
    ok(clSetKernelArg(k, 0, sizeof(from), &from));
    ok(clSetKernelArg(k, 1, sizeof(to), &to));
    ok(clSetKernelArg(k, 2, sizeof(n), &n));
    for (int i = 0; i < 5; i++) {
        ok(clEnqueueWriteBuffer(rig.queue, from, true, 0, size, first, 0, NULL,
                                NULL));
        ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                                  NULL));
        /* Not before the kernel has read what was there. */
        ok(clEnqueueWriteBuffer(rig.queue, from, true, 0, size, second, 0,
                                NULL, NULL));
        ok(clEnqueueReadBuffer(rig.queue, to, true, 0, size, got, 0, NULL,
                               NULL));
        assert_memory_equal(got, first, size);
        ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &one, NULL, 0, NULL,
                                  NULL));
        /* Not before the kernel has written it. */
        ok(clEnqueueReadBuffer(rig.queue, to, true, 0, size, got, 0, NULL,
                               NULL));
        assert_memory_equal(got, second, size);
    }
    ok(clReleaseMemObject(from));
    ok(clReleaseMemObject(to));
    ok(clReleaseKernel(k));
    free(first);
    free(second);
    free(got);
}

/* A kernel sees what was put into mapped memory, and the map what it made of it. */
static void kernels_and_maps_share(void **state)
{
    const char *source = "kernel void f(global int *a) {"
                         " a[get_global_id(0)] = a[get_global_id(0)] * 2 + 1; }";
    const size_t n = 100000;
    cl_kernel k = kernel_of(source, "f");
    cl_mem m = buffer_of(CL_MEM_ALLOC_HOST_PTR, n * 4, NULL);
    cl_int err, *p;

    p = clEnqueueMapBuffer(rig.queue, m, CL_TRUE,
                           CL_MAP_WRITE_INVALIDATE_REGION, 0, n * 4, 0, NULL,
                           NULL, &err);
    ok(err);
    for (size_t i = 0; i < n; i++) {
        p[i] = (cl_int)i;
    }
    ok(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, NULL));
    ok(clSetKernelArg(k, 0, sizeof(m), &m));
    ok(clEnqueueNDRangeKernel(rig.queue, k, 1, NULL, &n, NULL, 0, NULL, NULL));
    p = clEnqueueMapBuffer(rig.queue, m, CL_TRUE, CL_MAP_READ, 0, n * 4, 0,
                           NULL, NULL, &err);
    ok(err);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(p[i], 2 * i + 1);
    }
    ok(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, NULL));
    ok(clFinish(rig.queue));
    ok(clReleaseMemObject(m));
    ok(clReleaseKernel(k));
}

/* From a mapped buffer into another one: the memory is shared already. */
static void mapped_memory_can_be_written_from(void **state)
{
    enum { SIZE = 1 << 20 };
    uint8_t *data = malloc(SIZE), *p;
    cl_mem a, b;
    cl_int err;

    fill_random(data, SIZE, 6);
    a = buffer_of(CL_MEM_ALLOC_HOST_PTR, SIZE, data);
    b = buffer_of(0, SIZE, NULL);
    p = clEnqueueMapBuffer(rig.queue, a, CL_TRUE, CL_MAP_READ, 0, SIZE, 0,
                           NULL, NULL, &err);
    ok(err);
    ok(clEnqueueWriteBuffer(rig.queue, b, CL_FALSE, 0, SIZE, p, 0, NULL,
                            NULL));
    ok(clFinish(rig.queue));
    expect_bytes(b, 0, SIZE, data);
    memset(data, 0, SIZE);
    assert_memory_not_equal(p, data, SIZE);
    ok(clEnqueueUnmapMemObject(rig.queue, a, p, 0, NULL, NULL));
    ok(clReleaseMemObject(a));
    ok(clReleaseMemObject(b));
    free(data);
}

static void called_at_the_end(cl_mem m, void *user_data)
{
    ++*(int *)user_data;
}

static void destructors_are_called_once(void **state)
{
    int calls = 0;
    cl_mem m = buffer_of(0, 100, NULL);

    ok(clSetMemObjectDestructorCallback(m, called_at_the_end, &calls));
    ok(clRetainMemObject(m));
    ok(clReleaseMemObject(m));
    assert_int_equal(calls, 0);
    ok(clReleaseMemObject(m));
    ok(clFinish(rig.queue));
    assert_int_equal(calls, 1);
}

struct lent {
    char *memory;
    size_t size;
    _Atomic int calls;
};

static void give_back(cl_mem m, void *opaque)
{
    struct lent *lent = opaque;

    munmap(lent->memory, lent->size);
    lent->calls++;
}

/* What a program lent to a buffer is its own again when no command uses it any more. */
static void a_destructor_may_take_the_memory_away(void **state)
{
    struct lent lent = { .size = 40 << 20 };
    cl_event go = clCreateUserEvent(rig.context, NULL);
    void *p;
    cl_mem m;

    lent.memory = mmap(NULL, lent.size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(lent.memory, MAP_FAILED);
    m = clCreateBuffer(rig.context, CL_MEM_USE_HOST_PTR, lent.size, lent.memory,
                       NULL);
    assert_non_null(m);
    ok(clSetMemObjectDestructorCallback(m, give_back, &lent));
    p = clEnqueueMapBuffer(rig.queue, m, CL_FALSE, CL_MAP_READ, 0, lent.size, 1,
                           &go, NULL, NULL);
    assert_ptr_equal(p, lent.memory);
    ok(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, NULL));
    ok(clReleaseMemObject(m));
    assert_int_equal(lent.calls, 0);
    ok(clSetUserEventStatus(go, CL_COMPLETE));
    ok(clFinish(rig.queue));
    for (uint64_t end = now_ms() + 5000; !lent.calls && now_ms() < end;) {
        usleep(1000);
    }
    assert_int_equal(lent.calls, 1);
    ok(clReleaseEvent(go));
}

/* More than there are ids or shared memory, if any of it were kept. */
static void nothing_is_used_up(void **state)
{
    static char data[8192];

    for (int i = 0; i < 20000; i++) {
        cl_mem m = buffer_of(i % 100 ? 0 : CL_MEM_ALLOC_HOST_PTR,
                             i % 100 ? 64 : 70000, NULL);

        if (i % 10 == 0) {
            ok(clEnqueueWriteBuffer(rig.queue, m, CL_FALSE, 0, 64, data, 0,
                                    NULL, NULL));
        }
        ok(clReleaseMemObject(m));
    }
    ok(clFinish(rig.queue));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocking_transfers_keep_every_byte),
        cmocka_unit_test(late_transfers_keep_every_byte),
        cmocka_unit_test(many_late_writes_keep_their_order),
        cmocka_unit_test(initial_contents_are_there),
        cmocka_unit_test(boxes_move_alone),
        cmocka_unit_test(copies_and_fills),
        cmocka_unit_test(parts_are_the_whole),
        cmocka_unit_test(maps_show_and_take),
        cmocka_unit_test(maps_to_read_may_overlap),
        cmocka_unit_test(migrated_buffers_keep_every_byte),
        cmocka_unit_test(transfers_take_their_turn),
        cmocka_unit_test(kernels_and_maps_share),
        cmocka_unit_test(mapped_memory_can_be_written_from),
        cmocka_unit_test(destructors_are_called_once),
        cmocka_unit_test(a_destructor_may_take_the_memory_away),
        cmocka_unit_test(nothing_is_used_up),
    };

    return cmocka_run_group_tests_name("buffers", tests, rig_up, rig_down);
}
