/*
 * The pool: pieces of shared memory for data on its way to or from the worker.
 *
 * The pool is a few slabs, each a blob. A slab's holes are a list sorted by offset;
 * the first that is large enough is used, so that memory just given back, still
 * in the cache, is used next. In front of every piece lies a bulk_header.
 *
 * Pieces given to commands that may still run wait in `later`, oldest first,
 * until the worker has marked them. The worker looks for finished commands whenever it
 * answers, so a pool that is full asks it something and looks again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLAB_SIZE ((size_t)16 << 20)
/* The pool grows beyond this only if nothing in it can be had back. */
#define POOL_COMFORT ((size_t)128 << 20)
/* Slabs with nothing in them are kept up to this many bytes in all. */
#define POOL_KEEP ((size_t)64 << 20)
#define PIECE_ALIGN sizeof(struct bulk_header)
/* So many regions given up wait for an answer that comes by itself. */
#define DOOMED_MAX   16u
#define DOOMED_BYTES ((size_t)32 << 20)
/* Objects that could do without a region get one part in so many of the memory. */
#define SPARE_SHARE 4u
/* How long a full pool waits for running commands before it gives up. */
#define FULL_WAIT_MS 2000

struct extent {
    struct extent *next;
    size_t offset, size;
};

void pool_init(struct session *s)
{
    s->next_blob = VGPU_BLOB_FIRST;
}

/* --- blobs, under pool_lock -------------------------------------------------- */

