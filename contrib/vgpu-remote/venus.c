/*
 * The Venus API: one message for each of virtio-gpu's commands of a Vulkan context,
 * made into a call of virglrenderer, which is started by the first.
 *
 * What a guest's driver says to Vulkan is in the streams and in memory that it shares
 * with virglrenderer's render server, which checks it. What is checked here: that memory which a
 * guest gets lies in a file that nobody can shrink, and that it is charged.
 *
 * A stream that virglrenderer refuses ends the context: it would do no more.
 *
 * SPDX-License-Identifier: MIT
 */
#define VIRGL_RENDERER_UNSTABLE_APIS
#include "venus_worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <virglrenderer.h>

#include "log.h"
#include "proto.h"
#include "venus_server.h"

#define CONTEXT 1 /* the only one: see venus_server.h */
#define BUCKETS 256u
#define FLAGS   (VIRGL_RENDERER_BLOB_FLAG_USE_MAPPABLE | \
                 VIRGL_RENDERER_BLOB_FLAG_USE_SHAREABLE | \
                 VIRGL_RENDERER_BLOB_FLAG_USE_CROSS_DEVICE)

struct resource {
    struct resource *next;
    uint32_t id;
    uint64_t charged; /* 0 where the memory is Vulkan's: see venus_preload.c */
};

/* Ring thread only. */
static bool started;
static struct resource *buckets[BUCKETS];
static uint32_t count;

/* --- the start ------------------------------------------------------------ */

/* From a thread of virglrenderer's. */
static void retire(void *session, uint32_t context, uint32_t timeline, uint64_t seq)
{
    session_post(session, venus_slot(timeline), (uint32_t)seq);
}

static void start(struct session *s)
{
    const char *why = venus_server_start(s, retire);

    if (why) {
        session_fail(s, RING_FATAL_WORKER, "no Vulkan by virglrenderer's render "
                     "server: %s", why);
    }
    started = true;
}

/* --- blobs ---------------------------------------------------------------- */

static struct resource **find(uint32_t id)
{
    struct resource **at = &buckets[id % BUCKETS];

