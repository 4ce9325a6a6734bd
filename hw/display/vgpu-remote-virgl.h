/*
 * The emulated GPU: virtio-gpu's 3D commands, as messages to one worker.
 *
 * A stock guest's virgl driver talks to virglrenderer. That, and the GL below it,
 * are in a worker of vgpu-remoted, one for this device, and never in QEMU. What
 * is here translates: each 3D command becomes a message in a ring of which the
 * device is the producer (api/virgl.h), in the guest's order. A file per part:
 *
 *   vgpu-remote-virgl.c          contexts, resources
 *   vgpu-remote-virgl-submit.c   submissions
 *   vgpu-remote-virgl-transfer.c boxes of a resource, to and from the worker
 *   vgpu-remote-virgl-link.c     the worker: start, ring, loss
 *   vgpu-remote-virgl-job.c      what it has yet to complete
 *   vgpu-remote-virgl-held.c     commands that are answered later, in order
 *   vgpu-remote-virgl-memory.c   guest pages and shared memory
 *   vgpu-remote-virgl-pages.c    guest pages that the worker reads itself
 *   vgpu-remote-virgl-scanout.c  screens and cursors
 *   vgpu-remote-virgl-dmabuf.c   pictures that a display takes as they are
 *   vgpu-remote-virgl-2d.c       2D resources that OpenGL uses too
 *   vgpu-remote-virgl-blob.c     blobs of guest memory
 *
 * Nothing waits for the worker but the guest: a command whose fence needs it is
 * held; one for which there is no room suspends the queue, until the worker
 * has moved on or the watchdog gives it up. Then contexts and resources are
 * lost, what is held is answered, screens keep their last picture, and the
 * next context gets a new worker, unless too many have ended of late.
 *
 * All of it runs with the BQL held; in the main loop, but for reset, and for what is
 * quick: see ctrl_cb() in vgpu-remote.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_DISPLAY_VGPU_REMOTE_VIRGL_H
#define HW_DISPLAY_VGPU_REMOTE_VIRGL_H

#include "qemu/event_notifier.h"
#include "qemu/queue.h"
#include "qemu/timer.h"
#include "hw/virtio/virtio-gpu.h"
#include "api/proto.h"
#include "api/venus.h"
#include "api/virgl.h"

typedef struct VgpuRemote VgpuRemote;
typedef struct VgpuContext VgpuContext;
typedef struct VgpuVirgl VgpuVirgl;
typedef struct VgpuHeld VgpuHeld;
typedef struct VgpuJob VgpuJob;
typedef struct VgpuMemory VgpuMemory;
typedef struct VgpuBacking VgpuBacking;
typedef struct VgpuTwin VgpuTwin;
typedef struct VgpuPicture VgpuPicture;

/* What one guest may make the device keep. */
#define VGPU_VIRGL_RESOURCES_MAX (1u << 17)
#define VGPU_VIRGL_PAGES_MAX     (1u << 22) /* entries of all backings */
#define VGPU_VIRGL_ATTACHED_MAX  (1u << 18) /* kept for contexts not begun */
#define VGPU_VIRGL_HELD_MAX      512        /* commands */
#define VGPU_VIRGL_STAGING       (32u << 20)
#define VGPU_VIRGL_TRANSFER_MAX  (1u << 30)

/* What a vCPU's thread does without the main loop: entries mapped, bytes copied. */
#define VGPU_VIRGL_QUICK_PAGES 64
#define VGPU_VIRGL_QUICK_MAX   (64u << 10)

#define VGPU_VIRGL_START_MS   10000 /* EGL and GL have to start */
#define VGPU_VIRGL_HANG_MS    10000 /* unless the user says otherwise */
#define VGPU_VIRGL_CRASHES    5     /* so many in a minute, and there is no more */

/* --- memory that a worker made: vgpu-remote-virgl-link.c ----------------- */

typedef void VgpuMemoryReady(VgpuRemote *vr, void *opaque);

struct VgpuMemory {
    unsigned refs;
    uint64_t id;
    uint64_t size;
    void *map;   /* NULL: not there yet, or never will be */
    bool failed;
    VgpuMemoryReady *ready; /* called when it is there, or failed */
    void *opaque;
    QSIMPLEQ_ENTRY(VgpuMemory) next; /* while asked for */
};

/* --- guest pages ---------------------------------------------------------- */

/* Where rows of a box are; one row where there are no gaps. */
typedef struct VgpuLayout {
    uint64_t row, rows, layers; /* bytes of one; how many in a layer; layers */
    uint64_t stride, layer_stride;
} VgpuLayout;

