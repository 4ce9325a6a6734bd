/*
 * See fake-opencl.h. In the order of the OpenCL specification.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fake-opencl.h"

#include <stdbool.h>

#include <CL/cl.h>
#include <CL/cl_ext.h>

#define MAGIC 0x4f434b46u
#define SIZE_LIMIT (1u << 20) /* larger buffers and images fail */

enum kind {
    PLATFORM, DEVICE, CONTEXT, QUEUE, MEM, SAMPLER, PROGRAM, KERNEL, EVENT, SVM,
    COMMANDS,
};

struct fake {
    uint32_t magic;
    enum kind kind;
    unsigned refs;
    struct fake *next, **link;
    size_t size; /* a buffer's or image's bytes */
    void *bytes; /* them; ours unless `given` */
    bool given;  /* CL_MEM_USE_HOST_PTR */
    void (*gone)(cl_mem m, void *data);
    void *gone_data;
    cl_device_id device; /* a queue's */
    cl_context context;  /* a queue's, a buffer's */
    cl_command_queue_properties flags;
    void *late; /* an event's: memory that its command still uses */
    size_t late_size;
    bool late_write;
};

static struct fake *all;
static struct fake platform = { .magic = MAGIC, .kind = PLATFORM };
static struct fake devices[2] = { /* parts of them are made and counted */
    { .magic = MAGIC, .kind = DEVICE },
    { .magic = MAGIC, .kind = DEVICE },
};
static struct fuzz_input *chance;
static unsigned calls;
static volatile uint8_t sink;

/* --- objects -------------------------------------------------------------------- */

void fake_begin(struct fuzz_input *in)
{
    chance = in;
    calls = 0;
}

static void complete(struct fake *event);

static void destroy(struct fake *f)
{
    *f->link = f->next;
    if (f->next) {
        f->next->link = f->link;
    }
    if (f->gone) {
        f->gone((cl_mem)f, f->gone_data);
    }
    if (!f->given) {
        free(f->bytes);
    }
    f->magic = 0;
    free(f);
}

/* Memory that is given back to the worker, which may free more by that. */
static bool give_back_one(void)
{
    for (struct fake *f = all; f; f = f->next) {
        void (*gone)(cl_mem, void *) = f->gone;

        if (gone) {
            f->gone = NULL;
            f->bytes = f->given ? NULL : f->bytes;
            gone((cl_mem)f, f->gone_data);
            return true;
        }
    }
    return false;
}

void fake_end(void)
{
    while (give_back_one()) {
    }
    while (all) {
        destroy(all);
    }
}

unsigned fake_references(void)
{
    unsigned n = 0;

    for (struct fake *f = all; f; f = f->next) {
        /* A region has its context's; parts of devices are never given back. */
        n += f->kind == SVM ? -1 : f->kind == DEVICE ? 0 : f->refs;
    }
    return n;
}

/* Whether this call is to fail: one in sixteen, if the input goes that far. */
static cl_int fails(void)
{
    calls++;
    return chance->left && fuzz_u8(chance) % 16 == 15 ? CL_OUT_OF_RESOURCES
                                                      : CL_SUCCESS;
}

static struct fake *check(const void *handle, enum kind kind)
{
    struct fake *f = (struct fake *)handle;

    fuzz_require(f && f->magic == MAGIC && f->kind == kind);
    fuzz_require(kind <= DEVICE || f->refs > 0);
    return f;
}

static void check_if(const void *handle, enum kind kind)
{
    if (handle) {
        check(handle, kind);
    }
}

static void check_all(const void *list, size_t n, enum kind kind)
{
    for (size_t i = 0; list && i < n; i++) {
        check(((void *const *)list)[i], kind);
    }
}

static void *make(enum kind kind)
{
    struct fake *f = calloc(1, sizeof(*f));

    fuzz_require(f);
    *f = (struct fake){ .magic = MAGIC, .kind = kind, .refs = 1, .next = all,
                        .link = &all };
    if (all) {
        all->link = &f->next;
    }
    all = f;
    return f;
}

/* A new object, or NULL and why. */
static void *make_unless(cl_int err, enum kind kind, cl_int *errcode)
{
    err = err ? err : fails();
    if (errcode) {
        *errcode = err;
    }
    return err ? NULL : make(kind);
}

static cl_int retain(void *handle, enum kind kind)
{
    check(handle, kind)->refs++;
    return CL_SUCCESS;
}

static cl_int release(void *handle, enum kind kind)
{
    struct fake *f = check(handle, kind);

    if (--f->refs == 0) {
        complete(f);
        destroy(f);
    }
    return CL_SUCCESS;
}

/* --- memory ----------------------------------------------------------------------- */

static void read_bytes(const void *p, size_t n)
{
    uint8_t sum = 0;

    for (size_t i = 0; p && i < n; i++) {
        sum += ((const uint8_t *)p)[i];
    }
    sink = sum;
}

/* The end of a command. */
static void complete(struct fake *event)
{
    if (event->late && event->late_write) {
        memset(event->late, 0x5a, event->late_size);
    } else {
        read_bytes(event->late, event->late_size);
    }
    event->late = NULL;
}

static void read_text(const char *s)
{
    if (s) {
        sink = (uint8_t)strlen(s);
    }
}

static void write_bytes(void *p, size_t n)
{
    if (p && n) {
        memset(p, 0x5a, n);
    }
}

/* A list of keys and values that ends with a 0 for a key. */
static void read_properties(const cl_ulong *p)
{
    while (p && p[0]) {
        sink = (uint8_t)p[1];
        p += 2;
    }
}

/* Bytes of a rectangle, or 0 if that is no size: CL_INVALID_VALUE. */
static size_t rect_bytes(const size_t *region, size_t row, size_t slice)
{
    size_t rows, bytes;

    if (__builtin_mul_overflow(slice, region[2] - 1, &bytes) ||
        __builtin_mul_overflow(row, region[1] - 1, &rows) ||
        __builtin_add_overflow(bytes, rows, &bytes) ||
        __builtin_add_overflow(bytes, region[0], &bytes)) {
        return 0;
    }
    return bytes;
}

/* --- queries: a value of some size --------------------------------------------------- */

static cl_int answer(size_t have, size_t size, void *value, size_t *size_ret)
{
    cl_int err = fails();

    if (err || (value && size < have)) {
        return err ? err : CL_INVALID_VALUE;
    }
    write_bytes(value, have);
    if (size_ret) {
        *size_ret = have;
    }
    return CL_SUCCESS;
}

