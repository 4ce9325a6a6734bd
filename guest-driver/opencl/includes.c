/*
 * Files that a build includes. The host's compiler sees no file of the guest, so
 * those that a source names are sent before the build, and the paths in the options
 * get the prefix under which the worker has them (api/opencl_kinds.h).
 *
 * Directories come from -I and from -D NAME=/a/path: programs build the names
 * of their includes by macros. So what an #include says may be `NAME/file.h`,
 * where NAME is a macro; leading parts of it are left away until it names a file in
 * one of the directories. What is sent is looked through in its turn.
 *
 * A file is sent again only if it has changed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "opencl_call.h"
#include "opencl_kinds.h"
#include "output.h"

#define DIRS_MAX      32
#define FILE_SIZE_MAX (16l << 20)

struct sent_file {
    struct sent_file *next;
    struct session *session;
    struct timespec changed;
    char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sent_file *sent_files; /* under lock */

static void renew_lock(void)
{
    pthread_mutex_init(&lock, NULL);
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, renew_lock);
}

struct search {
    struct session *session;
    char *dirs[DIRS_MAX];
    unsigned dir_count;
    unsigned files; /* sent or looked through in this build */
};

/* --- files ----------------------------------------------------------------------- */

static void scan(struct search *find, const char *text, const char *own_dir);

/* Whether @path has not been sent yet as it is now; if so it is noted as sent. */
static bool is_news(struct session *s, const char *path, const struct stat *st)
{
    struct sent_file *f;
    bool news = true;

    pthread_mutex_lock(&lock);
    for (f = sent_files; f; f = f->next) {
        if (f->session == s && strcmp(f->path, path) == 0) {
            break;
        }
    }
    if (f) {
        news = memcmp(&f->changed, &st->st_mtim, sizeof(f->changed)) != 0;
    } else {
        f = malloc(sizeof(*f) + strlen(path) + 1);
        if (f) {
            f->session = s;
            strcpy(f->path, path);
            f->next = sent_files;
            sent_files = f;
        }
    }
    if (f) {
        f->changed = st->st_mtim;
    }
    pthread_mutex_unlock(&lock);
    return news;
}

/* The contents of the file, with a NUL behind; NULL if it cannot be read. */
static char *read_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "re");
    char *data = malloc(size + 1);

    if (!f || !data || fread(data, 1, size, f) != size) {
        free(data);
        data = NULL;
    } else {
        data[size] = '\0';
    }
    if (f) {
        fclose(f);
    }
    return data;
}

/* Send the file @path, absolute and without dots, and what it includes. */
static void send_file(struct search *find, const char *path,
                      const struct stat *st)
{
    char dir[PATH_MAX], *slash, *data;

    if (st->st_size > FILE_SIZE_MAX || ++find->files > OPENCL_GUEST_FILES_MAX) {
        return;
    }
    if (!is_news(find->session, path, st)) {
        return;
    }
    data = read_file(path, (size_t)st->st_size);
    if (!data) {
        return;
    }
    call_vclPutFile(find->session, path, (size_t)st->st_size, data);
    snprintf(dir, sizeof(dir), "%s", path);
    slash = strrchr(dir, '/');
    if (slash) {
        *slash = '\0';
    }
    scan(find, data, dir);
    free(data);
}

/*
 * Take "//", "/./" and "/../" out of the absolute @path, by its text alone: the
 * compiler on the other side has no symbolic links.
 */
static void normalize(char *path)
{
    char *to = path;

    for (const char *p = path; *p;) {
        size_t n;

        while (*p == '/') {
            p++;
        }
        n = strcspn(p, "/");
        if (n == 2 && memcmp(p, "..", 2) == 0) {
            while (to > path && *--to != '/') {
            }
        } else if (n && !(n == 1 && *p == '.')) {
            *to++ = '/';
            memmove(to, p, n);
            to += n;
        }
        p += n;
    }
    *to = '\0';
}

