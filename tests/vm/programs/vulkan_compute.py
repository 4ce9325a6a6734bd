"""Computes by Vulkan: x * x + 7 for each number of a buffer, and looks at all of them.

    vulkan_compute.py [NUMBERS [ROUNDS]]

Says on what. By the loader and nothing else: there is no binding for Python in Debian.

SPDX-License-Identifier: MIT
"""
import ctypes as c
import struct
import sys

vk = c.CDLL("libvulkan.so.1")
GROUP = 64
WHOLE = 2**64 - 1
COHERENT_AND_VISIBLE = 2 | 4
keep = []       # what structs point to


def record(*fields):
    """A C struct of (type, value) pairs."""
    kind = type("Record", (c.Structure,), {"_fields_": [(f"f{i}", field[0]) for i, field in enumerate(fields)]})
    made = kind(*(field[1] for field in fields))
    keep.append(made)
    return made


def pointer(thing):
    keep.append(thing)
    return c.c_void_p, c.cast(c.pointer(thing), c.c_void_p).value


def u32(value):
    return c.c_uint32, value


def u64(value):
    return c.c_uint64, value


def i32(value):
    return c.c_int32, value


def info(kind, *fields):
    """One of Vulkan's: its type, nothing behind it, and flags and so on."""
    return record(u32(kind), (c.c_void_p, None), *fields)


def check(result, what):
    if result:
        sys.exit(f"{what}: {result}")


def make(name, *args):
    """A call that creates something, without callbacks."""
    made = c.c_uint64()
    check(getattr(vk, name)(*args, None, c.byref(made)), name)
    return made


# --- the shader: SPIR-V, by hand ------------------------------------------------------

def spirv():
    (VOID, FUNCTION, UINT, VECTOR, IN_VECTOR, GLOBAL_ID, ARRAY, BLOCK, TO_BLOCK, BUFFER, TO_UINT, ZERO, SEVEN, MAIN,
     LABEL, ID, X, AT, VALUE, SQUARE, SUM, END) = range(1, 23)
    words = []

    def op(code, *operands):
        words.extend([(1 + len(operands)) << 16 | code, *operands])

    name = struct.unpack("<2I", b"main\0\0\0\0")
    op(17, 1)                               # Capability Shader
    op(14, 0, 1)                            # MemoryModel Logical GLSL450
    op(15, 5, MAIN, *name, GLOBAL_ID)       # EntryPoint GLCompute
    op(16, MAIN, 17, GROUP, 1, 1)           # ExecutionMode LocalSize
    op(71, GLOBAL_ID, 11, 28)               # Decorate BuiltIn GlobalInvocationId
    op(71, ARRAY, 6, 4)                     # ArrayStride
    op(71, BLOCK, 3)                        # BufferBlock
    op(72, BLOCK, 0, 35, 0)                 # MemberDecorate Offset
    op(71, BUFFER, 34, 0)                   # DescriptorSet
    op(71, BUFFER, 33, 0)                   # Binding
    op(19, VOID)
    op(33, FUNCTION, VOID)
    op(21, UINT, 32, 0)
    op(23, VECTOR, UINT, 3)
    op(32, IN_VECTOR, 1, VECTOR)            # TypePointer Input
    op(59, IN_VECTOR, GLOBAL_ID, 1)         # Variable
    op(29, ARRAY, UINT)
    op(30, BLOCK, ARRAY)
    op(32, TO_BLOCK, 2, BLOCK)              # TypePointer Uniform
    op(59, TO_BLOCK, BUFFER, 2)
    op(32, TO_UINT, 2, UINT)
    op(43, UINT, ZERO, 0)
    op(43, UINT, SEVEN, 7)
    op(54, VOID, MAIN, 0, FUNCTION)
    op(248, LABEL)
    op(61, VECTOR, ID, GLOBAL_ID)           # Load
    op(81, UINT, X, ID, 0)                  # CompositeExtract
    op(65, TO_UINT, AT, BUFFER, ZERO, X)    # AccessChain
    op(61, UINT, VALUE, AT)
    op(132, UINT, SQUARE, VALUE, VALUE)     # IMul
    op(128, UINT, SUM, SQUARE, SEVEN)       # IAdd
    op(62, AT, SUM)                         # Store
    op(253)
    op(56)
    return (c.c_uint32 * (5 + len(words)))(0x07230203, 0x10000, 0, END, 0, *words)


