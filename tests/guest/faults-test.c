/*
 * A host that runs out of resources (fault-layer.c): whoever waits is told, and an event of a
 * command that could not be is over, with an error; nothing hangs, is lost, or stays so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define FAULT 0xfa17u /* bytes of the buffer that makes the host fail; see the layer */
#define FAILS CL_OUT_OF_RESOURCES
#define BYTES (9u << 20)

/* By messages, pieces of shared memory, whole, and in parts. */
static const size_t sizes[] = { 4, 4096, 300 << 10, 1 << 20, BYTES };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static uint8_t data[BYTES], got[BYTES];
static cl_mem mem;

static cl_mem begin_failing(void)
{
    fill_random(data, BYTES, 3);
    mem = buffer_of(0, BYTES, data);
    expect_bytes(mem, 0, BYTES, data);
    return buffer_of(0, FAULT, NULL);
}

/* As if nothing had been. */
static void end_failing(cl_mem fault)
{
    ok(clReleaseMemObject(fault));
    ok(clFinish(rig.queue));
    expect_bytes(mem, 0, BYTES, data);
    ok(clEnqueueWriteBuffer(rig.queue, mem, CL_TRUE, 0, BYTES, data, 0, NULL, NULL));
    expect_bytes(mem, 0, BYTES, data);
    ok(clReleaseMemObject(mem));
}

/* The queue remembers the first command that could not be, and says so once. */
static void expect_told_by_finish(void)
{
    cl_int err = clFinish(rig.queue);

    assert_int_equal(err, is_remote() ? FAILS : CL_SUCCESS);
    ok(clFinish(rig.queue));
}

static void who_waits_for_a_transfer_is_told(void **state)
{
    cl_mem fault = begin_failing();

    memset(got, 0, BYTES);
    for (int i = 0; i < SIZES; i++) {
        cl_event event = NULL;

        assert_int_equal(clEnqueueReadBuffer(rig.queue, mem, CL_TRUE, 0, sizes[i],
                                             got, 0, NULL, NULL), FAILS);
        assert_int_equal(clEnqueueWriteBuffer(rig.queue, mem, CL_TRUE, 0, sizes[i],
                                              got, 0, NULL, NULL), FAILS);
        assert_int_equal(clEnqueueReadBuffer(rig.queue, mem, CL_TRUE, 0, sizes[i],
                                             got, 0, NULL, &event), FAILS);
        assert_int_equal(clEnqueueWriteBuffer(rig.queue, mem, CL_TRUE, 0, sizes[i],
                                              got, 0, NULL, &event), FAILS);
        assert_null(event);
    }
    end_failing(fault);
}

static void who_waits_for_a_map_is_told(void **state)
{
    cl_mem fault = begin_failing();

    for (int i = 0; i < SIZES; i++) {
        cl_event event = NULL;
        cl_int err = CL_SUCCESS;

        assert_null(clEnqueueMapBuffer(rig.queue, mem, CL_TRUE, CL_MAP_READ, 0,
                                       sizes[i], 0, NULL, &event, &err));
        assert_int_equal(err, FAILS);
        assert_null(event);
    }
    end_failing(fault);
}

static void CL_CALLBACK hear(cl_event event, cl_int status, void *opaque)
{
    atomic_store((_Atomic cl_int *)opaque, status);
}

/* Either the call says so; or whoever has to do with its event is told. */
static void expect_failed(cl_int err, cl_event event)
{
    _Atomic cl_int heard = CL_QUEUED;
    cl_int status = FAILS;

    if (err != CL_SUCCESS) {
        assert_int_equal(err, FAILS);
        assert_null(event);
        return;
    }
    assert_true(is_remote());
    ok(clSetEventCallback(event, CL_COMPLETE, hear, &heard));
    assert_int_equal(clWaitForEvents(1, &event), FAILS);
    err = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(status),
                         &status, NULL);
    assert_true(err == CL_SUCCESS || err == FAILS);
    assert_int_equal(status, FAILS);
    for (int i = 0; i < 5000 && atomic_load(&heard) == CL_QUEUED; i++) {
        usleep(1000);
    }
    assert_true(atomic_load(&heard) < 0);
    ok(clReleaseEvent(event));
}

static void events_of_what_could_not_be_have_failed(void **state)
{
    cl_kernel kernel = kernel_of("kernel void f(global int *a) { *a = 1; }", "f");
    cl_mem fault = begin_failing();
    const size_t one = 1;

    ok(clSetKernelArg(kernel, 0, sizeof(mem), &mem));
    for (int i = 0; i < SIZES; i++) {
        cl_event events[4] = { NULL };
        cl_int errors[] = {
            clEnqueueReadBuffer(rig.queue, mem, CL_FALSE, 0, sizes[i], got, 0,
                                NULL, &events[0]),
            clEnqueueWriteBuffer(rig.queue, mem, CL_FALSE, 0, sizes[i], got, 0,
                                 NULL, &events[1]),
            clEnqueueFillBuffer(rig.queue, mem, &one, 1, 0, sizes[i], 0, NULL,
                                &events[2]),
            clEnqueueNDRangeKernel(rig.queue, kernel, 1, NULL, &one, NULL, 0, NULL,
                                   &events[3]),
        };

        for (int n = 0; n < 4; n++) {
            expect_failed(errors[n], events[n]);
        }
    }
    ok(clReleaseKernel(kernel));
    expect_told_by_finish();
    end_failing(fault);
}

static void queue_tells_what_could_not_be(void **state)
{
    cl_mem fault = begin_failing();

    for (int i = 0; i < SIZES; i++) {
        cl_int err = clEnqueueWriteBuffer(rig.queue, mem, CL_FALSE, 0, sizes[i], got,
                                          0, NULL, NULL);

        assert_true(err == CL_SUCCESS || err == FAILS);
        err = clEnqueueReadBuffer(rig.queue, mem, CL_FALSE, 0, sizes[i], got, 0, NULL,
                                  NULL);
        assert_true(err == CL_SUCCESS || err == FAILS);
        expect_told_by_finish();
    }
    end_failing(fault);
}

static void *transfer_in_vain(void *opaque)
{
    const bool *writes = opaque;
    uint8_t *bytes = malloc(BYTES);
    intptr_t other = 0;

    for (int i = 0; bytes && i < 40; i++) {
        size_t size = sizes[i % SIZES];
        cl_int err = *writes
            ? clEnqueueWriteBuffer(rig.queue, mem, CL_TRUE, 0, size, bytes, 0, NULL,
                                   NULL)
            : clEnqueueReadBuffer(rig.queue, mem, CL_TRUE, 0, size, bytes, 0, NULL,
                                  NULL);

        other += err != FAILS;
    }
    free(bytes);
    return (void *)other;
}

/* Then a transfer is one command of the host's, whose event is the shim's own. */
static void several_threads_are_told(void **state)
{
    cl_mem fault = begin_failing();
    pthread_t threads[4];
    const bool writes[] = { false, true };

    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, transfer_in_vain,
                                        (void *)&writes[i % 2]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *other;

        pthread_join(threads[i], &other);
        assert_null(other);
    }
    end_failing(fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_a_transfer_is_told),
        cmocka_unit_test(who_waits_for_a_map_is_told),
        cmocka_unit_test(events_of_what_could_not_be_have_failed),
        cmocka_unit_test(queue_tells_what_could_not_be),
        cmocka_unit_test(several_threads_are_told),
    };

    return cmocka_run_group_tests(tests, rig_up, rig_down);
}
