/*
 * The ring: one blob per context through which calls reach a worker and
 * answers come back, without a system call on either side while both are awake.
 *
 * Theory of operation. The blob has four parts:
 *
 *   0x0000  struct ring_header  what the ring is, tail, sleep state, fatal word
 *   0x1000  struct ring_slot[64]
 *   0x2000  64 reply areas of RING_REPLY_SIZE bytes
 *   0x42000 the command area, a power of two of bytes
 *
 * The producer (guest) appends messages to the command area: it reserves
 * space, writes the message in place, and publishes a new `tail`. The consumer
 * (worker) copies each message out, once, before it looks at it, and publishes
 * its head in slot 0's `done`. Positions are free-running 32-bit byte counts.
 * A message never wraps: what is left at the end of the area is passed over with
 * padding, whose first four words are its size and three zeros. (A message looks
 * different: call 0 of API 0 does not exist.)
 *
 * Slots 1..63 carry answers. A guest thread that wants one takes a slot, puts
 * its number and a new sequence number into the message, and waits until the
 * slot's `done` has reached that sequence number; the answer's bytes are then in
 * the slot's reply area. Sequence numbers of a slot only grow (modulo 2^32).
 *
 * Sleeping worker. A worker that has run out of messages sets `state` to
 * RING_ASLEEP, looks at `tail` once more, and only then blocks on the doorbell.
 * A producer that finds RING_ASLEEP after publishing changes it to RING_AWAKE,
 * and whoever makes that change rings the doorbell: once.
 *
 * Sleeping guest. Whoever wants to block for a slot (the shim itself over a
 * socket; the device, for a fence, in a VM) arms it: sets `waiting`, looks at
 * `done` once more, and blocks on the slot's eventfd. A worker that publishes
 * `done` takes `waiting` away, and if it was set, signals that eventfd.
 *
 * Trust. The worker never reads back what it wrote, keeps its own copy of
 * every position and size, and treats whatever it reads as a number to be
 * checked. The guest checks the constants once, when it opens the ring. A broken
 * ring costs its owner the context, and nobody else anything.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RING_H
#define RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

#define RING_MAGIC         0x474e4952u /* "RING" */
#define RING_REPLY_SIZE    4096u
#define RING_SLOTS         VGPU_RINGS_MAX
#define RING_SLOT_OFFSET   0x1000u
#define RING_REPLY_OFFSET  0x2000u
#define RING_CMD_OFFSET    (RING_REPLY_OFFSET + RING_SLOTS * RING_REPLY_SIZE)
#define RING_CMD_MIN       (64u << 10)
#define RING_CMD_MAX       (16u << 20)
#define RING_CMD_DEFAULT   (1u << 20)
#define RING_ALIGN         16u /* of every message, also its smallest size */

enum ring_state { RING_AWAKE = 0, RING_ASLEEP = 1 };

/* Why a context is lost: the ring's `fatal` word, 0 while all is well. */
enum ring_fatal {
    RING_OK = 0,
    RING_FATAL_PROTOCOL = 1, /* the guest broke the protocol */
    RING_FATAL_WORKER = 2,   /* the worker is gone; written by the device */
    RING_FATAL_BUDGET = 3,   /* more than this guest may have */
};

struct ring_header {
    /* Constant once the worker has made the ring. */
    uint32_t magic;   /* RING_MAGIC */
    uint32_t version; /* VGPU_PROTOCOL_VERSION of the worker */
    uint32_t cmd_size;

    /* Written by the producer. */
    alignas(64) _Atomic uint32_t tail;

    /* Written by both, see "Sleeping worker". */
    alignas(64) _Atomic uint32_t state; /* enum ring_state */

    /* Written by the worker, or by the device in a dead worker's place. */
    alignas(64) _Atomic uint32_t fatal; /* enum ring_fatal */

    /* Written by the worker, for statistics: how often it was about to sleep. */
    _Atomic uint32_t sleeps;
};

struct ring_slot {
    alignas(64) _Atomic uint32_t done; /* written by the worker */
    _Atomic uint32_t waiting;          /* set by who sleeps, taken by the worker */
    uint32_t size;                     /* bytes in the reply area; before done */
    int32_t status;                    /* enum wire_status; before done */
};
static_assert(sizeof(struct ring_slot) == 64, "part of the wire");

/** Bytes of a ring blob whose command area has @cmd_size bytes. */
static inline size_t ring_bytes(uint32_t cmd_size)
{
    return (size_t)RING_CMD_OFFSET + cmd_size;
}

/**
 * ring_populate: have all pages of @ring, @bytes long, in place and mapped. Otherwise
 * the first message on each page costs either side a fault. Best effort: what an
 * older kernel does not know happens at the faults.
 */
void ring_populate(void *ring, size_t bytes);

/**
 * ring_cmd_size: the largest valid command area for a blob of @bytes.
 *
 * Returns a power of two in RING_CMD_MIN..RING_CMD_MAX, or 0 if @bytes is too
 * small for any.
 */
uint32_t ring_cmd_size(size_t bytes);

/** ring_slot: slot @n (0..RING_SLOTS-1) of the ring at @ring. */
static inline struct ring_slot *ring_slot(void *ring, uint32_t n)
{
    return (struct ring_slot *)((char *)ring + RING_SLOT_OFFSET) + n;
}

/** ring_reply: the RING_REPLY_SIZE bytes of slot @n's reply area. */
static inline void *ring_reply(void *ring, uint32_t n)
{
    return (char *)ring + RING_REPLY_OFFSET + (size_t)n * RING_REPLY_SIZE;
}