/* A place in a list of guest pages. */
typedef struct VgpuCursor {
    const struct iovec *iov;
    unsigned n;
    size_t at; /* in the first */
} VgpuCursor;

/** vgpu_cursor_skip: go on by @bytes; behind the end there are no pages left. */
void vgpu_cursor_skip(VgpuCursor *c, uint64_t bytes);

/* --- a token: vgpu-remote-virgl-job.c ------------------------------------ */

/* Called once; status is EPIPE if the worker is lost. */
typedef void VgpuJobDone(VgpuRemote *vr, VgpuJob *job,
                         const struct virgl_done *done);

struct VgpuJob {
    bool busy;
    bool wanted;    /* somebody waits: the device wants to be woken */
    bool quick;     /* may be finished in any thread */
    VgpuJobDone *done;

    /* for whoever made it: */
    VgpuHeld *held;         /* the command that waits, or NULL */
    VgpuBacking *backing;   /* GET: where it goes; in place: what is read */
    struct virgl_transfer transfer;
    uint64_t offset;        /* in the backing ... */
    VgpuLayout layout;      /* ... and how it lies there */
    bool whole;             /* with what is between the box's rows */
    VgpuMemory *memory;     /* a reference, where not in staging */
    void *data;             /* where it lies */
    bool in_staging;
    bool in_place;          /* the worker reads the backing itself */
    uint64_t staging_begin, staging_end;
    uint32_t scanout;       /* screen or cursor: which */
};

/* A message being written. */
typedef struct VgpuMessage {
    struct wire_header *header;
    struct wire_out out;
    uint32_t size;
    VgpuJob *job; /* NULL: nobody waits */
} VgpuMessage;

/* --- resources and screens ----------------------------------------------- */

/* Whether the worker can read a backing: see vgpu-remote-virgl-pages.c. */
typedef enum VgpuPagesState {
    VGPU_PAGES_NOT,
    VGPU_PAGES_ASKED, /* it was given them, and has yet to answer */
    VGPU_PAGES_THERE,
    VGPU_PAGES_NEVER,
} VgpuPagesState;

/* Guest pages of a resource; a job that copies to them keeps them mapped. */
struct VgpuBacking {
    unsigned refs;
    VgpuRemote *vr;
    struct iovec *iov;
    uint32_t n;
    uint64_t size;

    VgpuPagesState pages;
    uint64_t id;      /* the worker's, if ASKED or THERE */
    unsigned copies;  /* of more than a little, out of it */
    unsigned readers; /* jobs that read it in place */
};

/* Whether a resource can be had as a dmabuf. */
typedef enum VgpuPictured {
    VGPU_PICTURE_UNKNOWN,
    VGPU_PICTURE_ASKED,
    VGPU_PICTURE_NONE,
    VGPU_PICTURE_THERE,
} VgpuPictured;

typedef struct VgpuVirglResource {
    struct virgl_resource args;
    uint32_t generation; /* of the worker that has it; 0: a blob, which none has */
    uint64_t attached;   /* serial of the context it was last attached to; 0: none */
    VgpuBacking *backing;
    VgpuPictured pictured;
    uint32_t asked;       /* the serial of that; 0: never */
    VgpuPicture *picture; /* may be there while it is only asked for */
} VgpuVirglResource;

/* A flush that waits for a screen; one for each screen that it is for. */
typedef struct VgpuFlush VgpuFlush;

typedef struct VgpuVirglScreen {
    uint32_t resource; /* 0: none of ours is shown */
    uint32_t x, y, w, h, format;
    bool is_blob;        /* then it has rows of `stride` bytes from `offset` on */
    uint32_t stride, offset;
    VgpuMemory *memory;  /* its picture; has w, h and format as below */
    uint32_t memory_w, memory_h, memory_format;
    bool reading;        /* the worker: a GET, or a SETTLE of a dmabuf */
    bool is_dirty;
    uint32_t left, top, right, bottom; /* of the resource, not yet read */

    /* the display has it as a dmabuf: vgpu-remote-virgl-dmabuf.c */
    VgpuPicture *picture; /* what it shows, even after the resource; NULL: memory */
    bool is_direct;       /* what is set is shown that way */
    bool is_asked;        /* the worker: whether what is set can be; nothing is shown yet */
    bool takes_none;      /* it could not make use of one */
    bool is_hidden;       /* to be told that it shows none */
    uint32_t settles;     /* how many were sent */
    uint32_t shown;       /* the last of them that the display has seen */
    QSIMPLEQ_HEAD(, VgpuFlush) flushes;
} VgpuVirglScreen;

