/*
 * What a session is made of: for the files of core/ alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IMPL_H
#define IMPL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "bulk.h"
#include "ring.h"
#include "session.h"
#include "transport.h"

/* One blob of ours: a slab of the pool, or a region. */
struct shared_blob {
    struct transport_blob blob;
    struct extent *free; /* a slab's holes, sorted by offset; NULL in a region */
    size_t used;         /* bytes given out */
    bool slab;
    bool spare;               /* a region that could do without */
    struct shared_blob *next; /* in `doomed` */
    uint32_t tail;            /* the ring's when it was given up */
};

#define BLOBS_MAX 1024

/* Of the reply slots that long waits leave; see compile_begin(). */
#define COMPILES_MOST 8

struct session {
    /* Constant after open. */
    const struct transport_ops *ops;
    struct transport *transport;
    struct transport_blob ring;
    unsigned off; /* a bit per enum session_perf that VGPU_PERF switches off */

    /* Set once, by whoever notices. */
    _Atomic bool lost;

    /* Under ring_lock: the ring's producing end and the reply slots. */
    pthread_mutex_t ring_lock;
    struct ring_producer producer;
    uint32_t slot_seq[RING_SLOTS];
    uint8_t free_slots[RING_SLOTS]; /* a stack: the last one used is cached */
    uint32_t free_slot_count;
    uint32_t slot_waiters;
    pthread_cond_t slot_free;
    uint64_t calls;

    /* Any thread. */
    _Atomic uint64_t doorbells;
    _Atomic uint64_t sleeps;
    _Atomic uint32_t spin_ns; /* how long the next wait spins */
    _Atomic uint32_t long_waits;
    sem_t compiles; /* how many more may begin */

    /* By the one thread that uses the slot. */
    uint32_t slot_waits[RING_SLOTS];

    /* Under id_lock: a stack of ids given back, and the first never used. */
    pthread_mutex_t id_lock;
    uint32_t *free_ids;
    uint32_t free_id_count, free_id_room;
    uint32_t next_id;

    /* Under pool_lock, sorted by address. */
    pthread_mutex_t pool_lock;
    struct shared_blob *blobs[BLOBS_MAX];
    uint32_t blob_count;
    uint64_t next_blob;
    struct bulk *later; /* given to commands that may still run */
    uint32_t later_count, later_room;
    struct shared_blob *doomed; /* regions given up; see region_destroy() */
    _Atomic uint32_t doomed_count; /* read without the lock as a hint */
    size_t doomed_bytes;
    uint64_t spare_bytes; /* of regions that could do without */

    /* Under late_lock; the count is a hint. */
    pthread_mutex_t late_lock;
    struct late *late;
    _Atomic uint32_t late_count;
};

/** slot_wait: until @slot has reached @seq. Returns 0, or -1 if @s is lost. */
int slot_wait(struct session *s, uint32_t slot, uint32_t seq);

/** session_ring_doorbell: wake the worker. */
void session_ring_doorbell(struct session *s);

/** session_give_up: the session is lost; every call fails from now on. */
void session_give_up(struct session *s);

/** pool_init: the blobs of @s. */
void pool_init(struct session *s);

/**
 * region_bury: the worker has served all that was sent until the ring's tail was
 * at @tail: give up the regions that were waiting for that.
 */
void region_bury(struct session *s, uint32_t tail);

#endif
