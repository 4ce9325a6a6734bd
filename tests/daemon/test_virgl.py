"""The virgl worker, without a VM: real EGL and GL, and what a hostile guest sends.

SPDX-License-Identifier: MIT
"""
import ctypes
import errno
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import struct

import pytest

import vgpu
import virgl
from conftest import processors_of, status_of
from virgl import (ATTACH, BUFFER, CONTEXT_DESTROY, COPY, COPY_SOURCE, GET, PUT, RESOURCE_UNREF, START, SUBMIT, Virgl)


def worker_fds(server):
    return len(os.listdir(f"/proc/{server.workers()[0]}/fd"))


@pytest.fixture
def worker(client):
    with Virgl(client) as one:
        yield one


def test_caps_are_virgl2_without_what_cannot_be_kept(worker):
    assert worker.version == 2 and len(worker.caps) >= 1376
    bits, = struct.unpack_from("<I", worker.caps, 392)
    assert bits & 1, "texture views are there on any GL that is worth it"
    assert bits & 1 << 26 and not bits & 1 << 31, "copies are made, memory of GL cannot be mapped"
    assert not struct.unpack_from("<I", worker.caps, 688)[0] & 1 << 7


def test_sandbox_is_that_of_all_workers(server, worker):
    status = status_of(server.workers()[0])
    assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
def test_its_threads_have_the_servers_processors(start):
    """Mesa gives some of its threads all that there are."""
    server = start("--processors", "1")
    with server.client() as client, Virgl(client) as worker:
        assert worker.context(1) == 0
        assert len(processors_of(server.workers()[0])) == 1


def test_what_is_put_can_be_got(worker):
    assert worker.context(1) == 0
    assert worker.resource(5, 16, 8) == 0
    worker.send(ATTACH, 1, 5)
    picture = os.urandom(16 * 8 * 4)
    worker.memory[:512] = picture
    assert worker.transfer(PUT, 1, 5, (0, 0, 0, 16, 8, 1), 64, 512) == 0
    assert worker.transfer(GET, 1, 5, (0, 0, 0, 16, 8, 1), 64, 512, offset=4096) == 0
    assert worker.memory[4096:4096 + 512] == picture
    assert worker.transfer(GET, 1, 5, (3, 2, 0, 1, 1, 1), 64, 64, offset=8192) == 0
    assert worker.memory[8192:8196] == picture[2 * 64 + 12:2 * 64 + 16]


def test_buffer_is_put_and_got(worker):
    assert worker.context(1) == 0
    assert worker.resource(5, 4096, 1, BUFFER, virgl.R8, 1 << 4) == 0
    worker.send(ATTACH, 1, 5)
    worker.memory[:100] = bytes(range(100))
    assert worker.transfer(PUT, 1, 5, (50, 0, 0, 100, 1, 1), 0, 100) == 0
    assert worker.transfer(GET, 1, 5, (60, 0, 0, 10, 1, 1), 0, 10, offset=200) == 0
    assert worker.memory[200:210] == bytes(range(10, 20))
    assert worker.transfer(COPY, 1, 5, (50, 0, 0, 100, 1, 1), 0, 100, offset=5) == 0
    assert worker.transfer(GET, 1, 5, (60, 0, 0, 10, 1, 1), 0, 10, offset=200) == 0
    assert worker.memory[200:210] == bytes(range(15, 25))


# Of each kind one of two levels: (target, format, bytes, width, height, depth, layers, boxes of level 1).
KINDS = [
    (virgl.TEXTURE_1D, virgl.R8, 1, 32, 1, 1, 1, (3, 0, 0, 9, 1, 1)),
    (virgl.TEXTURE_2D, virgl.B8G8R8A8, 4, 32, 16, 1, 1, (3, 2, 0, 9, 5, 1)),
    (virgl.TEXTURE_3D, virgl.B8G8R8A8, 4, 32, 16, 8, 1, (3, 2, 1, 9, 5, 3)),
    (virgl.TEXTURE_CUBE, virgl.B8G8R8A8, 4, 32, 32, 1, 6, (3, 2, 2, 9, 5, 1)),
    (virgl.TEXTURE_1D_ARRAY, virgl.R8, 1, 32, 1, 1, 4, (3, 0, 1, 9, 1, 2)),
    (virgl.TEXTURE_2D_ARRAY, 28, 4, 32, 16, 1, 4, (3, 2, 1, 9, 5, 2)),          # floats
    (virgl.TEXTURE_CUBE_ARRAY, 91, 2, 32, 32, 1, 12, (3, 2, 7, 9, 5, 2)),       # half floats
]


