/*
 * Keeping a worker from the host's files by Landlock, which any user may use,
 * also in a chroot and where user namespaces are refused.
 *
 * What it goes without where it has no /proc of its own (isolate_spaces.c): the
 * directories of other processes, which tell anybody their command lines. Landlock
 * allows what lies beneath an inode, and procfs makes a new inode for a path when
 * it has forgotten the old one: so the fds of these rules stay open.
 *
 * SPDX-License-Identifier: MIT
 */
#include "isolate_stages.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
    "/etc/drirc", "/etc/localtime", "/etc/locale.alias", "/sys",
};

/* What hwloc, LLVM, Mesa and NVIDIA's driver look at. */
static const char *const proc_paths[] = {
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
    "/proc/version", "/proc/filesystems", "/proc/devices", "/proc/modules",
    "/proc/driver", "/proc/sys/kernel", "/proc/sys/vm",
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

/* Allow @access beneath @path, which is opened as *@fd, or is not there (-1). */
static bool add_rule(int ruleset, const char *path, uint64_t access, int *fd)
{
    struct path_attr rule = { .access = access };
    struct stat st;

    *fd = rule.fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.fd < 0) {
        return true;
    }
    if (fstat(rule.fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
        rule.access &= FS_OF_FILES;
    }
    return syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0) == 0;
}

static bool allow(int ruleset, const char *path, uint64_t access)
{
    int fd;
    bool ok = add_rule(ruleset, path, access, &fd);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool allow_proc(int ruleset, const struct isolation *iso, uint64_t access)
{
    bool ok = true;
    int fd;

    if (iso->namespaces) {
        return allow(ruleset, "/proc", access);
    }
    for (size_t i = 0; i < sizeof(proc_paths) / sizeof(char *); i++) {
        ok = ok && add_rule(ruleset, proc_paths[i], access, &fd);
    }
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
              allow_nvidia(ruleset, device) && allow_proc(ruleset, iso, read);

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
