/*
 * Guest pages that the worker reads itself: with a fake worker, and with a real one.
 *
 * Most of it needs /dev/udmabuf, which build machines have not: scripts/check --only
 * host-vm runs it where there is one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "vgpu-remote-fake-virgl.h"

#define SHARED  "-object memory-backend-memfd,id=ram,size=128M,share=on " \
                "-machine memory-backend=ram"
#define SIDE    256
#define ROW     (SIDE * 4u)
#define BYTES   (SIDE * ROW)
#define WHOLE   ((struct virtio_gpu_box) { 0, 0, 0, SIDE, SIDE, 1 })

/* --- commands ------------------------------------------------------------ */

static int send_create(Test *t)
{
    struct virtio_gpu_resource_create_3d c = guest_texture(TEX, SIDE, SIDE);

    c.format = 1;
    return guest_send(&t->g, &c, sizeof(c), GUEST_ANSWER);
}

/* Two pieces, the later one first, and a page between them that is not attached. */
static const struct virtio_gpu_mem_entry halves[] = {
    { PAGES + BYTES / 2 + PAGE, BYTES / 2 }, { PAGES, BYTES / 2 },
};

static void attach_pages(Test *t, const struct virtio_gpu_mem_entry *e,
                         uint32_t n)
{
    g_assert_cmphex(guest_attach_backing(&t->g, TEX, e, n), ==, OK);
}

static void detach_pages(Test *t)
{
    g_assert_cmphex(guest_detach_backing(&t->g, TEX), ==, OK);
}

static int send_transfer(Test *t, uint32_t type, struct virtio_gpu_box box,
                         uint64_t offset, uint32_t flags)
{
    return guest_send_transfer(&t->g, type, 1, TEX, box, offset, 0, flags);
}

static int send_put(Test *t, uint32_t flags)
{
    return send_transfer(t, TO_HOST, WHOLE, 0, flags);
}

/* Word @i of the backing is i * @factor. */
static void fill(Test *t, uint32_t factor)
{
    g_autofree uint32_t *words = g_malloc(BYTES);

    for (uint32_t i = 0; i < BYTES / 4; i++) {
        words[i] = i * factor;
    }
    for (int i = 0; i < 2; i++) {
        qtest_bufwrite(t->g.qts, halves[i].addr, words + i * (BYTES / 8),
                       BYTES / 2);
    }
}

/* A number, or the text up to its end, of what the device says about memory. */
static char *status_at(Test *t, const char *key)
{
    g_autofree char *status = test_status(t);
    g_autofree char *name = g_strdup_printf("\"%s\": ", key);
    const char *memory = strstr(status, "\"memory\"");

    return g_strdup(strstr(memory, name) + strlen(name));
}

static uint64_t number_at(Test *t, const char *key)
{
    g_autofree char *text = status_at(t, key);

    return g_ascii_strtoull(text, NULL, 10);
}

/* --- a fake worker ------------------------------------------------------- */

/* A worker, context 1, and a texture without its backing. */
static void begin(Test *t, FakeVirgl *v)
{
    int place;

    g_assert_cmphex(guest_context_create(&t->g, 1, VIRGL_CAPSET_ID), ==, OK);
    place = send_create(t);
    guest_kick(&t->g);
    fake_virgl(&t->f, v);
    g_assert_cmphex(test_wait(t, place), ==, OK);
    fake_virgl_take(v, VIRGL_RESOURCE_CREATE);
}

static void start_with(Test *t, FakeVirgl *v, const char *more)
{
    fake_start(&t->f);
    test_start_virgl_with(t, "backend=auto", more);
    begin(t, v);
}

static void start(Test *t, FakeVirgl *v)
{
    start_with(t, v, SHARED);
    attach_pages(t, halves, 2);
}

/* An upload whose command is answered at once, since its bytes were copied. */
static void put_copied(Test *t, FakeVirgl *v, uint32_t flags)
{
    struct virgl_transfer x;

    g_assert_cmphex(guest_do(&t->g, send_put(t, flags)), ==, OK);
    if (v->done == 1) {
        fake_virgl_take(v, VIRGL_CONTEXT_CREATE);
    }
    x = fake_virgl_transfer(v, VIRGL_PUT);
    g_assert_cmpuint(x.data.blob, ==, VIRGL_STAGING);
    fake_virgl_complete(v, v->token, 0, 0, 0);
}

