/*
 * What the generated calls are given: see codes.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "codes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 256

struct codes_rig a, b;
char scratch[65536], scratch_2[64];
cl_event new_event;
cl_int err;

cl_event null_event;
cl_device_id null_device;
cl_program null_program;
cl_mem null_mem;
const char *null_text, *text = "text.h";
const char *source =
    "kernel void whole(global int *a, int n, local int *l,\n"
    "                  read_only image2d_t i, sampler_t s)\n"
    "{ l[0] = n; a[0] = l[0] + (int)read_imagef(i, s, (int2)(0, 0)).x; }\n"
    "kernel void other(global int *a) { a[0] = 1; }\n";
size_t zero, one = 1;
bool remote;
_Atomic unsigned no_op_calls;

static void die(const char *what)
{
    fprintf(stderr, "codes: cannot set up: %s\n", what);
    exit(99);
}

/* --- arguments ------------------------------------------------------------------- */

void no_op(void)
{
    no_op_calls++;
}

const size_t *triple(size_t x, size_t y, size_t z)
{
    static size_t pool[8][3]; /* a call has several */
    static unsigned next;
    size_t *t = pool[next++ % 8];

    t[0] = x;
    t[1] = y;
    t[2] = z;
    return t;
}

const cl_buffer_region *part(size_t origin, size_t size)
{
    static cl_buffer_region region;

    region = (cl_buffer_region){ origin, size };
    return &region;
}

const cl_image_format *form(cl_channel_order order, cl_channel_type type)
{
    static cl_image_format format;

    format = (cl_image_format){ order, type };
    return &format;
}

const cl_image_desc *desc(cl_mem_object_type type, size_t width, size_t height,
                          size_t depth, size_t layers, size_t row_pitch)
{
    static cl_image_desc d;

    d = (cl_image_desc){ .image_type = type,
                         .image_width = width,
                         .image_height = height,
                         .image_depth = depth,
                         .image_array_size = layers,
                         .image_row_pitch = row_pitch };
    return &d;
}

void *mapped(void)
{
    return clEnqueueMapBuffer(a.queue, a.buffer, CL_TRUE, CL_MAP_READ, 0, SIZE,
                              0, NULL, NULL, NULL);
}

/* What was made for the call, and is not given up by it. */
static struct {
    void *object;
    enum codes_object kind;
} lent[16];
static unsigned lent_count;

static void *lend(void *object, enum codes_object kind)
{
    if (object && lent_count < sizeof(lent) / sizeof(lent[0])) {
        lent[lent_count].object = object;
        lent[lent_count++].kind = kind;
    }
    return object;
}

/* Whether the call, if it succeeded, has given up what it got. */
static bool gives_up(void)
{
    /* clSVMFree() does not say, and the shim knows what is free. */
    return !strncmp(call, "clRelease", 9) || !strcmp(call, "clEnqueueSVMFree") ||
           (!strcmp(call, "clSVMFree") && !remote);
}

void codes_take_back(cl_int code)
{
    bool gone = code == CL_SUCCESS && gives_up();

    while (lent_count) {
        void *o = lent[--lent_count].object;

        if (!gone && lent[lent_count].kind == OBJECT_void) {
            clSVMFree(a.context, o);
        } else if (!gone) {
            codes_release(o, lent[lent_count].kind);
        }
    }
}

void *fresh_svm(void)
{
    return lend(clSVMAlloc(a.context, CL_MEM_READ_WRITE, SIZE, 0), OBJECT_void);
}

/* --- objects --------------------------------------------------------------------- */

cl_context fresh_cl_context(void)
{
    return lend(clCreateContext(NULL, 1, &a.device, NULL, NULL, NULL),
                OBJECT_cl_context);
}

cl_command_queue fresh_cl_command_queue(void)
{
    return lend(clCreateCommandQueue(a.context, a.device, 0, NULL),
                OBJECT_cl_command_queue);
}

cl_mem fresh_cl_mem(void)
{
    return lend(clCreateBuffer(a.context, 0, SIZE, NULL, NULL),
                OBJECT_cl_mem);
}

