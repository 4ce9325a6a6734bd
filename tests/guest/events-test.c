/*
 * Events, wait lists and callbacks: what is ordered stays so, and who waits for
 * one thing holds up no other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static cl_int status_of(cl_event event)
{
    cl_int status = 1234;

    ok(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status),
                      &status, NULL));
    return status;
}

static void a_user_event_holds_commands_back(void **state)
{
    cl_event gate = clCreateUserEvent(rig.context, NULL), done;
    uint32_t data[4] = { 1, 2, 3, 4 }, got[4] = { 0 };
    cl_command_type type;
    cl_mem m = buffer_of(0, sizeof(data), NULL);

    assert_non_null(gate);
    ok(clEnqueueWriteBuffer(rig.queue, m, CL_FALSE, 0, sizeof(data), data, 1,
                            &gate, NULL));
    ok(clEnqueueReadBuffer(rig.queue, m, CL_FALSE, 0, sizeof(got), got, 0, NULL,
                           &done));
    ok(clFlush(rig.queue));
    usleep(20000);
    assert_int_not_equal(status_of(done), CL_COMPLETE);
    assert_int_equal(got[0], 0);
    assert_int_equal(status_of(gate), CL_SUBMITTED);
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    assert_int_equal(clSetUserEventStatus(gate, CL_COMPLETE),
                     CL_INVALID_OPERATION);
    ok(clWaitForEvents(1, &done));
    assert_memory_equal(got, data, sizeof(got));
    assert_int_equal(status_of(done), CL_COMPLETE);
    ok(clGetEventInfo(done, CL_EVENT_COMMAND_TYPE, sizeof(type), &type, NULL));
    assert_int_equal(type, CL_COMMAND_READ_BUFFER);
    ok(clReleaseEvent(gate));
    ok(clReleaseEvent(done));
    ok(clReleaseMemObject(m));
}

/* Whoever asks for the status, and learns that it is done, has the bytes. */
static void a_late_read_is_there_when_its_status_says_so(void **state)
{
    enum { SIZE = 200000 };
    uint8_t *data = malloc(SIZE), *got = malloc(SIZE);
    cl_event done;
    cl_mem m;

    for (uint32_t round = 0; round < 20; round++) {
        fill_random(data, SIZE, round);
        memset(got, 0, SIZE);
        m = buffer_of(0, SIZE, data);
        ok(clEnqueueReadBuffer(rig.queue, m, CL_FALSE, 0, SIZE, got, 0, NULL,
                               &done));
        ok(clFlush(rig.queue));
        while (status_of(done) != CL_COMPLETE) {
        }
        assert_memory_equal(got, data, SIZE);
        ok(clReleaseEvent(done));
        ok(clReleaseMemObject(m));
    }
    free(data);
    free(got);
}

