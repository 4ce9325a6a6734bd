/*
 * The extensions that cross. Most add only words to the kernel language, names to an
 * info function, or options to the compiler, and cross by themselves. Those that
 * share memory or objects with another API or with the program's own address space
 * do not, and neither do those with functions that are not described.
 *
 * SPDX-License-Identifier: MIT
 */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

static const char *const passed[] = {
    "cl_khr_3d_image_writes",
    "cl_khr_async_work_group_copy_fence",
    "cl_khr_byte_addressable_store",
    "cl_khr_create_command_queue",
    "cl_khr_depth_images",
    "cl_khr_device_uuid",
    "cl_khr_expect_assume",
    "cl_khr_extended_async_copies",
    "cl_khr_extended_bit_ops",
    "cl_khr_extended_versioning",
    "cl_khr_fp16",
    "cl_khr_fp64",
    "cl_khr_global_int32_base_atomics",
    "cl_khr_global_int32_extended_atomics",
    "cl_khr_il_program",
    "cl_khr_image2d_from_buffer",
    "cl_khr_int64_base_atomics",
    "cl_khr_int64_extended_atomics",
    "cl_khr_integer_dot_product",
    "cl_khr_local_int32_base_atomics",
    "cl_khr_local_int32_extended_atomics",
    "cl_khr_pci_bus_info",
    "cl_khr_select_fprounding_mode",
    "cl_khr_spir",
    "cl_khr_spirv_extended_debug_info",
    "cl_khr_spirv_linkonce_odr",
    "cl_khr_spirv_no_integer_wrap_decoration",
    "cl_khr_subgroup_ballot",
    "cl_khr_subgroup_clustered_reduce",
    "cl_khr_subgroup_extended_types",
    "cl_khr_subgroup_named_barrier",
    "cl_khr_subgroup_non_uniform_arithmetic",
    "cl_khr_subgroup_non_uniform_vote",
    "cl_khr_subgroup_rotate",
    "cl_khr_subgroup_shuffle",
    "cl_khr_subgroup_shuffle_relative",
    "cl_khr_subgroups",
    "cl_khr_suggested_local_work_size",
    "cl_khr_work_group_uniform_arithmetic",
    "cl_amd_device_attribute_query",
    "cl_amd_fp64",
    "cl_amd_media_ops",
    "cl_amd_media_ops2",
    "cl_amd_popcnt",
    "cl_amd_printf",
    "cl_amd_vec3",
    "cl_arm_core_id",
    "cl_arm_integer_dot_product_accumulate_int8",
    "cl_arm_integer_dot_product_int8",
    "cl_ext_cxx_for_opencl",
    "cl_ext_float_atomics",
    "cl_intel_bfloat16_conversions",
    "cl_intel_device_attribute_query",
    "cl_intel_media_block_io",
    "cl_intel_required_subgroup_size",
    "cl_intel_spirv_subgroups",
    "cl_intel_split_work_group_barrier",
    "cl_intel_subgroup_local_block_io",
    "cl_intel_subgroup_matrix_multiply_accumulate",
    "cl_intel_subgroups",
    "cl_intel_subgroups_char",
    "cl_intel_subgroups_long",
    "cl_intel_subgroups_short",
    "cl_nv_compiler_options",
    "cl_nv_device_attribute_query",
    "cl_nv_pragma_unroll",
};

/* The part of OpenCL C 3.0 that needs a queue on the device. */
#define REFUSED_FEATURE "__opencl_c_device_enqueue"
#define FEATURE         "__opencl_c_"

static bool is_name(const char *name, size_t n, const char *of)
{
    return strlen(of) == n && memcmp(of, name, n) == 0;
}

static bool is_passed(const char *name, size_t n, cl_device_id device)
{
    if (is_name(name, n, "cl_khr_command_buffer")) {
        return device && device->command_buffers;
    }
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        if (is_name(name, n, passed[i])) {
            return true;
        }
    }
    return n >= strlen(FEATURE) && memcmp(name, FEATURE, strlen(FEATURE)) == 0 &&
           !is_name(name, n, REFUSED_FEATURE);
}

cl_int filter_extensions(const struct info_out *out, const char *text,
                         size_t size, cl_device_id device)
{
    static const char icd[] = "cl_khr_icd";
    char *kept = malloc(size + sizeof(icd) + 2), *to = kept;
    const char *end = text + strnlen(text, size);
    cl_int err;

    if (!kept) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    if (!device) {
        to = stpcpy(to, icd);
    }
    while (text < end) {
        size_t n = 0;

        while (text + n < end && text[n] != ' ') {
            n++;
        }
        if (n && is_passed(text, n, device)) {
            if (to > kept) {
                *to++ = ' ';
            }
            memcpy(to, text, n);
            to += n;
        }
        text += n + 1;
    }
    *to = '\0';
    err = info_string(out, kept);
    free(kept);
    return err;
}

cl_int filter_versions(const struct info_out *out, const void *list,
                       size_t size, cl_device_id device)
{
    const cl_name_version *from = list;
    size_t n = size / sizeof(*from), kept = 0;
    cl_name_version *to = calloc(n + 1, sizeof(*to));
    cl_int err;

    if (!to) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    if (!device) {
        to[kept].version = CL_MAKE_VERSION(1, 0, 0);
        strcpy(to[kept++].name, "cl_khr_icd");
    }
    for (size_t i = 0; i < n; i++) {
        if (is_passed(from[i].name,
                      strnlen(from[i].name, sizeof(from[i].name)), device)) {
            to[kept++] = from[i];
        }
    }
    err = info_bytes(out, to, kept * sizeof(*to));
    free(to);
    return err;
}
