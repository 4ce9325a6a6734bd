/*
 * Servers and workers that end, hang or lie.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include "vgpu-remote-test.h"

static void server_dies_with_commands_in_flight(void)
{
    FakeContext c, d, e;
    int held[4], create, stalled, behind;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    test_add_context(&t, 2, &d);
    held[0] = guest_send_wait(&t.g, 1, 1, 1, 1);
    held[1] = guest_send_wait(&t.g, 1, 1, 2, 2);
    held[2] = guest_send_wait(&t.g, 1, 2, 1, 3);
    held[3] = guest_send_wait(&t.g, 2, 1, 1, 4);
    test_expect_held(&t, held[3]);
    create = guest_send_blob(&t.g, 2, BLOB, VGPU_BLOB_FIRST, PAGE);
    stalled = guest_send_map(&t.g, BLOB, 32u << 20);
    behind = guest_send_unref(&t.g, BLOB);
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    g_assert_false(guest_is_answered(&t.g, stalled));
    fake_die(&t.f); /* the workers' own sockets still live */
    for (int i = 0; i < 4; i++) {
        g_assert_cmphex(test_wait(&t, held[i]), ==, OK);
    }
    g_assert_cmphex(test_wait(&t, stalled), ==, NO_MEMORY);
    g_assert_cmphex(test_wait(&t, behind), ==, OK);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_WORKER);
    g_assert_cmpint(ring_fatal(d.ring), ==, RING_FATAL_WORKER);
    /* What is asked of a lost context is answered, too. */
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 1, 9, 5)), ==, OK);
    g_assert_cmphex(guest_do(&t.g, guest_send_blob(&t.g, 1, BLOB, 9, PAGE)), ==,
                    NO_CONTEXT);
    test_expect_status(&t, "\"lost\": 2}");
    /* The answers to what was asked after the loss. */
    test_expect_status(&t, "\"refused\": 2}");
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    /* And the next one has a server again. */
    g_usleep(1100 * 1000);
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, OK);
    fake_welcome(&t.f);
    fake_context(&t.f, &e);
    test_stop(&t);
    fake_context_die(&c);
    fake_context_die(&d);
    fake_context_die(&e);
}

/* A guest can ask for contexts in a loop; a server that ends at once is not. */
static void server_is_asked_again_once_a_second(void)
{
    FakeContext c;
    Test t;

    test_start(&t);
    g_usleep(1100 * 1000);
    fake_die(&t.f);
    g_assert_true(guest_is_alive(&t.g));
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, OK);
    fake_welcome(&t.f);
    fake_context(&t.f, &c);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    fake_context_die(&c);
    fake_die(&t.f);
    g_assert_true(guest_is_alive(&t.g));
    for (int i = 0; i < 20; i++) {
        g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==,
                        UNSPEC);
    }
    g_usleep(1100 * 1000);
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, OK);
    fake_welcome(&t.f);
    fake_context(&t.f, &c);
    test_stop(&t);
    fake_context_die(&c);
}

static void server_of_another_version_is_left(void)
{
    struct proto_welcome m = {
        .type = PROTO_WELCOME, .version = VGPU_PROTOCOL_VERSION + 1,
        .status = EPROTO,
    };
    g_autofree char *device = NULL;
    Test t;

    fake_start(&t.f);
    device = g_strdup_printf("vgpu-remote,backend=remote,%s", t.f.option);
    guest_start(&t.g, device, NULL);
    fake_accept(&t.f);
    g_assert_cmpint(proto_send(t.f.conn, &m, NULL, 0), ==, 0);
    g_assert_true(fake_is_closed(t.f.conn));
    guest_drive(&t.g);
    test_stop(&t);
}

static void worker_that_dies_takes_only_its_context(void)
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
    fake_take_event(&d, 1);
    shutdown(c.sock, SHUT_RDWR);
    g_assert_cmphex(test_wait(&t, a), ==, OK);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_WORKER);
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, b));
    g_assert_cmpint(ring_fatal(d.ring), ==, RING_OK);
    fake_post(&d, 1, 1);
    g_assert_cmphex(test_wait(&t, b), ==, OK);
    test_stop(&t);
    fake_context_die(&c);
    fake_context_die(&d);
}

