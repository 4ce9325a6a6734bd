/*
 * The transport to a vgpu-remote device, through its render node and the
 * stock kernel's virtio-gpu driver.
 *
 * open() looks through the render nodes for one of that driver whose device
 * has our capset. An open file is a context, and CONTEXT_INIT has to be the first
 * thing done with it. Blobs are HOST3D resources that the worker makes under
 * the id we name. The kernel does not say whether making one worked: mapping it fails
 * if it did not.
 *
 * The doorbell is a submission of no bytes, which carries no fence and is
 * answered at once. A thread that has to sleep submits a struct vgpu_exec with a
 * fence of its own and polls the fence's fd: waits of different threads do
 * not mix, and there is nothing to undo if the thread or the process dies.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"
#include "transport.h"
#include "virtgpu_uapi.h"

#define NODE_FIRST 128
#define NODE_LAST  191

struct transport {
    int fd;
    uint64_t memory_max;
};

/* Like ioctl(), again and again while signals interrupt it; 0 or -errno. */
static int vg_ioctl(int fd, unsigned long request, void *arg)
{
    int ret;

    do {
        ret = ioctl(fd, request, arg);
    } while (ret < 0 && (errno == EINTR || errno == EAGAIN));
    return ret < 0 ? -errno : 0;
}

static int vg_param(int fd, uint64_t param)
{
    int value = 0;
    struct vg_getparam get = { param, (uint64_t)(uintptr_t)&value };

    return vg_ioctl(fd, VG_IOCTL_GETPARAM, &get) == 0 ? value : 0;
}

/* Ioctl numbers mean other things to other drivers: ask for the name first. */
static bool is_virtio_gpu(int fd)
{
    char name[16] = "";
    struct vg_version version = { .name_len = sizeof(name) - 1, .name = name };

    return vg_ioctl(fd, VG_IOCTL_VERSION, &version) == 0 &&
           strcmp(name, "virtio_gpu") == 0;
}

/* Whether the device behind @fd is ours at all. */
static bool has_capset(int fd)
{
    return is_virtio_gpu(fd) && vg_param(fd, VG_PARAM_CONTEXT_INIT) &&
           (vg_param(fd, VG_PARAM_SUPPORTED_CAPSETS) &
            (1 << VGPU_CAPSET_ID));
}

/* Read @capset. Whether we and the device behind @fd, at @path, understand each other. */
static bool check_capset(int fd, const char *path, struct vgpu_capset *capset,
                         char *why, size_t n)
{
    struct vg_get_caps get = {
        .cap_set_id = VGPU_CAPSET_ID,
        .cap_set_ver = VGPU_CAPSET_VERSION,
        .addr = (uint64_t)(uintptr_t)capset,
        .size = sizeof(*capset),
    };
    int err = vg_ioctl(fd, VG_IOCTL_GET_CAPS, &get);

    if (err || capset->magic != VGPU_CAPSET_MAGIC) {
        snprintf(why, n, "the device at '%s' has capset %u, but not with our "
                 "contents (%s, magic %#x): another project's device?", path,
                 VGPU_CAPSET_ID, err ? strerror(-err) : "read",
                 capset->magic);
        return false;
    }
    if (capset->protocol_version != VGPU_PROTOCOL_VERSION) {
        snprintf(why, n, "the device at '%s' has protocol version %u, this "
                 "guest's driver has %u: install the same release on host and "
                 "guest", path, capset->protocol_version,
                 VGPU_PROTOCOL_VERSION);
        return false;
    }
    if (!vg_param(fd, VG_PARAM_RESOURCE_BLOB) ||
        !vg_param(fd, VG_PARAM_HOST_VISIBLE)) {
        snprintf(why, n, "the device at '%s' has no host-visible memory: give "
                 "it some with -device vgpu-remote,hostmem=256M", path);
        return false;
    }
    return true;
}

static bool create_context(int fd, const char *path, char *why, size_t n)
{
    struct vg_context_param params[] = {
        { VG_CONTEXT_PARAM_CAPSET_ID, VGPU_CAPSET_ID },
        { VG_CONTEXT_PARAM_NUM_RINGS, VGPU_RINGS_MAX },
    };
    struct vg_context_init init = {
        .num_params = sizeof(params) / sizeof(params[0]),
        .params = (uint64_t)(uintptr_t)params,
    };
    int err = vg_ioctl(fd, VG_IOCTL_CONTEXT_INIT, &init);

    if (err) {
        snprintf(why, n, "the device at '%s' makes no context: %s", path,
                 strerror(-err));
        return false;
    }
    return true;
}

/* The first render node with our capset; -1 and a sentence if none can be used. */
static int open_node(const char *address, char *path, size_t path_n, char *why,
                     size_t n)
{
    for (int i = NODE_FIRST; i <= NODE_LAST; i++) {
        int fd;

        if (address) {
            snprintf(path, path_n, "%s", address);
        } else {
            snprintf(path, path_n, "/dev/dri/renderD%d", i);
        }
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && has_capset(fd)) {
            return fd;
        }
        if (fd >= 0) {
            close(fd);
        } else if (errno == EACCES) {
            snprintf(why, n, "'%s' may not be opened (%s): is this user in "
                     "the group 'render'?", path, strerror(errno));
        }
        if (address) {
            break;
        }
    }
    return -1;
}

