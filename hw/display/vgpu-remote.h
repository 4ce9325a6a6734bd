/*
 * vgpu-remote: a virtio-gpu whose contexts compute on the host's device.
 *
 * The device does what virtio-gpu does in 2D, and beside that it is a
 * switchboard: queue, shared memory, fences. It knows no API and loads no
 * driver; calls go from the guest straight into memory that a worker of
 * vgpu-remoted reads. The normative text is docs/specs/device.rst. A file per
 * part:
 *
 *   vgpu-remote.c          the device: life, commands
 *   vgpu-remote-config.c   its properties
 *   vgpu-remote-account.c  what is counted and limited
 *   vgpu-remote-context.c  guest contexts and the sockets to their workers
 *   vgpu-remote-fence.c    commands that are answered when a ring has moved on
 *   vgpu-remote-blob.c     blob resources, and the BAR they are mapped in
 *   vgpu-remote-server.c   the connection to vgpu-remoted
 *   vgpu-remote-venus.c    contexts of the guest's own Vulkan driver
 *   vgpu-remote-virgl*.c   the emulated GPU: see vgpu-remote-virgl.h
 *   vgpu-remote-pci.c, vgpu-remote-vga.c   the two types a user plugs in
 *
 * Everything runs with the BQL held: in the main loop, or, reset and what is quick
 * (see ctrl_cb()), in the thread of a virtual processor. But for the moment that
 * vgpu_virgl_rung() takes, nothing here waits for a server, a worker or the guest:
 * whoever is late finds his command held or the queue suspended, with a limit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_DISPLAY_VGPU_REMOTE_H
#define HW_DISPLAY_VGPU_REMOTE_H

#include "qemu/event_notifier.h"
#include "qemu/interval-tree.h"
#include "qemu/queue.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-gpu.h"
#include "api/proto.h"
#include "api/ring.h"
#include "api/venus.h"
#include "api/vgpu.h"
#include "hw/display/vgpu-remote-virgl.h"
#include "qom/object.h"

#define TYPE_VGPU_REMOTE_DEVICE "vgpu-remote-device"
OBJECT_DECLARE_TYPE(VgpuRemote, VgpuRemoteClass, VGPU_REMOTE_DEVICE)

typedef struct VgpuBlob VgpuBlob;
typedef struct VgpuFence VgpuFence;

/* What one guest may make the device keep. */
#define VGPU_REMOTE_CONTEXTS_MAX 4096 /* of both kinds */
#define VGPU_REMOTE_HELD_CONTEXT 64   /* commands held for one context ... */
#define VGPU_REMOTE_HELD_DEVICE  256  /* ... and for all, a part of the queue */
#define VGPU_REMOTE_FDS_MAX      4096 /* open files: sockets, eventfds, memfds */

#define VGPU_REMOTE_HOSTMEM (1 * GiB) /* if nothing else is said */

/* How long a worker may take to answer while the queue waits for it. */
#define VGPU_REMOTE_START_MS 5000 /* its first answer: it has to start */
#define VGPU_REMOTE_STALL_MS 1000

typedef enum VgpuBackend {
    VGPU_BACKEND_AUTO,
    VGPU_BACKEND_EMULATION,
    VGPU_BACKEND_REMOTE,
} VgpuBackend;

struct VgpuRemote {
    VirtIOGPU parent_obj;

    VgpuBackend backend; /* may be changed at any time: for new contexts */

    /* constant after realize */
    char *server;        /* "unix:PATH"; NULL or empty: a private one ... */
    uint32_t processors; /* ... on so many of the host's; 0: all */
    bool offers;         /* whether the guest is offered our capset at all */
    unsigned fds_max;
    MemoryRegion window; /* what blobs are mapped in, all of the BAR */
    void *window_mem;
    uint64_t window_size;

    /* the connection to the server: vgpu-remote-server.c */
    int server_sock;          /* -1: none */
    int64_t server_tried_ms;  /* when a connection was last begun */
    uint64_t memory_max;      /* bytes that the server lets this device have */

    /* contexts by their guest's id; resources by theirs */
    GHashTable *contexts;
    uint64_t last_serial;
    GHashTable *blobs;
    IntervalTreeRoot mapped; /* of VgpuBlob.span: byte ranges of the window */
    unsigned held;
    unsigned fds;
    unsigned live;           /* contexts that cannot be saved */
    uint64_t lost;           /* contexts, since the start */
    uint64_t refused;        /* commands */
    Error *blocker;          /* set while there are any */

    bool quick; /* a vCPU's thread processes the queue: see ctrl_cb() */

    /* the queue is suspended until this context has moved on */
    VgpuContext *stalled;
    QEMUTimer *stall_timer;
    QEMUBH *resume_bh;

