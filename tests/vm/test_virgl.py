"""OpenGL by the guest's own driver, on the emulated GPU: pictures, heads and losses.

A picture is compared with the one that the same program draws on this host's own
OpenGL, or on software in the guest; and what is shown by screendump, VNC and in a
window with what the program says it has drawn, to the last bit.

SPDX-License-Identifier: MIT
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy
import pytest

import desktop
import guestvm
import picture
import rfb
from conftest import PROGRAMS, Host, boot, children, cpu_seconds, eventually, share_with_programs
from xvfb import Xvfb

SIZE = 256
SCENE = "python3 /mnt/gles_scene.py"
GPU = "/machine/peripheral/gpu"
LAST = 15       # of sixteen heads
X_AT, X_BACKGROUND = (160, 96), (0x33, 0x66, 0x99)      # as in x_window.py
# LIBGL_ALWAYS_SOFTWARE is not enough: on a card that draws, that draws.
SOFTWARE = "MESA_LOADER_DRIVER_OVERRIDE=kms_swrast GALLIUM_DRIVER="
LINES = "LD_PRELOAD=/usr/libexec/coreutils/libstdbuf.so _STDBUF_O=L"     # what stdbuf would do, which executes


@pytest.fixture(scope="module")
def window():
    with Xvfb() as server:
        yield server


@pytest.fixture(scope="module")
def guest(tmp_path_factory, window):
    """All sixteen heads, each a window if the guest has something there; VNC shows two of them."""
    share = share_with_programs(tmp_path_factory.mktemp("virgl"))
    # Short enough for a test, long enough for a slow machine.
    device = "vgpu-remote,id=gpu,watchdog=5000,max_outputs=16"
    screens = ["-vnc", f"unix:{share}/vnc", "-vnc", f"unix:{share}/vnc-last,display=gpu,head={LAST}"]
    with boot(share, device=device, display="sdl", args=screens, environment=window.environment) as one:
        yield one


@pytest.fixture
def host(guest):
    return Host(guest)


def status(guest):
    return json.loads(guest.qmp("qom-get", path=GPU, property="status"))


def native(path):
    subprocess.run([sys.executable, PROGRAMS / "gles_scene.py", path], check=True, timeout=60,
                   stdout=subprocess.DEVNULL)
    return picture.of_gl(path.read_bytes(), SIZE, SIZE)


def drawn(guest, name):
    return picture.of_gl((guest.share / name).read_bytes(), SIZE, SIZE)


def draw(guest, name="scene", arguments=""):
    code, text = guest.output(f"{SCENE} /mnt/{name} {arguments}", timeout=120)
    assert code == 0, text
    return text


def test_stock_driver_draws_what_the_host_draws(guest, tmp_path):
    assert draw(guest).startswith("virgl (")
    picture.assert_alike(drawn(guest, "scene"), native(tmp_path / "native"))
    assert status(guest)["emulation"]["worker"] == "ready"


def test_both_ways_serve_one_guest(guest):
    code, text = guest.output("python3 /mnt/checked_kernel.py", timeout=120)
    assert code == 0, text
    assert draw(guest).startswith("virgl (")


def test_both_ways_serve_one_program(guest, tmp_path):
    code, text = guest.output("python3 /mnt/both.py /mnt/both", timeout=120)
    assert code == 0 and "via vgpu-remote and virgl (" in text, text
    picture.assert_alike(drawn(guest, "both"), native(tmp_path / "native"))


# --- screens -----------------------------------------------------------------------

@contextlib.contextmanager
def running(guest, command, name, parts):
    """A command in the guest that shows something until NAME.done, or NAME.STEP.done for all its steps."""
    log = guest.share / f"{name}.log"
    guest.output(f"({command} </dev/null >/mnt/{log.name} 2>&1; echo ended >>/mnt/{log.name}) &")
    try:
        yield lambda part: wait_for(guest, f"{name}{part}", log)
    finally:
        for part in parts:
            (guest.share / f"{name}{part}.done").touch()
        assert eventually(lambda: log.read_text().endswith("ended\n"), 60, 0.1), "it does not end"


def wait_for(guest, name, log):
    path = guest.share / name
    assert eventually(lambda: path.exists() or (log.exists() and log.read_text().endswith("ended\n")), 60, 0.1) \
        and path.exists(), f"there is no {name}: {log.read_text()}"
    return path


def assert_shown(guest, folder, name, size, head=0):
    """What was drawn is what QEMU dumps, soon."""
    want = picture.of_gl((guest.share / name).read_bytes(), *size)
    assert eventually(lambda: same(picture.dumped(guest, folder, device="gpu", head=head), want), every=0.2), \
        f"head {head} does not show what was drawn"
    return want


def same(one, other):
    return one.shape == other.shape and bool((one == other).all())


def test_screens_show_the_picture(guest, window, tmp_path):
    """By screendump, by VNC, and in QEMU's window on an X server."""
    with running(guest, f"{SCENE} /mnt/shown 0", "shown", [".0"]) as wait:
        wait(".0.0")
        want = assert_shown(guest, tmp_path, "shown.0.0", (1280, 800))
        with rfb.Screen(guest.share / "vnc") as screen:
            assert eventually(lambda: same(screen.pixels(), want), every=0.2), "VNC does not show what was drawn"
        assert eventually(lambda: picture.is_in(want, picture.of_xwd(window.screen())), every=0.2), \
            "the window does not show what was drawn"


