"""A Venus worker, driven as the device drives it.

SPDX-License-Identifier: MIT
"""
import fcntl
import mmap
import os
import struct

import vgpu

API = 3
SUBMIT, BLOB_CREATE, BLOB_DESTROY = 1, 2, 3
MAPPABLE = 1
GET_SEALS, SHRINK, GROW = 1034, 2, 4


class Venus:
    """The device's end of it."""

    def __init__(self, client):
        client.next += 1
        self.worker = vgpu.Context(client, client.next, "vulkan", 1 << 20, kind=vgpu.VENUS_CREATE)

    def send(self, call, *items, data=b""):
        self.worker.send(API, call, struct.pack(f"<{len(items)}Q", *items) + data.ljust(len(data) + 7 & ~7, b"\0"))

    def blob(self, resource, size, number=0, flags=MAPPABLE):
        """(errno, its memory)."""
        self.send(BLOB_CREATE, resource, flags, number, size)
        data, fds = self.worker.read()
        if self.worker.lost:
            raise vgpu.Lost(self.worker.lost)
        kind, status, got, size, offset = struct.unpack("<IIQQQ", data)
        assert kind == vgpu.BLOB_CREATED and got == resource and len(fds) == (status == 0)
        if status:
            assert (size, offset) == (0, 0)
            return status, None
        assert fcntl.fcntl(fds[0], GET_SEALS) & (SHRINK | GROW) == SHRINK | GROW
        memory = mmap.mmap(fds[0], size, offset=offset)
        os.close(fds[0])
        return 0, memory

    def destroy(self, resource):
        self.send(BLOB_DESTROY, resource)

    def submit(self, stream=b"", slot=0, seq=0):
        self.send(SUBMIT, slot, seq, len(stream), data=stream)

    def fence(self, slot):
        """Until the slot's timeline has come to here."""
        self.worker.seqs[slot] += 1
        self.submit(slot=slot, seq=self.worker.seqs[slot])
        self.worker.wait(slot)

    def close(self):
        self.worker.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
