/*
 * The arena of shadow objects, their counts, and the end of each.
 *
 * The arena is reserved once as address space; pages come when they are used. A
 * free cell has type 0. Cells are reused last in, first out, like any allocator's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kinds.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "opencl_call.h"

#define CELLS_MAX VGPU_OBJECTS_MAX
#define HOLD (1ull << 32)

static_assert(sizeof(struct _cl_mem) <= CL_OBJECT_SIZE, "a cell's size");
static_assert(sizeof(struct _cl_sampler) <= CL_OBJECT_SIZE, "a cell's size");
static_assert(sizeof(struct _cl_device_id) <= CL_OBJECT_SIZE, "a cell's size");

pthread_mutex_t cl_object_lock = PTHREAD_MUTEX_INITIALIZER;

static _Atomic(char *) arena;
static pthread_mutex_t cell_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t cells_used; /* under cell_lock: never-used cells start here */
static uint32_t free_cell;  /* under cell_lock: number + 1; 0: none */

/*
 * In a child of fork() another thread's hold of a lock would last for ever.
 */
static void renew_locks(void)
{
    pthread_mutex_init(&cl_object_lock, NULL);
    pthread_mutex_init(&cell_lock, NULL);
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, renew_locks);
}

/* --- cells ------------------------------------------------------------------ */

/* What only cells point to is no leak. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define is_in_use(p, n) __lsan_register_root_region(p, n)
#else
#define is_in_use(p, n) ((void)(p))
#endif

/* Under cell_lock. */
static bool reserve_arena(void)
{
    void *map;

    if (arena) {
        return true;
    }
    map = mmap(NULL, (size_t)CELLS_MAX * CL_OBJECT_SIZE, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return false;
    }
    is_in_use(map, (size_t)CELLS_MAX * CL_OBJECT_SIZE);
    arena = map;
    return true;
}

static struct cl_object *cell(uint32_t n)
{
    return (struct cl_object *)(arena + (size_t)n * CL_OBJECT_SIZE);
}

static struct cl_object *take_cell(void)
{
    struct cl_object *o = NULL;

    pthread_mutex_lock(&cell_lock);
    if (!reserve_arena()) {
        goto out;
    }
    if (free_cell) {
        o = cell(free_cell - 1);
        free_cell = o->next_free;
    } else if (cells_used < CELLS_MAX) {
        o = cell(cells_used++);
    }
out:
    pthread_mutex_unlock(&cell_lock);
    return o;
}

static void give_cell(struct cl_object *o)
{
    pthread_mutex_lock(&cell_lock);
    o->next_free = free_cell;
    free_cell = (uint32_t)(((char *)o - arena) / CL_OBJECT_SIZE) + 1;
    pthread_mutex_unlock(&cell_lock);
}

void *cl_object_create(struct session *s, enum opencl_type type)
{
    struct cl_object *o = take_cell();

    if (!o) {
        return NULL;
    }
    memset(o, 0, CL_OBJECT_SIZE);
    o->dispatch = &opencl_dispatch;
    o->session = s;
    o->counts = 1;
    o->type = type;
    return o;
}

bool cl_live(const void *handle, enum opencl_type type)
{
    const char *base = atomic_load_explicit(&arena, memory_order_relaxed);
    size_t at = (size_t)((const char *)handle - base);
    const struct cl_object *o = handle;

    return handle && base && at < (size_t)CELLS_MAX * CL_OBJECT_SIZE &&
           at % CL_OBJECT_SIZE == 0 &&
           atomic_load_explicit(&o->type, memory_order_acquire) == type &&
           session_is_current(o->session);
}

uint64_t cl_id_of(const void *handle, enum opencl_type type)
{
    return cl_live(handle, type) ? ((const struct cl_object *)handle)->id : 0;
}

cl_int cl_invalid(enum opencl_type type)
{
    static const cl_int errors[] = {
        [OPENCL_cl_platform_id] = CL_INVALID_PLATFORM,
        [OPENCL_cl_device_id] = CL_INVALID_DEVICE,
        [OPENCL_cl_context] = CL_INVALID_CONTEXT,
        [OPENCL_cl_command_queue] = CL_INVALID_COMMAND_QUEUE,
        [OPENCL_cl_mem] = CL_INVALID_MEM_OBJECT,
        [OPENCL_cl_sampler] = CL_INVALID_SAMPLER,
        [OPENCL_cl_program] = CL_INVALID_PROGRAM,
        [OPENCL_cl_kernel] = CL_INVALID_KERNEL,
        [OPENCL_cl_event] = CL_INVALID_EVENT,
        [OPENCL_cl_command_buffer_khr] = CL_INVALID_COMMAND_BUFFER_KHR,
    };

    return errors[type];
}