@pytest.mark.parametrize("call", [PUT, COPY])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"target{kind[0]}")
def test_boxes_of_each_kind_of_texture(worker, call, kind):
    """A level is filled, a box in its middle replaced, with rows and layers that are apart; all is read back."""
    target, form, size, width, height, depth, layers, box = kind
    assert worker.context(1) == 0
    assert worker.resource(5, width, height, target, form, virgl.BIND_SAMPLER_VIEW, depth, layers, 1) == 0
    worker.send(ATTACH, 1, 5)
    w, h, d = width // 2, max(1, height // 2), max(1, depth // 2) * layers
    # Small numbers: no value of a format that a driver may change.
    level = bytearray(os.urandom(w * h * d * size))
    level[size - 1::size] = bytes(len(level[size - 1::size]))
    worker.memory[:len(level)] = bytes(level)
    at_once = 1 if target == virgl.TEXTURE_CUBE else d    # virglrenderer takes one face at a time
    for i in range(0, d, at_once):
        assert worker.transfer(call, 1, 5, (0, 0, i, w, h, at_once), w * size, w * h * size * at_once,
                               offset=i * w * h * size, level=1, layer=w * h * size) == 0
    x, y, z, bw, bh, bd = box
    stride, layer = 64, 64 * (bh + 1)
    length = layer * (bd - 1) + stride * (bh - 1) + bw * size
    for i in range(bd):
        for j in range(bh):
            row = bytes(0 if n % size == size - 1 else n + 7 * i + j for n in range(bw * size))
            at = ((z + i) * h + y + j) * w * size + x * size
            level[at:at + bw * size] = row
            begin = 65536 + i * layer + j * stride
            worker.memory[begin:begin + bw * size] = row
    assert worker.transfer(call, 1, 5, box, stride, length, offset=65536, level=1, layer=layer) == 0
    # virglrenderer reads one layer at a time; of what lies between rows it touches nothing.
    for i in range(d):
        assert worker.transfer(GET, 1, 5, (0, 0, i, w, h, 1), w * size, w * h * size, offset=131072, level=1) == 0
        assert worker.memory[131072:131072 + w * h * size] == level[i * w * h * size:(i + 1) * w * h * size], i
    for i in range(bd):
        worker.memory[131072:131072 + layer] = b"\xee" * layer
        length = stride * (bh - 1) + bw * size
        assert worker.transfer(GET, 1, 5, (x, y, z + i, bw, bh, 1), stride, length, offset=131072, level=1) == 0
        for j in range(bh):
            want = worker.memory[65536 + i * layer + j * stride:][:bw * size]
            assert worker.memory[131072 + j * stride:131072 + (j + 1) * stride] == want + b"\xee" * (stride - len(want))
    assert worker.transfer(call, 1, 5, (x, y, z, w, bh, bd), w * size, 65536, level=1) != 0, "beyond the level"


def test_copy_is_made_after_what_was_drawn(worker):
    assert worker.context(1) == 0
    assert worker.resource(5) == 0
    worker.send(ATTACH, 1, 5)
    worker.memory[:64] = b"\x11\x22\x33\x44" * 16
    stream = virgl.clear_stream(5, (0, 0, 0, 0))
    worker.send(SUBMIT, 1, len(stream), data=stream)
    assert worker.transfer(COPY, 1, 5, (8, 8, 0, 4, 4, 1), 16, 64) == 0
    assert worker.transfer(GET, 1, 5, (0, 0, 0, 64, 64, 1), 256, 64 * 256, offset=4096) == 0
    for y in range(64):
        row = worker.memory[4096 + y * 256:4096 + y * 256 + 256]
        inside = b"\x11\x22\x33\x44" * 4 if 8 <= y < 12 else bytes(16)
        assert row[32:48] == inside and row[:32] == bytes(32) and row[48:] == bytes(208)