/* The same with a value that matters; never fails. */
static cl_int answer_with(const void *what, size_t have, size_t size,
                          void *value, size_t *size_ret)
{
    if (value && size < have) {
        return CL_INVALID_VALUE;
    }
    if (value) {
        memcpy(value, what, have);
    }
    if (size_ret) {
        *size_ret = have;
    }
    return CL_SUCCESS;
}

static const cl_name_version extension = {
    CL_MAKE_VERSION(0, 9, 0), "cl_khr_command_buffer",
};

static size_t some_size(void)
{
    return chance->left ? fuzz_u8(chance) * 16u : 8;
}

cl_int clGetPlatformIDs(cl_uint n, cl_platform_id *list, cl_uint *count)
{
    if (list && n) {
        list[0] = (cl_platform_id)&platform;
    }
    if (count) {
        *count = 1;
    }
    return list && !n ? CL_INVALID_VALUE : fails();
}

cl_int clGetPlatformInfo(cl_platform_id p, cl_platform_info name, size_t size,
                         void *value, size_t *size_ret)
{
    check(p, PLATFORM);
    return answer(some_size(), size, value, size_ret);
}

cl_int clGetDeviceIDs(cl_platform_id p, cl_device_type type, cl_uint n,
                      cl_device_id *list, cl_uint *count)
{
    check(p, PLATFORM);
    for (cl_uint i = 0; list && i < n && i < 2; i++) {
        list[i] = (cl_device_id)&devices[i];
    }
    if (count) {
        *count = 2;
    }
    return list && !n ? CL_INVALID_VALUE : fails();
}

cl_int clGetDeviceInfo(cl_device_id d, cl_device_info name, size_t size,
                       void *value, size_t *size_ret)
{
    cl_device_type type = check(d, DEVICE) == &devices[1]
                              ? CL_DEVICE_TYPE_GPU : CL_DEVICE_TYPE_CPU;

    if (name == CL_DEVICE_TYPE && value && size >= sizeof(type)) {
        memcpy(value, &type, sizeof(type));
        return CL_SUCCESS;
    }
    if (name == CL_DEVICE_PLATFORM) {
        fuzz_require(value && size == sizeof(cl_platform_id));
        memcpy(value, &(cl_platform_id){ (cl_platform_id)&platform }, size);
        return CL_SUCCESS;
    }
    if (name == CL_DEVICE_EXTENSIONS_WITH_VERSION) {
        return answer_with(&extension, sizeof(extension), size, value,
                           size_ret);
    }
    return answer(some_size(), size, value, size_ret);
}

static bool is_root(cl_device_id d)
{
    return check(d, DEVICE) == &devices[0] || check(d, DEVICE) == &devices[1];
}

cl_int clRetainDevice(cl_device_id d)
{
    return is_root(d) ? CL_SUCCESS : retain(d, DEVICE);
}

cl_int clReleaseDevice(cl_device_id d)
{
    return is_root(d) ? CL_SUCCESS : release(d, DEVICE);
}

/* As many parts as the second property says. */
cl_int clCreateSubDevices(cl_device_id d,
                          const cl_device_partition_property *list, cl_uint n,
                          cl_device_id *parts, cl_uint *count)
{
    cl_uint have = (cl_uint)list[1] % 512;

    check(d, DEVICE);
    for (size_t i = 0; list[i]; i++) {
        sink = (uint8_t)list[i];
    }
    if (fails() || !have || (parts && n < have)) {
        return CL_INVALID_VALUE;
    }
    for (cl_uint i = 0; parts && i < have; i++) {
        parts[i] = make(DEVICE);
    }
    if (count) {
        *count = have;
    }
    return CL_SUCCESS;
}

cl_int clGetDeviceAndHostTimer(cl_device_id d, cl_ulong *a, cl_ulong *b)
{
    check(d, DEVICE);
    *a = *b = 1;
    return fails();
}

cl_int clGetHostTimer(cl_device_id d, cl_ulong *a)
{
    check(d, DEVICE);
    *a = 1;
    return fails();
}

/* --- contexts and queues ---------------------------------------------------------------- */

cl_context clCreateContext(const cl_context_properties *properties, cl_uint n,
                           const cl_device_id *list,
                           void (*notify)(const char *, const void *, size_t,
                                          void *),
                           void *data, cl_int *err)
{
    fuzz_require(!notify && !data);
    read_properties((const cl_ulong *)properties);
    check_all(list, n, DEVICE);
    return make_unless(n && list ? 0 : CL_INVALID_VALUE, CONTEXT, err);
}

cl_int clRetainContext(cl_context c)
{
    return retain(c, CONTEXT);
}

cl_int clReleaseContext(cl_context c)
{
    return release(c, CONTEXT);
}

cl_int clGetContextInfo(cl_context c, cl_context_info name, size_t size,
                        void *value, size_t *size_ret)
{
    cl_device_id list[2] = { (cl_device_id)&devices[0],
                             (cl_device_id)&devices[1] };
    cl_uint n = 2;
    const void *from = name == CL_CONTEXT_DEVICES ? (void *)list : (void *)&n;
    size_t have = name == CL_CONTEXT_DEVICES ? sizeof(list) : sizeof(n);

    check(c, CONTEXT);
    fuzz_require(name == CL_CONTEXT_DEVICES || name == CL_CONTEXT_NUM_DEVICES);
    if (value && size >= have) {
        memcpy(value, from, have);
    }
    if (size_ret) {
        *size_ret = have;
    }
    return value && size < have ? CL_INVALID_VALUE : fails();
}

/* --- shared virtual memory ------------------------------------------------------------ */

void *clSVMAlloc(cl_context c, cl_svm_mem_flags flags, size_t size,
                 cl_uint alignment)
{
    struct fake *f;

    check(c, CONTEXT);
    fuzz_require((flags & ~(cl_svm_mem_flags)7) == 0 && size);
    if (size > SIZE_LIMIT || (alignment && size % 8192)) {
        return NULL;
    }
    f = make_unless(0, SVM, NULL);
    if (!f) {
        return NULL;
    }
    f->refs = 0;
    f->size = size;
    f->bytes = alignment ? aligned_alloc(alignment, size) : malloc(size);
    fuzz_require(f->bytes);
    memset(f->bytes, 0, size);
    return f->bytes;
}

void clSVMFree(cl_context c, void *memory)
{
    struct fake *f = all;

    check(c, CONTEXT);
    while (f && (f->kind != SVM || f->bytes != memory)) {
        f = f->next;
    }
    fuzz_require(f);
    destroy(f);
}

