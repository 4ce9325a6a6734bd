/*
 * Namespaces: a worker's own view of processes and files, where the user may
 * make one (as root, or by a user namespace).
 *
 * The server enters a user namespace if it has to, and opens a namespace of
 * processes for its workers, which are not in its own. The first process in such a
 * namespace takes all others along when it ends; here that is a process that does
 * nothing but wait for the server's end, so that nothing which a worker has
 * started can outlive the server, however the server ends.
 *
 * Each worker then makes a namespace of mounts: a /proc in which it sees only
 * itself and what it started, and, as its directory, a file system in memory that
 * is limited and that the kernel drops when the last of them is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "isolate_stages.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Kernels and their temporary files; a guest that needs more sees a full disk. */
#define DIRECTORY_LIMITS "size=512m,nr_inodes=65536,mode=700"

/* --- the server's part -------------------------------------------------------- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* In a user namespace where that is what it takes, as who we were. */
static bool unshare_processes(void)
{
    unsigned uid = geteuid(), gid = getegid();
    char uids[64], gids[64];

    if (unshare(CLONE_NEWPID) == 0) {
        return true;
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
        return false;
    }
    snprintf(uids, sizeof(uids), "%u %u 1", uid, uid);
    snprintf(gids, sizeof(gids), "%u %u 1", gid, gid);
    return write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", uids) &&
           write_file("/proc/self/gid_map", gids);
}

/* The first process: until the server has ended, and with it the pipe. */
static _Noreturn void wait_for_the_end(int server)
{
    char byte;

    prctl(PR_SET_NAME, "vgpu-init");
    signal(SIGCHLD, SIG_IGN); /* orphans are reaped by the kernel */
    if (dup2(server, 0) < 0) {
        _exit(1);
    }
    close_range(1, ~0u, 0);
    while (read(0, &byte, 1) < 0 && errno == EINTR) {
    }
    _exit(0);
}

pid_t spaces_enter(void)
{
    int ends[2];
    pid_t pid;

    if (!unshare_processes() || pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    pid = fork();
    if (pid == 0) {
        close(ends[1]);
        wait_for_the_end(ends[0]);
    }
    close(ends[0]); /* the other end stays open as long as this process lives */
    return pid;
}

/* --- the worker's part -------------------------------------------------------- */

static bool own_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool own_proc(void)
{
    unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

    return mount("proc", "/proc", "proc", flags, "hidepid=ptraceable") == 0 ||
           mount("proc", "/proc", "proc", flags, "hidepid=2") == 0;
}

const char *spaces_apply(const char *directory)
{
    if (!own_mounts() || !own_proc()) {
        return "a mount namespace cannot be made";
    }
    if (mount("none", directory, "tmpfs", MS_NOSUID | MS_NODEV,
              DIRECTORY_LIMITS) < 0 || chdir(directory) < 0) {
        return "its directory cannot be made";
    }
    return NULL;
}

/* --- whether it works ----------------------------------------------------------- */

/* All of it, by a child that plays the server and one that plays a worker. */
bool spaces_possible(void)
{
    pid_t pid = fork(), worker;
    int status;

    if (pid == 0) {
        if (spaces_enter() < 0) {
            _exit(1);
        }
        worker = fork();
        if (worker == 0) {
            _exit(own_mounts() && own_proc() &&
                  mount("none", "/proc", "tmpfs", 0, DIRECTORY_LIMITS) == 0 ?
                  0 : 1);
        }
        _exit(worker > 0 && waitpid(worker, &status, 0) == worker &&
              status == 0 ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* --- without Landlock: what else is in the way ------------------------------------ */

static const char *const hidden[] = {
    "/home", "/root", "/var", "/srv", "/mnt", "/media", "/boot", "/run", "/tmp",
    "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private",
};

bool mounts_possible(void)
{
    struct {
        uint64_t set, clear, propagation, userns_fd;
    } none = { 0 };

    /* Linux 5.12; nothing is changed here. */
    return syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &none, sizeof(none)) ==
               0 || errno != ENOSYS;
}

static bool set_read_only(const char *path, unsigned flags, bool on)
{
    struct {
        uint64_t set, clear, propagation, userns_fd;
    } attr = { .set = on /* MOUNT_ATTR_RDONLY */, .clear = !on };

    return syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attr,
                   sizeof(attr)) == 0;
}

/* Whether @path is in @directory's way. */
static bool leads_to(const char *path, const char *directory)
{
    size_t n = strlen(path);

    return strncmp(path, directory, n) == 0 && directory[n] == '/';
}

/* Cover @path: a directory by an empty one, a file by /dev/null. */
static bool hide(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return true;
    }
    if (S_ISDIR(st.st_mode)) {
        return mount("none", path, "tmpfs", MS_RDONLY, "size=4k") == 0;
    }
    return mount("/dev/null", path, NULL, MS_BIND, NULL) == 0;
}

const char *mounts_apply(const char *directory)
{
    for (size_t i = 0; i < sizeof(hidden) / sizeof(char *); i++) {
        if (!leads_to(hidden[i], directory) && !hide(hidden[i])) {
            return "a part of the host's files cannot be hidden";
        }
    }
    if (!set_read_only("/", AT_RECURSIVE, true) ||
        !set_read_only(directory, 0, false)) {
        return "the host's files cannot be made read-only";
    }
    return NULL;
}