def test_source_of_copies_is_no_guests(worker):
    assert worker.context(1) == 0
    assert worker.resource(5, 64, 1, BUFFER, virgl.R8, 1 << 4) == 0
    worker.send(ATTACH, 1, 5)
    assert worker.resource(COPY_SOURCE) == errno.EINVAL
    assert worker.call(ATTACH, 1, COPY_SOURCE)[0] == errno.EINVAL
    worker.send(RESOURCE_UNREF, COPY_SOURCE)
    worker.memory[:64] = b"secret!!" * 8
    assert worker.transfer(COPY, 1, 5, (0, 0, 0, 64, 1, 1), 0, 64) == 0
    assert worker.transfer(PUT, 1, 5, (0, 0, 0, 64, 1, 1), 0, 64, offset=64) == 0
    # What a guest's own stream copies comes from nowhere.
    stream = virgl.command(virgl.COPY_TRANSFER3D, 0, 5, 0, 0, 0, 0, 0, 0, 0, 64, 1, 1, COPY_SOURCE, 0, 1)
    assert worker.submit(1, stream) != 0
    assert worker.transfer(GET, 0, 5, (0, 0, 0, 64, 1, 1), 0, 64, offset=128) == 0
    assert worker.memory[128:192] == bytes(64)
    for resource in (COPY_SOURCE, 77):
        assert worker.transfer(COPY, 1, resource, (0, 0, 0, 64, 1, 1), 0, 64) != 0
    assert worker.context(2) == 0 and worker.fence(2) == 0


def test_resource_of_guest_memory_alone_is_none_of_the_workers(start):
    with start("--memory", "32M").client() as client, Virgl(client) as worker:
        assert worker.context(1) == 0
        for number in range(10, 20):
            assert worker.resource(number, 1 << 30, 1, BUFFER, virgl.R8, virgl.BIND_STAGING) == 0, "costs nothing"
            worker.send(ATTACH, 1, number)
        assert worker.transfer(PUT, 1, 10, (0, 0, 0, 64, 1, 1), 0, 64) != 0
        worker.send(RESOURCE_UNREF, 10)
        assert worker.context(2) == 0 and worker.fence(2) == 0


# --- memory of the VM's own ---

PAGE = 4096
UDMABUF_CREATE = 0x40187542


@pytest.fixture(name="pages")
def make_pages():
    """A file of four pages that cannot shrink, each full of its number."""
    fd = os.memfd_create("ram", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, b"".join(bytes([n]) * PAGE for n in range(4)))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    yield fd
    os.close(fd)


def test_memory_that_is_no_dmabuf_is_refused(server, worker, pages):
    held = worker_fds(server)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (pages, null):
        assert worker.worker.give(100, 4 * PAGE, fd) == errno.EINVAL
    os.close(null)
    for number, size in ((0, PAGE), (virgl.STAGING, PAGE), (1 << 63, PAGE), (100, 0), (100, 1 << 40)):
        assert worker.worker.give(number, size, pages) in (errno.EINVAL, errno.EEXIST)
    assert worker.context(1) == 0 and worker.fence(1) == 0
    assert worker_fds(server) == held


def test_program_hands_over_no_memory(client, pages):
    with pytest.raises(vgpu.Lost, match="is none for a worker"):
        client.context().give(100, 4 * PAGE, pages)


@pytest.mark.skipif(not os.access("/dev/udmabuf", os.R_OK | os.W_OK),
                    reason="no /dev/udmabuf: see scripts/check --only host-vm")
def test_dmabuf_is_read_in_place_and_never_written(server, worker, pages):
    with open("/dev/udmabuf", "rb+", buffering=0) as device:
        dmabuf = fcntl.ioctl(device, UDMABUF_CREATE, bytearray(struct.pack("<IIQQ", pages, 1, PAGE, 2 * PAGE)))
    held = worker_fds(server)
    assert worker.worker.give(100, PAGE, dmabuf) == errno.EINVAL, "all of it, or nothing"
    assert worker.worker.give(100, 2 * PAGE, dmabuf) == 0
    assert worker.worker.give(100, 2 * PAGE, dmabuf) == errno.EEXIST
    assert worker_fds(server) == held, "the mapping will do"
    assert worker.context(1) == 0
    assert worker.resource(5, 2 * PAGE, 1, BUFFER, virgl.R8, 1 << 4) == 0
    worker.send(ATTACH, 1, 5)
    box = (0, 0, 0, 2 * PAGE, 1, 1)
    for call, first in ((PUT, 7), (COPY, 8)):
        os.pwrite(pages, bytes([first]) * 5, PAGE)
        assert worker.transfer(call, 1, 5, box, 0, 2 * PAGE, blob=100) == 0
        assert worker.transfer(GET, 1, 5, box, 0, 2 * PAGE) == 0
        assert worker.memory[:2 * PAGE] == bytes([first]) * 5 + b"\1" * (PAGE - 5) + b"\2" * PAGE
    assert worker.transfer(GET, 1, 5, box, 0, 2 * PAGE, blob=100) == errno.EINVAL
    assert worker.transfer(PUT, 1, 5, box, 0, 2 * PAGE, offset=PAGE, blob=100) == errno.EINVAL, "beyond it"
    worker.worker.blob_destroy(100)
    assert worker.worker.give(101, 2 * PAGE, dmabuf) == 0, "which tells that it has been destroyed"
    assert worker.transfer(PUT, 1, 5, box, 0, 2 * PAGE, blob=100) == errno.EINVAL
    statuses = [worker.worker.give(number, 2 * PAGE, dmabuf) for number in range(200, 1224)]
    assert statuses == [0] * 1023 + [errno.ENOSPC]
    os.close(dmabuf)
    assert worker.resource(6) == 0, "and there is memory for all else"


