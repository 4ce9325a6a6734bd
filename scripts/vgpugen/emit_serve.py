# SPDX-License-Identifier: MIT
"""API_serve.h and API_serve.c: the worker's half of each call.

A server reads the fixed part with one bounds check, then the arrays, and asks
wire_done(): from there on the message is known to be whole. It then looks the
handles up, makes the call, and writes the answer.
"""

from .cgen import (count_expression, fixed_items, head, pointer, reply_arrays,
                   reply_fixed, reply_scalars, signature)
from .check import always_waits, out_array_max
from .model import Scalar
from .serve_helpers import emit_helpers


def emit_header(api):
    n = api.name
    guard = f"{api.upper}_SERVE_H"
    w = head(api, f"The worker's half of {n}'s calls: a message becomes "
             "arguments, checked, with host\n * objects in place of ids. Calls "
             "that are written by hand get these arguments:\n"
             " *\n"
             " *   ret         what the API function returns\n"
             " *   err         the error, where ret is a new object\n"
             " *   id_of_X     the guest's id of the object X\n"
             " *   X_span      where bulk data lie; blob 0: in the message, "
             "or in the reply\n *               area, valid until the answer. "
             "X itself points to them.\n"
             " *\n * Outputs that the guest does not want are NULL. A new "
             "object is entered into\n * the table after the function "
             "returned, under the id that the guest chose;\n * on failure "
             "nothing may be left in the outputs.", [])
    w(f"#ifndef {guard}\n#define {guard}\n")
    w(f'#include "{n}_wire.h"\n#include "session.h"\n')
    w(f"/** {n}_serve: decode the message of @r, make the call, and put the "
      "answer. */")
    w(f"enum wire_status {n}_serve(struct request *r);\n")
    w(f"/** {n}_release: give up the host's @object, which is a @type. */")
    w(f"void {n}_release(enum {n}_type type, void *object);\n")
    w("/* --- written by hand ------------------------------------------- */\n")
    emit_hooks(api, w)
    for call in api.calls:
        if "serve" in call.words:
            w()
            emit_args(api, call, w)
            w(f"void serve_{call.name}(struct request *r, "
              f"struct {call.name}_args *a);")
    w("\n#endif")
    return w.text()


def emit_hooks(api, w):
    n = api.name
    w(f"/**\n * {n}_async_error: a call that nobody waits for failed with "
      "@err.\n *\n * @queue: the queue it was made on, or NULL. Failed new "
      "objects are in the\n * table of handles as errors already.\n */")
    w(signature("void", f"{n}_async_error",
                ["struct request *r", "cl_command_queue queue",
                 f"{api.error} err"]) + ";\n")
    w(f"/**\n * {n}_sticky_error: the first error since the last call of "
      "this function that\n * calls on @queue met while nobody waited, or "
      "0.\n */")
    w(signature(api.error, f"{n}_sticky_error",
                ["struct request *r", "cl_command_queue queue"]) + ";")


def emit_args(api, call, w):
    by_hand = "serve" in call.words
    w(f"struct {call.name}_args {{")
    if call.new or by_hand:
        w(f"    {call.ret} ret;")
    if call.new and by_hand:
        w(f"    {api.error} err;")
    if call.new:
        w(f"    uint64_t id_of_{call.new_name};")
    for p in call.sent:
        w("    " + pointer(p.ctype, p.stars, p.name,
                           p.const or p.is_in and p.is_bulk) + ";")
        if p.is_new or p.is_handle and p.is_value and by_hand:
            w(f"    uint64_t id_of_{p.name};")
        if p.is_bulk:
            w(f"    struct wire_span {p.name}_span;")
    w("};")


def emit_source(api):
    w = head(api, f"The worker's half of {api.name}'s calls.",
             ["<errno.h>", "", f'"{api.name}_serve.h"'])
    emit_tables(api, w)
    emit_helpers(api, w)
    for call in api.calls:
        emit_call(api, call, w)
    emit_dispatch(api, w)
    return w.text()


