/*
 * Vulkan of the guest's own driver: commands become messages, blobs are a part of a
 * file, fences are slots of the ring.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "vgpu-remote-fake-virgl.h"

#define AT (32u << 20) /* in the window */

/* --- a worker ------------------------------------------------------------ */

typedef struct FakeVenus {
    FakeContext c;
    struct ring_consumer consumer;
    uint8_t *message; /* the last one taken */
    struct wire_in in;
} FakeVenus;

static void make_ring(FakeVenus *v)
{
    union proto_any m;
    int fd;

    fake_recv(v->c.sock, PROTO_BLOB_CREATE, &m);
    g_assert_cmpuint(m.blob_create.blob, ==, VGPU_BLOB_RING);
    g_assert_cmpuint(m.blob_create.size, ==, VENUS_RING_SIZE);
    fd = fake_memfd(VENUS_RING_SIZE, true);
    v->c.ring = mmap(NULL, VENUS_RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                     fd, 0);
    g_assert(v->c.ring != MAP_FAILED);
    g_assert_true(ring_format(&v->consumer, v->c.ring, VENUS_RING_SIZE));
    fake_created(&v->c, VGPU_BLOB_RING, VENUS_RING_SIZE, 0, fd);
    close(fd);
    v->message = g_malloc(ring_message_max(v->consumer.size));
}

static void add_context(Test *t, uint32_t id, FakeVenus *v)
{
    memset(v, 0, sizeof(*v));
    g_assert_cmphex(guest_context_create(&t->g, id, VENUS_CAPSET_ID), ==, OK);
    fake_venus_context(&t->f, &v->c);
    make_ring(v);
}

static void start(Test *t, FakeVenus *v)
{
    test_start_venus(t, "backend=auto");
    add_context(t, 1, v);
}

static void die(FakeVenus *v)
{
    munmap((uint8_t *)v->c.ring + RING_CMD_OFFSET, RING_CMD_DEFAULT);
    g_free(v->message);
    fake_context_die(&v->c);
}

static void stop(Test *t, FakeVenus *v)
{
    test_stop(t);
    die(v);
}

/* The next message, which must be a @call, within a minute. */
static void take(FakeVenus *v, enum venus_call call)
{
    const struct wire_header *header = (void *)v->message;

    fake_consume(&v->consumer, v->message, v->c.event[0]);
    g_assert_cmpuint(header->api, ==, VGPU_API_VENUS);
    g_assert_cmpuint(header->call, ==, call);
    wire_in_init(&v->in, header + 1, header->payload);
}

/* --- a guest ------------------------------------------------------------- */

/* Of what it is said to be, 3584 bytes are there at most. */
static int send_submit(Test *t, uint32_t ctx, uint32_t size, uint32_t flags,
                       uint32_t ring)
{
    struct virtio_gpu_ctrl_hdr hdr = {
        .ctx_id = ctx, .flags = flags, .fence_id = 9, .ring_idx = ring,
    };

    return guest_send_counting(&t->g, hdr, size, MIN(size, 3584));
}

static uint32_t submit(Test *t, uint32_t size)
{
    return guest_do(&t->g, send_submit(t, 1, size, 0, 0));
}

static uint32_t create(Test *t, uint32_t resource, uint64_t blob, uint64_t size)
{
    return guest_do(&t->g, guest_send_blob(&t->g, 1, resource, blob, size));
}

/* The worker's answer: @file bytes, of which the blob begins at @offset. */
static void created_at(FakeVenus *v, uint32_t resource, uint64_t size,
                       uint64_t file, uint64_t offset)
{
    struct proto_blob_created m = {
        .type = PROTO_BLOB_CREATED, .blob = resource, .size = size,
        .offset = offset,
    };
    int fd = fake_memfd(file, true);
    uint32_t page[2] = { 0 };

    for (page[0] = 0; page[0] < file / PAGE; page[0]++) {
        g_assert_cmpint(pwrite(fd, page, sizeof(page), page[0] * PAGE), ==,
                        sizeof(page));
    }
    g_assert_cmpint(proto_send(v->c.sock, &m, &fd, 1), ==, 0);
    close(fd);
}

/* --- what is offered ----------------------------------------------------- */

