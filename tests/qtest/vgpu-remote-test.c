/*
 * vgpu-remote, seen from both of its ends: by a guest's driver
 * (vgpu-remote-guest.c) and by a vgpu-remoted (vgpu-remote-fake.c), which both are
 * this process. Each test has a QEMU of its own, and is named by what happens.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vgpu-remote-fake.h"
#include "vgpu-remote-guest.h"

#include "qobject/qdict.h"

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

static const char *const types[] = { "vgpu-remote", "vgpu-remote-vga" };

/* --- a guest with a server ------------------------------------------------------ */

typedef struct Test {
    Guest g;
    Fake f;
} Test;

static void start_with(Test *t, const char *type, const char *more)
{
    g_autofree char *device = NULL;

    fake_start(&t->f);
    device = g_strdup_printf("%s,%s", type, t->f.option);
    guest_start(&t->g, device, more);
    fake_welcome(&t->f);
    guest_drive(&t->g);
}

static void start(Test *t)
{
    start_with(t, types[0], NULL);
}

static void stop(Test *t)
{
    g_assert_true(guest_is_alive(&t->g));
    guest_stop(&t->g);
    fake_stop(&t->f);
}

/* Context @id with a ring, at resource id RING + 100 * (@id - 1). */
static void add_context(Test *t, uint32_t id, FakeContext *c)
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

/* A blob that the worker has made. Returns its memory here. */
static void *add_blob(Test *t, FakeContext *c, uint32_t resource, uint64_t size)
{
    int create = guest_send_blob(&t->g, c->id, resource, 1000 + resource, size);
    void *map;

    g_assert_cmphex(guest_do(&t->g, create), ==, OK);
    map = fake_blob(c, &size);
    return map;
}

static uint32_t map(Test *t, uint32_t resource, uint64_t offset)
{
    return guest_do(&t->g, guest_send_map(&t->g, resource, offset));
}

static uint32_t unmap(Test *t, uint32_t resource)
{
    return guest_do(&t->g, guest_send_unmap(&t->g, resource));
}

static uint32_t unref(Test *t, uint32_t resource)
{
    return guest_do(&t->g, guest_send_unref(&t->g, resource));
}

/* Kick, and give the device time to do what it should not. */
static void expect_held(Test *t, int place)
{
    guest_kick(&t->g);
    g_assert_true(guest_is_alive(&t->g));
    g_assert_false(guest_is_answered(&t->g, place));
}

static uint32_t wait_for(Test *t, int place)
{
    return guest_wait(&t->g, place, NULL, 0);
}

/* --- life --------------------------------------------------------------------------- */

/* Pages of QEMU's address space. */
static unsigned long address_space(Guest *g)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            qtest_pid(g->qts));
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return strtoul(text, NULL, 10);
}

/* A device that is not freed keeps its window; that it is may take a moment. */
static void expect_no_window(Guest *g, unsigned long none)
{
    gint64 limit = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    unsigned long pages = GUEST_HOSTMEM / PAGE;

    while (address_space(g) > none + pages / 2) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(1000);
    }
}

