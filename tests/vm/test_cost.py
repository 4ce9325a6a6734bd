"""What the path costs where it should cost nothing.

SPDX-License-Identifier: MIT
"""
import os
import re
import time

from conftest import cpu_seconds, eventually

IDLE_SECONDS = 10
IDLE_SHARE = 0.01
LAUNCHES = 2000


def stats(text):
    found = re.search(r"vgpu-remote: calls=(\d+) doorbells=(\d+) sleeps=\d+ worker_sleeps=(\d+)", text)
    assert found, text
    return [int(word) for word in found.groups()]


def test_doorbells_ring_only_for_sleepers(guest):
    status, text = guest.output(f"VGPU_STATS=1 python3 /mnt/burst.py {LAUNCHES}", timeout=120)
    assert status == 0, text
    calls, doorbells, naps = stats(text)
    assert calls >= LAUNCHES
    assert doorbells <= naps, f"{doorbells} doorbells for a worker that slept {naps} times"
    if "no_spin" not in os.environ.get("VGPU_PERF", ""):    # else it sleeps after each call that it finds
        assert doorbells <= calls / 10, f"{doorbells} doorbells for {calls} calls"


def test_an_idle_vm_uses_no_cpu(guest, host):
    """QEMU, server and worker together. The console's blinking cursor is work, and not ours."""
    guest.output("echo 0 >/sys/class/graphics/fbcon/cursor_blink; python3 /mnt/idle.py >/mnt/idle.log 2>&1 &")
    try:
        assert eventually(lambda: (guest.share / "idle.log").exists()
                          and "sleeps" in (guest.share / "idle.log").read_text(), 60)
        time.sleep(3)
        everybody = [host.qemu, host.server(), *host.workers()]
        assert len(everybody) > 2, "there is no worker"
        before = [cpu_seconds(pid) for pid in everybody]
        time.sleep(IDLE_SECONDS)
        used = sum(cpu_seconds(pid) for pid in everybody) - sum(before)
        assert used / IDLE_SECONDS < IDLE_SHARE, f"{100 * used / IDLE_SECONDS:.1f} % of a core"
    finally:
        guest.output("pkill -f idle.py; echo 1 >/sys/class/graphics/fbcon/cursor_blink")