    VgpuVirgl virgl;

    int64_t reported_ms;     /* when something was last said on stderr */
};

struct VgpuRemoteClass {
    VirtIOGPUClass parent_class;

    DeviceUnrealize parent_unrealize;
    uint64_t (*parent_get_features)(VirtIODevice *vdev, uint64_t features,
                                    Error **errp);
};

typedef QSIMPLEQ_HEAD(, VgpuFence) VgpuFences;

/* One of a context's timelines: a slot of its ring, see api/ring.h. */
typedef struct VgpuRing {
    VgpuContext *ctx;
    uint32_t index;
    EventNotifier event; /* signalled by the worker; made for the first wait */
    uint32_t seq;        /* Venus: of the last fence */
    VgpuFences fences;   /* in the guest's order */
} VgpuRing;

struct VgpuContext {
    /* constant after create */
    VgpuRemote *vr;
    uint32_t id;
    uint64_t serial; /* no other context of this device ever has it */
    bool plain; /* not of our capset: for 2D, or virgl */
    bool venus; /* of Venus', else like one of ours */
    char name[VGPU_NAME_MAX];

    /* a plain context may have: see vgpu-remote-virgl.c */
    GHashTable *attached; /* resources, until it is used for 3D */
    uint32_t generation;  /* of the virgl worker that knows it; 0: none */

    /* a context of our capset, or Venus', has: */
    int sock;               /* to the worker; -1: the context is lost */
    EventNotifier doorbell;
    bool started;           /* the worker has answered once */
    void *ring;             /* header and slots, once the worker has made it ... */
    struct ring_producer producer; /* ... and of Venus all of it */
    unsigned held;
    GHashTable *blobs;      /* by id: those the guest can still name */
    QTAILQ_HEAD(, VgpuBlob) asked; /* of which the worker has yet to answer */
    VgpuRing rings[VGPU_RINGS_MAX];
};

typedef enum VgpuBlobState {
    VGPU_BLOB_ASKED,  /* BLOB_CREATE was sent: cannot be mapped yet */
    VGPU_BLOB_READY,  /* fd is its memory */
    VGPU_BLOB_FAILED, /* never will be */
} VgpuBlobState;

struct VgpuBlob {
    /* constant after create */
    uint32_t resource;
    uint64_t id;   /* between us and the worker: the guest's, of Venus the resource */
    uint64_t size; /* whole pages */

    VgpuContext *ctx; /* NULL: gone; what was mapped stays mapped */
    VgpuBlobState state;
    bool dropped;     /* the guest gave it up before the worker answered */
    int fd;
    uint64_t offset;  /* in that */
    bool mapped;
    IntervalTreeNode span; /* while mapped */
    QTAILQ_ENTRY(VgpuBlob) next; /* in ctx->asked, while ASKED */
};

/* --- commands: vgpu-remote.c --------------------------------------------- */

/* A command that we know, copied out of guest memory once. */
typedef union VgpuCommand {
    struct virtio_gpu_ctrl_hdr hdr;
    struct virtio_gpu_get_capset_info capset_info;
    struct virtio_gpu_get_capset capset;
    struct virtio_gpu_ctx_create ctx_create;
    struct virtio_gpu_ctx_destroy ctx_destroy;
    struct virtio_gpu_ctx_resource ctx_resource;
    struct virtio_gpu_cmd_submit submit;
    struct virtio_gpu_resource_create_2d create_2d;
    struct virtio_gpu_resource_unref unref;
    struct virtio_gpu_resource_create_blob create_blob;
    struct virtio_gpu_resource_map_blob map_blob;
    struct virtio_gpu_resource_unmap_blob unmap_blob;
    struct virtio_gpu_resource_create_3d create_3d;
    struct virtio_gpu_transfer_host_3d transfer_3d;
    struct virtio_gpu_resource_attach_backing attach_backing;
    struct virtio_gpu_resource_detach_backing detach_backing;
    struct virtio_gpu_set_scanout set_scanout;
    struct virtio_gpu_set_scanout_blob set_scanout_blob;
    struct virtio_gpu_resource_flush flush;
} VgpuCommand;

/* What a handler may return beside the VIRTIO_GPU_RESP_* to answer with. */
enum {
    VGPU_ANSWERED = 0, /* it has answered with data of its own */
    VGPU_HELD,         /* the answer follows: a fence has the command */
    VGPU_STALL,        /* call it again when vr->stalled has moved on */
    VGPU_2D,           /* it is virtio-gpu's */
};

typedef uint32_t VgpuHandler(VgpuRemote *vr,
                             struct virtio_gpu_ctrl_command *cmd,
                             const VgpuCommand *in);

