/*
 * sessions SEED FIRST NUMBER STEPS: makes random sequences of calls, valid and
 * broken: NUMBER of them, of STEPS each, from the FIRST on.
 *
 * A step is one of the generated calls (codes-cases.c), or something that takes
 * several: commands behind an event that is not set yet, large transfers, ends of
 * objects. What calls are given changes from step to step: `a` and `b` are dealt
 * from the objects of two contexts, those that the sequence began with and
 * those that it has made since. When a sequence is over, all of them are released, and
 * the program must hold no more memory, maps and fds than after any other.
 *
 * Before each step its number and the case's are printed: the last line says where a
 * program ended that should not have. It ends with status 3 when the
 * context is lost, with 4 when it holds too much. test_sessions.py looks
 * at the other side. A seed makes the same sequences each time; the cases listed in
 * CODES_SKIP are left out, for hosts whose own library does not survive them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "codes.h"

#include <dirent.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEP_SECONDS 60 /* a step that takes longer hangs */
#define POOL         16
#define KINDS        (OBJECT_void + 1)
#define UNSET        12345
#define LARGE        ((size_t)5 << 20)
/* What a program may hold after whatever it did: sizes of tables, what is cached. */
#define HEAP_MOST    (1u << 20)
#define MAPS_MOST    400
#define FDS_MOST     80 /* one for each slot that was slept on */

struct world {
    struct codes_rig rig;
    struct {
        void *object;
        bool pinned; /* a kernel may have it as an argument */
    } pools[KINDS][POOL];
};

const char *call;

static struct world worlds[2];
static unsigned at_home; /* which of them `a` is */
static int number, wanted, cases;
static bool gated;
static bool skip[65536];
static unsigned callbacks;
static uint64_t state;

/* --- chance ------------------------------------------------------------------------ */

static uint32_t roll(uint32_t n)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(state >> 33) % n;
}

/* Each step has chances of its own: what one has used up changes no other. */
static void reseed(uint64_t seed, unsigned sequence, unsigned step)
{
    state = seed * 0x9e3779b97f4a7c15ull + ((uint64_t)sequence << 32) + step;
    roll(2);
    roll(2);
}

/* --- objects ------------------------------------------------------------------------- */

static cl_context context_of(void *o, enum codes_object kind)
{
    cl_context c = NULL;

    switch (kind) {
    case OBJECT_cl_command_queue:
        clGetCommandQueueInfo(o, CL_QUEUE_CONTEXT, sizeof(c), &c, NULL);
        break;
    case OBJECT_cl_mem:
        clGetMemObjectInfo(o, CL_MEM_CONTEXT, sizeof(c), &c, NULL);
        break;
    case OBJECT_cl_sampler:
        clGetSamplerInfo(o, CL_SAMPLER_CONTEXT, sizeof(c), &c, NULL);
        break;
    case OBJECT_cl_program:
        clGetProgramInfo(o, CL_PROGRAM_CONTEXT, sizeof(c), &c, NULL);
        break;
    case OBJECT_cl_kernel:
        clGetKernelInfo(o, CL_KERNEL_CONTEXT, sizeof(c), &c, NULL);
        break;
    case OBJECT_cl_event:
        clGetEventInfo(o, CL_EVENT_CONTEXT, sizeof(c), &c, NULL);
        break;
    default:
        c = a.context; /* memory was just made there */
    }
    return c;
}

static void finish_queues(struct world *w)
{
    clFinish(w->rig.queue);
    for (unsigned i = 0; i < POOL; i++) {
        if (w->pools[OBJECT_cl_command_queue][i].object) {
            clFinish(w->pools[OBJECT_cl_command_queue][i].object);
        }
    }
}

static void give_up(struct world *w, enum codes_object kind, unsigned i)
{
    void *o = w->pools[kind][i].object;

    w->pools[kind][i].object = NULL;
    w->pools[kind][i].pinned = false;
    if (o && kind == OBJECT_void) {
        finish_queues(w); /* it does not wait */
        clSVMFree(w->rig.context, o);
    } else if (o) {
        codes_release(o, kind);
    }
}

