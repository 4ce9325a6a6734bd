/*
 * The processors that a server and all its workers may run on.
 *
 * The server gives up the others before it has a child. Children, threads and programs
 * have those of who started them, and a worker cannot have them changed
 * (isolate_calls.c): so the number holds for all workers together, whatever they
 * start. (Before Linux 6.2 a later change of the cpuset around the server undoes it.)
 *
 * Which ones is drawn by lot, among those that the server itself was given: else
 * all servers with a limit would meet on the first. They are neighbours, as those share
 * caches. Where the number divides that of all, the sets of two servers are
 * the same or have nothing in common.
 *
 * SPDX-License-Identifier: MIT
 */
#include "isolate_stages.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define PROCESSORS_MAX 8192 /* that a Linux can be built for */

struct processors {
    cpu_set_t set[PROCESSORS_MAX / CPU_SETSIZE];
};

static bool has(const struct processors *p, unsigned n)
{
    return CPU_ISSET_S(n, sizeof(p->set), p->set);
}

static bool get(struct processors *p)
{
    CPU_ZERO_S(sizeof(p->set), p->set);
    return sched_getaffinity(0, sizeof(p->set), p->set) == 0;
}

static uint64_t draw(void)
{
    uint32_t lot;

    return getrandom(&lot, sizeof(lot), GRND_NONBLOCK) == sizeof(lot) ?
           lot : (uint32_t)getpid();
}

/* Keep @n of @p, which are @count, and perhaps the last ones and the first. */
static void keep(struct processors *p, unsigned n, unsigned count)
{
    unsigned first = (unsigned)(draw() * n % count), i = 0;

    for (unsigned cpu = 0; cpu < PROCESSORS_MAX; cpu++) {
        if (has(p, cpu) && (i++ + count - first) % count >= n) {
            CPU_CLR_S(cpu, sizeof(p->set), p->set);
        }
    }
}

unsigned processors_limit(unsigned n)
{
    struct processors p;
    unsigned count;

    if (!get(&p)) {
        return 0;
    }
    count = (unsigned)CPU_COUNT_S(sizeof(p.set), p.set);
    if (n >= count) {
        return count;
    }
    keep(&p, n, count);
    return sched_setaffinity(0, sizeof(p.set), p.set) == 0 ? n : 0;
}

char *processors_text(char *buf, size_t n)
{
    struct processors p;
    size_t at = 0;

    buf[0] = '\0';
    if (!get(&p)) {
        return buf;
    }
    for (unsigned cpu = 0; cpu < PROCESSORS_MAX && at < n; cpu++) {
        unsigned first = cpu;

        if (!has(&p, cpu)) {
            continue;
        }
        while (cpu + 1 < PROCESSORS_MAX && has(&p, cpu + 1)) {
            cpu++;
        }
        at += (size_t)snprintf(buf + at, n - at, "%s%u", at ? "," : "", first);
        if (cpu > first && at < n) {
            at += (size_t)snprintf(buf + at, n - at, "-%u", cpu);
        }
    }
    return buf;
}
