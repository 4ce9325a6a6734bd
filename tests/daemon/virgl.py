"""A VM's virgl worker, driven as the device drives it: messages and completions.

SPDX-License-Identifier: MIT
"""
import struct
import time

import vgpu

API = 2
(START, CONTEXT_CREATE, CONTEXT_DESTROY, ATTACH, DETACH, RESOURCE_CREATE, RESOURCE_UNREF, SUBMIT, PUT,
 GET, COPY, VULKAN) = range(1, 13)
CAPS_SLOT, DONE_SLOT, TEXT_SLOT, ENTRIES = 2, 1, 3, 256
GPU_MAX = 128
STAGING = 2

BUFFER, TEXTURE_1D, TEXTURE_2D, TEXTURE_3D, TEXTURE_CUBE = range(5)
TEXTURE_1D_ARRAY, TEXTURE_2D_ARRAY, TEXTURE_CUBE_ARRAY = range(6, 9)
B8G8R8A8, R8 = 1, 64
BIND_RENDER_TARGET, BIND_SAMPLER_VIEW, BIND_CUSTOM, BIND_STAGING = 1 << 1, 1 << 3, 1 << 17, 1 << 19
COPY_SOURCE = 0x7FFFFFFF    # the worker's own


def command(number, kind, *words):
    """One command of a virgl stream."""
    return struct.pack(f"<{1 + len(words)}I", len(words) << 16 | kind << 8 | number, *words)


CREATE_OBJECT, BIND_OBJECT, SET_FRAMEBUFFER_STATE, CLEAR, COPY_TRANSFER3D = 1, 2, 5, 7, 45
OBJECT_SURFACE = 8


def clear_stream(resource, rgba):
    """A surface of the resource, made the framebuffer and cleared to a colour."""
    colour = struct.unpack("<4I", struct.pack("<4f", *rgba))
    return (command(CREATE_OBJECT, OBJECT_SURFACE, 1, resource, B8G8R8A8, 0, 0)
            + command(SET_FRAMEBUFFER_STATE, 0, 1, 0, 1)
            + command(CLEAR, 0, 4, *colour, 0, 0x3FF00000, 0))


class Virgl:
    """The device's end of a virgl worker."""

    def __init__(self, client, staging=1 << 20, ring=16 << 20, start=True, gpu=""):
        client.next += 1
        self.worker = vgpu.Context(client, client.next, "vm", ring, kind=vgpu.VIRGL_CREATE)
        self.memory = self.worker.blob(STAGING, staging)
        self.token = 0
        self.done = 0
        self.caps = None
        if start:
            status, version, size = self.start(gpu)
            assert status == 0, self.text()
            at = vgpu.REPLY_OFFSET + CAPS_SLOT * vgpu.REPLY_SIZE
            self.version, self.caps = version, bytes(self.worker.ring[at:at + size])

    def send(self, call, *items, data=b"", token=0):
        payload = struct.pack(f"<{1 + len(items)}Q", token, *items) + data.ljust(len(data) + 7 & ~7, b"\0")
        self.worker.send(API, call, payload)

    def wait(self, timeout=20):
        """The next completion: (token, status, a, b)."""
        at = vgpu.SLOT_OFFSET + 64 * DONE_SLOT
        end = time.monotonic() + timeout
        self.worker.event(DONE_SLOT)
        while self.worker.u32(at) == self.done:
            self.worker.seqs[DONE_SLOT] = self.done + 1
            self.worker.wait(DONE_SLOT, max(0.01, end - time.monotonic()))
        place = vgpu.REPLY_OFFSET + DONE_SLOT * vgpu.REPLY_SIZE + 16 * (self.done % ENTRIES)
        self.done += 1
        return struct.unpack_from("<4I", self.worker.ring, place)

    def call(self, call, *items, data=b""):
        """Send it and wait: (status, a, b)."""
        self.token += 1
        self.send(call, *items, data=data, token=self.token)
        token, *rest = self.wait()
        assert token == self.token
        return tuple(rest)

    def start(self, gpu=""):
        return self.call(START, data=gpu.encode().ljust(GPU_MAX, b"\0"))

    def text(self):
        """What the worker has to say about that."""
        at = vgpu.REPLY_OFFSET + TEXT_SLOT * vgpu.REPLY_SIZE
        return bytes(self.worker.ring[at:at + 256]).split(b"\0")[0].decode()

    def context(self, number, name="test"):
        return self.call(CONTEXT_CREATE, number, data=name.encode().ljust(64, b"\0"))[0]

    def resource(self, number, width=64, height=64, target=TEXTURE_2D, form=B8G8R8A8,
                 bind=BIND_RENDER_TARGET | BIND_SAMPLER_VIEW, depth=1, layers=1, level=0, samples=0, flags=0):
        return self.call(RESOURCE_CREATE, number, target, form, bind, width, height, depth, layers, level, samples,
                         flags)[0]

    def submit(self, context, stream):
        return self.call(SUBMIT, context, len(stream), data=stream)[0]

    def fence(self, context):
        return self.submit(context, b"")

    def transfer(self, call, context, resource, box, stride, size, offset=0, blob=STAGING, level=0, layer=0):
        return self.call(call, context, resource, level, stride, layer, *box, blob, offset, size)[0]

    def close(self):
        self.worker.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
