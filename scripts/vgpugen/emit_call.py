# SPDX-License-Identifier: MIT
"""API_call.h and API_call.c: the guest's half of each call."""

from .cgen import (Writer, as_item, count_expression, fixed_items, head,
                   pointer, reply_arrays, reply_fixed, reply_scalars,
                   signature)

HELPERS = '''
/* Adds an array to the size of a payload; false if that is beyond any size. */
static bool add_array(size_t *payload, size_t count, size_t size)
{
    size_t bytes;

    return !__builtin_mul_overflow(count, size, &bytes) &&
           bytes <= SIZE_MAX - 7 &&
           !__builtin_add_overflow(*payload, wire_pad8(bytes), payload);
}

/* Stores the @n bytes of an answer at @from, as far as there is room. */
static void copy_out(void *to, size_t room, const void *from, size_t n)
{
    if (to && from) {
        memcpy(to, from, n < room ? n : room);
    }
}
'''

BULK_IN = '''
/* How input travels: in the message, from where it lies, or by the pool. */
struct bulk_in {
    struct wire_span span;
    struct bulk pool;
    bool pooled;
};

/*
 * @in_place: the program keeps the data as they are until they are used, so that
 * memory which the worker sees anyway need not be copied.
 */
static bool bulk_in_begin(struct bulk_in *b, struct session *s,
                          const void *data, size_t size, bool in_place,
                          size_t *payload)
{
    memset(b, 0, sizeof(*b));
    if (!data) {
        return true;
    }
    b->span.size = size;
    if (size <= BULK_INLINE_MAX) {
        *payload += wire_pad8(size);
        return true;
    }
    if (in_place && bulk_find(s, data, size, &b->span)) {
        return true;
    }
    if (bulk_alloc(s, size, &b->pool) < 0) {
        return false;
    }
    memcpy(b->pool.data, data, size);
    b->span = b->pool.span;
    b->span.size = size;
    b->pooled = true;
    return true;
}

/* @running: the message is on its way and nobody waits for its answer. */
static void bulk_in_end(struct bulk_in *b, struct session *s, bool running)
{
    if (b->pooled && running) {
        bulk_free_later(s, &b->pool);
    } else if (b->pooled) {
        bulk_free(s, &b->pool);
    }
}
'''

BULK_OUT = '''
/* How output comes back: in the reply area, or by the pool. */
struct bulk_out {
    struct wire_span span;
    struct bulk pool;
};

static bool bulk_out_begin(struct bulk_out *b, struct session *s,
                           const void *data, size_t size, size_t inline_max)
{
    memset(b, 0, sizeof(*b));
    if (!data) {
        return true;
    }
    b->span.size = size;
    if (wire_pad8(size) <= inline_max && size <= inline_max) {
        return true;
    }
    if (bulk_alloc(s, size, &b->pool) < 0) {
        return false;
    }
    b->span = b->pool.span;
    b->span.size = size;
    return true;
}

/* The @n bytes of the answer: in the reply, or in shared memory. */
static const void *bulk_out_get(struct bulk_out *b, struct wire_in *reply,
                                uint64_t n)
{
    if (!b->pool.data) {
        return wire_get_bytes(reply, n);
    }
    if (n > b->span.size) {
        reply->bad = true;
        return NULL;
    }
    return b->pool.data;
}

static void bulk_out_end(struct bulk_out *b, struct session *s)
{
    if (b->pool.data) {
        bulk_free(s, &b->pool);
    }
}
'''


def param_of(p):
    """The caller's parameters for @p."""
    if p.is_value:
        return ["uint64_t " + p.name if p.is_handle
                else f"{p.ctype} {p.name}"]
    if p.is_new:
        return ["uint64_t " + p.name]
    ctype = "uint64_t" if p.is_handle else p.ctype
    params = [pointer(ctype, 1, p.name, p.direction == "in")]
    if p.is_late:
        params.append(f"const struct wire_span *{p.name}_span")
    return params


