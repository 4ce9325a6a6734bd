"""One context: blobs, ring, and what happens to a guest that breaks them.

SPDX-License-Identifier: MIT
"""
import errno
import os
import struct
import time

import pytest

import vgpu
from conftest import cpu_ticks

F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW = 1, 2, 4


# --- blobs ---------------------------------------------------------------------

def test_blobs_are_sealed(context):
    memory = context.blob(2, 100)
    assert len(memory) == 4096
    assert context.blob_fd_seals & (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)


@pytest.mark.parametrize("number, size, status", [
    (2, 0, errno.EINVAL), (0, 4096, errno.EINVAL),
    (2, (1 << 32) + 1, errno.EINVAL), (2, 1 << 63, errno.EINVAL),
    (1 << 63, 4096, errno.EINVAL), (1, 4096, errno.EEXIST),
])
def test_impossible_blobs_are_refused(context, number, size, status):
    with pytest.raises(vgpu.Refused) as refused:
        context.blob(number, size)
    assert refused.value.status == status
    context.ping()


def test_a_ring_too_small_is_refused(client):
    context = client.context(start=False)
    with pytest.raises(vgpu.Refused) as refused:
        context.blob(vgpu.RING_BLOB, 4096)
    assert refused.value.status == errno.EINVAL


def test_blob_in_use_is_refused_and_destroyed_is_free(context):
    context.blob(2, 4096)
    with pytest.raises(vgpu.Refused) as refused:
        context.blob(2, 4096)
    assert refused.value.status == errno.EEXIST
    for _ in range(50):
        context.blob_destroy(2)
        context.blob(2, 4096)
    context.blob_destroy(99)
    context.ping()


def test_too_many_blobs_are_refused(context):
    with pytest.raises(vgpu.Refused) as refused:
        for i in range(5000):
            context.blob(2 + i, 4096)
    assert refused.value.status == errno.ENOSPC
    assert i == 4095  # and the ring


def test_memory_is_the_clients_and_comes_back(start):
    server = start("--memory", "16M")
    client = server.client()
    first, second = client.context(), client.context()
    first.blob(2, 8 << 20)
    with pytest.raises(vgpu.Refused) as refused:
        second.blob(2, 8 << 20)
    assert refused.value.status == errno.EDQUOT
    # Another client has memory of its own.
    server.client().context().blob(2, 8 << 20)
    first.blob_destroy(2)
    vgpu.wait_until(lambda: _can(second, 3, 8 << 20), what="the memory")
    second.blob_destroy(3)
    vgpu.wait_until(lambda: _can(first, 4, 8 << 20), what="the memory")
    first.close()
    vgpu.wait_until(lambda: _can(second, 5, 8 << 20), what="the memory")


def _can(context, number, size):
    try:
        context.blob(number, size)
        return True
    except vgpu.Refused:
        return False


# --- calls -----------------------------------------------------------------------

def test_pings_are_answered_on_every_slot(context):
    for slot in range(1, vgpu.SLOTS):
        context.ping(slot)
    for _ in range(3000):
        context.ping(5)


def test_ring_wraps(client):
    context = client.context(ring=64 << 10)
    assert context.cmd_size == 64 << 10
    for i in range(500):
        size = 16 * (i % 60)
        assert context.call(vgpu.API_OPENCL, 0xfff0, b"\0" * size)[0] == \
            vgpu.UNKNOWN


def test_many_calls_and_one_answer(context):
    for _ in range(1000):
        context.send(vgpu.API_SESSION, vgpu.PING)
    context.ping()


@pytest.mark.parametrize("api, call", [(0, 2), (1, 0), (1, 0xffff), (2, 1),
                                       (0xffff, 1)])
def test_unknown_calls_are_answered(context, api, call):
    assert context.call(api, call) == (vgpu.UNKNOWN, b"")
    context.ping()


def test_ping_with_payload_is_malformed(context):
    context.send(vgpu.API_SESSION, vgpu.PING, b"\0" * 8)
    why, text = context.wait_lost()
    assert why == vgpu.FATAL_PROTOCOL and "cannot be decoded" in text
    assert context.fatal() == vgpu.FATAL_PROTOCOL


