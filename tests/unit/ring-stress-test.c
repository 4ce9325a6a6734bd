/*
 * Two processes over one ring, as in life: a worker that consumes and answers,
 * and a guest of several threads which share the command area and wait each on a slot of
 * its own. Sizes, pauses and the moments at which either side goes to sleep are
 * random; every byte is under a checksum that the other process computes again.
 *
 * A wake-up that is lost shows as a poll() that times out, a torn or repeated
 * message as a wrong checksum or number. (Where several threads send many messages, the
 * next one's doorbell makes up for one that was lost: therefore the case in which one
 * thread and the worker take turns.)
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring.h"
#include "wire.h"

#define THREADS   3
#define TIME_MS   1200
#define LOST_MS   5000 /* nothing here takes that long: a wake-up is lost */
#define ANSWER    1    /* call: answer with the checksum */
#define GOODBYE   2    /* call: answer, and end */

/* What the two processes have in common; made before fork(). */
struct shared {
    void *ring;
    size_t bytes;
    int doorbell;
    int events[THREADS + 1]; /* of slots 0..THREADS */
    uint32_t threads;
    uint32_t burst_max;      /* messages of a thread between two answers */
    uint32_t spin_max;       /* looks at the other's word before a sleep */
};

/* A failure in the worker or a thread of the guest: not cmocka's business. */
static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "ring-stress: %s\n", what);
        _exit(1);
    }
}

static uint64_t checksum(const uint8_t *p, size_t n)
{
    uint64_t sum = 14695981039346656037ull;

    for (size_t i = 0; i < n; i++) {
        sum = (sum ^ p[i]) * 1099511628211ull;
    }
    return sum;
}

static void signal_event(int fd)
{
    uint64_t one = 1;

    require(write(fd, &one, sizeof(one)) == sizeof(one), "eventfd is full");
}

static void wait_event(int fd, const char *what)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t n;

    require(poll(&p, 1, LOST_MS) == 1, what);
    require(read(fd, &n, sizeof(n)) == sizeof(n), "eventfd cannot be read");
}

/* --- the worker ------------------------------------------------------------------ */

static void answer(struct shared *s, const struct wire_header *h, uint64_t sum)
{
    struct ring_slot *slot = ring_slot(s->ring, h->slot);

    memcpy(ring_reply(s->ring, h->slot), &sum, sizeof(sum));
    slot->size = sizeof(sum);
    slot->status = (int32_t)h->seq;
    if (ring_slot_post(slot, h->seq)) {
        signal_event(s->events[h->slot]);
    }
}

/* Check one message, whose payload begins with its thread's running number. */
static bool serve(struct shared *s, const uint8_t *m, uint32_t size,
                  uint64_t numbers[THREADS])
{
    struct wire_header h;
    uint64_t number;

    memcpy(&h, m, sizeof(h));
    memcpy(&number, m + sizeof(h), sizeof(number));
    require(h.size == size && h.payload == size - sizeof(h), "size is wrong");
    require(h.thread < THREADS, "message is garbage");
    require(number == numbers[h.thread]++, "message is lost or repeated");
    require(checksum(m + sizeof(h), h.payload) == h.reserved2,
            "checksum is wrong");
    if (h.slot) {
        answer(s, &h, h.reserved2 + h.seq);
    }
    return h.call != GOODBYE;
}

static void worker_block(struct shared *s, struct ring_consumer *c,
                         uint64_t *random)
{
    for (uint32_t n = random_next(random) % s->spin_max; n; n--) {
        if (ring_pending(c)) {
            return;
        }
    }
    if (ring_sleep(c)) {
        wait_event(s->doorbell, "the worker's wake-up is lost");
        ring_wake(c);
    }
}

static void worker_main(struct shared *s, struct ring_consumer *c)
{
    uint8_t *buf = malloc(ring_message_max(c->size));
    uint64_t numbers[THREADS] = { 0 };
    uint64_t random = 99;
    bool more = true;

    require(buf, "no memory");
    while (more) {
        bool signal = false;
        uint32_t size;

        switch (ring_consume(c, buf, &size, &signal)) {
        case RING_BROKEN:
            require(false, "the ring is broken");
            break;
        case RING_EMPTY:
            worker_block(s, c, &random);
            break;
        case RING_MESSAGE:
            more = serve(s, buf, size, numbers);
            break;
        }
        if (signal) {
            signal_event(s->events[0]);
        }
    }
    free(buf);
}

/* --- the guest ------------------------------------------------------------------- */

struct guest {
    struct shared *shared;
    pthread_mutex_t lock; /* of the producer */
    struct ring_producer p;
    uint64_t end; /* when to stop, by now_ms() */
};

struct guest_thread {
    struct guest *guest;
    uint32_t id; /* also its slot, less 1 */
    uint32_t seq;
    uint64_t number;
    uint64_t random;
    uint64_t answers;
};

static void wait_slot(struct shared *s, uint32_t n, uint32_t seq,
                      uint64_t *random)
{
    struct ring_slot *slot = ring_slot(s->ring, n);

    for (uint32_t i = random_next(random) % s->spin_max; i; i--) {
        if (ring_slot_is_done(slot, seq)) {
            return;
        }
    }
    while (!ring_slot_arm(slot, seq)) {
        wait_event(s->events[n], n ? "an answer's wake-up is lost"
                                   : "the wake-up for space is lost");
    }
}