static void check_plug_cycle(const char *type)
{
    unsigned long before;
    Test t;

    fake_start(&t.f);
    guest_start(&t.g, NULL, NULL);
    before = address_space(&t.g);
    for (int i = 0; i < 3; i++) {
        FakeContext c;

        qtest_qmp_device_add(t.g.qts, type, "gpu",
                             "{'addr': %s, 'hostmem': %d, 'server': %s}",
                             stringify(GUEST_SLOT), GUEST_HOSTMEM,
                             t.f.option + strlen("server="));
        fake_welcome(&t.f);
        guest_drive(&t.g);
        g_assert_true(guest_is_alive(&t.g));
        add_context(&t, 1, &c);
        guest_forget(&t.g);
        qpci_unplug_acpi_device_test(t.g.qts, "gpu", GUEST_SLOT);
        g_assert_true(fake_is_closed(c.sock));
        g_assert_true(fake_is_closed(t.f.conn));
        fake_context_die(&c);
        fake_die(&t.f);
        expect_no_window(&t.g, before);
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

static void both_types_are_driven(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        Test t;
        FakeContext c;

        start_with(&t, types[i], NULL);
        add_context(&t, 1, &c);
        stop(&t);
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

static void emulation_has_no_capset(void)
{
    uint64_t ours = 1 << VIRTIO_GPU_F_VIRGL | 1 << VIRTIO_GPU_F_RESOURCE_BLOB |
                    1 << VIRTIO_GPU_F_CONTEXT_INIT;
    Guest g;

    guest_start(&g, "vgpu-remote,backend=emulation", NULL);
    guest_drive(&g);
    g_assert_cmphex(g.features & ours, ==, 0);
    g_assert_cmphex(guest_context_create(&g, 1, VGPU_CAPSET_ID), ==, UNSPEC);
    g_assert_true(guest_is_alive(&g));
    guest_stop(&g);
}

/* --- features, capsets ----------------------------------------------------------------- */

static void features_are_those_a_stock_driver_needs(void)
{
    uint64_t want = 1 << VIRTIO_GPU_F_VIRGL | 1 << VIRTIO_GPU_F_EDID |
                    1 << VIRTIO_GPU_F_RESOURCE_BLOB |
                    1 << VIRTIO_GPU_F_CONTEXT_INIT;
    Test t;
    QVirtioDevice *vdev;

    start(&t);
    vdev = &t.g.pci->vdev;
    g_assert_cmphex(t.g.features & 0x1f, ==, want);
    g_assert_cmpuint(qvirtio_config_readl(vdev, offsetof(
        struct virtio_gpu_config, num_scanouts)), ==, 1);
    g_assert_cmpuint(qvirtio_config_readl(vdev, offsetof(
        struct virtio_gpu_config, num_capsets)), ==, 1);
    stop(&t);
}

static uint32_t get_capset_info(Test *t, uint32_t index,
                                struct virtio_gpu_resp_capset_info *info)
{
    struct virtio_gpu_get_capset_info c = {
        .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO, .capset_index = index,
    };
    int place = guest_send(&t->g, &c, sizeof(c), sizeof(*info));

    guest_kick(&t->g);
    return guest_wait(&t->g, place, info, index ? 0 : sizeof(*info));
}

static void capset_info_is_had_by_index(void)
{
    struct virtio_gpu_resp_capset_info info;
    Test t;

    start(&t);
    g_assert_cmphex(get_capset_info(&t, 0, &info), ==,
                    VIRTIO_GPU_RESP_OK_CAPSET_INFO);
    g_assert_cmpuint(info.capset_id, ==, VGPU_CAPSET_ID);
    g_assert_cmpuint(info.capset_max_version, ==, VGPU_CAPSET_VERSION);
    g_assert_cmpuint(info.capset_max_size, ==, sizeof(struct vgpu_capset));
    g_assert_cmphex(get_capset_info(&t, 1, NULL), ==, BAD);
    g_assert_cmphex(get_capset_info(&t, UINT32_MAX, NULL), ==, BAD);
    stop(&t);
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

    start(&t);
    g_assert_cmphex(get_capset(&t, VGPU_CAPSET_ID, VGPU_CAPSET_VERSION, &capset),
                    ==, VIRTIO_GPU_RESP_OK_CAPSET);
    g_assert_cmphex(capset.magic, ==, VGPU_CAPSET_MAGIC);
    g_assert_cmpuint(capset.protocol_version, ==, VGPU_PROTOCOL_VERSION);
    for (size_t i = 0; i < ARRAY_SIZE(capset.reserved); i++) {
        g_assert_cmpuint(capset.reserved[i], ==, 0);
    }
    g_assert_cmphex(get_capset(&t, VGPU_CAPSET_ID, VGPU_CAPSET_VERSION + 1,
                               NULL), ==, BAD);
    g_assert_cmphex(get_capset(&t, VIRTIO_GPU_CAPSET_VIRGL2, 1, NULL), ==, BAD);
    g_assert_cmphex(get_capset(&t, 0, VGPU_CAPSET_VERSION, NULL), ==, BAD);
    stop(&t);
}

/* --- contexts --------------------------------------------------------------------------------- */

static void context_has_a_worker_until_it_is_destroyed(void)
{
    FakeContext c;
    Test t;

    start(&t);
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
    stop(&t);
    fake_context_die(&c);
}

static void context_of_unknown_capset_is_refused(void)
{
    /* 48 is what a stock kernel takes for 16; 284 has our id in its low byte. */
    static const uint32_t unknown[] = { 1, 2, 16, 27, 29, 48, 60, 284, 1u << 31 };
    Test t;

    start(&t);
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        g_assert_cmphex(guest_context_create(&t.g, 1, unknown[i]), ==, BAD);
    }
    g_assert_cmphex(guest_context_create(&t.g, 0, VGPU_CAPSET_ID), ==,
                    NO_CONTEXT);
    g_assert_false(fake_has_context(&t.f));
    stop(&t);
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

    start(&t);
    g_assert_cmphex(guest_context_create(&t.g, 1, 0), ==, OK);
    g_assert_cmphex(guest_call(&t.g, &create, sizeof(create)), ==, OK);
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, OK);
    attach.hdr.type = VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE;
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, OK);
    attach.resource_id = 6;
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, NO_RESOURCE);
    g_assert_cmphex(unref(&t, 5), ==, OK);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_assert_false(fake_has_context(&t.f));
    stop(&t);
}