/* The @size bytes at @p lie in a region. */
static void check_svm(const void *p, size_t size)
{
    struct fake *f = all;

    while (f && (f->kind != SVM || (char *)p < (char *)f->bytes ||
                 (char *)p >= (char *)f->bytes + f->size)) {
        f = f->next;
    }
    fuzz_require(f && size <= (size_t)((char *)f->bytes + f->size - (char *)p));
}

static cl_command_queue make_queue(cl_context c, cl_device_id d,
                                   cl_command_queue_properties flags,
                                   cl_int *err)
{
    struct fake *f;

    check(c, CONTEXT);
    check(d, DEVICE);
    f = make_unless(0, QUEUE, err);
    if (f) {
        f->device = d;
        f->context = c;
        f->flags = flags;
    }
    return (cl_command_queue)f;
}

cl_command_queue clCreateCommandQueue(cl_context c, cl_device_id d,
                                      cl_command_queue_properties flags,
                                      cl_int *err)
{
    return make_queue(c, d, flags, err);
}

cl_command_queue clCreateCommandQueueWithProperties(
    cl_context c, cl_device_id d, const cl_queue_properties *list, cl_int *err)
{
    read_properties(list);
    return make_queue(c, d, 0, err);
}

cl_int clRetainCommandQueue(cl_command_queue q)
{
    return retain(q, QUEUE);
}

cl_int clReleaseCommandQueue(cl_command_queue q)
{
    return release(q, QUEUE);
}

cl_int clGetCommandQueueInfo(cl_command_queue q, cl_command_queue_info name,
                             size_t size, void *value, size_t *size_ret)
{
    struct fake *f = check(q, QUEUE);

    fuzz_require(value && size == 8);
    fuzz_require(name == CL_QUEUE_DEVICE || name == CL_QUEUE_PROPERTIES ||
                 name == CL_QUEUE_CONTEXT);
    memcpy(value, name == CL_QUEUE_DEVICE    ? (void *)&f->device
                  : name == CL_QUEUE_CONTEXT ? (void *)&f->context
                                             : (void *)&f->flags, size);
    return CL_SUCCESS;
}

cl_int clSetDefaultDeviceCommandQueue(cl_context c, cl_device_id d,
                                      cl_command_queue q)
{
    check(c, CONTEXT);
    check(d, DEVICE);
    check(q, QUEUE);
    return fails();
}

cl_int clFlush(cl_command_queue q)
{
    check(q, QUEUE);
    return fails();
}

cl_int clFinish(cl_command_queue q)
{
    check(q, QUEUE);
    return fails();
}

/* --- memory objects ------------------------------------------------------------------- */

static cl_mem make_mem(cl_context c, cl_mem_flags flags, size_t size,
                       void *host, cl_int *err)
{
    bool wants = flags & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR);
    cl_int bad = size == 0 || size > SIZE_LIMIT ? CL_INVALID_BUFFER_SIZE : 0;
    struct fake *f;

    check(c, CONTEXT);
    if (!bad && wants != (host != NULL)) {
        bad = CL_INVALID_HOST_PTR;
    }
    f = make_unless(bad, MEM, err);
    if (!f) {
        return NULL;
    }
    read_bytes(host, size);
    f->size = size;
    f->given = flags & CL_MEM_USE_HOST_PTR;
    f->bytes = f->given ? host : calloc(1, size);
    fuzz_require(f->bytes);
    return (cl_mem)f;
}

cl_mem clCreateBuffer(cl_context c, cl_mem_flags flags, size_t size, void *host,
                      cl_int *err)
{
    return make_mem(c, flags, size, host, err);
}

cl_mem clCreateSubBuffer(cl_mem m, cl_mem_flags flags,
                         cl_buffer_create_type type, const void *info,
                         cl_int *err)
{
    const cl_buffer_region *region = info;
    struct fake *f = check(m, MEM), *sub;
    cl_int bad = 0;

    fuzz_require(type == CL_BUFFER_CREATE_TYPE_REGION);
    if (region->origin > f->size || region->size > f->size - region->origin ||
        region->size == 0) {
        bad = CL_INVALID_VALUE;
    }
    sub = make_unless(bad, MEM, err);
    if (!sub) {
        return NULL;
    }
    sub->size = region->size;
    sub->bytes = malloc(sub->size);
    fuzz_require(sub->bytes);
    return (cl_mem)sub;
}

cl_mem clCreateImage(cl_context c, cl_mem_flags flags,
                     const cl_image_format *format, const cl_image_desc *desc,
                     void *host, cl_int *err)
{
    size_t region[3] = { 4, 1, 1 }, row, slice, bytes;

    /* Pixels of 4 bytes; what the host pointer must hold follows from that. */
    read_bytes(format, sizeof(*format));
    read_bytes(desc, sizeof(*desc));
    check_if(desc->mem_object, MEM);
    region[1] = desc->image_height ? desc->image_height : 1;
    region[2] = desc->image_depth ? desc->image_depth : 1;
    if (__builtin_mul_overflow(desc->image_width, 4, &region[0]) ||
        __builtin_mul_overflow(region[0], region[1], &slice)) {
        return make_unless(CL_INVALID_IMAGE_SIZE, MEM, err);
    }
    row = desc->image_row_pitch ? desc->image_row_pitch : region[0];
    slice = desc->image_slice_pitch ? desc->image_slice_pitch : row * region[1];
    bytes = rect_bytes(region, row, slice);
    return make_mem(c, flags, bytes, host, err);
}

cl_mem clCreatePipe(cl_context c, cl_mem_flags flags, cl_uint packet,
                    cl_uint packets, const cl_pipe_properties *properties,
                    cl_int *err)
{
    fuzz_require(!properties);
    return make_mem(c, 0, (size_t)packet * packets, NULL, err);
}

cl_int clRetainMemObject(cl_mem m)
{
    return retain(m, MEM);
}

cl_int clReleaseMemObject(cl_mem m)
{
    return release(m, MEM);
}

cl_int clSetMemObjectDestructorCallback(cl_mem m,
                                        void (*gone)(cl_mem m, void *data),
                                        void *data)
{
    struct fake *f = check(m, MEM);
    cl_int err = fails();

    fuzz_require(gone && !f->gone);
    if (err) {
        return err;
    }
    f->gone = gone;
    f->gone_data = data;
    return CL_SUCCESS;
}

cl_int clGetMemObjectInfo(cl_mem m, cl_mem_info name, size_t size, void *value,
                          size_t *size_ret)
{
    struct fake *f = check(m, MEM);

    if (name == CL_MEM_SIZE && value && size >= sizeof(f->size)) {
        memcpy(value, &f->size, sizeof(f->size));
        if (size_ret) {
            *size_ret = sizeof(f->size);
        }
        return CL_SUCCESS;
    }
    if (name == CL_MEM_HOST_PTR && value && size >= sizeof(f->bytes)) {
        memcpy(value, f->given ? &f->bytes : &(void *){ NULL },
               sizeof(f->bytes));
        return CL_SUCCESS;
    }
    return answer(8, size, value, size_ret);
}

