/*
 * The virgl worker as the device sees it: a socket, and a ring of which the device
 * is the producer.
 *
 *   OFF       no worker; the first message starts one
 *   STARTING  asked for: ring and staging memory, then START; the queue waits
 *   READY     messages go into the ring
 *
 * The worker is believed in nothing. Memory that it makes is sealed and mapped
 * with a size of our own; of what it writes, positions and completions are
 * read once and checked; whoever breaks the protocol, or does not move for too
 * long while something waits for it, is given up.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "hw/display/vgpu-remote.h"

#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "trace/trace-hw_display_vgpu_remote.h"

#define FDS 4 /* socket, three eventfds */

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

/* --- progress ------------------------------------------------------------ */

uint32_t vgpu_virgl_reached(VgpuVirgl *v, uint32_t n)
{
    return v->ring ? atomic_load_explicit(&ring_slot(v->ring, n)->done,
                                          memory_order_acquire) : 0;
}

static uint32_t worker_head(VgpuVirgl *v)
{
    return vgpu_virgl_reached(v, 0);
}

void vgpu_virgl_watch(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    if (!timer_pending(v->watchdog)) {
        v->watched_head = worker_head(v);
        v->watched_done = vgpu_jobs_completed(v);
        timer_mod(v->watchdog, now_ms() + (v->state == VGPU_VIRGL_STARTING
                                           ? VGPU_VIRGL_START_MS : v->hang_ms));
    }
}

/* From time to time, while anything waits; an idle device has no timer. */
static void watchdog(void *opaque)
{
    VgpuRemote *vr = opaque;
    VgpuVirgl *v = &vr->virgl;
    bool moved = worker_head(v) != v->watched_head ||
                 vgpu_jobs_completed(v) != v->watched_done;

    vgpu_jobs_serve(vr); /* what nobody waits for may lie there for long */
    if (v->state == VGPU_VIRGL_OFF || (v->n_jobs == 0 && !v->stalled)) {
        return;
    }
    if (!moved || v->state == VGPU_VIRGL_STARTING) {
        vgpu_virgl_lose(vr, "its worker does not answer");
        return;
    }
    vgpu_virgl_watch(vr);
}

void vgpu_virgl_moved_on(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    vgpu_screens_kick(vr);
    if (v->stalled) {
        v->stalled = false;
        qemu_bh_schedule(vr->resume_bh);
    }
}

uint32_t vgpu_virgl_stall(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    v->stalled = true;
    vgpu_virgl_watch(vr);
    /* Whatever it is that is waited for, a completion is a reason to look. */
    if (v->n_jobs) {
        vgpu_jobs_arm(v);
    }
    return VGPU_STALL;
}

/* --- memory -------------------------------------------------------------- */

bool vgpu_virgl_packet(VgpuRemote *vr, const void *m, int fd)
{
    int err = proto_send(vr->virgl.sock, m, &fd, fd >= 0 ? 1 : 0);

    if (err) {
        vgpu_virgl_lose(vr, err == -EPIPE ? "its worker has ended"
                                          : "its worker does not listen");
    }
    return err == 0;
}

static VgpuMemory *ask(VgpuRemote *vr, uint64_t id, uint64_t size,
                       VgpuMemoryReady *ready, void *opaque)
{
    VgpuVirgl *v = &vr->virgl;
    struct proto_blob_create m = { .type = PROTO_BLOB_CREATE, .blob = id };
    VgpuMemory *memory = g_new0(VgpuMemory, 1);

    memory->refs = 2; /* the caller's, and the list's */
    memory->id = id;
    memory->size = m.size = ROUND_UP(size, qemu_real_host_page_size());
    memory->ready = ready;
    memory->opaque = opaque;
    QSIMPLEQ_INSERT_TAIL(&v->asked, memory, next);
    if (!vgpu_virgl_packet(vr, &m, -1)) {
        vgpu_memory_unref(memory);
        return NULL;
    }
    return memory;
}

