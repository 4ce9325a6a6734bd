/*
 * The table of formats against virglrenderer's own: each format that it makes a
 * texture of must have the rows that the table says. What it does not support on this
 * host cannot be compared.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <virglrenderer.h>

#include "virgl_format.h"

#define FORMATS 322 /* of virglrenderer 0.10 */
#define WIDTH   120 /* of whole blocks, whatever the format */

static void rows_are_as_the_renderer_says(void **state)
{
    unsigned compared = 0;

    for (uint32_t format = 1; format < FORMATS; format++) {
        struct virgl_renderer_resource_create_args args = {
            .handle = format, .target = 2, .format = format,
            .bind = 1u << 3, /* to be sampled */
            .width = WIDTH, .height = WIDTH, .depth = 1, .array_size = 1,
        };
        struct virgl_renderer_resource_info info = { 0 };
        struct virgl_block block = virgl_format_block(format);

        if (virgl_renderer_resource_create(&args, NULL, 0) != 0) {
            continue;
        }
        /* It fills in what it knows also where it returns an error. */
        virgl_renderer_resource_get_info((int)format, &info);
        virgl_renderer_resource_unref(format);
        if (block.bytes && info.stride != WIDTH / block.w * block.bytes) {
            fail_msg("format %u: rows of %u bytes, the table has blocks of %ux%u "
                     "pixels and %u bytes", format, info.stride, block.w,
                     block.h, block.bytes);
        }
        compared += block.bytes != 0;
    }
    assert_true(compared > 50);
}

int main(void)
{
    static struct virgl_renderer_callbacks callbacks = { .version = 1 };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_as_the_renderer_says),
    };

    if (virgl_renderer_init(&callbacks, VIRGL_RENDERER_USE_EGL |
                            VIRGL_RENDERER_USE_SURFACELESS, &callbacks)) {
        printf("no EGL without a window, or no OpenGL, is there\n");
        return 77;
    }
    return cmocka_run_group_tests_name("virgl formats", tests, NULL, NULL);
}
