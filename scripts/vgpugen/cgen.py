# SPDX-License-Identifier: MIT
"""Small helpers for writing C that reads as if written by hand."""

import re
import textwrap

from .model import Scalar

WIDTH = 79


class Writer:
    """Collects lines; wraps those that are too long at their commas."""

    def __init__(self):
        self.lines = []

    def __call__(self, text="", indent=0):
        for line in text.split("\n"):
            line = "    " * indent + line if line else line
            self.lines.extend(wrap(line))

    def block(self, text):
        """A text as it stands."""
        self.lines.extend(textwrap.dedent(text).strip("\n").split("\n"))

    def text(self):
        return "\n".join(self.lines).rstrip("\n") + "\n"


BREAKS = re.compile(r"(?<=,) |(?<= \|\|) |(?<= &&) |(?<= \|) |(?= \? )|(?= : )|(?<= <) ")


def wrap(line):
    """Break @line after commas or operators, aligned after its '('."""
    if (len(line) <= WIDTH or "/*" in line or line.endswith("\\") or
            line.startswith(("#", " *"))):
        return [line]
    lead = len(line) - len(line.lstrip())
    opening = line.find("(")
    column = opening + 1 if 0 <= opening <= 48 else lead + 4
    pieces = BREAKS.split(line[lead:])
    lines, current = [], " " * lead + pieces[0]
    for piece in pieces[1:]:
        if len(current) + 1 + len(piece.strip()) > WIDTH:
            lines.append(current)
            current = " " * column + piece.strip()
        else:
            current += " " + piece.strip()
    return lines + [current]


def signature(ret, name, params):
    """A function's head, broken at its commas."""
    space = "" if ret.endswith("*") else " "
    line = f"{ret}{space}{name}({', '.join(params) or 'void'})"
    if len(line) <= WIDTH:
        return line
    lead = f"{ret}{space}{name}("
    column = len(lead) if len(lead) <= 44 else 8
    if max(len(param) for param in params) + column >= WIDTH:
        column = 8
    lines, current = [], lead
    for i, param in enumerate(params):
        piece = param + (", " if i + 1 < len(params) else ")")
        if (current.strip() and current != lead and
                len((current + piece).rstrip()) > WIDTH):
            lines.append(current.rstrip())
            current = " " * column
        current += piece
    lines.append(current)
    return "\n".join(lines)


def pointer(ctype, stars, name, const=False):
    return ("const " if const else "") + f"{ctype} {'*' * stars}{name}"


def head(api, what, includes):
    """What every generated file starts with."""
    w = Writer()
    w(f"/*\n * {what}\n *")
    w(f" * Made by scripts/vgpu-gen from {api.name}.api.\n *")
    w(" * SPDX-License-Identifier: MIT\n */")
    for include in includes:
        w(f"#include {include}" if include else "")
    if includes:
        w()
    return w


def as_item(expression, t):
    """@expression of type @t as the 64-bit item that crosses the wire."""
    if isinstance(t, Scalar) and t.signed and t.size < 8:
        return f"(uint64_t)(int64_t){expression}"
    if isinstance(t, Scalar) and t.signed:
        return f"(uint64_t){expression}"
    return expression


def count_expression(p, prefix=""):
    """The number of elements that the extent of @p says, unchecked."""
    return " * ".join(str(n) if isinstance(n, int) else prefix + n
                      for n in p.extent.product)


def fixed_items(call):
    """The items of the fixed part, in order: (parameter, what)."""
    items = []
    for p in call.sent:
        if p.is_value or p.is_new:
            items.append((p, "value"))
            continue
        if p.name in call.used_names:
            continue
        if p.is_in and p.extent.kind in ("nul", "pairs"):
            items.append((p, "count"))
            continue
        if p.optional:
            items.append((p, "present"))
        if p.is_bulk:
            items += [(p, "blob"), (p, "offset"), (p, "size")]
    if call.new:
        items.append((None, "new"))
    return items


def reply_scalars(call):
    return [p for p in call.sent if p.is_out_scalar]


def reply_arrays(call):
    """Output arrays in the order in which they come back: bulk data last."""
    arrays = [p for p in call.sent if p.is_out_array]
    return ([p for p in arrays if not p.is_bulk] +
            [p for p in arrays if p.is_bulk])


def reply_fixed(call):
    """Items in front of the arrays of an answer."""
    return 1 + len(reply_scalars(call)) + len(reply_arrays(call))
