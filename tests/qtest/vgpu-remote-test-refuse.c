/*
 * Commands that make no sense: each gets its error and its fence.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "vgpu-remote-test.h"

/* Send it with a fence, and check that it is answered with both. */
static void expect_refusal(Test *t, struct virtio_gpu_ctrl_hdr *request,
                           size_t size, uint32_t answer)
{
    struct virtio_gpu_ctrl_hdr hdr;
    int place;

    request->flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX;
    request->fence_id = 0xfe0ce;
    request->ring_idx = 1;
    place = guest_send(&t->g, request, size, GUEST_ANSWER);
    guest_kick(&t->g);
    g_test_message("command 0x%x of %zu bytes", request->type, size);
    g_assert_cmphex(guest_wait(&t->g, place, &hdr, sizeof(hdr)), ==, answer);
    g_assert_cmphex(hdr.flags & VIRTIO_GPU_FLAG_FENCE, ==,
                    VIRTIO_GPU_FLAG_FENCE);
    g_assert_cmphex(hdr.fence_id, ==, 0xfe0ce);
    g_assert_true(guest_is_alive(&t->g));
}

static void unknown_commands_are_refused(void)
{
    static const uint32_t unknown[] = {
        0, 1, 0xff, 0x10e, 0x1ff, 0x20a, 0x2ff, 0x400, 0x1100, 0x1200,
        0x80000000, 0xffffffff, VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
        VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D,
        VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID,
    };
    struct virtio_gpu_transfer_host_3d c = { .hdr.ctx_id = 1 };
    FakeContext f;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &f);
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        c.hdr.type = unknown[i];
        expect_refusal(&t, &c.hdr, sizeof(c), UNSPEC);
    }
    test_stop(&t);
    fake_context_die(&f);
}

static void truncated_commands_are_refused(void)
{
    static const struct {
        uint32_t type;
        size_t size;
    } all[] = {
        { VIRTIO_GPU_CMD_GET_CAPSET_INFO,
          sizeof(struct virtio_gpu_get_capset_info) },
        { VIRTIO_GPU_CMD_GET_CAPSET, sizeof(struct virtio_gpu_get_capset) },
        { VIRTIO_GPU_CMD_CTX_CREATE, sizeof(struct virtio_gpu_ctx_create) },
        { VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
          sizeof(struct virtio_gpu_ctx_resource) },
        { VIRTIO_GPU_CMD_SUBMIT_3D, sizeof(struct virtio_gpu_cmd_submit) },
        { VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
          sizeof(struct virtio_gpu_resource_create_2d) },
        { VIRTIO_GPU_CMD_RESOURCE_UNREF,
          sizeof(struct virtio_gpu_resource_unref) },
        { VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
          sizeof(struct virtio_gpu_resource_create_blob) },
        { VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
          sizeof(struct virtio_gpu_resource_map_blob) },
        { VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB,
          sizeof(struct virtio_gpu_resource_unmap_blob) },
    };
    FakeContext f;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &f);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        char bytes[128] = { 0 };
        struct virtio_gpu_ctrl_hdr *hdr = (void *)bytes;

        for (size_t n = sizeof(*hdr); n < all[i].size; n += 4) {
            hdr->type = all[i].type;
            hdr->ctx_id = 1;
            expect_refusal(&t, hdr, n, BAD);
        }
    }
    /* Not even a header: there is no fence to carry. */
    for (size_t n = 1; n < sizeof(struct virtio_gpu_ctrl_hdr); n++) {
        char bytes[32] = { 0 };

        g_assert_cmphex(guest_call(&t.g, bytes, n), ==, BAD);
    }
    test_stop(&t);
    fake_context_die(&f);
}

static void submissions_that_make_no_sense_are_refused(void)
{
    const struct guest_wait_command good = {
        .submit = {
            .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = 1 },
            .size = sizeof(struct vgpu_exec),
        },
        .exec = { .op = VGPU_EXEC_WAIT, .ring = 1, .seq = 1 },
    };
    struct guest_wait_command bad[8];
    FakeContext c;
    Test t;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        bad[i] = good;
    }
    bad[0].exec.op = 0;
    bad[1].exec.ring = 2; /* not the fence's */
    bad[2].exec.ring = 1u << 31;
    bad[3].exec.reserved = 1;
    bad[4].submit.size = UINT32_MAX;
    bad[5].submit.size = sizeof(good.exec) + 1;
    bad[6].submit.size = 1;
    bad[7].submit.size = 64 << 10;
    test_start(&t);
    test_add_context(&t, 1, &c);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        expect_refusal(&t, &bad[i].submit.hdr, sizeof(bad[i]), BAD);
    }
    bad[0] = good; /* says 16 bytes, has 12 */
    expect_refusal(&t, &bad[0].submit.hdr, sizeof(good) - 4, BAD);
    bad[0].submit.hdr.ctx_id = 2;
    expect_refusal(&t, &bad[0].submit.hdr, sizeof(good), NO_CONTEXT);
    bad[0] = good; /* no fence at all: it would stop the queue */
    g_assert_cmphex(guest_call(&t.g, &bad[0], sizeof(good)), ==, BAD);
    bad[0].submit.hdr.flags = VIRTIO_GPU_FLAG_FENCE; /* on no ring */
    bad[0].exec.ring = 0;
    g_assert_cmphex(guest_call(&t.g, &bad[0], sizeof(good)), ==, BAD);
    test_stop(&t);
    fake_context_die(&c);
}

static void wait_without_a_ring_is_refused(void)
{
    FakeContext c;
    Test t;

    test_start(&t);
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, OK);
    fake_context(&t.f, &c);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 1, 1, 1)), ==, BAD);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 255, 1, 1)), ==, BAD);
    test_stop(&t);
    fake_context_die(&c);
}

static void command_without_room_for_its_answer_is_taken(void)
{
    struct virtio_gpu_ctx_destroy c = {
        .hdr = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 9 },
    };
    Test t;
    int none, little;

    test_start(&t);
    none = guest_send(&t.g, &c, sizeof(c), 0);
    little = guest_send(&t.g, &c, sizeof(c), 3);
    guest_kick(&t.g);
    guest_wait(&t.g, none, NULL, 0);
    guest_wait(&t.g, little, NULL, 0);
    test_stop(&t);
}

static void fenced_map_of_a_blob_in_the_making_is_answered(void)
{
    struct virtio_gpu_resource_map_blob c = {
        .hdr = {
            .type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
            .flags = VIRTIO_GPU_FLAG_FENCE,
            .fence_id = 77,
        },
        .resource_id = BLOB,
        .offset = 32u << 20,
    };
    struct virtio_gpu_ctrl_hdr hdr;
    uint64_t size;
    FakeContext f;
    void *mem;
    int create, map_it;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &f);
    create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    map_it = guest_send(&t.g, &c, sizeof(c), GUEST_ANSWER);
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    mem = fake_blob(&f, &size);
    g_assert_cmphex(guest_wait(&t.g, map_it, &hdr, sizeof(hdr)), ==, MAPPED);
    g_assert_cmphex(hdr.fence_id, ==, 77);
    test_stop(&t);
    munmap(mem, size);
    fake_context_die(&f);
}

const TestCase tests_refuse[] = {
    TEST(unknown_commands_are_refused),
    TEST(truncated_commands_are_refused),
    TEST(submissions_that_make_no_sense_are_refused),
    TEST(wait_without_a_ring_is_refused),
    TEST(command_without_room_for_its_answer_is_taken),
    TEST(fenced_map_of_a_blob_in_the_making_is_answered),
    { NULL },
};