cl_sampler fresh_cl_sampler(void)
{
    return lend(clCreateSampler(a.context, CL_FALSE, CL_ADDRESS_CLAMP,
                                CL_FILTER_NEAREST, NULL), OBJECT_cl_sampler);
}

cl_program fresh_cl_program(void)
{
    return lend(clCreateProgramWithSource(a.context, 1, &source, NULL, NULL),
                OBJECT_cl_program);
}

cl_program wrong_program(void)
{
    const char *wrong = "kernel void x( {";

    return lend(clCreateProgramWithSource(a.context, 1, &wrong, NULL, NULL),
                OBJECT_cl_program);
}

cl_kernel fresh_cl_kernel(void)
{
    return lend(clCreateKernel(a.program, "other", NULL),
                OBJECT_cl_kernel);
}

cl_kernel bare_kernel(void)
{
    return lend(clCreateKernel(a.program, "whole", NULL), OBJECT_cl_kernel);
}

cl_event fresh_cl_event(void)
{
    return lend(clCreateUserEvent(a.context, NULL),
                OBJECT_cl_event);
}

cl_event fresh_user_event(void)
{
    return fresh_cl_event();
}

void codes_release(void *o, enum codes_object kind)
{
    switch (kind) {
    case OBJECT_cl_context:
        clReleaseContext(o);
        break;
    case OBJECT_cl_command_queue:
        clReleaseCommandQueue(o);
        break;
    case OBJECT_cl_mem:
        clReleaseMemObject(o);
        break;
    case OBJECT_cl_sampler:
        clReleaseSampler(o);
        break;
    case OBJECT_cl_program:
        clReleaseProgram(o);
        break;
    case OBJECT_cl_kernel:
        clReleaseKernel(o);
        break;
    case OBJECT_cl_event:
        clReleaseEvent(o);
        break;
    case OBJECT_void:
        if (!strcmp(call, "clEnqueueMapBuffer")) {
            clEnqueueUnmapMemObject(a.queue, a.buffer, o, 0, NULL, NULL);
        } else if (!strcmp(call, "clEnqueueMapImage")) {
            clEnqueueUnmapMemObject(a.queue, a.image, o, 0, NULL, NULL);
        }
        break;
    }
}

#define DEAD(type)                                                           \
    type dead_##type(void)                                                   \
    {                                                                        \
        type o = fresh_##type();                                             \
                                                                             \
        codes_take_back(CL_INVALID_VALUE);                                   \
        return o;                                                            \
    }
CODES_OBJECTS(DEAD)

static cl_event ended_event(cl_context context, cl_int status)
{
    cl_event e = clCreateUserEvent(context, NULL);

    clSetUserEventStatus(e, status);
    return e;
}

static void set_arguments(struct codes_rig *r)
{
    cl_int n = 1;

    clSetKernelArg(r->kernel, 0, sizeof(cl_mem), &r->buffer);
    clSetKernelArg(r->kernel, 1, sizeof(n), &n);
    clSetKernelArg(r->kernel, 2, 16, NULL);
    clSetKernelArg(r->kernel, 3, sizeof(cl_mem), &r->image);
    clSetKernelArg(r->kernel, 4, sizeof(cl_sampler), &r->sampler);
}

static void set_up_programs(struct codes_rig *r)
{
    const char *wrong = "kernel void x( {";

    r->program = clCreateProgramWithSource(r->context, 1, &source, NULL, NULL);
    if (clBuildProgram(r->program, 1, &r->device, NULL, NULL, NULL)) {
        die("the program cannot be built");
    }
    clGetProgramInfo(r->program, CL_PROGRAM_BINARY_SIZES, sizeof(size_t),
                     &r->binary_size, NULL);
    r->binary = malloc(r->binary_size);
    clGetProgramInfo(r->program, CL_PROGRAM_BINARIES, sizeof(void *),
                     &r->binary, NULL);
    r->compiled = clCreateProgramWithSource(r->context, 1, &source, NULL, NULL);
    clCompileProgram(r->compiled, 1, &r->device, NULL, 0, NULL, NULL, NULL,
                     NULL);
    r->broken = clCreateProgramWithSource(r->context, 1, &wrong, NULL, NULL);
    clBuildProgram(r->broken, 1, &r->device, NULL, NULL, NULL);
    r->kernel = clCreateKernel(r->program, "whole", NULL);
    r->scratch = clCreateKernel(r->program, "whole", NULL);
}