static void doorbell_is_rung_and_answered_at_once(void)
{
    struct virtio_gpu_cmd_submit ring_it = {
        .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = 1 },
    };
    FakeContext c;
    uint64_t count;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    g_assert_cmpint(read(c.doorbell, &count, sizeof(count)), ==, -1);
    g_assert_cmphex(guest_call(&t.g, &ring_it, sizeof(ring_it)), ==, OK);
    g_assert_cmpint(read(c.doorbell, &count, sizeof(count)), ==, sizeof(count));
    g_assert_cmpuint(count, ==, 1);
    stop(&t);
    fake_context_die(&c);
}

/* --- blobs ----------------------------------------------------------------------------------- */

static void blob_is_the_workers_memory(void)
{
    struct virtio_gpu_ctx_resource attach = {
        .hdr = { .type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, .ctx_id = 1 },
        .resource_id = BLOB,
    };
    FakeContext c;
    union proto_any m;
    uint32_t *mem;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    mem = add_blob(&t, &c, BLOB, 2 * PAGE);
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, OK);
    mem[1] = 0x12345678;
    g_assert_cmphex(map(&t, BLOB, 32u << 20), ==, MAPPED);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, (32u << 20) + 4),
                    ==, 0x12345678);
    qpci_io_writel(t.g.pci->pdev, t.g.window, (32u << 20) + PAGE, 0xcafe);
    g_assert_cmphex(mem[PAGE / 4], ==, 0xcafe);
    g_assert_cmphex(unmap(&t, BLOB), ==, OK);
    g_assert_cmphex(unmap(&t, BLOB), ==, BAD);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, (32u << 20) + 4),
                    ==, 0);
    qpci_io_writel(t.g.pci->pdev, t.g.window, (32u << 20) + 4, 1);
    g_assert_cmphex(mem[1], ==, 0x12345678);
    g_assert_cmphex(unref(&t, BLOB), ==, OK);
    fake_recv(c.sock, PROTO_BLOB_DESTROY, &m);
    g_assert_cmpuint(m.blob_destroy.blob, ==, 1000 + BLOB);
    g_assert_cmphex(map(&t, BLOB, 0), ==, NO_RESOURCE);
    stop(&t);
    munmap(mem, 2 * PAGE);
    fake_context_die(&c);
}

static void blob_outlives_its_context(void)
{
    FakeContext c;
    uint32_t *mem;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    mem = add_blob(&t, &c, BLOB, PAGE);
    g_assert_cmphex(map(&t, BLOB, 32u << 20), ==, MAPPED);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    mem[0] = 77;
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 77);
    g_assert_cmphex(unref(&t, BLOB), ==, OK);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 0);
    stop(&t);
    munmap(mem, PAGE);
    fake_context_die(&c);
}

static void blob_is_mapped_only_where_the_window_is_free(void)
{
    const uint64_t at = 32u << 20;
    FakeContext c;
    void *a, *b;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    a = add_blob(&t, &c, BLOB, 4 * PAGE);
    b = add_blob(&t, &c, BLOB + 1, 4 * PAGE);
    g_assert_cmphex(map(&t, BLOB, at + 1), ==, BAD);
    g_assert_cmphex(map(&t, BLOB, at), ==, MAPPED);
    g_assert_cmphex(map(&t, BLOB, at + (1 << 20)), ==, BAD); /* is mapped */
    g_assert_cmphex(map(&t, BLOB + 1, at), ==, BAD);
    g_assert_cmphex(map(&t, BLOB + 1, at + 3 * PAGE), ==, BAD);
    g_assert_cmphex(map(&t, BLOB + 1, at - 3 * PAGE), ==, BAD);
    g_assert_cmphex(map(&t, BLOB + 1, 0), ==, BAD); /* the ring */
    g_assert_cmphex(map(&t, BLOB + 1, GUEST_HOSTMEM), ==, BAD);
    g_assert_cmphex(map(&t, BLOB + 1, GUEST_HOSTMEM - 3 * PAGE), ==, BAD);
    g_assert_cmphex(map(&t, BLOB + 1, -(uint64_t)PAGE), ==, BAD);
    g_assert_cmphex(map(&t, BLOB + 1, 1ull << 63), ==, BAD);
    g_assert_cmphex(map(&t, BLOB + 1, GUEST_HOSTMEM - 4 * PAGE), ==, MAPPED);
    g_assert_cmphex(unmap(&t, BLOB + 1), ==, OK);
    g_assert_cmphex(map(&t, BLOB + 1, at + 4 * PAGE), ==, MAPPED);
    stop(&t);
    munmap(a, 4 * PAGE);
    munmap(b, 4 * PAGE);
    fake_context_die(&c);
}

