/*
 * The Venus worker's half of the ring: messages of any content, over a virglrenderer
 * that makes files for blobs, of which some are not as they should be. A blob that is
 * said to be made must be one that a device may map. At the end of each input nothing
 * may be left: resources, their share of the budget, files.
 *
 * SPDX-License-Identifier: MIT
 */
#define VIRGL_RENDERER_UNSTABLE_APIS
#include "fuzz-session.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <virglrenderer.h>

#include "proto.h"
#include "venus_server.h"
#include "venus_worker.h"

#define RESOURCES 512u
#define FENCES    64u

static unsigned step; /* for answers that differ */
static jmp_buf the_end;

/* --- the session ------------------------------------------------------------ */

static struct {
    uint32_t slot, seq;
} wanted[FENCES]; /* by messages, and not posted yet */
static unsigned n_wanted;

void session_post(struct session *s, uint32_t n, uint32_t seq)
{
    for (unsigned i = 0; i < n_wanted; i++) {
        if (wanted[i].slot == n && wanted[i].seq == seq) {
            wanted[i] = wanted[--n_wanted];
            return;
        }
    }
    fuzz_require(!"a fence that somebody waits for");
}

void session_fail(struct session *s, enum ring_fatal why, const char *fmt, ...)
{
    longjmp(the_end, 1);
}

void session_send(struct session *s, const void *packet, int fd)
{
    const struct proto_blob_created *created = packet;
    struct stat st;

    fuzz_require(created->type == PROTO_BLOB_CREATED);
    if (created->status) {
        fuzz_require(fd < 0 && !created->size && !created->offset);
        return;
    }
    fuzz_require(fstat(fd, &st) == 0 && created->size &&
                 created->size <= VGPU_BLOB_SIZE_MAX);
    fuzz_require(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK);
    fuzz_require((uint64_t)st.st_size + 4095 >= created->offset + created->size);
}

/* --- where memory lies: the kernel would tell ----------------------------------- */

int venus_memory_place(const void *at, int fd, uint64_t *offset)
{
    fuzz_require(at == &step);
    *offset = step++ % 3 * 4096ull;
    return step % 5 ? 0 : -ENOTSUP;
}

void venus_memory_seal(int fd)
{
    if (step++ % 11) {
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
    }
}

/* --- virglrenderer ---------------------------------------------------------------- */

static struct {
    uint32_t id;
    int fd;
    bool mapped;
} resources[RESOURCES];
static unsigned n_resources;
static struct {
    uint32_t timeline;
    uint64_t seq;
} fences[FENCES];
static unsigned n_fences;
static venus_retire_fn *retire;

const char *venus_server_start(struct session *s, venus_retire_fn *fn)
{
    fuzz_require(!retire);
    retire = fn;
    return NULL;
}

static unsigned find(uint32_t id)
{
    for (unsigned i = 0; i < n_resources; i++) {
        if (resources[i].id == id) {
            return i;
        }
    }
    fuzz_require(!"a resource that is there");
    return 0;
}

int virgl_renderer_resource_create_blob(
    const struct virgl_renderer_resource_create_blob_args *args)
{
    /* Memory of Vulkan's may be smaller than the guest says. */
    off_t size = args->blob_id % 5 == 4 ? 4096 : (off_t)args->size;
    int fd;

    fuzz_require(args->res_handle && args->size && !args->num_iovs);
    if (n_resources == RESOURCES || step++ % 7 == 0) {
        return EINVAL;
    }
    fd = memfd_create("fuzz", MFD_CLOEXEC |
                      (args->blob_id % 3 == 2 ? 0 : MFD_ALLOW_SEALING));
    fuzz_require(fd >= 0 && ftruncate(fd, size) == 0);
    resources[n_resources].id = args->res_handle;
    resources[n_resources].mapped = false;
    resources[n_resources++].fd = fd;
    return 0;
}

void virgl_renderer_resource_unref(uint32_t id)
{
    unsigned i = find(id);

    fuzz_require(!resources[i].mapped);
    close(resources[i].fd);
    resources[i] = resources[--n_resources];
}

void virgl_renderer_ctx_attach_resource(int context, int resource)
{
    fuzz_require(context == 1);
    find((uint32_t)resource);
}

