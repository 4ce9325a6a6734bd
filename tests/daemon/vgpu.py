"""The session protocol, the ring and messages, from Python: what a client does.

Everything here speaks the bytes of api/*.h by itself, so that the tests notice
when a struct changes without its version.

SPDX-License-Identifier: MIT
"""
import array
import ctypes
import mmap
import os
import select
import socket
import struct
import time

VERSION = 4
MAGIC = 0x4F544F4D45525647

HELLO, CONTEXT_CREATE, STATUS, VIRGL_CREATE, VENUS_CREATE = 1, 2, 3, 4, 5
WELCOME, STATUS_REPLY = 16, 17
BLOB_CREATE, BLOB_DESTROY, RING_EVENT, BLOB_IMPORT = 32, 33, 34, 35
BLOB_CREATED, LOST, BLOB_IMPORTED = 48, 49, 50

FATAL_PROTOCOL, FATAL_WORKER, FATAL_BUDGET = 1, 2, 3

RING_BLOB = 1
RING_MAGIC = 0x474E4952
SLOT_OFFSET, REPLY_OFFSET, CMD_OFFSET = 0x1000, 0x2000, 0x42000
REPLY_SIZE = 4096
SLOTS = 64
TAIL, STATE, FATAL = 64, 128, 192
ASLEEP = 1

API_SESSION, API_OPENCL = 0, 1
PING = 1
OK, MALFORMED, UNKNOWN, STATUS_LOST = 0, 1, 2, 3

libc = ctypes.CDLL(None, use_errno=True)


def eventfd():
    fd = libc.eventfd(0, os.O_CLOEXEC)
    assert fd >= 0
    return fd


def send(sock, data, fds=()):
    ancillary = []
    if fds:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                      array.array("i", fds))]
    sock.sendmsg([data], ancillary)


def receive(sock, timeout=10):
    """One packet and its fds; (b"", []) at end of file."""
    sock.settimeout(timeout)
    try:
        data, ancillary, _, _ = sock.recvmsg(1024, socket.CMSG_SPACE(4 * 4))
    except ConnectionResetError:
        return b"", []
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[:len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def wait_until(condition, timeout=5, what="it"):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.01)


class Client:
    """A connection to the server."""

    def __init__(self, path, name="test", version=VERSION, magic=MAGIC,
                 sock=None):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.connect(str(path))
        self.sock = sock
        self.next = 0
        send(self.sock, struct.pack("<IIQII64s", HELLO, version, magic, 1, 0,
                                    name.encode()))
        data, _ = receive(self.sock)
        self.welcome = struct.unpack("<IIIIQ", data) if data else None

    def context(self, name="test", start=True, ring=1 << 20):
        self.next += 1
        return Context(self, self.next, name, ring if start else 0)

    def status(self):
        send(self.sock, struct.pack("<II", STATUS, 0))
        kind, clients, contexts, fds, total = struct.unpack(
            "<IIIIQ", receive(self.sock)[0])
        assert kind == STATUS_REPLY
        return {"clients": clients, "contexts": contexts, "fds": fds,
                "total": total}

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Refused(Exception):
    def __init__(self, status):
        super().__init__(os.strerror(status))
        self.status = status


class Lost(Exception):
    pass


