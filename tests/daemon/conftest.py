"""A server for each test, and what tests ask about processes.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import signal
import socket
import subprocess

import pytest

import vgpu

SERVER = os.environ["VGPU_REMOTED"]


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        found += [int(c) for c in (task / "children").read_text().split()]
    return found


def workers_of(pid):
    """Of a server: other children wait for its end, or clear up. Just forked,
    they have the server's own name; ended, none."""
    return [child for child in children(pid) if name_of(child) not in
            ("vgpu-init", "vgpu-remover", "vgpu-remoted", "")]


def name_of(pid):
    try:
        return status_of(pid)["Name"].strip()
    except OSError:
        return ""


def has_namespaces():
    """Whether workers get any here; not in a chroot whose root is no mount."""
    said = subprocess.run([SERVER, "--isolation"], capture_output=True,
                          text=True).stdout
    return "no other processes in /proc" in said


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def cpu_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
    return sum(int(f) for f in fields.split()[11:13])


def numbers(text):
    """Of a list like 0-3,8."""
    ends = [part.split("-") for part in text.strip().split(",")]
    return {n for part in ends for n in range(int(part[0]), int(part[-1]) + 1)}


def processors_of(pid):
    """What a process may run on: all of its threads have the same."""
    lists = {status_of(f"{pid}/task/{task.name}")["Cpus_allowed_list"]
             for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}
    assert len(lists) == 1, lists
    return numbers(lists.pop())


class Server:
    def __init__(self, directory, *options):
        self.path = directory / "socket"
        self.tmp = directory / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.log_path = directory / "log"
        environment = dict(os.environ, TMPDIR=str(self.tmp))
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [SERVER, "--socket", str(self.path), "--verbose", *options],
                stderr=log, env=environment)
        self.pid = self.process.pid
        vgpu.wait_until(lambda: self.process.poll() is not None or
                        self.answers(), what="the server")

    def answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            return sock.connect_ex(str(self.path)) == 0

    def client(self, *args, **kwargs):
        return vgpu.Client(self.path, *args, **kwargs)

    def workers(self):
        return workers_of(self.pid)

    def log(self):
        return self.log_path.read_text()

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=10)


@pytest.fixture
def start(tmp_path):
    """A function that starts a server with options."""
    servers = []

    def start_one(*options):
        servers.append(Server(tmp_path, *options))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def client(server):
    with server.client() as c:
        yield c


@pytest.fixture
def context(client):
    with client.context() as c:
        yield c
