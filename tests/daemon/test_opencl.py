"""OpenCL in a worker, without the shim: what a guest may send and what it gets.

SPDX-License-Identifier: MIT
"""
import os
import signal
import struct
import time

import pytest

import opencl
import opencl_calls
import vgpu
from conftest import cpu_ticks
from opencl import CL, Error, Span

TIMES_3 = "__kernel void f(__global int *a) { a[get_global_id(0)] *= 3; }"
PATTERN = bytes(range(251)) * 17000  # 4 MiB, no power of two


@pytest.fixture
def cl(context):
    return CL(context).start()


@pytest.fixture(params=["direct", "no_direct"])
def any_cl(request, start, monkeypatch):
    """A worker that copies by itself, and one that asks the host to."""
    monkeypatch.setenv("VGPU_PERF", request.param)
    return CL(start().client().context()).start()


# --- platforms and devices ------------------------------------------------------

def test_device_has_its_real_name(cl):
    assert len(cl.device_info(opencl.DEVICE_NAME)) > 4


@pytest.mark.parametrize("name", [0x1031, 0x1097, 0, 0x7FFFFFFF])
def test_unlisted_information_is_refused(cl, name):
    with pytest.raises(Error) as error:
        cl.device_info(name)
    assert error.value.code == opencl.INVALID_VALUE


def test_no_host_opencl_is_said_once_and_plainly(start, monkeypatch, tmp_path):
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path / "none"))
    server = start()
    cl = CL(server.client().context())
    for _ in range(2):
        answer = cl.raw("clGetPlatformIDs", num_entries=4, platforms=True)
        assert answer["ret"] == opencl.PLATFORM_NOT_FOUND
    # The server forwards what its worker says.
    vgpu.wait_until(lambda: "this host has no OpenCL" in server.log())
    assert server.log().count("this host has no OpenCL") == 1


# --- kernels ----------------------------------------------------------------------

def test_a_kernel_computes(cl):
    kernel, kinds = cl.kernel(TIMES_3, "f")
    assert kinds == [3]
    buffer = cl.buffer(4000)
    cl.write(buffer, struct.pack("<1000i", *range(1000)))
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    cl.run(kernel, 1000)
    assert struct.unpack("<1000i", cl.read(buffer, 4000)) == \
        tuple(3 * i for i in range(1000))


def test_argument_kinds(cl):
    _, kinds = cl.kernel(
        "__kernel void f(__global int *a, __constant int *b, __local int *c,"
        " int d, float4 e, sampler_t s, read_only image2d_t i) {}", "f")
    assert kinds == [3, 3, 2, 1, 1, 4, 3]


@pytest.mark.parametrize("argument", ["__global int *", "sampler_t ",
                                      "read_only image2d_t ", "alias "])
def test_a_guests_bytes_never_become_a_handle(cl, argument):
    kernel, _ = cl.kernel("typedef sampler_t alias;"
                          f"__kernel void f({argument}a) {{}}", "f")
    answer = cl.raw("vclSetKernelArg", kernel=kernel, arg_index=0, arg_size=8,
                    arg_value=b"\x10\x20\x30\x40\x50\x60\x70\x00")
    assert answer["ret"] == opencl.INVALID_ARG_VALUE


@pytest.mark.parametrize("kind", ["ulong", "own", "pair"])
def test_values_of_eight_bytes_arrive(cl, kind):
    kernel, _ = cl.kernel("typedef ulong own;"
                          "typedef struct { int a, b; } pair;"
                          f"__kernel void f(__global {kind} *a, {kind} b)"
                          "{ *a = b; }", "f")
    buffer = cl.buffer(8)
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    cl.send("vclSetKernelArg", kernel=kernel, arg_index=1, arg_size=8,
            arg_value=b"abcdefgh")
    cl.run(kernel, 1)
    assert cl.read(buffer, 8) == b"abcdefgh"


# --- builds -------------------------------------------------------------------------

