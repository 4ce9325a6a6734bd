/*
 * One thread, one epoll set: signals, the listening socket, the clients, and workers'
 * sockets: on which they ask for memory (budget.h), say what is for the log, and
 * hear from their clients, which is watched for its end alone.
 *
 * A client is a connection; it lives until it has no connection and no worker
 * any more. A context is a worker process: made by CONTEXT_CREATE, and gone when
 * the process has been reaped, whatever ended it. The server never waits for
 * either: what a worker says it says to its client, on a socket of their own. When
 * the client closes that, the worker ends; if it does not, it is killed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "budget.h"
#include "listen.h"
#include "log.h"
#include "proto.h"
#include "ring.h"
#include "tempdir.h"
#include "worker.h"

#define CLIENTS_MAX 256u
#define ACCEPT_AGAIN_MS 100
#define END_MS         5000u  /* for a worker to end by itself */
#define SAY_MAX        65536u /* bytes of a client's workers in the log, at once */
#define SAY_A_SECOND   1024u  /* and later */
#define SAY_LEFT       64     /* packets that are read when a worker has ended */

/* What an event of the epoll set is about; the address of one of these is with it. */
enum source { SIGNALS, LISTENER, CLIENT, CONTEXT, OUTPUT, SOCKET };

struct context {
    enum source source;
    struct client *client;
    struct context *next; /* of all */
    pid_t pid;
    enum source output_source;
    int output;      /* socket: what the worker says on stderr; -1: no more */
    int account;     /* socket on which the worker asks for memory; -1: no more */
    enum source socket_source;
    int socket;      /* the worker's end of that to its client; -1: that is closed */
    uint64_t ends;   /* when it is killed; ms, monotonic; 0: never */
    uint64_t held;   /* bytes of the client's account */
    uint32_t number; /* the client's */
    enum vgpu_api api;
    char name[VGPU_NAME_MAX];
    char *directory;
};

struct client {
    enum source source;
    struct client *next; /* of all */
    int fd;              /* -1: gone, but its workers are not yet */
    bool welcome;        /* HELLO was answered */
    char name[VGPU_NAME_MAX];
    struct budget_account account;
    unsigned contexts;
    uint64_t may_say; /* bytes that its workers may still write to the log */
    time_t said;      /* when that was reckoned; seconds, monotonic */
    bool cut;         /* more was said, and that was logged */
};

static_assert(offsetof(struct context, source) == 0 &&
              offsetof(struct client, source) == 0, "serve() converts");

struct server {
    const struct server_params *p;
    enum source signals_source, listener_source;
    int epoll, signals, listener;
    struct client *clients;
    unsigned n_clients;
    struct context *contexts;
    unsigned n_contexts;
    uint64_t contexts_total;
    unsigned n_ending; /* contexts that are to be killed some time */
    bool out_of_fds; /* said so, and took no client since */
    bool deaf;       /* the listener is not watched for now */
    bool stop;
};

/* @what stays where it is as long as @fd is open. The end is an event in any case. */
static int watch(struct server *s, int fd, uint32_t events, enum source *what)
{
    struct epoll_event ev = { .events = events, .data.ptr = what };

    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* --- contexts --------------------------------------------------------------- */

/*
 * In the new process: keep only what is the worker's, as fds 3 to 6. Its stderr is
 * not ours: the user's terminal or file is no place for it to write into.
 */
static _Noreturn void become_worker(struct server *s, struct context *ctx,
                                    const int fds[2], int account,
                                    int output)
{
    struct worker_params params = {
        .sock = 3,
        .doorbell = 4,
        .client = ctx->client->name,
        .name = ctx->name,
        .api = ctx->api,
        .context = ctx->number,
        .account = 5,
        .memory_max = s->p->memory_max,
        .trace = s->p->trace >= 0 ? 6 : -1,
        .directory = ctx->directory,
        .isolation = s->p->isolation,
    };
    int null = open("/dev/null", O_RDWR);
    int sock = fcntl(fds[0], F_DUPFD, 16), bell = fcntl(fds[1], F_DUPFD, 16);
    int asks = fcntl(account, F_DUPFD, 16);
    int trace = params.trace >= 0 ? fcntl(s->p->trace, F_DUPFD, 16) : null;
    sigset_t none;

    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(output, 2) < 0 ||
        dup3(sock, params.sock, O_CLOEXEC) < 0 ||
        dup3(bell, params.doorbell, O_CLOEXEC) < 0 ||
        dup3(asks, params.account, O_CLOEXEC) < 0 ||
        dup3(trace, 6, O_CLOEXEC) < 0 ||
        close_range(params.trace >= 0 ? 7 : 6, ~0u, 0) < 0) {
        log_line("a worker cannot arrange its fds: %s", strerror(errno));
        _exit(1);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    worker_main(&params);
}

/* No more of one of a worker's sockets; it may still be there. */
static void stop_watching(struct server *s, int *fd)
{
    if (*fd >= 0) {
        /* Closing alone is not enough: a worker just forked has a copy still. */
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, *fd, NULL);
        close(*fd);
        *fd = -1;
    }
}

