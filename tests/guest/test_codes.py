"""The code of every wrong call is the host's.

codes (codes.c, codes-cases.c) makes each call with each parameter wrong in turn,
once natively and once through the shim. Where natively a call ends the program
or hangs, there is nothing to compare with, and the program is started again
behind it. What differs, rightly, is in JUSTIFIED with its reason.

SPDX-License-Identifier: MIT
"""
import os
import re
import signal
import subprocess
from fnmatch import fnmatchcase

import pytest

VGPU_RUN = os.environ["VGPU_RUN"]
CODES = os.environ["VGPU_CODES"]
ENDS_MAX = 400      # programs that natively end in a call

# ("call: what is wrong", what the shim says; why that is right)
JUSTIFIED = [
    # The host (pocl) is laxer than the specification, which has a code for it.
    ("clGetDeviceIDs: device_type = *", "CL_INVALID_DEVICE_TYPE", "no such type"),
    ("clCreateContextFromType: device_type = *", "CL_INVALID_DEVICE_TYPE", "no such type"),
    ("clCreateContext: *INTEROP_USER_SYNC, 2, 0 }", "CL_INVALID_PROPERTY", "a cl_bool that is none"),
    ("clCreateCommandQueueWithProperties: *CL_QUEUE_SIZE, 64, 0 }", "CL_INVALID_VALUE", "for queues on the device"),
    ("clGetImageInfo: image = a.buffer", "CL_INVALID_MEM_OBJECT", "it is no image"),
    ("clCreateSubBuffer: flags = *", "CL_INVALID_VALUE", "flags that exclude each other, or are none"),
    ("clCreateSamplerWithProperties: all valid", "CL_SUCCESS", "without properties there are defaults"),
    ("clCreateSamplerWithProperties: errcode_ret = NULL", "an object", "the same"),
    ("clCompileProgram: input_headers = &a.program", "CL_INVALID_VALUE", "headers, but none is counted"),
    ("clCompileProgram: header_include_names = &text", "CL_INVALID_VALUE", "the same"),
    ("clCreateKernelsInProgram: kernels = NULL", "CL_SUCCESS", "NULL is ignored, whatever its number"),
    ("clSetKernelArg: arg_index = 4*", "CL_INVALID_SAMPLER", "no sampler, for an argument that is one"),
    ("clEnqueueNDRangeKernel: local_work_size = triple(0, 0, 0)", "CL_INVALID_WORK_GROUP_SIZE", "no size"),
    ("clEnqueueNDRangeKernel: *event_wait_list = *", "CL_INVALID_EVENT_WAIT_LIST", "pocl looks at no list here"),
    ("clEnqueueNDRangeKernel: *event_wait_list = &b.event", "CL_INVALID_CONTEXT", "the same"),
    ("clEnqueueTask: *event_wait_list = *", "CL_INVALID_EVENT_WAIT_LIST", "the same"),
    ("clEnqueueTask: *event_wait_list = &b.event", "CL_INVALID_CONTEXT", "the same"),
    ("clEnqueue*Buffer: buffer = a.image", "CL_INVALID_MEM_OBJECT", "it is no buffer"),
    ("clEnqueue*Image: region = triple(*0, 1)", "CL_INVALID_VALUE", "no pixel"),
    ("clEnqueue*Image: region = triple(0, 1, 1)", "CL_INVALID_VALUE", "the same"),
    ("clEnqueue*Image: *row_pitch = ?", "CL_INVALID_VALUE", "shorter than a row"),
    ("clEnqueue*Image: *slice_pitch = *", "CL_INVALID_VALUE", "an image of two dimensions has none"),
    ("clEnqueueMap*: map_flags = *", "CL_INVALID_VALUE", "flags that exclude each other, or are none"),
    ("clSVMAlloc: flags = *", "NULL", "flags that shared memory has not"),
    ("clEnqueueSVMMap: flags = *", "CL_INVALID_VALUE", "flags that exclude each other, or are none"),
    ("clSetKernelExecInfo: param_*", "CL_INVALID_VALUE", "no such name, or not its size"),
    # Sums that overflow: natively they happen to address what is meant.
    ("clEnqueue*BufferRect: host_origin = triple((size_t)-1, 0, 0)", "CL_INVALID_VALUE", "beyond any memory"),
    ("clEnqueue*Image: origin = triple((size_t)-1, 0, 0)", "CL_INVALID_VALUE", "beyond the image"),
    # Two things are wrong, or the call is not offered besides; any order is right.
    ("clGetDeviceAndHostTimer: *_timestamp = NULL", "CL_INVALID_VALUE", "nor is there a timer"),
    ("clGetHostTimer: host_timestamp = NULL", "CL_INVALID_VALUE", "nor is there a timer"),
    ("clSetDefaultDeviceCommandQueue: device = NULL", "CL_INVALID_DEVICE", "nor are there such queues"),
    ("clSetDefaultDeviceCommandQueue: command_queue = NULL", "CL_INVALID_COMMAND_QUEUE", "nor are there such queues"),
    ("clCreateSubBuffer: buffer_create_info = part((size_t)-1, 2)", "CL_INVALID_VALUE", "also not aligned"),
    ("clGetKernelSubGroupInfo: param_name = *", "CL_INVALID_VALUE", "nor are there sub-groups"),
    # The specification has another code than pocl.
    ("clCreateContextFromType: device_type = CL_DEVICE_TYPE_CUSTOM", "CL_DEVICE_NOT_FOUND", "and no object (pocl 6)"),
    ("clCreateProgramWithIL: *", "CL_INVALID_OPERATION", "no device takes an intermediate language"),
    ("clCreateImage*: image_format = form(*", "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR", "not CL_INVALID_OPERATION"),
    ("clCreateImage*: image_desc = desc(*", "CL_INVALID_IMAGE_DESCRIPTOR", "whatever is wrong in it"),
    ("clCreateImage?D: image_* = *", "CL_INVALID_IMAGE_SIZE", "also of pitches without memory"),
    ("clEnqueueWaitForEvents: num_events = 0", "CL_INVALID_VALUE", "as OpenCL 1.0 had it"),
    ("clEnqueueWaitForEvents: event_list = NULL", "CL_INVALID_VALUE", "the same"),
    ("clEnqueueWaitForEvents: *event_list = *", "CL_INVALID_EVENT", "the same"),
    # The host's devices can, ours say that they cannot.
    ("clCreateCommandQueue: properties = CL_QUEUE_ON_DEVICE", "CL_INVALID_QUEUE_PROPERTIES", "no queues on devices"),
]