static struct transport *virtgpu_open(const char *address, char *why, size_t n)
{
    struct vgpu_capset capset = { 0 };
    struct transport *t;
    char path[256];
    int fd;

    why[0] = '\0';
    fd = open_node(address, path, sizeof(path), why, n);
    if (fd < 0) {
        return NULL;
    }
    if (!check_capset(fd, path, &capset, why, n) ||
        !create_context(fd, path, why, n)) {
        close(fd);
        return NULL;
    }
    t = calloc(1, sizeof(*t));
    if (!t) {
        snprintf(why, n, "out of memory");
        close(fd);
        return NULL;
    }
    t->fd = fd;
    t->memory_max = capset.memory_max;
    return t;
}

static void virtgpu_close(struct transport *t)
{
    close(t->fd);
    free(t);
}

/* The parent's file, and with it the context, lives on in the parent. */
static void virtgpu_abandon(struct transport *t)
{
    close(t->fd);
    t->fd = -1;
}

static void close_handle(int fd, uint32_t handle)
{
    struct vg_gem_close gem_close = { .handle = handle };

    vg_ioctl(fd, VG_IOCTL_GEM_CLOSE, &gem_close);
}

static int virtgpu_blob_create(struct transport *t, struct transport_blob *b)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct vg_create_blob create = {
        .blob_mem = VG_BLOB_MEM_HOST3D,
        .blob_flags = VG_BLOB_FLAG_MAPPABLE,
        .size = (b->size + page - 1) & ~(uint64_t)(page - 1),
        .blob_id = b->id,
    };
    struct vg_map map = { 0 };
    int err = vg_ioctl(t->fd, VG_IOCTL_CREATE_BLOB, &create);

    if (err) {
        return err;
    }
    map.handle = create.bo_handle;
    err = vg_ioctl(t->fd, VG_IOCTL_MAP, &map);
    if (!err) {
        b->map = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      t->fd, (off_t)map.offset);
        err = b->map == MAP_FAILED ? -errno : 0;
    }
    if (err) {
        b->map = NULL;
        close_handle(t->fd, create.bo_handle);
        return err;
    }
    b->size = create.size;
    b->handle = create.bo_handle;
    return 0;
}

static void virtgpu_blob_destroy(struct transport *t, struct transport_blob *b)
{
    munmap(b->map, b->size);
    b->map = NULL;
    close_handle(t->fd, b->handle);
}

static int virtgpu_doorbell(struct transport *t)
{
    struct vg_execbuffer exec = { .fence_fd = -1 };

    return vg_ioctl(t->fd, VG_IOCTL_EXECBUFFER, &exec);
}

/* Sleep until the device says that slot @ring has reached @seq, or a signal. */
static int sleep_for(struct transport *t, uint32_t ring, uint32_t seq)
{
    struct vgpu_exec wait = { .op = VGPU_EXEC_WAIT, .ring = ring, .seq = seq };
    struct vg_execbuffer exec = {
        .flags = VG_EXECBUF_FENCE_FD_OUT | VG_EXECBUF_RING_IDX,
        .size = sizeof(wait),
        .command = (uint64_t)(uintptr_t)&wait,
        .fence_fd = -1,
        .ring_idx = ring,
    };
    struct pollfd pfd = { .events = POLLIN };
    int err = vg_ioctl(t->fd, VG_IOCTL_EXECBUFFER, &exec);

    if (err) {
        return err;
    }
    pfd.fd = exec.fence_fd;
    while (poll(&pfd, 1, -1) < 0) {
        if (errno != EINTR) {
            err = -errno;
            break;
        }
    }
    close(exec.fence_fd);
    return err;
}

#define NAP_MIN_NS 1000000
#define NAP_MAX_NS 16000000

static int virtgpu_wait(struct transport *t, void *ring_map, uint32_t ring,
                        uint32_t seq)
{
    struct ring_slot *slot = ring_slot(ring_map, ring);
    long nap_ns = 0;

    while (!ring_slot_is_done(slot, seq)) {
        if (ring_fatal(ring_map)) {
            return -EPIPE;
        }
        /* A fence that came too early: the device holds no more waits for now. */
        if (nap_ns) {
            nanosleep(&(struct timespec){ .tv_nsec = nap_ns }, NULL);
        }
        if (sleep_for(t, ring, seq) < 0) {
            return -EPIPE;
        }
        nap_ns = nap_ns ? (nap_ns < NAP_MAX_NS ? 2 * nap_ns : nap_ns)
                        : NAP_MIN_NS;
    }
    return 0;
}

static uint64_t virtgpu_memory_max(struct transport *t)
{
    return t->memory_max;
}

const struct transport_ops transport_virtgpu = {
    .name = "virtgpu",
    .open = virtgpu_open,
    .close = virtgpu_close,
    .abandon = virtgpu_abandon,
    .blob_create = virtgpu_blob_create,
    .blob_destroy = virtgpu_blob_destroy,
    .doorbell = virtgpu_doorbell,
    .wait = virtgpu_wait,
    .memory_max = virtgpu_memory_max,
};
