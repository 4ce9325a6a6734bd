/*
 * Bytes between the guest's memory and the emulated GPU's resources: uploads,
 * by commands of their own and within submissions, which are snapshots; boxes
 * of every kind, which must be copied to the byte, and boxes that cannot be;
 * the twin of a 2D resource, which follows what 2D does; and blobs of guest
 * memory, which need no transfers and have none.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-fake-virgl.h"

/* --- uploads ------------------------------------------------------------- */

/* Its fence needs no worker: the pages were copied when it was answered. */
static void upload_is_a_snapshot(void)
{
    struct virtio_gpu_box box = { 1, 1, 0, 4, 2, 1 };
    struct virgl_transfer x;
    FakeVirgl v;
    int place;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 16, 16);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1024), ==, OK);
    g_assert_cmphex(guest_attach(&t.g, 1, TEX), ==, OK);
    fake_virgl_take(&v, VIRGL_ATTACH);
    guest_fill_pages(&t.g, 1024, 0);
    place = guest_send_transfer(&t.g, TO_HOST, 1, TEX, box, 500, 64, FENCED);
    g_assert_cmphex(guest_do(&t.g, place), ==, OK);
    guest_fill_pages(&t.g, 1024, 99);
    x = fake_virgl_transfer(&v, VIRGL_PUT);
    g_assert_cmpuint(x.context, ==, 1);
    g_assert_cmpuint(x.resource, ==, TEX);
    g_assert_cmpuint(x.stride, ==, 16);
    g_assert_cmpuint(x.w, ==, 4);
    g_assert_cmpuint(x.data.blob, ==, VIRGL_STAGING);
    g_assert_cmpuint(x.data.size, ==, 32); /* two rows, and nothing between */
    for (int i = 0; i < 32; i++) {
        /* The backing's halves are swapped in memory: 512 is its byte 0. */
        uint32_t at = (500 + i / 16 * 64 + i % 16 + 512) % 1024;

        g_assert_cmpuint(v.staging[x.data.offset + i], ==,
                         guest_page_byte(at, 0));
    }
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    test_stop_worker(&t, &v);
}

/* Copied by the main loop, and not by who rings; what is behind it waits. */
static void long_upload_keeps_its_place(void)
{
    struct virtio_gpu_box box = { 0, 0, 0, 512, 512, 1 };
    struct virgl_transfer x;
    FakeVirgl v;
    int upload, behind;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 512, 512);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1 << 20), ==, OK);
    guest_fill_pages(&t.g, 512, 77);
    upload = guest_send_transfer(&t.g, TO_HOST, 1, TEX, box, 0, 2048, FENCED);
    behind = guest_send_submit(&t.g, 1, 4, FENCED, 0, 6);
    guest_kick(&t.g);
    x = fake_virgl_transfer(&v, VIRGL_PUT);
    g_assert_cmpuint(x.data.size, ==, 1 << 20);
    g_assert_cmpuint(v.staging[x.data.offset + (1 << 19)], ==, 77);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, upload), ==, OK);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, behind), ==, OK);
    test_stop_worker(&t, &v);
}

/*
 * As Mesa sends them: transfers, one of them twice, an end that is padded, and
 * then the rest.
 */
