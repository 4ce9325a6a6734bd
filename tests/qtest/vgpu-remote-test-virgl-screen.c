/*
 * Screens of the emulated GPU: textures, which the worker reads into memory of
 * the screen's; blobs of guest memory, which need no worker; and both by turns.
 * What a screendump has of them, from when on, and once the worker has died.
 * Textures that are shown without being read are in -dmabuf.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "vgpu-remote-fake-virgl.h"

static uint32_t show(Test *t, uint32_t id, uint32_t w, uint32_t h)
{
    return guest_show(&t->g, 0, id, (struct virtio_gpu_rect) { 0, 0, w, h });
}

static uint32_t flush(Test *t, uint32_t id, uint32_t x, uint32_t y, uint32_t w,
                      uint32_t h)
{
    return guest_flush(&t->g, id, (struct virtio_gpu_rect) { x, y, w, h });
}

/* A pixel of a screendump, as 0xrrggbb; UINT32_MAX if it is of another size. */
static uint32_t pixel(Test *t, uint32_t w, uint32_t h, uint32_t x, uint32_t y)
{
    unsigned ww, hh;
    g_autofree uint8_t *all = test_screendump(t, 0, &ww, &hh);
    const uint8_t *p;

    if (ww != w || hh != h) {
        return UINT32_MAX;
    }
    p = all + 3 * (y * w + x);
    return p[0] << 16 | p[1] << 8 | p[2];
}

static void wait_pixel(Test *t, uint32_t w, uint32_t h, uint32_t x, uint32_t y,
                       uint32_t want)
{
    gint64 limit = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    while (pixel(t, w, h, x, y) != want) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(10000);
    }
}

/* --- textures ------------------------------------------------------------ */

static void screen_shows_what_the_worker_reads_and_keeps_it(void)
{
    struct virgl_transfer x;
    uint32_t *screen;
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 32, 32);
    g_assert_cmphex(show(&t, TEX, 33, 32), ==, BAD);
    g_assert_cmphex(show(&t, TEX, 32, 32), ==, OK);
    screen = fake_virgl_screen(&v, 32, 32);
    x = fake_virgl_transfer(&v, VIRGL_GET); /* all of it */
    g_assert_cmpuint(x.resource, ==, TEX);
    g_assert_cmpuint(x.w, ==, 32);
    g_assert_cmpuint(x.h, ==, 32);
    /* While that goes on, what gets dirty is gathered. */
    g_assert_cmphex(flush(&t, TEX, 4, 5, 1, 1), ==, OK);
    g_assert_cmphex(flush(&t, TEX, 7, 9, 2, 2), ==, OK);
    g_assert_cmphex(flush(&t, TEX, 31, 31, 2, 1), ==, BAD);
    g_assert_true(fake_virgl_is_idle(&v));
    for (int i = 0; i < 32 * 32; i++) {
        screen[i] = 0x123456;
    }
    fake_virgl_complete(&v, v.token, 0, 128, 32);
    wait_pixel(&t, 32, 32, 3, 3, 0x123456);
    x = fake_virgl_transfer(&v, VIRGL_GET);
    g_assert_cmpuint(x.x, ==, 4);
    g_assert_cmpuint(x.y, ==, 5);
    g_assert_cmpuint(x.w, ==, 5);
    g_assert_cmpuint(x.h, ==, 6);
    g_assert_cmpuint(x.stride, ==, 128);
    g_assert_cmpuint(x.data.offset, ==, 5 * 128 + 4 * 4);
    fake_virgl_complete(&v, v.token, 0, 20, 6);
    g_assert_true(guest_is_alive(&t.g));
    fake_virgl_die(&v);
    munmap(screen, 32 * 32 * 4);
    test_wait_lost(&t, 1);
    wait_pixel(&t, 32, 32, 3, 3, 0x123456);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    test_stop(&t);
}

/* A worker that is at once as fast as one can be. */
static void *complete_two(void *opaque)
{
    FakeVirgl *v = opaque;
    uint32_t screen;

    fake_virgl_take(v, VIRGL_GET);
    screen = v->token;
    while (fake_virgl_is_idle(v)) {
        /* the next is sent when all is ready for it */
    }
    fake_virgl_take(v, VIRGL_GET);
    fake_virgl_complete(v, screen, 0, 128, 32);
    fake_virgl_complete(v, v->token, 0, 16, 2);
    return NULL;
}