def caller(api, call):
    params = ["struct session *s"]
    for p in call.sent:
        params += param_of(p)
    if call.new:
        params.append("uint64_t " + call.new_name)
    return signature(api.error, f"call_{call.name}", params)


def emit_header(api):
    guard = f"{api.upper}_CALL_H"
    w = head(api, f"The guest's half of {api.name}'s calls: arguments become "
             "a message, the\n * answer becomes results. Objects are named by "
             "their ids; 0 is no object.\n * Every caller returns "
             f"{api.lost} if the session is lost.", [])
    w(f"#ifndef {guard}\n#define {guard}\n")
    w(f'#include "{api.name}_wire.h"\n#include "session.h"\n')
    for call in api.calls:
        emit_comment(call, w)
        w(caller(api, call) + ";")
    w("\n#endif")
    return w.text()


def emit_comment(call, w):
    lines = list(call.doc)
    for p in call.sent:
        if p.is_late:
            lines.append(f"@{p.name}_span: where the data go; NULL: they "
                         f"come with the answer, into @{p.name}.")
    if not lines:
        w()
        return
    w()
    if len(lines) == 1 and len(lines[0]) < 73:
        w(f"/* {lines[0]} */")
        return
    w("/*")
    for line in lines:
        w(f" * {line}".rstrip())
    w(" */")


def emit_source(api):
    w = head(api, f"The guest's half of {api.name}'s calls.",
             [f'"{api.name}_call.h"', '"ring.h"'])
    calls = api.calls
    if any(needs_payload(c) or has_reply_data(c) for c in calls):
        w.block(HELPERS)
        w()
    if any(p.is_bulk and p.direction == "in" for c in calls for p in c.sent):
        w.block(BULK_IN)
        w()
    if any(is_pooled_out(p) for c in calls for p in c.sent):
        w.block(BULK_OUT)
        w()
    for call in calls:
        emit_call(api, call, w)
    return w.text()


def is_pooled_out(p):
    return p.is_bulk and p.direction == "out" and not p.is_late


def needs_payload(call):
    return any(p.is_in for p in call.sent)


def has_reply_data(call):
    return bool(reply_arrays(call))


def emit_call(api, call, w):
    bulk_ins = [p for p in call.sent if p.is_bulk and p.is_in]
    bulk_outs = [p for p in call.sent if is_pooled_out(p)]
    lates = [p for p in call.sent if p.is_late]
    arrays = [p for p in call.sent if p.is_in]
    fixed = fixed_items(call)
    conditional = call.wait not in ("true", "false")

    w(caller(api, call))
    w("{")
    w(f"    {api.error} ret = {api.lost};")
    if arrays:
        w(f"    size_t payload = {len(fixed) * 8};")
        payload = "payload"
    else:
        payload = str(len(fixed) * 8)
    if conditional:
        w(f"    bool wait = {call.wait};")
        wait = "wait"
    else:
        wait = call.wait
    emit_locals(w, arrays, bulk_ins, bulk_outs, lates)
    w("    struct call c;\n")
    for p in lates:
        w(f"    if ({p.name}_span) {{")
        w(f"        {p.name}_at = *{p.name}_span;\n    }}")
    emit_limits(api, call, w, arrays)
    emit_begin(api, call, w, payload, wait, arrays, bulk_ins, bulk_outs)
    emit_items(call, w, fixed)
    for p in arrays:
        emit_put_array(p, w)
    w(f"    {'call_send_lazily' if 'lazy' in call.words else 'call_send'}(&c);")
    emit_end(api, call, w, conditional, bulk_ins, bulk_outs)
    w("    return ret;\n}\n")


def emit_locals(w, arrays, bulk_ins, bulk_outs, lates):
    for p in arrays:
        if needs_count(p):
            w(f"    size_t n_{p.name} = {first_count(p)};")
    for p in bulk_ins:
        w(f"    struct bulk_in {p.name}_in;")
    for p in bulk_outs:
        w(f"    struct bulk_out {p.name}_out;")
    for p in lates:
        w(f"    struct wire_span {p.name}_at = {{")
        w(f"        .size = {p.name} ? {count_expression(p)} : 0,\n    }};")