def test_a_failed_build_has_a_log(cl):
    program, err = cl.build("__kernel void f(wrong x) {}")
    assert err == opencl.BUILD_PROGRAM_FAILURE
    assert "wrong" in cl.log(program)


@pytest.mark.parametrize("options", [
    "-include /etc/passwd", "-imacros x", "@/etc/passwd", "/etc/passwd",
    "-isystem /etc", "-Xclang -load", "-o /tmp/x", "-Wp,-include,x",
    "-fplugin=/tmp/x", '"-include" x', "-mllvm x",
])
def test_options_that_do_more_than_compile_are_refused(cl, options):
    _, err = cl.build(TIMES_3, options)
    assert err == opencl.INVALID_BUILD_OPTIONS


def test_host_files_cannot_be_included(cl):
    for source, options in (('#include "/etc/passwd"\n', None),
                            ('#include "stdint.h"\n', "-I /usr/include"),
                            ('#include "passwd"\n', "-I/etc")):
        program, err = cl.build(source + TIMES_3, options)
        assert err == opencl.BUILD_PROGRAM_FAILURE
        assert "root:" not in cl.log(program)


def test_the_guests_files_can_be_included(cl):
    text = b"#define NUMBER 42\n"
    cl.call("vclPutFile", path="/opt/my-prog/inc/n.h", size=len(text),
            data=text)
    for source, options in (
            ('#include "n.h"\n', '-I /vgpu-guest/opt/my-prog/inc'),
            ('#include "inc/n.h"\n', '-I/vgpu-guest/opt/my-prog'),
            ('#define S(x) #x\n#define T(x) S(x)\n#include T(P/inc/n.h)\n',
             '-D P=/vgpu-guest/opt/my-prog')):
        _, err = cl.build(source + "__kernel void f(__global int *a)"
                          "{ *a = NUMBER; }", options)
        assert err == 0


@pytest.mark.parametrize("name", ["relative", "/a/../../x", "/..", "/", "/a/",
                                  "", "/" + "x" * 2000])
def test_files_stay_where_they_belong(cl, name):
    answer = cl.raw("vclPutFile", path=name, size=1, data=b"x")
    assert answer["ret"] == opencl.INVALID_VALUE


def test_compile_with_a_header_and_link(cl):
    main = cl.program('#include "inc/n.h"\n__kernel void f(__global int *a)'
                      "{ *a = NUMBER; }")
    header = cl.program("#define NUMBER 42\n")
    assert cl.raw("vclCompileProgram", program=main, num_input_headers=1,
                  input_headers=[header], names_size=8,
                  header_include_names=b"inc/n.h\0")["ret"] == 0
    linked = cl.new()
    answer = cl.call("vclLinkProgram", context=cl.ctx, num_input_programs=1,
                     input_programs=[main], new_program=linked)
    assert answer["result"] == 0
    kernel = cl.new()
    cl.call("vclCreateKernel", program=linked, kernel_name="f",
            new_kernel=kernel)


def test_header_names_must_be_whole(cl):
    program = cl.program(TIMES_3)
    for names in b"no-nul", b"one\0":
        answer = cl.raw("vclCompileProgram", program=program,
                        num_input_headers=2, input_headers=[program] * 2,
                        names_size=len(names), header_include_names=names)
        assert answer["ret"] == opencl.INVALID_VALUE


