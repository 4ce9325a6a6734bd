/*
 * Images: making them, what they are, and reading and writing them.
 *
 * The host decides which formats and sizes there are. Here it has to be known how
 * a box of elements lies in the program's memory, which depends on the kind: layers of a
 * 1D array are a slice pitch apart, and their number is region[1].
 *
 * SPDX-License-Identifier: MIT
 */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

#include "opencl_call.h"

/* --- formats -------------------------------------------------------------------- */

static size_t channels(cl_channel_order order)
{
    switch (order) {
    case CL_R:
    case CL_A:
    case CL_INTENSITY:
    case CL_LUMINANCE:
    case CL_DEPTH:
        return 1;
    case CL_RG:
    case CL_RA:
    case CL_Rx:
        return 2;
    case CL_RGB:
    case CL_RGx:
    case CL_sRGB:
        return 3;
    case CL_RGBA:
    case CL_BGRA:
    case CL_ARGB:
    case CL_ABGR:
    case CL_RGBx:
    case CL_sRGBA:
    case CL_sBGRA:
    case CL_sRGBx:
        return 4;
    default:
        return 0;
    }
}

/* Bytes of an element; 0: no such format. */
static size_t element_size(const cl_image_format *f)
{
    switch (f->image_channel_data_type) {
    case CL_SNORM_INT8:
    case CL_UNORM_INT8:
    case CL_SIGNED_INT8:
    case CL_UNSIGNED_INT8:
        return channels(f->image_channel_order);
    case CL_SNORM_INT16:
    case CL_UNORM_INT16:
    case CL_SIGNED_INT16:
    case CL_UNSIGNED_INT16:
    case CL_HALF_FLOAT:
        return 2 * channels(f->image_channel_order);
    case CL_SIGNED_INT32:
    case CL_UNSIGNED_INT32:
    case CL_FLOAT:
        return 4 * channels(f->image_channel_order);
    case CL_UNORM_SHORT_565:
    case CL_UNORM_SHORT_555:
        return 2;
    case CL_UNORM_INT_101010:
    case CL_UNORM_INT_101010_2:
        return 4;
    default:
        return 0;
    }
}

/* --- boxes ---------------------------------------------------------------------- */

bool image_has_slices(cl_mem mem)
{
    return mem->kind == CL_MEM_OBJECT_IMAGE3D ||
           mem->kind == CL_MEM_OBJECT_IMAGE1D_ARRAY ||
           mem->kind == CL_MEM_OBJECT_IMAGE2D_ARRAY;
}

/* Width, height or layers, depth or layers: what origin and region count. */
static bool extents(const cl_image_desc *d, size_t *extent)
{
    extent[0] = d->image_width;
    extent[1] = extent[2] = 1;
    switch (d->image_type) {
    case CL_MEM_OBJECT_IMAGE1D:
    case CL_MEM_OBJECT_IMAGE1D_BUFFER:
        break;
    case CL_MEM_OBJECT_IMAGE1D_ARRAY:
        extent[1] = d->image_array_size;
        break;
    case CL_MEM_OBJECT_IMAGE2D:
        extent[1] = d->image_height;
        break;
    case CL_MEM_OBJECT_IMAGE2D_ARRAY:
        extent[1] = d->image_height;
        extent[2] = d->image_array_size;
        break;
    case CL_MEM_OBJECT_IMAGE3D:
        extent[1] = d->image_height;
        extent[2] = d->image_depth;
        break;
    default:
        return false;
    }
    return extent[0] && extent[1] && extent[2];
}

cl_int image_check_box(cl_mem mem, const size_t *origin, const size_t *region)
{
    size_t extent[3];

    if (!mem->image) {
        return CL_INVALID_MEM_OBJECT;
    }
    if (!origin || !region || !extents(&mem->image->desc, extent)) {
        return CL_INVALID_VALUE;
    }
    for (int i = 0; i < 3; i++) {
        if (!region[i] || origin[i] > extent[i] ||
            region[i] > extent[i] - origin[i]) {
            return CL_INVALID_VALUE;
        }
    }
    return CL_SUCCESS;
}

/* pocl adds these up without looking, and fills the memory in front of the image. */
cl_int check_clEnqueueFillImage(
    cl_command_queue command_queue, cl_mem image, const void *fill_color,
    const size_t *origin, const size_t *region, cl_uint num_events_in_wait_list,
    const cl_event *event_wait_list, cl_event *event)
{
    size_t end;

    for (int i = 0; i < 3; i++) {
        if (__builtin_add_overflow(origin[i], region[i], &end)) {
            return CL_INVALID_VALUE;
        }
    }
    return CL_SUCCESS;
}

