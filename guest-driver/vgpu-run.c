/*
 * vgpu-run: run a program with our OpenCL, and no other.
 *
 *   1. Where the computing is to be done: at the server named by --server; or, in
 *      a guest with a vgpu-remote device, over its render node; or at a private
 *      vgpu-remoted that is started for this one run.
 *   2. A temporary directory gets the ICD loader's configuration, which names our
 *      library alone (and the private server's socket).
 *   3. The program runs; its exit status is ours. Server and directory go away. If
 *      we are killed, the next vgpu-remoted takes the directory for one that a
 *      killed server has left (tempdir.h), and removes it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "transport.h"

#ifndef INSTALLED_LIBDIR
#define INSTALLED_LIBDIR "/usr/lib"
#endif

#define SERVER_START_MS 10000
#define SERVER_END_MS   3000

static const char help[] =
    "Usage: vgpu-run [OPTION]... COMMAND [ARGUMENT]...\n"
    "Run COMMAND with vgpu-remote's OpenCL and no other.\n"
    "\n"
    "  --server ADDR  compute at the vgpu-remoted that listens at ADDR, a socket's\n"
    "                 path. Without it: in a guest with a vgpu-remote device, on the\n"
    "                 VM's host; elsewhere, at a private vgpu-remoted on this machine\n"
    "  --processors N how many processors that private vgpu-remoted and all that it\n"
    "                 computes may use (0: as many as there are)\n"
    "  --preload      for programs that do not use the ICD loader: put our\n"
    "                 functions in front of theirs\n"
    "  --help         this\n"
    "\n"
    "Environment: VGPU_DEBUG=1 (say why there is no device), VGPU_STATS=1 (counts,\n"
    "at exit), VGPU_TRACE=FILE (print calls), VGPU_PERF=no_spin,no_async_create,\n"
    "no_cache,no_bulk,no_lazy,no_direct (do without these optimisations),\n"
    "VGPU_CACHE=DIR (compiled programs; empty: keep none).\n";

static char directory[PATH_MAX]; /* temporary; empty: none yet */
static char exe_dir[PATH_MAX];   /* where this program lies */
static pid_t server, child;      /* 0: none */

/* --- the end, good or bad ---------------------------------------------------------- */

