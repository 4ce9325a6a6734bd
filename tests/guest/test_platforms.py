"""A host with two OpenCL platforms: both are there, and compute, also in one program.

The second is Oclgrind, a simulator of a device, which is asked for here alone.

SPDX-License-Identifier: MIT
"""
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

SECOND = Path("/usr/lib/oclgrind/liboclgrind-rt-icd.so")
VENDORS = Path("/etc/OpenCL/vendors")
INVALID_CONTEXT = -34

PROGRAM = """
import numpy, pyopencl as cl

SOURCE = "__kernel void f(__global int *a) { a[get_global_id(0)] *= 3; }"
numbers = numpy.arange(1000, dtype=numpy.int32)
work = []
for device in (d for p in cl.get_platforms() for d in p.get_devices()):
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    buffer = cl.Buffer(context, cl.mem_flags.COPY_HOST_PTR, hostbuf=numbers)
    cl.Program(context, SOURCE).build().f(queue, numbers.shape, None, buffer)
    work.append((device, queue, buffer))
for device, queue, buffer in work:
    result = numpy.empty_like(numbers)
    cl.enqueue_copy(queue, result, buffer)
    print(device.platform.name, "computes" if (result == 3 * numbers).all() else result)
first, second = (buffer for _, _, buffer in work[:2])
try:
    cl.enqueue_copy(work[0][1], second, first)
    print("a buffer of another platform is taken")
except cl.Error as error:
    print(error.code)
"""


@pytest.fixture
def vendors(tmp_path):
    """A folder for the ICD loader that names the host's drivers, and the second platform's."""
    if not SECOND.exists():
        pytest.skip(f"there is no second OpenCL here: {SECOND} is Debian 12's package oclgrind")
    folder = tmp_path / "vendors"
    folder.mkdir()
    for file in VENDORS.glob("*.icd"):
        (folder / file.name).write_text(file.read_text())
    (folder / "second.icd").write_text(f"{SECOND}\n")
    return folder


@pytest.fixture
def server(vendors, tmp_path):
    path = tmp_path / "socket"
    process = subprocess.Popen([os.environ["VGPU_REMOTED"], "--socket", path, "--readable", vendors],
                               env={**os.environ, "OCL_ICD_VENDORS": str(vendors)})
    end = time.monotonic() + 20
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        while client.connect_ex(str(path)) and time.monotonic() < end:
            time.sleep(0.01)
    yield path
    process.terminate()
    process.wait(10)


def output(command, env=None):
    end = subprocess.run([*command, "/usr/bin/python3", "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, timeout=100, env={**os.environ, "PYOPENCL_NO_CACHE": "1", **(env or {})})
    assert end.returncode == 0, end.stderr
    return end.stdout.splitlines()


def test_all_platforms_of_the_host_compute(vendors, server):
    native = output([], {"OCL_ICD_VENDORS": str(vendors)})
    assert sum(line.endswith(" computes") for line in native) >= 2
    here = output([os.environ["VGPU_RUN"], "--server", server])
    assert [line.replace(" via vgpu-remote", "") for line in here[:-1]] == native[:-1]
    # Natively that is for either driver to say, which has never seen the other's buffers.
    assert here[-1] == str(INVALID_CONTEXT)
    assert sum(line.endswith(" via vgpu-remote computes") for line in here) >= 2
