/*
 * Spinning: looking again and again for something that another process is about to
 * do, in the hope that this is sooner than a sleep would end.
 *
 * Between two looks a spinner yields, since what it waits for may need this
 * very processor. Where there is more to run than processors, a yield gives the
 * processor to a stranger, for milliseconds, and sleeping would have been quicker:
 * then the machine counts as crowded for a while, and nobody here spins.
 *
 *     struct spin spin = spin_begin(50000);
 *
 *     while (!done()) {
 *         if (!spin_again(&spin)) {
 *             break;            // sleep instead
 *         }
 *     }
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SPIN_H
#define SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct spin {
    uint64_t end;     /* ns; 0: not looked at the clock yet */
    uint32_t ns;      /* how long */
    uint32_t looks;   /* since the last yield */
    bool away;        /* the last yield was a long one */
    bool prompt;      /* see spin_begin_prompt() */
    bool stays;       /* see spin_begin_staying() */
};

/** spin_begin: spin for @ns nanoseconds. */
static inline struct spin spin_begin(uint32_t ns)
{
    return (struct spin){ .ns = ns };
}

/**
 * spin_begin_prompt: the same, for what surely comes from another processor. A long
 * yield is a loss then even if it has come meanwhile: who sleeps is woken at once, who
 * has yielded waits until a stranger's time is up.
 */
static inline struct spin spin_begin_prompt(uint32_t ns)
{
    return (struct spin){ .ns = ns, .prompt = true };
}

/**
 * spin_begin_staying: without yields. For a spin so short that who computes meanwhile
 * loses little by it, where those who compute are many: each yield would be long.
 */
static inline struct spin spin_begin_staying(uint32_t ns)
{
    return (struct spin){ .ns = ns, .stays = true };
}

/** spin_again: wait for a moment. Returns false if that is enough of it. */
bool spin_again(struct spin *spin);

/** spin_renew: something happened: spin as long again. */
void spin_renew(struct spin *spin);

/** spin_now: nanoseconds of a clock that only goes forward. */
uint64_t spin_now(void);

#endif
