/*
 * Spinning; see spin.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "spin.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

/* Looks between two yields: a microsecond or two. */
#define BURST 64
/*
 * A yield that took longer than this was somebody else's gain: who computes keeps a
 * processor for milliseconds, who wakes to pass something on for less.
 */
#define LONG_YIELD_NS 500000u
/* For how long a machine counts as crowded: longer each time in a row. */
#define CROWDED_MIN_NS 10000000u
#define CROWDED_MAX_NS 100000000u

static _Atomic uint64_t crowded_until;
static _Atomic uint32_t crowded_ns = CROWDED_MIN_NS;

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

uint64_t spin_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void set_crowded(uint64_t now)
{
    uint32_t ns = atomic_load_explicit(&crowded_ns, memory_order_relaxed);

    atomic_store_explicit(&crowded_until, now + ns, memory_order_relaxed);
    if (ns < CROWDED_MAX_NS) {
        atomic_store_explicit(&crowded_ns, ns * 2, memory_order_relaxed);
    }
}

bool spin_again(struct spin *spin)
{
    uint64_t now;

    if (++spin->looks < BURST) {
        relax();
        return true;
    }
    spin->looks = 0;
    now = spin_now();
    if (spin->stays) {
        spin->end = spin->end ? spin->end : now + spin->ns;
        return now < spin->end;
    }
    if (spin->away) {
        /* Even a long yield may have been well spent; this one was not. */
        if (!spin->prompt) {
            set_crowded(now);
        }
        return false;
    }
    if (!spin->end) {
        spin->end = now + spin->ns;
        if (now < atomic_load_explicit(&crowded_until, memory_order_relaxed)) {
            return false;
        }
    }
    if (now >= spin->end) {
        /* A whole spin without a long yield: there is room. */
        atomic_store_explicit(&crowded_ns, CROWDED_MIN_NS,
                              memory_order_relaxed);
        return false;
    }
    sched_yield();
    spin->away = spin_now() - now > LONG_YIELD_NS;
    if (spin->away && spin->prompt) {
        set_crowded(now);
    }
    return true;
}

void spin_renew(struct spin *spin)
{
    spin->end = 0;
    spin->looks = 0;
    spin->away = false;
}
