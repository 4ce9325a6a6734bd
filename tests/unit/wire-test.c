/*
 * Messages: what was put is what is got; a reader of a message that is cut
 * off, too long or full of lies notices, and never reads past its end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include "wire.h"

static void wire_items_come_back_as_they_were_put(void **state)
{
    static const struct wire_span span = { 7, 1ull << 40, UINT64_MAX };
    uint8_t buf[112];
    struct wire_out out;
    struct wire_in in;
    struct wire_span got;

    wire_out_init(&out, buf, sizeof(buf));
    wire_put(&out, UINT64_MAX);
    wire_put(&out, UINT32_MAX);
    wire_put(&out, (uint64_t)INT32_MIN);
    wire_put_bytes(&out, "12345", 5);
    wire_put_span(&out, &span);
    wire_put_bytes(&out, NULL, 0);
    wire_put_bytes(&out, "12345678", 8);
    wire_put(&out, 42);
    assert_false(out.bad);

    wire_in_init(&in, buf, (size_t)(out.p - buf));
    assert_true(wire_get(&in) == UINT64_MAX);
    assert_int_equal(wire_get_u32(&in), UINT32_MAX);
    assert_int_equal(wire_get_i32(&in), INT32_MIN);
    assert_memory_equal(wire_get_bytes(&in, 5), "12345\0\0\0", 8);
    got = wire_get_span(&in);
    assert_memory_equal(&got, &span, sizeof(span));
    assert_non_null(wire_get_array(&in, 0, 8));
    assert_memory_equal(wire_get_array(&in, 2, 4), "12345678", 8);
    assert_false(wire_done(&in)); /* one item is left */
    assert_int_equal(wire_get(&in), 42);
    assert_true(wire_done(&in));
}

/* Read what put_all() wrote, into *@sum so that no read is optimised away. */
static bool get_all(struct wire_in *in, uint64_t *sum)
{
    const uint8_t *array, *text;
    uint32_t n;

    *sum += wire_get(in);
    n = wire_get_u32(in);
    *sum += (uint64_t)wire_get_i32(in);
    array = wire_get_array(in, n, 8);
    for (uint64_t i = 0; array && i < 8 * (uint64_t)n; i++) {
        *sum += array[i];
    }
    *sum += wire_get_span(in).size;
    text = wire_get_bytes(in, 13);
    for (int i = 0; text && i < 13; i++) {
        *sum += text[i];
    }
    return wire_done(in);
}

static size_t put_all(uint8_t *buf, size_t size)
{
    static const uint64_t array[] = { 1, 2, 3 };
    static const struct wire_span span = { 2, 64, 4096 };
    struct wire_out out;

    wire_out_init(&out, buf, size);
    wire_put(&out, 1);
    wire_put(&out, 3);
    wire_put(&out, (uint64_t)-1);
    wire_put_bytes(&out, array, sizeof(array));
    wire_put_span(&out, &span);
    wire_put_bytes(&out, "thirteen char", 13);
    assert_false(out.bad);
    return (size_t)(out.p - buf);
}

static void wire_message_cut_off_at_any_byte_is_refused(void **state)
{
    uint8_t *fenced = fenced_create();
    uint8_t whole[256];
    size_t size = put_all(whole, sizeof(whole));
    uint64_t sum = 0;
    struct wire_in in;

    for (size_t n = 0; n <= size; n++) {
        uint8_t *at = fenced + FENCED_BYTES - n;

        memcpy(at, whole, n);
        wire_in_init(&in, at, n);
        assert_int_equal(get_all(&in, &sum), n == size);
    }
    assert_true(sum > 0);
    fenced_destroy(fenced);
}

static void wire_message_with_bytes_left_over_is_refused(void **state)
{
    uint8_t whole[512] = { 0 };
    size_t size = put_all(whole, sizeof(whole));
    uint64_t sum = 0;
    struct wire_in in;

    for (size_t more = 1; more < 64; more++) {
        wire_in_init(&in, whole, size + more);
        assert_false(get_all(&in, &sum));
        assert_false(in.bad);
    }
}

static void wire_bytes_of_any_kind_stay_inside_the_message(void **state)
{
    uint8_t *fenced = fenced_create();
    uint64_t random = 1, sum = 0;

    for (int round = 0; round < 200000; round++) {
        size_t n = random_next(&random) % 17 * 8;
        uint8_t *at = fenced + FENCED_BYTES - n;
        struct wire_in in;

        for (size_t i = 0; i < n; i += 8) {
            uint64_t v = random_next(&random) % 8;

            v = v < 4 ? v : v << (random_next(&random) % 64);
            memcpy(at + i, &v, 8);
        }
        wire_in_init(&in, at, n);
        get_all(&in, &sum);
        assert_true(in.p >= at && in.p <= in.end);
    }
    fenced_destroy(fenced);
}

static void wire_error_sticks(void **state)
{
    uint8_t buf[16] = { 1 };
    struct wire_in in;

    wire_in_init(&in, buf, sizeof(buf));
    assert_null(wire_get_bytes(&in, 17));
    assert_true(in.bad);
    assert_int_equal(wire_get(&in), 0); /* though there is an item */
    assert_int_equal(wire_get_u32(&in), 0);
    assert_int_equal(wire_get_i32(&in), 0);
    assert_null(wire_get_bytes(&in, 0));
    assert_int_equal(wire_get_span(&in).blob, 0);
    assert_ptr_equal(in.p, buf);
    assert_false(wire_done(&in));
}

