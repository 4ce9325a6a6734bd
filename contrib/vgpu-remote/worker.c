/*
 * The worker's first thread: it isolates the process, and then does nothing but
 * answer requests on the context's socket and watch the doorbell for threads that
 * are blocked (see session.c). It never waits for a ring thread, so that blobs can
 * be had whatever the host's API is doing.
 *
 * End of file on the socket is the normal end: the process exits, and the kernel
 * and the host's driver take back what it had.
 *
 * SPDX-License-Identifier: MIT
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "budget.h"
#include "cl.h"
#include "isolate.h"
#include "log.h"
#include "memory.h"
#include "proto.h"
#include "session.h"
#include "venus_worker.h"
#include "virgl_worker.h"

static const struct session_api *const served[VGPU_API_COUNT] = {
    [VGPU_API_OPENCL] = &cl_api,
    [VGPU_API_VIRGL] = &virgl_api,
    [VGPU_API_VENUS] = &venus_api,
};

struct worker {
    int sock;
    struct budget *budget;
    struct memory *memory;
    struct session *session;
    bool started; /* there is a ring */
    bool imports; /* it may be given memory: only by a device */
};

/* --- requests -------------------------------------------------------------- */

static void end_worker(struct worker *w, const char *why)
{
    log_debug("context ends: %s; %u objects are left, and %llu bytes beside blobs",
              why, handles_count(session_handles(w->session)),
              (unsigned long long)(budget_used(w->budget) -
                                   memory_bytes(w->memory)));
    _exit(0);
}

static void reply(struct worker *w, const void *m, int fd)
{
    int err = proto_send(w->sock, m, fd >= 0 ? &fd : NULL, fd >= 0);

    if (err) {
        end_worker(w, strerror(-err));
    }
}

static void blob_create(struct worker *w, const union proto_any *m)
{
    uint64_t id = m->blob_create.blob, size = m->blob_create.size;
    struct proto_blob_created created = {
        .type = PROTO_BLOB_CREATED, .blob = id,
    };
    int err = 0, fd = memory_add(w->memory, id, &size);

    if (fd >= 0 && id == VGPU_BLOB_RING) {
        struct blob *b = memory_get(w->memory, id);

        err = w->started ? -EEXIST : session_start(w->session, b);
        blob_unref(b);
        if (err) {
            memory_remove(w->memory, id);
            close(fd);
            fd = -1;
        } else {
            w->started = true;
        }
    } else if (fd < 0) {
        err = fd;
    }
    created.status = (uint32_t)-err;
    created.size = err ? 0 : size;
    log_debug("blob %llu of %llu bytes: %s", (unsigned long long)id,
              (unsigned long long)size, strerror(-err));
    reply(w, &created, fd);
    if (fd >= 0) {
        close(fd);
    }
}

static void blob_import(struct worker *w, const struct proto_blob_import *m,
                        int fd)
{
    struct proto_blob_imported imported = {
        .type = PROTO_BLOB_IMPORTED, .blob = m->blob,
    };
    int err = memory_import(w->memory, m->blob, m->size, fd);

    imported.status = (uint32_t)-err;
    log_debug("memory %llu of %llu bytes, not ours: %s",
              (unsigned long long)m->blob, (unsigned long long)m->size,
              strerror(-err));
    close(fd);
    reply(w, &imported, -1);
}

static void serve_request(struct worker *w, union proto_any *m, int *fds)
{
    switch (m->type) {
    case PROTO_BLOB_CREATE:
        blob_create(w, m);
        return;
    case PROTO_BLOB_DESTROY:
        memory_remove(w->memory, m->blob_destroy.blob);
        budget_trim(w->budget); /* the ring's threads may be asleep */
        return;
    case PROTO_BLOB_IMPORT:
        if (w->imports) {
            blob_import(w, &m->blob_import, fds[0]);
            return;
        }
        break;
    case PROTO_RING_EVENT:
        if (m->ring_event.ring < VGPU_RINGS_MAX) {
            session_set_event(w->session, m->ring_event.ring, fds[0]);
            return;
        }
        break;
    }
    session_fail(w->session, RING_FATAL_PROTOCOL,
                 "packet of type %u (ring %u) is none for a worker", m->type,
                 m->ring_event.ring);
}