cl_int clGetImageInfo(cl_mem m, cl_image_info name, size_t size, void *value,
                      size_t *size_ret)
{
    size_t four = 4;

    check(m, MEM);
    if (name == CL_IMAGE_ELEMENT_SIZE && value && size >= sizeof(four)) {
        memcpy(value, &four, sizeof(four));
        if (size_ret) {
            *size_ret = sizeof(four);
        }
        return CL_SUCCESS;
    }
    return answer(8, size, value, size_ret);
}

cl_int clGetSupportedImageFormats(cl_context c, cl_mem_flags flags,
                                  cl_mem_object_type type, cl_uint n,
                                  cl_image_format *list, cl_uint *count)
{
    cl_uint have = 5;

    check(c, CONTEXT);
    write_bytes(list, (n < have ? n : have) * sizeof(*list));
    if (count) {
        *count = have;
    }
    return fails();
}

cl_sampler clCreateSampler(cl_context c, cl_bool normalized,
                           cl_addressing_mode mode, cl_filter_mode filter,
                           cl_int *err)
{
    check(c, CONTEXT);
    return make_unless(0, SAMPLER, err);
}

cl_sampler clCreateSamplerWithProperties(cl_context c,
                                         const cl_sampler_properties *list,
                                         cl_int *err)
{
    check(c, CONTEXT);
    read_properties(list);
    return make_unless(0, SAMPLER, err);
}

cl_int clReleaseSampler(cl_sampler s)
{
    return release(s, SAMPLER);
}

/* --- programs and kernels ----------------------------------------------------------------- */

cl_program clCreateProgramWithSource(cl_context c, cl_uint n,
                                     const char **strings,
                                     const size_t *lengths, cl_int *err)
{
    check(c, CONTEXT);
    for (cl_uint i = 0; i < n; i++) {
        if (lengths && lengths[i]) {
            read_bytes(strings[i], lengths[i]);
        } else {
            read_text(strings[i]);
        }
    }
    return make_unless(n ? 0 : CL_INVALID_VALUE, PROGRAM, err);
}

cl_program clCreateProgramWithBinary(cl_context c, cl_uint n,
                                     const cl_device_id *list,
                                     const size_t *lengths,
                                     const unsigned char **binaries,
                                     cl_int *status, cl_int *err)
{
    check(c, CONTEXT);
    check_all(list, n, DEVICE);
    for (cl_uint i = 0; i < n; i++) {
        read_bytes(binaries[i], lengths[i]);
    }
    write_bytes(status, n * sizeof(*status));
    return make_unless(n ? 0 : CL_INVALID_VALUE, PROGRAM, err);
}

cl_program clCreateProgramWithIL(cl_context c, const void *il, size_t size,
                                 cl_int *err)
{
    check(c, CONTEXT);
    read_bytes(il, size);
    return make_unless(size ? 0 : CL_INVALID_VALUE, PROGRAM, err);
}

cl_int clSetProgramSpecializationConstant(cl_program p, cl_uint id, size_t size,
                                          const void *value)
{
    check(p, PROGRAM);
    read_bytes(value, size);
    return fails();
}

cl_program clCreateProgramWithBuiltInKernels(cl_context c, cl_uint n,
                                             const cl_device_id *list,
                                             const char *names, cl_int *err)
{
    check(c, CONTEXT);
    check_all(list, n, DEVICE);
    read_text(names);
    return make_unless(0, PROGRAM, err);
}

cl_int clRetainProgram(cl_program p)
{
    return retain(p, PROGRAM);
}

cl_int clReleaseProgram(cl_program p)
{
    return release(p, PROGRAM);
}

cl_int clBuildProgram(cl_program p, cl_uint n, const cl_device_id *list,
                      const char *options,
                      void (*notify)(cl_program, void *), void *data)
{
    fuzz_require(!notify);
    check(p, PROGRAM);
    check_all(list, n, DEVICE);
    read_text(options);
    return fails();
}

cl_int clCompileProgram(cl_program p, cl_uint n, const cl_device_id *list,
                        const char *options, cl_uint n_headers,
                        const cl_program *headers, const char **names,
                        void (*notify)(cl_program, void *), void *data)
{
    fuzz_require(!notify);
    check(p, PROGRAM);
    check_all(list, n, DEVICE);
    read_text(options);
    fuzz_require(!n_headers == !headers && !n_headers == !names);
    check_all(headers, n_headers, PROGRAM);
    for (cl_uint i = 0; i < n_headers; i++) {
        read_text(names[i]);
    }
    return fails();
}

cl_program clLinkProgram(cl_context c, cl_uint n, const cl_device_id *list,
                         const char *options, cl_uint n_programs,
                         const cl_program *programs,
                         void (*notify)(cl_program, void *), void *data,
                         cl_int *err)
{
    fuzz_require(!notify);
    check(c, CONTEXT);
    check_all(list, n, DEVICE);
    read_text(options);
    check_all(programs, n_programs, PROGRAM);
    return make_unless(n_programs ? 0 : CL_INVALID_VALUE, PROGRAM, err);
}

cl_int clGetProgramInfo(cl_program p, cl_program_info name, size_t size,
                        void *value, size_t *size_ret)
{
    size_t sizes[2] = { 40, 0 };
    cl_uint two = 2;

    check(p, PROGRAM);
    if (name == CL_PROGRAM_BINARY_SIZES && value && size >= sizeof(sizes)) {
        memcpy(value, sizes, sizeof(sizes));
    } else if (name == CL_PROGRAM_NUM_DEVICES && value && size >= sizeof(two)) {
        memcpy(value, &two, sizeof(two));
    } else if (name == CL_PROGRAM_BINARIES && value && size >= 16) {
        write_bytes(((void **)value)[0], sizes[0]);
    } else {
        return answer(16, size, value, size_ret);
    }
    if (size_ret) {
        *size_ret = name == CL_PROGRAM_NUM_DEVICES ? 4 : 16;
    }
    return fails();
}

cl_int clGetProgramBuildInfo(cl_program p, cl_device_id d,
                             cl_program_build_info name, size_t size,
                             void *value, size_t *size_ret)
{
    check(p, PROGRAM);
    check(d, DEVICE);
    return answer(some_size(), size, value, size_ret);
}

