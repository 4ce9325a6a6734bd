/*
 * Blobs, and the window that they are mapped in.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "vgpu-remote-test.h"

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

    test_start(&t);
    test_add_context(&t, 1, &c);
    mem = test_add_blob(&t, &c, BLOB, 2 * PAGE);
    g_assert_cmphex(guest_call(&t.g, &attach, sizeof(attach)), ==, OK);
    mem[1] = 0x12345678;
    g_assert_cmphex(test_map(&t, BLOB, 32u << 20), ==, MAPPED);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, (32u << 20) + 4),
                    ==, 0x12345678);
    qpci_io_writel(t.g.pci->pdev, t.g.window, (32u << 20) + PAGE, 0xcafe);
    g_assert_cmphex(mem[PAGE / 4], ==, 0xcafe);
    g_assert_cmphex(test_unmap(&t, BLOB), ==, OK);
    g_assert_cmphex(test_unmap(&t, BLOB), ==, BAD);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, (32u << 20) + 4),
                    ==, 0);
    qpci_io_writel(t.g.pci->pdev, t.g.window, (32u << 20) + 4, 1);
    g_assert_cmphex(mem[1], ==, 0x12345678);
    g_assert_cmphex(test_unref(&t, BLOB), ==, OK);
    fake_recv(c.sock, PROTO_BLOB_DESTROY, &m);
    g_assert_cmpuint(m.blob_destroy.blob, ==, 1000 + BLOB);
    g_assert_cmphex(test_map(&t, BLOB, 0), ==, NO_RESOURCE);
    test_stop(&t);
    munmap(mem, 2 * PAGE);
    fake_context_die(&c);
}

static void blob_outlives_its_context(void)
{
    FakeContext c;
    uint32_t *mem;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    mem = test_add_blob(&t, &c, BLOB, PAGE);
    g_assert_cmphex(test_map(&t, BLOB, 32u << 20), ==, MAPPED);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    mem[0] = 77;
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 77);
    g_assert_cmphex(test_unref(&t, BLOB), ==, OK);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 0);
    test_stop(&t);
    munmap(mem, PAGE);
    fake_context_die(&c);
}

static void blob_is_mapped_only_where_the_window_is_free(void)
{
    const uint64_t at = 32u << 20;
    FakeContext c;
    void *a, *b;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    a = test_add_blob(&t, &c, BLOB, 4 * PAGE);
    b = test_add_blob(&t, &c, BLOB + 1, 4 * PAGE);
    g_assert_cmphex(test_map(&t, BLOB, at + 1), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB, at), ==, MAPPED);
    g_assert_cmphex(test_map(&t, BLOB, at + (1 << 20)), ==, BAD); /* is mapped */
    g_assert_cmphex(test_map(&t, BLOB + 1, at), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB + 1, at + 3 * PAGE), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB + 1, at - 3 * PAGE), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB + 1, 0), ==, BAD); /* the ring */
    g_assert_cmphex(test_map(&t, BLOB + 1, GUEST_HOSTMEM), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB + 1, GUEST_HOSTMEM - 3 * PAGE), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB + 1, -(uint64_t)PAGE), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB + 1, 1ull << 63), ==, BAD);
    g_assert_cmphex(test_map(&t, BLOB + 1, GUEST_HOSTMEM - 4 * PAGE), ==, MAPPED);
    g_assert_cmphex(test_unmap(&t, BLOB + 1), ==, OK);
    g_assert_cmphex(test_map(&t, BLOB + 1, at + 4 * PAGE), ==, MAPPED);
    test_stop(&t);
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
    test_start(&t);
    test_add_context(&t, 1, &c);
    g_assert_cmphex(guest_context_create(&t.g, 3, 0), ==, OK);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_test_message("case %zu", i);
        g_assert_cmphex(guest_call(&t.g, &bad[i].blob, sizeof(good)), ==,
                        bad[i].answer);
    }
    g_assert_cmphex(test_map(&t, BLOB, 32u << 20), ==, NO_RESOURCE);
    test_stop(&t);
    fake_context_die(&c);
}

static void blob_that_the_worker_refuses_cannot_be_mapped(void)
{
    FakeContext c;
    union proto_any m;
    int create;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    g_assert_cmphex(guest_do(&t.g, create), ==, OK);
    fake_recv(c.sock, PROTO_BLOB_CREATE, &m);
    fake_created(&c, VGPU_BLOB_FIRST, 0, ENOMEM, -1);
    g_assert_cmphex(test_map(&t, BLOB, 32u << 20), ==, NO_MEMORY);
    g_assert_cmphex(test_unref(&t, BLOB), ==, OK);
    test_stop(&t);
    fake_context_die(&c);
}

/*
 * Always the same place in the window and the same ids: nothing of one blob
 * may be seen in the next. MAP waits for the worker each time.
 */
static void blob_is_made_and_mapped_10000_times(void)
{
    const uint64_t at = 32u << 20;
    unsigned fds;
    FakeContext c;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    fds = test_fds(&t.g);
    for (uint32_t i = 1; i <= 10000; i++) {
        int create = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
        int map_it = guest_send_map(&t.g, BLOB, at);
        uint64_t size;
        uint32_t *mem;
        union proto_any m;
        int unmap_it, unref_it;

        guest_kick(&t.g);
        mem = fake_blob(&c, &size);
        g_assert_cmphex(test_wait(&t, map_it), ==, MAPPED);
        g_assert_cmphex(test_wait(&t, create), ==, OK);
        g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, at), ==, 0);
        qpci_io_writel(t.g.pci->pdev, t.g.window, at, i);
        g_assert_cmphex(mem[0], ==, i);
        munmap(mem, size);
        unmap_it = guest_send_unmap(&t.g, BLOB);
        unref_it = guest_send_unref(&t.g, BLOB);
        guest_kick(&t.g);
        g_assert_cmphex(test_wait(&t, unmap_it), ==, OK);
        g_assert_cmphex(test_wait(&t, unref_it), ==, OK);
        fake_recv(c.sock, PROTO_BLOB_DESTROY, &m);
    }
    g_assert_cmpuint(test_fds(&t.g), ==, fds);
    test_stop(&t);
    fake_context_die(&c);
}

/* The answer to what was given up comes first, under an id that is in use again. */
static void blob_given_up_before_the_worker_answers(void)
{
    FakeContext c;
    uint64_t size;
    uint32_t *first, *second;
    unsigned fds;
    int a, b, map_it;
    Test t;

    test_start(&t);
    test_add_context(&t, 1, &c);
    fds = test_fds(&t.g);
    a = guest_send_blob(&t.g, 1, BLOB, VGPU_BLOB_FIRST, PAGE);
    g_assert_cmphex(guest_do(&t.g, a), ==, OK);
    g_assert_cmphex(test_unref(&t, BLOB), ==, OK);
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
    g_assert_cmphex(test_wait(&t, map_it), ==, MAPPED);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, 32u << 20), ==, 2);
    g_assert_cmpuint(test_fds(&t.g), ==, fds + 1);
    test_stop(&t);
    munmap(first, size);
    munmap(second, size);
    fake_context_die(&c);
}

const TestCase tests_blob[] = {
    TEST(blob_is_the_workers_memory),
    TEST(blob_outlives_its_context),
    TEST(blob_is_mapped_only_where_the_window_is_free),
    TEST(blob_that_makes_no_sense_is_refused),
    TEST(blob_that_the_worker_refuses_cannot_be_mapped),
    TEST(blob_given_up_before_the_worker_answers),
    TEST(blob_is_made_and_mapped_10000_times),
    { NULL },
};
