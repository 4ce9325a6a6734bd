/*
 * What a worker does with the calls of a hostile guest: the generated decoder,
 * the hand-written halves behind it, the handle table and the blobs, on top of an
 * OpenCL that checks its arguments (fake-opencl.c).
 *
 * The input is a row of messages as they lie in a ring. Before the first there
 * are three objects of each type and some blobs, under the ids that the
 * generator's seeds name, so that single calls get far. At the end, what the
 * guest has created and not dropped must be what the handle table says, and when that
 * is gone nothing may be charged to it. Header
 * fields that a worker does not read say which of the host's calls fail, and
 * whether blobs are given up meanwhile.
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
#define EACH         3 /* objects of each type */
#define SEEDS_BLOB   9 /* tests/api/wire_fake.h */
/* In place of addresses, which differ from run to run: offsets in the region. */
#define SVM_SIGN     (0x5356ull << 48)
#define SVM_SIZE     (64u << 10)

static jmp_buf the_end;

void __wrap__exit(int status);
void __wrap_session_block_begin(struct request *r);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
void *__wrap_handles_get(struct handles *h, uint64_t id, unsigned type,
                         int32_t *error);
void *__real_handles_get(struct handles *h, uint64_t id, unsigned type,
                         int32_t *error);

void __wrap__exit(int status)
{
    longjmp(the_end, 1);
}

void __wrap_session_block_begin(struct request *r)
{
    r->blocked = true;
}

/* Only who waits for a guest that does not fill its span: it never will. */
int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
    longjmp(the_end, 1);
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

static const struct {
    uint64_t id, size;
} blobs[] = {
    { VGPU_BLOB_FIRST, 8192 },
    { VGPU_BLOB_FIRST + 1, 1u << 20 },
    { SEEDS_BLOB, 64u << 10 },
};
#define BLOBS (sizeof(blobs) / sizeof(blobs[0]))

struct world {
    struct budget budget;
    struct memory *memory;
    struct session *session;
    int epoll, doorbell;
    uint64_t svm; /* the address of a region */
};

/* A blob whose first bytes are the header of a bulk piece that is filled. */
static void add_blob(struct world *w, uint64_t id, uint64_t size)
{
    int fd = memory_add(w->memory, id, &size);
    struct blob *b = memory_get(w->memory, id);
    struct bulk_header *header = blob_at(b, 0, sizeof(*header));

    fuzz_require(fd >= 0);
    header->filled = UINT64_MAX;
    blob_unref(b);
    close(fd);
}

static void put(struct world *w, uint64_t id, enum opencl_type type, void *object)
{
    fuzz_require(object);
    fuzz_require(handles_put(session_handles(w->session), id, type, object) == 0);
}

/* As tests/api numbers them. */
static uint64_t object_id(enum opencl_type type, unsigned k)
{
    return 16 * type + 1 + k;
}

static void add_objects(struct world *w)
{
    struct handles *h = session_handles(w->session);
    cl_platform_id platform;
    cl_device_id devices[2];

    clGetPlatformIDs(1, &platform, NULL);
    clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 2, devices, NULL);
    handles_host_id(h, OPENCL_cl_platform_id, platform);
    for (unsigned k = 0; k < EACH; k++) {
        cl_context c = clCreateContext(NULL, 2, devices, NULL, NULL, NULL);
        cl_program p = clCreateProgramWithSource(c, 1, &(const char *){ "" },
                                                 NULL, NULL);
        const struct {
            enum opencl_type type;
            void *object;
        } objects[] = {
            { OPENCL_cl_platform_id, platform },
            { OPENCL_cl_device_id, devices[k % 2] },
            { OPENCL_cl_context, c },
            { OPENCL_cl_command_queue,
              clCreateCommandQueue(c, devices[k % 2], k / 2, NULL) },
            { OPENCL_cl_mem, clCreateBuffer(c, 0, k ? 65536 : 1u << 20, NULL,
                                            NULL) },
            { OPENCL_cl_sampler, clCreateSampler(c, 0, 0, 0, NULL) },
            { OPENCL_cl_program, p },
            { OPENCL_cl_kernel, clCreateKernel(p, "k", NULL) },
            { OPENCL_cl_event, clCreateUserEvent(c, NULL) },
        };

        handles_host_id(h, OPENCL_cl_device_id, devices[k % 2]);
        for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
            put(w, object_id(objects[i].type, k), objects[i].type,
                objects[i].object);
        }
    }
}

