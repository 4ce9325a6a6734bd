/*
 * See vgpu-remote-fake-virgl.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-fake-virgl.h"

#include <sys/mman.h>

/* Take the question for a blob, and make its memory. */
static void *take_blob(FakeVirgl *v, struct proto_blob_created *created, int *fd)
{
    union proto_any m;
    void *map;

    fake_recv(v->sock, PROTO_BLOB_CREATE, &m);
    *created = (struct proto_blob_created) {
        .type = PROTO_BLOB_CREATED,
        .blob = m.blob_create.blob,
        .size = m.blob_create.size,
    };
    *fd = fake_memfd(created->size, true);
    map = mmap(NULL, created->size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    g_assert(map != MAP_FAILED);
    return map;
}

/* Answer with it. */
static void send_blob(FakeVirgl *v, const struct proto_blob_created *created,
                      int fd)
{
    g_assert_cmpint(proto_send(v->sock, created, &fd, 1), ==, 0);
    close(fd);
}

static void *make_blob(FakeVirgl *v, uint64_t want)
{
    struct proto_blob_created created;
    int fd;
    void *map = take_blob(v, &created, &fd);

    g_assert_cmpuint(created.blob, ==, want);
    if (want == VGPU_BLOB_RING) {
        g_assert_true(ring_format(&v->consumer, map, created.size));
    }
    send_blob(v, &created, fd);
    return map;
}

static void take_event(FakeVirgl *v, uint32_t n)
{
    union proto_any m;
    int fd = fake_recv(v->sock, PROTO_RING_EVENT, &m);

    g_assert_cmpuint(m.ring_event.ring, ==, n);
    v->event[n] = fd;
}

void fake_virgl_begin(Fake *f, FakeVirgl *v)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX];

    memset(v, 0, sizeof(*v));
    memset(v->event, -1, sizeof(v->event));
    g_assert_true(fake_has_context(f) || fake_has_context(f));
    g_assert_cmpint(proto_recv(f->conn, &m, fds), ==, 1);
    g_assert_cmpuint(m.type, ==, PROTO_VIRGL_CREATE);
    v->sock = fds[0];
    v->doorbell = fds[1];
    take_event(v, 0);
    take_event(v, VIRGL_DONE_SLOT);
    v->ring = make_blob(v, VGPU_BLOB_RING);
    v->message = g_malloc(ring_message_max(v->consumer.size));
    v->staging = make_blob(v, VIRGL_STAGING);
    fake_virgl_take(v, VIRGL_START);
    memcpy(v->gpu, wire_get_bytes(&v->in, sizeof(v->gpu)), sizeof(v->gpu));
    g_assert_true(wire_done(&v->in));
}

void fake_virgl(Fake *f, FakeVirgl *v)
{
    fake_virgl_begin(f, v);
    memset(ring_reply(v->ring, VIRGL_CAPS_SLOT), FAKE_CAP, FAKE_CAPS);
    fake_virgl_complete(v, v->token, 0, 2, FAKE_CAPS);
}

/* The memory stays mapped: there is little of it, and a test ends soon. */
void fake_virgl_die(FakeVirgl *v)
{
    close(v->sock);
    close(v->doorbell);
    for (int i = 0; i < VGPU_RINGS_MAX; i++) {
        if (v->event[i] >= 0) {
            close(v->event[i]);
        }
    }
    g_free(v->message);
}

void fake_virgl_take(FakeVirgl *v, enum virgl_call call)
{
    fake_consume(&v->consumer, v->message, v->event[0]);
    v->header = (void *)v->message;
    g_assert_cmpuint(v->header->api, ==, VGPU_API_VIRGL);
    g_assert_cmpuint(v->header->call, ==, call);
    wire_in_init(&v->in, v->header + 1, v->header->payload);
    v->token = wire_get_u32(&v->in);
}

struct virgl_transfer fake_virgl_transfer(FakeVirgl *v, enum virgl_call call)
{
    struct virgl_transfer x;

    fake_virgl_take(v, call);
    x = virgl_get_transfer(&v->in);
    g_assert_true(wire_done(&v->in));
    return x;
}

uint32_t *fake_virgl_screen(FakeVirgl *v, uint32_t w, uint32_t h)
{
    struct proto_blob_created created;
    int fd;
    void *map = take_blob(v, &created, &fd);

    g_assert_cmpuint(created.size, ==, ROUND_UP(4 * w * h, PAGE));
    send_blob(v, &created, fd);
    return map;
}

bool fake_virgl_is_idle(FakeVirgl *v)
{
    return !ring_pending(&v->consumer);
}

