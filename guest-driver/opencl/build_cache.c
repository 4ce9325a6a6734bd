/*
 * What builds came to, kept in files: a worker has no place to keep what its
 * compiler has made, as the host's OpenCL does for a user natively. Without this
 * every start of a program would compile all its kernels again. A build is kept at the end
 * of its program object, with what launches have made the host compile besides.
 *
 * The files are the guest user's own, since they become code in the worker of
 * whoever reads them: no other user's may, and what is found on the host cannot be
 * trusted to be one user's. Each has in it all that the build depends on (device,
 * driver, options, source), which is compared in full; its name is only a hash
 * of that. A program that reads other files, or the clock, is not kept.
 *
 * VGPU_CACHE names the directory; empty, nothing is kept. Otherwise it is
 * vgpu-remote/programs in the user's cache directory. Files are used and replaced
 * as a whole (rename), so that programs may share them at any moment. Beyond
 * CACHE_MAX bytes those that were not used for longest go.
 *
 * SPDX-License-Identifier: MIT
 */
#include "build_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_MAX ((uint64_t)256 << 20)
#define FILE_MAX  ((uint64_t)64 << 20)
#define SUFFIX    ".build"
#define TEMPORARY ".new" /* what is being written, or was when we were killed */

/* A file: this, the key, the log with its NUL, the binary. */
struct head {
    char magic[8];
    uint64_t sum;                             /* hash of all that follows it */
    uint64_t key_size, log_size, binary_size; /* bytes */
};

#define SUMMED offsetof(struct head, key_size)

static const char magic[8] = "VGPUBLD1";

/* --- where ----------------------------------------------------------------------- */

/* Makes @path's directories as far as they are missing, for this user only. */
static void make_directories(char *path)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    mkdir(path, 0700);
}

/* The directory, open; -1 if there is none, or if others may write there. */
static int open_directory(void)
{
    const char *own = secure_getenv("VGPU_CACHE");
    const char *cache = secure_getenv("XDG_CACHE_HOME");
    const char *home = secure_getenv("HOME");
    char path[PATH_MAX];
    struct stat st;
    int n, fd;

    if (own) {
        n = snprintf(path, sizeof(path), "%s", own);
    } else if (cache && *cache == '/') {
        n = snprintf(path, sizeof(path), "%s/vgpu-remote/programs", cache);
    } else if (home && *home == '/') {
        n = snprintf(path, sizeof(path), "%s/.cache/vgpu-remote/programs",
                     home);
    } else {
        return -1;
    }
    if (n <= 0 || (size_t)n >= sizeof(path)) {
        return -1;
    }
    make_directories(path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
                    (st.st_mode & (S_IWGRP | S_IWOTH)))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* --- what a build depends on ------------------------------------------------------- */

bool build_cache_takes(cl_program p, const char *options)
{
    const char *own = secure_getenv("VGPU_CACHE");

    return !(own && !*own) && p->source && p->device_count == 1 &&
           !strstr(p->source, "include") && !strstr(p->source, "__DATE__") &&
           !strstr(p->source, "__TIME__") &&
           !(options && strstr(options, "-I"));
}

static void put_info(FILE *f, cl_device_id device, cl_device_info name)
{
    char text[1024] = "";

    clGetDeviceInfo(device, name, sizeof(text) - 1, text, NULL);
    fprintf(f, "%s\n", text);
}

/* To be freed; NULL without memory. */
static char *make_key(cl_program p, const char *options, size_t *size)
{
    char *key = NULL;
    FILE *f = open_memstream(&key, size);

    if (!f) {
        return NULL;
    }
    fprintf(f, "%d\n", VGPU_PROTOCOL_VERSION);
    put_info(f, p->devices[0], CL_DEVICE_VENDOR);
    put_info(f, p->devices[0], CL_DEVICE_NAME);
    put_info(f, p->devices[0], CL_DEVICE_VERSION);
    put_info(f, p->devices[0], CL_DRIVER_VERSION);
    fprintf(f, "%s\n%s", options ? options : "", p->source);
    if (fclose(f) != 0) {
        free(key);
        return NULL;
    }
    return key;
}

/* FNV-1a: against damage and for names, not against enemies. */
static uint64_t hash(const char *bytes, size_t size)
{
    uint64_t sum = 14695981039346656037u;

    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ (unsigned char)bytes[i]) * 1099511628211u;
    }
    return sum;
}

static void make_name(const char *key, size_t size, char name[32])
{
    snprintf(name, 32, "%016" PRIx64 SUFFIX, hash(key, size));
}

/* --- finding ----------------------------------------------------------------------- */

static bool read_all(int fd, char *to, size_t size)
{
    while (size) {
        ssize_t n = read(fd, to, size);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        to += n;
        size -= (size_t)n;
    }
    return true;
}

/* The contents of regular file @fd, to be freed; NULL if it is none of ours. */
static char *read_file(int fd, size_t *size)
{
    struct stat st;
    char *all;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        st.st_size < (off_t)sizeof(struct head) ||
        (uint64_t)st.st_size > FILE_MAX) {
        return NULL;
    }
    *size = (size_t)st.st_size;
    all = malloc(*size);
    if (all && !read_all(fd, all, *size)) {
        free(all);
        return NULL;
    }
    return all;
}

/* Whether the @size bytes at @file are a build for @key; @build's parts then. */
static bool parse(char *file, size_t size, const char *key, size_t key_size,
                  struct build *build)
{
    struct head head;
    size_t left = size - sizeof(head);

