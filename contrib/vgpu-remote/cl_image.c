/*
 * Images. What is checked here is how many bytes of the guest's memory the host will
 * touch: the host computes that from formats, sizes and pitches that the guest
 * chose, and has never heard where the guest's memory ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "cl.h"
#include "opencl_serve.h"

/* --- sizes -------------------------------------------------------------------------- */

static size_t channels(cl_channel_order order)
{
    switch (order) {
    case CL_R: case CL_A: case CL_INTENSITY: case CL_LUMINANCE: case CL_Rx:
    case CL_DEPTH:
        return 1;
    case CL_RG: case CL_RA: case CL_RGx: case CL_DEPTH_STENCIL:
        return 2;
    case CL_RGB: case CL_RGBx: case CL_sRGB:
        return 3;
    default:
        return 4;
    }
}

/* Bytes of a pixel, never less than the host may think: 0 is no answer. */
static size_t pixel_bytes(const cl_image_format *f)
{
    size_t n = channels(f->image_channel_order);

    switch (f->image_channel_data_type) {
    case CL_SNORM_INT8: case CL_UNORM_INT8: case CL_SIGNED_INT8:
    case CL_UNSIGNED_INT8:
        return n;
    case CL_SNORM_INT16: case CL_UNORM_INT16: case CL_SIGNED_INT16:
    case CL_UNSIGNED_INT16: case CL_HALF_FLOAT:
        return 2 * n;
    case CL_UNORM_SHORT_565: case CL_UNORM_SHORT_555:
        return 2;
    case CL_UNORM_INT_101010:
        return 4;
    default:
        return 4 * n;
    }
}

/*
 * Bytes that rows x slices of @width bytes cover with these pitches (0: dense).
 * Returns false if that is more than there can be.
 */
static bool covered(size_t width, size_t rows, size_t slices, size_t row,
                    size_t slice, size_t *bytes)
{
    size_t a, b;

    if (!width || !rows || !slices) {
        return false;
    }
    row = row ? row : width;
    if (!slice && __builtin_mul_overflow(row, rows, &slice)) {
        return false;
    }
    return !__builtin_mul_overflow(row, rows - 1, &a) &&
           !__builtin_mul_overflow(slice, slices - 1, &b) &&
           !__builtin_add_overflow(a, b, bytes) &&
           !__builtin_add_overflow(*bytes, width, bytes);
}

/* Bytes behind host_ptr that an image of @desc is made from. */
static bool image_bytes(const cl_image_format *f, const cl_image_desc *desc,
                        size_t *bytes)
{
    size_t width, height = desc->image_height, depth = 1;

    if (__builtin_mul_overflow(desc->image_width, pixel_bytes(f), &width)) {
        return false;
    }
    switch (desc->image_type) {
    case CL_MEM_OBJECT_IMAGE1D:
    case CL_MEM_OBJECT_IMAGE1D_BUFFER:
        height = 1;
        break;
    case CL_MEM_OBJECT_IMAGE1D_ARRAY:
        /* Layers lie a slice pitch apart, or a row pitch if there is none. */
        return covered(width, 1, desc->image_array_size, desc->image_row_pitch,
                       desc->image_slice_pitch, bytes);
    case CL_MEM_OBJECT_IMAGE2D_ARRAY:
        depth = desc->image_array_size;
        break;
    case CL_MEM_OBJECT_IMAGE3D:
        depth = desc->image_depth;
        break;
    }
    return covered(width, height, depth, desc->image_row_pitch,
                   desc->image_slice_pitch, bytes);
}

/* --- making ----------------------------------------------------------------------------- */

static size_t image_size_info(cl_mem image, cl_image_info name)
{
    size_t value = 0;

    clGetImageInfo(image, name, sizeof(value), &value, NULL);
    return value;
}

