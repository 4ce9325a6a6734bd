/*
 * A client made of a fuzzer's bytes: packets of the session protocol, right and
 * wrong ones, with fds of all kinds.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PACKETS_H
#define PACKETS_H

#include "fuzz.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto.h"

#define PACKETS_MAX 64 /* fit in a socket that nobody reads yet */

static const struct {
    uint32_t type;
    size_t size, fds;
} packet_types[] = {
    { PROTO_HELLO, sizeof(struct proto_hello), 0 },
    { PROTO_CONTEXT_CREATE, sizeof(struct proto_context_create), 2 },
    { PROTO_STATUS, sizeof(struct proto_status), 0 },
    { PROTO_BLOB_CREATE, sizeof(struct proto_blob_create), 0 },
    { PROTO_BLOB_DESTROY, sizeof(struct proto_blob_destroy), 0 },
    { PROTO_RING_EVENT, sizeof(struct proto_ring_event), 1 },
    { PROTO_BLOB_IMPORT, sizeof(struct proto_blob_import), 1 },
};
#define PACKET_TYPES (sizeof(packet_types) / sizeof(packet_types[0]))

/* An fd that a client might send, for us to close. */
static inline int packet_fd(uint8_t kind)
{
    int pair[2];

    switch (kind % 4) {
    case 0:
        return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    case 1:
        fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
        break;
    case 2:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    default:
        fuzz_require(pipe(pair) == 0);
        break;
    }
    close(pair[0]);
    return pair[1];
}

/* Send @n fds of the kinds that @in says along with @size bytes. */
static inline void packet_send_raw(int sock, const void *bytes, size_t size,
                                   size_t n, struct fuzz_input *in)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(4 * sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *)bytes, .iov_len = size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    int fds[4];

    for (size_t i = 0; i < n; i++) {
        fds[i] = packet_fd(fuzz_u8(in));
        fuzz_require(fds[i] >= 0);
    }
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
    fuzz_require(sendmsg(sock, &msg, MSG_DONTWAIT) == (ssize_t)size);
    for (size_t i = 0; i < n; i++) {
        close(fds[i]);
    }
}

/*
 * The first bytes of a good packet are the input's; the rest is one of them again
 * and again, so that short inputs are whole conversations.
 */
static inline void packet_fill(union proto_any *m, size_t size,
                               struct fuzz_input *in)
{
    const size_t some = 24;

    fuzz_bytes(in, m, size < some ? size : some);
    if (size > some) {
        memset((char *)m + some, ((char *)m)[some - 1], size - some);
    }
}

/** packet_send_hello: the packet that a conversation has to begin with. */
static inline void packet_send_hello(int sock)
{
    struct proto_hello hello = { .type = PROTO_HELLO, .magic = PROTO_MAGIC,
                                 .version = VGPU_PROTOCOL_VERSION };

    fuzz_require(proto_send(sock, &hello, NULL, 0) == 0);
}

/** packet_send: one packet as @in says; mostly a good one, into *@m as well. */
static inline void packet_send(int sock, struct fuzz_input *in,
                               union proto_any *m)
{
    uint8_t kind = fuzz_u8(in);
    size_t t = kind % (PACKET_TYPES + 1);

    memset(m, 0, sizeof(*m));
    if (t == PACKET_TYPES) {
        size_t size = fuzz_u32(in) % (sizeof(*m) + 9);
        char bytes[sizeof(*m) + 8];

        fuzz_bytes(in, bytes, sizeof(bytes));
        memcpy(m, bytes, sizeof(*m));
        packet_send_raw(sock, bytes, size, kind >> 6, in);
        return;
    }
    packet_fill(m, packet_types[t].size, in);
    m->type = packet_types[t].type;
    if (m->type == PROTO_HELLO && kind & 0x80) {
        m->hello.magic = PROTO_MAGIC;
        m->hello.version = VGPU_PROTOCOL_VERSION;
    }
    packet_send_raw(sock, m, packet_types[t].size, packet_types[t].fds, in);
}

/* Which of the first fds are open: taken before and after, they tell a leak. */
#define OPEN_FDS_MAX 256

struct open_fds {
    struct pollfd fds[OPEN_FDS_MAX];
};

static inline void open_fds_get(struct open_fds *o)
{
    for (int i = 0; i < OPEN_FDS_MAX; i++) {
        o->fds[i] = (struct pollfd){ .fd = i };
    }
    poll(o->fds, OPEN_FDS_MAX, 0);
}

/** open_fds_close_new: close what was not open at @before; returns how many. */
static inline int open_fds_close_new(const struct open_fds *before)
{
    static struct open_fds now;
    int n = 0;

    open_fds_get(&now);
    for (int i = 0; i < OPEN_FDS_MAX; i++) {
        if (before->fds[i].revents & POLLNVAL &&
            !(now.fds[i].revents & POLLNVAL)) {
            close(i);
            n++;
        }
    }
    return n;
}

#endif
