/*
 * An OpenCL layer (OPENCL_LAYERS=) that gives pipes to a host that has none, pocl: a
 * stand-in, so that what carries pipes to a guest can be tested.
 *
 * A pipe is a buffer that begins with a struct head. Sources are rewritten so that a
 * kernel takes a pointer to that, and get functions that write and read packets in
 * front. Who writes and who reads are different kernels here, one after the other.
 * VGPU_PIPES=2.0 answers as before OpenCL 3.0: pipes were a matter
 * of course, and nobody could ask whether they are there.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../layer.h"

#define PIPES_MAX  256
#define PACKET_MAX 1024u
#define BYTES_MAX  (16u << 20)

#define RW_NO_HOST (CL_MEM_READ_WRITE | CL_MEM_HOST_NO_ACCESS)

/* As the functions below have it. */
struct head {
    cl_uint held, packets, first, next;
};

static const char functions[] =
    "typedef struct { uint held, packets, first, next; uchar data[]; }"
    " vgpu_read_pipe;"
    "typedef vgpu_read_pipe vgpu_write_pipe;"
    "int vgpu_write(global vgpu_write_pipe *p, const private uchar *packet,"
    " uint n) {"
    " if (atomic_inc(&p->held) >= p->packets) {"
    "  atomic_dec(&p->held); return -1; }"
    " size_t at = (size_t)(atomic_inc(&p->next) % p->packets) * n;"
    " for (uint i = 0; i < n; i++) p->data[at + i] = packet[i];"
    " return 0; }"
    "int vgpu_read(global vgpu_read_pipe *p, private uchar *packet, uint n) {"
    " if ((int)atomic_dec(&p->held) <= 0) { atomic_inc(&p->held); return -1; }"
    " size_t at = (size_t)(atomic_inc(&p->first) % p->packets) * n;"
    " for (uint i = 0; i < n; i++) packet[i] = p->data[at + i];"
    " return 0; }\n"
    "#define write_pipe(p, v)"
    " vgpu_write(p, (const private uchar *)(v), sizeof(*(v)))\n"
    "#define read_pipe(p, v)"
    " vgpu_read(p, (private uchar *)(v), sizeof(*(v)))\n"
    "#line 1\n";

