/*
 * The ring, both ends in one thread: what goes in comes out, at every offset
 * and across every wrap; what a hostile guest may write into it is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include <stdlib.h>

#include "ring.h"
#include "wire.h"

#define SIZE RING_CMD_MIN /* of the command area, in all these tests */

struct fixture {
    void *ring;
    uint8_t *cmd;
    struct ring_header *hdr;
    struct ring_producer p;
    struct ring_consumer c;
    uint8_t *buf; /* exactly as large as ring_consume() may use */
};

/* Start over with an empty ring whose positions have reached @position. */
static void restart(struct fixture *f, uint32_t position)
{
    memset(f->ring, 0, ring_bytes(SIZE));
    assert_true(ring_format(&f->c, f->ring, ring_bytes(SIZE)));
    f->c.head = position;
    f->hdr->tail = position;
    ring_slot(f->ring, 0)->done = position;
    assert_null(ring_producer_init(&f->p, f->ring, ring_bytes(SIZE)));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->ring = mmap(NULL, ring_bytes(SIZE), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(f->ring, MAP_FAILED);
    f->hdr = f->ring;
    f->cmd = (uint8_t *)f->ring + RING_CMD_OFFSET;
    f->buf = malloc(ring_message_max(SIZE));
    assert_non_null(f->buf);
    restart(f, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    munmap(f->ring, ring_bytes(SIZE));
    free(f->buf);
    free(f);
    return 0;
}

static void fill(uint8_t *at, uint32_t size, uint32_t seed)
{
    struct wire_header h = { .size = size, .api = 1, .call = 1, .seq = seed };

    memcpy(at, &h, sizeof(h));
    for (uint32_t i = sizeof(h); i < size; i++) {
        at[i] = (uint8_t)(seed + i * 7);
    }
}

static bool is_filled(const uint8_t *at, uint32_t size, uint32_t seed)
{
    struct wire_header h;

    memcpy(&h, at, sizeof(h));
    if (h.size != size || h.seq != seed) {
        return false;
    }
    for (uint32_t i = sizeof(h); i < size; i++) {
        if (at[i] != (uint8_t)(seed + i * 7)) {
            return false;
        }
    }
    return true;
}

static bool produce(struct fixture *f, uint32_t size, uint32_t seed)
{
    uint8_t *at = ring_reserve(&f->p, size);

    if (!at) {
        return false;
    }
    assert_true(at >= f->cmd && at + size <= f->cmd + SIZE);
    fill(at, size, seed);
    ring_commit(&f->p, size);
    return true;
}

static enum ring_result consume(struct fixture *f, uint32_t *size)
{
    bool signal = false;

    return ring_consume(&f->c, f->buf, size, &signal);
}

static void expect_message(struct fixture *f, uint32_t size, uint32_t seed)
{
    uint32_t n = 0;

    assert_int_equal(consume(f, &n), RING_MESSAGE);
    assert_int_equal(n, size);
    assert_true(is_filled(f->buf, size, seed));
}

static void expect_empty(struct fixture *f)
{
    uint32_t n;

    assert_int_equal(consume(f, &n), RING_EMPTY);
}

/* --- making and opening ------------------------------------------------------ */

static void ring_parts_lie_where_the_specification_says(void **state)
{
    struct fixture *f = *state;
    uint8_t *base = f->ring;

    assert_int_equal(offsetof(struct ring_header, magic), 0);
    assert_int_equal(offsetof(struct ring_header, version), 4);
    assert_int_equal(offsetof(struct ring_header, cmd_size), 8);
    assert_int_equal(offsetof(struct ring_header, tail), 64);
    assert_int_equal(offsetof(struct ring_header, state), 128);
    assert_int_equal(offsetof(struct ring_header, fatal), 192);
    assert_int_equal(offsetof(struct ring_slot, done), 0);
    assert_int_equal(offsetof(struct ring_slot, waiting), 4);
    assert_int_equal(offsetof(struct ring_slot, size), 8);
    assert_int_equal(offsetof(struct ring_slot, status), 12);
    assert_ptr_equal(ring_slot(base, 0), base + 0x1000);
    assert_ptr_equal(ring_slot(base, 63), base + 0x1000 + 63 * 64);
    assert_ptr_equal(ring_reply(base, 0), base + 0x2000);
    assert_ptr_equal(ring_reply(base, 63), base + 0x2000 + 63 * 4096);
    assert_int_equal(RING_CMD_OFFSET, 0x42000);
}

static void ring_command_area_is_the_largest_power_of_two_that_fits(void **state)
{
    assert_int_equal(ring_cmd_size(0), 0);
    assert_int_equal(ring_cmd_size(ring_bytes(RING_CMD_MIN) - 1), 0);
    assert_int_equal(ring_cmd_size(SIZE_MAX), RING_CMD_MAX);
    for (uint32_t size = RING_CMD_MIN; size <= RING_CMD_MAX; size *= 2) {
        assert_int_equal(ring_cmd_size(ring_bytes(size)), size);
        assert_int_equal(ring_cmd_size(ring_bytes(size) + size - 1), size);
    }
}

static void ring_in_too_little_memory_is_not_made(void **state)
{
    struct fixture *f = *state;
    struct ring_consumer c;

    assert_false(ring_format(&c, f->ring, 0));
    assert_false(ring_format(&c, f->ring, ring_bytes(RING_CMD_MIN) - 1));
    assert_non_null(ring_producer_init(&f->p, f->ring, 0));
    assert_non_null(
        ring_producer_init(&f->p, f->ring, ring_bytes(RING_CMD_MIN) - 1));
}

static void ring_with_a_wrong_constant_is_not_opened(void **state)
{
    struct fixture *f = *state;
    uint32_t *constants[] = { &f->hdr->magic, &f->hdr->version,
                              &f->hdr->cmd_size };

    for (size_t i = 0; i < 3; i++) {
        uint32_t right = *constants[i];

        for (int bit = 0; bit < 32; bit++) {
            *constants[i] = right ^ 1u << bit;
            assert_non_null(
                ring_producer_init(&f->p, f->ring, ring_bytes(SIZE)));
        }
        *constants[i] = right;
    }
    assert_null(ring_producer_init(&f->p, f->ring, ring_bytes(SIZE)));
}

static void ring_opened_again_keeps_what_was_not_consumed(void **state)
{
    struct fixture *f = *state;
    uint32_t sent = 0;

    while (produce(f, 4096, sent)) {
        sent++;
    }
    assert_null(ring_producer_init(&f->p, f->ring, ring_bytes(SIZE)));
    assert_false(produce(f, 4096, sent));
    for (uint32_t i = 0; i < sent; i++) {
        expect_message(f, 4096, i);
    }
    expect_empty(f);
}

/* --- messages ------------------------------------------------------------------ */

static void ring_message_comes_out_whole_at_every_offset(void **state)
{
    static const uint32_t sizes[] = { 32, 48, 64, 1008, SIZE / 4 };
    struct fixture *f = *state;

    for (uint32_t at = 0; at < SIZE; at += RING_ALIGN) {
        restart(f, at);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            assert_true(produce(f, sizes[i], at));
            expect_message(f, sizes[i], at);
            expect_empty(f);
        }
    }
}

static void ring_counters_pass_2_to_the_32(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 1;
    uint32_t before = 0u - 3 * SIZE;

    restart(f, before);
    for (uint32_t sent = 0, got = 0; ring_reached(2 * SIZE, f->c.head);) {
        uint32_t size =
            32 + random_next(&random) % (SIZE / 4 - 31) / RING_ALIGN * RING_ALIGN;

        while (!produce(f, size, sent << 16 | size)) {
            uint32_t n;

            assert_int_equal(consume(f, &n), RING_MESSAGE);
            assert_true(is_filled(f->buf, n, got << 16 | n));
            got++;
        }
        sent++;
    }
    assert_true(f->c.head < 3 * SIZE);
    assert_int_equal(ring_slot(f->ring, 0)->done, f->c.head);
}

static void full_ring_takes_a_message_at_its_space_position(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 2;

    for (int round = 0; round < 300; round++) {
        uint32_t size = 0, position, n;

        restart(f, random_next(&random) / RING_ALIGN * RING_ALIGN);
        do {
            size = 32 + random_next(&random) % (SIZE / 4 - 31) / 16 * 16;
        } while (produce(f, size, 0));
        position = ring_space_position(&f->p, size);
        assert_true(ring_reached(f->p.tail, position));
        while (!ring_reached(f->c.head, position)) {
            assert_null(ring_reserve(&f->p, size));
            assert_int_equal(ring_space_position(&f->p, size), position);
            assert_int_equal(consume(f, &n), RING_MESSAGE);
        }
        assert_true(produce(f, size, 1));
    }
}

static void full_ring_loses_nothing_it_holds(void **state)
{
    struct fixture *f = *state;

    for (uint32_t at = 0; at < SIZE; at += 4096 - 16) {
        uint32_t sent = 0;

        restart(f, at);
        while (produce(f, 48, sent)) {
            sent++;
        }
        assert_true(sent >= (SIZE - 48) / 48);
        for (uint32_t i = 0; i < sent; i++) {
            expect_message(f, 48, i);
        }
        expect_empty(f);
    }
}

static void ring_padding_is_not_published_without_its_message(void **state)
{
    struct fixture *f = *state;

    restart(f, SIZE - 16);
    assert_non_null(ring_reserve(&f->p, 32));
    expect_empty(f);
    assert_true(produce(f, 64, 5)); /* the first reservation is forgotten */
    expect_message(f, 64, 5);
    expect_empty(f);
}

/* --- what a hostile guest may write ---------------------------------------------- */

/* Numbers worth trying in any 32-bit field beside the exhaustive small ones. */
static uint32_t odd_number(uint32_t i, uint64_t *random)
{
    if (i < 96) {
        return (1u << i % 32) + i / 32 - 1;
    }
    return random_next(random);
}

static void ring_tail_beyond_size_is_refused(void **state)
{
    static const uint32_t heads[] = { 0, 64, SIZE - 32, 0u - 32 };
    struct fixture *f = *state;
    uint64_t random = 3;

    for (size_t h = 0; h < sizeof(heads) / sizeof(heads[0]); h++) {
        for (uint32_t i = 0; i < 3 * SIZE; i++) {
            uint32_t ahead = i < 2 * SIZE ? i : odd_number(i - 2 * SIZE, &random);
            enum ring_result want = RING_MESSAGE;
            uint32_t n = 0;

            f->c.head = heads[h];
            f->hdr->tail = heads[h] + ahead;
            fill(f->cmd + heads[h] % SIZE, 32, 0);
            if (ahead == 0) {
                want = RING_EMPTY;
            } else if (ahead > SIZE || ahead % RING_ALIGN || ahead < 32) {
                want = RING_BROKEN;
            }
            assert_int_equal(consume(f, &n), want);
            assert_int_equal(n, want == RING_MESSAGE ? 32 : 0);
        }
    }
}

/* Try every size in the one message at @at that is published up to @ahead. */
static void try_sizes(struct fixture *f, uint32_t at, uint32_t ahead)
{
    uint64_t random = 4;

    for (uint32_t i = 0; i < 3 * SIZE; i++) {
        uint32_t size = i < 2 * SIZE ? i : odd_number(i - 2 * SIZE, &random);
        uint32_t n = 0;
        bool fits = size >= 32 && size % RING_ALIGN == 0 && size <= ahead &&
                    size <= SIZE - at && size <= SIZE / 4;

        f->c.head = at;
        f->hdr->tail = at + ahead;
        fill(f->cmd + at, 32, 0);
        memcpy(f->cmd + at, &size, sizeof(size));
        assert_int_equal(consume(f, &n), fits ? RING_MESSAGE : RING_BROKEN);
        assert_int_equal(n, fits ? size : 0);
        assert_int_equal(f->c.head, fits ? at + size : at);
    }
}

static void ring_message_of_an_impossible_size_is_refused(void **state)
{
    struct fixture *f = *state;

    try_sizes(f, 0, 64);           /* more than was published */
    try_sizes(f, 0, SIZE);         /* more than a message may have */
    try_sizes(f, SIZE - 256, 512); /* across the area's end */
    try_sizes(f, SIZE - 32, SIZE);
}

static void ring_padding_of_a_wrong_size_is_refused(void **state)
{
    struct fixture *f = *state;

    for (uint32_t at = 0; at < SIZE; at += RING_ALIGN) {
        for (uint32_t size = 16; size <= 3 * 16; size += 16) {
            uint32_t pad[4] = { size, 0, 0, 0 };
            uint32_t n;
            /* A size that a message may have is a message of call 0. */
            enum ring_result want = size < 32 ? RING_BROKEN : RING_MESSAGE;

            f->c.head = at;
            f->hdr->tail = at + SIZE;
            memset(f->cmd, 0, RING_ALIGN);
            memcpy(f->cmd + at, pad, sizeof(pad));
            if (size > SIZE - at) {
                want = RING_BROKEN;
            } else if (size == SIZE - at) {
                want = RING_BROKEN; /* good padding, and then a size of 0 */
            }
            assert_int_equal(consume(f, &n), want);
        }
    }
}

static void ring_padding_is_passed_over_whatever_follows(void **state)
{
    struct fixture *f = *state;

    for (uint32_t at = RING_ALIGN; at < SIZE; at += RING_ALIGN) {
        uint32_t pad[4] = { SIZE - at, 0, 0, 0 };

        f->c.head = at;
        f->hdr->tail = SIZE;
        memcpy(f->cmd + at, pad, sizeof(pad));
        expect_empty(f);
        assert_int_equal(f->c.head, SIZE);
        fill(f->cmd, 48, at);
        f->hdr->tail = SIZE + 48;
        expect_message(f, 48, at);
    }
}

static void ring_padding_of_the_whole_area_is_refused(void **state)
{
    struct fixture *f = *state;
    uint32_t pad[4] = { SIZE, 0, 0, 0 };
    uint32_t n;

    memcpy(f->cmd, pad, sizeof(pad));
    f->hdr->tail = SIZE;
    assert_int_equal(consume(f, &n), RING_BROKEN);
}

static void ring_constants_changed_later_do_not_matter(void **state)
{
    struct fixture *f = *state;

    assert_true(produce(f, 64, 9));
    f->hdr->magic = f->hdr->version = f->hdr->cmd_size = 0xffffffff;
    ring_slot(f->ring, 0)->done = 0x12345;
    expect_message(f, 64, 9);
    assert_int_equal(ring_slot(f->ring, 0)->done, 64);
}

static void ring_head_forged_for_the_producer_stays_inside_the_area(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 5;

    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t size = 32 + random_next(&random) % 1024 * RING_ALIGN;

        ring_slot(f->ring, 0)->done = odd_number(i, &random);
        if (size <= ring_message_max(SIZE)) {
            produce(f, size, i);
        }
    }
}