cl_kernel clCreateKernel(cl_program p, const char *name, cl_int *err)
{
    check(p, PROGRAM);
    read_text(name);
    return make_unless(0, KERNEL, err);
}

cl_kernel clCloneKernel(cl_kernel k, cl_int *err)
{
    check(k, KERNEL);
    return make_unless(0, KERNEL, err);
}

cl_int clReleaseKernel(cl_kernel k)
{
    return release(k, KERNEL);
}

cl_int clSetKernelArg(cl_kernel k, cl_uint index, size_t size,
                      const void *value)
{
    check(k, KERNEL);
    read_bytes(value, size);
    return fails();
}

cl_int clSetKernelArgSVMPointer(cl_kernel k, cl_uint index, const void *p)
{
    check(k, KERNEL);
    if (p) {
        check_svm(p, 1);
    }
    return fails();
}

cl_int clSetKernelExecInfo(cl_kernel k, cl_kernel_exec_info name, size_t size,
                           const void *value)
{
    check(k, KERNEL);
    fuzz_require(name == CL_KERNEL_EXEC_INFO_SVM_PTRS && !size == !value);
    for (size_t i = 0; i < size / sizeof(void *); i++) {
        check_svm(((void *const *)value)[i], 1);
    }
    return size ? fails() : CL_INVALID_VALUE;
}

cl_int clGetKernelInfo(cl_kernel k, cl_kernel_info name, size_t size,
                       void *value, size_t *size_ret)
{
    cl_uint many = chance->left ? fuzz_u8(chance) * 3u : 3;

    check(k, KERNEL);
    if (name == CL_KERNEL_NUM_ARGS && value && size >= sizeof(many)) {
        memcpy(value, &many, sizeof(many));
        if (size_ret) {
            *size_ret = sizeof(many);
        }
        return fails();
    }
    return answer(some_size(), size, value, size_ret);
}

cl_int clGetKernelArgInfo(cl_kernel k, cl_uint index, cl_kernel_arg_info name,
                          size_t size, void *value, size_t *size_ret)
{
    check(k, KERNEL);
    return answer(name == CL_KERNEL_ARG_ADDRESS_QUALIFIER ? 4 : some_size(),
                  size, value, size_ret);
}

cl_int clGetKernelWorkGroupInfo(cl_kernel k, cl_device_id d,
                                cl_kernel_work_group_info name, size_t size,
                                void *value, size_t *size_ret)
{
    check(k, KERNEL);
    check_if(d, DEVICE);
    return answer(8, size, value, size_ret);
}

cl_int clGetKernelSubGroupInfo(cl_kernel k, cl_device_id d,
                               cl_kernel_sub_group_info name, size_t in_size,
                               const void *in, size_t size, void *value,
                               size_t *size_ret)
{
    check(k, KERNEL);
    check_if(d, DEVICE);
    read_bytes(in, in_size);
    return answer(8, size, value, size_ret);
}

static cl_int suggest(cl_command_queue q, cl_kernel k, cl_uint n,
                      const size_t *offset, const size_t *global, size_t *local)
{
    check(q, QUEUE);
    check(k, KERNEL);
    read_bytes(offset, n * sizeof(*offset));
    read_bytes(global, n * sizeof(*global));
    write_bytes(local, n * sizeof(*local));
    return fails();
}

/* --- events ------------------------------------------------------------------------------- */

cl_event clCreateUserEvent(cl_context c, cl_int *err)
{
    check(c, CONTEXT);
    return make_unless(0, EVENT, err);
}

cl_int clSetUserEventStatus(cl_event e, cl_int status)
{
    check(e, EVENT);
    return fails();
}

cl_int clWaitForEvents(cl_uint n, const cl_event *list)
{
    check_all(list, n, EVENT);
    for (cl_uint i = 0; list && i < n; i++) {
        complete((struct fake *)list[i]);
    }
    return n && list ? fails() : CL_INVALID_VALUE;
}

cl_int clRetainEvent(cl_event e)
{
    return retain(e, EVENT);
}

cl_int clReleaseEvent(cl_event e)
{
    return release(e, EVENT);
}

cl_int clGetEventInfo(cl_event e, cl_event_info name, size_t size, void *value,
                      size_t *size_ret)
{
    complete(check(e, EVENT));
    if (name == CL_EVENT_COMMAND_EXECUTION_STATUS) {
        if (value && size < sizeof(cl_int)) {
            return CL_INVALID_VALUE;
        }
        if (value) {
            memset(value, 0, sizeof(cl_int)); /* CL_COMPLETE */
        }
        if (size_ret) {
            *size_ret = sizeof(cl_int);
        }
        return CL_SUCCESS;
    }
    return answer(8, size, value, size_ret);
}

cl_int clGetEventProfilingInfo(cl_event e, cl_profiling_info name, size_t size,
                               void *value, size_t *size_ret)
{
    check(e, EVENT);
    return answer(8, size, value, size_ret);
}

/* --- commands ------------------------------------------------------------------------------ */

/* What all commands have in common; @bad: what the command itself objects to. */
static cl_int command(cl_command_queue q, cl_uint n, const cl_event *list,
                      cl_event *event, cl_int bad)
{
    check(q, QUEUE);
    if (!n != !list) {
        return CL_INVALID_EVENT_WAIT_LIST;
    }
    check_all(list, n, EVENT);
    bad = bad ? bad : fails();
    if (!bad && event) {
        *event = make(EVENT);
    }
    return bad;
}

/* The same, of a command that uses the @size bytes at @ptr until it has ended. */
static cl_int transfer(cl_command_queue q, cl_uint n, const cl_event *list,
                       cl_event *event, cl_int bad, const void *ptr,
                       size_t size, bool write)
{
    bad = command(q, n, list, event, bad);
    if (!bad && event) {
        struct fake *f = (struct fake *)*event;

        f->late = (void *)ptr;
        f->late_size = size;
        f->late_write = write;
    }
    return bad;
}

/* Whether @size bytes at @offset lie in @m, which commands may then use. */
static cl_int within(cl_mem m, size_t offset, size_t size)
{
    struct fake *f = check(m, MEM);

    if (offset > f->size || size > f->size - offset) {
        return CL_INVALID_VALUE;
    }
    if (!f->given) {
        write_bytes((uint8_t *)f->bytes + offset, size);
    }
    return CL_SUCCESS;
}

cl_int clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool block,
                           size_t offset, size_t size, void *ptr, cl_uint n,
                           const cl_event *list, cl_event *event)
{
    cl_int bad = within(m, offset, size);

    if (!bad) {
        write_bytes(ptr, size);
    }
    return transfer(q, n, list, event, bad, ptr, size, true);
}