static void blob_that_makes_no_sense_is_refused(void)
{
    const struct virtio_gpu_resource_create_blob good = {
        .hdr = {
            .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = 1,
        },
        .resource_id = BLOB,
        .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
        .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
        .blob_id = VGPU_BLOB_FIRST,
        .size = PAGE,
    };
    struct {
        struct virtio_gpu_resource_create_blob blob;
        uint32_t answer;
    } bad[] = {
        { good, NO_RESOURCE }, { good, NO_RESOURCE }, { good, BAD },
        { good, BAD }, { good, BAD }, { good, BAD }, { good, BAD },
        { good, BAD }, { good, NO_CONTEXT }, { good, NO_CONTEXT },
    };
    FakeContext c;
    Test t;

    bad[0].blob.resource_id = 0;
    bad[1].blob.resource_id = RING;
    bad[2].blob.blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST;
    bad[3].blob.nr_entries = 1;
    bad[4].blob.blob_id = 0;
    bad[5].blob.blob_id = VGPU_BLOB_RING; /* is in use */
    bad[6].blob.size = 0;
    bad[7].blob.size = UINT64_MAX;
    bad[8].blob.hdr.ctx_id = 2;
    bad[9].blob.hdr.ctx_id = 3; /* has no capset */
    start(&t);
    add_context(&t, 1, &c);
    g_assert_cmphex(guest_context_create(&t.g, 3, 0), ==, OK);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_test_message("case %zu", i);
        g_assert_cmphex(guest_call(&t.g, &bad[i].blob, sizeof(good)), ==,
                        bad[i].answer);
    }
    g_assert_cmphex(map(&t, BLOB, 32u << 20), ==, NO_RESOURCE);
    stop(&t);
    fake_context_die(&c);
}

static void blob_that_the_worker_refuses_cannot_be_mapped(void)
{
    FakeContext c;
    union proto_any m;
    int create;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    fake_recv(c.sock, PROTO_BLOB_CREATE, &m);
    fake_created(&c, VGPU_BLOB_FIRST, 0, ENOMEM, -1);
    g_assert_cmphex(map(&t, BLOB, 32u << 20), ==, NO_MEMORY);
    g_assert_cmphex(unref(&t, BLOB), ==, OK);
    stop(&t);
    fake_context_die(&c);
}

static unsigned count_fds(Guest *g)
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

/*
 * Always the same place in the window and the same ids: nothing of one blob may be
 * seen in the next. MAP waits for the worker each time.
 */
static void blob_is_made_and_mapped_10000_times(void)
{
    const uint64_t at = 32u << 20;
    unsigned fds;
    FakeContext c;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    fds = count_fds(&t.g);
    for (uint32_t i = 1; i <= 10000; i++) {
        int create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
        int map_it = guest_send_map(&t.g, BLOB, at);
        uint64_t size;
        uint32_t *mem;
        union proto_any m;
        int unmap_it, unref_it;

        guest_kick(&t.g);
        mem = fake_blob(&c, &size);
        g_assert_cmphex(wait_for(&t, map_it), ==, MAPPED);
        g_assert_cmphex(wait_for(&t, create), ==, OK);
        g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, at), ==, 0);
        qpci_io_writel(t.g.pci->pdev, t.g.window, at, i);
        g_assert_cmphex(mem[0], ==, i);
        munmap(mem, size);
        unmap_it = guest_send_unmap(&t.g, BLOB);
        unref_it = guest_send_unref(&t.g, BLOB);
        guest_kick(&t.g);
        g_assert_cmphex(wait_for(&t, unmap_it), ==, OK);
        g_assert_cmphex(wait_for(&t, unref_it), ==, OK);
        fake_recv(c.sock, PROTO_BLOB_DESTROY, &m);
    }
    g_assert_cmpuint(count_fds(&t.g), ==, fds);
    stop(&t);
    fake_context_die(&c);
}

/* The answer to what was given up comes first, under an id that is in use again. */
static void blob_given_up_before_the_worker_answers(void)
{
    FakeContext c;
    uint64_t size;
    uint32_t *first, *second;
    int a, b, map_it;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    a = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    g_assert_cmphex(guest_do(&t.g, a), ==, OK);
    g_assert_cmphex(unref(&t, BLOB), ==, OK);
    b = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    g_assert_cmphex(guest_do(&t.g, b), ==, OK);
    map_it = guest_send_map(&t.g, BLOB, 32u << 20);
    guest_kick(&t.g);
    first = fake_blob(&c, &size);
    {
        union proto_any m;

        fake_recv(c.sock, PROTO_BLOB_DESTROY, &m);
    }
    second = fake_blob(&c, &size);
    first[0] = 1;
    second[0] = 2;
    g_assert_cmphex(wait_for(&t, map_it), ==, MAPPED);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 2);
    stop(&t);
    munmap(first, size);
    munmap(second, size);
    fake_context_die(&c);
}

