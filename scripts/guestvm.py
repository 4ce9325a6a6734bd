"""A test guest as an object: boots it, runs commands in it, ends it.

scripts/vm is the command line of this; scripts/run-demo and tests/vm use it
directly, since one boot serves many commands. What is booted comes from
scripts/build-guest: Debian's kernel, an initramfs and a root image, which no
boot changes (every VM writes into a throw-away overlay of its own).

The guest's agent (scripts/guest/agent) takes shell scripts from a port of a
virtio console and answers with their status; stdout and stderr have ports of
their own. All of them are socket pairs that QEMU inherits, so there is no
file to clean up, and a VM does not outlive the process that booted it.

    with Guest(device="vgpu-remote", share="/tmp/x") as guest:
        status = guest.run(["clinfo", "-l"], timeout=60)

SPDX-License-Identifier: MIT
"""
import base64
import ctypes
import functools
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BIN = TOP / "build" / "bin"
TAIL = 4000
# Emulated, "max" is one of AMD's of a family for which LLVM, and so llvmpipe, makes no code of 64 bits; and whose
# addresses of 40 bits end with what those keep to themselves, where the firmware lets things be plugged in.
CPU = {"kvm": "host", "tcg": "max,vendor=GenuineIntel"}
PR_SET_PDEATHSIG = 1


class GuestError(Exception):
    """A sentence for the user: what did not work, and what to do."""