static void venus_is_offered_where_the_worker_has_it(void)
{
    struct virtio_gpu_get_capset c = {
        .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET, .capset_id = VENUS_CAPSET_ID,
    };
    struct {
        struct virtio_gpu_ctrl_hdr hdr;
        uint8_t caps[FAKE_VENUS_CAPS];
    } answer;
    uint32_t size;
    FakeVenus v;
    Test t;
    int place;

    for (int i = 0; i < 2; i++) {
        test_start_venus(&t, i ? "backend=emulation" : "backend=auto");
        g_assert_cmpuint(test_capset_at(&t, 2 - i, &size), ==, VENUS_CAPSET_ID);
        g_assert_cmpuint(size, ==, FAKE_VENUS_CAPS);
        g_assert_cmpuint(test_capset_at(&t, 3 - i, &size), ==, 0);
        place = guest_send(&t.g, &c, sizeof(c), sizeof(answer));
        guest_kick(&t.g);
        g_assert_cmphex(guest_wait(&t.g, place, &answer, sizeof(answer)), ==,
                        VIRTIO_GPU_RESP_OK_CAPSET);
        for (size_t n = 0; n < sizeof(answer.caps); n++) {
            g_assert_cmpuint(answer.caps[n], ==, FAKE_VENUS_CAP);
        }
        add_context(&t, 1, &v);
        stop(&t, &v);
    }
    test_start_virgl(&t, "backend=auto");
    g_assert_cmpuint(test_capset_at(&t, 2, &size), ==, 0);
    g_assert_cmphex(guest_call(&t.g, &c, sizeof(c)), ==, BAD);
    g_assert_cmphex(guest_context_create(&t.g, 1, VENUS_CAPSET_ID), ==, BAD);
    test_stop(&t);
}

/* --- messages ------------------------------------------------------------ */

static void venus_commands_keep_their_order(void)
{
    const uint8_t *bytes;
    FakeVenus v;
    Test t;

    start(&t, &v);
    g_assert_cmphex(create(&t, BLOB, 77, 5000), ==, OK);
    g_assert_cmphex(submit(&t, 200), ==, OK);
    g_assert_cmphex(test_unref(&t, BLOB), ==, OK);
    take(&v, VENUS_BLOB_CREATE);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, BLOB);
    g_assert_cmpuint(wire_get_u32(&v.in), ==,
                     VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE);
    g_assert_cmpuint(wire_get(&v.in), ==, 77);
    g_assert_cmpuint(wire_get(&v.in), ==, 2 * PAGE);
    g_assert_true(wire_done(&v.in));
    take(&v, VENUS_SUBMIT);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 0);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 0);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 200);
    bytes = wire_get_bytes(&v.in, 200);
    g_assert_true(wire_done(&v.in));
    for (int i = 0; i < 200; i++) {
        g_assert_cmpuint(bytes[i], ==, i);
    }
    take(&v, VENUS_BLOB_DESTROY);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, BLOB);
    g_assert_true(wire_done(&v.in));
    /* It is given up by now; the answer comes all the same. */
    created_at(&v, BLOB, 2 * PAGE, 3 * PAGE, PAGE);
    g_assert_cmphex(test_map(&t, BLOB, AT), ==, NO_RESOURCE);
    stop(&t, &v);
}

static void venus_commands_wait_for_the_ring(void)
{
    FakeVenus v = { 0 };
    Test t;
    int place;

    test_start_venus(&t, "backend=auto");
    g_assert_cmphex(guest_context_create(&t.g, 1, VENUS_CAPSET_ID), ==, OK);
    fake_venus_context(&t.f, &v.c);
    place = send_submit(&t, 1, 4, 0, 0);
    guest_kick(&t.g);
    g_usleep(20000);
    g_assert_false(guest_is_answered(&t.g, place));
    make_ring(&v);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    take(&v, VENUS_SUBMIT);
    stop(&t, &v);
}

/* Until the worker has made room, with nothing lost. */
static void full_venus_ring_stops_the_queue(void)
{
    FakeVenus v;
    Test t;
    unsigned sent = 0;
    int place;

    start(&t, &v);
    for (;;) {
        place = send_submit(&t, 1, 3584, 0, 0);
        guest_kick(&t.g);
        g_usleep(1000);
        if (!guest_is_answered(&t.g, place)) {
            break;
        }
        g_assert_cmphex(test_wait(&t, place), ==, OK);
        sent++;
    }
    g_assert_cmpuint(sent, >, 200);
    fake_take_event(&v.c, 0);
    for (unsigned i = 0; i <= sent; i++) {
        take(&v, VENUS_SUBMIT);
    }
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    stop(&t, &v);
}

