/*
 * The emulated GPU: commands become messages, completions become answers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "vgpu-remote-fake-virgl.h"

/* --- what is offered ----------------------------------------------------- */

static void auto_offers_both_and_emulation_virgl_alone(void)
{
    Test t;

    test_start_virgl(&t, "backend=auto");
    g_assert_cmpuint(test_capset_at(&t, 0, NULL), ==, VGPU_CAPSET_ID);
    g_assert_cmpuint(test_capset_at(&t, 1, NULL), ==, VIRGL_CAPSET_ID);
    g_assert_cmpuint(test_capset_at(&t, 2, NULL), ==, 0);
    test_stop(&t);
    test_start_virgl(&t, "backend=emulation");
    g_assert_cmpuint(test_capset_at(&t, 0, NULL), ==, VIRGL_CAPSET_ID);
    g_assert_cmpuint(test_capset_at(&t, 1, NULL), ==, 0);
    g_assert_true(t.g.features & 1 << VIRTIO_GPU_F_VIRGL);
    g_assert_cmphex(guest_context_create(&t.g, 1, VGPU_CAPSET_ID), ==, BAD);
    test_stop(&t);
}

static void set_backend(Test *t, const char *value)
{
    qtest_qmp_assert_success(t->g.qts, "{'execute': 'qom-set', 'arguments': "
                             "{'path': '/machine/peripheral/gpu', "
                             "'property': 'backend', 'value': %s}}", value);
}

static void switch_is_for_new_contexts(void)
{
    FakeContext c, d;
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    test_add_context(&t, 2, &c);
    set_backend(&t, "remote");
    g_assert_cmphex(guest_context_create(&t.g, 3, VIRGL_CAPSET_ID), ==, BAD);
    g_assert_cmphex(guest_submit(&t.g, 1, 4), ==, OK);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    test_add_texture(&t, &v, TEX, 16, 16);
    g_assert_cmphex(guest_context_create(&t.g, 3, VGPU_CAPSET_ID), ==, OK);
    fake_context(&t.f, &d);
    set_backend(&t, "emulation");
    g_assert_cmphex(guest_context_create(&t.g, 4, VGPU_CAPSET_ID), ==, BAD);
    test_add_virgl_context(&t, 5, &v);
    g_assert_cmphex(guest_do(&t.g, guest_send_wait(&t.g, 2, 1, 0, 9)), ==, OK);
    set_backend(&t, "auto");
    g_assert_cmphex(guest_context_create(&t.g, 4, VIRGL_CAPSET_ID), ==, OK);
    test_stop_worker(&t, &v);
    fake_context_die(&c);
    fake_context_die(&d);
}

static void switch_to_what_was_not_offered_is_refused(void)
{
    g_autofree char *said = NULL;
    Test t;

    test_start_virgl(&t, "backend=emulation");
    said = qtest_hmp(t.g.qts, "qom-set /machine/peripheral/gpu backend remote");
    g_assert_nonnull(strstr(said, "start it with backend=auto"));
    test_stop(&t);
}

/* --- submissions --------------------------------------------------------- */

/* A console makes contexts, and must not cost a worker. */
static void context_is_begun_when_it_is_used(void)
{
    FakeVirgl v;
    Test t;

    test_start_virgl(&t, "backend=auto");
    g_assert_cmphex(guest_context_create(&t.g, 7, 0), ==, OK);
    g_assert_cmphex(guest_context_create(&t.g, 8, 0), ==, OK);
    g_assert_false(fake_has_context(&t.f));
    guest_kick(&t.g);
    guest_send_submit(&t.g, 7, 4, FENCED, 0, 1);
    guest_kick(&t.g);
    fake_virgl(&t.f, &v);
    fake_virgl_take(&v, VIRGL_CONTEXT_CREATE);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    /* What was attached before comes along. */
    test_add_texture(&t, &v, TEX, 16, 16);
    g_assert_cmphex(guest_attach(&t.g, 8, TEX), ==, OK);
    g_assert_true(fake_virgl_is_idle(&v));
    g_assert_cmphex(guest_submit(&t.g, 8, 4), ==, OK);
    fake_virgl_take(&v, VIRGL_CONTEXT_CREATE);
    fake_virgl_take(&v, VIRGL_ATTACH);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 8);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, TEX);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    test_stop_worker(&t, &v);
}

