/*
 * Displays: heads, EDID, 2D resources and the cursor. What they show is
 * virtio-gpu's own work; that nothing of it got lost, and that each command
 * refuses what it must, is for here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-test.h"

#define PIXELS  (64u << 20) /* guest memory, far from all else */
#define SIDE    32u         /* of a resource */
#define BGRX    VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM
#define CURSOR  64u
#define NO_HEAD VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID

static void start(Test *t, const char *properties)
{
    g_autofree char *type = g_strdup_printf("vgpu-remote%s", properties);

    test_start_with(t, type, NULL);
}

/* --- commands ------------------------------------------------------------ */

static uint32_t create(Test *t, uint32_t id, uint32_t format, uint32_t w,
                       uint32_t h)
{
    struct virtio_gpu_resource_create_2d c = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
        .resource_id = id, .format = format, .width = w, .height = h,
    };

    return guest_call(&t->g, &c, sizeof(c));
}

static uint32_t attach(Test *t, uint32_t id, uint64_t at, uint32_t size,
                       uint32_t entries)
{
    struct {
        struct virtio_gpu_resource_attach_backing c;
        struct virtio_gpu_mem_entry e;
    } c = {
        .c = {
            .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
            .resource_id = id, .nr_entries = entries,
        },
        .e = { at, size },
    };

    return guest_call(&t->g, &c, sizeof(c));
}

static uint32_t transfer(Test *t, uint32_t id, struct virtio_gpu_rect r)
{
    struct virtio_gpu_transfer_to_host_2d c = {
        .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
        .r = r, .resource_id = id,
    };

    return guest_call(&t->g, &c, sizeof(c));
}

/* Resource @id, all of one colour. Without its backing it cannot be shown. */
static void add_resource(Test *t, uint32_t id, uint32_t side, uint8_t value)
{
    struct virtio_gpu_rect r = { 0, 0, side, side };
    uint32_t size = side * side * 4;

    g_assert_cmphex(create(t, id, BGRX, side, side), ==, OK);
    qtest_memset(t->g.qts, PIXELS, value, size);
    g_assert_cmphex(attach(t, id, PIXELS, size, 1), ==, OK);
    g_assert_cmphex(transfer(t, id, r), ==, OK);
}

static const struct virtio_gpu_rect whole = { 0, 0, SIDE, SIDE };

/* --- heads --------------------------------------------------------------- */