static bool is_quiet(FakeVirgl *v)
{
    char byte;

    return recv(v->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           errno == EAGAIN;
}

static void imported(FakeVirgl *v, uint64_t id, uint32_t status)
{
    struct proto_blob_imported m = {
        .type = PROTO_BLOB_IMPORTED, .status = status, .blob = id,
    };

    g_assert_cmpint(proto_send(v->sock, &m, NULL, 0), ==, 0);
}

/* --- where there is none ------------------------------------------------- */

static void expect_copies(Test *t, FakeVirgl *v, const char *why)
{
    g_autofree char *text = NULL;

    for (int i = 0; i < 4; i++) {
        put_copied(t, v, FENCED);
    }
    g_assert_true(is_quiet(v));
    text = status_at(t, "why_copied");
    g_assert_true(g_str_has_prefix(text, why));
    g_assert_cmpuint(number_at(t, "copied"), ==, 4 * BYTES);
    g_assert_cmpuint(number_at(t, "in_place") + number_at(t, "pinned"), ==, 0);
}

static void private_memory_is_copied(void)
{
    FakeVirgl v;
    Test t;

    start_with(&t, &v, NULL);
    attach_pages(&t, halves, 2);
    expect_copies(&t, &v, "\"no RAM is");
    test_stop_worker(&t, &v);
    /* Shared by a private mapping only; and one that could shrink. */
    start_with(&t, &v, "-object memory-backend-memfd,id=ram,size=128M,"
               "share=off -machine memory-backend=ram");
    attach_pages(&t, halves, 2);
    expect_copies(&t, &v, "\"no RAM is");
    test_stop_worker(&t, &v);
    start_with(&t, &v, "-object memory-backend-memfd,id=ram,size=128M,share=on,"
               "seal=off -machine memory-backend=ram");
    attach_pages(&t, halves, 2);
    expect_copies(&t, &v, "\"no RAM is");
    test_stop_worker(&t, &v);
}

static void switch_makes_it_copy(void)
{
    FakeVirgl v;
    Test t;

    g_setenv("VGPU_PERF", "no_spin,no_in_place", true);
    start(&t, &v);
    g_unsetenv("VGPU_PERF");
    expect_copies(&t, &v, "\"switched off");
    test_stop_worker(&t, &v);
}

static void host_without_udmabuf_copies(void)
{
    FakeVirgl v;
    Test t;

    start(&t, &v);
    expect_copies(&t, &v, "\"/dev/udmabuf");
    test_stop_worker(&t, &v);
}

static void worker_that_was_given_nothing_must_not_thank(void)
{
    FakeVirgl v;
    Test t;

    start(&t, &v);
    imported(&v, VIRGL_BLOB_FIRST, 0);
    g_assert_true(fake_is_closed(v.sock));
    test_stop_worker(&t, &v);
}

/* --- a worker that has them ---------------------------------------------- */

static int take_import(FakeVirgl *v, uint64_t *id, uint64_t size)
{
    union proto_any m;
    int fd = fake_recv(v->sock, PROTO_BLOB_IMPORT, &m);

    g_assert_cmpuint(m.blob_import.size, ==, size);
    g_assert_cmpint(proto_check_dmabuf(fd, size), ==, 0);
    *id = m.blob_import.blob;
    return fd;
}

/* The second copy asks for it. */
static int ask(Test *t, FakeVirgl *v, uint64_t *id)
{
    put_copied(t, v, FENCED);
    g_assert_true(is_quiet(v));
    put_copied(t, v, FENCED);
    return take_import(v, id, BYTES);
}

/* An upload that goes in place, and is not completed yet. Returns its place. */
static int put_in_place(Test *t, FakeVirgl *v, uint64_t id)
{
    struct virgl_transfer x;
    int place;

    place = send_put(t, FENCED);
    test_expect_held(t, place);
    x = fake_virgl_transfer(v, VIRGL_PUT);
    g_assert_cmpuint(x.data.blob, ==, id);
    g_assert_cmpuint(x.data.size, ==, BYTES);
    return place;
}

/* The worker has them. What it said has been read when QMP answers the second time. */
static void import(Test *t, FakeVirgl *v, uint64_t id)
{
    imported(v, id, 0);
    number_at(t, "pinned");
    number_at(t, "pinned");
}

static void start_in_place(Test *t, FakeVirgl *v, uint64_t *id)
{
    start(t, v);
    close(ask(t, v, id));
    import(t, v, *id);
}

static void give_back(FakeVirgl *v, uint64_t id)
{
    union proto_any m;

    g_assert_cmpint(fake_recv(v->sock, PROTO_BLOB_DESTROY, &m), ==, -1);
    g_assert_cmpuint(m.blob_destroy.blob, ==, id);
}

static void worker_gets_what_was_attached_and_no_more(void)
{
    g_autofree uint32_t *want = g_malloc(BYTES);
    uint32_t *map, *larger;
    FakeVirgl v;
    uint64_t id;
    char *path;
    int fd, place;
    Test t;

    start(&t, &v);
    fill(&t, 3);
    fd = ask(&t, &v, &id);
    map = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
    g_assert(map != MAP_FAILED);
    for (uint32_t i = 0; i < BYTES / 4; i++) {
        g_assert_cmpuint(map[i], ==, i * 3);
    }
    /* Neither more, nor what is beside it, nor by another way to the same file. */
    larger = mmap(NULL, BYTES + PAGE, PROT_READ, MAP_SHARED, fd, 0);
    g_assert(larger == MAP_FAILED);
    larger = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, BYTES);
    g_assert(larger == MAP_FAILED);
    larger = mremap(map, BYTES, BYTES + PAGE, MREMAP_MAYMOVE);
    g_assert(larger == MAP_FAILED);
    path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_assert_cmpint(open(path, O_RDWR), <, 0);
    g_free(path);
    close(fd);
    import(&t, &v, id);
    /* It is the memory itself: what the guest writes is there. */
    place = put_in_place(&t, &v, id);
    fill(&t, 5);
    g_assert_cmpuint(map[7777], ==, 7777 * 5);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    g_assert_cmpuint(number_at(&t, "in_place"), ==, BYTES);
    g_assert_cmpuint(number_at(&t, "copied"), ==, 2 * BYTES);
    munmap(map, BYTES);
    test_stop_worker(&t, &v);
}

