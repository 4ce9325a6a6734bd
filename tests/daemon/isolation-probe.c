/*
 * A worker that turned against its host: it goes through isolation, tries what
 * a worker must not be able to do, and does what it must be able to do. Started by
 * test_isolation.py with the kind of file isolation, its directory, and a file of
 * the user's that it must not reach. Each failure is a line; the status says whether
 * there was any, 77 that this kind cannot be had here.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolate.h"
#include "isolate_stages.h"

static int failures;

static void expect(bool ok, const char *what)
{
    if (!ok) {
        printf("%s (%s)\n", what, strerror(errno));
        failures++;
    }
}

#define DENIED(call)  expect((errno = 0, (call)) < 0, "possible: " #call)
#define ALLOWED(call) expect((errno = 0, (call)) >= 0, "not possible: " #call)

static void try_files(const char *secret)
{
    char link[64];
    struct stat st;

    DENIED(open(secret, O_RDWR));
    DENIED(open("/usr/vgpu-probe", O_RDWR | O_CREAT, 0600));
    DENIED(open("/etc/vgpu-probe", O_RDWR | O_CREAT, 0600));
    DENIED(open("/dev/shm/vgpu-probe", O_RDWR | O_CREAT, 0600));
    DENIED(mkdir("/tmp/vgpu-probe", 0700));
    DENIED(unlink(secret));
    chmod("/usr", 0757); /* which says that it succeeded */
    expect(stat("/usr", &st) == 0 && (st.st_mode & 0777) == 0755,
           "can change modes");
    snprintf(link, sizeof(link), "/proc/%d/mem", getppid());
    DENIED(open(link, O_RDWR));
    DENIED(mount("none", "/mnt", "tmpfs", 0, NULL));
    DENIED(chroot("."));
    ALLOWED(open("file", O_RDWR | O_CREAT, 0600));
    ALLOWED(unlink("file"));
    ALLOWED(open("/usr/bin/ld", O_RDONLY));
    ALLOWED(open("/dev/null", O_RDWR));
}

/* What /proc tells about others. */
static void try_proc(pid_t other)
{
    char path[64];
    unsigned long others = 0;
    DIR *dir = opendir("/proc");
    struct dirent *e;

    snprintf(path, sizeof(path), "/proc/%d/cmdline", other);
    DENIED(open(path, O_RDONLY));
    DENIED(open("/proc/1/cmdline", O_RDONLY));
    while (dir && (e = readdir(dir))) {
        others += atol(e->d_name) > 0 && atol(e->d_name) != getpid();
    }
    expect(others == 0, "sees other processes");
    ALLOWED(open("/proc/self/maps", O_RDONLY));
    ALLOWED(open("/proc/self/mounts", O_RDONLY));
    ALLOWED(open("/proc/cpuinfo", O_RDONLY));
    ALLOWED(open("/proc/meminfo", O_RDONLY));
    ALLOWED(open("/sys/devices/system/cpu/online", O_RDONLY));
}

/* Its directory in a namespace: neither the disk's nor without an end. */
static void try_directory(const struct isolation *iso)
{
    struct statfs fs = { 0 };

    if (iso->namespaces) {
        ALLOWED(statfs(".", &fs));
        expect(fs.f_type == TMPFS_MAGIC && fs.f_blocks &&
               fs.f_blocks <= (1ul << 30) / 4096 && fs.f_files &&
               fs.f_files <= 65536, "its directory is not limited");
    }
}

/* Only one is left of those there were, and there is no way to the others. */
static void try_processors(pid_t other)
{
    cpu_set_t all, one, now;

    memset(&all, 0xff, sizeof(all));
    expect(sched_getaffinity(0, sizeof(one), &one) == 0 && CPU_COUNT(&one) == 1,
           "has not one processor");
    sched_setaffinity(0, sizeof(all), &all); /* which says that it succeeded */
    sched_setaffinity(getpid(), sizeof(all), &all);
    sched_setaffinity(other, sizeof(one), &one);
    expect(sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_EQUAL(&now, &one),
           "can have other processors");
    DENIED(open("/sys/fs/cgroup/cgroup.procs", O_WRONLY));
    DENIED(open("/sys/fs/cgroup/cpuset/cgroup.procs", O_WRONLY));
}