def test_windows_show_what_2d_draws(guest, window, tmp_path):
    guest.output("echo 0 >/sys/class/graphics/fbcon/cursor_blink; dmesg | tail -n 30 >/dev/tty1")
    with rfb.Screen(guest.share / "vnc") as screen:
        def everywhere():
            shown = picture.dumped(guest, tmp_path)
            return len(set(shown[::5, ::5].flat)) > 1 and same(shown, screen.pixels()) and \
                picture.is_in(shown, picture.of_xwd(window.screen()))
        assert eventually(everywhere, every=0.5), "the console is not the same everywhere"


def edid_size(data):
    """Of the preferred mode: the first detailed timing."""
    assert data[:8] == b"\0\xff\xff\xff\xff\xff\xff\0" and sum(data[:128]) % 256 == 0
    timing = data[54:72]
    return timing[2] | (timing[4] & 0xF0) << 4, timing[5] | (timing[7] & 0xF0) << 4


def connector(guest, head):
    """(status, size of the preferred mode, size that its EDID prefers), as the guest's kernel has them."""
    path = f"/sys/class/drm/card0-Virtual-{head + 1}"
    # Its list of modes is of the last time that somebody asked, and of what suited that one.
    code, text = guest.output(f"cd {path} && echo detect >status && cat status && head -n 1 modes && cat edid >/mnt/edid")
    assert code == 0, text
    state, *mode = text.split()
    edid = (guest.share / "edid").read_bytes()
    return state, tuple(map(int, mode[0].split("x"))) if mode else None, edid_size(edid) if edid else None


def take_size(guest, screen, size):
    screen.resize(*size)
    assert eventually(lambda: connector(guest, 0) == ("connected", size, size), every=0.2), connector(guest, 0)


def test_guest_takes_the_size_of_a_window(guest, tmp_path):
    """What VNC asks for reaches the guest by its EDID; a program draws in it; and it goes back."""
    with rfb.Screen(guest.share / "vnc") as screen:
        for number, size in enumerate([(1024, 768), (1280, 800)]):
            take_size(guest, screen, size)
            name = f"sized{number}"
            with running(guest, f"{SCENE} /mnt/{name} 0", name, [".0"]) as wait:
                wait(".0.0")
                want = assert_shown(guest, tmp_path, f"{name}.0.0", size)
                assert eventually(lambda: same(screen.pixels(), want), every=0.2), "VNC does not show it"


