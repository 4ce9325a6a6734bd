/*
 * Messages: how a call is laid out as bytes, and how bytes are read without
 * trusting them.
 *
 * A message is a struct wire_header and a payload. The payload is a row of
 * 8-byte items: first the fixed part (all scalars, handles and presence bits of
 * the call, each one item), then the variable parts in the order of the
 * prototype, each padded to 8 bytes with zeros. An answer is a payload alone.
 * The message's size is rounded up to RING_ALIGN; the padding is zero and not
 * part of the payload that the generated decoders see: `payload` says how long
 * that is.
 *
 * Reading uses a struct wire_in whose error sticks: read everything, ask
 * wire_done() once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vgpu.h"

struct wire_header {
    uint32_t size;    /* of the whole message, a multiple of RING_ALIGN */
    uint32_t payload; /* bytes after the header, a multiple of 8 */
    uint16_t api;     /* enum vgpu_api */
    uint16_t call;    /* the API's number for it */
    uint16_t slot;    /* where the answer goes; 0: no answer is wanted */
    uint16_t reserved;/* zero */
    uint32_t seq;     /* the slot's sequence number */
    uint32_t thread;  /* the guest's thread, for traces only */
    uint64_t reserved2;
};
static_assert(sizeof(struct wire_header) == 32, "part of the wire");

/* A slot's status: whether the call was made at all. */
enum wire_status {
    WIRE_OK = 0,       /* the answer's payload is valid */
    WIRE_MALFORMED = 1,/* the message cannot be decoded; the context is lost */
    WIRE_UNKNOWN = 2,  /* no such call here */
    WIRE_LOST = 3,     /* the context was lost before the call was made */
};

/* Calls of VGPU_API_SESSION. */
enum wire_session_call {
    WIRE_PING = 1, /* no payload; answered with none, after all before it */
};

/*
 * Set in wire_span.blob beside the blob's id: the 64 bytes in front of the data
 * are a struct bulk_header in which the worker sets `done` as soon as no command
 * uses the data any more. Without it nothing but the data may be touched:
 * it lies in the middle of a mapped buffer, say.
 */
#define WIRE_SPAN_TRACKED (1ull << 63)

/*
 * Set beside WIRE_SPAN_TRACKED in a blocking write: the guest is still filling the
 * span, from the front, and tells how far it is in the header's `filled`.
 * A blocking read needs no such flag: the worker always tells in `drained` how
 * much has arrived, from the front, and the guest may copy it out behind.
 */
#define WIRE_SPAN_STREAMED (1ull << 62)
#define WIRE_SPAN_FLAGS    (WIRE_SPAN_TRACKED | WIRE_SPAN_STREAMED)

/* Bytes within a blob of the context. Crosses as three items. */
struct wire_span {
    uint64_t blob;   /* 0: no blob; the bytes follow inline, `size` of them */
    uint64_t offset; /* bytes */
    uint64_t size;   /* bytes */
};

/** wire_pad8: @n rounded up to whole items. */
static inline size_t wire_pad8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* --- writing: into space that was reserved for exactly this message ------- */

struct wire_out {
    uint8_t *p;
    uint8_t *end;
    bool bad; /* more was put than there is room for; nothing was overrun */
};

static inline void wire_out_init(struct wire_out *o, void *buf, size_t size)
{
    o->p = buf;
    o->end = o->p + size;
    o->bad = false;
}

static inline void wire_put(struct wire_out *o, uint64_t v)
{
    if (o->end - o->p < 8) {
        o->bad = true;
        return;
    }
    memcpy(o->p, &v, 8);
    o->p += 8;
}

/** wire_put_bytes: @n bytes, padded to whole items with zeros. */
static inline void wire_put_bytes(struct wire_out *o, const void *src, size_t n)
{
    size_t padded = wire_pad8(n);

    if (padded < n || (size_t)(o->end - o->p) < padded) {
        o->bad = true;
        return;
    }
    if (n) {
        memcpy(o->p, src, n);
        memset(o->p + n, 0, padded - n);
        o->p += padded;
    }
}

static inline void wire_put_span(struct wire_out *o, const struct wire_span *s)
{
    wire_put(o, s->blob);
    wire_put(o, s->offset);
    wire_put(o, s->size);
}

/* --- reading: from a private copy ----------------------------------------- */

struct wire_in {
    const uint8_t *p;
    const uint8_t *end;
    bool bad; /* something did not fit; every later read gives zero or NULL */
};

static inline void wire_in_init(struct wire_in *in, const void *buf, size_t n)
{
    in->p = buf;
    in->end = in->p + n;
    in->bad = false;
}

static inline uint64_t wire_get(struct wire_in *in)
{
    uint64_t v;

    if (in->bad || in->end - in->p < 8) {
        in->bad = true;
        return 0;
    }
    memcpy(&v, in->p, 8);
    in->p += 8;
    return v;
}

/** wire_get_u32: an item that must fit in 32 bits. */
static inline uint32_t wire_get_u32(struct wire_in *in)
{
    uint64_t v = wire_get(in);

    if (v > UINT32_MAX) {
        in->bad = true;
        return 0;
    }
    return (uint32_t)v;
}

/** wire_get_i32: an item that holds a sign-extended 32-bit value. */
static inline int32_t wire_get_i32(struct wire_in *in)
{
    int64_t v = (int64_t)wire_get(in);

    if (v != (int32_t)v) {
        in->bad = true;
        return 0;
    }
    return (int32_t)v;
}

/**
 * wire_get_array: @count elements of @size bytes, in place.
 *
 * Returns a pointer into the message, aligned to 8 if the message is, or NULL
 * if it does not hold that many. With @count 0, a non-NULL pointer to nothing.
 */
static inline const void *wire_get_array(struct wire_in *in, uint64_t count,
                                         size_t size)
{
    const uint8_t *at = in->p;
    size_t bytes, padded;

    if (in->bad || __builtin_mul_overflow(count, size, &bytes) ||
        (padded = wire_pad8(bytes)) < bytes ||
        (size_t)(in->end - in->p) < padded) {
        in->bad = true;
        return NULL;
    }
    in->p += padded;
    return at;
}

/** wire_get_bytes: like wire_get_array() of @n single bytes. */
static inline const void *wire_get_bytes(struct wire_in *in, uint64_t n)
{
    return wire_get_array(in, n, 1);
}

static inline struct wire_span wire_get_span(struct wire_in *in)
{
    struct wire_span s;

    s.blob = wire_get(in);
    s.offset = wire_get(in);
    s.size = wire_get(in);
    return s;
}

/** wire_done: whether all reads fitted and the message is used up exactly. */
static inline bool wire_done(const struct wire_in *in)
{
    return !in->bad && in->p == in->end;
}

#endif
