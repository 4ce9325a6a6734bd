"""In the guest: a kernel that never ends, and a program that waits for it.

SPDX-License-Identifier: MIT
"""
import signal

import numpy
import pyopencl as cl

signal.signal(signal.SIGINT, signal.SIG_DFL)    # Python's own would wait for the call to return
context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
queue = cl.CommandQueue(context)
program = cl.Program(context, "kernel void f(global volatile int *p) { while (!*p) { } }").build()
memory = cl.Buffer(context, cl.mem_flags.COPY_HOST_PTR, hostbuf=numpy.zeros(16, numpy.int32))
event = program.f(queue, (64,), (1,), memory)
queue.flush()
while event.command_execution_status > cl.command_execution_status.RUNNING:
    pass
print("runs", flush=True)
queue.finish()