/* How many of @n bytes the client's workers may write to the log now. */
static size_t may_say(struct client *c, size_t n)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    c->may_say += (uint64_t)(now.tv_sec - c->said) * SAY_A_SECOND;
    c->may_say = c->may_say < SAY_MAX ? c->may_say : SAY_MAX;
    c->said = now.tv_sec;
    if (c->may_say < n) {
        if (!c->cut) {
            log_line("%s: its workers say too much; most of it is left out",
                     c->name);
        }
        c->cut = true;
        return 0;
    }
    c->cut = false;
    c->may_say -= n;
    return n;
}

/* Read and log what the worker has said. Returns whether there may be more. */
static bool serve_output(struct server *s, struct context *ctx)
{
    char text[1024];
    ssize_t n = ctx->output < 0 ? -1 :
                recv(ctx->output, text, sizeof(text), MSG_DONTWAIT);

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            stop_watching(s, &ctx->output);
        }
        return false;
    }
    log_forward(text, may_say(ctx->client, (size_t)n));
    return true;
}

static void context_destroy(struct server *s, struct context *ctx)
{
    struct client *c = ctx->client;
    struct context **at = &s->contexts;

    while (*at != ctx) {
        at = &(*at)->next;
    }
    *at = ctx->next;
    s->n_contexts--;
    c->contexts--;
    for (int i = 0; i < SAY_LEFT && serve_output(s, ctx); i++) {
    }
    stop_watching(s, &ctx->output);
    stop_watching(s, &ctx->account);
    stop_watching(s, &ctx->socket);
    s->n_ending -= ctx->ends != 0;
    budget_release_all(&c->account, &ctx->held);
    tempdir_remove(ctx->directory);
    free(ctx);
}

/* One of a worker's sockets: *@ours is watched as @source, its end is returned. */
static int watched_pair(struct server *s, int *ours, enum source *source)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -1;
    }
    *ours = pair[0];
    if (watch(s, pair[0], EPOLLIN, source) < 0) {
        close(pair[1]);
        return -1;
    }
    return pair[1];
}

/* For its end: what comes on it is the worker's. */
static int watch_socket(struct server *s, struct context *ctx, int sock)
{
    ctx->socket = fcntl(sock, F_DUPFD_CLOEXEC, 0);
    return ctx->socket < 0 ? -1
                           : watch(s, ctx->socket, 0, &ctx->socket_source);
}

/* Fork. Returns NULL, or why there is no worker. */
static const char *start_worker(struct server *s, struct context *ctx,
                                const int fds[2])
{
    int account = watched_pair(s, &ctx->account, &ctx->source);
    int output = watched_pair(s, &ctx->output, &ctx->output_source);

    ctx->pid = -1;
    if (account >= 0 && output >= 0 && watch_socket(s, ctx, fds[0]) == 0) {
        ctx->pid = fork();
    }
    if (ctx->pid == 0) {
        become_worker(s, ctx, fds, account, output);
    }
    if (account >= 0) {
        close(account);
    }
    if (output >= 0) {
        close(output);
    }
    return ctx->pid < 0 ? "no process can be started" : NULL;
}

/* Of a context that is asked for by a packet of that type; 0: there is none. */
static enum vgpu_api api_of(uint32_t type)
{
    switch (type) {
    case PROTO_CONTEXT_CREATE:
        return VGPU_API_OPENCL;
    case PROTO_VIRGL_CREATE:
        return VGPU_API_VIRGL;
    case PROTO_VENUS_CREATE:
        return VGPU_API_VENUS;
    default:
        return VGPU_API_SESSION;
    }
}