static void box_in_place_is_where_the_guest_has_it(void)
{
    struct virtio_gpu_box box = { 8, 4, 0, 200, 128, 1 };
    uint64_t offset = 4 * ROW + 8 * 4, id;
    struct virgl_transfer x;
    FakeVirgl v;
    int place;
    Test t;

    start_in_place(&t, &v, &id);
    place = send_transfer(&t, TO_HOST, box, offset, FENCED);
    test_expect_held(&t, place);
    x = fake_virgl_transfer(&v, VIRGL_PUT);
    g_assert_cmpuint(x.data.blob, ==, id);
    g_assert_cmpuint(x.data.offset, ==, offset);
    g_assert_cmpuint(x.data.size, ==, 127 * ROW + 200 * 4);
    g_assert_cmpuint(x.stride, ==, ROW);
    g_assert_cmpuint(x.layer_stride, ==, 128 * ROW);
    fake_virgl_complete(&v, v.token, EINVAL, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    /* What is small is copied; what has no fence, too; and what is read back. */
    box.w = box.h = 64;
    place = send_transfer(&t, TO_HOST, box, 0, FENCED);
    g_assert_cmphex(guest_do(&t.g, place), ==, OK);
    x = fake_virgl_transfer(&v, VIRGL_PUT);
    g_assert_cmpuint(x.data.blob, ==, VIRGL_STAGING);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    put_copied(&t, &v, 0);
    place = send_transfer(&t, FROM_HOST, WHOLE, 0, FENCED);
    test_expect_held(&t, place);
    x = fake_virgl_transfer(&v, VIRGL_GET);
    g_assert_cmpuint(x.data.blob, ==, VIRGL_STAGING);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    g_assert_cmphex(test_wait(&t, place), ==, OK);
    test_stop_worker(&t, &v);
}

/* What a small upload is answered with must not tell that the large one is read. */
static void answers_wait_for_what_is_read_in_place(void)
{
    struct virtio_gpu_box box = { 0, 0, 0, 4, 4, 1 };
    FakeVirgl v;
    uint32_t token;
    uint64_t id;
    int large, small;
    Test t;

    start_in_place(&t, &v, &id);
    large = put_in_place(&t, &v, id);
    token = v.token;
    small = send_transfer(&t, TO_HOST, box, 0, FENCED);
    test_expect_held(&t, small);
    fake_virgl_transfer(&v, VIRGL_PUT);
    fake_virgl_complete(&v, v.token, 0, 0, 0);
    test_expect_held(&t, small);
    g_assert_false(guest_is_answered(&t.g, large));
    fake_virgl_complete(&v, token, 0, 0, 0);
    while (!guest_is_answered(&t.g, small)) {
        /* soon */
    }
    g_assert_cmpuint(guest_order(&t.g, large), <, guest_order(&t.g, small));
    g_assert_cmphex(test_wait(&t, large), ==, OK);
    g_assert_cmphex(test_wait(&t, small), ==, OK);
    test_stop_worker(&t, &v);
}

/* Pages are not given back to a guest while somebody reads them. */
static void pages_are_kept_until_they_have_been_read(void)
{
    static const uint32_t types[] = {
        VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, VIRTIO_GPU_CMD_RESOURCE_UNREF,
    };
    FakeVirgl v;
    uint64_t id;
    Test t;

    start_in_place(&t, &v, &id);
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        int put = put_in_place(&t, &v, id);
        int end = guest_send_simple(&t.g, types[i], 0, TEX);

        guest_kick(&t.g);
        g_usleep(50000);
        g_assert_false(guest_is_answered(&t.g, end));
        g_assert_true(is_quiet(&v));
        g_assert_true(fake_virgl_is_idle(&v));
        fake_virgl_complete(&v, v.token, 0, 0, 0);
        g_assert_cmphex(test_wait(&t, put), ==, OK);
        g_assert_cmphex(test_wait(&t, end), ==, OK);
        give_back(&v, id);
        g_assert_cmpuint(number_at(&t, "pinned"), ==, 0);
        if (i == 0) {
            attach_pages(&t, halves, 2);
            close(ask(&t, &v, &id));
            import(&t, &v, id);
        }
    }
    test_stop_worker(&t, &v);
}