VgpuHandler vgpu_context_create, vgpu_context_destroy, vgpu_context_resource;
VgpuHandler vgpu_context_submit;
VgpuHandler vgpu_blob_create, vgpu_blob_map, vgpu_blob_unmap;
VgpuHandler vgpu_blob_unref, vgpu_blob_or_2d;
VgpuHandler vgpu_virgl_resource_create, vgpu_virgl_resource_unref;
VgpuHandler vgpu_virgl_attach_backing, vgpu_virgl_detach_backing;
VgpuHandler vgpu_virgl_put, vgpu_virgl_get, vgpu_virgl_submit;
VgpuHandler vgpu_virgl_set_scanout, vgpu_virgl_set_scanout_blob;
VgpuHandler vgpu_virgl_flush;

/** vgpu_stall: suspend the queue until @ctx moves on or is late. */
uint32_t vgpu_stall(VgpuRemote *vr, VgpuContext *ctx);

/** vgpu_defer: this command is for the main loop. Returns VGPU_STALL. */
uint32_t vgpu_defer(VgpuRemote *vr);

/** vgpu_moved_on: @ctx has: process the queue again if it waits for that. */
void vgpu_moved_on(VgpuContext *ctx);

/* --- accounts: vgpu-remote-account.c -------------------------------------- */

/** vgpu_fds_allowed: how many files a device may have open. */
unsigned vgpu_fds_allowed(void);

/**
 * vgpu_charge: account for @n more open files. Returns false, and charges
 * nothing, if that is more than this device may have.
 */
bool vgpu_charge(VgpuRemote *vr, unsigned n);
void vgpu_uncharge(VgpuRemote *vr, unsigned n);

/**
 * vgpu_report: a line on stderr, at most one a second: what leads to it may be
 * in the guest's hands.
 */
