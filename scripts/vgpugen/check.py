# SPDX-License-Identifier: MIT
"""Refuses descriptions that the wire cannot carry, and resolves their types.

Each check has a test in tests/api/test_refusals.py.
"""

from .model import DescriptionError, Handle, Scalar

REPLY_SIZE = 4096   # RING_REPLY_SIZE of api/ring.h
STACK_MAX = 2048    # bytes of an output that a server keeps on its stack


def refuse(where, text):
    raise DescriptionError(where, text)


def check(api):
    if not api.name:
        refuse(f"{api.source}:1", "the file must start with 'api NAME "
               "NUMBER <HEADER> error TYPE lost ERROR;'")
    if not isinstance(api.types.get(api.error), Scalar):
        refuse(f"{api.source}:1", f"the error type '{api.error}' is not "
               "declared; say 'scalar i32 " + api.error + ";'")
    check_infos(api)
    check_unique(api)
    for call in api.calls:
        check_call(api, call)
    return api


def check_unique(api):
    names, numbers = {}, {}
    for _, item in api.order:
        if item.name in names:
            refuse(item.where, f"{item.name} is described a second time; "
                   f"the first is at {names[item.name]}")
        names[item.name] = item.where
    for call in api.calls:
        if not 0 < call.number < 0x1000:
            refuse(call.where, f"the number {call.number:#x} of {call.name} "
                   "is not within 0x1..0xfff")
        if call.number in numbers:
            refuse(call.where, f"the number {call.number:#x} of {call.name} "
                   f"is that of {numbers[call.number]}; numbers are never "
                   "used again")
        numbers[call.number] = call.name


def check_infos(api):
    for info in api.infos.values():
        if not isinstance(api.types.get(info.type), Scalar):
            refuse(info.where, f"the type '{info.type}' of these names is "
                   "not declared as a scalar")
        seen = set()
        for e in info.entries:
            if e.name in seen:
                refuse(e.where, f"{e.name} is listed twice")
            seen.add(e.name)
            if e.local:
                continue
            t = api.types.get(e.type)
            if t is None:
                refuse(e.where, f"the type '{e.type}' of {e.name} is not "
                       "declared")
            if isinstance(t, Handle):
                refuse(e.where, f"{e.name} answers a handle, which means "
                       "nothing in the guest; say 'local' and answer it in "
                       "the shim")


def check_call(api, call):
    resolve_types(api, call)
    if call.new:
        if not isinstance(api.types.get(call.ret), Handle):
            refuse(call.where, f"{call.name} returns a new '{call.ret}', "
                   "which is not declared as a handle")
        mark_errcode(api, call)
    elif call.ret != api.error:
        refuse(call.where, f"{call.name} returns '{call.ret}'; a call "
               f"returns {api.error}, or 'new' and a handle")
    seen = set()
    for p in call.params:
        if p.name in seen:
            refuse(p.where, f"there are two parameters '{p.name}'")
        seen.add(p.name)
        if p.name in ("s", "c", "a", "r", "ret", "err", "payload", "item",
                      "wait"):
            refuse(p.where, f"the name '{p.name}' is used by the generated "
                   "code; choose another")
        check_param(api, call, p)
    check_reply(call)
    check_words(call)


def resolve_types(api, call):
    for p in call.params:
        if p.words & {"unsent", "null", "callback"}:
            continue
        p.type = api.types.get(p.ctype)
        if p.type is None and not (p.ctype == "void" and p.stars):
            refuse(p.where, f"the type '{p.ctype}' of '{p.name}' is not "
                   "declared; say 'scalar', 'struct' or 'handle', or mark "
                   "the parameter 'unsent'")


def mark_errcode(api, call):
    """The error code of a creating call travels as the call's result."""
    last = call.params[-1] if call.params else None
    if last and last.direction == "out" and last.stars == 1 and \
            last.ctype == api.error and last.name == "errcode_ret":
        last.words.add("errcode")
    elif not call.wire_only:
        refuse(call.where, f"{call.name} makes a new object, so its last "
               f"parameter must be 'out? {api.error} *errcode_ret'")


def check_param(api, call, p):
    if "null" in p.words and not p.stars:
        refuse(p.where, f"'{p.name}' is a value, which cannot be 'null'")
    if not p.sent:
        return
    if p.stars == 0:
        check_value(p)
        return
    if p.stars > 1:
        refuse(p.where, f"'{p.name}' is a pointer to pointers, which no "
               "message can carry; describe a 'wire' call with flat data "
               "and mark the original 'custom'")
    if not p.direction:
        refuse(p.where, f"'{p.name}' is a pointer and needs a direction: "
               "in, in?, out or out?")
    if p.direction == "out" and p.const:
        refuse(p.where, f"'{p.name}' is 'out' but points to const")
    if p.type is None and p.extent.kind == "one":
        refuse(p.where, f"'{p.name}' points to void and needs an extent, "
               "such as [size]")
    if "drop" in p.words:
        refuse(p.where, f"'{p.name}' is a pointer; only a handle by value "
               "can be dropped")
    if p.when and not (p.direction == "in" and p.optional):
        refuse(p.where, f"'{p.name}' is sent only 'when ...', so it must "
               "be 'in?'")
    if p.is_new:
        check_new(p)
    check_extent(call, p)
    check_bulk(call, p)
    if p.by:
        check_by(api, call, p)


