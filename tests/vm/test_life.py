"""What a device goes through: displays, plugging, reboots, being saved; and
what it is told at its start.

Two boots serve all of it. The first has the device in a hot-plug port and a
VNC display; the second is `vgpu-remote-vga` with a window under Xvfb. Shared
folders block saving, so the programs are sent.

SPDX-License-Identifier: MIT
"""
import os
import subprocess

import numpy
import pytest

import guestvm
import picture
import rfb
from conftest import PROGRAMS, TOP, Host, eventually
from xvfb import Xvfb

SERVER = TOP / "build" / "bin" / "vgpu-remoted"
PORT = "pcie-root-port,id=plug,pref64-reserve=2G,chassis=1"
DEVICE = {"driver": "vgpu-remote", "id": "gpu", "bus": "plug", "hostmem": 1 << 28}


def send(guest, name):
    """One of our programs into /root of a guest without a share."""
    text = (PROGRAMS / name).read_text()
    status, said = guest.output(f"cat >/root/{name} <<'THE_END'\n{text}\nTHE_END")
    assert status == 0, said


def assert_computes(guest):
    send(guest, "checked_kernel.py")
    status, text = guest.output("python3 /root/checked_kernel.py", timeout=120)
    assert status == 0 and "all as it should be" in text, text + guest.last_words()


def monitor(guest, line, timeout=60):
    """A command of the human monitor; what it says."""
    return guest.qmp("human-monitor-command", timeout, **{"command-line": line}).strip()


def start(folder, **options):
    package = guestvm.built_package()
    return guestvm.Guest(package=package, log=folder / "vm.log", reboots=True, **options)


