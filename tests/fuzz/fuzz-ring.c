/*
 * The ring under a peer that writes anything anywhere in it, between any two
 * steps of ours. The consumer must stay within its buffer, give out only
 * messages that a session can take, and come to an end; the producer must stay within
 * the command area.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "ring.h"
#include "wire.h"

#define SIZE  RING_CMD_MIN
#define BYTES (RING_CMD_OFFSET + SIZE)

enum step {
    WRITE,      /* bytes anywhere */
    WRITE_HEAD, /* a plausible start of a message where the consumer stands */
    TAIL,       /* any tail */
    TAIL_AHEAD, /* a tail that is possible */
    CONSUME,
    SLEEP,
    POST,
    PRODUCE,
    STEPS,
};

static alignas(64) uint8_t ring[BYTES];
static struct ring_consumer consumer;
static struct ring_producer producer;
static uint8_t *buf;

static void write_anywhere(struct fuzz_input *in)
{
    uint32_t at = fuzz_u32(in) % BYTES;
    size_t n = fuzz_u8(in);

    fuzz_bytes(in, ring + at, n < BYTES - at ? n : BYTES - at);
}

static void write_message(struct fuzz_input *in)
{
    uint32_t at = consumer.head % SIZE;
    struct wire_header h;

    fuzz_bytes(in, &h, sizeof(h));
    h.size = h.size % SIZE / RING_ALIGN * RING_ALIGN;
    memcpy(ring + RING_CMD_OFFSET + at, &h,
           sizeof(h) < SIZE - at ? sizeof(h) : SIZE - at);
}

/* What session.c does with a message, before anybody decodes it. */
static void check_message(uint32_t size, uint32_t head)
{
    struct wire_header h;
    struct wire_in in;

    fuzz_require(size >= sizeof(h) && size <= ring_message_max(SIZE));
    fuzz_require(size % RING_ALIGN == 0);
    fuzz_require(consumer.head - head >= size &&
                 consumer.head - head < SIZE + size);
    memcpy(&h, buf, sizeof(h));
    fuzz_require(h.size == size);
    if (h.payload <= size - sizeof(h)) {
        wire_in_init(&in, buf + sizeof(h), h.payload);
        wire_get_array(&in, wire_get(&in), wire_get(&in) & 0xffff);
        wire_get_i32(&in);
        wire_get_span(&in);
        wire_get_bytes(&in, wire_get_u32(&in));
    }
}

static void consume(void)
{
    uint32_t head = consumer.head, size = 0;
    bool signal = false;

    if (ring_consume(&consumer, buf, &size, &signal) == RING_MESSAGE) {
        check_message(size, head);
    }
    fuzz_require(consumer.head % RING_ALIGN == 0);
}

static void produce(struct fuzz_input *in)
{
    uint32_t size = sizeof(struct wire_header) + fuzz_u8(in) * 64u;
    uint8_t *at = ring_reserve(&producer, size);

    if (at) {
        fuzz_require(at >= ring + RING_CMD_OFFSET && at + size <= ring + BYTES);
        memset(at, 1, size);
        ring_commit(&producer, size);
    }
}

static void step(struct fuzz_input *in)
{
    struct ring_header *hdr = (struct ring_header *)ring;

    switch (fuzz_u8(in) % STEPS) {
    case WRITE:
        write_anywhere(in);
        break;
    case WRITE_HEAD:
        write_message(in);
        break;
    case TAIL:
        hdr->tail = fuzz_u32(in);
        break;
    case TAIL_AHEAD:
        hdr->tail = consumer.head + fuzz_u32(in) % (SIZE + 1) / 16 * 16;
        break;
    case CONSUME:
        consume();
        break;
    case SLEEP:
        if (ring_sleep(&consumer)) {
            ring_wake(&consumer);
        }
        break;
    case POST:
        ring_slot_post(ring_slot(ring, fuzz_u8(in) % RING_SLOTS), fuzz_u32(in));
        ring_slot_arm(ring_slot(ring, fuzz_u8(in) % RING_SLOTS), fuzz_u32(in));
        break;
    case PRODUCE:
        produce(in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, size };

    if (!buf) {
        /* Exactly as large as the consumer may use. */
        buf = malloc(ring_message_max(SIZE));
        fuzz_require(buf);
    }
    memset(ring, 0, BYTES);
    fuzz_require(ring_format(&consumer, ring, BYTES));
    consumer.head = fuzz_u32(&in) / 16 * 16;
    ((struct ring_header *)ring)->tail = consumer.head;
    ring_slot(ring, 0)->done = consumer.head;
    fuzz_require(!ring_producer_init(&producer, ring, BYTES));
    while (in.left) {
        step(&in);
    }
    return 0;
}
