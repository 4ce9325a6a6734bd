/*
 * What a worker does with the calls of a hostile guest: the generated decoder,
 * the hand-written halves behind it, the handle table and the blobs, on top of an
 * OpenCL that checks its arguments (fake-opencl.c).
 *
 * The input is a row of messages as they lie in a ring. Before the first there
 * are two objects of each type, under small ids, and two blobs, so that single calls
 * get far. At the end, what the guest has created and not dropped must be what the
 * handle table says. Header fields that a worker does not read say which of the host's
 * calls fail.
 *
 * Inputs are changed by messages and items, not only by bytes: see the end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cl.h"
#include "fake-opencl.h"
#include "log.h"
#include "opencl_print.h"
#include "opencl_serve.h"
#include "opencl_wire.h"

#define MEMORY_MAX   (4u << 20)
#define MESSAGES_MAX 64

static jmp_buf the_end;

void __wrap__exit(int status);
void __wrap_session_block_begin(struct request *r);

void __wrap__exit(int status)
{
    longjmp(the_end, 1);
}

void __wrap_session_block_begin(struct request *r)
{
    r->blocked = true;
}

void log_line(const char *fmt, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
}

void log_debug(const char *fmt, ...)
{
}

/* --- a session with something in it ------------------------------------------------- */

struct world {
    struct budget *budget;
    struct memory *memory;
    struct session *session;
    int epoll, doorbell;
};

static void add_blob(struct world *w, uint64_t id, uint64_t size)
{
    int fd = memory_add(w->memory, id, &size);

    fuzz_require(fd >= 0);
    close(fd);
}

static void put(struct world *w, uint64_t id, enum opencl_type type, void *object)
{
    fuzz_require(object);
    fuzz_require(handles_put(session_handles(w->session), id, type, object) == 0);
}

/* Ids 1, 3, 5, ... and 2, 4, 6, ...: two objects of each type. */
static void add_objects(struct world *w)
{
    struct handles *h = session_handles(w->session);
    cl_platform_id platform;
    cl_device_id devices[2];

    clGetPlatformIDs(1, &platform, NULL);
    clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 2, devices, NULL);
    handles_host_id(h, OPENCL_cl_platform_id, platform);
    for (uint64_t i = 1; i <= 2; i++) {
        cl_context c = clCreateContext(NULL, 2, devices, NULL, NULL, NULL);
        const char *source = "";
        cl_program p = clCreateProgramWithSource(c, 1, &source, NULL, NULL);
        const struct {
            enum opencl_type type;
            void *object;
        } objects[] = {
            { OPENCL_cl_context, c },
            { OPENCL_cl_command_queue,
              clCreateCommandQueue(c, devices[0], 0, NULL) },
            { OPENCL_cl_mem, clCreateBuffer(c, 0, 65536, NULL, NULL) },
            { OPENCL_cl_sampler, clCreateSampler(c, 0, 0, 0, NULL) },
            { OPENCL_cl_program, p },
            { OPENCL_cl_kernel, clCreateKernel(p, "k", NULL) },
            { OPENCL_cl_event, clCreateUserEvent(c, NULL) },
        };

        handles_host_id(h, OPENCL_cl_device_id, devices[i - 1]);
        for (size_t k = 0; k < sizeof(objects) / sizeof(objects[0]); k++) {
            put(w, 2 * k + i, objects[k].type, objects[k].object);
        }
    }
}

static void world_create(struct world *w)
{
    struct session_params params;

    w->budget = budget_create(MEMORY_MAX);
    w->memory = memory_create(w->budget, 0);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->doorbell = eventfd(0, EFD_CLOEXEC);
    params = (struct session_params){
        .sock = -1, .doorbell = w->doorbell, .epoll = w->epoll,
        .memory = w->memory, .budget = w->budget,
    };
    w->session = session_create(&params);
    fuzz_require(w->budget && w->memory && w->session);
    add_blob(w, VGPU_BLOB_FIRST, 8192);
    add_blob(w, VGPU_BLOB_FIRST + 1, 1u << 20);
    add_objects(w);
}

/* The session itself lives as long as its process: its own memory is not freed. */
static void world_destroy(struct world *w)
{
    memory_remove(w->memory, VGPU_BLOB_FIRST);
    memory_remove(w->memory, VGPU_BLOB_FIRST + 1);
    handles_destroy(session_handles(w->session));
    free(w->session);
    free(w->memory);
    close(w->epoll);
    close(w->doorbell);
    budget_destroy(w->budget);
}

/* --- messages ------------------------------------------------------------------------- */

/* The message being served and its answer: freed also when the session gives up. */
static uint8_t *payload, *reply;
static uint8_t decisions[12];
static struct fuzz_input chance;

/* The next message of @in: its header, and its payload in memory of just that size. */
static void take_message(struct fuzz_input *in, struct wire_header *h)
{
    size_t n, padding;

    fuzz_bytes(in, h, sizeof(*h));
    h->call %= OPENCL_CALLS;
    h->slot %= RING_SLOTS;
    h->payload = h->payload % 8192 / 8 * 8;
    n = h->payload;
    padding = h->size == sizeof(*h) + n + 8 ? 8 : 0;
    free(payload);
    payload = malloc(n ? n : 1);
    fuzz_require(payload);
    fuzz_bytes(in, payload, n);
    padding = padding < in->left ? padding : in->left;
    in->p += padding;
    in->left -= padding;
    memcpy(decisions, &h->reserved2, 8);
    memcpy(decisions + 8, &h->thread, 4);
    chance = (struct fuzz_input){ decisions, h->reserved2 || h->thread ? 12 : 0 };
}