static void try_memory(void)
{
    expect(mmap(NULL, 1 << 21, PROT_READ | PROT_WRITE, MAP_PRIVATE |
                MAP_ANONYMOUS | MAP_HUGETLB, -1, 0) == MAP_FAILED &&
           errno == ENOSYS, "may ask for huge pages");
    expect(memfd_create("probe", MFD_HUGETLB) < 0 && errno == ENOSYS,
           "may make a memfd of huge pages");
    ALLOWED(memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

static void try_network(void)
{
    int pair[2];

    DENIED(socket(AF_INET, SOCK_STREAM, 0));
    DENIED(socket(AF_INET6, SOCK_DGRAM, 0));
    DENIED(socket(AF_UNIX, SOCK_STREAM, 0));
    DENIED(socket(AF_NETLINK, SOCK_RAW, 0));
    DENIED(socketpair(AF_INET, SOCK_STREAM, 0, pair));
    DENIED(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    DENIED(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
    DENIED(socketpair(AF_UNIX, SOCK_RAW, 0, pair));
    ALLOWED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    ALLOWED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    DENIED(connect(pair[0], &(struct sockaddr){ .sa_family = AF_UNIX }, 2));
    DENIED(syscall(SYS_io_uring_setup, 1, NULL));
}

static void try_others(pid_t other)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { (void *)&failures, 1 };

    DENIED(ptrace(PTRACE_ATTACH, other, NULL, NULL));
    DENIED(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    DENIED(process_vm_readv(other, &here, 1, &there, 1, 0));
    DENIED(kill(other, SIGKILL));
    DENIED(kill(-1, SIGCONT));
    DENIED(syscall(SYS_tgkill, other, other, SIGKILL));
    DENIED(syscall(SYS_pidfd_open, other, 0));
    DENIED(kill(other, 0));
    ALLOWED(kill(getpid(), 0));
}

/* Ways to signal somebody, or to disturb who shares an fd, by an fd. */
static void try_fds(pid_t other)
{
    struct f_owner_ex owner = { F_OWNER_PID, other };
    int ends[2], pid = other, off = 0;

    ALLOWED(pipe(ends));
    DENIED(fcntl(ends[0], F_SETOWN, other));
    DENIED(fcntl(ends[0], F_SETOWN_EX, &owner));
    DENIED(fcntl(ends[0], F_SETSIG, SIGKILL));
    DENIED(ioctl(ends[0], FIOSETOWN, &pid));
    DENIED(ioctl(ends[0], SIOCSPGRP, &pid));
    DENIED(ioctl(ends[0], FIONBIO, &off));
    DENIED(syscall(SYS_ioctl, ends[0], 1ul << 32 | FIONBIO, &off));
    DENIED(fcntl(ends[0], F_SETFL, 0));
    ALLOWED(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    ALLOWED(fcntl(ends[0], F_GETFL));
    ALLOWED(ioctl(ends[0], FIONREAD, &off));
    close(ends[0]);
    close(ends[1]);
}

/* Leaving the group that the server kills when the worker has ended. */
static void try_to_escape(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(setpgid(0, 0) < 0 && setsid() < 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    expect(status == 0, "a child can leave the worker's group");
}

static void try_privileges(void)
{
    DENIED(unshare(CLONE_NEWUSER));
    DENIED(unshare(CLONE_NEWNET));
    DENIED((int)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    DENIED(setuid(0));
    DENIED(setgroups(0, NULL));
    DENIED(syscall(SYS_bpf, 0, NULL, 0));
    DENIED(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0));
    DENIED(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    DENIED(syscall(SYS_userfaultfd, 0));
    expect(prctl(PR_GET_DUMPABLE) == 0, "can be traced");
}

/* What pocl does for every kernel: start a program, map code. */
static void try_work(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        execl("/usr/bin/true", "true", NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    expect(status == 0, "cannot run /usr/bin/true");
    expect(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED,
           "cannot map code");
}

/* The worker, in a child: its parent plays the server. */
static int worker(struct isolation *iso, const char *directory,
                  const char *secret, pid_t other)
{
    const char *why;

    if (chdir(directory) < 0) {
        perror(directory);
        return 1;
    }
    why = isolate_worker(iso, directory);
    if (why) {
        printf("isolation failed: %s\n", why);
        return 1;
    }
    try_files(secret);
    try_proc(other);
    try_directory(iso);
    try_processors(other);
    try_memory();
    try_network();
    try_others(other);
    try_fds(other);
    try_to_escape();
    try_privileges();
    try_work();
    fflush(stdout);
    return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct isolation iso = { .processors = 1 };
    cpu_set_t before, after;
    pid_t other, pid;
    bool moved;
    int status;

    if (argc != 4 || isolate_init(&iso, true)) {
        return 2;
    }
    iso.files = strstr(argv[1], "landlock") ? ISOLATE_FILES_LANDLOCK :
                                              ISOLATE_FILES_MOUNTS;
    if ((iso.files == ISOLATE_FILES_LANDLOCK && !iso.landlock_abi) ||
        (iso.files == ISOLATE_FILES_MOUNTS && !mounts_possible()) ||
        (strstr(argv[1], "namespaces") && !iso.namespaces)) {
        puts("this kernel or user has none of that kind");
        return 77;
    }
    iso.namespaces = strstr(argv[1], "namespaces");
    other = fork();
    if (other == 0) {
        pause();
        _exit(0);
    }
    sched_getaffinity(other, sizeof(before), &before);
    if (isolate_server(&iso)) {
        return 2;
    }
    pid = fork();
    if (pid == 0) {
        _exit(worker(&iso, argv[2], argv[3], other));
    }
    waitpid(pid, &status, 0);
    sched_getaffinity(other, sizeof(after), &after);
    moved = !CPU_EQUAL(&before, &after);
    if (moved) {
        puts("a process of the user's has other processors now");
    }
    kill(other, SIGKILL);
    if (WIFSIGNALED(status)) {
        printf("died of signal %d\n", WTERMSIG(status));
    }
    return status == 0 && !moved ? 0 : 1;
}