static void venus_command_that_makes_no_sense_is_refused(void)
{
    const struct virtio_gpu_resource_create_blob good = {
        .hdr = {
            .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = 1,
        },
        .resource_id = BLOB,
        .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
        .size = PAGE,
    };
    struct virtio_gpu_resource_create_blob bad[4] = { good, good, good, good };
    FakeVenus v;
    Test t;

    start(&t, &v);
    g_assert_cmphex(submit(&t, 3), ==, BAD);
    g_assert_cmphex(submit(&t, 4000), ==, BAD); /* more than there is */
    g_assert_cmphex(submit(&t, UINT32_MAX - 3), ==, BAD);
    g_assert_cmphex(guest_do(&t.g, send_submit(&t, 1, 4, ON_RING, 63)), ==, BAD);
    g_assert_cmphex(guest_do(&t.g, send_submit(&t, 1, 4, ON_RING, 255)), ==,
                    BAD);
    bad[0].blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
    bad[1].size = 0;
    bad[2].size = VGPU_BLOB_SIZE_MAX + 1;
    bad[3].nr_entries = 1;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_cmphex(guest_call(&t.g, &bad[i], sizeof(bad[i])), ==, BAD);
    }
    bad[0] = good;
    bad[0].resource_id = 0;
    g_assert_cmphex(guest_call(&t.g, &bad[0], sizeof(bad[0])), ==, NO_RESOURCE);
    g_assert_cmphex(guest_call(&t.g, &good, sizeof(good)), ==, OK);
    g_assert_cmphex(guest_call(&t.g, &good, sizeof(good)), ==, NO_RESOURCE);
    take(&v, VENUS_BLOB_CREATE);
    g_assert_false(ring_pending(&v.consumer));
    stop(&t, &v);
}

/* --- blobs --------------------------------------------------------------- */

static void venus_blob_is_a_part_of_a_file(void)
{
    FakeVenus v;
    Test t;

    start(&t, &v);
    g_assert_cmphex(create(&t, BLOB, 77, 2 * PAGE), ==, OK);
    take(&v, VENUS_BLOB_CREATE);
    created_at(&v, BLOB, 2 * PAGE, 4 * PAGE, 2 * PAGE);
    g_assert_cmphex(test_map(&t, BLOB, AT), ==, MAPPED);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, AT), ==, 2);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, AT + PAGE), ==, 3);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, AT + 2 * PAGE), ==,
                    0);
    /* The last page of a file need not be a whole one. */
    g_assert_cmphex(create(&t, BLOB + 1, 78, PAGE), ==, OK);
    take(&v, VENUS_BLOB_CREATE);
    created_at(&v, BLOB + 1, PAGE, PAGE + 40, PAGE);
    g_assert_cmphex(test_map(&t, BLOB + 1, AT + (1 << 20)), ==, MAPPED);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window,
                                  AT + (1 << 20) + PAGE - 4), ==, 0);
    stop(&t, &v);
}

static void plain_venus_blobs_share_an_id(void)
{
    FakeVenus v;
    Test t;

    start(&t, &v);
    for (uint32_t i = 0; i < 3; i++) {
        g_assert_cmphex(create(&t, BLOB + i, 0, PAGE), ==, OK);
        take(&v, VENUS_BLOB_CREATE);
        created_at(&v, BLOB + i, PAGE, (i + 1) * PAGE, i * PAGE);
        g_assert_cmphex(test_map(&t, BLOB + i, AT + i * PAGE), ==, MAPPED);
    }
    for (uint32_t i = 0; i < 3; i++) {
        g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, AT + i * PAGE),
                        ==, i);
        g_assert_cmphex(test_unref(&t, BLOB + i), ==, OK);
        take(&v, VENUS_BLOB_DESTROY);
    }
    stop(&t, &v);
}