static void displays(Test *t, struct virtio_gpu_resp_display_info *info)
{
    struct virtio_gpu_ctrl_hdr c = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
    int place = guest_send(&t->g, &c, sizeof(c), sizeof(*info));

    guest_kick(&t->g);
    g_assert_cmphex(guest_wait(&t->g, place, info, sizeof(*info)), ==,
                    VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
}

static void there_are_as_many_heads_as_asked_for(void)
{
    static const struct {
        const char *properties;
        uint32_t heads, w, h;
    } all[] = {
        { "", 1, 1280, 800 },
        { ",max_outputs=2,xres=1024,yres=768", 2, 1024, 768 },
        { ",max_outputs=16", 16, 1280, 800 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct virtio_gpu_resp_display_info info;
        Test t;

        start(&t, all[i].properties);
        g_assert_cmpuint(qvirtio_config_readl(
            &t.g.pci->vdev, offsetof(struct virtio_gpu_config, num_scanouts)),
            ==, all[i].heads);
        displays(&t, &info);
        g_assert_cmpuint(info.pmodes[0].r.width, ==, all[i].w);
        g_assert_cmpuint(info.pmodes[0].r.height, ==, all[i].h);
        for (int n = 0; n < VIRTIO_GPU_MAX_SCANOUTS; n++) {
            /* The others are plugged in by a display that asks for them. */
            g_assert_cmpuint(info.pmodes[n].enabled, ==, n == 0);
        }
        add_resource(&t, 1, SIDE, 0x40);
        g_assert_cmphex(guest_show(&t.g, all[i].heads - 1, 1, whole), ==, OK);
        g_assert_cmphex(guest_show(&t.g, all[i].heads, 1, whole), ==, NO_HEAD);
        g_assert_cmphex(guest_show(&t.g, UINT32_MAX, 1, whole), ==, NO_HEAD);
        test_stop(&t);
    }
}

/* The colour of the middle of @head, 0xrrggbb. */
static uint32_t colour(Test *t, uint32_t head)
{
    unsigned w, h;
    g_autofree uint8_t *all = test_screendump(t, head, &w, &h);
    const uint8_t *p = all + 3 * (w * (h / 2) + w / 2);

    return p[0] << 16 | p[1] << 8 | p[2];
}

static void each_head_shows_its_own(void)
{
    static const uint32_t heads[] = { 0, 7, 15 };
    Test t;

    start(&t, ",max_outputs=16");
    for (uint32_t i = 0; i < ARRAY_SIZE(heads); i++) {
        add_resource(&t, i + 1, SIDE, 0x11 * (i + 1));
        g_assert_cmphex(guest_show(&t.g, heads[i], i + 1, whole), ==, OK);
        g_assert_cmphex(guest_flush(&t.g, i + 1, whole), ==, OK);
    }
    for (uint32_t i = 0; i < ARRAY_SIZE(heads); i++) {
        g_assert_cmphex(colour(&t, heads[i]), ==, 0x111111 * (i + 1));
    }
    /* One that two show, and one that is gone. */
    g_assert_cmphex(guest_show(&t.g, 7, 1, whole), ==, OK);
    g_assert_cmphex(colour(&t, 7), ==, 0x111111);
    g_assert_cmphex(test_unref(&t, 3), ==, OK);
    g_assert_cmphex(colour(&t, 15), !=, 0x333333);
    g_assert_cmphex(guest_show(&t.g, 0, 0, whole), ==, OK);
    g_assert_cmphex(colour(&t, 0), !=, 0x111111);
    g_assert_cmphex(colour(&t, 7), ==, 0x111111);
    test_stop(&t);
}

/* --- EDID ---------------------------------------------------------------- */

/* A refusal has a header only. */
static uint32_t edid(Test *t, uint32_t head, struct virtio_gpu_resp_edid *e)
{
    struct virtio_gpu_cmd_get_edid c = {
        .hdr.type = VIRTIO_GPU_CMD_GET_EDID, .scanout = head,
    };
    int place = guest_send(&t->g, &c, sizeof(c), sizeof(*e));

    guest_kick(&t->g);
    return guest_wait(&t->g, place, e, head < 16 ? sizeof(*e) : 0);
}

static void every_head_has_an_edid(void)
{
    struct virtio_gpu_resp_edid e;
    Test t;

    start(&t, ",max_outputs=16,xres=1600,yres=1200");
    g_assert_true(t.g.features & 1 << VIRTIO_GPU_F_EDID);
    for (uint32_t head = 0; head < 16; head++) {
        uint8_t sum = 0;

        g_assert_cmphex(edid(&t, head, &e), ==, VIRTIO_GPU_RESP_OK_EDID);
        g_assert_cmpmem(e.edid, 8, "\0\xff\xff\xff\xff\xff\xff", 8);
        for (int i = 0; i < 128; i++) {
            sum += e.edid[i];
        }
        g_assert_cmpuint(sum, ==, 0);
        if (head == 0) { /* the first timing is what it prefers */
            g_assert_cmpuint(e.edid[56] | (e.edid[58] & 0xf0) << 4, ==, 1600);
            g_assert_cmpuint(e.edid[59] | (e.edid[61] & 0xf0) << 4, ==, 1200);
        }
    }
    g_assert_cmphex(edid(&t, 16, &e), ==, BAD);
    g_assert_cmphex(edid(&t, UINT32_MAX, &e), ==, BAD);
    test_stop(&t);
    start(&t, ",edid=off");
    g_assert_false(t.g.features & 1 << VIRTIO_GPU_F_EDID);
    test_stop(&t);
}

/* --- 2D resources -------------------------------------------------------- */

static void what_2d_cannot_do_is_refused(void)
{
    static const struct virtio_gpu_rect outside[] = {
        { 0, 0, SIDE + 1, SIDE }, { 0, 0, SIDE, SIDE + 1 }, { 1, 0, SIDE, SIDE },
        { 0, 1, SIDE, SIDE }, { SIDE + 1, 0, 0, 0 }, { 0, UINT32_MAX, 1, 1 },
        { UINT32_MAX, 0, 2, 1 }, { 1, 1, UINT32_MAX, UINT32_MAX },
    };
    uint32_t size = SIDE * SIDE * 4;
    Test t;

    start(&t, ",max_outputs=2,max_hostmem=1M");
    g_assert_cmphex(create(&t, 0, BGRX, SIDE, SIDE), ==, NO_RESOURCE);
    g_assert_cmphex(create(&t, 1, 0, SIDE, SIDE), ==, BAD);
    g_assert_cmphex(create(&t, 1, 999, SIDE, SIDE), ==, BAD);
    g_assert_cmphex(create(&t, 1, BGRX, 512, 1024), ==, NO_MEMORY);
    g_assert_cmphex(create(&t, 1, BGRX, UINT32_MAX, UINT32_MAX), ==, NO_MEMORY);
    g_assert_cmphex(create(&t, 1, BGRX, 0x10000, 0x10000), ==, NO_MEMORY);

    g_assert_cmphex(attach(&t, 1, PIXELS, size, 1), ==, NO_RESOURCE);
    g_assert_cmphex(guest_detach_backing(&t.g, 1), ==, NO_RESOURCE);
    g_assert_cmphex(transfer(&t, 1, whole), ==, NO_RESOURCE);
    g_assert_cmphex(guest_show(&t.g, 0, 1, whole), ==, NO_RESOURCE);
    g_assert_cmphex(guest_flush(&t.g, 1, whole), ==, NO_RESOURCE);
    g_assert_cmphex(test_unref(&t, 1), ==, NO_RESOURCE);

    g_assert_cmphex(create(&t, 1, BGRX, SIDE, SIDE), ==, OK);
    g_assert_cmphex(create(&t, 1, BGRX, SIDE, SIDE), ==, NO_RESOURCE);
    g_assert_cmphex(transfer(&t, 1, whole), !=, OK); /* there is no backing */
    g_assert_cmphex(guest_detach_backing(&t.g, 1), !=, OK);
    g_assert_cmphex(attach(&t, 1, PIXELS, size, 3), ==, UNSPEC); /* it has one */
    g_assert_cmphex(attach(&t, 1, PIXELS, size, 16385), ==, UNSPEC);
    g_assert_cmphex(attach(&t, 1, PIXELS, size, 1), ==, OK);
    g_assert_cmphex(attach(&t, 1, PIXELS, size, 1), ==, UNSPEC);
    for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
        g_test_message("rectangle %zu", i);
        g_assert_cmphex(transfer(&t, 1, outside[i]), ==, BAD);
        g_assert_cmphex(guest_flush(&t.g, 1, outside[i]), ==, BAD);
        g_assert_cmphex(guest_show(&t.g, 0, 1, outside[i]), ==, BAD);
    }
    g_assert_cmphex(guest_show(&t.g, 0, 1,
                               (struct virtio_gpu_rect) { 0, 0, 15, 16 }),
                    ==, BAD);
    /* What is shown may go, and what it took is there for the next. */
    for (int i = 0; i < 500; i++) {
        g_assert_cmphex(create(&t, 2, BGRX, 256, 512), ==, OK);
        g_assert_cmphex(attach(&t, 2, PIXELS, 256 * 512 * 4, 1), ==, OK);
        g_assert_cmphex(guest_show(&t.g, 1, 2, whole), ==, OK);
        g_assert_cmphex(test_unref(&t, 2), ==, OK);
    }
    test_stop(&t);
}

/* --- the cursor ---------------------------------------------------------- */

static void cursor(Test *t, uint32_t type, uint32_t head, uint32_t id)
{
    struct virtio_gpu_update_cursor c = {
        .hdr.type = type,
        .pos = { .scanout_id = head, .x = 5, .y = UINT32_MAX },
        .resource_id = id, .hot_x = 77, .hot_y = UINT32_MAX,
    };

    guest_cursor(&t->g, &c, sizeof(c));
}

static void cursor_commands_are_all_taken(void)
{
    static const uint32_t heads[] = { 0, 1, 2, 16, UINT32_MAX };
    uint8_t bytes[128] = { 0 };
    Test t;

    start(&t, ",max_outputs=2");
    add_resource(&t, 1, CURSOR, 0x55);
    add_resource(&t, 2, SIDE, 0x66); /* of a size that no cursor has */
    g_assert_cmphex(create(&t, 3, BGRX, CURSOR, CURSOR), ==, OK);
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        for (uint32_t id = 0; id < 5; id++) {
            cursor(&t, VIRTIO_GPU_CMD_UPDATE_CURSOR, heads[i], id);
            cursor(&t, VIRTIO_GPU_CMD_MOVE_CURSOR, heads[i], id);
        }
        cursor(&t, 0, heads[i], 1);
    }
    g_assert_cmphex(test_unref(&t, 1), ==, OK);
    cursor(&t, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 1);
    for (size_t n = 1; n <= sizeof(bytes); n++) {
        guest_cursor(&t.g, bytes, n);
    }
    test_stop(&t);
}

const TestCase tests_display[] = {
    TEST(there_are_as_many_heads_as_asked_for),
    TEST(each_head_shows_its_own),
    TEST(every_head_has_an_edid),
    TEST(what_2d_cannot_do_is_refused),
    TEST(cursor_commands_are_all_taken),
    { NULL },
};