class Timeout(GuestError):
    """A command, or the boot, took longer than it was given."""


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@functools.lru_cache(maxsize=None)
def accelerator(qemu):
    """`kvm` where a guest really runs on it, else `tcg`.

    /dev/kvm may exist where no ordinary guest can run, so the flag of the CPU
    is asked for, and a VM of nothing but firmware has to reach its end.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    with open("/proc/cpuinfo") as f:
        flags = next((line.split() for line in f if line.startswith("flags")), [])
    if "vmx" not in flags and "svm" not in flags:
        return "tcg"
    return "kvm" if _kvm_answers(qemu) else "tcg"


def _kvm_answers(qemu):
    # A boot sector that writes 0 to the debug-exit port: QEMU ends with 1.
    sector = bytes.fromhex("31c0e6f4") + b"\xf4" * 506 + b"\x55\xaa"
    with tempfile.NamedTemporaryFile() as disk:
        disk.write(sector)
        disk.flush()
        try:
            end = subprocess.run(
                [qemu, "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                 "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
                 "-drive", f"file={disk.name},format=raw,if=ide,snapshot=on"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)
        except subprocess.TimeoutExpired:
            return False
    return end.returncode == 1


@functools.lru_cache(maxsize=None)
def guest_folder():
    """Where the guest lies; made now where there is none."""
    end = subprocess.run([TOP / "scripts" / "build-guest"], stdout=subprocess.PIPE, text=True)
    if end.returncode:
        raise GuestError("there is no test guest; the lines above say why")
    return end.stdout.strip()


def built_package():
    """The newest .deb of `make guest-package`, or None."""
    found = sorted((TOP / "build").glob("*.deb"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


class Port:
    """One end of a socket pair; the other is a character device of QEMU."""

    def __init__(self, name):
        self.name = name
        self.host, self.vm = socket.socketpair()
        self.buffer = b""

    def chardev(self):
        return ["-chardev", f"socket,id={self.name},fd={self.vm.fileno()}"]

    def fileno(self):
        return self.host.fileno()

    def line(self, deadline):
        """The next whole line, or None at the end of the stream."""
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.host], [], [], left)[0]:
                raise Timeout("no answer in time")
            data = self.receive()
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def receive(self):
        try:
            return self.host.recv(65536)
        except ConnectionResetError:
            return b""

    def close(self):
        self.host.close()
        self.vm.close()


class Guest:
    """A running VM. `device` is an argument of -device, or a list of them; `environment`
    is what QEMU gets besides this process's own.

    A guest that reboots ends its VM, unless `reboots` is set. With `arriving`, a file
    that another VM like this was migrated to, it goes on where that was.
    """

    def __init__(self, device=None, share=None, package=None, qemu=None,
                 memory="2G", smp=2, display="none", accel=None, log=None,
                 machine="q35,hpet=off", reboots=False, arriving=None, args=(), environment=None):
        self.qemu = str(qemu or BIN / "qemu-system-x86_64")
        self.share = share and Path(share).resolve()
        self.package = package and Path(package).resolve()
        self.process = None
        self.arriving = arriving
        self.environment = {**os.environ, **(environment or {})}
        self.log = open(log, "w+b") if log else tempfile.TemporaryFile()
        self.ports = {name: Port(name) for name in ("control", "out", "err", "qmp")}
        self.accel = accel or accelerator(self.qemu)
        devices = [device] if isinstance(device, str) else device or []
        self.command = [
            self.qemu, "-nodefaults", "-no-user-config", *([] if reboots else ["-no-reboot"]),
            "-machine", f"{machine},accel={self.accel}",
            "-cpu", CPU[self.accel],
            "-m", str(memory), "-smp", str(smp), "-display", display,
            *self._system(), *self._console(), *self._shares(),
            *(word for one in devices for word in ("-device", one)),
            *(["-incoming", f"exec:cat {shlex.quote(str(arriving))}"] if arriving else []), *args]

    def _system(self):
        guest = guest_folder()
        words = ["console=ttyS0", "panic=-1", "loglevel=5", "mitigations=off"]
        if self.accel == "tcg":
            # Its TSC is the host's clock, and true; the kernel would distrust it,
            # and read a timer that costs an idle VM a per cent of a core.
            words += ["tsc=reliable", "clocksource=tsc"]
        words += ["vgpu.share"] if self.share else []
        words += ["vgpu.package"] if self.package else []
        return ["-kernel", f"{guest}/vmlinuz", "-initrd", f"{guest}/initrd",
                "-append", " ".join(words),
                "-drive", f"file={guest}/root.img,format=raw,if=virtio,snapshot=on"]

    def _console(self):
        words = ["-serial", "chardev:log", "-chardev", "stdio,id=log,signal=off",
                 "-mon", "chardev=qmp,mode=control", "-device", "virtio-serial-pci"]
        for number, name in enumerate(("control", "out", "err"), 1):
            words += ["-device", f"virtserialport,chardev={name},nr={number}"]
        return words + sum((port.chardev() for port in self.ports.values()), [])

    def _shares(self):
        words = []
        for tag, path in (("share", self.share), ("package", self.package and self.package.parent)):
            if path:
                words += ["-virtfs", f"local,path={str(path).replace(',', ',,')},"
                          f"mount_tag={tag},security_model=none,multidevs=remap"]
        return words

    def start(self):
        """Starts the VM; wait_ready() waits for it. It ends with the thread that starts it."""
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.environment,
            pass_fds=[port.vm.fileno() for port in self.ports.values()],
            start_new_session=True, preexec_fn=die_with_parent)
        for port in self.ports.values():
            port.vm.close()

    def wait_ready(self, timeout=120):
        """Waits until the guest's agent is ready."""
        if self.arriving:
            self._await_arrival(timeout)
        else:
            self._await_agent(timeout)

    def boot(self):
        self.start()
        self.wait_ready()
        return self

    def _await_arrival(self, timeout):
        end = time.monotonic() + timeout
        while self.qmp("query-status", timeout)["status"] != "running":
            if time.monotonic() > end:
                raise Timeout(f"the VM did not arrive within {timeout} s; {self.last_words()}")
            time.sleep(0.1)

    def reboot(self, timeout=120):
        """Has the guest start again, by itself, and waits until its agent is ready."""
        # No init system is there to ask; its disk has no journal.
        self._send("sync; echo u >/proc/sysrq-trigger; sleep 1; echo b >/proc/sysrq-trigger")
        self._await_agent(timeout)

    def _await_agent(self, timeout):
        try:
            word = self.ports["control"].line(time.monotonic() + timeout)
        except Timeout:
            raise Timeout(f"the guest did not boot within {timeout} s; {self.last_words()}")
        if word is None:
            said = self.last_words()
            full = f"{self.overlay_folder()} is full; make room, or set TMPDIR" if "No space left" in said else ""
            raise GuestError(full or f"the VM ended while it booted; {said}")
        if word != "ready":
            raise GuestError(f"in the guest: {word.removeprefix('fail ')}; {self.last_words()}")

    def _send(self, script):
        self.ports["control"].host.sendall(base64.b64encode(script.encode()) + b"\n")

    @staticmethod
    def overlay_folder():
        """Where QEMU puts what the guest writes to its disk."""
        return os.environ.get("TMPDIR") or "/var/tmp"

    def last_words(self):
        """The end of what QEMU and the guest's kernel said."""
        self.log.flush()
        size = os.fstat(self.log.fileno()).st_size
        text = os.pread(self.log.fileno(), TAIL, max(0, size - TAIL))
        return "the end of its log:\n" + text.decode(errors="replace").strip()

    def run(self, command, timeout=60, stdout=None, stderr=None):
        """Runs a command (a list, or a shell script) and returns its status.

        stdout and stderr are binary files, this process's own by default. A
        command that takes longer than `timeout` raises Timeout and goes on
        running: end the guest then, or have timeout(1) in the command.
        """
        script = command if isinstance(command, str) else shlex.join(map(str, command))
        self._send(self._exports() + script)
        sinks = {self.ports["out"]: stdout or sys.stdout.buffer,
                 self.ports["err"]: stderr or sys.stderr.buffer}
        try:
            status = self._pump(sinks, time.monotonic() + timeout)
        except Timeout:
            if self.qmp("query-status")["status"] == "io-error":
                raise GuestError(f"{self.overlay_folder()}, where the VM keeps what its guest writes, is full; "
                                 "make room, or set TMPDIR") from None
            raise
        if status is None:
            raise GuestError(f"the VM ended while a command ran; {self.last_words()}")
        return status

    def _exports(self):
        """What is switched off here is switched off in the guest."""
        return "".join(f"export {name}={shlex.quote(self.environment[name])}; "
                       for name in ("VGPU_PERF", "VGPU_CACHE") if name in self.environment)

    def _pump(self, sinks, deadline):
        control = self.ports["control"]
        while True:
            left = deadline - time.monotonic()
            ready = select.select([control, *sinks], [], [], max(0, left))[0]
            if not ready:
                raise Timeout("the command took longer than it was given")
            for port in set(ready) - {control}:
                self._copy(port, sinks[port])
            if control in ready:
                break
        line = control.line(deadline)
        # What the command wrote was delivered before its status was.
        for port, sink in sinks.items():
            while select.select([port], [], [], 0)[0] and self._copy(port, sink):
                pass
        return None if line is None else int(line.split()[1])

    @staticmethod
    def _copy(port, sink):
        data = port.receive()
        sink.write(data)
        sink.flush()
        return len(data)

    def output(self, command, timeout=60):
        """(status, stdout + stderr as text) of a command."""
        with tempfile.TemporaryFile() as file:
            status = self.run(command, timeout, file, file)
            file.seek(0)
            return status, file.read().decode(errors="replace")

    def qmp(self, command, timeout=10, **arguments):
        """One command of QEMU's monitor; its answer, or GuestError."""
        deadline = time.monotonic() + timeout
        if "greeted" not in self.__dict__:
            self.ports["qmp"].line(deadline)
            self.greeted = True
            self.qmp("qmp_capabilities")
        words = {"execute": command, "arguments": arguments}
        self.ports["qmp"].host.sendall(json.dumps(words).encode() + b"\n")
        while True:
            answer = json.loads(self.ports["qmp"].line(deadline) or '{"error": {"desc": "QEMU ended"}}')
            if "error" in answer:
                raise GuestError(f"QEMU's {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def close(self):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for port in self.ports.values():
            port.close()
        self.log.close()

    def __enter__(self):
        try:
            return self.boot()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()
