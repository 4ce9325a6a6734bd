"""What memory objects cost: each byte that the host makes for a guest is its
client's, once.

SPDX-License-Identifier: MIT
"""
import errno
import struct

import pytest

import vgpu
from opencl import CL

MEM_SIZE, GLOBAL_MEM_SIZE, MAX_MEM_ALLOC_SIZE = 0x1102, 0x101F, 0x1010
ALLOCATION_FAILURE = -4
RGBA = struct.pack("<II", 0x10B5, 0x10DA)
MIB = 1 << 20


@pytest.fixture(name="client")
def make_client(request, start, monkeypatch):
    """One that may have 64 MiB."""
    monkeypatch.setenv("VGPU_PERF", getattr(request, "param", "direct"))
    return start("--memory", "64M").client()


# A worker that makes the memory itself, and one whose host does.
either = pytest.mark.parametrize("client", ["direct", "no_direct"], indirect=True)


@pytest.fixture(name="cl")
def make_cl(client):
    return CL(client.context()).start()


def error_of(cl, mem):
    """Why the object is none; 0 if it is one."""
    return cl.raw("clGetMemObjectInfo", memobj=mem, param_name=MEM_SIZE,
                  param_value_size=8, param_value=8)["ret"]


def buffer(cl, size):
    mem = cl.buffer(size)
    return mem, error_of(cl, mem)


def image(cl, width, height, on=0):
    desc = struct.pack("<IxxxxQQQQQQIIQ", 0x10F6 if on else 0x10F1, width,
                       height, 0, 0, 0, 0, 0, 0, 0)
    mem = cl.new()
    return mem, cl.raw("vclCreateImage", context=cl.ctx, flags=1,
                       image_format=RGBA, image_desc=desc, buffer=on,
                       new_mem=mem)["ret"]


def release(cl, mem):
    cl.send("clReleaseMemObject", memobj=mem)
    cl.context.ping()


@either
@pytest.mark.parametrize("make", [lambda cl: buffer(cl, 40 * MIB),
                                  lambda cl: image(cl, 2560, 4096)],
                         ids=["buffer", "image"])
def test_what_is_made_is_charged_until_it_is_destroyed(client, cl, make):
    other = client.context()
    for _ in range(3):
        mem, err = make(cl)
        assert err == 0
        assert make(cl)[1] == ALLOCATION_FAILURE
        with pytest.raises(vgpu.Refused) as refused:
            other.blob(2, 40 * MIB)
        assert refused.value.status == errno.EDQUOT
        release(cl, mem)
    other.blob(2, 40 * MIB)
    assert make(cl)[1] == ALLOCATION_FAILURE


def test_what_is_made_of_something_charged_is_not_charged_again(cl):
    blob, mem = cl.new_blob(), cl.new()
    cl.context.blob(blob, 40 * MIB)
    cl.send("vclCreateBufferInBlob", context=cl.ctx, flags=1, size=40 * MIB,
            blob=blob, blob_offset=0, new_mem=mem)
    assert error_of(cl, mem) == 0
    part = cl.new()
    cl.send("vclCreateSubBuffer", buffer=mem, flags=1, origin=0,
            size=30 * MIB, new_mem=part)
    assert error_of(cl, part) == 0
    own, err = buffer(cl, 16 * MIB)
    assert err == 0
    release(cl, own)
    address = cl.call("vclSVMAlloc", context=cl.ctx, flags=1,
                      size=16 * MIB)["address"]
    in_svm = cl.new()
    cl.send("vclCreateBufferInSVM", context=cl.ctx, flags=1, size=16 * MIB,
            address=address, new_mem=in_svm)
    assert error_of(cl, in_svm) == 0


def test_an_image_on_a_buffer_is_the_buffers_memory(cl):
    mem, err = buffer(cl, 40 * MIB)
    assert err == 0
    _, err = image(cl, 8 * MIB, 0, on=mem)
    assert err == 0


@either
@pytest.mark.parametrize("size", [65 * MIB, 1 << 40, 1 << 62, (1 << 64) - 1])
def test_more_than_there_is_is_an_error_of_its_own(client, cl, size):
    assert buffer(cl, size)[1] == ALLOCATION_FAILURE
    assert buffer(cl, 16 * MIB)[1] == 0
    assert client.status()["contexts"] == 1


def test_what_comes_and_goes_costs_nothing(cl):
    for _ in range(200):
        for size in 64, 5 * MIB:
            cl.send("clReleaseMemObject", memobj=cl.buffer(size))
    assert buffer(cl, 60 * MIB)[1] == 0


def test_a_worker_that_waits_keeps_little_to_spare(client, cl):
    release(cl, buffer(cl, 7 * MIB // 2)[0])
    other = client.context()

    def has_room():
        try:
            other.blob(2, 60 * MIB)
            return True
        except vgpu.Refused:
            return False

    vgpu.wait_until(has_room)


def test_a_context_that_ends_leaves_its_bytes_to_others(client, cl):
    assert buffer(cl, 60 * MIB)[1] == 0
    other = CL(client.context()).start()
    assert buffer(other, 60 * MIB)[1] == ALLOCATION_FAILURE
    cl.context.close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 1)
    assert buffer(other, 60 * MIB)[1] == 0


def test_devices_have_no_more_than_the_client(cl):
    def size(name):
        return struct.unpack("<Q", cl.device_info(name))[0]

    assert size(GLOBAL_MEM_SIZE) == 64 * MIB
    assert size(MAX_MEM_ALLOC_SIZE) == 32 * MIB
