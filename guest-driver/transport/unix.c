/*
 * The transport to a vgpu-remoted on the same host, over its socket.
 *
 * open() introduces itself to the server, makes a socket pair and an eventfd,
 * and sends the server the worker's end of the pair and the eventfd, which is
 * the doorbell. From then on it talks to the worker: blobs come as sealed memfds.
 *
 * A thread that wants to sleep for a slot gives the worker an eventfd for it, once.
 * The worker takes that up some time later, and might have finished what we
 * wait for in between without having an eventfd to signal; so until the first
 * signal has arrived on a new eventfd, the sleep is cut into short pieces.
 *
 * Worker and server going away is seen as a hang-up of their sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto.h"
#include "ring.h"
#include "transport.h"

/* A server answers at once; a worker may first have to load a GPU's driver. */
#define WELCOME_TIMEOUT_MS 5000
#define BLOB_TIMEOUT_MS    30000
#define FIRST_EVENT_MS     2

struct transport {
    /* Constant after open. */
    int server;
    int worker;
    int doorbell;
    uint64_t memory_max;

    /* Under lock: requests to the worker, and its answers. */
    pthread_mutex_t lock;
    int events[VGPU_RINGS_MAX]; /* -1: none yet; never changed again */

    /* By the one thread that uses the slot. */
    bool signalled[VGPU_RINGS_MAX];
};

static void say(char *why, size_t n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void say(char *why, size_t n, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, n, fmt, ap);
    va_end(ap);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* Wait for one packet of the peer; -ETIMEDOUT, -EPIPE or what proto_recv says. */
static int receive(int sock, union proto_any *m, int fds[PROTO_FDS_MAX],
                   int timeout_ms)
{
    struct pollfd pfd = { .fd = sock, .events = POLLIN };
    int n;

    do {
        n = poll(&pfd, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return n ? -errno : -ETIMEDOUT;
    }
    n = proto_recv(sock, m, fds);
    return n == 0 ? -EPIPE : n < 0 ? n : 0;
}

static int connect_to(const char *path, char *why, size_t n)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int sock;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        say(why, n, "the socket's path '%s' is longer than %zu characters",
            path, sizeof(addr.sun_path) - 1);
        return -1;
    }
    strcpy(addr.sun_path, path);
    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sock < 0) {
        say(why, n, "no socket can be made: %s", strerror(errno));
        return -1;
    }
    if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        say(why, n, "nobody answers at '%s' (%s): is vgpu-remoted running "
            "there?", path, strerror(errno));
        close(sock);
        return -1;
    }
    return sock;
}

/* Exchange versions with the server. */
static bool greet(int sock, const char *path, uint64_t *memory_max, char *why,
                  size_t n)
{
    struct proto_hello hello = {
        .type = PROTO_HELLO,
        .version = VGPU_PROTOCOL_VERSION,
        .magic = PROTO_MAGIC,
        .role = PROTO_ROLE_PROGRAM,
    };
    int fds[PROTO_FDS_MAX];
    union proto_any m;
    int err;

    snprintf(hello.name, sizeof(hello.name), "%s",
             program_invocation_short_name);
    err = proto_send(sock, &hello, NULL, 0);
    if (!err) {
        err = receive(sock, &m, fds, WELCOME_TIMEOUT_MS);
    }
    if (err || m.type != PROTO_WELCOME) {
        say(why, n, "the server at '%s' does not speak our protocol (%s)", path,
            err ? strerror(-err) : "no welcome");
        return false;
    }
    if (m.welcome.version != VGPU_PROTOCOL_VERSION) {
        say(why, n, "the server at '%s' has protocol version %u, this program's "
            "driver has %u: install the same release on both sides", path,
            m.welcome.version, VGPU_PROTOCOL_VERSION);
        return false;
    }
    if (m.welcome.status) {
        say(why, n, "the server at '%s' refuses this program: %s", path,
            strerror((int)m.welcome.status));
        return false;
    }
    *memory_max = m.welcome.memory_max;
    return true;
}

/* Make socket pair and doorbell and give the server its half of them. */
static bool create_context(struct transport *t, char *why, size_t n)
{
    struct proto_context_create create = {
        .type = PROTO_CONTEXT_CREATE,
        .context = 1,
    };
    int fds[2] = { -1, -1 }, err;

    t->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->doorbell < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        say(why, n, "no context can be made: %s", strerror(errno));
        return false;
    }
    t->worker = fds[0];
    fds[0] = fds[1];
    fds[1] = t->doorbell;
    snprintf(create.name, sizeof(create.name), "%s",
             program_invocation_short_name);
    err = proto_send(t->server, &create, fds, 2);
    close(fds[0]);
    if (err) {
        say(why, n, "the server takes no context: %s", strerror(-err));
        return false;
    }
    return true;
}

/* In a child of fork() as well: closing our copies disturbs nobody. */
static void unix_abandon(struct transport *t)
{
    close_fd(&t->server);
    close_fd(&t->worker);
    close_fd(&t->doorbell);
    for (int i = 0; i < VGPU_RINGS_MAX; i++) {
        close_fd(&t->events[i]);
    }
}