def test_binaries_go_out_and_in(cl):
    program, _ = cl.build(TIMES_3)
    size = cl.call("vclGetProgramBinary", program=program, index=0, size=0)[
        "size_ret"]
    span = Span(cl, size)
    cl.call("vclGetProgramBinary", program=program, index=0, size=size,
            binary=span.where(0))
    again = cl.new()
    answer = cl.call("vclCreateProgramWithBinary", context=cl.ctx,
                     num_devices=1, device_list=[cl.dev], lengths=[size],
                     total=size, binaries=span.where(0), new_program=again)
    assert answer["result"] == 0
    assert cl.raw("vclBuildProgram", program=again)["ret"] == 0
    wrong = cl.new()
    answer = cl.call("vclCreateProgramWithBinary", context=cl.ctx,
                     num_devices=1, device_list=[cl.dev], lengths=[size + 1],
                     total=size, binaries=span.where(0), new_program=wrong)
    assert answer["result"] == opencl.INVALID_VALUE
    answer = cl.raw("vclBuildProgram", program=wrong)
    assert answer["ret"] == -44  # no such program
    # Nothing has this id: the guest forgot it and takes it again.
    cl.send("clCreateBuffer", context=cl.ctx, flags=1, size=64, new_mem=wrong)
    cl.read(wrong, 8)


def test_a_link_that_makes_no_program_leaves_no_id(cl):
    number = cl.new()
    source = cl.program(TIMES_3)  # never compiled
    answer = cl.raw("vclLinkProgram", context=cl.ctx, num_input_programs=1,
                    input_programs=[source], new_program=number)
    assert answer["ret"]
    cl.send("clCreateBuffer", context=cl.ctx, flags=1, size=64,
            new_mem=number)
    cl.read(number, 8)


# --- ids ------------------------------------------------------------------------------

def test_foreign_ids_are_the_apis_errors(cl):
    buffer = cl.buffer(64)
    for queue in 0, 999, buffer, cl.ctx, cl.dev, 1 << 40, 1 << 63:
        assert cl.raw("clFinish", command_queue=queue)["ret"] == \
            opencl.INVALID_QUEUE
    for mem in 0, 999, cl.queue, cl.dev:
        answer = cl.raw("clEnqueueReadBuffer", command_queue=cl.queue,
                        buffer=mem, blocking_read=1, size=8, ptr=8)
        assert answer["ret"] == opencl.INVALID_MEM_OBJECT


@pytest.mark.parametrize("number", [1, 1 << 31, 1 << 63])
def test_an_id_that_cannot_be_given_costs_the_context(cl, number):
    cl.send("clCreateBuffer", context=cl.ctx, flags=1, size=64,
            new_mem=number)
    assert cl.context.wait_lost()[0] == vgpu.FATAL_PROTOCOL


def test_dropped_ids_are_gone_and_free(cl):
    buffer = cl.buffer(64)
    cl.send("clReleaseMemObject", memobj=buffer)
    with pytest.raises(Error):
        cl.read(buffer, 8)
    cl.send("clReleaseMemObject", memobj=buffer)
    cl.send("clCreateBuffer", context=cl.ctx, flags=1, size=64,
            new_mem=buffer)
    cl.read(buffer, 8)


def test_a_failed_creation_is_found_by_who_uses_it(cl):
    buffer = cl.buffer(0)
    answer = cl.raw("clEnqueueReadBuffer", command_queue=cl.queue,
                    buffer=buffer, blocking_read=1, size=8, ptr=8)
    assert answer["ret"] == opencl.INVALID_BUFFER_SIZE
    cl.send("clReleaseMemObject", memobj=buffer)
    cl.send("clCreateBuffer", context=cl.ctx, flags=1, size=64,
            new_mem=buffer)
    cl.read(buffer, 8)


def test_a_failed_command_is_reported_by_the_next_answer_once(cl):
    kernel, _ = cl.kernel(TIMES_3, "f")
    event = cl.new()
    cl.run(kernel, 10, event=event)
    cl.run(kernel, 10)
    assert cl.finish() == opencl.INVALID_KERNEL_ARGS
    assert cl.finish() == 0
    answer = cl.raw("clWaitForEvents", num_events=1, event_list=[event])
    assert answer["ret"] == opencl.INVALID_KERNEL_ARGS


