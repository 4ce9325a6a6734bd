# SPDX-License-Identifier: MIT
"""Encodes calls and decodes their answers, for tests.

    payload = encode("clFinish", command_queue=3)
    answer = decode("clGetPlatformIDs", bytes)      # {"ret": 0, ...}

Values by name, as in the prototype; objects are their ids. Arrays are bytes or
lists of integers; text is str. What is left out is 0 or NULL. A bulk
parameter is bytes (inline), or a tuple (blob, offset, size); for output, its
capacity as an integer stands for the reply area. Nothing is checked: a test
may send what it likes.
"""

import struct

WIRE_HEADER = struct.Struct("<IIHHHHIIQ")


def pad(data, n=8):
    return data + bytes(-len(data) % n)


def array_bytes(value, size, signed):
    if isinstance(value, str):
        return value.encode() + b"\0"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return b"".join(v.to_bytes(size, "little", signed=signed and v < 0)
                    for v in value)


def span_of(value):
    if value is None:
        return 0, 0, 0
    if isinstance(value, tuple):
        return value
    if isinstance(value, int):
        return 0, 0, value
    return 0, 0, len(value)


def encode(name, **values):
    """The payload of the call @name."""
    call = CALLS[name]
    known = ({n for n, _ in call["items"]} | {a[0] for a in call["arrays"]} |
             {o[0] for o in call["outputs"]} | {s[0] for s in call["scalars"]})
    if set(values) - known:
        raise TypeError(f"{name} has no {set(values) - known}")
    sizes = {n: size for n, size, _, _ in call["arrays"]}
    raw = {n: array_bytes(values[n], size, signed)
           for n, size, bulk, signed in call["arrays"]
           if values.get(n) is not None and not isinstance(values[n], tuple)}
    out = []
    for item, what in call["items"]:
        value = values.get(item)
        if what == "present":
            out.append(struct.pack("<Q", value is not None))
        elif what == "count":
            out.append(struct.pack("<Q", len(raw.get(item, b"")) //
                                   sizes[item]))
        elif what == "span":
            out.append(struct.pack("<QQQ", *span_of(raw.get(item, value))))
        else:
            out.append(struct.pack("<Q", (value or 0) & (2 ** 64 - 1)))
    for item, _, _, _ in call["arrays"]:
        out.append(pad(raw.get(item, b"")))
    return b"".join(out)


def message(name, slot=0, seq=0, thread=0, payload=None, **values):
    """A whole message: header, payload, and padding to 16 bytes."""
    if payload is None:
        payload = encode(name, **values)
    size = (WIRE_HEADER.size + len(payload) + 15) & ~15
    header = WIRE_HEADER.pack(size, len(payload), API, CALLS[name]["number"],
                              slot, 0, seq, thread, 0)
    return (header + payload).ljust(size, b"\0")


def decode(name, reply):
    """The answer to @name: "ret", and if that is 0, the outputs by name."""
    call = CALLS[name]
    answer = {"ret": struct.unpack_from("<q", reply)[0]}
    at = 8
    if answer["ret"] != 0:
        return answer
    for item, signed in call["scalars"]:
        answer[item] = struct.unpack_from("<q" if signed else "<Q",
                                          reply, at)[0]
        at += 8
    lengths = []
    for _ in call["outputs"]:
        lengths.append(struct.unpack_from("<Q", reply, at)[0])
        at += 8
    for (item, _), n in zip(call["outputs"], lengths):
        answer[item] = bytes(reply[at:at + n])
        at += (n + 7) & ~7
    return answer
