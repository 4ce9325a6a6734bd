/*
 * Packets of the session protocol: one table says how long each is and how
 * many fds belong to it, and both directions go by that table.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static const struct packet {
    uint16_t size;
    uint8_t fds_min, fds_max;
} packets[] = {
    [PROTO_HELLO] = { sizeof(struct proto_hello), 0, 0 },
    [PROTO_CONTEXT_CREATE] = { sizeof(struct proto_context_create), 2, 2 },
    [PROTO_VIRGL_CREATE] = { sizeof(struct proto_context_create), 2, 2 },
    [PROTO_VENUS_CREATE] = { sizeof(struct proto_context_create), 2, 2 },
    [PROTO_STATUS] = { sizeof(struct proto_status), 0, 0 },
    [PROTO_WELCOME] = { sizeof(struct proto_welcome), 0, 0 },
    [PROTO_STATUS_REPLY] = { sizeof(struct proto_status_reply), 0, 0 },
    [PROTO_BLOB_CREATE] = { sizeof(struct proto_blob_create), 0, 0 },
    [PROTO_BLOB_DESTROY] = { sizeof(struct proto_blob_destroy), 0, 0 },
    [PROTO_RING_EVENT] = { sizeof(struct proto_ring_event), 1, 1 },
    [PROTO_BLOB_IMPORT] = { sizeof(struct proto_blob_import), 1, 1 },
    [PROTO_BLOB_CREATED] = { sizeof(struct proto_blob_created), 0, 1 },
    [PROTO_BLOB_IMPORTED] = { sizeof(struct proto_blob_imported), 0, 0 },
    [PROTO_EXPORTED] = { sizeof(struct proto_exported), 1, 1 },
    [PROTO_LOST] = { sizeof(struct proto_lost), 0, 0 },
};

static const struct packet *packet_of(uint32_t type)
{
    if (type >= sizeof(packets) / sizeof(packets[0]) || !packets[type].size) {
        return NULL;
    }
    return &packets[type];
}

int proto_send(int sock, const void *m, const int *fds, size_t n)
{
    const struct packet *packet = packet_of(*(const uint32_t *)m);
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(PROTO_FDS_MAX * sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *)m };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    assert(packet && n >= packet->fds_min && n <= packet->fds_max);
    iov.iov_len = packet->size;
    if (n) {
        struct cmsghdr *c;

        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    for (;;) {
        ssize_t sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent >= 0) {
            return 0;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

/* Take all fds out of @msg: the first PROTO_FDS_MAX are kept, others closed. */
static size_t take_fds(struct msghdr *msg, int fds[PROTO_FDS_MAX])
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (n < PROTO_FDS_MAX) {
                fds[n] = fd;
            } else {
                close(fd);
            }
            n++;
        }
    }
    return n;
}

/* Whether @size bytes with @n fds are what @m's type asks for. */
static bool is_valid(const union proto_any *m, ssize_t size, size_t n)
{
    const struct packet *packet =
        size >= (ssize_t)sizeof(m->type) ? packet_of(m->type) : NULL;

    if (!packet || packet->size != size || n < packet->fds_min ||
        n > packet->fds_max) {
        return false;
    }
    /* Whoever reads status 0 may rely on the fd. */
    return m->type != PROTO_BLOB_CREATED ||
           (m->blob_created.status == 0) == (n == 1);
}

static void terminate_texts(union proto_any *m)
{
    switch (m->type) {
    case PROTO_HELLO:
        m->hello.name[sizeof(m->hello.name) - 1] = '\0';
        break;
    case PROTO_CONTEXT_CREATE:
    case PROTO_VIRGL_CREATE:
    case PROTO_VENUS_CREATE:
        m->context_create.name[sizeof(m->context_create.name) - 1] = '\0';
        break;
    case PROTO_LOST:
        m->lost.text[sizeof(m->lost.text) - 1] = '\0';
        break;
    }
}

int proto_recv(int sock, union proto_any *m, int fds[PROTO_FDS_MAX])
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(PROTO_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buf,
        .msg_controllen = sizeof(control.buf),
    };
    ssize_t size;
    size_t n;

    for (size_t i = 0; i < PROTO_FDS_MAX; i++) {
        fds[i] = -1;
    }
    memset(m, 0, sizeof(*m));
    do {
        size = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return -errno;
    }
    n = take_fds(&msg, fds);
    if (size == 0 && n == 0) {
        return 0;
    }
    if (!is_valid(m, size, n) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (size_t i = 0; i < PROTO_FDS_MAX; i++) {
            if (fds[i] >= 0) {
                close(fds[i]);
                fds[i] = -1;
            }
        }
        return -EPROTO;
    }
    terminate_texts(m);
    return 1;
}

int proto_check_blob(int fd, uint64_t size)
{
    struct stat st;
    struct statfs fs;
    int seals = fcntl(fd, F_GET_SEALS);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    if (seals < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0) {
        return -errno;
    }
    /* Huge pages could run out behind a hole that the other side punches. */
    if (!(seals & F_SEAL_SHRINK) || ((uint64_t)st.st_size + page - 1) / page * page < size ||
        fs.f_type != TMPFS_MAGIC) {
        return -EINVAL;
    }
    return 0;
}

int proto_check_dmabuf(int fd, uint64_t size)
{
    struct statfs fs;
    off_t end;

    if (fstatfs(fd, &fs) < 0) {
        return -errno;
    }
    if (fs.f_type != DMA_BUF_MAGIC) {
        return -EINVAL;
    }
    end = lseek(fd, 0, SEEK_END);
    return end >= 0 && (uint64_t)end == size ? 0 : -EINVAL;
}