def check_value(p):
    if p.direction == "out" or (p.direction and not p.is_handle):
        refuse(p.where, f"'{p.name}' is a value; only 'in?' before a handle "
               "that may be NULL makes sense")
    if p.extent.kind != "one":
        refuse(p.where, f"'{p.name}' is a value and has no extent")
    if not isinstance(p.type, (Scalar, Handle)):
        refuse(p.where, f"'{p.name}' is a struct by value; pass a pointer")
    if isinstance(p.type, Scalar) and p.type.size < 4:
        refuse(p.where, f"'{p.name}': a value has 4 or 8 bytes")
    if p.is_new:
        refuse(p.where, f"'{p.name}' is 'new', so it must be a pointer")
    if p.words & {"bulk", "late"}:
        refuse(p.where, f"'{p.name}' is a value; 'bulk' and 'late' are for "
               "data behind a pointer")
    if "drop" in p.words and not p.is_handle:
        refuse(p.where, f"'{p.name}' is no handle and cannot be dropped")


def check_new(p):
    if not (p.is_handle and p.direction == "out" and p.extent.kind == "one"):
        refuse(p.where, f"'{p.name}' is 'new', so it must be 'out' or "
               "'out?' and point to one handle")


def check_extent(call, p):
    e = p.extent
    if len([n for n in e.product if isinstance(n, str)]) > 2:
        refuse(p.where, f"the extent of '{p.name}' multiplies more than two "
               "parameters; let the shim compute one")
    for name in [n for n in e.product if isinstance(n, str)]:
        other = call.param(name)
        if other is None:
            refuse(p.where, f"the extent of '{p.name}' names '{name}', "
                   f"which is no parameter of {call.name}")
        if not other.is_value or not isinstance(other.type, Scalar):
            refuse(p.where, f"the extent of '{p.name}' names '{name}', "
                   "which is not a scalar that is sent")
        if other.type.signed:
            refuse(p.where, f"the extent of '{p.name}' names '{name}', "
                   "which may be negative")
    if e.kind == "nul" and (p.direction != "in" or p.element_size != 1):
        refuse(p.where, f"'{p.name}' is not 'in const char *', so it cannot "
               "end with a NUL")
    if e.kind == "pairs" and (p.direction != "in" or p.element_size != 8 or
                             p.is_handle):
        refuse(p.where, f"'{p.name}' does not consist of 8-byte scalars "
               "that go in, so it cannot be a list of pairs")
    if e.kind == "pairs" and not e.max:
        refuse(p.where, f"'{p.name}' ends with a zero, which could be far "
               "away: say 'max N'")
    if e.used:
        used = call.param(e.used)
        if used is None or not used.is_out_scalar or \
                used.type.signed:
            refuse(p.where, f"the count '{e.used}' of '{p.name}' is no "
                   f"unsigned 'out' parameter of {call.name}")
        if p.direction != "out":
            refuse(p.where, f"'{p.name}' is not 'out', so there is no "
                   "count of what was used")
    if isinstance(p.type, Scalar) and p.type.size not in (1, 2, 4, 8):
        refuse(p.where, f"'{p.name}' has elements of {p.type.size} bytes")


def check_bulk(call, p):
    if p.is_late and not (p.direction == "out" and p.is_bulk):
        refuse(p.where, f"'{p.name}' is 'late', so it must be 'bulk late "
               "out'")
    if not p.is_bulk:
        return
    if not p.is_array or p.extent.kind != "product":
        refuse(p.where, f"'{p.name}' is 'bulk' and needs an extent, such as "
               "[size]")
    if p.is_handle:
        refuse(p.where, f"'{p.name}' consists of handles, which are looked "
               "up one by one and cannot be 'bulk'")
    if p.direction == "in" and "serve" not in call.words:
        refuse(p.where, f"'{p.name}' is bulk input, and only the API's "
               "worker half knows when it is used up: add 'serve'")
    if p.is_late and "serve" not in call.words:
        refuse(p.where, f"'{p.name}' is 'late', and only a hand-written "
               "worker half can deliver it: add 'serve'")
    if p.direction == "out" and not p.is_late and not always_waits(call):
        refuse(p.where, f"'{p.name}' comes back with the answer, so "
               f"{call.name} must always wait; or say 'late'")


def always_waits(call):
    return call.wait == "true"


def check_by(api, call, p):
    by = call.param(p.by)
    if by is None:
        refuse(p.where, f"'{p.name}' is typed by '{p.by}', which is no "
               f"parameter of {call.name}")
    if by.ctype not in api.infos:
        refuse(p.where, f"'{p.name}' is typed by '{p.by}', but there is no "
               f"'info {by.ctype} {{ ... }}' above")


