/*
 * The life of the emulated GPU's worker: which GPU it is told to use, and what
 * the device says where that or Vulkan cannot be had; what becomes of contexts
 * when it dies, hangs or lies; and that a reset or unplugging ends it, whatever
 * is in flight.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "vgpu-remote-fake-virgl.h"

/* --- which GPU, and no Vulkan -------------------------------------------- */

static void worker_is_told_which_gpu(void)
{
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    g_assert_cmpstr(v.gpu, ==, "");
    test_stop_worker(&t, &v);
    test_start_virgl(&t, "backend=auto,rendernode=software");
    test_begin_worker(&t, 1, &v);
    g_assert_cmpstr(v.gpu, ==, "software");
    test_stop_worker(&t, &v);
}

static void *refuse_gpu(void *opaque)
{
    FakeVirgl v;

    fake_welcome(opaque);
    fake_virgl_begin(opaque, &v);
    strcpy(ring_reply(v.ring, VIRGL_TEXT_SLOT), "there is none of that name");
    fake_virgl_complete(&v, v.token, ENODEV, 0, 0);
    g_assert_true(fake_is_closed(v.sock));
    fake_virgl_die(&v);
    return NULL;
}

/* By name it must be had; without one, there is 2D. */
static void gpu_that_cannot_be_had_refuses_the_device(void)
{
    Test t;

    for (int named = 0; named < 2; named++) {
        g_autofree char *line = NULL, *said = NULL;
        GThread *thread;

        fake_start(&t.f);
        guest_start(&t.g, NULL, NULL);
        thread = g_thread_new("refuse", refuse_gpu, &t.f);
        line = g_strdup_printf("device_add vgpu-remote,id=gpu,addr=%d,%s%s",
                               GUEST_SLOT, t.f.option,
                               named ? ",rendernode=/dev/dri/nine" : "");
        said = qtest_hmp(t.g.qts, "%s", line);
        g_thread_join(thread);
        g_test_message("%s", said);
        g_assert_true(!strstr(said, "rendernode=/dev/dri/nine: there is none of "
                                    "that name") == !named);
        guest_stop(&t.g);
        fake_stop(&t.f);
    }
}

static void why_there_is_no_vulkan_is_in_the_status(void)
{
    Test t;

    test_start_virgl(&t, "backend=auto");
    test_expect_status(&t, "\"vulkan\": \"no ?Vulkan??\"");
    test_stop(&t);
}

static void *die_of_vulkan(void *opaque)
{
    FakeVirgl v;

    fake_welcome(opaque);
    fake_virgl(opaque, &v);
    fake_virgl_take(&v, VIRGL_VULKAN);
    fake_virgl_die(&v);
    return NULL;
}

static void worker_that_dies_of_vulkan_costs_nothing(void)
{
    g_autofree char *device = NULL;
    GThread *thread;
    FakeVirgl v;
    Test t;

    fake_start(&t.f);
    device = g_strdup_printf("vgpu-remote,%s", t.f.option);
    thread = g_thread_new("die", die_of_vulkan, &t.f);
    guest_start(&t.g, device, NULL);
    g_thread_join(thread);
    guest_drive(&t.g);
    g_assert_cmpuint(test_capset_at(&t, 1, NULL), ==, VIRGL_CAPSET_ID);
    test_expect_status(&t, "\"resets\": 0, \"vulkan\": \"\"");
    test_begin_worker(&t, 1, &v);
    test_stop_worker(&t, &v);
}

/* --- loss ---------------------------------------------------------------- */

static void worker_that_dies_loses_contexts_and_another_starts(void)
{
    FakeVirgl v, w;
    int place;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 16, 16);
    place = guest_send_submit(&t.g, 1, 4, FENCED, 0, 1);
    test_expect_held(&t, place);
    fake_virgl_die(&v);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    g_assert_cmphex(guest_submit(&t.g, 1, 4), ==, NO_CONTEXT);
    g_assert_false(fake_has_context(&t.f)); /* not by one that is lost */
    test_begin_worker(&t, 2, &w);
    g_assert_cmphex(guest_attach(&t.g, 2, TEX), ==, OK); /* nothing to tell */
    g_assert_true(fake_virgl_is_idle(&w));
    g_assert_cmphex(guest_submit(&t.g, 1, 4), ==, NO_CONTEXT);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    test_expect_status(&t, "\"resets\": 1");
    test_stop_worker(&t, &w);
}

