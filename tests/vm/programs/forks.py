"""In the guest: a child of a program with a context; both live on.

SPDX-License-Identifier: MIT
"""
import os

import numpy
import pyopencl as cl

context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
queue = cl.CommandQueue(context)
words = numpy.arange(1024, dtype=numpy.uint32)
memory = cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=words)
child = os.fork()
if not child:
    os._exit(0)     # and nothing of the parent's is let go
status = os.waitpid(child, 0)[1]
result = numpy.empty_like(words)
cl.enqueue_copy(queue, result, memory)
if status or not (result == words).all():
    raise SystemExit(f"the child ended with {status}, or the parent lost its buffer")