def first_count(p):
    """What the number of elements starts from; emit_limits() goes on."""
    if len(p.extent.product) > 1:
        return "0"
    if p.extent.kind == "nul":
        count = f"strlen({p.name}) + 1"
    elif p.extent.kind == "product":
        count = count_expression(p)
    else:
        count = "1"
    if not p.optional:
        return count
    return f"{present(p)} ? {count} : 0"


def present(p):
    """The condition under which the optional input @p is sent."""
    return f"{p.name} && ({p.when})" if p.when else p.name


def needs_count(p):
    return (p.extent.kind in ("nul", "pairs") or p.optional or
            len(p.extent.product) > 1)


def in_count(p):
    """The number of elements that are sent for the input @p."""
    if needs_count(p):
        return f"n_{p.name}"
    if p.extent.kind == "one":
        return "1"
    return count_expression(p)


def emit_limits(api, call, w, arrays):
    """Lists of pairs, products, and `max`."""
    for p in arrays:
        e = p.extent
        if e.kind == "pairs":
            w(f"    while (n_{p.name} && {p.name}[n_{p.name} - 1] &&")
            w(f"           n_{p.name} + 2 <= {e.max}) {{")
            w(f"        n_{p.name} += 2;\n    }}")
            w(f"    if (n_{p.name} && {p.name}[n_{p.name} - 1]) {{")
            w(f"        return {api.lost};\n    }}")
            continue
        if len(e.product) > 1:
            emit_product(api, p, w)
        if e.max:
            w(f"    if ({in_count(p)} > {e.max}) {{")
            w(f"        return {api.lost};\n    }}")
    for p in reply_arrays(call):
        e = p.extent
        if not e.max or p.is_bulk:
            continue
        if e.used and len(e.product) == 1:
            w(f"    if ({e.product[0]} > {e.max}) {{")
            w(f"        {e.product[0]} = {e.max};\n    }}")
        else:
            w(f"    if ({count_expression(p)} > {e.max}) {{")
            w(f"        return {api.lost};\n    }}")


def emit_product(api, p, w):
    terms = p.extent.product
    w(f"    if ({present(p)}) {{")
    w(f"        n_{p.name} = {terms[0]};")
    for term in terms[1:]:
        w(f"        if (__builtin_mul_overflow(n_{p.name}, {term}, "
          f"&n_{p.name})) {{")
        w(f"            return {api.lost};\n        }}")
    w("    }")


def emit_begin(api, call, w, payload, wait, arrays, bulk_ins, bulk_outs):
    for p in arrays:
        if p.is_bulk:
            continue
        w(f"    if (!add_array(&payload, {in_count(p)}, "
          f"{p.element_size})) {{")
        w(f"        return {api.lost};\n    }}")
    cleanup = []
    for p in bulk_ins:
        size = in_count(p) if p.element_size == 1 else \
            f"{in_count(p)} * {p.element_size}"
        in_place = "false" if call.never_waits else "true"
        data = f"n_{p.name} ? {p.name} : NULL" if p.when else p.name
        w(f"    if (!bulk_in_begin(&{p.name}_in, s, {data}, {size}, "
          f"{in_place}, &payload)) {{")
        for line in cleanup:
            w(f"        {line}")
        w(f"        return {api.lost};\n    }}")
        cleanup.append(f"bulk_in_end(&{p.name}_in, s, false);")
    for p in bulk_outs:
        size = count_expression(p)
        if p.element_size != 1:
            size += f" * {p.element_size}"
        w(f"    if (!bulk_out_begin(&{p.name}_out, s, {p.name}, {size},")
        w(f"                        RING_REPLY_SIZE - {reply_fixed(call)} "
          "* 8)) {")
        for line in cleanup:
            w(f"        {line}")
        w(f"        return {api.lost};\n    }}")
        cleanup.append(f"bulk_out_end(&{p.name}_out, s);")
    too_large = "payload > call_payload_max(s) ||\n        " if arrays else ""
    w(f"    if ({too_large}call_begin(&c, s, VGPU_API_{api.upper}, "
      f"{api.upper}_{call.name},")
    w(f"{' ' * 19}{payload}, {wait}) < 0) {{")
    for line in cleanup:
        w(f"        {line}")
    w(f"        return {api.lost};\n    }}")


