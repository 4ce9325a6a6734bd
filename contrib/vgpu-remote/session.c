/*
 * The ring's threads. See session.h for leader and followers; here is how the
 * lead changes hands without a wake-up that nobody needs.
 *
 * The leader without messages spins a little (adaptively), then announces its
 * sleep in the ring and blocks on the doorbell itself.
 *
 * A leader that is about to block in a call does the same announcement, but it
 * cannot watch the doorbell. So it arms it in the control thread's epoll set
 * (one shot): only if a message really comes, the control thread wakes a follower,
 * or starts one, which takes the lead. When the blocked call returns first, its
 * thread disarms the doorbell and leads on: nobody was woken.
 *
 * The control thread never reads the doorbell: a count left in it wakes a
 * leader once for nothing, a count taken from a leader would leave it asleep.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "log.h"
#include "proto.h"
#include "spin.h"

#define THREADS_MAX  VGPU_RINGS_MAX /* as many waits as a guest can have, and one */
#define SPIN_MIN_NS  2000u
#define SPIN_MAX_NS  50000u
#define SLEEP_LONG_NS 1000000u /* no spin would have bridged this */

struct session {
    /* Constant after create. */
    struct session_params p;
    struct handles *handles;
    bool may_spin;
    uint32_t spin_max_ns;

    /* Constant after session_start. */
    struct blob *ring_blob;
    uint8_t *ring;
    uint32_t message_max;

    /* Leader only. */
    struct ring_consumer consumer;
    uint32_t spin_ns;

    /* Written by the control thread, read by any; -1: none. */
    _Atomic int events[RING_SLOTS];

    /* Under lock. */
    pthread_mutex_t lock;
    pthread_cond_t lead_is_free;
    bool led;         /* somebody leads */
    bool armed;       /* the control thread watches the doorbell */
    unsigned threads; /* all of them */
    unsigned idle;    /* followers that wait for the lead */
};

struct thread {
    struct session *session;
    uint8_t *buf; /* one message */
};

static void *ring_thread(void *opaque);

/* --- the lead -------------------------------------------------------------- */

/* Called with the lock: have a follower take the lead. */
static void call_follower(struct session *s)
{
    struct thread *t;
    pthread_t id;

    if (s->idle) {
        pthread_cond_signal(&s->lead_is_free);
        return;
    }
    if (s->threads >= THREADS_MAX) {
        return; /* whoever comes back first leads */
    }
    t = calloc(1, sizeof(*t));
    if (t) {
        t->session = s;
        t->buf = aligned_alloc(64, s->message_max);
    }
    if (!t || !t->buf || pthread_create(&id, NULL, ring_thread, t) != 0) {
        log_line("no memory for another thread: calls may wait for each other");
        if (t) {
            free(t->buf);
        }
        free(t);
        return;
    }
    pthread_detach(id);
    s->threads++;
}

/* Called with the lock. */
static void arm_doorbell(struct session *s, bool on)
{
    struct epoll_event ev = { .events = on ? EPOLLIN | EPOLLONESHOT : 0,
                              .data.ptr = s };

    if (s->armed != on) {
        epoll_ctl(s->p.epoll, EPOLL_CTL_MOD, s->p.doorbell, &ev);
        s->armed = on;
    }
}

static void take_lead(struct session *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->led) {
        s->idle++;
        pthread_cond_wait(&s->lead_is_free, &s->lock);
        s->idle--;
    }
    s->led = true;
    arm_doorbell(s, false);
    pthread_mutex_unlock(&s->lock);
    ring_wake(&s->consumer);
}

/* Take the lead unless another thread has it. */
static bool try_lead(struct session *s)
{
    bool mine;

    pthread_mutex_lock(&s->lock);
    mine = !s->led;
    if (mine) {
        s->led = true;
        arm_doorbell(s, false);
    }
    pthread_mutex_unlock(&s->lock);
    if (mine) {
        ring_wake(&s->consumer);
    }
    return mine;
}

static void drain_doorbell(struct session *s)
{
    struct pollfd pfd = { .fd = s->p.doorbell, .events = POLLIN };
    uint64_t count;

    if (poll(&pfd, 1, 0) == 1 &&
        read(s->p.doorbell, &count, sizeof(count)) < 0) {
        return; /* somebody else's read was faster: just as well */
    }
}