static void uploads_in_a_submission_are_taken_out(void)
{
    uint32_t w[] = {
        13 << 16 | VIRGL_STREAM_TRANSFER, TEX, 0, 0, 64, 0, 0, 0, 0, 4, 2, 1,
        0, VIRGL_STREAM_TO_HOST,
        13 << 16 | VIRGL_STREAM_TRANSFER, TEX, 0, 0, 64, 0, 0, 0, 0, 4, 2, 1,
        0, VIRGL_STREAM_TO_HOST,
        13 << 16 | VIRGL_STREAM_TRANSFER, TEX, 0, 0, 64, 0, 8, 8, 0, 1, 1, 1,
        512, VIRGL_STREAM_TO_HOST,
        2 << 16 | VIRGL_STREAM_END_TRANSFERS, 0, 0,
        1 << 16 | 99, 77,
    };
    struct virgl_transfer x;
    const uint32_t *rest;
    FakeVirgl v;
    int place;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 16, 16);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1024), ==, OK);
    guest_fill_pages(&t.g, 1024, 0);
    place = guest_send_words(&t.g, 1, w, ARRAY_SIZE(w), 1);
    test_expect_held(&t, place);
    x = fake_virgl_transfer(&v, VIRGL_PUT);
    g_assert_cmpuint(x.data.size, ==, 32);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    x = fake_virgl_transfer(&v, VIRGL_PUT);
    g_assert_cmpuint(x.x, ==, 8);
    g_assert_cmpuint(x.data.size, ==, 4);
    g_assert_cmpuint(v.staging[x.data.offset], ==, 0); /* half two is first */
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 1);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 8);
    rest = wire_get_bytes(&v.in, 8);
    g_assert_cmpuint(rest[1], ==, 77);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    /* One that makes no sense costs the submission, and is answered. */
    w[1] = 99;
    place = guest_send_words(&t.g, 1, w, ARRAY_SIZE(w), 1);
    g_assert_cmphex(guest_do(&t.g, place), ==, NO_RESOURCE);
    w[0] = 0xffffffff; /* none of ours: the worker's affair */
    place = guest_send_words(&t.g, 1, w, ARRAY_SIZE(w), 1);
    guest_kick(&t.g);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    test_stop_worker(&t, &v);
}

/* --- boxes --------------------------------------------------------------- */

/* Where a box is, and what of it is to travel. */
typedef struct Box {
    const char *what;
    uint32_t target, format, w, h, layers;
    struct virtio_gpu_box box;
    uint32_t level, stride, layer_stride;
    uint64_t offset;
    /* in staging memory: bytes of a row, rows of a layer, layers; from one to
       the next in the backing */
    uint32_t row, rows, n, apart, layers_apart;
} Box;

#define BACKING 32768
#define PLANES  166 /* a format whose rows are not known */

static const Box boxes[] = {
    { "a driver says nothing", 2, 2, 32, 32, 1, { 5, 6, 0, 4, 3, 1 }, 0, 0, 0,
      6 * 128 + 20, 16, 3, 1, 128, 0 },
    { "of a level", 2, 2, 32, 32, 1, { 1, 2, 0, 3, 2, 1 }, 1, 0, 0,
      4096 + 2 * 64 + 4, 12, 2, 1, 64, 0 },
    { "whole rows", 2, 2, 32, 32, 1, { 0, 3, 0, 32, 4, 1 }, 0, 0, 0,
      3 * 128, 128, 4, 1, 128, 0 },
    { "over the seam of the pages", 2, 2, 64, 64, 1, { 60, 62, 0, 4, 2, 1 }, 0, 0,
      0, BACKING / 2 - 10, 16, 2, 1, 256, 0 },
    { "of layers", 7, 64, 16, 16, 4, { 1, 2, 1, 5, 4, 3 }, 0, 0, 0,
      256 + 2 * 16 + 1, 5, 4, 3, 16, 256 },
    { "with strides", 7, 64, 16, 16, 4, { 1, 2, 1, 5, 4, 3 }, 0, 20, 100, 33,
      5, 4, 3, 20, 100 },
    { "of blocks", 2, 105, 30, 30, 1, { 4, 8, 0, 10, 8, 1 }, 0, 0, 0, 136,
      24, 2, 1, 64, 0 },
    { "of floats", 2, 31, 8, 8, 1, { 1, 1, 0, 2, 2, 1 }, 0, 0, 0, 144, 32, 2, 1,
      128, 0 },
    { "of a buffer", 0, 64, 5000, 1, 1, { 100, 0, 0, 50, 1, 1 }, 0, 0, 0, 100,
      50, 1, 1, 0, 0 },
    { "of nobody knows what", 2, PLANES, 32, 32, 1, { 0, 0, 0, 4, 4, 1 }, 0, 0, 0,
      1000, BACKING - 1000, 1, 1, 0, 0 },
};