class Context:
    """A context: its socket, its blobs, and its ring as producer."""

    def __init__(self, client, number, name, ring, kind=CONTEXT_CREATE):
        self.client = client  # closing it would end the context
        self.sock, theirs = socket.socketpair(socket.AF_UNIX,
                                              socket.SOCK_SEQPACKET)
        self.doorbell = eventfd()
        send(client.sock, struct.pack("<II64s", kind, number,
                                      name.encode()),
             [theirs.fileno(), self.doorbell])
        theirs.close()
        self.blobs = {}
        self.seqs = [0] * SLOTS
        self.events = {}
        self.doorbells = 0
        self.lost = None
        if ring:
            self.ring = self.blob(RING_BLOB, CMD_OFFSET + ring)
            self.words = memoryview(self.ring).cast("I")
            self.cmd_size = self.u32(8)
            self.tail = 0

    # --- blobs ---

    def packet(self, data, fds=()):
        send(self.sock, data, fds)

    def read(self, timeout=10):
        data, fds = receive(self.sock, timeout)
        if data[:4] == struct.pack("<I", LOST):
            _, why, text = struct.unpack("<II256s", data)
            self.lost = (why, text.rstrip(b"\0").decode())
        return data, fds

    def blob(self, number, size):
        self.packet(struct.pack("<IIQQ", BLOB_CREATE, 0, number, size))
        data, fds = self.read()
        if self.lost:
            raise Lost(self.lost)
        kind, status, got, size, offset = struct.unpack("<IIQQQ", data)
        assert kind == BLOB_CREATED and got == number
        if status:
            assert not fds
            raise Refused(status)
        self.blob_fd_seals = None
        try:
            self.blob_fd_seals = __import__("fcntl").fcntl(fds[0], 1034)
            memory = mmap.mmap(fds[0], size)
        finally:
            os.close(fds[0])
        self.blobs[number] = memory
        return memory

    def give(self, number, size, fd):
        """Memory of the client's own. The status."""
        self.packet(struct.pack("<IIQQ", BLOB_IMPORT, 0, number, size), [fd])
        data, fds = self.read()
        if self.lost:
            raise Lost(self.lost)
        kind, status, got = struct.unpack("<IIQ", data)
        assert kind == BLOB_IMPORTED and got == number and not fds
        return status

    def blob_destroy(self, number):
        self.blobs.pop(number, None)
        self.packet(struct.pack("<IIQ", BLOB_DESTROY, 0, number))

    def event(self, slot):
        """The eventfd for @slot, handed over at the first use."""
        if slot not in self.events:
            self.events[slot] = eventfd()
            self.packet(struct.pack("<II", RING_EVENT, slot),
                        [self.events[slot]])
        return self.events[slot]

    # --- the ring ---

    # Whole words at once: struct's "<I" goes byte by byte.

    def u32(self, at):
        return self.words[at // 4]

    def set_u32(self, at, value):
        self.words[at // 4] = value & 0xFFFFFFFF

    def fatal(self):
        return self.u32(FATAL)

    def wake(self):
        # The producer's compare-and-swap; one test is one producer.
        if self.u32(STATE) == ASLEEP:
            self.set_u32(STATE, 0)
            self.doorbells += 1
            os.write(self.doorbell, struct.pack("<Q", 1))

    def put(self, message):
        """Append raw bytes as a message, padding the area's end."""
        at = self.tail % self.cmd_size
        left = self.cmd_size - at
        if len(message) > left:
            struct.pack_into("<IIII", self.ring, CMD_OFFSET + at, left, 0, 0, 0)
            self.tail += left
            at = 0
        self.ring[CMD_OFFSET + at:CMD_OFFSET + at + len(message)] = message
        self.tail += len(message)
        self.set_u32(TAIL, self.tail)
        self.wake()

    def send(self, api, call, payload=b"", slot=0):
        """Send a call; returns its sequence number."""
        assert len(payload) % 8 == 0
        size = (32 + len(payload) + 15) & ~15
        if slot:
            self.seqs[slot] += 1
        header = struct.pack("<IIHHHHIIQ", size, len(payload), api, call, slot,
                             0, self.seqs[slot], 0, 0)
        self.put((header + payload).ljust(size, b"\0"))
        return self.seqs[slot]

    def is_done(self, slot, seq=None):
        seq = self.seqs[slot] if seq is None else seq
        done = self.u32(SLOT_OFFSET + 64 * slot)
        return (done - seq) & 0xFFFFFFFF < 0x80000000

    def wait(self, slot, timeout=10):
        """Sleep until the slot's last call is answered: (status, payload)."""
        at = SLOT_OFFSET + 64 * slot
        event = self.event(slot)
        end = time.monotonic() + timeout
        while not self.is_done(slot):
            self.set_u32(at + 4, 1)
            if self.is_done(slot):
                break
            poll = select.poll()
            poll.register(event, select.POLLIN)
            poll.register(self.sock, select.POLLIN)
            ready = dict(poll.poll(max(0, 1000 * (end - time.monotonic()))))
            if event in ready:
                os.read(event, 8)
            elif ready:
                if not self.read()[0]:
                    raise Lost(self.lost)
            else:
                raise TimeoutError(f"slot {slot} is not answered")
        size, status = struct.unpack_from("<Ii", self.ring, at + 8)
        reply = REPLY_OFFSET + slot * REPLY_SIZE
        return status, self.ring[reply:reply + size]

    def call(self, api, number, payload=b"", slot=1, timeout=10):
        self.send(api, number, payload, slot)
        return self.wait(slot, timeout)

    def ping(self, slot=1):
        status, reply = self.call(API_SESSION, PING, slot=slot)
        assert status == OK and reply == b""

    def wait_lost(self, timeout=5):
        """Read until end of file; returns (why, text) of LOST, if it came."""
        while self.read(timeout)[0]:
            pass
        return self.lost

    def close(self):
        if self.sock.fileno() < 0:
            return
        self.sock.close()
        os.close(self.doorbell)
        for fd in self.events.values():
            os.close(fd)
        self.events = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