/* Lock the producer, and wait in it until there is room. */
static uint8_t *begin(struct guest_thread *t, uint32_t size)
{
    struct guest *g = t->guest;
    uint8_t *at;

    pthread_mutex_lock(&g->lock);
    while (!(at = ring_reserve(&g->p, size))) {
        wait_slot(g->shared, 0, ring_space_position(&g->p, size), &t->random);
    }
    return at;
}

static void end(struct guest_thread *t, uint32_t size)
{
    bool asleep = ring_commit(&t->guest->p, size);

    pthread_mutex_unlock(&t->guest->lock);
    if (asleep) {
        signal_event(t->guest->shared->doorbell);
    }
}

static uint32_t random_size(struct guest_thread *t)
{
    uint32_t max = random_next(&t->random) % 64
                       ? 256 : ring_message_max(t->guest->p.size);

    return 48 + random_next(&t->random) % (max - 47) / RING_ALIGN * RING_ALIGN;
}

static void send_message(struct guest_thread *t, uint16_t call, bool wait)
{
    struct shared *s = t->guest->shared;
    uint32_t size = random_size(t);
    uint8_t *at = begin(t, size);
    struct wire_header h = { .size = size, .payload = size - sizeof(h),
                             .api = 1, .call = call, .thread = t->id };
    uint64_t sum;

    memcpy(at + sizeof(h), &t->number, sizeof(t->number));
    t->number++;
    for (uint32_t i = sizeof(h) + 8; i < size; i++) {
        at[i] = (uint8_t)(t->number * 31 + i);
    }
    h.reserved2 = sum = checksum(at + sizeof(h), h.payload);
    if (wait) {
        h.slot = (uint16_t)(t->id + 1);
        h.seq = ++t->seq;
    }
    memcpy(at, &h, sizeof(h));
    end(t, size);
    if (wait) {
        struct ring_slot *slot = ring_slot(s->ring, h.slot);
        uint64_t got;

        wait_slot(s, h.slot, h.seq, &t->random);
        memcpy(&got, ring_reply(s->ring, h.slot), sizeof(got));
        require(got == sum + h.seq && slot->size == 8 &&
                slot->status == (int32_t)h.seq, "answer is wrong");
        t->answers++;
    }
}

static void *guest_main(void *opaque)
{
    struct guest_thread *t = opaque;

    while (now_ms() < t->guest->end) {
        uint32_t n = random_next(&t->random) % t->guest->shared->burst_max;

        while (n-- > 0) {
            send_message(t, ANSWER, false);
        }
        send_message(t, ANSWER, true);
    }
    return NULL;
}

static void run_guest(struct shared *s)
{
    struct guest g = { .shared = s, .lock = PTHREAD_MUTEX_INITIALIZER,
                       .end = now_ms() + TIME_MS };
    struct guest_thread t[THREADS] = { 0 };
    pthread_t threads[THREADS];
    uint64_t messages = 0, answers = 0;

    assert_null(ring_producer_init(&g.p, s->ring, s->bytes));
    for (uint32_t i = 0; i < s->threads; i++) {
        t[i] = (struct guest_thread){ .guest = &g, .id = i, .random = i + 1,
                                      .seq = 0u - 100 };
        ring_slot(s->ring, i + 1)->done = 0u - 100;
        assert_int_equal(
            pthread_create(&threads[i], NULL, guest_main, &t[i]), 0);
    }
    for (uint32_t i = 0; i < s->threads; i++) {
        pthread_join(threads[i], NULL);
        messages += t[i].number;
        answers += t[i].answers;
    }
    send_message(&t[0], GOODBYE, true);
    assert_true(messages > 100);
    print_message("# %lu messages, %lu answers\n", messages, answers);
}

/* Both processes from an empty ring to its end. */
static void run(uint32_t threads, uint32_t burst_max, uint32_t spin_max)
{
    struct shared s = { .bytes = ring_bytes(RING_CMD_MIN), .threads = threads,
                        .burst_max = burst_max, .spin_max = spin_max };
    int fd = memfd_create("ring", MFD_CLOEXEC);
    struct ring_consumer c;
    int status;
    pid_t pid;

    assert_int_equal(ftruncate(fd, (off_t)s.bytes), 0);
    s.ring = mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(s.ring, MAP_FAILED);
    s.doorbell = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i <= THREADS; i++) {
        s.events[i] = eventfd(0, EFD_CLOEXEC);
    }
    assert_true(ring_format(&c, s.ring, s.bytes));
    /* Close to where the counters wrap. */
    c.head = ((struct ring_header *)s.ring)->tail = 0u - (1u << 20);
    ring_slot(s.ring, 0)->done = c.head;

    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        worker_main(&s, &c);
        _exit(0);
    }
    run_guest(&s);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);

    close(s.doorbell);
    for (int i = 0; i <= THREADS; i++) {
        close(s.events[i]);
    }
    munmap(s.ring, s.bytes);
    close(fd);
}

static void ring_between_one_thread_and_a_worker_that_take_turns(void **state)
{
    run(1, 1, 1500);
}

static void ring_between_processes_that_sleep_at_once(void **state)
{
    run(THREADS, 40, 1);
}

static void ring_between_processes_that_spin_a_little(void **state)
{
    run(THREADS, 4, 200);
}

static void ring_between_processes_that_rarely_sleep(void **state)
{
    run(THREADS, 40, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_between_one_thread_and_a_worker_that_take_turns),
        cmocka_unit_test(ring_between_processes_that_sleep_at_once),
        cmocka_unit_test(ring_between_processes_that_spin_a_little),
        cmocka_unit_test(ring_between_processes_that_rarely_sleep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
