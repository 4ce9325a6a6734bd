# SPDX-License-Identifier: MIT
"""Which files are made, and by whom."""

from . import emit_call, emit_serve, emit_wire


def outputs(api):
    n = api.name
    return {
        f"{n}_wire.h": emit_wire.emit,
        f"{n}_call.h": emit_call.emit_header,
        f"{n}_call.c": emit_call.emit_source,
        f"{n}_serve.h": emit_serve.emit_header,
        f"{n}_serve.c": emit_serve.emit_source,
    }