static void ring_broken_bytes_never_get_past_the_buffer(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 6;

    for (int round = 0; round < 2000; round++) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < SIZE; i += RING_ALIGN) {
            uint32_t size = random_next(&random) % 64 * RING_ALIGN;

            memcpy(f->cmd + i, &size, sizeof(size));
        }
        f->c.head = random_next(&random) / RING_ALIGN * RING_ALIGN;
        f->hdr->tail = f->c.head + random_next(&random) % (SIZE / 16 + 1) * 16;
        while (consume(f, &n) == RING_MESSAGE) {
            assert_in_range(n, sizeof(struct wire_header),
                            ring_message_max(SIZE));
        }
    }
}

/* --- publishing together ------------------------------------------------------------ */

static void appended_messages_are_seen_when_published(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < 3; i++) {
        fill(ring_reserve(&f->p, 32), 32, i);
        ring_append(&f->p, 32);
        assert_false(ring_pending(&f->c));
    }
    assert_true(ring_sleep(&f->c));
    fill(ring_reserve(&f->p, 64), 64, 3);
    assert_true(ring_commit(&f->p, 64));
    for (uint32_t i = 0; i < 3; i++) {
        expect_message(f, 32, i);
    }
    expect_message(f, 64, 3);
    assert_false(ring_pending(&f->c));
}