cl_int clEnqueueWriteBuffer(cl_command_queue q, cl_mem m, cl_bool block,
                            size_t offset, size_t size, const void *ptr,
                            cl_uint n, const cl_event *list, cl_event *event)
{
    cl_int bad = within(m, offset, size);

    if (!bad) {
        read_bytes(ptr, size);
    }
    return transfer(q, n, list, event, bad, ptr, size, false);
}

/*
 * Where in the host's memory a rectangle ends, as a driver computes it from
 * origin, region and pitches; 0 if it may be no rectangle.
 */
static size_t host_rect_end(const size_t *origin, const size_t *region,
                            size_t row, size_t slice)
{
    size_t begin, end, part;

    if (!region[0] || !region[1] || !region[2]) {
        return 0;
    }
    row = row ? row : region[0];
    if (row < region[0] ||
        (!slice && __builtin_mul_overflow(row, region[1], &slice))) {
        return 0;
    }
    end = rect_bytes(region, row, slice);
    if (!end || __builtin_mul_overflow(origin[2], slice, &begin) ||
        __builtin_mul_overflow(origin[1], row, &part) ||
        __builtin_add_overflow(begin, part, &begin) ||
        __builtin_add_overflow(begin, origin[0], &begin) ||
        __builtin_add_overflow(begin, end, &end) || end > SIZE_LIMIT) {
        return 0;
    }
    return end;
}

cl_int clEnqueueReadBufferRect(cl_command_queue q, cl_mem m, cl_bool block,
                               const size_t *origin, const size_t *host_origin,
                               const size_t *region, size_t row, size_t slice,
                               size_t host_row, size_t host_slice, void *ptr,
                               cl_uint n, const cl_event *list,
                               cl_event *event)
{
    size_t end = host_rect_end(host_origin, region, host_row, host_slice);

    check(m, MEM);
    read_bytes(origin, 24);
    if (end) {
        ((uint8_t *)ptr)[end - 1] = 1;
    }
    return transfer(q, n, list, event, end ? 0 : CL_INVALID_VALUE, ptr, end,
                    true);
}

cl_int clEnqueueWriteBufferRect(cl_command_queue q, cl_mem m, cl_bool block,
                                const size_t *origin,
                                const size_t *host_origin,
                                const size_t *region, size_t row, size_t slice,
                                size_t host_row, size_t host_slice,
                                const void *ptr, cl_uint n,
                                const cl_event *list, cl_event *event)
{
    size_t end = host_rect_end(host_origin, region, host_row, host_slice);

    check(m, MEM);
    read_bytes(origin, 24);
    if (end) {
        read_bytes((const uint8_t *)ptr + end - 1, 1);
    }
    return transfer(q, n, list, event, end ? 0 : CL_INVALID_VALUE, ptr, end,
                    false);
}

/* One end is a region, or both are; the other is the worker's or the guest's. */
cl_int clEnqueueSVMMemcpy(cl_command_queue q, cl_bool block, void *to,
                          const void *from, size_t size, cl_uint n,
                          const cl_event *list, cl_event *event)
{
    fuzz_require(!block && size);
    read_bytes(from, size);
    write_bytes(to, size);
    return command(q, n, list, event, 0);
}

cl_int clEnqueueSVMMemFill(cl_command_queue q, void *to, const void *pattern,
                           size_t pattern_size, size_t size, cl_uint n,
                           const cl_event *list, cl_event *event)
{
    check_svm(to, size);
    read_bytes(pattern, pattern_size);
    return command(q, n, list, event, 0);
}

cl_int clEnqueueSVMMigrateMem(cl_command_queue q, cl_uint count,
                              const void **list, const size_t *sizes,
                              cl_mem_migration_flags flags, cl_uint n,
                              const cl_event *events, cl_event *event)
{
    for (cl_uint i = 0; i < count; i++) {
        check_svm(list[i], sizes[i] ? sizes[i] : 1);
    }
    return command(q, n, events, event, count ? 0 : CL_INVALID_VALUE);
}

cl_int clEnqueueFillBuffer(cl_command_queue q, cl_mem m, const void *pattern,
                           size_t pattern_size, size_t offset, size_t size,
                           cl_uint n, const cl_event *list, cl_event *event)
{
    read_bytes(pattern, pattern_size);
    return command(q, n, list, event, within(m, offset, size));
}

cl_int clEnqueueCopyBuffer(cl_command_queue q, cl_mem from, cl_mem to,
                           size_t from_offset, size_t to_offset, size_t size,
                           cl_uint n, const cl_event *list, cl_event *event)
{
    cl_int bad = within(from, from_offset, size);

    check(to, MEM);
    return command(q, n, list, event, bad ? bad : within(to, to_offset, size));
}

cl_int clEnqueueCopyBufferRect(cl_command_queue q, cl_mem from, cl_mem to,
                               const size_t *a, const size_t *b,
                               const size_t *region, size_t row, size_t slice,
                               size_t to_row, size_t to_slice, cl_uint n,
                               const cl_event *list, cl_event *event)
{
    check(from, MEM);
    check(to, MEM);
    read_bytes(a, 24);
    read_bytes(b, 24);
    read_bytes(region, 24);
    return command(q, n, list, event, 0);
}

/* Bytes of an image's @region in memory, of pixels of 4 bytes; 0: none. */
static size_t pixels_end(const size_t *region, size_t row, size_t slice)
{
    static const size_t origin[3];
    size_t bytes[3] = { 0, region[1], region[2] };

    if (__builtin_mul_overflow(region[0], 4, &bytes[0])) {
        return 0;
    }
    return host_rect_end(origin, bytes, row, slice);
}

cl_int clEnqueueReadImage(cl_command_queue q, cl_mem m, cl_bool block,
                          const size_t *origin, const size_t *region,
                          size_t row, size_t slice, void *ptr, cl_uint n,
                          const cl_event *list, cl_event *event)
{
    size_t end = pixels_end(region, row, slice);

    check(m, MEM);
    read_bytes(origin, 24);
    if (end) {
        ((uint8_t *)ptr)[end - 1] = 1;
    }
    return transfer(q, n, list, event, end ? 0 : CL_INVALID_VALUE, ptr, end,
                    true);
}

cl_int clEnqueueWriteImage(cl_command_queue q, cl_mem m, cl_bool block,
                           const size_t *origin, const size_t *region,
                           size_t row, size_t slice, const void *ptr,
                           cl_uint n, const cl_event *list, cl_event *event)
{
    size_t end = pixels_end(region, row, slice);

    check(m, MEM);
    read_bytes(origin, 24);
    if (end) {
        read_bytes((const uint8_t *)ptr + end - 1, 1);
    }
    return transfer(q, n, list, event, end ? 0 : CL_INVALID_VALUE, ptr, end,
                    false);
}