def test_clear_is_drawn(worker):
    assert worker.context(1) == 0
    assert worker.resource(5) == 0
    worker.send(ATTACH, 1, 5)
    assert worker.submit(1, virgl.clear_stream(5, (1.0, 0.5, 0.0, 1.0))) == 0
    assert worker.fence(1) == 0
    assert worker.transfer(GET, 0, 5, (0, 0, 0, 64, 64, 1), 256, 64 * 256) == 0
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
    assert worker.start()[0] != 0, "a second one"
    box = (0, 0, 0, 64, 64, 1)
    assert worker.transfer(PUT, 1, 5, box, 256, 64 * 256) != 0, "it is not attached"
    worker.send(ATTACH, 1, 5)
    for size, offset, blob in ((100, 0, 2), (1 << 40, 0, 2), (64 * 256, (1 << 20) - 8, 2), (64 * 256, 0, 77)):
        assert worker.transfer(PUT, 1, 5, box, 256, size, offset, blob) != 0
    for bad in ((60, 0, 0, 64, 64, 1), (0, 0, 0, 64, 65, 1), (0, 0, 5, 1, 1, 1), (0xFFFFFFFF,) * 6):
        assert worker.transfer(GET, 1, 5, bad, 256, 64 * 256) != 0
    worker.send(ATTACH, 77, 5)
    worker.send(ATTACH, 1, 77)
    worker.send(RESOURCE_UNREF, 77)
    # virglrenderer gives up on the context that was wrong, and on no other.
    assert worker.context(2) == 0
    worker.send(ATTACH, 2, 5)
    assert worker.transfer(PUT, 2, 5, box, 256, 64 * 256) == 0


def test_a_broken_stream_costs_its_context_alone(worker):
    assert worker.context(1) == 0 and worker.context(2) == 0
    assert worker.resource(5) == 0
    worker.send(ATTACH, 2, 5)
    for seed in range(200):
        worker.send(SUBMIT, 1, 64, data=struct.pack("<I", seed % 60 | 15 << 16) + os.urandom(60))
    assert worker.submit(2, virgl.clear_stream(5, (0, 0, 0, 1))) == 0
    assert worker.fence(2) == 0


