/*
 * vgpu-remote, seen from both of its ends: by a guest's driver
 * (vgpu-remote-guest.c) and by a vgpu-remoted (vgpu-remote-fake.c), which both
 * are this process. Each test has a QEMU of its own. The tests are in
 * vgpu-remote-test-*.c; here are the steps they share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "qobject/qdict.h"
#include "vgpu-remote-test.h"

void test_start_with(Test *t, const char *type, const char *more)
{
    g_autofree char *device = NULL;

    fake_start(&t->f);
    /* The emulated GPU asks for a worker of its own: see fake-virgl. */
    device = g_strdup_printf("%s,%s%s", type, t->f.option,
                             strstr(type, "backend=") ? "" : ",backend=remote");
    guest_start(&t->g, device, more);
    fake_welcome(&t->f);
    guest_drive(&t->g);
}

void test_start(Test *t)
{
    test_start_with(t, "vgpu-remote", NULL);
}

void test_stop(Test *t)
{
    g_assert_true(guest_is_alive(&t->g));
    guest_stop(&t->g);
    fake_stop(&t->f);
}

void test_add_context(Test *t, uint32_t id, FakeContext *c)
{
    uint32_t resource = RING + 100 * (id - 1);
    int create;

    g_assert_cmphex(guest_context_create(&t->g, id, VGPU_CAPSET_ID), ==, OK);
    fake_context(&t->f, c);
    create = guest_send_blob(&t->g, id, resource, VGPU_BLOB_RING, RING_SIZE);
    g_assert_cmphex(guest_do(&t->g, create), ==, OK);
    fake_ring(c);
    g_assert_cmphex(guest_do(&t->g, guest_send_map(&t->g, resource,
                                                   (id - 1) * (1u << 20))),
                    ==, MAPPED);
}

char *test_status(Test *t)
{
    QDict *answer = qtest_qmp(t->g.qts, "{'execute': 'qom-get', 'arguments': "
                              "{'path': '/machine/peripheral/gpu', "
                              "'property': 'status'}}");
    char *text = g_strdup(qdict_get_str(answer, "return"));

    qobject_unref(answer);
    return text;
}

void test_expect_status(Test *t, const char *part)
{
    g_autofree char *status = test_status(t);

    if (!strstr(status, part)) {
        g_test_message("%s has no %s", status, part);
    }
    g_assert_nonnull(strstr(status, part));
}

uint32_t test_capset_at(Test *t, uint32_t index, uint32_t *size)
{
    struct virtio_gpu_resp_capset_info info = { 0 };

    if (guest_capset_info(&t->g, index, &info) != BAD) {
        g_assert_cmpuint(info.capset_id, !=, 0);
    }
    if (size) {
        *size = info.capset_max_size;
    }
    return info.capset_id;
}

uint8_t *test_screendump(Test *t, uint32_t head, unsigned *w, unsigned *h)
{
    g_autofree char *path = g_strdup_printf("%s/vgpu-remote-%d.ppm",
                                            g_get_tmp_dir(), getpid());
    g_autofree char *data = NULL;
    gsize size, bytes;

    qtest_qmp_assert_success(t->g.qts, "{'execute': 'screendump', 'arguments': "
                             "{'filename': %s, 'device': 'gpu', 'head': %u}}",
                             path, head);
    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    unlink(path);
    g_assert_cmpint(sscanf(data, "P6 %u %u 255", w, h), ==, 2);
    bytes = 3 * (gsize)*w * *h;
    g_assert_cmpuint(bytes, <, size);
    return g_memdup2(data + size - bytes, bytes);
}

void *test_add_blob(Test *t, FakeContext *c, uint32_t resource, uint64_t size)
{
    int create = guest_send_blob(&t->g, c->id, resource, 1000 + resource, size);
    void *map;

    g_assert_cmphex(guest_do(&t->g, create), ==, OK);
    map = fake_blob(c, &size);
    return map;
}

uint32_t test_map(Test *t, uint32_t resource, uint64_t offset)
{
    return guest_do(&t->g, guest_send_map(&t->g, resource, offset));
}

uint32_t test_unmap(Test *t, uint32_t resource)
{
    return guest_do(&t->g, guest_send_unmap(&t->g, resource));
}

uint32_t test_unref(Test *t, uint32_t resource)
{
    return guest_do(&t->g, guest_send_unref(&t->g, resource));
}

void test_expect_held(Test *t, int place)
{
    guest_kick(&t->g);
    g_assert_true(guest_is_alive(&t->g));
    g_assert_false(guest_is_answered(&t->g, place));
}

uint32_t test_wait(Test *t, int place)
{
    return guest_wait(&t->g, place, NULL, 0);
}

unsigned test_fds(Guest *g)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qtest_pid(g->qts));
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

unsigned test_workers(pid_t *first)
{
    GDir *dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    unsigned n = 0;

    *first = 0;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_strdup_printf("/proc/%s/comm", name);
        g_autofree char *comm = NULL;

        if (g_ascii_isdigit(name[0]) &&
            g_file_get_contents(path, &comm, NULL, NULL) &&
            g_str_equal(comm, "vgpu-worker\n") && n++ == 0) {
            *first = atoi(name);
        }
    }
    g_dir_close(dir);
    return n;
}

/* libqtest gives the path to a shell as it is: no blanks in it, then. */
static void enter_directory_of_qemu(void)
{
    const char *path = getenv("QTEST_QEMU_BINARY");
    g_autofree char *dir = path ? g_path_get_dirname(path) : NULL;
    g_autofree char *name = path ? g_path_get_basename(path) : NULL;
    g_autofree char *relative = g_strdup_printf("./%s", name);

    if (path && chdir(dir) == 0) {
        g_setenv("QTEST_QEMU_BINARY", relative, true);
    }
}

static void add(const TestCase *const *tables, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (const TestCase *test = tables[i]; test->run; test++) {
            qtest_add_func(test->path, test->run);
        }
    }
}

int main(int argc, char **argv)
{
    const TestCase *const all[] = {
        tests_life, tests_context, tests_blob, tests_fence, tests_refuse,
        tests_loss, tests_save, tests_virgl, tests_virgl_transfer,
        tests_virgl_screen, tests_virgl_worker, tests_venus, tests_display,
        tests_pages,
        access("/dev/udmabuf", R_OK | W_OK) ? tests_no_udmabuf : tests_udmabuf,
        tests_fuzz,
    };
    static const TestCase *const with_card[] = { tests_dmabuf };

    g_test_init(&argc, &argv, NULL);
    /* A thread of QEMU may reserve 64 MiB for itself, which looks like a leak. */
    g_setenv("MALLOC_ARENA_MAX", "1", true);
    enter_directory_of_qemu();
    if (getenv("VGPU_TEST_CARD")) {
        add(with_card, ARRAY_SIZE(with_card));
    } else {
        add(all, ARRAY_SIZE(all));
    }
    return g_test_run();
}
