/*
 * Plugging, properties, and what a driver sees first.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-test.h"

/* --- life ---------------------------------------------------------------- */

/* How often @what occurs in the answer to the monitor's @command. */
static unsigned count_in_hmp(Guest *g, const char *command, const char *what)
{
    g_autofree char *said = qtest_hmp(g->qts, "%s", command);
    unsigned n = 0;

    for (const char *p = said; (p = strstr(p, what)); p++) {
        n++;
    }
    return n;
}

static unsigned long pages(Guest *g)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            qtest_pid(g->qts));
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return strtoul(text, NULL, 10);
}

/* What an unplugged device must not leave behind. */
typedef struct Traces {
    unsigned long pages;    /* of address space: the window */
    unsigned blocks;        /* of RAM: VGA's memory, while the console is open */
    unsigned regions;       /* in the memory map: ports, low memory */
} Traces;

static Traces traces(Guest *g)
{
    return (Traces) {
        .pages = pages(g),
        .blocks = count_in_hmp(g, "info ramblock", "\n"),
        .regions = count_in_hmp(g, "info mtree", "vga") +
                   count_in_hmp(g, "info mtree", "vgpu"),
    };
}

/* Memory is given back a moment after a device has gone. */
static void expect_traces(Guest *g, Traces want)
{
    gint64 limit = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    for (;;) {
        Traces now = traces(g);

        if (now.pages < want.pages + GUEST_HOSTMEM / PAGE / 2 &&
            now.blocks == want.blocks && now.regions == want.regions) {
            return;
        }
        g_test_message("%lu pages, %u blocks, %u regions", now.pages,
                       now.blocks, now.regions);
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(50 * 1000);
    }
}

static void check_plug_cycle(const char *type)
{
    Traces before;
    Test t;

    fake_start(&t.f);
    guest_start(&t.g, NULL, NULL);
    before = traces(&t.g);
    for (int i = 0; i < 3; i++) {
        FakeContext c;

        qtest_qmp_device_add(t.g.qts, type, "gpu",
                             "{'addr': %s, 'hostmem': %d, 'server': %s, "
                             "'backend': 'remote'}",
                             stringify(GUEST_SLOT), GUEST_HOSTMEM,
                             t.f.option + strlen("server="));
        fake_welcome(&t.f);
        guest_drive(&t.g);
        g_assert_true(guest_is_alive(&t.g));
        test_add_context(&t, 1, &c);
        guest_forget(&t.g);
        qpci_unplug_acpi_device_test(t.g.qts, "gpu", GUEST_SLOT);
        g_assert_true(fake_is_closed(c.sock));
        g_assert_true(fake_is_closed(t.f.conn));
        fake_context_die(&c);
        fake_die(&t.f);
        expect_traces(&t.g, before);
    }
    /* What an unplugged device has left behind is found by a reset. */
    qtest_system_reset(t.g.qts);
    guest_stop(&t.g);
    fake_stop(&t.f);
}

static void device_is_plugged_and_unplugged(void)
{
    check_plug_cycle("vgpu-remote");
}

static void vga_is_plugged_and_unplugged(void)
{
    check_plug_cycle("vgpu-remote-vga");
}

static const char *const types[] = { "vgpu-remote", "vgpu-remote-vga" };

static void both_types_are_driven(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        Test t;
        FakeContext c;

        test_start_with(&t, types[i], NULL);
        test_add_context(&t, 1, &c);
        test_stop(&t);
        fake_context_die(&c);
    }
}