def run(prefix, env=None):
    """{case: answer} of all cases; a case that ends the program has its signal."""
    found, first = {}, 0
    for _ in range(ENDS_MAX):
        end = subprocess.run([*prefix, CODES, str(first)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True, errors="replace", timeout=120, env={**os.environ, **(env or {})})
        lines = end.stdout.splitlines()
        for line in lines:
            made = re.match(r"(\d+) (\w+: .*?)(?: -> (.*))?$", line)
            if made:
                answer = made[3] or how_it_ended(end.returncode)
                found[made[2]] = "loses the context" if answer.endswith("-> lost") else answer
                first = int(made[1]) + 1
        if lines and lines[-1] == "all":
            return found
        assert lines and lines[-1] != "all", f"{CODES} does not start: {end.returncode}"
    raise AssertionError(f"more than {ENDS_MAX} cases end the program")


def how_it_ended(status):
    number = -status if status < 0 else status - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"status {status}"
    return "hangs" if name == "SIGALRM" else f"crashes ({name})"


def justified(case, answer):
    return any(fnmatchcase(case, pattern) and fnmatchcase(answer, right) for pattern, right, _ in JUSTIFIED)


def ended(answer):
    return answer.startswith(("crashes", "hangs", "status", "loses"))


@pytest.fixture(scope="module", name="native")
def run_native():
    return run([])


@pytest.fixture(scope="module", name="remote", params=["", "no_spin,no_async_create,no_cache,no_bulk,no_lazy,no_direct"])
def run_remote(request, tmp_path_factory):
    """The optimised run keeps compiled programs: all starts but the first find them."""
    cache = "" if request.param else str(tmp_path_factory.mktemp("cache"))
    found = run([VGPU_RUN], {"VGPU_PERF": request.param, "VGPU_CACHE": cache})
    assert not cache or os.listdir(cache), "no compiled program was kept"
    return found


def test_every_wrong_call_has_the_hosts_code(native, remote):
    assert len(remote) > 1000, "most cases are missing"
    wrong, excluded = [], []
    for case, answer in remote.items():
        right = native.get(case, "")
        if " wanted " in answer:        # asked of the shim alone
            answer, right = answer.split(" wanted ")
        elif ended(right):
            excluded.append(f"{case}: natively it {right}, here {answer}")
            continue
        if answer != right and not justified(case, answer):
            wrong.append(f"{case}: {answer}, should be {right}")
    print("\n".join(excluded))
    print(f"{len(remote)} cases; {len(excluded)} are not comparable: natively they end the program")
    assert not wrong, f"{len(wrong)} cases differ:\n" + "\n".join(wrong)


def test_what_is_justified_is_made(native, remote):
    """A line of JUSTIFIED that no case needs any more is to go, unless a host can what others cannot."""
    for pattern, right, _ in JUSTIFIED:
        cases = {case: answer.split(" wanted ")[0] for case, answer in remote.items() if fnmatchcase(case, pattern)}
        made = any(fnmatchcase(answer, right) for answer in cases.values())
        assert made or cases and all(native.get(case, answer) == answer for case, answer in cases.items()), \
            f"nothing is like '{pattern}' -> {right}"