/* Whether @pid ended within @ms milliseconds. */
static bool ends_within(pid_t pid, unsigned ms)
{
    for (unsigned waited = 0; waited <= ms; waited += 5) {
        if (waitpid(pid, NULL, WNOHANG) != 0) {
            return true;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    return false;
}

static void clean_up(void)
{
    static const char *const names[] = { "vgpu-remote.icd", "socket", "lock" };
    char path[PATH_MAX + 32];

    if (server) {
        kill(server, SIGTERM);
        if (!ends_within(server, SERVER_END_MS)) {
            kill(server, SIGKILL);
            waitpid(server, NULL, 0);
        }
    }
    if (!directory[0]) {
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static _Noreturn void fail(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static _Noreturn void fail(const char *fmt, ...)
{
    va_list ap;

    fputs("vgpu-run: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    clean_up();
    exit(125);
}

/* Terminal signals reach the program by themselves; these come to us alone. */
static void pass_on(int sig)
{
    if (child) {
        kill(child, sig);
    }
}

/* --- files --------------------------------------------------------------------------- */

static void find_exe_dir(void)
{
    ssize_t n = readlink("/proc/self/exe", exe_dir, sizeof(exe_dir) - 1);
    char *slash;

    if (n < 0) {
        fail("/proc/self/exe cannot be read: %s", strerror(errno));
    }
    exe_dir[n] = '\0';
    slash = strrchr(exe_dir, '/');
    *slash = '\0';
}

/* The first of @places (below our own directory, or absolute) with file @name. */
static bool find_file(const char *const *places, const char *name, char *path,
                      size_t n)
{
    char candidate[2 * PATH_MAX];

    for (; *places; places++) {
        snprintf(candidate, sizeof(candidate), "%s%s%s/%s",
                 **places == '/' ? "" : exe_dir, **places == '/' ? "" : "/",
                 *places, name);
        if (access(candidate, R_OK) == 0 && strlen(candidate) < n) {
            strcpy(path, candidate);
            return true;
        }
    }
    return false;
}

static void find_library(const char *name, char *path, size_t n)
{
    static const char *const places[] = { ".", "../guest-driver",
                                          "../lib/vgpu-remote", "../lib",
                                          INSTALLED_LIBDIR, NULL };

    if (!find_file(places, name, path, n)) {
        fail("%s is neither beside vgpu-run (%s) nor in %s: is vgpu-remote "
             "installed completely?", name, exe_dir, INSTALLED_LIBDIR);
    }
}

static void make_directory(void)
{
    const char *tmp = getenv("TMPDIR");
    char lock[PATH_MAX + 32];
    int fd;

    snprintf(directory, sizeof(directory) - 32, "%s/vgpu-remoted-XXXXXX",
             tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(directory)) {
        int err = errno;
        char wanted[PATH_MAX];

        strcpy(wanted, directory);
        directory[0] = '\0';
        fail("no directory %s can be made: %s", wanted, strerror(err));
    }
    /* Ours as long as we live; and it is not given to the program. */
    snprintf(lock, sizeof(lock), "%s/lock", directory);
    fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        fail("%s cannot be locked: %s", lock, strerror(errno));
    }
}

/* Have the ICD loader find our library alone: Debian's and Khronos's know this. */
static void set_loader(void)
{
    char path[PATH_MAX + 32], library[PATH_MAX];
    FILE *icd;

    find_library("libvgpu-remote-opencl.so", library, sizeof(library));
    snprintf(path, sizeof(path), "%s/vgpu-remote.icd", directory);
    icd = fopen(path, "we");
    if (!icd || fprintf(icd, "%s\n", library) < 0 || fclose(icd) != 0) {
        fail("%s cannot be written: %s", path, strerror(errno));
    }
    setenv("OCL_ICD_VENDORS", directory, 1);
    unsetenv("OCL_ICD_FILENAMES");
}

static void set_preload(void)
{
    char library[PATH_MAX], both[2 * PATH_MAX];
    const char *others = getenv("LD_PRELOAD");

    find_library("libvgpu-remote-preload.so", library, sizeof(library));
    snprintf(both, sizeof(both), "%s%s%s", library, others ? ":" : "",
             others ? others : "");
    setenv("LD_PRELOAD", both, 1);
}

/* --- the server ------------------------------------------------------------------------ */

/* Whether this is a guest with a device of ours; fails if that cannot be used. */
static bool has_device(void)
{
    char why[512] = "";
    struct transport *t = transport_virtgpu.open(NULL, why, sizeof(why));

    if (!t && strncmp(why, "the device at", 13) == 0) {
        fail("%s", why);
    }
    if (t) {
        transport_virtgpu.close(t);
    }
    return t;
}

static bool answers(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    bool ok;

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    ok = sock >= 0 &&
         connect(sock, (struct sockaddr *)&addr, sizeof(addr)) == 0;
    if (sock >= 0) {
        close(sock);
    }
    return ok;
}

static void await_server(const char *path)
{
    for (unsigned waited = 0; waited < SERVER_START_MS; waited += 5) {
        int status;

        if (answers(path)) {
            return;
        }
        if (waitpid(server, &status, WNOHANG) == server) {
            server = 0;
            fail("the private vgpu-remoted did not start; what it said is "
                 "above. --server ADDR uses another one");
        }
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    fail("the private vgpu-remoted does not listen after %u s",
         SERVER_START_MS / 1000);
}

/*
 * On @processors of this machine, or, NULL, on all. Sets VGPU_SERVER. Before
 * set_loader(): the server uses the host's OpenCL.
 */
static void start_server(const char *processors)
{
    static const char *const places[] = { ".", "../contrib/vgpu-remote", NULL };
    char program[PATH_MAX], path[PATH_MAX + 32];
    pid_t parent = getpid();

    if (!find_file(places, "vgpu-remoted", program, sizeof(program))) {
        strcpy(program, "vgpu-remoted");
    }
    snprintf(path, sizeof(path), "%s/socket", directory);
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        fail("the path of the private server's socket, '%s', is too long: set "
             "TMPDIR to a shorter one", path);
    }
    server = fork();
    if (server == 0) {
        /* Not to outlive us, and not to be stopped with the program. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        setpgid(0, 0);
        if (getppid() == parent) {
            execlp(program, "vgpu-remoted", "--socket", path,
                   processors ? "--processors" : NULL, processors,
                   (char *)NULL);
            fprintf(stderr, "vgpu-run: %s cannot be run: %s\n", program,
                    strerror(errno));
        }
        _exit(127);
    }
    if (server < 0) {
        server = 0;
        fail("no process can be made: %s", strerror(errno));
    }
    await_server(path);
    setenv("VGPU_SERVER", path, 1);
}

/* --- the program ------------------------------------------------------------------------- */

static int run(char **argv)
{
    struct sigaction pass = { .sa_handler = pass_on };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    int status;

    child = fork();
    if (child == 0) {
        execvp(argv[0], argv);
        fprintf(stderr, "vgpu-run: %s: %s\n", argv[0], strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (child < 0) {
        child = 0;
        fail("no process can be made: %s", strerror(errno));
    }
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGQUIT, &ignore, NULL);
    sigaction(SIGTERM, &pass, NULL);
    sigaction(SIGHUP, &pass, NULL);
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            fail("waiting for %s: %s", argv[0], strerror(errno));
        }
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

enum { OPT_SERVER = 256, OPT_PROCESSORS, OPT_PRELOAD, OPT_HELP };

static const struct option long_options[] = {
    { "server", required_argument, NULL, OPT_SERVER },
    { "processors", required_argument, NULL, OPT_PROCESSORS },
    { "preload", no_argument, NULL, OPT_PRELOAD },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
    const char *address = NULL, *processors = NULL;
    bool preload = false;
    int opt, status;

    while ((opt = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
        switch (opt) {
        case OPT_SERVER:
            address = optarg;
            break;
        case OPT_PROCESSORS:
            processors = optarg;
            break;
        case OPT_PRELOAD:
            preload = true;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return 0;
        default:
            fail("see vgpu-run --help");
        }
    }
    if (optind == argc) {
        fail("no command is given; see vgpu-run --help");
    }
    find_exe_dir();
    make_directory();
    if (processors && (address || has_device())) {
        fail("--processors %s: is for a private vgpu-remoted; %s", processors,
             address ? "the one at --server has the same option" :
                       "this guest's device has a property of that name");
    }
    if (address) {
        setenv("VGPU_SERVER", address, 1);
    } else if (has_device()) {
        unsetenv("VGPU_SERVER");
    } else {
        start_server(processors);
    }
    set_loader();
    if (preload) {
        set_preload();
    }
    status = run(argv + optind);
    clean_up();
    return status;
}
