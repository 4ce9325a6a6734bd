/*
 * See vgpu-remote-guest.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-guest.h"

#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"

#define LIMIT_US (60 * G_USEC_PER_SEC)
#define CURSOR_BYTES 128 /* behind the places */

/* --- life ---------------------------------------------------------------- */

static QTestState *start_qemu(const char *device, const char *more)
{
    g_autofree char *plug = device
        ? g_strdup_printf("-device %s,id=gpu,addr=%d,hostmem=%u", device,
                          GUEST_SLOT, GUEST_HOSTMEM)
        : g_strdup("");

    return qtest_initf("-machine pc -m 128M -nodefaults -display none %s %s",
                       more ? more : "", plug);
}

void guest_start(Guest *g, const char *device, const char *more)
{
    memset(g, 0, sizeof(*g));
    g->qts = start_qemu(device, more);
    pc_alloc_init(&g->alloc, g->qts, ALLOC_NO_FLAGS);
    g->bus = qpci_new_pc(g->qts, &g->alloc);
    g->mmio = g->bus->mmio_alloc_ptr;
    g->buffers = guest_alloc(&g->alloc,
                             GUEST_PLACES * (GUEST_REQUEST + GUEST_ANSWER) +
                             CURSOR_BYTES);
}

void guest_stop(Guest *g)
{
    guest_forget(g);
    guest_free(&g->alloc, g->buffers);
    qpci_free_pc(g->bus);
    alloc_destroy(&g->alloc);
    qtest_quit(g->qts);
}

void guest_move(Guest *g, const char *device, const char *file)
{
    g_autofree char *more = g_strdup_printf("-incoming 'exec:cat %s'", file);

    qtest_quit(g->qts);
    g->qts = start_qemu(device, more);
    g->bus->qts = g->qts;
    qtest_qmp_eventwait(g->qts, "RESUME");
}

void guest_drive(Guest *g)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(GUEST_SLOT, 0) };
    uint64_t not_ours = QVIRTIO_F_BAD_FEATURE |
                        1ull << VIRTIO_RING_F_INDIRECT_DESC |
                        1ull << VIRTIO_RING_F_EVENT_IDX;

    guest_forget(g);
    g->bus->mmio_alloc_ptr = g->mmio;
    g->pci = virtio_pci_new(g->bus, &addr);
    g_assert_nonnull(g->pci);
    qvirtio_pci_device_enable(g->pci);
    qvirtio_start_device(&g->pci->vdev);
    g->features = qvirtio_get_features(&g->pci->vdev);
    qvirtio_set_features(&g->pci->vdev, g->features & ~not_ours);
    g->vq = qvirtqueue_setup(&g->pci->vdev, &g->alloc, 0);
    g_assert_cmpuint(g->vq->size, >=, 2 * GUEST_PLACES);
    g->cursor_vq = qvirtqueue_setup(&g->pci->vdev, &g->alloc, 1);
    qvirtio_set_driver_ok(&g->pci->vdev);
    if (g->features & 1 << VIRTIO_GPU_F_RESOURCE_BLOB) {
        uint64_t size;

        g->window = qpci_iomap(g->pci->pdev, 4, &size);
        g_assert_cmpuint(size, ==, GUEST_HOSTMEM);
    }
    g->avail = g->used = g->cursors = 0;
    g->answered = 0;
    memset(g->place, 0, sizeof(g->place));
}

void guest_forget(Guest *g)
{
    if (g->pci) {
        qvirtqueue_cleanup(g->pci->vdev.bus, g->cursor_vq, &g->alloc);
        qvirtqueue_cleanup(g->pci->vdev.bus, g->vq, &g->alloc);
        qvirtio_pci_device_disable(g->pci);
        qvirtio_pci_destructor(&g->pci->obj);
        g_clear_pointer(&g->pci, g_free);
    }
}

/* --- the queue ----------------------------------------------------------- */

static uint64_t request_at(Guest *g, int place)
{
    return g->buffers + place * (GUEST_REQUEST + GUEST_ANSWER);
}

static uint64_t answer_at(Guest *g, int place)
{
    return request_at(g, place) + GUEST_REQUEST;
}

static int free_place(Guest *g)
{
    for (int i = 0; i < GUEST_PLACES; i++) {
        if (!g->place[i].open) {
            return i;
        }
    }
    g_assert_not_reached();
}