VgpuMemory *vgpu_memory_ask(VgpuRemote *vr, uint64_t size,
                            VgpuMemoryReady *ready, void *opaque)
{
    VgpuVirgl *v = &vr->virgl;

    if (v->state != VGPU_VIRGL_READY || size > VGPU_BLOB_SIZE_MAX) {
        return NULL;
    }
    return ask(vr, v->next_memory++, size, ready, opaque);
}

VgpuMemory *vgpu_memory_local(VgpuRemote *vr, uint64_t size)
{
    VirtIOGPU *g = VIRTIO_GPU(vr);
    VgpuMemory *m;
    void *map;

    size = ROUND_UP(size, qemu_real_host_page_size());
    if (g->hostmem >= g->conf_max_hostmem ||
        size > g->conf_max_hostmem - g->hostmem) {
        return NULL;
    }
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
               -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    m = g_new0(VgpuMemory, 1);
    m->refs = 1;
    m->size = size;
    m->map = map;
    g->hostmem += size;
    return m;
}

VgpuMemory *vgpu_memory_ref(VgpuMemory *m)
{
    m->refs++;
    return m;
}

void vgpu_memory_unref(VgpuMemory *m)
{
    if (m && --m->refs == 0) {
        if (m->map) {
            munmap(m->map, m->size);
        }
        g_free(m);
    }
}

void vgpu_memory_give_back(VgpuRemote *vr, VgpuMemory *m)
{
    struct proto_blob_destroy destroy = { .type = PROTO_BLOB_DESTROY };

    if (!m) {
        return;
    }
    destroy.blob = m->id;
    vgpu_memory_unref(m);
    if (vr->virgl.state == VGPU_VIRGL_READY) {
        vgpu_virgl_packet(vr, &destroy, -1);
    }
}