static void worker_that_is_lost_has_no_pages_and_the_next_is_asked(void)
{
    FakeVirgl v, w;
    uint64_t id;
    int place;
    Test t;

    start_in_place(&t, &v, &id);
    place = put_in_place(&t, &v, id);
    fake_virgl_die(&v);
    g_assert_cmphex(test_wait(&t, place), ==, UNSPEC);
    g_assert_cmpuint(number_at(&t, "pinned"), ==, 0);
    g_assert_cmphex(guest_context_destroy(&t.g, 1), ==, OK);
    g_assert_cmphex(test_unref(&t, TEX), ==, OK);
    begin(&t, &w);
    attach_pages(&t, halves, 2);
    close(ask(&t, &w, &id));
    test_stop_worker(&t, &w);
}

static void pages_can_go_before_the_worker_answers(void)
{
    FakeVirgl v;
    uint64_t id, next;
    Test t;

    start(&t, &v);
    close(ask(&t, &v, &id));
    detach_pages(&t);
    give_back(&v, id);
    attach_pages(&t, halves, 2);
    close(ask(&t, &v, &next));
    g_assert_cmpuint(next, !=, id);
    imported(&v, id, 0);
    put_copied(&t, &v, FENCED);
    imported(&v, next, ENOSPC); /* and it may refuse, which is for good */
    g_assert_cmpuint(number_at(&t, "copied"), ==, 5 * BYTES);
    number_at(&t, "pinned");
    g_assert_cmpuint(number_at(&t, "pinned"), ==, 0);
    put_copied(&t, &v, FENCED);
    put_copied(&t, &v, FENCED);
    g_assert_true(is_quiet(&v));
    test_stop_worker(&t, &v);
}