int guest_send(Guest *g, const void *request, size_t size, size_t answer)
{
    int place = free_place(g);
    uint16_t head = 2 * place;
    struct vring_desc desc[2] = {
        {
            .addr = request_at(g, place),
            .len = size,
            .flags = answer ? VRING_DESC_F_NEXT : 0,
            .next = head + 1,
        },
        {
            .addr = answer_at(g, place),
            .len = answer,
            .flags = VRING_DESC_F_WRITE,
        },
    };

    g_assert(size <= GUEST_REQUEST && answer <= GUEST_ANSWER);
    g->place[place].open = true;
    g->place[place].done = false;
    qtest_memwrite(g->qts, request_at(g, place), request, size);
    qtest_memwrite(g->qts, g->vq->desc + head * sizeof(desc[0]), desc,
                   sizeof(desc));
    qtest_writew(g->qts, g->vq->avail + 4 + 2 * (g->avail % g->vq->size), head);
    g->avail++;
    return place;
}

void guest_kick(Guest *g)
{
    qtest_writew(g->qts, g->vq->avail + 2, g->avail);
    g->pci->vdev.bus->virtqueue_kick(&g->pci->vdev, g->vq);
}

static void look(Guest *g)
{
    uint16_t used = qtest_readw(g->qts, g->vq->used + 2);

    while (g->used != used) {
        struct vring_used_elem elem;
        int place;

        qtest_memread(g->qts, g->vq->used + 4 +
                      sizeof(elem) * (g->used % g->vq->size), &elem,
                      sizeof(elem));
        place = elem.id / 2;
        g_assert(place < GUEST_PLACES && g->place[place].open);
        g_assert_false(g->place[place].done);
        g->place[place].done = true;
        g->place[place].order = ++g->answered;
        g->place[place].length = elem.len;
        g->used++;
    }
}

bool guest_is_answered(Guest *g, int place)
{
    look(g);
    return g->place[place].done;
}

uint32_t guest_wait(Guest *g, int place, void *answer, size_t size)
{
    gint64 limit = g_get_monotonic_time() + LIMIT_US;
    struct virtio_gpu_ctrl_hdr hdr = { 0 };

    while (!guest_is_answered(g, place)) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
    if (g->place[place].length >= sizeof(hdr)) {
        qtest_memread(g->qts, answer_at(g, place), &hdr, sizeof(hdr));
    }
    if (size) {
        g_assert_cmpuint(g->place[place].length, >=, size);
        qtest_memread(g->qts, answer_at(g, place), answer, size);
    }
    g->place[place].open = false;
    return hdr.type;
}

unsigned guest_order(Guest *g, int place)
{
    g_assert_true(guest_is_answered(g, place));
    return g->place[place].order;
}

uint32_t guest_do(Guest *g, int place)
{
    guest_kick(g);
    return guest_wait(g, place, NULL, 0);
}

uint32_t guest_call(Guest *g, const void *request, size_t size)
{
    return guest_do(g, guest_send(g, request, size, GUEST_ANSWER));
}

/* Always by the first descriptor: the one before it is done with. */
void guest_cursor(Guest *g, const void *request, size_t size)
{
    uint64_t at = request_at(g, GUEST_PLACES);
    struct vring_desc desc = { .addr = at, .len = size };
    gint64 limit = g_get_monotonic_time() + LIMIT_US;

    g_assert(size <= CURSOR_BYTES);
    qtest_memwrite(g->qts, at, request, size);
    qtest_memwrite(g->qts, g->cursor_vq->desc, &desc, sizeof(desc));
    qtest_writew(g->qts, g->cursor_vq->avail + 4 +
                 2 * (g->cursors % g->cursor_vq->size), 0);
    g->cursors++;
    qtest_writew(g->qts, g->cursor_vq->avail + 2, g->cursors);
    g->pci->vdev.bus->virtqueue_kick(&g->pci->vdev, g->cursor_vq);
    while (qtest_readw(g->qts, g->cursor_vq->used + 2) != g->cursors) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
}

bool guest_is_alive(Guest *g)
{
    struct virtio_gpu_ctrl_hdr hdr = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };

    return guest_call(g, &hdr, sizeof(hdr)) == VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

/* --- commands ------------------------------------------------------------ */

uint32_t guest_context_create(Guest *g, uint32_t ctx, uint32_t init)
{
    struct virtio_gpu_ctx_create c = {
        .hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = ctx },
        .nlen = 4,
        .context_init = init,
        .debug_name = "test",
    };

    return guest_call(g, &c, sizeof(c));
}

uint32_t guest_context_destroy(Guest *g, uint32_t ctx)
{
    struct virtio_gpu_ctx_destroy c = {
        .hdr = { .type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = ctx },
    };

    return guest_call(g, &c, sizeof(c));
}

