/*
 * Packets of the session protocol over a real socket pair: what is not exactly
 * a packet of the table is refused, and whatever happens no fd is left open.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto.h"

#define FDS_SENT_MAX 253 /* the kernel's SCM_MAX_FD */

/* Every type there is, as docs/specs/wire.rst lists them. */
static const struct {
    uint32_t type;
    size_t size, fds;
} types[] = {
    { PROTO_HELLO, 88, 0 },          { PROTO_CONTEXT_CREATE, 72, 2 },
    { PROTO_STATUS, 8, 0 },          { PROTO_WELCOME, 24, 0 },
    { PROTO_STATUS_REPLY, 24, 0 },   { PROTO_BLOB_CREATE, 24, 0 },
    { PROTO_BLOB_DESTROY, 16, 0 },   { PROTO_RING_EVENT, 8, 1 },
    { PROTO_BLOB_CREATED, 32, 1 },   { PROTO_LOST, 264, 0 },
};
#define TYPES (sizeof(types) / sizeof(types[0]))

struct fixture {
    int out, in;  /* the two ends */
    int files[FDS_SENT_MAX];
    int fds_open; /* when the test began */
};

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int pair[2];

    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    f->out = pair[0];
    f->in = pair[1];
    for (int i = 0; i < FDS_SENT_MAX; i++) {
        f->files[i] = eventfd(0, EFD_CLOEXEC);
        assert_true(f->files[i] >= 0);
    }
    f->fds_open = count_fds();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(count_fds(), f->fds_open);
    close(f->out);
    close(f->in);
    for (int i = 0; i < FDS_SENT_MAX; i++) {
        close(f->files[i]);
    }
    free(f);
    return 0;
}

/* Send any bytes with any number of fds, as a hostile peer would. */
static void send_raw(struct fixture *f, const void *bytes, size_t size, size_t n)
{
    static union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(FDS_SENT_MAX * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = (void *)bytes, .iov_len = size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (n) {
        struct cmsghdr *c;

        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), f->files, n * sizeof(int));
    }
    assert_int_equal(sendmsg(f->out, &msg, 0), size);
}

static int receive(struct fixture *f, union proto_any *m, int fds[PROTO_FDS_MAX])
{
    int ret = proto_recv(f->in, m, fds);

    if (ret != 1) {
        assert_int_equal(fds[0], -1);
        assert_int_equal(fds[1], -1);
    }
    return ret;
}

static void expect_refusal(struct fixture *f)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX];

    assert_int_equal(receive(f, &m, fds), -EPROTO);
    assert_int_equal(count_fds(), f->fds_open);
}

static void close_all(int fds[PROTO_FDS_MAX])
{
    for (int i = 0; i < PROTO_FDS_MAX; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static void packet_of_each_type_arrives_with_its_fds(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < TYPES; i++) {
        union proto_any sent = { 0 }, got;
        int fds[PROTO_FDS_MAX];

        memset((char *)&sent + 8, 0x11, types[i].size - 8);
        sent.type = types[i].type;
        assert_int_equal(proto_send(f->out, &sent, f->files, types[i].fds), 0);
        assert_int_equal(receive(f, &got, fds), 1);
        assert_int_equal(got.type, types[i].type);
        /* All but the last byte, which may be a text's NUL. */
        assert_memory_equal(&got, &sent, types[i].size - 1);
        for (size_t k = 0; k < PROTO_FDS_MAX; k++) {
            assert_int_equal(fds[k] >= 0, k < types[i].fds);
        }
        for (size_t k = 0; k < types[i].fds; k++) {
            uint64_t n = 3 + k;

            assert_int_equal(fcntl(fds[k], F_GETFD), FD_CLOEXEC);
            assert_int_equal(write(fds[k], &n, 8), 8);
            assert_int_equal(read(f->files[k], &n, 8), 8);
            assert_int_equal(n, 3 + k);
        }
        close_all(fds);
    }
}

static void packet_of_a_wrong_size_is_refused(void **state)
{
    struct fixture *f = *state;
    char bytes[sizeof(union proto_any) + 4096] = { 0 };

    for (size_t i = 0; i < TYPES; i++) {
        memcpy(bytes, &types[i].type, 4);
        for (size_t n = 1; n <= sizeof(union proto_any) + 16; n++) {
            if (n != types[i].size) {
                send_raw(f, bytes, n, types[i].fds);
                expect_refusal(f);
            }
        }
        send_raw(f, bytes, sizeof(bytes), types[i].fds);
        expect_refusal(f);
    }
}

static void packet_with_a_wrong_number_of_fds_is_refused(void **state)
{
    static const size_t counts[] = { 0, 1, 2, 3, 4, 16, FDS_SENT_MAX };
    struct fixture *f = *state;
    union proto_any m = { 0 };

    for (size_t i = 0; i < TYPES; i++) {
        for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
            if (counts[k] != types[i].fds) {
                m.type = types[i].type;
                send_raw(f, &m, types[i].size, counts[k]);
                expect_refusal(f);
            }
        }
    }
}

