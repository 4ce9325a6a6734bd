/*
 * Isolation, in stages. Each worker goes through all of them between fork() and
 * the first byte of its guest:
 *
 * 1. process     own session (no terminal), SIGKILL when the server dies, no core
 *                dumps, not traceable, limits on files and memory, the first to go
 *                when the host's memory is short. The server closed every fd
 *                but the context's; what it says on stderr goes through the
 *                server, which leaves out escapes and what is too much.
 * 2. namespaces  (where the user may make them) it sees no other process, and
 *                none that it starts outlives it or the server; its directory is
 *                a limited file system in memory. Where there is no
 *                Landlock, all else is read-only, and homes are covered.
 * 3. privileges  all capabilities and, by no_new_privs, every way to new ones.
 * 4. files       Landlock: reads of the system's directories, writes to the
 *                GPU's devices and to one directory of its own that vanishes.
 * 5. calls       seccomp: an allow list; no sockets, no namespaces, no tracing, no
 *                signals to others. Never left out.
 *
 * Network: no socket can be made (5), Landlock allows no TCP (4, ABI 4 on),
 * and where the server may, it has given up the network itself at its start.
 *
 * What stays open, and why:
 * - The host's OpenCL is loaded after all this, so the libraries in /usr and /opt
 *   and their configuration can be read, and new programs in /usr executed:
 *   pocl runs `ld` for every kernel. What is executed inherits every restriction.
 * - Code may be written and executed: pocl compiles to shared objects in the
 *   worker's directory, GPU drivers to memory.
 * - A virgl worker's EGL and GL need no more than that: GLVND and Mesa read their
 *   configuration and drivers in /usr and /etc, llvmpipe compiles to memory, the
 *   shader cache goes to the worker's directory, and where kcmp fails Mesa takes two
 *   files for different ones. No window system is asked for, so no socket is missed.
 * - A Venus worker starts virglrenderer's render server, a program in /usr, which inherits
 *   all of this. It is given a file in memory to preload, no directory.
 * - A GPU driver's ioctls on /dev/dri and /dev/nvidia* are not filtered: they are
 *   the way to the GPU, and differ by driver and version.
 * - A virgl worker may be handed dmabufs of its guest's pages, which it maps for reading. One
 *   that has been taken over can keep such an fd, map it for writing, and so read and
 *   write those pages, and no others, until it ends, whatever they are used for by then.
 *   Nothing is opened for them: mmap, fstatfs and lseek are on the list anyway, and for what
 *   the processor reads there is no ioctl to make.
 * - /proc and /sys, of which hwloc, LLVM and drivers read processors and devices,
 *   tell about the machine; without namespaces /sys, and a part of /proc.
 * - Memory: what an honest worker takes is charged by the server (budget.h), and
 *   RLIMIT_DATA stops one process. One that has been taken over can start more
 *   processes, and fill memfds, which count for none: only a cgroup around the
 *   server limits that (`systemd-run --user -p MemoryMax=8G vgpu-remoted ...`).
 *   Without one the kernel's OOM killer ends workers before anybody else.
 * - Time: all workers of a server share the processors that it kept for itself
 *   (isolate_processors.c), however many processes and threads they start. The call
 *   that sets others does nothing (5), and the files of cgroups cannot be written
 *   to, like all others (4; they can with --no-file-isolation). Shares of a processor
 *   are for a cgroup again (`-p CPUQuota=150%`). A GPU's time is not limited.
 * - Without namespaces, the disk space under $TMPDIR (a single file is limited).
 * - With --trace every worker can write to the file, and shorten it.
 * - Workers are forks of one server: their addresses are laid out alike.
 *
 * SPDX-License-Identifier: MIT
 */
#include "isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolate_stages.h"
#include "vgpu.h"

#define FDS_MAX     8192 /* a blob needs none for long; drivers open some */
#define DRIVER_DATA (4ull << 30) /* what drivers and compilers need themselves */

/* --- the server's part ------------------------------------------------------ */

const char *isolate_init(struct isolation *iso, bool files_optional)
{
    iso->landlock_abi = landlock_abi();
    iso->namespaces = spaces_possible();
    iso->server = getpid();
    if (iso->landlock_abi) {
        iso->files = ISOLATE_FILES_LANDLOCK;
    } else if (iso->namespaces && mounts_possible()) {
        iso->files = ISOLATE_FILES_MOUNTS;
    } else if (files_optional) {
        iso->files = ISOLATE_FILES_NONE;
    } else {
        return "workers cannot be kept from this host's files: the kernel has no "
               "Landlock (5.13 or later, 'landlock' in its lsm= list), and mount "
               "namespaces are not allowed; enable either, or give "
               "--no-file-isolation if no guest is hostile";
    }
    return NULL;
}