/* Who rings for a read waits for it a moment, and must not touch a display. */
static void completion_for_a_screen_is_left_to_the_main_loop(void)
{
    struct virtio_gpu_box box = { 0, 0, 0, 4, 2, 1 };
    uint32_t *screen;
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 32, 32);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 4096), ==, OK);
    g_assert_cmphex(show(&t, TEX, 32, 32), ==, OK);
    screen = fake_virgl_screen(&v, 32, 32);
    for (uint32_t i = 0; i < 20; i++) {
        GThread *thread = g_thread_new("worker", complete_two, &v);
        int place;

        if (i > 0) {
            g_assert_cmphex(flush(&t, TEX, 0, 0, 32, 32), ==, OK);
        }
        screen[0] = 0x10101 * i;
        place = guest_send_transfer(&t.g, FROM_HOST, 1, TEX, box, 0, 64,
                                    FENCED);
        g_assert_cmphex(guest_do(&t.g, place), ==, OK);
        wait_pixel(&t, 32, 32, 0, 0, 0x10101 * i);
        g_thread_join(thread);
    }
    munmap(screen, 32 * 32 * 4);
    test_stop_worker(&t, &v);
}

/* --- blobs --------------------------------------------------------------- */

/* 40 by 40 pixels in rows of 200 bytes from byte 96 on; its middle is shown. */
static struct virtio_gpu_set_scanout_blob a_picture(void)
{
    return (struct virtio_gpu_set_scanout_blob) {
        .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
        .r = { 8, 4, 32, 30 }, .resource_id = SOURCE,
        .width = 40, .height = 40, .format = 2, /* XRGB */
        .strides = { 200 }, .offsets = { 96 },
    };
}

static uint32_t show_blob(Test *t, const struct virtio_gpu_set_scanout_blob *c)
{
    return guest_call(&t->g, c, sizeof(*c));
}

/* Pixel (@x, @y) of a_picture(). */
static void paint(Test *t, uint32_t x, uint32_t y, uint32_t colour)
{
    qtest_memwrite(t->g.qts, guest_blob_at(96 + y * 200 + x * 4), &colour, 4);
}

static void screen_shows_a_blob_when_it_is_flushed(void)
{
    struct virtio_gpu_set_scanout_blob picture = a_picture();
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    guest_add_blob(&t.g, SOURCE);
    paint(&t, 8, 4, 0x112233);
    paint(&t, 39, 33, 0x445566);
    g_assert_cmphex(show_blob(&t, &picture), ==, OK);
    g_assert_cmphex(pixel(&t, 32, 30, 0, 0), ==, 0x112233);
    g_assert_cmphex(pixel(&t, 32, 30, 31, 29), ==, 0x445566);
    /* What is drawn is seen when it is flushed, and no more than that. */
    paint(&t, 20, 20, 0x778899);
    paint(&t, 22, 20, 0xaabbcc);
    g_assert_cmphex(pixel(&t, 32, 30, 12, 16), ==, 0);
    g_assert_cmphex(flush(&t, SOURCE, 20, 20, 1, 1), ==, OK);
    g_assert_cmphex(pixel(&t, 32, 30, 12, 16), ==, 0x778899);
    g_assert_cmphex(pixel(&t, 32, 30, 14, 16), ==, 0);
    g_assert_cmphex(flush(&t, SOURCE, 0, 0, UINT32_MAX, UINT32_MAX), ==, OK);
    g_assert_cmphex(pixel(&t, 32, 30, 14, 16), ==, 0xaabbcc);
    g_assert_cmphex(flush(&t, SOURCE, UINT32_MAX, 7, UINT32_MAX, 1), ==, OK);
    g_assert_true(fake_virgl_is_idle(&v));
    /* It needs no worker. */
    fake_virgl_die(&v);
    test_wait_lost(&t, 1);
    paint(&t, 8, 4, 0xddeeff);
    g_assert_cmphex(flush(&t, SOURCE, 8, 4, 1, 1), ==, OK);
    g_assert_cmphex(pixel(&t, 32, 30, 0, 0), ==, 0xddeeff);
    /* Nor does its end. */
    g_assert_cmphex(test_unref(&t, SOURCE), ==, OK);
    g_assert_cmphex(pixel(&t, 32, 30, 0, 0), ==, 0); /* QEMU's own picture */
    g_assert_cmphex(flush(&t, SOURCE, 8, 4, 1, 1), !=, OK);
    guest_add_blob(&t.g, SOURCE);
    g_assert_cmphex(show_blob(&t, &picture), ==, OK);
    picture.resource_id = 0;
    g_assert_cmphex(show_blob(&t, &picture), ==, OK);
    g_assert_cmphex(pixel(&t, 32, 30, 0, 0), ==, 0); /* QEMU's own picture */
    guest_drive(&t.g);
    test_stop(&t);
}

