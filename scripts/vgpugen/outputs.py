# SPDX-License-Identifier: MIT
"""Which files are made, and by whom."""

from . import (emit_call, emit_entry, emit_manual, emit_print, emit_python,
               emit_serve, emit_test, emit_wire)


def outputs(api):
    n = api.name
    return {
        f"{n}_wire.h": emit_wire.emit,
        f"{n}_call.h": emit_call.emit_header,
        f"{n}_call.c": emit_call.emit_source,
        f"{n}_entry.h": emit_entry.emit_header,
        f"{n}_entry.c": emit_entry.emit_source,
        f"{n}_dispatch.c": emit_entry.emit_dispatch,
        f"{n}_proto_check.c": emit_entry.emit_proto_check,
        f"{n}_serve.h": emit_serve.emit_header,
        f"{n}_serve.c": emit_serve.emit_source,
        f"{n}_print.h": emit_print.emit_header,
        f"{n}_print.c": emit_print.emit_source,
        f"{n}_calls.py": emit_python.emit,
        f"{n}_fakes.c": emit_test.emit_fakes,
        f"{n}_wire_test.c": emit_test.emit_test,
        f"{n}.rst": emit_manual.emit,
    }