static bool try_file(struct search *find, const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;

    if (!dir || (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >=
                    sizeof(path)) {
        return false;
    }
    normalize(path);
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    send_file(find, path, &st);
    return true;
}

/* Find what an #include calls @name, without ever more of its beginning. */
static void find_include(struct search *find, const char *name,
                         const char *own_dir)
{
    while (name && *name) {
        bool found = try_file(find, own_dir, name);

        for (unsigned i = 0; i < find->dir_count && !found; i++) {
            found = try_file(find, find->dirs[i], name);
        }
        if (found) {
            return;
        }
        name = strchr(name, '/');
        name = name ? name + 1 : NULL;
    }
}

static bool is_path_char(char c)
{
    return isalnum((unsigned char)c) || strchr("_./+-", c);
}

/* The longest run of characters of a path in a line that is not quoted. */
static void take_name(const char *line, size_t n, char *name, size_t room)
{
    size_t best = 0, at = 0;

    name[0] = '\0';
    if (n && (*line == '"' || *line == '<')) {
        best = strcspn(line + 1, "\">\n");
        snprintf(name, room, "%.*s", (int)best, line + 1);
        return;
    }
    while (at < n) {
        size_t length = 0;

        while (at + length < n && line[at + length] &&
               is_path_char(line[at + length])) {
            length++;
        }
        if (length > best && memchr(line + at, '.', length)) {
            best = length;
            snprintf(name, room, "%.*s", (int)length, line + at);
        }
        at += length + 1;
    }
}

/* Send what the lines of @text include. */
static void scan(struct search *find, const char *text, const char *own_dir)
{
    char name[1024];

    output_expect_in(find->session, text);
    while (text && *text) {
        size_t n;

        text += strspn(text, " \t\r\n");
        n = strcspn(text, "\n");
        if (*text == '#') {
            const char *word = text + 1 + strspn(text + 1, " \t");

            if (strncmp(word, "include", 7) == 0) {
                word += 7;
                word += strspn(word, " \t");
                take_name(word, word < text + n ? (size_t)(text + n - word) : 0,
                          name, sizeof(name));
                find_include(find, name, own_dir);
            }
        }
        text += n;
    }
}

/* --- options ---------------------------------------------------------------------- */

/* The end of the option at @p: spaces within quotes belong to it. */
static const char *option_end(const char *p)
{
    char quote = 0;

    for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
        if (*p == '\\' && p[1]) {
            p++;
        } else if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? 0 : *p;
        }
    }
    return p;
}

/*
 * If the @n characters at @p name a file or directory of ours, remember it and
 * return its absolute path, to be freed.
 */
static char *our_path(struct search *find, const char *p, size_t n, bool dir)
{
    char name[PATH_MAX], *real;
    size_t to = 0;
    struct stat st;

    for (size_t i = 0; i < n && to < sizeof(name) - 1; i++) {
        if (p[i] == '\\' && i + 1 < n) {
            name[to++] = p[++i];
        } else if (p[i] != '"' && p[i] != '\'') {
            name[to++] = p[i];
        }
    }
    name[to] = '\0';
    if (!name[0] || (!dir && name[0] != '/')) {
        return NULL;
    }
    real = realpath(name, NULL);
    if (!real || stat(real, &st) < 0) {
        free(real);
        return NULL;
    }
    if (S_ISDIR(st.st_mode) && find->dir_count < DIRS_MAX) {
        find->dirs[find->dir_count] = strdup(real);
        find->dir_count += find->dirs[find->dir_count] != NULL;
    } else if (S_ISREG(st.st_mode)) {
        send_file(find, real, &st);
    }
    return real;
}

/* Where in the option at @p..@end a path may be; NULL: nowhere. */
static const char *path_in(const char *p, const char *end, char kind)
{
    const char *equals = memchr(p, '=', (size_t)(end - p));

    return kind == 'I' ? p : equals ? equals + 1 : NULL;
}

/* Put the option at @p..@end to @to, with a path of ours translated. */
static void translate(struct search *find, FILE *to, const char *p,
                      const char *end, char kind)
{
    const char *path = path_in(p, end, kind);
    char *real = path ? our_path(find, path, (size_t)(end - path), kind == 'I')
                      : NULL;

    if (real) {
        const char *quote = strchr(real, ' ') ? "\"" : "";

        fprintf(to, "%.*s%s" OPENCL_GUEST_FILES "%s%s", (int)(path - p), p,
                quote, real, quote);
    } else {
        fwrite(p, 1, (size_t)(end - p), to);
    }
    free(real);
}

static void translate_all(struct search *find, FILE *to, const char *options)
{
    char kind = 0; /* 'I' or 'D' if the option before wants this one */

    for (const char *p = options; *p;) {
        const char *end;

        if (isspace((unsigned char)*p)) {
            fputc(*p++, to);
            continue;
        }
        end = option_end(p);
        if (kind) {
            translate(find, to, p, end, kind);
            kind = 0;
        } else if (p[0] == '-' && (p[1] == 'I' || p[1] == 'D')) {
            kind = p[1];
            fwrite(p, 1, 2, to);
            if (end > p + 2) {
                translate(find, to, p + 2, end, kind);
                kind = 0;
            }
        } else {
            fwrite(p, 1, (size_t)(end - p), to);
        }
        p = end;
    }
}

cl_int includes_send(struct session *s, const char *source,
                     const char *options, char **sent)
{
    struct search find = { .session = s };
    size_t size;
    FILE *to;

    *sent = NULL;
    output_expect_in(s, options);
    if (options) {
        to = open_memstream(sent, &size);
        if (!to) {
            return CL_OUT_OF_HOST_MEMORY;
        }
        translate_all(&find, to, options);
        fclose(to);
        if (!*sent) {
            return CL_OUT_OF_HOST_MEMORY;
        }
    }
    scan(&find, source, NULL);
    for (unsigned i = 0; i < find.dir_count; i++) {
        free(find.dirs[i]);
    }
    return CL_SUCCESS;
}
