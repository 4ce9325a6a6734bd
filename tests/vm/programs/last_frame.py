"""Runs a program that draws on the display, and holds its last frame there.

    last_frame.py FILE COMMAND...

A display is blank, or the console's, as soon as the program that has it ends. This traces
the program: stopped at its exit, it still has all its files. FILE.held is there then, and
the program goes when FILE.done is.

SPDX-License-Identifier: MIT
"""
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

TRACEME, CONT, SETOPTIONS = 0, 7, 0x4200
OPTIONS = 1 << 6 | 1 << 20          # stop at the exit; end with the tracer
EXITS = signal.SIGTRAP | 6 << 8     # how that stop is told

ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def main():
    path, command = sys.argv[1], sys.argv[2:]
    stdin, _ = os.pipe()            # where nothing comes, not even an end
    pid = os.fork()
    if pid == 0:
        os.dup2(stdin, 0)
        ptrace(TRACEME, 0, None, None)
        os.execvp(command[0], command)
    os.waitpid(pid, 0)              # it stops at its exec
    ptrace(SETOPTIONS, pid, None, OPTIONS)
    number = 0
    while True:
        ptrace(CONT, pid, None, number)
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSTOPPED(status):
            sys.exit(f"{command[0]} ended with {status:#x}")
        if status >> 8 == EXITS:
            break
        number = os.WSTOPSIG(status)
    Path(path + ".held").touch()
    while not os.path.exists(path + ".done"):
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)


main()