static void an_error_travels_along_the_wait_list(void **state)
{
    cl_event gate = clCreateUserEvent(rig.context, NULL), done;
    cl_mem m = buffer_of(0, 4, NULL);
    uint32_t zero = 0;

    ok(clEnqueueFillBuffer(rig.queue, m, &zero, 4, 0, 4, 1, &gate, &done));
    ok(clFlush(rig.queue));
    ok(clSetUserEventStatus(gate, -5));
    assert_int_equal(clWaitForEvents(1, &done),
                     CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    assert_true(status_of(done) < 0);
    ok(clReleaseEvent(gate));
    ok(clReleaseEvent(done));
    ok(clReleaseMemObject(m));
}

static cl_command_queue out_of_order_queue(void)
{
    cl_int err;
    cl_command_queue q = clCreateCommandQueue(
        rig.context, rig.device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &err);

    ok(err);
    return q;
}

static void out_of_order_commands_wait_for_their_lists_alone(void **state)
{
    cl_command_queue q = out_of_order_queue();
    cl_event gate = clCreateUserEvent(rig.context, NULL);
    cl_event held, other, barrier, behind;
    cl_mem a = buffer_of(0, 4, NULL), b = buffer_of(0, 4, NULL);
    const uint32_t one = 1, two = 2, three = 3;

    ok(clEnqueueFillBuffer(q, a, &one, 4, 0, 4, 1, &gate, &held));
    ok(clEnqueueFillBuffer(q, b, &two, 4, 0, 4, 0, NULL, &other));
    ok(clFlush(q));
    ok(clWaitForEvents(1, &other));
    assert_int_not_equal(status_of(held), CL_COMPLETE);
    /* A barrier is for all, before it and behind. */
    ok(clEnqueueBarrierWithWaitList(q, 0, NULL, &barrier));
    ok(clEnqueueFillBuffer(q, b, &three, 4, 0, 4, 0, NULL, &behind));
    ok(clFlush(q));
    usleep(20000);
    assert_int_not_equal(status_of(barrier), CL_COMPLETE);
    assert_int_not_equal(status_of(behind), CL_COMPLETE);
    expect_bytes(b, 0, 4, &two);
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    ok(clFinish(q));
    expect_bytes(a, 0, 4, &one);
    expect_bytes(b, 0, 4, &three);
    ok(clReleaseEvent(gate));
    ok(clReleaseEvent(held));
    ok(clReleaseEvent(other));
    ok(clReleaseEvent(barrier));
    ok(clReleaseEvent(behind));
    ok(clReleaseMemObject(a));
    ok(clReleaseMemObject(b));
    ok(clReleaseCommandQueue(q));
}

/* More than goes at once, and only the wait lists keep the order. */
static void large_transfers_out_of_order_keep_every_byte(void **state)
{
    enum { SIZE = (20 << 20) + 3 };
    cl_command_queue q = out_of_order_queue();
    uint8_t *data = malloc(SIZE), *got = calloc(1, SIZE);
    cl_event gate = clCreateUserEvent(rig.context, NULL), written, done;
    cl_mem m = buffer_of(0, SIZE, NULL);

    fill_random(data, SIZE, 7);
    ok(clEnqueueWriteBuffer(q, m, CL_FALSE, 0, SIZE, data, 1, &gate, &written));
    ok(clEnqueueReadBuffer(q, m, CL_FALSE, 0, SIZE, got, 1, &written, &done));
    ok(clFlush(q));
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    ok(clWaitForEvents(1, &done));
    assert_memory_equal(got, data, SIZE);
    ok(clReleaseEvent(gate));
    ok(clReleaseEvent(written));
    ok(clReleaseEvent(done));
    ok(clReleaseMemObject(m));
    ok(clReleaseCommandQueue(q));
    free(data);
    free(got);
}

/* As OpenCL 1.0 had them. */
static void older_markers_and_barriers(void **state)
{
    cl_event gate = clCreateUserEvent(rig.context, NULL), marker;
    cl_mem m = buffer_of(0, 4, NULL);
    cl_command_type type = 0;
    const uint32_t one = 1;

    if (is_remote()) {
        ok(clEnqueueWaitForEvents(rig.queue, 1, &gate));
    } else { /* where pocl ends the program */
        ok(clEnqueueBarrierWithWaitList(rig.queue, 1, &gate, NULL));
    }
    ok(clEnqueueFillBuffer(rig.queue, m, &one, 4, 0, 4, 0, NULL, NULL));
    ok(clEnqueueBarrier(rig.queue));
    ok(clEnqueueMarker(rig.queue, &marker));
    ok(clGetEventInfo(marker, CL_EVENT_COMMAND_TYPE, sizeof(type), &type,
                      NULL));
    assert_int_equal(type, CL_COMMAND_MARKER);
    ok(clFlush(rig.queue));
    usleep(20000);
    assert_int_not_equal(status_of(marker), CL_COMPLETE);
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    ok(clWaitForEvents(1, &marker));
    expect_bytes(m, 0, 4, &one);
    ok(clReleaseEvent(gate));
    ok(clReleaseEvent(marker));
    ok(clReleaseMemObject(m));
}

static void long_wait_lists(void **state)
{
    enum { COUNT = 200 };
    cl_event events[COUNT], all;
    cl_mem m = buffer_of(0, 4 * COUNT, NULL);
    cl_uint value;

    for (cl_uint i = 0; i < COUNT; i++) {
        ok(clEnqueueFillBuffer(rig.queue, m, &i, 4, 4 * i, 4, 0, NULL,
                               &events[i]));
    }
    ok(clEnqueueMarkerWithWaitList(rig.queue, COUNT, events, &all));
    ok(clWaitForEvents(1, &all));
    ok(clWaitForEvents(COUNT, events));
    ok(clEnqueueReadBuffer(rig.queue, m, CL_TRUE, 4 * 150, 4, &value, COUNT,
                           events, NULL));
    assert_int_equal(value, 150);
    for (int i = 0; i < COUNT; i++) {
        ok(clReleaseEvent(events[i]));
    }
    ok(clReleaseEvent(all));
    ok(clReleaseMemObject(m));
}

static void profiles_are_in_order(void **state)
{
    cl_ulong t[4];
    const cl_profiling_info names[4] = {
        CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_SUBMIT,
        CL_PROFILING_COMMAND_START, CL_PROFILING_COMMAND_END,
    };
    cl_event done;
    cl_mem m = buffer_of(0, 4096, NULL);
    uint32_t zero = 0;

    ok(clEnqueueFillBuffer(rig.queue, m, &zero, 4, 0, 4096, 0, NULL, &done));
    ok(clFinish(rig.queue));
    for (int i = 0; i < 4; i++) {
        ok(clGetEventProfilingInfo(done, names[i], sizeof(t[i]), &t[i], NULL));
        assert_true(i == 0 || t[i] >= t[i - 1]);
    }
    ok(clReleaseEvent(done));
    ok(clReleaseMemObject(m));
}

/* What runs later in a queue starts later, by one clock. */
static void commands_follow_each_other_on_one_clock(void **state)
{
    enum { COUNT = 20 };
    cl_mem m = buffer_of(0, 4096, NULL);
    cl_ulong start, end, before = 0;
    cl_event done[COUNT];
    uint32_t data[1024];

    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 2) {
            ok(clEnqueueReadBuffer(rig.queue, m, CL_FALSE, 0, sizeof(data),
                                   data, 0, NULL, &done[i]));
        } else {
            ok(clEnqueueFillBuffer(rig.queue, m, &i, 4, 0, 4096, 0, NULL,
                                   &done[i]));
        }
    }
    ok(clFinish(rig.queue));
    for (int i = 0; i < COUNT; i++) {
        ok(clGetEventProfilingInfo(done[i], CL_PROFILING_COMMAND_START,
                                   sizeof(start), &start, NULL));
        ok(clGetEventProfilingInfo(done[i], CL_PROFILING_COMMAND_END,
                                   sizeof(end), &end, NULL));
        assert_true(start >= before && end >= start);
        before = end;
        ok(clReleaseEvent(done[i]));
    }
    ok(clReleaseMemObject(m));
}