/* Returns NULL or what is wrong with it. Closes @fd. */
static const char *memory_created(VgpuRemote *vr,
                                  const struct proto_blob_created *c, int fd)
{
    VgpuVirgl *v = &vr->virgl;
    VgpuMemory *m = QSIMPLEQ_FIRST(&v->asked);
    const char *why = NULL;

    if (!m || m->id != c->blob) {
        why = "its worker answers what was not asked";
    } else if (fd < 0) {
        m->failed = true;
    } else if (proto_check_blob(fd, m->size) < 0) {
        why = "its worker's memory is too small or not sealed";
    } else {
        m->map = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (m->map == MAP_FAILED) {
            m->map = NULL;
            m->failed = true;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    if (!why) {
        QSIMPLEQ_REMOVE_HEAD(&v->asked, next);
        if (m->refs > 1) {
            m->ready(vr, m->opaque);
        }
        vgpu_memory_unref(m);
    }
    return why;
}

/* --- what it says -------------------------------------------------------- */

static const char *take(void *opaque, const union proto_any *m, int fd)
{
    if (m->type == PROTO_EXPORTED) {
        vgpu_picture_exported(opaque, &m->exported, fd);
        return NULL;
    }
    return memory_created(opaque, &m->blob_created, fd);
}

void vgpu_virgl_read(VgpuRemote *vr)
{
    union proto_any m;
    const char *why = vgpu_worker_read(&vr->virgl.sock, &m, take,
                                       vgpu_pages_imported, vr);

    if (why) {
        vgpu_virgl_lose(vr, why);
    }
}

static void readable(void *opaque)
{
    vgpu_virgl_read(opaque);
}

static void done_signalled(EventNotifier *e)
{
    event_notifier_test_and_clear(e);
    vgpu_jobs_serve(container_of(e, VgpuRemote, virgl.done));
}

static void space_signalled(EventNotifier *e)
{
    event_notifier_test_and_clear(e);
    vgpu_virgl_moved_on(container_of(e, VgpuRemote, virgl.space));
}

/* --- the start ----------------------------------------------------------- */

char *vgpu_virgl_text(const void *from, size_t size)
{
    char *text = g_strndup(from, size);

    for (char *c = text; *c; c++) {
        *c = *c < ' ' || *c > '~' || *c == '"' || *c == '\\' ? '?' : *c;
    }
    return text;
}

static char *workers_text(VgpuVirgl *v)
{
    return vgpu_virgl_text(ring_reply(v->ring, VIRGL_TEXT_SLOT), VIRGL_TEXT_MAX);
}

static void start_failed(VgpuRemote *vr)
{
    g_autofree char *why = vr->virgl.ring ? workers_text(&vr->virgl) : NULL;

    vgpu_virgl_lose(vr, why && why[0] ? why
                        : "its worker finds no EGL or OpenGL that "
                          "virglrenderer can use");
}

static void start_done(VgpuRemote *vr, VgpuJob *job,
                       const struct virgl_done *done)
{
    VgpuVirgl *v = &vr->virgl;

    if (v->state != VGPU_VIRGL_STARTING) {
        return; /* lost meanwhile */
    }
    if (done->status || done->b == 0 || done->b > sizeof(v->caps)) {
        start_failed(vr);
        return;
    }
    v->state = VGPU_VIRGL_READY;
    timer_del(v->watchdog);
    if (v->caps_size == 0) {
        v->caps_version = done->a;
        v->caps_size = done->b;
        memcpy(v->caps, ring_reply(v->ring, VIRGL_CAPS_SLOT), done->b);
    }
    trace_vgpu_remote_virgl_ready(v->generation, v->caps_version,
                                  v->caps_size);
}

static bool send_message(VgpuRemote *vr, VgpuMessage *m, uint32_t payload,
                         const VgpuJob *job);

static void staging_ready(VgpuRemote *vr, void *opaque)
{
    VgpuVirgl *v = &vr->virgl;
    VgpuJob job = { .done = start_done, .wanted = true };
    char gpu[VIRGL_GPU_MAX] = { 0 };
    VgpuMessage m;

    if (!v->ring || !v->staging || !v->staging->map) {
        vgpu_virgl_lose(vr, "its worker has no memory");
        return;
    }
    pstrcpy(gpu, sizeof(gpu), v->gpu ? v->gpu : "");
    if (send_message(vr, &m, sizeof(gpu), &job)) {
        wire_put_bytes(&m.out, gpu, sizeof(gpu));
        vgpu_virgl_end(vr, &m, VIRGL_START);
    }
}

static void ring_ready(VgpuRemote *vr, void *opaque)
{
    VgpuVirgl *v = &vr->virgl;
    const char *why = "its worker has no memory";

    if (v->ring_memory->map) {
        why = ring_producer_init(&v->producer, v->ring_memory->map,
                                 VIRGL_RING_SIZE);
    }
    if (why) {
        vgpu_virgl_lose(vr, why);
    } else {
        v->ring = v->ring_memory->map;
    }
}

static void close_fds(VgpuVirgl *v)
{
    if (v->sock >= 0) {
        qemu_set_fd_handler(v->sock, NULL, NULL, NULL);
        close(v->sock);
        v->sock = -1;
    }
    for (size_t i = 0; i < 3; i++) {
        EventNotifier *e = (EventNotifier *[]) {
            &v->doorbell, &v->space, &v->done }[i];

        if (e->initialized) {
            event_notifier_set_handler(e, NULL);
            event_notifier_cleanup(e);
        }
    }
}

static bool open_fds(VgpuRemote *vr, Error **errp)
{
    VgpuVirgl *v = &vr->virgl;
    int pair[2];
    bool ok;

    if (event_notifier_init(&v->doorbell, 0) < 0 ||
        event_notifier_init(&v->space, 0) < 0 ||
        event_notifier_init(&v->done, 0) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   pair) < 0) {
        error_setg_errno(errp, errno, "no files for a virgl worker");
        return false;
    }
    v->sock = pair[0];
    ok = vgpu_server_virgl(vr, pair[1], event_notifier_get_fd(&v->doorbell),
                           errp);
    close(pair[1]);
    return ok;
}

static bool start(VgpuRemote *vr, Error **errp)
{
    VgpuVirgl *v = &vr->virgl;
    struct proto_ring_event event = { .type = PROTO_RING_EVENT };

    if (v->given_up) {
        error_setg(errp, "%d virgl workers ended within a minute",
                   VGPU_VIRGL_CRASHES);
        return false;
    }
    if (!vgpu_charge(vr, FDS)) {
        error_setg(errp, "no files left for a virgl worker");
        return false;
    }
    if (!open_fds(vr, errp)) {
        close_fds(v);
        vgpu_uncharge(vr, FDS);
        return false;
    }
    v->state = VGPU_VIRGL_STARTING;
    v->generation++;
    v->next_memory = VIRGL_BLOB_FIRST;
    v->done_seen = v->watched_head = v->watched_done = 0;
    v->staging_head = v->staging_tail = 0;
    trace_vgpu_remote_virgl_start(v->generation);
    qemu_set_fd_handler(v->sock, readable, NULL, vr);
    event_notifier_set_handler(&v->space, space_signalled);
    event_notifier_set_handler(&v->done, done_signalled);
    event.ring = 0;
    if (!vgpu_virgl_packet(vr, &event, event_notifier_get_fd(&v->space))) {
        goto lost;
    }
    event.ring = VIRGL_DONE_SLOT;
    if (!vgpu_virgl_packet(vr, &event, event_notifier_get_fd(&v->done))) {
        goto lost;
    }
    v->ring_memory = ask(vr, VGPU_BLOB_RING, VIRGL_RING_SIZE, ring_ready, NULL);
    if (!v->ring_memory) {
        goto lost;
    }
    v->staging = ask(vr, VIRGL_STAGING, VGPU_VIRGL_STAGING, staging_ready, NULL);
    if (!v->staging) {
        goto lost;
    }
    vgpu_virgl_watch(vr);
    return true;

lost:
    error_setg(errp, "the virgl worker ended at once");
    return false;
}

static void vulkan_done(VgpuRemote *vr, VgpuJob *job,
                        const struct virgl_done *done)
{
    VgpuVirgl *v = &vr->virgl;

    v->looking = false;
    if (done->status || !v->ring) {
        return;
    }
    v->vulkan = workers_text(v);
    if (done->b <= sizeof(v->venus_caps)) {
        v->venus_version = done->a;
        v->venus_size = done->b;
        memcpy(v->venus_caps, ring_reply(v->ring, VIRGL_CAPS_SLOT), done->b);
    }
}

/* The last that a worker is asked: whatever its host's drivers do then, we have all. */
static void ask_about_vulkan(VgpuRemote *vr)
{
    VgpuJob job = { .done = vulkan_done, .wanted = true };
    VgpuMessage m;

    if (vgpu_virgl_try(vr, &m, 0, &job)) {
        vr->virgl.looking = true;
        vgpu_virgl_end(vr, &m, VIRGL_VULKAN);
    }
}

/* For something that the worker does, in the middle of QEMU's start. */
static void wait_for_worker(VgpuRemote *vr, int64_t end)
{
    VgpuVirgl *v = &vr->virgl;
    struct pollfd fds[] = {
        { .fd = v->sock, .events = POLLIN },
        { .fd = event_notifier_get_fd(&v->done), .events = POLLIN },
    };

    if (poll(fds, ARRAY_SIZE(fds), end - now_ms()) > 0) {
        if (fds[0].revents) {
            readable(vr);
        } else {
            done_signalled(&v->done);
        }
    }
}

bool vgpu_virgl_probe(VgpuRemote *vr, Error **errp)
{
    VgpuVirgl *v = &vr->virgl;
    int64_t end = now_ms() + VGPU_VIRGL_START_MS;

    v->probing = true;
    v->why = NULL;
    if (!start(vr, errp)) {
        v->probing = false;
        return false;
    }
    while (v->state == VGPU_VIRGL_STARTING && now_ms() < end) {
        wait_for_worker(vr, end);
    }
    if (v->state != VGPU_VIRGL_READY) {
        error_setg(errp, "%s", v->why ? v->why : "its worker does not answer");
    } else {
        ask_about_vulkan(vr);
    }
    while (v->looking && now_ms() < end) {
        wait_for_worker(vr, end);
    }
    g_clear_pointer(&v->why, g_free);
    vgpu_virgl_lose(vr, NULL);
    v->probing = false;
    return v->caps_size != 0;
}

/* --- the end ------------------------------------------------------------- */

/* Whether there were too many of late; remembers this one. */
static bool count_crash(VgpuVirgl *v)
{
    unsigned at = v->n_crashes++ % VGPU_VIRGL_CRASHES;
    int64_t oldest = v->crashes[at];

    v->crashes[at] = now_ms();
    return v->n_crashes > VGPU_VIRGL_CRASHES && now_ms() - oldest < 60000;
}

static void report(VgpuRemote *vr, const char *text)
{
    VgpuVirgl *v = &vr->virgl;

    v->resets++;
    vgpu_report(vr, "the guest's OpenGL is lost: %s", text);
    if (count_crash(v) && !v->given_up) {
        v->given_up = true;
        error_report("vgpu-remote: %d virgl workers ended within a minute: the "
                     "guest has no OpenGL until it is reset, and goes on in 2D",
                     VGPU_VIRGL_CRASHES);
    }
}

void vgpu_virgl_lose(VgpuRemote *vr, const char *text)
{
    VgpuVirgl *v = &vr->virgl;

    if (v->state == VGPU_VIRGL_OFF) {
        return;
    }
    trace_vgpu_remote_virgl_lost(v->generation, text ? text : "");
    v->state = VGPU_VIRGL_OFF;
    timer_del(v->watchdog);
    close_fds(v);
    vgpu_uncharge(vr, FDS);
    v->contexts = 0;
    vgpu_jobs_lose(vr);
    vgpu_pages_lost(vr);
    while (!QSIMPLEQ_EMPTY(&v->asked)) {
        VgpuMemory *m = QSIMPLEQ_FIRST(&v->asked);

        QSIMPLEQ_REMOVE_HEAD(&v->asked, next);
        m->failed = true;
        vgpu_memory_unref(m);
    }
    vgpu_screens_lost(vr);
    g_hash_table_remove_all(v->twins);
    g_clear_pointer(&v->large, vgpu_memory_unref);
    v->large_used = false;
    g_clear_pointer(&v->staging, vgpu_memory_unref);
    g_clear_pointer(&v->ring_memory, vgpu_memory_unref);
    v->ring = NULL;
    if (text && v->probing) {
        g_free(v->why);
        v->why = g_strdup(text);
    } else if (text) {
        report(vr, text);
    }
    vgpu_held_flush(vr);
    if (v->stalled) {
        v->stalled = false;
        qemu_bh_schedule(vr->resume_bh);
    }
}

/* --- messages ------------------------------------------------------------ */

/* There is a ring, and a token if one is wanted. False: no room in the ring. */
static bool send_message(VgpuRemote *vr, VgpuMessage *m, uint32_t payload,
                         const VgpuJob *job)
{
    VgpuVirgl *v = &vr->virgl;
    uint32_t token = 0;

    payload += 8; /* the token */
    m->size = ROUND_UP(sizeof(*m->header) + payload, RING_ALIGN);
    m->header = ring_reserve(&v->producer, m->size);
    if (!m->header) {
        return false;
    }
    memset(m->header, 0, sizeof(*m->header));
    m->header->size = m->size;
    m->header->payload = payload;
    m->header->api = VGPU_API_VIRGL;
    m->job = NULL;
    if (job) {
        m->job = vgpu_job_add(v, job);
        token = m->job - v->jobs + 1;
    }
    wire_out_init(&m->out, m->header + 1, payload);
    wire_put(&m->out, token);
    return true;
}

uint32_t vgpu_virgl_ready(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;
    Error *err = NULL;

    if (v->state == VGPU_VIRGL_OFF && vr->quick) {
        return vgpu_defer(vr);
    }
    if (v->state == VGPU_VIRGL_OFF && !start(vr, &err)) {
        vgpu_report(vr, "no OpenGL for the guest: %s", error_get_pretty(err));
        error_free(err);
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
    return v->state == VGPU_VIRGL_READY ? 0 : vgpu_virgl_stall(vr);
}

uint32_t vgpu_virgl_begin(VgpuRemote *vr, VgpuMessage *m, uint32_t payload,
                          const VgpuJob *job)
{
    VgpuVirgl *v = &vr->virgl;
    uint32_t error = vgpu_virgl_ready(vr);
    uint32_t size = ROUND_UP(sizeof(*m->header) + payload + 8, RING_ALIGN);

    if (error) {
        return error;
    }
    if (job && v->n_jobs == ARRAY_SIZE(v->jobs)) {
        if (vr->quick) {
            return vgpu_defer(vr);
        }
        vgpu_jobs_serve(vr);
        if (v->state != VGPU_VIRGL_READY) {
            return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
        }
        if (v->n_jobs == ARRAY_SIZE(v->jobs)) {
            return vgpu_virgl_stall(vr);
        }
    }
    while (!send_message(vr, m, payload, job)) {
        if (!ring_slot_arm(ring_slot(v->ring, 0),
                           ring_space_position(&v->producer, size))) {
            return vgpu_virgl_stall(vr);
        }
    }
    return 0;
}

bool vgpu_virgl_try(VgpuRemote *vr, VgpuMessage *m, uint32_t payload,
                    const VgpuJob *job)
{
    VgpuVirgl *v = &vr->virgl;
    uint32_t size = ROUND_UP(sizeof(*m->header) + payload + 8, RING_ALIGN);

    if (v->state != VGPU_VIRGL_READY || v->n_jobs == ARRAY_SIZE(v->jobs)) {
        return false;
    }
    return send_message(vr, m, payload, job) ||
           (ring_slot_arm(ring_slot(v->ring, 0),
                          ring_space_position(&v->producer, size)) &&
            send_message(vr, m, payload, job));
}

void vgpu_virgl_end(VgpuRemote *vr, VgpuMessage *m, enum virgl_call call)
{
    VgpuVirgl *v = &vr->virgl;

    assert(!m->out.bad);
    m->header->call = call;
    memset(m->out.p, 0, (uint8_t *)m->header + m->size - m->out.p);
    v->commands++;
    if (ring_commit(&v->producer, m->size)) {
        event_notifier_set(&v->doorbell);
    }
    if (m->job) {
        vgpu_virgl_watch(vr);
        if (m->job->wanted && !vr->quick) {
            vgpu_jobs_arm(v); /* else see vgpu_virgl_rung() */
        }
    }
}

/* --- storage ------------------------------------------------------------- */

void vgpu_virgl_init(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    v->sock = -1;
    v->next_picture = 1;
    for (size_t i = 0; i < ARRAY_SIZE(v->screens); i++) {
        QSIMPLEQ_INIT(&v->screens[i].flushes);
    }
    vgpu_pictures_init(vr);
    QSIMPLEQ_INIT(&v->asked);
    QTAILQ_INIT(&v->held);
    v->resources = g_hash_table_new(NULL, NULL);
    v->twins = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    vgpu_pages_init(vr);
    v->watchdog = timer_new_ms(QEMU_CLOCK_REALTIME, watchdog, vr);
}

void vgpu_virgl_finish(VgpuRemote *vr)
{
    vgpu_pages_finish(vr);
    vgpu_pictures_finish(vr);
    g_clear_pointer(&vr->virgl.resources, g_hash_table_destroy);
    g_clear_pointer(&vr->virgl.twins, g_hash_table_destroy);
    g_clear_pointer(&vr->virgl.watchdog, timer_free);
    g_clear_pointer(&vr->virgl.vulkan, g_free);
}
