"""OpenGL by the guest's own driver, on the emulated GPU: pictures and losses.

A picture is compared with the one that the same program draws on this host's own
OpenGL. Both end at the same rasterizer, but shaders take another way to it: of
each channel 2 in 255 may differ, and at edges 1 pixel in 500 altogether.

SPDX-License-Identifier: MIT
"""
import json
import os
import signal
import subprocess
import sys

import pytest

import guestvm
import rfb
from conftest import PROGRAMS, Host, boot, children, cpu_seconds, eventually, share_with_programs

SIZE = 256
TOLERANCE, OUTSIDE = 2, 1 / 500
SCENE = "python3 /mnt/gles_scene.py"
GPU = "/machine/peripheral/gpu"


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    share = share_with_programs(tmp_path_factory.mktemp("virgl"))
    # Short enough for a test, long enough for a slow machine. VNC is one more display.
    with boot(share, device="vgpu-remote,id=gpu,watchdog=5000", args=["-vnc", f"unix:{share}/vnc"]) as one:
        yield one


@pytest.fixture
def host(guest):
    return Host(guest)


def status(guest):
    return json.loads(guest.qmp("qom-get", path=GPU, property="status"))


def native(path):
    subprocess.run([sys.executable, PROGRAMS / "gles_scene.py", path], check=True, timeout=60,
                   stdout=subprocess.DEVNULL)
    return path.read_bytes()


def assert_alike(one, other):
    assert len(one) == len(other)
    wrong = sum(any(abs(a - b) > TOLERANCE for a, b in zip(one[i:i + 3], other[i:i + 3]))
                for i in range(0, len(one), 4))
    assert wrong <= len(one) // 4 * OUTSIDE, f"{wrong} of {len(one) // 4} pixels differ"


def draw(guest, name="scene", arguments=""):
    code, text = guest.output(f"{SCENE} /mnt/{name} {arguments}", timeout=120)
    assert code == 0, text
    return text


def test_stock_driver_draws_what_the_host_draws(guest, tmp_path):
    assert draw(guest).startswith("virgl (")
    assert_alike((guest.share / "scene").read_bytes(), native(tmp_path / "native"))
    assert status(guest)["emulation"]["worker"] == "ready"


def test_both_ways_serve_one_guest(guest):
    code, text = guest.output("python3 /mnt/checked_kernel.py", timeout=120)
    assert code == 0, text
    assert draw(guest).startswith("virgl (")


def read_ppm(path):
    data = path.read_bytes()
    _, size, _, pixels = data.split(b"\n", 3)
    return tuple(map(int, size.split())), pixels


def test_screen_shows_the_picture(guest, tmp_path):
    end = guest.share / "shown.done"
    code, text = guest.output(f"({SCENE} /mnt/shown --screen </dev/null >/mnt/shown.log 2>&1 &) ; "
                              "for i in $(seq 600); do [ -e /mnt/shown ] && exit 0; sleep 0.1; done; "
                              "cat /mnt/shown.log; exit 1", timeout=90)
    assert code == 0, text
    drawn = (guest.share / "shown").read_bytes()

    def dumped():
        guest.qmp("screendump", filename=str(tmp_path / "screen.ppm"))
        size, pixels = read_ppm(tmp_path / "screen.ppm")
        rows = [drawn[y * size[0] * 4:(y + 1) * size[0] * 4] for y in reversed(range(size[1]))]
        want = b"".join(rows)
        return len(want) == size[0] * size[1] * 4 and all(
            pixels[i * 3:i * 3 + 3] == want[i * 4:i * 4 + 3] for i in range(0, size[0] * size[1], 97))
    try:
        assert eventually(dumped, every=0.2), "the screen is not what was drawn"
        with rfb.Screen(guest.share / "vnc") as screen:
            seen, width, height = screen.pixels(), screen.width, screen.height
        for y in range(0, height, 7):
            row = drawn[(height - 1 - y) * width * 4:(height - y) * width * 4]
            at = y * width * 4
            assert seen[at:at + width * 4:4] == row[2::4] and seen[at + 2:at + width * 4:4] == row[::4], f"row {y}"
    finally:
        end.touch()