/* Of byte @at of a backing of BACKING bytes, in the guest's memory. */
static uint32_t page_of(uint32_t at)
{
    return (at + BACKING / 2) % BACKING;
}

static uint32_t offset_of(const Box *b, uint32_t i)
{
    return b->offset + i % b->row + i / b->row % b->rows * b->apart +
           i / b->row / b->rows * b->layers_apart;
}

static void begin_box(Test *t, FakeVirgl *v, const Box *b, uint32_t id)
{
    struct virtio_gpu_resource_create_3d c = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
        .resource_id = id, .target = b->target, .format = b->format,
        .bind = 8, .width = b->w, .height = b->h, .depth = 1,
        .array_size = b->layers, .last_level = 1,
    };

    g_test_message("%s", b->what);
    test_add_resource(t, v, &c);
    g_assert_cmphex(guest_attach_halves(&t->g, id, BACKING), ==, OK);
}

static int send_box(Test *t, uint32_t type, const Box *b, uint32_t id)
{
    struct virtio_gpu_transfer_host_3d c = {
        .hdr = { .type = type, .ctx_id = 1, .flags = FENCED, .fence_id = 5 },
        .box = b->box, .offset = b->offset, .resource_id = id,
        .level = b->level, .stride = b->stride,
        .layer_stride = b->layer_stride,
    };

    return guest_send(&t->g, &c, sizeof(c), GUEST_ANSWER);
}

/* Takes the message; its bytes. */
static uint8_t *take_box(FakeVirgl *v, enum virgl_call call, const Box *b)
{
    struct virgl_transfer x = fake_virgl_transfer(v, call);
    uint32_t total = b->row * b->rows * b->n;

    g_assert_cmpuint(x.data.size, ==, total);
    g_assert_cmpuint(x.level, ==, b->level);
    if (b->apart) {
        g_assert_cmpuint(x.stride, ==, b->row);
        g_assert_cmpuint(x.layer_stride, ==, b->row * b->rows);
    }
    return v->staging + x.data.offset;
}

static void box_is_copied_and_nothing_else(void)
{
    g_autofree uint8_t *pages = g_malloc(BACKING);
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    for (uint32_t n = 0; n < ARRAY_SIZE(boxes); n++) {
        const Box *b = &boxes[n];
        uint32_t total = b->row * b->rows * b->n;
        uint8_t *data;
        int place;

        begin_box(&t, &v, b, TEX + n);
        for (uint32_t i = 0; i < BACKING; i++) {
            pages[i] = i / 251 + i;
        }
        qtest_memwrite(t.g.qts, PAGES, pages, BACKING);
        place = send_box(&t, TO_HOST, b, TEX + n);
        g_assert_cmphex(guest_do(&t.g, place), ==, OK);
        data = take_box(&v, VIRGL_PUT, b);
        for (uint32_t i = 0; i < total; i++) {
            g_assert_cmphex(data[i], ==, pages[page_of(offset_of(b, i))]);
        }
        fake_virgl_complete(&v, v.token, 0, 0, 0);

        place = send_box(&t, FROM_HOST, b, TEX + n);
        test_expect_held(&t, place);
        data = take_box(&v, VIRGL_GET, b);
        /* Of what may be in such a box it writes some, and the rest stays. */
        total = b->format == PLANES ? total / 2 : total;
        for (uint32_t i = 0; i < total; i++) {
            data[i] = ~pages[page_of(offset_of(b, i))];
            pages[page_of(offset_of(b, i))] = data[i];
        }
        fake_virgl_complete(&v, v.token, 0, 0, 0);
        g_assert_cmphex(test_wait(&t, place), ==, OK);
        for (uint32_t i = 0; i < BACKING; i += 4096) {
            uint8_t now[4096];

            qtest_memread(t.g.qts, PAGES + i, now, sizeof(now));
            g_assert_cmpmem(now, sizeof(now), pages + i, sizeof(now));
        }
    }
    test_stop_worker(&t, &v);
}