void serve_vclCreateImage(struct request *r, struct vclCreateImage_args *a)
{
    cl_mem_flags flags = a->flags &
        ~(cl_mem_flags)(CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR |
                        CL_MEM_COPY_HOST_PTR);
    cl_image_desc desc = *a->image_desc;
    size_t needed;

    desc.mem_object = a->buffer;
    if (a->host_ptr) {
        flags |= CL_MEM_COPY_HOST_PTR;
        if (!image_bytes(a->image_format, &desc, &needed) ||
            needed > a->bytes) {
            a->err = CL_INVALID_IMAGE_SIZE;
            return;
        }
    }
    a->ret = clCreateImage(a->context, flags, a->image_format, &desc,
                           (void *)a->host_ptr, &a->err);
    if (!a->buffer) {
        a->ret = charge_made(r->session, a->ret, &a->err);
    }
    if (!a->ret) {
        return;
    }
    *a->row_pitch = image_size_info(a->ret, CL_IMAGE_ROW_PITCH);
    *a->slice_pitch = image_size_info(a->ret, CL_IMAGE_SLICE_PITCH);
    *a->element_size = image_size_info(a->ret, CL_IMAGE_ELEMENT_SIZE);
}

/* --- reading and writing -------------------------------------------------------------------- */

/* Whether @region of @image with these pitches in the guest's memory is @bytes long. */
static bool region_fits(cl_mem image, const size_t *region, size_t row,
                        size_t slice, size_t bytes)
{
    size_t width, needed, layers;
    cl_mem_object_type type = 0;

    clGetMemObjectInfo(image, CL_MEM_TYPE, sizeof(type), &type, NULL);
    if (__builtin_mul_overflow(region[0],
                               image_size_info(image, CL_IMAGE_ELEMENT_SIZE),
                               &width)) {
        return false;
    }
    if (type == CL_MEM_OBJECT_IMAGE1D_ARRAY) {
        /* Drivers differ in which pitch lies between layers: room for both. */
        layers = region[1];
        return covered(width, layers, 1, row, 0, &needed) && needed <= bytes &&
               covered(width, 1, layers, row, slice, &needed) &&
               needed <= bytes;
    }
    return covered(width, region[1], region[2], row, slice, &needed) &&
           needed <= bytes;
}

static cl_int read_image(struct transfer *t, void *ptr, cl_event *event)
{
    const struct vclEnqueueReadImage_args *a = t->args;

    return clEnqueueReadImage(t->queue, a->image, CL_FALSE, a->origin,
                              a->region, a->row_pitch, a->slice_pitch, ptr,
                              t->n_waits, t->waits, event);
}

void serve_vclEnqueueReadImage(struct request *r,
                               struct vclEnqueueReadImage_args *a)
{
    struct transfer t = {
        TRANSFER_READ(r, a),
        .bytes = a->bytes,
        .enqueue = read_image,
        .args = a,
    };

    a->ret = CL_INVALID_VALUE;
    if (region_fits(a->image, a->region, a->row_pitch, a->slice_pitch,
                    a->bytes)) {
        a->ret = transfer_run(&t);
    }
}

static cl_int write_image(struct transfer *t, void *ptr, cl_event *event)
{
    const struct vclEnqueueWriteImage_args *a = t->args;

    return clEnqueueWriteImage(t->queue, a->image, CL_FALSE, a->origin,
                               a->region, a->row_pitch, a->slice_pitch, ptr,
                               t->n_waits, t->waits, event);
}

void serve_vclEnqueueWriteImage(struct request *r,
                                struct vclEnqueueWriteImage_args *a)
{
    struct transfer t = {
        TRANSFER_WRITE(r, a),
        .bytes = a->bytes,
        .enqueue = write_image,
        .args = a,
    };

    a->ret = CL_INVALID_VALUE;
    if (region_fits(a->image, a->region, a->row_pitch, a->slice_pitch,
                    a->bytes)) {
        a->ret = transfer_run(&t);
    }
}
