/*
 * Calls: messages into the ring, and waiting for their answers.
 *
 * The lock of the ring is held from call_begin() to call_send(), while the
 * message is written in place. A reply slot belongs to one thread from begin to
 * end, so waiting needs no lock.
 *
 * Waiting spins first, since two sleeps cost more than most calls: for at most
 * SPIN_NS_MAX, for less when spinning has not paid lately, and never for
 * nothing, so that it can grow again. A spinner looks at the ring's fatal word too.
 *
 * SPDX-License-Identifier: MIT
 */
#include "impl.h"
#include "spin.h"

#include <string.h>
#include <unistd.h>

#define SPIN_NS_MAX 100000
#define SPIN_NS_MIN 2000
/* Reply slots that long waits leave to others, besides slot 0; see long_wait_begin(). */
#define SLOTS_SPARED 16
/* Every so many waits one spins in full, to learn whether it pays again. */
#define PROBE_EVERY 64

/* Whether @slot reached @seq within @ns. */
static bool spin(struct session *s, struct ring_slot *slot, uint32_t seq,
                 uint32_t ns)
{
    struct spin spin = spin_begin(ns);

    while (!ring_slot_is_done(slot, seq)) {
        if (!spin_again(&spin) || ring_fatal(s->ring.map)) {
            return ring_slot_is_done(slot, seq);
        }
    }
    return true;
}

/* Spin for as long as it has been worth it lately, and learn from the result. */
static bool spin_adaptively(struct session *s, struct ring_slot *slot,
                            uint32_t seq)
{
    uint32_t ns = atomic_load_explicit(&s->spin_ns, memory_order_relaxed);
    bool probe = ++s->slot_waits[slot - ring_slot(s->ring.map, 0)] %
                 PROBE_EVERY == 0;
    bool done = spin(s, slot, seq, probe ? SPIN_NS_MAX : ns);

    if (done && probe) {
        ns = SPIN_NS_MAX;
    } else if (done) {
        ns = ns + ns / 2 < SPIN_NS_MAX ? ns + ns / 2 : SPIN_NS_MAX;
    } else {
        ns = ns - ns / 4 > SPIN_NS_MIN ? ns - ns / 4 : SPIN_NS_MIN;
    }
    atomic_store_explicit(&s->spin_ns, ns, memory_order_relaxed);
    return done;
}

int slot_wait(struct session *s, uint32_t slot, uint32_t seq)
{
    struct ring_slot *at = ring_slot(s->ring.map, slot);

    if (ring_slot_is_done(at, seq) ||
        (session_perf(s, PERF_SPIN) && spin_adaptively(s, at, seq))) {
        return 0;
    }
    if (session_lost(s)) {
        return -1;
    }
    atomic_fetch_add_explicit(&s->sleeps, 1, memory_order_relaxed);
    if (s->ops->wait(s->transport, s->ring.map, slot, seq) < 0 ||
        ring_fatal(s->ring.map)) {
        session_give_up(s);
        return -1;
    }
    return 0;
}

void session_ring_doorbell(struct session *s)
{
    atomic_fetch_add_explicit(&s->doorbells, 1, memory_order_relaxed);
    if (s->ops->doorbell(s->transport) < 0) {
        session_give_up(s);
    }
}

size_t call_payload_max(struct session *s)
{
    return ring_message_max(s->producer.size) - sizeof(struct wire_header);
}

/* Take a reply slot, under the ring's lock. Returns 0 if the session is lost. */
static uint32_t take_slot(struct session *s)
{
    while (!s->free_slot_count && !session_lost(s)) {
        s->slot_waiters++;
        pthread_cond_wait(&s->slot_free, &s->ring_lock);
        s->slot_waiters--;
    }
    return s->free_slot_count ? s->free_slots[--s->free_slot_count] : 0;
}

static void put_slot(struct session *s, uint32_t slot)
{
    s->free_slots[s->free_slot_count++] = (uint8_t)slot;
    if (s->slot_waiters) {
        pthread_cond_signal(&s->slot_free);
    }
}

/* Space for the message, under the ring's lock. NULL: the session is lost. */
static uint8_t *reserve(struct session *s, uint32_t size)
{
    void *at;

    while (!(at = ring_reserve(&s->producer, size))) {
        if (s->producer.published != s->producer.tail &&
            ring_publish(&s->producer)) {
            session_ring_doorbell(s);
        }
        /* Until half of the ring is free, not to be woken by every message. */
        uint32_t half = s->producer.tail - s->producer.size / 2;
        uint32_t want = ring_space_position(&s->producer, size);

        if (slot_wait(s, 0, ring_reached(half, want) ? half : want) < 0) {
            return NULL;
        }
    }
    return at;
}

static uint32_t thread_number(void)
{
    static __thread uint32_t number;

    if (!number) {
        number = (uint32_t)gettid();
    }
    return number;
}

bool long_wait_begin(struct session *s)
{
    const uint32_t most = RING_SLOTS - 1 - SLOTS_SPARED;

    if (atomic_fetch_add_explicit(&s->long_waits, 1, memory_order_relaxed) <
        most) {
        return true;
    }
    long_wait_end(s);
    return false;
}

void long_wait_end(struct session *s)
{
    atomic_fetch_sub_explicit(&s->long_waits, 1, memory_order_relaxed);
}

void compile_begin(struct session *s)
{
    while (sem_wait(&s->compiles) < 0) {
        /* a signal's handler ran */
    }
}

