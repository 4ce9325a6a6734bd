/*
 * codes FIRST: makes the generated calls from case number FIRST on and prints of
 * each its number, what was wrong in it, and the code that came back:
 *
 *   412 clCreateBuffer: size = 0 -> CL_INVALID_BUFFER_SIZE
 *
 * test_codes.py runs it natively and through the shim and compares. A case that
 * ends the program (natively a bad argument may) has no code on its line, and the
 * test starts the program again behind it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "codes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CASE_SECONDS 3 /* a call that takes longer hangs */
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
const char *call;

static int number, first;
static bool remote;
static cl_int wanted; /* of the case that runs; 0: whatever is right */

#define UNSET 12345

static void die(const char *what)
{
    fprintf(stderr, "codes: cannot set up: %s\n", what);
    exit(99);
}

/* --- arguments ------------------------------------------------------------------- */

void no_op(void)
{
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

void *fresh_svm(void)
{
    return clSVMAlloc(a.context, CL_MEM_READ_WRITE, SIZE, 0);
}

/* --- objects --------------------------------------------------------------------- */

cl_context fresh_cl_context(void)
{
    return clCreateContext(NULL, 1, &a.device, NULL, NULL, NULL);
}

cl_command_queue fresh_cl_command_queue(void)
{
    return clCreateCommandQueue(a.context, a.device, 0, NULL);
}

cl_mem fresh_cl_mem(void)
{
    return clCreateBuffer(a.context, 0, SIZE, NULL, NULL);
}

cl_sampler fresh_cl_sampler(void)
{
    return clCreateSampler(a.context, CL_FALSE, CL_ADDRESS_CLAMP,
                           CL_FILTER_NEAREST, NULL);
}

cl_program fresh_cl_program(void)
{
    return clCreateProgramWithSource(a.context, 1, &source, NULL, NULL);
}

cl_program wrong_program(void)
{
    const char *wrong = "kernel void x( {";

    return clCreateProgramWithSource(a.context, 1, &wrong, NULL, NULL);
}

cl_kernel fresh_cl_kernel(void)
{
    return clCreateKernel(a.program, "other", NULL);
}

cl_kernel bare_kernel(void)
{
    return clCreateKernel(a.program, "whole", NULL);
}

cl_event fresh_cl_event(void)
{
    return clCreateUserEvent(a.context, NULL);
}

cl_event fresh_user_event(void)
{
    return fresh_cl_event();
}

cl_event command_event(void)
{
    static cl_event e;

    if (!e) {
        clEnqueueReadBuffer(a.queue, a.buffer, CL_TRUE, 0, 4, scratch, 0, NULL,
                            &e);
    }
    return e;
}

static void release(void *o, enum codes_object kind)
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
        release(o, OBJECT_##type);                                           \
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

static void set_up(struct codes_rig *r)
{
    cl_buffer_region half = { 0, SIZE / 2 };

    if (clGetPlatformIDs(1, &r->platform, NULL) ||
        clGetDeviceIDs(r->platform, CL_DEVICE_TYPE_ALL, 1, &r->device, NULL)) {
        die("there is no device");
    }
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
    if (!r->context || !r->queue || !r->sub || !r->image || !r->sampler) {
        die("an object cannot be created");
    }
    set_up_programs(r);
    set_arguments(r);
}

/* --- a case ---------------------------------------------------------------------- */

bool begin(const char *label, cl_int code)
{
    if (number++ < first || (code && !remote)) {
        return false;
    }
    printf("%d %s: %s", number - 1, call, label);
    fflush(stdout);
    memset(scratch, 0, sizeof(scratch));
    err = UNSET;
    wanted = code;
    alarm(CASE_SECONDS);
    return true;
}

static void settle(void)
{
    if (!strncmp(call, "clEnqueue", 9)) {
        clFinish(a.queue);
        clFinish(b.queue);
    }
    if (new_event) {
        clReleaseEvent(new_event);
        new_event = NULL;
    }
    alarm(0);
}

static void say(cl_int code)
{
    const char *name = code_name(code);

    if (name) {
        printf(" -> %s", name);
    } else {
        printf(" -> %d", code);
    }
}

/* A worker that died of the call, as the program natively might have. */
static bool lost(void)
{
    return remote && clFinish(a.queue) == CL_OUT_OF_RESOURCES;
}

static void finish_line(void)
{
    if (lost()) {
        printf(" -> lost\n");
        fflush(stdout);
        _exit(3);
    }
    if (wanted) {
        printf(" wanted %s", code_name(wanted));
    }
    printf("\n");
    fflush(stdout);
    settle();
}

void end(cl_int code)
{
    say(code);
    finish_line();
}

void end_with(void *object, enum codes_object kind)
{
    if (err == UNSET) {
        printf(" -> %s", object ? "an object" : "NULL");
    } else {
        say(err);
        if (!object != (err != CL_SUCCESS)) {
            printf(object ? " and an object" : " and NULL");
        }
    }
    if (object) {
        release(object, kind);
    }
    finish_line();
}

int main(int argc, char **argv)
{
    char name[256] = "";

    first = argc > 1 ? atoi(argv[1]) : 0;
    set_up(&a);
    set_up(&b);
    clGetDeviceInfo(a.device, CL_DEVICE_NAME, sizeof(name), name, NULL);
    remote = strstr(name, "via vgpu-remote");
    try_all();
    printf("all\n");
    fflush(stdout);
    _exit(0); /* objects that the calls spoiled are nobody's business */
}
