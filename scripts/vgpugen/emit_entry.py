# SPDX-License-Identifier: MIT
"""API_entry.[ch]: the shim's public functions that can be derived, the table of
all of them for the ICD loader, and API_proto_check.c, which compares every
prototype in the description with the one in the API's own header."""

from .cgen import count_expression, head, signature
from .model import Handle

PARAM_ERROR = "CL_INVALID_VALUE"
MEMORY_ERROR = "CL_OUT_OF_HOST_MEMORY"

HELPERS = '''
/* The ids for an array of handles; without memory while they are few. */
struct ids {
    uint64_t few[16];
    uint64_t *all;
};

static bool ids_begin(struct ids *ids, cl_uint n)
{
    ids->all = ids->few;
    if (n > sizeof(ids->few) / sizeof(ids->few[0])) {
        ids->all = calloc(n, sizeof(uint64_t));
    }
    return ids->all != NULL;
}

static void ids_end(struct ids *ids)
{
    if (ids->all != ids->few) {
        free(ids->all);
    }
}

static struct session *session_of(const void *handle)
{
    return ((const struct cl_object *)handle)->session;
}
'''

LOOK_UP = '''
/* The ids of the @n handles of @type at @handles, all of them live ones. */
static {error} look_up(struct ids *ids, cl_uint n, void *const *handles,
                      enum {n}_type type)
{{
    for (cl_uint i = 0; i < n; i++) {{
        ids->all[i] = cl_id_of(handles[i], type);
        if (!ids->all[i]) {{
            return cl_invalid(type);
        }}
    }}
    return CL_SUCCESS;
}}
'''


def generated_calls(api):
    return [c for c in api.calls
            if not c.wire_only and "entry" not in c.words]


def public_names(api):
    """Every function that a program may call, in the order of the file."""
    by_name = set(api.found_by_name)
    return [item.name for kind, item in api.order
            if item.name not in by_name and kind in ("refused", "custom") or
            item.name not in by_name and kind == "call" and
            not item.wire_only]


def emit_header(api):
    guard = f"{api.upper}_ENTRY_H"
    w = head(api, f"{api.name}'s public functions: those that the shim "
             "exports, and the table in which the\n * ICD loader finds "
             "them.", [])
    w(f"#ifndef {guard}\n#define {guard}\n\n#include <CL/cl_icd.h>\n")
    w(f'#include "{api.name}_wire.h"\n')
    w(f"extern const cl_icd_dispatch {api.name}_dispatch;\n")
    w("/* Visible to the program, whatever the default of this build. */")
    w("#define PUBLIC(f) extern __typeof__(f) f "
      "__attribute__((visibility(\"default\")))")
    for name in public_names(api):
        w(f"PUBLIC({name});")
    w("#undef PUBLIC\n")
    if api.found_by_name:
        w("/* Functions that are only found by name: X(name). */")
        w(f"#define {api.upper}_BY_NAME(X) \\")
        for i, name in enumerate(api.found_by_name):
            end = " \\" if i + 1 < len(api.found_by_name) else "\n"
            w(f"    X({name}){end}")
    checks = [c for c in generated_calls(api) if "check" in c.words]
    if checks:
        w("/* --- written by hand: what else is wrong with the arguments, "
          "or 0 ------- */\n")
    for call in checks:
        w(signature(api.error, f"check_{call.name}", c_params(call)) + ";")
    w("\n#endif")
    return w.text()


def emit_dispatch(api):
    w = head(api, f"The table in which the ICD loader finds {api.name}'s "
             "functions.", [f'"{api.name}_entry.h"'])
    w("/* All of the loader's table is accounted for. */")
    count = len(public_names(api)) + len(api.absents)
    w("static_assert(sizeof(cl_icd_dispatch) == "
      f"{count} * sizeof(void *),\n"
      "              \"the ICD loader knows more functions, or fewer\");\n")
    w(f"const cl_icd_dispatch {api.name}_dispatch = {{")
    for name in public_names(api):
        w(f"    .{name} = {name},")
    w("};")
    return w.text()


def emit_proto_check(api):
    w = head(api, f"Compiles only if the prototypes in {api.name}.api are "
             "those of the API's headers.", api.headers)
    for kind, item in api.order:
        if kind == "refused":
            w(signature(item.ret, item.name, c_params(item)) + ";")
        elif kind == "call" and not item.wire_only:
            w(signature(item.ret, item.name, c_params(item)) + ";")
    for info in api.infos.values():
        w(f"\n{info.type} {info.type}_names[] = {{")
        for e in info.entries:
            w(f"    {e.name},")
        w("};")
    return w.text()


def c_params(item):
    return [p.prototype for p in item.params]


def emit_source(api):
    w = head(api, f"{api.name}'s public functions that need no more than "
             "checks of their handles, and\n * those that are refused.",
             ["<stdlib.h>", "", f'"{api.name}_call.h"',
              f'"{api.name}_entry.h"', '"object.h"'])
    calls = generated_calls(api)
    if calls:
        w.block(HELPERS)
        w()
    if any(is_list(p) for c in calls for p in c.sent):
        w.block(LOOK_UP.format(error=api.error, n=api.name))
        w()
    for call in calls:
        emit_call(api, call, w)
    for refused in api.refusals:
        emit_refused(api, refused, w)
    return w.text()