/* Beside each other, not at pages, or in more than the kernel takes at a time. */
static void pages_that_cannot_be_imported_are_copied(void)
{
    static const struct virtio_gpu_mem_entry odd[] = {
        { PAGES + 512, BYTES / 2 }, { PAGES + BYTES, BYTES / 2 },
    };
    static const struct virtio_gpu_mem_entry short_of_a_page[] = {
        { PAGES, BYTES / 2 + 512 }, { PAGES + BYTES, BYTES / 2 },
    };
    static const struct virtio_gpu_mem_entry large[] = {
        { PAGES, 32u << 20 }, { PAGES, 32u << 20 }, { PAGES, 1u << 20 },
    };
    static const struct {
        const struct virtio_gpu_mem_entry *e;
        uint32_t n;
    } backings[] = { { odd, 2 }, { short_of_a_page, 2 }, { large, 3 } };
    FakeVirgl v;
    Test t;

    start_with(&t, &v, SHARED);
    for (size_t i = 0; i < ARRAY_SIZE(backings); i++) {
        attach_pages(&t, backings[i].e, backings[i].n);
        for (int n = 0; n < 3; n++) {
            put_copied(&t, &v, FENCED);
        }
        g_assert_true(is_quiet(&v));
        detach_pages(&t);
    }
    test_stop_worker(&t, &v);
}

/* The server says how much the device may have; pages of the guest are limited so, too. */
static void pages_beyond_the_budget_are_copied(void)
{
    FakeVirgl v;
    Test t;

    fake_start(&t.f);
    t.f.memory_max = BYTES - PAGE;
    test_start_virgl_with(&t, "backend=auto", SHARED);
    begin(&t, &v);
    attach_pages(&t, halves, 2);
    for (int i = 0; i < 4; i++) {
        put_copied(&t, &v, FENCED);
    }
    g_assert_true(is_quiet(&v));
    test_stop_worker(&t, &v);
}

/* As stock drivers do it: out of a buffer of pages, within a submission. */
static void copies_and_uploads_of_a_submission_are_in_place(void)
{
    static const uint32_t w[] = {
        VIRGL_STREAM_TRANSFER_WORDS << 16 | VIRGL_STREAM_TRANSFER,
        TEX, 0, 0, 0, 0, 0, 0, 0, SIDE, SIDE, 1, 0, VIRGL_STREAM_TO_HOST,
        VIRGL_STREAM_COPY_WORDS << 16 | VIRGL_STREAM_COPY,
        TEX, 0, 0, 0, 0, 0, 0, 0, SIDE, SIDE, 1, SOURCE, 0,
        VIRGL_STREAM_COPY_IN_ORDER,
        1 << 16 | 99, 77,
    };
    struct virtio_gpu_resource_create_3d source = guest_staging(SOURCE, BYTES);
    static const enum virgl_call calls[] = { VIRGL_PUT, VIRGL_COPY };
    uint64_t id, other = 0;
    FakeVirgl v;
    int place;
    Test t;

    start_in_place(&t, &v, &id);
    test_add_resource(&t, &v, &source);
    g_assert_cmphex(guest_attach_backing(&t.g, SOURCE, halves, 2), ==, OK);
    g_assert_cmphex(guest_attach(&t.g, 1, SOURCE), ==, OK);
    fake_virgl_take(&v, VIRGL_ATTACH);
    for (int round = 0; round < 3; round++) {
        uint32_t tokens[2];

        place = guest_send_words(&t.g, 1, w, ARRAY_SIZE(w), 1);
        test_expect_held(&t, place);
        for (int i = 0; i < 2; i++) {
            struct virgl_transfer x = fake_virgl_transfer(&v, calls[i]);

            tokens[i] = v.token;
            g_assert_cmpuint(x.data.blob, ==, i == 0 ? id : round < 2
                             ? VIRGL_STAGING : other);
        }
        if (round == 1) {
            close(take_import(&v, &other, BYTES));
            imported(&v, other, 0);
        }
        fake_virgl_take(&v, VIRGL_SUBMIT);
        fake_virgl_complete(&v, tokens[0], 0, 0, 0);
        fake_virgl_complete(&v, tokens[1], 0, 0, 0);
        fake_virgl_complete(&v, v.token, 0, 0, 0);
        g_assert_cmphex(test_wait(&t, place), ==, OK);
        number_at(&t, "pinned");
    }
    g_assert_cmpuint(number_at(&t, "pinned"), ==, 2 * BYTES);
    /* Nobody would tell the guest: read at once. */
    place = guest_send_words(&t.g, 1, w, ARRAY_SIZE(w), 0);
    g_assert_cmphex(guest_do(&t.g, place), ==, OK);
    for (int i = 0; i < 2; i++) {
        struct virgl_transfer x = fake_virgl_transfer(&v, calls[i]);

        g_assert_cmpuint(x.data.blob, ==, VIRGL_STAGING);
    }
    test_stop_worker(&t, &v);
}

