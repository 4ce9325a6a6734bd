/*
 * Starting virglrenderer's render server, and what it asks for.
 *
 * virglrenderer forks, and executes virgl_render_server, which inherits the worker's
 * isolation. It is told by the environment to preload a library of ours
 * (venus_preload.c), which lies within this program, and is handed over as a file
 * in memory: the server may read no directory of ours. That library asks for bytes on a
 * socket, as a worker asks the server (budget.h); a thread here answers, from this
 * worker's own budget. Its first request, of none, says that it is there.
 *
 * SPDX-License-Identifier: MIT
 */
#define VIRGL_RENDERER_UNSTABLE_APIS
#include "venus_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <virglrenderer.h>

#include "log.h"
#include "venus_worker.h"

#define START_MS 5000

extern const unsigned char venus_preload[];
extern const unsigned long venus_preload_size;

struct asked {
    struct session *session;
    int sock;
    uint64_t held; /* bytes */
};

/* --- memory ----------------------------------------------------------------- */

static bool receive(struct asked *a, int64_t *bytes)
{
    ssize_t n;

    do {
        n = recv(a->sock, bytes, sizeof(*bytes), 0);
    } while (n < 0 && errno == EINTR);
    return n == sizeof(*bytes);
}

/* One request. Returns whether to go on. */
static bool serve_request(struct asked *a)
{
    int64_t bytes, answer;

    if (!receive(a, &bytes) || bytes == INT64_MIN) {
        return false;
    }
    if (bytes < 0) {
        if ((uint64_t)-bytes > a->held) {
            return false;
        }
        a->held -= (uint64_t)-bytes;
        session_release(a->session, (uint64_t)-bytes);
        return true;
    }
    answer = session_charge(a->session, (uint64_t)bytes);
    a->held += answer ? (uint64_t)bytes : 0;
    return send(a->sock, &answer, sizeof(answer), MSG_NOSIGNAL) == sizeof(answer);
}

static void *serve_requests(void *opaque)
{
    struct asked *a = opaque;

    while (serve_request(a)) {
    }
    session_fail(a->session, RING_FATAL_WORKER, "virglrenderer's render server has "
                 "ended");
}

/* --- the start -------------------------------------------------------------- */

static void log_renderer(const char *fmt, va_list ap)
{
    char line[256];

    vsnprintf(line, sizeof(line), fmt, ap);
    line[strcspn(line, "\n")] = '\0';
    log_debug("virglrenderer: %s", line);
}

/* The library as a file, which stays open across an exec. */
static int preload_file(void)
{
    int fd = memfd_create("vgpu-venus", 0);

    if (fd >= 0 && write(fd, venus_preload, venus_preload_size) !=
                       (ssize_t)venus_preload_size) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool init_renderer(struct session *s, venus_retire_fn *retire)
{
    static struct virgl_renderer_callbacks callbacks = { .version = 3 };
    static const char name[] = "venus";

    callbacks.write_context_fence = retire;
    virgl_set_debug_callback(log_renderer);
    return virgl_renderer_init(s, VIRGL_RENDERER_VENUS | VIRGL_RENDERER_NO_VIRGL |
                               VIRGL_RENDERER_RENDER_SERVER |
                               VIRGL_RENDERER_THREAD_SYNC |
                               VIRGL_RENDERER_ASYNC_FENCE_CB, &callbacks) == 0 &&
           virgl_renderer_context_create_with_flags(
               1, VENUS_CAPSET_ID, sizeof(name) - 1, name) == 0;
}

/* With what the server is to find in its environment, and is not for us. */
static bool start_server(struct session *s, venus_retire_fn *retire, int library,
                         int sock)
{
    char text[64];
    bool ok;

    snprintf(text, sizeof(text), "/proc/self/fd/%d", library);
    setenv("LD_PRELOAD", text, 1);
    snprintf(text, sizeof(text), "%d %llu", sock,
             (unsigned long long)session_memory_max(s));
    setenv(VENUS_BUDGET, text, 1);
    ok = init_renderer(s, retire);
    unsetenv("LD_PRELOAD");
    unsetenv(VENUS_BUDGET);
    return ok;
}

/* Whether our library is there: without it nothing would be counted. */
static bool hear_from_it(struct asked *a)
{
    struct pollfd pfd = { .fd = a->sock, .events = POLLIN };
    int64_t bytes;

    return poll(&pfd, 1, START_MS) == 1 && receive(a, &bytes) && bytes == 0;
}

const char *venus_server_start(struct session *s, venus_retire_fn *retire)
{
    static struct asked asked;
    int library = preload_file(), pair[2];
    pthread_t thread;
    bool ok;

    if (library < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
        fcntl(pair[1], F_SETFD, 0) < 0) {
        return "there is no memory for it";
    }
    asked = (struct asked) { .session = s, .sock = pair[0] };
    ok = start_server(s, retire, library, pair[1]);
    close(library);
    close(pair[1]);
    if (!ok) {
        return "it makes no context";
    }
    if (!hear_from_it(&asked) ||
        pthread_create(&thread, NULL, serve_requests, &asked) != 0) {
        return "its memory cannot be counted";
    }
    pthread_detach(thread);
    return NULL;
}