def test_heads_show_pictures_of_their_own(guest, tmp_path):
    """The first and the last of sixteen; in other sizes after that, while one program runs."""
    assert connector(guest, LAST) == ("disconnected", None, None)
    with rfb.Screen(guest.share / "vnc-last") as screen:
        screen.resize(1152, 864)
        assert eventually(lambda: connector(guest, LAST) == ("connected", (1152, 864), (1152, 864)), every=0.2)
        steps = [{0: (1280, 800), LAST: (1152, 864)}, {0: (800, 600), LAST: (1024, 768)}]
        words = [",".join(f"{head}:{w}x{h}" for head, (w, h) in step.items()) for step in steps]
        with running(guest, f"{SCENE} /mnt/heads {' '.join(words)}", "heads", [".0", ".1"]) as wait:
            for number, step in enumerate(steps):
                for head in step:
                    wait(f".{number}.{head}")
                wants = {head: assert_shown(guest, tmp_path, f"heads.{number}.{head}", size, head)
                         for head, size in step.items()}
                assert not same(wants[0], wants[LAST])
                assert eventually(lambda: same(screen.pixels(), wants[LAST]), every=0.2), "VNC shows another head"
                (guest.share / f"heads.{number}.done").touch()
        screen.resize(0, 0)
        assert eventually(lambda: connector(guest, LAST)[0] == "disconnected", every=0.2)


def test_cursor_is_the_guests(guest):
    """Of 2D memory, and of OpenGL's."""
    with rfb.Screen(guest.share / "vnc") as screen, \
            running(guest, "python3 /mnt/cursor.py /mnt/cursor", "cursor", [".dumb", ".gl"]) as wait:
        for name in (".dumb", ".gl"):
            want = (3, 5), (64, 64), wait(name).read_bytes()
            assert eventually(lambda: (screen.pixels(), screen.cursor == want)[1], every=0.2), f"no cursor {name}"
            (guest.share / f"cursor{name}.done").touch()


def test_a_blob_of_guest_memory_is_shown(guest, tmp_path):
    """Made by the kernel's ioctl; changed in place, and shown again."""
    def is_shown(data):
        shown = picture.dumped(guest, tmp_path, device="gpu", head=0)
        height, width = shown.shape[:2]
        return len(data) == width * height * 4 and same(shown, picture.of_bgrx(data, width, height))
    with running(guest, "python3 /mnt/guest_blob.py /mnt/blob", "blob", ["", ".again"]) as wait:
        for part in ("", ".again"):
            data = wait(part).read_bytes()
            assert eventually(lambda: is_shown(data), every=0.2), f"the blob{part} is not shown"
            (guest.share / f"blob{part}.done").touch()


def test_whether_there_is_vulkan_is_in_the_status(guest):
    """Here it is why not, or by what: see test_venus.py."""
    assert re.match("no Vulkan .Venus. for guests: |Vulkan .Venus. for guests by ", status(guest)["emulation"]["vulkan"])


def test_kmscube_draws_what_software_in_the_guest_draws(guest, tmp_path):
    """The last of a few frames. This host has no display to draw it on natively."""
    def cube(name, environment, condition):
        command = f"env {LINES} {environment} python3 /mnt/last_frame.py /mnt/{name} kmscube -c 10"
        with running(guest, command, name, [""]) as wait:
            wait(".held")
            assert f'renderer: "{name} (' in (guest.share / f"{name}.log").read_text()
            assert eventually(lambda: condition(picture.dumped(guest, tmp_path)), every=0.2), f"no cube by {name}"
            return picture.dumped(guest, tmp_path)

    software = cube("llvmpipe", SOFTWARE + "llvmpipe", lambda shown: len(numpy.unique(shown)) > 100)
    cube("virgl", "", lambda shown: picture.is_alike(shown, software))


@contextlib.contextmanager
def only_mode(guest, size):
    """The display has no mode but this one."""
    override = "/sys/kernel/debug/dri/0/Virtual-1/edid_override"
    with rfb.Screen(guest.share / "vnc") as screen:
        take_size(guest, screen, size)
        edid = bytearray((guest.share / "edid").read_bytes()[:128])
        # No standard timings, no other descriptors, no second block.
        edid[35:54] = bytes(3) + b"\1" * 16
        edid[72:126] = (b"\0\0\0\x10" + bytes(14)) * 3
        edid[126], edid[127] = 0, -sum(edid[:126]) % 256
        (guest.share / "edid").write_bytes(edid)
        guest.output(f"mount -t debugfs debug /sys/kernel/debug; cat /mnt/edid >{override}")
        screen.resize(640, 480)     # or its EDID is not asked for again
        take_size(guest, screen, size)
        try:
            yield
        finally:
            guest.output(f"printf reset >{override}")
            take_size(guest, screen, (1280, 800))


