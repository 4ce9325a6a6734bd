/*
 * Anything: what QEMU's generic fuzzer does to a device, in small, with a
 * worker behind it, and briefly at each run of the tests. Queues are filled
 * with commands that nearly make sense, in chains that may not; registers and
 * PCI configuration are written with whatever comes; the display and the switch
 * are used meanwhile. After each round a driver that resets the device has to
 * be answered, with nothing left open.
 *
 * The server is the real one: it is beside QEMU. What was done is the seed's
 * alone, up to what the worker is in time for.
 *
 *   VGPU_FUZZ_SEED=N       begin with N, not 1
 *   VGPU_FUZZ_ROUNDS=N     so many, not a few
 *
 * The real generic fuzzer, for hours: scripts/fuzz, target "device".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "qobject/qdict.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "api/virgl.h"
#include "vgpu-remote-test.h"

#define ROUNDS   6
#define STEPS    500
#define SYNC     24 /* steps before the device may catch up */
#define SYNC_US  (100 * 1000)
#define PAGES    (64u << 20) /* guest memory for backings */
#define CONTEXTS 3
#define IDS      8
#define CHAIN    6

typedef struct Fuzz {
    Guest g;
    uint64_t state;
    uint32_t request[GUEST_REQUEST / 4];
    uint16_t heads; /* that were used in this round */
} Fuzz;

/* --- numbers ------------------------------------------------------------- */

static uint32_t any(Fuzz *f)
{
    f->state ^= f->state << 13;
    f->state ^= f->state >> 7;
    f->state ^= f->state << 17;
    return f->state >> 16;
}

static uint32_t below(Fuzz *f, uint32_t n)
{
    return any(f) % n;
}

static bool one_in(Fuzz *f, uint32_t n)
{
    return below(f, n) == 0;
}

/* Mostly what could be meant. */
static uint32_t number(Fuzz *f)
{
    switch (below(f, 8)) {
    case 0:
        return 1u << below(f, 32);
    case 1:
        return (1u << below(f, 32)) - 1;
    case 2:
        return any(f);
    case 3:
        return 16 << below(f, 6);
    default:
        return below(f, 9);
    }
}

static uint64_t address(Fuzz *f)
{
    return one_in(f, 16) ? (uint64_t)any(f) << below(f, 32)
                         : PAGES + below(f, 256) * 4096u;
}

/* --- commands ------------------------------------------------------------ */

static uint32_t *body(Fuzz *f)
{
    return f->request + sizeof(struct virtio_gpu_ctrl_hdr) / 4;
}

static void fill_2d(Fuzz *f)
{
    struct virtio_gpu_resource_create_2d *c = (void *)f->request;

    c->resource_id = below(f, IDS);
    c->format = one_in(f, 8) ? number(f) : 1 + below(f, 4);
    c->width = 16 << below(f, 6);
    c->height = 16 << below(f, 6);
}

static void fill_3d(Fuzz *f)
{
    struct virtio_gpu_resource_create_3d *c = (void *)f->request;

    c->resource_id = below(f, IDS);
    c->target = one_in(f, 4) ? below(f, 10) : 2;
    c->format = one_in(f, 4) ? number(f) : 1 + below(f, 4);
    c->bind = one_in(f, 4) ? number(f) : 10;
    c->width = 16 << below(f, 6);
    c->height = one_in(f, 4) ? number(f) : 16 << below(f, 6);
    c->depth = c->array_size = 1;
    c->last_level = c->nr_samples = 0;
    c->flags = below(f, 2);
}

static void fill_backing(Fuzz *f)
{
    struct virtio_gpu_resource_attach_backing *c = (void *)f->request;
    struct virtio_gpu_mem_entry *e = (void *)(c + 1);
    uint32_t n = below(f, 64);

    c->resource_id = below(f, IDS);
    c->nr_entries = one_in(f, 8) ? number(f) : n;
    for (uint32_t i = 0; i < n; i++) {
        e[i].addr = address(f);
        e[i].length = one_in(f, 8) ? number(f) : 4096;
    }
}

static void fill_context(Fuzz *f)
{
    static const uint32_t capsets[] = { 0, VIRGL_CAPSET_ID, VGPU_CAPSET_ID };
    struct virtio_gpu_ctx_create *c = (void *)f->request;

    c->nlen = below(f, 65);
    c->context_init = one_in(f, 8) ? number(f)
                                   : capsets[below(f, ARRAY_SIZE(capsets))];
}

/* Words that virglrenderer may take for commands: number, object, length. */
static void fill_submit(Fuzz *f)
{
    struct virtio_gpu_cmd_submit *c = (void *)f->request;
    uint32_t *words = (uint32_t *)(c + 1), n = below(f, 128), i = 0;

    c->size = one_in(f, 8) ? number(f) : n * 4;
    while (i < n) {
        uint32_t length = below(f, 16);

        words[i++] = below(f, 60) | below(f, 12) << 8 | length << 16;
        while (length-- && i < n) {
            words[i++] = number(f);
        }
    }
}

