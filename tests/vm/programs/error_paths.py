"""In the guest: what a program's mistakes come to, by the specification.

SPDX-License-Identifier: MIT
"""
import numpy
import pyopencl as cl

device = cl.get_platforms()[0].get_devices()[0]
context = cl.Context([device])
queue = cl.CommandQueue(context)
flags = cl.mem_flags
memory = cl.Buffer(context, flags.READ_WRITE, 4096)
program = cl.Program(context, "kernel void k(global int *p, int n) { p[get_global_id(0)] = n; }").build()
failed = []


def code(call):
    """The OpenCL error that a call ends with."""
    try:
        call()
    except cl.Error as error:
        return cl.status_code.to_string(error.code)
    return "SUCCESS"


def expect(what, call, *codes):
    got = code(call)
    if got not in codes:
        failed.append(f"{what}: {got} instead of {' or '.join(codes)}")


def unset_arguments():
    cl.enqueue_nd_range_kernel(queue, cl.Kernel(program, "k"), (16,), None)


def wrong_group():
    kernel = cl.Kernel(program, "k")
    kernel.set_args(memory, numpy.int32(1))
    cl.enqueue_nd_range_kernel(queue, kernel, (16,), (device.max_work_group_size * 2,))


def beyond_the_end():
    cl.enqueue_copy(queue, numpy.empty(8192, numpy.uint8), memory)
    queue.finish()


def build_log():
    try:
        cl.Program(context, "kernel void k(global int *p) { p[0] = nonsense_here; }").build()
    except cl.RuntimeError as error:
        if "nonsense_here" not in str(error):
            failed.append("a build that fails does not name the mistake")
        raise


expect("a buffer of size 0", lambda: cl.Buffer(context, flags.READ_WRITE, 0), "INVALID_BUFFER_SIZE")
expect("a buffer larger than any", lambda: cl.Buffer(context, flags.READ_WRITE, 1 << 60),
       "INVALID_BUFFER_SIZE", "MEM_OBJECT_ALLOCATION_FAILURE")
expect("a kernel that is not there", lambda: cl.Kernel(program, "missing"), "INVALID_KERNEL_NAME")
expect("an argument beyond the last", lambda: cl.Kernel(program, "k").set_arg(2, memory), "INVALID_ARG_INDEX")
expect("an argument of the wrong size", lambda: cl.Kernel(program, "k").set_arg(1, numpy.int64(1)),
       "INVALID_ARG_SIZE")
expect("a launch without arguments", unset_arguments, "INVALID_KERNEL_ARGS")
expect("a group larger than any", wrong_group, "INVALID_WORK_GROUP_SIZE")
expect("a read beyond the end", beyond_the_end, "INVALID_VALUE")
expect("a program that does not build", build_log, "BUILD_PROGRAM_FAILURE")
expect("an image of no size", lambda: cl.Image(
    context, flags.READ_ONLY, cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.FLOAT), shape=(0, 4)),
    "INVALID_IMAGE_DESCRIPTOR", "INVALID_IMAGE_SIZE")

# And after all that the context still computes.
kernel = cl.Kernel(program, "k")
kernel.set_args(memory, numpy.int32(42))
cl.enqueue_nd_range_kernel(queue, kernel, (1024,), None)
result = numpy.empty(1024, numpy.int32)
cl.enqueue_copy(queue, result, memory)
if not (result == 42).all():
    failed.append("the context does not compute any more")

print("\n".join(failed) or "all as it should be")
raise SystemExit(bool(failed))
