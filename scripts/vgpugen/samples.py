# SPDX-License-Identifier: MIT
"""Sample arguments for every call: what the generated tests send, what the fakes
of the host expect to get, and what the fuzzer starts from. Both ends compute
the same, so that nothing has to be stored."""

from .model import Scalar

SMALL, LARGE = 5, 6000     # bytes of bulk data: inline, and by shared memory
COUNT = 3                  # elements of an array
PAIRS = 5                  # two pairs and the 0 that ends them


def bulk_terms(call):
    """Parameters that count nothing but bulk data."""
    plain = {t for p in call.sent if not p.is_bulk for t in p.extent.product}
    return {t for p in call.sent if p.is_bulk for t in p.extent.product
            if isinstance(t, str)} - plain


def in_condition(call, p):
    words = " ".join([q.when for q in call.sent] + [call.wait])
    return p.name in words.replace("(", " ").replace(")", " ").split()


def scalar(api, call, p, variant):
    """The value of the scalar @p as a C expression."""
    i = call.params.index(p)
    if any(q.by == p.name for q in call.sent):
        info = api.infos[p.ctype]
        return next(e.name for e in info.entries if not e.local)
    if p.name in bulk_terms(call):
        return str(LARGE if variant == "LARGE" else SMALL)
    for q in call.sent:
        if p.name in q.extent.product:
            return str(min(COUNT, q.extent.max or COUNT))
    if in_condition(call, p):
        return "255" if p.type.size == 8 else "1"
    if p.type.signed:
        return str(-2 - i)
    if p.type.size == 8:
        return hex(0x1234500000000 + i)
    return hex(0x1000 + i)


def has_bulk(call):
    return any(p.is_bulk for p in call.sent)


def has_optional(call):
    return any(p.optional or p.is_new and p.optional for p in call.sent)


def variants(call):
    return (["FULL"] + (["LARGE"] if has_bulk(call) else []) +
            (["BARE"] if has_optional(call) else []))


def count(api, call, p, variant):
    """The number of elements behind @p, as a C expression."""
    if p.extent.kind == "one":
        return "1"
    if p.extent.kind == "pairs":
        return str(PAIRS)
    if p.extent.kind == "nul":
        return f'sizeof("{p.name}")'
    return " * ".join(str(t) if isinstance(t, int)
                      else scalar(api, call, call.param(t), variant)
                      for t in p.extent.product)


def byte_count(api, call, p, variant):
    n = count(api, call, p, variant)
    return n if p.element_size == 1 else f"{n} * {p.element_size}"


def needs_object(call):
    """Whether the call is refused if no handle is live."""
    return any(p.is_handle and p.is_value and "drop" not in p.words or
               p.is_handle and p.is_in for p in call.sent)


def is_signed(p):
    return isinstance(p.type, Scalar) and p.type.signed