static void bad_properties_are_refused_with_what_is_right(void)
{
    static const struct {
        const char *property, *value, *says;
    } bad[] = {
        { "backend", "passthrough", "auto, emulation or remote" },
        { "server", "localhost", "must be unix:PATH" },
        { "server", "unix:", "must be unix:PATH" },
        { "server", "unix:/nonexistent/socket", "does vgpu-remoted run there" },
        { "hostmem", "3M", "power of two" },
        { "hostmem", "0", "power of two" },
        { "hostmem", "4P", "power of two from 2M to 1T" },
        { "blob", "on", "leave it out" },
        { "rendernode", "renderD128", "must be the file of a GPU" },
        { "rendernode", "/dev/dri/renderD128,backend=remote",
          "not with backend=remote" },
        { "processors", "many", "'processors' expects" },
        { "processors", "-1", "'processors' expects" },
        { "processors", "2,server=unix:/nonexistent/socket",
          "start that vgpu-remoted with --processors 2" },
        { "max_outputs", "0", "1 to 16" },
        { "max_outputs", "17", "1 to 16" },
    };
    Guest g;

    guest_start(&g, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(bad) * ARRAY_SIZE(types); i++) {
        size_t n = i / ARRAY_SIZE(types);
        g_autofree char *line = g_strdup_printf(
            "device_add %s,addr=%d,%s=%s", types[i % ARRAY_SIZE(types)],
            GUEST_SLOT, bad[n].property, bad[n].value);
        g_autofree char *said = qtest_hmp(g.qts, "%s", line);

        g_test_message("%s: %s", line, said);
        g_assert_nonnull(strstr(said, bad[n].says));
    }
    guest_stop(&g);
}

static void emulation_without_a_server_is_2d_only(void)
{
    uint64_t ours = 1 << VIRTIO_GPU_F_VIRGL | 1 << VIRTIO_GPU_F_RESOURCE_BLOB |
                    1 << VIRTIO_GPU_F_CONTEXT_INIT;
    Guest g;

    g_setenv("VGPU_REMOTED", "/nonexistent", true);
    guest_start(&g, "vgpu-remote,backend=emulation", NULL);
    g_unsetenv("VGPU_REMOTED");
    guest_drive(&g);
    g_assert_cmphex(g.features & ours, ==, 0);
    g_assert_cmphex(guest_context_create(&g, 1, VGPU_CAPSET_ID), ==, UNSPEC);
    g_assert_true(guest_is_alive(&g));
    guest_stop(&g);
}

/* A server that writes down how it was started, and then only listens. */
static void fake_program(const char *dir, char **program, char **arguments)
{
    g_autofree char *text = NULL;

    *program = g_build_filename(dir, "program", NULL);
    *arguments = g_build_filename(dir, "arguments", NULL);
    text = g_strdup_printf("#!/bin/sh\necho \"$@\" >%s.new\nmv %s.new %s\n"
                           "exec cat <&3 >/dev/null\n", *arguments, *arguments,
                           *arguments);
    g_assert_true(g_file_set_contents(*program, text, -1, NULL));
    g_assert_cmpint(chmod(*program, 0700), ==, 0);
}

static void check_arguments(const char *properties, const char *want)
{
    g_autofree char *dir = g_dir_make_tmp("vgpu-remote-XXXXXX", NULL);
    g_autofree char *program = NULL, *arguments = NULL, *text = NULL;
    gint64 limit = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    Guest g;

    fake_program(dir, &program, &arguments);
    g_setenv("VGPU_REMOTED", program, true);
    guest_start(&g, properties, NULL);
    g_unsetenv("VGPU_REMOTED");
    while (!g_file_get_contents(arguments, &text, NULL, NULL)) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(10 * 1000);
    }
    g_assert_cmpstr(text, ==, want);
    guest_stop(&g);
    unlink(program);
    unlink(arguments);
    rmdir(dir);
}

static void private_server_is_told_how_many_processors(void)
{
    check_arguments("vgpu-remote,backend=remote,processors=3",
                    "--fd 3 --processors 3\n");
    check_arguments("vgpu-remote-vga,backend=remote",
                    "--fd 3 --processors 0\n");
}

/* --- features, capsets --------------------------------------------------- */