/* Memory that is not there, or between pages: the guest must not get to see it. */
static void venus_worker_that_lies_is_lost(void)
{
    static const struct {
        uint64_t file, offset;
    } lies[] = {
        { 2 * PAGE, PAGE }, { 2 * PAGE, 2 * PAGE }, { 4 * PAGE, 64 },
        { 4 * PAGE, -(uint64_t)PAGE }, { 4 * PAGE, INT64_MAX - PAGE + 1 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        FakeVenus v;
        Test t;

        start(&t, &v);
        g_assert_cmphex(create(&t, BLOB, 77, 2 * PAGE), ==, OK);
        take(&v, VENUS_BLOB_CREATE);
        created_at(&v, BLOB, 2 * PAGE, lies[i].file, lies[i].offset);
        g_assert_true(fake_is_closed(v.c.sock));
        g_assert_cmphex(test_map(&t, BLOB, AT), ==, NO_MEMORY);
        stop(&t, &v);
    }
}

/* --- fences -------------------------------------------------------------- */

static void venus_fence_is_answered_on_its_timeline(void)
{
    int plain, one, two, other;
    FakeVenus v;
    Test t;

    start(&t, &v);
    one = send_submit(&t, 1, 4, ON_RING, 0);
    two = send_submit(&t, 1, 8, ON_RING, 0);
    other = send_submit(&t, 1, 0, ON_RING, 62);
    plain = send_submit(&t, 1, 4, FENCED, 0);
    test_expect_held(&t, one);
    g_assert_cmphex(test_wait(&t, plain), ==, OK);
    fake_take_event(&v.c, 1);
    fake_take_event(&v.c, 63);
    for (uint32_t seq = 1; seq <= 2; seq++) {
        take(&v, VENUS_SUBMIT);
        g_assert_cmpuint(wire_get_u32(&v.in), ==, 1);
        g_assert_cmpuint(wire_get_u32(&v.in), ==, seq);
    }
    take(&v, VENUS_SUBMIT);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 63);
    fake_post(&v.c, 63, 1);
    g_assert_cmphex(test_wait(&t, other), ==, OK);
    g_assert_false(guest_is_answered(&t.g, one));
    fake_post(&v.c, 1, 1);
    g_assert_cmphex(test_wait(&t, one), ==, OK);
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, two));
    fake_post(&v.c, 1, 2);
    g_assert_cmphex(test_wait(&t, two), ==, OK);
    stop(&t, &v);
}

/* --- loss ---------------------------------------------------------------- */

static void venus_worker_that_dies_loses_its_context_alone(void)
{
    FakeVenus v, w;
    Test t;
    int held;

    start(&t, &v);
    add_context(&t, 2, &w);
    g_assert_cmphex(create(&t, BLOB, 0, PAGE), ==, OK);
    take(&v, VENUS_BLOB_CREATE);
    created_at(&v, BLOB, PAGE, 2 * PAGE, PAGE);
    g_assert_cmphex(test_map(&t, BLOB, AT), ==, MAPPED);
    held = send_submit(&t, 1, 4, ON_RING, 3);
    test_expect_held(&t, held);
    die(&v);
    g_assert_cmphex(test_wait(&t, held), ==, OK);
    g_assert_cmphex(submit(&t, 4), ==, NO_CONTEXT);
    g_assert_cmphex(create(&t, BLOB + 1, 0, PAGE), ==, NO_CONTEXT);
    g_assert_cmphex(qpci_io_readl(t.g.pci->pdev, t.g.window, AT), ==, 1);
    g_assert_cmphex(test_unref(&t, BLOB), ==, OK);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_assert_cmphex(guest_do(&t.g, send_submit(&t, 2, 4, 0, 0)), ==, OK);
    take(&w, VENUS_SUBMIT);
    stop(&t, &w);
}

static void reset_ends_venus_contexts(void)
{
    FakeVenus v;
    Test t;

    start(&t, &v);
    g_assert_cmphex(create(&t, BLOB, 0, PAGE), ==, OK);
    send_submit(&t, 1, 4, ON_RING, 3);
    guest_kick(&t.g);
    guest_drive(&t.g);
    g_assert_true(fake_is_closed(v.c.sock));
    die(&v);
    add_context(&t, 1, &v);
    g_assert_cmphex(submit(&t, 4), ==, OK);
    take(&v, VENUS_SUBMIT);
    stop(&t, &v);
}

const TestCase tests_venus[] = {
    TEST(venus_is_offered_where_the_worker_has_it),
    TEST(venus_commands_keep_their_order),
    TEST(venus_commands_wait_for_the_ring),
    TEST(full_venus_ring_stops_the_queue),
    TEST(venus_command_that_makes_no_sense_is_refused),
    TEST(venus_blob_is_a_part_of_a_file),
    TEST(plain_venus_blobs_share_an_id),
    TEST(venus_worker_that_lies_is_lost),
    TEST(venus_fence_is_answered_on_its_timeline),
    TEST(venus_worker_that_dies_loses_its_context_alone),
    TEST(reset_ends_venus_contexts),
    { NULL },
};