def test_truncated_calls_cost_only_the_context(server, client):
    payload = opencl_calls.encode("clEnqueueWriteBuffer", command_queue=1,
                                  buffer=2, size=64, ptr=b"x" * 64)
    other = client.context()
    for cut in range(0, len(payload), 24):
        context = client.context()
        context.send(1, opencl_calls.CALLS["clEnqueueWriteBuffer"]["number"],
                     payload[:cut])
        assert context.wait_lost()[0] == vgpu.FATAL_PROTOCOL
        context.close()
    other.ping()


# --- transfers ----------------------------------------------------------------------------

def _write(cl, buffer, span, blocking, flags=opencl.TRACKED, slot=1):
    cl.send("clEnqueueWriteBuffer", slot if blocking else 0,
            command_queue=cl.queue, buffer=buffer, blocking_write=blocking,
            size=span.size, ptr=span.where(flags))


@pytest.mark.parametrize("size", [8, 5000, 262144, 1 << 20, len(PATTERN)])
@pytest.mark.parametrize("blocking", [0, 1])
def test_data_through_shared_memory(any_cl, size, blocking):
    cl = any_cl
    buffer = cl.buffer(size)
    out, back = Span(cl, size), Span(cl, size)
    out.data = PATTERN[:size]
    _write(cl, buffer, out, blocking)
    if blocking:
        assert cl.wait("clEnqueueWriteBuffer", 1)["ret"] == 0
    cl.send("clEnqueueReadBuffer", blocking, command_queue=cl.queue,
            buffer=buffer, blocking_read=blocking, size=size,
            ptr=back.where())
    if blocking:
        assert cl.wait("clEnqueueReadBuffer", 1)["ret"] == 0
        assert back.header(opencl.DRAINED) == size
    else:
        assert cl.finish() == 0
        assert out.done() and back.done()
    assert back.data == PATTERN[:size]


def test_a_command_that_never_was_gives_its_memory_back(any_cl):
    cl = any_cl
    spans = [Span(cl, 8192) for _ in range(4)]
    cl.send("clEnqueueReadBuffer", command_queue=cl.queue, buffer=999,
            size=8192, ptr=spans[0].where())
    cl.send("clEnqueueWriteBuffer", command_queue=999, buffer=cl.buffer(8192),
            size=8192, ptr=spans[1].where())
    cl.send("vclEnqueueWriteBufferRect", command_queue=cl.queue,
            buffer=cl.buffer(8192), region=[1 << 40, 1, 1], bytes=8192,
            ptr=spans[2].where(), buffer_origin=[0] * 3, host_origin=[0] * 3)
    cl.send("clEnqueueReadBuffer", command_queue=cl.queue,
            buffer=cl.buffer(64), size=8192, ptr=spans[3].where())
    cl.finish()
    assert [span.done() for span in spans] == [True] * 4


def test_what_a_creation_has_used_is_given_back(cl):
    spans = [Span(cl, 8192) for _ in range(2)]
    cl.send("clCreateBuffer", context=cl.ctx, flags=1 | 1 << 5, size=8192,
            host_ptr=spans[0].where(), new_mem=cl.new())
    cl.send("vclCreateProgramWithSource", context=cl.ctx, length=8192,
            source=spans[1].where(), new_program=cl.new())
    assert cl.finish() == 0
    assert [span.done() for span in spans] == [True] * 2


def test_untracked_spans_are_not_written_around(any_cl):
    cl = any_cl
    buffer = cl.buffer(1 << 20)
    span = Span(cl, 1 << 20)
    _write(cl, buffer, span, 1, flags=0)
    assert cl.wait("clEnqueueWriteBuffer", 1)["ret"] == 0
    _write(cl, buffer, span, 0, flags=0)
    assert cl.finish() == 0
    assert span.memory[4096 - 64:4096] == b"\0" * 64


