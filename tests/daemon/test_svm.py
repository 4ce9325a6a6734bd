"""Shared virtual memory in a worker: which addresses a guest may name.

SPDX-License-Identifier: MIT
"""
import pytest

import opencl
from opencl import CL, Error

INVALID_ARG_VALUE = -50
OUT_OF_RESOURCES = -5


@pytest.fixture(params=["direct", "no_direct"])
def cl(request, start, monkeypatch):
    monkeypatch.setenv("VGPU_PERF", request.param)
    return CL(start().client().context()).start()


def alloc(cl, size, **values):
    return cl.call("vclSVMAlloc", context=cl.ctx, flags=1, size=size,
                   **values)["address"]


def read(cl, address, size):
    return cl.call("vclEnqueueReadSVM", command_queue=cl.queue,
                   address=address, blocking_read=1, size=size,
                   ptr=size)["ptr"]


def write(cl, address, data):
    cl.call("vclEnqueueWriteSVM", command_queue=cl.queue, address=address,
            blocking_write=1, size=len(data), ptr=data)


def test_regions_are_whole_pages_and_apart(cl):
    regions = sorted(alloc(cl, 5000) for _ in range(8))
    assert all(a % 4096 == 0 for a in regions)
    assert all(b - a >= 8192 for a, b in zip(regions, regions[1:]))
    for i, address in enumerate(regions):
        write(cl, address + 4990, bytes([i] * 10))
    for i, address in enumerate(regions):
        assert read(cl, address + 4990, 10) == bytes([i] * 10)


@pytest.mark.parametrize("offset,size", [
    (-1, 4), (3997, 4), (4000, 1), (1 << 40, 1), (0, 4001), (0, 0)])
def test_bytes_outside_of_regions_are_refused(cl, offset, size):
    address = (alloc(cl, 4000) + offset) % (1 << 64)
    for call in (lambda: read(cl, address, size),
                 lambda: write(cl, address, b"x" * size)):
        with pytest.raises(Error) as error:
            call()
        assert error.value.code == opencl.INVALID_VALUE
    answer = cl.raw("vclEnqueueFillSVM", command_queue=cl.queue,
                    address=address, pattern=b"x", pattern_size=1, size=size)
    assert answer["ret"] == opencl.INVALID_VALUE


def test_freed_regions_are_gone_but_not_under_buffers(cl):
    address, buffer = alloc(cl, 4096), cl.new()
    write(cl, address, b"still here")
    cl.call("vclCreateBufferInSVM", context=cl.ctx, flags=1, size=4096,
            address=address, new_mem=buffer)
    for ret in (0, opencl.INVALID_VALUE):
        assert cl.raw("vclSVMFree", context=cl.ctx,
                      address=address)["ret"] == ret
    with pytest.raises(Error):
        read(cl, address, 4)
    assert cl.read(buffer, 10) == b"still here"
    cl.call("clReleaseMemObject", memobj=buffer)
    assert cl.finish() == 0


def test_an_address_never_becomes_a_handle(cl):
    source = ("__kernel void f(__global int *a, sampler_t b, "
              "read_only image2d_t c, long d) {}")
    kernel, _ = cl.kernel(source, "f")
    address = alloc(cl, 64)
    expected = [0] + [INVALID_ARG_VALUE] * 3
    got = [cl.raw("vclSetKernelArgSVM", kernel=kernel, arg_index=i,
                  address=address)["ret"] for i in range(4)]
    assert got == expected
    answer = cl.raw("vclSetKernelArgSVM", kernel=kernel, arg_index=0,
                    address=address + 64)
    assert answer["ret"] == INVALID_ARG_VALUE
    answer = cl.raw("vclSetKernelExecSVM", kernel=kernel, num_addresses=2,
                    addresses=[address, 0x1000])
    assert answer["ret"] == opencl.INVALID_VALUE


def test_regions_are_charged(start):
    cl = CL(start("--memory", "32M").client().context()).start()
    size = 4 << 20
    regions = []
    with pytest.raises(Error) as error:
        for _ in range(9):
            regions.append(alloc(cl, size))
    assert error.value.code == OUT_OF_RESOURCES
    assert 4 <= len(regions) < 8
    cl.call("vclSVMFree", context=cl.ctx, address=regions.pop())
    alloc(cl, size)
    with pytest.raises(Error):
        alloc(cl, 64, slack=1 << 30)