static void submission_arrives_as_it_was(void)
{
    const uint8_t *bytes;
    FakeVirgl v;
    int place;
    Test t;

    test_start_worker(&t, &v);
    place = guest_send_submit(&t.g, 1, 200, FENCED, 0, 1);
    test_expect_held(&t, place);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 1);
    g_assert_cmpuint(wire_get_u32(&v.in), ==, 200);
    bytes = wire_get_bytes(&v.in, 200);
    g_assert_true(wire_done(&v.in));
    for (int i = 0; i < 200; i++) {
        g_assert_cmpuint(bytes[i], ==, i);
    }
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    place = guest_send_submit(&t.g, 1, 8, FENCED, 0, 2);
    guest_kick(&t.g);
    fake_virgl_take(&v, VIRGL_SUBMIT);
    fake_virgl_complete(&v, v.token, EINVAL, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    test_stop_worker(&t, &v);
}

/* --- copies -------------------------------------------------------------- */

#define COPY (1 + VIRGL_STREAM_COPY_WORDS)

/* Of SOURCE, four bytes at @offset, to pixel @x of the first row of TEX. */
static void put_copy(uint32_t *w, uint32_t x, uint32_t offset, uint32_t flags)
{
    const uint32_t words[COPY] = {
        VIRGL_STREAM_COPY_WORDS << 16 | VIRGL_STREAM_COPY,
        TEX, 0, 0, 4, 4, x, 0, 0, 1, 1, 1, SOURCE, offset, flags,
    };

    memcpy(w, words, sizeof(words));
}

/* Context 1 with TEX, and SOURCE which is attached to it. */
static void start_copies(Test *t, FakeVirgl *v)
{
    struct virtio_gpu_resource_create_3d source = guest_staging(SOURCE, 4096);

    test_start_worker(t, v);
    test_add_texture(t, v, TEX, 64, 16);
    test_add_resource(t, v, &source);
    g_assert_cmphex(guest_attach_halves(&t->g, SOURCE, 4096), ==, OK);
    g_assert_cmphex(guest_attach(&t->g, 1, SOURCE), ==, OK);
    fake_virgl_take(v, VIRGL_ATTACH);
    guest_fill_pages(&t->g, 4096, 0);
}

