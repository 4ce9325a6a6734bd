/*
 * vgpu-remoted: the command line.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "budget.h"
#include "isolate.h"
#include "log.h"
#include "server.h"
#include "vgpu.h"

#define CONTEXTS_DEFAULT 64

static const char help[] =
    "Usage: vgpu-remoted --socket PATH [OPTION]...\n"
    "       vgpu-remoted --fd N [OPTION]...\n"
    "Give this host's GPU to virtual machines and to programs under vgpu-run.\n"
    "\n"
    "  --socket PATH          listen at PATH for clients of this user\n"
    "  --fd N                 serve the one client connected to fd N; end with it\n"
    "  --memory SIZE          memory that each client may have, shared and in buffers\n"
    "                         and images, in bytes or with K, M or G behind it\n"
    "                         (half of this host's)\n"
    "  --contexts N           contexts that each client may have, 1..256 (64)\n"
    "  --processors N         processors that all contexts together may keep busy, 0\n"
    "                         for as many as there are (0)\n"
    "  --readable PATH        let workers read PATH too: where a driver lies that\n"
    "                         is not in /usr or /opt; may be given 15 times\n"
    "  --no-file-isolation    go on where workers cannot be kept from files\n"
    "  --isolation            say how workers are isolated here, and end\n"
    "  --trace FILE           print every OpenCL call to FILE (it is appended to)\n"
    "  --verbose              log connections and contexts too\n"
    "  --version, --help\n";

struct options {
    struct server_params server;
    struct isolation isolation;
    unsigned readable;
    bool files_optional;
    bool show_isolation;
    bool verbose;
};

enum {
    OPT_SOCKET = 256, OPT_FD, OPT_MEMORY, OPT_CONTEXTS, OPT_PROCESSORS,
    OPT_READABLE, OPT_NO_FILES, OPT_ISOLATION, OPT_TRACE, OPT_VERBOSE,
    OPT_VERSION, OPT_HELP,
};

static const struct option long_options[] = {
    { "socket", required_argument, NULL, OPT_SOCKET },
    { "fd", required_argument, NULL, OPT_FD },
    { "memory", required_argument, NULL, OPT_MEMORY },
    { "contexts", required_argument, NULL, OPT_CONTEXTS },
    { "processors", required_argument, NULL, OPT_PROCESSORS },
    { "readable", required_argument, NULL, OPT_READABLE },
    { "no-file-isolation", no_argument, NULL, OPT_NO_FILES },
    { "isolation", no_argument, NULL, OPT_ISOLATION },
    { "trace", required_argument, NULL, OPT_TRACE },
    { "verbose", no_argument, NULL, OPT_VERBOSE },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

/* A number with an optional unit; 0 if it is none, or too large. */
static uint64_t parse_size(const char *text)
{
    char *end;
    uint64_t n, unit = 1;

    errno = 0;
    n = strtoull(text, &end, 10);
    switch (*end) {
    case 'G':
        unit <<= 10;
        /* fall through */
    case 'M':
        unit <<= 10;
        /* fall through */
    case 'K':
        unit <<= 10;
        end++;
    }
    if (errno || *text == '-' || *end || n > INT64_MAX / unit) {
        return 0;
    }
    return n * unit;
}

static unsigned parse_processors(const char *text)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno || *end || end == text || n < 0 || n > UINT_MAX) {
        die("--processors %s: give how many all contexts together may keep busy, "
            "2 say, or 0 for as many as there are", text);
    }
    return (unsigned)n;
}

static uint64_t half_of_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) *
           (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

static int parse_fd(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*end || end == text || n < 0 || n > 65535 || fcntl((int)n, F_GETFD) < 0) {
        die("--fd %s: no such open file; the caller has to pass a connected "
            "SOCK_SEQPACKET socket", text);
    }
    return (int)n;
}

static void parse_option(struct options *o, int opt)
{
    uint64_t n;

    switch (opt) {
    case OPT_SOCKET:
        o->server.socket = optarg;
        break;
    case OPT_FD:
        o->server.fd = parse_fd(optarg);
        break;
    case OPT_MEMORY:
        o->server.memory_max = parse_size(optarg);
        if (o->server.memory_max < (1u << 20)) {
            die("--memory %s: give a size of at least 1M, 512M or 4G say",
                optarg);
        }
        break;
    case OPT_CONTEXTS:
        n = parse_size(optarg);
        if (n < 1 || n > BUDGET_CONTEXTS) {
            die("--contexts %s: give a number from 1 to %u", optarg,
                BUDGET_CONTEXTS);
        }
        o->server.contexts_max = (unsigned)n;
        break;
    case OPT_PROCESSORS:
        o->isolation.processors = parse_processors(optarg);
        break;
    case OPT_READABLE:
        if (o->readable >= ISOLATE_READABLE_MAX - 1 ||
            access(optarg, F_OK) < 0) {
            die("--readable %s: %s", optarg,
                access(optarg, F_OK) < 0 ? strerror(errno) : "too many paths");
        }
        o->isolation.readable[o->readable++] = optarg;
        break;
    case OPT_NO_FILES:
        o->files_optional = true;
        break;
    case OPT_ISOLATION:
        o->show_isolation = true;
        break;
    case OPT_TRACE:
        o->server.trace = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                               0600);
        if (o->server.trace < 0) {
            die("--trace %s: %s", optarg, strerror(errno));
        }
        break;
    case OPT_VERBOSE:
        o->verbose = true;
        break;
    case OPT_VERSION:
        printf("vgpu-remoted %s, protocol version %u\n", VGPU_RELEASE,
               VGPU_PROTOCOL_VERSION);
        exit(0);
    case OPT_HELP:
        fputs(help, stdout);
        exit(0);
    default:
        fputs("Try vgpu-remoted --help.\n", stderr);
        exit(1);
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        parse_option(o, opt);
    }
    if (optind < argc) {
        die("'%s' is no option; try --help", argv[optind]);
    }
    if (!o->show_isolation && !o->server.socket == (o->server.fd < 0)) {
        die("give either --socket PATH or --fd N; try --help");
    }
}

int main(int argc, char **argv)
{
    struct options o = {
        .server = { .fd = -1, .trace = -1, .memory_max = half_of_memory(),
                    .contexts_max = CONTEXTS_DEFAULT },
    };
    const char *why;
    char text[400];

    parse(&o, argc, argv);
    log_init(o.verbose);
    o.server.isolation = &o.isolation;
    o.isolation.memory_max = o.server.memory_max;
    why = isolate_init(&o.isolation, o.files_optional);
    if (why) {
        die("%s", why);
    }
    why = isolate_server(&o.isolation);
    if (why) {
        die("%s", why);
    }
    if (o.show_isolation) {
        isolate_print(&o.isolation);
        return 0;
    }
    log_debug("workers: %s", isolate_text(&o.isolation, text, sizeof(text)));
    if (o.isolation.files == ISOLATE_FILES_NONE) {
        log_line("workers can read and write this user's files "
                 "(--no-file-isolation)");
    }
    return server_run(&o.server);
}