    while (*at && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

/* Only what is mapped has a place; virglrenderer has the driver do it. */
static int find_place(uint32_t id, int fd, uint64_t *offset)
{
    uint64_t size;
    void *at;
    int err = abs(virgl_renderer_resource_map(id, &at, &size));

    if (err) {
        return -err;
    }
    err = venus_memory_place(at, fd, offset);
    virgl_renderer_resource_unmap(id);
    return err;
}

/* A file that a guest may map, and where in it. Returns it, or -errno. */
static int take_file(uint32_t id, uint64_t size, uint64_t *offset)
{
    uint32_t type;
    int fd, err = abs(virgl_renderer_resource_export_blob(id, &type, &fd));

    if (err) {
        return -err;
    }
    *offset = 0;
    if (type != VIRGL_RENDERER_BLOB_FD_TYPE_SHM) {
        err = find_place(id, fd, offset);
    }
    if (!err) {
        venus_memory_seal(fd);
        err = proto_check_blob(fd, *offset + size);
    }
    if (err) {
        close(fd);
        return err;
    }
    return fd;
}

/* Make resource @r as @b says. Returns its file, or -errno. */
static int make(struct session *s, const struct venus_blob *b, struct resource *r,
                uint64_t *offset)
{
    const struct virgl_renderer_resource_create_blob_args args = {
        .res_handle = b->resource,
        .ctx_id = CONTEXT,
        .blob_mem = VIRGL_RENDERER_BLOB_MEM_HOST3D,
        .blob_flags = b->flags,
        .blob_id = b->id,
        .size = b->size,
    };
    uint64_t charge = b->id ? 0 : b->size;
    int err, fd;

    if (!session_charge(s, charge)) {
        return -EDQUOT;
    }
    r->charged = charge;
    err = abs(virgl_renderer_resource_create_blob(&args));
    if (err) {
        return -err;
    }
    virgl_renderer_ctx_attach_resource(CONTEXT, (int)b->resource);
    fd = take_file(b->resource, b->size, offset);
    if (fd < 0) {
        virgl_renderer_resource_unref(b->resource);
    }
    return fd;
}

static int add(struct session *s, const struct venus_blob *b, uint64_t *offset)
{
    struct resource **at = find(b->resource);
    struct resource *r;
    int fd;

    if (b->resource == 0 || b->resource > INT32_MAX || b->flags & ~FLAGS ||
        b->size == 0 || b->size > VGPU_BLOB_SIZE_MAX) {
        return -EINVAL;
    }
    if (*at) {
        return -EEXIST;
    }
    r = count < VGPU_BLOBS_MAX ? calloc(1, sizeof(*r)) : NULL;
    if (!r) {
        return -ENOSPC;
    }
    r->id = b->resource;
    fd = make(s, b, r, offset);
    if (fd < 0) {
        session_release(s, r->charged);
        free(r);
        return fd;
    }
    *at = r;
    count++;
    return fd;
}

static bool blob_create(struct session *s, struct wire_in *in)
{
    struct venus_blob b = venus_get_blob(in);
    struct proto_blob_created created = {
        .type = PROTO_BLOB_CREATED, .blob = b.resource,
    };
    int fd;

    if (!wire_done(in)) {
        return false;
    }
    fd = add(s, &b, &created.offset);
    log_debug("blob %llu of %llu bytes, resource %u: %s",
              (unsigned long long)b.id, (unsigned long long)b.size, b.resource,
              fd < 0 ? strerror(-fd) : "made");
    if (fd < 0) {
        created.status = (uint32_t)-fd;
        created.offset = 0;
    } else {
        created.size = b.size;
    }
    session_send(s, &created, fd);
    if (fd >= 0) {
        close(fd);
    }
    return true;
}

static bool blob_destroy(struct session *s, struct wire_in *in)
{
    uint32_t id = wire_get_u32(in);
    struct resource **at = find(id), *r = *at;

    if (!wire_done(in)) {
        return false;
    }
    if (r) {
        *at = r->next;
        count--;
        virgl_renderer_resource_unref(id);
        session_release(s, r->charged);
        free(r);
    }
    return true;
}

/* --- work ----------------------------------------------------------------- */

static bool submit(struct session *s, struct wire_in *in)
{
    struct venus_submit v = venus_get_submit(in);
    const void *stream = wire_get_bytes(in, v.size);

    if (!wire_done(in) || v.size % 4 || v.slot >= RING_SLOTS) {
        return false;
    }
    /* In place: the message is a copy of ours, aligned, and used up by this. */
    if (v.size && virgl_renderer_submit_cmd((void *)stream, CONTEXT,
                                            (int)(v.size / 4))) {
        session_fail(s, RING_FATAL_PROTOCOL, "virglrenderer refuses a stream of "
                     "%u bytes", v.size);
    }
    /* A timeline on which nothing can be waited for is as far as it gets. */
    if (v.slot && virgl_renderer_context_create_fence(CONTEXT, 0, v.slot - 1,
                                                      v.seq)) {
        session_post(s, v.slot, v.seq);
    }
    return true;
}

/* --- the table ------------------------------------------------------------ */

/* Makes the call. Returns whether the message can be decoded. */
typedef bool venus_call_fn(struct session *s, struct wire_in *in);

static const struct {
    const char *name;
    venus_call_fn *call;
} calls[VENUS_CALLS] = {
    [VENUS_SUBMIT] = { "SUBMIT", submit },
    [VENUS_BLOB_CREATE] = { "BLOB_CREATE", blob_create },
    [VENUS_BLOB_DESTROY] = { "BLOB_DESTROY", blob_destroy },
};

static enum wire_status serve(struct request *r)
{
    uint16_t call = r->header.call;

    if (call >= VENUS_CALLS || !calls[call].name) {
        return WIRE_MALFORMED; /* nobody else would tell the device */
    }
    if (!started) {
        start(r->session);
    }
    return calls[call].call(r->session, &r->in) ? WIRE_OK : WIRE_MALFORMED;
}

static void print(FILE *f, uint16_t call, struct wire_in in)
{
    fprintf(f, "venus %s(%llu",
            call < VENUS_CALLS && calls[call].name ? calls[call].name : "?",
            (unsigned long long)wire_get(&in));
    for (int i = 0; i < 3 && in.p < in.end; i++) {
        fprintf(f, ", %llu", (unsigned long long)wire_get(&in));
    }
    fprintf(f, ")\n");
}

const struct session_api venus_api = {
    .name = "venus",
    .serve = serve,
    .print = print,
};