/* --- fences -------------------------------------------------------------------------------- */

static void fences_are_in_order_in_a_ring_and_free_between_rings(void)
{
    FakeContext c;
    int a1, a2, a3, b1;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    a1 = guest_send_wait(&t.g, 1, 3, 1, 11);
    a2 = guest_send_wait(&t.g, 1, 3, 2, 12);
    a3 = guest_send_wait(&t.g, 1, 3, 3, 13);
    b1 = guest_send_wait(&t.g, 1, 63, 9, 14);
    expect_held(&t, b1);
    fake_take_event(&c, 3);
    fake_take_event(&c, 63);
    fake_post(&c, 63, 9);
    g_assert_cmphex(wait_for(&t, b1), ==, OK);
    g_assert_false(guest_is_answered(&t.g, a1));
    fake_post(&c, 3, 2); /* two at once */
    while (!guest_is_answered(&t.g, a2)) {
        g_assert_true(guest_is_alive(&t.g));
    }
    g_assert_cmpuint(guest_order(&t.g, a1), <, guest_order(&t.g, a2));
    g_assert_false(guest_is_answered(&t.g, a3));
    fake_post(&c, 3, 3);
    g_assert_cmphex(wait_for(&t, a3), ==, OK);
    g_assert_cmphex(wait_for(&t, a1), ==, OK);
    g_assert_cmphex(wait_for(&t, a2), ==, OK);
    stop(&t);
    fake_context_die(&c);
}

static void fences_of_contexts_are_apart(void)
{
    FakeContext c, d;
    int a, b;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    add_context(&t, 2, &d);
    a = guest_send_wait(&t.g, 1, 1, 1, 1);
    b = guest_send_wait(&t.g, 2, 1, 1, 2);
    expect_held(&t, b);
    fake_take_event(&c, 1);
    fake_take_event(&d, 1);
    fake_post(&d, 1, 1);
    g_assert_cmphex(wait_for(&t, b), ==, OK);
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, a));
    fake_post(&c, 1, 1);
    g_assert_cmphex(wait_for(&t, a), ==, OK);
    stop(&t);
    fake_context_die(&c);
    fake_context_die(&d);
}

static void fence_carries_its_id_and_context(void)
{
    struct virtio_gpu_ctrl_hdr hdr;
    FakeContext c;
    int a;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    a = guest_send_wait(&t.g, 1, 5, 1, 0x1122334455667788);
    expect_held(&t, a);
    fake_take_event(&c, 5);
    fake_post(&c, 5, 1);
    g_assert_cmphex(guest_wait(&t.g, a, &hdr, sizeof(hdr)), ==, OK);
    g_assert_cmphex(hdr.flags & VIRTIO_GPU_FLAG_FENCE, ==,
                    VIRTIO_GPU_FLAG_FENCE);
    g_assert_cmphex(hdr.fence_id, ==, 0x1122334455667788);
    g_assert_cmpuint(hdr.ctx_id, ==, 1);
    stop(&t);
    fake_context_die(&c);
}

static void fence_of_the_past_is_answered_at_once(void)
{
    FakeContext c;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    fake_post(&c, 2, 100);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 2, 100, 1)), ==, OK);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 2, 7, 2)), ==, OK);
    stop(&t);
    fake_context_die(&c);
}

static void spurious_signal_answers_nothing(void)
{
    uint64_t one = 1;
    FakeContext c;
    int a;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    a = guest_send_wait(&t.g, 1, 1, 5, 1);
    expect_held(&t, a);
    fake_take_event(&c, 1);
    fake_post(&c, 1, 4);
    g_assert_cmpint(write(c.event[1], &one, sizeof(one)), ==, sizeof(one));
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, a));
    fake_post(&c, 1, 5); /* signals only if the device has asked again */
    g_assert_cmphex(wait_for(&t, a), ==, OK);
    stop(&t);
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

    start(&t);
    add_context(&t, 1, &c);
    held = guest_send_wait(&t.g, 1, 1, 1, 1);
    empty = guest_send(&t.g, &bell, sizeof(bell.submit), GUEST_ANSWER);
    bell.submit.size = 12;
    bell.submit.hdr.fence_id = 3;
    wrong = guest_send(&t.g, &bell, sizeof(bell), GUEST_ANSWER);
    expect_held(&t, held);
    g_assert_false(guest_is_answered(&t.g, empty));
    g_assert_false(guest_is_answered(&t.g, wrong));
    fake_take_event(&c, 1);
    fake_post(&c, 1, 1);
    g_assert_cmphex(wait_for(&t, wrong), ==, BAD);
    g_assert_cmpuint(guest_order(&t.g, held), <, guest_order(&t.g, empty));
    g_assert_cmphex(wait_for(&t, held), ==, OK);
    g_assert_cmphex(wait_for(&t, empty), ==, OK);
    stop(&t);
    fake_context_die(&c);
}