static void reset_and_unplugging_give_pages_back(void)
{
    unsigned fds = 0;
    Test t;

    fake_start(&t.f);
    guest_start(&t.g, NULL, SHARED);
    for (int i = 0; i < 2; i++) {
        FakeVirgl v, w;
        uint64_t id;

        test_plug_virgl(&t);
        begin(&t, &v);
        attach_pages(&t, halves, 2);
        close(ask(&t, &v, &id));
        import(&t, &v, id);
        put_in_place(&t, &v, id);
        guest_drive(&t.g); /* which resets it */
        g_assert_true(fake_is_closed(v.sock));
        g_assert_cmpuint(number_at(&t, "pinned"), ==, 0);
        fake_virgl_die(&v);
        begin(&t, &w);
        attach_pages(&t, halves, 2);
        close(ask(&t, &w, &id));
        import(&t, &w, id);
        put_in_place(&t, &w, id);
        test_unplug_virgl(&t, &w);
        if (i == 0) {
            fds = test_fds(&t.g);
        }
        g_assert_cmpuint(test_fds(&t.g), ==, fds);
    }
    guest_stop(&t.g);
    fake_stop(&t.f);
}

/* --- a real worker -------------------------------------------------------- */

#define BACK (PAGES + (16u << 20)) /* where it is read back to */

/* A real one: a process that QEMU has started, by way of a server. */
static pid_t find_worker(void)
{
    pid_t pid;

    test_workers(&pid);
    return pid;
}

/* Bytes of dmabufs that it has mapped; @writable: for writing. */
static uint64_t mapped(pid_t pid, bool writable)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    uint64_t bytes = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        unsigned long begin, end;
        char flags[5];

        if (strstr(*line, "/dmabuf:") &&
            sscanf(*line, "%lx-%lx %4s", &begin, &end, flags) == 3 &&
            (!writable || flags[1] == 'w')) {
            bytes += end - begin;
        }
    }
    return bytes;
}

static void wait_mapped(uint64_t bytes)
{
    for (int i = 0; i < 1000 && mapped(find_worker(), false) != bytes; i++) {
        g_usleep(10000);
    }
    g_assert_cmpuint(mapped(find_worker(), false), ==, bytes);
}

static void start_real(Test *t, const char *more)
{
    guest_start(&t->g, "vgpu-remote,watchdog=60000", more);
    guest_drive(&t->g);
    g_assert_cmphex(guest_context_create(&t->g, 1, VIRGL_CAPSET_ID), ==, OK);
    g_assert_cmphex(guest_do(&t->g, send_create(t)), ==, OK);
    attach_pages(t, halves, 2);
    g_assert_cmphex(guest_attach(&t->g, 1, TEX), ==, OK);
}

/* What the texture has, by way of pages elsewhere. */
static void expect_texture(Test *t, uint32_t factor)
{
    static const struct virtio_gpu_mem_entry back = { BACK, BYTES };
    g_autofree uint32_t *words = g_malloc0(BYTES);

    detach_pages(t);
    attach_pages(t, &back, 1);
    qtest_memset(t->g.qts, BACK, 0xee, BYTES);
    g_assert_cmphex(guest_do(&t->g, send_transfer(
        t, FROM_HOST, WHOLE, 0, FENCED)), ==, OK);
    qtest_bufread(t->g.qts, BACK, words, BYTES);
    for (uint32_t i = 0; i < BYTES / 4; i++) {
        g_assert_cmphex(words[i], ==, i * factor);
    }
    detach_pages(t);
    attach_pages(t, halves, 2);
}

/* Uploads, until the worker has the pages. */
static void warm_up(Test *t)
{
    for (int i = 0; i < 2; i++) {
        g_assert_cmphex(guest_do(&t->g, send_put(t, FENCED)), ==, OK);
    }
    wait_mapped(BYTES);
    g_assert_cmpuint(mapped(find_worker(), true), ==, 0);
    number_at(t, "pinned");
    number_at(t, "pinned");
}