void codes_set_up(struct codes_rig *r)
{
    cl_buffer_region half = { 0, SIZE / 2 };
    char name[256] = "";

    if (clGetPlatformIDs(1, &r->platform, NULL) ||
        clGetDeviceIDs(r->platform, CL_DEVICE_TYPE_ALL, 1, &r->device, NULL)) {
        die("there is no device");
    }
    clGetDeviceInfo(r->device, CL_DEVICE_NAME, sizeof(name), name, NULL);
    remote = strstr(name, "via vgpu-remote");
    r->context = clCreateContext(NULL, 1, &r->device, NULL, NULL, NULL);
    r->queue = clCreateCommandQueue(r->context, r->device,
                                    CL_QUEUE_PROFILING_ENABLE, NULL);
    r->buffer = clCreateBuffer(r->context, 0, SIZE, NULL, NULL);
    r->second = clCreateBuffer(r->context, 0, SIZE, NULL, NULL);
    r->sub = clCreateSubBuffer(r->buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &half,
                               NULL);
    r->read_only = clCreateBuffer(r->context, CL_MEM_READ_ONLY, SIZE, NULL,
                                  NULL);
    r->no_access = clCreateBuffer(r->context, CL_MEM_HOST_NO_ACCESS, SIZE, NULL,
                                  NULL);
    r->image = clCreateImage(r->context, 0, form(CL_RGBA, CL_UNORM_INT8),
                             desc(CL_MEM_OBJECT_IMAGE2D, 8, 8, 0, 0, 0), NULL,
                             NULL);
    r->second_image = clCreateImage(r->context, 0,
                                    form(CL_RGBA, CL_UNORM_INT8),
                                    desc(CL_MEM_OBJECT_IMAGE2D, 8, 8, 0, 0, 0),
                                    NULL, NULL);
    r->pipe = clCreatePipe(r->context, 0, 16, 16, NULL, NULL);
    r->svm = clSVMAlloc(r->context, CL_MEM_READ_WRITE, SIZE, 0);
    r->sampler = clCreateSampler(r->context, CL_FALSE, CL_ADDRESS_CLAMP,
                                 CL_FILTER_NEAREST, NULL);
    r->event = ended_event(r->context, CL_COMPLETE);
    r->failed = ended_event(r->context, -5);
    clEnqueueReadBuffer(r->queue, r->buffer, CL_TRUE, 0, 4, scratch, 0, NULL,
                        &r->command);
    if (!r->context || !r->queue || !r->sub || !r->image || !r->sampler) {
        die("an object cannot be created");
    }
    set_up_programs(r);
    set_arguments(r);
}

void codes_tear_down(struct codes_rig *r)
{
    cl_mem mems[] = { r->sub, r->buffer, r->second, r->read_only, r->no_access,
                      r->image, r->second_image, r->pipe };
    cl_program programs[] = { r->program, r->compiled, r->broken };

    clReleaseKernel(r->kernel);
    clReleaseKernel(r->scratch);
    clReleaseEvent(r->event);
    clReleaseEvent(r->failed);
    clReleaseEvent(r->command);
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        clReleaseProgram(programs[i]);
    }
    for (size_t i = 0; i < sizeof(mems) / sizeof(mems[0]); i++) {
        if (mems[i]) {
            clReleaseMemObject(mems[i]);
        }
    }
    clReleaseSampler(r->sampler);
    clSVMFree(r->context, r->svm);
    clReleaseCommandQueue(r->queue);
    clReleaseContext(r->context);
    free(r->binary);
}
