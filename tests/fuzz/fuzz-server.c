/*
 * The server's side of the session protocol: everything that one client can
 * say, and workers that end whenever they like. The server itself must neither
 * end nor leave an fd, a process entry or memory behind.
 *
 * No process and no directory is made: fork() gives a number. A worker that is
 * to end at once is put on a list that waitid() reads, and announced on what the
 * server takes for its signalfd.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "packets.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "log.h"
#include "server.h"
#include "tempdir.h"
#include "worker.h"

#define CONTEXTS_MAX 8

/* Decisions that are not packets: from the input's first bytes. */
static struct fuzz_input chance;
static pid_t next_pid;
static pid_t dead[PACKETS_MAX];
static unsigned dead_count, live_count, directories;
static int signal_out = -1;

/* --- what the server would do to the system ---------------------------------- */

pid_t __wrap_fork(void);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
int __wrap_kill(pid_t pid, int sig);
int __wrap_signalfd(int fd, const sigset_t *set, int flags);
int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old);

pid_t __wrap_fork(void)
{
    struct signalfd_siginfo info = { .ssi_signo = SIGCHLD };
    uint8_t fate = fuzz_u8(&chance);

    if (fate % 8 == 7) {
        errno = EAGAIN;
        return -1;
    }
    live_count++;
    if (fate % 8 >= 5) {
        dead[dead_count++] = next_pid;
        fuzz_require(write(signal_out, &info, sizeof(info)) == sizeof(info));
    }
    return next_pid++;
}

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    fuzz_require(type == P_ALL && options == (WEXITED | WNOHANG | WNOWAIT));
    info->si_pid = dead_count ? dead[dead_count - 1] : 0;
    return 0;
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
    fuzz_require(pid >= 1000 && pid < next_pid && live_count > 0);
    live_count--;
    for (unsigned i = 0; i < dead_count; i++) {
        if (dead[i] == pid) {
            dead[i] = dead[--dead_count];
            break;
        }
    }
    *status = fuzz_u8(&chance) % 2 ? 0 : SIGSEGV;
    return pid;
}

int __wrap_kill(pid_t pid, int sig)
{
    fuzz_require(sig == SIGKILL && (pid >= 1000 || pid <= -1000));
    return 0;
}

int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
    int pair[2];

    fuzz_require(fd == -1 && pipe2(pair, O_NONBLOCK | O_CLOEXEC) == 0);
    signal_out = pair[1];
    return pair[0];
}

int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    return 0;
}

/* --- what the server links besides ----------------------------------------------- */

void worker_main(const struct worker_params *p)
{
    abort();
}

const char *tempdir_init(void)
{
    return "/tmp";
}

void tempdir_finish(void)
{
    fuzz_require(directories == 0);
}

char *tempdir_make(void)
{
    char *path = fuzz_u8(&chance) % 16 == 15 ? NULL : strdup("/tmp/worker");

    directories += path != NULL;
    return path;
}

void tempdir_remove(char *path)
{
    directories -= path != NULL;
    free(path);
}

bool tempdir_reaped(int pid)
{
    return false;
}

static void format(const char *fmt, va_list ap)
{
    char line[512];

    vsnprintf(line, sizeof(line), fmt, ap);
}

void log_line(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    format(fmt, ap);
    va_end(ap);
}

void log_debug(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    format(fmt, ap);
    va_end(ap);
}

void log_forward(const char *text, size_t n)
{
}

void die(const char *fmt, ...)
{
    fprintf(stderr, "the server dies: %s\n", fmt);
    abort();
}

/* --- the client --------------------------------------------------------------- */

static void read_answers(int sock)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX];
    int got;

    while ((got = proto_recv(sock, &m, fds)) == 1) {
        fuzz_require(m.type == PROTO_WELCOME || m.type == PROTO_STATUS_REPLY);
        fuzz_require(m.type != PROTO_STATUS_REPLY ||
                     m.status_reply.contexts <= CONTEXTS_MAX);
    }
    fuzz_require(got == 0 || got == -ECONNRESET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct isolation isolation;
    struct server_params params = { .memory_max = 1 << 20,
                                    .contexts_max = CONTEXTS_MAX,
                                    .isolation = &isolation };
    struct fuzz_input in = { data, size };
    uint8_t decisions[16];
    union proto_any m;
    static struct open_fds before;
    int pair[2];

    open_fds_get(&before);
    fuzz_bytes(&in, decisions, sizeof(decisions));
    chance = (struct fuzz_input){ decisions, sizeof(decisions) };
    next_pid = 1000;
    dead_count = live_count = directories = 0;
    fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    if (fuzz_u8(&in) % 8) {
        packet_send_hello(pair[0]);
    }
    for (int i = 0; in.left && i < PACKETS_MAX; i++) {
        packet_send(pair[0], &in, &m);
    }
    shutdown(pair[0], SHUT_WR);
    params.fd = pair[1];
    fuzz_require(server_run(&params) == 0);
    read_answers(pair[0]);
    close(pair[0]);
    close(signal_out);
    fuzz_require(live_count == 0);
    fuzz_require(open_fds_close_new(&before) == 0);
    return 0;
}
