/*
 * Directories that vanish; see tempdir.h. What a worker left in its own is not
 * trusted: removing it follows no link and descends only so far.
 *
 * XDG_RUNTIME_DIR is not used: it is often small, and holds no files that run.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tempdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX    "vgpu-remoted-"
#define LOCK      "lock"
#define DEPTH_MAX 32 /* pocl's cache has six levels */

static char *server_dir;
static int server_lock = -1;
static unsigned long next;

/* Remove @name in the directory @at, and what is in it. */
static void remove_tree(int at, const char *name, int depth)
{
    int fd;
    DIR *dir;
    struct dirent *e;

    if (unlinkat(at, name, 0) == 0 || depth == 0) {
        return;
    }
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    fchmod(fd, 0700);
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    while ((e = readdir(dir))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            remove_tree(fd, e->d_name, depth - 1);
        }
    }
    closedir(dir);
    unlinkat(at, name, AT_REMOVEDIR);
}

static const char *parent(void)
{
    const char *tmp = getenv("TMPDIR");

    return tmp && tmp[0] == '/' ? tmp : "/tmp";
}

/* Whether @name in @at is the directory of a server of ours that is gone. */
static bool is_abandoned(int at, const char *name)
{
    char path[NAME_MAX + sizeof(LOCK) + 2];
    struct stat st;
    int fd;
    bool gone;

    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 ||
        fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        return false;
    }
    snprintf(path, sizeof(path), "%s/%s", name, LOCK);
    fd = openat(at, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    gone = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return gone;
}

static void remove_abandoned(void)
{
    DIR *dir = opendir(parent());
    struct dirent *e;

    if (!dir) {
        return;
    }
    while ((e = readdir(dir))) {
        if (is_abandoned(dirfd(dir), e->d_name)) {
            remove_tree(dirfd(dir), e->d_name, DEPTH_MAX);
        }
    }
    closedir(dir);
}

const char *tempdir_init(void)
{
    char *lock = NULL;

    remove_abandoned();
    if (asprintf(&server_dir, "%s/" PREFIX "XXXXXX", parent()) < 0) {
        server_dir = NULL;
        return NULL;
    }
    if (!mkdtemp(server_dir)) {
        goto fail;
    }
    if (asprintf(&lock, "%s/" LOCK, server_dir) >= 0) {
        server_lock = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        free(lock);
    }
    if (server_lock < 0 || flock(server_lock, LOCK_EX | LOCK_NB) < 0) {
        goto fail;
    }
    return server_dir;

fail:
    free(server_dir);
    server_dir = NULL;
    return NULL;
}

void tempdir_finish(void)
{
    if (!server_dir) {
        return;
    }
    remove_tree(AT_FDCWD, server_dir, DEPTH_MAX);
    free(server_dir);
    server_dir = NULL;
    close(server_lock);
}

char *tempdir_make(void)
{
    char *path;

    if (asprintf(&path, "%s/%lu", server_dir, next++) < 0) {
        return NULL;
    }
    if (mkdir(path, 0700) < 0) {
        free(path);
        return NULL;
    }
    return path;
}

void tempdir_remove(char *path)
{
    if (path) {
        remove_tree(AT_FDCWD, path, DEPTH_MAX);
        free(path);
    }
}