/* The box of @region elements of @element bytes in an image of @kind. */
static cl_int make_box(cl_mem_object_type kind, size_t element,
                       const size_t *region, size_t row_pitch,
                       size_t slice_pitch, struct box *box)
{
    bool layers = kind == CL_MEM_OBJECT_IMAGE1D_ARRAY;
    size_t least;

    if (__builtin_mul_overflow(region[0], element, &box->row)) {
        return CL_INVALID_VALUE;
    }
    box->rows = layers ? 1 : region[1];
    box->slices = layers ? region[1] : region[2];
    box->row_pitch = row_pitch ? row_pitch : box->row;
    if (box->row_pitch < box->row ||
        __builtin_mul_overflow(box->row_pitch, box->rows, &least)) {
        return CL_INVALID_VALUE;
    }
    box->slice_pitch = slice_pitch ? slice_pitch : least;
    if (box->slice_pitch < least ||
        __builtin_mul_overflow(box->slice_pitch, box->slices, &least)) {
        return CL_INVALID_VALUE;
    }
    return CL_SUCCESS;
}

cl_int image_box(cl_mem mem, const size_t *region, size_t row_pitch,
                 size_t slice_pitch, struct box *box)
{
    return make_box(mem->kind, mem->image->element, region, row_pitch,
                    slice_pitch, box);
}

/* --- creation -------------------------------------------------------------------- */

/* The contents at @host_ptr, without gaps, in a piece of the pool. */
static cl_int pack_contents(struct session *s, const struct box *box,
                            const void *host_ptr, struct bulk *piece)
{
    if (bulk_alloc(s, box_bytes(box), piece) < 0) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    box_pack(box, host_ptr, piece->data);
    return CL_SUCCESS;
}

static cl_int create_on_host(cl_mem mem, cl_mem buffer, const void *host_ptr,
                             const struct box *box)
{
    struct session *s = mem->obj.session;
    struct image *image = mem->image;
    cl_image_desc desc = image->desc;
    cl_mem_flags flags = mem->flags;
    struct bulk piece = { .data = NULL };
    size_t row = 0, slice = 0, element = 0;
    cl_int err = CL_SUCCESS;

    if (flags & CL_MEM_USE_HOST_PTR) {
        flags &= ~(cl_mem_flags)CL_MEM_USE_HOST_PTR;
        flags |= CL_MEM_COPY_HOST_PTR;
    }
    desc.buffer = NULL;
    if (host_ptr) {
        desc.image_row_pitch = desc.image_slice_pitch = 0;
        err = pack_contents(s, box, host_ptr, &piece);
    }
    if (err == CL_SUCCESS) {
        bulk_lend(piece.data ? &piece : NULL);
        err = call_vclCreateImage(s, mem->context->obj.id, flags,
                                  &image->format, &desc,
                                  buffer ? buffer->obj.id : 0,
                                  host_ptr ? box_bytes(box) : 0, piece.data,
                                  &row, &slice, &element, mem->obj.id);
        bulk_lend(NULL);
    }
    if (piece.data) {
        bulk_free(s, &piece);
    }
    if (err == CL_SUCCESS && !host_ptr) {
        image->row_pitch = row;
        image->slice_pitch = slice;
    }
    return err;
}

/* What can be told without the host; fills @box for the contents at host_ptr. */
static cl_int check(cl_context context, cl_mem_flags flags,
                    const cl_image_format *format, const cl_image_desc *desc,
                    const void *host_ptr, struct box *box)
{
    size_t extent[3], element;
    cl_int err;

    if (!cl_live(context, OPENCL_cl_context)) {
        return CL_INVALID_CONTEXT;
    }
    err = mem_check_flags(flags);
    if (err != CL_SUCCESS) {
        return err;
    }
    element = format ? element_size(format) : 0;
    if (!element) {
        return CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
    }
    if (!desc || !extents(desc, extent) || desc->num_mip_levels ||
        desc->num_samples) {
        return CL_INVALID_IMAGE_DESCRIPTOR;
    }
    if (desc->buffer && (!cl_live(desc->buffer, OPENCL_cl_mem) ||
                         desc->buffer->kind == CL_MEM_OBJECT_PIPE)) {
        return CL_INVALID_IMAGE_DESCRIPTOR;
    }
    if (!host_ptr && !desc->buffer &&
        (desc->image_row_pitch || desc->image_slice_pitch)) {
        return CL_INVALID_IMAGE_DESCRIPTOR;
    }
    if (make_box(desc->image_type, element, extent, desc->image_row_pitch,
                 desc->image_slice_pitch, box) != CL_SUCCESS) {
        return CL_INVALID_IMAGE_DESCRIPTOR;
    }
    /* An image on a buffer takes the buffer's flags. */
    return desc->buffer ? (host_ptr ? CL_INVALID_HOST_PTR : CL_SUCCESS)
                        : mem_check_host_ptr(flags, host_ptr);
}