struct heard {
    pthread_mutex_t lock;
    pthread_cond_t more;
    int count;
    cl_int last;
};

static void CL_CALLBACK hear(cl_event event, cl_int status, void *user_data)
{
    struct heard *h = user_data;

    pthread_mutex_lock(&h->lock);
    h->count++;
    h->last = status;
    pthread_cond_broadcast(&h->more);
    pthread_mutex_unlock(&h->lock);
}

/* Wait until @h has heard of @count, a few seconds at most. */
static void expect_heard(struct heard *h, int count)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&h->lock);
    while (h->count < count &&
           pthread_cond_timedwait(&h->more, &h->lock, &until) == 0) {
    }
    assert_int_equal(h->count, count);
    pthread_mutex_unlock(&h->lock);
}

static void callbacks_are_called(void **state)
{
    struct heard h = { .lock = PTHREAD_MUTEX_INITIALIZER,
                       .more = PTHREAD_COND_INITIALIZER };
    cl_event gate = clCreateUserEvent(rig.context, NULL), done[10];
    cl_mem m = buffer_of(0, 4, NULL);
    uint32_t zero = 0;

    for (int i = 0; i < 10; i++) {
        ok(clEnqueueFillBuffer(rig.queue, m, &zero, 4, 0, 4, i == 0,
                               i ? NULL : &gate, &done[i]));
        ok(clSetEventCallback(done[i], CL_COMPLETE, hear, &h));
    }
    ok(clFlush(rig.queue));
    usleep(20000);
    assert_int_equal(h.count, 0);
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    expect_heard(&h, 10);
    assert_int_equal(h.last, CL_COMPLETE);
    /* One that is done already is heard of, too. */
    ok(clSetEventCallback(done[0], CL_COMPLETE, hear, &h));
    expect_heard(&h, 11);
    ok(clReleaseEvent(gate));
    for (int i = 0; i < 10; i++) {
        ok(clReleaseEvent(done[i]));
    }
    ok(clReleaseMemObject(m));
}