def test_an_awake_worker_needs_no_doorbell(context):
    context.ping()
    before = context.doorbells
    for _ in range(1000):
        context.send(vgpu.API_SESSION, vgpu.PING)
    context.ping()
    assert context.doorbells - before < 200


# --- broken rings -------------------------------------------------------------------

def _header(size=32, payload=0, slot=0):
    return struct.pack("<IIHHHHIIQ", size, payload, 0, 1, slot, 0, 0, 0, 0)


@pytest.mark.parametrize("message", [
    _header(size=0), _header(size=8), _header(size=33), _header(size=1 << 30),
    _header(size=0xfffffff0), _header(payload=8), _header(payload=0xfffffff8),
    _header(payload=3), _header(slot=64), _header(slot=0xffff),
    struct.pack("<IIII", 16, 0, 0, 0),
], ids=lambda m: m[:12].hex())
def test_impossible_message_costs_the_context(client, message):
    context, other = client.context(), client.context()
    context.put(message)
    why, _ = context.wait_lost()
    assert why == vgpu.FATAL_PROTOCOL
    assert context.fatal() == vgpu.FATAL_PROTOCOL
    other.ping()


@pytest.mark.parametrize("tail", [1, 8, 0x80000000, 0xffffffff, (1 << 20) + 16])
def test_impossible_tail_costs_the_context(context, tail):
    context.set_u32(vgpu.TAIL, tail)
    context.wake()
    assert context.wait_lost()[0] == vgpu.FATAL_PROTOCOL


def test_ring_header_is_not_read_back(context):
    context.ping()
    context.ring[0:64] = b"\xff" * 64
    context.ping()
    for slot in range(vgpu.SLOTS):
        at = vgpu.SLOT_OFFSET + 64 * slot
        if slot != 1:
            context.ring[at:at + 64] = b"\xff" * 64
    context.ping()


@pytest.mark.parametrize("packet", [
    b"x", b"\xff" * 24, struct.pack("<II", vgpu.STATUS, 0),
    struct.pack("<II", vgpu.RING_EVENT, 1),
], ids=["short", "unknown", "server's", "without-fd"])
def test_garbage_on_the_socket_costs_the_context(client, packet):
    context, other = client.context(), client.context()
    context.packet(packet)
    assert context.wait_lost()[0] == vgpu.FATAL_PROTOCOL
    assert context.fatal() == vgpu.FATAL_PROTOCOL
    other.ping()


def test_ring_event_beyond_the_slots_costs_the_context(context):
    context.packet(struct.pack("<II", vgpu.RING_EVENT, 64), [context.doorbell])
    assert context.wait_lost()[0] == vgpu.FATAL_PROTOCOL


def test_sleepers_are_woken_when_the_context_is_lost(context):
    event = context.event(9)
    context.ping()
    context.put(_header(size=0))
    context.wait_lost()
    assert struct.unpack("<Q", os.read(event, 8))[0] >= 1


def test_an_event_can_be_replaced(context):
    context.ping(3)
    context.events.pop(3)
    context.ping(3)


def test_doorbell_that_is_no_eventfd(client):
    real, vgpu.eventfd = vgpu.eventfd, lambda: os.open("/dev/null", os.O_RDWR)
    try:
        context = client.context(start=False)
    finally:
        vgpu.eventfd = real
    why, text = context.wait_lost()
    assert why == vgpu.FATAL_WORKER and "eventfd" in text


# --- rest -----------------------------------------------------------------------------

def test_idle_worker_uses_no_cpu(server, context):
    context.ping()
    pids = [server.pid, *server.workers()]
    time.sleep(0.2)
    before = [cpu_ticks(pid) for pid in pids]
    time.sleep(2)
    assert [cpu_ticks(pid) for pid in pids] == before


def test_closing_the_socket_ends_the_context(client, context):
    context.sock.shutdown(2)
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)


def test_no_spin_answers_too(start, monkeypatch):
    monkeypatch.setenv("VGPU_PERF", "no_spin")
    context = start().client().context()
    for _ in range(100):
        context.ping()