/** ring_reached: whether the free-running counter @now is at or past @want. */
static inline bool ring_reached(uint32_t now, uint32_t want)
{
    return (int32_t)(now - want) >= 0;
}

/* --- slots: either side ------------------------------------------------ */

/** ring_slot_is_done: whether @slot's answer @seq is there (acquire). */
static inline bool ring_slot_is_done(struct ring_slot *slot, uint32_t seq)
{
    return ring_reached(
        atomic_load_explicit(&slot->done, memory_order_acquire), seq);
}

/**
 * ring_slot_arm: ask the worker for a signal when @slot reaches @seq.
 *
 * Returns true if it already has: do not sleep then. A later signal may be
 * spurious; look at ring_slot_is_done() again and arm again.
 */
bool ring_slot_arm(struct ring_slot *slot, uint32_t seq);

/**
 * ring_slot_post: publish @seq, after size, status and the reply's bytes.
 *
 * Worker only. Returns true if somebody sleeps: signal the slot's eventfd.
 */
bool ring_slot_post(struct ring_slot *slot, uint32_t seq);

/** ring_set_fatal: declare the context lost; the first reason stays. */
void ring_set_fatal(void *ring, enum ring_fatal why);

/** ring_fatal: why the context is lost, RING_OK while it is not. */
static inline enum ring_fatal ring_fatal(void *ring)
{
    return (enum ring_fatal)atomic_load_explicit(
        &((struct ring_header *)ring)->fatal, memory_order_acquire);
}

/* --- producer: the guest, under a lock of its own ----------------------- */

struct ring_producer {
    /* Constant after init. */
    struct ring_header *hdr;
    uint8_t *cmd;
    uint32_t size; /* of the command area */

    /* Under the producer's lock. */
    uint32_t tail;
    uint32_t published; /* the tail that the worker sees */
    uint32_t head;      /* as last seen */
};

/**
 * ring_producer_init: take up the ring of @bytes bytes at @ring.
 *
 * Returns NULL, or a sentence saying why this is no ring that we can use.
 */
const char *ring_producer_init(struct ring_producer *p, void *ring,
                               size_t bytes);

/** ring_message_max: bytes of the largest message this ring takes. */
static inline uint32_t ring_message_max(uint32_t cmd_size)
{
    return cmd_size / 4;
}

/**
 * ring_reserve: space for a message of @size bytes, a multiple of RING_ALIGN
 * and at most ring_message_max().
 *
 * Returns the place to write it, valid until ring_append() or ring_commit(), or
 * NULL while the ring is too full: publish what is not yet published, and wait until
 * slot 0 reaches ring_space_position(p, size).
 */
void *ring_reserve(struct ring_producer *p, uint32_t size);

/** ring_space_position: the head at which ring_reserve(@size) will succeed. */
uint32_t ring_space_position(const struct ring_producer *p, uint32_t size);

/**
 * ring_append: the message of @size bytes last reserved is complete, and will be
 * published together with a later one.
 */
static inline void ring_append(struct ring_producer *p, uint32_t size)
{
    p->tail += size;
}

/**
 * ring_publish: publish all complete messages.
 *
 * Returns true if the worker sleeps: ring the doorbell.
 */
bool ring_publish(struct ring_producer *p);

/** ring_commit: ring_append(), then ring_publish(). */
bool ring_commit(struct ring_producer *p, uint32_t size);

/* --- consumer: the worker ------------------------------------------------ */

struct ring_consumer {
    /* Constant after init. */
    struct ring_header *hdr;
    const uint8_t *cmd;
    uint32_t size;

    /* By the thread that consumes. */
    uint32_t head;
    uint32_t sleeps;
};

enum ring_result {
    RING_EMPTY,   /* nothing there */
    RING_MESSAGE, /* one message was copied out */
    RING_BROKEN,  /* tail or a size is impossible: give the context up */
};

/**
 * ring_format: make an empty ring in the zeroed @bytes bytes at @ring and
 * take it up as consumer.
 *
 * Returns false if @bytes is too small.
 */
bool ring_format(struct ring_consumer *c, void *ring, size_t bytes);

/**
 * ring_consume: copy the next message to @buf, which has ring_message_max()
 * bytes, and free its space in the ring.
 *
 * @size is set to the message's size, at least sizeof(struct wire_header).
 * Padding is passed over. @signal is set to true if a producer sleeps for space:
 * signal slot 0's eventfd.
 */
enum ring_result ring_consume(struct ring_consumer *c, void *buf,
                              uint32_t *size, bool *signal);

/**
 * ring_sleeps: how often the worker of the ring at @ring was about to sleep, as
 * it says. Each doorbell belongs to one of those, since none rings for a worker
 * that is awake.
 */
static inline uint32_t ring_sleeps(void *ring)
{
    return atomic_load_explicit(&((struct ring_header *)ring)->sleeps,
                                memory_order_relaxed);
}

/** ring_pending: whether there is something to consume (a hint). */
bool ring_pending(const struct ring_consumer *c);

/**
 * ring_sleep: announce that the worker is about to block on its doorbell.
 *
 * Returns false if a message came meanwhile: the state is AWAKE again.
 */
bool ring_sleep(struct ring_consumer *c);

/** ring_wake: the worker is awake again, whatever woke it. */
void ring_wake(struct ring_consumer *c);

#endif