def emit_tables(api, w):
    w('static_assert(sizeof(void *) == 8, "ids become objects in place");\n')
    w("/* The error for an object that is not there. */")
    w(f"static const {api.error} invalid[] = {{")
    for h in api.handles:
        w(f"    [{api.upper}_{h.name}] = {h.error},")
    w("};\n")
    for info in api.infos.values():
        w(f"/* Whether {info.type} may be asked for. */")
        w(f"static void check_{info.type}({info.type} name, "
          f"{api.error} *err)\n{{")
        w("    if (*err) {\n        return;\n    }")
        w("    switch (name) {")
        remote = [e for e in info.entries if not e.local]
        for e in remote:
            w(f"    case {e.name}:")
        if remote:
            w("        return;")
        w(f"    default:\n        *err = {info.error};\n    }}\n}}\n")
    w(f"void {api.name}_release(enum {api.name}_type type, void *object)\n{{")
    w("    switch (type) {")
    for h in api.handles:
        if h.release:
            w(f"    case {api.upper}_{h.name}:")
            w(f"        {h.release}(object);\n        break;")
    w("    default:\n        break; /* the host's own */\n    }\n}\n")


def emit_call(api, call, w):
    if "serve" not in call.words:
        emit_args(api, call, w)
        w()
    w(f"static enum wire_status make_{call.name}(struct request *r)\n{{")
    emit_locals(api, call, w)
    emit_decode(call, w)
    emit_lookups(api, call, w)
    emit_make(call, w)
    emit_give_back(call, w)
    emit_result(api, call, w)
    emit_reply(api, call, w)
    w("    return WIRE_OK;\n}\n")


def emit_locals(api, call, w):
    fixed = fixed_items(call)
    w(f"    struct {call.name}_args a;")
    if fixed:
        w(f"    const uint64_t *item = wire_get_array(&r->in, {len(fixed)}, "
          "8);")
    w(f"    {api.error} err = 0;")
    for p in call.sent:
        if p.is_out_array:
            w(f"    size_t out_{p.name};")
        if p.is_new:
            w(f"    {p.ctype} {p.name} = NULL;")
        elif p.is_out_scalar:
            zero = "NULL" if p.is_handle else "0"
            w(f"    {p.ctype} {p.name} = {zero};")
        elif p.is_out_array and not p.is_bulk:
            elements = out_array_max(p) // p.element_size
            w(f"    {p.ctype if p.type else 'char'} {p.name}[{elements}] "
              "= { 0 };")
    w()


def emit_decode(call, w):
    fixed = fixed_items(call)
    if fixed:
        w("    if (!item) {\n        return WIRE_MALFORMED;\n    }")
        emit_ranges(fixed, w)
    positions = {}
    for i, (p, what) in enumerate(fixed):
        positions[(p.name if p else "", what)] = i
        if what == "new":
            w(f"    a.id_of_{call.new_name} = item[{i}];")
        elif what == "value":
            emit_value(call, p, i, w)
        elif what == "blob":
            w(f"    a.{p.name}_span = (struct wire_span){{ item[{i}], "
              f"item[{i + 1}], item[{i + 2}] }};")
    for p in call.sent:
        if p.is_out_scalar:
            if p.optional and p.name not in call.used_names:
                at = positions[(p.name, "present")]
                w(f"    a.{p.name} = item[{at}] ? &{p.name} : NULL;")
            else:
                w(f"    a.{p.name} = &{p.name};")
    checked = set()
    for p in call.sent:
        if p.is_in:
            emit_in(p, positions, checked, w)
    for p in call.sent:
        if p.is_out_array:
            emit_out_array(call, p, positions, w)
    w("    if (!wire_done(&r->in)) {\n        return WIRE_MALFORMED;\n    }")