static void commands_beyond_the_limit_are_not_held(void)
{
    enum { LIMIT = 64 };
    FakeContext c;
    int held[LIMIT];
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    for (int i = 0; i < LIMIT; i++) {
        held[i] = guest_send_wait(&t.g, 1, i % 8, 1 + i / 8, i);
    }
    expect_held(&t, held[LIMIT - 1]);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 9, 1, 99)), ==,
                    NO_MEMORY);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    for (int i = 0; i < LIMIT; i++) {
        g_assert_cmphex(wait_for(&t, held[i]), ==, OK);
    }
    stop(&t);
    fake_context_die(&c);
}

/* --- what is wrong ---------------------------------------------------------------------------- */

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

    start(&t);
    add_context(&t, 1, &f);
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        c.hdr.type = unknown[i];
        expect_refusal(&t, &c.hdr, sizeof(c), UNSPEC);
    }
    stop(&t);
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

    start(&t);
    add_context(&t, 1, &f);
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
    stop(&t);
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
    start(&t);
    add_context(&t, 1, &c);
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
    stop(&t);
    fake_context_die(&c);
}

static void wait_without_a_ring_is_refused(void)
{
    FakeContext c;
    Test t;

    start(&t);
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, OK);
    fake_context(&t.f, &c);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 1, 1, 1)), ==, BAD);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 255, 1, 1)), ==, BAD);
    stop(&t);
    fake_context_die(&c);
}

static void command_without_room_for_its_answer_is_taken(void)
{
    struct virtio_gpu_ctx_destroy c = {
        .hdr = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 9 },
    };
    Test t;
    int none, little;

    start(&t);
    none = guest_send(&t.g, &c, sizeof(c), 0);
    little = guest_send(&t.g, &c, sizeof(c), 3);
    guest_kick(&t.g);
    guest_wait(&t.g, none, NULL, 0);
    guest_wait(&t.g, little, NULL, 0);
    stop(&t);
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

    start(&t);
    add_context(&t, 1, &f);
    create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    map_it = guest_send(&t.g, &c, sizeof(c), GUEST_ANSWER);
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    mem = fake_blob(&f, &size);
    g_assert_cmphex(guest_wait(&t.g, map_it, &hdr, sizeof(hdr)), ==, MAPPED);
    g_assert_cmphex(hdr.fence_id, ==, 77);
    stop(&t);
    munmap(mem, size);
    fake_context_die(&f);
}

/* --- servers and workers that end, hang or lie -------------------------------------------------- */

static void server_dies_with_commands_in_flight(void)
{
    FakeContext c, d, e;
    int held[4], create, stalled, behind;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    add_context(&t, 2, &d);
    held[0] = guest_send_wait(&t.g, 1, 1, 1, 1);
    held[1] = guest_send_wait(&t.g, 1, 1, 2, 2);
    held[2] = guest_send_wait(&t.g, 1, 2, 1, 3);
    held[3] = guest_send_wait(&t.g, 2, 1, 1, 4);
    expect_held(&t, held[3]);
    create = guest_send_blob(&t.g, 2, BLOB, VGPU_BLOB_FIRST, PAGE);
    stalled = guest_send_map(&t.g, BLOB, 32u << 20);
    behind = guest_send_unref(&t.g, BLOB);
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    g_assert_false(guest_is_answered(&t.g, stalled));
    fake_die(&t.f); /* the workers' own sockets still live */
    for (int i = 0; i < 4; i++) {
        g_assert_cmphex(wait_for(&t, held[i]), ==, OK);
    }
    g_assert_cmphex(wait_for(&t, stalled), ==, NO_MEMORY);
    g_assert_cmphex(wait_for(&t, behind), ==, OK);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_WORKER);
    g_assert_cmpint(ring_fatal(d.ring), ==, RING_FATAL_WORKER);
    /* What is asked of a lost context is answered, too. */
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 1, 1, 9, 5)), ==, OK);
    g_assert_cmphex(guest_do(&t.g, guest_send_blob(&t.g, 1, BLOB, 9, PAGE)), ==,
                    NO_CONTEXT);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    /* And the next one has a server again. */
    g_usleep(1100 * 1000);
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, OK);
    fake_welcome(&t.f);
    fake_context(&t.f, &e);
    stop(&t);
    fake_context_die(&c);
    fake_context_die(&d);
    fake_context_die(&e);
}