/* @o, which a call has made, is one of those that others are given. */
static void keep(void *o, enum codes_object kind)
{
    cl_context context = context_of(o, kind);
    struct world *w = context == worlds[0].rig.context ? &worlds[0] :
                      context == worlds[1].rig.context ? &worlds[1] : NULL;
    unsigned i = roll(POOL);

    if (kind == OBJECT_cl_event) {
        clSetUserEventStatus(o, CL_COMPLETE); /* nobody else would */
    }
    if (!w || kind == OBJECT_cl_context || w->pools[kind][i].pinned ||
        (gated && kind == OBJECT_void)) {
        if (kind == OBJECT_void) {
            clSVMFree(a.context, o);
        } else {
            codes_release(o, kind);
        }
        return;
    }
    give_up(w, kind, i);
    w->pools[kind][i].object = o;
}

static bool dealt[2][KINDS][POOL];

/* An object of @w in place of *@field, sometimes. */
static void deal_one(unsigned w, enum codes_object kind, void *field)
{
    unsigned i = roll(POOL);

    if (worlds[w].pools[kind][i].object && roll(2)) {
        *(void **)field = worlds[w].pools[kind][i].object;
        dealt[w][kind][i] = true;
    }
}

static void deal_mem(unsigned w, struct codes_rig *r)
{
    unsigned i = roll(POOL);
    cl_mem m = worlds[w].pools[OBJECT_cl_mem][i].object;
    cl_mem_object_type type = 0;

    if (!m) {
        return;
    }
    clGetMemObjectInfo(m, CL_MEM_TYPE, sizeof(type), &type, NULL);
    if (type == CL_MEM_OBJECT_BUFFER) {
        *(roll(2) ? &r->buffer : &r->second) = m;
    } else {
        *(roll(2) ? &r->image : &r->second_image) = m;
    }
    dealt[w][OBJECT_cl_mem][i] = true;
}

static void deal_rig(unsigned w, struct codes_rig *r)
{
    *r = worlds[w].rig;
    deal_one(w, OBJECT_cl_command_queue, &r->queue);
    deal_mem(w, r);
    deal_mem(w, r);
    deal_one(w, OBJECT_cl_sampler, &r->sampler);
    deal_one(w, OBJECT_cl_program, roll(2) ? &r->program : &r->compiled);
    deal_one(w, OBJECT_cl_kernel, roll(2) ? &r->kernel : &r->scratch);
    deal_one(w, OBJECT_cl_event, roll(2) ? &r->event : &r->command);
    deal_one(w, OBJECT_void, &r->svm);
}

static void deal(void)
{
    memset(dealt, 0, sizeof(dealt));
    at_home = roll(2);
    deal_rig(at_home, &a);
    deal_rig(!at_home, &b);
}

/* What is an argument of a kernel stays until kernels go. */
static void pin_dealt(void)
{
    for (unsigned w = 0; w < 2; w++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            for (unsigned i = 0; i < POOL; i++) {
                worlds[w].pools[kind][i].pinned |= dealt[w][kind][i];
            }
        }
    }
}

/* --- generated calls ------------------------------------------------------------------- */

