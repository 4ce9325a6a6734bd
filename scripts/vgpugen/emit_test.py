# SPDX-License-Identifier: MIT
"""API_wire_test.c and API_fakes.c: every call goes from its caller through its
decoder to a fake of the host, which compares what arrives with what was
sent. tests/api/wire_test.c says how they are used."""

from .cgen import head, signature
from .samples import (byte_count, count, needs_object, scalar, variants)

ANSWER = "0x51"     # the scalar outputs are this and what follows it


def emit_fakes(api):
    w = head(api, f"A host that makes none of {api.name}'s calls, but looks at "
             "their arguments.",
             [f'"{api.name}_serve.h"', '"wire_fake.h"'])
    made = set()
    for call in api.calls:
        emit_fake(api, call, w)
        if "serve" not in call.words:
            made.add(call.name)
    for h in api.handles:
        for name in (h.retain, h.release):
            if name and name not in made:
                made.add(name)
                w(f"{api.error} {name}({h.name} object)\n{{")
                w("    return 0;\n}\n")
    return w.text()


def emit_fake(api, call, w):
    by_hand = "serve" in call.words
    pre = "a->" if by_hand else ""
    if by_hand:
        w(signature("void", f"serve_{call.name}",
                    ["struct request *r", f"struct {call.name}_args *a"]))
    else:
        w(signature(call.ret, call.name, [p.prototype for p in call.params]))
    w("{")
    w(f'    bool check = fake_called("{call.name}");\n')
    w("    if (check) {")
    for p in call.params:
        emit_expect(api, call, p, pre, w)
    w("    }")
    for p in call.sent:
        emit_touch(p, pre, w)
    emit_outputs(api, call, pre, w)
    emit_return(api, call, by_hand, w)
    w("}\n")


def emit_expect(api, call, p, pre, w):
    name = pre + p.name
    if not p.sent:
        if not pre and "errcode" not in p.words:
            w(f"        EXPECT(!{name});")
        return
    if p.is_new:
        w(f"        EXPECT({name}{' || fake.bare' if p.optional else ''});")
        return
    if p.is_value and p.is_handle:
        value = f"sample_object({api.upper}_{p.ctype}, 0)"
        if p.optional:
            value = f"(fake.bare ? NULL : {value})"
        w(f"        EXPECT({name} == {value});")
    elif p.is_value:
        emit_expect_scalar(api, call, p, name, w)
    elif p.is_in:
        emit_expect_array(api, call, p, name, w)
    elif p.optional and p.name not in call.used_names:
        w(f"        EXPECT(!{name} == fake.bare);")
    else:
        w(f"        EXPECT({name});")


def emit_expect_scalar(api, call, p, name, w):
    small = scalar(api, call, p, "FULL")
    large = scalar(api, call, p, "LARGE")
    if small == large:
        w(f"        EXPECT({name} == ({p.ctype}){small});")
    else:
        w(f"        EXPECT({name} == (fake.large ? {large} : {small}));")


def emit_expect_array(api, call, p, name, w):
    indent = "        "
    if p.optional:
        w(f"        if (fake.bare) {{\n            EXPECT(!{name});")
        w("        } else {")
        indent = "            "
    n = count(api, call, p, "FULL")
    size = byte_count(api, call, p, "FULL")
    large = byte_count(api, call, p, "LARGE")
    if p.is_handle:
        w(f"{indent}EXPECT(are_objects({name}, {n}, {api.upper}_{p.ctype}));")
    elif p.extent.kind == "nul":
        w(f'{indent}EXPECT({name} && !strcmp({name}, "{p.name}"));')
    elif p.extent.kind == "pairs":
        w(f"{indent}EXPECT(is_sample_list({name}, {n}));")
    elif size == large:
        w(f"{indent}EXPECT(is_sample({name}, {size}));")
    else:
        w(f"{indent}EXPECT(is_sample({name}, fake.large ? {large} : {size}));")
    if p.optional:
        w("        }")


def extent_of(p, pre):
    """Bytes behind @p by the arguments that arrived."""
    terms = [str(t) if isinstance(t, int) else pre + t
             for t in p.extent.product] or ["1"]
    if p.element_size != 1:
        terms.append(str(p.element_size))
    return " * ".join(terms)


def emit_touch(p, pre, w):
    """Under ASan: all that was promised is there."""
    name = pre + p.name
    if p.is_in and p.extent.kind in ("one", "product"):
        w(f"    touch({name}, {extent_of(p, pre)});")
    elif p.is_in and p.extent.kind == "pairs":
        w(f"    touch_pairs({name});")
    elif p.is_in and p.extent.kind == "nul":
        w(f"    touch({name}, {name} ? strlen({name}) + 1 : 0);")
    elif p.is_out_array and not p.is_handle:
        w(f"    fill({name}, {extent_of(p, pre)});")