void compile_end(struct session *s)
{
    sem_post(&s->compiles);
}

/* See call_answer_begin(). */
static __thread struct {
    enum { NOT_WANTED, WANTED, ANSWERED, UNANSWERED } state;
    int32_t error;
} answer;

void call_answer_begin(void)
{
    answer.state = WANTED;
}

int32_t call_answer_end(int32_t error, int32_t lost)
{
    int state = answer.state;

    answer.state = NOT_WANTED;
    return state == ANSWERED ? answer.error : state == UNANSWERED ? lost : error;
}

/* The answer to a call that wanted none. */
static void take_answer(struct call *c)
{
    answer.state = UNANSWERED;
    if (call_wait(c) == 0) {
        answer.error = wire_get_i32(&c->reply);
        answer.state = ANSWERED;
    }
    call_end(c);
}

int call_begin(struct call *c, struct session *s, enum vgpu_api api,
               uint16_t number, size_t payload, bool reply)
{
    size_t bytes = sizeof(struct wire_header) + payload;
    struct wire_header header = {
        .size = (uint32_t)((bytes + RING_ALIGN - 1) & ~(RING_ALIGN - 1)),
        .payload = (uint32_t)payload,
        .api = (uint16_t)api,
        .call = number,
        .thread = thread_number(),
    };
    uint8_t *at;

    if (payload > call_payload_max(s)) {
        return -1;
    }
    c->insisted = !reply && answer.state == WANTED;
    reply |= c->insisted;
    pthread_mutex_lock(&s->ring_lock);
    if (session_lost(s)) {
        goto fail;
    }
    if (reply) {
        header.slot = (uint16_t)take_slot(s);
        if (!header.slot) {
            goto fail;
        }
        header.seq = ++s->slot_seq[header.slot];
    }
    at = reserve(s, header.size);
    if (!at) {
        goto fail_slot;
    }
    memcpy(at, &header, sizeof(header));
    memset(at + bytes, 0, header.size - bytes);
    wire_out_init(&c->out, at + sizeof(header), payload);
    c->session = s;
    c->start = at;
    c->size = header.size;
    c->slot = header.slot;
    c->seq = header.seq;
    return 0;

fail_slot:
    if (header.slot) {
        s->slot_seq[header.slot]--;
        put_slot(s, header.slot);
    }
fail:
    pthread_mutex_unlock(&s->ring_lock);
    return -1;
}

static void (*trace)(enum vgpu_api api, uint16_t number, const void *payload,
                     size_t size);

void call_trace(void (*fn)(enum vgpu_api api, uint16_t number,
                           const void *payload, size_t size))
{
    trace = fn;
}

/* The message of @c, which is complete and not published yet. */
static void trace_message(struct call *c)
{
    struct wire_header header;
    uint8_t *at = c->start;

    memcpy(&header, at, sizeof(header));
    trace(header.api, header.call, at + sizeof(header), header.payload);
}

static void send(struct call *c, bool publish)
{
    struct session *s = c->session;
    bool asleep;

    assert(!c->out.bad && c->out.p == c->out.end);
    if (trace) {
        trace_message(c);
    }
    s->calls++;
    ring_append(&s->producer, c->size);
    asleep = publish && ring_publish(&s->producer);
    c->tail = s->producer.tail;
    pthread_mutex_unlock(&s->ring_lock);
    if (asleep) {
        session_ring_doorbell(s);
    }
    if (c->insisted) {
        take_answer(c);
    }
}

void call_send(struct call *c)
{
    send(c, true);
}

void call_send_lazily(struct call *c)
{
    send(c, c->insisted || !session_perf(c->session, PERF_LAZY));
}

/* See call_meanwhile(). */
static __thread struct {
    void (*fn)(struct call *c, void *opaque);
    void *opaque;
} meanwhile;

void call_meanwhile(void (*fn)(struct call *c, void *opaque), void *opaque)
{
    meanwhile.fn = fn;
    meanwhile.opaque = opaque;
}

bool call_is_over(struct call *c)
{
    struct session *s = c->session;

    return ring_slot_is_done(ring_slot(s->ring.map, c->slot), c->seq) ||
           ring_fatal(s->ring.map) || session_lost(s);
}

int call_wait(struct call *c)
{
    struct session *s = c->session;
    struct ring_slot *slot = ring_slot(s->ring.map, c->slot);
    void (*fn)(struct call *, void *) = meanwhile.fn;
    uint32_t size;

    if (fn) {
        meanwhile.fn = NULL;
        fn(c, meanwhile.opaque);
    }
    if (slot_wait(s, c->slot, c->seq) < 0) {
        return -1;
    }
    /* Acquire: whoever made it none has copied our bytes before. */
    if (atomic_load_explicit(&s->late_count, memory_order_acquire)) {
        late_sweep(s);
    }
    if (atomic_load_explicit(&s->doomed_count, memory_order_relaxed)) {
        region_bury(s, c->tail);
    }
    if (slot->status != WIRE_OK) {
        if (slot->status != WIRE_UNKNOWN) {
            session_give_up(s);
        }
        return -1;
    }
    size = slot->size;
    wire_in_init(&c->reply, ring_reply(s->ring.map, c->slot),
                 size < RING_REPLY_SIZE ? size : RING_REPLY_SIZE);
    return 0;
}

void call_end(struct call *c)
{
    struct session *s = c->session;

    pthread_mutex_lock(&s->ring_lock);
    put_slot(s, c->slot);
    pthread_mutex_unlock(&s->ring_lock);
}
