/*
 * A worker's side of the session protocol: everything that a client can say on
 * a context's socket. Blobs are really made; what comes back must be what the
 * protocol promises, and the budget must be whole again at the end.
 *
 * The ring's threads and the isolation are left out; the end of the process is a
 * jump back to here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "packets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>

#include "budget.h"
#include "cl.h"
#include "isolate.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "virgl_worker.h"
#include "worker.h"

#define MEMORY_MAX (1u << 20)

enum { CLOSED = 1, FAILED = 2 };

static jmp_buf the_end;
static struct memory *memory;
static struct budget *budget;
static int epoll = -1;
static int events[VGPU_RINGS_MAX];
static struct blob *ring;

/* --- what a worker would do to its process --------------------------------------- */

void __wrap__exit(int status);
int __wrap_epoll_create1(int flags);
int __real_epoll_create1(int flags);
int __wrap_setenv(const char *name, const char *value, int overwrite);
int __wrap_chdir(const char *path);
int __wrap_prctl(int option, ...);
struct memory *__wrap_memory_create(struct budget *budget);
struct memory *__real_memory_create(struct budget *budget);

void __wrap__exit(int status)
{
    longjmp(the_end, CLOSED);
}

int __wrap_epoll_create1(int flags)
{
    epoll = __real_epoll_create1(flags);
    return epoll;
}

int __wrap_setenv(const char *name, const char *value, int overwrite)
{
    return 0;
}

int __wrap_chdir(const char *path)
{
    return 0;
}

int __wrap_prctl(int option, ...)
{
    return 0;
}

struct memory *__wrap_memory_create(struct budget *b)
{
    memory = __real_memory_create(b);
    budget = b;
    return memory;
}

const char *isolate_worker(const struct isolation *iso, const char *directory)
{
    return NULL;
}

/* --- a session that only keeps what it is given ------------------------------------ */

const struct session_api cl_api = { .name = "none" };
const struct session_api virgl_api = { .name = "none" };
const struct session_api venus_api = { .name = "none" };

struct session {
    struct session_params p;
};

struct session *session_create(const struct session_params *params)
{
    static struct session s;

    s.p = *params;
    return &s;
}

int session_start(struct session *s, struct blob *b)
{
    struct ring_consumer c;

    fuzz_require(!ring);
    if (!ring_format(&c, blob_at(b, 0, blob_size(b)), blob_size(b))) {
        return -EINVAL;
    }
    ring = blob_ref(b);
    return 0;
}

void session_set_event(struct session *s, uint32_t n, int fd)
{
    fuzz_require(n < VGPU_RINGS_MAX && fd >= 0);
    if (events[n] >= 0) {
        close(events[n]);
    }
    events[n] = fd;
}

struct handles *session_handles(struct session *s)
{
    return NULL;
}

uint32_t handles_count(struct handles *h)
{
    return 0;
}

void session_doorbell(struct session *s)
{
}

void session_fail(struct session *s, enum ring_fatal why, const char *fmt, ...)
{
    char text[PROTO_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    longjmp(the_end, FAILED);
}

void log_name(const char *fmt, ...)
{
}

void log_line(const char *fmt, ...)
{
}

void log_debug(const char *fmt, ...)
{
}

/* --- the client --------------------------------------------------------------- */

static void read_answers(int sock)
{
    union proto_any m;
    int fds[PROTO_FDS_MAX];

    while (proto_recv(sock, &m, fds) == 1) {
        if (m.type == PROTO_BLOB_IMPORTED) {
            fuzz_require(m.blob_imported.status != 0); /* nothing here is a dmabuf */
            continue;
        }
        fuzz_require(m.type == PROTO_BLOB_CREATED);
        if (m.blob_created.status == 0) {
            fuzz_require(m.blob_created.size <= MEMORY_MAX);
            fuzz_require(proto_check_blob(fds[0], m.blob_created.size) == 0);
            close(fds[0]);
        }
    }
}

/* Returns whether it ended because the client closed the socket. */
static bool run_worker(int sock)
{
    static const struct isolation isolation;
    struct worker_params params = {
        .sock = sock,
        .doorbell = eventfd(0, EFD_CLOEXEC),
        .client = "fuzz",
        .name = "fuzz",
        .api = VGPU_API_VIRGL,
        .account = -1,
        .memory_max = MEMORY_MAX,
        .trace = -1,
        .directory = "/",
        .isolation = &isolation,
    };
    volatile int end;

    memset(events, -1, sizeof(events));
    ring = NULL;
    memory = NULL;
    epoll = -1;
    end = setjmp(the_end);
    if (!end) {
        worker_main(&params);
    }
    close(epoll);
    close(params.doorbell);
    for (int i = 0; i < VGPU_RINGS_MAX; i++) {
        if (events[i] >= 0) {
            close(events[i]);
        }
    }
    return end == CLOSED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    union proto_any sent[PACKETS_MAX];
    static struct open_fds before;
    int pair[2], n = 0;
    bool closed;

    open_fds_get(&before);
    fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    while (in.left && n < PACKETS_MAX) {
        packet_send(pair[0], &in, &sent[n++]);
    }
    shutdown(pair[0], SHUT_WR);
    closed = run_worker(pair[1]);
    close(pair[1]);
    read_answers(pair[0]);
    close(pair[0]);
    blob_unref(ring);
    for (int i = 0; i < n; i++) {
        if (sent[i].type == PROTO_BLOB_CREATE) {
            memory_remove(memory, sent[i].blob_create.blob);
        }
    }
    free(memory);
    fuzz_require(budget->used == 0);
    /* A worker that gave the context up leaves the rest to the kernel. */
    fuzz_require(open_fds_close_new(&before) == 0 || !closed);
    return 0;
}
