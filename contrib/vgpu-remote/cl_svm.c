/*
 * Shared virtual memory: coarse-grain regions, which the host's OpenCL allocates
 * and the guest has at the same address.
 *
 * A region is whole pages, so that the guest can reserve just that: the host is
 * asked for alignment to a page, and if it does not know such alignments, for
 * more than is needed. The guest has no access to a region's memory; it reads and
 * writes it by commands, when it maps and unmaps.
 *
 * An address from the guest is a number until svm_find() has found the region that it
 * lies in. A region lives until the guest has freed it, no buffer lies in it, and
 * no transfer (a map is one) moves its bytes. A guest that frees one which its own
 * kernels still use may end its own worker.
 *
 * The table is the leader's; counts may be given up by any thread of the host's.
 *
 * SPDX-License-Identifier: MIT
 */
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cl.h"
#include "opencl_serve.h"

#define PAGE      ((size_t)4096)
#define SIZE_MOST ((size_t)1 << 40) /* also of slack */
#define KERNEL_POINTERS_MAX 65536u
#define ACCESS_FLAGS \
    ((cl_mem_flags)(CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY))

struct svm {
    /* constant after create */
    char *memory;        /* whole pages, as the guest knows it */
    size_t size;
    void *whole;         /* what the host has given */
    cl_context context;  /* a reference */
    struct session *session;
    size_t charged;
    /* any thread */
    _Atomic unsigned refs;
};

static void *regions; /* a tree, see search.h; leader only */

/* --- the table -------------------------------------------------------------------- */

/* Regions that have a byte in common are equal. */
static int compare(const void *left, const void *right)
{
    const struct svm *a = left, *b = right;

    return a->memory + a->size <= b->memory ? -1
           : b->memory + b->size <= a->memory ? 1 : 0;
}

struct svm *svm_find(uint64_t address, size_t size)
{
    struct svm key = { .memory = (char *)(uintptr_t)address, .size = 1 };
    struct svm *const *node = tfind(&key, &regions, compare);
    size_t at;

    if (!node) {
        return NULL;
    }
    at = (size_t)(key.memory - (*node)->memory);
    return size <= (*node)->size - at ? *node : NULL;
}

void svm_ref(struct svm *svm)
{
    if (svm) {
        atomic_fetch_add(&svm->refs, 1);
    }
}

void svm_unref(struct svm *svm)
{
    if (!svm || atomic_fetch_sub(&svm->refs, 1) != 1) {
        return;
    }
    clSVMFree(svm->context, svm->whole);
    clReleaseContext(svm->context);
    session_release(svm->session, svm->charged);
    free(svm);
}

void svm_forget(void)
{
    while (regions) {
        struct svm *svm = *(struct svm *const *)regions;

        tdelete(svm, &regions, compare);
        svm_unref(svm);
    }
}

/* The region of @size bytes at @address that commands in @queue may use, or NULL. */
static struct svm *find_for(cl_command_queue queue, uint64_t address,
                            size_t size)
{
    struct svm *svm = svm_find(address, size);
    cl_context context = NULL;

    clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof(context), &context,
                          NULL);
    return svm && svm->context == context ? svm : NULL;
}

static void *pointer(uint64_t address)
{
    return (void *)(uintptr_t)address;
}

/* --- allocation ------------------------------------------------------------------- */