static void query_that_is_lost_has_an_answer(void)
{
    const struct virgl_query none = { .state = VIRGL_QUERY_DONE };
    struct virtio_gpu_resource_create_3d c = guest_staging(TEX, sizeof(none));
    const struct virtio_gpu_box box = { .w = sizeof(none), .h = 1, .d = 1 };
    FakeVirgl v, w;
    Test t;

    test_start_worker(&t, &v);
    c.bind = VIRGL_BIND_CUSTOM;
    test_add_resource(&t, &v, &c);
    c.resource_id = TEX + 1; /* a buffer, but of something else */
    c.width = 2 * sizeof(none);
    test_add_resource(&t, &v, &c);
    fake_virgl_die(&v);
    test_wait_lost(&t, 1);
    test_begin_worker(&t, 2, &w);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t ctx = 1 + i % 2, id = TEX + i / 2;
        uint8_t now[sizeof(none)], before[sizeof(none)];
        int place;

        guest_fill_pages(&t.g, sizeof(none), 0x40);
        g_assert_cmphex(guest_attach_halves(&t.g, id, sizeof(none)), ==, OK);
        qtest_memread(t.g.qts, PAGES, before, sizeof(before));
        place = guest_send_transfer(&t.g, FROM_HOST, ctx, id, box, 0, 0, FENCED);
        g_assert_cmphex(guest_do(&t.g, place), ==,
                        ctx == 1 ? NO_CONTEXT : NO_RESOURCE);
        qtest_memread(t.g.qts, PAGES, now, sizeof(now));
        if (id == TEX) { /* the later half lies first */
            g_assert_cmpmem(now + 8, 8, &none, 8);
            g_assert_cmpmem(now, 8, (const char *)&none + 8, 8);
        } else {
            g_assert_cmpmem(now, sizeof(now), before, sizeof(before));
        }
        g_assert_cmphex(guest_detach_backing(&t.g, id), ==, OK);
    }
    g_assert_true(fake_virgl_is_idle(&w));
    test_stop_worker(&t, &w);
}

static void worker_that_hangs_is_given_up(void)
{
    FakeVirgl v;
    int place;
    Test t;

    test_start_virgl(&t, "backend=auto,watchdog=300");
    test_begin_worker(&t, 1, &v);
    place = guest_send_submit(&t.g, 1, 4, FENCED, 0, 1);
    guest_kick(&t.g);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    g_assert_true(fake_is_closed(v.sock));
    test_stop_worker(&t, &v);
}

typedef void Lie(FakeVirgl *v);

static void lie_unknown_token(FakeVirgl *v)
{
    fake_virgl_complete(v, 200, 0, 0, 0);
}

static void lie_no_token(FakeVirgl *v)
{
    fake_virgl_complete(v, 0, 0, 0, 0);
}