/* --- sleeping ---------------------------------------------------------------------- */

static void worker_does_not_sleep_over_a_message(void **state)
{
    struct fixture *f = *state;

    assert_false(ring_pending(&f->c));
    assert_int_equal(ring_sleeps(f->hdr), 0);
    assert_false(produce(f, 32, 0) && ring_sleep(&f->c));
    assert_true(ring_pending(&f->c));
    assert_int_equal(f->hdr->state, RING_AWAKE);
    expect_message(f, 32, 0);
    assert_true(ring_sleep(&f->c));
    assert_int_equal(f->hdr->state, RING_ASLEEP);
    assert_true(ring_sleeps(f->hdr) >= 1);
}

static void doorbell_rings_once_for_a_sleeping_worker(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < 3; i++) {
        void *at = ring_reserve(&f->p, 32);

        assert_true(ring_sleep(&f->c));
        fill(at, 32, i);
        assert_true(ring_commit(&f->p, 32));
        fill(ring_reserve(&f->p, 32), 32, i);
        assert_false(ring_commit(&f->p, 32));
        ring_wake(&f->c);
        expect_message(f, 32, i);
        expect_message(f, 32, i);
        fill(ring_reserve(&f->p, 32), 32, i);
        assert_false(ring_commit(&f->p, 32));
        expect_message(f, 32, i);
    }
}

