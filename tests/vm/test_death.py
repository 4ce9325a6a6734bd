"""What a guest's program sees when a process of the host dies under it, and what
becomes of a worker when its program dies.

hashcat runs, a worker or the server is killed: the program has to end with an
OpenCL error, QEMU has to live, and the next program has to compute.

SPDX-License-Identifier: MIT
"""
import os
import signal
import threading
import time

import pytest

from conftest import eventually

# 26^9 candidates: not to be found before the kill, nor in this century.
HASHCAT = ("hashcat -m 1400 -a 3 --potfile-disable --restore-disable --session death --status --status-timer 1 "
           + "00" * 32 + " '?l?l?l?l?l?l?l?l?l'")
START_LIMIT = 180       # it builds its kernels first
END_LIMIT = 2


class Running(threading.Thread):
    """A command of the guest that runs while a test does other things."""

    def __init__(self, guest, command):
        super().__init__(daemon=True)
        self.guest, self.command = guest, command
        self.status, self.text, self.ended = None, "", None

    def run(self):
        self.status, self.text = self.guest.output(self.command, START_LIMIT + 30)
        self.ended = time.monotonic()


def start_hashcat(guest):
    """hashcat, when it has got to its search."""
    log = guest.share / "hashcat.log"
    log.unlink(missing_ok=True)
    running = Running(guest, f"timeout -k 1 {START_LIMIT} {HASHCAT} >/mnt/hashcat.log 2>&1")
    running.start()
    searching = eventually(lambda: log.exists() and b"Speed.#1" in log.read_bytes(), START_LIMIT)
    assert searching, f"hashcat does not get to work: {log.read_text(errors='replace')}"
    return running, log


def assert_ends_with_an_error(running, log, killed):
    running.join(END_LIMIT + 30)
    text = log.read_text(errors="replace")
    assert running.ended, "hashcat goes on for ever"
    assert running.status not in (0, 124, 137), f"hashcat ended with {running.status}: {text}"
    assert running.ended - killed < END_LIMIT, f"hashcat took {running.ended - killed:.1f} s to end"
    assert "clEnqueue" in text or "CL_" in text or "clFinish" in text, text


def assert_the_next_program_computes(guest):
    assert guest.alive(), guest.last_words()
    status, text = guest.output("python3 /mnt/checked_kernel.py", timeout=120)
    assert status == 0, text


@pytest.mark.parametrize("victim", ["worker", "server"])
def test_killed_under_hashcat(guest, host, victim):
    running, log = start_hashcat(guest)
    pid = host.server() if victim == "server" else host.workers()[0]
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    assert_ends_with_an_error(running, log, killed)
    assert_the_next_program_computes(guest)


@pytest.mark.parametrize("signal_name", ["INT", "KILL"])
def test_a_kernel_that_never_ends_ends_with_its_program(guest, host, signal_name):
    log = guest.share / "endless.log"
    log.unlink(missing_ok=True)
    guest.output("python3 /mnt/endless.py >/mnt/endless.log 2>&1 & echo $! >/mnt/endless.pid")
    running = eventually(lambda: log.exists() and "runs" in log.read_text(), 60)
    assert running, log.read_text()
    assert len(host.workers()) == 1
    status, text = guest.output(f"kill -{signal_name} $(cat /mnt/endless.pid); sleep 1; kill -0 $(cat /mnt/endless.pid)")
    assert status != 0, f"the program lives: {text}"
    assert eventually(lambda: not host.workers(), 60), "its worker computes on"
    assert_the_next_program_computes(guest)