static void packet_of_an_unknown_type_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 1;

    for (uint32_t i = 0; i < 4096; i++) {
        union proto_any m = { .type = i < 2048 ? i : random_next(&random) };
        bool known = false;

        for (size_t k = 0; k < TYPES; k++) {
            known |= types[k].type == m.type;
        }
        if (!known) {
            send_raw(f, &m, 8, i % 4);
            expect_refusal(f);
        }
    }
}

static void fds_without_a_packet_are_closed(void **state)
{
    struct fixture *f = *state;

    for (size_t n = 1; n < 5; n++) {
        send_raw(f, "", 0, n);
        expect_refusal(f);
        send_raw(f, "abc", 3, n);
        expect_refusal(f);
    }
}

static void empty_packet_reads_as_end_of_file(void **state)
{
    struct fixture *f = *state;
    union proto_any m;
    int fds[PROTO_FDS_MAX];

    send_raw(f, "", 0, 0);
    assert_int_equal(receive(f, &m, fds), 0);
}

static void blob_has_an_fd_exactly_if_it_was_created(void **state)
{
    struct fixture *f = *state;
    union proto_any m = { .blob_created = { .type = PROTO_BLOB_CREATED } };
    int fds[PROTO_FDS_MAX];

    send_raw(f, &m, sizeof(m.blob_created), 0);
    expect_refusal(f);
    m.blob_created.status = ENOMEM;
    send_raw(f, &m, sizeof(m.blob_created), 1);
    expect_refusal(f);
    send_raw(f, &m, sizeof(m.blob_created), 0);
    assert_int_equal(receive(f, &m, fds), 1);
    assert_int_equal(m.blob_created.status, ENOMEM);
}

static void fds_that_do_not_fit_this_process_leave_nothing_open(void **state)
{
    struct fixture *f = *state;
    struct proto_context_create m = { .type = PROTO_CONTEXT_CREATE };
    union proto_any got;
    struct rlimit old, few;
    int highest = dup(f->in);
    int fds[PROTO_FDS_MAX];

    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (int room = 0; room < 2; room++) {
        send_raw(f, &m, sizeof(m), 2);
        few = (struct rlimit){ (rlim_t)(highest + room), old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        assert_int_equal(receive(f, &got, fds), -EPROTO);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(count_fds(), f->fds_open);
    }
}

static void text_without_an_end_is_ended(void **state)
{
    struct fixture *f = *state;
    union proto_any m;
    int fds[PROTO_FDS_MAX];

    memset(&m, 'x', sizeof(m));
    m.type = PROTO_HELLO;
    send_raw(f, &m, sizeof(m.hello), 0);
    assert_int_equal(receive(f, &m, fds), 1);
    assert_int_equal(strlen(m.hello.name), VGPU_NAME_MAX - 1);

    memset(&m, 'x', sizeof(m));
    m.type = PROTO_CONTEXT_CREATE;
    send_raw(f, &m, sizeof(m.context_create), 2);
    assert_int_equal(receive(f, &m, fds), 1);
    assert_int_equal(strlen(m.context_create.name), VGPU_NAME_MAX - 1);
    close_all(fds);

    memset(&m, 'x', sizeof(m));
    m.type = PROTO_LOST;
    send_raw(f, &m, sizeof(m.lost), 0);
    assert_int_equal(receive(f, &m, fds), 1);
    assert_int_equal(strlen(m.lost.text), PROTO_TEXT_MAX - 1);
}

static void nothing_to_read_is_told_from_the_end(void **state)
{
    struct fixture *f = *state;
    union proto_any m;
    int fds[PROTO_FDS_MAX];

    fcntl(f->in, F_SETFL, O_NONBLOCK);
    assert_int_equal(receive(f, &m, fds), -EAGAIN);
    shutdown(f->out, SHUT_WR);
    assert_int_equal(receive(f, &m, fds), 0);
    assert_int_equal(receive(f, &m, fds), 0);
}

static void peer_that_does_not_read_blocks_nobody(void **state)
{
    struct fixture *f = *state;
    struct proto_lost m = { .type = PROTO_LOST };
    union proto_any got;
    int fds[PROTO_FDS_MAX];
    int sent = 0, ret;

    while ((ret = proto_send(f->out, &m, NULL, 0)) == 0) {
        assert_true(++sent < 1000000);
    }
    assert_int_equal(ret, -EAGAIN);
    assert_int_equal(receive(f, &got, fds), 1);
    shutdown(f->in, SHUT_RD);
    assert_int_equal(proto_send(f->out, &m, NULL, 0), -EPIPE);
}

/* --- proto_check_blob ----------------------------------------------------------- */

static int make_memfd(off_t size, unsigned flags, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | flags);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    if (seals) {
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    }
    return fd;
}

