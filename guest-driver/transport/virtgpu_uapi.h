/*
 * The part of the virtio-gpu driver's ioctl interface that we use, as Linux has it
 * since 5.16. It is written down here because the headers that Debian 12 installs
 * (libdrm-dev) end before blobs and context init, and the kernel's own are not in
 * a fixed place; the interface itself never changes. Names are the kernel's,
 * in lower case, with our prefix.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VIRTGPU_UAPI_H
#define VIRTGPU_UAPI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#define VG_IOCTL(nr, type)     _IOWR('d', nr, type)
#define VG_IOCTL_VERSION       VG_IOCTL(0x00, struct vg_version)
#define VG_IOCTL_GEM_CLOSE     _IOW('d', 0x09, struct vg_gem_close)
#define VG_IOCTL_MAP           VG_IOCTL(0x41, struct vg_map)
#define VG_IOCTL_EXECBUFFER    VG_IOCTL(0x42, struct vg_execbuffer)
#define VG_IOCTL_GETPARAM      VG_IOCTL(0x43, struct vg_getparam)
#define VG_IOCTL_GET_CAPS      VG_IOCTL(0x49, struct vg_get_caps)
#define VG_IOCTL_CREATE_BLOB   VG_IOCTL(0x4a, struct vg_create_blob)
#define VG_IOCTL_CONTEXT_INIT  VG_IOCTL(0x4b, struct vg_context_init)

/* Which driver a device file belongs to. */
struct vg_version {
    int32_t major, minor, patch;
    size_t name_len;
    char *name;
    size_t date_len;
    char *date;
    size_t desc_len;
    char *desc;
};

struct vg_gem_close {
    uint32_t handle;
    uint32_t pad;
};

/* offset: what to mmap() the device file at, to see the memory of `handle`. */
struct vg_map {
    uint64_t offset;
    uint32_t handle;
    uint32_t pad;
};

enum {
    VG_EXECBUF_FENCE_FD_OUT = 0x02,
    VG_EXECBUF_RING_IDX = 0x04,
};

struct vg_execbuffer {
    uint32_t flags;
    uint32_t size;
    uint64_t command;
    uint64_t bo_handles;
    uint32_t num_bo_handles;
    int32_t fence_fd;
    uint32_t ring_idx;
    uint32_t pad;
};
static_assert(sizeof(struct vg_execbuffer) == 40, "the kernel's");

enum {
    VG_PARAM_3D_FEATURES = 1,
    VG_PARAM_RESOURCE_BLOB = 3,
    VG_PARAM_HOST_VISIBLE = 4,
    VG_PARAM_CONTEXT_INIT = 6,
    VG_PARAM_SUPPORTED_CAPSETS = 7,
};

/* value: the address of an int. */
struct vg_getparam {
    uint64_t param;
    uint64_t value;
};

struct vg_get_caps {
    uint32_t cap_set_id;
    uint32_t cap_set_ver;
    uint64_t addr;
    uint32_t size;
    uint32_t pad;
};

enum { VG_BLOB_MEM_HOST3D = 2, VG_BLOB_FLAG_MAPPABLE = 1 };

struct vg_create_blob {
    uint32_t blob_mem;
    uint32_t blob_flags;
    uint32_t bo_handle;
    uint32_t res_handle;
    uint64_t size;
    uint32_t pad;
    uint32_t cmd_size;
    uint64_t cmd;
    uint64_t blob_id;
};
static_assert(sizeof(struct vg_create_blob) == 48, "the kernel's");

enum { VG_CONTEXT_PARAM_CAPSET_ID = 1, VG_CONTEXT_PARAM_NUM_RINGS = 2 };

struct vg_context_param {
    uint64_t param;
    uint64_t value;
};

struct vg_context_init {
    uint32_t num_params;
    uint32_t pad;
    uint64_t params;
};

#endif