/* What is not within the backing, or has rows that overlap. */
static void box_that_cannot_be_is_refused(void)
{
    static const Box wrong[] = {
        { "beyond the pages", 2, 2, 32, 32, 1, { 0, 0, 0, 4, 3, 1 },
          .offset = BACKING - 270 },
        { "many rows", 2, 2, 32, 32, 1, { 0, 0, 0, 4, UINT32_MAX, 1 } },
        { "many layers", 7, 2, 32, 32, 4, { 0, 0, 0, 4, 4, UINT32_MAX } },
        { "large in all", 7, 2, 32, 32, 4,
          { 0, 0, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX },
          .stride = UINT32_MAX, .layer_stride = UINT32_MAX },
        { "rows that overlap", 2, 2, 32, 32, 1, { 0, 0, 0, 4, 3, 1 },
          .stride = 15 },
        { "layers that overlap", 7, 2, 32, 32, 4, { 0, 0, 0, 4, 3, 2 },
          .stride = 16, .layer_stride = 47 },
    };
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    for (uint32_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        begin_box(&t, &v, &wrong[i], TEX + i);
        for (int back = 0; back < 2; back++) {
            int place = send_box(&t, back ? FROM_HOST : TO_HOST, &wrong[i],
                                 TEX + i);

            g_assert_cmphex(guest_do(&t.g, place), ==, BAD);
        }
    }
    g_assert_true(fake_virgl_is_idle(&v));
    test_stop_worker(&t, &v);
}

/* --- what 2D has --------------------------------------------------------- */

/* A dumb buffer that a program imports: OpenGL sees what 2D has. */
static void resource_of_2d_has_a_twin(void)
{
    struct virtio_gpu_resource_create_2d create_2d = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
        .resource_id = TEX, .format = 2, .width = 16, .height = 16,
    };
    struct virtio_gpu_transfer_to_host_2d transfer = {
        .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
        .r = { 0, 4, 16, 2 }, .offset = 4 * 64, .resource_id = TEX,
    };
    struct virgl_resource r;
    struct virgl_transfer x;
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    g_assert_cmphex(guest_call(&t.g, &create_2d, sizeof(create_2d)), ==, OK);
    g_assert_cmphex(guest_create_texture(&t.g, TEX, 16, 16), ==, NO_RESOURCE);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1024), ==, OK);
    g_assert_cmphex(guest_attach(&t.g, 1, TEX), ==, OK);
    fake_virgl_take(&v, VIRGL_RESOURCE_CREATE);
    r = virgl_get_resource(&v.in);
    g_assert_cmpuint(r.id, ==, TEX);
    g_assert_cmpuint(r.format, ==, 2);
    g_assert_cmpuint(r.height, ==, 16);
    fake_virgl_take(&v, VIRGL_ATTACH);
    g_assert_cmphex(guest_submit(&t.g, 1, 4), ==, OK);
    x = fake_virgl_transfer(&v, VIRGL_PUT); /* all of it, for the first time */
    g_assert_cmpuint(x.h, ==, 16);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    guest_fill_pages(&t.g, 1024, 0);
    g_assert_cmphex(guest_call(&t.g, &transfer, sizeof(transfer)), ==, OK);
    g_assert_true(fake_virgl_is_idle(&v));
    g_assert_cmphex(guest_submit(&t.g, 1, 4), ==, OK);
    x = fake_virgl_transfer(&v, VIRGL_PUT);
    g_assert_cmpuint(x.y, ==, 4);
    g_assert_cmpuint(x.h, ==, 2);
    g_assert_cmpuint(x.data.size, ==, 128);
    g_assert_cmpuint(v.staging[x.data.offset + 5], ==,
                     guest_page_byte(512 + 4 * 64 + 5, 0));
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    fake_virgl_take(&v, VIRGL_RESOURCE_UNREF);
    test_stop_worker(&t, &v);
}

/* --- blobs of guest memory ----------------------------------------------- */

