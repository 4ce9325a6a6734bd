/*
 * The shared memory of one context: its blobs. A blob is a sealed memfd that
 * the worker makes when the client asks, maps for itself, and hands over.
 *
 * The control thread makes and destroys blobs; ring threads take references, so that
 * memory stays mapped as long as a call or a command of the host's API uses it. A
 * destroyed blob can no longer be found; its memory, and its share of the budget,
 * go with the last reference.
 *
 * A virgl worker has memory of its VM's too, as dmabufs that the device hands over: it
 * may only be read, and is in no budget of ours. How many there are is limited, since a
 * process may have so many mappings and no more.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "budget.h"

struct memory;
struct blob;

/** memory_create: no blobs yet; they are charged to @budget. */
struct memory *memory_create(struct budget *budget);

/**
 * memory_add: make blob @id of *@size bytes, which are rounded up to pages.
 *
 * Returns the memfd, the caller's to close, or -EEXIST, -EINVAL, -ENOSPC (too
 * many blobs), -EDQUOT (the budget is used up), or another -errno.
 */
int memory_add(struct memory *m, uint64_t id, uint64_t *size);

/**
 * memory_import: map the dmabuf @fd of @size bytes for reading, as blob @id. The fd
 * stays the caller's.
 *
 * Returns 0, or -EINVAL (also: it is none, or of another size), -EEXIST, -ENOSPC, or
 * another -errno.
 */
int memory_import(struct memory *m, uint64_t id, uint64_t size, int fd);

/** memory_remove: destroy blob @id; false if there is none. */
bool memory_remove(struct memory *m, uint64_t id);

/** memory_bytes: of all blobs that were made here. */
uint64_t memory_bytes(struct memory *m);

/** memory_get: a reference to blob @id, or NULL if there is none. */
struct blob *memory_get(struct memory *m, uint64_t id);

/** blob_ref, blob_unref: any thread; NULL is fine. */
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);

/** blob_at: its memory from @offset on, or NULL if it has not @size bytes there. */
void *blob_at(struct blob *b, uint64_t offset, uint64_t size);

/** blob_is_ours: whether it was made here, and may be written. */
bool blob_is_ours(const struct blob *b);

/** blob_size: in bytes, whole pages. blob_id: what it was made as. */
uint64_t blob_size(const struct blob *b);
uint64_t blob_id(const struct blob *b);

#endif
