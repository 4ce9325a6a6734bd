/*
 * What targets share that stand in for a worker's session: the client's budget, and a
 * log that nobody reads. Included by the one file of a target.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FUZZ_SESSION_H
#define FUZZ_SESSION_H

#include "fuzz.h"

#include "log.h"
#include "session.h"

#define BUDGET (1ull << 30)

/* Bytes; none at the end of an input. */
static uint64_t charged;

bool session_charge(struct session *s, uint64_t bytes)
{
    if (bytes > BUDGET || charged + bytes > BUDGET) {
        return false;
    }
    charged += bytes;
    return true;
}

void session_release(struct session *s, uint64_t bytes)
{
    fuzz_require(charged >= bytes);
    charged -= bytes;
}

void log_line(const char *fmt, ...)
{
}

void log_debug(const char *fmt, ...)
{
}

#endif
