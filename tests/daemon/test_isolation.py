"""Isolation, seen from outside (/proc) and from inside (isolation-probe).

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import vgpu
from conftest import SERVER, status_of, workers_of
from opencl import CL

NOBODY = 65534
PROBE = os.environ["VGPU_ISOLATION_PROBE"]


def test_worker_has_given_everything_up(server, context):
    context.ping()
    worker, = server.workers()
    status = status_of(worker)
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "1"
    for name in "CapInh", "CapPrm", "CapEff", "CapAmb":
        assert int(status[name], 16) == 0
    limits = pathlib.Path(f"/proc/{worker}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    fields = pathlib.Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1]
    _, _, group, session, tty = fields.split()[:5]
    assert group == session == str(worker) and tty == "0"


def test_worker_has_only_its_own_fds(server, client):
    other = client.context("other")
    other.ping()
    context = client.context()
    context.ping()
    names = {}
    for fd in pathlib.Path(f"/proc/{server.workers()[-1]}/fd").iterdir():
        names[int(fd.name)] = os.readlink(fd)
    sockets = [n for n in names.values() if n.startswith("socket:")]
    assert len(sockets) == 3  # the client's, to the server's account, stderr
    assert names[0] == names[1] == "/dev/null"
    # Landlock's rules for /proc hold it open, where there is no /proc of its own.
    own = [n for n in names.values() if not n.startswith(("/proc", "/sys"))]
    assert len(own) <= 8  # 0 1 2, sockets, doorbell, epoll, one eventfd


def test_isolation_is_reported():
    run = subprocess.run([SERVER, "--isolation"], capture_output=True,
                         text=True)
    assert run.returncode == 0
    for stage in "processors", "process", "namespaces", "files", "network", "privileges", "calls":
        assert f"\n{stage}:" in "\n" + run.stdout


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("kind", ["landlock", "namespaces+landlock",
                                  "namespaces+mounts"])
def test_probe_is_denied_everything(kind, user):
    if os.geteuid() != 0 and user == "root":
        pytest.skip("only root can")
    # Not below pytest's directory, which is its user's alone.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        top = pathlib.Path(name)
        (top / "own").mkdir()
        (top / "secret").write_text("x")
        who = {}
        if os.geteuid() == 0 and user == "nobody":
            who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(top / "own", NOBODY, NOBODY)
            shutil.copy(PROBE, top / "probe")
        run = subprocess.run([top / "probe" if who else PROBE, kind,
                              top / "own", top / "secret"],
                             capture_output=True, text=True, timeout=20, **who)
    if run.returncode == 77:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout + run.stderr


def test_an_ordinary_users_worker_is_isolated_too():
    if os.geteuid() != 0:
        pytest.skip("all the other tests ran as an ordinary user")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chown(name, NOBODY, NOBODY)
        environment = dict(os.environ, TMPDIR=name)
        try:
            process = subprocess.Popen([SERVER, "--socket", name + "/socket"],
                                       user=NOBODY, group=NOBODY,
                                       extra_groups=[], env=environment)
        except PermissionError:
            pytest.skip("user nobody may not reach the build's folder")
        vgpu.wait_until(lambda: os.path.exists(name + "/socket") or
                        process.poll() is not None)
        assert process.poll() is None
        client = vgpu.Client(name + "/socket")
        cl = CL(client.context()).start()
        kernel, _ = cl.kernel("__kernel void f(__global int *a) { *a = 7; }",
                              "f")
        buffer = cl.buffer(4)
        cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
        cl.run(kernel, 1)
        assert cl.read(buffer, 4) == b"\7\0\0\0"
        status = status_of(workers_of(process.pid)[0])
        assert status["Seccomp"].strip() == "2"
        assert status["Uid"].split() == [str(NOBODY)] * 4
        process.terminate()
        assert process.wait(timeout=10) == 0
