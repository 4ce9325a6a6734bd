"""What --processors gives: so many for all workers of a server, and no way to more.

SPDX-License-Identifier: MIT
"""
import contextlib
import os
import pathlib
import re
import struct
import subprocess
import time

import pytest

from conftest import SERVER, cpu_ticks, numbers, processors_of
from opencl import CL

MINE = os.sched_getaffinity(0)
MAX_COMPUTE_UNITS = 0x1002

needs_two = pytest.mark.skipif(len(MINE) < 2, reason="there is one processor")


def computes(cl):
    kernel, _ = cl.kernel("__kernel void f(__global int *a) { *a = 7; }", "f")
    buffer = cl.buffer(4)
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    cl.run(kernel, 1)
    return cl.read(buffer, 4) == b"\7\0\0\0"


def last_processor(pid):
    """Where that thread of a process last was which has run longest."""
    stats = [task.joinpath("stat").read_text().rsplit(")", 1)[1].split()
             for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return int(max(stats, key=lambda fields: int(fields[11]))[36])


@contextlib.contextmanager
def on(processors):
    """What is started meanwhile has these."""
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, MINE)


@needs_two
def test_all_workers_have_the_same(start):
    server = start("--processors", "1")
    client = server.client()
    contexts = [CL(client.context()).start() for _ in range(3)]
    assert all(computes(cl) for cl in contexts)
    one = processors_of(server.pid)
    assert len(one) == 1 and one < MINE
    workers = server.workers()
    assert len(workers) == 3
    assert all(processors_of(worker) == one for worker in workers)


@needs_two
def test_a_device_that_is_a_processor_is_no_larger_than_that(start):
    cl = CL(start("--processors", "1").client().context()).start()
    if not cl.is_processor():
        pytest.skip("the host's device is none")
    assert struct.unpack("<I", cl.device_info(MAX_COMPUTE_UNITS, 4)) == (1,)


@pytest.mark.parametrize("options", [[], ["--processors", "0"], ["--processors", "1000000"]])
def test_otherwise_it_is_all_that_the_server_has(start, options):
    server = start(*options)
    cl = CL(server.client().context()).start()
    assert computes(cl)
    assert processors_of(server.workers()[0]) == MINE


@needs_two
def test_they_are_among_those_that_the_server_was_given(start):
    for n in sorted(MINE)[:2]:
        with on({n}):
            said = subprocess.run([SERVER, "--processors", "1", "--isolation"],
                                  capture_output=True, text=True).stdout
        assert f"processors: {n}, for all workers together\n" in said


@needs_two
def test_it_is_not_always_the_first(start):
    drawn = set()
    for _ in range(40):
        said = subprocess.run([SERVER, "--processors", "1", "--isolation"],
                              capture_output=True, text=True).stdout
        one = numbers(re.search(r"processors: (\S+), for all", said)[1])
        assert len(one) == 1
        drawn |= one
        if len(drawn) > 1:
            break
    assert len(drawn) > 1 and drawn <= MINE


@needs_two
def test_endless_kernels_of_two_contexts_share_what_there_is(start):
    server = start("--processors", "1")
    client = server.client()
    contexts = [CL(client.context()).start() for _ in range(2)]
    for cl in contexts:
        kernel, _ = cl.kernel("__kernel void f(__global volatile int *a)"
                              " { while (!*a) { } }", "f")
        buffer = cl.buffer(4)
        cl.write(buffer, b"\0\0\0\0")
        cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
        cl.finish()
        cl.run(kernel, 64)
        cl.context.ping()
    workers = server.workers()
    assert len(workers) == 2

    def used():
        return sum(cpu_ticks(worker) for worker in workers) / os.sysconf("SC_CLK_TCK")

    began, before = time.monotonic(), used()
    seen = set()
    while time.monotonic() < began + 2:
        time.sleep(0.02)
        seen |= {last_processor(worker) for worker in workers}
    spent = used() - before
    elapsed = time.monotonic() - began
    assert 0 < spent <= 1.3 * elapsed
    # On a busy machine they would not get more anyway.
    assert seen == processors_of(server.pid)