def out_array_max(p):
    """The most bytes of an output array, 0 if nothing says."""
    e = p.extent
    if e.max:
        return e.max * p.element_size
    if e.kind == "product" and all(isinstance(n, int) for n in e.product):
        n = 1
        for factor in e.product:
            n *= factor
        return n * p.element_size
    return 0


def check_reply(call):
    """What comes back has to fit the slot's reply area."""
    size = 8
    bulk_outs = 0
    for p in call.sent:
        if p.is_out_scalar:
            if not isinstance(p.type, (Scalar, Handle)) or \
                    (isinstance(p.type, Scalar) and p.type.size < 4):
                refuse(p.where, f"'{p.name}': a single output is a scalar "
                       "of 4 or 8 bytes or a handle; give other types an "
                       "extent, [1]")
            if p.is_handle and "serve" not in call.words:
                refuse(p.where, f"'{p.name}' answers a handle: add 'serve', "
                       "or say 'new'")
            size += 8
        if not p.is_out_array:
            continue
        size += 8
        if p.is_bulk:
            bulk_outs += 1
            continue
        most = out_array_max(p)
        if not most:
            refuse(p.where, f"nothing bounds '{p.name}': say 'max N', or "
                   "'bulk' if it may travel by shared memory")
        if most > STACK_MAX:
            refuse(p.where, f"'{p.name}' may have {most} bytes, more than "
                   f"the {STACK_MAX} that a server keeps on its stack; "
                   "lower 'max' or say 'bulk'")
        size += (most + 7) & ~7
    if bulk_outs > 1:
        refuse(call.where, f"{call.name} has {bulk_outs} bulk outputs; one "
               "can come back with an answer")
    if size > REPLY_SIZE:
        refuse(call.where, f"the answer of {call.name} may have {size} "
               f"bytes, and a reply area has {REPLY_SIZE}")


def check_words(call):
    outputs = [p for p in call.sent
               if (p.is_out_scalar or p.is_out_array) and not p.is_late]
    if outputs and not always_waits(call):
        refuse(call.where, f"{call.name} does not always wait, so nobody "
               f"would get its output '{outputs[0].name}'")
    if "lazy" in call.words and not call.never_waits:
        refuse(call.where, f"{call.name} is 'lazy', but may be waited for: "
               "it has to be 'async' too")
    if call.wire_only and "serve" not in call.words:
        refuse(call.where, f"{call.name} is a 'wire' call, which no host "
               "function makes: add 'serve'")
    if call.wire_only and "entry" in call.words:
        refuse(call.where, f"{call.name} is a 'wire' call and has no public "
               "entry point: take 'entry' away")
    if "by_name" in call.words and call.wire_only:
        refuse(call.where, f"{call.name} is a 'wire' call, which no program "
               "looks for: take 'by_name' away")
    if "check" in call.words and (call.wire_only or "entry" in call.words):
        refuse(call.where, f"{call.name} has no generated entry point that "
               "could ask its 'check': take 'check' away")
    if "blocks" in call.words:
        check_blocks(call)
    drops = [p for p in call.params if "drop" in p.words]
    if len(drops) > 1:
        refuse(call.where, f"{call.name} drops two objects")
    for p in call.sent:
        if p.is_new and not p.type.release:
            refuse(p.where, f"there is no function that releases a "
                   f"{p.ctype}; name it in its 'handle' statement")
    if not call.wire_only and "entry" not in call.words:
        check_plain_entry(call)


def check_blocks(call):
    if "serve" in call.words:
        refuse(call.where, f"{call.name}: with 'serve' the hand-written "
               "half gives up the lead by itself; take 'blocks' away")
    for p in call.sent:
        if p.is_handle and not p.is_new and not p.type.retain:
            refuse(p.where, f"{call.name} 'blocks', so '{p.name}' has to be "
                   "retained meanwhile; name the function in the 'handle' "
                   f"statement of {p.ctype}")


def check_plain_entry(call):
    """What a generated public entry point can do."""
    why = ""
    if not any(p.is_value and p.is_handle and not p.optional
               for p in call.sent):
        why = "names no object whose session it could use"
    if call.new:
        why = "makes an object that the shim has to shadow"
    for p in call.params:
        if p.words & {"unsent", "callback"}:
            why = f"has '{p.name}', which does not cross the wire"
        elif "drop" in p.words:
            why = f"drops '{p.name}', which the shim counts"
        elif p.is_bulk or p.is_out_array or (p.is_out_scalar and p.is_handle):
            why = f"has the output or bulk data '{p.name}'"
        elif p.is_new and (p.ctype != "cl_event" or not call.queue):
            why = f"makes '{p.name}', which is no event of a queue"
        elif p.is_new and not call.command:
            why = f"makes '{p.name}' and has no 'command TYPE'"
        if why:
            refuse(call.where, f"{call.name} {why}: add 'entry' and write "
                   "the public function by hand")
