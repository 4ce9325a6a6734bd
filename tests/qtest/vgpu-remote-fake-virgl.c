/*
 * See vgpu-remote-fake-virgl.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-fake-virgl.h"

#include <sys/mman.h>

static void *make_blob(FakeVirgl *v, uint64_t want, uint64_t *size)
{
    union proto_any m;
    struct proto_blob_created created = { .type = PROTO_BLOB_CREATED };
    void *map;
    int fd;

    fake_recv(v->sock, PROTO_BLOB_CREATE, &m);
    g_assert_cmpuint(m.blob_create.blob, ==, want);
    *size = created.size = m.blob_create.size;
    created.blob = want;
    fd = fake_memfd(*size, true);
    map = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(map != MAP_FAILED);
    if (want == VGPU_BLOB_RING) {
        g_assert_true(ring_format(&v->consumer, map, *size));
    }
    g_assert_cmpint(proto_send(v->sock, &created, &fd, 1), ==, 0);
    close(fd);
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
    uint64_t size;

    memset(v, 0, sizeof(*v));
    memset(v->event, -1, sizeof(v->event));
    g_assert_true(fake_has_context(f) || fake_has_context(f));
    g_assert_cmpint(proto_recv(f->conn, &m, fds), ==, 1);
    g_assert_cmpuint(m.type, ==, PROTO_VIRGL_CREATE);
    v->sock = fds[0];
    v->doorbell = fds[1];
    take_event(v, 0);
    take_event(v, VIRGL_DONE_SLOT);
    v->ring = make_blob(v, VGPU_BLOB_RING, &size);
    v->message = g_malloc(ring_message_max(v->consumer.size));
    v->staging = make_blob(v, VIRGL_STAGING, &size);
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
    gint64 limit = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    bool signal = false;
    uint32_t size;

    while (ring_consume(&v->consumer, v->message, &size, &signal) !=
           RING_MESSAGE) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(100);
    }
    if (signal) {
        uint64_t one = 1;

        g_assert_cmpint(write(v->event[0], &one, sizeof(one)), ==, sizeof(one));
    }
    v->header = (void *)v->message;
    g_assert_cmpuint(v->header->api, ==, VGPU_API_VIRGL);
    g_assert_cmpuint(v->header->call, ==, call);
    wire_in_init(&v->in, v->header + 1, v->header->payload);
    v->token = wire_get_u32(&v->in);
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

GThread *test_serve_probe(Fake *f)
{
    return g_thread_new("probe", serve_probe, f);
}

/* In a thread: the device waits for it in the middle of QEMU's start. */
void test_start_virgl_with(Test *t, const char *properties, const char *more)
{
    g_autofree char *device = NULL;
    GThread *thread;

    device = g_strdup_printf("vgpu-remote,%s,%s", t->f.option, properties);
    thread = test_serve_probe(&t->f);
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