/* A guest can ask for contexts in a loop; a server that ends at once is not. */
static void server_is_asked_again_once_a_second(void)
{
    FakeContext c;
    Test t;

    start(&t);
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
    stop(&t);
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
    device = g_strdup_printf("vgpu-remote,%s", t.f.option);
    guest_start(&t.g, device, NULL);
    fake_accept(&t.f);
    g_assert_cmpint(proto_send(t.f.conn, &m, NULL, 0), ==, 0);
    g_assert_true(fake_is_closed(t.f.conn));
    guest_drive(&t.g);
    stop(&t);
}

static void worker_that_dies_takes_only_its_context(void)
{
    FakeContext c, d;
    int a, b;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    add_context(&t, 2, &d);
    a = guest_send_wait(&t.g, 1, 1, 1, 1);
    b = guest_send_wait(&t.g, 2, 1, 1, 2);
    expect_held(&t, b);
    fake_take_event(&d, 1);
    shutdown(c.sock, SHUT_RDWR);
    g_assert_cmphex(wait_for(&t, a), ==, OK);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_WORKER);
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, b));
    g_assert_cmpint(ring_fatal(d.ring), ==, RING_OK);
    fake_post(&d, 1, 1);
    g_assert_cmphex(wait_for(&t, b), ==, OK);
    stop(&t);
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

    start(&t);
    add_context(&t, 1, &c);
    a = guest_send_wait(&t.g, 1, 1, 1, 1);
    expect_held(&t, a);
    g_assert_cmpint(proto_send(c.sock, &m, NULL, 0), ==, 0);
    g_assert_cmphex(wait_for(&t, a), ==, OK);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_BUDGET);
    stop(&t);
    fake_context_die(&c);
}

/* The guest's queue waits for it, but not for ever; the main loop not at all. */
static void worker_that_hangs_costs_its_context_and_a_second(void)
{
    gint64 begin;
    FakeContext c;
    int create, stalled;
    Test t;

    start(&t);
    add_context(&t, 1, &c);
    create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    stalled = guest_send_map(&t.g, BLOB, 32u << 20);
    begin = g_get_monotonic_time();
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    qtest_qmp_assert_success(t.g.qts, "{'execute': 'query-status'}");
    g_assert_cmpint(g_get_monotonic_time() - begin, <, G_USEC_PER_SEC / 2);
    g_assert_cmphex(wait_for(&t, stalled), ==, NO_MEMORY);
    g_assert_cmpint(g_get_monotonic_time() - begin, >, G_USEC_PER_SEC / 2);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 3 * G_USEC_PER_SEC);
    g_assert_cmpint(ring_fatal(c.ring), ==, RING_FATAL_WORKER);
    g_assert_cmphex(map(&t, BLOB, 32u << 20), ==, NO_MEMORY); /* at once */
    stop(&t);
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

    start(&t);
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        FakeContext c;
        union proto_any m;
        int create;

        g_test_message("lie %zu", i);
        add_context(&t, 1, &c);
        create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, 4 * PAGE);
        g_assert_cmphex(guest_do(&t.g, create), ==, OK);
        fake_recv(c.sock, PROTO_BLOB_CREATE, &m);
        lies[i](&c, VGPU_BLOB_FIRST);
        g_assert_cmphex(map(&t, BLOB, 32u << 20), ==, NO_MEMORY);
        g_assert_cmpint(ring_fatal(c.ring), !=, RING_OK);
        g_assert_cmphex(unref(&t, BLOB), ==, OK);
        g_assert_cmphex(unref(&t, RING), ==, OK);
        g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
        fake_context_die(&c);
        if (i == 0) {
            fds = count_fds(&t.g);
        }
        g_assert_cmpuint(count_fds(&t.g), ==, fds);
    }
    stop(&t);
}

/* --- reset ---------------------------------------------------------------------------------- */

static void check_reset(void (*reset)(Test *t))
{
    FakeContext c, d;
    unsigned fds;
    uint32_t *mem;
    Test t;

    start(&t);
    fds = count_fds(&t.g);
    add_context(&t, 1, &c);
    mem = add_blob(&t, &c, BLOB, PAGE);
    g_assert_cmphex(map(&t, BLOB, 32u << 20), ==, MAPPED);
    mem[0] = 0x5ec2e7;
    for (int i = 0; i < 40; i++) {
        guest_send_wait(&t.g, 1, i % 5, 1 + i / 5, i);
    }
    guest_send_blob(&t.g, 1, BLOB + 1, VGPU_BLOB_FIRST, PAGE);
    guest_send_map(&t.g, BLOB + 1, 33u << 20); /* the queue stops here */
    guest_kick(&t.g);
    for (int i = 0; i < 5; i++) {
        fake_take_event(&c, i);
    }
    reset(&t);
    g_assert_true(fake_is_closed(c.sock));
    guest_drive(&t.g);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 0);
    g_assert_cmpuint(count_fds(&t.g), ==, fds);
    add_context(&t, 1, &d); /* the same ids are free */
    stop(&t);
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