/* Returns NULL, or why there is no context. */
static const char *context_create(struct server *s, struct client *c,
                                  const struct proto_context_create *m,
                                  const int fds[2])
{
    struct context *ctx;
    const char *why;

    if (c->contexts >= s->p->contexts_max) {
        return "this client has as many contexts as it may have";
    }
    ctx = calloc(1, sizeof(*ctx));
    if (!ctx) {
        return "no memory";
    }
    ctx->directory = tempdir_make();
    if (!ctx->directory) {
        free(ctx);
        return "no room for a temporary directory";
    }
    ctx->source = CONTEXT;
    ctx->output_source = OUTPUT;
    ctx->client = c;
    ctx->socket_source = SOCKET;
    ctx->account = ctx->output = ctx->socket = -1;
    ctx->number = m->context;
    ctx->api = api_of(m->type);
    memcpy(ctx->name, m->name, sizeof(ctx->name));
    ctx->next = s->contexts;
    s->contexts = ctx;
    c->contexts++;
    s->n_contexts++;
    why = start_worker(s, ctx, fds);
    if (why) {
        context_destroy(s, ctx);
        return why;
    }
    s->contexts_total++;
    log_debug("%s: context %u (%s) is worker %d", c->name, ctx->number,
              ctx->name, (int)ctx->pid);
    return NULL;
}

/* Its worker asks for memory, or gives some back, or is gone: then we soon hear. */
static void serve_account(struct server *s, struct context *ctx)
{
    if (!budget_serve(ctx->account, &ctx->client->account, &ctx->held)) {
        stop_watching(s, &ctx->account);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Its client has closed the socket: it is to end now. */
static void serve_socket_end(struct server *s, struct context *ctx)
{
    stop_watching(s, &ctx->socket);
    ctx->ends = now_ms() + END_MS;
    s->n_ending++;
}

/* Kill workers that should have ended. Returns ms until the next is due, or -1. */
static int end_late_workers(struct server *s)
{
    uint64_t now = s->n_ending ? now_ms() : 0, next = UINT64_MAX;

    for (struct context *ctx = s->contexts; ctx && s->n_ending; ctx = ctx->next) {
        if (ctx->ends && ctx->ends <= now) {
            log_line("%s: the worker of context %u (%s) does not end by itself",
                     ctx->client->name, ctx->number, ctx->name);
            kill(ctx->pid, SIGKILL);
            ctx->ends = 0;
            s->n_ending--;
        } else if (ctx->ends && ctx->ends < next) {
            next = ctx->ends;
        }
    }
    return s->n_ending ? (int)(next - now) : -1;
}

static void serve_context_create(struct server *s, struct client *c,
                                 const struct proto_context_create *m,
                                 int fds[2])
{
    const char *why = context_create(s, c, m, fds);

    if (why) {
        struct proto_lost lost = { .type = PROTO_LOST,
                                   .why = RING_FATAL_BUDGET };

        log_line("%s: no context for %s: %s", c->name, m->name, why);
        snprintf(lost.text, sizeof(lost.text), "no context: %s", why);
        proto_send(fds[0], &lost, NULL, 0);
    }
    close(fds[0]);
    close(fds[1]);
}

/* --- clients ---------------------------------------------------------------- */

/* Free the client as soon as nothing is left of it. */
static void client_put(struct server *s, struct client *c)
{
    struct client **at = &s->clients;

    if (c->fd >= 0 || c->contexts) {
        return;
    }
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    free(c);
}

/* The connection is gone: so are the contexts. */
static void client_close(struct server *s, struct client *c)
{
    log_debug("%s: gone", c->name);
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->fd, NULL); /* as in stop_watching */
    close(c->fd);
    c->fd = -1;
    s->n_clients--;
    for (struct context *ctx = s->contexts; ctx; ctx = ctx->next) {
        if (ctx->client == c) {
            kill(ctx->pid, SIGKILL);
        }
    }
    client_put(s, c);
    if (s->listener < 0) {
        s->stop = true;
    }
}

static bool client_create(struct server *s, int fd)
{
    struct client *c = calloc(1, sizeof(*c));

    if (!c) {
        return false;
    }
    c->source = CLIENT;
    c->account.max = s->p->memory_max;
    c->may_say = SAY_MAX;
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (watch(s, fd, EPOLLIN, &c->source) < 0) {
        free(c);
        return false;
    }
    c->fd = fd;
    strcpy(c->name, "a new client");
    c->next = s->clients;
    s->clients = c;
    s->n_clients++;
    return true;
}

/* Returns whether the client is served. */
static bool serve_hello(struct server *s, struct client *c,
                        const struct proto_hello *m)
{
    struct proto_welcome welcome = {
        .type = PROTO_WELCOME,
        .version = VGPU_PROTOCOL_VERSION,
        .memory_max = s->p->memory_max,
    };

    if (m->magic != PROTO_MAGIC || c->welcome) {
        log_line("%s: closed: %s", c->name,
                 c->welcome ? "a second HELLO" : "no client of this protocol");
        return false;
    }
    memcpy(c->name, m->name, sizeof(c->name));
    if (m->version != VGPU_PROTOCOL_VERSION) {
        log_line("%s: refused: it speaks protocol version %u, this server %u; "
                 "install the same release on both sides", c->name, m->version,
                 VGPU_PROTOCOL_VERSION);
        welcome.status = EPROTO;
    } else {
        log_debug("%s: connected", c->name);
        c->welcome = true;
    }
    return proto_send(c->fd, &welcome, NULL, 0) == 0 && c->welcome;
}

static uint32_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint32_t n = 0;

    if (!dir) {
        return 0;
    }
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n < 3 ? 0 : n - 3; /* ".", ".." and the directory's own */
}

