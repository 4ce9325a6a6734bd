/*
 * The two places where each side writes one word and then reads the other's:
 * arm against post, and sleep against commit. Two threads meet there again and again, as
 * close together as they can, and at least one of them must see the other every time:
 * otherwise both go to sleep. A weaker memory order than the one in ring.c, or a
 * second look left out, fails here within a moment.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "ring.h"
#include "wire.h"

#define TIME_MS 1500

/* A race: two threads enter `round` together, and meet again after it. */
struct race {
    void *ring;
    struct ring_producer p;
    struct ring_consumer c;
    uint8_t buf[RING_CMD_MIN];
    void (*guest)(struct race *r, uint32_t round);
    void (*worker)(struct race *r, uint32_t round);

    alignas(64) _Atomic uint32_t started;
    alignas(64) _Atomic uint32_t finished;
    alignas(64) _Atomic bool stop;
    /* What came of this round, each written by one of the two. */
    alignas(64) bool asleep;    /* one goes to sleep */
    alignas(64) bool signalled; /* the other will wake it */
};

static void wait_for(_Atomic uint32_t *word, uint32_t value, _Atomic bool *stop)
{
    for (uint32_t i = 1; atomic_load(word) != value && !atomic_load(stop); i++) {
        if (i % 4096 == 0) {
            sched_yield();
        }
    }
}

/*
 * A few instructions, or none: so that every order of the two comes up. (128 was
 * measured to find a missing barrier most often.)
 */
static void dawdle(uint64_t *random)
{
    for (uint32_t n = random_next(random) % 128; n; n--) {
        atomic_signal_fence(memory_order_seq_cst);
    }
}

static void *guest_main(void *opaque)
{
    struct race *r = opaque;
    uint64_t random = 1;

    for (uint32_t round = 1;; round++) {
        wait_for(&r->started, round, &r->stop);
        if (atomic_load(&r->stop)) {
            return NULL;
        }
        dawdle(&random);
        r->guest(r, round);
        atomic_store(&r->finished, round);
    }
}

/* Run the race; returns the number of rounds after which one sleeps for ever. */
static uint32_t run(struct race *r)
{
    uint64_t random = 2, end = now_ms() + TIME_MS;
    uint32_t lost = 0, round;
    pthread_t guest;

    assert_int_equal(pthread_create(&guest, NULL, guest_main, r), 0);
    for (round = 1; round < 1000 || now_ms() < end; round++) {
        atomic_store(&r->started, round);
        dawdle(&random);
        r->worker(r, round);
        wait_for(&r->finished, round, &r->stop);
        lost += r->asleep && !r->signalled;
    }
    atomic_store(&r->stop, true);
    pthread_join(guest, NULL);
    print_message("# %u rounds, %u lost\n", round, lost);
    return lost;
}

static void init(struct race *r)
{
    r->ring = mmap(NULL, ring_bytes(RING_CMD_MIN), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(r->ring, MAP_FAILED);
    assert_true(ring_format(&r->c, r->ring, ring_bytes(RING_CMD_MIN)));
    assert_null(ring_producer_init(&r->p, r->ring, ring_bytes(RING_CMD_MIN)));
}

static void finish(struct race *r)
{
    munmap(r->ring, ring_bytes(RING_CMD_MIN));
}

/* --- a guest that goes to sleep against an answer --------------------------- */

static void arm(struct race *r, uint32_t round)
{
    r->asleep = !ring_slot_arm(ring_slot(r->ring, 1), round);
}

static void post(struct race *r, uint32_t round)
{
    struct ring_slot *slot = ring_slot(r->ring, 1);

    r->signalled = ring_slot_post(slot, round);
    wait_for(&r->finished, round, &r->stop);
    atomic_store(&slot->waiting, 0);
}

static void no_wake_up_is_lost_between_arm_and_post(void **state)
{
    static struct race r = { .guest = arm, .worker = post };

    init(&r);
    assert_int_equal(run(&r), 0);
    finish(&r);
}

/* --- a worker that goes to sleep against a message -------------------------- */

static void commit(struct race *r, uint32_t round)
{
    r->signalled = ring_commit(&r->p, 32);
}

static void sleep_and_consume(struct race *r, uint32_t round)
{
    uint32_t size;
    bool signal;

    r->asleep = ring_sleep(&r->c);
    wait_for(&r->finished, round, &r->stop);
    ring_wake(&r->c);
    if (ring_consume(&r->c, r->buf, &size, &signal) != RING_MESSAGE) {
        r->asleep = true; /* the message itself is lost */
        r->signalled = false;
    }
    ring_reserve(&r->p, 32);
}

static void no_wake_up_is_lost_between_sleep_and_commit(void **state)
{
    static struct race r = { .guest = commit, .worker = sleep_and_consume };
    struct wire_header h = { .size = 32, .api = 1 };

    init(&r);
    ring_reserve(&r.p, 32);
    for (uint32_t at = 0; at < RING_CMD_MIN; at += 32) {
        memcpy(r.p.cmd + at, &h, sizeof(h));
    }
    assert_int_equal(run(&r), 0);
    finish(&r);
}

/* --- a guest that changes what is being read --------------------------------- */

static _Atomic bool forging;

/* The size of the message at the area's start: 64, and at times a forged one. */
static void *forge(void *opaque)
{
    volatile uint32_t *size = opaque;

    while (atomic_load_explicit(&forging, memory_order_relaxed)) {
        *size = 0x7ffffff0;
        *size = 64;
        *size = 16000;
        *size = 64;
    }
    return NULL;
}

static void ring_size_changed_while_it_is_read_is_not_believed(void **state)
{
    static struct race r;
    uint64_t end = now_ms() + TIME_MS;
    uint32_t messages = 0;
    pthread_t guest;

    init(&r);
    forging = true;
    r.p.hdr->tail = RING_CMD_MIN / 2;
    ((struct wire_header *)r.p.cmd)->api = 1;
    assert_int_equal(pthread_create(&guest, NULL, forge, r.p.cmd), 0);
    while (now_ms() < end) {
        for (int i = 0; i < 1000; i++) {
            uint32_t size, in_message;
            bool signal;

            r.c.head = 0;
            if (ring_consume(&r.c, r.buf, &size, &signal) != RING_MESSAGE) {
                continue;
            }
            memcpy(&in_message, r.buf, sizeof(in_message));
            assert_true(size == 64 || size == 16000);
            assert_int_equal(in_message, size);
            messages++;
        }
    }
    assert_true(messages > 0);
    forging = false;
    pthread_join(guest, NULL);
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_wake_up_is_lost_between_arm_and_post),
        cmocka_unit_test(no_wake_up_is_lost_between_sleep_and_commit),
        cmocka_unit_test(ring_size_changed_while_it_is_read_is_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
