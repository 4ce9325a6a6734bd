"""As much of a VNC client as takes to see the screen once.

SPDX-License-Identifier: MIT
"""
import socket
import struct


class Screen:
    """A connection to a VNC server at a unix socket."""

    def __init__(self, path, timeout=20):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        assert self.read(12) == b"RFB 003.008\n"
        self.sock.sendall(b"RFB 003.008\n")
        assert 1 in self.read(self.read(1)[0]), "no access without a password"
        self.sock.sendall(b"\1")
        assert self.read(4) == bytes(4)
        self.sock.sendall(b"\1")
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.read(16)
        self.read(struct.unpack(">I", self.read(4))[0])
        # 32 bits, little-endian, 8 each of blue, green and red from the lowest on; rows as they are.
        self.sock.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.sock.sendall(struct.pack(">BxHi", 2, 1, 0))

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            assert part, "the VNC server hung up"
            data += part
        return data

    def pixels(self):
        """All of the screen: rows of blue, green, red and a byte."""
        self.sock.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        screen = bytearray(self.width * self.height * 4)
        left = self.width * self.height
        while left > 0:
            assert self.read(2)[0] == 0, "no update"
            for _ in range(struct.unpack(">H", self.read(2))[0]):
                x, y, w, h, kind = struct.unpack(">HHHHi", self.read(12))
                assert kind == 0
                data = self.read(w * h * 4)
                for row in range(h):
                    at = ((y + row) * self.width + x) * 4
                    screen[at:at + w * 4] = data[row * w * 4:(row + 1) * w * 4]
                left -= w * h
        return bytes(screen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
