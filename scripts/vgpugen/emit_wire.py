# SPDX-License-Identifier: MIT
"""API_wire.h: the numbers that both ends agree on."""

from .cgen import head
from .model import Scalar, Struct


def emit(api):
    guard = f"{api.upper}_WIRE_H"
    w = head(api, f"The numbers of {api.name}'s calls, handle types and "
             "information.", [])
    w(f"#ifndef {guard}\n#define {guard}\n")
    w("#include <assert.h>\n#include <stddef.h>\n#include <stdint.h>\n")
    for header in api.headers:
        w(f"#include {header}")
    w(f"\nenum {api.name}_call {{")
    for call in sorted(api.calls, key=lambda c: c.number):
        w(f"    {api.upper}_{call.name} = {call.number:#04x},")
    most = max((c.number for c in api.calls), default=0)
    w(f"    {api.upper}_CALLS = {most + 1:#04x},\n}};\n")
    w("/* Types in the table of handles. */")
    w(f"enum {api.name}_type {{")
    for h in api.handles:
        w(f"    {api.upper}_{h.name} = {h.number},")
    w(f"    {api.upper}_TYPES = {len(api.handles) + 1},\n}};\n")
    emit_infos(api, w)
    w("/* What crosses the wire as it lies in memory. */")
    w('static_assert(sizeof(size_t) == 8, "items have 64 bits");')
    for t in api.types.values():
        if isinstance(t, (Scalar, Struct)):
            w(f'static_assert(sizeof({t.name}) == {t.size}, "{t.name}");')
    w("\n#endif")
    return w.text()


def emit_infos(api, w):
    if not api.infos:
        return
    w("/*\n * What may be asked for: X(name, type of an element, 1 if it is "
      "an array or 0,\n * 1 if the shim answers it itself or 0).\n */")
    for info in api.infos.values():
        w(f"#define {api.upper}_{info.type.upper()}(X) \\")
        for i, e in enumerate(info.entries):
            end = " \\" if i + 1 < len(info.entries) else ""
            # As it stands: a macro has no lines to be wrapped at.
            w.lines.append(f"    X({e.name}, {e.type}, {int(e.array)}, "
                           f"{int(e.local)}){end}")
        w()
