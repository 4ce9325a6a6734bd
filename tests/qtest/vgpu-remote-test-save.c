/*
 * Reset, saving and loading.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "vgpu-remote-test.h"

#include "qobject/qdict.h"

/* --- reset --------------------------------------------------------------- */

static void check_reset(void (*reset)(Test *t))
{
    FakeContext c, d;
    int held = -1;
    unsigned fds;
    uint32_t *mem;
    Test t;

    test_start(&t);
    fds = test_fds(&t.g);
    test_add_context(&t, 1, &c);
    mem = test_add_blob(&t, &c, BLOB, PAGE);
    g_assert_cmphex(test_map(&t, BLOB, 32u << 20), ==, MAPPED);
    mem[0] = 0x5ec2e7;
    for (int i = 0; i < 40; i++) {
        held = guest_send_wait(&t.g, 1, i % 5, 1 + i / 5, i);
    }
    guest_send_blob(&t.g, 1, BLOB + 1, VGPU_BLOB_FIRST, PAGE);
    guest_send_map(&t.g, BLOB + 1, 33u << 20); /* the queue stops here */
    guest_kick(&t.g);
    for (int i = 0; i < 5; i++) {
        fake_take_event(&c, i);
    }
    reset(&t);
    g_assert_false(guest_is_answered(&t.g, held));
    g_assert_true(fake_is_closed(c.sock));
    guest_drive(&t.g);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 0);
    g_assert_cmpuint(test_fds(&t.g), ==, fds);
    test_add_context(&t, 1, &d); /* the same ids are free */
    test_stop(&t);
    munmap(mem, PAGE);
    fake_context_die(&c);
    fake_context_die(&d);
}

static void by_driver(Test *t)
{
    qvirtio_reset(&t->g.pci->vdev);
}

static void by_machine(Test *t)
{
    qtest_system_reset(t->g.qts);
}

static void driver_resets_with_work_in_flight(void)
{
    check_reset(by_driver);
}

static void machine_is_reset_with_work_in_flight(void)
{
    check_reset(by_machine);
}

/* --- saving -------------------------------------------------------------- */

/* Migrate to nowhere. Returns the error, or NULL once it has completed. */
static char *save(Guest *g, const char *path)
{
    g_autofree char *uri = g_strdup_printf("exec:cat > %s", path);
    QDict *answer = qtest_qmp(g->qts, "{'execute': 'migrate', 'arguments': "
                              "{'uri': %s}}", uri);
    char *error = NULL;

    if (qdict_haskey(answer, "error")) {
        error = g_strdup(qdict_get_str(qdict_get_qdict(answer, "error"),
                                       "desc"));
    }
    qobject_unref(answer);
    while (!error) {
        g_autofree char *status = NULL;

        answer = qtest_qmp_assert_success_ref(
            g->qts, "{'execute': 'query-migrate'}");
        status = g_strdup(qdict_get_str(answer, "status"));
        qobject_unref(answer);
        g_assert_cmpstr(status, !=, "failed");
        if (strcmp(status, "completed") == 0) {
            break;
        }
        g_usleep(10 * 1000);
    }
    return error;
}

static void context_blocks_saving_and_says_why(void)
{
    g_autofree char *error = NULL;
    FakeContext c;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    error = save(&t.g, "/dev/null");
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error, "vgpu-remote: 'test' in the guest"));
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_clear_pointer(&error, g_free);
    error = save(&t.g, "/dev/null"); /* its ring is still mapped */
    g_assert_nonnull(error);
    g_assert_cmphex(test_unref(&t, RING), ==, OK);
    g_assert_null(save(&t.g, "/dev/null"));
    test_stop(&t);
    fake_context_die(&c);
}

static void vm_is_saved_and_loaded(void)
{
    g_autofree char *file = NULL, *device = NULL;
    FakeContext c;
    Test t;

    test_start(&t);
    file = g_build_filename(t.f.dir, "state", NULL);
    device = g_strdup_printf("vgpu-remote,backend=remote,%s", t.f.option);
    g_assert_cmphex(guest_context_create(&t.g, 3, 0), ==, OK);
    g_assert_cmphex(guest_context_create(&t.g, 5, 0), ==, OK);
    g_assert_null(save(&t.g, file));
    fake_die(&t.f);
    guest_move(&t.g, device, file);
    fake_welcome(&t.f);
    /* What the guest's desktop has made is there, and nothing else. */
    g_assert_cmphex(guest_context_create(&t.g, 3, 0), ==, NO_CONTEXT);
    g_assert_cmphex(guest_context_destroy(&t.g, 5), ==, OK);
    g_assert_cmphex(guest_context_destroy(&t.g, 5), ==, NO_CONTEXT);
    test_add_context(&t, 1, &c);
    unlink(file);
    test_stop(&t);
    fake_context_die(&c);
}

static void context_is_refused_to_a_vm_that_must_be_migratable(void)
{
    Test t;

    test_start_with(&t, "vgpu-remote", "-only-migratable");
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, UNSPEC);
    g_assert_false(fake_has_context(&t.f));
    g_assert_cmphex(guest_context_create(&t.g, 1, 0), ==, OK);
    test_stop(&t);
}

const TestCase tests_save[] = {
    TEST(driver_resets_with_work_in_flight),
    TEST(machine_is_reset_with_work_in_flight),
    TEST(context_blocks_saving_and_says_why),
    TEST(vm_is_saved_and_loaded),
    TEST(context_is_refused_to_a_vm_that_must_be_migratable),
    { NULL },
};