def emit_ranges(fixed, w):
    """Items that have to fit in 32 bits, or to be 0 or 1."""
    unsigned, signed, flags = [], [], []
    for i, (p, what) in enumerate(fixed):
        if what == "present":
            flags.append(f"item[{i}]")
        if what != "value" or not isinstance(p.type, Scalar) or \
                p.type.size == 8:
            continue
        if p.type.signed:
            signed.append(i)
        else:
            unsigned.append(f"item[{i}]")
    checks = []
    if len(unsigned) == 1:
        checks.append(f"{unsigned[0]} > UINT32_MAX")
    elif unsigned:
        checks.append(f"({' | '.join(unsigned)}) > UINT32_MAX")
    if len(flags) == 1:
        checks.append(f"{flags[0]} > 1")
    elif flags:
        checks.append(f"({' | '.join(flags)}) > 1")
    for i in signed:
        checks.append(f"(int64_t)item[{i}] != (int32_t)item[{i}]")
    if checks:
        w(f"    if ({' || '.join(checks)}) {{")
        w("        return WIRE_MALFORMED;\n    }")


def emit_value(call, p, i, w):
    if p.is_new:
        w(f"    a.id_of_{p.name} = item[{i}];")
        w(f"    a.{p.name} = item[{i}] ? &{p.name} : NULL;")
    elif not p.is_handle:
        w(f"    a.{p.name} = ({p.ctype})item[{i}];")
    elif "serve" in call.words:
        w(f"    a.id_of_{p.name} = item[{i}];")


def emit_in(p, positions, checked, w):
    e = p.extent
    if p.is_bulk:
        emit_bulk_in(p, positions, w)
        return
    present = positions.get((p.name, "present"))
    size = p.element_size
    if e.kind in ("nul", "pairs"):
        at = positions[(p.name, "count")]
        emit_terminated(p, f"item[{at}]", w)
        return
    if e.kind == "one":
        count = "1"
    elif len(e.product) == 1:
        count = count_expression(p, "a.")
    else:
        emit_product(p, w)
        count = f"n_{p.name}"
    if e.max and (count, e.max) not in checked:
        checked.add((count, e.max))
        w(f"    if ({count} > {e.max}) {{\n        return WIRE_MALFORMED;"
          "\n    }")
    get = f"wire_get_array(&r->in, {count}, {size})"
    if present is not None:
        w(f"    a.{p.name} = item[{present}] ? {get} : NULL;")
    else:
        w(f"    a.{p.name} = {get};")


def emit_product(p, w):
    terms = count_expression(p, "a.").split(" * ")
    w(f"    uint64_t n_{p.name} = {terms[0]};")
    for term in terms[1:]:
        w(f"    if (__builtin_mul_overflow(n_{p.name}, {term}, "
          f"&n_{p.name})) {{\n        return WIRE_MALFORMED;\n    }}")


def emit_terminated(p, n, w):
    """A text with its NUL, or pairs with their zero; 0 elements: NULL."""
    size = p.element_size
    too_many = f" || {n} > {p.extent.max}" if p.extent.max else ""
    if p.extent.kind == "pairs":
        too_many = f" || {n} % 2 == 0{too_many}"
    w(f"    a.{p.name} = {n} ? wire_get_array(&r->in, {n}, {size}) : NULL;")
    if p.optional:
        w(f"    if (a.{p.name} && (a.{p.name}[{n} - 1] != 0{too_many})) {{")
    else:
        w(f"    if (!a.{p.name} || a.{p.name}[{n} - 1] != 0{too_many}) {{")
    w("        return WIRE_MALFORMED;\n    }")


def emit_bulk_in(p, positions, w):
    present = positions.get((p.name, "present"))
    if len(p.extent.product) > 1:
        emit_product(p, w)
        count = f"n_{p.name}"
    else:
        count = count_expression(p, "a.")
    lead = ""
    if present is not None:
        w(f"    a.{p.name} = NULL;")
        w(f"    if (item[{present}]) {{")
        lead = "    "
    w(f"{lead}    a.{p.name} = span_in(r, &a.{p.name}_span, {count}, "
      f"{p.element_size});")
    w(f"{lead}    if (!a.{p.name}) {{\n{lead}        return "
      f"WIRE_MALFORMED;\n{lead}    }}")
    if lead:
        w("    }")