# --- a device -------------------------------------------------------------------------

def first_device():
    application = info(0, (c.c_void_p, None), u32(0), (c.c_void_p, None), u32(0), u32(1 << 22 | 1 << 12))
    wanted = info(1, u32(0), pointer(application), u32(0), (c.c_void_p, None), u32(0), (c.c_void_p, None))
    instance, device, n = c.c_void_p(), c.c_void_p(), c.c_uint32(1)
    check(vk.vkCreateInstance(c.byref(wanted), None, c.byref(instance)), "vkCreateInstance")
    result = vk.vkEnumeratePhysicalDevices(instance, c.byref(n), c.byref(device))
    if result not in (0, 5) or n.value == 0:
        sys.exit(f"no device: {result}")
    return instance, device


def name_of(device):
    properties = c.create_string_buffer(4096)
    vk.vkGetPhysicalDeviceProperties(device, properties)
    return properties.raw[20:276].split(b"\0")[0].decode()


def memory_type(device, bits):
    properties = c.create_string_buffer(4096)
    vk.vkGetPhysicalDeviceMemoryProperties(device, properties)
    n, *types = struct.unpack_from("<65I", properties.raw)
    return next(i for i in range(n) if bits & 1 << i and types[2 * i] & COHERENT_AND_VISIBLE == COHERENT_AND_VISIBLE)


def open_device(physical):
    queue = info(2, u32(0), u32(0), u32(1), pointer(c.c_float(1)))
    wanted = info(3, u32(0), u32(1), pointer(queue), u32(0), (c.c_void_p, None), u32(0), (c.c_void_p, None),
                  (c.c_void_p, None))
    device, made = c.c_void_p(), c.c_void_p()
    check(vk.vkCreateDevice(physical, c.byref(wanted), None, c.byref(device)), "vkCreateDevice")
    vk.vkGetDeviceQueue(device, 0, 0, c.byref(made))
    return device, made


# --- a buffer, and what is done with it -------------------------------------------------

def make_buffer(physical, device, size):
    """(buffer, its memory, where that is mapped)."""
    buffer = make("vkCreateBuffer", device, c.byref(info(12, u32(0), u64(size), u32(32), u32(0), u32(0),
                                                          (c.c_void_p, None))))
    needed = (c.c_uint64 * 3)()
    vk.vkGetBufferMemoryRequirements(device, buffer, needed)
    kind = memory_type(physical, needed[2] & 0xFFFFFFFF)
    memory = make("vkAllocateMemory", device, c.byref(info(5, u64(needed[0]), u32(kind))))
    check(vk.vkBindBufferMemory(device, buffer, memory, c.c_uint64(0)), "vkBindBufferMemory")
    at = c.c_void_p()
    check(vk.vkMapMemory(device, memory, c.c_uint64(0), c.c_uint64(WHOLE), 0, c.byref(at)), "vkMapMemory")
    return buffer, memory, at


