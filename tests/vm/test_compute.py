"""Unmodified OpenCL programs in the guest, on the host's device.

SPDX-License-Identifier: MIT
"""
import re
import subprocess

from conftest import eventually


def devices(text):
    return re.findall(r"Device #\d+: (.*)", text)


def test_clinfo_names_the_hosts_device(guest):
    native = subprocess.run(["clinfo", "-l"], stdout=subprocess.PIPE, text=True, timeout=60).stdout
    status, text = guest.output("clinfo -l")
    assert status == 0, text
    names = [name.removesuffix(" via vgpu-remote") for name in devices(text)]
    assert names and len(names) == len(devices(native)), text
    # Where ours behind it would make it longer than 63 characters, the host's name is cut.
    assert all(own.startswith(name) and len(name) >= min(len(own), 47)
               for name, own in zip(names, devices(native))), text
    assert all(name.endswith("via vgpu-remote") for name in devices(text)), text


def test_clinfo_shows_everything_it_asks_for(guest):
    status, text = guest.output("clinfo", timeout=120)
    assert status == 0, text
    assert "CL_INVALID" not in text and "error" not in text.lower().replace("error correction", ""), text


def test_kernels_compute_what_python_computes(guest):
    status, text = guest.output("python3 /mnt/checked_kernel.py", timeout=120)
    assert status == 0, text
    assert "via vgpu-remote" in text and "all as it should be" in text, text


def test_mistakes_get_the_specifications_codes(guest):
    status, text = guest.output("python3 /mnt/error_paths.py", timeout=120)
    assert status == 0, text


def test_without_a_render_node_there_is_no_platform(guest):
    status, text = guest.output("unshare -m sh -c 'mount -t tmpfs none /dev/dri; clinfo -l; clinfo'")
    assert "via vgpu-remote" not in text, text
    assert "Number of platforms                               0" in text, text


def test_a_program_that_forks_does_not_disturb_its_parent(guest):
    status, text = guest.output("python3 /mnt/forks.py", timeout=120)
    assert status == 0, text


def test_contexts_end_with_their_program(guest, host):
    status, text = guest.output("python3 /mnt/burst.py 10", timeout=120)
    assert status == 0, text
    assert eventually(lambda: not host.workers()), f"workers {host.workers()} outlive their program"