typedef enum VgpuVirglState {
    VGPU_VIRGL_OFF,
    VGPU_VIRGL_STARTING,
    VGPU_VIRGL_READY,
} VgpuVirglState;

struct VgpuVirgl {
    /* constant after realize */
    bool offers; /* whether the guest is offered virgl2 */
    uint32_t hang_ms;
    char *gpu;  /* "rendernode": which one draws; NULL or empty: any */
    bool dmabuf; /* whether displays may have those */
    uint32_t caps_version, caps_size;
    uint8_t caps[VIRGL_CAPS_MAX];
    uint32_t venus_version, venus_size; /* 0: the guest is offered no Vulkan */
    uint8_t venus_caps[VENUS_CAPS_MAX];
    char *vulkan; /* by what, or why not; NULL: nobody knows */
    int udmabuf;     /* -1: guest pages are copied */
    const char *no_udmabuf; /* and why */

    /* the worker */
    VgpuVirglState state;
    uint32_t generation; /* counts workers */
    int sock;
    EventNotifier doorbell, space, done;
    VgpuMemory *ring_memory;
    void *ring; /* its map, once it is a ring */
    struct ring_producer producer;
    bool probing; /* see vgpu_virgl_probe() */
    char *why;    /* what that came to */
    bool looking; /* for Vulkan: the worker has yet to say */
    QSIMPLEQ_HEAD(, VgpuMemory) asked;
    uint64_t next_memory;

    /* tokens: job n has token n + 1 */
    VgpuJob jobs[VIRGL_DONE_ENTRIES];
    unsigned n_jobs, n_wanted;
    uint32_t next_job;
    uint32_t done_seen;
    VgpuHeld *awaited; /* by the thread that rang: see vgpu-remote-virgl-job.c */
    unsigned impatience, skipped; /* how many such waits to leave out, and have been */

    /* staging: free-running positions */
    VgpuMemory *staging;
    uint64_t staging_head, staging_tail;
    VgpuMemory *large; /* for the transfer that does not fit; NULL: none */
    bool large_used;

    /* the queue is suspended until the worker moves on */
    bool stalled;
    QEMUTimer *watchdog;
    uint32_t watched_head, watched_done;

    QTAILQ_HEAD(, VgpuHeld) held;
    unsigned n_held;

    GHashTable *resources; /* by id */
    GHashTable *twins;     /* by id: of 2D resources, in this worker */
    uint32_t n_pages, n_attached;
    GHashTable *imports;   /* backings that the worker was given, by id */
    unsigned n_asked;      /* of which it has yet to answer */
    uint64_t pinned;       /* bytes of them all */
    uint64_t in_place, copied; /* bytes of uploads */
    uint32_t n_sources;    /* resources that submissions may copy from */
    uint32_t submitted;    /* bytes of the submission that the queue waits with */
    unsigned contexts;     /* that the worker has */
    VgpuVirglScreen screens[VIRTIO_GPU_MAX_SCANOUTS];
    uint32_t next_picture;
    QSIMPLEQ_HEAD(, VgpuPicture) dead;
    QEMUBH *bury_bh;
    uint64_t n_read, n_shown; /* pictures: how often, for the status */

    int64_t crashes[VGPU_VIRGL_CRASHES]; /* when, in ms; a ring */
    unsigned n_crashes;
    bool given_up;
    uint64_t commands, resets;
};

/* --- the worker: vgpu-remote-virgl-link.c -------------------------------- */

/**
 * vgpu_virgl_probe: have a worker, ask for its caps and about Vulkan, and let it go
 * again: no guest has to wait for a renderer when its driver asks what there is. Waits,
 * with a limit; only for realize. Returns false and says why there is none.
 */
bool vgpu_virgl_probe(VgpuRemote *vr, Error **errp);

/**
 * vgpu_virgl_text: a copy of a text of @size bytes at most, in memory that may change
 * at any time: printable, and as it is within JSON. The caller frees it.
 */
char *vgpu_virgl_text(const void *from, size_t size);

/**
 * vgpu_virgl_begin: begin a message with @payload bytes behind its token.
 *
 * @job: what its completion is for, or NULL. It is copied. Starts a worker if
 * there is none. Returns 0; or what a handler is to return: VGPU_STALL, or an
 * error where no worker can be had.
 */