static void take_copy(FakeVirgl *v, uint32_t x, uint32_t offset)
{
    struct virgl_transfer t = fake_virgl_transfer(v, VIRGL_COPY);

    g_assert_cmpuint(t.context, ==, 1);
    g_assert_cmpuint(t.resource, ==, TEX);
    g_assert_cmpuint(t.x, ==, x);
    g_assert_cmpuint(t.data.size, ==, 4);
    for (uint32_t i = 0; i < 4; i++) { /* the first half of the pages is last */
        g_assert_cmpuint(v->staging[t.data.offset + i], ==,
                         (uint8_t)(offset + 2048 + i));
    }
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

static void take_words(FakeVirgl *v, uint32_t n, uint32_t second)
{
    const uint32_t *w;

    fake_virgl_take(v, VIRGL_SUBMIT);
    g_assert_cmpuint(wire_get_u32(&v->in), ==, 1);
    g_assert_cmpuint(wire_get_u32(&v->in), ==, 4 * n);
    w = wire_get_bytes(&v->in, 4 * n);
    g_assert_true(wire_done(&v->in));
    g_assert_cmpuint(n ? w[1] : 0, ==, second);
}

static void copies_keep_their_place_in_a_submission(void)
{
    uint32_t w[2 + COPY + COPY + 2 + 2 + COPY + 1] = { 1 << 16 | 99, 71 };
    FakeVirgl v;
    int place;
    Test t;

    start_copies(&t, &v);
    put_copy(w + 2, 1, 1000, 1);
    put_copy(w + 2 + COPY, 2, 2046, 1);
    w[2 + 2 * COPY] = w[4 + 2 * COPY] = 1 << 16 | 98;
    w[3 + 2 * COPY] = 72;
    put_copy(w + 6 + 2 * COPY, 3, 8, 1);
    w[6 + 3 * COPY] = 1000 << 16 | 97; /* it says that it is longer than all */
    place = guest_send_words(&t.g, 1, w, ARRAY_SIZE(w), 1);
    test_expect_held(&t, place);
    take_words(&v, 2, 71);
    g_assert_cmpuint(v.token, ==, 0);
    take_copy(&v, 1, 1000);
    take_copy(&v, 2, 2046);
    take_words(&v, 4, 72);
    take_copy(&v, 3, 8);
    take_words(&v, 1, 0);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    /* Nothing behind it: the fence is a submission of its own. */
    place = guest_send_words(&t.g, 1, w + 2, COPY, 1);
    guest_kick(&t.g);
    take_copy(&v, 1, 1000);
    take_words(&v, 0, 0);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    /* One that is cut off is the worker's affair. */
    place = guest_send_words(&t.g, 1, w + 2, COPY - 1, 1);
    guest_kick(&t.g);
    take_words(&v, COPY - 1, TEX);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    test_stop_worker(&t, &v);
}

static uint32_t try_copy(Test *t, uint32_t ctx, uint32_t offset, uint32_t flags)
{
    uint32_t w[COPY];

    put_copy(w, 1, offset, flags);
    return guest_do(&t->g, guest_send_words(&t->g, ctx, w, COPY, 1));
}

/* What a program's context was not given stays another's. */
static void copy_from_another_contexts_pages_is_refused(void)
{
    FakeVirgl v;
    Test t;

    start_copies(&t, &v);
    test_add_virgl_context(&t, 2, &v);
    g_assert_cmphex(try_copy(&t, 2, 0, 1), ==, NO_RESOURCE);
    g_assert_cmphex(try_copy(&t, 1, 4093, 1), ==, BAD); /* beyond its end */
    g_assert_cmphex(try_copy(&t, 1, 0, 3), ==, BAD); /* the other way */
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    fake_virgl_take(&v, VIRGL_CONTEXT_DESTROY);
    test_add_virgl_context(&t, 1, &v); /* the same number, another program */
    g_assert_cmphex(try_copy(&t, 1, 0, 1), ==, NO_RESOURCE);
    g_assert_cmphex(guest_attach(&t.g, 1, SOURCE), ==, OK);
    fake_virgl_take(&v, VIRGL_ATTACH);
    g_assert_cmphex(guest_detach(&t.g, 1, SOURCE), ==, OK);
    fake_virgl_take(&v, VIRGL_DETACH);
    g_assert_cmphex(try_copy(&t, 1, 0, 1), ==, NO_RESOURCE);
    g_assert_true(fake_virgl_is_idle(&v));
    test_stop_worker(&t, &v);
}

static void blob_is_copied_from_by_submissions(void)
{
    GuestBlob shorter = guest_blob(SOURCE); /* than its pages */
    struct virgl_transfer x;
    uint32_t w[COPY];
    FakeVirgl v;
    int place;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 64, 16);
    shorter.c.size = BLOB_BYTES - 8;
    g_assert_cmphex(guest_create_blob(&t.g, &shorter), ==, OK);
    g_assert_cmphex(try_copy(&t, 1, 0, 1), ==, NO_RESOURCE); /* not attached */
    g_assert_cmphex(guest_attach(&t.g, 1, SOURCE), ==, OK);
    qtest_memwrite(t.g.qts, guest_blob_at(100), "abcd", 4);
    put_copy(w, 1, 100, 1);
    place = guest_send_words(&t.g, 1, w, COPY, 1);
    guest_kick(&t.g);
    x = fake_virgl_transfer(&v, VIRGL_COPY);
    g_assert_cmpuint(x.resource, ==, TEX);
    g_assert_cmpmem(v.staging + x.data.offset, x.data.size, "abcd", 4);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    take_words(&v, 0, 0);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    g_assert_cmphex(try_copy(&t, 1, BLOB_BYTES - 11, 1), ==, BAD);
    test_stop_worker(&t, &v);
}