def life(folder, **options):
    device = ",".join([DEVICE["driver"], *(f"{k}={v}" for k, v in DEVICE.items() if k != "driver")])
    return start(folder, device=[PORT, device], **options)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A VM with the device in a hot-plug port."""
    folder = tmp_path_factory.mktemp("life")
    with life(folder, display=f"vnc=unix:{folder}/vnc") as one:
        one.folder = folder
        yield one


# --- a screen ----------------------------------------------------------------------

def test_vnc_shows_what_the_guest_draws(port):
    status, text = port.output("yes vgpu | head -n 2000 >/dev/tty1")
    assert status == 0, text
    with rfb.Screen(port.folder / "vnc") as screen:
        assert (screen.width, screen.height) == (1280, 800)
        assert eventually(lambda: len(numpy.unique(screen.pixels())) > 1), "the screen is empty"


def test_it_computes_beside_a_vnc_client(port):
    with rfb.Screen(port.folder / "vnc") as screen:
        assert_computes(port)
        screen.pixels()


# --- saving -------------------------------------------------------------------------

@pytest.fixture
def no_shares(port):
    port.output("umount /run/package")
    return port


class Sleeper:
    """A program in the guest with a context that lives."""

    def __init__(self, guest):
        self.guest = guest
        send(guest, "idle.py")
        guest.output("python3 /root/idle.py >/root/idle.log 2>&1 &")
        assert eventually(lambda: "sleeps" in guest.output("cat /root/idle.log")[1], 60, 0.2)

    def end(self):
        self.guest.output("pkill -9 -f '[i]dle.py'; while pgrep -f '[i]dle.py'; do sleep 0.1; done")


def test_a_living_context_is_not_saved_and_its_end_allows_it(no_shares):
    guest = no_shares
    sleeper = Sleeper(guest)
    try:
        said = monitor(guest, "savevm lives")
        assert "vgpu-remote: " in said and "in the guest uses the host's device" in said, said
        assert "end it first" in said, said
        with pytest.raises(guestvm.GuestError, match="its state there cannot be saved"):
            guest.qmp("migrate", uri="exec:cat >/dev/null")
    finally:
        sleeper.end()
    assert eventually(lambda: monitor(guest, "savevm idle") == ""), monitor(guest, "savevm idle")
    guest.output("touch /root/after")
    assert monitor(guest, "loadvm idle") == ""
    assert guest.output("ls /root/after")[0] != 0, "loadvm did not go back"
    assert_computes(guest)


def test_a_vm_without_contexts_migrates(no_shares):
    guest, saved = no_shares, no_shares.folder / "migrated"
    guest.qmp("migrate", uri=f"exec:cat >{saved}")
    done = eventually(lambda: guest.qmp("query-migrate").get("status") in ("completed", "failed"), 60, 0.1)
    assert done and guest.qmp("query-migrate")["status"] == "completed", guest.qmp("query-migrate")
    with life(no_shares.folder, arriving=saved, display="none") as there:
        assert_computes(there)
    guest.qmp("cont")
    assert_computes(guest)


# --- plugging -----------------------------------------------------------------------

def plugged(guest):
    return any(one["name"] == "gpu" for one in guest.qmp("qom-list", path="/machine/peripheral"))


def unplug(guest):
    guest.qmp("device_del", id="gpu")
    assert eventually(lambda: not plugged(guest), 30, 0.1), guest.last_words()


def plug(guest, **more):
    guest.qmp("device_add", **DEVICE, **more)
    # Not always 128: that number is free when nobody has the last one open.
    found = eventually(lambda: guest.output("ls /dev/dri/renderD*")[0] == 0, 30, 0.2)
    assert found, guest.last_words()


def test_unplugged_it_is_gone_and_plugged_in_again_it_computes(port):
    for _ in range(2):
        unplug(port)
        assert port.output("ls /dev/dri/renderD*")[0] != 0
        assert eventually(lambda: Host(port).server() is None), "its server outlives it"
        plug(port)
        assert_computes(port)


def test_unplugged_under_a_program_the_vm_lives(port):
    sleeper = Sleeper(port)
    unplug(port)
    sleeper.end()
    plug(port)
    assert_computes(port)


def test_a_host_without_opencl_is_a_guest_without_platforms(port, tmp_path):
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    log = tmp_path / "log"
    with open(log, "wb") as out:
        server = subprocess.Popen([SERVER, "--socket", tmp_path / "socket"], stderr=out,
                                  env={**os.environ, "OCL_ICD_VENDORS": f"{nowhere}/"})
    try:
        assert eventually((tmp_path / "socket").exists)
        unplug(port)
        plug(port, server=f"unix:{tmp_path}/socket")
        status, text = port.output("python3 -c 'import pyopencl; pyopencl.get_platforms()'")
        assert "PLATFORM_NOT_FOUND_KHR" in text, text
        assert eventually(lambda: "this host has no OpenCL" in log.read_text()), log.read_text()
        lines = [line for line in log.read_text().splitlines() if "Vulkan" not in line]
        assert len(lines) == 1, lines
        unplug(port)
        plug(port)
    finally:
        server.terminate()
        server.wait(10)


# --- reboots ------------------------------------------------------------------------

def test_the_guest_reboots_and_computes(port):
    for _ in range(2):
        Sleeper(port)
        port.reboot()
        assert eventually(lambda: not Host(port).workers()), "a worker outlives the guest's program"
        assert_computes(port)


# --- a window, and the other type ------------------------------------------------------

def test_vga_in_a_window_reboots_and_computes(tmp_path):
    with Xvfb() as server, start(tmp_path, device="vgpu-remote-vga", display="sdl",
                                 environment=server.environment) as guest:
        status, text = guest.output("yes vgpu | head -n 2000 >/dev/tty1")
        assert status == 0, text
        guest.output("echo 0 >/sys/class/graphics/fbcon/cursor_blink")

        def shown():
            screen = picture.dumped(guest, tmp_path)
            return len(numpy.unique(screen)) > 1 and picture.is_in(screen, picture.of_xwd(server.screen()))
        assert eventually(shown, every=0.5), "the window is not what the guest has drawn"
        for _ in range(2):
            assert_computes(guest)
            guest.reboot()
        assert_computes(guest)


def test_firmware_writes_on_the_screen(tmp_path):
    """There is no system to boot: what is seen is the firmware's own, by the device's VGA BIOS."""
    process = subprocess.Popen([guestvm.BIN / "qemu-system-x86_64", "-nodefaults", "-machine", "q35", "-accel", "tcg",
                                "-device", "vgpu-remote-vga", "-vnc", f"unix:{tmp_path}/vnc"])
    try:
        assert eventually((tmp_path / "vnc").exists)
        with rfb.Screen(tmp_path / "vnc") as screen:
            # Before it QEMU itself shows some words, in another size.
            assert eventually(lambda: len(numpy.unique(screen.pixels())) > 1 and (screen.width, screen.height) == (720, 400),
                              30, 0.2), "the screen is empty"
    finally:
        process.terminate()
        process.wait(10)


# --- the command line -------------------------------------------------------------------

def qemu(*arguments):
    return subprocess.run([guestvm.BIN / "qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35",
                           "-accel", "tcg", *arguments], capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("kind", ["vgpu-remote", "vgpu-remote-vga"])
@pytest.mark.parametrize("value, wrong, right", [
    ("backend=foo", "backend=foo", "must be auto, emulation or remote"),
    ("hostmem=3M", "hostmem=3145728", "must be a power of two from 2M to 1T"),
    ("hostmem=1M", "hostmem=1048576", "must be a power of two from 2M to 1T"),
    ("hostmem=much", "hostmem", "size"),
    ("server=tcp:1.2.3.4", "server=tcp:1.2.3.4", "must be unix:PATH"),
    ("server=unix:/not/there", "server=unix:/not/there", "does vgpu-remoted run there?"),
    ("blob=on", "blob=on", "leave it out"),
    ("max_outputs=0", "max_outputs=0", "must be 1 to 16"),
    ("rendernode=1", "rendernode=1", "must be the file of a GPU"),
    ("rendernode=/dev/dri/renderD200", "rendernode=/dev/dri/renderD200", "there is"),
    ("processors=many", "processors", "expects"),
    ("processors=2,server=unix:/not/there", "processors=2", "vgpu-remoted with --processors 2"),
    ("colour=blue", "colour", "not found"),
])
def test_a_wrong_value_is_refused_with_what_would_be_right(kind, value, wrong, right):
    end = qemu("-device", f"{kind},{value}")
    assert end.returncode == 1 and end.stdout == ""
    assert wrong in end.stderr and right in end.stderr, end.stderr


@pytest.mark.parametrize("kind", ["vgpu-remote", "vgpu-remote-vga"])
def test_help_explains_every_property_of_ours(kind):
    text = qemu("-device", f"{kind},help").stdout
    lines = {line.split("=")[0].strip(): line for line in text.splitlines() if "=" in line}
    for name in ("backend", "server", "processors", "rendernode", "hostmem", "blob", "max_outputs", "max_hostmem",
                 "edid", "xres", "yres"):
        assert len(lines[name].partition(" - ")[2]) > 15, lines[name]
