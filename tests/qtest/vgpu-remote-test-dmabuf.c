/*
 * Screens that show a worker's dmabuf: with a display that takes them (egl-headless), on a
 * kernel that makes them. $VGPU_TEST_CARD is the device that both use; scripts/host-vm has
 * one. The worker is this process, and lies; in the last tests it is the real one, beside
 * QEMU.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <libdrm/drm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "standard-headers/drm/drm_fourcc.h"
#include "vgpu-remote-fake-virgl.h"

#define OTHER   11 /* a resource id, beside TEX */
#define SIZE    64 /* pixels in a row, and rows, of both */
#define ROW     (4 * SIZE)
#define BYTES   (SIZE * ROW)
#define SCANOUT (1u << 18)

/* --- commands ------------------------------------------------------------ */

static struct virtio_gpu_resource_create_3d a_texture(uint32_t id)
{
    struct virtio_gpu_resource_create_3d c = guest_texture(id, SIZE, SIZE);

    c.bind |= SCANOUT;
    return c;
}

static uint32_t show_part(Test *t, uint32_t id, uint32_t x, uint32_t w, uint32_t h)
{
    return guest_show(&t->g, 0, id, (struct virtio_gpu_rect) { x, 0, w, h });
}

static uint32_t show(Test *t, uint32_t id)
{
    return show_part(t, id, 0, id ? SIZE : 0, id ? SIZE : 0);
}

static int send_flush(Test *t, uint32_t id, uint32_t x, uint32_t y, uint32_t flags)
{
    struct virtio_gpu_rect r = { x, y, 4, 4 };

    return guest_send_flush(&t->g, id, r, flags);
}

/* A screendump, of @w by @h pixels, 3 bytes each. The caller frees it. */
static uint8_t *dump(Test *t, unsigned w, unsigned h)
{
    unsigned ww, hh;
    uint8_t *all = test_screendump(t, 0, &ww, &hh);

    g_assert_cmpuint(ww, ==, w);
    g_assert_cmpuint(hh, ==, h);
    return all;
}

static uint32_t pixel(Test *t, uint32_t x, uint32_t y)
{
    uint8_t *all = dump(t, SIZE, SIZE), *p = all + 3 * (y * SIZE + x);
    uint32_t colour = p[0] << 16 | p[1] << 8 | p[2];

    g_free(all);
    return colour;
}

static void wait_pixel(Test *t, uint32_t x, uint32_t y, uint32_t want)
{
    gint64 limit = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

    while (pixel(t, x, y) != want) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(10000);
    }
}

/* --- a worker that is this process --------------------------------------- */

/* A dmabuf of the card's, with rows of ROW bytes. */
typedef struct Picture {
    int fd;
    uint32_t *pixels;
    uint64_t size;
} Picture;

static Picture make_picture(uint32_t rows)
{
    struct drm_mode_create_dumb make = { .width = SIZE, .height = rows, .bpp = 32 };
    struct drm_prime_handle out = { .flags = DRM_CLOEXEC | DRM_RDWR };
    Picture p = { .size = (uint64_t)rows * ROW };
    int card = open(getenv("VGPU_TEST_CARD"), O_RDWR | O_CLOEXEC);

    g_assert_cmpint(card, >=, 0);
    g_assert_cmpint(ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &make), ==, 0);
    g_assert_cmpuint(make.pitch, ==, ROW);
    out.handle = make.handle;
    g_assert_cmpint(ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &out), ==, 0);
    p.fd = out.fd;
    p.pixels = mmap(NULL, p.size, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
    g_assert(p.pixels != MAP_FAILED);
    close(card);
    return p;
}

static void free_picture(Picture *p)
{
    munmap(p->pixels, p->size);
    close(p->fd);
}

static void fill(Picture *p, uint32_t colour)
{
    for (uint64_t i = 0; i < p->size / 4; i++) {
        p->pixels[i] = colour;
    }
}

static char *display(void)
{
    return g_strdup_printf("-display egl-headless,rendernode=%s",
                           getenv("VGPU_TEST_CARD"));
}

static void start_with(Test *t, FakeVirgl *v, const char *properties)
{
    g_autofree char *more = display();

    fake_start(&t->f);
    test_start_virgl_with(t, properties, more);
    test_begin_worker(t, 1, v);
}

