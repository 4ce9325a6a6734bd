/*
 * Build options, and the files that builds include.
 *
 * A guest's options reach the host's compiler only if they are in a list of those
 * that do nothing but compile. Include paths are those of files that the guest has
 * sent (vclPutFile), which lie in the worker's directory; others are left out, as if
 * nothing were there. Anything else is CL_INVALID_BUILD_OPTIONS: compilers take
 * plug-ins, response files and output paths by options that no list could name in
 * full.
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

/* How an option is recognised, and what comes with it. */
enum form {
    EXACT,   /* the whole token */
    WORD,    /* its beginning; the rest is letters, digits and _ . + - = */
    DEFINE,  /* its beginning, with any text behind it or in the next token */
    INCLUDE, /* the same; the text is a path */
    LANGUAGE,/* the whole token; the next is a name from `languages` */
};

/*
 * All options that there are: those of the OpenCL specification and of Khronos'
 * extensions, and what drivers add that changes nothing but the code. In their order
 * there.
 */
static const struct option {
    const char *name;
    enum form form;
} known[] = {
    { "-D", DEFINE },
    { "-U", DEFINE },
    { "-I", INCLUDE },
    { "-cl-single-precision-constant", EXACT },
    { "-cl-denorms-are-zero", EXACT },
    { "-cl-fp32-correctly-rounded-divide-sqrt", EXACT },
    { "-cl-opt-disable", EXACT },
    { "-cl-strict-aliasing", EXACT },
    { "-cl-uniform-work-group-size", EXACT },
    { "-cl-no-subgroup-ifp", EXACT },
    { "-cl-mad-enable", EXACT },
    { "-cl-no-signed-zeros", EXACT },
    { "-cl-unsafe-math-optimizations", EXACT },
    { "-cl-finite-math-only", EXACT },
    { "-cl-fast-relaxed-math", EXACT },
    { "-w", EXACT },
    { "-Werror", EXACT },
    { "-cl-std=", WORD },
    { "-cl-kernel-arg-info", EXACT },
    { "-g", EXACT },
    { "-create-library", EXACT },
    { "-enable-link-options", EXACT },
    { "-x", LANGUAGE },
    { "-spir-std=", WORD },
    /* clang's, which most drivers are made of */
    { "-O", WORD },
    { "-W", WORD },
    { "-cl-ext=", WORD },
    /* NVIDIA */
    { "-cl-nv-", WORD },
    { "-nv-line-info", EXACT },
    /* AMD */
    { "-fno-bin-", WORD },
    { "-fbin-", WORD },
    { "-mwavefrontsize64", EXACT },
    { "-mno-wavefrontsize64", EXACT },
    /* Intel */
    { "-cl-intel-", WORD },
    /* Qualcomm */
    { "-qcom-", WORD },
};

static const char *const languages[] = { "clc", "cl", "spir" };

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

/* Whether @text names no file, and hands nothing on to another tool. */
static bool is_word(const char *text)
{
    while (isalnum((unsigned char)*text) || (*text && strchr("_.+-=", *text))) {
        text++;
    }
    return !*text;
}

/* The option that the unquoted @token is; NULL: none. */
static const struct option *find_option(const char *token)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct option *o = &known[i];
        bool whole = o->form == EXACT || o->form == LANGUAGE;

        if (whole ? strcmp(token, o->name) == 0
                  : begins(token, o->name) &&
                        (o->form != WORD ||
                         is_word(token + strlen(o->name)))) {
            return o;
        }
    }
    return NULL;
}

static bool is_language(const char *name)
{
    for (size_t i = 0; i < sizeof(languages) / sizeof(languages[0]); i++) {
        if (strcmp(name, languages[i]) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Whether the one token that we see is two to a compiler that knows no quotes (pocl's
 * is one), and the second an option.
 */
static bool hides_an_option(const char *token)
{
    for (const char *p = token; *p; p++) {
        if (isspace((unsigned char)*p) && p[1 + strspn(p + 1, "\"'\\")] == '-') {
            return true;
        }
    }
    return false;
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

/* What belongs to option @o: behind it in @token, or the next token; to be freed. */
static char *take_value(const struct option *o, const char *token,
                        const char **rest)
{
    const char *behind = token + strlen(o->name);

    return o->form != LANGUAGE && *behind ? strdup(behind) : next_token(rest);
}

/* Write option @o with @value. Returns false if it may not be given. */
static bool emit_with_value(FILE *out, const struct option *o,
                            const char *value, const char *plain)
{
    switch (o->form) {
    case INCLUDE:
        emit_include(out, value, plain);
        return true;
    case LANGUAGE:
        fprintf(out, "%s %s ", o->name, plain);
        return is_language(plain);
    default:
        fprintf(out, "%s ", o->name);
        emit(out, value);
        return *plain && *plain != '-'; /* no name begins like that */
    }
}

/* The option @token, and what belongs to it. Returns false if it may not be given. */
static bool emit_option(FILE *out, char *token, const char **rest)
{
    char *plain = strdup(token), *value = NULL;
    const struct option *o;
    bool ok = false;

    if (!plain || hides_an_option(token)) {
        goto out;
    }
    unquote(plain);
    o = find_option(plain);
    if (!o) {
        goto out;
    }
    if (o->form == EXACT || o->form == WORD) {
        emit(out, plain);
        ok = true;
        goto out;
    }
    /* Quotes around all of it: then there must be nothing to be quoted. */
    if (!begins(token, o->name)) {
        token = strpbrk(plain, " \t\r\n") ? "" : strcpy(token, plain);
    }
    value = *token ? take_value(o, token, rest) : NULL;
    free(plain);
    plain = value ? strdup(value) : NULL;
    if (plain && !hides_an_option(value)) {
        unquote(plain);
        ok = emit_with_value(out, o, value, plain);
    }
out:
    free(value);
    free(plain);
    return ok;
}

char *options_make(const char *options, cl_int refused, cl_int *err)
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
        *err = ok ? CL_OUT_OF_HOST_MEMORY : refused;
        return NULL;
    }
    return made;
}