def emit_out_array(call, p, positions, w):
    present = positions.get((p.name, "present"))
    if p.is_bulk:
        if len(p.extent.product) > 1:
            emit_product(p, w)
            count = f"n_{p.name}"
        else:
            count = count_expression(p, "a.")
        lead = ""
        if present is not None:
            w(f"    a.{p.name} = NULL;")
            w(f"    if (item[{present}]) {{")
            lead = "    "
        w(f"{lead}    a.{p.name} = span_out(r, &a.{p.name}_span, {count}, "
          f"{p.element_size}, {fixed_before(call, p)});")
        w(f"{lead}    if (!a.{p.name}) {{\n{lead}        return "
          f"WIRE_MALFORMED;\n{lead}    }}")
        if lead:
            w("    }")
        return
    if p.extent.max:
        w(f"    if ({count_expression(p, 'a.')} > {p.extent.max}) {{")
        w("        return WIRE_MALFORMED;\n    }")
    if present is not None:
        w(f"    a.{p.name} = item[{present}] ? {p.name} : NULL;")
    else:
        w(f"    a.{p.name} = {p.name};")


def fixed_before(call, bulk):
    """Bytes of the answer in front of bulk data: all else, at its largest."""
    size = reply_fixed(call) * 8
    for p in reply_arrays(call):
        if p is not bulk:
            size += (out_array_max(p) + 7) & ~7
    return size


def emit_lookups(api, call, w):
    fixed = fixed_items(call)
    for i, (p, what) in enumerate(fixed):
        if what != "value" or p.is_new or not p.is_handle:
            continue
        finder = ("take_object" if "drop" in p.words else
                  "optional_object" if p.optional else "object")
        w(f"    a.{p.name} = {finder}(r, item[{i}], {api.upper}_{p.ctype}, "
          "&err);")
    for p in call.sent:
        if p.is_in and p.is_handle:
            count = ("1" if p.extent.kind == "one"
                     else count_expression(p, "a."))
            w(f"    objects(r, a.{p.name}, {count}, {api.upper}_{p.ctype}, "
              "&err);")
    for p in call.sent:
        if p.by:
            w(f"    check_{call.param(p.by).ctype}(a.{p.by}, &err);")


def emit_make(call, w):
    if call.new:
        w("    a.ret = NULL;")
    w("    if (err == 0) {")
    if "serve" in call.words:
        w("        a.err = 0;" if call.new else "        a.ret = 0;")
        w(f"        serve_{call.name}(r, &a);")
        w("        err = a.err;" if call.new else "        err = a.ret;")
    else:
        retained = emit_retain(call, w) if "blocks" in call.words else []
        args = ", ".join(host_argument(p) for p in call.params)
        target = "a.ret" if call.new else "err"
        w(f"        {target} = {call.name}({args});")
        for line in retained:
            w(f"        {line}")
    w("    }")


def emit_give_back(call, w):
    """
    Bulk data that the guest leaves with us. A call that never waits has used its
    own up; one that may is a command, which uses them later, unless it failed.
    """
    if always_waits(call):
        return
    lead = "" if call.never_waits else "    "
    bulk = [p for p in call.sent if p.is_bulk]
    if bulk and lead:
        w("    if (err != 0) {")
    for p in bulk:
        w(f"{lead}    give_back(a.{p.name}, &a.{p.name}_span);")
    if bulk and lead:
        w("    }")


def host_argument(p):
    if "errcode" in p.words:
        return "&err"
    if not p.sent:
        return "NULL" if p.stars or "callback" in p.words else "0"
    return f"a.{p.name}"


def emit_retain(call, w):
    """Keep the objects while another thread may drop them."""
    after = []
    for p in call.sent:
        if not p.is_handle or p.is_new:
            continue
        if p.is_value:
            w(f"        {p.type.retain}(a.{p.name});")
            after.append(f"{p.type.release}(a.{p.name});")
        elif p.is_in:
            loop = f"for (size_t i = 0; i < {count_expression(p, 'a.')}; i++)"
            if p.optional:
                loop = f"for (size_t i = 0; a.{p.name} && i < " \
                       f"{count_expression(p, 'a.')}; i++)"
            w(f"        {loop} {{")
            w(f"            {p.type.retain}(a.{p.name}[i]);\n        }}")
            after.append(f"{loop} {{\n            "
                         f"{p.type.release}(a.{p.name}[i]);\n        }}")
    w("        session_block_begin(r);")
    return after