static void add_texture(Test *t, FakeVirgl *v, uint32_t id)
{
    struct virtio_gpu_resource_create_3d c = a_texture(id);

    test_add_resource(t, v, &c);
}

static void start(Test *t, FakeVirgl *v)
{
    start_with(t, v, "backend=auto");
    add_texture(t, v, TEX);
}

/* Take the question for @id's picture. Its answer has what is to be known of @p. */
static struct proto_exported take_question(FakeVirgl *v, uint32_t id)
{
    struct proto_exported e = {
        .type = PROTO_EXPORTED,
        .fourcc = DRM_FORMAT_XRGB8888,
        .stride = ROW,
        .modifier = DRM_FORMAT_MOD_INVALID,
    };

    fake_virgl_take(v, VIRGL_PICTURE);
    e.resource = wire_get_u32(&v->in);
    e.serial = wire_get_u32(&v->in);
    g_assert_true(wire_done(&v->in));
    g_assert_cmpuint(e.resource, ==, id);
    return e;
}

static void answer(FakeVirgl *v, const struct proto_exported *e, int fd)
{
    g_assert_cmpint(proto_send(v->sock, e, &fd, 1), ==, 0);
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

/* Show @id for the first time. */
static void show_first(Test *t, FakeVirgl *v, uint32_t id, Picture *p)
{
    struct proto_exported e;

    g_assert_cmphex(show(t, id), ==, OK);
    e = take_question(v, id);
    answer(v, &e, p->fd);
}

static void settle(FakeVirgl *v)
{
    fake_virgl_take(v, VIRGL_SETTLE);
    g_assert_true(wire_done(&v->in));
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

/* The worker is asked for memory, and to read all of the screen. */
static void expect_readback(FakeVirgl *v, uint32_t w, uint32_t h)
{
    uint32_t *screen = fake_virgl_screen(v, w, h);

    for (uint32_t i = 0; i < w * h; i++) {
        screen[i] = 0xabcdef;
    }
    munmap(screen, 4 * w * h);
    fake_virgl_take(v, VIRGL_GET);
    fake_virgl_complete(v, v->token, 0, 4 * w, h);
}

/* --- what is shown ------------------------------------------------------- */

static void picture_is_shown_without_a_readback(void)
{
    Picture p = make_picture(SIZE);
    FakeVirgl v;
    Test t;
    int place;

    start(&t, &v);
    fill(&p, 0x123456);
    show_first(&t, &v, TEX, &p);
    settle(&v);
    wait_pixel(&t, 3, 3, 0x123456);
    g_assert_cmphex(pixel(&t, SIZE - 1, SIZE - 1), ==, 0x123456);
    /* A flush with a fence is answered when it is seen. */
    place = send_flush(&t, TEX, 8, 9, FENCED);
    test_expect_held(&t, place);
    fake_virgl_take(&v, VIRGL_SETTLE);
    p.pixels[9 * SIZE + 8] = 0xff8000;
    test_expect_held(&t, place);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    g_assert_cmphex(pixel(&t, 8, 9), ==, 0xff8000);
    g_assert_cmphex(pixel(&t, 9, 8), ==, 0x123456);
    /* One without is not waited for, but shown as well. */
    g_assert_cmphex(guest_do(&t.g, send_flush(&t, TEX, 0, 0, 0)), ==, OK);
    p.pixels[0] = 0x0000ff;
    settle(&v);
    wait_pixel(&t, 0, 0, 0x0000ff);
    g_assert_true(fake_virgl_is_idle(&v));
    test_expect_status(&t, "\"read\": 0, \"shown\": 3");
    test_stop_worker(&t, &v);
    free_picture(&p);
}

static void flips_ask_once_and_gather(void)
{
    Picture one = make_picture(SIZE), two = make_picture(SIZE);
    int places[3];
    FakeVirgl v;
    Test t;

    start(&t, &v);
    add_texture(&t, &v, OTHER);
    fill(&one, 0x111111);
    fill(&two, 0x222222);
    show_first(&t, &v, TEX, &one);
    settle(&v);
    show_first(&t, &v, OTHER, &two);
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t id = i % 2 ? TEX : OTHER;

        g_assert_cmphex(show(&t, id), ==, OK);
        g_assert_cmphex(guest_do(&t.g, send_flush(&t, id, 0, 0, 0)), ==, OK);
        settle(&v);
        wait_pixel(&t, 5, 5, i % 2 ? 0x111111 : 0x222222);
    }
    /* One at a time; what is flushed meanwhile comes with the next, all at once. */
    for (int i = 0; i < 3; i++) {
        places[i] = send_flush(&t, TEX, 10 * i, 7, FENCED);
    }
    test_expect_held(&t, places[0]);
    fake_virgl_take(&v, VIRGL_SETTLE);
    g_assert_true(fake_virgl_is_idle(&v));
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, places[0]), ==, OK);
    test_expect_held(&t, places[1]);
    settle(&v);
    g_assert_cmphex(test_wait(&t, places[1]), ==, OK);
    g_assert_cmphex(test_wait(&t, places[2]), ==, OK);
    g_assert_true(fake_virgl_is_idle(&v));
    test_expect_status(&t, "\"read\": 0");
    test_stop_worker(&t, &v);
    free_picture(&one);
    free_picture(&two);
}

