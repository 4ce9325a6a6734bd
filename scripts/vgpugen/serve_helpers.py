# SPDX-License-Identifier: MIT
"""The functions in front of API_serve.c: each is there if a call needs it."""

from .check import always_waits

HELPERS = '''
/*
 * The object @id. The first error sticks: after one, or if there is no such
 * object, NULL, and why is in *@err.
 */
static void *object(struct request *r, uint64_t id, enum {n}_type type,
                    {error} *err)
{{
    int32_t why = invalid[type];
    void *found;

    if (*err) {{
        return NULL;
    }}
    found = handles_get(session_handles(r->session), id, type, &why);
    if (!found) {{
        *err = why;
    }}
    return found;
}}
'''

OPTIONAL = '''
/* An object that may be none: id 0. */
static void *optional_object(struct request *r, uint64_t id,
                             enum {n}_type type, {error} *err)
{{
    return id ? object(r, id, type, err) : NULL;
}}
'''

TAKE = '''
/* An object that the guest gives up: it leaves the table. */
static void *take_object(struct request *r, uint64_t id, enum {n}_type type,
                         {error} *err)
{{
    int32_t why = invalid[type];
    void *found = handles_take(session_handles(r->session), id, type, &why);

    if (!found) {{
        *err = why;
    }}
    return found;
}}
'''

OBJECTS = '''
/*
 * Objects in place of the @n ids at @array, which is in this thread's copy of
 * the message.
 */
static void objects(struct request *r, const void *array, size_t n,
                    enum {n}_type type, {error} *err)
{{
    uint8_t *at = (uint8_t *)array;

    for (size_t i = 0; at && i < n && !*err; i++, at += 8) {{
        uint64_t id;
        void *found;

        memcpy(&id, at, 8);
        found = object(r, id, type, err);
        memcpy(at, &found, 8);
    }}
}}
'''

ENTER = '''
/*
 * Enters the new @object, or the @err that it met with, under the guest's @id.
 * An answered call that failed leaves nothing: its guest knows and forgets the id. Nor
 * does one without an object, whose other results say why.
 */
static {error} enter(struct request *r, uint64_t id, enum {n}_type type,
                    void *object, {error} err)
{{
    struct handles *h = session_handles(r->session);
    int rc = 0;

    if (id == 0) {{
        /* Nobody could ever name it, drop it, or count it. */
        if (err == 0 && object) {{
            {n}_release(type, object);
        }}
        return err;
    }}
    if (err == 0 && object) {{
        rc = handles_put(h, id, type, object);
    }} else if (err != 0 && r->header.slot == 0) {{
        rc = handles_put_error(h, id, type, err);
    }}
    if (rc < 0) {{
        session_fail(r->session,
                     rc == -EEXIST || rc == -EINVAL ? RING_FATAL_PROTOCOL
                                                    : RING_FATAL_BUDGET,
                     "object id %llu cannot be given: %s",
                     (unsigned long long)id, strerror(-rc));
    }}
    return err;
}}
'''

SETTLE = '''
/* Reports what nobody waits for, or asks for what nobody waited for. */
static {error} settle(struct request *r, cl_command_queue queue, {error} err)
{{
    if (r->header.slot == 0) {{
        if (err) {{
            {n}_async_error(r, queue, err);
        }}
        return err;
    }}
    return err || !queue ? err : {n}_sticky_error(r, queue);
}}
'''

SPAN_IN = '''
/* The @size bytes of bulk input: in the message, or in shared memory. */
static const void *span_in(struct request *r, const struct wire_span *span,
                           uint64_t count, size_t size)
{{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes != span->size) {{
        r->in.bad = true;
        return NULL;
    }}
    return span->blob ? session_span(r, span)
                      : wire_get_bytes(&r->in, bytes);
}}
'''

SPAN_OUT = '''
/*
 * Where @count elements of bulk output go: shared memory, or the reply area
 * behind the @fixed items that come before.
 */
static void *span_out(struct request *r, const struct wire_span *span,
                      uint64_t count, size_t size, size_t fixed)
{{
    size_t room = r->out.end - r->out.p;
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes != span->size) {{
        return NULL;
    }}
    if (span->blob) {{
        return session_span(r, span);
    }}
    if (room < fixed || wire_pad8(bytes) > room - fixed || bytes > room) {{
        return NULL;
    }}
    return r->out.p + fixed;
}}
'''

GIVE_BACK = '''
/* Tell the guest, if it wants to know, that nothing uses the bulk data any more. */
static void give_back(const void *data, const struct wire_span *span)
{{
    struct bulk_header *header = data ? bulk_tracked(span, data) : NULL;

    if (header) {{
        atomic_store_explicit(&header->done, 1, memory_order_release);
    }}
}}
'''

PUT_IN_PLACE = '''
/*
 * Counts the @n bytes at @data, which the call has put into the reply area, as
 * part of the answer.
 */
static void put_in_place(struct request *r, const void *data,
                         const struct wire_span *span, size_t n)
{{
    if (!data || span->blob) {{
        return;
    }}
    if (data != r->out.p) {{
        memmove(r->out.p, data, n);
    }}
    memset(r->out.p + n, 0, wire_pad8(n) - n);
    r->out.p += wire_pad8(n);
}}
'''

HOST_IDS = '''
/* Puts the ids of @n objects of the host's own at @array. */
static void put_host_ids(struct request *r, const void *array, size_t n,
                         enum {n}_type type)
{{
    void *const *at = array;

    for (size_t i = 0; i < n; i++) {{
        wire_put(&r->out, handles_host_id(session_handles(r->session), type,
                                          at[i]));
    }}
}}
'''


def emit_helpers(api, w):
    calls = api.calls
    params = [(c, p) for c in calls for p in c.sent]
    wanted = [
        (HELPERS, any(p.is_handle and not p.is_new and p.direction != "out"
                      for _, p in params)),
        (OPTIONAL, any(p.is_handle and p.is_value and p.optional
                       for _, p in params)),
        (TAKE, any("drop" in p.words for _, p in params)),
        (OBJECTS, any(p.is_handle and p.is_in for _, p in params)),
        (ENTER, any(c.new for c in calls) or any(p.is_new for _, p in params)),
        (SETTLE, True),
        (SPAN_IN, any(p.is_bulk and p.is_in for _, p in params)),
        (SPAN_OUT, any(p.is_bulk and p.direction == "out"
                       for _, p in params)),
        (GIVE_BACK, any(p.is_bulk and not always_waits(c)
                        for c, p in params)),
        (PUT_IN_PLACE, any(p.is_bulk and p.direction == "out"
                           for _, p in params)),
        (HOST_IDS, any(p.is_handle and p.direction == "out" and not p.is_new
                       for _, p in params)),
    ]
    for text, needed in wanted:
        if needed:
            w.block(text.format(n=api.name, error=api.error, lost=api.lost))
            w()
