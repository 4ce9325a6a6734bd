/*
 * Shared virtual memory: coarse-grain regions, at the same address here as on the
 * host's devices, so that pointers within them mean the same to both.
 *
 * The host chooses the address; here it is reserved with memory of our own. If
 * something of the program's is there already, another region is asked for. The
 * program may touch a region only while it is mapped: the contents come at
 * clEnqueueSVMMap and go at clEnqueueSVMUnmap, like those of any buffer, and at no
 * other time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "opencl_call.h"

#define PAGE  ((size_t)4096) /* also the largest alignment that there is */
#define TRIES 8
#define SLACK ((size_t)1 << 20)
#define MAP_WRITES (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION)

/* Between clEnqueueSVMMap and Unmap. */
struct svm_map {
    struct svm_map *next;
    const char *pointer;
    size_t size;
    cl_map_flags flags;
};

struct svm {
    char *memory;
    size_t size;
    cl_context context;    /* held */
    struct svm_map *maps;  /* under the object lock */
};

static void *regions; /* a tree, see search.h; under the object lock */

/* --- regions ---------------------------------------------------------------------- */

/* Regions that have a byte in common are equal. */
static int compare(const void *left, const void *right)
{
    const struct svm *a = left, *b = right;

    return a->memory + a->size <= b->memory ? -1
           : b->memory + b->size <= a->memory ? 1 : 0;
}

/* Called with the lock: the region of @context that has these bytes, or NULL. */
static struct svm *find(cl_context context, const void *pointer, size_t size)
{
    struct svm key = { .memory = (char *)pointer, .size = 1 };
    struct svm *const *node = tfind(&key, &regions, compare);
    size_t at;

    if (!node || (*node)->context != context) {
        return NULL;
    }
    at = (size_t)(key.memory - (*node)->memory);
    return size <= (*node)->size - at ? *node : NULL;
}

bool svm_has(cl_context context, const void *pointer, size_t size)
{
    bool found;

    pthread_mutex_lock(&cl_object_lock);
    found = find(context, pointer, size) != NULL;
    pthread_mutex_unlock(&cl_object_lock);
    return found;
}

static size_t pages(size_t size)
{
    return (size + PAGE - 1) & ~(PAGE - 1);
}

/* Memory at just @address; false if anything is there. */
static bool reserve(cl_ulong address, size_t size)
{
    void *want = (void *)(uintptr_t)address;
    void *got = mmap(want, pages(size), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                     MAP_FIXED_NOREPLACE, -1, 0);

    if (got == MAP_FAILED) {
        return false;
    }
    if (got != want) {
        munmap(got, pages(size)); /* a kernel that takes it for a wish */
    }
    return got == want;
}

/*
 * A region of the host's whose address is free here; 0: there is none. Those that
 * are not free are kept until the end, so that the host does not offer them again, and
 * what is next to them is no better: so more is asked for, four times each time.
 */
static cl_ulong allocate(cl_context context, cl_mem_flags flags, size_t size)
{
    struct session *s = context->obj.session;
    cl_ulong tried[TRIES], found = 0;
    size_t slack = 0;
    unsigned n = 0;

    while (n < TRIES && !found &&
           call_vclSVMAlloc(s, context->obj.id, flags, size, slack, &tried[n]) ==
               CL_SUCCESS) {
        if (reserve(tried[n], size)) {
            found = tried[n];
        } else {
            n++;
            slack = slack ? slack * 4 : SLACK;
        }
    }
    while (n) {
        call_vclSVMFree(s, context->obj.id, tried[--n]);
    }
    return found;
}

/* Whether a device of @context could have such a region. */
static bool is_possible(cl_context context, cl_svm_mem_flags flags, size_t size,
                        cl_uint alignment)
{
    const cl_svm_mem_flags access = flags & MEM_ACCESS_FLAGS;
    bool any = false;

    if ((flags & ~(cl_svm_mem_flags)MEM_ACCESS_FLAGS) ||
        (access & (access - 1)) || !size || (alignment & (alignment - 1)) ||
        alignment > PAGE) {
        return false;
    }
    for (cl_uint i = 0; i < context->device_count; i++) {
        if (size > context->devices[i]->max_alloc) {
            return false;
        }
        any = any || context->devices[i]->svm;
    }
    return any;
}