@pytest.mark.parametrize("call, items", [(0, ()), (13, ()), (START, (1,)), (virgl.VULKAN, (1,)), (SUBMIT, (1, 3)), (SUBMIT, (1, 400)),
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
        assert worker.start()[0] == errno.ENODEV
        assert "there is no EGL" in worker.text()
        assert worker.start("software")[0] == errno.ENODEV
    vgpu.wait_until(lambda: "there is no EGL" in server.log())


# --- which GPU ----------------------------------------------------------------------

def renderer(worker):
    return worker.caps[696:760].split(b"\0")[0].decode()


def test_software_can_be_asked_for(client):
    with Virgl(client, gpu="software") as worker:
        assert re.search("(?i)llvmpipe|softpipe|swrast", renderer(worker)), renderer(worker)
        assert worker.context(1) == 0 and worker.fence(1) == 0


@pytest.mark.parametrize("gpu", ["/dev/dri/renderD200", "/dev/null", "/etc/passwd", "Software", "x" * 127])
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(server, client, gpu):
    with Virgl(client, start=False) as worker:
        assert worker.start(gpu) == (errno.ENODEV, 0, 0)
        assert worker.text().startswith(f"there is no GPU {gpu}; there is ") and "software" in worker.text()
        vgpu.wait_until(lambda: worker.text() in server.log())
        assert worker.context(1) == errno.ENODEV, "it has not started"
        assert worker.start("software")[0] == 0


def test_a_name_of_a_gpu_must_end(client):
    with Virgl(client, start=False) as worker:
        worker.send(START, data=b"x" * virgl.GPU_MAX)
        worker.worker.wait_lost()


def test_a_render_node_draws(client):
    nodes = sorted(glob.glob("/dev/dri/renderD*"))
    if not nodes:
        pytest.skip("this machine has no render node")
    with Virgl(client, gpu=nodes[0]) as worker:
        assert worker.context(1) == 0 and worker.fence(1) == 0


# --- whether there is Vulkan ----------------------------------------------------------

def venus_lacks():
    """What is said before any driver is looked for."""
    library = ctypes.CDLL("libvirglrenderer.so.1")
    version, size = ctypes.c_uint32(), ctypes.c_uint32()
    library.virgl_renderer_get_cap_set(4, ctypes.byref(version), ctypes.byref(size))
    if size.value == 0:
        return "this virglrenderer is built without it"
    if size.value < 160:    # which came with the form that has been kept
        return "this virglrenderer has an early form of it"
    if not os.path.exists("/usr/libexec/virgl_render_server"):
        return "of virglrenderer's render server"
    return None


@pytest.fixture
def with_vulkan(start, monkeypatch, tmp_path):
    """A function that starts a server whose host has a Vulkan driver with some devices; "": no driver."""
    def start_one(devices):
        driver = tmp_path / "driver"
        driver.mkdir()
        shutil.copy(os.environ["VGPU_FAKE_VULKAN"], driver / "fake.so")
        (driver / "fake.json").write_text(json.dumps({
            "file_format_version": "1.0.0", "ICD": {"library_path": str(driver / "fake.so"), "api_version": "1.0.0"}}))
        monkeypatch.setenv("VK_ICD_FILENAMES", str(driver / "fake.json") if devices else "/nonexistent")
        monkeypatch.setenv("FAKE_VULKAN", devices)
        return start("--readable", str(driver))
    return start_one


@pytest.mark.parametrize("devices, want", [
    ("", "this host has no driver for it"), ("0", "this host's driver for it finds no GPU"),
    ("1", 'this host\'s driver (a fake "GPU") has no memory that could be handed to a guest'),
    ("2", 'this host\'s driver (a fake "GPU") has no memory that could be handed to a guest')])
def test_why_there_is_no_vulkan_is_one_line_of_the_log(with_vulkan, devices, want):
    server = with_vulkan(devices)
    want = venus_lacks() or want
    with server.client() as client, Virgl(client) as worker:
        before = server.log()
        assert worker.call(virgl.VULKAN) == (0, 0, 0)
        assert worker.text().startswith(f"no Vulkan (Venus) for guests: {want}"), worker.text()
        vgpu.wait_until(lambda: worker.text() in server.log())
        assert len([line for line in server.log()[len(before):].splitlines() if " virglrenderer: " not in line]) == 1, server.log()
        assert worker.context(1) == errno.ENODEV, "it is used up"


def test_vulkan_of_the_software_rasterizer_is_found(start, monkeypatch):
    drivers = glob.glob("/usr/share/vulkan/icd.d/lvp_icd*.json")
    if not drivers or venus_lacks():
        pytest.skip(venus_lacks() or "this host has no such driver")
    monkeypatch.setenv("VK_ICD_FILENAMES", drivers[0])
    with start().client() as client, Virgl(client) as worker:
        status, version, size = worker.call(virgl.VULKAN)
        assert status == 0 and size >= 20, worker.text()
        assert worker.text().startswith("Vulkan (Venus) for guests by llvmpipe"), worker.text()
        at = vgpu.REPLY_OFFSET + virgl.CAPS_SLOT * vgpu.REPLY_SIZE
        wire_format, *_, blobs_of_plain_memory = struct.unpack_from("<5I", worker.worker.ring, at)
        assert wire_format == 1 and blobs_of_plain_memory == 1
        assert worker.context(1) == errno.ENODEV, "it is used up"


def test_a_vulkan_driver_that_crashes_ends_its_worker_alone(with_vulkan):
    if venus_lacks():
        pytest.skip(f"no driver is loaded: {venus_lacks()}")
    server = with_vulkan("crash")
    with server.client() as client, Virgl(client) as one, Virgl(client) as other:
        one.send(virgl.VULKAN)
        vgpu.wait_until(lambda: len(server.workers()) == 1)
        assert other.context(1) == 0 and other.fence(1) == 0


def test_opencl_context_serves_no_virgl(context):
    status, _ = context.call(virgl.API, START, struct.pack("<Q", 0))
    assert status == vgpu.UNKNOWN