int virgl_renderer_resource_export_blob(uint32_t id, uint32_t *type, int *fd)
{
    *type = step++ % 2 ? VIRGL_RENDERER_BLOB_FD_TYPE_SHM
                       : VIRGL_RENDERER_BLOB_FD_TYPE_OPAQUE;
    *fd = dup(resources[find(id)].fd);
    return step % 6 ? 0 : (close(*fd), EINVAL);
}

int virgl_renderer_resource_map(uint32_t id, void **at, uint64_t *size)
{
    unsigned i = find(id);

    fuzz_require(!resources[i].mapped);
    *at = &step;
    *size = 4096;
    resources[i].mapped = step++ % 4;
    return resources[i].mapped ? 0 : -EINVAL;
}

int virgl_renderer_resource_unmap(uint32_t id)
{
    unsigned i = find(id);

    fuzz_require(resources[i].mapped);
    resources[i].mapped = false;
    return 0;
}

int virgl_renderer_submit_cmd(void *stream, int context, int words)
{
    uint32_t *w = stream;

    fuzz_require(context == 1 && words > 0);
    for (int i = 0; i < words; i++) {
        w[i]++; /* virglrenderer may write there */
    }
    return step++ % 9 ? 0 : EINVAL;
}

int virgl_renderer_context_create_fence(uint32_t context, uint32_t flags,
                                        uint32_t timeline, uint64_t seq)
{
    fuzz_require(context == 1 && timeline < VENUS_TIMELINES);
    if (n_fences == FENCES || step++ % 5 == 0) {
        return -1;
    }
    fences[n_fences].timeline = timeline;
    fences[n_fences++].seq = seq;
    return 0;
}

static void retire_fences(struct session *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        retire(s, 1, fences[i].timeline, fences[i].seq);
    }
    memmove(fences, fences + n, (n_fences - n) * sizeof(fences[0]));
    n_fences -= n;
}

/* --- one input ---------------------------------------------------------------------- */

/* A call, its items by a byte each (so that ids meet), and bytes behind them. */
static void send(struct session *s, struct fuzz_input *in)
{
    static uint64_t items[16];
    struct request r = { .session = s };
    uint32_t n = fuzz_u8(in) % 8;

    r.header.call = fuzz_u8(in) % (VENUS_CALLS + 1);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t kind = fuzz_u8(in);

        items[i] = kind < 128 ? kind : kind < 192 ? (kind - 127) * 4096ull
                 : (uint64_t)fuzz_u32(in) << (kind % 33);
    }
    if (r.header.call == VENUS_SUBMIT) {
        fuzz_bytes(in, items + n, 32);
        n += 4;
        if (items[0] && items[0] < RING_SLOTS) {
            if (n_wanted == FENCES) {
                return;
            }
            wanted[n_wanted].slot = (uint32_t)items[0];
            wanted[n_wanted++].seq = (uint32_t)items[1];
        }
    }
    wire_in_init(&r.in, items, 8 * n);
    if (venus_api.serve(&r) != WIRE_OK) {
        longjmp(the_end, 1); /* the worker ends */
    }
}

static void clear_up(struct session *s)
{
    struct request r = { .session = s, .header.call = VENUS_BLOB_DESTROY };

    while (n_resources) {
        uint64_t id = resources[0].id;

        wire_in_init(&r.in, &id, sizeof(id));
        fuzz_require(venus_api.serve(&r) == WIRE_OK);
    }
    fuzz_require(charged == 0);
    n_fences = n_wanted = 0; /* as if the worker had ended */
}

static int count_files(void)
{
    int n = 0;

    for (int fd = 0; fd < 64; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };
    struct session *s = (struct session *)&step;
    const int files = count_files();

    step = 0;
    if (setjmp(the_end) == 0) {
        while (in.left) {
            send(s, &in);
            if (n_fences && fuzz_u8(&in) % 4 == 0) {
                retire_fences(s, 1 + step++ % n_fences);
            }
        }
        retire_fences(s, n_fences);
        fuzz_require(!n_wanted);
    }
    clear_up(s);
    fuzz_require(count_files() == files);
    return 0;
}