uint32_t vgpu_virgl_begin(VgpuRemote *vr, VgpuMessage *m, uint32_t payload,
                          const VgpuJob *job);

/** vgpu_virgl_try: the same, where the queue need not wait: false if not now. */
bool vgpu_virgl_try(VgpuRemote *vr, VgpuMessage *m, uint32_t payload,
                    const VgpuJob *job);

/** vgpu_virgl_end: send it. */
void vgpu_virgl_end(VgpuRemote *vr, VgpuMessage *m, enum virgl_call call);

/** vgpu_virgl_packet: send packet @m, with @fd if that is none of -1, or lose it. */
bool vgpu_virgl_packet(VgpuRemote *vr, const void *m, int fd);

/** vgpu_virgl_ready: 0 if there is a worker, else as vgpu_virgl_begin(). */
uint32_t vgpu_virgl_ready(VgpuRemote *vr);

/** vgpu_virgl_stall: suspend the queue until the worker moves on. */
uint32_t vgpu_virgl_stall(VgpuRemote *vr);

/** vgpu_virgl_lose: give the worker up. @text says why; NULL: on purpose. */
void vgpu_virgl_lose(VgpuRemote *vr, const char *text);

/** vgpu_virgl_reached: how far the worker has come with ring slot @n; 0 without one. */
uint32_t vgpu_virgl_reached(VgpuVirgl *v, uint32_t n);

/** vgpu_virgl_read: take what the worker has said by its socket. */
void vgpu_virgl_read(VgpuRemote *vr);

/** vgpu_virgl_watch: from now on the worker has to move. */
void vgpu_virgl_watch(VgpuRemote *vr);

/** vgpu_virgl_moved_on: it has: look whether that helps anybody. */
void vgpu_virgl_moved_on(VgpuRemote *vr);

/**
 * vgpu_memory_ask: ask the worker for @size bytes. NULL if there is none to
 * ask. @ready is called later, from the main loop.
 */
VgpuMemory *vgpu_memory_ask(VgpuRemote *vr, uint64_t size,
                            VgpuMemoryReady *ready, void *opaque);
VgpuMemory *vgpu_memory_ref(VgpuMemory *m);
void vgpu_memory_unref(VgpuMemory *m);

/**
 * vgpu_memory_local: @size bytes that no worker has, and that count as pictures of 2D
 * resources do. NULL: there are too many. It has the id 0.
 */
VgpuMemory *vgpu_memory_local(VgpuRemote *vr, uint64_t size);

/** vgpu_memory_give_back: the worker may forget it, too. Drops the reference. */
void vgpu_memory_give_back(VgpuRemote *vr, VgpuMemory *m);

void vgpu_virgl_init(VgpuRemote *vr);
void vgpu_virgl_finish(VgpuRemote *vr);

/** vgpu_virgl_reset: nothing of the guest is left, and nothing is answered. */
void vgpu_virgl_reset(VgpuRemote *vr);

/* --- completions: vgpu-remote-virgl-job.c -------------------------------- */

/** vgpu_job_add: a copy of @job with a token of its own; there is one left. */
VgpuJob *vgpu_job_add(VgpuVirgl *v, const VgpuJob *job);

/** vgpu_jobs_completed: how many completions there have been. */
uint32_t vgpu_jobs_completed(VgpuVirgl *v);

/** vgpu_jobs_serve: take completions until the worker will signal the next. */
void vgpu_jobs_serve(VgpuRemote *vr);

/** vgpu_jobs_arm: have the main loop look at the next completion. */
void vgpu_jobs_arm(VgpuVirgl *v);

/** vgpu_jobs_lose: the worker will complete nothing any more. */
void vgpu_jobs_lose(VgpuRemote *vr);

/**
 * vgpu_virgl_rung: the queue has been processed by the thread that rang. Wait a
 * moment for v->awaited, if that is set.
 */
void vgpu_virgl_rung(VgpuRemote *vr);

/* --- held commands: vgpu-remote-virgl-held.c ----------------------------- */

/** vgpu_held_add: hold @cmd, until vgpu_held_done() and those before it are. */
VgpuHeld *vgpu_held_add(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd);
void vgpu_held_done(VgpuRemote *vr, VgpuHeld *held, uint32_t answer);

/** vgpu_held_flush: answer what can be. */
void vgpu_held_flush(VgpuRemote *vr);

/** vgpu_held_is_behind: whether an answer to @hdr now would come too early. */
bool vgpu_held_is_behind(VgpuRemote *vr, const struct virtio_gpu_ctrl_hdr *hdr);