static void fill_blob(Fuzz *f)
{
    struct virtio_gpu_resource_create_blob *c = (void *)f->request;

    c->resource_id = below(f, IDS);
    c->blob_mem = one_in(f, 8) ? number(f)
                  : one_in(f, 2) ? VIRTIO_GPU_BLOB_MEM_HOST3D
                                 : VIRTIO_GPU_BLOB_MEM_GUEST;
    c->blob_flags = one_in(f, 8) ? number(f)
                                 : VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE;
    c->nr_entries = one_in(f, 16);
    c->blob_id = below(f, 4);
    c->size = one_in(f, 8) ? number(f) : 4096u << below(f, 10);
    if (c->blob_mem == VIRTIO_GPU_BLOB_MEM_GUEST) {
        struct virtio_gpu_mem_entry *e = (void *)(c + 1);

        c->blob_id = one_in(f, 8);
        c->nr_entries = one_in(f, 16) ? number(f) : 1;
        e->addr = address(f);
        e->length = one_in(f, 8) ? number(f) : c->size;
    }
}

/* A picture of a blob: now and then it is within that. */
static void fill_scanout_blob(Fuzz *f)
{
    struct virtio_gpu_set_scanout_blob *c = (void *)f->request;

    if (one_in(f, 2)) {
        c->r = (struct virtio_gpu_rect) { below(f, 2), 0, 16, 16 };
        c->scanout_id = 0;
        c->resource_id = below(f, IDS);
        c->width = c->height = 17;
        c->format = 2;
        c->strides[0] = 68 + below(f, 2);
        c->offsets[0] = below(f, 4);
    }
}

/* A rectangle is the first of what many have. */
static void fill_rect(Fuzz *f)
{
    if (one_in(f, 2)) {
        memcpy(body(f), (uint32_t[]) { 0, 0, 64, 64, below(f, IDS) }, 20);
        body(f)[5] = below(f, IDS);
    }
}

static void fill_transfer(Fuzz *f)
{
    struct virtio_gpu_transfer_host_3d *c = (void *)f->request;

    c->resource_id = below(f, IDS);
    c->offset = number(f);
    if (one_in(f, 2)) {
        c->box = (struct virtio_gpu_box) { 0, 0, 0, 64, 64, 1 };
    }
}

static void fill_map(Fuzz *f)
{
    struct virtio_gpu_resource_map_blob *c = (void *)f->request;

    c->resource_id = below(f, IDS);
    c->offset = one_in(f, 8) ? number(f) : below(f, 64) * 0x10000ull;
}

static void fill_capset(Fuzz *f)
{
    body(f)[0] = one_in(f, 4) ? number(f) : VIRGL_CAPSET_ID;
    body(f)[1] = below(f, 3);
}