def emit_items(call, w, fixed):
    for p, what in fixed:
        if what == "new":
            w(f"    wire_put(&c.out, {call.new_name});")
        elif what == "value":
            w(f"    wire_put(&c.out, {as_item(p.name, p.type)});")
        elif what == "count":
            w(f"    wire_put(&c.out, n_{p.name});")
        elif what == "present":
            when = f" && ({p.when})" if p.when else ""
            w(f"    wire_put(&c.out, {p.name} != NULL{when});")
        elif what == "blob":
            span = (f"{p.name}_at" if p.is_late else
                    f"{p.name}_{p.direction}.span")
            w(f"    wire_put_span(&c.out, &{span});")


def emit_put_array(p, w):
    if p.is_bulk:
        w(f"    if (!{p.name}_in.span.blob) {{")
        w(f"        wire_put_bytes(&c.out, {p.name}, "
          f"{p.name}_in.span.size);\n    }}")
        return
    size = in_count(p)
    if size == "1":
        size = str(p.element_size)
    elif p.element_size != 1:
        size += f" * {p.element_size}"
    w(f"    wire_put_bytes(&c.out, {p.name}, {size});")


def emit_end(api, call, w, conditional, bulk_ins, bulk_outs):
    if call.never_waits:
        w("    ret = 0;")
        for p in bulk_ins:
            w(f"    bulk_in_end(&{p.name}_in, s, true);")
        return
    if conditional:
        w("    if (!wait) {")
        for p in bulk_ins:
            w(f"        bulk_in_end(&{p.name}_in, s, true);")
        w("        return 0;\n    }")
    w("    if (call_wait(&c) == 0) {")
    body = Writer()
    emit_answer(api, call, body)
    for line in body.lines:
        w("        " + line if line else line)
    w("    }\n    call_end(&c);")
    for p in bulk_ins:
        w(f"    bulk_in_end(&{p.name}_in, s, false);")
    for p in bulk_outs:
        w(f"    bulk_out_end(&{p.name}_out, s);")


def emit_answer(api, call, w):
    scalars, arrays = reply_scalars(call), reply_arrays(call)
    w("ret = wire_get_i32(&c.reply);")
    if not scalars and not arrays:
        w(f"if (!wire_done(&c.reply)) {{\n    ret = {api.lost};\n}}")
        return
    w("if (ret == 0) {")
    for p in scalars:
        w(f"    uint64_t v_{p.name} = wire_get(&c.reply);")
    for p in arrays:
        w(f"    uint64_t n_{p.name} = wire_get(&c.reply);")
    for p in arrays:
        if p.is_bulk and not p.is_late:
            w(f"    const void *at_{p.name} = bulk_out_get(&{p.name}_out, "
              f"&c.reply, n_{p.name});")
        elif p.is_late:
            w(f"    const void *at_{p.name} = {p.name}_at.blob ? NULL : "
              f"wire_get_bytes(&c.reply, n_{p.name});")
        else:
            w(f"    const void *at_{p.name} = wire_get_bytes(&c.reply, "
              f"n_{p.name});")
    w(f"\n    if (!wire_done(&c.reply)) {{")
    w(f"        ret = {api.lost};")
    w("    } else {")
    for p in scalars:
        ctype = "uint64_t" if p.is_handle else p.ctype
        w(f"        if ({p.name}) {{")
        w(f"            *{p.name} = ({ctype})v_{p.name};\n        }}")
    for p in arrays:
        room = count_expression(p)
        if p.element_size != 1:
            room = f"({room}) * {p.element_size}" if " " in room else \
                f"{room} * {p.element_size}"
        w(f"        copy_out({p.name}, {room}, at_{p.name}, n_{p.name});")
    w("    }\n}")
    w(f"if (c.reply.bad) {{\n    ret = {api.lost};\n}}")