static void lie_twice(FakeVirgl *v)
{
    fake_virgl_complete(v, v->token, 0, 0, 0);
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

static void lie_counts(FakeVirgl *v)
{
    v->done += 1000;
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

static void lie_another_blob(FakeVirgl *v)
{
    struct proto_blob_created m = {
        .type = PROTO_BLOB_CREATED, .status = ENOMEM, .blob = 77,
    };

    g_assert_cmpint(proto_send(v->sock, &m, NULL, 0), ==, 0);
}

static void lie_not_a_packet(FakeVirgl *v)
{
    g_assert_cmpint(send(v->sock, "hello", 5, 0), ==, 5);
}

static void worker_that_lies_is_given_up(void)
{
    static Lie *const lies[] = {
        lie_unknown_token, lie_no_token, lie_twice, lie_counts, lie_another_blob,
        lie_not_a_packet,
    };

    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        FakeVirgl v;
        Test t;

        g_test_message("lie %zu", i);
        test_start_worker(&t, &v);
        guest_send_submit(&t.g, 1, 4, FENCED, 0, 1);
        guest_kick(&t.g);
        fake_virgl_take(&v, VIRGL_SUBMIT);
        lies[i](&v);
        /* What nobody waits for is seen with what somebody does. */
        guest_send_submit(&t.g, 1, 4, FENCED, 0, 2);
        guest_kick(&t.g);
        g_assert_true(fake_is_closed(v.sock));
        test_stop_worker(&t, &v);
    }
}

static void too_many_deaths_end_in_2d_until_reset(void)
{
    FakeVirgl v;
    Test t;

    test_start_virgl(&t, "backend=auto");
    for (uint32_t i = 1; i <= 6; i++) {
        test_begin_worker(&t, i, &v);
        fake_virgl_die(&v);
        test_wait_lost(&t, i);
    }
    g_assert_cmphex(guest_context_create(&t.g, 9, VIRGL_CAPSET_ID), ==, UNSPEC);
    g_assert_false(fake_has_context(&t.f));
    guest_drive(&t.g);
    test_begin_worker(&t, 9, &v);
    test_stop_worker(&t, &v);
}

/* --- reset and unplugging ------------------------------------------------ */

static void reset_forgets_everything(void)
{
    unsigned fds;
    FakeVirgl v, w;
    int place = 0;
    Test t;

    test_start_virgl(&t, "backend=auto");
    fds = test_fds(&t.g);
    test_begin_worker(&t, 1, &v);
    test_add_texture(&t, &v, TEX, 16, 16);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1024), ==, OK);
    for (int i = 0; i < 10; i++) {
        place = guest_send_submit(&t.g, 1, 4, FENCED, 0, i);
    }
    guest_kick(&t.g);
    g_assert_true(guest_is_alive(&t.g));
    qvirtio_reset(&t.g.pci->vdev);
    g_assert_false(guest_is_answered(&t.g, place));
    guest_drive(&t.g);
    g_assert_true(fake_is_closed(v.sock));
    g_assert_cmpuint(test_fds(&t.g), ==, fds);
    test_begin_worker(&t, 1, &w);
    test_add_texture(&t, &w, TEX, 16, 16);
    test_stop_worker(&t, &w);
    fake_virgl_die(&v);
}

/* Plugged in while the VM runs; and pulled out with all that can be under way. */
static void device_is_unplugged_with_work_in_flight(void)
{
    unsigned fds = 0;
    Test t;

    fake_start(&t.f);
    guest_start(&t.g, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        FakeVirgl v;

        test_plug_virgl(&t);
        test_begin_worker(&t, 1, &v);
        test_add_texture(&t, &v, TEX, 32, 32);
        g_assert_cmphex(guest_attach_halves(&t.g, TEX, 4096), ==, OK);
        g_assert_cmphex(guest_show(&t.g, 0, TEX,
                                   (struct virtio_gpu_rect) { 0, 0, 32, 32 }),
                        ==, OK);
        munmap(fake_virgl_screen(&v, 32, 32), 32 * 32 * 4);
        fake_virgl_take(&v, VIRGL_GET);
        for (int n = 0; n < 5; n++) {
            guest_send_submit(&t.g, 1, 4, FENCED, 0, n);
        }
        guest_kick(&t.g);
        g_assert_true(guest_is_alive(&t.g));
        test_unplug_virgl(&t, &v);
        if (i == 0) {
            fds = test_fds(&t.g);
        }
        g_assert_cmpuint(test_fds(&t.g), ==, fds);
    }
    guest_stop(&t.g);
    fake_stop(&t.f);
}

const TestCase tests_virgl_worker[] = {
    TEST(worker_is_told_which_gpu),
    TEST(gpu_that_cannot_be_had_refuses_the_device),
    TEST(why_there_is_no_vulkan_is_in_the_status),
    TEST(worker_that_dies_of_vulkan_costs_nothing),
    TEST(worker_that_dies_loses_contexts_and_another_starts),
    TEST(query_that_is_lost_has_an_answer),
    TEST(worker_that_hangs_is_given_up),
    TEST(worker_that_lies_is_given_up),
    TEST(too_many_deaths_end_in_2d_until_reset),
    TEST(reset_forgets_everything),
    TEST(device_is_unplugged_with_work_in_flight),
    { NULL },
};