static const struct kind {
    uint32_t type;
    uint32_t size;
    void (*fill)(Fuzz *f); /* NULL: numbers do */
} kinds[] = {
#define KIND(_type, _struct, _fill) \
    { VIRTIO_GPU_CMD_##_type, sizeof(struct virtio_gpu_##_struct), _fill }
    KIND(GET_DISPLAY_INFO, ctrl_hdr, NULL),
    KIND(RESOURCE_CREATE_2D, resource_create_2d, fill_2d),
    KIND(RESOURCE_UNREF, resource_unref, NULL),
    KIND(SET_SCANOUT, set_scanout, fill_rect),
    KIND(RESOURCE_FLUSH, resource_flush, fill_rect),
    KIND(TRANSFER_TO_HOST_2D, transfer_to_host_2d, fill_rect),
    KIND(RESOURCE_ATTACH_BACKING, resource_attach_backing, fill_backing),
    KIND(RESOURCE_DETACH_BACKING, resource_detach_backing, NULL),
    KIND(GET_CAPSET_INFO, get_capset_info, NULL),
    KIND(GET_CAPSET, get_capset, fill_capset),
    KIND(GET_EDID, cmd_get_edid, NULL),
    KIND(RESOURCE_ASSIGN_UUID, resource_assign_uuid, NULL),
    KIND(RESOURCE_CREATE_BLOB, resource_create_blob, fill_blob),
    KIND(SET_SCANOUT_BLOB, set_scanout_blob, fill_scanout_blob),
    KIND(CTX_CREATE, ctx_create, fill_context),
    KIND(CTX_CREATE, ctx_create, fill_context),
    KIND(CTX_DESTROY, ctx_destroy, NULL),
    KIND(CTX_ATTACH_RESOURCE, ctx_resource, NULL),
    KIND(CTX_DETACH_RESOURCE, ctx_resource, NULL),
    KIND(RESOURCE_CREATE_3D, resource_create_3d, fill_3d),
    KIND(RESOURCE_CREATE_3D, resource_create_3d, fill_3d),
    KIND(TRANSFER_TO_HOST_3D, transfer_host_3d, fill_transfer),
    KIND(TRANSFER_FROM_HOST_3D, transfer_host_3d, fill_transfer),
    KIND(SUBMIT_3D, cmd_submit, fill_submit),
    KIND(SUBMIT_3D, cmd_submit, fill_submit),
    KIND(RESOURCE_MAP_BLOB, resource_map_blob, fill_map),
    KIND(RESOURCE_UNMAP_BLOB, resource_unmap_blob, NULL),
    KIND(UPDATE_CURSOR, update_cursor, NULL),
    KIND(MOVE_CURSOR, update_cursor, NULL),
#undef KIND
};

/* Bytes of the command that is in @f->request then. */
static uint32_t make_command(Fuzz *f)
{
    const struct kind *kind = &kinds[below(f, ARRAY_SIZE(kinds))];
    struct virtio_gpu_ctrl_hdr *hdr = (void *)f->request;
    uint32_t size = kind->size;

    for (size_t i = 0; i < ARRAY_SIZE(f->request); i++) {
        f->request[i] = number(f);
    }
    hdr->type = kind->type;
    hdr->flags = below(f, 4);
    hdr->ctx_id = 1 + below(f, CONTEXTS);
    if (kind->fill) {
        kind->fill(f);
    }
    if (kind->fill == fill_backing || kind->fill == fill_submit) {
        size += below(f, 1024);
    }
    if (kind->fill == fill_blob && one_in(f, 2)) {
        size += sizeof(struct virtio_gpu_mem_entry);
    }
    if (one_in(f, 6)) {
        f->request[below(f, size / 4)] = number(f);
    }
    return one_in(f, 12) ? 1 + below(f, size) : size;
}

/* --- queues -------------------------------------------------------------- */

static void put(Fuzz *f, QVirtQueue *vq, uint16_t *avail, uint16_t head)
{
    qtest_writew(f->g.qts, vq->avail + 4 + 2 * (*avail % vq->size), head);
    qtest_writew(f->g.qts, vq->avail + 2, ++*avail);
    f->g.pci->vdev.bus->virtqueue_kick(&f->g.pci->vdev, vq);
}

/* A command in pieces, with room for an answer, or not. */
static void send_chain(Fuzz *f, QVirtQueue *vq, uint16_t *avail)
{
    struct vring_desc desc[CHAIN] = { 0 };
    uint32_t size = make_command(f), at = 0;
    uint16_t head = f->heads++ % (vq->size / CHAIN) * CHAIN;
    uint64_t where = f->g.buffers + head * (uint64_t)GUEST_REQUEST / CHAIN;
    int n = 0, requests = 1 + one_in(f, 3) * below(f, CHAIN - 2);

    requests = MIN(requests, size);
    qtest_memwrite(f->g.qts, where, f->request, size);
    for (; n < requests; n++) {
        uint32_t left = requests - 1 - n; /* none may be empty */
        uint32_t part = left ? 1 + below(f, size - at - left) : size - at;

        desc[n] = (struct vring_desc) { where + at, part };
        at += part;
    }
    if (!one_in(f, 10)) {
        desc[n++] = (struct vring_desc) {
            .addr = PAGES - 65536,
            .len = one_in(f, 4) ? 1 + below(f, 512) : 2048,
            .flags = VRING_DESC_F_WRITE,
        };
    }
    for (int i = 0; i < n - 1; i++) {
        desc[i].flags |= VRING_DESC_F_NEXT;
        desc[i].next = head + i + 1;
    }
    if (one_in(f, 400)) { /* not a chain at all */
        struct vring_desc *d = &desc[below(f, n)];

        *d = (struct vring_desc) { address(f), number(f), below(f, 8), any(f) };
    }
    qtest_memwrite(f->g.qts, vq->desc + head * sizeof(desc[0]), desc,
                   n * sizeof(desc[0]));
    put(f, vq, avail, head);
}

/* --- all else ------------------------------------------------------------ */

/* Common, interrupt, device and notification registers: a page each. */
static void use_registers(Fuzz *f)
{
    uint64_t at = below(f, 64) + 4096 * below(f, 4);
    QPCIDevice *pdev = f->g.pci->pdev;

    switch (below(f, 4)) {
    case 0:
        qpci_io_writeb(pdev, f->g.pci->bar, at, number(f));
        break;
    case 1:
        qpci_io_writew(pdev, f->g.pci->bar, at & ~1, number(f));
        break;
    case 2:
        qpci_io_writel(pdev, f->g.pci->bar, at & ~3, number(f));
        break;
    default:
        qpci_io_readl(pdev, f->g.pci->bar, at & ~3);
    }
}

/* Capabilities, among them virtio's window into its BARs. Not the BARs. */
static void write_config(Fuzz *f)
{
    qpci_config_writel(f->g.pci->pdev, 0x40 + (below(f, 0xc0) & ~3), number(f));
}

static void touch_window(Fuzz *f)
{
    uint64_t at = below(f, 2048) * 4096ull;

    qpci_io_writel(f->g.pci->pdev, f->g.window, at, any(f));
}

static void set_backend(Fuzz *f, const char *value)
{
    qobject_unref(qtest_qmp(f->g.qts, "{'execute': 'qom-set', 'arguments': "
                            "{'path': '/machine/peripheral/gpu', 'property': "
                            "'backend', 'value': %s}}", value));
}

static void use_host(Fuzz *f)
{
    static const char *const backends[] = { "auto", "emulation", "remote" };

    if (one_in(f, 2)) {
        set_backend(f, backends[below(f, ARRAY_SIZE(backends))]);
    } else {
        qobject_unref(qtest_qmp(f->g.qts, "{'execute': 'screendump', "
                                "'arguments': {'filename': '/dev/null', "
                                "'device': 'gpu', 'head': %u}}", below(f, 2)));
    }
}

static void step(Fuzz *f)
{
    uint32_t what = below(f, 64);

    if (what < 48) {
        send_chain(f, f->g.vq, &f->g.avail);
    } else if (what < 52) {
        send_chain(f, f->g.cursor_vq, &f->g.cursors);
    } else if (what < 56) {
        touch_window(f);
    } else if (what < 58) {
        use_host(f);
    } else if (what < 62) {
        qtest_memset(f->g.qts, PAGES, any(f), 65536);
    } else if (one_in(f, 8)) {
        use_registers(f);
    } else if (one_in(f, 8)) {
        write_config(f);
    }
}

/* It may have been told to stop, and not catch up. Whether it goes on. */
static bool let_it_catch_up(Fuzz *f)
{
    gint64 limit = g_get_monotonic_time() + SYNC_US;
    QVirtioDevice *vdev = &f->g.pci->vdev;

    while (qtest_readw(f->g.qts, f->g.vq->used + 2) != f->g.avail &&
           g_get_monotonic_time() < limit) {
        g_usleep(200);
    }
    return !(vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* Something to name: a context that has begun, a resource of either kind. */
static void begin(Fuzz *f)
{
    struct virtio_gpu_cmd_submit submit = {
        .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = 1,
                 .flags = VIRTIO_GPU_FLAG_FENCE },
    };
    struct virtio_gpu_resource_create_2d two = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
        .resource_id = 1, .format = 2, .width = 64, .height = 64,
    };
    struct virtio_gpu_resource_create_3d three = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, .resource_id = 2,
        .target = 2, .format = 2, .bind = 10, .width = 64, .height = 64,
        .depth = 1, .array_size = 1,
    };

    g_assert_cmphex(guest_context_create(&f->g, 1, VIRGL_CAPSET_ID), ==, OK);
    g_assert_cmphex(guest_call(&f->g, &submit, sizeof(submit)), ==, OK);
    g_assert_cmphex(guest_call(&f->g, &two, sizeof(two)), ==, OK);
    g_assert_cmphex(guest_call(&f->g, &three, sizeof(three)), ==, OK);
}

static uint32_t setting(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoul(text, NULL, 0) : otherwise;
}

static void device_survives_anything(void)
{
    uint32_t seed = setting("VGPU_FUZZ_SEED", 1);
    uint32_t end = seed + setting("VGPU_FUZZ_ROUNDS", ROUNDS);
    unsigned fds = 0;
    Fuzz f = { 0 };

    guest_start(&f.g, "vgpu-remote,max_outputs=2,watchdog=2000", NULL);
    for (; seed != end; seed++) {
        g_test_message("seed %u", seed);
        f.state = seed * 0x9e3779b97f4a7c15ull;
        f.heads = 0;
        guest_drive(&f.g);
        set_backend(&f, "auto");
        begin(&f);
        for (int i = 0; i < STEPS && (i % SYNC || let_it_catch_up(&f)); i++) {
            step(&f);
        }
        guest_drive(&f.g);
        g_assert_true(guest_is_alive(&f.g));
        if (!fds) {
            fds = test_fds(&f.g);
        }
        g_assert_cmpuint(test_fds(&f.g), <=, fds);
    }
    guest_stop(&f.g);
}

const TestCase tests_fuzz[] = {
    TEST(device_survives_anything),
    { NULL },
};