/* As session.c does it, with a trace. */
static void serve(struct world *w, struct fuzz_input *in)
{
    static FILE *trace;
    struct request r = { .session = w->session };
    enum wire_status status;

    if (!trace) {
        trace = fopen("/dev/null", "w");
        fuzz_require(trace);
    }
    take_message(in, &r.header);
    wire_in_init(&r.in, payload, r.header.payload);
    opencl_print(trace, r.header.call, r.in);
    if (r.header.slot) {
        wire_out_init(&r.out, reply, RING_REPLY_SIZE);
    }
    status = opencl_serve(&r);
    fuzz_require(status == WIRE_OK || status == WIRE_MALFORMED ||
                 status == WIRE_UNKNOWN);
    fuzz_require(r.out.p <= r.out.end);
    for (unsigned i = 0; i < r.pins; i++) {
        blob_unref(r.pinned[i]);
    }
    pending_sweep(w->session);
    if (status == WIRE_MALFORMED || (r.header.slot && r.out.bad)) {
        longjmp(the_end, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    static struct fuzz_input in;
    static volatile bool whole;

    in = (struct fuzz_input){ data, size };
    chance.left = 0;
    fake_begin(&chance);
    world_create(&w);
    reply = malloc(RING_REPLY_SIZE);
    fuzz_require(reply);
    whole = false;
    if (!setjmp(the_end)) {
        for (int i = 0; in.left && i < MESSAGES_MAX; i++) {
            serve(&w, &in);
        }
        whole = true;
    }
    pending_sweep(w.session);
    if (whole) {
        fuzz_require(fake_references() <=
                     handles_count(session_handles(w.session)));
    }
    fake_end();
    world_destroy(&w);
    free(payload);
    free(reply);
    payload = reply = NULL;
    return 0;
}

/* --- changing inputs -------------------------------------------------------------------- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
                               unsigned seed);

static uint32_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 32);
}

/* What an item is likely to be: an id, a flag, a size, a blob, or a lie. */
static uint64_t random_item(uint64_t *random)
{
    static const uint64_t values[] = {
        0, 0, 0, 1, 1, 1, HANDLE_HOST_FIRST, HANDLE_HOST_FIRST + 1, 8, 16, 64,
        4096, 8192, UINT32_MAX, UINT64_MAX, 1ull << 63,
        VGPU_BLOB_FIRST | WIRE_SPAN_TRACKED,
        (VGPU_BLOB_FIRST + 1) | WIRE_SPAN_FLAGS, 0x1033, 0x10d2,
    };

    switch (random_next(random) % 4) {
    case 0:
        return random_next(random) % 32;
    case 1:
        return random_next(random) % 0x2000;
    default:
        return values[random_next(random) % (sizeof(values) / 8)];
    }
}

/* Where the message after the one at @at begins. */
static size_t next_message(const uint8_t *data, size_t size, size_t at)
{
    struct wire_header h;

    if (size - at < sizeof(h)) {
        return size;
    }
    memcpy(&h, data + at, sizeof(h));
    at += sizeof(h) + h.payload % 8192 / 8 * 8;
    return at < size ? at : size;
}

static size_t append_message(uint8_t *data, size_t size, size_t max,
                             uint64_t *random)
{
    struct wire_header h = { 0 };

    h.api = VGPU_API_OPENCL;
    h.call = (uint16_t)(random_next(random) % OPENCL_CALLS);
    h.slot = random_next(random) % 4 ? 1 : 0;
    h.payload = random_next(random) % 16 * 8;
    h.size = sizeof(h) + h.payload;
    if (max - size < h.size) {
        return size;
    }
    memcpy(data + size, &h, sizeof(h));
    size += sizeof(h);
    for (uint32_t i = 0; i < h.payload / 8; i++, size += 8) {
        uint64_t item = random_item(random);

        memcpy(data + size, &item, 8);
    }
    return size;
}

/* Change one item of the message at @at, or put one more behind them. */
static size_t change_item(uint8_t *data, size_t size, size_t max, size_t at,
                          uint64_t *random)
{
    uint64_t item = random_item(random);
    struct wire_header h;
    size_t n, end;

    if (size - at < sizeof(h)) {
        return size;
    }
    memcpy(&h, data + at, sizeof(h));
    end = next_message(data, size, at);
    n = (end - at - sizeof(h)) / 8;
    if (n && random_next(random) % 4) {
        memcpy(data + at + sizeof(h) + random_next(random) % n * 8, &item, 8);
        return size;
    }
    if (max - size < 8) {
        return size;
    }
    memmove(data + end + 8, data + end, size - end);
    memcpy(data + end, &item, 8);
    h.payload = (uint32_t)(end + 8 - at - sizeof(h));
    h.size = sizeof(h) + h.payload;
    memcpy(data + at, &h, sizeof(h));
    return size + 8;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
                               unsigned seed)
{
    uint64_t random = seed;
    size_t at = 0;

    switch (random_next(&random) % 8) {
    case 0:
    case 1:
        return LLVMFuzzerMutate(data, size, max);
    case 2:
        return append_message(data, size, max, &random);
    default:
        for (uint32_t i = random_next(&random) % 8; i && at < size; i--) {
            at = next_message(data, size, at);
        }
        return change_item(data, size, max, at < size ? at : 0, &random);
    }
}