static void wire_error_at_the_very_end_is_no_success(void **state)
{
    uint64_t v = 1ull << 32;
    struct wire_in in;

    wire_in_init(&in, &v, sizeof(v));
    wire_get_u32(&in);
    assert_ptr_equal(in.p, in.end);
    assert_false(wire_done(&in));
}

static void wire_item_too_large_for_32_bits_is_refused(void **state)
{
    static const struct {
        uint64_t v;
        bool u32, i32;
    } cases[] = {
        { 0, true, true },
        { INT32_MAX, true, true },
        { 1ull << 31, true, false },
        { UINT32_MAX, true, false },
        { 1ull << 32, false, false },
        { 1ull << 63, false, false },
        { UINT64_MAX, false, true },
        { (uint64_t)INT32_MIN, false, true },
        { (uint64_t)INT32_MIN - 1, false, false },
    };
    struct wire_in in;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        wire_in_init(&in, &cases[i].v, 8);
        assert_int_equal(wire_get_u32(&in), cases[i].u32 ? cases[i].v : 0);
        assert_int_equal(wire_done(&in), cases[i].u32);
        wire_in_init(&in, &cases[i].v, 8);
        assert_int_equal(wire_get_i32(&in),
                         cases[i].i32 ? (int32_t)cases[i].v : 0);
        assert_int_equal(wire_done(&in), cases[i].i32);
    }
}

static void wire_count_that_overflows_is_refused(void **state)
{
    static const struct {
        uint64_t count;
        size_t size;
    } cases[] = {
        { 1ull << 61, 8 },      /* 0 modulo 2^64 */
        { (1ull << 61) + 1, 8 },/* 8 modulo 2^64 */
        { UINT64_MAX, 1 },      /* 0 when padded */
        { UINT64_MAX - 6, 1 },  /* 0 when padded */
        { UINT64_MAX - 7, 1 },  /* the largest that can be padded */
        { UINT64_MAX, 2 },
        { UINT64_MAX, SIZE_MAX },
        { 1ull << 63, 2 },
        { 65, 1 },
        { 9, 8 },
    };
    uint8_t buf[64] = { 0 };
    struct wire_in in;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        wire_in_init(&in, buf, sizeof(buf));
        assert_null(wire_get_array(&in, cases[i].count, cases[i].size));
        assert_true(in.bad);
        assert_ptr_equal(in.p, buf);
    }
    wire_in_init(&in, buf, sizeof(buf));
    assert_ptr_equal(wire_get_array(&in, 8, 8), buf);
    assert_true(wire_done(&in));
}

static void wire_writer_stops_at_the_end_of_its_space(void **state)
{
    uint8_t *fenced = fenced_create();
    volatile size_t huge = SIZE_MAX; /* kept from the compiler, which objects */

    for (size_t n = 0; n <= 64; n++) {
        uint8_t *at = fenced + FENCED_BYTES - n;
        struct wire_out out;

        wire_out_init(&out, at, n);
        wire_put(&out, 1);
        wire_put_bytes(&out, "1234567890", 10);
        wire_put(&out, 2);
        assert_int_equal(out.bad, n < 32);
        assert_true(out.p <= out.end);
        wire_put_bytes(&out, at, huge);
        wire_put_bytes(&out, at, huge - 7);
        assert_true(out.bad);
    }
    fenced_destroy(fenced);
}

/* Where no answer is wanted there is no space, and no pointer to it. */
static void wire_nothing_may_be_put_into_no_space(void **state)
{
    struct wire_out out = { 0 };

    wire_put_bytes(&out, NULL, 0);
    assert_false(out.bad);
    assert_null(out.p);
    wire_put(&out, 1);
    assert_true(out.bad);
    assert_null(out.p);
}

static void wire_padding_is_zero(void **state)
{
    uint8_t buf[24];

    for (size_t n = 0; n <= 16; n++) {
        struct wire_out out;

        memset(buf, 0xff, sizeof(buf));
        wire_out_init(&out, buf, sizeof(buf));
        wire_put_bytes(&out, "abcdefghijklmnop", n);
        assert_int_equal(out.p - buf, wire_pad8(n));
        for (size_t i = n; i < wire_pad8(n); i++) {
            assert_int_equal(buf[i], 0);
        }
        assert_int_equal(buf[wire_pad8(n)], 0xff);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire_items_come_back_as_they_were_put),
        cmocka_unit_test(wire_message_cut_off_at_any_byte_is_refused),
        cmocka_unit_test(wire_message_with_bytes_left_over_is_refused),
        cmocka_unit_test(wire_bytes_of_any_kind_stay_inside_the_message),
        cmocka_unit_test(wire_error_sticks),
        cmocka_unit_test(wire_error_at_the_very_end_is_no_success),
        cmocka_unit_test(wire_item_too_large_for_32_bits_is_refused),
        cmocka_unit_test(wire_count_that_overflows_is_refused),
        cmocka_unit_test(wire_writer_stops_at_the_end_of_its_space),
        cmocka_unit_test(wire_nothing_may_be_put_into_no_space),
        cmocka_unit_test(wire_padding_is_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
