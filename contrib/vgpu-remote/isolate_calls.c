/*
 * The system calls that a worker may make, by libseccomp.
 *
 * It is an allow list: what a program with threads, files and children needs, as
 * libOpenCL, pocl with LLVM, the `ld` it starts, and GPU drivers are. A call that
 * is not listed fails with ENOSYS, so that libraries fall back to an older one (glibc
 * from clone3 to clone, whose flags can be looked at). Making a socket fails with
 * EACCES, because ENOSYS would confuse.
 *
 * Not listed, and why it matters: ptrace, process_vm_*, pidfd_*, kcmp (other
 * processes); mount, unshare, setns, pivot_root, chroot (another view of the system);
 * socket, connect, bind, listen, accept (network, and daemons of the host);
 * io_uring (does all of that unseen); bpf, perf_event_open, userfaultfd, keyctl,
 * module and kexec calls (attack surface); set*id, capset (privileges); setpgid,
 * setsid (whoever leaves the worker's group outlives it).
 *
 * Some calls are let through in part, as they reach further than they look:
 * - fcntl and ioctl can name a process to be sent any signal (F_SETOWN, F_SETSIG,
 *   FIOSETOWN), put characters into a terminal (TIOCSTI), and make an eventfd
 *   blocking that others share (F_SETFL, FIONBIO).
 * - mmap and memfd_create can take the host's reserve of huge pages, which is small,
 *   meant for others, and counted by no limit of ours.
 * - A datagram socket needs no connect() to reach every other on the host.
 *
 * SPDX-License-Identifier: MIT
 */
#include "isolate_stages.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEW_NAMESPACES \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
     CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static const char *const allowed[] = {
    /* memory */
    "brk", "munmap", "mremap", "mprotect", "madvise", "mlock", "mlock2",
    "munlock", "mincore", "msync", "membarrier", "mbind", "get_mempolicy", "set_mempolicy", "pkey_alloc", "pkey_free",
    "pkey_mprotect",
    /* files: which ones is another stage's */
    "open", "openat", "close", "close_range", "read", "write", "pread64",
    "pwrite64", "readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2",
    "lseek", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs",
    "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
    "getdents", "getdents64", "getcwd", "chdir", "fchdir", "rename",
    "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
    "symlink", "symlinkat", "link", "linkat", "umask", "ftruncate", "truncate",
    "fallocate", "fsync", "fdatasync", "flock", "dup", "dup2", "dup3", "pipe", "pipe2",
    "sendfile", "copy_file_range", "fadvise64",
    /* waiting */
    "select", "pselect6", "poll", "ppoll", "epoll_create", "epoll_create1",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd",
    "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "pause",
    "signalfd4", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    /* threads and children */
    "fork", "vfork", "execve", "exit", "exit_group", "wait4", "waitid",
    "getpid", "getppid", "gettid", "getpgrp", "getpgid", "getsid",
    "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "futex",
    "futex_waitv", "sched_yield", "sched_getaffinity", "sched_getparam",
    "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min",
    "getpriority", "getcpu", "arch_prctl", "prctl",
    "getrlimit", "setrlimit", "getrusage", "times", "sysinfo", "uname",
    "restart_syscall", "personality",
    /* who we are */
    "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid",
    "getgroups", "capget",
    /* signals, to ourselves: kill and tgkill are below */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
    "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
    /* time and chance */
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep",
    "gettimeofday", "time", "getitimer", "setitimer", "alarm", "timer_create",
    "timer_settime", "timer_gettime", "timer_delete", "timer_getoverrun",
    "getrandom",
    /* sockets that are there already */
    "sendmsg", "recvmsg", "sendto", "recvfrom", "getsockopt", "shutdown",
};

#define N_ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

unsigned calls_count(void)
{
    return (unsigned)N_ALLOWED;
}

static int allow_listed(scmp_filter_ctx ctx)
{
    int err = 0;

    for (size_t i = 0; i < N_ALLOWED && !err; i++) {
        int nr = seccomp_syscall_resolve_name(allowed[i]);

        /* Negative: a call that this architecture never had. */
        if (nr >= 0) {
            err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
        }
    }
    return err;
}

/*
 * Calls that do nothing, and say that they did: `ld` makes its output executable
 * and takes no for a failure, but no other stage limits whose modes may be changed.
 * Nor whose processors, which are those that the server has kept: Mesa gives some
 * of its threads all there are, and does not mind; AMD's OpenCL does so too, and
 * takes a thread for not started if that fails; hwloc goes to one after the
 * other to look at it, sees the same one each time, and believes /sys instead.
 */
