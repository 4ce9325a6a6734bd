"""In the guest: launches in bursts, for counting doorbells; argument: how many.

SPDX-License-Identifier: MIT
"""
import sys

import numpy
import pyopencl as cl

context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
queue = cl.CommandQueue(context)
program = cl.Program(context, "kernel void k(global int *p) { p[get_global_id(0)]++; }").build()
memory = cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR,
                   hostbuf=numpy.zeros(64, numpy.int32))
kernel = cl.Kernel(program, "k")
kernel.set_arg(0, memory)
count = int(sys.argv[1])
for _ in range(count):
    cl.enqueue_nd_range_kernel(queue, kernel, (64,), None)
result = numpy.empty(64, numpy.int32)
cl.enqueue_copy(queue, result, memory)
raise SystemExit(0 if (result == count).all() else "the sum is wrong")
