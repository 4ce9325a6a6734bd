# SPDX-License-Identifier: MIT
"""API.rst: every function of the API, and how far it works."""

STATUS = {
    "direct": "crosses the wire under its own number",
    "shim": "works in the guest, on top of other calls where it needs the host",
    "by name": "either of these; found by clGetExtensionFunctionAddressForPlatform",
    "refused": "returns the error that is named, for the reason that is named",
    "none": "not in the ICD loader's table",
}


class Text:
    """Lines as they are: this is no C."""

    def __init__(self):
        self.lines = []

    def __call__(self, text=""):
        self.lines.append(text)

    def heading(self, text, mark):
        self("")
        self(text)
        self(mark * len(text))
        self("")


def emit(api):
    w = Text()
    title = f"{api.name} in a guest: what there is"
    w("=" * len(title))
    w(title)
    w("=" * len(title))
    w("")
    w(f".. Made by scripts/vgpu-gen from {api.name}.api.")
    emit_coverage(api, w)
    emit_functions(api, w)
    emit_wire(api, w)
    emit_infos(api, w)
    return "\n".join(w.lines) + "\n"


def rows(api):
    """(name, status, doc) of every public function."""
    found = []
    for kind, item in api.order:
        doc = " ".join(item.doc)
        if kind == "call" and not item.wire_only:
            found.append((item.name, "by name" if "by_name" in item.words
                          else "direct", doc))
        elif kind == "custom":
            found.append((item.name, "shim", doc))
        elif kind == "by_name":
            found.append((item.name, "by name", doc))
        elif kind == "refused":
            found.append((item.name, "refused", f"{error_of(item)}. {doc}"))
        elif kind == "absent":
            found.append((item.name, "none", doc))
    return found


def error_of(refused):
    return "NULL" if "*" in refused.ret else \
        "nothing" if refused.ret == "void" else refused.error


def emit_coverage(api, w):
    found = rows(api)
    w.heading("Coverage", "=")
    for status, meaning in STATUS.items():
        n = sum(1 for row in found if row[1] == status)
        w(f"- **{n}** *{status}*: {meaning}.")


def emit_functions(api, w):
    w.heading("Functions", "=")
    w(".. list-table::")
    w("   :header-rows: 1")
    w("")
    for name, status, doc in [("Function", "Status", "Remarks")] + \
            sorted(rows(api)):
        w(f"   * - {name}")
        w(f"     - {status}")
        w(f"     - {doc}".rstrip())


def wait_of(call):
    if call.wait == "true":
        return "always"
    return "never" if call.wait == "false" else f"``{call.wait}``"


def emit_wire(api, w):
    w.heading("Calls on the wire", "=")
    w(f"API number {api.number} of a message's header. How parameters become "
      "items is said in docs/devel/adding-a-call.rst.")
    w("")
    w(".. list-table::")
    w("   :header-rows: 1")
    w("")
    w("   * - Number\n     - Call\n     - Waits\n     - Parameters")
    for call in sorted(api.calls, key=lambda c: c.number):
        params = [p.name for p in call.sent]
        if call.new:
            params.append(call.new_name)
        w(f"   * - {call.number:#04x}")
        w(f"     - {call.name}")
        w(f"     - {wait_of(call)}")
        w(f"     - {', '.join(params)}")


def emit_infos(api, w):
    w.heading("Queries", "=")
    w("Names that are not listed get the error. *Shim*: answered in the "
      "guest.")
    for info in api.infos.values():
        w.heading(info.type, "-")
        w(f"Else {info.error}.")
        w("")
        w(".. list-table::")
        w("   :header-rows: 1")
        w("")
        w("   * - Name\n     - Type\n     - By")
        for e in info.entries:
            w(f"   * - {e.name}")
            w(f"     - {e.type}{'[]' if e.array else ''}")
            w(f"     - {'shim' if e.local else 'host'}")