/* Made by the worker's own half: what it enters is no object of the host's. */
static void add_commands(struct world *w)
{
    for (unsigned k = 0; k < EACH; k++) {
        struct request r = { .session = w->session };
        struct vclCreateCommandBuffer_args a = {
            .queue = handles_get(session_handles(w->session),
                                 object_id(OPENCL_cl_command_queue, k),
                                 OPENCL_cl_command_queue, NULL),
        };

        serve_vclCreateCommandBuffer(&r, &a);
        put(w, object_id(OPENCL_cl_command_buffer_khr, k),
            OPENCL_cl_command_buffer_khr, a.ret);
    }
}

static void add_region(struct world *w)
{
    cl_ulong address = 0;
    struct request r = { .session = w->session };
    struct vclSVMAlloc_args a = {
        .context = handles_get(session_handles(w->session),
                               object_id(OPENCL_cl_context, 0),
                               OPENCL_cl_context, NULL),
        .size = SVM_SIZE, .address = &address,
    };

    serve_vclSVMAlloc(&r, &a);
    fuzz_require(a.ret == CL_SUCCESS && address % 4096 == 0);
    w->svm = address;
}

static void world_create(struct world *w)
{
    static const struct session_api *const apis[VGPU_API_COUNT] = { NULL };
    struct session_params params;

    budget_init(&w->budget, -1, MEMORY_MAX);
    w->memory = memory_create(&w->budget);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->doorbell = eventfd(0, EFD_CLOEXEC);
    params = (struct session_params){
        .sock = -1, .doorbell = w->doorbell, .epoll = w->epoll,
        .memory = w->memory, .budget = &w->budget, .apis = apis,
    };
    w->session = session_create(&params);
    fuzz_require(w->memory && w->session);
    for (size_t i = 0; i < BLOBS; i++) {
        add_blob(w, blobs[i].id, blobs[i].size);
    }
    add_objects(w);
    add_commands(w);
    add_region(w);
}

/* How many objects the table knows that a guest has made, or failed to make. */
static unsigned guest_objects(struct world *w)
{
    struct handles *h = session_handles(w->session);
    unsigned n = handles_count(h);

    for (unsigned k = 0; k < EACH; k++) {
        for (unsigned type = OPENCL_cl_platform_id;
             type <= OPENCL_cl_device_id; type++) {
            n -= handles_get(h, object_id(type, k), type, NULL) != NULL;
        }
    }
    return n;
}

/* The session itself lives as long as its process: its own memory is not freed. */
static void world_destroy(struct world *w)
{
    for (size_t i = 0; i < BLOBS; i++) {
        memory_remove(w->memory, blobs[i].id);
    }
    handles_destroy(session_handles(w->session));
    free(w->session);
    free(w->memory);
    close(w->epoll);
    close(w->doorbell);
}

/*
 * The control thread: between any two steps of a call the guest may give a blob
 * up, and have another under the same id.
 */
static struct world *disturbed; /* or NULL: nobody disturbs */

void *__wrap_handles_get(struct handles *h, uint64_t id, unsigned type,
                         int32_t *error)
{
    if (disturbed) {
        for (size_t i = 0; i < BLOBS; i++) {
            memory_remove(disturbed->memory, blobs[i].id);
            add_blob(disturbed, blobs[i].id, blobs[i].size);
        }
        disturbed = NULL;
    }
    return __real_handles_get(h, id, type, error);
}

/* --- messages ------------------------------------------------------------------------- */

