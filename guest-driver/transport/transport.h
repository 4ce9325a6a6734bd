/*
 * How a session reaches its worker: one table of operations per kind of path.
 *
 *   unix     straight to a vgpu-remoted on this host: containers, tests
 *   virtgpu  through the render node of a vgpu-remote device: a VM
 *
 * A transport knows nothing of messages. It opens a context, gives blobs as
 * mappings, rings the doorbell, and blocks until a reply slot is done.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

struct transport;

struct transport_blob {
    uint64_t id;     /* VGPU_BLOB_RING or larger */
    void *map;       /* page-aligned, shared, read-write */
    size_t size;     /* bytes, whole pages */
    uint32_t handle; /* the transport's own */
};

struct transport_ops {
    const char *name;

    /*
     * Open a context at @address (a socket's or device's path, NULL for the
     * default). Returns NULL and a sentence in @why, at most @n bytes; an empty
     * one if there just is no such device here.
     */
    struct transport *(*open)(const char *address, char *why, size_t n);

    /* Close the context, and with it everything it has on the host. */
    void (*close)(struct transport *t);

    /*
     * In a child of fork(): forget the parent's context without disturbing it
     * (close fds, unmap nothing that the parent's memory refers to).
     */
    void (*abandon)(struct transport *t);

    /* Make blob b->id of b->size bytes and map it. Returns 0 or -errno. */
    int (*blob_create)(struct transport *t, struct transport_blob *b);
    void (*blob_destroy)(struct transport *t, struct transport_blob *b);

    /* Wake the worker. Returns 0 or -errno. Any thread, no lock held needed. */
    int (*doorbell)(struct transport *t);

    /*
     * Block until slot @ring of the ring at @ring_map has reached @seq, or the
     * context is lost. Any number of threads, each with a slot of its own (slot 0:
     * one thread at a time). Returns 0, or -EPIPE if the context is lost.
     */
    int (*wait)(struct transport *t, void *ring_map, uint32_t ring,
                uint32_t seq);

    /* The bytes that all blobs can have; others may have some of them. */
    uint64_t (*memory_max)(struct transport *t);
};

extern const struct transport_ops transport_unix;
extern const struct transport_ops transport_virtgpu;

#endif
