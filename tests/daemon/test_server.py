"""The server: who is admitted, what is counted, what is left behind.

SPDX-License-Identifier: MIT
"""
import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import time

import pytest

import vgpu
from conftest import SERVER, cpu_ticks, workers_of


def test_hello_is_welcomed(client):
    kind, version, status, _, memory = client.welcome
    assert (kind, version, status) == (vgpu.WELCOME, vgpu.VERSION, 0)
    assert memory > 1 << 20


def test_other_version_is_refused_with_both_numbers(server):
    client = server.client(version=77)
    kind, version, status, _, _ = client.welcome
    assert (kind, version, status) == (vgpu.WELCOME, vgpu.VERSION,
                                       errno.EPROTO)
    assert vgpu.receive(client.sock) == (b"", [])
    assert "version 77" in server.log() and f"server {vgpu.VERSION}" in server.log()


def test_clients_wait_while_fds_are_short(start):
    server = start("--memory", "16M")
    first = server.client()
    left = 3
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE,
                     (first.status()["fds"] + left,) * 2)
    others = [server.client() for _ in range(left)]
    late = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    late.connect(str(server.path))
    vgpu.wait_until(lambda: "have to wait" in server.log())
    before = cpu_ticks(server.pid)
    time.sleep(1)
    assert cpu_ticks(server.pid) - before <= 2
    others.pop().close()
    vgpu.Client(None, sock=late)
    assert server.log().count("have to wait") == 1


def test_other_magic_is_closed(server):
    assert server.client(magic=1).welcome is None


@pytest.mark.parametrize("garbage", [
    b"x", b"\0" * 4, b"\xff" * 200, struct.pack("<II", vgpu.STATUS, 0),
    struct.pack("<I", vgpu.HELLO), struct.pack("<I", 0x7fffffff),
], ids=["short", "zero", "long", "before-hello", "short-hello", "unknown"])
def test_garbage_closes_only_that_client(server, client, garbage):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(str(server.path))
    vgpu.send(sock, garbage)
    assert vgpu.receive(sock) == (b"", [])
    assert client.status()["clients"] == 1


def test_context_create_without_fds_closes(server):
    client = server.client()
    vgpu.send(client.sock, struct.pack("<II64s", vgpu.CONTEXT_CREATE, 1, b"x"))
    assert vgpu.receive(client.sock) == (b"", [])


def test_fds_of_refused_packets_are_closed(server, client):
    before = client.status()["fds"]
    for _ in range(5):
        bad = server.client()
        r, w = os.pipe()
        vgpu.send(bad.sock, struct.pack("<II", vgpu.STATUS, 0), [r, w])
        assert vgpu.receive(bad.sock) == (b"", [])
        os.close(r)
        os.close(w)
        bad.close()
    assert client.status()["fds"] == before


def test_worker_packets_are_none_for_the_server(client):
    vgpu.send(client.sock, struct.pack("<IIQ", vgpu.BLOB_DESTROY, 0, 1))
    assert vgpu.receive(client.sock) == (b"", [])


def test_too_many_contexts_are_lost_with_a_reason(start):
    client = start("--contexts", "2").client()
    contexts = [client.context(), client.context()]
    third = client.context(start=False)
    why, text = third.wait_lost()
    assert why == vgpu.FATAL_BUDGET and "as many contexts" in text
    contexts.pop().close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 1)
    client.context().ping()


def test_contexts_end_with_the_client(server, client):
    other = server.client()
    contexts = [other.context() for _ in range(3)]
    assert client.status()["contexts"] == 3
    other.close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)
    for context in contexts:
        context.wait_lost()


def test_worker_that_does_not_end_is_killed(server, client):
    context = client.context()
    worker = server.workers()[0]
    os.kill(worker, signal.SIGSTOP)  # it cannot hear that it is over
    try:
        context.close()
        vgpu.wait_until(lambda: not server.workers(), 20)
    finally:
        if worker in server.workers():
            os.kill(worker, signal.SIGKILL)
    assert "does not end by itself" in server.log()
    assert client.status()["contexts"] == 0
    client.context().ping()


