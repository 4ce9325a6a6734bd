/*
 * The ring's two ends. Who may touch what, and when, is in ring.h; here are the
 * memory orders that make it true.
 *
 * Two pairs of accesses need sequential consistency, because each side writes
 * one word and then reads the other's (and at least one of them must see the
 * other's write): tail against state, and done against waiting.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ring.h"

#include <string.h>
#include <sys/mman.h>

#include "wire.h"

uint32_t ring_cmd_size(size_t bytes)
{
    uint32_t size = RING_CMD_MAX;

    while (size >= RING_CMD_MIN && ring_bytes(size) > bytes) {
        size /= 2;
    }
    return size >= RING_CMD_MIN ? size : 0;
}

void ring_populate(void *ring, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    madvise(ring, bytes, MADV_POPULATE_WRITE);
#endif
}

bool ring_slot_arm(struct ring_slot *slot, uint32_t seq)
{
    atomic_store(&slot->waiting, 1);
    return ring_reached(atomic_load(&slot->done), seq);
}

bool ring_slot_post(struct ring_slot *slot, uint32_t seq)
{
    atomic_store(&slot->done, seq);
    return atomic_load(&slot->waiting) && atomic_exchange(&slot->waiting, 0);
}

void ring_set_fatal(void *ring, enum ring_fatal why)
{
    struct ring_header *hdr = ring;
    uint32_t ok = RING_OK;

    atomic_compare_exchange_strong(&hdr->fatal, &ok, why);
}

const char *ring_producer_init(struct ring_producer *p, void *ring,
                               size_t bytes)
{
    struct ring_header *hdr = ring;
    uint32_t size = ring_cmd_size(bytes);

    if (!size) {
        return "the ring's memory is too small";
    }
    if (hdr->magic != RING_MAGIC) {
        return "the memory holds no ring";
    }
    if (hdr->version != VGPU_PROTOCOL_VERSION) {
        return "the ring is of another protocol version";
    }
    if (hdr->cmd_size != size) {
        return "the ring's size is not its memory's";
    }
    p->hdr = hdr;
    p->cmd = (uint8_t *)ring + RING_CMD_OFFSET;
    p->size = size;
    p->tail = atomic_load_explicit(&hdr->tail, memory_order_relaxed);
    p->published = p->tail;
    p->head = atomic_load_explicit(&ring_slot(ring, 0)->done,
                                   memory_order_acquire);
    return NULL;
}

/* Bytes to skip so that @size bytes are contiguous at the tail. */
static uint32_t padding(const struct ring_producer *p, uint32_t size)
{
    uint32_t to_end = p->size - (p->tail & (p->size - 1));

    return size <= to_end ? 0 : to_end;
}

uint32_t ring_space_position(const struct ring_producer *p, uint32_t size)
{
    return p->tail + padding(p, size) + size - p->size;
}

void *ring_reserve(struct ring_producer *p, uint32_t size)
{
    uint32_t skip = padding(p, size);

    assert(size >= sizeof(struct wire_header) && size % RING_ALIGN == 0);
    assert(size <= ring_message_max(p->size));
    if (p->tail + skip + size - p->head > p->size) {
        p->head = atomic_load_explicit(&ring_slot(p->hdr, 0)->done,
                                       memory_order_acquire);
        if (p->tail + skip + size - p->head > p->size) {
            return NULL;
        }
    }
    if (skip) {
        /* The area's end may have room for less than a header: two words do. */
        uint32_t pad[4] = { skip, 0, 0, 0 };

        static_assert(sizeof(pad) == RING_ALIGN, "padding fits any gap");
        memcpy(p->cmd + (p->tail & (p->size - 1)), pad, sizeof(pad));
        p->tail += skip;
    }
    return p->cmd + (p->tail & (p->size - 1));
}

bool ring_publish(struct ring_producer *p)
{
    uint32_t asleep = RING_ASLEEP;

    p->published = p->tail;
    atomic_store(&p->hdr->tail, p->tail);
    return atomic_load(&p->hdr->state) == RING_ASLEEP &&
           atomic_compare_exchange_strong(&p->hdr->state, &asleep, RING_AWAKE);
}

bool ring_commit(struct ring_producer *p, uint32_t size)
{
    ring_append(p, size);
    return ring_publish(p);
}

bool ring_format(struct ring_consumer *c, void *ring, size_t bytes)
{
    struct ring_header *hdr = ring;

    c->size = ring_cmd_size(bytes);
    if (!c->size) {
        return false;
    }
    c->hdr = hdr;
    c->cmd = (uint8_t *)ring + RING_CMD_OFFSET;
    c->head = 0;
    c->sleeps = 0;
    hdr->version = VGPU_PROTOCOL_VERSION;
    hdr->cmd_size = c->size;
    hdr->magic = RING_MAGIC;
    return true;
}

/*
 * Copy out of memory that the guest may be writing. The barrier keeps the
 * compiler from reading the original again in place of the copy.
 */
static void copy_once(void *to, const uint8_t *from, size_t n)
{
    memcpy(to, from, n);
    atomic_signal_fence(memory_order_seq_cst);
}

enum ring_result ring_consume(struct ring_consumer *c, void *buf,
                              uint32_t *size, bool *signal)
{
    for (;;) {
        uint32_t tail = atomic_load_explicit(&c->hdr->tail,
                                             memory_order_acquire);
        uint32_t at = c->head & (c->size - 1);
        uint32_t start[4]; /* the first RING_ALIGN bytes of the message */
        uint32_t n;
        bool pad;

        if (tail == c->head) {
            return RING_EMPTY;
        }
        if (tail - c->head > c->size || tail % RING_ALIGN) {
            return RING_BROKEN;
        }
        copy_once(start, c->cmd + at, sizeof(start));
        n = start[0];
        if (n < RING_ALIGN || n % RING_ALIGN || n > tail - c->head ||
            n > c->size - at) {
            return RING_BROKEN;
        }
        /* At the area's start there is nothing to pass over: no endless row. */
        pad = start[1] == 0 && start[2] == 0 && start[3] == 0 &&
              n == c->size - at && at;
        if (!pad) {
            if (n < sizeof(struct wire_header) ||
                n > ring_message_max(c->size)) {
                return RING_BROKEN;
            }
            copy_once(buf, c->cmd + at, n);
            /* The guest may have changed it since: what was checked counts. */
            memcpy(buf, start, sizeof(start));
            *size = n;
        }
        c->head += n;
        if (ring_slot_post(ring_slot(c->hdr, 0), c->head)) {
            *signal = true;
        }
        if (!pad) {
            return RING_MESSAGE;
        }
    }
}

bool ring_pending(const struct ring_consumer *c)
{
    return atomic_load_explicit(&c->hdr->tail, memory_order_acquire) != c->head;
}

bool ring_sleep(struct ring_consumer *c)
{
    /* First, so that whoever sees us asleep sees it counted. */
    atomic_store_explicit(&c->hdr->sleeps, ++c->sleeps, memory_order_relaxed);
    atomic_store(&c->hdr->state, RING_ASLEEP);
    if (atomic_load(&c->hdr->tail) == c->head) {
        return true;
    }
    atomic_store(&c->hdr->state, RING_AWAKE);
    return false;
}

void ring_wake(struct ring_consumer *c)
{
    atomic_store(&c->hdr->state, RING_AWAKE);
}