def emit_result(api, call, w):
    queue = call.queue
    news = [p for p in call.sent if p.is_new]
    made = [(p.name, p.ctype) for p in news]
    if call.new:
        made.append(("a.ret", call.ret))
    if queue and made:
        # What was made goes again, if what failed before it is to be reported.
        w(f"    if (err == 0) {{")
        w(f"        err = settle(r, a.{queue.name}, err);")
        for name, ctype in made:
            w(f"        if (err != 0 && {name}) {{")
            w(f"            {api.name}_release({api.upper}_{ctype}, "
              f"{name});\n        }}")
        w("    } else {")
        w(f"        settle(r, a.{queue.name}, err);\n    }}")
    elif queue and "drop" not in queue.words:
        w(f"    err = settle(r, a.{queue.name}, err);")
    elif not made:
        w("    err = settle(r, NULL, err);")
    for p in news:
        w(f"    err = enter(r, a.id_of_{p.name}, {api.upper}_{p.ctype}, "
          f"{p.name}, err);")
    if call.new:
        w(f"    err = enter(r, a.id_of_{call.new_name}, "
          f"{api.upper}_{call.ret}, a.ret, err);")


def emit_reply(api, call, w):
    if call.never_waits:
        w("    wire_put(&r->out, (uint64_t)(int64_t)err);")
        return
    w("    wire_put(&r->out, (uint64_t)(int64_t)err);")
    scalars, arrays = reply_scalars(call), reply_arrays(call)
    if not scalars and not arrays:
        return
    w("    if (err != 0) {\n        return WIRE_OK;\n    }")
    for p in scalars:
        if p.is_handle:
            w(f"    put_host_ids(r, &{p.name}, {p.name} ? 1 : 0, "
              f"{api.upper}_{p.ctype});")
        elif p.type.signed:
            w(f"    wire_put(&r->out, (uint64_t)(int64_t){p.name});")
        else:
            w(f"    wire_put(&r->out, {p.name});")
    for p in arrays:
        emit_length(p, w)
    for p in arrays:
        emit_data(api, p, w)


def emit_length(p, w):
    """How much of an array comes back."""
    w(f"    out_{p.name} = {count_expression(p, 'a.')};")
    if p.extent.used:
        w(f"    if ({p.extent.used} < out_{p.name}) {{")
        w(f"        out_{p.name} = {p.extent.used};\n    }}")
    nothing = [f"!a.{p.name}"] if p.optional else []
    nothing += [f"a.{p.name}_span.blob"] if p.is_late else []
    if nothing:
        w(f"    if ({' || '.join(nothing)}) {{")
        w(f"        out_{p.name} = 0;\n    }}")
    size = "" if p.element_size == 1 else f" * {p.element_size}"
    w(f"    wire_put(&r->out, out_{p.name}{size});")


def emit_data(api, p, w):
    size = "" if p.element_size == 1 else f" * {p.element_size}"
    if p.is_handle:
        w(f"    put_host_ids(r, {p.name}, out_{p.name}, "
          f"{api.upper}_{p.ctype});")
    elif not p.is_bulk:
        w(f"    wire_put_bytes(&r->out, {p.name}, out_{p.name}{size});")
    else:
        w(f"    put_in_place(r, a.{p.name}, &a.{p.name}_span, "
          f"out_{p.name}{size});")


def emit_dispatch(api, w):
    w("static enum wire_status (*const makers[])(struct request *r) = {")
    for call in sorted(api.calls, key=lambda c: c.number):
        w(f"    [{api.upper}_{call.name}] = make_{call.name},")
    w("};\n")
    w(f"enum wire_status {api.name}_serve(struct request *r)\n{{")
    w(f"    if (r->header.call >= {api.upper}_CALLS || "
      "!makers[r->header.call]) {")
    w("        return WIRE_UNKNOWN;\n    }")
    w("    return makers[r->header.call](r);\n}")
