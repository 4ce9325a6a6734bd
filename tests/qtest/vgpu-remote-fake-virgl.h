/*
 * A virgl worker in the test's own process: it takes messages, and completes
 * them when the test says so. And the usual steps of a test that has one: a
 * device that was offered it, contexts, resources, the end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VGPU_REMOTE_FAKE_VIRGL_H
#define VGPU_REMOTE_FAKE_VIRGL_H

#include "api/venus.h"
#include "api/virgl.h"
#include "vgpu-remote-guest-virgl.h"
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

/** fake_virgl_transfer: the same, where @call moves a box. Returns what it says. */
struct virgl_transfer fake_virgl_transfer(FakeVirgl *v, enum virgl_call call);

/** fake_virgl_is_idle: whether there is no message. */
bool fake_virgl_is_idle(FakeVirgl *v);

/** fake_virgl_complete: @token, and signal if somebody sleeps. */
void fake_virgl_complete(FakeVirgl *v, uint32_t token, uint32_t status,
                         uint32_t a, uint32_t b);

/**
 * fake_virgl_screen: the device asks for the memory of a screen of @w by @h
 * pixels, and gets it. The caller unmaps it.
 */
uint32_t *fake_virgl_screen(FakeVirgl *v, uint32_t w, uint32_t h);

/* --- a device that has asked for caps ------------------------------------ */

/** test_start_virgl: a device with @properties that was offered a worker. */
void test_start_virgl(Test *t, const char *properties);

/** test_start_venus: the same; and that worker had Vulkan. */
void test_start_venus(Test *t, const char *properties);

/**
 * test_start_virgl_with: as test_start_virgl(), with @more options of QEMU's;
 * fake_start() was called.
 */
void test_start_virgl_with(Test *t, const char *properties, const char *more);

/** test_plug_virgl: the same device, but into a QEMU that runs without it. */
void test_plug_virgl(Test *t);

/** test_unplug_virgl: take it out. Its worker @v and the server must see that. */
void test_unplug_virgl(Test *t, FakeVirgl *v);

/* --- contexts and resources ---------------------------------------------- */

/** test_begin_worker: context @id, the first one, for which worker @v starts. */
void test_begin_worker(Test *t, uint32_t id, FakeVirgl *v);

/** test_add_virgl_context: one more, which the worker has heard of. */
void test_add_virgl_context(Test *t, uint32_t id, FakeVirgl *v);

/** test_start_worker: test_start_virgl() with both backends, and context 1. */
void test_start_worker(Test *t, FakeVirgl *v);

/** test_stop_worker: test_stop(), and the worker, too. */
void test_stop_worker(Test *t, FakeVirgl *v);

/** test_add_resource: as @c says; the worker has taken the message. */
void test_add_resource(Test *t, FakeVirgl *v,
                       const struct virtio_gpu_resource_create_3d *c);

/** test_add_texture: a guest_texture(), likewise. */
void test_add_texture(Test *t, FakeVirgl *v, uint32_t id, uint32_t w, uint32_t h);

/** test_wait_lost: until the device has seen that @ctx's worker is dead. */
void test_wait_lost(Test *t, uint32_t ctx);

#endif
