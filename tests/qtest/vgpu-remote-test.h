/*
 * What vgpu-remote's tests share: a guest with a server, and the usual steps.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VGPU_REMOTE_TEST_H
#define VGPU_REMOTE_TEST_H

#include "vgpu-remote-fake.h"
#include "vgpu-remote-guest.h"

#define OK          VIRTIO_GPU_RESP_OK_NODATA
#define MAPPED      VIRTIO_GPU_RESP_OK_MAP_INFO
#define NO_CONTEXT  VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID
#define NO_RESOURCE VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define BAD         VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define NO_MEMORY   VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define UNSPEC      VIRTIO_GPU_RESP_ERR_UNSPEC

#define PAGE      4096u
#define RING_SIZE (512u << 10)
#define RING      1 /* resource ids */
#define BLOB      2

typedef struct Test {
    Guest g;
    Fake f;
} Test;

/* A test is named by what happens. Tables end with an empty entry. */
typedef struct TestCase {
    const char *path;
    void (*run)(void);
} TestCase;

#define TEST(_name) { "/vgpu-remote/" #_name, _name }

extern const TestCase tests_life[], tests_context[], tests_blob[], tests_fence[],
    tests_refuse[], tests_loss[], tests_save[], tests_virgl[],
    tests_virgl_transfer[], tests_virgl_screen[], tests_virgl_worker[],
    tests_venus[], tests_display[], tests_dmabuf[], tests_pages[],
    tests_no_udmabuf[], tests_udmabuf[], tests_fuzz[];

/** test_start: a device of type vgpu-remote, driven, and its server. */
void test_start(Test *t);
void test_start_with(Test *t, const char *type, const char *more);

/** test_stop: end both. The device must still answer. */
void test_stop(Test *t);

/**
 * test_status: what the property of that name says; to be freed.
 * test_expect_status: @part is in it.
 */
char *test_status(Test *t);
void test_expect_status(Test *t, const char *part);

/**
 * test_capset_at: the id of what is offered at @index, or 0; its size in @size,
 * if that is not NULL.
 */
uint32_t test_capset_at(Test *t, uint32_t index, uint32_t *size);

/** test_screendump: what @head shows, 3 bytes a pixel; to be freed. */
uint8_t *test_screendump(Test *t, uint32_t head, unsigned *w, unsigned *h);

/** test_add_context: @id with a ring, at resource id RING + 100 * (@id - 1). */
void test_add_context(Test *t, uint32_t id, FakeContext *c);

/** test_add_blob: one that the worker has made. Returns its memory here. */
void *test_add_blob(Test *t, FakeContext *c, uint32_t resource, uint64_t size);

/* Single commands, and how they are answered. */
uint32_t test_map(Test *t, uint32_t resource, uint64_t offset);
uint32_t test_unmap(Test *t, uint32_t resource);
uint32_t test_unref(Test *t, uint32_t resource);
uint32_t test_wait(Test *t, int place);

/** test_expect_held: kick, and give the device time to do what it should not. */
void test_expect_held(Test *t, int place);

/** test_fds: how many files QEMU has open. */
unsigned test_fds(Guest *g);

/** test_workers: how many real ones this machine has; @first: a pid, or 0. */
unsigned test_workers(pid_t *first);

#endif