void session_block_begin(struct request *r)
{
    struct session *s = r->session;

    if (r->blocked) {
        return;
    }
    r->blocked = true;
    budget_trim(s->p.budget);
    drain_doorbell(s);
    pthread_mutex_lock(&s->lock);
    s->led = false;
    if (ring_sleep(&s->consumer)) {
        arm_doorbell(s, true);
    } else {
        call_follower(s);
    }
    pthread_mutex_unlock(&s->lock);
}

void session_doorbell(struct session *s)
{
    pthread_mutex_lock(&s->lock);
    s->armed = false; /* one shot */
    if (!s->led) {
        call_follower(s);
    }
    pthread_mutex_unlock(&s->lock);
}

/* --- one message ----------------------------------------------------------- */

static void signal_slot(struct session *s, uint32_t n)
{
    int fd = atomic_load(&s->events[n]);
    uint64_t one = 1;

    if (fd >= 0 && write(fd, &one, sizeof(one)) < 0) {
        log_debug("eventfd of ring %u: %s", n, strerror(errno));
    }
}

/*
 * Threads take turns with a reply slot by way of the guest, which frees it when it
 * has read the answer: an order between them that ThreadSanitizer cannot see.
 */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *);
void __tsan_release(void *);
#define slot_came(slot)  __tsan_acquire(slot)
#define slot_leaves(slot) __tsan_release(slot)
#else
#define slot_came(slot)  ((void)(slot))
#define slot_leaves(slot) ((void)(slot))
#endif

static void answer(struct request *r, enum wire_status status)
{
    struct session *s = r->session;
    uint32_t n = r->header.slot;
    struct ring_slot *slot = ring_slot(s->ring, n);

    for (unsigned i = 0; i < r->pins; i++) {
        blob_unref(r->pinned[i]);
    }
    if (n == 0) {
        return;
    }
    for (unsigned i = 0; i < VGPU_API_COUNT; i++) {
        if (s->p.apis[i] && s->p.apis[i]->settle) {
            s->p.apis[i]->settle(s);
        }
    }
    slot->size = (uint32_t)(r->out.p - (uint8_t *)ring_reply(s->ring, n));
    slot->status = status;
    slot_leaves(slot);
    if (ring_slot_post(slot, r->header.seq)) {
        signal_slot(s, n);
    }
}

static enum wire_status session_serve(struct request *r)
{
    if (r->header.call != WIRE_PING) {
        return WIRE_UNKNOWN;
    }
    return wire_done(&r->in) ? WIRE_OK : WIRE_MALFORMED;
}

static enum wire_status dispatch(struct request *r)
{
    const struct session_api *api;

    if (r->header.api == VGPU_API_SESSION) {
        return session_serve(r);
    }
    if (r->header.api >= VGPU_API_COUNT) {
        return WIRE_UNKNOWN;
    }
    api = r->session->p.apis[r->header.api];
    if (!api) {
        return WIRE_UNKNOWN;
    }
    if (r->session->p.trace) {
        api->print(r->session->p.trace, r->header.call, r->in);
    }
    return api->serve(r);
}

/* Serve the message of @size bytes at @buf. Returns whether we still lead. */
static bool serve(struct session *s, const uint8_t *buf, uint32_t size)
{
    struct request r = { .session = s };
    enum wire_status status;
    bool leads;

    memcpy(&r.header, buf, sizeof(r.header));
    if (r.header.payload > size - sizeof(r.header) || r.header.payload % 8 ||
        r.header.slot >= RING_SLOTS) {
        session_fail(s, RING_FATAL_PROTOCOL,
                     "a message of %u bytes has an impossible header "
                     "(payload %u, slot %u)", size, r.header.payload,
                     r.header.slot);
    }
    wire_in_init(&r.in, buf + sizeof(r.header), r.header.payload);
    if (r.header.slot) {
        slot_came(ring_slot(s->ring, r.header.slot));
        wire_out_init(&r.out, ring_reply(s->ring, r.header.slot),
                      RING_REPLY_SIZE);
    }
    status = dispatch(&r);
    if (status == WIRE_MALFORMED) {
        session_fail(s, RING_FATAL_PROTOCOL,
                     "call %u of api %u cannot be decoded (%u bytes)",
                     r.header.call, r.header.api, r.header.payload);
    }
    if (r.header.slot && r.out.bad) {
        /* Ours to know that it fits; the guest asked for more than that. */
        session_fail(s, RING_FATAL_PROTOCOL,
                     "the answer to call %u of api %u is larger than %u bytes",
                     r.header.call, r.header.api, RING_REPLY_SIZE);
    }
    /* Awake before the answer is out, or the next message rings the doorbell. */
    leads = !r.blocked || try_lead(s);
    answer(&r, status);
    return leads;
}