@pytest.mark.parametrize("size", [100000, len(PATTERN)])
def test_a_write_may_be_filled_while_it_runs(any_cl, size):
    cl = any_cl
    buffer = cl.buffer(size)
    span = Span(cl, size)
    _write(cl, buffer, span, 1, opencl.TRACKED | opencl.STREAMED)
    for end in size // 3, size // 2, size:
        time.sleep(0.05)
        assert not cl.context.is_done(1)
        span.memory[4096:4096 + end] = PATTERN[:end]
        span.set_filled(end)
    assert cl.wait("clEnqueueWriteBuffer", 1)["ret"] == 0
    back = Span(cl, size)
    cl.call("clEnqueueReadBuffer", command_queue=cl.queue, buffer=buffer,
            blocking_read=1, size=size, ptr=back.where())
    assert back.data == PATTERN[:size]


def test_a_write_never_filled_holds_nobody_else(cl, client, server):
    buffer = cl.buffer(1 << 20)
    span = Span(cl, 1 << 20)
    _write(cl, buffer, span, 1, opencl.TRACKED | opencl.STREAMED)
    for _ in range(5):
        cl.context.ping(2)
    cl.context.close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)


def test_writes_never_filled_cost_no_processor(cl, server):
    buffer = cl.buffer(1 << 20)
    for slot in range(10, 60):
        _write(cl, buffer, Span(cl, 1 << 20), 1,
               opencl.TRACKED | opencl.STREAMED, slot)
    cl.context.ping()
    pid, = server.workers()
    time.sleep(1.5)
    before = cpu_ticks(pid)
    time.sleep(1)
    assert cpu_ticks(pid) - before <= 10  # a tenth of one


@pytest.mark.parametrize("blob, offset, size", [
    (999, 0, 8192), (101, 1 << 40, 8192), (101, 0, 1 << 40),
    (101, (1 << 64) - 64, 8192), (101, 8192, 8192)])
def test_spans_outside_of_a_blob_cost_the_context(cl, blob, offset, size):
    Span(cl, 8192)
    buffer = cl.buffer(8192)
    cl.send("clEnqueueWriteBuffer", command_queue=cl.queue, buffer=buffer,
            size=size, ptr=(blob, offset, size))
    assert cl.context.wait_lost()[0] == vgpu.FATAL_PROTOCOL


def test_a_blob_destroyed_in_use_stays_until_then(any_cl):
    cl = any_cl
    buffer = cl.buffer(len(PATTERN))
    event = cl.new()
    cl.send("clCreateUserEvent", context=cl.ctx, new_event=event)
    span = Span(cl, len(PATTERN))
    span.data = PATTERN
    cl.send("clEnqueueWriteBuffer", command_queue=cl.queue, buffer=buffer,
            size=span.size, ptr=span.where(), num_events_in_wait_list=1,
            event_wait_list=[event])
    cl.context.ping()
    cl.context.blob_destroy(span.number)
    cl.context.blob(span.number, 4096)
    cl.call("clSetUserEventStatus", event=event, execution_status=0)
    assert cl.finish() == 0
    assert span.done()
    back = Span(cl, len(PATTERN))
    cl.call("clEnqueueReadBuffer", command_queue=cl.queue, buffer=buffer,
            blocking_read=1, size=back.size, ptr=back.where())
    assert back.data == PATTERN


def test_boxes_go_both_ways_and_not_beyond(any_cl):
    cl = any_cl
    buffer = cl.buffer(64 * 64)
    box = dict(command_queue=cl.queue, buffer=buffer, buffer_origin=[8, 8, 0],
               host_origin=[0, 0, 0], region=[16, 16, 1], buffer_row_pitch=64)
    cl.call("vclEnqueueWriteBufferRect", blocking_write=1, bytes=256,
            ptr=PATTERN[:256], **box)
    answer = cl.call("vclEnqueueReadBufferRect", blocking_read=1, bytes=256,
                     ptr=256, **box)
    assert answer["ptr"] == PATTERN[:256]
    for wrong in (dict(bytes=255), dict(bytes=256, host_row_pitch=17),
                  dict(bytes=256, host_origin=[1, 0, 0]),
                  dict(bytes=256, region=[1 << 40, 1 << 40, 1]),
                  dict(bytes=256, region=[0, 0, 0])):
        values = {**box, **wrong}
        answer = cl.raw("vclEnqueueReadBufferRect", blocking_read=1,
                        ptr=values["bytes"], **values)
        assert answer["ret"] == opencl.INVALID_VALUE


