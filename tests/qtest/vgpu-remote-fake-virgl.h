/*
 * A virgl worker in the test's own process: it takes messages, and completes
 * them when the test says so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VGPU_REMOTE_FAKE_VIRGL_H
#define VGPU_REMOTE_FAKE_VIRGL_H

#include "api/venus.h"
#include "api/virgl.h"
#include "vgpu-remote-test.h"

#define FAKE_CAPS 1376 /* bytes, all of them FAKE_CAP */
#define FAKE_CAP  0x5a
#define FAKE_VENUS_CAPS 160 /* bytes, all of them FAKE_VENUS_CAP */
#define FAKE_VENUS_CAP  0x6b
#define FAKE_WHY  "no \"Vulkan\"\n"

typedef struct FakeVirgl {
    int sock, doorbell;
    int event[VGPU_RINGS_MAX];
    void *ring;
    struct ring_consumer consumer;
    uint8_t *staging;
    uint32_t done;
    uint8_t *message; /* the last one taken */
    struct wire_header *header;
    struct wire_in in; /* behind its token */
    uint32_t token;
    char gpu[VIRGL_GPU_MAX]; /* that START asked for */
} FakeVirgl;

/** fake_virgl: take a worker's creation, and start it up. */
void fake_virgl(Fake *f, FakeVirgl *v);

/** fake_virgl_begin: the same, up to the START that is not yet completed. */
void fake_virgl_begin(Fake *f, FakeVirgl *v);
void fake_virgl_die(FakeVirgl *v);

/** fake_virgl_take: the next message, which must be a @call, within a minute. */
void fake_virgl_take(FakeVirgl *v, enum virgl_call call);

/** fake_virgl_is_idle: whether there is no message. */
bool fake_virgl_is_idle(FakeVirgl *v);

/** fake_virgl_complete: @token, and signal if somebody sleeps. */
void fake_virgl_complete(FakeVirgl *v, uint32_t token, uint32_t status,
                         uint32_t a, uint32_t b);

/**
 * test_serve_probe: in a thread: welcome the device, and give it caps, once.
 * g_thread_join() it.
 */
GThread *test_serve_probe(Fake *f);

/** test_start_virgl: a device with @properties that was offered a worker. */
void test_start_virgl(Test *t, const char *properties);

/** test_start_venus: the same; and that worker had Vulkan. */
void test_start_venus(Test *t, const char *properties);

/** test_start_virgl_with: the same, and @more options of QEMU's; fake_start() was called. */
void test_start_virgl_with(Test *t, const char *properties, const char *more);

#endif
