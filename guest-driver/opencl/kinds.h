/*
 * The kinds of shadow objects: what each remembers. A handle's C type is the
 * struct itself. Who may change a member, and under what, stands beside it; what
 * has no remark is constant after creation.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef KINDS_H
#define KINDS_H

#include <pthread.h>

#include <CL/cl_ext.h>

#include "info.h"
#include "object.h"
#include "opencl_entry.h"

#define VIA_SUFFIX " via vgpu-remote"

struct _cl_platform_id {
    struct cl_object obj;
    struct info_cache cache;
    struct _cl_device_id **devices; /* of all types, in the host's order */
    cl_uint device_count;
};

struct _cl_device_id {
    struct cl_object obj;
    struct info_cache cache;
    cl_platform_id platform;
    cl_device_id parent; /* held; NULL: a root device */
    cl_uint partition_count; /* of what a sub-device was made with */
    cl_device_partition_property *partition;
    cl_device_type type;
    /* What calls are checked against. */
    cl_ulong max_alloc, local_mem;
    size_t max_group, max_items[3];
    cl_bool images;
    cl_device_svm_capabilities svm;
    cl_uint max_packet; /* of a pipe; 0: it has none */
    cl_bool command_buffers; /* of the version that we know */
    cl_bool il; /* whether it takes an intermediate language */
};

struct callback {
    struct callback *next;
    void (*fn)(void *object, void *user_data);
    void *user_data;
};

struct _cl_context {
    struct cl_object obj;
    cl_device_id *devices;
    cl_uint device_count;
    bool cpu;    /* the devices are processors, and work in the host's memory, as it is */
    bool direct; /* and we do so, too */
    cl_uint property_count; /* with the closing zero; 0: none were given */
    cl_context_properties *properties;
    struct callback *destructors; /* under the object lock */
};

struct _cl_command_queue {
    struct cl_object obj;
    cl_context context;
    cl_device_id device;
    cl_command_queue_properties flags;
    cl_uint size;
    cl_uint property_count;
    cl_queue_properties *properties;

    /* Who makes commands; see command_takes_queue(). */
    _Atomic uint64_t use;     /* commands so far << 16 | those being made */
    _Atomic uint64_t idle_at; /* commands so far when all were known to be over */
    _Atomic bool taken;
};

/* A mapping of a buffer or image: between clEnqueueMap... and Unmap. */
struct mapping {
    struct mapping *next;
    void *pointer; /* what the program got */
    cl_map_flags flags;
    bool blocking;               /* what it read was there when it was made */
    size_t offset, size;         /* of a buffer */
    size_t origin[3], region[3]; /* of an image */
    size_t row_pitch, slice_pitch;
    struct bulk staging; /* data NULL: the memory is the object's own */
};

struct _cl_mem {
    struct cl_object obj;
    cl_context context;
    cl_mem_object_type kind;
    cl_uint property_count;
    cl_mem_flags flags;
    size_t size;
    void *host_ptr;   /* of USE_HOST_PTR */
    cl_bool in_svm;   /* host_ptr is shared virtual memory */
    cl_mem parent;    /* of a sub-buffer, or an image on a buffer */
    size_t origin;    /* within the parent */
    cl_uint packet_size, packets; /* of a pipe */
    struct bulk region; /* data NULL: none; else where the contents live */
    struct image *image;
    cl_mem_properties *properties;
    struct mapping *maps;         /* under the object lock */
    cl_uint map_count;            /* under the object lock */
    struct callback *destructors; /* under the object lock */
};

struct image {
    cl_image_format format;
    cl_image_desc desc; /* pitches as the program gave them */
    size_t element;     /* bytes */
    size_t row_pitch, slice_pitch; /* of host_ptr, or dense */
};

struct _cl_sampler {
    struct cl_object obj;
    cl_context context;
    cl_bool normalized;
    cl_addressing_mode addressing;
    cl_filter_mode filter;
    cl_uint property_count;
    cl_sampler_properties properties[8];
};