static void expect_blob(int fd, uint64_t size, int want)
{
    assert_int_equal(proto_check_blob(fd, size), want);
    close(fd);
}

static void blob_that_could_shrink_is_refused(void **state)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

    expect_blob(make_memfd(8192, MFD_ALLOW_SEALING, seals), 8192, 0);
    expect_blob(make_memfd(8192, MFD_ALLOW_SEALING, F_SEAL_SHRINK), 4096, 0);
    expect_blob(make_memfd(8192, MFD_ALLOW_SEALING, 0), 8192, -EINVAL);
    expect_blob(make_memfd(8192, 0, 0), 8192, -EINVAL);
    expect_blob(make_memfd(8192, MFD_ALLOW_SEALING, F_SEAL_GROW), 1, -EINVAL);
}

static void blob_smaller_than_promised_is_refused(void **state)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

    expect_blob(make_memfd(4096, MFD_ALLOW_SEALING, seals), 4097, -EINVAL);
    expect_blob(make_memfd(4096, MFD_ALLOW_SEALING, seals), 1ull << 63, -EINVAL);
    expect_blob(make_memfd(4096, MFD_ALLOW_SEALING, seals), UINT64_MAX, -EINVAL);
    expect_blob(make_memfd(0, MFD_ALLOW_SEALING, seals), 1, -EINVAL);
}

static void blob_that_is_no_memory_is_refused(void **state)
{
    int pipes[2];

    assert_int_equal(proto_check_blob(-1, 0), -EBADF);
    expect_blob(eventfd(0, EFD_CLOEXEC), 0, -EINVAL);
    expect_blob(socket(AF_UNIX, SOCK_STREAM, 0), 0, -EINVAL);
    expect_blob(open("/proc/self/exe", O_RDONLY), 1, -EINVAL);
    expect_blob(open("/dev/zero", O_RDWR), 0, -EINVAL);
    assert_int_equal(pipe(pipes), 0);
    expect_blob(pipes[0], 0, -EINVAL);
    expect_blob(pipes[1], 0, -EINVAL);
}

static void blob_of_huge_pages_is_refused(void **state)
{
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

    if (fd < 0) {
        print_message("# skipped: this kernel has no huge pages\n");
        skip();
    }
    assert_int_equal(ftruncate(fd, 2 << 20), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    expect_blob(fd, 4096, -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packet_of_each_type_arrives_with_its_fds),
        TEST(packet_of_a_wrong_size_is_refused),
        TEST(packet_with_a_wrong_number_of_fds_is_refused),
        TEST(packet_of_an_unknown_type_is_refused),
        TEST(fds_without_a_packet_are_closed),
        TEST(empty_packet_reads_as_end_of_file),
        TEST(blob_has_an_fd_exactly_if_it_was_created),
        TEST(fds_that_do_not_fit_this_process_leave_nothing_open),
        TEST(text_without_an_end_is_ended),
        TEST(nothing_to_read_is_told_from_the_end),
        TEST(peer_that_does_not_read_blocks_nobody),
        TEST(blob_that_could_shrink_is_refused),
        TEST(blob_smaller_than_promised_is_refused),
        TEST(blob_that_is_no_memory_is_refused),
        TEST(blob_of_huge_pages_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
