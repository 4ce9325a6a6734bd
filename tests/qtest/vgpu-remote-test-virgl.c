/*
 * The emulated GPU: contexts and their submissions. What a device offers, and
 * what changes when its backend is switched; when a worker hears of a context;
 * submissions as messages, with copies out of guest memory between their
 * commands; completions as answers, in the order of their timelines; and what
 * makes no sense, which is refused.
 *
 * The rest of the emulated GPU: -virgl-transfer, -virgl-screen, -virgl-worker;
 * and -pages and -dmabuf, where nothing is copied.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

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
                         guest_page_byte((offset + i + 2048) % 4096, 0));
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
    { NULL },
};
