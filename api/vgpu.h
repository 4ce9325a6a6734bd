/*
 * What every part of vgpu-remote agrees on: the protocol version, the capset
 * a guest reads to learn that it may talk to us, and the limits that each side
 * checks for itself.
 *
 * Included by the device, the server and the guest's shim; libc only.
 * The normative text is docs/specs/device.rst and docs/specs/wire.rst.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VGPU_H
#define VGPU_H

#include <assert.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "shared memory and messages are little-endian");

/*
 * Two parts understand each other when these are equal. Raised by any change
 * to proto.h, ring.h, wire.h, or to the meaning of an existing call.
 */
#define VGPU_PROTOCOL_VERSION 4

/*
 * Our virtio-gpu capability set. Stock kernels keep the ids they have seen in
 * 32 bits, so an id must be 1..30; those below 11 are taken (virgl, venus, ...).
 */
#define VGPU_CAPSET_ID      28
#define VGPU_CAPSET_VERSION 1
#define VGPU_CAPSET_MAGIC   0x55504756u /* "VGPU" */

/*
 * The capset's contents: what the device can tell before any worker runs. A
 * guest kernel caches it for the life of its driver, so it holds nothing that
 * could differ after a migration.
 */
struct vgpu_capset {
    uint32_t magic;            /* VGPU_CAPSET_MAGIC */
    uint32_t protocol_version; /* VGPU_PROTOCOL_VERSION of the device */
    uint64_t memory_max;       /* bytes that a guest's programs can share with the host */
    uint32_t reserved[12];     /* zero */
};
static_assert(sizeof(struct vgpu_capset) == 64, "part of the device's interface");

/* APIs that a context may be asked to serve: `api` of a message's header. */
enum vgpu_api {
    VGPU_API_SESSION = 0, /* the session itself: see wire.h */
    VGPU_API_OPENCL = 1,
    VGPU_API_VIRGL = 2, /* a whole VM's: see virgl.h */
    VGPU_API_VENUS = 3, /* Vulkan of a guest's own driver: see venus.h */
    VGPU_API_COUNT,
};

/* Blob ids: the ring, and from VGPU_BLOB_FIRST on the guest's own choice. */
#define VGPU_BLOB_RING  1
#define VGPU_BLOB_FIRST 2

/* A context's limits. The server may set smaller ones, never larger. */
#define VGPU_RINGS_MAX       64          /* virtio-gpu's rings: 0 and the reply slots */
#define VGPU_BLOBS_MAX       4096        /* blobs of one context */
#define VGPU_BLOB_SIZE_MAX   (1ull << 32)/* bytes of one blob */
#define VGPU_OBJECTS_MAX     (1u << 20)  /* API objects of one context */
#define VGPU_NAME_MAX        64          /* a program's name, with its NUL */

/*
 * The payload of an EXECBUFFER on a context of ours. A submission without
 * payload is the doorbell. One that waits must carry a fence on ring `ring`
 * (the same number as the command's ring_idx); the fence is done as soon as
 * ring_slot_is_done(slot[ring], seq), see ring.h.
 */
enum vgpu_exec_op { VGPU_EXEC_WAIT = 1 };

struct vgpu_exec {
    uint32_t op; /* enum vgpu_exec_op */
    uint32_t ring;
    uint32_t seq;
    uint32_t reserved; /* zero */
};
static_assert(sizeof(struct vgpu_exec) == 16, "part of the device's interface");

#endif
