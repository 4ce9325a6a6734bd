# SPDX-License-Identifier: MIT
"""API_calls.py: what tests in Python need to make every call.

The generated module is a table and the few functions of stubs.py, which is
copied in front of it: it needs nothing but Python.
"""

import os
import pprint

from .cgen import fixed_items, reply_arrays, reply_scalars
from .model import Scalar


def emit(api):
    with open(os.path.join(os.path.dirname(__file__), "stubs.py"),
              encoding="utf-8") as f:
        runtime = f.read()
    calls = {c.name: describe(c) for c in api.calls}
    types = {h.name: h.number for h in api.handles}
    return (runtime.rstrip("\n") + f"\n\n\n# Made by scripts/vgpu-gen from "
            f"{api.name}.api.\nAPI = {api.number}\n"
            f"TYPES = {pprint.pformat(types, sort_dicts=False)}\n"
            f"CALLS = {pprint.pformat(calls, sort_dicts=False)}\n")


def describe(call):
    items = []
    for p, what in fixed_items(call):
        if what in ("offset", "size"):
            continue    # of the span that "blob" starts
        items.append((p.name if p else call.new_name,
                      "span" if what == "blob" else
                      "signed" if what == "value" and is_signed(p) else what))
    return {
        "number": call.number,
        "items": items,
        "arrays": [(p.name, p.element_size, p.is_bulk, is_signed(p))
                   for p in call.sent if p.is_in],
        "scalars": [(p.name, is_signed(p)) for p in reply_scalars(call)],
        "outputs": [(p.name, p.element_size) for p in reply_arrays(call)],
    }


def is_signed(p):
    return isinstance(p.type, Scalar) and p.type.signed