/* Those of many events, of which the last comes first. */
static void a_callback_waits_for_no_other_event(void **state)
{
    enum { GATES = 40 };
    struct heard h = { .lock = PTHREAD_MUTEX_INITIALIZER,
                       .more = PTHREAD_COND_INITIALIZER };
    cl_event gates[GATES];

    for (int i = 0; i < GATES; i++) {
        gates[i] = clCreateUserEvent(rig.context, NULL);
        assert_non_null(gates[i]);
        ok(clSetEventCallback(gates[i], CL_COMPLETE, hear, &h));
    }
    for (int i = GATES - 1; i >= 0; i--) {
        ok(clSetUserEventStatus(gates[i], CL_COMPLETE));
        expect_heard(&h, GATES - i);
        ok(clReleaseEvent(gates[i]));
    }
}

/* What a callback is about, and what hangs on that, is there when it is called. */
static void CL_CALLBACK look_closely(cl_event event, cl_int status, void *opaque)
{
    cl_command_queue queue = NULL;
    cl_context context = NULL;
    cl_event own;

    if (clGetEventInfo(event, CL_EVENT_COMMAND_QUEUE, sizeof(queue), &queue,
                       NULL) == CL_SUCCESS &&
        clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof(context),
                              &context, NULL) == CL_SUCCESS) {
        own = clCreateUserEvent(context, NULL);
        if (own && clReleaseEvent(own) == CL_SUCCESS) {
            hear(event, status, opaque);
        }
    }
}

static void callbacks_outlive_what_the_program_has_released(void **state)
{
    struct heard h = { .lock = PTHREAD_MUTEX_INITIALIZER,
                       .more = PTHREAD_COND_INITIALIZER };
    cl_context context = clCreateContext(NULL, 1, &rig.device, NULL, NULL, NULL);
    cl_command_queue queue = clCreateCommandQueue(context, rig.device, 0, NULL);
    cl_event gate = clCreateUserEvent(context, NULL), done;
    cl_mem m = clCreateBuffer(context, 0, 64, NULL, NULL);

    ok(clEnqueueFillBuffer(queue, m, "abcd", 4, 0, 64, 1, &gate, &done));
    ok(clSetEventCallback(done, CL_COMPLETE, look_closely, &h));
    ok(clFlush(queue));
    ok(clReleaseEvent(done));
    ok(clReleaseMemObject(m));
    ok(clReleaseCommandQueue(queue));
    ok(clReleaseContext(context));
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    expect_heard(&h, 1);
    ok(clReleaseEvent(gate));
}

static void *wait_for_gate(void *event)
{
    cl_event e = event;

    return (void *)(intptr_t)clWaitForEvents(1, &e);
}

enum { MIXED = 1 << 20, MIXED_TIMES = 60 };

/* One byte value in all of a buffer, and then another. */
static void *write_evenly(void *opaque)
{
    static _Atomic unsigned char value;
    cl_mem mem = opaque;
    char *bytes = malloc(MIXED);
    cl_int err = CL_SUCCESS;

    for (int i = 0; err == CL_SUCCESS && i < MIXED_TIMES; i++) {
        memset(bytes, ++value, MIXED);
        err = clEnqueueWriteBuffer(rig.queue, mem, CL_TRUE, 0, MIXED, bytes, 0,
                                   NULL, NULL);
    }
    free(bytes);
    return (void *)(intptr_t)err;
}