/* What is being served: given back also when the session gives up. */
static struct request request;
static uint8_t *payload, *reply;
static uint8_t decisions[12];
static struct fuzz_input chance;

/* The region's address in place of SVM_SIGN. */
static void place_addresses(struct world *w, size_t n)
{
    for (size_t at = 0; at < n; at += 8) {
        uint64_t item;

        memcpy(&item, payload + at, 8);
        if (item >> 48 == SVM_SIGN >> 48) {
            item += w->svm - SVM_SIGN;
            memcpy(payload + at, &item, 8);
        }
    }
}

/* The next message of @in: its header, and its payload in memory of just that size. */
static void take_message(struct world *w, struct fuzz_input *in,
                         struct wire_header *h)
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
    place_addresses(w, n);
    padding = padding < in->left ? padding : in->left;
    in->p += padding;
    in->left -= padding;
    memcpy(decisions, &h->reserved2, 8);
    memcpy(decisions + 8, &h->thread, 4);
    chance = (struct fuzz_input){ decisions, h->reserved2 || h->thread ? 12 : 0 };
}

static void unpin(void)
{
    while (request.pins > 0) {
        blob_unref(request.pinned[--request.pins]);
    }
}

/* As session.c does it, with a trace. */
static void serve(struct world *w, struct fuzz_input *in)
{
    static FILE *trace;
    struct request *r = &request;
    enum wire_status status;

    if (!trace) {
        trace = fopen("/dev/null", "w");
        fuzz_require(trace);
    }
    *r = (struct request){ .session = w->session };
    take_message(w, in, &r->header);
    wire_in_init(&r->in, payload, r->header.payload);
    opencl_print(trace, r->header.call, r->in);
    if (r->header.slot) {
        wire_out_init(&r->out, reply, RING_REPLY_SIZE);
    }
    disturbed = r->header.reserved ? w : NULL;
    status = opencl_serve(r);
    disturbed = NULL;
    fuzz_require(status == WIRE_OK || status == WIRE_MALFORMED ||
                 status == WIRE_UNKNOWN);
    fuzz_require(r->out.p <= r->out.end);
    unpin();
    pending_sweep(w->session);
    if (status == WIRE_MALFORMED || (r->header.slot && r->out.bad)) {
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
    disturbed = NULL;
    unpin();
    pending_sweep(w.session);
    svm_forget();
    output_forget();
    commands_forget();
    if (whole) {
        fuzz_require(fake_references() <= guest_objects(&w));
    }
    fake_end();
    world_destroy(&w);
    fuzz_require(!whole || !w.budget.used);
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
        0, 0, 0, 1, 1, 1, 2, 3, HANDLE_HOST_FIRST, HANDLE_HOST_FIRST + 1, 8, 16, 64,
        4096, 8192, 0x40000, 0xfffc0, UINT32_MAX, UINT64_MAX, 1ull << 63,
        VGPU_BLOB_FIRST | WIRE_SPAN_TRACKED,
        (VGPU_BLOB_FIRST + 1) | WIRE_SPAN_FLAGS, 0x1033, 0x10d2,
        SVM_SIGN, SVM_SIGN, SVM_SIGN + 4096, SVM_SIGN + SVM_SIZE,
    };

    switch (random_next(random) % 4) {
    case 0:
        return object_id(1 + random_next(random) % OPENCL_cl_command_buffer_khr,
                         random_next(random) % (EACH + 1));
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

/* Put one more message of @n items behind the others. */
static size_t append(uint8_t *data, size_t size, size_t max, uint16_t call,
                     uint16_t slot, const uint64_t *items, size_t n,
                     bool disturb)
{
    struct wire_header h = {
        .size = (uint32_t)(sizeof(h) + n * 8), .payload = (uint32_t)(n * 8),
        .api = VGPU_API_OPENCL, .call = call, .slot = slot,
        .reserved = disturb,
    };

    if (max - size < h.size) {
        return size;
    }
    memcpy(data + size, &h, sizeof(h));
    memcpy(data + size + sizeof(h), items, n * 8);
    return size + h.size;
}

static size_t append_message(uint8_t *data, size_t size, size_t max,
                             uint64_t *random)
{
    uint64_t items[16];
    size_t n = random_next(random) % 16;

    for (size_t i = 0; i < n; i++) {
        items[i] = random_item(random);
    }
    return append(data, size, max,
                  (uint16_t)(random_next(random) % OPENCL_CALLS),
                  random_next(random) % 4 ? 1 : 0, items, n, false);
}

/*
 * A transfer whose sizes agree, which chance alone does not find: through shared
 * memory, in all the ways that a worker has for it, or a read into the answer. Or nearly
 * agree: a box that is deeper than its bytes.
 */
static size_t append_transfer(uint8_t *data, size_t size, size_t max,
                              uint64_t *random)
{
    static const uint16_t calls[] = {
        OPENCL_clEnqueueReadBuffer, OPENCL_clEnqueueWriteBuffer,
        OPENCL_vclEnqueueReadBufferRect, OPENCL_vclEnqueueWriteBufferRect,
        OPENCL_vclEnqueueReadImage, OPENCL_vclEnqueueWriteImage,
        OPENCL_vclEnqueueReadSVM, OPENCL_vclEnqueueWriteSVM,
    };
    static const uint64_t sizes[] = { 64, 4096, 0x40000, 0xfffc0 };
    static const uint64_t flags[] = { 0, WIRE_SPAN_TRACKED, WIRE_SPAN_FLAGS };
    const uint64_t queue = object_id(OPENCL_cl_command_queue,
                                     random_next(random) % EACH);
    const uint64_t mem = object_id(OPENCL_cl_mem, 0);
    const uint64_t blocking = random_next(random) % 2;
    const uint32_t which = random_next(random) % 8;
    const bool in_answer = which % 2 == 0 && random_next(random) % 2;
    const uint64_t n = sizes[random_next(random) % (in_answer ? 1 : 4)];
    const uint64_t blob = in_answer ? 0 : (VGPU_BLOB_FIRST + 1) |
                                          flags[random_next(random) % 3];
    const uint64_t at = in_answer ? 0 : 64;
    const uint64_t deep = random_next(random) % 4 ? 4 : 256;
    const uint64_t event = random_next(random) % 2 ? 0x777 : 0;
    const uint64_t linear[] = { queue, mem, blocking, 0, n, blob, at, n, 0, 0,
                                event };
    const uint64_t box[] = { queue, mem, blocking, 0, 0, 0, 0, n, blob, at, n,
                             0, 0, event, 0, 0, 0, 0, 0, 0, n / 16, 4, deep };
    const uint64_t pixels[] = { queue, mem, blocking, 0, 0, n, blob, at, n, 0,
                                0, event, 0, 0, 0, n / 64, 4, deep };
    const uint64_t svm[] = { queue, SVM_SIGN + at, blocking, n, blob, at, n, 0,
                             0, event };
    const uint16_t slot = random_next(random) % 4 ? 1 : 0;
    const bool disturb = random_next(random) % 4 == 0;

    switch (which / 2) {
    case 3:
        return append(data, size, max, calls[which], slot, svm,
                      sizeof(svm) / 8, disturb);
    case 0:
        return append(data, size, max, calls[which], slot, linear,
                      sizeof(linear) / 8, disturb);
    case 1:
        return append(data, size, max, calls[which], slot, box,
                      sizeof(box) / 8, disturb);
    default:
        return append(data, size, max, calls[which], slot, pixels,
                      sizeof(pixels) / 8, disturb);
    }
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
    case 3:
        return append_transfer(data, size, max, &random);
    default:
        for (uint32_t i = random_next(&random) % 8; i && at < size; i--) {
            at = next_message(data, size, at);
        }
        return change_item(data, size, max, at < size ? at : 0, &random);
    }
}
