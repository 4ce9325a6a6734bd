/*
 * The worker's table of objects.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "handles.h"

#define MAX 1000u

enum { BUFFER = 1, QUEUE = 2 };

static int thing, other;

static int make(void **state)
{
    *state = handles_create(MAX);
    return *state ? 0 : -1;
}

static int destroy(void **state)
{
    handles_destroy(*state);
    return 0;
}

static void an_object_is_found_by_id_and_type(void **state)
{
    struct handles *h = *state;
    int32_t err = -77;

    assert_int_equal(handles_put(h, 5, BUFFER, &thing), 0);
    assert_ptr_equal(handles_get(h, 5, BUFFER, &err), &thing);
    assert_null(handles_get(h, 5, QUEUE, &err));
    assert_null(handles_get(h, 5, 0, &err));
    assert_null(handles_get(h, 4, BUFFER, &err));
    assert_int_equal(err, -77);
    assert_int_equal(handles_count(h), 1);
}

static void ids_that_are_no_guests_are_refused(void **state)
{
    struct handles *h = *state;

    assert_int_equal(handles_put(h, 0, BUFFER, &thing), -EINVAL);
    assert_int_equal(handles_put(h, HANDLE_HOST_FIRST, BUFFER, &thing),
                     -EINVAL);
    assert_int_equal(handles_put(h, UINT64_MAX, BUFFER, &thing), -EINVAL);
    assert_int_equal(handles_put(h, MAX + 1, BUFFER, &thing), -ENOSPC);
    assert_int_equal(handles_put(h, MAX, BUFFER, &thing), 0);
    assert_int_equal(handles_put(h, MAX, QUEUE, &other), -EEXIST);
    assert_null(handles_get(h, UINT64_MAX, BUFFER, NULL));
    assert_null(handles_get(h, 1ull << 32, BUFFER, NULL));
}

static void a_taken_id_is_free_again(void **state)
{
    struct handles *h = *state;

    assert_int_equal(handles_put(h, 7, BUFFER, &thing), 0);
    assert_null(handles_take(h, 7, QUEUE, NULL));
    assert_ptr_equal(handles_take(h, 7, BUFFER, NULL), &thing);
    assert_null(handles_take(h, 7, BUFFER, NULL));
    assert_int_equal(handles_count(h), 0);
    assert_int_equal(handles_put(h, 7, QUEUE, &other), 0);
}

static void a_failed_object_gives_its_error_until_it_is_taken(void **state)
{
    struct handles *h = *state;
    int32_t err = -1;

    assert_int_equal(handles_put_error(h, 9, BUFFER, -61), 0);
    assert_null(handles_get(h, 9, BUFFER, &err));
    assert_int_equal(err, -61);
    err = -1;
    assert_null(handles_take(h, 9, BUFFER, &err));
    assert_int_equal(err, -61);
    err = -1;
    assert_null(handles_get(h, 9, BUFFER, &err));
    assert_int_equal(err, -1);
}

/* Else a caller would take no error for success. */
static void an_empty_object_leaves_the_error_alone(void **state)
{
    int32_t err = -34;

    assert_int_equal(handles_put(*state, 3, BUFFER, NULL), 0);
    assert_null(handles_get(*state, 3, BUFFER, &err));
    assert_int_equal(err, -34);
}

static void host_objects_keep_their_ids(void **state)
{
    struct handles *h = *state;
    uint64_t a = handles_host_id(h, BUFFER, &thing);
    uint64_t b = handles_host_id(h, BUFFER, &other);

    assert_true(a >= HANDLE_HOST_FIRST && b >= HANDLE_HOST_FIRST && a != b);
    assert_int_equal(handles_host_id(h, BUFFER, &thing), a);
    assert_true(handles_host_id(h, QUEUE, &thing) != a);
    assert_ptr_equal(handles_get(h, b, BUFFER, NULL), &other);
    /* A guest cannot take them away. */
    assert_ptr_equal(handles_take(h, a, BUFFER, NULL), &thing);
    assert_ptr_equal(handles_get(h, a, BUFFER, NULL), &thing);
    assert_int_equal(handles_count(h), 0);
}

static void the_host_objects_table_is_bounded(void **state)
{
    static int things[1000];
    unsigned n = 0;

    while (n < 1000 && handles_host_id(*state, BUFFER, &things[n])) {
        n++;
    }
    assert_in_range(n, 100, 999);
    assert_int_equal(handles_host_id(*state, BUFFER, &things[999]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, destroy)
        TEST(an_object_is_found_by_id_and_type),
        TEST(ids_that_are_no_guests_are_refused),
        TEST(a_taken_id_is_free_again),
        TEST(a_failed_object_gives_its_error_until_it_is_taken),
        TEST(an_empty_object_leaves_the_error_alone),
        TEST(host_objects_keep_their_ids),
        TEST(the_host_objects_table_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
