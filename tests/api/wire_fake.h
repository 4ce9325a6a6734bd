/*
 * Both ends of every call in one process. The generated tests make a call by its
 * caller; the fake guest (fake_guest.c) hands the message to the decoder; the fake
 * worker (fake_worker.c) has every object that is asked for; and the
 * generated fakes of the host's functions compare what arrives with what was sent.
 *
 * What is sent is the same at both ends without being stored: sample(), an
 * array of known bytes, and ids and objects that follow from their type.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef WIRE_FAKE_H
#define WIRE_FAKE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define NEW_ID         0x777u  /* that the guest chose for a new object */
#define FAKE_BLOB      9u
#define FAKE_BLOB_SIZE (64u << 10)

/* The shapes in which a call is made. */
#define SHAPE_FULL  1 /* everything is there */
#define SHAPE_LARGE 2 /* bulk data go by shared memory */
#define SHAPE_BARE  4 /* everything that may be NULL is */

struct wire_test {
    const char *name;
    uint16_t call;
    int32_t (*make)(void); /* returns the call's error */
    unsigned shapes;
    bool needs_object;     /* names at least one object */
    bool never_waits;
    unsigned makes;        /* the type of its new object, 0: none */
};

extern const struct wire_test wire_tests[]; /* the last has no name */

/* How the fakes behave, and what they saw. */
struct fake {
    const char *making; /* the call that is tested */
    bool large;
    bool bare;
    bool hostile;     /* arguments are any: do not compare them */
    bool no_objects;  /* no id is known */
    int32_t fail;     /* what the host returns */

    unsigned calls;   /* that reached the host */
    const char *last; /* the last of them */
    unsigned entered; /* objects put into the table, the last of which is... */
    uint64_t entered_id;
    unsigned entered_type;
    int32_t entered_error;
    unsigned async_errors;

    uint8_t payload[64 << 10]; /* of the last message */
    size_t size;
    uint16_t call;
};

extern struct fake fake;
extern uint8_t fake_blob[FAKE_BLOB_SIZE];
extern unsigned failures;

#define EXPECT(condition) expect(condition, #condition, __FILE__, __LINE__)

static inline void expect(bool ok, const char *what, const char *file, int line)
{
    if (!ok) {
        fprintf(stderr, "%s:%d: %s: not %s\n", file, line,
                fake.last ? fake.last : "?", what);
        failures++;
    }
}

/** fake_called: the host's @name was called; whether to look at its arguments. */
bool fake_called(const char *name);

/**
 * fake_serve: decode @call with a payload of @n bytes at @payload and answer
 * into @reply, of 4096 bytes, if @answered. Returns the status; the answer's size
 * in @reply_size.
 */
enum wire_status fake_serve(uint16_t call, const void *payload, size_t n,
                            bool answered, void *reply, size_t *reply_size);

/* --- samples --------------------------------------------------------------- */

static inline uint64_t sample_id(unsigned type, unsigned i)
{
    return type * 16 + i + 1;
}

static inline void *sample_object(unsigned type, unsigned i)
{
    return (void *)(uintptr_t)(0x10000 + sample_id(type, i) * 64);
}

static inline void *sample_new(unsigned type)
{
    return (void *)(uintptr_t)(0x9990000 + type);
}

static inline void *sample_host_object(unsigned i)
{
    return (void *)(uintptr_t)(0x8880000 + i);
}

/** sample: @n bytes of which every one is known; NULL is never returned. */
const void *sample(size_t n);
bool is_sample(const void *at, size_t n);

const uint64_t *sample_ids(size_t n, unsigned type);
bool are_objects(const void *at, size_t n, unsigned type);
bool are_host_ids(const void *at, size_t n);

/** sample_list: @n elements of 8 bytes: pairs, one with a 0, and a 0 to end. */
const void *sample_list(size_t n);
bool is_sample_list(const void *at, size_t n);

/** fill: what a fake writes into an output of @n bytes; NULL is fine. */
void fill(void *at, size_t n);
bool is_filled(const void *at, size_t n);

/** touch: read all @n bytes at @at; NULL is fine. */
void touch(const void *at, size_t n);
void touch_pairs(const void *at); /* as a host reads a list of properties */

/** fake_span: @n bytes at the start of the shared memory fake_blob. */
const struct wire_span *fake_span(size_t n);

/* A session, to whoever wants one. */
extern struct session fake_session;

#endif