/* Whether the call waits for no command. */
static bool never_waits(void)
{
    static const char *const prefixes[] = {
        "clCreate", "clRetain", "clSetKernel", "clGetMem", "clGetKernel",
        "clGetContext", "clGetProgramInfo", "clGetCommandQueue", "clGetImage",
    };

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (!strncmp(call, prefixes[i], strlen(prefixes[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_part(cl_mem m)
{
    cl_mem of = NULL;

    clGetMemObjectInfo(m, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(of), &of, NULL);
    return of != NULL;
}

/* What pocl 3.1 itself does not survive, valid as it is: parts of buffers there. */
static bool host_dies(void)
{
    return (!strcmp(call, "clEnqueueCopyBufferRect") ||
            !strcmp(call, "clEnqueueCopyBufferToImage") ||
            !strcmp(call, "clEnqueueCopyImageToBuffer")) &&
           (is_part(a.buffer) || is_part(a.second));
}

bool begin(const char *label, cl_int code)
{
    if (number++ != wanted || (code && !remote) || host_dies() ||
        (gated && !never_waits())) {
        return false;
    }
    memset(scratch, 0, sizeof(scratch));
    err = UNSET;
    return true;
}

/* A call may have returned handles as data. */
static void keep_what_is_in_scratch(void)
{
    void **list = (void **)scratch;

    if (!strcmp(call, "clCreateKernelsInProgram")) {
        for (; *list; list++) {
            keep(*list, OBJECT_cl_kernel);
        }
    } else if (!strncmp(call, "clCreateSubDevices", 18)) {
        for (; *list; list++) {
            clReleaseDevice(*list);
        }
    }
}

static void undo_retain(void)
{
    static const char *const types[] = { /* in the order of the enum */
        "Context", "CommandQueue", "MemObject", "Sampler", "Program", "Kernel",
        "Event",
    };
    void *const retained[] = { a.context, a.queue, a.buffer, a.sampler,
                               a.program, a.kernel, a.event };

    for (unsigned k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
        if (!strcmp(call + strlen("clRetain"), types[k])) {
            codes_release(retained[k], k);
        }
    }
}

/* An event, if the call made one, is an object like others. */
static void keep_event(void)
{
    if (new_event) {
        keep(new_event, OBJECT_cl_event);
        new_event = NULL;
    }
}

void end(cl_int code)
{
    if (!strncmp(call, "clRetain", 8) && code == CL_SUCCESS) {
        undo_retain();
    }
    if (!strcmp(call, "clSetEventCallback") && code == CL_SUCCESS) {
        callbacks++;
    }
    if (!strncmp(call, "clSetKernel", 11)) {
        pin_dealt();
    }
    if (code == CL_SUCCESS) {
        keep_what_is_in_scratch();
    }
    keep_event();
    codes_take_back(code);
}

void end_with(void *object, enum codes_object kind)
{
    if (object && kind == OBJECT_void && strcmp(call, "clSVMAlloc")) {
        codes_release(object, kind); /* a map */
        object = NULL;
    }
    if (object) {
        keep(object, kind);
    }
    keep_event();
    codes_take_back(CL_INVALID_VALUE);
}

static void one_call(void)
{
    int n = (int)roll((uint32_t)cases);
    uint64_t before = state;

    if (!skip[n]) {
        printf(" %d", n);
        fflush(stdout);
        number = 0;
        wanted = n;
        try_all();
    }
    state = before;
}

/* --- steps of several calls --------------------------------------------------------------- */

static void release_something(void)
{
    enum codes_object kind = roll(KINDS);
    struct world *w = &worlds[roll(2)];
    unsigned i = roll(POOL);

    if (!w->pools[kind][i].pinned && !(gated && kind == OBJECT_void)) {
        give_up(w, kind, i);
    }
}

static char *large(unsigned which)
{
    static char *memory[2];

    if (!memory[which]) {
        memory[which] = malloc(LARGE);
        memset(memory[which], 1, LARGE);
    }
    return memory[which];
}

static void move_much(void)
{
    size_t size = 1 + roll(LARGE);
    char *from = large(0), *to = large(1);
    cl_mem m = clCreateBuffer(a.context, roll(2) ? CL_MEM_ALLOC_HOST_PTR : 0,
                              size, NULL, &err);

    from[0]++;
    from[size - 1] ^= 0x5a;
    if (m && !clEnqueueWriteBuffer(a.queue, m, roll(2), 0, size, from, 0, NULL,
                                   NULL) &&
        !clEnqueueReadBuffer(a.queue, m, roll(2), 0, size, to, 0, NULL, NULL) &&
        !clFinish(a.queue) && (to[0] != from[0] || to[size - 1] != from[size - 1])) {
        printf("\nwhat was written is not what is read\n");
        exit(5);
    }
    clReleaseMemObject(m);
}

static void CL_CALLBACK call_back(cl_event event, cl_int status, void *opaque)
{
    cl_context context = NULL;
    cl_event other;

    clGetEventInfo(event, CL_EVENT_CONTEXT, sizeof(context), &context, NULL);
    clRetainEvent(event);
    clReleaseEvent(event);
    other = clCreateUserEvent(context, NULL);
    clReleaseEvent(other);
    no_op_calls++;
}

struct behind {
    cl_command_queue queue;
    cl_event events[16];
    cl_uint n;
};

/* One command, behind some of those before it. */
static cl_int command_behind(struct behind *g, cl_event *event)
{
    cl_uint first = roll(g->n), n = 1 + roll(g->n - first);
    const cl_event *list = &g->events[first];
    const size_t size = 1 + roll(256), one_item = 1;
    void *mapped_at;
    cl_int code;

    switch (roll(11)) {
    case 0:
        return clEnqueueWriteBuffer(g->queue, a.buffer, CL_FALSE, 0, size,
                                    scratch, n, list, event);
    case 1:
        return clEnqueueReadBuffer(g->queue, a.buffer, CL_FALSE, 0, size, scratch,
                                   n, list, event);
    case 2:
        return clEnqueueCopyBuffer(g->queue, a.buffer, a.second, 0, 0, size, n,
                                   list, event);
    case 3:
        return clEnqueueFillBuffer(g->queue, a.second, scratch, 4, 0, 64, n,
                                   list, event);
    case 4:
        return clEnqueueMarkerWithWaitList(g->queue, n, list, event);
    case 5:
        return clEnqueueBarrierWithWaitList(g->queue, n, list, event);
    case 6:
        return clEnqueueMigrateMemObjects(g->queue, 1, &a.buffer, 0, n, list,
                                          event);
    case 7:
        mapped_at = clEnqueueMapBuffer(g->queue, a.buffer, CL_FALSE,
                                       roll(2) ? CL_MAP_READ : CL_MAP_WRITE, 0,
                                       size, n, list, event, &code);
        if (mapped_at && roll(4)) {
            clEnqueueUnmapMemObject(g->queue, a.buffer, mapped_at, 0, NULL, NULL);
        }
        return code;
    case 8:
        return clEnqueueSVMMap(g->queue, CL_FALSE, CL_MAP_READ, a.svm, size, n,
                               list, event);
    case 9:
        return clEnqueueSVMMemFill(g->queue, a.svm, scratch, 1, size, n, list,
                                   event);
    default:
        return clEnqueueNDRangeKernel(g->queue, worlds[at_home].rig.kernel, 1,
                                      NULL, &one_item, NULL, n, list, event);
    }
}

/* Commands that wait for an event of the program, and what comes meanwhile. */
static void many_behind_one(void)
{
    struct codes_rig home = a;
    struct behind g = { .n = 1 };
    cl_event gate = clCreateUserEvent(a.context, NULL);
    cl_command_queue queues[2] = { worlds[at_home].rig.queue, a.queue };

    g.events[0] = gate;
    gated = true;
    for (unsigned i = 2 + roll(12); i; i--) {
        cl_event event = NULL;

        a = home;
        g.queue = queues[roll(2)];
        if (command_behind(&g, &event) == CL_SUCCESS && event) {
            g.events[g.n++] = event;
        }
        if (roll(3) == 0) {
            one_call();
        }
        if (roll(3) == 0) {
            release_something();
        }
    }
    gated = false;
    a = home;
    if (g.n > 1 && roll(2) &&
        clSetEventCallback(g.events[g.n - 1], CL_COMPLETE, call_back, NULL) ==
            CL_SUCCESS) {
        callbacks++;
    }
    clSetUserEventStatus(gate, CL_COMPLETE);
    clFinish(queues[0]);
    clFinish(queues[1]);
    if (g.n > 1) {
        clWaitForEvents(g.n - 1, &g.events[1]);
    }
    for (unsigned i = 0; i < g.n; i++) {
        clReleaseEvent(g.events[i]);
    }
}

static void step(void)
{
    deal();
    switch (roll(16)) {
    case 0:
        many_behind_one();
        break;
    case 1:
        move_much();
        break;
    case 2:
    case 3:
        release_something();
        break;
    case 4:
        clFinish(a.queue);
        break;
    default:
        one_call();
    }
}

/* --- sequences --------------------------------------------------------------------------------- */

/* Callbacks come from threads of the library's. */
static void await_callbacks(void)
{
    while (no_op_calls < callbacks) {
        usleep(1000);
    }
    usleep(20000);
}

static void release_all(struct world *w)
{
    static const enum codes_object order[] = {
        OBJECT_cl_event, OBJECT_cl_kernel, OBJECT_cl_program, OBJECT_cl_mem,
        OBJECT_cl_sampler, OBJECT_cl_command_queue, OBJECT_void,
    };

    finish_queues(w);
    for (size_t k = 0; k < sizeof(order) / sizeof(order[0]); k++) {
        for (unsigned i = 0; i < POOL; i++) {
            give_up(w, order[k], i);
        }
    }
}

static bool lost(void)
{
    return remote && clFinish(worlds[0].rig.queue) == CL_OUT_OF_RESOURCES &&
           clFinish(worlds[0].rig.queue) == CL_OUT_OF_RESOURCES;
}

static void run_sequence(uint64_t seed, unsigned sequence, unsigned steps)
{
    memset(worlds, 0, sizeof(worlds));
    no_op_calls = callbacks = 0;
    codes_set_up(&worlds[0].rig);
    codes_set_up(&worlds[1].rig);
    for (unsigned i = 0; i < steps; i++) {
        reseed(seed, sequence, i);
        alarm(STEP_SECONDS);
        printf("%u %u:", sequence, i);
        fflush(stdout);
        step();
        printf("\n");
        if (lost()) {
            printf("lost\n");
            exit(3);
        }
    }
    finish_queues(&worlds[0]);
    finish_queues(&worlds[1]);
    await_callbacks();
    for (unsigned w = 0; w < 2; w++) {
        release_all(&worlds[w]);
        codes_tear_down(&worlds[w].rig);
    }
}

struct held {
    size_t heap;
    unsigned maps, fds;
};

static struct held held_now(void)
{
    struct held h = { .heap = mallinfo2().uordblks };
    DIR *dir = opendir("/proc/self/fd");
    FILE *f = fopen("/proc/self/maps", "r");

    for (int c; f && (c = getc(f)) != EOF;) {
        h.maps += c == '\n';
    }
    while (dir && readdir(dir)) {
        h.fds++;
    }
    fclose(f);
    closedir(dir);
    return h;
}

static bool holds_too_much(void)
{
    struct held now = held_now();

    printf("held: %zu bytes, %u maps, %u fds\n", now.heap, now.maps, now.fds);
    return remote && (now.heap > HEAP_MOST || now.maps > MAPS_MOST ||
                      now.fds > FDS_MOST);
}

/*
 * When all that was sent has been done, and the host has nothing of us but a
 * context: hang up on the worker alone, so that it has the time to say so. Its socket
 * is the last one that the shim has made.
 */
static void hang_up(void)
{
    cl_device_id device = worlds[0].rig.device;
    cl_context c = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    cl_uint n;
    char data[512];

    clGetSupportedImageFormats(c, 0, CL_MEM_OBJECT_IMAGE2D, 0, NULL, &n);
    for (int fd = 1023; remote && fd > 2; fd--) {
        int type = 0;

        if (!getsockopt(fd, SOL_SOCKET, SO_TYPE, &type,
                        &(socklen_t){ sizeof(type) }) &&
            type == SOCK_SEQPACKET) {
            shutdown(fd, SHUT_WR);
            while (recv(fd, data, sizeof(data), 0) > 0) {
            }
            break;
        }
    }
}

static void read_skips(const char *list)
{
    char *end;

    for (; list && *list; list = *end ? end + 1 : end) {
        skip[strtoul(list, &end, 10) % 65536] = true;
    }
}

/* There if this was built with AddressSanitizer. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static bool leaks(void)
{
    return remote && __lsan_do_recoverable_leak_check &&
           __lsan_do_recoverable_leak_check();
}

int main(int argc, char **argv)
{
    unsigned n[5] = { 0 }; /* as the arguments are */

    if (argc != 5) {
        fprintf(stderr, "Usage: sessions SEED FIRST NUMBER STEPS\n");
        return 1;
    }
    for (int i = 1; i < 5; i++) {
        n[i] = (unsigned)strtoul(argv[i], NULL, 10);
    }
    mallopt(M_ARENA_MAX, 1); /* or mallinfo2() would not see all */
    read_skips(getenv("CODES_SKIP"));
    wanted = -1;
    try_all();
    cases = number;
    for (unsigned i = n[2]; i < n[2] + n[3]; i++) {
        run_sequence(n[1], i, n[4]);
        if (holds_too_much()) {
            return 4;
        }
    }
    hang_up();
    if (leaks()) {
        return 4;
    }
    printf("all\n");
    fflush(stdout);
    _exit(0); /* with that context */
}