static void answer_signals_who_sleeps_and_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct ring_slot *slot = ring_slot(f->ring, 7);

    assert_false(ring_slot_post(slot, 1));
    assert_true(ring_slot_is_done(slot, 1));
    assert_true(ring_slot_arm(slot, 1)); /* too late to sleep, yet armed */
    assert_true(ring_slot_post(slot, 2));
    assert_false(ring_slot_post(slot, 3));
    assert_false(ring_slot_arm(slot, 4));
    assert_false(ring_slot_is_done(slot, 4));
    assert_true(ring_slot_post(slot, 4));
    assert_true(ring_slot_is_done(slot, 4));
}

static void slot_sequence_passes_2_to_the_32(void **state)
{
    struct fixture *f = *state;
    struct ring_slot *slot = ring_slot(f->ring, 1);

    for (uint32_t seq = 0u - 5; seq != 5; seq++) {
        ring_slot_post(slot, seq);
        assert_true(ring_slot_is_done(slot, seq));
        assert_true(ring_slot_is_done(slot, seq - 1));
        assert_false(ring_slot_is_done(slot, seq + 1));
        assert_false(ring_slot_arm(slot, seq + 1));
    }
}

static void producer_waiting_for_space_is_signalled(void **state)
{
    struct fixture *f = *state;
    bool signal = false;
    uint32_t n;

    while (produce(f, 4096, 0)) {
    }
    assert_false(ring_slot_arm(ring_slot(f->ring, 0),
                               ring_space_position(&f->p, 4096)));
    assert_int_equal(ring_consume(&f->c, f->buf, &n, &signal), RING_MESSAGE);
    assert_true(signal);
    assert_true(produce(f, 4096, 0));
}