CL_API_ENTRY void *CL_API_CALL clSVMAlloc(cl_context context,
                                          cl_svm_mem_flags flags, size_t size,
                                          cl_uint alignment)
{
    struct svm *svm;
    void *node;

    if (!cl_live(context, OPENCL_cl_context) ||
        !is_possible(context, flags, size, alignment)) {
        return NULL;
    }
    svm = calloc(1, sizeof(*svm));
    if (!svm) {
        return NULL;
    }
    svm->size = size;
    svm->context = context;
    svm->memory = (char *)(uintptr_t)allocate(context, flags, size);
    if (!svm->memory) {
        goto fail;
    }
    pthread_mutex_lock(&cl_object_lock);
    node = tsearch(svm, &regions, compare);
    pthread_mutex_unlock(&cl_object_lock);
    if (!node) {
        goto fail_memory;
    }
    cl_object_hold(context);
    return svm->memory;

fail_memory:
    munmap(svm->memory, pages(size));
    call_vclSVMFree(context->obj.session, context->obj.id,
                    (uintptr_t)svm->memory);
fail:
    free(svm);
    return NULL;
}

CL_API_ENTRY void CL_API_CALL clSVMFree(cl_context context, void *svm_pointer)
{
    struct svm *svm = NULL;

    if (!cl_live(context, OPENCL_cl_context) || !svm_pointer) {
        return;
    }
    pthread_mutex_lock(&cl_object_lock);
    svm = find(context, svm_pointer, 1);
    if (svm && svm->memory == svm_pointer) {
        tdelete(svm, &regions, compare);
    } else {
        svm = NULL;
    }
    pthread_mutex_unlock(&cl_object_lock);
    if (!svm) {
        return;
    }
    transfer_forget(context->obj.session, svm->memory, svm->size);
    /* First here, so that a new region of the host's finds its place free. */
    munmap(svm->memory, pages(svm->size));
    call_vclSVMFree(context->obj.session, context->obj.id,
                    (uintptr_t)svm_pointer);
    while (svm->maps) {
        struct svm_map *m = svm->maps;

        svm->maps = m->next;
        free(m);
    }
    free(svm);
    cl_object_unhold(context);
}

/* --- transfers -------------------------------------------------------------------- */

cl_int send_read_svm(struct transfer *t, bool blocking, void *dense,
                     const struct wire_span *span)
{
    struct command *c = t->command;

    return call_vclEnqueueReadSVM(c->session, c->queue_id,
                                  t->address + t->offset, blocking, t->box.row,
                                  dense, span, c->waits, c->ids, c->event_id);
}

cl_int send_write_svm(struct transfer *t, bool blocking, void *dense,
                      const struct wire_span *span)
{
    struct command *c = t->command;

    return call_vclEnqueueWriteSVM(c->session, c->queue_id,
                                   t->address + t->offset, blocking, t->box.row,
                                   dense, c->waits, c->ids, c->event_id);
}

static cl_int read_region(struct command *c, bool blocking, const void *from,
                          void *to, size_t size)
{
    struct transfer t = {
        .send = send_read_svm,
        .command = c,
        .address = (uintptr_t)from,
        .box = { size, 1, 1, size, size },
    };

    return transfer_read(&t, blocking, to);
}

static cl_int write_region(struct command *c, bool blocking, void *to,
                           const void *from, size_t size)
{
    struct transfer t = {
        .send = send_write_svm,
        .command = c,
        .address = (uintptr_t)to,
        .box = { size, 1, 1, size, size },
    };

    return transfer_write(&t, blocking, from);
}

/* --- mapping ---------------------------------------------------------------------- */

static cl_int check_map(cl_map_flags flags, const void *pointer, size_t size)
{
    const cl_map_flags known =
        CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;

    if (!pointer || !size || (flags & ~known) ||
        ((flags & CL_MAP_WRITE_INVALIDATE_REGION) &&
         (flags & (CL_MAP_READ | CL_MAP_WRITE)))) {
        return CL_INVALID_VALUE;
    }
    return CL_SUCCESS;
}

/* The region is mapped from now on. */
static cl_int remember_map(cl_context context, const struct svm_map *map)
{
    struct svm_map *m = malloc(sizeof(*m));
    struct svm *svm;

    if (!m) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    pthread_mutex_lock(&cl_object_lock);
    svm = find(context, map->pointer, map->size);
    if (svm) {
        *m = *map;
        m->next = svm->maps;
        svm->maps = m;
    }
    pthread_mutex_unlock(&cl_object_lock);
    if (!svm) {
        free(m);
    }
    return svm ? CL_SUCCESS : CL_INVALID_VALUE;
}

/* The latest map at @pointer, which is none any more; NULL if there is none. */
static struct svm_map *take_map(cl_context context, const void *pointer)
{
    struct svm_map *m = NULL;
    struct svm *svm;