static void flush_before_the_answer_waits_for_the_picture(void)
{
    Picture p = make_picture(SIZE);
    struct proto_exported e;
    FakeVirgl v;
    Test t;
    int place;

    start(&t, &v);
    fill(&p, 0x445566);
    g_assert_cmphex(show(&t, TEX), ==, OK);
    place = send_flush(&t, TEX, 1, 1, FENCED);
    test_expect_held(&t, place);
    e = take_question(&v, TEX);
    g_assert_true(fake_virgl_is_idle(&v));
    answer(&v, &e, p.fd);
    fake_virgl_take(&v, VIRGL_SETTLE);
    test_expect_held(&t, place);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    g_assert_cmphex(pixel(&t, 40, 40), ==, 0x445566);
    test_stop_worker(&t, &v);
    free_picture(&p);
}

/* --- what is not --------------------------------------------------------- */

static void picture_that_cannot_be_is_read_back(void)
{
    static const struct {
        uint32_t fourcc, stride;
        bool small, memfd, none;
    } lies[] = {
        { .fourcc = DRM_FORMAT_NV12, .stride = ROW },
        { .fourcc = DRM_FORMAT_XRGB8888, .stride = ROW - 4 },
        { .fourcc = DRM_FORMAT_XRGB8888, .stride = ROW + 2 },
        { .fourcc = DRM_FORMAT_XRGB8888, .stride = 0xfffffffc },
        { .fourcc = DRM_FORMAT_XRGB8888, .stride = ROW, .small = true },
        { .fourcc = DRM_FORMAT_XRGB8888, .stride = ROW, .memfd = true },
        { .fourcc = DRM_FORMAT_XRGB8888, .stride = ROW, .none = true },
    };
    Picture p = make_picture(SIZE), small = make_picture(SIZE / 2);
    int memfd = fake_memfd(BYTES, true);
    unsigned fds = 0;
    gint64 limit;
    FakeVirgl v;
    Test t;

    start_with(&t, &v, "backend=auto");
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        struct proto_exported e;

        add_texture(&t, &v, TEX);
        g_assert_cmphex(show(&t, TEX), ==, OK);
        e = take_question(&v, TEX);
        e.fourcc = lies[i].fourcc;
        e.stride = lies[i].stride;
        if (lies[i].none) {
            fake_virgl_complete(&v, v.token, 0, 0, 0);
        } else {
            answer(&v, &e, lies[i].small ? small.fd : lies[i].memfd ? memfd : p.fd);
        }
        if (i == 0) {
            expect_readback(&v, SIZE, SIZE);
        } else { /* into the same memory */
            fake_virgl_take(&v, VIRGL_GET);
            fake_virgl_complete(&v, v.token, 0, 0, 0);
        }
        wait_pixel(&t, 1, 1, 0xabcdef);
        /* It was asked for, and is not again. */
        g_assert_cmphex(show(&t, TEX), ==, OK);
        g_assert_true(fake_virgl_is_idle(&v));
        g_assert_cmphex(show(&t, 0), ==, OK);
        g_assert_cmphex(test_unref(&t, TEX), ==, OK);
        fake_virgl_take(&v, VIRGL_RESOURCE_UNREF);
        /* Like this: what a console shows that is off has a file, too. */
        fds = i == 0 ? test_fds(&t.g) : fds;
        g_assert_cmpuint(test_fds(&t.g), <=, fds);
        /* What comes too late is nobody's. */
        if (lies[i].none) {
            g_assert_cmpint(proto_send(v.sock, &e, &p.fd, 1), ==, 0);
        }
    }
    limit = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    while (test_fds(&t.g) > fds) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(10000);
    }
    test_expect_status(&t, "\"shown\": 0");
    test_stop_worker(&t, &v);
    free_picture(&p);
    free_picture(&small);
    close(memfd);
}