def is_wait_list(p):
    return (p.is_in and p.is_array and p.is_handle and p.optional and
            p.ctype == "cl_event")


def is_list(p):
    return p.is_in and p.is_array and p.is_handle and not is_wait_list(p)


def emit_call(api, call, w):
    handles = [p for p in call.sent if p.is_value and p.is_handle]
    lists = [p for p in call.sent if is_wait_list(p) or is_list(p)]
    events = [p for p in call.sent if p.is_new]
    queue = call.queue
    anchor = next(p for p in handles if not p.optional)

    w(signature(call.ret, call.name,
                c_params(call)))
    w("{")
    for p in handles:
        w(f"    uint64_t id_{p.name} = cl_id_of({p.name}, "
          f"{api.upper}_{p.ctype});")
    for p in lists:
        w(f"    struct ids ids_{p.name};")
    for p in events:
        w(f"    uint64_t id_{p.name};")
    if lists or events or "check" in call.words:
        w(f"    {api.error} err = CL_SUCCESS;")
    w()
    for p in handles:
        missing = f"!id_{p.name}"
        if p.optional:
            missing = f"{p.name} && {missing}"
        w(f"    if ({missing}) {{")
        w(f"        return cl_invalid({api.upper}_{p.ctype});\n    }}")
    emit_null_checks(call, w)
    if "check" in call.words:
        names = ", ".join(p.name for p in call.params)
        w(f"    err = check_{call.name}({names});")
        w("    if (err) {\n        return err;\n    }")
    emit_body(api, call, lists, events, queue, anchor, w)
    w("}\n")


def emit_null_checks(call, w):
    nulls = [p.name for p in call.params if "null" in p.words]
    for p in call.sent:
        if p.is_value or p.optional:
            continue
        nulls.append(f"!{p.name}")
        if is_list(p) and len(p.extent.product) == 1:
            nulls.append(f"!{p.extent.product[0]}")
    if nulls:
        w(f"    if ({' || '.join(nulls)}) {{")
        w(f"        return {PARAM_ERROR};\n    }}")


def emit_body(api, call, lists, events, queue, anchor, w):
    make = f"call_{call.name}({', '.join(call_args(call, lists, anchor))})"
    if not lists and not events:
        w(f"    return {make};")
        return
    emit_lists(api, lists, queue, w)
    for p in events:
        w(f"    id_{p.name} = cl_event_begin({queue.name}, {call.command}, "
          f"{p.name});")
        w(f"    if ({p.name} && !id_{p.name}) {{")
        if lists:
            w(f"        err = {MEMORY_ERROR};\n        goto out;\n    }}")
        else:
            w(f"        return {MEMORY_ERROR};\n    }}")
    w(f"    err = {make};")
    for p in events:
        w(f"    cl_event_end({queue.name}, id_{p.name}, {p.name}, err);")
    if lists:
        w("out:")
    for p in lists:
        w(f"    ids_end(&ids_{p.name});")
    w("    return err;")


def call_args(call, lists, anchor):
    """What the caller gets, once all ids are known."""
    args = [f"session_of({anchor.name})"]
    for p in call.sent:
        if p in lists:
            ids = f"ids_{p.name}.all"
            args.append(f"{p.name} ? {ids} : NULL" if p.optional else ids)
        elif p.is_new or p.is_value and p.is_handle:
            args.append(f"id_{p.name}")
        else:
            args.append(p.name)
    return args


def emit_lists(api, lists, queue, w):
    """Room for the ids of all lists, and then the ids."""
    for i, p in enumerate(lists):
        w(f"    if (!ids_begin(&ids_{p.name}, {count_expression(p)})) {{")
        for q in lists[:i]:
            w(f"        ids_end(&ids_{q.name});")
        w(f"        return {MEMORY_ERROR};\n    }}")
    for i, p in enumerate(lists):
        count = count_expression(p)
        if is_wait_list(p):
            text = (f"err = cl_wait_list({queue.name}, {count}, {p.name}, "
                    f"ids_{p.name}.all);")
        else:
            text = (f"err = look_up(&ids_{p.name}, {count}, "
                    f"(void *const *){p.name}, {api.upper}_{p.ctype});")
        if i:
            w(f"    if (err == CL_SUCCESS) {{\n        {text}\n    }}")
        else:
            w(f"    {text}")
    if lists:
        w("    if (err != CL_SUCCESS) {\n        goto out;\n    }")


def emit_refused(api, refused, w):
    for line in refused.doc:
        w(f"/* {line} */")
    w(signature(refused.ret, refused.name, c_params(refused)))
    w("{")
    error = refused.error
    first = refused.params[0] if refused.params else None
    if first and not first.stars and \
            isinstance(api.types.get(first.ctype), Handle):
        of_type = f"{api.upper}_{first.ctype}"
        w(f"    {api.error} err = cl_live({first.name}, {of_type}) ? {error} "
          f": cl_invalid({of_type});\n")
        error = "err"
    last = refused.params[-1] if refused.params else None
    if refused.ret == api.error:
        w(f"    return {error};")
    elif last and last.name == "errcode_ret":
        w("    if (errcode_ret) {")
        w(f"        *errcode_ret = {error};\n    }}\n    return NULL;")
    elif refused.ret != "void":
        w("    return NULL;")
    w("}\n")
