"""Real boots: one VM for most tests, since a boot takes ten seconds.

A test takes `guest`, a running VM with the device and our package, or
`fresh_guest` if it leaves one that no other test should get.

SPDX-License-Identifier: MIT
"""
import sys
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "scripts"))

import guestvm  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))

PROGRAMS = Path(__file__).resolve().parent / "programs"
SECOND_TRY = 10
# The third is of one that has just been forked, the last of one that has just ended.
HELPERS = ("vgpu-init", "vgpu-remover", "vgpu-remoted", "")


def boot(share, **options):
    package = guestvm.built_package()
    assert package, "there is no .deb in build/; run `make guest-package`"
    options.setdefault("device", "vgpu-remote")
    return guestvm.Guest(share=share, package=package, log=share / "vm.log", **options)


def share_with_programs(folder):
    for program in PROGRAMS.iterdir():
        (folder / program.name).write_bytes(program.read_bytes())
    return folder


@pytest.fixture(scope="session")
def guest(tmp_path_factory):
    with boot(share_with_programs(tmp_path_factory.mktemp("vm"))) as one:
        yield one


@pytest.fixture
def fresh_guest(tmp_path):
    with boot(share_with_programs(tmp_path)) as one:
        yield one


def eventually(condition, seconds=SECOND_TRY, every=0.02):
    """Waits for a condition; what it came to, or None when time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    return None


# --- processes of this host, by /proc --------------------------------------------

def children(pid):
    """Every descendant of a process, nearest first."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, queue = [], [pid]
    while queue:
        for child in parents.get(queue.pop(0), []):
            found.append(child)
            queue.append(child)
    return found


def named(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def cpu_seconds(pid):
    """Time a process, its threads together, has had on a processor."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


class Host:
    """The device's own processes: a server, and a worker for each context."""

    def __init__(self, guest):
        self.qemu = guest.process.pid

    def server(self):
        """The first vgpu-remoted below QEMU; those below it are workers."""
        return next((pid for pid in children(self.qemu) if named(pid).endswith("vgpu-remoted")), None)

    def workers(self):
        server = self.server()
        return [pid for pid in children(server) if comm(pid) not in HELPERS] if server else []


@pytest.fixture
def host(guest):
    return Host(guest)