/* What went before the queue had to wait is not sent again. */
static void long_submission_goes_on_where_it_was(void)
{
    enum { BEFORE = VIRGL_DONE_ENTRIES - 5, COPIES = 60 };
    uint32_t w[COPIES * COPY], token[BEFORE];
    int place[BEFORE], last;
    FakeVirgl v;
    Test t;

    start_copies(&t, &v);
    for (int i = 0; i < BEFORE; i++) {
        place[i] = guest_send_submit(&t.g, 1, 4, FENCED, 0, i + 1);
    }
    guest_kick(&t.g);
    for (int i = 0; i < BEFORE; i++) {
        fake_virgl_take(&v, VIRGL_SUBMIT);
        token[i] = v.token;
    }
    for (uint32_t i = 0; i < COPIES; i++) {
        put_copy(w + i * COPY, i, 4 * i, 1);
    }
    last = guest_send_words(&t.g, 1, w, ARRAY_SIZE(w), 1);
    guest_kick(&t.g);
    for (uint32_t i = 0; i < 5; i++) {
        take_copy(&v, i, 4 * i);
    }
    for (int i = 0; i < BEFORE; i++) {
        fake_virgl_complete(&v, token[i], 0, 0, 0);
        g_assert_cmphex(test_wait(&t, place[i]), ==, OK);
    }
    for (uint32_t i = 5; i < COPIES; i++) {
        take_copy(&v, i, 4 * i);
    }
    take_words(&v, 0, 0);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, last), ==, OK);
    test_stop_worker(&t, &v);
}

/* --- fences -------------------------------------------------------------- */

static void answers_keep_the_order_of_their_timeline(void)
{
    struct virtio_gpu_resource_create_3d c = guest_texture(TEX, 16, 16);
    uint32_t token[3];
    int place[3], create_3d;
    FakeVirgl v;
    Test t;

    c.hdr.flags = FENCED;
    c.hdr.fence_id = 4;
    test_start_worker(&t, &v);
    test_add_virgl_context(&t, 2, &v);
    place[0] = guest_send_submit(&t.g, 1, 4, FENCED, 0, 1);
    place[1] = guest_send_submit(&t.g, 2, 4, FENCED, 0, 2);
    place[2] = guest_send_submit(&t.g, 2, 4, ON_RING, 0, 3);
    create_3d = guest_send(&t.g, &c, sizeof(c), GUEST_ANSWER);
    test_expect_held(&t, create_3d);
    for (int i = 0; i < 3; i++) {
        fake_virgl_take(&v, VIRGL_SUBMIT);
        token[i] = v.token;
    }
    fake_virgl_complete(&v, token[1], 0, 0, 0);
    fake_virgl_complete(&v, token[2], 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place[2]), ==, OK); /* a timeline of its own */
    g_assert_true(guest_is_alive(&t.g));
    g_assert_false(guest_is_answered(&t.g, place[1]));
    g_assert_false(guest_is_answered(&t.g, create_3d));
    fake_virgl_complete(&v, token[0], 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place[0]), ==, OK);
    g_assert_cmphex(test_wait(&t, place[1]), ==, OK);
    g_assert_cmphex(test_wait(&t, create_3d), ==, OK);
    test_stop_worker(&t, &v);
}

/* More tokens than there are: the queue waits, and goes on. */
static void queue_waits_for_tokens(void)
{
    enum { MANY = VIRGL_DONE_ENTRIES + 20 };
    int place[MANY];
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    for (int i = 0; i < MANY; i++) {
        place[i] = guest_send_submit(&t.g, 1, 4, FENCED, 0, i + 1);
    }
    guest_kick(&t.g);
    for (int i = 0; i < MANY; i++) {
        fake_virgl_take(&v, VIRGL_SUBMIT);
        fake_virgl_complete(&v, v.token, 0, 0, 0);
    }
    for (int i = 0; i < MANY; i++) {
        g_assert_cmphex(test_wait(&t, place[i]), ==, OK);
    }
    test_stop_worker(&t, &v);
}

/* --- refusals ------------------------------------------------------------ */

static uint32_t transfer(Test *t, uint32_t type, uint32_t ctx, uint32_t id,
                         uint64_t offset)
{
    struct virtio_gpu_box box = { 0, 0, 0, 4, 2, 1 };

    return guest_do(&t->g, guest_send_transfer(&t->g, type, ctx, id, box, offset,
                                               64, 0));
}