def make_pipeline(device, buffer):
    """(pipeline, its layout, the set with the buffer)."""
    binding = record(u32(0), u32(7), u32(1), u32(32), (c.c_void_p, None))
    sets = make("vkCreateDescriptorSetLayout", device, c.byref(info(32, u32(0), u32(1), pointer(binding))))
    layout = make("vkCreatePipelineLayout", device, c.byref(info(30, u32(0), u32(1), pointer(sets), u32(0),
                                                                  (c.c_void_p, None))))
    code = spirv()
    shader = make("vkCreateShaderModule", device, c.byref(info(16, u32(0), (c.c_size_t, c.sizeof(code)), pointer(code))))
    stage = info(18, u32(0), u32(32), u64(shader.value), pointer(c.create_string_buffer(b"main")), (c.c_void_p, None))
    wanted = info(29, u32(0), (type(stage), stage), u64(layout.value), u64(0), i32(-1))
    pipeline = c.c_uint64()
    check(vk.vkCreateComputePipelines(device, c.c_uint64(0), 1, c.byref(wanted), None, c.byref(pipeline)),
          "vkCreateComputePipelines")
    pool = make("vkCreateDescriptorPool", device, c.byref(info(33, u32(0), u32(1), u32(1), pointer(record(u32(7), u32(1))))))
    one = c.c_uint64()
    check(vk.vkAllocateDescriptorSets(device, c.byref(info(34, u64(pool.value), u32(1), pointer(sets))), c.byref(one)),
          "vkAllocateDescriptorSets")
    whole = record(u64(buffer.value), u64(0), u64(WHOLE))
    write = info(35, u64(one.value), u32(0), u32(0), u32(1), u32(7), (c.c_void_p, None), pointer(whole),
                 (c.c_void_p, None))
    vk.vkUpdateDescriptorSets(device, 1, c.byref(write), 0, None)
    return pipeline, layout, one


def record_commands(device, pipeline, layout, one, groups):
    pool = make("vkCreateCommandPool", device, c.byref(info(39, u32(0), u32(0))))
    commands = c.c_void_p()
    check(vk.vkAllocateCommandBuffers(device, c.byref(info(40, u64(pool.value), u32(0), u32(1))), c.byref(commands)),
          "vkAllocateCommandBuffers")
    check(vk.vkBeginCommandBuffer(commands, c.byref(info(42, u32(0), (c.c_void_p, None)))), "vkBeginCommandBuffer")
    vk.vkCmdBindPipeline(commands, 1, pipeline)
    vk.vkCmdBindDescriptorSets(commands, 1, layout, 0, 1, c.byref(one), 0, None)
    vk.vkCmdDispatch(commands, groups, 1, 1)
    # What shaders wrote is for the host.
    barrier = info(46, u32(1 << 6), u32(1 << 13))
    vk.vkCmdPipelineBarrier(commands, 1 << 11, 1 << 14, 0, 1, c.byref(barrier), 0, None, 0, None)
    check(vk.vkEndCommandBuffer(commands), "vkEndCommandBuffer")
    return commands


def compute(physical, numbers, rounds):
    device, queue = open_device(physical)
    buffer, memory, at = make_buffer(physical, device, 4 * numbers)
    values = (c.c_uint32 * numbers).from_address(at.value)
    pipeline, layout, one = make_pipeline(device, buffer)
    commands = record_commands(device, pipeline, layout, one, numbers // GROUP)
    fence = make("vkCreateFence", device, c.byref(info(8, u32(0))))
    work = info(4, u32(0), (c.c_void_p, None), (c.c_void_p, None), u32(1), pointer(commands), u32(0), (c.c_void_p, None))
    for number in range(rounds):
        values[:] = range(number, number + numbers)
        check(vk.vkQueueSubmit(queue, 1, c.byref(work), fence), "vkQueueSubmit")
        check(vk.vkWaitForFences(device, 1, c.byref(fence), 1, c.c_uint64(60 * 10**9)), "vkWaitForFences")
        check(vk.vkResetFences(device, 1, c.byref(fence)), "vkResetFences")
        wrong = [i for i in range(numbers) if values[i] != ((number + i) ** 2 + 7) % 2**32]
        if wrong:
            sys.exit(f"round {number}: {len(wrong)} of {numbers} numbers are wrong, the first at {wrong[0]}: "
                     f"{values[wrong[0]]}")
    check(vk.vkDeviceWaitIdle(device), "vkDeviceWaitIdle")
    vk.vkUnmapMemory(device, memory)
    vk.vkDestroyBuffer(device, buffer, None)
    vk.vkFreeMemory(device, memory, None)
    vk.vkDestroyDevice(device, None)


def main():
    numbers, rounds = (int(word) for word in (sys.argv[1:] + ["65536", "3"][len(sys.argv) - 1:]))
    instance, physical = first_device()
    print(name_of(physical), flush=True)
    compute(physical, numbers // GROUP * GROUP, rounds)
    vk.vkDestroyInstance(instance, None)
    print("right")


main()
