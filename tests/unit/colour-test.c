/*
 * Where large buffers begin (colour.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include <stdlib.h>

#include "colour.h"

/* All places are used before one is used again, and neighbours are far apart. */
static void every_place_is_used(void **state)
{
    enum { PLACES = 4096 / COLOUR_ALIGN };
    _Atomic uint32_t made = 0;
    size_t used[2 * PLACES];

    for (int i = 0; i < 2 * PLACES; i++) {
        used[i] = colour_next(&made, COLOUR_SIZE_MIN);
        assert_in_range(used[i], 0, 4095);
        assert_int_equal(used[i] % COLOUR_ALIGN, 0);
        for (int k = i < PLACES ? 0 : i - PLACES + 1; k < i; k++) {
            assert_int_not_equal(used[k], used[i]);
        }
        if (i) {
            assert_in_range(labs((long)used[i] - (long)used[i - 1]), 1024, 4095);
        }
    }
}

static void small_ones_begin_at_a_page(void **state)
{
    _Atomic uint32_t made = 1;

    assert_int_equal(colour_next(&made, COLOUR_SIZE_MIN - 1), 0);
    assert_int_equal(colour_next(&made, 1), 0);
    assert_int_equal(colour_next(&made, COLOUR_SIZE_MIN), 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_is_used),
        cmocka_unit_test(small_ones_begin_at_a_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