static void first_reason_of_a_loss_stays(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ring_fatal(f->ring), RING_OK);
    ring_set_fatal(f->ring, RING_FATAL_BUDGET);
    ring_set_fatal(f->ring, RING_FATAL_WORKER);
    assert_int_equal(ring_fatal(f->ring), RING_FATAL_BUDGET);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ring_parts_lie_where_the_specification_says),
        TEST(ring_command_area_is_the_largest_power_of_two_that_fits),
        TEST(ring_in_too_little_memory_is_not_made),
        TEST(ring_with_a_wrong_constant_is_not_opened),
        TEST(ring_opened_again_keeps_what_was_not_consumed),
        TEST(ring_message_comes_out_whole_at_every_offset),
        TEST(ring_counters_pass_2_to_the_32),
        TEST(full_ring_takes_a_message_at_its_space_position),
        TEST(full_ring_loses_nothing_it_holds),
        TEST(ring_padding_is_not_published_without_its_message),
        TEST(ring_tail_beyond_size_is_refused),
        TEST(ring_message_of_an_impossible_size_is_refused),
        TEST(ring_padding_of_a_wrong_size_is_refused),
        TEST(ring_padding_is_passed_over_whatever_follows),
        TEST(ring_padding_of_the_whole_area_is_refused),
        TEST(ring_constants_changed_later_do_not_matter),
        TEST(ring_head_forged_for_the_producer_stays_inside_the_area),
        TEST(ring_broken_bytes_never_get_past_the_buffer),
        TEST(appended_messages_are_seen_when_published),
        TEST(worker_does_not_sleep_over_a_message),
        TEST(doorbell_rings_once_for_a_sleeping_worker),
        TEST(answer_signals_who_sleeps_and_nobody_else),
        TEST(slot_sequence_passes_2_to_the_32),
        TEST(producer_waiting_for_space_is_signalled),
        TEST(first_reason_of_a_loss_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