static void blob_that_cannot_be_is_refused(void)
{
    static const struct {
        const char *what;
        size_t field, size;
        uint64_t value;
        uint32_t answer;
    } wrong[] = {
#define FIELD(_field) \
    offsetof(GuestBlob, c._field), sizeof_field(GuestBlob, c._field)
        { "no id", FIELD(resource_id), 0, NO_RESOURCE },
        { "an id in use", FIELD(resource_id), SOURCE, NO_RESOURCE },
        { "a texture's id", FIELD(resource_id), TEX, NO_RESOURCE },
        { "no context", FIELD(hdr.ctx_id), 9, NO_CONTEXT },
        { "a blob id", FIELD(blob_id), 1, BAD },
        { "no bytes", FIELD(size), 0, BAD },
        { "more than its pages", FIELD(size), BLOB_BYTES + 1, BAD },
        { "much more", FIELD(size), UINT64_MAX, BAD },
        { "no pages", FIELD(nr_entries), 0, BAD },
        { "pages it does not name", FIELD(nr_entries), 3, UNSPEC },
        { "pages without end", FIELD(nr_entries), UINT32_MAX, NO_MEMORY },
        { "of both", FIELD(blob_mem), VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, BAD },
        { "of neither", FIELD(blob_mem), 0, BAD },
#undef FIELD
    };
    GuestBlob opengls = guest_blob(TEX + 1);
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 16, 16);
    guest_add_blob(&t.g, SOURCE);
    opengls.c.blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D;
    opengls.c.blob_id = 5;
    opengls.c.nr_entries = 0;
    g_assert_cmphex(guest_create_blob(&t.g, &opengls), ==, NO_CONTEXT);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        GuestBlob b = guest_blob(TEX + 1);

        g_test_message("%s", wrong[i].what);
        memcpy((char *)&b + wrong[i].field, &wrong[i].value, wrong[i].size);
        g_assert_cmphex(guest_create_blob(&t.g, &b), ==, wrong[i].answer);
    }
    g_assert_cmphex(guest_create_texture(&t.g, SOURCE, 16, 16), ==,
                    NO_RESOURCE);
    g_assert_true(fake_virgl_is_idle(&v));
    test_stop_worker(&t, &v);
}

/* It is the guest's memory, with an id: nothing is left for a worker to do. */
static void blob_of_guest_memory_is_no_workers(void)
{
    struct virtio_gpu_box box = { 0, 0, 0, 4, 1, 1 };
    GuestBlob of_none = guest_blob(TEX);
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    of_none.c.hdr.ctx_id = 0;
    g_assert_cmphex(guest_create_blob(&t.g, &of_none), ==, OK);
    guest_add_blob(&t.g, SOURCE);
    g_assert_cmphex(guest_attach(&t.g, 1, SOURCE), ==, OK);
    g_assert_cmphex(guest_attach_halves(&t.g, SOURCE, 1024), ==, UNSPEC);
    g_assert_cmphex(guest_detach_backing(&t.g, SOURCE), ==, BAD);
    g_assert_cmphex(test_map(&t, SOURCE, 0), ==, NO_RESOURCE);
    for (int back = 0; back < 2; back++) {
        int place = guest_send_transfer(&t.g, back ? FROM_HOST : TO_HOST, 1,
                                        SOURCE, box, 0, 0, FENCED);

        g_assert_cmphex(guest_do(&t.g, place), ==, BAD);
    }
    g_assert_cmphex(test_unref(&t, SOURCE), ==, OK);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    guest_add_blob(&t.g, SOURCE);
    g_assert_true(fake_virgl_is_idle(&v));
    test_stop_worker(&t, &v);
}

const TestCase tests_virgl_transfer[] = {
    TEST(upload_is_a_snapshot),
    TEST(long_upload_keeps_its_place),
    TEST(uploads_in_a_submission_are_taken_out),
    TEST(box_is_copied_and_nothing_else),
    TEST(box_that_cannot_be_is_refused),
    TEST(resource_of_2d_has_a_twin),
    TEST(blob_that_cannot_be_is_refused),
    TEST(blob_of_guest_memory_is_no_workers),
    { NULL },
};