/* It is read behind the wait: a refusal is nothing but a header. */
uint32_t guest_capset_info(Guest *g, uint32_t index,
                           struct virtio_gpu_resp_capset_info *info)
{
    struct virtio_gpu_get_capset_info c = {
        .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO, .capset_index = index,
    };
    int place = guest_send(g, &c, sizeof(c), sizeof(*info));
    uint32_t type = guest_do(g, place);

    if (type == VIRTIO_GPU_RESP_OK_CAPSET_INFO) {
        g_assert_cmpuint(g->place[place].length, >=, sizeof(*info));
        qtest_memread(g->qts, answer_at(g, place), info, sizeof(*info));
    }
    return type;
}

int guest_send_blob(Guest *g, uint32_t ctx, uint32_t resource, uint64_t blob,
                    uint64_t size)
{
    struct virtio_gpu_resource_create_blob c = {
        .hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = ctx },
        .resource_id = resource,
        .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
        .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
        .blob_id = blob,
        .size = size,
    };

    return guest_send(g, &c, sizeof(c), GUEST_ANSWER);
}

int guest_send_map(Guest *g, uint32_t resource, uint64_t offset)
{
    struct virtio_gpu_resource_map_blob c = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
        .resource_id = resource,
        .offset = offset,
    };

    return guest_send(g, &c, sizeof(c), GUEST_ANSWER);
}

/* All of them are laid out like this one. */
QEMU_BUILD_BUG_ON(sizeof(struct virtio_gpu_resource_unref) !=
                  sizeof(struct virtio_gpu_ctx_resource));
QEMU_BUILD_BUG_ON(sizeof(struct virtio_gpu_resource_unmap_blob) !=
                  sizeof(struct virtio_gpu_ctx_resource));
QEMU_BUILD_BUG_ON(sizeof(struct virtio_gpu_resource_detach_backing) !=
                  sizeof(struct virtio_gpu_ctx_resource));

int guest_send_simple(Guest *g, uint32_t type, uint32_t ctx, uint32_t resource)
{
    struct virtio_gpu_ctx_resource c = {
        .hdr = { .type = type, .ctx_id = ctx }, .resource_id = resource,
    };

    return guest_send(g, &c, sizeof(c), GUEST_ANSWER);
}

int guest_send_unmap(Guest *g, uint32_t resource)
{
    return guest_send_simple(g, VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 0, resource);
}

int guest_send_unref(Guest *g, uint32_t resource)
{
    return guest_send_simple(g, VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, resource);
}

uint32_t guest_detach_backing(Guest *g, uint32_t resource)
{
    return guest_do(g, guest_send_simple(
        g, VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, 0, resource));
}

uint32_t guest_attach_backing(Guest *g, uint32_t resource,
                              const struct virtio_gpu_mem_entry *e, uint32_t n)
{
    struct {
        struct virtio_gpu_resource_attach_backing c;
        struct virtio_gpu_mem_entry e[4];
    } c = {
        .c = {
            .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
            .resource_id = resource, .nr_entries = n,
        },
    };

    g_assert_cmpuint(n, <=, ARRAY_SIZE(c.e));
    memcpy(c.e, e, n * sizeof(e[0]));
    return guest_call(g, &c, sizeof(c.c) + n * sizeof(e[0]));
}

uint32_t guest_show(Guest *g, uint32_t head, uint32_t resource,
                    struct virtio_gpu_rect r)
{
    struct virtio_gpu_set_scanout c = {
        .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
        .r = r, .scanout_id = head, .resource_id = resource,
    };

    return guest_call(g, &c, sizeof(c));
}

int guest_send_flush(Guest *g, uint32_t resource, struct virtio_gpu_rect r,
                     uint32_t flags)
{
    struct virtio_gpu_resource_flush c = {
        .hdr = {
            .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = flags, .fence_id = 3,
        },
        .r = r, .resource_id = resource,
    };

    return guest_send(g, &c, sizeof(c), GUEST_ANSWER);
}

uint32_t guest_flush(Guest *g, uint32_t resource, struct virtio_gpu_rect r)
{
    return guest_do(g, guest_send_flush(g, resource, r, 0));
}

int guest_send_wait(Guest *g, uint32_t ctx, uint32_t ring, uint32_t seq,
                    uint64_t fence)
{
    struct guest_wait_command c = {
        .submit = {
            .hdr = {
                .type = VIRTIO_GPU_CMD_SUBMIT_3D,
                .flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX,
                .fence_id = fence,
                .ctx_id = ctx,
                .ring_idx = ring,
            },
            .size = sizeof(c.exec),
        },
        .exec = { .op = VGPU_EXEC_WAIT, .ring = ring, .seq = seq },
    };

    return guest_send(g, &c, sizeof(c), GUEST_ANSWER);
}
