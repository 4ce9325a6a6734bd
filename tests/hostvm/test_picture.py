"""The virgl worker exports what a screen shows, as a dmabuf that holds what was drawn.

SPDX-License-Identifier: MIT
"""
import errno
import mmap
import os
import struct

import pytest

import virgl
from virgl import ATTACH, PUT, RESOURCE_UNREF, Virgl

PICTURE, SETTLE = 13, 14
SCANOUT = 1 << 18
EXPORTED = 51
XRGB = 2
WIDTH, HEIGHT = 100, 40     # rows that are no multiple of what a device aligns them to


@pytest.fixture
def worker(client, card):
    with Virgl(client, gpu=card) as one:
        assert one.context(1) == 0
        yield one


def add(worker, number, **more):
    assert worker.resource(number, WIDTH, HEIGHT, bind=virgl.BIND_RENDER_TARGET | virgl.BIND_SAMPLER_VIEW | SCANOUT,
                           **more) == 0
    worker.send(ATTACH, 1, number)


def export(worker, number, serial=7):
    """(fourcc, stride, modifier, fd) of a resource's picture."""
    said, read = [], worker.worker.read
    worker.worker.read = lambda *args: said.append(read(*args)) or said[-1]     # also while it waits
    assert worker.call(PICTURE, number, serial)[0] == 0
    worker.worker.read = read
    (data, fds), = said or [read()]
    kind, resource, back, fourcc, stride, _, modifier = struct.unpack("<6IQ", data)
    assert (kind, resource, back, len(fds)) == (EXPORTED, number, serial, 1)
    return struct.pack("<I", fourcc), stride, modifier, fds[0]


def pixel(memory, stride, x, y):
    return memory[y * stride + 4 * x:y * stride + 4 * x + 3]


@pytest.mark.parametrize("form, fourcc", [(virgl.B8G8R8A8, b"AR24"), (XRGB, b"XR24")])
def test_picture_holds_what_was_drawn(worker, form, fourcc):
    add(worker, 5, form=form)
    code, stride, _, fd = export(worker, 5)
    assert code == fourcc and stride >= 4 * WIDTH
    assert os.lseek(fd, 0, os.SEEK_END) >= stride * HEIGHT
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("/dmabuf")
    assert worker.submit(1, virgl.clear_stream(5, (1.0, 0.5, 0.0, 1.0))) == 0
    assert worker.call(SETTLE)[0] == 0
    with mmap.mmap(fd, stride * HEIGHT, prot=mmap.PROT_READ) as memory:
        for at in ((0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1)):
            blue, green, red = pixel(memory, stride, *at)
            assert (red, blue) == (255, 0) and abs(green - 128) < 2
        worker.memory[:4 * 8 * 4] = bytes(range(128))
        assert worker.transfer(PUT, 1, 5, (3, 2, 0, 8, 4, 1), 32, 128) == 0
        assert worker.call(SETTLE)[0] == 0
        assert pixel(memory, stride, 3, 2) == bytes((0, 1, 2)), "the first row that was put is the upper one"
        assert pixel(memory, stride, 10, 5) == bytes((124, 125, 126))
    os.close(fd)


def test_picture_outlives_resource_and_worker(worker):
    add(worker, 5)
    assert worker.submit(1, virgl.clear_stream(5, (0.0, 1.0, 0.0, 1.0))) == 0
    assert worker.call(SETTLE)[0] == 0
    _, stride, _, fd = export(worker, 5)
    worker.send(RESOURCE_UNREF, 5)
    assert worker.call(PICTURE, 5, 1)[0] == errno.EINVAL
    worker.close()
    with mmap.mmap(fd, stride * HEIGHT, prot=mmap.PROT_READ) as memory:
        assert pixel(memory, stride, 1, 1) == bytes((0, 255, 0))
    os.close(fd)


def test_what_is_no_picture_is_not_exported(worker):
    assert worker.resource(6, 64, 1, virgl.BUFFER, virgl.R8, 1 << 4) == 0
    assert worker.call(PICTURE, 6, 1)[0] != 0
    assert worker.call(PICTURE, 99, 1)[0] == errno.EINVAL
    assert worker.call(PICTURE, virgl.COPY_SOURCE, 1)[0] == errno.EINVAL


def test_pictures_do_not_pile_up(server, worker):
    pid, = server.workers()
    add(worker, 5)
    os.close(export(worker, 5)[3])
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for number in range(10, 60):
        add(worker, number)
        os.close(export(worker, number)[3])
        worker.send(RESOURCE_UNREF, number)
    assert worker.call(SETTLE)[0] == 0
    assert len(os.listdir(f"/proc/{pid}/fd")) == before