def test_images_go_both_ways_and_not_beyond(cl):
    image = cl.new()
    rgba = struct.pack("<II", 0x10B5, 0x10DA)
    desc = struct.pack("<IxxxxQQQQQQIIQ", 0x10F1, 32, 8, 0, 0, 0, 0, 0, 0, 0)
    cl.call("vclCreateImage", context=cl.ctx, flags=1, image_format=rgba,
            image_desc=desc, bytes=1024, host_ptr=PATTERN[:1024],
            new_mem=image)
    box = dict(command_queue=cl.queue, image=image, origin=[0, 0, 0],
               region=[32, 8, 1])
    answer = cl.call("vclEnqueueReadImage", blocking_read=1, bytes=1024,
                     ptr=1024, **box)
    assert answer["ptr"] == PATTERN[:1024]
    cl.call("vclEnqueueWriteImage", blocking_write=1, bytes=1024,
            ptr=PATTERN[1:1025], **box)
    answer = cl.call("vclEnqueueReadImage", blocking_read=1, bytes=1024,
                     ptr=1024, **box)
    assert answer["ptr"] == PATTERN[1:1025]
    answer = cl.raw("vclEnqueueReadImage", blocking_read=1, bytes=1023,
                    ptr=1023, **box)
    assert answer["ret"] == opencl.INVALID_VALUE
    answer = cl.raw("vclCreateImage", context=cl.ctx, flags=1,
                    image_format=rgba, image_desc=desc, bytes=1023,
                    host_ptr=PATTERN[:1023], new_mem=cl.new())
    assert answer["ret"] == opencl.INVALID_IMAGE_SIZE


# --- buffers in blobs ------------------------------------------------------------------------