static void what_makes_no_sense_is_refused(void)
{
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    g_assert_cmphex(guest_create_texture(&t.g, 0, 16, 16), ==, NO_RESOURCE);
    test_add_texture(&t, &v, TEX, 16, 16);
    g_assert_cmphex(guest_create_texture(&t.g, TEX, 16, 16), ==, NO_RESOURCE);
    g_assert_cmphex(guest_attach(&t.g, 1, TEX + 1), ==, NO_RESOURCE);
    g_assert_cmphex(guest_attach(&t.g, 9, TEX), ==, NO_CONTEXT);
    g_assert_cmphex(guest_submit(&t.g, 9, 4), ==, NO_CONTEXT);
    g_assert_cmphex(guest_submit(&t.g, 1, 3), ==, BAD);
    g_assert_cmphex(guest_submit(&t.g, 1, 400), ==, BAD); /* that is not there */
    g_assert_cmphex(guest_submit(&t.g, 1, UINT32_MAX), ==, BAD);
    for (int i = 0; i < 2; i++) {
        uint32_t type = i ? TO_HOST : FROM_HOST;

        g_assert_cmphex(transfer(&t, type, 1, 99, 0), ==, NO_RESOURCE);
        g_assert_cmphex(transfer(&t, type, 1, TEX, 0), ==, BAD);
    }
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1024), ==, OK);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1024), ==, UNSPEC);
    g_assert_cmphex(transfer(&t, TO_HOST, 1, TEX, 1024), ==, BAD);
    g_assert_cmphex(transfer(&t, TO_HOST, 5, TEX, 0), ==, NO_CONTEXT);
    g_assert_true(fake_virgl_is_idle(&v));
    test_stop_worker(&t, &v);
}

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

        g_assert_cmpuint(v.staging[x.data.offset + i], ==, (uint8_t)at);
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
    g_assert_cmpuint(v.staging[x.data.offset + 5], ==, 5); /* 4 * 64 + 512 + 5 */
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

/* --- which GPU, and no Vulkan -------------------------------------------- */

static void worker_is_told_which_gpu(void)
{
    FakeVirgl v;
    Test t;

    test_start_worker(&t, &v);
    g_assert_cmpstr(v.gpu, ==, "");
    test_stop_worker(&t, &v);
    test_start_virgl(&t, "backend=auto,rendernode=software");
    test_begin_worker(&t, 1, &v);
    g_assert_cmpstr(v.gpu, ==, "software");
    test_stop_worker(&t, &v);
}

static void *refuse_gpu(void *opaque)
{
    FakeVirgl v;

    fake_welcome(opaque);
    fake_virgl_begin(opaque, &v);
    strcpy(ring_reply(v.ring, VIRGL_TEXT_SLOT), "there is none of that name");
    fake_virgl_complete(&v, v.token, ENODEV, 0, 0);
    g_assert_true(fake_is_closed(v.sock));
    fake_virgl_die(&v);
    return NULL;
}

/* By name it must be had; without one, there is 2D. */
static void gpu_that_cannot_be_had_refuses_the_device(void)
{
    Test t;

    for (int named = 0; named < 2; named++) {
        g_autofree char *line = NULL, *said = NULL;
        GThread *thread;

        fake_start(&t.f);
        guest_start(&t.g, NULL, NULL);
        thread = g_thread_new("refuse", refuse_gpu, &t.f);
        line = g_strdup_printf("device_add vgpu-remote,id=gpu,addr=%d,%s%s",
                               GUEST_SLOT, t.f.option,
                               named ? ",rendernode=/dev/dri/nine" : "");
        said = qtest_hmp(t.g.qts, "%s", line);
        g_thread_join(thread);
        g_test_message("%s", said);
        g_assert_true(!strstr(said, "rendernode=/dev/dri/nine: there is none of "
                                    "that name") == !named);
        guest_stop(&t.g);
        fake_stop(&t.f);
    }
}

static void why_there_is_no_vulkan_is_in_the_status(void)
{
    Test t;

    test_start_virgl(&t, "backend=auto");
    test_expect_status(&t, "\"vulkan\": \"no ?Vulkan??\"");
    test_stop(&t);
}

static void *die_of_vulkan(void *opaque)
{
    FakeVirgl v;

    fake_welcome(opaque);
    fake_virgl(opaque, &v);
    fake_virgl_take(&v, VIRGL_VULKAN);
    fake_virgl_die(&v);
    return NULL;
}

static void worker_that_dies_of_vulkan_costs_nothing(void)
{
    g_autofree char *device = NULL;
    GThread *thread;
    FakeVirgl v;
    Test t;

    fake_start(&t.f);
    device = g_strdup_printf("vgpu-remote,%s", t.f.option);
    thread = g_thread_new("die", die_of_vulkan, &t.f);
    guest_start(&t.g, device, NULL);
    g_thread_join(thread);
    guest_drive(&t.g);
    g_assert_cmpuint(test_capset_at(&t, 1, NULL), ==, VIRGL_CAPSET_ID);
    test_expect_status(&t, "\"resets\": 0, \"vulkan\": \"\"");
    test_begin_worker(&t, 1, &v);
    test_stop_worker(&t, &v);
}