void fake_virgl_complete(FakeVirgl *v, uint32_t token, uint32_t status,
                         uint32_t a, uint32_t b)
{
    uint64_t one = 1;

    *virgl_done_at(v->ring, v->done) =
        (struct virgl_done) { token, status, a, b };
    v->done++;
    if (ring_slot_post(ring_slot(v->ring, VIRGL_DONE_SLOT), v->done)) {
        g_assert_cmpint(write(v->event[VIRGL_DONE_SLOT], &one, sizeof(one)), ==,
                        sizeof(one));
    }
}

/* --- a device that has asked for caps ------------------------------------ */

static bool has_venus;

static void *serve_probe(void *opaque)
{
    Fake *f = opaque;
    FakeVirgl v;

    fake_welcome(f);
    fake_virgl(f, &v);
    fake_virgl_take(&v, VIRGL_VULKAN);
    strcpy(ring_reply(v.ring, VIRGL_TEXT_SLOT), FAKE_WHY);
    memset(ring_reply(v.ring, VIRGL_CAPS_SLOT), FAKE_VENUS_CAP, FAKE_VENUS_CAPS);
    fake_virgl_complete(&v, v.token, 0, 0, has_venus ? FAKE_VENUS_CAPS : 0);
    g_assert_true(fake_is_closed(v.sock));
    fake_virgl_die(&v);
    return NULL;
}

/* In a thread: the device waits for it in the middle of QEMU's start. */
void test_start_virgl_with(Test *t, const char *properties, const char *more)
{
    g_autofree char *device = NULL;
    GThread *thread;

    device = g_strdup_printf("vgpu-remote,%s,%s", t->f.option, properties);
    thread = g_thread_new("probe", serve_probe, &t->f);
    guest_start(&t->g, device, more);
    g_thread_join(thread);
    guest_drive(&t->g);
}

void test_start_virgl(Test *t, const char *properties)
{
    fake_start(&t->f);
    test_start_virgl_with(t, properties, NULL);
}

void test_start_venus(Test *t, const char *properties)
{
    has_venus = true;
    test_start_virgl(t, properties);
    has_venus = false;
}

void test_plug_virgl(Test *t)
{
    GThread *thread = g_thread_new("probe", serve_probe, &t->f);

    qtest_qmp_device_add(t->g.qts, "vgpu-remote", "gpu",
                         "{'addr': %s, 'hostmem': %d, 'server': %s}",
                         stringify(GUEST_SLOT), GUEST_HOSTMEM,
                         t->f.option + strlen("server="));
    g_thread_join(thread);
    guest_drive(&t->g);
}

void test_unplug_virgl(Test *t, FakeVirgl *v)
{
    guest_forget(&t->g);
    qpci_unplug_acpi_device_test(t->g.qts, "gpu", GUEST_SLOT);
    g_assert_true(fake_is_closed(v->sock));
    g_assert_true(fake_is_closed(t->f.conn));
    fake_virgl_die(v);
    fake_die(&t->f);
}

/* --- contexts and resources ---------------------------------------------- */

static void create_context(Test *t, uint32_t id)
{
    g_assert_cmphex(guest_context_create(&t->g, id, VIRGL_CAPSET_ID), ==, OK);
}

/* The worker hears of a context when the guest uses it. */
static void use_context(Test *t, uint32_t id, FakeVirgl *v)
{
    g_assert_cmphex(guest_submit(&t->g, id, 0), ==, OK);
    fake_virgl_take(v, VIRGL_CONTEXT_CREATE);
    g_assert_cmpuint(wire_get_u32(&v->in), ==, id);
    fake_virgl_take(v, VIRGL_SUBMIT);
}

void test_begin_worker(Test *t, uint32_t id, FakeVirgl *v)
{
    create_context(t, id);
    fake_virgl(&t->f, v);
    use_context(t, id, v);
}

void test_add_virgl_context(Test *t, uint32_t id, FakeVirgl *v)
{
    create_context(t, id);
    use_context(t, id, v);
}

void test_start_worker(Test *t, FakeVirgl *v)
{
    test_start_virgl(t, "backend=auto");
    test_begin_worker(t, 1, v);
}

void test_stop_worker(Test *t, FakeVirgl *v)
{
    test_stop(t);
    fake_virgl_die(v);
}

void test_add_resource(Test *t, FakeVirgl *v,
                       const struct virtio_gpu_resource_create_3d *c)
{
    g_assert_cmphex(guest_call(&t->g, c, sizeof(*c)), ==, OK);
    fake_virgl_take(v, VIRGL_RESOURCE_CREATE);
}

void test_add_texture(Test *t, FakeVirgl *v, uint32_t id, uint32_t w, uint32_t h)
{
    struct virtio_gpu_resource_create_3d c = guest_texture(id, w, h);

    test_add_resource(t, v, &c);
}

void test_wait_lost(Test *t, uint32_t ctx)
{
    while (guest_submit(&t->g, ctx, 4) == OK) {
        /* it has not been noticed yet */
    }
}
