/*
 * Directories that vanish; see tempdir.h. What a worker left in its own is not
 * trusted: removing it follows no link, takes any depth and any number of files,
 * and is done by a process that nobody waits for.
 *
 * XDG_RUNTIME_DIR is not used: it is often small, and holds no files that run.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tempdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREFIX    "vgpu-remoted-"
#define LOCK      "lock"
#define TRASH     "trash"
#define DEPTH_MAX 32 /* pocl's cache has six levels; each takes an fd */
#define ROUNDS_MAX 100000

static char *server_dir;
static char *trash; /* in it: what is to be removed */
static int server_lock = -1;
static unsigned long next;
static pid_t remover; /* 0: none runs */
static bool waste;    /* there is more than the remover was started for */

/* --- removing ---------------------------------------------------------------- */

/* Open the directory @name in @at, whatever its mode; follows no link. */
static DIR *open_any(int at, const char *name)
{
    int path = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char self[64];
    int fd;
    DIR *dir;

    if (path < 0) {
        return NULL;
    }
    snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
    chmod(self, 0700);
    fd = openat(path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(path);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0) {
        close(fd);
    }
    return dir;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/*
 * Remove @name in the directory @at, and what is in it. What lies deeper than
 * @depth is moved up to @top under a name of its own.
 */
static void remove_tree(int at, const char *name, int depth, int top)
{
    char up[32];
    DIR *dir;
    struct dirent *e;

    if (unlinkat(at, name, 0) == 0) {
        return;
    }
    if (depth == 0) {
        snprintf(up, sizeof(up), "deep-%lu", next++);
        renameat(at, name, top, up);
        return;
    }
    dir = open_any(at, name);
    if (!dir) {
        return;
    }
    while ((e = readdir(dir))) {
        if (!is_dots(e->d_name)) {
            remove_tree(dirfd(dir), e->d_name, depth - 1, top);
        }
    }
    closedir(dir);
    unlinkat(at, name, AT_REMOVEDIR);
}

/* Returns whether anything was there. */
static bool empty_once(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    bool any = false;

    while (dir && (e = readdir(dir))) {
        if (!is_dots(e->d_name)) {
            any = true;
            remove_tree(dirfd(dir), e->d_name, DEPTH_MAX, dirfd(dir));
        }
    }
    if (dir) {
        closedir(dir);
    }
    return any;
}

/* Until nothing is left; what cannot be removed is tried a few times. */
static void empty(const char *path)
{
    for (int i = 0; i < ROUNDS_MAX && empty_once(path); i++) {
    }
}

/*
 * A worker may have left any number of files: removing them is nobody's business
 * who has others to serve. One process at a time does it.
 */
static void start_remover(void)
{
    pid_t pid;

    waste = true;
    if (remover) {
        return;
    }
    pid = fork();
    if (pid == 0) {
        close_range(3, ~0u, 0);
        prctl(PR_SET_NAME, "vgpu-remover");
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpriority(PRIO_PROCESS, 0, 10);
        empty(trash);
        _exit(0);
    }
    if (pid > 0) {
        remover = pid;
        waste = false;
    }
}

bool tempdir_reaped(int pid)
{
    if (pid != remover) {
        return false;
    }
    remover = 0;
    if (waste) {
        start_remover();
    }
    return true;
}

/* --- directories ------------------------------------------------------------------ */

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

/* Servers that were killed had workers that were not trusted either. */
static void collect_abandoned(void)
{
    DIR *dir = opendir(parent());
    struct dirent *e;
    char path[PATH_MAX];

    while (dir && (e = readdir(dir))) {
        if (is_abandoned(dirfd(dir), e->d_name)) {
            snprintf(path, sizeof(path), "%s/%s", trash, e->d_name);
            renameat(dirfd(dir), e->d_name, AT_FDCWD, path);
            waste = true;
        }
    }
    if (dir) {
        closedir(dir);
    }
}

const char *tempdir_init(void)
{
    char *lock = NULL;

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
    if (server_lock < 0 || flock(server_lock, LOCK_EX | LOCK_NB) < 0 ||
        asprintf(&trash, "%s/" TRASH, server_dir) < 0 || mkdir(trash, 0700) < 0) {
        goto fail;
    }
    collect_abandoned();
    if (waste) {
        start_remover();
    }
    return server_dir;

fail:
    free(server_dir);
    server_dir = NULL;
    return NULL;
}

/*
 * Here it is done at once: nobody is served any more. The lock goes last: without
 * it a server that starts just now would help.
 */
void tempdir_finish(void)
{
    if (!server_dir) {
        return;
    }
    if (remover) {
        kill(remover, SIGKILL);
        waitpid(remover, NULL, 0);
    }
    empty(server_dir);
    rmdir(server_dir);
    free(server_dir);
    free(trash);
    server_dir = trash = NULL;
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
    char to[PATH_MAX];

    /* Empty where workers have a file system of their own. */
    if (path && rmdir(path) < 0) {
        snprintf(to, sizeof(to), "%s/%s", trash, strrchr(path, '/') + 1);
        if (rename(path, to) == 0) {
            start_remover();
        }
    }
    free(path);
}