static bool serve_status(struct server *s, struct client *c)
{
    struct proto_status_reply reply = {
        .type = PROTO_STATUS_REPLY,
        .clients = s->n_clients,
        .contexts = s->n_contexts,
        .fds = count_fds(),
        .contexts_total = s->contexts_total,
    };

    return proto_send(c->fd, &reply, NULL, 0) == 0;
}

/* Returns whether the client is to be kept. */
static bool serve_packet(struct server *s, struct client *c,
                         union proto_any *m, int *fds)
{
    if (m->type == PROTO_HELLO) {
        return serve_hello(s, c, &m->hello);
    }
    if (c->welcome && api_of(m->type) != VGPU_API_SESSION) {
        serve_context_create(s, c, &m->context_create, fds);
        return true;
    }
    if (c->welcome && m->type == PROTO_STATUS) {
        return serve_status(s, c);
    }
    for (size_t i = 0; i < PROTO_FDS_MAX; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    log_line("%s: closed: packet of type %u %s", c->name, m->type,
             c->welcome ? "is none for the server" : "before HELLO");
    return false;
}

static void serve_client(struct server *s, struct client *c)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX];
    int got = proto_recv(c->fd, &m, fds);
    bool keep = got == -EAGAIN;

    if (got == 1) {
        keep = serve_packet(s, c, &m, fds);
    } else if (got == -EPROTO) {
        log_line("%s: closed: it sent what is none of the protocol", c->name);
    }
    if (!keep) {
        client_close(s, c);
    }
}

static void watch_listener(struct server *s, bool on)
{
    struct epoll_event ev = { .events = on ? EPOLLIN : 0,
                              .data.ptr = &s->listener_source };

    if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->listener, &ev) == 0) {
        s->deaf = !on;
    }
}

/*
 * Where fds or memory are short, a client that waits would be announced again
 * and again. It is left waiting, and looked after when anything else
 * has happened, or a moment has passed.
 */
static void serve_listener(struct server *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
            errno == ENOMEM) {
            if (!s->out_of_fds) {
                log_line("clients have to wait: %s", strerror(errno));
            }
            s->out_of_fds = true;
            watch_listener(s, false);
        }
        return;
    }
    s->out_of_fds = false;
    if (s->n_clients >= CLIENTS_MAX || !client_create(s, fd)) {
        log_line("a client was turned away: there are %u of at most %u",
                 s->n_clients, CLIENTS_MAX);
        close(fd);
    }
}

/* --- ends ------------------------------------------------------------------- */

static void log_end(const struct context *ctx, int status)
{
    const struct client *c = ctx->client;

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        log_debug("%s: context %u (%s) has ended", c->name, ctx->number,
                  ctx->name);
    } else if (WIFEXITED(status)) {
        log_line("%s: the worker of context %u (%s) ended with status %d",
                 c->name, ctx->number, ctx->name, WEXITSTATUS(status));
    } else if (c->fd >= 0) {
        log_line("%s: the worker of context %u (%s) died of signal %d (%s)",
                 c->name, ctx->number, ctx->name, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    }
}