cl_int clEnqueueFillImage(cl_command_queue q, cl_mem m, const void *color,
                          const size_t *origin, const size_t *region,
                          cl_uint n, const cl_event *list, cl_event *event)
{
    check(m, MEM);
    read_bytes(color, 16);
    read_bytes(origin, 24);
    read_bytes(region, 24);
    return command(q, n, list, event, 0);
}

cl_int clEnqueueCopyImage(cl_command_queue q, cl_mem from, cl_mem to,
                          const size_t *a, const size_t *b,
                          const size_t *region, cl_uint n,
                          const cl_event *list, cl_event *event)
{
    check(from, MEM);
    check(to, MEM);
    read_bytes(a, 24);
    read_bytes(b, 24);
    read_bytes(region, 24);
    return command(q, n, list, event, 0);
}

cl_int clEnqueueCopyImageToBuffer(cl_command_queue q, cl_mem from, cl_mem to,
                                  const size_t *origin, const size_t *region,
                                  size_t offset, cl_uint n,
                                  const cl_event *list, cl_event *event)
{
    return clEnqueueCopyImage(q, from, to, origin, origin, region, n, list,
                              event);
}

cl_int clEnqueueCopyBufferToImage(cl_command_queue q, cl_mem from, cl_mem to,
                                  size_t offset, const size_t *origin,
                                  const size_t *region, cl_uint n,
                                  const cl_event *list, cl_event *event)
{
    return clEnqueueCopyImage(q, from, to, origin, origin, region, n, list,
                              event);
}

void *clEnqueueMapBuffer(cl_command_queue q, cl_mem m, cl_bool block,
                         cl_map_flags flags, size_t offset, size_t size,
                         cl_uint n, const cl_event *list, cl_event *event,
                         cl_int *err)
{
    cl_int bad = command(q, n, list, event, within(m, offset, size));

    if (err) {
        *err = bad;
    }
    return bad ? NULL : (uint8_t *)check(m, MEM)->bytes + offset;
}

cl_int clEnqueueUnmapMemObject(cl_command_queue q, cl_mem m, void *mapped,
                               cl_uint n, const cl_event *list,
                               cl_event *event)
{
    struct fake *f = check(m, MEM);
    uintptr_t offset = (uintptr_t)mapped - (uintptr_t)f->bytes;

    return command(q, n, list, event,
                   offset < f->size ? 0 : CL_INVALID_VALUE);
}

cl_int clEnqueueMigrateMemObjects(cl_command_queue q, cl_uint count,
                                  const cl_mem *mems,
                                  cl_mem_migration_flags flags, cl_uint n,
                                  const cl_event *list, cl_event *event)
{
    check_all(mems, count, MEM);
    return command(q, n, list, event, 0);
}

cl_int clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint dim,
                              const size_t *offset, const size_t *global,
                              const size_t *local, cl_uint n,
                              const cl_event *list, cl_event *event)
{
    check(k, KERNEL);
    if (dim < 1 || dim > 3) {
        return CL_INVALID_WORK_DIMENSION;
    }
    read_bytes(offset, dim * sizeof(*offset));
    read_bytes(global, dim * sizeof(*global));
    read_bytes(local, dim * sizeof(*local));
    return command(q, n, list, event, 0);
}

cl_int clEnqueueTask(cl_command_queue q, cl_kernel k, cl_uint n,
                     const cl_event *list, cl_event *event)
{
    check(k, KERNEL);
    return command(q, n, list, event, 0);
}

cl_int clEnqueueMarkerWithWaitList(cl_command_queue q, cl_uint n,
                                   const cl_event *list, cl_event *event)
{
    return command(q, n, list, event, 0);
}

cl_int clEnqueueBarrierWithWaitList(cl_command_queue q, cl_uint n,
                                    const cl_event *list, cl_event *event)
{
    return command(q, n, list, event, 0);
}

cl_int clEnqueueMarker(cl_command_queue q, cl_event *event)
{
    return event ? command(q, 0, NULL, event, 0) : CL_INVALID_VALUE;
}

cl_int clEnqueueWaitForEvents(cl_command_queue q, cl_uint n,
                              const cl_event *list)
{
    return n && list ? command(q, n, list, NULL, 0) : CL_INVALID_VALUE;
}

cl_int clEnqueueBarrier(cl_command_queue q)
{
    return command(q, 0, NULL, NULL, 0);
}

/* --- command buffers ---------------------------------------------------------------------- */

static cl_command_buffer_khr create_commands(cl_uint n,
                                             const cl_command_queue *queues,
                                             const cl_properties *list,
                                             cl_int *err)
{
    fuzz_require(n == 1);
    check(queues[0], QUEUE);
    read_properties(list);
    return make_unless(0, COMMANDS, err);
}

static cl_int finalize_commands(cl_command_buffer_khr b)
{
    check(b, COMMANDS);
    return fails();
}

static cl_int release_commands(cl_command_buffer_khr b)
{
    return release(b, COMMANDS);
}

static cl_int ask_commands(cl_command_buffer_khr b, cl_uint name, size_t size,
                           void *value, size_t *size_ret)
{
    check(b, COMMANDS);
    return answer(4, size, value, size_ret);
}

static cl_int enqueue_commands(cl_uint n_queues, cl_command_queue *queues,
                               cl_command_buffer_khr b, cl_uint n,
                               const cl_event *list, cl_event *event)
{
    check(b, COMMANDS);
    fuzz_require(!n_queues == !queues && n_queues <= 1);
    if (!n != !list) {
        return CL_INVALID_EVENT_WAIT_LIST;
    }
    if (queues) {
        return command(queues[0], n, list, event, 0);
    }
    check_all(list, n, EVENT);
    if (fails()) {
        return CL_OUT_OF_RESOURCES;
    }
    if (event) {
        *event = make(EVENT);
    }
    return CL_SUCCESS;
}

/* What is recorded: all that is named is there. */
static cl_int record(cl_command_buffer_khr b, cl_command_queue q, cl_uint n,
                     const cl_sync_point_khr *list, cl_sync_point_khr *point,
                     cl_mutable_command_khr *handle)
{
    check(b, COMMANDS);
    check_if(q, QUEUE);
    fuzz_require(!handle);
    if (!n != !list) {
        return CL_INVALID_SYNC_POINT_WAIT_LIST_KHR;
    }
    read_bytes(list, n * sizeof(*list));
    if (point) {
        *point = 1;
    }
    return fails();
}