/* Has the host make the @size bytes, which are whole pages, and begin at one. */
static bool allocate(struct svm *svm, cl_mem_flags flags, size_t size)
{
    uintptr_t at;

    svm->whole = clSVMAlloc(svm->context, flags, size, PAGE);
    if (!svm->whole) {
        svm->whole = clSVMAlloc(svm->context, flags, size + PAGE, 0);
    }
    at = ((uintptr_t)svm->whole + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    svm->memory = (char *)at;
    return svm->whole != NULL;
}

static cl_int create(struct session *s, cl_context context, cl_mem_flags flags,
                     size_t size, size_t slack, struct svm **made)
{
    size_t pages = (size + slack + PAGE - 1) & ~(PAGE - 1);
    struct svm *svm = calloc(1, sizeof(*svm));

    if (!svm) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    *svm = (struct svm){ .size = size, .context = context, .session = s,
                         .charged = pages + PAGE, .refs = 1 };
    if (!session_charge(s, svm->charged)) {
        free(svm);
        return CL_OUT_OF_RESOURCES;
    }
    if (!allocate(svm, flags, pages)) {
        session_release(s, svm->charged);
        free(svm);
        return CL_MEM_OBJECT_ALLOCATION_FAILURE;
    }
    clRetainContext(context);
    *made = svm;
    return CL_SUCCESS;
}

void serve_vclSVMAlloc(struct request *r, struct vclSVMAlloc_args *a)
{
    struct svm *svm = NULL;

    if (!a->size || a->size > SIZE_MOST || a->slack > SIZE_MOST ||
        (a->flags & ~ACCESS_FLAGS)) {
        a->ret = CL_INVALID_VALUE;
        return;
    }
    a->ret = create(r->session, a->context, a->flags, a->size, a->slack, &svm);
    if (a->ret != CL_SUCCESS) {
        return;
    }
    if (!tsearch(svm, &regions, compare)) {
        svm_unref(svm);
        a->ret = CL_OUT_OF_HOST_MEMORY;
        return;
    }
    *a->address = (uintptr_t)svm->memory;
}

void serve_vclSVMFree(struct request *r, struct vclSVMFree_args *a)
{
    struct svm *svm = svm_find(a->address, 1);

    if (!svm || svm->context != a->context ||
        svm->memory != pointer(a->address)) {
        a->ret = CL_INVALID_VALUE;
        return;
    }
    tdelete(svm, &regions, compare);
    svm_unref(svm);
}

static void CL_CALLBACK unref_region(cl_mem mem, void *svm)
{
    svm_unref(svm);
}

void serve_vclCreateBufferInSVM(struct request *r,
                                struct vclCreateBufferInSVM_args *a)
{
    struct svm *svm = svm_find(a->address, a->size);
    cl_mem_flags flags = a->flags & ~(cl_mem_flags)(CL_MEM_ALLOC_HOST_PTR |
                                                    CL_MEM_COPY_HOST_PTR);

    if (!svm || svm->context != a->context || !a->size) {
        a->err = CL_INVALID_HOST_PTR;
        return;
    }
    a->ret = clCreateBuffer(a->context, flags | CL_MEM_USE_HOST_PTR, a->size,
                            pointer(a->address), &a->err);
    if (!a->ret) {
        return;
    }
    svm_ref(svm);
    a->err = clSetMemObjectDestructorCallback(a->ret, unref_region, svm);
    if (a->err != CL_SUCCESS) {
        clReleaseMemObject(a->ret);
        svm_unref(svm);
        a->ret = NULL;
    }
}

/* --- kernels ---------------------------------------------------------------------- */

/*
 * Whether argument @index is a pointer to memory: the host might take an address
 * for an object elsewhere. Images and pipes are in global memory too, but have
 * an access.
 */
static bool is_pointer(cl_kernel kernel, cl_uint index)
{
    cl_kernel_arg_address_qualifier space = 0;
    cl_kernel_arg_access_qualifier access = 0;

    clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER,
                       sizeof(space), &space, NULL);
    clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_ACCESS_QUALIFIER,
                       sizeof(access), &access, NULL);
    return (space == CL_KERNEL_ARG_ADDRESS_GLOBAL ||
            space == CL_KERNEL_ARG_ADDRESS_CONSTANT) &&
           access == CL_KERNEL_ARG_ACCESS_NONE;
}

void serve_vclSetKernelArgSVM(struct request *r,
                              struct vclSetKernelArgSVM_args *a)
{
    if ((a->address && !svm_find(a->address, 1)) ||
        !is_pointer(a->kernel, a->arg_index)) {
        a->ret = CL_INVALID_ARG_VALUE;
        return;
    }
    a->ret = clSetKernelArgSVMPointer(a->kernel, a->arg_index,
                                      pointer(a->address));
}