static int pretend(scmp_filter_ctx ctx)
{
    static const char *const calls[] = {
        "chmod", "fchmod", "fchmodat", "utimensat", "sched_setaffinity",
    };
    int err = 0;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !err; i++) {
        int nr = seccomp_syscall_resolve_name(calls[i]);

        if (nr >= 0) {
            err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(0), nr, 0);
        }
    }
    return err;
}

/* Of fcntl, what is about one's own fds and files. */
static int allow_fcntl(scmp_filter_ctx ctx)
{
    static const unsigned commands[] = {
        F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_GETLK, F_SETLK,
        F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ,
        F_SETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS,
    };
    int err = seccomp_rule_add(
        ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2, SCMP_A1(SCMP_CMP_EQ, F_SETFL),
        SCMP_A2(SCMP_CMP_MASKED_EQ, O_NONBLOCK, O_NONBLOCK));

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && !err;
         i++) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                               SCMP_A1(SCMP_CMP_EQ, commands[i]));
    }
    return err;
}

static int allow_ioctl_masked(scmp_filter_ctx ctx, unsigned mask, unsigned value)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                            SCMP_A1(SCMP_CMP_MASKED_EQ, mask << 8, value << 8));
}

/*
 * All of ioctl but terminals' and sockets', whose numbers have 0x54 and 0x89 in
 * their second byte. A filter can compare some bits with a value, and not say "other
 * than": so the first two bits equal (as in neither), or those of one and any
 * later bit not.
 */
static int allow_ioctl(scmp_filter_ctx ctx)
{
    static const unsigned denied[] = { 0x54, 0x89 };
    static const unsigned harmless[] = {
        TCGETS, TIOCGWINSZ, FIONREAD, FIOCLEX, FIONCLEX,
    };
    int err = allow_ioctl_masked(ctx, 0xc0, 0x00);

    err = err ? err : allow_ioctl_masked(ctx, 0xc0, 0xc0);
    for (size_t i = 0; i < 2; i++) {
        for (unsigned bit = 1; bit < 0x40 && !err; bit <<= 1) {
            err = allow_ioctl_masked(ctx, 0xc0 | bit, (denied[i] & 0xc0) |
                                     (~denied[i] & bit));
        }
    }
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]) && !err;
         i++) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                               SCMP_A1(SCMP_CMP_EQ, harmless[i]));
    }
    return err;
}

/* Pairs of sockets that reach only each other. */
static int allow_socketpair(scmp_filter_ctx ctx)
{
    static const unsigned types[] = { SOCK_STREAM, SOCK_SEQPACKET };
    int err = 0;

    for (size_t i = 0; i < 2 && !err; i++) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 2,
                               SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
                               SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, types[i]));
    }
    return err;
}

/* Memory, but not of huge pages. */
static int allow_memory(scmp_filter_ctx ctx)
{
    int err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_HUGETLB, 0));

    return err ? err : seccomp_rule_add(
        ctx, SCMP_ACT_ALLOW, SCMP_SYS(memfd_create), 1,
        SCMP_A1(SCMP_CMP_MASKED_EQ, MFD_HUGETLB, 0));
}

/* Calls that depend on an argument. */
static int allow_some(scmp_filter_ctx ctx)
{
    pid_t self = getpid();
    int err;

    err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                           SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0));
    if (!err) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)self));
    }
    if (!err) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)self));
    }
    if (!err) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
                               SCMP_A0(SCMP_CMP_EQ, 0));
    }
    err = err ? err : allow_memory(ctx);
    err = err ? err : allow_socketpair(ctx);
    err = err ? err : allow_fcntl(ctx);
    err = err ? err : allow_ioctl(ctx);
    if (!err) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 0);
    }
    return err;
}

const char *calls_apply(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int err;

    if (!ctx) {
        return "no memory for the list of system calls";
    }
    /* Looked up in a tree: filters are walked at every call we make. */
    seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    err = allow_listed(ctx);
    if (!err) {
        err = allow_some(ctx);
    }
    if (!err) {
        err = pretend(ctx);
    }
    if (!err) {
        err = seccomp_load(ctx);
    }
    seccomp_release(ctx);
    return err ? "the system calls cannot be restricted (seccomp)" : NULL;
}