/* --- the threads ----------------------------------------------------------- */

/* Look for a message for a while. Returns whether one came. */
static bool spin(struct session *s)
{
    struct spin spin = s->spin_max_ns > SPIN_MAX_NS
                           ? spin_begin_prompt(s->spin_ns)
                           : spin_begin_staying(s->spin_ns);

    if (!s->may_spin) {
        return false;
    }
    do {
        if (ring_pending(&s->consumer)) {
            return true;
        }
    } while (spin_again(&spin));
    return false;
}

/* Whether some API has work going on that is not in the ring. */
static bool is_busy(struct session *s)
{
    bool busy = false;

    for (unsigned i = 0; i < VGPU_API_COUNT; i++) {
        if (s->p.apis[i] && s->p.apis[i]->idle) {
            busy |= s->p.apis[i]->idle(s);
        }
    }
    return busy;
}

/*
 * Nothing to do. Spin, and if that did not help, sleep. How long the next spin
 * is depends on whether a longer one would have helped this time.
 */
static void wait_for_message(struct session *s)
{
    struct pollfd pfd = { .fd = s->p.doorbell, .events = POLLIN };
    uint64_t before, count;

    while (is_busy(s)) {
        if (ring_pending(&s->consumer)) {
            return;
        }
    }
    if (spin(s)) {
        return;
    }
    budget_trim(s->p.budget);
    if (!ring_sleep(&s->consumer)) {
        return;
    }
    before = spin_now();
    while (poll(&pfd, 1, -1) < 0 && errno == EINTR) {
    }
    if (pfd.revents & (POLLERR | POLLNVAL | POLLHUP) ||
        read(s->p.doorbell, &count, sizeof(count)) < 0) {
        session_fail(s, RING_FATAL_PROTOCOL, "the doorbell is no eventfd");
    }
    ring_wake(&s->consumer);
    if (spin_now() - before < 2 * s->spin_max_ns) {
        s->spin_ns = s->spin_max_ns;
    } else if (spin_now() - before < SLEEP_LONG_NS && s->spin_ns > SPIN_MIN_NS) {
        s->spin_ns /= 2;
    }
}

static void *ring_thread(void *opaque)
{
    struct thread *t = opaque;
    struct session *s = t->session;

    take_lead(s);
    for (;;) {
        uint32_t size;
        bool signal = false;
        enum ring_result got = ring_consume(&s->consumer, t->buf, &size,
                                            &signal);

        if (signal) {
            signal_slot(s, 0);
        }
        switch (got) {
        case RING_EMPTY:
            wait_for_message(s);
            break;
        case RING_MESSAGE:
            if (!serve(s, t->buf, size)) {
                take_lead(s);
            }
            break;
        case RING_BROKEN:
            session_fail(s, RING_FATAL_PROTOCOL, "the ring is corrupt");
        }
    }
    return NULL;
}

/* --- the session ----------------------------------------------------------- */

static bool spinning_is_on(void)
{
    const char *perf = getenv("VGPU_PERF");

    return !perf || !strstr(perf, "no_spin");
}

static uint32_t longest_spin(const struct session_api *const *apis)
{
    uint32_t ns = SPIN_MAX_NS;

    for (unsigned i = 0; i < VGPU_API_COUNT; i++) {
        if (apis[i] && apis[i]->spin_ns > ns) {
            ns = apis[i]->spin_ns;
        }
    }
    return ns;
}

struct session *session_create(const struct session_params *params)
{
    struct session *s = calloc(1, sizeof(*s));
    struct epoll_event ev = { .events = 0, .data.ptr = s };

