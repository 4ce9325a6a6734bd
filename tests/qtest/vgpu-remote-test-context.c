/*
 * Contexts, of our capset and without one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-test.h"

static void context_has_a_worker_until_it_is_destroyed(void)
{
    FakeContext c;
    Test t;

    test_start(&t);
    g_assert_cmphex(guest_context_create(&t.g, 7, VGPU_CAPSET_ID), ==, OK);
    fake_context(&t.f, &c);
    g_assert_cmpuint(c.id, ==, 7);
    g_assert_cmpstr(c.name, ==, "test");
    g_assert_cmphex(guest_context_create(&t.g, 7, VGPU_CAPSET_ID), ==,
                    NO_CONTEXT);
    g_assert_cmphex(guest_context_create(&t.g, 7, 0), ==, NO_CONTEXT);
    g_assert_false(fake_has_context(&t.f));
    g_assert_cmphex(guest_context_destroy(&t.g, 7), ==, OK);
    g_assert_true(fake_is_closed(c.sock));
    g_assert_cmphex(guest_context_destroy(&t.g, 7), ==, NO_CONTEXT);
    test_stop(&t);
    fake_context_die(&c);
}

static void context_of_unknown_capset_is_refused(void)
{
    /* 48 is what a stock kernel takes for 16; 284 has our id in its low byte. */
    static const uint32_t unknown[] = { 1, 2, 16, 27, 29, 48, 60, 284, 1u << 31 };
    Test t;

    test_start(&t);
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        g_assert_cmphex(guest_context_create(&t.g, 1, unknown[i]), ==, BAD);
    }
    g_assert_cmphex(guest_context_create(&t.g, 0, VGPU_CAPSET_ID), ==,
                    NO_CONTEXT);
    g_assert_false(fake_has_context(&t.f));
    test_stop(&t);
}

/* What a desktop does for dumb buffers when it sees virgl's feature bit. */
static void context_without_capset_takes_2d_resources(void)
{
    struct virtio_gpu_resource_create_2d create = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
        .resource_id = 5,
        .format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
        .width = 64,
        .height = 64,
    };
    struct virtio_gpu_ctx_resource attach = {
        .hdr = { .type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, .ctx_id = 1 },
        .resource_id = 5,
    };
    Test t;

    test_start(&t);
    g_assert_cmphex(guest_context_create(&t.g, 1, 0), ==, OK);
    g_assert_cmphex(guest_call(&t.g, &create, sizeof(create)), ==, OK);
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, OK);
    attach.hdr.type = VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE;
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, OK);
    attach.resource_id = 6;
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, NO_RESOURCE);
    g_assert_cmphex(test_unref(&t, 5), ==, OK);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_assert_false(fake_has_context(&t.f));
    test_stop(&t);
}

static void doorbell_is_rung_and_answered_at_once(void)
{
    struct virtio_gpu_cmd_submit ring_it = {
        .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = 1 },
    };
    FakeContext c;
    uint64_t count;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    g_assert_cmpint(read(c.doorbell, &count, sizeof(count)), ==, -1);
    g_assert_cmphex(guest_call(&t.g, &ring_it, sizeof(ring_it)), ==, OK);
    g_assert_cmpint(read(c.doorbell, &count, sizeof(count)), ==, sizeof(count));
    g_assert_cmpuint(count, ==, 1);
    test_stop(&t);
    fake_context_die(&c);
}

const TestCase tests_context[] = {
    TEST(context_has_a_worker_until_it_is_destroyed),
    TEST(context_of_unknown_capset_is_refused),
    TEST(context_without_capset_takes_2d_resources),
    TEST(doorbell_is_rung_and_answered_at_once),
    { NULL },
};