/* One head, by turns: a texture of the worker's, a blob, the kernel's own. */
static void screen_goes_from_a_blob_to_a_texture_and_back(void)
{
    struct virtio_gpu_set_scanout_blob picture = a_picture();
    uint32_t *screen;
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    guest_add_blob(&t.g, SOURCE);
    test_add_texture(&t, &v, TEX, 32, 30);
    paint(&t, 8, 4, 0x112233);
    for (int i = 0; i < 3; i++) {
        g_assert_cmphex(show_blob(&t, &picture), ==, OK);
        g_assert_cmphex(pixel(&t, 32, 30, 0, 0), ==, 0x112233);
        g_assert_cmphex(show(&t, TEX, 32, 30), ==, OK);
        if (i) {
            union proto_any m;

            fake_recv(v.sock, PROTO_BLOB_DESTROY, &m);
            g_assert_cmpuint(m.blob_destroy.blob, !=, 0);
        }
        screen = fake_virgl_screen(&v, 32, 30);
        fake_virgl_take(&v, VIRGL_GET);
        screen[0] = 0x654321 + i;
        fake_virgl_complete(&v, v.token, 0, 0, 0);
        wait_pixel(&t, 32, 30, 0, 0, 0x654321 + i);
        munmap(screen, 32 * 30 * 4);
    }
    test_stop_worker(&t, &v);
}

static void picture_that_is_not_in_its_blob_is_refused(void)
{
    static const struct {
        const char *what;
        size_t field;
        uint32_t value, answer;
    } wrong[] = {
#define FIELD(_field) offsetof(struct virtio_gpu_set_scanout_blob, _field)
        { "no such screen", FIELD(scanout_id), 1,
          VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID },
        { "no such blob", FIELD(resource_id), 77, NO_RESOURCE },
        { "a texture", FIELD(resource_id), TEX, BAD },
        { "no such format", FIELD(format), 0, BAD },
        { "rows that overlap", FIELD(strides[0]), 159, BAD },
        { "rows beyond it", FIELD(strides[0]), 204, BAD },
        { "rows far beyond it", FIELD(strides[0]), UINT32_MAX, BAD },
        { "one byte too late", FIELD(offsets[0]),
          BLOB_BYTES - 39 * 200 - 160 + 1, BAD },
        { "much too late", FIELD(offsets[0]), UINT32_MAX, BAD },
        { "too high", FIELD(height), UINT32_MAX, BAD },
        { "of no height", FIELD(height), 0, BAD },
        { "too wide", FIELD(width), UINT32_MAX, BAD },
        { "less than is shown", FIELD(width), 39, BAD },
        { "shown beyond it", FIELD(r.x), UINT32_MAX, BAD },
#undef FIELD
    };
    struct virtio_gpu_set_scanout_blob c;
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 40, 40);
    guest_add_blob(&t.g, SOURCE);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        g_test_message("%s", wrong[i].what);
        c = a_picture();
        memcpy((char *)&c + wrong[i].field, &wrong[i].value, 4);
        g_assert_cmphex(show_blob(&t, &c), ==, wrong[i].answer);
    }
    c = a_picture();
    c.strides[0] = c.height = UINT32_MAX;
    g_assert_cmphex(show_blob(&t, &c), ==, BAD);
    c = a_picture();
    c.offsets[0] = BLOB_BYTES - 39 * 200 - 160; /* to the last byte */
    g_assert_cmphex(show_blob(&t, &c), ==, OK);
    g_assert_cmphex(show(&t, SOURCE, 32, 32), ==, BAD); /* it has no format */
    test_stop_worker(&t, &v);
    /* One picture is all it may have. */
    test_start_virgl(&t, "max_hostmem=4096");
    g_assert_cmphex(guest_context_create(&t.g, 1, VIRGL_CAPSET_ID), ==, OK);
    guest_add_blob(&t.g, SOURCE);
    c = a_picture();
    g_assert_cmphex(show_blob(&t, &c), ==, OK);
    c.r.width = 31;
    g_assert_cmphex(show_blob(&t, &c), ==, OK); /* instead of the other */
    c.r.height = 36;
    g_assert_cmphex(show_blob(&t, &c), ==, NO_MEMORY);
    c = a_picture();
    g_assert_cmphex(show_blob(&t, &c), ==, OK);
    test_stop(&t);
}

const TestCase tests_virgl_screen[] = {
    TEST(screen_shows_what_the_worker_reads_and_keeps_it),
    TEST(completion_for_a_screen_is_left_to_the_main_loop),
    TEST(screen_shows_a_blob_when_it_is_flushed),
    TEST(screen_goes_from_a_blob_to_a_texture_and_back),
    TEST(picture_that_is_not_in_its_blob_is_refused),
    { NULL },
};
