/*
 * Build options, and the files that builds include.
 *
 * A guest's options reach the host's compiler only if they are known to do
 * nothing but compile: definitions, -cl-..., warnings, optimisation. Include paths
 * are those of files that the guest has sent (vclPutFile), which lie in the worker's
 * directory; others are left out, as if nothing were there. Anything else is
 * CL_INVALID_BUILD_OPTIONS: compilers take plug-ins, response files and
 * output paths by options that no list could name in full.
 *
 * -cl-kernel-arg-info is added: it is how we know an argument's kind.
 *
 * SPDX-License-Identifier: MIT
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cl.h"
#include "opencl_kinds.h"
#include "opencl_serve.h"

#define ARG_INFO " -cl-kernel-arg-info"

/* Options that may be given, by their beginnings. */
static const char *const harmless[] = {
    "-D", "-U", "-cl-", "-nv-", "-w", "-W", "-g", "-O", "-x", "clc", "-spir-std=",
    "-create-library", "-enable-link-options", "-fno-", "-fbin-", "-mwavefront",
    "-save-temps=none", "-qcom-",
};

/* Among those, what hands something on to another tool. */
static const char *const harmful[] = { "-Wa,", "-Wl,", "-Wp," };

/* --- the guest's files ----------------------------------------------------------------- */

/* Where they lie: the worker's directory is its working directory. */
static const char *guest_root(void)
{
    static char root[PATH_MAX];
    static const char name[] = "/guest";

    if (!root[0]) {
        if (!getcwd(root, sizeof(root) - sizeof(name))) {
            return "/nowhere";
        }
        strcat(root, name);
    }
    return root;
}

/* A path that stays below the root: absolute, and without "..". */
static bool is_tame(const char *name)
{
    size_t n = strlen(name);

    return name[0] == '/' && n < 1024 && !strstr(name, "/../") &&
           (n < 3 || strcmp(name + n - 3, "/..") != 0) && name[n - 1] != '/';
}

/* Make the directories that lead to @path. */
static bool make_way(char *path)
{
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        int failed;

        *at = '\0';
        failed = mkdir(path, 0700) < 0 && errno != EEXIST;
        *at = '/';
        if (failed) {
            return false;
        }
    }
    return true;
}

static cl_int write_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const char *at = data;

    if (fd < 0) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    while (size) {
        ssize_t n = write(fd, at, size);

        if (n <= 0) {
            break;
        }
        at += n;
        size -= (size_t)n;
    }
    close(fd);
    return size ? CL_OUT_OF_HOST_MEMORY : CL_SUCCESS;
}

void serve_vclPutFile(struct request *r, struct vclPutFile_args *a)
{
    static unsigned files;
    static size_t bytes;
    char path[PATH_MAX + 1024];

    if (!is_tame(a->path)) {
        a->ret = CL_INVALID_VALUE;
        return;
    }
    if (files >= OPENCL_GUEST_FILES_MAX ||
        a->size > OPENCL_GUEST_BYTES_MAX - bytes) {
        a->ret = CL_OUT_OF_RESOURCES;
        return;
    }
    files++;
    bytes += a->size;
    snprintf(path, sizeof(path), "%s%s", guest_root(), a->path);
    a->ret = make_way(path) ? write_file(path, a->data, a->size)
                            : CL_OUT_OF_HOST_MEMORY;
}

/* --- options ------------------------------------------------------------------------------ */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* The token at *@at, with its quotes, to be freed; NULL at the end. */
static char *next_token(const char **at)
{
    const char *begin, *p = *at;
    char quote = 0;

    while (isspace((unsigned char)*p)) {
        p++;
    }
    begin = p;
    while (*p && (quote || !isspace((unsigned char)*p))) {
        if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? 0 : *p;
        } else if (*p == '\\' && p[1]) {
            p++;
        }
        p++;
    }
    *at = p;
    return p > begin ? strndup(begin, (size_t)(p - begin)) : NULL;
}

/* @token without quotes, in place of it. */
static void unquote(char *token)
{
    char *to = token;

    for (char *from = token; *from; from++) {
        if (*from != '"' && *from != '\'') {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static bool is_harmless(const char *token)
{
    bool known = false;

    for (size_t i = 0; i < sizeof(harmless) / sizeof(char *); i++) {
        known = known || begins(token, harmless[i]);
    }
    for (size_t i = 0; i < sizeof(harmful) / sizeof(char *); i++) {
        known = known && !begins(token, harmful[i]);
    }
    return known;
}

/* Write @token and a space, with our directory for that of the guest's files. */
static void emit(FILE *out, const char *token)
{
    const char *found;

    while ((found = strstr(token, OPENCL_GUEST_FILES))) {
        fwrite(token, 1, (size_t)(found - token), out);
        fputs(guest_root(), out);
        token = found + strlen(OPENCL_GUEST_FILES);
    }
    fputs(token, out);
    fputc(' ', out);
}

/* An include path, @path with its quotes: @plain without. */
static void emit_include(FILE *out, const char *path, const char *plain)
{
    if (begins(plain, OPENCL_GUEST_FILES) && !strstr(plain, "..")) {
        fputs("-I ", out);
        emit(out, path);
    }
}

/* One option, and what belongs to it. Returns false if it may not be given. */
static bool emit_option(FILE *out, char *token, const char **rest)
{
    char *plain = strdup(token), *value = NULL;
    bool ok = plain != NULL;

    if (ok) {
        unquote(plain);
    }
    if (ok && begins(plain, "-I")) {
        if (plain[2]) {
            emit_include(out, plain + 2, plain + 2);
        } else if ((value = next_token(rest))) {
            free(plain);
            plain = strdup(value);
            ok = plain != NULL;
            if (ok) {
                unquote(plain);
                emit_include(out, value, plain);
            }
        }
    } else if (ok && is_harmless(plain)) {
        emit(out, token);
        if (strcmp(plain, "-D") == 0 || strcmp(plain, "-U") == 0) {
            value = next_token(rest);
            emit(out, value ? value : "");
        }
    } else {
        ok = false;
    }
    free(value);
    free(plain);
    return ok;
}

char *options_make(const char *options, cl_int *err)
{
    char *made = NULL, *token;
    size_t size;
    FILE *out = open_memstream(&made, &size);
    bool ok = true;

    if (!out) {
        *err = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    while (ok && options && (token = next_token(&options))) {
        ok = emit_option(out, token, &options);
        free(token);
    }
    fputs(ARG_INFO, out);
    if (fclose(out) != 0 || !ok) {
        free(made);
        *err = ok ? CL_OUT_OF_HOST_MEMORY : CL_INVALID_BUILD_OPTIONS;
        return NULL;
    }
    return made;
}
