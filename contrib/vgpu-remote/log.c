/*
 * The log. A line is put together first and written with one write(), so that
 * lines of several processes on one stderr do not mix. What guests send is never
 * printed raw: a name with control characters could play tricks on a terminal.
 *
 * SPDX-License-Identifier: MIT
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool be_verbose;
static char who[96] = "vgpu-remoted";

void log_init(bool verbose)
{
    be_verbose = verbose;
}

void log_name(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(who, sizeof(who), fmt, ap);
    va_end(ap);
}

static char harmless(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f ? '?' : c;
}

static void write_line(const char *fmt, va_list ap)
{
    char line[768];
    size_t n = (size_t)snprintf(line, sizeof(line), "%s: ", who);
    int more = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);

    n += more < 0 ? 0 : (size_t)more;
    if (n > sizeof(line) - 2) {
        n = sizeof(line) - 2;
    }
    for (size_t i = 0; i < n; i++) {
        line[i] = harmless(line[i]);
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0) {
        return; /* nobody listens: nothing to be done about it */
    }
}

void log_line(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line(fmt, ap);
    va_end(ap);
}

void log_debug(const char *fmt, ...)
{
    va_list ap;

    if (!be_verbose) {
        return;
    }
    va_start(ap, fmt);
    write_line(fmt, ap);
    va_end(ap);
}

void log_forward(const char *text, size_t n)
{
    char copy[1024];

    n = n < sizeof(copy) ? n : sizeof(copy);
    for (size_t i = 0; i < n; i++) {
        copy[i] = text[i] == '\n' || text[i] == '\t' ? text[i] : harmless(text[i]);
    }
    if (write(STDERR_FILENO, copy, n) < 0) {
        return;
    }
}

void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line(fmt, ap);
    va_end(ap);
    exit(1);
}