static cl_int record_barrier(cl_command_buffer_khr b, cl_command_queue q,
                             cl_uint n, const cl_sync_point_khr *list,
                             cl_sync_point_khr *point,
                             cl_mutable_command_khr *handle)
{
    return record(b, q, n, list, point, handle);
}

static cl_int record_copy_buffer(cl_command_buffer_khr b, cl_command_queue q,
                                 cl_mem src_buffer, cl_mem dst_buffer,
                                 size_t src_offset, size_t dst_offset,
                                 size_t size, cl_uint n,
                                 const cl_sync_point_khr *list,
                                 cl_sync_point_khr *point,
                                 cl_mutable_command_khr *handle)
{
    check(src_buffer, MEM);
    check(dst_buffer, MEM);
    return record(b, q, n, list, point, handle);
}

static cl_int record_copy_buffer_rect(
    cl_command_buffer_khr b, cl_command_queue q, cl_mem src_buffer,
    cl_mem dst_buffer, const size_t *src_origin, const size_t *dst_origin,
    const size_t *region, size_t src_row_pitch, size_t src_slice_pitch,
    size_t dst_row_pitch, size_t dst_slice_pitch, cl_uint n,
    const cl_sync_point_khr *list, cl_sync_point_khr *point,
    cl_mutable_command_khr *handle)
{
    check(src_buffer, MEM);
    check(dst_buffer, MEM);
    read_bytes(src_origin, 24);
    read_bytes(dst_origin, 24);
    read_bytes(region, 24);
    return record(b, q, n, list, point, handle);
}

static cl_int record_copy_buffer_to_image(
    cl_command_buffer_khr b, cl_command_queue q, cl_mem src_buffer,
    cl_mem dst_image, size_t src_offset, const size_t *dst_origin,
    const size_t *region, cl_uint n, const cl_sync_point_khr *list,
    cl_sync_point_khr *point, cl_mutable_command_khr *handle)
{
    check(src_buffer, MEM);
    check(dst_image, MEM);
    read_bytes(dst_origin, 24);
    read_bytes(region, 24);
    return record(b, q, n, list, point, handle);
}

static cl_int record_copy_image(cl_command_buffer_khr b, cl_command_queue q,
                                cl_mem src_image, cl_mem dst_image,
                                const size_t *src_origin,
                                const size_t *dst_origin, const size_t *region,
                                cl_uint n, const cl_sync_point_khr *list,
                                cl_sync_point_khr *point,
                                cl_mutable_command_khr *handle)
{
    check(src_image, MEM);
    check(dst_image, MEM);
    read_bytes(src_origin, 24);
    read_bytes(dst_origin, 24);
    read_bytes(region, 24);
    return record(b, q, n, list, point, handle);
}

static cl_int record_copy_image_to_buffer(
    cl_command_buffer_khr b, cl_command_queue q, cl_mem src_image,
    cl_mem dst_buffer, const size_t *src_origin, const size_t *region,
    size_t dst_offset, cl_uint n, const cl_sync_point_khr *list,
    cl_sync_point_khr *point, cl_mutable_command_khr *handle)
{
    check(src_image, MEM);
    check(dst_buffer, MEM);
    read_bytes(src_origin, 24);
    read_bytes(region, 24);
    return record(b, q, n, list, point, handle);
}

static cl_int
record_fill_buffer(cl_command_buffer_khr b, cl_command_queue q, cl_mem buffer,
                   const void *pattern, size_t pattern_size, size_t offset,
                   size_t size, cl_uint n, const cl_sync_point_khr *list,
                   cl_sync_point_khr *point, cl_mutable_command_khr *handle)
{
    check(buffer, MEM);
    read_bytes(pattern, pattern_size);
    return record(b, q, n, list, point, handle);
}

static cl_int record_fill_image(cl_command_buffer_khr b, cl_command_queue q,
                                cl_mem image, const void *fill_color,
                                const size_t *origin, const size_t *region,
                                cl_uint n, const cl_sync_point_khr *list,
                                cl_sync_point_khr *point,
                                cl_mutable_command_khr *handle)
{
    check(image, MEM);
    read_bytes(fill_color, 16);
    read_bytes(origin, 24);
    read_bytes(region, 24);
    return record(b, q, n, list, point, handle);
}

static cl_int record_nd_range_kernel(
    cl_command_buffer_khr b, cl_command_queue q,
    const cl_ndrange_kernel_command_properties_khr *properties,
    cl_kernel kernel, cl_uint work_dim, const size_t *global_work_offset,
    const size_t *global_work_size, const size_t *local_work_size, cl_uint n,
    const cl_sync_point_khr *list, cl_sync_point_khr *point,
    cl_mutable_command_khr *handle)
{
    fuzz_require(!properties);
    check(kernel, KERNEL);
    read_bytes(global_work_offset, work_dim * sizeof(*global_work_offset));
    read_bytes(global_work_size, work_dim * sizeof(*global_work_size));
    read_bytes(local_work_size, work_dim * sizeof(*local_work_size));
    return record(b, q, n, list, point, handle);
}

/* Extensions, which this host sometimes lacks. */
void *clGetExtensionFunctionAddressForPlatform(cl_platform_id p,
                                               const char *name)
{
    static const struct {
        const char *name;
        void *function;
    } functions[] = {
        { "clGetKernelSuggestedLocalWorkSizeKHR", suggest },
        { "clCreateCommandBufferKHR", create_commands },
        { "clFinalizeCommandBufferKHR", finalize_commands },
        { "clReleaseCommandBufferKHR", release_commands },
        { "clEnqueueCommandBufferKHR", enqueue_commands },
        { "clGetCommandBufferInfoKHR", ask_commands },
        { "clCommandBarrierWithWaitListKHR", record_barrier },
        { "clCommandCopyBufferKHR", record_copy_buffer },
        { "clCommandCopyBufferRectKHR", record_copy_buffer_rect },
        { "clCommandCopyBufferToImageKHR", record_copy_buffer_to_image },
        { "clCommandCopyImageKHR", record_copy_image },
        { "clCommandCopyImageToBufferKHR", record_copy_image_to_buffer },
        { "clCommandFillBufferKHR", record_fill_buffer },
        { "clCommandFillImageKHR", record_fill_image },
        { "clCommandNDRangeKernelKHR", record_nd_range_kernel },
    };

    check(p, PLATFORM);
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (strcmp(name, functions[i].name) == 0) {
            return fails() ? NULL : functions[i].function;
        }
    }
    fuzz_require(false);
    return NULL;
}