void cl_object_rebind(void *object, struct session *s, uint64_t id)
{
    struct cl_object *o = object;

    o->session = s;
    o->id = id;
}

/* --- counts ----------------------------------------------------------------- */

/* What each kind does at its end: what still wants the host, tell it, the rest. */
static const struct kind {
    cl_int (*drop)(struct session *s, uint64_t id);
    void (*finish)(void *object);
    void (*before)(void *object); /* or NULL */
} kinds[] = {
    [OPENCL_cl_device_id] = { call_clReleaseDevice, device_finish },
    [OPENCL_cl_context] = { call_clReleaseContext, context_finish },
    [OPENCL_cl_command_queue] = { call_clReleaseCommandQueue, queue_finish },
    [OPENCL_cl_mem] = { call_clReleaseMemObject, mem_finish },
    [OPENCL_cl_sampler] = { call_clReleaseSampler, sampler_finish },
    [OPENCL_cl_program] = { call_clReleaseProgram, program_finish,
                            program_keep },
    [OPENCL_cl_kernel] = { call_clReleaseKernel, kernel_finish },
    [OPENCL_cl_event] = { call_clReleaseEvent, event_finish },
    [OPENCL_cl_command_buffer_khr] = { call_clReleaseCommandBufferKHR,
                                       command_buffer_finish },
};

static void finish(struct cl_object *o)
{
    const struct kind *kind = &kinds[o->type];

    if (o->id) {
        if (kind->before) {
            kind->before(o);
        }
        kind->drop(o->session, o->id);
        session_free_id(o->session, o->id);
    }
    kind->finish(o);
}

static void drop(struct cl_object *o, uint64_t what)
{
    if (atomic_fetch_sub(&o->counts, what) != what) {
        return;
    }
    finish(o);
    atomic_store_explicit(&o->type, 0, memory_order_release);
    give_cell(o);
}

void cl_object_retain(void *object)
{
    atomic_fetch_add(&((struct cl_object *)object)->counts, 1);
}

bool cl_object_release(void *object)
{
    struct cl_object *o = object;
    uint64_t now = o->counts;

    /* Keep a program that releases too often from taking others' holds. */
    do {
        if (!(uint32_t)now) {
            return false;
        }
    } while (now != 1 &&
             !atomic_compare_exchange_weak(&o->counts, &now, now - 1));
    if (now == 1) {
        drop(o, 1);
    }
    return true;
}

void cl_object_hold(void *object)
{
    if (object) {
        atomic_fetch_add(&((struct cl_object *)object)->counts, HOLD);
    }
}

void cl_object_unhold(void *object)
{
    if (object) {
        drop(object, HOLD);
    }
}

cl_uint cl_object_refs(const void *object)
{
    return (cl_uint)((const struct cl_object *)object)->counts;
}

void cl_object_undo(void *object)
{
    struct cl_object *o = object;

    if (o->id) {
        session_free_id(o->session, o->id);
        o->id = 0;
    }
    drop(o, 1);
}

/* --- what all kinds use ------------------------------------------------------ */

cl_int callback_add(struct callback **list, void (*fn)(void *, void *),
                    void *user_data)
{
    struct callback *c = malloc(sizeof(*c));

    if (!c) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    c->fn = fn;
    c->user_data = user_data;
    pthread_mutex_lock(&cl_object_lock);
    c->next = *list;
    *list = c;
    pthread_mutex_unlock(&cl_object_lock);
    return CL_SUCCESS;
}

void callback_run(struct callback **list, void *object)
{
    while (*list) {
        struct callback *c = *list;

        *list = c->next;
        c->fn(object, c->user_data);
        free(c);
    }
}

void *cl_return(void *object, cl_int err, cl_int *errcode_ret)
{
    if (errcode_ret) {
        *errcode_ret = err;
    }
    return err == CL_SUCCESS ? object : NULL;
}
