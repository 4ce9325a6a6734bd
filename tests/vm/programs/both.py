"""In the guest: OpenCL by the shim and OpenGL by the guest's own driver, in one process at once.

A kernel is running while the scene is drawn; what the kernel made is a texture then, whose
pixels are read back.

    both.py FILE        the scene's pixels, as gles_scene.py has them

SPDX-License-Identifier: MIT
"""
import ctypes
import sys

import gles_scene
import numpy
import pyopencl as cl

SOURCE = """
kernel void colour(global uint *out, uint rounds)
{
    uint x = get_global_id(0);
    for (uint i = 0; i < rounds; i++) {
        x = x * 1664525u + 1013904223u;
    }
    out[get_global_id(0)] = x;
}
"""
SIDE, ROUNDS = 64, 50000


def expected():
    """Of an affine map its power, by squaring: the kernel takes all the steps."""
    a, b, factor, addend, left = 1, 0, 1664525, 1013904223, ROUNDS
    while left:
        if left & 1:
            a, b = a * factor, b * factor + addend
        factor, addend, left = factor * factor, addend * factor + addend, left >> 1
    x = numpy.arange(SIDE * SIDE, dtype=numpy.uint64)
    return ((x * (a % 2**32) + b % 2**32) % 2**32).astype(numpy.uint32)


def as_texture(words):
    """Through OpenGL: into a texture, and out of a framebuffer that has it."""
    gl, name, frame = gles_scene.gl, ctypes.c_uint(), ctypes.c_uint()
    gl.glGenTextures(1, ctypes.byref(name))
    gl.glBindTexture(0x0DE1, name)
    gl.glTexImage2D(0x0DE1, 0, 0x1908, SIDE, SIDE, 0, 0x1908, 0x1401, words.ctypes.data_as(ctypes.c_void_p))
    gl.glGenFramebuffers(1, ctypes.byref(frame))
    gl.glBindFramebuffer(0x8D40, frame)
    gl.glFramebufferTexture2D(0x8D40, 0x8CE0, 0x0DE1, name, 0)
    return numpy.frombuffer(gles_scene.pixels(SIDE, SIDE), numpy.uint32)


def main():
    device = cl.get_platforms()[0].get_devices()[0]
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    program = cl.Program(context, SOURCE).build()
    memory = cl.Buffer(context, cl.mem_flags.WRITE_ONLY, 4 * SIDE * SIDE)
    size = gles_scene.offscreen()
    event = program.colour(queue, (SIDE * SIDE,), None, memory, numpy.uint32(ROUNDS))
    queue.flush()
    gles_scene.draw(*size)
    gles_scene.write(sys.argv[1], gles_scene.pixels(*size))
    event.wait()
    words = numpy.empty(SIDE * SIDE, numpy.uint32)
    cl.enqueue_copy(queue, words, memory)
    assert (words == expected()).all(), "OpenCL's result is not what it should be"
    assert (as_texture(words) == words).all(), "OpenGL's texture is not what OpenCL made"
    print(device.name, "and", gles_scene.gl.glGetString(0x1F01).decode())


main()
