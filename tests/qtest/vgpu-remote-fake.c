/*
 * See vgpu-remote-fake.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "vgpu-remote-fake.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LIMIT_MS 60000 /* a VM without virtualisation begins that slowly */

static bool is_readable(int fd, int ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    return poll(&pfd, 1, ms) == 1;
}

/* --- the server ---------------------------------------------------------- */

void fake_start(Fake *f)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    f->dir = g_dir_make_tmp("vgpu-remote-XXXXXX", NULL);
    g_assert_nonnull(f->dir);
    f->path = g_build_filename(f->dir, "socket", NULL);
    f->option = g_strdup_printf("server=unix:%s", f->path);
    f->conn = -1;
    f->memory_max = 1ull << 30;
    f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_strlcpy(addr.sun_path, f->path, sizeof(addr.sun_path));
    g_assert_cmpint(bind(f->listener, (struct sockaddr *)&addr, sizeof(addr)),
                    ==, 0);
    g_assert_cmpint(listen(f->listener, 8), ==, 0);
}

void fake_stop(Fake *f)
{
    fake_die(f);
    close(f->listener);
    unlink(f->path);
    rmdir(f->dir);
    g_free(f->path);
    g_free(f->dir);
    g_free(f->option);
}

void fake_accept(Fake *f)
{
    union proto_any m;

    g_assert_true(is_readable(f->listener, LIMIT_MS));
    f->conn = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    g_assert_cmpint(f->conn, >=, 0);
    fake_recv(f->conn, PROTO_HELLO, &m);
    g_assert_cmphex(m.hello.magic, ==, PROTO_MAGIC);
    g_assert_cmpuint(m.hello.version, ==, VGPU_PROTOCOL_VERSION);
    g_assert_cmpuint(m.hello.role, ==, PROTO_ROLE_DEVICE);
}

void fake_welcome(Fake *f)
{
    struct proto_welcome m = {
        .type = PROTO_WELCOME,
        .version = VGPU_PROTOCOL_VERSION,
        .memory_max = f->memory_max,
    };

    fake_accept(f);
    g_assert_cmpint(proto_send(f->conn, &m, NULL, 0), ==, 0);
}

void fake_die(Fake *f)
{
    if (f->conn >= 0) {
        close(f->conn);
        f->conn = -1;
    }
}

int fake_recv(int sock, uint32_t type, union proto_any *m)
{
    int fds[PROTO_FDS_MAX];

    g_assert_true(is_readable(sock, LIMIT_MS));
    g_assert_cmpint(proto_recv(sock, m, fds), ==, 1);
    g_assert_cmpuint(m->type, ==, type);
    return fds[0];
}

bool fake_is_closed(int sock)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX], got;

    do {
        got = is_readable(sock, LIMIT_MS) ? proto_recv(sock, &m, fds) : -EAGAIN;
        for (int i = 0; got == 1 && i < PROTO_FDS_MAX; i++) {
            if (fds[i] >= 0) {
                close(fds[i]);
            }
        }
    } while (got == 1);
    return got == 0 || got == -ECONNRESET;
}

/* --- a worker ------------------------------------------------------------ */

bool fake_has_context(Fake *f)
{
    return is_readable(f->conn, 100);
}

static void take_context(Fake *f, FakeContext *c, uint32_t type)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX];

    g_assert_true(is_readable(f->conn, LIMIT_MS));
    g_assert_cmpint(proto_recv(f->conn, &m, fds), ==, 1);
    g_assert_cmpuint(m.type, ==, type);
    memset(c, 0, sizeof(*c));
    c->sock = fds[0];
    c->doorbell = fds[1];
    c->id = m.context_create.context;
    g_strlcpy(c->name, m.context_create.name, sizeof(c->name));
    for (int i = 0; i < VGPU_RINGS_MAX; i++) {
        c->event[i] = -1;
    }
}

void fake_context(Fake *f, FakeContext *c)
{
    take_context(f, c, PROTO_CONTEXT_CREATE);
}

void fake_venus_context(Fake *f, FakeContext *c)
{
    take_context(f, c, PROTO_VENUS_CREATE);
}

void fake_context_die(FakeContext *c)
{
    close(c->sock);
    close(c->doorbell);
    for (int i = 0; i < VGPU_RINGS_MAX; i++) {
        if (c->event[i] >= 0) {
            close(c->event[i]);
        }
    }
    if (c->ring) {
        munmap(c->ring, RING_CMD_OFFSET);
    }
}

int fake_memfd(uint64_t size, bool sealed)
{
    int fd = memfd_create("vgpu-remote-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    if (sealed) {
        g_assert_cmpint(fcntl(fd, F_ADD_SEALS,
                              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), ==, 0);
    }
    return fd;
}

void fake_created(FakeContext *c, uint64_t blob, uint64_t size, uint32_t status,
                  int fd)
{
    struct proto_blob_created m = {
        .type = PROTO_BLOB_CREATED,
        .status = status,
        .blob = blob,
        .size = size,
    };

    g_assert_cmpint(proto_send(c->sock, &m, &fd, fd >= 0), ==, 0);
}

void *fake_blob(FakeContext *c, uint64_t *size)
{
    union proto_any m;
    void *map;
    int fd;

    fake_recv(c->sock, PROTO_BLOB_CREATE, &m);
    *size = m.blob_create.size;
    fd = fake_memfd(*size, true);
    map = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(map != MAP_FAILED);
    fake_created(c, m.blob_create.blob, *size, 0, fd);
    close(fd);
    return map;
}

void fake_ring(FakeContext *c)
{
    struct ring_consumer consumer;
    union proto_any m;
    uint64_t size;
    int fd;

    fake_recv(c->sock, PROTO_BLOB_CREATE, &m);
    g_assert_cmpuint(m.blob_create.blob, ==, VGPU_BLOB_RING);
    size = m.blob_create.size;
    fd = fake_memfd(size, true);
    c->ring = mmap(NULL, RING_CMD_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                   0);
    g_assert(c->ring != MAP_FAILED);
    g_assert_true(ring_format(&consumer, c->ring, size));
    fake_created(c, VGPU_BLOB_RING, size, 0, fd);
    close(fd);
}

void fake_consume(struct ring_consumer *c, void *message, int event)
{
    gint64 limit = g_get_monotonic_time() + LIMIT_MS * 1000ll;
    bool signal = false;
    uint64_t one = 1;
    uint32_t size;

    while (ring_consume(c, message, &size, &signal) != RING_MESSAGE) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_usleep(100);
    }
    if (signal) {
        g_assert_cmpint(write(event, &one, sizeof(one)), ==, sizeof(one));
    }
}

void fake_take_event(FakeContext *c, uint32_t n)
{
    union proto_any m;
    int fd = fake_recv(c->sock, PROTO_RING_EVENT, &m);

    g_assert_cmpuint(m.ring_event.ring, ==, n);
    c->event[n] = fd;
}

void fake_post(FakeContext *c, uint32_t n, uint32_t seq)
{
    uint64_t one = 1;

    if (ring_slot_post(ring_slot(c->ring, n), seq)) {
        g_assert_cmpint(write(c->event[n], &one, sizeof(one)), ==, sizeof(one));
    }
}