static void worker_that_has_no_picture_reads(void)
{
    FakeVirgl v;
    Test t;
    int place;

    start(&t, &v);
    g_assert_cmphex(show(&t, TEX), ==, OK);
    place = send_flush(&t, TEX, 1, 1, FENCED);
    test_expect_held(&t, place);
    take_question(&v, TEX);
    fake_virgl_complete(&v, v.token, ENOTSUP, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    expect_readback(&v, SIZE, SIZE);
    wait_pixel(&t, 2, 2, 0xabcdef);
    test_expect_status(&t, "\"read\": 1, \"shown\": 0");
    test_stop_worker(&t, &v);
}

static void display_that_cannot_import_is_not_asked_again(void)
{
    Picture p = make_picture(SIZE);
    struct proto_exported e;
    FakeVirgl v;
    Test t;

    start(&t, &v);
    add_texture(&t, &v, OTHER);
    g_assert_cmphex(show(&t, TEX), ==, OK);
    e = take_question(&v, TEX);
    e.modifier = I915_FORMAT_MOD_Y_TILED;
    answer(&v, &e, p.fd);
    expect_readback(&v, SIZE, SIZE);
    wait_pixel(&t, 2, 2, 0xabcdef);
    g_assert_cmphex(show(&t, OTHER), ==, OK);
    g_assert_cmphex(guest_do(&t.g, send_flush(&t, OTHER, 0, 0, 0)), ==, OK);
    fake_virgl_take(&v, VIRGL_GET);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    test_stop_worker(&t, &v);
    free_picture(&p);
}

static void part_is_read_back_and_the_whole_is_not(void)
{
    Picture p = make_picture(SIZE);
    FakeVirgl v;
    Test t;

    start(&t, &v);
    fill(&p, 0x778899);
    g_assert_cmphex(show_part(&t, TEX, 8, SIZE - 8, SIZE), ==, OK);
    expect_readback(&v, SIZE - 8, SIZE);
    show_first(&t, &v, TEX, &p);
    settle(&v);
    wait_pixel(&t, 2, 2, 0x778899);
    /* Its upper left corner is shown as it is; and again all. */
    g_assert_cmphex(show_part(&t, TEX, 0, SIZE / 2, SIZE / 2), ==, OK);
    settle(&v);
    g_assert_true(guest_is_alive(&t.g));
    g_free(dump(&t, SIZE / 2, SIZE / 2));
    g_assert_cmphex(show(&t, TEX), ==, OK);
    settle(&v);
    wait_pixel(&t, SIZE - 1, SIZE - 1, 0x778899);
    test_expect_status(&t, "\"shown\": 3");
    test_stop_worker(&t, &v);
    free_picture(&p);
}

static void switched_off_all_is_read_back(void)
{
    FakeVirgl v;
    Test t;

    start_with(&t, &v, "backend=auto,dmabuf=off");
    add_texture(&t, &v, TEX);
    g_assert_cmphex(show(&t, TEX), ==, OK);
    expect_readback(&v, SIZE, SIZE);
    wait_pixel(&t, 1, 1, 0xabcdef);
    test_stop_worker(&t, &v);
}

/* --- the end ------------------------------------------------------------- */

static void picture_stays_when_its_worker_dies(void)
{
    Picture p = make_picture(SIZE);
    FakeVirgl v, w;
    Test t;
    int place;

    start(&t, &v);
    fill(&p, 0x335577);
    show_first(&t, &v, TEX, &p);
    settle(&v);
    wait_pixel(&t, 1, 1, 0x335577);
    place = send_flush(&t, TEX, 1, 1, FENCED);
    test_expect_held(&t, place);
    fake_virgl_die(&v);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    g_assert_cmphex(pixel(&t, 1, 1), ==, 0x335577);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    g_assert_cmphex(pixel(&t, 1, 1), ==, 0x335577);
    /* The next worker's takes its place. */
    g_assert_cmphex(guest_context_create(&t.g, 2, VIRGL_CAPSET_ID), ==, OK);
    fake_virgl(&t.f, &w);
    add_texture(&t, &w, OTHER);
    fill(&p, 0x775533);
    show_first(&t, &w, OTHER, &p);
    settle(&w);
    wait_pixel(&t, 1, 1, 0x775533);
    test_stop_worker(&t, &w);
    free_picture(&p);
}

static void nothing_is_left_of_pictures(void)
{
    Picture p = make_picture(SIZE);
    unsigned fds = 0;
    FakeVirgl v;
    Test t;

    start_with(&t, &v, "backend=auto");
    for (int i = 0; i < 3; i++) {
        add_texture(&t, &v, TEX);
        show_first(&t, &v, TEX, &p);
        fake_virgl_take(&v, VIRGL_SETTLE); /* in flight all the while */
        send_flush(&t, TEX, 1, 1, FENCED);
        guest_kick(&t.g);
        g_assert_true(guest_is_alive(&t.g));
        guest_drive(&t.g); /* resets it */
        g_assert_true(fake_is_closed(v.sock));
        fake_virgl_die(&v);
        g_assert_true(guest_is_alive(&t.g));
        if (i == 0) {
            fds = test_fds(&t.g);
        }
        g_assert_cmpuint(test_fds(&t.g), <=, fds);
        test_begin_worker(&t, 1, &v);
    }
    test_stop_worker(&t, &v);
    free_picture(&p);
}

static void device_is_unplugged_while_it_shows_a_picture(void)
{
    Picture p = make_picture(SIZE);
    FakeVirgl v;
    Test t;

    start(&t, &v);
    show_first(&t, &v, TEX, &p);
    settle(&v);
    wait_pixel(&t, 1, 1, 0);
    test_unplug_virgl(&t, &v);
    guest_stop(&t.g);
    fake_stop(&t.f);
    free_picture(&p);
}

/* --- the real worker ----------------------------------------------------- */

#define ORANGE 0xff3300
#define BLUE   0x0000ff

static uint32_t float_bits(uint32_t byte)
{
    float value = byte / 255.0f;
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* All of @id is @colour, when this returns. */
static void draw(Test *t, uint32_t id, uint32_t colour)
{
    const uint32_t stream[] = {
        5 << 16 | 8 << 8 | 1, id, id, 2, 0, 0, /* a surface, with the resource's id */
        3 << 16 | 5, 1, 0, id,                 /* is what is drawn to */
        8 << 16 | 7, 4,                        /* and cleared */
        float_bits(colour >> 16), float_bits(colour >> 8 & 255),
        float_bits(colour & 255), float_bits(255), 0, 0x3ff00000, 0,
    };

    g_assert_cmphex(guest_do(&t->g, guest_send_words(&t->g, 1, stream,
                                                     ARRAY_SIZE(stream), 9)),
                    ==, OK);
}

static void add_drawn(Test *t, uint32_t id, uint32_t colour)
{
    struct virtio_gpu_resource_create_3d c = a_texture(id);

    g_assert_cmphex(guest_context_create(&t->g, 1, VIRGL_CAPSET_ID), ==, OK);
    g_assert_cmphex(guest_call(&t->g, &c, sizeof(c)), ==, OK);
    g_assert_cmphex(guest_attach(&t->g, 1, id), ==, OK);
    draw(t, id, colour);
}

/* 16 by 8 pixels of other colours, from (8, 4) on. */
static void upload(Test *t, uint32_t id)
{
    struct virtio_gpu_box box = { 8, 4, 0, 16, 8, 1 };
    int put = guest_send_transfer(&t->g, TO_HOST, 1, id, box, 0, 64, 0);

    g_assert_cmphex(guest_do(&t->g, put), ==, OK);
}

static void add_pixels(Test *t, uint32_t id)
{
    static const struct virtio_gpu_mem_entry page = { PAGES, PAGE };
    uint32_t pixels[16 * 8];

    for (uint32_t i = 0; i < ARRAY_SIZE(pixels); i++) {
        pixels[i] = 0x10000 * i + 0x55;
    }
    qtest_memwrite(t->g.qts, PAGES, pixels, sizeof(pixels));
    g_assert_cmphex(guest_attach_backing(&t->g, id, &page, 1), ==, OK);
}

static void expect_drawn(Test *t)
{
    g_autofree uint8_t *all = dump(t, SIZE, SIZE);

    for (uint32_t y = 0; y < SIZE; y++) {
        for (uint32_t x = 0; x < SIZE; x++) {
            const uint8_t *p = all + 3 * (y * SIZE + x);
            bool in = x >= 8 && x < 24 && y >= 4 && y < 12;
            uint32_t want = in ? 0x10000 * ((y - 4) * 16 + x - 8) + 0x55 : ORANGE;

            g_assert_cmphex(p[0] << 16 | p[1] << 8 | p[2], ==, want);
        }
    }
}

static void start_real(Test *t)
{
    g_autofree char *more = display();
    g_autofree char *device = g_strdup_printf("vgpu-remote,rendernode=%s",
                                              getenv("VGPU_TEST_CARD"));

    guest_start(&t->g, device, more);
    guest_drive(&t->g);
}

static void what_the_worker_draws_is_shown_and_stays(void)
{
    pid_t worker;
    gint64 limit;
    Test t;

    start_real(&t);
    add_drawn(&t, TEX, ORANGE);
    add_pixels(&t, TEX);
    upload(&t, TEX);
    g_assert_cmphex(show(&t, TEX), ==, OK);
    g_assert_cmphex(guest_do(&t.g, send_flush(&t, TEX, 0, 0, FENCED)), ==, OK);
    expect_drawn(&t);
    test_expect_status(&t, "\"read\": 0, ");
    /* What is drawn into it is seen when it is flushed. */
    draw(&t, TEX, BLUE);
    g_assert_cmphex(guest_do(&t.g, send_flush(&t, TEX, 0, 0, FENCED)), ==, OK);
    g_assert_cmphex(pixel(&t, 8, 4), ==, BLUE);
    draw(&t, TEX, ORANGE);
    upload(&t, TEX);
    g_assert_cmphex(guest_do(&t.g, send_flush(&t, TEX, 0, 0, FENCED)), ==, OK);
    expect_drawn(&t);
    test_expect_status(&t, "\"read\": 0, ");
    g_assert_cmpuint(test_workers(&worker), ==, 1);
    g_assert_cmpint(kill(worker, SIGKILL), ==, 0);
    limit = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    for (;;) {
        g_autofree char *status = test_status(&t);

        if (strstr(status, "\"worker\": \"off\"")) {
            break;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(10000);
    }
    expect_drawn(&t);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    expect_drawn(&t);
    /* And on with the next worker. */
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    add_drawn(&t, OTHER, BLUE);
    g_assert_cmphex(show(&t, OTHER), ==, OK);
    g_assert_cmphex(guest_do(&t.g, send_flush(&t, OTHER, 0, 0, FENCED)), ==, OK);
    g_assert_cmphex(pixel(&t, 1, 1), ==, BLUE);
    test_expect_status(&t, "\"read\": 0");
    g_assert_true(guest_is_alive(&t.g));
    guest_stop(&t.g);
}

const TestCase tests_dmabuf[] = {
    TEST(picture_is_shown_without_a_readback),
    TEST(flips_ask_once_and_gather),
    TEST(flush_before_the_answer_waits_for_the_picture),
    TEST(picture_that_cannot_be_is_read_back),
    TEST(worker_that_has_no_picture_reads),
    TEST(display_that_cannot_import_is_not_asked_again),
    TEST(part_is_read_back_and_the_whole_is_not),
    TEST(switched_off_all_is_read_back),
    TEST(picture_stays_when_its_worker_dies),
    TEST(nothing_is_left_of_pictures),
    TEST(device_is_unplugged_while_it_shows_a_picture),
    TEST(what_the_worker_draws_is_shown_and_stays),
    { NULL, NULL },
};
