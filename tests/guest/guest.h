/*
 * What the guest programs share. They are plain OpenCL programs: they run under
 * vgpu-run, natively, and in a VM alike.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GUEST_H
#define GUEST_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <CL/cl.h>

/* One device with all that a program makes first; made before the first test. */
struct rig {
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
};

extern struct rig rig;

/** rig_up, rig_down: group setup and teardown of cmocka. */
int rig_up(void **state);
int rig_down(void **state);

/** ok: that a call succeeded. */
#define ok(call) assert_int_equal((call), CL_SUCCESS)

/** build: the built program of @source; the log is shown if it fails. */
cl_program build(const char *source, const char *options);
/** kernel_of: the kernel @name of a program that is released with it. */
cl_kernel kernel_of(const char *source, const char *name);

/** buffer_of: a buffer of @size bytes, with the contents of @data unless NULL. */
cl_mem buffer_of(cl_mem_flags flags, size_t size, const void *data);

/** fill_random: @size bytes that depend on @seed alone. */
void fill_random(void *data, size_t size, uint32_t seed);

/** expect_bytes: that @buffer holds the @size bytes at @data from @offset on. */
void expect_bytes(cl_mem buffer, size_t offset, size_t size, const void *data);

/** is_remote: whether it is our shim that is tested, not the host's OpenCL. */
int is_remote(void);

static inline uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#endif