struct _cl_program {
    struct cl_object obj;
    cl_context context;
    cl_device_id *devices;
    cl_uint device_count;
    char *source;                 /* NULL: made from something else */
    void *il;                     /* the same */
    size_t il_size;
    char *options;                /* under the object lock: of the last build */
    bool no_arg_info;             /* the same: that did not ask for it */
    uint64_t source_id;           /* of the host's program with the source, if
                                     obj.id is one of a kept binary; else 0 */
    char *log;                    /* of the build that made that binary */
    bool unkept;                  /* built of its source, and not in a file yet */
    struct callback *destructors; /* under the object lock */
    struct info_cache cache;      /* emptied by a build */
    _Atomic cl_uint kernels;      /* attached to it */
};

/*
 * The form in which the host has last accepted an argument: setting it again in
 * the same form cannot fail. One thread at a time uses a kernel's arguments, says
 * the specification.
 */
struct kernel_arg {
    uint32_t kind;     /* enum opencl_arg_kind */
    uint32_t accepted; /* the same: what was set; 0: nothing yet */
    size_t size;
};

/* What a launch on one device is checked against. */
struct launch_limits {
    struct launch_limits *next;
    cl_device_id device;
    size_t group;        /* CL_KERNEL_WORK_GROUP_SIZE */
    size_t required[3];  /* CL_KERNEL_COMPILE_WORK_GROUP_SIZE */
};

struct _cl_kernel {
    struct cl_object obj;
    cl_program program;
    struct info_cache cache;
    cl_uint arg_count;
    cl_uint args_missing;
    size_t local_bytes; /* that its arguments ask for, at most SIZE_MAX */
    struct kernel_arg *args;
    _Atomic(struct launch_limits *) limits; /* a list; only ever grows */
};

struct _cl_event {
    struct cl_object obj;
    cl_context context;
    cl_command_queue queue; /* NULL: a user event */
    cl_command_type command;
    _Atomic cl_int status;  /* CL_COMPLETE or an error once that is known */
};

struct _cl_command_buffer_khr {
    struct cl_object obj;
    cl_command_queue queue; /* held */
    cl_uint property_count;
    cl_command_buffer_properties_khr properties[3];
};

/* The object lock: for lists in objects, held for a few instructions. */
extern pthread_mutex_t cl_object_lock;

/* svm.c: whether all @size bytes at @pointer are one of @context's regions. */
bool svm_has(cl_context context, const void *pointer, size_t size);

/* What each kind does when its last reference is gone and the host knows. */
void device_finish(void *object);
void context_finish(void *object);
void queue_finish(void *object);
void mem_finish(void *object);
void sampler_finish(void *object);
void program_finish(void *object);
/* While the host still has it: keep in a file what building @object came to. */
void program_keep(void *object);
void kernel_finish(void *object);
void event_finish(void *object);
void command_buffer_finish(void *object);

/**
 * cl_session: the session, with this process's platforms and devices bound
 * to it. NULL if there is none.
 */
struct session *cl_session(void);

/**
 * kernel_fits: whether @device has the local memory that the kernel's arguments ask
 * for. Some hosts do not look, and end.
 */
bool kernel_fits(cl_kernel kernel, cl_device_id device);

/** device_load: what calls on the new device @d are checked against. */
void device_load(cl_device_id d);

/** callback_add: remember @fn; CL_OUT_OF_HOST_MEMORY if there is no memory. */
cl_int callback_add(struct callback **list, void (*fn)(void *, void *),
                    void *user_data);
/** callback_run: call and free all of @list, the last registered first. */
void callback_run(struct callback **list, void *object);

/** cl_return: set *@errcode_ret, and return @object if @err is CL_SUCCESS. */
void *cl_return(void *object, cl_int err, cl_int *errcode_ret);


#endif
