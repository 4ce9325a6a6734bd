"""The Venus worker, without a VM: blobs, fences, and what a hostile guest sends.

What Vulkan does is not seen here: that takes a guest's driver (tests/vm/test_venus.py).

SPDX-License-Identifier: MIT
"""
import ctypes
import errno
import os
import signal
import struct
import time

import pytest

import venus
import vgpu
from conftest import cpu_ticks, status_of
from venus import BLOB_CREATE, BLOB_DESTROY, SUBMIT, Venus


def has_venus():
    library = ctypes.CDLL("libvirglrenderer.so.1")
    version, size = ctypes.c_uint32(), ctypes.c_uint32()
    library.virgl_renderer_get_cap_set(4, ctypes.byref(version), ctypes.byref(size))
    return size.value > 0


pytestmark = pytest.mark.skipif(not has_venus() or not os.path.exists("/usr/libexec/virgl_render_server"),
                                reason="this virglrenderer has no Venus, or no render server: is virgl-server installed?")
MIB = 1 << 20


@pytest.fixture
def worker(client):
    with Venus(client) as one:
        yield one


def test_sandbox_is_that_of_all_workers(server, worker):
    worker.fence(1)
    status = status_of(server.workers()[0])
    assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"


def test_plain_memory_is_made(worker):
    for resource, size in ((5, 4096), (6, MIB)):
        status, memory = worker.blob(resource, size)
        assert status == 0 and len(memory) == size and memory[:] == bytes(size)
        memory[:4] = b"mine"
    worker.destroy(5)
    assert worker.blob(5, 8192)[1][:4] == bytes(4)


def test_bytes_are_charged_and_given_back(start):
    with start("--memory", "64M").client() as client, Venus(client) as worker:
        assert [worker.blob(resource, 20 * MIB)[0] for resource in (1, 2, 3, 4)] == [0, 0, 0, errno.EDQUOT]
        worker.destroy(2)
        assert worker.blob(4, 20 * MIB)[0] == 0
        with Venus(client) as other:
            assert other.blob(1, 20 * MIB)[0] == errno.EDQUOT, "it is the client's"


def test_mistakes_are_answered_and_cost_nothing(worker):
    assert worker.blob(5, 4096)[0] == 0
    assert worker.blob(5, 4096)[0] == errno.EEXIST
    for resource, size, number, flags in ((0, 4096, 0, 1), (1 << 31, 4096, 0, 1), (6, 0, 0, 1), (6, (1 << 32) + 4096, 0, 1),
                                          (6, 4096, 0, 9), (6, 4096, 77, 1), (6, 4096, 0, 0), (6, 4096, 1 << 63, 1)):
        assert worker.blob(resource, size, number, flags)[0] != 0, (resource, size, number, flags)
    worker.destroy(77)
    assert worker.blob(6, 4096)[0] == 0
    worker.fence(1)


def test_fence_comes_on_its_timeline(worker):
    for _ in range(3):
        worker.fence(1)


@pytest.mark.parametrize("slot", [2, 63])
def test_fence_of_a_timeline_without_a_queue_is_not_waited_for(worker, slot):
    """It comes at once, or, as virglrenderer has it since 1.0, the context is lost."""
    try:
        worker.fence(slot)
    except vgpu.Lost:
        assert "has ended" in worker.worker.lost[1]


def test_a_broken_stream_ends_its_context_alone(client, worker):
    with Venus(client) as other:
        worker.submit(os.urandom(64), slot=1, seq=1)
        why, text = worker.worker.wait_lost()
        assert (why == vgpu.FATAL_PROTOCOL and "refuses a stream" in text) or "render server has ended" in text
        other.fence(1)


@pytest.mark.parametrize("call, items", [(0, ()), (4, ()), (SUBMIT, ()), (SUBMIT, (64, 1, 0)), (SUBMIT, (1, 1, 2)),
                                         (SUBMIT, (1, 1, 400)), (BLOB_CREATE, (1, 1, 0)), (BLOB_CREATE, (1 << 32, 1, 0, 4096)),
                                         (BLOB_CREATE, (1, 1, 0, 4096, 0)), (BLOB_DESTROY, ())])
def test_what_cannot_be_decoded_ends_the_worker(worker, call, items):
    worker.send(call, *items)
    why, text = worker.worker.wait_lost()
    assert why == vgpu.FATAL_PROTOCOL and "decoded" in text


def test_killed_worker_takes_no_other_along(server, client, worker):
    worker.fence(1)
    pid, = server.workers()
    with Venus(client) as other:
        other.fence(1)
        os.kill(pid, signal.SIGKILL)
        worker.worker.wait_lost()
        other.fence(1)


def test_idle_worker_sleeps(server, worker):
    worker.fence(1)
    time.sleep(0.3)
    before = cpu_ticks(server.workers()[0])
    time.sleep(0.5)
    assert cpu_ticks(server.workers()[0]) - before <= 1


def test_opencl_context_serves_no_venus(context):
    status, _ = context.call(venus.API, SUBMIT, struct.pack("<3Q", 0, 0, 0))
    assert status == vgpu.UNKNOWN