/** vgpu_held_drop_all: for reset: the commands are somebody else's to free. */
void vgpu_held_drop_all(VgpuRemote *vr);

/* --- guest memory: vgpu-remote-virgl-memory.c ---------------------------- */

/**
 * vgpu_backing_take: @entries pieces of guest memory, told from byte @at of @cmd on.
 * Returns 0, or what a handler is to return.
 */
uint32_t vgpu_backing_take(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                           uint32_t entries, size_t at, VgpuBacking **backing);

void vgpu_backing_unref(VgpuBacking *b);

/**
 * vgpu_backing_is_read: whether the worker still reads @b, which has to wait then:
 * the guest may use its pages for something else when it is told that they are free.
 */
bool vgpu_backing_is_read(const VgpuBacking *b);

/** vgpu_staging_free: what @job had of it. */
void vgpu_staging_free(VgpuRemote *vr, VgpuJob *job);

/**
 * vgpu_staging_alloc: @size bytes for @job: its memory, data and span.
 * Returns 0 or what a handler is to return.
 */
uint32_t vgpu_staging_alloc(VgpuRemote *vr, VgpuJob *job, uint64_t size);

/** vgpu_staging_undo: @job was not sent; it is the last that had memory. */
void vgpu_staging_undo(VgpuRemote *vr, VgpuJob *job);

/** vgpu_staging_try: only if there is room now, and little is asked for. */
bool vgpu_staging_try(VgpuRemote *vr, VgpuJob *job, uint64_t size);

/* --- pages that the worker reads: vgpu-remote-virgl-pages.c ---------------- */

/** vgpu_pages_init: whether there can be any. Says nothing where there cannot. */
void vgpu_pages_init(VgpuRemote *vr);
void vgpu_pages_finish(VgpuRemote *vr);

/** vgpu_pages_want: @b was copied from: next time the worker might read it itself. */
void vgpu_pages_want(VgpuRemote *vr, VgpuBacking *b);

/** vgpu_pages_imported: what the worker says to that. NULL, or what is wrong. */
const char *vgpu_pages_imported(void *opaque,
                                const struct proto_blob_imported *m);

/** vgpu_pages_drop: @b is going. vgpu_pages_lost: the worker is. */
void vgpu_pages_drop(VgpuRemote *vr, VgpuBacking *b);
void vgpu_pages_lost(VgpuRemote *vr);

/** vgpu_pages_status: a part of vgpu_virgl_status(). */
char *vgpu_pages_status(const VgpuVirgl *v);

/* --- transfers: vgpu-remote-virgl-transfer.c ------------------------------ */

/**
 * vgpu_virgl_upload: a transfer to the host, for a submission. @fenced: the guest leaves
 * the pages alone until that is done. 0 or what a handler is to return.
 */
uint32_t vgpu_virgl_upload(VgpuRemote *vr,
                           const struct virtio_gpu_transfer_host_3d *c,
                           bool fenced);

/**
 * vgpu_virgl_copy: the same, from the pages of resource @source, and after what its
 * context has been told so far.
 */
uint32_t vgpu_virgl_copy(VgpuRemote *vr, uint32_t source,
                         const struct virtio_gpu_transfer_host_3d *c,
                         bool fenced);

/** vgpu_virgl_send_copy: a PUT for @job of @size bytes at @data. */
uint32_t vgpu_virgl_send_copy(VgpuRemote *vr, VgpuJob *job, const void *data,
                              uint64_t size);

/* --- screens: vgpu-remote-virgl-scanout.c -------------------------------- */

/** vgpu_screens_kick: read what is dirty and can be read now. */
void vgpu_screens_kick(VgpuRemote *vr);

/** vgpu_screens_unref: resource @id is going. */
void vgpu_screens_unref(VgpuRemote *vr, uint32_t id);

/** vgpu_screens_lost: the worker is; the pictures stay. */
void vgpu_screens_lost(VgpuRemote *vr);
void vgpu_screens_reset(VgpuRemote *vr);

/** vgpu_screens_answered: it is known whether resource @id has a picture. */
void vgpu_screens_answered(VgpuRemote *vr, uint32_t id);

/** vgpu_screens_unblocked: a display has drawn, perhaps. From the main loop. */
void vgpu_screens_unblocked(VgpuRemote *vr);

/** vgpu_screens_drop_held: flushes' commands are somebody else's to free. */
void vgpu_screens_drop_held(VgpuRemote *vr);