/* @pid has ended: take its children along, and all it had. */
static void context_ended(struct server *s, pid_t pid)
{
    struct context *ctx = s->contexts;
    struct client *c;
    int status;

    while (ctx && ctx->pid != pid) {
        ctx = ctx->next;
    }
    if (ctx) {
        kill(-pid, SIGKILL); /* before the number can be another's */
    }
    waitpid(pid, &status, 0);
    if (pid == s->p->isolation->first) {
        log_line("ends: the first process of the workers' namespace is gone");
        s->stop = true;
    }
    if (!ctx) {
        tempdir_reaped(pid);
        return;
    }
    log_end(ctx, status);
    c = ctx->client;
    context_destroy(s, ctx);
    client_put(s, c);
}

static void reap(struct server *s)
{
    for (;;) {
        siginfo_t info = { 0 };

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
            info.si_pid == 0) {
            return;
        }
        context_ended(s, info.si_pid);
    }
}

static void serve_signals(struct server *s)
{
    struct signalfd_siginfo info;

    if (read(s->signals, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    if (info.ssi_signo == SIGCHLD) {
        reap(s);
    } else {
        log_debug("ends: %s", strsignal((int)info.ssi_signo));
        s->stop = true;
    }
}

/* --- the loop --------------------------------------------------------------- */

static int signals_open(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void serve(struct server *s, enum source *what)
{
    switch (*what) {
    case SIGNALS:
        serve_signals(s);
        break;
    case LISTENER:
        serve_listener(s);
        break;
    case CLIENT:
        serve_client(s, (struct client *)what);
        break;
    case CONTEXT:
        serve_account(s, (struct context *)what);
        break;
    case OUTPUT:
        serve_output(s, (struct context *)((char *)what -
                     offsetof(struct context, output_source)));
        break;
    case SOCKET:
        serve_socket_end(s, (struct context *)((char *)what -
                         offsetof(struct context, socket_source)));
        break;
    }
}

/* One event at a time: serving it may free what the next one would point to. */
static void loop(struct server *s)
{
    while (!s->stop) {
        int timeout = end_late_workers(s);
        struct epoll_event ev;
        int n;

        if (s->deaf && (timeout < 0 || timeout > ACCEPT_AGAIN_MS)) {
            timeout = ACCEPT_AGAIN_MS;
        }
        n = epoll_wait(s->epoll, &ev, 1, timeout);
        if (s->deaf) {
            watch_listener(s, true);
        }
        if (n != 1) {
            continue;
        }
        serve(s, ev.data.ptr);
    }
}

/* Close what is left, and end every worker. */
static void finish(struct server *s)
{
    s->stop = true;
    for (struct client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (c->fd >= 0) {
            client_close(s, c);
        }
    }
    while (s->contexts) {
        context_ended(s, s->contexts->pid);
    }
    close(s->epoll);
    close(s->signals);
}

/* A context takes one, and one client must not use up what another needs. */
static void allow_fds(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

int server_run(const struct server_params *params)
{
    struct server s = { .p = params, .listener = -1,
                        .signals_source = SIGNALS,
                        .listener_source = LISTENER };

    allow_fds();
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    s.signals = signals_open();
    if (s.epoll < 0 || s.signals < 0 ||
        watch(&s, s.signals, EPOLLIN, &s.signals_source) < 0) {
        die("cannot start: %s", strerror(errno));
    }
    if (params->socket) {
        s.listener = listen_at(params->socket);
        if (watch(&s, s.listener, EPOLLIN, &s.listener_source) < 0) {
            die("cannot watch the socket: %s", strerror(errno));
        }
    } else if (!client_create(&s, params->fd)) {
        die("fd %d is no connected socket: %s", params->fd, strerror(errno));
    }
    if (!tempdir_init()) {
        listen_stop(s.listener, params->socket);
        die("cannot make a directory in %s: %s; set TMPDIR to where there is "
            "room", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
            strerror(errno));
    }
    loop(&s);
    finish(&s);
    tempdir_finish();
    listen_stop(s.listener, params->socket);
    return 0;
}
