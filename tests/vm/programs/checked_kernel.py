"""In the guest: kernels whose results Python works out for itself.

SPDX-License-Identifier: MIT
"""
import numpy
import pyopencl as cl

SOURCE = """
kernel void blend(global const uint *in, global uint *out, uint seed, local uint *part)
{
    uint i = get_global_id(0), l = get_local_id(0), n = get_local_size(0);
    uint x = in[i] ^ seed;
    x = x * 1664525u + 1013904223u;
    x ^= x >> 16;
    part[l] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    out[i] = x + part[(l + 1) % n];
}

kernel void scale(read_only image2d_t in, write_only image2d_t out, float by)
{
    const sampler_t s = CLK_NORMALIZED_COORDS_FALSE | CLK_FILTER_NEAREST | CLK_ADDRESS_CLAMP_TO_EDGE;
    int2 at = (int2)(get_global_id(0), get_global_id(1));
    write_imagef(out, at, read_imagef(in, s, at) * by);
}
"""
SIZE, GROUP, SEED = 1 << 16, 64, 0x5eed


def blend(words):
    x = (words ^ numpy.uint32(SEED)) * numpy.uint32(1664525) + numpy.uint32(1013904223)
    x ^= x >> numpy.uint32(16)
    groups = x.reshape(-1, GROUP)
    return (groups + numpy.roll(groups, -1, axis=1)).reshape(-1)


def check_buffer(context, queue, program):
    words = numpy.arange(SIZE, dtype=numpy.uint32) * numpy.uint32(2654435761)
    flags = cl.mem_flags
    source = cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=words)
    target = cl.Buffer(context, flags.WRITE_ONLY, words.nbytes)
    program.blend(queue, (SIZE,), (GROUP,), source, target, numpy.uint32(SEED), cl.LocalMemory(4 * GROUP))
    result = numpy.empty_like(words)
    cl.enqueue_copy(queue, result, target)
    assert (result == blend(words)).all(), "the buffer is not what it should be"


def check_image(context, queue, program):
    picture = numpy.arange(64 * 48 * 4, dtype=numpy.float32).reshape(48, 64, 4)
    source = cl.image_from_array(context, picture, 4)
    target = cl.Image(context, cl.mem_flags.WRITE_ONLY,
                      cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.FLOAT), shape=(64, 48))
    program.scale(queue, (64, 48), None, source, target, numpy.float32(0.5))
    result = numpy.empty_like(picture)
    cl.enqueue_copy(queue, result, target, origin=(0, 0), region=(64, 48))
    assert (result == picture * numpy.float32(0.5)).all(), "the image is not what it should be"


def check_map(context, queue):
    memory = cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.ALLOC_HOST_PTR, 4 * SIZE)
    for value in (7, 11):
        view, _ = cl.enqueue_map_buffer(queue, memory, cl.map_flags.WRITE, 0, (SIZE,), numpy.uint32)
        view[:] = value
        view.base.release(queue)
        result = numpy.empty(SIZE, numpy.uint32)
        cl.enqueue_copy(queue, result, memory)
        assert (result == value).all(), "the mapped buffer is not what it should be"


def main():
    device = cl.get_platforms()[0].get_devices()[0]
    print("on", device.name)
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    program = cl.Program(context, SOURCE).build()
    check_buffer(context, queue, program)
    check_image(context, queue, program)
    check_map(context, queue)
    print("all as it should be")


main()
