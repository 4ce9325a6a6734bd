/*
 * What the two hand-written halves of OpenCL agree on beside the calls of
 * opencl.api.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPENCL_KINDS_H
#define OPENCL_KINDS_H

/* What a kernel's argument takes: answered by vclCreateKernel. */
enum opencl_arg_kind {
    OPENCL_ARG_UNKNOWN = 0, /* the host's OpenCL does not say */
    OPENCL_ARG_VALUE = 1,
    OPENCL_ARG_LOCAL = 2,
    OPENCL_ARG_MEM = 3, /* a buffer or image */
    OPENCL_ARG_SAMPLER = 4,
};

/*
 * The guest's files that a build includes. The host's compiler sees no file of
 * the guest, so the shim sends them before with vclPutFile, each under its absolute
 * path in the guest. In build options such a path begins with OPENCL_GUEST_FILES,
 * wherever it stands (-I/vgpu-guest/usr/share/x, -DPATH=/vgpu-guest/usr/share/x);
 * the worker puts its own directory there. Other include paths are ignored.
 */
#define OPENCL_GUEST_FILES     "/vgpu-guest"
#define OPENCL_GUEST_FILES_MAX 4096u        /* files of one context */
#define OPENCL_GUEST_BYTES_MAX (64u << 20)  /* in all of them */

#endif