static void real_worker_reads_pages_in_place(void)
{
    uint64_t copied;
    Test t;

    start_real(&t, SHARED);
    fill(&t, 3);
    warm_up(&t);
    copied = number_at(&t, "copied");
    for (uint32_t factor = 5; factor < 9; factor++) {
        fill(&t, factor);
        g_assert_cmphex(guest_do(&t.g, send_put(&t, FENCED)), ==, OK);
        fill(&t, 1); /* the fence said that it may */
    }
    g_assert_cmpuint(number_at(&t, "copied"), ==, copied);
    g_assert_cmpuint(number_at(&t, "in_place"), ==, 4 * BYTES);
    expect_texture(&t, 8);
    wait_mapped(0); /* the backing was taken away: so is the mapping */
    guest_stop(&t.g);
}

static void real_worker_copies_from_private_memory(void)
{
    Test t;

    start_real(&t, NULL);
    for (uint32_t factor = 5; factor < 9; factor++) {
        fill(&t, factor);
        g_assert_cmphex(guest_do(&t.g, send_put(&t, FENCED)), ==, OK);
        fill(&t, 1);
    }
    g_assert_cmpuint(mapped(find_worker(), false), ==, 0);
    g_assert_cmpuint(number_at(&t, "copied"), ==, 4 * BYTES);
    expect_texture(&t, 8);
    guest_stop(&t.g);
}

static void real_worker_is_detached_from_and_killed_in_flight(void)
{
    int places[8];
    pid_t worker;
    Test t;

    start_real(&t, SHARED);
    fill(&t, 3);
    warm_up(&t);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        places[i] = send_put(&t, FENCED);
    }
    detach_pages(&t);
    fill(&t, 1);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        g_assert_cmphex(test_wait(&t, places[i]), ==, OK);
    }
    g_assert_cmpuint(number_at(&t, "in_place"), ==, 8 * BYTES);
    attach_pages(&t, halves, 2);
    expect_texture(&t, 3);
    fill(&t, 4);
    warm_up(&t);
    worker = find_worker();
    kill(worker, SIGSTOP);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        places[i] = send_put(&t, FENCED);
    }
    test_expect_held(&t, places[0]);
    kill(worker, SIGKILL);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        uint32_t answer = test_wait(&t, places[i]);

        g_assert_true(answer == UNSPEC || answer == NO_CONTEXT);
    }
    g_assert_cmpuint(number_at(&t, "pinned"), ==, 0);
    g_assert_true(guest_is_alive(&t.g));
    guest_stop(&t.g);
}

const TestCase tests_pages[] = {
    TEST(private_memory_is_copied),
    TEST(switch_makes_it_copy),
    TEST(worker_that_was_given_nothing_must_not_thank),
    { NULL },
};

/* Where the kernel makes none. */
const TestCase tests_no_udmabuf[] = {
    TEST(host_without_udmabuf_copies),
    { NULL },
};

/* What scripts/host-vm runs. */
#define UDMABUF_TEST(_name) { "/vgpu-remote/udmabuf/" #_name, _name }

const TestCase tests_udmabuf[] = {
    UDMABUF_TEST(worker_gets_what_was_attached_and_no_more),
    UDMABUF_TEST(box_in_place_is_where_the_guest_has_it),
    UDMABUF_TEST(answers_wait_for_what_is_read_in_place),
    UDMABUF_TEST(pages_are_kept_until_they_have_been_read),
    UDMABUF_TEST(worker_that_is_lost_has_no_pages_and_the_next_is_asked),
    UDMABUF_TEST(pages_can_go_before_the_worker_answers),
    UDMABUF_TEST(pages_that_cannot_be_imported_are_copied),
    UDMABUF_TEST(pages_beyond_the_budget_are_copied),
    UDMABUF_TEST(copies_and_uploads_of_a_submission_are_in_place),
    UDMABUF_TEST(reset_and_unplugging_give_pages_back),
    UDMABUF_TEST(real_worker_reads_pages_in_place),
    UDMABUF_TEST(real_worker_copies_from_private_memory),
    UDMABUF_TEST(real_worker_is_detached_from_and_killed_in_flight),
    { NULL },
};