    pthread_mutex_lock(&cl_object_lock);
    svm = find(context, pointer, 1);
    for (struct svm_map **at = svm ? &svm->maps : NULL; at && *at;
         at = &(*at)->next) {
        if ((*at)->pointer == pointer) {
            m = *at;
            *at = m->next;
            break;
        }
    }
    pthread_mutex_unlock(&cl_object_lock);
    return m;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueSVMMap(
    cl_command_queue queue, cl_bool blocking, cl_map_flags flags, void *svm_ptr,
    size_t size, cl_uint num_events, const cl_event *events, cl_event *event)
{
    const struct svm_map map = { NULL, svm_ptr, size, flags };
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_SVM_MAP, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = check_map(flags, svm_ptr, size);
    if (err == CL_SUCCESS) {
        err = remember_map(queue->context, &map);
    }
    if (err != CL_SUCCESS) {
        return command_end(&c, err);
    }
    if (flags & CL_MAP_WRITE_INVALIDATE_REGION) {
        err = command_order(&c, blocking);
    } else {
        err = read_region(&c, blocking, svm_ptr, svm_ptr, size);
    }
    if (err != CL_SUCCESS) {
        free(take_map(queue->context, svm_ptr));
    }
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueSVMUnmap(
    cl_command_queue queue, void *svm_ptr, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    struct svm_map *m;
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_SVM_UNMAP, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    m = svm_ptr ? take_map(queue->context, svm_ptr) : NULL;
    if (!m) {
        return command_end(&c, CL_INVALID_VALUE);
    }
    if (m->flags & MAP_WRITES) {
        err = write_region(&c, false, svm_ptr, svm_ptr, m->size);
    } else {
        err = command_order(&c, false);
    }
    free(m);
    return command_end(&c, err);
}

/* --- other commands --------------------------------------------------------------- */

/* Between two places in the program's own memory, when its turn has come. */
static cl_int copy_here(struct command *c, void *dst, const void *src,
                        size_t size)
{
    cl_int err = command_order(c, true);

    if (err == CL_SUCCESS) {
        memmove(dst, src, size);
    }
    return err;
}

static cl_int copy(struct command *c, bool blocking, void *dst, const void *src,
                   size_t size)
{
    cl_context context = c->queue->context;
    bool to = svm_has(context, dst, size), from = svm_has(context, src, size);
    cl_int err;

    if (to && !from) {
        return write_region(c, blocking, dst, src, size);
    }
    if (from && !to) {
        return read_region(c, blocking, src, dst, size);
    }
    if (!from) {
        return copy_here(c, dst, src, size);
    }
    err = blocking ? command_blocks(c) : CL_SUCCESS;
    if (err != CL_SUCCESS) {
        return err;
    }
    err = call_checked(c->session, true, call_vclEnqueueCopySVM(
        c->session, c->queue_id, (uintptr_t)dst, (uintptr_t)src, size, c->waits,
        c->ids, c->event_id));
    return err == CL_SUCCESS && blocking
               ? call_clFinish(c->session, c->queue_id) : err;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueSVMMemcpy(
    cl_command_queue queue, cl_bool blocking, void *dst_ptr,
    const void *src_ptr, size_t size, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    uintptr_t dst = (uintptr_t)dst_ptr, src = (uintptr_t)src_ptr;
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_SVM_MEMCPY, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    if (!dst || !src || !size || size > UINTPTR_MAX - dst ||
        size > UINTPTR_MAX - src) {
        err = CL_INVALID_VALUE;
    } else if (dst < src + size && src < dst + size) {
        err = CL_MEM_COPY_OVERLAP;
    } else {
        err = copy(&c, blocking, dst_ptr, src_ptr, size);
    }
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueSVMMemFill(
    cl_command_queue queue, void *svm_ptr, const void *pattern,
    size_t pattern_size, size_t size, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_SVM_MEMFILL, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    if (!pattern || !pattern_size || pattern_size > 128 ||
        (pattern_size & (pattern_size - 1)) ||
        (uintptr_t)svm_ptr % pattern_size || !size || size % pattern_size ||
        !svm_has(queue->context, svm_ptr, size)) {
        err = CL_INVALID_VALUE;
    } else {
        err = call_checked(c.session, true, call_vclEnqueueFillSVM(
            c.session, c.queue_id, (uintptr_t)svm_ptr, pattern, pattern_size,
            size, c.waits, c.ids, c.event_id));
    }
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueSVMMigrateMem(
    cl_command_queue queue, cl_uint num_svm_pointers, const void **svm_pointers,
    const size_t *sizes, cl_mem_migration_flags flags, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    size_t *each = NULL;
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_SVM_MIGRATE_MEM, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    if (!num_svm_pointers || !svm_pointers) {
        return command_end(&c, CL_INVALID_VALUE);
    }
    for (cl_uint i = 0; i < num_svm_pointers && err == CL_SUCCESS; i++) {
        size_t size = sizes && sizes[i] ? sizes[i] : 1;

        err = svm_has(queue->context, svm_pointers[i], size)
                  ? CL_SUCCESS : CL_INVALID_VALUE;
    }
    if (err == CL_SUCCESS) {
        each = calloc(num_svm_pointers, sizeof(each[0]));
        err = each ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    }
    if (err == CL_SUCCESS) {
        if (sizes) {
            memcpy(each, sizes, num_svm_pointers * sizeof(each[0]));
        }
        err = call_vclEnqueueMigrateSVM(
            c.session, c.queue_id, num_svm_pointers,
            (const cl_ulong *)svm_pointers, each, flags, c.waits, c.ids,
            c.event_id);
    }
    free(each);
    return command_end(&c, err);
}

/* --- freeing in order ------------------------------------------------------------- */

/*
 * A free is two markers with a user event between them: when the first is done,
 * the program's function (or ours) runs, and lets the second go.
 */
struct free_command {
    cl_command_queue queue; /* held */
    cl_event freed;
    void(CL_CALLBACK *fn)(cl_command_queue queue, cl_uint n, void *pointers[],
                          void *user_data);
    void *user_data;
    cl_uint n;
    void *pointers[];
};

static void CL_CALLBACK run_free(cl_event reached, cl_int status, void *opaque)
{
    struct free_command *f = opaque;

    if (f->fn) {
        f->fn(f->queue, f->n, f->pointers, f->user_data);
    } else {
        for (cl_uint i = 0; i < f->n; i++) {
            clSVMFree(f->queue->context, f->pointers[i]);
        }
    }
    clSetUserEventStatus(f->freed, CL_COMPLETE);
    clReleaseEvent(f->freed);
    clReleaseEvent(reached);
    cl_object_unhold(f->queue);
    free(f);
}

/* The second marker: the command that the program sees. */
static cl_int add_end(struct free_command *f, cl_event *event)
{
    struct command c;
    cl_int err = command_begin(&c, f->queue, 1, &f->freed, CL_COMMAND_SVM_FREE,
                               event);

    return err != CL_SUCCESS ? err : command_end(&c, command_order(&c, false));
}

/* @f is given to the first marker, or freed. */
static cl_int enqueue_free(struct free_command *f, cl_uint num_events,
                           const cl_event *events, cl_event *event)
{
    cl_event reached;
    cl_int err;

    f->freed = clCreateUserEvent(f->queue->context, &err);
    if (!f->freed) {
        goto fail;
    }
    err = clEnqueueMarkerWithWaitList(f->queue, num_events, events, &reached);
    if (err != CL_SUCCESS) {
        goto fail_event;
    }
    err = add_end(f, event);
    if (err == CL_SUCCESS) {
        clFlush(f->queue);
        cl_object_hold(f->queue);
        err = clSetEventCallback(reached, CL_COMPLETE, run_free, f);
        if (err == CL_SUCCESS) {
            return CL_SUCCESS;
        }
        clSetUserEventStatus(f->freed, CL_COMPLETE);
        cl_object_unhold(f->queue);
    }
    clReleaseEvent(reached);
fail_event:
    clReleaseEvent(f->freed);
fail:
    free(f);
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueSVMFree(
    cl_command_queue queue, cl_uint num_svm_pointers, void *svm_pointers[],
    void(CL_CALLBACK *pfn_free_func)(cl_command_queue queue,
                                     cl_uint num_svm_pointers,
                                     void *svm_pointers[], void *user_data),
    void *user_data, cl_uint num_events, const cl_event *events,
    cl_event *event)
{
    struct free_command *f;
    size_t size;

    if (!cl_live(queue, OPENCL_cl_command_queue)) {
        return CL_INVALID_COMMAND_QUEUE;
    }
    if (!num_svm_pointers != !svm_pointers || !num_svm_pointers) {
        return CL_INVALID_VALUE;
    }
    size = num_svm_pointers * sizeof(svm_pointers[0]);
    f = calloc(1, sizeof(*f) + size);
    if (!f) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    f->queue = queue;
    f->fn = pfn_free_func;
    f->user_data = user_data;
    f->n = num_svm_pointers;
    memcpy(f->pointers, svm_pointers, size);
    return enqueue_free(f, num_events, events, event);
}
