/*
 * Keeping a worker from the host's files: by Landlock, which any user may use,
 * also in a chroot and where user namespaces are refused; or, on kernels without
 * it, by a mount namespace.
 *
 * The mount namespace is the weaker one: system-wide configuration that the user
 * may read stays readable, only homes and the like are covered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "isolate_stages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- Landlock --------------------------------------------------------------- */

/* Older headers lack the newer rights, and the system's may be older than its kernel. */
#define FS_EXECUTE    (1ull << 0)
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE  (1ull << 2)
#define FS_READ_DIR   (1ull << 3)
#define FS_REFER      (1ull << 13)
#define FS_TRUNCATE   (1ull << 14)
#define FS_IOCTL_DEV  (1ull << 15)
#define FS_OF_FILES \
    (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define NET_BOTH      3ull /* bind and connect by TCP */
#define SCOPE_BOTH    3ull /* abstract sockets and signals: not beyond ourselves */

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct path_attr {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));

static const char *const system_paths[] = {
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix/store",
    "/run/opengl-driver",
    "/etc/OpenCL", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/alternatives", "/etc/nvidia", "/etc/glvnd", "/etc/vulkan",
    "/etc/drirc", "/etc/localtime", "/etc/locale.alias", "/proc", "/sys",
};

static const char *const devices[] = {
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
    "/dev/dri", "/dev/kfd", "/dev/nvidia-caps",
};

int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

    return abi < 0 ? 0 : (int)abi;
}

/* Every right that a kernel with @abi knows: what is not known cannot be denied. */
static uint64_t rights_of(int abi)
{
    uint64_t rights = FS_REFER - 1;

    rights |= abi >= 2 ? FS_REFER : 0;
    rights |= abi >= 3 ? FS_TRUNCATE : 0;
    rights |= abi >= 5 ? FS_IOCTL_DEV : 0;
    return rights;
}

/* Allow @access beneath @path; a path that is not there needs no rule. */
static bool allow(int ruleset, const char *path, uint64_t access)
{
    struct path_attr rule = { .access = access };
    struct stat st;
    bool ok;

    rule.fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.fd < 0) {
        return true;
    }
    if (fstat(rule.fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
        rule.access &= FS_OF_FILES;
    }
    ok = syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0) == 0;
    close(rule.fd);
    return ok;
}

/* /dev/nvidia0 and its like have no directory of their own. */
static bool allow_nvidia(int ruleset, uint64_t access)
{
    DIR *dir = opendir("/dev");
    struct dirent *e;
    bool ok = true;

    while (dir && ok && (e = readdir(dir))) {
        char path[300];

        if (strncmp(e->d_name, "nvidia", 6) == 0) {
            snprintf(path, sizeof(path), "/dev/%s", e->d_name);
            ok = allow(ruleset, path, access);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return ok;
}

static bool allow_all(int ruleset, const struct isolation *iso, uint64_t all,
                      const char *directory)
{
    uint64_t read = FS_READ_FILE | FS_READ_DIR;
    uint64_t device = (read | FS_WRITE_FILE | FS_IOCTL_DEV) & all;
    bool ok = allow(ruleset, directory, all & ~(FS_EXECUTE | FS_IOCTL_DEV)) &&
              allow_nvidia(ruleset, device);

    for (size_t i = 0; i < sizeof(system_paths) / sizeof(char *); i++) {
        ok = ok && allow(ruleset, system_paths[i], read | FS_EXECUTE);
    }
    for (size_t i = 0; i < sizeof(devices) / sizeof(char *); i++) {
        ok = ok && allow(ruleset, devices[i], device);
    }
    for (size_t i = 0; iso->readable[i]; i++) {
        ok = ok && allow(ruleset, iso->readable[i], read | FS_EXECUTE);
    }
    return ok;
}

const char *landlock_apply(const struct isolation *iso, const char *directory)
{
    struct ruleset_attr attr = {
        .fs = rights_of(iso->landlock_abi),
        .net = iso->landlock_abi >= 4 ? NET_BOTH : 0,
        .scoped = iso->landlock_abi >= 6 ? SCOPE_BOTH : 0,
    };
    size_t size = iso->landlock_abi >= 6 ? 24 : iso->landlock_abi >= 4 ? 16 : 8;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    bool ok;

    if (ruleset < 0) {
        return "Landlock is there, but refuses a ruleset";
    }
    ok = allow_all(ruleset, iso, attr.fs, directory) &&
         syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return ok ? NULL : "Landlock refuses a rule";
}

/* --- mounts ------------------------------------------------------------------ */

static const char *const hidden[] = {
    "/home", "/root", "/var", "/srv", "/mnt", "/media", "/boot", "/run", "/tmp",
    "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private",
};

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0) {
            /* Seen by the mounts that fail later. */
        }
        close(fd);
    }
}

/* A mount namespace; in a user namespace where that is what it takes. */
static bool own_mounts(void)
{
    unsigned uid = geteuid(), gid = getegid();
    char map[64];

    if (unshare(CLONE_NEWNS) < 0) {
        if (unshare(CLONE_NEWNS | CLONE_NEWUSER) < 0) {
            return false;
        }
        write_file("/proc/self/setgroups", "deny");
        snprintf(map, sizeof(map), "%u %u 1", uid, uid);
        write_file("/proc/self/uid_map", map);
        snprintf(map, sizeof(map), "%u %u 1", gid, gid);
        write_file("/proc/self/gid_map", map);
    }
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool all_read_only(void)
{
    struct {
        uint64_t set, clear, propagation, userns_fd;
    } attr = { .set = 1 /* MOUNT_ATTR_RDONLY */ };

    return syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attr,
                   sizeof(attr)) == 0;
}

bool mounts_possible(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        _exit(own_mounts() && all_read_only() ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
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
    if (!own_mounts() || !all_read_only()) {
        return "a mount namespace cannot be made";
    }
    for (size_t i = 0; i < sizeof(hidden) / sizeof(char *); i++) {
        if (!leads_to(hidden[i], directory) && !hide(hidden[i])) {
            return "a part of the host's files cannot be hidden";
        }
    }
    if (mount("none", directory, "tmpfs", MS_NOSUID | MS_NODEV,
              "size=1g,mode=700") < 0 || chdir(directory) < 0) {
        return "its directory cannot be made";
    }
    return NULL;
}
