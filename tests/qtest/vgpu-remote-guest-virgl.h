/*
 * What a guest's driver for virgl sends: resources and what contexts may use
 * of them, transfers, submissions, and blobs of the guest's own memory. Their
 * pages lie at PAGES, the later half first: what takes them for one piece of
 * memory is found out.
 *
 * As in vgpu-remote-guest.h, what is called guest_send_... is neither kicked nor
 * waited for, and returns its place; the others return the answer's type.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VGPU_REMOTE_GUEST_VIRGL_H
#define VGPU_REMOTE_GUEST_VIRGL_H

#include "vgpu-remote-guest.h"

#define TEX     10 /* resource ids: a texture */
#define SOURCE  90 /* memory of the guest's alone */
#define PAGES   (64u << 20) /* guest memory for backings, far from all else */
#define FENCED  VIRTIO_GPU_FLAG_FENCE
#define ON_RING (VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX)

#define TO_HOST   VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D
#define FROM_HOST VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D

/* --- resources ----------------------------------------------------------- */

/**
 * guest_texture: what makes one of 4 bytes a pixel and one level.
 * guest_staging: what makes a buffer that is nothing but the guest's pages.
 * A test may change it before it sends it.
 */
struct virtio_gpu_resource_create_3d guest_texture(uint32_t id, uint32_t w,
                                                   uint32_t h);
struct virtio_gpu_resource_create_3d guest_staging(uint32_t id, uint32_t bytes);

/** guest_create_texture: send a guest_texture(). */
uint32_t guest_create_texture(Guest *g, uint32_t id, uint32_t w, uint32_t h);

/** guest_attach_halves: @size bytes at PAGES, the later half first. */
uint32_t guest_attach_halves(Guest *g, uint32_t id, uint32_t size);

/**
 * guest_fill_pages: the @size bytes at PAGES are guest_page_byte() of where they
 * lie and @first: none is as the one 256 bytes further, or 512.
 */
void guest_fill_pages(Guest *g, uint32_t size, uint8_t first);
uint8_t guest_page_byte(uint32_t at, uint8_t first);

/** guest_attach: let @ctx use the resource. guest_detach: no longer. */
uint32_t guest_attach(Guest *g, uint32_t ctx, uint32_t id);
uint32_t guest_detach(Guest *g, uint32_t ctx, uint32_t id);

/** guest_send_transfer: @type is TO_HOST or FROM_HOST; @flags may be FENCED. */
int guest_send_transfer(Guest *g, uint32_t type, uint32_t ctx, uint32_t id,
                        struct virtio_gpu_box box, uint64_t offset,
                        uint32_t stride, uint32_t flags);

/* --- submissions --------------------------------------------------------- */

/**
 * guest_send_counting: a submission of @n bytes, which count up from 0. It says
 * that they are @size. @hdr needs no type.
 */
int guest_send_counting(Guest *g, struct virtio_gpu_ctrl_hdr hdr, uint32_t size,
                        uint32_t n);

/** guest_send_submit: the same, of @size bytes, but no more than GUEST_SUBMIT. */
#define GUEST_SUBMIT 256u
int guest_send_submit(Guest *g, uint32_t ctx, uint32_t size, uint32_t flags,
                      uint32_t ring, uint64_t fence);
uint32_t guest_submit(Guest *g, uint32_t ctx, uint32_t size);

/** guest_send_words: a stream of commands, with a fence if @fence is not 0. */
int guest_send_words(Guest *g, uint32_t ctx, const uint32_t *words, uint32_t n,
                     uint64_t fence);

/* --- blobs of guest memory ----------------------------------------------- */

#define BLOB_BYTES 8192

typedef struct GuestBlob {
    struct virtio_gpu_resource_create_blob c;
    struct virtio_gpu_mem_entry e[2];
} GuestBlob;

/**
 * guest_blob: what makes one, as of a guest without a mistake, for context 1.
 * A test may change it before guest_create_blob().
 */
GuestBlob guest_blob(uint32_t id);
uint32_t guest_create_blob(Guest *g, const GuestBlob *b);

/** guest_add_blob: both, and it must succeed. */
void guest_add_blob(Guest *g, uint32_t id);

/** guest_blob_at: where byte @at of it is in the guest's memory. */
uint64_t guest_blob_at(uint32_t at);

#endif