static void serve_socket(struct worker *w)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX];
    int got = proto_recv(w->sock, &m, fds);

    switch (got) {
    case 1:
        serve_request(w, &m, fds);
        break;
    case 0:
        end_worker(w, "closed by the client");
        break;
    case -EAGAIN:
        break;
    case -EPROTO:
        session_fail(w->session, RING_FATAL_PROTOCOL,
                     "a packet on the context's socket is none of the protocol");
    default:
        end_worker(w, strerror(-got));
    }
}

/* --- start ----------------------------------------------------------------- */

/* Before there is a session: tell the client, and end. */
static _Noreturn void give_up(const struct worker_params *p, const char *what)
{
    struct proto_lost lost = { .type = PROTO_LOST, .why = RING_FATAL_WORKER };

    snprintf(lost.text, sizeof(lost.text), "the worker cannot start: %s", what);
    log_line("%s", lost.text);
    proto_send(p->sock, &lost, NULL, 0);
    _exit(1);
}

/*
 * pocl asks which processors there are, and not which of them it may use: without
 * being told it would announce and start a thread for each. Its user may want fewer.
 */
static void tell_pocl(unsigned processors)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", processors);
    setenv("POCL_MAX_PTHREAD_COUNT", text, 0);
    setenv("POCL_CPU_MAX_CU_COUNT", text, 0); /* its later name */
}

/* The environment that the host's OpenCL sees. */
static void set_environment(const struct worker_params *p)
{
    if (p->isolation->processors) {
        tell_pocl(p->isolation->processors);
    }
    setenv("POCL_CACHE_DIR", p->directory, 1);
    setenv("TMPDIR", p->directory, 1);
    setenv("HOME", p->directory, 1);
    setenv("XDG_CACHE_HOME", p->directory, 1);
    setenv("CUDA_CACHE_PATH", p->directory, 1);
    /* Should our own shim be among the host's OpenCL libraries: not from here. */
    unsetenv("VGPU_SERVER");
    if (chdir(p->directory) < 0) {
        give_up(p, "cannot enter its directory");
    }
}

static int watch(int epoll, int fd, void *what)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = what };

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

static _Noreturn void loop(struct worker *w, int epoll)
{
    for (;;) {
        struct epoll_event ev;
        int n = epoll_wait(epoll, &ev, 1, -1);

        if (n < 0 && errno != EINTR) {
            end_worker(w, strerror(errno));
        }
        if (n < 1) {
            continue;
        }
        if (ev.data.ptr == w) {
            serve_socket(w);
        } else if (ev.events == EPOLLIN) {
            session_doorbell(w->session);
        } else {
            session_fail(w->session, RING_FATAL_PROTOCOL,
                         "the doorbell is no eventfd");
        }
    }
}

void worker_main(const struct worker_params *p)
{
    static struct budget budget;
    const struct session_api *apis[VGPU_API_COUNT] = { NULL };
    struct worker w = {
        .sock = p->sock,
        .budget = &budget,
        .imports = p->api == VGPU_API_VIRGL,
    };
    struct session_params params = {
        .sock = p->sock,
        .doorbell = p->doorbell,
        .budget = &budget,
        .apis = apis,
    };
    const char *why;

    apis[p->api] = served[p->api];
    log_name("vgpu-remoted: %.24s/%.24s #%u", p->client, p->name, p->context);
    prctl(PR_SET_NAME, "vgpu-worker");
    set_environment(p);
    why = isolate_worker(p->isolation, p->directory);
    if (why) {
        give_up(p, why);
    }
    if (p->trace >= 0) {
        params.trace = fdopen(p->trace, "a");
        if (!params.trace) {
            give_up(p, "no memory");
        }
        setlinebuf(params.trace);
    }
    fcntl(p->sock, F_SETFL, O_RDWR | O_NONBLOCK);
    params.epoll = epoll_create1(EPOLL_CLOEXEC);
    budget_init(&budget, p->account, p->memory_max);
    w.memory = memory_create(&budget);
    params.memory = w.memory;
    if (params.epoll < 0 || !w.memory || watch(params.epoll, p->sock, &w) < 0) {
        give_up(p, strerror(errno));
    }
    w.session = session_create(&params);
    if (!w.session) {
        give_up(p, "no memory, or the doorbell is no eventfd");
    }
    log_debug("context begins");
    loop(&w, params.epoll);
}