/** vgpu_virgl_cursor: update_cursor_data of the class. */
void vgpu_virgl_cursor(VirtIOGPU *g, struct virtio_gpu_scanout *s,
                       uint32_t resource);

/* --- pictures as dmabufs: vgpu-remote-virgl-dmabuf.c ----------------------- */

/** vgpu_picture_is_wanted: whether screen @n might show @r as a dmabuf. */
bool vgpu_picture_is_wanted(VgpuRemote *vr, uint32_t n, const VgpuVirglResource *r);

/**
 * vgpu_picture_ask: ask the worker for it, unless that was done: see r->pictured.
 * Returns 0, or what a handler is to return. vgpu_screens_answered() comes later.
 */
uint32_t vgpu_picture_ask(VgpuRemote *vr, VgpuVirglResource *r);

/** vgpu_picture_exported: what the worker sends. Takes @fd. */
void vgpu_picture_exported(VgpuRemote *vr, const struct proto_exported *m, int fd);

/**
 * vgpu_picture_show: have screen @n's display show @p. Returns false if it does not take
 * it: then it shows nothing until it is told what.
 */
bool vgpu_picture_show(VgpuRemote *vr, uint32_t n, VgpuPicture *p);

/** vgpu_picture_hide: it is to show something else. Any thread. */
void vgpu_picture_hide(VgpuRemote *vr, uint32_t n);

VgpuPicture *vgpu_picture_ref(VgpuPicture *p);
void vgpu_picture_unref(VgpuRemote *vr, VgpuPicture *p);

void vgpu_pictures_init(VgpuRemote *vr);
void vgpu_pictures_finish(VgpuRemote *vr);

/* --- 2D resources: vgpu-remote-virgl-2d.c -------------------------------- */

/** vgpu_twin_have: see that the worker has 2D resource @id, if that exists. */
uint32_t vgpu_twin_have(VgpuRemote *vr, uint32_t id);

/** vgpu_twin_transferred: rows of @id have changed. */
void vgpu_twin_transferred(VgpuRemote *vr, uint32_t id, uint32_t y, uint32_t h);

/** vgpu_twins_update: send what has changed. 0 or what a handler is to return. */
uint32_t vgpu_twins_update(VgpuRemote *vr);

/** vgpu_twin_unref: @id is going. 0 or VGPU_STALL. */
uint32_t vgpu_twin_unref(VgpuRemote *vr, uint32_t id);

/* --- blobs of guest memory: vgpu-remote-virgl-blob.c ----------------------- */

/** vgpu_virgl_blob_create: RESOURCE_CREATE_BLOB of GUEST. Returns what a handler is to. */
uint32_t vgpu_virgl_blob_create(VgpuRemote *vr,
                                struct virtio_gpu_ctrl_command *cmd,
                                const struct virtio_gpu_resource_create_blob *c);

/** vgpu_virgl_is_blob: whether @r is one, or NULL. */
bool vgpu_virgl_is_blob(const VgpuVirglResource *r);

/** vgpu_virgl_blob_read: copy what is dirty of @s out of the blob that it shows. */
void vgpu_virgl_blob_read(VgpuRemote *vr, VgpuVirglScreen *s);

/* --- commands: vgpu-remote-virgl.c --------------------------------------- */

VgpuVirglResource *vgpu_virgl_find(VgpuRemote *vr, uint32_t id);

/** vgpu_virgl_is_taken: whether @id is 0 or that of any resource, of whatever kind. */
bool vgpu_virgl_is_taken(VgpuRemote *vr, uint32_t id);

/**
 * vgpu_virgl_add: a resource, as the guest has it. Takes @backing, which may be NULL.
 * Returns 0 or the error to answer with, and has taken nothing.
 */
uint32_t vgpu_virgl_add(VgpuRemote *vr, const struct virgl_resource *args,
                        uint32_t generation, VgpuBacking *backing);

/**
 * vgpu_virgl_context_begin: see that the worker has context @id. Returns 0, or
 * what a handler is to return.
 */
uint32_t vgpu_virgl_context_begin(VgpuRemote *vr, uint32_t id);

/** vgpu_virgl_context_end: it has it no more. 0 or VGPU_STALL. */
uint32_t vgpu_virgl_context_end(VgpuContext *ctx, bool tell);

/** vgpu_virgl_attach: (or detach) @resource. Returns what a handler is to. */
uint32_t vgpu_virgl_attach(VgpuContext *ctx, uint32_t resource, bool attach);

/** vgpu_virgl_status: as JSON. The caller frees it. */
char *vgpu_virgl_status(VgpuRemote *vr);

#endif