/* Commands of an in-order queue, whoever makes them. */
static void transfers_of_several_threads_are_never_mixed(void **state)
{
    enum { WRITERS = 3 };
    cl_mem mem = buffer_of(0, MIXED, NULL);
    char *bytes = calloc(1, MIXED);
    pthread_t writers[WRITERS];
    void *result;

    ok(clEnqueueWriteBuffer(rig.queue, mem, CL_TRUE, 0, MIXED, bytes, 0, NULL,
                            NULL));
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&writers[i], NULL, write_evenly, mem),
                         0);
    }
    for (int i = 0; i < MIXED_TIMES; i++) {
        ok(clEnqueueReadBuffer(rig.queue, mem, CL_TRUE, 0, MIXED, bytes, 0,
                               NULL, NULL));
        assert_memory_equal(bytes, bytes + 1, MIXED - 1);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i], &result);
        ok((intptr_t)result);
    }
    ok(clReleaseMemObject(mem));
    free(bytes);
}

/* A thread that waits, and meanwhile another that computes. */
static void a_wait_holds_up_nobody_else(void **state)
{
    cl_event gate = clCreateUserEvent(rig.context, NULL);
    cl_mem m = buffer_of(0, 1 << 20, NULL);
    uint8_t *data = malloc(1 << 20);
    pthread_t waiter;
    void *result;

    assert_int_equal(pthread_create(&waiter, NULL, wait_for_gate, gate), 0);
    usleep(10000);
    for (uint32_t i = 0; i < 50; i++) {
        fill_random(data, 1 << 20, i);
        ok(clEnqueueWriteBuffer(rig.queue, m, CL_TRUE, 0, 1 << 20, data, 0,
                                NULL, NULL));
        ok(clFinish(rig.queue));
    }
    expect_bytes(m, 0, 1 << 20, data);
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    pthread_join(waiter, &result);
    ok((intptr_t)result);
    ok(clReleaseEvent(gate));
    ok(clReleaseMemObject(m));
    free(data);
}

struct waiter {
    pthread_t thread;
    cl_event gate;
    cl_command_queue queue;
    cl_mem mem;    /* of a MiB */
    size_t offset; /* of a page in it that no other maps */
};

static void *wait_in_a_read(void *opaque)
{
    struct waiter *w = opaque;
    char bytes[64];

    return (void *)(intptr_t)clEnqueueReadBuffer(
        w->queue, w->mem, CL_TRUE, 0, sizeof(bytes), bytes, 1, &w->gate, NULL);
}

static void *wait_in_a_write(void *opaque)
{
    struct waiter *w = opaque;
    char *bytes = calloc(1, 1 << 20);
    cl_int err = clEnqueueWriteBuffer(w->queue, w->mem, CL_TRUE, 0, 1 << 20,
                                      bytes, 1, &w->gate, NULL);

    free(bytes);
    return (void *)(intptr_t)err;
}

static void *wait_in_a_map(void *opaque)
{
    struct waiter *w = opaque;
    cl_int err;
    void *at = clEnqueueMapBuffer(w->queue, w->mem, CL_TRUE, CL_MAP_READ,
                                  w->offset, 4096, 1, &w->gate, NULL, &err);

    if (at) {
        err = clEnqueueUnmapMemObject(w->queue, w->mem, at, 0, NULL, NULL);
    }
    return (void *)(intptr_t)err;
}

static void *wait_for_the_gate(void *opaque)
{
    return wait_for_gate(((struct waiter *)opaque)->gate);
}

