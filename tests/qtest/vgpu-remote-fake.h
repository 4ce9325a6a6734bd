/*
 * A vgpu-remoted in the test's own process: it answers only when the test says
 * so, and lies when the test wants it to.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef VGPU_REMOTE_FAKE_H
#define VGPU_REMOTE_FAKE_H

#include "api/proto.h"
#include "api/ring.h"

typedef struct Fake {
    char *dir, *path; /* of the socket */
    char *option;     /* "server=unix:PATH" */
    int listener;
    int conn;         /* the device, once it was accepted; -1 */
    uint64_t memory_max; /* what it may have, it is told */
} Fake;

/* A context, as its worker sees it. */
typedef struct FakeContext {
    int sock, doorbell;
    uint32_t id;
    char name[VGPU_NAME_MAX];
    void *ring; /* header, slots and replies, once made by fake_ring() */
    int event[VGPU_RINGS_MAX];
} FakeContext;

void fake_start(Fake *f);
void fake_stop(Fake *f);

/** fake_accept: take the device's connection and its HELLO. Answers nothing. */
void fake_accept(Fake *f);

/** fake_welcome: accept, and welcome the device. */
void fake_welcome(Fake *f);

/** fake_die: end the connection to the device. It listens on. */
void fake_die(Fake *f);

/** fake_has_context: whether the device asked for one. fake_context: take it. */
bool fake_has_context(Fake *f);
void fake_context(Fake *f, FakeContext *c);
void fake_venus_context(Fake *f, FakeContext *c);
void fake_context_die(FakeContext *c);

/** fake_is_closed: whether @sock ends, within a minute, after what is still in it. */
bool fake_is_closed(int sock);

/** fake_recv: the next packet, which must be of @type; its fd, or -1. */
int fake_recv(int sock, uint32_t type, union proto_any *m);

/** fake_memfd: memory as a worker makes it. */
int fake_memfd(uint64_t size, bool sealed);

/**
 * fake_blob: take the BLOB_CREATE that must be next, and answer it with
 * memory, which is mapped here, too, at what is returned: @size bytes, unmap
 * it yourself.
 */
void *fake_blob(FakeContext *c, uint64_t *size);

/** fake_created: send BLOB_CREATED; @fd, if there is one, stays the caller's. */
void fake_created(FakeContext *c, uint64_t blob, uint64_t size, uint32_t status,
                  int fd);

/** fake_ring: like fake_blob, for the ring: formatted. */
void fake_ring(FakeContext *c);

/**
 * fake_consume: the next message, into @message, within a minute; the device is
 * told by @event if it waits for room.
 */
void fake_consume(struct ring_consumer *c, void *message, int event);

/** fake_take_event: receive the eventfd of ring @n. */
void fake_take_event(FakeContext *c, uint32_t n);

/** fake_post: slot @n has reached @seq; signal if somebody waits. */
void fake_post(FakeContext *c, uint32_t n, uint32_t seq);

#endif