static void context_without_a_worker_says_why(void)
{
    struct proto_lost m = {
        .type = PROTO_LOST, .why = RING_FATAL_BUDGET, .text = "no more contexts",
    };
    FakeContext c;
    int a;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    a = guest_send_wait(&t.g, 1, 1, 1, 1);
    test_expect_held(&t, a);
    g_assert_cmpint(proto_send(c.sock, &m, NULL, 0), ==, 0);
    g_assert_cmphex(test_wait(&t, a), ==, OK);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_BUDGET);
    test_stop(&t);
    fake_context_die(&c);
}

/* The guest's queue waits for it, but not for ever; the main loop not at all. */
static void worker_that_hangs_costs_its_context_and_a_second(void)
{
    gint64 begin;
    FakeContext c;
    int create, stalled;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    stalled = guest_send_map(&t.g, BLOB, 32u << 20);
    begin = g_get_monotonic_time();
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    qtest_qmp_assert_success(t.g.qts, "{'execute': 'query-status'}");
    g_assert_cmpint(g_get_monotonic_time() - begin, <, G_USEC_PER_SEC / 2);
    g_assert_cmphex(test_wait(&t, stalled), ==, NO_MEMORY);
    g_assert_cmpint(g_get_monotonic_time() - begin, >, G_USEC_PER_SEC / 2);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 3 * G_USEC_PER_SEC);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_WORKER);
    g_assert_cmphex(test_map(&t, BLOB, 32u << 20), ==, NO_MEMORY); /* at once */
    test_stop(&t);
    fake_context_die(&c);
}

typedef void Lie(FakeContext *c, uint64_t blob);

static void lie_too_small(FakeContext *c, uint64_t blob)
{
    int fd = fake_memfd(PAGE, true);

    fake_created(c, blob, 4 * PAGE, 0, fd);
    close(fd);
}

static void lie_not_sealed(FakeContext *c, uint64_t blob)
{
    int fd = fake_memfd(4 * PAGE, false);

    fake_created(c, blob, 4 * PAGE, 0, fd);
    close(fd);
}

static void lie_another_blob(FakeContext *c, uint64_t blob)
{
    int fd = fake_memfd(4 * PAGE, true);

    fake_created(c, blob + 1, 4 * PAGE, 0, fd);
    close(fd);
}

static void lie_no_memory_at_all(FakeContext *c, uint64_t blob)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    fake_created(c, blob, 4 * PAGE, 0, fd);
    close(fd);
}

static void lie_not_a_packet(FakeContext *c, uint64_t blob)
{
    g_assert_cmpint(send(c->sock, "hello", 5, 0), ==, 5);
}

static void lie_a_clients_packet(FakeContext *c, uint64_t blob)
{
    struct proto_blob_destroy m = { .type = PROTO_BLOB_DESTROY };

    g_assert_cmpint(proto_send(c->sock, &m, NULL, 0), ==, 0);
}

static void worker_that_lies_costs_its_context(void)
{
    static Lie *const lies[] = {
        lie_too_small, lie_not_sealed, lie_another_blob, lie_no_memory_at_all,
        lie_not_a_packet, lie_a_clients_packet,
    };
    unsigned fds = 0;
    Test t;

    test_start(&t);
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        FakeContext c;
        union proto_any m;
        int create;

        g_test_message("lie %zu", i);
        test_add_context(&t, 1, &c);
        create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, 4 * PAGE);
        g_assert_cmphex(guest_do(&t.g, create), ==, OK);
        fake_recv(c.sock, PROTO_BLOB_CREATE, &m);
        lies[i](&c, VGPU_BLOB_FIRST);
        g_assert_cmphex(test_map(&t, BLOB, 32u << 20), ==, NO_MEMORY);
        g_assert_cmpint(ring_fatal(c.ring), !=, RING_OK);
        g_assert_cmphex(test_unref(&t, BLOB), ==, OK);
        g_assert_cmphex(test_unref(&t, RING), ==, OK);
        g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
        fake_context_die(&c);
        if (i == 0) {
            fds = test_fds(&t.g);
        }
        g_assert_cmpuint(test_fds(&t.g), ==, fds);
    }
    test_stop(&t);
}

const TestCase tests_loss[] = {
    TEST(server_dies_with_commands_in_flight),
    TEST(server_is_asked_again_once_a_second),
    TEST(server_of_another_version_is_left),
    TEST(worker_that_dies_takes_only_its_context),
    TEST(context_without_a_worker_says_why),
    TEST(worker_that_hangs_costs_its_context_and_a_second),
    TEST(worker_that_lies_costs_its_context),
    { NULL },
};