const char *isolate_server(struct isolation *iso)
{
    if (iso->processors) {
        iso->processors = processors_limit(iso->processors);
        if (!iso->processors) {
            return "processors cannot be given up (sched_setaffinity fails); "
                   "leave --processors out, or have a cgroup limit this server";
        }
    }
    if (iso->namespaces) {
        iso->first = spaces_enter();
        if (iso->first < 0) {
            return "namespaces cannot be made any more";
        }
    }
    iso->no_network = unshare(CLONE_NEWNET) == 0;
    prctl(PR_SET_DUMPABLE, 0); /* /proc/self/uid_map is ours no longer */
    return NULL;
}

static const char *files_text(const struct isolation *iso, char *buf, size_t n)
{
    switch (iso->files) {
    case ISOLATE_FILES_LANDLOCK:
        snprintf(buf, n, "Landlock (ABI %d)", iso->landlock_abi);
        break;
    case ISOLATE_FILES_MOUNTS:
        snprintf(buf, n, "read-only, homes covered (mount namespace)");
        break;
    case ISOLATE_FILES_NONE:
        snprintf(buf, n, "NOT ISOLATED (--no-file-isolation)");
        break;
    }
    return buf;
}

const char *isolate_text(const struct isolation *iso, char *buf, size_t n)
{
    char files[64], processors[64];

    snprintf(buf, n, "processors: %s; namespaces: %s; files: %s; network: no "
             "sockets%s; privileges: none; calls: seccomp (%u allowed)",
             processors_text(processors, sizeof(processors)),
             iso->namespaces ? "processes, mounts" : "none",
             files_text(iso, files, sizeof(files)),
             iso->no_network ? ", namespace" : "", calls_count());
    return buf;
}

void isolate_print(const struct isolation *iso)
{
    char files[64], processors[64];

    printf("processors: %s, %s\n"
           "process:    session of its own, dies with the server, no core dumps, "
           "no tracing, limits on fds and memory\n"
           "namespaces: %s\n"
           "files:      %s\n"
           "network:    no sockets (seccomp)%s%s\n"
           "privileges: no capabilities, no_new_privs\n"
           "calls:      seccomp, %u system calls allowed\n",
           processors_text(processors, sizeof(processors)),
           iso->processors ? "for all workers together" :
                             "all that the server has",
           iso->namespaces ? "no other processes in /proc, a limited directory" :
                             "none (they cannot be had here)",
           files_text(iso, files, sizeof(files)),
           iso->landlock_abi >= 4 ? ", no TCP (Landlock)" : "",
           iso->no_network ? ", empty network namespace" : "", calls_count());
}

/* --- stage 1: process --------------------------------------------------------- */

static bool limit(int what, rlim_t most)
{
    struct rlimit r;

    if (getrlimit(what, &r) < 0) {
        return false;
    }
    if (r.rlim_max == RLIM_INFINITY || r.rlim_max > most) {
        r.rlim_max = most;
    }
    r.rlim_cur = r.rlim_max;
    return setrlimit(what, &r) == 0;
}

/* When the host's memory is short. Best effort: some containers forbid it. */
static void go_first(void)
{
    int fd;

    prctl(PR_SET_DUMPABLE, 1); /* or the file is not ours, see isolate_server */
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    prctl(PR_SET_DUMPABLE, 0);
    if (fd >= 0) {
        if (write(fd, "1000", 4) < 0) {
            /* Then it has the same chances as others. */
        }
        close(fd);
    }
}

/*
 * Not RLIMIT_AS: GPU drivers reserve more addresses than any machine has memory.
 * Not RLIMIT_NPROC: it counts what else the same user runs.
 */
static const char *stage_process(const struct isolation *iso)
{
    setsid();
    umask(077);
    /* In a namespace of its own the server is no process, and its end is seen to. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
        (!iso->namespaces && getppid() != iso->server)) {
        return "the server is gone";
    }
    go_first();
    if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NOFILE, FDS_MAX) ||
        !limit(RLIMIT_FSIZE, VGPU_BLOB_SIZE_MAX)) {
        return "its limits cannot be set";
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* Their shadows count as terabytes. */
    if (iso->memory_max &&
        !limit(RLIMIT_DATA, iso->memory_max + DRIVER_DATA)) {
        return "its memory cannot be limited";
    }
#endif
    return NULL;
}

/* --- stage 3: privileges ------------------------------------------------------- */

static const char *stage_privileges(void)
{
    struct __user_cap_header_struct head = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

    for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* refused to ordinary users */
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &head, none) < 0) {
        return "its capabilities cannot be dropped";
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return "no_new_privs cannot be set";
    }
    if (prctl(PR_SET_DUMPABLE, 0) < 0) {
        return "it cannot be protected from tracing";
    }
    return NULL;
}

/* --- all of them ---------------------------------------------------------------- */

const char *isolate_worker(const struct isolation *iso, const char *directory)
{
    const char *why = stage_process(iso);

    if (!why && iso->namespaces) {
        why = spaces_apply(directory);
    }
    if (!why && iso->files == ISOLATE_FILES_MOUNTS) {
        why = mounts_apply(directory);
    }
    if (!why) {
        why = stage_privileges();
    }
    if (!why && iso->files == ISOLATE_FILES_LANDLOCK) {
        why = landlock_apply(iso, directory);
    }
    return why ? why : calls_apply();
}