/* The index of the first blob that ends above @address. */
static uint32_t find_blob(struct session *s, const void *address)
{
    uint32_t low = 0, high = s->blob_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        struct transport_blob *b = &s->blobs[middle]->blob;

        if ((const char *)b->map + b->size > (const char *)address) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static struct shared_blob *add_blob(struct session *s, size_t size)
{
    struct shared_blob *b;
    uint32_t at;

    if (s->blob_count == BLOBS_MAX || session_lost(s)) {
        return NULL;
    }
    b = calloc(1, sizeof(*b));
    if (!b) {
        return NULL;
    }
    b->blob.id = s->next_blob++;
    b->blob.size = size;
    if (s->ops->blob_create(s->transport, &b->blob) < 0) {
        free(b);
        return NULL;
    }
    at = find_blob(s, b->blob.map);
    memmove(&s->blobs[at + 1], &s->blobs[at],
            (s->blob_count - at) * sizeof(s->blobs[0]));
    s->blobs[at] = b;
    s->blob_count++;
    return b;
}

/* No address is found in @b any more. */
static void unlist_blob(struct session *s, struct shared_blob *b)
{
    uint32_t at = find_blob(s, b->blob.map);

    s->blob_count--;
    memmove(&s->blobs[at], &s->blobs[at + 1],
            (s->blob_count - at) * sizeof(s->blobs[0]));
}

static void remove_blob(struct session *s, struct shared_blob *b)
{
    unlist_blob(s, b);
    s->ops->blob_destroy(s->transport, &b->blob);
    while (b->free) {
        struct extent *e = b->free;

        b->free = e->next;
        free(e);
    }
    free(b);
}

/* --- pieces of slabs, under pool_lock ---------------------------------------- */

/* Take @size bytes out of a hole of @b. Returns false if none is large enough. */
static bool take(struct shared_blob *b, size_t size, size_t *offset)
{
    for (struct extent **at = &b->free; *at; at = &(*at)->next) {
        struct extent *e = *at;

        if (e->size < size) {
            continue;
        }
        *offset = e->offset;
        e->offset += size;
        e->size -= size;
        if (!e->size) {
            *at = e->next;
            free(e);
        }
        b->used += size;
        return true;
    }
    return false;
}

/* Make @size bytes at @offset a hole, joined with its neighbours. */
static void give(struct shared_blob *b, size_t offset, size_t size)
{
    struct extent *before = NULL, *after = b->free, *e;

    while (after && after->offset < offset) {
        before = after;
        after = after->next;
    }
    b->used -= size;
    if (before && before->offset + before->size == offset) {
        before->size += size;
        if (after && before->offset + before->size == after->offset) {
            before->size += after->size;
            before->next = after->next;
            free(after);
        }
        return;
    }
    if (after && offset + size == after->offset) {
        after->offset = offset;
        after->size += size;
        return;
    }
    e = malloc(sizeof(*e));
    if (!e) {
        return; /* these bytes are lost to the pool until its slab goes */
    }
    *e = (struct extent){ after, offset, size };
    *(before ? &before->next : &b->free) = e;
}

static size_t piece_size(size_t size)
{
    return ((size + PIECE_ALIGN - 1) & ~(PIECE_ALIGN - 1)) +
           sizeof(struct bulk_header);
}

/* Bytes of all slabs, and of those with nothing in them. */
static size_t slab_bytes(struct session *s, size_t *empty)
{
    size_t total = 0;

    *empty = 0;
    for (uint32_t i = 0; i < s->blob_count; i++) {
        struct shared_blob *b = s->blobs[i];

        if (b->slab) {
            total += b->blob.size;
            *empty += b->used ? 0 : b->blob.size;
        }
    }
    return total;
}

static void give_piece(struct session *s, const struct bulk *piece)
{
    struct shared_blob *b = piece->owner;
    size_t empty;

    give(b, piece->span.offset - sizeof(struct bulk_header),
         piece_size(piece->span.size));
    if (!b->used) {
        slab_bytes(s, &empty);
        if (empty > POOL_KEEP) {
            remove_blob(s, b);
        }
    }
}

static bool take_piece(struct session *s, size_t size, struct bulk *piece)
{
    for (uint32_t i = 0; i < s->blob_count; i++) {
        struct shared_blob *b = s->blobs[i];
        size_t offset;

        if (!b->slab || !take(b, piece_size(size), &offset)) {
            continue;
        }
        memset((char *)b->blob.map + offset, 0, sizeof(struct bulk_header));
        offset += sizeof(struct bulk_header);
        piece->span.blob = b->blob.id | WIRE_SPAN_TRACKED;
        piece->span.offset = offset;
        piece->span.size = size;
        piece->data = (char *)b->blob.map + offset;
        piece->owner = b;
        return true;
    }
    return false;
}

static bool grow(struct session *s, size_t size)
{
    size_t bytes = piece_size(size);
    struct shared_blob *b;

    if (bytes < SLAB_SIZE) {
        bytes = SLAB_SIZE;
    }
    b = add_blob(s, bytes);
    if (!b) {
        return false;
    }
    b->free = malloc(sizeof(*b->free));
    if (!b->free) {
        remove_blob(s, b);
        return false;
    }
    b->slab = true;
    *b->free = (struct extent){ NULL, 0,
                                b->blob.size & ~(PIECE_ALIGN - 1) };
    return true;
}

/* --- pieces that commands may still use -------------------------------------- */

bool bulk_is_done(const struct bulk *b)
{
    return atomic_load_explicit(&bulk_header(b)->done, memory_order_acquire);
}

struct bulk_header *bulk_header(const struct bulk *b)
{
    return (struct bulk_header *)b->data - 1;
}

/* Take back what is done: from the front alone, or (@all) wherever it is. */
static void reap(struct session *s, bool all)
{
    uint32_t kept = 0, i;

    for (i = 0; i < s->later_count; i++) {
        if (bulk_is_done(&s->later[i])) {
            give_piece(s, &s->later[i]);
        } else if (all) {
            s->later[kept++] = s->later[i];
        } else {
            break;
        }
    }
    if (i > kept) {
        memmove(&s->later[kept], &s->later[i],
                (s->later_count - i) * sizeof(s->later[0]));
        s->later_count -= i - kept;
    }
}

/* Make the worker look for finished commands. */
static void ping(struct session *s)
{
    struct call c;

    if (call_begin(&c, s, VGPU_API_SESSION, WIRE_PING, 0, true) == 0) {
        call_send(&c);
        call_wait(&c);
        call_end(&c);
    }
}

/* With the pool unlocked meanwhile: sleep a little longer each time. */
static bool wait_for_commands(struct session *s, unsigned *waited_ms)
{
    struct timespec ts = { 0, 1000000 * (1 + *waited_ms / 8) };

    if (!s->later_count || *waited_ms > FULL_WAIT_MS || session_lost(s)) {
        return false;
    }
    pthread_mutex_unlock(&s->pool_lock);
    if (*waited_ms) {
        nanosleep(&ts, NULL);
    }
    *waited_ms += 1 + *waited_ms / 8;
    ping(s);
    pthread_mutex_lock(&s->pool_lock);
    reap(s, true);
    return true;
}

int bulk_alloc(struct session *s, size_t size, struct bulk *b)
{
    unsigned waited_ms = 0;
    size_t empty;
    bool ok;

    if (size > VGPU_BLOB_SIZE_MAX - 2 * sizeof(struct bulk_header)) {
        return -1;
    }
    pthread_mutex_lock(&s->pool_lock);
    reap(s, false);
    ok = take_piece(s, size, b);
    if (!ok && slab_bytes(s, &empty) >= POOL_COMFORT &&
        wait_for_commands(s, &waited_ms)) {
        ok = take_piece(s, size, b);
    }
    while (!ok && !(ok = grow(s, size) && take_piece(s, size, b))) {
        if (!wait_for_commands(s, &waited_ms)) {
            break;
        }
        ok = take_piece(s, size, b);
    }
    pthread_mutex_unlock(&s->pool_lock);
    return ok ? 0 : -1;
}

void bulk_free(struct session *s, struct bulk *b)
{
    pthread_mutex_lock(&s->pool_lock);
    give_piece(s, b);
    pthread_mutex_unlock(&s->pool_lock);
}

void bulk_free_later(struct session *s, struct bulk *b)
{
    pthread_mutex_lock(&s->pool_lock);
    reap(s, false);
    if (s->later_count == s->later_room) {
        uint32_t room = s->later_room ? s->later_room * 2 : 64;
        struct bulk *more = realloc(s->later, room * sizeof(*more));

        if (!more) {
            goto out; /* never used again: the worker may still write to it */
        }
        s->later = more;
        s->later_room = room;
    }
    s->later[s->later_count++] = *b;
out:
    pthread_mutex_unlock(&s->pool_lock);
}

/* --- regions ------------------------------------------------------------------ */

static __thread const struct bulk *lent;

void bulk_lend(const struct bulk *b)
{
    lent = b;
}

bool bulk_find(struct session *s, const void *ptr, size_t size,
               struct wire_span *span)
{
    bool found = false;
    uint32_t at;

    if (lent && lent->data == ptr && size <= lent->span.size) {
        *span = lent->span;
        span->size = size;
        return true;
    }
    if (!session_perf(s, PERF_BULK)) {
        return false;
    }
    pthread_mutex_lock(&s->pool_lock);
    at = find_blob(s, ptr);
    if (at < s->blob_count) {
        struct transport_blob *b = &s->blobs[at]->blob;
        size_t offset = (size_t)((const char *)ptr - (const char *)b->map);

        if (ptr >= b->map && size <= b->size - offset) {
            *span = (struct wire_span){ b->id, offset, size };
            found = true;
        }
    }
    pthread_mutex_unlock(&s->pool_lock);
    return found;
}

static bool has_room_to_spare(struct session *s, size_t size)
{
    uint64_t most = s->ops->memory_max(s->transport) / SPARE_SHARE;

    return s->blob_count < BLOBS_MAX / 2 && size <= most &&
           s->spare_bytes <= most - size;
}

static int create_region(struct session *s, size_t size, bool spare,
                         struct bulk *b)
{
    struct shared_blob *blob = NULL;

    pthread_mutex_lock(&s->pool_lock);
    if (size <= VGPU_BLOB_SIZE_MAX && (!spare || has_room_to_spare(s, size))) {
        blob = add_blob(s, size);
    }
    if (blob && spare) {
        blob->spare = true;
        s->spare_bytes += blob->blob.size;
    }
    pthread_mutex_unlock(&s->pool_lock);
    if (!blob) {
        return -1;
    }
    b->span = (struct wire_span){ blob->blob.id, 0, size };
    b->data = blob->blob.map;
    b->owner = blob;
    return 0;
}

int region_create(struct session *s, size_t size, struct bulk *b)
{
    return create_region(s, size, false, b);
}

int region_create_spare(struct session *s, size_t size, struct bulk *b)
{
    return create_region(s, size, true, b);
}

void region_bury(struct session *s, uint32_t tail)
{
    struct shared_blob **at;

    pthread_mutex_lock(&s->pool_lock);
    at = &s->doomed;
    while (*at) {
        struct shared_blob *b = *at;

        if (!ring_reached(tail, b->tail)) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        s->doomed_count--;
        s->doomed_bytes -= b->blob.size;
        s->spare_bytes -= b->spare ? b->blob.size : 0;
        s->ops->blob_destroy(s->transport, &b->blob);
        free(b);
    }
    pthread_mutex_unlock(&s->pool_lock);
}

/*
 * Blobs do not travel by the ring: one that is destroyed now may be gone before
 * the worker comes to the calls that were sent about it. So it waits for an
 * answer to something that was sent later, and if there are many of them, asks.
 */
void region_destroy(struct session *s, struct bulk *b)
{
    struct shared_blob *blob = b->owner;
    bool many;

    pthread_mutex_lock(&s->ring_lock);
    blob->tail = s->producer.tail;
    pthread_mutex_unlock(&s->ring_lock);
    pthread_mutex_lock(&s->pool_lock);
    unlist_blob(s, blob);
    blob->next = s->doomed;
    s->doomed = blob;
    s->doomed_count++;
    s->doomed_bytes += blob->blob.size;
    many = s->doomed_count > DOOMED_MAX || s->doomed_bytes > DOOMED_BYTES;
    pthread_mutex_unlock(&s->pool_lock);
    if (many) {
        ping(s);
    }
}