/* --- saving ----------------------------------------------------------------------------------- */

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

    start(&t);
    add_context(&t, 1, &c);
    error = save(&t.g, "/dev/null");
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error, "vgpu-remote: 'test' in the guest"));
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_clear_pointer(&error, g_free);
    error = save(&t.g, "/dev/null"); /* its ring is still mapped */
    g_assert_nonnull(error);
    g_assert_cmphex(unref(&t, RING), ==, OK);
    g_assert_null(save(&t.g, "/dev/null"));
    stop(&t);
    fake_context_die(&c);
}

static void vm_is_saved_and_loaded(void)
{
    g_autofree char *file = NULL, *device = NULL;
    FakeContext c;
    Test t;

    start(&t);
    file = g_build_filename(t.f.dir, "state", NULL);
    device = g_strdup_printf("vgpu-remote,%s", t.f.option);
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
    add_context(&t, 1, &c);
    unlink(file);
    stop(&t);
    fake_context_die(&c);
}

static void context_is_refused_to_a_vm_that_must_be_migratable(void)
{
    Test t;

    start_with(&t, types[0], "-only-migratable");
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, UNSPEC);
    g_assert_false(fake_has_context(&t.f));
    g_assert_cmphex(guest_context_create(&t.g, 1, 0), ==, OK);
    stop(&t);
}

/* --- all of them -------------------------------------------------------------------------------- */

#define TEST(_name) { "/vgpu-remote/" #_name, _name }

static const struct {
    const char *path;
    void (*run)(void);
} tests[] = {
    TEST(both_types_are_driven),
    TEST(device_is_plugged_and_unplugged),
    TEST(vga_is_plugged_and_unplugged),
    TEST(bad_properties_are_refused_with_what_is_right),
    TEST(emulation_has_no_capset),
    TEST(features_are_those_a_stock_driver_needs),
    TEST(capset_info_is_had_by_index),
    TEST(capset_is_had_by_id_and_version),
    TEST(context_has_a_worker_until_it_is_destroyed),
    TEST(context_of_unknown_capset_is_refused),
    TEST(context_without_capset_takes_2d_resources),
    TEST(doorbell_is_rung_and_answered_at_once),
    TEST(blob_is_the_workers_memory),
    TEST(blob_outlives_its_context),
    TEST(blob_is_mapped_only_where_the_window_is_free),
    TEST(blob_that_makes_no_sense_is_refused),
    TEST(blob_that_the_worker_refuses_cannot_be_mapped),
    TEST(blob_given_up_before_the_worker_answers),
    TEST(blob_is_made_and_mapped_10000_times),
    TEST(fences_are_in_order_in_a_ring_and_free_between_rings),
    TEST(fences_of_contexts_are_apart),
    TEST(fence_carries_its_id_and_context),
    TEST(fence_of_the_past_is_answered_at_once),
    TEST(spurious_signal_answers_nothing),
    TEST(answer_at_once_queues_behind_held_fences),
    TEST(commands_beyond_the_limit_are_not_held),
    TEST(unknown_commands_are_refused),
    TEST(truncated_commands_are_refused),
    TEST(submissions_that_make_no_sense_are_refused),
    TEST(wait_without_a_ring_is_refused),
    TEST(command_without_room_for_its_answer_is_taken),
    TEST(fenced_map_of_a_blob_in_the_making_is_answered),
    TEST(server_dies_with_commands_in_flight),
    TEST(server_is_asked_again_once_a_second),
    TEST(server_of_another_version_is_left),
    TEST(worker_that_dies_takes_only_its_context),
    TEST(context_without_a_worker_says_why),
    TEST(worker_that_hangs_costs_its_context_and_a_second),
    TEST(worker_that_lies_costs_its_context),
    TEST(driver_resets_with_work_in_flight),
    TEST(machine_is_reset_with_work_in_flight),
    TEST(context_blocks_saving_and_says_why),
    TEST(vm_is_saved_and_loaded),
    TEST(context_is_refused_to_a_vm_that_must_be_migratable),
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        qtest_add_func(tests[i].path, tests[i].run);
    }
    return g_test_run();
}
