/*
 * See vgpu-remote-guest-virgl.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "api/virgl.h"
#include "vgpu-remote-guest-virgl.h"

/* --- resources ----------------------------------------------------------- */

struct virtio_gpu_resource_create_3d guest_texture(uint32_t id, uint32_t w,
                                                   uint32_t h)
{
    return (struct virtio_gpu_resource_create_3d) {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
        .resource_id = id, .target = 2, .format = 2, .bind = 10,
        .width = w, .height = h, .depth = 1, .array_size = 1,
    };
}

struct virtio_gpu_resource_create_3d guest_staging(uint32_t id, uint32_t bytes)
{
    return (struct virtio_gpu_resource_create_3d) {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
        .resource_id = id, .target = 0, .format = 64,
        .bind = VIRGL_BIND_STAGING, .width = bytes, .height = 1, .depth = 1,
        .array_size = 1,
    };
}

uint32_t guest_create_texture(Guest *g, uint32_t id, uint32_t w, uint32_t h)
{
    struct virtio_gpu_resource_create_3d c = guest_texture(id, w, h);

    return guest_call(g, &c, sizeof(c));
}

uint32_t guest_attach_halves(Guest *g, uint32_t id, uint32_t size)
{
    const struct virtio_gpu_mem_entry e[] = {
        { PAGES + size / 2, size / 2 }, { PAGES, size / 2 },
    };

    return guest_attach_backing(g, id, e, ARRAY_SIZE(e));
}

uint8_t guest_page_byte(uint32_t at, uint8_t first)
{
    return first + at + at / 256;
}

void guest_fill_pages(Guest *g, uint32_t size, uint8_t first)
{
    g_autofree uint8_t *bytes = g_malloc(size);

    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = guest_page_byte(i, first);
    }
    qtest_memwrite(g->qts, PAGES, bytes, size);
}

uint32_t guest_attach(Guest *g, uint32_t ctx, uint32_t id)
{
    return guest_do(g, guest_send_simple(
        g, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, ctx, id));
}

uint32_t guest_detach(Guest *g, uint32_t ctx, uint32_t id)
{
    return guest_do(g, guest_send_simple(
        g, VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, ctx, id));
}

int guest_send_transfer(Guest *g, uint32_t type, uint32_t ctx, uint32_t id,
                        struct virtio_gpu_box box, uint64_t offset,
                        uint32_t stride, uint32_t flags)
{
    struct virtio_gpu_transfer_host_3d c = {
        .hdr = { .type = type, .ctx_id = ctx, .flags = flags, .fence_id = 5 },
        .box = box, .offset = offset, .resource_id = id, .stride = stride,
    };

    return guest_send(g, &c, sizeof(c), GUEST_ANSWER);
}

/* --- submissions --------------------------------------------------------- */

/* SUBMIT_3D with @n bytes, of which it says that they are @size. */
static int send_stream(Guest *g, struct virtio_gpu_ctrl_hdr hdr, uint32_t size,
                       const void *bytes, uint32_t n)
{
    struct {
        struct virtio_gpu_cmd_submit c;
        uint8_t bytes[GUEST_REQUEST - sizeof(struct virtio_gpu_cmd_submit)];
    } c = { .c = { .hdr = hdr, .size = size } };

    c.c.hdr.type = VIRTIO_GPU_CMD_SUBMIT_3D;
    g_assert_cmpuint(n, <=, sizeof(c.bytes));
    if (n) {
        memcpy(c.bytes, bytes, n);
    }
    return guest_send(g, &c, sizeof(c.c) + n, GUEST_ANSWER);
}

int guest_send_counting(Guest *g, struct virtio_gpu_ctrl_hdr hdr, uint32_t size,
                        uint32_t n)
{
    uint8_t bytes[GUEST_REQUEST];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = i;
    }
    return send_stream(g, hdr, size, bytes, n);
}

int guest_send_submit(Guest *g, uint32_t ctx, uint32_t size, uint32_t flags,
                      uint32_t ring, uint64_t fence)
{
    struct virtio_gpu_ctrl_hdr hdr = {
        .ctx_id = ctx, .flags = flags, .fence_id = fence, .ring_idx = ring,
    };

    return guest_send_counting(g, hdr, size, MIN(size, GUEST_SUBMIT));
}

uint32_t guest_submit(Guest *g, uint32_t ctx, uint32_t size)
{
    return guest_do(g, guest_send_submit(g, ctx, size, 0, 0, 0));
}

int guest_send_words(Guest *g, uint32_t ctx, const uint32_t *words, uint32_t n,
                     uint64_t fence)
{
    struct virtio_gpu_ctrl_hdr hdr = {
        .ctx_id = ctx, .flags = fence ? FENCED : 0, .fence_id = fence,
    };

    return send_stream(g, hdr, 4 * n, words, 4 * n);
}

/* --- blobs of guest memory ----------------------------------------------- */

GuestBlob guest_blob(uint32_t id)
{
    return (GuestBlob) {
        .c = {
            .hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = 1 },
            .resource_id = id, .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
            .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
            .nr_entries = 2, .size = BLOB_BYTES,
        },
        .e = { { PAGES + BLOB_BYTES / 2, BLOB_BYTES / 2 },
               { PAGES, BLOB_BYTES / 2 } },
    };
}

uint32_t guest_create_blob(Guest *g, const GuestBlob *b)
{
    return guest_call(g, b, sizeof(*b));
}

void guest_add_blob(Guest *g, uint32_t id)
{
    GuestBlob b = guest_blob(id);

    g_assert_cmphex(guest_create_blob(g, &b), ==, VIRTIO_GPU_RESP_OK_NODATA);
}

uint64_t guest_blob_at(uint32_t at)
{
    return PAGES + (at + BLOB_BYTES / 2) % BLOB_BYTES;
}
