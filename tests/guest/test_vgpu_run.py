"""vgpu-run: whom it asks, what it passes on, and that it leaves nothing behind.

The program lists devices, or is a shell.

SPDX-License-Identifier: MIT
"""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

VGPU_RUN = os.environ["VGPU_RUN"]
REMOTED = os.environ["VGPU_REMOTED"]
DEVICES = os.environ["VGPU_PROGRAM"]
UNLOADS = os.environ["VGPU_UNLOADS"]
BUILDS = os.environ["VGPU_BUILDS"]
BUFFERS = os.environ["VGPU_BUFFERS"]


@pytest.fixture
def run(tmp_path):
    """Runs vgpu-run with its own directory for temporary files."""
    tmp = tmp_path / "t"
    tmp.mkdir()

    def run(*args, **env):
        end = subprocess.run([VGPU_RUN, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, timeout=100, env={**os.environ, "TMPDIR": str(tmp), **env})
        assert not list(tmp.iterdir()), "vgpu-run left files behind"
        return end

    return run


@pytest.fixture
def server(request, tmp_path):
    """A vgpu-remoted of its own that prints calls; (socket, trace). The parameter: options for it."""
    path, trace = tmp_path / "socket", tmp_path / "server-trace"
    process = subprocess.Popen([REMOTED, "--socket", path, "--trace", trace, *getattr(request, "param", [])])
    end = time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.05)
    yield path, trace
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("status", [0, 1, 7, 200])
def test_the_programs_status_is_passed_on(run, status):
    assert run("sh", "-c", f"exit {status}").returncode == status


