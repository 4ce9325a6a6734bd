"""OpenCL over a context of vgpu.py: ids in place of handles, no shim.

SPDX-License-Identifier: MIT
"""
import struct

import opencl_calls
import vgpu

TRACKED, STREAMED = 1 << 63, 1 << 62
HEADER = 64
FILLED, DRAINED, DONE = 0, 32, 40

DEVICE_TYPE_ALL = 0xFFFFFFFF
DEVICE_NAME, DEVICE_TYPE, DEVICE_EXTENSIONS = 0x102B, 0x1000, 0x1030
BUILD_LOG, BUILD_STATUS = 0x1183, 0x1181
EVENT_STATUS = 0x11D3

INVALID_VALUE, INVALID_MEM_OBJECT, INVALID_QUEUE = -30, -38, -36
INVALID_BUILD_OPTIONS, INVALID_IMAGE_SIZE = -43, -40
BUILD_PROGRAM_FAILURE, INVALID_ARG_VALUE = -11, -50
INVALID_BUFFER_SIZE, INVALID_CONTEXT, INVALID_OPERATION = -61, -34, -59
INVALID_KERNEL_ARGS, PLATFORM_NOT_FOUND = -52, -1001


class Error(Exception):
    def __init__(self, name, code):
        super().__init__(f"{name} gave {code}")
        self.code = code


class Span:
    """Shared memory with a bulk header, in a blob of its own."""

    def __init__(self, cl, size):
        self.number = cl.new_blob()
        self.size = size
        self.memory = cl.context.blob(self.number, size + 4096)
        self.words = memoryview(self.memory).cast("Q")
        self.base = 4096
        cl.spans.append(self)

    def where(self, flags=TRACKED):
        return (self.number | flags, self.base, self.size)

    def header(self, field):
        return self.words[(self.base - HEADER + field) // 8]

    def set_filled(self, n):
        self.words[(self.base - HEADER + FILLED) // 8] = n

    def done(self):
        return self.header(DONE) & 0xFFFFFFFF == 1

    @property
    def data(self):
        return self.memory[self.base:self.base + self.size]

    @data.setter
    def data(self, value):
        self.memory[self.base:self.base + self.size] = value


class CL:
    def __init__(self, context):
        self.context = context
        self.ids = 0
        self.blobs = 100
        self.spans = []

    def new(self):
        self.ids += 1
        return self.ids

    def new_blob(self):
        self.blobs += 1
        return self.blobs

    def send(self, name, slot=0, **values):
        payload = opencl_calls.encode(name, **values)
        self.context.send(opencl_calls.API, opencl_calls.CALLS[name]["number"],
                          payload, slot)

    def wait(self, name, slot, timeout=20):
        status, reply = self.context.wait(slot, timeout)
        assert status == vgpu.OK
        return opencl_calls.decode(name, reply)

    def raw(self, name, slot=1, **values):
        self.send(name, slot, **values)
        return self.wait(name, slot)

    def call(self, name, **values):
        answer = self.raw(name, **values)
        if answer["ret"]:
            raise Error(name, answer["ret"])
        return answer

    # --- short cuts ---

    def platform(self):
        answer = self.call("clGetPlatformIDs", num_entries=16, platforms=True)
        return struct.unpack_from("<Q", answer["platforms"])[0]

    def device(self):
        answer = self.call("clGetDeviceIDs", platform=self.platform(),
                           device_type=DEVICE_TYPE_ALL, num_entries=16,
                           devices=True)
        return struct.unpack_from("<Q", answer["devices"])[0]

    def device_info(self, name, size=1024):
        answer = self.call("clGetDeviceInfo", device=self.device(),
                           param_name=name, param_value_size=size,
                           param_value=size)
        return answer["param_value"]

    def is_processor(self):
        """Whether the device is the host's processors, by pocl: so it named them before release 4, and since."""
        return self.device_info(DEVICE_NAME).startswith((b"pthread-", b"cpu-"))

    def start(self):
        """A context and an in-order queue."""
        self.ctx, self.queue = self.new(), self.new()
        self.dev = self.device()
        self.call("clCreateContext", num_devices=1, devices=[self.dev],
                  new_context=self.ctx)
        self.call("clCreateCommandQueue", context=self.ctx, device=self.dev,
                  properties=0, new_command_queue=self.queue)
        return self

    def buffer(self, size, **values):
        buffer = self.new()
        self.send("clCreateBuffer", context=self.ctx, flags=1, size=size,
                  new_mem=buffer, **values)
        return buffer

    def program(self, source):
        program = self.new()
        self.send("vclCreateProgramWithSource", context=self.ctx,
                  length=len(source), source=source.encode(),
                  new_program=program)
        return program

    def build(self, source, options=None):
        program = self.program(source)
        answer = self.raw("vclBuildProgram", program=program,
                          options=options)
        return program, answer["ret"]

    def kernel(self, source, name):
        program, err = self.build(source)
        assert err == 0
        kernel = self.new()
        answer = self.call("vclCreateKernel", program=program,
                           kernel_name=name, new_kernel=kernel)
        kinds = struct.unpack(f"<{len(answer['arg_kinds']) // 4}I",
                              answer["arg_kinds"])
        return kernel, list(kinds)

    def log(self, program):
        return self.call("clGetProgramBuildInfo", program=program,
                         device=self.dev, param_name=BUILD_LOG,
                         param_value_size=2048, param_value=2048)[
                             "param_value"].decode()

    def run(self, kernel, size, **values):
        self.send("clEnqueueNDRangeKernel", command_queue=self.queue,
                  kernel=kernel, work_dim=1, global_work_size=[size],
                  **values)

    def write(self, buffer, data, offset=0):
        self.send("clEnqueueWriteBuffer", command_queue=self.queue,
                  buffer=buffer, offset=offset, size=len(data), ptr=data)

    def read(self, buffer, size, offset=0):
        return self.call("clEnqueueReadBuffer", command_queue=self.queue,
                         buffer=buffer, blocking_read=1, offset=offset,
                         size=size, ptr=size)["ptr"]

    def finish(self, slot=1):
        return self.raw("clFinish", slot, command_queue=self.queue)["ret"]
