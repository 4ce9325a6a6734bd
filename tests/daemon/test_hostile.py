"""Workers that their guest has taken over: its kernels make system calls.

pocl runs kernels as native code, so a guest needs no bug for this.

SPDX-License-Identifier: MIT
"""
import errno
import os
import platform

import pytest

import vgpu
from conftest import has_namespaces, processors_of
from opencl import CL

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64",
                                reason="kernels with x86-64's system calls")

CALL = """
long call(long n, long a, long b, long c, long d)
{
    long ret;

    __asm__ volatile("movq %5, %%r10; xorl %%r8d, %%r8d; xorl %%r9d, %%r9d;"
                     "syscall" : "=a"(ret)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(d)
                     : "rcx", "r8", "r9", "r10", "r11", "memory");
    return ret;
}

enum { WRITE = 1, PAUSE = 34, NANOSLEEP = 35, GETPID = 39, SENDTO = 44, FORK = 57, FTRUNCATE = 77, MKDIR = 83,
       PRCTL = 157, SET_AFFINITY = 203, GET_AFFINITY = 204 };
"""


class Hostile:
    """A context and code that runs in its worker as a program would."""

    def __init__(self, context):
        self.cl = CL(context).start()
        if not self.cl.is_processor():
            pytest.skip("this host's device does not run native code")

    def run(self, body, wait=True):
        """What the code has put into a[0..7]."""
        source = CALL + "__kernel void f(__global long *a) {" + body + "}"
        program, err = self.cl.build(source)
        assert err == 0, self.cl.log(program)
        kernel, _ = self.cl.kernel(source, "f")
        buffer = self.cl.buffer(64)
        self.cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0,
                     mem=buffer)
        self.cl.run(kernel, 1)
        if wait:
            data = self.cl.read(buffer, 64)
            return memoryview(data).cast("q").tolist()


needs_namespaces = pytest.mark.skipif(not has_namespaces(), reason=
                                      "workers get no namespaces here")


@pytest.fixture
def hostile(context):
    return Hostile(context)


def everybody_named(name):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() == name:
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_kernels_make_system_calls(hostile):
    """Else nothing here shows anything."""
    assert hostile.run("a[0] = call(GETPID, 0, 0, 0, 0);")[0] > 0


@needs_namespaces
def test_nothing_it_starts_outlives_a_killed_server(server, hostile):
    # prctl(PR_SET_NAME) makes the child known, pause() makes it stay.
    hostile.run("""
    if (call(FORK, 0, 0, 0, 0) == 0) {
        char name[] = "escaped-%d";
        call(PRCTL, 15, (long)name, 0, 0);
        for (;;) call(PAUSE, 0, 0, 0, 0);
    }""" % server.pid)
    name = f"escaped-{server.pid}"
    vgpu.wait_until(lambda: everybody_named(name))
    server.process.kill()
    server.process.wait()
    vgpu.wait_until(lambda: not everybody_named(name))


@needs_namespaces
def test_its_directory_is_limited_and_gone_with_it(server, client, hostile):
    made, err, *_ = hostile.run("""
    char name[] = "f00000000";
    long n, fd = 0;
    for (n = 0; n < 1000000; n++) {
        for (int i = 0; i < 8; i++) name[8 - i] = 'a' + ((n >> 4 * i) & 15);
        fd = call(MKDIR, (long)name, 0700, 0, 0);
        if (fd < 0) break;
    }
    a[0] = n;
    a[1] = fd;""")
    assert 1000 < made < 70000 and err == -28  # ENOSPC
    before = [p for p in server.tmp.glob("*/*") if p.name.isdigit()]
    assert len(before) == 1 and list(before[0].iterdir()) == []
    hostile.cl.context.close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)
    assert not before[0].exists()
    assert list(server.tmp.glob("*/trash/*")) == []


def test_a_worker_shares_no_writable_memory_but_blobs(server, context):
    context.ping()
    worker, = server.workers()
    with open(f"/proc/{worker}/maps") as f:
        shared = {line.split(maxsplit=5)[-1].strip() for line in f
                  if line.split()[1] == "rw-s"}
    assert shared == {"/memfd:vgpu-blob (deleted)"}


@pytest.mark.parametrize("request_", ["-(1L << 40)", "-(1L << 63)", "1L << 62"])
def test_what_a_worker_says_of_its_account_changes_no_others(start, request_):
    """Its account's socket is fd 5; what it asks for is 8 bytes."""
    client = start("--memory", "64M").client()
    other = client.context()
    liar = Hostile(client.context())
    sent = liar.run("""
    long bytes = %s;
    for (int i = 0; i < 100; i++)
        a[0] = call(SENDTO, 5, (long)&bytes, 8, 0);""" % request_)[0]
    assert sent in (8, -32)  # EPIPE
    for size in 1 << 32, 62 << 20:
        with pytest.raises(vgpu.Refused) as refused:
            other.blob(2, size)
        assert refused.value.status == errno.EDQUOT
    other.blob(3, 24 << 20)
    liar.cl.context.close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 1)
    other.blob(4, 36 << 20)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2,
                    reason="there is one processor")
def test_it_and_what_it_starts_keep_to_the_servers_processors(start):
    server = start("--processors", "1")
    hostile = Hostile(server.client().context())
    child, mine, its, *_ = hostile.run("""
    long all[16], own[16], other[16], nap[2];
    for (int i = 0; i < 16; i++) { all[i] = -1; own[i] = other[i] = 0; }
    nap[0] = 0;
    nap[1] = 100000000;
    call(SET_AFFINITY, 0, sizeof(all), (long)all, 0);
    call(SET_AFFINITY, call(GETPID, 0, 0, 0, 0), sizeof(all), (long)all, 0);
    long child = call(FORK, 0, 0, 0, 0);
    if (child == 0) {
        call(SET_AFFINITY, 0, sizeof(all), (long)all, 0);
        for (;;) call(PAUSE, 0, 0, 0, 0);
    }
    call(NANOSLEEP, (long)nap, 0, 0, 0);
    a[0] = child;
    a[1] = a[2] = 0;
    call(GET_AFFINITY, 0, sizeof(own), (long)own, 0);
    call(GET_AFFINITY, child, sizeof(other), (long)other, 0);
    for (int i = 0; i < 16; i++) {
        a[1] += popcount(own[i]);
        a[2] += popcount(other[i]);
    }""")
    assert child > 0 and mine == its == 1
    assert len(processors_of(server.workers()[0])) == 1


def test_it_cannot_write_into_the_users_log_but_text(server, client, hostile):
    """Its stderr is fd 2: neither escapes for a terminal, nor the file itself."""
    before = server.log()
    cut, written = hostile.run("""
    char text[] = "\\033[2Jhello \\nworld\\n";
    a[0] = call(FTRUNCATE, 2, 0, 0, 0);
    a[1] = call(WRITE, 2, (long)text, sizeof(text) - 1, 0);""")[:2]
    assert cut < 0 and written == 17
    vgpu.wait_until(lambda: "world" in server.log())
    assert server.log().startswith(before)
    assert "?[2Jhello \nworld\n" in server.log() and "\033" not in server.log()


def test_it_cannot_fill_the_users_log(server, client, hostile):
    hostile.run("""
    char text[1000];
    for (int i = 0; i < 1000; i++) text[i] = 'x';
    for (int i = 0; i < 2000; i++) call(WRITE, 2, (long)text, 1000, 0);""")
    vgpu.wait_until(lambda: "say too much" in server.log())
    client.context().ping()
    assert 10000 < len(server.log()) < 150000
