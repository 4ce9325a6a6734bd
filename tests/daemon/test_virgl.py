"""The virgl worker, without a VM: real EGL and GL, and what a hostile guest sends.

SPDX-License-Identifier: MIT
"""
import errno
import os
import signal
import struct

import pytest

import vgpu
import virgl
from conftest import status_of
from virgl import (ATTACH, BUFFER, CONTEXT_DESTROY, GET, PUT, RESOURCE_UNREF, START, SUBMIT, Virgl)


@pytest.fixture
def worker(client):
    with Virgl(client) as one:
        yield one


def test_caps_are_virgl2_without_what_cannot_be_kept(worker):
    assert worker.version == 2 and len(worker.caps) >= 1376
    bits, = struct.unpack_from("<I", worker.caps, 392)
    assert bits & 1, "texture views are there on any GL that is worth it"
    assert not bits & (1 << 26 | 1 << 31)
    assert not struct.unpack_from("<I", worker.caps, 688)[0] & 1 << 7


def test_sandbox_is_that_of_all_workers(server, worker):
    status = status_of(server.workers()[0])
    assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"


def test_what_is_put_can_be_got(worker):
    assert worker.context(1) == 0
    assert worker.resource(5, 16, 8) == 0
    worker.send(ATTACH, 1, 5)
    picture = os.urandom(16 * 8 * 4)
    worker.memory[:512] = picture
    assert worker.transfer(PUT, 1, 5, (0, 0, 0, 16, 8, 1), 64, 512)[0] == 0
    assert worker.transfer(GET, 1, 5, (0, 0, 0, 16, 8, 1), 64, 512, offset=4096) == (0, 64, 8)
    assert worker.memory[4096:4096 + 512] == picture
    assert worker.transfer(GET, 1, 5, (3, 2, 0, 1, 1, 1), 64, 64, offset=8192) == (0, 4, 1)
    assert worker.memory[8192:8196] == picture[2 * 64 + 12:2 * 64 + 16]


def test_buffer_is_put_and_got(worker):
    assert worker.context(1) == 0
    assert worker.resource(5, 4096, 1, BUFFER, virgl.R8, 1 << 4) == 0
    worker.send(ATTACH, 1, 5)
    worker.memory[:100] = bytes(range(100))
    assert worker.transfer(PUT, 1, 5, (50, 0, 0, 100, 1, 1), 0, 100)[0] == 0
    assert worker.transfer(GET, 1, 5, (60, 0, 0, 10, 1, 1), 0, 10, offset=200) == (0, 10, 1)
    assert worker.memory[200:210] == bytes(range(10, 20))


def test_clear_is_drawn(worker):
    assert worker.context(1) == 0
    assert worker.resource(5) == 0
    worker.send(ATTACH, 1, 5)
    assert worker.submit(1, virgl.clear_stream(5, (1.0, 0.5, 0.0, 1.0))) == 0
    assert worker.fence(1) == 0
    assert worker.transfer(GET, 0, 5, (0, 0, 0, 64, 64, 1), 256, 64 * 256)[0] == 0
    pixels = set(struct.unpack("<4096I", worker.memory[:64 * 256]))
    assert pixels <= {0xFFFF7F00, 0xFFFF8000}


def test_fences_of_a_context_that_goes_are_completed(worker):
    assert worker.context(1) == 0
    assert worker.resource(5, 1024, 1024) == 0
    worker.send(ATTACH, 1, 5)
    stream = virgl.clear_stream(5, (1, 1, 1, 1))
    worker.send(SUBMIT, 1, len(stream), data=stream)
    worker.send(SUBMIT, 1, 0, token=71)
    worker.send(SUBMIT, 1, 0, token=72)
    worker.send(CONTEXT_DESTROY, 1)
    assert {worker.wait()[0], worker.wait()[0]} == {71, 72}