def test_a_signal_is_a_status_as_in_a_shell(run):
    assert run("sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL


def test_a_missing_program_is_127(run):
    end = run("no-such-program")
    assert end.returncode == 127
    assert "no-such-program" in end.stderr


@pytest.mark.parametrize("args", [[], ["--no-such-option"], ["--server"]])
def test_wrong_usage_says_where_to_look(run, args):
    end = run(*args)
    assert end.returncode == 125
    assert "--help" in end.stderr


def test_help_names_every_option(run):
    text = run("--help").stdout
    for word in ("--server", "--processors", "--preload", "VGPU_DEBUG", "VGPU_STATS", "VGPU_TRACE", "VGPU_PERF"):
        assert word in text


def test_the_program_sees_our_device_alone(run):
    end = run(DEVICES)
    names = re.findall(r"(?:platform|device): (.*)", end.stdout)
    assert len(names) >= 2
    assert all(name.endswith(" via vgpu-remote") for name in names), end.stdout


def test_all_devices_of_the_host_are_there(run):
    several = {"POCL_DEVICES": "pthread basic basic"}
    native = subprocess.run([DEVICES], stdout=subprocess.PIPE, text=True, timeout=100, env={**os.environ, **several})
    found = re.findall(r"device: (.*)", native.stdout)
    assert len(found) >= 3
    ours = re.findall(r"device: (.*) via vgpu-remote", run(DEVICES, **several).stdout)
    assert len(ours) == len(found)
    assert all(theirs.startswith(name) for theirs, name in zip(found, ours)), (found, ours)     # long ones are cut


def test_a_program_may_unload_us(run):
    end = run(UNLOADS)
    assert end.returncode == 0, end.stderr


def test_the_private_server_ends_with_the_program(run):
    pids = run("sh", "-c", "pgrep -P $PPID vgpu-remoted").stdout.split()
    assert len(pids) == 1
    assert not Path(f"/proc/{pids[0]}").exists()


def processors_of_the_server(run, *options):
    end = run(*options, "sh", "-c", "cat /proc/$(pgrep -P $PPID vgpu-remoted)/status")
    return re.search(r"Cpus_allowed_list:\s*(\S+)", end.stdout)[1]


def test_the_private_server_gets_as_many_processors_as_were_given(run):
    all_ = processors_of_the_server(run)
    assert processors_of_the_server(run, "--processors", 1).isdigit()
    assert processors_of_the_server(run, "--processors", 0) == all_


def test_processors_that_are_no_number_are_named(run):
    end = run("--processors", "two", "true")
    assert end.returncode == 125
    assert "--processors two" in end.stderr


def test_another_server_has_processors_of_its_own(run, tmp_path):
    end = run("--server", tmp_path / "nobody", "--processors", 1, "true")
    assert end.returncode == 125
    assert "--processors 1" in end.stderr and "the same option" in end.stderr


def test_a_terminated_run_ends_its_program_and_server(tmp_path):
    process = subprocess.Popen([VGPU_RUN, "sh", "-c", "pgrep -P $PPID; exec sleep 100"], stdout=subprocess.PIPE,
                               text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    pids = [process.stdout.readline().strip() for _ in range(2)]
    time.sleep(0.1)
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_leaves_the_next_removes(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([VGPU_RUN, "sh", "-c", "echo; read line"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=environment)
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=10)
    assert list(tmp_path.iterdir())
    end = time.monotonic() + 10
    while list(tmp_path.iterdir()) and time.monotonic() < end:
        subprocess.run([VGPU_RUN, "true"], env=environment, timeout=100, check=True)
    assert not list(tmp_path.iterdir())


def test_without_that_server_there_is_a_sentence_and_no_platform(run, tmp_path):
    end = run("--server", tmp_path / "nobody", DEVICES)
    assert not end.stdout
    assert end.stderr.count("nobody answers at") == 1


def test_both_ends_print_the_same_calls(run, server, tmp_path):
    path, trace = server
    own = tmp_path / "own-trace"
    end = run("--server", path, DEVICES, VGPU_TRACE=str(own))
    assert end.returncode == 0
    lines = own.read_text().splitlines()
    assert len(lines) > 5
    assert lines == trace.read_text().splitlines()
    assert not [line for line in lines if "malformed" in line]


@pytest.mark.parametrize("server", [["--memory", "160M"]], indirect=True)
def test_buffers_beyond_their_share_are_as_good(run, server):
    path, trace = server
    end = run("--server", path, BUFFERS, CMOCKA_MESSAGE_OUTPUT="TAP")
    assert end.returncode == 0, end.stdout + end.stderr
    sizes = [int(size) for size in re.findall(r"clCreateBuffer\(.* size=(\d+)", trace.read_text())]
    assert "vclCreateBufferInBlob(" in trace.read_text()
    assert max(sizes) >= 16 << 20, "all large buffers found room in regions"


def test_stats_are_printed_at_the_end(run):
    end = run(DEVICES, VGPU_STATS="1")
    found = re.search(r"vgpu-remote: calls=(\d+) doorbells=(\d+) sleeps=(\d+) worker_sleeps=(\d+)", end.stderr)
    assert found and int(found[1]) > 5, end.stderr


def test_an_unknown_switch_is_named(run):
    end = run(DEVICES, VGPU_PERF="no_spin,no_sense")
    assert "'no_sense'" in end.stderr and "no_async_create" in end.stderr
    assert "via vgpu-remote" in end.stdout


def test_preloaded_functions_come_before_a_loaders(run):
    # A sanitizer, if built in, wants to be the first library itself.
    asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    end = run("--preload", DEVICES, "--no-vendors", ASAN_OPTIONS=asan)
    assert end.returncode == 0 and "via vgpu-remote" in end.stdout, end.stdout + end.stderr
    # Without them, that loader finds nothing.
    assert run(DEVICES, "--no-vendors").returncode == 1


# --- compiled programs are kept --------------------------------------------------

MADE_OF_BINARY = "vclCreateProgramWithBinary("


@pytest.fixture
def build(run, tmp_path):
    """Runs a program whose tests build kernels and use them; the calls it makes."""
    def build(cache):
        trace = tmp_path / "trace"
        trace.unlink(missing_ok=True)
        end = run(BUILDS, VGPU_CACHE=str(cache), VGPU_TRACE=str(trace), CMOCKA_MESSAGE_OUTPUT="TAP")
        assert end.returncode == 0, end.stdout + end.stderr
        return trace.read_text()
    return build


def test_what_was_compiled_once_is_not_compiled_again(build, tmp_path):
    cache = tmp_path / "deep" / "cache"
    first, second = build(cache), build(cache)
    assert cache.stat().st_mode & 0o777 == 0o700
    kept = list(cache.iterdir())
    assert kept and all(path.suffix == ".build" for path in kept)
    assert second.count(MADE_OF_BINARY) >= first.count(MADE_OF_BINARY) + len(kept)
    # pocl's binaries are files in folders that are named after the work group: 0-0-0 fits all, slowly.
    assert any(re.search(rb"/[1-9]\d*-\d+-\d+[^/]*/\w+\.so", path.read_bytes()) for path in kept)


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-1], lambda whole: b"x" * len(whole),
                                    lambda whole: whole[:-2000] + b"y" + whole[-1999:]])
def test_a_damaged_file_is_as_good_as_none(build, tmp_path, damage):
    cache = tmp_path / "cache"
    first = build(cache)
    for path in cache.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert build(cache).count(MADE_OF_BINARY) == first.count(MADE_OF_BINARY)
    assert build(cache).count(MADE_OF_BINARY) > first.count(MADE_OF_BINARY), "the damaged file was not replaced"


def test_nothing_is_kept_where_others_may_write(build, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    build(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_directory_nothing_is_kept(build, tmp_path):
    build("")
    (tmp_path / "file").write_text("")
    build(tmp_path / "file")
    assert (tmp_path / "file").read_text() == ""