def verdicts(guest, scenes="", environment=""):
    """What glmark2 finds of its scenes on the display, and all that it says."""
    code, text = guest.output(f"{environment} timeout 200 glmark2-es2-drm --validate {scenes} 2>&1", timeout=220)
    assert code == 0, text
    found = re.findall(r"^\[(\w+)\] (\S+): Validation: (\w+)", text, re.M)
    return {f"{scene}:{options}": verdict for scene, options, verdict in found}, text


def test_glmark_finds_its_scenes_right(guest):
    """All of them; what it finds wrong, it finds wrong of software in the guest, too."""
    # It takes the largest mode, but knows its scenes in 800x600 only, which it cannot open.
    with only_mode(guest, (800, 608)):
        ours, text = verdicts(guest)
        assert "GL_RENDERER:    virgl" in text, text
        wrong = [scene for scene, verdict in ours.items() if verdict == "Failure"]
        software, text = verdicts(guest, " ".join(f"-b '{scene}'" for scene in wrong), SOFTWARE + "llvmpipe")
        assert "GL_RENDERER:    llvmpipe" in text, text
    assert software == {scene: "Failure" for scene in wrong}
    assert len(ours) == 33 and list(ours.values()).count("Success") >= 20, ours


def test_desktop_is_shown_with_its_client(guest, tmp_path):
    desktop.start(guest)
    try:
        assert eventually(lambda: desktop.is_on(guest, tmp_path), 60, 0.5), "no desktop with a triangle"
    finally:
        desktop.end(guest)


def test_x_shows_a_window_and_draws_by_opengl(guest, tmp_path):
    """The modesetting driver; the background is X's own drawing, the window OpenGL's."""
    with running(guest, "bash /mnt/x.sh /mnt/x", "x", [""]) as wait:
        window = picture.of_gl(wait("").read_bytes(), SIZE, SIZE)

        def is_shown():
            screen = picture.dumped(guest, tmp_path)
            outside = screen[:, :X_AT[0]]
            inside = screen[X_AT[1]:X_AT[1] + SIZE, X_AT[0]:X_AT[0] + SIZE]
            return bool((outside == X_BACKGROUND).all()) and same(inside, window)
        assert eventually(is_shown, every=0.2), "X does not show its window"
    picture.assert_alike(window, native(tmp_path / "native"))
    said = (guest.share / "x.log").read_text()
    assert said.startswith("virgl (") and "glamor" in said and "virgl" in said.partition("\n")[2], said


# --- costs and losses ----------------------------------------------------------------

def test_idle_guest_costs_nothing(guest, host):
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
    picture.assert_alike(drawn(guest, "again"), native(tmp_path / "native"))


def test_program_that_waits_for_a_lost_query_goes_on(guest, host):
    """It would ask for ever: a stock driver is never told of a loss."""
    log, ready = guest.share / "queries.log", guest.share / "queries"
    guest.output("python3 /mnt/queries.py /mnt/queries >/mnt/queries.log 2>&1 & echo $! >/mnt/queries.pid")
    assert eventually(ready.exists, 60), log.read_text()
    resets = status(guest)["emulation"]["resets"]
    os.kill(virgl_worker(host), signal.SIGKILL)
    assert eventually(lambda: status(guest)["emulation"]["resets"] == resets + 1)
    (guest.share / "queries.stop").touch()
    code, _ = guest.output("timeout 30 tail --pid=$(cat /mnt/queries.pid) -f /dev/null || "
                           "{ kill -9 $(cat /mnt/queries.pid); exit 1; }", timeout=90)
    assert code == 0, "it asks on"
    assert log.read_text() == "0\n"
    draw(guest, "after_queries")


def test_hung_worker_is_given_up(guest, host):
    draw(guest)
    pid = virgl_worker(host)
    resets = status(guest)["emulation"]["resets"]
    os.kill(pid, signal.SIGSTOP)
    code, _ = guest.output(f"timeout 60 {SCENE} /mnt/hung", timeout=90)
    assert status(guest)["emulation"]["resets"] == resets + 1
    draw(guest, "after")
    # It cannot even see that it is closed: the server ends it.
    assert eventually(lambda: pid not in children(guest.process.pid))


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