void vgpu_report(VgpuRemote *vr, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/**
 * vgpu_hold: while at least one is held the VM can be neither saved nor
 * migrated.
 *
 * @who: the program, for the sentence that says why. Returns false and says
 * why if that may not be: a migration is running, or -only-migratable was
 * given.
 */
bool vgpu_hold(VgpuRemote *vr, const char *who, Error **errp);
void vgpu_release(VgpuRemote *vr);

/* --- properties: vgpu-remote-config.c -------------------------------------- */

extern const PropertyInfo vgpu_prop_backend;

/**
 * vgpu_remote_check: whether the properties make sense; before the BAR is
 * made.
 */
bool vgpu_remote_check(VgpuRemote *vr, Error **errp);

/** vgpu_backend_name: "auto" and so on. */
const char *vgpu_backend_name(VgpuBackend backend);

/** vgpu_remote_describe: the texts of -device TYPE,help, for a PCI type. */
void vgpu_remote_describe(Object *obj, VgpuRemote *vr);

/* --- contexts: vgpu-remote-context.c ------------------------------------- */

/** vgpu_context_find: the context @id of our capset or Venus', lost or not, or NULL. */
VgpuContext *vgpu_context_find(VgpuRemote *vr, uint32_t id);

/** vgpu_context_find_plain: a context that is of neither, or NULL. */
VgpuContext *vgpu_context_find_plain(VgpuRemote *vr, uint32_t id);

/** vgpu_context_add_plain: after migration. Returns false if @id is taken. */
bool vgpu_context_add_plain(VgpuRemote *vr, uint32_t id);

/**
 * vgpu_context_send: a packet for @ctx's worker. A worker that does not take
 * it costs the context. Returns whether it was sent.
 */
bool vgpu_context_send(VgpuContext *ctx, const void *m, int fd);

/**
 * vgpu_context_lose: give @ctx up: its ring says so, every command held for it
 * is answered, and what the guest asks of it from now on is an error. It stays
 * until the guest destroys it. @text says why; NULL if that need not be
 * reported.
 */
void vgpu_context_lose(VgpuContext *ctx, enum ring_fatal why, const char *text);

/** vgpu_contexts_lose_all: the server is gone. */
void vgpu_contexts_lose_all(VgpuRemote *vr, const char *text);

/** vgpu_contexts_destroy_all: for reset: answers nothing. */
void vgpu_contexts_destroy_all(VgpuRemote *vr);

void vgpu_contexts_init(VgpuRemote *vr);
void vgpu_contexts_finish(VgpuRemote *vr);

/* --- fences: vgpu-remote-fence.c ----------------------------------------- */

void vgpu_rings_init(VgpuContext *ctx);

/**
 * vgpu_rings_finish: no more signals. Answers what is held unless @drop: then
 * the commands are somebody else's to free.
 */
void vgpu_rings_finish(VgpuContext *ctx, bool drop);

/**
 * vgpu_ring_watch: have a signal when @ring's slot is armed and moves. Returns false if
 * there are no files for that.
 */
bool vgpu_ring_watch(VgpuRing *ring);

/** vgpu_fence_wait: hold @cmd until slot @ring of @ctx has reached @seq. */
uint32_t vgpu_fence_wait(VgpuContext *ctx, struct virtio_gpu_ctrl_command *cmd,
                         uint32_t ring, uint32_t seq);

/**
 * vgpu_fence_answer: answer @cmd with @type, behind those that are held on the
 * same ring: an answer signals all earlier fences of its ring in the guest.
 */
void vgpu_fence_answer(VgpuRemote *vr, struct virtio_gpu_ctrl_command *cmd,
                       uint32_t type);

/* --- blobs: vgpu-remote-blob.c ------------------------------------------- */

/** vgpu_window_init: the memory behind the BAR, conf.hostmem bytes of it. */
bool vgpu_window_init(VgpuRemote *vr, Error **errp);
void vgpu_window_remove(VgpuRemote *vr);

/**
 * vgpu_window_free: when nobody can look at it any more, which is when the PCI
 * device is finalized. The virtio device in it may be gone by then.
 */
void vgpu_window_free(VgpuRemote *vr);

void vgpu_blobs_init(VgpuRemote *vr);
void vgpu_blobs_finish(VgpuRemote *vr);
void vgpu_blobs_destroy_all(VgpuRemote *vr);

/**
 * vgpu_blob_created: the worker's answer about the blob asked for first.
 *
 * Takes @fd. Returns NULL, or what is wrong with the answer.
 */
const char *vgpu_blob_created(VgpuContext *ctx,
                              const struct proto_blob_created *m, int fd);

/** vgpu_blobs_fail: the worker will answer no more. */
void vgpu_blobs_fail(VgpuContext *ctx);

/** vgpu_blobs_orphan: @ctx is going away; its resources stay until UNREF. */
void vgpu_blobs_orphan(VgpuContext *ctx);

/* --- Venus: vgpu-remote-venus.c ------------------------------------------- */

/** vgpu_venus_begin: @ctx is new: ask for its ring. */
void vgpu_venus_begin(VgpuContext *ctx);

/** vgpu_venus_take_ring: the answer to that. Takes @fd; NULL, or what is wrong. */
const char *vgpu_venus_take_ring(VgpuContext *ctx,
                                 const struct proto_blob_created *m, int fd);

/* Messages to the worker. They return 0, or what a handler is to return. */
uint32_t vgpu_venus_blob_create(VgpuContext *ctx, const VgpuBlob *blob,
                                const struct virtio_gpu_resource_create_blob *c);
uint32_t vgpu_venus_blob_destroy(VgpuContext *ctx, uint32_t resource);

/** vgpu_venus_submit: SUBMIT_3D. Returns what a handler is to. */
uint32_t vgpu_venus_submit(VgpuContext *ctx, struct virtio_gpu_ctrl_command *cmd,
                           const VgpuCommand *in);

/* --- the server: vgpu-remote-server.c ------------------------------------ */

/**
 * vgpu_server_start: connect to the server that the property `server` names, or
 * start one. Returns false and says what is wrong.
 */
bool vgpu_server_start(VgpuRemote *vr, Error **errp);

/**
 * vgpu_server_context: have a worker started for @ctx, which takes over
 * @worker. Connects, or starts a private server again, if there is none. The
 * fds stay the caller's.
 */
bool vgpu_server_context(VgpuRemote *vr, VgpuContext *ctx, int worker,
                         int doorbell, Error **errp);

/** vgpu_server_virgl: the same for this device's virgl worker. */
bool vgpu_server_virgl(VgpuRemote *vr, int worker, int doorbell, Error **errp);

void vgpu_server_close(VgpuRemote *vr);

/* What a worker was asked for. Takes @fd; NULL, or what is wrong with it. */
typedef const char *VgpuCreated(void *opaque, const union proto_any *m, int fd);

/* What a worker says to memory that it was given. NULL, or what is wrong with it. */
typedef const char *VgpuImported(void *opaque,
                                 const struct proto_blob_imported *m);

/**
 * vgpu_worker_read: what a worker has said on @sock, some packets of it; fewer if
 * @created closes that, and makes it -1. @imported is NULL where it was given none.
 *
 * Returns NULL, or why the worker is to be given up: the last packet, of no type if
 * there was none, is in @m then, and may have the text.
 */
const char *vgpu_worker_read(const int *sock, union proto_any *m,
                             VgpuCreated *created, VgpuImported *imported,
                             void *opaque);

#endif
