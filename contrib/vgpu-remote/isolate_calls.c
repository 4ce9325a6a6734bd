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
 * module and kexec calls (attack surface); set*id, capset (privileges).
 *
 * SPDX-License-Identifier: MIT
 */
#include "isolate_stages.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEW_NAMESPACES \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
     CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static const char *const allowed[] = {
    /* memory */
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "mlock", "mlock2",
    "munlock", "mincore", "msync", "membarrier", "memfd_create", "mbind",
    "get_mempolicy", "set_mempolicy", "pkey_alloc", "pkey_free",
    "pkey_mprotect",
    /* files: which ones is another stage's */
    "open", "openat", "close", "close_range", "read", "write", "pread64",
    "pwrite64", "readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2",
    "lseek", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs",
    "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
    "getdents", "getdents64", "getcwd", "chdir", "fchdir", "rename",
    "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
    "symlink", "symlinkat", "link", "linkat", "umask", "ftruncate", "truncate",
    "fallocate", "fsync", "fdatasync", "flock", "fcntl", "dup", "dup2", "dup3", "pipe", "pipe2",
    "ioctl", "sendfile", "copy_file_range", "fadvise64",
    /* waiting */
    "select", "pselect6", "poll", "ppoll", "epoll_create", "epoll_create1",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd",
    "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "pause",
    "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    /* threads and children */
    "fork", "vfork", "execve", "exit", "exit_group", "wait4", "waitid",
    "getpid", "getppid", "gettid", "getpgrp", "getpgid", "getsid", "setpgid",
    "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "futex",
    "futex_waitv", "sched_yield", "sched_getaffinity", "sched_setaffinity",
    "sched_getparam", "sched_getscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "getpriority", "getcpu", "arch_prctl", "prctl",
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
 */
static int pretend(scmp_filter_ctx ctx)
{
    static const char *const calls[] = {
        "chmod", "fchmod", "fchmodat", "utimensat",
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
    if (!err) {
        err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
                               SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    }
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