def test_desktop_is_shown_with_its_client(guest, tmp_path):
    """Weston's panel, and the triangle of weston-simple-egl on black."""
    code, text = guest.output("bash /mnt/desktop.sh", timeout=90)
    assert code == 0 and "virgl" in text, text

    def seen():
        guest.qmp("screendump", filename=str(tmp_path / "desktop.ppm"))
        _, pixels = read_ppm(tmp_path / "desktop.ppm")
        colours = {pixels[i:i + 3] for i in range(0, len(pixels), 3 * 7)}
        strong = {c for c in colours if max(c) - min(c) > 150}
        grey = {c for c in colours if max(c) - min(c) < 30 and 60 < c[0] < 180}
        return len(strong) > 20 and len(grey) > 20
    try:
        assert eventually(seen, seconds=60, every=0.5), "no desktop with a triangle"
    finally:
        guest.output("pkill weston; sleep 1")


def test_idle_guest_costs_nothing(guest, host):
    import time
    draw(guest)
    time.sleep(0.5)
    workers = host.workers()
    before = [cpu_seconds(pid) for pid in workers]
    time.sleep(2)
    after = [cpu_seconds(pid) for pid in workers]
    assert sum(after) - sum(before) < 0.04, "2 % of a core"


def virgl_worker(host):
    pids = [pid for pid in host.workers() if b"libEGL" in open(f"/proc/{pid}/maps", "rb").read()]
    assert len(pids) == 1
    return pids[0]


def test_killed_worker_costs_the_vm_nothing(guest, host, tmp_path):
    draw(guest)
    resets = status(guest)["emulation"]["resets"]
    os.kill(virgl_worker(host), signal.SIGKILL)
    assert eventually(lambda: status(guest)["emulation"]["resets"] == resets + 1)
    assert guest.alive()
    draw(guest, "again")
    assert_alike((guest.share / "again").read_bytes(), native(tmp_path / "native"))


def test_hung_worker_is_given_up(guest, host):
    draw(guest)
    pid = virgl_worker(host)
    resets = status(guest)["emulation"]["resets"]
    os.kill(pid, signal.SIGSTOP)
    code, _ = guest.output(f"timeout 60 {SCENE} /mnt/hung", timeout=90)
    assert status(guest)["emulation"]["resets"] == resets + 1
    draw(guest, "after")
    os.kill(pid, signal.SIGCONT)    # or it cannot even see that it is closed
    assert eventually(lambda: pid not in children(guest.process.pid))


def verdicts(guest, environment):
    code, text = guest.output(f"{environment} timeout 200 glmark2-es2-drm --off-screen --validate -b build -b texture "
                              "-b shading -b bump 2>&1", timeout=220)
    assert code == 0, text
    return text, [line for line in text.splitlines() if "Validation:" in line]


def test_glmark_judges_as_it_does_of_software_in_the_guest(guest):
    text, ours = verdicts(guest, "")
    assert "GL_RENDERER:    virgl" in text, text
    # Not all can be Success: glmark2 knows its scenes in one size, and takes the screen's.
    _, software = verdicts(guest, "GALLIUM_DRIVER=softpipe LIBGL_ALWAYS_SOFTWARE=1")
    assert ours == software and sum("Success" in line for line in ours) >= 2


def test_switch_refuses_new_contexts_of_the_other_kind(guest):
    guest.qmp("qom-set", path=GPU, property="backend", value="emulation")
    try:
        code, text = guest.output("timeout 60 python3 /mnt/checked_kernel.py", timeout=90)
        assert code != 0, text
        assert draw(guest).startswith("virgl (")
        with pytest.raises(guestvm.GuestError, match="must be auto"):
            guest.qmp("qom-set", path=GPU, property="backend", value="other")
    finally:
        guest.qmp("qom-set", path=GPU, property="backend", value="auto")
    code, text = guest.output("timeout 60 python3 /mnt/checked_kernel.py", timeout=90)
    assert code == 0, text