/* --- loss ---------------------------------------------------------------- */

static void worker_that_dies_loses_contexts_and_another_starts(void)
{
    FakeVirgl v, w;
    int place;
    Test t;

    test_start_worker(&t, &v);
    test_add_texture(&t, &v, TEX, 16, 16);
    place = guest_send_submit(&t.g, 1, 4, FENCED, 0, 1);
    test_expect_held(&t, place);
    fake_virgl_die(&v);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    g_assert_cmphex(guest_submit(&t.g, 1, 4), ==, NO_CONTEXT);
    g_assert_false(fake_has_context(&t.f)); /* not by one that is lost */
    test_begin_worker(&t, 2, &w);
    g_assert_cmphex(guest_attach(&t.g, 2, TEX), ==, OK); /* nothing to tell */
    g_assert_true(fake_virgl_is_idle(&w));
    g_assert_cmphex(guest_submit(&t.g, 1, 4), ==, NO_CONTEXT);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    test_expect_status(&t, "\"resets\": 1");
    test_stop_worker(&t, &w);
}

static void worker_that_hangs_is_given_up(void)
{
    FakeVirgl v;
    int place;
    Test t;

    test_start_virgl(&t, "backend=auto,watchdog=300");
    test_begin_worker(&t, 1, &v);
    place = guest_send_submit(&t.g, 1, 4, FENCED, 0, 1);
    guest_kick(&t.g);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    g_assert_true(fake_is_closed(v.sock));
    test_stop_worker(&t, &v);
}

typedef void Lie(FakeVirgl *v);

static void lie_unknown_token(FakeVirgl *v)
{
    fake_virgl_complete(v, 200, 0, 0, 0);
}

static void lie_no_token(FakeVirgl *v)
{
    fake_virgl_complete(v, 0, 0, 0, 0);
}