static void unix_close(struct transport *t)
{
    unix_abandon(t);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct transport *unix_open(const char *address, char *why, size_t n)
{
    struct transport *t;

    if (!address) {
        why[0] = '\0';
        return NULL;
    }
    if (strncmp(address, "unix:", 5) == 0) {
        address += 5;
    }
    t = calloc(1, sizeof(*t));
    if (!t) {
        say(why, n, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    t->worker = t->doorbell = -1;
    for (int i = 0; i < VGPU_RINGS_MAX; i++) {
        t->events[i] = -1;
    }
    t->server = connect_to(address, why, n);
    if (t->server < 0 || !greet(t->server, address, &t->memory_max, why, n) ||
        !create_context(t, why, n)) {
        unix_close(t);
        return NULL;
    }
    return t;
}

/* Map the memfd that came with @m; closes it. */
static int map_blob(struct transport_blob *b, const struct proto_blob_created *m,
                    int fd)
{
    int err;

    if (m->status) {
        if (fd >= 0) {
            close(fd);
        }
        return m->status <= 4095 ? -(int)m->status : -EPROTO;
    }
    if (fd < 0 || m->size < b->size) {
        err = -EPROTO;
    } else {
        err = proto_check_blob(fd, m->size);
    }
    if (!err) {
        b->size = m->size;
        b->map = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (b->map == MAP_FAILED) {
            b->map = NULL;
            err = -errno;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

/* Wait for the answer about blob @b. */
static int await_blob(struct transport *t, struct transport_blob *b)
{
    for (;;) {
        int fds[PROTO_FDS_MAX];
        union proto_any m;
        int err = receive(t->worker, &m, fds, BLOB_TIMEOUT_MS);

        if (err) {
            return err;
        }
        if (m.type == PROTO_LOST) {
            fprintf(stderr, "vgpu-remote: the context is lost: %s\n",
                    m.lost.text);
            return -EPIPE;
        }
        if (m.type == PROTO_BLOB_CREATED && m.blob_created.blob == b->id) {
            return map_blob(b, &m.blob_created, fds[0]);
        }
        /* The answer to an earlier request that was given up. */
        close_fd(&fds[0]);
        close_fd(&fds[1]);
    }
}

static int unix_blob_create(struct transport *t, struct transport_blob *b)
{
    struct proto_blob_create create = {
        .type = PROTO_BLOB_CREATE,
        .blob = b->id,
        .size = b->size,
    };
    int err;

    pthread_mutex_lock(&t->lock);
    err = proto_send(t->worker, &create, NULL, 0);
    if (!err) {
        err = await_blob(t, b);
    }
    pthread_mutex_unlock(&t->lock);
    return err;
}

static void unix_blob_destroy(struct transport *t, struct transport_blob *b)
{
    struct proto_blob_destroy destroy = {
        .type = PROTO_BLOB_DESTROY,
        .blob = b->id,
    };

    munmap(b->map, b->size);
    b->map = NULL;
    /* A worker that is gone has nothing left to destroy. */
    (void)proto_send(t->worker, &destroy, NULL, 0);
}

static int unix_doorbell(struct transport *t)
{
    uint64_t one = 1;

    return write(t->doorbell, &one, sizeof(one)) < 0 && errno != EAGAIN ? -errno
                                                                        : 0;
}

/* The eventfd that the worker signals for slot @ring. Returns it or -errno. */
static int slot_event(struct transport *t, uint32_t ring)
{
    struct proto_ring_event event = { .type = PROTO_RING_EVENT, .ring = ring };
    int fd, err;

    pthread_mutex_lock(&t->lock);
    fd = t->events[ring];
    if (fd < 0) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        err = fd < 0 ? -errno : proto_send(t->worker, &event, &fd, 1);
        if (err) {
            close_fd(&fd);
            fd = err;
        } else {
            t->events[ring] = fd;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return fd;
}

/* The worker hung up: what it said last, if anything, tells why. */
static void report_loss(struct transport *t)
{
    struct pollfd pfd = { .fd = t->worker, .events = POLLIN };
    int fds[PROTO_FDS_MAX];
    union proto_any m;

    pthread_mutex_lock(&t->lock);
    while (poll(&pfd, 1, 0) == 1 && proto_recv(t->worker, &m, fds) == 1) {
        if (m.type == PROTO_LOST) {
            fprintf(stderr, "vgpu-remote: %s\n", m.lost.text);
        }
        close_fd(&fds[0]);
        close_fd(&fds[1]);
    }
    pthread_mutex_unlock(&t->lock);
}

/* Sleep until the eventfd is signalled, or a peer hung up: then -EPIPE. */
static int sleep_for(struct transport *t, uint32_t ring, int event)
{
    struct pollfd pfd[3] = {
        { .fd = event, .events = POLLIN },
        { .fd = t->worker },
        { .fd = t->server },
    };
    uint64_t count;

    if (poll(pfd, 3, t->signalled[ring] ? -1 : FIRST_EVENT_MS) < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    if (pfd[0].revents & POLLIN) {
        t->signalled[ring] = true;
        if (read(event, &count, sizeof(count)) < 0 && errno != EAGAIN) {
            return -errno;
        }
    }
    return pfd[1].revents || pfd[2].revents ? -EPIPE : 0;
}

static int unix_wait(struct transport *t, void *ring_map, uint32_t ring,
                     uint32_t seq)
{
    struct ring_slot *slot = ring_slot(ring_map, ring);
    int event = slot_event(t, ring), err = 0;

    if (event < 0) {
        err = -EPIPE;
    }
    while (!ring_slot_arm(slot, seq)) {
        if (err || ring_fatal(ring_map)) {
            report_loss(t);
            return -EPIPE;
        }
        err = sleep_for(t, ring, event);
    }
    return 0;
}

static uint64_t unix_memory_max(struct transport *t)
{
    return t->memory_max;
}

const struct transport_ops transport_unix = {
    .name = "unix",
    .open = unix_open,
    .close = unix_close,
    .abandon = unix_abandon,
    .blob_create = unix_blob_create,
    .blob_destroy = unix_blob_destroy,
    .doorbell = unix_doorbell,
    .wait = unix_wait,
    .memory_max = unix_memory_max,
};
