"""Vulkan by the guest's own driver, on the host's.

SPDX-License-Identifier: MIT
"""
import json
import os
import re
import signal

import pytest

from conftest import Host, boot, comm, eventually, share_with_programs

GPU = "/machine/peripheral/gpu"
# Else the guest's own rasterizer is found, too.
DRIVER = "VK_ICD_FILENAMES=$(ls /usr/share/vulkan/icd.d/virtio_icd*.json)"
COMPUTE = f"{DRIVER} timeout 100 python3 /mnt/vulkan_compute.py"


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    share = share_with_programs(tmp_path_factory.mktemp("venus"))
    with boot(share, device="vgpu-remote,id=gpu") as one:
        text = status(one)["emulation"]["vulkan"]
        if text.startswith("no Vulkan"):
            pytest.skip(text)
        yield one


@pytest.fixture
def host(guest):
    return Host(guest)


def status(guest):
    return json.loads(guest.qmp("qom-get", path=GPU, property="status"))


def processes(host, name):
    """Of the server's, those that are called like that: a context has a worker, and that a renderer."""
    return {pid for pid in host.workers() if comm(pid).startswith(name)}


def compute(guest, arguments=""):
    code, text = guest.output(f"{COMPUTE} {arguments} 2>&1", timeout=120)
    assert code == 0 and text.endswith("right\n"), text
    return text


def test_vulkaninfo_names_the_hosts_device(guest):
    code, text = guest.output("timeout 100 vulkaninfo --summary 2>&1", timeout=120)
    assert code == 0, text
    executor = status(guest)["emulation"]["vulkan"].removeprefix("Vulkan (Venus) for guests by ")
    names = re.findall(r"deviceName\s*= (.*)", text)
    assert any(name.startswith("Virtio-GPU Venus (") and executor.split(",")[0] in name for name in names), text


def test_numbers_are_right(guest):
    assert compute(guest).startswith("Virtio-GPU Venus (")


def test_heaps_show_the_budget(guest):
    code, text = guest.output(f"{DRIVER} timeout 100 vulkaninfo 2>&1", timeout=120)
    assert code == 0, text
    sizes = [int(size) for size in re.findall(r"memoryHeaps\[\d+\]:\s+size\s+= (\d+)", text)]
    # A server gives half of the host's memory to a client, if it is not told otherwise.
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    assert sizes and max(sizes) <= half, sizes


def test_programs_at_a_time_have_a_worker_each(guest, host):
    before = len(processes(host, "vgpu-worker"))
    code, _ = guest.output(f"for i in 1 2; do ({COMPUTE} 4096 40 >/mnt/both.$i 2>&1; echo $? >>/mnt/both.$i) & done", timeout=60)
    assert code == 0
    assert eventually(lambda: len(processes(host, "vgpu-worker")) == before + 2, 60), "there are not two workers"
    for number in (1, 2):
        path = guest.share / f"both.{number}"
        assert eventually(lambda: path.exists() and path.read_text().endswith("right\n0\n"), 100, 0.2), path.read_text()
    assert eventually(lambda: len(processes(host, "vgpu-worker")) == before), "a worker has outlived its program"


def test_opencl_and_opengl_go_on_beside(guest):
    code, text = guest.output(f"({COMPUTE} 4096 20 >/mnt/vk 2>&1 &) ; python3 /mnt/checked_kernel.py && "
                              f"python3 /mnt/gles_scene.py /mnt/scene", timeout=120)
    assert code == 0 and "virgl (" in text, text
    assert eventually(lambda: (guest.share / "vk").read_text().endswith("right\n"), 100, 0.2)


@pytest.mark.parametrize("name", ["vgpu-worker", "virgl-1"])
def test_killed_worker_costs_the_vm_nothing(guest, host, name):
    """The worker, or the process of the render server's that has Vulkan."""
    killed = guest.share / f"killed.{name}"
    before = processes(host, name)
    guest.output(f"({COMPUTE} 4096 100000 >/mnt/{killed.name} 2>&1; echo ended >>/mnt/{killed.name}) &")
    assert eventually(lambda: killed.exists() and killed.read_text().startswith("Virtio"), 60)
    new = processes(host, name) - before
    assert len(new) == 1
    os.kill(new.pop(), signal.SIGKILL)
    assert guest.alive()
    # The guest's driver gives up by itself, after some seconds.
    assert eventually(lambda: killed.read_text().endswith("ended\n"), 110, 0.2), killed.read_text()
    assert "right" not in killed.read_text()
    assert eventually(lambda: processes(host, "virgl") == set()), "what the worker started has outlived it"
    compute(guest, "4096 1")
