/*
 * Blobs: a hash table of them under a lock, each with a reference count that
 * needs none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto.h"
#include "vgpu.h"
#include "wire.h"

#define BUCKETS     256u
#define IMPORTS_MAX 1024u /* of 65530 mappings that a process may have */

struct blob {
    /* Constant after memory_add. */
    uint64_t id;
    uint64_t size;
    uint8_t *map;
    bool imported;
    struct memory *memory;

    _Atomic uint32_t refs; /* one is the table's */
    struct blob *next;     /* under the memory's lock */
};

struct memory {
    /* Constant after create. */
    struct budget *budget;

    _Atomic uint32_t imports; /* that are mapped */

    /* Under lock. */
    pthread_mutex_t lock;
    struct blob *buckets[BUCKETS];
    uint32_t count;
};

struct memory *memory_create(struct budget *budget)
{
    struct memory *m = calloc(1, sizeof(*m));

    if (!m) {
        return NULL;
    }
    m->budget = budget;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

/* The link that points to blob @id, or to NULL at its bucket's end. */
static struct blob **find(struct memory *m, uint64_t id)
{
    struct blob **at = &m->buckets[id % BUCKETS];

    while (*at && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

/* A memfd of @size bytes whose size nobody can change any more, or -errno. */
static int sealed_memfd(uint64_t size)
{
    int fd = memfd_create("vgpu-blob", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int err;

    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

/* Make blob @b, of which id and size are set. Returns its memfd or -errno. */
static int make(struct memory *m, struct blob *b)
{
    int fd, err;

    if (!budget_charge(m->budget, b->size)) {
        return -EDQUOT;
    }
    fd = sealed_memfd(b->size);
    if (fd < 0) {
        err = fd;
        goto fail_charge;
    }
    b->map = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (b->map == MAP_FAILED) {
        err = -errno;
        goto fail_fd;
    }
    return fd;

fail_fd:
    close(fd);
fail_charge:
    budget_release(m->budget, b->size);
    return err;
}

/* Map the dmabuf @fd as blob @b, of which id and size are set. Returns 0 or -errno. */
static int map_import(struct memory *m, struct blob *b, int fd)
{
    int err = proto_check_dmabuf(fd, b->size);

    if (err) {
        return err;
    }
    if (atomic_load(&m->imports) >= IMPORTS_MAX) {
        return -ENOSPC;
    }
    b->map = mmap(NULL, b->size, PROT_READ, MAP_SHARED, fd, 0);
    if (b->map == MAP_FAILED) {
        return -errno;
    }
    b->imported = true;
    atomic_fetch_add(&m->imports, 1);
    return 0;
}

/*
 * Enter blob @id of @size bytes, whole pages: made here, or, if @import is a dmabuf,
 * that one. Returns a memfd, or 0, or -errno.
 */
static int add(struct memory *m, uint64_t id, uint64_t size, int import)
{
    struct blob *b, **at;
    int got;

    b = calloc(1, sizeof(*b));
    if (!b) {
        return -ENOMEM;
    }
    b->id = id;
    b->size = size;
    b->memory = m;
    atomic_init(&b->refs, 1);
    pthread_mutex_lock(&m->lock);
    at = find(m, id);
    if (*at) {
        got = -EEXIST;
    } else if (m->count >= VGPU_BLOBS_MAX) {
        got = -ENOSPC;
    } else {
        got = import < 0 ? make(m, b) : map_import(m, b, import);
    }
    if (got >= 0) {
        *at = b;
        m->count++;
    }
    pthread_mutex_unlock(&m->lock);
    if (got < 0) {
        free(b);
    }
    return got;
}

static bool may_be(uint64_t id, uint64_t size)
{
    return id != 0 && !(id & WIRE_SPAN_FLAGS) && size != 0 &&
           size <= VGPU_BLOB_SIZE_MAX;
}

int memory_add(struct memory *m, uint64_t id, uint64_t *size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    if (!may_be(id, *size)) {
        return -EINVAL;
    }
    *size = (*size + page - 1) / page * page;
    return add(m, id, *size, -1);
}

int memory_import(struct memory *m, uint64_t id, uint64_t size, int fd)
{
    return may_be(id, size) ? add(m, id, size, fd) : -EINVAL;
}

bool memory_remove(struct memory *m, uint64_t id)
{
    struct blob *b, **at;

    pthread_mutex_lock(&m->lock);
    at = find(m, id);
    b = *at;
    if (b) {
        *at = b->next;
        m->count--;
    }
    pthread_mutex_unlock(&m->lock);
    blob_unref(b);
    return b != NULL;
}

uint64_t memory_bytes(struct memory *m)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&m->lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct blob *b = m->buckets[i]; b; b = b->next) {
            bytes += b->imported ? 0 : b->size;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return bytes;
}

struct blob *memory_get(struct memory *m, uint64_t id)
{
    struct blob *b;

    pthread_mutex_lock(&m->lock);
    b = blob_ref(*find(m, id));
    pthread_mutex_unlock(&m->lock);
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    if (b) {
        atomic_fetch_add(&b->refs, 1);
    }
    return b;
}

void blob_unref(struct blob *b)
{
    if (!b || atomic_fetch_sub(&b->refs, 1) != 1) {
        return;
    }
    munmap(b->map, b->size);
    if (b->imported) {
        atomic_fetch_sub(&b->memory->imports, 1);
    } else {
        budget_release(b->memory->budget, b->size);
    }
    free(b);
}

void *blob_at(struct blob *b, uint64_t offset, uint64_t size)
{
    if (offset > b->size || size > b->size - offset) {
        return NULL;
    }
    return b->map + offset;
}

bool blob_is_ours(const struct blob *b)
{
    return !b->imported;
}

uint64_t blob_size(const struct blob *b)
{
    return b->size;
}

uint64_t blob_id(const struct blob *b)
{
    return b->id;
}
