"""In the guest: a context that has worked once and then sleeps.

SPDX-License-Identifier: MIT
"""
import time

import pyopencl as cl

context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
queue = cl.CommandQueue(context)
cl.Program(context, "kernel void k(global int *p) { p[0] = 1; }").build()
queue.finish()
print("sleeps", flush=True)
time.sleep(600)
