/*
 * The session protocol: what a client (the device in QEMU, or the shim over a
 * socket) and vgpu-remoted say to each other outside of shared memory.
 *
 * Theory of operation. A client connects to the server's SOCK_SEQPACKET socket
 * and says HELLO. For each context it makes a socket pair and an eventfd, and
 * sends CONTEXT_CREATE with one end of the pair (the worker's) and the eventfd
 * (the context's doorbell). Nothing is answered: the server starts a worker which
 * takes over that end, and the client may use its own end at once. If no worker
 * can be had, LOST with a reason arrives on that end, and then end of file.
 * VIRGL_CREATE does the same for a worker that serves a whole VM (virgl.h),
 * VENUS_CREATE for one whose context is of the guest's Vulkan driver (venus.h).
 * Closing the client's end is how a context is destroyed, and a context outlives
 * neither that end nor the client's connection to the server.
 *
 * On a context's socket the client asks for blobs and gets them as sealed
 * memfds, and hands over one eventfd per ring (slot) that it is going to sleep
 * on. Requests are answered in order, each by a thread that does nothing else, so
 * a client may wait for one, with a time limit.
 *
 * Every packet is one struct with no padding, little-endian; fds travel as
 * SCM_RIGHTS, as many as the table in proto.c says. A packet of another size, with
 * another number of fds or of an unknown type closes the connection that it came on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROTO_H
#define PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

#define PROTO_MAGIC    0x4f544f4d45525647ull
#define PROTO_FDS_MAX  2
#define PROTO_TEXT_MAX 256

enum proto_type {
    /* client -> server */
    PROTO_HELLO = 1,
    PROTO_CONTEXT_CREATE = 2, /* fds: the worker's end, the doorbell */
    PROTO_STATUS = 3,         /* how much is in use; any client may ask */
    PROTO_VIRGL_CREATE = 4,   /* as CONTEXT_CREATE, for a VM's virgl worker */
    PROTO_VENUS_CREATE = 5,   /* the same, for a Venus context */
    /* server -> client */
    PROTO_WELCOME = 16,
    PROTO_STATUS_REPLY = 17,
    /* client -> worker */
    PROTO_BLOB_CREATE = 32,
    PROTO_BLOB_DESTROY = 33,
    PROTO_RING_EVENT = 34, /* fd: the eventfd to signal for this ring */
    PROTO_BLOB_IMPORT = 35, /* fd: a dmabuf; for a virgl worker only */
    /* worker -> client */
    PROTO_BLOB_CREATED = 48, /* fd: the memfd, if and only if status is 0 */
    PROTO_LOST = 49,
    PROTO_BLOB_IMPORTED = 50,
    PROTO_EXPORTED = 51, /* fd: the dmabuf; of a virgl worker */
};

/* Who a client is, for the server's log and its budgets. */
enum proto_role { PROTO_ROLE_PROGRAM = 1, PROTO_ROLE_DEVICE = 2 };

struct proto_hello {
    uint32_t type;
    uint32_t version; /* VGPU_PROTOCOL_VERSION */
    uint64_t magic;   /* PROTO_MAGIC */
    uint32_t role;    /* enum proto_role */
    uint32_t reserved;
    char name[VGPU_NAME_MAX]; /* the VM's or the program's, NUL-terminated */
};

/* Sent also to a client of another version, before the connection is closed. */
struct proto_welcome {
    uint32_t type;
    uint32_t version; /* of the server */
    uint32_t status;  /* 0, or an errno value: the client is not served */
    uint32_t reserved;
    uint64_t memory_max; /* bytes that all blobs of this client may have */
};

/* Also PROTO_VIRGL_CREATE and PROTO_VENUS_CREATE. */
struct proto_context_create {
    uint32_t type;
    uint32_t context; /* the client's number for it, for logs */
    char name[VGPU_NAME_MAX];
};

struct proto_status {
    uint32_t type;
    uint32_t reserved;
};

