/*
 * Images: every kind that the device has, read, written, filled, copied, mapped
 * and used by kernels.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

static const cl_image_format rgba8 = { CL_RGBA, CL_UNSIGNED_INT8 };

/* The kinds, and what a box of all of them covers. */
static const struct kind {
    cl_image_desc desc;
    size_t all[3];
} kinds[] = {
    { { .image_type = CL_MEM_OBJECT_IMAGE1D, .image_width = 33 },
      { 33, 1, 1 } },
    { { .image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 33,
        .image_height = 21 }, { 33, 21, 1 } },
    { { .image_type = CL_MEM_OBJECT_IMAGE3D, .image_width = 17,
        .image_height = 9, .image_depth = 5 }, { 17, 9, 5 } },
    { { .image_type = CL_MEM_OBJECT_IMAGE1D_ARRAY, .image_width = 19,
        .image_array_size = 7 }, { 19, 7, 1 } },
    { { .image_type = CL_MEM_OBJECT_IMAGE2D_ARRAY, .image_width = 19,
        .image_height = 11, .image_array_size = 4 }, { 19, 11, 4 } },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const size_t origin[3];

static size_t bytes_of(const struct kind *k)
{
    return 4 * k->all[0] * k->all[1] * k->all[2];
}

static cl_mem image_of(const struct kind *k, cl_mem_flags flags, void *data)
{
    cl_int err;
    cl_mem m = clCreateImage(rig.context, flags, &rgba8, &k->desc, data, &err);

    ok(err);
    return m;
}

static void expect_image(cl_mem m, const struct kind *k, const void *data)
{
    void *got = calloc(1, bytes_of(k));

    ok(clEnqueueReadImage(rig.queue, m, CL_TRUE, origin, k->all, 0, 0, got, 0,
                          NULL, NULL));
    assert_memory_equal(got, data, bytes_of(k));
    free(got);
}

static void written_images_are_read(void **state)
{
    for (size_t i = 0; i < KINDS; i++) {
        const struct kind *k = &kinds[i];
        uint8_t *data = malloc(bytes_of(k)), *got = calloc(1, bytes_of(k));
        cl_mem m = image_of(k, CL_MEM_READ_WRITE, NULL);

        for (int blocking = 0; blocking < 2; blocking++) {
            fill_random(data, bytes_of(k), (uint32_t)i);
            ok(clEnqueueWriteImage(rig.queue, m, blocking, origin, k->all, 0,
                                   0, data, 0, NULL, NULL));
            expect_image(m, k, data);
            ok(clEnqueueReadImage(rig.queue, m, CL_FALSE, origin, k->all, 0, 0,
                                  got, 0, NULL, NULL));
            ok(clFinish(rig.queue));
            assert_memory_equal(got, data, bytes_of(k));
        }
        ok(clReleaseMemObject(m));
        free(data);
        free(got);
    }
}

static void initial_contents_are_there(void **state)
{
    for (size_t i = 0; i < KINDS; i++) {
        const struct kind *k = &kinds[i];
        uint8_t *data = malloc(bytes_of(k));
        cl_mem m;

        fill_random(data, bytes_of(k), 10 + (uint32_t)i);
        m = image_of(k, CL_MEM_COPY_HOST_PTR, data);
        expect_image(m, k, data);
        ok(clReleaseMemObject(m));
        free(data);
    }
}

/* Rows in the program's memory lie further apart than they are long. */
static void gaps_are_left_alone(void **state)
{
    enum { W = 10, H = 6, PITCH = 64 };
    const size_t at[3] = { 3, 2, 0 }, region[3] = { W, H, 1 };
    uint8_t data[PITCH * H], got[PITCH * H];
    cl_mem m = image_of(&kinds[1], CL_MEM_READ_WRITE, NULL);

    fill_random(data, sizeof(data), 20);
    ok(clEnqueueWriteImage(rig.queue, m, CL_TRUE, at, region, PITCH, 0, data, 0,
                           NULL, NULL));
    for (int blocking = 0; blocking < 2; blocking++) {
        memset(got, 0xee, sizeof(got));
        ok(clEnqueueReadImage(rig.queue, m, blocking, at, region, PITCH, 0, got,
                              0, NULL, NULL));
        ok(clFinish(rig.queue));
        for (int y = 0; y < H; y++) {
            assert_memory_equal(got + y * PITCH, data + y * PITCH, W * 4);
            for (int x = W * 4; x < PITCH; x++) {
                assert_int_equal(got[y * PITCH + x], 0xee);
            }
        }
    }
    ok(clReleaseMemObject(m));
}

static void mapped_images(void **state)
{
    for (size_t i = 0; i < KINDS; i++) {
        const struct kind *k = &kinds[i];
        uint8_t *data = malloc(bytes_of(k)), *p;
        size_t row = 0, slice = 0;
        cl_int err;
        cl_mem m;

        fill_random(data, bytes_of(k), 30 + (uint32_t)i);
        m = image_of(k, CL_MEM_COPY_HOST_PTR, data);
        p = clEnqueueMapImage(rig.queue, m, CL_TRUE,
                              CL_MAP_READ | CL_MAP_WRITE, origin, k->all, &row,
                              &slice, 0, NULL, NULL, &err);
        ok(err);
        assert_memory_equal(p, data, k->all[0] * 4);
        /* The last row, wherever that lies. */
        p += k->desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY
                 ? (k->all[1] - 1) * slice
                 : (k->all[1] - 1) * row + (k->all[2] - 1) * slice;
        assert_memory_equal(p, data + bytes_of(k) - k->all[0] * 4,
                            k->all[0] * 4);
        memset(p, 9, k->all[0] * 4);
        memset(data + bytes_of(k) - k->all[0] * 4, 9, k->all[0] * 4);
        p -= k->desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY
                 ? (k->all[1] - 1) * slice
                 : (k->all[1] - 1) * row + (k->all[2] - 1) * slice;
        ok(clEnqueueUnmapMemObject(rig.queue, m, p, 0, NULL, NULL));
        expect_image(m, k, data);
        ok(clReleaseMemObject(m));
        free(data);
    }
}

static void filled_and_copied(void **state)
{
    const struct kind *k = &kinds[1];
    const cl_uint color[4] = { 1, 2, 3, 4 };
    const size_t at[3] = { 5, 6, 0 }, region[3] = { 8, 4, 1 };
    uint8_t *data = malloc(bytes_of(k)), *linear = calloc(1, 8 * 4 * 4);
    cl_mem m, n, b;

    fill_random(data, bytes_of(k), 40);
    m = image_of(k, CL_MEM_COPY_HOST_PTR, data);
    n = image_of(k, CL_MEM_READ_WRITE, NULL);
    b = buffer_of(0, 8 * 4 * 4, NULL);
    ok(clEnqueueFillImage(rig.queue, m, color, at, region, 0, NULL, NULL));
    for (size_t y = 0; y < 4; y++) {
        for (size_t x = 0; x < 8; x++) {
            uint8_t *p = data + 4 * (x + 5 + (y + 6) * 33);

            p[0] = 1, p[1] = 2, p[2] = 3, p[3] = 4;
            memcpy(linear + 4 * (x + y * 8), p, 4);
        }
    }
    expect_image(m, k, data);
    ok(clEnqueueCopyImage(rig.queue, m, n, origin, origin, k->all, 0, NULL,
                          NULL));
    expect_image(n, k, data);
    ok(clEnqueueCopyImageToBuffer(rig.queue, m, b, at, region, 0, 0, NULL,
                                  NULL));
    expect_bytes(b, 0, 8 * 4 * 4, linear);
    fill_random(linear, 8 * 4 * 4, 41);
    ok(clEnqueueWriteBuffer(rig.queue, b, CL_FALSE, 0, 8 * 4 * 4, linear, 0,
                            NULL, NULL));
    ok(clEnqueueCopyBufferToImage(rig.queue, b, n, 0, at, region, 0, NULL,
                                  NULL));
    for (size_t y = 0; y < 4; y++) {
        memcpy(data + 4 * (5 + (y + 6) * 33), linear + 4 * y * 8, 32);
    }
    expect_image(n, k, data);
    ok(clReleaseMemObject(m));
    ok(clReleaseMemObject(n));
    ok(clReleaseMemObject(b));
    free(data);
    free(linear);
}

static void kernels_sample(void **state)
{
    const char *source =
        "kernel void f(read_only image2d_t in, write_only image2d_t out,"
        " sampler_t s) { int2 p = (int2)(get_global_id(0), get_global_id(1));"
        " write_imageui(out, p, read_imageui(in, s, p + (int2)(1, 0))); }";
    const struct kind *k = &kinds[1];
    cl_kernel kernel = kernel_of(source, "f");
    cl_sampler s = clCreateSampler(rig.context, CL_FALSE,
                                   CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST,
                                   NULL);
    uint8_t *data = malloc(bytes_of(k)), *expected = malloc(bytes_of(k));
    cl_mem in, out;

    fill_random(data, bytes_of(k), 50);
    for (size_t y = 0; y < 21; y++) {
        for (size_t x = 0; x < 33; x++) {
            size_t from = x < 32 ? x + 1 : 32;

            memcpy(expected + 4 * (x + y * 33), data + 4 * (from + y * 33), 4);
        }
    }
    in = image_of(k, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, data);
    out = image_of(k, CL_MEM_WRITE_ONLY, NULL);
    ok(clSetKernelArg(kernel, 0, sizeof(in), &in));
    ok(clSetKernelArg(kernel, 1, sizeof(out), &out));
    ok(clSetKernelArg(kernel, 2, sizeof(s), &s));
    ok(clEnqueueNDRangeKernel(rig.queue, kernel, 2, NULL, k->all, NULL, 0, NULL,
                              NULL));
    expect_image(out, k, expected);
    ok(clReleaseMemObject(in));
    ok(clReleaseMemObject(out));
    ok(clReleaseSampler(s));
    ok(clReleaseKernel(kernel));
    free(data);
    free(expected);
}

/* Of every kind, each in every format that it has. */
static void every_format_keeps_its_bytes(void **state)
{
    static cl_image_format formats[500];
    uint8_t data[16 * 17 * 9 * 5], got[sizeof(data)];

    fill_random(data, sizeof(data), 60);
    for (size_t i = 0; i < KINDS; i++) {
        const struct kind *k = &kinds[i];
        const size_t few[3] = { 5, k->all[1] < 4 ? k->all[1] : 4,
                                k->all[2] < 3 ? k->all[2] : 3 };
        cl_uint n = 0;

        ok(clGetSupportedImageFormats(rig.context, CL_MEM_READ_WRITE,
                                      k->desc.image_type, 500, formats, &n));
        assert_in_range(n, 1, 500);
        for (cl_uint f = 0; f < n; f++) {
            size_t element = 0, bytes;
            cl_int err;
            cl_mem m = clCreateImage(rig.context, CL_MEM_READ_WRITE,
                                     &formats[f], &k->desc, NULL, &err);

            ok(err);
            ok(clGetImageInfo(m, CL_IMAGE_ELEMENT_SIZE, sizeof(element),
                              &element, NULL));
            assert_in_range(element, 1, 16);
            bytes = element * few[0] * few[1] * few[2];
            ok(clEnqueueWriteImage(rig.queue, m, f % 2, origin, few, 0, 0, data,
                                   0, NULL, NULL));
            memset(got, 0, bytes);
            ok(clEnqueueReadImage(rig.queue, m, CL_TRUE, origin, few, 0, 0, got,
                                  0, NULL, NULL));
            assert_memory_equal(got, data, bytes);
            ok(clReleaseMemObject(m));
        }
    }
}

/* Pixels that are the bytes of a buffer, which either may write. */
static void an_image_may_be_a_buffer(void **state)
{
    const struct kind k = { { .image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER,
                              .image_width = 64 }, { 64, 1, 1 } };
    cl_image_desc desc = k.desc;
    uint8_t data[256], other[256];
    cl_mem buffer, m, parent = NULL;
    cl_int err;

    fill_random(data, sizeof(data), 70);
    fill_random(other, sizeof(other), 71);
    desc.buffer = buffer = buffer_of(0, sizeof(data), data);
    m = clCreateImage(rig.context, CL_MEM_READ_WRITE, &rgba8, &desc, NULL,
                      &err);
    ok(err);
    ok(clGetImageInfo(m, CL_IMAGE_BUFFER, sizeof(parent), &parent, NULL));
    assert_ptr_equal(parent, buffer);
    expect_image(m, &k, data);
    ok(clEnqueueWriteImage(rig.queue, m, CL_TRUE, origin, k.all, 0, 0, other, 0,
                           NULL, NULL));
    expect_bytes(buffer, 0, sizeof(other), other);
    ok(clEnqueueWriteBuffer(rig.queue, buffer, CL_TRUE, 0, sizeof(data), data,
                            0, NULL, NULL));
    ok(clReleaseMemObject(buffer)); /* the image keeps it */
    expect_image(m, &k, data);
    ok(clReleaseMemObject(m));
}

static void samplers_know_what_they_are(void **state)
{
    const cl_sampler_properties list[] = {
        CL_SAMPLER_NORMALIZED_COORDS, CL_TRUE,
        CL_SAMPLER_ADDRESSING_MODE, CL_ADDRESS_MIRRORED_REPEAT,
        CL_SAMPLER_FILTER_MODE, CL_FILTER_LINEAR, 0,
    };
    cl_addressing_mode addressing = 0;
    cl_filter_mode filter = 0;
    cl_bool normalized = CL_FALSE;
    cl_uint refs = 0;
    cl_int err;
    cl_sampler s = clCreateSamplerWithProperties(rig.context, list, &err);

    ok(err);
    ok(clGetSamplerInfo(s, CL_SAMPLER_NORMALIZED_COORDS, sizeof(normalized),
                        &normalized, NULL));
    ok(clGetSamplerInfo(s, CL_SAMPLER_ADDRESSING_MODE, sizeof(addressing),
                        &addressing, NULL));
    ok(clGetSamplerInfo(s, CL_SAMPLER_FILTER_MODE, sizeof(filter), &filter,
                        NULL));
    assert_int_equal(normalized, CL_TRUE);
    assert_int_equal(addressing, CL_ADDRESS_MIRRORED_REPEAT);
    assert_int_equal(filter, CL_FILTER_LINEAR);
    ok(clRetainSampler(s));
    ok(clGetSamplerInfo(s, CL_SAMPLER_REFERENCE_COUNT, sizeof(refs), &refs,
                        NULL));
    assert_int_equal(refs, 2);
    ok(clReleaseSampler(s));
    ok(clReleaseSampler(s));
    assert_null(clCreateSampler(rig.context, CL_FALSE, CL_ADDRESS_REPEAT, 0x1,
                                &err));
    assert_int_equal(err, CL_INVALID_VALUE);
}

static void formats_and_info(void **state)
{
    static cl_image_format formats[500];
    cl_mem m = image_of(&kinds[2], CL_MEM_READ_WRITE, NULL);
    cl_image_format format;
    cl_uint n = 0, found = 0;
    size_t value;

    ok(clGetSupportedImageFormats(rig.context, CL_MEM_READ_WRITE,
                                  CL_MEM_OBJECT_IMAGE2D, 0, NULL, &n));
    assert_in_range(n, 1, 500);
    ok(clGetSupportedImageFormats(rig.context, CL_MEM_READ_WRITE,
                                  CL_MEM_OBJECT_IMAGE2D, n, formats, NULL));
    for (cl_uint i = 0; i < n; i++) {
        found += memcmp(&formats[i], &rgba8, sizeof(rgba8)) == 0;
    }
    assert_int_equal(found, 1);
    ok(clGetImageInfo(m, CL_IMAGE_FORMAT, sizeof(format), &format, NULL));
    assert_memory_equal(&format, &rgba8, sizeof(format));
    ok(clGetImageInfo(m, CL_IMAGE_DEPTH, sizeof(value), &value, NULL));
    assert_int_equal(value, 5);
    ok(clGetImageInfo(m, CL_IMAGE_ELEMENT_SIZE, sizeof(value), &value, NULL));
    assert_int_equal(value, 4);
    ok(clGetMemObjectInfo(m, CL_MEM_SIZE, sizeof(value), &value, NULL));
    assert_true(value >= 17 * 9 * 5 * 4);
    ok(clReleaseMemObject(m));
}

static void wrong_images_are_refused(void **state)
{
    cl_image_format bad = { CL_RGBA, 0x1234 };
    cl_image_desc desc = kinds[1].desc;
    const size_t at[3] = { 30, 0, 0 }, region[3] = { 10, 1, 1 };
    cl_mem m = image_of(&kinds[1], CL_MEM_READ_WRITE, NULL);
    uint8_t data[64];
    cl_int err;

    assert_null(clCreateImage(rig.context, 0, &bad, &desc, NULL, &err));
    if (is_remote()) { /* pocl has a code of its own */
        assert_int_equal(err, CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    }
    desc.image_width = 0;
    assert_null(clCreateImage(rig.context, 0, &rgba8, &desc, NULL, &err));
    assert_int_not_equal(err, CL_SUCCESS);
    assert_int_equal(clEnqueueReadImage(rig.queue, m, CL_TRUE, at, region, 0, 0,
                                        data, 0, NULL, NULL),
                     CL_INVALID_VALUE);
    ok(clReleaseMemObject(m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_images_are_read),
        cmocka_unit_test(initial_contents_are_there),
        cmocka_unit_test(gaps_are_left_alone),
        cmocka_unit_test(mapped_images),
        cmocka_unit_test(filled_and_copied),
        cmocka_unit_test(kernels_sample),
        cmocka_unit_test(every_format_keeps_its_bytes),
        cmocka_unit_test(an_image_may_be_a_buffer),
        cmocka_unit_test(samplers_know_what_they_are),
        cmocka_unit_test(formats_and_info),
        cmocka_unit_test(wrong_images_are_refused),
    };

    return cmocka_run_group_tests_name("images", tests, rig_up, rig_down);
}
