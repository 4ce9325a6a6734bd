"""Two VMs with a desktop each, under one vgpu-remoted: what happens to the one is not the other's.

SPDX-License-Identifier: MIT
"""
import json
import os
import signal
import subprocess

import pytest

import desktop
import picture
from conftest import HELPERS, TOP, boot, children, comm, eventually, share_with_programs

SERVER = TOP / "build" / "bin" / "vgpu-remoted"


class Vm:
    """A guest with a desktop, and the worker that draws it."""

    def __init__(self, guest, folder):
        self.guest, self.folder, self.worker = guest, folder, None

    def emulation(self):
        return json.loads(self.guest.qmp("qom-get", path="/machine/peripheral/gpu", property="status"))["emulation"]

    def screen(self):
        return picture.dumped(self.guest, self.folder)

    def start_desktop(self, workers):
        before = workers()
        desktop.start(self.guest)
        self.worker, = workers() - before
        assert eventually(lambda: desktop.is_seen(self.screen()), 60, 0.5), "no desktop with a triangle"

    def moves(self, seconds=30):
        """Whether its picture is another one soon."""
        first = self.screen()
        return bool(eventually(lambda: (self.screen() != first).any(), seconds, 0.1))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("server") / "socket"
    process = subprocess.Popen([SERVER, "--socket", path])
    try:
        assert eventually(path.exists)
        process.path = path
        yield process
        assert process.poll() is None, "the server has ended"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def workers(server):
    return lambda: {pid for pid in children(server.pid) if comm(pid) not in HELPERS}


@pytest.fixture(scope="module")
def pair(server, workers, tmp_path_factory):
    """Two VMs that show their desktops."""
    vms = []
    for name in ("one", "other"):
        share = share_with_programs(tmp_path_factory.mktemp(name))
        vms.append(Vm(boot(share, device=f"vgpu-remote,id=gpu,server=unix:{server.path}", memory="1G", smp=1), share))
    try:
        for vm in vms:
            vm.guest.start()
        for vm in vms:
            vm.guest.wait_ready()
            vm.start_desktop(workers)
        yield vms
    finally:
        for vm in vms:
            vm.guest.close()


def test_each_has_a_worker_and_both_desktops_move(pair):
    one, other = pair
    assert one.worker != other.worker
    for vm in pair:
        assert vm.moves(), "its picture stands still"


def test_a_killed_worker_costs_one_desktop_and_not_the_other(pair, workers):
    one, other = pair
    os.kill(one.worker, signal.SIGKILL)
    assert eventually(lambda: one.emulation()["resets"] == 1)
    # The other neither sees nor loses anything.
    assert other.moves(), "its picture stands still"
    assert other.emulation()["resets"] == 0 and other.worker in workers()
    # The one keeps its last picture, and shows the next that is drawn.
    assert one.guest.alive()
    assert desktop.has_panel(one.screen()) and not one.moves(1)
    desktop.end(one.guest)
    assert other.moves(), "its picture stands still"
    one.start_desktop(workers)
    assert one.moves(), "its picture stands still"
    assert (one.emulation()["resets"], other.emulation()["resets"]) == (1, 0)


def test_a_vm_that_ends_leaves_the_other_its_desktop(pair, workers, server):
    one, other = pair
    one.guest.close()
    assert eventually(lambda: workers() == {other.worker}), "a worker outlives its VM"
    assert other.moves(), "its picture stands still"
    assert desktop.has_panel(other.screen())