static void features_are_those_a_stock_driver_needs(void)
{
    uint64_t want = 1 << VIRTIO_GPU_F_VIRGL | 1 << VIRTIO_GPU_F_EDID |
                    1 << VIRTIO_GPU_F_RESOURCE_BLOB |
                    1 << VIRTIO_GPU_F_CONTEXT_INIT;
    Test t;
    QVirtioDevice *vdev;

    test_start(&t);
    vdev = &t.g.pci->vdev;
    g_assert_cmphex(t.g.features & 0x1f, ==, want);
    g_assert_cmpuint(qvirtio_config_readl(vdev, offsetof(
        struct virtio_gpu_config, num_scanouts)), ==, 1);
    g_assert_cmpuint(qvirtio_config_readl(vdev, offsetof(
        struct virtio_gpu_config, num_capsets)), ==, 1);
    test_stop(&t);
}

static void capset_info_is_had_by_index(void)
{
    struct virtio_gpu_resp_capset_info info;
    Test t;

    test_start(&t);
    g_assert_cmphex(guest_capset_info(&t.g, 0, &info), ==,
                    VIRTIO_GPU_RESP_OK_CAPSET_INFO);
    g_assert_cmpuint(info.capset_id, ==, VGPU_CAPSET_ID);
    g_assert_cmpuint(info.capset_max_version, ==, VGPU_CAPSET_VERSION);
    g_assert_cmpuint(info.capset_max_size, ==, sizeof(struct vgpu_capset));
    g_assert_cmphex(guest_capset_info(&t.g, 1, NULL), ==, BAD);
    g_assert_cmphex(guest_capset_info(&t.g, UINT32_MAX, NULL), ==, BAD);
    test_stop(&t);
}

static uint32_t get_capset(Test *t, uint32_t id, uint32_t version,
                           struct vgpu_capset *capset)
{
    struct virtio_gpu_get_capset c = {
        .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET,
        .capset_id = id,
        .capset_version = version,
    };
    struct {
        struct virtio_gpu_ctrl_hdr hdr;
        struct vgpu_capset capset;
    } answer;
    int place = guest_send(&t->g, &c, sizeof(c), sizeof(answer));
    uint32_t type;

    guest_kick(&t->g);
    type = guest_wait(&t->g, place, &answer, capset ? sizeof(answer) : 0);
    if (capset) {
        *capset = answer.capset;
    }
    return type;
}

static void capset_is_had_by_id_and_version(void)
{
    struct vgpu_capset capset;
    Test t;

    test_start(&t);
    g_assert_cmphex(get_capset(&t, VGPU_CAPSET_ID, VGPU_CAPSET_VERSION, &capset),
                    ==, VIRTIO_GPU_RESP_OK_CAPSET);
    g_assert_cmphex(capset.magic, ==, VGPU_CAPSET_MAGIC);
    g_assert_cmpuint(capset.protocol_version, ==, VGPU_PROTOCOL_VERSION);
    g_assert_cmpuint(capset.memory_max, ==, GUEST_HOSTMEM);
    for (size_t i = 0; i < ARRAY_SIZE(capset.reserved); i++) {
        g_assert_cmpuint(capset.reserved[i], ==, 0);
    }
    g_assert_cmphex(get_capset(&t, VGPU_CAPSET_ID, VGPU_CAPSET_VERSION + 1,
                               NULL), ==, BAD);
    g_assert_cmphex(get_capset(&t, VIRTIO_GPU_CAPSET_VIRGL2, 1, NULL), ==, BAD);
    g_assert_cmphex(get_capset(&t, 0, VGPU_CAPSET_VERSION, NULL), ==, BAD);
    test_stop(&t);
}

const TestCase tests_life[] = {
    TEST(both_types_are_driven),
    TEST(device_is_plugged_and_unplugged),
    TEST(vga_is_plugged_and_unplugged),
    TEST(bad_properties_are_refused_with_what_is_right),
    TEST(emulation_without_a_server_is_2d_only),
    TEST(private_server_is_told_how_many_processors),
    TEST(features_are_those_a_stock_driver_needs),
    TEST(capset_info_is_had_by_index),
    TEST(capset_is_had_by_id_and_version),
    { NULL },
};