    memcpy(&head, file, sizeof(head));
    if (memcmp(head.magic, magic, sizeof(magic)) != 0 ||
        head.sum != hash(file + SUMMED, size - SUMMED) ||
        head.key_size != key_size || key_size > left ||
        memcmp(file + sizeof(head), key, key_size) != 0) {
        return false;
    }
    left -= key_size;
    if (!head.log_size || head.log_size > left || !head.binary_size ||
        head.binary_size != left - head.log_size) {
        return false;
    }
    build->file = file;
    build->log = file + sizeof(head) + key_size;
    build->binary = (unsigned char *)build->log + head.log_size;
    build->binary_size = head.binary_size;
    return build->log[head.log_size - 1] == '\0';
}

bool build_cache_find(cl_program p, const char *options, struct build *build)
{
    size_t key_size, size;
    char name[32], *key, *file = NULL;
    bool found = false;
    int dir, fd = -1;

    dir = build_cache_takes(p, options) ? open_directory() : -1;
    key = dir >= 0 ? make_key(p, options, &key_size) : NULL;
    if (key) {
        make_name(key, key_size, name);
        fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        file = fd >= 0 ? read_file(fd, &size) : NULL;
        found = file && parse(file, size, key, key_size, build);
    }
    if (found) {
        futimens(fd, NULL); /* used now: see make_room() */
    } else {
        free(file);
    }
    free(key);
    if (fd >= 0) {
        close(fd);
    }
    if (dir >= 0) {
        close(dir);
    }
    return found;
}

void build_cache_free(struct build *build)
{
    free(build->file);
}

/* --- keeping ----------------------------------------------------------------------- */

struct kept {
    char name[32];
    struct timespec used;
    uint64_t size;
};

static int oldest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const struct kept *)a)->used;
    const struct timespec *y = &((const struct kept *)b)->used;

    if (x->tv_sec != y->tv_sec) {
        return x->tv_sec < y->tv_sec ? -1 : 1;
    }
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Whether a file is ours: the directory may be one that has others. */
static bool is_ours(const char *name)
{
    const char *rest = name + strspn(name, "0123456789abcdef");

    return rest > name && rest - name <= 16 &&
           (strcmp(rest, SUFFIX) == 0 || strcmp(rest, TEMPORARY) == 0);
}

/* Our files in @dir, to be freed; NULL without memory. */
static struct kept *list(DIR *dir, size_t *count, uint64_t *total)
{
    struct kept *all = NULL;
    size_t n = 0, room = 0;
    struct dirent *e;

    while ((e = readdir(dir))) {
        struct kept k;
        struct stat st;

        if (!is_ours(e->d_name) ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode)) {
            continue;
        }
        if (n == room) {
            struct kept *more = realloc(all, (room + 64) * sizeof(*all));

            if (!more) {
                free(all);
                return NULL;
            }
            all = more;
            room += 64;
        }
        strcpy(k.name, e->d_name);
        k.used = st.st_mtim;
        k.size = (uint64_t)st.st_size;
        *total += k.size;
        all[n++] = k;
    }
    *count = n;
    return all;
}

/* Removes what was not used for longest, until there is room for @size bytes. */
static void make_room(int fd, uint64_t size)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    uint64_t total = size;
    struct kept *all;
    size_t n = 0;

    if (!dir) {
        if (copy >= 0) {
            close(copy);
        }
        return;
    }
    all = list(dir, &n, &total);
    if (all && total > CACHE_MAX) {
        qsort(all, n, sizeof(*all), oldest_first);
        for (size_t i = 0; i < n && total > CACHE_MAX; i++) {
            unlinkat(fd, all[i].name, 0);
            total -= all[i].size;
        }
    }
    free(all);
    closedir(dir);
}

/* Makes file @name of @dir: a whole one, or none. */
static void write_file(int dir, const char *name, const char *all, size_t size)
{
    char temporary[32];
    FILE *f;
    int fd;
    bool good;

    snprintf(temporary, sizeof(temporary), "%d" TEMPORARY, (int)gettid());
    fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        /* Of a thread that was killed: it had our number, and is gone. */
        unlinkat(dir, temporary, 0);
        return;
    }
    f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    good = fwrite(all, 1, size, f) == size;
    if (fclose(f) != 0 || !good ||
        renameat(dir, temporary, dir, name) < 0) {
        unlinkat(dir, temporary, 0);
    }
}

void build_cache_keep(cl_program p, const char *options, const char *log,
                      const unsigned char *binary, size_t binary_size)
{
    struct head head = { .log_size = strlen(log) + 1,
                         .binary_size = binary_size };
    char name[32], *key, *all = NULL;
    size_t key_size, size = 0;
    FILE *f = NULL;
    int dir;

    dir = binary_size < FILE_MAX / 2 ? open_directory() : -1;
    key = dir >= 0 ? make_key(p, options, &key_size) : NULL;
    if (key) {
        memcpy(head.magic, magic, sizeof(magic));
        head.key_size = key_size;
        f = open_memstream(&all, &size);
    }
    if (f) {
        fwrite(&head, sizeof(head), 1, f);
        fwrite(key, key_size, 1, f);
        fwrite(log, head.log_size, 1, f);
        fwrite(binary, binary_size, 1, f);
        if (fclose(f) == 0 && size <= FILE_MAX) {
            head.sum = hash(all + SUMMED, size - SUMMED);
            memcpy(all, &head, sizeof(head));
            make_name(key, key_size, name);
            make_room(dir, size);
            write_file(dir, name, all, size);
        }
    }
    free(all);
    free(key);
    if (dir >= 0) {
        close(dir);
    }
}