def emit_outputs(api, call, pre, w):
    i = 0
    for p in call.sent:
        name = pre + p.name
        if p.is_out_array and p.is_handle:
            cap = extent_of(p, pre).rsplit(" * ", 1)[0]
            w(f"    for (size_t i = 0; {name} && i < {cap}; i++) {{")
            w(f"        {name}[i] = sample_host_object(i);\n    }}")
        if p.is_new:
            w(f"    if ({name} && !fake.fail) {{")
            w(f"        *{name} = sample_new({api.upper}_{p.ctype});\n    }}")
        elif p.is_out_scalar and p.name in call.used_names:
            array = next(q for q in call.sent if q.extent.used == p.name)
            cap = " * ".join(str(t) if isinstance(t, int) else pre + t
                             for t in array.extent.product)
            w(f"    if ({name}) {{\n        *{name} = {cap};\n    }}")
        elif p.is_out_scalar:
            w(f"    if ({name}) {{")
            w(f"        *{name} = {ANSWER} + {i};\n    }}")
            i += 1


def emit_return(api, call, by_hand, w):
    new = (f"fake.fail ? NULL : sample_new({api.upper}_{call.ret})"
           if call.new else "")
    if by_hand and call.new:
        w("    a->err = fake.fail;")
        w(f"    a->ret = {new};")
    elif by_hand:
        w("    a->ret = fake.fail;")
    elif call.new:
        w("    if (errcode_ret) {\n        *errcode_ret = fake.fail;\n    }")
        w(f"    return {new};")
    else:
        w("    return fake.fail;")


# -- the guest's end -----------------------------------------------------------

def emit_test(api):
    w = head(api, f"Every one of {api.name}'s calls, made once in each of its "
             "shapes.",
             [f'"{api.name}_call.h"', '"wire_fake.h"'])
    for call in api.calls:
        emit_call(api, call, w)
    w("const struct wire_test wire_tests[] = {")
    for call in api.calls:
        shapes = " | ".join("SHAPE_" + v for v in variants(call))
        flags = ["true" if needs_object(call) else "false",
                 "true" if call.never_waits else "false",
                 f"{api.upper}_{call.ret}" if call.new else
                 next((f"{api.upper}_{p.ctype}" for p in call.sent
                       if p.is_new), "0")]
        w(f"    {{ \"{call.name}\", {api.upper}_{call.name}, "
          f"test_{call.name},")
        w(f"      {shapes}, {', '.join(flags)} }},")
    w("    { 0 },\n};")
    return w.text()


def emit_call(api, call, w):
    w(f"static {api.error} test_{call.name}(void)\n{{")
    args = ["&fake_session"]
    checks = []
    i = 0
    for p in call.sent:
        if p.is_out_scalar:
            ctype = "uint64_t" if p.is_handle else p.ctype
            w(f"    {ctype} {p.name} = 0;")
            pointer = (f"fake.bare ? NULL : &{p.name}" if p.optional
                       else f"&{p.name}")
            args.append(pointer)
            if p.name in call.used_names:
                array = next(q for q in call.sent if q.extent.used == p.name)
                value = by_size(api, call, array, count)
            elif p.is_handle:
                continue
            else:
                value = f"{ANSWER} + {i}"
                i += 1
            absent = "fake.bare || " if p.optional else ""
            checks.append(f"EXPECT({absent}{p.name} == ({ctype})({value}));")
            continue
        args += arguments(api, call, p, w, checks)
    if call.new:
        args.append(f"NEW_ID")
    w(f"    {api.error} err;\n")
    w(f"    err = call_{call.name}({', '.join(args)});")
    if checks:
        w("    if (err == 0) {")
        for check in checks:
            w(f"        {check}")
        w("    }")
    w("    return err;\n}\n")


def by_size(api, call, p, function):
    small = function(api, call, p, "FULL")
    large = function(api, call, p, "LARGE")
    return small if small == large else f"fake.large ? {large} : {small}"


def arguments(api, call, p, w, checks):
    """What the caller gets for @p."""
    bare = "fake.bare ? NULL : " if p.optional else ""
    if p.is_new:
        return ["fake.bare ? 0 : NEW_ID" if p.optional else "NEW_ID"]
    if p.is_value and p.is_handle:
        bare = "fake.bare ? 0 : " if p.optional else ""
        return [f"{bare}sample_id({api.upper}_{p.ctype}, 0)"]
    if p.is_value:
        small = scalar(api, call, p, "FULL")
        large = scalar(api, call, p, "LARGE")
        return [small if small == large
                else f"fake.large ? {large} : {small}"]
    if p.is_in:
        return [bare + input_argument(api, call, p)]
    w(f"    static uint8_t {p.name}[{byte_count(api, call, p, 'LARGE')}];")
    size = by_size(api, call, p, byte_count)
    absent = "fake.bare || " if p.optional else ""
    if p.is_handle:
        checks.append(f"EXPECT({absent}are_host_ids({p.name}, "
                      f"{count(api, call, p, 'FULL')}));")
    else:
        checks.append(f"EXPECT({absent}is_filled({p.name}, {size}));")
    args = [f"{bare}(void *){p.name}"]
    if p.is_late:
        args.append("fake.large ? fake_span("
                    f"{byte_count(api, call, p, 'LARGE')}) : NULL")
        checks[-1] = (f"EXPECT(is_filled(fake.large ? fake_blob : {p.name}, "
                      f"{size}));")
    return args


def input_argument(api, call, p):
    n = count(api, call, p, "FULL")
    if p.is_handle:
        return f"sample_ids({n}, {api.upper}_{p.ctype})"
    if p.extent.kind == "nul":
        return f'"{p.name}"'
    if p.extent.kind == "pairs":
        return f"sample_list({n})"
    return f"sample({by_size(api, call, p, byte_count)})"