/* How sources and arguments' types say it, and what the host's compiler gets. */
static const struct kind {
    const char *words, *type, *name;
    cl_kernel_arg_access_qualifier access;
} kinds[] = {
    { "read_only pipe ", "global vgpu_read_pipe *", "vgpu_read_pipe*",
      CL_KERNEL_ARG_ACCESS_READ_ONLY },
    { "write_only pipe ", "global vgpu_write_pipe *", "vgpu_write_pipe*",
      CL_KERNEL_ARG_ACCESS_WRITE_ONLY },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct pipe {
    cl_mem mem; /* NULL: a free entry */
    cl_mem_flags flags;
    cl_uint packet_size, packets;
} pipes[PIPES_MAX]; /* under lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* --- the table --------------------------------------------------------------- */

/* Whether @mem is one; a copy of what is known of it. */
static bool find(cl_mem mem, struct pipe *copy)
{
    bool found = false;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < PIPES_MAX && !found; i++) {
        found = pipes[i].mem == mem;
        if (found) {
            *copy = pipes[i];
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* Puts @new into the entry of @mem, or into a free one if that is NULL. */
static bool replace(cl_mem mem, struct pipe new)
{
    bool found = false;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < PIPES_MAX && !found; i++) {
        found = pipes[i].mem == mem;
        if (found) {
            pipes[i] = new;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void CL_CALLBACK gone(cl_mem mem, void *unused)
{
    replace(mem, (struct pipe){ 0 });
}

/* --- answers ------------------------------------------------------------------- */

#define ANSWER(type, v) \
    layer_answer(&(type){ (v) }, sizeof(type), size, value, size_ret)

static CL_API_ENTRY cl_int CL_API_CALL
get_device_info(cl_device_id device, cl_device_info name, size_t size,
                void *value, size_t *size_ret)
{
    const char *version = getenv("VGPU_PIPES");

    switch (name) {
    case CL_DEVICE_PIPE_SUPPORT:
        return version && !strcmp(version, "2.0") ? CL_INVALID_VALUE
                                                  : ANSWER(cl_bool, CL_TRUE);
    case CL_DEVICE_MAX_PIPE_ARGS:
        return ANSWER(cl_uint, 16);
    case CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS:
        return ANSWER(cl_uint, 1);
    case CL_DEVICE_PIPE_MAX_PACKET_SIZE:
        return ANSWER(cl_uint, PACKET_MAX);
    default:
        return below->clGetDeviceInfo(device, name, size, value, size_ret);
    }
}

static CL_API_ENTRY cl_int CL_API_CALL
get_mem_object_info(cl_mem mem, cl_mem_info name, size_t size, void *value,
                    size_t *size_ret)
{
    struct pipe p;

    if (mem && find(mem, &p)) {
        switch (name) {
        case CL_MEM_TYPE:
            return ANSWER(cl_mem_object_type, CL_MEM_OBJECT_PIPE);
        case CL_MEM_FLAGS:
            return ANSWER(cl_mem_flags, p.flags);
        }
    }
    return below->clGetMemObjectInfo(mem, name, size, value, size_ret);
}

static CL_API_ENTRY cl_int CL_API_CALL get_pipe_info(cl_mem mem,
                                                     cl_pipe_info name,
                                                     size_t size, void *value,
                                                     size_t *size_ret)
{
    struct pipe p;

    if (!mem || !find(mem, &p)) {
        return CL_INVALID_MEM_OBJECT;
    }
    switch (name) {
    case CL_PIPE_PACKET_SIZE:
        return ANSWER(cl_uint, p.packet_size);
    case CL_PIPE_MAX_PACKETS:
        return ANSWER(cl_uint, p.packets);
    case CL_PIPE_PROPERTIES:
        return layer_answer(NULL, 0, size, NULL, size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

/* --- making ---------------------------------------------------------------------- */

static cl_int check(cl_context context, cl_mem_flags flags, cl_uint packet_size,
                    cl_uint packets, const cl_pipe_properties *properties)
{
    cl_uint refs;

    if (!context || below->clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT,
                                            sizeof(refs), &refs, NULL)) {
        return CL_INVALID_CONTEXT;
    }
    if ((flags & ~(cl_mem_flags)RW_NO_HOST) || properties) {
        return CL_INVALID_VALUE;
    }
    if (!packet_size || packet_size > PACKET_MAX || !packets) {
        return CL_INVALID_PIPE_SIZE;
    }
    return (cl_ulong)packet_size * packets > BYTES_MAX
               ? CL_MEM_OBJECT_ALLOCATION_FAILURE : CL_SUCCESS;
}

static cl_mem make(cl_context context, struct pipe p, cl_int *err)
{
    size_t size = sizeof(struct head) + (size_t)p.packet_size * p.packets;
    struct head *memory = calloc(1, size);

    *err = CL_OUT_OF_HOST_MEMORY;
    if (!memory) {
        return NULL;
    }
    memory->packets = p.packets;
    p.mem = below->clCreateBuffer(context, RW_NO_HOST | CL_MEM_COPY_HOST_PTR,
                                  size, memory, err);
    free(memory);
    if (p.mem && !replace(NULL, p)) {
        *err = CL_OUT_OF_RESOURCES;
    }
    if (p.mem && *err == CL_SUCCESS) {
        *err = below->clSetMemObjectDestructorCallback(p.mem, gone, NULL);
    }
    if (p.mem && *err != CL_SUCCESS) {
        replace(p.mem, (struct pipe){ 0 });
        below->clReleaseMemObject(p.mem);
        p.mem = NULL;
    }
    return p.mem;
}

static CL_API_ENTRY cl_mem CL_API_CALL create_pipe(
    cl_context context, cl_mem_flags flags, cl_uint packet_size,
    cl_uint packets, const cl_pipe_properties *properties, cl_int *errcode_ret)
{
    struct pipe p = { .flags = flags ? flags : RW_NO_HOST,
                      .packet_size = packet_size, .packets = packets };
    cl_int err = check(context, flags, packet_size, packets, properties);
    cl_mem mem = err == CL_SUCCESS ? make(context, p, &err) : NULL;

    if (errcode_ret) {
        *errcode_ret = err;
    }
    return mem;
}

/* --- kernels --------------------------------------------------------------------- */

/* Of what begins at @text; NULL if that is no pipe. */
static const struct kind *kind_at(const char *text)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (!strncmp(text, kinds[i].words, strlen(kinds[i].words))) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* @text with the functions in front and pointers for pipes, to be freed. */
static char *rewrite(const char *text)
{
    char *all = malloc(sizeof(functions) + 3 * strlen(text)), *to = all;

    if (!all) {
        return NULL;
    }
    to = stpcpy(to, functions);
    while (*text) {
        const struct kind *k = kind_at(text);

        if (k) {
            to = stpcpy(to, k->type);
            text += strlen(k->words);
            text += strcspn(text, " "); /* what packets are */
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
    return all;
}

/* The worker and these tests give one text. */
static CL_API_ENTRY cl_program CL_API_CALL
create_program(cl_context context, cl_uint count, const char **strings,
               const size_t *lengths, cl_int *err)
{
    cl_program program;
    char *text, *ours;

    if (count != 1 || !strings || !strings[0]) {
        return below->clCreateProgramWithSource(context, count, strings,
                                                lengths, err);
    }
    text = lengths && lengths[0] ? strndup(strings[0], lengths[0])
                                 : strdup(strings[0]);
    ours = text && strstr(text, "_only pipe ") ? rewrite(text) : NULL;
    program = below->clCreateProgramWithSource(
        context, 1, ours ? (const char **)&ours : strings,
        ours ? NULL : lengths, err);
    free(ours);
    free(text);
    return program;
}

/* What pipe argument @index takes; NULL if it takes none. */
static const struct kind *pipe_arg(cl_kernel kernel, cl_uint index)
{
    char type[256] = "";

    below->clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_NAME,
                              sizeof(type), type, NULL);
    for (size_t i = 0; i < KINDS; i++) {
        if (!strcmp(type, kinds[i].name)) {
            return &kinds[i];
        }
    }
    return NULL;
}

static CL_API_ENTRY cl_int CL_API_CALL
get_kernel_arg_info(cl_kernel kernel, cl_uint index, cl_kernel_arg_info name,
                    size_t size, void *value, size_t *size_ret)
{
    const struct kind *k = pipe_arg(kernel, index);

    if (k && name == CL_KERNEL_ARG_TYPE_QUALIFIER) {
        return ANSWER(cl_kernel_arg_type_qualifier, CL_KERNEL_ARG_TYPE_PIPE);
    }
    if (k && name == CL_KERNEL_ARG_ACCESS_QUALIFIER) {
        return ANSWER(cl_kernel_arg_access_qualifier, k->access);
    }
    return below->clGetKernelArgInfo(kernel, index, name, size, value,
                                     size_ret);
}

/* Pipes go where pipes are wanted, and nothing else does. */
static CL_API_ENTRY cl_int CL_API_CALL
set_kernel_arg(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    bool wanted = pipe_arg(kernel, index), given = false;
    struct pipe p;
    cl_mem mem;

    if (wanted && size != sizeof(mem)) {
        return CL_INVALID_ARG_SIZE;
    }
    if (value && size == sizeof(mem)) {
        memcpy(&mem, value, sizeof(mem));
        given = mem && find(mem, &p);
    }
    return wanted == given ? below->clSetKernelArg(kernel, index, size, value)
                           : CL_INVALID_ARG_VALUE;
}

/* --- the layer -------------------------------------------------------------------- */

static void layer_set(struct _cl_icd_dispatch *ours)
{
    ours->clGetDeviceInfo = get_device_info;
    ours->clGetMemObjectInfo = get_mem_object_info;
    ours->clGetPipeInfo = get_pipe_info;
    ours->clCreatePipe = create_pipe;
    ours->clCreateProgramWithSource = create_program;
    ours->clGetKernelArgInfo = get_kernel_arg_info;
    ours->clSetKernelArg = set_kernel_arg;
}
