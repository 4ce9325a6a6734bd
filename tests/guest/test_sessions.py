"""Random sessions, valid and broken, leave the server and its machine as they were.

sessions.c runs again and again, with another seed each time: through the shim,
two programs at a time, some of them killed on the way. What may end one is pocl:
then the same sequence, made natively, has to end there too.

VGPU_SESSIONS_SECONDS says for how long (10), VGPU_SESSIONS_SEED where to begin (1).

SPDX-License-Identifier: MIT
"""
import itertools
import os
import random
import re
import signal
import subprocess
import time

import vgpu
from conftest import Server, status_of

VGPU_RUN = os.environ["VGPU_RUN"]
SESSIONS = os.environ["VGPU_SESSIONS"]
SECONDS = int(os.environ.get("VGPU_SESSIONS_SECONDS", "10"))
SEED = int(os.environ.get("VGPU_SESSIONS_SEED", "1"))
NUMBER, STEPS = 2, 150      # sequences of a program, and steps of each
KILLED_ONE_IN = 5
NATIVE_TRIES = 60
GROWTH_KIB = int(os.environ["VGPU_GROWTH_KIB"])


# Where the shim was built with AddressSanitizer; the host's OpenCL has leaks of its own.
LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "").replace("detect_leaks=0", "detect_leaks=1")}


class Program:
    """One that runs through the shim."""

    def __init__(self, server, seed):
        self.seed = seed
        self.out_path = server.tmp.parent / f"out-{seed}"
        with open(self.out_path, "wb") as out:
            self.process = subprocess.Popen([VGPU_RUN, "--server", f"unix:{server.path}", SESSIONS,
                                             *map(str, (seed, 0, NUMBER, STEPS))],
                                            stdout=out, env={**os.environ, **LEAKS})

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.out_path.unlink()

    def ends_well(self):
        """Whether it ended as it should have, or as it natively does."""
        status = self.process.wait()
        text = self.out_path.read_text(errors="replace")
        self.out_path.unlink()
        if status == 0 and text.endswith("all\n"):
            return True
        where = last_step(text)
        assert status == 3 or status == -signal.SIGALRM, f"seed {self.seed} ended with {status} at {where}: {text[-300:]}"
        found = ends_natively(self.seed, where)
        print(f"seed {self.seed} ended at {where}; natively too: {found}")
        assert found, f"seed {self.seed} ended with {status} at {where}, and not natively"
        return False


def last_step(text):
    """(sequence, step) at which a program was."""
    return tuple(map(int, re.findall(r"^(\d+) (\d+):", text, re.M)[-1]))


def ends_natively(seed, where):
    """Whether the host's library ends in this step. What ends only natively, where nobody checks handles, is left out."""
    skip = set()
    for _ in range(NATIVE_TRIES):
        run = subprocess.run([SESSIONS, *map(str, (seed, where[0], 1, where[1] + 1))], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, errors="replace",
                             env={**os.environ, "CODES_SKIP": ",".join(skip)})
        if not run.returncode:
            return False
        step, cases = re.findall(r"^\d+ (\d+):(.*)", run.stdout, re.M)[-1]
        # A call that nobody waits for may be the host's some steps later.
        if where[1] - 2 <= int(step) <= where[1]:
            return True
        skip.add(cases.split()[-1])
    return False


def held(server, watcher):
    """What the server has when everybody is gone."""
    vgpu.wait_until(lambda: watcher.status()["contexts"] == 0 and watcher.status()["clients"] == 1, 60)
    vgpu.wait_until(lambda: not server.workers() and not any(server.tmp.glob("*/*/*")), 60)
    return watcher.status()["fds"], int(status_of(server.pid)["VmData"].split()[0])


def test_random_sessions_leave_nothing(tmp_path):
    server = Server(tmp_path)
    end = time.monotonic() + SECONDS
    chance = random.Random(SEED)
    whole = 0
    with server.client() as watcher:
        for round_ in itertools.count():
            programs = [Program(server, SEED + 2 * round_ + i) for i in range(2)]
            if chance.randrange(KILLED_ONE_IN) == 0:
                time.sleep(chance.random())
                programs.pop().kill()
            whole += sum(program.ends_well() for program in programs)
            fds, data = held(server, watcher)
            if round_ == 1:
                before = fds, data
            if round_ > 1 and time.monotonic() > end:
                break
    print(f"{whole} programs, {before} -> {(fds, data)}")
    log = server.log()
    assert server.stop() == 0
    assert fds == before[0] and data <= before[1] + GROWTH_KIB
    # Each has kept one context. So may some that were killed.
    left = re.findall(r"; (\d+) objects are left, and (\d+) bytes beside blobs", log)
    assert left.count(("1", "0")) >= whole, left
