"""As much of a VNC client as takes to see a screen and its cursor, and to resize it.

SPDX-License-Identifier: MIT
"""
import socket
import struct

import picture

RAW, RESIZED, CURSOR = 0, -308, -314    # what an update may consist of
SET_SIZE, FORWARDED = 251, 4            # to the server; it has told the guest


class Screen:
    """A connection to a VNC server at a unix socket."""

    def __init__(self, path, timeout=20):
        self.cursor = None      # hot spot, size, RGBA
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        assert self.read(12) == b"RFB 003.008\n"
        self.sock.sendall(b"RFB 003.008\n")
        assert 1 in self.read(self.read(1)[0]), "no access without a password"
        self.sock.sendall(b"\1")
        assert self.read(4) == bytes(4)
        self.sock.sendall(b"\1")
        self._be(*struct.unpack(">HH", self.read(4)))
        self.read(16)
        self.read(struct.unpack(">I", self.read(4))[0])
        # 32 bits, little-endian, 8 each of blue, green and red from the lowest on; rows as they are.
        self.sock.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.sock.sendall(struct.pack(">BxHiii", 2, 3, RAW, RESIZED, CURSOR))

    def _be(self, width, height):
        self.width, self.height = width, height
        self.bytes = bytearray(width * height * 4)

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            assert part, "the VNC server hung up"
            data += part
        return data

    def _ask(self, incremental):
        self.sock.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def _update(self):
        """Takes one update; how many pixels it brought."""
        assert self.read(2)[0] == 0, "no update"
        brought = 0
        for _ in range(struct.unpack(">H", self.read(2))[0]):
            x, y, w, h, kind = struct.unpack(">HHHHi", self.read(12))
            if kind == RAW:
                self._draw(x, y, w, h, self.read(w * h * 4))
                brought += w * h
            elif kind == RESIZED:
                self.read(16 * struct.unpack(">Bxxx", self.read(4))[0])
                assert y in (0, FORWARDED), f"a new size is refused: {y}"
                if y == 0:
                    self._be(w, h)
            else:
                assert kind == CURSOR and self.read(4) == bytes(4)
                self.cursor = (x, y), (w, h), self.read(w * h * 4)
        return brought

    def _draw(self, x, y, w, h, data):
        for row in range(h):
            at = ((y + row) * self.width + x) * 4
            self.bytes[at:at + w * 4] = data[row * w * 4:(row + 1) * w * 4]

    def pixels(self):
        """All of the screen, as a picture."""
        size = None
        while size != (self.width, self.height):        # once, unless it is resized meanwhile
            size, left = (self.width, self.height), self.width * self.height
            self._ask(0)
            while left > 0 and size == (self.width, self.height):
                left -= self._update()
        return picture.of_bgrx(self.bytes, self.width, self.height)

    def resize(self, width, height):
        """Proposes a size to the guest, as a window does; it comes when the guest has taken it."""
        self.sock.sendall(struct.pack(">BxHHBxIHHHHI", SET_SIZE, width, height, 1, 0, 0, 0, width, height, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
