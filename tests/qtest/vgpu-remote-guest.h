/*
 * A guest's driver for vgpu-remote, as far as its tests need one: it has a
 * control queue, may have many commands open at once, and sees in which order
 * they are answered; and a cursor queue, whose commands have no answers.
 *
 * Places in the queue have their two descriptors and their buffers for good,
 * so that a command costs few accesses and nothing is ever used up.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VGPU_REMOTE_GUEST_H
#define VGPU_REMOTE_GUEST_H

#include "libqtest.h"
#include "libqos/malloc-pc.h"
#include "libqos/pci-pc.h"
#include "libqos/virtio-pci.h"
#include "standard-headers/linux/virtio_gpu.h"
#include "api/vgpu.h"

#define GUEST_SLOT    4      /* where the tests plug the device */
#define GUEST_PLACES  400
#define GUEST_REQUEST 4096   /* bytes of one at most */
#define GUEST_ANSWER  1536
#define GUEST_HOSTMEM (64u << 20)

typedef struct Guest {
    QTestState *qts;
    QGuestAllocator alloc;
    QPCIBus *bus;
    QVirtioPCIDevice *pci;
    QVirtQueue *vq, *cursor_vq;
    uint64_t mmio;     /* where BARs may be mapped, all of them anew */
    QPCIBar window;    /* the memory that blobs are mapped in */
    uint64_t features; /* as offered */

    uint64_t buffers;
    uint16_t avail, used, cursors;
    unsigned answered; /* commands, since the driver started */
    struct {
        bool open;
        bool done;
        unsigned order; /* the how manyth answer it was */
        uint32_t length;
    } place[GUEST_PLACES];
} Guest;

/** guest_start: QEMU with @device at GUEST_SLOT (NULL: none), and @more options. */
void guest_start(Guest *g, const char *device, const char *more);
void guest_stop(Guest *g);

/** guest_drive: reset the device and start driving it. guest_forget: stop that. */
void guest_drive(Guest *g);
void guest_forget(Guest *g);

/** guest_move: go on in another QEMU, which loads the state in @file. */
void guest_move(Guest *g, const char *device, const char *file);

/**
 * guest_send: put a command of @size bytes, with room for @answer bytes, into
 * the queue. Returns its place. guest_kick: tell the device.
 */
int guest_send(Guest *g, const void *request, size_t size, size_t answer);
void guest_kick(Guest *g);

/** guest_is_answered: whether the command at @place is, by now. */
bool guest_is_answered(Guest *g, int place);

/**
 * guest_wait: until the command at @place is answered, at most a minute.
 *
 * Copies the answer, and returns its type. The place is free again.
 * guest_order: the how manyth answer that was; ask before.
 */
uint32_t guest_wait(Guest *g, int place, void *answer, size_t size);
unsigned guest_order(Guest *g, int place);

/** guest_call: send, kick, and wait for an answer without data. */
uint32_t guest_call(Guest *g, const void *request, size_t size);

/** guest_cursor: a cursor command of @size bytes, taken before it returns. */
void guest_cursor(Guest *g, const void *request, size_t size);

/** guest_is_alive: whether the device answers GET_DISPLAY_INFO. */
bool guest_is_alive(Guest *g);

/* --- commands ------------------------------------------------------------ */

struct guest_wait_command {
    struct virtio_gpu_cmd_submit submit;
    struct vgpu_exec exec;
};

uint32_t guest_context_create(Guest *g, uint32_t ctx, uint32_t init);
uint32_t guest_context_destroy(Guest *g, uint32_t ctx);

/* Not kicked and not waited for: return the place. */
int guest_send_blob(Guest *g, uint32_t ctx, uint32_t resource, uint64_t blob,
                    uint64_t size);
int guest_send_map(Guest *g, uint32_t resource, uint64_t offset);
int guest_send_unmap(Guest *g, uint32_t resource);
int guest_send_unref(Guest *g, uint32_t resource);
int guest_send_flush(Guest *g, uint32_t resource, struct virtio_gpu_rect r,
                     uint32_t flags);
int guest_send_wait(Guest *g, uint32_t ctx, uint32_t ring, uint32_t seq,
                    uint64_t fence);

/** guest_send_simple: a command of @type that names a resource, and no more. */
int guest_send_simple(Guest *g, uint32_t type, uint32_t ctx, uint32_t resource);

/** guest_do: kick, and wait for the command at @place. Returns the answer's type. */
uint32_t guest_do(Guest *g, int place);

/** guest_capset_info: what is offered at @index. A refusal leaves @info alone. */
uint32_t guest_capset_info(Guest *g, uint32_t index,
                           struct virtio_gpu_resp_capset_info *info);

/** guest_attach_backing: @n pieces of the guest's memory, in the order of @e. */
uint32_t guest_attach_backing(Guest *g, uint32_t resource,
                              const struct virtio_gpu_mem_entry *e, uint32_t n);
uint32_t guest_detach_backing(Guest *g, uint32_t resource);

/**
 * guest_show: that part of the resource on @head; resource 0 ends it.
 * guest_flush: that part of it has changed.
 */
uint32_t guest_show(Guest *g, uint32_t head, uint32_t resource,
                    struct virtio_gpu_rect r);
uint32_t guest_flush(Guest *g, uint32_t resource, struct virtio_gpu_rect r);

#endif