void serve_vclSetKernelExecSVM(struct request *r,
                               struct vclSetKernelExecSVM_args *a)
{
    static_assert(sizeof(void *) == sizeof(a->addresses[0]),
                  "a list of addresses is one of pointers");
    if (a->num_addresses > KERNEL_POINTERS_MAX) {
        a->ret = CL_OUT_OF_RESOURCES;
        return;
    }
    for (cl_uint i = 0; i < a->num_addresses; i++) {
        if (!svm_find(a->addresses[i], 1)) {
            a->ret = CL_INVALID_VALUE;
            return;
        }
    }
    a->ret = clSetKernelExecInfo(a->kernel, CL_KERNEL_EXEC_INFO_SVM_PTRS,
                                 a->num_addresses * sizeof(void *),
                                 a->num_addresses ? a->addresses : NULL);
}

/* --- commands --------------------------------------------------------------------- */

static cl_int read_part(struct transfer *t, void *ptr, size_t at, size_t size,
                        cl_event *event)
{
    return clEnqueueSVMMemcpy(t->queue, CL_FALSE, ptr, t->memory + at, size,
                              t->n_waits, t->waits, event);
}

static cl_int write_part(struct transfer *t, void *ptr, size_t at, size_t size,
                         cl_event *event)
{
    return clEnqueueSVMMemcpy(t->queue, CL_FALSE, t->memory + at, ptr, size,
                              t->n_waits, t->waits, event);
}

static cl_int read_all(struct transfer *t, void *ptr, cl_event *event)
{
    return read_part(t, ptr, 0, t->bytes, event);
}

static cl_int write_all(struct transfer *t, void *ptr, cl_event *event)
{
    return write_part(t, ptr, 0, t->bytes, event);
}

void serve_vclEnqueueReadSVM(struct request *r,
                             struct vclEnqueueReadSVM_args *a)
{
    struct transfer t = {
        TRANSFER_READ(r, a),
        .bytes = a->size,
        .enqueue = read_all,
        .enqueue_part = read_part,
        .svm = find_for(a->command_queue, a->address, a->size),
        .memory = pointer(a->address),
    };

    a->ret = t.svm && a->size ? transfer_run(&t) : CL_INVALID_VALUE;
}

void serve_vclEnqueueWriteSVM(struct request *r,
                              struct vclEnqueueWriteSVM_args *a)
{
    struct transfer t = {
        TRANSFER_WRITE(r, a),
        .bytes = a->size,
        .enqueue = write_all,
        .enqueue_part = write_part,
        .svm = find_for(a->command_queue, a->address, a->size),
        .memory = pointer(a->address),
    };

    a->ret = t.svm && a->size ? transfer_run(&t) : CL_INVALID_VALUE;
}

void serve_vclEnqueueCopySVM(struct request *r,
                             struct vclEnqueueCopySVM_args *a)
{
    if (!a->size || !find_for(a->command_queue, a->dst_address, a->size) ||
        !find_for(a->command_queue, a->src_address, a->size)) {
        a->ret = CL_INVALID_VALUE;
        return;
    }
    a->ret = clEnqueueSVMMemcpy(a->command_queue, CL_FALSE,
                                pointer(a->dst_address),
                                pointer(a->src_address), a->size,
                                a->num_events_in_wait_list, a->event_wait_list,
                                a->event);
}

void serve_vclEnqueueFillSVM(struct request *r,
                             struct vclEnqueueFillSVM_args *a)
{
    if (!a->size || !find_for(a->command_queue, a->address, a->size)) {
        a->ret = CL_INVALID_VALUE;
        return;
    }
    a->ret = clEnqueueSVMMemFill(a->command_queue, pointer(a->address),
                                 a->pattern, a->pattern_size, a->size,
                                 a->num_events_in_wait_list,
                                 a->event_wait_list, a->event);
}

void serve_vclEnqueueMigrateSVM(struct request *r,
                                struct vclEnqueueMigrateSVM_args *a)
{
    for (cl_uint i = 0; i < a->num_addresses; i++) {
        if (!find_for(a->command_queue, a->addresses[i],
                      a->sizes[i] ? a->sizes[i] : 1)) {
            a->ret = CL_INVALID_VALUE;
            return;
        }
    }
    a->ret = clEnqueueSVMMigrateMem(a->command_queue, a->num_addresses,
                                    (const void **)a->addresses, a->sizes,
                                    a->flags, a->num_events_in_wait_list,
                                    a->event_wait_list, a->event);
}