def test_a_buffer_in_a_blob_is_mapped_without_a_copy(any_cl):
    cl = any_cl
    size = 1 << 20
    blob = cl.new_blob()
    memory = cl.context.blob(blob, size)
    memory[:] = b"\1\0\0\0" * (size // 4)
    buffer = cl.new()
    cl.send("vclCreateBufferInBlob", context=cl.ctx, flags=1, size=size,
            blob=blob, blob_offset=0, new_mem=buffer)
    kernel, _ = cl.kernel(TIMES_3, "f")
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    cl.run(kernel, size // 4)
    cl.call("vclEnqueueMapBuffer", command_queue=cl.queue, buffer=buffer,
            blocking_map=1, map_flags=3, offset=0, size=size)
    assert memory[:] == b"\3\0\0\0" * (size // 4)
    memory[0:4] = b"\2\0\0\0"
    cl.send("vclEnqueueUnmapBuffer", command_queue=cl.queue, buffer=buffer,
            offset=0, size=size)
    cl.run(kernel, size // 4)
    assert cl.read(buffer, 8) == b"\6\0\0\0\x09\0\0\0"
    # The memory lives as long as the buffer, whatever becomes of the blob.
    cl.context.blob_destroy(blob)
    cl.context.ping()
    assert cl.read(buffer, 8) == b"\6\0\0\0\x09\0\0\0"


def test_mapping_another_buffer_breaks_nothing(any_cl):
    cl = any_cl
    buffer = cl.buffer(4096)
    cl.write(buffer, b"x" * 64)
    for _ in range(2):
        cl.raw("vclEnqueueMapBuffer", command_queue=cl.queue, buffer=buffer,
               blocking_map=1, map_flags=1, size=64)
    for _ in range(3):
        cl.send("vclEnqueueUnmapBuffer", command_queue=cl.queue,
                buffer=buffer, size=64)
    cl.finish()
    assert cl.read(buffer, 64) == b"x" * 64


@pytest.mark.parametrize("offset,size", [(4097, 64), (0, 4097), (1 << 63, 64)])
def test_bytes_that_are_not_the_buffers_are_not_unmapped(any_cl, offset, size):
    cl = any_cl
    blob, buffer = cl.new_blob(), cl.new()
    cl.context.blob(blob, 4096)
    cl.call("vclCreateBufferInBlob", context=cl.ctx, flags=1, size=4096,
            blob=blob, new_mem=buffer)
    cl.call("vclEnqueueMapBuffer", command_queue=cl.queue, buffer=buffer,
            blocking_map=1, map_flags=1, size=64)
    answer = cl.raw("vclEnqueueUnmapBuffer", command_queue=cl.queue,
                    buffer=buffer, offset=offset, size=size)
    assert answer["ret"] == opencl.INVALID_VALUE


@pytest.mark.parametrize("properties", [0, 1], ids=["in-order", "any-order"])
def test_a_map_waits_for_its_turn(any_cl, properties):
    cl = any_cl
    blob, buffer, gate, queue = cl.new_blob(), cl.new(), cl.new(), cl.new()
    memory = cl.context.blob(blob, 4096)
    cl.send("vclCreateBufferInBlob", context=cl.ctx, flags=1, size=4096,
            blob=blob, new_mem=buffer)
    cl.call("clCreateCommandQueue", context=cl.ctx, device=cl.dev,
            properties=properties, new_command_queue=queue)
    cl.send("clCreateUserEvent", context=cl.ctx, new_event=gate)
    write, mapped = cl.new(), cl.new()
    cl.send("clEnqueueWriteBuffer", command_queue=queue, buffer=buffer,
            size=8, ptr=b"gate-out", num_events_in_wait_list=1,
            event_wait_list=[gate], event=write)
    waits = dict(num_events_in_wait_list=1, event_wait_list=[write]) \
        if properties else {}
    cl.send("vclEnqueueMapBuffer", 5, command_queue=queue, buffer=buffer,
            blocking_map=1, map_flags=1, size=8, event=mapped, **waits)
    # In any order, a map of another range waits for nothing.
    if properties:
        cl.call("vclEnqueueMapBuffer", command_queue=queue, buffer=buffer,
                blocking_map=1, map_flags=1, offset=64, size=8)
    time.sleep(0.1)
    assert not cl.context.is_done(5)
    cl.call("clSetUserEventStatus", event=gate, execution_status=0)
    assert cl.wait("vclEnqueueMapBuffer", 5)["ret"] == 0
    assert memory[:8] == b"gate-out"
    cl.call("clWaitForEvents", num_events=1, event_list=[mapped])


def test_reads_see_what_was_queued_before(cl):
    kernel, _ = cl.kernel("__kernel void f(__global int *a) {"
                          "for (volatile int i = 0; i < 10000000; i++);"
                          "*a += 1; }", "f")
    buffer = cl.buffer(4)
    cl.write(buffer, b"\0" * 4)
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    for i in range(1, 5):
        cl.run(kernel, 1)
        assert cl.read(buffer, 4) == struct.pack("<I", i)
        cl.read(buffer, 4)
        cl.write(buffer, struct.pack("<I", i))
    assert cl.finish() == 0
    cl.write(buffer, b"1234")
    assert cl.read(buffer, 4) == b"1234"


def test_a_buffer_beyond_its_blob_is_refused(cl):
    blob = cl.new_blob()
    cl.context.blob(blob, 4096)
    for offset, size in (0, 4097), (4096, 1), (1 << 63, 1 << 63), (0, 0):
        buffer = cl.new()
        answer = cl.raw("vclCreateBufferInBlob", context=cl.ctx, flags=1,
                        size=size, blob=blob, blob_offset=offset,
                        new_mem=buffer)
        assert answer["ret"] == -37


# --- threads ------------------------------------------------------------------------------------

def test_a_blocked_call_holds_nobody_else(cl):
    event = cl.new()
    cl.send("clCreateUserEvent", context=cl.ctx, new_event=event)
    cl.send("clEnqueueBarrierWithWaitList", command_queue=cl.queue,
            num_events_in_wait_list=1, event_wait_list=[event])
    for slot in range(10, 60):
        cl.send("clFinish", slot, command_queue=cl.queue)
    for slot in range(1, 10):
        cl.context.ping(slot)
    # What the blocked calls use may be dropped meanwhile.
    cl.send("clReleaseCommandQueue", command_queue=cl.queue)
    cl.context.ping()
    assert not any(cl.context.is_done(slot) for slot in range(10, 60))
    cl.call("clSetUserEventStatus", event=event, execution_status=0)
    for slot in range(10, 60):
        assert cl.wait("clFinish", slot)["ret"] == 0


def test_builds_run_beside_other_calls(cl):
    source = "".join(f"__kernel void f{i}(__global float *a) "
                     f"{{ for (int i = 0; i < {i}; i++) a[i] = sin(a[i]); }}"
                     for i in range(40))
    program = cl.program(source)
    cl.send("vclBuildProgram", 2, program=program)
    pings = 0
    while not cl.context.is_done(2):
        cl.context.ping()
        pings += 1
    assert pings > 20
    assert cl.wait("vclBuildProgram", 2)["ret"] == 0


def test_one_thread_never_makes_the_worker_start_another(server, cl):
    pid, = server.workers()
    for _ in range(50):
        assert cl.finish() == 0
    before = len(os.listdir(f"/proc/{pid}/task"))
    for _ in range(500):
        assert cl.finish() == 0
        cl.context.ping()
    assert len(os.listdir(f"/proc/{pid}/task")) == before


def test_a_worker_killed_in_a_kernel_is_noticed_at_once(server, client, cl):
    kernel, _ = cl.kernel("__kernel void f(__global int *a) {"
                          "for (volatile long i = 0; i < 1L << 40; i++); }",
                          "f")
    buffer = cl.buffer(64)
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    cl.run(kernel, 1)
    cl.send("clFinish", 1, command_queue=cl.queue)
    time.sleep(0.5)
    pid, = server.workers()
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    cl.context.wait_lost()
    assert time.monotonic() - begin < 1
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)
    CL(client.context()).start()


def test_a_context_that_ends_in_a_kernel_leaves_nothing(server, client, cl):
    kernel, _ = cl.kernel("__kernel void f(__global int *a) {"
                          "for (volatile long i = 0; i < 1L << 40; i++); }",
                          "f")
    buffer = cl.buffer(64)
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    cl.run(kernel, 1)
    cl.send("clFinish", 1, command_queue=cl.queue)
    time.sleep(0.2)
    cl.context.close()
    vgpu.wait_until(lambda: client.status()["contexts"] == 0)
    assert server.workers() == []


# --- what can be seen from outside ------------------------------------------------------------

def test_calls_are_printed(start, tmp_path):
    trace = tmp_path / "trace"
    cl = CL(start("--trace", str(trace)).client().context()).start()
    buffer = cl.buffer(64)
    cl.read(buffer, 8)
    lines = trace.read_text().splitlines()
    assert lines[0].startswith("clGetPlatformIDs(")
    assert any(line.startswith("clCreateBuffer(context=#1,") for line in lines)
    assert lines[-1].startswith("clEnqueueReadBuffer(command_queue=#2, "
                                "buffer=#3, blocking_read=1")


def test_idle_worker_with_a_driver_uses_no_cpu(server, cl):
    kernel, _ = cl.kernel(TIMES_3, "f")
    buffer = cl.buffer(64)
    cl.send("vclSetKernelArgMem", kernel=kernel, arg_index=0, mem=buffer)
    cl.run(kernel, 16)
    assert cl.finish() == 0
    pid, = server.workers()
    time.sleep(0.3)
    before = cpu_ticks(pid)
    time.sleep(2)
    assert cpu_ticks(pid) - before <= 1