static cl_mem create(cl_context context, cl_mem_flags flags,
                     const cl_image_format *format, const cl_image_desc *desc,
                     void *host_ptr, cl_int *err)
{
    cl_mem buffer = NULL, mem;
    struct box box;

    *err = check(context, flags, format, desc, host_ptr, &box);
    if (*err != CL_SUCCESS) {
        return NULL;
    }
    buffer = desc->buffer;
    mem = mem_create(context, desc->image_type, flags, 0);
    if (mem) {
        mem->image = calloc(1, sizeof(*mem->image));
    }
    if (!mem || !mem->image) {
        *err = CL_OUT_OF_HOST_MEMORY;
        goto fail;
    }
    mem->image->format = *format;
    mem->image->desc = *desc;
    mem->image->element = element_size(format);
    mem->image->row_pitch = box.row_pitch;
    mem->image->slice_pitch = box.slice_pitch;
    mem->parent = buffer;
    cl_object_hold(buffer);
    *err = create_on_host(mem, buffer, host_ptr, &box);
    if (*err != CL_SUCCESS) {
        goto fail;
    }
    if (flags & CL_MEM_USE_HOST_PTR) {
        mem->host_ptr = host_ptr;
    } else if (buffer) {
        mem->flags |= buffer->flags & MEM_HOST_ACCESS_FLAGS;
    }
    return mem;

fail:
    if (mem) {
        cl_object_undo(mem);
    }
    return NULL;
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateImage(cl_context context,
                                              cl_mem_flags flags,
                                              const cl_image_format *format,
                                              const cl_image_desc *desc,
                                              void *host_ptr,
                                              cl_int *errcode_ret)
{
    cl_int err;
    cl_mem mem = create(context, flags, format, desc, host_ptr, &err);

    return cl_return(mem, err, errcode_ret);
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateImageWithProperties(
    cl_context context, const cl_mem_properties *properties,
    cl_mem_flags flags, const cl_image_format *format,
    const cl_image_desc *desc, void *host_ptr, cl_int *errcode_ret)
{
    cl_mem mem;

    if (mem_check_properties(properties) != CL_SUCCESS) {
        return cl_return(NULL, CL_INVALID_PROPERTY, errcode_ret);
    }
    mem = clCreateImage(context, flags, format, desc, host_ptr, errcode_ret);
    if (mem && properties) {
        mem->property_count = 1;
    }
    return mem;
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateImage2D(
    cl_context context, cl_mem_flags flags, const cl_image_format *format,
    size_t width, size_t height, size_t row_pitch, void *host_ptr,
    cl_int *errcode_ret)
{
    cl_image_desc desc = {
        .image_type = CL_MEM_OBJECT_IMAGE2D,
        .image_width = width,
        .image_height = height,
        .image_row_pitch = row_pitch,
    };
    cl_int err;
    cl_mem mem = create(context, flags, format, &desc, host_ptr, &err);

    if (err == CL_INVALID_IMAGE_DESCRIPTOR) {
        err = CL_INVALID_IMAGE_SIZE; /* what it was before OpenCL 1.2 */
    }
    return cl_return(mem, err, errcode_ret);
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateImage3D(
    cl_context context, cl_mem_flags flags, const cl_image_format *format,
    size_t width, size_t height, size_t depth, size_t row_pitch,
    size_t slice_pitch, void *host_ptr, cl_int *errcode_ret)
{
    cl_image_desc desc = {
        .image_type = CL_MEM_OBJECT_IMAGE3D,
        .image_width = width,
        .image_height = height,
        .image_depth = depth,
        .image_row_pitch = row_pitch,
        .image_slice_pitch = slice_pitch,
    };
    cl_int err;
    cl_mem mem = create(context, flags, format, &desc, host_ptr, &err);

    if (err == CL_INVALID_IMAGE_DESCRIPTOR) {
        err = CL_INVALID_IMAGE_SIZE;
    }
    return cl_return(mem, err, errcode_ret);
}

/* --- information ------------------------------------------------------------------ */

CL_API_ENTRY cl_int CL_API_CALL clGetSupportedImageFormats(
    cl_context context, cl_mem_flags flags, cl_mem_object_type image_type,
    cl_uint num_entries, cl_image_format *formats, cl_uint *num_formats)
{
    if (!cl_live(context, OPENCL_cl_context)) {
        return CL_INVALID_CONTEXT;
    }
    if (formats && !num_entries) {
        return CL_INVALID_VALUE;
    }
    return call_clGetSupportedImageFormats(
        context->obj.session, context->obj.id, flags, image_type,
        formats ? num_entries : 0, formats, num_formats);
}

CL_API_ENTRY cl_int CL_API_CALL clGetImageInfo(cl_mem image,
                                               cl_image_info param_name,
                                               size_t param_value_size,
                                               void *param_value,
                                               size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    const struct image *i;

    if (!cl_live(image, OPENCL_cl_mem) || !image->image) {
        return CL_INVALID_MEM_OBJECT;
    }
    i = image->image;
    switch (param_name) {
    case CL_IMAGE_FORMAT:
        return info_bytes(&out, &i->format, sizeof(i->format));
    case CL_IMAGE_ELEMENT_SIZE:
        return info_value(&out, size_t, i->element);
    case CL_IMAGE_ROW_PITCH:
        return info_value(&out, size_t, i->row_pitch);
    case CL_IMAGE_SLICE_PITCH:
        return info_value(&out, size_t,
                          image_has_slices(image) ? i->slice_pitch : 0);
    case CL_IMAGE_WIDTH:
        return info_value(&out, size_t, i->desc.image_width);
    case CL_IMAGE_HEIGHT:
        return info_value(&out, size_t, i->desc.image_height);
    case CL_IMAGE_DEPTH:
        return info_value(&out, size_t, i->desc.image_depth);
    case CL_IMAGE_ARRAY_SIZE:
        return info_value(&out, size_t, i->desc.image_array_size);
    case CL_IMAGE_BUFFER:
        return info_value(&out, cl_mem, image->parent);
    case CL_IMAGE_NUM_MIP_LEVELS:
    case CL_IMAGE_NUM_SAMPLES:
        return info_value(&out, cl_uint, 0);
    default:
        return CL_INVALID_VALUE;
    }
}

/* --- reading and writing ------------------------------------------------------------ */

cl_int send_read_image(struct transfer *t, bool blocking, void *dense,
                       const struct wire_span *span)
{
    struct command *c = t->command;
    const struct box *b = &t->box;

    return call_vclEnqueueReadImage(
        c->session, c->queue_id, t->mem->obj.id, blocking, t->origin, t->region,
        b->row, image_has_slices(t->mem) ? b->row * b->rows : 0, box_bytes(b),
        dense, span, c->waits, c->ids, c->event_id);
}

cl_int send_write_image(struct transfer *t, bool blocking, void *dense,
                        const struct wire_span *span)
{
    struct command *c = t->command;
    const struct box *b = &t->box;

    return call_vclEnqueueWriteImage(
        c->session, c->queue_id, t->mem->obj.id, blocking, t->origin, t->region,
        b->row, image_has_slices(t->mem) ? b->row * b->rows : 0, box_bytes(b),
        dense, c->waits, c->ids, c->event_id);
}

static cl_int prepare(struct command *c, struct transfer *t, cl_mem image,
                      bool write, const size_t *origin, const size_t *region,
                      size_t row_pitch, size_t slice_pitch, const void *ptr)
{
    cl_int err = command_mem(c, image, 0);

    if (err == CL_SUCCESS) {
        err = image_check_box(image, origin, region);
    }
    if (err == CL_SUCCESS && (!ptr || (slice_pitch &&
                                       !image_has_slices(image)))) {
        err = CL_INVALID_VALUE;
    }
    if (err == CL_SUCCESS && !mem_allows(image, write)) {
        err = CL_INVALID_OPERATION;
    }
    if (err != CL_SUCCESS) {
        return err;
    }
    *t = (struct transfer){ .command = c, .mem = image };
    memcpy(t->origin, origin, sizeof(t->origin));
    memcpy(t->region, region, sizeof(t->region));
    return image_box(image, region, row_pitch, slice_pitch, &t->box);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadImage(
    cl_command_queue queue, cl_mem image, cl_bool blocking,
    const size_t *origin, const size_t *region, size_t row_pitch,
    size_t slice_pitch, void *ptr, cl_uint num_events, const cl_event *events,
    cl_event *event)
{
    struct transfer t;
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_READ_IMAGE, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = prepare(&c, &t, image, false, origin, region, row_pitch, slice_pitch,
                  ptr);
    if (err == CL_SUCCESS) {
        t.send = send_read_image;
        err = transfer_read(&t, blocking, ptr);
    }
    return command_end(&c, err);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueWriteImage(
    cl_command_queue queue, cl_mem image, cl_bool blocking,
    const size_t *origin, const size_t *region, size_t row_pitch,
    size_t slice_pitch, const void *ptr, cl_uint num_events,
    const cl_event *events, cl_event *event)
{
    struct transfer t;
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, events,
                               CL_COMMAND_WRITE_IMAGE, event);

    if (err != CL_SUCCESS) {
        return err;
    }
    err = prepare(&c, &t, image, true, origin, region, row_pitch, slice_pitch,
                  ptr);
    if (err == CL_SUCCESS) {
        t.send = send_write_image;
        err = transfer_write(&t, blocking, ptr);
    }
    return command_end(&c, err);
}
