/*
 * Fences: who waits for what, and in which order it is answered.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-test.h"

static void fences_are_in_order_in_a_ring_and_free_between_rings(void)
{
    FakeContext c;
    int a1, a2, a3, b1;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    a1 = guest_send_wait(&t.g, 1, 3, 1, 11);
    a2 = guest_send_wait(&t.g, 1, 3, 2, 12);
    a3 = guest_send_wait(&t.g, 1, 3, 3, 13);
    b1 = guest_send_wait(&t.g, 1, 63, 9, 14);
    test_expect_held(&t, b1);
    fake_take_event(&c, 3);
    fake_take_event(&c, 63);
    fake_post(&c, 63, 9);
    g_assert_cmphex(test_wait(&t, b1), ==, OK);
    g_assert_false(guest_is_answered(&t.g, a1));
    fake_post(&c, 3, 2); /* two at once */
    while (!guest_is_answered(&t.g, a2)) {
        g_assert_true(guest_is_alive(&t.g));
    }
    g_assert_cmpuint(guest_order(&t.g, a1), <, guest_order(&t.g, a2));
    g_assert_false(guest_is_answered(&t.g, a3));
    fake_post(&c, 3, 3);
    g_assert_cmphex(test_wait(&t, a3), ==, OK);
    g_assert_cmphex(test_wait(&t, a1), ==, OK);
    g_assert_cmphex(test_wait(&t, a2), ==, OK);
    test_stop(&t);
    fake_context_die(&c);
}

static void fences_of_contexts_are_apart(void)
{
    FakeContext c, d;
    int a, b;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    test_add_context(&t, 2, &d);
    a = guest_send_wait(&t.g, 1, 1, 1, 1);
    b = guest_send_wait(&t.g, 2, 1, 1, 2);
    test_expect_held(&t, b);
    fake_take_event(&c, 1);
    fake_take_event(&d, 1);
    fake_post(&d, 1, 1);
    g_assert_cmphex(test_wait(&t, b), ==, OK);
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, a));
    fake_post(&c, 1, 1);
    g_assert_cmphex(test_wait(&t, a), ==, OK);
    test_stop(&t);
    fake_context_die(&c);
    fake_context_die(&d);
}

static void fence_carries_its_id_and_context(void)
{
    struct virtio_gpu_ctrl_hdr hdr;
    FakeContext c;
    int a;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    a = guest_send_wait(&t.g, 1, 5, 1, 0x1122334455667788);
    test_expect_held(&t, a);
    fake_take_event(&c, 5);
    fake_post(&c, 5, 1);
    g_assert_cmphex(guest_wait(&t.g, a, &hdr, sizeof(hdr)), ==, OK);
    g_assert_cmphex(hdr.flags & VIRTIO_GPU_FLAG_FENCE, ==,
                    VIRTIO_GPU_FLAG_FENCE);
    g_assert_cmphex(hdr.fence_id, ==, 0x1122334455667788);
    g_assert_cmpuint(hdr.ctx_id, ==, 1);
    test_stop(&t);
    fake_context_die(&c);
}

static void fence_of_the_past_is_answered_at_once(void)
{
    FakeContext c;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    fake_post(&c, 2, 100);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 2, 100, 1)), ==, OK);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 2, 7, 2)), ==, OK);
    test_stop(&t);
    fake_context_die(&c);
}

static void spurious_signal_answers_nothing(void)
{
    uint64_t one = 1;
    FakeContext c;
    int a;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    a = guest_send_wait(&t.g, 1, 1, 5, 1);
    test_expect_held(&t, a);
    fake_take_event(&c, 1);
    fake_post(&c, 1, 4);
    g_assert_cmpint(write(c.event[1], &one, sizeof(one)), ==, sizeof(one));
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, a));
    fake_post(&c, 1, 5); /* signals only if the device has asked again */
    g_assert_cmphex(test_wait(&t, a), ==, OK);
    test_stop(&t);
    fake_context_die(&c);
}

static void answer_at_once_queues_behind_held_fences(void)
{
    struct guest_wait_command bell = {
        .submit.hdr = {
            .type = VIRTIO_GPU_CMD_SUBMIT_3D,
            .flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX,
            .fence_id = 2,
            .ctx_id = 1,
            .ring_idx = 1,
        },
    };
    FakeContext c;
    int held, wrong, empty;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    held = guest_send_wait(&t.g, 1, 1, 1, 1);
    empty = guest_send(&t.g, &bell, sizeof(bell.submit), GUEST_ANSWER);
    bell.submit.size = 12;
    bell.submit.hdr.fence_id = 3;
    wrong = guest_send(&t.g, &bell, sizeof(bell), GUEST_ANSWER);
    test_expect_held(&t, held);
    g_assert_false(guest_is_answered(&t.g, empty));
    g_assert_false(guest_is_answered(&t.g, wrong));
    fake_take_event(&c, 1);
    fake_post(&c, 1, 1);
    g_assert_cmphex(test_wait(&t, wrong), ==, BAD);
    g_assert_cmpuint(guest_order(&t.g, held), <, guest_order(&t.g, empty));
    g_assert_cmphex(test_wait(&t, held), ==, OK);
    g_assert_cmphex(test_wait(&t, empty), ==, OK);
    test_stop(&t);
    fake_context_die(&c);
}

static void commands_beyond_the_limit_are_not_held(void)
{
    enum { LIMIT = 64 };
    FakeContext c;
    int held[LIMIT];
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    for (int i = 0; i < LIMIT; i++) {
        held[i] = guest_send_wait(&t.g, 1, i % 8, 1 + i / 8, i);
    }
    test_expect_held(&t, held[LIMIT - 1]);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 9, 1, 99)), ==,
                    NO_MEMORY);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    for (int i = 0; i < LIMIT; i++) {
        g_assert_cmphex(test_wait(&t, held[i]), ==, OK);
    }
    test_stop(&t);
    fake_context_die(&c);
}

const TestCase tests_fence[] = {
    TEST(fences_are_in_order_in_a_ring_and_free_between_rings),
    TEST(fences_of_contexts_are_apart),
    TEST(fence_carries_its_id_and_context),
    TEST(fence_of_the_past_is_answered_at_once),
    TEST(spurious_signal_answers_nothing),
    TEST(answer_at_once_queues_behind_held_fences),
    TEST(commands_beyond_the_limit_are_not_held),
    { NULL },
};