/* What the server holds now, over all clients. */
struct proto_status_reply {
    uint32_t type;
    uint32_t clients;
    uint32_t contexts; /* = worker processes */
    uint32_t fds;      /* open in the server itself */
    uint64_t contexts_total; /* ever made */
};

struct proto_blob_create {
    uint32_t type;
    uint32_t reserved;
    uint64_t blob; /* VGPU_BLOB_RING, or the guest's choice */
    uint64_t size; /* bytes, rounded up to whole pages by the worker */
};

struct proto_blob_destroy {
    uint32_t type;
    uint32_t reserved;
    uint64_t blob;
};

/* Memory of the client's own, to be read under this id until BLOB_DESTROY. */
struct proto_blob_import {
    uint32_t type;
    uint32_t reserved;
    uint64_t blob;
    uint64_t size; /* bytes of the dmabuf, whole pages */
};

struct proto_ring_event {
    uint32_t type;
    uint32_t ring; /* 0..VGPU_RINGS_MAX-1 */
};

struct proto_blob_created {
    uint32_t type;
    uint32_t status; /* 0, or an errno value and no fd */
    uint64_t blob;
    uint64_t size;   /* bytes of the blob; the memfd is sealed against resizing */
    uint64_t offset; /* of the blob in the memfd, whole pages; 0 but for Venus */
};

struct proto_blob_imported {
    uint32_t type;
    uint32_t status; /* 0, or an errno value: it has not been taken */
    uint64_t blob;
};

/* Comes before the completion of the VIRGL_PICTURE that asked, and only if that is 0. */
struct proto_exported {
    uint32_t type;
    uint32_t resource;
    uint32_t serial; /* the message's */
    uint32_t fourcc; /* of DRM: one plane, whose first row begins at byte 0 */
    uint32_t stride;
    uint32_t reserved;
    uint64_t modifier;
};

struct proto_lost {
    uint32_t type;
    uint32_t why; /* enum ring_fatal */
    char text[PROTO_TEXT_MAX]; /* a sentence, NUL-terminated */
};

union proto_any {
    uint32_t type;
    struct proto_hello hello;
    struct proto_welcome welcome;
    struct proto_context_create context_create;
    struct proto_status status;
    struct proto_status_reply status_reply;
    struct proto_blob_create blob_create;
    struct proto_blob_destroy blob_destroy;
    struct proto_blob_import blob_import;
    struct proto_ring_event ring_event;
    struct proto_blob_created blob_created;
    struct proto_blob_imported blob_imported;
    struct proto_exported exported;
    struct proto_lost lost;
};

/**
 * proto_send: send the packet @m, whose `type` says how long it is, with @n fds.
 *
 * The fds stay the caller's. Never blocks on a full socket: a peer that does
 * not read is given up. Returns 0 or -errno (-EAGAIN when full, -EPIPE when gone).
 */
int proto_send(int sock, const void *m, const int *fds, size_t n);

/**
 * proto_recv: receive one packet into @m and its fds into @fds.
 *
 * Returns 1; 0 at end of file (-ECONNRESET if the peer had not read everything
 * when it closed); -EAGAIN if @sock is non-blocking and nothing is
 * there; -EPROTO if it is not a packet of this protocol (any fds that came with it
 * are closed); or another -errno. @fds gets exactly the number that belongs to the
 * type, the rest is -1; they are the caller's to close, with FD_CLOEXEC set.
 * Texts and names are NUL-terminated on return.
 */
int proto_recv(int sock, union proto_any *m, int fds[PROTO_FDS_MAX]);

/**
 * proto_check_blob: whether @fd is memory of at least @size bytes, of ordinary
 * pages, that nobody can shrink any more, so that mapping it cannot end in SIGBUS.
 * Its last page counts as a whole one: behind the end there are zeros.
 *
 * Returns 0 or -errno.
 */
int proto_check_blob(int fd, uint64_t size);

/**
 * proto_check_dmabuf: whether @fd is a dmabuf of exactly @size bytes, which nobody
 * can shrink.
 *
 * Returns 0 or -errno.
 */
int proto_check_dmabuf(int fd, uint64_t size);

#endif