def test_mistakes_are_answered_and_cost_nothing(worker):
    assert worker.context(1) == 0
    assert worker.resource(5) == 0
    assert worker.resource(5) != 0, "an id that is in use"
    assert worker.resource(0) != 0
    assert worker.resource(6, form=99999) != 0
    assert worker.resource(7, 0xFFFFFFFF, 0xFFFFFFFF) != 0
    assert worker.context(0) != 0
    assert worker.fence(9) != 0
    assert worker.call(SUBMIT, 9, 4, data=b"\0\0\0\0")[0] != 0
    assert worker.call(SUBMIT, 0, 4, data=b"\0\0\0\0")[0] != 0
    assert worker.call(START)[0] != 0, "a second one"
    box = (0, 0, 0, 64, 64, 1)
    assert worker.transfer(PUT, 1, 5, box, 256, 64 * 256)[0] != 0, "it is not attached"
    worker.send(ATTACH, 1, 5)
    for size, offset, blob in ((100, 0, 2), (1 << 40, 0, 2), (64 * 256, (1 << 20) - 8, 2), (64 * 256, 0, 77)):
        assert worker.transfer(PUT, 1, 5, box, 256, size, offset, blob)[0] != 0
    for bad in ((60, 0, 0, 64, 64, 1), (0, 0, 0, 64, 65, 1), (0, 0, 5, 1, 1, 1), (0xFFFFFFFF,) * 6):
        assert worker.transfer(GET, 1, 5, bad, 256, 64 * 256)[0] != 0
    worker.send(ATTACH, 77, 5)
    worker.send(ATTACH, 1, 77)
    worker.send(RESOURCE_UNREF, 77)
    # virglrenderer gives up on the context that was wrong, and on no other.
    assert worker.context(2) == 0
    worker.send(ATTACH, 2, 5)
    assert worker.transfer(PUT, 2, 5, box, 256, 64 * 256)[0] == 0


def test_a_broken_stream_costs_its_context_alone(worker):
    assert worker.context(1) == 0 and worker.context(2) == 0
    assert worker.resource(5) == 0
    worker.send(ATTACH, 2, 5)
    for seed in range(200):
        worker.send(SUBMIT, 1, 64, data=struct.pack("<I", seed % 60 | 15 << 16) + os.urandom(60))
    assert worker.submit(2, virgl.clear_stream(5, (0, 0, 0, 1))) == 0
    assert worker.fence(2) == 0


@pytest.mark.parametrize("call, items", [(0, ()), (11, ()), (START, (1,)), (SUBMIT, (1, 3)), (SUBMIT, (1, 400)),
                                         (GET, (1, 2, 3)), (SUBMIT, ()), (ATTACH, (1 << 32, 1))])
def test_what_cannot_be_decoded_ends_the_worker(worker, call, items):
    worker.send(call, *items)
    why, text = worker.worker.wait_lost()
    assert why == vgpu.FATAL_PROTOCOL and "decoded" in text


def test_bytes_are_charged(start):
    with start("--memory", "64M").client() as client, Virgl(client) as worker:
        assert worker.resource(1, 2048, 2048) == 0      # 16 MiB, beside 17 MiB of ring
        assert worker.resource(2, 2048, 2048) == 0
        assert worker.resource(3, 2048, 2048) != 0
        worker.send(RESOURCE_UNREF, 1)
        assert worker.resource(3, 2048, 2048) == 0


def test_idle_worker_sleeps(server, worker):
    from conftest import cpu_ticks
    import time
    assert worker.context(1) == 0 and worker.fence(1) == 0
    time.sleep(0.3)
    before = cpu_ticks(server.workers()[0])
    time.sleep(0.5)
    assert cpu_ticks(server.workers()[0]) - before <= 1


def test_two_workers_do_not_meet(server, client):
    with Virgl(client) as one, Virgl(client) as two:
        assert one.context(1) == 0 and two.context(1) == 0
        assert one.resource(5) == 0 and two.resource(5) == 0
        os.kill(server.workers()[0], signal.SIGKILL)
        one.worker.wait_lost()
        assert two.fence(1) == 0


def test_host_without_opengl_says_so(start, monkeypatch):
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", "/nonexistent")
    server = start()
    with server.client() as client, Virgl(client, start=False) as worker:
        assert worker.call(START)[0] == errno.ENODEV
    vgpu.wait_until(lambda: "there is no EGL" in server.log())


def test_opencl_context_serves_no_virgl(context):
    status, _ = context.call(virgl.API, START, struct.pack("<Q", 0))
    assert status == vgpu.UNKNOWN