    if (!s) {
        return NULL;
    }
    s->p = *params;
    s->handles = handles_create(VGPU_OBJECTS_MAX);
    if (!s->handles ||
        epoll_ctl(s->p.epoll, EPOLL_CTL_ADD, s->p.doorbell, &ev) < 0) {
        handles_destroy(s->handles);
        free(s);
        return NULL;
    }
    s->may_spin = spinning_is_on();
    s->spin_max_ns = longest_spin(params->apis);
    s->spin_ns = s->spin_max_ns;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->lead_is_free, NULL);
    for (unsigned i = 0; i < RING_SLOTS; i++) {
        atomic_init(&s->events[i], -1);
    }
    return s;
}

int session_start(struct session *s, struct blob *ring)
{
    uint8_t *map = blob_at(ring, 0, blob_size(ring));

    if (!ring_format(&s->consumer, map, blob_size(ring))) {
        return -EINVAL;
    }
    ring_populate(map, ring_bytes(s->consumer.size));
    s->ring_blob = blob_ref(ring);
    s->message_max = ring_message_max(s->consumer.size);
    s->ring = map;
    pthread_mutex_lock(&s->lock);
    call_follower(s);
    pthread_mutex_unlock(&s->lock);
    return s->threads ? 0 : -ENOMEM;
}

void session_set_event(struct session *s, uint32_t n, int fd)
{
    int old = atomic_load(&s->events[n]);

    if (old < 0) {
        atomic_store(&s->events[n], fd);
    } else {
        /* In place: a ring thread may be just about to write to the old one. */
        dup3(fd, old, O_CLOEXEC);
        close(fd);
    }
    /* The answer may have come before there was anything to signal. */
    signal_slot(s, n);
}

struct handles *session_handles(struct session *s)
{
    return s->handles;
}

/*
 * The same blob each time that a call asks: the guest may have given it up since, and
 * have another under that id.
 */
static struct blob *find_blob(struct request *r, uint64_t id)
{
    for (unsigned i = 0; i < r->pins; i++) {
        if (blob_id(r->pinned[i]) == id) {
            return blob_ref(r->pinned[i]);
        }
    }
    return memory_get(r->session->p.memory, id);
}

struct blob *session_span_blob(struct request *r, const struct wire_span *span)
{
    struct blob *b = find_blob(r, span->blob & ~WIRE_SPAN_FLAGS);

    if (b && !blob_at(b, span->offset, span->size)) {
        blob_unref(b);
        return NULL;
    }
    return b;
}

void *session_span(struct request *r, const struct wire_span *span)
{
    struct blob *b;

    if (r->pins == REQUEST_PINS) {
        return NULL;
    }
    b = session_span_blob(r, span);
    if (!b) {
        return NULL;
    }
    r->pinned[r->pins++] = b;
    return blob_at(b, span->offset, span->size);
}

struct blob *session_blob(struct session *s, const struct wire_span *span)
{
    struct blob *b = memory_get(s->p.memory, span->blob);

    if (b && !blob_at(b, span->offset, span->size)) {
        blob_unref(b);
        return NULL;
    }
    return b;
}

void *session_reply_area(struct session *s, uint32_t n)
{
    return ring_reply(s->ring, n);
}

void session_post(struct session *s, uint32_t n, uint32_t seq)
{
    if (ring_slot_post(ring_slot(s->ring, n), seq)) {
        signal_slot(s, n);
    }
}

void session_send(struct session *s, const void *packet, int fd)
{
    int err = proto_send(s->p.sock, packet, &fd, fd >= 0);

    if (err) {
        log_debug("context ends: %s", strerror(-err));
        _exit(0);
    }
}

bool session_charge(struct session *s, uint64_t bytes)
{
    return budget_charge(s->p.budget, bytes);
}

void session_release(struct session *s, uint64_t bytes)
{
    budget_release(s->p.budget, bytes);
}

uint64_t session_memory_max(struct session *s)
{
    return s->p.budget->max;
}

void session_fail(struct session *s, enum ring_fatal why, const char *fmt, ...)
{
    struct proto_lost lost = { .type = PROTO_LOST, .why = why };
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(lost.text, sizeof(lost.text), fmt, ap);
    va_end(ap);
    log_line("context lost: %s", lost.text);
    if (s->ring) {
        ring_set_fatal(s->ring, why);
        for (uint32_t i = 0; i < RING_SLOTS; i++) {
            signal_slot(s, i);
        }
    }
    proto_send(s->p.sock, &lost, NULL, 0);
    _exit(0);
}
