/*
 * What the generated cases of codes-cases.c need: live objects of two contexts and
 * dead ones (codes-rig.c), and what is done before and after each call: codes.c
 * tries all in turn, sessions.c any of them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CODES_H
#define CODES_H

#include <stdbool.h>

#include <CL/cl.h>
#include <CL/cl_ext.h>

/* What a call may be given; made once, and only read by the cases. */
struct codes_rig {
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_mem buffer, second, sub, read_only, no_access; /* of 256 bytes */
    cl_mem image, second_image;               /* 8 x 8, RGBA, 8 bits */
    cl_mem pipe;                              /* NULL where there are none */
    void *svm;                                /* 256 bytes, or NULL */
    cl_sampler sampler;
    cl_program program, compiled, broken;
    unsigned char *binary; /* of program */
    size_t binary_size;
    cl_kernel kernel, scratch; /* with all arguments set, and with none */
    cl_event event, failed;    /* complete, either way */
    cl_event command; /* of a command that has ended, in a queue that measures */
};

/* b has another context, and objects of it. */
extern struct codes_rig a, b;
extern bool remote; /* whether it is our shim that is called */

void codes_set_up(struct codes_rig *r);
void codes_tear_down(struct codes_rig *r);

/* Room for what calls return: larger than any of it. */
extern char scratch[65536], scratch_2[64];
extern cl_event new_event; /* released after the call */
extern cl_int err;

/* What a pointer to one of something points to. */
extern cl_event null_event;
extern cl_device_id null_device;
extern cl_program null_program;
extern cl_mem null_mem;
extern const char *null_text, *text, *source;
extern size_t zero, one;

/** fresh_...: an object that the call may give up. dead_...: one that is released. */
#define CODES_OBJECTS(F)                                                     \
    F(cl_context) F(cl_command_queue) F(cl_mem) F(cl_sampler) F(cl_program)  \
    F(cl_kernel) F(cl_event)
#define CODES_DECLARE(type) type fresh_##type(void); type dead_##type(void);
CODES_OBJECTS(CODES_DECLARE)
cl_event fresh_user_event(void);
/** wrong_program: that cannot be built. bare_kernel: without arguments. */
cl_program wrong_program(void);
cl_kernel bare_kernel(void);
void *fresh_svm(void);
/** mapped: where a.buffer was just mapped to. */
void *mapped(void);
void no_op(void);
extern _Atomic unsigned no_op_calls;

/* Arguments behind pointers; they live until the call has returned. */
const size_t *triple(size_t x, size_t y, size_t z);
const cl_buffer_region *part(size_t origin, size_t size);
const cl_image_format *form(cl_channel_order order, cl_channel_type type);
const cl_image_desc *desc(cl_mem_object_type type, size_t width, size_t height,
                          size_t depth, size_t layers, size_t row_pitch);

extern const char *call; /* which one is tried */

/**
 * begin: whether the case @label of the call is to be made. @code, unless 0, is
 * what the specification alone says that it returns: natively it is not made.
 */
bool begin(const char *label, cl_int code);

/** end, end_with: the call returned @code, or the object, which is released. */
void end(cl_int code);

enum codes_object {
    OBJECT_cl_context, OBJECT_cl_command_queue, OBJECT_cl_mem,
    OBJECT_cl_sampler, OBJECT_cl_program, OBJECT_cl_kernel, OBJECT_cl_event,
    OBJECT_void,
};
void end_with(void *object, enum codes_object kind);

/** codes_release: @o, which the call that was tried has made. */
void codes_release(void *o, enum codes_object kind);
/** codes_take_back: release the fresh ones, unless the call, which returned @code, has. */
void codes_take_back(cl_int code);

/* Generated. */
void try_all(void);
const char *code_name(cl_int code);

#endif
