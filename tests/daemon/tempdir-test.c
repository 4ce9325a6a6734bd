/*
 * Directories of workers that left more than they should have.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tempdir.h"

static char top[64];

static int make_top(void **state)
{
    strcpy(top, "/tmp/vgpu-tempdir-test-XXXXXX");
    return mkdtemp(top) && setenv("TMPDIR", top, 1) == 0 ? 0 : -1;
}

static int remove_top(void **state)
{
    return rmdir(top); /* nothing may be left */
}

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

/* Wait for every remover; returns how many there were. */
static unsigned wait_for_removers(void)
{
    unsigned n = 0;
    pid_t pid;

    while ((pid = waitpid(-1, NULL, 0)) > 0) {
        assert_true(tempdir_reaped(pid));
        n++;
    }
    return n;
}

static void fill(const char *path, unsigned n)
{
    char name[32];
    int at = open(path, O_PATH | O_DIRECTORY);

    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%u", i);
        close(openat(at, name, O_CREAT | O_WRONLY, 0));
    }
    close(at);
}

static void an_empty_directory_needs_no_process(void **state)
{
    assert_non_null(tempdir_init());
    tempdir_remove(tempdir_make());
    assert_int_equal(wait_for_removers(), 0);
    tempdir_finish();
}

static void a_full_one_is_gone_at_once_and_removed_by_another(void **state)
{
    const char *own = tempdir_init();
    char trash[256], *path = tempdir_make(), *name = strdup(path);

    fill(path, 1000);
    tempdir_remove(path);
    assert_int_equal(access(name, F_OK), -1);
    assert_int_equal(wait_for_removers(), 1);
    snprintf(trash, sizeof(trash), "%s/trash", own);
    assert_int_equal(entries(trash), 0);
    tempdir_finish();
    free(name);
}

/* Depth, and modes that keep an ordinary user out. */
static void nothing_keeps_it_from_being_removed(void **state)
{
    const char *own = tempdir_init();
    char trash[256], *path = tempdir_make();
    int at = open(path, O_PATH | O_DIRECTORY);

    for (int i = 0; i < 300; i++) {
        int deeper;

        assert_int_equal(mkdirat(at, "d", 0700), 0);
        deeper = openat(at, "d", O_PATH | O_DIRECTORY);
        close(at);
        at = deeper;
    }
    assert_int_equal(mkdirat(at, "locked", 0), 0);
    close(at);
    tempdir_remove(path);
    wait_for_removers();
    snprintf(trash, sizeof(trash), "%s/trash", own);
    assert_int_equal(entries(trash), 0);
    tempdir_finish();
}

static void links_are_not_followed(void **state)
{
    char outside[128], link[256], *path;

    tempdir_init();
    path = tempdir_make();
    snprintf(outside, sizeof(outside), "%s/precious", top);
    mkdir(outside, 0700);
    fill(outside, 3);
    snprintf(link, sizeof(link), "%s/link", path);
    assert_int_equal(symlink(outside, link), 0);
    tempdir_remove(path);
    wait_for_removers();
    assert_int_equal(entries(outside), 3);
    tempdir_finish();
    for (int i = 0; i < 3; i++) {
        snprintf(link, sizeof(link), "%s/%d", outside, i);
        unlink(link);
    }
    rmdir(outside);
}

static void two_at_once_are_both_removed(void **state)
{
    const char *own = tempdir_init();
    char trash[256], *first = tempdir_make(), *second = tempdir_make();

    fill(first, 1000);
    fill(second, 10);
    tempdir_remove(first);
    tempdir_remove(second);
    assert_in_range(wait_for_removers(), 1, 2);
    snprintf(trash, sizeof(trash), "%s/trash", own);
    assert_int_equal(entries(trash), 0);
    tempdir_finish();
}

/* The server that was killed is a child that simply ends. */
static void a_killed_servers_directory_is_removed_by_the_next(void **state)
{
    const char *own;
    char trash[256];
    pid_t pid = fork();

    if (pid == 0) {
        tempdir_init();
        fill(tempdir_make(), 100);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    own = tempdir_init();
    assert_int_equal(wait_for_removers(), 1);
    assert_int_equal(entries(top), 1);
    snprintf(trash, sizeof(trash), "%s/trash", own);
    assert_int_equal(entries(trash), 0);
    tempdir_finish();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_top, remove_top)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_directory_needs_no_process),
        TEST(a_full_one_is_gone_at_once_and_removed_by_another),
        TEST(nothing_keeps_it_from_being_removed),
        TEST(links_are_not_followed),
        TEST(two_at_once_are_both_removed),
        TEST(a_killed_servers_directory_is_removed_by_the_next),
    };

    return cmocka_run_group_tests_name("tempdir", tests, NULL, NULL);
}