/* More threads wait than there are reply slots: one more is to end that. */
static void waits_of_any_number_hold_up_nobody_else(void **state)
{
    static void *(*const ways[])(void *) = { wait_for_the_gate, wait_in_a_read,
                                             wait_in_a_write, wait_in_a_map };
    enum { WAITERS = 100 };
    static struct waiter waiters[WAITERS];
    cl_event gate = clCreateUserEvent(rig.context, NULL);
    cl_mem m = buffer_of(0, 1 << 20, NULL), theirs = buffer_of(0, 1 << 20, NULL);
    cl_command_queue queue = clCreateCommandQueue(rig.context, rig.device, 0,
                                                  NULL);
    uint8_t *data = malloc(1 << 20);

    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiter){ 0, gate, queue, theirs, (size_t)i * 4096 };
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, ways[i % 4],
                                        &waiters[i]), 0);
    }
    usleep(50000);
    fill_random(data, 1 << 20, 11);
    ok(clEnqueueWriteBuffer(rig.queue, m, CL_TRUE, 0, 1 << 20, data, 0, NULL,
                            NULL));
    ok(clFinish(rig.queue));
    expect_bytes(m, 0, 1 << 20, data);
    ok(clSetUserEventStatus(gate, CL_COMPLETE));
    for (int i = 0; i < WAITERS; i++) {
        void *result;

        pthread_join(waiters[i].thread, &result);
        ok((intptr_t)result);
    }
    ok(clReleaseCommandQueue(queue));
    ok(clReleaseEvent(gate));
    ok(clReleaseMemObject(theirs));
    ok(clReleaseMemObject(m));
    free(data);
}

struct worker {
    pthread_t thread;
    uint32_t seed;
    int failed;
};

#ifdef __SANITIZE_THREAD__
#define ROUNDS 2u /* each costs twenty times as much */
#else
#define ROUNDS 30u
#endif

/*
 * A thread of its own with its own queue, buffer and expectations; every other one
 * also has its own context.
 */
static void *compute(void *opaque)
{
    struct worker *w = opaque;
    cl_context own = w->seed % 2 ? clCreateContext(NULL, 1, &rig.device, NULL,
                                                   NULL, NULL) : NULL;
    cl_context context = own ? own : rig.context;
    cl_command_queue q = clCreateCommandQueue(context, rig.device, 0, NULL);
    size_t size = 1000 + w->seed * 20011;
    uint8_t *data = malloc(size), *got = malloc(size);

    for (uint32_t i = 0; i < ROUNDS; i++) {
        cl_mem m = clCreateBuffer(context, 0, size, NULL, NULL);
        cl_event e;

        fill_random(data, size, w->seed + i);
        memset(got, 0, size);
        w->failed |= clEnqueueWriteBuffer(q, m, i % 2, 0, size, data, 0, NULL,
                                          &e);
        w->failed |= clEnqueueReadBuffer(q, m, i % 3 == 0, 0, size, got, 1, &e,
                                         NULL);
        w->failed |= clFinish(q);
        w->failed |= memcmp(data, got, size) != 0;
        clReleaseEvent(e);
        clReleaseMemObject(m);
    }
    clReleaseCommandQueue(q);
    if (own) {
        clReleaseContext(own);
    }
    free(data);
    free(got);
    return NULL;
}

/* More threads than there are reply slots. */
static void many_threads_at_once(void **state)
{
    static struct worker workers[80];

    for (uint32_t i = 0; i < 80; i++) {
        workers[i].seed = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, compute,
                                        &workers[i]), 0);
    }
    for (int i = 0; i < 80; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failed, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_event_holds_commands_back),
        cmocka_unit_test(a_late_read_is_there_when_its_status_says_so),
        cmocka_unit_test(an_error_travels_along_the_wait_list),
        cmocka_unit_test(out_of_order_commands_wait_for_their_lists_alone),
        cmocka_unit_test(large_transfers_out_of_order_keep_every_byte),
        cmocka_unit_test(older_markers_and_barriers),
        cmocka_unit_test(long_wait_lists),
        cmocka_unit_test(profiles_are_in_order),
        cmocka_unit_test(commands_follow_each_other_on_one_clock),
        cmocka_unit_test(callbacks_are_called),
        cmocka_unit_test(callbacks_outlive_what_the_program_has_released),
        cmocka_unit_test(a_callback_waits_for_no_other_event),
        cmocka_unit_test(transfers_of_several_threads_are_never_mixed),
        cmocka_unit_test(a_wait_holds_up_nobody_else),
        cmocka_unit_test(waits_of_any_number_hold_up_nobody_else),
        cmocka_unit_test(many_threads_at_once),
    };

    return cmocka_run_group_tests_name("events", tests, rig_up, rig_down);
}