static void lie_twice(FakeVirgl *v)
{
    fake_virgl_complete(v, v->token, 0, 0, 0);
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

static void lie_counts(FakeVirgl *v)
{
    v->done += 1000;
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

static void lie_another_blob(FakeVirgl *v)
{
    struct proto_blob_created m = {
        .type = PROTO_BLOB_CREATED, .status = ENOMEM, .blob = 77,
    };

    g_assert_cmpint(proto_send(v->sock, &m, NULL, 0), ==, 0);
}

static void lie_not_a_packet(FakeVirgl *v)
{
    g_assert_cmpint(send(v->sock, "hello", 5, 0), ==, 5);
}

static void worker_that_lies_is_given_up(void)
{
    static Lie *const lies[] = {
        lie_unknown_token, lie_no_token, lie_twice, lie_counts, lie_another_blob,
        lie_not_a_packet,
    };

    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        FakeVirgl v;
        Test t;

        g_test_message("lie %zu", i);
        test_start_worker(&t, &v);
        guest_send_submit(&t.g, 1, 4, FENCED, 0, 1);
        guest_kick(&t.g);
        fake_virgl_take(&v, VIRGL_SUBMIT);
        lies[i](&v);
        /* What nobody waits for is seen with what somebody does. */
        guest_send_submit(&t.g, 1, 4, FENCED, 0, 2);
        guest_kick(&t.g);
        g_assert_true(fake_is_closed(v.sock));
        test_stop_worker(&t, &v);
    }
}

static void too_many_deaths_end_in_2d_until_reset(void)
{
    FakeVirgl v;
    Test t;

    test_start_virgl(&t, "backend=auto");
    for (uint32_t i = 1; i <= 6; i++) {
        test_begin_worker(&t, i, &v);
        fake_virgl_die(&v);
        test_wait_lost(&t, i);
    }
    g_assert_cmphex(guest_context_create(&t.g, 9, VIRGL_CAPSET_ID), ==, UNSPEC);
    g_assert_false(fake_has_context(&t.f));
    guest_drive(&t.g);
    test_begin_worker(&t, 9, &v);
    test_stop_worker(&t, &v);
}

/* --- reset and unplugging ------------------------------------------------ */

static void reset_forgets_everything(void)
{
    unsigned fds;
    FakeVirgl v, w;
    int place = 0;
    Test t;

    test_start_virgl(&t, "backend=auto");
    fds = test_fds(&t.g);
    test_begin_worker(&t, 1, &v);
    test_add_texture(&t, &v, TEX, 16, 16);
    g_assert_cmphex(guest_attach_halves(&t.g, TEX, 1024), ==, OK);
    for (int i = 0; i < 10; i++) {
        place = guest_send_submit(&t.g, 1, 4, FENCED, 0, i);
    }
    guest_kick(&t.g);
    g_assert_true(guest_is_alive(&t.g));
    qvirtio_reset(&t.g.pci->vdev);
    g_assert_false(guest_is_answered(&t.g, place));
    guest_drive(&t.g);
    g_assert_true(fake_is_closed(v.sock));
    g_assert_cmpuint(test_fds(&t.g), ==, fds);
    test_begin_worker(&t, 1, &w);
    test_add_texture(&t, &w, TEX, 16, 16);
    test_stop_worker(&t, &w);
    fake_virgl_die(&v);
}

/* Plugged in while the VM runs; and pulled out with all that can be under way. */
static void device_is_unplugged_with_work_in_flight(void)
{
    unsigned fds = 0;
    Test t;

    fake_start(&t.f);
    guest_start(&t.g, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        FakeVirgl v;

        test_plug_virgl(&t);
        test_begin_worker(&t, 1, &v);
        test_add_texture(&t, &v, TEX, 32, 32);
        g_assert_cmphex(guest_attach_halves(&t.g, TEX, 4096), ==, OK);
        g_assert_cmphex(guest_show(&t.g, 0, TEX,
                                   (struct virtio_gpu_rect) { 0, 0, 32, 32 }),
                        ==, OK);
        munmap(fake_virgl_screen(&v, 32, 32), 32 * 32 * 4);
        fake_virgl_take(&v, VIRGL_GET);
        for (int n = 0; n < 5; n++) {
            guest_send_submit(&t.g, 1, 4, FENCED, 0, n);
        }
        guest_kick(&t.g);
        g_assert_true(guest_is_alive(&t.g));
        test_unplug_virgl(&t, &v);
        if (i == 0) {
            fds = test_fds(&t.g);
        }
        g_assert_cmpuint(test_fds(&t.g), ==, fds);
    }
    guest_stop(&t.g);
    fake_stop(&t.f);
}

const TestCase tests_virgl[] = {
    TEST(auto_offers_both_and_emulation_virgl_alone),
    TEST(switch_is_for_new_contexts),
    TEST(switch_to_what_was_not_offered_is_refused),
    TEST(context_is_begun_when_it_is_used),
    TEST(submission_arrives_as_it_was),
    TEST(copies_keep_their_place_in_a_submission),
    TEST(copy_from_another_contexts_pages_is_refused),
    TEST(blob_is_copied_from_by_submissions),
    TEST(long_submission_goes_on_where_it_was),
    TEST(answers_keep_the_order_of_their_timeline),
    TEST(queue_waits_for_tokens),
    TEST(what_makes_no_sense_is_refused),
    TEST(upload_is_a_snapshot),
    TEST(long_upload_keeps_its_place),
    TEST(uploads_in_a_submission_are_taken_out),
    TEST(box_is_copied_and_nothing_else),
    TEST(box_that_cannot_be_is_refused),
    TEST(resource_of_2d_has_a_twin),
    TEST(blob_that_cannot_be_is_refused),
    TEST(blob_of_guest_memory_is_no_workers),
    TEST(screen_shows_what_the_worker_reads_and_keeps_it),
    TEST(completion_for_a_screen_is_left_to_the_main_loop),
    TEST(screen_shows_a_blob_when_it_is_flushed),
    TEST(screen_goes_from_a_blob_to_a_texture_and_back),
    TEST(picture_that_is_not_in_its_blob_is_refused),
    TEST(worker_is_told_which_gpu),
    TEST(gpu_that_cannot_be_had_refuses_the_device),
    TEST(why_there_is_no_vulkan_is_in_the_status),
    TEST(worker_that_dies_of_vulkan_costs_nothing),
    TEST(worker_that_dies_loses_contexts_and_another_starts),
    TEST(worker_that_hangs_is_given_up),
    TEST(worker_that_lies_is_given_up),
    TEST(too_many_deaths_end_in_2d_until_reset),
    TEST(reset_forgets_everything),
    TEST(device_is_unplugged_with_work_in_flight),
    { NULL },
};