def test_200_sessions_leave_nothing(server, client):
    client.context().close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)
    before = client.status()
    for i in range(200):
        with server.client(f"session {i}") as other:
            with other.context() as context:
                context.ping()
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)
    after = client.status()
    assert after["fds"] == before["fds"]
    assert after["clients"] == before["clients"]
    assert after["total"] == before["total"] + 200
    assert server.workers() == []
    assert {p.name for p in server.tmp.glob("*/*")} == {"lock", "trash"}
    assert list(server.tmp.glob("*/trash/*")) == []


def test_hang_up_while_anothers_worker_starts_is_seen_once(server, client):
    """The new worker holds a copy of every client's socket for a moment."""
    for _ in range(100):
        other = server.client("other")
        context = client.context(start=False)
        other.close()
        context.sock.close()
        os.close(context.doorbell)
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)
    assert client.status()["clients"] == 1


def test_killed_worker_is_seen_and_costs_nobody_else(server, client):
    victim, other = client.context("victim"), client.context("other")
    first, second = server.workers()
    os.kill(first, signal.SIGKILL)
    begin = time.monotonic()
    assert victim.wait_lost() is None
    assert time.monotonic() - begin < 1
    other.ping()
    client.context().ping()
    vgpu.wait_until(lambda: "died of signal 9" in server.log())
    assert second in server.workers()


def test_killed_server_takes_its_workers_along(start):
    server = start()
    context = server.client().context()
    workers = server.workers()
    server.process.kill()
    context.wait_lost()
    for pid in workers:
        vgpu.wait_until(lambda: not os.path.exists(f"/proc/{pid}") or
                        " Z " in open(f"/proc/{pid}/stat").read())
    # The next server takes over the socket's path, and tidies up.
    assert server.path.exists()
    server.process.wait()
    again = start()
    again.client().context().ping()
    assert len(list(again.tmp.iterdir())) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_tidily(start, number):
    server = start()
    context = server.client().context()
    workers = server.workers()
    assert server.stop(number) == 0
    context.wait_lost()
    assert not server.path.exists()
    assert list(server.tmp.iterdir()) == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)


def test_second_server_at_one_path_is_refused(server):
    again = subprocess.run([SERVER, "--socket", server.path],
                           capture_output=True, text=True, timeout=10)
    assert again.returncode == 1
    assert "another server listens" in again.stderr
    server.client().context().ping()


def test_socket_is_for_its_user_only(server):
    assert os.stat(server.path).st_mode & 0o777 == 0o600


def test_fd_serves_one_client_and_ends(tmp_path):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([SERVER, "--fd", str(theirs.fileno())],
                               pass_fds=[theirs.fileno()])
    theirs.close()
    client = vgpu.Client(None, sock=ours)
    context = client.context()
    context.ping()
    assert len(workers_of(process.pid)) == 1
    client.close()
    assert process.wait(timeout=5) == 0
    context.wait_lost()


@pytest.mark.parametrize("arguments, complaint", [
    ([], "either --socket PATH or --fd N"),
    (["--socket", "x", "--fd", "0"], "either --socket PATH or --fd N"),
    (["--fd", "77"], "--fd 77"),
    (["--fd", "zwei"], "--fd zwei"),
    (["--memory", "much", "--socket", "x"], "--memory much"),
    (["--memory", "1", "--socket", "x"], "at least 1M"),
    (["--contexts", "0", "--socket", "x"], "1 to 256"),
    (["--processors", "two", "--socket", "x"], "--processors two"),
    (["--processors", "-1", "--socket", "x"], "2 say, or 0"),
    (["--processors", "1.5", "--socket", "x"], "--processors 1.5"),
    (["--processors", "", "--socket", "x"], "--processors"),
    (["--processors", "99999999999", "--socket", "x"], "--processors 9999"),
    (["--readable", "/not/there", "--socket", "x"], "/not/there"),
    (["--socket", "/not/there/x"], "/not/there/x"),
    (["--socket", "x" * 200], "200 bytes long"),
    (["--unknown"], "--help"),
    (["extra"], "extra"),
])
def test_wrong_options_are_explained(arguments, complaint, tmp_path):
    run = subprocess.run([SERVER, *arguments], capture_output=True, text=True,
                         timeout=10, cwd=tmp_path)
    assert run.returncode == 1
    assert complaint in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_and_version():
    for option, text in ("--help", "--isolation"), ("--version", "protocol"):
        run = subprocess.run([SERVER, option], capture_output=True, text=True)
        assert run.returncode == 0 and text in run.stdout
