# SPDX-License-Identifier: MIT
"""API_print.h and API_print.c: the tables by which api/print.c prints."""

from .cgen import fixed_items, head
from .model import Scalar


def emit_header(api):
    guard = f"{api.upper}_PRINT_H"
    w = head(api, f"{api.name}'s calls as text; see print.h.", [])
    w(f'#ifndef {guard}\n#define {guard}\n\n#include "print.h"\n')
    w(f"/** {api.name}_print: the call @call with the payload @in, as one "
      "line on @f. */")
    w(f"void {api.name}_print(FILE *f, uint16_t call, struct wire_in in);")
    w("\n#endif")
    return w.text()


def emit_source(api):
    w = head(api, f"{api.name}'s calls as text.",
             ["<inttypes.h>", "", f'"{api.name}_print.h"',
              f'"{api.name}_wire.h"'])
    for call in api.calls:
        emit_params(call, w)
    w("static const struct print_call calls[] = {")
    for call in sorted(api.calls, key=lambda c: c.number):
        params = len(printed(call))
        table = f"params_{call.name}" if params else "NULL"
        w(f"    [{api.upper}_{call.name}] = {{ \"{call.name}\", "
          f"{len(fixed_items(call))}, {params}, {table} }},")
    w("};\n")
    w(f"void {api.name}_print(FILE *f, uint16_t call, struct wire_in in)\n{{")
    w(f"    if (call >= {api.upper}_CALLS || !calls[call].name) {{")
    w(f'        fprintf(f, "{api.name} call %#" PRIx16 "\\n", call);')
    w("        return;\n    }")
    w("    print_call(f, &calls[call], in);\n}")
    return w.text()


def printed(call):
    return [p for p in call.sent if p.name not in call.used_names and
            (not p.is_out_scalar and not (p.is_out_array and not p.is_bulk)
             or p.optional)] + ([None] if call.new else [])


def emit_params(call, w):
    if not printed(call):
        return
    positions = {}
    for i, (p, what) in enumerate(fixed_items(call)):
        positions[(p.name if p else "", what)] = i
    w(f"static const struct print_param params_{call.name}[] = {{")
    for p in printed(call):
        w(f"    {{ {', '.join(param_fields(call, p, positions))} }},")
    w("};\n")


def param_fields(call, p, positions):
    if p is None:
        at = positions["", "new"]
        return [f'"{call.new_name}"', ".kind = PRINT_ID", f".item = {at}",
                ".present = -1"]
    kind, item = kind_of(p, positions)
    fields = [f'"{p.name}"', f".kind = {kind}", f".item = {item}",
              f".present = {positions.get((p.name, 'present'), -1)}"]
    if not p.is_in or p.is_bulk:
        return fields
    fields += [f".element = {element_of(p)}", f".size = {p.element_size}"]
    if p.extent.kind in ("nul", "pairs"):
        return fields
    factor, counts = 1, []
    for term in p.extent.product:
        if isinstance(term, int):
            factor *= term
        else:
            counts.append(str(positions[term, "value"]))
    counts += ["-1"] * (2 - len(counts))
    return fields + [f".factor = {factor}",
                     f".counts = {{ {', '.join(counts)} }}"]


def kind_of(p, positions):
    if p.is_new or p.is_value and p.is_handle:
        return "PRINT_ID", positions[p.name, "value"]
    if p.is_value:
        return ("PRINT_SIGNED" if p.type.signed else "PRINT_UNSIGNED",
                positions[p.name, "value"])
    if p.is_bulk:
        return ("PRINT_BULK" if p.is_in else "PRINT_PLACE",
                positions[p.name, "blob"])
    if p.is_in and p.extent.kind in ("nul", "pairs"):
        return ("PRINT_TEXT" if p.extent.kind == "nul" else "PRINT_LIST",
                positions[p.name, "count"])
    return ("PRINT_ARRAY" if p.is_in else "PRINT_WANTED"), -1


def element_of(p):
    if p.is_handle:
        return "PRINT_ID_ELEMENT"
    if isinstance(p.type, Scalar) and p.type.size > 1:
        return ("PRINT_SIGNED_ELEMENT" if p.type.signed
                else "PRINT_UNSIGNED_ELEMENT")
    return "PRINT_BYTES"
